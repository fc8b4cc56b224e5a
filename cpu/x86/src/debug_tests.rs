//! Debug exceptions: single steps, breakpoints, protected debug registers (SDM vol. 3B, chapter 17).

use crate::exception::{DB, dr6};
use crate::flags::{RF, TF};
use crate::state::{RAX, RBX, RCX, RDI, RDX, RSP};
use crate::system_tests::{HANDLERS, hex, protected, taken};
use crate::testing::{CODE, Machine};

/// What DR6 reads as without a cause.
const NO_CAUSE: u64 = 0xffff_0ff0;
const DATA: u64 = 0x3000;

/// In protected mode at level 0 with breakpoint 0 at `address` and these bits in DR7.
fn with_breakpoint(code: &str, address: u64, dr7: u64) -> Machine {
    let mut m = protected();
    m.write(CODE, &hex(code));
    let cpu = m.cpu();
    cpu.dr[0] = address;
    cpu.dr[6] = NO_CAUSE;
    cpu.dr[7] = 0x400 | dr7;
    cpu.gpr[RBX] = DATA;
    cpu.gpr[RDI] = DATA;
    cpu.update_mode();
    m
}

/// Runs until the debug exception, at most `most` instructions: where it returns to, its flags and the causes in DR6.
fn trap(m: &mut Machine, most: u64) -> Option<(u64, u32, u64)> {
    for _ in 0..most {
        m.step(1);
        if m.cpu().rip() & !1 == HANDLERS + 16 * u64::from(DB) {
            let (vector, [eip, _, flags, ..]) = taken(m);
            assert_eq!(vector, u64::from(DB));
            return Some((u64::from(eip) - CODE, flags, m.cpu().dr[6] ^ NO_CAUSE));
        }
    }
    None
}

#[test]
fn data_breakpoints_trap_after_the_access() {
    const WRITE: u64 = 1 | 1 << 16;
    const ACCESS: u64 = 1 | 3 << 16;
    const FOUR: u64 = 3 << 18;
    #[rustfmt::skip]
    let rows: &[(&str, u64, u64, Option<u64>)] = &[
        // mov [ebx], eax; nop; nop
        ("89 03 90 90", DATA, WRITE, Some(2)),
        ("89 03 90 90", DATA + 3, WRITE, Some(2)),
        ("89 03 90 90", DATA + 4, WRITE, None),
        ("89 03 90 90", DATA + 1, WRITE | FOUR, Some(2)),
        // mov eax, [ebx]; nop; nop
        ("8b 03 90 90", DATA, WRITE, None),
        ("8b 03 90 90", DATA, ACCESS, Some(2)),
        // nop; lock inc byte [ebx]; nop; nop, and push dword [ebx]; nop; nop
        ("90 f0 fe 03 90 90", DATA, WRITE, Some(4)),
        ("ff 33 90 90", DATA, ACCESS, Some(2)),
        // stosb; nop; nop
        ("aa 90 90", DATA, WRITE, Some(1)),
        // Disabled.
        ("89 03 90 90", DATA, 1 << 16, None),
    ];
    for (code, address, dr7, at) in rows {
        let mut m = with_breakpoint(code, *address, *dr7);
        let got = trap(&mut m, 4);
        assert_eq!(got.map(|(rip, _, causes)| (rip, causes)), at.map(|at| (at, 1)), "{code} {address:#x} {dr7:#x}");
    }
    // rep stosb: after the repetition that does it.
    let mut m = with_breakpoint("f3 aa 90", DATA + 2, WRITE);
    m.cpu().gpr[RCX] = 9;
    assert_eq!(trap(&mut m, 5).map(|(rip, _, causes)| (rip, causes)), Some((0, 1)));
    assert_eq!((m.cpu().gpr[RCX], m.cpu().gpr[RDI]), (6, DATA + 3));
    // in al, dx with CR4.DE.
    let mut m = with_breakpoint("ec 90 90", 0x60, 1 | 2 << 16);
    m.cpu().gpr[RDX] = 0x60;
    m.cpu().cr4 |= crate::control_regs::CR4_DE;
    assert_eq!(trap(&mut m, 3).map(|(rip, _, causes)| (rip, causes)), Some((1, 1)));
}

#[test]
fn instruction_breakpoints_fault_once() {
    let mut m = with_breakpoint("90 40 90 90", CODE + 1, 1);
    // 17.3.1.1: alone of all faults it does not set RF; the handler does, which lets the instruction pass.
    assert_eq!(trap(&mut m, 3), Some((1, 2, 1)));
    assert_eq!(m.cpu().gpr[RAX], 0);
    let flags_at = m.cpu().gpr[RSP] + 8;
    m.write(flags_at, &(2 | RF as u32).to_le_bytes());
    m.write(HANDLERS + 16, &[0xcf]);
    m.cpu().set_rip(HANDLERS + 16);
    m.step(2);
    assert_eq!((m.cpu().rip(), m.cpu().gpr[RAX], m.cpu().rflags() & RF), (CODE + 2, 1, 0));
}

#[test]
fn protected_debug_registers() {
    // mov eax, dr0 with DR7.GD.
    let mut m = with_breakpoint("90 0f 21 c0", 0, 1 << 13);
    assert_eq!(trap(&mut m, 3).map(|(rip, _, causes)| (rip, causes)), Some((1, dr6::BD)));
    assert_eq!(m.cpu().dr[7], 0x400);
}

#[test]
fn single_steps() {
    #[rustfmt::skip]
    let rows: &[(&str, &[u64])] = &[
        // nop; nop; jmp short over one; nop
        ("90 90 eb 01 90 90", &[1, 2, 5]),
        // rep stosb of three bytes: every repetition.
        ("f3 aa 90", &[0, 0, 2, 3]),
        // mov ss, eax has no trap of its own; popfd that clears TF has one.
        ("8e d0 90 90", &[3, 4]),
        ("6a 02 9d 90 90", &[2, 3]),
        // A far jump; hlt.
        ("ea 08 10 00 00 08 00 90 90", &[8]),
        ("f4 90", &[1]),
    ];
    for (code, stops) in rows {
        let mut m = protected();
        m.write(CODE, &hex(code));
        m.write(HANDLERS + 16, &[0xcf]);
        let cpu = m.cpu();
        cpu.gpr[RDI] = DATA;
        cpu.gpr[RCX] = 3;
        cpu.gpr[RAX] = 0x10;
        cpu.dr[6] = NO_CAUSE;
        cpu.set_rip(CODE);
        cpu.set_rflags(TF, TF);
        for stop in *stops {
            assert_eq!(trap(&mut m, 3).map(|(rip, _, causes)| (rip, causes)), Some((*stop, dr6::BS)), "{code}");
            m.cpu().dr[6] = NO_CAUSE;
        }
    }
}
