//! The loop that runs a vCPU: find the block, execute it, notice what must be noticed between blocks.
// UNSAFETY: the loop follows raw block pointers from the jump cache and from links; cache.rs says why they live long
// enough.

#![allow(unsafe_code)]

use crate::around::Around;
use crate::cache::{Block, BlockKey, CodeCache, Entries, Home, TemplateCode};
use crate::code_memory::Usage;
use crate::env::{Bell, Env, Jump, KICK, Kicker, PinKick, jump_index, tag_of};
use crate::exclusive::Floor;
use crate::frontend::{Frontend, Helper, Key};
use crate::interp::{self, Exit};
use crate::ir;
use crate::mxcsr;
use crate::others::{Ask, Lobby};
use crate::softmmu::CodePage;
use crate::stress::Stress;
use crate::x64::{self, Part, Template, Way};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use vm::ram::{CodeWatch, PAGE_SIZE, Ram, RamId};
use vm::vcpu::{AccelError, Accelerator, BootRegs, Intent, Kick, PageFault, Stop, Vcpu, Wiring};
use vm::{BadState, Gpa, Gva, LoadError, Saved, log};

/// Instructions between looks around when nobody kicks.
const SLICE: u64 = 50_000;
/// The same if the machine has several vCPUs, which may wait for one another's looks.
const SLICE_OF_SEVERAL: u64 = 10_000;
/// Looks around between updates of the jump cache where several vCPUs install code.
const REFRESH: u32 = 32;
/// Instructions of a block at most.
const BLOCK_LIMIT: u32 = 32;
/// Blocks in the cache before all are thrown away.
const MAX_BLOCKS: usize = 1 << 19;
/// Pages that a look for a block may find behind the same address, one after the other, while others change the tables.
const HOLDS: usize = 8;
/// Version of the saved form of a vCPU. The first did not say whether it waits for an interrupt.
const SAVED_VERSION: u32 = 2;
/// Blocks that die at once before it is quicker to forget all.
const MANY_DEAD: usize = 64;

/// How guest code may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// Runs of a block before it gets template code, if there is a template tier; `None` makes none.
    pub template_after: Option<u32>,
    /// Runs of a block with template code before it gets a trace; `None` makes none.
    pub trace_after: Option<u32>,
    /// Runs of a block before it is optimized; `None` optimizes nothing.
    pub compile_after: Option<u32>,
    /// Compile on the vCPU's own thread and wait for it, so that a test sees compiled code.
    pub synchronous: bool,
}

/// A block and where it lies, in bytes from the first block of a region.
#[cfg(feature = "cranelift")]
#[derive(Clone)]
pub(crate) struct Near {
    pub block: Arc<Block>,
    pub distance: i64,
}

/// What compiles blocks.
pub trait Compiler<F: Frontend>: Send + Sync {
    /// Asks for a block to be compiled, now or later, with what lies around it; the result is given to
    /// [`Shared::install`].
    fn request(&self, shared: &Arc<Shared<F>>, block: Arc<Block>, around: Around);
    /// The code at these entries is no longer reachable.
    fn free(&self, entries: &[u64]);
    /// The host function `(env, entry) -> exit` that enters compiled code.
    fn entry(&self) -> u64;
    /// Blocks compiled so far and bytes of host code made of them.
    fn stats(&self) -> (u64, u64);
    /// How full its code memory is.
    fn memory(&self) -> Usage;
}

/// Shared with those who want to know how much it did.
impl<F: Frontend, C: Compiler<F>> Compiler<F> for Arc<C> {
    fn request(&self, shared: &Arc<Shared<F>>, block: Arc<Block>, around: Around) {
        (**self).request(shared, block, around);
    }
    fn free(&self, entries: &[u64]) {
        (**self).free(entries);
    }
    fn entry(&self) -> u64 {
        (**self).entry()
    }
    fn stats(&self) -> (u64, u64) {
        (**self).stats()
    }
    fn memory(&self) -> Usage {
        (**self).memory()
    }
}

/// Told of each piece of host code: its address, its length in bytes, its name.
pub type CodeSink = Box<dyn Fn(u64, usize, &str) + Send + Sync>;

/// What all vCPUs of a machine have in common.
pub struct Shared<F: Frontend> {
    /// The instruction set.
    pub frontend: F,
    pub(crate) helpers: &'static [Helper<F>],
    cache: Mutex<CodeCache>,
    epoch: AtomicU64,
    kickers: Mutex<Vec<Arc<Kicker>>>,
    /// How many vCPUs there are, and where those wait that ask others for something.
    vcpus: AtomicUsize,
    pub(crate) lobby: Lobby,
    pub(crate) floor: Floor,
    /// Whether all vCPUs run on one thread, and where it sleeps then.
    pub(crate) take_turns: bool,
    bell: Arc<Bell>,
    tiers: Tiers,
    template: Option<Template<F>>,
    compiler: Option<Box<dyn Compiler<F>>>,
    entry: u64,
    /// How often host code was installed: jump caches may lead to older code.
    installs: AtomicU64,
    /// The home of code that lies in no RAM.
    nowhere: OnceLock<Arc<vm::Ram>>,
    /// Guest instructions translated so far.
    pub translated: AtomicU64,
    /// Traces made so far.
    pub traces: AtomicU64,
    /// Nanoseconds spent on templates and on regions.
    pub(crate) spent_ns: [AtomicU64; 2],
    /// Blocks thrown away because the guest changed them, and how often everything was thrown away.
    invalidated: AtomicU64,
    flushes: AtomicU64,
    now_ns: fn() -> u64,
    sink: Option<CodeSink>,
    pub(crate) stress: Option<Stress>,
}

impl<F: Frontend> Shared<F> {
    /// Lets `kill` take blocks out of the cache, on whatever thread; it gives whether it did. The epoch moves on only when
    /// they can no longer be found, so that a vCPU that has seen the epoch meets none of them again.
    fn retire(&self, cache: &mut CodeCache, kill: impl FnOnce(&mut CodeCache, u64) -> bool) -> bool {
        // The epoch changes under the lock of the cache only.
        let epoch = self.epoch.load(Ordering::Relaxed).wrapping_add(1);
        let killed = kill(cache, epoch);
        if killed {
            self.epoch.store(epoch, Ordering::Release);
            self.kick_all();
        }
        killed
    }

    /// Throws away the blocks made from these bytes of RAM, on whatever thread. Gives whether there were any.
    pub(crate) fn invalidate(&self, ram: RamId, range: Range<u64>) -> bool {
        let mut cache = self.cache.lock().unwrap();
        self.retire(&mut cache, |cache, epoch| {
            let blocks = cache.invalidate(ram, range, epoch);
            self.invalidated.fetch_add(blocks as u64, Ordering::Relaxed);
            blocks != 0
        })
    }

    /// Adds the time that `f` takes to what tier 1 (0) or tier 2 (1) has spent, and names the code that it has made, if
    /// any, by what it is and where it comes from.
    pub(crate) fn measure<R>(
        &self,
        tier: usize,
        what: &str,
        gpa: Gpa,
        f: impl FnOnce() -> R,
        code: impl FnOnce(&R) -> Option<(u64, usize)>,
    ) -> R {
        let start = (self.now_ns)();
        let result = f();
        self.spent_ns[tier].fetch_add((self.now_ns)().saturating_sub(start), Ordering::Relaxed);
        if let (Some(sink), Some((at, len))) = (&self.sink, code(&result)) {
            sink(at, len, &format!("{what} {gpa}"));
        }
        result
    }

    /// Gives a block optimized code.
    pub fn install(&self, block: &Arc<Block>, entry: u64) {
        self.install_region(block, &[], &[], entry);
    }

