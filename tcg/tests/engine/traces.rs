//! Traces through calls: into other pages, back from them, back to somewhere else, and code and pages that change under them.

use crate::regions::{Pair, TIERS, on_bit};
use crate::toy::*;
use tcg::Frontend;
use tcg::ir::{Block, Mem, Terminal, Ty};
use vm::irq::IrqSink;
use vm::vcpu::Stop;

/// Where the called functions are, in a page of their own.
const FUNCTION: u64 = 0x3000;

/// Calls what lies at this distance: `x6` becomes the address behind the call, which must be a block's first instruction.
fn call(distance: i64) -> Block {
    let mut ir = Block::default();
    let pc = ir.get(Toy::PC);
    let back = ir.add_imm(Ty::I64, pc, 4);
    ir.set(X[6], back);
    ir.end(Terminal::Jump(distance));
    ir
}

/// Stores the return address where `x5` says, or loads it, and moves `x5` out of the way or back.
fn frame(save: bool) -> Block {
    let mut ir = Block::default();
    let sp = ir.get(X[5]);
    if save {
        let link = ir.get(X[6]);
        ir.store(Ty::I64, sp, link, Mem::plain(0));
    } else {
        let below = ir.add_imm(Ty::I64, sp, 0u64.wrapping_sub(8));
        let link = ir.load(Ty::I64, below, Mem::plain(0));
        ir.set(X[6], link);
    }
    let by = if save { 8 } else { 0u64.wrapping_sub(8) };
    let sp = ir.add_imm(Ty::I64, sp, by);
    ir.set(X[5], sp);
    ir
}

/// Gives both machines snippets built here.
fn table(pair: &mut Pair, snippets: &[Block]) {
    pair.both(|m| *m.tcg.shared().frontend.table.write().unwrap() = snippets.to_vec());
}

/// On each tier: a loop in the page of [`CODE`] that calls [`FUNCTION`] by entry 0 of the table, which is added to `others`.
fn with_function(function: &[u32], others: &[Block], x: [u64; 8], last: u64) {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        let mut snippets = vec![call((FUNCTION - CODE - 8) as i64)];
        snippets.extend_from_slice(others);
        table(&mut pair, &snippets);
        pair.both(|m| {
            m.code(CODE, &[add(0, 1), jump(1), entry(0), add(1, 1), add(1, 2), loop_on(7, -5), HALT]);
            m.code(FUNCTION, function);
            m.cpu().vector = 0x2000;
            m.code(0x2000, &[add(4, 1), add(3, 2), jump_to(6)]);
        });
        pair.warm_up(x);
        pair.stop_everywhere(x, last);
        pair.is_of_regions();
    }
}

#[test]
fn a_function_in_another_page_returns_anywhere() {
    with_function(&[add(2, 1), jump_to(6)], &[], [0, 0, 0, 0, 0, 0, 0, 60], 200);
    with_function(&[add(2, 1), loop_on(3, 1), add(2, 2), jump_to(6)], &[], [0, 0, 0, 9, 0, 0, 0, 60], 200);
}

#[test]
fn a_return_address_may_have_been_in_memory() {
    // The function calls another one, still another page away.
    let function = [entry(1), jump(1), entry(3), add(2, 1), entry(2), jump_to(6)];
    let inner = (0x1000 - 8) as i64;
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        table(&mut pair, &[call((FUNCTION - CODE) as i64), frame(true), frame(false), call(inner)]);
        pair.both(|m| {
            m.code(CODE, &[entry(0), add(1, 1), loop_on(7, -2), HALT]);
            m.code(FUNCTION, &function);
            m.code(FUNCTION + 0x1000, &[add(3, 1), jump_to(6)]);
        });
        let x = [0, 0, 0, 0, 0, DATA, 0, 60];
        pair.warm_up(x);
        pair.stop_everywhere(x, 200);
        pair.is_of_regions();
    }
}

#[test]
fn a_return_may_lead_elsewhere() {
    // One time in four the function skips an instruction of its caller.
    let mut skip = Block::default();
    let count = skip.get(X[0]);
    let three = skip.and_imm(Ty::I64, count, 3);
    let aside = skip.cmp_imm(tcg::ir::Cond::Eq, Ty::I64, three, 0);
    let link = skip.get(X[6]);
    let further = skip.add_imm(Ty::I64, link, 4);
    let to = skip.select(Ty::I64, aside, further, link);
    skip.set(X[6], to);
    with_function(&[add(2, 1), entry(1), jump_to(6)], &[skip], [0, 0, 0, 0, 0, 0, 0, 60], 200);
}

#[test]
fn a_fault_in_a_called_function_is_exact() {
    let mut may_fault = Block::default();
    let x = may_fault.get(X[3]);
    let next = may_fault.call(FAULT_IF, &[x]);
    may_fault.set(X[3], next);
    with_function(&[add(2, 1), entry(1), add(2, 1), jump_to(6)], &[may_fault], [0, 0, 0, 0, 0, 0, 0, 60], 200);
}

#[test]
fn both_ways_out_of_a_page_are_taken() {
    let text = on_bit(1, (FUNCTION - CODE - 4) as i64, 4);
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.both(|m| {
            m.table(&[&text]);
            m.code(CODE, &[add(0, 3), entry(0), add(1, 1), loop_on(7, -3), HALT]);
            m.code(FUNCTION, &[add(2, 1), jump(-((FUNCTION - CODE) as i16 / 4) + 1)]);
        });
        pair.warm_up([0, 0, 0, 0, 0, 0, 0, 60]);
        pair.stop_everywhere([0, 0, 0, 0, 0, 0, 0, 60], 160);
        pair.is_of_regions();
    }
}

