//! The Arm architecture.
pub mod a64;
