//! The system-register CPU interface of a GICv3: ICC_*_EL1. Arm IHI 0069, "AArch64 System register descriptions".
//!
//! With five priority bits only ICC_AP0R0_EL1 and ICC_AP1R0_EL1 of the Active Priorities Registers exist.

use super::lpi::FIRST_LPI;
use super::{Candidate, Gicv3, Group};
use crate::intc::cpu_interface::PRIORITY_BITS;
use crate::intc::intid_block::{BLOCK, FIRST_SPECIAL};
use std::sync::Arc;
use vm::DeviceCell;
use vm::sysreg::{SysregId, SysregPort};

/// The number of the register `S3_0_C<crn>_C<crm>_<op2>` on the system-register bus.
const fn id(crn: u32, crm: u32, op2: u32) -> SysregId {
    3 << 14 | crn << 7 | crm << 3 | op2
}

/// Interrupt Priority Mask Register.
pub const ICC_PMR_EL1: SysregId = id(4, 6, 0);
/// Interrupt Acknowledge Register, Group 0.
pub const ICC_IAR0_EL1: SysregId = id(12, 8, 0);
/// End Of Interrupt Register, Group 0.
pub const ICC_EOIR0_EL1: SysregId = id(12, 8, 1);
/// Highest Priority Pending Interrupt Register, Group 0.
pub const ICC_HPPIR0_EL1: SysregId = id(12, 8, 2);
/// Binary Point Register, Group 0.
pub const ICC_BPR0_EL1: SysregId = id(12, 8, 3);
/// Active Priorities Register, Group 0.
pub const ICC_AP0R0_EL1: SysregId = id(12, 8, 4);
/// Active Priorities Register, Group 1.
pub const ICC_AP1R0_EL1: SysregId = id(12, 9, 0);
/// Deactivate Interrupt Register.
pub const ICC_DIR_EL1: SysregId = id(12, 11, 1);
/// Running Priority Register.
pub const ICC_RPR_EL1: SysregId = id(12, 11, 3);
/// SGI Generation Register, Group 1.
pub const ICC_SGI1R_EL1: SysregId = id(12, 11, 5);
/// Alias SGI Generation Register, Group 1 of the other Security state.
pub const ICC_ASGI1R_EL1: SysregId = id(12, 11, 6);
/// SGI Generation Register, Group 0.
pub const ICC_SGI0R_EL1: SysregId = id(12, 11, 7);
/// Interrupt Acknowledge Register, Group 1.
pub const ICC_IAR1_EL1: SysregId = id(12, 12, 0);
/// End Of Interrupt Register, Group 1.
pub const ICC_EOIR1_EL1: SysregId = id(12, 12, 1);
/// Highest Priority Pending Interrupt Register, Group 1.
pub const ICC_HPPIR1_EL1: SysregId = id(12, 12, 2);
/// Binary Point Register, Group 1.
pub const ICC_BPR1_EL1: SysregId = id(12, 12, 3);
/// Control Register.
pub const ICC_CTLR_EL1: SysregId = id(12, 12, 4);
/// System Register Enable Register.
pub const ICC_SRE_EL1: SysregId = id(12, 12, 5);
/// Interrupt Group Enable Register, Group 0.
pub const ICC_IGRPEN0_EL1: SysregId = id(12, 12, 6);
/// Interrupt Group Enable Register, Group 1.
pub const ICC_IGRPEN1_EL1: SysregId = id(12, 12, 7);

/// Registers that can be read and written.
pub const READ_WRITE: [SysregId; 9] = [
    ICC_PMR_EL1,
    ICC_BPR0_EL1,
    ICC_AP0R0_EL1,
    ICC_AP1R0_EL1,
    ICC_BPR1_EL1,
    ICC_CTLR_EL1,
    ICC_SRE_EL1,
    ICC_IGRPEN0_EL1,
    ICC_IGRPEN1_EL1,
];
/// Registers whose MSR is UNDEFINED.
pub const READ_ONLY: [SysregId; 5] = [ICC_IAR0_EL1, ICC_HPPIR0_EL1, ICC_RPR_EL1, ICC_IAR1_EL1, ICC_HPPIR1_EL1];
/// Registers whose MRS is UNDEFINED.
pub const WRITE_ONLY: [SysregId; 6] =
    [ICC_EOIR0_EL1, ICC_DIR_EL1, ICC_SGI1R_EL1, ICC_ASGI1R_EL1, ICC_SGI0R_EL1, ICC_EOIR1_EL1];

