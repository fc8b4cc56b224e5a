//! The commands of a CD-ROM drive, as SCSI and as ATAPI have them. Multi-Media Commands 5 (T10/1675D, "MMC-5") and SCSI
//! Primary Commands 3 ("SPC-3"); section titles are theirs. The disc is one data track of blocks of 2048 bytes.

use super::{INVALID_COMMAND, INVALID_FIELD, NOT_READY, OUT_OF_RANGE, Sense, TRAY_OPEN, be16, be32};
use serde::{Deserialize, Serialize};
use vm::blockdev::BlockDev;

/// Bytes of a block.
pub const BLOCK: u64 = 2048;
/// Number of the track that stands for the lead-out.
const LEAD_OUT: u8 = 0xaa;

const REMOVAL_PREVENTED: Sense = (5, 0x53, 2);
const MEDIUM_CHANGED: Sense = (6, 0x28, 0);

/// The state of the drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdromRegs {
    /// Why the last command failed, for REQUEST SENSE.
    pub sense: Sense,
    /// The disc was changed, and the guest has not been told.
    changed: bool,
    /// The same for GET EVENT STATUS NOTIFICATION: 2 new medium, 3 medium gone.
    event: u8,
    tray_open: bool,
    locked: bool,
}

/// What the drive is.
#[derive(Clone, Copy)]
pub struct Cdrom<'a> {
    /// The disc in it.
    pub disc: Option<&'a dyn BlockDev>,
    /// Vendor and product, with a space between.
    pub model: &'a str,
}

