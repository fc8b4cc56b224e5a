//! Mimic's side: a machine that is nothing but memory, at level 3 in long mode under page tables that look like the
//! runner's process, with an interrupt table whose handlers only wait.

use super::wire::*;
use crate::machine::{NoEntropy, Tier};
use std::sync::Arc;
use tcg::cranelift::Cranelift;
use tcg::exec::{Compiler, Tcg, TcgVcpu, Tiers};
use tcg::x64::Template;
use vm::address_space::{Backing, Mapping};
use vm::clock::ManualClock;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{Pins, Stop, Vcpu, Wiring};
use vm::{AddressSpace, Gpa, IrqLine, Ram};
use x86::X86;
use x86::control_regs::*;
use x86::segment::{Attributes, CS, DS, ES, FS, GS, SS, Segment, Table};
use x86::state::{Cpu, Shadow};

/// Physical addresses of what the processor needs: page tables, then descriptor tables, handlers and a stack, which are
/// mapped from [`KERNEL`] on.
const TABLES: u64 = 0;
const SYSTEM: u64 = 0x1_0000;
const SYSTEM_SIZE: u64 = 0x1_0000;
/// Where level 0 has them: no address that a test would use.
const KERNEL: u64 = 0xffff_9a5d_3020_0000;
const IDT: u64 = 0;
const GDT: u64 = 0x1000;
const TSS: u64 = 0x2000;
/// One instruction for each vector, at a distance of 16 bytes.
const HANDLERS: u64 = 0x3000;
const STACK_TOP: u64 = 0x8000;
const VECTORS: u64 = 32;

/// Selectors as Linux has them.
const KERNEL_CS: u16 = 0x10;
const USER_CS: u16 = 0x33;
const USER_CS_32: u16 = 0x23;
const USER_SS: u16 = 0x2b;

const USER_DATA: Attributes = Attributes(0xc0f3);

const JUMP_TO_SELF: [u8; 2] = [0xeb, 0xfe];
const INT3: u8 = 0xcc;

/// A machine and its vCPU.
pub struct Machine {
    vcpu: TcgVcpu<X86>,
    tier: Tier,
    compiler: Option<Arc<Cranelift<X86>>>,
    placements: u64,
    system: Arc<Ram>,
    code: Arc<Ram>,
    isolated: Arc<Ram>,
    data: Arc<Ram>,
    /// The code placed last, and where.
    placed: (u64, Vec<u8>),
}

/// Entries of the page tables, as (physical address, value).
fn tables() -> Vec<(u64, u64)> {
    const PRESENT: u64 = 1;
    const WRITE: u64 = 2;
    const USER: u64 = 4;
    // Accessed and dirty.
    const USED: u64 = 0x60;
    const LARGE: u64 = 0x80;
    const NO_EXECUTE: u64 = 1 << 63;
    const TABLE: u64 = PRESENT | WRITE | USER;
    let table = |n: u64| TABLES + 0x1000 * n;
    let index = |va: u64, level: u32| 8 * (va >> (12 + 9 * level) & 511);
    let mut all = Vec::new();
    // Lower half: tables 0 to 2, and 3 for the pages of data. Everything is in the first gigabyte.
    all.push((table(0), table(1) | TABLE));
    all.push((table(1), table(2) | TABLE));
    for (start, len) in [(CODE, CODE_SIZE), (ISOLATED, ISOLATED_SIZE)] {
        for page in (start..start + len).step_by(0x20_0000) {
            all.push((table(2) + index(page, 1), page | TABLE | USED | LARGE));
        }
    }
    all.push((table(2) + index(DATA, 1), table(3) | TABLE));
    for page in (DATA..DATA + DATA_SIZE).step_by(0x1000) {
        all.push((table(3) + index(page, 0), page | TABLE | USED | NO_EXECUTE));
    }
    // Upper half: tables 4 to 6.
    all.push((table(0) + index(KERNEL, 3), table(4) | TABLE));
    all.push((table(4) + index(KERNEL, 2), table(5) | TABLE));
    all.push((table(5) + index(KERNEL, 1), table(6) | TABLE));
    for page in (0..SYSTEM_SIZE).step_by(0x1000) {
        all.push((table(6) + index(KERNEL + page, 0), (SYSTEM + page) | PRESENT | WRITE | USED));
    }
    all
}

