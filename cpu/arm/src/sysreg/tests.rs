use super::*;
use crate::testing::{CODE, Machine, RAM, VECTORS};
use std::sync::{Arc, Mutex};
use vm::sysreg::{SysregBus, SysregId, SysregPort};

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Undefined,
    Trap,
    Fp,
}
use Outcome::*;

/// `MRS x5, reg` or `MSR reg, x5`.
fn word(reg: u16, read: bool) -> u32 {
    0xd500_0000 | u32::from(read) << 21 | u32::from(reg) << 5 | 5
}

fn access(m: &mut Machine, el: u8, reg: u16, read: bool) -> Outcome {
    m.cpu().set_level(el, el != 0);
    m.cpu().update_mode();
    m.cpu().sys.esr_el1 = 0;
    m.run_words(&[word(reg, read)]);
    let esr = m.cpu().sys.esr_el1;
    match esr >> 26 {
        _ if m.cpu().pc == CODE + 4 => Done,
        0 => Undefined,
        0x18 => {
            assert_eq!(esr & 0x1ff_ffff, trap_iss(reg, 5, read));
            Trap
        }
        7 => Fp,
        class => panic!("class {class:#x}"),
    }
}

#[test]
fn encodings_are_unique_and_known_by_name() {
    let mut seen = HashMap::new();
    for register in REGISTERS {
        assert_eq!(seen.insert(register.id, register.name), None, "{}", register.name);
        assert!(register.read.is_some() || register.write.is_some());
    }
    assert_eq!(seen[&0xc080], "sctlr_el1");
    assert_eq!(generic_name(0xc080), "S3_0_C1_C0_0");
}

#[test]
fn every_register_can_be_accessed_at_el1_in_its_directions() {
    for register in REGISTERS {
        for (read, there) in [(true, register.read.is_some()), (false, register.write.is_some())] {
            let mut m = Machine::new("max");
            m.cpu().sys.cpacr_el1 = 3 << 20;
            let expected = if there { Done } else { Undefined };
            // Keep the machine as it is: write what was read.
            m.cpu().x[5] = register.read.map_or(0, |r| r(m.cpu()));
            if register.name == "spsel" {
                m.cpu().x[5] = 1;
            }
            assert_eq!(access(&mut m, 1, register.id, read), expected, "{} read {read}", register.name);
        }
    }
}

#[test]
fn access_from_el0() {
    type Set = fn(&mut Cpu);
    let never: Set = |_| ();
    // Register; what allows it; reads without and with that; writes without and with.
    let rows: &[(&str, Set, [Outcome; 4])] = &[
        ("midr_el1", never, [Undefined; 4]),
        ("sctlr_el1", never, [Undefined; 4]),
        ("sp_el0", never, [Undefined; 4]),
        ("tpidr_el1", never, [Undefined; 4]),
        ("id_aa64pfr0_el1", never, [Undefined; 4]),
        ("oslar_el1", never, [Undefined; 4]),
        ("tpidr_el0", never, [Done; 4]),
        ("tpidrro_el0", never, [Done, Done, Undefined, Undefined]),
        ("dczid_el0", never, [Done, Done, Undefined, Undefined]),
        ("nzcv", never, [Done; 4]),
        ("fpcr", |c| c.sys.cpacr_el1 = 3 << 20, [Fp, Done, Fp, Done]),
        ("fpsr", |c| c.sys.cpacr_el1 = 3 << 20, [Fp, Done, Fp, Done]),
        ("fpsr", |c| c.sys.cpacr_el1 = 1 << 20, [Fp, Fp, Fp, Fp]),
        ("ctr_el0", |c| c.sys.sctlr_el1 |= 1 << 15, [Trap, Done, Undefined, Undefined]),
        ("daif", |c| c.sys.sctlr_el1 |= 1 << 9, [Trap, Done, Trap, Done]),
        ("cntfrq_el0", |c| c.sys.cntkctl_el1 = 1, [Trap, Done, Undefined, Undefined]),
        ("cntfrq_el0", |c| c.sys.cntkctl_el1 = 2, [Trap, Done, Undefined, Undefined]),
        ("cntpct_el0", |c| c.sys.cntkctl_el1 = 1, [Trap, Done, Undefined, Undefined]),
        ("cntvct_el0", |c| c.sys.cntkctl_el1 = 2, [Trap, Done, Undefined, Undefined]),
        ("cntvct_el0", |c| c.sys.cntkctl_el1 = 1, [Trap, Trap, Undefined, Undefined]),
        ("cntv_ctl_el0", |c| c.sys.cntkctl_el1 = 1 << 8, [Trap, Done, Trap, Done]),
        ("cntp_cval_el0", |c| c.sys.cntkctl_el1 = 1 << 9, [Trap, Done, Trap, Done]),
        ("pmcr_el0", |c| c.sys.pmu.user = 1, [Trap, Done, Trap, Done]),
        ("pmccntr_el0", |c| c.sys.pmu.user = 4, [Trap, Done, Trap, Trap]),
        ("pmevcntr2_el0", |c| c.sys.pmu.user = 8, [Trap, Done, Trap, Trap]),
        ("pmuserenr_el0", never, [Done, Done, Trap, Trap]),
        ("mdccsr_el0", |c| c.sys.mdscr_el1 = 0, [Done, Done, Undefined, Undefined]),
    ];
    for (name, allow, outcomes) in rows {
        let reg = REGISTERS.iter().find(|r| r.name == *name).unwrap().id;
        for (n, expected) in outcomes.iter().enumerate() {
            let mut m = Machine::new("max");
            if n & 1 != 0 {
                allow(m.cpu());
            }
            assert_eq!(access(&mut m, 0, reg, n < 2), *expected, "{name} case {n}");
        }
    }
}

