//! The guest's virtual memory: translation lookaside buffers in software, and the slow path behind them.
//!
//! Each regime has a direct-mapped table that translated code looks into; it holds only RAM that needs no further
//! check. A second, larger table tagged with address spaces backs them all, so that switching the address space costs
//! the local entries of the first table only. Behind it stands the front end's page walk.
// UNSAFETY: guest accesses go to guest RAM by raw host pointers; each comes from a span of the address space and stays
// within one of its pages.

#![allow(unsafe_code)]

use crate::bits::ones;
use crate::env::{Env, TEMPS};
use crate::frontend::{Frontend, Translation};
use crate::ir::Mem;
use crate::others::Ask;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm::address_space::Span;
use vm::ram::{PAGE_SIZE, Ram};
use vm::vcpu::Intent;
use vm::{Backing, FlatView, Gpa, Gva, log};

mod atomics;

/// Entries of each regime's first table: enough for 64 MiB of small pages.
pub const ENTRIES: usize = 1 << 14;
/// Regimes that a front end may have.
pub const REGIMES: usize = 6;
/// Sets of the second table; each has a way for every [`WAYS`]th address space.
const SETS: usize = 4096;
/// Ways of a set.
const WAYS: usize = 4;
/// Address spaces that are told apart when one of them is flushed.
const SPACES: usize = 1 << 16;
/// Large pages remembered.
const LARGE: usize = 32;
/// The key of no large page: no address has it.
const NO_LARGE: (u64, u64) = (1, 0);
/// Bits of the filter over large pages that were forgotten while pieces of them may be in the tables.
const LOST: usize = 1 << 14;
/// Bits of the filter over host pages that stores may reach without a look.
const WRITABLE: usize = 1 << 16;
/// Pages of code remembered for each of [`WAYS`] address spaces.
const FETCH: usize = 512;

const PAGE_MASK: u64 = !(PAGE_SIZE - 1);

/// One entry of a first table: an address is translated by it for an access of `n` bytes if
/// `address ^ tag <= PAGE_SIZE - n`, which also says that the access stays in the page.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    /// Page address if loads hit.
    pub read: u64,
    /// Page address if stores hit, which they do only where loads do.
    pub write: u64,
    /// What turns a guest address into a host address.
    pub addend: u64,
    /// Not zero when the entry belongs to one address space only.
    local: u64,
}

impl Entry {
    /// The entry that nothing hits in position `index`: its tag belongs to another position. Zeros but for the first.
    const fn empty(index: usize) -> Entry {
        let never = if index == 0 { PAGE_SIZE } else { 0 };
        Entry { read: never, write: never, addend: 0, local: 0 }
    }
}

#[derive(Clone, Copy)]
struct Second {
    /// Virtual page address; low bits: regime.
    tag: u64,
    generation: u32,
    space: u32,
    /// Generation of the space when the entry was made, unless global.
    space_generation: u32,
    page: Translation,
    /// The page in the host's memory if it is plain RAM or ROM, whole; else null.
    host: *mut u8,
    /// The bits that tell which pieces of the page hold code.
    code: *const AtomicU64,
    rom: bool,
}

#[derive(Clone)]
struct FetchEntry {
    page: u64,
    space: u32,
    regime: u8,
    code: CodePage,
}

/// A page that instructions are fetched from.
#[derive(Clone)]
pub struct CodePage {
    /// Its physical address.
    pub gpa: Gpa,
    /// The RAM or ROM behind it with the page's offset in it, `None` for a device.
    pub ram: Option<(Arc<Ram>, u64)>,
    /// Mode bits from the translation.
    pub code_mode: u64,
}

/// All translation tables of one vCPU.
#[repr(C)]
pub struct Tlb {
    /// First tables by regime.
    pub entries: [[Entry; ENTRIES]; REGIMES],
    /// Which entries of the first tables are local, one bit each.
    local: [[u64; ENTRIES / 64]; REGIMES],
    /// The address space that the local entries of each regime belong to.
    spaces: [u32; REGIMES],
    /// Which are not empty.
    used: [[u64; ENTRIES / 64]; REGIMES],
    /// Host pages that an entry may let stores reach, as a filter by page number.
    writable: [u64; WRITABLE / 64],
    second: Box<[Second]>,
    space_generations: Box<[u32]>,
    large: Box<[Option<(u64, Second)>; LARGE]>,
    /// The address of each and the bits of it that count, to find the one for an address quickly.
    large_keys: [(u64, u64); LARGE],
    large_next: usize,
    /// Large pages forgotten in favour of others, as a filter by page number, and the log2 of their sizes.
    lost: Box<[u64; LOST / 64]>,
    lost_sizes: u64,
    fetch: Box<[Option<FetchEntry>]>,
    generation: u32,
    /// Entries put into the first tables so far.
    pub fills: u64,
    /// Page walks so far.
    pub walks: u64,
}

