//! ATA channels: two drives each, disks and CD-ROM drives. AT Attachment with Packet Interface 6 (T13/1410D, "ATA/ATAPI-6");
//! section titles are its.
//!
//! - here: the registers and who may write them when;
//! - [`engine`]: how data travels between the host's disk, the drive's buffer and the guest;
//! - [`commands`]: the commands of disks; [`identify`]: what drives say of themselves;
//! - [`atapi`]: the packet commands of a CD-ROM drive;
//! - [`bus_master`]: the DMA engine of a channel.
//!
//! - [`sata`]: a channel that is reached by frames instead of registers.
//!
//! A [`Channel`] is the part of a controller ([`crate::pci::piix3_ide`], or a port of [`crate::pci::ich9_ahci`]) that has no
//! registers of its own: these are a [`ChannelRegs`].

pub mod atapi;
pub mod bus_master;
mod commands;
mod engine;
mod identify;
pub mod sata;
#[cfg(test)]
mod tests;

use crate::virtio::Wake;
use crate::virtio::worker::Worker;
use atapi::AtapiRegs;
use bus_master::BusMasterRegs;
use engine::{Job, Outcome};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::blockdev::BlockDev;
use vm::{AddressSpace, BadState, IrqLine, Regs};

/// Bytes of a sector of a disk.
const SECTOR: u64 = 512;
/// Bytes that travel between host and drive at a time, at most.
const CHUNK: u64 = 128 << 10;

// Command block registers ("Register delivered...": I/O registers).
const DATA: u8 = 0;
const ERROR_FEATURES: u8 = 1;
const COUNT: u8 = 2;
const DEVICE: u8 = 6;
const STATUS_COMMAND: u8 = 7;

// Status register.
const BSY: u8 = 1 << 7;
const DRDY: u8 = 1 << 6;
const DSC: u8 = 1 << 4;
const DRQ: u8 = 1 << 3;
const ERR: u8 = 1 << 0;

// Error register.
const UNC: u8 = 1 << 6;
const IDNF: u8 = 1 << 4;
const ABRT: u8 = 1 << 2;

// Device register.
const DEV: u8 = 1 << 4;
const LBA: u8 = 1 << 6;

// Device control register.
const NIEN: u8 = 1 << 1;
const SRST: u8 = 1 << 2;
const HOB: u8 = 1 << 7;

// Interrupt reason of the PACKET feature set, in the count register.
const REASON_CD: u8 = 1 << 0;
const REASON_IO: u8 = 1 << 1;

/// What kind of a drive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveKind {
    /// A fixed disk.
    Disk,
    /// A CD-ROM drive, whose medium may come and go.
    CdRom,
}

/// A drive.
pub struct Drive {
    /// What it is.
    pub kind: DriveKind,
    /// Contents of the disk, or the disc in the drive.
    pub medium: Option<Arc<dyn BlockDev>>,
    /// Serial number, at most 20 characters.
    pub serial: String,
    /// Model, at most 40 characters.
    pub model: String,
    /// It is on a Serial ATA port.
    pub sata: bool,
}

impl Drive {
    /// A disk with the contents `dev`.
    pub fn disk(dev: Arc<dyn BlockDev>, serial: &str) -> Self {
        Self {
            kind: DriveKind::Disk,
            medium: Some(dev),
            serial: serial.into(),
            model: "MIMIC HARDDISK".into(),
            sata: false,
        }
    }

    /// A CD-ROM drive, perhaps with a disc in it.
    pub fn cdrom(disc: Option<Arc<dyn BlockDev>>, serial: &str) -> Self {
        Self { kind: DriveKind::CdRom, medium: disc, serial: serial.into(), model: "MIMIC DVD-ROM".into(), sata: false }
    }

    fn is_disk(&self) -> bool {
        self.kind == DriveKind::Disk
    }

    /// Sectors of a disk.
    fn sectors(&self) -> u64 {
        self.medium.as_ref().map_or(0, |dev| dev.len_bytes() / SECTOR)
    }
}

/// What a drive is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Waiting for a command.
    #[default]
    Idle,
    /// The host's disk is busy for it.
    Host,
    /// The guest reads the buffer through the data register.
    DataIn,
    /// The guest fills the buffer through the data register.
    DataOut,
    /// The guest writes a command packet.
    Packet,
    /// The buffer waits for the bus master.
    Dma,
}

/// What a command does with the medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// Nothing: the data is in the buffer.
    #[default]
    Reply,
    Read,
    Write,
    Verify,
    Flush,
}

/// The transfer that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Transfer {
    kind: Kind,
    /// Next byte of the medium.
    offset: u64,
    /// Bytes of the medium that are still to be done.
    left: u64,
    /// Bytes at a time between host and drive.
    block: u64,
    /// Bytes at a time between drive and guest, through the data register.
    drq: usize,
    /// By bus master.
    dma: bool,
    /// Of a packet command.
    packet: bool,
    /// The writes must be on the medium when the command ends.
    durable: bool,
}

