//! Locks that keep two programs from writing to one image, on the bytes that QEMU uses since 2.10 (its
//! docs/system/qemu-block-drivers.rst.inc, "Disk image file locking"), so that each refuses the other.
//!
//! A program that uses an image in some way holds a shared lock on the byte of that way; one that cannot bear another's
//! use in some way holds a shared lock on the byte of that refusal. Nobody locks exclusively: whoever comes looks whether
//! the bytes that stand against it are locked by another. The locks belong to the open file and end with it.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, flock};
use std::fs::File;
use std::io;
use std::time::Duration;

/// First byte of the ways in which an image is used.
const USES: i64 = 100;
/// First byte of the ways in which others must not use it.
const REFUSALS: i64 = 200;

const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// What an image is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To read what nobody changes meanwhile.
    Read,
    /// To write alone.
    Write,
    /// To look at it whatever others do; takes no lock.
    Peek,
}

impl Use {
    /// Whether the image is written to.
    pub fn writes(self) -> bool {
        self == Use::Write
    }

    fn bytes(self) -> Vec<i64> {
        let uses: &[i64] = match self {
            Use::Read => &[READ],
            Use::Write => &[READ, WRITE, RESIZE],
            Use::Peek => return Vec::new(),
        };
        uses.iter().map(|bit| USES + bit).chain([REFUSALS + WRITE, REFUSALS + RESIZE]).collect()
    }

    /// The bytes that nobody else may have locked.
    fn conflicts(self) -> Vec<i64> {
        let swap = |byte: i64| if byte < REFUSALS { byte - USES + REFUSALS } else { byte - REFUSALS + USES };
        self.bytes().into_iter().map(swap).collect()
    }
}

fn range(kind: i32, byte: i64) -> flock {
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

fn set(file: &File, kind: i32, byte: i64) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, byte))).map(drop)
}

/// Whether another open file has locked `byte`.
fn is_locked(file: &File, byte: i64) -> Result<bool, Errno> {
    let mut answer = range(F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut answer))?;
    Ok(i32::from(answer.l_type) != F_UNLCK)
}

/// A process that this program has just started holds copies of all its files until it has become another program: a lock
/// that stands in the way is looked at again, so often and so much later.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// Locks `file` for a use until it is closed, on top of what it holds already. `WouldBlock`: another program's use or
/// refusal stands against it; the locks are then as before.
pub fn take(file: &File, new: Use, held: Use) -> io::Result<()> {
    let result = (|| {
        for byte in new.bytes() {
            set(file, F_RDLCK, byte)?;
        }
        for look in 1.. {
            let mut free = true;
            for byte in new.conflicts() {
                free &= !is_locked(file, byte)?;
            }
            match free {
                true => break,
                false if look == LOOKS => return Err(Errno::EWOULDBLOCK),
                false => std::thread::sleep(PAUSE),
            }
        }
        Ok(())
    })();
    match result {
        Ok(()) => Ok(()),
        // File systems without locks cannot help.
        Err(Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENOLCK | Errno::EINVAL) => Ok(()),
        Err(error) => {
            give_back(file, new, held);
            Err(error.into())
        }
    }
}

/// Gives up what the use `old` locks and the use `kept` does not.
pub fn give_back(file: &File, old: Use, kept: Use) {
    let kept = kept.bytes();
    for byte in old.bytes().into_iter().filter(|byte| !kept.contains(byte)) {
        let _ = set(file, F_UNLCK, byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Temp;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let temp = Temp::new("lock-rules", &[0; 512]);
        let open = || File::options().read(true).write(true).open(temp.path()).unwrap();
        let rows = [
            (Use::Read, Use::Read, true),
            (Use::Read, Use::Write, false),
            (Use::Write, Use::Read, false),
            (Use::Write, Use::Write, false),
            (Use::Write, Use::Peek, true),
        ];
        for (first, second, want) in rows {
            let (one, two) = (open(), open());
            take(&one, first, Use::Peek).unwrap();
            assert_eq!(take(&two, second, Use::Peek).is_ok(), want, "{first:?} {second:?}");
            drop(one);
            take(&two, second, Use::Peek).unwrap();
        }
    }

    #[test]
    fn a_failed_step_up_leaves_the_reader_as_it_was() {
        let temp = Temp::new("lock-up", &[0; 512]);
        let open = || File::options().read(true).write(true).open(temp.path()).unwrap();
        let (one, two, three) = (open(), open(), open());
        take(&one, Use::Read, Use::Peek).unwrap();
        take(&two, Use::Read, Use::Peek).unwrap();
        assert_eq!(take(&one, Use::Write, Use::Read).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(take(&three, Use::Write, Use::Peek).is_err());
        take(&three, Use::Read, Use::Peek).unwrap();
        drop((two, three));
        take(&one, Use::Write, Use::Read).unwrap();
        give_back(&one, Use::Write, Use::Read);
        take(&open(), Use::Read, Use::Peek).unwrap();
    }
}
