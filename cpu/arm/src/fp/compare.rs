//! `FPCompare`, `FPCompareEQ`, `FPCompareGE`, `FPCompareGT`.

use softfloat::{Env, Float, Relation};

/// `FPCompare`: NZCV, with N in bit 3. FCMP, FCCMP; the signalling forms (FCMPE, FCCMPE) raise invalid for quiet NaNs.
#[inline]
pub fn fp_compare<F: Float>(op1: F::Bits, op2: F::Bits, signal_nans: bool, env: &mut Env) -> u32 {
    match F::compare(op1, op2, signal_nans, env) {
        Relation::Less => 0b1000,
        Relation::Equal => 0b0110,
        Relation::Greater => 0b0010,
        Relation::Unordered => 0b0011,
    }
}

/// `FPCompareEQ`. A quiet NaN is not invalid.
#[inline]
pub fn fp_compare_eq<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> bool {
    F::compare(op1, op2, false, env) == Relation::Equal
}

/// `FPCompareGE`. Any NaN is invalid.
#[inline]
pub fn fp_compare_ge<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> bool {
    matches!(F::compare(op1, op2, true, env), Relation::Greater | Relation::Equal)
}

/// `FPCompareGT`. Any NaN is invalid.
#[inline]
pub fn fp_compare_gt<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> bool {
    F::compare(op1, op2, true, env) == Relation::Greater
}
