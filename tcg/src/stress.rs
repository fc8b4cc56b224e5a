//! The stress switch: makes happen often what happens seldom, so that tests see it. For developers; a guest runs the
//! same, only slower.
//!
//! - Each block has its own numbers of runs before it gets template code, a trace and optimized code, often none at all.
//!   They are functions of the seed, the block's key and the number of flushes so far.
//! - Slices have random lengths, from one instruction up; finding a block may end a slice like a kick.
//! - Between slices everything is thrown away now and then, more often a single block, a link, translations of
//!   addresses, the jump cache.
//! - Atomic accesses are made while all other vCPUs stand aside now and then.
//! - New optimized code may come with a kick, go again at once, or take everything else with it; with a compiler in the
//!   background that happens while the vCPU executes host code.
//!
//! All decisions follow from the seed. They are the same from run to run as long as the questions come in the same order:
//! with a compiler on the vCPU's thread, one vCPU, and nothing from outside (host time, input) to tell one run from
//! another.

#![forbid(unsafe_code)]

use crate::cache::{Block, BlockKey, CodeCache};
use crate::env::Env;
use crate::exec::Shared;
use crate::frontend::Frontend;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs before the next tier at most.
const RUNS: u64 = 50;
/// The longest slice is two to this power.
const SLICE_LOG2: u64 = 12;

// How often something happens: once in so many times on average.
/// Between slices.
const FLUSH: u64 = 4096;
const DISCARD: u64 = 256;
const UNLINK: u64 = 32;
const TRANSLATIONS: u64 = 64;
const SPACE: u64 = 64;
const JUMPS: u64 = 64;
/// When a block is found that the jump cache did not know.
const KICK_AT_LOOKUP: u64 = 32;
/// When an atomic access is made: that it is made alone.
const ALONE: u64 = 64;
/// When optimized code is installed.
const KICK_AT_INSTALL: u64 = 4;
const DISCARD_AT_INSTALL: u64 = 8;
const FLUSH_AT_INSTALL: u64 = 256;

/// An odd constant with no pattern.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that depends on all bits of `n` (the finalizer of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// Where decisions come from.
pub(crate) struct Stress {
    seed: u64,
    drawn: AtomicU64,
    /// Everything was thrown away so often.
    flushes: AtomicU64,
}

impl Stress {
    pub fn new(seed: u64) -> Stress {
        Stress { seed: mix(seed.wrapping_add(STEP)), drawn: AtomicU64::new(0), flushes: AtomicU64::new(0) }
    }

    /// The next random number.
    fn draw(&self) -> u64 {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed);
        mix(self.seed.wrapping_add(n.wrapping_mul(STEP)))
    }

    /// True once in `n` times.
    fn one_in(&self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    /// A random number that belongs to a block.
    fn of_block(&self, key: &BlockKey, what: u64) -> u64 {
        let flushes = self.flushes.load(Ordering::Relaxed);
        let n = [key.gpa.0, key.mode, flushes, what]
            .into_iter()
            .fold(self.seed, |n, more| mix(n ^ more).wrapping_add(STEP));
        mix(n)
    }

    /// Runs of a block before it gets template code; `None` for never.
    pub fn template_after(&self, key: &BlockKey) -> Option<u32> {
        let n = self.of_block(key, 1);
        match n % 8 {
            0 => None,
            1..4 => Some(0),
            _ => Some(1 + (n / 8 % RUNS) as u32),
        }
    }

    /// Runs of a block with template code before it gets a trace, at least one; [`u32::MAX`] for never.
    pub fn trace_after(&self, key: &BlockKey) -> u32 {
        let n = self.of_block(key, 3);
        match n % 4 {
            0 => u32::MAX,
            _ => 1 + (n / 4 % (RUNS / 2)) as u32,
        }
    }

    /// Runs of a block before it is optimized, at least one; [`u32::MAX`] for never.
    pub fn compile_after(&self, key: &BlockKey) -> u32 {
        let n = self.of_block(key, 2);
        match n % 4 {
            0 => u32::MAX,
            _ => 1 + (n / 4 % RUNS) as u32,
        }
    }

    /// Instructions of the next slice; short ones are as frequent as long ones.
    pub fn slice(&self) -> u64 {
        let longest = 1u64 << (self.draw() % (SLICE_LOG2 + 1));
        1 + self.draw() % longest
    }
}

