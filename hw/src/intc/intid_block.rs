//! The state of 32 interrupts with consecutive INTIDs, and the distributor registers that show it.
//!
//! One register of the one-bit-per-interrupt kind covers exactly one block. GICv2 (IHI 0048B, 4.3 "Distributor register
//! descriptions") and GICv3 (IHI 0069, "The GIC Distributor register map" and "The GIC Redistributor register map") keep
//! these registers at the same offsets.

use super::cpu_interface::{Group, IMPLEMENTED_PRIORITY};
use super::lanes::Lanes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// INTIDs from here on are special (IHI 0048B 3.2.5 "Special interrupt numbers").
pub const FIRST_SPECIAL: u32 = 1020;
/// INTIDs of one block.
pub const BLOCK: u32 = 32;

/// 32 interrupts; interrupt `n` of the block in bit `n` of each word.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntidBlock {
    /// Set: Group 1.
    pub group: u32,
    /// Forwarded to CPU interfaces.
    pub enabled: u32,
    /// Pending independently of the pin: a latched edge, or set by software.
    pub latch: u32,
    /// The levels of the input pins.
    pub pins: u32,
    /// Set: edge-triggered; clear: level-sensitive.
    pub edge: u32,
    /// Acknowledged and not yet deactivated.
    pub active: u32,
    /// Lower values come first; only the bits of [`IMPLEMENTED_PRIORITY`] can be set.
    pub priority: [u8; 32],
}

/// Prints in one line what each interrupt of a block has.
pub(crate) struct Row<'a, T>(pub &'a [T]);

impl<T: fmt::LowerHex> fmt::Debug for Row<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, value)| write!(f, "{}{value:02x}", if n == 0 { "" } else { " " }))
    }
}

impl fmt::Debug for IntidBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntidBlock")
            .field("group", &format_args!("{:#010x}", self.group))
            .field("enabled", &format_args!("{:#010x}", self.enabled))
            .field("latch", &format_args!("{:#010x}", self.latch))
            .field("pins", &format_args!("{:#010x}", self.pins))
            .field("edge", &format_args!("{:#010x}", self.edge))
            .field("active", &format_args!("{:#010x}", self.active))
            .field("priority", &Row(&self.priority))
            .finish()
    }
}

/// A register that shows a block, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockRegister {
    /// IGROUPRn.
    Group,
    /// ISENABLERn.
    SetEnable,
    /// ICENABLERn.
    ClearEnable,
    /// ISPENDRn.
    SetPending,
    /// ICPENDRn.
    ClearPending,
    /// ISACTIVERn.
    SetActive,
    /// ICACTIVERn.
    ClearActive,
    /// IPRIORITYRn: the four interrupts from this one of the block on.
    Priority(usize),
    /// ICFGRn: the sixteen interrupts from this one of the block on.
    Config(u32),
}

impl BlockRegister {
    /// The block and the register at a word-aligned offset, if it is one of these registers.
    pub fn decode(offset: u64) -> Option<(usize, Self)> {
        use BlockRegister::*;
        const BITMAPS: [BlockRegister; 7] =
            [Group, SetEnable, ClearEnable, SetPending, ClearPending, SetActive, ClearActive];
        let offset = usize::try_from(offset).ok()?;
        match offset {
            0x080..0x400 => Some((offset % 0x80 / 4, *BITMAPS.get(offset / 0x80 - 1)?)),
            0x400..0x800 => Some(((offset - 0x400) / 32, Priority(offset % 32))),
            0xc00..0xd00 => Some(((offset - 0xc00) / 8, Config((offset % 8) as u32 * 4))),
            _ => None,
        }
    }
}

/// The interrupts of block `n` that can exist: all but the special INTIDs.
pub(crate) fn existing(n: usize) -> u32 {
    if n < 31 { !0 } else { (1 << (FIRST_SPECIAL % BLOCK)) - 1 }
}

/// Numbers of the set bits, lowest first.
pub(crate) fn bits(mut word: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 32).then_some(bit)
    })
}

impl IntidBlock {
    /// The block of SGIs and PPIs at reset: SGIs are edge-triggered for good.
    pub fn private() -> Self {
        Self { edge: 0xffff, ..Self::default() }
    }

    /// The interrupts that are pending: latched, or level-sensitive with a high pin.
    pub fn pending(&self) -> u32 {
        self.latch | self.pins & !self.edge
    }

    /// The interrupts to forward: pending, enabled, not active, of an enabled group.
    pub fn ready(&self, groups: [bool; 2]) -> u32 {
        let group0 = if groups[0] { !self.group } else { 0 };
        let group1 = if groups[1] { self.group } else { 0 };
        self.pending() & self.enabled & !self.active & (group0 | group1)
    }

    /// The group of interrupt `bit`.
    pub fn group_of(&self, bit: u32) -> Group {
        if self.group >> (bit % BLOCK) & 1 == 0 { Group::G0 } else { Group::G1 }
    }

    /// The priority of interrupt `bit`.
    pub fn priority_of(&self, bit: u32) -> u8 {
        self.priority[(bit % BLOCK) as usize]
    }

    /// The level of a pin changed. A rising edge is latched if the interrupt is edge-triggered.
    pub fn set_pin(&mut self, bit: u32, high: bool) {
        let bit = 1 << (bit % BLOCK);
        if high {
            self.latch |= bit & self.edge & !self.pins;
            self.pins |= bit;
        } else {
            self.pins &= !bit;
        }
    }

