//! Vector operations.

use super::lower::{Lower, vector};
use super::slow;
use crate::frontend::Frontend;
use crate::interp::vunary;
use crate::ir::{Lane, VBinary, VShift, VUnary, Val};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32, I64X2};
use cranelift_codegen::ir::{InstBuilder, Value};

impl<F: Frontend> Lower<'_, '_, F> {
    pub(super) fn constant_vector(&mut self, low: u64, high: u64) -> Value {
        let bytes = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
        let constant = self.b.func.dfg.constants.insert(bytes.as_slice().into());
        self.b.ins().vconst(I8X16, constant)
    }

    /// A vector with `value` in every lane, as lanes.
    pub(super) fn constant_lanes(&mut self, lane: Lane, value: u64) -> Value {
        let bits = lane.ty().bits();
        let low = (0..64 / bits).fold(0, |all, n| all | (value & lane.ty().mask()) << (n * bits));
        let v = self.constant_vector(low, low);
        self.cast(v, vector(lane))
    }

    fn count(&mut self, by: u8) -> Value {
        self.b.ins().iconst(I32, i64::from(by))
    }

    pub(super) fn shuffle(&mut self, a: Value, b: Value, mask: [u8; 16]) -> Value {
        let kept = mask.map(|m| if m < 32 { m } else { 0 });
        let (a, b) = (self.cast(a, I8X16), self.cast(b, I8X16));
        if mask == std::array::from_fn(|i| 2 * i as u8) {
            // Even bytes: those of both vectors that fit after the odd ones are cleared.
            let [a, b] = [a, b].map(|v| {
                let keep = self.constant_lanes(Lane::H, 0xff);
                let v = self.cast(v, I16X8);
                self.b.ins().band(v, keep)
            });
            return self.b.ins().unarrow(a, b);
        }
        if mask == std::array::from_fn(|i| 2 * i as u8 + 1) {
            let [a, b] = [a, b].map(|v| {
                let (v, by) = (self.cast(v, I16X8), self.count(8));
                self.b.ins().ushr(v, by)
            });
            return self.b.ins().unarrow(a, b);
        }
        if kept == mask {
            let immediate = self.b.func.dfg.immediates.push(kept.as_slice().into());
            return self.b.ins().shuffle(a, b, immediate);
        }
        // The host's shuffle of one vector makes zeros by itself.
        let of_a = mask.map(|m| if m < 16 || m < 32 && a == b { m & 15 } else { 0x80 });
        let of_b = mask.map(|m| if (16..32).contains(&m) && a != b { m & 15 } else { 0x80 });
        let parts: Vec<Value> = [(a, of_a), (b, of_b)]
            .into_iter()
            .filter(|(_, bytes)| *bytes != [0x80; 16])
            .map(|(v, bytes)| {
                let bytes = u128::from_le_bytes(bytes);
                let bytes = self.constant_vector(bytes as u64, (bytes >> 64) as u64);
                self.b.ins().x86_pshufb(v, bytes)
            })
            .collect();
        match parts[..] {
            [] => self.constant_vector(0, 0),
            [part] => part,
            _ => self.b.ins().bor(parts[0], parts[1]),
        }
    }

    /// Low halves of the products of bytes.
    fn multiply_bytes(&mut self, x: Value, y: Value) -> Value {
        let (x, y) = (self.cast(x, I16X8), self.cast(y, I16X8));
        let even = self.b.ins().imul(x, y);
        let keep = self.constant_lanes(Lane::H, 0xff);
        let even = self.b.ins().band(even, keep);
        let eight = self.count(8);
        let (x, y) = (self.b.ins().ushr(x, eight), self.b.ins().ushr(y, eight));
        let odd = self.b.ins().imul(x, y);
        let odd = self.b.ins().ishl(odd, eight);
        self.b.ins().bor(even, odd)
    }

    /// Whether `a` is greater than `b` in 64-bit lanes.
    fn greater_double(&mut self, signed: bool, a: Value, b: Value) -> Value {
        if signed {
            return self.b.ins().icmp(IntCC::SignedGreaterThan, a, b);
        }
        let sign = self.constant_lanes(Lane::D, 1 << 63);
        let (a, b) = (self.b.ins().bxor(a, sign), self.b.ins().bxor(b, sign));
        self.b.ins().icmp(IntCC::SignedGreaterThan, a, b)
    }

