//! What the translator sees of the architecture.

use crate::a64;
use crate::cluster::{Cluster, Start, State};
use crate::disassemble;
use crate::exception::{self, Exception};
use crate::features::Features;
use crate::integer_helpers::{self, PacCache};
use crate::mmu;
use crate::mode::Mode;
use crate::model::Model;
use crate::state::{self, Cpu, LEVELS, NOT_EXCLUSIVE, Pstate};
use crate::sysreg::{REGISTERS, SystemRegisters};
use crate::wires::Wires;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};
use tcg::float::FloatFlags;
use tcg::frontend::{Frontend, Func, Helper, Key, Translation};
use tcg::ir::{Block, Names, Slot};
use vm::vcpu::{AccelError, BootRegs, Intent, Wiring};
use vm::{BadState, Gpa, Gva};

/// The Arm architecture with one processor model.
pub struct Arm {
    /// What the model implements.
    pub features: Features,
    /// The processing elements made so far.
    cluster: Arc<Cluster>,
}

impl Arm {
    /// The architecture as the model that `-cpu` names has it.
    ///
    /// # Errors
    /// As [`Model::parse`].
    pub fn new(model: &str) -> Result<Arm, AccelError> {
        Ok(Arm { features: Model::parse(model)?.features, cluster: Arc::default() })
    }
}

/// The state that helpers act on.
pub type Env = tcg::Env<Arm>;

extern "C" fn no_helper(_: &mut Env) -> u64 {
    0
}

/// All helpers by number: the system's from 0, those of SIMD and floating point, those of integer instructions. Numbers
/// between the groups belong to nobody.
static HELPERS: LazyLock<Vec<Helper<Arm>>> = LazyLock::new(|| {
    let groups = [
        (0, exception::HELPERS.to_vec()),
        (a64::simd::FIRST_HELPER, a64::simd::helpers().collect()),
        (usize::from(integer_helpers::FIRST), integer_helpers::HELPERS.to_vec()),
    ];
    let mut all = Vec::new();
    for (first, group) in groups {
        assert!(all.len() <= first, "groups do not overlap");
        all.resize(first, Helper::plain("none", Func::F0(no_helper)));
        all.extend(group);
    }
    all
});
static HELPER_NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| HELPERS.iter().map(|h| h.name).collect());

/// Registers before the system registers in [`Frontend::regs`]: X0 to X30, SP, PC, CPSR, V0 to V31.
const SP: usize = 31;
const PC: usize = 32;
const CPSR: usize = 33;
const V: usize = 34;
const SYSTEM: usize = V + 32;

/// The registers of a vCPU as saved.
#[derive(Serialize, Deserialize)]
struct SavedCpu {
    x: [u64; 31],
    sp: u64,
    v: [u128; 32],
    pc: u64,
    nzcv: u64,
    exclusive: [u64; 3],
    tpidr: [u64; 3],
    btype: u64,
    pstate: Pstate,
    sp_el: [u64; LEVELS],
    elr: [u64; LEVELS],
    spsr: [u64; LEVELS],
    fpcr: u64,
    fpsr: u64,
    sys: SystemRegisters,
    event: bool,
    off: bool,
    /// Where it was told to start.
    #[serde(default)]
    start: Option<Start>,
    midr: u64,
}

impl Cpu {
    /// A processing element in its reset state.
    pub fn new(model: Model, wires: Wires) -> Cpu {
        let mut cpu = Cpu {
            x: [0; 31],
            sp: 0,
            v: [0; 32],
            pc: 0,
            n: 0,
            z: 0,
            c: 0,
            vf: 0,
            exclusive_addr: NOT_EXCLUSIVE,
            exclusive_low: 0,
            exclusive_high: 0,
            tpidr_el0: 0,
            tpidrro_el0: 0,
            tpidr_el1: 0,
            btype: 0,
            pstate: Pstate::default(),
            sp_el: [0; LEVELS],
            elr: [0; LEVELS],
            spsr: [0; LEVELS],
            fpcr: 0,
            fpsr: 0,
            sys: SystemRegisters::default(),
            mode: 0,
            event: false,
            off: false,
            local_kernel_code: false,
            guarded_seen: false,
            pac_cache: PacCache::default(),
            model,
            wires,
        };
        cpu.reset();
        cpu
    }

