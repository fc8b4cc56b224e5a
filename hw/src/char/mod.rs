//! Serial and parallel ports.

pub mod ns16550a;
pub mod parallel;
pub mod pl011;
