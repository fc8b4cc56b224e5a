//! What travels between the APICs of a machine, and the object through which everybody reaches the local ones. Intel SDM
//! vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)"; section titles are its.
//!
//! Locks are taken in one order only: an I/O APIC or a PIC may call the local APICs while it is locked, never the other
//! way round. So [`ApicBus`] stands before the cell of the local APICs, and does what needs another chip (the end of a
//! level-triggered interrupt, the acknowledge of an external one) after it has left the cell.

use super::intack::{CR8, EVENTS, INTACK, TSC_DEADLINE_NS};
use super::lapic::{Acknowledged, EOI_OFFSET, LocalApics};
use std::sync::{Arc, RwLock, Weak};
use vm::sysreg::{SysregId, SysregPort};
use vm::{Access, BusError, DeviceCell, Mmio, MmioPort};

/// The destination that means every APIC.
pub const BROADCAST: u32 = u32::MAX;
/// IA32_APIC_BASE.
pub const APIC_BASE: SysregId = 0x1b;
/// First and last MSR of an x2APIC ("x2APIC register address space").
pub const X2APIC_FIRST: SysregId = 0x800;
/// See [`X2APIC_FIRST`].
pub const X2APIC_LAST: SysregId = 0x83f;

/// How an interrupt is delivered ("Interrupt command register", delivery mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// By its vector.
    Fixed,
    /// By its vector, to the least busy of the processors named.
    LowestPriority,
    /// System management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// Processor reset.
    Init,
    /// Start-up of a processor that was reset, at page `vector`.
    Sipi,
    /// The vector is the PIC's to say.
    ExtInt,
}

impl Delivery {
    /// By its number in registers and messages; 3 is reserved.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Some(match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Sipi,
            7 => Self::ExtInt,
            _ => return None,
        })
    }
}

/// One interrupt message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// APIC ID, or set of logical IDs; [`BROADCAST`] for all.
    pub destination: u32,
    /// The destination is a set of logical IDs.
    pub logical: bool,
    /// How it is delivered.
    pub delivery: Delivery,
    /// Vector.
    pub vector: u8,
    /// Level-triggered: its end is broadcast.
    pub level: bool,
}

/// An 8-bit destination in the terms of [`Message::destination`].
pub(super) fn destination8(byte: u8) -> u32 {
    if byte == 0xff { BROADCAST } else { byte.into() }
}

impl Message {
    /// The message that a device's write of `data` to `address` is ("Message signalled interrupts"); `None` if it is none.
    pub fn from_msi(address: u64, data: u32) -> Option<Self> {
        if address >> 20 != 0xfee {
            return None;
        }
        let redirected = address & 8 != 0;
        let delivery = match Delivery::from_bits(data >> 8)? {
            Delivery::Fixed if redirected => Delivery::LowestPriority,
            delivery => delivery,
        };
        Some(Self {
            destination: destination8((address >> 12) as u8),
            logical: address & 4 != 0,
            delivery,
            vector: data as u8,
            level: data & 1 << 15 != 0,
        })
    }
}

/// Told of the end of level-triggered interrupts: an I/O APIC.
pub trait EoiSink: Send + Sync {
    /// A processor has ended the level-triggered interrupt `vector`.
    fn eoi(&self, vector: u8);
}

/// The way to the local APICs: for I/O APICs and devices that send messages, for the page of memory and for the system
/// registers of the processors.
pub struct ApicBus {
    apics: Arc<DeviceCell<LocalApics>>,
    io: RwLock<Vec<Weak<dyn EoiSink>>>,
    pic: Option<Arc<dyn Fn() -> u8 + Send + Sync>>,
}

impl ApicBus {
    /// The bus of `apics`. `pic` acknowledges external interrupts ([`super::i8259::acknowledge`]).
    pub fn new(apics: &Arc<DeviceCell<LocalApics>>, pic: Option<Arc<dyn Fn() -> u8 + Send + Sync>>) -> Arc<Self> {
        Arc::new(Self { apics: apics.clone(), io: RwLock::default(), pic })
    }

