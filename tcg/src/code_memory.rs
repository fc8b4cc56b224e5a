//! Host code: one memfd mapped twice, writable here and executable there, so that no page is ever both.
// UNSAFETY: maps memory and writes machine code into it.

#![allow(unsafe_code)]

use crate::cache::KeyHasher;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::c_void;
use std::hash::BuildHasherDefault;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};

/// Bytes that the host is asked to provide at once: one page at a time would cost a fault for each.
const STEP: usize = 1 << 18;
/// Alignment of functions.
const ALIGN: usize = 32;

/// An arena of executable memory.
pub struct CodeMemory {
    write: *mut u8,
    execute: *mut u8,
    size: usize,
    /// Free stretches: lengths by offset, and lengths with offsets.
    free: BTreeMap<usize, usize>,
    free_by_len: BTreeSet<(usize, usize)>,
    /// Lengths of stretches in use by entry address.
    used: HashMap<u64, usize, BuildHasherDefault<KeyHasher>>,
    /// Bytes in use, and the most that ever were.
    in_use: usize,
    peak: usize,
    /// What lies below this has been provided by the host.
    provided: usize,
}

/// How full code memory is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In use now.
    pub used: u64,
    /// In use at most so far.
    pub peak: u64,
    /// In all.
    pub size: u64,
}

impl std::ops::Add for Usage {
    type Output = Usage;
    fn add(self, other: Usage) -> Usage {
        Usage { used: self.used + other.used, peak: self.peak + other.peak, size: self.size + other.size }
    }
}

// SAFETY: the mappings belong to this value alone; code in them is only run through entries it gave out.
unsafe impl Send for CodeMemory {}

impl CodeMemory {
    /// An empty arena of `size` bytes; only what is used takes host memory.
    ///
    /// # Errors
    /// When the host refuses the mappings.
    pub fn new(size: usize) -> rustix::io::Result<Self> {
        let size = size.next_multiple_of(4096).max(4096);
        let fd = memfd_create("mimic-code", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, size as u64)?;
        let map = |prot| {
            // SAFETY: a fresh mapping at an address that the kernel chooses.
            unsafe { mmap(null_mut(), size, prot, MapFlags::SHARED, &fd, 0) }
        };
        let write = map(ProtFlags::READ | ProtFlags::WRITE)?;
        let execute = match map(ProtFlags::READ | ProtFlags::EXEC) {
            Ok(execute) => execute,
            Err(error) => {
                // SAFETY: `write` was mapped above and is used nowhere else.
                unsafe { munmap(write, size) }?;
                return Err(error);
            }
        };
        Ok(Self {
            write: write.cast(),
            execute: execute.cast(),
            size,
            free: BTreeMap::from([(0, size)]),
            free_by_len: BTreeSet::from([(size, 0)]),
            used: HashMap::default(),
            in_use: 0,
            peak: 0,
            provided: 0,
        })
    }

    /// Places a function; gives its entry, or `None` when there is no room.
    pub fn place(&mut self, code: &[u8]) -> Option<u64> {
        let entry = self.reserve(code.len())?;
        self.fill(entry, code);
        Some(entry)
    }

    /// Sets memory for a function of `len` bytes aside; gives its entry, or `None` when there is no room.
    pub fn reserve(&mut self, len: usize) -> Option<u64> {
        let len = len.max(1).next_multiple_of(ALIGN);
        let &(room, at) = self.free_by_len.range((len, 0)..).next()?;
        self.take_free(at, room);
        if room > len {
            self.add_free(at + len, room - len);
        }
        if at + len > self.provided {
            self.provide(at + len);
        }
        let entry = self.execute as u64 + at as u64;
        self.used.insert(entry, len);
        self.in_use += len;
        self.peak = self.peak.max(self.in_use);
        Some(entry)
    }

    fn take_free(&mut self, at: usize, room: usize) {
        self.free.remove(&at);
        self.free_by_len.remove(&(room, at));
    }

    fn add_free(&mut self, at: usize, room: usize) {
        self.free.insert(at, room);
        self.free_by_len.insert((room, at));
    }

