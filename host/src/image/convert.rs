//! Copying an image's disk into another image, and changing a disk's size: `mimic img convert` and `resize`.

use super::create::{Backing, NewImage, Preallocation, create};
use super::format::Format;
use super::layers::backing_path;
use super::lock::Use;
use super::qcow2::Header;
use super::{Chain, Image, SECTOR, end_of};
use crate::error::{HostError, reason};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes copied at once.
const PIECE: u64 = 2 << 20;
/// Zeros of this many bytes are not written, in raw images.
const SPARSE: u64 = 4096;

/// How an image is converted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Format of the source; found out if nothing is said.
    pub from: Option<Format>,
    /// The source may be in use.
    pub force_share: bool,
    /// The target: its size is the source's.
    pub new: NewImage,
    /// The target exists and is written into.
    pub existing: bool,
}

/// Copies the disk of the image `source` into the image `target`. `progress` hears the part that is done, 0 to 1.
///
/// # Errors
/// One line for either image that cannot be opened, made, read or written.
pub fn convert(
    source: &Path,
    target: &Path,
    conversion: &Conversion,
    progress: &mut dyn FnMut(f64),
) -> Result<(), HostError> {
    let usage = if conversion.force_share { Use::Peek } else { Use::Read };
    if same_file(source, target) {
        let reason = "it is the source";
        return Err(HostError::new("write", "image", target.display().to_string(), reason, "choose another name"));
    }
    let from = Image::open("image", source, conversion.from, usage, Chain::Open)?;
    let size = from.len_bytes();
    let existed = target.exists();
    let mut new = conversion.new.clone();
    new.size = Some(size);
    if !conversion.existing {
        create(target, &new)?;
    }
    let result = copy(&from, target, conversion, progress);
    if result.is_err() && !existed {
        let _ = std::fs::remove_file(target);
    }
    result
}

fn same_file(one: &Path, two: &Path) -> bool {
    match (one.metadata(), two.metadata()) {
        (Ok(one), Ok(two)) => (one.dev(), one.ino()) == (two.dev(), two.ino()),
        _ => false,
    }
}

fn copy(from: &Image, target: &Path, conversion: &Conversion, progress: &mut dyn FnMut(f64)) -> Result<(), HostError> {
    let new = &conversion.new;
    let size = from.len_bytes();
    let to = Image::open("image", target, Some(new.format.unwrap_or(Format::Raw)), Use::Write, Chain::Open)?;
    if to.len_bytes() < size {
        let reason = format!("it has {} bytes, the source has {size}", to.len_bytes());
        return Err(HostError::new("write", "image", to.name(), reason, "use a larger target"));
    }
    // Where nothing is known of the target, or something lies behind it, zeros count.
    let compare = new.backing.is_some();
    let blank = !compare && !conversion.existing;
    let granule = match new.format {
        Some(Format::Qcow2) => new.cluster_size.unwrap_or(super::create::CLUSTER_SIZE).max(SPARSE),
        _ => SPARSE,
    };
    let mut buf = vec![0; PIECE as usize];
    let mut old = vec![0; if compare { PIECE as usize } else { 0 }];
    let mut at = 0;
    while at < size {
        progress(at as f64 / size as f64);
        if blank {
            match from.next_data(at).map_err(|error| reading(from, error))? {
                None => break,
                Some((start, _)) => at = at.max(start - start % granule),
            }
        }
        let len = PIECE.min(size - at) as usize;
        let part = &mut buf[..len];
        from.read(at, part).map_err(|error| reading(from, error))?;
        if compare {
            to.read(at, &mut old[..len]).map_err(|error| reading(&to, error))?;
        }
        let old = compare.then(|| &old[..len]);
        pieces(part, old, granule as usize, blank, |start, bytes| to.write(at + start as u64, bytes))
            .map_err(|error| writing(&to, error))?;
        at += len as u64;
    }
    to.flush(true).map_err(|error| writing(&to, error))?;
    progress(1.0);
    Ok(())
}

