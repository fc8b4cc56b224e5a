//! Several blocks compiled as one: exact stops and faults inside them, loops, kicks, and code that changes under them.

use crate::pages::{OTHER, SECOND, map_second, place};
use crate::random::{number, random_state, snippet};
use crate::reference::WINDOW;
use crate::toy::*;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use tcg::exec::Compiler;
use tcg::ir::{Block, Cond, Op, Slot, Terminal, Ty};
use vm::vcpu::{Stop, Vcpu};
use vm_memory::{Bytes, GuestAddress};

/// Tiers that compile blocks when others around them have run, too.
pub const TIERS: [Tier; 9] = [
    Tier::Compiled(3),
    Tier::Compiled(40),
    Tier::Background(3),
    Tier::Background(40),
    Tier::Traced(3),
    Tier::Traced(40),
    Tier::TracedMixed(20, 300),
    Tier::Stress(4),
    Tier::StressBackground(5),
];

/// A machine beside one that interprets the same program.
pub struct Pair {
    tier: Tier,
    pub tested: Machine,
    oracle: Machine,
    /// Where programs start.
    pub start: u64,
}

impl Pair {
    pub fn new(tier: Tier) -> Pair {
        Pair { tier, tested: Machine::new(tier), oracle: Machine::new(Tier::Interpreter), start: CODE }
    }

    pub fn both(&mut self, mut change: impl FnMut(&mut Machine)) {
        change(&mut self.tested);
        change(&mut self.oracle);
    }

    /// Runs `n` instructions on both and compares all that can be seen.
    pub fn step(&mut self, n: u64, what: &str) -> Stop {
        let stops = [&mut self.tested, &mut self.oracle].map(|m| {
            let before = m.vcpu.instructions();
            let stop = m.vcpu.run(Some(n)).unwrap();
            (stop, m.vcpu.instructions() - before)
        });
        let (tier, memory) = (self.tier, self.tested.read(DATA, WINDOW));
        assert_eq!(stops[0], stops[1], "{tier:?}, {what}, {n} instructions");
        assert_eq!(self.tested.cpu().regs, self.oracle.cpu().regs, "{tier:?}, {what}, {n} instructions");
        assert_eq!(self.tested.cpu().taken, self.oracle.cpu().taken, "{tier:?}, {what}, {n} instructions");
        assert!(memory == self.oracle.read(DATA, WINDOW), "{tier:?}, {what}, {n} instructions: memory differs");
        stops[0].0
    }

    /// Lets the compiler see the program, which is started and run a few times.
    pub fn warm_up(&mut self, x: [u64; 8]) {
        let start = self.start;
        for _ in 0..50 {
            self.both(|m| {
                m.start(start);
                m.cpu().regs.x = x;
            });
            let before = self.tested.compiled();
            self.step(3000, "warming up");
            self.tested.await_compiler(before);
        }
    }

    /// Stops after every number of instructions up to `last`.
    pub fn stop_everywhere(&mut self, x: [u64; 8], last: u64) {
        let start = self.start;
        for n in 1..=last {
            self.both(|m| {
                m.start(start);
                m.cpu().regs.x = x;
            });
            self.step(n, "from the start");
            self.step(n / 3 + 1, "going on");
            self.step(40, "once more");
        }
    }

    pub fn is_of_regions(&self) {
        if let Tier::Traced(_) | Tier::TracedMixed(..) = self.tier {
            assert_ne!(self.tested.tcg.shared().traces.load(Ordering::Relaxed), 0, "{:?}: no traces", self.tier);
            return;
        }
        if matches!(self.tier, Tier::StressBackground(_)) {
            // What the thread brings to an end before all is thrown away again is chance.
            return;
        }
        let compiler = self.tested.compiler.as_ref().unwrap();
        let (functions, blocks) = (compiler.stats().0, compiler.blocks());
        assert!(blocks > functions, "{:?}: {blocks} blocks in {functions} functions", self.tier);
    }
}

fn with_program(words: &[u32], table: &[&str], x: [u64; 8], last: u64) {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.both(|m| {
            m.table(table);
            m.code(CODE, words);
        });
        pair.warm_up(x);
        pair.stop_everywhere(x, last);
        pair.is_of_regions();
    }
}

