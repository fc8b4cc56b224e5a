//! Raw disk images: files and block devices of the host behind [`BlockDev`].

use crate::error::{HostError, reason};
use crate::overlay::{Overlay, temp_dir};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use vm::blockdev::{BlockDev, BlockError};

const SECTOR: u64 = 512;

/// How writes become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// When the guest flushes.
    #[default]
    Writeback,
    /// Each write before it completes.
    Writethrough,
    /// Never on purpose: the guest's flushes are ignored.
    Unsafe,
}

/// How a disk is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOptions {
    pub path: PathBuf,
    /// Refuse writes.
    pub read_only: bool,
    /// Keep writes in a temporary overlay that vanishes at the end.
    pub snapshot: bool,
    pub cache: Cache,
    /// Give the space of discarded ranges back to the host.
    pub discard: bool,
    /// Nobody said that the format is raw: refuse images of other formats, and a guest that would turn the disk into one.
    pub probe: bool,
}

/// Opens a raw image. A size that is no multiple of 512 is padded with zeros, with a line on standard error.
pub fn open(options: &DiskOptions) -> Result<Disk, HostError> {
    let name = options.path.display().to_string();
    let image = Image::open(options, &name)?;
    let layer = if options.snapshot {
        let overlay = Overlay::new(image).map_err(|error| {
            let advice = "free space there or set TMPDIR to a directory with space";
            let dir = temp_dir().display().to_string();
            HostError::new("create", "temporary overlay in", dir, reason(&error), advice)
        })?;
        Layer::Overlay(overlay)
    } else {
        Layer::Image(image)
    };
    let (read_only, cache) = (options.read_only && !options.snapshot, options.cache);
    Ok(Disk {
        name,
        layer,
        read_only,
        cache,
        discard: options.discard,
        probe: options.probe,
        failing: AtomicBool::new(false),
    })
}

/// An open disk.
pub struct Disk {
    name: String,
    layer: Layer,
    read_only: bool,
    cache: Cache,
    discard: bool,
    probe: bool,
    /// The last write failed and was reported.
    failing: AtomicBool,
}

enum Layer {
    Image(Image),
    Overlay(Overlay),
}

impl Disk {
    /// Writes what a snapshot disk holds back to its image and returns the number of bytes; `None` without an overlay.
    pub fn commit(&self) -> Result<Option<u64>, HostError> {
        let Layer::Overlay(overlay) = &self.layer else { return Ok(None) };
        overlay.commit().map(Some).map_err(|error| {
            let advice = "make the image writable and close other programs that use it, then commit again";
            HostError::new("commit to", "disk", &self.name, reason(&error), advice)
        })
    }

    fn writing(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        self.check_range(offset, len)
    }

    /// Passes a write's result on; the first failure of a row is also reported to the person at the terminal.
    fn written(&self, result: io::Result<()>) -> Result<(), BlockError> {
        let result = result.and_then(|()| match self.cache {
            Cache::Writethrough => self.sync(),
            _ => Ok(()),
        });
        match &result {
            Ok(()) => self.failing.store(false, Ordering::Relaxed),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                use io::Write;
                let why = reason(error);
                let line = format!("mimic: cannot write to disk `{}`: {why}; the guest gets an I/O error", self.name);
                let _ = writeln!(io::stderr(), "{line}");
            }
            Err(_) => {}
        }
        Ok(result?)
    }

    fn sync(&self) -> io::Result<()> {
        match &self.layer {
            Layer::Image(image) => image.file.sync_data(),
            // The overlay does not outlive the program.
            Layer::Overlay(_) => Ok(()),
        }
    }
}

