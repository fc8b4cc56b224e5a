//! Conversion between formats (IEEE 754-2019, section 5.4.2; Arm ARM, `FPConvert`, `FPUnpackCV`, `FPRoundCV`).

use crate::arith::note_denormals;
use crate::env::{Env, Flags};
use crate::format::{Bits, Class, Format, Unpacked, operand_of_conversion, unpack_finite};
use crate::nan::propagate;
use crate::round::{Range, Rounded, pack_flushing, round};

#[inline(never)]
pub(crate) fn convert<S: Format, D: Format>(a: S::Bits, env: &mut Env) -> D::Bits {
    let value = if S::HALF && env.alt_half { unpack_alt::<S>(a) } else { operand_of_conversion::<S>(a, env) };
    if D::HALF && env.alt_half {
        return pack_alt::<D>(&value, env);
    }
    match value.class {
        Class::Finite => {
            note_denormals(value.denormal, env);
            let flush = env.flush_outputs && !D::HALF;
            pack_flushing::<D>(value.sign, value.exp, u128::from(value.sig) << 64, flush, env)
        }
        Class::Zero => D::zero(value.sign),
        Class::Infinity => D::infinity(value.sign),
        Class::QuietNan | Class::SignallingNan => propagate::<D>(&[value], env),
    }
}

/// Arm's alternative half precision: the largest exponent is one of numbers too.
fn unpack_alt<F: Format>(bits: F::Bits) -> Unpacked {
    let bits = bits.to_u64();
    let biased = (bits >> F::FRAC_BITS) as u32 & ((1 << F::EXP_BITS) - 1);
    let sign = bits >> (F::WIDTH - 1) != 0;
    unpack_finite::<F>(sign, biased, (bits & ((1 << F::FRAC_BITS) - 1)) << (63 - F::FRAC_BITS))
}

fn pack_alt<F: Format>(value: &Unpacked, env: &mut Env) -> F::Bits {
    let sign = value.sign;
    let range = Range { emax: F::EMAX + 1, ..F::RANGE };
    let rounded = match value.class {
        Class::Zero => return F::zero(sign),
        Class::QuietNan | Class::SignallingNan => {
            env.raise(Flags::INVALID);
            return F::zero(sign);
        }
        Class::Infinity => Rounded::Overflow(false),
        Class::Finite => round(sign, value.exp, u128::from(value.sig) << 64, range, false, env),
    };
    match rounded {
        Rounded::Finite(biased, sig) => F::assemble(sign, biased, sig),
        // Arm ARM, FPRound: saturates, invalid but not inexact.
        Rounded::Overflow(_) => {
            env.raise(Flags::INVALID);
            F::assemble(sign, (1 << F::EXP_BITS) - 1, u64::MAX)
        }
    }
}
