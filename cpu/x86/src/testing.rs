//! A machine with nothing but RAM around one processor, for tests.

use crate::frontend::X86;
use crate::model::Model;
use crate::segment::{Attributes, CS, DS, ES, FS, GS, SS, Segment};
use crate::state::Cpu;
use crate::wires::Wires;
use crate::wiring;
use std::sync::Arc;
use tcg::exec::{Tcg, TcgVcpu, Tiers};
use vm::clock::ManualClock;
use vm::entropy::Entropy;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{Pins, Vcpu, Wiring};
use vm::{AddressSpace, Backing, Gpa, IrqLine, Mapping, Ram};

/// Bytes of RAM, from address 0 on.
pub const RAM_LEN: u64 = 0x20_0000;
/// Where programs are put.
pub const CODE: u64 = 0x1000;
/// Where stacks begin.
pub const STACK: u64 = 0x8000;

struct NoEntropy;
impl Entropy for NoEntropy {
    fn fill(&self, buf: &mut [u8]) {
        buf.fill(0x5a);
    }
}

fn wiring(id: u32, model: &str, bus: &Arc<AddressSpace>, sysregs: SysregBus) -> Wiring {
    let timers = Timers::new(Arc::new(ManualClock::new(0)));
    Wiring {
        id,
        model: model.into(),
        bus: bus.clone(),
        ports: AddressSpace::new(),
        sysregs,
        pins: Pins::new(),
        outputs: (0..wiring::OUTPUTS).map(|_| IrqLine::unconnected()).collect(),
        timers,
        power: Power::default(),
        entropy: Arc::new(NoEntropy),
        boot: None,
    }
}

impl Cpu {
    /// A processor of the default model that nothing is connected to.
    pub fn for_tests() -> Cpu {
        let wiring = wiring(0, "max", &AddressSpace::new(), SysregBus::default());
        Cpu::new(Model::parse("max").unwrap(), Wires::new(&wiring))
    }
}

/// The machine.
pub struct Machine {
    pub vcpu: TcgVcpu<X86>,
    pub bus: Arc<AddressSpace>,
    tcg: Tcg<X86>,
    model: String,
}

impl Machine {
    /// A processor as after reset.
    pub fn new(model: &str) -> Machine {
        Machine::stressed(model, None)
    }

    /// The same under stress, if a seed is given.
    fn stressed(model: &str, seed: Option<u64>) -> Machine {
        let bus = AddressSpace::new();
        let ram = Ram::new(RAM_LEN).unwrap();
        let backing = Backing::Ram { ram, offset: 0 };
        bus.map(Mapping { name: "ram".into(), gpa: Gpa(0), len: RAM_LEN, priority: 0, backing }).unwrap();
        let tiers = Tiers { template_after: None, trace_after: None, compile_after: None, synchronous: false };
        let mut tcg = Tcg::new(X86::new(model).unwrap(), tiers, None, None);
        if let Some(seed) = seed {
            tcg.set_stress(seed);
        }
        let wiring = wiring(0, model, &bus, SysregBus::default());
        Machine { vcpu: tcg.vcpu_of(wiring).unwrap(), bus, tcg, model: model.into() }
    }

    /// Another processor in the same state.
    pub fn other(&self, id: u32) -> TcgVcpu<X86> {
        let wiring = wiring(id, &self.model, &self.bus, SysregBus::default());
        let mut vcpu = self.tcg.vcpu_of(wiring).unwrap();
        vcpu.load(&self.vcpu.save()).unwrap();
        vcpu.env.wake();
        vcpu
    }

    /// A processor at [`CODE`] in flat code of 16, 32 or 64 bits at level 0, without paging (for 64 bits with the first 1 GiB
    /// mapped as it is).
    pub fn flat(model: &str, bits: u32) -> Machine {
        Machine::flat_stressed(model, bits, None)
    }

    /// The same under stress, if a seed is given.
    pub fn flat_stressed(model: &str, bits: u32, seed: Option<u64>) -> Machine {
        let mut m = Machine::stressed(model, seed);
        let size = match bits {
            16 => 0,
            32 => Attributes::BIG,
            _ => Attributes::LONG,
        };
        if bits == 64 {
            // One table of each level, and one large page.
            m.write(0x10_0000, &(0x10_1003u64).to_le_bytes());
            m.write(0x10_1000, &(0x10_2003u64).to_le_bytes());
            m.write(0x10_2000, &(0x83u64).to_le_bytes());
            let cpu = m.cpu();
            cpu.cr3 = 0x10_0000;
            cpu.cr4 = crate::control_regs::CR4_PAE | crate::control_regs::CR4_OSFXSR;
            cpu.msr.efer = crate::msr::EFER_LME | crate::msr::EFER_LMA | crate::msr::EFER_SCE;
            cpu.cr0 |= crate::control_regs::CR0_PG;
        }
        let cpu = m.cpu();
        cpu.cr0 |= crate::control_regs::CR0_PE;
        let code = Attributes(0x809b | size);
        let data = Attributes(0x8093 | if bits == 16 { 0 } else { Attributes::BIG });
        let segment = |selector, attributes| Segment { selector, attributes, base: 0, limit: u32::MAX };
        cpu.set_segment(CS, segment(8, code));
        for n in [DS, ES, SS, FS, GS] {
            cpu.set_segment(n, segment(16, data));
        }
        cpu.gpr[crate::state::RSP] = STACK;
        cpu.set_rip(CODE);
        m
    }

    pub fn cpu(&mut self) -> &mut Cpu {
        &mut self.vcpu.env.cpu
    }

    pub fn write(&self, gpa: u64, bytes: &[u8]) {
        self.bus.write(Gpa(gpa), bytes).unwrap();
    }

    pub fn read(&self, gpa: u64) -> u64 {
        let mut bytes = [0; 8];
        self.bus.read(Gpa(gpa), &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Executes `n` instructions of `code`, put at [`CODE`].
    pub fn run(&mut self, code: &[u8], n: u64) {
        self.write(CODE, code);
        self.cpu().set_rip(CODE);
        self.step(n);
    }

    /// Executes `n` instructions; one that only raises counts.
    pub fn step(&mut self, n: u64) {
        self.vcpu.run(Some(n)).unwrap();
    }
}