impl Tlb {
    /// Makes an empty TLB of zeros, in place, for it is large.
    ///
    /// # Safety
    /// `this` must be valid for writes and hold zeros.
    pub unsafe fn init(this: *mut Tlb) {
        // SAFETY: an entry of the second table is numbers, booleans and pointers, for all of which zeros are valid; the
        // generation 0 is never in force.
        let second = unsafe { Box::<[Second]>::new_zeroed_slice(SETS * WAYS).assume_init() };
        // SAFETY: by the caller. What is not written here is numbers.
        unsafe {
            for table in &mut (*this).entries {
                table[0] = Entry::empty(0);
            }
            (&raw mut (*this).second).write(second);
            (&raw mut (*this).space_generations).write(vec![0; SPACES].into_boxed_slice());
            (&raw mut (*this).large).write(Box::new([const { None }; LARGE]));
            (*this).large_keys = [NO_LARGE; LARGE];
            (&raw mut (*this).lost).write(Box::new([0; LOST / 64]));
            (&raw mut (*this).fetch).write(vec![None; FETCH * WAYS].into_boxed_slice());
            (*this).generation = 1;
        }
    }
}

fn index(va: u64) -> usize {
    (va >> 12) as usize % ENTRIES
}

/// First way of the set that an address of a regime may be in.
fn set(va: u64, regime: u8) -> usize {
    let page = va >> 12;
    ((page ^ (page >> 11) ^ (u64::from(regime) << 9)) as usize % SETS) * WAYS
}

/// The bit of the filter over host pages that stores may reach.
fn writable_bit(host: *mut u8) -> usize {
    (host as usize >> 12) % WRITABLE
}

/// First way of the set that a page of code may be in.
fn fetch_set(page: u64) -> usize {
    (((page >> 12) ^ (page >> 20)) as usize % FETCH) * WAYS
}

fn fetch_index(page: u64, space: u32) -> usize {
    fetch_set(page) + space as usize % WAYS
}

impl Tlb {
    fn clear_first(&mut self) {
        for regime in 0..REGIMES {
            for word in 0..ENTRIES / 64 {
                let used = self.used[regime][word];
                self.clear_some(regime, word, used);
            }
        }
        self.writable.fill(0);
    }

    fn clear_local(&mut self, regime: usize) {
        for word in 0..ENTRIES / 64 {
            let local = self.local[regime][word];
            self.clear_some(regime, word, local);
        }
    }

    /// Makes the first table of a regime one of address space `space`.
    fn enter_space(&mut self, regime: usize, space: u32) {
        if self.spaces[regime] != space {
            self.clear_local(regime);
            self.spaces[regime] = space;
        }
    }

    /// Empties the entries of a regime whose bits are set in word `word` of its bit sets.
    fn clear_some(&mut self, regime: usize, word: usize, bits: u64) {
        for at in ones(bits).map(|bit| word * 64 + usize::from(bit)) {
            self.entries[regime][at] = Entry::empty(at);
        }
        self.local[regime][word] &= !bits;
        self.used[regime][word] &= !bits;
    }

    /// Puts a page into the first table: the one at `gva`, which lies at `host`.
    fn fill(&mut self, gva: u64, regime: u8, host: *mut u8, page: &Translation, write: bool) {
        let (at, regime) = (index(gva), usize::from(regime) % REGIMES);
        let (empty, tag) = (Entry::empty(at), gva & PAGE_MASK);
        self.fills += 1;
        let write = write && page.read;
        self.entries[regime][at] = Entry {
            read: if page.read { tag } else { empty.read },
            write: if write { tag } else { empty.write },
            addend: (host as u64).wrapping_sub(tag),
            local: 0,
        };
        if write {
            let bit = writable_bit(host);
            self.writable[bit / 64] |= 1 << (bit % 64);
        }
        let bit = 1 << (at % 64);
        self.used[regime][at / 64] |= bit;
        if page.global {
            self.local[regime][at / 64] &= !bit;
        } else {
            self.local[regime][at / 64] |= bit;
        }
    }

    /// Forgets which pages code was fetched from.
    pub(crate) fn forget_code(&mut self) {
        self.fetch.fill(None);
    }

