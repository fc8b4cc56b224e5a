//! Against rustc_apfloat: half precision, bfloat16, ties away, and the common operations of the other formats once more.

mod generator;

use generator::{Random, cases};
use rustc_apfloat::ieee::{BFloat, Double, Half, Single};
use rustc_apfloat::{FloatConvert, Round, Status, StatusAnd};
use softfloat::{BF16, Bits, Env, F16, F32, F64, Flags, Float, Format, Int, Relation, Rounding};

const ROUNDINGS: [(Rounding, Round); 5] = [
    (Rounding::NearestEven, Round::NearestTiesToEven),
    (Rounding::TowardNegative, Round::TowardNegative),
    (Rounding::TowardPositive, Round::TowardPositive),
    (Rounding::TowardZero, Round::TowardZero),
    (Rounding::NearestAway, Round::NearestTiesToAway),
];

fn flags(status: Status) -> Flags {
    [
        (Status::INVALID_OP, Flags::INVALID),
        (Status::DIV_BY_ZERO, Flags::DIV_BY_ZERO),
        (Status::OVERFLOW, Flags::OVERFLOW),
        (Status::UNDERFLOW, Flags::UNDERFLOW),
        (Status::INEXACT, Flags::INEXACT),
    ]
    .iter()
    .filter(|(s, _)| status.contains(*s))
    .fold(Flags::NONE, |all, (_, flag)| all | *flag)
}

fn is_nan<F: Format>(bits: F::Bits) -> bool {
    F::unpack(bits).is_nan()
}

/// Results must agree but for the choice of a NaN. Flags must agree, except where rounding reached the smallest normal
/// number, which apfloat takes for normal whatever came before, and where it stopped at the largest finite number,
/// which apfloat does not call an overflow.
fn agree<F: Format>(what: impl Fn() -> String, got: (F::Bits, Flags), expected: StatusAnd<u128>) {
    let value = F::Bits::from_u64(expected.value as u64);
    let magnitude = F::abs(got.0);
    let mask = |flags: Flags| match magnitude {
        _ if magnitude.to_u64() == 1 << F::FRAC_BITS => flags & !Flags::UNDERFLOW,
        _ if magnitude == F::max_finite(false) => flags & !Flags::OVERFLOW,
        _ => flags,
    };
    let same_value = got.0 == value || is_nan::<F>(got.0) && is_nan::<F>(value);
    let got_flags = got.1 & !Flags::DENORMAL_USED;
    assert!(
        same_value && mask(got_flags) == mask(flags(expected.status)),
        "{}: got {:x} {got_flags:?}, apfloat {value:x} {:?}",
        what(),
        got.0,
        flags(expected.status)
    );
}

/// One operation on both sides, in every rounding direction.
fn check<S: Format, D: Format>(
    name: &str,
    operands: &[S::Bits],
    soft: impl Fn(&mut Env) -> D::Bits,
    apfloat: impl Fn(Round) -> StatusAnd<u128>,
) {
    for (rounding, round) in ROUNDINGS {
        let mut env = Env { rounding, ..Env::SSE };
        let result = soft(&mut env);
        agree::<D>(|| format!("{name} {operands:x?} {rounding:?}"), (result, env.flags), apfloat(round));
    }
}

fn arithmetic_of<F: Float, A: rustc_apfloat::Float>(a: F::Bits, b: F::Bits, c: F::Bits) {
    let ap = |bits: F::Bits| A::from_bits(bits.to_u64().into());
    let (x, y, z) = (ap(a), ap(b), ap(c));
    // apfloat does not raise invalid for signalling NaNs everywhere; the host's FPU is the judge of them.
    if x.is_signaling() || y.is_signaling() || z.is_signaling() {
        return;
    }
    check::<F, F>("add", &[a, b], |env| F::add(a, b, env), |r| x.add_r(y, r).map(A::to_bits));
    check::<F, F>("sub", &[a, b], |env| F::sub(a, b, env), |r| x.sub_r(y, r).map(A::to_bits));
    check::<F, F>("mul", &[a, b], |env| F::mul(a, b, env), |r| x.mul_r(y, r).map(A::to_bits));
    check::<F, F>("div", &[a, b], |env| F::div(a, b, env), |r| x.div_r(y, r).map(A::to_bits));
    let finite = x.is_finite() && y.is_finite() && z.is_finite();
    if finite {
        check::<F, F>("mul_add", &[a, b, c], |env| F::mul_add(a, b, c, env), |r| x.mul_add_r(y, z, r).map(A::to_bits));
    }
    check::<F, F>(
        "round_to_integral",
        &[a],
        |env| F::round_to_integral(a, env.rounding, true, env),
        |r| x.round_to_integral(r).map(A::to_bits),
    );
    let expected = match x.partial_cmp(&y) {
        None => Relation::Unordered,
        Some(ordering) => ordering.into(),
    };
    assert_eq!(F::compare(a, b, false, &mut Env::SSE.clone()), expected, "compare {a:x} {b:x}");
    if !x.is_nan() {
        let n = (c.to_u64() % 64) as i32 - 32;
        check::<F, F>(
            "scale",
            &[a],
            |env| F::scale(a, n, env),
            |r| {
                // apfloat reports no status here.
                let mut env = Env { rounding: ROUNDINGS.iter().find(|(_, round)| *round == r).unwrap().0, ..Env::SSE };
                F::scale(a, n, &mut env);
                let mut status = Status::OK;
                for (s, flag) in [
                    (Status::OVERFLOW, Flags::OVERFLOW),
                    (Status::UNDERFLOW, Flags::UNDERFLOW),
                    (Status::INEXACT, Flags::INEXACT),
                ] {
                    if env.flags.contains(flag) {
                        status |= s;
                    }
                }
                status.and(x.scalbn_r(n, r).to_bits())
            },
        );
    }
    for (int, frac_bits) in [(Int::I16, 0), (Int::U16, 3), (Int::I32, 0), (Int::U32, 9), (Int::I64, 0), (Int::U64, 40)]
    {
        let scaled = x.scalbn(frac_bits as i32);
        let overflowed = scaled.is_infinite() && !x.is_infinite();
        if x.is_nan() || overflowed || scaled.scalbn(-(frac_bits as i32)) != x {
            continue;
        }
        for (rounding, round) in ROUNDINGS {
            let mut env = Env::SSE;
            let got = F::to_int(a, int, frac_bits, rounding, &mut env);
            let mut exact = false;
            let (value, status) = if int.signed {
                let StatusAnd { value, status } = scaled.to_i128_r(int.bits as usize, round, &mut exact);
                (value as u64 & u64::MAX >> (64 - int.bits), status)
            } else {
                let StatusAnd { value, status } = scaled.to_u128_r(int.bits as usize, round, &mut exact);
                (value as u64, status)
            };
            assert_eq!((got, env.flags), (value, flags(status)), "to_int {a:x} {int:?} {frac_bits} {rounding:?}");
        }
    }
    let n = b.to_u64() ^ c.to_u64() << 13;
    check::<F, F>(
        "from u64",
        &[b, c],
        |env| F::from_int(n, Int::U64, 0, env),
        |r| A::from_u128_r(n.into(), r).map(A::to_bits),
    );
    check::<F, F>(
        "from i32",
        &[b, c],
        |env| F::from_int(n, Int::I32, 0, env),
        |r| A::from_i128_r((n as i32).into(), r).map(A::to_bits),
    );
}

