//! A folder of the host for a guest: a server for 9P2000.L, as Linux's client and QEMU's server speak it (the protocol is
//! described in "9p2000.L", https://github.com/chaos/diod/blob/master/protocol.md, and in the kernel's
//! include/net/9p/9p.h).
//!
//! - here: the protocol, and what the guest has open;
//! - [`folder`]: the files, with the reasons why no guest gets out of the folder;
//! - [`message`]: numbers and strings in messages.
//!
//! A fid is a place below the folder, and a file if it was opened. Extended attributes are refused, locks are the guest's
//! own. There is no waiting: files that could make somebody wait are not opened.

mod folder;
mod message;
#[cfg(test)]
mod tests;

use crate::error::{HostError, reason};
use folder::{Folder, Place, below, is_name, split};
use message::{HEADER_LEN, Qid, Reader, Writer};
use rustix::fs::{self, OFlags, RawDir, SeekFrom, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use vm::ninep::NinepServer;

const VERSION: &[u8] = b"9P2000.L";
/// Bytes of a message at most, and at least.
pub const MESSAGE_MAX: u32 = 512 << 10;
const MESSAGE_MIN: u32 = 4096;
/// Fids at most, and bytes of all their places.
const FIDS_MAX: usize = 1 << 16;
const PLACES_MAX: usize = 32 << 20;
/// Open files at most, as far as the host's limit allows.
const OPEN_MAX: u64 = 4096;
/// Names of one walk at most.
const WALK_MAX: u16 = 16;
/// Fid that is none.
const NO_FID: u32 = u32::MAX;

// Types of requests; the answer has the next number.
const ERROR: u8 = 7;
const STATFS: u8 = 8;
const OPEN: u8 = 12;
const CREATE: u8 = 14;
const SYMLINK: u8 = 16;
const MKNOD: u8 = 18;
const RENAME: u8 = 20;
const READLINK: u8 = 22;
const GETATTR: u8 = 24;
const SETATTR: u8 = 26;
const XATTRWALK: u8 = 30;
const XATTRCREATE: u8 = 32;
const READDIR: u8 = 40;
const FSYNC: u8 = 50;
const LOCK: u8 = 52;
const GETLOCK: u8 = 54;
const LINK: u8 = 70;
const MKDIR: u8 = 72;
const RENAMEAT: u8 = 74;
const UNLINKAT: u8 = 76;
const VERSION_OF: u8 = 100;
const AUTH: u8 = 102;
const ATTACH: u8 = 104;
const FLUSH: u8 = 108;
const WALK: u8 = 110;
const READ: u8 = 116;
const WRITE: u8 = 118;
const CLUNK: u8 = 120;
const REMOVE: u8 = 122;

// Bits of SETATTR.
const SET_MODE: u32 = 1;
const SET_UID: u32 = 2;
const SET_GID: u32 = 4;
const SET_SIZE: u32 = 8;
const SET_ATIME: u32 = 0x10;
const SET_MTIME: u32 = 0x20;
const SET_ATIME_TO: u32 = 0x80;
const SET_MTIME_TO: u32 = 0x100;
/// GETATTR: what is told of every file.
const BASIC: u64 = 0x7ff;
/// UNLINKAT: remove a directory (`AT_REMOVEDIR`).
const REMOVE_DIRECTORY: u32 = 0x200;

/// What becomes of the owners that a guest gives files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Files have the owner that the guest wants; what the host refuses fails.
    #[default]
    Passthrough,
    /// The same, but what the host refuses is ignored.
    None,
}

/// How a folder is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderOptions {
    pub path: PathBuf,
    pub read_only: bool,
    pub security: Security,
}

/// The server.
pub struct Server {
    folder: Folder,
    security: Security,
    open_max: usize,
    session: Mutex<Session>,
}

/// What a guest has under way.
struct Session {
    message_max: u32,
    fids: HashMap<u32, Fid>,
    places: usize,
    open: usize,
}

