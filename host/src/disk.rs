//! Disks of guests: [`image`](crate::image)s of the host behind [`BlockDev`].

use crate::error::{HostError, reason};
use crate::image::format::{self, Format, PROBE};
use crate::image::{Chain, Image, SECTOR, Use, write_zero_bytes};
use crate::overlay::{Overlay, temp_dir};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use vm::blockdev::{BlockDev, BlockError};

/// The images of all disks that are written to directly, for [`flush_all`].
static WRITTEN: Mutex<Vec<Weak<Image>>> = Mutex::new(Vec::new());

/// How writes become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// When the guest flushes.
    #[default]
    Writeback,
    /// Each write before it completes.
    Writethrough,
    /// Never on purpose: a guest's flush hands everything to the host, which may lose it if it stops.
    Unsafe,
}

/// What becomes of zeros that a guest writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetectZeroes {
    /// They are written.
    #[default]
    Off,
    /// The image notes that the range is zero.
    On,
    /// The same, and gives the range's space back if the disk discards at all.
    Unmap,
}

/// How a disk is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOptions {
    pub path: PathBuf,
    /// The image's format. `None`: it is found out, and what looks raw can never be turned into another format by the
    /// guest.
    pub format: Option<Format>,
    /// Refuse writes.
    pub read_only: bool,
    /// Keep writes in a temporary overlay that vanishes at the end.
    pub snapshot: bool,
    pub cache: Cache,
    /// Give the space of discarded ranges back to the host.
    pub discard: bool,
    pub detect_zeroes: DetectZeroes,
}

/// Opens an image as a disk. A size that is no multiple of 512 is padded with zeros, with a line on standard error.
///
/// # Errors
/// One line for an image that is missing, in use, malformed, empty or of an unknown format, and for its backing files.
pub fn open(options: &DiskOptions) -> Result<Disk, HostError> {
    let usage = if options.read_only || options.snapshot { Use::Read } else { Use::Write };
    let image = Image::open("disk", &options.path, options.format, usage, Chain::Open)?;
    let name = image.name().to_owned();
    if image.len_bytes() == 0 {
        let advice = match image.format() {
            Format::Raw => "give it a size, for example with `truncate -s 8G FILE`",
            _ => "give it a size, for example with `mimic img resize FILE 8G`",
        };
        return Err(HostError::new("use", "disk", name, "it is empty", advice));
    }
    if let Some(size) = image.odd_size() {
        let len = image.len_bytes();
        eprintln!(
            "mimic: disk `{name}` has {size} bytes, no multiple of {SECTOR}; the guest sees {len}, padded with zeros"
        );
    }
    let guard = image.probed() && image.format() == Format::Raw;
    let image = Arc::new(image);
    let layer = if options.snapshot {
        let overlay = Overlay::new(image).map_err(|error| {
            let advice = "free space there or set TMPDIR to a directory with space";
            let dir = temp_dir().display().to_string();
            HostError::new("create", "temporary overlay in", dir, reason(&error), advice)
        })?;
        Layer::Overlay(overlay)
    } else {
        if usage.writes() {
            let mut written = WRITTEN.lock().unwrap();
            written.retain(|image| image.strong_count() > 0);
            written.push(Arc::downgrade(&image));
        }
        Layer::Image(image)
    };
    Ok(Disk {
        name,
        layer,
        read_only: options.read_only && !options.snapshot,
        cache: options.cache,
        discard: options.discard,
        detect_zeroes: options.detect_zeroes,
        guard,
        failing: AtomicBool::new(false),
    })
}

/// Hands what disks still hold in memory to the host; for the end of the program, when guests no longer flush.
pub fn flush_all() {
    for image in WRITTEN.lock().unwrap().iter().filter_map(Weak::upgrade) {
        if let Err(error) = image.flush(false) {
            eprintln!(
                "mimic: cannot write to disk `{}`: {}; check it with `mimic img check`",
                image.name(),
                reason(&error)
            );
        }
    }
}