#[test]
fn arithmetic() {
    fn run<F: Float, A: rustc_apfloat::Float>(seed: u64) {
        let mut random = Random(seed);
        for _ in 0..cases() / 32 {
            let (a, b) = random.pair::<F>();
            arithmetic_of::<F, A>(a, b, random.operand::<F>());
        }
    }
    run::<F16, Half>(1);
    run::<BF16, BFloat>(2);
    run::<F32, Single>(3);
    run::<F64, Double>(4);
}

fn conversion<S: Float, D: Float, A: FloatConvert<B>, B: rustc_apfloat::Float>(a: S::Bits) {
    let x = A::from_bits(a.to_u64().into());
    check::<S, D>(
        "convert",
        &[a],
        |env| S::convert::<D>(a, env),
        |r| {
            let signalling = x.is_signaling();
            let converted = x.convert_r(r, &mut false);
            // apfloat may call the loss of a NaN's last bits inexact.
            let status = match (x.is_nan(), signalling) {
                (true, true) => Status::INVALID_OP,
                (true, false) => Status::OK,
                _ => converted.status,
            };
            status.and(converted.value.to_bits())
        },
    );
}

#[test]
fn conversions() {
    for half in 0..=u16::MAX {
        conversion::<F16, F32, Half, Single>(half);
        conversion::<F16, F64, Half, Double>(half);
        conversion::<BF16, F32, BFloat, Single>(half);
        conversion::<BF16, F16, BFloat, Half>(half);
    }
    let mut random = Random(5);
    for _ in 0..cases() / 8 {
        conversion::<F32, F16, Single, Half>(random.operand::<F32>());
        conversion::<F32, BF16, Single, BFloat>(random.operand::<F32>());
        conversion::<F32, F64, Single, Double>(random.operand::<F32>());
        conversion::<F64, F16, Double, Half>(random.operand::<F64>());
        conversion::<F64, F32, Double, Single>(random.operand::<F64>());
    }
}

/// The square root of a half is the half nearest to the double's root: a double has more than twice its bits.
#[test]
fn half_square_roots() {
    for half in 0..=u16::MAX {
        let mut env = Env::ARM;
        let root = F16::sqrt(half, &mut env);
        let mut wide = Env::ARM;
        let widened = F16::convert::<F64>(half, &mut wide);
        let root_of_wide = F64::sqrt(widened, &mut wide);
        let narrowed = F64::convert::<F16>(root_of_wide, &mut wide);
        assert_eq!(
            (root, env.flags),
            (narrowed, wide.flags & !Flags::DENORMAL_USED | env.flags & Flags::DENORMAL_USED)
        );
    }
}

#[test]
fn halves_survive_widening() {
    for half in 0..=u16::MAX {
        let mut env = Env::ARM;
        let back = F32::convert::<F16>(F16::convert::<F32>(half, &mut env), &mut env);
        let nan = is_nan::<F16>(half);
        assert_eq!(back, if nan { half | 0x200 } else { half });
        let mut env = Env { alt_half: true, ..Env::ARM };
        let back = F64::convert::<F16>(F16::convert::<F64>(half, &mut env), &mut env);
        assert_eq!((back, env.flags & !Flags::DENORMAL_USED), (half, Flags::NONE), "alternative {half:#x}");
    }
}

/// Rounding to odd in a format with at least two bits more makes the second rounding correct.
#[test]
fn to_odd_avoids_double_rounding() {
    let mut random = Random(6);
    for _ in 0..cases() {
        let wide = random.operand::<F64>();
        let mut odd = Env { rounding: Rounding::ToOdd, ..Env::ARM };
        let single = F64::convert::<F32>(wide, &mut odd);
        let once = F64::convert::<F16>(wide, &mut Env::ARM.clone());
        let twice = F32::convert::<F16>(single, &mut Env::ARM.clone());
        assert_eq!(once, twice, "{wide:#x}");
    }
}
