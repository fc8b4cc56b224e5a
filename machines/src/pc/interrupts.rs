//! The interrupt controllers of a PC, and which lines lead to them.

use crate::board::{Board, Pin};
use crate::builder::{Made, Wires};
use crate::error::Error;
use hw::intc::apic_bus::{ApicBus, Delivery, Message};
use hw::intc::i8259::{self, I8259};
use hw::intc::ioapic::{self, IoApic, PcInterrupts};
use hw::intc::lapic::{self, CpuLines, LocalApics, Processor};
use hw::misc::gates::OrGate;
use std::sync::{Arc, OnceLock};
use vm::{Backing, DeviceCell, Gpa, IrqLine, IrqSink, Mapping};

const IOAPIC: u64 = 0xfec0_0000;
const LAPIC: u64 = 0xfee0_0000;
const GSIS: u32 = 24;
/// Lines to one processor.
pub const CPU_LINES: u32 = 5;
/// Who can raise each global system interrupt: its device, the router of the PCI lines, an HPET.
const SOURCES: [&str; 3] = ["gsi", "pirq", "hpet"];

/// Global system interrupt `n`, of the device that has it.
pub fn gsi(n: u32) -> Pin {
    Pin::new("ioapic", SOURCES[0], n)
}

/// Global system interrupt `n`, of the chip that routes the PCI lines.
pub fn routed(n: u32) -> Pin {
    Pin::new("ioapic", SOURCES[1], n)
}

/// Global system interrupt `n`, of an HPET.
pub fn of_hpet(n: u32) -> Pin {
    Pin::new("ioapic", SOURCES[2], n)
}

/// What parts of the interrupt system need of one another, made in the order of the board.
#[derive(Default)]
pub struct Interrupts {
    apics: OnceLock<Arc<DeviceCell<LocalApics>>>,
    /// Where messages go, once the part `pic` is made.
    pub bus: OnceLock<Arc<ApicBus>>,
    pic: OnceLock<Arc<DeviceCell<I8259>>>,
}

/// What `cell` holds, if the part that fills it was made before.
///
/// # Errors
/// [`Error::Part`].
pub fn made<'a, T>(cell: &'a OnceLock<T>, w: &Wires<'_>) -> Result<&'a T, Error> {
    cell.get().ok_or_else(|| w.fail("a part that it needs is not made yet"))
}

/// One of several sources of the same interrupts.
struct Source {
    gates: Arc<[OrGate]>,
    source: u32,
}

impl IrqSink for Source {
    fn set_pin(&self, pin: u32, high: bool) {
        if let Some(gate) = self.gates.get(pin as usize) {
            gate.set_pin(self.source, high);
        }
    }
}

/// The line SMI#: a rise is a message to the processor that has just written to the chip set.
///
/// Deviation: chip sets tell all processors. SeaBIOS calls its own 32-bit code by SMIs long after it has placed a handler for
/// the first processor alone; another would execute whatever lies at the reset value of its SMBASE.
pub struct SmiPin(pub Arc<ApicBus>);

impl IrqSink for SmiPin {
    fn set_pin(&self, _pin: u32, high: bool) {
        if high {
            let delivery = Delivery::Smi;
            let destination = vm::vcpu::current();
            self.0.deliver(Message { destination, logical: false, delivery, vector: 0, level: false });
        }
    }
}

/// Adds the local APICs, the PIC that reaches the first of them, and the I/O APIC in front of both.
pub fn add(b: &mut Board, cpus: u32, interrupts: &Arc<Interrupts>) {
    let shared = interrupts.clone();
    let apics = b.add::<LocalApics>("apic", move |w| {
        let processor = |n: u32, w: &mut Wires<'_>| {
            let first = (n * CPU_LINES) as usize;
            Processor { id: n, lines: CpuLines::new(std::array::from_fn(|line| w.irq(first + line))) }
        };
        let processors = (0..cpus).map(|n| processor(n, w)).collect();
        let cell = LocalApics::cell(processors, w.timers());
        let _ = shared.apics.set(cell.clone());
        // The bus answers in its window: see the PIC.
        Ok(Made { inputs: vec![("lint".into(), lapic::lint_pins(&cell))], ..Made::part(cell) })
    });
    apics.at(LAPIC).inputs("lint", 2);
    for n in 0..cpus {
        apics.irqs((0..CPU_LINES).map(|pin| Pin::new(format!("cpu{n}"), "pin", pin)));
    }
    let shared = interrupts.clone();
    b.add::<I8259>("pic", move |w| {
        let cell = Arc::new(DeviceCell::new(I8259::new(w.irq(0))));
        let bus = ApicBus::new(made(&shared.apics, w)?, Some(i8259::acknowledge(&cell)));
        w.sysregs().map(&ApicBus::sysregs(), bus.clone());
        let backing = Backing::Mmio { port: bus.clone(), window: 0, offset: 0 };
        w.bus().map(Mapping { name: "apic".into(), gpa: Gpa(LAPIC), len: 0x1000, priority: 0, backing })?;
        let _ = shared.pic.set(cell.clone());
        let _ = shared.bus.set(bus);
        Ok(Made::cell(cell))
    })
    .at_port(0x20)
    .at_port(0xa0)
    .at_port(0x4d0)
    .irq(Pin::new("apic", "lint", 0));
    let shared = interrupts.clone();
    b.add::<IoApic>("ioapic", move |w| {
        let cell = IoApic::cell(made(&shared.bus, w)?);
        let all = PcInterrupts { pic: i8259::pins(made(&shared.pic, w)?), ioapic: ioapic::pins(&cell) };
        let all: Arc<dyn IrqSink> = Arc::new(all);
        let gates = (0..GSIS).map(|n| OrGate::new(IrqLine::to(all.clone(), n))).collect();
        let gates: Arc<[OrGate]> = gates;
        let inputs = SOURCES.iter().zip(0..).map(|(kind, source)| {
            let sink: Arc<dyn IrqSink> = Arc::new(Source { gates: gates.clone(), source });
            (kind.to_string(), sink)
        });
        Ok(Made { inputs: inputs.collect(), ..Made::cell(cell) })
    })
    .at(IOAPIC)
    .inputs(SOURCES[0], GSIS)
    .inputs(SOURCES[1], GSIS)
    .inputs(SOURCES[2], GSIS)
    .after("pic");
}
