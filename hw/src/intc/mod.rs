//! Interrupt controllers.
//!
//! The two Arm GICs share three ideas, each in its own file: [`intid_block`], the state of 32 interrupts;
//! [`cpu_interface`], priorities and preemption at one processor; [`wiring`], the pins of a controller and the lines it
//! drives. A board makes a controller with `new`, hands out [`wiring::spi_pins`] and [`wiring::ppi_pins`] to devices and
//! CPUs, and maps the windows.
//!
//! Messages of PCI functions become their interrupts in [`gicv2m`] or [`gicv3_its`].
//!
//! A PC has an [`i8259`] pair and, per processor, an APIC ([`lapic`]; all in one device), joined by [`apic_bus`] with the
//! [`ioapic`]. [`intack`] names what a processor reaches them by.

#![forbid(unsafe_code)]

pub mod apic_bus;
pub mod cpu_interface;
pub mod gicv2;
pub mod gicv2m;
pub mod gicv3;
pub mod gicv3_its;
pub mod i8259;
pub mod intack;
pub mod intid_block;
pub mod ioapic;
pub mod lapic;
pub mod wiring;

mod lanes;
