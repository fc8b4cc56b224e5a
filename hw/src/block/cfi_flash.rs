//! Parallel NOR flash with the Common Flash Interface (JEDEC JESD68.01) and Intel's command set (0x0001, JEP137), in a
//! bank of chips side by side ([`Bank`]): two x16 chips, so that a 32-bit word of the bank is one 16-bit word of each, or
//! one x8 chip. The commands are those of Intel's StrataFlash P30 family, "Device Commands" and "Status Register" in its
//! datasheet.
//!
//! The contents are a RAM block that the board maps for reading. While both chips are in read-array mode the guest reads
//! it directly and only writes come here; the chip asks for the change of mode through [`RomMode`]. In a snapshot the
//! contents belong to the machine's RAM blocks; the registers here are what the chips are about to do.

use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};
use vm::blockdev::BlockDev;
use vm::{
    Access, AddressSpace, Backing, BadState, BusError, Device, DeviceCell, Gpa, MapError, Mapping, MappingId, Mmio,
    MmioPort, Ram, Regs, Window,
};

/// Bytes of a bank at most; its window.
pub const BANK_MAX: u64 = 64 << 20;
/// Bytes that are erased together, in both chips of [`Bank::PAIR`].
pub const SECTOR_LEN: u64 = 256 << 10;
/// Words of a chip's write buffer (64 bytes).
const BUFFER_WORDS: u32 = 32;
/// Contents are written back in multiples of this.
const BLOCK: u64 = 512;

/// Intel, and a chip of the StrataFlash family.
const MANUFACTURER_ID: u16 = 0x89;
const DEVICE_ID: u16 = 0x18;

// Status register.
const SR_READY: u8 = 1 << 7;
const SR_ERASE_ERROR: u8 = 1 << 5;
const SR_PROGRAM_ERROR: u8 = 1 << 4;
/// Both together: a command sequence that makes no sense.
const SR_SEQUENCE_ERROR: u8 = SR_ERASE_ERROR | SR_PROGRAM_ERROR;

/// The chips of a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bank {
    /// Chips side by side, 1 or 2.
    chips: u64,
    /// Bytes of a chip's word, 1 or 2.
    word: u64,
    /// Bytes that are erased together, in all chips.
    sector: u64,
    /// The status register after "Clear Status Register".
    cleared: u8,
}

impl Bank {
    /// Two x16 chips with sectors of [`SECTOR_LEN`].
    pub const PAIR: Self = Self { chips: 2, word: 2, sector: SECTOR_LEN, cleared: SR_READY };
    /// One x8 chip with sectors of 4 KiB, as firmware of PCs expects it. Deviation: its status reads as zero once it is
    /// cleared and until the next command is done; by that edk2 knows flash from ROM (OvmfPkg, QemuFlashFvbServices).
    pub const BYTES: Self = Self { chips: 1, word: 1, sector: 4 << 10, cleared: 0 };

    /// Offset in the bank of word `word` of chip `lane`.
    fn offset(&self, lane: usize, word: u32) -> u64 {
        (u64::from(word) * self.chips + lane as u64) * self.word
    }

    /// Chip and word that hold the byte at `offset`.
    fn chip(&self, offset: u64) -> (usize, u32) {
        let words = offset / self.word;
        ((words % self.chips) as usize, (words / self.chips) as u32)
    }
}

/// Told `true` when the contents can be read directly (`Backing::Rom` with this chip for writes), `false` when every
/// access must come to the chip (`Backing::Mmio`). Only changes are told; a new chip can be read directly.
pub type RomMode = Box<dyn Fn(bool) + Send>;

/// What a read gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Reading {
    #[default]
    Array,
    Id,
    Query,
    Status,
}

/// Which write cycle comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Writing {
    #[default]
    Command,
    /// The word to program.
    Word,
    /// The number of words for the buffer.
    Count,
    /// Words for the buffer with their positions, `count` in all, then the confirmation.
    Buffer { count: u32, words: Vec<(u32, u16)> },
    /// The confirmation of an erase.
    Erase,
    /// Which change of a lock.
    Lock,
}

