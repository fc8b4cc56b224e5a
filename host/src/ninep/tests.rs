use super::*;
use std::fs as std_fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const ROOM: usize = 64 << 10;

/// A folder to share, beside one that no guest may see.
struct Bench {
    dir: PathBuf,
    server: Server,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std_fs::remove_dir_all(&self.dir);
    }
}

fn bench_with(read_only: bool) -> Bench {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir =
        std::env::temp_dir().join(format!("mimic-9p-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst)));
    std_fs::create_dir_all(dir.join("share/sub")).unwrap();
    std_fs::create_dir_all(dir.join("outside")).unwrap();
    std_fs::write(dir.join("outside/secret"), "secret").unwrap();
    std_fs::write(dir.join("share/file"), "contents").unwrap();
    std_fs::write(dir.join("share/sub/inner"), "inner").unwrap();
    symlink("../outside", dir.join("share/escape")).unwrap();
    symlink("/etc/passwd", dir.join("share/absolute")).unwrap();
    symlink("file", dir.join("share/alias")).unwrap();
    let options = FolderOptions { path: dir.join("share"), read_only, security: Security::None };
    let bench = Bench { server: open(&options).unwrap(), dir };
    assert_eq!(
        bench
            .call(VERSION_OF, |m| {
                m.u32(ROOM as u32);
                m.string(VERSION);
            })
            .unwrap(),
        message(|m| {
            m.u32(ROOM as u32);
            m.string(VERSION);
        })
    );
    bench
        .call(ATTACH, |m| {
            m.u32(0);
            m.u32(NO_FID);
            m.string(b"root");
            m.string(b"");
            m.u32(0);
        })
        .unwrap();
    bench
}

fn bench() -> Bench {
    bench_with(false)
}

fn message(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    fill(&mut writer);
    writer.0
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join("share").join(name)
    }
    /// The body of the answer to a request, or the error.
    fn call(&self, kind: u8, fill: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, Errno> {
        let mut writer = Writer::default();
        fill(&mut writer);
        let answer = self.server.serve(&writer.finish(kind, 0x1234), ROOM);
        assert_eq!(u32::from_le_bytes(answer[..4].try_into().unwrap()) as usize, answer.len());
        assert_eq!(answer[5..7], [0x34, 0x12]);
        let body = answer[7..].to_vec();
        match answer[4] {
            ERROR => Err(Errno::from_raw_os_error(i32::from_le_bytes(body.try_into().unwrap()))),
            other => {
                assert_eq!(other, kind + 1);
                Ok(body)
            }
        }
    }
    /// Walks from `fid` to `new`; the number of names that were found.
    fn walk(&self, fid: u32, new: u32, names: &[&[u8]]) -> Result<u16, Errno> {
        let answer = self.call(WALK, |m| {
            m.u32(fid);
            m.u32(new);
            m.u16(names.len() as u16);
            names.iter().for_each(|name| m.string(name));
        })?;
        Ok(u16::from_le_bytes([answer[0], answer[1]]))
    }
    fn open(&self, fid: u32, flags: u32) -> Result<Vec<u8>, Errno> {
        self.call(OPEN, |m| {
            m.u32(fid);
            m.u32(flags);
        })
    }
    fn read(&self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, Errno> {
        self.call(READ, |m| {
            m.u32(fid);
            m.u64(offset);
            m.u32(count);
        })
        .map(|body| body[4..].to_vec())
    }
    fn write(&self, fid: u32, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let body = self.call(WRITE, |m| {
            m.u32(fid);
            m.u64(offset);
            m.u32(data.len() as u32);
            m.0.extend(data);
        })?;
        Ok(u32::from_le_bytes(body.try_into().unwrap()))
    }
    fn clunk(&self, fid: u32) -> Result<Vec<u8>, Errno> {
        self.call(CLUNK, |m| m.u32(fid))
    }
    fn create(&self, fid: u32, name: &[u8], flags: u32) -> Result<Vec<u8>, Errno> {
        self.call(CREATE, |m| {
            m.u32(fid);
            m.string(name);
            m.u32(flags);
            m.u32(0o640);
            m.u32(0);
        })
    }
    /// Names in the open directory `fid`, read so many bytes at a time.
    fn names(&self, fid: u32, count: u32) -> Vec<(String, u8)> {
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let body = self
                .call(READDIR, |m| {
                    m.u32(fid);
                    m.u64(offset);
                    m.u32(count);
                })
                .unwrap();
            let mut m = Reader::new(&body[4..]);
            if body.len() == 4 {
                all.sort();
                return all;
            }
            while m.bytes(13).is_ok() {
                offset = m.u64().unwrap();
                let kind = m.u8().unwrap();
                all.push((String::from_utf8(m.string().unwrap().to_vec()).unwrap(), kind));
            }
        }
    }
    fn set(&self, fid: u32, valid: u32, mode: u32, size: u64, mtime: u64) -> Result<Vec<u8>, Errno> {
        self.call(SETATTR, |m| {
            [fid, valid, mode, 7, 7].into_iter().for_each(|number| m.u32(number));
            [size, 0, 0, mtime, 5].into_iter().for_each(|number| m.u64(number));
        })
    }
}

#[test]
fn files_are_found_read_and_written() {
    let b = bench();
    assert_eq!(b.walk(0, 1, &[b"sub", b"inner"]), Ok(2));
    let opened = b.open(1, 2).unwrap();
    assert_eq!((opened.len(), opened[0]), (17, 0));
    assert_eq!((b.read(1, 1, 100), b.read(1, 100, 9)), (Ok(b"nner".to_vec()), Ok(vec![])));
    assert_eq!((b.write(1, 2, b"XYZ!"), b.read(1, 0, 100)), (Ok(4), Ok(b"inXYZ!".to_vec())));
    assert_eq!(std_fs::read(b.path("sub/inner")).unwrap(), b"inXYZ!");
    for data_only in [0, 1] {
        assert_eq!(
            b.call(FSYNC, |m| {
                m.u32(1);
                m.u32(data_only);
            }),
            Ok(vec![])
        );
    }
    assert_eq!(
        (b.open(1, 0), b.clunk(1), b.clunk(1), b.read(1, 0, 1)),
        (Err(Errno::BUSY), Ok(vec![]), Err(Errno::BADF), Err(Errno::BADF))
    );
    // As far as there is something: the new fid is then none.
    assert_eq!(b.walk(0, 1, &[b"sub", b"none", b"more"]), Ok(1));
    assert_eq!((b.clunk(1), b.walk(0, 1, &[b"none"])), (Err(Errno::BADF), Err(Errno::NOENT)));
    assert_eq!(
        (b.walk(0, 1, &[b"file"]), b.walk(0, 1, &[]), b.walk(0, NO_FID, &[])),
        (Ok(1), Err(Errno::BADF), Err(Errno::BADF))
    );
    assert_eq!(
        (b.open(1, 0o1001), std_fs::read(b.path("file")).unwrap().len()),
        (
            b.call(GETATTR, |m| {
                m.u32(1);
                m.u64(1);
            })
            .map(|body| [&body[8..21], &[0; 4]].concat()),
            0
        )
    );
    assert_eq!(
        b.create(0, b"new", 0o202),
        Ok(b.call(GETATTR, |m| {
            m.u32(0);
            m.u64(1);
        })
        .map(|body| [&body[8..21], &[0; 4]].concat())
        .unwrap())
    );
    assert_eq!(
        (b.write(0, 0, b"made"), std_fs::metadata(b.path("new")).unwrap().mode() & 0o7777),
        (Ok(4), 0o640 & !umask())
    );
}

/// What the process takes away from the modes of new files.
fn umask() -> u32 {
    let text = std_fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn directories_are_listed_in_any_portions() {
    let b = bench();
    (0..100).for_each(|n| std_fs::write(b.path(&format!("sub/file-{n:03}")), "").unwrap());
    for count in [40, 100, 60_000] {
        assert_eq!(b.walk(0, 1, &[b"sub"]), Ok(1));
        b.open(1, 0o200000).unwrap();
        let names = b.names(1, count);
        assert_eq!((names.len(), &names[2], &names[102]), (103, &("file-000".into(), 8), &("inner".into(), 8)));
        b.clunk(1).unwrap();
    }
    b.walk(0, 1, &[]).unwrap();
    b.open(1, 0).unwrap();
    let kinds: Vec<_> = b.names(1, 4096).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [4, 4, 10, 10, 10, 8, 4]);
    assert_eq!(b.read(1, 0, 10), Err(Errno::ISDIR));
    assert_eq!(
        b.call(READDIR, |m| {
            m.u32(0);
            m.u64(0);
            m.u32(9);
        }),
        Err(Errno::BADF)
    );
}

#[test]
fn trees_are_changed() {
    let b = bench();
    let attributes = |fid| {
        b.call(GETATTR, |m| {
            m.u32(fid);
            m.u64(u64::MAX);
        })
    };
    b.call(MKDIR, |m| {
        m.u32(0);
        m.string(b"made");
        m.u32(0o700);
        m.u32(0);
    })
    .unwrap();
    b.call(SYMLINK, |m| {
        m.u32(0);
        m.string(b"link");
        m.string(b"/any/where");
        m.u32(0);
    })
    .unwrap();
    b.walk(0, 1, &[b"link"]).unwrap();
    assert_eq!(b.call(READLINK, |m| m.u32(1)), Ok(message(|m| m.string(b"/any/where"))));
    assert_eq!(std_fs::read_link(b.path("link")).unwrap(), Path::new("/any/where"));
    b.walk(0, 2, &[b"file"]).unwrap();
    b.call(LINK, |m| {
        m.u32(0);
        m.u32(2);
        m.string(b"second");
    })
    .unwrap();
    let body = attributes(2).unwrap();
    assert_eq!((body.len(), body[0..8] == 0x7ff_u64.to_le_bytes(), body[33]), (153, true, 2), "two names");
    // What is below a directory that is renamed goes with it.
    b.walk(0, 3, &[b"sub", b"inner"]).unwrap();
    b.call(RENAMEAT, |m| {
        m.u32(0);
        m.string(b"sub");
        m.u32(0);
        m.string(b"moved");
    })
    .unwrap();
    assert_eq!((attributes(3).is_ok(), b.path("moved/inner").exists()), (true, true));
    b.walk(0, 4, &[b"made"]).unwrap();
    b.call(RENAME, |m| {
        m.u32(3);
        m.u32(4);
        m.string(b"renamed");
    })
    .unwrap();
    assert_eq!((b.open(3, 0).is_ok(), b.path("made/renamed").exists()), (true, true));
    // Removed while open.
    b.call(UNLINKAT, |m| {
        m.u32(4);
        m.string(b"renamed");
        m.u32(0);
    })
    .unwrap();
    assert_eq!((b.read(3, 0, 5), attributes(3).map(|body| body[33])), (Ok(b"inner".to_vec()), Ok(0)));
    assert_eq!(
        b.call(UNLINKAT, |m| {
            m.u32(0);
            m.string(b"made");
            m.u32(0);
        }),
        Err(Errno::ISDIR)
    );
    b.call(UNLINKAT, |m| {
        m.u32(0);
        m.string(b"made");
        m.u32(0x200);
    })
    .unwrap();
    b.call(REMOVE, |m| m.u32(1)).unwrap();
    assert_eq!((b.path("link").symlink_metadata().is_err(), b.clunk(1)), (true, Err(Errno::BADF)));
    assert_eq!(b.call(REMOVE, |m| m.u32(0)), Err(Errno::BUSY), "the folder itself stays");
}

#[test]
fn attributes_are_set() {
    let b = bench();
    b.walk(0, 1, &[b"file"]).unwrap();
    b.set(1, SET_MODE | SET_SIZE | SET_MTIME | SET_MTIME_TO, 0o4751, 3, 1_000_000).unwrap();
    let stat = std_fs::metadata(b.path("file")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.len(), stat.mtime(), stat.mtime_nsec()), (0o4751, 3, 1_000_000, 5));
    b.open(1, 0).unwrap();
    b.set(1, SET_SIZE | SET_ATIME, 0, 5, 0).unwrap();
    assert_eq!(std_fs::read(b.path("file")).unwrap(), b"con\0\0");
    // Those of a link are its own, or there are none.
    b.walk(0, 2, &[b"alias"]).unwrap();
    b.set(2, SET_MTIME | SET_MTIME_TO, 0, 0, 77).unwrap();
    assert_eq!(
        (
            std_fs::symlink_metadata(b.path("alias")).unwrap().mtime(),
            std_fs::metadata(b.path("file")).unwrap().mtime() != 77
        ),
        (77, true)
    );
    assert_eq!(
        (b.set(2, SET_MODE, 0o777, 0, 0), b.set(2, SET_SIZE, 0, 0, 0)),
        (Err(Errno::OPNOTSUPP), Err(Errno::LOOP))
    );
    // Whoever runs this may be anybody: what the host refuses is ignored.
    assert_eq!(b.set(2, SET_UID | SET_GID, 0, 0, 0), Ok(vec![]));
    let statfs = b.call(STATFS, |m| m.u32(0)).unwrap();
    assert_eq!((statfs.len(), statfs[..4] == 0x0102_1997_u32.to_le_bytes()), (60, true));
}

#[test]
fn links_are_the_guests_to_follow() {
    let b = bench();
    for name in [&b"escape"[..], b"absolute", b"alias"] {
        assert_eq!(b.walk(0, 1, &[name]), Ok(1));
        assert_eq!((b.open(1, 0), b.clunk(1)), (Err(Errno::LOOP), Ok(vec![])));
        // One name further is through the link.
        assert_eq!(b.walk(0, 1, &[name, b"secret"]), Ok(1), "the link alone");
        assert_eq!(b.create(0, name, 2), Err(Errno::LOOP));
    }
    b.walk(0, 1, &[b"escape"]).unwrap();
    assert_eq!(
        b.call(MKDIR, |m| {
            m.u32(1);
            m.string(b"x");
            m.u32(0o700);
            m.u32(0);
        }),
        Err(Errno::NOTDIR)
    );
    assert_eq!(
        b.call(UNLINKAT, |m| {
            m.u32(1);
            m.string(b"secret");
            m.u32(0);
        }),
        Err(Errno::NOTDIR)
    );
    assert_eq!(b.walk(1, 2, &[b"secret"]), Err(Errno::LOOP));
    assert!(b.dir.join("outside/secret").exists());
}

#[test]
fn names_cannot_leave_the_folder() {
    let b = bench();
    let hostile: [&[u8]; 11] =
        [b"..", b".", b"", b"../outside", b"/etc", b"sub/../..", b"a/b", b"..\0", b"file\0", b"\0", b"sub/inner"];
    for name in hostile {
        assert!(b.create(0, name, 2).is_err(), "{name:?}");
        assert!(
            b.call(MKDIR, |m| {
                m.u32(0);
                m.string(name);
                m.u32(0o700);
                m.u32(0);
            })
            .is_err()
        );
        assert!(
            b.call(SYMLINK, |m| {
                m.u32(0);
                m.string(name);
                m.string(b"x");
                m.u32(0);
            })
            .is_err()
        );
        assert!(
            b.call(MKNOD, |m| {
                m.u32(0);
                m.string(name);
                (0..4).for_each(|_| m.u32(0o100600));
            })
            .is_err()
        );
        assert!(
            b.call(UNLINKAT, |m| {
                m.u32(0);
                m.string(name);
                m.u32(0x200);
            })
            .is_err()
        );
        assert!(
            b.call(RENAMEAT, |m| {
                m.u32(0);
                m.string(b"file");
                m.u32(0);
                m.string(name);
            })
            .is_err()
        );
        assert!(
            b.call(RENAMEAT, |m| {
                m.u32(0);
                m.string(name);
                m.u32(0);
                m.string(b"taken");
            })
            .is_err()
        );
        b.walk(0, 9, &[b"file"]).unwrap();
        assert!(
            b.call(LINK, |m| {
                m.u32(0);
                m.u32(9);
                m.string(name);
            })
            .is_err()
        );
        assert!(
            b.call(RENAME, |m| {
                m.u32(9);
                m.u32(0);
                m.string(name);
            })
            .is_err()
        );
        b.clunk(9).unwrap();
        if !matches!(name, b".." | b".") {
            assert_eq!(b.walk(0, 1, &[name]), Err(Errno::NOENT), "{name:?}");
        }
    }
    // The folder is its own parent.
    assert_eq!(b.walk(0, 1, &[b"..", b"..", b"sub", b"..", b"."]), Ok(5));
    assert_eq!((b.walk(1, 2, &[b"file"]), b.walk(1, 3, &[b"outside"])), (Ok(1), Err(Errno::NOENT)));
    assert_eq!(b.walk(0, 4, &[&b"x"[..]; 17]), Err(Errno::INVAL));
    let long = vec![b'x'; 300];
    assert_eq!(b.walk(0, 4, &[&long]), Err(Errno::NAMETOOLONG));
    assert_eq!(std_fs::read_dir(b.dir.join("outside")).unwrap().count(), 1);
    assert_eq!(std_fs::read(b.path("file")).unwrap(), b"contents");
}

#[test]
fn a_folder_that_is_swapped_against_a_link_is_no_way_out() {
    let b = bench();
    std_fs::create_dir(b.path("real")).unwrap();
    std_fs::write(b.path("real/secret"), "public").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // real -> swap -> a link of the same name -> away again.
            while !stop.load(Ordering::Relaxed) {
                std_fs::rename(b.path("real"), b.path("aside")).unwrap();
                symlink("../outside", b.path("real")).unwrap();
                std_fs::remove_file(b.path("real")).unwrap();
                std_fs::rename(b.path("aside"), b.path("real")).unwrap();
            }
        });
        let end = Instant::now() + Duration::from_millis(600);
        let (mut seen, mut rounds) = (0, 0);
        while Instant::now() < end {
            rounds += 1;
            if b.walk(0, 1, &[b"real", b"secret"]) == Ok(2) && b.open(1, 0).is_ok() {
                assert_eq!(b.read(1, 0, 100), Ok(b"public".to_vec()));
                seen += 1;
            }
            let _ = b.clunk(1);
            if b.walk(0, 2, &[b"real"]) == Ok(1) {
                let _ = b.create(2, format!("new-{rounds}").as_bytes(), 2);
            }
            let _ = b.clunk(2);
            b.walk(0, 3, &[]).unwrap();
            let _ = b.call(RENAMEAT, |m| {
                m.u32(3);
                m.string(b"file");
                m.u32(3);
                m.string(b"file2");
            });
            let _ = b.call(RENAMEAT, |m| {
                m.u32(3);
                m.string(b"file2");
                m.u32(3);
                m.string(b"file");
            });
            b.clunk(3).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(seen > 0 && rounds > 100, "{seen} of {rounds}");
    });
    assert_eq!(std_fs::read_dir(b.dir.join("outside")).unwrap().count(), 1, "nothing was made outside");
}

