//! Floppy disk controller 82077AA with two drives. Intel 82077AA data sheet (290166); section titles are its.
//!
//! - here: registers, phases, results; [`commands`]: what the commands do; [`media`]: what kinds of disks there are.
//!
//! Deviation: the mechanics take no time: a seek has ended and a sector has been read when the write of the last byte of a
//! command returns.

mod commands;
pub mod media;
#[cfg(test)]
mod tests;

use crate::dma::i8237::DmaChannel;
use media::Format;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::blockdev::BlockDev;
use vm::{Access, BadState, BusError, Device, IrqLine, Mmio, Regs, ResetKind, Window};

/// Drives.
pub const DRIVES: usize = 2;
/// Bytes of a sector.
const SECTOR: usize = 512;

// Registers, by offset from port 0x3f0 ("Status, data and control registers").
const SRA: u64 = 0;
const SRB: u64 = 1;
const DOR: u64 = 2;
const TDR: u64 = 3;
const MSR_DSR: u64 = 4;
const FIFO: u64 = 5;

// Digital output register.
const DOR_RESET_NOT: u8 = 1 << 2;
const DOR_DMA_GATE: u8 = 1 << 3;

// Main status register.
const RQM: u8 = 1 << 7;
const DIO: u8 = 1 << 6;
const NON_DMA: u8 = 1 << 5;
const BUSY: u8 = 1 << 4;

// Data rate select register.
const DSR_RESET: u8 = 1 << 7;

// Status register 0 to 2 ("Status register encoding").
const ST0_ABNORMAL: u8 = 0x40;
const ST0_INVALID: u8 = 0x80;
const ST0_SEEK_END: u8 = 0x20;
const ST0_EQUIPMENT: u8 = 0x10;
const ST1_END: u8 = 0x80;
const ST1_OVERRUN: u8 = 0x10;
const ST1_NO_DATA: u8 = 0x04;
const ST1_PROTECTED: u8 = 0x02;
const ST1_NO_ADDRESS: u8 = 0x01;
const ST1_DATA_ERROR: u8 = 0x20;

/// Where the controller is in a command ("Command set/descriptions").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// It takes the bytes of a command.
    #[default]
    Command,
    /// The guest reads data.
    Read,
    /// The guest writes data.
    Write,
    /// The guest reads the result.
    Result,
}

/// The state of a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DriveRegs {
    track: u8,
    /// The disk was changed, and the head has not moved since (DSKCHG).
    changed: bool,
}

/// The registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdcRegs {
    dor: u8,
    tdr: u8,
    /// Data rate: 0 to 3 for 500, 300, 250 and 1000 kbit/s.
    rate: u8,
    drives: [DriveRegs; DRIVES],
    phase: Phase,
    /// Bytes of the command so far, or of the result.
    bytes: Vec<u8>,
    /// A sector, and how much of it has travelled.
    data: Vec<u8>,
    at: usize,
    /// The interrupt is asserted.
    interrupt: bool,
    /// Results that SENSE INTERRUPT STATUS will give, by drive number.
    sense: [Option<u8>; 4],
    // SPECIFY, CONFIGURE, PERPENDICULAR MODE, LOCK.
    specify: [u8; 2],
    configure: [u8; 2],
    perpendicular: u8,
    lock: bool,
}

impl Default for FdcRegs {
    fn default() -> Self {
        Self {
            dor: 0,
            tdr: 0,
            rate: 2,
            drives: Default::default(),
            phase: Phase::Command,
            bytes: Vec::new(),
            data: Vec::new(),
            at: 0,
            interrupt: false,
            sense: [None; 4],
            specify: [0; 2],
            // The FIFO is off, and polling on.
            configure: [0x20, 0],
            perpendicular: 0,
            lock: false,
        }
    }
}

impl Regs for FdcRegs {
    fn validate(&self) -> Result<(), BadState> {
        if self.bytes.len() > 16 || self.data.len() > SECTOR || self.at > self.data.len() {
            return Err(BadState(format!("{} bytes of a command, {} of a sector", self.bytes.len(), self.data.len())));
        }
        let busy = matches!(self.phase, Phase::Read | Phase::Write);
        if busy && (self.bytes.len() < 9 && self.bytes.len() != 6 || self.data.is_empty()) {
            return Err(BadState("data without a command".into()));
        }
        Ok(())
    }
}

/// The controller.
pub struct Fdc {
    regs: FdcRegs,
    disks: [Option<Arc<dyn BlockDev>>; DRIVES],
    irq: IrqLine,
    dma: Option<DmaChannel>,
}

impl Fdc {
    /// A controller whose drives hold `disks`, with the interrupt `irq` (ISA interrupt 6) and the DMA channel `dma` (2).
    pub fn new(disks: [Option<Arc<dyn BlockDev>>; DRIVES], irq: IrqLine, dma: Option<DmaChannel>) -> Self {
        let mut new = Self { regs: FdcRegs::default(), disks, irq, dma };
        new.regs = new.power_on();
        new
    }

    fn power_on(&self) -> FdcRegs {
        let drives = self.disks.each_ref().map(|disk| DriveRegs { track: 0, changed: disk.is_some() });
        FdcRegs { drives, ..FdcRegs::default() }
    }

    /// Puts another disk into drive `n`, or takes it out. `false` if there is no such drive.
    pub fn set_disk(&mut self, n: usize, disk: Option<Arc<dyn BlockDev>>) -> bool {
        match (self.disks.get_mut(n), self.regs.drives.get_mut(n)) {
            (Some(old), Some(drive)) => {
                *old = disk;
                drive.changed = true;
                true
            }
            _ => false,
        }
    }

