//! What every virtio transport does alike: device status (2.1), feature bits (2.2), notifications (2.3), the life of
//! queues, and what happens to a device whose driver makes malformed rings.

use crate::virtio::queue::{Malformed, QueueRegs, Rings};
use crate::virtio::{VirtioDevice, feature};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{AddressSpace, BadState, Regs};

// Device status (2.1).
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 0x40;
/// All that a driver sets: ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED.
const DRIVER_BITS: u8 = 0x8f;

/// Interrupt cause: used buffers (4.2.2, InterruptStatus).
pub const ISR_USED: u8 = 1;
/// Interrupt cause: the configuration changed.
pub const ISR_CONFIG: u8 = 2;

/// Queues of the device with the most of them.
const QUEUES_MAX: usize = 64;

/// The state of any virtio device.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(bound = "R: Regs")]
pub struct VirtioRegs<R> {
    /// Device status.
    pub status: u8,
    /// Causes of the interrupt that were not acknowledged.
    pub isr: u8,
    /// Queues that the causes are about, one bit each, for transports that tell them apart.
    #[serde(skip)]
    pub used: u64,
    /// Features that the driver accepted.
    pub driver_features: u64,
    /// Changes of the configuration space.
    pub generation: u32,
    /// Every queue.
    pub queues: Vec<QueueRegs>,
    /// The device's own.
    pub device: R,
    /// False after a reset or load: what the device has under way belongs to other rings.
    #[serde(skip)]
    pub current: bool,
}

impl<R: Regs> Regs for VirtioRegs<R> {
    fn validate(&self) -> Result<(), BadState> {
        if self.queues.len() > QUEUES_MAX {
            return Err(BadState(format!("a virtio device with {} queues", self.queues.len())));
        }
        self.device.validate()
    }
}

/// A device with its rings, behind a transport that stores its [`VirtioRegs`].
pub struct Virtio<D> {
    device: D,
    memory: Arc<AddressSpace>,
    modern: bool,
}

impl<D: VirtioDevice> Virtio<D> {
    /// `device`, with rings in the RAM of `memory`; `modern` chooses version 1 or later over the legacy interface.
    pub fn new(device: D, memory: Arc<AddressSpace>, modern: bool) -> Self {
        Self { device, memory, modern }
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether the interface is version 1 or later.
    pub fn modern(&self) -> bool {
        self.modern
    }

    /// The driver has chosen the interface of version 1 or later, or the legacy one.
    pub fn set_modern(&mut self, modern: bool) {
        self.modern = modern;
    }

    /// The registers at power-on.
    pub fn power_on(&self) -> VirtioRegs<D::Regs> {
        let queues = D::QUEUE_SIZES.iter().map(|size| QueueRegs { size: *size, ..Default::default() }).collect();
        VirtioRegs { queues, ..Default::default() }
    }

    /// Resets the device, as the machine does and as a driver does by writing 0 to the status.
    pub fn reset(&mut self, regs: &mut VirtioRegs<D::Regs>) {
        self.device.abandon();
        self.device.reset(&mut regs.device);
        let device = std::mem::take(&mut regs.device);
        *regs = VirtioRegs { current: true, device, ..self.power_on() };
    }

    /// All features on offer.
    pub fn features(&self) -> u64 {
        let transport = if self.modern { feature::VERSION_1 } else { feature::ANY_LAYOUT };
        let all = self.device.features() | feature::INDIRECT_DESC | transport;
        if self.modern { all } else { all & 0xffff_ffff }
    }

    /// The driver accepts the features `value` of word `word` (bits 32 × `word` and up).
    pub fn accept_features(&self, regs: &mut VirtioRegs<D::Regs>, word: u32, value: u32) {
        // 3.1.1: not after FEATURES_OK, or after DRIVER_OK with drivers that know no FEATURES_OK.
        if word > 1 || regs.status & (FEATURES_OK | DRIVER_OK) != 0 {
            vm::log!(GuestError, "{}: features written too late or out of range", D::MODEL);
            return;
        }
        let shift = 32 * word;
        regs.driver_features = regs.driver_features & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    /// The driver writes the status.
    pub fn write_status(&mut self, regs: &mut VirtioRegs<D::Regs>, value: u8) {
        if value == 0 {
            self.reset(regs);
            return;
        }
        let mut new = value & DRIVER_BITS | regs.status & NEEDS_RESET;
        let refused = regs.driver_features & !self.features();
        if self.modern {
            let acceptable = refused == 0 && regs.driver_features & feature::VERSION_1 != 0;
            if new & !regs.status & FEATURES_OK != 0 && !acceptable {
                vm::log!(GuestError, "{}: features {:#x} are not acceptable", D::MODEL, regs.driver_features);
                new &= !FEATURES_OK;
            }
            if new & DRIVER_OK != 0 && new & FEATURES_OK == 0 {
                vm::log!(GuestError, "{}: DRIVER_OK without FEATURES_OK", D::MODEL);
                new &= !DRIVER_OK;
            }
        }
        let started = new & !regs.status & DRIVER_OK != 0;
        regs.status = new;
        if started {
            regs.driver_features &= !refused;
            self.device.activate(&mut regs.device, regs.driver_features);
        }
    }

    /// Whether the driver may still set up queue `queue`; logs when not.
    fn idle_queue<'a>(&self, regs: &'a mut VirtioRegs<D::Regs>, queue: u32) -> Option<&'a mut QueueRegs> {
        let found = regs.queues.get_mut(queue as usize).filter(|regs| !regs.ready);
        if found.is_none() {
            vm::log!(GuestError, "{}: queue {queue} cannot be set up", D::MODEL);
        }
        found
    }

