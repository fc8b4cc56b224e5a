//! Virtual time from the host's monotonic clock, and the thread that fires timers by it.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use vm::VmTime;
use vm::clock::Clock;
use vm::timer::Timers;

/// `stopped_at` while the clock runs.
const RUNNING: u64 = u64::MAX;
/// `stopped_at` for the moment in which the clock is read for the last time.
const STOPPING: u64 = u64::MAX - 1;

/// A clock that follows the host's monotonic time while the machine runs. A new clock stands still at zero.
pub struct HostClock {
    start: Instant,
    epoch_s: u64,
    /// Virtual time at which the clock stands, or [`RUNNING`].
    stopped_at: AtomicU64,
    /// Host nanoseconds since `start` that were not virtual time.
    paused_ns: AtomicU64,
    /// Held while the clock starts and stops, so that those two do not overlap.
    switch: Mutex<()>,
    on_run: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl HostClock {
    /// A clock whose real-time clocks show the host's time of day, UTC.
    pub fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self::with_epoch(since_1970.map_or(0, |since| since.as_secs()))
    }

    /// A clock whose real-time clocks show `epoch_s` seconds after 1970-01-01 00:00 when virtual time is zero.
    pub fn with_epoch(epoch_s: u64) -> Self {
        Self {
            start: Instant::now(),
            epoch_s,
            stopped_at: AtomicU64::new(0),
            paused_ns: AtomicU64::new(0),
            switch: Mutex::new(()),
            on_run: OnceLock::new(),
        }
    }

    /// Whether time passes.
    pub fn is_running(&self) -> bool {
        self.stopped_at.load(Ordering::SeqCst) == RUNNING
    }

    fn host_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now(&self) -> VmTime {
        loop {
            let stopped_at = self.stopped_at.load(Ordering::SeqCst);
            if stopped_at == STOPPING {
                // Any time given out now could be later than the one at which the clock will stand.
                std::thread::yield_now();
                continue;
            }
            if stopped_at != RUNNING {
                return VmTime(stopped_at);
            }
            let paused_ns = self.paused_ns.load(Ordering::SeqCst);
            let host_ns = self.host_ns();
            // A stop and a run in between would have let the pause pass as virtual time.
            let still_running = self.stopped_at.load(Ordering::SeqCst) == RUNNING;
            if still_running && self.paused_ns.load(Ordering::SeqCst) == paused_ns {
                return VmTime(host_ns.saturating_sub(paused_ns));
            }
        }
    }

    fn run(&self) {
        let switch = self.switch.lock().unwrap();
        let stopped_at = self.stopped_at.load(Ordering::SeqCst);
        if stopped_at != RUNNING {
            self.paused_ns.store(self.host_ns().saturating_sub(stopped_at), Ordering::SeqCst);
            self.stopped_at.store(RUNNING, Ordering::SeqCst);
        }
        drop(switch);
        if let Some(wake) = self.on_run.get() {
            wake();
        }
    }

    fn stop(&self) {
        let _switch = self.switch.lock().unwrap();
        if self.is_running() {
            self.stopped_at.store(STOPPING, Ordering::SeqCst);
            let now = self.host_ns().saturating_sub(self.paused_ns.load(Ordering::SeqCst));
            self.stopped_at.store(now, Ordering::SeqCst);
        }
    }

    fn epoch_s(&self) -> u64 {
        self.epoch_s
    }
}

/// What the timer thread sleeps on.
#[derive(Default)]
struct Alarm {
    /// Counts the events after which the next deadline must be looked up again.
    changes: Mutex<u64>,
    changed: Condvar,
    ending: AtomicBool,
}

impl Alarm {
    fn ring(&self) {
        *self.changes.lock().unwrap() += 1;
        self.changed.notify_one();
    }
}

/// The thread that fires a machine's timers as the host's time reaches them. Dropping it ends the thread and waits for
/// a callback in progress.
pub struct TimerThread {
    alarm: Arc<Alarm>,
    thread: Option<JoinHandle<()>>,
}

