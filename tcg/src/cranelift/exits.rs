//! Ways out of a block: into another block of the region, into other compiled code, or back to the run loop.
//!
//! Where another block of the region lies in another page, that page must still be mapped as it was: see
//! [`Lower::check_page`].
//!
//! The budget in the state is what was left when the region was entered; what has been executed since is counted in a
//! variable and taken off on the way out. So a loop writes nothing, and a kick, which makes the budget negative, is never
//! overwritten but in the instant of leaving, when the run loop looks at the flag behind it soon enough.

use super::host::region_signature;
use super::lazy::Kinds;
use super::lower::Lower;
use super::region::Slots;
use crate::cache;
use crate::env::{Env, JUMP_CACHE, Jump};
use crate::frontend::Frontend;
use crate::ir::Terminal;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, JumpTableData, MemFlagsData, Value};
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use vm::ram::PAGE_SIZE;

/// What compiled code gives back besides the exits that interpreted blocks have: the budget is used up.
const BUDGET: i64 = 5;
const RESYNC: i64 = 3;
const RAISED: i64 = 4;
const INDIRECT: i64 = 2;

/// Guessed targets that an address is compared with one by one; more are in a table.
const COMPARED: usize = 4;
/// Places of a table of guessed targets at most.
const TABLE: i64 = 512;

impl<F: Frontend> Lower<'_, '_, F> {
    /// The budget in the state. An atomic load is what the code generator makes anew each time.
    fn load_budget(&mut self) -> (Value, Value) {
        let at = self.b.ins().iadd_imm_s(self.env, offset_of!(Env<F>, budget) as i64);
        (self.b.ins().atomic_load(I64, self.own, at), at)
    }

    /// Instructions executed since the entry, with `more` of the present block.
    fn spent(&mut self, more: u32) -> Value {
        let spent = self.b.use_var(self.spent);
        if more == 0 { spent } else { self.b.ins().iadd_imm_s(spent, i64::from(more)) }
    }

    /// Takes what was executed off the budget.
    fn settle(&mut self, more: u32) {
        let spent = self.spent(more);
        self.take_off(spent);
    }

    fn take_off(&mut self, spent: Value) {
        let (old, at) = self.load_budget();
        let left = self.b.ins().isub(old, spent);
        // A plain store: an atomic one would be a full fence.
        self.b.ins().store(self.own, left, at, 0);
    }

