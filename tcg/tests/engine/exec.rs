//! The loop around the blocks: budgets, kicks, interrupts, links, and code that changes.

use crate::toy::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vm::irq::IrqSink;
use vm::ram::CHUNK_SIZE;
use vm::vcpu::{Intent, Stop, Vcpu};
use vm::{Backing, Gpa, Ram};
use vm_memory::{Bytes, GuestAddress};

fn on_every_tier(test: impl Fn(Tier, &mut Machine)) {
    for tier in TIERS {
        test(tier, &mut Machine::new(tier));
    }
}

#[test]
fn budgets_are_exact() {
    on_every_tier(|tier, m| {
        // 5 instructions a turn, over a jump, with a fault in the second entry's second access.
        m.table(&["v0 = const.i64 3\nv1 = get.i64 x6\nv2 = call fault_if, v1\nset x5, v2"]);
        m.code(CODE, &[add(0, 1), add(1, 1), jump(2), HALT, add(2, 1), entry(0), NOP, jump(-7)]);
        m.code(0x2000, &[add(3, 1), jump_to(4)]);
        m.cpu().vector = 0x2000;
        for fault in [0, 3] {
            m.cpu().regs.x = [0; 8];
            m.cpu().regs.x[4] = CODE;
            m.cpu().regs.x[6] = fault;
            m.start(CODE);
            // Per turn, in order; the instruction that faults counts.
            let turn: &[u64] = if fault == 0 {
                &[0x1000, 0x1004, 0x1008, 0x1010, 0x1014, 0x1018, 0x101c]
            } else {
                &[0x1000, 0x1004, 0x1008, 0x1010, 0x1014, 0x2000, 0x2004]
            };
            let mut done = 0u64;
            let mut rng = Rng(3);
            for step in 0..400 {
                let n = if step % 3 == 0 { 1 } else { rng.below(40) as u64 };
                let before = m.vcpu.instructions();
                assert_eq!(m.vcpu.run(Some(n)).unwrap(), Stop::Budget);
                assert_eq!(m.vcpu.instructions() - before, n, "{tier:?}");
                done += n;
                let pc = m.cpu().regs.pc;
                assert_eq!(pc, turn[(done % 7) as usize], "{tier:?} after {done}, fault {fault}");
            }
            assert_eq!(m.cpu().regs.x[0], done.div_ceil(7), "{tier:?}");
        }
    });
}

#[test]
fn a_budget_in_a_loop_is_exact_and_slices_do_not_show() {
    on_every_tier(|tier, m| {
        m.code(CODE, &[add(0, 1), add(1, 3), loop_on(2, -2), HALT]);
        m.cpu().regs.x = [0; 8];
        m.start(CODE);
        for n in [1u64, 2, 3, 20_000, 20_001, 59_999, 100_000, 7] {
            let before = m.vcpu.instructions();
            assert_eq!(m.vcpu.run(Some(n)).unwrap(), Stop::Budget);
            assert_eq!(m.vcpu.instructions() - before, n, "{tier:?}");
        }
        let done = m.vcpu.instructions();
        assert_eq!((m.cpu().regs.x[0], m.cpu().regs.pc), (done.div_ceil(3), CODE + done % 3 * 4), "{tier:?}");
    });
}

#[test]
fn a_fetch_that_faults_for_ever_ends_the_budget() {
    on_every_tier(|_, m| {
        m.cpu().vector = 0x5000;
        m.cpu().pages.insert((0x5000, None), Page { rwx: 6, ..Page::plain(0x5000) });
        m.start(0x5000);
        assert_eq!(m.vcpu.run(Some(100)).unwrap(), Stop::Budget);
        assert_eq!(m.cpu().taken.len(), 100);
        assert_eq!(m.cpu().taken[0], (Kind::Fault(Intent::Fetch), 0x5000, 0x5000));
    });
}

