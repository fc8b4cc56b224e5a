//! The bare-metal guest `x86_system` prints on every tier what its golden file says.

use differential::machine::{NoEntropy, Tier};
use std::sync::{Arc, Mutex};
use tcg::cranelift::Cranelift;
use tcg::exec::{Compiler, Tcg, TcgVcpu, Tiers};
use tcg::x64::Template;
use vm::address_space::{Backing, Mapping};
use vm::clock::ManualClock;
use vm::device::MmioPort;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{Pins, Vcpu, Wiring};
use vm::{Access, AddressSpace, BusError, Gpa, IrqLine, Ram};
use x86::X86;

const ROM: &[u8] = include_bytes!("../../guest-images/x86_system.bin");
const GOLDEN: &str = include_str!("../../guest-images/x86_system.txt");
const RAM_LEN: u64 = 0x80_0000;
const PRINT: u64 = 0xe9;
const EXIT: u64 = 0xf4;

/// All ports: what is printed, and whether the guest has ended.
#[derive(Default)]
struct Ports {
    text: Mutex<Vec<u8>>,
    ended: Mutex<bool>,
}

impl MmioPort for Ports {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        Ok(u64::MAX >> (64 - 8 * u32::from(at.width)))
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        match at.offset {
            PRINT => self.text.lock().unwrap().push(value as u8),
            EXIT => *self.ended.lock().unwrap() = true,
            _ => {}
        }
        Ok(())
    }
}

fn vcpu(tier: Tier, ports: &Arc<Ports>) -> TcgVcpu<X86> {
    let bus = AddressSpace::new();
    let ram = Ram::new(RAM_LEN).unwrap();
    let rom = Ram::new(ROM.len() as u64).unwrap();
    rom.write(0, ROM);
    let map = |name: &str, gpa: u64, len: u64, priority, backing| {
        bus.map(Mapping { name: name.into(), gpa: Gpa(gpa), len, priority, backing }).unwrap();
    };
    let rom = |gpa| {
        let backing = Backing::Rom { ram: rom.clone(), offset: 0, writes: None };
        map("rom", gpa, ROM.len() as u64, 1, backing);
    };
    rom(0xf_0000);
    rom(0xffff_0000);
    map("ram", 0, RAM_LEN, 0, Backing::Ram { ram, offset: 0 });
    let io = AddressSpace::new();
    let backing = Backing::Mmio { port: ports.clone(), window: 0, offset: 0 };
    io.map(Mapping { name: "ports".into(), gpa: Gpa(0), len: 0x1_0000, priority: 0, backing }).unwrap();

    let compiles = matches!(tier, Tier::Compiled | Tier::Stress(_));
    let compiler = compiles.then(|| Box::new(Cranelift::new(64 << 20, false).unwrap()) as Box<dyn Compiler<X86>>);
    let template = matches!(tier, Tier::Template | Tier::Stress(_)).then(|| Template::new(64 << 20).unwrap());
    let tiers = Tiers {
        template_after: template.as_ref().map(|_| 1),
        trace_after: matches!(tier, Tier::Stress(_)).then_some(1),
        compile_after: compiler.as_ref().map(|_| 1),
        synchronous: true,
    };
    let mut tcg = Tcg::new(X86::new("max").unwrap(), tiers, template, compiler);
    if let Tier::Stress(seed) = tier {
        tcg.set_stress(seed);
    }
    let wiring = Wiring {
        id: 0,
        model: "max".into(),
        bus,
        ports: io,
        sysregs: SysregBus::default(),
        pins: Pins::new(),
        outputs: (0..x86::wiring::OUTPUTS).map(|_| IrqLine::unconnected()).collect(),
        timers: Timers::new(Arc::new(ManualClock::new(0))),
        power: Power::default(),
        entropy: Arc::new(NoEntropy),
        boot: None,
    };
    tcg.vcpu_of(wiring).unwrap()
}

/// What the guest prints until it ends.
fn output(tier: Tier) -> String {
    let ports = Arc::new(Ports::default());
    let mut vcpu = vcpu(tier, &ports);
    // It takes a few hundred thousand instructions.
    for _ in 0..500 {
        vcpu.run(Some(20_000)).unwrap();
        if *ports.ended.lock().unwrap() {
            break;
        }
    }
    if !*ports.ended.lock().unwrap() {
        let cpu = &vcpu.env.cpu;
        let (cs, tr) = (cpu.selectors[1], cpu.tr.selector);
        eprintln!("{tier:?} stands at {cs:#x}:{:#x}, task {tr:#x}, {:?}", cpu.rip(), cpu.stopped);
    }
    let text = ports.text.lock().unwrap().clone();
    String::from_utf8_lossy(&text).into_owned()
}

fn check(tier: Tier) {
    let got = output(tier);
    if let Ok(path) = std::env::var("X86_SYSTEM_OUTPUT") {
        std::fs::write(path, &got).unwrap();
    }
    let expected = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let mut lines = got.lines();
    for (number, expected) in expected.enumerate() {
        let line = lines.next().unwrap_or("");
        assert_eq!(line, expected, "{tier:?}, line {number}");
    }
    assert_eq!(lines.next(), None, "{tier:?} prints no more");
}

#[test]
fn interpreter() {
    check(Tier::Interpreter);
}

#[test]
fn templates() {
    check(Tier::Template);
}

#[test]
fn compiled() {
    check(Tier::Compiled);
}

#[test]
fn stress() {
    check(Tier::Stress(1));
    check(Tier::Stress(2));
}
