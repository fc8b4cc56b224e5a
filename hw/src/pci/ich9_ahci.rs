//! Serial ATA controller of the ICH9 in AHCI mode, device 31, function 2: six ports. Intel I/O Controller Hub 9 datasheet
//! (316972), "SATA Controller Registers (D31:F2)", and Serial ATA AHCI 1.3.1 Specification, "HBA Memory Registers"; section
//! titles are the latter's. The ports are [`crate::block::ahci`].

use super::config::{BAR0, Bar, Layout, PciRegs, STATUS, Space, Window as BarWindow};
use super::function::{Function, PciFunction, PciSlot};
use super::msi::Msi;
use crate::block::ahci::{self, Port, PortRegs};
use crate::block::ide::Drive;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::blockdev::BlockDev;
use vm::{Access, BadState, BusError, Device, DeviceCell, Mmio, Regs, ResetKind, Window};

/// Its ports.
pub const PORTS: usize = 6;

// Windows.
const MEMORY: u8 = 0;
const MEMORY_LEN: u64 = 0x1000;
/// Ports by which programs in real mode reach the memory ("Index-Data Pair registers").
const INDEX_DATA: u8 = 1;
const INDEX_DATA_LEN: u64 = 0x20;
const INDEX: u64 = 0x10;
const DATA: u64 = 0x14;

// "Generic Host Control".
const CAP: u64 = 0x00;
const GHC: u64 = 0x04;
const IS: u64 = 0x08;
const PI: u64 = 0x0c;
const VS: u64 = 0x10;
const FIRST_PORT: u64 = 0x100;

/// 64-bit addresses, queues, AHCI alone, 1.5 Gb/s, 32 commands, six ports.
const CAPABILITIES: u32 = 1 << 31 | 1 << 30 | 1 << 18 | 1 << 20 | (ahci::SLOTS as u32 - 1) << 8 | (PORTS as u32 - 1);
const VERSION: u32 = 0x1_0000;
const HR: u32 = 1 << 0;
const GHC_IE: u32 = 1 << 1;
const AE: u32 = 1 << 31;

/// The controller.
pub struct Ich9Ahci {
    regs: Ich9AhciRegs,
    function: Function,
    msi: Msi,
    ports: [Port; PORTS],
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ich9AhciRegs {
    pci: PciRegs,
    ghc: u32,
    is: u32,
    /// Ports whose interrupt was announced by a message.
    announced: u32,
    index: u32,
    ports: [PortRegs; PORTS],
}

impl Regs for Ich9AhciRegs {
    fn validate(&self) -> Result<(), BadState> {
        self.ports.iter().try_for_each(Regs::validate)
    }
}

impl Ich9Ahci {
    /// The cell of a controller in `slot` with these drives, by port. They wait for the host on threads unless
    /// `synchronous`.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn cell(
        slot: PciSlot,
        drives: [Option<Drive>; PORTS],
        synchronous: bool,
    ) -> std::io::Result<Arc<DeviceCell<Self>>> {
        let bar = |n: u8, space, len, window| Bar {
            register: BAR0 + 4 * n,
            space,
            prefetchable: false,
            len,
            window: BarWindow::Mmio(window),
        };
        let mut layout = Layout::new(0x8086, 0x2922, 0x01_06_01, 2)
            .register(STATUS, 2, 0x02b0, 0)
            .interrupt_pin(1)
            // "MAP — Address Map": AHCI.
            .register(0x90, 1, 0x40, 0)
            .bar(bar(4, Space::Io, INDEX_DATA_LEN, INDEX_DATA))
            .bar(bar(5, Space::Memory32, MEMORY_LEN, MEMORY));
        let msi = Msi::new(&mut layout);
        // "Serial ATA Capability": version 1.0, the index-data pair is at byte 0x10 of base address register 4.
        layout.capability(0x12, &[0x10, 0x00, 0x48, 0x00, 0x00, 0x00], &[]);
        let memory = slot.memory.clone();
        let function = Function::new(slot, layout);
        let mut ports = Vec::new();
        for drive in drives {
            ports.push(Port::new(drive, memory.clone(), synchronous)?);
        }
        let Ok(ports) = <[Port; PORTS]>::try_from(ports) else { unreachable!("one for each drive") };
        let mut new = Self { regs: Ich9AhciRegs::default(), function, msi, ports };
        new.regs = new.power_on();
        let cell = Arc::new(DeviceCell::new(new));
        for n in 0..PORTS {
            let weak = Arc::downgrade(&cell);
            let wake = Box::new(move || {
                if let Some(cell) = weak.upgrade() {
                    let _ = cell.with(|_| ());
                }
            });
            let _ = cell.with(|controller| controller.ports[n].connect(wake));
        }
        Ok(cell)
    }

    fn power_on(&self) -> Ich9AhciRegs {
        let ports = self.ports.each_ref().map(Port::power_on);
        Ich9AhciRegs { pci: self.function.power_on(), ghc: AE, ports, ..Default::default() }
    }