/// The older contents of registers that are written twice for 48-bit addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Previous {
    count: u8,
    lba: [u8; 3],
}

/// What SET FEATURES and its like change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    /// Sectors per block of READ and WRITE MULTIPLE.
    multiple: u8,
    /// Heads and sectors per track of the logical geometry.
    heads: u8,
    sectors: u8,
    /// "Transfer mode": kind in bits 7:3, number in 2:0.
    mode: u8,
    write_cache: bool,
    look_ahead: bool,
    smart: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let mode = 0x45;
        Self { multiple: 16, heads: 16, sectors: 63, mode, write_cache: true, look_ahead: true, smart: true }
    }
}

/// The state of a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DriveRegs {
    features: u8,
    count: u8,
    lba: [u8; 3],
    device: u8,
    previous: Previous,
    error: u8,
    /// The last command failed.
    failed: bool,
    /// It has accepted a command since the reset, or is a disk.
    ready: bool,
    /// INTRQ.
    interrupt: bool,
    settings: Settings,
    phase: Phase,
    transfer: Transfer,
    buffer: Vec<u8>,
    /// Next byte of the buffer, and where this block of it ends.
    at: usize,
    end: usize,
    atapi: AtapiRegs,
}

impl DriveRegs {
    fn status(&self) -> u8 {
        let ready = if self.ready { DRDY | DSC } else { 0 };
        match self.phase {
            Phase::Idle => ready | if self.failed { ERR } else { 0 },
            Phase::Host => BSY | DRDY | DSC,
            Phase::DataIn | Phase::DataOut | Phase::Packet | Phase::Dma => DRDY | DSC | DRQ,
        }
    }

    /// What drives show after a reset ("Signature and persistence").
    fn signature(&mut self, kind: DriveKind) {
        self.count = 1;
        self.lba = match kind {
            DriveKind::Disk => [1, 0, 0],
            DriveKind::CdRom => [1, 0x14, 0xeb],
        };
        self.device &= DEV;
        self.previous = Previous::default();
    }

    /// Back to idle, as all resets do.
    fn reset(&mut self, kind: DriveKind) {
        self.signature(kind);
        self.error = 1; // diagnostic code: no error
        self.failed = false;
        self.ready = kind == DriveKind::Disk;
        self.interrupt = false;
        self.stop();
    }

    fn stop(&mut self) {
        self.phase = Phase::Idle;
        self.transfer = Transfer::default();
        self.buffer = Vec::new();
        (self.at, self.end) = (0, 0);
    }
}

/// The state of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRegs {
    drives: [DriveRegs; 2],
    /// Device control.
    control: u8,
    selected: bool,
    /// The DMA engine.
    pub bus_master: BusMasterRegs,
    /// Of a channel without registers: a command has sent data by the protocol of the data register.
    sent: bool,
    /// False after a load: what was under way must be started again.
    #[serde(skip)]
    current: bool,
}

impl Regs for ChannelRegs {
    fn validate(&self) -> Result<(), BadState> {
        for drive in &self.drives {
            let len = drive.buffer.len();
            if len as u64 > CHUNK || drive.at > drive.end || drive.end > len || drive.transfer.block > CHUNK {
                return Err(BadState(format!("byte {} to {} of a drive's buffer of {len}", drive.at, drive.end)));
            }
        }
        Ok(())
    }
}

/// A channel with its drives, without registers.
pub struct Channel {
    drives: [Option<Drive>; 2],
    memory: Arc<AddressSpace>,
    irq: IrqLine,
    worker: Option<Worker<Job, Outcome>>,
    /// A job is under way at the worker.
    in_flight: bool,
    /// All data travel by the DMA engine, those of the data register too.
    direct: bool,
}

