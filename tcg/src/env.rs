//! Everything that translated code of one vCPU reaches from its one pointer.
// UNSAFETY: this is the struct that translated code addresses by byte offsets; the accessors here read and write cells
// by offset.

#![allow(unsafe_code)]

use crate::cache::{Block, BlockKey};
use crate::exec::{Shared, owner};
use crate::frontend::Frontend;
use crate::ir::Slot;
use crate::others::Inbox;
use crate::softmmu::Tlb;
use crate::spaces::Spaces;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use vm::vcpu::{Kick, Pins};
use vm::{AddressSpace, FlatView};

/// Cells for values of a block that live in no register; 16 bytes each.
pub const TEMPS: usize = 256;
/// Entries of the jump cache: enough for the code of a large program, for looks elsewhere miss the host's caches, too. Memory
/// is used for the parts that have entries only.
pub const JUMP_CACHE: usize = 1 << 18;
/// Bits of the filter over pages: a kernel has code in thousands.
const PAGE_BITS: usize = 1 << 14;
/// Entries that the blocks of one page can be in: one for each four bytes.
const PAGE_JUMPS: usize = 1024;

/// The state of one vCPU with all that serves it. Guest registers come first so that a slot is an offset from the
/// start.
#[repr(C)]
pub struct Env<F: Frontend> {
    /// The guest's registers.
    pub cpu: F::Cpu,
    /// Values of the running block.
    pub(crate) temps: [u128; TEMPS],
    /// Arguments (0-2) and result (0) of vector helpers.
    pub(crate) vectors: [u128; 4],
    /// What compiled code calls on a cold path: up to three arguments besides the environment, and the function.
    pub(crate) slow_call: [u64; 4],
    /// Instructions left before the loop looks around, negative when it must. Kicks subtract [`KICK`] from it.
    pub(crate) budget: AtomicI64,
    /// Not zero when the loop must look around: set with each kick. Template code, which keeps the budget in a register,
    /// runs on until that is used up.
    pub(crate) look: AtomicU32,
    /// Not zero when an exception waits in `exception`.
    pub(crate) raised: u64,
    /// Mode and number of the space of the running code, as the jump cache has them ([`tag_of`]).
    pub(crate) tag: u64,
    /// Host registers of template code during slow memory accesses.
    pub(crate) saved: [u64; 8],
    pub(crate) saved_vectors: [u128; 16],
    /// The block that compiled code left from.
    pub(crate) left: *const Block,
    /// A filter over the pages that the jump cache knows: a clear bit means no entry.
    jump_pages: [u64; PAGE_BITS / 64],
    /// The same by parts of the jump cache, of [`PAGE_JUMPS`] entries each.
    jump_parts: [u64; JUMP_CACHE / PAGE_JUMPS / 64],
    /// Translations of data addresses, one table per regime.
    pub(crate) tlb: Tlb,
    /// The next block by virtual address.
    pub(crate) jumps: [Jump; JUMP_CACHE],
    /// Blocks by physical address and mode, for program counters that the jump cache does not know.
    pub(crate) known: Box<[Known]>,
    /// Which entries of `known` count.
    pub(crate) known_generation: u64,
    /// The epoch of the code cache whose dead are forgotten.
    pub(crate) forgotten: u64,
    /// What the jump cache knows address spaces by.
    pub(crate) spaces: Spaces,
    /// How often host code came back to the loop, by the code it left with; the last counts interpreted blocks.
    pub(crate) exits: [u64; 8],
    /// Looks for blocks that the jump cache did not know.
    pub(crate) lookups: u64,
    /// The block that is being translated; kept for its memory.
    pub(crate) ir: crate::ir::Block,
    pub(crate) exception: Option<F::Exception>,
    pub(crate) halted: bool,
    /// It is the next vCPU's turn.
    pub(crate) gives_way: bool,
    /// A store to code shall start its instruction again, alone: see [`Frontend::COHERENT_CODE`].
    pub(crate) coherent: bool,
    /// The instruction at the program counter shall be executed alone, without looking for blocks.
    pub(crate) alone: bool,
    /// All other vCPUs are outside of guest code: see `exclusive.rs`.
    pub(crate) exclusive: bool,
    /// The block of RAM and the page of the last store that changed code.
    pub(crate) rewritten: Option<(vm::ram::RamId, u64)>,
    /// Where in the block an exception was raised, as distance from its start.
    pub(crate) fault_pc: u32,
    /// The host's floating-point status as compiled code left it, and whether such code runs now: see `float.rs`.
    pub(crate) mxcsr: u32,
    pub(crate) in_compiled: bool,
    pub(crate) bus: Arc<AddressSpace>,
    pub(crate) view: Arc<FlatView>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) kicker: Arc<Kicker>,
    pub(crate) shared: Arc<Shared<F>>,
}