    /// Cold reset to EL1h with everything masked (D1.9 "Reset"). What the architecture leaves unknown becomes zero.
    pub fn reset(&mut self) {
        self.x = [0; 31];
        self.v = [0; 32];
        (self.sp, self.pc, self.btype) = (0, 0, 0);
        self.set_nzcv(0);
        self.exclusive_addr = NOT_EXCLUSIVE;
        (self.tpidr_el0, self.tpidrro_el0, self.tpidr_el1) = (0, 0, 0);
        self.pstate = Pstate { el: 1, spsel: true, daif: 0xf, ..Pstate::default() };
        (self.sp_el, self.elr, self.spsr) = ([0; LEVELS], [0; LEVELS], [0; LEVELS]);
        (self.fpcr, self.fpsr) = (0, 0);
        self.sys = SystemRegisters::default();
        self.sys.sctlr_el1 = crate::sysreg::sctlr(self, 1 << 23);
        // OSLSR_EL1: the OS lock is implemented (OSLM 0b10) and set.
        self.sys.oslsr_el1 = 0xa;
        self.sys.pmu.counted_ns = self.wires.clock.now().0;
        (self.event, self.off, self.local_kernel_code, self.guarded_seen) = (false, false, false, false);
        self.update_mode();
        self.update_pmu();
        self.update_timers();
    }

    fn saved(&self) -> SavedCpu {
        SavedCpu {
            x: self.x,
            sp: self.sp,
            v: self.v,
            pc: self.pc,
            nzcv: self.nzcv(),
            exclusive: [self.exclusive_addr, self.exclusive_low, self.exclusive_high],
            tpidr: [self.tpidr_el0, self.tpidrro_el0, self.tpidr_el1],
            btype: self.btype,
            pstate: self.pstate,
            sp_el: self.sp_el,
            elr: self.elr,
            spsr: self.spsr,
            fpcr: self.fpcr,
            fpsr: self.fpsr,
            sys: self.sys.clone(),
            event: self.event,
            off: self.off,
            start: match self.wires.cluster.state(self.wires.id) {
                Some(State::Pending(start)) => Some(start),
                _ => None,
            },
            midr: self.model.midr,
        }
    }

    fn restore(&mut self, saved: SavedCpu) -> Result<(), BadState> {
        let bad = |what: String| Err(BadState(what));
        if saved.midr != self.model.midr {
            return bad(format!("saved from a processor with MIDR {:#x}, this is {:#x}", saved.midr, self.model.midr));
        }
        if saved.pstate.el > 1 || saved.pstate.el == 0 && saved.pstate.spsel || saved.pstate.daif > 0xf {
            return bad(format!("impossible PSTATE {:?}", saved.pstate));
        }
        if saved.btype > 3 || saved.nzcv & 0x0fff_ffff != 0 || saved.nzcv >> 32 != 0 {
            return bad(format!("impossible flags {:#x}, BTYPE {}", saved.nzcv, saved.btype));
        }
        if saved.sys.sctlr_el1 != crate::sysreg::sctlr(self, saved.sys.sctlr_el1) {
            return bad(format!("impossible SCTLR_EL1 {:#x}", saved.sys.sctlr_el1));
        }
        (self.x, self.sp, self.v, self.pc) = (saved.x, saved.sp, saved.v, saved.pc);
        self.set_nzcv(saved.nzcv);
        [self.exclusive_addr, self.exclusive_low, self.exclusive_high] = saved.exclusive;
        [self.tpidr_el0, self.tpidrro_el0, self.tpidr_el1] = saved.tpidr;
        (self.btype, self.pstate) = (saved.btype, saved.pstate);
        (self.sp_el, self.elr, self.spsr) = (saved.sp_el, saved.elr, saved.spsr);
        (self.fpcr, self.fpsr, self.sys) = (saved.fpcr, saved.fpsr, saved.sys);
        (self.event, self.off, self.local_kernel_code) = (saved.event, saved.off, false);
        self.guarded_seen = false;
        self.update_mode();
        self.update_pmu();
        self.update_timers();
        Ok(())
    }
}

/// What keys call the address space of EL1's own code under an ASID; EL0's is called by the ASID itself.
pub fn kernel_space(asid: u32) -> u32 {
    1 << 16 | asid
}

impl Frontend for Arm {
    type Cpu = Cpu;
    type Exception = Exception;
    const NAME: &'static str = "aarch64";
    const BYTE_SLOTS: &'static [Slot] = &[state::N, state::Z, state::C, state::V];
    const PC: Slot = state::PC;
    const MMU_REGIMES: usize = 6;

