//! `FPRecipEstimate`, `FPRSqrtEstimate`, `UnsignedRecipEstimate`, `UnsignedRSqrtEstimate`.

use softfloat::parts::{Class, invalid, operand, overflow, propagate};
use softfloat::{Env, Flags, Float};

/// `RecipEstimate`: the reciprocal of `a / 512`, 0.5 <= that < 1, in units of 1/256. `a` is 256..512.
fn recip_estimate(a: u64) -> u64 {
    let reciprocal = (1 << 19) / (2 * a + 1);
    reciprocal.div_ceil(2)
}

/// `RecipSqrtEstimate`: the reciprocal root of `a / 512`, 0.25 <= that < 1, in units of 1/256. `a` is 128..512.
fn recip_sqrt_estimate(a: u64) -> u64 {
    // The middle of the interval that `a` stands for, in units of 1/1024: of 9 significant bits below a half, 8 above.
    let a = if a < 256 { 2 * a + 1 } else { 2 * (a | 1) };
    // The largest b with a * b^2 < 2^28: the root in units of 1/512, rounded down.
    let b = (((1 << 28) - 1) / a).isqrt();
    b.div_ceil(2)
}

fn flushes_results<F: Float>(env: &Env) -> bool {
    if F::HALF { env.flush_f16 } else { env.flush_outputs }
}

/// `FPRecipEstimate`: 8 bits of the reciprocal. FRECPE.
pub fn fp_recip_estimate<F: Float>(op: F::Bits, env: &mut Env) -> F::Bits {
    let value = operand::<F>(op, env);
    let sign = value.sign;
    match value.class {
        Class::QuietNan | Class::SignallingNan => return propagate::<F>(&[value], env),
        Class::Infinity => return F::zero(sign),
        Class::Zero => {
            env.raise(Flags::DIV_BY_ZERO);
            return F::infinity(sign);
        }
        Class::Finite => {}
    }
    if value.exp < -(F::EMAX + 1) {
        return overflow::<F>(sign, env);
    }
    if value.exp >= F::EMAX - 1 && flushes_results::<F>(env) {
        env.raise(Flags::UNDERFLOW);
        return F::zero(sign);
    }
    let estimate = recip_estimate(value.sig >> 55);
    let biased = F::EMAX - 1 - value.exp;
    let sig = estimate << 55;
    // At most two places: denormal results are not rounded.
    if biased > 0 { F::assemble(sign, biased as u32, sig) } else { F::assemble(sign, 0, sig >> (1 - biased)) }
}

/// `FPRSqrtEstimate`: 8 bits of the reciprocal square root. FRSQRTE.
pub fn fp_rsqrt_estimate<F: Float>(op: F::Bits, env: &mut Env) -> F::Bits {
    let value = operand::<F>(op, env);
    match value.class {
        Class::QuietNan | Class::SignallingNan => propagate::<F>(&[value], env),
        Class::Zero => {
            env.raise(Flags::DIV_BY_ZERO);
            F::infinity(value.sign)
        }
        _ if value.sign => invalid::<F>(env),
        Class::Infinity => F::zero(false),
        Class::Finite => {
            // 0.25..1 with an even exponent to halve.
            let scaled = if value.exp & 1 != 0 { value.sig >> 55 } else { value.sig >> 56 };
            let biased = (2 * F::EMAX - 1 - value.exp) / 2;
            F::assemble(false, biased as u32, recip_sqrt_estimate(scaled) << 55)
        }
    }
}

/// `UnsignedRecipEstimate`, of a fraction of 2^32. URECPE.
pub fn unsigned_recip_estimate(op: u32) -> u32 {
    match op >> 23 {
        a @ 256.. => (recip_estimate(a.into()) as u32) << 23,
        _ => u32::MAX,
    }
}

/// `UnsignedRSqrtEstimate`, of a fraction of 2^32. URSQRTE.
pub fn unsigned_rsqrt_estimate(op: u32) -> u32 {
    match op >> 23 {
        a @ 128.. => (recip_sqrt_estimate(a.into()) as u32) << 23,
        _ => u32::MAX,
    }
}
