//! Priorities at one processor: mask, binary points, running priority and preemption. IHI 0048B 3.3 "Interrupt
//! prioritization" and 3.5 "The effect of interrupt grouping on interrupt prioritization"; IHI 0069 "Interrupt
//! prioritization".
//!
//! Five of the eight priority bits are implemented (32 levels), as in the GIC-400 and in the CPU interfaces of the
//! Cortex-A53, A57 and A72. So one 32-bit Active Priorities Register per group holds all preemption levels.

use serde::{Deserialize, Serialize};

/// The bits of a priority that exist; the others read as zero.
pub const IMPLEMENTED_PRIORITY: u8 = 0xf8;
/// Bits of a priority that exist.
pub const PRIORITY_BITS: u32 = 5;
/// Least significant priority bit that exists.
const LOWEST_BIT: u32 = 8 - PRIORITY_BITS;
/// Smallest binary point of Group 0 and of Group 1; that of Group 1 counts from one bit lower.
pub const MIN_BINARY_POINT: [u8; 2] = [LOWEST_BIT as u8 - 1, LOWEST_BIT as u8];
/// What the Running Priority Register reads with no active interrupt.
pub const IDLE_PRIORITY: u8 = 0xff;

/// An interrupt group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Group 0.
    G0 = 0,
    /// Group 1.
    G1 = 1,
}

/// An interrupt that waits for a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub intid: u32,
    /// Its priority.
    pub priority: u8,
    /// Its group.
    pub group: Group,
}

impl Candidate {
    /// Puts this one in `best` if it comes before what is there. Of equal priorities the one offered first stays.
    pub fn offer_to(self, best: &mut Option<Candidate>) {
        if best.is_none_or(|best| self.priority < best.priority) {
            *best = Some(self);
        }
    }
}

/// The part of a CPU interface that decides about priorities. Arrays are indexed by group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuInterface {
    /// Groups that are signalled to the processor.
    pub enabled: [bool; 2],
    /// Only interrupts of higher priority (a smaller number) are signalled.
    pub pmr: u8,
    /// Binary points (BPR, and ABPR or BPR1).
    pub bpr: [u8; 2],
    /// The binary point of Group 0 counts for both groups (CBPR).
    pub common_bpr: bool,
    /// Active Priorities Registers: bit `p >> 3` is set while group priority `p` is active.
    pub active: [u32; 2],
    /// An EOI only drops the priority; DIR deactivates (EOImode).
    pub separate_deactivation: bool,
}

impl Default for CpuInterface {
    fn default() -> Self {
        Self {
            enabled: [false; 2],
            pmr: 0,
            bpr: MIN_BINARY_POINT,
            common_bpr: false,
            active: [0; 2],
            separate_deactivation: false,
        }
    }
}

impl CpuInterface {
    /// The bits of a priority that decide about preemption in `group`. A binary point of `n` leaves bits `[7:n+1]` to
    /// Group 0 and `[7:n]` to Group 1.
    pub fn preemption_mask(&self, group: Group) -> u8 {
        let shift = match group {
            Group::G1 if !self.common_bpr => u32::from(self.bpr[1] & 7),
            _ => u32::from(self.bpr[0] & 7) + 1,
        };
        (0xff_u32 << shift) as u8 & IMPLEMENTED_PRIORITY
    }

    /// Writes the priority mask.
    pub fn set_pmr(&mut self, value: u32) {
        self.pmr = value as u8 & IMPLEMENTED_PRIORITY;
    }

    /// Writes a binary point. Values below the smallest become the smallest.
    pub fn set_bpr(&mut self, group: Group, value: u32) {
        let group = group as usize;
        self.bpr[group] = (value as u8 & 7).max(MIN_BINARY_POINT[group]);
    }

    /// The highest active priority and its group.
    fn running(&self) -> Option<(u8, Group)> {
        let level = (self.active[0] | self.active[1]).trailing_zeros();
        let group = if self.active[0].trailing_zeros() == level { Group::G0 } else { Group::G1 };
        (level < 32).then_some(((level << LOWEST_BIT) as u8, group))
    }

    /// The group of the interrupt that runs, as far as priorities tell.
    pub fn running_group(&self) -> Option<Group> {
        self.running().map(|(_, group)| group)
    }

