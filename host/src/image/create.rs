//! Making images: `mimic img create`, and the target of `mimic img convert`.

use super::format::Format;
use super::layers::backing_path;
use super::lock::{self, Use};
use super::{Chain, Image, SECTOR, write_zero_bytes};
use crate::error::{HostError, reason};
use imago::file::File as Storage;
use imago::format::PreallocateMode;
use imago::qcow2::Qcow2;
use imago::{FormatCreateBuilder, StorageOpenOptions};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Cluster size of qcow2 images of which nothing else was said.
pub const CLUSTER_SIZE: u64 = 64 << 10;
/// Entries that an L1 table can have.
const MAX_L1_ENTRIES: u64 = 4 << 20;

/// Space that a new image, or the part that is added to one, gets at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// None.
    #[default]
    Off,
    /// That of the tables; the data's is assigned but stays a hole.
    Metadata,
    /// All, as the file system assigns it.
    Falloc,
    /// All, written.
    Full,
}

impl Preallocation {
    /// What imago calls it.
    pub(crate) fn mode(self) -> PreallocateMode {
        match self {
            Self::Off => PreallocateMode::None,
            Self::Metadata => PreallocateMode::FormatAllocate,
            Self::Falloc => PreallocateMode::FullAllocate,
            Self::Full => PreallocateMode::WriteData,
        }
    }
}

/// The file behind a new image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    /// Its name as the image is to hold it: relative to the image.
    pub name: String,
    /// Its format.
    pub format: Option<Format>,
    /// The file need not be there.
    pub unchecked: bool,
}

/// What a new image is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewImage {
    /// Raw if nothing is said.
    pub format: Option<Format>,
    /// Size of the disk in bytes, rounded up to whole sectors; that of the backing file if nothing is said.
    pub size: Option<u64>,
    /// What lies behind it.
    pub backing: Option<Backing>,
    /// Bytes of a cluster, a power of two from 512 to 2 MiB.
    pub cluster_size: Option<u64>,
    /// Bits of a refcount, a power of two from 1 to 64.
    pub refcount_bits: Option<u64>,
    /// Space that it gets at once.
    pub preallocation: Preallocation,
}

/// Makes an image at `path`, in place of what is there, and returns the size of its disk in bytes. What fails leaves no
/// file behind that was not there.
///
/// # Errors
/// One line for options that do not fit each other, a backing file that cannot be used, a file that cannot be written.
pub fn create(path: &Path, new: &NewImage) -> Result<u64, HostError> {
    let name = path.display().to_string();
    let failed = |reason: String, advice: &str| HostError::new("create", "image", &name, reason, advice);
    let size = plan(path, new)?;
    let existed = path.exists();
    let mut open = File::options();
    open.read(true).write(true).create(true).truncate(false);
    let file = open.open(path).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "make its folder first, or choose another place",
            _ => "choose a file that you may write to",
        };
        failed(reason(&error), advice)
    })?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(failed(
            "it is no regular file".into(),
            "choose another name; `mimic img convert -n` writes to what exists",
        ));
    }
    lock::take(&file, Use::Write, Use::Peek).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => failed("another program uses it".into(), "end it, or choose another name"),
        _ => failed(reason(&error), "check the file"),
    })?;
    let result = file.set_len(0).and_then(|()| match new.format.unwrap_or(Format::Raw) {
        Format::Qcow2 => qcow2(&file, path, size, new),
        _ => raw(&file, size, new.preallocation),
    });
    result.map_err(|error| {
        if !existed {
            let _ = std::fs::remove_file(path);
        }
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there or choose another place",
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => "use a smaller size or another file system",
            _ => "check the options and the place",
        };
        failed(reason(&error), advice)
    })?;
    Ok(size)
}