/// One of the two chips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chip {
    reading: Reading,
    writing: Writing,
    status: u8,
}

impl Default for Chip {
    fn default() -> Self {
        Self { reading: Reading::Array, writing: Writing::Command, status: SR_READY }
    }
}

/// The state of the bank, without its contents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CfiFlashRegs {
    chips: [Chip; 2],
}

impl Regs for CfiFlashRegs {
    fn validate(&self) -> Result<(), BadState> {
        for chip in &self.chips {
            if let Writing::Buffer { count, words } = &chip.writing
                && (*count > BUFFER_WORDS || words.len() > *count as usize)
            {
                return Err(BadState(format!("{} of {count} words in a flash write buffer", words.len())));
            }
        }
        Ok(())
    }
}

/// What a chip does to its array.
enum Action {
    Program(Vec<(u32, u16)>),
    /// Erases the block that holds this word.
    Erase(u32),
}

impl Chip {
    fn error(&mut self, bits: u8) {
        self.status |= bits;
        self.writing = Writing::Command;
    }

    /// A write cycle: `value` at word `word` of the chip. For bytes, `mask` says which bits are driven.
    fn write(&mut self, bank: &Bank, word: u32, value: u16, mask: u16) -> Option<Action> {
        let command = value as u8;
        match std::mem::take(&mut self.writing) {
            Writing::Command => self.command(bank, command),
            Writing::Word => return Some(Action::Program(vec![(word, value | !mask)])),
            // One less than the number of words.
            Writing::Count => match u32::from(value) + 1 {
                count @ 1..=BUFFER_WORDS => self.writing = Writing::Buffer { count, words: Vec::new() },
                _ => self.error(SR_SEQUENCE_ERROR),
            },
            Writing::Buffer { count, mut words } => {
                if (words.len() as u32) < count {
                    words.push((word, value | !mask));
                    self.writing = Writing::Buffer { count, words };
                } else if command == 0xd0 {
                    return Some(Action::Program(words));
                } else {
                    self.error(SR_SEQUENCE_ERROR);
                }
            }
            Writing::Erase => match command {
                0xd0 => return Some(Action::Erase(word)),
                _ => self.error(SR_SEQUENCE_ERROR),
            },
            // Lock, unlock, lock down, set configuration. Deviation: no block is ever locked.
            Writing::Lock => match command {
                0x01 | 0xd0 | 0x2f | 0x03 => {}
                _ => self.error(SR_SEQUENCE_ERROR),
            },
        }
        None
    }

    fn command(&mut self, bank: &Bank, command: u8) {
        let (reading, writing) = match command {
            0xff => (Reading::Array, Writing::Command),
            0x90 => (Reading::Id, Writing::Command),
            0x98 => (Reading::Query, Writing::Command),
            0x70 => (Reading::Status, Writing::Command),
            0x50 => {
                self.status = bank.cleared;
                (self.reading, Writing::Command)
            }
            0x10 | 0x40 => (Reading::Status, Writing::Word),
            0xe8 => (Reading::Status, Writing::Count),
            0x20 => (Reading::Status, Writing::Erase),
            0x60 => (Reading::Status, Writing::Lock),
            // Suspend and resume: nothing is ever under way.
            0xb0 | 0xd0 => (Reading::Status, Writing::Command),
            _ => {
                // Probing tries the commands of other families, some of which end with a reset (0xf0).
                vm::log!(GuestError, "cfi-flash: unknown command {command:#x}");
                (Reading::Array, Writing::Command)
            }
        };
        (self.reading, self.writing) = (reading, writing);
    }
}

/// Changes the backing of a mapped bank.
struct Switch {
    space: Weak<AddressSpace>,
    id: MappingId,
    cell: Weak<DeviceCell<CfiFlash>>,
    contents: Arc<Ram>,
}