    /// Gives a block optimized code that contains other blocks, too: it goes when one of these `members` goes. It is
    /// entered for the blocks `entered` as well, unless they have optimized code of their own.
    pub fn install_region(&self, head: &Arc<Block>, members: &[Arc<Block>], entered: &[Arc<Block>], entry: u64) {
        let adapter = self.template.as_ref().map(|template| template.adapter(entry));
        let full = adapter == Some(None);
        let code = Entries { host: entry, fast: adapter.flatten().unwrap_or(0) };
        let mut cache = self.cache.lock().unwrap();
        if members.iter().chain([head]).all(|b| b.valid.load(Ordering::Acquire)) && !head.is_optimized() {
            cache.install(head, members, entered, code);
            self.installs.fetch_add(1, Ordering::Release);
        } else {
            if let Some(compiler) = &self.compiler {
                compiler.free(&[entry]);
            }
            if let Some(template) = self.template.as_ref().filter(|_| code.fast != 0) {
                template.free(&[code.fast]);
            }
        }
        drop(cache);
        if full {
            self.code_memory_full();
        }
        if self.stress.is_some() {
            self.stress_install(head);
        }
    }

    /// Gives a block template code, on the vCPU's thread.
    fn install_template(&self, template: &Template<F>, block: &Block) {
        let block = owner(block);
        if !block.valid.load(Ordering::Acquire) {
            return;
        }
        let mut ir = self.retranslate(&block);
        if ir.insns != block.insns || ir.end.is_none() {
            // The guest is changing the code just now.
            return;
        }
        crate::opt::optimize(&mut ir, self.helpers);
        match template.compile(self, &[Part { block: &block, ir: &ir, way: Way::Out }], self.warm_after(&block)) {
            Some(Ok(code)) => {
                let mut cache = self.cache.lock().unwrap();
                if block.valid.load(Ordering::Acquire) && block.host.load(Ordering::Acquire) == 0 {
                    cache.install_template(&block, code);
                    self.installs.fetch_add(1, Ordering::Release);
                } else {
                    template.free(&[code.entries.host]);
                }
            }
            Some(Err(x64::Full)) => self.code_memory_full(),
            None => log!(OutAsm, "block at {} stays interpreted: it is too complex", block.key.gpa),
        }
    }

    /// Runs of a block before it gets template code.
    fn template_after(&self, key: &BlockKey) -> Option<u32> {
        let after = self.tiers.template_after?;
        self.stress.as_ref().map_or(Some(after), |stress| stress.template_after(key))
    }

    /// Runs of a block before it is optimized.
    fn optimized_after(&self, key: &BlockKey) -> Option<u32> {
        let after = self.tiers.compile_after?;
        Some(self.stress.as_ref().map_or(after, |stress| stress.compile_after(key)))
    }

    /// Runs after which template code asks for optimization.
    pub(crate) fn hot_after(&self, block: &Block) -> Option<u32> {
        self.compiler.as_ref().and_then(|_| self.optimized_after(&block.key))
    }

    /// Instructions between looks around.
    fn slice(&self) -> u64 {
        let usual = if self.has_several() { SLICE_OF_SEVERAL } else { SLICE };
        self.stress.as_ref().map_or(usual, Stress::slice)
    }

    /// Runs after which the first template code of a block asks for something better.
    fn warm_after(&self, block: &Block) -> Option<u32> {
        let traced = self.tiers.trace_after;
        let traced = traced.map(|after| self.stress.as_ref().map_or(after, |stress| stress.trace_after(&block.key)));
        [traced, self.hot_after(block)].into_iter().flatten().min()
    }

    /// Gives the first of the blocks a trace through all of them. Gives whether it did.
    pub(crate) fn install_trace(&self, template: &Template<F>, blocks: &[Arc<Block>], code: TemplateCode) -> bool {
        let mut cache = self.cache.lock().unwrap();
        let head = &blocks[0];
        let fits =
            blocks.iter().all(|b| b.valid.load(Ordering::Acquire)) && head.trace.is_empty() && !head.is_optimized();
        if fits {
            cache.install_trace(blocks, code);
            self.traces.fetch_add(1, Ordering::Relaxed);
        } else {
            template.free(&[code.entries.host]);
        }
        fits
    }

    /// How often a block was entered, by itself or as part of traces.
    #[cfg(feature = "cranelift")]
    pub(crate) fn heat(&self, block: &Arc<Block>) -> u32 {
        self.cache.lock().unwrap().heat(block)
    }

    /// The blocks that the fixed exits of `block` lead to within its page, as far as they are translated.
    pub fn successors(&self, block: &Block) -> [Option<Arc<Block>>; 2] {
        let start = block.key.gpa.0 % PAGE_SIZE;
        let cache = self.cache.lock().unwrap();
        [0, 1].map(|exit| {
            let to = Some(start.wrapping_add(block.code.exit_distance(exit)? as u64)).filter(|to| *to < PAGE_SIZE)?;
            self.in_page(&cache, block, to)
        })
    }

    /// The block at this distance from `block`, if that lies in its page and is translated.
    pub(crate) fn at_distance(&self, block: &Block, distance: i64) -> Option<Arc<Block>> {
        let to = (block.key.gpa.0 % PAGE_SIZE).wrapping_add(distance as u64);
        (to < PAGE_SIZE).then(|| self.in_page(&self.cache.lock().unwrap(), block, to)).flatten()
    }

    /// The blocks that `block` leads to, as far as it is known where they lie: those behind its fixed exits, and those
    /// that its indirect branch has led to lately. `block` is at `distance` from the first block of a region.
    #[cfg(feature = "cranelift")]
    pub(crate) fn near(&self, block: &Block, distance: i64, around: &Around) -> [Vec<Near>; 2] {
        let start = (block.key.gpa.0 % PAGE_SIZE) as i64;
        let cache = self.cache.lock().unwrap();
        let in_page = |offset: i64| {
            let block = self.in_page(&cache, block, offset as u64)?;
            Some(Near { block, distance: distance - start + offset })
        };
        let find = |to: i64| {
            let offset = start.checked_add(to)?;
            if (0..PAGE_SIZE as i64).contains(&offset) {
                return in_page(offset);
            }
            let distance = distance.checked_add(to)?;
            let block = cache.find(&BlockKey { gpa: around.at(distance)?, mode: block.key.mode })?;
            if block.in_next_page().is_some() {
                return None;
            }
            Some(Near { block: block.clone(), distance })
        };
        let fixed = [0, 1].into_iter().filter_map(|exit| find(block.code.exit_distance(exit)?));
        let targets = block.targets.as_ref().map_or_else(Vec::new, |targets| targets.all());
        let guessed = targets.into_iter().filter_map(|low| {
            let there = around.distance_to(low).and_then(|to| find(to.checked_sub(distance)?));
            // Code may be executed at several addresses: what is certain is the offset in the page.
            there.or_else(|| in_page(i64::from(low) % PAGE_SIZE as i64))
        });
        [fixed.collect(), guessed.collect()]
    }

    /// The block at this offset of the page of `block`, in the same mode.
    fn in_page(&self, cache: &CodeCache, block: &Block, offset: u64) -> Option<Arc<Block>> {
        let (ram, home) = block.home();
        let start = block.key.gpa.0 % PAGE_SIZE;
        let found = cache.find(&BlockKey { gpa: Gpa(block.key.gpa.0 - start + offset), mode: block.key.mode })?;
        // Other memory may lie at the address by now; and nobody may come to a block that straddles without a look.
        let same = found.in_next_page().is_none()
            && found.home().0.id() == ram.id()
            && found.home().1.start == home.start - start + offset;
        same.then(|| found.clone())
    }

    /// Runs of a block before it is compiled, at least one.
    #[cfg(feature = "cranelift")]
    pub(crate) fn compile_after(&self, block: &Block) -> u32 {
        self.optimized_after(&block.key).unwrap_or(u32::MAX).max(1)
    }

    /// Translates the code at `key` anew, for a compiler.
    pub fn retranslate(&self, block: &Block) -> ir::Block {
        let mut code = vec![0; block.len_bytes as usize];
        let mut ir = ir::Block::default();
        let (mut rest, mut whole) = (&mut code[..], true);
        for (ram, range) in block.parts() {
            let (part, behind) = rest.split_at_mut(rest.len().min((range.end - range.start) as usize));
            whole &= ram.read(range.start, part).is_some();
            rest = behind;
        }
        if whole {
            self.frontend.translate(block.key.mode, &code, block.insns, &mut ir);
        }
        ir
    }

