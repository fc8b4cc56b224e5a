//! Addition, multiplication, division, square root, fused multiply-add, scaling (IEEE 754-2019, section 5.4.1).
//!
//! These are the exact routines, on unpacked operands; `host` has the fast paths.

use crate::env::{Env, Flags, NanRule, Rounding};
use crate::format::{Class, Format, Unpacked, operand};
use crate::nan::{invalid, propagate};
use crate::round::{normalise_and_pack, pack, shift_right_sticky};

/// `a * 2^n`.
#[inline(never)]
pub(crate) fn scale<F: Format>(a: F::Bits, n: i32, env: &mut Env) -> F::Bits {
    let a = operand::<F>(a, env);
    match a.class {
        Class::Finite => {
            note_denormals(a.denormal, env);
            // Beyond this every result overflows or rounds to nothing, whatever the format.
            let n = n.clamp(-0x1_0000, 0x1_0000);
            pack::<F>(a.sign, a.exp + n, u128::from(a.sig) << 64, env)
        }
        Class::Zero => F::zero(a.sign),
        Class::Infinity => F::infinity(a.sign),
        Class::QuietNan | Class::SignallingNan => propagate::<F>(&[a], env),
    }
}

/// Notes that a denormal operand takes part in an operation that is neither invalid nor has a NaN.
#[inline]
pub(crate) fn note_denormals(any: bool, env: &mut Env) {
    if any {
        env.raise(Flags::DENORMAL_USED);
    }
}

/// Sign of a sum that is exactly zero, of numbers that are not both zeros of one sign.
fn sign_of_cancellation(env: &Env) -> bool {
    env.rounding == Rounding::TowardNegative
}

#[inline(never)]
pub(crate) fn add_exact<F: Format>(a: F::Bits, b: F::Bits, subtract: bool, env: &mut Env) -> F::Bits {
    let a = operand::<F>(a, env);
    let mut b = operand::<F>(b, env);
    if a.is_nan() || b.is_nan() {
        return propagate::<F>(&[a, b], env);
    }
    b.sign ^= subtract;
    match (a.class, b.class) {
        (Class::Infinity, Class::Infinity) if a.sign != b.sign => return invalid::<F>(env),
        _ => note_denormals(a.denormal || b.denormal, env),
    }
    match (a.class, b.class) {
        (Class::Infinity, _) => F::infinity(a.sign),
        (_, Class::Infinity) => F::infinity(b.sign),
        (Class::Zero, Class::Zero) => F::zero(if a.sign == b.sign { a.sign } else { sign_of_cancellation(env) }),
        // Packed again, not returned: a denormal result may have to be flushed.
        (_, Class::Zero) => pack::<F>(a.sign, a.exp, u128::from(a.sig) << 64, env),
        (Class::Zero, _) => pack::<F>(b.sign, b.exp, u128::from(b.sig) << 64, env),
        _ => {
            let a = Term { sign: a.sign, exp: a.exp + 1, sig: u128::from(a.sig) << 63 };
            let b = Term { sign: b.sign, exp: b.exp + 1, sig: u128::from(b.sig) << 63 };
            add_terms::<F>(a, b, env)
        }
    }
}

/// The number `±sig * 2^(exp - 127)`, with bit 127 of `sig` clear and bit 126 set.
struct Term {
    sign: bool,
    exp: i32,
    sig: u128,
}

/// Adds and rounds. The last bits of both terms must be zero, so that sticky bits stay below them: at least two.
#[inline]
fn add_terms<F: Format>(a: Term, b: Term, env: &mut Env) -> F::Bits {
    let (large, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
    let aligned = shift_right_sticky(small.sig, (large.exp - small.exp) as u32);
    if large.sign == small.sign {
        return normalise_and_pack::<F>(large.sign, large.exp, large.sig + aligned, env);
    }
    match large.sig - aligned {
        0 => F::zero(sign_of_cancellation(env)),
        difference => normalise_and_pack::<F>(large.sign, large.exp, difference, env),
    }
}

#[inline(never)]
pub(crate) fn mul_exact<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    let a = operand::<F>(a, env);
    let b = operand::<F>(b, env);
    if a.is_nan() || b.is_nan() {
        return propagate::<F>(&[a, b], env);
    }
    let sign = a.sign ^ b.sign;
    match (a.class, b.class) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return invalid::<F>(env),
        _ => note_denormals(a.denormal || b.denormal, env),
    }
    match (a.class, b.class) {
        (Class::Infinity, _) | (_, Class::Infinity) => F::infinity(sign),
        (Class::Zero, _) | (_, Class::Zero) => F::zero(sign),
        _ => normalise_and_pack::<F>(sign, a.exp + b.exp + 1, u128::from(a.sig) * u128::from(b.sig), env),
    }
}

