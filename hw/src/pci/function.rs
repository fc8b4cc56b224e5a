//! What every PCI function has beside its configuration registers: windows that appear and go as the guest programs them
//! (6.2.5, "Base Addresses"), and an interrupt pin (2.2.6).

use super::config::{COMMAND_INTX_DISABLE, COMMAND_MASTER, INTERRUPT_PIN, Layout, PciRegs, STATUS, STATUS_INTERRUPT};
use super::config::{Space, Window};
use std::sync::{Arc, Weak};
use vm::{AddressSpace, Backing, Device, DeviceCell, Gpa, IrqLine, Mapping, MappingId, MmioPort};

/// An interrupt as a message: a write to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sends it: bus number in bits 15:8, device and function number in 7:0.
    pub requester: u16,
    /// Where it is written.
    pub address: u64,
    /// What is written, 32 bits.
    pub data: u32,
}

/// Delivers a message.
pub type MsiSink = Arc<dyn Fn(Message) + Send + Sync>;

/// Where a function is plugged, and what it reaches from there.
#[derive(Clone)]
pub struct PciSlot {
    /// Device number in bits 7:3, function number in 2:0.
    pub devfn: u8,
    /// Memory: where its windows appear, and what it reads and writes by itself.
    pub memory: Arc<AddressSpace>,
    /// I/O ports.
    pub ports: Arc<AddressSpace>,
    /// Functions may have their ports at 0.
    pub ports_at_0: bool,
    /// Its four interrupt pins.
    pub intx: [IrqLine; 4],
    /// Where messages go, if the machine has an interrupt controller that takes them.
    pub msi: Option<MsiSink>,
}

impl PciSlot {
    fn space(&self, space: Space) -> &Arc<AddressSpace> {
        if space == Space::Io { &self.ports } else { &self.memory }
    }
}

/// All windows of functions are below everything that the chip set decodes (RAM, ROM, its own registers), and each has a
/// priority of its own, so that the guest may let them overlap.
const PRIORITY: i32 = -0x1000;

/// A window as it is mapped.
#[derive(Debug, Default)]
pub struct Mapped {
    /// First address and length.
    at: Option<(u64, u64)>,
    id: Option<MappingId>,
}

/// The wiring of a function.
pub struct Function {
    layout: Layout,
    slot: PciSlot,
    port: Option<Weak<dyn MmioPort>>,
    /// What is mapped, by base address register.
    mapped: Vec<Mapped>,
    /// The header that `mapped` follows from.
    seen: Option<[[u8; 32]; 2]>,
}

impl Function {
    /// A function in `slot` with the configuration space `layout`.
    pub fn new(slot: PciSlot, layout: Layout) -> Self {
        let mapped = layout.bars().iter().map(|_| Mapped::default()).collect();
        Self { layout, slot, port: None, mapped, seen: None }
    }

    /// Names the cell of the device: it answers in the windows. [`PciBus::plug`](super::bus::PciBus::plug) does this.
    pub fn connect(&mut self, port: Weak<dyn MmioPort>) {
        self.port = Some(port);
        self.seen = None;
    }

    /// Where it is plugged.
    pub fn slot(&self) -> &PciSlot {
        &self.slot
    }

    /// The configuration registers at power-on.
    pub fn power_on(&self) -> PciRegs {
        self.layout.power_on()
    }

    /// Reads `width` (1, 2 or 4) bytes at `at`, little-endian.
    pub fn read(&self, regs: &PciRegs, at: u8, width: u8) -> u32 {
        (0..width.min(4)).fold(0, |value, n| value | u32::from(regs.byte(at.wrapping_add(n))) << (8 * n))
    }

    /// A guest writes `width` (1, 2 or 4) bytes at `at`.
    pub fn write(&self, regs: &mut PciRegs, at: u8, width: u8, value: u32) {
        for n in 0..width.min(4) {
            self.layout.write_byte(regs, at.wrapping_add(n), (value >> (8 * n)) as u8);
        }
    }

    /// Whether it may read and write memory by itself.
    pub fn is_master(&self, regs: &PciRegs) -> bool {
        regs.command() & COMMAND_MASTER != 0
    }

    /// Drives its interrupt pin, if it has one and the command register allows, and shows the level in the status register.
    pub fn set_intx(&self, regs: &mut PciRegs, high: bool) {
        let status = regs.word(STATUS);
        regs.set_word(STATUS, if high { status | STATUS_INTERRUPT } else { status & !STATUS_INTERRUPT });
        let pin = usize::from(regs.byte(INTERRUPT_PIN)).checked_sub(1);
        if let Some(line) = pin.and_then(|pin| self.slot.intx.get(pin)) {
            line.set(high && regs.command() & COMMAND_INTX_DISABLE == 0);
        }
    }

