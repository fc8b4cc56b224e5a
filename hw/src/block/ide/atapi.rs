//! The PACKET command: how the commands of a CD-ROM drive, which are SCSI's ([`crate::block::scsi::cdrom`]), reach it and its
//! answers the guest. Section titles are those of ATA/ATAPI-6.

use super::{CHUNK, Drive, DriveRegs, Kind, Phase, REASON_CD, REASON_IO, Transfer};
pub(super) use crate::block::scsi::READ_ERROR;
use crate::block::scsi::Sense;
use crate::block::scsi::cdrom::{BLOCK, Cdrom, CdromRegs, Reply};
use serde::{Deserialize, Serialize};

/// Bytes of a packet.
const PACKET_LEN: usize = 12;

/// The state of the drive beyond that of any drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AtapiRegs {
    /// Bytes at a time through the data register, as the guest asked for.
    limit: u16,
    dma: bool,
    cdrom: CdromRegs,
}

impl AtapiRegs {
    pub(super) fn byte_limit(&self) -> usize {
        match usize::from(self.limit & !1) {
            0 => 0xfffe,
            limit => limit,
        }
    }

    /// What a reset leaves.
    pub(super) fn after_reset(&self) -> Self {
        Self { cdrom: self.cdrom.after_reset(), ..Self::default() }
    }

    pub(super) fn disc_changed(&mut self, present: bool) {
        self.cdrom.disc_changed(present);
    }
}

impl DriveRegs {
    /// "PACKET": the guest is to write the packet.
    pub(super) fn start_packet(&mut self) {
        self.atapi.limit = u16::from_le_bytes([self.lba[1], self.lba[2]]);
        self.atapi.dma = self.features & 1 != 0;
        self.transfer.packet = true;
        self.phase = Phase::Packet;
        self.buffer = vec![0; PACKET_LEN];
        (self.at, self.end) = (0, PACKET_LEN);
        self.count = REASON_CD;
    }

    /// The packet is complete.
    pub(super) fn execute_packet(&mut self, drive: &Drive) {
        let packet = std::mem::take(&mut self.buffer);
        self.stop();
        self.transfer = Transfer { packet: true, dma: self.atapi.dma, ..Transfer::default() };
        let cdrom = Cdrom { disc: drive.medium.as_deref(), model: &drive.model };
        match self.atapi.cdrom.command(cdrom, &packet) {
            Err(sense) => self.fail_packet(sense),
            Ok(Reply::Done) => self.complete(),
            Ok(Reply::Data(mut data, room)) => {
                data.truncate(room);
                self.buffer = data;
                match (self.buffer.is_empty(), self.atapi.dma) {
                    (true, _) => self.complete(),
                    (false, true) => self.phase = Phase::Dma,
                    (false, false) => self.start_data_in(),
                }
            }
            Ok(Reply::Blocks(_, 0)) => self.complete(),
            Ok(Reply::Blocks(first, n)) => {
                self.transfer.kind = Kind::Read;
                self.transfer.offset = first * BLOCK;
                self.transfer.left = n * BLOCK;
                self.transfer.block = CHUNK;
                self.phase = Phase::Host;
            }
        }
    }

    pub(super) fn fail_packet(&mut self, sense: Sense) {
        self.stop();
        self.atapi.cdrom.sense = sense;
        self.failed = true;
        // "Error register" of PACKET: the sense key, and command aborted.
        self.error = sense.0 << 4 | super::ABRT;
        self.count = REASON_IO | REASON_CD;
        self.interrupt = true;
    }
}
