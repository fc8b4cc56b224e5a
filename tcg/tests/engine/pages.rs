//! Regions over several pages: they find out when a page comes to be mapped elsewhere, and what is true of regions in one
//! page is true of them.

use crate::regions::Pair;
use crate::toy::*;
use vm::Gva;
use vm::vcpu::Stop;
use vm_memory::{Bytes, GuestAddress};

/// Tiers that make regions of blocks of which no two are linked.
const TIERS: [Tier; 7] = [
    Tier::Compiled(3),
    Tier::Compiled(40),
    Tier::Background(3),
    Tier::Mixed(3),
    Tier::Mixed(40),
    Tier::Stress(6),
    Tier::StressBackground(7),
];

/// Programs go over the end of the page before this one,
pub const SECOND: u64 = 0x6000;
/// which is mapped to one of these.
pub const OTHER: [u64; 2] = [0x9000, 0xa000];
/// A page further, one to one.
const THIRD: u64 = 0x7000;

/// Maps the second page to this physical one.
pub fn map_second(m: &mut Machine, gpa: u64) {
    m.cpu().pages.insert((SECOND, None), Page::plain(gpa));
    m.vcpu.env.flush_tlb_page(Gva(SECOND), u64::MAX);
}

/// Writes a program that may go on in the second page, which is mapped to `gpa`.
pub fn place(m: &Machine, start: u64, words: &[u32], gpa: u64) {
    let first = words.len().min((SECOND.wrapping_sub(start) / 4) as usize);
    m.code(start, &words[..first]);
    m.code(gpa, &words[first..]);
}

fn with_program(start: u64, words: &[u32], table: &[&str], x: [u64; 8], last: u64) {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = start;
        pair.both(|m| {
            m.table(table);
            place(m, start, words, OTHER[0]);
            map_second(m, OTHER[0]);
        });
        pair.warm_up(x);
        pair.stop_everywhere(x, last);
        pair.is_of_regions();
    }
}

const COUNT: [u64; 8] = [0, 0, 0, 0, 0, 0, 0, 60];
/// A loop of one block in each page.
const LOOP: [u32; 6] = [add(0, 1), add(1, 1), add(2, 1), add(3, 1), loop_on(7, -4), HALT];
const LOOP_START: u64 = SECOND - 12;

#[test]
fn a_loop_over_the_end_of_a_page_is_one_region() {
    with_program(LOOP_START, &LOOP, &[], COUNT, 150);
}

#[test]
fn a_branch_goes_over_the_end_of_a_page_either_way() {
    // The branch at the end of the first page leads on, or to where the loop ends.
    let on_bit = "v0 = get.i64 x0\nv1 = const.i64 1\nv2 = and.i64 v0, v1\nv3 = trunc.i8 v2\nbranch v3, 4, 12";
    let words = [add(0, 3), add(1, 7), entry(0), add(2, 1), add(0, 0), add(3, 1), loop_on(7, -6), HALT];
    with_program(SECOND - 12, &words, &[on_bit], COUNT, 150);
}

#[test]
fn calls_and_returns_go_from_page_to_page() {
    let call = format!("v0 = const.i64 {}\nset x6, v0\nv2 = const.i64 {SECOND}\nindirect v2", THIRD + 16);
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = SECOND - 0x100;
        pair.both(|m| {
            m.table(&[&*call]);
            m.code(SECOND - 0x100, &[add(0, 1), entry(0)]);
            m.code(OTHER[0], &[add(1, 2), add(2, 1), jump_to(6)]);
            m.code(THIRD + 16, &[add(3, 1), loop_on(7, -((0x1114 / 4) as i16)), HALT]);
            map_second(m, OTHER[0]);
        });
        pair.warm_up(COUNT);
        pair.stop_everywhere(COUNT, 150);
        pair.is_of_regions();
    }
}

