//! What is compiled together: a hot block and the warm blocks that exits lead to, in its page and in those around it, as a
//! graph with its loops, the registers that are alive in each block, and those that the state does not hold then.

use super::lazy::{Kinds, Out, Recipe};
use crate::around::{Around, page_at};
use crate::cache::Block;
use crate::exec::{Near, Shared};
use crate::frontend::Frontend;
use crate::ir::{Block as Ir, Op, Terminal, Ty};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vm::Gpa;
use vm::ram::PAGE_SIZE;

/// Guest instructions of a region at most, unless its first block alone has more.
const MAX_INSNS: u32 = 150;
/// Blocks of a region at most.
const MAX_BLOCKS: usize = 24;
/// Pages that they lie in at most.
const MAX_PAGES: usize = 4;
/// A block belongs to a region if it runs at least once in so many runs of the first.
const WARM: u32 = 16;
/// The same for one that an indirect branch leads to: leaving there costs more.
const WARM_TARGET: u32 = 64;

/// Functions that contain the same block at most, besides its own: a bound on what is compiled in all.
const COPIES: u32 = 4;

/// A set of registers, by their numbers in [`Region::slots`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(u128);

impl Slots {
    /// Registers that a set can hold.
    const ROOM: usize = 128;

    /// The first `n`.
    fn all(n: usize) -> Slots {
        Slots(1u128.checked_shl(n as u32).map_or(u128::MAX, |bit| bit - 1))
    }
    pub fn has(self, n: usize) -> bool {
        self.0 >> n & 1 != 0
    }
    pub fn add(&mut self, n: usize) {
        self.0 |= 1 << n;
    }
    pub fn union(self, other: Slots) -> Slots {
        Slots(self.0 | other.0)
    }
    pub fn without(self, other: Slots) -> Slots {
        Slots(self.0 & !other.0)
    }
    pub fn common(self, other: Slots) -> Slots {
        Slots(self.0 & other.0)
    }
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::ROOM).filter(move |n| self.has(*n))
    }
}

/// One block of a region.
pub(super) struct Member {
    pub block: Arc<Block>,
    pub ir: Ir,
    /// From the first block, in bytes, where they are executed.
    pub distance: i64,
    /// Its page, from that of the first block on.
    pub page: i64,
    /// The members that the fixed exits lead to.
    pub inner: [Option<usize>; 2],
    /// The members that the indirect branch at the end has led to, in ascending order of their distances.
    pub guessed: Vec<usize>,
    /// Something leads back to it: the budget is checked here. The first block is one always.
    pub header: bool,
    /// Whether control can come to the first block other than by entering the region.
    pub looped: bool,
    /// Instructions from here to the next header or way out, this block's included, at most.
    pub need: u32,
    /// Registers whose values are needed at the start.
    pub live: Slots,
    /// Registers whose cells in the state may be out of date at the start.
    pub dirty: Slots,
    /// Registers that have not been read from the state at the start.
    pub unread: Slots,
    /// What the lazy registers may be at the start, and what they may be when another member leads here.
    pub kinds: Kinds,
    pub inner_kinds: Kinds,
    /// What they are after it.
    pub out: Out,
    /// It may store to memory, so that the region may be invalid after it.
    pub stores: bool,
}

impl Member {
    /// The members that it leads to.
    pub fn next(&self) -> impl Iterator<Item = usize> + '_ {
        self.inner.into_iter().flatten().chain(self.guessed.iter().copied())
    }

    /// Where it starts in its page.
    pub fn offset(&self) -> i64 {
        (self.block.key.gpa.0 % PAGE_SIZE) as i64
    }

    /// Whether it leads to a member at all.
    pub fn goes_on(&self) -> bool {
        self.next().next().is_some()
    }
}

/// Blocks compiled as one function. The first is where it is entered; the others come in an order in which every block
/// but a header follows those that lead to it.
pub(super) struct Region {
    pub members: Vec<Member>,
    /// The pages of the members, each once.
    pub pages: Vec<i64>,
    /// The registers that the region uses but the program counter, by offset, with the type they are kept in.
    pub slots: Vec<(u16, Ty)>,
    /// Those that are read at the entry, for they are read in a loop, or written on some ways only.
    pub early: Slots,
    /// Those that are computed when they are looked at.
    pub lazy: Slots,
    pub recipes: Vec<Recipe>,
    numbers: BTreeMap<u16, usize>,
}

