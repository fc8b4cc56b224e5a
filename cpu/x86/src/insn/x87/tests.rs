//! x87 instructions, one line each: code, stack, memory before and after.

use crate::control_regs::{CR0_EM, CR0_NE, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE};
use crate::flags::{CF, PF, ZF};
use crate::fpu::{B, C0, C1, C2, C3, DE, ES, IE, OE, PE, SF, UE, ZE};
use crate::segment::CS;
use crate::state::{RAX, RBX, RDX, RSP, X87};
use crate::testing::{CODE, Machine};
use crate::wiring::OUT_FERR;
use softfloat::x87::{Context, Extended, F80};

/// Where operands in memory are.
const DATA: u64 = 0x5000;
const ONE: u64 = 1 << 63;

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A number as the unit has it.
fn f(value: f64) -> F80 {
    let mut context = Context::DEFAULT;
    context.load(Extended::from_f64(value.to_bits()))
}

fn raw(sign_exponent: u16, significand: u64) -> F80 {
    F80 { sign_exponent, significand }
}

fn read_wide(m: &Machine) -> u128 {
    u128::from(m.read(DATA)) | u128::from(m.read(DATA + 8)) << 64
}

/// A 64-bit machine with a control word, a stack (ST(0) first), and memory that RBX points to.
fn machine(control: u16, stack: &[F80], memory: u128) -> Machine {
    let mut m = Machine::flat("max", 64);
    m.write(DATA, &memory.to_le_bytes());
    let cpu = m.cpu();
    cpu.cr0 |= CR0_NE;
    cpu.gpr[RBX] = DATA;
    cpu.init_x87();
    cpu.set_x87_control(control);
    for value in stack.iter().rev() {
        cpu.push_st(*value);
    }
    cpu.update_mode();
    m
}

/// Executes one instruction, which does not fault.
fn one(control: u16, code: &str, stack: &[F80], memory: u128) -> Machine {
    let mut m = machine(control, stack, memory);
    let code = hex(code);
    m.run(&code, 1);
    assert_eq!(m.cpu().rip(), CODE + code.len() as u64, "{code:x?} faulted");
    m
}

/// What is on the stack.
fn stack(m: &mut Machine) -> Vec<F80> {
    let cpu = m.cpu();
    (0..8).take_while(|n| !cpu.st_is_empty(*n)).map(|n| cpu.st(n)).collect()
}

/// The status word without TOP.
fn status(m: &mut Machine) -> u16 {
    m.cpu().x87_status() & !0x3800
}

#[test]
fn arithmetic_in_all_forms() {
    let (a, b) = (1.5, 2.25);
    #[rustfmt::skip]
    let rows: &[(&str, &[f64])] = &[
        ("d8 c1", &[a + b, b]),
        ("d8 c9", &[a * b, b]),
        ("d8 e1", &[a - b, b]),
        ("d8 e9", &[b - a, b]),
        ("d8 f1", &[a / b, b]),
        ("d8 f9", &[b / a, b]),
        ("dc c1", &[a, a + b]),
        ("dc e1", &[a, a - b]),
        ("dc e9", &[a, b - a]),
        ("dc f9", &[a, b / a]),
        ("de c1", &[a + b]),
        ("de c9", &[a * b]),
        ("de e1", &[a - b]),
        ("de e9", &[b - a]),
        ("de f1", &[a / b]),
        ("de f9", &[b / a]),
        ("d9 c9", &[b, a]),
        ("d9 c1", &[b, a, b]),
        ("dd d1", &[a, a]),
        ("dd d9", &[a]),
        ("d9 e0", &[-a, b]),
        ("d9 fd", &[a * 4.0, b]),
        ("d9 fc", &[2.0, b]),
        ("d9 f8", &[a, b]),
        ("d9 f5", &[a - b, b]),
        ("d9 f4", &[1.5, 0.0, b]),
        ("d9 e8", &[1.0, a, b]),
        ("d9 ee", &[0.0, a, b]),
    ];
    // To 53 bits, so that the quotients are those of double precision.
    for (code, after) in rows {
        let mut m = one(0x27f, code, &[f(a), f(b)], 0);
        assert_eq!(stack(&mut m), after.iter().map(|v| f(*v)).collect::<Vec<_>>(), "{code}");
    }
}