/// All registers, for [`vm::sysreg::SysregBus::map`].
pub fn registers() -> Vec<SysregId> {
    [&READ_WRITE[..], &READ_ONLY, &WRITE_ONLY].concat()
}

/// INTID for "nothing to acknowledge".
const SPURIOUS: u64 = 1023;
// ICC_CTLR_EL1.
const CBPR: u64 = 1 << 0;
const EOI_MODE: u64 = 1 << 1;
/// PRIbits, 16-bit INTIDs, A3V: SGIs may use affinity level 3. PMHE is RAZ/WI: without 1-of-N distribution the
/// distributor needs no hint.
const CTLR_FIXED: u64 = (PRIORITY_BITS as u64 - 1) << 8 | 1 << 15;
/// ICC_SRE_EL1: SRE, and no bypass of FIQ and IRQ; all RAO/WI.
const SRE_FIXED: u64 = 0b111;

impl Gicv3 {
    /// The interrupt that comes next at `cpu`, if it is of `group`.
    fn pending(&self, cpu: usize, group: Group) -> u64 {
        let highest = self.highest.get(cpu).copied().flatten();
        highest.filter(|candidate| candidate.group == group).map_or(SPURIOUS, |candidate| candidate.intid.into())
    }

    fn acknowledge(&mut self, cpu: usize, group: Group) -> u64 {
        let Some(candidate) = self.signalled(cpu).filter(|candidate| candidate.group == group) else {
            return SPURIOUS;
        };
        let Candidate { intid, .. } = candidate;
        if let Some(regs) = self.regs.cpus.get_mut(cpu) {
            regs.interface.activate(candidate);
        }
        if intid >= FIRST_LPI {
            // An LPI is never active: it is pending, or it is not.
            self.clear_lpi(cpu, intid);
        } else if let Some(block) = self.block_mut(cpu, (intid / BLOCK) as usize) {
            block.acknowledge(intid);
        }
        intid.into()
    }

    fn deactivate(&mut self, cpu: usize, value: u64) {
        let intid = value as u32 & 0xff_ffff;
        if intid < FIRST_SPECIAL
            && let Some(block) = self.block_mut(cpu, (intid / BLOCK) as usize)
        {
            block.deactivate(intid);
        }
    }

    /// A write to ICC_EOIR0_EL1 or ICC_EOIR1_EL1. Where it does not match what runs, the effect is unpredictable; here
    /// there is none.
    fn end(&mut self, cpu: usize, value: u64, group: Group) {
        let Some(regs) = self.regs.cpus.get_mut(cpu) else { return };
        let special = u64::from(FIRST_SPECIAL)..u64::from(FIRST_LPI);
        if special.contains(&(value & 0xff_ffff)) || regs.interface.running_group() != Some(group) {
            return;
        }
        regs.interface.drop_priority();
        if !regs.interface.separate_deactivation {
            self.deactivate(cpu, value);
        }
    }

    /// A write to one of the SGI generation registers; all have the layout of ICC_SGI1R_EL1. Range selector and targets
    /// with Aff0 above 15 do not exist (ICC_CTLR_EL1.RSS is 0).
    fn generate_sgi(&mut self, cpu: usize, value: u64, group: Group) {
        let sgi = (value >> 24) as u32 & 0xf;
        if value >> 40 & 1 != 0 {
            (0..self.cpus.len()).filter(|target| *target != cpu).for_each(|target| self.send_sgi(target, sgi, group));
            return;
        }
        let cluster = (value >> 48 & 0xff) << 24 | (value >> 32 & 0xff) << 16 | (value >> 16 & 0xff) << 8;
        for aff0 in super::bits(value as u32 & 0xffff) {
            if let Some(target) = self.by_affinity.get(&(cluster as u32 | aff0)) {
                self.send_sgi(*target, sgi, group);
            }
        }
    }