/// What a kick takes from the budget: far more than any slice holds.
pub(crate) const KICK: i64 = 1 << 40;

/// One entry of the jump cache; empty when `block` is null.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Jump {
    pub pc: u64,
    /// Mode and number of the space ([`tag_of`]).
    pub tag: u64,
    /// Where template code goes: the block's fast entry, or the way back to the loop.
    pub fast: u64,
    pub block: *const Block,
}

impl Jump {
    /// The entry that nothing hits: template code may look at any, so it needs a tag that no mode has.
    pub const EMPTY: Jump = Jump { pc: 0, tag: u64::MAX, fast: 0, block: std::ptr::null() };
}

/// A block found lately.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub key: BlockKey,
    /// The generation that it counts in.
    pub generation: u64,
    pub block: *const Block,
}

/// Blocks that are remembered by physical address.
const KNOWN: usize = 1 << 16;

fn known_index(key: &BlockKey) -> usize {
    ((key.gpa.0 >> 2) ^ (key.gpa.0 >> 16)) as usize % KNOWN
}

/// Mode and space in one number: equal means equal.
pub(crate) fn tag_of(mode: u64, space: u32) -> u64 {
    debug_assert!(mode < 1 << 32, "mode bits take the lower half");
    mode | u64::from(space) << 32
}

// SAFETY: the raw block pointers in `jumps` point to blocks that the shared cache keeps alive until this vCPU has
// cleared them (see cache.rs, "graveyard"); every other part is Send.
unsafe impl<F: Frontend> Send for Env<F> {}

/// Where a vCPU sleeps, or all of those that share a thread.
#[derive(Default)]
pub(crate) struct Bell {
    lock: Mutex<()>,
    wake: Condvar,
}

impl Bell {
    fn ring(&self) {
        let _lock = self.lock.lock().unwrap();
        self.wake.notify_all();
    }

    /// Sleeps until `awake` holds; it is looked at under the lock that every kick takes, so no wake-up is lost.
    pub fn sleep_until(&self, awake: impl Fn() -> bool) {
        let mut lock = self.lock.lock().unwrap();
        while !awake() {
            lock = self.wake.wait(lock).unwrap();
        }
    }
}

/// Wakes or interrupts a vCPU.
pub struct Kicker {
    pub(crate) kicked: AtomicBool,
    pub(crate) poll: AtomicBool,
    stop: AtomicBool,
    pace: Mutex<Pace>,
    bell: Arc<Bell>,
    /// The last epoch of the code cache that the vCPU has seen.
    pub(crate) epoch: AtomicU64,
    /// Whether the vCPU may be executing blocks: one that does not need not see an epoch for its blocks to be freed.
    pub(crate) running: AtomicBool,
    /// What other vCPUs ask of it.
    pub(crate) inbox: Inbox,
}

/// Where the running vCPU's budget and request to look around are, null while it does not run.
struct Pace(*const AtomicI64, *const AtomicU32);
// SAFETY: the pointers are only followed under the mutex, and the vCPU clears them under the mutex before its state goes.
unsafe impl Send for Pace {}

