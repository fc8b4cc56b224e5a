//! Data processing (register). Arm ARM DDI 0487, C4.1.95 "Data Processing -- Register"; instructions in C6.2.

use super::translator::{Flags, Next, Translator};
use super::{
    AddSubCarry, AddSubExt, AddSubShift, CondCompareImm, CondCompareReg, CondSelect, Crc32, DataProc1, DataProc2,
    LogicalShift, MulAdd, MulAddLong, MulHigh, Rmif, Setf,
};
use crate::integer_helpers::{CRC32, CRC32C};
use crate::state::{C, N, V, Z};
use tcg::ir::{Binary, Cond, Ty, Unary, Val};

impl Translator<'_> {
    /// A register shifted by a constant: LSL, LSR, ASR, ROR by `shift`.
    fn shifted(&mut self, n: u8, ty: Ty, shift: u8, by: u8) -> Val {
        let v = self.x(n, ty);
        let op = [Binary::Shl, Binary::Shr, Binary::Sar, Binary::Ror][usize::from(shift & 3)];
        self.ir.shift_imm(op, ty, v, by.into())
    }

    /// ExtendReg() of the shared pseudocode: the low byte, halfword, word or doubleword, extended and shifted left.
    pub(super) fn extended(&mut self, n: u8, ty: Ty, option: u8, shift: u8) -> Val {
        let narrow = [Ty::I8, Ty::I16, Ty::I32, Ty::I64][usize::from(option & 3)].min(ty);
        let v = self.x(n, ty);
        let low = self.ir.trunc(narrow, v);
        let wide = if option & 4 != 0 { self.ir.sext(ty, low) } else { self.ir.zext(ty, low) };
        self.ir.shift_imm(Binary::Shl, ty, wide, shift.into())
    }

    fn shift_operands(&mut self, i: &AddSubShift) -> (Ty, Val, Val) {
        let ty = Self::ty(i.sf);
        (ty, self.x(i.rn, ty), self.shifted(i.rm, ty, i.shift, i.imm6))
    }

    /// ADD (shifted register).
    pub fn add_shift(&mut self, i: AddSubShift) -> Next {
        let (ty, a, b) = self.shift_operands(&i);
        let result = self.ir.add(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// SUB (shifted register); NEG.
    pub fn sub_shift(&mut self, i: AddSubShift) -> Next {
        let (ty, a, b) = self.shift_operands(&i);
        let result = if i.rn == 31 { self.ir.un(Unary::Neg, ty, b) } else { self.ir.sub(ty, a, b) };
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// ADDS (shifted register); CMN.
    pub fn adds_shift(&mut self, i: AddSubShift) -> Next {
        let (ty, a, b) = self.shift_operands(&i);
        let result = self.add_with_flags(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// SUBS (shifted register); CMP, NEGS.
    pub fn subs_shift(&mut self, i: AddSubShift) -> Next {
        let (ty, a, b) = self.shift_operands(&i);
        let result = self.sub_with_flags(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    fn extend_operands(&mut self, i: &AddSubExt) -> (Ty, Val, Val) {
        let ty = Self::ty(i.sf);
        (ty, self.x_or_sp(i.rn, ty), self.extended(i.rm, ty, i.option, i.imm3))
    }

    /// ADD (extended register). Rd and Rn may be SP.
    pub fn add_ext(&mut self, i: AddSubExt) -> Next {
        let (ty, a, b) = self.extend_operands(&i);
        let result = self.ir.add(ty, a, b);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// SUB (extended register). Rd and Rn may be SP.
    pub fn sub_ext(&mut self, i: AddSubExt) -> Next {
        let (ty, a, b) = self.extend_operands(&i);
        let result = self.ir.sub(ty, a, b);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// ADDS (extended register); CMN.
    pub fn adds_ext(&mut self, i: AddSubExt) -> Next {
        let (ty, a, b) = self.extend_operands(&i);
        let result = self.add_with_flags(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// SUBS (extended register); CMP.
    pub fn subs_ext(&mut self, i: AddSubExt) -> Next {
        let (ty, a, b) = self.extend_operands(&i);
        let result = self.sub_with_flags(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    fn carry_operands(&mut self, i: &AddSubCarry, invert: bool) -> (Ty, Val, Val, Val) {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.x(i.rm, ty));
        let b = if invert { self.ir.not(ty, b) } else { b };
        let carry = self.condition(2);
        (ty, a, b, carry)
    }

    fn add_carry(&mut self, i: AddSubCarry, invert: bool) -> Next {
        let (ty, a, b, carry) = self.carry_operands(&i, invert);
        let carry = self.ir.zext(ty, carry);
        let sum = self.ir.add(ty, a, b);
        let result = self.ir.add(ty, sum, carry);
        self.set_x(i.rd, result);
        Next::Continue
    }

    fn add_carry_flags(&mut self, i: AddSubCarry, invert: bool) -> Next {
        let (ty, a, b, carry) = self.carry_operands(&i, invert);
        let result = self.add_carry_with_flags(ty, a, b, carry);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// ADC.
    pub fn adc(&mut self, i: AddSubCarry) -> Next {
        self.add_carry(i, false)
    }
    /// ADCS.
    pub fn adcs(&mut self, i: AddSubCarry) -> Next {
        self.add_carry_flags(i, false)
    }
    /// SBC; NGC.
    pub fn sbc(&mut self, i: AddSubCarry) -> Next {
        self.add_carry(i, true)
    }
    /// SBCS; NGCS.
    pub fn sbcs(&mut self, i: AddSubCarry) -> Next {
        self.add_carry_flags(i, true)
    }

    fn logical(&mut self, op: Binary, invert: bool, i: &LogicalShift) -> (Ty, Val) {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.shifted(i.rm, ty, i.shift, i.imm6));
        if op == Binary::Or && i.rn == 31 {
            // MOV, MVN.
            return (ty, if invert { self.ir.not(ty, b) } else { b });
        }
        if invert && op == Binary::And {
            return (ty, self.ir.bin(Binary::AndNot, ty, a, b));
        }
        let b = if invert { self.ir.not(ty, b) } else { b };
        (ty, self.ir.bin(op, ty, a, b))
    }

    fn logical_to_register(&mut self, op: Binary, invert: bool, i: LogicalShift) -> Next {
        let (_, result) = self.logical(op, invert, &i);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// AND (shifted register).
    pub fn and_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_to_register(Binary::And, false, i)
    }
    /// BIC (shifted register).
    pub fn bic_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_to_register(Binary::And, true, i)
    }
    /// ORR (shifted register); MOV (register).
    pub fn orr_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_to_register(Binary::Or, false, i)
    }
    /// ORN (shifted register); MVN.
    pub fn orn_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_to_register(Binary::Or, true, i)
    }
    /// EOR (shifted register).
    pub fn eor_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_to_register(Binary::Xor, false, i)
    }
    /// EON (shifted register).
    pub fn eon_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_to_register(Binary::Xor, true, i)
    }

    fn logical_with_flags(&mut self, invert: bool, i: LogicalShift) -> Next {
        let (ty, result) = self.logical(Binary::And, invert, &i);
        self.logic_flags(ty, result);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// ANDS (shifted register); TST.
    pub fn ands_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_with_flags(false, i)
    }
    /// BICS (shifted register).
    pub fn bics_shift(&mut self, i: LogicalShift) -> Next {
        self.logical_with_flags(true, i)
    }

    fn data_proc_2(&mut self, op: Binary, i: DataProc2) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.x(i.rm, ty));
        let result = self.ir.bin(op, ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// UDIV.
    pub fn udiv(&mut self, i: DataProc2) -> Next {
        self.data_proc_2(Binary::DivU, i)
    }
    /// SDIV.
    pub fn sdiv(&mut self, i: DataProc2) -> Next {
        self.data_proc_2(Binary::DivS, i)
    }
    /// LSLV; LSL (register).
    pub fn lslv(&mut self, i: DataProc2) -> Next {
        self.data_proc_2(Binary::Shl, i)
    }
    /// LSRV; LSR (register).
    pub fn lsrv(&mut self, i: DataProc2) -> Next {
        self.data_proc_2(Binary::Shr, i)
    }
    /// ASRV; ASR (register).
    pub fn asrv(&mut self, i: DataProc2) -> Next {
        self.data_proc_2(Binary::Sar, i)
    }
    /// RORV; ROR (register).
    pub fn rorv(&mut self, i: DataProc2) -> Next {
        self.data_proc_2(Binary::Ror, i)
    }

    /// CRC32B, CRC32H, CRC32W, CRC32X.
    pub fn crc32(&mut self, i: Crc32) -> Next {
        let (sum, data) = (self.x(i.rn, Ty::I32), self.x(i.rm, Ty::I64));
        let size = self.ir.imm64(i.sz.into());
        let result = self.ir.call(CRC32, &[sum, data, size]);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// CRC32CB, CRC32CH, CRC32CW, CRC32CX.
    pub fn crc32c(&mut self, i: Crc32) -> Next {
        let (sum, data) = (self.x(i.rn, Ty::I32), self.x(i.rm, Ty::I64));
        let size = self.ir.imm64(i.sz.into());
        let result = self.ir.call(CRC32C, &[sum, data, size]);
        self.set_x(i.rd, result);
        Next::Continue
    }

    fn data_proc_1(&mut self, op: Unary, i: DataProc1) -> Next {
        let ty = Self::ty(i.sf);
        let a = self.x(i.rn, ty);
        let result = self.ir.un(op, ty, a);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// RBIT.
    pub fn rbit(&mut self, i: DataProc1) -> Next {
        self.data_proc_1(Unary::BitRev, i)
    }
    /// REV16: the bytes of each halfword are exchanged.
    pub fn rev16(&mut self, i: DataProc1) -> Next {
        let ty = Self::ty(i.sf);
        let a = self.x(i.rn, ty);
        let up = self.ir.shift_imm(Binary::Shl, ty, a, 8);
        let up = self.ir.and_imm(ty, up, 0xff00_ff00_ff00_ff00);
        let down = self.ir.shift_imm(Binary::Shr, ty, a, 8);
        let down = self.ir.and_imm(ty, down, 0x00ff_00ff_00ff_00ff);
        let result = self.ir.or(ty, up, down);
        self.set_x(i.rd, result);
        Next::Continue
    }
    /// REV of a W register, REV32 of an X register.
    pub fn rev32(&mut self, i: DataProc1) -> Next {
        let ty = Self::ty(i.sf);
        let a = self.x(i.rn, ty);
        let reversed = self.ir.un(Unary::ByteRev, ty, a);
        let result = if i.sf { self.ir.shift_imm(Binary::Ror, ty, reversed, 32) } else { reversed };
        self.set_x(i.rd, result);
        Next::Continue
    }
    /// REV of an X register.
    pub fn rev64(&mut self, i: DataProc1) -> Next {
        self.data_proc_1(Unary::ByteRev, i)
    }
    /// CLZ.
    pub fn clz(&mut self, i: DataProc1) -> Next {
        self.data_proc_1(Unary::Clz, i)
    }
    /// CLS: leading bits that equal the sign, without the sign.
    pub fn cls(&mut self, i: DataProc1) -> Next {
        let ty = Self::ty(i.sf);
        let a = self.x(i.rn, ty);
        let sign = self.ir.shift_imm(Binary::Sar, ty, a, 1);
        let differs = self.ir.xor(ty, a, sign);
        let zeros = self.ir.un(Unary::Clz, ty, differs);
        let result = self.ir.add_imm(ty, zeros, u64::MAX);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// RMIF: bits of a rotated register into the flags.
    pub fn rmif(&mut self, i: Rmif) -> Next {
        let a = self.x(i.rn, Ty::I64);
        let rotated = self.ir.shift_imm(Binary::Ror, Ty::I64, a, i.imm6.into());
        for (slot, bit) in [(N, 3), (Z, 2), (C, 1), (V, 0)] {
            if i.mask >> bit & 1 != 0 {
                let shifted = self.ir.shift_imm(Binary::Shr, Ty::I64, rotated, bit);
                let flag = self.ir.and_imm(Ty::I64, shifted, 1);
                self.ir.set(slot, flag);
            }
        }
        self.flags = Flags::InState;
        Next::Continue
    }

    /// N, Z and V from the low `width` bits (V: whether the bit above them differs from their sign).
    fn setf(&mut self, i: Setf, width: u32) -> Next {
        let a = self.x(i.rn, Ty::I32);
        let narrow = if width == 8 { Ty::I8 } else { Ty::I16 };
        let low = self.ir.trunc(narrow, a);
        let n = self.ir.cmp_imm(Cond::LtS, narrow, low, 0);
        let z = self.ir.cmp_imm(Cond::Eq, narrow, low, 0);
        let above = self.ir.shift_imm(Binary::Shr, Ty::I32, a, width);
        let sign = self.ir.shift_imm(Binary::Shr, Ty::I32, a, width - 1);
        let differs = self.ir.xor(Ty::I32, above, sign);
        let v = self.ir.and_imm(Ty::I32, differs, 1);
        self.ir.set(N, n);
        self.ir.set(Z, z);
        self.ir.set(V, v);
        self.flags = Flags::InState;
        Next::Continue
    }

    /// SETF8.
    pub fn setf8(&mut self, i: Setf) -> Next {
        self.setf(i, 8)
    }
    /// SETF16.
    pub fn setf16(&mut self, i: Setf) -> Next {
        self.setf(i, 16)
    }

    /// The flags of `a - b` (or `a + b`) if the condition holds, else a constant.
    fn cond_compare(&mut self, subtract: bool, ty: Ty, a: Val, b: Val, cond: u8, nzcv: u8) -> Next {
        let holds = self.condition(cond);
        let b = if subtract { self.ir.not(ty, b) } else { b };
        let carry = self.ir.imm(Ty::I8, subtract.into());
        let wide = self.ir.imm(ty, subtract.into());
        let sum = self.ir.add(ty, a, b);
        let result = self.ir.add(ty, sum, wide);
        let flags = [
            (N, 3, self.ir.cmp_imm(Cond::LtS, ty, result, 0)),
            (Z, 2, self.ir.cmp_imm(Cond::Eq, ty, result, 0)),
            (C, 1, self.ir.carry(ty, a, b, carry)),
            (V, 0, self.ir.overflow(ty, a, b, carry)),
        ];
        for (slot, bit, flag) in flags {
            let constant = self.ir.imm(Ty::I8, u64::from(nzcv >> bit & 1));
            let chosen = self.ir.select(Ty::I8, holds, flag, constant);
            self.ir.set(slot, chosen);
        }
        self.flags = Flags::InState;
        Next::Continue
    }

    /// CCMN (register).
    pub fn ccmn_reg(&mut self, i: CondCompareReg) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.x(i.rm, ty));
        self.cond_compare(false, ty, a, b, i.cond, i.nzcv)
    }
    /// CCMP (register).
    pub fn ccmp_reg(&mut self, i: CondCompareReg) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.x(i.rm, ty));
        self.cond_compare(true, ty, a, b, i.cond, i.nzcv)
    }
    /// CCMN (immediate).
    pub fn ccmn_imm(&mut self, i: CondCompareImm) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.ir.imm(ty, i.imm5.into()));
        self.cond_compare(false, ty, a, b, i.cond, i.nzcv)
    }
    /// CCMP (immediate).
    pub fn ccmp_imm(&mut self, i: CondCompareImm) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b) = (self.x(i.rn, ty), self.ir.imm(ty, i.imm5.into()));
        self.cond_compare(true, ty, a, b, i.cond, i.nzcv)
    }

    fn cond_select(&mut self, i: CondSelect, otherwise: impl FnOnce(&mut Self, Ty, Val) -> Val) -> Next {
        let ty = Self::ty(i.sf);
        let holds = self.condition(i.cond);
        let (a, b) = (self.x(i.rn, ty), self.x(i.rm, ty));
        let b = otherwise(self, ty, b);
        let result = if i.cond & 0xe == 0xe { a } else { self.ir.select(ty, holds, a, b) };
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// CSEL.
    pub fn csel(&mut self, i: CondSelect) -> Next {
        self.cond_select(i, |_, _, b| b)
    }
    /// CSINC; CSET, CINC.
    pub fn csinc(&mut self, i: CondSelect) -> Next {
        self.cond_select(i, |t, ty, b| t.ir.add_imm(ty, b, 1))
    }
    /// CSINV; CSETM, CINV.
    pub fn csinv(&mut self, i: CondSelect) -> Next {
        self.cond_select(i, |t, ty, b| t.ir.not(ty, b))
    }
    /// CSNEG; CNEG.
    pub fn csneg(&mut self, i: CondSelect) -> Next {
        self.cond_select(i, |t, ty, b| t.ir.un(Unary::Neg, ty, b))
    }

    /// MADD; MUL.
    pub fn madd(&mut self, i: MulAdd) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b, addend) = (self.x(i.rn, ty), self.x(i.rm, ty), self.x(i.ra, ty));
        let product = self.ir.bin(Binary::Mul, ty, a, b);
        let result = if i.ra == 31 { product } else { self.ir.add(ty, addend, product) };
        self.set_x(i.rd, result);
        Next::Continue
    }
    /// MSUB; MNEG.
    pub fn msub(&mut self, i: MulAdd) -> Next {
        let ty = Self::ty(i.sf);
        let (a, b, minuend) = (self.x(i.rn, ty), self.x(i.rm, ty), self.x(i.ra, ty));
        let product = self.ir.bin(Binary::Mul, ty, a, b);
        let result = self.ir.sub(ty, minuend, product);
        self.set_x(i.rd, result);
        Next::Continue
    }

    fn mul_long(&mut self, i: MulAddLong, is_signed: bool, subtract: bool) -> Next {
        let (a, b) = (self.x(i.rn, Ty::I32), self.x(i.rm, Ty::I32));
        let mut wide = |v| if is_signed { self.ir.sext(Ty::I64, v) } else { self.ir.zext(Ty::I64, v) };
        let (a, b) = (wide(a), wide(b));
        let product = self.ir.bin(Binary::Mul, Ty::I64, a, b);
        let addend = self.x(i.ra, Ty::I64);
        let op = if subtract { Binary::Sub } else { Binary::Add };
        let result = if i.ra == 31 && !subtract { product } else { self.ir.bin(op, Ty::I64, addend, product) };
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// SMADDL; SMULL.
    pub fn smaddl(&mut self, i: MulAddLong) -> Next {
        self.mul_long(i, true, false)
    }
    /// SMSUBL; SMNEGL.
    pub fn smsubl(&mut self, i: MulAddLong) -> Next {
        self.mul_long(i, true, true)
    }
    /// UMADDL; UMULL.
    pub fn umaddl(&mut self, i: MulAddLong) -> Next {
        self.mul_long(i, false, false)
    }
    /// UMSUBL; UMNEGL.
    pub fn umsubl(&mut self, i: MulAddLong) -> Next {
        self.mul_long(i, false, true)
    }

    fn mul_high(&mut self, op: Binary, i: MulHigh) -> Next {
        let (a, b) = (self.x(i.rn, Ty::I64), self.x(i.rm, Ty::I64));
        let result = self.ir.bin(op, Ty::I64, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// SMULH.
    pub fn smulh(&mut self, i: MulHigh) -> Next {
        self.mul_high(Binary::MulHiS, i)
    }
    /// UMULH.
    pub fn umulh(&mut self, i: MulHigh) -> Next {
        self.mul_high(Binary::MulHiU, i)
    }
}
