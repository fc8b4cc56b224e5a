//! Floating point that compiled code does on the host's unit, at the places where the host differs from the architecture:
//! what the manual says, and compiled code against the interpreter, which uses software.

use differential::machine::{Machine, Tier};
use differential::wire::{Case, State, WINDOW};

const TIERS: [Tier; 3] = [Tier::Interpreter, Tier::Template, Tier::Compiled];
// FPSR
const IOC: u64 = 1;
const DZC: u64 = 2;
const OFC: u64 = 4;
const UFC: u64 = 8;
const IXC: u64 = 16;
// FPCR
const TOWARD_PLUS: u64 = 1 << 22;
const FZ: u64 = 1 << 24;
const DN: u64 = 1 << 25;

const INFINITY: u64 = 0x7ff << 52;
const DEFAULT_NAN: u64 = 0x7ff8 << 48;
const QUIET: u64 = 0xfff8_0000_0000_0123;
const SIGNALLING: u64 = 0x7ff0_0000_0000_0456;
const MINUS: u64 = 1 << 63;
const SMALLEST_NORMAL: u64 = 1 << 52;

/// Instructions of d1, d2 and d3 (or the same vectors) with their result in d0 or x0.
const INSTRUCTIONS: [(&str, u32); 57] = [
    ("fadd d0, d1, d2", 0x1e62_2820),
    ("fsub d0, d1, d2", 0x1e62_3820),
    ("fmul d0, d1, d2", 0x1e62_0820),
    ("fnmul d0, d1, d2", 0x1e62_8820),
    ("fdiv d0, d1, d2", 0x1e62_1820),
    ("fmax d0, d1, d2", 0x1e62_4820),
    ("fmin d0, d1, d2", 0x1e62_5820),
    ("fmaxnm d0, d1, d2", 0x1e62_6820),
    ("fminnm d0, d1, d2", 0x1e62_7820),
    ("fabd d0, d1, d2", 0x7ee2_d420),
    ("fsqrt d0, d1", 0x1e61_c020),
    ("fmadd d0, d1, d2, d3", 0x1f42_0c20),
    ("fmsub d0, d1, d2, d3", 0x1f42_8c20),
    ("fnmadd d0, d1, d2, d3", 0x1f62_0c20),
    ("fnmsub d0, d1, d2, d3", 0x1f62_8c20),
    ("frintn d0, d1", 0x1e64_4020),
    ("frintm d0, d1", 0x1e65_4020),
    ("frintx d0, d1", 0x1e67_4020),
    ("fcvt s0, d1", 0x1e62_4020),
    ("fcmeq d0, d1, d2", 0x5e62_e420),
    ("fcmge d0, d1, d2", 0x7e62_e420),
    ("fcmgt d0, d1, d2", 0x7ee2_e420),
    ("facge d0, d1, d2", 0x7e62_ec20),
    ("fcvtzs x0, d1", 0x9e78_0020),
    ("fcvtzs w0, d1", 0x1e78_0020),
    ("fcvtzu x0, d1", 0x9e79_0020),
    ("fcvtzu w0, d1", 0x1e79_0020),
    ("fcvtms w0, d1", 0x1e70_0020),
    ("fcvtnu w0, d1", 0x1e61_0020),
    ("fcvtzs d0, d1", 0x5ee1_b820),
    ("scvtf d0, d1", 0x5e61_d820),
    ("ucvtf d0, d1", 0x7e61_d820),
    ("fadd s0, s1, s2", 0x1e22_2820),
    ("fmul s0, s1, s2", 0x1e22_0820),
    ("fmax s0, s1, s2", 0x1e22_4820),
    ("fmadd s0, s1, s2, s3", 0x1f02_0c20),
    ("fcvt d0, s1", 0x1e22_c020),
    ("fcvtzs w0, s1", 0x1e38_0020),
    ("fadd v0.2d, v1.2d, v2.2d", 0x4e62_d420),
    ("fmul v0.2d, v1.2d, v2.2d", 0x6e62_dc20),
    ("fmax v0.2d, v1.2d, v2.2d", 0x4e62_f420),
    ("fminnm v0.2d, v1.2d, v2.2d", 0x4ee2_c420),
    ("fmla v0.2d, v1.2d, v2.2d", 0x4e62_cc20),
    ("fcmeq v0.2d, v1.2d, v2.2d", 0x4e62_e420),
    ("fcmgt v0.2d, v1.2d, v2.2d", 0x6ee2_e420),
    ("fsub v0.4s, v1.4s, v2.4s", 0x4ea2_d420),
    ("fdiv v0.2s, v1.2s, v2.2s", 0x2e22_fc20),
    ("fmin v0.2s, v1.2s, v2.2s", 0x0ea2_f420),
    ("fcvtzs v0.4s, v1.4s", 0x4ea1_b820),
    ("fcvtzs v0.2d, v1.2d", 0x4ee1_b820),
    ("fcvtl v0.2d, v1.2s", 0x0e61_7820),
    ("fcvtn v0.2s, v1.2d", 0x0e61_6820),
    ("frintp v0.4s, v1.4s", 0x4ea1_8820),
    ("scvtf v0.4s, v1.4s", 0x4e21_d820),
    ("fcmp d1, d2", 0x1e62_2020),
    ("fcmpe d1, d2", 0x1e62_2030),
    ("fcmpe d1, #0.0", 0x1e60_2038),
];

