//! Disk images of every format: opened, locked, read and written. [`crate::disk`] makes a guest's disk of one,
//! the modules below create, describe, convert, resize and check them (`mimic img`).
//!
//! Raw images are files; the other formats are imago's, which is handed files that are opened, locked and looked
//! through here, so that nothing is opened that an image names but its chain of backing files.

pub mod check;
pub mod convert;
pub mod create;
pub mod format;
pub mod info;
mod layers;
mod lock;
pub mod qcow2;
mod raw;
#[cfg(test)]
mod tests;

use crate::error::{HostError, reason};
use create::Preallocation;
use format::Format;
use imago::format::PreallocateMode;
pub use layers::Chain;
use layers::Layers;
pub use lock::Use;
use raw::Raw;
pub(crate) use raw::write_zero_bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

/// Unit of a disk's size.
pub const SECTOR: u64 = 512;

/// An open image of any format.
pub struct Image {
    name: String,
    path: PathBuf,
    format: Format,
    /// Nobody said which format it is.
    probed: bool,
    /// Keeps the lock; the contents share this open file.
    file: File,
    contents: Contents,
    len: u64,
    /// Size of a raw image's file that is no multiple of a sector.
    odd_size: Option<u64>,
}

enum Contents {
    Raw(Raw),
    /// Written to exclusively where what is mapped changes: discards.
    Layers(RwLock<Layers>),
}

/// Opens the file of an image and locks it. `action` and `what` are for messages (`open`, `disk`).
fn open_file(action: &'static str, what: &'static str, path: &Path, usage: Use) -> Result<File, HostError> {
    let name = path.display().to_string();
    let failed = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "check the path, or create it with `mimic img create FILE 8G`",
            io::ErrorKind::PermissionDenied if usage.writes() && what == "disk" => {
                "add readonly=on or fix the file's mode"
            }
            io::ErrorKind::PermissionDenied => "fix the file's mode",
            io::ErrorKind::ReadOnlyFilesystem if what == "disk" => "add readonly=on or snapshot=on",
            io::ErrorKind::IsADirectory => "name an image file in it",
            _ => "check the file",
        };
        HostError::new(action, what, &name, reason(&error), advice)
    };
    let mut open = OpenOptions::new();
    // Without it, opening a named pipe would wait for its other side.
    open.read(true).write(usage.writes()).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = open.open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err(failed(Errno::ISDIR.into()));
    }
    if !kind.is_file() && !kind.is_block_device() {
        let advice = "name a regular file or a block device";
        return Err(HostError::new(action, what, &name, "it is neither a file nor a block device", advice));
    }
    lock::take(&file, usage, Use::Peek).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let advice = match (usage.writes(), what) {
                (true, "disk") => "end the other program, or add snapshot=on or readonly=on if it only reads too",
                (true, _) => "end the other program",
                (false, "disk") => "end the other program, which writes to it",
                (false, _) => "end the other program, which writes to it, or look at it all the same with -U",
            };
            HostError::new(action, what, &name, "another program uses it", advice)
        }
        _ => failed(error),
    })?;
    Ok(file)
}

