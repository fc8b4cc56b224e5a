//! One file per chip.

pub mod intc;
