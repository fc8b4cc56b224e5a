//! The configuration space of a function with a header of type 0: chapter 6, "Configuration Space". The registers are
//! bytes; a [`Layout`] says what they are at power-on and which bits can be written.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Ram, Regs};

// Registers of the header (6.1).
/// Vendor and device ID.
pub const ID: u8 = 0x00;
/// Command.
pub const COMMAND: u8 = 0x04;
/// Status.
pub const STATUS: u8 = 0x06;
/// Revision.
pub const REVISION: u8 = 0x08;
/// Class code, three bytes.
pub const CLASS: u8 = 0x09;
/// Header type.
pub const HEADER_TYPE: u8 = 0x0e;
/// First of six base address registers.
pub const BAR0: u8 = 0x10;
/// Subsystem vendor and device ID.
pub const SUBSYSTEM: u8 = 0x2c;
/// Base address of the expansion ROM.
pub const ROM: u8 = 0x30;
/// Offset of the first capability.
pub const CAPABILITIES: u8 = 0x34;
/// Interrupt line: for software to remember.
pub const INTERRUPT_LINE: u8 = 0x3c;
/// Interrupt pin: 1 to 4 for INTA to INTD.
pub const INTERRUPT_PIN: u8 = 0x3d;

// Command register (6.2.2).
/// Answers in the space of I/O ports.
pub const COMMAND_IO: u16 = 1 << 0;
/// Answers in memory.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// May read and write memory by itself.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// Does not assert its interrupt pin.
pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;

// Status register (6.2.3).
/// The function wants an interrupt by its pin.
pub const STATUS_INTERRUPT: u16 = 1 << 3;
/// There is a list of capabilities.
pub const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Errors, each cleared by writing a one.
const STATUS_ERRORS: u16 = 0xf900;

/// Subsystem by which firmware knows the chips of an emulated PC.
pub const SUBSYSTEM_DEFAULT: (u16, u16) = (0x1af4, 0x1100);

/// Bytes of the configuration space.
pub const LEN: usize = 256;
/// Base address registers.
pub const BARS: usize = 6;

/// The configuration registers of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciRegs {
    rows: [[u8; 32]; 8],
}

impl Regs for PciRegs {}

impl PciRegs {
    /// The byte at `at`.
    pub fn byte(&self, at: u8) -> u8 {
        self.rows[usize::from(at >> 5)][usize::from(at & 31)]
    }

    /// Changes the byte at `at`, whether a guest could or not.
    pub fn set_byte(&mut self, at: u8, value: u8) {
        self.rows[usize::from(at >> 5)][usize::from(at & 31)] = value;
    }

    /// The 16-bit register at `at`.
    pub fn word(&self, at: u8) -> u16 {
        u16::from_le_bytes([self.byte(at), self.byte(at.wrapping_add(1))])
    }

    /// Changes the 16-bit register at `at`.
    pub fn set_word(&mut self, at: u8, value: u16) {
        let [low, high] = value.to_le_bytes();
        self.set_byte(at, low);
        self.set_byte(at.wrapping_add(1), high);
    }

    /// The 32-bit register at `at`.
    pub fn dword(&self, at: u8) -> u32 {
        u32::from(self.word(at)) | u32::from(self.word(at.wrapping_add(2))) << 16
    }

    /// Changes the 32-bit register at `at`.
    pub fn set_dword(&mut self, at: u8, value: u32) {
        self.set_word(at, value as u16);
        self.set_word(at.wrapping_add(2), (value >> 16) as u16);
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.word(COMMAND)
    }

    /// The header, by which everything is found that is mapped.
    pub(super) fn header(&self) -> [[u8; 32]; 2] {
        [self.rows[0], self.rows[1]]
    }
}

/// Where a base address register points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
}

/// What answers in a function's window.
#[derive(Clone)]
pub enum Window {
    /// Window of the device by its number.
    Mmio(u8),
    /// Memory that can be written.
    Ram(Arc<Ram>),
    /// Memory that can be read.
    Rom(Arc<Ram>),
}