#[test]
fn operands_in_memory() {
    let double = |v: f64| u128::from(v.to_bits());
    let single = |v: f32| u128::from(v.to_bits());
    #[rustfmt::skip]
    let rows: &[(&str, u128, &[f64])] = &[
        ("dc 03", double(2.5), &[4.0]),
        ("d8 03", single(2.5), &[4.0]),
        ("dc 2b", double(2.5), &[1.0]),
        ("da 03", 0xffff_fffe, &[-0.5]),
        ("de 0b", 0xfffe, &[-3.0]),
        ("dd 03", double(-7.0), &[-7.0, 1.5]),
        ("d9 03", single(-7.0), &[-7.0, 1.5]),
        ("df 03", 0x8000, &[-32768.0, 1.5]),
        ("db 03", 0x8000_0000, &[-2147483648.0, 1.5]),
        ("df 2b", u64::MAX as u128, &[-1.0, 1.5]),
        ("df 23", 0x8000_0000_0000_0012_3456, &[-123456.0, 1.5]),
        ("db 2b", 0x4000_c000_0000_0000_0000, &[3.0, 1.5]),
    ];
    for (code, memory, after) in rows {
        let mut m = one(0x37f, code, &[f(1.5)], *memory);
        assert_eq!(stack(&mut m), after.iter().map(|v| f(*v)).collect::<Vec<_>>(), "{code}");
        assert_eq!(status(&mut m), 0, "{code}");
    }
}

#[test]
fn stores() {
    let rest = 0x5a5a_5a5a_5a5a_5a5a_5a5a_5a5a_5a5a_5a5au128;
    let low = |bytes: u32, v: u128| v | rest >> (8 * bytes) << (8 * bytes);
    #[rustfmt::skip]
    let rows: &[(&str, f64, u32, u128, usize, u16)] = &[
        ("dd 13", -2.5, 8, u128::from((-2.5f64).to_bits()), 1, 0),
        ("dd 1b", -2.5, 8, u128::from((-2.5f64).to_bits()), 0, 0),
        ("d9 1b", 0.1, 4, u128::from(0.1f32.to_bits()), 0, PE | C1),
        ("db 3b", 3.0, 10, 0x4000_c000_0000_0000_0000, 0, 0),
        ("df 13", -2.5, 2, 0xfffe, 1, PE),
        ("db 1b", 3.5, 4, 4, 0, PE | C1),
        ("db 0b", -3.75, 4, 0xffff_fffd, 0, PE),
        ("df 3b", 1e30, 8, 1 << 63, 0, IE),
        ("df 1b", 40000.0, 2, 0x8000, 0, IE),
        ("df 33", -123456.0, 10, 0x8000_0000_0000_0012_3456, 0, 0),
        ("df 33", 1e18, 10, 0xffff_c000_0000_0000_0000, 0, IE),
    ];
    for (code, value, bytes, memory, left, flags) in rows {
        let mut m = one(0x37f, code, &[f(*value)], rest);
        assert_eq!(read_wide(&m), low(*bytes, *memory), "{code}");
        assert_eq!((stack(&mut m).len(), status(&mut m)), (*left, *flags), "{code}");
    }
}