impl Kicker {
    /// Of a vCPU that sleeps by this bell.
    pub(crate) fn new(bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self {
            kicked: AtomicBool::new(false),
            poll: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            pace: Mutex::new(Pace(std::ptr::null(), std::ptr::null())),
            bell,
            epoch: AtomicU64::new(0),
            running: AtomicBool::new(false),
            inbox: Inbox::default(),
        })
    }

    /// Names the counter that a kick makes negative and the flag that it sets.
    pub(crate) fn attach(&self, pace: Option<(&AtomicI64, &AtomicU32)>) {
        let null = Pace(std::ptr::null(), std::ptr::null());
        *self.pace.lock().unwrap() = pace.map_or(null, |(budget, look)| Pace(budget, look));
    }

    /// Makes the vCPU look around soon: its loop sees `kicked`.
    pub(crate) fn interrupt(&self) {
        if !self.kicked.swap(true, Ordering::AcqRel) {
            let pace = self.pace.lock().unwrap();
            if !pace.0.is_null() {
                // SAFETY: not null means that the vCPU is running with this counter; it detaches under this mutex.
                unsafe {
                    (*pace.1).store(1, Ordering::Release);
                    (*pace.0).fetch_sub(KICK, Ordering::AcqRel);
                }
            }
        }
        self.bell.ring();
    }

    /// Asks for [`Frontend::poll`] and wakes.
    pub(crate) fn request_poll(&self) {
        self.poll.store(true, Ordering::Release);
        self.interrupt();
    }

    /// Sleeps until `awake` holds or it is kicked.
    pub(crate) fn sleep_until(&self, awake: impl Fn() -> bool) {
        self.bell.sleep_until(|| self.is_called() || awake());
    }

    /// Whether somebody wants something of it.
    pub(crate) fn is_called(&self) -> bool {
        self.stop_requested() || self.poll.load(Ordering::Acquire) || self.kicked.load(Ordering::Acquire)
    }

    /// Takes a request to leave the run loop.
    pub(crate) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::AcqRel)
    }

    /// Whether such a request stands.
    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl Kick for Kicker {
    fn kick(&self) {
        self.stop.store(true, Ordering::Release);
        self.interrupt();
    }
}

/// A kick that only makes the vCPU look at its interrupt pins.
pub(crate) struct PinKick(pub Arc<Kicker>);
impl Kick for PinKick {
    fn kick(&self) {
        self.0.interrupt();
    }
}

impl<F: Frontend> Env<F> {
    /// Raises an exception: the instruction under way ends without further effect. For helpers.
    pub fn raise(&mut self, exception: F::Exception) {
        self.exception = Some(exception);
        self.raised = 1;
    }

    /// The vectors that a vector helper was called with.
    pub fn vector_args(&self) -> [u128; 3] {
        [self.vectors[0], self.vectors[1], self.vectors[2]]
    }

    /// The result of a vector helper.
    pub fn set_vector_result(&mut self, result: u128) {
        self.vectors[0] = result;
    }

    /// The guest has nothing better to do than to wait for another vCPU (YIELD, PAUSE): where vCPUs take turns on one thread it
    /// is the next one's; the block must end with `Resync`.
    pub fn give_way(&mut self) {
        self.gives_way = self.shared.take_turns;
    }

    /// The CPU stops until an interrupt (WFI, HLT); the block must end with `Resync`.
    pub fn halt(&mut self) {
        self.halted = true;
    }

    /// It goes on.
    pub fn wake(&mut self) {
        self.halted = false;
    }

    /// Whether it has stopped.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The guest's memory.
    pub fn bus(&self) -> &Arc<AddressSpace> {
        &self.bus
    }

    /// What lies where in the guest's memory, as this vCPU knows it.
    pub fn view(&self) -> &FlatView {
        &self.view
    }

