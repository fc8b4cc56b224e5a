//! Registers that are computed only when somebody looks: condition flags.
//!
//! Code sets its flags all the time and reads few of them, but each way out of a region has to store those set last. So
//! a block hands on not the flags but the operands that they follow from, and which of the region's *recipes* makes the
//! flags of them. A merge of control where recipes meet keeps the number of the recipe in a variable, which only the
//! ways out look at.

use super::region::{Region, Slots, looks_at_registers};
use crate::exec::Shared;
use crate::frontend::Frontend;
use crate::ir::{Binary, Block as Ir, Op, Slot, Ty, Val};

/// Operands of a recipe at most.
pub(super) const LEAVES: usize = 3;
/// Recipes of a region at most.
const RECIPES: usize = 8;

/// How lazy registers follow from a few values. Operations that are values from outside are `Get`s, numbered by slot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recipe {
    pub ops: Vec<Op>,
    /// Number of each register and its value.
    pub roots: Vec<(usize, Val)>,
    /// Types of the values from outside.
    pub leaves: Vec<Ty>,
}

/// Where the lazy registers may be: a set of these numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    /// In the state.
    pub const STATE: usize = 0;
    /// In the variables of the registers.
    pub const VALUES: usize = 1;
    /// The first recipe.
    pub const RECIPE: usize = 2;

    pub fn one(kind: usize) -> Kinds {
        Kinds(1 << kind)
    }
    pub fn has(self, kind: usize) -> bool {
        self.0 >> kind & 1 != 0
    }
    pub fn union(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }
    /// The only kind, if it is known which.
    pub fn only(self) -> Option<usize> {
        (self.0.count_ones() == 1).then(|| self.0.trailing_zeros() as usize)
    }
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..16).filter(move |kind| self.has(*kind))
    }
}

/// What a block leaves the lazy registers as.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    /// As they were.
    Same,
    /// In the state: a helper has looked at them, and nothing has changed them since.
    State,
    /// Some of them anew, or in a way that has no recipe: the variables of all.
    Values,
    /// By a recipe from these values of the block.
    Recipe(usize, Vec<Val>),
}

/// The last values that a block gives registers after the last helper that wants them in the state.
pub(super) fn last_sets(ir: &Ir, number: impl Fn(u16) -> Option<usize>, from: usize) -> Vec<(usize, Val)> {
    let mut sets: Vec<(usize, Val)> = Vec::new();
    for op in ir.ops.iter().skip(from) {
        if let Op::Set(slot, v) = *op
            && let Some(n) = number(slot.0)
        {
            sets.retain(|(other, _)| *other != n);
            sets.push((n, v));
        }
    }
    sets.sort();
    sets
}

/// Whether an operation is worth doing late: it makes a small thing of larger ones.
fn is_late(ir: &Ir, op: &Op) -> bool {
    match *op {
        Op::Cmp(..) | Op::FloatCmp(..) | Op::Carry(..) | Op::Overflow(..) | Op::Const(..) | Op::ConstV(..) => true,
        Op::Zext(_, a) => {
            matches!(ir.ops[a.0 as usize], Op::Cmp(..) | Op::FloatCmp(..) | Op::Carry(..) | Op::Overflow(..))
        }
        Op::Bin(Binary::And | Binary::Shr, _, _, b) => matches!(ir.ops[b.0 as usize], Op::Const(..)),
        _ => false,
    }
}

/// Whether the value says yes or no.
fn is_flag(ir: &Ir, v: Val) -> bool {
    match ir.ops[v.0 as usize] {
        Op::Cmp(..) | Op::FloatCmp(..) | Op::Carry(..) | Op::Overflow(..) => true,
        Op::Zext(_, a) => is_flag(ir, a),
        Op::Const(_, c) => c <= 1,
        Op::Bin(Binary::And, _, _, b) => ir.as_const(b) == Some(1),
        _ => false,
    }
}

