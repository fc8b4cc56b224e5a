//! The floating-point environment: what a guest's control register selects, and the sticky flags it reads back.

use core::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// Rounding direction (IEEE 754-2019, section 4.3, plus two that instruction sets add).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rounding {
    /// To nearest, ties to the value whose last bit is even.
    NearestEven,
    /// Toward positive infinity.
    TowardPositive,
    /// Toward negative infinity.
    TowardNegative,
    /// Toward zero.
    TowardZero,
    /// To nearest, ties away from zero.
    NearestAway,
    /// Truncate, and set the last bit when anything was lost: a later rounding to a narrower format is then correct.
    ToOdd,
}

/// When a result counts as tiny (IEEE 754-2019, section 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tininess {
    /// The exact result lies strictly between the two smallest normal numbers (Arm).
    BeforeRounding,
    /// So does the result rounded as if the exponent were unbounded (x86).
    AfterRounding,
}

/// Which NaN an operation with NaN operands returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NanRule {
    /// The first signalling NaN in operand order, else the first quiet one; in a fused multiply-add the addend comes
    /// first. Zero times infinity plus a quiet NaN is invalid and gives the default NaN (Arm ARM, `FPProcessNaNs`,
    /// `FPProcessNaNs3`, `FPMulAdd`).
    Arm,
    /// The first NaN in operand order, signalling or not. Zero times infinity plus a quiet NaN is that NaN, and not
    /// invalid (SDM vol. 1, table 4-7 "Rules for Handling NaNs", and 14.5.2 "Fused-Multiply-ADD (FMA) Numeric Behavior").
    Sse,
    /// A quiet NaN before a signalling one, among equals the one with the larger significand (SDM vol. 1, table 4-7).
    X87,
}

/// A set of exception flags. Bits 0 to 4 are IEEE 754's five, in the order of its section 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Invalid operation.
    pub const INVALID: Self = Self(1 << 0);
    /// Division of a finite number by zero, or another exact infinity from finite operands.
    pub const DIV_BY_ZERO: Self = Self(1 << 1);
    /// The rounded result exceeds the format's range.
    pub const OVERFLOW: Self = Self(1 << 2);
    /// The result is tiny and inexact, or was flushed to zero.
    pub const UNDERFLOW: Self = Self(1 << 3);
    /// The result differs from the exact one.
    pub const INEXACT: Self = Self(1 << 4);
    /// A denormal operand was replaced by zero (Arm's IDC).
    pub const INPUT_DENORMAL: Self = Self(1 << 5);
    /// A denormal operand entered an arithmetic operation as it is, without a NaN or an invalid operation taking
    /// precedence (x86's DE).
    pub const DENORMAL_USED: Self = Self(1 << 6);

    /// The set as an integer: one bit per constant of this type.
    #[inline(always)]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of the given bits; bit 7 is ignored.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x7f)
    }

    /// Whether every flag of `other` is in this set.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Flags {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline(always)]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Flags {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(!self.0 & 0x7f)
    }
}

/// Control and status of floating-point arithmetic.
///
/// Operations only ever add to `flags`. Keeping a guest's accumulated flags here, rather than starting from an empty
/// set each time, is what makes the fast paths possible: once `INEXACT` is set, host arithmetic can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Sticky exception flags.
    pub flags: Flags,
    /// Rounding direction of results.
    pub rounding: Rounding,
    /// When a result counts as tiny.
    pub tininess: Tininess,
    /// Choice among NaN operands.
    pub nan: NanRule,
    /// Every NaN result is the default NaN.
    pub default_nan: bool,
    /// Sign of the default NaN: `true` is negative.
    pub default_nan_sign: bool,
    /// Denormal operands count as zero of the same sign. Does not affect half precision.
    pub flush_inputs: bool,
    /// Tiny results become zero of the same sign. Does not affect half precision.
    pub flush_outputs: bool,
    /// A flushed result raises `INEXACT` beside `UNDERFLOW` (x86), or does not (Arm).
    pub flush_inexact: bool,
    /// Both flushes for half precision arithmetic, but not for conversions from or to it (Arm's FPCR.FZ16). A flushed
    /// half-precision operand raises no flag.
    pub flush_f16: bool,
    /// Overflow and underflow that trap (x86): these raise inexact only where the result would lose bits with any exponent,
    /// and underflow is raised by tiny results that are exact, too. The result is of no use then.
    pub unmasked: Flags,
    /// Conversions take half precision as Arm's alternative format, which has no infinities and NaNs (FPCR.AHP).
    pub alt_half: bool,
}

impl Env {
    /// What an Arm FPCR of zero selects, with no flag set.
    pub const ARM: Self = Self {
        flags: Flags::NONE,
        rounding: Rounding::NearestEven,
        tininess: Tininess::BeforeRounding,
        nan: NanRule::Arm,
        default_nan: false,
        default_nan_sign: false,
        flush_inputs: false,
        flush_outputs: false,
        flush_inexact: false,
        flush_f16: false,
        unmasked: Flags::NONE,
        alt_half: false,
    };

    /// What an x86 MXCSR of 0x1f80 selects, with no flag set.
    pub const SSE: Self = Self {
        tininess: Tininess::AfterRounding,
        nan: NanRule::Sse,
        default_nan_sign: true,
        flush_inexact: true,
        ..Self::ARM
    };

    /// Adds `flags` to the sticky ones.
    #[inline(always)]
    pub fn raise(&mut self, flags: Flags) {
        self.flags |= flags;
    }

    /// Whether host arithmetic (round to nearest even, no flags read) gives what this environment asks for, as long as
    /// operands and result are normal.
    #[inline(always)]
    pub(crate) fn host_rounding(&self) -> bool {
        matches!(self.rounding, Rounding::NearestEven) && self.flags.contains(Flags::INEXACT)
    }
}
