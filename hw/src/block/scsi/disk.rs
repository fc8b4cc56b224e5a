//! Direct-access block devices: SBC-3, "Commands for direct access block devices", with blocks of 512 bytes.

use super::inquiry::{SAME_BLOCKS, UNMAP_BLOCKS, UNMAP_DESCRIPTORS};
use super::{
    Action, INVALID_COMMAND, INVALID_FIELD, INVALID_PARAMETER, NOT_READY, OUT_OF_RANGE, PARAMETER_LENGTH,
    PARAMETERS_MAX, Parameters, SAVING_NOT_SUPPORTED, Sense, TEST_UNIT_READY, Unit, UnitRegs, WRITE_PROTECTED, be16,
    be32, be64, truncated,
};
use vm::blockdev::BlockDev;

/// Bytes of a block.
const BLOCK: u64 = 512;
/// Length of the parameters of WRITE SAME: one block.
const SAME_LEN: usize = BLOCK as usize;

/// "Caching mode page": write cache enable.
const WCE: u8 = 1 << 2;
/// Forced unit access, in reads and writes of 10 bytes and more.
const FUA: u8 = 1 << 3;

/// What a command does with blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Same,
    Verify,
    Flush,
}

/// First block and number of blocks, where commands of each length have them.
fn blocks(cdb: &[u8]) -> (u64, u64) {
    match cdb.first().map_or(0, |code| code >> 5) {
        0 => {
            let first = be32(cdb, 0) & 0x1f_ffff;
            let n = cdb.get(4).copied().unwrap_or(0);
            (first.into(), if n == 0 { 256 } else { n.into() })
        }
        1 | 2 => (be32(cdb, 2).into(), be16(cdb, 7).into()),
        4 => (be64(cdb, 2), be32(cdb, 10).into()),
        _ => (be32(cdb, 2).into(), be32(cdb, 6).into()),
    }
}

/// See [`Unit::command`].
pub(super) fn command(
    unit: &Unit,
    regs: &mut UnitRegs,
    cdb: &[u8],
    parameters: Parameters<'_>,
) -> Result<Action, Sense> {
    let disk = unit.medium.as_deref().ok_or(NOT_READY)?;
    let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
    let last = (disk.len_bytes() / BLOCK).saturating_sub(1);
    match byte(0) {
        // RESERVE and RELEASE (6) of a unit that nobody else reaches; START STOP UNIT; PREVENT ALLOW MEDIUM REMOVAL.
        TEST_UNIT_READY | 0x16 | 0x17 | 0x1b | 0x1e => Ok(Action::done()),
        0x08 | 0x28 | 0xa8 | 0x88 => access(disk, regs, cdb, Access::Read, parameters),
        // WRITE and WRITE AND VERIFY.
        0x0a | 0x2a | 0xaa | 0x8a | 0x2e | 0xae | 0x8e => access(disk, regs, cdb, Access::Write, parameters),
        0x2f | 0xaf | 0x8f => access(disk, regs, cdb, Access::Verify, parameters),
        0x35 | 0x91 => access(disk, regs, cdb, Access::Flush, parameters),
        0x41 | 0x93 => access(disk, regs, cdb, Access::Same, parameters),
        0x42 => unmap(disk, cdb, parameters),
        0x15 => mode_select(regs, byte(1), byte(4).into(), 4, parameters),
        0x55 => mode_select(regs, byte(1), be16(cdb, 7).into(), 8, parameters),
        0x1a => mode_sense(disk, regs, cdb, false).map(|data| truncated(data, byte(4).into())),
        0x5a => mode_sense(disk, regs, cdb, true).map(|data| truncated(data, be16(cdb, 7).into())),
        // READ CAPACITY (10).
        0x25 => {
            let last = u32::try_from(last).unwrap_or(u32::MAX);
            Ok(Action::Data([last.to_be_bytes(), (BLOCK as u32).to_be_bytes()].concat()))
        }
        // READ CAPACITY (16), of SERVICE ACTION IN (16): the unit is thinly provisioned.
        0x9e if byte(1) & 0x1f == 0x10 => {
            let mut data = [&last.to_be_bytes()[..], &(BLOCK as u32).to_be_bytes(), &[0, 0, 0x80, 0]].concat();
            data.resize(32, 0);
            Ok(truncated(data, be32(cdb, 10) as usize))
        }
        _ => Err(INVALID_COMMAND),
    }
}

