//! Floating-point operations on elements (SDM vol. 1, chapter 11.5 "SSE, SSE2, and SSE3 Exceptions", and 14). `n` elements
//! from the lowest take part; the others of the result are zero.

pub use softfloat::elements::{element, map1, map2, place};
use softfloat::{Bits, Env, F16, F32, F64, Flags, Float, Int, Relation, Rounding};

/// Exception flags of MXCSR.
pub const IE: u32 = 1 << 0;
pub const DE: u32 = 1 << 1;
pub const ZE: u32 = 1 << 2;
pub const OE: u32 = 1 << 3;
pub const UE: u32 = 1 << 4;
pub const PE: u32 = 1 << 5;
/// Denormals are zeros.
const DAZ: u32 = 1 << 6;
/// The masks of overflow and underflow.
const OM: u32 = 1 << 10;
const UM: u32 = 1 << 11;
/// Flush to zero.
const FTZ: u32 = 1 << 15;

/// Rounding as instructions' constants code it: the low two bits, or with this one what MXCSR says.
pub const ROUND_MXCSR: u32 = 1 << 2;
/// Beside a rounding: inexact is not raised.
pub const ROUND_QUIET: u32 = 1 << 3;
/// Toward zero.
pub const ROUND_ZERO: u32 = 3;

fn rounding_of(code: u32) -> Rounding {
    match code & 3 {
        0 => Rounding::NearestEven,
        1 => Rounding::TowardNegative,
        2 => Rounding::TowardPositive,
        _ => Rounding::TowardZero,
    }
}

/// What an MXCSR selects, with no flag set.
pub fn env_of(mxcsr: u32) -> Env {
    Env {
        rounding: rounding_of(mxcsr >> 13),
        flush_inputs: mxcsr & DAZ != 0,
        // 10.2.3.3 "Flush-To-Zero": only where underflow is masked.
        flush_outputs: mxcsr & (FTZ | UM) == FTZ | UM,
        unmasked: match (mxcsr & OM, mxcsr & UM) {
            (0, 0) => Flags::OVERFLOW | Flags::UNDERFLOW,
            (0, _) => Flags::OVERFLOW,
            (_, 0) => Flags::UNDERFLOW,
            _ => Flags::NONE,
        },
        ..Env::SSE
    }
}

/// Flags as MXCSR has them. An operand that counts as zero raises nothing.
pub fn mxcsr_flags(flags: Flags) -> u32 {
    let pairs = [
        (Flags::INVALID, IE),
        (Flags::DENORMAL_USED, DE),
        (Flags::DIV_BY_ZERO, ZE),
        (Flags::OVERFLOW, OE),
        (Flags::UNDERFLOW, UE),
        (Flags::INEXACT, PE),
    ];
    pairs.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |all, (_, bit)| all | bit)
}

/// The rounding that a constant asks for.
pub fn rounding(code: u32, env: &Env) -> Rounding {
    if code & ROUND_MXCSR != 0 { env.rounding } else { rounding_of(code) }
}

fn is_nan<F: Float>(a: F::Bits) -> bool {
    F::unpack(a).is_nan()
}

/// The operand as arithmetic takes it: a denormal may count as zero.
fn flushed<F: Float>(a: F::Bits, env: &Env) -> F::Bits {
    let value = F::unpack(a);
    if value.denormal && env.flush_inputs { F::zero(value.sign) } else { a }
}

/// The first operand if it is less, or with `max` greater, else the second: of NaNs and of two zeros too.
pub fn extreme<F: Float>(a: F::Bits, b: F::Bits, max: bool, env: &mut Env) -> F::Bits {
    let wanted = if max { Relation::Greater } else { Relation::Less };
    let result = if F::compare(a, b, true, env) == wanted { a } else { b };
    flushed::<F>(result, env)
}

