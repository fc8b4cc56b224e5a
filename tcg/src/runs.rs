//! How often a block is entered.

use std::sync::atomic::{AtomicU32, Ordering};

/// A count that template code keeps with one instruction: it runs down to zero, where somebody is to be asked.
#[derive(Debug, Default)]
pub struct Runs {
    left: AtomicU32,
    /// What `left` was when no run was counted.
    full: AtomicU32,
}

impl Runs {
    /// Runs so far.
    pub fn get(&self) -> u32 {
        self.full.load(Ordering::Relaxed).wrapping_sub(self.left.load(Ordering::Relaxed))
    }

    /// Makes it so many runs so far; it does not change when somebody is asked.
    pub fn set(&self, runs: u32) {
        self.left.store(self.full.load(Ordering::Relaxed).wrapping_sub(runs), Ordering::Relaxed);
    }

    /// Counts one. Gives the runs so far.
    pub fn count(&self) -> u32 {
        self.left.store(self.left.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
        self.get()
    }

    /// Lets template code ask at this number of runs, or at the next one if there were as many already.
    pub fn ask_at(&self, runs: u32) {
        let so_far = self.get();
        let at = runs.max(so_far.saturating_add(1));
        self.full.store(at, Ordering::Relaxed);
        self.left.store(at - so_far, Ordering::Relaxed);
    }

    /// What template code takes one off; it asks at 0.
    pub fn cell(&self) -> &AtomicU32 {
        &self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cell_runs_down_to_zero_where_it_is_to_ask() {
        let runs = Runs::default();
        assert_eq!((runs.get(), runs.count(), runs.count()), (0, 1, 2));
        runs.ask_at(10);
        assert_eq!((runs.get(), runs.cell().load(Ordering::Relaxed)), (2, 8));
        for _ in 0..8 {
            runs.count();
        }
        assert_eq!((runs.get(), runs.cell().load(Ordering::Relaxed)), (10, 0));
        runs.set(4);
        assert_eq!((runs.get(), runs.cell().load(Ordering::Relaxed)), (4, 6));
        runs.ask_at(3);
        assert_eq!((runs.get(), runs.cell().load(Ordering::Relaxed)), (4, 1));
    }
}
