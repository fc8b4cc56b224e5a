//! Formats, and numbers taken apart.

use core::ops::{BitAnd, BitOr};

use crate::env::{Env, Flags};
use crate::round::Range;

/// Raw bits of a value.
pub trait Bits:
    Copy + Eq + BitAnd<Output = Self> + BitOr<Output = Self> + core::fmt::Debug + core::fmt::LowerHex + 'static
{
    /// Zero-extends.
    fn to_u64(self) -> u64;
    /// Truncates.
    fn from_u64(bits: u64) -> Self;
}

macro_rules! bits {
    ($($ty:ty)*) => {$(
        impl Bits for $ty {
            #[inline(always)]
            fn to_u64(self) -> u64 {
                self.into()
            }
            #[inline(always)]
            fn from_u64(bits: u64) -> Self {
                bits as $ty
            }
        }
    )*};
}
bits!(u16 u32 u64);

/// What kind of value a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Plus or minus zero.
    Zero,
    /// A finite number other than zero, denormal ones included.
    Finite,
    /// Plus or minus infinity.
    Infinity,
    /// A NaN that propagates silently.
    QuietNan,
    /// A NaN that signals invalid operation when used.
    SignallingNan,
}

/// Bit of `Unpacked::sig` that tells quiet NaNs from signalling ones.
pub(crate) const QUIET: u64 = 1 << 62;

/// A number taken apart, in a form shared by all formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Kind of value.
    pub class: Class,
    /// Whether the sign bit is set.
    pub sign: bool,
    /// Unbiased exponent of a finite number: its magnitude is `sig * 2^(exp - 63)`.
    pub exp: i32,
    /// Significand of a finite number, normalised: bit 63 is set. Of a NaN, the fraction from bit 62 downwards.
    pub sig: u64,
    /// The finite number is denormal in the format it came from.
    pub denormal: bool,
}

impl Unpacked {
    /// A zero.
    pub const fn zero(sign: bool) -> Self {
        Self { class: Class::Zero, sign, exp: 0, sig: 0, denormal: false }
    }

    /// An infinity.
    pub const fn infinity(sign: bool) -> Self {
        Self { class: Class::Infinity, sign, exp: 0, sig: 0, denormal: false }
    }

    /// The number `±sig * 2^(exp - 63)`; `sig` must have bit 63 set.
    pub const fn finite(sign: bool, exp: i32, sig: u64) -> Self {
        Self { class: Class::Finite, sign, exp, sig, denormal: false }
    }

    /// Whether this is a NaN of either kind.
    #[inline]
    pub fn is_nan(&self) -> bool {
        matches!(self.class, Class::QuietNan | Class::SignallingNan)
    }

    pub(crate) fn is_signalling(&self) -> bool {
        self.class == Class::SignallingNan
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.class == Class::Zero
    }

    pub(crate) fn is_infinity(&self) -> bool {
        self.class == Class::Infinity
    }
}

