//! Segment registers and descriptors (SDM vol. 3A, 3.4 "Logical and Linear Addresses").

use crate::state::Cpu;
use serde::{Deserialize, Serialize};

/// Segment registers, numbered as instructions encode them.
pub const ES: usize = 0;
pub const CS: usize = 1;
pub const SS: usize = 2;
pub const DS: usize = 3;
pub const FS: usize = 4;
pub const GS: usize = 5;

/// Bits of a selector: the requested privilege level, and the table.
pub const RPL: u16 = 3;
pub const TABLE_LDT: u16 = 4;

/// The attributes of a segment: bits 23:8 of a descriptor's upper half, as they stand there (limit bits 19:16 as zero).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes(pub u16);

impl Attributes {
    pub const ACCESSED: u16 = 1;
    /// Of data segments: stores are allowed. Of code segments: loads are.
    pub const WRITABLE: u16 = 1 << 1;
    /// Of data segments: valid above the limit. Of code segments: conforming.
    pub const EXPAND_DOWN: u16 = 1 << 2;
    pub const CODE: u16 = 1 << 3;
    /// Not a system segment.
    pub const USER: u16 = 1 << 4;
    pub const PRESENT: u16 = 1 << 7;
    /// 64-bit code.
    pub const LONG: u16 = 1 << 13;
    /// 32-bit code or stack.
    pub const BIG: u16 = 1 << 14;
    pub const GRANULAR: u16 = 1 << 15;
    /// Code and data as after reset: present, accessed, of level 0.
    pub const REAL_DATA: Attributes = Attributes(0x93);
    pub const REAL_CODE: Attributes = Attributes(0x9b);

    fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }
    pub fn present(self) -> bool {
        self.has(Self::PRESENT)
    }
    /// The type with the S bit: 0 to 31, 16 and more being code and data.
    pub fn kind(self) -> u8 {
        (self.0 & 31) as u8
    }
    pub fn dpl(self) -> u8 {
        (self.0 >> 5 & 3) as u8
    }
    pub fn with_dpl(self, dpl: u8) -> Attributes {
        Attributes(self.0 & !0x60 | u16::from(dpl & 3) << 5)
    }
    pub fn is_code(self) -> bool {
        self.has(Self::USER) && self.has(Self::CODE)
    }
    pub fn is_data(self) -> bool {
        self.has(Self::USER) && !self.has(Self::CODE)
    }
    pub fn conforming(self) -> bool {
        self.is_code() && self.has(Self::EXPAND_DOWN)
    }
    pub fn expand_down(self) -> bool {
        self.is_data() && self.has(Self::EXPAND_DOWN)
    }
    pub fn writable(self) -> bool {
        self.is_data() && self.has(Self::WRITABLE)
    }
    pub fn readable(self) -> bool {
        self.is_data() || self.is_code() && self.has(Self::WRITABLE)
    }
    pub fn long(self) -> bool {
        self.has(Self::LONG)
    }
    pub fn big(self) -> bool {
        self.has(Self::BIG)
    }
}

/// A segment register: the selector, and what was loaded with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub selector: u16,
    pub attributes: Attributes,
    /// First linear address.
    pub base: u64,
    /// The last offset, in bytes (of an expand-down segment the last offset that is not in it).
    pub limit: u32,
}

impl Segment {
    /// A segment as real mode loads it, but for limit and attributes, which it leaves.
    pub fn real(selector: u16, attributes: Attributes) -> Segment {
        Segment { selector, attributes, base: u64::from(selector) << 4, limit: 0xffff }
    }

    /// Whether an access to `len` bytes (at least 1) at `offset` lies within the limit.
    pub fn contains(&self, offset: u64, len: u64) -> bool {
        let Some(last) = offset.checked_add(len - 1) else { return false };
        let limit = u64::from(self.limit);
        if self.attributes.expand_down() {
            let top = if self.attributes.big() { 0xffff_ffff } else { 0xffff };
            offset > limit && last <= top
        } else {
            last <= limit
        }
    }
}

/// A descriptor of a code, data or system segment, or a gate: eight bytes of a table, or sixteen of which the upper half
/// extends the base or the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub low: u64,
    pub high: u64,
}