    /// Leaves at the start of a header if the budget does not suffice for all until the next one.
    pub(super) fn check_budget(&mut self) {
        let want = self.spent(self.member.need);
        let (budget, _) = self.load_budget();
        let out = self.b.ins().icmp(IntCC::SignedLessThan, budget, want);
        let (exit, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(out, exit, &[], go_on, &[]);
        self.enter(exit);
        let pc = self.own_pc();
        self.leave_cold(BUDGET, pc, 0);
        self.enter(go_on);
    }

    /// Stores the registers whose cells in the state are out of date.
    pub(super) fn write_back(&mut self) {
        self.store_dirty();
        self.store_lazy();
    }

    fn store_dirty(&mut self) {
        for n in self.dirty.iter() {
            let value = match self.cached.get(&n) {
                Some(value) => *value,
                None => self.b.use_var(self.variables[n]),
            };
            self.b.ins().store(self.own, value, self.env, i32::from(self.region.slots[n].0));
        }
    }

    /// Leaves by a cold way, with all registers in the state and so many instructions of this block executed.
    fn leave_cold(&mut self, exit: i64, pc: Value, insns: u32) {
        self.store_dirty();
        self.leave_lazy_to_tail();
        let spent = self.spent(insns);
        let (block, exit, at) =
            (self.here(), self.b.ins().iconst(I32, exit), self.b.ins().iconst(I32, i64::from(self.pc)));
        let args = [block, exit, pc, spent, at].map(BlockArg::Value);
        self.b.ins().jump(self.tail, &args);
    }

    /// Where the ways out join.
    pub(super) fn end(&mut self) {
        if self.tail_kinds != Kinds::default() {
            self.b.switch_to_block(self.tail);
            self.cached.clear();
            let &[block, exit, pc, spent, at] = self.b.block_params(self.tail) else {
                unreachable!("the tail has five parameters");
            };
            self.set_pc(pc);
            self.b.ins().store(self.own, at, self.env, offset_of!(Env<F>, fault_pc) as i32);
            self.take_off(spent);
            let done = self.cold_block();
            self.store_by_kind(self.region.lazy, self.tail_kinds, done);
            self.enter(done);
            self.b.ins().jump(self.out, &[block, exit].map(BlockArg::Value));
        }
        self.b.switch_to_block(self.out);
        let (block, exit) = (self.b.block_params(self.out)[0], self.b.block_params(self.out)[1]);
        self.b.ins().store(self.own, block, self.env, offset_of!(Env<F>, left) as i32);
        self.b.ins().return_(&[exit]);
    }

    /// The program counter of the present block.
    pub(super) fn own_pc(&mut self) -> Value {
        match self.own_pc {
            Some(pc) => pc,
            None => self.moved_pc(0),
        }
    }

    /// The program counter moved by `distance`.
    fn moved_pc(&mut self, distance: i64) -> Value {
        let (pc, distance) = match self.own_pc {
            Some(pc) => (pc, distance),
            None => (self.b.use_var(self.base_pc), distance.wrapping_add(self.member.distance)),
        };
        if distance == 0 {
            return pc;
        }
        let moved = self.b.ins().iadd_imm_s(pc, distance);
        // Narrow addresses wrap.
        if self.member.ir.narrow { self.b.ins().band_imm_u(moved, 0xffff_ffff) } else { moved }
    }

    fn set_pc(&mut self, pc: Value) {
        self.b.ins().store(self.own, pc, self.env, i32::from(F::PC.0));
    }

    /// Makes the program counter in the state this block's.
    pub(super) fn store_pc(&mut self) {
        if !self.pc_stored {
            let pc = self.own_pc();
            self.set_pc(pc);
            self.pc_stored = true;
        }
    }

    /// Leaves to the run loop, which learns the block that control left from.
    fn leave(&mut self, exit: i64) {
        let (block, exit) = (self.here(), self.b.ins().iconst(I32, exit));
        self.b.ins().jump(self.out, &[block, exit].map(BlockArg::Value));
    }

    fn here(&mut self) -> Value {
        self.b.ins().iconst(I64, std::sync::Arc::as_ptr(&self.member.block) as i64)
    }

    /// After a call that may raise: leaves with exact registers if it did.
    pub(super) fn check_raised(&mut self) {
        let raised = self.b.ins().load(I64, self.own, self.env, offset_of!(Env<F>, raised) as i32);
        let (fault, go_on) = (self.cold_block(), self.b.create_block());
        self.keep_cold(go_on);
        self.b.ins().brif(raised, fault, &[], go_on, &[]);
        self.enter(fault);
        let pc = self.own_pc();
        // The run loop gives back what of the block was not executed.
        self.leave_cold(RAISED, pc, self.member.block.insns);
        self.enter(go_on);
    }

    /// Leaves by the exception of a helper, which it calls with a constant, if `c` is not zero.
    pub(super) fn raise_if(&mut self, c: Value, function: usize, imm: u64) {
        let (raise, go_on) = (self.cold_block(), self.b.create_block());
        self.keep_cold(go_on);
        self.b.ins().brif(c, raise, &[], go_on, &[]);
        self.enter(raise);
        let imm = self.imm(imm);
        self.call(function, &[imm], true);
        let pc = self.own_pc();
        self.leave_cold(RAISED, pc, self.member.block.insns);
        self.enter(go_on);
    }

    /// The way out at the end of the present block.
    pub(super) fn terminal(&mut self) -> Result<(), String> {
        match self.member.ir.end.ok_or("no terminal")? {
            Terminal::Jump(to) => {
                self.define_variables();
                self.goto(0, to);
            }
            Terminal::Branch(c, to, other) => {
                let c = self.v(c);
                self.define_variables();
                let [first, second] = [0, 1].map(|exit| {
                    let block = self.b.create_block();
                    let inner = self.member.inner;
                    // The way out of a loop is taken once.
                    if inner[exit].is_none() && inner[1 - exit].is_some_and(|to| self.region.members[to].looped) {
                        self.b.set_cold_block(block);
                    }
                    block
                });
                self.b.ins().brif(c, first, &[], second, &[]);
                self.enter(first);
                self.goto(0, to);
                self.enter(second);
                self.goto(1, other);
            }
            Terminal::Indirect(to) => {
                let to = self.v(to);
                self.define_variables();
                self.jump_to_guessed(to);
                self.write_back();
                self.set_pc(to);
                self.settle_at_end();
                self.jump_by_cache(to, INDIRECT);
            }
            Terminal::Resync(to) => {
                self.write_back();
                let pc = self.moved_pc(to);
                self.set_pc(pc);
                self.settle(self.member.block.insns);
                self.leave(RESYNC);
            }
            Terminal::Dispatch => {
                self.write_back();
                self.store_pc();
                self.settle(self.member.block.insns);
                self.leave(RESYNC);
            }
        }
        Ok(())
    }

    /// Hands registers and count on to the members that this one leads to.
    fn define_variables(&mut self) {
        if !self.member.goes_on() {
            return;
        }
        if self.clobbered {
            let after = self.member.next().map(|to| self.region.members[to].live);
            let early = self.region.early.without(self.region.lazy);
            for n in after.fold(Slots::default(), Slots::union).common(early).iter() {
                self.register(n);
            }
        }
        self.define_lazy();
        for n in self.changed.without(self.region.lazy).iter() {
            let value = self.cached[&n];
            self.b.def_var(self.variables[n], value);
        }
        let spent = self.spent(self.member.block.insns);
        self.b.def_var(self.spent, spent);
    }

    /// A fixed exit, after [`Self::define_variables`].
    fn goto(&mut self, exit: usize, distance: i64) {
        if let Some(to) = self.member.inner[exit] {
            return self.go_to_member(to, exit as i64);
        }
        self.write_back();
        let pc = self.moved_pc(distance);
        self.set_pc(pc);
        self.settle_at_end();
        let near = (0..PAGE_SIZE as i64).contains(&self.member.offset().saturating_add(distance));
        if !near || self.member.block.unlinkable[exit].load(Ordering::Relaxed) {
            self.jump_by_cache(pc, exit as i64);
            return;
        }
        let link = std::ptr::from_ref(&self.member.block.host_links[exit]) as i64;
        let link = self.b.ins().iconst(I64, link);
        let target = self.b.ins().load(I64, MemFlagsData::trusted(), link, 0);
        self.jump_or_leave(target, exit as i64);
    }

    /// Goes on in another member, to which the exit leads, after [`Self::define_variables`].
    fn go_to_member(&mut self, to: usize, exit: i64) {
        let next = &self.region.members[to];
        if self.member.stores && !next.header {
            self.check_valid(next.distance.wrapping_sub(self.member.distance));
        }
        if next.page != self.member.page {
            self.check_page(to, exit);
        }
        let block = self.blocks[to];
        self.b.ins().jump(block, &[]);
    }

    /// Goes on in a member if an address is that of one to which the indirect branch has led.
    fn jump_to_guessed(&mut self, to: Value) {
        let members = &self.region.members;
        let guessed: Vec<(usize, i64)> = self.member.guessed.iter().map(|at| (*at, members[*at].distance)).collect();
        let (Some((_, first)), Some((_, last))) = (guessed.first().copied(), guessed.last().copied()) else { return };
        let base = self.b.use_var(self.base_pc);
        let distance = self.b.ins().isub(to, base);
        let between = guessed.iter().fold(0, |bits, (_, distance)| bits | (distance - first));
        let step = between.trailing_zeros();
        let places = (last - first).checked_shr(step).unwrap_or(0) + 1;
        let elsewhere = self.b.create_block();
        if guessed.len() <= COMPARED || places > TABLE {
            for (at, wanted) in guessed {
                let same = self.b.ins().icmp_imm_s(IntCC::Equal, distance, wanted);
                let (here, next) = (self.b.create_block(), self.b.create_block());
                self.b.ins().brif(same, here, &[], next, &[]);
                self.enter(here);
                self.go_to_member(at, INDIRECT);
                self.enter(next);
            }
            self.b.ins().jump(elsewhere, &[]);
        } else {
            let index = self.b.ins().iadd_imm_s(distance, -first);
            let index = self.b.ins().rotr_imm_u(index, i64::from(step));
            let inside = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, index, places);
            let (table, none) = (self.b.create_block(), self.b.create_block());
            self.b.ins().brif(inside, table, &[], none, &[]);
            self.enter(table);
            let index = self.b.ins().ireduce(I32, index);
            let blocks: Vec<Block> = guessed.iter().map(|_| self.b.create_block()).collect();
            let mut call = |block| self.b.func.dfg.block_call(block, &[]);
            let default = call(none);
            let entries: Vec<_> = (0..places)
                .map(|place| {
                    let at = guessed.iter().position(|(_, distance)| (distance - first) >> step == place);
                    at.map_or(default, |at| call(blocks[at]))
                })
                .collect();
            let data = self.b.create_jump_table(JumpTableData::new(default, &entries));
            self.b.ins().br_table(index, data);
            for (block, (at, _)) in blocks.into_iter().zip(guessed) {
                self.enter(block);
                self.go_to_member(at, INDIRECT);
            }
            self.enter(none);
            self.b.ins().jump(elsewhere, &[]);
        }
        self.enter(elsewhere);
    }

