//! Where the values of a block are while its code is emitted, and which host registers are free.
//!
//! Guest registers are written to the state at once; a host register may still know what a slot holds, so that reading it
//! again costs nothing. Hence nothing has to be stored when an exception leaves the block.

use super::asm::{Cc, Gpr, Mem, R8, R9, R10, R11, R12, R13, RBX, RDI, RDX, RSI, Xmm};
use super::emit::{Emit, NONE};
use crate::bits::ones;
use crate::env::{Env, TEMPS};
use crate::frontend::Frontend;
use crate::ir::{Op, Ty, Val};
use std::mem::offset_of;

/// General registers for values, those that calls preserve first. rax and rcx are scratch, rbp the environment, r14 the
/// program counter and r15 the budget.
const GPRS: [Gpr; 10] = [RBX, R12, R13, RSI, RDI, R8, R9, R10, R11, RDX];
/// Which of them a call changes.
pub const CLOBBERED: [Gpr; 7] = [RSI, RDI, R8, R9, R10, R11, RDX];
/// Vector registers for values; xmm0 and xmm1 are scratch. A call changes all.
const XMMS: [Xmm; 14] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loc {
    /// Nowhere: not computed, or not needed any more. Constants are always here.
    Nowhere,
    Gpr(Gpr),
    Xmm(Xmm),
    /// A cell of the environment's temporaries.
    Cell(u16),
    /// 1 if the condition holds of the host's flags as they are now, else 0.
    Flags(Cc),
}

/// The block cannot be emitted: too many values are alive.
pub struct TooComplex;

/// All host registers of one kind, 16 by number.
pub struct Bank {
    /// Live values in each.
    users: [u32; 16],
    /// The slot that has the same contents, or [`NO_SLOT`].
    slots: [u16; 16],
    /// When each was last used, to find the one to give up.
    stamps: [u32; 16],
    /// Which hold values, and which the contents of slots, one bit each.
    used: u16,
    named: u16,
    /// Those that the operation at hand uses.
    pinned: u16,
    clock: u32,
}

const NO_SLOT: u16 = u16::MAX;

impl Default for Bank {
    fn default() -> Bank {
        Bank { users: [0; 16], slots: [NO_SLOT; 16], stamps: [0; 16], used: 0, named: 0, pinned: 0, clock: 0 }
    }
}

impl Bank {
    /// Notes that the operation at hand uses a register.
    pub fn touch(&mut self, r: u8) {
        self.clock += 1;
        self.stamps[usize::from(r)] = self.clock;
        self.pinned |= 1 << r;
    }
    /// Keeps a register for the operation at hand.
    pub fn pin(&mut self, r: u8) {
        self.pinned |= 1 << r;
    }
    fn is_pinned(&self, r: u8) -> bool {
        self.pinned >> r & 1 != 0
    }
    /// Lets the registers of the last operation go.
    pub fn unpin(&mut self) {
        self.pinned = 0;
    }

    /// Live values in a register.
    fn users(&self, r: u8) -> u32 {
        self.users[usize::from(r)]
    }
    fn set_users(&mut self, r: u8, users: u32) {
        self.users[usize::from(r)] = users;
        self.used = self.used & !(1 << r) | u16::from(users != 0) << r;
    }

    /// The slot whose contents a register holds.
    pub fn slot(&self, r: u8) -> Option<u16> {
        Some(self.slots[usize::from(r)]).filter(|slot| *slot != NO_SLOT)
    }
    /// The register that holds a slot's contents.
    pub fn of_slot(&self, slot: u16) -> Option<u8> {
        self.named().find(|r| self.slots[usize::from(*r)] == slot)
    }
    /// Notes that a register holds a slot's contents.
    pub fn name(&mut self, r: u8, slot: u16) {
        self.slots[usize::from(r)] = slot;
        self.named |= 1 << r;
    }
    /// A register holds the contents of no slot any more.
    pub fn forget(&mut self, r: u8) {
        self.slots[usize::from(r)] = NO_SLOT;
        self.named &= !(1 << r);
    }
    /// The slot's contents are in no register any more.
    pub fn forget_slot(&mut self, slot: u16) {
        for r in self.named() {
            if self.slots[usize::from(r)] == slot {
                self.forget(r);
            }
        }
    }
    /// No register holds the contents of a slot any more.
    pub fn forget_slots(&mut self) {
        self.slots = [NO_SLOT; 16];
        self.named = 0;
    }

