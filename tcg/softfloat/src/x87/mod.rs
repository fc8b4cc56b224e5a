//! The x87 unit's double-extended format: 80 bits with an explicit integer bit (SDM vol. 1, chapter 8 "Programming with the
//! x87 FPU").
//!
//! Operands are taken apart ([`Extended`]), whatever format they came from; results are [`F80`]. A [`Context`] is one
//! instruction's: it starts without flags, and afterwards says which exceptions there were and whether the result was rounded
//! up. What an unmasked exception does to the result is done here; whether the result may be used at all is the caller's
//! decision: not if one of [`Context::BEFORE`] is unmasked.

mod arith;
mod convert;
mod elementary;
mod remainder;
mod round;
mod wide;

use crate::env::{Flags, Rounding};

pub use elementary::Constant;
pub use remainder::Remainder;

/// Exponent bias.
pub(crate) const BIAS: i32 = 16383;
/// Exponents of normal numbers.
pub(crate) const EMIN: i32 = 1 - BIAS;
pub(crate) const EMAX: i32 = BIAS;
/// The integer bit.
const INTEGER: u64 = 1 << 63;
/// Bit that tells quiet NaNs from signalling ones.
const QUIET: u64 = 1 << 62;
/// What the exponent is changed by where an unmasked overflow or underflow stands for a result out of range (SDM vol. 1,
/// 8.5.4 "Numeric Overflow Exception").
const WRAP: i32 = 24576;

/// A value of the format, in its two fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct F80 {
    /// Sign in bit 15, biased exponent below.
    pub sign_exponent: u16,
    /// Significand with its integer bit.
    pub significand: u64,
}

impl F80 {
    /// The default NaN.
    pub const INDEFINITE: Self = Self { sign_exponent: 0xffff, significand: INTEGER | QUIET };
    /// 1.0
    pub const ONE: Self = Self { sign_exponent: BIAS as u16, significand: INTEGER };

    pub(crate) const fn assemble(sign: bool, biased: u32, significand: u64) -> Self {
        Self { sign_exponent: (sign as u16) << 15 | biased as u16, significand }
    }
    /// A zero.
    pub const fn zero(sign: bool) -> Self {
        Self::assemble(sign, 0, 0)
    }
    /// An infinity.
    pub const fn infinity(sign: bool) -> Self {
        Self::assemble(sign, 0x7fff, INTEGER)
    }
    /// Whether the sign bit is set.
    pub const fn sign(self) -> bool {
        self.sign_exponent >> 15 != 0
    }
    /// The same with the other sign, of any value.
    pub const fn neg(self) -> Self {
        Self { sign_exponent: self.sign_exponent ^ 0x8000, ..self }
    }
    /// The same with a clear sign, of any value.
    pub const fn abs(self) -> Self {
        Self { sign_exponent: self.sign_exponent & 0x7fff, ..self }
    }
    /// The magnitude `significand * 2^(exp - 63)`, whose integer bit must be set, of a normal number.
    pub(crate) const fn normal(sign: bool, exp: i32, significand: u64) -> Self {
        Self::assemble(sign, (exp + BIAS) as u32, significand)
    }
}

/// What kind of value an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plus or minus zero.
    Zero,
    /// A finite number other than zero.
    Finite,
    /// Plus or minus infinity.
    Infinity,
    /// A NaN that propagates silently.
    QuietNan,
    /// A NaN that signals invalid operation when used.
    SignallingNan,
    /// An encoding without meaning: its integer bit is clear though its exponent is not zero (SDM vol. 1, table 8-3
    /// "Unsupported Double Extended-Precision Floating-Point Encodings and Pseudo-Denormals").
    Unsupported,
}

/// An operand taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    /// Kind of value.
    pub kind: Kind,
    /// Whether the sign bit is set.
    pub sign: bool,
    /// Unbiased exponent of a finite number: its magnitude is `sig * 2^(exp - 63)`.
    pub exp: i32,
    /// Significand: of a finite number normalised, of a NaN with its integer bit.
    pub sig: u64,
    /// The finite number is denormal (or pseudo-denormal) in the format it came from.
    pub denormal: bool,
}