/// An open disk.
pub struct Disk {
    name: String,
    layer: Layer,
    read_only: bool,
    cache: Cache,
    discard: bool,
    detect_zeroes: DetectZeroes,
    /// The format was found out to be raw: the guest must not make it look like another.
    guard: bool,
    /// The last write failed and was reported.
    failing: AtomicBool,
}

enum Layer {
    Image(Arc<Image>),
    Overlay(Overlay),
}

impl Disk {
    /// Writes what a snapshot disk holds back to its image and returns the number of bytes; `None` without an overlay.
    pub fn commit(&self) -> Result<Option<u64>, HostError> {
        let Layer::Overlay(overlay) = &self.layer else { return Ok(None) };
        overlay.commit().map(Some).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::WouldBlock => "another program uses it".to_owned(),
                _ => reason(&error),
            };
            let advice = "make the image writable and close other programs that use it, then commit again";
            HostError::new("commit to", "disk", &self.name, why, advice)
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
            Cache::Writethrough => self.sync(true),
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

    /// Hands everything to the host; with `durable` also to the medium.
    fn sync(&self, durable: bool) -> io::Result<()> {
        match &self.layer {
            Layer::Image(image) => image.flush(durable),
            // The overlay does not outlive the program.
            Layer::Overlay(_) => Ok(()),
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.layer {
            Layer::Image(image) => image.read(offset, buf),
            Layer::Overlay(overlay) => overlay.read(offset, buf),
        }
    }

    /// Refuses a write after which an image that was taken for raw would look like one of another format: the next to
    /// open it would follow the guest's words to any file.
    fn check_guard(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if !self.guard || offset >= PROBE as u64 || buf.is_empty() {
            return Ok(());
        }
        let mut start = [0; PROBE];
        let at = offset as usize;
        let len = buf.len().min(PROBE - at);
        if len < PROBE {
            self.read(0, &mut start)?;
        }
        start[at..at + len].copy_from_slice(&buf[..len]);
        match format::announced(&start) {
            None => Ok(()),
            Some((format, _)) => {
                let why = format!("the guest would make it look like a {format} image; say format=raw to allow that");
                Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
            }
        }
    }

    fn zero(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        if offset < PROBE as u64 && len > 0 {
            self.check_guard(offset, &[0; PROBE][..len.min(PROBE as u64) as usize])?;
        }
        match &self.layer {
            Layer::Image(image) => image.write_zeroes(offset, len, unmap),
            Layer::Overlay(overlay) => write_zero_bytes(offset, len, |at, zeros| overlay.write(at, zeros)),
        }
    }
}

impl BlockDev for Disk {
    fn len_bytes(&self) -> u64 {
        match &self.layer {
            Layer::Image(image) => image.len_bytes(),
            Layer::Overlay(overlay) => overlay.len(),
        }
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.check_range(offset, buf.len() as u64)?;
        Ok(self.read(offset, buf)?)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.writing(offset, buf.len() as u64)?;
        if self.detect_zeroes != DetectZeroes::Off && buf.iter().all(|byte| *byte == 0) {
            let unmap = self.detect_zeroes == DetectZeroes::Unmap && self.discard;
            return self.written(self.zero(offset, buf.len() as u64, unmap));
        }
        self.written(self.check_guard(offset, buf).and_then(|()| match &self.layer {
            Layer::Image(image) => image.write(offset, buf),
            Layer::Overlay(overlay) => overlay.write(offset, buf),
        }))
    }

