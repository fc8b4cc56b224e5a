//! Logical units of SCSI, whatever carries their commands. SCSI Primary Commands 4 ("SPC-4"), SCSI Block Commands 3
//! ("SBC-3"), Multi-Media Commands 5 ("MMC-5"); section titles are theirs.
//!
//! - here: what every unit answers, and how an answer is told;
//! - [`disk`]: direct-access block devices; [`cdrom`]: CD-ROM drives, for IDE too;
//! - [`inquiry`]: what units say of themselves.
//!
//! [`Unit::command`] decides at once what a command asks for. Its work on the medium, an [`Action`], is left to the
//! transport, which has the guest's buffers and a thread that may wait.

pub mod cdrom;
mod disk;
mod inquiry;
#[cfg(test)]
mod tests;

use cdrom::{Cdrom, CdromRegs, Reply};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::blockdev::{BlockDev, BlockError};

/// Sense key, additional sense code and its qualifier ("Sense key and sense code definitions").
pub type Sense = (u8, u8, u8);

pub(super) const NOT_READY: Sense = (2, 0x3a, 0); // medium not present
pub(super) const TRAY_OPEN: Sense = (2, 0x3a, 2);
pub(super) const READ_ERROR: Sense = (3, 0x11, 0); // unrecovered read error
const WRITE_ERROR: Sense = (3, 0x0c, 0);
pub(super) const INVALID_COMMAND: Sense = (5, 0x20, 0);
pub(super) const OUT_OF_RANGE: Sense = (5, 0x21, 0);
pub(super) const INVALID_FIELD: Sense = (5, 0x24, 0);
const NO_UNIT: Sense = (5, 0x25, 0); // logical unit not supported
const INVALID_PARAMETER: Sense = (5, 0x26, 0);
const PARAMETER_LENGTH: Sense = (5, 0x1a, 0);
const SAVING_NOT_SUPPORTED: Sense = (5, 0x39, 0);
const POWER_ON: Sense = (6, 0x29, 0);
const WRITE_PROTECTED: Sense = (7, 0x27, 0);
/// The command was given up.
pub const ABORTED: Sense = (0xb, 0, 0);

/// Bytes of parameters that a command takes at most.
pub const PARAMETERS_MAX: usize = 4096;

// Operation codes that every unit knows.
const TEST_UNIT_READY: u8 = 0x00;
const REQUEST_SENSE: u8 = 0x03;
const INQUIRY: u8 = 0x12;
const REPORT_LUNS: u8 = 0xa0;

fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// "Fixed format sense data".
pub fn fixed(sense: Sense) -> Vec<u8> {
    let (key, code, qualifier) = sense;
    let mut data = vec![0; 18];
    (data[0], data[2], data[7], data[12], data[13]) = (0x70, key, 10, code, qualifier);
    data
}

/// What kind of a unit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A fixed disk.
    Disk,
    /// A CD-ROM drive, whose medium may come and go.
    CdRom,
}

/// A logical unit.
#[derive(Clone)]
pub struct Unit {
    /// What it is.
    pub kind: UnitKind,
    /// Contents of the disk, or the disc in the drive.
    pub medium: Option<Arc<dyn BlockDev>>,
    /// Serial number, at most 36 characters.
    pub serial: String,
}

/// The state of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRegs {
    /// What the guest is to be told with the next command ("Unit attention condition").
    attention: Option<Sense>,
    /// Writes are durable when a cache is synchronized, not when they end.
    write_cache: bool,
    cdrom: CdromRegs,
}

impl Default for UnitRegs {
    fn default() -> Self {
        Self { attention: Some(POWER_ON), write_cache: true, cdrom: CdromRegs::default() }
    }
}

impl UnitRegs {
    /// What a reset of the unit leaves.
    #[must_use]
    pub fn after_reset(&self) -> Self {
        Self { cdrom: self.cdrom.after_reset(), ..Self::default() }
    }

    /// Another disc is in the drive, or none.
    pub fn disc_changed(&mut self, present: bool) {
        self.cdrom.disc_changed(present);
    }
}

/// What a command wants done. All ranges lie within the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give the guest these bytes, or as many of them as it has room for.
    Data(Vec<u8>),
    /// Read `len` bytes from `offset` on.
    Read { offset: u64, len: u64 },
    /// Write as many, durably or not.
    Write { offset: u64, len: u64, durable: bool },
    /// Write bytes that are given once, again and again.
    Same { offset: u64, len: u64, pattern: Vec<u8>, durable: bool },
    /// Make these bytes zeros.
    Zero { offset: u64, len: u64, durable: bool },
    /// Forget these ranges: offset and length.
    Discard(Vec<(u64, u64)>),
    /// Make what was written durable.
    Flush,
}

impl Action {
    fn done() -> Self {
        Action::Data(Vec::new())
    }

