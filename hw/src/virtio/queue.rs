//! Split virtqueues (2.7) as devices see them. Ring arithmetic and descriptor walking are the `virtio-queue` crate's; here
//! is what it leaves to its user: the saved form, and that nothing malformed comes through.

use crate::virtio::feature;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm::AddressSpace;
use vm::ram::DmaMemory;
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};

/// Descriptors of one chain, whatever tables they are in. Drivers keep to the queue size (2.7.5.3.1), but legacy drivers
/// with indirect tables go beyond.
const CHAIN_MAX: usize = 1024;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT` (2.7.6).
const AVAIL_NO_INTERRUPT: u16 = 1;

/// What is wrong with a ring, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// One queue as the driver configured it, and how far it has been served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRegs {
    /// Descriptors.
    pub size: u16,
    /// The driver has finished setting it up.
    pub ready: bool,
    /// Descriptor table.
    pub desc: u64,
    /// Available ring ("driver area").
    pub avail: u64,
    /// Used ring ("device area").
    pub used: u64,
    /// Legacy: alignment of the used ring.
    pub align: u32,
    /// Available entries whose chains are finished.
    pub next_avail: u16,
    /// Used entries written.
    pub next_used: u16,
}

/// A stretch of guest RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffer {
    address: u64,
    len: u32,
}

/// The readable or the writable half of a chain: a sequence of bytes, all in RAM when the chain was taken.
#[derive(Clone)]
pub struct Buffers {
    memory: Arc<DmaMemory>,
    list: Vec<Buffer>,
    len: u64,
}

impl Buffers {
    fn push(&mut self, buffer: Buffer) {
        self.len += u64::from(buffer.len);
        self.list.push(buffer);
    }

    /// Bytes in all; below 4 GiB.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `each` with the address and the part of `0..len` of every stretch of `offset..offset + len`; `None` when
    /// these are not all there.
    fn walk(
        &self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(GuestAddress, std::ops::Range<usize>) -> Option<()>,
    ) -> Option<()> {
        let (mut skip, mut done) = (offset, 0);
        for buffer in &self.list {
            if done == len {
                break;
            }
            let Some(rest) = u64::from(buffer.len).checked_sub(skip) else {
                skip -= u64::from(buffer.len);
                continue;
            };
            let n = usize::try_from(rest).unwrap_or(usize::MAX).min(len - done);
            if n != 0 {
                each(GuestAddress(buffer.address.checked_add(skip)?), done..done + n)?;
            }
            (skip, done) = (0, done + n);
        }
        (done == len).then_some(())
    }

    /// Copies out the bytes from `offset` on; `None` when there are not that many.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Option<()> {
        self.walk(offset, to.len(), |address, part| self.memory.read_slice(to.get_mut(part)?, address).ok())
    }

    /// Copies bytes in from `offset` on; `None` when there is not that much room.
    pub fn write(&self, offset: u64, from: &[u8]) -> Option<()> {
        self.walk(offset, from.len(), |address, part| self.memory.write_slice(from.get(part)?, address).ok())
    }
}

/// A chain of descriptors that the driver made available: complete, readable before writable, in RAM.
#[derive(Clone)]
pub struct Chain {
    /// Names the chain when it is finished.
    pub head: u16,
    /// What the driver gives.
    pub readable: Buffers,
    /// Where the driver wants its answer.
    pub writable: Buffers,
}

/// The queues of a device while it processes them.
pub struct Rings<'a> {
    queues: &'a mut [QueueRegs],
    sizes: &'static [u16],
    memory: Arc<DmaMemory>,
    features: u64,
    /// Queues whose finished chains the driver is to be told of, one bit each.
    interrupts: u64,
}

impl<'a> Rings<'a> {
    /// The rings `queues`, with at most `sizes` descriptors, in the RAM of `memory`, under the negotiated `features`.
    pub(crate) fn new(
        queues: &'a mut [QueueRegs],
        sizes: &'static [u16],
        memory: &AddressSpace,
        features: u64,
    ) -> Self {
        Self { queues, sizes, memory: memory.dma(), features, interrupts: 0 }
    }

    /// The queues of whose finished chains the driver is to be told by an interrupt, one bit each.
    pub(crate) fn interrupts(&self) -> u64 {
        self.interrupts
    }

    /// The features that the driver accepted.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Descriptors of queue `queue`: as many chains can be under way at a time.
    pub fn size(&self, queue: usize) -> u16 {
        self.queues.get(queue).map_or(0, |regs| regs.size)
    }

    fn event_idx(&self) -> bool {
        self.features & feature::EVENT_IDX != 0
    }

    /// The ring arithmetic for queue `queue`, `ahead` entries after the finished ones; `None` when it is not set up.
    fn ring(&self, queue: usize, ahead: u16) -> Result<Option<Queue>, Malformed> {
        let (Some(regs), Some(&max_size)) = (self.queues.get(queue), self.sizes.get(queue)) else { return Ok(None) };
        if !regs.ready {
            return Ok(None);
        }
        let state = QueueState {
            max_size,
            next_avail: regs.next_avail.wrapping_add(ahead),
            next_used: regs.next_used,
            event_idx_enabled: self.event_idx(),
            size: regs.size,
            ready: true,
            desc_table: regs.desc,
            avail_ring: regs.avail,
            used_ring: regs.used,
        };
        let ring = Queue::try_from(state).map_err(|_| Malformed("queue size or alignment"))?;
        if !ring.is_valid(&*self.memory) {
            return Err(Malformed("rings outside RAM"));
        }
        Ok(Some(ring))
    }

    /// The chain that the driver made available `ahead` entries after the finished ones, if it did.
    ///
    /// # Errors
    /// [`Malformed`], see there.
    pub fn peek(&self, queue: usize, ahead: u16) -> Result<Option<Chain>, Malformed> {
        let Some(mut ring) = self.ring(queue, ahead)? else { return Ok(None) };
        if ahead >= ring.size() {
            return Ok(None);
        }
        let size = ring.size();
        let memory = &*self.memory;
        let next = |ring: &mut Queue| Ok(ring.iter(memory).map_err(|_| Malformed("available index"))?.next());
        let mut found = next(&mut ring)?;
        // 2.7.10: ask for a notification, then look once more, because the driver may not have seen that in time.
        if found.is_none()
            && self.event_idx()
            && ring.enable_notification(memory).map_err(|_| Malformed("used ring"))?
        {
            found = next(&mut ring)?;
        }
        let Some(descriptors) = found else { return Ok(None) };
        let head = descriptors.head_index();
        if head >= size {
            return Err(Malformed("head beyond the descriptor table"));
        }
        let none = || Buffers { memory: self.memory.clone(), list: Vec::new(), len: 0 };
        let mut chain = Chain { head, readable: none(), writable: none() };
        // The walk of the crate ends at whatever is wrong (loops, bad indexes, nested tables, too many bytes), as it does
        // at the end. The difference is that the last descriptor then says that there is another one.
        let mut more = true;
        for (count, descriptor) in descriptors.enumerate() {
            if count >= CHAIN_MAX {
                return Err(Malformed("chain too long"));
            }
            let buffer = Buffer { address: descriptor.addr().0, len: descriptor.len() };
            if buffer.len == 0 {
                return Err(Malformed("buffer of no bytes"));
            }
            let writable = descriptor.is_write_only();
            let access = if writable { Permissions::Write } else { Permissions::Read };
            if !memory.check_range(descriptor.addr(), buffer.len as usize, access) {
                return Err(Malformed("buffer outside RAM"));
            }
            if writable {
                chain.writable.push(buffer);
            } else if chain.writable.is_empty() {
                chain.readable.push(buffer);
            } else {
                return Err(Malformed("readable buffer after a writable one"));
            }
            more = descriptor.has_next();
        }
        if more {
            return Err(Malformed("chain without an end"));
        }
        Ok(Some(chain))
    }

    /// Finishes the oldest unfinished chain, whose `head` this must be: `len` bytes were written to it.
    ///
    /// # Errors
    /// [`Malformed`] when the rings went away.
    pub fn finish(&mut self, queue: usize, head: u16, len: u32) -> Result<(), Malformed> {
        self.finish_all(queue, &[(head, len)])
    }

    /// Finishes the oldest unfinished chains, heads and bytes written in their order, so that the driver sees all of them or
    /// none.
    ///
    /// # Errors
    /// [`Malformed`] when the rings went away.
    pub fn finish_all(&mut self, queue: usize, chains: &[(u16, u32)]) -> Result<(), Malformed> {
        if self.ring(queue, 0)?.is_none() {
            return Err(Malformed("queue closed with work under way"));
        }
        let (event_idx, memory) = (self.event_idx(), self.memory.clone());
        let Some(regs) = self.queues.get_mut(queue) else { return Ok(()) };
        let (gone, size) = (|_| Malformed("used ring"), u64::from(regs.size.max(1)));
        // 2.7.8: flags and index, then entries of eight bytes. The rings lie in RAM, so that no address overflows.
        let used = |offset: u64| GuestAddress(regs.used.wrapping_add(offset));
        let (old, new) = (regs.next_used, regs.next_used.wrapping_add(chains.len() as u16));
        for (n, (head, len)) in chains.iter().enumerate() {
            let at = u64::from(old.wrapping_add(n as u16)) % size;
            let entry = u64::from(*head) | u64::from(*len) << 32;
            memory.write_slice(&entry.to_le_bytes(), used(4 + 8 * at)).map_err(|_| gone(()))?;
        }
        memory.store(new.to_le(), used(2), Ordering::Release).map_err(|_| gone(()))?;
        // 2.7.7.1: the index is visible before the driver's wish about interrupts is read.
        std::sync::atomic::fence(Ordering::SeqCst);
        let avail = |offset: u64| {
            let value = memory.load(GuestAddress(regs.avail.wrapping_add(offset)), Ordering::Relaxed);
            u16::from_le(value.unwrap_or(0))
        };
        let wanted = match event_idx {
            // 2.7.10: whether the entry that the driver waits for is one of these.
            true => new.wrapping_sub(avail(4 + 2 * size)).wrapping_sub(1) < new.wrapping_sub(old),
            false => avail(0) & AVAIL_NO_INTERRUPT == 0,
        };
        regs.next_avail = regs.next_avail.wrapping_add(chains.len() as u16);
        regs.next_used = new;
        if wanted {
            self.interrupts |= 1_u64.checked_shl(queue as u32).unwrap_or(0);
        }
        Ok(())
    }
}
