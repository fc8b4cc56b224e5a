//! Privileged behaviour: gates, privilege changes, paging, task switches. What QEMU and hardware do is in the bare-metal
//! guests of `tests/guest-images`; these are the cases that a change breaks first.

use crate::control_regs::{CR0_PG, CR0_WP, CR4_PAE};
use crate::exception::{DE, GP, NP, PF, SS as STACK_FAULT, TS};
use crate::flags::{IF, NT, RF, TF, VM};
use crate::segment::{Attributes, CS, DS, ES, SS, Segment, Table};
use crate::state::{RAX, RBX, RCX, RSP};
use crate::testing::{CODE, Machine, STACK};

pub(crate) const GDT: u64 = 0x4000;
pub(crate) const IDT: u64 = 0x5000;
const TSS: u64 = 0x6000;
/// Where handler `n` is: a HLT.
pub(crate) const HANDLERS: u64 = 0x7000;
const INNER_STACK: u64 = 0x9000;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A descriptor of a flat segment with these attributes.
pub(crate) fn flat(attributes: u16) -> u64 {
    let a = u64::from(attributes);
    0xffff | (a & 0xff) << 40 | 0xf << 48 | (a >> 12) << 52
}

fn system(base: u64, limit: u64, kind: u64) -> u64 {
    limit & 0xffff | (base & 0xff_ffff) << 16 | kind << 40 | (limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56
}

/// An interrupt gate to handler `n` in selector 8.
pub(crate) fn gate(n: u64, kind: u64, dpl: u64) -> u64 {
    let offset = HANDLERS + 16 * n;
    offset & 0xffff | 8 << 16 | (0x80 | dpl << 5 | kind) << 40 | (offset >> 16) << 48
}

/// A machine in 32-bit protected mode at level 0 with these selectors: 8 and 0x10 of level 0, 0x1b and 0x23 of level 3, 0x28
/// the task state; all exceptions halt.
pub(crate) fn protected() -> Machine {
    let mut m = Machine::flat("max", 32);
    let entries = [0, flat(0xc09b), flat(0xc093), flat(0xc0fb), flat(0xc0f3), system(TSS, 0x67, 0x8b), 0, 0];
    for (n, entry) in (0..).zip(entries) {
        m.write(GDT + 8 * n, &entry.to_le_bytes());
    }
    for n in 0..0x31 {
        m.write(IDT + 8 * n, &gate(n, 14, if n == 0x30 { 3 } else { 0 }).to_le_bytes());
        m.write(HANDLERS + 16 * n, &[0xf4]);
    }
    m.write(TSS + 4, &(INNER_STACK as u32).to_le_bytes());
    m.write(TSS + 8, &0x10u32.to_le_bytes());
    let cpu = m.cpu();
    cpu.gdtr = Table { base: GDT, limit: 0x3f };
    cpu.idtr = Table { base: IDT, limit: 0x187 };
    cpu.tr = Segment { selector: 0x28, base: TSS, limit: 0x67, attributes: Attributes(0x8b) };
    m
}

/// Puts the processor at level 3.
pub(crate) fn user(m: &mut Machine) {
    let cpu = m.cpu();
    cpu.cpl = 3;
    let segment =
        |selector, attributes| Segment { selector, attributes: Attributes(attributes), base: 0, limit: u32::MAX };
    cpu.set_segment(CS, segment(0x1b, 0xc0fb));
    for n in [SS, DS, ES] {
        cpu.set_segment(n, segment(0x23, 0xc0f3));
    }
}

/// Which handler the processor is in, and the doublewords on its stack from the top on.
pub(crate) fn taken(m: &mut Machine) -> (u64, [u32; 6]) {
    let (rip, sp) = (m.cpu().rip(), m.cpu().gpr[RSP]);
    let word = |n: u64| m.read(sp + 4 * n) as u32;
    ((rip - HANDLERS) / 16, std::array::from_fn(|n| word(n as u64)))
}

#[test]
fn exceptions_push_what_the_handler_needs() {
    // div ecx by zero at level 0: no stack change, no error code, RF set.
    let mut m = protected();
    m.run(&hex("f7 f1"), 1);
    let (vector, [eip, cs, flags, ..]) = taken(&mut m);
    assert_eq!((vector, u64::from(eip), cs, u64::from(flags) & RF), (DE.into(), CODE, 8, RF));
    assert_eq!(m.cpu().gpr[RSP], STACK - 12);
    // The same at level 3: the stack of the task state, the old one on it.
    let mut m = protected();
    user(&mut m);
    m.run(&hex("f7 f1"), 1);
    let (vector, [eip, cs, _, esp, ss, _]) = taken(&mut m);
    assert_eq!((vector, u64::from(eip), cs, u64::from(esp), ss), (DE.into(), CODE, 0x1b, STACK, 0x23));
    assert_eq!((m.cpu().gpr[RSP], m.cpu().selectors[SS], m.cpu().cpl), (INNER_STACK - 20, 0x10, 0));
    assert_eq!(m.cpu().rflags() & (IF | TF | NT | RF | VM), 0);
    // And back: the handler's IRET.
    m.write(HANDLERS, &[0xcf]);
    m.cpu().set_rip(HANDLERS);
    m.step(1);
    assert_eq!((m.cpu().cpl, m.cpu().rip(), m.cpu().gpr[RSP], m.cpu().selectors[SS]), (3, CODE, STACK, 0x23));
}

#[test]
fn error_codes_name_the_selector_or_the_gate() {
    #[rustfmt::skip]
    let rows: &[(&str, u64, u8, u32)] = &[
        // mov ds, ax: beyond the table, a system segment, level 0 data with RPL 3 (all #GP with the selector).
        ("8e d8", 0x48, GP, 0x48),
        ("8e d8", 0x28, GP, 0x28),
        ("8e d8", 0x13, GP, 0x10),
        // mov ss, ax: null, code.
        ("8e d0", 0, GP, 0),
        ("8e d0", 8, GP, 8),
        // ltr of a busy task; lldt of no LDT.
        ("0f 00 d8", 0x28, GP, 0x28),
        ("0f 00 d0", 0x10, GP, 0x10),
        // int 0x40 beyond the interrupt table.
        ("cd 40", 0, GP, 0x202),
        // A jump to data.
        ("ea 00 00 00 00 10 00", 0, GP, 0x10),
    ];
    for (code, rax, vector, error) in rows {
        let mut m = protected();
        m.cpu().gpr[RAX] = *rax;
        m.run(&hex(code), 1);
        let (number, [pushed, eip, ..]) = taken(&mut m);
        assert_eq!((number, pushed, u64::from(eip)), ((*vector).into(), *error, CODE), "{code} with {rax:#x}");
    }
    // Segments that are not there, and INT at level 3 through a gate of level 0.
    let mut m = protected();
    m.write(GDT + 0x30, &flat(0xc013).to_le_bytes());
    m.cpu().gpr[RAX] = 0x30;
    m.run(&hex("8e d8"), 1);
    assert_eq!((taken(&mut m).0, taken(&mut m).1[0]), (NP.into(), 0x30));
    let mut m = protected();
    m.write(GDT + 0x30, &flat(0xc013).to_le_bytes());
    m.cpu().gpr[RAX] = 0x30;
    m.run(&hex("8e d0"), 1);
    assert_eq!((taken(&mut m).0, taken(&mut m).1[0]), (STACK_FAULT.into(), 0x30));
    let mut m = protected();
    user(&mut m);
    m.run(&hex("cd 20"), 1);
    assert_eq!((taken(&mut m).0, taken(&mut m).1[0]), (GP.into(), 0x102));
    let mut m = protected();
    user(&mut m);
    m.run(&hex("cd 30"), 1);
    let (vector, [eip, ..]) = taken(&mut m);
    assert_eq!((vector, u64::from(eip)), (0x30, CODE + 2));
    // A task state without a good stack.
    let mut m = protected();
    user(&mut m);
    m.write(TSS + 8, &0x23u32.to_le_bytes());
    m.run(&hex("cd 30"), 1);
    assert_eq!(m.cpu().rip(), CODE, "no handler can be entered from level 3 then");
    let _ = TS;
}

#[test]
fn page_faults_say_what_was_wrong() {
    // One 4-MiB page for all code, level 3 allowed; page 0x40_0000 by a table.
    let (directory, table) = (0x10_0000u64, 0x10_1000u64);
    let page = 0x40_0000u32;
    #[rustfmt::skip]
    let rows: &[(&str, bool, u32, u32)] = &[
        // mov eax, [ebx]; mov [ebx], eax: not there.
        ("8b 03", false, 0, 0),
        ("89 03", false, 0, 2),
        ("8b 03", true, 0, 4),
        // There, but of level 0; read-only at level 3, and at level 0 with CR0.WP.
        ("8b 03", true, 0x3003, 5),
        ("89 03", true, 0x3005, 7),
        ("89 03", false, 0x3001, 3),
    ];
    for (code, level3, entry, error) in rows {
        let mut m = protected();
        m.write(directory, &0x87u32.to_le_bytes());
        m.write(directory + 4, &(table as u32 | 7).to_le_bytes());
        m.write(table, &entry.to_le_bytes());
        let cpu = m.cpu();
        cpu.cr3 = directory;
        cpu.cr4 |= crate::control_regs::CR4_PSE;
        cpu.cr0 |= CR0_PG | CR0_WP;
        if *level3 {
            user(&mut m);
        }
        m.cpu().gpr[RBX] = page.into();
        m.cpu().update_mode();
        m.vcpu.env.flush_tlb();
        m.run(&hex(code), 1);
        let (vector, [pushed, eip, ..]) = taken(&mut m);
        assert_eq!((vector, pushed, u64::from(eip)), (PF.into(), *error, CODE), "{code} entry {entry:#x}");
        assert_eq!(m.cpu().cr2, u64::from(page));
    }
    // Accessed and dirty bits.
    let mut m = protected();
    m.write(directory, &0x87u32.to_le_bytes());
    m.write(directory + 4, &(table as u32 | 7).to_le_bytes());
    m.write(table, &0x3007u32.to_le_bytes());
    let cpu = m.cpu();
    cpu.cr3 = directory;
    cpu.cr4 |= crate::control_regs::CR4_PSE;
    cpu.cr0 |= CR0_PG;
    cpu.gpr[RBX] = page.into();
    cpu.update_mode();
    m.vcpu.env.flush_tlb();
    m.run(&hex("8b 03 89 03"), 1);
    assert_eq!((m.read(table) as u32, m.read(directory + 4) as u32 & 0x20), (0x3027, 0x20));
    m.step(1);
    assert_eq!(m.read(table) as u32, 0x3067);
    assert_eq!(m.cpu().cr4 & CR4_PAE, 0);
}

#[test]
fn each_address_space_has_its_own_code() {
    // Two directories with one 4-MiB page for all code, and a page of their own at 0x40_0000 for a function.
    for level3 in [false, true] {
        let mut m = protected();
        for (directory, function) in [(0x10_0000u64, "83 c0 01 c3"), (0x10_4000, "83 c0 10 c3")] {
            m.write(directory, &0x87u32.to_le_bytes());
            m.write(directory + 4, &(directory as u32 + 0x1007).to_le_bytes());
            m.write(directory + 0x1000, &(directory as u32 + 0x2007).to_le_bytes());
            m.write(directory + 0x2000, &hex(function));
        }
        let cpu = m.cpu();
        cpu.cr3 = 0x10_0000;
        cpu.cr4 |= crate::control_regs::CR4_PSE;
        cpu.cr0 |= CR0_PG;
        cpu.gpr[RBX] = 0x40_0000;
        cpu.gpr[RCX] = 0x10_4000;
        if level3 {
            user(&mut m);
        }
        m.cpu().update_mode();
        m.vcpu.env.flush_tlb();
        // call ebx; mov cr3, ecx, which level 3 has done for it; call ebx.
        m.run(&hex("ff d3 0f 22 d9 ff d3"), 3);
        if level3 {
            crate::control_regs::write_cr3(&mut m.vcpu.env, 0x10_4000).unwrap();
            m.cpu().set_rip(CODE + 5);
            m.step(2);
        } else {
            m.step(3);
        }
        assert_eq!(m.cpu().gpr[RAX], 0x11, "level 3: {level3}");
    }
}

#[test]
fn pointers_of_pae_paging_are_checked_when_they_are_loaded() {
    let table = 0x10_0000u64;
    #[rustfmt::skip]
    let rows: &[(u64, bool)] = &[
        (0, true),
        (0x10_1001, true),
        (0x10_1019, true),
        // Not present: the rest is ignored.
        (0x10_1020, true),
        // Accessed; bit 40, which no address has.
        (0x10_1021, false),
        (0x100_0010_1001, false),
    ];
    for (entry, good) in rows {
        let mut m = protected();
        m.write(table + 8, &entry.to_le_bytes());
        let cpu = m.cpu();
        cpu.cr4 |= CR4_PAE;
        cpu.cr3 = table;
        let paging = cpu.cr0 | CR0_PG;
        let result = crate::control_regs::write(&mut m.vcpu.env, 0, paging);
        assert_eq!(result.is_ok(), *good, "{entry:#x}");
        m.cpu().cr0 = paging;
        let result = crate::control_regs::write(&mut m.vcpu.env, 3, table);
        assert_eq!(result.is_ok(), *good, "{entry:#x}");
    }
}

#[test]
fn tasks_are_switched() {
    let mut m = protected();
    // A second task at 0xa000: its registers, its code a HLT at 0x7100.
    let other = 0xa000u64;
    m.write(GDT + 0x30, &system(other, 0x67, 0x89).to_le_bytes());
    let fields: [(u64, u32); 12] = [
        (32, 0x7100),
        (36, 2),
        (40, 0x1111),
        (44, 0x2222),
        (56, 0x9800),
        (72, 0x10),
        (76, 8),
        (80, 0x10),
        (84, 0x10),
        (88, 0),
        (92, 0),
        (96, 0),
    ];
    for (at, value) in fields {
        m.write(other + at, &value.to_le_bytes());
    }
    m.cpu().gpr[RCX] = 0xabcd;
    // call 0x30:0; later iret.
    m.write(0x7100, &[0xcf]);
    m.run(&hex("9a 00 00 00 00 30 00"), 1);
    let cpu = m.cpu();
    assert_eq!((cpu.rip(), cpu.gpr[RAX], cpu.gpr[RCX], cpu.gpr[RSP]), (0x7100, 0x1111, 0x2222, 0x9800));
    assert_eq!((cpu.tr.selector, cpu.rflags() & NT), (0x30, NT));
    assert_eq!(
        (m.read(other) as u16, m.read(TSS + 32) as u32, m.read(TSS + 44) as u32),
        (0x28, CODE as u32 + 7, 0xabcd)
    );
    assert_eq!((m.read(GDT + 0x35) as u8, m.read(GDT + 0x2d) as u8), (0x8b, 0x8b));
    m.step(1);
    let cpu = m.cpu();
    assert_eq!((cpu.rip(), cpu.gpr[RCX], cpu.tr.selector, cpu.rflags() & NT), (CODE + 7, 0xabcd, 0x28, 0));
    assert_eq!(m.read(GDT + 0x35) as u8, 0x89);
}

#[test]
fn system_calls_of_long_mode() {
    let mut m = Machine::flat("max", 64);
    let cpu = m.cpu();
    cpu.msr.star = 0x0010_0008 << 32;
    cpu.msr.lstar = 0x7000;
    cpu.msr.fmask = IF;
    cpu.eflags |= IF;
    // syscall; the handler: sysretq.
    m.write(0x7000, &hex("48 0f 07"));
    m.run(&hex("0f 05"), 1);
    let cpu = m.cpu();
    assert_eq!((cpu.rip(), cpu.gpr[RCX], cpu.gpr[11] & IF, cpu.flag(IF)), (0x7000, CODE + 2, IF, false));
    assert_eq!((cpu.selectors[CS], cpu.selectors[SS], cpu.cpl), (8, 16, 0));
    m.step(1);
    let cpu = m.cpu();
    assert_eq!((cpu.rip(), cpu.cpl, cpu.flag(IF)), (CODE + 2, 3, true));
    assert_eq!((cpu.selectors[CS], cpu.selectors[SS]), (0x23, 0x1b));
}
