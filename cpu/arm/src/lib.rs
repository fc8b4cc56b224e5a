//! The Arm architecture.
