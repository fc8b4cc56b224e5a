//! What the tests of every device share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm::{Access, BusError, Device, DeviceCell, IrqSink, Mmio, MmioPort, Part, ResetKind, Saved};

/// An access of `width` bytes at `offset` of the first window.
pub const fn at(offset: u64, width: u8) -> Access {
    Access { window: 0, offset, width }
}

/// 32-bit accesses, and others where a test needs them, in as few letters as possible.
pub trait Poke {
    fn r(&self, offset: u64) -> u64;
    fn w(&self, offset: u64, value: u64);
    fn read_n(&self, offset: u64, width: u8) -> Result<u64, BusError>;
    fn write_n(&self, offset: u64, width: u8, value: u64) -> Result<(), BusError>;
}

impl<T: Mmio> Poke for DeviceCell<T> {
    #[track_caller]
    fn r(&self, offset: u64) -> u64 {
        MmioPort::read(self, at(offset, 4)).unwrap()
    }
    #[track_caller]
    fn w(&self, offset: u64, value: u64) {
        MmioPort::write(self, at(offset, 4), value).unwrap()
    }
    fn read_n(&self, offset: u64, width: u8) -> Result<u64, BusError> {
        MmioPort::read(self, at(offset, width))
    }
    fn write_n(&self, offset: u64, width: u8, value: u64) -> Result<(), BusError> {
        MmioPort::write(self, at(offset, width), value)
    }
}

/// Byte accesses to the I/O ports of window `window`.
pub trait Ports {
    fn inb(&self, window: u8, offset: u64) -> u8;
    fn outb(&self, window: u8, offset: u64, value: u8);
}

impl<T: Mmio> Ports for DeviceCell<T> {
    #[track_caller]
    fn inb(&self, window: u8, offset: u64) -> u8 {
        MmioPort::read(self, Access { window, offset, width: 1 }).unwrap() as u8
    }
    #[track_caller]
    fn outb(&self, window: u8, offset: u64, value: u8) {
        MmioPort::write(self, Access { window, offset, width: 1 }, value.into()).unwrap()
    }
}

/// A sink that counts how often each of its 64 pins rose.
pub struct Edges([AtomicU64; 64]);

impl Edges {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| AtomicU64::new(0))))
    }
    /// Rising edges of `pin` since the last call.
    pub fn take(&self, pin: usize) -> u64 {
        self.0[pin].swap(0, Ordering::SeqCst)
    }
}

impl IrqSink for Edges {
    fn set_pin(&self, pin: u32, high: bool) {
        if high {
            self.0[pin as usize].fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A sink that shows the levels of its 64 pins.
#[derive(Default)]
pub struct Levels(AtomicU64);

impl Levels {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    pub fn get(&self, pin: u32) -> bool {
        self.0.load(Ordering::SeqCst) >> pin & 1 != 0
    }
}

impl IrqSink for Levels {
    fn set_pin(&self, pin: u32, high: bool) {
        if high {
            self.0.fetch_or(1 << pin, Ordering::SeqCst);
        } else {
            self.0.fetch_and(!(1 << pin), Ordering::SeqCst);
        }
    }
}

fn text(saved: &Saved) -> String {
    String::from_utf8_lossy(&saved.body).into_owned()
}

/// Saves, lets `change` change the device, loads, and expects that everything is as it was; then resets and expects the
/// power-on registers.
#[track_caller]
pub fn check_save_load<T: Device>(cell: &DeviceCell<T>, change: impl FnOnce()) {
    let saved = cell.save();
    change();
    let changed = cell.save();
    assert_ne!(saved, changed, "the change must be visible in the saved form");
    for state in [saved, changed] {
        cell.load(&state).unwrap();
        cell.settle();
        assert_eq!(text(&state), text(&cell.save()));
    }
    assert!(cell.inspect().contains('{'));
}

/// Expects that a cold reset restores what the device was like when it was made.
#[track_caller]
pub fn check_reset<T: Device>(cell: &DeviceCell<T>, change: impl FnOnce()) {
    cell.settle();
    let fresh = cell.save();
    change();
    assert_ne!(fresh, cell.save(), "the change must be visible in the saved form");
    cell.reset(ResetKind::Cold);
    cell.settle();
    assert_eq!(text(&fresh), text(&cell.save()));
}

/// Numbers that look random and are the same in each run (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Accesses of every width, in and outside the windows, with small and random values: whatever the guest does, the device
/// answers or refuses, soon, and what it then saves it also loads. `between` is called after each access.
pub fn hammer<T: Mmio>(cell: &DeviceCell<T>, accesses: u32, mut between: impl FnMut(&mut Random)) {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let started = std::time::Instant::now();
    for _ in 0..accesses {
        let window = random.below(T::WINDOWS.len() as u64 + 1) as u8;
        let len = T::WINDOWS.get(usize::from(window)).map_or(16, |window| window.len);
        let offset = match random.below(8) {
            0 => random.next(),
            1 => len.wrapping_add(random.below(16)).wrapping_sub(8),
            _ if len < 32 => random.below(len),
            2 => random.below(len),
            3 => random.below(len.min(0x1000)) & !3,
            _ => random.below(len.min(0x100)) & !3,
        };
        // Of the windows of I/O ports most take bytes only.
        let width = match T::WINDOWS.get(usize::from(window)) {
            Some(window) if *window.widths.end() == 1 && random.below(8) != 0 => 1,
            _ => [1, 2, 4, 4, 4, 8, 3, 0][random.below(8) as usize],
        };
        let at = Access { window, offset, width };
        if random.below(3) == 0 {
            let _ = MmioPort::read(cell, at);
        } else {
            let value = match random.below(4) {
                0 => random.next(),
                1 => 1 << random.below(64),
                _ => random.below(256),
            };
            let _ = MmioPort::write(cell, at, value);
        }
        between(&mut random);
    }
    assert!(started.elapsed().as_secs() < 60, "accesses must be quick");
    let saved = cell.save();
    cell.load(&saved).unwrap();
    cell.settle();
    cell.reset(ResetKind::Warm);
    cell.settle();
}
