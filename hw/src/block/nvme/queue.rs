//! Queues in guest memory: 4.1, "Submission Queue & Completion Queue Definition".

use super::command::{COMMAND_LEN, COMPLETION_LEN, Command, Completion};
use super::{FLYING_MAX, IO_QUEUES};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use vm::ram::DmaMemory;
use vm_memory::{Bytes, GuestAddress};

/// Entries of the admin queues at most, which have more than those for I/O.
const ADMIN_ENTRIES_MAX: u32 = 4096;
/// Completions that wait for room at most: all that can be under way.
const WAITING_MAX: usize = 2 * FLYING_MAX;

/// A submission queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubmissionQueue {
    base: u64,
    entries: u32,
    head: u32,
    tail: u32,
    /// Identifier of its completion queue.
    pub completion: u16,
}

impl SubmissionQueue {
    /// `entries` (2 to 4096) at `base`.
    pub fn new(base: u64, entries: u32, completion: u16) -> Self {
        Self { base, entries, head: 0, tail: 0, completion }
    }

    pub fn is_valid(&self) -> bool {
        (2..=ADMIN_ENTRIES_MAX).contains(&self.entries) && self.head < self.entries && self.tail < self.entries
    }

    pub fn head(&self) -> u16 {
        self.head as u16
    }

    /// The host has written the tail; false if it cannot be.
    pub fn set_tail(&mut self, tail: u32) -> bool {
        let possible = tail < self.entries;
        if possible {
            self.tail = tail;
        }
        possible
    }

    /// Takes the oldest entry, if there is one; `None` inside when the queue is not in RAM.
    pub fn take(&mut self, memory: &DmaMemory) -> Option<Option<Command>> {
        if self.head == self.tail {
            return None;
        }
        let at = self.base.checked_add(u64::from(self.head) * COMMAND_LEN as u64);
        let mut bytes = [0; COMMAND_LEN];
        let read = at.and_then(|at| memory.read_slice(&mut bytes, GuestAddress(at)).ok());
        self.head = (self.head + 1) % self.entries.max(1);
        Some(read.map(|()| Command::new(&bytes)))
    }
}

/// A completion queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CompletionQueue {
    base: u64,
    entries: u32,
    head: u32,
    tail: u32,
    /// The phase bit of the next entry, inverted.
    inverted: bool,
    /// Interrupt vector, if it interrupts.
    pub vector: Option<u16>,
    /// Completions for which there is no room yet.
    waiting: VecDeque<Completion>,
}

impl CompletionQueue {
    /// `entries` (2 to 4096) at `base`.
    pub fn new(base: u64, entries: u32, vector: Option<u16>) -> Self {
        Self { base, entries, vector, ..Self::default() }
    }

    pub fn is_valid(&self) -> bool {
        (2..=ADMIN_ENTRIES_MAX).contains(&self.entries)
            && self.head < self.entries
            && self.tail < self.entries
            && self.vector.is_none_or(|vector| vector <= IO_QUEUES)
            && self.waiting.len() <= WAITING_MAX
    }

    fn ahead(&self, of: u32) -> u32 {
        (of + self.entries - self.head) % self.entries.max(1)
    }

    /// The host has written the head; false if that is beyond the tail.
    pub fn set_head(&mut self, head: u32) -> bool {
        let possible = head < self.entries && self.ahead(head) <= self.ahead(self.tail);
        if possible {
            self.head = head;
        }
        possible
    }

    /// Whether the host has not seen all entries.
    pub fn has_entries(&self) -> bool {
        self.head != self.tail
    }

    /// Whether completions wait for room.
    pub fn is_stalled(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn push(&mut self, completion: Completion) {
        self.waiting.push_back(completion);
    }

    /// Writes what waits and has room; whether that was anything, or `None` when the queue is not in RAM.
    pub fn post(&mut self, memory: &DmaMemory) -> Option<bool> {
        let mut posted = false;
        while self.ahead(self.tail) + 1 < self.entries
            && let Some(completion) = self.waiting.pop_front()
        {
            let at = self.base.checked_add(u64::from(self.tail) * COMPLETION_LEN)?;
            let [first, second] = completion.words(!self.inverted);
            memory.store(first.to_le(), GuestAddress(at), Ordering::Relaxed).ok()?;
            memory.store(second.to_le(), GuestAddress(at.checked_add(8)?), Ordering::Release).ok()?;
            self.tail += 1;
            if self.tail == self.entries {
                (self.tail, self.inverted) = (0, !self.inverted);
            }
            posted = true;
        }
        Some(posted)
    }
}