fn word(text: &str) -> u32 {
    INSTRUCTIONS.iter().find(|(name, _)| *name == text).unwrap_or_else(|| panic!("{text}")).1
}

fn case(insn: u32, insn2: u32, state: State) -> Case {
    Case { insn, insn2, flags: 0, window_offset: 0, state, window: [0; WINDOW] }
}

fn machines() -> [Machine; 3] {
    TIERS.map(|tier| Machine::new(tier, "max").expect("a machine"))
}

/// Registers with these numbers in d1, d2, d3; the halves above hold what must not count.
fn numbers([a, b, c]: [u64; 3], fpcr: u64) -> State {
    let mut state = State { fpcr, ..State::default() };
    for (v, number) in state.v[1..].iter_mut().zip([a, b, c]) {
        *v = u128::from(number) | u128::from(SIGNALLING) << 64;
    }
    state
}

/// Runs an instruction on every tier; the state after it.
fn run(machines: &mut [Machine; 3], insn: u32, insn2: u32, state: &State) -> State {
    let case = case(insn, insn2, state.clone());
    let [want, template, compiled] = machines.each_mut().map(|m| m.run(&case));
    assert_eq!(want.signal, 0, "{insn:08x} {insn2:08x}");
    assert_eq!(template, want, "{insn:08x} {insn2:08x} template code (left) and interpreted, before {state:x?}");
    assert_eq!(compiled, want, "{insn:08x} {insn2:08x} compiled (left) and interpreted, before {state:x?}");
    want.state
}

/// Low half of v0 and FPSR.
fn result(machines: &mut [Machine; 3], text: &str, operands: [u64; 3], fpcr: u64) -> (u64, u64) {
    let after = run(machines, word(text), 0, &numbers(operands, fpcr));
    (after.v[0] as u64, after.fpsr)
}

#[test]
fn compiled_code_does_what_software_does() {
    let one = 1f64.to_bits();
    let doubles = [
        0,
        MINUS,
        one,
        one | MINUS,
        0x3fef_ffff_ffff_ffff,
        0x3ff0_0000_0000_0001,
        1.5f64.to_bits(),
        (-2.5f64).to_bits(),
        (-0.5f64).to_bits(),
        4294967295.5f64.to_bits(),
        (-2147483648.5f64).to_bits(),
        9.3e18f64.to_bits(),
        1.9e19f64.to_bits(),
        1,
        SMALLEST_NORMAL - 1,
        SMALLEST_NORMAL,
        0x380f_ffff_ffff_ffff,
        0x7fef_ffff_ffff_ffff,
        INFINITY,
        INFINITY | MINUS,
        QUIET,
        QUIET ^ MINUS ^ 1,
        SIGNALLING,
        SIGNALLING | MINUS,
        // Pairs of singles.
        0x3f80_0001_3f80_0000,
        0x007f_ffff_8000_0000,
        0x0080_0000_007f_ffff,
        0x7f80_0001_7fc0_0002,
        0xff80_0000_4f80_0000,
        0x3f00_0000_cf00_0001,
    ];
    let mut machines = machines();
    for (text, insn) in INSTRUCTIONS {
        let binary = text.contains("2, ") || text.ends_with('2') || text.contains(".2d, v1.2d, v2");
        for (n, a) in doubles.into_iter().enumerate() {
            for (m, b) in doubles.into_iter().enumerate() {
                let c = doubles[(7 * n + m) % doubles.len()];
                let mut state = numbers([a, b, c], 0);
                // The second doubles of vectors, and an accumulator.
                if text.contains("v0") {
                    state.v[1] = u128::from(a) | u128::from(b) << 64;
                    state.v[2] = u128::from(b) | u128::from(doubles[(n + 3 * m) % doubles.len()]) << 64;
                    state.v[0] = u128::from(c) | u128::from(a) << 64;
                }
                run(&mut machines, insn, 0, &state);
                if !binary {
                    break;
                }
            }
        }
    }
    assert!(machines.iter().all(Machine::compiled_everything));
}

