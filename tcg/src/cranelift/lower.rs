//! From the IR of a region's blocks to host code.
//!
//! Inside the function a guest register is a variable; its cell in the state is written on the ways out only, and only if
//! it may be out of date. Which registers those are, and which have to be read at the entry, `region.rs` has found out.

use super::host::signature;
use super::lazy::{Kinds, LEAVES};
use super::region::{Member, Region, Slots};
use super::slow;
use crate::env::Env;
use crate::exec::Shared;
use crate::frontend::{Frontend, Func, Helper};
use crate::interp::{kind_of, pack_mem};
use crate::ir::{Cond, HelperId, Lane, Op, Ty, Unary, Val};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{
    AliasRegion, AliasRegionData, Block, Endianness, InstBuilder, MemFlagsData, SigRef, Type, Value,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, Variable};
use std::collections::BTreeMap;
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

pub(super) struct Lower<'a, 'b, F: Frontend> {
    pub(super) b: FunctionBuilder<'b>,
    /// Where the slow paths of memory accesses go through, and how.
    slow: (u64, SigRef),
    pub(super) shared: &'a Shared<F>,
    pub(super) region: &'a Region,
    /// The block being lowered.
    pub(super) member: &'a Member,
    pub(super) env: Value,
    /// The operations being lowered, of the block or of a recipe, and their values.
    pub(super) ops: &'a [Op],
    pub(super) values: Vec<Option<Value>>,
    /// The variable of each register of the region.
    pub(super) variables: Vec<Variable>,
    /// Instructions executed since the entry that the budget does not know of, before the present block.
    pub(super) spent: Variable,
    /// The program counter that the first block has.
    pub(super) base_pc: Variable,
    /// The pages of the region that are known to be mapped as they were, one bit for each in the order of the region's
    /// list. Nothing changes that inside the region: whatever does so ends it.
    pub(super) known_pages: Variable,
    /// The host block of each member.
    pub(super) blocks: Vec<Block>,
    /// Registers that the present block has read or written.
    pub(super) cached: BTreeMap<usize, Value>,
    /// Those of them whose variables are out of date.
    pub(super) changed: Slots,
    /// Registers whose cells in the state may be out of date now.
    pub(super) dirty: Slots,
    /// What the lazy registers that this block has not set may be, and the variables that say which and give the values.
    pub(super) kinds: Kinds,
    pub(super) kind: Variable,
    pub(super) leaves: Vec<(Ty, [Variable; LEAVES])>,
    /// The count at the start of a header, if zero says that the lazy registers are in the state.
    pub(super) fresh: Option<Value>,
    /// Where the cold ways out join, and what the lazy registers may be there.
    pub(super) tail: Block,
    pub(super) tail_kinds: Kinds,
    /// Where all ways out to the run loop join, with the block that they come from and the exit.
    pub(super) out: Block,
    /// A helper of this block has changed registers in the state: variables that are not cached are out of date.
    pub(super) clobbered: bool,
    /// The program counter of this block if an operation has set it or a helper may have.
    pub(super) own_pc: Option<Value>,
    /// Whether the state's program counter is this block's.
    pub(super) pc_stored: bool,
    /// The number, address and value of a store that the next one makes, too.
    waiting: Option<(usize, Value, Value)>,
    /// Accesses of the present block that share a look into the TLB.
    pub(super) pages: super::pages::Pages,
    /// State and host structures.
    pub(super) own: MemFlagsData,
    /// Guest memory.
    pub(super) guest: MemFlagsData,
    /// Distance of the current instruction.
    pub(super) pc: u32,
    signatures: BTreeMap<(Vec<u8>, bool), SigRef>,
    /// Scalars in vectors and integers.
    pub(super) floats: super::float::Floats,
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

impl<'a, 'b, F: Frontend> Lower<'a, 'b, F> {
    /// States the region as the function that `b` builds.
    pub(super) fn build(
        mut b: FunctionBuilder<'b>,
        isa: &dyn TargetIsa,
        thunk: u64,
        shared: &'a Shared<F>,
        region: &'a Region,
    ) -> Result<(), String> {
        let start = b.create_block();
        b.append_block_params_for_function_params(start);
        b.switch_to_block(start);
        b.seal_block(start);
        let env = b.block_params(start)[0];
        let mut alias = |id: u32, name: &'static str| -> AliasRegion {
            b.func.dfg.alias_regions.insert(AliasRegionData { user_id: id, description: name.into() })
        };
        let own = MemFlagsData::trusted().with_alias_region(Some(alias(0, "state")));
        let guest = MemFlagsData::new().with_notrap().with_alias_region(Some(alias(1, "guest")));
        let variables = region.slots.iter().map(|(_, ty)| b.declare_var(int(*ty))).collect();
        let (spent, base_pc, kind) = (b.declare_var(I64), b.declare_var(I64), b.declare_var(I32));
        let known_pages = b.declare_var(I32);
        let leaves = [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128]
            .map(|ty| (ty, std::array::from_fn(|_| b.declare_var(int(ty)))))
            .to_vec();
        let blocks = region.members.iter().map(|_| b.create_block()).collect();
        let (tail, out) = (b.create_block(), b.create_block());
        for block in [tail, out] {
            b.append_block_param(block, I64);
            b.append_block_param(block, I32);
            b.set_cold_block(block);
        }
        for ty in [I64, I64, I32] {
            b.append_block_param(tail, ty);
        }
        let member = region.members.first().ok_or("an empty region")?;
        let params = signature(CallConv::PreserveAll, &[I64], None);
        let slow = (thunk, b.import_signature(params));
        let mut l = Lower {
            b,
            slow,
            shared,
            region,
            member,
            env,
            ops: &member.ir.ops,
            values: Vec::new(),
            variables,
            spent,
            base_pc,
            known_pages,
            blocks,
            cached: BTreeMap::new(),
            changed: Slots::default(),
            dirty: Slots::default(),
            kinds: Kinds::default(),
            kind,
            leaves,
            fresh: None,
            tail,
            tail_kinds: Kinds::default(),
            out,
            clobbered: false,
            own_pc: None,
            pc_stored: false,
            waiting: None,
            pages: super::pages::Pages::default(),
            own,
            guest,
            pc: 0,
            signatures: BTreeMap::new(),
            floats: super::float::Floats::default(),
        };
        l.entries();
        for (at, member) in region.members.iter().enumerate() {
            l.begin(at, member);
            for op in 0..member.ir.ops.len() {
                l.operation(op)?;
            }
            l.terminal()?;
        }
        l.end();
        l.b.seal_all_blocks();
        l.b.finalize(isa.frontend_config());
        Ok(())
    }

