//! Mimic's side: a machine that is nothing but memory, at EL0 under page tables that look like the runner's process.

use crate::wire::*;
use arm::Arm;
use arm::state::{Cpu, NOT_EXCLUSIVE, Pstate};
use std::sync::Arc;
use tcg::cranelift::Cranelift;
use tcg::exec::{Compiler, Tcg, TcgVcpu, Tiers};
use tcg::x64::Template;
use vm::address_space::{Backing, Mapping};
use vm::clock::ManualClock;
use vm::entropy::Entropy;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{Pins, Stop, Vcpu, Wiring};
use vm::{AddressSpace, Gpa, Ram};

const BRK: u32 = 0xd420_0000;
const BRANCH_TO_SELF: u32 = 0x1400_0000;

/// Physical addresses: tables, vectors, then what the runner has.
const TABLES: u64 = 0;
const VECTORS: u64 = 0x1_0000;
/// Where EL1 has its vectors.
const VECTORS_VA: u64 = 0xffff_0000_0000_0000;
/// Instructions that do not care where they are have a slot each, in turn, so that little code is ever overwritten.
const SLOT_COUNT: u64 = 0x1_0000;
const SLOT_BYTES: u64 = 16;

/// How instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// One at a time by the interpreter, each in a block of its own.
    Stepped,
    /// In blocks by the interpreter.
    Interpreter,
    /// In blocks of template code.
    Template,
    /// In blocks that Cranelift compiled.
    Compiled,
    /// By all of these in turn, under stress with this seed.
    Stress(u64),
}

/// A machine and its vCPU.
pub struct Machine {
    vcpu: TcgVcpu<Arm>,
    tier: Tier,
    compiler: Option<Arc<Cranelift<Arm>>>,
    /// Instruction sequences placed so far.
    placements: u64,
    memory: Arc<Ram>,
    slots: Arc<Ram>,
    isolated: Arc<Ram>,
    /// The instructions placed last, and where.
    placed: (u32, u32, bool),
    slot: u64,
}