#[test]
fn nans_follow_the_architecture() {
    let mut m = machines();
    let one = 1f64.to_bits();
    for text in ["fadd d0, d1, d2", "fmul d0, d1, d2", "fdiv d0, d1, d2", "fmax d0, d1, d2", "fabd d0, d1, d2"] {
        let sign = if text.starts_with("fabd") { MINUS } else { 0 };
        let quieted = SIGNALLING | 1 << 51;
        for (operands, want) in [
            ([QUIET, one, 0], (QUIET, 0)),
            ([one, QUIET, 0], (QUIET, 0)),
            ([QUIET, QUIET + 1, 0], (QUIET, 0)),
            ([SIGNALLING, one, 0], (quieted, IOC)),
            ([QUIET, SIGNALLING, 0], (quieted, IOC)),
            ([SIGNALLING, QUIET, 0], (quieted, IOC)),
            ([SIGNALLING, SIGNALLING + 1, 0], (quieted, IOC)),
        ] {
            assert_eq!(result(&mut m, text, operands, 0), (want.0 & !sign, want.1), "{text} {operands:x?}");
        }
    }
    // Operations without a result get the default NaN, which is positive.
    for (text, operands) in [
        ("fsub d0, d1, d2", [INFINITY, INFINITY, 0]),
        ("fmul d0, d1, d2", [INFINITY, 0, 0]),
        ("fdiv d0, d1, d2", [0, 0, 0]),
        ("fsqrt d0, d1", [one | MINUS, 0, 0]),
        ("fmadd d0, d1, d2, d3", [INFINITY, 0, one]),
        // The product decides, even beside a quiet NaN.
        ("fmadd d0, d1, d2, d3", [INFINITY, 0, QUIET]),
    ] {
        assert_eq!(result(&mut m, text, operands, 0), (DEFAULT_NAN, IOC), "{text}");
    }
    // FPMulAdd looks at the addend first; FNMUL negates after it has chosen.
    assert_eq!(result(&mut m, "fmadd d0, d1, d2, d3", [QUIET, one, QUIET + 2], 0), (QUIET + 2, 0));
    assert_eq!(result(&mut m, "fnmul d0, d1, d2", [QUIET, one, 0], 0), (QUIET ^ MINUS, 0));
    // The number beats a quiet NaN.
    assert_eq!(result(&mut m, "fmaxnm d0, d1, d2", [QUIET, one, 0], 0), (one, 0));
    assert_eq!(result(&mut m, "fminnm d0, d1, d2", [one, QUIET, 0], 0), (one, 0));
}

#[test]
fn zeros_have_signs() {
    let mut m = machines();
    for (a, b) in [(0, MINUS), (MINUS, 0)] {
        for (text, want) in [
            ("fmax d0, d1, d2", 0),
            ("fmin d0, d1, d2", MINUS),
            ("fmaxnm d0, d1, d2", 0),
            ("fminnm d0, d1, d2", MINUS),
            ("fmul d0, d1, d2", MINUS),
            ("fadd d0, d1, d2", 0),
        ] {
            assert_eq!(result(&mut m, text, [a, b, 0], 0), (want, 0), "{text} {a:x} {b:x}");
        }
    }
    assert_eq!(result(&mut m, "fmin v0.2s, v1.2s, v2.2s", [0x8000_0000, 0x8000_0000_0000_0000, 0], 0).0, {
        0x8000_0000_8000_0000
    });
}