#[test]
fn a_store_to_a_called_function_acts_at_the_next_block() {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        table(&mut pair, &[call((FUNCTION - CODE - 8) as i64)]);
        for round in 0..8u8 {
            pair.both(|m| {
                m.code(CODE, &[store(1, 2), jump(1), entry(0), add(3, 1), loop_on(7, -4), HALT]);
                m.code(FUNCTION, &[add(0, 1), jump_to(6)]);
            });
            let x = [0, add(0, 100 + round).into(), DATA, 0, 0, 0, 0, 50];
            pair.warm_up(x);
            pair.is_of_regions();
            // The same once more, with the store into the function.
            pair.both(|m| {
                m.start(CODE);
                m.cpu().regs.x = x;
                m.cpu().regs.x[2] = FUNCTION;
            });
            assert_eq!(pair.step(100_000, "with the store"), Stop::Idle);
            assert_eq!(pair.tested.cpu().regs.x[0], 50 * (100 + u64::from(round)), "{tier:?} round {round}");
        }
    }
}

#[test]
fn calls_follow_the_page_tables() {
    // The same code at two addresses; what lies behind it differs, and changes.
    let (at, other) = (0x40_0000, 0x50_0000);
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        table(&mut pair, &[call(0x1000)]);
        pair.both(|m| {
            m.code(0x8000, &[entry(0), add(1, 1), loop_on(7, -2), HALT]);
            for (n, page) in [0x9000, 0xa000, 0xb000].into_iter().enumerate() {
                m.code(page, &[add(2 + n as u32, 1), jump_to(6)]);
            }
            m.code(CODE, &[system(FLUSH_PAGE), jump_to(5)]);
            for (va, gpa) in [(at, 0x8000), (at + 0x1000, 0x9000), (other, 0x8000), (other + 0x1000, 0xa000)] {
                m.cpu().pages.insert((va, None), Page::plain(gpa));
            }
        });
        let start = |pair: &mut Pair, va: u64| {
            pair.both(|m| {
                m.cpu().regs = Regs { x: [at + 0x1000, 0, 0, 0, 0, va, 0, 60], pc: CODE, ..Regs::default() };
                m.vcpu.env.cpu.taken.clear();
            });
            // Out of the last run's halt, without a reset, so that only the flush can do it.
            pair.both(|m| m.pins.set_pin(0, true));
            for _ in 0..4 {
                if pair.step(2_000, "anywhere") == Stop::Idle {
                    break;
                }
            }
            pair.both(|m| m.pins.set_pin(0, false));
            pair.tested.cpu().regs.x[2..5].to_vec()
        };
        for round in 0..6 {
            let page = [0x9000, 0xb000][round % 2];
            pair.both(|m| {
                m.cpu().pages.insert((at + 0x1000, None), Page::plain(page));
            });
            let want = [[60, 0, 0], [0, 0, 60]][round % 2];
            for _ in 0..3 {
                assert_eq!(start(&mut pair, at), want, "{tier:?} round {round}");
                assert_eq!(start(&mut pair, other), [0, 60, 0], "{tier:?} round {round}");
            }
        }
        pair.is_of_regions();
    }
}

#[test]
fn accesses_that_share_a_look_fault_each_by_itself() {
    // A structure moves over the end of a page; its words are loaded and stored at fixed distances.
    let at = |by: u64| format!("v0 = get.i64 x5\nv1 = const.i64 {by}\nv2 = add.i64 v0, v1\n");
    let snippets = [
        at(8) + "v3 = load.i64 v2, mmu0\nset x1, v3",
        at(24) + "v3 = load.i32 v2, mmu0\nv4 = zext.i64 v3\nset x2, v4",
        at(16) + "v3 = get.i64 x7\nstore.i64 v2, v3, mmu0",
        at(0x24) + "set x5, v2",
        // The handler goes back to the structure's first place.
        "v0 = get.i64 x4\nset x5, v0".into(),
        "v0 = get.i64 x5\nv1 = call flush_page, v0, v0".into(),
    ];
    let snippets: Vec<&str> = snippets.iter().map(String::as_str).collect();
    let page = |gpa: u64, rwx: u8| Page { rwx, ..Page::plain(gpa) };
    let second = DATA + 0x1000;
    // The next page is missing, another one, and read-only; between two accesses nothing happens or the page is forgotten.
    for next in [page(second, 0), page(0x1_8000, 7), page(second, 5)] {
        for between in [add(3, 1), entry(5)] {
            for tier in TIERS {
                let mut pair = Pair::new(tier);
                pair.both(|m| {
                    m.table(&snippets);
                    let program =
                        [entry(0), jump(1), between, entry(1), jump(1), entry(2), entry(3), loop_on(7, -7), HALT];
                    m.code(CODE, &program);
                    m.cpu().pages.insert((second, None), next);
                    m.cpu().vector = 0x2000;
                    m.code(0x2000, &[entry(4), add(0, 1), jump_to(6)]);
                });
                let first = DATA + 0xf40;
                let x = [0, 0, 0, 0, first, first, CODE, 60];
                pair.warm_up(x);
                pair.stop_everywhere(x, 60);
                pair.is_of_regions();
            }
        }
    }
}
