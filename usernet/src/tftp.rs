//! A read-only TFTP server (RFC 1350, options of RFC 2347 to 2349) below one folder of the host.
//!
//! Names cannot leave the folder: the host itself resolves them below it (openat2, RESOLVE_BENEATH), so that neither `..` nor a
//! symbolic link leads out.

use crate::link::Link;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use smoltcp::time::{Duration, Instant};
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

/// The server's port.
pub const PORT: u16 = 69;
/// Transfers at a time.
const SESSIONS_MAX: usize = 16;
/// When a packet is sent again, and how often.
const RESEND: Duration = Duration::from_secs(2);
const RESENDS_MAX: u32 = 5;
/// Sizes of a block: RFC 1350's, and what fits into one frame.
const BLOCK: usize = 512;
const BLOCK_MAX: usize = 1468;

/// Kinds of packets.
const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

struct Session {
    guest: SocketAddr,
    server: SocketAddr,
    file: File,
    block_len: usize,
    /// The block that waits for its acknowledgement, from 1; 0 for the options.
    block: u64,
    /// That block's packet.
    packet: Vec<u8>,
    is_last: bool,
    resends: u32,
    due: Instant,
}

/// The server.
pub struct Server {
    folder: OwnedFd,
    sessions: Vec<Session>,
}

impl Server {
    /// A server of what lies below `folder`.
    pub fn open(folder: &Path) -> rustix::io::Result<Self> {
        let folder = openat(CWD, folder, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { folder, sessions: Vec::new() })
    }

    /// Number of transfers.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Takes a datagram from `guest` for the server.
    pub fn input(&mut self, guest: SocketAddr, server: SocketAddr, data: &[u8], link: &mut Link) {
        let Some((kind, rest)) = data.split_first_chunk::<2>() else { return };
        match u16::from_be_bytes(*kind) {
            READ => {
                self.sessions.retain(|session| session.guest != guest);
                match self.read(guest, server, rest, link.now) {
                    Ok(session) => {
                        session.send(link);
                        self.sessions.push(session);
                    }
                    Err((code, text)) => send_error(link, server, guest, code, text),
                }
            }
            WRITE => send_error(link, server, guest, 2, "this server is read-only"),
            ACK => {
                let Some(at) = self.sessions.iter().position(|session| session.guest == guest) else { return };
                if !self.sessions[at].acknowledge(rest, link) {
                    self.sessions.swap_remove(at);
                }
            }
            ERROR => self.sessions.retain(|session| session.guest != guest),
            _ => {}
        }
    }

    /// Begins a transfer; an error is TFTP's number and text.
    fn read(
        &self,
        guest: SocketAddr,
        server: SocketAddr,
        request: &[u8],
        now: Instant,
    ) -> Result<Session, (u16, &'static str)> {
        let mut words = request.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).unwrap_or_default());
        let (name, mode) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !mode.eq_ignore_ascii_case("octet") {
            return Err((4, "only the mode octet is served"));
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err((0, "too many transfers"));
        }
        let (file, len) = self.find(name).map_err(|error| match error {
            Errno::NOENT => (1, "no such file"),
            _ => (2, "the file cannot be read"),
        })?;
        let mut block_len = BLOCK;
        let mut answers = Vec::new();
        while let (Some(option), Some(value)) = (words.next(), words.next()) {
            let answer = match option.to_ascii_lowercase().as_str() {
                "blksize" => value.parse::<usize>().ok().filter(|len| *len >= 8).map(|len| {
                    block_len = len.min(BLOCK_MAX);
                    block_len as u64
                }),
                "tsize" => Some(len),
                "timeout" => value.parse().ok().filter(|seconds| *seconds == RESEND.secs()),
                _ => None,
            };
            if let Some(answer) = answer {
                answers.extend(format!("{}\0{answer}\0", option.to_ascii_lowercase()).into_bytes());
            }
            // A request names each option once.
            if answers.len() > 128 {
                return Err((8, "too many options"));
            }
        }
        let mut session = Session {
            guest,
            server,
            file,
            block_len,
            block: 0,
            packet: Vec::new(),
            is_last: false,
            resends: 0,
            due: now + RESEND,
        };
        if answers.is_empty() {
            session.next().map_err(|()| (0, "the file cannot be read"))?;
        } else {
            session.packet = [&OPTIONS.to_be_bytes()[..], &answers].concat();
        }
        Ok(session)
    }

    /// Opens a file below the folder.
    fn find(&self, name: &str) -> Result<(File, u64), Errno> {
        let name = name.trim_start_matches('/');
        if name.is_empty() {
            return Err(Errno::NOENT);
        }
        // A pipe must not make the network wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = match openat2(&self.folder, name, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => self.find_stepwise(name, flags)?,
            file => file?,
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        Ok((file.into(), u64::try_from(stat.st_size).unwrap_or_default()))
    }

    /// The same where the host has no openat2: no symbolic link is followed at all.
    fn find_stepwise(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut folder = rustix::io::dup(&self.folder)?;
        let mut components = Path::new(name).components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else { return Err(Errno::ACCESS) };
            if components.peek().is_none() {
                return openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
            }
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            folder = openat(&folder, name, flags, Mode::empty())?;
        }
        Err(Errno::NOENT)
    }

    /// Sends again what was not acknowledged.
    pub fn expire(&mut self, link: &mut Link) {
        self.sessions.retain_mut(|session| {
            if session.due > link.now {
                return true;
            }
            session.resends += 1;
            session.due = link.now + RESEND;
            session.send(link);
            session.resends < RESENDS_MAX
        });
    }

    /// When that is to be done.
    pub fn due(&self) -> Option<Instant> {
        self.sessions.iter().map(|session| session.due).min()
    }
}

impl Session {
    fn send(&self, link: &mut Link) {
        link.send_udp(self.server, self.guest, &self.packet);
    }

    /// Makes the packet of the next block.
    fn next(&mut self) -> Result<(), ()> {
        let offset = self.block * self.block_len as u64;
        self.block += 1;
        self.packet.clear();
        self.packet.extend(DATA.to_be_bytes());
        // RFC 1350 has no numbers for long files; clients and servers begin at 0 again.
        self.packet.extend((self.block as u16).to_be_bytes());
        let start = self.packet.len();
        self.packet.resize(start + self.block_len, 0);
        let mut len = 0;
        while len < self.block_len {
            match self.file.read_at(&mut self.packet[start + len..], offset + len as u64) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err(()),
            }
        }
        self.packet.truncate(start + len);
        self.is_last = len < self.block_len;
        Ok(())
    }

    /// Takes an acknowledgement; `false` after the last.
    fn acknowledge(&mut self, rest: &[u8], link: &mut Link) -> bool {
        // An old one is no reason to send again (RFC 1123, 4.2.3.1).
        if rest.get(..2) != Some(&(self.block as u16).to_be_bytes()) {
            return true;
        }
        if self.is_last {
            return false;
        }
        if self.next().is_err() {
            send_error(link, self.server, self.guest, 0, "the file cannot be read");
            return false;
        }
        (self.resends, self.due) = (0, link.now + RESEND);
        self.send(link);
        true
    }
}

fn send_error(link: &mut Link, server: SocketAddr, guest: SocketAddr, code: u16, text: &str) {
    let packet = [&ERROR.to_be_bytes()[..], &code.to_be_bytes(), text.as_bytes(), &[0]].concat();
    link.send_udp(server, guest, &packet);
}