#[test]
fn integers_saturate() {
    let mut m = machines();
    for (text, number, want, flags) in [
        ("fcvtzs w0, d1", 1e10, 0x7fff_ffff, IOC),
        ("fcvtzs w0, d1", -1e10, 0x8000_0000, IOC),
        ("fcvtzs w0, d1", -2147483648.5, 0x8000_0000, IXC),
        ("fcvtzs w0, d1", 2147483647.5, 0x7fff_ffff, IXC),
        ("fcvtzs w0, d1", f64::NAN, 0, IOC),
        ("fcvtzs x0, d1", 1e19, i64::MAX as u64, IOC),
        ("fcvtzs x0, d1", -9223372036854775808.0, i64::MIN as u64, 0),
        ("fcvtzs x0, d1", -3.75, -3i64 as u64, IXC),
        ("fcvtzu w0, d1", 4294967295.5, 0xffff_ffff, IXC),
        ("fcvtzu w0, d1", 4294967296.0, 0xffff_ffff, IOC),
        ("fcvtzu w0, d1", -0.75, 0, IXC),
        ("fcvtzu w0, d1", -1.0, 0, IOC),
        ("fcvtzu x0, d1", 1.8e19, 18_000_000_000_000_000_000, 0),
        ("fcvtzu x0, d1", 1e20, u64::MAX, IOC),
        ("fcvtms w0, d1", -0.5, 0xffff_ffff, IXC),
        ("fcvtms w0, d1", 2147483647.5, 0x7fff_ffff, IXC),
        ("fcvtms w0, d1", -2147483648.5, 0x8000_0000, IOC),
        ("fcvtnu w0, d1", 4294967295.5, 0xffff_ffff, IOC),
        ("fcvtnu w0, d1", 2.5, 2, IXC),
        ("fcvtnu w0, d1", -0.5, 0, IXC),
    ] {
        let after = run(&mut m, word(text), 0, &numbers([number.to_bits(), 0, 0], 0));
        assert_eq!((after.x[0], after.fpsr), (want, flags), "{text} of {number}");
    }
}

#[test]
fn results_rounded_up_to_normal_ones_underflow() {
    let mut m = machines();
    let tiny = UFC | IXC;
    for (text, operands, want) in [
        ("fmul d0, d1, d2", [0x3ff0_0000_0000_0001, SMALLEST_NORMAL - 1, 0], (SMALLEST_NORMAL, tiny)),
        ("fnmul d0, d1, d2", [0x3ff0_0000_0000_0001, SMALLEST_NORMAL - 1, 0], (SMALLEST_NORMAL | MINUS, tiny)),
        ("fmadd d0, d1, d2, d3", [0x3ff0_0000_0000_0001, SMALLEST_NORMAL - 1, 0], (SMALLEST_NORMAL, tiny)),
        ("fcvt s0, d1", [0x380f_ffff_ffff_ffff, 0, 0], (0x0080_0000, tiny)),
        ("fmul s0, s1, s2", [0x3f80_0001, 0x007f_ffff, 0], (0x0080_0000, tiny)),
        // Exact ones do not.
        ("fmul d0, d1, d2", [1f64.to_bits(), SMALLEST_NORMAL, 0], (SMALLEST_NORMAL, 0)),
        ("fadd d0, d1, d2", [SMALLEST_NORMAL - 1, 1, 0], (SMALLEST_NORMAL, 0)),
        ("fmul d0, d1, d2", [0x3fe0_0000_0000_0000, SMALLEST_NORMAL, 0], (SMALLEST_NORMAL / 2, 0)),
    ] {
        assert_eq!(result(&mut m, text, operands, 0), want, "{text} {operands:x?}");
    }
    // Both lanes of a vector are looked at.
    let mut state = numbers([0x3ff0_0000_0000_0000, 0x3ff0_0000_0000_0000, 0], 0);
    state.v[1] = 0x3ff0_0000_0000_0001 << 64 | 0x3ff0_0000_0000_0000;
    state.v[2] = u128::from(SMALLEST_NORMAL - 1) << 64 | 0x3ff0_0000_0000_0000;
    let after = run(&mut m, word("fmul v0.2d, v1.2d, v2.2d"), 0, &state);
    assert_eq!((after.v[0] >> 64, after.fpsr), (SMALLEST_NORMAL.into(), tiny));
}

#[test]
fn flags_are_those_of_the_operation() {
    let mut m = machines();
    let [one, three] = [1f64, 3.0].map(f64::to_bits);
    for (text, operands, flags) in [
        ("fdiv d0, d1, d2", [one, three, 0], IXC),
        ("fdiv d0, d1, d2", [one, 0, 0], DZC),
        ("fmul d0, d1, d2", [0x7fef_ffff_ffff_ffff, three, 0], OFC | IXC),
        ("fadd d0, d1, d2", [one, three, 0], 0),
        ("frintm d0, d1", [1.5f64.to_bits(), 0, 0], 0),
        ("frintx d0, d1", [1.5f64.to_bits(), 0, 0], IXC),
        ("fmax d0, d1, d2", [QUIET, one, 0], 0),
        ("fcmp d1, d2", [QUIET, one, 0], 0),
        ("fcmp d1, d2", [one, SIGNALLING, 0], IOC),
        ("fcmpe d1, d2", [one, QUIET, 0], IOC),
        ("fcmpe d1, #0.0", [QUIET, 0, 0], IOC),
        ("fcmeq d0, d1, d2", [QUIET, one, 0], 0),
        ("fcmge d0, d1, d2", [QUIET, one, 0], IOC),
        ("fcmgt v0.2d, v1.2d, v2.2d", [one, QUIET, 0], IOC),
    ] {
        assert_eq!(result(&mut m, text, operands, 0).1, flags, "{text} {operands:x?}");
    }
    // What lies above the lanes that take part raises nothing.
    for text in ["fdiv v0.2s, v1.2s, v2.2s", "fmin v0.2s, v1.2s, v2.2s", "fcvtl v0.2d, v1.2s"] {
        assert_eq!(result(&mut m, text, [0x3f80_0000_3f80_0000, 0x3f80_0000_3f80_0000, 0], 0).1, 0, "{text}");
    }
}