#[test]
fn comparisons() {
    let nan = F80::INDEFINITE;
    #[rustfmt::skip]
    let rows: &[(&str, F80, F80, u16, usize)] = &[
        ("d8 d1", f(1.0), f(2.0), C0, 2),
        ("d8 d9", f(2.0), f(1.0), 0, 1),
        ("de d9", f(2.0), f(2.0), C3, 0),
        ("d8 d1", nan, f(2.0), C0 | C2 | C3 | IE, 2),
        ("dd e1", nan, f(2.0), C0 | C2 | C3, 2),
        ("da e9", f(-1.0), f(2.0), C0, 0),
        ("d9 e4", f(-1.0), f(2.0), C0, 2),
        ("d9 e5", f(-1.0), f(2.0), C1 | C2, 2),
        ("d9 e5", f(0.0), f(2.0), C3, 2),
        ("d9 e5", nan, f(2.0), C0 | C1, 2),
        ("d9 e5", raw(0x7fff, ONE), f(2.0), C0 | C2, 2),
        ("d9 e5", raw(0, 1), f(2.0), C2 | C3, 2),
        ("d9 e5", raw(0x4000, 1), f(2.0), 0, 2),
    ];
    for (code, a, b, flags, left) in rows {
        let mut m = one(0x37f, code, &[*a, *b], 0);
        assert_eq!((status(&mut m), stack(&mut m).len()), (*flags, *left), "{code}");
    }
    for (code, a, b, flags, left) in [
        ("db f1", 1.0, 2.0, CF, 2),
        ("df f1", 2.0, 2.0, ZF, 1),
        ("db e9", f64::NAN, 2.0, ZF | PF | CF, 2),
        ("df e9", 3.0, 2.0, 0, 1),
    ] {
        let mut m = one(0x37f, code, &[f(a), f(b)], 0);
        assert_eq!((m.cpu().status_flags(), stack(&mut m).len()), (flags, left), "{code}");
    }
    // fcmove and fcmovne with ZF set.
    for (code, expect) in [("da c9", 2.0), ("db c9", 1.0)] {
        let mut m = machine(0x37f, &[f(1.0), f(2.0)], 0);
        m.cpu().set_status_flags(ZF);
        m.run(&hex(code), 1);
        assert_eq!(m.cpu().st(0), f(expect), "{code}");
    }
}

#[test]
fn exceptions() {
    let tiny = raw(1, ONE);
    let huge = raw(0x7ffe, ONE);
    #[rustfmt::skip]
    let rows: &[(u16, &str, F80, F80, u16, F80)] = &[
        // Masked: 1 / 0, denormal + 1, tiny * tiny, huge * huge, inf - inf as 0 * inf.
        (0x37f, "d8 f1", f(1.0), f(0.0), ZE, raw(0x7fff, ONE)),
        (0x37f, "d8 c1", raw(0, 1), f(1.0), DE | PE, f(1.0)),
        (0x37f, "d8 c9", tiny, tiny, UE | PE, f(0.0)),
        (0x37f, "d8 c9", huge, huge, OE | PE | C1, raw(0x7fff, ONE)),
        (0x37f, "d8 c9", raw(0x7fff, ONE), f(0.0), IE, F80::INDEFINITE),
        // Not masked: the operand stays, or the result is scaled.
        (0x37b, "d8 f1", f(1.0), f(0.0), ZE | ES | B, f(1.0)),
        (0x37d, "d8 c1", raw(0, 1), f(1.0), DE | ES | B, raw(0, 1)),
        (0x36f, "d8 c9", tiny, tiny, UE | ES | B, raw(0x2003, ONE)),
        (0x377, "d8 c9", huge, huge, OE | ES | B, raw(0x5ffd, ONE)),
        (0x35f, "d9 fa", f(2.0), f(0.0), PE | ES | B, raw(0x3fff, 0xb504_f333_f9de_6484)),
        (0x37e, "d9 fa", f(-1.0), f(0.0), IE | ES | B, f(-1.0)),
    ];
    for (control, code, a, b, flags, after) in rows {
        let mut m = one(*control, code, &[*a, *b], 0);
        assert_eq!((status(&mut m), m.cpu().st(0)), (*flags, *after), "{code} {control:#x}");
    }
}