impl BlockDev for Disk {
    fn len_bytes(&self) -> u64 {
        match &self.layer {
            Layer::Image(image) => image.len,
            Layer::Overlay(overlay) => overlay.len(),
        }
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.check_range(offset, buf.len() as u64)?;
        Ok(match &self.layer {
            Layer::Image(image) => image.read(offset, buf),
            Layer::Overlay(overlay) => overlay.read(offset, buf),
        }?)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.writing(offset, buf.len() as u64)?;
        if self.probe
            && offset == 0
            && let Some(format) = other_format(buf)
        {
            let why = format!("the guest would make it look like a {format} image; say format=raw to allow that");
            return self.written(Err(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        self.written(match &self.layer {
            Layer::Image(image) => image.file.write_all_at(buf, offset),
            Layer::Overlay(overlay) => overlay.write(offset, buf),
        })
    }

    fn flush(&self) -> Result<(), BlockError> {
        match self.cache {
            Cache::Unsafe => Ok(()),
            _ if self.read_only => Ok(()),
            _ => Ok(self.sync()?),
        }
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writing(offset, len)?;
        if self.discard
            && let Layer::Image(image) = &self.layer
        {
            // A file system that cannot punch holes keeps the old contents, as this request allows.
            let _ = image.deallocate(offset, len);
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writing(offset, len)?;
        self.written(match &self.layer {
            Layer::Image(image) => image.write_zeroes(offset, len),
            Layer::Overlay(overlay) => write_zero_bytes(offset, len, |at, zeros| overlay.write(at, zeros)),
        })
    }
}

/// A file or block device.
pub(crate) struct Image {
    pub(crate) file: File,
    /// Size in bytes, rounded up to whole sectors.
    pub(crate) len: u64,
}

impl Image {
    fn open(options: &DiskOptions, name: &str) -> Result<Self, HostError> {
        let writable = !options.read_only && !options.snapshot;
        let failed = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "check the path, or create it with `truncate -s 8G FILE`",
                io::ErrorKind::PermissionDenied if writable => "add readonly=on or fix the file's mode",
                io::ErrorKind::ReadOnlyFilesystem => "add readonly=on or snapshot=on",
                io::ErrorKind::IsADirectory => "name an image file in it",
                _ => "check the file",
            };
            HostError::new("open", "disk", name, reason(&error), advice)
        };
        let mut open = OpenOptions::new();
        // Without it, opening a named pipe would wait for its other side.
        open.read(true).write(writable).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        let mut file = open.open(&options.path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(failed(Errno::ISDIR.into()));
        }
        if !kind.is_file() && !kind.is_block_device() {
            let advice = "name a regular file or a block device";
            return Err(HostError::new("open", "disk", name, "it is neither a file nor a block device", advice));
        }
        lock(&file, writable).map_err(|error| match error {
            Errno::WOULDBLOCK => {
                let advice = if writable {
                    "end the other program, or add snapshot=on or readonly=on if it only reads too"
                } else {
                    "end the other program, which writes to it"
                };
                HostError::new("open", "disk", name, "another program uses it", advice)
            }
            error => failed(error.into()),
        })?;
        // The size of a block device is where its end is.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size == 0 {
            let advice = "give it a size, for example with `truncate -s 8G FILE`";
            return Err(HostError::new("use", "disk", name, "it is empty", advice));
        }
        let len = size.div_ceil(SECTOR) * SECTOR;
        let image = Self { file, len };
        if options.probe {
            let mut start = [0; SECTOR as usize];
            image.read(0, &mut start).map_err(failed)?;
            if let Some(format) = other_format(&start) {
                let reason = format!("it is a {format} image, and only raw images are implemented yet");
                let advice = "convert it with `qemu-img convert -O raw FILE NEW`, or say format=raw to use it as it is";
                return Err(HostError::new("open", "disk", name, reason, advice));
            }
        }
        if len != size {
            eprintln!(
                "mimic: disk `{name}` has {size} bytes, no multiple of {SECTOR}; the guest sees {len}, padded with zeros"
            );
        }
        Ok(image)
    }

    /// Reads; what lies past the end of the file is zero.
    pub(crate) fn read(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
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

    fn deallocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        Ok(fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)?)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
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
}

/// Keeps two programs from writing to one image: whoever writes must be alone.
fn lock(file: &File, writable: bool) -> Result<(), Errno> {
    let operation =
        if writable { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    match flock(file, operation) {
        // File systems without locks cannot help.
        Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK | Errno::INVAL) => Ok(()),
        result => result,
    }
}

fn write_zero_bytes(offset: u64, len: u64, mut write: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
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

/// The format that an image's first bytes announce, if it is one of those in use for disks other than raw.
fn other_format(start: &[u8]) -> Option<&'static str> {
    let known: &[(&[u8], &str)] = &[
        (b"QFI\xfb\0\0\0\x01", "qcow"),
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "VMDK"),
        (b"COWD", "VMDK"),
        (b"# Disk DescriptorFile", "VMDK"),
        (b"vhdxfile", "VHDX"),
        (b"conectix", "VHD"),
        (b"QED\0", "QED"),
        (b"<<< ", "VDI"),
    ];
    known.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::CLUSTER;

