//! Conversion from and to single and double precision, integers and packed decimals.

use super::round::Rounded;
use super::{Context, EMIN, Extended, F80, INTEGER, Kind, QUIET};
use crate::env::Flags;
use crate::format::{Bits, Class, F32, F64, Format};

impl Extended {
    /// A value of another format. NaNs keep what they are, signalling ones included.
    fn widen<F: Format>(bits: F::Bits) -> Self {
        let value = F::unpack(bits);
        let (kind, sig) = match value.class {
            Class::Zero => (Kind::Zero, 0),
            Class::Finite => (Kind::Finite, value.sig),
            Class::Infinity => (Kind::Infinity, INTEGER),
            Class::QuietNan => (Kind::QuietNan, value.sig | INTEGER),
            Class::SignallingNan => (Kind::SignallingNan, value.sig | INTEGER),
        };
        Extended { kind, sign: value.sign, exp: value.exp, sig, denormal: value.denormal }
    }

    /// A single-precision number.
    #[inline]
    pub fn from_f32(bits: u32) -> Self {
        Self::widen::<F32>(bits)
    }

    /// A double-precision number.
    #[inline]
    pub fn from_f64(bits: u64) -> Self {
        Self::widen::<F64>(bits)
    }

    /// An integer.
    pub fn from_int(value: i64) -> Self {
        let magnitude = value.unsigned_abs();
        match magnitude.leading_zeros() {
            64 => Extended::new(Kind::Zero, false, 0, 0),
            shift => Extended::new(Kind::Finite, value < 0, 63 - shift as i32, magnitude << shift),
        }
    }
}

impl F80 {
    /// An integer.
    pub fn from_int(value: i64) -> Self {
        let v = Extended::from_int(value);
        if v.is(Kind::Zero) { F80::zero(false) } else { F80::normal(v.sign, v.exp, v.sig) }
    }

    /// A packed decimal of 18 digits, sign in bit 79; digits above nine count as what they are worth (FBLD).
    pub fn from_bcd(bcd: u128) -> Self {
        let magnitude = (0..18).rev().fold(0u64, |all, n| all * 10 + (bcd >> (4 * n)) as u64 % 16);
        let v = F80::from_int(magnitude as i64);
        if bcd >> 79 & 1 != 0 { v.neg() } else { v }
    }
}

impl Context {
    /// A value that is loaded into the unit: signalling NaNs become quiet, denormals are noted.
    pub fn load(&mut self, a: Extended) -> F80 {
        match a.kind {
            _ if a.is_nan() => self.propagate(&[a]),
            Kind::Zero => F80::zero(a.sign),
            Kind::Infinity => F80::infinity(a.sign),
            _ => {
                self.denormal(a.denormal);
                F80::normal(a.sign, a.exp.max(EMIN), a.sig)
            }
        }
    }

    /// Rounds to a narrower format. With an unmasked exception the result is of no use.
    fn narrow<F: Format>(&mut self, a: Extended) -> F::Bits {
        let special = (1 << F::EXP_BITS) - 1;
        match a.kind {
            Kind::Zero => F::zero(a.sign),
            Kind::Infinity => F::infinity(a.sign),
            Kind::Finite => match self.round(a.sign, a.exp, u128::from(a.sig) << 64, F::RANGE, 0) {
                Rounded::Finite(biased, sig) => F::assemble(a.sign, biased & special, sig),
                Rounded::Infinity => F::infinity(a.sign),
                Rounded::Largest => F::max_finite(a.sign),
            },
            _ => {
                let nan = self.propagate(&[a]);
                F::assemble(nan.sign(), special, nan.significand | QUIET)
            }
        }
    }

    /// Rounds to single precision. With an unmasked overflow or underflow the result is of no use.
    pub fn to_f32(&mut self, a: Extended) -> u32 {
        self.narrow::<F32>(a)
    }

    /// Rounds to double precision. With an unmasked overflow or underflow the result is of no use.
    pub fn to_f64(&mut self, a: Extended) -> u64 {
        self.narrow::<F64>(a).to_u64()
    }

    /// Rounds to a signed integer of `bits` bits; `truncate` rather than by rounding control. The smallest integer if there
    /// is none.
    pub fn to_int(&mut self, a: Extended, bits: u32, truncate: bool) -> i64 {
        let limit = 1u64 << (bits - 1);
        let found = match a.kind {
            Kind::Zero => Some(0),
            Kind::Finite => self.magnitude(a, truncate).filter(|m| *m < limit || *m == limit && a.sign),
            _ => None,
        };
        match found {
            Some(magnitude) if a.sign => (magnitude as i64).wrapping_neg(),
            Some(magnitude) => magnitude as i64,
            None => {
                self.invalid_integer();
                (limit as i64).wrapping_neg()
            }
        }
    }

    fn magnitude(&mut self, a: Extended, truncate: bool) -> Option<u64> {
        let kept = self.rounding;
        if truncate {
            self.rounding = crate::env::Rounding::TowardZero;
        }
        let found = self.integral(a);
        self.rounding = kept;
        found
    }

    /// Out of range: nothing was rounded.
    fn invalid_integer(&mut self) {
        self.flags = self.flags & !Flags::INEXACT | Flags::INVALID;
        self.rounded_up = false;
    }

    /// Rounds to a packed decimal of 18 digits; the indefinite one if there is none.
    pub fn to_bcd(&mut self, a: Extended) -> u128 {
        let found = match a.kind {
            Kind::Zero => Some(0),
            Kind::Finite => self.magnitude(a, false).filter(|m| *m < 1_000_000_000_000_000_000),
            _ => None,
        };
        let Some(mut rest) = found else {
            self.invalid_integer();
            return 0xffff_c000_0000_0000_0000;
        };
        let mut bcd = u128::from(a.sign) << 79;
        for n in 0..18 {
            bcd |= u128::from(rest % 10) << (4 * n);
            rest /= 10;
        }
        bcd
    }
}
