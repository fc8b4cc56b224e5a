//! Floating point on the host's unit, where `float.rs` of this crate says that a helper's call amounts to it.
//!
//! Numbers of scalar operations stay in vector registers: the lowest lane of a guest's vector is looked at as a float for
//! free. A scalar operation clears the other lanes of its result, which takes an instruction or two; so most of them are
//! done as operations on vectors whose other lanes are zero, and so are the result's. Such operands are what loads and
//! other scalar operations give; a register of unknown origin is cleared of other lanes first. Cases in which the host
//! differs from the guest's architecture go to a cold block that calls the helper:
//! - a NaN result: its sign and payload;
//! - a result of the smallest normal magnitude: it may have been rounded up to that from below, and guests that detect
//!   tininess before rounding raise underflow then;
//! - a NaN operand of a minimum or maximum, which are invalid on the host;
//! - an integer out of range.
//!
//! A guest whose floating point is the host's has none of these but the last: the operands keep their order, so a NaN is
//! the right one. Its scalar operations leave the other lanes, too, which is one instruction where the whole vector matters
//! and none where only the number does.

use super::lower::{Lower, vector};
use super::slow;
use crate::float::{FloatOp, HostFloat, ToIntegral};
use crate::frontend::{Frontend, Func};
use crate::ir::{FloatCond, HelperId, Lane, Op, Terminal, VBinary, Val};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{F32, F32X4, F64, F64X2, I8X16, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Opcode, Signature, Type, Value};
use cranelift_codegen::isa::CallConv;
use std::collections::{HashMap, HashSet};

/// What is known of values that scalars are in.
#[derive(Default)]
pub(super) struct Floats {
    /// The numbers in the lowest lanes of vectors.
    lowest: HashMap<Value, Value>,
    /// The numbers whose bits integers are.
    of_bits: HashMap<Value, Value>,
    /// Vectors of a number and zeros, as floats of the type, by the same vector as bytes or by the number.
    clean: HashMap<(Value, Type), Value>,
    /// Vectors cleared of all but the lowest lane in the present block.
    cleared: HashMap<(Value, Type), Value>,
    /// What vectors were before their lowest lane, of this size, was replaced.
    under: HashMap<Value, (Value, Lane)>,
    /// Numbers that are computed where they come from, not where they are used first.
    computed: HashSet<Value>,
}

impl Floats {
    /// Another block begins.
    pub(super) fn begin(&mut self) {
        self.cleared.clear();
    }
}

/// How many operands an operation has that is the same on vectors of zeros above the lowest lane: zeros are the result
/// there, too, for a divisor with ones there.
fn whole(op: FloatOp) -> Option<usize> {
    match op {
        FloatOp::Sqrt | FloatOp::Integral(_, true) => Some(1),
        FloatOp::Add | FloatOp::Sub | FloatOp::Mul | FloatOp::Div | FloatOp::AbsDifference => Some(2),
        FloatOp::MulAdd | FloatOp::MulSub | FloatOp::NegMulSub => Some(3),
        _ => None,
    }
}

/// The floating-point type of a lane, alone and as a vector.
fn types(lane: Lane) -> (Type, Type) {
    if lane == Lane::S { (F32, F32X4) } else { (F64, F64X2) }
}

/// Whether the host has an operation without calling a library.
fn available(op: FloatOp) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let fused = matches!(op, FloatOp::MulAdd | FloatOp::MulSub | FloatOp::NegMulAdd | FloatOp::NegMulSub);
        std::arch::is_x86_feature_detected!("sse4.1") && (!fused || std::arch::is_x86_feature_detected!("fma"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = op;
        false
    }
}

