//! How a file system lies on an image, and the tables that say so.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::rootfs::admin_path;

/// How the file system lies on the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// It is the image. The emulator loads the kernel.
    Bare,
    /// In the only partition of a table that a BIOS knows.
    Mbr,
    /// In the first partition of a GPT, behind an EFI system partition and, if so, one for the loader that a BIOS starts.
    Gpt { bios: bool },
}

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Where the partition of a [`Layout::Mbr`] begins, in bytes: the usual place, which leaves room for GRUB behind the boot sector.
const MBR_ROOT: u64 = MIB;
/// Where the file system of a [`Layout::Gpt`] begins, in bytes: after 1 MiB for the table, 3 for a BIOS and 124 for UEFI.
pub const GPT_ROOT: u64 = 128 * MIB;
/// What Linux calls a partition with the file system when the image is the first virtio disk.
pub const ROOT: &str = "/dev/vda1";
/// What a GPT needs behind the last partition, generously.
const GPT_TAIL: u64 = MIB;

impl Layout {
    /// Whether the disk has its own kernel and boot loader.
    pub fn is_bootable(self) -> bool {
        self != Layout::Bare
    }

    /// Where the file system begins on the image, in bytes.
    pub fn offset(self) -> u64 {
        match self {
            Layout::Bare => 0,
            Layout::Mbr => MBR_ROOT,
            Layout::Gpt { .. } => GPT_ROOT,
        }
    }

    /// What Linux calls the file system's device when the image is the first virtio disk.
    pub fn root(self) -> &'static str {
        if self.is_bootable() { ROOT } else { "/dev/vda" }
    }

    /// Writes the table around the file system that an image holds from [`Layout::offset`] to its end.
    pub fn write_table(self, image: &Path) -> Result<()> {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(image)?;
        let length = file.metadata()?.len();
        match self {
            Layout::Bare => Ok(()),
            Layout::Mbr => {
                file.seek(SeekFrom::Start(0))?;
                Ok(file.write_all(&mbr(length))?)
            }
            Layout::Gpt { bios } => {
                file.set_len(length + GPT_TAIL)?;
                sfdisk(image, &gpt(bios, length - GPT_ROOT))
            }
        }
    }
}

/// A boot sector without a loader: one active partition that reaches from [`MBR_ROOT`] to the end of the image.
fn mbr(length: u64) -> [u8; SECTOR as usize] {
    const ENTRY: usize = 446;
    const ACTIVE: u8 = 0x80;
    const LINUX: u8 = 0x83;
    // The old numbers of head, sector and cylinder say that they do not suffice.
    const LBA: [u8; 3] = [0xfe, 0xff, 0xff];
    let mut sector = [0; SECTOR as usize];
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).expect("an image of some GiB").to_le_bytes();
    let entry = [&[ACTIVE], &LBA[..], &[LINUX], &LBA, &sectors(MBR_ROOT), &sectors(length - MBR_ROOT)].concat();
    sector[ENTRY..ENTRY + entry.len()].copy_from_slice(&entry);
    sector[SECTOR as usize - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// What sfdisk(8) is told. The numbers are those of Debian's cloud images: the root is 1 wherever it lies. Types: UEFI
/// 2.10, section 5.3.3 "GPT Partition Entry Array", for the ESP; GRUB's manual, "BIOS installation", for the BIOS's; a Linux file system.
fn gpt(bios: bool, root_length: u64) -> String {
    const BIOS: &str = "21686148-6449-6E6F-744E-656564454649";
    const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
    let mut script = format!("label: gpt\nsector-size: {SECTOR}\n");
    let mut partition = |number: u32, from: u64, length: u64, kind: &str, name: &str| {
        let (start, size) = (from / SECTOR, length / SECTOR);
        script += &format!("p{number} : start={start}, size={size}, type={kind}, name=\"{name}\"\n");
    };
    if bios {
        partition(14, MIB, 3 * MIB, BIOS, "BIOS boot");
    }
    partition(15, 4 * MIB, GPT_ROOT - 4 * MIB, ESP, "EFI system");
    partition(1, GPT_ROOT, root_length, LINUX, "root");
    script
}

fn sfdisk(image: &Path, script: &str) -> Result<()> {
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(image)
        .env("PATH", admin_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `sfdisk`")?;
    // It reads all before it writes; what it did not read its status tells.
    child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
    let result = child.wait_with_output()?;
    if !result.status.success() {
        bail!("`sfdisk` failed ({}): {}", result.status, String::from_utf8_lossy(&result.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::exists;

    #[test]
    fn one_partition_to_the_end() {
        let sector = mbr(MBR_ROOT + (1536 << 20));
        assert_eq!(sector[446..462], *b"\x80\xfe\xff\xff\x83\xfe\xff\xff\x00\x08\x00\x00\x00\x00\x30\x00");
        assert_eq!((sector[510], sector[511]), (0x55, 0xaa));
        assert!(sector[462..510].iter().chain(&sector[..446]).all(|byte| *byte == 0));
    }

    #[test]
    fn partitions_follow_each_other() {
        let lines = |bios| gpt(bios, 2 << 30).lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
        let both = lines(true);
        assert!(both[0].starts_with("p14 : start=2048, size=6144, type=2168"), "{both:?}");
        assert!(both[1].starts_with("p15 : start=8192, size=253952, type=C12A"), "{both:?}");
        assert!(both[2].starts_with("p1 : start=262144, size=4194304, type=0FC6"), "{both:?}");
        assert_eq!(lines(false), both[1..]);
    }

    #[test]
    fn a_gpt_is_at_both_ends() {
        if !exists("sfdisk") {
            println!("skipped: no sfdisk");
            return;
        }
        let image = std::env::temp_dir().join(format!("mimic-gpt-{}.img", std::process::id()));
        fs::File::create(&image).unwrap().set_len(GPT_ROOT + (16 << 20)).unwrap();
        Layout::Gpt { bios: true }.write_table(&image).unwrap();
        let bytes = fs::read(&image).unwrap();
        fs::remove_file(&image).unwrap();
        // UEFI 2.10, section 5.3.2 "GPT Header": the second sector and the last one, each naming the other.
        let header = |at: usize| &bytes[at..at + 40];
        let (first, last) = (header(512), header(bytes.len() - 512));
        assert!(first.starts_with(b"EFI PART") && last.starts_with(b"EFI PART"));
        assert_eq!((&first[24..32], &first[32..40]), (&last[32..40], &last[24..32]));
    }
}
