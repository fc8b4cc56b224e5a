//! What accesses ask of their page, alignment checks, string instructions over pages.

use crate::control_regs::{CR0_AM, CR0_PG, CR0_WP, CR4_PSE, write_cr3};
use crate::exception::{AC, GP, PF};
use crate::flags;
use crate::segment::{ES, Segment};
use crate::state::{RAX, RBX, RCX, RDI, RSI, RSP};
use crate::system_tests::{hex, protected, taken, user};
use crate::testing::{CODE, Machine};

const DIRECTORY: u64 = 0x10_0000;
const TABLE: u64 = 0x10_1000;
/// The first page of the second 4 MiB; page n leads to physical page 0x11_0000 + n.
const PAGES: u64 = 0x40_0000;
const BEHIND: u64 = 0x11_0000;
const NO_PAGE: u32 = 0;
const READ: u32 = 5;
const WRITE: u32 = 7;

/// Protected mode with paging at level 0 or 3, the first 4 MiB as they are, then these pages.
fn paged(level3: bool, rights: &[u32]) -> Machine {
    let mut m = protected();
    m.write(DIRECTORY, &0x87u32.to_le_bytes());
    m.write(DIRECTORY + 4, &(TABLE as u32 | 7).to_le_bytes());
    for (n, rights) in (0..).zip(rights) {
        let entry = if *rights == 0 { 0 } else { (BEHIND as u32 + 0x1000 * n) | rights };
        m.write(TABLE + 4 * u64::from(n), &entry.to_le_bytes());
    }
    let cpu = m.cpu();
    cpu.cr3 = DIRECTORY;
    cpu.cr4 |= CR4_PSE;
    cpu.cr0 |= CR0_PG | CR0_WP;
    if level3 {
        user(&mut m);
    }
    m.cpu().update_mode();
    m.vcpu.env.flush_tlb();
    m
}

#[test]
fn read_modify_writes_fault_as_writes() {
    #[rustfmt::skip]
    let codes = [
        "01 03", "f0 01 03", "11 03", "87 03", "ff 03", "f7 13", "c1 23 03", "0f b1 0b", "f0 0f b1 0b", "0f c1 0b",
        "f0 0f c1 0b", "0f ba 2b 03", "0f a4 0b 03", "0f c7 0b", "f0 0f c7 0b", "80 23 0f",
    ];
    for code in codes {
        for (rights, error) in [(READ, 7), (NO_PAGE, 6)] {
            let mut m = paged(true, &[rights]);
            m.cpu().gpr[RBX] = PAGES + 8;
            m.run(&hex(code), 1);
            let (vector, [pushed, ..]) = taken(&mut m);
            assert_eq!((vector, pushed, m.cpu().cr2), (PF.into(), error, PAGES + 8), "{code} {rights}");
        }
        // The dirty bit comes with the load.
        let mut m = paged(true, &[WRITE]);
        m.cpu().gpr[RBX] = PAGES + 8;
        m.run(&hex(code), 1);
        assert_eq!(m.read(TABLE) as u32 & 0x60, 0x60, "{code}");
    }
    // Those that only read do not write.
    for code in ["39 03", "85 03", "0f a3 0b", "ff 33", "f7 23", "0f ba 23 01", "03 03"] {
        let mut m = paged(true, &[READ]);
        m.cpu().gpr[RBX] = PAGES + 8;
        m.cpu().gpr[RSP] = 0x9000;
        m.run(&hex(code), 1);
        assert_eq!((m.read(TABLE) as u32 & 0x60, m.cpu().cpl), (0x20, 3), "{code}");
    }
}

