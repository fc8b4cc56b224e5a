//! One pass over the IR of a block, or of several that follow one another, that emits host code for each operation.

use super::asm::{Alu, Asm, Cc, ENV_BIAS, Gpr, Hole, Holes, Mem, R14, R15, RAX, RBP, RCX, RDI, Xmm};
use super::integer::{complement, subtraction};
use super::looks::{self, Looks};
use super::registers::{Bank, CLOBBERED, Loc, TooComplex};
use super::stubs::{ARGUMENTS, Stubs};
use crate::bits::ones;
use crate::cache;
use crate::env::{Env, TEMPS};
use crate::exec::Shared;
use crate::frontend::{Frontend, Func};
use crate::interp::{kind_of, pack_mem};
use crate::ir::{Binary, Block as Ir, Op, Slot, Ty, Val};
use std::mem::offset_of;

/// What the host's flags say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flags {
    /// They are those of `a - b`.
    Sub(Ty, Val, Val),
    /// They are those of `a + b`.
    Add(Ty, Val, Val),
    /// They are those of `a + b + carry`.
    Adc(Ty, Val, Val, Val),
    /// They compare a value with zero: sign and zero flag are its, carry and overflow are clear.
    Zero(Ty, Val),
}

/// One of the blocks that are emitted as one, each behind the one before.
pub struct Part<'a> {
    pub block: &'a cache::Block,
    pub ir: &'a Ir,
    /// How it leads to the next part.
    pub way: Way,
}

/// How control goes from a part to the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// It does not: the part is the last.
    Out,
    /// By a fixed exit. With `looks` it is another page, of which the jump cache must say that the next part is there.
    Exit { exit: usize, looks: bool },
    /// By an indirect branch that certainly leads to this distance from the part, to a page that the trace has been in.
    Known { distance: i64 },
    /// By an indirect branch that leads there most of the time: to this distance, or wherever the jump cache says that the
    /// next part is, or both.
    Guessed { distance: Option<i64>, looks: bool },
}

/// Code out of the way, emitted behind the block.
pub struct Cold {
    /// The part that it belongs to.
    pub part: usize,
    /// Jumps that lead to it.
    pub from: Holes,
    /// Where it goes on.
    pub back: usize,
    pub what: ColdPath,
}

/// A fixed exit that a link may leave by.
pub struct LinkExit {
    pub part: usize,
    pub exit: u8,
    pub jump: Hole,
    /// Where the code is that leaves as long as the exit is open.
    pub open: usize,
}

/// What such code does.
pub enum ColdPath {
    /// A memory access that the TLB does not settle: the address, the operand packed for [`slow`](super::slow), the
    /// register that is loaded or stored, and the vector registers in use with the slots that they are copies of.
    /// Besides: the registers that know distances for looks that are shared, as bits, and how the access looks for itself
    /// first if it is one of those.
    Access { va: Gpr, info: i32, data: Data, xmms: Vec<(Xmm, Option<u16>)>, looks: u16, alone: Option<Alone> },
    /// A vector helper is called, for a result that the host may have got wrong.
    VectorHelper { function: u64, imm: u32, args: [Xmm; 3], d: Xmm, xmms: Vec<(Xmm, Option<u16>)> },
    /// The same for a helper of an integer and a constant.
    Helper { function: u64, operand: Gpr, how: i32, d: Gpr, xmms: Vec<(Xmm, Option<u16>)> },
    /// An exception was raised by the instruction at this distance.
    Fault { pc: u32 },
    /// The same, by the helper that is called here with a constant.
    Raise { function: u64, imm: u64, pc: u32 },
    /// There is no budget for the block.
    Budget,
    /// The part ends by the fixed exit that does not lead to the next part.
    SideExit { exit: usize, distance: i64 },
    /// The part ends by a way that does not lead to the next part. The program counter is right already.
    Elsewhere,
    /// A store may have changed the code of the parts that follow. The program counter is the next one's already.
    Stale,
    /// The block has run often enough to be optimized.
    Hot,
}

/// An access that has to look for itself although it shares a look.
#[derive(Clone, Copy)]
pub struct Alone {
    /// Bytes of one access.
    pub bytes: u8,
    pub mem: crate::ir::Mem,
    /// The register that is to know that there is no distance, if it does not know that.
    pub forget: Option<Gpr>,
}