    fn clear_all(&mut self) {
        self.clear_first();
        self.large.fill(None);
        self.large_keys = [NO_LARGE; LARGE];
        if self.lost_sizes != 0 {
            self.lost.fill(0);
            self.lost_sizes = 0;
        }
        self.fetch.fill(None);
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.second.iter_mut().for_each(|second| second.generation = 0);
            self.generation = 1;
        }
    }

    /// Notes that the large page at `base` is known no longer, while pieces of it may be.
    fn lose(&mut self, base: u64, log2: u8) {
        let bit = (base >> log2) as usize % LOST;
        self.lost[bit / 64] |= 1 << (bit % 64);
        self.lost_sizes |= 1 << log2;
    }

    /// Whether `va` may be in a large page that was forgotten.
    fn is_lost(&self, va: u64) -> bool {
        let mut sizes = self.lost_sizes;
        while sizes != 0 {
            let bit = (va >> sizes.trailing_zeros()) as usize % LOST;
            if self.lost[bit / 64] >> (bit % 64) & 1 != 0 {
                return true;
            }
            sizes &= sizes - 1;
        }
        false
    }

    /// Bits outside `page_mask` do not count. Gives whether everything was cleared because the page is a large one.
    fn clear_page(&mut self, va: u64, page_mask: u64) -> bool {
        let page = va & PAGE_MASK;
        let hits = |tag: u64| (tag ^ page) & page_mask & PAGE_MASK == 0;
        let at = index(va);
        for regime in 0..REGIMES {
            let entry = &mut self.entries[regime][at];
            if hits(entry.read) || hits(entry.write) {
                *entry = Entry::empty(at);
            }
        }
        let large = self.large.iter().filter(|l| {
            l.as_ref().is_some_and(|(tag, second)| (tag ^ va) & page_mask & !((1 << second.page.page_log2) - 1) == 0)
        });
        if large.count() != 0 || self.is_lost(va & page_mask) || self.is_lost(va | !page_mask) {
            // Pieces of the large page may be anywhere.
            self.clear_all();
            return true;
        }
        // The tag of an address that is ignored is either all zeros or all ones in the canonical form.
        for canonical in [page & page_mask, page | !page_mask] {
            for regime in 0..REGIMES as u8 {
                let set = set(canonical, regime);
                for second in self.second[set..set + WAYS].iter_mut().filter(|s| hits(s.tag)) {
                    second.generation = 0;
                }
            }
            for entry in &mut self.fetch[fetch_set(canonical)..][..WAYS] {
                entry.take_if(|e| hits(e.page));
            }
        }
        false
    }

    /// Whether an entry of the second table is in force for `space`.
    fn live(&self, entry: &Second, space: u32) -> bool {
        entry.page.global
            || entry.space == space && entry.space_generation == self.space_generations[space as usize % SPACES]
    }
}

/// What an address leads to.
struct Resolved {
    page: Translation,
    /// Host address of the byte and whether the page is free of code, for RAM.
    host: Option<*mut u8>,
}

/// What a slow access asks for.
#[derive(Clone, Copy)]
struct Want {
    intent: Intent,
    mmu: u8,
}

impl<F: Frontend> Env<F> {
    /// Forgets every translation.
    pub fn flush_tlb(&mut self) {
        self.tlb.clear_all();
        self.clear_jumps();
        self.spaces.forget_pages();
    }

    /// Forgets the translations of one page. Bits outside `page_mask` (an address tag) do not count.
    pub fn flush_tlb_page(&mut self, gva: Gva, page_mask: u64) {
        let all = self.tlb.clear_page(gva.0, page_mask);
        if all {
            self.clear_jumps();
            self.spaces.forget_pages();
        } else {
            self.spaces.forget_page(gva.0 & page_mask);
            self.spaces.forget_page(gva.0 | !page_mask);
            self.clear_page_jumps(gva.0 & page_mask);
            self.clear_page_jumps(gva.0 | !page_mask);
            if F::MAX_INSN > 4 {
                // Instructions that go on in this page.
                self.clear_page_jumps((gva.0 & page_mask).wrapping_sub(PAGE_SIZE));
            }
        }
    }

    /// Forgets the local translations of one address space.
    pub fn flush_tlb_space(&mut self, space: u32) {
        for regime in 0..REGIMES {
            if self.tlb.spaces[regime] == space {
                self.tlb.clear_local(regime);
            }
        }
        let generation = &mut self.tlb.space_generations[space as usize % SPACES];
        *generation = generation.wrapping_add(1);
        for large in self.tlb.large.iter_mut() {
            if large.as_ref().is_some_and(|(_, s)| s.space == space && !s.page.global) {
                *large = None;
            }
        }
        self.flush_code_space(space);
    }

    /// Forgets where code was found whose [`Key`](crate::frontend::Key) names the space.
    pub fn flush_code_space(&mut self, space: u32) {
        self.renumber_space(space);
    }

    /// Makes the first tables that code may use now those of the current address space. Others keep what they have: an
    /// address space that comes back to them soon finds it there. The loop does this before it runs code; a helper that
    /// changes the space in the middle of a block must do it, too.
    pub fn enter_space(&mut self) {
        let shared = self.shared.clone();
        let (space, regimes) = (shared.frontend.space(&self.cpu), shared.frontend.regimes(&self.cpu));
        for regime in (0..REGIMES).filter(|regime| regimes >> regime & 1 != 0) {
            self.tlb.enter_space(regime, space);
        }
    }

    /// Whether the first table lets loads through at `va`: no more is known than that it does.
    pub fn may_load(&self, va: u64, mmu: u8) -> bool {
        self.tlb.entries[usize::from(mmu) % REGIMES][index(va)].read == va & PAGE_MASK
    }

