//! SMBus controller of the ICH9, device 31, function 3, without devices on its bus. Intel I/O Controller Hub 9 datasheet
//! (316972), "SMBus Controller Registers (D31:F3)".

use super::config::{BAR0, Bar, Layout, PciRegs, STATUS, Space, Window as BarWindow};
use super::function::{Function, PciFunction, PciSlot};
use super::smbus::SmbusRegs;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, BusError, Device, DeviceCell, Mmio, Regs, ResetKind, Window};

/// "HOSTC — Host Configuration".
const HOSTC: u8 = 0x40;
const HST_EN: u8 = 1 << 0;
const LEN: u64 = 32;

/// The function.
pub struct Ich9Smbus {
    regs: Ich9SmbusRegs,
    function: Function,
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ich9SmbusRegs {
    pci: PciRegs,
    host: SmbusRegs,
}

impl Regs for Ich9SmbusRegs {}

impl Ich9Smbus {
    /// The cell of a function in `slot`.
    pub fn cell(slot: PciSlot) -> Arc<DeviceCell<Self>> {
        let layout = Layout::new(0x8086, 0x2930, 0x0c_05_00, 2)
            .register(STATUS, 2, 0x0280, 0)
            .interrupt_pin(1)
            .register(HOSTC, 1, 0, 0x1f)
            .bar(Bar {
                register: BAR0 + 16,
                space: Space::Io,
                prefetchable: false,
                len: LEN,
                window: BarWindow::Mmio(0),
            });
        let function = Function::new(slot, layout);
        let regs = Ich9SmbusRegs { pci: function.power_on(), ..Default::default() };
        Arc::new(DeviceCell::new(Self { regs, function }))
    }

    fn enabled(&self) -> bool {
        self.regs.pci.byte(HOSTC) & HST_EN != 0
    }
}

impl Device for Ich9Smbus {
    type Regs = Ich9SmbusRegs;
    const MODEL: &'static str = "ich9-smbus";

    fn regs(&self) -> &Ich9SmbusRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Ich9SmbusRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = Ich9SmbusRegs { pci: self.function.power_on(), ..Default::default() };
    }
    fn update(&mut self) {
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for Ich9Smbus {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Ich9Smbus {
    const WINDOWS: &'static [Window] = &[Window { len: LEN, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if !self.enabled() {
            return Ok(u64::MAX >> (64 - 8 * u32::from(at.width.clamp(1, 8))));
        }
        let host = &self.regs.host;
        Ok((0..u64::from(at.width)).fold(0, |value, n| value | u64::from(host.read(at.offset + n)) << (8 * n)))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if self.enabled() {
            for n in 0..u64::from(at.width) {
                self.regs.host.write(at.offset + n, (value >> (8 * n)) as u8);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::Machine;
    use crate::testing::{Ports, check_reset, check_save_load, hammer};

    const DEVFN: u8 = 31 << 3 | 3;

    fn bench() -> (Machine, Arc<DeviceCell<Ich9Smbus>>) {
        let machine = Machine::default();
        let cell = Ich9Smbus::cell(machine.bus.slot(31, 3));
        assert!(machine.bus.plug(&cell));
        (machine, cell)
    }

    #[test]
    fn nobody_answers_on_the_bus() {
        let (machine, cell) = bench();
        let config = |at| machine.bus.read_config(DEVFN, at, 4);
        assert_eq!([0, 4, 8, 0x20, 0x40].map(config), [0x2930_8086, 0x0280_0000, 0x0c05_0002, 1, 0]);
        cell.outb(0, 4, 0xa1);
        assert_eq!(cell.inb(0, 4), 0xff, "not enabled");
        machine.bus.write_config(DEVFN, HOSTC, 1, 1);
        cell.outb(0, 4, 0xa1);
        cell.outb(0, 2, 0x48);
        assert_eq!([0, 2, 4].map(|at| cell.inb(0, at)), [4, 8, 0xa1]);
        cell.outb(0, 0, 0xff);
        assert_eq!(cell.inb(0, 0), 0);
    }

    #[test]
    fn saved_reset_and_any_access() {
        let (machine, cell) = bench();
        check_save_load(&cell, || machine.bus.write_config(DEVFN, HOSTC, 1, 1));
        let (machine, cell) = bench();
        check_reset(&cell, || machine.bus.write_config(DEVFN, HOSTC, 1, 1));
        hammer(&cell, 5_000, |random| {
            machine.bus.write_config(DEVFN, random.next() as u8 & 0xfc, 4, random.next() as u32);
        });
    }
}