    /// Puts another disc into the CD-ROM drive of a port, or takes it out. `false` if there is no such drive.
    pub fn set_disc(&mut self, port: usize, disc: Option<Arc<dyn BlockDev>>) -> bool {
        match (self.ports.get_mut(port), self.regs.ports.get_mut(port)) {
            (Some(port), Some(regs)) => port.set_disc(regs, disc),
            _ => false,
        }
    }

    /// Waits until nothing is under way at the host, so that a snapshot can be taken. The vCPUs must be stopped.
    pub fn drain(&mut self) {
        for (port, regs) in self.ports.iter_mut().zip(&mut self.regs.ports) {
            port.drain(regs);
        }
    }

    /// The port whose registers are at `offset`, and the offset among them.
    fn port(&mut self, offset: u64) -> Option<(&mut Port, &mut PortRegs, u64)> {
        let into = offset.checked_sub(FIRST_PORT)?;
        let n = (into / ahci::LEN) as usize;
        Some((self.ports.get_mut(n)?, self.regs.ports.get_mut(n)?, into % ahci::LEN))
    }

    fn read_word(&mut self, offset: u64) -> u32 {
        match offset {
            CAP => CAPABILITIES,
            GHC => self.regs.ghc,
            IS => self.regs.is,
            PI => (1 << PORTS) - 1,
            VS => VERSION,
            _ => self.port(offset).map_or(0, |(port, regs, offset)| port.read(regs, offset)),
        }
    }

    fn write_word(&mut self, offset: u64, value: u32) {
        match offset {
            GHC if value & HR != 0 => {
                for (port, regs) in self.ports.iter_mut().zip(&mut self.regs.ports) {
                    port.reset(regs, true);
                }
                (self.regs.ghc, self.regs.is, self.regs.announced) = (AE, 0, 0);
            }
            GHC => self.regs.ghc = AE | value & GHC_IE,
            IS => {
                self.regs.is &= !value;
                self.regs.announced &= !value;
            }
            _ => {
                if let Some((port, regs, offset)) = self.port(offset) {
                    port.write(regs, offset, value);
                }
            }
        }
    }
}

impl Device for Ich9Ahci {
    type Regs = Ich9AhciRegs;
    const MODEL: &'static str = "ich9-ahci";

    fn regs(&self) -> &Ich9AhciRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Ich9AhciRegs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        let mut ports = std::mem::take(&mut self.regs.ports);
        for (port, regs) in self.ports.iter_mut().zip(&mut ports) {
            port.reset(regs, false);
        }
        self.regs = Ich9AhciRegs { ports, ..self.power_on() };
    }

    fn update(&mut self) {
        // 10.7, "Interrupts": a port's bit is set for as long as it has a cause that is enabled.
        for (n, (port, regs)) in self.ports.iter_mut().zip(&mut self.regs.ports).enumerate() {
            port.update(regs);
            self.regs.is |= u32::from(port.interrupts(regs)) << n;
        }
        let r = &mut self.regs;
        let asked = if r.ghc & GHC_IE != 0 { r.is } else { 0 };
        let by_message = self.msi.is_enabled(&r.pci);
        if by_message && asked & !r.announced != 0 {
            self.msi.send(&self.function, &r.pci);
        }
        r.announced = asked;
        self.function.set_intx(&mut r.pci, asked != 0 && !by_message);
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for Ich9Ahci {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Ich9Ahci {
    const WINDOWS: &'static [Window] =
        &[Window { len: MEMORY_LEN, widths: 1..=8 }, Window { len: INDEX_DATA_LEN, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let offset = match (at.window, at.offset) {
            (INDEX_DATA, INDEX..DATA) => return Ok(u64::from(self.regs.index) >> (8 * (at.offset & 3))),
            (INDEX_DATA, DATA..=0x17) => u64::from(self.regs.index) + (at.offset & 3),
            (INDEX_DATA, _) => return Ok(0),
            (_, offset) => offset,
        };
        let low = u64::from(self.read_word(offset & !3));
        let high = if at.width == 8 { u64::from(self.read_word((offset & !3) + 4)) } else { 0 };
        Ok((high << 32 | low) >> (8 * (offset & 3)))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let offset = match (at.window, at.offset) {
            (INDEX_DATA, INDEX) => {
                self.regs.index = value as u32 & (MEMORY_LEN as u32 - 4);
                return Ok(());
            }
            (INDEX_DATA, DATA) => u64::from(self.regs.index),
            (INDEX_DATA, _) => return Ok(()),
            (_, offset) => offset,
        };
        // 3, "HBA Memory Registers": accesses are of whole registers.
        if !offset.is_multiple_of(4) || at.width < 4 {
            return Err(BusError::BadOffset);
        }
        self.write_word(offset, value as u32);
        if at.width == 8 {
            self.write_word(offset + 4, (value >> 32) as u32);
        }
        Ok(())
    }
}