    /// Drops write permission for a host page that now holds code.
    pub(crate) fn protect_code(&mut self, host_page: *mut u8) {
        let bit = writable_bit(host_page);
        if self.tlb.writable[bit / 64] >> (bit % 64) & 1 == 0 {
            return;
        }
        for (table, used) in self.tlb.entries.iter_mut().zip(&self.tlb.used) {
            for (word, used) in used.iter().enumerate() {
                for at in ones(*used).map(|bit| word * 64 + usize::from(bit)) {
                    let entry = &mut table[at];
                    if entry.write.wrapping_add(entry.addend) == host_page as u64 {
                        entry.write = Entry::empty(at).write;
                    }
                }
            }
        }
    }

    /// Looks a page up, in the second table or by a walk, and checks the permission.
    fn translate(&mut self, gva: Gva, want: Want) -> Result<Translation, F::Exception> {
        let shared = self.shared.clone();
        let frontend = &shared.frontend;
        let space = frontend.space(&self.cpu);
        let allowed = |page: &Translation| match want.intent {
            Intent::Read => page.read,
            Intent::Write => page.write,
            Intent::Fetch => page.execute,
        };
        let at = set(gva.0, want.mmu) + space as usize % WAYS;
        let tag = gva.0 & PAGE_MASK | u64::from(want.mmu);
        let offset = gva.0 % PAGE_SIZE;
        let found = &self.tlb.second[at];
        if found.tag == tag
            && found.generation == self.tlb.generation
            && self.tlb.live(found, space)
            && allowed(&found.page)
        {
            let mut page = found.page;
            page.gpa = Gpa(page.gpa.0 + offset);
            return Ok(page);
        }
        for n in (0..LARGE).filter(|n| gva.0 & self.tlb.large_keys[*n].1 == self.tlb.large_keys[*n].0) {
            let Some((base, large)) = &self.tlb.large[n] else { continue };
            let size_mask = (1u64 << large.page.page_log2) - 1;
            if (gva.0 ^ base) & !size_mask == 0
                && large.tag == u64::from(want.mmu)
                && self.tlb.live(large, space)
                && allowed(&large.page)
            {
                let mut page = large.page;
                page.gpa = Gpa(page.gpa.0 + (gva.0 & size_mask));
                // The piece goes into the second table; a flush that hits the large page clears all pieces.
                let kept = Translation { gpa: Gpa(page.gpa.0 & PAGE_MASK), ..page };
                self.tlb.second[at] = Second { tag, page: kept, ..*large };
                return Ok(page);
            }
        }
        self.tlb.walks += 1;
        let page = frontend.walk(self, gva, want.intent, want.mmu)?;
        log!(Mmu, "walk {gva} regime {} -> {page:?}", want.mmu);
        let mut kept = page;
        kept.gpa = Gpa(page.gpa.0 & PAGE_MASK);
        let generation = self.tlb.generation;
        let space_generation = self.tlb.space_generations[page.space as usize % SPACES];
        let nowhere = (std::ptr::null_mut(), std::ptr::null());
        self.tlb.second[at] = Second {
            tag,
            generation,
            space: page.space,
            space_generation,
            page: kept,
            host: nowhere.0,
            code: nowhere.1,
            rom: false,
        };
        if page.page_log2 > 12 {
            let size_mask = (1u64 << page.page_log2) - 1;
            kept.gpa = Gpa(page.gpa.0 & !size_mask);
            let large = Second { tag: want.mmu.into(), page: kept, ..self.tlb.second[at] };
            let same = |l: &Option<(u64, Second)>| {
                l.as_ref().is_some_and(|(base, s)| *base == gva.0 & !size_mask && s.tag == large.tag)
            };
            let place = self.tlb.large.iter().position(same).unwrap_or_else(|| {
                self.tlb.large_next = (self.tlb.large_next + 1) % LARGE;
                self.tlb.large_next
            });
            self.tlb.large_keys[place] = (gva.0 & !size_mask, !size_mask);
            if let Some((base, old)) = self.tlb.large[place].replace((gva.0 & !size_mask, large))
                && (base != gva.0 & !size_mask
                    || old.space != page.space
                    || old.page.page_log2 != page.page_log2
                    || old.page.global != page.global)
            {
                self.tlb.lose(base, old.page.page_log2);
            }
        }
        Ok(page)
    }

    fn host_of(view: &FlatView, gpa: Gpa) -> Option<(&Span, &Arc<Ram>, u64)> {
        let span = view.find(gpa)?;
        match &span.backing {
            Backing::Ram { ram, offset } | Backing::Rom { ram, offset, .. } => {
                Some((span, ram, offset + (gpa.0 - span.start.0)))
            }
            _ => None,
        }
    }