/// The blocks worth compiling with `head`, which comes first. Of other pages only those that lead back to it: code that is
/// merely called from here is compiled where it lies.
pub(super) fn choose<F: Frontend>(shared: &Shared<F>, head: &Arc<Block>, around: &Around) -> Vec<Near> {
    let first_page = |near: &Near| page_at(head.key.gpa, near.distance) == 0;
    let all = grow(shared, head, around, |_| true);
    if all.iter().all(first_page) {
        return all;
    }
    let back = lead_back(shared, &all, around);
    grow(shared, head, around, |near| first_page(near) || back.iter().any(|block| Arc::ptr_eq(block, &near.block)))
}

/// Those of the blocks from which control comes to the first by way of the others.
fn lead_back<F: Frontend>(shared: &Shared<F>, all: &[Near], around: &Around) -> Vec<Arc<Block>> {
    let place = |near: &Near| all.iter().position(|other| other.distance == near.distance);
    let next: Vec<Vec<usize>> = all
        .iter()
        .map(|near| shared.near(&near.block, near.distance, around).iter().flatten().filter_map(place).collect())
        .collect();
    let mut back = vec![false; all.len()];
    back[0] = true;
    while let Some(at) = (0..all.len()).find(|at| !back[*at] && next[*at].iter().any(|to| back[*to])) {
        back[at] = true;
    }
    all.iter().zip(back).filter(|(_, back)| *back).map(|(near, _)| near.block.clone()).collect()
}

/// Adds the hottest block that may be next to those chosen, as long as there is room.
fn grow<F: Frontend>(
    shared: &Shared<F>,
    head: &Arc<Block>,
    around: &Around,
    wanted: impl Fn(&Near) -> bool,
) -> Vec<Near> {
    let mut newest = Near { block: head.clone(), distance: 0 };
    let mut chosen = vec![newest.clone()];
    let mut insns = head.insns;
    // Nobody counts the runs of optimized code any more.
    let heat = |block: &Arc<Block>| match block.is_optimized() {
        false => shared.heat(block),
        true => u32::MAX,
    };
    let hot = head.runs.get();
    // Blocks that may be next, with their heat.
    let mut next: Vec<(Near, u32)> = Vec::new();
    while chosen.len() < MAX_BLOCKS {
        let [fixed, guessed] = shared.near(&newest.block, newest.distance, around);
        let fixed = fixed.into_iter().map(|near| (near, hot / WARM));
        for (near, least) in fixed.chain(guessed.into_iter().map(|near| (near, hot / WARM_TARGET))) {
            let block = &near.block;
            if chosen.iter().chain(next.iter().map(|(n, _)| n)).any(|n| Arc::ptr_eq(&n.block, block)) {
                continue;
            }
            let heat = heat(block);
            let warm = heat >= least.max(1) && block.copies.load(Ordering::Relaxed) < COPIES;
            if warm && wanted(&near) && block.valid.load(Ordering::Acquire) {
                next.push((near, heat));
            }
        }
        next.retain(|(near, _)| insns + near.block.insns <= MAX_INSNS && fits(head, &chosen, near));
        let Some(hottest) = (0..next.len()).max_by_key(|n| (next[*n].1, usize::MAX - n)) else { break };
        newest = next.swap_remove(hottest).0;
        insns += newest.block.insns;
        chosen.push(newest.clone());
    }
    chosen
}

/// Whether a block lies in the same memory as those chosen from its page, or in a page that may be added.
fn fits(head: &Block, chosen: &[Near], near: &Near) -> bool {
    let page = |near: &Near| page_at(head.key.gpa, near.distance);
    let memory = |block: &Block| {
        let (ram, range) = block.home();
        (block.key.gpa.0 / PAGE_SIZE, ram.id(), range.start / PAGE_SIZE)
    };
    match chosen.iter().find(|other| page(other) == page(near)) {
        Some(other) => memory(&other.block) == memory(&near.block),
        None => {
            let mut pages: Vec<i64> = chosen.iter().map(page).collect();
            pages.sort_unstable();
            pages.dedup();
            pages.len() < MAX_PAGES
        }
    }
}