#[test]
fn loops_at_the_same_place_of_two_pages_are_told_apart() {
    // Each is a header; only one of them can be an entry.
    let back = -((0x1000 / 4) as i16) - 3;
    let x = [0, 0, 0, 0, 0, 3, 4, 5];
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = SECOND - 0x1000 + 0x20;
        pair.both(|m| {
            m.code(SECOND - 0x1000 + 0x20, &[add(0, 1), loop_on(5, -1), add(5, 3), jump(0x1000 / 4 - 3)]);
            m.code(OTHER[0] + 0x20, &[add(1, 1), loop_on(6, -1), add(6, 4), loop_on(7, back), HALT]);
            map_second(m, OTHER[0]);
        });
        pair.warm_up(x);
        pair.stop_everywhere(x, 200);
        pair.is_of_regions();
    }
}

#[test]
fn a_second_page_mapped_elsewhere_is_noticed() {
    let other = [add(0, 1), add(1, 1), add(2, 1), add(3, 50), loop_on(7, -4), HALT];
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = LOOP_START;
        pair.both(|m| {
            place(m, LOOP_START, &other, OTHER[1]);
            place(m, LOOP_START, &LOOP, OTHER[0]);
            map_second(m, OTHER[0]);
        });
        for round in 0..8 {
            pair.warm_up(COUNT);
            // In the middle of it, there and back; then it stays so.
            pair.both(|m| {
                m.start(LOOP_START);
                m.cpu().regs.x = [0, 0, 0, 0, 0, 0, 0, 1000];
            });
            for at in 0..41 {
                pair.step(17 + at, "before it is mapped anew");
                pair.both(|m| map_second(m, OTHER[(at + round) as usize % 2]));
            }
            assert_eq!(pair.step(1_000_000, "to the end"), Stop::Idle);
        }
        pair.is_of_regions();
    }
}

#[test]
fn address_spaces_share_the_first_page_only() {
    // x0 turns from 1 to 2 and back, by what the second page has in each space.
    let less = "v0 = get.i64 x0\nv1 = const.i64 1\nv2 = sub.i64 v0, v1\nset x0, v2";
    let start = SECOND - 16;
    let words = |entry: u32| [add(2, 1), system(SWITCH), add(1, 1), add(3, 1), entry, add(4, 2), loop_on(7, -6), HALT];
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = start;
        pair.both(|m| {
            m.table(&[less]);
            place(m, start, &words(entry(0)), OTHER[1]);
            place(m, start, &words(add(0, 1)), OTHER[0]);
            for (space, gpa) in [(1, OTHER[0]), (2, OTHER[1])] {
                m.cpu().pages.insert((SECOND, Some(space)), Page { space: Some(space), ..Page::plain(gpa) });
            }
        });
        // Long in one of them, then by turns.
        let stay = [add(2, 1), NOP, add(1, 1), add(3, 1)];
        let by_turns = words(NOP);
        for round in 0..6 {
            pair.both(|m| m.code(start, if round % 3 == 2 { &by_turns[..4] } else { &stay }));
            pair.both(|m| m.cpu().space = 1 + round % 2);
            let x = [1 + u64::from(round % 2), 0, 0, 0, 0, 0, 0, 60];
            pair.warm_up(x);
            if round % 3 == 2 {
                pair.stop_everywhere(x, 40);
            }
        }
        pair.is_of_regions();
    }
}

#[test]
fn code_at_two_addresses_goes_on_where_each_leads() {
    let alias = 0x2_0000;
    let other = [add(0, 1), add(1, 1), add(2, 1), add(3, 50), loop_on(7, -4), HALT];
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.both(|m| {
            place(m, LOOP_START, &other, OTHER[1]);
            place(m, LOOP_START, &LOOP, OTHER[0]);
            map_second(m, OTHER[0]);
            m.cpu().pages.insert((alias + SECOND - 0x1000, None), Page::plain(SECOND - 0x1000));
            m.cpu().pages.insert((alias + SECOND, None), Page::plain(OTHER[1]));
        });
        for round in 0..6 {
            pair.start = LOOP_START + alias * (round % 2);
            pair.warm_up(COUNT);
            pair.stop_everywhere(COUNT, 20);
        }
        pair.is_of_regions();
    }
}

