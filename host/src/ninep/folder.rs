//! Files below one folder of the host, and nothing else.
//!
//! Every path is resolved by `openat2` beneath the folder, without following any symbolic link: what changes in the tree
//! meanwhile can make an operation fail, not leave the folder. The last component is never followed either: operations
//! take a handle that stands for the file itself (`O_PATH`), or its name in an open directory. A file is opened only once
//! its handle is known to be that of a regular file or directory, so that no FIFO blocks and no device is touched.

use super::message::Qid;
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timestamps, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Bytes of a path from the folder on at most.
pub const PATH_MAX: usize = 4095;

/// How often a path is resolved while others rename what it leads through.
const TRIES: u32 = 100;

/// The folder.
pub struct Folder {
    root: OwnedFd,
    device: u64,
    pub read_only: bool,
}

/// Where a file is: components with slashes between, empty for the folder itself.
pub type Place = Vec<u8>;

/// Whether a guest may use `name` as one: one component that is neither this nor the parent directory.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// `name` below `place`.
pub fn below(place: &[u8], name: &[u8]) -> Result<Place, Errno> {
    let slash: &[u8] = if place.is_empty() { b"" } else { b"/" };
    let path = [place, slash, name].concat();
    if path.len() > PATH_MAX { Err(Errno::NAMETOOLONG) } else { Ok(path) }
}

/// The directory that `place` is in, and its name there; the folder itself has neither.
pub fn split(place: &[u8]) -> Option<(&[u8], &[u8])> {
    match place.iter().rposition(|byte| *byte == b'/') {
        Some(at) => Some((place.get(..at)?, place.get(at + 1..)?)),
        None if place.is_empty() => None,
        None => Some((b"", place)),
    }
}

impl Folder {
    /// The folder `path`.
    pub fn open(path: &Path, read_only: bool) -> std::io::Result<Self> {
        let root = fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let folder = Self { device: fs::fstat(&root)?.st_dev, root, read_only };
        // A kernel without openat2 (before 5.6) could not keep the guest in.
        folder.handle(b"")?;
        Ok(folder)
    }

    fn resolve(&self, place: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let place: &[u8] = if place.is_empty() { b"." } else { place };
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            // EAGAIN: something was renamed while a `..` was resolved. Places have none, but the kernel may say so.
            match fs::openat2(&self.root, place, flags, Mode::empty(), inside) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// A handle of the file at `place`, which may be a symbolic link.
    pub fn handle(&self, place: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(place, OFlags::empty())
    }

    /// A handle of the directory at `place`.
    fn directory(&self, place: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(place, OFlags::DIRECTORY)
    }

    /// A handle of the directory that holds `place`, and the name there.
    fn parent<'a>(&self, place: &'a [u8]) -> Result<(OwnedFd, &'a [u8]), Errno> {
        let (parent, name) = split(place).ok_or(Errno::BUSY)?;
        Ok((self.directory(parent)?, name))
    }

    /// A handle of the directory at `place` in which `name` is to be made or removed.
    fn change(&self, place: &[u8], name: &[u8]) -> Result<OwnedFd, Errno> {
        self.writable()?;
        if !is_name(name) {
            return Err(if matches!(name, b"." | b"..") { Errno::EXIST } else { Errno::NOENT });
        }
        self.directory(place)
    }

    pub fn writable(&self) -> Result<(), Errno> {
        if self.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    pub fn stat(&self, place: &[u8]) -> Result<Stat, Errno> {
        fs::fstat(self.handle(place)?)
    }

    /// The name of a file for the guest.
    pub fn qid(&self, stat: &Stat) -> Qid {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => 0x80,
            FileType::Symlink => 0x02,
            _ => 0,
        };
        let version = (stat.st_mtime as u32) ^ ((stat.st_size as u32) << 8);
        Qid { kind, version, path: self.number(stat.st_dev, stat.st_ino) }
    }

    /// Inode numbers of other file systems that are mounted in the folder get another upper half.
    fn number(&self, device: u64, inode: u64) -> u64 {
        if device == self.device { inode } else { inode ^ device.wrapping_mul(0x9e37_79b9_7f4a_7c15) << 32 }
    }

    /// The same for an entry of a directory, of which the file system is not known.
    pub fn entry_qid(&self, kind: FileType, inode: u64) -> Qid {
        let kind = match kind {
            FileType::Directory => 0x80,
            FileType::Symlink => 0x02,
            _ => 0,
        };
        Qid { kind, version: 0, path: inode }
    }

