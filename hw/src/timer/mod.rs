//! Counters and timers.

pub mod i8254;
