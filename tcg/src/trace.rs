//! Warm code: the block and those that mostly follow it become one piece of template code.
//!
//! A trace saves what each block costs by itself - the look at the budget, the count of runs, the way over a link or through
//! the jump cache, reading registers anew - for little more than what templates cost anyhow. It has one entry; branches that
//! mostly go elsewhere leave it. It follows calls into other pages and returns from them. What is hot becomes a region later,
//! see `cranelift/region.rs`.

use crate::cache::Block;
use crate::env::Env;
use crate::exec::Shared;
use crate::frontend::{Frontend, Helper};
use crate::ir::{self, Binary, Op, Terminal, Ty, Val};
use crate::x64::{Full, Part, Template, Way};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vm::ram::PAGE_SIZE;

/// Blocks of a trace at most.
const MAX_BLOCKS: usize = 16;
/// Guest instructions of a trace at most.
const MAX_INSNS: u32 = 96;
/// Code so close to other code is taken for a part of the same program: the distance is the same each time.
const NEAR: i64 = 1 << 27;

/// A virtual address as it is now. Those of the same origin keep their distance wherever the guest puts its programs: origin
/// 0 is the program counter at the start of the trace, others are where guesses led.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Address {
    origin: u32,
    now: u64,
}

impl Address {
    fn plus(self, distance: u64) -> Address {
        Address { now: self.now.wrapping_add(distance), ..self }
    }
    /// As an address of code is that a narrow block leads to.
    fn cut(self, narrow: bool) -> Address {
        if narrow { Address { now: self.now & 0xffff_ffff, ..self } } else { self }
    }
    fn page(self) -> Address {
        Address { now: self.now & !(PAGE_SIZE - 1), ..self }
    }
}

/// One block of a trace.
struct Step {
    block: Arc<Block>,
    ir: ir::Block,
    at: Address,
    /// How it goes on.
    way: Way,
}

/// What registers are known to hold on the way along a trace.
#[derive(Default)]
struct Known {
    /// Slots that hold addresses.
    slots: Vec<(u16, Address)>,
    /// The values of the block at hand that are addresses.
    values: Vec<Option<Address>>,
    /// Where calls are to return to.
    returns: Vec<Address>,
    /// The slot that a call leaves that in.
    link: Option<u16>,
}

impl Known {
    fn of(&self, v: Val) -> Option<Address> {
        self.values[v.0 as usize]
    }

    /// Follows the operations of a block at `here`.
    fn follow<F: Frontend>(&mut self, ir: &ir::Block, here: Address, helpers: &[Helper<F>]) {
        self.values.clear();
        let mut called = None;
        for op in &ir.ops {
            let address = match *op {
                Op::Get(slot) if slot == F::PC => Some(here),
                Op::Get(slot) if slot.1 == Ty::I64 => self.slots.iter().find(|(s, _)| *s == slot.0).map(|(_, at)| *at),
                Op::Bin(Binary::Add, Ty::I64, a, b) => match (ir.as_const(a), ir.as_const(b)) {
                    (_, Some(distance)) => self.of(a).map(|a| a.plus(distance)),
                    (Some(distance), _) => self.of(b).map(|b| b.plus(distance)),
                    _ => None,
                },
                Op::Bin(Binary::And, Ty::I64, a, mask) if ir.narrow && ir.as_const(mask) == Some(0xffff_ffff) => {
                    self.of(a).map(|a| a.cut(true))
                }
                Op::Set(slot, v) => {
                    self.slots.retain(|(s, _)| *s != slot.0);
                    let address = self.of(v).filter(|_| slot.1 == Ty::I64);
                    self.slots.extend(address.map(|address| (slot.0, address)));
                    if address.is_some_and(|address| address == here.plus(ir.len_bytes.into())) {
                        called = Some(slot.0);
                    }
                    None
                }
                Op::Call(id, ..) | Op::CallV(id, ..) => {
                    if helpers[usize::from(id.0)].writes_slots {
                        self.slots.clear();
                    }
                    None
                }
                // The tag of an address in its upper bits has no effect on that of a block.
                Op::Bin(Binary::Sar, Ty::I64, a, n) => match (ir.ops[a.0 as usize], ir.as_const(n)) {
                    (Op::Bin(Binary::Shl, Ty::I64, a, m), Some(1..=8)) if ir.as_const(m) == ir.as_const(n) => {
                        self.of(a)
                    }
                    _ => None,
                },
                Op::Select(Ty::I64, _, a, b) if self.of(a) == self.of(b) => self.of(a),
                _ => None,
            };
            self.values.push(address);
        }
        if let (Some(slot), Some(Terminal::Jump(_) | Terminal::Indirect(_))) = (called, ir.end) {
            self.returns.push(here.plus(ir.len_bytes.into()));
            self.link = Some(slot);
        }
    }

    /// Whether an indirect branch of the block at hand to `to` returns from a call: to what the call's slot holds.
    fn returns(&self, ir: &ir::Block, to: Val) -> bool {
        let Some(link) = self.link else { return false };
        let without_tag = |v: Val| match ir.ops[v.0 as usize] {
            Op::Bin(Binary::Sar, _, a, _) => match ir.ops[a.0 as usize] {
                Op::Bin(Binary::Shl, _, a, _) => a,
                _ => v,
            },
            _ => v,
        };
        let candidates = match ir.ops[to.0 as usize] {
            Op::Select(_, _, a, b) => [a, b],
            _ => [to, to],
        };
        let last_set = ir.ops.iter().rev().find_map(|op| match op {
            Op::Set(slot, v) if slot.0 == link => Some(*v),
            _ => None,
        });
        candidates.into_iter().map(without_tag).all(|v| match ir.ops[v.0 as usize] {
            Op::Get(slot) => slot.0 == link,
            _ => last_set == Some(v),
        })
    }
}

