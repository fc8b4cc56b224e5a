//! The vocabulary of a machine: what every other crate means by an address, RAM, a device, a line, a clock, a vCPU.
//!
//! It deliberately knows no chip, no instruction set and no host file. Start reading at [`device`], then
//! [`address_space`]. To add a device, implement [`device::Device`] and [`device::Mmio`] in the `hw` crate; nothing here
//! changes.

pub mod addr;
pub mod address_space;
pub mod blockdev;
pub mod chardev;
pub mod clock;
pub mod device;
pub mod display;
pub mod entropy;
pub mod input;
pub mod irq;
pub mod log;
pub mod netdev;
pub mod ninep;
pub mod power;
pub mod ram;
pub mod snapshot;
pub mod sysreg;
pub mod timer;
pub mod vcpu;

pub use addr::{Gpa, Gva, VmTime};
pub use address_space::{AddressSpace, Backing, FlatView, MapError, Mapping, MappingId, Span};
pub use device::{Access, BusError, Device, DeviceCell, Mmio, MmioPort, Part, Regs, ResetKind, Window};
pub use irq::{IrqLine, IrqSink};
pub use ram::Ram;
pub use snapshot::{BadState, LoadError, Saved};
