//! The Arm architecture.
pub mod wiring;
