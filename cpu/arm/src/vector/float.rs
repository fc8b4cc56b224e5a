//! Floating-point operations on elements. `n` elements from the lowest take part; the others of the result are zero.

use crate::fp::{self, Bits, Env, F16, F32, F64, Float, Int, Rounding};

pub use softfloat::elements::{element, map1, map2, map3, place};

fn mask<F: Float>(holds: bool) -> F::Bits {
    F::Bits::from_u64(if holds { u64::MAX >> (64 - F::WIDTH) } else { 0 })
}

/// FCMEQ of elements: all ones or zero.
pub fn fcmeq<F: Float>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    mask::<F>(fp::fp_compare_eq::<F>(a, b, env))
}
/// FCMGE of elements.
pub fn fcmge<F: Float>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    mask::<F>(fp::fp_compare_ge::<F>(a, b, env))
}
/// FCMGT of elements.
pub fn fcmgt<F: Float>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    mask::<F>(fp::fp_compare_gt::<F>(a, b, env))
}
/// FACGE of elements.
pub fn facge<F: Float>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    mask::<F>(fp::fp_compare_ge::<F>(F::abs(a), F::abs(b), env))
}
/// FACGT of elements.
pub fn facgt<F: Float>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    mask::<F>(fp::fp_compare_gt::<F>(F::abs(a), F::abs(b), env))
}

/// FCVTxS, FCVTxU of elements: integers of the same width.
pub fn to_fixed<F: Float>(n: u32, a: u128, fbits: u32, signed: bool, rounding: Rounding, env: &mut Env) -> u128 {
    let int = Int { bits: F::WIDTH, signed };
    map1::<F>(n, a, env, |a, env| F::Bits::from_u64(fp::fp_to_fixed::<F>(a, fbits, int, rounding, env)))
}

/// SCVTF, UCVTF of elements.
pub fn from_fixed<F: Float>(n: u32, a: u128, fbits: u32, signed: bool, env: &mut Env) -> u128 {
    let int = Int { bits: F::WIDTH, signed };
    map1::<F>(n, a, env, |a, env| fp::fixed_to_fp::<F>(a.to_u64(), fbits, int, env))
}

/// FCVTL: the low half of narrow elements (`size` of the wide ones, 2 or 3) made wide.
pub fn fcvtl(size: u8, a: u128, env: &mut Env) -> u128 {
    if size == 2 {
        (0..4).fold(0, |v, i| v | place::<F32>(fp::fp_convert::<F16, F32>(element::<F16>(a, i), env), i))
    } else {
        (0..2).fold(0, |v, i| v | place::<F64>(fp::fp_convert::<F32, F64>(element::<F32>(a, i), env), i))
    }
}

/// FCVTN: wide elements (of `size`) made narrow, in the low half.
pub fn fcvtn(size: u8, a: u128, env: &mut Env) -> u128 {
    if size == 2 {
        (0..4).fold(0, |v, i| v | place::<F16>(fp::fp_convert::<F32, F16>(element::<F32>(a, i), env), i))
    } else {
        (0..2).fold(0, |v, i| v | place::<F32>(fp::fp_convert::<F64, F32>(element::<F64>(a, i), env), i))
    }
}

/// FCVTXN: doubles to singles, rounding to odd; `n` of them.
pub fn fcvtxn(n: u32, a: u128, env: &mut Env) -> u128 {
    (0..n).fold(0, |v, i| v | place::<F32>(fp::fp_convert_round_odd::<F64, F32>(element::<F64>(a, i), env), i))
}

/// FMLAL, FMLSL (`subtract`): `n` singles plus products of the halves at the same places of the low half.
pub fn fmlal(n: u32, c: u128, a: u128, b: u128, subtract: bool, env: &mut Env) -> u128 {
    (0..n).fold(0, |v, i| {
        let a = element::<F16>(a, i);
        let a = if subtract { fp::fp_neg::<F16>(a) } else { a };
        v | place::<F32>(fp::fp_mul_add_h(element::<F32>(c, i), a, element::<F16>(b, i), env), i)
    })
}

