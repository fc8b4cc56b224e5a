//! A piece of guest-visible hardware, and the cell that is the only lock around it.

use crate::addr::VmTime;
use crate::log;
use crate::snapshot::{BadState, LoadError, Saved};
use crate::timer::{Timer, Timers};
use serde::{Serialize, de::DeserializeOwned};
use std::cell::Cell;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// Which reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Power on.
    Cold,
    /// The machine's reset line.
    Warm,
}

/// A piece of hardware. It owns its registers and reaches the rest of the machine only through the handles it was built
/// with.
pub trait Device: Send + 'static {
    /// Everything a snapshot keeps; `Default` is the power-on state.
    type Regs: Regs;
    /// Names the snapshot section, the log target and the `-device` argument.
    const MODEL: &'static str;
    /// The registers.
    fn regs(&self) -> &Self::Regs;
    /// The registers.
    fn regs_mut(&mut self) -> &mut Self::Regs;
    /// Back to the reset state. The cell calls [`update`](Device::update) later, when every part is reset.
    fn reset(&mut self, _kind: ResetKind) {
        *self.regs_mut() = Default::default();
    }
    /// Drives the outputs that follow from `regs` and takes waiting input. [`DeviceCell`] calls it on every way out of
    /// the device, so no author can forget it.
    fn update(&mut self) {}
    /// When `regs` next change by themselves. Derived, so timers are never saved.
    fn deadline(&self) -> Option<VmTime> {
        None
    }
    /// The deadline is reached (or was, by a little).
    fn expire(&mut self, _now: VmTime) {}
}

/// The registers of a device: saved, reset, printed and compared.
pub trait Regs: Default + fmt::Debug + Serialize + DeserializeOwned + Send {
    /// Raised when the saved form changes.
    const VERSION: u32 = 1;
    /// Rejects a restored value the guest could never have produced.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn validate(&self) -> Result<(), BadState> {
        Ok(())
    }
}

impl Regs for () {}

/// One access to a window of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Index into [`Mmio::WINDOWS`].
    pub window: u8,
    /// Bytes from the start of the window.
    pub offset: u64,
    /// 1, 2, 4 or 8 bytes.
    pub width: u8,
}

/// Why an access was refused. A guest error: never a reason to stop the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nothing answers at the address.
    #[error("nothing answers")]
    NoDevice,
    /// The device has no register there, or not for this direction.
    #[error("no such register")]
    BadOffset,
    /// The device does not take this width.
    #[error("unsupported width")]
    BadWidth,
    /// The device reached itself, say by DMA into its own registers.
    #[error("the device accessed itself")]
    Reentered,
}

/// An address range that a device decodes.
pub struct Window {
    /// Size in bytes.
    pub len: u64,
    /// Widths in bytes that it accepts.
    pub widths: RangeInclusive<u8>,
}

/// A device with memory-mapped (or port) registers.
pub trait Mmio: Device {
    /// Its windows; a board places each.
    const WINDOWS: &'static [Window];
    /// Reads a register. `at.width` is one of the window's widths and the access lies inside the window.
    ///
    /// # Errors
    /// [`BusError::BadOffset`] where there is no readable register; the cell logs it.
    fn read(&mut self, at: Access) -> Result<u64, BusError>;
    /// Writes a register.
    ///
    /// # Errors
    /// [`BusError::BadOffset`] where there is no writable register; the cell logs it.
    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError>;
}

/// Log lines about refused accesses per device before it goes quiet.
const LOGGED_ERRORS: u32 = 100;

/// The one lock around a device: checks accesses, refuses re-entry, settles outputs and timers.
pub struct DeviceCell<T> {
    owner: AtomicU64,
    logged: AtomicU32,
    timer: OnceLock<Timer>,
    device: Mutex<T>,
}

fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static ID: Cell<u64> = const { Cell::new(0) });
    ID.with(|id| {
        if id.get() == 0 {
            id.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        id.get()
    })
}

impl<T: Device> DeviceCell<T> {
    /// A cell without a timer, for devices that have no [`deadline`](Device::deadline).
    pub fn new(device: T) -> Self {
        Self { owner: AtomicU64::new(0), logged: AtomicU32::new(0), timer: OnceLock::new(), device: Mutex::new(device) }
    }

    /// A cell whose device's deadlines are kept by `timers`.
    pub fn with_timers(device: T, timers: &Arc<Timers>) -> Arc<Self> {
        Arc::new_cyclic(|cell: &std::sync::Weak<Self>| {
            let cell = cell.clone();
            let timer = timers.timer(move |now| {
                if let Some(cell) = cell.upgrade() {
                    let _ = cell.with(|device| device.expire(now));
                }
            });
            let new = Self::new(device);
            let _ = new.timer.set(timer);
            new
        })
    }