#[inline(never)]
pub(crate) fn div_exact<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    let a = operand::<F>(a, env);
    let b = operand::<F>(b, env);
    if a.is_nan() || b.is_nan() {
        return propagate::<F>(&[a, b], env);
    }
    let sign = a.sign ^ b.sign;
    match (a.class, b.class) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => invalid::<F>(env),
        (Class::Finite, Class::Zero) => {
            env.raise(Flags::DIV_BY_ZERO);
            F::infinity(sign)
        }
        (Class::Infinity, _) => {
            note_denormals(b.denormal, env);
            F::infinity(sign)
        }
        (Class::Zero, _) | (_, Class::Infinity) => {
            note_denormals(a.denormal || b.denormal, env);
            F::zero(sign)
        }
        _ => {
            note_denormals(a.denormal || b.denormal, env);
            normalise_and_pack::<F>(sign, a.exp - b.exp, quotient::<F>(a.sig, b.sig), env)
        }
    }
}

/// `a / b * 2^127` with a sticky last bit, of normalised significands. Precise enough for the format.
#[inline]
fn quotient<F: Format>(a: u64, b: u64) -> u128 {
    let divisor = u128::from(b);
    // At most 64 bits, because a < 2 * b: one hardware division.
    let dividend = u128::from(a) << 63;
    let high = dividend / divisor;
    let rest = dividend - high * divisor;
    if F::RANGE.precision <= 62 {
        return high << 64 | u128::from(rest != 0);
    }
    let rest = rest << 64;
    high << 64 | (rest / divisor) | u128::from(rest % divisor != 0)
}

#[inline(never)]
pub(crate) fn sqrt_exact<F: Format>(a: F::Bits, env: &mut Env) -> F::Bits {
    let a = operand::<F>(a, env);
    if a.is_nan() {
        return propagate::<F>(&[a], env);
    }
    match a.class {
        Class::Zero => F::zero(a.sign),
        _ if a.sign => invalid::<F>(env),
        Class::Infinity => F::infinity(false),
        _ => {
            note_denormals(a.denormal, env);
            // The magnitude is radicand * 2^(exp - 126) with an even exponent and the radicand in 2^126..2^128.
            let odd = a.exp & 1;
            let radicand = u128::from(a.sig) << (63 + odd);
            pack::<F>(false, (a.exp - odd) / 2, root::<F>(radicand), env)
        }
    }
}

/// `sqrt(radicand) * 2^64` with a sticky last bit, precise enough for the format. Bit 127 of the result is set.
fn root<F: Format>(radicand: u128) -> u128 {
    if F::RANGE.precision <= 30 {
        // The significand's last bits are zero, and so is the radicand's lower half.
        let high = (radicand >> 64) as u64;
        let root = high.isqrt();
        return u128::from(root) << 96 | u128::from(root * root != high);
    }
    let root = radicand.isqrt();
    let mut rest = radicand - root * root;
    if F::RANGE.precision <= 62 {
        return root << 64 | u128::from(rest != 0);
    }
    // Four more bits, one at a time.
    let mut root = root;
    for _ in 0..4 {
        rest <<= 2;
        root <<= 1;
        if rest > 2 * root {
            rest -= 2 * root + 1;
            root += 1;
        }
    }
    root << 60 | u128::from(rest != 0)
}

#[inline(never)]
pub(crate) fn mul_add_exact<F: Format>(a: F::Bits, b: F::Bits, c: F::Bits, env: &mut Env) -> F::Bits {
    let a = operand::<F>(a, env);
    let b = operand::<F>(b, env);
    let c = operand::<F>(c, env);
    mul_add_unpacked::<F>(a, b, c, 0, env)
}