/// Gives zeros.
pub struct NoEntropy;
impl Entropy for NoEntropy {
    fn fill(&self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

/// Descriptors of the tables, as (address, value).
fn tables() -> Vec<(u64, u64)> {
    const TABLE: u64 = 3;
    // Access flag, inner shareable, normal memory (attribute 0), page.
    const PAGE: u64 = 1 << 10 | 3 << 8 | 3;
    const BLOCK: u64 = PAGE & !2;
    const USER: u64 = 1 << 6;
    const READ_ONLY: u64 = 1 << 7;
    const NOT_EL1_EXECUTE: u64 = 1 << 53;
    const NOT_EL0_EXECUTE: u64 = 1 << 54;
    let mut all = Vec::new();
    let table = |n: u64| TABLES + 0x1000 * n;
    // Lower half: level 0 in table 0, level 1 in table 1, one level 2 for each gigabyte in use, level 3 below.
    all.push((table(0), table(1) | TABLE));
    for (n, gigabyte) in [(2, MEMORY >> 30), (3, SLOTS >> 30), (4, ISOLATED >> 30)] {
        all.push((table(1) + 8 * gigabyte, table(n) | TABLE));
    }
    all.push((table(2), table(5) | TABLE));
    for page in 0..MEMORY_SIZE / 0x1000 {
        all.push((table(5) + 8 * page, (MEMORY + 0x1000 * page) | PAGE | USER | NOT_EL0_EXECUTE | NOT_EL1_EXECUTE));
    }
    all.push((table(3), SLOTS | BLOCK | USER | NOT_EL1_EXECUTE));
    for block in 0..ISOLATED_SIZE >> 21 {
        all.push((table(4) + 8 * block, (ISOLATED + (block << 21)) | BLOCK | USER | NOT_EL1_EXECUTE));
    }
    // Upper half: the vectors.
    for level in 6..9 {
        all.push((table(level), table(level + 1) | TABLE));
    }
    all.push((table(9), VECTORS | PAGE | READ_ONLY | NOT_EL0_EXECUTE));
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
        ram(0, 0x2_0000)?;
        let memory = ram(MEMORY, MEMORY_SIZE)?;
        let slots = ram(SLOTS, 0x20_0000)?;
        let isolated = ram(ISOLATED, ISOLATED_SIZE)?;
        for (address, descriptor) in tables() {
            bus.write(Gpa(address), &descriptor.to_le_bytes()).map_err(|e| format!("{e:?}"))?;
        }
        let fill = |ram: &Ram, len: u64, word: u32| ram.write(0, &word.to_le_bytes().repeat(len as usize / 4));
        fill(&isolated, ISOLATED_SIZE, BRK);
        fill(&slots, SLOT_COUNT * SLOT_BYTES, BRK);
        let vectors = BRANCH_TO_SELF.to_le_bytes().repeat(0x400);
        bus.write(Gpa(VECTORS), &vectors).map_err(|e| format!("{e:?}"))?;

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
        let shared = compiler.clone().map(|c| Box::new(c) as Box<dyn Compiler<Arm>>);
        let arm = Arm::new(cpu).map_err(|e| e.to_string())?;
        let mut tcg = Tcg::new(arm, tiers, template, shared);
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
            outputs: Vec::new(),
            timers: Timers::new(Arc::new(ManualClock::new(0))),
            power: Power::default(),
            entropy: Arc::new(NoEntropy),
            boot: None,
        };
        let vcpu = tcg.vcpu_of(wiring).map_err(|e| e.to_string())?;
        let mut machine = Machine {
            vcpu,
            tier,
            compiler,
            placements: 0,
            memory,
            slots,
            isolated,
            placed: (0, 0, false),
            slot: SLOT_COUNT - 1,
        };
        let sys = &mut machine.vcpu.env.cpu.sys;
        // As Linux sets them for a process of 48-bit addresses, but without the check of SP's alignment, which
        // qemu-aarch64 does not make. MMU, caches; nTWE, nTWI, UCT, DZE, UCI.
        sys.sctlr_el1 = 1 | 1 << 2 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;
        // Pointer authentication enabled.
        sys.sctlr_el1 |= 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13;
        sys.cpacr_el1 = 3 << 20;
        // T0SZ and T1SZ 16, 4 KiB granules, TBI0, 48-bit physical addresses.
        sys.tcr_el1 = 16 | 16 << 16 | 2 << 30 | 5 << 32 | 1 << 37;
        sys.mair_el1 = 0xff;
        sys.ttbr0_el1 = TABLES;
        sys.ttbr1_el1 = TABLES + 0x6000;
        sys.vbar_el1 = VECTORS_VA;
        Ok(machine)
    }

    /// Whether compiled code was executed: at least one compiled block for each sequence of instructions; under stress
    /// for one in eight, because others go before they are hot.
    pub fn compiled_everything(&self) -> bool {
        let least = if matches!(self.tier, Tier::Stress(_)) { self.placements / 8 } else { self.placements };
        self.compiler.as_ref().is_none_or(|compiler| compiler.stats().0 >= least)
    }

    /// Places a long sequence of instructions that do not branch; gives its address. With the compiler, runs it once on
    /// `case`: that run is interpreted and compiles the code.
    pub fn place_sequence(&mut self, words: &[u32], case: &Case) -> u64 {
        let code: Vec<u8> = words.iter().chain([&BRK]).flat_map(|word| word.to_le_bytes()).collect();
        // Above the slots, at every distance from the next page.
        let at = SLOT_COUNT * SLOT_BYTES + self.placements * 0x84 % 0xf_0000;
        self.slots.write(at, &code);
        self.placements += 1;
        if matches!(self.tier, Tier::Template | Tier::Compiled) {
            self.once(case, SLOTS + at, words.len() as u64);
        }
        SLOTS + at
    }

    /// Executes `len` instructions that [`place_sequence`](Self::place_sequence) put at `pc`.
    pub fn run_sequence(&mut self, case: &Case, pc: u64, len: usize) -> Outcome {
        self.once(case, pc, len as u64)
    }

    /// Executes a case.
    pub fn run(&mut self, case: &Case) -> Outcome {
        let pc = self.place(case);
        self.once(case, pc, case.instructions())
    }

