//! Against the host's SSE, FMA and F16C units: results and flags, in all rounding directions, with and without
//! flushing of denormals.
// UNSAFETY: the instructions under test run with another MXCSR than Rust's, so they, and the changes of MXCSR around
// them, are inline assembly.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

mod generator;

use core::arch::asm;

use generator::{Random, cases};
use softfloat::{Bits, Env, F16, F32, F64, Flags, Float, Format, Int, Relation, Rounding};

const ROUNDINGS: [(Rounding, u32); 4] = [
    (Rounding::NearestEven, 0),
    (Rounding::TowardNegative, 1 << 13),
    (Rounding::TowardPositive, 2 << 13),
    (Rounding::TowardZero, 3 << 13),
];
const ALL_MASKED: u32 = 0x1f80;
const DAZ: u32 = 1 << 6;
const FTZ: u32 = 1 << 15;

/// Flag bits of MXCSR.
fn mxcsr_flags(flags: Flags) -> u32 {
    [
        (Flags::INVALID, 1),
        (Flags::DENORMAL_USED, 2),
        (Flags::DIV_BY_ZERO, 4),
        (Flags::OVERFLOW, 8),
        (Flags::UNDERFLOW, 16),
        (Flags::INEXACT, 32),
    ]
    .iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, bit)| bit)
    .sum()
}

/// Operands in, result and MXCSR out.
type Host = fn([u64; 3], u32) -> (u64, u32);
type Soft = fn([u64; 3], &mut Env) -> u64;

/// Runs instructions on `xmm` registers named a, b, c (result in a), with MXCSR as given.
macro_rules! host {
    ($native:ident, $($line:literal),+) => {
        |[a, b, c]: [u64; 3], mxcsr: u32| {
            let mut a = $native::from_bits(a as _);
            let (b, c) = ($native::from_bits(b as _), $native::from_bits(c as _));
            let mut control = [0u32, mxcsr];
            // SAFETY: only the given registers, `control` and the host's MXCSR change, and that is restored; all
            // exceptions are masked. The tests check for the features that they need.
            unsafe {
                asm!(
                    "stmxcsr [{p}]", "ldmxcsr [{p} + 4]", $($line,)+ "stmxcsr [{p} + 4]", "ldmxcsr [{p}]", "/* {a} {b} {c} */",
                    p = in(reg) control.as_mut_ptr(), a = inout(xmm_reg) a, b = in(xmm_reg) b, c = in(xmm_reg) c,
                );
            }
            (a.to_bits().into(), control[1])
        }
    };
}

/// As `host!`, for instructions with a general register r: an operand and a result (the format's register is a).
macro_rules! host_int {
    ($native:ident, $($line:literal),+) => {
        |[x, r, _]: [u64; 3], mxcsr: u32| {
            let mut a = $native::from_bits(x as _);
            let mut r = r;
            let mut control = [0u32, mxcsr];
            // SAFETY: as in `host!`.
            unsafe {
                asm!(
                    "stmxcsr [{p}]", "ldmxcsr [{p} + 4]", $($line,)+ "stmxcsr [{p} + 4]", "ldmxcsr [{p}]", "/* {a} {r} */",
                    p = in(reg) control.as_mut_ptr(), a = inout(xmm_reg) a, r = inout(reg) r,
                );
            }
            let _ = a;
            (r, control[1])
        }
    };
}

/// The result of a soft operation, its operands typed.
macro_rules! soft {
    ($format:ty, |$a:ident, $b:ident, $c:ident, $env:ident| $body:expr) => {
        |[a, b, c]: [u64; 3], $env: &mut Env| {
            let $a = <<$format as Format>::Bits>::from_u64(a);
            let $b = <<$format as Format>::Bits>::from_u64(b);
            let $c = <<$format as Format>::Bits>::from_u64(c);
            let _ = ($b, $c);
            u64::from($body)
        }
    };
}