impl Descriptor {
    pub fn attributes(self) -> Attributes {
        Attributes((self.low >> 40) as u16 & 0xf0ff)
    }
    /// Base of a segment, 32 bits.
    pub fn base(self) -> u64 {
        self.low >> 16 & 0xff_ffff | self.low >> 32 & 0xff00_0000
    }
    /// Base of a system segment in long mode.
    pub fn long_base(self) -> u64 {
        self.base() | self.high << 32
    }
    /// Limit in bytes.
    pub fn limit(self) -> u32 {
        let limit = (self.low & 0xffff | self.low >> 32 & 0xf_0000) as u32;
        if self.attributes().has(Attributes::GRANULAR) { limit << 12 | 0xfff } else { limit }
    }
    /// The segment that a selector of this descriptor loads.
    pub fn segment(self, selector: u16) -> Segment {
        Segment { selector, attributes: self.attributes(), base: self.base(), limit: self.limit() }
    }
    /// Selector of a gate's target.
    pub fn gate_selector(self) -> u16 {
        (self.low >> 16) as u16
    }
    /// Offset of a gate's target: 32 bits.
    pub fn gate_offset(self) -> u64 {
        self.low & 0xffff | self.low >> 32 & 0xffff_0000
    }
    /// Offset of a gate's target in long mode.
    pub fn long_gate_offset(self) -> u64 {
        self.gate_offset() | self.high << 32
    }
    /// Parameters that a call gate copies.
    pub fn gate_count(self) -> u32 {
        (self.low >> 32 & 31) as u32
    }
    /// Interrupt stack table of a gate in long mode, 0 for none.
    pub fn gate_ist(self) -> u8 {
        (self.low >> 32 & 7) as u8
    }
}

/// Types of system descriptors, as [`Attributes::kind`] gives them.
pub mod kind {
    pub const TSS16: u8 = 1;
    pub const LDT: u8 = 2;
    pub const TSS16_BUSY: u8 = 3;
    pub const CALL16: u8 = 4;
    pub const TASK_GATE: u8 = 5;
    pub const INTERRUPT16: u8 = 6;
    pub const TRAP16: u8 = 7;
    /// 64-bit in long mode.
    pub const TSS32: u8 = 9;
    pub const TSS32_BUSY: u8 = 11;
    pub const CALL32: u8 = 12;
    pub const INTERRUPT32: u8 = 14;
    pub const TRAP32: u8 = 15;
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub base: u64,
    pub limit: u16,
}

impl Cpu {
    /// Segment register `n`.
    pub fn segment(&self, n: usize) -> Segment {
        Segment {
            selector: self.selectors[n] as u16,
            attributes: self.attributes[n],
            base: self.bases[n],
            limit: self.limits[n] as u32,
        }
    }

    /// Sets segment register `n` with all that belongs to it, and the mode that follows from it.
    pub fn set_segment(&mut self, n: usize, segment: Segment) {
        self.selectors[n] = segment.selector.into();
        self.attributes[n] = segment.attributes;
        self.bases[n] = segment.base;
        self.limits[n] = segment.limit.into();
        self.update_mode();
    }

    /// Loads a segment register as real and virtual-8086 mode do: in the latter with limit and attributes of its own.
    pub fn load_real_segment(&mut self, n: usize, selector: u16) {
        let segment = if self.is_v86() {
            let attributes = if n == CS { Attributes::REAL_CODE } else { Attributes::REAL_DATA };
            Segment::real(selector, attributes.with_dpl(3))
        } else {
            // Limit and attributes stay what they were ("unreal mode"); CS becomes writable data's code.
            let old = self.segment(n);
            Segment { selector, base: u64::from(selector) << 4, ..old }
        };
        self.set_segment(n, segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_taken_apart() {
        // Base 0x12345678, limit 0xabcde pages, 32-bit code, readable, DPL 2.
        let d = Descriptor { low: 0x12ca_da34_5678_bcde, high: 0x9 };
        assert_eq!((d.base(), d.long_base(), d.limit()), (0x1234_5678, 0x9_1234_5678, 0xabcd_efff));
        let a = d.attributes();
        assert!(a.present() && a.is_code() && a.readable() && a.big() && !a.long() && !a.conforming());
        assert_eq!((a.dpl(), a.kind()), (2, 0x1a));
    }

    #[test]
    fn limits_count_up_and_down() {
        let up = Segment { limit: 0xffff, attributes: Attributes::REAL_DATA, ..Segment::default() };
        assert!(up.contains(0, 1) && up.contains(0xffff, 1) && up.contains(0xfffc, 4));
        assert!(!up.contains(0xfffd, 4) && !up.contains(u64::MAX, 2) && !up.contains(0x1_0000, 1));
        let down = Segment { limit: 0xfff, attributes: Attributes(0x97), ..up };
        assert!(down.contains(0x1000, 1) && down.contains(0xfffe, 2));
        assert!(!down.contains(0xfff, 1) && !down.contains(0xffff, 2));
        let big = Segment { attributes: Attributes(0x97 | Attributes::BIG), ..down };
        assert!(big.contains(0xffff_fffc, 4) && !big.contains(0xffff_fffd, 4));
    }
}
