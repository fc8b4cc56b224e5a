//! Floating point on the host's unit, where `float.rs` of this crate says that a helper's call amounts to it.
//!
//! Numbers of scalar operations stay in vector registers: the lowest lane of a guest's vector is looked at as a float for
//! free, and a vector made of a float is only put together where somebody wants the vector. Cases in which the host
//! differs from the guest's architecture go to a cold block that calls the helper:
//! - a NaN result: its sign and payload;
//! - a result of the smallest normal magnitude: it may have been rounded up to that from below, and guests that detect
//!   tininess before rounding raise underflow then;
//! - a NaN operand of a minimum or maximum, which are invalid on the host;
//! - an integer out of range.

use super::lower::{Lower, vector};
use crate::float::{FloatOp, HostFloat, ToIntegral};
use crate::frontend::Frontend;
use crate::ir::{FloatCond, HelperId, Lane, Op, Val};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{F32, F32X4, F64, F64X2, I8X16, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Type, Value};
use std::collections::HashMap;

/// What is known of values that scalars are in.
#[derive(Default)]
pub(super) struct Floats {
    /// The numbers in the lowest lanes of vectors.
    lowest: HashMap<Value, Value>,
    /// The numbers whose bits integers are.
    of_bits: HashMap<Value, Value>,
}

/// The floating-point type of a lane, alone and as a vector.
fn types(lane: Lane) -> (Type, Type) {
    if lane == Lane::S { (F32, F32X4) } else { (F64, F64X2) }
}

/// Whether the host has an operation without calling a library.
fn available(op: FloatOp) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let fused = matches!(
            op,
            FloatOp::MulAdd | FloatOp::MulSub | FloatOp::NegMulAdd | FloatOp::NegMulSub | FloatOp::RecipStep
        );
        let rounds = matches!(op, FloatOp::Integral(..))
            || matches!(op, FloatOp::ToInt(rounding, ..) if rounding != ToIntegral::Zero);
        std::arch::is_x86_feature_detected!("sse4.1")
            && (!fused || std::arch::is_x86_feature_detected!("fma"))
            && (!rounds || std::arch::is_x86_feature_detected!("sse4.1"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = op;
        false
    }
}

/// When the helper decides.
enum Doubt {
    /// Never.
    No,
    /// Where the result is a NaN.
    Nan,
    /// There, and where it has the smallest normal magnitude.
    Tiny,
}

impl<F: Frontend> Lower<'_, '_, F> {
    /// The number in the lowest lane of a vector.
    fn lowest(&mut self, v: Value, lane: Lane) -> Value {
        let (scalar, vector) = types(lane);
        if let Some(known) = self.floats.lowest.get(&v)
            && self.b.func.dfg.value_type(*known) == scalar
        {
            return *known;
        }
        let v = self.cast(v, vector);
        self.b.ins().extractlane(v, 0)
    }

    /// The vector with a number in its lowest lane and zeros above it.
    fn alone(&mut self, number: Value) -> Value {
        let vector = if self.b.func.dfg.value_type(number) == F32 { F32X4 } else { F64X2 };
        let v = self.b.ins().scalar_to_vector(vector, number);
        let v = self.cast(v, I8X16);
        self.floats.lowest.insert(v, number);
        v
    }

    fn bits_as(&mut self, ty: Type, v: Value) -> Value {
        self.b.ins().bitcast(ty, MemFlagsData::new(), v)
    }

    /// The integer with a number's bits.
    fn bits_of(&mut self, number: Value) -> Value {
        let ty = if self.b.func.dfg.value_type(number) == F32 { I32 } else { I64 };
        let bits = self.bits_as(ty, number);
        self.floats.of_bits.insert(bits, number);
        bits
    }

    /// The number with these bits.
    fn number_of(&mut self, bits: Value, lane: Lane) -> Value {
        let (scalar, _) = types(lane);
        match self.floats.of_bits.get(&bits) {
            Some(known) if self.b.func.dfg.value_type(*known) == scalar => *known,
            _ => {
                let ty = vector(lane).lane_type();
                let bits = if self.b.func.dfg.value_type(bits) == ty { bits } else { self.b.ins().ireduce(ty, bits) };
                self.bits_as(scalar, bits)
            }
        }
    }