fn compare(name: &str, operands: [u64; 3], host: Host, soft: Soft) {
    for (rounding, control) in ROUNDINGS {
        for flush in [0, DAZ, FTZ, DAZ | FTZ] {
            let mut env = Env { rounding, flush_inputs: flush & DAZ != 0, flush_outputs: flush & FTZ != 0, ..Env::SSE };
            let expected = host(operands, ALL_MASKED | control | flush);
            let expected = (expected.0, expected.1 & 0x3f);
            let result = soft(operands, &mut env);
            let got = (result, mxcsr_flags(env.flags));
            assert!(
                got == expected,
                "{name} {operands:x?} {rounding:?} flush {flush:#x}: got {got:x?}, host {expected:x?}"
            );
            // And once more through the fast path.
            env.flags = Flags::INEXACT;
            let got = (soft(operands, &mut env), mxcsr_flags(env.flags));
            let expected = (expected.0, expected.1 | 0x20);
            assert!(
                got == expected,
                "{name} {operands:x?} {rounding:?} flush {flush:#x}, inexact before: got {got:x?}, host {expected:x?}"
            );
        }
    }
}

fn check<F: Format>(name: &str, seed: u64, host: Host, soft: Soft) {
    let mut random = Random(seed);
    for _ in 0..cases() / 16 {
        let (a, b) = random.pair::<F>();
        let c = random.operand::<F>();
        compare(name, [a.to_u64(), b.to_u64(), c.to_u64()], host, soft);
    }
}

#[test]
fn arithmetic() {
    check::<F32>("addss", 1, host!(f32, "addss {a}, {b}"), soft!(F32, |a, b, _c, env| F32::add(a, b, env)));
    check::<F32>("subss", 2, host!(f32, "subss {a}, {b}"), soft!(F32, |a, b, _c, env| F32::sub(a, b, env)));
    check::<F32>("mulss", 3, host!(f32, "mulss {a}, {b}"), soft!(F32, |a, b, _c, env| F32::mul(a, b, env)));
    check::<F32>("divss", 4, host!(f32, "divss {a}, {b}"), soft!(F32, |a, b, _c, env| F32::div(a, b, env)));
    check::<F32>("sqrtss", 5, host!(f32, "sqrtss {a}, {a}"), soft!(F32, |a, b, _c, env| F32::sqrt(a, env)));
    check::<F64>("addsd", 6, host!(f64, "addsd {a}, {b}"), soft!(F64, |a, b, _c, env| F64::add(a, b, env)));
    check::<F64>("subsd", 7, host!(f64, "subsd {a}, {b}"), soft!(F64, |a, b, _c, env| F64::sub(a, b, env)));
    check::<F64>("mulsd", 8, host!(f64, "mulsd {a}, {b}"), soft!(F64, |a, b, _c, env| F64::mul(a, b, env)));
    check::<F64>("divsd", 9, host!(f64, "divsd {a}, {b}"), soft!(F64, |a, b, _c, env| F64::div(a, b, env)));
    check::<F64>("sqrtsd", 10, host!(f64, "sqrtsd {a}, {a}"), soft!(F64, |a, b, _c, env| F64::sqrt(a, env)));
}

/// Operands whose product nearly cancels against the addend, beside ordinary ones; the addend's place is given.
fn check_fma<F: Float>(name: &str, seed: u64, addend: usize, host: Host, soft: Soft) {
    check::<F>(name, seed, host, soft);
    let mut random = Random(seed + 1);
    for _ in 0..cases() / 16 {
        let (a, b) = random.pair::<F>();
        let product = F::neg(F::mul(a, b, &mut Env::SSE.clone())).to_u64();
        let mut operands =
            [a.to_u64(), b.to_u64(), F::Bits::from_u64(product.wrapping_add(random.below(3)).wrapping_sub(1)).to_u64()];
        operands.swap(2, addend);
        compare(name, operands, host, soft);
    }
}

