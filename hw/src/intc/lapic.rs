//! The local APICs of a machine's processors, xAPIC and x2APIC. Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt
//! Controller (APIC)"; section titles are its.
//!
//! They are one device, because they send each other messages; [`vm::vcpu::current`] says whose registers are meant. A
//! board makes the cell ([`LocalApics::cell`]), wires the PIC to [`lint_pins`], makes an
//! [`ApicBus`](super::apic_bus::ApicBus) and maps that, not the cell, for the page at 0xfee00000 and on the
//! system-register bus of every processor.
//!
//! Deviation: the address in IA32_APIC_BASE is remembered and not followed.

mod apic;

use super::apic_bus::{APIC_BASE, BROADCAST, Delivery, Message, X2APIC_FIRST, X2APIC_LAST, destination8};
use super::intack::{CR8, EVENTS, TSC_DEADLINE_NS};
use apic::{Apic, ERROR_REGISTER, ERROR_SEND_VECTOR, FIRST_VECTOR, Vectors};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::clock::Clock;
use vm::sysreg::SysregId;
use vm::timer::Timers;
use vm::{
    Access, BadState, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Part, Regs, ResetKind, VmTime, Window, vcpu,
};

/// The most processors: as many as there are 8-bit APIC IDs less the broadcast.
pub const MAX_CPUS: usize = 255;

// Indexes of registers: a sixteenth of the offset in the page, or the MSR less 0x800.
const ID: u32 = 0x02;
const VERSION: u32 = 0x03;
const TPR: u32 = 0x08;
const EOI: u32 = 0x0b;
const RRD: u32 = 0x0c;
const LDR: u32 = 0x0d;
const ICR: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const SELF_IPI: u32 = 0x3f;

/// Where the page has the EOI register.
pub(super) const EOI_OFFSET: u64 = 0xb0;
/// Integrated APIC, six entries in the local vector table, EOI broadcasts can be suppressed.
const VERSION_VALUE: u32 = 1 << 24 | 5 << 16 | 0x14;

// Interrupt command register.
const ICR_LOGICAL: u64 = 1 << 11;
const ICR_ASSERT: u64 = 1 << 14;
const ICR_LEVEL: u64 = 1 << 15;
const ICR_WRITABLE: u64 = 0xffff_ffff_000c_cfff;

/// Bits of what a read of [`EVENTS`] gives. The read takes them.
pub mod event {
    /// A non-maskable interrupt.
    pub const NMI: u64 = 1 << 0;
    /// A system management interrupt.
    pub const SMI: u64 = 1 << 1;
    /// INIT: the processor resets and waits for a start-up message. It comes before the SIPI of the same read.
    pub const INIT: u64 = 1 << 2;
    /// A start-up message; its vector is in bits 15:8. A processor that does not wait for it ignores it.
    pub const SIPI: u64 = 1 << 3;
}

/// Input pins of a processor, as [`CpuLines::to`] wires them.
pub mod pin {
    /// An interrupt waits: read INTACK when it can be taken.
    pub const INTR: u32 = 0;
    /// [`super::event::NMI`] waits in EVENTS.
    pub const NMI: u32 = 1;
    /// [`super::event::SMI`] waits.
    pub const SMI: u32 = 2;
    /// [`super::event::INIT`] waits.
    pub const INIT: u32 = 3;
    /// [`super::event::SIPI`] waits.
    pub const SIPI: u32 = 4;
}

/// The lines to one processor. All are levels: they fall when the processor has taken what waits.
pub struct CpuLines {
    lines: [IrqLine; 5],
}

impl CpuLines {
    /// These lines, in the order of [`pin`].
    pub fn new(lines: [IrqLine; 5]) -> Self {
        Self { lines }
    }

    /// To the pins of [`pin`] of a processor, usually a [`vm::vcpu::Pins`].
    pub fn to(pins: Arc<dyn IrqSink>) -> Self {
        let lines = [pin::INTR, pin::NMI, pin::SMI, pin::INIT, pin::SIPI];
        Self { lines: lines.map(|pin| IrqLine::to(pins.clone(), pin)) }
    }
}

/// A processor with a local APIC.
pub struct Processor {
    /// APIC ID.
    pub id: u32,
    /// Lines to it.
    pub lines: CpuLines,
}

/// What an interrupt acknowledge gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// This vector.
    Vector(u8),
    /// That of the PIC, which is to be asked.
    External,
}