    fn names(&self) -> Names<'static> {
        Names { slots: state::SLOTS, helpers: &HELPER_NAMES }
    }
    fn helpers(&self) -> &'static [Helper<Self>] {
        &HELPERS
    }
    fn cpu(&self, wiring: &Wiring, poll: Arc<dyn Fn() + Send + Sync>) -> Result<Cpu, AccelError> {
        let mut model = Model::parse(&wiring.model)?;
        // What code is translated for is what the registers say.
        model.features = self.features;
        Ok(Cpu::new(model, Wires::new(wiring, poll, self.cluster.clone())))
    }
    fn reset(&self, env: &mut Env, boot: Option<&BootRegs>) {
        env.cpu.reset();
        if let Some(boot) = boot {
            env.cpu.pc = boot.pc.0;
            for (number, value) in &boot.gprs {
                if let Some(x) = env.cpu.x.get_mut(usize::from(*number)) {
                    *x = *value;
                }
            }
        } else if env.cpu.wires.id != 0 {
            // Secondary processors wait for PSCI CPU_ON.
            env.cpu.off = true;
            env.halt();
        }
        let state = if env.cpu.off { State::Off } else { State::On };
        env.cpu.wires.cluster.set_state(env.cpu.wires.id, state);
    }
    fn key(&self, cpu: &Cpu) -> Key {
        let mode = Mode(cpu.mode).with_btype(cpu.btype);
        // Code of EL1 is the same in all address spaces until some was not: see `walk`.
        let space = match cpu.pstate.el {
            0 => cpu.asid(),
            _ if cpu.local_kernel_code => kernel_space(cpu.asid()),
            _ => 0,
        };
        Key { pc: Gva(cpu.pc), mode: mode.0, space }
    }
    fn pc_mode(&self, pc: Gva) -> u64 {
        Mode::default().with_pc_misaligned((pc.0 & 3 != 0).into()).0
    }
    fn translate(&self, mode: u64, code: &[u8], limit: u32, ir: &mut Block) {
        a64::translate(self.features, mode, code, limit, ir);
    }
    fn walk(&self, env: &mut Env, gva: Gva, intent: Intent, mmu: u8) -> Result<Translation, Exception> {
        match mmu::walk(&env.cpu, env.view(), gva.0, intent, mmu) {
            Ok(walked) => {
                // Executable at EL1 in one address space only: from now on the key tells them apart.
                let local = matches!(mmu, mmu::EL1 | mmu::VISITING_EL1) && walked.page.execute && !walked.page.global;
                if local && !env.cpu.local_kernel_code {
                    env.cpu.local_kernel_code = true;
                    env.cpu.update_mode();
                }
                if intent == Intent::Fetch && walked.page.code_mode != 0 && !env.cpu.guarded_seen {
                    env.cpu.guarded_seen = true;
                    env.cpu.update_mode();
                }
                Ok(walked.page)
            }
            Err(fault) => {
                vm::log!(Mmu, "walk {gva} regime {mmu} {intent:?}: {:?} fault, level {}", fault.kind, fault.level);
                Err(Exception::of_fault(fault, gva.0, intent))
            }
        }
    }
    fn fetch_regime(&self, cpu: &Cpu) -> u8 {
        cpu.pstate.el.min(1)
    }
    fn code_root(&self, cpu: &Cpu, pc: Gva) -> Option<u64> {
        // The upper half of EL1: TTBR1_EL1.BADDR, without ASID and CnP. All other registers that tables are walked by flush
        // what is known when they change.
        let upper = cpu.pstate.el != 0 && cpu.local_kernel_code && pc.0 >> 55 & 1 != 0;
        upper.then_some(cpu.sys.ttbr1_el1 & 0xffff_ffff_fffe)
    }
    fn regimes(&self, cpu: &Cpu) -> u8 {
        let bits = |regimes: &[u8]| regimes.iter().fold(0, |bits, regime| bits | 1 << regime);
        match cpu.pstate.el {
            0 => bits(&[mmu::EL0]),
            _ if cpu.is_visiting() => {
                bits(&[mmu::VISITING_EL1, mmu::VISITING_EL0_FOR_EL1])
                    | if cpu.pstate.pan { bits(&[mmu::EL1_PAN]) } else { 0 }
            }
            _ => bits(&[mmu::EL1, mmu::EL1_PAN, mmu::EL0_FOR_EL1]),
        }
    }
    fn space(&self, cpu: &Cpu) -> u32 {
        cpu.asid()
    }
    fn misaligned(&self, _env: &mut Env, gva: Gva, intent: Intent, _mmu: u8) -> Exception {
        Exception::misaligned(gva.0, intent)
    }
    fn bus_error(&self, _env: &mut Env, gva: Gva, _gpa: Gpa, intent: Intent, _mmu: u8) -> Exception {
        Exception::bus_error(gva.0, intent)
    }
    fn take(&self, env: &mut Env, exception: Exception) {
        env.cpu.take(exception);
    }
    fn poll(&self, env: &mut Env) {
        crate::psci::start(env);
        env.cpu.update_pmu();
        env.cpu.update_timers();
    }
    fn add_float_flags(cpu: &mut Cpu, flags: FloatFlags) {
        // IOC, DZC, OFC, UFC and IXC stand in the same order. IDC is for operands that were flushed.
        cpu.fpsr |= u64::from(flags.0 & 0x1f);
    }
    fn interrupt(&self, env: &mut Env, pins: u32) -> bool {
        env.cpu.interrupt(pins)
    }
    fn wakes(&self, env: &Env, pins: u32) -> bool {
        pins != 0 && !env.cpu.off
    }

    fn regs(&self) -> Vec<(&'static str, u32)> {
        let width = |slot: &Slot| if slot.1 == tcg::Ty::V128 { 128 } else { 64 };
        let named = |n: usize| state::SLOTS.get(n).map(|(name, slot)| (*name, width(slot)));
        let general = (0..31).filter_map(named);
        let fixed = [("sp", 64), ("pc", 64), ("cpsr", 32)];
        let vectors = VECTOR_NAMES.iter().map(|name| (*name, 128));
        let system = REGISTERS.iter().map(|r| (r.name, 64));
        general.chain(fixed).chain(vectors).chain(system).collect()
    }
    fn reg(&self, cpu: &Cpu, index: usize) -> u128 {
        match index {
            0..SP => cpu.x[index].into(),
            SP => cpu.sp.into(),
            PC => cpu.pc.into(),
            CPSR => cpu.spsr_now().into(),
            V..SYSTEM => cpu.v[index - V],
            _ => {
                let read = REGISTERS.get(index - SYSTEM).and_then(|r| r.read);
                read.map_or(0, |read| read(cpu)).into()
            }
        }
    }
    fn set_reg(&self, cpu: &mut Cpu, index: usize, value: u128) {
        let low = value as u64;
        match index {
            0..SP => cpu.x[index] = low,
            SP => cpu.sp = low,
            PC => cpu.pc = low,
            CPSR => cpu.set_spsr_now(low),
            V..SYSTEM => cpu.v[index - V] = value,
            _ => {
                if let Some(write) = REGISTERS.get(index - SYSTEM).and_then(|r| r.write) {
                    write(cpu, low);
                    cpu.update_mode();
                }
            }
        }
    }
    fn save(&self, cpu: &Cpu) -> Vec<u8> {
        serde_json::to_vec(&cpu.saved()).unwrap_or_default()
    }
    fn load(&self, env: &mut Env, body: &[u8]) -> Result<(), BadState> {
        let saved: SavedCpu = serde_json::from_slice(body).map_err(|error| BadState(error.to_string()))?;
        let start = saved.start;
        env.cpu.restore(saved)?;
        let state = match start {
            Some(start) => State::Pending(start),
            None if env.cpu.off => State::Off,
            None => State::On,
        };
        env.cpu.wires.cluster.restore(env.cpu.wires.id, state);
        env.flush_tlb();
        Ok(())
    }
    fn disassemble(&self, pc: Gva, code: &[u8]) -> Vec<String> {
        disassemble::lines(pc, code)
    }
}