    /// Translates and, for plain RAM, fills the first table.
    fn resolve(&mut self, gva: Gva, want: Want) -> Result<Resolved, F::Exception> {
        let page = self.translate(gva, want)?;
        let view = self.view.clone();
        let Some((span, ram, offset)) = Self::host_of(&view, page.gpa) else {
            return Ok(Resolved { page, host: None });
        };
        let rom = matches!(span.backing, Backing::Rom { .. });
        if rom && want.intent == Intent::Write {
            return Ok(Resolved { page, host: None });
        }
        // SAFETY: the span says that `offset` lies inside the block.
        let host = unsafe { ram.host().add(offset as usize) };
        let page_gpa = page.gpa.0 & PAGE_MASK;
        let whole = span.start.0 <= page_gpa && page_gpa + (PAGE_SIZE - 1) <= span.last.0;
        let placed = offset % PAGE_SIZE == gva.0 % PAGE_SIZE;
        if !page.strict && whole && placed && want.intent != Intent::Fetch {
            let code = ram.code().word(offset / PAGE_SIZE);
            let code_free = code.is_some_and(|bits| bits.load(Ordering::Acquire) == 0);
            // SAFETY: the page of a byte of the block lies in the block.
            let host_page = unsafe { host.sub((gva.0 % PAGE_SIZE) as usize) };
            let space = self.shared.frontend.space(&self.cpu);
            self.tlb.enter_space(usize::from(want.mmu) % REGIMES, space);
            self.tlb.fill(gva.0, want.mmu, host_page, &page, page.write && !rom && code_free);
            let second = &mut self.tlb.second[set(gva.0, want.mmu) + space as usize % WAYS];
            if second.tag == gva.0 & PAGE_MASK | u64::from(want.mmu) && second.page.gpa.0 == page_gpa {
                (second.host, second.rom) = (host_page, rom);
                second.code = code.map_or(std::ptr::null(), std::ptr::from_ref);
            }
        }
        Ok(Resolved { page, host: Some(host) })
    }

    /// Fills the first table from the second, for accesses that need no more than that. Gives the host address.
    fn refill(&mut self, va: u64, bytes: u8, mem: Mem, intent: Intent) -> Option<*mut u8> {
        let offset = va % PAGE_SIZE;
        if offset + u64::from(bytes) > PAGE_SIZE || va & ((1u64 << mem.align_log2) - 1) != 0 {
            return None;
        }
        let space = self.shared.frontend.space(&self.cpu);
        let found = self.tlb.second[set(va, mem.mmu) + space as usize % WAYS];
        let known = found.tag == va & PAGE_MASK | u64::from(mem.mmu)
            && found.generation == self.tlb.generation
            && !found.host.is_null()
            && self.tlb.live(&found, space);
        // SAFETY: the word belongs to the RAM at `host`, which the view holds as long as this entry's generation lasts.
        let code_free = || unsafe { found.code.as_ref() }.is_some_and(|bits| bits.load(Ordering::Acquire) == 0);
        let write = found.page.write && !found.rom;
        if !known || !if intent == Intent::Write { write } else { found.page.read } {
            return None;
        }
        let write = write && code_free();
        if intent == Intent::Write && !write {
            return None;
        }
        self.tlb.enter_space(usize::from(mem.mmu) % REGIMES, space);
        self.tlb.fill(va, mem.mmu, found.host, &found.page, write);
        // SAFETY: within the page.
        Some(unsafe { found.host.add(offset as usize) })
    }

    /// The host address of a byte in a page of RAM, if accesses of this intent need no more than a look into the tables.
    pub(crate) fn host_of_span(&mut self, va: u64, mem: Mem, intent: Intent) -> Option<*mut u8> {
        let entry = &self.tlb.entries[usize::from(mem.mmu) % REGIMES][index(va)];
        let tag = if intent == Intent::Write { entry.write } else { entry.read };
        if va ^ tag < PAGE_SIZE {
            return Some(va.wrapping_add(entry.addend) as *mut u8);
        }
        self.refill(va, 1, mem, intent)
    }

    fn check_alignment(&mut self, gva: Gva, want: Want, align_log2: u8) -> Result<(), F::Exception> {
        if gva.0 & ((1u64 << align_log2) - 1) != 0 {
            let shared = self.shared.clone();
            return Err(shared.frontend.misaligned(self, gva, want.intent, want.mmu));
        }
        Ok(())
    }

    /// The exception for a fetch that cannot be made.
    pub(crate) fn fetch_error(&mut self, gva: Gva, gpa: Gpa) -> F::Exception {
        let mmu = self.shared.clone().frontend.fetch_regime(&self.cpu);
        self.bus_error(gva, gpa, Want { intent: Intent::Fetch, mmu })
    }

    fn bus_error(&mut self, gva: Gva, gpa: Gpa, want: Want) -> F::Exception {
        let shared = self.shared.clone();
        log!(GuestError, "{:?} at {gva} (physical {gpa}): nothing answers", want.intent);
        shared.frontend.bus_error(self, gva, gpa, want.intent, want.mmu)
    }

    /// The view of the bus, renewed when it changed.
    fn device_view(&mut self) -> Arc<FlatView> {
        self.view.clone()
    }

