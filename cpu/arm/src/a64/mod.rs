//! The A64 instruction set.

pub mod decode;
