//! Floating point on the host's unit, where a helper's call amounts to it (`float.rs` of this crate says when). Where the
//! host may differ, code out of the way calls the helper.

use super::asm::{Alu, Cc, Holes, RAX, RCX, Xmm};
use super::emit::{ColdPath, Emit};
use super::registers::{Loc, TooComplex};
use crate::float::{FloatOp, HostFloat, ToIntegral};
use crate::frontend::{Frontend, Func};
use crate::ir::{FloatCond, HelperId, Lane, Op, Val};

const PXOR: u8 = 0xef;

/// Prefix of the scalar form in a lane's precision.
fn scalar(lane: Lane) -> Option<u8> {
    Some(if lane == Lane::S { 0xf3 } else { 0xf2 })
}

/// Prefix of the form on whole vectors.
fn packed(lane: Lane) -> Option<u8> {
    (lane != Lane::S).then_some(0x66)
}

impl<F: Frontend> Emit<'_, F> {
    /// The host's operation for a helper's call, if there is one and the block's environment allows it.
    fn host_float(&self, id: HelperId, imm: Option<u64>) -> Option<HostFloat> {
        let helper = &self.shared.helpers[usize::from(id.0)];
        let touches = helper.reads_slots || helper.writes_slots || helper.raises;
        helper.host.filter(|_| self.ir.host_float && !touches)?(imm? as u32)
    }

    /// [`Op::FloatCmp`].
    pub fn float_compare(&mut self, cond: FloatCond, lane: Lane, a: Val, b: Val) -> Result<(), TooComplex> {
        let (x, y) = (self.xmm(a)?, self.xmm(b)?);
        self.keep_flags()?;
        // The carry flag says "less or unordered": asked the other way round, "above" is ordered.
        let (first, second) = match cond {
            FloatCond::Lt | FloatCond::Nlt | FloatCond::Le | FloatCond::Nle => (y, x),
            _ => (x, y),
        };
        self.asm.sse_with(packed(lane), 0x2e, first, second);
        let cc = match cond {
            FloatCond::Lt => Cc::A,
            FloatCond::Nlt => Cc::Be,
            FloatCond::Le => Cc::Ae,
            FloatCond::Nle => Cc::B,
            FloatCond::Un => Cc::P,
            FloatCond::Ord => Cc::Np,
            FloatCond::Eq | FloatCond::Ne => {
                let d = self.new_gpr()?;
                let equal = cond == FloatCond::Eq;
                self.asm.setcc(if equal { Cc::E } else { Cc::Ne }, d);
                self.asm.setcc(if equal { Cc::Np } else { Cc::P }, RCX);
                self.asm.alu(if equal { Alu::And } else { Alu::Or }, false, d, RCX);
                self.asm.zero_extend(1, d, d);
                self.result(Loc::Gpr(d));
                return Ok(());
            }
        };
        self.result(Loc::Flags(cc));
        Ok(())
    }

    /// A register with the lowest number of `s` and zeros above it.
    fn alone(&mut self, lane: Lane, s: Xmm) -> Result<Xmm, TooComplex> {
        let d = self.new_xmm()?;
        if lane == Lane::D {
            self.asm.movq(d, s);
        } else {
            self.asm.sse(PXOR, d, d);
            self.asm.sse_with(scalar(lane), 0x10, d, s);
        }
        Ok(d)
    }

    /// A call of a vector helper by the host's operation. Gives whether there is code for it.
    pub fn float_vector_call(&mut self, id: HelperId, args: [Val; 3], imm: u32) -> Result<bool, TooComplex> {
        let Some(host) = self.host_float(id, Some(imm.into())) else { return Ok(false) };
        let Func::V(function) = self.shared.helpers[usize::from(id.0)].func else { return Ok(false) };
        let lane = host.lane;
        let one = host.lanes == 1;
        let half = !one && host.lanes * lane.ty().bytes() == 8;
        let arithmetic = match host.op {
            FloatOp::Add => Some((0x58, false)),
            FloatOp::Sub => Some((0x5c, false)),
            FloatOp::Mul => Some((0x59, true)),
            FloatOp::Div if !half => Some((0x5e, true)),
            FloatOp::Sqrt => Some((0x51, false)),
            _ => None,
        };
        let fused = match host.op {
            FloatOp::MulAdd => Some(0xb8),
            FloatOp::MulSub => Some(0xbc),
            FloatOp::NegMulAdd => Some(0xbe),
            FloatOp::NegMulSub => Some(0xba),
            _ => None,
        }
        .filter(|_| self.stubs.fma);
        let other =
            one && matches!(host.op, FloatOp::Compare | FloatOp::Widen | FloatOp::Narrow | FloatOp::Integral(..));
        if arithmetic.is_none() && fused.is_none() && !other {
            return Ok(false);
        }
        let [mut a, mut b, mut c] = [self.xmm(args[0])?, self.xmm(args[1])?, self.xmm(args[2])?];
        let exact = [a, b, c];
        self.keep_flags()?;
        if host.op == FloatOp::Compare {
            self.asm.sse_with(packed(lane), 0x2e, a, b);
            let doubt = self.asm.jcc(Cc::P);
            let d = self.new_xmm()?;
            self.exactly(doubt.into(), function as *const () as u64, imm, exact, d);
            self.result(Loc::Xmm(d));
            return Ok(true);
        }
        if half {
            // The upper halves take no part; zeros raise nothing.
            for v in [&mut a, &mut b, &mut c] {
                let low = self.new_xmm()?;
                self.asm.movq(low, *v);
                *v = low;
            }
        }
        let mut result_lane = lane;
        let (d, tiny) = match host.op {
            FloatOp::Widen => {
                let d = self.new_xmm()?;
                self.asm.sse(PXOR, d, d);
                self.asm.sse_with(scalar(Lane::S), 0x5a, d, a);
                (d, false)
            }
            FloatOp::Narrow => {
                let d = self.new_xmm()?;
                self.asm.sse(PXOR, d, d);
                self.asm.sse_with(scalar(Lane::D), 0x5a, d, a);
                result_lane = Lane::S;
                (d, true)
            }
            FloatOp::Integral(rounding, inexact) => {
                let d = self.new_xmm()?;
                self.asm.sse(PXOR, d, d);
                let mode = match rounding {
                    ToIntegral::Nearest => 0,
                    ToIntegral::Down => 1,
                    ToIntegral::Up => 2,
                    ToIntegral::Zero => 3,
                };
                self.asm.round(lane == Lane::D, d, a, mode | if inexact { 0 } else { 8 });
                (d, false)
            }
            _ => {
                let d = if one {
                    self.alone(lane, a)?
                } else {
                    let d = self.new_xmm()?;
                    self.asm.movdqa(d, a);
                    d
                };
                let prefix = if one { scalar(lane) } else { packed(lane) };
                match (arithmetic, fused) {
                    (Some((0x51, _)), _) => self.asm.sse_with(prefix, 0x51, d, a),
                    (Some((opcode, _)), _) => self.asm.sse_with(prefix, opcode, d, b),
                    (None, Some(opcode)) => self.asm.fma(opcode | u8::from(one), lane == Lane::D, d, b, c),
                    (None, None) => return Err(TooComplex),
                }
                (d, arithmetic.is_none_or(|(_, tiny)| tiny))
            }
        };
        if F::NATIVE_FLOAT {
            self.result(Loc::Xmm(d));
            return Ok(true);
        }
        let doubts = if one { self.doubt_one(result_lane, d, tiny) } else { self.doubt_all(lane, d, tiny)? };
        self.exactly(doubts, function as *const () as u64, imm, exact, d);
        self.result(Loc::Xmm(d));
        Ok(true)
    }

    /// Jumps taken when the number in `d` is a NaN or, with `tiny`, may have been rounded up to the smallest normal one.
    fn doubt_one(&mut self, lane: Lane, d: Xmm, tiny: bool) -> Holes {
        self.asm.sse_with(packed(lane), 0x2e, d, d);
        let mut doubts = Holes::from(self.asm.jcc(Cc::P));
        if tiny {
            let wide = lane == Lane::D;
            self.asm.xmm_to(wide, RAX, d);
            self.asm.alu(Alu::Add, wide, RAX, RAX);
            if wide {
                self.asm.mov_imm(RCX, 2 << 52);
                self.asm.alu(Alu::Cmp, true, RAX, RCX);
            } else {
                self.asm.alu_imm(Alu::Cmp, false, RAX, 2 << 23);
            }
            doubts.push(self.asm.jcc(Cc::E));
        }
        doubts
    }

    /// The same for any lane of a vector.
    fn doubt_all(&mut self, lane: Lane, d: Xmm, tiny: bool) -> Result<Holes, TooComplex> {
        // Twice the number loses the sign.
        let twice = if tiny { Some(self.new_xmm()?) } else { None };
        self.asm.movdqa(0, d);
        self.asm.compare_unordered(packed(lane), 0, 0);
        if let Some(twice) = twice {
            self.asm.mov_imm(RAX, if lane == Lane::D { 2 << 52 } else { (2 << 23) | (2 << 55) });
            self.asm.xmm_from(true, 1, RAX);
            self.asm.sse(0x6c, 1, 1);
            self.asm.movdqa(twice, d);
            if lane == Lane::D {
                self.asm.sse(0xd4, twice, twice);
                self.asm.sse38(0x29, 1, twice);
            } else {
                self.asm.sse(0xfe, twice, twice);
                self.asm.sse(0x76, 1, twice);
            }
            self.asm.sse(0xeb, 0, 1);
        }
        self.asm.sse(0xd7, RAX, 0);
        self.asm.test(false, RAX, RAX);
        Ok(self.asm.jcc(Cc::Ne).into())
    }

    fn exactly(&mut self, from: Holes, function: u64, imm: u32, args: [Xmm; 3], d: Xmm) {
        let back = self.asm.code.len();
        let xmms = self.xmms_in_use();
        self.put_aside(from, back, ColdPath::VectorHelper { function, imm, args, d, xmms });
    }

    /// A call of an integer helper by the host's operation. Gives whether there is code for it.
    pub fn float_call(&mut self, id: HelperId, args: &[Val]) -> Result<bool, TooComplex> {
        let [operand, how] = *args else { return Ok(false) };
        let how = match self.ir.ops[how.0 as usize] {
            Op::Const(_, how) => how,
            _ => return Ok(false),
        };
        let Some(host) = self.host_float(id, Some(how)) else { return Ok(false) };
        let Func::F2(function) = self.shared.helpers[usize::from(id.0)].func else { return Ok(false) };
        let wide = host.lane == Lane::D;
        match host.op {
            FloatOp::FromInt(signed, bits) if signed || bits == 32 => {
                let s = self.gpr(operand)?;
                let d = self.new_gpr()?;
                self.asm.sse(PXOR, 0, 0);
                // An unsigned word is a signed doubleword.
                let from_wide = bits == 64 || !signed;
                let s = if bits == 32 && !signed {
                    self.asm.mov(false, RCX, s);
                    RCX
                } else {
                    s
                };
                self.asm.convert_from_int(scalar(host.lane), from_wide, 0, s);
                self.asm.xmm_to(wide, d, 0);
                self.result(Loc::Gpr(d));
                Ok(true)
            }
            FloatOp::ToInt(ToIntegral::Zero, true, bits) => {
                let s = self.gpr(operand)?;
                let d = self.new_gpr()?;
                self.keep_flags()?;
                self.asm.xmm_from(wide, 0, s);
                self.asm.convert_to_int(scalar(host.lane), bits == 64, d, 0);
                // What the host gives for all that is out of range is the only number that minus one overflows.
                self.asm.alu_imm(Alu::Cmp, bits == 64, d, 1);
                let from = self.asm.jcc(Cc::O).into();
                let back = self.asm.code.len();
                let xmms = self.xmms_in_use();
                let function = function as *const () as u64;
                self.put_aside(from, back, ColdPath::Helper { function, operand: s, how: how as i32, d, xmms });
                self.result(Loc::Gpr(d));
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
