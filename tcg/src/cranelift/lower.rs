//! From a block's IR to host code.

use super::slow;
use crate::cache;
use crate::env::{Env, JUMP_CACHE, Jump};
use crate::exec::Shared;
use crate::frontend::{Frontend, Func};
use crate::interp::{kind_of, pack_mem};
use crate::ir::{Block as Ir, Cond, HelperId, Lane, Op, Slot, Terminal, Ty, Unary, Val};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{
    AbiParam, AliasRegion, AliasRegionData, Block, BlockArg, Endianness, Function, InstBuilder, MemFlagsData, SigRef,
    Signature, Type, UserFuncName, Value,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::collections::BTreeMap;
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

/// What compiled code gives back besides the exits that interpreted blocks have: the budget is used up.
const BUDGET: i64 = 5;

/// Kept from one compilation to the next.
pub struct State {
    context: cranelift_codegen::Context,
    functions: FunctionBuilderContext,
}

impl Default for State {
    fn default() -> Self {
        Self { context: cranelift_codegen::Context::new(), functions: FunctionBuilderContext::new() }
    }
}

fn signature(convention: CallConv, params: &[Type], result: Option<Type>) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend(params.iter().map(|t| AbiParam::new(*t)));
    signature.returns.extend(result.map(AbiParam::new));
    signature
}

fn block_signature() -> Signature {
    signature(CallConv::Tail, &[I64], Some(I32))
}

/// The function through which Rust enters compiled code: `(env, entry) -> exit`.
pub fn entry(isa: &dyn TargetIsa) -> Result<Vec<u8>, String> {
    let mut state = State::default();
    state.context.func =
        Function::with_name_signature(UserFuncName::default(), signature(CallConv::SystemV, &[I64, I64], Some(I32)));
    let mut b = FunctionBuilder::new(&mut state.context.func, &mut state.functions);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let (env, target) = (b.block_params(block)[0], b.block_params(block)[1]);
    let convention = b.import_signature(block_signature());
    let call = b.ins().call_indirect(convention, target, &[env]);
    let exit = b.inst_results(call)[0];
    b.ins().return_(&[exit]);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    emit(&mut state, isa)
}

fn emit(state: &mut State, isa: &dyn TargetIsa) -> Result<Vec<u8>, String> {
    let compiled = state.context.compile(isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
    if !compiled.buffer.relocs().is_empty() {
        return Err("the code refers to something outside itself".into());
    }
    Ok(compiled.code_buffer().to_vec())
}

/// Host instructions as text, one a line, as if the code lay at `entry`.
pub fn listing(entry: u64, code: &[u8]) -> String {
    use capstone::arch::BuildsCapstone as _;
    let lines = capstone::Capstone::new().x86().mode(capstone::arch::x86::ArchMode::Mode64).build().and_then(|c| {
        let all = c.disasm_all(code, entry)?;
        let line = |insn: &capstone::Insn<'_>| {
            format!(
                "{:#x}:  {} {}",
                insn.address(),
                insn.mnemonic().unwrap_or_default(),
                insn.op_str().unwrap_or_default()
            )
        };
        Ok(all.iter().map(line).collect::<Vec<_>>())
    });
    lines.map_or_else(|_| format!("{} bytes", code.len()), |lines| lines.join("\n"))
}

/// A guest register inside the function.
#[derive(Clone, Copy)]
struct Cached {
    value: Value,
    dirty: bool,
}

pub(super) struct Lower<'a, 'b, F: Frontend> {
    pub(super) b: FunctionBuilder<'b>,
    ir: &'a Ir,
    pub(super) shared: &'a Shared<F>,
    block: &'a cache::Block,
    pub(super) env: Value,
    values: Vec<Option<Value>>,
    slots: BTreeMap<u16, Cached>,
    /// State and host structures.
    pub(super) own: MemFlagsData,
    /// Guest memory.
    pub(super) guest: MemFlagsData,
    /// Distance of the current instruction.
    pc: u32,
    signatures: BTreeMap<(Vec<u8>, bool), SigRef>,
    /// Start of the loop and the registers that its parameters are, if the block branches to itself.
    header: Option<(Block, Vec<u16>)>,
    /// Scalars in vectors and integers.
    pub(super) floats: super::float::Floats,
}

