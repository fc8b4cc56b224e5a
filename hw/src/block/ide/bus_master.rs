//! The DMA engine of an IDE channel: "Programming Interface for Bus Master IDE Controller", revision 1.0 (Brad Hosler,
//! Intel); section titles are its. The engine of a Serial ATA port is the same but for its descriptors: "Serial ATA AHCI
//! 1.3.1 Specification", 4.2.3.3, "Physical Region Descriptor Table".

use serde::{Deserialize, Serialize};
use vm::ram::DmaMemory;
use vm_memory::{Bytes, GuestAddress};

// Command register.
const START: u8 = 1 << 0;
const TO_MEMORY: u8 = 1 << 3;

// Status register.
const ACTIVE: u8 = 1 << 0;
const ERROR: u8 = 1 << 1;
const INTERRUPT: u8 = 1 << 2;
/// Which drives can do DMA: for software to remember.
const CAPABLE: u8 = 3 << 5;

/// Registers of the engine, with its place in the table of physical region descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusMasterRegs {
    command: u8,
    status: u8,
    table: u32,
    /// Descriptors of a Serial ATA port that are still to come; none of an IDE channel's.
    entries: Option<u16>,
    /// Where the next descriptor is.
    next: u64,
    /// The region in use.
    address: u64,
    left: u32,
    /// It is the last one.
    last: bool,
    /// Bytes moved through a Serial ATA port's list.
    moved: u32,
}

/// How a transfer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// All bytes were moved.
    All,
    /// The table has ended, or the engine met an error, and has stopped.
    Stopped,
}

impl BusMasterRegs {
    /// Reads the byte at `offset` (0 to 7).
    pub fn read(&self, offset: u8) -> u8 {
        match offset {
            0 => self.command,
            2 => self.status,
            4..=7 => self.table.to_le_bytes()[usize::from(offset - 4)],
            _ => 0,
        }
    }

    /// Writes the byte at `offset` (0 to 7).
    pub fn write(&mut self, offset: u8, value: u8) {
        match offset {
            0 => {
                let old = self.command;
                self.command = value & (START | TO_MEMORY);
                if value & START == 0 {
                    self.status &= !ACTIVE;
                } else if old & START == 0 {
                    self.status |= ACTIVE;
                    (self.next, self.left, self.last) = (self.table.into(), 0, false);
                }
            }
            // The two low events are cleared by ones.
            2 => self.status = self.status & (ACTIVE | (ERROR | INTERRUPT) & !value) | value & CAPABLE,
            4..=7 => {
                let mut bytes = self.table.to_le_bytes();
                bytes[usize::from(offset - 4)] = value;
                self.table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
    }

    /// The drive has raised its interrupt.
    pub fn interrupt(&mut self) {
        self.status |= INTERRUPT;
    }

    /// The guest has started the engine, and it has not stopped.
    pub fn is_active(&self) -> bool {
        self.status & ACTIVE != 0
    }

    /// The drive has ended its command: the engine stops if the table has ended too (status 0 and 1 mean that the regions
    /// were larger).
    pub fn finish(&mut self) {
        if self.left == 0 && self.last {
            self.status &= !ACTIVE;
        }
    }

    /// Starts with the `entries` descriptors of a Serial ATA port from `list` on.
    pub fn start_list(&mut self, list: u64, entries: u16) {
        *self = Self { status: ACTIVE, entries: Some(entries), next: list, last: entries == 0, ..Self::default() };
    }

    /// Bytes moved since then.
    pub fn moved(&self) -> u32 {
        self.moved
    }

    /// Takes the next descriptor of a Serial ATA port.
    fn next_of_list(&mut self, memory: &DmaMemory, entries: u16) -> Option<()> {
        let mut raw = [0; 16];
        memory.read_slice(&mut raw, GuestAddress(self.next)).ok()?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, .., c0, c1, c2, _] = raw;
        self.next = self.next.wrapping_add(16);
        self.address = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]) & !1;
        // "Data Byte Count": one less, and even numbers only.
        self.left = (u32::from_le_bytes([c0, c1, c2 & 0x3f, 0]) | 1) + 1;
        let left = entries.checked_sub(1)?;
        (self.entries, self.last) = (Some(left), left == 0);
        Some(())
    }

    /// The next stretch of memory, at most `want` bytes ("Physical region descriptor").
    fn stretch(&mut self, memory: &DmaMemory, want: usize) -> Option<(GuestAddress, usize)> {
        if self.left == 0 {
            if self.last {
                return None;
            }
            let found = match self.entries {
                Some(entries) => self.next_of_list(memory, entries),
                None => self.next_of_table(memory),
            };
            if found.is_none() {
                self.status |= ERROR;
                return None;
            }
        }
        let n = want.min(self.left as usize);
        let at = GuestAddress(self.address);
        self.address = self.address.wrapping_add(n as u64);
        self.left -= n as u32;
        self.moved = self.moved.wrapping_add(n as u32);
        Some((at, n))
    }

    /// Takes the next descriptor of an IDE channel.
    fn next_of_table(&mut self, memory: &DmaMemory) -> Option<()> {
        let mut raw = [0; 8];
        memory.read_slice(&mut raw, GuestAddress(self.next)).ok()?;
        let [a0, a1, a2, a3, c0, c1, _, flags] = raw;
        self.next = self.next.wrapping_add(8) & 0xffff_ffff;
        self.address = u64::from(u32::from_le_bytes([a0, a1, a2, a3]) & !1);
        // 0 stands for 64 KiB.
        self.left = match u16::from_le_bytes([c0, c1]) & !1 {
            0 => 0x1_0000,
            count => count.into(),
        };
        self.last = flags & 0x80 != 0;
        Some(())
    }

    fn stop(&mut self, error: bool) -> Moved {
        if error {
            self.status |= ERROR;
        }
        self.status &= !ACTIVE;
        Moved::Stopped
    }

    /// Moves `bytes` to memory.
    pub fn to_memory(&mut self, memory: &DmaMemory, bytes: &[u8]) -> Moved {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((at, n)) = self.stretch(memory, rest.len()) else { return self.stop(false) };
            let (part, after) = rest.split_at(n.min(rest.len()));
            if memory.write_slice(part, at).is_err() {
                return self.stop(true);
            }
            rest = after;
        }
        Moved::All
    }

    /// Fills `bytes` from memory.
    pub fn from_memory(&mut self, memory: &DmaMemory, bytes: &mut [u8]) -> Moved {
        let mut done = 0;
        while done < bytes.len() {
            let Some((at, n)) = self.stretch(memory, bytes.len() - done) else { return self.stop(false) };
            let Some(part) = bytes.get_mut(done..done + n) else { return self.stop(true) };
            if memory.read_slice(part, at).is_err() {
                return self.stop(true);
            }
            done += n;
        }
        Moved::All
    }
}