#[test]
fn kicks_stop_a_hot_loop() {
    on_every_tier(|tier, m| {
        m.code(CODE, &[add(0, 1), jump(-1)]);
        m.start(CODE);
        m.vcpu.run(Some(1000)).unwrap();
        let kicker = m.vcpu.kicker();
        for round in 0..50 {
            let kicker = kicker.clone();
            let kick = thread::spawn(move || {
                thread::sleep(Duration::from_micros(50 * round));
                kicker.kick();
            });
            assert_eq!(m.vcpu.run(None).unwrap(), Stop::Kicked, "{tier:?}");
            kick.join().unwrap();
        }
        // A kick before the run is not lost.
        kicker.kick();
        assert_eq!(m.vcpu.run(None).unwrap(), Stop::Kicked);
        assert_eq!(m.vcpu.run(Some(10)).unwrap(), Stop::Budget);
    });
}

#[test]
fn an_interrupt_reaches_a_hot_loop() {
    on_every_tier(|tier, m| {
        m.code(CODE, &[add(0, 1), jump(-1)]);
        m.code(0x2000, &[HALT]);
        m.cpu().vector = 0x2000;
        for round in 0..20u64 {
            m.start(CODE);
            m.cpu().irq_enabled = true;
            m.cpu().acknowledge = true;
            let pins = m.pins.clone();
            let raise = thread::spawn(move || {
                thread::sleep(Duration::from_micros(100 * round));
                pins.set_pin(0, true);
            });
            while m.cpu().irqs.load(Ordering::Acquire) == round {
                let _ = m.vcpu.run(None).unwrap();
            }
            raise.join().unwrap();
            m.pins.set_pin(0, false);
            assert_eq!(m.cpu().irqs.load(Ordering::Acquire), round + 1, "{tier:?}");
        }
    });
}

#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: u64 = 3000;
    for (tier, noisy) in
        [Tier::Interpreter, Tier::Template(1), Tier::Compiled(1)].into_iter().flat_map(|tier| [(tier, 0), (tier, 2)])
    {
        let mut m = Machine::new(tier);
        // Halts for ever; each interrupt is answered by the handler, which turns them on again.
        m.code(CODE, &[system(IRQ_ON), HALT, jump(-1)]);
        m.code(0x2000, &[add(0, 1), system(IRQ_ON), HALT, jump(-1)]);
        m.cpu().vector = 0x2000;
        m.cpu().acknowledge = true;
        m.start(CODE);
        let (pins, kicker, irqs) = (m.pins.clone(), m.vcpu.kicker(), m.cpu().irqs.clone());
        let (seen, stop) = (irqs.clone(), Arc::new(AtomicBool::new(false)));
        let interrupter = thread::spawn(move || {
            for round in 0..ROUNDS {
                pins.set_pin(0, true);
                let start = Instant::now();
                while seen.load(Ordering::Acquire) <= round {
                    if start.elapsed() > Duration::from_secs(20) {
                        eprintln!("round {round}: the wake-up was lost");
                        std::process::abort();
                    }
                    thread::yield_now();
                }
            }
        });
        let noise: Vec<_> = (0..noisy)
            .map(|n| {
                let (kicker, stop) = (kicker.clone(), stop.clone());
                thread::spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        kicker.kick();
                        thread::sleep(Duration::from_micros(20 + n * 13));
                    }
                })
            })
            .collect();
        while irqs.load(Ordering::Acquire) < ROUNDS {
            if m.vcpu.run(None).unwrap() == Stop::Idle && irqs.load(Ordering::Acquire) < ROUNDS {
                m.vcpu.wait();
            }
        }
        stop.store(true, Ordering::Release);
        noise.into_iter().for_each(|t| t.join().unwrap());
        interrupter.join().unwrap();
        assert_eq!(m.cpu().irqs.load(Ordering::Acquire), ROUNDS, "{tier:?}");
    }
}

