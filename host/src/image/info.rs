//! What an image says about itself: `mimic img info`.

use super::format::{self, Format};
use super::layers::backing_path;
use super::lock::Use;
use super::qcow2::{self, CORRUPT, DIRTY, Header, LAZY_REFCOUNTS, Snapshot};
use super::{Chain, Image, SECTOR, end_of, open_file};
use crate::error::{HostError, reason};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name as it was given.
    pub filename: String,
    /// Its format.
    pub format: Format,
    /// Size of the disk in bytes.
    pub virtual_size: u64,
    /// Space that the file takes in bytes.
    pub actual_size: u64,
    /// What stands behind it.
    pub backing: Option<BackingInfo>,
    /// What only qcow2 images have.
    pub qcow2: Option<Qcow2Info>,
}

/// A backing file as its image names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackingInfo {
    /// The name in the image.
    pub name: String,
    /// Where that is.
    pub place: String,
    /// The format in the image.
    pub format: Option<String>,
}

/// What only qcow2 images have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qcow2Info {
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// `0.10` for version 2 of the format, `1.1` for version 3.
    pub compat: &'static str,
    /// How clusters are compressed.
    pub compression: &'static str,
    /// Refcounts are written late.
    pub lazy_refcounts: bool,
    /// Bits of a refcount.
    pub refcount_bits: u32,
    /// It is marked as corrupt.
    pub corrupt: bool,
    /// Its last writer did not end in order.
    pub dirty: bool,
    /// L2 entries have 128 bits.
    pub extended_l2: bool,
    /// Internal snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// Describes the image at `path`, whose format is found out if `format` is `None`. Backing files are not opened.
///
/// # Errors
/// One line for what cannot be opened or is malformed.
pub fn info(path: &Path, format: Option<Format>, usage: Use) -> Result<Info, HostError> {
    let name = path.display().to_string();
    let file = open_file("open", "image", path, usage)?;
    let failed = |reason: String, advice: &str| HostError::new("open", "image", &name, reason, advice);
    let io_failed = |error: std::io::Error| failed(reason(&error), "check the file");
    let found = match format {
        Some(format) => format,
        None => match format::probe(&file).map_err(io_failed)? {
            None => Format::Raw,
            Some((_, Some(format))) => format,
            Some((other, None)) => {
                let why = format!("it is a {other} image, which is not implemented");
                return Err(failed(why, "say -f raw to look at it as it is"));
            }
        },
    };
    let len = end_of(&file).map_err(io_failed)?;
    let metadata = file.metadata().map_err(io_failed)?;
    let mut info = Info {
        filename: name.clone(),
        format: found,
        virtual_size: len.checked_next_multiple_of(SECTOR).unwrap_or(len),
        actual_size: metadata.blocks() * 512,
        backing: None,
        qcow2: None,
    };
    match found {
        Format::Raw => {}
        Format::Vmdk => {
            info.virtual_size = Image::open("image", path, Some(found), usage, Chain::Ignore)?.len_bytes();
        }
        Format::Qcow2 => {
            let header = Header::read(&file, len).map_err(|fault| failed(fault.reason, &fault.advice))?;
            let snapshots = qcow2::snapshots(&file, &header).map_err(|fault| failed(fault.reason, &fault.advice))?.0;
            info.virtual_size = header.size;
            info.qcow2 = Some(Qcow2Info {
                cluster_size: header.cluster_size(),
                compat: if header.version == 2 { "0.10" } else { "1.1" },
                compression: if header.compression == 0 { "zlib" } else { "zstd" },
                lazy_refcounts: header.compatible & LAZY_REFCOUNTS != 0,
                refcount_bits: header.refcount_bits(),
                corrupt: header.incompatible & CORRUPT != 0,
                dirty: header.incompatible & DIRTY != 0,
                extended_l2: header.incompatible & 1 << 4 != 0,
                snapshots,
            });
            info.backing = header.backing_file.map(|name| BackingInfo {
                place: backing_path(path, &name).map_or_else(|_| name.clone(), |place| place.display().to_string()),
                name,
                format: header.backing_format,
            });
        }
    }
    Ok(info)
}

/// Describes an image and every backing file behind it.
///
/// # Errors
/// As [`info`], and one for a chain that comes back to itself.
pub fn chain(path: &Path, format: Option<Format>, usage: Use) -> Result<Vec<Info>, HostError> {
    let mut all: Vec<Info> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let (mut path, mut format) = (path.to_path_buf(), format);
    loop {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if seen.contains(&real) {
            let reason = format!("its chain of backing files comes back to `{}`", path.display());
            let advice = "leave --backing-chain out to see the backing file of each";
            return Err(HostError::new("open", "image", &all[0].filename, reason, advice));
        }
        seen.push(real);
        let one = info(&path, format, usage)?;
        let next = one.backing.clone();
        all.push(one);
        let Some(backing) = next else { return Ok(all) };
        path = backing.place.into();
        format = backing.format.and_then(|name| Format::named(&name).ok());
    }
}
