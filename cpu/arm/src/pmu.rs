//! The Performance Monitors Extension, PMUv3 (Arm ARM DDI 0487, D13 "The Performance Monitors Extension").
//!
//! Deviation: the cycle counter runs at 1 GHz of virtual time, and an event counter that counts cycles or instructions
//! counts the same; no other event counts but software increments.

use crate::state::Cpu;
use crate::wiring;
use serde::{Deserialize, Serialize};
use vm::VmTime;

/// Event counters.
pub const COUNTERS: usize = 4;
/// Position of the cycle counter in the bit masks.
const CYCLES: usize = 31;
/// Bits of all counters.
const ALL: u64 = 1 << CYCLES | ((1 << COUNTERS) - 1);

/// Events.
const SW_INCR: u64 = 0x00;
const INST_RETIRED: u64 = 0x08;
const CPU_CYCLES: u64 = 0x11;
/// PMCEID0_EL0: the events above.
pub const EVENTS: u64 = 1 << SW_INCR | 1 << INST_RETIRED | 1 << CPU_CYCLES;

/// PMCR_EL0 bits.
const E: u64 = 1 << 0;
const P: u64 = 1 << 1;
const C: u64 = 1 << 2;
const D: u64 = 1 << 3;
const LC: u64 = 1 << 6;

/// Registers of the performance monitors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmuRegs {
    /// PMCR_EL0's writable bits.
    pub pmcr: u64,
    /// PMCNTENSET_EL0.
    pub enabled: u64,
    /// PMINTENSET_EL1.
    pub interrupts: u64,
    /// PMOVSSET_EL0.
    pub overflow: u64,
    /// PMSELR_EL0.
    pub select: u64,
    /// PMUSERENR_EL0.
    pub user: u64,
    /// PMCCFILTR_EL0.
    pub cycle_filter: u64,
    /// PMEVTYPERn_EL0.
    pub types: [u64; COUNTERS],
    /// PMEVCNTRn_EL0 as of `counted_ns`.
    pub counts: [u64; COUNTERS],
    /// PMCCNTR_EL0 as of `counted_ns`.
    pub cycles: u64,
    /// Virtual time up to which the counters have counted.
    pub counted_ns: u64,
}

impl PmuRegs {
    /// PMCR_EL0: with the number of counters.
    pub fn pmcr(&self) -> u64 {
        self.pmcr & (E | D | LC | 0x30) | (COUNTERS as u64) << 11
    }

    fn counts_time(&self, counter: usize) -> bool {
        let event = self.types.get(counter).map_or(0, |t| t & 0x3ff);
        self.pmcr & E != 0 && self.enabled >> counter & 1 != 0 && matches!(event, INST_RETIRED | CPU_CYCLES)
    }

    fn cycles_run(&self) -> bool {
        self.pmcr & E != 0 && self.enabled >> CYCLES & 1 != 0
    }

    /// Bits of the cycle counter that overflow: 64 with PMCR_EL0.LC, else 32.
    fn cycles_wide(&self) -> bool {
        self.pmcr & LC != 0
    }

    /// Whether the cycle counter counts every 64th cycle only (PMCR_EL0.D, which LC overrides).
    fn divided(&self) -> bool {
        self.pmcr & (D | LC) == D
    }

    /// Lets the counters count up to `now`.
    pub fn count_to(&mut self, now: VmTime) {
        let passed = now.0.saturating_sub(self.counted_ns);
        self.counted_ns = now.0;
        if passed == 0 {
            return;
        }
        for n in 0..COUNTERS {
            if self.counts_time(n) {
                let sum = u128::from(self.counts[n]) + u128::from(passed);
                self.counts[n] = sum as u64 & 0xffff_ffff;
                self.overflow |= u64::from(sum >> 32 != 0) << n;
            }
        }
        if self.cycles_run() {
            // With the divider the counter counts every 64th cycle.
            let passed = if self.divided() { now.0 / 64 - (now.0 - passed) / 64 } else { passed };
            let sum = u128::from(self.cycles) + u128::from(passed);
            let wrapped = if self.cycles_wide() { sum >> 64 != 0 } else { (sum >> 32) as u64 != self.cycles >> 32 };
            self.cycles = sum as u64;
            self.overflow |= u64::from(wrapped) << CYCLES;
        }
    }

