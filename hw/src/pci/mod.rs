//! PCI Local Bus. Section numbers are those of the PCI Local Bus Specification, revision 3.0.
//!
//! - [`config`]: the 256 bytes of a function's configuration space, and how a chip describes its own;
//! - [`function`]: what every function has beside them: its windows in the address spaces, its interrupt;
//! - [`msi`]: interrupts as messages;
//! - [`bus`]: which function is where, and how their interrupt pins reach the four lines of a bus;
//! - [`ecam`]: configuration space in memory, and the host bridge of machines that have nothing but that;
//! - one file per chip of a PC's chip sets, and for what they share: [`host_bridge`], `acpi_pm`, `smbus`.
//!
//! A chip with a PCI interface keeps a [`config::PciRegs`] among its registers and a [`function::Function`] beside them,
//! implements [`function::PciFunction`], calls [`function::Function::update`] in its `update`, and is plugged with
//! [`bus::PciBus::plug`].
//!
//! Locks: a cell may change an address space while it is locked, since no address space calls a device.

mod acpi_pm;
pub mod bus;
pub mod config;
pub mod ecam;
pub mod function;
pub mod host_bridge;
pub mod i440fx;
pub mod ich9_ahci;
pub mod ich9_lpc;
pub mod ich9_smbus;
pub mod msi;
pub mod piix3;
pub mod piix3_ide;
pub mod piix4_pm;
pub mod q35;
mod smbus;
#[cfg(test)]
pub mod testing;
