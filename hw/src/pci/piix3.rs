//! ISA bridge of the 82371SB (PIIX3), function 0: routes the PCI interrupt lines to those of the ISA bus and resets the
//! machine. Intel 82371FB/82371SB data sheet (290550); section titles are its. The controllers for interrupts, DMA and time
//! that the chip also has are files of their own.

use super::config::{COMMAND, Layout, PciRegs, STATUS};
use super::function::{Function, PciFunction, PciSlot};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Regs, ResetKind, Window};

/// "PIRQRC[A:D] — PIRQx route control registers".
const PIRQRC: u8 = 0x60;
pub(super) const ROUTE_DISABLED: u8 = 0x80;
/// Interrupts that lines can be routed to: 3 to 7, 9 to 12, 14, 15.
const ROUTABLE: u16 = 0xdef8;

// "RC — Reset control register".
const SYSTEM_RESET: u8 = 1 << 1;
const RESET_CPU: u8 = 1 << 2;

/// The bridge.
pub struct Piix3 {
    regs: Piix3Regs,
    function: Function,
    outputs: Outputs,
}

/// What it drives.
pub struct Outputs {
    /// The interrupts of the ISA bus by number; a board joins each with the line of the device that has it.
    pub isa: [IrqLine; 16],
    /// Pulsed for a reset of the machine.
    pub reset: IrqLine,
    /// Pulsed for a reset of the processor alone.
    pub init: IrqLine,
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piix3Regs {
    pci: PciRegs,
    /// Levels of the lines PIRQA to PIRQD.
    pirqs: u8,
    reset_control: u8,
}

impl Regs for Piix3Regs {
    fn validate(&self) -> Result<(), BadState> {
        if self.pirqs > 0xf {
            return Err(BadState(format!("levels {:#x} of four lines", self.pirqs)));
        }
        Ok(())
    }
}

impl Piix3 {
    /// A bridge in `slot`, function 0 of its device.
    pub fn new(slot: PciSlot, outputs: Outputs) -> Self {
        let mut layout = Layout::new(0x8086, 0x7000, 0x06_01_00, 0)
            .register(COMMAND, 2, 0x0007, 0x0008)
            .register(STATUS, 2, 0x0200, 0)
            .multifunction()
            .register(0x3c, 2, 0, 0)
            .register(0x4c, 1, 0x4d, 0xff)
            .register(0x4e, 2, 0x0003, 0x07ff)
            .register(0x69, 1, 0x02, 0xfe)
            .register(0x70, 1, 0x80, 0xef)
            .register(0x76, 2, 0x0c0c, 0x8f8f)
            .register(0x78, 2, 0x0002, 0xfffc)
            .register(0x80, 1, 0, 0x7f)
            .register(0x82, 1, 0, 0x0f)
            .register(0xa0, 1, 0x08, 0x1f)
            .register(0xa2, 2, 0, 0x00ff)
            .register(0xa4, 4, 0, 0xffff_ffff)
            .register(0xa8, 1, 0x0f, 0xff);
        for n in 0..4 {
            layout = layout.register(PIRQRC + n, 1, ROUTE_DISABLED.into(), 0x8f);
        }
        let function = Function::new(slot, layout);
        let regs = Piix3Regs { pci: function.power_on(), ..Default::default() };
        Self { regs, function, outputs }
    }
}

/// Interrupts of the ISA bus, one bit each, that the lines with the levels `pirqs` ask for, given the route control register
/// of each line.
pub(super) fn routed(pirqs: u8, route: impl Fn(usize) -> u8) -> u16 {
    let routes = (0..8).filter(|n| pirqs >> n & 1 != 0).map(route);
    let enabled = routes.filter(|route| route & ROUTE_DISABLED == 0);
    enabled.fold(0, |irqs, route| irqs | 1_u16 << (route & 0xf)) & ROUTABLE
}

/// A guest writes the reset control register. "RC": a reset when RCPU rises; it is zero again after that.
pub(super) fn write_reset_control(register: &mut u8, value: u8, reset: &IrqLine, init: &IrqLine) {
    *register = value & SYSTEM_RESET;
    if value & RESET_CPU != 0 {
        let line = if value & SYSTEM_RESET != 0 { reset } else { init };
        line.set(true);
        line.set(false);
    }
}

struct Pirqs(Arc<DeviceCell<Piix3>>);

impl IrqSink for Pirqs {
    fn set_pin(&self, pin: u32, high: bool) {
        let bit = 1_u8.checked_shl(pin).unwrap_or(0) & 0xf;
        let _ = self.0.with(|bridge| {
            let pirqs = &mut bridge.regs.pirqs;
            *pirqs = if high { *pirqs | bit } else { *pirqs & !bit };
        });
    }
}

/// Its inputs PIRQA to PIRQD, for [`PciBus::wire`](super::bus::PciBus::wire).
pub fn pirqs(bridge: &Arc<DeviceCell<Piix3>>) -> [IrqLine; 4] {
    let sink = Arc::new(Pirqs(bridge.clone()));
    [0, 1, 2, 3].map(|n| IrqLine::to(sink.clone(), n))
}

impl Device for Piix3 {
    type Regs = Piix3Regs;
    const MODEL: &'static str = "piix3";