    /// Throws everything away because compiled code has outgrown its memory.
    pub fn code_memory_full(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flush();
    }

    /// Throws everything away, on whatever thread.
    pub(crate) fn flush(&self) {
        self.change(|cache, epoch| {
            cache.flush(epoch);
            true
        });
    }

    /// [`retire`](Self::retire) for those who do not hold the lock of the cache.
    pub(crate) fn change(&self, kill: impl FnOnce(&mut CodeCache, u64) -> bool) {
        self.retire(&mut self.cache.lock().unwrap(), kill);
    }

    /// Makes every vCPU look around.
    pub(crate) fn kick_all(&self) {
        for kicker in self.kickers.lock().unwrap().iter() {
            kicker.interrupt();
        }
    }

    /// Whether the machine has more than one vCPU.
    pub(crate) fn has_several(&self) -> bool {
        self.vcpus.load(Ordering::Relaxed) > 1
    }

    /// Every vCPU.
    pub(crate) fn kickers(&self) -> MutexGuard<'_, Vec<Arc<Kicker>>> {
        self.kickers.lock().unwrap()
    }

    /// The template tier.
    pub fn template(&self) -> Option<&Template<F>> {
        self.template.as_ref()
    }

    fn bury(&self) {
        let kickers = self.kickers.lock().unwrap();
        let running = kickers.iter().filter(|k| k.running.load(Ordering::Acquire));
        let seen = running.map(|k| k.epoch.load(Ordering::Acquire)).min();
        drop(kickers);
        if let Some(seen) = seen {
            let freed = self.cache.lock().unwrap().bury(seen.wrapping_add(1));
            if let Some(compiler) = &self.compiler {
                compiler.free(&freed.optimized);
            }
            if let Some(template) = &self.template {
                template.free(&freed.templates);
            }
        }
    }
}

/// Room for the bytes of a block.
type CodeBytes = [u8; BLOCK_LIMIT as usize * 16];

/// A page of RAM that keeps to be taken for one with code, whatever is stored to it, until this is dropped. Not to be dropped
/// under the lock of the cache.
struct Held<F: Frontend> {
    shared: Arc<Shared<F>>,
    ram: Arc<Ram>,
    page: u64,
}

impl<F: Frontend> Held<F> {
    /// Whether a byte lies in the page.
    fn is_at(&self, (ram, at): &Home) -> bool {
        self.ram.id() == ram.id() && self.page == at / PAGE_SIZE
    }
}

impl<F: Frontend> Drop for Held<F> {
    fn drop(&mut self) {
        self.shared.cache.lock().unwrap().release(&self.ram, self.page);
    }
}

/// What a block is made from.
struct Source<'a> {
    /// The bytes.
    code: &'a [u8],
    /// Instructions at most.
    limit: u32,
    /// Where they lie.
    home: &'a Home,
    next_page: Option<&'a Home>,
}

impl Source<'_> {
    fn block(&self, key: BlockKey, ir: &ir::Block, code: interp::Code) -> Block {
        Block::new(key, ir.len_bytes, ir.insns, code, self.home.clone()).straddling(self.next_page.cloned())
    }
}

/// The owning pointer of a block that a raw pointer has led to.
pub(crate) fn owner(block: &Block) -> Arc<Block> {
    let pointer = std::ptr::from_ref(block);
    // SAFETY: every block is made by `Arc::new`, and who reaches it by a raw pointer keeps it alive.
    unsafe {
        Arc::increment_strong_count(pointer);
        Arc::from_raw(pointer)
    }
}

/// Tells the code cache of writes by devices.
struct Watch<F: Frontend>(Weak<Shared<F>>);
impl<F: Frontend> CodeWatch for Watch<F> {
    fn code_written(&self, ram: RamId, range: Range<u64>) {
        if let Some(shared) = self.0.upgrade() {
            shared.invalidate(ram, range);
        }
    }
}

/// The accelerator that translates.
pub struct Tcg<F: Frontend> {
    shared: Arc<Shared<F>>,
}

impl<F: Frontend> Tcg<F> {
    /// Translation of `frontend`'s instruction set. Without templates and a compiler everything is interpreted.
    pub fn new(
        frontend: F,
        tiers: Tiers,
        template: Option<Template<F>>,
        compiler: Option<Box<dyn Compiler<F>>>,
    ) -> Self {
        let helpers = frontend.helpers();
        let entry = match (&template, &compiler) {
            (Some(template), _) => template.entry(),
            (None, Some(compiler)) => compiler.entry(),
            (None, None) => 0,
        };
        let mut cache = CodeCache::default();
        if let Some(template) = &template {
            (cache.patcher, cache.by_jump_cache) = (template.patcher(), template.by_jump_cache());
        }
        Tcg {
            shared: Arc::new(Shared {
                frontend,
                helpers,
                cache: Mutex::new(cache),
                epoch: AtomicU64::new(0),
                kickers: Mutex::default(),
                vcpus: AtomicUsize::new(0),
                lobby: Lobby::default(),
                floor: Floor::default(),
                take_turns: false,
                bell: Arc::default(),
                tiers,
                template,
                compiler,
                entry,
                installs: AtomicU64::new(0),
                nowhere: OnceLock::new(),
                translated: AtomicU64::new(0),
                traces: AtomicU64::new(0),
                spent_ns: Default::default(),
                invalidated: AtomicU64::new(0),
                flushes: AtomicU64::new(0),
                now_ns: || 0,
                sink: None,
                stress: None,
            }),
        }
    }

    /// Gives the translator a clock, to tell what its own work costs; the guest never sees it. Before there are vCPUs.
    pub fn set_stopwatch(&mut self, now_ns: fn() -> u64) {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.now_ns = now_ns;
        }
    }

    /// Lets somebody be told of all host code. Before there are vCPUs.
    pub fn set_code_sink(&mut self, sink: CodeSink) {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.sink = Some(sink);
        }
    }

    /// Makes rare things frequent, as the numbers behind `seed` say: see `stress.rs`. For tests; before there are vCPUs.
    pub fn set_stress(&mut self, seed: u64) {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.stress = Some(Stress::new(seed));
        }
    }

    /// Lets all vCPUs run on one thread, one after the other: see `turns.rs`. Before there are vCPUs.
    pub fn set_turns(&mut self) {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.take_turns = true;
        }
    }

    /// What the vCPUs share.
    pub fn shared(&self) -> &Arc<Shared<F>> {
        &self.shared
    }

    /// A vCPU, reset.
    ///
    /// # Errors
    /// [`AccelError::UnknownModel`] and what else the front end refuses.
    pub fn vcpu_of(&self, wiring: Wiring) -> Result<TcgVcpu<F>, AccelError> {
        let kicker = Kicker::new(if self.shared.take_turns { self.shared.bell.clone() } else { Arc::default() });
        let poller = kicker.clone();
        let cpu = self.shared.frontend.cpu(&wiring, Arc::new(move || poller.request_poll()))?;
        wiring.pins.connect(Arc::new(PinKick(kicker.clone())));
        let (bus, pins) = (wiring.bus.clone(), wiring.pins.clone());
        let env = Env::new(cpu, bus, pins, kicker.clone(), self.shared.clone());
        kicker.epoch.store(self.shared.epoch.load(Ordering::Acquire), Ordering::Release);
        self.shared.kickers.lock().unwrap().push(kicker.clone());
        self.shared.vcpus.fetch_add(1, Ordering::SeqCst);
        let changed = kicker.clone();
        wiring.bus.on_change(Box::new(move || changed.interrupt()));
        let mut vcpu = TcgVcpu { env, boot: wiring.boot, executed: 0, installs: 0, looks: 0, id: wiring.id };
        vcpu.reset();
        Ok(vcpu)
    }
}

impl<F: Frontend> Accelerator for Tcg<F> {
    fn name(&self) -> &'static str {
        "tcg"
    }
    fn vcpu(&self, wiring: Wiring) -> Result<Box<dyn Vcpu>, AccelError> {
        Ok(Box::new(self.vcpu_of(wiring)?))
    }
}

