//! The two DMA controllers 8237A of a PC, with their page registers. Intel 8237A data sheet (231466); section titles are
//! its. How they are wired: IBM Personal Computer AT Technical Reference, "System board", "Direct memory access". Channels
//! 0 to 3 move bytes, 5 to 7 words, 4 joins the two controllers.
//!
//! A transfer takes no time: a device moves as much as it has at once, whichever of demand, single and block mode is
//! programmed. Deviation: no memory-to-memory transfers, which PCs cannot use (channel 0's address has no second page
//! register); the priority and timing bits of the command register are remembered only.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, AddressSpace, Backing, BadState, BusError, Device, DeviceCell, FlatView, Gpa, Mmio, Regs, Window};

/// Channels of both controllers.
pub const CHANNELS: u8 = 8;

// Registers after those of the channels ("Register description").
const STATUS_COMMAND: u8 = 0x8;
const REQUEST: u8 = 0x9;
const SINGLE_MASK: u8 = 0xa;
const MODE: u8 = 0xb;
const CLEAR_POINTER: u8 = 0xc;
const TEMPORARY_MASTER_CLEAR: u8 = 0xd;
const CLEAR_MASK: u8 = 0xe;
const ALL_MASK: u8 = 0xf;

/// Command: the controller is disabled.
const COMMAND_DISABLE: u8 = 1 << 2;

// Mode.
const MODE_TYPE: u8 = 3 << 2;
const TYPE_VERIFY: u8 = 0;
const TYPE_WRITE: u8 = 1 << 2;
const TYPE_READ: u8 = 2 << 2;
const MODE_AUTOINIT: u8 = 1 << 4;
const MODE_DECREMENT: u8 = 1 << 5;
const MODE_CASCADE: u8 = 3 << 6;

/// Which page register, by its offset, belongs to channels 0 to 7.
const PAGES: [usize; 8] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Channel {
    base_address: u16,
    base_count: u16,
    address: u16,
    /// Transfers left, less one.
    count: u16,
    /// As written, without the channel's number.
    mode: u8,
}

/// One controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Controller {
    channels: [Channel; 4],
    command: u8,
    /// Channels that reached their terminal count since the status was read, one bit each.
    terminal: u8,
    /// Devices' requests (DREQ) and requests by software.
    requests: u8,
    software: u8,
    mask: u8,
    /// The next byte of an address or a count is its high one ("Clear first/last flip-flop").
    high: bool,
}

impl Default for Controller {
    fn default() -> Self {
        Self { channels: Default::default(), command: 0, terminal: 0, requests: 0, software: 0, mask: 0xf, high: false }
    }
}

impl Controller {
    /// Which byte of an address or a count is next: 0 the low one, then 1.
    fn next_byte(&mut self) -> usize {
        self.high = !self.high;
        usize::from(!self.high)
    }

    fn read(&mut self, register: u8) -> Option<u8> {
        Some(match register {
            0..=7 => {
                let channel = &self.channels[usize::from(register / 2)];
                let value = if register & 1 == 0 { channel.address } else { channel.count };
                value.to_le_bytes()[self.next_byte()]
            }
            STATUS_COMMAND => (self.requests | self.software) << 4 | std::mem::take(&mut self.terminal),
            TEMPORARY_MASTER_CLEAR => 0,
            // Not Intel's, but of the chip sets since.
            ALL_MASK => self.mask | 0xf0,
            _ => return None,
        })
    }