impl Channel {
    /// A channel with the drives 0 and 1, whose bus master reaches the RAM of `memory` and whose interrupt is `irq`. Drives
    /// wait for the host on a thread, or inside the guest's access if `synchronous`.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn new(
        drives: [Option<Drive>; 2],
        memory: Arc<AddressSpace>,
        irq: IrqLine,
        synchronous: bool,
    ) -> std::io::Result<Self> {
        let worker = if synchronous || drives.iter().all(Option::is_none) {
            None
        } else {
            Some(Worker::start("ide", Arc::default(), engine::run)?)
        };
        Ok(Self { drives, memory, irq, worker, in_flight: false, direct: false })
    }

    /// How to wake the controller's cell when the host's disk has answered.
    pub fn connect(&self, wake: Wake) {
        if let Some(worker) = &self.worker {
            worker.on_done(wake);
        }
    }

    /// The registers at power-on.
    pub fn power_on(&self) -> ChannelRegs {
        let mut regs = ChannelRegs { current: true, ..Default::default() };
        self.reset_drives(&mut regs);
        regs
    }

    fn reset_drives(&self, regs: &mut ChannelRegs) {
        for (drive, regs) in self.drives.iter().zip(&mut regs.drives) {
            if let Some(drive) = drive {
                regs.reset(drive.kind);
            }
        }
    }

    /// Forgets what is under way; when this returns no job is.
    pub fn abandon(&mut self) {
        if let Some(worker) = &self.worker {
            worker.cancel();
        }
        self.in_flight = false;
    }

    /// Resets everything, as the machine does.
    pub fn reset(&mut self, regs: &mut ChannelRegs) {
        self.abandon();
        let discs = regs.drives.each_ref().map(|drive| drive.atapi.after_reset());
        *regs = self.power_on();
        for (drive, atapi) in regs.drives.iter_mut().zip(discs) {
            drive.atapi = atapi;
        }
    }

    /// Puts another disc into drive `n`, or takes it out. `false` if that is no CD-ROM drive.
    pub fn set_disc(&mut self, regs: &mut ChannelRegs, n: usize, disc: Option<Arc<dyn BlockDev>>) -> bool {
        let (Some(Some(drive)), Some(regs)) = (self.drives.get_mut(n), regs.drives.get_mut(n)) else { return false };
        if drive.is_disk() {
            return false;
        }
        drive.medium = disc;
        regs.atapi.disc_changed(drive.medium.is_some());
        true
    }

    /// The selected drive, if it is there.
    fn selected<'a>(&'a self, regs: &'a mut ChannelRegs) -> Option<(&'a Drive, &'a mut DriveRegs)> {
        let n = usize::from(regs.selected);
        Some((self.drives.get(n)?.as_ref()?, regs.drives.get_mut(n)?))
    }

    /// Reads a byte of the command block.
    pub fn read(&mut self, regs: &mut ChannelRegs, register: u8) -> u8 {
        if register == DATA {
            return self.read_data(regs, 1) as u8;
        }
        let previous = regs.control & HOB != 0;
        let Some((_, drive)) = self.selected(regs) else { return 0 };
        match register {
            ERROR_FEATURES => drive.error,
            COUNT if previous => drive.previous.count,
            COUNT => drive.count,
            3..=5 => {
                let lba = if previous { &drive.previous.lba } else { &drive.lba };
                lba[usize::from(register - 3)]
            }
            DEVICE => drive.device | 0xa0,
            // Reading the status takes the interrupt back.
            _ => {
                drive.interrupt = false;
                drive.status()
            }
        }
    }

    /// Writes a byte of the command block.
    pub fn write(&mut self, regs: &mut ChannelRegs, register: u8, value: u8) {
        match register {
            DATA => return self.write_data(regs, 1, value.into()),
            STATUS_COMMAND => return self.command(regs, value),
            _ => {}
        }
        // Registers belong to the drives while one is at work.
        if regs.drives.iter().any(|drive| drive.phase != Phase::Idle) {
            return;
        }
        regs.control &= !HOB;
        if register == DEVICE {
            regs.selected = value & DEV != 0;
        }
        for drive in &mut regs.drives {
            match register {
                ERROR_FEATURES => drive.features = value,
                COUNT => drive.previous.count = std::mem::replace(&mut drive.count, value),
                3..=5 => {
                    let n = usize::from(register - 3);
                    drive.previous.lba[n] = std::mem::replace(&mut drive.lba[n], value);
                }
                _ => drive.device = value,
            }
        }
    }

    /// The alternate status register.
    pub fn alternate_status(&self, regs: &mut ChannelRegs) -> u8 {
        self.selected(regs).map_or(0, |(_, drive)| drive.status())
    }

    /// The device control register.
    pub fn write_control(&mut self, regs: &mut ChannelRegs, value: u8) {
        let falls = regs.control & !value & SRST != 0;
        regs.control = value & (NIEN | SRST | HOB);
        // "Software reset protocol". The drives are done at once, so they only have to be so when the bit falls.
        if falls {
            self.abandon();
            self.reset_drives(regs);
            regs.selected = false;
        }
    }

    /// Drives the interrupt and takes the host's answers. For the controller's `update`.
    pub fn update(&mut self, regs: &mut ChannelRegs) {
        if !regs.current {
            self.abandon();
            regs.current = true;
        }
        self.advance(regs);
        let enabled = regs.control & NIEN == 0;
        let high = enabled && self.selected(regs).is_some_and(|(_, drive)| drive.interrupt);
        // "Bus master IDE status register": set with the rising edge of the interrupt.
        if high && !self.irq.is_high() {
            regs.bus_master.interrupt();
        }
        self.irq.set(high);
    }

    /// Waits until nothing is under way at the host, so that a snapshot can be taken.
    pub fn drain(&mut self, regs: &mut ChannelRegs) {
        for _ in 0..4 {
            if let Some(worker) = &self.worker {
                worker.wait_idle();
            }
            self.advance(regs);
        }
    }
}