/// FCMLA: complex numbers in pairs of elements, `b` turned by `rot` times 90 degrees.
pub fn fcmla<F: Float>(n: u32, c: u128, a: u128, b: u128, rot: u32, env: &mut Env) -> u128 {
    let mut result = 0;
    for pair in 0..n / 2 {
        let (re, im) = (2 * pair, 2 * pair + 1);
        // The part of `a` that multiplies both, and what it multiplies for the real and the imaginary part.
        let factor = element::<F>(a, if rot & 1 == 0 { re } else { im });
        let (mut x, mut y) = if rot & 1 == 0 {
            (element::<F>(b, re), element::<F>(b, im))
        } else {
            (element::<F>(b, im), element::<F>(b, re))
        };
        if matches!(rot, 1 | 2) {
            x = F::neg(x);
        }
        if rot & 2 != 0 {
            y = F::neg(y);
        }
        result |= place::<F>(fp::fp_mul_add::<F>(element::<F>(c, re), factor, x, env), re);
        result |= place::<F>(fp::fp_mul_add::<F>(element::<F>(c, im), factor, y, env), im);
    }
    result
}

/// FCADD: complex numbers in pairs of elements, `b` turned by 90 degrees, or by 270 if `minus`.
pub fn fcadd<F: Float>(n: u32, a: u128, b: u128, minus: bool, env: &mut Env) -> u128 {
    let mut result = 0;
    for pair in 0..n / 2 {
        let (re, im) = (2 * pair, 2 * pair + 1);
        let (mut x, mut y) = (element::<F>(b, im), element::<F>(b, re));
        if minus {
            y = F::neg(y);
        } else {
            x = F::neg(x);
        }
        result |= place::<F>(fp::fp_add::<F>(element::<F>(a, re), x, env), re);
        result |= place::<F>(fp::fp_add::<F>(element::<F>(a, im), y, env), im);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: f32, b: f32) -> u128 {
        u128::from(a.to_bits()) | u128::from(b.to_bits()) << 32
    }

    #[test]
    fn complex_numbers() {
        // (1 + 2i) * (3 + 5i) is -7 + 11i, in two steps; times i turns by 90 degrees.
        let mut env = Env::ARM;
        let (a, b) = (pair(1.0, 2.0), pair(3.0, 5.0));
        let half = fcmla::<F32>(2, 0, a, b, 0, &mut env);
        assert_eq!(half, pair(3.0, 5.0));
        assert_eq!(fcmla::<F32>(2, half, a, b, 1, &mut env), pair(-7.0, 11.0));
        let conjugate = fcmla::<F32>(2, 0, a, b, 2, &mut env);
        assert_eq!(conjugate, pair(-3.0, -5.0));
        assert_eq!(fcmla::<F32>(2, conjugate, a, b, 3, &mut env), pair(7.0, -11.0));
        assert_eq!(fcadd::<F32>(2, a, b, false, &mut env), pair(-4.0, 5.0));
        assert_eq!(fcadd::<F32>(2, a, b, true, &mut env), pair(6.0, -1.0));
    }

    #[test]
    fn only_the_asked_elements() {
        let mut env = Env::ARM;
        let zeros_divide = map2::<F32>(1, pair(1.0, 0.0), pair(2.0, 0.0), &mut env, fp::fp_div::<F32>);
        assert_eq!((zeros_divide, env), (pair(0.5, 0.0), Env::ARM));
        assert_eq!(fcvtl(3, pair(1.5, 2.0), &mut env), u128::from(1.5f64.to_bits()) | u128::from(2f64.to_bits()) << 64);
        assert_eq!(to_fixed::<F32>(2, pair(-1.5, 2.5), 1, true, Rounding::TowardZero, &mut env), 5 << 32 | 0xffff_fffd);
        assert_eq!(fcmgt::<F16>(0x3c00, 0x0000, &mut env), 0xffff);
        assert_eq!(facge::<F64>(1f64.to_bits(), (-1f64).to_bits(), &mut env), u64::MAX);
    }
}