    /// Opens the file that `handle` stands for, if that can neither block nor do anything by itself.
    fn reopen(&self, handle: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let directory = match FileType::from_raw_mode(fs::fstat(handle)?.st_mode) {
            FileType::RegularFile => OFlags::empty(),
            FileType::Directory => OFlags::DIRECTORY,
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::OPNOTSUPP),
        };
        let flags = flags | directory | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        fs::openat(CWD, own(handle), flags, Mode::empty())
    }

    /// Opens the file or directory at `place`.
    pub fn open_file(&self, place: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.reopen(&self.handle(place)?, flags)
    }

    /// Makes the regular file `name` in the directory at `place`, or opens it if it is there and `flags` allow that.
    pub fn create(&self, place: &[u8], name: &[u8], flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        let directory = self.change(place, name)?;
        let new = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        match fs::openat(&directory, name, new | OFlags::NONBLOCK, permissions(mode)) {
            Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => self.open_file(&below(place, name)?, flags),
            result => result,
        }
    }

    pub fn make_directory(&self, place: &[u8], name: &[u8], mode: u32) -> Result<(), Errno> {
        fs::mkdirat(self.change(place, name)?, name, permissions(mode))
    }

    pub fn make_symlink(&self, place: &[u8], name: &[u8], target: &[u8]) -> Result<(), Errno> {
        fs::symlinkat(target, self.change(place, name)?, name)
    }

    /// Makes a special file; devices of the host are not the guest's to make.
    pub fn make_node(&self, place: &[u8], name: &[u8], mode: u32) -> Result<(), Errno> {
        let directory = self.change(place, name)?;
        let kind = match FileType::from_raw_mode(mode) {
            kind @ (FileType::RegularFile | FileType::Fifo | FileType::Socket) => kind,
            _ => return Err(Errno::PERM),
        };
        fs::mknodat(directory, name, kind, permissions(mode), 0)
    }

    pub fn link(&self, from: &[u8], place: &[u8], name: &[u8]) -> Result<(), Errno> {
        let directory = self.change(place, name)?;
        let (old, old_name) = self.parent(from)?;
        fs::linkat(old, old_name, directory, name, AtFlags::empty())
    }

    pub fn rename(&self, from: &[u8], old: &[u8], to: &[u8], new: &[u8]) -> Result<(), Errno> {
        fs::renameat(self.change(from, old)?, old, self.change(to, new)?, new)
    }

    /// Removes `name`, a directory or not.
    pub fn unlink(&self, place: &[u8], name: &[u8], directory: bool) -> Result<(), Errno> {
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        fs::unlinkat(self.change(place, name)?, name, flags)
    }

    pub fn read_link(&self, place: &[u8]) -> Result<Vec<u8>, Errno> {
        // Of a handle of the link itself, without a name.
        Ok(fs::readlinkat(self.handle(place)?, "", Vec::new())?.into_bytes())
    }

    pub fn set_mode(&self, place: &[u8], mode: u32) -> Result<(), Errno> {
        self.writable()?;
        let handle = self.handle(place)?;
        if FileType::from_raw_mode(fs::fstat(&handle)?.st_mode) == FileType::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        fs::chmod(own(&handle), permissions(mode))
    }

    pub fn set_owner(&self, place: &[u8], user: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
        self.writable()?;
        // All ones would mean "as it is".
        let known = |id: u32| if id == u32::MAX { Err(Errno::INVAL) } else { Ok(id) };
        let user = user.map(known).transpose()?.map(Uid::from_raw);
        let group = group.map(known).transpose()?.map(Gid::from_raw);
        fs::chownat(self.handle(place)?, "", user, group, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
    }

    pub fn set_size(&self, place: &[u8], size: u64) -> Result<(), Errno> {
        self.writable()?;
        fs::ftruncate(self.open_file(place, OFlags::WRONLY)?, size)
    }

    pub fn set_times(&self, place: &[u8], times: &Timestamps) -> Result<(), Errno> {
        self.writable()?;
        match self.parent(place) {
            Ok((directory, name)) => fs::utimensat(directory, name, times, AtFlags::SYMLINK_NOFOLLOW),
            // The folder itself is no link.
            Err(_) => fs::utimensat(&self.root, ".", times, AtFlags::empty()),
        }
    }
}

/// The file that a handle stands for, as a path: through the process's own descriptors, which no guest can change.
fn own(handle: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
