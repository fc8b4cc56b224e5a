//! What of a guest's floating point the host's unit does, and the flags that it leaves.
//!
//! A helper is the meaning of an operation. One that has a [`HostFloat`] may be replaced by the host's operation in
//! blocks whose guest environment is the host's default ([`Block::host_float`](crate::ir::Block::host_float)): both
//! round to nearest even and neither flushes, so results differ in NaNs alone and flags in the moment at which a
//! result counts as tiny. Compiled code looks for these cases after (or before) the operation and calls the helper then. A
//! guest whose floating point is the host's ([`Frontend::NATIVE_FLOAT`]) needs none of that.
//!
//! The host's sticky flags are the guest's while compiled code runs. They are looked at on the way out of it and when a
//! helper asks ([`Env::sync_float_flags`]). What holds about them:
//! - Rust code between two stretches of compiled code may raise what it likes: `before_compiled` restores what
//!   compiled code left.
//! - Rust code that compiled code calls is integer code, or runs in [`Env::with_own_flags`] (software floating point, which
//!   takes fast paths on host arithmetic, and devices).
//! - The code generator takes floating-point operations for pure. An operation that nobody uses would be dropped with
//!   its flags: most are used by the check behind them. Conversions and comparisons of vectors need none, nor does anything
//!   of a guest whose floating point is the host's: they are calls where neither the block nor what may follow it in the
//!   region uses the result. (One that only cold paths use is executed there alone, as is one that a branch leads to: a result
//!   that no code ever sees may then fail to raise its flags.) Equal operations may be merged, which loses nothing as flags
//!   are sticky; therefore whatever clears flags must end the block and leave compiled code. An operation on values that a
//!   loop does not change may be executed before the loop: its flags are raised early, and even if a branch in the loop
//!   always avoids it. Guests see that in their flags only.
//! - Operands keep their order, which says whose NaN it is if there are several: the code generator exchanges those of a
//!   sum or product only if one is a load of its own, which guest loads never are.

use crate::env::Env;
use crate::frontend::Frontend;
use crate::ir::Lane;
use crate::mxcsr;

/// IEEE 754's five exceptions, in the order of its section 7, from bit 0: invalid operation, division by zero, overflow,
/// underflow, inexact. And in bit 5, which is none of them, that an operand was denormal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloatFlags(pub u8);

impl FloatFlags {
    /// The flags of an MXCSR, where the denormal operand is bit 1.
    const fn of_mxcsr(mxcsr: u32) -> FloatFlags {
        FloatFlags((mxcsr & 1 | mxcsr >> 1 & 0x1e | (mxcsr & 2) << 4) as u8)
    }
}

/// A rounding of a number to an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToIntegral {
    /// To nearest, ties to even.
    Nearest,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// Toward zero.
    Zero,
}

/// An operation of the host's unit on the helper's operands `a`, `b`, `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `-(a * b)`
    NegMul,
    /// `a / b`
    Div,
    /// Square root of `a`.
    Sqrt,
    /// `a + b * c`, rounded once.
    MulAdd,
    /// `a - b * c`, rounded once.
    MulSub,
    /// `-a - b * c`, rounded once.
    NegMulAdd,
    /// `b * c - a`, rounded once.
    NegMulSub,
    /// `|a - b|`
    AbsDifference,
    /// The lesser; -0 is less than 0.
    Min,
    /// The greater.
    Max,
    /// All ones where `a == b`; a quiet NaN is not invalid.
    Eq,
    /// All ones where either is a NaN; a quiet one is not invalid.
    Unordered,
    /// All ones where `a >= b`; a NaN is invalid.
    Ge,
    /// All ones where `a > b`; a NaN is invalid.
    Gt,
    /// As `Ge` of magnitudes.
    AbsGe,
    /// As `Gt` of magnitudes.
    AbsGt,
    /// Raises what comparing `a` with `b` raises; gives nothing of use.
    Compare,
    /// Rounded to an integral value; raises inexact if that says so.
    Integral(ToIntegral, bool),
    /// Rounded to a signed or unsigned integer of this many bits, saturating; a NaN gives 0. A vector helper gives integers
    /// in the lanes, whatever the number.
    ToInt(ToIntegral, bool, u8),
    /// From a signed or unsigned integer of this many bits: the helper's first operand, of a vector helper its lanes.
    FromInt(bool, u8),
    /// Single to double precision; the lane is the wide one, the operands are the lower half.
    Widen,
    /// Double to single precision; the lane is the wide one, the results are the lower half.
    Narrow,
}

/// A helper's call as an operation of the host's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFloat {
    /// The operation.
    pub op: FloatOp,
    /// `S` or `D`.
    pub lane: Lane,
    /// How many lanes take part, from the lowest: 1, 2 or 4. The others of the result are zero.
    pub lanes: u8,
}

impl<F: Frontend> Env<F> {
    /// Gives the guest the flags that the host has raised for it. For helpers that look at the guest's or change them.
    pub fn sync_float_flags(&mut self) {
        self.note_float_flags();
        let raised = FloatFlags::of_mxcsr(self.mxcsr) != FloatFlags::default();
        self.mxcsr = mxcsr::DEFAULT;
        if self.in_compiled && raised {
            mxcsr::write(mxcsr::DEFAULT);
        }
    }

    /// Gives the guest the flags that the host has raised for it, for a helper that only reads the guest's. The host keeps
    /// its own, which saves setting them.
    pub fn note_float_flags(&mut self) {
        if self.in_compiled {
            self.mxcsr = mxcsr::read();
        }
        F::add_float_flags(&mut self.cpu, FloatFlags::of_mxcsr(self.mxcsr));
    }

    /// Compiled code goes on where it left the flags.
    #[inline]
    pub(crate) fn before_compiled(&mut self) {
        if mxcsr::read() != self.mxcsr {
            mxcsr::write(self.mxcsr);
        }
        self.in_compiled = true;
    }

    /// Compiled code came back.
    #[inline]
    pub(crate) fn after_compiled(&mut self) {
        self.mxcsr = mxcsr::read();
        self.in_compiled = false;
    }

    /// Lets code run whose floating point is not the guest's, called by compiled code or not.
    #[inline]
    pub fn with_own_flags<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        if !self.in_compiled {
            return f(self);
        }
        /// The compiler moves floating-point operations about as if they had no effect, but not out of a function.
        #[inline(never)]
        fn apart<A, R>(argument: A, f: impl FnOnce(A) -> R) -> R {
            f(argument)
        }
        let before = mxcsr::read();
        let result = apart(self, f);
        if mxcsr::read() != before {
            mxcsr::write(before);
        }
        result
    }
}
