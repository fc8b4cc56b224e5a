//! The guest-physical address space: which RAM, ROM or device answers at an address.
//!
//! Regions overlap by priority. Every change builds a new [`FlatView`] (sorted spans without overlaps) and raises the
//! generation, by which vCPUs notice that their TLBs are stale. Readers never wait for writers.

use crate::addr::Gpa;
use crate::device::{Access, BusError, MmioPort};
use crate::ram::{DmaMemory, Ram};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// What answers in a region.
#[derive(Clone)]
pub enum Backing {
    /// Memory, from byte `offset` of the block on.
    Ram { ram: Arc<Ram>, offset: u64 },
    /// Memory that is only read; writes go to `writes` if it is there (flash chips) and are errors otherwise.
    Rom { ram: Arc<Ram>, offset: u64, writes: Option<(Arc<dyn MmioPort>, u8)> },
    /// Window `window` of a device, from byte `offset` of it on.
    Mmio { port: Arc<dyn MmioPort>, window: u8, offset: u64 },
    /// The same as what is at this address.
    Alias(Gpa),
}

impl Backing {
    fn advanced(&self, by: u64) -> Backing {
        let mut backing = self.clone();
        match &mut backing {
            Backing::Ram { offset, .. } | Backing::Rom { offset, .. } | Backing::Mmio { offset, .. } => *offset += by,
            Backing::Alias(to) => to.0 = to.0.wrapping_add(by),
        }
        backing
    }

    fn kind(&self) -> &'static str {
        match self {
            Backing::Ram { .. } => "ram",
            Backing::Rom { .. } => "rom",
            Backing::Mmio { .. } => "mmio",
            Backing::Alias(_) => "alias",
        }
    }
}

/// A region of the address space.
#[derive(Clone)]
pub struct Mapping {
    /// Shown by dumps.
    pub name: String,
    /// First byte.
    pub gpa: Gpa,
    /// Size in bytes, not zero.
    pub len: u64,
    /// Where regions overlap, the highest priority is visible.
    pub priority: i32,
    /// What answers.
    pub backing: Backing,
}

/// Names a mapping so that it can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappingId(u64);

/// Why a region cannot be mapped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Two regions of one priority overlap.
    #[error("`{new}` at {at} overlaps `{old}`")]
    Overlap { new: String, old: String, at: Gpa },
    /// Size zero or past the end of the address space.
    #[error("`{name}` at {at} has the impossible size {len:#x}")]
    Size { name: String, at: Gpa, len: u64 },
}

/// A stretch of addresses with one visible backing (never an alias).
#[derive(Clone)]
pub struct Span {
    /// First byte.
    pub start: Gpa,
    /// Last byte (inclusive, so that a span can end at the top of the space).
    pub last: Gpa,
    /// What answers, its offset being that of `start`.
    pub backing: Backing,
    name: Arc<str>,
}

/// The address space as it is at one moment.
#[derive(Default)]
pub struct FlatView {
    spans: Vec<Span>,
    dma: Arc<DmaMemory>,
    /// Raised with every change.
    pub generation: u64,
}

impl FlatView {
    /// The span that holds `gpa`.
    #[inline]
    pub fn find(&self, gpa: Gpa) -> Option<&Span> {
        let index = self.spans.partition_point(|span| span.last < gpa);
        self.spans.get(index).filter(|span| span.start <= gpa)
    }

    /// All spans in order of address.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// One load of `width` (1, 2, 4, 8) bytes. It must not leave the span it starts in.
    ///
    /// # Errors
    /// [`BusError`] when nothing or something unable answers.
    pub fn load(&self, gpa: Gpa, width: u8) -> Result<u64, BusError> {
        let span = self.find(gpa).ok_or(BusError::NoDevice)?;
        let into = gpa.0 - span.start.0;
        match &span.backing {
            Backing::Ram { ram, offset } | Backing::Rom { ram, offset, .. } => {
                ram.load(offset + into, width).ok_or(BusError::NoDevice)
            }
            Backing::Mmio { port, window, offset } => {
                port.read(Access { window: *window, offset: offset + into, width })
            }
            Backing::Alias(_) => Err(BusError::NoDevice),
        }
    }

