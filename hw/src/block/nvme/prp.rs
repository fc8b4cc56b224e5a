//! Where the data of a command is: 4.3, "Physical Region Page Entry and List".

use super::PAGE;
use super::command::{Command, Status};
use vm::ram::DmaMemory;
use vm_memory::{Bytes, GuestAddress};

/// Bytes of an entry of a list.
const ENTRY_LEN: u64 = 8;

/// Stretches of guest memory, none longer than a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Regions(Vec<(u64, usize)>);

impl Regions {
    /// The `len` bytes that a command names; its cost is bounded by them.
    ///
    /// # Errors
    /// Entries with offsets where there may be none, or a list outside RAM.
    pub fn new(command: &Command, len: u64, memory: &DmaMemory) -> Result<Self, Status> {
        let (first, second) = (command.prp1(), command.prp2());
        // Offsets are multiples of 4.
        if first & 3 != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let mut regions = Vec::with_capacity((len / PAGE) as usize + 2);
        let mut left = len;
        let mut push = |at: u64, left: &mut u64| {
            let n = (PAGE - at % PAGE).min(*left);
            regions.push((at, n as usize));
            *left -= n;
        };
        push(first, &mut left);
        if left == 0 {
            return Ok(Self(regions));
        }
        if left <= PAGE {
            page(second)?;
            push(second, &mut left);
            return Ok(Self(regions));
        }
        // The first list may begin within a page; the last entry of a page leads to the next list, which may not, so that
        // each further list has something to give.
        let mut at = second;
        if at % ENTRY_LEN != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        while left != 0 {
            let entry = entry(memory, at)?;
            page(entry)?;
            if at % PAGE == PAGE - ENTRY_LEN && left > PAGE {
                at = entry;
                continue;
            }
            push(entry, &mut left);
            at = at.wrapping_add(ENTRY_LEN);
        }
        Ok(Self(regions))
    }

    /// Copies out the first `to.len()` bytes.
    pub fn read(&self, memory: &DmaMemory, to: &mut [u8]) -> Result<(), Status> {
        let mut rest = to;
        for (at, len) in &self.0 {
            let (part, after) = rest.split_at_mut((*len).min(rest.len()));
            memory.read_slice(part, GuestAddress(*at)).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            rest = after;
        }
        Ok(())
    }

    /// Copies in `from`, which is not longer than the regions.
    pub fn write(&self, memory: &DmaMemory, from: &[u8]) -> Result<(), Status> {
        let mut rest = from;
        for (at, len) in &self.0 {
            let (part, after) = rest.split_at((*len).min(rest.len()));
            memory.write_slice(part, GuestAddress(*at)).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            rest = after;
        }
        Ok(())
    }
}

/// Expects an entry without an offset.
fn page(entry: u64) -> Result<(), Status> {
    if entry.is_multiple_of(PAGE) { Ok(()) } else { Err(Status::PRP_OFFSET_INVALID) }
}

fn entry(memory: &DmaMemory, at: u64) -> Result<u64, Status> {
    let mut bytes = [0; ENTRY_LEN as usize];
    memory.read_slice(&mut bytes, GuestAddress(at)).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
    Ok(u64::from_le_bytes(bytes))
}