/// Back by the first distance if `x0` has the bit, else on by the second.
pub fn on_bit(bit: u64, to: i64, other: i64) -> String {
    format!("v0 = get.i64 x0\nv1 = const.i64 {bit}\nv2 = and.i64 v0, v1\nv3 = trunc.i8 v2\nbranch v3, {to}, {other}")
}

#[test]
fn a_loop_with_two_exits_stops_anywhere() {
    // Out by the branch when x0 is odd and x1 has counted down, or at the loop's end.
    let words = [add(0, 3), entry(0), add(1, 1), add(2, 2), loop_on(7, -4), HALT, add(3, 1), loop_on(6, -7), HALT];
    with_program(&words, &[&on_bit(1, 20, 4)], [0, 0, 0, 0, 0, 0, 30, 70], 160);
}

#[test]
fn nested_loops_stop_anywhere() {
    let words = [
        add(0, 1),
        add(1, 1),
        add(2, 1),
        loop_on(7, -2),
        add(7, 5),
        loop_on(6, -4),
        add(6, 3),
        NOP,
        loop_on(5, -8),
        HALT,
    ];
    with_program(&words, &[], [0, 0, 0, 0, 0, 9, 4, 5], 260);
}

/// Branches to one of `n` instructions, every other one from `start` on in words from `CODE`, by register `r`.
fn switch(r: usize, start: u64, n: u64) -> String {
    let first = CODE + 4 * start;
    format!(
        "v0 = get.i64 x{r}\nv1 = const.i64 {}\nv2 = and.i64 v0, v1\nv3 = const.i64 8\nv4 = mul.i64 v2, v3\n\
         v5 = const.i64 {first}\nv6 = add.i64 v4, v5\nindirect v6",
        n - 1
    )
}

#[test]
fn an_interpreter_stops_anywhere() {
    for n in [2, 4, 8] {
        // Each instruction of it adds something to x1 and goes back; the last of all ends it.
        let mut words = vec![add(0, 3), entry(0)];
        for at in 0..n as i16 {
            words.extend([add(1, 1 + at as u8), loop_on(7, -3 - 2 * at)]);
        }
        words.push(HALT);
        let table = [&*switch(0, 2, n)];
        with_program(&words, &table, [0, 0, 0, 0, 0, 0, 0, 60], 250);
    }
}

#[test]
fn calls_of_a_function_return_anywhere() {
    // x6 says where to: the function at 8 goes back to after the first call or after the second.
    let call = |back: u64| {
        format!("v0 = const.i64 {}\nset x6, v0\nv2 = const.i64 {}\nindirect v2", CODE + 4 * back, CODE + 32)
    };
    let words = [add(0, 1), entry(0), add(1, 1), entry(1), add(2, 1), loop_on(7, -5), HALT, NOP, add(3, 1), jump_to(6)];
    with_program(&words, &[&*call(2), &*call(4)], [0, 0, 0, 0, 0, 0, 0, 60], 250);
}

#[test]
fn both_sides_of_a_branch_join() {
    let words =
        [add(0, 1), entry(0), add(1, 1), add(1, 7), jump(3), add(2, 1), add(0, 0), add(3, 1), loop_on(7, -8), HALT];
    with_program(&words, &[&on_bit(1, 4, 16)], [0, 0, 0, 0, 0, 0, 0, 60], 150);
}

#[test]
fn a_fault_in_a_second_block_is_exact() {
    // x6 turns 3 modulo 4 now and then: the helper raises, in the second block's second instruction.
    let helper =
        "v0 = const.i64 1\nv1 = get.i64 x6\nv2 = add.i64 v1, v0\nset x5, v2\nv4 = call fault_if, v1\nset x6, v4";
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.both(|m| {
            m.table(&[helper]);
            m.code(CODE, &[add(0, 1), add(1, 2), jump(2), HALT, add(2, 1), entry(0), add(3, 1), jump(-7)]);
            // The handler: past the value that raises, and back to the start.
            m.code(0x2000, &[add(4, 1), add(6, 2), jump_to(7)]);
            m.cpu().vector = 0x2000;
        });
        let x = [0, 0, 0, 0, 0, 0, 0, CODE];
        pair.warm_up(x);
        pair.stop_everywhere(x, 120);
        pair.is_of_regions();
        let taken = &pair.tested.cpu().taken;
        assert!(taken.len() > 2 && taken.iter().all(|t| t.1 == CODE + 20), "{tier:?}: {taken:x?}");
    }
}

