//! The Arm architecture: AArch64 at EL0 and EL1, with room in the state for the other levels and AArch32.
//!
//! It deliberately knows no device and no board. Start reading at [`state`], then [`a64`]; [`frontend`] is what the
//! translator sees. To add an instruction see [`a64`]; a system register is a row in [`sysreg`]; a processor is a row
//! in [`model`].

#![forbid(unsafe_code)]

pub mod a64;
mod cluster;
pub mod crypto;
pub mod disassemble;
pub mod exception;
pub mod features;
pub mod fp;
pub mod frontend;
pub mod generic_timer;
pub mod helpers;
pub mod integer_helpers;
pub mod mmu;
pub mod mode;
pub mod model;
pub mod pauth;
pub mod pmu;
pub mod psci;
pub mod state;
pub mod sysreg;
pub mod vector;
pub mod wires;
pub mod wiring;

#[cfg(test)]
mod testing;

pub use features::{Feature, Features};
pub use frontend::Arm;