impl TimerThread {
    /// Drives `timers` by `clock`, which must be the clock that `timers` was made with. Once for each `timers`.
    pub fn start(timers: Arc<Timers>, clock: Arc<HostClock>) -> Self {
        let alarm = Arc::new(Alarm::default());
        let on_sooner = alarm.clone();
        timers.on_sooner(Box::new(move || on_sooner.ring()));
        let on_run = alarm.clone();
        let _ = clock.on_run.set(Box::new(move || on_run.ring()));
        let on_thread = alarm.clone();
        let thread =
            std::thread::Builder::new().name("timers".into()).spawn(move || drive(&timers, &clock, &on_thread));
        Self { alarm, thread: Some(thread.expect("the host has room for one more thread")) }
    }
}

impl Drop for TimerThread {
    fn drop(&mut self) {
        self.alarm.ending.store(true, Ordering::SeqCst);
        self.alarm.ring();
        let thread = self.thread.take();
        // A timer callback may own the last handle of the machine and so of this thread.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn drive(timers: &Timers, clock: &HostClock, alarm: &Alarm) {
    // The kernel may otherwise delay each wake-up by 50 us to coalesce them. Only precision is lost when it refuses.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
    loop {
        let seen = *alarm.changes.lock().unwrap();
        if alarm.ending.load(Ordering::SeqCst) {
            return;
        }
        let wait = match timers.next_deadline() {
            Some(at) if clock.is_running() => {
                let left_ns = at.0.saturating_sub(clock.now().0);
                if left_ns == 0 {
                    timers.expire();
                    continue;
                }
                Some(Duration::from_nanos(left_ns))
            }
            _ => None,
        };
        let changes = alarm.changes.lock().unwrap();
        let same = |changes: &mut u64| *changes == seen;
        match wait {
            Some(wait) => drop(alarm.changed.wait_timeout_while(changes, wait, same)),
            None => drop(alarm.changed.wait_while(changes, same)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn time_stands_still_while_stopped_and_never_goes_back() {
        let clock = HostClock::with_epoch(77);
        assert_eq!((clock.now(), clock.epoch_s()), (VmTime(0), 77));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(clock.now(), VmTime(0));
        clock.run();
        clock.run();
        std::thread::sleep(Duration::from_millis(10));
        clock.stop();
        let stopped = clock.now();
        assert!((10_000_000..5_000_000_000).contains(&stopped.0), "{stopped:?}");
        std::thread::sleep(Duration::from_millis(50));
        clock.stop();
        assert_eq!(clock.now(), stopped);
        clock.run();
        assert!(clock.now() >= stopped);
    }

    #[test]
    fn readers_see_no_pause_while_the_clock_is_switched() {
        let clock = Arc::new(HostClock::new());
        clock.run();
        let reader = {
            let clock = clock.clone();
            std::thread::spawn(move || {
                let mut last = VmTime(0);
                while Arc::strong_count(&clock) > 1 {
                    let now = clock.now();
                    assert!(now >= last, "{now:?} after {last:?}");
                    last = now;
                }
            })
        };
        for _ in 0..200 {
            clock.stop();
            std::thread::sleep(Duration::from_micros(50));
            clock.run();
        }
        drop(clock);
        reader.join().unwrap();
    }

    #[test]
    fn a_sooner_deadline_wakes_the_thread_and_a_stopped_clock_holds_it() {
        let clock = Arc::new(HostClock::new());
        let timers = Timers::new(clock.clone());
        let driver = TimerThread::start(timers.clone(), clock.clone());
        let (tell, told) = mpsc::channel();
        let mut made = Vec::new();
        for name in ["late", "soon"] {
            let tell = tell.clone();
            made.push(timers.timer(move |now| tell.send((name, now)).unwrap()));
        }
        made[0].set(Some(VmTime(3_600_000_000_000)));
        made[1].set(Some(VmTime(20_000_000)));
        // The clock does not run yet.
        assert!(told.recv_timeout(Duration::from_millis(60)).is_err());
        clock.run();
        let (name, now) = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(name, "soon");
        assert!(now.0 >= 20_000_000, "{now:?}");
        made[0].set(Some(now));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap().0, "late");
        drop(driver);
        made[0].set(Some(VmTime(0)));
        assert!(told.recv_timeout(Duration::from_millis(30)).is_err());
    }
}
