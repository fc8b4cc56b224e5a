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

#[cfg(test)]
mod tests {
    use softfloat::{F16, F32, F64, Rounding};

    use super::*;
    use crate::fp::{FPCR_FZ, FPCR_FZ16, FPSR_DZC, FPSR_IDC, FPSR_IOC, FPSR_IXC, FPSR_OFC, FPSR_UFC, env, fpsr_flags};

    fn check<F: Float>(estimate: fn(F::Bits, &mut Env) -> F::Bits, fpcr: u32, op: F::Bits, expect: (F::Bits, u32)) {
        let mut env = env(fpcr, 0);
        assert_eq!((estimate(op, &mut env), fpsr_flags(env.flags)), expect, "estimate of {op:x}");
    }

    #[test]
    fn reciprocals() {
        check::<F32>(fp_recip_estimate::<F32>, 0, 0x3f80_0000, (0x3f7f_8000, 0));
        check::<F64>(fp_recip_estimate::<F64>, 0, 0xc008_0000_0000_0000, (0xbfd5_5000_0000_0000, 0));
        check::<F32>(fp_recip_estimate::<F32>, 0, 0x8000_0000, (0xff80_0000, FPSR_DZC));
        check::<F32>(fp_recip_estimate::<F32>, 0, 0x7f80_0001, (0x7fc0_0001, FPSR_IOC));
        // Too small for a finite reciprocal, and the smallest that is not.
        check::<F32>(fp_recip_estimate::<F32>, 0, 0x001f_ffff, (0x7f80_0000, FPSR_OFC | FPSR_IXC));
        check::<F32>(fp_recip_estimate::<F32>, 0, 0x0020_0000, (0x7f7f_8000, 0));
        check::<F32>(fp_recip_estimate::<F32>, FPCR_FZ, 0x0020_0000, (0x7f80_0000, FPSR_DZC | FPSR_IDC));
        // Denormal reciprocals.
        check::<F32>(fp_recip_estimate::<F32>, 0, 0x7f00_0000, (0x003f_e000, 0));
        check::<F32>(fp_recip_estimate::<F32>, FPCR_FZ, 0x7f00_0000, (0, FPSR_UFC));
        check::<F16>(fp_recip_estimate::<F16>, FPCR_FZ16, 0xf800, (0x8000, FPSR_UFC));
        check::<F16>(fp_recip_estimate::<F16>, FPCR_FZ16, 0x03ff, (0x7c00, FPSR_DZC));
    }

    #[test]
    fn overflow_follows_the_rounding_mode() {
        for (rounding, expect) in [
            (Rounding::NearestEven, [0x7f80_0000, 0xff80_0000]),
            (Rounding::TowardPositive, [0x7f80_0000, 0xff7f_ffff]),
            (Rounding::TowardNegative, [0x7f7f_ffff, 0xff80_0000]),
            (Rounding::TowardZero, [0x7f7f_ffff, 0xff7f_ffff]),
        ] {
            let mut env = Env { rounding, ..env(0, 0) };
            assert_eq!([1, 0x8000_0001].map(|op| fp_recip_estimate::<F32>(op, &mut env)), expect, "{rounding:?}");
        }
    }

    #[test]
    fn reciprocal_roots() {
        check::<F32>(fp_rsqrt_estimate::<F32>, 0, 0x3f80_0000, (0x3f7f_8000, 0));
        check::<F32>(fp_rsqrt_estimate::<F32>, 0, 0x4080_0000, (0x3eff_8000, 0));
        check::<F32>(fp_rsqrt_estimate::<F32>, 0, 0x8000_0000, (0xff80_0000, FPSR_DZC));
        check::<F32>(fp_rsqrt_estimate::<F32>, 0, 0xbf80_0000, (0x7fc0_0000, FPSR_IOC));
        check::<F32>(fp_rsqrt_estimate::<F32>, 0, 0x7f80_0000, (0, 0));
    }

    #[test]
    fn unsigned_estimates() {
        assert_eq!(
            [0, 0x7fff_ffff, 0x8000_0000, u32::MAX].map(unsigned_recip_estimate),
            [u32::MAX, u32::MAX, 0xff80_0000, 0x8000_0000]
        );
        assert_eq!(
            [0, 0x3fff_ffff, 0x4000_0000, u32::MAX].map(unsigned_rsqrt_estimate),
            [u32::MAX, u32::MAX, 0xff80_0000, 0x8000_0000]
        );
    }
}
