//! EFI system partitions: FAT file systems with the programs that firmware starts (UEFI 2.10, 13.3 "File System Format",
//! 3.5.1.1 "Removable Media Boot Behavior").

use super::{Isa, Source};
use fatfs::{Dir, FileSystem, FsOptions};
use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes that are read at most: a damaged file system may lead in circles.
const READ_MAX: u64 = 4 << 20;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 1000;

/// Programs of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Efi {
    /// At the path of removable media.
    pub removable: Vec<Isa>,
    /// In the folders of systems.
    pub installed: Vec<Isa>,
}

/// A part of a source, from `start` on, as a file that can only be read.
struct Part<'a> {
    source: &'a dyn Source,
    start: u64,
    at: u64,
    left: &'a Cell<u64>,
}

impl Read for Part<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at = self.start.saturating_add(self.at);
        let len = self.source.len_bytes().saturating_sub(at).min(buf.len() as u64);
        let left = self.left.get().checked_sub(len).ok_or_else(|| io::Error::other("it leads in circles"))?;
        self.left.set(left);
        self.source.read(at, &mut buf[..len as usize])?;
        self.at += len;
        Ok(len as usize)
    }
}

impl Write for Part<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Part<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.source.len_bytes().saturating_sub(self.start);
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The programs of the file system that begins at byte `start`; none if there is no such file system.
pub fn look(source: &dyn Source, start: u64) -> Efi {
    let left = Cell::new(READ_MAX);
    if start >= source.len_bytes() || !is_fat(source, start) {
        return Efi::default();
    }
    let part = Part { source, start, at: 0, left: &left };
    let options = FsOptions::new().update_accessed_date(false);
    let Ok(system) = FileSystem::new(part, options) else { return Efi::default() };
    programs(&system.root_dir()).unwrap_or_default()
}

/// Whether the fields of the boot sector are what every FAT has, before a library computes with them (FAT32 File System
/// Specification 1.03, "Boot Sector and BPB").
fn is_fat(source: &dyn Source, start: u64) -> bool {
    let mut sector = [0; 512];
    if start.checked_add(512).is_none_or(|end| end > source.len_bytes()) || source.read(start, &mut sector).is_err() {
        return false;
    }
    let half = |at: usize| u16::from_le_bytes([sector[at], sector[at + 1]]);
    matches!(half(11), 512 | 1024 | 2048 | 4096)
        && sector[13].is_power_of_two()
        && half(14) != 0
        && matches!(sector[16], 1 | 2)
        && sector[510..] == [0x55, 0xaa]
}

fn programs(root: &Dir<'_, Part<'_>>) -> io::Result<Efi> {
    let mut found = Efi::default();
    for folder in root.open_dir("EFI")?.iter().take(ENTRIES_MAX) {
        let folder = folder?;
        let name = folder.file_name();
        if !folder.is_dir() || name.starts_with('.') {
            continue;
        }
        let removable = name.eq_ignore_ascii_case("BOOT");
        for program in folder.to_dir().iter().take(ENTRIES_MAX) {
            let name = program?.file_name().to_ascii_uppercase();
            let Some(stem) = name.strip_suffix(".EFI") else { continue };
            for (suffix, isa) in Isa::SUFFIXES {
                match removable {
                    true if stem.strip_prefix("BOOT") == Some(suffix) => found.removable.push(isa),
                    false if stem.ends_with(suffix) => found.installed.push(isa),
                    _ => {}
                }
            }
        }
    }
    Ok(found)
}