#[test]
fn a_kick_ends_an_endless_loop_of_two_blocks() {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.both(|m| m.code(CODE, &[add(0, 1), jump(2), HALT, add(1, 1), jump(-4)]));
        pair.warm_up([0; 8]);
        pair.is_of_regions();
        let m = &mut pair.tested;
        m.start(CODE);
        m.cpu().regs.x = [0; 8];
        let kicker = m.vcpu.kicker();
        for round in 0..50 {
            let kicker = kicker.clone();
            let kick = thread::spawn(move || {
                thread::sleep(Duration::from_micros(40 * round));
                kicker.kick();
            });
            assert_eq!(m.vcpu.run(None).unwrap(), Stop::Kicked, "{tier:?}");
            kick.join().unwrap();
            let regs = m.cpu().regs;
            let behind = u64::from([CODE + 4, CODE + 12].contains(&regs.pc));
            assert_eq!(regs.x[0], regs.x[1] + behind, "{tier:?} at {:#x}", regs.pc);
        }
    }
}

#[test]
fn a_block_changed_by_a_device_is_left_out() {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.both(|m| m.code(CODE, &[add(0, 1), jump(2), HALT, add(1, 1), jump(2), HALT, loop_on(7, -6), HALT]));
        for round in 0..30u8 {
            pair.warm_up([0, 0, 0, 0, 0, 0, 0, 60]);
            // The second block, the third, the first in turn.
            let (at, word) = [(12, add(1, round)), (24, loop_on(7, -6)), (0, add(0, round))][usize::from(round % 3)];
            pair.both(|m| m.bus.dma().write_slice(&word.to_le_bytes(), GuestAddress(CODE + at)).unwrap());
        }
        pair.is_of_regions();
        // What is changed no more is translated no more.
        pair.warm_up([0, 0, 0, 0, 0, 0, 0, 60]);
        let before = pair.tested.tcg.shared().translated.load(Ordering::Relaxed);
        pair.warm_up([0, 0, 0, 0, 0, 0, 0, 60]);
        let after = pair.tested.tcg.shared().translated.load(Ordering::Relaxed);
        assert!(after == before || tier.is_stress(), "{tier:?}: {} instructions", after - before);
    }
}

#[test]
fn a_store_to_the_region_itself_acts_at_the_next_block() {
    // x2 is where the store goes: to data, and into the second block when x7 has come down to 5.
    let aim = "v0 = get.i64 x7\nv1 = const.i64 5\nv2 = cmp_eq.i64 v0, v1\nv3 = get.i64 x4\nv4 = get.i64 x3\n\
               v5 = select.i64 v2, v3, v4\nset x2, v5";
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        for round in 0..8 {
            pair.both(|m| {
                m.table(&[aim]);
                m.code(CODE, &[entry(0), store(1, 2), jump(2), HALT, add(0, 1), jump(2), HALT, loop_on(7, -7), HALT]);
            });
            let x = [0, add(0, 100).into(), DATA, DATA, DATA, 0, 0, 50];
            pair.warm_up(x);
            pair.is_of_regions();
            pair.both(|m| {
                m.start(CODE);
                m.cpu().regs.x = x;
                m.cpu().regs.x[4] = CODE + 16;
            });
            assert_eq!(pair.step(100_000, "with the store"), Stop::Idle);
            assert_eq!(pair.tested.cpu().regs.x[0], 45 + 5 * 100, "{tier:?} round {round}");
        }
    }
}