impl<F: Frontend> Shared<F> {
    fn flush_for_stress(&self, stress: &Stress) {
        stress.flushes.fetch_add(1, Ordering::Relaxed);
        self.flush();
    }

    /// After optimized code for `head` was installed.
    #[cold]
    pub(crate) fn stress_install(&self, head: &Arc<Block>) {
        let Some(stress) = &self.stress else { return };
        if stress.one_in(KICK_AT_INSTALL) {
            self.kick_all();
        }
        if stress.one_in(DISCARD_AT_INSTALL) {
            self.change(|cache, epoch| discard(cache, head, epoch));
        }
        if stress.one_in(FLUSH_AT_INSTALL) {
            self.flush_for_stress(stress);
        }
    }
}

/// Takes out a block if it is in.
fn discard(cache: &mut CodeCache, block: &Arc<Block>, epoch: u64) -> bool {
    let valid = block.valid.load(Ordering::Acquire);
    if valid {
        cache.discard(block, epoch);
    }
    valid
}

impl<F: Frontend> Env<F> {
    /// After a block was found that the jump cache did not know.
    #[cold]
    pub(crate) fn stress_lookup(&mut self) {
        if self.shared.stress.as_ref().is_some_and(|stress| stress.one_in(KICK_AT_LOOKUP)) {
            self.end_slice();
        }
    }

    /// Whether an atomic access that the host could make is to be made while all other vCPUs stand aside.
    pub(crate) fn is_alone_for_stress(&self) -> bool {
        self.shared.stress.as_ref().is_some_and(|stress| stress.one_in(ALONE))
    }

    /// Between slices.
    #[cold]
    pub(crate) fn stress_look_around(&mut self) {
        let shared = self.shared.clone();
        let Some(stress) = &shared.stress else { return };
        if stress.one_in(TRANSLATIONS) {
            self.flush_tlb();
        }
        if stress.one_in(SPACE) {
            let space = shared.frontend.space(&self.cpu);
            self.flush_tlb_space(space);
        }
        if stress.one_in(UNLINK)
            && let Some(block) = self.known_block(stress.draw() as usize)
        {
            let exit = (stress.draw() % 2) as usize;
            shared.change(|cache, _| {
                cache.unlink(&block, exit);
                false
            });
        }
        if stress.one_in(DISCARD)
            && let Some(block) = self.known_block(stress.draw() as usize)
        {
            shared.change(|cache, epoch| discard(cache, &block, epoch));
        }
        if stress.one_in(FLUSH) {
            shared.flush_for_stress(stress);
        }
        if stress.one_in(JUMPS) {
            self.forget_blocks();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm::Gpa;

    #[test]
    fn decisions_follow_from_the_seed_and_reach_everything() {
        let key = |n: u64| BlockKey { gpa: Gpa(0x4000_0000 + 4 * n), mode: 3 };
        let all = |seed: u64| {
            let stress = Stress::new(seed);
            let slices: Vec<u64> = (0..5000).map(|_| stress.slice()).collect();
            let templates: Vec<_> = (0..5000).map(|n| stress.template_after(&key(n))).collect();
            let compiled: Vec<_> = (0..5000).map(|n| stress.compile_after(&key(n))).collect();
            (slices, templates, compiled)
        };
        let (slices, templates, compiled) = all(7);
        assert_eq!((&slices, &templates, &compiled), (&all(7).0, &all(7).1, &all(7).2));
        assert_ne!(slices, all(8).0);
        assert_ne!(templates, all(8).1);
        assert_eq!((slices.iter().min(), slices.iter().all(|n| *n <= 1 << SLICE_LOG2)), (Some(&1), true));
        assert!(slices.iter().any(|n| *n > 2000));
        let wanted: Vec<Option<u32>> = [None].into_iter().chain((0..=50).map(Some)).collect();
        assert!(wanted.iter().all(|after| templates.contains(after)));
        assert!((1..=50).chain([u32::MAX]).all(|after| compiled.contains(&after)));
        // Blocks that come back after a flush take another way.
        let stress = Stress::new(7);
        stress.flushes.store(1, Ordering::Relaxed);
        assert!((0..100).any(|n| stress.template_after(&key(n)) != templates[n as usize]));
    }
}
