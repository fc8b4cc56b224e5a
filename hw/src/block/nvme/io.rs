//! The commands of the namespace: chapter 6, "NVM Command Set".

use super::command::{Command, EVERY_NAMESPACE, NAMESPACE, Status};
use super::identify::{BLOCK, TRANSFER_MAX};
use super::prp::Regions;
use super::{Flying, command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vm::blockdev::{BlockDev, BlockError};
use vm::ram::DmaMemory;

// 6.1, "Overview": opcodes.
pub(super) const FLUSH: u8 = 0x00;
pub(super) const WRITE: u8 = 0x01;
pub(super) const READ: u8 = 0x02;
pub(super) const WRITE_ZEROES: u8 = 0x08;
pub(super) const DATASET_MANAGEMENT: u8 = 0x09;

/// CDW12 of reads and writes: force unit access.
const FUA: u32 = 1 << 30;
/// CDW11 of dataset management: deallocate.
const DEALLOCATE: u32 = 1 << 2;
/// Bytes of a range of dataset management.
const RANGE_LEN: usize = 16;

/// What the thread does.
pub(super) struct Job {
    command: Command,
    memory: Arc<DmaMemory>,
    durable: bool,
}

impl Job {
    pub fn new(flying: &Flying, memory: Arc<DmaMemory>) -> Self {
        Self { command: flying.command.clone(), memory, durable: flying.durable }
    }
}

/// The namespace.
pub(super) struct Disk {
    pub dev: Arc<dyn BlockDev>,
    /// Set while commands are to end early because their result is not wanted any more.
    pub cancel: Arc<AtomicBool>,
}

/// The status that the host's failure becomes.
fn failed(error: BlockError, otherwise: Status) -> Status {
    vm::log!(GuestError, "nvme: command failed: {error}");
    match error {
        BlockError::OutOfRange { .. } => Status::LBA_OUT_OF_RANGE,
        BlockError::ReadOnly => Status::WRITE_PROTECTED,
        BlockError::Io(_) => otherwise,
    }
}

impl Disk {
    /// Carries out a command.
    pub fn execute(&self, job: &Job, bounce: &mut Vec<u8>) -> Status {
        self.run(job, bounce).err().unwrap_or(Status::SUCCESS)
    }

    fn run(&self, job: &Job, bounce: &mut Vec<u8>) -> Result<(), Status> {
        let command = &job.command;
        if command.is_odd() {
            return Err(Status::INVALID_FIELD);
        }
        let opcode = command.opcode();
        let all = opcode == FLUSH && command.namespace() == EVERY_NAMESPACE;
        if command.namespace() != NAMESPACE && !all {
            return Err(Status::INVALID_NAMESPACE);
        }
        match opcode {
            FLUSH => self.flush(),
            READ => {
                let (offset, len) = self.place(command)?;
                let regions = Regions::new(command, len as u64, &job.memory)?;
                let data = room(bounce, len);
                self.dev.read_at(offset, data).map_err(|e| failed(e, Status::UNRECOVERED_READ))?;
                regions.write(&job.memory, data)
            }
            WRITE => {
                let (offset, len) = self.place(command)?;
                let regions = Regions::new(command, len as u64, &job.memory)?;
                let data = room(bounce, len);
                regions.read(&job.memory, data)?;
                self.writable()?;
                self.dev.write_at(offset, data).map_err(|e| failed(e, Status::WRITE_FAULT))?;
                self.finish(job)
            }
            WRITE_ZEROES => {
                self.writable()?;
                let (offset, len) = self.range(command.first_block(), command.blocks())?;
                self.dev.write_zeroes(offset, len).map_err(|e| failed(e, Status::WRITE_FAULT))?;
                self.finish(job)
            }
            DATASET_MANAGEMENT => self.dataset(job, bounce),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    fn writable(&self) -> Result<(), Status> {
        if self.dev.read_only() { Err(Status::WRITE_PROTECTED) } else { Ok(()) }
    }

    fn flush(&self) -> Result<(), Status> {
        self.dev.flush().map_err(|e| failed(e, Status::WRITE_FAULT))
    }

    /// Makes a write durable if it is to be.
    fn finish(&self, job: &Job) -> Result<(), Status> {
        if job.durable || job.command.word::<12>() & FUA != 0 { self.flush() } else { Ok(()) }
    }

    /// Byte position and length of `blocks` blocks from `first` on.
    fn range(&self, first: u64, blocks: u64) -> Result<(u64, u64), Status> {
        let offset = first.checked_mul(BLOCK).ok_or(Status::LBA_OUT_OF_RANGE)?;
        let len = blocks.checked_mul(BLOCK).ok_or(Status::LBA_OUT_OF_RANGE)?;
        self.dev.check_range(offset, len).map_err(|_| Status::LBA_OUT_OF_RANGE)?;
        Ok((offset, len))
    }

    /// Those of a command that transfers them.
    fn place(&self, command: &Command) -> Result<(u64, usize), Status> {
        let (first, blocks) = (command.first_block(), command.blocks());
        if blocks * BLOCK > TRANSFER_MAX {
            return Err(Status::INVALID_FIELD);
        }
        let (offset, len) = self.range(first, blocks)?;
        Ok((offset, len as usize))
    }

    /// 6.7, "Dataset Management command". What it only hints at is of no use here.
    fn dataset(&self, job: &Job, bounce: &mut Vec<u8>) -> Result<(), Status> {
        let command = &job.command;
        let count = (command.word::<10>() & 0xff) as usize + 1;
        let regions = Regions::new(command, (count * RANGE_LEN) as u64, &job.memory)?;
        let bytes = room(bounce, count * RANGE_LEN);
        regions.read(&job.memory, bytes)?;
        if command.word::<11>() & DEALLOCATE == 0 {
            return Ok(());
        }
        self.writable()?;
        let mut ranges = Vec::with_capacity(count);
        for range in bytes.as_chunks::<RANGE_LEN>().0 {
            let [_, _, _, _, n0, n1, n2, n3, first @ ..] = *range;
            let blocks = u32::from_le_bytes([n0, n1, n2, n3]);
            ranges.push(self.range(u64::from_le_bytes(first), blocks.into())?);
        }
        for (offset, len) in ranges.into_iter().filter(|(_, len)| *len != 0) {
            if self.cancel.load(Ordering::Acquire) {
                return Err(Status::INTERNAL_ERROR);
            }
            self.dev.discard(offset, len).map_err(|e| failed(e, Status::INTERNAL_ERROR))?;
        }
        Ok(())
    }
}

/// The first `len` bytes of a buffer that grows as it must.
fn room(bounce: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if bounce.len() < len {
        bounce.resize(len, 0);
    }
    bounce.get_mut(..len).unwrap_or_default()
}

/// Bytes that a command reads or writes, for the statistics.
pub(super) fn transferred(command: &command::Command) -> u64 {
    command.blocks() * BLOCK
}
