//! Translated blocks: found by physical address and mode, linked to one another, and thrown away when the guest
//! changes the bytes they were made from.
//!
//! A block is owned by the cache. vCPUs keep raw pointers to blocks in their jump caches and while they run one; a block
//! taken out of the cache therefore goes to the graveyard first and is freed when every vCPU has seen the epoch in which
//! that happened.

// UNSAFETY: links are raw pointers to blocks.

#![allow(unsafe_code)]

use crate::code_memory::Patcher;
use crate::interp::Code;
use crate::runs::Runs;
use crate::targets::Targets;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vm::ram::{PAGE_SIZE, Ram, RamId, chunk_bits};
use vm::{Gpa, log};

/// What makes two blocks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Physical address of the first byte.
    pub gpa: Gpa,
    /// The front end's mode bits.
    pub mode: u64,
}

/// A translated block.
pub struct Block {
    /// What it is found by.
    pub key: BlockKey,
    /// Bytes of guest code.
    pub len_bytes: u32,
    /// Guest instructions.
    pub insns: u32,
    /// For the interpreter.
    pub code: Code,
    /// How often it was entered, until it is compiled.
    pub runs: Runs,
    /// Entry of the best host code, 0 if there is none.
    pub host: AtomicU64,
    /// The entry of it for template code, 0 if there is none.
    pub fast: AtomicU64,
    /// Template code of its own.
    pub template: OwnCode,
    /// Template code of it and those that mostly follow it.
    pub trace: OwnCode,
    /// Optimized code of its own; the fast entry is a piece of code in the template tier's memory.
    pub optimized: OwnCode,
    /// Where its indirect branch has led, if it ends with one.
    pub targets: Option<Box<Targets>>,
    /// The compiler has it or has given up on it.
    pub queued: AtomicBool,
    /// Compiled functions that contain it, other than its own.
    pub copies: AtomicU32,
    /// False once the guest code has changed.
    pub valid: AtomicBool,
    /// The program counter that jump caches have it under, 0 for none, [`Block::SEVERAL`] for more than one.
    pub learned_at: AtomicU64,
    /// Blocks that the two fixed exits lead to within the page, null if not linked.
    pub links: [AtomicPtr<Block>; 2],
    /// Entries of the code of those blocks, 0 if not linked: what optimized code jumps through.
    pub host_links: [AtomicU64; 2],
    /// The jumps of template code that leave it by a fixed exit, its own and those of traces that it is part of, with the
    /// address of the block that the code belongs to.
    jumps: Mutex<Vec<(usize, ExitJump)>>,
    /// Exits that stay in the page and yet lead where no link may: to an instruction that goes on in the next page, or to
    /// another mode. Code goes there by way of the jump cache.
    pub unlinkable: [AtomicBool; 2],
    /// The exits that are linked to it.
    incoming: Mutex<Vec<(Arc<Block>, usize)>>,
    /// The block of RAM that it was made from, and where.
    home: Home,
    /// Where the page lies that its one instruction goes on in, of a block that straddles two pages.
    next_page: Option<Home>,
}

/// A block of RAM and a byte of it.
pub type Home = (Arc<Ram>, u64);

/// Entries of a piece of host code, 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// For callers that keep program counter and budget in memory.
    pub host: u64,
    /// For template code.
    pub fast: u64,
}

/// Template code, and the jumps of it that links change.
#[derive(Debug, Default)]
pub struct TemplateCode {
    /// Where it is entered.
    pub entries: Entries,
    /// The jumps, each with the number of its block among those that the code is made of.
    pub jumps: Vec<(usize, ExitJump)>,
}

/// A jump of template code that leads to wherever an exit is linked to.
#[derive(Clone, Copy, Debug)]
pub struct ExitJump {
    /// The exit of the block.
    pub exit: u8,
    /// The address behind the jump. Its distance counts from here and is the four bytes before.
    pub end: u64,
    /// The distance to the code that is run as long as the exit is open.
    pub open: u32,
}