#[test]
fn a_change_of_either_page_is_noticed() {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = LOOP_START;
        pair.both(|m| {
            place(m, LOOP_START, &LOOP, OTHER[0]);
            map_second(m, OTHER[0]);
        });
        for round in 0..20u8 {
            pair.warm_up(COUNT);
            let (at, word) = [(OTHER[0], add(3, round)), (LOOP_START, add(0, round))][usize::from(round % 2)];
            pair.both(|m| m.bus.dma().write_slice(&word.to_le_bytes(), GuestAddress(at)).unwrap());
        }
        pair.is_of_regions();
    }
}

#[test]
fn a_store_to_the_second_page_acts_there() {
    // x2 is where the store goes: to data, and into the second page when x7 has come down to 5.
    let aim = "v0 = get.i64 x7\nv1 = const.i64 5\nv2 = cmp_eq.i64 v0, v1\nv3 = get.i64 x4\nv4 = get.i64 x3\n\
               v5 = select.i64 v2, v3, v4\nset x2, v5";
    let words = [entry(0), store(1, 2), add(0, 1), loop_on(7, -3), HALT];
    let x = [0, add(0, 100).into(), DATA, DATA, DATA, 0, 0, 50];
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = SECOND - 8;
        for round in 0..8 {
            pair.both(|m| {
                m.table(&[aim]);
                place(m, SECOND - 8, &words, OTHER[0]);
                map_second(m, OTHER[0]);
            });
            pair.warm_up(x);
            pair.both(|m| {
                m.start(SECOND - 8);
                m.cpu().regs.x = x;
                m.cpu().regs.x[4] = OTHER[0];
            });
            assert_eq!(pair.step(100_000, "with the store"), Stop::Idle);
            assert_eq!(pair.tested.cpu().regs.x[0], 45 + 5 * 100, "{tier:?} round {round}");
        }
        pair.is_of_regions();
    }
}

#[test]
fn a_fault_in_the_second_page_is_exact() {
    // x6 turns 3 modulo 4 now and then: the helper raises, in the second page's second instruction.
    let helper =
        "v0 = const.i64 1\nv1 = get.i64 x6\nv2 = add.i64 v1, v0\nset x5, v2\nv4 = call fault_if, v1\nset x6, v4";
    let start = SECOND - 8;
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = start;
        pair.both(|m| {
            m.table(&[helper]);
            place(m, start, &[add(0, 1), add(1, 2), add(2, 1), entry(0), add(3, 1), jump(-5)], OTHER[0]);
            map_second(m, OTHER[0]);
            // The handler: past the value that raises, and back to the start.
            m.code(0x2000, &[add(4, 1), add(6, 2), jump_to(7)]);
            m.cpu().vector = 0x2000;
        });
        let x = [0, 0, 0, 0, 0, 0, 0, start];
        pair.warm_up(x);
        pair.stop_everywhere(x, 120);
        pair.is_of_regions();
        let taken = &pair.tested.cpu().taken;
        assert!(taken.len() > 2 && taken.iter().all(|t| t.1 == SECOND + 4), "{tier:?}: {taken:x?}");
    }
}

#[test]
fn a_second_page_that_goes_is_a_fault_there() {
    for tier in TIERS {
        let mut pair = Pair::new(tier);
        pair.start = LOOP_START;
        pair.both(|m| {
            place(m, LOOP_START, &LOOP, OTHER[0]);
            map_second(m, OTHER[0]);
        });
        for round in 0..4 {
            pair.warm_up(COUNT);
            pair.both(|m| {
                m.start(LOOP_START);
                m.cpu().regs.x = [0, 0, 0, 0, 0, 0, 0, 1000];
            });
            pair.step(100 + round, "before it goes");
            pair.both(|m| {
                m.cpu().pages.insert((SECOND, None), Page { rwx: 6, ..Page::plain(OTHER[0]) });
                m.vcpu.env.flush_tlb_page(Gva(SECOND), u64::MAX);
            });
            assert_eq!(pair.step(1000, "without it"), Stop::Idle);
            assert_eq!(pair.tested.cpu().taken.last().map(|t| (t.1, t.2)), Some((SECOND, SECOND)), "{tier:?}");
            pair.both(|m| map_second(m, OTHER[0]));
        }
        pair.is_of_regions();
    }
}
