//! Instructions, one line each: code, what is before, what is after.

use crate::flags::{AF, CF, FIXED, OF, PF, SF, STATUS, ZF};
use crate::segment::CS;
use crate::state::{RAX, RBX, RCX, RDX, RSP};
use crate::testing::{CODE, Machine, STACK};

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Runs one 64-bit instruction with RAX, RCX, RDX, RBX and flags given; gives them as they are after.
fn one(code: &str, gpr: [u64; 4], flags: u64) -> ([u64; 4], u64) {
    let mut m = Machine::flat("max", 64);
    m.cpu().gpr[..4].copy_from_slice(&gpr);
    m.cpu().set_status_flags(flags);
    let code = hex(code);
    m.run(&code, 1);
    let cpu = m.cpu();
    assert_eq!(cpu.rip(), CODE + code.len() as u64, "the instruction faulted");
    ([cpu.gpr[RAX], cpu.gpr[RCX], cpu.gpr[RDX], cpu.gpr[RBX]], cpu.status_flags())
}

#[test]
fn arithmetic_sets_registers_and_flags() {
    type Row = (&'static str, [u64; 4], u64, [u64; 4], u64);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        // add eax, ecx: the upper half is cleared
        ("01 c8", [0xffff_ffff_ffff_ffff, 1, 0, 0], 0, [0, 1, 0, 0], CF | PF | AF | ZF),
        // add al, cl: the rest stays
        ("00 c8", [0x1122_3344_5566_77ff, 1, 0, 0], 0, [0x1122_3344_5566_7700, 1, 0, 0], CF | PF | AF | ZF),
        // add ah, cl
        ("00 cc", [0x7f00, 1, 0, 0], 0, [0x8000, 1, 0, 0], OF | SF | AF),
        // sub rax, rcx
        ("48 29 c8", [0, 1, 0, 0], 0, [u64::MAX, 1, 0, 0], CF | PF | AF | SF),
        // adc eax, ecx; sbb eax, ecx
        ("11 c8", [0xffff_ffff, 0, 0, 0], CF, [0, 0, 0, 0], CF | PF | AF | ZF),
        ("19 c8", [0, 0xffff_ffff, 0, 0], CF, [0, 0xffff_ffff, 0, 0], CF | PF | AF | ZF),
        // cmp ax, cx
        ("66 39 c8", [0x8000, 1, 0, 0], 0, [0x8000, 1, 0, 0], OF | PF | AF),
        // inc eax keeps CF; dec
        ("ff c0", [0x7fff_ffff, 0, 0, 0], CF, [0x8000_0000, 0, 0, 0], CF | OF | SF | AF | PF),
        ("ff c8", [0, 0, 0, 0], 0, [0xffff_ffff, 0, 0, 0], SF | AF | PF),
        // neg rax; not eax
        ("48 f7 d8", [1, 0, 0, 0], 0, [u64::MAX, 0, 0, 0], CF | SF | AF | PF),
        ("f7 d0", [1, 0, 0, 0], CF | ZF, [0xffff_fffe, 0, 0, 0], CF | ZF),
        // and, test, xor same
        ("21 c8", [0xf0, 0x80, 0, 0], CF | OF, [0x80, 0x80, 0, 0], 0),
        ("31 c0", [5, 0, 0, 0], CF, [0, 0, 0, 0], ZF | PF),
        // mul ecx; imul rax, rcx, -3
        ("f7 e1", [0xffff_ffff, 2, 0, 0], 0, [0xffff_fffe, 2, 1, 0], CF | OF | SF),
        ("48 6b c1 fd", [0, 5, 0, 0], 0, [(-15i64) as u64, 5, 0, 0], SF),
        // div ecx; idiv rcx
        ("f7 f1", [7, 2, 0, 0], 0, [3, 2, 1, 0], 0),
        ("48 f7 f9", [(-7i64) as u64, 2, u64::MAX, 0], 0, [(-3i64) as u64, 2, u64::MAX, 0], 0),
        // shl eax, 4; shl eax, cl with 0 and 33; sar; rol; rcr
        ("c1 e0 04", [0x1000_0001, 0, 0, 0], 0, [0x10, 0, 0, 0], CF | OF),
        ("d3 e0", [1, 32, 0, 0], CF | ZF, [1, 32, 0, 0], CF | ZF),
        ("d3 e0", [1, 33, 0, 0], CF | ZF, [2, 33, 0, 0], 0),
        ("48 d1 f8", [0x8000_0000_0000_0001, 0, 0, 0], 0, [0xc000_0000_0000_0000, 0, 0, 0], CF | SF | PF),
        ("66 c1 c0 04", [0xa1234, 0, 0, 0], 0, [0xa2341, 0, 0, 0], CF | OF),
        ("d1 d8", [1, 0, 0, 0], CF, [0x8000_0000, 0, 0, 0], CF | OF),
        ("c0 d0 09", [0x81, 0, 0, 0], CF, [0x81, 0, 0, 0], CF),
        // shld eax, ecx, 8
        ("0f a4 c8 08", [0x1122_3344, 0xaabb_ccdd, 0, 0], 0, [0x2233_44aa, 0xaabb_ccdd, 0, 0], CF | PF),
        // bsf of zero leaves the register; bsr; tzcnt; popcnt
        ("0f bc c1", [77, 0, 0, 0], 0, [77, 0, 0, 0], ZF | PF),
        ("0f bd c1", [0, 0x10, 0, 0], 0, [4, 0x10, 0, 0], 0),
        ("f3 0f bc c1", [9, 0, 0, 0], 0, [32, 0, 0, 0], CF),
        ("f3 48 0f b8 c1", [0, u64::MAX, 0, 0], CF | SF, [64, u64::MAX, 0, 0], 0),
        // bt eax, 31; bts
        ("0f ba e0 1f", [0x8000_0000, 0, 0, 0], 0, [0x8000_0000, 0, 0, 0], CF),
        ("0f ab c8", [0, 3, 0, 0], 0, [8, 3, 0, 0], 0),
        // cmpxchg ecx, edx: equal, and not
        ("0f b1 d1", [5, 5, 9, 0], 0, [5, 9, 9, 0], ZF | PF),
        ("0f b1 d1", [5, 6, 9, 0], 0, [6, 6, 9, 0], CF | SF | AF | PF),
        // xadd, xchg, bswap, movsx, movzx, cdq
        ("0f c1 c8", [1, 2, 0, 0], 0, [3, 1, 0, 0], PF),
        ("48 91", [1, 2, 0, 0], 0, [2, 1, 0, 0], 0),
        ("48 0f c8", [0x0102_0304_0506_0708, 0, 0, 0], 0, [0x0807_0605_0403_0201, 0, 0, 0], 0),
        ("0f be c1", [0, 0x80, 0, 0], 0, [0xffff_ff80, 0x80, 0, 0], 0),
        ("0f b6 c5", [0, 0x1234, 0, 0], 0, [0x12, 0x1234, 0, 0], 0),
        ("99", [0x8000_0000, 0, 0, 0], 0, [0x8000_0000, 0, 0xffff_ffff, 0], 0),
        // cmovz with upper half; setle; lahf, sahf
        ("0f 44 c1", [u64::MAX, 1, 0, 0], 0, [0xffff_ffff, 1, 0, 0], 0),
        ("0f 9e c0", [0, 0, 0, 0], SF, [1, 0, 0, 0], SF),
        ("9f", [0, 0, 0, 0], CF | SF, [0x8300, 0, 0, 0], CF | SF),
        ("9e", [0xd500, 0, 0, 0], OF, [0xd500, 0, 0, 0], CF | PF | AF | ZF | SF | OF),
        // lea; andn; pext; crc32
        ("48 8d 44 48 10", [1, 2, 0, 0], CF, [0x15, 2, 0, 0], CF),
        ("c4 e2 70 f2 c2", [0, 0xf, 0xff, 0], CF, [0xf0, 0xf, 0xff, 0], 0),
        ("c4 e2 f2 f5 c2", [0, 0x1234, 0xff00, 0], 0, [0x12, 0x1234, 0xff00, 0], 0),
        ("f2 0f 38 f1 c1", [0, 1, 0, 0], 0, [0xdd45_aab8, 1, 0, 0], 0),
    ];
    for (code, before, flags, after, flags_after) in rows {
        let (got, got_flags) = one(code, *before, *flags);
        let defined = STATUS;
        assert_eq!(got, *after, "{code}: registers {got:x?}");
        if !["f7 e1", "48 6b", "f7 f1", "48 f7 f9", "c4 e2 70"].iter().any(|loose| code.starts_with(loose)) {
            assert_eq!(got_flags & defined, *flags_after, "{code}: flags {got_flags:#x}");
        }
    }
}