/// The size of a file or block device: where its end is.
fn end_of(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

impl Image {
    /// Opens the image at `path`, whose format is found out if `format` is `None`, with its backing files. Messages
    /// call it `what` (`disk`, `image`).
    ///
    /// # Errors
    /// One line for what is missing, in use, malformed or not implemented.
    pub fn open(
        what: &'static str,
        path: &Path,
        format: Option<Format>,
        usage: Use,
        chain: Chain,
    ) -> Result<Self, HostError> {
        let name = path.display().to_string();
        let file = open_file("open", what, path, usage)?;
        let failed = |error: io::Error| HostError::new("open", what, &name, reason(&error), "check the file");
        let (found, probed) = match format {
            Some(format) => (format, false),
            None => match format::probe(&file).map_err(failed)? {
                None => (Format::Raw, true),
                Some((_, Some(format))) => (format, true),
                Some((format, None)) => {
                    let reason = format!("it is a {format} image, which is not implemented");
                    let advice =
                        "convert it with `qemu-img convert -O qcow2 FILE NEW`, or say format=raw to use it as it is";
                    return Err(HostError::new("open", what, name, reason, advice));
                }
            },
        };
        if found == Format::Vmdk && usage.writes() {
            let reason = "VMDK images can only be read";
            let advice = match what {
                "disk" => "add readonly=on or snapshot=on, or convert it with `mimic img convert -O qcow2 FILE NEW`",
                _ => "convert it with `mimic img convert -O qcow2 FILE NEW`",
            };
            return Err(HostError::new("open", what, name, reason, advice));
        }
        let contents = Contents::open(what, &file, path, found, usage, chain)?;
        let len = match &contents {
            Contents::Raw(raw) => raw.len(),
            Contents::Layers(layers) => layers.read().unwrap().size(),
        };
        let size = end_of(&file).map_err(failed)?;
        let odd_size = (found == Format::Raw && size != len).then_some(size);
        Ok(Self { name, path: path.into(), format: found, probed, file, contents, len, odd_size })
    }

    /// A raw image of `len` bytes in `file`.
    #[cfg(test)]
    pub(crate) fn raw(name: &str, file: File, len: u64) -> Self {
        let contents = Contents::Raw(Raw::new(file.try_clone().unwrap(), len));
        let (name, path) = (name.to_owned(), name.into());
        Self { name, path, format: Format::Raw, probed: false, file, contents, len, odd_size: None }
    }

    /// The size in bytes of the file of a raw image that is no multiple of [`SECTOR`].
    pub fn odd_size(&self) -> Option<u64> {
        self.odd_size
    }

    /// The name that the person gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the format was found out, not said.
    pub fn probed(&self) -> bool {
        self.probed
    }

    /// Size of the disk in bytes. That of a raw image is rounded up to whole sectors.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from byte `offset` on.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.contents {
            Contents::Raw(raw) => raw.read(offset, buf),
            Contents::Layers(layers) => layers.read().unwrap().read(offset, buf),
        }
    }

    /// Writes `buf` at byte `offset`.
    pub fn write(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        match &self.contents {
            Contents::Raw(raw) => raw.write(offset, buf),
            Contents::Layers(layers) => layers.read().unwrap().write(offset, buf),
        }
    }

    /// Makes a range read as zeros; with `unmap` its space is given back where that is possible.
    pub fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        match &self.contents {
            Contents::Raw(raw) => raw.write_zeroes(offset, len, unmap),
            Contents::Layers(layers) if unmap => layers.write().unwrap().zero_and_unmap(offset, len),
            Contents::Layers(layers) => layers.read().unwrap().write_zeroes(offset, len),
        }
    }

    /// Gives a range's space back where that is possible; it then reads as zeros or as before.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match &self.contents {
            Contents::Raw(raw) => raw.deallocate(offset, len),
            Contents::Layers(layers) => layers.write().unwrap().discard(offset, len),
        }
    }

    /// Hands everything that was written to the host; with `sync` it is durable afterwards.
    pub fn flush(&self, sync: bool) -> io::Result<()> {
        match &self.contents {
            Contents::Raw(raw) if sync => raw.sync(),
            Contents::Raw(_) => Ok(()),
            Contents::Layers(layers) => layers.read().unwrap().flush(sync),
        }
    }

    /// The first range from `offset` on that may hold anything but zeros, as start and end.
    pub fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        match &self.contents {
            Contents::Raw(raw) => raw.next_data(offset),
            Contents::Layers(layers) => layers.read().unwrap().next_data(offset),
        }
    }

    /// Changes the size of the disk, whose image is opened to be written. What is added reads as zeros, also what a
    /// backing file has there if `cover` is set.
    fn set_len(&mut self, len: u64, preallocation: Preallocation, cover: bool) -> io::Result<()> {
        match &mut self.contents {
            Contents::Raw(_) => {
                let old = end_of(&self.file)?;
                match preallocation {
                    Preallocation::Falloc if len > old => {
                        rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), old, len - old)?;
                    }
                    Preallocation::Full if len > old => {
                        let write = |at, zeros: &[u8]| self.file.write_all_at(zeros, at);
                        write_zero_bytes(old, len - old, write)?;
                    }
                    _ => self.file.set_len(len)?,
                }
                self.contents = Contents::Raw(Raw::new(self.file.try_clone()?, len));
            }
            Contents::Layers(layers) => {
                let mode = if cover { PreallocateMode::Zero } else { preallocation.mode() };
                layers.get_mut().unwrap().resize(len, mode)?;
            }
        }
        (self.len, self.odd_size) = (len, None);
        Ok(())
    }

    /// Calls `write` with this image, which was opened to read, opened to write as well. `WouldBlock`: another program
    /// uses it.
    pub fn with_writer<T>(&self, write: impl FnOnce(&Image) -> io::Result<T>) -> io::Result<T> {
        if self.format == Format::Vmdk {
            return Err(io::Error::other("VMDK images can only be read"));
        }
        lock::take(&self.file, Use::Write, Use::Read)?;
        let result = self.writer().and_then(|writer| {
            let result = write(&writer)?;
            writer.flush(true)?;
            Ok(result)
        });
        if let Contents::Layers(layers) = &self.contents {
            // What it remembers of the image's tables is no longer so.
            let fresh = self.contents_again(&self.file, Use::Read);
            if let Ok(Contents::Layers(fresh)) = fresh {
                *layers.write().unwrap() = fresh.into_inner().unwrap();
            }
        }
        lock::give_back(&self.file, Use::Write, Use::Read);
        result
    }

    fn writer(&self) -> io::Result<Image> {
        // The same file, even if its name now belongs to another one; the lock is this image's.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let contents = self.contents_again(&file, Use::Write)?;
        let (name, path) = (self.name.clone(), self.path.clone());
        Ok(Image {
            name,
            path,
            format: self.format,
            probed: self.probed,
            file,
            contents,
            len: self.len,
            odd_size: self.odd_size,
        })
    }

    fn contents_again(&self, file: &File, usage: Use) -> io::Result<Contents> {
        let contents = Contents::open("disk", file, &self.path, self.format, usage, Chain::Open);
        contents.map_err(|error| io::Error::other(error.reason))
    }
}

impl Contents {
    fn open(
        what: &'static str,
        file: &File,
        path: &Path,
        format: Format,
        usage: Use,
        chain: Chain,
    ) -> Result<Self, HostError> {
        let name = path.display().to_string();
        let failed = |error: io::Error| HostError::new("open", what, &name, reason(&error), "check the file");
        let shared = file.try_clone().map_err(failed)?;
        if format != Format::Raw {
            return Ok(Self::Layers(RwLock::new(Layers::open(what, shared, path, format, usage, chain)?)));
        }
        let size = end_of(file).map_err(failed)?;
        let len = size.checked_next_multiple_of(SECTOR).ok_or_else(|| failed(Errno::FBIG.into()))?;
        Ok(Self::Raw(Raw::new(shared, len)))
    }
}