#[test]
fn faults_of_the_stack() {
    // Empty operands give the indefinite value, unless that is not masked.
    let mut m = one(0x37f, "d8 c1", &[f(1.0)], 0);
    assert_eq!((status(&mut m), m.cpu().st(0)), (IE | SF, F80::INDEFINITE));
    let mut m = one(0x37e, "d8 c1", &[f(1.0)], 0);
    assert_eq!((status(&mut m), m.cpu().st(0)), (IE | SF | ES | B, f(1.0)));
    // A full stack.
    let full = [f(1.0); 8];
    for code in ["d9 e8", "d9 c0", "dd 03", "d9 f2", "d9 fb", "d9 f4"] {
        let mut m = one(0x37f, code, &full, 0);
        assert_eq!((status(&mut m), m.cpu().st(0)), (IE | SF | C1, F80::INDEFINITE), "{code}");
        let mut m = one(0x37e, code, &full, 0);
        assert_eq!((status(&mut m), stack(&mut m)), (IE | SF | C1 | ES | B, full.to_vec()), "{code}");
    }
    // Stores of nothing.
    for (code, memory) in [("d9 13", 0xffc0_0000), ("df 13", 0x8000), ("db 3b", 0xffff_c000_0000_0000_0000)] {
        let mut m = one(0x37f, code, &[], 0);
        assert_eq!((read_wide(&m), status(&mut m)), (memory, IE | SF), "{code}");
        let mut m = one(0x37e, code, &[], 5);
        assert_eq!((read_wide(&m), status(&mut m)), (5, IE | SF | ES | B), "{code}");
    }
}

#[test]
fn functions() {
    #[rustfmt::skip]
    let rows: &[(&str, f64, f64, &[f64])] = &[
        ("d9 fa", 2.0, 1.0, &[core::f64::consts::SQRT_2, 1.0]),
        ("d9 fe", 0.5, 1.0, &[0.479425538604203, 1.0]),
        ("d9 ff", 0.5, 1.0, &[0.8775825618903728, 1.0]),
        ("d9 fb", 0.5, 1.0, &[0.8775825618903728, 0.479425538604203, 1.0]),
        ("d9 f2", 0.5, 1.0, &[1.0, 0.5463024898437905, 1.0]),
        ("d9 f3", 1.0, 2.0, &[1.1071487177940904]),
        ("d9 f0", 0.5, 1.0, &[core::f64::consts::SQRT_2 - 1.0, 1.0]),
        ("d9 f1", 10.0, 2.0, &[6.643856189774724]),
        ("d9 f9", 0.25, 2.0, &[0.6438561897747247]),
        ("d9 eb", 0.5, 1.0, &[core::f64::consts::PI, 0.5, 1.0]),
    ];
    for (code, a, b, after) in rows {
        let mut m = one(0x37f, code, &[f(*a), f(*b)], 0);
        let got = stack(&mut m);
        assert_eq!(got.len(), after.len(), "{code}");
        for (got, expect) in got.into_iter().zip(*after) {
            let mut context = Context::DEFAULT;
            let got = f64::from_bits(context.to_f64(got.into()));
            assert!((got - expect).abs() < 1e-15, "{code}: {got} for {expect}");
        }
    }
    // An argument that is too large stays.
    for code in ["d9 fe", "d9 ff", "d9 fb", "d9 f2"] {
        let mut m = one(0x37f, code, &[f(1e30)], 0);
        assert_eq!((stack(&mut m), status(&mut m)), (vec![f(1e30)], C2), "{code}");
    }
    // 13 is 4 times 3 and 1: the quotient's bits are in C0, C3 and C1.
    let mut m = one(0x37f, "d9 f8", &[f(13.0), f(3.0)], 0);
    assert_eq!((m.cpu().st(0), status(&mut m)), (f(1.0), C0));
}

