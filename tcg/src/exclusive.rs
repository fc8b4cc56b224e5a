//! One vCPU alone: while it makes an access that the host cannot make atomically, all others are outside of guest code.
//!
//! It takes the floor, asks the others to look around and waits until none is busy; nobody becomes busy while another has
//! the floor. Who waits for the floor, or for another vCPU to come out, is not busy itself and holds no lock, so that any
//! number can want the floor at once. A vCPU that has halted or is paused is not busy.

use crate::env::{Env, Kicker};
use crate::frontend::Frontend;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Who may be alone. One vCPU has it at most.
#[derive(Default)]
pub(crate) struct Floor {
    taken: AtomicBool,
    lock: Mutex<()>,
    free: Condvar,
}

impl Floor {
    /// Whether somebody has it.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }

    /// Takes it, when it is free.
    fn take(&self) {
        let mut guard = self.lock.lock().unwrap();
        while self.taken.swap(true, Ordering::SeqCst) {
            guard = self.free.wait(guard).unwrap();
        }
    }

    fn wait_until_free(&self) {
        let mut guard = self.lock.lock().unwrap();
        while self.is_taken() {
            guard = self.free.wait(guard).unwrap();
        }
    }

    fn release(&self) {
        let _guard = self.lock.lock().unwrap();
        self.taken.store(false, Ordering::SeqCst);
        self.free.notify_all();
    }
}

/// Gives the floor back, even if the thread panics: nobody waits for one that did.
struct Release<'a>(&'a Floor);
impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<F: Frontend> Env<F> {
    /// Does something while no other vCPU of the machine executes guest code. What the others asked for meanwhile is done
    /// before: translations and host addresses from before are not to be used in `f`.
    pub fn exclusively<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let shared = self.shared.clone();
        if self.exclusive || !shared.has_several() {
            return f(self);
        }
        let was_busy = self.kicker.inbox.set_busy(false);
        shared.lobby.tell();
        shared.floor.take();
        let release = Release(&shared.floor);
        let others: Vec<Arc<Kicker>> =
            shared.kickers().iter().filter(|kicker| !Arc::ptr_eq(kicker, &self.kicker)).cloned().collect();
        // Those that are not busy now are not before the floor is free.
        let busy = others.iter().filter(|kicker| kicker.inbox.is_busy());
        busy.for_each(|kicker| kicker.interrupt());
        shared.lobby.wait_until(|| !others.iter().any(|kicker| kicker.inbox.is_busy()));
        self.exclusive = true;
        if was_busy {
            self.be_busy();
        }
        let result = f(self);
        self.exclusive = false;
        drop(release);
        result
    }

    /// Stays outside of guest code while another vCPU has the floor. No access may be under way.
    pub(crate) fn step_aside(&mut self) {
        if self.shared.floor.is_taken() && !self.exclusive {
            self.kicker.inbox.set_busy(false);
            self.be_busy();
        }
    }

    /// From now on it executes guest code, when nobody else is alone: others wait for its answers.
    pub(crate) fn be_busy(&mut self) {
        let shared = self.shared.clone();
        loop {
            // Who takes the floor looks who is busy afterwards.
            self.kicker.inbox.set_busy(true);
            if self.exclusive || !shared.floor.is_taken() {
                break;
            }
            self.kicker.inbox.set_busy(false);
            shared.lobby.tell();
            shared.floor.wait_until_free();
        }
        self.answer();
    }
}
