//! All operations, as methods of the formats.

use crate::arith::{add_exact, div_exact, mul_add_exact, mul_exact, scale, sqrt_exact};
use crate::compare::{Relation, compare, extremum, extremum_number, pick};
use crate::convert::convert;
use crate::env::{Env, Rounding};
use crate::format::{Bits, Format};
use crate::host::Host;
use crate::integer::{Int, OutOfRange, from_int, round_to_integral, to_int};

/// Arithmetic on raw bits.
pub trait Float: Format + Host {
    /// `a + b`.
    #[inline(always)]
    fn add(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match if env.host_rounding() { Self::host_add(a, b) } else { None } {
            Some(sum) => sum,
            None => add_exact::<Self>(a, b, false, env),
        }
    }

    /// `a - b`. A NaN `b` keeps its sign.
    #[inline(always)]
    fn sub(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match if env.host_rounding() { Self::host_sub(a, b) } else { None } {
            Some(difference) => difference,
            None => add_exact::<Self>(a, b, true, env),
        }
    }

    /// `a * b`.
    #[inline(always)]
    fn mul(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match if env.host_rounding() { Self::host_mul(a, b) } else { None } {
            Some(product) => product,
            None => mul_exact::<Self>(a, b, env),
        }
    }

    /// `a / b`.
    #[inline(always)]
    fn div(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match if env.host_rounding() { Self::host_div(a, b) } else { None } {
            Some(quotient) => quotient,
            None => div_exact::<Self>(a, b, env),
        }
    }

    /// Square root.
    #[inline(always)]
    fn sqrt(a: Self::Bits, env: &mut Env) -> Self::Bits {
        match if env.host_rounding() { Self::host_sqrt(a) } else { None } {
            Some(root) => root,
            None => sqrt_exact::<Self>(a, env),
        }
    }

    /// `a * b + c`, rounded once. Subtracting forms negate operands with `Format::neg` first.
    #[inline(always)]
    fn mul_add(a: Self::Bits, b: Self::Bits, c: Self::Bits, env: &mut Env) -> Self::Bits {
        match if env.host_rounding() { Self::host_mul_add(a, b, c) } else { None } {
            Some(sum) => sum,
            None => mul_add_exact::<Self>(a, b, c, env),
        }
    }

    /// `a * 2^n`, rounded once.
    fn scale(a: Self::Bits, n: i32, env: &mut Env) -> Self::Bits {
        scale::<Self>(a, n, env)
    }

    /// Compares; a quiet NaN raises invalid only if `signalling`, a signalling one always does.
    #[inline(always)]
    fn compare(a: Self::Bits, b: Self::Bits, signalling: bool, env: &mut Env) -> Relation {
        match Self::host_compare(a, b) {
            Some(ordering) => ordering.into(),
            None => compare::<Self>(a, b, signalling, env),
        }
    }

    /// The larger operand; any NaN operand gives a NaN, and +0 is larger than -0 (IEEE 754-2019 `maximum`, Arm FMAX).
    #[inline(always)]
    fn max(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match Self::host_compare(a, b) {
            Some(order) => pick(a, b, order, true),
            None => extremum::<Self>(a, b, true, env),
        }
    }

    /// The smaller operand, otherwise as `max` (IEEE 754-2019 `minimum`, Arm FMIN).
    #[inline(always)]
    fn min(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match Self::host_compare(a, b) {
            Some(order) => pick(a, b, order, false),
            None => extremum::<Self>(a, b, false, env),
        }
    }

    /// The larger operand; a number beats a quiet NaN (IEEE 754-2008 `maxNum`, Arm FMAXNM).
    #[inline(always)]
    fn max_num(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match Self::host_compare(a, b) {
            Some(order) => pick(a, b, order, true),
            None => extremum_number::<Self>(a, b, true, env),
        }
    }

    /// The smaller operand; a number beats a quiet NaN (IEEE 754-2008 `minNum`, Arm FMINNM).
    #[inline(always)]
    fn min_num(a: Self::Bits, b: Self::Bits, env: &mut Env) -> Self::Bits {
        match Self::host_compare(a, b) {
            Some(order) => pick(a, b, order, false),
            None => extremum_number::<Self>(a, b, false, env),
        }
    }

    /// Rounds to an integral value in the same format. Inexact is raised only if `exact` asks for it
    /// (IEEE 754-2019 `roundToIntegralExact`).
    fn round_to_integral(a: Self::Bits, rounding: Rounding, exact: bool, env: &mut Env) -> Self::Bits {
        round_to_integral::<Self>(a, rounding, exact, env)
    }

    /// Converts to format `D`, in the environment's rounding direction. Half precision follows `Env::alt_half`, and
    /// its denormals are never flushed.
    #[inline(always)]
    fn convert<D: Host>(a: Self::Bits, env: &mut Env) -> D::Bits {
        let fast = match (Self::WIDTH, D::WIDTH) {
            (32, 64) => Self::host_to_f64(a).map(D::Bits::from_u64),
            (64, 32) if env.host_rounding() => D::host_from_f64(a.to_u64()),
            _ => None,
        };
        match fast {
            Some(result) => result,
            None => convert::<Self, D>(a, env),
        }
    }

    /// Converts `a * 2^frac_bits` to an integer, of which the low `int.bits` bits are returned, the others zero.
    /// `frac_bits` is 0..=64. Values out of range saturate and NaNs give 0; both raise invalid and not inexact.
    fn to_int(a: Self::Bits, int: Int, frac_bits: u32, rounding: Rounding, env: &mut Env) -> u64 {
        match to_int::<Self>(a, int, frac_bits, rounding, env) {
            Ok(value) => value,
            Err(OutOfRange::Nan) => 0,
            Err(OutOfRange::Above) => int.max(),
            Err(OutOfRange::Below) => int.min(),
        }
    }

    /// As `to_int`, but tells what was wrong when it raises invalid (for x86's integer indefinite).
    fn to_int_checked(
        a: Self::Bits,
        int: Int,
        frac_bits: u32,
        rounding: Rounding,
        env: &mut Env,
    ) -> Result<u64, OutOfRange> {
        to_int::<Self>(a, int, frac_bits, rounding, env)
    }

    /// Converts `value * 2^-frac_bits`, of which only the low `int.bits` bits are used, in the environment's rounding
    /// direction. `frac_bits` is 0..=64.
    fn from_int(value: u64, int: Int, frac_bits: u32, env: &mut Env) -> Self::Bits {
        from_int::<Self>(value, int, frac_bits, env)
    }
}

impl<F: Format + Host> Float for F {}