#[test]
fn the_stack_and_calls() {
    let mut m = Machine::flat("max", 64);
    // push rax; pop rcx; call +1; nop; ret
    m.cpu().gpr[RAX] = 0x1234_5678_9abc_def0;
    m.run(&hex("50 59 e8 01 00 00 00 f4 c3"), 2);
    assert_eq!((m.cpu().gpr[RCX], m.cpu().gpr[RSP]), (0x1234_5678_9abc_def0, STACK));
    m.step(1);
    assert_eq!((m.cpu().rip(), m.read(STACK - 8)), (CODE + 8, CODE + 7));
    m.step(1);
    assert_eq!((m.cpu().rip(), m.cpu().gpr[RSP]), (CODE + 7, STACK));
}

/// Executes one 64-bit instruction that faults; gives vector and error code, and the RIP and RSP that were pushed.
fn fault_of(code: &str, prepare: fn(&mut Machine)) -> (u64, u64, u64, u64) {
    let mut m = Machine::flat("max", 64);
    m.write(0x9008, &0x00af_9b00_0000_ffffu64.to_le_bytes());
    m.cpu().gdtr = crate::segment::Table { base: 0x9000, limit: 15 };
    m.cpu().idtr = crate::segment::Table { base: 0xa000, limit: 0x1ff };
    for vector in 0..32u64 {
        m.write(0xa000 + 16 * vector, &((0x3000 + 16 * vector) | 8 << 16 | 0x8e00 << 32).to_le_bytes());
    }
    // A stack of its own, for faults with a bad stack pointer.
    m.cpu().tr.base = 0xb000;
    m.cpu().tr.limit = 0x67;
    m.write(0xb000 + 36, &0x7000u64.to_le_bytes());
    for vector in 0..32u64 {
        m.write(0xa004 + 16 * vector, &[1]);
    }
    prepare(&mut m);
    m.run(&hex(code), 1);
    let vector = (m.cpu().rip() - 0x3000) / 16;
    let frame = m.cpu().gpr[RSP];
    (vector, m.read(frame), m.read(frame + 8), m.read(frame + 32))
}

