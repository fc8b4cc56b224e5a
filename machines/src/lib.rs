//! Boards as recorded data, and how kernels are loaded onto them.
#![forbid(unsafe_code)]

pub mod boot;
pub mod error;
pub mod fdt;

pub use error::Error;