    struct Temp(PathBuf);

    impl Temp {
        fn new(name: &str, contents: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("mimic-disk-{}-{name}", std::process::id()));
            std::fs::write(&path, contents).unwrap();
            Self(path)
        }

        fn options(&self) -> DiskOptions {
            DiskOptions { path: self.0.clone(), ..DiskOptions::default() }
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 253) as u8).collect()
    }

    fn read(disk: &Disk, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0xee; len];
        disk.read_at(offset, &mut buf).unwrap();
        buf
    }

    fn refused(options: &DiskOptions) -> String {
        open(options).err().unwrap().to_string().replace(&*options.path.to_string_lossy(), "IMAGE")
    }

    #[test]
    fn what_is_written_is_read_and_the_ends_are_checked() {
        let temp = Temp::new("rw", &pattern(4096));
        let disk = open(&temp.options()).unwrap();
        assert_eq!((disk.len_bytes(), disk.read_only()), (4096, false));
        disk.write_at(1000, b"hello").unwrap();
        assert_eq!(read(&disk, 999, 7), [&pattern(4096)[999..1000], b"hello", &pattern(4096)[1005..1006]].concat());
        disk.flush().unwrap();
        assert!(matches!(
            disk.write_at(4090, &[0; 7]),
            Err(BlockError::OutOfRange { offset: 4090, len: 7, disk: 4096 })
        ));
        assert!(matches!(disk.read_at(u64::MAX, &mut [0; 2]), Err(BlockError::OutOfRange { .. })));
        assert!(matches!(disk.discard(4096, 1), Err(BlockError::OutOfRange { .. })));
        assert!(matches!(disk.write_zeroes(u64::MAX, u64::MAX), Err(BlockError::OutOfRange { .. })));
        disk.read_at(4096, &mut []).unwrap();
        drop(disk);
        assert_eq!(&std::fs::read(&temp.0).unwrap()[1000..1005], b"hello");
    }

    #[test]
    fn zeroed_and_discarded_ranges() {
        let temp = Temp::new("zero", &[0xff; 3 * CLUSTER as usize]);
        for snapshot in [true, false] {
            let disk = open(&DiskOptions { snapshot, discard: true, ..temp.options() }).unwrap();
            disk.write_zeroes(100, 2 * CLUSTER).unwrap();
            let mut want = vec![0xff; 3 * CLUSTER as usize];
            want[100..100 + 2 * CLUSTER as usize].fill(0);
            assert!(read(&disk, 0, want.len()) == want);
            disk.write_zeroes(0, 0).unwrap();
            disk.discard(0, 0).unwrap();
            disk.discard(CLUSTER, CLUSTER).unwrap();
            assert!(read(&disk, 0, CLUSTER as usize) == want[..CLUSTER as usize]);
        }
    }

    #[test]
    fn an_odd_size_is_padded_with_zeros_that_can_be_written() {
        let temp = Temp::new("odd", &[7; 700]);
        let disk = open(&temp.options()).unwrap();
        assert_eq!(disk.len_bytes(), 1024);
        assert_eq!(read(&disk, 690, 334), [[7; 10].as_slice(), &[0; 324]].concat());
        disk.write_at(1020, b"tail").unwrap();
        assert_eq!(read(&disk, 1018, 6), b"\0\0tail");
    }

    #[test]
    fn a_snapshot_leaves_the_image_alone_until_it_is_committed() {
        let before = pattern(2 * CLUSTER as usize + 512);
        let temp = Temp::new("snapshot", &before);
        let disk = open(&DiskOptions { snapshot: true, ..temp.options() }).unwrap();
        let at = CLUSTER - 3;
        disk.write_at(at, b"across").unwrap();
        disk.write_at(2 * CLUSTER + 508, b"last").unwrap();
        let mut want = before.clone();
        want[at as usize..at as usize + 6].copy_from_slice(b"across");
        want[2 * CLUSTER as usize + 508..].copy_from_slice(b"last");
        assert!(read(&disk, 0, before.len()) == want);
        assert!(std::fs::read(&temp.0).unwrap() == before);
        // Several may share the image.
        let other = open(&DiskOptions { snapshot: true, ..temp.options() }).unwrap();
        assert!(read(&other, 0, before.len()) == before);
        let busy = disk.commit().unwrap_err().to_string();
        assert!(busy.contains("another program uses it; make the image writable"), "{busy}");
        drop(other);
        assert_eq!(disk.commit().unwrap(), Some(2 * CLUSTER + 512));
        assert!(std::fs::read(&temp.0).unwrap() == want);
        assert!(read(&disk, 0, before.len()) == want);
        assert_eq!(disk.commit().unwrap(), Some(0));
    }

    #[test]
    fn two_writers_are_refused_and_two_readers_are_not() {
        let temp = Temp::new("lock", &[0; 512]);
        let writer = open(&temp.options()).unwrap();
        assert_eq!(
            refused(&temp.options()),
            "cannot open disk `IMAGE`: another program uses it; end the other program, or add snapshot=on or \
             readonly=on if it only reads too"
        );
        let read_only = DiskOptions { read_only: true, ..temp.options() };
        assert!(refused(&read_only).ends_with("another program uses it; end the other program, which writes to it"));
        drop(writer);
        let (one, _two) = (open(&read_only).unwrap(), open(&read_only).unwrap());
        assert!(one.read_only());
        assert!(matches!(one.write_at(0, b"x"), Err(BlockError::ReadOnly)));
        assert!(matches!(one.write_zeroes(0, 1), Err(BlockError::ReadOnly)));
        one.flush().unwrap();
        assert!(refused(&temp.options()).contains("another program uses it"));
    }

    #[test]
    fn what_is_no_raw_image_is_refused_with_a_way_out() {
        let missing = DiskOptions { path: "/nonexistent.img".into(), ..DiskOptions::default() };
        let advice = "check the path, or create it with `truncate -s 8G FILE`";
        assert_eq!(refused(&missing), format!("cannot open disk `IMAGE`: no such file or directory; {advice}"));
        let path = std::env::temp_dir();
        for read_only in [true, false] {
            let options = DiskOptions { path: path.clone(), read_only, ..DiskOptions::default() };
            assert_eq!(refused(&options), "cannot open disk `IMAGE`: is a directory; name an image file in it");
        }
        let null = DiskOptions { path: "/dev/null".into(), ..DiskOptions::default() };
        assert!(refused(&null).contains("it is neither a file nor a block device"));
        let empty = Temp::new("empty", b"");
        assert!(refused(&empty.options()).contains("it is empty; give it a size"));
        let qcow2 = Temp::new("qcow2", b"QFI\xfb\0\0\0\x03");
        let probe = DiskOptions { probe: true, ..qcow2.options() };
        assert!(refused(&probe).contains("it is a qcow2 image"));
        open(&qcow2.options()).unwrap();
    }

    #[test]
    fn a_probed_disk_cannot_be_turned_into_another_format() {
        let temp = Temp::new("probed", &[0; 1024]);
        let disk = open(&DiskOptions { probe: true, ..temp.options() }).unwrap();
        assert!(matches!(disk.write_at(0, b"QFI\xfb\0\0\0\x02"), Err(BlockError::Io(_))));
        disk.write_at(0, b"MBR").unwrap();
        disk.write_at(512, b"QFI\xfb\0\0\0\x02").unwrap();
    }

    #[test]
    fn a_full_host_disk_is_the_guests_error() {
        // Writing past the limit of the file size is the portable way to meet a full disk without privileges, but the
        // limit is the process's: /dev/full serves one file only.
        let file = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let disk = Disk {
            name: "full.img".into(),
            layer: Layer::Image(Image { file, len: 1 << 20 }),
            read_only: false,
            cache: Cache::Writeback,
            discard: false,
            probe: false,
            failing: AtomicBool::new(false),
        };
        let error = disk.write_at(0, &[1; 512]).unwrap_err();
        assert_eq!(error.to_string(), "No space left on device (os error 28)");
        assert!(disk.failing.load(Ordering::Relaxed));
        assert!(disk.write_at(0, &[1; 512]).is_err());
    }
}