#[test]
fn stores_to_code_take_effect_at_the_next_block() {
    on_every_tier(|tier, m| {
        for round in 0..6 {
            // Into another block of the page: x0 counts by what is stored there.
            m.code(CODE, &[store(1, 2), jump(10)]);
            m.code(CODE + 44, &[add(0, 1), HALT]);
            m.cpu().regs.x[..3].copy_from_slice(&[0, add(0, 5).into(), CODE + 44]);
            m.run_from(CODE + 44);
            m.run_from(CODE);
            assert_eq!(m.cpu().regs.x[0], 6, "{tier:?} round {round}");
            // Into its own block: the loop's second turn sees it at the latest.
            m.code(CODE, &[store(1, 2), add(0, 1), loop_on(3, -2), HALT]);
            m.cpu().regs.x[..4].copy_from_slice(&[0, add(0, 100).into(), CODE + 4, 3]);
            m.run_from(CODE);
            assert!([201, 300].contains(&m.cpu().regs.x[0]), "{tier:?} round {round}: {}", m.cpu().regs.x[0]);
        }
    });
}

#[test]
fn data_beside_code_does_not_invalidate_it() {
    on_every_tier(|tier, m| {
        // The block is in one chunk, the data in the next one of the page, and at the end of the block's own chunk.
        m.code(CODE, &[store(1, 2), store(1, 4), loop_on(3, -2), HALT]);
        m.cpu().regs.x[..5].copy_from_slice(&[0, 7, CODE + CHUNK_SIZE, 2000, CODE + 60]);
        m.run_from(CODE);
        let before = m.tcg.shared().translated.load(Ordering::Relaxed);
        m.cpu().regs.x[3] = 2000;
        m.run_from(CODE);
        let after = m.tcg.shared().translated.load(Ordering::Relaxed);
        assert!(after == before || tier.is_stress(), "{tier:?}: {} instructions", after - before);
        assert_eq!(m.ram.load(CODE + 60, 4), Some(7));
    });
}

#[test]
fn writes_of_devices_to_code_are_noticed() {
    on_every_tier(|tier, m| {
        m.code(CODE, &[add(0, 1), jump(1), add(1, 1), loop_on(2, -3), HALT]);
        for step in 0..40u64 {
            m.cpu().regs.x = [0, 0, 50, 0, 0, 0, 0, 0];
            m.run_from(CODE);
            assert_eq!(m.cpu().regs.x[0], 50 * (step + 1), "{tier:?} step {step}");
            assert_eq!(m.cpu().regs.x[1], 50, "{tier:?} step {step}");
            m.bus.dma().write_slice(&add(0, step as u8 + 2).to_le_bytes(), GuestAddress(CODE)).unwrap();
        }
    });
}

#[test]
fn links_hold_only_within_the_virtual_page() {
    on_every_tier(|tier, m| {
        // One physical page twice in a row: the block at its end goes on at the start of the same page, elsewhere in
        // the next page.
        m.code(0x8000, &[add(0, 1), HALT]);
        m.code(0x8ff8, &[NOP, jump(1)]);
        m.code(0x9000, &[add(1, 1), HALT]);
        let at = 0x40_0000;
        for (page, gpa) in [(0, 0x8000), (1, 0x8000), (2, 0x9000)] {
            m.cpu().pages.insert((at + page * 0x1000, None), Page::plain(gpa));
        }
        for _ in 0..4 {
            m.cpu().regs.x = [0; 8];
            for _ in 0..3 {
                m.run_from(at + 0xff8);
            }
            m.run_from(at + 0x1ff8);
            assert_eq!(m.cpu().regs.x[..2], [3, 1], "{tier:?}");
        }
        // Within the page, at two addresses.
        m.code(0x8100, &[add(2, 1), jump(3), HALT, HALT, add(3, 1), HALT]);
        for n in 0..8 {
            m.run_from(at + 0x100 + n % 2 * 0x1000);
        }
        assert_eq!(m.cpu().regs.x[2..4], [8, 8], "{tier:?}");
    });
}

