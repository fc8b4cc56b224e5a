//! Random blocks, on every tier against the reference. `TCG_BLOCKS` sets how many, `TCG_SEED` where they start.

use crate::reference::{State, WINDOW};
use crate::toy::{self, CODE, DATA, HALT, Machine, Page, Regs, Rng, Tier, V, X, entry};
use tcg::ir::{self, AtomicOp, Binary, Block, Cond, FloatCond, HelperId, Lane, Mem, Op, Order, Slot, Ty, Unary};
use tcg::ir::{VBinary, VShift, VUnary, Val};
use vm::vcpu::Vcpu;

pub const INTS: [Ty; 4] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64];
pub const LANES: [Lane; 4] = [Lane::B, Lane::H, Lane::S, Lane::D];
#[rustfmt::skip]
pub const BINARIES: [Binary; 15] = [
    Binary::Add, Binary::Sub, Binary::Mul, Binary::MulHiU, Binary::MulHiS, Binary::DivU, Binary::DivS, Binary::And,
    Binary::Or, Binary::Xor, Binary::AndNot, Binary::Shl, Binary::Shr, Binary::Sar, Binary::Ror,
];
pub const UNARIES: [Unary; 7] =
    [Unary::Not, Unary::Neg, Unary::Clz, Unary::Ctz, Unary::BitRev, Unary::ByteRev, Unary::Popcount];
pub const CONDS: [Cond; 6] = [Cond::Eq, Cond::Ne, Cond::LtU, Cond::LeU, Cond::LtS, Cond::LeS];
#[rustfmt::skip]
pub const V_BINARIES: [VBinary; 18] = [
    VBinary::Add, VBinary::Sub, VBinary::Mul, VBinary::And, VBinary::Or, VBinary::Xor, VBinary::AndNot,
    VBinary::CmpEq, VBinary::CmpGtS, VBinary::CmpGtU, VBinary::CmpGeS, VBinary::CmpGeU, VBinary::MinS, VBinary::MinU,
    VBinary::MaxS, VBinary::MaxU, VBinary::AddPairs, VBinary::Lookup,
];
#[rustfmt::skip]
pub const V_UNARIES: [VUnary; 10] = [
    VUnary::Not, VUnary::Neg, VUnary::Abs, VUnary::Popcount, VUnary::Low64, VUnary::WidenLowS, VUnary::WidenLowU,
    VUnary::WidenHighS, VUnary::WidenHighU, VUnary::Narrow,
];
pub const V_SHIFTS: [VShift; 3] = [VShift::Shl, VShift::Shr, VShift::Sar];
#[rustfmt::skip]
pub const ATOMICS: [AtomicOp; 9] = [
    AtomicOp::Swap, AtomicOp::Add, AtomicOp::AndNot, AtomicOp::Or, AtomicOp::Xor, AtomicOp::MinS, AtomicOp::MaxS,
    AtomicOp::MinU, AtomicOp::MaxU,
];

struct Gen<'a> {
    rng: &'a mut Rng,
    ir: Block,
    values: Vec<(Val, Ty)>,
}

