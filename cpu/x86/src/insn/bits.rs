//! Bit tests and scans (SDM vol. 2A, "BSF" to "BTS"), POPCNT, LZCNT, TZCNT, the BMI sets and CRC32.

use super::integer::Arithmetic;
use super::operand::{Place, segment_number};
use super::translator::{Next, Translator};
use crate::helpers;
use crate::state::RDX;
use iced_x86::OpKind;
use tcg::ir::{Binary, Cond, Ty, Unary, Val};

/// What a bit test does with the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Look,
    Set,
    Reset,
    Complement,
}

impl Translator<'_> {
    /// BT, BTS, BTR and BTC. A bit number in a register reaches over all of memory.
    pub(super) fn bit_test(&mut self, what: Test) -> Next {
        let ty = self.ty(0);
        let bits = u64::from(ty.bits());
        let number = self.read_as(1, ty);
        let to = if self.is_memory(0) && self.insn.op_kind(1) == OpKind::Register {
            let wide = self.ir.sext(Ty::I64, number);
            let units = self.ir.shift_imm(Binary::Sar, Ty::I64, wide, ty.bits().trailing_zeros());
            let bytes = self.ir.shift_imm(Binary::Shl, Ty::I64, units, (bits / 8).trailing_zeros());
            let offset = self.offset();
            let sum = self.ir.add(Ty::I64, offset, bytes);
            let sum = self.ir.and_imm(Ty::I64, sum, self.address_ty().mask());
            let n = segment_number(self.insn.memory_segment());
            Place::Memory(self.in_segment(n, sum, bits / 8, what != Test::Look))
        } else {
            self.place(0)
        };
        let number = self.ir.and_imm(ty, number, bits - 1);
        let one = self.ir.imm(ty, 1);
        let mask = self.ir.bin(Binary::Shl, ty, one, number);
        let (old, new) = match what {
            Test::Look => {
                let old = self.load(to, ty);
                (old, old)
            }
            Test::Set => self.update(to, ty, |t, a| t.ir.or(ty, a, mask)),
            Test::Reset => self.update(to, ty, |t, a| t.ir.bin(Binary::AndNot, ty, a, mask)),
            Test::Complement => self.update(to, ty, |t, a| t.ir.xor(ty, a, mask)),
        };
        let bit = self.ir.and(ty, old, mask);
        let c = self.ir.cmp_imm(Cond::Ne, ty, bit, 0);
        // ZF is unchanged, OF, SF, AF and PF are undefined: they stay.
        self.set_cf(c);
        if what != Test::Look {
            self.finish(to, new);
        }
        Next::Continue
    }

    /// BSF and BSR: of zero they leave the register as it is.
    pub(super) fn bit_scan(&mut self, forward: bool) -> Next {
        let ty = self.ty(0);
        let v = self.read_as(1, ty);
        let number = if forward {
            self.ir.un(Unary::Ctz, ty, v)
        } else {
            let zeros = self.ir.un(Unary::Clz, ty, v);
            let last = self.ir.imm(ty, u64::from(ty.bits()) - 1);
            self.ir.sub(ty, last, zeros)
        };
        let none = self.ir.cmp_imm(Cond::Eq, ty, v, 0);
        let register = self.insn.op0_register();
        let slot = crate::state::gpr(register.full_register().number());
        let whole = self.ir.get(slot);
        self.set_gpr(register, number);
        let now = self.ir.get(slot);
        let kept = self.ir.select(Ty::I64, none, whole, now);
        self.ir.set(slot, kept);
        // Only ZF is defined: it says whether the source was zero. The others become those of a logical operation on it.
        self.flags_of_logic(ty, v);
        Next::Continue
    }

    /// LZCNT and TZCNT.
    pub(super) fn count_zeros(&mut self, trailing: bool) -> Next {
        let ty = self.ty(0);
        let v = self.read_as(1, ty);
        let count = self.ir.un(if trailing { Unary::Ctz } else { Unary::Clz }, ty, v);
        let none = self.ir.cmp_imm(Cond::Eq, ty, v, 0);
        self.flags_of_logic(ty, count);
        self.set_cf(none);
        let to = self.insn.op0_register();
        self.set_gpr(to, count);
        Next::Continue
    }

    /// POPCNT: all flags but ZF are cleared.
    pub(super) fn popcnt(&mut self) -> Next {
        let ty = self.ty(0);
        let v = self.read_as(1, ty);
        let count = self.ir.un(Unary::Popcount, ty, v);
        let zero = self.ir.imm(Ty::I8, 0);
        self.set_cf(zero);
        self.set_of(zero);
        let none = self.ir.cmp_imm(Cond::Eq, ty, v, 0);
        self.ir.call(helpers::SET_ZF_ONLY, &[none]);
        self.flags_changed();
        let to = self.insn.op0_register();
        self.set_gpr(to, count);
        Next::Continue
    }

    /// ANDN.
    pub(super) fn andn(&mut self) -> Next {
        let ty = self.ty(0);
        let a = self.read_as(1, ty);
        let b = self.read_as(2, ty);
        let result = self.ir.bin(Binary::AndNot, ty, b, a);
        self.flags_of_logic(ty, result);
        let to = self.insn.op0_register();
        self.set_gpr(to, result);
        Next::Continue
    }

    /// BLSI, BLSMSK and BLSR.
    pub(super) fn lowest_bit(&mut self, what: Arithmetic) -> Next {
        let ty = self.ty(0);
        let a = self.read_as(1, ty);
        let (result, c) = match what {
            // BLSI: the lowest one alone; CF says that there is one.
            Arithmetic::And => {
                let minus = self.ir.un(Unary::Neg, ty, a);
                (self.ir.and(ty, a, minus), self.ir.cmp_imm(Cond::Ne, ty, a, 0))
            }
            // BLSMSK: all bits up to the lowest one; CF says that there is none.
            Arithmetic::Xor => {
                let less = self.ir.add_imm(ty, a, u64::MAX);
                (self.ir.xor(ty, a, less), self.ir.cmp_imm(Cond::Eq, ty, a, 0))
            }
            // BLSR: all but the lowest one.
            _ => {
                let less = self.ir.add_imm(ty, a, u64::MAX);
                (self.ir.and(ty, a, less), self.ir.cmp_imm(Cond::Eq, ty, a, 0))
            }
        };
        self.flags_of_logic(ty, result);
        self.set_cf(c);
        let to = self.insn.op0_register();
        self.set_gpr(to, result);
        Next::Continue
    }

    /// BEXTR: start and length are bytes 0 and 1 of the third operand.
    pub(super) fn bextr(&mut self) -> Next {
        let ty = self.ty(0);
        let a = self.read_as(1, ty);
        let control = self.read_as(2, ty);
        let result = self.ir.call(helpers::BEXTR, &[a, control]);
        let result = self.ir.trunc(ty, result);
        self.flags_of_logic(ty, result);
        let to = self.insn.op0_register();
        self.set_gpr(to, result);
        Next::Continue
    }

    /// BZHI: clears the bits from the number in byte 0 of the third operand on.
    pub(super) fn bzhi(&mut self) -> Next {
        let ty = self.ty(0);
        let a = self.read_as(1, ty);
        let number = self.read_as(2, ty);
        let number = self.ir.and_imm(ty, number, 0xff);
        let bits = u64::from(ty.bits());
        let inside = self.ir.cmp_imm(Cond::LtU, ty, number, bits);
        let ones = self.ir.imm(ty, u64::MAX);
        let above = self.ir.bin(Binary::Shl, ty, ones, number);
        let cut = self.ir.bin(Binary::AndNot, ty, a, above);
        let result = self.ir.select(ty, inside, cut, a);
        let one = self.ir.imm(Ty::I8, 1);
        let c = self.ir.xor(Ty::I8, inside, one);
        self.flags_of_logic(ty, result);
        self.set_cf(c);
        let to = self.insn.op0_register();
        self.set_gpr(to, result);
        Next::Continue
    }

    /// MULX: the product with RDX, without flags; the low half is written first.
    pub(super) fn mulx(&mut self) -> Next {
        let ty = self.ty(0);
        let a = self.numbered(RDX, ty);
        let b = self.read_as(2, ty);
        let low = self.ir.bin(Binary::Mul, ty, a, b);
        let high = self.ir.bin(Binary::MulHiU, ty, a, b);
        let (to_high, to_low) = (self.insn.op0_register(), self.insn.op1_register());
        self.set_gpr(to_low, low);
        self.set_gpr(to_high, high);
        Next::Continue
    }

    /// PDEP and PEXT.
    pub(super) fn deposit(&mut self, extract: bool) -> Next {
        let ty = self.ty(0);
        let a = self.read_as(1, ty);
        let mask = self.read_as(2, ty);
        let extract = self.ir.imm64(extract.into());
        let result: Val = self.ir.call(helpers::DEPOSIT, &[a, mask, extract]);
        let to = self.insn.op0_register();
        let result = self.ir.trunc(ty, result);
        self.set_gpr(to, result);
        Next::Continue
    }

    /// CRC32 (SSE4.2): with the polynomial 0x11edc6f41.
    pub(super) fn crc32(&mut self) -> Next {
        let to = self.insn.op0_register();
        let (crc, data) = (self.gpr(to), self.read(1));
        let bytes = self.ir.imm64(self.ty(1).bytes().into());
        let result = self.ir.call(helpers::CRC32, &[crc, data, bytes]);
        let result = self.ir.trunc(Ty::I32, result);
        self.set_gpr(to, result);
        Next::Continue
    }
}