/// A vCPU whose code is translated.
pub struct TcgVcpu<F: Frontend> {
    /// Its state.
    pub env: Box<Env<F>>,
    boot: Option<BootRegs>,
    executed: u64,
    /// How much host code was installed when the jump cache was last brought up to date.
    installs: u64,
    /// How often it has looked around.
    looks: u32,
    id: u32,
}

impl<F: Frontend> Drop for TcgVcpu<F> {
    fn drop(&mut self) {
        self.env.kicker.attach(None);
        // Nobody waits for a thread that panics.
        self.env.be_idle();
        let shared = self.env.shared.clone();
        shared.kickers.lock().unwrap().retain(|k| !Arc::ptr_eq(k, &self.env.kicker));
        shared.vcpus.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why the inner loop came back.
#[derive(Debug, PartialEq, Eq)]
enum Pause {
    /// Look around: the budget is used up or negative.
    Budget,
    /// Look around: the mode, the interrupt mask or the like may have changed.
    Resync,
}

impl<F: Frontend> Env<F> {
    /// Drops pointers to blocks that were invalidated; part of storing to code.
    pub(crate) fn sync_with_cache(&mut self) {
        self.forget_dead();
        self.end_slice();
    }

    /// Makes the vCPU look around as a kick does, from its own thread.
    pub(crate) fn end_slice(&mut self) {
        self.look.store(1, Ordering::Release);
        // A loop in compiled code must end even if an earlier kick, not seen yet, made the one of the invalidation void.
        if self.budget.load(Ordering::Relaxed) >= 0 {
            self.budget.fetch_sub(KICK, Ordering::AcqRel);
        }
    }

    /// Forgets the blocks that died since it did so last.
    fn forget_dead(&mut self) {
        let shared = self.shared.clone();
        let cache = shared.cache.lock().unwrap();
        // It changes under the lock of the cache only.
        let epoch = shared.epoch.load(Ordering::Acquire);
        let dead = cache.died_after(self.forgotten);
        // Optimized code was entered for other blocks, too.
        if dead.len() > MANY_DEAD || dead.iter().any(|(_, block)| block.is_optimized()) {
            self.forget_blocks();
        } else {
            dead.iter().for_each(|(_, block)| self.forget_block(block));
        }
        self.forgotten = epoch;
    }

    /// Whether blocks that this vCPU may still know were thrown away.
    pub(crate) fn behind_cache(&self) -> bool {
        self.kicker.epoch.load(Ordering::Relaxed) != self.shared.epoch.load(Ordering::Acquire)
    }

    /// The program counter with this lower half that the jump cache has an entry for, in the running code's mode and space.
    pub(crate) fn jump_by_half(&self, half: u32) -> Option<u64> {
        let jump = &self.jumps[jump_index(half.into())];
        (jump.pc as u32 == half && jump.tag == self.tag && !jump.block.is_null()).then_some(jump.pc)
    }

    /// The block at `pc`, if the jump cache has it for the running code's mode and space.
    pub(crate) fn jump_to(&self, pc: u64) -> Option<Arc<Block>> {
        let jump = &self.jumps[jump_index(pc)];
        // SAFETY: blocks in the jump cache live until this vCPU has acknowledged the epoch of their death.
        let block = unsafe { jump.block.as_ref() }
            .filter(|b| jump.pc == pc && jump.tag == self.tag && b.in_next_page().is_none());
        block.map(owner)
    }

    /// Finds or makes the block at the program counter.
    fn lookup(&mut self, key: Key) -> Result<*const Block, F::Exception> {
        let jump = &mut self.jumps[jump_index(key.pc.0)];
        if jump.pc == key.pc.0 && jump.tag == tag_of(key.mode, key.space) && !jump.block.is_null() {
            // SAFETY: blocks in the jump cache live until this vCPU has acknowledged the epoch of their death.
            let fast = unsafe { &*jump.block }.fast.load(Ordering::Acquire);
            if fast != 0 {
                jump.fast = fast;
            }
            return Ok(jump.block);
        }
        self.lookup_slow(key)
    }

    #[cold]
    fn lookup_slow(&mut self, key: Key) -> Result<*const Block, F::Exception> {
        self.lookups += 1;
        let key = Key { space: self.number_at(key.space, key.pc), ..key };
        if let Some((page, code_mode)) = self.fetched_page(key.pc, key.space) {
            let mode = key.mode | code_mode | self.shared.frontend.pc_mode(key.pc);
            let known = self.known(&BlockKey { gpa: Gpa(page.0 + key.pc.0 % PAGE_SIZE), mode });
            // SAFETY: blocks that are remembered live until this vCPU has acknowledged the epoch of their death.
            let known = known.filter(|block| unsafe { &**block }.in_next_page().is_none());
            if let Some(block) = known {
                self.learn_jump(key, block);
                return Ok(block);
            }
        }
        let shared = self.shared.clone();
        let (mut key, mut held) = (key, None::<Held<F>>);
        let mut page = self.fetch_page(key.pc, key.space)?;
        for _ in 0..HOLDS {
            let other = page.ram.clone().filter(|home| !held.as_ref().is_some_and(|held| held.is_at(home)));
            let Some(fresh) = other.and_then(|home| self.hold_if_fresh(&home)) else { break };
            held = Some(fresh);
            // Meanwhile others may have asked for anything to be forgotten.
            key = self.enter_now(&shared);
            key = Key { space: self.number_at(key.space, key.pc), ..key };
            page = self.fetch_page(key.pc, key.space)?;
        }
        let gpa = Gpa(page.gpa.0 + key.pc.0 % PAGE_SIZE);
        let block_key = BlockKey { gpa, mode: key.mode | page.code_mode | shared.frontend.pc_mode(key.pc) };
        let Some((ram, offset)) = page.ram else {
            let code: Vec<u8> = (0..F::MAX_INSN as u64)
                .map(|n| self.view.load(Gpa(gpa.0.wrapping_add(n)), 1).unwrap_or(0) as u8)
                .collect();
            return self.code_once(key, block_key, &code);
        };
        let at = offset + key.pc.0 % PAGE_SIZE;
        let mut cache = shared.cache.lock().unwrap();
        let mut found = cache.find(&block_key).cloned();
        if let Some(old) = found.take_if(|block| block.home().0.id() != ram.id() || block.home().1.start != at) {
            // Other memory lies at the physical address now.
            shared.retire(&mut cache, |cache, epoch| {
                cache.discard(&old, epoch);
                true
            });
            self.forget_blocks();
        }
        let block = match found {
            Some(block) if block.in_next_page().is_none() => block,
            Some(_) => {
                drop(cache);
                return self.lookup_straddling(key, block_key, &(ram, at));
            }
            None => {
                if cache.len() >= MAX_BLOCKS {
                    shared.retire(&mut cache, |cache, epoch| {
                        cache.flush(epoch);
                        true
                    });
                    self.forget_blocks();
                }
                ram.watch_code_once(|| Arc::new(Watch(Arc::downgrade(&shared))));
                match self.translate_ram(&mut cache, key.pc, block_key, &(ram.clone(), at), None) {
                    Some(block) => block,
                    None => {
                        drop(cache);
                        return self.lookup_straddling(key, block_key, &(ram, at));
                    }
                }
            }
        };
        drop(cache);
        drop(held);
        Ok(self.found(key, &block))
    }

    /// Makes sure that no vCPU stores to a page of RAM without looking whether there is code, before code is made of it.
    /// `None` if that is so already.
    fn hold_if_fresh(&mut self, (ram, at): &Home) -> Option<Held<F>> {
        let (shared, page) = (self.shared.clone(), at / PAGE_SIZE);
        if !shared.has_several() {
            return None;
        }
        {
            let mut cache = shared.cache.lock().unwrap();
            if cache.has_code(ram.id(), page) {
                return None;
            }
            cache.hold(ram, page);
        }
        // SAFETY: the page lies in the block of RAM.
        let host = unsafe { ram.host().add((page * PAGE_SIZE) as usize) };
        self.protect_code(host);
        self.ask_others(&[Ask::Protect(host.addr())]);
        Some(Held { shared, ram: ram.clone(), page })
    }

    /// Remembers a block that was found with effort.
    fn found(&mut self, key: Key, block: &Arc<Block>) -> *const Block {
        let pointer = Arc::as_ptr(block);
        self.remember(block.key, pointer);
        self.learn_jump(key, pointer);
        if self.shared.stress.is_some() {
            self.stress_lookup();
        }
        pointer
    }

    /// Finds or makes the block of an instruction that goes on in the next page. Its entry in the jump cache goes with the
    /// translation of either page.
    fn lookup_straddling(&mut self, key: Key, block_key: BlockKey, home: &Home) -> Result<*const Block, F::Exception> {
        let next = Gva((key.pc.0 & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE));
        let page = self.fetch_page(next, key.space)?;
        let shared = self.shared.clone();
        let Some(next_page) = page.ram.clone() else {
            let rest = PAGE_SIZE - key.pc.0 % PAGE_SIZE;
            let byte = |env: &Self, n: u64| {
                let at = if n < rest { block_key.gpa.0 + n } else { page.gpa.0 + n - rest };
                env.view.load(Gpa(at), 1).unwrap_or(0) as u8
            };
            let code: Vec<u8> = (0..F::MAX_INSN as u64).map(|n| byte(self, n)).collect();
            return self.code_once(key, block_key, &code);
        };
        let held = self.hold_if_fresh(&next_page);
        let mut cache = shared.cache.lock().unwrap();
        let mut block = cache.find(&block_key).cloned();
        let same = |block: &Arc<Block>| {
            let next = block
                .in_next_page()
                .is_some_and(|(ram, range)| ram.id() == next_page.0.id() && range.start == next_page.1);
            next && block.home().0.id() == home.0.id() && block.home().1.start == home.1
        };
        if let Some(old) = block.take_if(|block| !same(block)) {
            shared.retire(&mut cache, |cache, epoch| {
                cache.discard(&old, epoch);
                true
            });
            self.forget_blocks();
        }
        let block = match block {
            Some(block) => block,
            None => {
                next_page.0.watch_code_once(|| Arc::new(Watch(Arc::downgrade(&shared))));
                match self.translate_ram(&mut cache, key.pc, block_key, home, Some(&next_page)) {
                    Some(block) => block,
                    None => unreachable!("the longest instruction is there"),
                }
            }
        };
        drop(cache);
        drop(held);
        Ok(self.found(key, &block))
    }

    /// Puts a block into the jump cache.
    fn learn_jump(&mut self, key: Key, block: *const Block) {
        // SAFETY: who found the block keeps it alive.
        let found = unsafe { &*block };
        found.learn(key.pc.0);
        let fast = match found.fast.load(Ordering::Acquire) {
            0 => self.shared.template.as_ref().map_or(0, Template::no_code),
            fast => fast,
        };
        self.add_jump(Jump { pc: key.pc.0, tag: tag_of(key.mode, key.space), fast, block });
    }

    /// At most `most` bytes of code from a place on, to the end of its page and then from the next one.
    fn code_bytes<'b>(home: &Home, next_page: Option<&Home>, most: usize, buffer: &'b mut CodeBytes) -> &'b [u8] {
        let first = most.min((PAGE_SIZE - home.1 % PAGE_SIZE) as usize);
        let (here, behind) = buffer.split_at_mut(first);
        if home.0.read(home.1, here).is_none() {
            return &[];
        }
        let mut len = first;
        if let Some((ram, at)) = next_page {
            let next = &mut behind[..most - first];
            if ram.read(*at, next).is_some() {
                len = most;
            }
        }
        &buffer[..len]
    }