/// V0 to V31 as debuggers call them.
static VECTOR_NAMES: [&str; 32] = [
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
    "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31",
];

#[cfg(test)]
mod tests {
    use crate::testing::{CODE, Machine, RAM};
    use vm::vcpu::Vcpu;

    #[test]
    fn reset_values() {
        let mut m = Machine::new("max");
        let cpu = m.cpu();
        assert_eq!((cpu.pc, cpu.x, cpu.spsr_now()), (CODE, [0; 31], 0x3c5));
        assert_eq!((cpu.sys.sctlr_el1, cpu.sys.oslsr_el1), (0x30d0_0980, 0xa));
    }

    #[test]
    fn a_saved_processor_loads_as_it_was() {
        let mut m = Machine::new("max");
        let cpu = m.cpu();
        cpu.x[7] = u64::MAX;
        cpu.v[31] = u128::MAX - 5;
        cpu.sys.pac_keys[4] = [1, u64::MAX];
        cpu.set_nzcv(0x9000_0000);
        cpu.set_timer_cval(1, 12345);
        cpu.set_level(0, false);
        cpu.sp = 0x1234;
        cpu.update_mode();
        let (mode, saved) = (cpu.mode, m.vcpu.save());
        let mut other = Machine::new("max");
        other.vcpu.load(&saved).unwrap();
        assert_eq!(other.vcpu.save(), saved);
        assert_eq!((other.cpu().mode, other.cpu().v[31]), (mode, u128::MAX - 5));

        // What could never have been saved is refused and changes nothing.
        let text = String::from_utf8(saved.body.clone()).unwrap();
        for (from, to) in [
            ("\"el\":0", "\"el\":2"),
            ("\"btype\":0", "\"btype\":4"),
            ("\"nzcv\":2415919104", "\"nzcv\":1"),
            ("\"midr\":", "\"midr\":9"),
            ("\"x\":[", "\"x\":[1,"),
            ("\"daif\":15", "\"daif\":16"),
        ] {
            assert!(text.contains(from), "{from}");
            let bad = vm::Saved { body: text.replace(from, to).into_bytes(), ..saved.clone() };
            let mut other = Machine::new("max");
            let before = other.vcpu.save();
            assert!(other.vcpu.load(&bad).is_err(), "{to}");
            assert_eq!(other.vcpu.save(), before, "{to}");
        }
    }