impl Switch {
    fn set(&self, direct: bool) {
        let (Some(space), Some(cell)) = (self.space.upgrade(), self.cell.upgrade()) else { return };
        let port: Arc<dyn MmioPort> = cell;
        let backing = if direct {
            Backing::Rom { ram: self.contents.clone(), offset: 0, writes: Some((port, 0)) }
        } else {
            Backing::Mmio { port, window: 0, offset: 0 }
        };
        space.set_backing(self.id, backing);
    }
}

/// A bank of flash.
pub struct CfiFlash {
    regs: CfiFlashRegs,
    bank: Bank,
    contents: Arc<Ram>,
    len: u64,
    disk: Option<Arc<dyn BlockDev>>,
    /// Bytes to write back.
    dirty: Option<Range<u64>>,
    rom_mode: RomMode,
    direct: bool,
}

impl CfiFlash {
    /// A bank of these chips whose bytes are `contents`, a multiple of the chips' sectors and at most [`BANK_MAX`], filled
    /// by whoever made it. What the guest changes is also written to `disk` as far as that reaches; a read-only disk, like a
    /// chip whose write protection is on, makes programming and erasing fail.
    pub fn new(bank: Bank, contents: Arc<Ram>, disk: Option<Arc<dyn BlockDev>>, rom_mode: RomMode) -> Self {
        let len = contents.len().min(BANK_MAX);
        Self { regs: Default::default(), bank, contents, len, disk, dirty: None, rom_mode, direct: true }
    }

    /// Maps a [`Bank::PAIR`], see [`map_bank`](CfiFlash::map_bank).
    ///
    /// # Errors
    /// As there.
    pub fn map(
        space: &Arc<AddressSpace>,
        name: &str,
        gpa: Gpa,
        contents: Arc<Ram>,
        disk: Option<Arc<dyn BlockDev>>,
    ) -> Result<Arc<DeviceCell<Self>>, MapError> {
        Self::map_bank(Bank::PAIR, space, name, gpa, contents, disk)
    }

    /// Makes a bank as [`new`](CfiFlash::new) does and maps it at `gpa` of `space`, read directly whenever the chips allow.
    ///
    /// # Errors
    /// [`MapError`] when something else is there.
    pub fn map_bank(
        bank: Bank,
        space: &Arc<AddressSpace>,
        name: &str,
        gpa: Gpa,
        contents: Arc<Ram>,
        disk: Option<Arc<dyn BlockDev>>,
    ) -> Result<Arc<DeviceCell<Self>>, MapError> {
        // The mapping needs the cell and the chip needs the mapping: this is filled in last.
        let switch: Arc<OnceLock<Switch>> = Arc::default();
        let later = switch.clone();
        let rom_mode = Box::new(move |direct| {
            if let Some(switch) = later.get() {
                switch.set(direct);
            }
        });
        let cell = Arc::new(DeviceCell::new(Self::new(bank, contents.clone(), disk, rom_mode)));
        let port: Arc<dyn MmioPort> = cell.clone();
        let len = contents.len().min(BANK_MAX);
        let backing = Backing::Rom { ram: contents.clone(), offset: 0, writes: Some((port, 0)) };
        let id = space.map(Mapping { name: name.into(), gpa, len, priority: 0, backing })?;
        let _ = switch.set(Switch { space: Arc::downgrade(space), id, cell: Arc::downgrade(&cell), contents });
        Ok(cell)
    }