    /// Pending becomes active; with a level-sensitive pin still high, active and pending.
    pub fn acknowledge(&mut self, bit: u32) {
        let bit = 1 << (bit % BLOCK);
        self.latch &= !bit;
        self.active |= bit;
    }

    /// Active becomes inactive.
    pub fn deactivate(&mut self, bit: u32) {
        self.active &= !(1 << (bit % BLOCK));
    }

    /// Reads a register.
    pub(crate) fn read(&self, register: BlockRegister) -> u32 {
        match register {
            BlockRegister::Group => self.group,
            BlockRegister::SetEnable | BlockRegister::ClearEnable => self.enabled,
            BlockRegister::SetPending | BlockRegister::ClearPending => self.pending(),
            BlockRegister::SetActive | BlockRegister::ClearActive => self.active,
            BlockRegister::Priority(first) => {
                (0..4).rev().fold(0, |word, i| word << 8 | u32::from(self.priority[(first + i) % 32]))
            }
            BlockRegister::Config(first) => {
                bits(self.edge >> first & 0xffff).fold(0, |word, bit| word | 2 << (2 * bit))
            }
        }
    }

    /// Writes the `lanes` of a register; interrupts whose bit in `writable` is clear stay as they are.
    pub(crate) fn write(&mut self, register: BlockRegister, lanes: Lanes, value: u32, writable: u32) {
        let ones = value & lanes.mask & writable;
        match register {
            BlockRegister::Group => self.group = self.group & !(lanes.mask & writable) | ones,
            BlockRegister::SetEnable => self.enabled |= ones,
            BlockRegister::ClearEnable => self.enabled &= !ones,
            BlockRegister::SetPending => self.latch |= ones,
            BlockRegister::ClearPending => self.latch &= !ones,
            BlockRegister::SetActive => self.active |= ones,
            BlockRegister::ClearActive => self.active &= !ones,
            BlockRegister::Priority(first) => {
                for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                    let bit = (first + i) % 32;
                    if lanes.mask >> (8 * i) & 1 != 0 && writable >> bit & 1 != 0 {
                        self.priority[bit] = byte & IMPLEMENTED_PRIORITY;
                    }
                }
            }
            BlockRegister::Config(first) => {
                for i in 0..16 {
                    let bit = 1 << ((first + i) % 32);
                    if lanes.mask >> (2 * i + 1) & 1 != 0 && writable & bit != 0 {
                        self.edge = if value >> (2 * i + 1) & 1 != 0 { self.edge | bit } else { self.edge & !bit };
                    }
                }
            }
        }
    }

    /// Whether no interrupt outside `exists` has any state, and all priorities are ones that a guest can write.
    pub(crate) fn is_possible(&self, exists: u32) -> bool {
        let used = self.group | self.enabled | self.latch | self.pins | self.edge | self.active;
        used & !exists == 0 && self.priority.iter().all(|p| p & !IMPLEMENTED_PRIORITY == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_decode_to_their_blocks() {
        use BlockRegister::*;
        let rows = [
            (0x07c, None),
            (0x080, Some((0, Group))),
            (0x0fc, Some((31, Group))),
            (0x104, Some((1, SetEnable))),
            (0x188, Some((2, ClearEnable))),
            (0x200, Some((0, SetPending))),
            (0x2fc, Some((31, ClearPending))),
            (0x300, Some((0, SetActive))),
            (0x3fc, Some((31, ClearActive))),
            (0x400, Some((0, Priority(0)))),
            (0x424, Some((1, Priority(4)))),
            (0x7fc, Some((31, Priority(28)))),
            (0x800, None),
            (0xc04, Some((0, Config(16)))),
            (0xcfc, Some((31, Config(16)))),
            (0xd00, None),
            (!3, None),
        ];
        for (offset, expect) in rows {
            assert_eq!(BlockRegister::decode(offset), expect, "{offset:#x}");
        }
    }

    #[test]
    fn edges_latch_and_levels_follow_the_pin() {
        let mut block = IntidBlock { edge: 0b10, ..IntidBlock::default() };
        block.set_pin(0, true);
        block.set_pin(1, true);
        assert_eq!(block.pending(), 0b11);
        block.acknowledge(0);
        block.acknowledge(1);
        assert_eq!((block.pending(), block.active), (0b01, 0b11));
        block.set_pin(1, true); // no edge: it was high
        assert_eq!(block.pending(), 0b01);
        block.set_pin(0, false);
        block.set_pin(1, false);
        block.set_pin(1, true);
        block.set_pin(1, false);
        assert_eq!(block.pending(), 0b10);
    }

    #[test]
    fn clearing_pending_leaves_a_high_level_pending() {
        let mut block = IntidBlock { pins: 1, latch: 1, ..IntidBlock::default() };
        block.write(BlockRegister::ClearPending, Lanes::word(0), 1, !0);
        assert_eq!((block.latch, block.pending()), (0, 1));
    }

    #[test]
    fn only_existing_interrupts_can_be_written() {
        assert_eq!((existing(1), existing(31)), (!0, 0x0fff_ffff));
        let mut block = IntidBlock::default();
        for n in (0x80..0x400).step_by(0x80).chain([0x41c, 0xc04]) {
            let (_, register) = BlockRegister::decode(n).unwrap();
            block.write(register, Lanes::word(0), !0, existing(31));
        }
        assert!(block.is_possible(existing(31)), "{block:?}");
        assert_eq!(block.edge, 0x0fff_0000);
    }
}
