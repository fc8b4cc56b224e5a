//! How a GIC is wired: input pins by kind of interrupt, and the two lines to each processor.

use std::sync::Arc;
use vm::{Device, DeviceCell, IrqLine, IrqSink};

/// A controller with shared (SPI) and private (PPI) peripheral interrupts.
pub trait Gic: Device {
    /// The level of SPI `spi` changed; SPI 0 is INTID 32. Numbers without an interrupt are ignored.
    fn set_spi(&mut self, spi: u32, high: bool);
    /// The level of PPI `ppi` of processor `cpu` changed; PPI 0 is INTID 16. Numbers without an interrupt are ignored.
    fn set_ppi(&mut self, cpu: u32, ppi: u32, high: bool);
}

struct SpiPins<G>(Arc<DeviceCell<G>>);

impl<G: Gic> IrqSink for SpiPins<G> {
    fn set_pin(&self, pin: u32, high: bool) {
        // A GIC drives processors only, so no device can call back into it.
        let _ = self.0.with(|gic| gic.set_spi(pin, high));
    }
}

struct PpiPins<G> {
    gic: Arc<DeviceCell<G>>,
    cpu: u32,
}

impl<G: Gic> IrqSink for PpiPins<G> {
    fn set_pin(&self, pin: u32, high: bool) {
        let _ = self.gic.with(|gic| gic.set_ppi(self.cpu, pin, high));
    }
}

/// The shared interrupt inputs; pin `n` is SPI `n`, which is INTID `32 + n`.
pub fn spi_pins<G: Gic>(gic: &Arc<DeviceCell<G>>) -> Arc<dyn IrqSink> {
    Arc::new(SpiPins(gic.clone()))
}

/// The private interrupt inputs of processor `cpu`; pin `n` (0 to 15) is PPI `n`, which is INTID `16 + n`.
pub fn ppi_pins<G: Gic>(gic: &Arc<DeviceCell<G>>, cpu: u32) -> Arc<dyn IrqSink> {
    Arc::new(PpiPins { gic: gic.clone(), cpu })
}

/// The lines from the controller to one processor.
pub struct CpuLines {
    /// Interrupt request.
    pub irq: IrqLine,
    /// Fast interrupt request.
    pub fiq: IrqLine,
}

impl CpuLines {
    /// IRQ to pin 0 and FIQ to pin 1 of `pins`, usually a [`vm::vcpu::Pins`].
    pub fn to(pins: Arc<dyn IrqSink>) -> Self {
        Self { irq: IrqLine::to(pins.clone(), 0), fiq: IrqLine::to(pins, 1) }
    }

    /// Drives both lines.
    pub(crate) fn set(&self, irq: bool, fiq: bool) {
        for (line, high) in [(&self.irq, irq), (&self.fiq, fiq)] {
            // A read is cheaper than the exchange in `set`, and levels seldom change.
            if line.is_high() != high {
                line.set(high);
            }
        }
    }
}