/// All local APICs.
pub struct LocalApics {
    regs: LocalApicsRegs,
    cpus: Vec<Processor>,
    clock: Arc<dyn Clock>,
    /// Level-triggered interrupts that ended and that the I/O APICs do not know of yet; empty between accesses.
    ends: Vectors,
}

/// Their registers. The device gives the list the length that its machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalApicsRegs {
    apics: Vec<Apic>,
}

impl Regs for LocalApicsRegs {
    fn validate(&self) -> Result<(), BadState> {
        match self.apics.iter().position(|apic| !apic.is_possible()) {
            Some(n) => Err(BadState(format!("impossible registers of local APIC {n}"))),
            None if self.apics.len() > MAX_CPUS => Err(BadState(format!("{} local APICs", self.apics.len()))),
            None => Ok(()),
        }
    }
}

impl LocalApics {
    /// The cell of the local APICs of `cpus`, in the order of [`vm::vcpu::current`]; the first is the bootstrap
    /// processor. Their timers run on the clock of `timers`, at 1 GHz before the divider.
    ///
    /// # Panics
    /// Without processors, or with more than [`MAX_CPUS`].
    pub fn cell(cpus: Vec<Processor>, timers: &Arc<Timers>) -> Arc<DeviceCell<Self>> {
        assert!((1..=MAX_CPUS).contains(&cpus.len()), "a PC has 1 to 255 processors");
        let clock = timers.clock().clone();
        let chip = Self { regs: LocalApicsRegs::default(), cpus, clock, ends: Vectors::default() };
        let cell = DeviceCell::with_timers(chip, timers);
        cell.settle();
        cell
    }

    /// As many APICs as processors, and each with the time.
    fn fit(&mut self) {
        let (apics, cpus) = (&mut self.regs.apics, &self.cpus);
        apics.truncate(cpus.len());
        for (n, cpu) in cpus.iter().enumerate().skip(apics.len()) {
            apics.push(Apic::new(cpu.id, n == 0));
        }
        let now = self.clock.now().0;
        apics.iter_mut().for_each(|apic| apic.catch_up(now));
    }

    fn accessor(&self) -> usize {
        let cpu = vcpu::current() as usize;
        if cpu < self.cpus.len() { cpu } else { 0 }
    }

    /// IA32_APIC_BASE of `cpu` as the processor has it now.
    pub fn set_base_msr(&mut self, cpu: usize, value: u64) {
        if let Some(apic) = self.regs.apics.get_mut(cpu) {
            apic.set_base(value);
        }
    }

    /// Arms the TSC-deadline timer of `cpu`, or disarms it. Nothing happens unless the timer is in that mode.
    pub fn set_tsc_deadline(&mut self, cpu: usize, at: Option<VmTime>) {
        self.fit();
        if let Some(apic) = self.regs.apics.get_mut(cpu) {
            // A deadline at time zero is one that has passed.
            apic.set_deadline(at.map_or(0, |at| at.0.max(1)));
        }
    }

    /// Delivers a message from outside.
    pub fn deliver(&mut self, message: Message) {
        self.deliver_from(None, message);
    }

    /// Delivers a message to those that it addresses, but for `except`.
    fn deliver_from(&mut self, except: Option<usize>, message: Message) {
        self.fit();
        let Message { destination, logical, delivery, vector, level } = message;
        let apics = self.regs.apics.iter_mut().enumerate();
        let addressed = apics.filter(|(n, apic)| Some(*n) != except && apic.is_addressed(destination, logical));
        let addressed = addressed.map(|(_, apic)| apic);
        if delivery != Delivery::LowestPriority {
            return addressed.for_each(|apic| apic.accept(delivery, vector, level));
        }
        // "Lowest priority delivery mode": the one that has the vector already, else the least priority.
        let candidates = addressed.filter(|apic| apic.is_software_enabled());
        let best = candidates.min_by_key(|apic| (!(apic.irr.has(vector) || apic.isr.has(vector)), apic.ppr()));
        if let Some(apic) = best {
            apic.accept(delivery, vector, level);
        }
    }

    /// The interrupt acknowledge of `cpu`; see [`ApicBus::acknowledge`](super::apic_bus::ApicBus::acknowledge).
    pub fn acknowledge(&mut self, cpu: usize) -> Acknowledged {
        self.fit();
        match self.regs.apics.get_mut(cpu).map(Apic::acknowledge) {
            Some(Ok(vector)) => Acknowledged::Vector(vector),
            Some(Err(())) | None => Acknowledged::External,
        }
    }