    fn flush(&self) -> Result<(), BlockError> {
        match self.cache {
            _ if self.read_only => Ok(()),
            cache => Ok(self.sync(cache != Cache::Unsafe)?),
        }
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writing(offset, len)?;
        if self.discard
            && let Layer::Image(image) = &self.layer
        {
            // What cannot be given back keeps its contents, as this request allows.
            let _ = image.discard(offset, len);
        }
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writing(offset, len)?;
        self.written(self.zero(offset, len, self.discard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::CLUSTER;
    use crate::testing::Temp;

    impl Temp {
        fn options(&self) -> DiskOptions {
            DiskOptions { path: self.path().into(), format: Some(Format::Raw), ..DiskOptions::default() }
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
        assert_eq!(&std::fs::read(temp.path()).unwrap()[1000..1005], b"hello");
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
        assert!(std::fs::read(temp.path()).unwrap() == before);
        // Several may share the image.
        let other = open(&DiskOptions { snapshot: true, ..temp.options() }).unwrap();
        assert!(read(&other, 0, before.len()) == before);
        let busy = disk.commit().unwrap_err().to_string();
        assert!(busy.contains("another program uses it; make the image writable"), "{busy}");
        drop(other);
        assert_eq!(disk.commit().unwrap(), Some(2 * CLUSTER + 512));
        assert!(std::fs::read(temp.path()).unwrap() == want);
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
        let advice = "check the path, or create it with `mimic img create FILE 8G`";
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
        let qcow = Temp::new("qcow", b"QFI\xfb\0\0\0\x01");
        let probe = DiskOptions { format: None, ..qcow.options() };
        assert!(refused(&probe).contains("it is a qcow image, which is not implemented; convert it"));
        open(&qcow.options()).unwrap();
    }

    #[test]
    fn a_probed_disk_cannot_be_turned_into_another_format() {
        let temp = Temp::new("probed", &[0; 2048]);
        for snapshot in [false, true] {
            let disk = open(&DiskOptions { format: None, snapshot, ..temp.options() }).unwrap();
            assert!(matches!(disk.write_at(0, b"QFI\xfb\0\0\0\x02"), Err(BlockError::Io(_))));
            let mut whole = [0; 1024];
            whole[..4].copy_from_slice(b"QFI\xfb");
            assert!(matches!(disk.write_at(0, &whole), Err(BlockError::Io(_))));
            // Nor by pieces, nor by taking something away.
            disk.write_at(2, b"I\xfb").unwrap();
            assert!(matches!(disk.write_at(0, b"QF"), Err(BlockError::Io(_))));
            disk.write_at(0, b"QFI!").unwrap();
            disk.write_at(512, b"QFI\xfb\0\0\0\x02").unwrap();
            assert_eq!(read(&disk, 0, 4), b"QFI!");
            disk.write_zeroes(0, 512).unwrap();
        }
        let said = open(&temp.options()).unwrap();
        said.write_at(0, b"QFI\xfb\0\0\0\x02").unwrap();
    }

    #[test]
    fn a_full_host_disk_is_the_guests_error() {
        // /dev/full is refused as a disk, but as the file of an image it is the portable way to meet a full disk.
        let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let disk = Disk {
            name: "full.img".into(),
            layer: Layer::Image(Arc::new(Image::raw("full.img", file, 1 << 20))),
            read_only: false,
            cache: Cache::Writeback,
            discard: false,
            detect_zeroes: DetectZeroes::Off,
            guard: false,
            failing: AtomicBool::new(false),
        };
        let error = disk.write_at(0, &[1; 512]).unwrap_err();
        assert_eq!(error.to_string(), "No space left on device (os error 28)");
        assert!(disk.failing.load(Ordering::Relaxed));
        assert!(disk.write_at(0, &[1; 512]).is_err());
    }

    #[test]
    fn zeros_are_detected() {
        let temp = Temp::new("detect", &[7; 4 * CLUSTER as usize]);
        for (detect_zeroes, snapshot) in
            [(DetectZeroes::On, true), (DetectZeroes::On, false), (DetectZeroes::Unmap, false)]
        {
            let disk = open(&DiskOptions { detect_zeroes, snapshot, discard: true, ..temp.options() }).unwrap();
            disk.write_at(CLUSTER, &[0; CLUSTER as usize]).unwrap();
            let want = [vec![7; 1], vec![0; CLUSTER as usize], vec![7; 1]].concat();
            assert!(read(&disk, CLUSTER - 1, want.len()) == want);
        }
    }
}