impl Extended {
    const fn new(kind: Kind, sign: bool, exp: i32, sig: u64) -> Self {
        Self { kind, sign, exp, sig, denormal: false }
    }

    /// Whether this is a NaN or no value at all.
    #[inline]
    pub fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::QuietNan | Kind::SignallingNan | Kind::Unsupported)
    }

    fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }
}

impl From<F80> for Extended {
    #[inline]
    fn from(value: F80) -> Self {
        let (sign, sig) = (value.sign(), value.significand);
        match value.sign_exponent & 0x7fff {
            0 if sig == 0 => Self::new(Kind::Zero, sign, 0, 0),
            0 => {
                let shift = sig.leading_zeros();
                Self { denormal: true, ..Self::new(Kind::Finite, sign, EMIN - shift as i32, sig << shift) }
            }
            _ if sig & INTEGER == 0 => Self::new(Kind::Unsupported, sign, 0, sig),
            0x7fff => {
                let kind = match sig {
                    INTEGER => Kind::Infinity,
                    _ if sig & QUIET != 0 => Kind::QuietNan,
                    _ => Kind::SignallingNan,
                };
                Self::new(kind, sign, 0, sig)
            }
            biased => Self::new(Kind::Finite, sign, i32::from(biased) - BIAS, sig),
        }
    }
}

/// What an instruction finds in the control word, and what it leaves for the status word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Rounding control.
    pub rounding: Rounding,
    /// Precision control: 24, 53 or 64 bits. It applies to addition, subtraction, multiplication, division and square root
    /// (SDM vol. 1, 8.1.5.2 "Precision Control Field").
    pub precision: u32,
    /// Exceptions that are not masked.
    pub unmasked: Flags,
    /// Exceptions found.
    pub flags: Flags,
    /// The magnitude of the result was rounded up (C1).
    pub rounded_up: bool,
}

impl Context {
    /// Everything masked, nearest rounding to 64 bits.
    pub const DEFAULT: Self = Self {
        rounding: Rounding::NearestEven,
        precision: 64,
        unmasked: Flags::NONE,
        flags: Flags::NONE,
        rounded_up: false,
    };

    /// Exceptions that are detected before the operation: unmasked, they leave the destination as it was.
    pub const BEFORE: Flags =
        Flags::from_bits(Flags::INVALID.bits() | Flags::DIV_BY_ZERO.bits() | Flags::DENORMAL_USED.bits());

    /// Whether one of [`BEFORE`](Context::BEFORE) was found that is not masked.
    #[inline]
    pub fn stopped(&self) -> bool {
        !(self.flags & self.unmasked & Self::BEFORE).is_empty()
    }

    /// Notes that a denormal operand takes part; true if the operation must not go on.
    #[inline]
    fn denormal(&mut self, any: bool) -> bool {
        if any {
            self.flags |= Flags::DENORMAL_USED;
            return self.unmasked.contains(Flags::DENORMAL_USED);
        }
        false
    }

    #[cold]
    fn invalid(&mut self) -> F80 {
        self.flags |= Flags::INVALID;
        F80::INDEFINITE
    }

    /// The result of an operation on values of which at least one is a NaN (SDM vol. 1, table 4-7 "Rules for Handling
    /// NaNs").
    #[cold]
    fn propagate(&mut self, operands: &[Extended]) -> F80 {
        if operands.iter().any(|v| v.is(Kind::Unsupported)) {
            return self.invalid();
        }
        let signalling = operands.iter().any(|v| v.is(Kind::SignallingNan));
        if signalling {
            self.flags |= Flags::INVALID;
        }
        let quiet = operands.iter().any(|v| v.is(Kind::QuietNan));
        let kind = if quiet { Kind::QuietNan } else { Kind::SignallingNan };
        let chosen = operands.iter().filter(|v| v.kind == kind).max_by_key(|v| (v.sig, !v.sign));
        chosen.map_or(F80::INDEFINITE, |nan| F80::assemble(nan.sign, 0x7fff, nan.sig | QUIET))
    }
}