#[test]
fn indirect_jumps_follow_the_page_tables() {
    on_every_tier(|tier, m| {
        let (base, other) = (0x40_0000, 0x80_0000);
        let at = base + 0x8000;
        let ram = Ram::new(RAM_SIZE).unwrap();
        m.bus.map(mapping("other", other, RAM_SIZE, Backing::Ram { ram, offset: 0 })).unwrap();
        m.code(0x8000, &[add(0, 1), jump_to(6)]);
        m.code(other + 0x8000, &[add(1, 1), jump_to(6)]);
        m.code(CODE, &[jump_to(5)]);
        m.code(CODE + 0x100, &[loop_on(7, -64), HALT]);
        m.code(0x2000, &[system(FLUSH_PAGE), jump(1), jump_to(5)]);
        m.code(0x3000, &[HALT]);
        for (log2, flush) in [(12, at), (21, at), (21, base + 0x10_0000)] {
            let (page, offset) = if log2 == 12 { (at, 0x8000) } else { (base, 0) };
            m.cpu().pages.clear();
            m.cpu().regs.x = [0, 0, 0, 0, 0, at, CODE + 0x100, 20];
            m.cpu().pages.insert((page, None), Page { log2, ..Page::plain(offset) });
            m.run_from(CODE);
            assert_eq!(m.cpu().regs.x[..2], [20, 0], "{tier:?}");
            // Without a reset in between, so that only the flush can do it.
            m.cpu().pages.insert((page, None), Page { log2, ..Page::plain(other + offset) });
            m.cpu().regs.x[..2].copy_from_slice(&[flush, 0]);
            m.cpu().regs.x[6] = 0x3000;
            wake(m, 0x2000);
            assert_eq!(m.cpu().regs.x[..2], [flush, 1], "{tier:?} {log2} {flush:#x}");
        }
    });
}

/// Goes on at `pc` after a halt, without a reset.
fn wake(m: &mut Machine, pc: u64) {
    m.cpu().regs.pc = pc;
    m.pins.set_pin(0, true);
    let stop = m.vcpu.run(Some(100_000)).unwrap();
    m.pins.set_pin(0, false);
    let stop = if stop == Stop::Idle { stop } else { m.vcpu.run(Some(100_000)).unwrap() };
    assert!(matches!(stop, Stop::Idle | Stop::Budget));
}

#[test]
fn spaces_have_their_own_code() {
    on_every_tier(|tier, m| {
        let at = 0x40_0000;
        m.code(0x8000, &[add(2, 1), jump_to(6)]);
        m.code(0x9000, &[add(3, 1), jump_to(6)]);
        m.cpu().pages.insert((at, Some(1)), Page { space: Some(1), ..Page::plain(0x8000) });
        m.cpu().pages.insert((at, Some(2)), Page { space: Some(2), ..Page::plain(0x9000) });
        // x0 is the space, 1 and 2 in turn: x0 = 3 - x0 by the entry.
        m.table(&["v0 = const.i64 3\nv1 = get.i64 x0\nv2 = sub.i64 v0, v1\nset x0, v2"]);
        m.code(CODE, &[entry(0), system(SWITCH), jump_to(5)]);
        m.code(CODE + 0x100, &[loop_on(7, -64), HALT]);
        m.cpu().regs.x = [1, 0, 0, 0, 0, at, CODE + 0x100, 101];
        m.run_from(CODE);
        assert_eq!(m.cpu().regs.x[2..4], [50, 51], "{tier:?}");
    });
}

#[test]
fn a_changed_address_space_changes_the_code() {
    on_every_tier(|tier, m| {
        let other = Ram::new(RAM_SIZE).unwrap();
        m.code(CODE, &[add(0, 1), jump(1), HALT]);
        let words: Vec<u8> = [add(1, 1), jump(1), HALT].iter().flat_map(|w| w.to_le_bytes()).collect();
        other.write(CODE, &words).unwrap();
        for _ in 0..5 {
            m.bus.set_backing(m.ram_id, Backing::Ram { ram: m.ram.clone(), offset: 0 });
            m.run_from(CODE);
            m.run_from(CODE);
            m.bus.set_backing(m.ram_id, Backing::Ram { ram: other.clone(), offset: 0 });
            m.run_from(CODE);
        }
        assert_eq!(m.cpu().regs.x[..2], [10, 5], "{tier:?}");
    });
}

#[test]
fn code_in_devices_and_rom_runs() {
    on_every_tier(|tier, m| {
        for (n, word) in [add(0, 1), add(1, 1), loop_on(2, -2), HALT].into_iter().enumerate() {
            for (byte, value) in word.to_le_bytes().into_iter().enumerate() {
                m.device.cells.lock().unwrap().insert((4 * n + byte) as u64, value.into());
            }
            m.rom.store(4 * n as u64, 4, word.into()).unwrap();
        }
        for at in [MMIO, ROM] {
            m.cpu().regs.x = [0, 0, 30, 0, 0, 0, 0, 0];
            m.run_from(at);
            assert_eq!(m.cpu().regs.x[..2], [30, 30], "{tier:?}");
        }
    });
}