impl Gen<'_> {
    fn push(&mut self, op: Op) -> Val {
        self.ir.ops.push(op);
        let v = Val(self.ir.ops.len() as u32 - 1);
        if let Some(ty) = op.result() {
            self.values.push((v, ty));
        }
        v
    }

    fn val(&mut self, ty: Ty) -> Val {
        let have: Vec<Val> = self.values.iter().filter(|(_, t)| *t == ty).map(|(v, _)| *v).collect();
        if !have.is_empty() && !self.rng.one_in(4) {
            // Recent values more often.
            let back = self.rng.below(have.len()).min(self.rng.below(have.len()));
            return have[have.len() - 1 - back];
        }
        let slot = self.rng.below(4);
        if ty == Ty::V128 {
            return match self.rng.below(4) {
                0 => {
                    let (low, high) = (self.rng.edge(), self.rng.edge());
                    self.push(Op::ConstV(low, high))
                }
                _ => self.push(Op::Get(V[slot])),
            };
        }
        match self.rng.below(4) {
            0 => {
                let c = self.rng.edge() & ty.mask();
                self.push(Op::Const(ty, c))
            }
            1 if ty != Ty::I64 => {
                let wide = self.val(Ty::I64);
                self.push(Op::Trunc(ty, wide))
            }
            _ => self.push(Op::Get(Slot(X[slot].0, ty))),
        }
    }

    /// An address in the window, more often at its end or at the border of its pages.
    fn address(&mut self) -> Val {
        let any = self.val(Ty::I64);
        let mask = self.rng.pick(&[0x1fff, 0x1ff8, 0x1ff0, 0x8]);
        let mask = self.push(Op::Const(Ty::I64, mask));
        let low = self.push(Op::Bin(Binary::And, Ty::I64, any, mask));
        let base = self.push(Op::Const(Ty::I64, DATA));
        let va = self.push(Op::Bin(Binary::Add, Ty::I64, low, base));
        if !self.rng.one_in(3) {
            return va;
        }
        // A sum that is folded into the access: `and` to 4 bits keeps it in the window.
        let mask = self.push(Op::Const(Ty::I64, DATA | 0xf));
        let base = self.push(Op::Bin(Binary::And, Ty::I64, va, mask));
        let by = self.rng.pick(&[0, 8, 0xff0, 0xffa, 0x1ff0 - 8, 0x1fe9]);
        let by = self.push(Op::Const(Ty::I64, by));
        self.push(Op::Bin(Binary::Add, Ty::I64, base, by))
    }

    fn mem(&mut self) -> Mem {
        Mem {
            mmu: self.rng.below(2) as u8,
            align_log2: if self.rng.one_in(6) { self.rng.below(5) as u8 } else { 0 },
            order: self.rng.pick(&[Order::Relaxed, Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel]),
            swap: self.rng.one_in(5),
            modify: self.rng.one_in(5),
        }
    }

    fn set_one(&mut self) {
        if self.rng.one_in(4) {
            let (v, slot) = (self.val(Ty::V128), self.rng.below(4));
            self.push(Op::Set(V[slot], v));
            return;
        }
        let mut v = self.val(Ty::I64);
        if self.rng.one_in(3) {
            let ty = self.rng.pick(&INTS[..3]);
            let narrow = self.val(ty);
            v = self.push(Op::Zext(Ty::I64, narrow));
        }
        let slot = self.rng.below(5);
        self.push(Op::Set(X[slot], v));
    }

    fn one(&mut self) {
        let ty = self.rng.pick(&INTS);
        let lane = self.rng.pick(&LANES);
        match self.rng.below(30) {
            0..=5 => self.set_one(),
            6..=9 => {
                let op = self.rng.pick(&BINARIES);
                let (a, b) = (self.val(ty), self.val(ty));
                self.push(Op::Bin(op, ty, a, b));
            }
            10 => {
                let op = self.rng.pick(&UNARIES);
                let a = self.val(ty);
                self.push(Op::Un(op, ty, a));
            }
            11 | 12 => {
                let cond = self.rng.pick(&CONDS);
                let (a, b) = (self.val(ty), self.val(ty));
                self.push(Op::Cmp(cond, ty, a, b));
                if self.rng.one_in(4) {
                    let (lane, cond) = (self.rng.pick(&[Lane::S, Lane::D]), self.rng.pick(&FloatCond::ALL));
                    let (a, b) = (self.val(Ty::V128), self.val(Ty::V128));
                    self.push(Op::FloatCmp(cond, lane, a, b));
                }
            }
            13 => {
                let ty = self.rng.pick(&[Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128]);
                let (c, a, b) = (self.val(Ty::I8), self.val(ty), self.val(ty));
                self.push(Op::Select(ty, c, a, b));
            }
            14 | 15 => {
                let from = self.rng.below(3);
                let to = from + 1 + self.rng.below(3 - from);
                let a = self.val(INTS[from]);
                let signed = self.rng.one_in(2);
                self.push(if signed { Op::Sext(INTS[to], a) } else { Op::Zext(INTS[to], a) });
            }
            16 => {
                let to = self.rng.below(3);
                let from = to + 1 + self.rng.below(3 - to);
                let a = self.val(INTS[from]);
                self.push(Op::Trunc(INTS[to], a));
            }
            17 | 18 => {
                let (a, b) = (self.val(ty), self.val(ty));
                let (x, y) = (self.val(ty), self.val(ty));
                let cond = self.rng.pick(&CONDS);
                let c = self.push(Op::Cmp(cond, ty, x, y));
                let carry = self.rng.one_in(2);
                self.push(if carry { Op::Carry(ty, a, b, c) } else { Op::Overflow(ty, a, b, c) });
            }
            19 | 20 => {
                let ty = self.rng.pick(&[Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128]);
                let (va, mem) = (self.address(), self.mem());
                self.push(Op::Load(ty, va, mem));
            }
            21 | 22 => {
                let ty = self.rng.pick(&[Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128]);
                let (value, va, mem) = (self.val(ty), self.address(), self.mem());
                self.push(Op::Store(ty, va, value, mem));
            }
            23 => {
                let op = self.rng.pick(&ATOMICS);
                let (value, va, mem) = (self.val(ty), self.address(), self.mem());
                let mem = Mem { align_log2: 0, ..mem };
                if self.rng.one_in(2) {
                    self.push(Op::Atomic(op, ty, va, value, mem));
                } else {
                    let ty = self.rng.pick(&[Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128]);
                    let (old, new) = (self.val(ty), self.val(ty));
                    self.push(Op::CmpXchg(ty, va, old, new, mem));
                }
            }
            24 if self.rng.one_in(3) => {
                let cond = self.rng.pick(&[Cond::Eq, Cond::LtU]);
                let (x, y) = (self.val(ty), self.val(ty));
                let c = self.push(Op::Cmp(cond, ty, x, y));
                // The helper raises if the low bits say so.
                let imm = self.rng.next() | 3;
                self.push(Op::RaiseIf(HelperId(1), c, imm));
            }
            24 => {
                let id = self.rng.below(6);
                let arity = [2, 1, 1, 0, 1, 4][id];
                let mut args = [Val(0); 4];
                for arg in args.iter_mut().take(arity) {
                    *arg = self.val(Ty::I64);
                }
                self.push(Op::Call(HelperId(id as u16), args, arity as u8));
            }
            25 => {
                let (a, b, c) = (self.val(Ty::V128), self.val(Ty::V128), self.val(Ty::V128));
                let imm = self.rng.next() as u32;
                self.push(Op::CallV(HelperId(6), [a, b, c], imm));
            }
            26 | 27 => {
                let op = self.rng.pick(&V_BINARIES);
                let (a, b) = (self.val(Ty::V128), self.val(Ty::V128));
                self.push(Op::VBin(op, lane, a, b));
            }
            28 => {
                let a = self.val(Ty::V128);
                let (un, shift) = (self.rng.pick(&V_UNARIES), self.rng.pick(&V_SHIFTS));
                if self.rng.one_in(2) {
                    let lane = if un == VUnary::Narrow && lane == Lane::B { Lane::H } else { lane };
                    self.push(Op::VUn(un, lane, a));
                } else {
                    let by = self.rng.below(lane.ty().bits() as usize + 1) as u8;
                    self.push(Op::VShift(shift, lane, a, by));
                }
            }
            _ => {
                let (a, b) = (self.val(Ty::V128), self.val(Ty::V128));
                let (n, x) = (self.rng.below(lane.count().into()) as u8, self.val(lane.ty()));
                match self.rng.below(4) {
                    0 => self.push(Op::Splat(lane, x)),
                    1 => self.push(Op::Extract(lane, a, n)),
                    2 => self.push(Op::Insert(lane, a, n, x)),
                    _ => {
                        let mask = std::array::from_fn(|_| self.rng.below(36) as u8);
                        self.ir.masks.push(mask);
                        let at = self.ir.masks.len() as u16 - 1;
                        self.push(Op::Shuffle(a, b, at))
                    }
                };
            }
        }
    }
}

