//! Boot sectors and partition tables: the PC's master boot record, and GPT (UEFI 2.10, 5 "GUID Partition Table (GPT) Disk
//! Layout").

use super::{Isa, Source};
use std::io;

/// Bytes of a block, for all that is written here: images of disks with larger blocks are rare.
const BLOCK: u64 = 512;
/// Most entries of a GPT that are looked at.
const ENTRIES_MAX: u32 = 256;
/// Largest entry.
const ENTRY_MAX: u32 = 4096;
/// Where a boot sector's code ends: the disk's signature and the table follow.
const CODE_END: usize = 440;

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The EFI system partition.
    Efi,
    /// Linux, on these processors if the type says so.
    Linux(Option<Isa>),
    /// DOS, Windows.
    Microsoft,
    /// The rest of a boot loader for BIOS.
    BiosBoot,
    /// Anything else.
    Other,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub kind: Kind,
    /// Where it begins, in bytes.
    pub start: u64,
    /// A BIOS' boot sector is to start it.
    pub active: bool,
}

/// A disk's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// There is no table.
    None,
    Mbr(Vec<Part>),
    Gpt(Vec<Part>),
}

/// Types of a GPT's entries as they are on disk (their first three fields little-endian). The Linux ones: Discoverable
/// Partitions Specification, "Defined Partition Type UUIDs".
const GUIDS: &[(u128, Kind)] = &[
    (0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b, Kind::Efi),
    (0x21686148_6449_6e6f_744e_656564454649, Kind::BiosBoot),
    (0x0fc63daf_8483_4772_8e79_3d69d8477de4, Kind::Linux(None)),
    (0xbc13c2ff_59e6_4262_a352_b275fd6f7172, Kind::Linux(None)),
    (0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709, Kind::Linux(Some(Isa::X86_64))),
    (0x44479540_f297_41b2_9af7_d131d5f0458a, Kind::Linux(Some(Isa::I386))),
    (0xb921b045_1df0_41c3_af44_4c6f280d3fae, Kind::Linux(Some(Isa::Aarch64))),
    (0x69dad710_2ce4_4e3c_b16c_21a1d49abed3, Kind::Linux(Some(Isa::Arm))),
    (0x72ec70a6_cf74_40e6_bd49_4bda08e8f224, Kind::Linux(Some(Isa::Riscv64))),
    (0x77055800_792c_4f94_b39a_98c91b762bb6, Kind::Linux(Some(Isa::Loongarch64))),
    (0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7, Kind::Microsoft),
    (0xe3c9e316_0b5c_4db8_817d_f92df00215ae, Kind::Microsoft),
];

fn kind_of_guid(bytes: [u8; 16]) -> Kind {
    let (mut text, [a, b, c, d, e, f, g, h, ..]) = (bytes, bytes);
    text[..8].copy_from_slice(&[d, c, b, a, f, e, h, g]);
    let guid = u128::from_be_bytes(text);
    GUIDS.iter().find(|(known, _)| *known == guid).map_or(Kind::Other, |(_, kind)| *kind)
}

fn kind_of_type(number: u8) -> Kind {
    match number {
        0xef => Kind::Efi,
        0x83 | 0x8e | 0xfd | 0xa5 | 0xa6 | 0xa9 => Kind::Linux(None),
        0x01 | 0x04 | 0x06 | 0x07 | 0x0b | 0x0c | 0x0e | 0x27 => Kind::Microsoft,
        _ => Kind::Other,
    }
}

/// A medium's first block; zeros if it is smaller.
fn boot_sector(source: &dyn Source) -> io::Result<[u8; BLOCK as usize]> {
    let mut sector = [0; BLOCK as usize];
    if source.len_bytes() >= BLOCK {
        source.read(0, &mut sector)?;
    }
    Ok(sector)
}

/// Whether a BIOS would start the first block.
pub fn has_boot_code(source: &dyn Source) -> io::Result<bool> {
    let sector = boot_sector(source)?;
    Ok(sector[510..] == [0x55, 0xaa] && sector[..CODE_END].iter().any(|byte| *byte != 0))
}

/// Whether a file system ext2, 3 or 4 begins at byte `start`.
pub fn has_ext(source: &dyn Source, start: u64) -> io::Result<bool> {
    let mut magic = [0; 2];
    let at = start.saturating_add(0x438);
    if at.checked_add(2).is_some_and(|end| end <= source.len_bytes()) {
        source.read(at, &mut magic)?;
    }
    Ok(magic == [0x53, 0xef])
}

/// Reads the partition table.
pub fn read(source: &dyn Source) -> io::Result<Table> {
    if let Some(parts) = gpt(source)? {
        return Ok(Table::Gpt(parts));
    }
    let sector = boot_sector(source)?;
    let entries: Vec<&[u8]> = sector[446..510].chunks_exact(16).collect();
    // The first block of a file system ends in the same mark, and has text or code where the table would be.
    let valid = sector[510..] == [0x55, 0xaa]
        && entries.iter().all(|entry| matches!(entry[0], 0 | 0x80))
        && entries.iter().any(|entry| entry[4] != 0);
    if !valid {
        return Ok(Table::None);
    }
    Ok(Table::Mbr(entries.into_iter().filter(|entry| entry[4] != 0).map(mbr_part).collect()))
}

fn mbr_part(entry: &[u8]) -> Part {
    let start = u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]]);
    Part { kind: kind_of_type(entry[4]), start: u64::from(start) * BLOCK, active: entry[0] == 0x80 }
}

/// The entries of a GPT; `None` if there is none.
fn gpt(source: &dyn Source) -> io::Result<Option<Vec<Part>>> {
    let mut header = [0; 92];
    if source.len_bytes() < 2 * BLOCK {
        return Ok(None);
    }
    source.read(BLOCK, &mut header)?;
    if &header[..8] != b"EFI PART" {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let table = u64::from(word(72)) | u64::from(word(76)) << 32;
    let (count, size) = (word(80).min(ENTRIES_MAX), word(84));
    if !(128..=ENTRY_MAX).contains(&size) {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for n in 0..count {
        let at = table.saturating_mul(BLOCK).saturating_add(u64::from(n) * u64::from(size));
        let mut entry = [0; 56];
        if at.checked_add(entry.len() as u64).is_none_or(|end| end > source.len_bytes()) {
            break;
        }
        source.read(at, &mut entry)?;
        let (kind, rest) = entry.split_at(16);
        if kind.iter().all(|byte| *byte == 0) {
            continue;
        }
        let start = u64::from_le_bytes(rest[16..24].try_into().unwrap_or_default());
        let attributes = u64::from_le_bytes(rest[32..40].try_into().unwrap_or_default());
        parts.push(Part {
            kind: kind_of_guid(kind.try_into().unwrap_or_default()),
            start: start.saturating_mul(BLOCK),
            // Table 5.8, bit 2: Legacy BIOS Bootable.
            active: attributes & 4 != 0,
        });
    }
    Ok(Some(parts))
}
