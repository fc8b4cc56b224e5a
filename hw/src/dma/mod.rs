//! DMA controllers.

pub mod i8237;