/// Descriptor tables, the task state and the handlers, as (offset, bytes).
fn system() -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    for vector in 0..VECTORS {
        let handler = KERNEL + HANDLERS + 16 * vector;
        // Interrupt gates; INT3 and INTO's have level 3, as Linux makes them.
        let level = if matches!(vector, 3 | 4) { 3 } else { 0 };
        let low =
            handler & 0xffff | u64::from(KERNEL_CS) << 16 | 0x8e00 << 32 | level << 45 | (handler >> 16 & 0xffff) << 48;
        all.push((IDT + 16 * vector, [low.to_le_bytes(), (handler >> 32).to_le_bytes()].concat()));
        all.push((HANDLERS + 16 * vector, JUMP_TO_SELF.to_vec()));
    }
    let descriptor = |selector: u16, value: u64| (GDT + u64::from(selector & !7), value.to_le_bytes().to_vec());
    all.push(descriptor(KERNEL_CS, 0x00af_9b00_0000_ffff));
    all.push(descriptor(USER_SS, 0x00cf_f300_0000_ffff));
    all.push(descriptor(USER_CS, 0x00af_fb00_0000_ffff));
    all.push((TSS + 4, (KERNEL + STACK_TOP).to_le_bytes().to_vec()));
    // No map of permitted ports.
    all.push((TSS + 0x66, 0x68u16.to_le_bytes().to_vec()));
    all
}

impl Machine {
    /// A machine with CPU model `cpu` that executes in one way.
    ///
    /// # Errors
    /// What its parts say, as text.
    pub fn new(tier: Tier, cpu: &str) -> Result<Machine, String> {
        let bus = AddressSpace::new();
        let ram = |gpa: u64, len: u64| {
            let ram = Ram::new(len).map_err(|e| e.to_string())?;
            let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
            let mapping = Mapping { name: format!("{gpa:#x}"), gpa: Gpa(gpa), len, priority: 0, backing };
            bus.map(mapping).map_err(|e| e.to_string())?;
            Ok::<_, String>(ram)
        };
        let page_tables = ram(TABLES, SYSTEM - TABLES)?;
        let system_ram = ram(SYSTEM, SYSTEM_SIZE)?;
        let code = ram(CODE, CODE_SIZE)?;
        let isolated = ram(ISOLATED, ISOLATED_SIZE)?;
        let data = ram(DATA, DATA_SIZE)?;
        for (address, entry) in tables() {
            page_tables.write(address - TABLES, &entry.to_le_bytes());
        }
        for (offset, bytes) in system() {
            system_ram.write(offset, &bytes);
        }
        code.write(0, &vec![INT3; CODE_SIZE as usize]);
        isolated.write(0, &vec![INT3; ISOLATED_SIZE as usize]);

        let compiler = match tier {
            Tier::Stepped | Tier::Interpreter | Tier::Template => None,
            Tier::Compiled | Tier::Stress(_) => {
                Some(Arc::new(Cranelift::new(64 << 20, false).map_err(|e| e.to_string())?))
            }
        };
        let template = match tier {
            Tier::Template | Tier::Stress(_) => Some(Template::new(64 << 20).map_err(|e| e.to_string())?),
            _ => None,
        };
        let tiers = Tiers {
            template_after: template.as_ref().map(|_| 1),
            trace_after: matches!(tier, Tier::Stress(_)).then_some(1),
            compile_after: compiler.as_ref().map(|_| 1),
            synchronous: true,
        };
        let shared = compiler.clone().map(|c| Box::new(c) as Box<dyn Compiler<X86>>);
        let mut tcg = Tcg::new(X86::new(cpu).map_err(|e| e.to_string())?, tiers, template, shared);
        if let Tier::Stress(seed) = tier {
            tcg.set_stress(seed);
        }
        let wiring = Wiring {
            id: 0,
            model: cpu.into(),
            bus: bus.clone(),
            ports: AddressSpace::new(),
            sysregs: SysregBus::default(),
            pins: Pins::new(),
            outputs: (0..x86::wiring::OUTPUTS).map(|_| IrqLine::unconnected()).collect(),
            timers: Timers::new(Arc::new(ManualClock::new(0))),
            power: Power::default(),
            entropy: Arc::new(NoEntropy),
            boot: None,
        };
        let vcpu = tcg.vcpu_of(wiring).map_err(|e| e.to_string())?;
        let placed = (0, Vec::new());
        let mut machine =
            Machine { vcpu, tier, compiler, placements: 0, system: system_ram, code, isolated, data, placed };
        let cpu = &mut machine.vcpu.env.cpu;
        // As Linux has them.
        cpu.cr0 = CR0_PG | CR0_AM | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE;
        cpu.cr3 = TABLES;
        cpu.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE;
        cpu.msr.efer = x86::msr::EFER_LME | x86::msr::EFER_LMA | x86::msr::EFER_SCE | x86::msr::EFER_NXE;
        cpu.xcr0 = 7;
        cpu.idtr = Table { base: KERNEL + IDT, limit: (16 * VECTORS - 1) as u16 };
        cpu.gdtr = Table { base: KERNEL + GDT, limit: 0x7f };
        cpu.tr = Segment { selector: 0x40, attributes: Attributes(0x8b), base: KERNEL + TSS, limit: 0x67 };
        for n in [FS, GS] {
            cpu.set_segment(n, Segment::default());
        }
        for n in [DS, ES] {
            cpu.set_segment(n, flat(USER_SS, USER_DATA));
        }
        Ok(machine)
    }