/// What one block does to registers.
#[derive(Clone, Copy, Default)]
struct Effects {
    /// Read before it writes them.
    reads: Slots,
    writes: Slots,
    /// Written before anything may leave the block.
    early: Slots,
    /// Something may leave the block before its end, or needs the registers in the state.
    leaves: bool,
    /// The registers are put into the state on the way; those written afterwards.
    synced: Option<Slots>,
    /// A helper changes registers in the state; those read or written after the last such.
    clobbers: bool,
    known: Slots,
}

impl Region {
    /// A region of these blocks, of which the first is the head. Blocks that nothing leads to are left out.
    pub fn new<F: Frontend>(shared: &Shared<F>, blocks: Vec<(Near, Ir)>, around: &Around) -> Result<Region, String> {
        let head = blocks.first().ok_or("no block")?.0.block.key.gpa;
        if blocks.iter().any(|(near, _)| near.block.insns == 0) {
            return Err("a block without instructions".into());
        }
        let fixed: Vec<[Option<usize>; 2]> = blocks
            .iter()
            .map(|(near, ir)| {
                let exits = match ir.end {
                    Some(Terminal::Jump(to)) => [Some(to), None],
                    Some(Terminal::Branch(_, to, other)) => [Some(to), Some(other)],
                    _ => [None, None],
                };
                exits.map(|to| {
                    let to = near.distance.checked_add(to?)?;
                    blocks.iter().position(|(other, _)| other.distance == to)
                })
            })
            .collect();
        let guessed: Vec<Vec<usize>> =
            blocks.iter().map(|(near, ir)| guesses(head, near, ir, &blocks, around)).collect();
        let exits = fixed.iter().zip(&guessed).map(|(fixed, guessed)| {
            // The second exit first: the first one, a branch taken, comes next in the order.
            fixed.iter().rev().flatten().chain(guessed).copied().collect()
        });
        let (order, headers) = order(&exits.collect::<Vec<_>>());
        let mut position = vec![None; blocks.len()];
        for (at, old) in order.iter().enumerate() {
            position[*old] = Some(at);
        }
        let mut blocks: Vec<Option<(Near, Ir)>> = blocks.into_iter().map(Some).collect();
        let mut members = Vec::with_capacity(order.len());
        for old in order {
            let Some((near, ir)) = blocks[old].take() else { return Err("a block twice in the order".into()) };
            members.push(Member {
                distance: near.distance,
                page: page_at(head, near.distance),
                inner: fixed[old].map(|to| to.and_then(|to| position[to])),
                guessed: guessed[old].iter().filter_map(|to| position[*to]).collect(),
                header: old == 0 || headers[old],
                looped: headers[old],
                need: 0,
                live: Slots::default(),
                dirty: Slots::default(),
                unread: Slots::default(),
                kinds: Kinds::default(),
                inner_kinds: Kinds::default(),
                out: Out::Same,
                stores: ir.may_store(),
                block: near.block,
                ir,
            });
        }
        let mut pages: Vec<i64> = members.iter().map(|m| m.page).collect();
        pages.sort_unstable();
        pages.dedup();
        let mut region = Region {
            members,
            pages,
            slots: Vec::new(),
            early: Slots::default(),
            lazy: Slots::default(),
            recipes: Vec::new(),
            numbers: BTreeMap::new(),
        };
        region.number_slots::<F>()?;
        region.count_instructions();
        region.find_lazy(shared);
        region.find_liveness(shared);
        Ok(region)
    }

    /// The members where the function can be entered: the first and the headers, except those that the offset in the page
    /// does not tell from one before.
    pub fn entries(&self) -> impl Iterator<Item = usize> {
        let same = |at: usize, other: usize| self.members[at].offset() == self.members[other].offset();
        let headers = (0..self.members.len()).filter(|at| self.members[*at].header);
        headers.clone().filter(move |at| !headers.clone().any(|other| other < *at && same(*at, other)))
    }