/// One base address register.
#[derive(Clone)]
pub struct Bar {
    /// Its register.
    pub register: u8,
    /// Which space.
    pub space: Space,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// Size in bytes, a power of two.
    pub len: u64,
    /// What is there.
    pub window: Window,
}

impl Bar {
    /// Low bits, which say what kind of a register it is (6.2.5.1).
    fn kind_bits(&self) -> u32 {
        let prefetchable = if self.prefetchable { 1 << 3 } else { 0 };
        match self.space {
            _ if self.register == ROM => 0,
            Space::Io => 1,
            Space::Memory32 => prefetchable,
            Space::Memory64 => 2 << 1 | prefetchable,
        }
    }

    /// The address that the registers hold, if the command register and the register itself let it be decoded. Address 0
    /// is that of a register that was never set, except on buses whose windows begin there.
    pub fn address(&self, regs: &PciRegs) -> Option<u64> {
        self.decoded(regs).filter(|base| *base != 0)
    }

    /// As [`address`](Bar::address), and 0 is an address like others.
    pub fn decoded(&self, regs: &PciRegs) -> Option<u64> {
        let enable = if self.space == Space::Io { COMMAND_IO } else { COMMAND_MEMORY };
        let low = u64::from(regs.dword(self.register));
        if regs.command() & enable == 0 || self.register == ROM && low & 1 == 0 {
            return None;
        }
        let (high, last) = match self.space {
            Space::Io => (0, 0xffff),
            Space::Memory32 => (0, 0xffff_ffff),
            Space::Memory64 => (u64::from(regs.dword(self.register.wrapping_add(4))) << 32, u64::MAX),
        };
        let base = (high | low) & !(self.len - 1);
        (base.checked_add(self.len - 1)? <= last).then_some(base)
    }
}

/// What the configuration space of a function is like: its contents at power-on, the bits that can be written, the bits
/// that writing a one clears.
#[derive(Clone)]
pub struct Layout {
    initial: PciRegs,
    writable: PciRegs,
    clears: PciRegs,
    bars: Vec<Bar>,
    /// Where the next capability goes, and the pointer to it.
    next_capability: u8,
    last_pointer: u8,
}

impl Layout {
    /// A header of type 0 with the given `vendor`, `device`, `class` code (24 bits) and `revision`.
    pub fn new(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        let mut layout = Self {
            initial: PciRegs::default(),
            writable: PciRegs::default(),
            clears: PciRegs::default(),
            bars: Vec::new(),
            next_capability: 0x40,
            last_pointer: CAPABILITIES,
        };
        layout.initial.set_word(ID, vendor);
        layout.initial.set_word(ID + 2, device);
        layout.initial.set_dword(REVISION, class << 8 | u32::from(revision));
        layout.writable.set_word(COMMAND, COMMAND_MASTER | COMMAND_INTX_DISABLE | 1 << 6 | 1 << 8);
        layout.clears.set_word(STATUS, STATUS_ERRORS);
        layout.writable.set_word(0x0c, 0xffff); // cache line size, latency timer
        layout.writable.set_byte(INTERRUPT_LINE, 0xff);
        layout.subsystem(SUBSYSTEM_DEFAULT.0, SUBSYSTEM_DEFAULT.1)
    }

    /// With these subsystem IDs.
    #[must_use]
    pub fn subsystem(self, vendor: u16, device: u16) -> Self {
        self.register(SUBSYSTEM, 4, u32::from(vendor) | u32::from(device) << 16, 0)
    }

    /// With interrupt pin `pin`, 1 to 4 for INTA to INTD.
    #[must_use]
    pub fn interrupt_pin(self, pin: u8) -> Self {
        self.register(INTERRUPT_PIN, 1, pin.into(), 0)
    }