    /// Whether compiled code was executed: at least one compiled block for each piece of code; under stress for one in
    /// eight, because others go before they are hot.
    pub fn compiled_everything(&self) -> bool {
        let least = if matches!(self.tier, Tier::Stress(_)) { self.placements / 8 } else { self.placements };
        self.compiler.as_ref().is_none_or(|compiler| compiler.stats().0 >= least)
    }

    /// Executes a case.
    pub fn run(&mut self, case: &Case) -> Outcome {
        if self.place(case) && matches!(self.tier, Tier::Template | Tier::Compiled) {
            // The first run is interpreted and compiles the code.
            self.once(case);
        }
        self.once(case)
    }

    /// Puts the code of a case where it is executed; gives whether it was not there.
    fn place(&mut self, case: &Case) -> bool {
        if self.placed.0 == case.pc && self.placed.1 == case.code {
            return false;
        }
        let old = std::mem::replace(&mut self.placed, (case.pc, case.code.clone()));
        if old.0 == ISOLATED_PC {
            self.isolated.write(ISOLATED_PC - ISOLATED, &vec![INT3; old.1.len()]);
        }
        let mut code = case.code.clone();
        if case.isolated() {
            self.isolated.write(case.pc.wrapping_sub(ISOLATED), &code);
        } else {
            code.push(INT3);
            self.code.write(case.pc.wrapping_sub(CODE), &code);
        }
        self.placements += 1;
        true
    }

    fn once(&mut self, case: &Case) -> Outcome {
        self.data.write(case.window_offset.into(), &case.window);
        put_state(&mut self.vcpu.env.cpu, case);
        // The instructions, and the trap that follows; repetitions of string instructions count, too.
        let mut stopped = true;
        let mut budget = case.instructions + 1;
        for _ in 0..8 {
            let steps = if self.tier == Tier::Stepped { budget } else { 1 };
            for _ in 0..steps {
                stopped &= matches!(self.vcpu.run(Some(budget / steps)), Ok(Stop::Budget));
            }
            if self.vcpu.env.cpu.cpl == 0 {
                break;
            }
            budget = 16;
        }
        let mut outcome = self.outcome(case, stopped);
        self.data.read(case.window_offset.into(), &mut outcome.window);
        self.data.write(case.window_offset.into(), &[0; WINDOW]);
        let mut rest = [0; DATA_SIZE as usize];
        self.data.read(0, &mut rest);
        if rest != [0; DATA_SIZE as usize] {
            outcome.outside = checksum(&rest);
            self.data.write(0, &[0; DATA_SIZE as usize]);
        }
        outcome
    }

