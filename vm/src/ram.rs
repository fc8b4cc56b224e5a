//! Guest RAM: anonymous memory, mapped once. Nobody shares it, and faults of anonymous memory are the cheapest.
// UNSAFETY: guest RAM is read and written by the guest, devices and the host at the same time; only raw pointers can
// say so. Bounds are checked here before a pointer is made.

#![allow(unsafe_code)]

use crate::addr::Gpa;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use vm_memory::bitmap::{ArcSlice, Bitmap, WithBitmapSlice};
use vm_memory::mmap::{MmapRegion, MmapRegionBuilder};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

/// Bytes of a page, the unit of write protection.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes of a chunk, the unit of code tracking: 64 chunks are a page.
pub const CHUNK_SIZE: u64 = 64;

/// What devices read and write guest memory through (the rust-vmm view).
pub type DmaMemory = GuestMemoryMmap<CodeMap>;

/// RAM could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate {mib} MiB of guest RAM: {why}; ask for less with -m", mib = len >> 20)]
pub struct RamError {
    len: u64,
    why: String,
}

/// Told when bytes that hold translated code were written by someone else than the vCPU that translated them.
pub trait CodeWatch: Send + Sync {
    /// Bytes `range` of the RAM called `ram` changed.
    fn code_written(&self, ram: RamId, range: Range<u64>);
}

/// Identifies a RAM block for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RamId(pub u32);

/// Which chunks of a RAM block hold translated code: bit `n` of word `p` is chunk `n` of page `p`. Writers on any thread
/// consult it after the write, so that data beside code costs no invalidation.
pub struct CodeMap {
    id: RamId,
    pages: Arc<[AtomicU64]>,
    watch: Arc<RwLock<Option<Arc<dyn CodeWatch>>>>,
    /// Of the map of a part of the block: the byte that the part starts with.
    base: u64,
    /// Of the map of a part of the block: the mapping that the part lies in.
    _whole: Option<Arc<MmapRegion<CodeMap>>>,
}

impl CodeMap {
    fn new(id: RamId, len: u64) -> Self {
        let pages = (0..len.div_ceil(PAGE_SIZE)).map(|_| AtomicU64::new(0)).collect();
        Self { id, pages, watch: Arc::default(), base: 0, _whole: None }
    }

    /// The chunk bits of page `page`.
    #[inline]
    pub fn page(&self, page: u64) -> u64 {
        self.pages.get(page as usize).map_or(0, |bits| bits.load(Ordering::Acquire))
    }

    /// Where the chunk bits of page `page` are.
    pub fn word(&self, page: u64) -> Option<&AtomicU64> {
        self.pages.get(page as usize)
    }

    /// Records that the bytes `range`, within one page, hold code.
    pub fn set(&self, range: Range<u64>) {
        if let Some(bits) = self.pages.get((range.start / PAGE_SIZE) as usize) {
            bits.fetch_or(chunk_bits(&range), Ordering::AcqRel);
        }
    }

    /// Forgets the chunks `bits` of page `page`.
    pub fn clear(&self, page: u64, bits: u64) {
        if let Some(word) = self.pages.get(page as usize) {
            word.fetch_and(!bits, Ordering::AcqRel);
        }
    }

    /// Whether a write to `range` touches code.
    #[inline]
    pub fn touches(&self, range: &Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        let (first, last) = (range.start / PAGE_SIZE, (range.end - 1) / PAGE_SIZE);
        (first..=last).any(|page| {
            let bits = self.page(page);
            bits != 0 && {
                let start = range.start.max(page * PAGE_SIZE);
                let end = range.end.min((page + 1) * PAGE_SIZE);
                bits & chunk_bits(&(start..end)) != 0
            }
        })
    }

    /// The map of the part that starts with byte `base` and lies in `whole`, if that is to be kept.
    fn part(&self, base: u64, whole: Option<Arc<MmapRegion<CodeMap>>>) -> Self {
        Self { id: self.id, pages: self.pages.clone(), watch: self.watch.clone(), base, _whole: whole }
    }

    fn notify(&self, range: Range<u64>) {
        if let Some(watch) = self.watch.read().unwrap().as_ref() {
            watch.code_written(self.id, range);
        }
    }
}

/// The chunk bits of `range`, which lies in one page and is not empty.
pub fn chunk_bits(range: &Range<u64>) -> u64 {
    let first = range.start % PAGE_SIZE / CHUNK_SIZE;
    let last = (range.end - 1) % PAGE_SIZE / CHUNK_SIZE;
    (u64::MAX >> (63 - (last - first))) << first
}