    fn read_sysreg(&mut self, cpu: usize, reg: SysregId) -> u64 {
        match reg {
            ICC_IAR0_EL1 => return self.acknowledge(cpu, Group::G0),
            ICC_IAR1_EL1 => return self.acknowledge(cpu, Group::G1),
            ICC_HPPIR0_EL1 => return self.pending(cpu, Group::G0),
            ICC_HPPIR1_EL1 => return self.pending(cpu, Group::G1),
            _ => {}
        }
        let Some(interface) = self.regs.cpus.get(cpu).map(|cpu| &cpu.interface) else { return 0 };
        match reg {
            ICC_PMR_EL1 => interface.pmr.into(),
            ICC_BPR0_EL1 => interface.bpr[0].into(),
            // ICC_BPR1_EL1: with CBPR it shows the binary point of Group 0 in its own counting.
            ICC_BPR1_EL1 if interface.common_bpr => u64::from(interface.bpr[0] + 1).min(7),
            ICC_BPR1_EL1 => interface.bpr[1].into(),
            ICC_AP0R0_EL1 => interface.active[0].into(),
            ICC_AP1R0_EL1 => interface.active[1].into(),
            ICC_RPR_EL1 => interface.running_priority().into(),
            ICC_CTLR_EL1 => {
                let cbpr = if interface.common_bpr { CBPR } else { 0 };
                let eoi_mode = if interface.separate_deactivation { EOI_MODE } else { 0 };
                CTLR_FIXED | cbpr | eoi_mode
            }
            ICC_SRE_EL1 => SRE_FIXED,
            ICC_IGRPEN0_EL1 => interface.enabled[0].into(),
            ICC_IGRPEN1_EL1 => interface.enabled[1].into(),
            _ => 0,
        }
    }

    fn write_sysreg(&mut self, cpu: usize, reg: SysregId, value: u64) {
        let Some(interface) = self.regs.cpus.get_mut(cpu).map(|cpu| &mut cpu.interface) else { return };
        match reg {
            ICC_PMR_EL1 => interface.set_pmr(value as u32),
            ICC_BPR0_EL1 => interface.set_bpr(Group::G0, value as u32),
            ICC_BPR1_EL1 if interface.common_bpr => {}
            ICC_BPR1_EL1 => interface.set_bpr(Group::G1, value as u32),
            ICC_AP0R0_EL1 => interface.active[0] = value as u32,
            ICC_AP1R0_EL1 => interface.active[1] = value as u32,
            ICC_CTLR_EL1 => {
                interface.common_bpr = value & CBPR != 0;
                interface.separate_deactivation = value & EOI_MODE != 0;
            }
            ICC_IGRPEN0_EL1 => interface.enabled[0] = value & 1 != 0,
            ICC_IGRPEN1_EL1 => interface.enabled[1] = value & 1 != 0,
            // ICC_DIR_EL1: without EOImode the effect is unpredictable; here there is none.
            ICC_DIR_EL1 if interface.separate_deactivation => self.deactivate(cpu, value),
            ICC_EOIR0_EL1 => self.end(cpu, value, Group::G0),
            ICC_EOIR1_EL1 => self.end(cpu, value, Group::G1),
            ICC_SGI0R_EL1 => self.generate_sgi(cpu, value, Group::G0),
            // With one Security state there is one Group 1.
            ICC_SGI1R_EL1 | ICC_ASGI1R_EL1 => self.generate_sgi(cpu, value, Group::G1),
            _ => {}
        }
    }
}

struct Icc(Arc<DeviceCell<Gicv3>>);

impl SysregPort for Icc {
    fn read(&self, vcpu: u32, reg: SysregId) -> u64 {
        self.0.with(|gic| gic.read_sysreg(vcpu as usize, reg)).unwrap_or(0)
    }
    fn write(&self, vcpu: u32, reg: SysregId, value: u64) {
        let _ = self.0.with(|gic| gic.write_sysreg(vcpu as usize, reg, value));
    }
}

/// The CPU interfaces of `gic` on the system-register bus; map [`registers`] to it.
pub fn port(gic: &Arc<DeviceCell<Gicv3>>) -> Arc<dyn SysregPort> {
    Arc::new(Icc(gic.clone()))
}