/// A trace in the making.
struct Path<'a, F: Frontend> {
    shared: &'a Shared<F>,
    env: &'a Env<F>,
    steps: Vec<Step>,
    known: Known,
    insns: u32,
    origins: u32,
}

impl<F: Frontend> Path<'_, F> {
    /// Appends a block, unless the guest is changing its code just now.
    fn push(&mut self, block: Arc<Block>, at: Address) -> bool {
        let mut ir = self.shared.retranslate(&block);
        if ir.insns != block.insns || ir.end.is_none() {
            return false;
        }
        crate::opt::optimize(&mut ir, self.shared.helpers);
        self.known.follow(&ir, at, self.shared.helpers);
        self.insns += block.insns;
        self.steps.push(Step { block, ir, at, way: Way::Out });
        true
    }

    /// The block at an address.
    fn block_at(&self, from: &Step, to: Address) -> Option<Arc<Block>> {
        if from.at.page() == to.page() {
            self.shared.at_distance(&from.block, to.now.wrapping_sub(from.at.now) as i64)
        } else {
            self.env.jump_to(to.now)
        }
    }

    /// Whether the trace was in the page of a block at this address before.
    fn has_been_in(&self, block: &Block, at: Address) -> bool {
        let page = |block: &Block| (block.key.gpa.0 / PAGE_SIZE, block.key.mode);
        self.steps.iter().any(|step| step.at.page() == at.page() && page(&step.block) == page(block))
    }

    /// What mostly follows the last step, and by which way.
    fn next(&mut self) -> Option<(Arc<Block>, Address, Way)> {
        let last = self.steps.last()?;
        let exit = |exit: usize, distance: i64| {
            let at = last.at.plus(distance as u64).cut(last.ir.narrow);
            let block = self.block_at(last, at)?;
            let looks = !self.has_been_in(&block, at);
            Some((block, at, Way::Exit { exit, looks }))
        };
        match last.ir.end? {
            Terminal::Jump(to) => exit(0, to),
            Terminal::Branch(_, to, other) => {
                let ways = [(0, to), (1, other)].into_iter().filter_map(|(n, to)| exit(n, to));
                let (block, at, way) = ways.max_by_key(|(block, ..)| block.runs.get())?;
                (block.runs.get() >= last.block.runs.get() / 2).then_some((block, at, way))
            }
            Terminal::Indirect(to) => {
                if let Some(at) = self.known.of(to) {
                    let block = self.block_at(last, at)?;
                    let known = at.origin == last.at.origin && self.has_been_in(&block, at);
                    let distance = at.now.wrapping_sub(last.at.now) as i64;
                    let guess = Way::Guessed { distance: None, looks: true };
                    return Some((block, at, if known { Way::Known { distance } } else { guess }));
                }
                let back = if self.known.returns(&last.ir, to) { self.known.returns.pop() } else { None };
                let at = match back {
                    Some(at) => at,
                    None => {
                        let half = last.block.targets.as_ref()?.favourite()?;
                        Address { now: self.env.jump_by_half(half)?, ..last.at }
                    }
                };
                let distance = at.now.wrapping_sub(last.at.now) as i64;
                if at.origin == last.at.origin && distance.abs() < NEAR {
                    let block = self.block_at(last, at)?;
                    let looks = !self.has_been_in(&block, at);
                    return Some((block, at, Way::Guessed { distance: Some(distance), looks }));
                }
                let block = self.env.jump_to(at.now)?;
                self.origins += 1;
                let at = Address { origin: self.origins, ..at };
                Some((block, at, Way::Guessed { distance: None, looks: true }))
            }
            Terminal::Resync(_) | Terminal::Dispatch => None,
        }
    }

    /// Appends what mostly follows, as long as something does.
    fn grow(&mut self) {
        while self.steps.len() < MAX_BLOCKS {
            let Some((block, at, way)) = self.next() else { break };
            let known = self.steps.iter().any(|step| Arc::ptr_eq(&step.block, &block));
            let fits = self.insns + block.insns <= MAX_INSNS && block.valid.load(Ordering::Acquire);
            if known || !fits || !self.push(block, at) {
                break;
            }
            let last = self.steps.len() - 2;
            self.steps[last].way = way;
        }
    }
}

impl<F: Frontend> Shared<F> {
    /// Gives a warm block at the vCPU's program counter a trace, on the vCPU's thread. From then on its runs are counted
    /// towards optimization, with a trace or without.
    pub(crate) fn trace(&self, template: &Template<F>, env: &mut Env<F>, head: &Arc<Block>) {
        let hot_after = self.hot_after(head);
        let at = Address { origin: 0, now: env.pc() };
        let mut path = Path { shared: self, env, steps: Vec::new(), known: Known::default(), insns: 0, origins: 0 };
        if path.push(head.clone(), at) {
            path.grow();
        }
        let steps = path.steps;
        if steps.len() < 2 || !self.emit_trace(template, &steps, hot_after) {
            head.runs.ask_at(hot_after.unwrap_or(u32::MAX));
        }
    }

    fn emit_trace(&self, template: &Template<F>, steps: &[Step], hot_after: Option<u32>) -> bool {
        let parts: Vec<Part<'_>> =
            steps.iter().map(|step| Part { block: &step.block, ir: &step.ir, way: step.way }).collect();
        match template.compile(self, &parts, hot_after) {
            Some(Ok(code)) => {
                let blocks: Vec<Arc<Block>> = steps.iter().map(|step| step.block.clone()).collect();
                self.install_trace(template, &blocks, code)
            }
            Some(Err(Full)) => {
                self.code_memory_full();
                true
            }
            None => false,
        }
    }
}