/// Code that belongs to a block and is freed with it.
#[derive(Debug, Default)]
pub struct OwnCode {
    host: AtomicU64,
    fast: AtomicU64,
}

impl OwnCode {
    fn store(&self, code: Entries) {
        self.host.store(code.host, Ordering::Release);
        self.fast.store(code.fast, Ordering::Release);
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.load().host == 0
    }
    fn load(&self) -> Entries {
        Entries { host: self.host.load(Ordering::Acquire), fast: self.fast.load(Ordering::Acquire) }
    }
}

impl Block {
    /// In jump caches under several program counters.
    pub const SEVERAL: u64 = u64::MAX;

    /// Notes that a jump cache has it under a program counter.
    pub fn learn(&self, pc: u64) {
        let known = self.learned_at.load(Ordering::Relaxed);
        if known == pc && pc != 0 || known == Self::SEVERAL {
            return;
        }
        let first = pc != 0 && self.learned_at.compare_exchange(0, pc, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !first {
            self.learned_at.store(Self::SEVERAL, Ordering::Relaxed);
        }
    }

    /// Whether it has optimized code of its own.
    pub fn is_optimized(&self) -> bool {
        self.optimized.load().host != 0
    }

    /// The best template code of its own.
    fn best_template(&self) -> Entries {
        let trace = self.trace.load();
        if trace.host == 0 { self.template.load() } else { trace }
    }

    /// A block without compiled code or links.
    pub fn new(key: BlockKey, len_bytes: u32, insns: u32, code: Code, home: Home) -> Self {
        Self {
            targets: code.is_indirect().then(Box::default),
            key,
            len_bytes,
            insns,
            code,
            runs: Runs::default(),
            host: AtomicU64::new(0),
            fast: AtomicU64::new(0),
            template: OwnCode::default(),
            trace: OwnCode::default(),
            optimized: OwnCode::default(),
            queued: AtomicBool::new(false),
            copies: AtomicU32::new(0),
            valid: AtomicBool::new(true),
            learned_at: AtomicU64::new(0),
            links: Default::default(),
            host_links: Default::default(),
            jumps: Mutex::default(),
            unlinkable: Default::default(),
            incoming: Mutex::default(),
            home,
            next_page: None,
        }
    }

    /// The block with the page that its instruction goes on in.
    #[must_use]
    pub fn straddling(self, next_page: Option<Home>) -> Self {
        Self { next_page, ..self }
    }

    /// The RAM and the bytes of it that the block was made from, in the page that it starts in.
    pub fn home(&self) -> (&Arc<Ram>, Range<u64>) {
        let end = self.home.1 + u64::from(self.len_bytes.max(1));
        let page_end = (self.home.1 / PAGE_SIZE + 1) * PAGE_SIZE;
        (&self.home.0, self.home.1..if self.next_page.is_some() { end.min(page_end) } else { end })
    }

    /// The same in the next page, of a block that straddles. Such a block is found only by whoever has looked where the next
    /// page is now: no link leads to it.
    pub fn in_next_page(&self) -> Option<(&Arc<Ram>, Range<u64>)> {
        let (ram, start) = self.next_page.as_ref()?;
        let (_, first) = self.home();
        Some((ram, *start..*start + u64::from(self.len_bytes) - (first.end - first.start)))
    }

    /// Both.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<Ram>, Range<u64>)> {
        std::iter::once(self.home()).chain(self.in_next_page())
    }

    /// The bytes of it that lie in a page of RAM.
    fn part_in(&self, ram: RamId, page: u64) -> Option<Range<u64>> {
        self.parts().find(|(r, range)| r.id() == ram && range.start / PAGE_SIZE == page).map(|(_, range)| range)
    }
}

/// Mixes the two words of a [`BlockKey`]. The guest can choose addresses that collide and slows only itself down.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_u64(&mut self, word: u64) {
        // An odd constant with no pattern; the halves of the product are folded together.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