    fn write(&mut self, register: u8, value: u8) -> Option<()> {
        let bit = 1 << (value & 3);
        let set = |bits: u8| if value & 4 != 0 { bits | bit } else { bits & !bit };
        match register {
            0..=7 => {
                let byte = self.next_byte();
                let channel = &mut self.channels[usize::from(register / 2)];
                let base = if register & 1 == 0 { &mut channel.base_address } else { &mut channel.base_count };
                let mut bytes = base.to_le_bytes();
                bytes[byte] = value;
                *base = u16::from_le_bytes(bytes);
                // Base and current register are written together.
                if register & 1 == 0 {
                    channel.address = channel.base_address;
                } else {
                    channel.count = channel.base_count;
                }
            }
            STATUS_COMMAND => self.command = value,
            REQUEST => self.software = set(self.software),
            SINGLE_MASK => self.mask = set(self.mask),
            MODE => self.channels[usize::from(value & 3)].mode = value & !3,
            CLEAR_POINTER => self.high = false,
            TEMPORARY_MASTER_CLEAR => {
                // "Master clear": as a reset, which leaves the channels' registers and modes.
                let channels = std::mem::take(&mut self.channels);
                *self = Self { channels, requests: self.requests, ..Self::default() };
            }
            CLEAR_MASK => self.mask = 0,
            ALL_MASK => self.mask = value & 0xf,
            _ => return None,
        }
        Some(())
    }
}

/// Both controllers.
pub struct I8237 {
    regs: I8237Regs,
    memory: Arc<AddressSpace>,
}

/// Their registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8237Regs {
    controllers: [Controller; 2],
    /// Page registers; those that belong to no channel are memory that firmware uses.
    pages: [u8; 16],
}

impl Regs for I8237Regs {
    fn validate(&self) -> Result<(), BadState> {
        match self.controllers.iter().position(|c| (c.mask | c.terminal | c.requests | c.software) & 0xf0 != 0) {
            Some(n) => Err(BadState(format!("impossible channel in controller {n}"))),
            None => Ok(()),
        }
    }
}

/// What a transfer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that were moved; 0 when the channel is not ready for this direction.
    pub bytes: usize,
    /// The channel came to its terminal count; it takes no more until it is programmed again, unless it initializes
    /// itself.
    pub terminal_count: bool,
}

/// A byte of memory as DMA reaches it: RAM, and ROM for reading. Devices are not reached.
fn memory(view: &FlatView, gpa: u64, write: Option<u8>) -> Option<u8> {
    let span = view.find(Gpa(gpa))?;
    let into = gpa - span.start.0;
    match (&span.backing, write) {
        (Backing::Ram { ram, offset }, Some(byte)) => ram.store(offset + into, 1, byte.into()).map(|()| byte),
        (Backing::Ram { ram, offset } | Backing::Rom { ram, offset, .. }, None) => {
            ram.load(offset + into, 1).map(|byte| byte as u8)
        }
        _ => None,
    }
}

/// The data of a transfer.
enum Data<'a> {
    ToMemory(&'a [u8]),
    FromMemory(&'a mut [u8]),
}

impl I8237 {
    /// Controllers that reach `memory`.
    pub fn new(memory: Arc<AddressSpace>) -> Self {
        Self { regs: Default::default(), memory }
    }

    fn transfer(&mut self, n: u8, mut data: Data<'_>) -> Moved {
        let (wide, index) = (n >= 4, usize::from(n % 4));
        let page = PAGES.get(usize::from(n)).map_or(0, |at| self.regs.pages[*at]);
        let controller = &mut self.regs.controllers[usize::from(wide)];
        let channel = &mut controller.channels[index];
        let bit = 1 << index;
        let (kind, len) = match &data {
            Data::ToMemory(bytes) => (TYPE_WRITE, bytes.len()),
            Data::FromMemory(bytes) => (TYPE_READ, bytes.len()),
        };
        let mut moved = Moved::default();
        let programmed = channel.mode & MODE_TYPE;
        // Deviation: channel 4 need not be unmasked for channels 0 to 3.
        if controller.command & COMMAND_DISABLE != 0
            || controller.mask & !controller.software & bit != 0
            || channel.mode & MODE_CASCADE == MODE_CASCADE
            || programmed != kind && programmed != TYPE_VERIFY
        {
            return moved;
        }
        let view = self.memory.view();
        let unit = if wide { 2 } else { 1 };
        while moved.bytes + unit <= len {
            let gpa = if wide {
                u64::from(page & 0xfe) << 16 | u64::from(channel.address) << 1
            } else {
                u64::from(page) << 16 | u64::from(channel.address)
            };
            for at in moved.bytes..moved.bytes + unit {
                let gpa = gpa + (at - moved.bytes) as u64;
                match &mut data {
                    // "Verify": addresses and counts as if, without memory.
                    _ if programmed == TYPE_VERIFY => {}
                    Data::ToMemory(bytes) => {
                        let _ = memory(&view, gpa, bytes.get(at).copied());
                    }
                    Data::FromMemory(bytes) => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = memory(&view, gpa, None).unwrap_or(0xff);
                        }
                    }
                }
            }
            moved.bytes += unit;
            let step = if channel.mode & MODE_DECREMENT != 0 { u16::MAX } else { 1 };
            channel.address = channel.address.wrapping_add(step);
            channel.count = channel.count.wrapping_sub(1);
            if channel.count == u16::MAX {
                moved.terminal_count = true;
                controller.terminal |= bit;
                controller.software &= !bit;
                // "Autoinitialize".
                if channel.mode & MODE_AUTOINIT != 0 {
                    channel.address = channel.base_address;
                    channel.count = channel.base_count;
                } else {
                    controller.mask |= bit;
                }
                break;
            }
        }
        moved
    }
}