    /// The disk in drive `n` with its format.
    fn disk(&self, n: usize) -> Option<(&Arc<dyn BlockDev>, Format)> {
        let disk = self.disks.get(n)?.as_ref()?;
        Some((disk, Format::of(disk.len_bytes())?))
    }

    /// The drive that the digital output register selects.
    fn selected(&self) -> usize {
        usize::from(self.regs.dor & 3)
    }

    fn is_reset(&self) -> bool {
        self.regs.dor & DOR_RESET_NOT == 0
    }

    fn main_status(&self) -> u8 {
        if self.is_reset() {
            return 0;
        }
        RQM | match self.regs.phase {
            Phase::Command if self.regs.bytes.is_empty() => 0,
            Phase::Command => BUSY,
            Phase::Read => DIO | NON_DMA | BUSY,
            Phase::Write => NON_DMA | BUSY,
            Phase::Result => DIO | BUSY,
        }
    }

    /// "Reset": the registers go back but for those of LOCK; then each drive reports that it was not ready before.
    fn reset_controller(&mut self) {
        let r = &mut self.regs;
        let fresh = FdcRegs::default();
        (r.phase, r.interrupt) = (Phase::Command, true);
        r.bytes.clear();
        r.data.clear();
        r.at = 0;
        r.perpendicular &= 0x3c;
        if !r.lock {
            r.configure = fresh.configure;
        }
        r.sense = std::array::from_fn(|n| Some(0xc0 | n as u8));
    }

    fn write_dor(&mut self, value: u8) {
        let old = std::mem::replace(&mut self.regs.dor, value);
        if old & DOR_RESET_NOT == 0 && value & DOR_RESET_NOT != 0 {
            self.reset_controller();
        } else if value & DOR_RESET_NOT == 0 {
            self.regs.interrupt = false;
        }
    }

    fn read_fifo(&mut self) -> u8 {
        if self.is_reset() {
            return 0;
        }
        match self.regs.phase {
            Phase::Read => {
                let r = &mut self.regs;
                let byte = r.data.get(r.at).copied().unwrap_or(0);
                r.at += 1;
                if r.at >= r.data.len() {
                    self.end_block();
                }
                byte
            }
            Phase::Result => {
                let r = &mut self.regs;
                // Reading the first byte of the result takes the interrupt back.
                r.interrupt = false;
                let byte = if r.bytes.is_empty() { 0 } else { r.bytes.remove(0) };
                if r.bytes.is_empty() {
                    r.phase = Phase::Command;
                }
                byte
            }
            Phase::Command | Phase::Write => 0,
        }
    }

    fn write_fifo(&mut self, value: u8) {
        if self.is_reset() {
            return;
        }
        match self.regs.phase {
            Phase::Command => {
                self.regs.bytes.push(value);
                let len = commands::len(self.regs.bytes[0]);
                if self.regs.bytes.len() >= len {
                    self.execute();
                }
            }
            Phase::Write => {
                let r = &mut self.regs;
                if let Some(byte) = r.data.get_mut(r.at) {
                    *byte = value;
                }
                r.at += 1;
                if r.at >= r.data.len() {
                    self.end_block();
                }
            }
            Phase::Read | Phase::Result => {}
        }
    }

    /// The guest is to read `result`.
    fn finish(&mut self, result: &[u8], interrupt: bool) {
        let r = &mut self.regs;
        r.bytes = result.to_vec();
        r.data.clear();
        r.at = 0;
        r.interrupt |= interrupt;
        r.phase = if result.is_empty() { Phase::Command } else { Phase::Result };
    }
}

impl Device for Fdc {
    type Regs = FdcRegs;
    const MODEL: &'static str = "fdc";

    fn regs(&self) -> &FdcRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut FdcRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = self.power_on();
    }
    fn update(&mut self) {
        self.irq.set(self.regs.interrupt && self.regs.dor & DOR_DMA_GATE != 0);
    }
}

impl Mmio for Fdc {
    /// Ports 0x3f0 to 0x3f5, and 0x3f7.
    const WINDOWS: &'static [Window] = &[Window { len: 6, widths: 1..=1 }, Window { len: 1, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let byte = match (at.window, at.offset) {
            // "Status register A": the interrupt; no second drive, index, write protection or direction is shown.
            (0, SRA) => u8::from(self.regs.interrupt) << 7,
            // "Status register B": the lower bits are motors and drive.
            (0, SRB) => 0xc0 | (self.regs.dor & 1) << 5 | self.regs.dor >> 4 & 3,
            (0, DOR) => self.regs.dor,
            (0, TDR) => self.regs.tdr,
            (0, MSR_DSR) => self.main_status(),
            (0, FIFO) => self.read_fifo(),
            // "Digital input register": the disk change line of the selected drive.
            (1, _) => {
                let n = self.selected();
                let changed = self.regs.drives.get(n).is_none_or(|drive| drive.changed);
                let missing = self.disks.get(n).is_none_or(Option::is_none);
                u8::from(changed || missing) << 7
            }
            _ => return Err(BusError::BadOffset),
        };
        Ok(byte.into())
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let value = value as u8;
        match (at.window, at.offset) {
            (0, DOR) => self.write_dor(value),
            (0, TDR) => self.regs.tdr = value & 3,
            (0, MSR_DSR) => {
                self.regs.rate = value & 3;
                if value & DSR_RESET != 0 && !self.is_reset() {
                    self.reset_controller();
                }
            }
            (0, FIFO) => self.write_fifo(value),
            // "Configuration control register": the data rate.
            (1, _) => self.regs.rate = value & 3,
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}