/// A random instruction.
pub fn snippet(rng: &mut Rng) -> Block {
    let mut g = Gen { ir: Block::default(), values: Vec::new(), rng };
    for _ in 0..1 + g.rng.below(14) {
        g.one();
    }
    g.set_one();
    g.ir
}

pub fn random_regs(rng: &mut Rng) -> Regs {
    let mut regs = Regs { pc: CODE, ..Regs::default() };
    regs.x.iter_mut().for_each(|x| *x = rng.edge());
    regs.v.iter_mut().for_each(|v| *v = u128::from(rng.edge()) | u128::from(rng.edge()) << 64);
    regs
}

/// The instructions of a table, and what ends them: a loop over all of them as long as `x7` says, or nothing.
pub fn program(table: &[Block], looped: bool) -> Vec<u32> {
    let mut words: Vec<u32> = (0..table.len()).map(entry).collect();
    words.push(if looped { toy::loop_on(7, -(table.len() as i16)) } else { toy::NOP });
    words
}

/// The state at the halt behind the instructions by the reference.
pub fn expected(table: &[Block], looped: bool, before: &State) -> State {
    let mut ir = Block::default();
    toy::translate(table, &program(table, looped), 32, &mut ir);
    ir::verify(&ir).unwrap_or_else(|e| panic!("{e}\n{}", ir.display(toy::names())));
    let mut state = before.clone();
    loop {
        state.run(&ir);
        if state.taken.is_some() {
            return state;
        }
        if state.regs.pc != CODE {
            state.regs.pc += 4;
            return state;
        }
    }
}

