//! The x87 unit as such (SDM vol. 1, chapter 8 "Programming with the x87 FPU"): its stack, its words, its exceptions.
//!
//! An instruction looks at the operands' tags, computes with a [`Context`], and hands that to [`Cpu::x87_finish`], which
//! tells whether the result may be used. An exception that is not masked stays pending until the next waiting instruction
//! ([`Cpu::x87_pending`]).

use crate::control_regs::CR0_NE;
use crate::state::{Cpu, Fpu, X87};
use crate::wiring::OUT_FERR;
use softfloat::x87::{Context, Extended, F80, Kind};
use softfloat::{Flags, Rounding};

/// Exceptions, by their bits in the status and (as masks) in the control word.
pub const IE: u16 = 1 << 0;
pub const DE: u16 = 1 << 1;
pub const ZE: u16 = 1 << 2;
pub const OE: u16 = 1 << 3;
pub const UE: u16 = 1 << 4;
pub const PE: u16 = 1 << 5;
/// All six.
pub const EXCEPTIONS: u16 = 0x3f;
/// The invalid operation was one of the stack.
pub const SF: u16 = 1 << 6;
/// An exception that is not masked is pending; B repeats it.
pub const ES: u16 = 1 << 7;
pub const B: u16 = 1 << 15;
/// Condition codes.
pub const C0: u16 = 1 << 8;
pub const C1: u16 = 1 << 9;
pub const C2: u16 = 1 << 10;
pub const C3: u16 = 1 << 14;
/// Where TOP is.
const TOP_SHIFT: u32 = 11;
const TOP: u16 = 7 << TOP_SHIFT;

/// Bits of the control word that can be changed; bit 6 reads as one.
const CONTROL_BITS: u16 = 0x1f3f;
const CONTROL_ONES: u16 = 0x40;

/// A fault of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackFault {
    /// An operand is empty.
    Underflow,
    /// What is pushed to is not.
    Overflow,
}

impl From<X87> for F80 {
    fn from(register: X87) -> F80 {
        F80 { sign_exponent: register.exponent as u16, significand: register.mantissa }
    }
}

impl From<F80> for X87 {
    fn from(value: F80) -> X87 {
        X87 { mantissa: value.significand, exponent: value.sign_exponent.into() }
    }
}

/// Flags of an operation by their bits in the status word.
fn status_bits(flags: Flags) -> u16 {
    let f = u16::from(flags.bits());
    f & 1 | f >> 5 & 2 | (f & 0x1e) << 1
}

/// The inverse of [`status_bits`].
fn flags_of(bits: u16) -> Flags {
    Flags::from_bits((bits & 1 | (bits & 2) << 5 | bits >> 1 & 0x1e) as u8)
}

impl Cpu {
    fn x87_register(&self, n: u8) -> usize {
        usize::from((self.fpu.top + n) & 7)
    }

    /// ST(n), empty or not.
    pub fn st(&self, n: u8) -> F80 {
        self.x87[self.x87_register(n)].into()
    }

    /// Sets ST(n), which is not empty then.
    pub fn set_st(&mut self, n: u8, value: F80) {
        let r = self.x87_register(n);
        self.x87[r] = value.into();
        self.fpu.empty &= !(1 << r);
    }

    /// Whether ST(n) is empty.
    pub fn st_is_empty(&self, n: u8) -> bool {
        self.fpu.empty >> self.x87_register(n) & 1 != 0
    }

    /// ST(n) as an operand; `None` if it is empty.
    pub fn st_operand(&self, n: u8) -> Option<Extended> {
        (!self.st_is_empty(n)).then(|| self.st(n).into())
    }

    /// Empties ST(n).
    pub fn free_st(&mut self, n: u8) {
        self.fpu.empty |= 1 << self.x87_register(n);
    }

    /// Moves TOP by `n` without a look at any register.
    pub fn turn_x87(&mut self, n: u8) {
        self.fpu.top = self.fpu.top.wrapping_add(n) & 7;
    }

    /// Pushes a value; the caller has looked whether there is room.
    pub fn push_st(&mut self, value: F80) {
        self.turn_x87(7);
        self.set_st(0, value);
    }

    /// Pops `n` registers.
    pub fn pop_st(&mut self, n: u8) {
        for _ in 0..n {
            self.free_st(0);
            self.turn_x87(1);
        }
    }

    /// Notes a fault of the stack; true if it is masked, and the instruction gives its indefinite result.
    #[cold]
    pub fn x87_fault(&mut self, fault: StackFault) -> bool {
        self.fpu.status = self.fpu.status & !C1 | IE | SF | if fault == StackFault::Overflow { C1 } else { 0 };
        self.update_x87_summary();
        self.fpu.control & IE != 0
    }