#[test]
fn fused_multiply_add() {
    if !std::is_x86_feature_detected!("fma") {
        return eprintln!("skipped: the host has no FMA");
    }
    check_fma::<F32>(
        "vfmadd213ss",
        20,
        2,
        host!(f32, "vfmadd213ss {a}, {b}, {c}"),
        soft!(F32, |a, b, c, env| F32::mul_add(b, a, c, env)),
    );
    check_fma::<F64>(
        "vfmadd231sd",
        22,
        0,
        host!(f64, "vfmadd231sd {a}, {b}, {c}"),
        soft!(F64, |a, b, c, env| F64::mul_add(b, c, a, env)),
    );
}

/// ZF, PF, CF as `lahf` would put them, after a comparison.
fn eflags(relation: Relation) -> u64 {
    match relation {
        Relation::Unordered => 0b111,
        Relation::Less => 0b001,
        Relation::Equal => 0b100,
        Relation::Greater => 0,
    }
}

#[test]
fn comparison() {
    macro_rules! host_compare {
        ($native:ident, $line:literal) => {
            |[a, b, _]: [u64; 3], mxcsr: u32| {
                let (a, b) = ($native::from_bits(a as _), $native::from_bits(b as _));
                let mut control = [0u32, mxcsr];
                let (z, p, c): (u8, u8, u8);
                // SAFETY: as in `host!`.
                unsafe {
                    asm!(
                        "stmxcsr [{m}]", "ldmxcsr [{m} + 4]", $line, "setz {z}", "setp {p}", "setc {c}",
                        "stmxcsr [{m} + 4]", "ldmxcsr [{m}]",
                        m = in(reg) control.as_mut_ptr(), a = in(xmm_reg) a, b = in(xmm_reg) b,
                        z = out(reg_byte) z, p = out(reg_byte) p, c = out(reg_byte) c,
                    );
                }
                ((z << 2 | p << 1 | c).into(), control[1])
            }
        };
    }
    check::<F32>(
        "ucomiss",
        30,
        host_compare!(f32, "ucomiss {a}, {b}"),
        soft!(F32, |a, b, _c, env| eflags(F32::compare(a, b, false, env))),
    );
    check::<F32>(
        "comiss",
        31,
        host_compare!(f32, "comiss {a}, {b}"),
        soft!(F32, |a, b, _c, env| eflags(F32::compare(a, b, true, env))),
    );
    check::<F64>(
        "ucomisd",
        32,
        host_compare!(f64, "ucomisd {a}, {b}"),
        soft!(F64, |a, b, _c, env| eflags(F64::compare(a, b, false, env))),
    );
    check::<F64>(
        "comisd",
        33,
        host_compare!(f64, "comisd {a}, {b}"),
        soft!(F64, |a, b, _c, env| eflags(F64::compare(a, b, true, env))),
    );
}

#[test]
fn between_formats() {
    let widen: Host = |[a, ..], mxcsr| host_int!(f32, "cvtss2sd {a}, {a}", "movq {r}, {a}")([a, 0, 0], mxcsr);
    check::<F32>("cvtss2sd", 40, widen, soft!(F32, |a, b, _c, env| F32::convert::<F64>(a, env)));
    let narrow: Host = |[a, ..], mxcsr| host_int!(f64, "cvtsd2ss {a}, {a}", "movd {r:e}, {a}")([a, 0, 0], mxcsr);
    check::<F64>("cvtsd2ss", 41, narrow, soft!(F64, |a, b, _c, env| F64::convert::<F32>(a, env)));
    if !std::is_x86_feature_detected!("f16c") {
        return eprintln!("skipped in part: the host has no F16C");
    }
    let to_half: Host = |[a, ..], mxcsr| host_int!(f32, "vcvtps2ph {a}, {a}, 4", "movd {r:e}, {a}")([a, 0, 0], mxcsr);
    check::<F32>("vcvtps2ph", 42, to_half, soft!(F32, |a, b, _c, env| F32::convert::<F16>(a, env)));
    let from_half: Host = |[a, ..], mxcsr| host_int!(f32, "vcvtph2ps {a}, {a}", "movd {r:e}, {a}")([a, 0, 0], mxcsr);
    for half in 0..=u16::MAX {
        compare(
            "vcvtph2ps",
            [half.into(), 0, 0],
            from_half,
            // Unlike the other conversions, this one does not report denormal operands.
            soft!(F16, |a, b, _c, env| {
                let before = env.flags;
                let result = F16::convert::<F32>(a, env);
                env.flags = env.flags & !Flags::DENORMAL_USED | before;
                result
            }),
        );
    }
}