    fn extreme_double(&mut self, max: bool, signed: bool, x: Value, y: Value) -> Value {
        let greater = self.greater_double(signed, x, y);
        let (yes, no) = if max { (x, y) } else { (y, x) };
        self.b.ins().bitselect(greater, yes, no)
    }

    fn add_pairs(&mut self, lane: Lane, x: Value, y: Value) -> Value {
        match lane {
            Lane::B => {
                let ones = self.constant_lanes(Lane::B, 1);
                let [x, y] = [x, y].map(|v| {
                    let sums = self.b.ins().x86_pmaddubsw(ones, v);
                    let keep = self.constant_lanes(Lane::H, 0xff);
                    self.b.ins().band(sums, keep)
                });
                self.b.ins().unarrow(x, y)
            }
            Lane::H | Lane::S => self.b.ins().iadd_pairwise(x, y),
            Lane::D => {
                let [even, odd] = [0u8, 8].map(|first| {
                    let mask = std::array::from_fn(|i| first + i as u8 % 8 + if i < 8 { 0 } else { 16 });
                    let v = self.shuffle(x, y, mask);
                    self.cast(v, I64X2)
                });
                self.b.ins().iadd(even, odd)
            }
        }
    }

    pub(super) fn vector_binary(&mut self, op: VBinary, lane: Lane, a: Val, b: Val) -> Value {
        let (x, y) = (self.lanes(a, lane), self.lanes(b, lane));
        let small = lane != Lane::D;
        let result = match op {
            VBinary::Add => self.b.ins().iadd(x, y),
            VBinary::Sub => self.b.ins().isub(x, y),
            VBinary::Mul if lane == Lane::B => self.multiply_bytes(x, y),
            VBinary::Mul => self.b.ins().imul(x, y),
            VBinary::And => self.b.ins().band(x, y),
            VBinary::Or => self.b.ins().bor(x, y),
            VBinary::Xor => self.b.ins().bxor(x, y),
            VBinary::AndNot => self.b.ins().band_not(x, y),
            VBinary::CmpEq => self.b.ins().icmp(IntCC::Equal, x, y),
            VBinary::CmpGtS => self.b.ins().icmp(IntCC::SignedGreaterThan, x, y),
            VBinary::CmpGtU if small => self.b.ins().icmp(IntCC::UnsignedGreaterThan, x, y),
            VBinary::CmpGeS if small => self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, x, y),
            VBinary::CmpGeU if small => self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, x, y),
            VBinary::CmpGtU => self.greater_double(false, x, y),
            VBinary::CmpGeS | VBinary::CmpGeU => {
                let less = self.greater_double(op == VBinary::CmpGeS, y, x);
                self.b.ins().bnot(less)
            }
            VBinary::MinS if small => self.b.ins().smin(x, y),
            VBinary::MinU if small => self.b.ins().umin(x, y),
            VBinary::MaxS if small => self.b.ins().smax(x, y),
            VBinary::MaxU if small => self.b.ins().umax(x, y),
            VBinary::MinS | VBinary::MinU => self.extreme_double(false, op == VBinary::MinS, x, y),
            VBinary::MaxS | VBinary::MaxU => self.extreme_double(true, op == VBinary::MaxS, x, y),
            VBinary::AddPairs => self.add_pairs(lane, x, y),
            VBinary::Lookup => {
                let (x, y) = (self.cast(x, I8X16), self.cast(y, I8X16));
                self.b.ins().swizzle(x, y)
            }
        };
        self.cast(result, I8X16)
    }

    pub(super) fn vector_unary(&mut self, op: VUnary, lane: Lane, a: Val) -> Value {
        let x = self.lanes(a, lane);
        let result = match op {
            VUnary::Not => self.b.ins().bnot(x),
            VUnary::Neg => self.b.ins().ineg(x),
            VUnary::Abs => self.b.ins().iabs(x),
            VUnary::Popcount if lane == Lane::B => self.b.ins().popcnt(x),
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
        let bits = lane.ty().bits() as u8;
        let result = match op {
            VShift::Shl | VShift::Shr if by >= bits => self.constant_lanes(lane, 0),
            _ => {
                let by = self.count(by.min(bits - 1));
                match op {
                    VShift::Shl => self.b.ins().ishl(x, by),
                    VShift::Shr => self.b.ins().ushr(x, by),
                    VShift::Sar => self.b.ins().sshr(x, by),
                }
            }
        };
        self.cast(result, I8X16)
    }
}
