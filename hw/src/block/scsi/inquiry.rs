//! "INQUIRY command": the standard data, and pages of vital product data.

use super::{INVALID_FIELD, Sense, Unit, UnitKind};

/// Blocks of one command at most, as far as drivers heed that ("Block Limits VPD page").
pub(super) const TRANSFER_BLOCKS: u32 = 0xffff;
/// Blocks that WRITE SAME writes at most.
pub(super) const SAME_BLOCKS: u64 = 1 << 16;
/// Descriptors of UNMAP at most, and blocks of all of them.
pub(super) const UNMAP_DESCRIPTORS: u32 = 255;
pub(super) const UNMAP_BLOCKS: u32 = 1 << 23;

const VENDOR: &str = "MIMIC";
/// Characters of a serial number at most.
const SERIAL_LEN: usize = 36;

fn padded(text: &str, len: usize) -> Vec<u8> {
    let printable = text.bytes().map(|byte| if byte.is_ascii_graphic() { byte } else { b' ' });
    printable.chain(std::iter::repeat(b' ')).take(len).collect()
}

/// The data that the command `cdb` asks for.
pub(super) fn answer(unit: &Unit, cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
    match (byte(1) & 1 != 0, byte(2)) {
        (false, 0) => Ok(standard(unit)),
        (true, page) => product_data(unit, page),
        _ => Err(INVALID_FIELD),
    }
}

fn kind(unit: &Unit) -> u8 {
    match unit.kind {
        UnitKind::Disk => 0x00,
        UnitKind::CdRom => 0x05,
    }
}

/// "Standard INQUIRY data": SPC-3, queues of commands.
fn standard(unit: &Unit) -> Vec<u8> {
    let (removable, product) = match unit.kind {
        UnitKind::Disk => (0, "HARDDISK"),
        UnitKind::CdRom => (0x80, "CD-ROM"),
    };
    let mut data = vec![kind(unit), removable, 5, 0x12, 31, 0, 0, 2];
    data.extend(padded(VENDOR, 8));
    data.extend(padded(product, 16));
    data.extend(padded("1.0", 4));
    data
}

fn product_data(unit: &Unit, page: u8) -> Result<Vec<u8>, Sense> {
    let serial = unit.serial.get(..SERIAL_LEN.min(unit.serial.len())).unwrap_or_default();
    let disk = unit.kind == UnitKind::Disk;
    let data = match page {
        0x00 => {
            let every = [0x00, 0x80, 0x83];
            let disks = if disk { &[0xb0, 0xb1, 0xb2][..] } else { &[] };
            [&every, disks].concat()
        }
        0x80 => padded(serial, serial.len()),
        // A designator for the unit, in ASCII, based on the vendor's name.
        0x83 => {
            let name = [padded(VENDOR, 8), padded(serial, serial.len())].concat();
            [&[2, 1, 0, name.len() as u8], &name[..]].concat()
        }
        0xb0 if disk => block_limits(),
        // "Block Device Characteristics": the medium does not rotate.
        0xb1 if disk => [&[0, 1][..], &[0; 58]].concat(),
        // "Logical Block Provisioning": UNMAP, WRITE SAME with UNMAP of 16 and 10 bytes; thin.
        0xb2 if disk => vec![0, 0xe0, 2, 0],
        _ => return Err(INVALID_FIELD),
    };
    let [high, low] = (data.len() as u16).to_be_bytes();
    Ok([&[kind(unit), page, high, low], &data[..]].concat())
}

/// "Block Limits VPD page", from its fifth byte on.
fn block_limits() -> Vec<u8> {
    let mut data = vec![1, 0, 0, 1]; // WRITE SAME of no blocks is refused; a granularity of one block
    data.extend(TRANSFER_BLOCKS.to_be_bytes());
    data.extend([0; 8]);
    data.extend(UNMAP_BLOCKS.to_be_bytes());
    data.extend(UNMAP_DESCRIPTORS.to_be_bytes());
    data.extend([0; 8]); // no granularity of UNMAP, no alignment
    data.extend(SAME_BLOCKS.to_be_bytes());
    data.resize(60, 0);
    data
}
