//! Vector operations.

use super::lower::Lower;
use super::slow;
use crate::frontend::Frontend;
use crate::interp::{vbinary, vshift, vunary};
use crate::ir::{Lane, VBinary, VShift, VUnary, Val};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I32};
use cranelift_codegen::ir::{InstBuilder, Value};

impl<F: Frontend> Lower<'_, '_, F> {
    pub(super) fn constant_vector(&mut self, low: u64, high: u64) -> Value {
        let bytes = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
        let constant = self.b.func.dfg.constants.insert(bytes.as_slice().into());
        self.b.ins().vconst(I8X16, constant)
    }

    pub(super) fn shuffle(&mut self, a: Value, b: Value, mask: [u8; 16]) -> Value {
        let kept = mask.map(|m| if m < 32 { m } else { 0 });
        let (a, b) = (self.cast(a, I8X16), self.cast(b, I8X16));
        let immediate = self.b.func.dfg.immediates.push(kept.as_slice().into());
        let result = self.b.ins().shuffle(a, b, immediate);
        if kept == mask {
            return result;
        }
        let keep = u128::from_le_bytes(mask.map(|m| if m < 32 { 0xff } else { 0 }));
        let keep = self.constant_vector(keep as u64, (keep >> 64) as u64);
        self.b.ins().band(result, keep)
    }

    pub(super) fn vector_binary(&mut self, op: VBinary, lane: Lane, a: Val, b: Val) -> Value {
        let (x, y) = (self.lanes(a, lane), self.lanes(b, lane));
        let small = lane != Lane::D;
        let result = match op {
            VBinary::Add => self.b.ins().iadd(x, y),
            VBinary::Sub => self.b.ins().isub(x, y),
            VBinary::Mul if matches!(lane, Lane::H | Lane::S) => self.b.ins().imul(x, y),
            VBinary::And => self.b.ins().band(x, y),
            VBinary::Or => self.b.ins().bor(x, y),
            VBinary::Xor => self.b.ins().bxor(x, y),
            VBinary::AndNot => self.b.ins().band_not(x, y),
            VBinary::CmpEq => self.b.ins().icmp(IntCC::Equal, x, y),
            VBinary::CmpGtS => self.b.ins().icmp(IntCC::SignedGreaterThan, x, y),
            VBinary::CmpGtU if small => self.b.ins().icmp(IntCC::UnsignedGreaterThan, x, y),
            VBinary::CmpGeS if small => self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, x, y),
            VBinary::CmpGeU if small => self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, x, y),
            VBinary::MinS if small => self.b.ins().smin(x, y),
            VBinary::MinU if small => self.b.ins().umin(x, y),
            VBinary::MaxS if small => self.b.ins().smax(x, y),
            VBinary::MaxU if small => self.b.ins().umax(x, y),
            _ => {
                let (x, y) = (self.cast(x, I8X16), self.cast(y, I8X16));
                self.set_vector(0, x);
                self.set_vector(1, y);
                let f = self.imm(vbinary(op, lane) as usize as u64);
                self.call(slow::vector2::<F> as *const () as usize, &[f], false);
                self.vector_result()
            }
        };
        self.cast(result, I8X16)
    }

    pub(super) fn vector_unary(&mut self, op: VUnary, lane: Lane, a: Val) -> Value {
        let x = self.lanes(a, lane);
        let result = match op {
            VUnary::Not => self.b.ins().bnot(x),
            VUnary::Neg => self.b.ins().ineg(x),
            VUnary::Abs if lane != Lane::D => self.b.ins().iabs(x),
            VUnary::Low64 => {
                let keep = self.constant_vector(u64::MAX, 0);
                let x = self.cast(x, I8X16);
                self.b.ins().band(x, keep)
            }
            VUnary::WidenLowS if lane != Lane::D => self.b.ins().swiden_low(x),
            VUnary::WidenLowU if lane != Lane::D => self.b.ins().uwiden_low(x),
            VUnary::WidenHighS if lane != Lane::D => self.b.ins().swiden_high(x),
            VUnary::WidenHighU if lane != Lane::D => self.b.ins().uwiden_high(x),
            VUnary::Narrow => {
                let bytes = lane.ty().bytes();
                let mask = std::array::from_fn(|i| {
                    let (lane, byte) = (i as u8 / (bytes / 2), i as u8 % (bytes / 2));
                    if i < 8 { lane * bytes + byte } else { 255 }
                });
                self.shuffle(x, x, mask)
            }
            _ => {
                let x = self.cast(x, I8X16);
                self.set_vector(0, x);
                let f = self.imm(vunary(op, lane) as usize as u64);
                self.call(slow::vector1::<F> as *const () as usize, &[f], false);
                self.vector_result()
            }
        };
        self.cast(result, I8X16)
    }

    pub(super) fn vector_shift(&mut self, op: VShift, lane: Lane, a: Val, by: u8) -> Value {
        let x = self.lanes(a, lane);
        let inside = u32::from(by) < lane.ty().bits();
        let result = if inside && lane != Lane::B && !(op == VShift::Sar && lane == Lane::D) {
            let by = self.b.ins().iconst(I32, i64::from(by));
            match op {
                VShift::Shl => self.b.ins().ishl(x, by),
                VShift::Shr => self.b.ins().ushr(x, by),
                VShift::Sar => self.b.ins().sshr(x, by),
            }
        } else {
            let x = self.cast(x, I8X16);
            self.set_vector(0, x);
            let (f, by) = (self.imm(vshift(op, lane) as usize as u64), self.imm(by.into()));
            self.call(slow::vector_shift::<F> as *const () as usize, &[f, by], false);
            self.vector_result()
        };
        self.cast(result, I8X16)
    }
}