    /// Nanoseconds until a counter whose interrupt is enabled overflows.
    fn until_overflow(&self) -> Option<u64> {
        let waited = |n: usize| self.interrupts >> n & 1 != 0 && self.overflow >> n & 1 == 0;
        let events = (0..COUNTERS).filter(|n| waited(*n) && self.counts_time(*n));
        let mut next = events.map(|n| (1 << 32) - self.counts[n]).min();
        if waited(CYCLES) && self.cycles_run() {
            let left = match self.cycles_wide() {
                true => u64::MAX - self.cycles,
                false => 0xffff_ffff - (self.cycles & 0xffff_ffff),
            };
            let left = left.saturating_add(1).saturating_mul(if self.divided() { 64 } else { 1 });
            next = Some(next.map_or(left, |n| n.min(left)));
        }
        next
    }
}

impl Cpu {
    /// Changes registers of the performance monitors: counts first, drives the interrupt afterwards.
    pub fn pmu_write(&mut self, change: impl FnOnce(&mut PmuRegs)) {
        let now = self.wires.clock.now();
        let pmu = &mut self.sys.pmu;
        pmu.count_to(now);
        change(pmu);
        self.update_pmu();
        self.update_timers();
    }

    /// The registers with counters as of now.
    pub fn pmu_now(&self) -> PmuRegs {
        let mut pmu = self.sys.pmu.clone();
        pmu.count_to(self.wires.clock.now());
        pmu
    }

    /// Counts and drives the interrupt.
    pub fn update_pmu(&mut self) {
        let now = self.wires.clock.now();
        self.sys.pmu.count_to(now);
        let pmu = &self.sys.pmu;
        self.wires.drive(wiring::OUT_PMU, pmu.pmcr & E != 0 && pmu.overflow & pmu.interrupts & ALL != 0);
    }

    /// When a counter overflows next.
    pub fn pmu_deadline(&self) -> Option<VmTime> {
        let pmu = &self.sys.pmu;
        if pmu.interrupts == 0 || pmu.pmcr & E == 0 {
            return None;
        }
        pmu.until_overflow().map(|left| VmTime(pmu.counted_ns.saturating_add(left)))
    }
}

/// Writes to the registers.
impl PmuRegs {
    /// PMCR_EL0: P and C reset counters.
    pub fn set_pmcr(&mut self, value: u64) {
        if value & P != 0 {
            self.counts = [0; COUNTERS];
        }
        if value & C != 0 {
            self.cycles = 0;
        }
        self.pmcr = value & (E | D | LC | 0x30);
    }
    /// PMSWINC_EL0.
    pub fn increment(&mut self, value: u64) {
        for n in 0..COUNTERS {
            if value >> n & 1 != 0
                && self.pmcr & E != 0
                && self.enabled >> n & 1 != 0
                && self.types[n] & 0x3ff == SW_INCR
            {
                self.counts[n] = (self.counts[n] + 1) & 0xffff_ffff;
                self.overflow |= u64::from(self.counts[n] == 0) << n;
            }
        }
    }
    /// A mask of counters as written to a set or clear register.
    pub fn mask(value: u64) -> u64 {
        value & ALL
    }
    /// PMEVCNTRn_EL0; zero for a counter that is not there.
    pub fn count_of(&self, n: usize) -> u64 {
        self.counts.get(n).copied().unwrap_or(0)
    }
    /// Sets PMEVCNTRn_EL0.
    pub fn set_count(&mut self, n: usize, value: u64) {
        if let Some(count) = self.counts.get_mut(n) {
            *count = value & 0xffff_ffff;
        }
    }
    /// PMEVTYPERn_EL0, 31 being PMCCFILTR_EL0.
    pub fn type_of(&self, n: usize) -> u64 {
        if n == CYCLES { self.cycle_filter } else { self.types.get(n).copied().unwrap_or(0) }
    }
    /// Sets PMEVTYPERn_EL0.
    pub fn set_type(&mut self, n: usize, value: u64) {
        if n == CYCLES {
            self.cycle_filter = value & 0xfc00_0000;
        } else if let Some(t) = self.types.get_mut(n) {
            *t = value & 0xfc00_03ff;
        }
    }
}
