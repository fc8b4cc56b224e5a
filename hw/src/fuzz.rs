//! The generic harness for devices that read and write memory by themselves: rounds of random accesses, with structures in
//! guest memory that are random, nearly right, or lead into the device itself.
//!
//! A device's test makes a machine in each round, does what a driver does up to some point, and lets go. Each round has a
//! seed of its own, which is named when the round panics or does not end. `MIMIC_FUZZ_SECONDS=N` goes on for longer,
//! `MIMIC_FUZZ_SEED=N` begins with another seed: that of a failure does it again as far as no thread is involved.

use crate::testing::Random;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use vm::{Access, DeviceCell, Mmio, MmioPort, Part, ResetKind};

/// How long a test takes when nobody asks for more.
const SHORT: Duration = Duration::from_millis(400);
/// What no round may take.
const ROUND_MAX: Duration = Duration::from_secs(120);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Names the seed of a round that panics.
struct Seed<'a>(&'a str, u64);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: failed with MIMIC_FUZZ_SEED={}", self.0, self.1);
        }
    }
}

/// Calls `round` with one seed's numbers after the other's, until the time is over.
pub fn fuzz(name: &str, mut round: impl FnMut(&mut Random)) {
    let time = variable("MIMIC_FUZZ_SECONDS").map_or(SHORT, Duration::from_secs);
    let first = variable("MIMIC_FUZZ_SEED").unwrap_or(1);
    let at = Arc::new(AtomicU64::new(first));
    // Who waits for ever cannot report it.
    let (alive, deadline) = mpsc::channel();
    let (watched, owner) = (at.clone(), name.to_owned());
    let watchdog = std::thread::spawn(move || {
        loop {
            match deadline.recv_timeout(ROUND_MAX) {
                Ok(()) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    eprintln!("{owner}: a round does not end; MIMIC_FUZZ_SEED={}", watched.load(Ordering::SeqCst));
                    std::process::abort();
                }
            }
        }
    });
    let started = Instant::now();
    for seed in first.. {
        at.store(seed, Ordering::SeqCst);
        let named = Seed(name, seed);
        round(&mut Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        drop(named);
        let _ = alive.send(());
        if started.elapsed() > time {
            break;
        }
    }
    drop(alive);
    watchdog.join().unwrap();
}

/// An address or length that a hostile guest would choose: near the ends of `ram` and of everything, within the device's
/// own `windows`, on and beside the boundaries of pages.
pub fn number(random: &mut Random, ram: std::ops::Range<u64>, windows: &[u64]) -> u64 {
    let inside = ram.start + random.below(ram.end - ram.start);
    match random.below(12) {
        0 => random.next(),
        1 => 1 << random.below(64),
        2 => (1_u64 << random.below(64)).wrapping_sub(1),
        3 => random.below(64).wrapping_neg(),
        4 => ram.end - random.below(4096),
        5 if !windows.is_empty() => windows[random.below(windows.len() as u64) as usize] + random.below(64) * 4,
        6 => random.below(4096),
        7 => inside,
        8 => inside & !7,
        9 => inside & !0xfff | 0xff8,
        _ => inside & !0xfff,
    }
}

/// One access somewhere into the windows; of its offsets the first `favoured` bytes of a window are the most frequent.
pub fn access<T: Mmio>(cell: &DeviceCell<T>, random: &mut Random, favoured: u64, value: u64) {
    let window = random.below(T::WINDOWS.len() as u64) as u8;
    let window_ref = &T::WINDOWS[usize::from(window)];
    let width = *window_ref.widths.start() << random.below(2);
    let range = if random.below(4) == 0 { window_ref.len } else { window_ref.len.min(favoured) };
    let offset = random.below(range) & !(u64::from(width) - 1);
    let at = Access { window, offset, width };
    if random.below(3) == 0 {
        let _ = MmioPort::read(cell, at);
    } else {
        let _ = MmioPort::write(cell, at, value);
    }
}

/// The end of a round: whatever state the device is in, it is saved, loaded and reset.
pub fn finish<T: Mmio>(cell: &DeviceCell<T>) {
    let saved = cell.save();
    cell.load(&saved).expect("a device loads what it saved");
    cell.settle();
    cell.reset(ResetKind::Warm);
    cell.settle();
}