    /// A load of at most 16 bytes, by the slow path. Gives `None` when an exception was raised.
    pub fn load_slow(&mut self, va: u64, bytes: u8, mem: Mem) -> Option<u128> {
        let loaded = self.load(va, bytes, mem);
        loaded.map_err(|exception| self.raise(exception)).ok()
    }

    /// A load of at most 16 bytes, for helpers that go on after an exception.
    ///
    /// # Errors
    /// The exception, which is not raised yet.
    pub fn load(&mut self, va: u64, bytes: u8, mem: Mem) -> Result<u128, F::Exception> {
        let value = match self.refill(va, bytes, mem, intent_of_load(mem)) {
            // SAFETY: `bytes` bytes from `va` on lie in the page that `host` points into.
            Some(host) => unsafe { read_host(host, bytes) },
            None => self.try_load(Gva(va), bytes, mem)?,
        };
        Ok(if mem.swap { swap(value, bytes) } else { value })
    }

    /// A store of at most 16 bytes, by the slow path. Gives `false` when an exception was raised.
    pub fn store_slow(&mut self, va: u64, bytes: u8, value: u128, mem: Mem) -> bool {
        let stored = self.store(va, bytes, value, mem);
        stored.map_err(|exception| self.raise(exception)).is_ok()
    }

    /// A store of at most 16 bytes, for helpers that go on after an exception.
    ///
    /// # Errors
    /// The exception, which is not raised yet.
    pub fn store(&mut self, va: u64, bytes: u8, value: u128, mem: Mem) -> Result<(), F::Exception> {
        let value = if mem.swap { swap(value, bytes) } else { value };
        if let Some(host) = self.refill(va, bytes, mem, Intent::Write) {
            // SAFETY: as in `load`; the page is writable RAM without code.
            unsafe { write_host(host, bytes, value) };
            return Ok(());
        }
        self.try_store(Gva(va), bytes, value, mem)
    }

    /// Whether a store of at most 16 bytes would succeed, and if not
    ///
    /// # Errors
    /// the exception that it would raise.
    pub fn probe_store(&mut self, va: u64, bytes: u8, mem: Mem) -> Result<(), F::Exception> {
        let want = Want { intent: Intent::Write, mmu: mem.mmu };
        self.check_alignment(Gva(va), want, mem.align_log2)?;
        let last = va.wrapping_add(u64::from(bytes) - 1);
        self.resolve(Gva(va), want)?;
        if last & PAGE_MASK != va & PAGE_MASK {
            self.resolve(Gva(last & PAGE_MASK), want)?;
        }
        Ok(())
    }

    fn try_load(&mut self, gva: Gva, bytes: u8, mem: Mem) -> Result<u128, F::Exception> {
        let want = Want { intent: intent_of_load(mem), mmu: mem.mmu };
        self.check_alignment(gva, want, mem.align_log2)?;
        let offset = gva.0 % PAGE_SIZE;
        if offset + u64::from(bytes) > PAGE_SIZE {
            // Both pages must allow the access before anything is read.
            let first = (PAGE_SIZE - offset) as u8;
            let next = Gva((gva.0 & PAGE_MASK).wrapping_add(PAGE_SIZE));
            self.resolve_split(gva, next, want)?;
            let low = self.try_load_in_page(gva, first, want)?;
            let high = self.try_load_in_page(next, bytes - first, want)?;
            return Ok(low | high << (8 * u32::from(first)));
        }
        self.try_load_in_page(gva, bytes, want)
    }

    fn resolve_split(&mut self, gva: Gva, next: Gva, want: Want) -> Result<(), F::Exception> {
        let (a, b) = (self.resolve(gva, want)?, self.resolve(next, want)?);
        if a.page.strict || b.page.strict {
            let shared = self.shared.clone();
            return Err(shared.frontend.misaligned(self, gva, want.intent, want.mmu));
        }
        Ok(())
    }

    fn try_load_in_page(&mut self, gva: Gva, bytes: u8, want: Want) -> Result<u128, F::Exception> {
        let Resolved { page, host } = self.resolve(gva, want)?;
        let natural = if bytes == 16 { 8 } else { u64::from(bytes.next_power_of_two()) };
        if page.strict && !gva.0.is_multiple_of(natural) {
            let shared = self.shared.clone();
            return Err(shared.frontend.misaligned(self, gva, want.intent, want.mmu));
        }
        if let Some(host) = host {
            // SAFETY: `bytes` bytes from `gva` on lie in the page that `host` points into.
            return Ok(unsafe { read_host(host, bytes) });
        }
        let view = self.device_view();
        let mut value = 0u128;
        for (at, width) in pieces(page.gpa.0, bytes) {
            let gpa = Gpa(page.gpa.0 + u64::from(at));
            match self.with_own_flags(|_| view.load(gpa, width)) {
                Ok(piece) => value |= u128::from(piece) << (8 * u32::from(at)),
                Err(_) if F::OPEN_BUS => {
                    value |= u128::from(u64::MAX >> (64 - 8 * u32::from(width))) << (8 * u32::from(at))
                }
                Err(_) => return Err(self.bus_error(gva, gpa, want)),
            }
        }
        self.refresh_view();
        Ok(value)
    }

