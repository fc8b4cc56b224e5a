//! Fast paths on the host's arithmetic.
//!
//! They give the result in round-to-nearest-even when operands and result are normal, or the result is exact, and
//! nothing otherwise: the exact routines then decide. No flag but inexact can be due on these paths, so they may be
//! taken once inexact is set. The host must be in its default floating-point environment, which Rust requires anyway.

use core::cmp::Ordering;

use crate::format::{BF16, F16, F32, F64, Format};

/// Operations on the host's own types; the default is to have none.
pub trait Host: Format {
    /// `a + b`, if the fast path applies.
    #[inline(always)]
    fn host_add(_a: Self::Bits, _b: Self::Bits) -> Option<Self::Bits> {
        None
    }
    /// `a - b`, if the fast path applies.
    #[inline(always)]
    fn host_sub(_a: Self::Bits, _b: Self::Bits) -> Option<Self::Bits> {
        None
    }
    /// `a * b`, if the fast path applies.
    #[inline(always)]
    fn host_mul(_a: Self::Bits, _b: Self::Bits) -> Option<Self::Bits> {
        None
    }
    /// `a / b`, if the fast path applies.
    #[inline(always)]
    fn host_div(_a: Self::Bits, _b: Self::Bits) -> Option<Self::Bits> {
        None
    }
    /// Square root, if the fast path applies.
    #[inline(always)]
    fn host_sqrt(_a: Self::Bits) -> Option<Self::Bits> {
        None
    }
    /// `a * b + c` rounded once, if the fast path applies.
    #[inline(always)]
    fn host_mul_add(_a: Self::Bits, _b: Self::Bits, _c: Self::Bits) -> Option<Self::Bits> {
        None
    }
    /// Widens to double precision, if the fast path applies. Needs no particular environment.
    #[inline(always)]
    fn host_to_f64(_a: Self::Bits) -> Option<u64> {
        None
    }
    /// Narrows from double precision, if the fast path applies.
    #[inline(always)]
    fn host_from_f64(_a: u64) -> Option<Self::Bits> {
        None
    }
    /// Compares, if the fast path applies. Needs no particular environment.
    #[inline(always)]
    fn host_compare(_a: Self::Bits, _b: Self::Bits) -> Option<Ordering> {
        None
    }
}

impl Host for F16 {}
impl Host for BF16 {}

macro_rules! host {
    ($format:ty, $bits:ty, $int:ty, $native:ty, { $($conversions:item)* }) => {
        impl $format {
            /// Neither denormal, infinite nor NaN.
            #[inline(always)]
            fn plain(bits: $bits) -> bool {
                const SMALLEST: $bits = 1 << (<$format>::FRAC_BITS + 1);
                let magnitude = bits << 1;
                magnitude == 0 || Self::normal_magnitude(magnitude, SMALLEST)
            }

            /// Normal and not zero.
            #[inline(always)]
            fn normal(bits: $bits) -> bool {
                const SMALLEST: $bits = 1 << (<$format>::FRAC_BITS + 1);
                Self::normal_magnitude(bits << 1, SMALLEST)
            }

            /// `magnitude` is the value shifted left by one bit, `smallest` the smallest normal number so.
            #[inline(always)]
            fn normal_magnitude(magnitude: $bits, smallest: $bits) -> bool {
                magnitude.wrapping_sub(smallest) < (0 as $bits).wrapping_sub(smallest).wrapping_sub(smallest)
            }

            /// A finite result that was certainly not tiny.
            #[inline(always)]
            fn settled(result: $native) -> bool {
                result.abs() > <$native>::MIN_POSITIVE && result.abs() <= <$native>::MAX
            }
        }

        impl Host for $format {
            $($conversions)*

            #[inline(always)]
            fn host_add(a: $bits, b: $bits) -> Option<$bits> {
                let sum = <$native>::from_bits(a) + <$native>::from_bits(b);
                // An exact zero is right as well: nothing underflows in a sum.
                let good = Self::plain(a) && Self::plain(b) && (Self::settled(sum) || sum == 0.0);
                good.then_some(sum.to_bits())
            }

            #[inline(always)]
            fn host_sub(a: $bits, b: $bits) -> Option<$bits> {
                let difference = <$native>::from_bits(a) - <$native>::from_bits(b);
                let good = Self::plain(a) && Self::plain(b) && (Self::settled(difference) || difference == 0.0);
                good.then_some(difference.to_bits())
            }

            #[inline(always)]
            fn host_mul(a: $bits, b: $bits) -> Option<$bits> {
                let product = <$native>::from_bits(a) * <$native>::from_bits(b);
                let zero = a << 1 == 0 || b << 1 == 0;
                let good = Self::plain(a) && Self::plain(b) && (Self::settled(product) || zero);
                good.then_some(product.to_bits())
            }

            #[inline(always)]
            fn host_div(a: $bits, b: $bits) -> Option<$bits> {
                let quotient = <$native>::from_bits(a) / <$native>::from_bits(b);
                let good = Self::plain(a) && Self::normal(b) && (Self::settled(quotient) || a << 1 == 0);
                good.then_some(quotient.to_bits())
            }

            #[inline(always)]
            fn host_sqrt(a: $bits) -> Option<$bits> {
                // A set sign bit makes even the largest negative number too large for this test.
                const LARGEST: $bits = <$native>::MAX.to_bits();
                const SMALLEST: $bits = <$native>::MIN_POSITIVE.to_bits();
                (a.wrapping_sub(SMALLEST) <= LARGEST - SMALLEST).then(|| <$native>::from_bits(a).sqrt().to_bits())
            }

            #[inline(always)]
            fn host_mul_add(a: $bits, b: $bits, c: $bits) -> Option<$bits> {
                if !(Self::plain(a) && Self::plain(b) && Self::plain(c)) {
                    return None;
                }
                let sum = <$native>::from_bits(a).mul_add(<$native>::from_bits(b), <$native>::from_bits(c));
                Self::settled(sum).then_some(sum.to_bits())
            }

            #[inline(always)]
            fn host_compare(a: $bits, b: $bits) -> Option<Ordering> {
                if !(Self::plain(a) && Self::plain(b)) {
                    return None;
                }
                // By integers: the compiler may compare before it knows that there is no NaN, which would raise invalid.
                let key = |v: $bits| {
                    let magnitude = (v << 1 >> 1) as $int;
                    if v >> (<$bits>::BITS - 1) != 0 { -magnitude } else { magnitude }
                };
                Some(key(a).cmp(&key(b)))
            }
        }
    };
}

host!(F32, u32, i32, f32, {
    #[inline(always)]
    fn host_to_f64(a: u32) -> Option<u64> {
        Self::plain(a).then(|| f64::from(f32::from_bits(a)).to_bits())
    }

    #[inline(always)]
    fn host_from_f64(a: u64) -> Option<u32> {
        let narrow = f64::from_bits(a) as f32;
        (F64::plain(a) && (Self::settled(narrow) || a << 1 == 0)).then_some(narrow.to_bits())
    }
});
host!(F64, u64, i64, f64, {});