    /// Delivers a message, if the function may write memory at all.
    pub fn send_msi(&self, regs: &PciRegs, address: u64, data: u32) {
        if let Some(msi) = self.slot.msi.as_ref().filter(|_| self.is_master(regs)) {
            msi(Message { requester: self.slot.devfn.into(), address, data });
        }
    }

    /// Maps and unmaps the windows as the registers say. For the device's `update`.
    pub fn update(&mut self, regs: &PciRegs) {
        let header = regs.header();
        if self.seen == Some(header) || self.port.is_none() {
            return;
        }
        self.seen = Some(header);
        for n in 0..self.mapped.len() {
            self.update_bar(regs, n);
        }
    }

    /// Moves window `window` of the device, for which no base address register stands, to `at`: first address and length,
    /// no longer than the window. For the device's `update`.
    pub fn place(&self, mapped: &mut Mapped, space: Space, window: u8, at: Option<(u64, u64)>) {
        if mapped.at == at {
            return;
        }
        let Some(port) = self.port.as_ref().and_then(Weak::upgrade) else { return };
        mapped.at = at;
        if let Some(id) = mapped.id.take() {
            self.slot.space(space).unmap(id);
        }
        let Some((at, len)) = at else { return };
        let devfn = self.slot.devfn;
        let mapping = Mapping {
            name: format!("pci {:02x}.{} window {window}", devfn >> 3, devfn & 7),
            gpa: Gpa(at),
            len,
            priority: PRIORITY - (i32::from(devfn) * 8 + i32::from(window)) - 1,
            backing: Backing::Mmio { port, window, offset: 0 },
        };
        match self.slot.space(space).map(mapping) {
            Ok(id) => mapped.id = Some(id),
            Err(error) => vm::log!(GuestError, "pci: {error}"),
        }
    }

    fn update_bar(&mut self, regs: &PciRegs, n: usize) {
        let (Some(bar), Some(mapped)) = (self.layout.bars().get(n), self.mapped.get_mut(n)) else { return };
        let from_0 = self.slot.ports_at_0 && bar.space == Space::Io;
        let at = if from_0 { bar.decoded(regs) } else { bar.address(regs) };
        let at = at.map(|at| (at, bar.len));
        if mapped.at == at {
            return;
        }
        let space = self.slot.space(bar.space);
        mapped.at = at;
        if let Some(id) = mapped.id.take() {
            space.unmap(id);
        }
        let Some((at, _)) = at else { return };
        let backing = match &bar.window {
            Window::Mmio(window) => {
                let Some(port) = self.port.as_ref().and_then(Weak::upgrade) else { return };
                Backing::Mmio { port, window: *window, offset: 0 }
            }
            Window::Ram(ram) => Backing::Ram { ram: ram.clone(), offset: 0 },
            Window::Rom(ram) => Backing::Rom { ram: ram.clone(), offset: 0, writes: None },
        };
        let devfn = self.slot.devfn;
        let mapping = Mapping {
            name: format!("pci {:02x}.{} {:#x}", devfn >> 3, devfn & 7, bar.register),
            gpa: Gpa(at),
            len: bar.len,
            priority: PRIORITY + i32::from(devfn) * 8 + n as i32,
            backing,
        };
        match space.map(mapping) {
            Ok(id) => mapped.id = Some(id),
            Err(error) => vm::log!(GuestError, "pci: {error}"),
        }
    }
}

/// A device with a PCI configuration space.
pub trait PciFunction: Device {
    /// The wiring and the registers.
    fn pci(&mut self) -> (&mut Function, &mut PciRegs);

    /// Reads `width` (1, 2 or 4) bytes of the configuration space at `at`, all in one 32-bit word.
    fn read_config(&mut self, at: u8, width: u8) -> u32 {
        let (function, regs) = self.pci();
        function.read(regs, at, width)
    }

    /// A guest writes `width` (1, 2 or 4) bytes of the configuration space at `at`, all in one 32-bit word. What follows
    /// from registers alone is `update`'s to do.
    fn write_config(&mut self, at: u8, width: u8, value: u32) {
        let (function, regs) = self.pci();
        function.write(regs, at, width, value);
    }
}

/// What a bus stores: the object-safe side of [`PciFunction`], implemented once.
pub trait PciPort: Send + Sync {
    /// See [`PciFunction::read_config`].
    fn read_config(&self, at: u8, width: u8) -> u32;
    /// See [`PciFunction::write_config`].
    fn write_config(&self, at: u8, width: u8, value: u32);
}

impl<T: PciFunction> PciPort for DeviceCell<T> {
    fn read_config(&self, at: u8, width: u8) -> u32 {
        self.with(|device| device.read_config(at, width)).unwrap_or(u32::MAX)
    }
    fn write_config(&self, at: u8, width: u8, value: u32) {
        let _ = self.with(|device| device.write_config(at, width, value));
    }
}
