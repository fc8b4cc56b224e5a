//! Boards as recorded data, and how kernels are loaded onto them.
#![forbid(unsafe_code)]

pub mod arm_virt;
pub mod board;
pub mod boot;
pub mod builder;
pub mod error;
pub mod fdt;
pub mod machine;

pub use board::Board;
pub use builder::{Boot, Host, build};
pub use error::Error;
pub use machine::Machine;