#[test]
fn branches_to_addresses_that_are_not_canonical_fault_themselves() {
    // ret; jmp rax; call rax
    for code in ["c3", "ff e0", "ff d0"] {
        let fault = fault_of(code, |m| {
            m.cpu().gpr[RAX] = 1 << 47;
            m.write(STACK, &(1u64 << 47).to_le_bytes());
        });
        assert_eq!(fault, (13, 0, CODE, STACK), "{code}");
    }
}

#[test]
fn stack_faults_of_addresses_that_are_not_canonical() {
    // mov al, [rbp]; mov al, [rsp + rax]; push rax: through SS. mov al, [rax]: not.
    for (code, vector) in [("8a 45 00", 12), ("8a 04 04", 12), ("50", 12), ("8a 00", 13)] {
        let fault = fault_of(code, |m| {
            let cpu = m.cpu();
            (cpu.gpr[RAX], cpu.gpr[crate::state::RBP], cpu.gpr[RSP]) = (1 << 48, 1 << 48, 1 << 48);
        });
        assert_eq!(fault, (vector, 0, CODE, 1 << 48), "{code}");
    }
}

#[test]
fn page_faults_of_read_modify_writes_are_those_of_writes() {
    // add [rax], cl; xchg [rax], rcx; lock inc dword [rax]; mov cl, [rax]; cmp [rax], cl; push [rax]
    for (code, error) in [("00 08", 2), ("48 87 08", 2), ("f0 ff 00", 2), ("8a 08", 0), ("38 08", 0), ("ff 30", 0)] {
        let fault = fault_of(code, |m| m.cpu().gpr[RAX] = 0x40_0000);
        assert_eq!(fault, (14, error, CODE, STACK), "{code}");
    }
}

