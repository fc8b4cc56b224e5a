//! The bare-metal guests `x86_system` and `x86_long` print on every tier what their golden files say.

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

/// A guest: its ROM, and the file of what it prints.
struct Guest {
    name: &'static str,
    rom: &'static [u8],
    golden: &'static str,
}

const GUESTS: &[Guest] = &[
    Guest {
        name: "x86_system",
        rom: include_bytes!("../../guest-images/x86_system.bin"),
        golden: include_str!("../../guest-images/x86_system.txt"),
    },
    Guest {
        name: "x86_long",
        rom: include_bytes!("../../guest-images/x86_long.bin"),
        golden: include_str!("../../guest-images/x86_long.txt"),
    },
];
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

fn vcpu(guest: &Guest, tier: Tier, ports: &Arc<Ports>) -> TcgVcpu<X86> {
    let bus = AddressSpace::new();
    let ram = Ram::new(RAM_LEN).unwrap();
    let rom_len = guest.rom.len() as u64;
    let rom = Ram::new(rom_len).unwrap();
    rom.write(0, guest.rom);
    let map = |name: &str, gpa: u64, len: u64, priority, backing| {
        bus.map(Mapping { name: name.into(), gpa: Gpa(gpa), len, priority, backing }).unwrap();
    };
    let rom = |gpa| {
        let backing = Backing::Rom { ram: rom.clone(), offset: 0, writes: None };
        map("rom", gpa, rom_len, 1, backing);
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
fn output(guest: &Guest, tier: Tier) -> String {
    let ports = Arc::new(Ports::default());
    let mut vcpu = vcpu(guest, tier, &ports);
    // They take a few million instructions.
    for _ in 0..1000 {
        vcpu.run(Some(20_000)).unwrap();
        if *ports.ended.lock().unwrap() {
            break;
        }
    }
    if !*ports.ended.lock().unwrap() {
        let cpu = &vcpu.env.cpu;
        let (cs, tr) = (cpu.selectors[1], cpu.tr.selector);
        eprintln!("{} on {tier:?} stands at {cs:#x}:{:#x}, task {tr:#x}, {:?}", guest.name, cpu.rip(), cpu.stopped);
    }
    let text = ports.text.lock().unwrap().clone();
    String::from_utf8_lossy(&text).into_owned()
}

fn check_guest(guest: &Guest, tier: Tier) {
    let name = guest.name;
    let got = output(guest, tier);
    if let Ok(directory) = std::env::var("GUEST_X86_OUTPUT") {
        std::fs::write(format!("{directory}/{name}.txt"), &got).unwrap();
    }
    let expected = guest.golden.lines().filter(|line| !line.starts_with('#'));
    let mut lines = got.lines();
    for (number, expected) in expected.enumerate() {
        let line = lines.next().unwrap_or("");
        assert_eq!(line, expected, "{name} on {tier:?}, line {number}");
    }
    assert_eq!(lines.next(), None, "{name} on {tier:?} prints no more");
}

fn check(tier: Tier) {
    for guest in GUESTS {
        check_guest(guest, tier);
    }
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