    /// What the control word says of an operation.
    #[inline]
    pub fn x87_context(&self) -> Context {
        let control = self.fpu.control;
        let rounding = match control >> 10 & 3 {
            0 => Rounding::NearestEven,
            1 => Rounding::TowardNegative,
            2 => Rounding::TowardPositive,
            _ => Rounding::TowardZero,
        };
        let precision = match control >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        };
        Context { rounding, precision, unmasked: flags_of(!control), ..Context::DEFAULT }
    }

    /// Takes over exceptions and C1; true if the result may be used.
    #[inline]
    pub fn x87_finish(&mut self, context: &Context) -> bool {
        let c1 = if context.rounded_up { C1 } else { 0 };
        self.fpu.status = self.fpu.status & !C1 | status_bits(context.flags) | c1;
        if !context.flags.is_empty() {
            self.update_x87_summary();
        }
        !context.stopped()
    }

    /// Sets the condition codes given by `mask`.
    pub fn set_x87_codes(&mut self, mask: u16, codes: u16) {
        self.fpu.status = self.fpu.status & !mask | codes & mask;
    }

    /// Recomputes ES and B, and drives FERR# where that reports exceptions (SDM vol. 1, 8.7 "Handling x87 FPU Exceptions in
    /// Software").
    pub fn update_x87_summary(&mut self) {
        let fpu = &mut self.fpu;
        let pending = fpu.status & !fpu.control & EXCEPTIONS != 0;
        let changed = (fpu.status & ES != 0) != pending;
        fpu.status = fpu.status & !(ES | B) | if pending { ES | B } else { 0 };
        if changed && self.cr0 & CR0_NE == 0 {
            self.wires.drive(OUT_FERR, pending);
        }
    }

    /// Whether a waiting instruction raises #MF.
    // Deviation: with CR0.NE clear the processor would stop there until the interrupt that FERR# leads to; nothing is wired
    // to IGNNE#, so it goes on, and the interrupt comes soon.
    #[inline]
    pub fn x87_pending(&self) -> bool {
        self.fpu.status & ES != 0 && self.cr0 & CR0_NE != 0
    }

    /// The status word.
    pub fn x87_status(&self) -> u16 {
        self.fpu.status & !TOP | u16::from(self.fpu.top) << TOP_SHIFT
    }

    /// Sets the status word, but for ES and B, which follow from it and the control word.
    pub fn set_x87_status(&mut self, status: u16) {
        self.fpu.status = status & !(TOP | ES | B) | self.fpu.status & (ES | B);
        self.fpu.top = (status >> TOP_SHIFT & 7) as u8;
        self.update_x87_summary();
    }

    /// Sets the control word.
    pub fn set_x87_control(&mut self, control: u16) {
        self.fpu.control = control & CONTROL_BITS | CONTROL_ONES;
        self.update_x87_summary();
    }

    /// Sets control and status word together.
    pub fn load_x87_words(&mut self, control: u16, status: u16) {
        self.fpu.control = control & CONTROL_BITS | CONTROL_ONES;
        self.set_x87_status(status);
    }

    /// The tag word: two bits a register.
    pub fn x87_tags(&self) -> u16 {
        (0..8).fold(0, |all, r| {
            let tag = if self.fpu.empty >> r & 1 != 0 {
                3
            } else {
                let v = Extended::from(F80::from(self.x87[r]));
                match v.kind {
                    Kind::Finite if !v.denormal => 0,
                    Kind::Zero => 1,
                    _ => 2,
                }
            };
            all | tag << (2 * r)
        })
    }

    /// Sets the tags: of a tag word only which registers are empty counts.
    pub fn set_x87_tags(&mut self, tags: u16) {
        self.fpu.empty = (0..8).filter(|r| tags >> (2 * r) & 3 == 3).fold(0, |all, r| all | 1 << r);
    }

    /// FNINIT; the registers keep what they hold.
    pub fn init_x87(&mut self) {
        let before = self.fpu.status;
        self.fpu = Fpu { status: before & (ES | B), ..Fpu::default() };
        self.update_x87_summary();
    }

    /// FNCLEX.
    pub fn clear_x87_exceptions(&mut self) {
        self.fpu.status &= !(EXCEPTIONS | SF);
        self.update_x87_summary();
    }

    /// What every MMX instruction but EMMS does to the stack: TOP is 0 and no register empty (SDM vol. 1, 9.5.1 "MMX
    /// Instructions and the x87 FPU Tag Word").
    pub fn enter_mmx(&mut self) {
        self.fpu.top = 0;
        self.fpu.empty = 0;
    }

    /// EMMS.
    pub fn leave_mmx(&mut self) {
        self.fpu.top = 0;
        self.fpu.empty = 0xff;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words() {
        let mut cpu = Cpu::for_tests();
        cpu.init_x87();
        cpu.push_st(F80::zero(false));
        cpu.push_st(F80::ONE);
        cpu.push_st(F80::INDEFINITE);
        assert_eq!((cpu.x87_status(), cpu.x87_tags()), (5 << 11, 0x4bff));
        cpu.pop_st(2);
        assert_eq!((cpu.fpu.top, cpu.fpu.empty, cpu.x87_tags()), (7, 0x7f, 0x7fff));
        for bits in 0..64 {
            assert_eq!(status_bits(flags_of(bits)), bits);
        }
    }

    #[test]
    fn exceptions_are_summarised() {
        let mut cpu = Cpu::for_tests();
        cpu.cr0 |= CR0_NE;
        cpu.init_x87();
        assert!(cpu.x87_fault(StackFault::Overflow));
        assert_eq!((cpu.x87_status(), cpu.x87_pending()), (IE | SF | C1, false));
        cpu.set_x87_control(0x37e);
        assert_eq!((cpu.x87_status(), cpu.x87_pending()), (B | ES | IE | SF | C1, true));
        cpu.clear_x87_exceptions();
        assert_eq!((cpu.x87_status(), cpu.x87_pending()), (C1, false));
        assert!(!cpu.x87_fault(StackFault::Underflow));
        cpu.init_x87();
        assert_eq!((cpu.x87_status(), cpu.fpu), (0, Fpu::default()));
    }
}