    /// One store of `width` (1, 2, 4, 8) bytes. It must not leave the span it starts in.
    ///
    /// # Errors
    /// [`BusError`] when nothing or something unable answers.
    pub fn store(&self, gpa: Gpa, width: u8, value: u64) -> Result<(), BusError> {
        let span = self.find(gpa).ok_or(BusError::NoDevice)?;
        let into = gpa.0 - span.start.0;
        match &span.backing {
            Backing::Ram { ram, offset } => ram.store(offset + into, width, value).ok_or(BusError::NoDevice),
            Backing::Rom { offset, writes: Some((port, window)), .. } => {
                port.write(Access { window: *window, offset: offset + into, width }, value)
            }
            Backing::Mmio { port, window, offset } => {
                port.write(Access { window: *window, offset: offset + into, width }, value)
            }
            Backing::Rom { .. } | Backing::Alias(_) => Err(BusError::NoDevice),
        }
    }

    /// Replaces a number in RAM if it is `expected`: see [`Ram::exchange`]. `None` where there is no RAM.
    pub fn exchange(&self, gpa: Gpa, width: u8, expected: u64, new: u64) -> Option<u64> {
        let span = self.find(gpa)?;
        match &span.backing {
            Backing::Ram { ram, offset } => ram.exchange(offset + (gpa.0 - span.start.0), width, expected, new),
            _ => None,
        }
    }
}

/// The guest-physical address space of a machine.
#[derive(Default)]
pub struct AddressSpace {
    mappings: Mutex<BTreeMap<MappingId, Mapping>>,
    view: RwLock<Arc<FlatView>>,
    generation: AtomicU64,
    ids: AtomicU64,
    watchers: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl AddressSpace {
    /// An address space where nothing answers.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a region.
    ///
    /// # Errors
    /// [`MapError`] when it overlaps a region of the same priority or has no possible size.
    pub fn map(&self, mapping: Mapping) -> Result<MappingId, MapError> {
        let mut mappings = self.mappings.lock().unwrap();
        let last = |m: &Mapping| m.gpa.0.checked_add(m.len.checked_sub(1)?);
        let Some(new_last) = last(&mapping) else {
            return Err(MapError::Size { name: mapping.name, at: mapping.gpa, len: mapping.len });
        };
        for old in mappings.values().filter(|old| old.priority == mapping.priority) {
            if old.gpa.0 <= new_last && last(old).is_some_and(|old_last| mapping.gpa.0 <= old_last) {
                let at = mapping.gpa.max(old.gpa);
                return Err(MapError::Overlap { new: mapping.name, old: old.name.clone(), at });
            }
        }
        let id = MappingId(self.ids.fetch_add(1, Ordering::Relaxed));
        mappings.insert(id, mapping);
        self.rebuild(&mappings);
        Ok(id)
    }

    /// Removes a region.
    pub fn unmap(&self, id: MappingId) {
        let mut mappings = self.mappings.lock().unwrap();
        if mappings.remove(&id).is_some() {
            self.rebuild(&mappings);
        }
    }

    /// Gives a region another backing, as a flash chip does when it enters command mode.
    pub fn set_backing(&self, id: MappingId, backing: Backing) {
        let mut mappings = self.mappings.lock().unwrap();
        if let Some(mapping) = mappings.get_mut(&id) {
            mapping.backing = backing;
            self.rebuild(&mappings);
        }
    }

    /// Calls `watcher` after every change, before the changer goes on.
    pub fn on_change(&self, watcher: Box<dyn Fn() + Send + Sync>) {
        self.watchers.write().unwrap().push(watcher);
    }

    /// The space as it is now.
    pub fn view(&self) -> Arc<FlatView> {
        self.view.read().unwrap().clone()
    }

    /// Number of changes so far.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// RAM as devices see it.
    pub fn dma(&self) -> Arc<DmaMemory> {
        self.view.read().unwrap().dma.clone()
    }

    /// Reads bytes from RAM, ROM or, byte by byte, devices.
    ///
    /// # Errors
    /// [`BusError`] of the first byte that cannot be read.
    pub fn read(&self, gpa: Gpa, buf: &mut [u8]) -> Result<(), BusError> {
        let view = self.view();
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = gpa.checked_add(done as u64).ok_or(BusError::NoDevice)?;
            let span = view.find(at).ok_or(BusError::NoDevice)?;
            let n = rest.len().min(usize::try_from(span.last.0 - at.0).unwrap_or(usize::MAX).saturating_add(1));
            match &span.backing {
                Backing::Ram { ram, offset } | Backing::Rom { ram, offset, .. } => {
                    ram.read(offset + (at.0 - span.start.0), &mut rest[..n]).ok_or(BusError::NoDevice)?;
                    done += n;
                }
                _ => {
                    rest[0] = view.load(at, 1)? as u8;
                    done += 1;
                }
            }
        }
        Ok(())
    }

