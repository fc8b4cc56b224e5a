//! Turns IR into micro-operations.
//!
//! Most reads and writes of guest registers disappear here: a value that is a register's contents is used where it
//! lies as long as nothing overwrites it, and an operation whose result goes to a register puts it there itself when
//! nothing can observe the difference.

use super::run::{ATOMICS, BINARY, CONDS, TYPES, UNARY, pack_mem};
use super::vector::{vbinary, vshift, vunary};
use super::{Code, Operation as O, Uop};
use crate::env::TEMPS;
use crate::frontend::{Frontend, Func, Helper};
use crate::ir::{Binary, Block, Cond, FloatCond, Lane, Mem, Op, Slot, Terminal, Ty, Unary, Val};

/// What decoding must know of the environment.
pub struct Limits {
    /// Offset of the first temporary.
    pub temps: u16,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Nowhere: nobody uses it, or its user computes it.
    None,
    /// In a cell; `clean` if the bits above its type are zero.
    Cell { at: u16, clean: bool },
    /// It is a constant.
    Const(u64),
    /// The cell plus a displacement.
    Sum(u16, i32),
}

/// No destination.
const NOWHERE: u16 = 0xffff;

struct Decoder<'a, F: Frontend> {
    block: &'a Block,
    helpers: &'a [Helper<F>],
    uops: Vec<Uop>,
    marks: Vec<(u32, u32)>,
    places: Vec<Place>,
    uses: Vec<u32>,
    last_use: Vec<u32>,
    /// Reads that are used in place.
    alias: Vec<bool>,
    /// Register that an operation's result goes to directly.
    direct: Vec<Option<u16>>,
    /// Temporaries whose value dies after an operation.
    owned: Vec<Option<u16>>,
    free: Vec<u16>,
    temps: u16,
}

/// Decodes a verified block. `None` when it needs more temporaries than there are (a shorter block will do).
pub fn decode<F: Frontend>(block: &Block, helpers: &[Helper<F>], limits: &Limits) -> Option<Code> {
    let n = block.ops.len();
    let mut d = Decoder {
        block,
        helpers,
        uops: Vec::with_capacity(n),
        marks: Vec::with_capacity(block.insns as usize),
        places: vec![Place::None; n],
        uses: vec![0; n],
        last_use: vec![0; n],
        alias: vec![false; n],
        direct: vec![None; n],
        owned: vec![None; n],
        free: (0..TEMPS as u16).rev().collect(),
        temps: limits.temps,
    };
    d.analyse();
    d.find_direct();
    for at in 0..n {
        d.operation(at)?;
        d.release(at);
    }
    d.terminal()?;
    Some(Code {
        uops: d.uops.into_boxed_slice(),
        marks: d.marks.into_boxed_slice(),
        exits: exits(block),
        indirect: is_indirect(block),
        pc_mask: pc_mask(block),
    })
}

/// The bits that an address of code has.
pub(super) fn pc_mask(block: &Block) -> u64 {
    if block.narrow { 0xffff_ffff } else { u64::MAX }
}

/// Whether the block ends with an indirect branch.
pub(super) fn is_indirect(block: &Block) -> bool {
    matches!(block.end, Some(Terminal::Indirect(_)))
}

/// Distances of the fixed exits.
pub(super) fn exits(block: &Block) -> [Option<i64>; 2] {
    match block.end {
        Some(Terminal::Jump(to)) => [Some(to), None],
        Some(Terminal::Branch(_, to, other)) => [Some(to), Some(other)],
        _ => [None, None],
    }
}

