//! `FPConvert`, `FPToFixed`, `FixedToFP`, `FPRoundInt`, `FPRoundIntN`, `FPToFixedJS`.

use softfloat::parts::{Class, Unpacked, operand};
use softfloat::{Env, F64, Flags, Float, Int, Rounding};

/// `FPConvert` in FPCR's rounding mode. FCVT, FCVTL, FCVTN.
#[inline]
pub fn fp_convert<S: Float, D: Float>(op: S::Bits, env: &mut Env) -> D::Bits {
    S::convert::<D>(op, env)
}

/// `FPConvert` with rounding to odd. FCVTXN.
pub fn fp_convert_round_odd<S: Float, D: Float>(op: S::Bits, env: &mut Env) -> D::Bits {
    let mut odd = Env { rounding: Rounding::ToOdd, ..*env };
    let result = S::convert::<D>(op, &mut odd);
    env.raise(odd.flags);
    result
}

/// `FPToFixed`: an integer with `fbits` (0..=64) fractional bits, saturating; bits above `int.bits` are zero. FCVTxx.
#[inline]
pub fn fp_to_fixed<F: Float>(op: F::Bits, fbits: u32, int: Int, rounding: Rounding, env: &mut Env) -> u64 {
    F::to_int(op, int, fbits, rounding, env)
}

/// `FixedToFP`: from an integer with `fbits` (0..=64) fractional bits; bits above `int.bits` are ignored. SCVTF, UCVTF.
#[inline]
pub fn fixed_to_fp<F: Float>(op: u64, fbits: u32, int: Int, env: &mut Env) -> F::Bits {
    F::from_int(op, int, fbits, env)
}

/// `FPRoundInt`. FRINTI and FRINTX use FPCR's rounding mode, the latter with `exact`; FRINTN, FRINTP, FRINTM, FRINTZ
/// and FRINTA have their own.
#[inline]
pub fn fp_round_int<F: Float>(op: F::Bits, rounding: Rounding, exact: bool, env: &mut Env) -> F::Bits {
    F::round_to_integral(op, rounding, exact, env)
}

/// `FPRoundIntN`: as `fp_round_int`, for values that fit in a signed integer of `int_bits` (32 or 64) bits; the others
/// give its smallest value. FRINT32X, FRINT32Z, FRINT64X, FRINT64Z.
pub fn fp_round_int_n<F: Float>(op: F::Bits, rounding: Rounding, int_bits: u32, env: &mut Env) -> F::Bits {
    let top = int_bits as i32 - 1;
    let in_range = |value: Unpacked| match value.class {
        Class::Zero => true,
        Class::Finite => value.exp < top || value.exp == top && value.sign && value.sig == 1 << 63,
        Class::Infinity | Class::QuietNan | Class::SignallingNan => false,
    };
    let mut rounded = *env;
    let result = F::round_to_integral(op, rounding, true, &mut rounded);
    if in_range(F::unpack(result)) {
        env.raise(rounded.flags);
        result
    } else {
        env.raise(Flags::INVALID);
        F::assemble(true, (F::EMAX + top) as u32, 0)
    }
}

/// `FPToFixedJS`: the integral part modulo 2^32, and Z: whether the conversion was exact. FJCVTZS.
pub fn fp_to_fixed_js(op: u64, env: &mut Env) -> (u32, bool) {
    let value = operand::<F64>(op, env);
    match value.class {
        // Z is clear for -0, and for denormals that were flushed.
        Class::Zero => (0, op == 0),
        Class::Finite => truncate_modulo(&value, env),
        Class::Infinity | Class::QuietNan | Class::SignallingNan => {
            env.raise(Flags::INVALID);
            (0, false)
        }
    }
}

