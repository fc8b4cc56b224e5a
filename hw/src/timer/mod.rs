//! Counters and timers.

pub mod hpet;
pub mod i8254;