impl<F: Frontend> Decoder<'_, F> {
    fn op(&self, v: Val) -> &Op {
        &self.block.ops[v.0 as usize]
    }

    /// The value that a load or store adds a displacement to, if its address is such a sum used once.
    fn sum(&self, va: Val) -> Option<(Val, i32)> {
        match *self.op(va) {
            Op::Bin(Binary::Add, Ty::I64, base, by) if self.uses[va.0 as usize] == 1 => {
                let by = i32::try_from(self.block.as_const(by)? as i64).ok()?;
                (self.block.as_const(base).is_none()).then_some((base, by))
            }
            _ => None,
        }
    }

    fn writes_slots(&self, op: &Op) -> bool {
        match op {
            Op::Call(id, ..) | Op::CallV(id, ..) => self.helpers[usize::from(id.0)].writes_slots,
            _ => false,
        }
    }

    /// Counts uses, finds last uses and the reads that can be used in place.
    fn analyse(&mut self) {
        let n = self.block.ops.len();
        for op in &self.block.ops {
            op.operands(|v| self.uses[v.0 as usize] += 1);
        }
        if let Some(Terminal::Branch(v, ..) | Terminal::Indirect(v)) = self.block.end {
            self.uses[v.0 as usize] += 1;
            self.last_use[v.0 as usize] = n as u32;
        }
        // Backwards: the nearest later write of each register.
        let mut clobbers: Vec<(u16, u32)> = Vec::new();
        let mut call = u32::MAX;
        for at in (0..n).rev() {
            let op = self.block.ops[at];
            // A value that is only looked at in another type lives as long as that look.
            let seen = match op {
                Op::Zext(..) | Op::Trunc(..) => self.last_use[at].max(at as u32),
                _ => at as u32,
            };
            op.operands(|v| {
                let last = &mut self.last_use[v.0 as usize];
                *last = (*last).max(seen);
            });
            match op {
                Op::Load(_, va, _) | Op::Store(_, va, _, _) => {
                    if let Some((base, _)) = self.sum(va) {
                        let last = &mut self.last_use[base.0 as usize];
                        *last = (*last).max(at as u32);
                    }
                }
                Op::Set(slot, _) => match clobbers.iter_mut().find(|(s, _)| *s == slot.0) {
                    Some(clobber) => clobber.1 = at as u32,
                    None => clobbers.push((slot.0, at as u32)),
                },
                Op::Get(slot) => {
                    let write = clobbers.iter().find(|(s, _)| *s == slot.0).map_or(u32::MAX, |c| c.1);
                    let last = self.last_use[at];
                    self.alias[at] = write >= last && call >= last;
                }
                _ => {}
            }
            if self.writes_slots(&op) {
                call = at as u32;
            }
        }
    }

    /// Finds operations whose result can be put into a register by themselves.
    fn find_direct(&mut self) {
        for at in 0..self.block.ops.len() {
            let Op::Set(slot, mut v) = self.block.ops[at] else { continue };
            if self.uses[v.0 as usize] != 1 {
                continue;
            }
            if let Op::Zext(_, inner) = *self.op(v) {
                let narrow = matches!(self.op(inner), Op::Get(_) | Op::Trunc(..));
                if narrow || self.uses[inner.0 as usize] != 1 {
                    continue;
                }
                v = inner;
            }
            let from = v.0 as usize;
            if matches!(
                self.block.ops[from],
                Op::Get(_) | Op::Const(..) | Op::ConstV(..) | Op::Trunc(..) | Op::Zext(..)
            ) {
                continue;
            }
            // The result appears early: nobody in between may leave the block, or read or write the register.
            let between = &self.block.ops[from + 1..at];
            let mut clash = false;
            for op in between {
                clash |= op.may_leave() || matches!(op, Op::Set(s, _) | Op::Get(s) if s.0 == slot.0);
                op.operands(|o| clash |= self.reads_in_place(o, slot));
                if let Op::Load(_, va, _) | Op::Store(_, va, _, _) = op {
                    clash |= self.sum(*va).is_some_and(|(base, _)| self.reads_in_place(base, slot));
                }
            }
            // A value that aliases the register and is used later than this set was refused by `analyse` already.
            if !clash {
                self.direct[from] = Some(slot.0);
            }
        }
    }

    /// Whether using `v` reads the cell of `slot`.
    fn reads_in_place(&self, v: Val, slot: Slot) -> bool {
        match *self.op(v) {
            Op::Get(s) => s.0 == slot.0 && self.alias[v.0 as usize],
            Op::Zext(_, inner) | Op::Trunc(_, inner) => self.reads_in_place(inner, slot),
            _ => false,
        }
    }

    fn emit(&mut self, op: O, d: u16, a: u16, b: u16, imm: u64) {
        self.uops.push(Uop { op, d, a, b, imm });
    }

    fn data(&mut self, a: u16, imm: u64) {
        self.emit(O::Data, 0, a, 0, imm);
    }

    fn temp(&mut self) -> Option<u16> {
        let cell = self.free.pop()?;
        Some(self.temps + cell * 16)
    }

    /// A destination for the value of operation `at`.
    fn destination(&mut self, at: usize) -> Option<u16> {
        let cell = match self.direct[at] {
            Some(slot) => slot,
            None => {
                let temp = self.temp()?;
                self.owned[at] = Some(temp);
                temp
            }
        };
        self.places[at] = Place::Cell { at: cell, clean: true };
        Some(cell)
    }

    /// Gives back temporaries of values that operation `at` used last.
    fn release(&mut self, at: usize) {
        let mut dead = Vec::new();
        let op = self.block.ops[at];
        let mut visit = |v: Val| dead.push(v);
        op.operands(&mut visit);
        if let Op::Load(_, va, _) | Op::Store(_, va, _, _) = op
            && let Some((base, _)) = self.sum(va)
        {
            dead.push(base);
        }
        dead.push(Val(at as u32));
        let mut i = 0;
        while let Some(&v) = dead.get(i) {
            i += 1;
            if let Op::Zext(_, inner) | Op::Trunc(_, inner) = *self.op(v) {
                dead.push(inner);
            }
            if self.last_use[v.0 as usize] <= at as u32
                && let Some(temp) = self.owned[v.0 as usize].take()
            {
                self.free.push((temp - self.temps) / 16);
            }
        }
    }

    /// The cell of a value; constants are put into one.
    fn cell(&mut self, v: Val) -> Option<u16> {
        match self.places[v.0 as usize] {
            Place::Cell { at, .. } => Some(at),
            Place::Const(value) => {
                let temp = self.temp()?;
                self.emit(O::MovI, temp, 0, 0, value);
                self.owned[v.0 as usize] = Some(temp);
                self.places[v.0 as usize] = Place::Cell { at: temp, clean: true };
                Some(temp)
            }
            Place::Sum(..) | Place::None => unreachable!("a value in use has a place"),
        }
    }

    fn constant(&self, v: Val) -> Option<u64> {
        match self.places[v.0 as usize] {
            Place::Const(value) => Some(value),
            _ => self.block.as_const(v),
        }
    }

    fn address(&mut self, va: Val) -> Option<(u16, i32)> {
        match self.places[va.0 as usize] {
            Place::Sum(at, by) => Some((at, by)),
            _ => Some((self.cell(va)?, 0)),
        }
    }

    fn operation(&mut self, at: usize) -> Option<()> {
        let op = self.block.ops[at];
        let used = self.uses[at] != 0;
        if op.is_pure() && !used {
            return Some(());
        }
        match op {
            Op::Insn { pc } => self.marks.push((self.uops.len() as u32, pc)),
            Op::Const(_, value) => self.places[at] = Place::Const(value),
            Op::ConstV(low, high) => {
                let d = self.destination(at)?;
                self.emit(O::MovVI, d, 0, 0, low);
                self.data(0, high);
            }
            Op::Get(slot) if self.alias[at] => {
                self.places[at] = Place::Cell { at: slot.0, clean: slot.1 == Ty::I64 };
            }
            Op::Get(slot) => {
                let d = self.destination(at)?;
                self.emit(mov(slot.1), d, slot.0, 0, 0);
            }
            Op::Set(slot, v) => self.set(slot, v)?,
            Op::Bin(Binary::Add, ..) if self.only_an_address(at) => {
                let (base, by) = self.sum(Val(at as u32))?;
                let cell = self.cell(base)?;
                self.places[at] = Place::Sum(cell, by);
            }
            Op::Bin(op, ty, a, b) => self.binary(at, op, ty, a, b)?,
            Op::Un(op, ty, a) => {
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                match (op, ty) {
                    (Unary::Not, Ty::I32) => self.emit(O::Not32, d, a, 0, 0),
                    (Unary::Not, Ty::I64) => self.emit(O::Not64, d, a, 0, 0),
                    (Unary::Neg, Ty::I32) => self.emit(O::Neg32, d, a, 0, 0),
                    (Unary::Neg, Ty::I64) => self.emit(O::Neg64, d, a, 0, 0),
                    _ => self.emit(O::Unary, d, a, 0, pack(UNARY, op, ty)),
                }
            }
            Op::Cmp(cond, ty, a, b) => self.compare(at, cond, ty, a, b)?,
            Op::FloatCmp(cond, lane, a, b) => {
                let (a, b) = (self.cell(a)?, self.cell(b)?);
                let d = self.destination(at)?;
                let double = if lane == Lane::D { 8 } else { 0 };
                self.emit(O::FloatCompare, d, a, b, index(&FloatCond::ALL, cond) | double);
            }
            Op::Select(ty, c, a, b) => {
                let (c, a, b) = (self.cell(c)?, self.cell(a)?, self.cell(b)?);
                let d = self.destination(at)?;
                let code = if ty == Ty::V128 { O::SelectV } else { O::Select };
                self.emit(code, d, c, a, u64::from(b) | index(TYPES, ty) << 16);
            }
            Op::Zext(_, a) => {
                let from = self.block.ty(a);
                match self.places[a.0 as usize] {
                    Place::Const(value) => self.places[at] = Place::Const(value),
                    Place::Cell { at: cell, clean: true } => {
                        self.places[at] = Place::Cell { at: cell, clean: true };
                    }
                    Place::Cell { at: cell, clean: false } => {
                        let d = self.destination(at)?;
                        self.emit(mov(from), d, cell, 0, 0);
                    }
                    Place::Sum(..) | Place::None => unreachable!("a value in use has a place"),
                }
            }
            Op::Trunc(ty, a) => match self.places[a.0 as usize] {
                Place::Const(value) => self.places[at] = Place::Const(value & ty.mask()),
                Place::Cell { at: cell, .. } => self.places[at] = Place::Cell { at: cell, clean: false },
                Place::Sum(..) | Place::None => unreachable!("a value in use has a place"),
            },
            Op::Sext(ty, a) => {
                let code = match self.block.ty(a) {
                    Ty::I8 => O::Sext8,
                    Ty::I16 => O::Sext16,
                    _ => O::Sext32,
                };
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                self.emit(code, d, a, 0, ty.mask());
            }
            Op::Carry(ty, a, b, c) | Op::Overflow(ty, a, b, c) => {
                let (a, b, c) = (self.cell(a)?, self.cell(b)?, self.cell(c)?);
                let d = self.destination(at)?;
                let code = match (op, ty) {
                    (Op::Carry(..), Ty::I32) => O::Carry32,
                    (Op::Carry(..), Ty::I64) => O::Carry64,
                    (Op::Carry(..), _) => O::Carry,
                    (_, Ty::I32) => O::Overflow32,
                    (_, Ty::I64) => O::Overflow64,
                    _ => O::Overflow,
                };
                self.emit(code, d, a, b, u64::from(c) | index(TYPES, ty) << 16);
            }
            Op::Load(ty, va, mem) => {
                let (a, by) = self.address(va)?;
                let d = self.destination(at)?;
                let code = match ty {
                    Ty::I8 => O::Load8,
                    Ty::I16 => O::Load16,
                    Ty::I32 => O::Load32,
                    Ty::I64 => O::Load64,
                    Ty::V128 => O::Load128,
                };
                self.emit(code, d, a, 0, pack_mem(by, plain_order(mem)));
            }
            Op::Store(ty, va, value, mem) => {
                let (a, by) = self.address(va)?;
                let b = self.cell(value)?;
                let code = match ty {
                    Ty::I8 => O::Store8,
                    Ty::I16 => O::Store16,
                    Ty::I32 => O::Store32,
                    Ty::I64 => O::Store64,
                    Ty::V128 => O::Store128,
                };
                self.emit(code, 0, a, b, pack_mem(by, plain_order(mem)));
            }
            Op::Atomic(op, ty, va, value, mem) => {
                let (a, b) = (self.cell(va)?, self.cell(value)?);
                let d = self.destination(at)?;
                self.emit(O::Atomic, d, a, b, pack_mem(0, mem));
                self.data(0, pack(ATOMICS, op, ty));
            }
            Op::CmpXchg(ty, va, expected, new, mem) => {
                let (a, b, c) = (self.cell(va)?, self.cell(expected)?, self.cell(new)?);
                let d = self.destination(at)?;
                self.emit(O::CmpXchg, d, a, b, pack_mem(0, mem));
                self.data(c, index(TYPES, ty));
            }
            Op::Fence => self.emit(O::Fence, 0, 0, 0, 0),
            Op::Call(id, args, arity) => {
                let mut cells = [0u16; 4];
                for (to, arg) in cells.iter_mut().zip(args).take(arity.into()) {
                    *to = self.cell(arg)?;
                }
                let d = if used { self.destination(at)? } else { NOWHERE };
                let [a, b, c, e] = cells;
                let code = match self.helpers[usize::from(id.0)].func {
                    Func::F0(_) => O::Call0,
                    Func::F1(_) => O::Call1,
                    Func::F2(_) => O::Call2,
                    Func::F3(_) => O::Call3,
                    Func::F4(_) => O::Call4,
                    Func::V(_) => unreachable!("a vector helper is called with call_v"),
                };
                self.emit(code, d, a, b, u64::from(c) | u64::from(e) << 16 | u64::from(id.0) << 32);
            }
            Op::RaiseIf(id, c, imm) => {
                let c = self.cell(c)?;
                self.emit(O::RaiseIf, 0, c, id.0, imm);
            }
            Op::CallV(id, [a, b, c], imm) => {
                let (a, b, c) = (self.cell(a)?, self.cell(b)?, self.cell(c)?);
                let d = self.destination(at)?;
                self.emit(O::CallV, d, a, b, id.0.into());
                self.data(c, imm.into());
            }
            Op::VBin(op, lane, a, b) => {
                let (a, b) = (self.cell(a)?, self.cell(b)?);
                let d = self.destination(at)?;
                self.emit(O::Vector2, d, a, b, vbinary(op, lane) as usize as u64);
            }
            Op::VUn(op, lane, a) => {
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                self.emit(O::Vector1, d, a, 0, vunary(op, lane) as usize as u64);
            }
            Op::VShift(op, lane, a, by) => {
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                self.emit(O::VectorShift, d, a, by.into(), vshift(op, lane) as usize as u64);
            }
            Op::Splat(lane, a) => {
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                self.emit([O::Splat8, O::Splat16, O::Splat32, O::Splat64][lane_index(lane)], d, a, 0, 0);
            }
            Op::Extract(lane, v, n) => {
                let v = self.cell(v)?;
                let d = self.destination(at)?;
                let code = [O::Extract8, O::Extract16, O::Extract32, O::Extract64][lane_index(lane)];
                self.emit(code, d, v, u16::from(n) * u16::from(lane.ty().bytes()), 0);
            }
            Op::Insert(lane, v, n, a) => {
                let (v, a) = (self.cell(v)?, self.cell(a)?);
                let d = self.destination(at)?;
                let code = [O::Insert8, O::Insert16, O::Insert32, O::Insert64][lane_index(lane)];
                self.emit(code, d, v, a, u64::from(n) * u64::from(lane.ty().bytes()));
            }
            Op::Shuffle(a, b, mask) => {
                let (a, b) = (self.cell(a)?, self.cell(b)?);
                let d = self.destination(at)?;
                let mask = u128::from_le_bytes(self.block.masks[usize::from(mask)]);
                self.emit(O::Shuffle, d, a, b, mask as u64);
                self.data(0, (mask >> 64) as u64);
            }
        }
        Some(())
    }

    /// Whether operation `at` is a sum that a single load or store takes as its address.
    fn only_an_address(&self, at: usize) -> bool {
        let v = Val(at as u32);
        self.uses[at] == 1
            && self.direct[at].is_none()
            && self.sum(v).is_some()
            && self.block.ops[self.last_use[at] as usize..].first().is_some_and(|user| {
                matches!(user, Op::Load(_, va, _) if *va == v) || matches!(user, Op::Store(_, va, _, _) if *va == v)
            })
    }

    fn set(&mut self, slot: Slot, v: Val) -> Option<()> {
        match self.places[v.0 as usize] {
            Place::Cell { at, .. } if at == slot.0 => {}
            Place::Const(value) => self.emit(O::MovI, slot.0, 0, 0, value),
            Place::Cell { at, .. } if slot.1 == Ty::V128 => self.emit(O::MovV, slot.0, at, 0, 0),
            Place::Cell { at, .. } => self.emit(O::Mov64, slot.0, at, 0, 0),
            Place::Sum(..) | Place::None => unreachable!("a value in use has a place"),
        }
        Some(())
    }

    fn binary(&mut self, at: usize, op: Binary, ty: Ty, a: Val, b: Val) -> Option<()> {
        let codes = match (op, ty) {
            (Binary::Add, Ty::I32) => Some((O::Add32R, O::Add32I)),
            (Binary::Add, Ty::I64) => Some((O::Add64R, O::Add64I)),
            (Binary::Sub, Ty::I32) => Some((O::Sub32R, O::Sub32I)),
            (Binary::Sub, Ty::I64) => Some((O::Sub64R, O::Sub64I)),
            (Binary::Mul, Ty::I32) => Some((O::Mul32R, O::Mul32I)),
            (Binary::Mul, Ty::I64) => Some((O::Mul64R, O::Mul64I)),
            (Binary::And, Ty::I32) => Some((O::And32R, O::And32I)),
            (Binary::And, Ty::I64) => Some((O::And64R, O::And64I)),
            (Binary::Or, Ty::I32) => Some((O::Or32R, O::Or32I)),
            (Binary::Or, Ty::I64) => Some((O::Or64R, O::Or64I)),
            (Binary::Xor, Ty::I32) => Some((O::Xor32R, O::Xor32I)),
            (Binary::Xor, Ty::I64) => Some((O::Xor64R, O::Xor64I)),
            (Binary::AndNot, Ty::I32) => Some((O::AndNot32R, O::AndNot32I)),
            (Binary::AndNot, Ty::I64) => Some((O::AndNot64R, O::AndNot64I)),
            (Binary::Shl, Ty::I32) => Some((O::Shl32R, O::Shl32I)),
            (Binary::Shl, Ty::I64) => Some((O::Shl64R, O::Shl64I)),
            (Binary::Shr, Ty::I32) => Some((O::Shr32R, O::Shr32I)),
            (Binary::Shr, Ty::I64) => Some((O::Shr64R, O::Shr64I)),
            (Binary::Sar, Ty::I32) => Some((O::Sar32R, O::Sar32I)),
            (Binary::Sar, Ty::I64) => Some((O::Sar64R, O::Sar64I)),
            (Binary::Ror, Ty::I32) => Some((O::Ror32R, O::Ror32I)),
            (Binary::Ror, Ty::I64) => Some((O::Ror64R, O::Ror64I)),
            _ => None,
        };
        match (codes, self.constant(b)) {
            (Some((_, with_constant)), Some(imm)) => {
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                self.emit(with_constant, d, a, 0, imm);
            }
            (codes, _) => {
                let (a, b) = (self.cell(a)?, self.cell(b)?);
                let d = self.destination(at)?;
                match codes {
                    Some((with_cell, _)) => self.emit(with_cell, d, a, b, 0),
                    None => self.emit(O::Binary, d, a, b, pack(BINARY, op, ty)),
                }
            }
        }
        Some(())
    }

    fn compare(&mut self, at: usize, cond: Cond, ty: Ty, a: Val, b: Val) -> Option<()> {
        let codes = match (cond, ty) {
            (Cond::Eq, Ty::I32) => Some((O::Eq32R, O::Eq32I)),
            (Cond::Eq, Ty::I64) => Some((O::Eq64R, O::Eq64I)),
            (Cond::Ne, Ty::I32) => Some((O::Ne32R, O::Ne32I)),
            (Cond::Ne, Ty::I64) => Some((O::Ne64R, O::Ne64I)),
            (Cond::LtU, Ty::I32) => Some((O::LtU32R, O::LtU32I)),
            (Cond::LtU, Ty::I64) => Some((O::LtU64R, O::LtU64I)),
            (Cond::LeU, Ty::I32) => Some((O::LeU32R, O::LeU32I)),
            (Cond::LeU, Ty::I64) => Some((O::LeU64R, O::LeU64I)),
            (Cond::LtS, Ty::I32) => Some((O::LtS32R, O::LtS32I)),
            (Cond::LtS, Ty::I64) => Some((O::LtS64R, O::LtS64I)),
            (Cond::LeS, Ty::I32) => Some((O::LeS32R, O::LeS32I)),
            (Cond::LeS, Ty::I64) => Some((O::LeS64R, O::LeS64I)),
            _ => None,
        };
        match (codes, self.constant(b)) {
            (Some((_, with_constant)), Some(imm)) => {
                let a = self.cell(a)?;
                let d = self.destination(at)?;
                self.emit(with_constant, d, a, 0, imm);
            }
            (codes, _) => {
                let (a, b) = (self.cell(a)?, self.cell(b)?);
                let d = self.destination(at)?;
                match codes {
                    Some((with_cell, _)) => self.emit(with_cell, d, a, b, 0),
                    None => self.emit(O::Compare, d, a, b, pack(CONDS, cond, ty)),
                }
            }
        }
        Some(())
    }

    fn terminal(&mut self) -> Option<()> {
        match self.block.end? {
            Terminal::Jump(to) => self.emit(O::Jump, 0, 0, 0, to as u64),
            Terminal::Branch(c, to, other) => {
                let c = self.cell(c)?;
                self.emit(O::Branch, 0, c, 0, to as u64);
                self.data(0, other as u64);
            }
            Terminal::Indirect(to) => {
                let to = self.cell(to)?;
                self.emit(O::Indirect, 0, to, 0, 0);
            }
            Terminal::Resync(to) => self.emit(O::Resync, 0, 0, 0, to as u64),
            Terminal::Dispatch => self.emit(O::Dispatch, 0, 0, 0, 0),
        }
        Some(())
    }
}

fn mov(ty: Ty) -> O {
    match ty {
        Ty::I8 => O::Mov8,
        Ty::I16 => O::Mov16,
        Ty::I32 => O::Mov32,
        Ty::I64 => O::Mov64,
        Ty::V128 => O::MovV,
    }
}

/// Loads and stores are ordered enough on an x86-64 host unless they are sequentially consistent, which front ends say
/// with a fence.
fn plain_order(mem: Mem) -> Mem {
    Mem { order: crate::ir::Order::Relaxed, ..mem }
}

fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::B => 0,
        Lane::H => 1,
        Lane::S => 2,
        Lane::D => 3,
    }
}

fn index<T: PartialEq>(table: &[T], item: T) -> u64 {
    table.iter().position(|t| *t == item).expect("the table lists every variant") as u64
}

fn pack<T: PartialEq>(table: &[T], item: T, ty: Ty) -> u64 {
    index(table, item) | index(TYPES, ty) << 8
}