    /// Where the function is entered: at the first block, or at a header, so that what left at one goes on there. The
    /// program counter, of which the region knows the offset in the page, says where.
    fn entries(&mut self) {
        let pc = self.b.ins().load(I64, self.own, self.env, i32::from(F::PC.0));
        let zero = self.imm(0);
        self.b.def_var(self.spent, zero);
        self.b.def_var(self.base_pc, pc);
        self.define_kind(Kinds::STATE);
        let region = self.region;
        let others: Vec<usize> = region.entries().filter(|at| *at != 0).collect();
        if !others.is_empty() {
            let offset = self.b.ins().band_imm_u(pc, PAGE_SIZE as i64 - 1);
            for at in others {
                let member = &region.members[at];
                let same = self.b.ins().icmp_imm_u(IntCC::Equal, offset, member.offset());
                let (entry, next) = (self.b.create_block(), self.b.create_block());
                self.b.ins().brif(same, entry, &[], next, &[]);
                self.enter(entry);
                let base = self.b.ins().iadd_imm_s(pc, -member.distance);
                self.b.def_var(self.base_pc, base);
                self.enter_at(at);
                self.enter(next);
            }
        }
        self.enter_at(0);
    }

    fn enter_at(&mut self, at: usize) {
        let page = self.page_bit(at);
        let known = self.b.ins().iconst(I32, page);
        self.b.def_var(self.known_pages, known);
        for n in self.region.members[at].live.common(self.region.early).iter() {
            let value = self.load_slot(n);
            self.b.def_var(self.variables[n], value);
        }
        self.b.ins().jump(self.blocks[at], &[]);
    }