    /// Takes the whole block off the budget, which [`Self::define_variables`] may have counted already.
    fn settle_at_end(&mut self) {
        let uncounted = self.uncounted();
        self.settle(uncounted);
    }

    /// Instructions of this block that the count does not have yet at its end.
    fn uncounted(&self) -> u32 {
        if self.member.goes_on() { 0 } else { self.member.block.insns }
    }

    /// Leaves with the target as program counter if a store has made the region invalid, which the budget shows.
    fn check_valid(&mut self, distance: i64) {
        let (budget, _) = self.load_budget();
        let out = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, budget, 0);
        let (exit, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(out, exit, &[], go_on, &[]);
        self.enter(exit);
        let pc = self.moved_pc(distance);
        let uncounted = self.uncounted();
        self.leave_cold(BUDGET, pc, uncounted);
        self.enter(go_on);
    }

    /// The bit of a member's page in [`Lower::known_pages`].
    pub(super) fn page_bit(&self, at: usize) -> i64 {
        let page = self.region.members[at].page;
        let place = self.region.pages.iter().position(|other| *other == page);
        1 << place.expect("the region has the pages of all its members")
    }

    /// Leaves, by an exit that leads to another page of the region, if that is not known to be mapped as it was when the
    /// region was made. The jump cache has to say so once in a run of the region: it forgets what is mapped anew, and such
    /// changes end the run.
    fn check_page(&mut self, to: usize, exit: i64) {
        let bit = self.page_bit(to);
        let next = &self.region.members[to];
        let known = self.b.use_var(self.known_pages);
        let this = self.b.ins().band_imm_u(known, bit);
        let (look, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(this, go_on, &[], look, &[]);
        self.enter(look);
        let pc = self.moved_pc(next.distance.wrapping_sub(self.member.distance));
        let (jump, other_key) = self.known_jump(pc);
        let block = self.b.ins().load(I64, self.own, jump, Self::jump_field(offset_of!(Jump, block)));
        let wanted = self.b.ins().iconst(I64, std::sync::Arc::as_ptr(&next.block) as i64);
        let other_block = self.b.ins().bxor(block, wanted);
        let other = self.b.ins().bor(other_key, other_block);
        let (leave, found) = (self.cold_block(), self.cold_block());
        self.b.ins().brif(other, leave, &[], found, &[]);
        self.enter(leave);
        let uncounted = self.uncounted();
        self.leave_cold(exit, pc, uncounted);
        self.enter(found);
        let known = self.b.ins().bor_imm_u(known, bit);
        self.b.def_var(self.known_pages, known);
        self.b.ins().jump(go_on, &[]);
        self.enter(go_on);
    }

    /// Jumps to the code at `target`, or leaves if it is 0.
    fn jump_or_leave(&mut self, target: Value, exit: i64) {
        let (go, leave) = (self.b.create_block(), self.cold_block());
        self.b.ins().brif(target, go, &[], leave, &[]);
        self.jump_to_code(target, go, leave, exit);
    }

    /// Fills the two blocks: `go` jumps to the code at `target`, `leave` leaves.
    fn jump_to_code(&mut self, target: Value, go: Block, leave: Block, exit: i64) {
        self.enter(leave);
        self.leave(exit);
        self.enter(go);
        let convention = self.b.import_signature(region_signature());
        self.b.ins().return_call_indirect(convention, target, &[self.env]);
    }

    /// Where a field of the jump cache's first entry is.
    fn jump_field(field: usize) -> i32 {
        (offset_of!(Env<F>, jumps) + field) as i32
    }

    /// The entry of the jump cache for `pc`, as distance of the first one, and 0 if it holds in the present mode and space.
    fn known_jump(&mut self, pc: Value) -> (Value, Value) {
        let (low, high) = (self.b.ins().ushr_imm_u(pc, 2), self.b.ins().ushr_imm_u(pc, 14));
        let mixed = self.b.ins().bxor(low, high);
        let index = self.b.ins().band_imm_s(mixed, JUMP_CACHE as i64 - 1);
        let offset = self.b.ins().ishl_imm_u(index, i64::from(size_of::<Jump>().trailing_zeros()));
        let entry = self.b.ins().iadd(self.env, offset);
        let tag = self.b.ins().load(I64, self.own, self.env, offset_of!(Env<F>, tag) as i32);
        // One branch for both; an empty entry has a tag that is never wanted.
        let wanted = [(offset_of!(Jump, pc), pc), (offset_of!(Jump, tag), tag)];
        let differences = wanted.map(|(field, want)| {
            let have = self.b.ins().load(I64, self.own, entry, Self::jump_field(field));
            self.b.ins().bxor(have, want)
        });
        (entry, self.b.ins().bor(differences[0], differences[1]))
    }

    /// Jumps to the compiled block at `pc` if the jump cache knows it in the present mode and space.
    fn jump_by_cache(&mut self, pc: Value, exit: i64) {
        let (entry, difference) = self.known_jump(pc);
        let (leave, next) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(difference, leave, &[], next, &[]);
        self.enter(next);
        let block = self.b.ins().load(I64, self.own, entry, Self::jump_field(offset_of!(Jump, block)));
        let target = self.b.ins().load(I64, MemFlagsData::trusted(), block, offset_of!(cache::Block, host) as i32);
        let go = self.b.create_block();
        self.b.ins().brif(target, go, &[], leave, &[]);
        self.jump_to_code(target, go, leave, exit);
    }
}