    /// Writes bytes to RAM, ROM contents (for loaders and debuggers) or, byte by byte, devices.
    ///
    /// # Errors
    /// [`BusError`] of the first byte that cannot be written; the bytes before it are.
    pub fn write(&self, gpa: Gpa, buf: &[u8]) -> Result<(), BusError> {
        let view = self.view();
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            let at = gpa.checked_add(done as u64).ok_or(BusError::NoDevice)?;
            let span = view.find(at).ok_or(BusError::NoDevice)?;
            let n = rest.len().min(usize::try_from(span.last.0 - at.0).unwrap_or(usize::MAX).saturating_add(1));
            match &span.backing {
                Backing::Ram { ram, offset } | Backing::Rom { ram, offset, .. } => {
                    ram.write(offset + (at.0 - span.start.0), &rest[..n]).ok_or(BusError::NoDevice)?;
                    done += n;
                }
                _ => {
                    view.store(at, 1, rest[0].into())?;
                    done += 1;
                }
            }
        }
        Ok(())
    }

    /// The visible spans, one a line, for `info mtree` and tests.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for span in &self.view().spans {
            let _ = writeln!(text, "{:016x}-{:016x} {:4} {}", span.start, span.last, span.backing.kind(), span.name);
        }
        text
    }

    fn rebuild(&self, mappings: &BTreeMap<MappingId, Mapping>) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        let spans = flatten(mappings);
        let mut dma = DmaMemory::new();
        for (gpa, ram, range) in ram_stretches(&spans) {
            if let Some(region) = ram.part(gpa, range)
                && let Ok(with) = dma.insert_region(region)
            {
                dma = with;
            }
        }
        *self.view.write().unwrap() = Arc::new(FlatView { spans, dma: Arc::new(dma), generation });
        self.generation.store(generation, Ordering::Release);
        for watcher in self.watchers.read().unwrap().iter() {
            watcher();
        }
    }
}

/// Where RAM is visible: the address and bytes `range` of a block for each stretch without a gap in either.
fn ram_stretches(spans: &[Span]) -> Vec<(Gpa, Arc<Ram>, Range<u64>)> {
    let mut stretches: Vec<(Gpa, Arc<Ram>, Range<u64>)> = Vec::new();
    for span in spans {
        let Backing::Ram { ram, offset } = &span.backing else { continue };
        let end = offset.saturating_add(span.last.0 - span.start.0).saturating_add(1).min(ram.len());
        match stretches.last_mut() {
            Some((gpa, last, range))
                if Arc::ptr_eq(last, ram)
                    && range.end == *offset
                    && gpa.0.wrapping_add(range.end - range.start) == span.start.0 =>
            {
                range.end = end;
            }
            _ => stretches.push((span.start, ram.clone(), *offset..end)),
        }
    }
    stretches
}

