//! Writes to a disk kept apart from its image (`snapshot=on`), in a file that no directory names.

use crate::entropy::HostEntropy;
use crate::image::Image;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use vm::entropy::Entropy;

/// Unit in which an overlay takes over a disk's contents.
pub(crate) const CLUSTER: u64 = 64 * 1024;

/// Writes over an image that itself stays as it is.
pub(crate) struct Overlay {
    base: Arc<Image>,
    /// Sparse; a cluster lies where it lies in the disk.
    file: File,
    /// Which clusters the overlay holds.
    held: RwLock<BTreeSet<u64>>,
}

pub(crate) fn temp_dir() -> PathBuf {
    // Larger and not in memory, where /tmp often is.
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// A file that no directory names.
fn unlinked_file(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(rustix::fs::OFlags::TMPFILE.bits() as i32).open(dir) {
        // Not every file system knows it.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL)) => {}
        result => return result,
    }
    let mut name = [0; 8];
    HostEntropy.fill(&mut name);
    let path = dir.join(format!("mimic-{:016x}", u64::from_le_bytes(name)));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl Overlay {
    pub(crate) fn new(base: Arc<Image>) -> io::Result<Self> {
        Ok(Self { base, file: unlinked_file(&temp_dir())?, held: RwLock::default() })
    }

    /// Size of the disk in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.base.len_bytes()
    }

    /// Calls `part` with each piece of a range that lies within one cluster: its cluster, its offset, its place in the
    /// range.
    fn pieces(
        offset: u64,
        len: usize,
        mut part: impl FnMut(u64, u64, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let size = ((CLUSTER - at % CLUSTER) as usize).min(len - done);
            part(at / CLUSTER, at, done..done + size)?;
            done += size;
        }
        Ok(())
    }

    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let held = self.held.read().unwrap();
        Self::pieces(offset, buf.len(), |cluster, at, range| {
            let buf = &mut buf[range];
            if held.contains(&cluster) { self.file.read_exact_at(buf, at) } else { self.base.read(at, buf) }
        })
    }

    pub(crate) fn write(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let mut held = self.held.write().unwrap();
        Self::pieces(offset, buf.len(), |cluster, at, range| {
            if !held.contains(&cluster) {
                let start = cluster * CLUSTER;
                let mut contents = vec![0; CLUSTER as usize];
                let within = ((self.base.len_bytes() - start).min(CLUSTER)) as usize;
                self.base.read(start, &mut contents[..within])?;
                self.file.write_all_at(&contents, start)?;
                held.insert(cluster);
            }
            self.file.write_all_at(&buf[range], at)
        })
    }

    pub(crate) fn commit(&self) -> io::Result<u64> {
        let mut held = self.held.write().unwrap();
        let bytes = self.base.with_writer(|image| {
            let mut bytes = 0;
            let mut contents = vec![0; CLUSTER as usize];
            for start in held.iter().map(|cluster| cluster * CLUSTER) {
                let within = ((self.base.len_bytes() - start).min(CLUSTER)) as usize;
                self.file.read_exact_at(&mut contents[..within], start)?;
                image.write(start, &contents[..within])?;
                bytes += within as u64;
            }
            Ok(bytes)
        })?;
        held.clear();
        let _ = rustix::fs::ftruncate(&self.file, 0);
        Ok(bytes)
    }
}