/// What a memory access loads or stores.
#[derive(Clone, Copy)]
pub enum Data {
    Load(Gpr),
    Store(Gpr),
    LoadVector(Xmm),
    StoreVector(Xmm),
    /// A pair: two registers, the second at a distance.
    LoadPair(Gpr, Gpr, i32),
    StorePair(Gpr, Gpr, i32),
}

/// What the emitter keeps from one block to the next, so that it need not be allocated anew.
#[derive(Default)]
pub struct Buffers {
    /// The code.
    pub asm: Asm,
    pairs: Vec<bool>,
    /// Number of the last operation that needs a value, 0 if none does.
    last: Vec<u32>,
    /// For each operation the first value that dies with it, and for each value the next one; [`NONE`] ends the list.
    first_death: Vec<u32>,
    next_death: Vec<u32>,
    loc: Vec<Loc>,
    narrow: Vec<bool>,
    free_cells: Vec<u16>,
    cell_users: Vec<u32>,
    in_flags: Vec<u32>,
    cold: Vec<Cold>,
    /// Jumps to stubs: where, and the address.
    pub far: Vec<(Hole, u64)>,
    /// Jumps that links change.
    pub exits: Vec<LinkExit>,
}

/// No value.
pub const NONE: u32 = u32::MAX;

/// The state of the emitter.
pub struct Emit<'a, F: Frontend> {
    pub asm: Asm,
    pub shared: &'a Shared<F>,
    /// What is emitted, and the number of the part at hand.
    pub parts: &'a [Part<'a>],
    pub part: usize,
    /// The part at hand.
    pub ir: &'a Ir,
    pub block: &'a cache::Block,
    /// Instructions of the parts behind it.
    pub insns_after: u32,
    pub stubs: &'a Stubs,
    /// Number of the operation at hand.
    pub at: usize,
    /// Which operations begin a pair of accesses.
    pairs: Vec<bool>,
    /// Number of the last operation that needs a value, 0 if none does.
    pub last: Vec<u32>,
    /// The values that die with each operation, as lists.
    pub first_death: Vec<u32>,
    pub next_death: Vec<u32>,
    pub loc: Vec<Loc>,
    /// Whether bits above the value's type may be other than zero.
    pub narrow: Vec<bool>,
    pub gprs: Bank,
    pub xmms: Bank,
    pub cells: u16,
    pub free_cells: Vec<u16>,
    pub cell_users: Vec<u32>,
    pub flags: Option<Flags>,
    /// Values that may be [`Loc::Flags`].
    pub in_flags: Vec<u32>,
    pub cold: Vec<Cold>,
    /// Accesses of a trace that share looks into the TLB.
    pub looks: Looks,
    /// Distance of the instruction at hand.
    pub pc: u32,
    /// Jumps to stubs: where, and the address.
    pub far: Vec<(Hole, u64)>,
    /// Jumps that links change.
    pub exits: Vec<LinkExit>,
    /// Offset of the entry for code that keeps program counter and budget in their registers.
    pub fast_entry: usize,
    /// Runs after which the block asks to be optimized.
    pub hot_after: Option<u32>,
}

/// A field of the environment.
macro_rules! env {
    ($f:ident, $field:ident) => {
        Mem::env(offset_of!(Env<$f>, $field) as i32)
    };
}
pub(super) use env;

pub fn is_wide(ty: Ty) -> bool {
    matches!(ty, Ty::I32 | Ty::I64)
}

/// How far behind the first half of a pair the second one is.
pub const PAIR: usize = 3;

/// Notes the operations that begin a pair of accesses: the second is the same access at the address plus a small constant,
/// with nothing in between but the sum. One look into the TLB serves both.
pub fn find_pairs(ir: &Ir, pairs: &mut [bool]) {
    for at in 0..ir.ops.len() {
        if matches!(ir.ops[at], Op::Load(..) | Op::Store(..)) && (at < PAIR || !pairs[at - PAIR]) {
            pairs[at] = begins_pair(ir, at);
        }
    }
}