/// A comparison as front ends state it: flags in x1 to x3, sometimes not all of them, and maybe the difference in x0.
fn flags(rng: &mut Rng) -> Block {
    let mut ir = Block::default();
    let ty = rng.pick(&[Ty::I8, Ty::I32, Ty::I64, Ty::I64]);
    let regs = [rng.below(5), rng.below(5)];
    let a = ir.get(Slot(X[regs[0]].0, ty));
    let b = if rng.one_in(2) { ir.imm(ty, 1) } else { ir.get(Slot(X[regs[1]].0, ty)) };
    let (zero, one) = (ir.imm(ty, 0), ir.imm(Ty::I8, 1));
    let logic = rng.one_in(3);
    let result = if logic { ir.and(ty, a, b) } else { ir.sub(ty, a, b) };
    let flags = if logic {
        [ir.cmp(Cond::LtS, ty, result, zero), ir.cmp(Cond::Eq, ty, result, zero), one]
    } else {
        let not_b = ir.not(ty, b);
        let last = if rng.one_in(2) { ir.cmp(Cond::LeU, ty, b, a) } else { ir.overflow(ty, a, not_b, one) };
        [ir.cmp(Cond::LtS, ty, result, zero), ir.cmp(Cond::Eq, ty, result, zero), last]
    };
    let skipped = if rng.one_in(5) { rng.below(3) } else { 3 };
    for (n, flag) in flags.into_iter().enumerate().filter(|(n, _)| *n != skipped) {
        ir.set(X[n + 1], flag);
    }
    if rng.one_in(2) {
        ir.set(X[0], result);
    }
    ir
}

/// Two accesses one behind the other, often over the end of a page or into the one that faults.
fn pair(rng: &mut Rng) -> Block {
    let mut ir = Block::default();
    let ty = rng.pick(&[Ty::I8, Ty::I32, Ty::I64, Ty::V128]);
    let bytes = u64::from(ty.bytes());
    let any = ir.get(X[rng.below(5)]);
    let mask = rng.pick(&[0x18, 0x1ff8, 0x1fff]);
    let low = ir.and_imm(Ty::I64, any, mask);
    let end = DATA + WINDOW as u64 / 2 * (1 + rng.below(2) as u64);
    let base = if mask == 0x18 { end - 2 * bytes - 0x10 } else { DATA };
    let va = ir.add_imm(Ty::I64, low, base);
    // Addresses beyond the window belong to nobody.
    let first = ir.imm64(DATA + WINDOW as u64 - bytes);
    let beyond = ir.cmp(Cond::LtU, Ty::I64, first, va);
    let va = ir.select(Ty::I64, beyond, first, va);
    let mem = tcg::Mem::plain(rng.below(2) as u8);
    if rng.one_in(2) {
        let a = ir.load(ty, va, mem);
        let next = ir.add_imm(Ty::I64, va, bytes);
        let b = ir.load(ty, next, mem);
        let slots = if ty == Ty::V128 { [V[0], V[1]] } else { [X[rng.below(5)], X[rng.below(5)]] };
        ir.set(slots[0], a);
        ir.set(slots[1], b);
    } else {
        let slots = if ty == Ty::V128 { [V[2], V[3]] } else { [X[rng.below(5)], X[rng.below(5)]] };
        let a = ir.get(Slot(slots[0].0, ty));
        ir.store(ty, va, a, mem);
        let next = ir.add_imm(Ty::I64, va, bytes);
        let b = ir.get(Slot(slots[1].0, ty));
        ir.store(ty, next, b, mem);
        ir.set(X[rng.below(5)], va);
    }
    ir
}

