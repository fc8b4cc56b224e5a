//! Clocks that keep the time of day.

mod calendar;

pub mod cmos;
pub mod mc146818;
pub mod pl031;