#[test]
fn locked_accesses_may_be_misaligned() {
    // lock add [rbx], rax; xchg [rbx], rax; lock cmpxchg8b [rbx]; each also over the end of a line and of a page
    for at in [0x5003u64, 0x503d, 0x5ffd] {
        for (code, memory, rax) in [
            ("f0 48 01 03", 0x1122_3344_5566_7789, 1),
            ("48 87 03", 1, 0x1122_3344_5566_7788),
            ("f0 0f c7 0b", 0x1122_3344_5566_7788, 0x5566_7788),
        ] {
            let mut m = Machine::flat("max", 64);
            m.write(at, &0x1122_3344_5566_7788u64.to_le_bytes());
            (m.cpu().gpr[RAX], m.cpu().gpr[RBX]) = (1, at);
            let code = hex(&format!("{code} 90 f4"));
            m.run(&code, 2);
            assert_eq!((m.read(at), m.cpu().gpr[RAX]), (memory, rax), "{code:x?} at {at:#x}");
        }
    }
}

#[test]
fn nops_and_what_looks_like_one() {
    // endbr64; nop with a register and with memory that is not there; repz xchg r8, rax; pause
    for code in ["f3 0f 1e fa", "0f 1f c0", "0f 19 00", "f3 49 90", "f3 90"] {
        let swapped = code == "f3 49 90";
        let (after, _) = one(code, [0x40_0000, 0, 0, 0], 0);
        assert_eq!(after[0], if swapped { 0 } else { 0x40_0000 }, "{code}");
    }
}

#[test]
fn arpl_raises_the_privilege_level() {
    let mut m = Machine::flat("max", 32);
    // arpl ecx, eax
    (m.cpu().gpr[RAX], m.cpu().gpr[RCX]) = (3, 0x1234_5671);
    m.run(&hex("63 c1"), 1);
    assert_eq!((m.cpu().gpr[RCX], m.cpu().status_flags() & ZF), (0x1234_5673, ZF));
}

#[test]
fn xlat_adds_al() {
    let mut m = Machine::flat("max", 64);
    m.write(0x5080, &[0x77]);
    (m.cpu().gpr[RAX], m.cpu().gpr[RBX]) = (0x1180, 0x5000);
    m.run(&hex("d7"), 1);
    assert_eq!(m.cpu().gpr[RAX], 0x1177);
}

#[test]
fn string_instructions_repeat() {
    let mut m = Machine::flat("max", 64);
    m.write(0x5000, b"hello, world\0");
    // rep movsb; then repne scasb
    let cpu = m.cpu();
    (cpu.gpr[crate::state::RSI], cpu.gpr[crate::state::RDI], cpu.gpr[RCX]) = (0x5000, 0x6000, 13);
    m.run(&hex("f3 a4 b9 ff ff ff ff bf 00 60 00 00 31 c0 f2 ae"), 5);
    assert_eq!(m.read(0x6000), u64::from_le_bytes(*b"hello, w"));
    assert_eq!((m.cpu().gpr[RCX], m.cpu().gpr[crate::state::RDI]), (0xffff_ffff - 13, 0x600d));
    assert_eq!(m.cpu().status_flags() & ZF, ZF);
}

