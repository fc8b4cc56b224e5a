use super::*;
use crate::testing::Random;
use std::io::{Cursor, Write as _};

impl Source for Vec<u8> {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = at.checked_add(buf.len()).and_then(|end| self.get(at..end));
        buf.copy_from_slice(bytes.ok_or_else(|| io::Error::other("outside of the disk"))?);
        Ok(())
    }
}

/// A FAT of `kib` KiB with these files.
fn fat(kib: usize, files: &[&str]) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0; kib << 10]);
    fatfs::format_volume(&mut disk, fatfs::FormatVolumeOptions::new()).unwrap();
    {
        let system = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
        for file in files {
            let mut folder = system.root_dir();
            let (path, name) = file.rsplit_once('/').unwrap_or(("", file));
            for part in path.split('/').filter(|part| !part.is_empty()) {
                folder = folder.create_dir(part).unwrap();
            }
            folder.create_file(name).unwrap().write_all(b"MZ").unwrap();
        }
    }
    disk.into_inner()
}

use fatfs::{FileSystem, FsOptions};

const ESP: [u8; 16] = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
const LINUX_AA64: [u8; 16] =
    [0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae];
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";

/// A disk with a GPT: partitions by type and contents, one after another from 1 MiB on.
fn gpt(parts: &[([u8; 16], Vec<u8>)]) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[446 + 4] = 0xee;
    disk[512..520].copy_from_slice(b"EFI PART");
    disk[512 + 72] = 2;
    disk[512 + 80] = 128;
    disk[512 + 84] = 128;
    for (n, (kind, bytes)) in parts.iter().enumerate() {
        let (at, start) = (1024 + n * 128, (disk.len() / 512) as u64);
        disk[at..at + 16].copy_from_slice(kind);
        disk[at + 32..at + 40].copy_from_slice(&start.to_le_bytes());
        disk.extend(bytes);
        disk.resize(disk.len().next_multiple_of(512), 0);
    }
    disk
}