    /// The registers that hold the contents of slots.
    pub fn named(&self) -> impl Iterator<Item = u8> + use<> {
        ones(self.named.into())
    }
    /// Those that hold values or the contents of slots.
    pub fn in_use(&self) -> impl Iterator<Item = u8> + use<> {
        ones((self.named | self.used).into())
    }

    /// No value is alive any more.
    pub fn let_values_go(&mut self) {
        self.users = [0; 16];
        (self.used, self.pinned) = (0, 0);
    }
    /// A register of these that nothing needs: an empty one, else the one whose slot was not used for longest.
    fn unneeded(&self, all: &[u8]) -> Option<u8> {
        let (needed, kept) = (self.used | self.pinned, self.named);
        let is = |r: &u8, in_set: u16| in_set >> r & 1 != 0;
        let empty = all.iter().copied().find(|r| !is(r, needed | kept));
        empty.or_else(|| all.iter().copied().filter(|r| !is(r, needed)).min_by_key(|r| self.stamps[usize::from(*r)]))
    }
}

impl<F: Frontend> Emit<'_, F> {
    /// The cell of the environment's temporaries.
    pub fn cell(n: u16) -> Mem {
        Mem::env((offset_of!(Env<F>, temps) + usize::from(n) * 16) as i32)
    }

    /// Whether the value is needed after the operation at hand.
    pub fn lives_on(&self, v: Val) -> bool {
        self.last[v.0 as usize] > self.at as u32
    }

    /// A general register for a result.
    pub fn new_gpr(&mut self) -> Result<Gpr, TooComplex> {
        let r = match self.gprs.unneeded(&GPRS) {
            Some(r) => r,
            None => {
                let longest = |r: &Gpr| self.values_in(Loc::Gpr(*r)).map(|v| self.last[v]).max();
                let r = GPRS.into_iter().filter(|r| !self.gprs.is_pinned(*r)).max_by_key(longest);
                let r = r.ok_or(TooComplex)?;
                self.spill_gpr(r)?;
                r
            }
        };
        self.gprs.forget(r);
        self.gprs.touch(r);
        Ok(r)
    }

    /// A general register that holds no value, if there is one.
    pub fn spare_gpr(&mut self) -> Option<Gpr> {
        let r = self.gprs.unneeded(&GPRS)?;
        self.gprs.forget(r);
        self.gprs.touch(r);
        Some(r)
    }

    /// A vector register for a result.
    pub fn new_xmm(&mut self) -> Result<Xmm, TooComplex> {
        let r = match self.xmms.unneeded(&XMMS) {
            Some(r) => r,
            None => {
                let longest = |r: &Xmm| self.values_in(Loc::Xmm(*r)).map(|v| self.last[v]).max();
                let r = XMMS.into_iter().filter(|r| !self.xmms.is_pinned(*r)).max_by_key(longest);
                let r = r.ok_or(TooComplex)?;
                self.spill_xmm(r)?;
                r
            }
        };
        self.xmms.forget(r);
        self.xmms.touch(r);
        Ok(r)
    }

    /// Numbers of the live values at a place.
    fn values_in(&self, loc: Loc) -> impl Iterator<Item = usize> + '_ {
        self.loc.iter().enumerate().filter(move |(_, l)| **l == loc).map(|(v, _)| v)
    }

    fn new_cell(&mut self) -> Result<u16, TooComplex> {
        let cell = self.free_cells.pop().unwrap_or_else(|| {
            self.cells += 1;
            self.cells - 1
        });
        if usize::from(cell) < TEMPS { Ok(cell) } else { Err(TooComplex) }
    }

    fn move_values(&mut self, from: Loc, to: Loc) {
        for loc in &mut self.loc {
            if *loc == from {
                *loc = to;
            }
        }
    }

    /// Moves the values in a general register to a cell.
    pub fn spill_gpr(&mut self, r: Gpr) -> Result<(), TooComplex> {
        let users = self.gprs.users(r);
        if users != 0 {
            let cell = self.new_cell()?;
            self.asm.store(8, Self::cell(cell), r);
            self.move_values(Loc::Gpr(r), Loc::Cell(cell));
            self.cell_users[usize::from(cell)] = users;
            self.gprs.set_users(r, 0);
        }
        Ok(())
    }

    /// Frees a register.
    pub fn evict_gpr(&mut self, r: Gpr) -> Result<(), TooComplex> {
        self.spill_gpr(r)?;
        self.gprs.forget(r);
        Ok(())
    }

    /// Moves the values in a vector register to a cell.
    pub fn spill_xmm(&mut self, r: Xmm) -> Result<(), TooComplex> {
        let users = self.xmms.users(r);
        if users != 0 {
            let cell = self.new_cell()?;
            self.asm.store_xmm(Self::cell(cell), r);
            self.move_values(Loc::Xmm(r), Loc::Cell(cell));
            self.cell_users[usize::from(cell)] = users;
            self.xmms.set_users(r, 0);
        }
        Ok(())
    }

    /// Puts a value that the operation at hand defines at a place.
    pub fn define(&mut self, loc: Loc) {
        self.define_as(self.at, loc);
    }

    pub fn define_as(&mut self, v: usize, loc: Loc) {
        self.loc[v] = loc;
        match loc {
            Loc::Gpr(r) => self.gprs.set_users(r, self.gprs.users(r) + 1),
            Loc::Xmm(r) => self.xmms.set_users(r, self.xmms.users(r) + 1),
            Loc::Cell(c) => self.cell_users[usize::from(c)] += 1,
            Loc::Flags(_) | Loc::Nowhere => {}
        }
    }

    /// Takes the value away from where it is.
    fn release(&mut self, v: usize) {
        match std::mem::replace(&mut self.loc[v], Loc::Nowhere) {
            Loc::Gpr(r) => self.gprs.set_users(r, self.gprs.users(r) - 1),
            Loc::Xmm(r) => self.xmms.set_users(r, self.xmms.users(r) - 1),
            Loc::Cell(c) => {
                self.cell_users[usize::from(c)] -= 1;
                if self.cell_users[usize::from(c)] == 0 {
                    self.free_cells.push(c);
                }
            }
            Loc::Flags(_) | Loc::Nowhere => {}
        }
    }

    /// Moves one value to another place.
    pub fn relocate(&mut self, v: Val, loc: Loc) {
        self.release(v.0 as usize);
        self.define_as(v.0 as usize, loc);
    }

    /// Ends the operation at hand: its registers are free to go, values that were used for the last time are gone.
    pub fn finish_operation(&mut self) {
        self.gprs.unpin();
        self.xmms.unpin();
        let mut v = self.first_death[self.at];
        while v != NONE {
            self.release(v as usize);
            v = self.next_death[v as usize];
        }
    }

    /// The value as a constant.
    pub fn constant(&self, v: Val) -> Option<u64> {
        match self.ir.ops[v.0 as usize] {
            Op::Const(_, value) => Some(value),
            _ => None,
        }
    }

    /// The value as a constant that an instruction of the type's width takes as its 32-bit immediate.
    pub fn immediate(&self, ty: Ty, v: Val) -> Option<i32> {
        let value = self.constant(v)?;
        match ty {
            Ty::I64 => i32::try_from(value as i64).ok(),
            _ => Some(value as u32 as i32),
        }
    }

    /// The value in a general register; bits above its type may be anything.
    pub fn gpr(&mut self, v: Val) -> Result<Gpr, TooComplex> {
        let n = v.0 as usize;
        match self.loc[n] {
            Loc::Gpr(r) => {
                self.gprs.touch(r);
                Ok(r)
            }
            Loc::Cell(cell) => {
                let r = self.new_gpr()?;
                self.asm.load(8, r, Self::cell(cell));
                self.relocate(v, Loc::Gpr(r));
                Ok(r)
            }
            Loc::Flags(cc) => {
                let r = self.new_gpr()?;
                self.asm.setcc(cc, r);
                self.asm.zero_extend(1, r, r);
                self.relocate(v, Loc::Gpr(r));
                self.narrow[n] = false;
                Ok(r)
            }
            Loc::Nowhere | Loc::Xmm(_) => {
                let constant = self.constant(v).ok_or(TooComplex)?;
                let r = self.new_gpr()?;
                self.asm.mov_imm(r, constant);
                Ok(r)
            }
        }
    }

    /// The value in a general register with zeros above its type.
    pub fn gpr_zero_extended(&mut self, v: Val, ty: Ty) -> Result<Gpr, TooComplex> {
        let r = self.gpr(v)?;
        if ty == Ty::I64 || !self.narrow[v.0 as usize] {
            return Ok(r);
        }
        let d = self.new_gpr()?;
        self.asm.zero_extend(ty.bytes(), d, r);
        self.relocate(v, Loc::Gpr(d));
        self.narrow[v.0 as usize] = false;
        Ok(d)
    }

    /// The value of an integer type, copied into a given register that holds no value.
    pub fn gpr_into(&mut self, d: Gpr, v: Val) -> Result<(), TooComplex> {
        match self.loc[v.0 as usize] {
            Loc::Gpr(r) => {
                if r != d {
                    self.asm.mov(true, d, r);
                }
            }
            Loc::Cell(cell) => self.asm.load(8, d, Self::cell(cell)),
            Loc::Flags(cc) => {
                self.asm.setcc(cc, d);
                self.asm.zero_extend(1, d, d);
            }
            Loc::Nowhere | Loc::Xmm(_) => {
                let constant = self.constant(v).ok_or(TooComplex)?;
                self.asm.mov_imm(d, constant);
            }
        }
        Ok(())
    }

    /// A register for a result that starts as a copy of `v`: that of `v` itself if nobody needs it any more.
    pub fn copy_of(&mut self, v: Val, wide: bool) -> Result<Gpr, TooComplex> {
        if let Loc::Gpr(r) = self.loc[v.0 as usize] {
            let alone = self.gprs.users(r) == 1 && self.gprs.slot(r).is_none();
            if alone && !self.lives_on(v) && GPRS.contains(&r) {
                self.gprs.touch(r);
                return Ok(r);
            }
        }
        if let Some(constant) = self.constant(v) {
            let d = self.new_gpr()?;
            self.asm.mov_imm(d, constant);
            return Ok(d);
        }
        let s = self.gpr(v)?;
        let d = self.new_gpr()?;
        self.asm.mov(wide, d, s);
        Ok(d)
    }

    /// The value in a vector register.
    pub fn xmm(&mut self, v: Val) -> Result<Xmm, TooComplex> {
        match self.loc[v.0 as usize] {
            Loc::Xmm(r) => {
                self.xmms.touch(r);
                Ok(r)
            }
            Loc::Cell(cell) => {
                let r = self.new_xmm()?;
                self.asm.load_xmm(r, Self::cell(cell));
                self.relocate(v, Loc::Xmm(r));
                Ok(r)
            }
            _ => {
                let Op::ConstV(low, high) = self.ir.ops[v.0 as usize] else { return Err(TooComplex) };
                let r = self.new_xmm()?;
                self.constant_vector(r, low, high);
                self.relocate(v, Loc::Xmm(r));
                Ok(r)
            }
        }
    }

    /// A vector register for a result that starts as a copy of `v`.
    pub fn xmm_copy_of(&mut self, v: Val) -> Result<Xmm, TooComplex> {
        let s = self.xmm(v)?;
        if self.xmms.users(s) == 1 && self.xmms.slot(s).is_none() && !self.lives_on(v) {
            return Ok(s);
        }
        let d = self.new_xmm()?;
        self.asm.movdqa(d, s);
        Ok(d)
    }

    /// Values that stand for the host's flags get registers, for the flags are about to change.
    pub fn keep_flags(&mut self) -> Result<(), TooComplex> {
        self.flags = None;
        for n in std::mem::take(&mut self.in_flags) {
            if let Loc::Flags(cc) = self.loc[n as usize] {
                let r = self.new_gpr()?;
                self.asm.setcc(cc, r);
                self.asm.zero_extend(1, r, r);
                self.relocate(Val(n), Loc::Gpr(r));
                self.narrow[n as usize] = false;
            }
        }
        Ok(())
    }
}
