//! The rows.

use super::{After, BREAKPOINTS, Grant, Register, User, id};
use crate::features::Feature::{self, *};
use crate::generic_timer::{FREQUENCY_HZ, PHYSICAL, VIRTUAL};
use crate::pmu::{self, PmuRegs};
use crate::state::Cpu;

/// SCTLR_EL1: bits that are one without AArch32, FEAT_ExS, FEAT_CSV2_2 and FEAT_LSMAOC.
pub const SCTLR_RES1: u64 = 1 << 29 | 1 << 28 | 1 << 22 | 1 << 20 | 1 << 11 | 1 << 8 | 1 << 7;
const SCTLR_SPAN: u64 = 1 << 23;

fn bit(features: crate::Features, feature: Feature, bits: u64) -> u64 {
    if features.has(feature) { bits } else { 0 }
}

/// SCTLR_EL1 with bits that do not exist made what they read as.
pub fn sctlr(cpu: &Cpu, value: u64) -> u64 {
    let f = cpu.model.features;
    // M A C SA SA0 nAA6-less; UMA, I, DZE, UCT, nTWI, nTWE, WXN, E0E, EE, UCI.
    let plain = 0x1f | 1 << 9 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 19 | 1 << 24 | 1 << 25 | 1 << 26;
    let mask = plain
        | bit(f, PAN, SCTLR_SPAN)
        | bit(f, PAuth, 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13)
        | bit(f, BTI, 1 << 36 | 1 << 35)
        | bit(f, SSBS, 1 << 44);
    let span = if f.has(PAN) { 0 } else { SCTLR_SPAN };
    value & mask | SCTLR_RES1 | span
}

fn tcr(cpu: &Cpu, value: u64) -> u64 {
    let f = cpu.model.features;
    let mask = 0x67_ffff_ffbf
        | bit(f, ASID16, 1 << 36)
        | bit(f, HPDS, 3 << 41)
        | bit(f, PAuth, 3 << 51)
        | bit(f, E0PD, 3 << 55);
    value & mask
}

fn control(cpu: &Cpu, bit: u32) -> bool {
    cpu.sys.sctlr_el1 >> bit & 1 != 0
}

fn trap_unless(allowed: bool) -> Grant {
    if allowed { Grant::Yes } else { Grant::Trap }
}

const UCT: User = User::If(|cpu, write| if write { Grant::Undefined } else { trap_unless(control(cpu, 15)) });
const UMA: User = User::If(|cpu, _| trap_unless(control(cpu, 9)));
/// CNTFRQ_EL0: EL0PCTEN or EL0VCTEN.
const COUNTER_ANY: User =
    User::If(|cpu, write| if write { Grant::Undefined } else { trap_unless(cpu.sys.cntkctl_el1 & 3 != 0) });
const COUNTER_PHYSICAL: User =
    User::If(|cpu, write| if write { Grant::Undefined } else { trap_unless(cpu.sys.cntkctl_el1 & 1 != 0) });
const COUNTER_VIRTUAL: User =
    User::If(|cpu, write| if write { Grant::Undefined } else { trap_unless(cpu.sys.cntkctl_el1 & 2 != 0) });
/// EL0VTEN, EL0PTEN.
const TIMER_VIRTUAL: User = User::If(|cpu, _| trap_unless(cpu.sys.cntkctl_el1 >> 8 & 1 != 0));
const TIMER_PHYSICAL: User = User::If(|cpu, _| trap_unless(cpu.sys.cntkctl_el1 >> 9 & 1 != 0));
/// PMUSERENR_EL0: EN, or one of SW (writes), CR (reads of the cycle counter), ER (event counters).
const PMU: User = User::If(|cpu, _| trap_unless(cpu.sys.pmu.user & 1 != 0));
const PMU_SW: User = User::If(|cpu, _| trap_unless(cpu.sys.pmu.user & 3 != 0));
const PMU_CR: User = User::If(|cpu, write| trap_unless(cpu.sys.pmu.user & if write { 1 } else { 5 } != 0));
const PMU_ER: User = User::If(|cpu, write| trap_unless(cpu.sys.pmu.user & if write { 1 } else { 9 } != 0));
const PMU_SELECT: User = User::If(|cpu, _| trap_unless(cpu.sys.pmu.user & 9 != 0));

