//! The window at 0xa0000: "Graphics controller registers", "Sequencer registers", and how the latches work.

use super::registers::StandardRegs;
use super::vbe::VbeRegs;
use vm::Ram;

// Sequencer.
const MAP_MASK: usize = 2;
const MEMORY_MODE: usize = 4;
const CHAIN_4: u8 = 1 << 3;
/// Set: addresses are not split into odd and even ones.
const SEQUENTIAL: u8 = 1 << 2;

// Graphics controller.
const SET_RESET: usize = 0;
const ENABLE_SET_RESET: usize = 1;
const COLOUR_COMPARE: usize = 2;
const ROTATE: usize = 3;
const READ_MAP: usize = 4;
const MODE: usize = 5;
const MISCELLANEOUS: usize = 6;
const COLOUR_DONT_CARE: usize = 7;
const BIT_MASK: usize = 8;
const MODE_ODD_EVEN: u8 = 1 << 4;
const MODE_COMPARE: u8 = 1 << 3;

/// Bytes of a standard VGA's memory.
const STANDARD_LEN: u64 = 256 << 10;

/// One byte of ones for each of the four bits.
fn expand(bits: u8) -> u32 {
    (0..4).fold(0, |word, n| if bits >> n & 1 != 0 { word | 0xff << (8 * n) } else { word })
}

/// `byte` in all four planes.
fn repeat(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

/// The address that `offset` of the window is, if it is decoded ("Miscellaneous register", memory map).
fn address(regs: &StandardRegs, vbe: &VbeRegs, offset: u64) -> Option<u64> {
    let (start, len) = match regs.graphics[MISCELLANEOUS] >> 2 & 3 {
        0 => (0, 0x2_0000),
        1 => (0, 0x1_0000),
        2 => (0x1_0000, 0x8000),
        _ => (0x1_8000, 0x8000),
    };
    offset.checked_sub(start).filter(|at| *at < len).map(|at| at + vbe.bank_start())
}

/// A place in video memory.
enum Place {
    /// One byte, which is in this plane.
    Byte(u64, u8),
    /// The four bytes from here on, of planes with these bits.
    Planes(u64, u8),
}

fn place(regs: &StandardRegs, vbe: &VbeRegs, offset: u64, for_write: bool) -> Option<Place> {
    let at = address(regs, vbe, offset)?;
    if vbe.is_linear() {
        return Some(Place::Byte(at, 0));
    }
    let mode = regs.sequencer[MEMORY_MODE];
    if mode & CHAIN_4 != 0 {
        return Some(Place::Byte(at % STANDARD_LEN, (at & 3) as u8));
    }
    let split = if for_write { mode & SEQUENTIAL == 0 } else { regs.graphics[MODE] & MODE_ODD_EVEN != 0 };
    if split {
        let planes = if at & 1 == 0 { 0b0101 } else { 0b1010 };
        return Some(Place::Planes((at >> 1) * 4, planes));
    }
    Some(Place::Planes(at * 4, 0b1111))
}

/// Reads the byte at `offset` of the window.
pub(super) fn read(regs: &mut StandardRegs, vbe: &VbeRegs, vram: &Ram, offset: u64) -> u8 {
    match place(regs, vbe, offset, false) {
        None => 0xff,
        Some(Place::Byte(at, _)) => {
            regs.latches = vram.load(at & !3, 4).map_or(u32::MAX, |word| word as u32);
            vram.load(at, 1).map_or(0xff, |byte| byte as u8)
        }
        Some(Place::Planes(at, planes)) => {
            let Some(word) = vram.load(at, 4) else { return 0xff };
            regs.latches = word as u32;
            let g = &regs.graphics;
            if g[MODE] & MODE_COMPARE == 0 {
                let plane = match planes {
                    0b0101 => g[READ_MAP] & 2,
                    0b1010 => g[READ_MAP] & 2 | 1,
                    _ => g[READ_MAP] & 3,
                };
                return (regs.latches >> (8 * plane)) as u8;
            }
            // "Color compare": ones where all planes that matter are the same.
            let differ = (regs.latches ^ expand(g[COLOUR_COMPARE])) & expand(g[COLOUR_DONT_CARE]);
            let [a, b, c, d] = differ.to_le_bytes();
            !(a | b | c | d)
        }
    }
}

/// Writes the byte at `offset` of the window.
pub(super) fn write(regs: &StandardRegs, vbe: &VbeRegs, vram: &Ram, offset: u64, value: u8) {
    let mask = regs.sequencer[MAP_MASK];
    let (at, planes) = match place(regs, vbe, offset, true) {
        None => return,
        Some(Place::Byte(at, plane)) => {
            if vbe.is_linear() || mask >> plane & 1 != 0 {
                let _ = vram.store(at, 1, value.into());
            }
            return;
        }
        Some(Place::Planes(at, planes)) => (at, planes & mask),
    };
    let Some(old) = vram.load(at, 4) else { return };
    let g = &regs.graphics;
    let rotated = value.rotate_right((g[ROTATE] & 7).into());
    let set_reset = expand(g[SET_RESET]);
    let mut bits = repeat(g[BIT_MASK]);
    // "Graphics mode register": write mode.
    let data = match g[MODE] & 3 {
        0 => {
            let enabled = expand(g[ENABLE_SET_RESET]);
            repeat(rotated) & !enabled | set_reset & enabled
        }
        1 => regs.latches,
        2 => expand(value),
        _ => {
            bits &= repeat(rotated);
            set_reset
        }
    };
    let new = if g[MODE] & 3 == 1 {
        data
    } else {
        // "Data rotate register": function.
        let data = match g[ROTATE] >> 3 & 3 {
            0 => data,
            1 => data & regs.latches,
            2 => data | regs.latches,
            _ => data ^ regs.latches,
        };
        data & bits | regs.latches & !bits
    };
    let written = expand(planes);
    let _ = vram.store(at, 4, u64::from(old as u32 & !written | new & written));
}