/// A program of `len` random instructions, branches and loops from `start` on.
fn random_program(rng: &mut Rng, start: u64, len: usize, table: &mut Vec<Block>) -> Vec<u32> {
    let target = |rng: &mut Rng, at: usize| rng.below(len) as i64 - at as i64;
    let mut words = Vec::new();
    for at in 0..len {
        let to = target(rng, at);
        words.push(match rng.below(12) {
            0..=2 => {
                table.push(snippet(rng));
                entry(table.len() - 1)
            }
            3 | 10 => {
                table.push(flags(rng));
                entry(table.len() - 1)
            }
            11 => {
                table.push(pair(rng));
                entry(table.len() - 1)
            }
            4 => add(rng.below(5) as u32, rng.next() as u8),
            5 => loop_on(rng.pick(&[5, 7]), to as i16),
            6 if rng.one_in(3) => jump(to as i16),
            7 if rng.one_in(2) => jump_to(6),
            7 => {
                let (n, mut ir) = (1 << rng.below(3), Block::default());
                let any = ir.get(X[rng.below(5)]);
                let index = ir.and_imm(Ty::I64, any, n - 1);
                let offset = ir.shift_imm(tcg::ir::Binary::Shl, Ty::I64, index, 2);
                let to = ir.add_imm(Ty::I64, offset, start + 4 * rng.below(len + 1 - n as usize) as u64);
                ir.end = Some(Terminal::Indirect(to));
                table.push(ir);
                entry(table.len() - 1)
            }
            _ => {
                let mut ir = match rng.below(3) {
                    0 => snippet(rng),
                    1 => flags(rng),
                    _ => Block::default(),
                };
                let first = ir.ops.len() as u32;
                let ty = rng.pick(&[Ty::I8, Ty::I32, Ty::I64]);
                let (a, b) = (X[rng.below(5)], X[rng.below(5)]);
                ir.ops.push(Op::Get(Slot(a.0, ty)));
                ir.ops.push(Op::Get(Slot(b.0, ty)));
                let cond = rng.pick(&[Cond::Eq, Cond::Ne, Cond::LtU, Cond::LeU, Cond::LtS, Cond::LeS]);
                let (a, b) = (tcg::Val(first), tcg::Val(first + 1));
                ir.ops.push(Op::Cmp(cond, ty, a, b));
                ir.end = Some(Terminal::Branch(tcg::Val(first + 2), 4 * to, 4 * target(rng, at)));
                table.push(ir);
                entry(table.len() - 1)
            }
        });
    }
    words.push(jump(-(rng.below(len) as i16) - 1));
    words
}

/// Random programs with the numbers `seeds`, on a machine of this tier and in the interpreter.
pub fn random_programs(tier: Tier, seeds: Range<u64>) -> Pair {
    let mut pair = Pair::new(tier);
    for seed in seeds {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut table = Vec::new();
        let len = 6 + rng.below(24);
        // In one page, or over the end of one into another, for which there are two.
        let start = if rng.one_in(2) { CODE } else { SECOND - 4 * rng.below(len) as u64 };
        let variants = [0; 2].map(|_| random_program(&mut rng, start, len, &mut table));
        pair.both(|m| {
            *m.tcg.shared().frontend.table.write().unwrap() = table.clone();
            place(m, start, &variants[0], OTHER[0]);
            place(m, start, &variants[1], OTHER[1]);
            place(m, start, &variants[0], OTHER[0]);
            map_second(m, OTHER[0]);
            m.code(0x2000, &[add(4, 3), loop_on(5, 2), jump(1), jump_to(6)]);
            m.cpu().vector = 0x2000;
            m.cpu().pages.insert((DATA + WINDOW as u64, None), Page { rwx: 0, ..Page::plain(0) });
        });
        for _ in 0..6 {
            let mut before = random_state(&mut rng);
            before.regs.pc = start;
            before.regs.x[5] = rng.below(60) as u64;
            before.regs.x[6] = start + 4 * rng.below(len) as u64;
            before.regs.x[7] = rng.below(60) as u64;
            pair.both(|m| {
                m.ram.write(DATA, &before.memory).unwrap();
                m.start(start);
                m.cpu().regs = before.regs;
            });
            for _ in 0..12 {
                let n = if rng.one_in(2) { rng.below(600) } else { rng.below(12) } as u64;
                if pair.step(n, &format!("seed {seed}")) == Stop::Idle {
                    break;
                }
                if start != CODE && rng.one_in(6) {
                    let gpa = rng.pick(&OTHER);
                    pair.both(|m| map_second(m, gpa));
                }
            }
        }
    }
    pair
}

#[test]
fn random_programs_do_what_the_interpreter_does() {
    let (programs, first) = (number("TCG_PROGRAMS", 150), number("TCG_SEED", 1));
    for tier in TIERS {
        random_programs(tier, first..first + programs).is_of_regions();
    }
}