/// A breakpoint or watchpoint register.
macro_rules! break_rows {
    ($name:literal, $field:ident, $op2:literal, $n:literal, $mask:expr) => {
        Register::debug(concat!($name, $n, "_el1"), 0, 0, $n, $op2)
            .rw(|c| c.sys.$field[$n], |c, v| c.sys.$field[$n] = v & $mask)
    };
}
/// Both halves of a pointer authentication key.
macro_rules! key_row {
    ($name:literal, $crm:literal, $op2:literal, $key:literal, $half:literal) => {
        row($name, 0, 2, $crm, $op2)
            .rw(|c| c.sys.pac_keys[$key][$half], |c, v| c.sys.pac_keys[$key][$half] = v)
            .feature(PAuth)
    };
}
/// An event counter and its type.
macro_rules! event_count {
    ($n:literal) => {
        row(concat!("pmevcntr", $n, "_el0"), 3, 14, 8, $n)
            .rw(|c| c.pmu_now().count_of($n), |c, v| c.pmu_write(|p| p.set_count($n, v)))
            .user(PMU_ER)
            .feature(PMUv3)
    };
}
macro_rules! event_type {
    ($n:literal) => {
        row(concat!("pmevtyper", $n, "_el0"), 3, 14, 12, $n)
            .rw(|c| c.sys.pmu.type_of($n), |c, v| c.pmu_write(|p| p.set_type($n, v)))
            .user(PMU)
            .feature(PMUv3)
    };
}

const fn row(name: &'static str, op1: u16, crn: u16, crm: u16, op2: u16) -> Register {
    Register::new(name, op1, crn, crm, op2)
}

const BREAK_MASK: u64 = !3;
const BREAK_CONTROL: u64 = 0x00ff_e1e7;
const WATCH_CONTROL: u64 = 0x1f1f_ffff;
const _: () = assert!(BREAKPOINTS == 2 && pmu::COUNTERS == 4);