#[test]
fn code_goes_with_its_address_space() {
    const OTHER_DIRECTORY: u64 = 0x10_2000;
    const OTHER_TABLE: u64 = 0x10_3000;
    for level3 in [true, false] {
        // The same address is another page in the other space: `mov eax, 1` and `mov eax, 2`.
        let mut m = paged(level3, &[READ]);
        m.write(OTHER_DIRECTORY, &0x87u32.to_le_bytes());
        m.write(OTHER_DIRECTORY + 4, &(OTHER_TABLE as u32 | 7).to_le_bytes());
        m.write(OTHER_TABLE, &((BEHIND as u32 + 0x1000) | READ).to_le_bytes());
        m.write(BEHIND, &hex("b8 01 00 00 00"));
        m.write(BEHIND + 0x1000, &hex("b8 02 00 00 00"));
        for (directory, expected) in [(DIRECTORY, 1), (OTHER_DIRECTORY, 2), (DIRECTORY, 1)] {
            write_cr3(&mut m.vcpu.env, directory).unwrap();
            m.cpu().set_rip(PAGES);
            m.step(1);
            assert_eq!(m.cpu().gpr[RAX], expected, "level 3: {level3}");
        }
    }
}

#[test]
fn alignment_is_checked_at_level_3() {
    #[rustfmt::skip]
    let rows: &[(&str, bool)] = &[
        ("8b 43 01", true), ("8b 43 04", false), ("66 8b 43 02", false), ("66 8b 43 01", true), ("8a 43 01", false),
        ("89 43 02", true), ("01 43 02", true), ("f0 01 43 01", true), ("87 43 03", true), ("ff 73 02", true),
        ("dd 43 04", true), ("0f 10 43 01", false), ("a5", true), ("f3 a5", true),
    ];
    for (code, traps) in rows {
        for on in [true, false] {
            let mut m = paged(true, &[WRITE, WRITE]);
            let cpu = m.cpu();
            cpu.cr4 |= crate::control_regs::CR4_OSFXSR;
            cpu.cr0 |= if on { CR0_AM } else { 0 };
            cpu.set_rflags(flags::AC, flags::AC);
            cpu.gpr[RBX] = PAGES;
            (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RCX]) = (PAGES + 1, PAGES + 0x100, 3);
            m.run(&hex(code), 1);
            if on && *traps {
                let (vector, [error, ..]) = taken(&mut m);
                assert_eq!((vector, error), (AC.into(), 0), "{code}");
            } else {
                assert_eq!(m.cpu().cpl, 3, "{code}");
            }
        }
    }
}

#[test]
fn strings_are_exact_at_a_fault() {
    // rep movsb over the end of what can be written, from the middle of a page on; rep stosd likewise; repe cmpsb and
    // repne scasb to what cannot be read.
    let (from, to) = (PAGES + 0x800, PAGES + 0x2900);
    #[rustfmt::skip]
    let rows: &[(&str, u64, u64, u64, u64)] = &[
        // code, ECX before, ECX, ESI and EDI at the fault
        ("f3 a4", 0x2000, 0x2000 - 0x700, from + 0x700, PAGES + 0x3000),
        ("f3 ab", 0x2000, 0x2000 - 0x700 / 4, from, PAGES + 0x3000),
        ("f3 a6", 0x2000, 0x2000 - 0x700, from + 0x700, PAGES + 0x3000),
        ("f2 ae", 0x2000, 0x2000 - 0x700, from, PAGES + 0x3000),
        ("f3 ad", 0x2000, 0x2000 - 0x2800 / 4, PAGES + 0x3000, to),
    ];
    for (code, count, left, source, target) in rows {
        let mut m = paged(true, &[WRITE, WRITE, WRITE, NO_PAGE]);
        let cpu = m.cpu();
        (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RCX], cpu.gpr[RAX]) = (from, to, *count, 0x0102_0304);
        m.write(CODE, &hex(code));
        m.cpu().set_rip(CODE);
        for _ in 0..20 {
            m.step(1);
            if m.cpu().cpl == 0 {
                break;
            }
        }
        assert_eq!(taken(&mut m).0, u64::from(PF), "{code}");
        let cpu = m.cpu();
        assert_eq!((cpu.gpr[RCX], cpu.gpr[RSI], cpu.gpr[RDI]), (*left, *source, *target), "{code}");
        assert_eq!(cpu.cr2, PAGES + 0x3000, "{code}");
    }
}