    /// Query data (JESD68.01, 4.3): word `index` of a chip.
    fn query(&self, index: u32) -> u8 {
        const PRIMARY: usize = 0x31;
        let Bank { chips, word, sector, .. } = self.bank;
        let chip_len = (self.len / chips).next_power_of_two();
        let blocks_less_1 = (self.len / sector).saturating_sub(1) as u16;
        let block_256 = (sector / chips / 256) as u16;
        let mut table = Vec::with_capacity(0x40);
        table.extend(b"QRY");
        table.extend([0x01, 0x00, PRIMARY as u8, 0, 0, 0, 0, 0]); // command sets: primary Intel extended, no alternate
        table.extend([0x27, 0x36, 0, 0]); // Vcc 2.7 to 3.6 V, no Vpp pin
        table.extend([7, 7, 10, 0, 4, 4, 4, 0]); // typical times 128 us, 128 us, 1 s, none; maximal 16 times that
        table.extend([chip_len.ilog2() as u8, word as u8 - 1, 0x00, 6, 0, 1]); // size, x8 or x16, 64-byte buffer, one region
        table.extend(blocks_less_1.to_le_bytes());
        table.extend(block_256.to_le_bytes());
        table.extend(b"PRI10");
        table.extend([0; 4]); // no optional features
        table.extend([0, 0, 0, 0x33, 0, 0]); // no suspend, no lock status, Vcc 3.3 V, no Vpp, no protection registers
        let index = (index as usize & 0xff).checked_sub(0x10);
        index.and_then(|index| table.get(index)).copied().unwrap_or(0)
    }

    fn read_chip(&self, lane: usize, word: u32) -> u16 {
        let Some(chip) = self.regs.chips.get(lane) else { return 0 };
        match chip.reading {
            Reading::Array => {
                let value = self.contents.load(self.bank.offset(lane, word), self.bank.word as u8);
                value.map_or(0xffff, |value| value as u16)
            }
            Reading::Status => chip.status.into(),
            Reading::Query => self.query(word).into(),
            // Offsets from the start of any block: 0 and 1 identify, 2 is the block's lock.
            Reading::Id => match word & 0xff {
                0 => MANUFACTURER_ID,
                1 => DEVICE_ID,
                _ => 0,
            },
        }
    }

    fn write_chip(&mut self, lane: usize, word: u32, value: u16, mask: u16) {
        let Some(chip) = self.regs.chips.get_mut(lane) else { return };
        let Some(action) = chip.write(&self.bank, word, value, mask) else { return };
        let protected = self.disk.as_ref().is_some_and(|disk| disk.read_only());
        let (done, error) = match action {
            Action::Program(_) if protected => (None, SR_PROGRAM_ERROR),
            Action::Erase(_) if protected => (None, SR_ERASE_ERROR),
            Action::Program(words) => {
                (words.iter().try_for_each(|(word, value)| self.program(lane, *word, *value)), SR_PROGRAM_ERROR)
            }
            Action::Erase(word) => (self.erase(lane, word), SR_ERASE_ERROR),
        };
        if let Some(chip) = self.regs.chips.get_mut(lane) {
            chip.status |= SR_READY;
            if done.is_none() {
                chip.error(error);
            }
        }
    }

    /// Programming clears bits and never sets any.
    fn program(&mut self, lane: usize, word: u32, value: u16) -> Option<()> {
        let (at, width) = (self.bank.offset(lane, word), self.bank.word);
        let old = self.contents.load(at, width as u8)?;
        self.contents.store(at, width as u8, old & u64::from(value))?;
        self.touch(at..at + width);
        Some(())
    }

    fn erase(&mut self, lane: usize, word: u32) -> Option<()> {
        let Bank { chips, word: width, sector: len, .. } = self.bank;
        let start = self.bank.offset(lane, word) / len * len;
        let mut sector = vec![0; len as usize];
        self.contents.read(start, &mut sector)?;
        for word in sector.chunks_mut(width as usize).skip(lane).step_by(chips as usize) {
            word.fill(0xff);
        }
        self.contents.write(start, &sector)?;
        self.touch(start..start + len);
        Some(())
    }

    fn touch(&mut self, range: Range<u64>) {
        let dirty = self.dirty.get_or_insert(range.clone());
        *dirty = dirty.start.min(range.start)..dirty.end.max(range.end);
    }