/// Whether a predicate of CMPPS (0 to 31) holds: table 3-1 "Comparison Predicate for CMPPD and CMPPS Instructions".
pub fn compare<F: Float>(a: F::Bits, b: F::Bits, predicate: u32, env: &mut Env) -> bool {
    let signalling = matches!(predicate & 7, 1 | 2 | 5 | 6) != (predicate & 16 != 0);
    let relation = F::compare(a, b, signalling, env);
    let (less, equal) = (relation == Relation::Less, relation == Relation::Equal);
    let (greater, unordered) = (relation == Relation::Greater, relation == Relation::Unordered);
    match predicate & 15 {
        0 => equal,
        1 => less,
        2 => less || equal,
        3 => unordered,
        4 => !equal,
        5 => !less,
        6 => greater || unordered,
        7 => !unordered,
        8 => equal || unordered,
        9 => less || unordered,
        10 => !greater,
        11 => false,
        12 => less || greater,
        13 => greater || equal,
        14 => greater,
        _ => true,
    }
}

/// The same of elements: all ones or zero.
pub fn compare_mask<F: Float>(a: F::Bits, b: F::Bits, predicate: u32, env: &mut Env) -> F::Bits {
    let holds = compare::<F>(a, b, predicate, env);
    F::Bits::from_u64(if holds { u64::MAX >> (64 - F::WIDTH) } else { 0 })
}

/// COMISS and the like: ZF, PF and CF in bits 0, 1 and 2.
pub fn compare_flags<F: Float>(a: F::Bits, b: F::Bits, signalling: bool, env: &mut Env) -> u32 {
    match F::compare(a, b, signalling, env) {
        Relation::Greater => 0,
        Relation::Less => 4,
        Relation::Equal => 1,
        Relation::Unordered => 7,
    }
}

/// Of [`fused`]: the product is negated; the addend is in elements of even, of odd numbers.
pub const NEGATE_PRODUCT: u32 = 1;
pub const NEGATE_EVEN: u32 = 2;
pub const NEGATE_ODD: u32 = 4;

/// Fused multiplication and addition: `x * y + addend` with the signs that `how` says.
pub fn fused<F: Float>(n: u32, [addend, x, y]: [u128; 3], how: u32, env: &mut Env) -> u128 {
    // A NaN keeps its sign.
    let negated = |v: F::Bits, on: bool| if on && !is_nan::<F>(v) { F::neg(v) } else { v };
    (0..n).fold(0, |v, i| {
        let addend_bit = if i & 1 == 0 { NEGATE_EVEN } else { NEGATE_ODD };
        let x = negated(element::<F>(x, i), how & NEGATE_PRODUCT != 0);
        let addend = negated(element::<F>(addend, i), how & addend_bit != 0);
        v | place::<F>(F::mul_add(x, element::<F>(y, i), addend, env), i)
    })
}

/// ADDSUBPS, ADDSUBPD: differences in elements of even numbers, sums in the others.
pub fn add_sub<F: Float>(n: u32, a: u128, b: u128, env: &mut Env) -> u128 {
    (0..n).fold(0, |v, i| {
        let (a, b) = (element::<F>(a, i), element::<F>(b, i));
        v | place::<F>(if i & 1 == 0 { F::sub(a, b, env) } else { F::add(a, b, env) }, i)
    })
}

/// DPPS, DPPD: bits 7:4 of `imm` choose products, bits 3:0 where their sum goes.
pub fn dot_product<F: Float>(n: u32, a: u128, b: u128, imm: u32, env: &mut Env) -> u128 {
    let product = |i: u32, env: &mut Env| {
        if imm >> (4 + i) & 1 != 0 { F::mul(element::<F>(a, i), element::<F>(b, i), env) } else { F::zero(false) }
    };
    let pair = |i: u32, env: &mut Env| {
        let (x, y) = (product(i, env), product(i + 1, env));
        F::add(x, y, env)
    };
    let sum = if n == 2 {
        pair(0, env)
    } else {
        let (x, y) = (pair(0, env), pair(2, env));
        F::add(x, y, env)
    };
    (0..n).filter(|i| imm >> i & 1 != 0).fold(0, |v, i| v | place::<F>(sum, i))
}

