//! Blocks that wait for the compiler's thread. The hottest is next.

use crate::around::Around;
use crate::cache::Block;
use crate::exec::Shared;
use crate::frontend::Frontend;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, Weak};

/// Blocks that may wait.
const ROOM: usize = 4096;

/// A block to compile, the machine it belongs to, and what lies around it.
type Job<F> = (Weak<Shared<F>>, Arc<Block>, Around);

/// The queue.
pub(super) struct Queue<F: Frontend> {
    /// `None` when the compiler is gone.
    jobs: Mutex<Option<Vec<Job<F>>>>,
    changed: Condvar,
}

impl<F: Frontend> Default for Queue<F> {
    fn default() -> Self {
        Queue { jobs: Mutex::new(Some(Vec::new())), changed: Condvar::new() }
    }
}

/// Lets a block become hot again before it is asked for again.
fn cool_down(block: &Block) {
    block.runs.set(0);
    block.queued.store(false, Ordering::Release);
}

impl<F: Frontend> Queue<F> {
    /// Puts a block into the queue.
    pub fn add(&self, shared: &Arc<Shared<F>>, block: Arc<Block>, around: Around) {
        if let Some(jobs) = &mut *self.jobs.lock().unwrap() {
            if jobs.len() < ROOM {
                jobs.push((Arc::downgrade(shared), block, around));
            } else {
                cool_down(&block);
            }
        }
        self.changed.notify_one();
    }

    /// Waits for a block; `None` when the compiler is gone.
    pub fn next(&self) -> Option<(Arc<Shared<F>>, Arc<Block>, Around)> {
        loop {
            let (shared, block, around) = self.hottest()?;
            // Not under the lock: with the last of its owners the machine goes, and this queue with it.
            let Some(shared) = shared.upgrade() else { continue };
            let after = shared.compile_after(&block);
            if block.runs.get() >= after - after / 4 {
                return Some((shared, block, around));
            }
            // A region has taken it in since.
            block.queued.store(false, Ordering::Release);
        }
    }

    fn hottest(&self) -> Option<Job<F>> {
        let mut jobs = self.jobs.lock().unwrap();
        loop {
            let waiting = jobs.as_mut()?;
            waiting.retain(|(_, block, _)| block.valid.load(Ordering::Acquire));
            match (0..waiting.len()).max_by_key(|n| waiting[*n].1.runs.get()) {
                Some(hottest) => return Some(waiting.swap_remove(hottest)),
                None => jobs = self.changed.wait(jobs).unwrap(),
            }
        }
    }

    /// Ends the waiting.
    pub fn close(&self) {
        *self.jobs.lock().unwrap() = None;
        self.changed.notify_all();
    }
}