struct Fid {
    place: Place,
    file: Option<OwnedFd>,
    /// The owner that new files get.
    user: u32,
}

/// Shares the folder that `options` name.
///
/// # Errors
/// When it cannot be opened.
pub fn open(options: &FolderOptions) -> Result<Server, HostError> {
    let folder = Folder::open(&options.path, options.read_only).map_err(|error| {
        let advice = "name a directory that exists, and that you may read";
        HostError::new("share", "folder", options.path.display().to_string(), reason(&error), advice)
    })?;
    Ok(Server { folder, security: options.security, open_max: open_max(), session: Mutex::new(Session::new()) })
}

/// How many files a guest may have open: no more than half of what the program may.
fn open_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(4 * OPEN_MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (now / 2).min(OPEN_MAX) as usize
}

impl Session {
    fn new() -> Self {
        Self { message_max: MESSAGE_MAX, fids: HashMap::new(), places: 0, open: 0 }
    }

    fn fid(&self, fid: u32) -> Result<&Fid, Errno> {
        self.fids.get(&fid).ok_or(Errno::BADF)
    }

    fn place(&self, fid: u32) -> Result<&[u8], Errno> {
        Ok(&self.fid(fid)?.place)
    }

    fn file(&self, fid: u32) -> Result<&OwnedFd, Errno> {
        self.fid(fid)?.file.as_ref().ok_or(Errno::BADF)
    }

    fn insert(&mut self, fid: u32, place: Place, user: u32) -> Result<(), Errno> {
        if self.fids.contains_key(&fid) || fid == NO_FID {
            return Err(Errno::BADF);
        }
        if self.fids.len() >= FIDS_MAX || self.places + place.len() > PLACES_MAX {
            return Err(Errno::MFILE);
        }
        self.places += place.len();
        self.fids.insert(fid, Fid { place, file: None, user });
        Ok(())
    }

    fn remove(&mut self, fid: u32) -> Result<Fid, Errno> {
        let removed = self.fids.remove(&fid).ok_or(Errno::BADF)?;
        self.places -= removed.place.len();
        self.open -= usize::from(removed.file.is_some());
        Ok(removed)
    }

    fn opened(&mut self, fid: u32, file: OwnedFd) -> Result<(), Errno> {
        let entry = self.fids.get_mut(&fid).ok_or(Errno::BADF)?;
        if entry.file.replace(file).is_none() {
            self.open += 1;
        }
        Ok(())
    }

    fn moved(&mut self, fid: u32, place: Place) {
        if let Some(entry) = self.fids.get_mut(&fid) {
            self.places = self.places - entry.place.len() + place.len();
            entry.place = place;
        }
    }

    /// What was at `old` is at `new` now.
    fn renamed(&mut self, old: &[u8], new: &[u8]) {
        let inside = |place: &[u8]| {
            let rest = place.strip_prefix(old)?;
            (rest.is_empty() || rest.starts_with(b"/")).then(|| [new, rest].concat())
        };
        let moved: Vec<_> = self.fids.iter().filter_map(|(fid, entry)| Some((*fid, inside(&entry.place)?))).collect();
        for (fid, place) in moved {
            self.moved(fid, place);
        }
    }
}

/// Flags of the host for those of a message, which are Linux's on most architectures. The rest concerns the guest alone.
fn open_flags(flags: u32) -> OFlags {
    let access = match flags & 3 {
        0 => OFlags::RDONLY,
        1 => OFlags::WRONLY,
        _ => OFlags::RDWR,
    };
    let rows = [
        (0o200, OFlags::EXCL),
        (0o1000, OFlags::TRUNC),
        (0o2000, OFlags::APPEND),
        (0o10000, OFlags::DSYNC),
        (0o4000000, OFlags::SYNC),
    ];
    rows.into_iter().filter(|(bit, _)| flags & bit != 0).fold(access, |all, (_, flag)| all | flag)
}

fn writes(flags: u32) -> bool {
    flags & 3 != 0 || flags & 0o1000 != 0
}