/// How many aliases may lead to one another.
const ALIAS_DEPTH: u32 = 4;

fn flatten(mappings: &BTreeMap<MappingId, Mapping>) -> Vec<Span> {
    let mut spans = Vec::new();
    resolve(mappings, 0..=u64::MAX, 0, ALIAS_DEPTH, &mut spans);
    spans.sort_by_key(|span: &Span| span.start);
    spans
}

/// Appends what is visible in `range`, shifted up by `shift` (wrapping), with aliases followed.
fn resolve(
    mappings: &BTreeMap<MappingId, Mapping>,
    range: std::ops::RangeInclusive<u64>,
    shift: u64,
    depth: u32,
    spans: &mut Vec<Span>,
) {
    let (low, high) = (*range.start(), *range.end());
    let mut edges: Vec<u64> = vec![low];
    for m in mappings.values() {
        let Range { start, end } = m.gpa.0..m.gpa.0.wrapping_add(m.len);
        edges.extend([start, end].iter().copied().filter(|edge| (low + 1..=high).contains(edge)));
    }
    edges.sort_unstable();
    edges.dedup();
    for (i, &start) in edges.iter().enumerate() {
        let last = edges.get(i + 1).map_or(high, |next| next - 1);
        let visible =
            mappings.values().filter(|m| m.gpa.0 <= start && start - m.gpa.0 < m.len).max_by_key(|m| m.priority);
        let Some(m) = visible else { continue };
        let backing = m.backing.advanced(start - m.gpa.0);
        match backing {
            Backing::Alias(to) => {
                if let (Some(depth), Some(to_last)) = (depth.checked_sub(1), to.0.checked_add(last - start)) {
                    let shift = shift.wrapping_add(start).wrapping_sub(to.0);
                    resolve(mappings, to.0..=to_last, shift, depth, spans);
                }
            }
            backing => spans.push(Span {
                start: Gpa(start.wrapping_add(shift)),
                last: Gpa(last.wrapping_add(shift)),
                backing,
                name: m.name.as_str().into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram(name: &str, gpa: u64, ram: &Arc<Ram>, priority: i32) -> Mapping {
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        Mapping { name: name.into(), gpa: Gpa(gpa), len: ram.len(), priority, backing }
    }

    #[test]
    fn priorities_aliases_and_changes() {
        let space = AddressSpace::new();
        let (low, top) = (Ram::new(0x4000).unwrap(), Ram::new(0x1000).unwrap());
        space.map(ram("low", 0x1000, &low, 0)).unwrap();
        let over = space.map(ram("top", 0x2000, &top, 1)).unwrap();
        let alias = Mapping {
            name: "alias".into(),
            gpa: Gpa(0x10_0000),
            len: 0x2000,
            priority: 0,
            backing: Backing::Alias(Gpa(0x1800)),
        };
        space.map(alias).unwrap();
        let error = space.map(ram("again", 0x4000, &top, 0)).unwrap_err();
        assert_eq!(error.to_string(), "`again` at 0x4000 overlaps `low`");
        assert_eq!(
            space.dump(),
            "0000000000001000-0000000000001fff ram  low\n\
             0000000000002000-0000000000002fff ram  top\n\
             0000000000003000-0000000000004fff ram  low\n\
             0000000000100000-00000000001007ff ram  low\n\
             0000000000100800-00000000001017ff ram  top\n\
             0000000000101800-0000000000101fff ram  low\n"
        );
        space.write(Gpa(0x1ffc), &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(top.load(0, 4), Some(0x0807_0605));
        assert_eq!(space.view().load(Gpa(0x10_0800), 2), Ok(0x0605));
        let before = space.generation();
        space.unmap(over);
        assert!(space.generation() > before);
        assert_eq!(space.view().load(Gpa(0x2000), 4), Ok(0));
        assert_eq!(space.view().load(Gpa(0x6000), 4), Err(BusError::NoDevice));
        assert_eq!(space.write(Gpa(u64::MAX), &[0; 2]), Err(BusError::NoDevice));
    }

    #[test]
    fn devices_see_ram_around_holes() {
        use crate::ram::{CodeWatch, RamId};
        use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

        #[derive(Default)]
        struct Seen(Mutex<Vec<Range<u64>>>);
        impl CodeWatch for Seen {
            fn code_written(&self, _: RamId, range: Range<u64>) {
                self.0.lock().unwrap().push(range);
            }
        }

        let space = AddressSpace::new();
        let (low, rom) = (Ram::new(0x1_0000).unwrap(), Ram::new(0x1000).unwrap());
        space.map(ram("low", 0, &low, 0)).unwrap();
        let regions = |space: &AddressSpace| {
            space.dma().iter().map(|region| (region.start_addr().0, region.len())).collect::<Vec<_>>()
        };
        assert_eq!(regions(&space), [(0, 0x1_0000)]);
        let hole = Mapping {
            name: "hole".into(),
            gpa: Gpa(0xa000),
            len: 0x1000,
            priority: 1,
            backing: Backing::Rom { ram: rom, offset: 0, writes: None },
        };
        let hole = space.map(hole).unwrap();
        // A region that hides nothing cuts the spans, not the memory.
        let under = Ram::new(0x1000).unwrap();
        space.map(ram("under", 0x4000, &under, -1)).unwrap();
        assert_eq!(regions(&space), [(0, 0xa000), (0xb000, 0x5000)]);
        let alias = Mapping {
            name: "alias".into(),
            gpa: Gpa(0x10_0000),
            len: 0x2000,
            priority: 0,
            backing: Backing::Alias(Gpa(0xb000)),
        };
        space.map(alias).unwrap();
        assert_eq!(regions(&space), [(0, 0xa000), (0xb000, 0x5000), (0x10_0000, 0x2000)]);
        let dma = space.dma();
        dma.write_slice(&[1, 2, 3], GuestAddress(0xb123)).unwrap();
        assert_eq!(low.load(0xb123, 2), Some(0x0201));
        assert_eq!(dma.read_obj::<u8>(GuestAddress(0x10_0125)).unwrap(), 3);
        assert!(dma.write_slice(&[0; 2], GuestAddress(0x9fff)).is_err());
        // Writes through a part are told with the offset in the whole block.
        let seen = Arc::new(Seen::default());
        low.watch_code(seen.clone());
        low.code().set(0xc000..0xc004);
        dma.write_slice(&[0; 8], GuestAddress(0xc002)).unwrap();
        dma.write_slice(&[0; 8], GuestAddress(0x2000)).unwrap();
        dma.write_slice(&[0; 4], GuestAddress(0x10_1000)).unwrap();
        assert_eq!(*seen.0.lock().unwrap(), [0xc002..0xc00a, 0xc000..0xc004]);
        space.unmap(hole);
        assert_eq!(regions(&space), [(0, 0x1_0000), (0x10_0000, 0x2000)]);
        drop((space, low));
        assert_eq!(dma.read_obj::<u8>(GuestAddress(0xb124)).unwrap(), 2, "the memory lives as long as the view");
    }

    #[test]
    fn a_region_may_end_at_the_top_of_the_space() {
        let space = AddressSpace::new();
        let block = Ram::new(0x1000).unwrap();
        space.map(ram("top", 0xffff_ffff_ffff_f000, &block, 0)).unwrap();
        assert_eq!(space.view().load(Gpa(u64::MAX), 1), Ok(0));
        assert!(space.map(ram("past", 0xffff_ffff_ffff_f800, &block, 1)).is_err());
    }
}