/// A binary interchange format (IEEE 754-2019, section 3.4, or of the same structure).
///
/// A format with another encoding (x87's explicit integer bit) overrides `unpack` and `assemble`.
pub trait Format: Copy + core::fmt::Debug + 'static {
    /// Raw bits of a value.
    type Bits: Bits;
    /// Width of the exponent field.
    const EXP_BITS: u32;
    /// Width of the fraction field.
    const FRAC_BITS: u32;
    /// Half precision has its own rules for denormals.
    const HALF: bool = false;

    /// Width of a value.
    const WIDTH: u32 = 1 + Self::EXP_BITS + Self::FRAC_BITS;
    /// Largest exponent of a finite number; also the bias.
    const EMAX: i32 = (1 << (Self::EXP_BITS - 1)) - 1;
    /// Smallest exponent of a normal number.
    const EMIN: i32 = 1 - Self::EMAX;
    /// Where results are rounded.
    const RANGE: Range = Range { precision: Self::FRAC_BITS + 1, emin: Self::EMIN, emax: Self::EMAX };

    /// Takes a value apart, leaving denormals as they are.
    #[inline]
    fn unpack(bits: Self::Bits) -> Unpacked {
        let bits = bits.to_u64();
        let sign = bits >> (Self::WIDTH - 1) & 1 != 0;
        let biased = (bits >> Self::FRAC_BITS) as u32 & exp_mask::<Self>();
        let frac = bits & ((1 << Self::FRAC_BITS) - 1);
        // Aligned so that the integer bit would be bit 63.
        let sig = frac << (63 - Self::FRAC_BITS);
        if biased == exp_mask::<Self>() {
            let class = match sig {
                0 => Class::Infinity,
                _ if sig & QUIET != 0 => Class::QuietNan,
                _ => Class::SignallingNan,
            };
            Unpacked { class, sign, exp: 0, sig, denormal: false }
        } else {
            unpack_finite::<Self>(sign, biased, sig)
        }
    }

    /// Puts a finite value together from a biased exponent and a significand whose integer bit is bit 63; both are
    /// zero for a zero, and the biased exponent is zero for a denormal.
    #[inline]
    fn assemble(sign: bool, biased: u32, sig: u64) -> Self::Bits {
        let frac = sig << 1 >> (64 - Self::FRAC_BITS);
        Self::Bits::from_u64(u64::from(sign) << (Self::WIDTH - 1) | u64::from(biased) << Self::FRAC_BITS | frac)
    }

    /// A zero.
    #[inline]
    fn zero(sign: bool) -> Self::Bits {
        Self::assemble(sign, 0, 0)
    }

    /// An infinity.
    #[inline]
    fn infinity(sign: bool) -> Self::Bits {
        Self::assemble(sign, exp_mask::<Self>(), 1 << 63)
    }

    /// The finite number of largest magnitude.
    #[inline]
    fn max_finite(sign: bool) -> Self::Bits {
        Self::assemble(sign, exp_mask::<Self>() - 1, u64::MAX)
    }

    /// The default NaN of the environment: quiet, with an otherwise empty fraction.
    #[inline]
    fn default_nan(env: &Env) -> Self::Bits {
        Self::assemble(env.default_nan_sign, exp_mask::<Self>(), 1 << 63 | QUIET)
    }

    /// Flips the sign, of NaNs too. No flag is raised.
    #[inline]
    fn neg(bits: Self::Bits) -> Self::Bits {
        Self::Bits::from_u64(bits.to_u64() ^ 1 << (Self::WIDTH - 1))
    }

    /// Clears the sign, of NaNs too. No flag is raised.
    #[inline]
    fn abs(bits: Self::Bits) -> Self::Bits {
        Self::Bits::from_u64(bits.to_u64() & !(1 << (Self::WIDTH - 1)))
    }
}

/// Largest value of the exponent field.
pub(crate) const fn exp_mask<F: Format>() -> u32 {
    (1 << F::EXP_BITS) - 1
}

/// The finite number with the given biased exponent and fraction (from bit 62 downwards).
pub(crate) fn unpack_finite<F: Format>(sign: bool, biased: u32, frac: u64) -> Unpacked {
    if biased != 0 {
        Unpacked::finite(sign, biased as i32 - F::EMAX, frac | 1 << 63)
    } else if frac == 0 {
        Unpacked::zero(sign)
    } else {
        let shift = frac.leading_zeros();
        Unpacked { denormal: true, ..Unpacked::finite(sign, F::EMIN - shift as i32, frac << shift) }
    }
}

/// Takes an operand of an arithmetic operation apart; the environment may ask for denormals to be flushed.
#[inline]
pub fn operand<F: Format>(bits: F::Bits, env: &mut Env) -> Unpacked {
    flush(F::unpack(bits), if F::HALF { env.flush_f16 } else { env.flush_inputs }, F::HALF, env)
}

/// Takes an operand of a conversion between formats apart: half-precision denormals are never flushed.
pub(crate) fn operand_of_conversion<F: Format>(bits: F::Bits, env: &mut Env) -> Unpacked {
    flush(F::unpack(bits), env.flush_inputs && !F::HALF, F::HALF, env)
}

#[inline]
fn flush(value: Unpacked, flush: bool, silent: bool, env: &mut Env) -> Unpacked {
    if !(value.denormal && flush) {
        return value;
    }
    if !silent {
        env.raise(Flags::INPUT_DENORMAL);
    }
    Unpacked::zero(value.sign)
}

/// Half precision, binary16.
#[derive(Clone, Copy, Debug)]
pub struct F16;
/// bfloat16: the upper half of a single.
#[derive(Clone, Copy, Debug)]
pub struct BF16;
/// Single precision, binary32.
#[derive(Clone, Copy, Debug)]
pub struct F32;
/// Double precision, binary64.
#[derive(Clone, Copy, Debug)]
pub struct F64;

impl Format for F16 {
    type Bits = u16;
    const EXP_BITS: u32 = 5;
    const FRAC_BITS: u32 = 10;
    const HALF: bool = true;
}

impl Format for BF16 {
    type Bits = u16;
    const EXP_BITS: u32 = 8;
    const FRAC_BITS: u32 = 7;
}

impl Format for F32 {
    type Bits = u32;
    const EXP_BITS: u32 = 8;
    const FRAC_BITS: u32 = 23;
}

impl Format for F64 {
    type Bits = u64;
    const EXP_BITS: u32 = 11;
    const FRAC_BITS: u32 = 52;
}