/// The end of a channel that a device holds.
#[derive(Clone)]
pub struct DmaChannel {
    dma: Arc<DeviceCell<I8237>>,
    n: u8,
}

impl DmaChannel {
    /// Channel `n` (0 to 7) of `dma`.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn new(dma: &Arc<DeviceCell<I8237>>, n: u8) -> Self {
        assert!(n < CHANNELS, "channels are 0 to 7");
        Self { dma: dma.clone(), n }
    }

    /// Drives DREQ, which the guest sees in the status register. Transfers do not need it.
    pub fn request(&self, high: bool) {
        let bit = 1 << (self.n % 4);
        let _ = self.dma.with(|dma| {
            let requests = &mut dma.regs.controllers[usize::from(self.n / 4)].requests;
            *requests = if high { *requests | bit } else { *requests & !bit };
        });
    }

    /// Moves `bytes` to memory, until the terminal count. Channels 5 to 7 move whole words.
    pub fn to_memory(&self, bytes: &[u8]) -> Moved {
        self.dma.with(|dma| dma.transfer(self.n, Data::ToMemory(bytes))).unwrap_or_default()
    }

    /// Moves memory to `bytes`, until the terminal count. Channels 5 to 7 move whole words.
    pub fn from_memory(&self, bytes: &mut [u8]) -> Moved {
        self.dma.with(|dma| dma.transfer(self.n, Data::FromMemory(bytes))).unwrap_or_default()
    }
}

impl Device for I8237 {
    type Regs = I8237Regs;
    const MODEL: &'static str = "i8237";

    fn regs(&self) -> &I8237Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut I8237Regs {
        &mut self.regs
    }
}

