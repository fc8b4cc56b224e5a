//! Gigabit Ethernet controller 82540EM. Intel "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
//! (317453); section titles are its.
//!
//! - here: the function and its registers; [`eeprom`]: what the card remembers and its PHY; [`transmit`] and [`receive`]:
//!   the rings.
//!
//! Frames travel when the cell settles, so many at a time; what is left waits for the guest's next access.

mod eeprom;
mod receive;
#[cfg(test)]
mod tests;
mod transmit;

use crate::pci::config::{BAR0, Bar, Layout, PciRegs, Space, Window as BarWindow};
use crate::pci::function::{Function, PciFunction, PciSlot};
use eeprom::EepromRegs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use transmit::TransmitRegs;
use vm::netdev::NetDev;
use vm::{Access, BadState, BusError, Device, DeviceCell, Mmio, Regs, ResetKind, Window};

// Registers ("Register descriptions"), in bytes.
const CTRL: u32 = 0x0000;
const STATUS: u32 = 0x0008;
const EECD: u32 = 0x0010;
const EERD: u32 = 0x0014;
const MDIC: u32 = 0x0020;
const ICR: u32 = 0x00c0;
const ICS: u32 = 0x00c8;
const IMS: u32 = 0x00d0;
const IMC: u32 = 0x00d8;
const RCTL: u32 = 0x0100;
const TCTL: u32 = 0x0400;
const PBA: u32 = 0x1000;
const RDBAL: u32 = 0x2800;
const RDBAH: u32 = 0x2804;
const RDLEN: u32 = 0x2808;
const RDH: u32 = 0x2810;
const RDT: u32 = 0x2818;
const TDBAL: u32 = 0x3800;
const TDBAH: u32 = 0x3804;
const TDLEN: u32 = 0x3808;
const TDH: u32 = 0x3810;
const TDT: u32 = 0x3818;
const STATISTICS: std::ops::RangeInclusive<u32> = 0x4000..=0x40ff;
const MTA: u32 = 0x5200;
const RAL0: u32 = 0x5400;
const RAH0: u32 = 0x5404;

const CTRL_RST: u32 = 1 << 26;
/// Full duplex, link up, 1000 Mb/s.
const STATUS_VALUE: u32 = 0x0283;

// Interrupt causes ("Interrupt cause read register").
const TXDW: u32 = 1 << 0;
const TXQE: u32 = 1 << 1;
const RXT0: u32 = 1 << 7;
const RXO: u32 = 1 << 6;
const MDAC: u32 = 1 << 9;

/// Windows: the registers in memory, and the ports through which they are reached one by one.
const REGISTERS: u8 = 0;
const PORTS: u8 = 1;
const REGISTERS_LEN: u64 = 0x2_0000;
const PORTS_LEN: u64 = 0x40;

/// The card.
pub struct E1000 {
    regs: E1000Regs,
    function: Function,
    net: Arc<dyn NetDev>,
    mac: [u8; 6],
    frame: Vec<u8>,
}

/// Its registers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct E1000Regs {
    pci: PciRegs,
    /// IOADDR.
    address: u32,
    /// Causes, and those that interrupt.
    causes: u32,
    mask: u32,
    /// All registers that only remember, and those of the rings, by offset.
    plain: BTreeMap<u32, u32>,
    eeprom: EepromRegs,
    transmit: TransmitRegs,
}

impl Regs for E1000Regs {
    fn validate(&self) -> Result<(), BadState> {
        if self.plain.len() > (REGISTERS_LEN / 4) as usize {
            return Err(BadState(format!("{} registers", self.plain.len())));
        }
        self.transmit.validate()
    }
}

impl E1000 {
    /// The cell of a card in `slot` with the address `mac`, whose cable leads to `net`. It sets [`NetDev::on_receive`].
    pub fn cell(slot: PciSlot, net: Arc<dyn NetDev>, mac: [u8; 6]) -> Arc<DeviceCell<Self>> {
        let bar = |register, space, len, window| Bar {
            register,
            space,
            prefetchable: false,
            len,
            window: BarWindow::Mmio(window),
        };
        let layout = Layout::new(0x8086, 0x100e, 0x02_00_00, 3)
            .bar(bar(BAR0, Space::Memory32, REGISTERS_LEN, REGISTERS))
            .bar(bar(BAR0 + 4, Space::Io, PORTS_LEN, PORTS))
            .interrupt_pin(1);
        let function = Function::new(slot, layout);
        let mut new = Self { regs: E1000Regs::default(), function, net: net.clone(), mac, frame: Vec::new() };
        new.regs = new.power_on();
        let cell = Arc::new(DeviceCell::new(new));
        let weak = Arc::downgrade(&cell);
        net.on_receive(Box::new(move || {
            if let Some(cell) = weak.upgrade() {
                let _ = cell.with(|_| ());
            }
        }));
        cell
    }

