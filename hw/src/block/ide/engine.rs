//! How the data of a command travels: a block at a time between the host's disk and the drive's buffer, and from there to
//! the guest through the data register ("PIO data-in/data-out command protocol", "PACKET command protocol") or by the bus
//! master ("DMA command protocol").

use super::bus_master::Moved;
use super::{ABRT, CHUNK, Channel, ChannelRegs, Drive, DriveRegs, Kind, Phase, REASON_CD, REASON_IO, UNC};
use std::sync::Arc;
use vm::blockdev::{BlockDev, BlockError};

/// What the worker does.
pub(super) struct Job {
    dev: Arc<dyn BlockDev>,
    kind: Kind,
    offset: u64,
    len: u64,
    data: Vec<u8>,
    durable: bool,
}

/// What was read.
pub(super) type Outcome = Result<Vec<u8>, BlockError>;

/// Does a job.
pub(super) fn run(job: Job) -> Outcome {
    let len = usize::try_from(job.len.min(CHUNK)).unwrap_or(0);
    let mut bytes = Vec::new();
    match job.kind {
        Kind::Reply => {}
        Kind::Read | Kind::Verify => {
            bytes.resize(len, 0);
            job.dev.read_at(job.offset, &mut bytes)?;
        }
        Kind::Write => {
            if job.dev.read_only() {
                return Err(BlockError::ReadOnly);
            }
            job.dev.write_at(job.offset, &job.data)?;
            if job.durable {
                job.dev.flush()?;
            }
        }
        Kind::Flush => job.dev.flush()?,
    }
    Ok(bytes)
}

/// Rounds of [`Channel::advance`]; a command of 65,536 sectors has fewer steps.
const ROUNDS: usize = 2048;

impl Channel {
    /// Does what can be done now: takes answers of the host, moves data by bus master, asks the host for more.
    pub(super) fn advance(&mut self, regs: &mut ChannelRegs) {
        for _ in 0..ROUNDS {
            let outcomes = self.worker.as_ref().map(|worker| worker.take_done()).unwrap_or_default();
            for outcome in outcomes {
                self.in_flight = false;
                self.finish_job(regs, outcome);
            }
            let direct = self.direct;
            let works = |phase| match phase {
                Phase::Host | Phase::Dma => true,
                Phase::DataIn | Phase::DataOut => direct,
                Phase::Idle | Phase::Packet => false,
            };
            let Some(n) = regs.drives.iter().position(|drive| works(drive.phase)) else { return };
            let (Some(Some(drive)), ChannelRegs { drives, bus_master, sent, .. }) = (self.drives.get(n), &mut *regs)
            else {
                return;
            };
            let Some(drive_regs) = drives.get_mut(n) else { return };
            if matches!(drive_regs.phase, Phase::DataIn | Phase::DataOut) {
                let memory = self.memory.dma();
                let into = drive_regs.phase == Phase::DataIn;
                let bytes = drive_regs.buffer.get_mut(drive_regs.at..).unwrap_or(&mut []);
                let moved =
                    if into { bus_master.to_memory(&memory, bytes) } else { bus_master.from_memory(&memory, bytes) };
                match (moved, into) {
                    // The guest has no room for it.
                    (Moved::Stopped, _) => drive_regs.fail(ABRT),
                    (Moved::All, true) => {
                        *sent = !drive_regs.transfer.packet;
                        drive_regs.end = drive_regs.buffer.len();
                        drive_regs.end_data_in();
                    }
                    (Moved::All, false) => drive_regs.phase = Phase::Host,
                }
                continue;
            }
            if drive_regs.phase == Phase::Dma {
                if !bus_master.is_active() && !direct {
                    return;
                }
                let memory = self.memory.dma();
                let moved = if drive_regs.transfer.kind == Kind::Write {
                    let len = drive_regs.next_block();
                    drive_regs.buffer.resize(len, 0);
                    bus_master.from_memory(&memory, &mut drive_regs.buffer)
                } else {
                    bus_master.to_memory(&memory, &drive_regs.buffer)
                };
                match moved {
                    Moved::All => {}
                    Moved::Stopped if direct => {
                        drive_regs.fail(ABRT);
                        continue;
                    }
                    Moved::Stopped => return,
                }
                if drive_regs.transfer.kind == Kind::Write || drive_regs.transfer.left != 0 {
                    drive_regs.phase = Phase::Host;
                } else {
                    drive_regs.complete();
                    bus_master.finish();
                }
                continue;
            }
            if self.in_flight {
                return;
            }
            let Some(job) = drive_regs.job(drive) else {
                drive_regs.fail(UNC);
                continue;
            };
            if let Some(worker) = &self.worker {
                self.in_flight = true;
                worker.submit(job);
            } else {
                self.finish_job(regs, run(job));
            }
        }
    }