fn begins_pair(ir: &Ir, at: usize) -> bool {
    let sum = |va: Val, base: Val, ty: Ty| {
        let by = Some(ty.bytes().into());
        matches!(ir.ops[va.0 as usize], Op::Bin(Binary::Add, Ty::I64, a, b) if a == base && ir.as_const(b) == by)
    };
    let Some(second) = ir.ops.get(at + PAIR) else { return false };
    let paired = match (ir.ops[at], *second) {
        (Op::Load(ty, base, mem), Op::Load(t, va, m)) => {
            (t, m, ty != Ty::V128, mem.swap) == (ty, mem, true, false) && sum(va, base, ty)
        }
        (Op::Store(ty, base, _, mem), Op::Store(t, va, value, m)) => {
            (t, m, ty != Ty::V128, mem.swap) == (ty, mem, true, false) && sum(va, base, ty) && (value.0 as usize) < at
        }
        _ => false,
    };
    paired && ir.ops[at + 1].is_pure() && ir.ops[at + 2].is_pure()
}

/// The operands that operation `at` really reads.
fn reads(ir: &Ir, pairs: &[bool], at: usize, mut f: impl FnMut(Val)) {
    if at >= PAIR && pairs[at - PAIR] {
        // The first half of the pair does its work.
        return;
    }
    if pairs[at]
        && let Op::Store(_, _, value, _) = ir.ops[at + PAIR]
    {
        f(value);
    }
    match ir.ops[at] {
        Op::Cmp(cond, ty, a, b) => match subtraction(ir, cond, ty, a, b) {
            Some((x, y)) => [x, y].into_iter().for_each(f),
            None => [a, b].into_iter().for_each(f),
        },
        Op::Carry(ty, a, b, c) | Op::Overflow(ty, a, b, c) => match complement(ir, ty, b, c) {
            Some(x) => [a, x].into_iter().for_each(f),
            None => [a, b, c].into_iter().for_each(f),
        },
        op => op.operands(&mut f),
    }
}