#[test]
fn real_mode_wraps_and_faults() {
    let mut m = Machine::new("486");
    let cpu = m.cpu();
    cpu.load_real_segment(CS, 0x100);
    cpu.set_rip(0);
    // A jump backwards over zero: jmp -5 at 0 leads to 0xfffe of the segment.
    m.write(0x1000, &hex("eb fc"));
    m.step(1);
    assert_eq!(m.cpu().rip(), 0xfffe);
    // Segment and offset: mov ax, 0x2000; mov ds, ax; mov [0x10], al
    let cpu = m.cpu();
    cpu.set_rip(0);
    m.write(0x1000, &hex("b8 34 12 8e d8 a2 10 00"));
    m.step(3);
    assert_eq!((m.read(0x12350) & 0xff, m.cpu().bases[crate::segment::DS]), (0x34, 0x12340));
    // int 0x20 through the table at 0, and iret.
    m.write(0x80, &hex("00 03 00 00"));
    m.write(0x300, &hex("cf"));
    let cpu = m.cpu();
    cpu.load_real_segment(crate::segment::SS, 0);
    cpu.gpr[RSP] = 0x8000;
    cpu.set_rip(0);
    m.write(0x1000, &hex("cd 20"));
    m.step(1);
    assert_eq!((m.cpu().selectors[CS], m.cpu().rip(), m.read(0x7ffa) & 0xffff_ffff), (0, 0x300, 0x0100_0002));
    m.step(1);
    assert_eq!((m.cpu().selectors[CS], m.cpu().rip(), m.cpu().gpr[RSP]), (0x100, 2, 0x8000));
}

#[test]
fn undefined_instructions_reach_their_handler() {
    let mut m = Machine::new("486");
    m.write(6 * 4, &hex("00 04 00 00"));
    let cpu = m.cpu();
    cpu.load_real_segment(CS, 0x100);
    cpu.gpr[RSP] = 0x8000;
    cpu.set_rip(0);
    // cpuid and cmov on a processor that has neither, and ud2.
    for code in ["0f 40 c0", "0f 0b"] {
        m.cpu().load_real_segment(CS, 0x100);
        m.cpu().set_rip(0);
        m.write(0x1000, &hex(code));
        m.step(1);
        assert_eq!(m.cpu().rip(), 0x400, "{code}");
    }
    assert_eq!(m.cpu().gpr[RBX] + m.cpu().gpr[RDX], 0x480);
    let flags = m.cpu().rflags();
    assert_eq!(flags & FIXED, FIXED);
}

#[test]
fn instructions_go_on_in_the_next_page() {
    // mov eax, 0x12345678 with two bytes before the end of the page; jmp back to it; the next page changes in between.
    let mut m = Machine::flat("max", 64);
    m.write(0x1ffe, &hex("b8 78 56 34 12 eb f9"));
    m.cpu().set_rip(0x1ffe);
    m.step(1);
    assert_eq!((m.cpu().gpr[RAX], m.cpu().rip()), (0x1234_5678, 0x2003));
    m.step(2);
    assert_eq!(m.cpu().rip(), 0x2003);
    m.write(0x2000, &hex("21 43 65"));
    m.step(2);
    assert_eq!(m.cpu().gpr[RAX], 0x6543_2178);
}

#[test]
fn a_store_changes_the_next_instruction() {
    let mut m = Machine::flat("max", 64);
    // mov byte [rip + 1], 7 changes the constant of the mov eax, 1 that follows; all is one block.
    m.run(&hex("c6 05 01 00 00 00 07 b8 01 00 00 00 90"), 3);
    assert_eq!((m.cpu().gpr[RAX], m.cpu().rip()), (7, CODE + 13));
    // Once more, now that the code is known: it holds 7 and becomes 9.
    m.write(CODE + 6, &[9]);
    m.cpu().set_rip(CODE);
    m.step(2);
    assert_eq!(m.cpu().gpr[RAX], 9);
    // By a string instruction and by a locked one, which is not aligned: lock or [rip + 2], ecx; mov eax, 0.
    m.cpu().gpr[RCX] = 0x0000_0500;
    m.run(&hex("f0 09 0d 00 00 00 00 b8 00 00 00 00"), 2);
    assert_eq!(m.cpu().gpr[RAX], 5);
}
