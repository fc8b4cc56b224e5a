//! Floating-point functions of the manual's shared pseudocode (Arm ARM, DDI 0487, J1.3 "Shared pseudocode",
//! `shared/functions/float`), as pure functions over raw bits.
//!
//! They bear the pseudocode's names. `env` makes their environment from FPCR and FPSR, they add to its flags, and
//! `fpsr_flags` gives what FPSR then holds. Without FEAT_AFP.

mod arith;
mod compare;
mod convert;
mod estimate;

pub use arith::*;
pub use compare::*;
pub use convert::*;
pub use estimate::*;
pub use softfloat::{Bits, Env, F16, F32, F64, Flags, Float, Format, Int, Rounding};

/// FPCR.AHP: conversions use alternative half precision.
pub const FPCR_AHP: u32 = 1 << 26;
/// FPCR.DN: NaN results are the default NaN.
pub const FPCR_DN: u32 = 1 << 25;
/// FPCR.FZ: single- and double-precision denormals are flushed to zero.
pub const FPCR_FZ: u32 = 1 << 24;
/// FPCR.FZ16: half-precision denormals are flushed to zero, except in conversions.
pub const FPCR_FZ16: u32 = 1 << 19;
/// Lowest bit of FPCR.RMode.
pub const FPCR_RMODE_SHIFT: u32 = 22;

/// FPSR.IOC: invalid operation.
pub const FPSR_IOC: u32 = 1 << 0;
/// FPSR.DZC: division by zero.
pub const FPSR_DZC: u32 = 1 << 1;
/// FPSR.OFC: overflow.
pub const FPSR_OFC: u32 = 1 << 2;
/// FPSR.UFC: underflow.
pub const FPSR_UFC: u32 = 1 << 3;
/// FPSR.IXC: inexact.
pub const FPSR_IXC: u32 = 1 << 4;
/// FPSR.IDC: input denormal.
pub const FPSR_IDC: u32 = 1 << 7;

/// The five flags that stand in the same places in FPSR and `Flags`.
const SAME_PLACE: u32 = FPSR_IOC | FPSR_DZC | FPSR_OFC | FPSR_UFC | FPSR_IXC;

/// The environment that FPCR selects, with FPSR's cumulative flags already set: that is what lets arithmetic take its
/// fast path. Other bits of both registers are ignored.
#[inline]
pub fn env(fpcr: u32, fpsr: u32) -> Env {
    let fz = fpcr & FPCR_FZ != 0;
    Env {
        flags: flags(fpsr),
        rounding: rounding_mode(fpcr),
        default_nan: fpcr & FPCR_DN != 0,
        flush_inputs: fz,
        flush_outputs: fz,
        flush_f16: fpcr & FPCR_FZ16 != 0,
        alt_half: fpcr & FPCR_AHP != 0,
        ..Env::ARM
    }
}

/// `FPRoundingMode`: FPCR.RMode decoded.
#[inline]
pub fn rounding_mode(fpcr: u32) -> Rounding {
    match fpcr >> FPCR_RMODE_SHIFT & 3 {
        0 => Rounding::NearestEven,
        1 => Rounding::TowardPositive,
        2 => Rounding::TowardNegative,
        _ => Rounding::TowardZero,
    }
}

/// The flags that are set in FPSR.
#[inline]
pub fn flags(fpsr: u32) -> Flags {
    let ieee = Flags::from_bits((fpsr & SAME_PLACE) as u8);
    if fpsr & FPSR_IDC != 0 { ieee | Flags::INPUT_DENORMAL } else { ieee }
}

/// FPSR's cumulative flags, to be ORed into the register.
#[inline]
pub fn fpsr_flags(flags: Flags) -> u32 {
    let idc = if flags.contains(Flags::INPUT_DENORMAL) { FPSR_IDC } else { 0 };
    u32::from(flags.bits()) & SAME_PLACE | idc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_status() {
        let all = env(FPCR_AHP | FPCR_DN | FPCR_FZ | FPCR_FZ16 | 2 << FPCR_RMODE_SHIFT, 0);
        assert!(all.alt_half && all.default_nan && all.flush_inputs && all.flush_outputs && all.flush_f16);
        assert_eq!(all.rounding, Rounding::TowardNegative);
        assert_eq!(env(0, 0), Env::ARM);
        for (flag, bit) in [
            (Flags::INVALID, FPSR_IOC),
            (Flags::DIV_BY_ZERO, FPSR_DZC),
            (Flags::OVERFLOW, FPSR_OFC),
            (Flags::UNDERFLOW, FPSR_UFC),
            (Flags::INEXACT, FPSR_IXC),
            (Flags::INPUT_DENORMAL, FPSR_IDC),
            (Flags::DENORMAL_USED, 0),
        ] {
            assert_eq!(fpsr_flags(flag), bit);
        }
        for fpsr in [0, 0x9f, FPSR_IXC, FPSR_IDC | FPSR_OFC] {
            assert_eq!(fpsr_flags(env(0, fpsr | 1 << 27).flags), fpsr);
        }
    }
}
