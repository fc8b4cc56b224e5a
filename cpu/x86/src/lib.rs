//! The x86 architecture: 16-, 32- and 64-bit code in real, protected, virtual-8086 and long mode.
//!
//! It deliberately knows no device and no board. Start reading at [`state`], then [`insn`]; [`frontend`] is what the
//! translator sees. To add an instruction see [`insn`]; a model-specific register is a row in [`msr`]; a processor is a row
//! in [`model`].
//!
//! Manuals: Intel 64 and IA-32 Architectures Software Developer's Manual ("SDM"), AMD64 Architecture Programmer's Manual
//! ("APM").

#![forbid(unsafe_code)]

pub mod control_regs;
pub mod cpuid;
pub mod exception;
pub mod flags;
pub mod fpu;
pub mod frontend;
pub mod helpers;
pub mod insn;
pub mod interrupt;
pub mod memory;
pub mod mmu;
pub mod mode;
pub mod model;
pub mod msr;
pub mod segment;
pub mod smm;
pub mod stack;
pub mod state;
pub mod task;
pub mod transfer;
pub mod vector;
pub mod wires;
pub mod wiring;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod debug_tests;
#[cfg(test)]
mod smp_tests;
#[cfg(test)]
mod system_tests;
#[cfg(test)]
mod testing;

pub use frontend::X86;
