//! Shifts and rotates (SDM vol. 2B, "RCL/RCR/ROL/ROR", "SAL/SAR/SHL/SHR", "SHLD", "SHRD"; vol. 2C "SARX/SHLX/SHRX").
//!
//! A count of zero changes no flag. Where the manual leaves OF undefined (counts above one) it is what the formula for one
//! gives, as on processors.

use super::operand::Place;
use super::translator::{Next, Translator};
use crate::helpers;
use tcg::ir::{Binary, Cond, Ty, Val};

/// The shifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Shl,
    Shr,
    Sar,
    Rol,
    Ror,
}

impl Translator<'_> {
    /// The count of a shift of `ty` in operand `n`, an `I64` below 32 or 64.
    fn count(&mut self, n: u32, ty: Ty) -> Val {
        let mask = if ty == Ty::I64 { 63 } else { 31 };
        let count = if n >= self.insn.op_count() {
            self.ir.imm64(1)
        } else {
            let place = self.place(n);
            self.load(place, Ty::I8)
        };
        let count = self.ir.zext(Ty::I64, count);
        self.ir.and_imm(Ty::I64, count, mask)
    }

    /// Bit `n` of an `I64`, as `I8`.
    fn bit(&mut self, v: Val, n: u32) -> Val {
        let shifted = self.ir.shift_imm(Binary::Shr, Ty::I64, v, n);
        let bit = self.ir.and_imm(Ty::I64, shifted, 1);
        self.ir.trunc(Ty::I8, bit)
    }

    /// The highest bit of a value, as `I8`.
    fn sign(&mut self, ty: Ty, v: Val) -> Val {
        self.ir.cmp_imm(Cond::LtS, ty, v, 0)
    }

    /// SHL, SHR, SAR, ROL and ROR.
    pub(super) fn shift(&mut self, what: Shift) -> Next {
        let (ty, to) = (self.ty(0), self.place(0));
        let count = self.count(1, ty);
        if self.ir.as_const(count) == Some(0) {
            // Memory is still read and written.
            let (_, result) = self.update(to, ty, |_, a| a);
            self.finish(to, result);
            return Next::Continue;
        }
        let (a, result) = self.update(to, ty, |t, a| t.shifted(what, ty, a, count));
        if self.ir.as_const(count).is_some() {
            self.flags_of_shift(what, ty, a, count, result);
        } else {
            let some = self.ir.cmp_imm(Cond::Ne, Ty::I64, count, 0);
            self.keep_flags_unless(some, |t| t.flags_of_shift(what, ty, a, count, result));
        }
        self.finish(to, result);
        Next::Continue
    }

    /// `a` shifted by an `I64` count, which may exceed its width.
    fn shifted(&mut self, what: Shift, ty: Ty, a: Val, count: Val) -> Val {
        match what {
            Shift::Rol | Shift::Ror => {
                let by = self.ir.trunc(ty, count);
                let by = if what == Shift::Rol { self.ir.un(tcg::ir::Unary::Neg, ty, by) } else { by };
                self.ir.bin(Binary::Ror, ty, a, by)
            }
            _ => {
                let (op, wide) = match what {
                    Shift::Shl => (Binary::Shl, self.ir.zext(Ty::I64, a)),
                    Shift::Shr => (Binary::Shr, self.ir.zext(Ty::I64, a)),
                    _ => (Binary::Sar, self.ir.sext(Ty::I64, a)),
                };
                let shifted = self.ir.bin(op, Ty::I64, wide, count);
                self.ir.trunc(ty, shifted)
            }
        }
    }

    /// Sets the flags of a shift by a count that is not zero.
    fn flags_of_shift(&mut self, what: Shift, ty: Ty, a: Val, count: Val, result: Val) {
        let bits = ty.bits();
        let msb = self.sign(ty, result);
        if matches!(what, Shift::Rol | Shift::Ror) {
            let c = match what {
                Shift::Rol => {
                    let low = self.ir.trunc(Ty::I8, result);
                    self.ir.and_imm(Ty::I8, low, 1)
                }
                _ => msb,
            };
            let other = match what {
                Shift::Rol => c,
                _ => {
                    let left = self.ir.shift_imm(Binary::Shl, ty, result, 1);
                    self.sign(ty, left)
                }
            };
            let v = self.ir.xor(Ty::I8, msb, other);
            self.set_cf(c);
            self.set_of(v);
            return;
        }
        let wide = if what == Shift::Sar { self.ir.sext(Ty::I64, a) } else { self.ir.zext(Ty::I64, a) };
        let c = match what {
            Shift::Shl if ty == Ty::I64 => {
                let sixty_four = self.ir.imm64(64);
                let back = self.ir.sub(Ty::I64, sixty_four, count);
                let out = self.ir.bin(Binary::Shr, Ty::I64, wide, back);
                self.bit(out, 0)
            }
            Shift::Shl => {
                let out = self.ir.bin(Binary::Shl, Ty::I64, wide, count);
                self.bit(out, bits)
            }
            _ => {
                let one = self.ir.imm64(1);
                let before = self.ir.sub(Ty::I64, count, one);
                let op = if what == Shift::Sar { Binary::Sar } else { Binary::Shr };
                let out = self.ir.bin(op, Ty::I64, wide, before);
                self.bit(out, 0)
            }
        };
        let v = match what {
            Shift::Shl => self.ir.xor(Ty::I8, msb, c),
            Shift::Shr => self.sign(ty, a),
            _ => self.ir.imm(Ty::I8, 0),
        };
        self.set_cf(c);
        self.set_of(v);
        self.flags_of_result(ty, result);
    }

    /// RCL and RCR.
    pub(super) fn rotate_through_carry(&mut self, left: bool) -> Next {
        let (ty, to) = (self.ty(0), self.place(0));
        let count = self.count(1, ty);
        let carry = self.cf();
        if self.ir.as_const(count) == Some(1) {
            let (a, result) = self.update(to, ty, |t, a| {
                let c = t.ir.zext(ty, carry);
                if left {
                    let shifted = t.ir.shift_imm(Binary::Shl, ty, a, 1);
                    t.ir.or(ty, shifted, c)
                } else {
                    let shifted = t.ir.shift_imm(Binary::Shr, ty, a, 1);
                    let top = t.ir.shift_imm(Binary::Shl, ty, c, ty.bits() - 1);
                    t.ir.or(ty, shifted, top)
                }
            });
            let msb = self.sign(ty, result);
            let (c, other) = if left {
                let c = self.sign(ty, a);
                (c, c)
            } else {
                let low = self.ir.trunc(Ty::I8, a);
                let next = self.ir.shift_imm(Binary::Shl, ty, result, 1);
                (self.ir.and_imm(Ty::I8, low, 1), self.sign(ty, next))
            };
            let v = self.ir.xor(Ty::I8, msb, other);
            self.set_cf(c);
            self.set_of(v);
            self.finish(to, result);
            return Next::Continue;
        }
        // The helper gives the value; a second one sets the flags when nothing can fault any more.
        let kind = self.ir.imm64(u64::from(ty.bits()) << 1 | u64::from(left));
        let (a, result) = self.update(to, ty, |t, a| {
            let packed = t.ir.call(helpers::ROTATE_THROUGH_CARRY, &[a, count, kind, carry]);
            t.ir.trunc(ty, packed)
        });
        self.ir.call(helpers::FLAGS_OF_ROTATE, &[a, count, kind]);
        self.flags_changed();
        self.finish(to, result);
        Next::Continue
    }

    /// SHLD and SHRD.
    pub(super) fn double_shift(&mut self, left: bool) -> Next {
        let (ty, to) = (self.ty(0), self.place(0));
        let b = self.read(1);
        let count = self.count(2, ty);
        if self.ir.as_const(count) == Some(0) {
            let (_, result) = self.update(to, ty, |_, a| a);
            self.finish(to, result);
            return Next::Continue;
        }
        let (a, result) = self.update(to, ty, |t, a| t.double_shifted(left, ty, a, b, count));
        let some = self.ir.cmp_imm(Cond::Ne, Ty::I64, count, 0);
        self.keep_flags_unless(some, |t| {
            let wide = t.ir.zext(Ty::I64, a);
            let c = if left {
                let bits = t.ir.imm64(ty.bits().into());
                let back = t.ir.sub(Ty::I64, bits, count);
                let out = t.ir.bin(Binary::Shr, Ty::I64, wide, back);
                t.bit(out, 0)
            } else {
                let one = t.ir.imm64(1);
                let before = t.ir.sub(Ty::I64, count, one);
                let out = t.ir.bin(Binary::Shr, Ty::I64, wide, before);
                t.bit(out, 0)
            };
            let (msb, old) = (t.sign(ty, result), t.sign(ty, a));
            let v = t.ir.xor(Ty::I8, msb, old);
            t.set_cf(c);
            t.set_of(v);
            t.flags_of_result(ty, result);
        });
        self.finish(to, result);
        Next::Continue
    }

    fn double_shifted(&mut self, left: bool, ty: Ty, a: Val, b: Val, count: Val) -> Val {
        if ty == Ty::I64 {
            let (own, other) = if left { (Binary::Shl, Binary::Shr) } else { (Binary::Shr, Binary::Shl) };
            let kept = self.ir.bin(own, Ty::I64, a, count);
            let sixty_four = self.ir.imm64(64);
            let back = self.ir.sub(Ty::I64, sixty_four, count);
            let come = self.ir.bin(other, Ty::I64, b, back);
            let both = self.ir.or(Ty::I64, kept, come);
            let some = self.ir.cmp_imm(Cond::Ne, Ty::I64, count, 0);
            return self.ir.select(Ty::I64, some, both, a);
        }
        // In 64 bits: a, b and, where counts may exceed 16, a again.
        let bits = ty.bits();
        let (wide_a, wide_b) = (self.ir.zext(Ty::I64, a), self.ir.zext(Ty::I64, b));
        let at = |t: &mut Self, v: Val, shift: u32| t.ir.shift_imm(Binary::Shl, Ty::I64, v, shift);
        let parts = match (ty, left) {
            (Ty::I16, _) => {
                let (high, middle) = (at(self, wide_a, 32), at(self, wide_b, 16));
                let both = self.ir.or(Ty::I64, high, middle);
                self.ir.or(Ty::I64, both, wide_a)
            }
            (_, true) => {
                let high = at(self, wide_a, 32);
                self.ir.or(Ty::I64, high, wide_b)
            }
            (_, false) => {
                let high = at(self, wide_b, 32);
                self.ir.or(Ty::I64, high, wide_a)
            }
        };
        let result = if left {
            let shifted = self.ir.bin(Binary::Shl, Ty::I64, parts, count);
            self.ir.shift_imm(Binary::Shr, Ty::I64, shifted, if bits == 16 { 32 } else { bits })
        } else {
            self.ir.bin(Binary::Shr, Ty::I64, parts, count)
        };
        self.ir.trunc(ty, result)
    }

    /// SARX, SHLX, SHRX (the count in the third operand) and RORX: no flags.
    pub(super) fn shift_without_flags(&mut self, op: Binary) -> Next {
        let ty = self.ty(0);
        let a = self.read_as(1, ty);
        let by = self.read_as(2, ty);
        let result = self.ir.bin(op, ty, a, by);
        let to = Place::Register(self.insn.op0_register());
        self.finish(to, result);
        Next::Continue
    }
}