    /// The same to keep while the state changes.
    pub fn view_handle(&self) -> Arc<FlatView> {
        self.view.clone()
    }

    /// Levels of the interrupt inputs.
    pub fn pins(&self) -> u32 {
        self.pins.levels()
    }

    /// A vCPU's environment around the guest's registers.
    pub(crate) fn new(
        cpu: F::Cpu,
        bus: Arc<AddressSpace>,
        pins: Arc<Pins>,
        kicker: Arc<Kicker>,
        shared: Arc<Shared<F>>,
    ) -> Box<Self> {
        let mut env = Box::<Self>::new_zeroed();
        let this = env.as_mut_ptr();
        // SAFETY: the pointer is to zeroed memory for the whole struct. What is not written here is numbers, atomics of
        // numbers, booleans and raw pointers, for which zeros are valid.
        unsafe {
            (&raw mut (*this).cpu).write(cpu);
            Tlb::init(&raw mut (*this).tlb);
            // No other entry is looked at for the program counter 0, which zeros would mean.
            (*this).jumps[0] = Jump::EMPTY;
            (&raw mut (*this).ir).write(crate::ir::Block::default());
            (&raw mut (*this).exception).write(None);
            // SAFETY: an entry is numbers and a pointer, for which zeros are valid; generation 0 never counts.
            (&raw mut (*this).known).write(Box::new_zeroed_slice(KNOWN).assume_init());
            (*this).known_generation = 1;
            (&raw mut (*this).spaces).write(Spaces::new());
            (*this).mxcsr = crate::mxcsr::DEFAULT;
            (&raw mut (*this).view).write(bus.view());
            (&raw mut (*this).bus).write(bus);
            (&raw mut (*this).pins).write(pins);
            (&raw mut (*this).kicker).write(kicker);
            (&raw mut (*this).shared).write(shared);
            env.assume_init()
        }
    }

    fn cell(&mut self, slot: Slot) -> *mut u8 {
        assert!(usize::from(slot.0) + 16 <= size_of::<F::Cpu>(), "slots lie in the state struct");
        // SAFETY: inside the state struct, checked above.
        unsafe { (&raw mut self.cpu).cast::<u8>().add(slot.0.into()) }
    }

    /// Reads an integer register by its slot.
    pub fn read_slot(&mut self, slot: Slot) -> u64 {
        // SAFETY: `cell` is in bounds, integer slots are eight-byte cells.
        unsafe { self.cell(slot).cast::<u64>().read_unaligned() & slot.1.mask() }
    }

    /// Writes an integer register by its slot.
    pub fn write_slot(&mut self, slot: Slot, value: u64) {
        // SAFETY: as in `read_slot`.
        unsafe { self.cell(slot).cast::<u64>().write_unaligned(value) }
    }

    /// The program counter.
    pub fn pc(&mut self) -> u64 {
        self.read_slot(F::PC)
    }

    /// Sets the program counter.
    pub fn set_pc(&mut self, pc: u64) {
        self.write_slot(F::PC, pc);
    }

    /// Forgets every block: some may be gone.
    pub(crate) fn forget_blocks(&mut self) {
        self.known_generation += 1;
        self.clear_jumps();
    }

    /// The block with this key, if it was found lately.
    pub(crate) fn known(&self, key: &BlockKey) -> Option<*const Block> {
        let known = &self.known[known_index(key)];
        (known.generation == self.known_generation && known.key == *key).then_some(known.block)
    }

    /// Remembers a block of the cache.
    pub(crate) fn remember(&mut self, key: BlockKey, block: *const Block) {
        let generation = self.known_generation;
        self.known[known_index(&key)] = Known { key, generation, block };
    }

