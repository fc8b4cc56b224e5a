//! I/O APIC 82093AA with 24 inputs, with the EOI register of later ones (version 0x20). Intel 82093AA data sheet (290566);
//! section titles are its.
//!
//! Deviation: the polarity bit is remembered and means nothing: a high level of a line is always the asserted one, since
//! the lines of a board here are levels of requests, not of wires.

use super::apic_bus::{ApicBus, Delivery, EoiSink, Message, destination8};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqSink, Mmio, Regs, ResetKind, Window};

/// Inputs.
pub const PINS: usize = 24;

// Memory-mapped registers.
const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;
const EOI: u64 = 0x40;

// Registers behind them.
const ID: u8 = 0x00;
const VERSION: u8 = 0x01;
const ARBITRATION: u8 = 0x02;
const REDIRECTION: u8 = 0x10;
/// The highest entry, and version 0x20.
const VERSION_VALUE: u32 = (PINS as u32 - 1) << 16 | 0x20;

// Redirection entries ("I/O redirection table registers").
const LOGICAL: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Bits that can be written: not the delivery status and remote IRR.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// The chip.
pub struct IoApic {
    regs: IoApicRegs,
    bus: Arc<ApicBus>,
    /// What the bus knows the chip by, and drops with it.
    ends: Option<Arc<dyn EoiSink>>,
}

/// Its registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApicRegs {
    select: u8,
    id: u8,
    /// Levels of the inputs.
    pins: u32,
    table: [u64; PINS],
}

impl Default for IoApicRegs {
    fn default() -> Self {
        Self { select: 0, id: 0, pins: 0, table: [MASKED; PINS] }
    }
}

impl Regs for IoApicRegs {
    fn validate(&self) -> Result<(), BadState> {
        match self.table.iter().position(|entry| entry & !(WRITABLE | REMOTE_IRR) != 0) {
            Some(n) => Err(BadState(format!("impossible redirection entry {n}"))),
            None => Ok(()),
        }
    }
}

/// The entry asks by its level and remembers until the end that it did. Other modes than these two are edges always
/// ("Delivery mode").
fn is_level(entry: u64) -> bool {
    entry & LEVEL != 0 && entry >> 8 & 7 <= 1
}

impl IoApic {
    /// The cell of a chip that sends its messages over `bus` and hears the ends of its interrupts from there.
    pub fn cell(bus: &Arc<ApicBus>) -> Arc<DeviceCell<Self>> {
        let cell = Arc::new(DeviceCell::new(Self { regs: Default::default(), bus: bus.clone(), ends: None }));
        let sink: Arc<dyn EoiSink> = Arc::new(Ends(Arc::downgrade(&cell)));
        bus.on_eoi(Arc::downgrade(&sink));
        let _ = cell.with(|chip| chip.ends = Some(sink));
        cell
    }

    fn send(&self, entry: u64) {
        if let Some(delivery) = Delivery::from_bits((entry >> 8) as u32) {
            self.bus.deliver(Message {
                destination: destination8((entry >> 56) as u8),
                logical: entry & LOGICAL != 0,
                delivery,
                vector: entry as u8,
                level: is_level(entry),
            });
        }
    }

    /// The level of input `pin` changed.
    pub fn set_pin(&mut self, pin: u32, high: bool) {
        let Some(entry) = self.regs.table.get(pin as usize).copied() else { return };
        let bit = 1 << pin;
        let rises = high && self.regs.pins & bit == 0;
        self.regs.pins = if high { self.regs.pins | bit } else { self.regs.pins & !bit };
        // "Interrupt mask": an edge at a masked input is lost. Levels are looked at by `update`.
        if rises && !is_level(entry) && entry & MASKED == 0 {
            self.send(entry);
        }
    }

