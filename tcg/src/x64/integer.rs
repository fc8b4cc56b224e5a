//! Operations on integers. Comparisons, carries and overflows stay in the host's flags as long as they can.

use super::asm::{Alu, Cc, Mem, RAX, RCX, RDX, Shift};
use super::emit::{Emit, Flags, is_wide};
use super::registers::{Loc, TooComplex};
use super::slow;
use crate::frontend::Frontend;
use crate::ir::{Binary, Block as Ir, Cond, Op, Ty, Unary, Val};

/// What a comparison with zero of this value compares in truth: the operands of the subtraction that made it.
pub fn subtraction(ir: &Ir, cond: Cond, ty: Ty, a: Val, b: Val) -> Option<(Val, Val)> {
    let sign_or_zero = matches!(cond, Cond::Eq | Cond::Ne | Cond::LtS);
    match ir.ops[a.0 as usize] {
        Op::Bin(Binary::Sub, t, x, y) if t == ty && sign_or_zero && ir.as_const(b) == Some(0) => Some((x, y)),
        _ => None,
    }
}

/// The operands of the subtraction whose overflow or carry `a + !b + 1` has.
pub fn complement(ir: &Ir, ty: Ty, b: Val, c: Val) -> Option<Val> {
    match ir.ops[b.0 as usize] {
        Op::Un(Unary::Not, t, x) if t == ty && ir.as_const(c) == Some(1) => Some(x),
        _ => None,
    }
}

/// The host's condition for a comparison when its flags are those of the first operand minus the second.
fn difference_says(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::E,
        Cond::Ne => Cc::Ne,
        Cond::LtU => Cc::B,
        Cond::LeU => Cc::Be,
        Cond::LtS => Cc::L,
        Cond::LeS => Cc::Le,
    }
}