    /// Forgets one block.
    pub(crate) fn forget_block(&mut self, block: &Block) {
        let known = &mut self.known[known_index(&block.key)];
        if std::ptr::eq(known.block, block) {
            known.generation = 0;
        }
        let forget = |jump: &mut Jump| {
            if std::ptr::eq(jump.block, block) {
                *jump = Jump::EMPTY;
            }
        };
        match block.learned_at.load(Ordering::Relaxed) {
            0 => {}
            Block::SEVERAL => self.used_jumps().for_each(forget),
            pc => forget(&mut self.jumps[jump_index(pc)]),
        }
    }

    /// The parts of the jump cache that may have entries.
    fn used_parts(&self) -> impl Iterator<Item = usize> + use<F> {
        let parts = self.jump_parts;
        (0..JUMP_CACHE / PAGE_JUMPS).filter(move |part| parts[part / 64] >> (part % 64) & 1 != 0)
    }

    /// The entries of those parts.
    fn used_jumps(&mut self) -> impl Iterator<Item = &mut Jump> {
        let used = self.used_parts();
        let mut parts = self.jumps.chunks_exact_mut(PAGE_JUMPS).enumerate();
        used.filter_map(move |part| parts.find(|(n, _)| *n == part)).flat_map(|(_, jumps)| jumps)
    }

    /// A block that was executed lately: one of those in the jump cache, which `choice` selects.
    pub(crate) fn known_block(&self, choice: usize) -> Option<Arc<Block>> {
        let part = self.used_parts().nth(choice % self.used_parts().count().max(1))?;
        let entries = (0..PAGE_JUMPS).map(|n| &self.jumps[part * PAGE_JUMPS + choice.wrapping_add(n) % PAGE_JUMPS]);
        // SAFETY: blocks in the jump cache live until this vCPU has acknowledged the epoch of their death.
        entries.filter_map(|jump| unsafe { jump.block.as_ref() }).next().map(owner)
    }

    pub(crate) fn clear_jumps(&mut self) {
        self.used_jumps().for_each(|jump| *jump = Jump::EMPTY);
        self.jump_parts.fill(0);
        self.jump_pages.fill(0);
    }

    /// Forgets the blocks of the page of `va`. They lie in one aligned part of the cache, see [`jump_index`].
    pub(crate) fn clear_page_jumps(&mut self, va: u64) {
        if !self.may_have_jumps(va) {
            return;
        }
        let page = va >> 12;
        let first = jump_index(page << 12) & !(PAGE_JUMPS - 1);
        for jump in &mut self.jumps[first..first + PAGE_JUMPS] {
            if jump.pc >> 12 == page {
                *jump = Jump::EMPTY;
            }
        }
    }

    /// Whether code of the page of `va` may be in the jump cache.
    pub(crate) fn may_have_jumps(&self, va: u64) -> bool {
        let bit = page_bit(va);
        self.jump_pages[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// Lets the jump cache lead to the code that its blocks have by now.
    pub(crate) fn refresh_jumps(&mut self) {
        for jump in self.used_jumps().filter(|jump| !jump.block.is_null()) {
            // SAFETY: blocks in the jump cache live until this vCPU has cleared it.
            let fast = unsafe { &*jump.block }.fast.load(Ordering::Acquire);
            if fast != 0 {
                jump.fast = fast;
            }
        }
    }

    pub(crate) fn add_jump(&mut self, jump: Jump) {
        let bit = page_bit(jump.pc);
        self.jump_pages[bit / 64] |= 1 << (bit % 64);
        let index = jump_index(jump.pc);
        let part = index / PAGE_JUMPS;
        self.jump_parts[part / 64] |= 1 << (part % 64);
        self.jumps[index] = jump;
    }
}

/// Where the jump cache keeps the block at `pc`, by its lower half.
#[inline]
pub(crate) fn jump_index(pc: u64) -> usize {
    ((pc >> 2) ^ (pc >> 14)) as usize % JUMP_CACHE
}

fn page_bit(va: u64) -> usize {
    ((va >> 12) ^ (va >> 26)) as usize % PAGE_BITS
}