    /// [`Op::Extract`].
    pub(super) fn extract(&mut self, lane: Lane, v: Val, n: u8) -> Value {
        if n == 0 && matches!(lane, Lane::S | Lane::D) {
            let v = self.v(v);
            let number = self.lowest(v, lane);
            return self.bits_of(number);
        }
        let v = self.lanes(v, lane);
        self.b.ins().extractlane(v, n)
    }

    /// [`Op::Insert`].
    pub(super) fn insert(&mut self, lane: Lane, v: Val, n: u8, a: Val) -> Value {
        let into_zero = matches!(self.ir.ops[v.0 as usize], Op::ConstV(0, 0));
        let a = self.v(a);
        if n == 0 && into_zero && matches!(lane, Lane::S | Lane::D) {
            if let Some(number) = self.floats.of_bits.get(&a).copied() {
                return self.alone(number);
            }
            let v = self.b.ins().scalar_to_vector(vector(lane), a);
            return self.cast(v, I8X16);
        }
        let v = self.lanes(v, lane);
        let v = self.b.ins().insertlane(v, a, n);
        self.cast(v, I8X16)
    }

    /// [`Op::FloatCmp`].
    pub(super) fn float_compare(&mut self, cond: FloatCond, lane: Lane, a: Val, b: Val) -> Value {
        let (a, b) = (self.v(a), self.v(b));
        let (a, b) = (self.lowest(a, lane), self.lowest(b, lane));
        let cond = match cond {
            FloatCond::Eq => FloatCC::Equal,
            FloatCond::Ne => FloatCC::NotEqual,
            FloatCond::Lt => FloatCC::LessThan,
            FloatCond::Nlt => FloatCC::UnorderedOrGreaterThanOrEqual,
            FloatCond::Le => FloatCC::LessThanOrEqual,
            FloatCond::Nle => FloatCC::UnorderedOrGreaterThan,
            FloatCond::Un => FloatCC::Unordered,
            FloatCond::Ord => FloatCC::Ordered,
        };
        self.b.ins().fcmp(cond, a, b)
    }

    /// The host's operation for a helper's call, if the block's environment allows one.
    pub(super) fn host_float(&self, helper: HelperId, imm: Option<u64>) -> Option<HostFloat> {
        let helper = &self.shared.helpers[usize::from(helper.0)];
        let touches = helper.reads_slots || helper.writes_slots || helper.raises;
        let host = helper.host.filter(|_| self.ir.host_float && !touches)?;
        host(imm? as u32).filter(|host| available(host.op))
    }

    fn number(&mut self, ty: Type, value: f64) -> Value {
        if ty == F32 {
            self.b.ins().f32const(Ieee32::with_float(value as f32))
        } else {
            self.b.ins().f64const(Ieee64::with_float(value))
        }
    }

    /// Goes on with `result` unless `doubt` holds, else with what `otherwise` computes in a cold block.
    fn unless(
        &mut self,
        doubt: Value,
        result: Value,
        otherwise: impl FnOnce(&mut Self) -> Result<Value, String>,
    ) -> Result<Value, String> {
        let (cold, done) = (self.cold_block(), self.b.create_block());
        let ty = self.b.func.dfg.value_type(result);
        let merged = self.b.append_block_param(done, ty);
        self.b.ins().brif(doubt, cold, &[], done, &[BlockArg::Value(result)]);
        self.b.switch_to_block(cold);
        let exact = otherwise(self)?;
        let exact = self.cast(exact, ty);
        self.b.ins().jump(done, &[BlockArg::Value(exact)]);
        self.b.switch_to_block(done);
        Ok(merged)
    }