/// A machine in real mode whose handler of vector n is at 0:0x600 + n, with code at 0x100:0 and BX = 0x5000.
fn real(code: &str) -> Machine {
    let mut m = Machine::new("max");
    for n in 0..32u32 {
        m.write(u64::from(n) * 4, &(0x600 + n).to_le_bytes());
    }
    m.write(CODE, &hex(code));
    let cpu = m.cpu();
    cpu.load_real_segment(CS, 0x100);
    cpu.set_rip(0);
    cpu.gpr[RSP] = 0x8000;
    cpu.gpr[RBX] = DATA;
    cpu.cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    cpu.cr0 |= CR0_NE;
    cpu.xcr0 = 7;
    cpu.init_x87();
    cpu.update_mode();
    m
}

#[test]
fn pending_exceptions_are_raised_by_waiting_instructions() {
    // fld1; fldz; fdivp; fnstsw ax; then each of these.
    for (waiting, vector) in
        [("d9 d0", Some(16)), ("9b", Some(16)), ("d9 2f", Some(16)), ("db e2", None), ("d9 3f", None)]
    {
        let mut m = real(&format!("d9 e8 d9 ee de f9 df e0 {waiting}"));
        m.cpu().set_x87_control(0x37b);
        m.step(4);
        assert_eq!(m.cpu().rip(), 8, "{waiting}");
        assert_eq!(m.cpu().gpr[RAX] as u16, ZE | ES | B | 6 << 11, "{waiting}");
        let fpu = m.cpu().fpu;
        assert_eq!((fpu.opcode, fpu.code_selector, fpu.code_offset), (0x6f9, 0x100, 4));
        m.step(1);
        match vector {
            Some(vector) => assert_eq!((m.cpu().rip(), m.read(0x7ffa) as u16), (0x600 + vector, 8), "{waiting}"),
            None => assert!(m.cpu().rip() > 8 && m.cpu().rip() < 0x600, "{waiting}"),
        }
    }
}

/// With CR0.NE clear exceptions leave by FERR#, and nothing is raised.
#[test]
fn exceptions_are_reported_outside() {
    // fld1; fldz; fdivp; fnop; fnclex
    let mut m = real("d9 e8 d9 ee de f9 d9 d0 db e2");
    m.cpu().cr0 &= !CR0_NE;
    m.cpu().set_x87_control(0x37b);
    let ferr = |m: &mut Machine| m.cpu().wires.outputs[OUT_FERR].is_high();
    m.step(2);
    assert!(!ferr(&mut m));
    m.step(1);
    assert!(ferr(&mut m));
    m.step(1);
    assert_eq!((m.cpu().rip(), ferr(&mut m)), (8, true));
    m.step(1);
    assert_eq!((m.cpu().rip(), ferr(&mut m)), (10, false));
}

#[test]
fn traps_of_the_control_register() {
    for (code, cr0, vector) in [
        ("d9 e8", CR0_TS, 7),
        ("d9 e8", CR0_EM, 7),
        ("9b", CR0_TS | 2, 7),
        ("0f ae 07", CR0_TS, 7),
        ("0f ae 17", CR0_EM, 6),
    ] {
        let mut m = real(code);
        m.cpu().cr0 |= cr0;
        m.cpu().update_mode();
        m.step(1);
        assert_eq!(m.cpu().rip(), 0x600 + vector, "{code}");
    }
    let mut m = real("9b");
    m.cpu().cr0 |= CR0_TS;
    m.cpu().update_mode();
    m.step(1);
    assert_eq!(m.cpu().rip(), 1);
}

