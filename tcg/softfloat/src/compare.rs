//! Comparison, minimum and maximum (IEEE 754-2019, sections 5.11 and 9.6).

use core::cmp::Ordering;

use crate::arith::note_denormals;
use crate::env::{Env, Flags};
use crate::format::{Bits, Class, Format, Unpacked, operand};
use crate::nan::propagate;

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The first is less.
    Less,
    /// They are equal; so are zeros of either sign.
    Equal,
    /// The first is greater.
    Greater,
    /// At least one is a NaN.
    Unordered,
}

impl From<Ordering> for Relation {
    #[inline(always)]
    fn from(ordering: Ordering) -> Self {
        match ordering {
            Ordering::Less => Self::Less,
            Ordering::Equal => Self::Equal,
            Ordering::Greater => Self::Greater,
        }
    }
}

/// Orders two values that are not NaNs.
fn order(a: &Unpacked, b: &Unpacked) -> Ordering {
    let key = |v: &Unpacked| match v.class {
        Class::Zero => (0, 0, 0),
        Class::Finite => (1, v.exp, v.sig),
        Class::Infinity | Class::QuietNan | Class::SignallingNan => (2, 0, 0),
    };
    let negative = |v: &Unpacked| v.sign && !v.is_zero();
    match (negative(a), negative(b)) {
        (false, false) => key(a).cmp(&key(b)),
        (true, true) => key(b).cmp(&key(a)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

#[inline(never)]
pub(crate) fn compare<F: Format>(a: F::Bits, b: F::Bits, signalling: bool, env: &mut Env) -> Relation {
    let a = operand::<F>(a, env);
    let b = operand::<F>(b, env);
    if a.is_nan() || b.is_nan() {
        if signalling || a.is_signalling() || b.is_signalling() {
            env.raise(Flags::INVALID);
        }
        return Relation::Unordered;
    }
    note_denormals(a.denormal || b.denormal, env);
    order(&a, &b).into()
}

/// The smaller or larger of two operands whose order is known.
#[inline(always)]
pub(crate) fn pick<B: Bits>(a: B, b: B, order: Ordering, max: bool) -> B {
    match order {
        Ordering::Less => {
            if max {
                b
            } else {
                a
            }
        }
        Ordering::Greater => {
            if max {
                a
            } else {
                b
            }
        }
        // Equal values differ at most in the sign of a zero: positive is larger.
        Ordering::Equal if max => a & b,
        Ordering::Equal => a | b,
    }
}

/// Packs an operand that was not changed, or flushed.
fn repack<F: Format>(value: &Unpacked, bits: F::Bits) -> F::Bits {
    if value.is_zero() { F::zero(value.sign) } else { bits }
}

pub(crate) fn extremum<F: Format>(a: F::Bits, b: F::Bits, max: bool, env: &mut Env) -> F::Bits {
    let x = operand::<F>(a, env);
    let y = operand::<F>(b, env);
    if x.is_nan() || y.is_nan() {
        return propagate::<F>(&[x, y], env);
    }
    note_denormals(x.denormal || y.denormal, env);
    pick(repack::<F>(&x, a), repack::<F>(&y, b), order(&x, &y), max)
}

pub(crate) fn extremum_number<F: Format>(a: F::Bits, b: F::Bits, max: bool, env: &mut Env) -> F::Bits {
    let loses = F::infinity(max);
    match (F::unpack(a).class, F::unpack(b).class) {
        (Class::QuietNan, Class::QuietNan) => extremum::<F>(a, b, max, env),
        (Class::QuietNan, _) => extremum::<F>(loses, b, max, env),
        (_, Class::QuietNan) => extremum::<F>(a, loses, max, env),
        _ => extremum::<F>(a, b, max, env),
    }
}