/// The registers among `sets` that are flags.
pub(super) fn flags(ir: &Ir, sets: &[(usize, Val)]) -> Slots {
    let mut slots = Slots::default();
    let flags = sets.iter().filter(|(_, v)| is_flag(ir, *v));
    // Constants alone are as good as any values.
    if flags.clone().any(|(_, v)| ir.as_const(*v).is_none()) {
        flags.for_each(|(n, _)| slots.add(*n));
    }
    slots
}

impl Recipe {
    /// How `sets` follow from few values of the block, and those values.
    pub fn find(ir: &Ir, sets: &[(usize, Val)]) -> Option<(Recipe, Vec<Val>)> {
        let op = |v: Val| &ir.ops[v.0 as usize];
        let mut leaves: Vec<Val> = Vec::new();
        let mut inside: Vec<Val> = Vec::new();
        let mut open: Vec<Val> = sets.iter().map(|(_, v)| *v).collect();
        while let Some(v) = open.pop() {
            if inside.contains(&v) || leaves.contains(&v) {
                continue;
            }
            if is_late(ir, op(v)) {
                inside.push(v);
                op(v).operands(|a| open.push(a));
            } else {
                leaves.push(v);
            }
        }
        // What follows from the other values is none of them.
        while let Some(at) = (0..leaves.len()).find(|at| {
            let mut follows =
                matches!(op(leaves[*at]), Op::Bin(..) | Op::Un(..) | Op::Zext(..) | Op::Sext(..) | Op::Trunc(..));
            op(leaves[*at]).operands(|a| {
                let known = leaves.iter().enumerate().any(|(other, leaf)| other != *at && *leaf == a);
                follows &= known || matches!(op(a), Op::Const(..));
            });
            // One operand more than itself would be no gain, but it may be what another one needs.
            follows
        }) {
            let v = leaves.swap_remove(at);
            inside.push(v);
            op(v).operands(|a| {
                if matches!(op(a), Op::Const(..)) && !inside.contains(&a) {
                    inside.push(a);
                }
            });
        }
        leaves.sort();
        inside.sort();
        if leaves.len() > LEAVES || inside.iter().any(|v| !op(*v).is_pure()) {
            return None;
        }
        let types = leaves.iter().map(|v| op(*v).result()).collect::<Option<Vec<Ty>>>()?;
        let mut ops: Vec<Op> = types.iter().enumerate().map(|(n, ty)| Op::Get(Slot(n as u16, *ty))).collect();
        let place = |v: Val| {
            let at = leaves.iter().position(|leaf| *leaf == v);
            at.or_else(|| inside.iter().position(|i| *i == v).map(|at| at + leaves.len())).map(|at| Val(at as u32))
        };
        let mut whole = true;
        for v in &inside {
            ops.push(op(*v).map_operands(|a| {
                place(a).unwrap_or_else(|| {
                    whole = false;
                    a
                })
            }));
        }
        let roots = sets.iter().map(|(n, v)| Some((*n, place(*v)?))).collect::<Option<Vec<_>>>()?;
        whole.then_some((Recipe { ops, roots, leaves: types }, leaves))
    }
}

/// The number of a recipe as a kind, if there is room.
pub(super) fn kind_of(recipes: &mut Vec<Recipe>, recipe: Recipe) -> Option<usize> {
    let known = recipes.iter().position(|r| *r == recipe);
    let at = known.or_else(|| {
        (recipes.len() < RECIPES).then(|| {
            recipes.push(recipe);
            recipes.len() - 1
        })
    });
    at.map(|at| at + Kinds::RECIPE)
}