#[test]
fn code_memory_comes_back() {
    for tier in [Tier::Compiled(1), Tier::Background(1)] {
        let mut m = Machine::new(tier);
        // A vCPU that never runs keeps nothing alive.
        let _other = m.tcg.vcpu_of(wiring(1, &m.bus, &vm::vcpu::Pins::new())).unwrap();
        let empty = m.compiler.as_ref().unwrap().used_bytes();
        let mut most = 0;
        for round in 0..300u64 {
            for block in 0..8 {
                m.code(CODE + block * 0x100, &[add(0, round as u8), jump(63)]);
            }
            m.code(CODE + 0x800, &[HALT]);
            m.run_from(CODE);
            m.run_from(CODE);
            most = most.max(m.compiler.as_ref().unwrap().used_bytes());
        }
        assert!(most < empty + 64 * 1024, "{tier:?}: {most} bytes after 300 rounds of 9 blocks");
        m.bus.write(Gpa(CODE), &[0; 0x1000]).unwrap();
        m.code(0x2000, &[HALT]);
        let start = Instant::now();
        loop {
            m.run_from(0x2000);
            // The halt itself.
            if m.compiler.as_ref().unwrap().used_bytes() <= empty + 1024 {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{tier:?}: the code of dead blocks is not freed");
        }
    }
}

#[test]
fn writes_while_it_runs_end_in_the_code_written_last() {
    on_every_tier(|tier, m| {
        m.code(CODE, &[add(0, 1), jump(1), loop_on(2, -2), HALT]);
        let (bus, stop) = (m.bus.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let writer = thread::spawn(move || {
            let mut n = 0u8;
            while !stopped.load(Ordering::Acquire) {
                n = n.wrapping_add(1);
                bus.dma().write_slice(&add(0, n).to_le_bytes(), GuestAddress(CODE)).unwrap();
                thread::yield_now();
            }
        });
        for _ in 0..100 {
            m.cpu().regs.x[2] = 300;
            m.run_from(CODE);
        }
        stop.store(true, Ordering::Release);
        writer.join().unwrap();
        m.bus.dma().write_slice(&add(0, 7).to_le_bytes(), GuestAddress(CODE)).unwrap();
        m.cpu().regs.x[..3].copy_from_slice(&[0, 0, 10]);
        m.run_from(CODE);
        assert_eq!(m.cpu().regs.x[0], 70, "{tier:?}");
    });
}

#[test]
fn more_code_than_code_memory_runs() {
    on_every_tier(|tier, m| {
        const BLOCKS: u64 = 600;
        for block in 0..BLOCKS {
            m.code(0x4000 + block * 0x100, &[add(0, 1), jump(63)]);
        }
        m.code(0x4000 + BLOCKS * 0x100, &[loop_on(1, 2), HALT, jump_to(2)]);
        m.cpu().regs.x[..3].copy_from_slice(&[0, 20, 0x4000]);
        m.run_from(0x4000);
        assert_eq!(m.cpu().regs.x[0], 20 * BLOCKS, "{tier:?}");
        assert!(tier != Tier::Small || m.compiled() > BLOCKS);
    });
}

#[test]
fn branches_reach_far() {
    on_every_tier(|tier, m| {
        let far = 0x2_0000_0000;
        m.table(&[&format!("v0 = get.i8 x0\nbranch v0, {far}, -{far}")]);
        m.code(CODE, &[entry(0)]);
        for n in 0..6 {
            m.cpu().regs.x[0] = n % 2;
            m.run_from(CODE);
            let to = if n % 2 == 1 { CODE + far } else { CODE.wrapping_sub(far) };
            assert_eq!(m.cpu().taken[0], (Kind::Bus(Intent::Fetch), to, to), "{tier:?}");
        }
    });
}