impl Server {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The body of the answer to a request.
    fn answer(&self, kind: u8, m: &mut Reader<'_>, room: usize) -> Result<Writer, Errno> {
        let mut session = self.session();
        let s = &mut *session;
        let mut out = Writer::default();
        match kind {
            VERSION_OF => {
                let (wanted, version) = (m.u32()?, m.string()?);
                *s = Session::new();
                s.message_max = wanted.min(MESSAGE_MAX);
                if s.message_max < MESSAGE_MIN {
                    return Err(Errno::MSGSIZE);
                }
                out.u32(s.message_max);
                out.string(if version == VERSION { VERSION } else { b"unknown" });
            }
            // Nothing of the guest is known that could be checked.
            AUTH => return Err(Errno::OPNOTSUPP),
            ATTACH => {
                let (fid, _, _, _, user) = (m.u32()?, m.u32()?, m.string()?, m.string()?, m.u32()?);
                let qid = self.folder.qid(&self.folder.stat(b"")?);
                s.insert(fid, Place::new(), user)?;
                out.qid(qid);
            }
            // Requests are answered one after the other: what is to be given up has been answered.
            FLUSH => _ = m.u16()?,
            WALK => self.walk(s, m, &mut out)?,
            CLUNK => _ = s.remove(m.u32()?)?,
            REMOVE => {
                let fid = s.remove(m.u32()?)?;
                let (parent, name) = split(&fid.place).ok_or(Errno::BUSY)?;
                let directory = self.folder.qid(&self.folder.stat(&fid.place)?).kind == 0x80;
                self.folder.unlink(parent, name, directory)?;
            }
            OPEN => {
                let (fid, flags) = (m.u32()?, m.u32()?);
                if s.fid(fid)?.file.is_some() {
                    return Err(Errno::BUSY);
                }
                if writes(flags) {
                    self.folder.writable()?;
                }
                self.room_for_file(s)?;
                let file = self.folder.open_file(s.place(fid)?, open_flags(flags))?;
                self.opened(s, fid, file, &mut out)?;
            }
            CREATE => {
                let (fid, name, flags, mode, group) = (m.u32()?, m.string()?, m.u32()?, m.u32()?, m.u32()?);
                if s.fid(fid)?.file.is_some() {
                    return Err(Errno::BUSY);
                }
                self.room_for_file(s)?;
                let place = below(s.place(fid)?, name)?;
                let there = self.folder.handle(&place).is_ok();
                let file = self.folder.create(s.place(fid)?, name, open_flags(flags), mode)?;
                if !there {
                    self.owned(s, fid, name, group, false)?;
                }
                s.moved(fid, place);
                self.opened(s, fid, file, &mut out)?;
            }
            MKDIR => {
                let (fid, name, mode, group) = (m.u32()?, m.string()?, m.u32()?, m.u32()?);
                self.folder.make_directory(s.place(fid)?, name, mode)?;
                out.qid(self.owned(s, fid, name, group, true)?);
            }
            SYMLINK => {
                let (fid, name, target, group) = (m.u32()?, m.string()?, m.string()?, m.u32()?);
                self.folder.make_symlink(s.place(fid)?, name, target)?;
                out.qid(self.owned(s, fid, name, group, false)?);
            }
            MKNOD => {
                let (fid, name, mode) = (m.u32()?, m.string()?, m.u32()?);
                let (_, _, group) = (m.u32()?, m.u32()?, m.u32()?);
                self.folder.make_node(s.place(fid)?, name, mode)?;
                out.qid(self.owned(s, fid, name, group, false)?);
            }
            LINK => {
                let (directory, fid, name) = (m.u32()?, m.u32()?, m.string()?);
                self.folder.link(s.place(fid)?, s.place(directory)?, name)?;
            }
            RENAME => {
                let (fid, directory, name) = (m.u32()?, m.u32()?, m.string()?);
                let (old, to) = (s.place(fid)?.to_vec(), s.place(directory)?.to_vec());
                let (from, old_name) = split(&old).ok_or(Errno::BUSY)?;
                self.folder.rename(from, old_name, &to, name)?;
                s.renamed(&old, &below(&to, name)?);
            }
            RENAMEAT => {
                let (from, old, to, new) = (m.u32()?, m.string()?, m.u32()?, m.string()?);
                let (from, to) = (s.place(from)?.to_vec(), s.place(to)?.to_vec());
                let (before, after) = (below(&from, old)?, below(&to, new)?);
                self.folder.rename(&from, old, &to, new)?;
                s.renamed(&before, &after);
            }
            UNLINKAT => {
                let (fid, name, flags) = (m.u32()?, m.string()?, m.u32()?);
                self.folder.unlink(s.place(fid)?, name, flags & REMOVE_DIRECTORY != 0)?;
            }
            READLINK => out.string(&self.folder.read_link(s.place(m.u32()?)?)?),
            GETATTR => {
                let (fid, wanted) = (m.u32()?, m.u64()?);
                let stat = self.stat(s, fid)?;
                self.attributes(&stat, wanted, &mut out);
            }
            SETATTR => self.set_attributes(s, m)?,
            STATFS => {
                let stat = fs::fstatfs(self.folder.handle(s.place(m.u32()?)?)?)?;
                out.u32(0x0102_1997); // V9FS_MAGIC
                out.u32(stat.f_bsize as u32);
                let counts = [stat.f_blocks, stat.f_bfree, stat.f_bavail, stat.f_files, stat.f_ffree];
                counts.into_iter().for_each(|count| out.u64(count));
                out.u64(0);
                out.u32(stat.f_namelen as u32);
            }
            READ => {
                let (fid, offset, count) = (m.u32()?, m.u64()?, m.u32()?);
                let mut data = vec![0; self.payload(s, count, room)];
                let n = rustix::io::pread(s.file(fid)?, &mut data[..], offset)?;
                out.u32(n as u32);
                out.0.extend(data.get(..n).unwrap_or_default());
            }
            WRITE => {
                let (fid, offset, count) = (m.u32()?, m.u64()?, m.u32()?);
                let data = m.bytes(count as usize)?;
                self.folder.writable()?;
                out.u32(rustix::io::pwrite(s.file(fid)?, data, offset)? as u32);
            }
            READDIR => {
                let (fid, offset, count) = (m.u32()?, m.u64()?, m.u32()?);
                let len = self.payload(s, count, room);
                self.entries(s.file(fid)?, offset, len, &mut out)?;
            }
            FSYNC => {
                let (fid, data_only) = (m.u32()?, m.u32().unwrap_or(0) != 0);
                let file = s.file(fid)?;
                if data_only { fs::fdatasync(file)? } else { fs::fsync(file)? }
            }
            // Nobody else locks: what the guest's own kernel allows is allowed.
            LOCK => {
                s.fid(m.u32()?)?;
                out.u8(0);
            }
            GETLOCK => {
                s.fid(m.u32()?)?;
                let (_, start, len, process, client) = (m.u8()?, m.u64()?, m.u64()?, m.u32()?, m.string()?);
                out.u8(2); // unlocked
                out.u64(start);
                out.u64(len);
                out.u32(process);
                out.string(client);
            }
            XATTRWALK | XATTRCREATE => return Err(Errno::OPNOTSUPP),
            _ => return Err(Errno::OPNOTSUPP),
        }
        Ok(out)
    }

