//! Where the indirect branch of a block has led lately: which blocks are worth compiling with it.

use std::sync::atomic::{AtomicU32, Ordering};

/// Branches that are remembered.
pub const REMEMBERED: usize = 32;
/// How many of them are most of the time.
const MOSTLY: usize = REMEMBERED * 3 / 4;

/// The last targets of a block's indirect branch, by the lower half of the address. Template code writes here as well.
/// Which entry a branch gets follows from a count that changes by one from run to run, whichever way.
#[derive(Debug, Default)]
pub struct Targets([AtomicU32; REMEMBERED]);

impl Targets {
    /// Notes that the branch led to `pc` when the count of runs was `count`.
    pub fn record(&self, count: u32, pc: u64) {
        self.0[count as usize % REMEMBERED].store(pc as u32, Ordering::Relaxed);
    }

    /// The low half-words of the targets, each once, in ascending order. Which page they lie in is not known.
    pub fn all(&self) -> Vec<u16> {
        let mut all: Vec<u16> = self.0.iter().map(|t| t.load(Ordering::Relaxed) as u16).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The lower half of the target that the branch led to most of the time, if there is one.
    pub fn favourite(&self) -> Option<u32> {
        let mut all: Vec<u32> = self.0.iter().map(|t| t.load(Ordering::Relaxed)).collect();
        all.sort_unstable();
        // What is there that often lies in the middle as well.
        let middle = all[REMEMBERED / 2];
        (all.iter().filter(|t| **t == middle).count() >= MOSTLY).then_some(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_targets_are_known() {
        let targets = Targets::default();
        for run in 0..100 {
            targets.record(run, if run < 50 { 0x1_0008 } else { 0xffff_0000_0000_1230 + u64::from(run % 3) * 8 });
        }
        assert_eq!(targets.all(), [0x1230, 0x1238, 0x1240]);
        assert_eq!(targets.favourite(), None);
    }

    #[test]
    fn a_favourite_is_the_target_of_three_branches_in_four() {
        for (others, favourite) in [(0, Some(0x5000)), (8, Some(0x5000)), (9, None)] {
            for away in [0x4000, 0x6000] {
                let targets = Targets::default();
                (0..32).for_each(|run| {
                    targets.record(run, if run % 16 < others / 2 + others % 2 * (run / 16) { away } else { 0x5000 })
                });
                assert_eq!(targets.favourite(), favourite, "{others} others at {away:#x}");
            }
        }
    }
}