/// To a signed integer of `bits` bits; what has none gives the integer indefinite.
pub fn to_int<F: Float>(a: F::Bits, bits: u32, code: u32, env: &mut Env) -> u64 {
    let mode = rounding(code, env);
    F::to_int_checked(a, Int { bits, signed: true }, 0, mode, env).unwrap_or(1 << (bits - 1))
}

/// Rounds to an integral value. Denormal operands raise nothing.
pub fn round<F: Float>(a: F::Bits, code: u32, env: &mut Env) -> F::Bits {
    let mode = rounding(code, env);
    F::round_to_integral(a, mode, code & ROUND_QUIET == 0, env)
}

/// VCVTPH2PS: four half-precision numbers. Denormals are neither flushed nor reported.
pub fn half_to_single(a: u128, env: &mut Env) -> u128 {
    let before = env.flags & Flags::DENORMAL_USED;
    let result = (0..4).fold(0, |v, i| v | place::<F32>(F16::convert::<F32>(element::<F16>(a, i), env), i));
    env.flags = env.flags & !Flags::DENORMAL_USED | before;
    result
}

/// VCVTPS2PH: to four half-precision numbers, which are not flushed.
pub fn single_to_half(a: u128, code: u32, env: &mut Env) -> u128 {
    let mut env_here = Env { rounding: rounding(code, env), ..*env };
    let result = (0..4).fold(0, |v, i| v | place::<F16>(F32::convert::<F16>(element::<F32>(a, i), &mut env_here), i));
    env.raise(env_here.flags);
    result
}

/// CVTPS2PD, CVTSS2SD.
pub fn widen(n: u32, a: u128, env: &mut Env) -> u128 {
    (0..n).fold(0, |v, i| v | place::<F64>(F32::convert::<F64>(element::<F32>(a, i), env), i))
}

/// CVTPD2PS, CVTSD2SS.
pub fn narrow(n: u32, a: u128, env: &mut Env) -> u128 {
    (0..n).fold(0, |v, i| v | place::<F32>(F64::convert::<F32>(element::<F64>(a, i), env), i))
}

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const SMALLEST_NORMAL: u32 = 0x80_0000;
const QUIET: u32 = 1 << 22;
const DEFAULT_NAN: u32 = 0xffc0_0000;

/// An estimate of which 12 significant bits count.
// Deviation: processors differ in the result of these estimates, within a relative error of 1.5 * 2^-12; this is the exact
// result cut to 13 significant bits.
fn estimate(exact: f64) -> u32 {
    let single = exact as f32;
    let bits = single.to_bits() & !0x7ff;
    if bits & !SIGN < SMALLEST_NORMAL { bits & SIGN } else { bits }
}

/// RCPPS of one number. Denormals count as zero; no flag is raised.
pub fn reciprocal(a: u32) -> u32 {
    match a & !SIGN {
        magnitude if magnitude > INFINITY => a | QUIET,
        magnitude if magnitude < SMALLEST_NORMAL => a & SIGN | INFINITY,
        INFINITY => a & SIGN,
        _ => estimate(1.0 / f64::from(f32::from_bits(a))),
    }
}