impl<'a> WithBitmapSlice<'a> for CodeMap {
    type S = ArcSlice<CodeMap>;
}

impl Bitmap for CodeMap {
    fn mark_dirty(&self, offset: usize, len: usize) {
        let start = self.base.saturating_add(offset as u64);
        let range = start..start.saturating_add(len as u64);
        if self.touches(&range) {
            self.notify(range);
        }
    }
    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }
    fn slice_at(&self, offset: usize) -> ArcSlice<CodeMap> {
        ArcSlice::new(Arc::new(self.part(self.base, None)), offset)
    }
}

/// A block of guest RAM (or of ROM contents). Where it lies in the guest is the address space's business.
pub struct Ram {
    id: RamId,
    map: Arc<MmapRegion<CodeMap>>,
}

impl Ram {
    /// `len` zero bytes, rounded up to whole pages.
    ///
    /// # Errors
    /// When the host refuses the memory.
    pub fn new(len: u64) -> Result<Arc<Ram>, RamError> {
        static IDS: AtomicU32 = AtomicU32::new(1);
        let fail = |why: String| RamError { len, why };
        let len = len.max(1).checked_next_multiple_of(PAGE_SIZE).ok_or_else(|| fail("size overflows".into()))?;
        let size = usize::try_from(len).map_err(|e| fail(e.to_string()))?;
        let id = RamId(IDS.fetch_add(1, Ordering::Relaxed));
        let map = MmapRegionBuilder::new_with_bitmap(size, CodeMap::new(id, len))
            .with_mmap_prot(PROT_READ_WRITE)
            .with_mmap_flags(MAP_PRIVATE_ANONYMOUS_NORESERVE)
            .build()
            .map_err(|e| fail(e.to_string()))?;
        Ok(Arc::new(Ram { id, map: Arc::new(map) }))
    }

    /// Its identity.
    pub fn id(&self) -> RamId {
        self.id
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.map.size() as u64
    }

    /// Never: RAM has at least one page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// First byte on the host. Accesses through it must stay below [`len`](Ram::len) and must be volatile or atomic.
    pub fn host(&self) -> *mut u8 {
        self.map.as_ptr()
    }

    /// Where translated code lies.
    pub fn code(&self) -> &CodeMap {
        self.map.bitmap()
    }

    /// Names who is told of writes to code by devices. One watcher at a time.
    pub fn watch_code(&self, watch: Arc<dyn CodeWatch>) {
        *self.code().watch.write().unwrap() = Some(watch);
    }

    /// Names the watcher unless there is one.
    pub fn watch_code_once(&self, watch: impl FnOnce() -> Arc<dyn CodeWatch>) {
        let watcher = &self.code().watch;
        if watcher.read().unwrap().is_none() {
            *watcher.write().unwrap() = Some(watch());
        }
    }