impl Region {
    /// Finds registers to compute late, and what each block makes of them.
    pub(super) fn find_lazy<F: Frontend>(&mut self, shared: &Shared<F>) {
        let number = |offset: u16| self.number(offset);
        let synced = |ir: &Ir| ir.ops.iter().rposition(|op| looks_at_registers(shared, op)).map_or(0, |at| at + 1);
        let from: Vec<usize> = self.members.iter().map(|m| synced(&m.ir)).collect();
        let sets: Vec<_> = self.members.iter().zip(&from).map(|(m, from)| last_sets(&m.ir, number, *from)).collect();
        let flags: Vec<Slots> = self.members.iter().zip(&sets).map(|(m, sets)| flags(&m.ir, sets)).collect();
        // The registers that are set together most often.
        let common = flags.iter().flat_map(|a| flags.iter().map(|b| a.common(*b)));
        let worth =
            |set: Slots| set.count() * flags.iter().filter(|f| set.without(**f) == Slots::default()).count() as u32;
        let Some(chosen) = common.max_by_key(|set| worth(*set)).filter(|set| set.count() > 1) else { return };
        self.lazy = chosen;
        let mut needs = Vec::new();
        for (at, all) in sets.into_iter().enumerate() {
            let sets: Vec<_> = all.into_iter().filter(|(n, _)| chosen.has(*n)).collect();
            let ir = &self.members[at].ir;
            let out = if sets.is_empty() {
                if from[at] == 0 { Out::Same } else { Out::State }
            } else if sets.len() == chosen.count() as usize {
                let recipe = Recipe::find(ir, &sets);
                let kind = recipe.and_then(|(r, leaves)| Some((kind_of(&mut self.recipes, r)?, leaves)));
                kind.map_or(Out::Values, |(kind, leaves)| Out::Recipe(kind, leaves))
            } else {
                Out::Values
            };
            needs.push(
                from[at] == 0 && !sets.is_empty() && sets.len() < chosen.count() as usize
                    || self.reads_lazy(shared, ir),
            );
            self.members[at].out = out;
        }
        let mut forced = vec![false; self.members.len()];
        loop {
            self.find_kinds(&forced);
            let late: Vec<usize> = (0..self.members.len())
                .filter(|at| {
                    let m = &self.members[*at];
                    let passed = m.out == Out::Same && m.next().any(|to| forced[to]);
                    !forced[*at] && m.kinds.only().is_none() && (needs[*at] || passed)
                })
                .collect();
            if late.is_empty() {
                return;
            }
            late.into_iter().for_each(|at| forced[at] = true);
        }
    }

    /// Whether the block reads a lazy register that it has not set.
    fn reads_lazy<F: Frontend>(&self, shared: &Shared<F>, ir: &Ir) -> bool {
        let mut set = Slots::default();
        for op in &ir.ops {
            match *op {
                Op::Get(slot) if self.number(slot.0).is_some_and(|n| self.lazy.has(n) && !set.has(n)) => return true,
                Op::Set(slot, _) => {
                    if let Some(n) = self.number(slot.0) {
                        set.add(n);
                    }
                }
                _ if looks_at_registers(shared, op) => return false,
                _ => {}
            }
        }
        false
    }

    /// What the lazy registers may be at each start; the variables of all where that is `forced`.
    fn find_kinds(&mut self, forced: &[bool]) {
        for (m, forced) in self.members.iter_mut().zip(forced) {
            m.inner_kinds = Kinds::default();
            m.kinds = match (*forced, m.header) {
                (true, _) => Kinds::one(Kinds::VALUES),
                (false, true) => Kinds::one(Kinds::STATE),
                (false, false) => Kinds::default(),
            };
        }
        let mut changed = true;
        while changed {
            changed = false;
            for at in 0..self.members.len() {
                let m = &self.members[at];
                let out = match m.out {
                    Out::Same => m.kinds,
                    Out::State => Kinds::one(Kinds::STATE),
                    Out::Values => Kinds::one(Kinds::VALUES),
                    Out::Recipe(kind, _) => Kinds::one(kind),
                };
                for to in m.next().collect::<Vec<_>>() {
                    let next = &mut self.members[to];
                    changed |= next.inner_kinds.union(out) != next.inner_kinds;
                    next.inner_kinds = next.inner_kinds.union(out);
                    if !forced[to] {
                        next.kinds = next.kinds.union(out);
                    }
                }
            }
        }
    }
}