    /// The level-triggered interrupts that ended since the last call.
    pub(super) fn take_ends(&mut self) -> [u32; 8] {
        std::mem::take(&mut self.ends).0
    }

    /// A write to the interrupt command register ("Issuing interprocessor interrupts").
    fn send(&mut self, cpu: usize, command: u64) {
        let Some(apic) = self.regs.apics.get_mut(cpu) else { return };
        apic.icr = command & ICR_WRITABLE;
        let (vector, x2) = (command as u8, apic.is_x2());
        let Some(delivery) = Delivery::from_bits((command >> 8) as u32) else { return };
        if matches!(delivery, Delivery::Fixed | Delivery::LowestPriority) && vector < FIRST_VECTOR {
            return apic.report(ERROR_SEND_VECTOR);
        }
        // An INIT level de-assert only synchronised arbitration IDs, on processors long gone.
        if delivery == Delivery::Init && command & (ICR_ASSERT | ICR_LEVEL) == ICR_LEVEL {
            return;
        }
        let own = Message { destination: apic.id, logical: false, delivery, vector, level: false };
        let all = Message { destination: BROADCAST, ..own };
        match command >> 18 & 3 {
            0 => {
                let destination = if x2 { (command >> 32) as u32 } else { destination8((command >> 56) as u8) };
                self.deliver(Message { destination, logical: command & ICR_LOGICAL != 0, ..own });
            }
            1 => apic.accept(delivery, vector, false),
            2 => self.deliver(all),
            _ => self.deliver_from(Some(cpu), all),
        }
    }

    fn end(&mut self, cpu: usize) {
        if let Some(vector) = self.regs.apics.get_mut(cpu).and_then(Apic::eoi) {
            self.ends.set(vector, true);
        }
    }

    /// A register of the system-register bus but INTACK; 0 where there is none.
    pub(super) fn read_sysreg(&mut self, cpu: usize, reg: SysregId) -> u64 {
        self.fit();
        let now = self.clock.now().0;
        let Some(apic) = self.regs.apics.get_mut(cpu) else { return 0 };
        match reg {
            EVENTS => {
                let sipi = apic.sipi.take().map_or(0, |vector| event::SIPI | u64::from(vector) << 8);
                let take = |flag: &mut bool, bit| if std::mem::take(flag) { bit } else { 0 };
                sipi | take(&mut apic.nmi, event::NMI)
                    | take(&mut apic.smi, event::SMI)
                    | take(&mut apic.init, event::INIT)
            }
            CR8 => (apic.tpr >> 4).into(),
            TSC_DEADLINE_NS => apic.deadline(),
            APIC_BASE => apic.base,
            X2APIC_FIRST..=X2APIC_LAST if x2apic_readable(reg) => match reg - X2APIC_FIRST {
                ID => apic.id.into(),
                VERSION => VERSION_VALUE.into(),
                ICR => apic.icr,
                index => apic.read(index, now).unwrap_or(0).into(),
            },
            _ => 0,
        }
    }

    /// As [`read_sysreg`](Self::read_sysreg); a write where there is no register does nothing.
    pub(super) fn write_sysreg(&mut self, cpu: usize, reg: SysregId, value: u64) {
        self.fit();
        let now = self.clock.now().0;
        let Some(apic) = self.regs.apics.get_mut(cpu) else { return };
        match reg {
            CR8 => apic.tpr = (value as u8 & 0xf) << 4,
            TSC_DEADLINE_NS => apic.set_deadline(value),
            APIC_BASE => apic.set_base(value),
            X2APIC_FIRST..=X2APIC_LAST if x2apic_writable(reg) => match reg - X2APIC_FIRST {
                EOI => self.end(cpu),
                ICR => self.send(cpu, value),
                SELF_IPI if value as u8 >= FIRST_VECTOR => apic.accept(Delivery::Fixed, value as u8, false),
                SELF_IPI => apic.report(ERROR_SEND_VECTOR),
                index => {
                    let _ = apic.write(index, value as u32, now);
                }
            },
            _ => {}
        }
    }
}

/// Whether a RDMSR of an MSR from 0x800 to 0x8ff is allowed in x2APIC mode ("x2APIC register address space").
pub fn x2apic_readable(msr: u32) -> bool {
    matches!(msr.wrapping_sub(X2APIC_FIRST), ID | VERSION | TPR | 0x0a | LDR | 0x0f..=0x28 | ICR | 0x32..=0x39 | 0x3e)
}