    fn pointer(&self, offset: u64, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len as u64)?;
        // SAFETY: offset + len lies within the mapping, checked here.
        (end <= self.len()).then(|| unsafe { self.host().add(offset as usize) })
    }

    /// Copies bytes out; `None` when the range leaves the block.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Option<()> {
        let from = self.pointer(offset, buf.len())?;
        // SAFETY: `from` is valid for buf.len() bytes; a torn byte read is no worse than what hardware shows.
        unsafe { std::ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len()) };
        Some(())
    }

    /// Copies bytes in and tells the code watcher; `None` when the range leaves the block.
    pub fn write(&self, offset: u64, buf: &[u8]) -> Option<()> {
        let to = self.pointer(offset, buf.len())?;
        // SAFETY: `to` is valid for buf.len() bytes.
        unsafe { std::ptr::copy_nonoverlapping(buf.as_ptr(), to, buf.len()) };
        self.code().mark_dirty(offset as usize, buf.len());
        Some(())
    }

    /// Gives the whole pages within `range` back to the host and tells the code watcher: they read as zeros from now on.
    /// `None` when the range leaves the block, or the host keeps the pages as they are.
    pub fn discard(&self, range: Range<u64>) -> Option<()> {
        let start = range.start.checked_next_multiple_of(PAGE_SIZE)?;
        let end = range.end / PAGE_SIZE * PAGE_SIZE;
        let Some(len) = end.checked_sub(start).and_then(|len| usize::try_from(len).ok()).filter(|len| *len != 0) else {
            return Some(());
        };
        let at = self.pointer(start, len)?;
        // SAFETY: whole pages of the mapping, which stays as it is; contents of guest RAM may change at any time.
        unsafe { rustix::mm::madvise(at.cast(), len, rustix::mm::Advice::LinuxDontNeed) }.ok()?;
        self.code().mark_dirty(start as usize, len);
        Some(())
    }

    /// One little-endian load of 1, 2, 4 or 8 bytes, single-copy atomic when `offset` is aligned.
    #[inline]
    pub fn load(&self, offset: u64, width: u8) -> Option<u64> {
        let p = self.pointer(offset, usize::from(width))?;
        if !offset.is_multiple_of(u64::from(width)) {
            let mut bytes = [0; 8];
            self.read(offset, bytes.get_mut(..usize::from(width))?)?;
            return Some(u64::from_le_bytes(bytes));
        }
        // SAFETY: in bounds (pointer) and aligned (checked; the mapping is page-aligned).
        unsafe {
            Some(match width {
                1 => AtomicU8::from_ptr(p).load(Ordering::Acquire).into(),
                2 => u16::from_le(AtomicU16::from_ptr(p.cast()).load(Ordering::Acquire)).into(),
                4 => u32::from_le(AtomicU32::from_ptr(p.cast()).load(Ordering::Acquire)).into(),
                8 => u64::from_le(AtomicU64::from_ptr(p.cast()).load(Ordering::Acquire)),
                _ => return None,
            })
        }
    }

    /// One little-endian store of 1, 2, 4 or 8 bytes, single-copy atomic when `offset` is aligned; tells the code
    /// watcher.
    #[inline]
    pub fn store(&self, offset: u64, width: u8, value: u64) -> Option<()> {
        let p = self.pointer(offset, usize::from(width))?;
        if !offset.is_multiple_of(u64::from(width)) {
            return self.write(offset, value.to_le_bytes().get(..usize::from(width))?);
        }
        // SAFETY: in bounds (pointer) and aligned (checked; the mapping is page-aligned).
        unsafe {
            match width {
                1 => AtomicU8::from_ptr(p).store(value as u8, Ordering::Release),
                2 => AtomicU16::from_ptr(p.cast()).store((value as u16).to_le(), Ordering::Release),
                4 => AtomicU32::from_ptr(p.cast()).store((value as u32).to_le(), Ordering::Release),
                8 => AtomicU64::from_ptr(p.cast()).store(value.to_le(), Ordering::Release),
                _ => return None,
            }
        }
        self.code().mark_dirty(offset as usize, usize::from(width));
        Some(())
    }

    /// Replaces an aligned little-endian number of 4 or 8 bytes if it is `expected`, atomically, and tells the code watcher;
    /// gives what it held. `None` when the range leaves the block or is not aligned.
    pub fn exchange(&self, offset: u64, width: u8, expected: u64, new: u64) -> Option<u64> {
        let p = self.pointer(offset, usize::from(width))?;
        if !offset.is_multiple_of(u64::from(width)) {
            return None;
        }
        let (success, failure) = (Ordering::SeqCst, Ordering::Acquire);
        // SAFETY: in bounds (pointer) and aligned (checked; the mapping is page-aligned).
        let old = unsafe {
            match width {
                4 => {
                    let (expected, new) = ((expected as u32).to_le(), (new as u32).to_le());
                    let done = AtomicU32::from_ptr(p.cast()).compare_exchange(expected, new, success, failure);
                    u32::from_le(done.unwrap_or_else(|old| old)).into()
                }
                8 => {
                    let (expected, new) = (expected.to_le(), new.to_le());
                    let done = AtomicU64::from_ptr(p.cast()).compare_exchange(expected, new, success, failure);
                    u64::from_le(done.unwrap_or_else(|old| old))
                }
                _ => return None,
            }
        };
        if old == expected {
            self.code().mark_dirty(offset as usize, usize::from(width));
        }
        Some(old)
    }

    /// This block as a region of the rust-vmm view, at guest-physical `gpa`.
    pub fn region(&self, gpa: Gpa) -> Option<Arc<GuestRegionMmap<CodeMap>>> {
        GuestRegionMmap::with_arc(self.map.clone(), GuestAddress(gpa.0)).map(Arc::new)
    }

    /// The bytes `range` of this block as a region of the rust-vmm view, at guest-physical `gpa`; `None` when they are not
    /// whole pages of it.
    pub fn part(&self, gpa: Gpa, range: Range<u64>) -> Option<Arc<GuestRegionMmap<CodeMap>>> {
        if range == (0..self.len()) {
            return self.region(gpa);
        }
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok().filter(|len| *len != 0)?;
        let start = self.pointer(range.start, len)?;
        let code = self.code().part(range.start, Some(self.map.clone()));
        // SAFETY: `start` is valid for `len` bytes of a mapping that lives as long as `code`, which is part of the region.
        let builder = unsafe { MmapRegionBuilder::new_with_bitmap(len, code).with_raw_mmap_pointer(start) };
        let map =
            builder.with_mmap_prot(PROT_READ_WRITE).with_mmap_flags(MAP_PRIVATE_ANONYMOUS_NORESERVE).build().ok()?;
        GuestRegionMmap::new(map, GuestAddress(gpa.0)).map(Arc::new)
    }
}