    fn try_store(&mut self, gva: Gva, bytes: u8, value: u128, mem: Mem) -> Result<(), F::Exception> {
        let want = Want { intent: Intent::Write, mmu: mem.mmu };
        self.check_alignment(gva, want, mem.align_log2)?;
        let offset = gva.0 % PAGE_SIZE;
        if offset + u64::from(bytes) > PAGE_SIZE {
            let first = (PAGE_SIZE - offset) as u8;
            let next = Gva((gva.0 & PAGE_MASK).wrapping_add(PAGE_SIZE));
            self.resolve_split(gva, next, want)?;
            self.try_store_in_page(gva, first, value, want)?;
            return self.try_store_in_page(next, bytes - first, value >> (8 * u32::from(first)), want);
        }
        self.try_store_in_page(gva, bytes, value, want)
    }

    fn try_store_in_page(&mut self, gva: Gva, bytes: u8, value: u128, want: Want) -> Result<(), F::Exception> {
        let Resolved { page, host } = self.resolve(gva, want)?;
        let natural = if bytes == 16 { 8 } else { u64::from(bytes.next_power_of_two()) };
        if page.strict && !gva.0.is_multiple_of(natural) {
            let shared = self.shared.clone();
            return Err(shared.frontend.misaligned(self, gva, want.intent, want.mmu));
        }
        if let Some(host) = host {
            self.before_store(page.gpa, bytes)?;
            // SAFETY: as in `try_load_in_page`; the page is writable RAM.
            unsafe { write_host(host, bytes, value) };
            self.wrote(page.gpa, bytes);
            return Ok(());
        }
        let view = self.device_view();
        for (at, width) in pieces(page.gpa.0, bytes) {
            let gpa = Gpa(page.gpa.0 + u64::from(at));
            let piece = (value >> (8 * u32::from(at))) as u64;
            if self.with_own_flags(|_| view.store(gpa, width, piece)).is_err() && !F::OPEN_BUS {
                return Err(self.bus_error(gva, gpa, want));
            }
        }
        self.refresh_view();
        Ok(())
    }

    /// Where code is coherent, leaves the running code if a store would change some: the instruction is executed again
    /// where none can be stale.
    fn before_store(&mut self, gpa: Gpa, bytes: u8) -> Result<(), F::Exception> {
        if !self.coherent {
            return Ok(());
        }
        let Some(again) = F::COHERENT_CODE else { return Ok(()) };
        let code = Self::host_of(&self.view, gpa)
            .is_some_and(|(_, ram, offset)| ram.code().touches(&(offset..offset + u64::from(bytes))));
        if code {
            self.alone = true;
            return Err(again);
        }
        Ok(())
    }

    /// Invalidates translated code that a store to RAM has changed.
    fn wrote(&mut self, gpa: Gpa, bytes: u8) {
        let view = self.view.clone();
        if let Some((_, ram, offset)) = Self::host_of(&view, gpa) {
            let range = offset..offset + u64::from(bytes);
            if ram.code().touches(&range) {
                let shared = self.shared.clone();
                // To ask other vCPUs takes long: who changes a page again is about to change all of it.
                let page = offset / PAGE_SIZE;
                let again = self.rewritten.replace((ram.id(), page)) == Some((ram.id(), page));
                let whole = again && shared.has_several();
                let range = if whole { page * PAGE_SIZE..(page + 1) * PAGE_SIZE } else { range };
                let changed = shared.invalidate(ram.id(), range);
                if changed || self.behind_cache() {
                    self.sync_with_cache();
                }
                if changed {
                    self.ask_others(&[Ask::ForgetDead]);
                }
            }
        }
    }

    /// Takes over a changed address space; the TLBs are stale then.
    pub fn refresh_view(&mut self) {
        if self.bus.generation() != self.view.generation {
            self.view = self.bus.view();
            self.flush_tlb();
            self.forget_blocks();
        }
    }

    /// The physical page that code at `gva` was fetched from, and its mode bits, if that is still known.
    pub(crate) fn fetched_page(&self, gva: Gva, space: u32) -> Option<(Gpa, u64)> {
        let (page, regime) = (gva.0 & PAGE_MASK, self.shared.frontend.fetch_regime(&self.cpu));
        let entry = self.tlb.fetch[fetch_index(page, space)].as_ref()?;
        let same = entry.page == page && entry.space == space && entry.regime == regime && entry.code.ram.is_some();
        same.then_some((entry.code.gpa, entry.code.code_mode))
    }

