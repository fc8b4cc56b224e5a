//! Floating-point arithmetic in software.
