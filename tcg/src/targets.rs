//! Where the indirect branch of a block has led lately: which blocks are worth compiling with it.

use std::sync::atomic::{AtomicU16, Ordering};

/// Branches that are remembered.
pub const REMEMBERED: usize = 32;

/// The last targets of a block's indirect branch, by the low half-word of the address. Template code writes here as well.
/// Which entry a branch gets follows from a count that changes by one from run to run, whichever way.
#[derive(Debug, Default)]
pub struct Targets([AtomicU16; REMEMBERED]);

impl Targets {
    /// Notes that the branch led to `pc` when the count of runs was `count`.
    pub fn record(&self, count: u32, pc: u64) {
        self.0[count as usize % REMEMBERED].store(pc as u16, Ordering::Relaxed);
    }

    /// The low half-words of the targets, each once, in ascending order. Which page they lie in is not known.
    pub fn all(&self) -> Vec<u16> {
        let mut all: Vec<u16> = self.0.iter().map(|t| t.load(Ordering::Relaxed)).collect();
        all.sort_unstable();
        all.dedup();
        all
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
    }
}
