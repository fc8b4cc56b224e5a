//! A machine with nothing but RAM around one processing element, for tests.

use crate::frontend::Arm;
use crate::state::Cpu;
use crate::wiring;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tcg::exec::{Tcg, TcgVcpu, Tiers};
use vm::clock::{Clock, ManualClock};
use vm::entropy::Entropy;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{BootRegs, Pins, Vcpu, Wiring};
use vm::{AddressSpace, Backing, Gpa, Gva, IrqLine, IrqSink, Mapping, Ram, VmTime};

/// Where RAM begins.
pub const RAM: u64 = 0x4000_0000;
/// Bytes of RAM.
pub const RAM_LEN: u64 = 0x10_0000;
/// Where programs are put.
pub const CODE: u64 = RAM + 0x1000;
/// What VBAR_EL1 is set to.
pub const VECTORS: u64 = RAM + 0x8000;

/// Remembers the levels of what is wired to it.
#[derive(Default)]
struct Levels(AtomicU32);
impl IrqSink for Levels {
    fn set_pin(&self, pin: u32, high: bool) {
        if high {
            self.0.fetch_or(1 << pin, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!(1 << pin), Ordering::AcqRel);
        }
    }
}

struct NoEntropy;
impl Entropy for NoEntropy {
    fn fill(&self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

/// The machine. Its vCPU stands at [`CODE`].
pub struct Machine {
    pub vcpu: TcgVcpu<Arm>,
    pub bus: Arc<AddressSpace>,
    pub pins: Arc<Pins>,
    pub timers: Arc<Timers>,
    pub power: Power,
    clock: Arc<ManualClock>,
    levels: Arc<Levels>,
    tcg: Tcg<Arm>,
    model: String,
}

impl Machine {
    pub fn new(model: &str) -> Machine {
        Self::with_sysregs(model, SysregBus::default())
    }

    pub fn with_sysregs(model: &str, sysregs: SysregBus) -> Machine {
        let bus = AddressSpace::new();
        let ram = Ram::new(RAM_LEN).unwrap();
        let backing = Backing::Ram { ram, offset: 0 };
        bus.map(Mapping { name: "ram".into(), gpa: Gpa(RAM), len: RAM_LEN, priority: 0, backing }).unwrap();
        let clock = Arc::new(ManualClock::new(0));
        let timers = Timers::new(clock.clone());
        let (pins, power, levels) = (Pins::new(), Power::default(), Arc::new(Levels::default()));
        let line = |pin: usize| IrqLine::to(levels.clone(), pin as u32);
        let tcg = Tcg::new(
            Arm::new(model).unwrap(),
            Tiers { template_after: None, trace_after: None, compile_after: None, synchronous: false },
            None,
            None,
        );
        let wiring = Wiring {
            id: 0,
            model: model.into(),
            bus: bus.clone(),
            ports: AddressSpace::new(),
            sysregs,
            pins: pins.clone(),
            outputs: (0..wiring::OUTPUTS).map(line).collect(),
            timers: timers.clone(),
            power: power.clone(),
            entropy: Arc::new(NoEntropy),
            boot: Some(BootRegs { pc: Gva(CODE), gprs: vec![] }),
        };
        let vcpu = tcg.vcpu_of(wiring).unwrap();
        let model = model.into();
        let mut machine = Machine { vcpu, bus, pins, timers, power, clock, levels, tcg, model };
        machine.cpu().sys.vbar_el1 = VECTORS;
        machine
    }

    /// Another processing element, which is off.
    pub fn other(&self, id: u32) -> TcgVcpu<Arm> {
        let wiring = Wiring {
            id,
            model: self.model.clone(),
            bus: self.bus.clone(),
            ports: AddressSpace::new(),
            sysregs: SysregBus::default(),
            pins: Pins::new(),
            outputs: Vec::new(),
            timers: self.timers.clone(),
            power: self.power.clone(),
            entropy: Arc::new(NoEntropy),
            boot: None,
        };
        self.tcg.vcpu_of(wiring).unwrap()
    }

    pub fn cpu(&mut self) -> &mut Cpu {
        &mut self.vcpu.env.cpu
    }

    pub fn write_words(&self, gpa: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.bus.write(Gpa(gpa), &bytes).unwrap();
    }

    pub fn write_u64(&self, gpa: u64, value: u64) {
        self.bus.write(Gpa(gpa), &value.to_le_bytes()).unwrap();
    }

    /// Executes these instructions from [`CODE`] on, as many as there are.
    pub fn run_words(&mut self, words: &[u32]) {
        self.write_words(CODE, words);
        self.cpu().pc = CODE;
        self.step(words.len() as u64);
    }

    /// Executes `n` instructions; one that only raises counts.
    pub fn step(&mut self, n: u64) {
        self.vcpu.run(Some(n)).unwrap();
    }

    pub fn clock_to(&self, ns: u64) {
        self.clock.advance_to(VmTime(ns));
    }

    /// Lets due timers fire and the vCPU notice.
    pub fn fire(&mut self) {
        self.timers.expire();
        self.vcpu.run(Some(0)).unwrap();
    }

    /// Level of an output.
    pub fn output(&self, number: usize) -> bool {
        self.levels.0.load(Ordering::Acquire) >> number & 1 != 0
    }
}