/// All blocks of a machine.
#[derive(Default)]
pub struct CodeCache {
    by_key: HashMap<BlockKey, Arc<Block>, BuildHasherDefault<KeyHasher>>,
    by_page: HashMap<(RamId, u64), Vec<Arc<Block>>, BuildHasherDefault<KeyHasher>>,
    /// For each block the other blocks whose optimized code contains it, and the other way round.
    within: HashMap<*const Block, Vec<Arc<Block>>, BuildHasherDefault<KeyHasher>>,
    members: HashMap<*const Block, Vec<Arc<Block>>, BuildHasherDefault<KeyHasher>>,
    /// The same for traces.
    within_traces: HashMap<*const Block, Vec<Arc<Block>>, BuildHasherDefault<KeyHasher>>,
    traced: HashMap<*const Block, Vec<Arc<Block>>, BuildHasherDefault<KeyHasher>>,
    /// Dead blocks in order of the epochs that they died in.
    graveyard: Vec<(u64, Arc<Block>)>,
    /// Pages that blocks are about to be made from, and by how many vCPUs.
    held: HashMap<(RamId, u64), usize, BuildHasherDefault<KeyHasher>>,
    /// The RAM that blocks were made from.
    rams: HashMap<RamId, Arc<Ram>, BuildHasherDefault<KeyHasher>>,
    /// What the jumps of template code are changed by.
    pub patcher: Patcher,
    /// Where exits of template code lead that no link may leave by: to the jump cache.
    pub by_jump_cache: u64,
}

/// Entries of code that nobody needs any more, by the memory it lies in.
#[derive(Default)]
pub struct Freed {
    pub optimized: Vec<u64>,
    pub templates: Vec<u64>,
}

// SAFETY: the raw pointers in the maps by block are only keys and are never followed.
unsafe impl Send for CodeCache {}

