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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::F32;

    const QUIET_SMALL: u32 = 0x7fc0_0001;
    const QUIET_LARGE: u32 = 0xffc0_0002;
    const SIGNALLING: u32 = 0x7f80_0003;
    const ONE: u32 = 0x3f80_0000;

    fn result(operands: [u32; 2], env: Env) -> (u32, Flags) {
        let mut env = env;
        (propagate::<F32>(&operands.map(F32::unpack), &mut env), env.flags)
    }

    #[test]
    fn rules() {
        use NanRule::{Arm, Sse, X87};
        let quieted = SIGNALLING | 0x40_0000;
        for (rule, operands, expect) in [
            (Arm, [QUIET_SMALL, QUIET_LARGE], QUIET_SMALL),
            (Sse, [QUIET_SMALL, QUIET_LARGE], QUIET_SMALL),
            (X87, [QUIET_SMALL, QUIET_LARGE], QUIET_LARGE),
            (X87, [QUIET_LARGE, QUIET_SMALL], QUIET_LARGE),
            (Arm, [QUIET_SMALL, SIGNALLING], quieted),
            (Sse, [QUIET_SMALL, SIGNALLING], QUIET_SMALL),
            (X87, [SIGNALLING, QUIET_SMALL], QUIET_SMALL),
            (X87, [SIGNALLING, SIGNALLING | 1 << 31], quieted),
            (X87, [ONE, SIGNALLING], quieted),
        ] {
            let flags =
                if operands.iter().any(|v| v & 0x7fff_ffff == SIGNALLING) { Flags::INVALID } else { Flags::NONE };
            assert_eq!(result(operands, Env { nan: rule, ..Env::ARM }), (expect, flags), "{rule:?} {operands:x?}");
        }
    }

    #[test]
    fn default_nans() {
        let positive = Env { default_nan: true, ..Env::ARM };
        assert_eq!(result([ONE, QUIET_LARGE], positive), (0x7fc0_0000, Flags::NONE));
        assert_eq!(result([ONE, SIGNALLING], positive), (0x7fc0_0000, Flags::INVALID));
        assert_eq!(invalid::<F32>(&mut Env::SSE.clone()), 0xffc0_0000);
    }
}