#[test]
fn special_files_neither_block_nor_open() {
    let b = bench();
    let node = |name: &[u8], mode: u32| {
        b.call(MKNOD, |m| {
            m.u32(0);
            m.string(name);
            m.u32(mode);
            m.u32(1);
            m.u32(3);
            m.u32(0);
        })
    };
    for (name, mode) in [(&b"fifo"[..], 0o010600), (b"socket", 0o140600), (b"plain", 0o100600)] {
        assert!(node(name, mode).is_ok());
    }
    assert!(std_fs::symlink_metadata(b.path("fifo")).unwrap().file_type().is_fifo());
    for mode in [0o020600, 0o060600, 0o040700, 0o120777, 0] {
        assert_eq!(node(b"device", mode), Err(Errno::PERM), "{mode:o}");
    }
    let started = Instant::now();
    for name in [&b"fifo"[..], b"socket"] {
        for flags in [0, 1, 2, 0o1001] {
            b.walk(0, 1, &[name]).unwrap();
            assert_eq!((b.open(1, flags), b.clunk(1)), (Err(Errno::OPNOTSUPP), Ok(vec![])));
            assert_eq!(b.create(0, name, flags), Err(Errno::OPNOTSUPP));
        }
        b.walk(0, 1, &[name]).unwrap();
        assert!(b.set(1, SET_SIZE, 0, 0, 0).is_err());
        b.clunk(1).unwrap();
    }
    // Devices of the host that are in the folder, where whoever runs this may make one.
    if rustix::fs::mknodat(
        rustix::fs::CWD,
        b.path("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .is_ok()
    {
        b.walk(0, 1, &[b"null"]).unwrap();
        assert_eq!(b.open(1, 2), Err(Errno::OPNOTSUPP));
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_read_only_folder_stays_as_it_is() {
    let b = bench_with(true);
    b.walk(0, 1, &[b"file"]).unwrap();
    for flags in [1, 2, 0o1000] {
        assert_eq!(b.open(1, flags), Err(Errno::ROFS));
    }
    assert!(b.open(1, 0).is_ok());
    assert_eq!(
        (b.read(1, 0, 3), b.write(1, 0, b"x"), b.set(1, SET_MODE, 0, 0, 0)),
        (Ok(b"con".to_vec()), Err(Errno::ROFS), Err(Errno::ROFS))
    );
    assert_eq!(b.create(0, b"new", 2), Err(Errno::ROFS));
    for kind in [MKDIR, MKNOD, SYMLINK, UNLINKAT] {
        let result = b.call(kind, |m| {
            m.u32(0);
            m.string(b"new");
            m.0.extend([0; 16]);
        });
        assert_eq!(result, Err(Errno::ROFS), "{kind}");
    }
    assert_eq!(
        b.call(RENAMEAT, |m| {
            m.u32(0);
            m.string(b"file");
            m.u32(0);
            m.string(b"x");
        }),
        Err(Errno::ROFS)
    );
    assert_eq!(
        b.call(LINK, |m| {
            m.u32(0);
            m.u32(1);
            m.string(b"x");
        }),
        Err(Errno::ROFS)
    );
}

#[test]
fn refused_requests() {
    let b = bench();
    assert_eq!(
        b.call(XATTRWALK, |m| {
            m.u32(0);
            m.u32(1);
            m.string(b"user.x");
        }),
        Err(Errno::OPNOTSUPP)
    );
    assert_eq!(b.call(XATTRCREATE, |m| m.u32(0)), Err(Errno::OPNOTSUPP));
    assert_eq!(b.call(AUTH, |m| m.u32(0)), Err(Errno::OPNOTSUPP));
    assert_eq!((b.call(250, |_| {}), b.call(WALK, |_| {})), (Err(Errno::OPNOTSUPP), Err(Errno::PROTO)));
    assert_eq!(
        b.call(WRITE, |m| {
            m.u32(0);
            m.u64(0);
            m.u32(u32::MAX);
        }),
        Err(Errno::PROTO)
    );
    assert_eq!(b.call(FLUSH, |m| m.u16(9)), Ok(vec![]));
    assert_eq!(b.call(LOCK, |m| m.u32(0)), Ok(vec![0]));
    assert_eq!(
        b.call(VERSION_OF, |m| {
            m.u32(100);
            m.string(VERSION);
        }),
        Err(Errno::MSGSIZE)
    );
    assert_eq!(b.walk(0, 1, &[]), Err(Errno::BADF), "a version begins anew");
    assert_eq!(
        b.call(VERSION_OF, |m| {
            m.u32(u32::MAX);
            m.string(b"9P2000.u");
        }),
        Ok(message(|m| {
            m.u32(MESSAGE_MAX);
            m.string(b"unknown");
        }))
    );
    for request in [&[][..], &[7, 0, 0, 0, 100, 0], &[9, 0, 0, 0, 100, 0, 0], &[0xff; 40]] {
        let answer = b.server.serve(request, ROOM);
        assert_eq!((answer.len(), answer[4]), (11, ERROR));
    }
    let b = bench();
    b.walk(0, 1, &[b"file"]).unwrap();
    b.open(1, 0).unwrap();
    assert_eq!(b.read(1, u64::MAX, 9), Err(Errno::INVAL));
    assert_eq!(b.read(1, 0, u32::MAX).unwrap(), b"contents");
    let long = message(|m| {
        m.u32(1);
        m.u64(0);
        m.u32(100);
    });
    assert_eq!(b.server.serve(&Writer(long).finish(READ, 1), 15).len(), 15, "no more than there is room for");
}

#[test]
fn fids_and_open_files_are_bounded() {
    let mut b = bench();
    b.server.open_max = 3;
    for fid in 1..=4 {
        b.walk(0, fid, &[b"file"]).unwrap();
        assert_eq!(b.open(fid, 0).is_ok(), fid <= 3, "{fid}");
    }
    b.clunk(1).unwrap();
    assert!(b.open(4, 0).is_ok());
    let mut s = Session::new();
    let place = vec![b'x'; 4000];
    let made = (0..).take_while(|fid| s.insert(*fid, place.clone(), 0).is_ok()).count();
    assert_eq!(made, PLACES_MAX / 4000);
    (0..made as u32).for_each(|fid| _ = s.remove(fid).unwrap());
    assert_eq!(s.places, 0);
}

#[test]
fn any_message() {
    let b = bench();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let names: [&[u8]; 12] =
        [b"file", b"sub", b"inner", b"escape", b"absolute", b"alias", b"..", b".", b"", b"new", b"a/b", b"fifo"];
    let started = Instant::now();
    for round in 0..20_000 {
        let kind = [
            OPEN, CREATE, SYMLINK, MKNOD, RENAME, READLINK, GETATTR, SETATTR, READDIR, FSYNC, LINK, MKDIR, RENAMEAT,
            UNLINKAT, ATTACH, WALK, WALK, READ, WRITE, CLUNK, REMOVE, STATFS,
        ][random(22) as usize];
        let mut m = Writer::default();
        for _ in 0..random(8) {
            match random(4) {
                0 => m.string(names[random(12) as usize]),
                1 => m.u16(random(4) as u16),
                2 => m.u64(random(1 << 20)),
                _ => m.u32(random(6) as u32),
            }
        }
        // Mostly what the request is made of.
        if round % 2 == 0 {
            m.0.clear();
            m.u32(random(6) as u32);
            match kind {
                WALK => {
                    m.u32(random(6) as u32);
                    let count = random(4);
                    m.u16(count as u16);
                    (0..count).for_each(|_| m.string(names[random(12) as usize]));
                }
                RENAMEAT => {
                    m.string(names[random(12) as usize]);
                    m.u32(random(6) as u32);
                    m.string(names[random(12) as usize]);
                }
                _ => m.string(names[random(12) as usize]),
            }
            (0..6).for_each(|_| m.u32(random(0o1000) as u32));
        }
        let answer = b.server.serve(&m.finish(kind, 0), 4096);
        assert!((7..=4096).contains(&answer.len()));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(std_fs::read(b.dir.join("outside/secret")).unwrap(), b"secret");
    let outside = std_fs::read_dir(b.dir.join("outside")).unwrap().count();
    let top = std_fs::read_dir(&b.dir).unwrap().count();
    assert_eq!((outside, top), (1, 2), "nothing came or went outside");
    let _ = std_fs::set_permissions(&b.dir, PermissionsExt::from_mode(0o700));
}