#[test]
fn unknown_registers_are_undefined_and_the_identification_space_reads_as_zero() {
    let mut m = Machine::new("max");
    for (reg, read, expected) in [
        (id(3, 0, 0, 4, 4), true, Done), // ID_AA64ZFR0_EL1
        (id(3, 0, 0, 1, 0), true, Done), // ID_PFR0_EL1
        (id(3, 0, 0, 7, 7), true, Done),
        (id(3, 0, 0, 4, 4), false, Undefined),
        (id(3, 0, 15, 0, 0), true, Undefined),
        (id(3, 4, 1, 0, 0), true, Undefined),   // SCTLR_EL2
        (id(3, 6, 1, 0, 0), true, Undefined),   // SCTLR_EL3
        (id(3, 0, 12, 0, 2), false, Undefined), // RMR_EL1
        (id(3, 3, 2, 4, 0), true, Undefined),   // RNDR
        (id(3, 0, 12, 12, 0), true, Undefined), // ICC_IAR1_EL1 without a GICv3
        (id(3, 0, 4, 6, 0), false, Undefined),  // ICC_PMR_EL1
    ] {
        m.cpu().x[5] = 77;
        assert_eq!(access(&mut m, 1, reg, read), expected, "{}", generic_name(reg));
        if expected == Done {
            assert_eq!(m.cpu().x[5], 0);
        }
    }
    let mut m = Machine::new("cortex-a53");
    for reg in [id(3, 0, 4, 2, 3), id(3, 0, 4, 2, 4), id(3, 3, 4, 2, 5), id(3, 0, 2, 1, 0), id(3, 0, 10, 4, 7)] {
        assert_eq!(access(&mut m, 1, reg, true), Undefined, "{} belongs to a later version", generic_name(reg));
    }
}

#[derive(Default)]
struct Port(Mutex<Vec<(u32, SysregId, u64)>>);
impl SysregPort for Port {
    fn read(&self, vcpu: u32, reg: SysregId) -> u64 {
        0x1000 + u64::from(vcpu) + u64::from(reg & 7)
    }
    fn write(&self, vcpu: u32, reg: SysregId, value: u64) {
        self.0.lock().unwrap().push((vcpu, reg, value));
    }
}