    /// The interrupt `vector` has ended: level-triggered inputs may ask again.
    pub fn eoi(&mut self, vector: u8) {
        for entry in self.regs.table.iter_mut().filter(|entry| **entry as u8 == vector && is_level(**entry)) {
            *entry &= !REMOTE_IRR;
        }
    }

    fn read_register(&self) -> u32 {
        match self.regs.select {
            ID | ARBITRATION => u32::from(self.regs.id) << 24,
            VERSION => VERSION_VALUE,
            select => match self.entry(select) {
                Some((n, true)) => (self.regs.table[n] >> 32) as u32,
                Some((n, false)) => self.regs.table[n] as u32,
                None => 0xffff_ffff,
            },
        }
    }

    fn write_register(&mut self, value: u32) {
        if self.regs.select == ID {
            self.regs.id = (value >> 24) as u8 & 0xf;
        }
        let Some((n, high)) = self.entry(self.regs.select) else { return };
        let (shift, half) = if high { (32, 0xffff_ffff_0000_0000) } else { (0, 0xffff_ffff) };
        let entry = &mut self.regs.table[n];
        let writable = WRITABLE & half;
        *entry = *entry & !writable | u64::from(value) << shift & writable;
        if !is_level(*entry) {
            *entry &= !REMOTE_IRR;
        }
    }

    /// Which redirection entry register `select` is part of, and whether its high half.
    fn entry(&self, select: u8) -> Option<(usize, bool)> {
        let n = usize::from(select.checked_sub(REDIRECTION)?) / 2;
        (n < PINS).then_some((n, select & 1 != 0))
    }
}

struct Ends(Weak<DeviceCell<IoApic>>);

impl EoiSink for Ends {
    fn eoi(&self, vector: u8) {
        if let Some(chip) = self.0.upgrade() {
            let _ = chip.with(|chip| chip.eoi(vector));
        }
    }
}

struct Pins(Arc<DeviceCell<IoApic>>);

impl IrqSink for Pins {
    fn set_pin(&self, pin: u32, high: bool) {
        // The chip calls local APICs only, which call nobody while they are locked.
        let _ = self.0.with(|chip| chip.set_pin(pin, high));
    }
}

/// The interrupt inputs 0 to 23.
pub fn pins(chip: &Arc<DeviceCell<IoApic>>) -> Arc<dyn IrqSink> {
    Arc::new(Pins(chip.clone()))
}

/// The interrupts of a PC by their global system interrupt numbers, as its devices see them: 0 to 15 reach the PIC and the
/// I/O APIC, with ISA interrupt 0 on input 2 of the latter; 16 and up reach the I/O APIC alone.
pub struct PcInterrupts {
    /// [`super::i8259::pins`].
    pub pic: Arc<dyn IrqSink>,
    /// [`pins`].
    pub ioapic: Arc<dyn IrqSink>,
}

impl IrqSink for PcInterrupts {
    fn set_pin(&self, pin: u32, high: bool) {
        if pin < 16 {
            self.pic.set_pin(pin, high);
        }
        self.ioapic.set_pin(if pin == 0 { 2 } else { pin }, high);
    }
}

impl Device for IoApic {
    type Regs = IoApicRegs;
    const MODEL: &'static str = "ioapic";

    fn regs(&self) -> &IoApicRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut IoApicRegs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        // The levels of the pins belong to the devices that drive them.
        self.regs = IoApicRegs { pins: self.regs.pins, ..IoApicRegs::default() };
    }

    fn update(&mut self) {
        for n in 0..PINS {
            let entry = self.regs.table[n];
            let asks = self.regs.pins >> n & 1 != 0 && entry & (MASKED | REMOTE_IRR) == 0;
            if asks && is_level(entry) {
                self.regs.table[n] |= REMOTE_IRR;
                self.send(entry);
            }
        }
    }
}