#[test]
fn environments() {
    // In 64-bit code: fadd qword ptr [rbx + 8]; fnstenv [rbx + 32]; fninit; fldenv [rbx + 32].
    let mut m = machine(0x27f, &[f(1.0), f(2.0)], 0);
    m.run(&hex("dc 43 08 d9 73 20 db e3 d9 63 20"), 2);
    let word = |m: &Machine, n: u64| m.read(DATA + 32 + 4 * n) as u32;
    assert_eq!((word(&m, 0), word(&m, 1), word(&m, 2)), (0xffff_027f, 0xffff_3000, 0xffff_0fff));
    assert_eq!((word(&m, 3), word(&m, 4)), (CODE as u32, 0x443 << 16 | 8));
    assert_eq!((word(&m, 5), word(&m, 6)), (DATA as u32 + 8, 0xffff_0010));
    assert_eq!(m.cpu().fpu.control, 0x27f, "all exceptions were masked already");
    m.step(1);
    assert_eq!((m.cpu().x87_status(), m.cpu().x87_tags()), (0, 0xffff));
    m.step(1);
    assert_eq!((m.cpu().fpu.control, m.cpu().x87_status(), stack(&mut m)), (0x27f, 0x3000, vec![f(1.0), f(2.0)]));
    assert_eq!((m.cpu().fpu.opcode, m.cpu().fpu.data_offset), (0x443, DATA + 8));

    // fnsave and frstor, in 64 and in 16 bits.
    for (bits, code) in [(64, "dd 33 dd 23"), (64, "66 dd 33 66 dd 23"), (32, "dd 33 dd 23"), (16, "67 dd 33 67 dd 23")]
    {
        let mut m = Machine::flat("max", bits);
        let cpu = m.cpu();
        cpu.gpr[RBX] = DATA;
        cpu.init_x87();
        for value in [3.0, 2.0, 1.0] {
            cpu.push_st(f(value));
        }
        cpu.set_x87_status(cpu.x87_status() | C1 | PE);
        m.run(&hex(code), 1);
        assert_eq!((m.cpu().x87_status(), m.cpu().x87_tags()), (0, 0xffff), "{bits}");
        m.step(1);
        assert_eq!(stack(&mut m), [f(1.0), f(2.0), f(3.0)], "{bits}");
        assert_eq!(status(&mut m), C1 | PE, "{bits}");
    }

    // In real mode addresses are linear: fld1; fnstenv [bx].
    let mut m = real("d9 e8 d9 37");
    m.step(2);
    let half = |n: u64| m.read(DATA + 2 * n) as u16;
    assert_eq!((half(0), half(3), half(4)), (0x37f, 0x1000, 0x1e8));
}

#[test]
fn fxsave() {
    // fxsave64 [rbx]; fninit; fxrstor64 [rbx]
    let mut m = machine(0x27f, &[f(1.0), f(2.0)], 0);
    m.cpu().xmm[15] = 0x1234_5678_9abc_def0_1122_3344_5566_7788;
    m.cpu().mxcsr = 0x1fa0;
    m.run(&hex("48 0f ae 03 db e3 48 0f ae 0b"), 1);
    assert_eq!(m.read(DATA) & 0xffff_ffff_ffff, 0xc0_3000_027f);
    assert_eq!((m.read(DATA + 24), m.read(DATA + 32), m.read(DATA + 40)), (0xffff_0000_1fa0, ONE, 0x3fff));
    assert_eq!((m.read(DATA + 400), m.read(DATA + 408)), (0x1122_3344_5566_7788, 0x1234_5678_9abc_def0));
    m.cpu().xmm[15] = 0;
    m.cpu().mxcsr = 0x1f80;
    m.step(2);
    assert_eq!((stack(&mut m), m.cpu().mxcsr), (vec![f(1.0), f(2.0)], 0x1fa0));
    assert_eq!(m.cpu().xmm[15], 0x1234_5678_9abc_def0_1122_3344_5566_7788);
    // Misaligned, or with reserved bits of MXCSR: #GP. ldmxcsr and stmxcsr.
    for (code, memory, vector) in [
        ("0f ae 47 08", 0u64, Some(13)),
        ("0f ae 0f", 1 << 16, Some(13)),
        ("0f ae 0f", 0x1f80, None),
        ("0f ae 57 18", 1 << 16, Some(13)),
        ("0f ae 57 18", 0x9fc0, None),
    ] {
        let mut m = real(code);
        m.write(DATA + 24, &memory.to_le_bytes());
        m.step(1);
        match vector {
            Some(vector) => assert_eq!(m.cpu().rip(), 0x600 + vector, "{code}"),
            None => assert_eq!((m.cpu().rip() < 0x600, u64::from(m.cpu().mxcsr)), (true, memory), "{code}"),
        }
    }
    let mut m = real("0f ae 1f");
    m.step(1);
    assert_eq!(m.read(DATA) as u32, 0x1f80);
}

