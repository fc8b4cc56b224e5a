//! Partial remainders (SDM vol. 2A, "FPREM" and "FPREM1").

use super::{Context, Extended, F80, Kind};

/// A partial remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The remainder so far.
    pub value: F80,
    /// The last bits of the quotient; 0 if it is not complete.
    pub quotient: u64,
    /// Whether this is the remainder; else the exponent became smaller by 32 to 63.
    pub complete: bool,
}

impl Context {
    /// The remainder of `a / b`, the quotient being truncated, or rounded to nearest if `nearest`.
    pub fn remainder(&mut self, a: Extended, b: Extended, nearest: bool) -> Remainder {
        let complete = |value| Remainder { value, quotient: 0, complete: true };
        if a.is_nan() || b.is_nan() {
            return complete(self.propagate(&[a, b]));
        }
        match (a.kind, b.kind) {
            (Kind::Infinity, _) | (_, Kind::Zero) => return complete(self.invalid()),
            _ if self.denormal(a.denormal || b.denormal) => return complete(F80::INDEFINITE),
            (Kind::Zero, _) => return complete(F80::zero(a.sign)),
            _ => {}
        }
        let distance = a.exp - b.exp;
        if b.is(Kind::Infinity) || distance < if nearest { -1 } else { 0 } {
            // Smaller than the divisor (or half of it): itself.
            return complete(self.pack(a.sign, a.exp, u128::from(a.sig) << 64, 64));
        }
        if distance >= 64 {
            // Any number of bits from 32 to 63 may go at a time.
            let bits = distance & 31 | 32;
            let rest = (u128::from(a.sig) << bits) % u128::from(b.sig);
            let value = self.pack_rest(a.sign, b.exp + distance - bits, rest);
            return Remainder { value, quotient: 0, complete: false };
        }
        // In units of half the divisor's last bit: the distance may be -1.
        let dividend = u128::from(a.sig) << (distance + 1);
        let divisor = u128::from(b.sig) << 1;
        let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
        let mut sign = a.sign;
        if nearest && (2 * rest > divisor || 2 * rest == divisor && quotient & 1 != 0) {
            quotient += 1;
            rest = divisor - rest;
            sign = !sign;
        }
        let value = if rest == 0 { F80::zero(a.sign) } else { self.pack_rest(sign, b.exp - 1, rest) };
        Remainder { value, quotient: quotient as u64, complete: true }
    }

    /// Packs `rest * 2^(exp - 63)`, which is exact.
    fn pack_rest(&mut self, sign: bool, exp: i32, rest: u128) -> F80 {
        match rest {
            0 => F80::zero(sign),
            _ => self.normalise_and_pack(sign, exp + 64, rest, 64),
        }
    }
}