    /// Lets `change` configure queue `queue`, which must not be ready (4.2.2.2).
    pub fn configure_queue(&self, regs: &mut VirtioRegs<D::Regs>, queue: u32, change: impl FnOnce(&mut QueueRegs)) {
        if let Some(regs) = self.idle_queue(regs, queue) {
            change(regs);
        }
    }

    /// The driver chooses the number of descriptors; impossible ones are not taken.
    pub fn set_queue_size(&self, regs: &mut VirtioRegs<D::Regs>, queue: u32, size: u32) {
        let max = D::QUEUE_SIZES.get(queue as usize).copied().unwrap_or(0);
        match u16::try_from(size) {
            Ok(size) if size.is_power_of_two() && size <= max => {
                self.configure_queue(regs, queue, |regs| regs.size = size);
            }
            _ => vm::log!(GuestError, "{}: queue {queue} cannot have {size} descriptors", D::MODEL),
        }
    }

    /// The driver opens queue `queue`, or closes it: then its positions start again, and nothing of it is under way.
    pub fn set_queue_ready(&mut self, regs: &mut VirtioRegs<D::Regs>, queue: u32, ready: bool) {
        if ready {
            self.configure_queue(regs, queue, |regs| regs.ready = true);
        } else if let Some(regs) = regs.queues.get_mut(queue as usize).filter(|regs| regs.ready) {
            // Work under way in other queues starts again from their oldest unfinished chain.
            self.device.abandon();
            *regs = QueueRegs { ready: false, next_avail: 0, next_used: 0, ..regs.clone() };
        }
    }

    /// Reads `width` (at most 8) bytes of the configuration space, little-endian; zeros beyond its end.
    pub fn read_config(&self, regs: &VirtioRegs<D::Regs>, offset: u64, width: u8) -> u64 {
        let config = self.device.config(&regs.device);
        let mut bytes = [0; 8];
        let rest = usize::try_from(offset).ok().and_then(|offset| config.get(offset..)).unwrap_or(&[]);
        for (to, from) in bytes.iter_mut().zip(rest.iter().take(width.into())) {
            *to = *from;
        }
        u64::from_le_bytes(bytes)
    }

    /// Writes `width` (at most 8) bytes of the configuration space.
    pub fn write_config(&mut self, regs: &mut VirtioRegs<D::Regs>, offset: u64, width: u8, value: u64) {
        let bytes = value.to_le_bytes();
        if let (Ok(offset), Some(bytes)) = (usize::try_from(offset), bytes.get(..width.into())) {
            self.device.write_config(&mut regs.device, offset, bytes);
        }
    }

    /// Serves the rings and gathers the causes of interrupts. For the transport's `update`.
    pub fn poll(&mut self, regs: &mut VirtioRegs<D::Regs>) {
        if !regs.current {
            self.device.abandon();
            regs.current = true;
            if regs.status & DRIVER_OK != 0 {
                self.device.activate(&mut regs.device, regs.driver_features);
            }
        }
        self.serve(regs);
        if self.device.config_changed(&mut regs.device) {
            regs.generation = regs.generation.wrapping_add(1);
            if regs.status & DRIVER_OK != 0 {
                regs.isr |= ISR_CONFIG;
            }
        }
    }

    fn serve(&mut self, regs: &mut VirtioRegs<D::Regs>) {
        if regs.status & (DRIVER_OK | NEEDS_RESET) != DRIVER_OK {
            return;
        }
        let mut rings = Rings::new(&mut regs.queues, D::QUEUE_SIZES, &self.memory, regs.driver_features);
        let result = self.device.process(&mut regs.device, &mut rings);
        let interrupts = rings.interrupts();
        if interrupts != 0 {
            regs.isr |= ISR_USED;
            regs.used |= interrupts;
        }
        if let Err(Malformed(why)) = result {
            // 2.1.2: tell the driver through the configuration interrupt; only a reset helps.
            vm::log!(GuestError, "{}: malformed ring ({why}); the device stops until it is reset", D::MODEL);
            self.device.abandon();
            regs.status |= NEEDS_RESET;
            regs.isr |= ISR_CONFIG;
        }
    }

    /// Waits until nothing is under way and all that was is in the rings.
    pub fn drain(&mut self, regs: &mut VirtioRegs<D::Regs>) {
        // Serving finished chains may start others; with the vCPUs stopped that ends after the second round.
        for _ in 0..4 {
            self.device.drain();
            self.poll(regs);
        }
        self.device.drain();
    }
}