    /// The registers that the bus answers for on the system-register bus, to be given to
    /// [`vm::sysreg::SysregBus::map`].
    pub fn sysregs() -> Vec<SysregId> {
        [INTACK, EVENTS, CR8, TSC_DEADLINE_NS, APIC_BASE].into_iter().chain(X2APIC_FIRST..=X2APIC_LAST).collect()
    }

    /// Tells `sink` of ends of level-triggered interrupts from now on.
    pub fn on_eoi(&self, sink: Weak<dyn EoiSink>) {
        self.io.write().unwrap_or_else(|poisoned| poisoned.into_inner()).push(sink);
    }

    /// Delivers an interrupt.
    pub fn deliver(&self, message: Message) {
        let _ = self.apics.with(|apics| apics.deliver(message));
    }

    /// Delivers the interrupt that a device's write of `data` to `address` is; `false` if the write is none.
    pub fn msi(&self, address: u64, data: u32) -> bool {
        Message::from_msi(address, data).map(|message| self.deliver(message)).is_some()
    }

    /// The interrupt acknowledge cycle of processor `cpu`: its vector.
    pub fn acknowledge(&self, cpu: u32) -> u8 {
        match self.apics.with(|apics| apics.acknowledge(cpu as usize)) {
            Ok(Acknowledged::Vector(vector)) => vector,
            Ok(Acknowledged::External) => self.pic.as_ref().map_or(0xff, |pic| pic()),
            Err(_) => 0xff,
        }
    }

    /// Passes the ends of level-triggered interrupts on, outside the cell.
    fn broadcast_ends(&self, ends: [u32; 8]) {
        if ends == [0; 8] {
            return;
        }
        let sinks = self.io.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        for vector in (0..=255_u8).filter(|vector| ends[usize::from(vector / 32)] >> (vector % 32) & 1 != 0) {
            sinks.iter().filter_map(Weak::upgrade).for_each(|sink| sink.eoi(vector));
        }
    }
}

impl MmioPort for ApicBus {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        MmioPort::read(&*self.apics, at)
    }

    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        // The one register that needs another chip, in one visit to the cell.
        if at == (Access { window: 0, offset: EOI_OFFSET, width: 4 }) {
            let (result, ends) = self.apics.with(|apics| (Mmio::write(apics, at, value), apics.take_ends()))?;
            self.broadcast_ends(ends);
            return result;
        }
        MmioPort::write(&*self.apics, at, value)
    }
}

impl SysregPort for ApicBus {
    fn read(&self, vcpu: u32, reg: SysregId) -> u64 {
        if reg == INTACK {
            return self.acknowledge(vcpu).into();
        }
        self.apics.with(|apics| apics.read_sysreg(vcpu as usize, reg)).unwrap_or(0)
    }

    fn write(&self, vcpu: u32, reg: SysregId, value: u64) {
        let ends = self.apics.with(|apics| {
            apics.write_sysreg(vcpu as usize, reg, value);
            apics.take_ends()
        });
        self.broadcast_ends(ends.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_devices() {
        let check =
            |address, data, expect| assert_eq!(Message::from_msi(address, data), expect, "{address:#x} {data:#x}");
        let message = Message { destination: 3, logical: false, delivery: Delivery::Fixed, vector: 0x41, level: false };
        check(0xfee0_3000, 0x41, Some(message));
        check(0xfee0_3000, 0xc041, Some(Message { level: true, ..message }));
        check(0xfee0_300c, 0x41, Some(Message { logical: true, delivery: Delivery::LowestPriority, ..message }));
        check(
            0xfeef_f000,
            0x141,
            Some(Message { destination: BROADCAST, delivery: Delivery::LowestPriority, ..message }),
        );
        check(0xfee0_3000, 0x441, Some(Message { delivery: Delivery::Nmi, ..message }));
        check(0xfee0_3000, 0x341, None);
        check(0xfed0_3000, 0x41, None);
        check(0x1_fee0_3000, 0x41, None);
    }
}
