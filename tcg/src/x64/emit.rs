//! One pass over a block's IR that emits host code for each operation.

use super::asm::{Alu, Asm, Cc, Gpr, Hole, Mem, R14, R15, RAX, RBP, RCX, RDI, RDX, Shift, Xmm};
use super::registers::{Bank, CLOBBERED, Loc, TooComplex};
use super::stubs::{ARGUMENTS, Stubs};
use crate::cache;
use crate::env::{Env, TEMPS};
use crate::exec::Shared;
use crate::frontend::{Frontend, Func};
use crate::interp::{kind_of, pack_mem};
use crate::ir::{Binary, Block as Ir, Cond, Op, Slot, Ty, Unary, Val};
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

/// Code out of the way, emitted behind the block.
pub struct Cold {
    /// Jumps that lead to it.
    pub from: Vec<Hole>,
    /// Where it goes on.
    pub back: usize,
    pub what: ColdPath,
}

/// What such code does.
pub enum ColdPath {
    /// A memory access that the TLB does not settle: the address, the operand packed for [`slow`](super::slow), the
    /// register that is loaded or stored, and the vector registers in use with the slots that they are copies of.
    Access { va: Gpr, info: i32, data: Data, xmms: Vec<(Xmm, Option<u16>)> },
    /// A vector helper is called, for a result that the host may have got wrong.
    VectorHelper { function: u64, imm: u32, args: [Xmm; 3], d: Xmm, xmms: Vec<(Xmm, Option<u16>)> },
    /// The same for a helper of an integer and a constant.
    Helper { function: u64, operand: Gpr, how: i32, d: Gpr, xmms: Vec<(Xmm, Option<u16>)> },
    /// An exception was raised by the instruction at this distance.
    Fault { pc: u32 },
    /// There is no budget for the block, or something must be looked at.
    Budget,
    /// The block has run often enough to be optimized.
    Hot,
}

/// What a memory access loads or stores.
#[derive(Clone, Copy)]
pub enum Data {
    Load(Gpr),
    Store(Gpr),
    LoadVector(Xmm),
    StoreVector(Xmm),
}

/// What the emitter keeps from one block to the next, so that it need not be allocated anew.
#[derive(Default)]
pub struct Buffers {
    /// The code.
    pub asm: Asm,
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
}

/// No value.
pub const NONE: u32 = u32::MAX;

/// The state of the emitter.
pub struct Emit<'a, F: Frontend> {
    pub asm: Asm,
    pub ir: &'a Ir,
    pub shared: &'a Shared<F>,
    pub block: &'a cache::Block,
    pub stubs: &'a Stubs,
    /// Number of the operation at hand.
    pub at: usize,
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
    /// Distance of the instruction at hand.
    pub pc: u32,
    /// Jumps to stubs: where, and the address.
    pub far: Vec<(Hole, u64)>,
    /// Offset of the entry for code that keeps program counter and budget in their registers.
    pub fast_entry: usize,
    /// Runs after which the block asks to be optimized.
    pub hot_after: Option<u32>,
}

/// A field of the environment.
macro_rules! env {
    ($f:ident, $field:ident) => {
        Mem::at(RBP, offset_of!(Env<$f>, $field) as i32)
    };
}
pub(super) use env;

/// What a comparison with zero of this value compares in truth: the operands of the subtraction that made it.
fn subtraction(ir: &Ir, cond: Cond, ty: Ty, a: Val, b: Val) -> Option<(Val, Val)> {
    let sign_or_zero = matches!(cond, Cond::Eq | Cond::Ne | Cond::LtS);
    match ir.ops[a.0 as usize] {
        Op::Bin(Binary::Sub, t, x, y) if t == ty && sign_or_zero && ir.as_const(b) == Some(0) && is_wide(ty) => {
            Some((x, y))
        }
        _ => None,
    }
}

/// The operands of the subtraction whose overflow or carry `a + !b + 1` has.
fn complement(ir: &Ir, ty: Ty, b: Val, c: Val) -> Option<Val> {
    match ir.ops[b.0 as usize] {
        Op::Un(Unary::Not, t, x) if t == ty && ir.as_const(c) == Some(1) && is_wide(ty) => Some(x),
        _ => None,
    }
}