/// All registers but those of the interrupt controller.
pub static REGISTERS: &[Register] = &[
    // Identification.
    row("midr_el1", 0, 0, 0, 0).ro(|c| c.model.midr),
    row("mpidr_el1", 0, 0, 0, 5).ro(|c| 1 << 31 | u64::from((c.wires.id / 8) & 0xff) << 8 | u64::from(c.wires.id % 8)),
    row("revidr_el1", 0, 0, 0, 6).ro(|_| 0),
    row("id_aa64pfr0_el1", 0, 0, 4, 0)
        .ro(|c| c.model.id_aa64pfr0(c.wires.sysregs.find(id(3, 0, 12, 12, 5).into()).is_some())),
    row("id_aa64pfr1_el1", 0, 0, 4, 1).ro(|c| c.model.id_aa64pfr1()),
    row("id_aa64dfr0_el1", 0, 0, 5, 0).ro(|c| c.model.id_aa64dfr0()),
    row("id_aa64isar0_el1", 0, 0, 6, 0).ro(|c| c.model.id_aa64isar0()),
    row("id_aa64isar1_el1", 0, 0, 6, 1).ro(|c| c.model.id_aa64isar1()),
    row("id_aa64mmfr0_el1", 0, 0, 7, 0).ro(|c| c.model.id_aa64mmfr0()),
    row("id_aa64mmfr1_el1", 0, 0, 7, 1).ro(|c| c.model.id_aa64mmfr1()),
    row("id_aa64mmfr2_el1", 0, 0, 7, 2).ro(|c| c.model.id_aa64mmfr2()),
    row("ccsidr_el1", 1, 0, 0, 0).ro(|c| c.model.ccsidr(c.sys.csselr_el1)),
    row("clidr_el1", 1, 0, 0, 1).ro(|c| c.model.clidr()),
    row("aidr_el1", 1, 0, 0, 7).ro(|_| 0),
    row("csselr_el1", 2, 0, 0, 0).rw(|c| c.sys.csselr_el1, |c, v| c.sys.csselr_el1 = v & 0xf),
    row("ctr_el0", 3, 0, 0, 1).ro(|c| c.model.ctr_el0()).user(UCT),
    // DC ZVA clears 64 bytes; DZP where it is trapped.
    row("dczid_el0", 3, 0, 0, 7).ro(|c| 4 | u64::from(c.pstate.el == 0 && !control(c, 14)) << 4).user(User::Read),
    // Control.
    row("sctlr_el1", 0, 1, 0, 0).rw(|c| c.sys.sctlr_el1, |c, v| c.sys.sctlr_el1 = sctlr(c, v)).after(After::Flush),
    row("actlr_el1", 0, 1, 0, 1).raz(),
    row("cpacr_el1", 0, 1, 0, 2).rw(|c| c.sys.cpacr_el1, |c, v| c.sys.cpacr_el1 = v & 3 << 20).after(After::Resync),
    row("ttbr0_el1", 0, 2, 0, 0).rw(|c| c.sys.ttbr0_el1, |c, v| c.sys.ttbr0_el1 = v).after(After::Asid),
    row("ttbr1_el1", 0, 2, 0, 1).rw(|c| c.sys.ttbr1_el1, |c, v| c.sys.ttbr1_el1 = v).after(After::Asid),
    row("tcr_el1", 0, 2, 0, 2).rw(|c| c.sys.tcr_el1, |c, v| c.sys.tcr_el1 = tcr(c, v)).after(After::Flush),
    key_row!("apiakeylo_el1", 1, 0, 0, 0),
    key_row!("apiakeyhi_el1", 1, 1, 0, 1),
    key_row!("apibkeylo_el1", 1, 2, 1, 0),
    key_row!("apibkeyhi_el1", 1, 3, 1, 1),
    key_row!("apdakeylo_el1", 2, 0, 2, 0),
    key_row!("apdakeyhi_el1", 2, 1, 2, 1),
    key_row!("apdbkeylo_el1", 2, 2, 3, 0),
    key_row!("apdbkeyhi_el1", 2, 3, 3, 1),
    key_row!("apgakeylo_el1", 3, 0, 4, 0),
    key_row!("apgakeyhi_el1", 3, 1, 4, 1),
    // PSTATE and the state of exceptions.
    row("spsr_el1", 0, 4, 0, 0).rw(|c| c.spsr[1], |c, v| c.spsr[1] = v & 0xffff_ffff),
    row("elr_el1", 0, 4, 0, 1).rw(|c| c.elr[1], |c, v| c.elr[1] = v),
    row("sp_el0", 0, 4, 1, 0).rw(|c| c.sp_of(0), |c, v| c.set_sp_of(0, v)),
    row("spsel", 0, 4, 2, 0)
        .rw(|c| c.pstate.spsel.into(), |c, v| c.set_level(c.pstate.el, v & 1 != 0))
        .after(After::Resync),
    row("currentel", 0, 4, 2, 2).ro(|c| u64::from(c.pstate.el) << 2),
    row("pan", 0, 4, 2, 3)
        .rw(|c| u64::from(c.pstate.pan) << 22, |c, v| c.pstate.pan = v >> 22 & 1 != 0)
        .feature(PAN)
        .after(After::Resync),
    row("uao", 0, 4, 2, 4)
        .rw(|c| u64::from(c.pstate.uao) << 23, |c, v| c.pstate.uao = v >> 23 & 1 != 0)
        .feature(UAO)
        .after(After::Resync),
    row("nzcv", 3, 4, 2, 0).rw(|c| c.nzcv(), |c, v| c.set_nzcv(v)).user(User::All),
    row("daif", 3, 4, 2, 1)
        .rw(|c| u64::from(c.pstate.daif) << 6, |c, v| c.pstate.daif = (v >> 6 & 0xf) as u8)
        .user(UMA)
        .after(After::Resync),
    row("dit", 3, 4, 2, 5)
        .rw(|c| u64::from(c.pstate.dit) << 24, |c, v| c.pstate.dit = v >> 24 & 1 != 0)
        .user(User::All)
        .feature(DIT),
    row("ssbs", 3, 4, 2, 6)
        .rw(|c| u64::from(c.pstate.ssbs) << 12, |c, v| c.pstate.ssbs = v >> 12 & 1 != 0)
        .user(User::All)
        .feature(SSBS),
    // AHP, DN, FZ, RMode and FZ16; traps of floating-point exceptions do not exist.
    row("fpcr", 3, 4, 4, 0)
        .rw(|c| c.fpcr, |c, v| c.fpcr = v & (0x07c0_0000 | bit(c.model.features, FP16, 1 << 19)))
        .user(User::Fp)
        .after(After::Resync),
    // A write leaves compiled code: an operation before it must not stand for an equal one behind it.
    row("fpsr", 3, 4, 4, 1).rw(|c| c.fpsr, |c, v| c.fpsr = v & 0x0800_009f).user(User::Fp).after(After::Resync),
    row("afsr0_el1", 0, 5, 1, 0).raz(),
    row("afsr1_el1", 0, 5, 1, 1).raz(),
    row("esr_el1", 0, 5, 2, 0).rw(|c| c.sys.esr_el1, |c, v| c.sys.esr_el1 = v & 0xffff_ffff),
    // No error records.
    row("erridr_el1", 0, 5, 3, 0).ro(|_| 0).feature(RAS),
    row("errselr_el1", 0, 5, 3, 1).raz().feature(RAS),
    row("far_el1", 0, 6, 0, 0).rw(|c| c.sys.far_el1, |c, v| c.sys.far_el1 = v),
    row("par_el1", 0, 7, 4, 0).rw(|c| c.sys.par_el1, |c, v| c.sys.par_el1 = v),
    row("mair_el1", 0, 10, 2, 0).rw(|c| c.sys.mair_el1, |c, v| c.sys.mair_el1 = v).after(After::Flush),
    row("amair_el1", 0, 10, 3, 0).raz(),
    row("lorsa_el1", 0, 10, 4, 0).rw(|c| c.sys.lor[0], |c, v| c.sys.lor[0] = v & 0xffff_ffff_0001).feature(LOR),
    row("lorea_el1", 0, 10, 4, 1).rw(|c| c.sys.lor[1], |c, v| c.sys.lor[1] = v & 0xffff_ffff_0000).feature(LOR),
    row("lorn_el1", 0, 10, 4, 2).rw(|c| c.sys.lor[2], |c, v| c.sys.lor[2] = v & 0xff).feature(LOR),
    row("lorc_el1", 0, 10, 4, 3).rw(|c| c.sys.lor[3], |c, v| c.sys.lor[3] = v & 0x3fd).feature(LOR),
    // No LORegions: LORID_EL1.LR is zero.
    row("lorid_el1", 0, 10, 4, 7).ro(|_| 0).feature(LOR),
    row("vbar_el1", 0, 12, 0, 0).rw(|c| c.sys.vbar_el1, |c, v| c.sys.vbar_el1 = v & !0x7ff),
    row("rvbar_el1", 0, 12, 0, 1).ro(|_| 0),
    row("isr_el1", 0, 12, 1, 0).ro(|c| {
        let pins = c.wires.pins.levels();
        u64::from(pins & 1) << 7 | u64::from(pins >> 1 & 1) << 6
    }),
    row("disr_el1", 0, 12, 1, 1).rw(|c| c.sys.disr_el1, |c, v| c.sys.disr_el1 = v & 0x81ff_ffff).feature(RAS),
    row("contextidr_el1", 0, 13, 0, 1).rw(|c| c.sys.contextidr_el1, |c, v| c.sys.contextidr_el1 = v & 0xffff_ffff),
    row("tpidr_el1", 0, 13, 0, 4).rw(|c| c.tpidr_el1, |c, v| c.tpidr_el1 = v),
    row("tpidr_el0", 3, 13, 0, 2).rw(|c| c.tpidr_el0, |c, v| c.tpidr_el0 = v).user(User::All),
    row("tpidrro_el0", 3, 13, 0, 3).rw(|c| c.tpidrro_el0, |c, v| c.tpidrro_el0 = v).user(User::Read),
    // Generic timer.
    row("cntkctl_el1", 0, 14, 1, 0).rw(|c| c.sys.cntkctl_el1, |c, v| c.sys.cntkctl_el1 = v & 0x3ff),
    row("cntfrq_el0", 3, 14, 0, 0).ro(|_| FREQUENCY_HZ).user(COUNTER_ANY),
    row("cntpct_el0", 3, 14, 0, 1).ro(|c| c.count()).user(COUNTER_PHYSICAL),
    row("cntvct_el0", 3, 14, 0, 2).ro(|c| c.count()).user(COUNTER_VIRTUAL),
    row("cntp_tval_el0", 3, 14, 2, 0)
        .rw(|c| c.timer_tval(PHYSICAL), |c, v| c.set_timer_tval(PHYSICAL, v))
        .user(TIMER_PHYSICAL)
        .after(After::Resync),
    row("cntp_ctl_el0", 3, 14, 2, 1)
        .rw(|c| c.timer_ctl(PHYSICAL), |c, v| c.set_timer_ctl(PHYSICAL, v))
        .user(TIMER_PHYSICAL)
        .after(After::Resync),
    row("cntp_cval_el0", 3, 14, 2, 2)
        .rw(|c| c.sys.timers[PHYSICAL].cval, |c, v| c.set_timer_cval(PHYSICAL, v))
        .user(TIMER_PHYSICAL)
        .after(After::Resync),
    row("cntv_tval_el0", 3, 14, 3, 0)
        .rw(|c| c.timer_tval(VIRTUAL), |c, v| c.set_timer_tval(VIRTUAL, v))
        .user(TIMER_VIRTUAL)
        .after(After::Resync),
    row("cntv_ctl_el0", 3, 14, 3, 1)
        .rw(|c| c.timer_ctl(VIRTUAL), |c, v| c.set_timer_ctl(VIRTUAL, v))
        .user(TIMER_VIRTUAL)
        .after(After::Resync),
    row("cntv_cval_el0", 3, 14, 3, 2)
        .rw(|c| c.sys.timers[VIRTUAL].cval, |c, v| c.set_timer_cval(VIRTUAL, v))
        .user(TIMER_VIRTUAL)
        .after(After::Resync),
    // Performance monitors.
    row("pmcr_el0", 3, 9, 12, 0)
        .rw(|c| c.sys.pmu.pmcr(), |c, v| c.pmu_write(|p| p.set_pmcr(v)))
        .user(PMU)
        .feature(PMUv3)
        .after(After::Resync),
    row("pmcntenset_el0", 3, 9, 12, 1)
        .rw(|c| c.sys.pmu.enabled, |c, v| c.pmu_write(|p| p.enabled |= PmuRegs::mask(v)))
        .user(PMU)
        .feature(PMUv3),
    row("pmcntenclr_el0", 3, 9, 12, 2)
        .rw(|c| c.sys.pmu.enabled, |c, v| c.pmu_write(|p| p.enabled &= !v))
        .user(PMU)
        .feature(PMUv3),
    row("pmovsclr_el0", 3, 9, 12, 3)
        .rw(|c| c.pmu_now().overflow, |c, v| c.pmu_write(|p| p.overflow &= !v))
        .user(PMU)
        .feature(PMUv3)
        .after(After::Resync),
    row("pmswinc_el0", 3, 9, 12, 4)
        .wo(|c, v| c.pmu_write(|p| p.increment(v)))
        .user(PMU_SW)
        .feature(PMUv3)
        .after(After::Resync),
    row("pmselr_el0", 3, 9, 12, 5)
        .rw(|c| c.sys.pmu.select, |c, v| c.sys.pmu.select = v & 0x1f)
        .user(PMU_SELECT)
        .feature(PMUv3),
    row("pmceid0_el0", 3, 9, 12, 6).ro(|_| pmu::EVENTS).user(PMU).feature(PMUv3),
    row("pmceid1_el0", 3, 9, 12, 7).ro(|_| 0).user(PMU).feature(PMUv3),
    row("pmccntr_el0", 3, 9, 13, 0)
        .rw(|c| c.pmu_now().cycles, |c, v| c.pmu_write(|p| p.cycles = v))
        .user(PMU_CR)
        .feature(PMUv3),
    row("pmxevtyper_el0", 3, 9, 13, 1)
        .rw(|c| c.sys.pmu.type_of(c.sys.pmu.select as usize), |c, v| c.pmu_write(|p| p.set_type(p.select as usize, v)))
        .user(PMU)
        .feature(PMUv3),
    row("pmxevcntr_el0", 3, 9, 13, 2)
        .rw(
            |c| c.pmu_now().count_of(c.sys.pmu.select as usize),
            |c, v| c.pmu_write(|p| p.set_count(p.select as usize, v)),
        )
        .user(PMU_ER)
        .feature(PMUv3),
    row("pmuserenr_el0", 3, 9, 14, 0)
        .rw(|c| c.sys.pmu.user, |c, v| c.sys.pmu.user = v & 0xf)
        .user(User::If(|_, write| trap_unless(!write)))
        .feature(PMUv3),
    row("pmintenset_el1", 0, 9, 14, 1)
        .rw(|c| c.sys.pmu.interrupts, |c, v| c.pmu_write(|p| p.interrupts |= PmuRegs::mask(v)))
        .feature(PMUv3)
        .after(After::Resync),
    row("pmintenclr_el1", 0, 9, 14, 2)
        .rw(|c| c.sys.pmu.interrupts, |c, v| c.pmu_write(|p| p.interrupts &= !v))
        .feature(PMUv3)
        .after(After::Resync),
    row("pmovsset_el0", 3, 9, 14, 3)
        .rw(|c| c.pmu_now().overflow, |c, v| c.pmu_write(|p| p.overflow |= PmuRegs::mask(v)))
        .user(PMU)
        .feature(PMUv3)
        .after(After::Resync),
    event_count!(0),
    event_count!(1),
    event_count!(2),
    event_count!(3),
    event_type!(0),
    event_type!(1),
    event_type!(2),
    event_type!(3),
    row("pmccfiltr_el0", 3, 14, 15, 7)
        .rw(|c| c.sys.pmu.cycle_filter, |c, v| c.pmu_write(|p| p.set_type(31, v)))
        .user(PMU)
        .feature(PMUv3),
    // Debug. Deviation: breakpoints and watchpoints keep their values but never match.
    Register::debug("osdtrrx_el1", 0, 0, 0, 2).rw(|c| c.sys.osdtr[0], |c, v| c.sys.osdtr[0] = v & 0xffff_ffff),
    Register::debug("mdccint_el1", 0, 0, 2, 0).rw(|c| c.sys.mdccint_el1, |c, v| c.sys.mdccint_el1 = v & 0x6000_0000),
    // SS, TDCC, KDE, MDE; the rest serves an external debugger.
    Register::debug("mdscr_el1", 0, 0, 2, 2)
        .rw(|c| c.sys.mdscr_el1, |c, v| c.sys.mdscr_el1 = v & 0xb001)
        .after(After::Resync),
    Register::debug("osdtrtx_el1", 0, 0, 3, 2).rw(|c| c.sys.osdtr[1], |c, v| c.sys.osdtr[1] = v & 0xffff_ffff),
    Register::debug("oseccr_el1", 0, 0, 6, 2).rw(|c| c.sys.oseccr_el1, |c, v| c.sys.oseccr_el1 = v & 0xffff_ffff),
    break_rows!("dbgbvr", dbgbvr, 4, 0, BREAK_MASK),
    break_rows!("dbgbvr", dbgbvr, 4, 1, BREAK_MASK),
    break_rows!("dbgbcr", dbgbcr, 5, 0, BREAK_CONTROL),
    break_rows!("dbgbcr", dbgbcr, 5, 1, BREAK_CONTROL),
    break_rows!("dbgwvr", dbgwvr, 6, 0, BREAK_MASK),
    break_rows!("dbgwvr", dbgwvr, 6, 1, BREAK_MASK),
    break_rows!("dbgwcr", dbgwcr, 7, 0, WATCH_CONTROL),
    break_rows!("dbgwcr", dbgwcr, 7, 1, WATCH_CONTROL),
    Register::debug("mdccsr_el0", 3, 0, 1, 0).ro(|_| 0).user(DEBUG_COMMS),
    Register::debug("dbgdtr_el0", 3, 0, 4, 0).raz().user(DEBUG_COMMS),
    Register::debug("dbgdtrrx_el0", 3, 0, 5, 0).raz().user(DEBUG_COMMS),
    Register::debug("mdrar_el1", 0, 1, 0, 0).ro(|_| 0),
    Register::debug("oslar_el1", 0, 1, 0, 4)
        .wo(|c, v| c.sys.oslsr_el1 = c.sys.oslsr_el1 & !2 | (v & 1) << 1)
        .after(After::Resync),
    // OSLM says that the lock is implemented.
    Register::debug("oslsr_el1", 0, 1, 1, 4).ro(|c| c.sys.oslsr_el1),
    Register::debug("osdlr_el1", 0, 1, 3, 4).rw(|c| c.sys.osdlr_el1, |c, v| c.sys.osdlr_el1 = v & 1),
    Register::debug("dbgprcr_el1", 0, 1, 4, 4).raz(),
    // Reads of the set register say which tags exist, those of the clear register which are set.
    Register::debug("dbgclaimset_el1", 0, 7, 8, 6).rw(|_| 0xff, |c, v| c.sys.dbgclaim |= v & 0xff),
    Register::debug("dbgclaimclr_el1", 0, 7, 9, 6).rw(|c| c.sys.dbgclaim, |c, v| c.sys.dbgclaim &= !v),
    Register::debug("dbgauthstatus_el1", 0, 7, 14, 6).ro(|_| 0),
];

/// MDSCR_EL1.TDCC traps the communications channel from EL0.
const DEBUG_COMMS: User = User::If(|cpu, _| trap_unless(cpu.sys.mdscr_el1 >> 12 & 1 == 0));
