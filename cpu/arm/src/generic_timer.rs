//! The Generic Timer at EL0 and EL1 (Arm ARM DDI 0487, D11 "The Generic Timer in AArch64 state"). The virtual offset is
//! zero, there being no EL2.

use crate::state::Cpu;
use crate::wiring::{OUT_PHYSICAL_TIMER, OUT_VIRTUAL_TIMER};
use serde::{Deserialize, Serialize};
use vm::VmTime;

/// CNTFRQ_EL0: counts per second. The board tells the guest the same by leaving `clock-frequency` out.
pub const FREQUENCY_HZ: u64 = 62_500_000;
const NS_PER_S: u128 = 1_000_000_000;

/// CNTx_CTL_EL0.ENABLE, IMASK, ISTATUS.
const ENABLE: u64 = 1;
const IMASK: u64 = 2;
const ISTATUS: u64 = 4;

/// One timer's registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerRegs {
    /// ENABLE and IMASK.
    pub ctl: u64,
    /// CompareValue.
    pub cval: u64,
}

/// The timers by number: what `cntp` and `cntv` registers belong to.
pub const PHYSICAL: usize = 0;
pub const VIRTUAL: usize = 1;

/// The count at a time.
pub fn count_at(now: VmTime) -> u64 {
    (u128::from(now.0) * u128::from(FREQUENCY_HZ) / NS_PER_S) as u64
}

/// The first time at which the count is `count`; `None` if virtual time ends before.
fn time_of(count: u64) -> Option<VmTime> {
    (u128::from(count) * NS_PER_S).div_ceil(u128::from(FREQUENCY_HZ)).try_into().ok().map(VmTime)
}

impl Cpu {
    /// CNTPCT_EL0 and CNTVCT_EL0.
    pub fn count(&self) -> u64 {
        count_at(self.wires.clock.now())
    }

    /// CNTx_CTL_EL0, with ISTATUS. It is zero while the timer is off.
    pub fn timer_ctl(&self, timer: usize) -> u64 {
        let regs = &self.sys.timers[timer & 1];
        let met = regs.ctl & ENABLE != 0 && self.count() >= regs.cval;
        regs.ctl | if met { ISTATUS } else { 0 }
    }

    /// Writes CNTx_CTL_EL0.
    pub fn set_timer_ctl(&mut self, timer: usize, value: u64) {
        self.sys.timers[timer & 1].ctl = value & (ENABLE | IMASK);
        self.update_timers();
    }

    /// Writes CNTx_CVAL_EL0.
    pub fn set_timer_cval(&mut self, timer: usize, value: u64) {
        self.sys.timers[timer & 1].cval = value;
        self.update_timers();
    }

    /// CNTx_TVAL_EL0: the distance to the CompareValue, 32 bits.
    pub fn timer_tval(&self, timer: usize) -> u64 {
        self.sys.timers[timer & 1].cval.wrapping_sub(self.count()) & 0xffff_ffff
    }

    /// Writes CNTx_TVAL_EL0: a signed distance from now.
    pub fn set_timer_tval(&mut self, timer: usize, value: u64) {
        let cval = self.count().wrapping_add(value as u32 as i32 as u64);
        self.set_timer_cval(timer, cval);
    }

    /// Drives the timers' lines and arms the next look at them.
    pub fn update_timers(&mut self) {
        let mut next: Option<VmTime> = None;
        for (timer, output) in [(PHYSICAL, OUT_PHYSICAL_TIMER), (VIRTUAL, OUT_VIRTUAL_TIMER)] {
            let ctl = self.timer_ctl(timer);
            self.wires.drive(output, ctl & (ISTATUS | IMASK) == ISTATUS);
            if ctl & (ENABLE | IMASK | ISTATUS) == ENABLE {
                let at = time_of(self.sys.timers[timer].cval);
                next = match (next, at) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        if let Some(at) = self.pmu_deadline() {
            next = Some(next.map_or(at, |n| n.min(at)));
        }
        self.wires.deadline.set(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    #[test]
    fn the_count_follows_virtual_time_without_overflow() {
        let rows = [(0, 0), (15, 0), (16, 1), (1_000_000_000, 62_500_000), (u64::MAX, u64::MAX / 16)];
        for (ns, count) in rows {
            assert_eq!(count_at(VmTime(ns)), count, "{ns} ns");
        }
        assert_eq!(time_of(3), Some(VmTime(48)));
        assert_eq!(time_of(u64::MAX), None);
    }

    #[test]
    fn a_timer_drives_its_line_by_its_condition_and_mask() {
        for (timer, output) in [(PHYSICAL, OUT_PHYSICAL_TIMER), (VIRTUAL, OUT_VIRTUAL_TIMER)] {
            let mut m = Machine::new("max");
            m.clock_to(1600);
            m.cpu().set_timer_tval(timer, 100);
            assert_eq!((m.cpu().sys.timers[timer].cval, m.cpu().timer_tval(timer)), (200, 100));
            assert_eq!((m.timers.next_deadline(), m.output(output)), (None, false), "not enabled");
            m.cpu().set_timer_ctl(timer, 1);
            assert_eq!((m.timers.next_deadline(), m.output(output)), (Some(VmTime(3200)), false));
            m.clock_to(3199);
            m.fire();
            assert_eq!((m.cpu().timer_ctl(timer), m.output(output)), (1, false));
            m.clock_to(3200);
            m.fire();
            assert_eq!((m.cpu().timer_ctl(timer), m.output(output)), (5, true));
            m.cpu().set_timer_ctl(timer, 3);
            assert_eq!((m.cpu().timer_ctl(timer), m.output(output)), (7, false), "masked");
            m.cpu().set_timer_ctl(timer, 1);
            assert!(m.output(output));
            m.cpu().set_timer_tval(timer, 0xffff_fff6);
            assert_eq!((m.cpu().sys.timers[timer].cval, m.output(output)), (190, true), "TVAL is signed");
            m.cpu().set_timer_cval(timer, u64::MAX);
            assert_eq!((m.output(output), m.timers.next_deadline()), (false, None), "beyond the end of time");
            m.cpu().set_timer_ctl(timer, 0xf8);
            assert_eq!(m.cpu().timer_ctl(timer), 0, "only ENABLE and IMASK are kept");
        }
    }
}