/// RSQRTPS of one number.
pub fn reciprocal_square_root(a: u32) -> u32 {
    match a & !SIGN {
        magnitude if magnitude > INFINITY => a | QUIET,
        magnitude if magnitude < SMALLEST_NORMAL => a & SIGN | INFINITY,
        _ if a & SIGN != 0 => DEFAULT_NAN,
        INFINITY => 0,
        _ => estimate(1.0 / f64::from(f32::from_bits(a)).sqrt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(v: f32) -> u32 {
        v.to_bits()
    }

    #[test]
    fn minimum_is_the_second_operand_in_doubt() {
        let mut env = env_of(0x1f80);
        assert_eq!(extreme::<F32>(one(0.0), one(-0.0), false, &mut env), one(-0.0));
        assert_eq!(extreme::<F32>(one(f32::NAN), one(1.0), true, &mut env), one(1.0));
        assert_eq!(env.flags, Flags::INVALID);
        assert_eq!(extreme::<F32>(one(2.0), one(1.0), true, &mut env), one(2.0));
        // A denormal that counts as zero equals zero, and becomes one.
        let mut env = env_of(0x1f80 | DAZ);
        assert_eq!(extreme::<F32>(0, SIGN | 1, false, &mut env), SIGN);
        assert_eq!(mxcsr_flags(env.flags), 0);
    }

    #[test]
    fn predicates() {
        let nan = one(f32::NAN);
        let holds = |a: u32, b: u32, env: &mut Env| {
            (0..32).filter(|p| compare::<F32>(a, b, *p, env)).fold(0u32, |all, p| all | 1 << p)
        };
        let mut env = env_of(0x1f80);
        assert_eq!(holds(one(1.0), one(2.0), &mut env), 0x9696_9696);
        assert_eq!(env.flags, Flags::NONE);
        assert_eq!(holds(one(1.0), one(1.0), &mut env) & 0xffff, 0b1010_0101_1010_0101);
        assert_eq!(holds(nan, one(1.0), &mut env) & 0xffff, 0b1000_0111_0111_1000);
        for (predicate, signals) in [(0, false), (1, true), (3, false), (16, true), (17, false), (30, false)] {
            env.flags = Flags::NONE;
            compare::<F32>(nan, one(1.0), predicate, &mut env);
            assert_eq!(env.flags == Flags::INVALID, signals, "{predicate}");
        }
    }

    #[test]
    fn dot_products_and_fused() {
        let mut env = env_of(0x1f80);
        let v = |x: [f32; 4]| crate::vector::l32::join(x.map(f32::to_bits));
        let dot = dot_product::<F32>(4, v([1.0, 2.0, 3.0, 4.0]), v([5.0, 6.0, 7.0, 8.0]), 0x71, &mut env);
        assert_eq!(dot, v([38.0, 0.0, 0.0, 0.0]));
        let args = [v([1.0; 4]), v([2.0; 4]), v([3.0; 4])];
        assert_eq!(fused::<F32>(4, args, NEGATE_EVEN, &mut env), v([5.0, 7.0, 5.0, 7.0]));
        assert_eq!(fused::<F32>(1, args, NEGATE_PRODUCT, &mut env), v([-5.0, 0.0, 0.0, 0.0]));
        assert_eq!(add_sub::<F32>(4, args[0], args[1], &mut env), v([-1.0, 3.0, -1.0, 3.0]));
    }

    #[test]
    fn integers_and_estimates() {
        let mut env = env_of(0x1f80);
        assert_eq!(to_int::<F32>(one(2.5), 32, ROUND_MXCSR, &mut env), 2);
        assert_eq!(to_int::<F32>(one(3e9), 32, ROUND_ZERO, &mut env), 0x8000_0000);
        assert_eq!(env.flags, Flags::INVALID | Flags::INEXACT);
        assert_eq!(round::<F32>(one(-1.5), 1, &mut env), one(-2.0));
        assert_eq!((reciprocal(one(4.0)), reciprocal(one(-0.0))), (one(0.25), one(f32::NEG_INFINITY)));
        assert_eq!((reciprocal_square_root(one(4.0)), reciprocal_square_root(one(-1.0))), (one(0.5), DEFAULT_NAN));
        assert_eq!(half_to_single(0x3c00_0001, &mut env) >> 32, u128::from(one(1.0)));
        assert_eq!(single_to_half(u128::from(one(1.0)), 0, &mut env), 0x3c00);
    }
}