impl Mmio for I8237 {
    /// Ports of the first controller (0x00), of the second (0xc0, every second port), page registers (0x80).
    const WINDOWS: &'static [Window] = &[
        Window { len: 0x10, widths: 1..=1 },
        Window { len: 0x20, widths: 1..=1 },
        Window { len: 0x10, widths: 1..=1 },
    ];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let value = match at.window {
            0 => self.regs.controllers[0].read(at.offset as u8),
            1 => self.regs.controllers[1].read((at.offset / 2) as u8),
            _ => self.regs.pages.get(at.offset as usize).copied(),
        };
        value.map(u64::from).ok_or(BusError::BadOffset)
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let value = value as u8;
        match at.window {
            0 => self.regs.controllers[0].write(at.offset as u8, value),
            1 => self.regs.controllers[1].write((at.offset / 2) as u8, value),
            _ => self.regs.pages.get_mut(at.offset as usize).map(|page| *page = value),
        }
        .ok_or(BusError::BadOffset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ports, check_reset, check_save_load, hammer};
    use vm::{Mapping, Ram};

    struct Bench {
        dma: Arc<DeviceCell<I8237>>,
        ram: Arc<Ram>,
    }

    fn bench() -> Bench {
        let space = AddressSpace::new();
        let ram = Ram::new(0x10_0000).unwrap();
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        space.map(Mapping { name: "ram".into(), gpa: Gpa(0), len: ram.len(), priority: 0, backing }).unwrap();
        let rom = Ram::new(0x1_0000).unwrap();
        let backing = Backing::Rom { ram: rom, offset: 0, writes: None };
        space.map(Mapping { name: "rom".into(), gpa: Gpa(0xf_0000), len: 0x1_0000, priority: 1, backing }).unwrap();
        Bench { dma: Arc::new(DeviceCell::new(I8237::new(space))), ram }
    }

    impl Bench {
        /// Programs a channel of the first controller.
        fn program(&self, n: u8, mode: u8, page: u8, address: u16, count: u16) {
            self.dma.outb(0, 0xc, 0);
            self.dma.outb(0, 0xb, mode | n);
            for (register, value) in [(2 * n, address), (2 * n + 1, count)] {
                value.to_le_bytes().iter().for_each(|byte| self.dma.outb(0, register.into(), *byte));
            }
            self.dma.outb(2, PAGES[usize::from(n)] as u64, page);
            self.dma.outb(0, 0xa, n);
        }
        fn channel(&self, n: u8) -> DmaChannel {
            DmaChannel::new(&self.dma, n)
        }
        fn word(&self, register: u64) -> u16 {
            self.dma.outb(0, 0xc, 0);
            u16::from_le_bytes([self.dma.inb(0, register), self.dma.inb(0, register)])
        }
        fn memory(&self, at: u64, len: usize) -> Vec<u8> {
            let mut bytes = vec![0; len];
            self.ram.read(at, &mut bytes).unwrap();
            bytes
        }
    }

    #[test]
    fn registers_pointer_and_masks() {
        let b = bench();
        assert_eq!((b.dma.inb(0, 8), b.dma.inb(0, 0xf), b.dma.inb(1, 0x1e), b.dma.inb(0, 0xd)), (0, 0xff, 0xff, 0));
        b.program(2, 0x44, 1, 0x1234, 0x5678);
        assert_eq!((b.word(4), b.word(5), b.dma.inb(0, 0xf), b.dma.inb(2, 1)), (0x1234, 0x5678, 0xfb, 1));
        b.dma.outb(0, 0xa, 6);
        assert_eq!(b.dma.inb(0, 0xf), 0xff);
        b.dma.outb(0, 0xe, 0);
        assert_eq!(b.dma.inb(0, 0xf), 0xf0);
        b.dma.outb(0, 0xf, 5);
        assert_eq!(b.dma.inb(0, 0xf), 0xf5);
        b.channel(1).request(true);
        b.dma.outb(0, 9, 4);
        assert_eq!(b.dma.inb(0, 8), 0x30);
        b.dma.outb(0, 0xd, 0);
        assert_eq!((b.dma.inb(0, 0xf), b.dma.inb(0, 8), b.word(4)), (0xff, 0x20, 0x1234));
        for (window, offset) in [(0, 9), (0, 0xb), (1, 0x14)] {
            assert!(vm::MmioPort::read(&*b.dma, Access { window, offset, width: 1 }).is_err());
        }
    }

    #[test]
    fn to_memory_up_to_the_terminal_count() {
        let b = bench();
        let channel = b.channel(2);
        assert_eq!(channel.to_memory(&[1]), Moved::default(), "masked");
        b.program(2, 0x44, 3, 0xfffe, 4);
        assert_eq!(channel.from_memory(&mut [0; 2]), Moved::default(), "the other direction");
        assert_eq!(channel.to_memory(&[1, 2, 3]), Moved { bytes: 3, terminal_count: false });
        assert_eq!((b.word(4), b.word(5)), (1, 1));
        assert_eq!(channel.to_memory(&[4, 5, 6]), Moved { bytes: 2, terminal_count: true });
        assert_eq!((b.memory(0x3_fffe, 2), b.memory(0x3_0000, 4)), (vec![1, 2], vec![3, 4, 5, 0]), "pages wrap");
        assert_eq!((b.dma.inb(0, 8), b.dma.inb(0, 8), b.dma.inb(0, 0xf)), (4, 0, 0xff));
        assert_eq!(channel.to_memory(&[7]), Moved::default());
        b.program(2, 0x44, 3, 0, 4);
        b.dma.outb(0, 8, COMMAND_DISABLE);
        assert_eq!(channel.to_memory(&[7]), Moved::default());
        b.dma.outb(0, 8, 0);
        b.dma.outb(0, 0xb, 0xc2);
        assert_eq!(channel.to_memory(&[7]), Moved::default(), "cascade");
    }

    #[test]
    fn from_memory_downwards_and_again() {
        let b = bench();
        b.ram.write(0x500, &[1, 2, 3, 4]).unwrap();
        b.program(1, 0x78, 0, 0x503, 3);
        let mut bytes = [0; 6];
        assert_eq!(b.channel(1).from_memory(&mut bytes), Moved { bytes: 4, terminal_count: true });
        assert_eq!((bytes, b.word(2), b.word(3)), ([4, 3, 2, 1, 0, 0], 0x503, 3));
        assert_eq!(b.channel(1).from_memory(&mut bytes[..1]).bytes, 1, "initialized itself");
        b.program(1, 0x40, 0, 0x500, 3);
        let mut bytes = [9; 4];
        assert_eq!(b.channel(1).from_memory(&mut bytes), Moved { bytes: 4, terminal_count: true });
        assert_eq!(bytes, [9; 4], "verify moves nothing");
        b.program(1, 0x48, 0x40, 0, 3);
        assert_eq!((b.channel(1).from_memory(&mut bytes).bytes, bytes), (4, [0xff; 4]), "nothing answers there");
        b.program(1, 0x44, 0x0f, 0, 3);
        assert_eq!(b.channel(1).to_memory(&[7; 4]).bytes, 4);
        b.program(1, 0x48, 0x0f, 0, 3);
        assert_eq!((b.channel(1).from_memory(&mut bytes).bytes, bytes), (4, [0; 4]), "ROM is not written");
    }

    #[test]
    fn words_on_the_second_controller() {
        let b = bench();
        b.dma.outb(1, 0x16, 0x45);
        for (port, byte) in [(4, 0x00), (4, 0x90), (6, 1), (6, 0)] {
            b.dma.outb(1, port, byte);
        }
        b.dma.outb(2, 0xb, 0x03);
        b.dma.outb(1, 0x14, 1);
        let channel = b.channel(5);
        assert_eq!(channel.to_memory(&[1, 2, 3]), Moved { bytes: 2, terminal_count: false });
        assert_eq!(channel.to_memory(&[3, 4, 5, 6]), Moved { bytes: 2, terminal_count: true });
        assert_eq!(b.memory(0x3_2000, 5), [1, 2, 3, 4, 0]);
        assert_eq!((b.dma.inb(1, 0x10), b.dma.inb(1, 0x1e)), (2, 0xff));
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.program(2, 0x44, 3, 0, 4);
        check_save_load(&b.dma, || {
            b.channel(2).to_memory(&[1]);
        });
        let b = bench();
        check_reset(&b.dma, || b.dma.outb(2, 0, 0x55));
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        hammer(&b.dma, 50_000, |random| {
            let n = random.below(8) as u8;
            let mut bytes = vec![0; random.below(64) as usize];
            b.channel(n).to_memory(&bytes);
            b.channel(n).from_memory(&mut bytes);
        });
    }
}