impl<'a, F: Frontend> Emit<'a, F> {
    /// An emitter for these parts, of which there is at least one.
    pub fn new(
        shared: &'a Shared<F>,
        parts: &'a [Part<'a>],
        stubs: &'a Stubs,
        hot_after: Option<u32>,
        buffers: &mut Buffers,
    ) -> Self {
        fn emptied<T>(buffer: &mut Vec<T>) -> Vec<T> {
            let mut taken = std::mem::take(buffer);
            taken.clear();
            taken
        }
        Emit {
            asm: Asm { code: emptied(&mut buffers.asm.code) },
            shared,
            parts,
            part: 0,
            ir: parts[0].ir,
            block: parts[0].block,
            insns_after: 0,
            stubs,
            at: 0,
            pairs: emptied(&mut buffers.pairs),
            last: emptied(&mut buffers.last),
            first_death: emptied(&mut buffers.first_death),
            next_death: emptied(&mut buffers.next_death),
            loc: emptied(&mut buffers.loc),
            narrow: emptied(&mut buffers.narrow),
            gprs: Bank::default(),
            xmms: Bank::default(),
            cells: 0,
            free_cells: emptied(&mut buffers.free_cells),
            cell_users: emptied(&mut buffers.cell_users),
            flags: None,
            in_flags: emptied(&mut buffers.in_flags),
            cold: emptied(&mut buffers.cold),
            looks: if parts.len() > 1 { Looks::find(parts, shared.helpers) } else { Looks::default() },
            pc: 0,
            far: emptied(&mut buffers.far),
            exits: emptied(&mut buffers.exits),
            fast_entry: 0,
            hot_after,
        }
    }

    /// Gives the buffers back, with the code and its open jumps in them.
    pub fn into_buffers(self) -> Buffers {
        Buffers {
            asm: self.asm,
            pairs: self.pairs,
            last: self.last,
            first_death: self.first_death,
            next_death: self.next_death,
            loc: self.loc,
            narrow: self.narrow,
            free_cells: self.free_cells,
            cell_users: self.cell_users,
            in_flags: self.in_flags,
            cold: self.cold,
            far: self.far,
            exits: self.exits,
        }
    }

    /// Emits everything.
    pub fn emit(&mut self) -> Result<(), TooComplex> {
        self.head();
        for part in 0..self.parts.len() {
            self.begin(part);
            self.operations()?;
            if part + 1 == self.parts.len() {
                self.terminal()?;
            } else {
                self.go_on()?;
            }
        }
        self.cold_paths();
        self.open_exits();
        Ok(())
    }

    /// Makes a part the one at hand.
    pub fn turn_to(&mut self, part: usize) {
        self.part = part;
        self.ir = self.parts[part].ir;
        self.block = self.parts[part].block;
        self.insns_after = self.parts[part + 1..].iter().map(|part| part.block.insns).sum();
    }

    /// Starts a part. What host registers know of slots goes on to hold.
    fn begin(&mut self, part: usize) {
        self.turn_to(part);
        let ir = self.ir;
        let n = ir.ops.len();
        fn renew<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) {
            buffer.clear();
            buffer.resize(len, value);
        }
        renew(&mut self.last, n + 1, 0);
        let (end, last) = (n as u32, &mut self.last);
        if !matches!(self.parts[part].way, Way::Known { .. }) {
            ir.end_operand(|v| last[v.0 as usize] = end);
        }
        renew(&mut self.pairs, n, false);
        find_pairs(ir, &mut self.pairs);
        let pairs = &self.pairs;
        for (at, op) in ir.ops.iter().enumerate().rev() {
            if last[at] != 0 || !op.is_pure() {
                reads(ir, pairs, at, |v| last[v.0 as usize] = last[v.0 as usize].max(at as u32));
            }
        }
        renew(&mut self.first_death, n + 1, NONE);
        renew(&mut self.next_death, n, NONE);
        for (v, at) in self.last.iter().enumerate().take(n).filter(|(_, at)| **at != 0) {
            self.next_death[v] = std::mem::replace(&mut self.first_death[*at as usize], v as u32);
        }
        renew(&mut self.loc, n, Loc::Nowhere);
        renew(&mut self.narrow, n, false);
        renew(&mut self.cell_users, TEMPS, 0);
        self.free_cells.clear();
        self.cells = 0;
        self.in_flags.clear();
        self.flags = None;
        self.gprs.let_values_go();
        self.xmms.let_values_go();
        self.pc = 0;
    }

    fn operations(&mut self) -> Result<(), TooComplex> {
        for at in 0..self.ir.ops.len() {
            self.at = at;
            let second = at >= PAIR && self.pairs[at - PAIR];
            if self.last[at] == 0 && self.ir.ops[at].is_pure() || second {
                // What dies here was kept for the first half.
                self.finish_operation();
                continue;
            }
            self.operation()?;
            self.finish_operation();
        }
        self.at = self.ir.ops.len();
        Ok(())
    }

    /// Puts code out of the way of the part at hand.
    pub fn put_aside(&mut self, from: Holes, back: usize, what: ColdPath) {
        self.cold.push(Cold { part: self.part, from, back, what });
    }

    /// The second half of a pair of accesses that operation `at` begins, and its distance.
    pub fn pair(&self, at: usize) -> Option<(usize, i32)> {
        match self.ir.ops[at] {
            Op::Load(ty, ..) | Op::Store(ty, ..) if self.pairs[at] => Some((at + PAIR, ty.bytes().into())),
            _ => None,
        }
    }

    /// Puts the result of the operation at hand where it is, unless nobody wants it.
    pub fn result(&mut self, loc: Loc) {
        if self.last[self.at] != 0 {
            self.define(loc);
            if let Loc::Flags(_) = loc {
                self.in_flags.push(self.at as u32);
            }
        }
    }

    /// The same for an operation that this one does as well.
    pub fn result_of(&mut self, at: usize, loc: Loc) {
        if self.last[at] != 0 {
            self.define_as(at, loc);
        }
    }

    /// A result in a general register whose bits above the type may be anything.
    pub fn result_narrow(&mut self, d: Gpr, narrow: bool) {
        self.result(Loc::Gpr(d));
        self.narrow[self.at] = narrow;
    }

    fn operation(&mut self) -> Result<(), TooComplex> {
        match self.ir.ops[self.at] {
            Op::Insn { pc } => self.pc = pc,
            Op::Const(..) | Op::ConstV(..) => {}
            Op::Get(slot) => self.get(slot)?,
            Op::Set(slot, v) => self.set(slot, v)?,
            Op::Bin(op, ty, a, b) => self.binary(op, ty, a, b)?,
            Op::Un(op, ty, a) => self.unary(op, ty, a)?,
            Op::Cmp(cond, ty, a, b) => self.compare(cond, ty, a, b)?,
            Op::Select(ty, c, a, b) => self.select(ty, c, a, b)?,
            Op::Zext(ty, a) => {
                let from = self.ty(a);
                if let Loc::Flags(cc) = self.loc[a.0 as usize] {
                    self.result(Loc::Flags(cc));
                } else {
                    let r = self.gpr_zero_extended(a, from)?;
                    self.alias(a, r, ty)?;
                }
            }
            Op::Sext(ty, a) => {
                let from = self.ty(a);
                let s = self.gpr(a)?;
                let d = self.new_gpr()?;
                self.asm.sign_extend(from.bytes(), ty == Ty::I64, d, s);
                self.result_narrow(d, !is_wide(ty));
            }
            Op::Trunc(_, a) => {
                if let Loc::Flags(cc) = self.loc[a.0 as usize] {
                    self.result(Loc::Flags(cc));
                } else {
                    let r = self.gpr(a)?;
                    self.alias(a, r, Ty::I64)?;
                    self.narrow[self.at] = true;
                }
            }
            Op::Carry(ty, a, b, c) => self.carry_or_overflow(true, ty, a, b, c)?,
            Op::Overflow(ty, a, b, c) => self.carry_or_overflow(false, ty, a, b, c)?,
            Op::Load(ty, va, mem) => self.guest_load(ty, va, mem)?,
            Op::Store(ty, va, value, mem) => self.guest_store(ty, va, value, mem)?,
            Op::Atomic(op, ty, va, value, mem) => {
                let constants = [(2, kind_of(op, ty)), (3, pack_mem(0, mem))];
                self.call(super::slow::atomic::<F> as *const () as u64, &[va, value], &constants, true)?;
                self.check_raised();
                self.result_rax(true)?;
            }
            Op::CmpXchg(ty, va, expected, new, mem) => {
                self.pass_vector(0, expected, ty)?;
                self.pass_vector(1, new, ty)?;
                let constants = [(1, u64::from(ty.bytes())), (2, pack_mem(0, mem))];
                self.call(super::slow::cmpxchg::<F> as *const () as u64, &[va], &constants, true)?;
                self.check_raised();
                if ty == Ty::V128 {
                    self.result_vector()?;
                } else {
                    let d = self.new_gpr()?;
                    self.asm.load(ty.bytes(), d, Self::vectors(0));
                    self.result_narrow(d, false);
                }
            }
            Op::Fence => self.asm.mfence(),
            Op::FloatCmp(cond, lane, a, b) => self.float_compare(cond, lane, a, b)?,
            Op::Call(id, args, arity) => {
                if self.float_call(id, &args[..usize::from(arity)])? {
                    return Ok(());
                }
                let helper = self.shared.helpers[usize::from(id.0)];
                let function = match helper.func {
                    Func::F0(f) => f as *const () as u64,
                    Func::F1(f) => f as *const () as u64,
                    Func::F2(f) => f as *const () as u64,
                    Func::F3(f) => f as *const () as u64,
                    Func::F4(f) => f as *const () as u64,
                    Func::V(_) => return Err(TooComplex),
                };
                self.helper_call(&helper, function, &args[..usize::from(arity)], &[])?;
                self.result_rax(false)?;
            }
            Op::RaiseIf(id, c, imm) => {
                let Func::F1(function) = self.shared.helpers[usize::from(id.0)].func else { return Err(TooComplex) };
                let cc = self.condition(c)?;
                let raise = self.asm.jcc(cc);
                let what = ColdPath::Raise { function: function as *const () as u64, imm, pc: self.pc };
                self.put_aside(raise.into(), 0, what);
            }
            Op::CallV(id, args, imm) => {
                let helper = self.shared.helpers[usize::from(id.0)];
                let Func::V(function) = helper.func else { return Err(TooComplex) };
                if self.float_vector_call(id, args, imm)? {
                    return Ok(());
                }
                for (n, v) in args.into_iter().enumerate() {
                    self.pass_vector(n as i32, v, Ty::V128)?;
                }
                self.helper_call(&helper, function as *const () as u64, &[], &[(0, imm.into())])?;
                self.result_vector()?;
            }
            _ => self.vector_operation()?,
        }
        Ok(())
    }

    fn ty(&self, v: Val) -> Ty {
        self.ir.ops[v.0 as usize].result().unwrap_or(Ty::I64)
    }

    /// The result is what register `r` holds; constants get a register of their own.
    fn alias(&mut self, a: Val, r: Gpr, _ty: Ty) -> Result<(), TooComplex> {
        debug_assert!(self.loc[a.0 as usize] == Loc::Gpr(r) || self.constant(a).is_some());
        self.result_narrow(r, false);
        Ok(())
    }

    fn get(&mut self, slot: Slot) -> Result<(), TooComplex> {
        if slot.1 == Ty::V128 {
            let x = match self.xmms.of_slot(slot.0) {
                Some(x) => x,
                None => {
                    let x = self.new_xmm()?;
                    self.asm.load_xmm(x, Self::slot(slot));
                    self.xmms.name(x, slot.0);
                    x
                }
            };
            self.result(Loc::Xmm(x));
            return Ok(());
        }
        let r = if slot.0 == F::PC.0 {
            R14
        } else if let Some(r) = self.gprs.of_slot(slot.0) {
            r
        } else {
            let r = self.new_gpr()?;
            self.asm.load(8, r, Self::slot(slot));
            self.gprs.name(r, slot.0);
            r
        };
        let byte = slot.1 == Ty::I8 && F::BYTE_SLOTS.contains(&Slot(slot.0, Ty::I64));
        self.result_narrow(r, slot.1 != Ty::I64 && !byte);
        Ok(())
    }

    /// Where a slot is in memory.
    pub fn slot(slot: Slot) -> Mem {
        Mem::env(slot.0.into())
    }

    fn set(&mut self, slot: Slot, v: Val) -> Result<(), TooComplex> {
        if slot.1 == Ty::V128 {
            let x = self.xmm(v)?;
            self.asm.store_xmm(Self::slot(slot), x);
            self.xmms.forget_slot(slot.0);
            self.xmms.name(x, slot.0);
            return Ok(());
        }
        if slot.0 == F::PC.0 {
            // What was read of the program counter before stays what it was.
            self.spill_gpr(R14)?;
            return self.gpr_into(R14, v);
        }
        if let Loc::Flags(cc) = self.loc[v.0 as usize]
            && F::BYTE_SLOTS.contains(&Slot(slot.0, Ty::I64))
        {
            self.asm.setcc_mem(cc, Self::slot(slot));
            self.gprs.forget_slot(slot.0);
            return Ok(());
        }
        if let Some(imm) = self.immediate(Ty::I64, v) {
            match u8::try_from(imm) {
                Ok(imm) if F::BYTE_SLOTS.contains(&Slot(slot.0, Ty::I64)) => {
                    self.asm.store_byte_imm(Self::slot(slot), imm)
                }
                _ => self.asm.store_imm(true, Self::slot(slot), imm),
            }
            self.gprs.forget_slot(slot.0);
            return Ok(());
        }
        let r = self.gpr(v)?;
        self.asm.store(8, Self::slot(slot), r);
        self.gprs.forget_slot(slot.0);
        if r != R14 {
            self.gprs.name(r, slot.0);
        }
        Ok(())
    }

    /// Where argument or result `n` of vector functions is.
    pub fn vectors(n: i32) -> Mem {
        Mem::env(offset_of!(Env<F>, vectors) as i32 + 16 * n)
    }

    /// Stores a value of any type as a vector argument.
    pub fn pass_vector(&mut self, n: i32, v: Val, ty: Ty) -> Result<(), TooComplex> {
        if ty == Ty::V128 {
            let x = self.xmm(v)?;
            self.asm.store_xmm(Self::vectors(n), x);
        } else {
            let r = self.gpr_zero_extended(v, ty)?;
            self.asm.store(8, Self::vectors(n), r);
            let mut high = Self::vectors(n);
            high.disp += 8;
            self.asm.store_imm(true, high, 0);
        }
        Ok(())
    }

    /// The result is in the first vector cell.
    pub fn result_vector(&mut self) -> Result<(), TooComplex> {
        let d = self.new_xmm()?;
        self.asm.load_xmm(d, Self::vectors(0));
        self.result(Loc::Xmm(d));
        Ok(())
    }

    /// The result is in rax.
    pub fn result_rax(&mut self, narrow: bool) -> Result<(), TooComplex> {
        if self.last[self.at] != 0 {
            let d = self.new_gpr()?;
            self.asm.mov(true, d, RAX);
            self.result_narrow(d, narrow);
        }
        Ok(())
    }

    /// Calls a host function with the environment, values zero-extended, then constants at given positions. Registers
    /// that calls change lose their values to cells; what they know of slots is forgotten, all of it if the function
    /// writes slots.
    pub fn call(
        &mut self,
        function: u64,
        args: &[Val],
        constants: &[(usize, u64)],
        keeps_slots: bool,
    ) -> Result<(), TooComplex> {
        self.keep_flags()?;
        for v in args {
            let ty = self.ty(*v);
            if self.narrow[v.0 as usize] {
                self.gpr_zero_extended(*v, ty)?;
            }
        }
        // Everything must be somewhere that the call does not change, arguments too while others are moved.
        for r in CLOBBERED {
            self.evict_gpr(r)?;
        }
        for x in 0..16 {
            self.spill_xmm(x)?;
        }
        self.xmms.forget_slots();
        for r in ones(looks::in_use(&self.gprs).into()) {
            self.gprs.forget(r);
        }
        if !keeps_slots {
            self.gprs.forget_slots();
        }
        for (n, v) in args.iter().enumerate() {
            self.gpr_into(ARGUMENTS[n + 1], *v)?;
        }
        for (n, constant) in constants {
            self.asm.mov_imm(ARGUMENTS[n + 1], *constant);
        }
        self.asm.lea(true, ARGUMENTS[0], Mem::env(0));
        self.asm.mov_imm(RAX, function);
        // The stack is aligned for a call within the function that called this block.
        self.asm.push(RCX);
        self.asm.call_reg(RAX);
        self.asm.pop(RCX);
        Ok(())
    }

    fn helper_call(
        &mut self,
        helper: &crate::frontend::Helper<F>,
        function: u64,
        args: &[Val],
        constants: &[(usize, u64)],
    ) -> Result<(), TooComplex> {
        if helper.reads_slots || helper.writes_slots {
            self.asm.store(8, Self::slot(F::PC), R14);
        }
        if helper.writes_slots {
            // What was read of the program counter before stays what it was.
            self.spill_gpr(R14)?;
        }
        self.call(function, args, constants, !helper.writes_slots)?;
        if helper.writes_slots {
            self.asm.load(8, R14, Self::slot(F::PC));
        }
        if helper.raises {
            self.check_raised();
        }
        Ok(())
    }

    /// After a call that may raise: leaves if it did.
    pub fn check_raised(&mut self) {
        self.asm.alu_mem_imm(Alu::Cmp, true, env!(F, raised), 0);
        let from = self.asm.jcc(Cc::Ne).into();
        let back = self.asm.code.len();
        self.put_aside(from, back, ColdPath::Fault { pc: self.pc });
    }

    /// The entries: first the one for code that keeps program counter and budget in memory, then ours; the check of the
    /// budget; the count of runs.
    fn head(&mut self) {
        self.asm.lea(true, RBP, Mem::at(RDI, ENV_BIAS));
        self.asm.load(8, R15, env!(F, budget));
        self.asm.load(8, R14, Self::slot(F::PC));
        self.fast_entry = self.asm.code.len();
        self.turn_to(0);
        self.asm.alu_imm(Alu::Sub, true, R15, (self.block.insns + self.insns_after) as i32);
        let from = self.asm.jcc(Cc::S).into();
        self.put_aside(from, 0, ColdPath::Budget);
        if let Some(hot_after) = self.hot_after {
            self.block.runs.ask_at(hot_after);
            self.asm.mov_imm(RAX, std::ptr::from_ref(self.block.runs.cell()) as u64);
            self.asm.alu_mem_imm(Alu::Sub, false, Mem::at(RAX, 0), 1);
            let from = self.asm.jcc(Cc::E).into();
            self.put_aside(from, 0, ColdPath::Hot);
        }
    }
}