#[test]
fn xsave() {
    // xsave64, xsaveopt64, xsavec64 [rbx], then xrstor64 [rbx].
    for (save, compacted) in [("48 0f ae 23", false), ("48 0f ae 33", false), ("48 0f c7 23", true)] {
        let mut m = machine(0x27f, &[f(1.0)], 0);
        let cpu = m.cpu();
        cpu.cr4 |= CR4_OSXSAVE;
        cpu.xcr0 = 7;
        cpu.update_mode();
        cpu.gpr[RAX] = 7;
        cpu.gpr[RDX] = 0;
        cpu.xmm[1] = 11;
        cpu.ymm_high[2] = 22;
        m.run(&hex(&format!("{save} 48 0f ae 2b 48 0f ae 2b")), 1);
        assert_eq!(m.cpu().rip(), CODE + 4, "{save}");
        let format = if compacted { 1 << 63 | 7 } else { 0 };
        assert_eq!((m.read(DATA + 512), m.read(DATA + 520)), (7, format), "{save}");
        assert_eq!((m.read(DATA + 576 + 32), m.read(DATA + 160 + 16)), (22, 11), "{save}");
        let cpu = m.cpu();
        cpu.xmm = [5; 16];
        cpu.ymm_high = [6; 16];
        cpu.init_x87();
        m.step(1);
        assert_eq!((m.cpu().xmm[1], m.cpu().xmm[0], m.cpu().ymm_high[2]), (11, 0, 22), "{save}");
        assert_eq!((stack(&mut m), m.cpu().fpu.control), (vec![f(1.0)], 0x27f), "{save}");
        // Components that are not there become what they are initially.
        m.write(DATA + 512, &0u64.to_le_bytes());
        m.step(1);
        assert_eq!((m.cpu().xmm[1], m.cpu().ymm_high[2], m.cpu().fpu.control), (0, 0, 0x37f), "{save}");
        assert_eq!(m.cpu().x87, [X87::default(); 8], "{save}");
    }
    // Headers that are refused: a component that XCR0 has not, reserved bytes, a format without its components.
    for header in [[8u64, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1 << 63, 0], [0, 1 << 63 | 8, 0], [0, 1 << 63, 1]] {
        let mut m = real("0f ae 2f");
        m.cpu().gpr[RAX] = 7;
        m.cpu().gpr[RDX] = 0;
        m.write(DATA + 24, &0x1f80u32.to_le_bytes());
        for (n, word) in (0..).zip(header) {
            m.write(DATA + 512 + 8 * n, &word.to_le_bytes());
        }
        m.step(1);
        assert_eq!(m.cpu().rip(), 0x60d, "{header:x?}");
    }
    // Neither aligned nor enabled.
    let mut m = real("0f ae 67 20");
    m.step(1);
    assert_eq!(m.cpu().rip(), 0x60d);
    let mut m = real("0f ae 27");
    m.cpu().cr4 &= !CR4_OSXSAVE;
    m.cpu().update_mode();
    m.step(1);
    assert_eq!(m.cpu().rip(), 0x606);
}

#[test]
fn registers_are_those_of_mmx() {
    let mut m = one(0x37f, "d9 e8", &[], 0);
    assert_eq!(m.cpu().x87[7], X87 { mantissa: ONE, exponent: 0x3fff });
    m.cpu().enter_mmx();
    assert_eq!((m.cpu().x87_status(), m.cpu().fpu.empty), (0, 0));
    m.cpu().leave_mmx();
    assert_eq!(m.cpu().fpu.empty, 0xff);
}
