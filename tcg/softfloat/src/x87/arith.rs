//! Addition, multiplication, division, square root, comparison, scaling, rounding to integers.

use super::{Context, Extended, F80, INTEGER, Kind};
use crate::compare::Relation;
use crate::env::{Flags, Rounding};
use crate::round::{round_up, shift_right_sticky};
use core::cmp::Ordering;

impl Context {
    /// `a + b`
    #[inline]
    pub fn add(&mut self, a: Extended, b: Extended) -> F80 {
        self.sum(a, b, false)
    }

    /// `a - b`
    #[inline]
    pub fn sub(&mut self, a: Extended, b: Extended) -> F80 {
        self.sum(a, b, true)
    }

    fn sum(&mut self, a: Extended, mut b: Extended, subtract: bool) -> F80 {
        if a.is_nan() || b.is_nan() {
            return self.propagate(&[a, b]);
        }
        b.sign ^= subtract;
        if a.is(Kind::Infinity) && b.is(Kind::Infinity) && a.sign != b.sign {
            return self.invalid();
        }
        if self.denormal(a.denormal || b.denormal) {
            return F80::INDEFINITE;
        }
        let precision = self.precision;
        match (a.kind, b.kind) {
            (Kind::Infinity, _) => return F80::infinity(a.sign),
            (_, Kind::Infinity) => return F80::infinity(b.sign),
            (Kind::Zero, Kind::Zero) => {
                return F80::zero(if a.sign == b.sign { a.sign } else { self.sign_of_cancellation() });
            }
            (_, Kind::Zero) => return self.pack(a.sign, a.exp, u128::from(a.sig) << 64, precision),
            (Kind::Zero, _) => return self.pack(b.sign, b.exp, u128::from(b.sig) << 64, precision),
            _ => {}
        }
        let (large, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
        // One bit of room above, and at least two below for what is shifted out.
        let aligned = shift_right_sticky(u128::from(small.sig) << 63, (large.exp - small.exp) as u32);
        let base = u128::from(large.sig) << 63;
        if large.sign == small.sign {
            return self.normalise_and_pack(large.sign, large.exp + 1, base + aligned, precision);
        }
        match base - aligned {
            0 => F80::zero(self.sign_of_cancellation()),
            difference => self.normalise_and_pack(large.sign, large.exp + 1, difference, precision),
        }
    }

    fn sign_of_cancellation(&self) -> bool {
        self.rounding == Rounding::TowardNegative
    }

    /// `a * b`
    pub fn mul(&mut self, a: Extended, b: Extended) -> F80 {
        if a.is_nan() || b.is_nan() {
            return self.propagate(&[a, b]);
        }
        let sign = a.sign ^ b.sign;
        match (a.kind, b.kind) {
            (Kind::Infinity, Kind::Zero) | (Kind::Zero, Kind::Infinity) => return self.invalid(),
            _ if self.denormal(a.denormal || b.denormal) => return F80::INDEFINITE,
            (Kind::Infinity, _) | (_, Kind::Infinity) => return F80::infinity(sign),
            (Kind::Zero, _) | (_, Kind::Zero) => return F80::zero(sign),
            _ => {}
        }
        let precision = self.precision;
        self.normalise_and_pack(sign, a.exp + b.exp + 1, u128::from(a.sig) * u128::from(b.sig), precision)
    }

    /// `a / b`
    pub fn div(&mut self, a: Extended, b: Extended) -> F80 {
        if a.is_nan() || b.is_nan() {
            return self.propagate(&[a, b]);
        }
        let sign = a.sign ^ b.sign;
        match (a.kind, b.kind) {
            (Kind::Infinity, Kind::Infinity) | (Kind::Zero, Kind::Zero) => return self.invalid(),
            (Kind::Finite, Kind::Zero) => {
                self.flags |= Flags::DIV_BY_ZERO;
                return F80::infinity(sign);
            }
            _ if self.denormal(a.denormal || b.denormal) => return F80::INDEFINITE,
            (Kind::Infinity, _) => return F80::infinity(sign),
            (Kind::Zero, _) | (_, Kind::Infinity) => return F80::zero(sign),
            _ => {}
        }
        let divisor = u128::from(b.sig);
        // At most 64 bits, because a.sig < 2 * b.sig.
        let dividend = u128::from(a.sig) << 63;
        let high = dividend / divisor;
        let rest = (dividend - high * divisor) << 64;
        let low = rest / divisor;
        let quotient = high << 64 | low | u128::from(low * divisor != rest);
        let precision = self.precision;
        self.normalise_and_pack(sign, a.exp - b.exp, quotient, precision)
    }

    /// The square root.
    pub fn sqrt(&mut self, a: Extended) -> F80 {
        if a.is_nan() {
            return self.propagate(&[a]);
        }
        match a.kind {
            Kind::Zero => return F80::zero(a.sign),
            _ if a.sign => return self.invalid(),
            Kind::Infinity => return F80::infinity(false),
            _ if self.denormal(a.denormal) => return F80::INDEFINITE,
            _ => {}
        }
        // The magnitude is radicand * 2^(exp - 126) with an even exponent and the radicand in 2^126..2^128.
        let odd = a.exp & 1;
        let radicand = u128::from(a.sig) << (63 + odd);
        let root = radicand.isqrt();
        let rest = radicand - root * root;
        // The square of root + 1/2 lies between rest = root and rest = root + 1.
        let sig = root << 64 | u128::from(rest > root) << 63 | u128::from(rest != 0);
        let precision = self.precision;
        self.pack(false, (a.exp - odd) / 2, sig, precision)
    }

    /// How two values compare; a quiet NaN is invalid unless `quiet`.
    pub fn compare(&mut self, a: Extended, b: Extended, quiet: bool) -> Relation {
        if a.is_nan() || b.is_nan() {
            let silent = |v: Extended| !v.is_nan() || v.is(Kind::QuietNan);
            if !quiet || !silent(a) || !silent(b) {
                self.flags |= Flags::INVALID;
            }
            return Relation::Unordered;
        }
        self.denormal(a.denormal || b.denormal);
        order(&a, &b).into()
    }

    /// `a * 2^trunc(b)` (SDM vol. 2A, "FSCALE").
    pub fn scale(&mut self, a: Extended, b: Extended) -> F80 {
        if a.is_nan() || b.is_nan() {
            return self.propagate(&[a, b]);
        }
        match (a.kind, b.kind) {
            (Kind::Zero, Kind::Infinity) if !b.sign => return self.invalid(),
            (Kind::Infinity, Kind::Infinity) if b.sign => return self.invalid(),
            _ if self.denormal(a.denormal || b.denormal) => return F80::INDEFINITE,
            (_, Kind::Infinity) => return if b.sign { F80::zero(a.sign) } else { F80::infinity(a.sign) },
            (Kind::Zero, _) => return F80::zero(a.sign),
            (Kind::Infinity, _) => return F80::infinity(a.sign),
            _ => {}
        }
        // Beyond 2^17 every result is out of range.
        let magnitude = match b.exp {
            _ if b.is(Kind::Zero) => 0,
            17.. => 1 << 17,
            0..17 => (b.sig >> (63 - b.exp)) as i32,
            _ => 0,
        };
        let n = if b.sign { -magnitude } else { magnitude };
        self.pack(a.sign, a.exp + n, u128::from(a.sig) << 64, 64)
    }

    /// Exponent and significand (FXTRACT).
    pub fn extract(&mut self, a: Extended) -> (F80, F80) {
        match a.kind {
            _ if a.is_nan() => {
                let nan = self.propagate(&[a]);
                (nan, nan)
            }
            Kind::Zero => {
                self.flags |= Flags::DIV_BY_ZERO;
                (F80::infinity(true), F80::zero(a.sign))
            }
            Kind::Infinity => (F80::infinity(false), F80::infinity(a.sign)),
            _ => {
                self.denormal(a.denormal);
                (F80::from_int(a.exp.into()), F80::normal(a.sign, 0, a.sig))
            }
        }
    }

    /// The nearest integral value (FRNDINT).
    pub fn round_to_integral(&mut self, a: Extended) -> F80 {
        match a.kind {
            _ if a.is_nan() => return self.propagate(&[a]),
            Kind::Zero => return F80::zero(a.sign),
            Kind::Infinity => return F80::infinity(a.sign),
            _ if self.denormal(a.denormal) => return F80::INDEFINITE,
            _ if a.exp >= 63 => return F80::normal(a.sign, a.exp, a.sig),
            _ => {}
        }
        let rounded = self.integral(a).unwrap_or(0);
        match rounded.leading_zeros() {
            64 => F80::zero(a.sign),
            shift => F80::normal(a.sign, 63 - shift as i32, rounded << shift),
        }
    }

    /// A finite magnitude rounded to an integer below 2^64; inexact and rounding up are noted.
    pub(super) fn integral(&mut self, a: Extended) -> Option<u64> {
        let (kept, rest) = match a.exp {
            64.. => return None,
            63 => (a.sig, 0),
            0..=62 => (a.sig >> (63 - a.exp), a.sig << (a.exp + 1)),
            -1 => (0, a.sig),
            // Below a quarter all round alike.
            _ => (0, 1),
        };
        let up = round_up(self.rounding, a.sign, kept & 1 != 0, rest);
        if rest != 0 {
            self.flags |= Flags::INEXACT;
        }
        self.rounded_up = up;
        Some(kept + u64::from(up))
    }
}

/// Orders two values that are not NaNs.
fn order(a: &Extended, b: &Extended) -> Ordering {
    let key = |v: &Extended| match v.kind {
        Kind::Zero => (0, 0, 0),
        Kind::Finite => (1, v.exp, v.sig),
        _ => (2, 0, INTEGER),
    };
    let negative = |v: &Extended| v.sign && !v.is(Kind::Zero);
    match (negative(a), negative(b)) {
        (false, false) => key(a).cmp(&key(b)),
        (true, true) => key(b).cmp(&key(a)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}