    fn power_on(&self) -> E1000Regs {
        let [m0, m1, m2, m3, m4, m5] = self.mac;
        let plain = [
            (CTRL, 0x0014_0240),
            (PBA, 0x0010_0030),
            (RAL0, u32::from_le_bytes([m0, m1, m2, m3])),
            (RAH0, 0x8000_0000 | u32::from_le_bytes([m4, m5, 0, 0])),
        ];
        E1000Regs { pci: self.function.power_on(), plain: BTreeMap::from(plain), ..E1000Regs::default() }
    }

    fn plain(&self, register: u32) -> u32 {
        self.regs.plain.get(&register).copied().unwrap_or(0)
    }

    fn set_plain(&mut self, register: u32, value: u32) {
        self.regs.plain.insert(register, value);
    }

    fn raise(&mut self, causes: u32) {
        self.regs.causes |= causes;
    }

    fn read_register(&mut self, register: u32) -> u32 {
        match register {
            STATUS => STATUS_VALUE,
            EECD => self.regs.eeprom.read_eecd(),
            EERD => self.regs.eeprom.read_eerd(self.mac),
            MDIC => self.regs.eeprom.mdic,
            // "Interrupt cause read register": reading clears it.
            ICR => std::mem::take(&mut self.regs.causes),
            IMS => self.regs.mask,
            ICS | IMC => 0,
            _ if STATISTICS.contains(&register) => self.regs.plain.remove(&register).unwrap_or(0),
            _ => self.plain(register),
        }
    }

    fn write_register(&mut self, register: u32, value: u32) {
        match register {
            CTRL if value & CTRL_RST != 0 => {
                let (pci, address) = (self.regs.pci.clone(), self.regs.address);
                self.regs = E1000Regs { pci, address, ..self.power_on() };
            }
            EECD => self.regs.eeprom.write_eecd(value, self.mac),
            EERD => self.regs.eeprom.eerd = value,
            MDIC => {
                self.regs.eeprom.write_mdic(value);
                self.raise(MDAC);
            }
            ICR => self.regs.causes &= !value,
            ICS => self.raise(value & 0xffff),
            IMS => self.regs.mask |= value & 0xffff,
            IMC => self.regs.mask &= !value,
            STATUS => {}
            _ if STATISTICS.contains(&register) => {}
            RDH | RDT | TDH | TDT => self.set_plain(register, value & 0xffff),
            RDLEN | TDLEN => self.set_plain(register, value & 0xf_ff80),
            RDBAL | TDBAL => self.set_plain(register, value & !0xf),
            // Registers there are: control, receive and transmit, filters, wake-up and what follows.
            _ if register < 0x5900 || (0x1_0000..0x1_0010).contains(&register) => self.set_plain(register, value),
            _ => vm::log!(GuestError, "e1000: no register {register:#x}"),
        }
    }

    /// A ring: first byte and number of descriptors.
    fn ring(&self, low: u32, high: u32, len: u32) -> (u64, u32) {
        let base = u64::from(self.plain(low)) | u64::from(self.plain(high)) << 32;
        (base, self.plain(len) / 16)
    }

    fn count(&mut self, statistic: u32, by: u32) {
        let value = self.plain(statistic).saturating_add(by);
        self.set_plain(statistic, value);
    }
}

impl Device for E1000 {
    type Regs = E1000Regs;
    const MODEL: &'static str = "e1000";

    fn regs(&self) -> &E1000Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut E1000Regs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = self.power_on();
    }
    fn update(&mut self) {
        if self.function.is_master(&self.regs.pci) {
            self.transmit();
            self.receive();
        }
        let high = self.regs.causes & self.regs.mask != 0;
        self.function.set_intx(&mut self.regs.pci, high);
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for E1000 {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for E1000 {
    const WINDOWS: &'static [Window] =
        &[Window { len: REGISTERS_LEN, widths: 4..=4 }, Window { len: PORTS_LEN, widths: 4..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if !at.offset.is_multiple_of(4) {
            return Err(BusError::BadOffset);
        }
        Ok(match (at.window, at.offset) {
            (REGISTERS, offset) => self.read_register(offset as u32).into(),
            (_, 0) => self.regs.address.into(),
            (_, 4) => self.read_register(self.regs.address & 0x1_fffc).into(),
            _ => return Err(BusError::BadOffset),
        })
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if !at.offset.is_multiple_of(4) {
            return Err(BusError::BadOffset);
        }
        match (at.window, at.offset) {
            (REGISTERS, offset) => self.write_register(offset as u32, value as u32),
            (_, 0) => self.regs.address = value as u32,
            (_, 4) => self.write_register(self.regs.address & 0x1_fffc, value as u32),
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}