impl CodeCache {
    /// The block with this key.
    pub fn find(&self, key: &BlockKey) -> Option<&Arc<Block>> {
        self.by_key.get(key)
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds a block and marks its bytes as code. Gives where the pages of it lie that held no code before.
    pub fn insert(&mut self, block: Arc<Block>) -> Vec<Home> {
        let mut fresh = Vec::new();
        for (ram, range) in block.parts() {
            let page = range.start / PAGE_SIZE;
            if ram.code().page(page) == 0 {
                fresh.push((ram.clone(), page * PAGE_SIZE));
            }
            ram.code().set(range);
            self.rams.entry(ram.id()).or_insert_with(|| ram.clone());
            self.by_page.entry((ram.id(), page)).or_default().push(block.clone());
        }
        self.by_key.insert(block.key, block);
        fresh
    }

    /// Whether blocks were made from a page of RAM.
    pub fn has_code(&self, ram: RamId, page: u64) -> bool {
        self.by_page.contains_key(&(ram, page))
    }

    /// Marks a page as one with code although it may have none yet, until it is released as often as it is held.
    pub fn hold(&mut self, ram: &Arc<Ram>, page: u64) {
        *self.held.entry((ram.id(), page)).or_default() += 1;
        ram.code().set(page * PAGE_SIZE..page * PAGE_SIZE + 1);
    }

    /// The opposite of [`hold`](Self::hold). A store to the page clears marks that no block needs.
    pub fn release(&mut self, ram: &Arc<Ram>, page: u64) {
        if let Some(times) = self.held.get_mut(&(ram.id(), page)) {
            *times -= 1;
            if *times == 0 {
                self.held.remove(&(ram.id(), page));
            }
        }
    }

    /// Lets exit `exit` of `from` lead straight to `to`. Both must be in the cache.
    pub fn link(&mut self, from: &Arc<Block>, exit: usize, to: &Arc<Block>) {
        if from.valid.load(Ordering::Relaxed) && to.valid.load(Ordering::Relaxed) {
            from.links[exit].store(Arc::as_ptr(to).cast_mut(), Ordering::Release);
            self.lead(from, exit, to);
            to.incoming.lock().unwrap().push((from.clone(), exit));
        }
    }

    /// Lets the code behind exit `exit` of `from` be that of `to`.
    fn lead(&self, from: &Block, exit: usize, to: &Block) {
        from.host_links[exit].store(to.host.load(Ordering::Acquire), Ordering::Release);
        self.point(from, exit, to.fast.load(Ordering::Acquire));
    }

    /// Lets the jumps of exit `exit` of `from` lead to a fast entry, or nowhere if that is 0.
    fn point(&self, from: &Block, exit: usize, fast: u64) {
        for (_, jump) in from.jumps.lock().unwrap().iter().filter(|(_, jump)| usize::from(jump.exit) == exit) {
            self.point_one(from, *jump, fast);
        }
    }

    fn point_one(&self, from: &Block, jump: ExitJump, fast: u64) {
        let to = match fast {
            0 if from.unlinkable[usize::from(jump.exit)].load(Ordering::Relaxed) => self.by_jump_cache,
            0 => jump.end + u64::from(jump.open),
            fast => fast,
        };
        // SAFETY: the code is not freed yet: a block that is taken out takes its jumps out of the lists of the others.
        unsafe { self.patcher.set_distance(jump.end, to.wrapping_sub(jump.end) as i32) };
    }

    /// Adds the jumps of template code that belongs to `owner` and is made of `blocks`.
    fn add_jumps(&self, owner: &Arc<Block>, blocks: &[Arc<Block>], jumps: Vec<(usize, ExitJump)>) {
        for (n, jump) in jumps {
            let block = &blocks[n];
            let to = block.links[usize::from(jump.exit)].load(Ordering::Relaxed);
            // SAFETY: a linked block is in the cache; those that leave it cut their links first.
            let fast = unsafe { to.as_ref() }.map_or(0, |to| to.fast.load(Ordering::Acquire));
            self.point_one(block, jump, fast);
            block.jumps.lock().unwrap().push((Arc::as_ptr(owner).addr(), jump));
        }
    }

    /// Cuts exit `exit` of `from`.
    fn cut(&self, from: &Block, exit: usize) {
        from.links[exit].store(std::ptr::null_mut(), Ordering::Release);
        from.host_links[exit].store(0, Ordering::Release);
        self.point(from, exit, 0);
    }

    /// Lets exit `exit` of `from`, which no link may leave by, lead through the jump cache.
    pub fn never_link(&mut self, from: &Block, exit: usize) {
        from.unlinkable[exit].store(true, Ordering::Relaxed);
        self.point(from, exit, 0);
    }

    /// Cuts exit `exit` of `from` if it is linked.
    pub fn unlink(&mut self, from: &Arc<Block>, exit: usize) {
        let to = from.links[exit].load(Ordering::Acquire);
        // SAFETY: a linked block is in the cache; those that leave it cut their links first.
        if let Some(to) = unsafe { to.as_ref() } {
            to.incoming.lock().unwrap().retain(|(block, n)| !Arc::ptr_eq(block, from) || *n != exit);
            self.cut(from, exit);
        }
    }

    /// Gives a block template code.
    pub fn install_template(&mut self, block: &Arc<Block>, code: TemplateCode) {
        self.add_jumps(block, std::slice::from_ref(block), code.jumps);
        block.template.store(code.entries);
        self.set_host(block, code.entries);
    }

    /// Gives a block optimized code: every exit that is linked to it jumps there from now on. The code contains the
    /// `members`, too: it goes when one of them goes. It is entered for the blocks `entered` as well, unless they have
    /// optimized code of their own.
    pub fn install(&mut self, head: &Arc<Block>, members: &[Arc<Block>], entered: &[Arc<Block>], code: Entries) {
        for member in members.iter().filter(|m| !Arc::ptr_eq(m, head)) {
            member.copies.fetch_add(1, Ordering::Relaxed);
            self.within.entry(Arc::as_ptr(member)).or_default().push(head.clone());
            self.members.entry(Arc::as_ptr(head)).or_default().push(member.clone());
        }
        head.optimized.store(code);
        self.set_host(head, code);
        for block in entered.iter().filter(|b| !b.is_optimized()) {
            self.set_host(block, code);
        }
    }

    /// Gives the first of the blocks template code that goes through all of them.
    pub fn install_trace(&mut self, path: &[Arc<Block>], code: TemplateCode) {
        let Some((head, rest)) = path.split_first() else { return };
        self.add_jumps(head, path, code.jumps);
        for block in rest {
            self.within_traces.entry(Arc::as_ptr(block)).or_default().push(head.clone());
            self.traced.entry(Arc::as_ptr(head)).or_default().push(block.clone());
        }
        head.trace.store(code.entries);
        self.set_host(head, code.entries);
    }

    /// How often a block was entered, by itself or at most as part of traces.
    pub fn heat(&self, block: &Arc<Block>) -> u32 {
        let heads = self.within_traces.get(&Arc::as_ptr(block));
        let traced = heads.into_iter().flatten().map(|head| head.runs.get());
        traced.fold(block.runs.get(), u32::saturating_add)
    }

    fn set_host(&self, block: &Arc<Block>, code: Entries) {
        block.host.store(code.host, Ordering::Release);
        block.fast.store(code.fast, Ordering::Release);
        for (from, exit) in block.incoming.lock().unwrap().iter() {
            self.lead(from, *exit, block);
        }
    }

    /// Takes out one block.
    pub fn discard(&mut self, block: &Arc<Block>, epoch: u64) {
        self.unlist(block);
        self.remove(block.clone(), epoch);
    }

    /// Takes a block out of the lists of its pages.
    fn unlist(&mut self, block: &Arc<Block>) {
        for (ram, range) in block.parts() {
            let page = (ram.id(), range.start / PAGE_SIZE);
            if let Some(blocks) = self.by_page.get_mut(&page) {
                blocks.retain(|b| !Arc::ptr_eq(b, block));
                if blocks.is_empty() {
                    self.by_page.remove(&page);
                }
            }
        }
    }

    /// Takes out every block made from bytes in `range` of a RAM block. Gives how many.
    pub fn invalidate(&mut self, ram: RamId, range: Range<u64>, epoch: u64) -> usize {
        if range.is_empty() {
            return 0;
        }
        let mut dead = Vec::new();
        for page in range.start / PAGE_SIZE..=(range.end - 1) / PAGE_SIZE {
            let Some(home) = self.rams.get(&ram) else { continue };
            let kept = if self.held.contains_key(&(ram, page)) { u64::MAX } else { 0 };
            let Some(blocks) = self.by_page.get_mut(&(ram, page)) else {
                // All of them were thrown away some other way.
                home.code().clear(page, !kept);
                continue;
            };
            let touched = |b: &Arc<Block>| {
                b.part_in(ram, page).is_some_and(|code| code.start < range.end && range.start < code.end)
            };
            let before = blocks.len();
            blocks.retain(|b| {
                let touched = touched(b);
                if touched {
                    dead.push(b.clone());
                }
                !touched
            });
            if blocks.len() == before && dead.is_empty() {
                continue;
            }
            let codes = blocks.iter().filter_map(|b| b.part_in(ram, page));
            let left = codes.fold(kept, |bits, code| bits | chunk_bits(&code));
            home.code().clear(page, !left);
            if blocks.is_empty() {
                self.by_page.remove(&(ram, page));
            }
        }
        let n = dead.len();
        for block in dead {
            // One may have gone with another already.
            if block.valid.load(Ordering::Relaxed) {
                if block.next_page.is_some() {
                    self.unlist(&block);
                }
                self.remove(block, epoch);
            }
        }
        n
    }

    fn remove(&mut self, block: Arc<Block>, epoch: u64) {
        log!(Exec, "invalidate block at {}", block.key.gpa);
        block.valid.store(false, Ordering::Release);
        if self.by_key.get(&block.key).is_some_and(|b| Arc::ptr_eq(b, &block)) {
            self.by_key.remove(&block.key);
        }
        let incoming = std::mem::take(&mut *block.incoming.lock().unwrap());
        for (from, exit) in incoming {
            self.cut(&from, exit);
        }
        for exit in 0..2 {
            let to = block.links[exit].swap(std::ptr::null_mut(), Ordering::AcqRel);
            // SAFETY: a linked block is in the cache; those that leave it cut their links first.
            if let Some(to) = unsafe { to.as_ref() } {
                to.incoming.lock().unwrap().retain(|(from, _)| !Arc::ptr_eq(from, &block));
            }
        }
        for member in self.members.remove(&Arc::as_ptr(&block)).unwrap_or_default() {
            if member.host.load(Ordering::Acquire) == block.host.load(Ordering::Acquire) {
                // It has no optimized code of its own.
                self.set_host(&member, member.best_template());
            }
            member.copies.fetch_sub(1, Ordering::Relaxed);
            if let Some(heads) = self.within.get_mut(&Arc::as_ptr(&member)) {
                heads.retain(|head| !Arc::ptr_eq(head, &block));
            }
        }
        for member in self.traced.remove(&Arc::as_ptr(&block)).unwrap_or_default() {
            member.jumps.lock().unwrap().retain(|(owner, _)| *owner != Arc::as_ptr(&block).addr());
            if let Some(heads) = self.within_traces.get_mut(&Arc::as_ptr(&member)) {
                heads.retain(|head| !Arc::ptr_eq(head, &block));
            }
        }
        let mut heads = self.within.remove(&Arc::as_ptr(&block)).unwrap_or_default();
        heads.extend(self.within_traces.remove(&Arc::as_ptr(&block)).unwrap_or_default());
        self.graveyard.push((epoch, block));
        // Compiled code that contains it is wrong now; the blocks that have the code are made anew.
        for head in heads.into_iter().filter(|head| head.valid.load(Ordering::Relaxed)) {
            self.discard(&head, epoch);
        }
    }

    /// Takes out everything. The bytes stay marked as code, so that a store to them is noticed as long as a vCPU may know
    /// one of the blocks.
    pub fn flush(&mut self, epoch: u64) {
        for (_, blocks) in std::mem::take(&mut self.by_page) {
            for block in blocks {
                if !block.valid.swap(false, Ordering::AcqRel) {
                    // It straddles, and was in the list of its other page.
                    continue;
                }
                block.incoming.lock().unwrap().clear();
                for exit in 0..2 {
                    block.links[exit].store(std::ptr::null_mut(), Ordering::Release);
                    block.host_links[exit].store(0, Ordering::Release);
                    self.point(&block, exit, 0);
                }
                block.jumps.lock().unwrap().clear();
                self.graveyard.push((epoch, block));
            }
        }
        self.by_key.clear();
        self.within.clear();
        self.members.clear();
        self.within_traces.clear();
        self.traced.clear();
    }

    /// The blocks that died after `epoch`, as far as they are not freed.
    pub fn died_after(&self, epoch: u64) -> &[(u64, Arc<Block>)] {
        let first = self.graveyard.partition_point(|(died, _)| *died <= epoch);
        &self.graveyard[first..]
    }

    /// Keeps a block that was never in the cache until every vCPU has seen `epoch`.
    pub fn entomb(&mut self, block: Arc<Block>, epoch: u64) {
        self.graveyard.push((epoch, block));
    }

    /// Frees dead blocks that died before `epoch`, which every vCPU has seen. Gives the entries of their code.
    pub fn bury(&mut self, epoch: u64) -> Freed {
        let mut freed = Freed::default();
        self.graveyard.retain(|(died, block)| {
            let keep = *died >= epoch;
            if !keep {
                let (template, trace, optimized) = (block.template.load(), block.trace.load(), block.optimized.load());
                let some = |entry: u64| Some(entry).filter(|entry| *entry != 0);
                freed.optimized.extend(some(optimized.host));
                let templates = [optimized.fast, template.host, trace.host];
                freed.templates.extend(templates.into_iter().filter_map(some));
            }
            keep
        });
        freed
    }
}
