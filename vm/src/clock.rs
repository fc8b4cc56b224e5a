//! Where virtual time comes from.

use crate::addr::VmTime;
use std::sync::atomic::{AtomicU64, Ordering};

/// The machine's clock. It runs only while the machine runs.
pub trait Clock: Send + Sync {
    /// Virtual time now.
    fn now(&self) -> VmTime;
    /// Lets time pass (again).
    fn run(&self);
    /// Makes time stand still.
    fn stop(&self);
    /// Seconds since 1970-01-01 00:00 UTC that a real-time clock shows when virtual time is zero.
    fn epoch_s(&self) -> u64;
    /// Moves time forward to `to` if this clock is driven by the run loop; other clocks ignore it.
    fn advance_to(&self, _to: VmTime) {}
}

/// A deterministic clock: time is what the run loop or a test says.
#[derive(Default)]
pub struct ManualClock {
    now_ns: AtomicU64,
    epoch_s: u64,
}

impl ManualClock {
    /// A clock at time zero whose epoch is `epoch_s` seconds after 1970.
    pub fn new(epoch_s: u64) -> Self {
        Self { now_ns: AtomicU64::new(0), epoch_s }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> VmTime {
        VmTime(self.now_ns.load(Ordering::Acquire))
    }
    fn run(&self) {}
    fn stop(&self) {}
    fn epoch_s(&self) -> u64 {
        self.epoch_s
    }
    fn advance_to(&self, to: VmTime) {
        self.now_ns.fetch_max(to.0, Ordering::AcqRel);
    }
}