/// Calls `write` with the runs of granules that must be written: those that differ from `old`, or that are not zero if the
/// target is `blank`, or all.
fn pieces(
    part: &[u8],
    old: Option<&[u8]>,
    granule: usize,
    blank: bool,
    mut write: impl FnMut(usize, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let wanted = |start: usize| {
        let bytes = &part[start..(start + granule).min(part.len())];
        match old {
            Some(old) => bytes != &old[start..start + bytes.len()],
            None => !blank || bytes.iter().any(|byte| *byte != 0),
        }
    };
    let mut start = 0;
    while start < part.len() {
        let mut end = start;
        while end < part.len() && wanted(end) {
            end = (end + granule).min(part.len());
        }
        if end > start {
            write(start, &part[start..end])?;
        }
        start = end + granule;
    }
    Ok(())
}

fn reading(image: &Image, error: io::Error) -> HostError {
    HostError::new("read", "image", image.name(), reason(&error), "check it with `mimic img check`")
}

fn writing(image: &Image, error: io::Error) -> HostError {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there or choose another place",
        io::ErrorKind::FileTooLarge => "choose a file system that takes larger files",
        _ => "check the file",
    };
    HostError::new("write", "image", image.name(), reason(&error), advice)
}

/// A disk's new size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeChange {
    /// This many bytes.
    To(u64),
    /// This many bytes more.
    By(u64),
    /// This many bytes less.
    Less(u64),
}

/// Changes the size of the disk in the image at `path`, rounded up to whole sectors; returns it. What is added reads as
/// zeros. Only with `shrink` may it lose bytes.
///
/// # Errors
/// One line for an image that cannot be opened or changed, and for a loss that was not allowed.
pub fn resize(
    path: &Path,
    format: Option<Format>,
    change: SizeChange,
    shrink: bool,
    preallocation: Preallocation,
) -> Result<u64, HostError> {
    let mut image = Image::open("image", path, format, Use::Write, Chain::Open)?;
    let name = image.name().to_owned();
    let failed = |reason: String, advice: &str| HostError::new("resize", "image", &name, reason, advice);
    let old = image.odd_size().unwrap_or(image.len_bytes());
    let wanted = match change {
        SizeChange::To(size) => Some(size),
        SizeChange::By(more) => old.checked_add(more),
        SizeChange::Less(less) => old.checked_sub(less),
    };
    let size = wanted.and_then(|size| size.checked_next_multiple_of(SECTOR)).filter(|size| *size <= i64::MAX as u64);
    let Some(size) = size else { return Err(failed(format!("it has {old} bytes"), "choose a possible size")) };
    if size < old && !shrink {
        let why = format!("a disk of {size} bytes loses what lies behind them, it has {old}");
        return Err(failed(why, "shrink its file systems and partitions first, then add --shrink"));
    }
    let mut behind = 0;
    if image.format() == Format::Qcow2 {
        let fault = |fault: super::qcow2::Fault| failed(fault.reason, &fault.advice);
        let len = end_of(&image.file).map_err(|error| failed(reason(&error), "check the file"))?;
        let header = Header::read(&image.file, len).map_err(fault)?;
        if header.snapshots > 0 && size < old {
            return Err(failed(
                "it has snapshots of the larger disk".into(),
                "delete them with `qemu-img snapshot -d`",
            ));
        }
        if let Some(name) = header.backing_file {
            let place = backing_path(path, &name).map_err(|why| failed(why, "name a file"))?;
            let backing =
                Backing { name, format: header.backing_format.and_then(|f| Format::named(&f).ok()), unchecked: false };
            behind = Image::open("backing file", &place, backing.format, Use::Read, Chain::Open)?.len_bytes();
            if preallocation != Preallocation::Off {
                let why = "an image with a backing file cannot be preallocated";
                return Err(failed(why.into(), "leave --preallocation out"));
            }
        }
    } else if image.format() == Format::Raw && preallocation == Preallocation::Metadata {
        return Err(failed("a raw image has no metadata to preallocate".into(), "use falloc or full"));
    }
    // What the backing file has behind the old end must not show through.
    let covered = size.min(behind);
    let result = match covered > old {
        true => {
            image.set_len(covered, Preallocation::Off, true).and_then(|()| image.set_len(size, preallocation, false))
        }
        false => image.set_len(size, preallocation, false),
    };
    result.and_then(|()| image.flush(true)).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there or use less",
            _ => "use a smaller size, or another cluster_size= or file system",
        };
        failed(reason(&error), advice)
    })?;
    Ok(size)
}