    /// Bytes of data that an answer may have.
    fn payload(&self, s: &Session, count: u32, room: usize) -> usize {
        (s.message_max as usize).min(room).saturating_sub(HEADER_LEN + 4).min(count as usize)
    }

    fn room_for_file(&self, s: &Session) -> Result<(), Errno> {
        if s.open >= self.open_max { Err(Errno::MFILE) } else { Ok(()) }
    }

    fn opened(&self, s: &mut Session, fid: u32, file: OwnedFd, out: &mut Writer) -> Result<(), Errno> {
        out.qid(self.folder.qid(&fs::fstat(&file)?));
        out.u32(0); // as much at a time as fits into a message
        s.opened(fid, file)
    }

    /// Gives the new file `name` in the directory `fid` its owner, or takes it away again; its name for the guest.
    fn owned(&self, s: &Session, fid: u32, name: &[u8], group: u32, directory: bool) -> Result<Qid, Errno> {
        let Fid { place, user, .. } = s.fid(fid)?;
        let new = below(place, name)?;
        if self.security == Security::Passthrough {
            let owner = |id: u32| (id != u32::MAX).then_some(id);
            if let Err(error) = self.folder.set_owner(&new, owner(*user), owner(group)) {
                let _ = self.folder.unlink(place, name, directory);
                return Err(error);
            }
        }
        Ok(self.folder.qid(&self.folder.stat(&new)?))
    }

