//! The Arm architecture.

pub mod fp;