    /// Starts the next member.
    fn begin(&mut self, at: usize, member: &'a Member) {
        self.member = member;
        self.ops = &member.ir.ops;
        self.kinds = member.kinds;
        self.values.clear();
        self.values.resize(member.ir.ops.len(), None);
        self.cached.clear();
        self.changed = Slots::default();
        self.dirty = member.dirty;
        self.clobbered = false;
        self.own_pc = None;
        // At the entry it is; later, only this code moves it.
        self.pc_stored = self.region.members.len() == 1;
        self.pc = 0;
        self.find_pages();
        self.floats.begin();
        self.b.switch_to_block(self.blocks[at]);
        if !member.looped {
            // All that lead here are done.
            self.b.seal_block(self.blocks[at]);
        }
        if self.kinds == Kinds::one(Kinds::VALUES) {
            self.define_kind(Kinds::VALUES);
        }
        let simple = member.header && member.inner_kinds.only().is_some() && !member.inner_kinds.has(Kinds::STATE);
        self.fresh = simple.then(|| self.b.use_var(self.spent));
        if member.header {
            self.check_budget();
        }
    }
}

impl<F: Frontend> Lower<'_, '_, F> {
    /// Goes on in a block to which nothing else will lead.
    pub(super) fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.b.seal_block(block);
    }

    /// The block being lowered.
    pub(super) fn ir(&self) -> &crate::ir::Block {
        &self.member.ir
    }

    pub(super) fn cold_block(&mut self) -> Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    /// Makes a block cold if the present one is.
    pub(super) fn keep_cold(&mut self, block: Block) {
        if self.b.current_block().is_some_and(|now| self.b.func.layout.is_cold(now)) {
            self.b.set_cold_block(block);
        }
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

    /// Calls a function `(env, a, b, c)` with as many of the arguments as it has on a cold path, so that no register
    /// changes and the hot path is not affected; results come by the state.
    pub(super) fn call_slow(&mut self, function: usize, args: &[Value]) {
        let function = self.imm(function as u64);
        for (n, value) in args.iter().copied().chain([function]).enumerate() {
            let n = if n == args.len() { 3 } else { n };
            let at = (offset_of!(Env<F>, slow_call) + 8 * n) as i32;
            self.b.ins().store(self.own, value, self.env, at);
        }
        let thunk = self.imm(self.slow.0);
        self.b.ins().call_indirect(self.slow.1, thunk, &[self.env]);
    }

    pub(super) fn imm(&mut self, value: u64) -> Value {
        self.b.ins().iconst(I64, value as i64)
    }

    pub(super) fn vector_field(n: usize) -> i32 {
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

    pub(super) fn operation(&mut self, at: usize) -> Result<(), String> {
        let op = self.ops[at];
        let value = match op {
            Op::Insn { pc } => {
                self.pc = pc;
                None
            }
            Op::Const(ty, value) => {
                let signed = (value << (64 - ty.bits())) as i64 >> (64 - ty.bits());
                Some(self.b.ins().iconst(int(ty), signed))
            }
            Op::ConstV(low, high) => Some(self.vector_constant(low, high)),
            Op::Get(slot) => {
                let value = self.slot(slot);
                Some(match slot.1 {
                    Ty::I64 | Ty::V128 => value,
                    ty => self.b.ins().ireduce(int(ty), value),
                })
            }
            Op::Set(slot, v) => {
                let value = self.v(v);
                self.set_slot(slot, value);
                None
            }
            Op::Bin(op, ty, a, b) => match self.page_of_block(at) {
                Some(page) => Some(page),
                None => {
                    let (a, b) = (self.v(a), self.v(b));
                    Some(self.binary(op, ty, a, b))
                }
            },
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
            Op::FloatCmp(cond, lane, a, b) => Some(self.float_compare(at, cond, lane, a, b)),
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
            // The first load of a pair makes both.
            Op::Load(..) if self.values[at].is_some() => return Ok(()),
            Op::Load(ty, va, mem) => {
                let va = self.v(va);
                let number = self.loaded_number(at).filter(|_| !mem.swap);
                match self.partner(at) {
                    None => Some(self.load(at, ty, number, va, mem)),
                    Some(other) => {
                        let number = number.filter(|number| self.loaded_number(other) == Some(*number));
                        let [first, second] = self.load_pair(at, ty, number, va, mem);
                        self.values[other] = Some(second);
                        Some(first)
                    }
                }
            }
            Op::Store(ty, va, value, mem) => {
                // The second store of a pair makes both.
                match (self.waiting.take(), self.partner(at)) {
                    (Some((at, va, first)), _) => {
                        let second = self.v(value);
                        self.store_pair(at, ty, va, [first, second], mem);
                    }
                    (None, None) => {
                        let (va, value) = (self.v(va), self.v(value));
                        self.store(at, ty, va, value, mem);
                    }
                    (None, Some(_)) => self.waiting = Some((at, self.v(va), self.v(value))),
                }
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
                let imm = args.get(usize::from(arity).wrapping_sub(1)).and_then(|last| self.ir().as_const(*last));
                let args: Vec<Value> = args.iter().take(arity.into()).map(|a| self.v(*a)).collect();
                if let Some(host) = self.host_float(at, id, imm)
                    && let Some(value) = self.float_call(host, function, &args)?
                {
                    self.values[at] = Some(value);
                    return Ok(());
                }
                self.before_helper(helper);
                let result = self.call(function, &args, true);
                self.after_helper(helper);
                result
            }
            Op::RaiseIf(id, c, imm) => {
                let Func::F1(function) = self.shared.helpers[usize::from(id.0)].func else {
                    return Err("an exception is raised by a helper of one integer".into());
                };
                let c = self.v(c);
                self.raise_if(c, function as *const () as usize, imm);
                None
            }
            Op::CallV(id, args, imm) => {
                let args = args.map(|arg| self.v(arg));
                let inline = self.host_vector_call(at, id, args, imm)?;
                match inline {
                    Some(value) => Some(value),
                    None => Some(self.call_vector(id, args, imm)?),
                }
            }
            Op::VBin(op, lane, a, b) => {
                let v = self.vector_binary(op, lane, a, b);
                self.note_bitwise(op, a, b, v);
                Some(v)
            }
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
                let mask = self.member.ir.masks[usize::from(mask)];
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
        self.before_helper(helper);
        self.call(function as *const () as usize, &[imm], false);
        self.after_helper(helper);
        Ok(self.vector_result())
    }

    /// A helper that reads registers finds them in the state; one that writes some makes what is cached worthless.
    fn before_helper(&mut self, helper: &Helper<F>) {
        if helper.reads_slots || helper.writes_slots {
            self.write_back();
            self.dirty = Slots::default();
            self.kinds = Kinds::one(Kinds::STATE);
        }
        if helper.reads_slots || helper.writes_slots || helper.raises {
            self.store_pc();
        }
    }

    fn after_helper(&mut self, helper: &Helper<F>) {
        if helper.writes_slots {
            self.cached.clear();
            self.changed = Slots::default();
            self.clobbered = true;
            let pc = self.b.ins().load(I64, self.own, self.env, i32::from(F::PC.0));
            self.own_pc = Some(pc);
        }
        if helper.raises {
            self.check_raised();
        }
    }

    fn carry_in(&mut self, ty: Ty, c: Val) -> Value {
        let c = self.v(c);
        if ty == Ty::I8 { c } else { self.b.ins().uextend(int(ty), c) }
    }

    fn carry(&mut self, ty: Ty, a: Val, b: Val, c: Val) -> Value {
        let constant = match self.ops[c.0 as usize] {
            Op::Const(_, value) => Some(value),
            _ => None,
        };
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
}