    /// Writes back what a write cycle changed, at most a sector.
    fn write_back(&mut self) {
        let (Some(dirty), Some(disk)) = (self.dirty.take(), &self.disk) else { return };
        let start = dirty.start / BLOCK * BLOCK;
        let end = dirty.end.next_multiple_of(BLOCK).min(disk.len_bytes());
        let Some(len) = end.checked_sub(start).and_then(|len| usize::try_from(len).ok()) else { return };
        let mut bytes = vec![0; len];
        let read = self.contents.read(start, &mut bytes);
        if let Err(error) = disk.write_at(start, &bytes) {
            vm::log!(GuestError, "cfi-flash: contents not written back: {error}");
        } else if read.is_some() {
            return;
        }
        self.regs.chips.iter_mut().for_each(|chip| chip.status |= SR_SEQUENCE_ERROR);
    }
}

impl Device for CfiFlash {
    type Regs = CfiFlashRegs;
    const MODEL: &'static str = "cfi-flash";

    fn regs(&self) -> &CfiFlashRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut CfiFlashRegs {
        &mut self.regs
    }

    fn update(&mut self) {
        let direct = self.regs.chips.iter().all(|chip| chip.reading == Reading::Array);
        if std::mem::replace(&mut self.direct, direct) != direct {
            (self.rom_mode)(direct);
        }
    }
}

impl Mmio for CfiFlash {
    const WINDOWS: &'static [Window] = &[Window { len: BANK_MAX, widths: 1..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let mut bytes = [0; 8];
        for (offset, byte) in (at.offset..).zip(bytes.iter_mut().take(at.width.into())) {
            let (lane, word) = self.bank.chip(offset);
            *byte = (self.read_chip(lane, word) >> (8 * (offset % self.bank.word))) as u8;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if !at.offset.is_multiple_of(at.width.into()) || at.offset >= self.len {
            return Err(BusError::BadOffset);
        }
        let width = self.bank.word;
        if u64::from(at.width) < width {
            let shift = 8 * (at.offset % width);
            let (lane, word) = self.bank.chip(at.offset);
            self.write_chip(lane, word, (value as u8 as u16) << shift, 0xff << shift);
        } else {
            let mask = 0xffff >> (16 - 8 * width);
            for (n, offset) in (0..u64::from(at.width) / width).map(|n| (n, at.offset + n * width)) {
                let (lane, word) = self.bank.chip(offset);
                self.write_chip(lane, word, (value >> (8 * width * n)) as u16 & mask, mask);
            }
        }
        self.write_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Poke, check_reset, check_save_load, hammer};
    use crate::virtio::testing::MemoryDisk;
    use std::sync::Mutex;
    use vm::{Part, ResetKind};

    type Modes = Arc<Mutex<Vec<bool>>>;

    fn bench_with(disk: Option<Arc<dyn BlockDev>>) -> (DeviceCell<CfiFlash>, Arc<Ram>, Modes) {
        let contents = Ram::new(4 * SECTOR_LEN).unwrap();
        for at in (0..contents.len()).step_by(8) {
            contents.store(at, 8, u64::MAX);
        }
        let modes = Modes::default();
        let told = modes.clone();
        let rom_mode = Box::new(move |direct| told.lock().unwrap().push(direct));
        (DeviceCell::new(CfiFlash::new(Bank::PAIR, contents.clone(), disk, rom_mode)), contents, modes)
    }

    fn bench() -> (DeviceCell<CfiFlash>, Arc<Ram>, Modes) {
        bench_with(None)
    }

    const READY: u64 = 0x80_0080;