#[test]
fn interrupt_controller_registers_come_from_the_bus() {
    let (iar1, eoir1, sre) = (id(3, 0, 12, 12, 0), id(3, 0, 12, 12, 1), id(3, 0, 12, 12, 5));
    let port = Arc::new(Port::default());
    let mut bus = SysregBus::default();
    bus.map(&[iar1.into(), eoir1.into(), sre.into()], port.clone());
    let mut m = Machine::with_sysregs("max", bus);
    assert_eq!((access(&mut m, 1, sre, true), m.cpu().x[5]), (Done, 0x1005));
    assert_eq!(access(&mut m, 1, sre, false), Done);
    assert_eq!(port.0.lock().unwrap().pop(), Some((0, sre.into(), 0x1005)));
    assert_eq!(access(&mut m, 1, iar1, false), Undefined, "read-only");
    assert_eq!(access(&mut m, 1, eoir1, true), Undefined, "write-only");
    assert_eq!(access(&mut m, 1, eoir1, false), Done);
    assert_eq!(access(&mut m, 0, sre, true), Undefined, "EL0");
    // ID_AA64PFR0_EL1.GIC.
    assert_eq!(access(&mut m, 1, id(3, 0, 0, 4, 0), true), Done);
    assert_eq!(m.cpu().x[5] >> 24 & 0xf, 1);
}

#[test]
fn masks_of_reserved_bits() {
    let all = u64::MAX;
    let rows = [
        ("max", "sctlr_el1", 0x0000_1018_ffdf_dfff_u64 & !0x60 | SCTLR_ONES),
        ("cortex-a53", "sctlr_el1", 0x078d_d21f & !(1 << 23) | SCTLR_ONES | 1 << 23),
        ("max", "vbar_el1", !0x7ff),
        ("max", "cpacr_el1", 3 << 20),
        ("max", "esr_el1", 0xffff_ffff),
        ("max", "contextidr_el1", 0xffff_ffff),
        ("max", "fpcr", 0x07c8_0000),
        ("cortex-a53", "fpcr", 0x07c0_0000),
        ("max", "fpsr", 0x0800_009f),
        ("max", "actlr_el1", 0),
        ("max", "cntkctl_el1", 0x3ff),
    ];
    for (model, name, expected) in rows {
        let mut m = Machine::new(model);
        let register = REGISTERS.iter().find(|r| r.name == name).unwrap();
        register.write.unwrap()(m.cpu(), all);
        let got = register.read.unwrap()(m.cpu());
        if name == "sctlr_el1" {
            assert_eq!(got & SCTLR_ONES, SCTLR_ONES);
            let later = 1 << 44 | 3 << 35 | 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13;
            assert_eq!(got & later, if model == "max" { later } else { 0 }, "{model}");
            assert_eq!(got & (1 << 5 | 1 << 6 | 1 << 17 | 1 << 21), 0);
        } else {
            assert_eq!(got, expected, "{model} {name}");
        }
    }
}

const SCTLR_ONES: u64 = rows::SCTLR_RES1;

#[test]
fn immediate_writes_of_pstate() {
    // Instruction, level, effect on (DAIF, PAN, UAO, SPSel, DIT, SSBS), or a trap.
    let state = |m: &mut Machine| {
        let p = m.cpu().pstate;
        (p.daif, p.pan, p.uao, p.spsel, p.dit, p.ssbs)
    };
    let msr = |op1: u32, op2: u32, crm: u32| 0xd500_401f | op1 << 16 | op2 << 5 | crm << 8;
    let rows = [
        (msr(3, 6, 0xf), 1, Some((0xf, false, false, true, false, false))),
        (msr(3, 7, 0x2), 1, Some((0xd, false, false, true, false, false))),
        (msr(0, 4, 1), 1, Some((0xf, true, false, true, false, false))),
        (msr(0, 3, 1), 1, Some((0xf, false, true, true, false, false))),
        (msr(0, 5, 0), 1, Some((0xf, false, false, false, false, false))),
        (msr(3, 2, 1), 0, Some((0xf, false, false, false, true, false))),
        (msr(3, 1, 1), 0, Some((0xf, false, false, false, false, true))),
        (msr(0, 4, 1), 0, None),
        (msr(0, 5, 1), 0, None),
        (msr(0, 6, 1), 1, None),
        (msr(3, 7, 1), 0, None),
    ];
    for (word, el, expected) in rows {
        let mut m = Machine::new("max");
        m.cpu().set_level(el, el != 0);
        m.cpu().update_mode();
        m.run_words(&[word]);
        match expected {
            Some(expected) => assert_eq!(state(&mut m), expected, "{word:#x}"),
            None => assert_eq!(m.cpu().pc, VECTORS + if el == 0 { 0x400 } else { 0x200 }, "{word:#x}"),
        }
    }
}