    /// Whether member `at` has ways into members in other pages, which may turn out to be closed.
    fn crosses(&self, at: usize) -> bool {
        self.members[at].next().any(|to| self.members[to].page != self.members[at].page)
    }

    /// The number of the register at this offset.
    pub fn number(&self, offset: u16) -> Option<usize> {
        self.numbers.get(&offset).copied()
    }

    fn number_slots<F: Frontend>(&mut self) -> Result<(), String> {
        for op in self.members.iter().flat_map(|m| &m.ir.ops) {
            if let Op::Get(slot) | Op::Set(slot, _) = *op
                && slot.0 != F::PC.0
                && !self.numbers.contains_key(&slot.0)
            {
                self.numbers.insert(slot.0, self.slots.len());
                self.slots.push((slot.0, if slot.1 == Ty::V128 { Ty::V128 } else { Ty::I64 }));
            }
        }
        if self.slots.len() > Slots::ROOM { Err("too many registers".into()) } else { Ok(()) }
    }

    fn count_instructions(&mut self) {
        for at in (0..self.members.len()).rev() {
            let after = self.members[at].next().filter(|to| !self.members[*to].header);
            let after = after.map(|to| self.members[to].need).max().unwrap_or(0);
            self.members[at].need = self.members[at].block.insns + after;
        }
    }

    fn effects<F: Frontend>(&self, shared: &Shared<F>, ir: &Ir) -> Effects {
        let mut e = Effects::default();
        for op in &ir.ops {
            match *op {
                Op::Get(slot) => {
                    if let Some(n) = self.eager(slot.0) {
                        e.known.add(n);
                        if !e.writes.has(n) && !e.clobbers {
                            e.reads.add(n);
                        }
                    }
                }
                Op::Set(slot, _) => {
                    if let Some(n) = self.eager(slot.0) {
                        e.writes.add(n);
                        e.known.add(n);
                        if !e.leaves {
                            e.early.add(n);
                        }
                        if let Some(synced) = &mut e.synced {
                            synced.add(n);
                        }
                    }
                }
                Op::Call(id, ..) | Op::CallV(id, ..) => {
                    let helper = &shared.helpers[usize::from(id.0)];
                    e.leaves |= helper.raises || helper.reads_slots || helper.writes_slots;
                    if looks_at_registers(shared, op) {
                        e.synced = Some(Slots::default());
                    }
                    if helper.writes_slots {
                        e.clobbers = true;
                        e.known = Slots::default();
                    }
                }
                _ => e.leaves |= op.may_leave(),
            }
        }
        e
    }

    /// The number of a register that is not lazy.
    fn eager(&self, offset: u16) -> Option<usize> {
        self.number(offset).filter(|n| !self.lazy.has(*n))
    }

