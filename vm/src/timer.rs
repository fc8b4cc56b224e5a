//! Timers on the virtual clock. A timer holds no state of the guest: its deadline always follows from registers.

use crate::addr::VmTime;
use crate::clock::Clock;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

type Callback = Arc<dyn Fn(VmTime) + Send + Sync>;

/// All timers of a machine. Whoever drives it (a host thread, or the run loop under a deterministic clock) asks for
/// [`next_deadline`](Timers::next_deadline), waits, and calls [`expire`](Timers::expire).
pub struct Timers {
    clock: Arc<dyn Clock>,
    armed: Mutex<Armed>,
    ids: AtomicU64,
    sooner: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Armed {
    queue: BTreeSet<(VmTime, u64)>,
    timers: HashMap<u64, (Option<VmTime>, Callback)>,
}

impl Timers {
    /// No timers yet, on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, armed: Mutex::default(), ids: AtomicU64::new(0), sooner: OnceLock::new() })
    }

    /// The clock that deadlines are measured on.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Calls `wake` whenever the next deadline may have become earlier. Set once, by the driver.
    pub fn on_sooner(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.sooner.set(wake);
    }

    /// A disarmed timer; `callback` runs, with the time, on the driver's thread each time it fires.
    pub fn timer(self: &Arc<Self>, callback: impl Fn(VmTime) + Send + Sync + 'static) -> Timer {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        self.armed.lock().unwrap().timers.insert(id, (None, Arc::new(callback)));
        Timer { id, timers: self.clone(), last: AtomicU64::new(u64::MAX) }
    }

    /// When the earliest armed timer fires.
    pub fn next_deadline(&self) -> Option<VmTime> {
        self.armed.lock().unwrap().queue.first().map(|(at, _)| *at)
    }

    /// Fires every timer whose deadline is not after the clock's time, earliest first; each is disarmed before its
    /// callback runs. One that its callback arms for the past fires at the next call, so that a call always ends.
    pub fn expire(&self) {
        let now = self.clock.now();
        let mut due: Vec<Callback> = Vec::new();
        {
            let mut armed = self.armed.lock().unwrap();
            while let Some((_, id)) = armed.queue.first().copied().filter(|(at, _)| *at <= now) {
                armed.queue.pop_first();
                if let Some(timer) = armed.timers.get_mut(&id) {
                    timer.0 = None;
                    due.push(timer.1.clone());
                }
            }
        }
        for callback in due {
            callback(now);
        }
    }
}

/// One timer; dropping it disarms it.
pub struct Timer {
    id: u64,
    timers: Arc<Timers>,
    /// The deadline set last, `u64::MAX` for none: an unchanged deadline in the future costs no lock.
    last: AtomicU64,
}

impl Timer {
    /// Arms the timer for `deadline`, or disarms it.
    pub fn set(&self, deadline: Option<VmTime>) {
        let key = deadline.map_or(u64::MAX, |at| at.0);
        let unchanged = self.last.swap(key, Ordering::AcqRel) == key;
        if unchanged && (key == u64::MAX || VmTime(key) > self.timers.clock.now()) {
            return;
        }
        let sooner = {
            let mut armed = self.timers.armed.lock().unwrap();
            let armed = &mut *armed;
            let timer = armed.timers.get_mut(&self.id).expect("a timer lives as long as its handle");
            if let Some(old) = timer.0.take() {
                armed.queue.remove(&(old, self.id));
            }
            timer.0 = deadline;
            deadline.is_some_and(|at| {
                armed.queue.insert((at, self.id));
                armed.queue.first() == Some(&(at, self.id))
            })
        };
        if sooner && let Some(wake) = self.timers.sooner.get() {
            wake();
        }
    }

    /// The clock that the timer runs on.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.timers.clock
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut armed = self.timers.armed.lock().unwrap();
        if let Some((Some(at), _)) = armed.timers.remove(&self.id) {
            armed.queue.remove(&(at, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn timers_fire_in_order_once_and_not_after_drop() {
        let clock = Arc::new(ManualClock::new(0));
        let timers = Timers::new(clock.clone());
        let fired = Arc::new(Mutex::new(Vec::new()));
        let make = |name: &'static str| {
            let fired = fired.clone();
            timers.timer(move |now| fired.lock().unwrap().push((name, now)))
        };
        let (a, b, c) = (make("a"), make("b"), make("c"));
        a.set(Some(VmTime(30)));
        b.set(Some(VmTime(20)));
        c.set(Some(VmTime(10)));
        a.set(Some(VmTime(15)));
        drop(c);
        assert_eq!(timers.next_deadline(), Some(VmTime(15)));
        timers.expire();
        assert_eq!(*fired.lock().unwrap(), []);
        clock.advance_to(VmTime(25));
        timers.expire();
        timers.expire();
        assert_eq!(*fired.lock().unwrap(), [("a", VmTime(25)), ("b", VmTime(25))]);
        a.set(Some(VmTime(15))); // in the past: must fire again
        timers.expire();
        assert_eq!(fired.lock().unwrap().len(), 3);
    }
}