/// Compiles a block.
pub fn compile<F: Frontend>(
    state: &mut State,
    isa: &dyn TargetIsa,
    shared: &Shared<F>,
    block: &cache::Block,
    ir: &Ir,
) -> Result<Vec<u8>, String> {
    let result = build(state, isa, shared, block, ir).and_then(|()| emit(state, isa));
    if result.is_err() {
        // What a function that was given up has left there must not get into the next one.
        *state = State::default();
    }
    result
}

/// States the block as a function of `state`'s context.
fn build<F: Frontend>(
    state: &mut State,
    isa: &dyn TargetIsa,
    shared: &Shared<F>,
    block: &cache::Block,
    ir: &Ir,
) -> Result<(), String> {
    state.context.clear();
    state.context.func = Function::with_name_signature(UserFuncName::default(), block_signature());
    let mut b = FunctionBuilder::new(&mut state.context.func, &mut state.functions);
    let start = b.create_block();
    b.append_block_params_for_function_params(start);
    b.switch_to_block(start);
    let env = b.block_params(start)[0];
    let mut region = |id: u32, name: &'static str| -> AliasRegion {
        b.func.dfg.alias_regions.insert(AliasRegionData { user_id: id, description: name.into() })
    };
    let own = MemFlagsData::trusted().with_alias_region(Some(region(0, "state")));
    let guest = MemFlagsData::new().with_notrap().with_alias_region(Some(region(1, "guest")));
    let mut l = Lower {
        b,
        ir,
        shared,
        block,
        env,
        values: vec![None; ir.ops.len()],
        slots: BTreeMap::new(),
        own,
        guest,
        pc: 0,
        signatures: BTreeMap::new(),
        header: None,
        floats: super::float::Floats::default(),
    };
    l.begin();
    for at in 0..ir.ops.len() {
        l.operation(at)?;
    }
    l.terminal()?;
    l.b.seal_all_blocks();
    l.b.finalize(isa.frontend_config());
    Ok(())
}

pub(super) fn int(ty: Ty) -> Type {
    match ty {
        Ty::I8 => I8,
        Ty::I16 => I16,
        Ty::I32 => I32,
        Ty::I64 => I64,
        Ty::V128 => I8X16,
    }
}

pub(super) fn vector(lane: Lane) -> Type {
    match lane {
        Lane::B => I8X16,
        Lane::H => I16X8,
        Lane::S => I32X4,
        Lane::D => I64X2,
    }
}

impl<F: Frontend> Lower<'_, '_, F> {
    fn is_loop(&self) -> bool {
        match self.ir.end {
            Some(Terminal::Jump(0)) => true,
            Some(Terminal::Branch(_, to, other)) => to == 0 || other == 0,
            _ => false,
        }
    }

    /// The loop header, if any, and the check of the budget.
    fn begin(&mut self) {
        if self.is_loop() {
            let mut used: BTreeMap<u16, (Ty, bool)> = BTreeMap::new();
            for op in &self.ir.ops {
                match *op {
                    Op::Get(slot) => {
                        used.entry(slot.0).or_insert((widest(slot.1), false));
                    }
                    Op::Set(slot, _) => used.entry(slot.0).or_insert((widest(slot.1), true)).1 = true,
                    _ => {}
                }
            }
            let initial: Vec<BlockArg> =
                used.iter().map(|(at, (ty, _))| BlockArg::Value(self.load_slot(*at, *ty))).collect();
            let header = self.b.create_block();
            for (at, (ty, set)) in &used {
                let value = self.b.append_block_param(header, int(*ty));
                self.slots.insert(*at, Cached { value, dirty: *set });
            }
            self.b.ins().jump(header, &initial);
            self.b.switch_to_block(header);
            self.header = Some((header, used.keys().copied().collect()));
        }
        let budget = self.field(offset_of!(Env<F>, budget));
        let old = self.b.ins().atomic_load(I64, self.own, budget);
        let count = self.b.ins().iconst(I64, i64::from(self.block.insns));
        let left = self.b.ins().isub(old, count);
        let out = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, left, 0);
        let (exit, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(out, exit, &[], go_on, &[]);
        self.b.switch_to_block(exit);
        self.write_back();
        self.leave(BUDGET);
        self.b.switch_to_block(go_on);
        // A plain store: an atomic one would be a full fence.
        self.b.ins().store(self.own, left, budget, 0);
    }