    /// Lets the host provide the memory below `end` and a little more. A host that cannot does it page by page later.
    fn provide(&mut self, end: usize) {
        let end = end.next_multiple_of(STEP).min(self.size);
        for (map, how) in [(self.write, Advice::LinuxPopulateWrite), (self.execute, Advice::LinuxPopulateRead)] {
            // SAFETY: the stretch lies in the mappings; the advice changes nothing that a program could see.
            let _ = unsafe { madvise(map.add(self.provided).cast(), end - self.provided, how) };
        }
        self.provided = end;
    }

    /// Writes a function to the memory that was reserved for it at `entry`.
    ///
    /// # Panics
    /// When that is too small: the caller's bug.
    pub fn fill(&mut self, entry: u64, code: &[u8]) {
        let reserved = self.used.get(&entry).copied().unwrap_or(0);
        assert!(code.len() <= reserved, "a function is as long as was said when its memory was reserved");
        let at = (entry - self.execute as u64) as usize;
        // SAFETY: the stretch lies inside the mapping and is in use by nobody else.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), self.write.add(at), code.len()) };
    }

    /// Gives a function's memory back. Nobody may run it any more.
    pub fn free(&mut self, entry: u64) {
        let Some(mut len) = self.used.remove(&entry) else { return };
        self.in_use -= len;
        let mut at = entry as usize - self.execute as usize;
        if let Some(&after) = self.free.get(&(at + len)) {
            self.take_free(at + len, after);
            len += after;
        }
        if let Some((&before, &room)) = self.free.range(..at).next_back()
            && before + room == at
        {
            self.take_free(before, room);
            at = before;
            len += room;
        }
        self.add_free(at, len);
    }

    /// What changes jumps of code in it.
    pub fn patcher(&self) -> Patcher {
        Patcher { writable: (self.write as u64).wrapping_sub(self.execute as u64) }
    }

    /// Bytes in all.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> usize {
        self.in_use
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        Usage { used: self.in_use as u64, peak: self.peak as u64, size: self.size as u64 }
    }
}

/// Changes jumps of code that may be running.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patcher {
    /// How far from the code the same bytes are writable.
    writable: u64,
}

impl Patcher {
    /// Sets the distance of the jump that ends at `end`. Whoever runs it at the time goes the old way or the new one.
    ///
    /// # Safety
    /// The jump is in code of the arena that this was made for, which is in use; its distance is aligned to 4 bytes.
    pub unsafe fn set_distance(self, end: u64, distance: i32) {
        let cell = (end - 4).wrapping_add(self.writable) as *mut i32;
        // SAFETY: the caller's promise. Others read it by executing it, and one aligned store is never seen in halves.
        unsafe { AtomicI32::from_ptr(cell) }.store(distance, Ordering::Release);
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        for map in [self.write, self.execute] {
            // SAFETY: mapped in `new` with this size; a failure leaves the mapping, which harms nobody.
            let _ = unsafe { munmap(map.cast::<c_void>(), self.size) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_reused_and_joined() {
        let mut memory = CodeMemory::new(4096).unwrap();
        let all: Vec<u64> = std::iter::from_fn(|| memory.place(&[0xc3; 100])).collect();
        assert_eq!((all.len(), memory.usage()), (32, Usage { used: 4096, peak: 4096, size: 4096 }));
        for entry in &all {
            memory.free(*entry);
        }
        assert_eq!((memory.usage().used, memory.usage().peak, memory.free.len()), (0, 4096, 1));
        assert_eq!(memory.free_by_len.len(), 1);
        assert_eq!(memory.free.values().sum::<usize>(), 4096);
        let entry = memory.place(&[0xc3; 4096]).unwrap();
        assert_eq!(memory.place(&[0xc3]), None);
        memory.free(entry);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn placed_code_runs() {
        let mut memory = CodeMemory::new(4096).unwrap();
        // mov eax, 42; ret
        let entry = memory.place(&[0xb8, 42, 0, 0, 0, 0xc3]).unwrap();
        // SAFETY: the six bytes are a function without arguments.
        let f = unsafe { std::mem::transmute::<u64, extern "C" fn() -> u32>(entry) };
        assert_eq!(f(), 42);
    }
}
