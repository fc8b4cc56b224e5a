//! The Arm architecture.

pub mod crypto;
pub mod pauth;