fn writable(disk: &dyn BlockDev) -> Result<(), Sense> {
    if disk.read_only() { Err(WRITE_PROTECTED) } else { Ok(()) }
}

/// Byte position and length of `n` blocks from `first` on.
fn range(disk: &dyn BlockDev, first: u64, n: u64) -> Result<(u64, u64), Sense> {
    let offset = first.checked_mul(BLOCK).ok_or(OUT_OF_RANGE)?;
    let len = n.checked_mul(BLOCK).ok_or(OUT_OF_RANGE)?;
    disk.check_range(offset, len).map_err(|_| OUT_OF_RANGE)?;
    Ok((offset, len))
}

fn access(
    disk: &dyn BlockDev,
    regs: &UnitRegs,
    cdb: &[u8],
    access: Access,
    parameters: Parameters<'_>,
) -> Result<Action, Sense> {
    let short = cdb.first().is_none_or(|code| code >> 5 == 0);
    let flags = if short { 0 } else { cdb.get(1).copied().unwrap_or(0) };
    // Protection information, which there is none of.
    if flags >> 5 != 0 && access != Access::Flush {
        return Err(INVALID_FIELD);
    }
    let (first, n) = blocks(cdb);
    if matches!(access, Access::Write | Access::Same) {
        writable(disk)?;
    }
    let (offset, len) = range(disk, first, n)?;
    let durable = !regs.write_cache || flags & FUA != 0;
    match access {
        Access::Read => Ok(Action::Read { offset, len }),
        Access::Write => Ok(Action::Write { offset, len, durable }),
        Access::Flush => Ok(Action::Flush),
        // "BYTCHK": with data to compare. Without it the medium alone is verified, which the host does.
        Access::Verify if flags & 6 == 0 => Ok(Action::done()),
        Access::Verify => Err(INVALID_FIELD),
        Access::Same => {
            // Of WRITE SAME the bit of FUA is UNMAP, and says that the blocks need not stay; 1 says that there is no data,
            // of the long one. "ANCHOR".
            let no_data = flags & 1 != 0 && cdb.first() == Some(&0x93);
            if n == 0 || n > SAME_BLOCKS || flags & 0x10 != 0 {
                return Err(INVALID_FIELD);
            }
            let durable = !regs.write_cache;
            let pattern = match no_data {
                true => Vec::new(),
                false => parameters(SAME_LEN).ok_or(PARAMETER_LENGTH)?,
            };
            Ok(match pattern.iter().all(|byte| *byte == 0) {
                true => Action::Zero { offset, len, durable },
                false => Action::Same { offset, len, pattern, durable },
            })
        }
    }
}

/// "UNMAP command".
fn unmap(disk: &dyn BlockDev, cdb: &[u8], parameters: Parameters<'_>) -> Result<Action, Sense> {
    let len = usize::from(be16(cdb, 7));
    if cdb.get(1).is_some_and(|byte| byte & 1 != 0) {
        return Err(INVALID_FIELD);
    }
    writable(disk)?;
    if len == 0 {
        return Ok(Action::done());
    }
    if len < 8 {
        return Err(PARAMETER_LENGTH);
    }
    if len > PARAMETERS_MAX {
        return Err(INVALID_PARAMETER);
    }
    let list = parameters(len).ok_or(PARAMETER_LENGTH)?;
    let described = usize::from(be16(&list, 2)).min(len - 8);
    let (mut ranges, mut all) = (Vec::new(), 0_u64);
    for descriptor in list.get(8..8 + described).unwrap_or_default().as_chunks::<16>().0 {
        let (first, n) = (be64(descriptor, 0), be32(descriptor, 8));
        ranges.push(range(disk, first, n.into())?);
        all += u64::from(n);
    }
    if ranges.len() > UNMAP_DESCRIPTORS as usize || all > UNMAP_BLOCKS.into() {
        return Err(INVALID_PARAMETER);
    }
    ranges.retain(|(_, len)| *len != 0);
    Ok(Action::Discard(ranges))
}