    /// Translates code and puts it into the cache. `None` if the first instruction goes on in a page that is not given.
    fn translate_ram(
        &mut self,
        cache: &mut CodeCache,
        pc: Gva,
        key: BlockKey,
        home: &Home,
        next_page: Option<&Home>,
    ) -> Option<Arc<Block>> {
        loop {
            let mut buffer = [0; size_of::<CodeBytes>()];
            let (limit, most) = if next_page.is_some() { (1, F::MAX_INSN) } else { (BLOCK_LIMIT, buffer.len()) };
            let code = Self::code_bytes(home, next_page, most, &mut buffer);
            let source = Source { code, limit, home, next_page };
            let block = match self.emit_block(cache, pc, key, &source) {
                Some(block) => block,
                None => Arc::new(self.translate_block(pc, key, &source)?),
            };
            for (ram, page) in cache.insert(block.clone()) {
                // SAFETY: the page lies in the block of RAM.
                let host = unsafe { ram.host().add(page as usize) };
                self.protect_code(host);
            }
            // A device that wrote before the bytes were marked as code has told nobody.
            let len = (block.len_bytes as usize).min(code.len());
            let mut buffer = [0; size_of::<CodeBytes>()];
            if Self::code_bytes(home, next_page, len, &mut buffer) == &code[..len] {
                return Some(block);
            }
            self.shared.clone().retire(cache, |cache, epoch| {
                cache.discard(&block, epoch);
                true
            });
        }
    }

    /// Translates code straight to templates, if that is how this machine starts.
    fn emit_block(&mut self, cache: &mut CodeCache, pc: Gva, key: BlockKey, source: &Source<'_>) -> Option<Arc<Block>> {
        let shared = self.shared.clone();
        let template = shared.template.as_ref().filter(|_| shared.template_after(&key) == Some(0))?;
        let mut ir = std::mem::take(&mut self.ir);
        ir.clear();
        shared.frontend.translate(key.mode, source.code, source.limit, &mut ir);
        if ir.insns == 0 {
            self.ir = ir;
            return None;
        }
        self.log_translation(pc, key, source.code.get(..ir.len_bytes as usize).unwrap_or_default(), &ir);
        debug_assert_eq!(ir::verify(&ir), Ok(()), "{}", ir.display(shared.frontend.names()));
        crate::opt::optimize(&mut ir, shared.helpers);
        log!(IrOpt, "OPT: block at {pc}\n{}", ir.display(shared.frontend.names()));
        let decoded = interp::Code::of_host_block(&ir);
        let block = Arc::new(source.block(key, &ir, decoded));
        let compiled =
            template.compile(&shared, &[Part { block: &block, ir: &ir, way: Way::Out }], shared.warm_after(&block));
        let insns = ir.insns;
        self.ir = ir;
        match compiled {
            Some(Ok(code)) => {
                shared.translated.fetch_add(insns.into(), Ordering::Relaxed);
                cache.install_template(&block, code);
                Some(block)
            }
            Some(Err(x64::Full)) => {
                shared.flushes.fetch_add(1, Ordering::Relaxed);
                // Everything goes; this block is interpreted until it is found no more.
                shared.retire(cache, |cache, epoch| {
                    cache.flush(epoch);
                    true
                });
                self.forget_blocks();
                None
            }
            None => None,
        }
    }

    /// Code in a device's window, read through the bus: executed once.
    fn code_once(&mut self, key: Key, block_key: BlockKey, code: &[u8]) -> Result<*const Block, F::Exception> {
        let shared = self.shared.clone();
        // An anonymous page of RAM is the home that every block needs; nothing is ever stored there.
        let home = match shared.nowhere.get() {
            Some(home) => home.clone(),
            None => match vm::Ram::new(1) {
                Ok(home) => shared.nowhere.get_or_init(|| home).clone(),
                Err(error) => {
                    log!(GuestError, "code at {} in a device: {error}", block_key.gpa);
                    return Err(self.fetch_error(key.pc, block_key.gpa));
                }
            },
        };
        let source = Source { code, limit: 1, home: &(home, 0), next_page: None };
        let Some(block) = self.translate_block(key.pc, block_key, &source) else {
            unreachable!("the longest instruction is there")
        };
        let block = Arc::new(block);
        // Its home has other bytes: nobody may translate it again.
        block.valid.store(false, Ordering::Release);
        let pointer = Arc::as_ptr(&block);
        let mut cache = shared.cache.lock().unwrap();
        // Dead from the start: it lives until this vCPU looks around after this slice. Nobody is kicked, for a kick now
        // would keep the block from being run at all.
        let epoch = shared.epoch.load(Ordering::Relaxed).wrapping_add(1);
        cache.entomb(block, epoch);
        shared.epoch.store(epoch, Ordering::Release);
        Ok(pointer)
    }

