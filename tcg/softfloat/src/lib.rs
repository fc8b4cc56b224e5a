//! IEEE 754 arithmetic in software, shared by the instruction set front ends.
//!
//! Values are raw bits; `F16`, `BF16`, `F32` and `F64` name formats; the operations are methods of the trait `Float`:
//!
//! ```
//! use softfloat::{Env, F64, Flags, Float};
//! let mut env = Env::ARM;
//! let third = F64::div(1f64.to_bits(), 3f64.to_bits(), &mut env);
//! assert_eq!(f64::from_bits(third), 1.0 / 3.0);
//! assert_eq!(env.flags, Flags::INEXACT);
//! ```
//!
//! An `Env` holds what a guest's control register selects, and collects the sticky flags. This crate knows no
//! register layout and no instruction: estimates, flag bits and integer indefinites are the front ends' part.
//!
//! Start with `float`, the list of operations. `format` takes values apart and `round` puts results together; between
//! them a magnitude is 64 bits (`Unpacked::sig`) or, exact or with a sticky last bit, 128. The 80-bit format of the x87
//! unit, whose results depend on which exceptions are masked, stands beside them in [`x87`].
#![forbid(unsafe_code)]

mod arith;
mod compare;
mod convert;
pub mod elements;
mod env;
mod float;
mod format;
mod host;
mod integer;
mod nan;
mod round;
pub mod x87;

pub use compare::Relation;
pub use env::{Env, Flags, NanRule, Rounding, Tininess};
pub use float::Float;
pub use format::{BF16, Bits, F16, F32, F64, Format};
pub use integer::{Int, OutOfRange};
pub use round::Range;

/// What operations are made of, for those that only one architecture has.
pub mod parts {
    pub use crate::arith::mul_add_unpacked;
    pub use crate::format::{Class, Unpacked, operand};
    pub use crate::nan::{invalid, propagate};
    pub use crate::round::{overflow, pack};
}