#[test]
fn address_translation_and_cache_instructions() {
    let mut m = Machine::new("max");
    let tables = RAM + 0x2_0000;
    // Level 1 blocks of 1 GiB: code at its own address for EL1, and 0 read-only for EL0 without access flag at 1 GiB*2.
    m.write_u64(tables + 8, 0x4000_0000 | 0x401 | 1 << 2 | 3 << 8);
    m.write_u64(tables, 0x4000_0000 | 0x401 | 1 << 2 | 3 << 6 | 3 << 8);
    m.write_u64(tables + 16, 0x4000_0000 | 1 | 1 << 2);
    let sys = &mut m.cpu().sys;
    (sys.ttbr0_el1, sys.tcr_el1, sys.mair_el1) = (tables, 25 | 1 << 23 | 5 << 32, 0xff00);
    sys.sctlr_el1 |= 1;
    m.cpu().update_mode();
    let par = |status: u64| 1 << 11 | status << 1 | 1;
    let good = 0xff << 56 | 1 << 11 | 1 << 9 | 3 << 7;
    let at = |crm: u32, op2: u32| 0xd508_7005 | crm << 8 | op2 << 5;
    let rows = [
        (at(8, 0), 0x1234, false, good | 0x4000_1000),
        (at(8, 1), 0x1234, false, par(0x0d)),
        (at(8, 2), 0x1234, false, good | 0x4000_1000),
        (at(8, 3), 0x1234, false, par(0x0d)),
        (at(8, 1), 0x4000_2000, false, good | 0x4000_2000),
        (at(8, 2), 0x4000_2000, false, par(0x0d)),
        (at(8, 0), 0x8000_0000, false, par(0x09)),
        (at(8, 0), 0xc000_0000, false, par(0x05)),
        (at(9, 0), 0x1234, false, good | 0x4000_1000),
        (at(9, 0), 0x1234, true, par(0x0d)),
        (at(8, 0), 0x1234, true, good | 0x4000_1000),
    ];
    for (word, va, pan, expected) in rows {
        m.cpu().pstate.pan = pan;
        m.cpu().x[5] = va;
        m.run_words(&[word]);
        assert_eq!((m.cpu().sys.par_el1, m.cpu().pc), (expected, CODE + 4), "{word:#x} {va:#x}");
    }
    m.cpu().pstate.pan = false;
    // DC CVAC of a hole: CM and WnR.
    m.cpu().x[5] = 0xc000_0000;
    m.run_words(&[0xd50b_7a25]);
    assert_eq!((m.cpu().sys.esr_el1, m.cpu().sys.far_el1), (0x9600_0145, 0xc000_0000));
    // DC IVAC needs the right to write; DC CVAC does not.
    for (word, ok) in [(0xd508_7625, false), (0xd50b_7a25, true)] {
        m.cpu().x[5] = 0x1234;
        m.run_words(&[word]);
        assert_eq!(m.cpu().pc == CODE + 4, ok, "{word:#x}");
    }
}

#[test]
fn zva_clears_its_block() {
    let mut m = Machine::new("max");
    let data = RAM + 0x4000;
    m.bus.write(vm::Gpa(data - 8), &[0xff; 80]).unwrap();
    m.cpu().x[5] = data + 0x2b;
    m.run_words(&[0xd50b_7425]);
    let mut bytes = [0u8; 80];
    m.bus.read(vm::Gpa(data - 8), &mut bytes).unwrap();
    assert!(bytes[..8] == [0xff; 8] && bytes[8..72] == [0; 64] && bytes[72..] == [0xff; 8]);
}