/// When the helper decides.
enum Doubt {
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
        if let Some(v) = self.floats.clean.get(&(number, vector)) {
            return self.of_clean(*v);
        }
        let floats = self.b.ins().scalar_to_vector(vector, number);
        if !F::NATIVE_FLOAT {
            return self.of_clean(floats);
        }
        // The vector itself is rarely wanted: the other lanes stay as they are.
        self.of_number(floats, number)
    }

    /// The bytes of a vector of floats that are zeros but for the lowest.
    fn of_clean(&mut self, floats: Value) -> Value {
        let number = self.number_in(floats);
        self.of_number(floats, number)
    }

    /// The bytes of a vector of this number and zeros.
    fn of_number(&mut self, floats: Value, number: Value) -> Value {
        let ty = self.b.func.dfg.value_type(floats);
        let v = self.cast(floats, I8X16);
        self.floats.clean.insert((v, ty), floats);
        self.floats.clean.insert((number, ty), floats);
        self.floats.lowest.insert(v, number);
        v
    }

    /// The lowest of a vector of floats, all others of which are zeros.
    pub(super) fn number_in(&mut self, floats: Value) -> Value {
        let ty = self.b.func.dfg.value_type(floats);
        let number = self.b.ins().extractlane(floats, 0);
        self.floats.clean.insert((number, ty), floats);
        number
    }

    /// A vector as floats, if it is known that all but the lowest are zeros.
    fn known_clean(&self, v: Value, lane: Lane) -> Option<Value> {
        let key = (v, types(lane).1);
        self.floats.clean.get(&key).or_else(|| self.floats.cleared.get(&key)).copied()
    }

    /// A vector as floats with all but the lowest cleared.
    fn cleared(&mut self, v: Value, lane: Lane) -> Value {
        if let Some(known) = self.known_clean(v, lane) {
            return known;
        }
        let (_, ty) = types(lane);
        // Not by a mask: constants are moved out of loops, and spilled.
        let number = self.lowest(v, lane);
        let floats = self.b.ins().scalar_to_vector(ty, number);
        self.floats.cleared.insert((v, ty), floats);
        floats
    }

    /// Notes of a vector of bytes that those above the lowest lane are zeros.
    fn note_clean(&mut self, v: Value, lane: Lane) {
        let (_, ty) = types(lane);
        let floats = self.cast(v, ty);
        self.floats.clean.insert((v, ty), floats);
    }

    /// The vector constant `low`, `high`.
    pub(super) fn vector_constant(&mut self, low: u64, high: u64) -> Value {
        let v = self.constant_vector(low, high);
        if high == 0 {
            self.note_clean(v, Lane::D);
        }
        if high == 0 && low >> 32 == 0 {
            self.note_clean(v, Lane::S);
        }
        v
    }

    /// Notes what is known of the result of a bitwise operation: a number's sign is changed by these.
    pub(super) fn note_bitwise(&mut self, op: VBinary, a: Val, b: Val, result: Value) {
        for lane in [Lane::S, Lane::D] {
            let [x, y] = [a, b].map(|v| self.known_clean(self.v(v), lane).is_some());
            let clean = match op {
                VBinary::And => x || y,
                VBinary::Or | VBinary::Xor => x && y,
                VBinary::AndNot => x,
                _ => false,
            };
            if clean {
                self.note_clean(result, lane);
            }
        }
    }

    /// An operation on vectors of a number and zeros each, if it can be done like that at no cost.
    fn whole_call(
        &mut self,
        host: HostFloat,
        id: HelperId,
        args: [Value; 3],
        imm: u32,
    ) -> Result<Option<Value>, String> {
        let Some(count) = whole(host.op) else { return Ok(None) };
        let mut unknown: Vec<Value> =
            args[..count].iter().copied().filter(|v| self.known_clean(*v, host.lane).is_none()).collect();
        unknown.dedup();
        // Clearing two would cost as much as clearing the result, which a guest whose other lanes stay does not want.
        if unknown.len() > if F::NATIVE_FLOAT { 0 } else { 1 } {
            return Ok(None);
        }
        let mut operands = args.map(|v| v);
        for operand in &mut operands[..count] {
            *operand = self.cleared(*operand, host.lane);
        }
        if host.op == FloatOp::Div {
            let ones = match host.lane {
                Lane::S => self.constant_vector(0x3f80_0000 << 32, 0x3f80_0000_3f80_0000),
                _ => self.constant_vector(0, 1f64.to_bits()),
            };
            let divisor = self.cast(operands[1], I8X16);
            let divisor = self.b.ins().bor(divisor, ones);
            operands[1] = self.cast(divisor, types(host.lane).1);
        }
        let Some((result, doubt)) = self.arithmetic(host.op, operands) else { return Ok(None) };
        let number = self.b.ins().extractlane(result, 0);
        let doubts = self.doubt(number, doubt);
        let result = self.unless(&doubts, result, |l| l.exactly(id, args, imm))?;
        Ok(Some(self.of_clean(result)))
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

    /// Notes that an integer has the low bits of another, extended or cut: they are those of the same number.
    pub(super) fn same_bits(&mut self, of: Value, integer: Value) {
        if let Some(number) = self.floats.of_bits.get(&of).copied()
            && self.b.func.dfg.value_type(integer).bytes() >= self.b.func.dfg.value_type(number).bytes()
        {
            self.floats.of_bits.insert(integer, number);
        }
    }

    /// The number whose bits are stored, if the integer of this type is one.
    pub(super) fn stored_number(&self, integer: Value) -> Option<Value> {
        let number = self.floats.of_bits.get(&integer).copied()?;
        let [a, b] = [integer, number].map(|v| self.b.func.dfg.value_type(v).bytes());
        (a == b).then_some(number)
    }

    /// Sees to it that the number whose bits are stored next is computed here. The code generator computes late: on the hot
    /// and on the cold way of the store, and once more where the number is used after it. So the number is stored twice,
    /// which is cheaper.
    pub(super) fn compute_number(&mut self, integer: Value) {
        let Some(number) = self.stored_number(integer) else { return };
        let dfg = &self.b.func.dfg;
        let computes = |inst| {
            use Opcode::{Fadd, Fdemote, Fdiv, Fma, Fmul, Fpromote, Fsub, Sqrt};
            matches!(dfg.insts[inst].opcode(), Fadd | Fdemote | Fdiv | Fma | Fmul | Fpromote | Fsub | Sqrt)
        };
        if dfg.value_def(number).inst().is_some_and(computes) && self.floats.computed.insert(number) {
            self.b.ins().store(self.own, number, self.env, Self::vector_field(2));
        }
    }

    /// Whether what operation `at` loads goes into the lowest lane of a vector of zeros: the type to load it in then.
    pub(super) fn loaded_number(&self, at: usize) -> Option<Type> {
        let ops = &self.ir().ops;
        let goes = |op: &Op| match *op {
            Op::Insert(lane, _, 0, v) if v.0 as usize == at => Some(lane),
            _ => None,
        };
        let lane = ops[at + 1..].iter().take(3).find_map(goes)?;
        matches!(lane, Lane::S | Lane::D).then(|| types(lane).0)
    }

    /// A number just loaded as a vector of it and zeros, which costs nothing.
    pub(super) fn loaded_vector(&mut self, number: Value) -> Value {
        let (_, vector) = types(if self.b.func.dfg.value_type(number) == F32 { Lane::S } else { Lane::D });
        self.b.ins().scalar_to_vector(vector, number)
    }

    /// The integer that was loaded as a number, which is in a vector with zeros.
    pub(super) fn loaded_bits(&mut self, floats: Value) -> Value {
        let number = self.number_in(floats);
        self.bits_of(number)
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
        let into_zero = matches!(self.ir().ops[v.0 as usize], Op::ConstV(0, 0));
        let a = self.v(a);
        if n == 0 && into_zero && matches!(lane, Lane::S | Lane::D) {
            if let Some(number) = self.floats.of_bits.get(&a).copied() {
                return self.alone(number);
            }
            let v = self.b.ins().scalar_to_vector(vector(lane), a);
            let v = self.cast(v, I8X16);
            self.note_clean(v, lane);
            return v;
        }
        if n == 0
            && let Some(number) = self.floats.of_bits.get(&a).copied()
            && self.b.func.dfg.value_type(number) == types(lane).0
        {
            let old = self.v(v);
            if self.known_clean(old, lane).is_some() {
                return self.alone(number);
            }
            let old = match self.floats.under.get(&old) {
                Some((under, above)) if *above == lane => *under,
                _ => self.cast(old, types(lane).1),
            };
            let merged = self.b.ins().insertlane(old, number, 0);
            let merged = self.cast(merged, I8X16);
            self.floats.lowest.insert(merged, number);
            self.floats.under.insert(merged, (old, lane));
            return merged;
        }
        let v = self.lanes(v, lane);
        let v = self.b.ins().insertlane(v, a, n);
        self.cast(v, I8X16)
    }

    /// [`Op::FloatCmp`], operation `at`.
    pub(super) fn float_compare(&mut self, at: usize, cond: FloatCond, lane: Lane, a: Val, b: Val) -> Value {
        let (a, b) = (self.v(a), self.v(b));
        let (a, b) = (self.lowest(a, lane), self.lowest(b, lane));
        let own = std::ptr::eq(self.ops, self.member.ir.ops.as_slice());
        let branches = matches!(self.ir().end, Some(Terminal::Branch(v, ..)) if v.0 as usize == at);
        if own && branches {
            // Written the other way round than the flags: one value for both would be made outside the branch.
            let cond = match cond {
                FloatCond::Eq => FloatCC::Equal,
                FloatCond::Ne => FloatCC::NotEqual,
                FloatCond::Lt => FloatCC::GreaterThan,
                FloatCond::Nlt => FloatCC::UnorderedOrLessThanOrEqual,
                FloatCond::Le => FloatCC::GreaterThanOrEqual,
                FloatCond::Nle => FloatCC::UnorderedOrLessThan,
                FloatCond::Un => FloatCC::Unordered,
                FloatCond::Ord => FloatCC::Ordered,
            };
            return self.b.ins().fcmp(cond, b, a);
        }
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

    /// The host's operation for the helper's call that is operation `at`, if there is one and the block's environment
    /// allows it.
    pub(super) fn host_float(&self, at: usize, helper: HelperId, imm: Option<u64>) -> Option<HostFloat> {
        let helper = &self.shared.helpers[usize::from(helper.0)];
        let touches = helper.reads_slots || helper.writes_slots || helper.raises;
        let host = helper.host.filter(|_| self.ir().host_float && !touches)?;
        let host = host(imm? as u32).filter(|host| available(host.op))?;
        let unchecked = F::NATIVE_FLOAT && host.op != FloatOp::Compare
            || match host.op {
                FloatOp::Eq | FloatOp::Unordered | FloatOp::Ge | FloatOp::Gt | FloatOp::AbsGe | FloatOp::AbsGt => true,
                FloatOp::ToInt(..) | FloatOp::FromInt(..) => host.lanes > 1,
                _ => false,
            };
        (!unchecked || self.is_used(at)).then_some(host)
    }

    /// Whether what the block does to its end depends on operation `at`. A register that is set again does not count: only
    /// cold paths look at it.
    fn is_used(&self, at: usize) -> bool {
        let ops = &self.ir().ops;
        let mut depends = vec![false; ops.len()];
        depends[at] = true;
        let mut registers: Vec<u16> = Vec::new();
        for (n, op) in ops.iter().enumerate().skip(at + 1) {
            let mut uses = false;
            op.operands(|v| uses |= depends[v.0 as usize]);
            match op {
                Op::Set(slot, _) => {
                    registers.retain(|register| *register != slot.0);
                    if uses {
                        registers.push(slot.0);
                    }
                }
                Op::Get(slot) => depends[n] = registers.contains(&slot.0),
                op if uses && !op.is_pure() => return true,
                _ => depends[n] = uses,
            }
        }
        let ends =
            matches!(self.ir().end, Some(Terminal::Branch(v, ..) | Terminal::Indirect(v)) if depends[v.0 as usize]);
        ends || registers.into_iter().any(|register| self.is_needed_after(register))
    }

    /// Whether the region may read a register's value after this block, or leave with it on a way that is not cold.
    fn is_needed_after(&self, register: u16) -> bool {
        let out = match self.ir().end {
            Some(Terminal::Jump(_)) => self.member.inner[0].is_none(),
            Some(Terminal::Branch(..)) => self.member.inner.contains(&None),
            _ => true,
        };
        let live = |n| self.member.next().any(|to| self.region.members[to].live.has(n));
        out || self.region.number(register).is_none_or(live)
    }

    fn number(&mut self, ty: Type, value: f64) -> Value {
        if ty == F32 {
            self.b.ins().f32const(Ieee32::with_float(value as f32))
        } else {
            self.b.ins().f64const(Ieee64::with_float(value))
        }
    }

    /// Calls a vector helper on a cold path.
    fn exactly(&mut self, id: HelperId, args: [Value; 3], imm: u32) -> Result<Value, String> {
        let Func::V(function) = self.shared.helpers[usize::from(id.0)].func else {
            return Err("an integer helper called with vectors".into());
        };
        for (n, arg) in args.into_iter().enumerate() {
            let arg = self.cast(arg, I8X16);
            self.set_vector(n, arg);
        }
        let imm = self.imm(imm.into());
        self.call_slow(function as *const () as usize, &[imm]);
        Ok(self.vector_result())
    }

    /// The call of a vector helper that is operation `at`, by what the host has for it.
    pub(super) fn host_vector_call(
        &mut self,
        at: usize,
        id: HelperId,
        args: [Value; 3],
        imm: u32,
    ) -> Result<Option<Value>, String> {
        if let Some(function) = self.shared.helpers[usize::from(id.0)].function.and_then(|function| function()) {
            let [a, b, _] = args.map(|v| self.cast(v, I8X16));
            return Ok(Some(self.plain_call(function, &[a, b])));
        }
        match self.host_float(at, id, Some(imm.into())) {
            Some(host) => self.float_vector_call(host, id, args, imm),
            None => Ok(None),
        }
    }

    /// A call of a vector helper by the host's operation. `Ok(None)` if there is no code for it.
    fn float_vector_call(
        &mut self,
        host: HostFloat,
        id: HelperId,
        args: [Value; 3],
        imm: u32,
    ) -> Result<Option<Value>, String> {
        if host.op == FloatOp::Compare {
            let [a, b, _] = args.map(|v| self.lowest(v, host.lane));
            // The other way round than V.
            let unordered = self.b.ins().fcmp(FloatCC::Unordered, b, a);
            let nothing = self.constant_vector(0, 0);
            return self.unless(&[unordered], nothing, |l| l.exactly(id, args, imm)).map(Some);
        }
        if host.lanes == 1 {
            let narrow = if host.op == FloatOp::Widen { Lane::S } else { host.lane };
            let operands = args.map(|v| self.lowest(v, narrow));
            let result_lane = if host.op == FloatOp::Narrow { Lane::S } else { host.lane };
            if let FloatOp::Min | FloatOp::Max = host.op {
                let [a, b, _] = operands;
                let unordered = self.b.ins().fcmp(FloatCC::Unordered, a, b);
                let result = self.if_else(
                    &[unordered],
                    |l| {
                        let v = l.exactly(id, args, imm)?;
                        Ok(l.lowest(v, result_lane))
                    },
                    |l| l.extreme(host.op, a, b),
                )?;
                return Ok(Some(self.alone(result)));
            }
            match host.op {
                FloatOp::Integral(_, false) => return self.lanes_call(host, id, args, imm),
                // Only the host's comparisons of vectors raise what is asked for.
                FloatOp::Eq | FloatOp::Unordered | FloatOp::Ge | FloatOp::Gt | FloatOp::AbsGe | FloatOp::AbsGt => {
                    return self.lanes_call(host, id, args, imm);
                }
                FloatOp::FromInt(signed, _) => {
                    let bits = self.bits_of(operands[0]);
                    let number = self.of_integer(bits, signed, host.lane);
                    let exactly = |l: &mut Self| {
                        let v = l.exactly(id, args, imm)?;
                        Ok(l.lowest(v, host.lane))
                    };
                    let number = self.kept(number, exactly)?;
                    return Ok(Some(self.alone(number)));
                }
                FloatOp::ToInt(rounding, signed, _) => {
                    let bits = host.lane.ty().bits() as u8;
                    let exactly = |l: &mut Self| {
                        let v = l.exactly(id, args, imm)?;
                        let v = l.cast(v, vector(host.lane));
                        Ok(l.b.ins().extractlane(v, 0))
                    };
                    let integer = self.integer_of(operands[0], rounding, signed, bits, exactly)?;
                    let v = self.b.ins().scalar_to_vector(vector(host.lane), integer);
                    return Ok(Some(self.cast(v, I8X16)));
                }
                _ => {}
            }
            if let Some(v) = self.whole_call(host, id, args, imm)? {
                return Ok(Some(v));
            }
            let Some((result, doubt)) = self.arithmetic(host.op, operands) else { return Ok(None) };
            let doubts = self.doubt(result, doubt);
            let result = self.unless(&doubts, result, |l| {
                let v = l.exactly(id, args, imm)?;
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

    fn is_load(&self, v: Value) -> bool {
        let dfg = &self.b.func.dfg;
        dfg.value_def(v).inst().is_some_and(|inst| dfg.insts[inst].opcode().can_load())
    }

    /// An operation on numbers or vectors of them, by their type.
    fn arithmetic(&mut self, op: FloatOp, [a, b, c]: [Value; 3]) -> Option<(Value, Doubt)> {
        use FloatOp::{MulAdd, MulSub, NegMulAdd, NegMulSub};
        if F::NATIVE_FLOAT {
            debug_assert!(!self.is_load(a), "the code generator exchanges operands if one is loaded");
        }
        // The host prefers the NaN of the second factor, in the form that the code generator takes (213), then the first's.
        let (b, c) =
            if F::NATIVE_FLOAT && matches!(op, MulAdd | MulSub | NegMulAdd | NegMulSub) { (c, b) } else { (b, c) };
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
            FloatOp::Integral(rounding, true) => (self.rounded(a, rounding), Doubt::Nan),
            _ => return None,
        })
    }

    /// When the helper must decide about a number or any lane of a vector: if one of these conditions holds.
    fn doubt(&mut self, result: Value, doubt: Doubt) -> Vec<Value> {
        if F::NATIVE_FLOAT {
            return Vec::new();
        }
        let ty = self.b.func.dfg.value_type(result);
        let smallest = if ty.lane_type() == F32 { f32::MIN_POSITIVE.into() } else { f64::MIN_POSITIVE };
        if !ty.is_vector() {
            return match doubt {
                Doubt::Nan => vec![self.b.ins().fcmp(FloatCC::Unordered, result, result)],
                Doubt::Tiny => {
                    // The magnitude by way of vectors: a constant of theirs is an operand in memory.
                    let (lane, wide) = if ty == F32 { (Lane::S, F32X4) } else { (Lane::D, F64X2) };
                    let ones = self.constant_lanes(lane, lane.ty().mask() >> 1);
                    let v = self.b.ins().scalar_to_vector(wide, result);
                    let bits = self.cast(v, vector(lane));
                    let magnitude = self.b.ins().band(bits, ones);
                    let magnitude = self.cast(magnitude, wide);
                    let magnitude = self.b.ins().extractlane(magnitude, 0);
                    let bound = self.number(ty, smallest);
                    vec![self.b.ins().fcmp(FloatCC::UnorderedOrEqual, magnitude, bound)]
                }
            };
        }
        let mut any = self.b.ins().fcmp(FloatCC::Unordered, result, result);
        if matches!(doubt, Doubt::Tiny) {
            let (lane, smallest) = if ty == F32X4 {
                (Lane::S, u64::from(f32::MIN_POSITIVE.to_bits()))
            } else {
                (Lane::D, f64::MIN_POSITIVE.to_bits())
            };
            let (ones, smallest) =
                (self.constant_lanes(lane, lane.ty().mask() >> 1), self.constant_lanes(lane, smallest));
            let bits = self.cast(result, vector(lane));
            let magnitude = self.b.ins().band(bits, ones);
            let tiny = self.b.ins().icmp(IntCC::Equal, magnitude, smallest);
            any = self.b.ins().bor(any, tiny);
        }
        vec![self.b.ins().vany_true(any)]
    }

    /// The lanes of a vector that take part, zeros in the others, or ones (1.0) for a divisor.
    fn part(&mut self, v: Value, host: HostFloat, divisor: bool) -> Value {
        let (_, ty) = types(host.lane);
        let keep = match (host.lane, host.lanes) {
            (Lane::D, 2) | (Lane::S, 4) => return self.cast(v, ty),
            (Lane::S, 1) => u32::MAX.into(),
            _ => u64::MAX,
        };
        let keep = self.constant_vector(keep, 0);
        let mut v = self.cast(v, I8X16);
        v = self.b.ins().band(v, keep);
        if divisor {
            let ones = self.constant_vector(0, 0x3f80_0000_3f80_0000);
            v = self.b.ins().bor(v, ones);
        }
        self.cast(v, ty)
    }

    /// An operation on several lanes.
    fn lanes_call(
        &mut self,
        host: HostFloat,
        id: HelperId,
        args: [Value; 3],
        imm: u32,
    ) -> Result<Option<Value>, String> {
        let operands = [0, 1, 2].map(|n| self.part(args[n], host, n == 1 && host.op == FloatOp::Div));
        let [a, b, _] = operands;
        let (result, doubts) = match host.op {
            FloatOp::Min | FloatOp::Max => {
                let unordered = self.b.ins().fcmp(FloatCC::Unordered, a, b);
                let unordered = self.b.ins().vany_true(unordered);
                let exactly = |l: &mut Self| l.exactly(id, args, imm);
                let host = |l: &mut Self| {
                    let result = l.extreme_lanes(host.op, a, b);
                    l.cast(result, I8X16)
                };
                return self.if_else(&[unordered], exactly, host).map(Some);
            }
            // Comparisons of vectors for order are invalid for quiet NaNs on the host as well, that for equality is not.
            FloatOp::Eq => (self.b.ins().fcmp(FloatCC::Equal, a, b), None),
            FloatOp::Unordered => (self.b.ins().fcmp(FloatCC::Unordered, a, b), None),
            FloatOp::Ge => (self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, a, b), None),
            FloatOp::Gt => (self.b.ins().fcmp(FloatCC::GreaterThan, a, b), None),
            FloatOp::AbsGe | FloatOp::AbsGt => {
                let (a, b) = (self.b.ins().fabs(a), self.b.ins().fabs(b));
                let ge = host.op == FloatOp::AbsGe;
                (self.b.ins().fcmp(if ge { FloatCC::GreaterThanOrEqual } else { FloatCC::GreaterThan }, a, b), None)
            }
            FloatOp::FromInt(signed, _) => {
                let a = self.cast(a, vector(host.lane));
                let (_, ty) = types(host.lane);
                (if signed { self.b.ins().fcvt_from_sint(ty, a) } else { self.b.ins().fcvt_from_uint(ty, a) }, None)
            }
            FloatOp::ToInt(ToIntegral::Zero, true, _) if host.lane == Lane::S => {
                // The host gives this for what is out of range, too.
                let result = self.b.ins().x86_cvtt2dq(I32X4, a);
                let least = self.constant_vector(0x8000_0000_8000_0000, 0x8000_0000_8000_0000);
                let least = self.cast(least, I32X4);
                let doubtful = self.b.ins().icmp(IntCC::Equal, result, least);
                (result, Some(vec![self.b.ins().vany_true(doubtful)]))
            }
            FloatOp::ToInt(ToIntegral::Zero, true, _) => {
                let ints = [0, 1].map(|n| {
                    let number = self.b.ins().extractlane(a, n);
                    self.b.ins().fcvt_to_sint_sat(I64, number)
                });
                let low = self.b.ins().scalar_to_vector(I64X2, ints[0]);
                (self.b.ins().insertlane(low, ints[1], 1), None)
            }
            FloatOp::Integral(rounding, false) => {
                let function = slow::round(host.lane == Lane::S, rounding);
                let result = self.plain_call(function, &[a]);
                (result, Some(self.doubt(result, Doubt::Nan)))
            }
            FloatOp::Widen => {
                let a = self.cast(a, F32X4);
                let result = self.b.ins().fvpromote_low(a);
                (result, Some(self.doubt(result, Doubt::Nan)))
            }
            FloatOp::Narrow => {
                let result = self.b.ins().fvdemote(a);
                (result, Some(self.doubt(result, Doubt::Tiny)))
            }
            op => {
                let Some((result, doubt)) = self.arithmetic(op, operands) else { return Ok(None) };
                (result, Some(self.doubt(result, doubt)))
            }
        };
        let mut result = self.cast(result, I8X16);
        if matches!(host.op, FloatOp::Eq | FloatOp::Ge | FloatOp::AbsGe) {
            // The zeros above are equal.
            result = self.part(result, host, false);
            result = self.cast(result, I8X16);
        }
        match doubts {
            None => Ok(Some(result)),
            Some(doubts) => self.unless(&doubts, result, |l| l.exactly(id, args, imm)).map(Some),
        }
    }

    /// Calls a host function of vectors that knows no environment.
    pub(super) fn plain_call(&mut self, function: usize, args: &[Value]) -> Value {
        let types: Vec<Type> = args.iter().map(|arg| self.b.func.dfg.value_type(*arg)).collect();
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.extend(types.iter().map(|ty| AbiParam::new(*ty)));
        signature.returns.push(AbiParam::new(types[0]));
        let signature = self.b.import_signature(signature);
        let function = self.b.ins().iconst(I64, function as i64);
        let call = self.b.ins().call_indirect(signature, function, args);
        self.b.inst_results(call)[0]
    }

    /// As [`extreme`](Self::extreme), of vectors.
    fn extreme_lanes(&mut self, op: FloatOp, a: Value, b: Value) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        let mut pick = |x: Value, y: Value| {
            let (p, q) = if op == FloatOp::Min { (x, y) } else { (y, x) };
            let chosen = self.b.ins().fcmp(FloatCC::LessThan, p, q);
            let chosen = self.cast(chosen, ty);
            self.b.ins().bitselect(chosen, x, y)
        };
        let (x, y) = (pick(a, b), pick(b, a));
        if op == FloatOp::Min { self.b.ins().bor(x, y) } else { self.b.ins().band(x, y) }
    }

    fn rounded(&mut self, number: Value, rounding: ToIntegral) -> Value {
        match rounding {
            ToIntegral::Nearest => self.b.ins().nearest(number),
            ToIntegral::Down => self.b.ins().floor(number),
            ToIntegral::Up => self.b.ins().ceil(number),
            ToIntegral::Zero => self.b.ins().trunc(number),
        }
    }

    /// A number as an integer of 32 or 64 bits, and whether the helper must decide instead, which the host's conversion
    /// must then not even try.
    ///
    /// Signed conversions saturate, give 0 for a NaN and raise exactly what the guest's do, if one instruction rounds. If
    /// two do, a number that is rounded out of range would be inexact on the host.
    fn range(&mut self, number: Value, rounding: ToIntegral, signed: bool, bits: u8) -> Option<Vec<Value>> {
        let ty = self.b.func.dfg.value_type(number);
        let bounds = match (signed, bits, rounding) {
            (true, _, ToIntegral::Zero) | (true, 64, _) => return None,
            (true, _, _) if ty == F32 => return None,
            (true, _, _) => (-2147483648.0, 2147483647.0),
            (false, 32, ToIntegral::Zero) => (0.0, 4294967296.0),
            (false, 32, _) => (0.0, 2147483648.0),
            (false, _, _) => (0.0, 9223372036854775808.0),
        };
        if F::NATIVE_FLOAT && signed {
            // By the magnitude's bits, as those are ordered.
            let number = self.bits_as(I64, number);
            let twice = self.b.ins().iadd(number, number);
            let high = self.b.ins().iconst(I64, (f64::to_bits(bounds.1) << 1) as i64);
            return Some(vec![self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, twice, high)]);
        }
        let (low, high) = (self.number(ty, bounds.0), self.number(ty, bounds.1));
        // Written so that a NaN is out of range.
        let below = self.b.ins().fcmp(FloatCC::UnorderedOrLessThan, number, low);
        let above = self.b.ins().fcmp(FloatCC::UnorderedOrGreaterThanOrEqual, number, high);
        Some(vec![below, above])
    }

    /// A number as an integer of `bits` bits. The least integer is what the host gives for numbers out of range: it is
    /// left to the helper in any case, which keeps the conversion and its flags where they belong.
    fn integer_of(
        &mut self,
        number: Value,
        rounding: ToIntegral,
        signed: bool,
        bits: u8,
        exactly: impl Fn(&mut Self) -> Result<Value, String>,
    ) -> Result<Value, String> {
        let ty = if bits == 32 { I32 } else { I64 };
        let convert = |l: &mut Self| {
            let number = if rounding == ToIntegral::Zero { number } else { l.rounded(number, rounding) };
            let ty = if signed { ty } else { I64 };
            let integer = l.b.ins().fcvt_to_sint_sat(ty, number);
            let least = l.b.ins().icmp_imm_s(IntCC::Equal, integer, if ty == I32 { i32::MIN.into() } else { i64::MIN });
            l.unless(&[least], integer, |l| {
                let exact = exactly(l)?;
                Ok(if l.b.func.dfg.value_type(exact) == ty { exact } else { l.b.ins().uextend(ty, exact) })
            })
        };
        let integer = match self.range(number, rounding, signed, bits) {
            None => return convert(self),
            Some(out) => {
                let narrow = |l: &mut Self, v: Value| {
                    if l.b.func.dfg.value_type(v) == ty { v } else { l.b.ins().ireduce(ty, v) }
                };
                self.try_if_else(&out, &exactly, |l| convert(l).map(|v| narrow(l, v)))?
            }
        };
        Ok(integer)
    }

    /// A number that is never a NaN, checked for being one all the same: a conversion whose result only cold
    /// paths look at would be made on them alone, and its flags be lost.
    fn kept(
        &mut self,
        number: Value,
        exactly: impl FnOnce(&mut Self) -> Result<Value, String>,
    ) -> Result<Value, String> {
        if F::NATIVE_FLOAT {
            return Ok(number);
        }
        let never = self.b.ins().fcmp(FloatCC::Unordered, number, number);
        self.unless(&[never], number, exactly)
    }

    fn of_integer(&mut self, integer: Value, signed: bool, lane: Lane) -> Value {
        let (ty, _) = types(lane);
        if signed { self.b.ins().fcvt_from_sint(ty, integer) } else { self.b.ins().fcvt_from_uint(ty, integer) }
    }

    /// A call of an integer helper by the host's operation: conversions between numbers and integers. `None` if there is
    /// no code for it.
    pub(super) fn float_call(
        &mut self,
        host: HostFloat,
        function: usize,
        args: &[Value],
    ) -> Result<Option<Value>, String> {
        let [operand, how] = *args else { return Ok(None) };
        let exactly = |l: &mut Self| {
            let function = l.imm(function as u64);
            l.call_slow(slow::call2::<F> as *const () as usize, &[function, operand, how]);
            Ok::<Value, String>(l.integer_result())
        };
        match host.op {
            FloatOp::ToInt(rounding, signed, bits) => {
                let number = self.number_of(operand, host.lane);
                let narrow = |l: &mut Self| {
                    let exact = exactly(l)?;
                    Ok(if bits == 32 { l.b.ins().ireduce(I32, exact) } else { exact })
                };
                let integer = self.integer_of(number, rounding, signed, bits, narrow)?;
                Ok(Some(if bits == 32 { self.b.ins().uextend(I64, integer) } else { integer }))
            }
            FloatOp::FromInt(signed, bits) => {
                let integer = if bits == 32 { self.b.ins().ireduce(I32, operand) } else { operand };
                let mut number = self.of_integer(integer, signed, host.lane);
                if bits == 64 || host.lane == Lane::S {
                    number = self.kept(number, |l| {
                        let exact = exactly(l)?;
                        Ok(l.number_of(exact, host.lane))
                    })?;
                }
                let bits = self.bits_of(number);
                if host.lane == Lane::D {
                    return Ok(Some(bits));
                }
                let wide = self.b.ins().uextend(I64, bits);
                self.floats.of_bits.insert(wide, number);
                Ok(Some(wide))
            }
            _ => Ok(None),
        }
    }
}
