//! Boards as recorded data, and how kernels are loaded onto them.
//!
//! [`arm_virt::machine`] turns what the user asked for into a [`Board`] and a [`Boot`]; [`build`] checks the board and
//! makes it a [`Machine`] on some accelerator. No accelerator, command line or host end is known here; host files are only
//! read, by [`boot::file`].
//!
//! Start reading at [`arm_virt`], then [`builder`]. To add a machine, write a file like `arm_virt.rs`; to add a part to
//! one, add a line to its `board` function.
#![forbid(unsafe_code)]

pub mod acpi;
pub mod arm_virt;
pub mod board;
pub mod boot;
pub mod builder;
pub mod devices;
pub mod error;
pub mod fdt;
pub mod machine;
pub mod microvm;
mod mp_table;
pub mod pc;
pub mod power_key;
pub mod smbios;
#[cfg(test)]
mod testing;

pub use board::Board;
pub use builder::{Boot, Host, SetMedium, build};
pub use error::Error;
pub use machine::Machine;