    fn finish_job(&mut self, regs: &mut ChannelRegs, outcome: Outcome) {
        let Some(n) = regs.drives.iter().position(|drive| drive.phase == Phase::Host) else { return };
        let ChannelRegs { drives, bus_master, .. } = regs;
        let Some(r) = drives.get_mut(n) else { return };
        match outcome {
            Ok(bytes) => {
                let step = (r.next_block() as u64).min(r.transfer.left);
                r.transfer.offset = r.transfer.offset.saturating_add(step);
                r.transfer.left -= step;
                match r.transfer.kind {
                    Kind::Read => {
                        r.buffer = bytes;
                        if r.transfer.dma { r.phase = Phase::Dma } else { r.start_data_in() }
                    }
                    Kind::Write if r.transfer.left != 0 => {
                        r.buffer = Vec::new();
                        if r.transfer.dma { r.phase = Phase::Dma } else { r.start_data_out(true) }
                    }
                    Kind::Verify if r.transfer.left != 0 => {}
                    _ => {
                        let by_bus_master = r.transfer.dma;
                        r.complete();
                        if by_bus_master {
                            bus_master.finish();
                        }
                    }
                }
            }
            Err(error) => {
                vm::log!(GuestError, "ide: request failed: {error}");
                let bits = if matches!(error, BlockError::ReadOnly) { ABRT } else { UNC };
                r.fail(bits);
            }
        }
    }

    /// Reads `width` (1, 2 or 4) bytes of the data register.
    pub fn read_data(&mut self, regs: &mut ChannelRegs, width: u8) -> u32 {
        let Some((_, r)) = self.selected(regs).filter(|(_, r)| r.phase == Phase::DataIn) else { return 0 };
        let mut value = [0; 4];
        let end = (r.at + usize::from(width.min(4))).min(r.end);
        for (to, from) in value.iter_mut().zip(r.buffer.get(r.at..end).unwrap_or(&[])) {
            *to = *from;
        }
        r.at = end;
        if r.at == r.end {
            r.end_data_in();
        }
        u32::from_le_bytes(value)
    }

    /// Writes `width` (1, 2 or 4) bytes of the data register.
    pub fn write_data(&mut self, regs: &mut ChannelRegs, width: u8, value: u32) {
        let wanted = |r: &DriveRegs| matches!(r.phase, Phase::DataOut | Phase::Packet);
        let Some((drive, r)) = self.selected(regs).filter(|(_, r)| wanted(r)) else { return };
        let end = (r.at + usize::from(width.min(4))).min(r.end);
        for (to, from) in r.buffer.get_mut(r.at..end).unwrap_or(&mut []).iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
        r.at = end;
        if r.at == r.end {
            if r.phase == Phase::Packet { r.execute_packet(drive) } else { r.phase = Phase::Host }
        }
    }
}

impl DriveRegs {
    /// Bytes of the next block of the transfer.
    pub(super) fn next_block(&self) -> usize {
        usize::try_from(self.transfer.left.min(self.transfer.block).min(CHUNK)).unwrap_or(0)
    }

    /// The next thing to ask the host for.
    fn job(&self, drive: &Drive) -> Option<Job> {
        let dev = drive.medium.clone()?;
        let transfer = &self.transfer;
        let data = if transfer.kind == Kind::Write { self.buffer.clone() } else { Vec::new() };
        let len = self.next_block() as u64;
        Some(Job { dev, kind: transfer.kind, offset: transfer.offset, len, data, durable: transfer.durable })
    }

    /// Shows the guest the next part of the buffer.
    pub(super) fn start_data_in(&mut self) {
        self.phase = Phase::DataIn;
        self.interrupt = true;
        self.at = self.at.min(self.buffer.len());
        let packet = self.transfer.packet;
        let limit = if packet { self.atapi.byte_limit() } else { self.transfer.drq };
        let n = (self.buffer.len() - self.at).min(limit.max(2));
        self.end = self.at + n;
        if packet {
            // "Byte count": as many bytes at a time as the guest said.
            self.set_byte_count(n);
            self.count = REASON_IO;
        }
        if self.at == self.end {
            self.end_data_in();
        }
    }

    fn set_byte_count(&mut self, n: usize) {
        let [low, high] = (n as u16).to_le_bytes();
        (self.lba[1], self.lba[2]) = (low, high);
    }

    fn end_data_in(&mut self) {
        if self.end < self.buffer.len() {
            return self.start_data_in();
        }
        self.buffer = Vec::new();
        (self.at, self.end) = (0, 0);
        if self.transfer.left != 0 {
            self.phase = Phase::Host;
        } else if self.transfer.packet {
            self.complete();
        } else {
            // The last block was announced by its interrupt; there is none at the end.
            self.stop();
        }
    }

    /// Lets the guest fill the buffer for the next block.
    pub(super) fn start_data_out(&mut self, interrupt: bool) {
        self.phase = Phase::DataOut;
        self.interrupt = interrupt;
        self.buffer = vec![0; self.next_block()];
        (self.at, self.end) = (0, self.buffer.len());
    }

    /// The command has ended well.
    pub(super) fn complete(&mut self) {
        let packet = self.transfer.packet;
        self.stop();
        self.failed = false;
        self.error = 0;
        self.interrupt = true;
        if packet {
            self.count = REASON_IO | REASON_CD;
        }
    }

    /// The command has failed: `error` are bits of the error register; of a packet command it is an unrecovered read error.
    pub(super) fn fail(&mut self, error: u8) {
        if self.transfer.packet {
            return self.fail_packet(super::atapi::READ_ERROR);
        }
        let failed = self.transfer.offset / super::SECTOR;
        self.stop();
        self.failed = true;
        self.error = error;
        self.interrupt = true;
        if error != ABRT {
            let bytes = failed.to_le_bytes();
            self.lba = [bytes[0], bytes[1], bytes[2]];
            self.previous.lba = [bytes[3], bytes[4], bytes[5]];
            if self.device & super::LBA != 0 {
                self.device = self.device & 0xf0 | bytes[3] & 0xf;
            }
        }
    }
}
