//! Guest registers as values: read where they are first used, lazy ones computed where somebody looks.

use super::lazy::{Kinds, Out};
use super::lower::{Lower, int};
use super::region::Slots;
use crate::frontend::Frontend;
use crate::ir::{Slot, Ty};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use cranelift_frontend::Variable;

impl<F: Frontend> Lower<'_, '_, F> {
    pub(super) fn load_slot(&mut self, n: usize) -> Value {
        let (offset, ty) = self.region.slots[n];
        self.b.ins().load(int(ty), self.own, self.env, i32::from(offset))
    }

    /// What register number `n` holds now.
    pub(super) fn register(&mut self, n: usize) -> Value {
        if let Some(value) = self.cached.get(&n) {
            return *value;
        }
        let lazy = self.region.lazy.has(n);
        let value = match self.kinds.only() {
            _ if self.clobbered || self.member.unread.has(n) && !lazy => {
                self.changed.add(n);
                self.load_slot(n)
            }
            Some(Kinds::STATE) if lazy => self.load_slot(n),
            Some(kind) if lazy && kind >= Kinds::RECIPE => self.late(n, kind),
            None if lazy => unreachable!("a block that reads lazy registers knows what they are"),
            _ => self.b.use_var(self.variables[n]),
        };
        self.cached.insert(n, value);
        value
    }

    /// Lazy register `n` by a recipe.
    fn late(&mut self, n: usize, kind: usize) -> Value {
        let region = self.region;
        let recipe = &region.recipes[kind - Kinds::RECIPE];
        let ops = std::mem::replace(&mut self.ops, &recipe.ops);
        let values = std::mem::replace(&mut self.values, vec![None; recipe.ops.len()]);
        for (at, ty) in recipe.leaves.iter().enumerate() {
            let leaf = self.leaf(*ty, at);
            self.values[at] = Some(self.b.use_var(leaf));
        }
        let root = recipe.roots.iter().find(|(other, _)| *other == n).map(|(_, v)| *v);
        let root = root.expect("a recipe gives all lazy registers");
        // Only what this one needs.
        let mut needed = vec![false; recipe.ops.len()];
        needed[root.0 as usize] = true;
        for at in (recipe.leaves.len()..recipe.ops.len()).rev() {
            if needed[at] {
                recipe.ops[at].operands(|v| needed[v.0 as usize] = true);
            }
        }
        for (at, _) in needed.iter().enumerate().skip(recipe.leaves.len()).filter(|(_, needed)| **needed) {
            self.operation(at).expect("a recipe calls nothing");
        }
        let value = self.v(root);
        self.ops = ops;
        self.values = values;
        value
    }

    fn leaf(&self, ty: Ty, at: usize) -> Variable {
        let of_type = self.leaves.iter().find(|(t, _)| *t == ty);
        of_type.expect("there are leaves of each type").1[at]
    }

    pub(super) fn define_kind(&mut self, kind: usize) {
        let kind = self.b.ins().iconst(I32, kind as i64);
        self.b.def_var(self.kind, kind);
    }

    /// Stores the lazy registers that this block has not set, if they are not in the state.
    pub(super) fn store_lazy(&mut self) {
        let missing = self.region.lazy.without(self.dirty);
        if missing == Slots::default() || self.kinds == Kinds::one(Kinds::STATE) || self.clobbered {
            return;
        }
        if let Some(kind) = self.kinds.only() {
            return self.store_kind(missing, kind);
        }
        let mut kinds = self.kinds;
        let done = self.cold_block();
        if let Some(fresh) = self.fresh {
            kinds = self.member.inner_kinds;
            let (zero, next) = (self.b.ins().icmp_imm_s(IntCC::Equal, fresh, 0), self.cold_block());
            self.b.ins().brif(zero, done, &[], next, &[]);
            self.enter(next);
        }
        self.store_by_kind(missing, kinds, done);
        self.enter(done);
    }