#[test]
fn strings_repeat_what_they_have_stored() {
    // rep movsb from n bytes before the target makes a pattern of n bytes; of words the bytes between are read again, too.
    for (code, bytes, distance) in
        [("f3 a4", 1u64, 1u64), ("f3 a4", 1, 3), ("66 f3 a5", 2, 1), ("f3 a5", 4, 3), ("f3 a5", 4, 8)]
    {
        let mut m = paged(true, &[WRITE, WRITE]);
        let mut expected: Vec<u8> = (0..0x200u32).map(|n| (n * 7 + 1) as u8).collect();
        m.write(BEHIND, &expected);
        let cpu = m.cpu();
        (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RCX]) = (PAGES, PAGES + distance, 50);
        m.run(&hex(code), 1);
        for n in 0..50 {
            let at = n * bytes as usize;
            let unit: Vec<u8> = expected[at..at + bytes as usize].to_vec();
            expected[at + distance as usize..][..bytes as usize].copy_from_slice(&unit);
        }
        let got: Vec<u8> = (0..0x200).map(|n| m.read(BEHIND + n) as u8).collect();
        assert_eq!(got, expected, "{code} {distance}");
    }
    // Comparisons stop where they should.
    let mut m = paged(true, &[WRITE, WRITE]);
    m.write(BEHIND + 0x70, b"x");
    m.write(BEHIND + 0x1070, b"y");
    let cpu = m.cpu();
    (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RCX]) = (PAGES, PAGES + 0x1000, 0x1000);
    m.run(&hex("f3 a6"), 1);
    let cpu = m.cpu();
    assert_eq!((cpu.gpr[RSI], cpu.gpr[RCX], cpu.status_flags() & flags::CF), (PAGES + 0x71, 0x1000 - 0x71, flags::CF));
    // The limit of the segment counts.
    let mut m = paged(true, &[WRITE, WRITE]);
    let segment = m.cpu().segment(ES);
    m.cpu().set_segment(ES, Segment { limit: PAGES as u32 + 0x17, ..segment });
    (m.cpu().gpr[RDI], m.cpu().gpr[RCX]) = (PAGES, 0x100);
    m.run(&hex("f3 ab"), 1);
    assert_eq!((taken(&mut m).0, m.cpu().gpr[RDI], m.cpu().gpr[RCX]), (GP.into(), PAGES + 0x18, 0x100 - 6));
}

#[test]
fn every_instruction_is_within_the_limit_of_code() {
    // The limit ends with the second instruction: the third is not executed.
    let mut m = protected();
    let code = m.cpu().segment(crate::segment::CS);
    m.cpu().set_segment(crate::segment::CS, Segment { limit: CODE as u32 + 1, ..code });
    m.write(CODE, &hex("40 40 40 40"));
    m.cpu().set_rip(CODE);
    m.step(3);
    // Handlers are beyond the limit of nothing: their selector is loaded anew.
    assert_eq!((taken(&mut m).0, m.cpu().gpr[RAX]), (GP.into(), 2));
    assert_eq!(taken(&mut m).1[1], CODE as u32 + 2);
}

/// How long REP MOVSB and REP STOSD of 64 KiB take: `cargo test --release -p x86 strings_take -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn strings_take() {
    for (code, unit) in [("f3 a4", 1u64), ("f3 a5", 4), ("f3 ab", 4), ("f3 a6", 1), ("f2 ae", 1)] {
        let mut m = paged(true, &[WRITE; 64]);
        m.write(CODE, &hex(code));
        m.cpu().gpr[RAX] = 0x0101_0101;
        let begin = std::time::Instant::now();
        const TIMES: u32 = 64;
        for _ in 0..TIMES {
            let cpu = m.cpu();
            (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RCX]) = (PAGES, PAGES + 0x1_0000, 0x1_0000 / unit);
            cpu.set_rip(CODE);
            while m.cpu().gpr[RCX] != 0 && m.cpu().rip() == CODE {
                m.step(1);
            }
        }
        let mib = f64::from(TIMES) / 16.0;
        eprintln!("{code}: {:.1} us per MiB", begin.elapsed().as_secs_f64() * 1e6 / mib);
    }
}