#[test]
fn integers() {
    /// The integer indefinite for what cannot be represented.
    fn indefinite<F: Float>(a: F::Bits, int: Int, truncate: bool, env: &mut Env) -> u64 {
        let rounding = if truncate { Rounding::TowardZero } else { env.rounding };
        F::to_int_checked(a, int, 0, rounding, env).unwrap_or(int.min())
    }
    macro_rules! to_int {
        ($format:ident, $native:ident, $seed:literal, $line:literal, $int:expr, $truncate:literal) => {
            check::<$format>(
                $line,
                $seed,
                host_int!($native, $line),
                soft!($format, |a, b, _c, env| indefinite::<$format>(a, $int, $truncate, env)),
            )
        };
    }
    to_int!(F32, f32, 50, "cvtss2si {r:e}, {a}", Int::I32, false);
    to_int!(F32, f32, 51, "cvttss2si {r:e}, {a}", Int::I32, true);
    to_int!(F32, f32, 52, "cvtss2si {r:r}, {a}", Int::I64, false);
    to_int!(F32, f32, 53, "cvttss2si {r:r}, {a}", Int::I64, true);
    to_int!(F64, f64, 54, "cvtsd2si {r:e}, {a}", Int::I32, false);
    to_int!(F64, f64, 55, "cvttsd2si {r:e}, {a}", Int::I32, true);
    to_int!(F64, f64, 56, "cvtsd2si {r:r}, {a}", Int::I64, false);
    to_int!(F64, f64, 57, "cvttsd2si {r:r}, {a}", Int::I64, true);

    let mut random = Random(58);
    for _ in 0..cases() / 16 {
        let x = (random.bits() as i64 >> random.below(64)) as u64 ^ random.below(2);
        let r = [0, x, 0];
        macro_rules! from_int {
            ($format:ident, $native:ident, $line:literal, $back:literal, $int:expr) => {
                compare($line, r, host_int!($native, $line, $back), |[_, x, _], env| {
                    $format::from_int(x, $int, 0, env).into()
                })
            };
        }
        from_int!(F32, f32, "cvtsi2ss {a}, {r:e}", "movd {r:e}, {a}", Int::I32);
        from_int!(F32, f32, "cvtsi2ss {a}, {r:r}", "movd {r:e}, {a}", Int::I64);
        from_int!(F64, f64, "cvtsi2sd {a}, {r:e}", "movq {r}, {a}", Int::I32);
        from_int!(F64, f64, "cvtsi2sd {a}, {r:r}", "movq {r}, {a}", Int::I64);
    }
}

#[test]
fn integral_values() {
    if !std::is_x86_feature_detected!("sse4.1") {
        return eprintln!("skipped: the host has no SSE4.1");
    }
    macro_rules! round {
        ($format:ident, $native:ident, $seed:literal, $line:literal, $exact:literal) => {
            check::<$format>(
                $line,
                $seed,
                host!($native, $line),
                soft!($format, |a, b, _c, env| $format::round_to_integral(a, env.rounding, $exact, env)),
            )
        };
    }
    round!(F32, f32, 60, "roundss {a}, {a}, 4", true);
    round!(F32, f32, 61, "roundss {a}, {a}, 12", false);
    round!(F64, f64, 62, "roundsd {a}, {a}, 4", true);
    round!(F64, f64, 63, "roundsd {a}, {a}, 12", false);
}