    /// Stores these registers by the variable that says what they are, one of `kinds`, and goes to `done`.
    pub(super) fn store_by_kind(&mut self, missing: Slots, kinds: Kinds, done: Block) {
        let mut kinds: Vec<usize> = kinds.iter().collect();
        // In ascending order, so that the last is the state only if it is alone.
        let last = kinds.pop();
        for kind in kinds {
            let (now, next) = (self.b.use_var(self.kind), self.cold_block());
            let same = self.b.ins().icmp_imm_s(IntCC::Equal, now, kind as i64);
            if kind == Kinds::STATE {
                self.b.ins().brif(same, done, &[], next, &[]);
            } else {
                let this = self.cold_block();
                self.b.ins().brif(same, this, &[], next, &[]);
                self.enter(this);
                self.store_kind(missing, kind);
                self.b.ins().jump(done, &[]);
            }
            self.enter(next);
        }
        if let Some(kind) = last.filter(|kind| *kind != Kinds::STATE) {
            self.store_kind(missing, kind);
        }
        self.b.ins().jump(done, &[]);
    }

    /// On a cold way out: leaves the lazy registers to the common tail, or what this block has set of them not.
    pub(super) fn leave_lazy_to_tail(&mut self) {
        let set = self.region.lazy.common(self.dirty) != Slots::default();
        if set || self.kinds == Kinds::default() {
            self.store_lazy();
            self.kinds_at_tail(Kinds::one(Kinds::STATE));
            return;
        }
        self.kinds_at_tail(self.kinds);
        if let Some((fresh, kind)) = self.fresh.zip(self.member.inner_kinds.only())
            && self.kinds.only().is_none()
        {
            let (state, kind) = (self.b.ins().iconst(I32, Kinds::STATE as i64), self.b.ins().iconst(I32, kind as i64));
            let now = self.b.ins().select(fresh, kind, state);
            self.b.def_var(self.kind, now);
        }
    }

    fn kinds_at_tail(&mut self, kinds: Kinds) {
        self.tail_kinds = self.tail_kinds.union(kinds);
        if let Some(kind) = kinds.only() {
            self.define_kind(kind);
        }
    }

    fn store_kind(&mut self, missing: Slots, kind: usize) {
        for n in missing.iter() {
            let value = match self.cached.get(&n) {
                Some(value) => *value,
                None if kind >= Kinds::RECIPE => self.late(n, kind),
                None => self.b.use_var(self.variables[n]),
            };
            self.b.ins().store(self.own, value, self.env, i32::from(self.region.slots[n].0));
        }
    }

    /// Hands the lazy registers on.
    pub(super) fn define_lazy(&mut self) {
        let region = self.region;
        let member = self.member;
        let wanted = member.next().any(|to| region.members[to].kinds == Kinds::one(Kinds::VALUES));
        if wanted || member.out == Out::Values {
            for n in region.lazy.iter() {
                let value = self.register(n);
                self.b.def_var(self.variables[n], value);
            }
        }
        match &member.out {
            Out::Same => {}
            Out::State => self.define_kind(Kinds::STATE),
            Out::Values => self.define_kind(Kinds::VALUES),
            Out::Recipe(kind, leaves) => {
                for (at, v) in leaves.iter().enumerate() {
                    let leaf = self.leaf(region.recipes[kind - Kinds::RECIPE].leaves[at], at);
                    let value = self.v(*v);
                    self.b.def_var(leaf, value);
                }
                self.define_kind(*kind);
            }
        }
    }

    pub(super) fn slot(&mut self, slot: Slot) -> Value {
        match self.region.number(slot.0) {
            Some(n) => self.register(n),
            None => self.own_pc(),
        }
    }

    pub(super) fn set_slot(&mut self, slot: Slot, value: Value) {
        match self.region.number(slot.0) {
            Some(n) => {
                self.cached.insert(n, value);
                self.dirty.add(n);
                if !self.region.lazy.has(n) {
                    self.changed.add(n);
                }
            }
            None => {
                self.own_pc = Some(value);
                self.pc_stored = false;
            }
        }
    }
}