fn truncate_modulo(value: &Unpacked, env: &mut Env) -> (u32, bool) {
    let (low, inexact) = match value.exp {
        ..0 => (0, true),
        0..=62 => (value.sig >> (63 - value.exp), value.sig << (value.exp + 1) != 0),
        63..=94 => (value.sig << (value.exp - 63), false),
        _ => (0, false),
    };
    let limit = (1 << 31) - u64::from(!value.sign);
    let out_of_range = value.exp > 31 || value.exp >= 0 && low > limit;
    if out_of_range {
        env.raise(Flags::INVALID);
    } else if inexact {
        env.raise(Flags::INEXACT);
    }
    let low = low as u32;
    (if value.sign { low.wrapping_neg() } else { low }, !out_of_range && !inexact)
}

#[cfg(test)]
mod tests {
    use softfloat::{F16, F32};

    use super::*;
    use crate::fp::{FPCR_AHP, FPCR_FZ, FPCR_FZ16, FPSR_IDC, FPSR_IOC, FPSR_IXC, FPSR_UFC, env, fpsr_flags};

    #[test]
    fn javascript() {
        for (op, fpcr, expect) in [
            (0.0, 0, (0, true, 0)),
            (-0.0, 0, (0, false, 0)),
            (1.0, 0, (1, true, 0)),
            (-1.5, 0, (u32::MAX, false, FPSR_IXC)),
            (0.25, 0, (0, false, FPSR_IXC)),
            (-2147483648.0, 0, (0x8000_0000, true, 0)),
            (2147483648.0, 0, (0x8000_0000, false, FPSR_IOC)),
            (4294967297.5, 0, (1, false, FPSR_IOC)),
            (2f64.powi(84) + 2f64.powi(32), 0, (0, false, FPSR_IOC)),
            (f64::NEG_INFINITY, 0, (0, false, FPSR_IOC)),
            (5e-324, 0, (0, false, FPSR_IXC)),
            (5e-324, FPCR_FZ, (0, false, FPSR_IDC)),
        ] {
            let mut env = env(fpcr, 0);
            let (value, z) = fp_to_fixed_js(f64::to_bits(op), &mut env);
            assert_eq!((value, z, fpsr_flags(env.flags)), expect, "{op}");
        }
    }

    #[test]
    fn integral_values_of_32_bits() {
        let minimum = (-2147483648f32).to_bits();
        for (op, expect) in [
            (2147483520f32, (2147483520f32.to_bits(), 0)),
            (2147483648.0, (minimum, FPSR_IOC)),
            (-2147483648.0, (minimum, 0)),
            (-2147483904.0, (minimum, FPSR_IOC)),
            (-0.5, ((-0f32).to_bits(), FPSR_IXC)),
            (f32::NAN, (minimum, FPSR_IOC)),
        ] {
            let mut env = env(0, 0);
            let result = fp_round_int_n::<F32>(op.to_bits(), Rounding::TowardZero, 32, &mut env);
            assert_eq!((result, fpsr_flags(env.flags)), expect, "{op}");
        }
    }

    #[test]
    fn half_precision() {
        let narrow = |op: f32, fpcr| {
            let mut env = env(fpcr, 0);
            (fp_convert::<F32, F16>(op.to_bits(), &mut env), fpsr_flags(env.flags))
        };
        // Neither FZ nor FZ16 flushes a half here.
        assert_eq!(narrow(2f32.powi(-24), FPCR_FZ | FPCR_FZ16), (1, 0));
        assert_eq!(narrow(2f32.powi(-25), 0), (0, FPSR_UFC | FPSR_IXC));
        assert_eq!(narrow(65536.0, FPCR_AHP), (0x7c00, 0));
        assert_eq!(narrow(131072.0, FPCR_AHP), (0x7fff, FPSR_IOC));
        assert_eq!(narrow(f32::NAN, FPCR_AHP), (0, FPSR_IOC));
    }

    #[test]
    fn to_odd() {
        let mut env = env(0, 0);
        let op = 1.0 + 2f64.powi(-40);
        assert_eq!(fp_convert_round_odd::<F64, F32>(op.to_bits(), &mut env), 0x3f80_0001);
        assert_eq!((env.rounding, fpsr_flags(env.flags)), (Rounding::NearestEven, FPSR_IXC));
        assert_eq!(fp_convert_round_odd::<F64, F32>(1e300f64.to_bits(), &mut env), 0x7f7f_ffff);
    }
}