impl<F: Frontend> Emit<'_, F> {
    pub fn binary(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        let wide = ty == Ty::I64;
        // Results of 32 bits are zero-extended by the host; narrower ones have anything above.
        let narrow = !is_wide(ty);
        let alu = match op {
            Binary::Add => Alu::Add,
            Binary::Sub => Alu::Sub,
            Binary::And => Alu::And,
            Binary::Or => Alu::Or,
            Binary::Xor => Alu::Xor,
            Binary::AndNot => {
                if let Some(mask) = self.constant(b) {
                    let keep = !mask & ty.mask();
                    let imm = if wide { i32::try_from(keep as i64).ok() } else { Some(keep as u32 as i32) };
                    if let Some(imm) = imm {
                        let d = self.copy_of(a, wide)?;
                        self.keep_flags()?;
                        self.asm.alu_imm(Alu::And, wide, d, imm);
                        self.result_narrow(d, narrow);
                        return Ok(());
                    }
                }
                let s = self.gpr(b)?;
                self.asm.mov(true, RAX, s);
                self.asm.not(true, RAX);
                let d = self.copy_of(a, wide)?;
                self.keep_flags()?;
                self.asm.alu(Alu::And, wide, d, RAX);
                self.result_narrow(d, narrow);
                return Ok(());
            }
            Binary::Mul => {
                let s = self.gpr(b)?;
                let d = self.copy_of(a, wide)?;
                self.keep_flags()?;
                self.asm.imul(wide, d, s);
                self.result_narrow(d, narrow);
                return Ok(());
            }
            Binary::Shl | Binary::Shr | Binary::Sar | Binary::Ror => return self.shift(op, ty, a, b),
            Binary::MulHiU | Binary::MulHiS | Binary::DivU | Binary::DivS => return self.multiply_divide(op, ty, a, b),
        };
        let (a, b) = match op {
            Binary::Sub => (a, b),
            _ if self.constant(a).is_some() => (b, a),
            _ => (a, b),
        };
        if op == Binary::Add && is_wide(ty) && !self.flags_of_sum_wanted(ty, a, b) {
            // lea keeps the flags and needs no copy.
            let imm = self.immediate(ty, b);
            let s = self.gpr(a)?;
            if let Some(imm) = imm {
                let d = self.new_gpr()?;
                self.asm.lea(wide, d, Mem::at(s, imm));
                self.result_narrow(d, false);
                return Ok(());
            }
            let t = self.gpr(b)?;
            let d = self.new_gpr()?;
            self.asm.lea(wide, d, Mem::indexed(s, t, 0));
            self.result_narrow(d, false);
            return Ok(());
        }
        let imm = self.immediate(ty, b);
        let s = match imm {
            Some(_) => None,
            None => Some(self.gpr(b)?),
        };
        let d = self.copy_of(a, wide)?;
        self.keep_flags()?;
        match (imm, s) {
            (Some(imm), _) => self.asm.alu_imm(alu, wide, d, imm),
            (None, Some(s)) => self.asm.alu(alu, wide, d, s),
            (None, None) => return Err(TooComplex),
        }
        self.result_narrow(d, narrow);
        if is_wide(ty) {
            self.flags = Some(match op {
                Binary::Add => Flags::Add(ty, a, b),
                Binary::Sub => Flags::Sub(ty, a, b),
                _ => Flags::Zero(ty, Val(self.at as u32)),
            });
        }
        Ok(())
    }

    /// Whether carry or overflow of this sum are asked for next.
    fn flags_of_sum_wanted(&self, ty: Ty, a: Val, b: Val) -> bool {
        self.ir.ops[self.at + 1..].iter().take(4).any(|op| {
            matches!(*op, Op::Carry(t, x, y, _) | Op::Overflow(t, x, y, _)
                if t == ty && (self.same(x, a) && self.same(y, b) || self.same(x, b) && self.same(y, a)))
        })
    }

    /// Whether two values are certainly equal.
    fn same(&self, a: Val, b: Val) -> bool {
        a == b || self.constant(a).is_some() && self.constant(a) == self.constant(b)
    }

    fn shift(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        let code = match op {
            Binary::Shl => Shift::Shl,
            Binary::Shr => Shift::Shr,
            Binary::Sar => Shift::Sar,
            _ => Shift::Ror,
        };
        if !is_wide(ty) {
            return self.binary_by_function(op, ty, a, b);
        }
        let wide = ty == Ty::I64;
        match self.constant(b) {
            Some(by) => {
                let d = self.copy_of(a, wide)?;
                self.keep_flags()?;
                self.asm.shift_imm(code, wide, d, by as u8 & (ty.bits() - 1) as u8);
                self.result_narrow(d, false);
            }
            None => {
                self.gpr_into(RCX, b)?;
                let d = self.copy_of(a, wide)?;
                self.keep_flags()?;
                self.asm.shift_cl(code, wide, d);
                self.result_narrow(d, false);
            }
        }
        Ok(())
    }

    fn multiply_divide(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        if !is_wide(ty) {
            return self.binary_by_function(op, ty, a, b);
        }
        let wide = ty == Ty::I64;
        self.keep_flags()?;
        // The host's instruction takes rax and rdx.
        self.evict_gpr(RDX)?;
        self.gprs.pin(RDX);
        self.gpr_into(RCX, b)?;
        self.gpr_into(RAX, a)?;
        let d = self.new_gpr()?;
        match op {
            Binary::MulHiU | Binary::MulHiS => {
                self.asm.mul(op == Binary::MulHiS, wide, RCX);
                self.asm.mov(wide, d, RDX);
            }
            _ => {
                let signed = op == Binary::DivS;
                // By zero gives zero.
                self.asm.mov_imm(d, 0);
                self.asm.test(wide, RCX, RCX);
                let zero = self.asm.jcc(Cc::E);
                let minus_one = signed.then(|| {
                    self.asm.alu_imm(Alu::Cmp, wide, RCX, -1);
                    self.asm.jcc(Cc::E)
                });
                if signed {
                    self.asm.sign_to_rdx(wide);
                } else {
                    self.asm.mov_imm(RDX, 0);
                }
                self.asm.div(signed, wide, RCX);
                self.asm.mov(wide, d, RAX);
                if let Some(minus_one) = minus_one {
                    let done = self.asm.jmp();
                    self.asm.bind(minus_one);
                    self.asm.neg(wide, RAX);
                    self.asm.mov(wide, d, RAX);
                    self.asm.bind(done);
                }
                self.asm.bind(zero);
            }
        }
        self.result_narrow(d, false);
        Ok(())
    }

    /// Narrow operations that hardly ever occur: a function of the operands.
    fn binary_by_function(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        let kind = slow::binary_kind(op, ty);
        self.call(slow::binary::<F> as *const () as u64, &[a, b], &[(2, kind)], true)?;
        self.result_rax(false)
    }

    pub fn unary(&mut self, op: Unary, ty: Ty, a: Val) -> Result<(), TooComplex> {
        let wide = ty == Ty::I64;
        match op {
            Unary::Not => {
                let d = self.copy_of(a, wide)?;
                self.asm.not(wide, d);
                self.result_narrow(d, !is_wide(ty));
            }
            Unary::Neg => {
                let d = self.copy_of(a, wide)?;
                self.keep_flags()?;
                self.asm.neg(wide, d);
                self.result_narrow(d, !is_wide(ty));
            }
            Unary::ByteRev if is_wide(ty) => {
                let d = self.copy_of(a, wide)?;
                self.asm.bswap(wide, d);
                self.result_narrow(d, false);
            }
            Unary::Clz | Unary::Ctz | Unary::Popcount if is_wide(ty) && self.stubs.bit_counts => {
                let s = self.gpr(a)?;
                let d = self.new_gpr()?;
                self.keep_flags()?;
                match op {
                    Unary::Clz => self.asm.lzcnt(wide, d, s),
                    Unary::Ctz => self.asm.tzcnt(wide, d, s),
                    _ => self.asm.popcnt(wide, d, s),
                }
                self.result_narrow(d, false);
            }
            _ => {
                let kind = slow::unary_kind(op, ty);
                self.call(slow::unary::<F> as *const () as u64, &[a], &[(1, kind)], true)?;
                self.result_rax(false)?;
            }
        }
        Ok(())
    }

    /// Makes the host's flags those of `a - b`.
    fn flags_of_difference(&mut self, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        let bytes = ty.bytes();
        if let Some(imm) = self.immediate(ty, b) {
            let r = self.gpr(a)?;
            self.keep_flags()?;
            if imm == 0 { self.asm.test_low(bytes, r) } else { self.asm.cmp_low_imm(bytes, r, imm) }
        } else {
            let (r, s) = (self.gpr(a)?, self.gpr(b)?);
            self.keep_flags()?;
            self.asm.cmp_low(bytes, r, s);
        }
        self.flags = Some(Flags::Sub(ty, a, b));
        Ok(())
    }

    pub fn compare(&mut self, cond: Cond, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        if !is_wide(ty)
            && self.constant(b) == Some(0)
            && matches!(cond, Cond::Eq | Cond::Ne)
            && let Loc::Flags(cc) = self.loc[a.0 as usize]
        {
            // A condition, or its opposite.
            self.result(Loc::Flags(if cond == Cond::Eq { cc.not() } else { cc }));
            return Ok(());
        }
        if let Some((x, y)) = subtraction(self.ir, cond, ty, a, b) {
            let sum_or_difference = self
                .flags
                .is_some_and(|f| matches!(f, Flags::Sub(t, p, q) if t == ty && self.same(p, x) && self.same(q, y)));
            if !sum_or_difference {
                self.flags_of_difference(ty, x, y)?;
            }
            self.result(Loc::Flags(match cond {
                Cond::Eq => Cc::E,
                Cond::Ne => Cc::Ne,
                _ => Cc::S,
            }));
            return Ok(());
        }
        let zero = self.constant(b) == Some(0);
        let with_zero = match self.flags {
            Some(Flags::Zero(t, x)) if t == ty && zero && x == a => match cond {
                Cond::Eq => Some(Cc::E),
                Cond::Ne => Some(Cc::Ne),
                Cond::LtS => Some(Cc::S),
                _ => None,
            },
            // The sum or difference that the flags are of.
            Some(Flags::Add(t, p, q)) if t == ty && zero => match (self.ir.ops[a.0 as usize], cond) {
                (Op::Bin(Binary::Add, _, x, y), Cond::Eq | Cond::Ne | Cond::LtS)
                    if self.same(x, p) && self.same(y, q) || self.same(x, q) && self.same(y, p) =>
                {
                    Some(match cond {
                        Cond::Eq => Cc::E,
                        Cond::Ne => Cc::Ne,
                        _ => Cc::S,
                    })
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(cc) = with_zero {
            self.result(Loc::Flags(cc));
            return Ok(());
        }
        let direct = difference_says(cond);
        let swapped = match cond {
            Cond::Eq => Cc::E,
            Cond::Ne => Cc::Ne,
            Cond::LtU => Cc::A,
            Cond::LeU => Cc::Ae,
            Cond::LtS => Cc::G,
            Cond::LeS => Cc::Ge,
        };
        let have = |x: Val, y: Val| match self.flags {
            Some(Flags::Sub(t, p, q)) => t == ty && self.same(p, x) && self.same(q, y),
            Some(Flags::Zero(t, p)) => t == ty && p == x && self.constant(y) == Some(0),
            _ => false,
        };
        let cc = if have(a, b) {
            direct
        } else if have(b, a) {
            swapped
        } else if self.constant(a).is_some() || matches!(cond, Cond::LeU | Cond::LeS) && self.constant(b).is_none() {
            // "Less or equal" is how front ends ask for the carry of the reverse difference.
            self.flags_of_difference(ty, b, a)?;
            swapped
        } else {
            self.flags_of_difference(ty, a, b)?;
            direct
        };
        self.result(Loc::Flags(cc));
        Ok(())
    }

    /// The host's condition that says whether an `I8` is not zero.
    pub fn condition(&mut self, c: Val) -> Result<Cc, TooComplex> {
        if let Loc::Flags(cc) = self.loc[c.0 as usize] {
            return Ok(cc);
        }
        let r = self.gpr(c)?;
        self.keep_flags()?;
        self.asm.test_byte(r, r);
        Ok(Cc::Ne)
    }

    pub fn select(&mut self, ty: Ty, c: Val, a: Val, b: Val) -> Result<(), TooComplex> {
        if ty == Ty::V128 {
            let (x, y) = (self.xmm(a)?, self.xmm(b)?);
            let d = self.new_xmm()?;
            let cc = self.condition(c)?;
            self.asm.movdqa(d, y);
            let keep = self.asm.jcc(cc.not());
            self.asm.movdqa(d, x);
            self.asm.bind(keep);
            self.result(Loc::Xmm(d));
            return Ok(());
        }
        let (x, y) = (self.gpr(a)?, self.gpr(b)?);
        let d = self.new_gpr()?;
        let cc = self.condition(c)?;
        self.asm.mov(true, d, y);
        self.asm.cmov(cc, true, d, x);
        let narrow = |e: &Self, v: Val| e.narrow[v.0 as usize];
        let narrow = narrow(self, a) || narrow(self, b);
        self.result_narrow(d, narrow);
        Ok(())
    }

    pub fn carry_or_overflow(&mut self, carry: bool, ty: Ty, a: Val, b: Val, c: Val) -> Result<(), TooComplex> {
        let wide = ty == Ty::I64;
        if let Some(x) = complement(self.ir, ty, b, c) {
            let have = matches!(self.flags, Some(Flags::Sub(t, p, q)) if t == ty && self.same(p, a) && self.same(q, x));
            if !have {
                self.flags_of_difference(ty, a, x)?;
            }
            self.result(Loc::Flags(if carry { Cc::Ae } else { Cc::O }));
            return Ok(());
        }
        if !is_wide(ty) {
            return self.narrow_carry_or_overflow(carry, ty, a, b, c);
        }
        let wanted = match self.constant(c) {
            Some(0) => Flags::Add(ty, a, b),
            _ => Flags::Adc(ty, a, b, c),
        };
        let have = match (self.flags, wanted) {
            (Some(Flags::Add(t, p, q)), Flags::Add(..)) => {
                t == ty && (self.same(p, a) && self.same(q, b) || self.same(p, b) && self.same(q, a))
            }
            (flags, wanted) => flags == Some(wanted),
        };
        if !have {
            let with_carry = matches!(wanted, Flags::Adc(..));
            let imm = self.immediate(ty, b);
            let s = match imm {
                Some(_) => RCX,
                None => self.gpr(b)?,
            };
            if with_carry {
                let r = self.gpr(c)?;
                self.asm.mov(false, RCX, r);
            }
            self.gpr_into(RAX, a)?;
            self.keep_flags()?;
            if with_carry {
                self.asm.carry_from_cl();
            }
            let op = if with_carry { Alu::Adc } else { Alu::Add };
            match imm {
                Some(imm) => self.asm.alu_imm(op, wide, RAX, imm),
                None => self.asm.alu(op, wide, RAX, s),
            }
            self.flags = Some(wanted);
        }
        self.result(Loc::Flags(if carry { Cc::B } else { Cc::O }));
        Ok(())
    }

    /// The same of 8 or 16 bits: with the operands at the top of 32.
    fn narrow_carry_or_overflow(&mut self, carry: bool, ty: Ty, a: Val, b: Val, c: Val) -> Result<(), TooComplex> {
        let by = (32 - ty.bits()) as u8;
        let s = self.gpr(b)?;
        // A carry comes in where ones below the operand let it through.
        let carried = match self.constant(c) {
            Some(0) => None,
            _ => Some((self.gpr(c)?, self.new_gpr()?)),
        };
        self.gpr_into(RAX, a)?;
        self.keep_flags()?;
        self.asm.shift_imm(Shift::Shl, false, RAX, by);
        let other = carried.map_or(RCX, |(_, d)| d);
        self.asm.mov(false, other, s);
        self.asm.shift_imm(Shift::Shl, false, other, by);
        match carried {
            Some((r, _)) => {
                self.asm.alu_imm(Alu::Or, false, RAX, (1 << by) - 1);
                self.asm.mov(false, RCX, r);
                self.asm.carry_from_cl();
                self.asm.alu(Alu::Adc, false, RAX, other);
            }
            None => self.asm.alu(Alu::Add, false, RAX, other),
        }
        self.flags = None;
        self.result(Loc::Flags(if carry { Cc::B } else { Cc::O }));
        Ok(())
    }
}