impl Mmio for IoApic {
    /// The page at 0xfec00000 of a PC.
    const WINDOWS: &'static [Window] = &[Window { len: 0x1000, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        match at.offset {
            IOREGSEL => Ok(self.regs.select.into()),
            IOWIN => Ok(self.read_register().into()),
            _ => Err(BusError::BadOffset),
        }
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        match at.offset {
            IOREGSEL => self.regs.select = value as u8,
            IOWIN if at.width == 4 => self.write_register(value as u32),
            EOI => self.eoi(value as u8),
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intc::intack::INTACK;
    use crate::intc::lapic::{CpuLines, LocalApics, Processor};
    use crate::testing::{Levels, Poke, check_reset, check_save_load, hammer};
    use vm::clock::ManualClock;
    use vm::sysreg::SysregPort;
    use vm::timer::Timers;
    use vm::{MmioPort, Part};

    struct Bench {
        chip: Arc<DeviceCell<IoApic>>,
        pins: Arc<dyn IrqSink>,
        bus: Arc<ApicBus>,
        cpu: [Arc<Levels>; 2],
        apics: Arc<DeviceCell<LocalApics>>,
    }

    fn bench() -> Bench {
        let cpu = [Levels::new(), Levels::new()];
        let timers = Timers::new(Arc::new(ManualClock::new(0)));
        let cpus = (0..).zip(&cpu).map(|(id, levels)| Processor { id, lines: CpuLines::to(levels.clone()) }).collect();
        let apics = LocalApics::cell(cpus, &timers);
        let bus = ApicBus::new(&apics, None);
        let chip = IoApic::cell(&bus);
        for id in 0..2 {
            vm::vcpu::set_current(id);
            MmioPort::write(&*bus, crate::testing::at(0xf0, 4), 0x1ff).unwrap();
        }
        vm::vcpu::set_current(0);
        Bench { pins: pins(&chip), chip, bus, cpu, apics }
    }

    impl Bench {
        fn get(&self, register: u8) -> u32 {
            self.chip.w(IOREGSEL, register.into());
            self.chip.r(IOWIN) as u32
        }
        fn set(&self, register: u8, value: u32) {
            self.chip.w(IOREGSEL, register.into());
            self.chip.w(IOWIN, value.into());
        }
        fn route(&self, pin: u8, entry: u64) {
            self.set(REDIRECTION + 2 * pin + 1, (entry >> 32) as u32);
            self.set(REDIRECTION + 2 * pin, entry as u32);
        }
        fn intr(&self, cpu: usize) -> bool {
            self.cpu[cpu].get(0)
        }
        fn take(&self, cpu: u32) -> u64 {
            SysregPort::read(&*self.bus, cpu, INTACK)
        }
        fn end(&self, cpu: u32) {
            vm::vcpu::set_current(cpu);
            MmioPort::write(&*self.bus, crate::testing::at(0xb0, 4), 0).unwrap();
            vm::vcpu::set_current(0);
        }
    }

    #[test]
    fn registers() {
        let b = bench();
        assert_eq!((b.get(ID), b.get(VERSION), b.get(0x10), b.get(0x11)), (0, 0x0017_0020, 0x1_0000, 0));
        b.set(ID, 0xffff_ffff);
        assert_eq!((b.get(ID), b.get(ARBITRATION)), (0x0f00_0000, 0x0f00_0000));
        b.set(VERSION, 0);
        assert_eq!((b.get(VERSION), b.get(0x40), b.get(0x0f)), (0x0017_0020, 0xffff_ffff, 0xffff_ffff));
        b.route(23, u64::MAX);
        assert_eq!((b.get(0x3e), b.get(0x3f)), (0x0001_afff, 0xff00_0000));
        assert_eq!(b.chip.read_n(0x20, 4), Err(BusError::BadOffset));
        assert_eq!(b.chip.read_n(EOI, 4), Err(BusError::BadOffset));
    }

    #[test]
    fn edges_go_to_their_destination_unless_masked() {
        let b = bench();
        b.route(4, 1 << 56 | MASKED | 0x34);
        b.pins.set_pin(4, true);
        b.route(4, 1 << 56 | 0x34);
        assert!(!b.intr(1), "the edge came while it was masked");
        b.pins.set_pin(4, false);
        b.pins.set_pin(4, true);
        assert_eq!((b.intr(0), b.intr(1), b.take(1), b.intr(1)), (false, true, 0x34, false));
        b.end(1);
        assert!(!b.intr(1));
        b.route(5, 0xff << 56 | 0x40);
        b.pins.set_pin(5, true);
        assert_eq!((b.take(0), b.take(1)), (0x40, 0x40));
        b.pins.set_pin(24, true);
        b.pins.set_pin(99, true);
    }

    #[test]
    fn levels_ask_again_after_their_end() {
        let b = bench();
        b.route(10, LEVEL | 0x51);
        b.pins.set_pin(10, true);
        assert_eq!((b.get(0x24) as u64 & REMOTE_IRR, b.take(0)), (REMOTE_IRR, 0x51));
        assert!(!b.intr(0));
        b.end(0);
        assert!(b.intr(0), "still high");
        assert_eq!(b.take(0), 0x51);
        b.pins.set_pin(10, false);
        b.end(0);
        assert_eq!((b.intr(0), b.get(0x24) as u64 & REMOTE_IRR), (false, 0));
        b.route(10, LEVEL | MASKED | 0x51);
        b.pins.set_pin(10, true);
        assert!(!b.intr(0));
        b.route(10, LEVEL | 0x51);
        assert!(b.intr(0), "a level is not lost by the mask");
        // By the EOI register, with the broadcast suppressed.
        MmioPort::write(&*b.bus, crate::testing::at(0xf0, 4), 0x11ff).unwrap();
        b.take(0);
        b.end(0);
        assert!(!b.intr(0));
        b.chip.w(EOI, 0x52);
        assert!(!b.intr(0));
        b.chip.w(EOI, 0x51);
        assert!(b.intr(0));
    }

    #[test]
    fn other_delivery_modes() {
        let b = bench();
        b.route(1, 0x400 | LEVEL);
        b.pins.set_pin(1, true);
        assert!(b.cpu[0].get(1), "NMI");
        b.route(2, 0x700 | 0xff << 56);
        b.pins.set_pin(2, true);
        assert!(b.intr(1), "ExtINT");
        assert_eq!((b.take(0), b.intr(0)), (0xff, false), "there is no PIC to ask");
        b.route(3, 0x333);
        b.pins.set_pin(3, true);
        assert!(!b.intr(0), "3 is reserved");
    }

    #[test]
    fn interrupts_of_a_pc() {
        let (pic, ioapic) = (Levels::new(), Levels::new());
        let gsi = PcInterrupts { pic: pic.clone(), ioapic: ioapic.clone() };
        [0, 1, 16].into_iter().for_each(|pin| gsi.set_pin(pin, true));
        assert_eq!(
            [0, 1, 2, 16].map(|pin| (pic.get(pin), ioapic.get(pin))),
            [(true, false), (true, true), (false, true), (false, true)]
        );
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.route(10, LEVEL | 0x51);
        check_save_load(&b.chip, || b.pins.set_pin(10, true));
        let b = bench();
        check_reset(&b.chip, || b.set(ID, 0x0300_0000));
        b.pins.set_pin(10, true);
        b.chip.reset(ResetKind::Warm);
        b.chip.settle();
        b.route(10, LEVEL | 0x51);
        assert!(b.intr(0), "the level of the pin outlives a reset");
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        hammer(&b.chip, 50_000, |random| {
            b.pins.set_pin(random.below(32) as u32, random.below(2) == 0);
            if random.below(4) == 0 {
                b.set(random.below(0x50) as u8, random.next() as u32);
                b.take(random.below(3) as u32);
                b.end(random.below(3) as u32);
            }
        });
        assert!(b.apics.save().body.len() > 2);
    }
}