    /// Translates code for the interpreter. `None` if the code ends within the first instruction.
    fn translate_block(&mut self, pc: Gva, key: BlockKey, source: &Source<'_>) -> Option<Block> {
        let shared = self.shared.clone();
        let limits = interp::Limits { temps: self.temps_offset() };
        let mut limit = source.limit;
        loop {
            let mut ir = ir::Block::default();
            shared.frontend.translate(key.mode, source.code, limit, &mut ir);
            if ir.insns == 0 {
                return None;
            }
            let covered = source.code.get(..ir.len_bytes as usize).unwrap_or_default();
            if limit == BLOCK_LIMIT || limit == 1 {
                self.log_translation(pc, key, covered, &ir);
            }
            debug_assert_eq!(ir::verify(&ir), Ok(()), "{}", ir.display(shared.frontend.names()));
            crate::opt::optimize(&mut ir, shared.helpers);
            log!(IrOpt, "OPT: block at {pc}\n{}", ir.display(shared.frontend.names()));
            match interp::decode(&ir, shared.helpers, &limits) {
                Some(decoded) => {
                    shared.translated.fetch_add(ir.insns.into(), Ordering::Relaxed);
                    return Some(source.block(key, &ir, decoded));
                }
                None => {
                    assert!(limit > 1, "one instruction needs more temporaries than there are");
                    limit /= 2;
                }
            }
        }
    }

    fn log_translation(&self, pc: Gva, key: BlockKey, code: &[u8], ir: &ir::Block) {
        if log::enabled(log::Item::InAsm) {
            let lines = self.shared.frontend.disassemble(pc, code).join("\n");
            log!(InAsm, "----------------\nIN: physical {} mode {:#x}\n{lines}\n", key.gpa, key.mode);
        }
        log!(Ir, "IR: block at {pc}\n{}", ir.display(self.shared.frontend.names()));
    }

    fn temps_offset(&self) -> u16 {
        let offset = (&raw const self.temps).addr() - std::ptr::from_ref(self).addr();
        u16::try_from(offset).expect("the state struct is small enough for 16-bit offsets")
    }

    /// Executes blocks until the budget is used up or something else must be looked at.
    fn slice(&mut self) -> Pause {
        let shared = self.shared.clone();
        self.coherent = F::COHERENT_CODE.is_some();
        let pause = self.blocks(&shared);
        self.coherent = false;
        pause
    }

    fn blocks(&mut self, shared: &Arc<Shared<F>>) -> Pause {
        let mut found = self.lookup_now(shared);
        loop {
            let block = match found {
                // SAFETY: blocks in the jump cache and behind links live until this vCPU has acknowledged the epoch of
                // their death, which it does between slices only.
                Ok(block) => unsafe { &*block },
                // A fetch that does not fit the budget any more is made again in the next slice.
                Err(_) if self.budget.load(Ordering::Relaxed) < 1 => return Pause::Budget,
                Err(exception) => {
                    self.take_fetch_fault(shared, exception);
                    return Pause::Resync;
                }
            };
            let left = self.budget.load(Ordering::Relaxed) - i64::from(block.insns);
            if left < 0 || self.look.load(Ordering::Relaxed) != 0 {
                return Pause::Budget;
            }
            let host = block.host.load(Ordering::Acquire);
            let (exit, block) = if host != 0 {
                // SAFETY: the entry belongs to code that a compiler installed for this environment's type.
                let enter = unsafe { std::mem::transmute::<u64, extern "C" fn(*mut Env<F>, u64) -> u32>(shared.entry) };
                self.before_compiled();
                let exit = enter(self, host);
                self.after_compiled();
                if shared.template.is_none() {
                    // Else `next` counts.
                    self.exits[exit as usize & 7] += 1;
                }
                match exit {
                    HOT => {
                        // SAFETY: compiled code names the block it left from, which is alive as above.
                        let block = unsafe { &*self.left };
                        self.warmed_up(shared, block);
                        found = Ok(block);
                        continue;
                    }
                    INDIRECT => (Some(Exit::Indirect), block),
                    code => match exit_of(code) {
                        // SAFETY: as above.
                        Some(exit) => (Some(exit), unsafe { &*self.left }),
                        None => (None, block),
                    },
                }
            } else {
                self.budget.store(left, Ordering::Relaxed);
                if self.count_run(shared, block) {
                    self.budget.store(left + i64::from(block.insns), Ordering::Relaxed);
                    found = Ok(block);
                    continue;
                }
                self.exits[7] += 1;
                log!(Exec, "block {:#x} mode {:#x} ({} insns)", self.pc(), block.key.mode, block.insns);
                // SAFETY: the block was decoded for `F`.
                let exit = unsafe { interp::run(self, block) };
                if let (Exit::Indirect, Some(targets)) = (exit, &block.targets) {
                    targets.record(block.runs.get(), self.pc());
                }
                (Some(exit), block)
            };
            found = match exit {
                Some(exit @ (Exit::First | Exit::Second)) => self.follow(shared, block, exit as usize),
                Some(Exit::Indirect) => {
                    let key = self.key_here();
                    self.lookup(key)
                }
                Some(Exit::Resync) => return Pause::Resync,
                Some(Exit::Raised) => {
                    self.take_raised(shared, block);
                    return Pause::Resync;
                }
                None => return Pause::Budget,
            };
        }
    }

    /// What the block at the program counter is found by, in the mode and space of the code that ran last.
    fn key_here(&mut self) -> Key {
        Key { pc: Gva(self.pc()), mode: self.tag & u64::from(u32::MAX), space: (self.tag >> 32) as u32 }
    }

    /// Finds the block at the program counter whatever mode and space are now.
    fn lookup_now(&mut self, shared: &Shared<F>) -> Result<*const Block, F::Exception> {
        let key = self.enter_now(shared);
        self.lookup(key)
    }

    /// What the block at the program counter is found by now; its mode and space are those of the running code from now on.
    fn enter_now(&mut self, shared: &Shared<F>) -> Key {
        let key = self.key_now(shared);
        self.tag = tag_of(key.mode, key.space);
        self.enter_space();
        key
    }

    /// What comes after host code that left with `exit`: the entry of other host code, or a code below [`EXIT_CODES`] when the
    /// loop must see to it.
    fn next(&mut self, exit: u32) -> u64 {
        self.exits[exit as usize & 7] += 1;
        if self.look.load(Ordering::Relaxed) != 0 {
            return exit.into();
        }
        // SAFETY: the environment never changes what it shares, and outlives this call.
        let shared = unsafe { &*Arc::as_ptr(&self.shared) };
        let found = match exit_of(exit) {
            // SAFETY: compiled code names the block it left from, which is alive as in `slice`.
            Some(exit @ (Exit::First | Exit::Second)) => self.follow(shared, unsafe { &*self.left }, exit as usize),
            Some(Exit::Indirect) => {
                let key = self.key_here();
                self.lookup(key)
            }
            Some(exit @ (Exit::Resync | Exit::Raised)) => {
                if exit == Exit::Raised {
                    // SAFETY: as above.
                    self.take_raised(shared, unsafe { &*self.left });
                }
                if self.halted || self.alone || self.gives_way {
                    return Exit::Resync as u64;
                }
                let pins = self.pins.levels();
                if pins != 0 || shared.frontend.waits(&self.cpu) {
                    self.between_blocks(|env| shared.frontend.interrupt(env, pins));
                }
                self.lookup_now(shared)
            }
            None => return exit.into(),
        };
        // The loop finds a fault again, and interprets what has no code.
        // SAFETY: as in `slice`.
        match found.map_or(0, |block| unsafe { &*block }.host.load(Ordering::Acquire)) {
            0 => Exit::Indirect as u64,
            host => host,
        }
    }