    pub(super) fn ir(&self) -> &Ir {
        self.ir
    }

    pub(super) fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
    }

    pub(super) fn cold_block(&mut self) -> Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    fn field(&mut self, offset: usize) -> Value {
        self.b.ins().iadd_imm_s(self.env, offset as i64)
    }

    fn load_slot(&mut self, at: u16, ty: Ty) -> Value {
        self.b.ins().load(int(ty), self.own, self.env, i32::from(at))
    }

    fn slot(&mut self, slot: Slot) -> Value {
        if let Some(cached) = self.slots.get(&slot.0) {
            return cached.value;
        }
        let value = self.load_slot(slot.0, widest(slot.1));
        self.slots.insert(slot.0, Cached { value, dirty: false });
        value
    }

    /// Stores the registers that the function has changed.
    fn write_back(&mut self) {
        let dirty: Vec<(u16, Value)> =
            self.slots.iter().filter(|(_, c)| c.dirty).map(|(at, c)| (*at, c.value)).collect();
        for (at, value) in dirty {
            self.b.ins().store(self.own, value, self.env, i32::from(at));
        }
    }

    fn leave(&mut self, exit: i64) {
        let exit = self.b.ins().iconst(I32, exit);
        self.b.ins().return_(&[exit]);
    }

    pub(super) fn v(&self, v: Val) -> Value {
        self.values[v.0 as usize].expect("operands precede their uses")
    }

    /// A vector operand seen as lanes.
    pub(super) fn lanes(&mut self, v: Val, lane: Lane) -> Value {
        let v = self.v(v);
        self.cast(v, vector(lane))
    }

    pub(super) fn cast(&mut self, v: Value, ty: Type) -> Value {
        if self.b.func.dfg.value_type(v) == ty {
            return v;
        }
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), v)
    }

    /// Calls a host function with the environment and these arguments.
    pub(super) fn call(&mut self, function: usize, args: &[Value], result: bool) -> Option<Value> {
        let types: Vec<Type> = args.iter().map(|a| self.b.func.dfg.value_type(*a)).collect();
        let key = (types.iter().map(|t| t.bytes() as u8).collect(), result);
        let signature = match self.signatures.get(&key) {
            Some(signature) => *signature,
            None => {
                let mut params = vec![I64];
                params.extend(types);
                let new = self.b.import_signature(signature(CallConv::SystemV, &params, result.then_some(I64)));
                self.signatures.insert(key, new);
                new
            }
        };
        let function = self.b.ins().iconst(I64, function as i64);
        let mut all = vec![self.env];
        all.extend_from_slice(args);
        let call = self.b.ins().call_indirect(signature, function, &all);
        self.b.inst_results(call).first().copied()
    }

    /// After a call that may raise: leaves with exact registers if it did.
    pub(super) fn check_raised(&mut self) {
        let raised = self.b.ins().load(I64, self.own, self.env, offset_of!(Env<F>, raised) as i32);
        let (fault, go_on) = (self.cold_block(), self.b.create_block());
        if self.b.current_block().is_some_and(|block| self.b.func.layout.is_cold(block)) {
            self.b.set_cold_block(go_on);
        }
        self.b.ins().brif(raised, fault, &[], go_on, &[]);
        self.b.switch_to_block(fault);
        self.write_back();
        let pc = self.b.ins().iconst(I32, i64::from(self.pc));
        self.b.ins().store(self.own, pc, self.env, offset_of!(Env<F>, fault_pc) as i32);
        self.set_left();
        self.leave(4);
        self.b.switch_to_block(go_on);
    }

    /// Notes the block that control leaves from.
    fn set_left(&mut self) {
        let block = self.b.ins().iconst(I64, std::ptr::from_ref(self.block) as i64);
        self.b.ins().store(self.own, block, self.env, offset_of!(Env<F>, left) as i32);
    }

    pub(super) fn imm(&mut self, value: u64) -> Value {
        self.b.ins().iconst(I64, value as i64)
    }

    fn vector_field(n: usize) -> i32 {
        (offset_of!(Env<F>, vectors) + 16 * n) as i32
    }

    pub(super) fn set_vector(&mut self, n: usize, v: Value) {
        self.b.ins().store(self.own, v, self.env, Self::vector_field(n));
    }

    pub(super) fn vector_result(&mut self) -> Value {
        self.b.ins().load(I8X16, self.own, self.env, Self::vector_field(0))
    }

    /// The integer that a function left as its result.
    pub(super) fn integer_result(&mut self) -> Value {
        self.result_as(I64)
    }

    /// The low part of what a function left as its result.
    pub(super) fn result_as(&mut self, ty: Type) -> Value {
        self.b.ins().load(ty, self.own, self.env, Self::vector_field(0))
    }

    pub(super) fn widen(&mut self, v: Value, ty: Ty) -> Value {
        if ty == Ty::I64 { v } else { self.b.ins().uextend(I64, v) }
    }

    pub(super) fn narrow(&mut self, v: Value, ty: Ty) -> Value {
        if ty == Ty::I64 { v } else { self.b.ins().ireduce(int(ty), v) }
    }

    /// Puts an operand of a compare-and-exchange into a vector cell.
    fn spill(&mut self, n: usize, v: Value, ty: Ty) {
        if ty == Ty::V128 {
            self.set_vector(n, v);
        } else {
            let (wide, zero) = (self.widen(v, ty), self.imm(0));
            self.b.ins().store(self.own, wide, self.env, Self::vector_field(n));
            self.b.ins().store(self.own, zero, self.env, Self::vector_field(n) + 8);
        }
    }

    fn operation(&mut self, at: usize) -> Result<(), String> {
        let op = self.ir.ops[at];
        let value = match op {
            Op::Insn { pc } => {
                self.pc = pc;
                None
            }
            Op::Const(ty, value) => {
                let signed = (value << (64 - ty.bits())) as i64 >> (64 - ty.bits());
                Some(self.b.ins().iconst(int(ty), signed))
            }
            Op::ConstV(low, high) => Some(self.constant_vector(low, high)),
            Op::Get(slot) => {
                let value = self.slot(slot);
                Some(match slot.1 {
                    Ty::I64 | Ty::V128 => value,
                    ty => self.b.ins().ireduce(int(ty), value),
                })
            }
            Op::Set(slot, v) => {
                let value = self.v(v);
                self.slots.insert(slot.0, Cached { value, dirty: true });
                None
            }
            Op::Bin(op, ty, a, b) => {
                let (a, b) = (self.v(a), self.v(b));
                Some(self.binary(op, ty, a, b))
            }
            Op::Un(op, ty, a) => {
                let a = self.v(a);
                let wide = matches!(ty, Ty::I32 | Ty::I64);
                Some(match op {
                    Unary::Not => self.b.ins().bnot(a),
                    Unary::Neg => self.b.ins().ineg(a),
                    Unary::Clz if wide => self.b.ins().clz(a),
                    Unary::Ctz if wide => self.b.ins().ctz(a),
                    Unary::BitRev if wide => self.b.ins().bitrev(a),
                    Unary::ByteRev if wide => self.b.ins().bswap(a),
                    Unary::Popcount if wide => self.b.ins().popcnt(a),
                    _ => self.narrow_unary(op, ty, a),
                })
            }
            Op::Cmp(cond, _, a, b) => {
                let (a, b) = (self.v(a), self.v(b));
                let cond = match cond {
                    Cond::Eq => IntCC::Equal,
                    Cond::Ne => IntCC::NotEqual,
                    Cond::LtU => IntCC::UnsignedLessThan,
                    Cond::LeU => IntCC::UnsignedLessThanOrEqual,
                    Cond::LtS => IntCC::SignedLessThan,
                    Cond::LeS => IntCC::SignedLessThanOrEqual,
                };
                Some(self.b.ins().icmp(cond, a, b))
            }
            Op::FloatCmp(cond, lane, a, b) => Some(self.float_compare(cond, lane, a, b)),
            Op::Select(_, c, a, b) => {
                let (c, a, b) = (self.v(c), self.v(a), self.v(b));
                Some(self.b.ins().select(c, a, b))
            }
            Op::Zext(ty, a) => {
                let a = self.v(a);
                let v = self.b.ins().uextend(int(ty), a);
                self.same_bits(a, v);
                Some(v)
            }
            Op::Sext(ty, a) => {
                let a = self.v(a);
                Some(self.b.ins().sextend(int(ty), a))
            }
            Op::Trunc(ty, a) => {
                let a = self.v(a);
                let v = self.b.ins().ireduce(int(ty), a);
                self.same_bits(a, v);
                Some(v)
            }
            Op::Carry(ty, a, b, c) => Some(self.carry(ty, a, b, c)),
            Op::Overflow(ty, a, b, c) => {
                let (a, b) = (self.v(a), self.v(b));
                let sum = self.b.ins().iadd(a, b);
                let c = self.carry_in(ty, c);
                let sum = self.b.ins().iadd(sum, c);
                let (x, y) = (self.b.ins().bxor(a, sum), self.b.ins().bxor(b, sum));
                let both = self.b.ins().band(x, y);
                Some(self.b.ins().icmp_imm_s(IntCC::SignedLessThan, both, 0))
            }
            Op::Load(ty, va, mem) => {
                let va = self.v(va);
                let number = self.loaded_number(at).filter(|_| !mem.swap);
                Some(self.load(ty, number, va, mem))
            }
            Op::Store(ty, va, value, mem) => {
                let (va, value) = (self.v(va), self.v(value));
                self.store(ty, va, value, mem);
                None
            }
            Op::Atomic(op, ty, va, value, mem) => {
                let value = self.v(value);
                let (va, value) = (self.v(va), self.widen(value, ty));
                let (kind, mem) = (self.imm(kind_of(op, ty)), self.imm(pack_mem(0, mem)));
                let old = self.call(slow::atomic::<F> as *const () as usize, &[va, value, kind, mem], true);
                self.check_raised();
                Some(self.narrow(old.expect("an atomic has a result"), ty))
            }
            Op::CmpXchg(ty, va, expected, new, mem) => {
                let (va, expected, new) = (self.v(va), self.v(expected), self.v(new));
                self.spill(0, expected, ty);
                self.spill(1, new, ty);
                let (bytes, mem) = (self.imm(ty.bytes().into()), self.imm(pack_mem(0, mem)));
                self.call(slow::cmpxchg::<F> as *const () as usize, &[va, bytes, mem], false);
                self.check_raised();
                Some(self.b.ins().load(int(ty), self.own, self.env, Self::vector_field(0)))
            }
            Op::Fence => {
                self.b.ins().fence();
                None
            }
            Op::Call(id, args, arity) => {
                let helper = &self.shared.helpers[usize::from(id.0)];
                let function = match helper.func {
                    Func::F0(f) => f as *const () as usize,
                    Func::F1(f) => f as *const () as usize,
                    Func::F2(f) => f as *const () as usize,
                    Func::F3(f) => f as *const () as usize,
                    Func::F4(f) => f as *const () as usize,
                    Func::V(_) => return Err("a vector helper called with integers".into()),
                };
                let imm = args.get(usize::from(arity).wrapping_sub(1)).and_then(|last| self.ir.as_const(*last));
                let args: Vec<Value> = args.iter().take(arity.into()).map(|a| self.v(*a)).collect();
                if let Some(host) = self.host_float(at, id, imm)
                    && let Some(value) = self.float_call(host, function, &args)?
                {
                    self.values[at] = Some(value);
                    return Ok(());
                }
                self.before_helper(helper.reads_slots, helper.writes_slots);
                let result = self.call(function, &args, true);
                self.after_helper(helper.writes_slots, helper.raises);
                result
            }
            Op::CallV(id, args, imm) => {
                let args = args.map(|arg| self.v(arg));
                let inline = self.host_vector_call(at, id, args, imm)?;
                match inline {
                    Some(value) => Some(value),
                    None => Some(self.call_vector(id, args, imm)?),
                }
            }
            Op::VBin(op, lane, a, b) => Some(self.vector_binary(op, lane, a, b)),
            Op::VUn(op, lane, a) => Some(self.vector_unary(op, lane, a)),
            Op::VShift(op, lane, a, by) => Some(self.vector_shift(op, lane, a, by)),
            Op::Splat(lane, a) => {
                let a = self.v(a);
                let v = self.b.ins().splat(vector(lane), a);
                Some(self.cast(v, I8X16))
            }
            Op::Extract(lane, v, n) => Some(self.extract(lane, v, n)),
            Op::Insert(lane, v, n, a) => Some(self.insert(lane, v, n, a)),
            Op::Shuffle(a, b, mask) => {
                let mask = self.ir.masks[usize::from(mask)];
                let (a, b) = (self.v(a), self.v(b));
                Some(self.shuffle(a, b, mask))
            }
        };
        self.values[at] = value;
        Ok(())
    }

    /// Calls a vector helper.
    pub(super) fn call_vector(&mut self, id: HelperId, args: [Value; 3], imm: u32) -> Result<Value, String> {
        let helper = &self.shared.helpers[usize::from(id.0)];
        let Func::V(function) = helper.func else {
            return Err("an integer helper called with vectors".into());
        };
        for (n, arg) in args.into_iter().enumerate() {
            let arg = self.cast(arg, I8X16);
            self.set_vector(n, arg);
        }
        let imm = self.imm(imm.into());
        self.before_helper(helper.reads_slots, helper.writes_slots);
        self.call(function as *const () as usize, &[imm], false);
        self.after_helper(helper.writes_slots, helper.raises);
        Ok(self.vector_result())
    }

    /// A helper that reads registers finds them in the state; one that writes some makes what is cached worthless.
    fn before_helper(&mut self, reads: bool, writes: bool) {
        if reads || writes {
            self.write_back();
            for cached in self.slots.values_mut() {
                cached.dirty = false;
            }
        }
    }

    fn after_helper(&mut self, writes: bool, raises: bool) {
        if writes {
            self.slots.clear();
        }
        if raises {
            self.check_raised();
        }
    }

    fn carry_in(&mut self, ty: Ty, c: Val) -> Value {
        let c = self.v(c);
        if ty == Ty::I8 { c } else { self.b.ins().uextend(int(ty), c) }
    }

    fn carry(&mut self, ty: Ty, a: Val, b: Val, c: Val) -> Value {
        let constant = self.ir.as_const(c);
        let (x, y) = (self.v(a), self.v(b));
        let sum = self.b.ins().iadd(x, y);
        let one = self.b.ins().icmp(IntCC::UnsignedLessThan, sum, x);
        if constant == Some(0) {
            return one;
        }
        let c = self.carry_in(ty, c);
        let all = self.b.ins().iadd(sum, c);
        let two = self.b.ins().icmp(IntCC::UnsignedLessThan, all, sum);
        self.b.ins().bor(one, two)
    }

    /// The program counter moved by `distance`, or as it is for 0.
    fn moved_pc(&mut self, distance: i64) -> Value {
        let pc = self.slot(F::PC);
        if distance == 0 { pc } else { self.b.ins().iadd_imm_s(pc, distance) }
    }

    fn set_pc(&mut self, pc: Value) {
        self.b.ins().store(self.own, pc, self.env, i32::from(F::PC.0));
    }

    fn terminal(&mut self) -> Result<(), String> {
        match self.ir.end.ok_or("no terminal")? {
            Terminal::Jump(to) => self.goto(0, to),
            Terminal::Branch(c, to, other) => {
                let c = self.v(c);
                let (first, second) = (self.b.create_block(), self.b.create_block());
                self.b.ins().brif(c, first, &[], second, &[]);
                let slots = self.slots.clone();
                self.b.switch_to_block(first);
                self.goto(0, to);
                self.slots = slots;
                self.b.switch_to_block(second);
                self.goto(1, other);
            }
            Terminal::Indirect(to) => {
                let to = self.v(to);
                self.write_back();
                self.set_pc(to);
                self.jump_by_cache(to, 2);
            }
            Terminal::Resync(to) => {
                self.write_back();
                let pc = self.moved_pc(to);
                self.set_pc(pc);
                self.set_left();
                self.leave(3);
            }
            Terminal::Dispatch => {
                self.write_back();
                self.set_left();
                self.leave(3);
            }
        }
        Ok(())
    }

    /// A fixed exit.
    fn goto(&mut self, exit: usize, distance: i64) {
        if distance == 0
            && let Some((header, slots)) = self.header.clone()
        {
            let args: Vec<BlockArg> = slots
                .iter()
                .map(|at| {
                    let ty = if is_vector(self.ir, *at) { Ty::V128 } else { Ty::I64 };
                    BlockArg::Value(self.slot(Slot(*at, ty)))
                })
                .collect();
            self.b.ins().jump(header, &args);
            return;
        }
        self.write_back();
        let pc = self.moved_pc(distance);
        self.set_pc(pc);
        let offset = (self.block.key.gpa.0 % PAGE_SIZE) as i64;
        if !(0..PAGE_SIZE as i64).contains(&(offset + distance)) {
            self.jump_by_cache(pc, exit as i64);
            return;
        }
        let link = std::ptr::from_ref(&self.block.host_links[exit]) as i64;
        let link = self.b.ins().iconst(I64, link);
        let target = self.b.ins().load(I64, MemFlagsData::trusted(), link, 0);
        self.jump_or_leave(target, exit as i64);
    }

    /// Jumps to the code at `target`, or leaves if it is 0.
    fn jump_or_leave(&mut self, target: Value, exit: i64) {
        let (go, leave) = (self.b.create_block(), self.cold_block());
        self.b.ins().brif(target, go, &[], leave, &[]);
        self.b.switch_to_block(leave);
        self.set_left();
        self.leave(exit);
        self.b.switch_to_block(go);
        let convention = self.b.import_signature(block_signature());
        self.b.ins().return_call_indirect(convention, target, &[self.env]);
    }

    /// Jumps to the compiled block at `pc` if the jump cache knows it in the present mode and space.
    fn jump_by_cache(&mut self, pc: Value, exit: i64) {
        let (low, high) = (self.b.ins().ushr_imm_u(pc, 2), self.b.ins().ushr_imm_u(pc, 14));
        let mixed = self.b.ins().bxor(low, high);
        let index = self.b.ins().band_imm_s(mixed, JUMP_CACHE as i64 - 1);
        let offset = self.b.ins().ishl_imm_u(index, i64::from(size_of::<Jump>().trailing_zeros()));
        let entry = self.b.ins().iadd(self.env, offset);
        let jumps = offset_of!(Env<F>, jumps);
        let leave = self.cold_block();
        let at = |field: usize| (jumps + field) as i32;
        let checks = [
            (at(offset_of!(Jump, pc)), pc),
            (at(offset_of!(Jump, mode)), self.b.ins().load(I64, self.own, self.env, offset_of!(Env<F>, mode) as i32)),
            (at(offset_of!(Jump, space)), self.b.ins().load(I64, self.own, self.env, offset_of!(Env<F>, space) as i32)),
        ];
        for (field, want) in checks {
            let have = self.b.ins().load(I64, self.own, entry, field);
            let same = self.b.ins().icmp(IntCC::Equal, have, want);
            let next = self.b.create_block();
            self.b.ins().brif(same, next, &[], leave, &[]);
            self.b.switch_to_block(next);
        }
        let block = self.b.ins().load(I64, self.own, entry, at(offset_of!(Jump, block)));
        let next = self.b.create_block();
        self.b.ins().brif(block, next, &[], leave, &[]);
        self.b.switch_to_block(next);
        let target = self.b.ins().load(I64, MemFlagsData::trusted(), block, offset_of!(cache::Block, host) as i32);
        let go = self.b.create_block();
        self.b.ins().brif(target, go, &[], leave, &[]);
        self.b.switch_to_block(leave);
        self.set_left();
        self.leave(exit);
        self.b.switch_to_block(go);
        let convention = self.b.import_signature(block_signature());
        self.b.ins().return_call_indirect(convention, target, &[self.env]);
    }
}

/// The type in which a register is kept.
fn widest(ty: Ty) -> Ty {
    if ty == Ty::V128 { Ty::V128 } else { Ty::I64 }
}

/// Whether the register at `at` is a vector, by how the block uses it.
fn is_vector(ir: &Ir, at: u16) -> bool {
    ir.ops.iter().any(|op| matches!(op, Op::Get(s) | Op::Set(s, _) if s.0 == at && s.1 == Ty::V128))
}
