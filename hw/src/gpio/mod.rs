//! General-purpose pins.

pub mod pl061;
