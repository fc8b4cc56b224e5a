//! Clocks that keep the time of day.

pub mod pl031;