/// Checks what is to be made; its size.
fn plan(path: &Path, new: &NewImage) -> Result<u64, HostError> {
    let name = path.display().to_string();
    let failed = |reason: String, advice: &str| HostError::new("create", "image", &name, reason, advice);
    let format = new.format.unwrap_or(Format::Raw);
    if format == Format::Vmdk {
        return Err(failed("VMDK images can only be read".into(), "use -f qcow2 or -f raw"));
    }
    if format == Format::Raw {
        let rows = [
            (new.backing.is_some(), "a raw image cannot have a backing file"),
            (
                new.cluster_size.is_some() || new.refcount_bits.is_some(),
                "a raw image has neither clusters nor refcounts",
            ),
            (new.preallocation == Preallocation::Metadata, "a raw image has no metadata to preallocate"),
        ];
        if let Some((_, why)) = rows.iter().find(|(wrong, _)| *wrong) {
            return Err(failed((*why).into(), "use -f qcow2, or leave the option out"));
        }
    }
    let power = |value: u64, from: u64, to: u64| value.is_power_of_two() && (from..=to).contains(&value);
    let cluster_size = new.cluster_size.unwrap_or(CLUSTER_SIZE);
    if !power(cluster_size, 512, 2 << 20) {
        return Err(failed(format!("clusters of {cluster_size} bytes"), "use a power of two from 512 to 2M"));
    }
    if let Some(bits) = new.refcount_bits.filter(|bits| !power(*bits, 1, 64)) {
        return Err(failed(format!("refcounts of {bits} bits"), "use a power of two from 1 to 64"));
    }
    let behind = match &new.backing {
        Some(backing) if !backing.unchecked => {
            let place = backing_path(path, &backing.name).map_err(|why| failed(why, "name a file"))?;
            let image = Image::open("backing file", &place, backing.format, Use::Read, Chain::Open);
            let image = image.map_err(|error| HostError { action: "use", ..error })?;
            if backing.format.is_none() {
                let advice = format!("add -F {} if that is what it is", image.format().name());
                return Err(failed(format!("the format of its backing file `{}` is not said", backing.name), &advice));
            }
            Some(image.len_bytes())
        }
        Some(Backing { format: None, name, .. }) => {
            return Err(failed(format!("the format of its backing file `{name}` is not said"), "add -F FORMAT"));
        }
        _ => None,
    };
    if new.backing.is_some() && new.preallocation != Preallocation::Off {
        return Err(failed("an image with a backing file cannot be preallocated".into(), "leave preallocation= out"));
    }
    let Some(size) = new.size.or(behind) else {
        return Err(failed("its size is missing".into(), "write it behind the name, for example 8G"));
    };
    let whole = size.checked_next_multiple_of(SECTOR).filter(|size| *size <= i64::MAX as u64);
    let Some(size) = whole else { return Err(failed(format!("a disk of {size} bytes"), "use a smaller size")) };
    if format == Format::Qcow2 && size.div_ceil(cluster_size * cluster_size / 8) > MAX_L1_ENTRIES {
        let largest = cluster_size * cluster_size / 8 * MAX_L1_ENTRIES;
        let why = format!("with clusters of {cluster_size} bytes a disk has {largest} bytes at most");
        return Err(failed(why, "use a larger cluster_size= or a smaller size"));
    }
    Ok(size)
}

fn raw(file: &File, size: u64, preallocation: Preallocation) -> io::Result<()> {
    match preallocation {
        Preallocation::Off | Preallocation::Metadata => file.set_len(size),
        Preallocation::Falloc if size > 0 => Ok(fallocate(file, FallocateFlags::empty(), 0, size)?),
        Preallocation::Falloc => Ok(()),
        Preallocation::Full => write_zero_bytes(0, size, |at, zeros| file.write_all_at(zeros, at)),
    }
}

fn qcow2(file: &File, path: &Path, size: u64, new: &NewImage) -> io::Result<()> {
    let storage = Storage::from_open_file(file.try_clone()?, StorageOpenOptions::new().write(true).filename(path))?;
    let mut builder = Qcow2::<Storage>::create_builder(storage)
        .cluster_size(new.cluster_size.unwrap_or(CLUSTER_SIZE) as usize)
        .refcount_width(new.refcount_bits.unwrap_or(16) as usize)
        .size(size)
        .preallocate(new.preallocation.mode());
    if let Some(backing) = &new.backing {
        let format = backing.format.unwrap_or(Format::Raw);
        builder = builder.backing(backing.name.clone(), format.name().into());
    }
    builder.create()
}
