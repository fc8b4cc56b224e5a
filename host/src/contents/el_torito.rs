//! The boot catalog of CDs and DVDs (El Torito Bootable CD-ROM Format Specification 1.0; UEFI 2.10, 13.3.2.1 "ISO-9660 and El
//! Torito").

use super::Source;
use std::io;

/// Bytes of a block of a disc.
const BLOCK: u64 = 2048;
/// Block of the first volume descriptor (ECMA-119, 6.2.1), and how many are looked at.
const DESCRIPTORS: std::ops::Range<u64> = 16..32;
const PLATFORM_X86: u8 = 0;
const PLATFORM_EFI: u8 = 0xef;
const BOOTABLE: u8 = 0x88;

/// What a disc's catalog offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// There is an entry for BIOS.
    pub bios: bool,
    /// Where the images of EFI system partitions begin, in bytes.
    pub efi_images: Vec<u64>,
}

fn block(source: &dyn Source, number: u64) -> io::Result<Option<[u8; BLOCK as usize]>> {
    let mut bytes = [0; BLOCK as usize];
    let at = number * BLOCK;
    if at + BLOCK > source.len_bytes() {
        return Ok(None);
    }
    source.read(at, &mut bytes)?;
    Ok(Some(bytes))
}

/// The catalog of a disc, empty if the disc has none; `None` if it is no disc.
pub fn read(source: &dyn Source) -> io::Result<Option<Catalog>> {
    let mut catalog = None;
    for number in DESCRIPTORS {
        let Some(descriptor) = block(source, number)? else { break };
        if &descriptor[1..6] != b"CD001" {
            break;
        }
        catalog.get_or_insert_with(Catalog::default);
        match descriptor[0] {
            0 if descriptor[7..].starts_with(b"EL TORITO SPECIFICATION") => {
                let at = u32::from_le_bytes([descriptor[71], descriptor[72], descriptor[73], descriptor[74]]);
                let entries = block(source, at.into())?;
                return Ok(Some(entries.map(|entries| entries_of(&entries)).unwrap_or_default()));
            }
            255 => break,
            _ => {}
        }
    }
    Ok(catalog)
}

fn entries_of(catalog: &[u8]) -> Catalog {
    let mut found = Catalog::default();
    let mut platform = PLATFORM_X86;
    for (n, entry) in catalog.chunks_exact(32).enumerate() {
        match (n, entry[0]) {
            // 2.1, "Validation Entry".
            (0, _) if entry[0] != 1 || entry[30..32] != [0x55, 0xaa] => break,
            (0, _) => platform = entry[1],
            // 2.3, "Section Header": 0x91 is the last one, whose entries follow all the same.
            (_, 0x90 | 0x91) => platform = entry[1],
            (_, BOOTABLE) => match platform {
                PLATFORM_X86 => found.bios = true,
                PLATFORM_EFI => {
                    let at = u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]]);
                    found.efi_images.push(u64::from(at) * BLOCK);
                }
                _ => {}
            },
            (_, 0) => break,
            _ => {}
        }
    }
    found
}