/// Gives a machine the instructions.
pub fn load(machine: &mut Machine, table: &[Block], looped: bool) {
    let mut words = program(table, looped);
    words.push(HALT);
    *machine.tcg.shared().frontend.table.write().unwrap() = table.to_vec();
    machine.code(CODE, &words);
    machine.cpu().pages.insert((DATA + WINDOW as u64, None), Page { rwx: 0, ..Page::plain(0) });
}

/// The same on a machine that has the code.
pub fn actual(machine: &mut Machine, before: &State) -> State {
    machine.ram.write(DATA, &before.memory).unwrap();
    machine.start(CODE);
    let cpu = machine.cpu();
    cpu.regs = before.regs;
    cpu.regs.pc = CODE;
    machine.vcpu.run(Some(1000)).unwrap();
    let memory = machine.read(DATA, WINDOW);
    let cpu = machine.cpu();
    State { regs: cpu.regs, memory, taken: cpu.taken.first().copied() }
}

/// What differs between a machine of this tier and the reference, if anything does.
fn difference(machine: &mut Machine, table: &[Block], looped: bool, before: &State) -> Option<String> {
    let want = expected(table, looped, before);
    load(machine, table, looped);
    let compiled = machine.compiled();
    // Under stress some blocks get host code late.
    for run in 0..if machine.tier.is_stress() { 30 } else { 4 } {
        let have = actual(machine, before);
        if run == 0 {
            machine.await_compiler(compiled);
        }
        if have != want {
            let mut text = format!(
                "run {run}:\nwant {:x?} {:x?}\nhave {:x?} {:x?}\n",
                want.regs, want.taken, have.regs, have.taken
            );
            for (at, (w, h)) in want.memory.iter().zip(&have.memory).enumerate().filter(|(_, (w, h))| w != h).take(20) {
                text += &format!("memory {at:#x}: want {w:02x}, have {h:02x}\n");
            }
            return Some(text);
        }
    }
    None
}