/// `(a * b + c) * 2^scale`, rounded once to `F`. The operands may have come from other formats, of up to 62 bits of
/// precision; denormals must have been flushed already if that is wanted.
#[inline]
pub fn mul_add_unpacked<F: Format>(a: Unpacked, b: Unpacked, c: Unpacked, scale: i32, env: &mut Env) -> F::Bits {
    const { assert!(F::RANGE.precision <= 62) };
    let infinity_times_zero = a.is_infinity() && b.is_zero() || a.is_zero() && b.is_infinity();
    if a.is_nan() || b.is_nan() || c.is_nan() {
        return match env.nan {
            // Arm ARM, FPMulAdd: the quiet addend gives way to the invalid product, a signalling one does not.
            NanRule::Arm if infinity_times_zero && c.class == Class::QuietNan => invalid::<F>(env),
            NanRule::Arm => propagate::<F>(&[c, a, b], env),
            NanRule::Sse | NanRule::X87 => propagate::<F>(&[a, b, c], env),
        };
    }
    let sign = a.sign ^ b.sign;
    let infinite_product = a.is_infinity() || b.is_infinity();
    if infinity_times_zero || infinite_product && c.is_infinity() && sign != c.sign {
        return invalid::<F>(env);
    }
    note_denormals(a.denormal || b.denormal || c.denormal, env);
    if infinite_product {
        return F::infinity(sign);
    }
    if c.is_infinity() {
        return F::infinity(c.sign);
    }
    let addend = Term { sign: c.sign, exp: c.exp + 1 + scale, sig: u128::from(c.sig) << 63 };
    if a.is_zero() || b.is_zero() {
        return match c.class {
            Class::Zero => F::zero(if sign == c.sign { sign } else { sign_of_cancellation(env) }),
            _ => normalise_and_pack::<F>(addend.sign, addend.exp, addend.sig, env),
        };
    }
    // Exact: 128 bits hold it, and at least the last four are zero.
    let product = u128::from(a.sig) * u128::from(b.sig);
    let exp = a.exp + b.exp + 1 + scale;
    if c.is_zero() {
        return normalise_and_pack::<F>(sign, exp, product, env);
    }
    let shift = product.leading_zeros();
    let product = Term { sign, exp: exp - shift as i32 + 1, sig: product << shift >> 1 };
    add_terms::<F>(product, addend, env)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Range;

    /// As wide as a significand may be.
    #[derive(Clone, Copy, Debug)]
    struct Widest;

    impl Format for Widest {
        type Bits = u64;
        const EXP_BITS: u32 = 15;
        const FRAC_BITS: u32 = 48;
        const RANGE: Range = Range { precision: 64, emin: -16382, emax: 16383 };
    }

    const SIGNIFICANDS: [u64; 8] = [
        1 << 63,
        1 << 63 | 1,
        3 << 62,
        0xaaaa_aaaa_aaaa_aaab,
        0xb504_f333_f9de_6484,
        0xffff_ffff_0000_0001,
        u64::MAX - 1,
        u64::MAX,
    ];

    /// The 256-bit product, upper half first: halves compare as the product does.
    fn multiply(a: u128, b: u128) -> (u128, u128) {
        let low = |x: u128| x & u128::from(u64::MAX);
        let (a1, a0, b1, b0) = (a >> 64, low(a), b >> 64, low(b));
        let middle = a1 * b0 + ((a0 * b0) >> 64);
        let (middle, carry) = middle.overflowing_add(a0 * b1);
        (a1 * b1 + (middle >> 64) + (u128::from(carry) << 64), middle << 64 | low(a0 * b0))
    }

    /// 63 bits are not enough for the widest format: the routines must go on to twice as many.
    #[test]
    fn quotients_of_64_bits() {
        for a in SIGNIFICANDS {
            for b in SIGNIFICANDS {
                let dividend = (u128::from(a) >> 1, u128::from(a) << 127);
                let q = quotient::<Widest>(a, b);
                let below = multiply(q & !1, b.into());
                assert!(below <= dividend && dividend < multiply((q & !1) + 2, b.into()), "{a:#x} / {b:#x}: {q:#x}");
                assert!(q & 1 != 0 || below == dividend, "{a:#x} / {b:#x}: {q:#x} is not exact");
            }
        }
    }

    #[test]
    fn roots_of_64_bits() {
        for a in SIGNIFICANDS {
            for radicand in [u128::from(a) << 63, u128::from(a) << 64] {
                let r = root::<Widest>(radicand);
                assert!(r >> 127 == 1, "{r:#x} is not normalised");
                // The last 60 bits are one sticky bit.
                let kept = r >> 60 << 60;
                let square = multiply(kept, kept);
                let next = kept.checked_add(1 << 60).map_or((u128::MAX, u128::MAX), |next| multiply(next, next));
                assert!(square <= (radicand, 0) && (radicand, 0) < next, "{radicand:#x}: {r:#x}");
                assert_eq!(r != kept, square != (radicand, 0), "{radicand:#x}: {r:#x}");
            }
        }
    }
}