    #[test]
    fn registers_by_name() {
        let mut m = Machine::new("max");
        let regs = m.vcpu.regs();
        let index = |name: &str| regs.iter().position(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(regs[index("v3")].1, 128);
        for (name, value) in
            [("x30", 5u128), ("sp", 0x40), ("pc", 0x80), ("v31", 1 << 127), ("ttbr1_el1", 77), ("fpsr", 1)]
        {
            m.vcpu.set_reg(index(name), value);
            assert_eq!(m.vcpu.reg(index(name)), value, "{name}");
        }
        m.vcpu.set_reg(index("cpsr"), 0xa000_0000);
        assert_eq!((m.cpu().pstate.el, m.vcpu.reg(index("cpsr"))), (0, 0xa000_0000));
        assert_eq!(m.vcpu.reg(usize::MAX), 0);
        m.vcpu.set_reg(usize::MAX, 1);
    }

    #[test]
    fn wfi_sleeps_until_an_interrupt_even_a_masked_one() {
        use vm::IrqSink;
        use vm::vcpu::Stop;
        let mut m = Machine::new("max");
        m.write_words(CODE, &[0xd503_207f, 0x9100_0421]);
        assert_eq!(m.vcpu.run(Some(10)).unwrap(), Stop::Idle);
        assert_eq!((m.cpu().pc, m.vcpu.run(Some(10)).unwrap()), (CODE + 4, Stop::Idle));
        m.pins.set_pin(0, true);
        m.vcpu.wait();
        m.step(1);
        assert_eq!(m.cpu().x[1], 1);
        // EL0 may not sleep unless SCTLR_EL1.nTWI lets it.
        let mut m = Machine::new("max");
        m.cpu().set_level(0, false);
        m.cpu().update_mode();
        m.run_words(&[0xd503_207f]);
        assert_eq!(m.cpu().sys.esr_el1, 0x07e0_0000);
    }

    #[test]
    fn address_spaces_share_kernel_code_only_while_their_tables_say_the_same() {
        let mut m = Machine::new("max");
        let (tables, upper) = (RAM + 0x2_0000, 0xffff_ff80_0000_0000u64);
        // Pages 5 and 6 of the upper half: the program, and mov x1, #5; ret. In another frame mov x1, #6; ret.
        m.write_words(RAM + 0x5000, &[0xd280_00a1, 0xd65f_03c0]);
        m.write_words(RAM + 0x6000, &[0xd280_00c1, 0xd65f_03c0]);
        let local = |page: u64| page | 0xc03 | 1 << 2;
        m.write_u64(tables, (tables + 0x1000) | 3);
        m.write_u64(tables + 0x1000, (tables + 0x2000) | 3);
        m.write_u64(tables + 0x2000 + 5 * 8, local(RAM + 0x7000));
        m.write_u64(tables + 0x2000 + 6 * 8, local(RAM + 0x5000));
        // For each of ASIDs 1, 2, 3, 3, 2: msr ttbr0_el1, x<n>; blr x0; mov x<10 + n>, x1; before the fourth
        // tlbi vaae1, x6.
        let call = |asid: u32, to: u32| [0xd518_2000 | asid, 0xd63f_0000, 0xaa01_03e0 | to];
        let program = [call(1, 11), call(2, 12), call(3, 13)].concat();
        let program = [program, vec![0xd508_8766], call(3, 14).into(), call(2, 15).into()].concat();
        m.write_words(RAM + 0x7000, &program);
        let sys = &mut m.cpu().sys;
        sys.tcr_el1 = 25 | 25 << 16 | 2 << 30 | 5 << 32;
        (sys.ttbr1_el1, sys.mair_el1) = (tables, 0xff00);
        sys.sctlr_el1 |= 1;
        let cpu = m.cpu();
        cpu.update_mode();
        cpu.pc = upper | 0x5000;
        (cpu.x[0], cpu.x[6]) = (upper | 0x6000, (upper | 0x6000) << 8 >> 20);
        (cpu.x[1], cpu.x[2], cpu.x[3]) = (1 << 48, 2 << 48, 3 << 48);
        m.step(5);
        // The second space finds the same as the first; the third finds what the tables say by then, without any TLBI.
        m.cpu().x[1] = 0;
        m.step(5);
        m.write_u64(tables + 0x2000 + 6 * 8, local(RAM + 0x6000));
        m.step(5);
        assert_eq!(m.cpu().x[11..14], [5, 5, 6]);
        m.write_u64(tables + 0x2000 + 6 * 8, local(RAM + 0x5000));
        m.step(11);
        assert_eq!(m.cpu().x[14..16], [5, 5]);
    }

    #[test]
    fn sp_el0_is_read_and_written_wherever_it_is() {
        for (spsel, other) in [(true, 0x5555), (false, 0x1234)] {
            let mut m = Machine::new("max");
            m.cpu().set_level(1, false);
            m.cpu().sp = 0x1234;
            m.cpu().set_level(1, spsel);
            m.cpu().update_mode();
            if spsel {
                m.cpu().sp = 0x5555;
            }
            // mrs x1, sp_el0; mov x2, sp; msr sp_el0, x3; mov x4, sp
            m.cpu().x[3] = 0x8888;
            m.run_words(&[0xd538_4101, 0x9100_03e2, 0xd518_4103, 0x9100_03e4]);
            let cpu = m.cpu();
            assert_eq!((cpu.x[1], cpu.x[2], cpu.sp_of(0)), (0x1234, other, 0x8888));
            assert_eq!(cpu.x[4], if spsel { 0x5555 } else { 0x8888 });
        }
    }

    #[test]
    fn code_of_el1_is_not_shared_once_it_belongs_to_an_address_space() {
        let mut m = Machine::new("max");
        let tables = RAM + 0x2_0000;
        // Page 5 differs between ASID 1 and 2: mov x1, #5 or mov x1, #6; ret.
        m.write_words(RAM + 0x5000, &[0xd280_00a1, 0xd65f_03c0]);
        m.write_words(RAM + 0x6000, &[0xd280_00c1, 0xd65f_03c0]);
        for (n, page) in [(0, RAM + 0x5000), (1, RAM + 0x6000)] {
            let table = tables + 0x4000 * n;
            m.write_u64(table + 8, 0x4000_0000 | 0x401 | 1 << 2);
            m.write_u64(table, (table + 0x1000) | 3);
            m.write_u64(table + 0x1000, (table + 0x2000) | 3);
            m.write_u64(table + 0x2000 + 40, page | 0xc03 | 1 << 2);
        }
        let sys = &mut m.cpu().sys;
        (sys.ttbr0_el1, sys.tcr_el1, sys.mair_el1) = (tables | 1 << 48, 25 | 1 << 23 | 5 << 32, 0xff00);
        sys.sctlr_el1 |= 1;
        m.cpu().update_mode();
        m.cpu().x[5] = (tables + 0x4000) | 2 << 48;
        m.cpu().x[0] = 0x5000;
        // blr x0; mov x2, x1; msr ttbr0_el1, x5; blr x0
        m.write_words(CODE, &[0xd63f_0000, 0xaa01_03e2, 0xd518_2005, 0xd63f_0000]);
        m.step(8);
        assert_eq!((m.cpu().x[2], m.cpu().x[1]), (5, 6));
    }
}