    /// Enters the handler of the exception that `block` raised. The instruction that raised it counts as executed, those
    /// after it do not.
    fn take_raised(&mut self, shared: &Shared<F>, block: &Block) {
        let unused = block.insns.saturating_sub(block.code.insns_to(self.fault_pc));
        self.budget.fetch_add(unused.into(), Ordering::Relaxed);
        let pc = self.pc().wrapping_add(self.fault_pc.into());
        self.set_pc(pc);
        self.raised = 0;
        if self.alone {
            // It is executed later.
            self.budget.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(exception) = self.exception.take() {
            self.between_blocks(|env| shared.frontend.take(env, exception));
        }
    }

    /// Enters the handler of an exception that a fetch raised; it counts as an instruction, so that a budget always ends.
    fn take_fetch_fault(&mut self, shared: &Arc<Shared<F>>, exception: F::Exception) {
        self.budget.fetch_sub(1, Ordering::Relaxed);
        self.between_blocks(|env| shared.frontend.take(env, exception));
    }

    /// Lets the front end change the state where no block is under way: its stores may change any code.
    fn between_blocks<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let coherent = std::mem::replace(&mut self.coherent, false);
        let result = f(self);
        self.coherent = coherent;
        result
    }

    /// Counts a run that is about to be interpreted. Gives whether the block has host code now.
    fn count_run(&mut self, shared: &Arc<Shared<F>>, block: &Block) -> bool {
        let runs = block.runs.count();
        if let Some(template) = &shared.template
            && shared.template_after(&block.key) == Some(runs)
        {
            shared.install_template(template, block);
            return block.host.load(Ordering::Acquire) != 0;
        }
        if shared.optimized_after(&block.key).is_some_and(|after| runs >= after) {
            self.request(shared, block);
        }
        false
    }

    /// Finds something better for a block whose template code has run often.
    fn warmed_up(&mut self, shared: &Arc<Shared<F>>, block: &Block) {
        let hot = shared.hot_after(block).is_some_and(|after| block.runs.get() >= after);
        match &shared.template {
            Some(template) if !hot => {
                shared.trace(template, self, &owner(block));
                // The jump cache leads there as well: the program counter is the block's.
                let index = jump_index(self.pc());
                let jump = &mut self.jumps[index];
                if std::ptr::eq(jump.block, block) {
                    jump.fast = block.fast.load(Ordering::Acquire);
                }
            }
            _ => self.request(shared, block),
        }
    }

    /// Asks for a block to be optimized, once.
    fn request(&mut self, shared: &Arc<Shared<F>>, block: &Block) {
        if let Some(compiler) = &shared.compiler
            && !block.queued.swap(true, Ordering::AcqRel)
        {
            let block = owner(block);
            if block.valid.load(Ordering::Acquire) {
                let around = self.around(&block);
                compiler.request(shared, block, around);
            }
        }
    }

    /// The pages around a block at the program counter that code of its mode was fetched from.
    fn around(&mut self, block: &Block) -> Around {
        let key = self.key_here();
        Around::new(block.key.gpa, key.pc, |pc| {
            let (page, code_mode) = self.fetched_page(pc, key.space)?;
            (key.mode | code_mode | self.shared.frontend.pc_mode(pc) == block.key.mode).then_some(page)
        })
    }

    /// Finds the block behind a fixed exit and links it if it lies in the same page.
    fn follow(&mut self, shared: &Shared<F>, from: &Block, exit: usize) -> Result<*const Block, F::Exception> {
        let link = from.links[exit].load(Ordering::Acquire);
        if !link.is_null() {
            return Ok(link);
        }
        let key = self.key_here();
        let to = self.lookup(key)?;
        // SAFETY: as in `slice`.
        let to_key = unsafe { (*to).key };
        let start = from.key.gpa.0 % PAGE_SIZE;
        let target = from.code.exit_distance(exit).map(|distance| start.wrapping_add(distance as u64));
        // SAFETY: as in `slice`.
        let straddles = unsafe { &*to }.in_next_page().is_some();
        // A link holds at every virtual address of the block only if the exit stays in the page, and the block behind it.
        if target.is_some_and(|target| {
            !straddles
                && target < PAGE_SIZE
                && to_key.gpa.0 == from.key.gpa.0 - start + target
                && to_key.mode == from.key.mode
        }) {
            // SAFETY: as in `slice`.
            let to = owner(unsafe { &*to });
            shared.cache.lock().unwrap().link(&owner(from), exit, &to);
        } else if target.is_some_and(|target| target < PAGE_SIZE) && shared.template.is_some() {
            shared.cache.lock().unwrap().never_link(from, exit);
        }
        Ok(to)
    }
}

/// What the entry stub calls when host code has left: see [`Env::next`].
pub(crate) extern "C" fn next<F: Frontend>(env: &mut Env<F>, exit: u32) -> u64 {
    env.next(exit)
}

/// Codes that host code leaves with are smaller.
pub(crate) const EXIT_CODES: u64 = 8;
/// Codes that host code leaves with beside those of [`exit_of`].
const HOT: u32 = x64::HOT as u32;
const INDIRECT: u32 = Exit::Indirect as u32;

fn exit_of(code: u32) -> Option<Exit> {
    match code {
        0 => Some(Exit::First),
        1 => Some(Exit::Second),
        2 => Some(Exit::Indirect),
        3 => Some(Exit::Resync),
        4 => Some(Exit::Raised),
        _ => None,
    }
}

impl<F: Frontend> TcgVcpu<F> {
    /// Makes the vCPU one that blocks are kept for. Those that it knows from before may be gone.
    fn enter(&mut self) {
        let env = &mut *self.env;
        let shared = env.shared.clone();
        // Blocks are freed by what is read under this lock.
        let kickers = shared.kickers.lock().unwrap();
        let epoch = shared.epoch.load(Ordering::Acquire);
        let behind = env.kicker.epoch.swap(epoch, Ordering::AcqRel) != epoch;
        env.kicker.running.store(true, Ordering::Release);
        drop(kickers);
        if behind {
            // Blocks that died meanwhile may be gone, too.
            env.forget_blocks();
            env.forgotten = epoch;
            shared.bury();
        }
        env.be_busy();
    }

    /// What is done between slices. Gives a reason to stop, if there is one.
    fn look_around(&mut self) -> Option<Stop> {
        let env = &mut *self.env;
        let shared = env.shared.clone();
        let epoch = shared.epoch.load(Ordering::Acquire);
        if env.kicker.epoch.load(Ordering::Relaxed) != epoch {
            env.forget_dead();
            env.kicker.epoch.store(env.forgotten, Ordering::Release);
            shared.bury();
        }
        if env.kicker.kicked.swap(false, Ordering::AcqRel) {
            env.refresh_view();
            if env.kicker.poll.swap(false, Ordering::AcqRel) {
                shared.frontend.poll(env);
            }
        }
        // After the kick that came with the question was taken.
        env.answer();
        env.step_aside();
        if shared.stress.is_some() {
            env.stress_look_around();
        }
        let installs = shared.installs.load(Ordering::Acquire);
        self.looks = self.looks.wrapping_add(1);
        // Older code does as well, and somebody always installs some.
        let due = !shared.has_several() || self.looks.is_multiple_of(REFRESH);
        if due && shared.template.is_some() && std::mem::replace(&mut self.installs, installs) != installs {
            env.refresh_jumps();
        }
        let pins = env.pins.levels();
        if pins != 0 || shared.frontend.waits(&env.cpu) {
            if env.halted && shared.frontend.wakes(env, pins) {
                env.halted = false;
            }
            if !env.halted {
                shared.frontend.interrupt(env, pins);
            }
        }
        let gives_way = std::mem::take(&mut env.gives_way);
        if env.kicker.take_stop() {
            return Some(Stop::Kicked);
        }
        if env.halted {
            return Some(Stop::Idle);
        }
        gives_way.then_some(Stop::Yield)
    }

