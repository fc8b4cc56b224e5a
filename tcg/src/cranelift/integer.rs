//! Operations on integers.

use super::lower::{Lower, int};
use crate::frontend::Frontend;
use crate::ir::{Binary, Ty, Unary};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{InstBuilder, Value};

impl<F: Frontend> Lower<'_, '_, F> {
    /// Division without the host's traps: by zero gives zero, overflow wraps.
    pub(super) fn divide(&mut self, signed: bool, ty: Ty, a: Value, b: Value) -> Value {
        let (zero, one) = (self.b.ins().iconst(int(ty), 0), self.b.ins().iconst(int(ty), 1));
        let by_zero = self.b.ins().icmp(IntCC::Equal, b, zero);
        let divisor = self.b.ins().select(by_zero, one, b);
        let quotient = if signed {
            let minus = self.b.ins().icmp_imm_s(IntCC::Equal, divisor, -1);
            let divisor = self.b.ins().select(minus, one, divisor);
            let quotient = self.b.ins().sdiv(a, divisor);
            let negated = self.b.ins().ineg(a);
            self.b.ins().select(minus, negated, quotient)
        } else {
            self.b.ins().udiv(a, divisor)
        };
        self.b.ins().select(by_zero, zero, quotient)
    }

    /// Operations that the code generator has for wide integers only, on 8 or 16 bits: done in 32.
    pub(super) fn narrow_binary(&mut self, op: Binary, ty: Ty, a: Value, b: Value) -> Value {
        let signed = matches!(op, Binary::MulHiS | Binary::DivS);
        let [a, b] = [a, b].map(|v| match signed {
            true => self.b.ins().sextend(I32, v),
            false => self.b.ins().uextend(I32, v),
        });
        let wide = match op {
            Binary::DivU | Binary::DivS => self.divide(signed, Ty::I32, a, b),
            _ => {
                let product = self.b.ins().imul(a, b);
                self.b.ins().ushr_imm_u(product, i64::from(ty.bits()))
            }
        };
        self.b.ins().ireduce(int(ty), wide)
    }

    /// The same for operations on one integer.
    pub(super) fn narrow_unary(&mut self, op: Unary, ty: Ty, a: Value) -> Value {
        let unused = i64::from(32 - ty.bits());
        let a = self.b.ins().uextend(I32, a);
        let wide = match op {
            Unary::Clz => {
                let zeros = self.b.ins().clz(a);
                self.b.ins().iadd_imm_s(zeros, -unused)
            }
            Unary::Ctz => {
                let end = self.b.ins().iconst(I32, 1 << ty.bits());
                let a = self.b.ins().bor(a, end);
                self.b.ins().ctz(a)
            }
            Unary::BitRev => {
                let a = self.b.ins().bitrev(a);
                self.b.ins().ushr_imm_u(a, unused)
            }
            Unary::ByteRev => {
                let a = self.b.ins().bswap(a);
                self.b.ins().ushr_imm_u(a, unused)
            }
            Unary::Popcount => self.b.ins().popcnt(a),
            Unary::Not => self.b.ins().bnot(a),
            Unary::Neg => self.b.ins().ineg(a),
        };
        self.b.ins().ireduce(int(ty), wide)
    }

    pub(super) fn binary(&mut self, op: Binary, ty: Ty, a: Value, b: Value) -> Value {
        let wide = matches!(ty, Ty::I32 | Ty::I64);
        match op {
            Binary::Add => self.b.ins().iadd(a, b),
            Binary::Sub => self.b.ins().isub(a, b),
            Binary::Mul => self.b.ins().imul(a, b),
            Binary::MulHiU if wide => self.b.ins().umulhi(a, b),
            Binary::MulHiS if wide => self.b.ins().smulhi(a, b),
            Binary::DivU if wide => self.divide(false, ty, a, b),
            Binary::DivS if wide => self.divide(true, ty, a, b),
            Binary::And => self.b.ins().band(a, b),
            Binary::Or => self.b.ins().bor(a, b),
            Binary::Xor => self.b.ins().bxor(a, b),
            Binary::AndNot => self.b.ins().band_not(a, b),
            Binary::Shl => self.b.ins().ishl(a, b),
            Binary::Shr => self.b.ins().ushr(a, b),
            Binary::Sar => self.b.ins().sshr(a, b),
            Binary::Ror => self.b.ins().rotr(a, b),
            Binary::MulHiU | Binary::MulHiS | Binary::DivU | Binary::DivS => self.narrow_binary(op, ty, a, b),
        }
    }
}