    #[test]
    fn a_new_bank_reads_its_contents() {
        let (flash, contents, modes) = bench();
        contents.write(0x101, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(flash.read_n(0x100, 8), Ok(0x0706_0504_0302_01ff));
        assert_eq!((flash.read_n(0x103, 1), flash.read_n(0x102, 2)), (Ok(3), Ok(0x0302)));
        assert_eq!(flash.read_n(0x101, 4), Ok(0x0403_0201));
        assert_eq!(flash.read_n(BANK_MAX - 4, 4), Ok(0xffff_ffff));
        assert!(flash.write_n(0x101, 2, 0).is_err());
        assert!(flash.write_n(4 * SECTOR_LEN, 4, 0).is_err());
        assert!(modes.lock().unwrap().is_empty());
    }

    #[test]
    fn identification_and_query() {
        let (flash, _, modes) = bench();
        flash.w(0, 0x90_0090);
        assert_eq!((flash.r(0), flash.r(4), flash.r(8)), (0x89_0089, 0x18_0018, 0));
        flash.w(0x55 * 4, 0x98_0098);
        let query = |index: u64| {
            let both = flash.r(index * 4);
            assert_eq!(both & 0xffff, both >> 16);
            both as u8
        };
        let rows = [(0x10, b'Q'), (0x11, b'R'), (0x12, b'Y'), (0x13, 1), (0x14, 0), (0x15, 0x31), (0x16, 0)];
        // Half of 1 MiB in each chip, x16, 64 bytes, one region of 4 blocks of 128 KiB.
        let sizes = [(0x27, 19), (0x28, 1), (0x2a, 6), (0x2c, 1), (0x2d, 3), (0x2e, 0), (0x2f, 0), (0x30, 2)];
        let primary = [(0x31, b'P'), (0x32, b'R'), (0x33, b'I'), (0x34, b'1'), (0x35, b'0'), (0x3f, 0), (0x0f, 0)];
        for (index, value) in rows.into_iter().chain(sizes).chain(primary) {
            assert_eq!(query(index), value, "{index:#x}");
        }
        flash.w(0, 0xff_00ff);
        assert_eq!(flash.r(0), 0xffff_ffff);
        assert_eq!(*modes.lock().unwrap(), [false, true]);
    }

    #[test]
    fn programming_clears_bits_and_erasing_sets_them() {
        let (flash, contents, _) = bench();
        for (value, after) in [(0x1234_5678, 0x1234_5678), (0xffff_0f0f, 0x1234_0608)] {
            flash.w(0x40, 0x40_0040);
            flash.w(0x40, value);
            assert_eq!(flash.r(0), READY);
            assert_eq!(contents.load(0x40, 4), Some(after));
        }
        flash.w(SECTOR_LEN, 0x10_0010);
        flash.w(SECTOR_LEN, 0);
        flash.w(0x40, 0x20_0020);
        flash.w(0x40, 0xd0_00d0);
        assert_eq!((flash.r(0), contents.load(0x40, 4)), (READY, Some(0xffff_ffff)));
        assert_eq!(contents.load(SECTOR_LEN, 4), Some(0), "the next sector is as it was");
    }

    #[test]
    fn buffered_writes() {
        let (flash, contents, _) = bench();
        flash.w(0x80, 0xe8_00e8);
        assert_eq!(flash.r(0x80), READY);
        flash.w(0x80, 0x1f_001f);
        for n in 0..32 {
            flash.w(0x80 + 4 * n, n << 16 | n);
        }
        assert_eq!(contents.load(0x80, 4), Some(0xffff_ffff), "nothing before the confirmation");
        flash.w(0x80, 0xd0_00d0);
        assert_eq!(flash.r(0x80), READY);
        for n in 0..32 {
            assert_eq!(contents.load(0x80 + 4 * n, 4), Some(n << 16 | n));
        }
    }

    #[test]
    fn wrong_sequences_are_errors_until_cleared() {
        let rows: [&[u64]; 5] = [&[0x20, 0x20], &[0x60, 0x55], &[0xe8, 32], &[0xe8, 0, 5, 5], &[0xe8, 0xffff]];
        for writes in rows {
            let (flash, contents, _) = bench();
            for value in writes {
                flash.w(0x100, value << 16 | value);
            }
            assert_eq!(flash.r(0), 0xb0_00b0, "{writes:x?}");
            assert_eq!(contents.load(0x100, 4), Some(0xffff_ffff));
            flash.w(0, 0x50_0050);
            assert_eq!(flash.r(0), READY);
        }
        let (flash, ..) = bench();
        for confirm in [0x01, 0xd0, 0x2f] {
            flash.w(0, 0x60_0060);
            flash.w(0, confirm << 16 | confirm);
            assert_eq!(flash.r(0), READY);
        }
        flash.w(0, 0xf0_00f0);
        assert_eq!(flash.r(0), 0xffff_ffff, "unknown commands lead back to the array");
    }

    #[test]
    fn the_chips_are_independent() {
        let (flash, contents, modes) = bench();
        flash.write_n(2, 2, 0x70).unwrap();
        assert_eq!(flash.r(0), 0x0080_ffff);
        flash.write_n(2, 2, 0x20).unwrap();
        contents.store(0, 8, 0);
        flash.write_n(2, 2, 0xd0).unwrap();
        assert_eq!(contents.load(0, 8), Some(0xffff_0000_ffff_0000));
        flash.write_n(2, 2, 0xff).unwrap();
        assert_eq!(*modes.lock().unwrap(), [false, true]);
        flash.write_n(4, 1, 0x40).unwrap();
        flash.write_n(4, 1, 0xa5).unwrap();
        flash.write_n(0, 1, 0xff).unwrap();
        contents.store(4, 4, 0xffff_ffff);
        flash.write_n(4, 1, 0x40).unwrap();
        flash.write_n(5, 1, 0xa5).unwrap();
        assert_eq!(contents.load(4, 4), Some(0xffff_a5ff));
        // Eight bytes are two words, of which each chip gets two cycles.
        let (flash, contents, _) = bench();
        flash.write_n(8, 8, 0x1234_5678_0040_0040).unwrap();
        assert_eq!(contents.load(8, 8), Some(0x1234_5678_ffff_ffff));
    }

    /// What edk2 does: finds out that it is flash, erases a sector, programs bytes.
    #[test]
    fn a_chip_of_bytes() {
        let contents = Ram::new(3 * Bank::BYTES.sector).unwrap();
        contents.write(0, &vec![0x5a; contents.len() as usize]);
        let flash = DeviceCell::new(CfiFlash::new(Bank::BYTES, contents.clone(), None, Box::new(|_| {})));
        let put = |at, value| flash.write_n(at, 1, value).unwrap();
        let get = |at| flash.read_n(at, 1).unwrap();
        put(0x1000, 0x50);
        assert_eq!(get(0x1000), 0x5a, "neither RAM");
        put(0x1000, 0x70);
        assert_eq!(get(0x1000), 0, "nor ROM");
        put(0x1000, 0x20);
        put(0x1000, 0xd0);
        assert_eq!(get(0x1000), 0x80);
        for (at, value) in (0x1234..).zip([0x11, 0x22, 0x33]) {
            put(at, 0x10);
            put(at, value);
        }
        put(0x1000, 0xff);
        assert_eq!(flash.read_n(0x1230, 8), Ok(0xff33_2211_ffff_ffff));
        assert_eq!((get(0xfff), get(0x2000)), (0x5a, 0x5a), "other sectors are as they were");
        // A wider access is one cycle of the chip after the other.
        flash.write_n(0x1240, 4, 0x7710_6610).unwrap();
        put(0x1000, 0xff);
        assert_eq!(flash.read_n(0x1240, 4), Ok(0x77ff_66ff));
        put(0x1000, 0x98);
        assert_eq!((get(0x10), get(0x28), get(0x2c), get(0x2d), get(0x2f)), (u64::from(b'Q'), 0, 1, 2, 16));
        put(0x1000, 0xff);
        check_reset(&flash, || put(0, 0x90));
        hammer(&flash, 5_000, |random| put(random.below(0x3000), random.next() & 0xff));
    }

    #[test]
    fn changes_are_written_back() {
        let disk = MemoryDisk::new(1024); // half of the bank
        let (flash, contents, _) = bench_with(Some(disk.clone()));
        let program = |at: u64, value: u64| {
            flash.w(at, 0x40_0040);
            flash.w(at, value);
            flash.r(at)
        };
        assert_eq!(program(0x404, 0x0102_0304), READY);
        assert_eq!(*disk.calls.lock().unwrap(), ["write 1024 512"]);
        assert_eq!(disk.bytes.lock().unwrap()[0x400..0x408], [255, 255, 255, 255, 4, 3, 2, 1]);
        flash.w(0x404, 0x20_0020);
        flash.w(0x404, 0xd0_00d0);
        assert_eq!(disk.calls.lock().unwrap().last().unwrap(), "write 0 262144");
        assert_eq!(program(3 * SECTOR_LEN, 0), READY);
        assert_eq!(disk.calls.lock().unwrap().len(), 2, "beyond the disk");
        disk.failing.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(program(0, 0), 0xb0_00b0);
        let protected: Arc<dyn BlockDev> = Arc::new(MemoryDisk { read_only: true, ..Default::default() });
        let (flash, ..) = bench_with(Some(protected));
        flash.w(0, 0x40_0040);
        flash.w(0, 0);
        assert_eq!(flash.r(0), 0x90_0090);
        flash.w(0, 0x20_0020);
        flash.w(0, 0xd0_00d0);
        assert_eq!(flash.r(0), 0xb0_00b0);
        flash.w(0, 0xff_00ff);
        assert_eq!(flash.r(0), 0xffff_ffff);
        drop(contents);
    }

    #[test]
    fn mapped_as_rom_it_switches_the_backing() {
        let space = AddressSpace::new();
        let contents = Ram::new(BANK_MAX).unwrap();
        contents.store(0x1000, 4, 0x1234_5678);
        let cell = CfiFlash::map(&space, "flash", Gpa(0), contents.clone(), None).unwrap();
        assert!(CfiFlash::map(&space, "again", Gpa(SECTOR_LEN), contents, None).is_err());
        let read = |at| space.view().load(Gpa(at), 4);
        let write = |at, value| space.view().store(Gpa(at), 4, value).unwrap();
        assert_eq!(read(0x1000), Ok(0x1234_5678));
        write(0, 0x90_0090);
        assert_eq!((read(0x1000), read(0)), (Ok(0x89_0089), Ok(0x89_0089)));
        write(0, 0xff_00ff);
        assert_eq!(read(0x1000), Ok(0x1234_5678));
        assert!(space.dump().contains("rom"));
        write(0, 0x70_0070);
        assert_eq!(read(0x1000), Ok(READY));
        cell.reset(ResetKind::Warm);
        cell.settle();
        assert_eq!(read(0x1000), Ok(0x1234_5678), "a reset leads back to the array");
    }

    #[test]
    fn saved_loaded_and_reset() {
        let (flash, _, modes) = bench();
        flash.w(0, 0xe8_00e8);
        flash.w(0, 1 << 16 | 1);
        flash.w(0, 7);
        check_save_load(&flash, || flash.w(4, 8));
        modes.lock().unwrap().clear();
        check_save_load(&flash, || {
            flash.w(0, 0);
            flash.w(0, 0xff_00ff);
        });
        let (flash, ..) = bench();
        let mut saved = flash.save();
        let body = String::from_utf8(saved.body).unwrap();
        saved.body = body.replacen("\"Command\"", "{\"Buffer\":{\"count\":33,\"words\":[]}}", 1).into_bytes();
        assert!(flash.load(&saved).is_err());
        check_reset(&flash, || flash.w(0, 0x90_0090));
    }

    #[test]
    fn any_access_is_answered() {
        let (flash, ..) = bench_with(Some(MemoryDisk::new(64)));
        let commands = [0xff, 0x90, 0x98, 0x70, 0x50, 0x40, 0xe8, 0x20, 0x60, 0xd0, 1, 3];
        hammer(&flash, 20_000, |random| {
            let command = commands[random.below(commands.len() as u64) as usize];
            flash.w(random.below(SECTOR_LEN) & !3, command << 16 | command);
        });
    }
}