    fn regs(&self) -> &Piix3Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Piix3Regs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        // The levels belong to the functions that drive the lines.
        self.regs = Piix3Regs { pci: self.function.power_on(), pirqs: self.regs.pirqs, ..Default::default() };
    }
    fn update(&mut self) {
        let asserted = routed(self.regs.pirqs, |n| self.regs.pci.byte(PIRQRC + n as u8));
        for (n, line) in self.outputs.isa.iter().enumerate() {
            line.set(asserted >> n & 1 != 0);
        }
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for Piix3 {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Piix3 {
    /// Port 0xcf9, to which [`super::i440fx::I440fx`] passes accesses on.
    const WINDOWS: &'static [Window] = &[Window { len: 1, widths: 1..=1 }];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Ok(self.regs.reset_control.into())
    }

    fn write(&mut self, _at: Access, value: u64) -> Result<(), BusError> {
        let Outputs { reset, init, .. } = &self.outputs;
        write_reset_control(&mut self.regs.reset_control, value as u8, reset, init);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::Machine;
    use crate::testing::{Edges, Levels, Ports, check_reset, check_save_load, hammer};

    struct Bench {
        machine: Machine,
        cell: Arc<DeviceCell<Piix3>>,
        isa: Arc<Levels>,
        resets: Arc<Edges>,
        lines: [IrqLine; 4],
    }

    fn bench() -> Bench {
        let (machine, isa, resets) = (Machine::default(), Levels::new(), Edges::new());
        let outputs = Outputs {
            isa: std::array::from_fn(|n| IrqLine::to(isa.clone(), n as u32)),
            reset: IrqLine::to(resets.clone(), 0),
            init: IrqLine::to(resets.clone(), 1),
        };
        let cell = Arc::new(DeviceCell::new(Piix3::new(machine.bus.slot(1, 0), outputs)));
        assert!(machine.bus.plug(&cell));
        let lines = pirqs(&cell);
        Bench { machine, cell, isa, resets, lines }
    }

    #[test]
    fn lines_are_routed_and_joined() {
        let b = bench();
        let config = |at, width| b.machine.bus.read_config(8, at, width);
        let route = |at, value| b.machine.bus.write_config(8, at, 1, value);
        assert_eq!(
            [0, 4, 8, 0x0c, 0x60].map(|at| config(at, 4)),
            [0x7000_8086, 0x0200_0007, 0x0601_0000, 0x0080_0000, 0x8080_8080]
        );
        b.lines[0].set(true);
        b.lines[1].set(true);
        assert!((0..16).all(|irq| !b.isa.get(irq)));
        route(0x60, 10);
        route(0x61, 10);
        route(0x62, 11);
        assert!(b.isa.get(10) && !b.isa.get(11));
        b.lines[0].set(false);
        assert!(b.isa.get(10), "the other line still asks");
        route(0x61, 0x8a);
        assert!(!b.isa.get(10));
        b.lines[2].set(true);
        assert!(b.isa.get(11));
        b.cell.with(|bridge| bridge.reset(ResetKind::Warm)).unwrap();
        assert!(!b.isa.get(11));
        route(0x62, 5);
        assert!(b.isa.get(5), "levels outlive a reset");
        for irq in [0, 1, 2, 8, 13] {
            route(0x62, irq);
            assert!((0..16).all(|irq| !b.isa.get(irq)), "{irq} cannot be routed to");
        }
    }

    #[test]
    fn resets() {
        let b = bench();
        for (value, read, reset, init) in [(0, 0, 0, 0), (2, 2, 0, 0), (6, 2, 1, 0), (6, 2, 1, 0), (4, 0, 0, 1)] {
            b.cell.outb(0, 0, value);
            assert_eq!((b.cell.inb(0, 0), b.resets.take(0), b.resets.take(1)), (read, reset, init), "{value}");
        }
    }

    #[test]
    fn saved_reset_and_any_access() {
        let b = bench();
        check_save_load(&b.cell, || b.lines[0].set(true));
        let b = bench();
        check_reset(&b.cell, || b.cell.outb(0, 0, 2));
        hammer(&b.cell, 5000, |random| {
            b.machine.bus.write_config(8, random.next() as u8 & 0xfc, 4, random.next() as u32);
            b.lines[random.below(4) as usize].set(random.below(2) == 0);
        });
    }
}