    /// Executes fewer instructions than the next block has, to end a budget exactly.
    fn run_part(&mut self, limit: u32) {
        let env = &mut *self.env;
        let shared = env.shared.clone();
        let key = env.key_now(&shared);
        let page = match env.fetch_page(key.pc, key.space) {
            Ok(page) => page,
            Err(exception) => return env.take_fetch_fault(&shared, exception),
        };
        let offset = key.pc.0 % PAGE_SIZE;
        let block_key = BlockKey {
            gpa: Gpa(page.gpa.0 + offset),
            mode: key.mode | page.code_mode | shared.frontend.pc_mode(key.pc),
        };
        let Some((ram, at)) = page.ram else { return };
        let home = (ram, at + offset);
        let mut buffer = [0; size_of::<CodeBytes>()];
        let code = Env::<F>::code_bytes(&home, None, buffer.len().min(limit as usize * 16), &mut buffer);
        let source = Source { code, limit: limit.max(1), home: &home, next_page: None };
        let block = match env.translate_block(key.pc, block_key, &source) {
            Some(block) => block,
            None => {
                let next = Gva((key.pc.0 & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE));
                let next_page = match env.fetch_page(next, key.space) {
                    Ok(CodePage { ram: Some(place), .. }) => place,
                    // The loop runs what a device holds whole.
                    Ok(_) => return,
                    Err(exception) => return env.take_fetch_fault(&shared, exception),
                };
                let mut buffer = [0; size_of::<CodeBytes>()];
                let code = Env::<F>::code_bytes(&home, Some(&next_page), F::MAX_INSN, &mut buffer);
                let source = Source { code, limit: 1, home: &home, next_page: Some(&next_page) };
                match env.translate_block(key.pc, block_key, &source) {
                    Some(block) => block,
                    None => unreachable!("the longest instruction is there"),
                }
            }
        };
        env.budget.fetch_sub(block.insns.into(), Ordering::Relaxed);
        env.enter_space();
        // SAFETY: the block was decoded for `F`.
        if unsafe { interp::run(env, &block) } == Exit::Raised {
            env.take_raised(&shared, &block);
        }
    }
}

impl<F: Frontend> Vcpu for TcgVcpu<F> {
    fn run(&mut self, budget: Option<u64>) -> Result<Stop, AccelError> {
        vm::vcpu::set_current(self.id);
        let mxcsr = mxcsr::read();
        let mut left = budget;
        self.env.kicker.attach(Some((&self.env.budget, &self.env.look)));
        self.enter();
        let stop = loop {
            if let Some(stop) = self.look_around() {
                break stop;
            }
            if left == Some(0) {
                break Stop::Budget;
            }
            let slice = left.unwrap_or(u64::MAX).min(self.env.shared.slice()) as i64;
            self.env.look.store(0, Ordering::Relaxed);
            self.env.budget.store(slice, Ordering::SeqCst);
            if self.env.kicker.kicked.load(Ordering::Acquire) {
                // The kick may have come before the counter was set.
                continue;
            }
            let pause = self.env.slice();
            let idle = self.env.budget.load(Ordering::Relaxed) == slice && self.env.look.load(Ordering::Relaxed) == 0;
            if pause == Pause::Budget && idle && (left.is_some() || self.env.shared.stress.is_some()) {
                // Not even one block fits.
                // Where code is coherent, one instruction: what it changes is not known to be code.
                self.run_part(if F::COHERENT_CODE.is_some() { 1 } else { slice as u32 });
            }
            if std::mem::take(&mut self.env.alone) {
                self.run_part(1);
            }
            let mut rest = self.env.budget.load(Ordering::Relaxed);
            while rest < -(KICK / 2) {
                // One of the kicks of this slice.
                rest += KICK;
            }
            let done = (slice - rest).max(0) as u64;
            self.executed += done;
            if let Some(left) = &mut left {
                *left = left.saturating_sub(done);
            }
        };
        self.env.be_idle();
        self.env.kicker.running.store(false, Ordering::Release);
        self.env.kicker.attach(None);
        self.env.sync_float_flags();
        mxcsr::write(mxcsr);
        Ok(stop)
    }

    fn wait(&mut self) {
        let env = &mut *self.env;
        let shared = env.shared.clone();
        if shared.take_turns {
            // Whoever is called first has the turn.
            let all = shared.kickers().clone();
            return shared.bell.sleep_until(|| all.iter().any(|kicker| kicker.is_called()));
        }
        let (kicker, pins) = (env.kicker.clone(), env.pins.clone());
        kicker.sleep_until(|| shared.frontend.wakes(env, pins.levels()));
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        self.env.kicker.clone()
    }

    fn regs(&self) -> Vec<(&'static str, u32)> {
        self.env.shared.frontend.regs()
    }
    fn reg(&self, index: usize) -> u128 {
        self.env.shared.frontend.reg(&self.env.cpu, index)
    }
    fn set_reg(&mut self, index: usize, value: u128) {
        self.env.shared.clone().frontend.set_reg(&mut self.env.cpu, index, value);
    }

    fn translate(&mut self, gva: Gva, intent: Intent) -> Result<Gpa, PageFault> {
        self.env.debug_translate(gva, intent).ok_or(PageFault(gva))
    }

    fn reset(&mut self) {
        let env = &mut *self.env;
        let shared = env.shared.clone();
        env.halted = false;
        env.raised = 0;
        env.exception = None;
        env.flush_tlb();
        shared.frontend.reset(env, self.boot.as_ref());
    }

    fn instructions(&self) -> u64 {
        self.executed
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let (env, shared) = (&*self.env, &*self.env.shared);
        let template = shared.template.as_ref().map_or((0, 0), Template::stats);
        let optimized = shared.compiler.as_ref().map_or((0, 0), |compiler| compiler.stats());
        let memory = shared.template.as_ref().map_or(Usage::default(), Template::memory)
            + shared.compiler.as_ref().map_or(Usage::default(), |compiler| compiler.memory());
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let blocks = shared.cache.lock().unwrap().len() as u64;
        let mut all = vec![
            ("instructions executed", self.executed),
            ("instructions translated", load(&shared.translated)),
            ("blocks", blocks),
            ("blocks thrown away for changed code", load(&shared.invalidated)),
            ("flushes for lack of memory", load(&shared.flushes)),
            ("templates: blocks", template.0),
            ("templates: traces among them", load(&shared.traces)),
            ("templates: bytes", template.1),
            ("templates: microseconds", load(&shared.spent_ns[0]) / 1000),
            ("regions", optimized.0),
            ("regions: bytes", optimized.1),
            ("regions: microseconds", load(&shared.spent_ns[1]) / 1000),
            ("code memory: bytes in use", memory.used),
            ("code memory: bytes in use at most", memory.peak),
            ("code memory: bytes in all", memory.size),
            ("block look-ups", env.lookups),
            ("TLB fills", env.tlb.fills),
            ("page walks", env.tlb.walks),
        ];
        const EXITS: [&str; 8] = [
            "exits: first link open",
            "exits: second link open",
            "exits: indirect branch",
            "exits: mode may have changed",
            "exits: exception",
            "exits: budget or kick",
            "exits: block is hot",
            "interpreted blocks",
        ];
        all.extend(EXITS.into_iter().zip(env.exits));
        all
    }

    fn save(&self) -> Saved {
        let frontend = &self.env.shared.frontend;
        // Whether it waits for an interrupt, then what the front end has.
        let mut body = vec![self.env.halted.into()];
        body.extend(frontend.save(&self.env.cpu));
        Saved { model: F::NAME.into(), version: SAVED_VERSION, body }
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let bad = |why: BadState| LoadError::Bad { path: saved.model.clone(), why };
        if saved.model != F::NAME {
            return Err(LoadError::OtherModel { path: F::NAME.into(), found: saved.model.clone() });
        }
        if saved.version > SAVED_VERSION {
            return Err(LoadError::Newer { path: saved.model.clone(), found: saved.version, known: SAVED_VERSION });
        }
        let env = &mut *self.env;
        let (halted, body) = match (saved.version, saved.body.split_first()) {
            (2, Some((halted @ (0 | 1), body))) => (*halted != 0, body),
            (2, _) => return Err(bad(BadState("it does not say whether the processor waits".into()))),
            _ => (false, &saved.body[..]),
        };
        env.shared.clone().frontend.load(env, body).map_err(bad)?;
        env.halted = halted;
        (env.raised, env.exception) = (0, None);
        env.flush_tlb();
        Ok(())
    }
}