/// The mode pages, current or of changeable bits: read-write error recovery, caching, control.
fn mode_page(regs: &UnitRegs, page: u8, changeable: bool) -> Vec<u8> {
    let mut data = match page {
        0x01 => vec![0; 12],
        0x08 => vec![0; 20],
        _ => vec![0; 12],
    };
    (data[0], data[1]) = (page, data.len() as u8 - 2);
    match (page, changeable) {
        (0x01, false) => data[2] = 0x80, // automatic reallocation of what is written
        (0x08, true) => data[2] = WCE,
        (0x08, false) => data[2] = if regs.write_cache { WCE } else { 0 },
        (0x0a, false) => data[3] = 0x10, // commands in any order
        _ => {}
    }
    data
}

/// "MODE SENSE (6)", and `long` "MODE SENSE (10)".
fn mode_sense(disk: &dyn BlockDev, regs: &UnitRegs, cdb: &[u8], long: bool) -> Result<Vec<u8>, Sense> {
    let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
    let (page, subpage) = (byte(2) & 0x3f, byte(3));
    if byte(2) >> 6 == 3 {
        return Err(SAVING_NOT_SUPPORTED);
    }
    if subpage != 0 && subpage != 0xff {
        return Err(INVALID_FIELD);
    }
    let known = [0x01, 0x08, 0x0a];
    let wanted: Vec<u8> = known.into_iter().filter(|known| page == 0x3f || page == *known).collect();
    if wanted.is_empty() {
        return Err(INVALID_FIELD);
    }
    let pages = wanted.into_iter().flat_map(|page| mode_page(regs, page, byte(2) >> 6 == 1));
    // "DBD": no block descriptor.
    let mut descriptor = Vec::new();
    if byte(1) & 8 == 0 {
        let blocks = u32::try_from(disk.len_bytes() / BLOCK).unwrap_or(u32::MAX);
        let blocks = if long { blocks } else { blocks.min(0xff_ffff) };
        descriptor.extend(blocks.to_be_bytes());
        descriptor.extend((BLOCK as u32).to_be_bytes());
    }
    // "Device-specific parameter": write protection; FUA is heeded.
    let specific = if disk.read_only() { 0x90 } else { 0x10 };
    let n = descriptor.len() as u8;
    let mut data = if long { vec![0, 0, 0, specific, 0, 0, 0, n] } else { vec![0, 0, specific, n] };
    data.extend(descriptor);
    data.extend(pages);
    if long {
        let [high, low] = ((data.len() - 2) as u16).to_be_bytes();
        (data[0], data[1]) = (high, low);
    } else {
        data[0] = (data.len() - 1) as u8;
    }
    Ok(data)
}

/// "MODE SELECT": the write cache is what can be changed. `header` bytes come before the block descriptor.
fn mode_select(
    regs: &mut UnitRegs,
    flags: u8,
    len: usize,
    header: usize,
    parameters: Parameters<'_>,
) -> Result<Action, Sense> {
    // "PF" and not "SP".
    if flags & 0x11 != 0x10 {
        return Err(INVALID_FIELD);
    }
    if len == 0 {
        return Ok(Action::done());
    }
    if len < header || len > PARAMETERS_MAX {
        return Err(PARAMETER_LENGTH);
    }
    let list = parameters(len).ok_or(PARAMETER_LENGTH)?;
    let descriptor = if header == 4 { usize::from(list[3]) } else { usize::from(be16(&list, 6)) };
    let mut rest = list.get(header + descriptor..).ok_or(PARAMETER_LENGTH)?;
    let mut write_cache = regs.write_cache;
    while let [page, page_len, ..] = *rest {
        let end = 2 + usize::from(page_len);
        let (new, after) = (rest.get(..end).ok_or(PARAMETER_LENGTH)?, rest.get(end..).unwrap_or_default());
        let page = page & 0x3f;
        if !matches!(page, 0x01 | 0x08 | 0x0a) {
            return Err(INVALID_PARAMETER);
        }
        let (now, changeable) = (mode_page(regs, page, false), mode_page(regs, page, true));
        let same = new.len() == now.len()
            && now.iter().zip(new).zip(&changeable).skip(2).all(|((now, new), mask)| (now ^ new) & !mask == 0);
        if !same {
            return Err(INVALID_PARAMETER);
        }
        if page == 0x08 {
            write_cache = new.get(2).is_some_and(|byte| byte & WCE != 0);
        }
        rest = after;
    }
    let flush = regs.write_cache && !write_cache;
    regs.write_cache = write_cache;
    Ok(if flush { Action::Flush } else { Action::done() })
}