    fn find_liveness<F: Frontend>(&mut self, shared: &Shared<F>) {
        let effects: Vec<Effects> = self.members.iter().map(|m| self.effects(shared, &m.ir)).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for (at, e) in effects.iter().enumerate() {
                let after = e.synced.unwrap_or(self.members[at].dirty.union(e.writes));
                for to in self.members[at].next().collect::<Vec<_>>() {
                    let dirty = self.members[to].dirty.union(after);
                    changed |= dirty != self.members[to].dirty;
                    self.members[to].dirty = dirty;
                }
            }
        }
        changed = true;
        while changed {
            changed = false;
            for (at, e) in effects.iter().enumerate().rev() {
                let m = &self.members[at];
                let mut after = Slots::default();
                for to in m.next() {
                    after = after.union(self.members[to].live);
                }
                let out = match m.ir.end {
                    Some(Terminal::Jump(_)) => m.stores || m.inner[0].is_none() || self.crosses(at),
                    Some(Terminal::Branch(..)) => m.stores || m.inner.contains(&None) || self.crosses(at),
                    _ => true,
                };
                let mut live = if e.clobbers { e.reads } else { e.reads.union(after.without(e.writes)) };
                if m.header {
                    live = live.union(m.dirty);
                } else if e.leaves {
                    live = live.union(m.dirty.without(e.early));
                } else if out {
                    live = live.union(m.dirty.without(e.writes));
                }
                changed |= live != m.live;
                self.members[at].live = live;
            }
        }
        while self.find_unread(&effects) {}
        self.early = self.early.union(self.lazy);
        for m in self.members.iter_mut().filter(|m| m.kinds == Kinds::one(Kinds::VALUES)) {
            m.live = m.live.union(self.lazy);
        }
    }

    /// Finds where registers have been read from the state. Gives whether there are more than known so far that have to be
    /// read at the entry, because control meets where one way has read or written them and another has not.
    fn find_unread(&mut self, effects: &[Effects]) -> bool {
        let late = Slots::all(self.slots.len()).without(self.early);
        let mut read = vec![Slots::default(); self.members.len()];
        for m in &mut self.members {
            m.unread = if m.header { late } else { Slots::default() };
        }
        let mut changed = true;
        while changed {
            changed = false;
            for (at, e) in effects.iter().enumerate() {
                let before = if e.clobbers { Slots::default() } else { read[at] };
                let after = before.union(e.known);
                let unread = if e.clobbers { late } else { self.members[at].unread }.without(e.known);
                for to in self.members[at].next().collect::<Vec<_>>() {
                    let next = (read[to].union(after), self.members[to].unread.union(unread));
                    changed |= next != (read[to], self.members[to].unread);
                    (read[to], self.members[to].unread) = next;
                }
            }
        }
        let both = self.members.iter().zip(&read).map(|(m, read)| m.live.common(m.unread).common(*read));
        let more = both.fold(self.early, Slots::union);
        std::mem::replace(&mut self.early, more) != more
    }
}

/// Whether it is a call of a helper that wants the registers in the state.
pub(super) fn looks_at_registers<F: Frontend>(shared: &Shared<F>, op: &Op) -> bool {
    let (Op::Call(id, ..) | Op::CallV(id, ..)) = *op else { return false };
    let helper = &shared.helpers[usize::from(id.0)];
    helper.reads_slots || helper.writes_slots
}

/// Which of the region's blocks the indirect branch of a block has led to, in ascending order of their distances.
fn guesses(head: Gpa, from: &Near, ir: &Ir, blocks: &[(Near, Ir)], around: &Around) -> Vec<usize> {
    let (Some(targets), Some(Terminal::Indirect(_))) = (&from.block.targets, ir.end) else { return Vec::new() };
    let targets = targets.all();
    let led_to = |at: &usize| {
        let to = &blocks[*at].0;
        let near = page_at(head, to.distance) == page_at(head, from.distance);
        let same = |low: &u16| match near {
            true => u64::from(*low) % PAGE_SIZE == to.block.key.gpa.0 % PAGE_SIZE,
            false => around.distance_to(*low) == Some(to.distance),
        };
        targets.iter().any(same)
    };
    let mut all: Vec<usize> = (0..blocks.len()).filter(led_to).collect();
    all.sort_by_key(|at| blocks[*at].0.distance);
    all
}

/// Depth-first order (reverse postorder) from the first block, and which blocks an edge leads back to.
fn order(exits: &[Vec<usize>]) -> (Vec<usize>, Vec<bool>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        Open,
        Done,
    }
    let mut seen = vec![Seen::No; exits.len()];
    let mut headers = vec![false; exits.len()];
    let mut order = Vec::with_capacity(exits.len());
    let mut path = vec![(0, 0)];
    seen[0] = Seen::Open;
    while let Some((at, exit)) = path.last_mut() {
        let from = *at;
        let Some(to) = exits[from].get(*exit).copied() else {
            seen[from] = Seen::Done;
            order.push(from);
            path.pop();
            continue;
        };
        *exit += 1;
        match seen[to] {
            Seen::No => {
                seen[to] = Seen::Open;
                path.push((to, 0));
            }
            Seen::Open => headers[to] = true,
            Seen::Done => {}
        }
    }
    order.reverse();
    (order, headers)
}