    /// One of several functions of a device (6.2.1, Header Type).
    #[must_use]
    pub fn multifunction(self) -> Self {
        self.register(HEADER_TYPE, 1, 0x80, 0)
    }

    /// With a register of `width` bytes at `at`, `value` at power-on, of which the bits `writable` can be written.
    #[must_use]
    pub fn register(mut self, at: u8, width: u8, value: u32, writable: u32) -> Self {
        for n in 0..width.min(4) {
            self.initial.set_byte(at.wrapping_add(n), (value >> (8 * n)) as u8);
            self.writable.set_byte(at.wrapping_add(n), (writable >> (8 * n)) as u8);
        }
        self
    }

    /// With bits of the byte at `at` that writing a one clears.
    #[must_use]
    pub fn clears(mut self, at: u8, bits: u8) -> Self {
        self.clears.set_byte(at, bits);
        self
    }

    /// With a base address register, or the expansion ROM's if `bar.register` is [`ROM`].
    ///
    /// # Panics
    /// If the size is no power of two, or too small (6.2.5.1).
    #[must_use]
    pub fn bar(mut self, bar: Bar) -> Self {
        assert!(bar.len.is_power_of_two(), "sizes are powers of two");
        assert!(bar.len >= if bar.space == Space::Io { 4 } else { 16 }, "too small");
        let mask = !(bar.len - 1);
        let enable = if bar.register == ROM { 1 } else { 0 };
        self = self.register(bar.register, 4, bar.kind_bits(), mask as u32 | enable);
        if bar.space == Space::Memory64 {
            self = self.register(bar.register.wrapping_add(4), 4, 0, (mask >> 32) as u32);
        }
        let decode = if bar.space == Space::Io { COMMAND_IO } else { COMMAND_MEMORY };
        self.writable.set_word(COMMAND, self.writable.command() | decode);
        self.bars.push(bar);
        self
    }

    /// With the bits `bits` of the command register writable too.
    #[must_use]
    pub fn command_bits(mut self, bits: u16) -> Self {
        self.writable.set_word(COMMAND, self.writable.command() | bits);
        self
    }

    /// Appends a capability (6.7) with `id`, whose `bytes` follow the pointer to the next one; of them the bits `writable`
    /// can be written. Gives its offset.
    ///
    /// # Panics
    /// If the configuration space is full.
    pub fn capability(&mut self, id: u8, bytes: &[u8], writable: &[u8]) -> u8 {
        let at = self.next_capability;
        let len = (bytes.len() + 2).next_multiple_of(4);
        assert!(usize::from(at) + len <= LEN, "configuration space is full");
        self.initial.set_byte(self.last_pointer, at);
        self.initial.set_word(STATUS, self.initial.word(STATUS) | STATUS_CAPABILITIES);
        self.initial.set_word(at, id.into());
        for (n, byte) in (at + 2..).zip(bytes) {
            self.initial.set_byte(n, *byte);
        }
        for (n, mask) in (at + 2..).zip(writable) {
            self.writable.set_byte(n, *mask);
        }
        self.last_pointer = at + 1;
        self.next_capability = at.saturating_add(len as u8);
        at
    }

    /// Its base address registers.
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// The registers at power-on.
    pub fn power_on(&self) -> PciRegs {
        self.initial.clone()
    }