pub fn is_wide(ty: Ty) -> bool {
    matches!(ty, Ty::I32 | Ty::I64)
}

/// The operands that an operation really reads.
fn reads(ir: &Ir, op: &Op, mut f: impl FnMut(Val)) {
    match *op {
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
    pub fn new(
        shared: &'a Shared<F>,
        block: &'a cache::Block,
        ir: &'a Ir,
        stubs: &'a Stubs,
        hot_after: Option<u32>,
        buffers: &mut Buffers,
    ) -> Self {
        fn renew<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) -> Vec<T> {
            let mut taken = emptied(buffer);
            taken.resize(len, value);
            taken
        }
        fn emptied<T>(buffer: &mut Vec<T>) -> Vec<T> {
            let mut taken = std::mem::take(buffer);
            taken.clear();
            taken
        }
        let n = ir.ops.len();
        let mut last = renew(&mut buffers.last, n + 1, 0u32);
        let end = n as u32;
        ir.end_operand(|v| last[v.0 as usize] = end);
        for (at, op) in ir.ops.iter().enumerate().rev() {
            if last[at] != 0 || !op.is_pure() {
                reads(ir, op, |v| last[v.0 as usize] = last[v.0 as usize].max(at as u32));
            }
        }
        let mut first_death = renew(&mut buffers.first_death, n + 1, NONE);
        let mut next_death = renew(&mut buffers.next_death, n, NONE);
        for (v, at) in last.iter().enumerate().take(n).filter(|(_, at)| **at != 0) {
            next_death[v] = std::mem::replace(&mut first_death[*at as usize], v as u32);
        }
        Emit {
            asm: Asm { code: emptied(&mut buffers.asm.code) },
            ir,
            shared,
            block,
            stubs,
            at: 0,
            last,
            first_death,
            next_death,
            loc: renew(&mut buffers.loc, n, Loc::Nowhere),
            narrow: renew(&mut buffers.narrow, n, false),
            gprs: Bank::default(),
            xmms: Bank::default(),
            cells: 0,
            free_cells: emptied(&mut buffers.free_cells),
            cell_users: renew(&mut buffers.cell_users, TEMPS, 0),
            flags: None,
            in_flags: emptied(&mut buffers.in_flags),
            cold: emptied(&mut buffers.cold),
            pc: 0,
            far: emptied(&mut buffers.far),
            fast_entry: 0,
            hot_after,
        }
    }

    /// Gives the buffers back, with the code and its open jumps in them.
    pub fn into_buffers(self) -> Buffers {
        Buffers {
            asm: self.asm,
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
        }
    }

    /// Emits everything.
    pub fn block(&mut self) -> Result<(), TooComplex> {
        self.head();
        for at in 0..self.ir.ops.len() {
            self.at = at;
            if self.last[at] == 0 && self.ir.ops[at].is_pure() {
                continue;
            }
            self.operation()?;
            self.finish_operation();
        }
        self.at = self.ir.ops.len();
        self.terminal()?;
        self.cold_paths();
        Ok(())
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

    /// A result in a general register whose bits above the type may be anything.
    fn result_narrow(&mut self, d: Gpr, narrow: bool) {
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
                self.to_vectors(0, expected, ty)?;
                self.to_vectors(1, new, ty)?;
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
            Op::CallV(id, args, imm) => {
                let helper = self.shared.helpers[usize::from(id.0)];
                let Func::V(function) = helper.func else { return Err(TooComplex) };
                if self.float_vector_call(id, args, imm)? {
                    return Ok(());
                }
                for (n, v) in args.into_iter().enumerate() {
                    self.to_vectors(n as i32, v, Ty::V128)?;
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
                    self.xmms.held[usize::from(x)].slot = Some(slot.0);
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
            self.gprs.held[usize::from(r)].slot = Some(slot.0);
            r
        };
        let byte = slot.1 == Ty::I8 && F::BYTE_SLOTS.contains(&Slot(slot.0, Ty::I64));
        self.result_narrow(r, slot.1 != Ty::I64 && !byte);
        Ok(())
    }

    /// Where a slot is in memory.
    pub fn slot(slot: Slot) -> Mem {
        Mem::at(RBP, slot.0.into())
    }

    fn set(&mut self, slot: Slot, v: Val) -> Result<(), TooComplex> {
        if slot.1 == Ty::V128 {
            let x = self.xmm(v)?;
            self.asm.store_xmm(Self::slot(slot), x);
            self.xmms.forget_slot(slot.0);
            self.xmms.held[usize::from(x)].slot = Some(slot.0);
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
            self.asm.store_imm(true, Self::slot(slot), imm);
            self.gprs.forget_slot(slot.0);
            return Ok(());
        }
        let r = self.gpr(v)?;
        self.asm.store(8, Self::slot(slot), r);
        self.gprs.forget_slot(slot.0);
        if r != R14 {
            self.gprs.held[usize::from(r)].slot = Some(slot.0);
        }
        Ok(())
    }

    fn binary(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
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

    /// Frees a register.
    fn evict_gpr(&mut self, r: Gpr) -> Result<(), TooComplex> {
        self.spill_gpr(r)?;
        self.gprs.held[usize::from(r)].slot = None;
        Ok(())
    }

    /// Narrow operations that hardly ever occur: a function of the operands.
    fn binary_by_function(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        let kind = super::slow::binary_kind(op, ty);
        self.call(super::slow::binary::<F> as *const () as u64, &[a, b], &[(2, kind)], true)?;
        self.result_rax(false)
    }

    fn unary(&mut self, op: Unary, ty: Ty, a: Val) -> Result<(), TooComplex> {
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
                let kind = super::slow::unary_kind(op, ty);
                self.call(super::slow::unary::<F> as *const () as u64, &[a], &[(1, kind)], true)?;
                self.result_rax(false)?;
            }
        }
        Ok(())
    }

    /// Makes the host's flags those of `a - b`.
    fn flags_of_difference(&mut self, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        let wide = ty == Ty::I64;
        if let Some(imm) = self.immediate(ty, b) {
            let r = self.gpr(a)?;
            self.keep_flags()?;
            if imm == 0 { self.asm.test(wide, r, r) } else { self.asm.alu_imm(Alu::Cmp, wide, r, imm) }
        } else {
            let (r, s) = (self.gpr(a)?, self.gpr(b)?);
            self.keep_flags()?;
            self.asm.alu(Alu::Cmp, wide, r, s);
        }
        self.flags = Some(Flags::Sub(ty, a, b));
        Ok(())
    }

    fn compare(&mut self, cond: Cond, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        if !is_wide(ty) {
            return self.compare_narrow(cond, ty, a, b);
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
        let direct = match cond {
            Cond::Eq => Cc::E,
            Cond::Ne => Cc::Ne,
            Cond::LtU => Cc::B,
            Cond::LeU => Cc::Be,
            Cond::LtS => Cc::L,
            Cond::LeS => Cc::Le,
        };
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
        } else if self.constant(a).is_some() || matches!(cond, Cond::LeU | Cond::LeS) && !self.constant(b).is_some() {
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

    /// A comparison of bytes or words.
    fn compare_narrow(&mut self, cond: Cond, ty: Ty, a: Val, b: Val) -> Result<(), TooComplex> {
        if self.constant(b) == Some(0)
            && matches!(cond, Cond::Eq | Cond::Ne)
            && let Loc::Flags(cc) = self.loc[a.0 as usize]
        {
            // A condition, or its opposite.
            self.result(Loc::Flags(if cond == Cond::Eq { cc.not() } else { cc }));
            return Ok(());
        }
        let signed = matches!(cond, Cond::LtS | Cond::LeS);
        if signed {
            let (x, y) = (self.gpr(a)?, self.gpr(b)?);
            self.asm.sign_extend(ty.bytes(), false, RAX, x);
            self.asm.sign_extend(ty.bytes(), false, RCX, y);
            self.keep_flags()?;
            self.asm.alu(Alu::Cmp, false, RAX, RCX);
        } else {
            let x = self.gpr_zero_extended(a, ty)?;
            match self.constant(b) {
                Some(0) => {
                    self.keep_flags()?;
                    self.asm.test(false, x, x);
                }
                Some(imm) => {
                    self.keep_flags()?;
                    self.asm.alu_imm(Alu::Cmp, false, x, imm as i32);
                }
                None => {
                    let y = self.gpr_zero_extended(b, ty)?;
                    self.keep_flags()?;
                    self.asm.alu(Alu::Cmp, false, x, y);
                }
            }
        }
        self.flags = None;
        self.result(Loc::Flags(match cond {
            Cond::Eq => Cc::E,
            Cond::Ne => Cc::Ne,
            Cond::LtU => Cc::B,
            Cond::LeU => Cc::Be,
            Cond::LtS => Cc::L,
            Cond::LeS => Cc::Le,
        }));
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

    fn select(&mut self, ty: Ty, c: Val, a: Val, b: Val) -> Result<(), TooComplex> {
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

    fn carry_or_overflow(&mut self, carry: bool, ty: Ty, a: Val, b: Val, c: Val) -> Result<(), TooComplex> {
        if !is_wide(ty) {
            let kind = super::slow::sum_kind(carry, ty);
            self.call(super::slow::sum_flag::<F> as *const () as u64, &[a, b, c], &[(3, kind)], true)?;
            return self.result_rax(false);
        }
        let wide = ty == Ty::I64;
        if let Some(x) = complement(self.ir, ty, b, c) {
            let have = matches!(self.flags, Some(Flags::Sub(t, p, q)) if t == ty && self.same(p, a) && self.same(q, x));
            if !have {
                self.flags_of_difference(ty, a, x)?;
            }
            self.result(Loc::Flags(if carry { Cc::Ae } else { Cc::O }));
            return Ok(());
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

    /// Where argument or result `n` of vector functions is.
    pub fn vectors(n: i32) -> Mem {
        Mem::at(RBP, offset_of!(Env<F>, vectors) as i32 + 16 * n)
    }

    /// Stores a value of any type as a vector argument.
    pub fn to_vectors(&mut self, n: i32, v: Val, ty: Ty) -> Result<(), TooComplex> {
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
    fn result_rax(&mut self, narrow: bool) -> Result<(), TooComplex> {
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
        if !keeps_slots {
            self.gprs.forget_slots();
        }
        for (n, v) in args.iter().enumerate() {
            self.gpr_into(ARGUMENTS[n + 1], *v)?;
        }
        for (n, constant) in constants {
            self.asm.mov_imm(ARGUMENTS[n + 1], *constant);
        }
        self.asm.mov(true, ARGUMENTS[0], RBP);
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
        let from = vec![self.asm.jcc(Cc::Ne)];
        let back = self.asm.code.len();
        self.cold.push(Cold { from, back, what: ColdPath::Fault { pc: self.pc } });
    }

    /// The entries: first the one for code that keeps program counter and budget in memory, then ours; the check of the
    /// budget; the count of runs.
    fn head(&mut self) {
        self.asm.mov(true, RBP, RDI);
        self.asm.load(8, R15, env!(F, budget));
        self.asm.load(8, R14, Self::slot(F::PC));
        self.fast_entry = self.asm.code.len();
        self.asm.alu_imm(Alu::Sub, true, R15, self.block.insns as i32);
        let mut from = vec![self.asm.jcc(Cc::S)];
        self.asm.alu_mem_imm(Alu::Cmp, false, env!(F, look), 0);
        from.push(self.asm.jcc(Cc::Ne));
        self.cold.push(Cold { from, back: 0, what: ColdPath::Budget });
        if let Some(hot_after) = self.hot_after {
            self.asm.mov_imm(RAX, std::ptr::from_ref(&self.block.runs) as u64);
            self.asm.load(4, RCX, Mem::at(RAX, 0));
            self.asm.alu_imm(Alu::Add, false, RCX, 1);
            self.asm.store(4, Mem::at(RAX, 0), RCX);
            self.asm.alu_imm(Alu::Cmp, false, RCX, hot_after.min(i32::MAX as u32) as i32);
            let from = vec![self.asm.jcc(Cc::E)];
            self.cold.push(Cold { from, back: 0, what: ColdPath::Hot });
        }
    }
}