    /// Puts the instructions of a case where they are executed; gives the address.
    fn place(&mut self, case: &Case) -> u64 {
        let isolated = case.isolated();
        let changed = (case.insn, case.insn2, isolated) != self.placed;
        self.placed = (case.insn, case.insn2, isolated);
        if changed && !isolated {
            self.slot = (self.slot + 1) % SLOT_COUNT;
        }
        let (ram, at, pc) = if isolated {
            (&self.isolated, ISOLATED_PC - ISOLATED, ISOLATED_PC)
        } else {
            (&self.slots, self.slot * SLOT_BYTES, SLOTS + self.slot * SLOT_BYTES)
        };
        if changed {
            self.placements += 1;
            let second = if case.insn2 == 0 { BRK } else { case.insn2 };
            let mut code = [0; 12];
            for (bytes, word) in code.chunks_exact_mut(4).zip([case.insn, second, BRK]) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            ram.write(at, &code);
            if matches!(self.tier, Tier::Template | Tier::Compiled) {
                // The first run is interpreted and compiles the code.
                self.once(case, pc, case.instructions());
            }
        }
        pc
    }

    fn once(&mut self, case: &Case, pc: u64, len: u64) -> Outcome {
        if case.flags & FLAG_CLEAN != 0 {
            self.memory.write(0, &[0; MEMORY_SIZE as usize]);
        }
        self.memory.write(case.window_offset.into(), &case.window);
        let cpu = &mut self.vcpu.env.cpu;
        put_state(cpu, &case.state);
        cpu.pc = pc;
        // The instructions and a BRK.
        let mut stopped = true;
        let (slices, budget) = if self.tier == Tier::Stepped { (len + 1, 1) } else { (1, len + 1) };
        for _ in 0..slices {
            stopped &= matches!(self.vcpu.run(Some(budget)), Ok(Stop::Budget));
        }
        let cpu = &mut self.vcpu.env.cpu;
        let mut outcome = outcome_of(cpu, case, pc, len, stopped);
        self.memory.read(case.window_offset.into(), &mut outcome.window);
        self.memory.write(case.window_offset.into(), &[0; WINDOW]);
        outcome
    }
}

/// At EL0, with the registers of a case.
fn put_state(cpu: &mut Cpu, state: &State) {
    cpu.set_level(0, false);
    cpu.pstate = Pstate::default();
    cpu.btype = 0;
    cpu.x = state.x;
    cpu.sp = state.sp;
    cpu.v = state.v;
    cpu.set_nzcv(state.nzcv);
    cpu.fpcr = state.fpcr;
    cpu.fpsr = state.fpsr;
    cpu.exclusive_addr = NOT_EXCLUSIVE;
    cpu.update_mode();
}

/// The registers, and the exception as the signal that Linux makes of it.
fn outcome_of(cpu: &mut Cpu, case: &Case, start: u64, len: u64, stopped: bool) -> Outcome {
    let state = State {
        x: cpu.x,
        sp: cpu.sp_of(0),
        nzcv: if cpu.pstate.el == 0 { cpu.nzcv() } else { cpu.spsr[1] & 0xf000_0000 },
        fpcr: cpu.fpcr,
        fpsr: cpu.fpsr,
        v: cpu.v,
    };
    let taken = stopped && cpu.pstate.el == 1 && cpu.pc == VECTORS_VA + 0x400;
    let mut outcome = Outcome { signal: u32::MAX, fault_address: 0, pc_delta: 0, state, window: [0; WINDOW] };
    if !taken {
        outcome.pc_delta = cpu.pc.wrapping_sub(start);
        return outcome;
    }
    let pc = cpu.elr[1];
    let syndrome = cpu.sys.esr_el1;
    let far = ((cpu.sys.far_el1 << 8) as i64 >> 8) as u64;
    outcome.pc_delta = pc.wrapping_sub(start);
    let status = syndrome & 0x3f;
    outcome.signal = match syndrome >> 26 & 0x3f {
        0x3c => SIGTRAP,
        0x00 | 0x0e | 0x18 => SIGILL,
        0x22 | 0x26 => SIGBUS,
        0x24 if status == 0x21 => SIGBUS,
        // Translation, access flag and permission faults.
        0x20 | 0x24 if (4..16).contains(&status) => SIGSEGV,
        class => 0x100 | class as u32,
    };
    if outcome.signal == SIGSEGV {
        outcome.fault_address = far;
    }
    if outcome.signal == SIGTRAP && !case.isolated() && outcome.pc_delta == 4 * len {
        outcome.signal = 0;
    }
    outcome
}