    /// A guest writes the byte at `at`.
    pub fn write_byte(&self, regs: &mut PciRegs, at: u8, value: u8) {
        let (old, writable) = (regs.byte(at), self.writable.byte(at));
        let cleared = value & self.clears.byte(at);
        regs.set_byte(at, (old & !writable | value & writable) & !cleared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new(0x1234, 0x5678, 0x0c_03_00, 9)
            .bar(Bar {
                register: BAR0,
                space: Space::Memory64,
                prefetchable: true,
                len: 0x4000,
                window: Window::Mmio(0),
            })
            .bar(Bar { register: 0x18, space: Space::Io, prefetchable: false, len: 0x20, window: Window::Mmio(1) })
            .interrupt_pin(2)
    }

    fn write(layout: &Layout, regs: &mut PciRegs, at: u8, value: u32) {
        for n in 0..4 {
            layout.write_byte(regs, at + n, (value >> (8 * n)) as u8);
        }
    }

    #[test]
    fn the_header_at_power_on() {
        let mut layout = layout();
        assert_eq!((layout.capability(9, &[1, 2, 3], &[0, 0xff]), layout.capability(5, &[0; 4], &[])), (0x40, 0x48));
        let regs = layout.power_on();
        for (at, value) in [
            (ID, 0x5678_1234),
            (COMMAND, 0x0010_0000),
            (REVISION, 0x0c03_0009),
            (BAR0, 0xc),
            (0x14, 0),
            (0x18, 1),
            (SUBSYSTEM, 0x1100_1af4),
            (CAPABILITIES, 0x40),
            (0x3c, 0x200),
            (0x40, 0x0201_4809),
            (0x44, 3),
            (0x48, 5),
        ] {
            assert_eq!(regs.dword(at), value, "{at:#x}");
        }
    }

    #[test]
    fn only_writable_bits_change() {
        let mut layout = layout().register(0x50, 1, 0xf0, 0).clears(0x50, 0x30);
        layout.capability(9, &[1, 2, 3], &[0, 0xff]);
        let mut regs = layout.power_on();
        for (at, expect) in
            [(ID, 0x5678_1234), (COMMAND, 0x0010_0547), (0x3c, 0x02ff), (0x40, 0xff01_0009), (0x50, 0xc0)]
        {
            write(&layout, &mut regs, at, u32::MAX);
            assert_eq!(regs.dword(at), expect, "{at:#x}");
        }
    }

    #[test]
    fn base_addresses_are_sized_and_decoded_when_enabled() {
        let layout = layout();
        let mut regs = layout.power_on();
        for (at, expect) in [(BAR0, 0xffff_c00c), (0x14, 0xffff_ffff), (0x18, 0xffff_ffe1), (0x1c, 0)] {
            write(&layout, &mut regs, at, u32::MAX);
            assert_eq!(regs.dword(at), expect, "{at:#x}");
        }
        let [memory, ports] = layout.bars() else { panic!("two registers") };
        assert_eq!((memory.address(&regs), ports.address(&regs)), (None, None));
        write(&layout, &mut regs, COMMAND, 3);
        assert_eq!(memory.address(&regs), Some(0xffff_ffff_ffff_c000));
        assert_eq!(ports.address(&regs), None, "beyond the ports");
        write(&layout, &mut regs, 0x14, 1);
        write(&layout, &mut regs, 0x18, 0xc03f);
        assert_eq!((memory.address(&regs), ports.address(&regs)), (Some(0x1_ffff_c000), Some(0xc020)));
        write(&layout, &mut regs, 0x18, 0x1f);
        write(&layout, &mut regs, COMMAND, 1);
        assert_eq!((memory.address(&regs), ports.address(&regs)), (None, None), "0 is nowhere");
        assert_eq!((memory.decoded(&regs), ports.decoded(&regs)), (None, Some(0)), "or it is");
    }

    #[test]
    fn a_rom_is_enabled_by_its_register_too() {
        let window = Window::Rom(Ram::new(0x1_0000).unwrap());
        let layout = Layout::new(1, 2, 0, 0).bar(Bar {
            register: ROM,
            space: Space::Memory32,
            prefetchable: false,
            len: 0x1_0000,
            window,
        });
        let mut regs = layout.power_on();
        write(&layout, &mut regs, COMMAND, 2);
        write(&layout, &mut regs, ROM, 0xffff_fffe);
        assert_eq!((regs.dword(ROM), layout.bars()[0].address(&regs)), (0xffff_0000, None));
        write(&layout, &mut regs, ROM, 0xe000_0001);
        assert_eq!(layout.bars()[0].address(&regs), Some(0xe000_0000));
    }
}