/// `PROT_READ | PROT_WRITE` and `MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE` as the builder takes them.
const PROT_READ_WRITE: i32 = 0x1 | 0x2;
const MAP_PRIVATE_ANONYMOUS_NORESERVE: i32 = 0x02 | 0x20 | 0x4000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Seen(Mutex<Vec<Range<u64>>>);
    impl CodeWatch for Seen {
        fn code_written(&self, _: RamId, range: Range<u64>) {
            self.0.lock().unwrap().push(range);
        }
    }

    #[test]
    fn discarded_pages_are_zeros() {
        let ram = Ram::new(4 * PAGE_SIZE).unwrap();
        ram.write(0, &[7; 4 * PAGE_SIZE as usize]).unwrap();
        let seen = Arc::new(Seen(Mutex::default()));
        ram.watch_code(seen.clone());
        ram.code().set(2 * PAGE_SIZE..2 * PAGE_SIZE + 4);
        assert_eq!(ram.discard(PAGE_SIZE - 1..3 * PAGE_SIZE + 5), Some(()));
        let firsts = [0, 1, 2, 3].map(|page| ram.load(page * PAGE_SIZE, 1).unwrap());
        assert_eq!(firsts, [7, 0, 0, 7]);
        assert_eq!(*seen.0.lock().unwrap(), std::slice::from_ref(&(PAGE_SIZE..3 * PAGE_SIZE)));
        assert_eq!(ram.discard(1..PAGE_SIZE), Some(()), "no whole page");
        assert_eq!((ram.load(0, 1), ram.discard(0..5 * PAGE_SIZE)), (Some(7), None));
        assert_eq!(ram.discard(u64::MAX - 1..u64::MAX), None);
    }

    #[test]
    fn accesses_stay_inside_and_only_code_chunks_notify() {
        let ram = Ram::new(5000).unwrap();
        assert_eq!(ram.len(), 8192);
        assert_eq!(ram.store(8190, 4, 1), None);
        assert_eq!(ram.load(u64::MAX - 1, 4), None);
        assert_eq!(ram.store(8185, 4, 0x1234_5678), Some(()));
        assert_eq!((ram.load(8185, 4), ram.load(8188, 1)), (Some(0x1234_5678), Some(0x12)));
        let seen = Arc::new(Seen(Mutex::default()));
        ram.watch_code(seen.clone());
        ram.code().set(4096..4100);
        ram.store(4096 + 64, 8, 1);
        ram.store(4092, 4, 1);
        assert_eq!(*seen.0.lock().unwrap(), []);
        ram.store(4094, 4, 1);
        ram.write(0, &[0; 5000]);
        assert_eq!(*seen.0.lock().unwrap(), [4094..4098, 0..5000]);
        assert_eq!(
            (ram.exchange(4096, 4, 7, 8), ram.exchange(4097, 4, 7, 8), ram.exchange(8192, 8, 7, 8)),
            (Some(0), None, None)
        );
        assert_eq!(seen.0.lock().unwrap().len(), 2);
        assert_eq!(
            (ram.exchange(4096, 4, 0, 8), ram.exchange(4096, 8, 8, 9), ram.load(4096, 8)),
            (Some(0), Some(8), Some(9))
        );
        assert_eq!(seen.0.lock().unwrap().len(), 4);
        seen.0.lock().unwrap().truncate(2);
        ram.code().clear(1, chunk_bits(&(4096..4097)));
        ram.store(4096, 4, 1);
        assert_eq!(seen.0.lock().unwrap().len(), 2);
    }
}
