//! Rounding an exact result to a format (IEEE 754-2019, sections 4.3 and 7.4 to 7.6).

use crate::env::{Env, Flags, Rounding, Tininess};
use crate::format::{Format, exp_mask};

/// Precision and exponent range that results are rounded to. Usually that of the destination format; x87 precision
/// control and Arm's alternative half precision differ.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Significand bits, the integer bit included: 1..=64.
    pub precision: u32,
    /// Smallest exponent of a normal number.
    pub emin: i32,
    /// Largest exponent of a finite number.
    pub emax: i32,
}

/// Shifts right; the last bit of the result is set if any set bit was lost.
#[inline]
pub(crate) fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    if shift == 0 {
        value
    } else if shift < 128 {
        value >> shift | u128::from(value << (128 - shift) != 0)
    } else {
        u128::from(value != 0)
    }
}

/// Whether to round the magnitude up. `odd` is the last kept bit, `rest` what follows it: its top bit is worth half a
/// unit in the last place, and it is zero only if nothing is lost.
#[inline]
pub(crate) fn round_up(mode: Rounding, sign: bool, odd: bool, rest: u64) -> bool {
    const HALF: u64 = 1 << 63;
    match mode {
        Rounding::NearestEven => rest > HALF || rest == HALF && odd,
        Rounding::NearestAway => rest >= HALF,
        Rounding::TowardPositive => rest != 0 && !sign,
        Rounding::TowardNegative => rest != 0 && sign,
        Rounding::TowardZero => false,
        Rounding::ToOdd => rest != 0 && !odd,
    }
}

/// A significand rounded to a number of bits.
struct Significand {
    /// From bit 63 downwards.
    sig: u64,
    /// Rounding carried out of bit 63: `sig` is then 1.0, and worth twice as much.
    carry: bool,
    inexact: bool,
}

/// Rounds `sig` (integer bit 127) to `precision` bits.
#[inline]
fn round_significand(mode: Rounding, sign: bool, sig: u128, precision: u32) -> Significand {
    let unused = 64 - precision;
    let kept = (sig >> 64) as u64 >> unused;
    let rest = sig << precision;
    let rest = (rest >> 64) as u64 | u64::from(rest as u64 != 0);
    if rest == 0 || !round_up(mode, sign, kept & 1 != 0, rest) {
        return Significand { sig: kept << unused, carry: false, inexact: rest != 0 };
    }
    let (sig, carry) = (kept << unused).overflowing_add(1 << unused);
    Significand { sig: if carry { 1 << 63 } else { sig }, carry, inexact: true }
}

/// Whether an overflowing result becomes infinity, rather than the largest finite number.
#[inline]
pub(crate) fn overflows_to_infinity(mode: Rounding, sign: bool) -> bool {
    match mode {
        Rounding::NearestEven | Rounding::NearestAway => true,
        Rounding::TowardPositive => !sign,
        Rounding::TowardNegative => sign,
        Rounding::TowardZero | Rounding::ToOdd => false,
    }
}

/// A rounded magnitude.
pub(crate) enum Rounded {
    /// Arguments of `Format::assemble`.
    Finite(u32, u64),
    /// Above the range; whether rounding lost bits. No flag has been raised.
    Overflow(bool),
}

/// Rounds the magnitude `sig * 2^(exp - 127)`, where bit 127 of `sig` is set and its last bit stands for anything
/// below. Raises underflow and inexact; overflow is the caller's.
#[inline]
pub(crate) fn round(sign: bool, exp: i32, sig: u128, range: Range, flush: bool, env: &mut Env) -> Rounded {
    let Range { precision, emin, emax } = range;
    let normal = round_significand(env.rounding, sign, sig, precision);
    if exp >= emin {
        let exp = exp + i32::from(normal.carry);
        if exp > emax {
            return Rounded::Overflow(normal.inexact);
        }
        if normal.inexact {
            env.raise(Flags::INEXACT);
        }
        return Rounded::Finite((exp - emin + 1) as u32, normal.sig);
    }
    let tiny = env.tininess == Tininess::BeforeRounding || exp + i32::from(normal.carry) < emin;
    if tiny && flush {
        env.raise(Flags::UNDERFLOW);
        if env.flush_inexact {
            env.raise(Flags::INEXACT);
        }
        return Rounded::Finite(0, 0);
    }
    if tiny && env.unmasked.contains(Flags::UNDERFLOW) {
        env.raise(if normal.inexact { Flags::UNDERFLOW | Flags::INEXACT } else { Flags::UNDERFLOW });
        return Rounded::Finite(0, 0);
    }
    let denormal = shift_right_sticky(sig, (emin - exp) as u32);
    let Significand { sig, inexact, .. } = round_significand(env.rounding, sign, denormal, precision);
    if inexact {
        env.raise(if tiny { Flags::UNDERFLOW | Flags::INEXACT } else { Flags::INEXACT });
    }
    // Rounding may have reached the smallest normal number.
    Rounded::Finite((sig >> 63) as u32, sig)
}

/// Rounds and packs the result of an arithmetic operation; arguments as for `round`.
#[inline]
pub fn pack<F: Format>(sign: bool, exp: i32, sig: u128, env: &mut Env) -> F::Bits {
    pack_flushing::<F>(sign, exp, sig, if F::HALF { env.flush_f16 } else { env.flush_outputs }, env)
}

/// As `pack`, with the caller's choice whether tiny results are flushed to zero.
#[inline]
pub(crate) fn pack_flushing<F: Format>(sign: bool, exp: i32, sig: u128, flush: bool, env: &mut Env) -> F::Bits {
    match round(sign, exp, sig, F::RANGE, flush, env) {
        Rounded::Finite(biased, sig) => F::assemble(sign, biased, sig),
        Rounded::Overflow(inexact) => {
            if !inexact && env.unmasked.contains(Flags::OVERFLOW) {
                env.raise(Flags::OVERFLOW);
                return F::infinity(sign);
            }
            overflow::<F>(sign, env)
        }
    }
}

/// The result of an overflow: infinity or the largest finite number.
pub fn overflow<F: Format>(sign: bool, env: &mut Env) -> F::Bits {
    env.raise(Flags::OVERFLOW | Flags::INEXACT);
    if overflows_to_infinity(env.rounding, sign) { F::infinity(sign) } else { F::max_finite(sign) }
}

/// Packs any magnitude given as an integer: `sig * 2^(exp - 127)`, zero excluded.
#[inline]
pub(crate) fn normalise_and_pack<F: Format>(sign: bool, exp: i32, sig: u128, env: &mut Env) -> F::Bits {
    let shift = sig.leading_zeros();
    pack::<F>(sign, exp - shift as i32, sig << shift, env)
}

/// Packs a NaN as it is; the fraction's last bits are lost in a narrower format.
pub(crate) fn pack_nan<F: Format>(sign: bool, sig: u64) -> F::Bits {
    F::assemble(sign, exp_mask::<F>(), 1 << 63 | sig)
}