    fn stat(&self, s: &Session, fid: u32) -> Result<Stat, Errno> {
        let fid = s.fid(fid)?;
        // An open file may have no name any more.
        match &fid.file {
            Some(file) => fs::fstat(file),
            None => self.folder.stat(&fid.place),
        }
    }

    fn walk(&self, s: &mut Session, m: &mut Reader<'_>, out: &mut Writer) -> Result<(), Errno> {
        let (fid, new, count) = (m.u32()?, m.u32()?, m.u16()?);
        if count > WALK_MAX {
            return Err(Errno::INVAL);
        }
        let (mut place, user) = (s.place(fid)?.to_vec(), s.fid(fid)?.user);
        if s.fid(fid)?.file.is_some() && fid == new {
            return Err(Errno::BUSY);
        }
        let mut qids = Vec::new();
        for _ in 0..count {
            let name = m.string()?;
            match self.step(&place, name) {
                Ok((next, qid)) => {
                    place = next;
                    qids.push(qid);
                }
                Err(error) if qids.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        // Only who got there is there.
        if qids.len() == usize::from(count) {
            if fid == new {
                s.moved(fid, place);
            } else {
                s.insert(new, place, user)?;
            }
        }
        out.u16(qids.len() as u16);
        qids.into_iter().for_each(|qid| out.qid(qid));
        Ok(())
    }

    /// Where `name` leads from `place`. The folder is its own parent.
    fn step(&self, place: &[u8], name: &[u8]) -> Result<(Place, Qid), Errno> {
        let next = match name {
            b"." => place.to_vec(),
            b".." => split(place).map_or_else(Place::new, |(parent, _)| parent.to_vec()),
            _ if is_name(name) => below(place, name)?,
            _ => return Err(Errno::NOENT),
        };
        let qid = self.folder.qid(&self.folder.stat(&next)?);
        Ok((next, qid))
    }

    fn attributes(&self, stat: &Stat, wanted: u64, out: &mut Writer) {
        out.u64(wanted & BASIC);
        out.qid(self.folder.qid(stat));
        out.u32(stat.st_mode);
        out.u32(stat.st_uid);
        out.u32(stat.st_gid);
        let numbers = [stat.st_nlink, stat.st_rdev, stat.st_size as u64, stat.st_blksize as u64, stat.st_blocks as u64];
        numbers.into_iter().for_each(|number| out.u64(number));
        let times = [
            (stat.st_atime as u64, stat.st_atime_nsec),
            (stat.st_mtime as u64, stat.st_mtime_nsec),
            (stat.st_ctime as u64, stat.st_ctime_nsec),
        ];
        for (seconds, nanoseconds) in times {
            out.u64(seconds);
            out.u64(nanoseconds);
        }
        // Creation, generation, version: not told.
        (0..4).for_each(|_| out.u64(0));
    }

    fn set_attributes(&self, s: &mut Session, m: &mut Reader<'_>) -> Result<(), Errno> {
        let (fid, valid, mode, user, group) = (m.u32()?, m.u32()?, m.u32()?, m.u32()?, m.u32()?);
        let (size, access, change) = (m.u64()?, (m.u64()?, m.u64()?), (m.u64()?, m.u64()?));
        self.folder.writable()?;
        let place = s.place(fid)?;
        if valid & SET_MODE != 0 {
            self.folder.set_mode(place, mode)?;
        }
        if valid & (SET_UID | SET_GID) != 0 {
            let set = |bit: u32, id: u32| (valid & bit != 0).then_some(id);
            match self.folder.set_owner(place, set(SET_UID, user), set(SET_GID, group)) {
                Err(Errno::PERM) if self.security == Security::None => {}
                result => result?,
            }
        }
        if valid & SET_SIZE != 0 {
            match &s.fid(fid)?.file {
                Some(file) => match fs::ftruncate(file, size) {
                    // It may have been opened for reading.
                    Err(Errno::INVAL | Errno::BADF) => self.folder.set_size(place, size)?,
                    result => result?,
                },
                None => self.folder.set_size(place, size)?,
            }
        }
        if valid & (SET_ATIME | SET_MTIME) != 0 {
            let time = |set: u32, to: u32, (seconds, nanoseconds): (u64, u64)| {
                let tv_nsec = match (valid & set != 0, valid & to != 0) {
                    (false, _) => fs::UTIME_OMIT,
                    (true, false) => fs::UTIME_NOW,
                    (true, true) => nanoseconds.min(999_999_999) as i64,
                };
                Timespec { tv_sec: seconds as i64, tv_nsec }
            };
            let last_access = time(SET_ATIME, SET_ATIME_TO, access);
            let last_modification = time(SET_MTIME, SET_MTIME_TO, change);
            self.folder.set_times(place, &Timestamps { last_access, last_modification })?;
        }
        Ok(())
    }

    /// Entries of a directory from `offset` on, as many as fit into `len` bytes.
    fn entries(&self, directory: &OwnedFd, offset: u64, len: usize, out: &mut Writer) -> Result<(), Errno> {
        fs::seek(directory, SeekFrom::Start(offset))?;
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(directory, &mut buffer);
        let mut list = Writer::default();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if list.0.len() + 13 + 8 + 1 + 2 + name.len() > len {
                break;
            }
            list.qid(self.folder.entry_qid(entry.file_type(), entry.ino()));
            list.u64(entry.next_entry_cookie());
            list.u8(entry_type(entry.file_type()));
            list.string(name);
        }
        out.u32(list.0.len() as u32);
        out.0.extend(list.0);
        Ok(())
    }
}

/// Linux's `DT_` numbers.
fn entry_type(kind: fs::FileType) -> u8 {
    match kind {
        fs::FileType::Fifo => 1,
        fs::FileType::CharacterDevice => 2,
        fs::FileType::Directory => 4,
        fs::FileType::BlockDevice => 6,
        fs::FileType::RegularFile => 8,
        fs::FileType::Symlink => 10,
        fs::FileType::Socket => 12,
        fs::FileType::Unknown => 0,
    }
}

impl NinepServer for Server {
    fn serve(&self, request: &[u8], room: usize) -> Vec<u8> {
        let mut m = Reader::new(request);
        let head = (|| Ok::<_, Errno>((m.u32()?, m.u8()?, m.u16()?)))();
        let (kind, tag, result) = match head {
            Ok((len, kind, tag)) if len as usize == request.len() => (kind, tag, self.answer(kind, &mut m, room)),
            Ok((_, kind, tag)) => (kind, tag, Err(Errno::PROTO)),
            Err(error) => (0, u16::MAX, Err(error)),
        };
        let error = |error: Errno| {
            let mut out = Writer::default();
            out.u32(error.raw_os_error() as u32);
            out.finish(ERROR, tag)
        };
        match result {
            Ok(out) if HEADER_LEN + out.0.len() <= room => out.finish(kind.wrapping_add(1), tag),
            Ok(_) => error(Errno::MSGSIZE),
            Err(why) => error(why),
        }
    }

    fn reset(&self) {
        *self.session() = Session::new();
    }
}
