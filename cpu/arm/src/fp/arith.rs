//! `FPAdd` to `FPMulAddH`: arithmetic, minimum and maximum, steps of the reciprocal iterations.

use softfloat::parts::{Class, mul_add_unpacked, operand, propagate};
use softfloat::{Env, F16, F32, Float};

/// `FPAdd`.
#[inline(always)]
pub fn fp_add<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::add(op1, op2, env)
}

/// `FPSub`.
#[inline(always)]
pub fn fp_sub<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::sub(op1, op2, env)
}

/// `FPAbs` of `FPSub`: FABD.
#[inline(always)]
pub fn fp_abd<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::abs(F::sub(op1, op2, env))
}

/// `FPMul`.
#[inline(always)]
pub fn fp_mul<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::mul(op1, op2, env)
}

/// `FPNeg` of `FPMul`: FNMUL.
#[inline(always)]
pub fn fp_nmul<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::neg(F::mul(op1, op2, env))
}

/// `FPDiv`.
#[inline(always)]
pub fn fp_div<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::div(op1, op2, env)
}

/// `FPSqrt`.
#[inline(always)]
pub fn fp_sqrt<F: Float>(op: F::Bits, env: &mut Env) -> F::Bits {
    F::sqrt(op, env)
}

/// `FPNeg`.
#[inline(always)]
pub fn fp_neg<F: Float>(op: F::Bits) -> F::Bits {
    F::neg(op)
}

/// `FPAbs`.
#[inline(always)]
pub fn fp_abs<F: Float>(op: F::Bits) -> F::Bits {
    F::abs(op)
}

/// `FPMulAdd`: `addend + op1 * op2`, rounded once. FMADD, FMLA.
#[inline(always)]
pub fn fp_mul_add<F: Float>(addend: F::Bits, op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::mul_add(op1, op2, addend, env)
}

/// `addend - op1 * op2`: FMSUB, FMLS.
#[inline(always)]
pub fn fp_mul_sub<F: Float>(addend: F::Bits, op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::mul_add(F::neg(op1), op2, addend, env)
}

/// `-addend - op1 * op2`: FNMADD.
#[inline(always)]
pub fn fp_nmul_add<F: Float>(addend: F::Bits, op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::mul_add(F::neg(op1), op2, F::neg(addend), env)
}

/// `-addend + op1 * op2`: FNMSUB.
#[inline(always)]
pub fn fp_nmul_sub<F: Float>(addend: F::Bits, op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::mul_add(op1, op2, F::neg(addend), env)
}

/// `FPMulAddH`: a single-precision addend plus the product of two halves, rounded once. FMLAL; FMLSL negates `op1`.
pub fn fp_mul_add_h(addend: u32, op1: u16, op2: u16, env: &mut Env) -> u32 {
    let addend = operand::<F32>(addend, env);
    let op1 = operand::<F16>(op1, env);
    let op2 = operand::<F16>(op2, env);
    mul_add_unpacked::<F32>(op1, op2, addend, 0, env)
}

/// Whether the product is that of an infinity and a zero, and if not, the sign of an infinite operand's product.
enum Special {
    InfinityTimesZero { sign: bool },
    Infinity { sign: bool },
    No,
}

fn special<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> Special {
    let (a, b) = (operand::<F>(op1, env), operand::<F>(op2, env));
    let sign = a.sign ^ b.sign;
    match (a.class, b.class) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => Special::InfinityTimesZero { sign },
        (Class::Infinity, Class::Finite | Class::Infinity) | (Class::Finite, Class::Infinity) => {
            Special::Infinity { sign }
        }
        _ => Special::No,
    }
}

/// The number `numerator * 2^exp`, exact.
fn constant<F: Float>(sign: bool, numerator: u64, exp: i32) -> F::Bits {
    let shift = numerator.leading_zeros();
    F::assemble(sign, (F::EMAX + exp + 63 - shift as i32) as u32, numerator << shift)
}

/// `FPMulX`: as `FPMul`, but infinity times zero is two.
#[inline]
pub fn fp_mul_x<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    match special::<F>(op1, op2, env) {
        Special::InfinityTimesZero { sign } => constant::<F>(sign, 1, 1),
        _ => F::mul(op1, op2, env),
    }
}

/// `FPRecipStepFused`: `2 - op1 * op2`, rounded once. FRECPS.
#[inline]
pub fn fp_recip_step_fused<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    let op1 = F::neg(op1);
    match special::<F>(op1, op2, env) {
        Special::InfinityTimesZero { .. } => constant::<F>(false, 1, 1),
        Special::Infinity { sign } => F::infinity(sign),
        Special::No => F::mul_add(op1, op2, constant::<F>(false, 1, 1), env),
    }
}

/// `FPRSqrtStepFused`: `(3 - op1 * op2) / 2`, rounded once. FRSQRTS.
#[inline]
pub fn fp_rsqrt_step_fused<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    let op1 = F::neg(op1);
    match special::<F>(op1, op2, env) {
        Special::InfinityTimesZero { .. } => constant::<F>(false, 3, -1),
        Special::Infinity { sign } => F::infinity(sign),
        Special::No => {
            let (a, b) = (operand::<F>(op1, env), operand::<F>(op2, env));
            let three = F::unpack(constant::<F>(false, 3, 0));
            mul_add_unpacked::<F>(a, b, three, -1, env)
        }
    }
}

/// `FPMax`.
#[inline]
pub fn fp_max<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::max(op1, op2, env)
}

/// `FPMin`.
#[inline]
pub fn fp_min<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::min(op1, op2, env)
}

/// `FPMaxNum`.
#[inline]
pub fn fp_max_num<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::max_num(op1, op2, env)
}

/// `FPMinNum`.
#[inline]
pub fn fp_min_num<F: Float>(op1: F::Bits, op2: F::Bits, env: &mut Env) -> F::Bits {
    F::min_num(op1, op2, env)
}

/// `FPRecpX`: a power of two that approximates the reciprocal's exponent. FRECPX.
pub fn fp_recp_x<F: Float>(op: F::Bits, env: &mut Env) -> F::Bits {
    let value = operand::<F>(op, env);
    let ones = (1 << F::EXP_BITS) - 1;
    let biased = match value.class {
        Class::QuietNan | Class::SignallingNan => return propagate::<F>(&[value], env),
        Class::Zero => ones - 1,
        Class::Infinity => 0,
        Class::Finite if value.denormal => ones - 1,
        Class::Finite => ones - (value.exp + F::EMAX) as u32,
    };
    F::assemble(value.sign, biased, 0)
}