#[test]
fn other_environments_are_software() {
    let mut m = machines();
    let [one, three] = [1f64, 3.0].map(f64::to_bits);
    let third = (1f64 / 3.0).to_bits();
    assert_eq!(result(&mut m, "fdiv d0, d1, d2", [one, three, 0], 0), (third, IXC));
    assert_eq!(result(&mut m, "fdiv d0, d1, d2", [one, three, 0], TOWARD_PLUS), (third + 1, IXC));
    assert_eq!(result(&mut m, "fadd d0, d1, d2", [QUIET, one, 0], DN), (DEFAULT_NAN, 0));
    assert_eq!(result(&mut m, "fadd d0, d1, d2", [1, one, 0], FZ), (one, 1 << 7));
    assert_eq!(result(&mut m, "fmul d0, d1, d2", [SMALLEST_NORMAL, third, 0], FZ), (0, UFC));
    let after = run(&mut m, word("fcmp d1, d2"), 0, &numbers([1, 0, 0], FZ));
    assert_eq!((after.nzcv, after.fpsr), (0x6000_0000, 1 << 7));
}

#[test]
fn conditions_after_a_comparison() {
    // N, Z, C, V for less, equal, greater, unordered.
    let [one, two] = [1f64, 2.0].map(f64::to_bits);
    let mut m = machines();
    for (operands, nzcv) in
        [([one, two], 0b1000u32), ([one, one], 0b0110), ([two, one], 0b0010), ([QUIET, one], 0b0011)]
    {
        let [n, z, c, v] = [3, 2, 1, 0].map(|bit| nzcv >> bit & 1 != 0);
        let holds = [z, c, n, v, c && !z, n == v, n == v && !z, true];
        for cond in 0..14u32 {
            let want = holds[cond as usize / 2] ^ (cond & 1 != 0);
            // CSET X0 is CSINC with the condition inverted.
            let cset = 0x9a9f_07e0 | (cond ^ 1) << 12;
            let state = numbers([operands[0], operands[1], 0], 0);
            for compare in ["fcmp d1, d2", "fcmpe d1, d2"] {
                let after = run(&mut m, word(compare), cset, &state);
                assert_eq!((after.x[0], after.nzcv), (want.into(), u64::from(nzcv) << 28), "{cond} {operands:x?}");
            }
        }
    }
}

#[test]
fn software_reads_and_clears_the_flags() {
    // fdiv d3, d1, d2; mrs x0, fpsr; msr fpsr, xzr; mrs x4, fpsr; fdiv d3, d1, d2; mrs x5, fpsr
    let words = [0x1e62_1823, 0xd53b_4420, 0xd51b_443f, 0xd53b_4424, 0x1e62_1823, 0xd53b_4425];
    for tier in TIERS {
        let mut machine = Machine::new(tier, "max").expect("a machine");
        let [one, three] = [1f64, 3.0].map(f64::to_bits);
        let case = case(words[0], 0, numbers([one, three, 0], 0));
        let pc = machine.place_sequence(&words, &case);
        for _ in 0..3 {
            let after = machine.run_sequence(&case, pc, words.len()).state;
            assert_eq!((after.x[0], after.x[4], after.x[5], after.fpsr), (IXC, 0, IXC, IXC), "{tier:?}");
        }
        // A change of FPCR takes effect at the next instruction: msr fpcr, x6; fdiv d3, d1, d2; msr fpcr, xzr; fdiv d0, d1, d2
        let words = [0xd51b_4406, 0x1e62_1823, 0xd51b_441f, 0x1e62_1820];
        let mut state = numbers([one, three, 0], 0);
        state.x[6] = TOWARD_PLUS;
        let case = Case { state, ..case };
        let pc = machine.place_sequence(&words, &case);
        for _ in 0..3 {
            let after = machine.run_sequence(&case, pc, words.len()).state;
            let third = (1f64 / 3.0).to_bits();
            assert_eq!((after.v[3] as u64, after.v[0] as u64), (third + 1, third), "{tier:?}");
        }
    }
}