    /// The registers, and the exception as its handler finds it.
    fn outcome(&self, case: &Case, stopped: bool) -> Outcome {
        let cpu = &self.vcpu.env.cpu;
        let mut gpr = cpu.gpr;
        if case.bits() == 32 {
            narrow(&mut gpr);
        }
        let mut state = State { gpr, rflags: cpu.rflags(), ..case.state.clone() };
        (state.fs_base, state.gs_base) = (cpu.bases[FS], cpu.bases[GS]);
        if case.with_vectors() {
            take_vectors(cpu, &mut state);
        }
        let window = [0; WINDOW];
        let mut outcome = Outcome { vector: u32::MAX, error: 0, address: 0, pc: cpu.pc, outside: 0, state, window };
        let vector = cpu.pc.wrapping_sub(KERNEL + HANDLERS) / 16;
        if !stopped || cpu.cpl != 0 || vector >= VECTORS {
            return outcome;
        }
        outcome.vector = vector as u32;
        // What was pushed: an error code, RIP, CS, RFLAGS, RSP and SS.
        let has_error = matches!(vector, 8 | 10..=14 | 17);
        let frame = STACK_TOP - 40 - if has_error { 8 } else { 0 };
        let word = |n: u64| self.system.load(frame + 8 * n, 8).unwrap_or(0);
        let first = if has_error {
            outcome.error = word(0) as u32;
            1
        } else {
            0
        };
        outcome.pc = word(first);
        outcome.state.rflags = word(first + 2);
        outcome.state.gpr[x86::state::RSP] = word(first + 3);
        if vector == 14 {
            outcome.address = cpu.cr2;
        }
        if vector == 3 && !case.isolated() && outcome.pc == case.end() + 1 {
            (outcome.vector, outcome.pc) = (NO_VECTOR, case.end());
        }
        outcome
    }
}

/// The registers of 32-bit code.
fn narrow(gpr: &mut [u64; 16]) {
    gpr.iter_mut().for_each(|value| *value &= 0xffff_ffff);
}

/// A segment of 4 GiB.
fn flat(selector: u16, attributes: Attributes) -> Segment {
    Segment { selector, attributes, base: 0, limit: u32::MAX }
}

/// At level 3, with the registers of a case.
fn put_state(cpu: &mut Cpu, case: &Case) {
    let state = &case.state;
    let (selector, attributes) =
        if case.bits() == 32 { (USER_CS_32, Attributes(0xc0fb)) } else { (USER_CS, Attributes(0xa0fb)) };
    cpu.cpl = 3;
    cpu.shadow = Shadow::None;
    cpu.pending_debug = 0;
    if cpu.selectors[CS] != u64::from(selector) {
        cpu.set_segment(CS, flat(selector, attributes));
        cpu.set_segment(SS, flat(USER_SS, USER_DATA));
    }
    cpu.gpr = state.gpr;
    (cpu.bases[FS], cpu.bases[GS]) = (state.fs_base, state.gs_base);
    cpu.pc = case.pc;
    if case.with_vectors() {
        let top = (state.fsw >> 11 & 7) as u8;
        cpu.mxcsr = state.mxcsr;
        cpu.fpu = x86::state::Fpu {
            control: state.fcw,
            status: state.fsw & !0x3800,
            top,
            empty: !state.ftw,
            ..Default::default()
        };
        for (n, value) in state.st.iter().enumerate() {
            let register = &mut cpu.x87[(usize::from(top) + n) % 8];
            register.mantissa = *value as u64;
            register.exponent = (*value >> 64) as u64 & 0xffff;
        }
        cpu.xmm = state.xmm;
        cpu.ymm_high = state.ymm_high;
    }
    cpu.set_rflags(state.rflags, u64::MAX);
}

fn take_vectors(cpu: &Cpu, state: &mut State) {
    state.mxcsr = cpu.mxcsr;
    state.fcw = cpu.fpu.control;
    state.fsw = cpu.fpu.status & !0x3800 | u16::from(cpu.fpu.top & 7) << 11;
    state.ftw = !cpu.fpu.empty;
    for (n, value) in state.st.iter_mut().enumerate() {
        let register = &cpu.x87[(usize::from(cpu.fpu.top) + n) % 8];
        *value = u128::from(register.mantissa) | u128::from(register.exponent & 0xffff) << 64;
    }
    state.xmm = cpu.xmm;
    state.ymm_high = cpu.ymm_high;
}
