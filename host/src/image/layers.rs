//! Images that imago reads and writes, and the chains of backing files behind them.

use super::format::{self, Format};
use super::lock::Use;
use super::qcow2::Header;
use super::{SECTOR, end_of, open_file, write_zero_bytes};
use crate::error::{HostError, reason};
use imago::file::File as Storage;
use imago::format::gate::ImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::vmdk::Vmdk;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, Mapping, StorageOpenOptions};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Longest chain of backing files.
const MAX_CHAIN: usize = 200;

/// Whether an image's backing files are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// They are.
    Open,
    /// They are not: what the image itself does not hold reads as zeros.
    Ignore,
}

/// An image and what lies behind it.
pub struct Layers(FormatAccess<Storage>);

impl Layers {
    /// Opens the image in `file`, which is open and locked for `usage`.
    pub fn open(
        what: &'static str,
        file: File,
        path: &Path,
        format: Format,
        usage: Use,
        chain: Chain,
    ) -> Result<Self, HostError> {
        let mut opener = Opener { what, image: path.display().to_string(), usage, seen: Vec::new() };
        let access = opener.layer(file, path, format, usage.writes(), chain)?;
        let size = access.size();
        if size % SECTOR != 0 {
            let reason = format!("its disk has {size} bytes, no multiple of {SECTOR}");
            let advice = format!("make it one with `mimic img resize FILE {}`", size.next_multiple_of(SECTOR));
            if what == "disk" {
                return Err(HostError::new("open", what, opener.image, reason, advice));
            }
        }
        Ok(Self(access))
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if buf.is_empty() { Ok(()) } else { self.0.read(buf, offset) }
    }

    pub fn write(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if buf.is_empty() { Ok(()) } else { self.0.write(buf, offset) }
    }

    pub fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.or_write(self.0.write_zeroes(offset, len), offset, len)
    }

    pub fn zero_and_unmap(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let result = self.0.discard_to_zero(offset, len);
        self.or_write(result, offset, len)
    }

    /// Writes zeros where the format cannot note them (version 2 of qcow2).
    fn or_write(&self, result: io::Result<()>, offset: u64, len: u64) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                write_zero_bytes(offset, len, |at, zeros| self.0.write(zeros, at))
            }
            result => result,
        }
    }

    pub fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.discard_to_any(offset, len)
    }

    pub fn flush(&self, sync: bool) -> io::Result<()> {
        self.0.flush()?;
        if sync { self.0.sync() } else { Ok(()) }
    }

    pub fn next_data(&self, mut offset: u64) -> io::Result<Option<(u64, u64)>> {
        let size = self.0.size();
        while offset < size {
            let (mapping, len) = self.0.get_mapping(offset, size - offset)?;
            let end = offset + len;
            match mapping {
                Mapping::Eof { .. } => return Ok(None),
                _ if len == 0 => return Ok(None),
                Mapping::Zero { .. } => offset = end,
                _ => return Ok(Some((offset, end))),
            }
        }
        Ok(None)
    }

    /// Changes the size of the disk. What is added reads as zeros.
    pub fn resize(&mut self, size: u64, preallocate: imago::format::PreallocateMode) -> io::Result<()> {
        self.0.resize(size, preallocate)
    }
}

/// Opens the layers of one image.
struct Opener {
    what: &'static str,
    /// The image that was asked for, for messages.
    image: String,
    usage: Use,
    /// Device and number of each file of the chain.
    seen: Vec<(u64, u64)>,
}

impl Opener {
    fn error(&self, path: &Path, reason: impl Into<String>, advice: impl Into<String>) -> HostError {
        let reason = reason.into();
        if self.seen.len() > 1 {
            let reason = format!("its backing file `{}` cannot be used: {reason}", path.display());
            return HostError::new("open", self.what, &self.image, reason, advice);
        }
        HostError::new("open", self.what, &self.image, reason, advice)
    }

    fn layer(
        &mut self,
        file: File,
        path: &Path,
        format: Format,
        writable: bool,
        chain: Chain,
    ) -> Result<FormatAccess<Storage>, HostError> {
        let failed =
            |error: io::Error| HostError::new("open", self.what, &self.image, reason(&error), "check the file");
        let metadata = file.metadata().map_err(failed)?;
        let identity = (metadata.dev(), metadata.ino());
        if self.seen.contains(&identity) || self.seen.len() == MAX_CHAIN {
            let reason = format!("its chain of backing files comes back to `{}`", path.display());
            let advice = "`mimic img info FILE` shows the backing file of each; use a copy from before the change";
            return Err(HostError::new("open", self.what, &self.image, reason, advice));
        }
        self.seen.push(identity);
        let len = end_of(&file).map_err(|error| self.error(path, reason(&error), "check the file"))?;
        let header = match format {
            Format::Qcow2 => {
                let header = Header::read(&file, len).and_then(|header| header.unsupported().map(|()| header));
                Some(header.map_err(|fault| self.error(path, fault.reason, fault.advice))?)
            }
            _ => None,
        };
        let options = StorageOpenOptions::new().write(writable).filename(path);
        let storage = Storage::from_open_file(file, options);
        let storage = storage.map_err(|error| self.error(path, reason(&error), "check the file"))?;
        let opened = match format {
            Format::Raw => {
                Raw::builder(storage).write(writable).open(DenyImplicitOpenGate::default()).map(FormatAccess::new)
            }
            Format::Vmdk => Vmdk::<Storage>::builder(storage)
                .open(Extents { folder: folder(path), usage: self.usage })
                .map(FormatAccess::new),
            Format::Qcow2 => {
                let backing = match header.and_then(|header| Some((header.backing_file?, header.backing_format))) {
                    Some((name, format)) if chain == Chain::Open => Some(self.backing(path, &name, format)?),
                    _ => None,
                };
                Qcow2::<Storage>::builder(storage)
                    .write(writable)
                    .backing(backing)
                    .data_file(None)
                    .open(DenyImplicitOpenGate::default())
                    .map(FormatAccess::new)
            }
        };
        opened.map_err(|error| {
            let advice = match format {
                Format::Vmdk => "convert it with `qemu-img convert -O qcow2 FILE NEW`",
                _ => "check it with `mimic img check FILE`",
            };
            self.error(path, reason(&error), advice)
        })
    }