#[test]
fn tlb_maintenance_forgets_translations() {
    // ldr x1, [x0]; str x3, [x2]; the TLB instruction; ldr x1, [x0].
    for (tlbi, forgets) in [
        (0xd508_871f, true),  // vmalle1
        (0xd508_831f, true),  // vmalle1is
        (0xd508_8724, true),  // vae1, x4
        (0xd508_8764, true),  // vaae1, x4
        (0xd508_87a4, true),  // vale1, x4
        (0xd508_8744, true),  // aside1, x4
        (0xd503_201f, false), // nop
    ] {
        let mut m = Machine::new("max");
        let tables = RAM + 0x2_0000;
        m.write_u64(tables + 8, 0x4000_0000 | 0x401 | 1 << 2);
        m.write_u64(tables, (tables + 0x1000) | 3);
        m.write_u64(tables + 0x1000, (tables + 0x2000) | 3);
        // Page 5: not global.
        m.write_u64(tables + 0x2000 + 40, (RAM + 0x5000) | 0xc03 | 1 << 2);
        m.write_u64(RAM + 0x5000, 5);
        m.write_u64(RAM + 0x6000, 6);
        let sys = &mut m.cpu().sys;
        (sys.ttbr0_el1, sys.tcr_el1, sys.mair_el1) = (tables | 7 << 48, 25 | 1 << 23 | 5 << 32, 0xff00);
        sys.sctlr_el1 |= 1;
        m.cpu().update_mode();
        m.cpu().x[..5].copy_from_slice(&[0x5000, 0, tables + 0x2000 + 40, (RAM + 0x6000) | 0xc07, 7 << 48 | 5]);
        m.run_words(&[0xf940_0001, 0xf900_0043, tlbi, 0xf940_0001]);
        assert_eq!(m.cpu().x[1], if forgets { 6 } else { 5 }, "{tlbi:#x}");
    }
}

#[test]
fn performance_counters_count_and_overflow() {
    let mut m = Machine::new("max");
    let by_name = |name: &str| REGISTERS.iter().find(|r| r.name == name).unwrap();
    let write = |m: &mut Machine, name: &str, value: u64| by_name(name).write.unwrap()(m.cpu(), value);
    let read = |m: &mut Machine, name: &str| by_name(name).read.unwrap()(m.cpu());
    assert_eq!(read(&mut m, "pmcr_el0") >> 11 & 0x1f, 4);
    m.clock_to(1000);
    assert_eq!(read(&mut m, "pmccntr_el0"), 0, "off");
    write(&mut m, "pmevtyper1_el0", 0x11);
    write(&mut m, "pmevtyper2_el0", 0);
    write(&mut m, "pmcntenset_el0", 1 << 31 | 6);
    write(&mut m, "pmcr_el0", 0x41);
    m.clock_to(1500);
    assert_eq!((read(&mut m, "pmccntr_el0"), read(&mut m, "pmevcntr1_el0")), (500, 500));
    write(&mut m, "pmswinc_el0", 7);
    assert_eq!((read(&mut m, "pmevcntr0_el0"), read(&mut m, "pmevcntr2_el0")), (0, 1));
    // Overflow raises the line when time comes.
    write(&mut m, "pmintenset_el1", 2);
    write(&mut m, "pmevcntr1_el0", 0xffff_ff9c);
    assert_eq!(m.timers.next_deadline(), Some(vm::VmTime(1600)));
    assert!(!m.output(crate::wiring::OUT_PMU));
    m.clock_to(1600);
    m.fire();
    assert!(m.output(crate::wiring::OUT_PMU));
    assert_eq!(read(&mut m, "pmovsset_el0"), 2);
    write(&mut m, "pmovsclr_el0", 2);
    assert!(!m.output(crate::wiring::OUT_PMU));
    write(&mut m, "pmcr_el0", 0x47);
    assert_eq!((read(&mut m, "pmccntr_el0"), read(&mut m, "pmevcntr1_el0")), (0, 0), "P and C");
}