    /// The sense for the host's failure to do it.
    pub fn failure(&self, error: &BlockError) -> Sense {
        vm::log!(GuestError, "scsi: command failed: {error}");
        match (error, self) {
            (BlockError::OutOfRange { .. }, _) => OUT_OF_RANGE,
            (BlockError::ReadOnly, _) => WRITE_PROTECTED,
            (BlockError::Io(_), Action::Read { .. }) => READ_ERROR,
            (BlockError::Io(_), _) => WRITE_ERROR,
        }
    }
}

/// Gives the parameters that the guest sends with a command: as many bytes as are asked for, or none if there are not so
/// many.
pub type Parameters<'a> = &'a dyn Fn(usize) -> Option<Vec<u8>>;

impl Unit {
    /// A disk with the contents `dev`.
    pub fn disk(dev: Arc<dyn BlockDev>, serial: &str) -> Self {
        Self { kind: UnitKind::Disk, medium: Some(dev), serial: serial.into() }
    }

    /// A CD-ROM drive, perhaps with a disc in it.
    pub fn cdrom(disc: Option<Arc<dyn BlockDev>>, serial: &str) -> Self {
        Self { kind: UnitKind::CdRom, medium: disc, serial: serial.into() }
    }

    /// Decides what the command `cdb` asks for.
    ///
    /// # Errors
    /// Why it fails.
    pub fn command(&self, regs: &mut UnitRegs, cdb: &[u8], parameters: Parameters<'_>) -> Result<Action, Sense> {
        let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
        match byte(0) {
            // These neither report nor clear unit attentions, or have them as their answer.
            INQUIRY => return inquiry::answer(self, cdb).map(|data| truncated(data, be16(cdb, 3).into())),
            REQUEST_SENSE => {
                let sense = regs.attention.take().unwrap_or_default();
                return Ok(truncated(fixed(sense), byte(4).into()));
            }
            _ => {}
        }
        if let Some(sense) = regs.attention.take() {
            return Err(sense);
        }
        match self.kind {
            UnitKind::Disk => disk::command(self, regs, cdb, parameters),
            UnitKind::CdRom => self.cdrom_command(regs, cdb),
        }
    }

    fn cdrom_command(&self, regs: &mut UnitRegs, cdb: &[u8]) -> Result<Action, Sense> {
        let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
        let drive = Cdrom { disc: self.medium.as_deref(), model: "MIMIC CD-ROM" };
        // "MODE SENSE (6)" has a shorter header than the one with 10 bytes.
        if byte(0) == 0x1a {
            let long = [0x5a, 0, byte(2), 0, 0, 0, 0, 0xff, 0xff, 0];
            let Reply::Data(data, _) = regs.cdrom.command(drive, &long)? else { return Ok(Action::done()) };
            let pages = data.get(8..).unwrap_or_default();
            let header = [(pages.len() + 3).min(255) as u8, 0, 0, 0];
            return Ok(truncated([&header, pages].concat(), byte(4).into()));
        }
        Ok(match regs.cdrom.command(drive, cdb)? {
            Reply::Done => Action::done(),
            Reply::Data(data, room) => truncated(data, room),
            Reply::Blocks(first, n) => Action::Read { offset: first * cdrom::BLOCK, len: n * cdrom::BLOCK },
        })
    }
}

fn truncated(mut data: Vec<u8>, len: usize) -> Action {
    data.truncate(len);
    Action::Data(data)
}

/// The answer of a target to a command for a unit that it does not have.
///
/// # Errors
/// Why the command fails.
pub fn without_unit(cdb: &[u8]) -> Result<Action, Sense> {
    let room = be16(cdb, 3).into();
    match cdb.first() {
        // "Standard INQUIRY data": qualifier 3 says that nothing can be there.
        Some(&INQUIRY) if cdb.get(1).is_none_or(|byte| byte & 1 == 0) => {
            let mut data = vec![0x7f, 0, 5, 2, 31];
            data.resize(36, 0);
            Ok(truncated(data, room))
        }
        Some(&REQUEST_SENSE) => Ok(truncated(fixed(NO_UNIT), cdb.get(4).copied().unwrap_or(0).into())),
        _ => Err(NO_UNIT),
    }
}

/// "REPORT LUNS" of a target with the units `luns` (each below 256), if `cdb` is that.
pub fn report_luns(cdb: &[u8], luns: impl Iterator<Item = u8>) -> Option<Result<Action, Sense>> {
    if cdb.first() != Some(&REPORT_LUNS) {
        return None;
    }
    let room = be32(cdb, 6) as usize;
    // Well-known units, of which there are none, are reported alone by 1.
    let luns: Vec<u8> = match cdb.get(2) {
        Some(0 | 2) => luns.collect(),
        Some(1) => Vec::new(),
        _ => return Some(Err(INVALID_FIELD)),
    };
    if room < 16 {
        return Some(Err(INVALID_FIELD));
    }
    let mut data = ((luns.len() * 8) as u32).to_be_bytes().to_vec();
    data.extend([0; 4]);
    for lun in luns {
        data.extend([0, lun, 0, 0, 0, 0, 0, 0]);
    }
    Some(Ok(truncated(data, room)))
}