/// Minute, second and frame of block `lba` ("Logical block addresses and MSF").
fn msf(lba: u32) -> [u8; 3] {
    let frames = lba.saturating_add(150);
    [(frames / 75 / 60) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

/// What a command asks for.
pub enum Reply {
    Done,
    /// Data, of which the guest takes at most so many bytes.
    Data(Vec<u8>, usize),
    /// Blocks of the medium: first and number.
    Blocks(u64, u64),
}

impl CdromRegs {
    /// What a reset leaves.
    #[must_use]
    pub fn after_reset(&self) -> Self {
        Self { tray_open: self.tray_open, ..Self::default() }
    }

    /// Another disc is in the drive, or none.
    pub fn disc_changed(&mut self, present: bool) {
        self.changed = present;
        self.event = if present { 2 } else { 3 };
        self.tray_open = false;
    }

    /// Blocks of the disc in the drive.
    fn blocks(&self, drive: Cdrom<'_>) -> Result<u32, Sense> {
        match drive.disc {
            _ if self.tray_open => Err(TRAY_OPEN),
            None => Err(NOT_READY),
            Some(disc) => Ok(u32::try_from(disc.len_bytes() / BLOCK).unwrap_or(u32::MAX)),
        }
    }

    /// Carries out the command `packet`.
    ///
    /// # Errors
    /// Why it failed.
    pub fn command(&mut self, drive: Cdrom<'_>, packet: &[u8]) -> Result<Reply, Sense> {
        let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
        let (code, length16) = (byte(0), usize::from(be16(packet, 7)));
        // INQUIRY, REQUEST SENSE, GET CONFIGURATION and GET EVENT STATUS NOTIFICATION do not report the change.
        if self.changed && !matches!(code, 0x03 | 0x12 | 0x46 | 0x4a) {
            self.changed = false;
            return Err(MEDIUM_CHANGED);
        }
        if code != 0x03 {
            self.sense = Sense::default();
        }
        Ok(match code {
            // TEST UNIT READY; SEEK.
            0x00 | 0x2b => self.blocks(drive).map(|_| Reply::Done)?,
            0x03 => {
                let (key, code, qualifier) = std::mem::take(&mut self.sense);
                let mut data = vec![0; 18];
                (data[0], data[2], data[7], data[12], data[13]) = (0x70, key, 10, code, qualifier);
                Reply::Data(data, byte(4).into())
            }
            0x12 => Reply::Data(inquiry(drive), be16(packet, 3).into()),
            0x1b => self.start_stop(byte(4))?,
            0x1e => {
                self.locked = byte(4) & 1 != 0;
                Reply::Done
            }
            // READ CAPACITY.
            0x25 => {
                let last = self.blocks(drive)?.saturating_sub(1);
                Reply::Data([last.to_be_bytes(), (BLOCK as u32).to_be_bytes()].concat(), 8)
            }
            0x28 => self.read_blocks(drive, be32(packet, 2), be16(packet, 7).into())?,
            0xa8 => self.read_blocks(drive, be32(packet, 2), be32(packet, 6))?,
            // READ CD: user data alone, and of any type of sector or the one there is (mode 1).
            0xbe => {
                if byte(9) & 0xf8 != 0x10 || !matches!(byte(1) >> 2 & 7, 0 | 2) {
                    return Err(INVALID_FIELD);
                }
                self.read_blocks(drive, be32(packet, 2), be32(packet, 5) & 0xff_ffff)?
            }
            0x43 => {
                let blocks = self.blocks(drive)?;
                // The format was in the last byte once.
                let format = if byte(2) & 0xf != 0 { byte(2) & 0xf } else { byte(9) >> 6 };
                Reply::Data(table_of_contents(blocks, byte(1) & 2 != 0, format, byte(6))?, length16)
            }
            0x46 => Reply::Data(self.configuration(drive), length16),
            0x4a => Reply::Data(self.events(drive, byte(1), byte(4))?, length16),
            0x51 => {
                self.blocks(drive)?;
                let mut data = vec![0; 34];
                // A finished disc that cannot be written, one session with one track.
                (data[1], data[2], data[3], data[4], data[5], data[6], data[7]) = (32, 0x0e, 1, 1, 1, 1, 0x20);
                Reply::Data(data, length16)
            }
            0x5a => Reply::Data(self.mode_sense(byte(2))?, length16),
            // MECHANISM STATUS: one slot, nothing under way.
            0xbd => {
                let mut data = vec![0; 8];
                data[5] = 1;
                Reply::Data(data, be16(packet, 8).into())
            }
            // SET CD SPEED, SYNCHRONIZE CACHE.
            0xbb | 0x35 => Reply::Done,
            _ => return Err(INVALID_COMMAND),
        })
    }

    fn start_stop(&mut self, what: u8) -> Result<Reply, Sense> {
        const START: u8 = 1 << 0;
        const LOAD_EJECT: u8 = 1 << 1;
        if what & LOAD_EJECT != 0 {
            let open = what & START == 0;
            if open && self.locked {
                return Err(REMOVAL_PREVENTED);
            }
            if self.tray_open && !open {
                self.changed = true;
            }
            self.tray_open = open;
        }
        Ok(Reply::Done)
    }

    fn read_blocks(&mut self, drive: Cdrom<'_>, first: u32, n: u32) -> Result<Reply, Sense> {
        match first.checked_add(n) {
            Some(end) if end <= self.blocks(drive)? => Ok(Reply::Blocks(first.into(), n.into())),
            _ => Err(OUT_OF_RANGE),
        }
    }

    /// "GET CONFIGURATION": the profile of a CD-ROM and the features that every drive has.
    fn configuration(&self, drive: Cdrom<'_>) -> Vec<u8> {
        let profile: u8 = if self.blocks(drive).is_ok() { 0x08 } else { 0 };
        let mut data = vec![0, 0, 0, 0, 0, 0, 0, profile];
        data.extend([0, 0, 0x03, 4, 0, 0x08, profile >> 3, 0]); // profile list
        data.extend([0, 1, 0x0b, 8, 0, 0, 0, 2, 1, 0, 0, 0]); // core: ATAPI
        data.extend([0, 3, 0x07, 4, 0x29, 0, 0, 0]); // removable medium: a tray, can eject and lock
        let len = (data.len() - 4) as u32;
        data[..4].copy_from_slice(&len.to_be_bytes());
        data
    }

    /// "GET EVENT STATUS NOTIFICATION": of the classes only that of media (4).
    fn events(&mut self, drive: Cdrom<'_>, polled: u8, classes: u8) -> Result<Vec<u8>, Sense> {
        const MEDIA: u8 = 4;
        if polled & 1 == 0 {
            return Err(INVALID_FIELD);
        }
        if classes & 1 << MEDIA == 0 {
            return Ok(vec![0, 2, 0x80, 1 << MEDIA]);
        }
        let event = std::mem::take(&mut self.event);
        let present = u8::from(self.blocks(drive).is_ok()) << 1 | u8::from(self.tray_open);
        Ok(vec![0, 6, MEDIA, 1 << MEDIA, event, present, 0, 0])
    }

    /// "MODE SENSE (10)".
    fn mode_sense(&self, page: u8) -> Result<Vec<u8>, Sense> {
        // Changeable values: none.
        if page >> 6 == 3 {
            return Err((5, 0x39, 0)); // saving parameters not supported
        }
        let mut data = vec![0; 8];
        let (page, current) = (page & 0x3f, page >> 6 != 1);
        if matches!(page, 0x01 | 0x3f) {
            data.extend([0x01, 6, 0, if current { 5 } else { 0 }, 0, 0, 0, 0]); // read error recovery: retries
        }
        if matches!(page, 0x2a | 0x3f) {
            // "MM capabilities and mechanical status": reads CD-R, CD-RW and DVD-ROM; a tray that locks and ejects.
            let lock = 0x29 | u8::from(self.locked) << 1;
            let mut capabilities = [0; 20];
            if current {
                capabilities = [0, 0, 0x0b, 0, 0x70, 0, lock, 0, 0x02, 0xc2, 0, 2, 0, 0, 0x02, 0xc2, 0, 0, 0, 0];
            }
            (capabilities[0], capabilities[1]) = (0x2a, 18);
            data.extend(capabilities);
        }
        if data.len() == 8 {
            return Err(INVALID_FIELD);
        }
        let len = (data.len() - 2) as u16;
        data[..2].copy_from_slice(&len.to_be_bytes());
        Ok(data)
    }
}

/// "INQUIRY": a removable CD/DVD device, SPC-3.
fn inquiry(drive: Cdrom<'_>) -> Vec<u8> {
    let mut data = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
    let padded = |text: &str, len: usize| text.bytes().chain(std::iter::repeat(b' ')).take(len).collect::<Vec<u8>>();
    let (vendor, product) = drive.model.split_once(' ').unwrap_or(("", drive.model));
    data.extend(padded(vendor, 8));
    data.extend(padded(product, 16));
    data.extend(padded("1.0", 4));
    data
}

/// "READ TOC/PMA/ATIP": the table of a disc with one data track of `blocks` blocks.
fn table_of_contents(blocks: u32, time: bool, format: u8, first: u8) -> Result<Vec<u8>, Sense> {
    let position = |lba: u32| if time { [&[0][..], &msf(lba)].concat() } else { lba.to_be_bytes().to_vec() };
    let mut data = vec![0, 0, 1, 1];
    match format {
        0 => {
            if first > 1 && first != LEAD_OUT {
                return Err(INVALID_FIELD);
            }
            if first <= 1 {
                data.extend([0, 0x14, 1, 0]);
                data.extend(position(0));
            }
            data.extend([0, 0x14, LEAD_OUT, 0]);
            data.extend(position(blocks));
        }
        // Sessions: the first one is the only one.
        1 => {
            data.extend([0, 0x14, 1, 0]);
            data.extend(position(0));
        }
        // Everything: first track, last track, lead-out, the track.
        2 => {
            for (point, address) in [(0xa0, [1, 0, 0]), (0xa1, [1, 0, 0]), (0xa2, msf(blocks)), (1, msf(0))] {
                data.extend([1, 0x14, 0, point, 0, 0, 0, 0]);
                data.extend(address);
            }
        }
        _ => return Err(INVALID_FIELD),
    }
    let len = (data.len() - 2) as u16;
    data[..2].copy_from_slice(&len.to_be_bytes());
    Ok(data)
}