/// Whether a WRMSR of an MSR from 0x800 to 0x8ff is allowed in x2APIC mode.
pub fn x2apic_writable(msr: u32) -> bool {
    matches!(msr.wrapping_sub(X2APIC_FIRST), TPR | EOI | 0x0f | 0x28 | ICR | 0x32..=0x38 | 0x3e | SELF_IPI)
}

struct LintPins(Arc<DeviceCell<LocalApics>>);

impl IrqSink for LintPins {
    fn set_pin(&self, pin: u32, high: bool) {
        let _ = self.0.with(|apics| {
            apics.fit();
            apics.regs.apics.iter_mut().for_each(|apic| apic.set_lint(pin as usize, high));
        });
    }
}

/// LINT0 (pin 0, for the PIC) and LINT1 (pin 1, for NMIs) of all processors at once, as PCs wire them.
pub fn lint_pins(apics: &Arc<DeviceCell<LocalApics>>) -> Arc<dyn IrqSink> {
    Arc::new(LintPins(apics.clone()))
}

impl Device for LocalApics {
    type Regs = LocalApicsRegs;
    const MODEL: &'static str = "apic";

    fn regs(&self) -> &LocalApicsRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut LocalApicsRegs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        // The levels of the pins belong to the devices that drive them.
        for (n, (apic, cpu)) in self.regs.apics.iter_mut().zip(&self.cpus).enumerate() {
            let lint = apic.lint;
            *apic = Apic::new(cpu.id, n == 0);
            apic.lint = lint;
        }
    }

    fn update(&mut self) {
        self.fit();
        for (cpu, apic) in self.cpus.iter().zip(&self.regs.apics) {
            let intr = apic.pending().is_some() || apic.external_pending();
            for (line, high) in cpu.lines.lines.iter().zip([intr, apic.nmi, apic.smi, apic.init, apic.sipi.is_some()]) {
                // A read is cheaper than the exchange in `set`, and levels seldom change.
                if line.is_high() != high {
                    line.set(high);
                }
            }
        }
    }

    fn deadline(&self) -> Option<VmTime> {
        self.regs.apics.iter().filter_map(Apic::next_timer_ns).min().map(VmTime)
    }
    // `update`, which follows every expiry, looks at the clock by itself.
}

impl Mmio for LocalApics {
    /// The page of registers ("Local APIC register address map").
    const WINDOWS: &'static [Window] = &[Window { len: 0x1000, widths: 4..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        self.fit();
        let (cpu, now) = (self.accessor(), self.clock.now().0);
        let apic = self.regs.apics.get_mut(cpu).filter(|apic| apic.is_enabled() && !apic.is_x2());
        let apic = apic.ok_or(BusError::NoDevice)?;
        let value = match (at.offset % 16, (at.offset / 16) as u32) {
            (0, ID) => Some(apic.id << 24),
            (0, VERSION) => Some(VERSION_VALUE),
            (0, EOI | RRD) => Some(0),
            (0, ICR) => Some(apic.icr as u32),
            (0, ICR_HIGH) => Some((apic.icr >> 32) as u32),
            (0, index) => apic.read(index, now),
            _ => None,
        };
        if value.is_none() {
            apic.report(ERROR_REGISTER);
        }
        value.map(u64::from).ok_or(BusError::BadOffset)
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        self.fit();
        let (cpu, now) = (self.accessor(), self.clock.now().0);
        let apic = self.regs.apics.get_mut(cpu).filter(|apic| apic.is_enabled() && !apic.is_x2());
        let apic = apic.ok_or(BusError::NoDevice)?;
        let written = match (at.offset % 16, (at.offset / 16) as u32) {
            // Read-only, or read-only since the processors that had them.
            (0, ID | VERSION | RRD | 0x09 | 0x0a | 0x10..=0x27 | 0x39) => Some(()),
            (0, EOI) => {
                self.end(cpu);
                return Ok(());
            }
            (0, ICR) => {
                let command = apic.icr & !0xffff_ffff | value;
                self.send(cpu, command);
                return Ok(());
            }
            (0, ICR_HIGH) => {
                apic.icr = apic.icr & 0xffff_ffff | (value & 0xff00_0000) << 32;
                Some(())
            }
            (0, index) => apic.write(index, value as u32, now),
            _ => None,
        };
        if written.is_none() {
            apic.report(ERROR_REGISTER);
        }
        written.ok_or(BusError::BadOffset)
    }
}

#[cfg(test)]
mod tests;