/// Takes operations away as long as the difference stays.
fn shrink(machine: &mut Machine, mut table: Vec<Block>, looped: bool, before: &State) -> Vec<Block> {
    let mut smaller = true;
    while smaller {
        smaller = false;
        for n in (0..table.len()).rev() {
            if table.len() > 1 {
                let mut fewer = table.clone();
                fewer.remove(n);
                if difference(machine, &fewer, looped, before).is_some() {
                    table = fewer;
                    smaller = true;
                    continue;
                }
            }
            let mut at = table[n].ops.len();
            while at > 0 {
                at -= 1;
                let mut used = false;
                for op in &table[n].ops[at + 1..] {
                    op.operands(|v| used |= v.0 as usize == at);
                }
                if used {
                    continue;
                }
                let mut fewer = table.clone();
                fewer[n].ops.remove(at);
                for op in &mut fewer[n].ops[at..] {
                    *op = op.map_operands(|v| if v.0 as usize > at { Val(v.0 - 1) } else { v });
                }
                if difference(machine, &fewer, looped, before).is_some() {
                    table = fewer;
                    smaller = true;
                }
            }
        }
    }
    table
}

/// Whether a machine does with these instructions what the reference does; panics with the smallest such block.
fn compare(machine: &mut Machine, tier: Tier, table: Vec<Block>, looped: bool, before: &State, seed: u64) {
    if difference(machine, &table, looped, before).is_none() {
        return;
    }
    let table = shrink(machine, table, looped, before);
    let what = difference(machine, &table, looped, before).unwrap_or("(does not happen again)".into());
    let text: String = table.iter().map(|b| format!("insn\n{}", b.display(toy::names()))).collect();
    panic!("{tier:?}, seed {seed}, loop {looped}:\n{text}before {:x?}\n{what}", before.regs);
}

pub fn random_state(rng: &mut Rng) -> State {
    let memory = (0..WINDOW).map(|_| rng.next() as u8).collect();
    State { regs: random_regs(rng), memory, taken: None }
}

/// A number from the host's environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn random_blocks(tier: Tier, blocks: u64) {
    let blocks = number("TCG_BLOCKS", blocks);
    let first = number("TCG_SEED", 1);
    let mut machine = Machine::new(tier);
    for seed in first..first + blocks {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let table: Vec<Block> = (0..1 + rng.below(5)).map(|_| snippet(&mut rng)).collect();
        let mut before = random_state(&mut rng);
        let looped = rng.one_in(3);
        before.regs.x[7] = 1 + rng.below(4) as u64;
        compare(&mut machine, tier, table, looped, &before, seed);
    }
    let compiled = machine.compiled();
    let least = if tier.is_stress() { blocks / 4 } else { blocks / 2 };
    assert!(tier == Tier::Interpreter || compiled > least, "{tier:?}: {compiled} of {blocks} were compiled");
}

#[test]
fn random_blocks_interpreted() {
    random_blocks(Tier::Interpreter, 20_000);
}

#[test]
fn random_blocks_by_templates() {
    random_blocks(Tier::Template(0), 20_000);
    random_blocks(Tier::Mixed(2), 1_000);
}

#[test]
fn random_blocks_compiled() {
    random_blocks(Tier::Compiled(1), 3_000);
}

#[test]
fn random_blocks_compiled_in_the_background() {
    random_blocks(Tier::Background(1), 1_000);
}

#[test]
fn random_blocks_under_stress() {
    for seed in 1..=4 {
        random_blocks(Tier::Stress(seed), 200);
    }
    random_blocks(Tier::StressBackground(5), 500);
    random_blocks(Tier::SmallStress(6), 500);
}

#[test]
fn random_blocks_with_little_code_memory() {
    random_blocks(Tier::Small, 300);
    random_blocks(Tier::SmallBackground, 300);
}