    fn settle_locked(&self, device: &mut T) {
        device.update();
        if let Some(timer) = self.timer.get() {
            timer.set(device.deadline());
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.device.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Runs `f` on the device, then settles its outputs.
    ///
    /// # Errors
    /// [`BusError::Reentered`] when this thread is inside the device already.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, BusError> {
        let me = this_thread();
        if self.owner.load(Ordering::Relaxed) == me {
            return Err(BusError::Reentered);
        }
        let mut device = self.lock();
        self.owner.store(me, Ordering::Relaxed);
        let result = f(&mut device);
        self.settle_locked(&mut device);
        self.owner.store(0, Ordering::Relaxed);
        Ok(result)
    }

    fn log(&self, at: Access, what: &str, error: BusError) {
        if self.logged.fetch_add(1, Ordering::Relaxed) < LOGGED_ERRORS {
            log!(GuestError, "{}: {what} of {} bytes at {:#x}.{}: {error}", T::MODEL, at.width, at.offset, at.window);
        }
    }
}

/// What the address space stores: the object-safe side of [`Mmio`], implemented once.
pub trait MmioPort: Send + Sync {
    /// Reads; see [`Mmio::read`].
    fn read(&self, at: Access) -> Result<u64, BusError>;
    /// Writes; see [`Mmio::write`].
    fn write(&self, at: Access, value: u64) -> Result<(), BusError>;
}

impl<T: Mmio> DeviceCell<T> {
    fn check(at: Access) -> Result<(), BusError> {
        let window = T::WINDOWS.get(usize::from(at.window)).ok_or(BusError::NoDevice)?;
        if !window.widths.contains(&at.width) {
            return Err(BusError::BadWidth);
        }
        match at.offset.checked_add(at.width.into()) {
            Some(end) if end <= window.len => Ok(()),
            _ => Err(BusError::BadOffset),
        }
    }
}

impl<T: Mmio> MmioPort for DeviceCell<T> {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        let result = Self::check(at).and_then(|()| self.with(|device| device.read(at))?);
        result.inspect_err(|error| self.log(at, "read", *error))
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        let result = Self::check(at).and_then(|()| self.with(|device| device.write(at, value))?);
        result.inspect_err(|error| self.log(at, "write", *error))
    }
}

/// Object-safe side of [`Device`], implemented once for every `DeviceCell<T>`. Reset and load come in two phases: all
/// parts' registers first, then [`settle`](Part::settle) on all.
pub trait Part: Send + Sync {
    /// [`Device::MODEL`].
    fn model(&self) -> &'static str;
    /// First phase of a reset.
    fn reset(&self, kind: ResetKind);
    /// Second phase of a reset or load: outputs and timers follow from the registers.
    fn settle(&self);
    /// The registers for a snapshot.
    fn save(&self) -> Saved;
    /// First phase of a load. Nothing changes if it fails.
    fn load(&self, saved: &Saved) -> Result<(), LoadError>;
    /// The registers as text.
    fn inspect(&self) -> String;
}

impl<T: Device> Part for DeviceCell<T> {
    fn model(&self) -> &'static str {
        T::MODEL
    }
    fn reset(&self, kind: ResetKind) {
        self.lock().reset(kind);
    }
    fn settle(&self) {
        let mut device = self.lock();
        self.settle_locked(&mut device);
    }
    fn save(&self) -> Saved {
        let body = serde_json::to_vec(self.lock().regs()).expect("register structs have no unserialisable parts");
        Saved { model: T::MODEL.into(), version: T::Regs::VERSION, body }
    }
    fn load(&self, saved: &Saved) -> Result<(), LoadError> {
        let path = || saved.model.clone();
        if saved.model != T::MODEL {
            return Err(LoadError::OtherModel { path: T::MODEL.into(), found: saved.model.clone() });
        }
        if saved.version > T::Regs::VERSION {
            return Err(LoadError::Newer { path: path(), found: saved.version, known: T::Regs::VERSION });
        }
        let bad = |why| LoadError::Bad { path: path(), why };
        let regs: T::Regs = serde_json::from_slice(&saved.body).map_err(|e| bad(BadState(e.to_string())))?;
        regs.validate().map_err(bad)?;
        *self.lock().regs_mut() = regs;
        Ok(())
    }
    fn inspect(&self) -> String {
        format!("{:#?}", self.lock().regs())
    }
}
