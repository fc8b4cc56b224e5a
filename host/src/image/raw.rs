//! Raw images: files and block devices whose bytes are the disk's.

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A raw image. What lies past the file's end reads as zeros.
pub struct Raw {
    file: File,
    /// Size in bytes, rounded up to whole sectors.
    len: u64,
}

impl Raw {
    /// The image in `file`, as a disk of `len` bytes.
    pub fn new(file: File, len: u64) -> Self {
        Self { file, len }
    }

    /// Size of the disk in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn read(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.file.read_at(buf, offset) {
                Ok(0) => {
                    buf.fill(0);
                    return Ok(());
                }
                Ok(len) => {
                    buf = &mut buf[len..];
                    offset += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn write(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    /// Gives the space of a range back to the file system.
    pub fn deallocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        Ok(fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)?)
    }

    /// Makes a range read as zeros; with `unmap` its space goes back to the file system where that is possible.
    pub fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        if len == 0 || (unmap && self.deallocate(offset, len).is_ok()) {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::IO) => Err(Errno::NOSPC.into()),
            // Not every file system knows it: holes read as zeros too, and writing zeros always works.
            Err(_) => self
                .deallocate(offset, len)
                .or_else(|_| write_zero_bytes(offset, len, |at, zeros| self.file.write_all_at(zeros, at))),
        }
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The first byte from `offset` on that may not be zero, and the end of what may not be; `None` if there is none.
    pub fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        use rustix::fs::{SeekFrom, seek};
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // Not every file system knows where the holes are.
            Err(_) => return Ok((offset < self.len).then_some((offset, self.len))),
        };
        let end = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(self.len);
        Ok(Some((start, end.min(self.len))).filter(|(start, end)| start < end))
    }
}

/// Writes zeros by the piece.
pub fn write_zero_bytes(offset: u64, len: u64, mut write: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    const PART: u64 = 64 * 1024;
    let zeros = vec![0; len.min(PART) as usize];
    let mut done = 0;
    while done < len {
        let part = (len - done).min(PART);
        write(offset + done, &zeros[..part as usize])?;
        done += part;
    }
    Ok(())
}
