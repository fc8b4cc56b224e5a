//! EFLAGS (SDM vol. 1, 3.4.3 "EFLAGS Register"): the six status flags as the state keeps them, the others by their bits.
//!
//! Instructions set the status flags far more often than anything reads them. So the state keeps what they follow from, in
//! a form that is the same whatever instruction set it last:
//!
//! - CF and OF, each 0 or 1;
//! - `result`, the result sign-extended to 64 bits: ZF is set if it is 0, SF is its sign, PF the parity of its low byte;
//! - `adjust`: bit 4 of `adjust ^ result` is AF. For flags that no result could have, say ZF with SF, its bit 63 inverts SF
//!   and the number of ones in bits 15:8 is added to those that PF counts. Both are zero after arithmetic.

use crate::state::Cpu;

pub const CF: u64 = 1 << 0;
/// Bit 1, which always reads as one.
pub const FIXED: u64 = 1 << 1;
pub const PF: u64 = 1 << 2;
pub const AF: u64 = 1 << 4;
pub const ZF: u64 = 1 << 6;
pub const SF: u64 = 1 << 7;
pub const TF: u64 = 1 << 8;
pub const IF: u64 = 1 << 9;
pub const DF: u64 = 1 << 10;
pub const OF: u64 = 1 << 11;
/// Both bits of the I/O privilege level.
pub const IOPL: u64 = 3 << 12;
pub const NT: u64 = 1 << 14;
pub const RF: u64 = 1 << 16;
pub const VM: u64 = 1 << 17;
pub const AC: u64 = 1 << 18;
pub const VIF: u64 = 1 << 19;
pub const VIP: u64 = 1 << 20;
pub const ID: u64 = 1 << 21;

/// The status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
/// The flags that [`Cpu::eflags`] holds by their bits.
pub const SYSTEM: u64 = TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;

/// Bit of `adjust` that inverts SF.
pub const INVERT_SF: u64 = 1 << 63;

impl Cpu {
    /// The status flags, by their bits in EFLAGS.
    pub fn status_flags(&self) -> u64 {
        let parity = ((self.result ^ (self.adjust >> 8)) as u8).count_ones();
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        flag(self.cf != 0, CF)
            | flag(parity.is_multiple_of(2), PF)
            | (self.adjust ^ self.result) & AF
            | flag(self.result == 0, ZF)
            | flag((self.result ^ self.adjust) >> 63 != 0, SF)
            | flag(self.of != 0, OF)
    }

    /// Sets the status flags from their bits in EFLAGS.
    pub fn set_status_flags(&mut self, flags: u64) {
        let on = |bit: u64| flags & bit != 0;
        self.cf = on(CF).into();
        self.of = on(OF).into();
        self.result = (!on(ZF)).into();
        // With ZF the low byte 0 is of even parity, without it 1 of odd parity.
        let parity = if on(PF) == on(ZF) { 0 } else { 1 << 8 };
        self.adjust = flags & AF | parity | if on(SF) { INVERT_SF } else { 0 };
    }

    /// RFLAGS as PUSHF and interrupts store it.
    pub fn rflags(&self) -> u64 {
        self.eflags | self.status_flags() | FIXED
    }

    /// Sets those bits of RFLAGS that are in `mask`.
    pub fn set_rflags(&mut self, value: u64, mask: u64) {
        let status = self.status_flags();
        self.set_status_flags(value & mask | status & !mask);
        self.eflags = (value & mask | self.eflags & !mask) & SYSTEM;
        self.update_mode();
    }

    /// The I/O privilege level.
    pub fn iopl(&self) -> u8 {
        (self.eflags >> 12 & 3) as u8
    }

    /// Whether `flag` of those in `eflags` is set.
    pub fn flag(&self, flag: u64) -> bool {
        self.eflags & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_kept() {
        let mut cpu = Cpu::for_tests();
        for bits in 0..64u64 {
            let flags = [CF, PF, AF, ZF, SF, OF].iter().enumerate();
            let flags = flags.filter(|(n, _)| bits >> n & 1 != 0).fold(0, |all, (_, flag)| all | flag);
            cpu.set_status_flags(flags);
            assert_eq!(cpu.status_flags(), flags);
            assert_eq!(cpu.rflags(), flags | FIXED);
        }
    }
}
