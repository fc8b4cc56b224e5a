//! Rounding, with what x87 alone has: the direction it went, and results that unmasked exceptions scale.

use super::{Context, EMAX, EMIN, F80, WRAP};
use crate::env::Flags;
use crate::round::{Range, overflows_to_infinity, round_up, shift_right_sticky};

/// A rounded magnitude.
pub(super) enum Rounded {
    /// Biased exponent as the range has it and significand from bit 63 downwards; the exponent is 0 for a denormal.
    Finite(u32, u64),
    /// An overflow that becomes an infinity, or the largest number.
    Infinity,
    Largest,
}

/// A significand rounded to a number of bits.
struct Significand {
    sig: u64,
    /// Rounding carried out of bit 63.
    carry: bool,
    inexact: bool,
    up: bool,
}

impl Context {
    #[inline]
    fn significand(&self, sign: bool, sig: u128, precision: u32) -> Significand {
        let unused = 64 - precision;
        let kept = (sig >> 64) as u64 >> unused;
        let rest = sig << precision;
        let rest = (rest >> 64) as u64 | u64::from(rest as u64 != 0);
        if rest == 0 || !round_up(self.rounding, sign, kept & 1 != 0, rest) {
            return Significand { sig: kept << unused, carry: false, inexact: rest != 0, up: false };
        }
        let (sig, carry) = (kept << unused).overflowing_add(1 << unused);
        Significand { sig: if carry { 1 << 63 } else { sig }, carry, inexact: true, up: true }
    }

    #[inline]
    fn note(&mut self, rounded: &Significand) {
        if rounded.inexact {
            self.flags |= Flags::INEXACT;
        }
        self.rounded_up = rounded.up;
    }

    /// Rounds the magnitude `sig * 2^(exp - 127)`, where bit 127 of `sig` is set and its last bit stands for anything
    /// below. Results of unmasked overflows and underflows are scaled by `2^wrap`.
    #[inline]
    pub(super) fn round(&mut self, sign: bool, exp: i32, sig: u128, range: Range, wrap: i32) -> Rounded {
        let Range { precision, emin, emax } = range;
        let normal = self.significand(sign, sig, precision);
        let rounded_exp = exp + i32::from(normal.carry);
        if exp >= emin && rounded_exp <= emax {
            self.note(&normal);
            return Rounded::Finite((rounded_exp - emin + 1) as u32, normal.sig);
        }
        self.round_outside(sign, exp, sig, range, wrap)
    }

    #[cold]
    fn round_outside(&mut self, sign: bool, exp: i32, sig: u128, range: Range, wrap: i32) -> Rounded {
        let Range { precision, emin, emax } = range;
        let normal = self.significand(sign, sig, precision);
        let rounded_exp = exp + i32::from(normal.carry);
        if rounded_exp > emax {
            self.flags |= Flags::OVERFLOW;
            if self.unmasked.contains(Flags::OVERFLOW) {
                if wrap == 0 {
                    // It will not be stored, and is not rounded.
                    return Rounded::Infinity;
                }
                self.note(&normal);
                let exp = rounded_exp - wrap;
                // FSCALE can go further than that.
                if exp > emax {
                    self.flags |= Flags::INEXACT;
                    self.rounded_up = true;
                    return Rounded::Infinity;
                }
                return Rounded::Finite((exp - emin + 1) as u32, normal.sig);
            }
            self.flags |= Flags::INEXACT;
            self.rounded_up = overflows_to_infinity(self.rounding, sign);
            return if self.rounded_up { Rounded::Infinity } else { Rounded::Largest };
        }
        let tiny = rounded_exp < emin;
        if tiny && self.unmasked.contains(Flags::UNDERFLOW) {
            self.flags |= Flags::UNDERFLOW;
            if wrap == 0 {
                return Rounded::Finite(0, 0);
            }
            self.note(&normal);
            let exp = rounded_exp + wrap;
            if exp < emin {
                self.flags |= Flags::INEXACT;
                self.rounded_up = false;
                return Rounded::Finite(0, 0);
            }
            return Rounded::Finite((exp - emin + 1) as u32, normal.sig);
        }
        let denormal = shift_right_sticky(sig, (emin - exp) as u32);
        let rounded = self.significand(sign, denormal, precision);
        self.note(&rounded);
        if rounded.inexact && tiny {
            self.flags |= Flags::UNDERFLOW;
        }
        // Rounding may have reached the smallest normal number.
        Rounded::Finite((rounded.sig >> 63) as u32, rounded.sig)
    }

    /// Rounds and packs a result that stays in the unit; arguments as for `round`.
    #[inline]
    pub(super) fn pack(&mut self, sign: bool, exp: i32, sig: u128, precision: u32) -> F80 {
        match self.round(sign, exp, sig, Range { precision, emin: EMIN, emax: EMAX }, WRAP) {
            Rounded::Finite(biased, sig) => F80::assemble(sign, biased, sig),
            Rounded::Infinity => F80::infinity(sign),
            Rounded::Largest => F80::assemble(sign, 0x7ffe, u64::MAX << (64 - precision)),
        }
    }

    /// As `pack`, of any magnitude but zero.
    #[inline]
    pub(super) fn normalise_and_pack(&mut self, sign: bool, exp: i32, sig: u128, precision: u32) -> F80 {
        let shift = sig.leading_zeros();
        self.pack(sign, exp - shift as i32, sig << shift, precision)
    }
}