fn with_boot_code(mut disk: Vec<u8>) -> Vec<u8> {
    disk[..2].copy_from_slice(&[0xeb, 0x63]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn mbr(kinds: &[u8]) -> Vec<u8> {
    let mut disk = with_boot_code(vec![0; 2 << 20]);
    for (n, kind) in kinds.iter().enumerate() {
        disk[446 + n * 16 + 4] = *kind;
        disk[446 + n * 16 + 9] = 8;
    }
    disk
}

/// A disc whose catalog has an entry for each platform, and the EFI image in block 40.
fn disc(platforms: &[u8], efi: &[u8]) -> Vec<u8> {
    let mut disc = vec![0; 40 * 2048];
    for (n, kind) in [1_u8, 0, 255].into_iter().enumerate() {
        let at = (16 + n) * 2048;
        disc[at] = kind;
        disc[at + 1..at + 6].copy_from_slice(b"CD001");
    }
    disc[17 * 2048 + 7..17 * 2048 + 30].copy_from_slice(b"EL TORITO SPECIFICATION");
    disc[17 * 2048 + 71] = 20;
    let catalog = &mut disc[20 * 2048..];
    for (n, platform) in platforms.iter().enumerate() {
        let (head, entry) = if n == 0 { (0, 32) } else { (64 * n, 64 * n + 32) };
        catalog[head] = if n == 0 { 1 } else { 0x91 };
        catalog[head + 1] = *platform;
        catalog[entry] = 0x88;
        catalog[entry + 8] = 40;
    }
    catalog[30..32].copy_from_slice(&[0x55, 0xaa]);
    disc.extend(efi);
    disc
}

#[track_caller]
fn check(disk: Vec<u8>, medium: Medium, bios: bool, efi: &[Isa], family: Option<Family>) -> Contents {
    let found = look(&disk).unwrap();
    assert_eq!((found.medium, found.bios, found.efi.as_slice(), found.family), (medium, bios, efi, family));
    found
}

#[test]
fn disks_with_a_gpt() {
    let both = fat(2048, &["EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi"]);
    let unix = Some(Family::Unix);
    let found = check(gpt(&[(ESP, both.clone())]), Medium::Disk, false, &[Isa::X86_64], None);
    assert_eq!(found.efi_by_variable, [Isa::X86_64]);
    assert_eq!(found.summary, "a GPT with an EFI system partition");
    let code = with_boot_code(gpt(&[(BIOS_BOOT, vec![0; 512]), (ESP, both.clone())]));
    check(code, Medium::Disk, true, &[Isa::X86_64], None);
    // Code without a place for the rest of it starts nothing.
    check(with_boot_code(gpt(&[(ESP, both)])), Medium::Disk, false, &[Isa::X86_64], None);
    let arm = fat(2048, &["EFI/BOOT/BOOTAA64.EFI"]);
    let found = check(gpt(&[(ESP, arm), (LINUX_AA64, vec![0; 512])]), Medium::Disk, false, &[Isa::Aarch64], unix);
    assert_eq!(found.root, Some(Isa::Aarch64));
    let installed = fat(2048, &["EFI/debian/shimaa64.efi"]);
    let found = check(gpt(&[(ESP, installed)]), Medium::Disk, false, &[], None);
    assert_eq!(found.efi_by_variable, [Isa::Aarch64]);
}

#[test]
fn disks_with_an_mbr_and_without() {
    check(mbr(&[0x83, 0x82]), Medium::Disk, true, &[], Some(Family::Unix));
    check(mbr(&[0x07]), Medium::Disk, true, &[], Some(Family::Microsoft));
    let mut esp = mbr(&[0xef]);
    esp.truncate(1 << 20);
    esp.extend(fat(2048, &["EFI/BOOT/BOOTAA64.EFI"]));
    check(esp, Medium::Disk, true, &[Isa::Aarch64], None);
    check(vec![0; 4096], Medium::Disk, false, &[], None);
    check(Vec::new(), Medium::Disk, false, &[], None);
    let mut ext = vec![0; 1 << 20];
    ext[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    check(ext, Medium::Disk, false, &[], Some(Family::Unix));
    // A file system from the first block on, as on floppy disks and memory sticks.
    check(fat(1440, &["COMMAND.COM"]), Medium::Floppy, true, &[], None);
    check(
        fat(4096, &["EFI/BOOT/BOOTAA64.EFI", "EFI/BOOT/bootx64.efi"]),
        Medium::Disk,
        true,
        &[Isa::X86_64, Isa::Aarch64],
        None,
    );
}

#[test]
fn discs() {
    let efi = fat(2048, &["EFI/BOOT/BOOTAA64.EFI"]);
    check(disc(&[0xef], &efi), Medium::Disc, false, &[Isa::Aarch64], None);
    check(disc(&[0, 0xef], &efi), Medium::Disc, true, &[Isa::Aarch64], None);
    check(disc(&[0], &[]), Medium::Disc, true, &[], None);
    check(disc(&[0xef], &[]), Medium::Disc, false, &[], None);
    let mut plain = disc(&[], &[]);
    plain[17 * 2048] = 255;
    check(plain, Medium::Disc, false, &[], None);
}

#[test]
fn damaged_media_end_soon_and_without_a_panic() {
    let rounds = std::env::var("MIMIC_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let files = ["EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi", "EFI/a long name of a folder/x.efi"];
    let originals = [
        with_boot_code(gpt(&[(BIOS_BOOT, vec![0; 512]), (ESP, fat(256, &files))])),
        disc(&[0, 0xef], &fat(256, &files)),
        fat(256, &files),
        fat(40 << 10, &files),
    ];
    let mut random = Random(7);
    for round in 0..rounds {
        // The large one, a FAT32, takes its time.
        let mut disk = originals[if round % 100 == 99 { 3 } else { round % 3 }].clone();
        // Where the structures are: the beginning, and the first blocks of the FAT.
        let starts = [0, 512, 1024, 1 << 20, (1 << 20) + 512, 17 * 2048, 20 * 2048, 40 * 2048];
        for _ in 0..1 + random.below(8) {
            let start = starts[random.below(starts.len() as u64) as usize];
            let at = start + random.below(3000);
            if let Some(byte) = disk.get_mut(at as usize) {
                *byte = [0, 1, 0x7f, 0x80, 0xff, random.below(256) as u8][random.below(6) as usize];
            }
        }
        if random.below(8) == 0 {
            disk.truncate(random.below(disk.len() as u64) as usize);
        }
        // Errors of reading do not happen here: whatever points outside is not there.
        look(&disk).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}
