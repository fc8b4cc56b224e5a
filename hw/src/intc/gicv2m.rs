//! GICv2m: messages of PCI functions become shared interrupts of a GICv2. Arm Server Base System Architecture
//! (DEN 0029), appendix "GICv2m Architecture".

use std::sync::Arc;
use vm::{Access, BusError, Device, IrqSink, Mmio, Window};

// Registers ("Non-secure MSI register frame").
const MSI_TYPER: u64 = 0x008;
/// A message is a write to this register.
pub const MSI_SETSPI_NS: u64 = 0x040;
const MSI_IIDR: u64 = 0xfcc;
/// Bytes of the frame.
pub const FRAME_LEN: u64 = 0x1000;
/// INTID of SPI 0.
const FIRST_SPI: u32 = 32;

/// MSI_IIDR: Arm, revision and product 0. Product 0x34 would be one whose messages carry something else than the INTID.
const IIDR: u32 = 0x0000_043b;

/// A frame. It keeps nothing: a message is a pulse of an edge-triggered interrupt.
pub struct Gicv2m {
    regs: (),
    pins: Arc<dyn IrqSink>,
    first: u32,
    count: u32,
}

impl Gicv2m {
    /// A frame for the `count` SPIs from `first` on, whose inputs are those pins of `pins` ([`super::wiring::spi_pins`]).
    pub fn new(pins: Arc<dyn IrqSink>, first: u32, count: u32) -> Self {
        Self { regs: (), pins, first, count }
    }
}

impl Gicv2m {
    /// Takes a message: a write of `data` to [`MSI_SETSPI_NS`]. It is the INTID; others than the frame's are ignored.
    pub fn message(&mut self, data: u32) {
        match (data & 0x3ff).checked_sub(self.first + FIRST_SPI) {
            Some(n) if n < self.count => {
                self.pins.set_pin(self.first + n, true);
                self.pins.set_pin(self.first + n, false);
            }
            _ => vm::log!(GuestError, "gicv2m: message for INTID {data}, which is not the frame's"),
        }
    }
}

impl Device for Gicv2m {
    type Regs = ();
    const MODEL: &'static str = "gicv2m";

    fn regs(&self) -> &() {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut () {
        &mut self.regs
    }
}

impl Mmio for Gicv2m {
    const WINDOWS: &'static [Window] = &[Window { len: FRAME_LEN, widths: 2..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        Ok(match (at.offset, at.width) {
            (MSI_TYPER, 4) => u64::from(self.first + FIRST_SPI) << 16 | u64::from(self.count),
            (MSI_IIDR, 4) => IIDR.into(),
            // Identification registers: implementation defined, none here.
            _ if at.offset.is_multiple_of(at.width.into()) => 0,
            _ => return Err(BusError::BadOffset),
        })
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if at.offset != MSI_SETSPI_NS {
            return Err(BusError::BadOffset);
        }
        self.message(value as u32);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Edges, Poke, hammer};
    use vm::DeviceCell;

    fn bench() -> (DeviceCell<Gicv2m>, Arc<Edges>) {
        let edges = Edges::new();
        (DeviceCell::new(Gicv2m::new(edges.clone(), 48, 16)), edges)
    }

    #[test]
    fn registers() {
        let (frame, _) = bench();
        for (offset, value) in [(MSI_TYPER, 80 << 16 | 16), (MSI_IIDR, 0x43b), (MSI_SETSPI_NS, 0), (0xfe8, 0)] {
            assert_eq!(frame.r(offset), value, "{offset:#x}");
        }
        assert_eq!(frame.write_n(MSI_TYPER, 4, 0), Err(BusError::BadOffset));
        assert_eq!(frame.read_n(MSI_TYPER, 1), Err(BusError::BadWidth));
    }

    #[test]
    fn messages_are_pulses_of_the_frames_interrupts() {
        let (frame, edges) = bench();
        for (value, pin, rises) in [(80, 48, 1), (95, 63, 1), (79, 47, 0), (96, 0, 0), (0, 32, 0), (0x450, 48, 1)] {
            frame.w(MSI_SETSPI_NS, value);
            assert_eq!(edges.take(pin), rises, "{value}");
        }
        frame.write_n(MSI_SETSPI_NS, 2, 81).unwrap();
        assert_eq!(edges.take(49), 1);
    }

    #[test]
    fn any_access() {
        let (frame, _) = bench();
        hammer(&Arc::new(frame), 20_000, |_| {});
    }
}
