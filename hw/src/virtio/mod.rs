//! Virtual I/O devices (virtio 1.2, OASIS; section numbers are its), and the older interface ("legacy") that some
//! drivers and machines still choose.
//!
//! - [`queue`]: the rings: validated descriptor chains out of guest memory, used buffers back;
//! - [`transport`]: what every transport does alike: status, features, queues, interrupts, broken rings;
//! - [`mmio`]: the memory-mapped transport's registers;
//! - [`pci`]: the transport over PCI, modern and legacy;
//! - [`worker`]: a thread for what takes the host a while;
//! - one file per device, each an implementation of [`VirtioDevice`].
//!
//! Work is done when the transport's cell settles: [`VirtioDevice::process`] looks at the rings, serves or hands over what
//! it finds, and returns finished chains. So a device woken by a host thread, a driver's notification and a loaded
//! snapshot take the same path. Chains of one queue finish in order; the saved ring position is that of the oldest
//! unfinished chain, and a device that loads it starts those that were under way again.

use crate::virtio::queue::{Malformed, Rings};
use vm::Regs;

pub mod balloon;
pub mod blk;
pub mod console;
pub mod mmio;
pub mod net;
pub mod ninep;
pub mod pci;
pub mod queue;
pub mod rng;
pub mod scsi;
#[cfg(test)]
pub mod testing;
pub mod transport;
pub mod worker;

/// Feature bits that belong to no single device (6, Reserved Feature Bits).
pub mod feature {
    /// Chains may continue in a table in other memory (2.7.5.3).
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Each side says at which index it wants to be notified next (2.7.10). For devices that look at a ring again until it is
    /// empty: only then is the driver asked for a notification.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The driver follows version 1 or later of the standard.
    pub const VERSION_1: u64 = 1 << 32;
    /// Legacy: buffers may be cut anywhere.
    pub const ANY_LAYOUT: u64 = 1 << 27;
}

/// What a device calls, from any thread, when it has something to do: it makes the transport settle.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// A virtio device behind some transport.
pub trait VirtioDevice: Send + 'static {
    /// What of the device a snapshot keeps beyond its rings.
    type Regs: Regs;
    /// Its name as a `-device`.
    const MODEL: &'static str;
    /// 5, Device Types.
    const DEVICE_ID: u32;
    /// Greatest number of descriptors of each queue, powers of two; queue `n` is the `n`-th.
    const QUEUE_SIZES: &'static [u16];

    /// Device-specific features on offer.
    fn features(&self) -> u64;
    /// The configuration space as the driver reads it.
    fn config(&self, _regs: &Self::Regs) -> Vec<u8> {
        Vec::new()
    }
    /// The driver writes `bytes` at byte `offset` of the configuration space.
    fn write_config(&mut self, _regs: &mut Self::Regs, _offset: usize, _bytes: &[u8]) {}
    /// Something in the configuration space changed since the last call: the driver is to be told.
    fn config_changed(&mut self, _regs: &mut Self::Regs) -> bool {
        false
    }
    /// The driver is ready and accepted `features`.
    fn activate(&mut self, _regs: &mut Self::Regs, _features: u64) {}
    /// Back to the state before any driver came. What the host end decides, such as a terminal's size, stays.
    fn reset(&mut self, regs: &mut Self::Regs) {
        *regs = Default::default();
    }
    /// Serves the rings as far as possible now: at most as many chains at a time as a queue has descriptors.
    ///
    /// # Errors
    /// [`Malformed`] for a chain that no driver should make; the device stops until it is reset.
    fn process(&mut self, regs: &mut Self::Regs, rings: &mut Rings<'_>) -> Result<(), Malformed>;
    /// Forgets what is under way: when this returns, nothing touches guest memory any more. The rings were reset or
    /// replaced.
    fn abandon(&mut self) {}
    /// Waits until what is under way has reached the host; the transport then settles.
    fn drain(&mut self) {}
    /// How to wake the transport. Called once.
    fn connect(&mut self, _wake: Wake) {}
}

/// A transport without a device: drivers see device type 0 and leave it alone (4.2.2.2).
pub struct NoDevice;

impl VirtioDevice for NoDevice {
    type Regs = ();
    const MODEL: &'static str = "virtio-empty";
    const DEVICE_ID: u32 = 0;
    const QUEUE_SIZES: &'static [u16] = &[];

    fn features(&self) -> u64 {
        0
    }
    fn process(&mut self, _regs: &mut (), _rings: &mut Rings<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}
