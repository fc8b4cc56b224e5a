//! NaN operands and the results they lead to (IEEE 754-2019, section 6.2).

use crate::env::{Env, Flags, NanRule};
use crate::format::{Class, Format, QUIET, Unpacked};
use crate::round::pack_nan;

/// The result of an invalid operation on numbers.
#[cold]
pub fn invalid<F: Format>(env: &mut Env) -> F::Bits {
    env.raise(Flags::INVALID);
    F::default_nan(env)
}

/// The result of an operation of which at least one operand is a NaN.
#[cold]
pub fn propagate<F: Format>(operands: &[Unpacked], env: &mut Env) -> F::Bits {
    if operands.iter().any(Unpacked::is_signalling) {
        env.raise(Flags::INVALID);
    }
    if env.default_nan {
        return F::default_nan(env);
    }
    match choose(operands, env.nan) {
        Some(nan) => pack_nan::<F>(nan.sign, nan.sig | QUIET),
        None => F::default_nan(env),
    }
}

fn choose(operands: &[Unpacked], rule: NanRule) -> Option<&Unpacked> {
    let first = |class| operands.iter().find(|v| v.class == class);
    match rule {
        NanRule::Arm => first(Class::SignallingNan).or(first(Class::QuietNan)),
        NanRule::Sse => operands.iter().find(|v| v.is_nan()),
        NanRule::X87 => {
            let class = first(Class::QuietNan).or(first(Class::SignallingNan))?.class;
            // Among equal significands the positive one.
            operands.iter().filter(|v| v.class == class).max_by_key(|v| (v.sig | QUIET, !v.sign))
        }
    }
}
