//! Several processors at once.

use crate::state::{RAX, RBX, RCX};
use crate::testing::{CODE, Machine};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tcg::exec::TcgVcpu;
use vm::vcpu::{Stop, Vcpu};

/// Runs processors until each has halted.
fn run_all(all: Vec<TcgVcpu<crate::frontend::X86>>) -> Vec<TcgVcpu<crate::frontend::X86>> {
    let run = |mut vcpu: TcgVcpu<_>| {
        while vcpu.run(None).unwrap() != Stop::Idle {}
        vcpu
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = all.into_iter().map(|vcpu| scope.spawn(move || run(vcpu))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// What a loop does to a number at RBX, and what it adds to it each time.
const LOOPS: &[(&str, &[u8])] = &[
    // lock add qword [rbx], 1
    ("add", &[0xf0, 0x48, 0x83, 0x03, 0x01]),
    // lock adc qword [rbx], 0; with CF: stc
    ("adc", &[0xf9, 0xf0, 0x48, 0x83, 0x13, 0x00]),
    // mov esi, 1; lock xadd [rbx], rsi
    ("xadd", &[0xbe, 1, 0, 0, 0, 0xf0, 0x48, 0x0f, 0xc1, 0x33]),
    // again: mov rax, [rbx]; lea rsi, [rax + 1]; lock cmpxchg [rbx], rsi; jne again
    ("cmpxchg", &[0x48, 0x8b, 0x03, 0x48, 0x8d, 0x70, 0x01, 0xf0, 0x48, 0x0f, 0xb1, 0x33, 0x75, 0xf2]),
];

/// `body`, so often, then HLT: `push rcx` and `pop rcx` are around it so that it may use it.
fn program(body: &[u8], times: u32) -> Vec<u8> {
    let mut code = vec![0xb9];
    code.extend(times.to_le_bytes()); // mov ecx, times
    code.extend(body);
    code.extend([0xff, 0xc9, 0x75]); // dec ecx; jnz body
    code.push((-(body.len() as i64) - 4) as u8);
    code.push(0xf4); // hlt
    code
}

#[test]
fn locked_operations_count_right_wherever_they_lie() {
    const TIMES: u32 = 3000;
    // Aligned, in one line, over the end of a line, over the end of a page.
    for at in [0x5000u64, 0x5003, 0x503d, 0x5ffa] {
        for seed in [None, Some(at)] {
            let mut m = Machine::flat_stressed("max", 64, seed);
            let mut all = Vec::new();
            for (n, (_, body)) in LOOPS.iter().enumerate() {
                let code = CODE + 0x100 * n as u64;
                m.write(code, &program(body, TIMES));
                m.cpu().gpr[RBX] = at;
                m.cpu().set_rip(code);
                all.push(m.other(1 + n as u32));
            }
            run_all(all);
            assert_eq!(m.read(at), u64::from(TIMES) * LOOPS.len() as u64, "at {at:#x}, seed {seed:?}");
        }
    }
}

#[test]
fn a_split_lock_excludes_aligned_operations_and_plain_stores() {
    const TIMES: u32 = 20_000;
    for seed in [None, Some(3)] {
        // The last byte of one line belongs to one, the others to the other: both are added to, and neither loses a carry.
        let mut m = Machine::flat_stressed("max", 64, seed);
        m.write(CODE, &program(&[0xf0, 0x48, 0x81, 0x03, 0, 0, 0, 0x01], TIMES)); // lock add qword [rbx], 1 << 24
        m.cpu().gpr[RBX] = 0x503d;
        let split = m.other(1);
        // mov [rbx], cl; mov edx, 20; wait: dec edx; jnz wait; cmp cl, [rbx]; jne fail
        let body = [0x88, 0x0b, 0xba, 20, 0, 0, 0, 0xff, 0xca, 0x75, 0xfc, 0x3a, 0x0b, 0x75, 0x0a];
        m.write(CODE + 0x100, &program(&body, 10 * TIMES));
        m.write(CODE + 0x100 + 5 + body.len() as u64 + 0x0a, &[0xb8, 1, 0, 0, 0, 0xf4]); // mov eax, 1; hlt
        m.cpu().set_rip(CODE + 0x100);
        let stores = m.other(2);
        let all = run_all(vec![split, stores]);
        assert_eq!(all[1].env.cpu.gpr[RAX] as u32, 0, "a store was lost: rcx {:#x}", all[1].env.cpu.gpr[RCX]);
        assert_eq!(m.read(0x5040) & 0xffff_ffff, u64::from(TIMES) & 0xffff_ffff);
    }
}

#[test]
fn who_wants_to_be_alone_waits_for_nobody_that_stands_still() {
    // One halts, one is kicked again and again, one was never started: two split locks go on.
    let mut m = Machine::flat("max", 64);
    m.cpu().gpr[RBX] = 0x503d;
    m.write(CODE, &program(LOOPS[0].1, 5000));
    let (a, b) = (m.other(1), m.other(2));
    m.write(CODE + 0x100, &[0xeb, 0xfe]); // jmp .
    m.cpu().set_rip(CODE + 0x100);
    let (mut spins, _never) = (m.other(3), m.other(4));
    let kick = spins.kicker();
    let start = Instant::now();
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let spinner = scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                spins.run(None).unwrap();
            }
        });
        let kicker = kick.clone();
        let pauses = scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                kicker.kick();
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        run_all(vec![a, b]);
        done.store(true, Ordering::Release);
        kick.kick();
        spinner.join().unwrap();
        pauses.join().unwrap();
    });
    assert_eq!(m.read(0x503d), 10_000);
    assert!(start.elapsed() < Duration::from_secs(60));
}
