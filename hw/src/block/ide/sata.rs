//! A channel with one drive behind a Serial ATA port. Commands come as the contents of all registers at once, and their data
//! travel through a list of regions whatever the protocol ("Serial ATA AHCI 1.3.1 Specification", 5.5, "Transferring Data");
//! what the drive does is the same.

use super::{Channel, ChannelRegs, DEV, Drive, DriveKind, Phase};
use std::io;
use std::sync::Arc;
use vm::{AddressSpace, IrqLine};

/// READ and WRITE DMA EXT, the latter also such that the data must be on the medium ("Command descriptions").
const READ_DMA_EXT: u8 = 0x25;
const WRITE_DMA_EXT: u8 = 0x35;
const WRITE_DMA_FUA_EXT: u8 = 0x3d;
/// READ and WRITE FPDMA QUEUED (ATA8-ACS, "Native Command Queuing").
const READ_QUEUED: u8 = 0x60;
const WRITE_QUEUED: u8 = 0x61;
/// The bit of their device field that asks for data on the medium.
const QUEUED_FUA: u8 = 1 << 7;

/// The registers of a drive, as frames carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskFile {
    /// Command, or status.
    pub command: u8,
    /// Features, or error.
    pub features: u16,
    /// The 48 bits of the address.
    pub lba: [u8; 6],
    /// Device.
    pub device: u8,
    /// Count.
    pub count: u16,
}

impl TaskFile {
    /// Its number in the queue, if it is a queued command.
    pub fn tag(&self) -> Option<u8> {
        matches!(self.command, READ_QUEUED | WRITE_QUEUED).then_some(self.count as u8 >> 3)
    }

    /// The command that does the same without a queue.
    fn unqueued(self) -> Self {
        let command = match (self.command, self.device & QUEUED_FUA) {
            (READ_QUEUED, _) => READ_DMA_EXT,
            (WRITE_QUEUED, 0) => WRITE_DMA_EXT,
            (WRITE_QUEUED, _) => WRITE_DMA_FUA_EXT,
            _ => return self,
        };
        Self { command, count: self.features, ..self }
    }
}

/// Where the data of a command are: `entries` descriptors from `list` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// First descriptor.
    pub list: u64,
    /// Number of descriptors.
    pub entries: u16,
}

impl Channel {
    /// A channel with at most one drive. It has no interrupt: [`is_busy`](Channel::is_busy) says when a command has ended.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn sata(drive: Option<Drive>, memory: Arc<AddressSpace>, synchronous: bool) -> io::Result<Self> {
        let drive = drive.map(|drive| Drive { sata: true, ..drive });
        let mut channel = Self::new([drive, None], memory, IrqLine::unconnected(), synchronous)?;
        channel.direct = true;
        Ok(channel)
    }

    /// What drive there is.
    pub fn kind(&self) -> Option<DriveKind> {
        self.drives[0].as_ref().map(|drive| drive.kind)
    }

    /// Starts a command; a packet command's packet is the first 12 bytes of `packet`. The drive must not be busy. The data
    /// travel with the next [`update`](Channel::update).
    pub fn issue(&mut self, regs: &mut ChannelRegs, task: TaskFile, packet: &[u8; 16], regions: Regions) {
        let task = task.unqueued();
        regs.sent = false;
        regs.selected = false;
        regs.bus_master.start_list(regions.list, regions.entries);
        let r = &mut regs.drives[0];
        r.features = task.features as u8;
        [r.count, r.previous.count] = task.count.to_le_bytes();
        let [a, b, c, d, e, f] = task.lba;
        (r.lba, r.previous.lba) = ([a, b, c], [d, e, f]);
        r.device = task.device & !DEV;
        self.command(regs, task.command);
        let (Some(drive), r) = (&self.drives[0], &mut regs.drives[0]) else { return };
        if r.phase == Phase::Packet {
            for (to, from) in r.buffer.iter_mut().zip(packet) {
                *to = *from;
            }
            r.execute_packet(drive);
        }
    }

    /// A command is under way.
    pub fn is_busy(&self, regs: &ChannelRegs) -> bool {
        regs.drives[0].phase != Phase::Idle
    }

    /// The registers after a command or a reset.
    pub fn result(&self, regs: &ChannelRegs) -> TaskFile {
        let r = &regs.drives[0];
        let ([a, b, c], [d, e, f]) = (r.lba, r.previous.lba);
        TaskFile {
            command: r.status(),
            features: r.error.into(),
            lba: [a, b, c, d, e, f],
            device: r.device,
            count: u16::from_le_bytes([r.count, r.previous.count]),
        }
    }

    /// The last command has sent data by the protocol of the data register.
    pub fn sent(&self, regs: &ChannelRegs) -> bool {
        regs.sent
    }

    /// Bytes of the last command's data that were moved.
    pub fn moved(&self, regs: &ChannelRegs) -> u32 {
        regs.bus_master.moved()
    }

    /// The reset that a frame asks for ("Software reset protocol").
    pub fn software_reset(&mut self, regs: &mut ChannelRegs) {
        self.abandon();
        self.reset_drives(regs);
    }

    /// Gives up the command that is under way.
    pub fn give_up(&mut self, regs: &mut ChannelRegs) {
        self.abandon();
        regs.drives[0].stop();
    }
}