    /// The page that code at `gva` is fetched from.
    ///
    /// # Errors
    /// The exception that the fetch raises.
    pub(crate) fn fetch_page(&mut self, gva: Gva, space: u32) -> Result<CodePage, F::Exception> {
        let shared = self.shared.clone();
        let regime = shared.frontend.fetch_regime(&self.cpu);
        let page = gva.0 & PAGE_MASK;
        let at = fetch_index(page, space);
        if let Some(entry) = &self.tlb.fetch[at]
            && entry.page == page
            && entry.space == space
            && entry.regime == regime
        {
            return Ok(entry.code.clone());
        }
        let want = Want { intent: Intent::Fetch, mmu: regime };
        let found = self.translate(gva, want)?;
        let gpa = Gpa(found.gpa.0 & PAGE_MASK);
        let view = self.view.clone();
        let ram = match Self::host_of(&view, gpa) {
            Some((span, ram, offset)) if gpa.0 + (PAGE_SIZE - 1) <= span.last.0 && offset.is_multiple_of(PAGE_SIZE) => {
                Some((ram.clone(), offset))
            }
            _ => None,
        };
        if view.find(gpa).is_none() {
            return Err(self.bus_error(gva, found.gpa, want));
        }
        let code = CodePage { gpa, ram, code_mode: found.code_mode };
        self.spaces.add_page(space, page, gpa, code.code_mode);
        self.tlb.fetch[at] = Some(FetchEntry { page, space, regime, code: code.clone() });
        Ok(code)
    }

    /// Where `gva` leads for a debugger, without side effects on the guest beyond access flags.
    pub(crate) fn debug_translate(&mut self, gva: Gva, intent: Intent) -> Option<Gpa> {
        let mmu = self.shared.clone().frontend.fetch_regime(&self.cpu);
        self.translate(gva, Want { intent, mmu }).ok().map(|page| page.gpa)
    }
}

const _: () = assert!(TEMPS * 16 <= 4096, "temporaries stay within reach of 16-bit offsets");

/// What a load asks of its page.
fn intent_of_load(mem: Mem) -> Intent {
    if mem.modify { Intent::Write } else { Intent::Read }
}

/// Reverses the low `bytes` bytes.
fn swap(value: u128, bytes: u8) -> u128 {
    value.swap_bytes() >> (128 - 8 * u32::from(bytes))
}

/// The aligned power-of-two pieces of an access of `bytes` bytes at `gpa`, as (offset, width), widths at most 8.
fn pieces(gpa: u64, bytes: u8) -> impl Iterator<Item = (u8, u8)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes {
            return None;
        }
        let aligned = 1u8 << (gpa + u64::from(at)).trailing_zeros().min(3);
        let left = bytes - at;
        let width = aligned.min(1 << (7 - left.leading_zeros())).min(8);
        let piece = (at, width);
        at += width;
        Some(piece)
    })
}

/// Reads up to 16 bytes; single-copy atomic when they are an aligned power of two up to 8.
///
/// # Safety
/// `host` must be valid for `bytes` bytes of guest RAM.
#[inline]
pub(crate) unsafe fn read_host(host: *const u8, bytes: u8) -> u128 {
    // SAFETY: by the caller; unaligned reads of RAM that others may write are what the guest asked for.
    unsafe {
        match bytes {
            1 => host.read_volatile().into(),
            2 => host.cast::<u16>().read_unaligned().into(),
            4 => host.cast::<u32>().read_unaligned().into(),
            8 => host.cast::<u64>().read_unaligned().into(),
            16 => host.cast::<u128>().read_unaligned(),
            _ => {
                let mut value = 0;
                for i in (0..usize::from(bytes)).rev() {
                    value = value << 8 | u128::from(host.add(i).read_volatile());
                }
                value
            }
        }
    }
}

/// Writes up to 16 bytes; single-copy atomic when they are an aligned power of two up to 8.
///
/// # Safety
/// `host` must be valid for `bytes` bytes of guest RAM.
#[inline]
pub(crate) unsafe fn write_host(host: *mut u8, bytes: u8, value: u128) {
    // SAFETY: by the caller.
    unsafe {
        match bytes {
            1 => host.write_volatile(value as u8),
            2 => host.cast::<u16>().write_unaligned(value as u16),
            4 => host.cast::<u32>().write_unaligned(value as u32),
            8 => host.cast::<u64>().write_unaligned(value as u64),
            16 => host.cast::<u128>().write_unaligned(value),
            _ => {
                for i in 0..usize::from(bytes) {
                    host.add(i).write_volatile((value >> (8 * i)) as u8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_fall_into_aligned_pieces() {
        let all = |gpa, bytes| pieces(gpa, bytes).collect::<Vec<_>>();
        assert_eq!(all(0x1000, 8), [(0, 8)]);
        assert_eq!(all(0x1000, 16), [(0, 8), (8, 8)]);
        assert_eq!(all(0x1001, 4), [(0, 1), (1, 2), (3, 1)]);
        assert_eq!(all(0x1004, 7), [(0, 4), (4, 2), (6, 1)]);
        assert_eq!(swap(0x1122_3344, 4), 0x4433_2211);
    }
}