    /// What the Running Priority Register reads.
    pub fn running_priority(&self) -> u8 {
        self.running().map_or(IDLE_PRIORITY, |(priority, _)| priority)
    }

    /// Whether `candidate` is signalled: its group is enabled, the mask lets it pass and it preempts what runs.
    pub fn accepts(&self, candidate: Candidate) -> bool {
        let mask = self.preemption_mask(candidate.group);
        self.enabled[candidate.group as usize]
            && candidate.priority < self.pmr
            && self.running().is_none_or(|(running, _)| candidate.priority & mask < running & mask)
    }

    /// Makes the priority of `candidate` the running one.
    pub fn activate(&mut self, candidate: Candidate) {
        let level = candidate.priority & self.preemption_mask(candidate.group);
        self.active[candidate.group as usize] |= 1 << (level >> LOWEST_BIT);
    }

    /// The running priority ends; the next lower active one becomes the running one.
    pub fn drop_priority(&mut self) {
        if let Some((priority, group)) = self.running() {
            self.active[group as usize] &= !(1 << (priority >> LOWEST_BIT));
        }
    }

    /// Whether a guest can have written these values.
    pub(crate) fn is_possible(&self) -> bool {
        let bpr = |g: usize| (MIN_BINARY_POINT[g]..8).contains(&self.bpr[g]);
        self.pmr & !IMPLEMENTED_PRIORITY == 0 && bpr(0) && bpr(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(priority: u8, group: Group) -> Candidate {
        Candidate { intid: 40, priority, group }
    }

    #[test]
    fn binary_points_split_priorities_as_the_tables_of_the_manual_say() {
        let mut cpu = CpuInterface::default();
        let masks = |cpu: &CpuInterface| [cpu.preemption_mask(Group::G0), cpu.preemption_mask(Group::G1)];
        for (written, bpr, expect) in [
            (0, [2, 3], [0xf8, 0xf8]),
            (2, [2, 3], [0xf8, 0xf8]),
            (3, [3, 3], [0xf0, 0xf8]),
            (4, [4, 4], [0xe0, 0xf0]),
            (5, [5, 5], [0xc0, 0xe0]),
            (6, [6, 6], [0x80, 0xc0]),
            (7, [7, 7], [0x00, 0x80]),
            (0xfffc, [4, 4], [0xe0, 0xf0]),
        ] {
            cpu.set_bpr(Group::G0, written);
            cpu.set_bpr(Group::G1, written);
            assert_eq!((cpu.bpr, masks(&cpu)), (bpr, expect), "{written}");
        }
        cpu.common_bpr = true;
        assert_eq!(masks(&cpu), [0xe0, 0xe0]);
    }

    #[test]
    fn preemption_needs_a_higher_group_priority_and_nests() {
        let mut cpu = CpuInterface { enabled: [true, true], pmr: 0xf8, ..CpuInterface::default() };
        cpu.set_bpr(Group::G1, 5); // bits [7:5]
        assert_eq!(cpu.running_priority(), IDLE_PRIORITY);
        cpu.activate(candidate(0xb0, Group::G1));
        assert_eq!(cpu.running_priority(), 0xa0);
        assert!(!cpu.accepts(candidate(0xa0, Group::G1)));
        assert!(cpu.accepts(candidate(0x98, Group::G1)));
        assert!(!cpu.accepts(candidate(0xa0, Group::G0)));
        cpu.activate(candidate(0x58, Group::G0));
        assert_eq!((cpu.running_priority(), cpu.running_group()), (0x58, Some(Group::G0)));
        cpu.drop_priority();
        assert_eq!((cpu.running_priority(), cpu.running_group()), (0xa0, Some(Group::G1)));
        cpu.drop_priority();
        cpu.drop_priority();
        assert_eq!((cpu.running_priority(), cpu.running_group()), (IDLE_PRIORITY, None));
    }

    #[test]
    fn mask_and_group_enables_hold_interrupts_back() {
        let mut cpu = CpuInterface { enabled: [false, true], ..CpuInterface::default() };
        cpu.set_pmr(0xa5);
        assert_eq!(cpu.pmr, 0xa0);
        assert!(!cpu.accepts(candidate(0xa0, Group::G1)));
        assert!(cpu.accepts(candidate(0x98, Group::G1)));
        assert!(!cpu.accepts(candidate(0x98, Group::G0)));
    }
}