    /// Opens the backing file `name` of the image at `path`.
    fn backing(&mut self, path: &Path, name: &str, format: Option<String>) -> Result<FormatAccess<Storage>, HostError> {
        let failed = |reason: String, advice: String| HostError::new("open", self.what, &self.image, reason, advice);
        let place = backing_path(path, name).map_err(|reason| {
            failed(reason, "copy that file here and make a new overlay with `mimic img create -b`".into())
        })?;
        let usage = if self.usage == Use::Peek { Use::Peek } else { Use::Read };
        let file = open_file("open", "backing file", &place, usage).map_err(|error| {
            let of = if path.display().to_string() == self.image {
                String::new()
            } else {
                format!(" of `{}`", path.display())
            };
            let reason = format!("its backing file `{name}`{of} cannot be opened: {}", error.reason);
            let advice = match file_is_missing(&place) {
                true => format!("put that file back at `{}`", place.display()),
                false => error.advice,
            };
            failed(reason, advice)
        })?;
        let found = match format.as_deref() {
            Some("file" | "host_device") => Format::Raw,
            Some(format) => Format::named(format).map_err(|(reason, advice)| {
                failed(format!("its backing file `{name}` cannot be used: {reason}"), advice)
            })?,
            None => {
                let found = format::probe(&file);
                match found.map_err(|error| failed(reason(&error), "check the file".into()))? {
                    None => Format::Raw,
                    Some((_, Some(format))) => format,
                    Some((format, None)) => {
                        let reason = format!("its backing file `{name}` is a {format} image, which is not implemented");
                        return Err(failed(
                            reason,
                            "convert the image with `qemu-img convert -O qcow2 FILE NEW`".into(),
                        ));
                    }
                }
            }
        };
        self.layer(file, &place, found, false, Chain::Open)
    }
}

fn file_is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where the backing file called `name` of the image at `path` lies. The error is a reason.
pub fn backing_path(path: &Path, name: &str) -> Result<PathBuf, String> {
    let name = name.strip_prefix("file:").unwrap_or(name);
    // As QEMU tells addresses from paths: a colon before any slash.
    let colon = name.find(':').unwrap_or(usize::MAX);
    if colon < name.find('/').unwrap_or(usize::MAX) && !path.with_file_name(name).exists() {
        return Err(format!("its backing file `{name}` is no file but an address, which is not implemented"));
    }
    Ok(folder(path).join(name))
}

/// What a VMDK descriptor may open: files in its own folder, to read.
struct Extents {
    folder: PathBuf,
    usage: Use,
}

impl ImplicitOpenGate<Storage> for Extents {
    fn open_format<F: FormatDriverBuilder<Storage>>(&mut self, _: F) -> io::Result<FormatAccess<Storage>> {
        Err(io::Error::other("it names a parent image, which is not implemented"))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        let path = options.get_filename().map(|path| path.to_path_buf()).unwrap_or_default();
        let name = path.strip_prefix(&self.folder).unwrap_or(&path);
        let mut parts = name.components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(io::Error::other(format!("it names a file outside its folder, `{}`", path.display())));
        }
        let file = open_file("open", "extent", &path, self.usage)
            .map_err(|error| io::Error::other(format!("its extent `{}`: {}", path.display(), error.reason)))?;
        Storage::from_open_file(file, StorageOpenOptions::new().write(false).filename(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backing_files_are_beside_their_image() {
        let rows = [
            ("dir/top.qcow2", "base.img", Ok("dir/base.img")),
            ("top.qcow2", "base.img", Ok("base.img")),
            ("dir/top.qcow2", "../base.img", Ok("dir/../base.img")),
            ("dir/top.qcow2", "/abs/base.img", Ok("/abs/base.img")),
            ("dir/top.qcow2", "file:base.img", Ok("dir/base.img")),
            ("dir/top.qcow2", "sub/a:b", Ok("dir/sub/a:b")),
            ("top.qcow2", "nbd://host/x", Err(())),
            ("top.qcow2", "json:{}", Err(())),
        ];
        for (image, name, want) in rows {
            assert_eq!(backing_path(Path::new(image), name).map_err(drop), want.map(PathBuf::from), "{name}");
        }
    }
}