    /// What `host` computes if `doubt` does not hold, else what `otherwise` computes in a cold block. The host's operation
    /// is not executed in doubt.
    fn if_else(
        &mut self,
        doubt: Value,
        otherwise: impl FnOnce(&mut Self) -> Result<Value, String>,
        host: impl FnOnce(&mut Self) -> Value,
    ) -> Result<Value, String> {
        let (cold, go_on, done) = (self.cold_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().brif(doubt, cold, &[], go_on, &[]);
        self.b.switch_to_block(go_on);
        let result = host(self);
        let ty = self.b.func.dfg.value_type(result);
        let merged = self.b.append_block_param(done, ty);
        self.b.ins().jump(done, &[BlockArg::Value(result)]);
        self.b.switch_to_block(cold);
        let exact = otherwise(self)?;
        let exact = self.cast(exact, ty);
        self.b.ins().jump(done, &[BlockArg::Value(exact)]);
        self.b.switch_to_block(done);
        Ok(merged)
    }

    /// A call of a vector helper by the host's operation. `Ok(None)` if there is no code for it.
    pub(super) fn float_vector_call(
        &mut self,
        host: HostFloat,
        id: HelperId,
        args: [Value; 3],
        imm: u32,
    ) -> Result<Option<Value>, String> {
        if host.op == FloatOp::Compare {
            let [a, b, _] = args.map(|v| self.lowest(v, host.lane));
            let unordered = self.b.ins().fcmp(FloatCC::Unordered, a, b);
            let nothing = self.constant_vector(0, 0);
            return self.unless(unordered, nothing, |l| l.call_vector(id, args, imm)).map(Some);
        }
        if host.lanes == 1 {
            let narrow = if host.op == FloatOp::Widen { Lane::S } else { host.lane };
            let operands = args.map(|v| self.lowest(v, narrow));
            let result_lane = if host.op == FloatOp::Narrow { Lane::S } else { host.lane };
            if let FloatOp::Min | FloatOp::Max = host.op {
                let [a, b, _] = operands;
                let unordered = self.b.ins().fcmp(FloatCC::Unordered, a, b);
                let result = self.if_else(
                    unordered,
                    |l| {
                        let v = l.call_vector(id, args, imm)?;
                        Ok(l.lowest(v, result_lane))
                    },
                    |l| l.extreme(host.op, a, b),
                )?;
                return Ok(Some(self.alone(result)));
            }
            let Some((result, doubt)) = self.scalar(host.op, operands) else { return Ok(None) };
            let Some(doubt) = self.doubt(result, doubt) else { return Ok(Some(self.alone(result))) };
            let result = self.unless(doubt, result, |l| {
                let v = l.call_vector(id, args, imm)?;
                Ok(l.lowest(v, result_lane))
            })?;
            return Ok(Some(self.alone(result)));
        }
        self.lanes_call(host, id, args, imm)
    }

    /// The lesser or greater of two numbers that are none of them NaNs. The host gives its second operand for two zeros:
    /// both orders together have the right sign.
    fn extreme(&mut self, op: FloatOp, a: Value, b: Value) -> Value {
        let less = self.b.ins().fcmp(FloatCC::LessThan, a, b);
        let more = self.b.ins().fcmp(FloatCC::LessThan, b, a);
        if op == FloatOp::Min {
            let (x, y) = (self.b.ins().select(less, a, b), self.b.ins().select(more, b, a));
            self.b.ins().bor(x, y)
        } else {
            let (x, y) = (self.b.ins().select(more, a, b), self.b.ins().select(less, b, a));
            self.b.ins().band(x, y)
        }
    }

    /// An operation on numbers or vectors of them, by their type.
    fn scalar(&mut self, op: FloatOp, [a, b, c]: [Value; 3]) -> Option<(Value, Doubt)> {
        let ins = |l: &mut Self, f: fn(cranelift_frontend::FuncInstBuilder<'_, '_>, Value, Value) -> Value| {
            f(l.b.ins(), a, b)
        };
        Some(match op {
            FloatOp::Add => (ins(self, |i, a, b| i.fadd(a, b)), Doubt::Nan),
            FloatOp::Sub => (ins(self, |i, a, b| i.fsub(a, b)), Doubt::Nan),
            FloatOp::AbsDifference => {
                let difference = self.b.ins().fsub(a, b);
                (self.b.ins().fabs(difference), Doubt::Nan)
            }
            FloatOp::Mul => (ins(self, |i, a, b| i.fmul(a, b)), Doubt::Tiny),
            FloatOp::NegMul => {
                let product = self.b.ins().fmul(a, b);
                (self.b.ins().fneg(product), Doubt::Tiny)
            }
            FloatOp::Div => (ins(self, |i, a, b| i.fdiv(a, b)), Doubt::Tiny),
            FloatOp::Sqrt => (self.b.ins().sqrt(a), Doubt::Nan),
            FloatOp::MulAdd => (self.b.ins().fma(b, c, a), Doubt::Tiny),
            FloatOp::MulSub => {
                let b = self.b.ins().fneg(b);
                (self.b.ins().fma(b, c, a), Doubt::Tiny)
            }
            FloatOp::NegMulAdd => {
                let (b, a) = (self.b.ins().fneg(b), self.b.ins().fneg(a));
                (self.b.ins().fma(b, c, a), Doubt::Tiny)
            }
            FloatOp::NegMulSub => {
                let a = self.b.ins().fneg(a);
                (self.b.ins().fma(b, c, a), Doubt::Tiny)
            }
            FloatOp::Widen => (self.b.ins().fpromote(F64, a), Doubt::Nan),
            FloatOp::Narrow => (self.b.ins().fdemote(F32, a), Doubt::Tiny),
            _ => return None,
        })
    }

    /// Whether the helper must decide about a number or any lane of a vector.
    fn doubt(&mut self, result: Value, doubt: Doubt) -> Option<Value> {
        let ty = self.b.func.dfg.value_type(result);
        let single = ty.lane_type() == F32;
        if matches!(doubt, Doubt::No) {
            return None;
        }
        if !ty.is_vector() {
            if matches!(doubt, Doubt::Nan) {
                return Some(self.b.ins().fcmp(FloatCC::Unordered, result, result));
            }
            let (ones, smallest) = if single {
                let ones = self.b.ins().f32const(Ieee32::with_bits(u32::MAX >> 1));
                (ones, f32::MIN_POSITIVE.into())
            } else {
                (self.b.ins().f64const(Ieee64::with_bits(u64::MAX >> 1)), f64::MIN_POSITIVE)
            };
            let magnitude = self.b.ins().band(result, ones);
            let smallest = self.number(ty, smallest);
            return Some(self.b.ins().fcmp(FloatCC::UnorderedOrEqual, magnitude, smallest));
        }
        let unordered = self.b.ins().fcmp(FloatCC::Unordered, result, result);
        if matches!(doubt, Doubt::Nan) {
            return Some(self.b.ins().vany_true(unordered));
        }
        let repeat = |bits: u32| u64::from(bits) << 32 | u64::from(bits);
        let (ones, smallest, ints) = if single {
            (repeat(u32::MAX >> 1), repeat(f32::MIN_POSITIVE.to_bits()), I32X4)
        } else {
            (u64::MAX >> 1, f64::MIN_POSITIVE.to_bits(), I64X2)
        };
        let (ones, smallest) = (self.constant_vector(ones, ones), self.constant_vector(smallest, smallest));
        let bits = self.cast(result, I8X16);
        let magnitude = self.b.ins().band(bits, ones);
        let (magnitude, smallest) = (self.cast(magnitude, ints), self.cast(smallest, ints));
        let tiny = self.b.ins().icmp(IntCC::Equal, magnitude, smallest);
        let unordered = self.cast(unordered, ints);
        let any = self.b.ins().bor(tiny, unordered);
        Some(self.b.ins().vany_true(any))
    }

    /// The lanes of a vector that take part, zeros in the others, or ones (1.0) for a divisor.
    fn part(&mut self, v: Value, host: HostFloat, divisor: bool) -> Value {
        let (_, vector) = types(host.lane);
        if host.lane == Lane::D || host.lanes == 4 {
            return self.cast(v, vector);
        }
        let keep = self.constant_vector(u64::MAX, 0);
        let mut v = self.cast(v, I8X16);
        v = self.b.ins().band(v, keep);
        if divisor {
            let ones = self.constant_vector(0, 0x3f80_0000_3f80_0000);
            v = self.b.ins().bor(v, ones);
        }
        self.cast(v, vector)
    }

    /// An operation on several lanes.
    fn lanes_call(
        &mut self,
        host: HostFloat,
        id: HelperId,
        args: [Value; 3],
        imm: u32,
    ) -> Result<Option<Value>, String> {
        let (_, vector) = types(host.lane);
        let operands = [0, 1, 2].map(|n| self.part(args[n], host, n == 1 && host.op == FloatOp::Div));
        let [a, b, _] = operands;
        let (result, doubt) = match host.op {
            FloatOp::Widen | FloatOp::Narrow => return Ok(None),
            FloatOp::Min | FloatOp::Max => return Ok(None),
            op => {
                let Some((result, doubt)) = self.scalar(op, operands) else { return Ok(None) };
                (result, self.doubt(result, doubt))
            }
        };
        let _ = (a, b, vector);
        let result = self.cast(result, I8X16);
        match doubt {
            None => Ok(Some(result)),
            Some(doubt) => self.unless(doubt, result, |l| l.call_vector(id, args, imm)).map(Some),
        }
    }

    /// A call of an integer helper by the host's operation: conversions between numbers and integers.
    pub(super) fn float_call(&mut self, host: HostFloat, args: &[Value]) -> Option<Value> {
        let _ = (host, args);
        None
    }
}
