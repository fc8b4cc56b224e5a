//! Locality-specific peripheral interrupts at the redistributors: Arm IHI 0069, "LPIs", "LPI Configuration tables", "LPI
//! Pending tables" and the descriptions of the registers.
//!
//! Which LPIs are pending is state of the redistributor while LPIs are enabled there, and is written to the pending table
//! when they are disabled. What the configuration table says of a pending LPI is cached until an ITS command invalidates it.

use super::{Candidate, Gicv3, Group};
use crate::intc::cpu_interface::IMPLEMENTED_PRIORITY;
use crate::intc::lanes::Lanes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use vm::AddressSpace;
use vm::snapshot::BadState;
use vm_memory::{Bytes, GuestAddress};

/// INTID of the first LPI.
pub const FIRST_LPI: u32 = 8192;
/// Bits of an INTID (GICD_TYPER.IDbits).
pub const INTID_BITS: u32 = 16;

// Registers of RD_base.
const GICR_CTLR: u64 = 0x0000;
const GICR_PROPBASER: u64 = 0x0070;
const GICR_PENDBASER: u64 = 0x0078;

// GICR_CTLR.
const ENABLE_LPIS: u32 = 1 << 0;
/// CES: LPIs can be disabled again.
const CES: u32 = 1 << 1;

/// GICR_PROPBASER: attributes of accesses, which read as written and have no effect; address; bits of an INTID, less one.
const PROPBASER_MASK: u64 = 7 << 56 | 0x000f_ffff_ffff_f000 | 0xf9f;
const PROPBASER_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// GICR_PENDBASER.
const PENDBASER_MASK: u64 = 7 << 56 | 0x000f_ffff_ffff_0000 | 0xf80;
const PENDBASER_ADDRESS: u64 = 0x000f_ffff_ffff_0000;
/// The pending table is all zeros; reads as zero.
const PENDBASER_PTZ: u64 = 1 << 62;

/// LPI configuration table entry: the enable bit beside the priority.
const ENTRY_ENABLE: u8 = 1;

/// Registers of LPIs at a redistributor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LpiRegs {
    /// GICR_CTLR.EnableLPIs.
    enabled: bool,
    propbaser: u64,
    pendbaser: u64,
    /// INTIDs that are pending.
    pending: BTreeSet<u32>,
}

impl LpiRegs {
    pub(super) fn validate(&self) -> Result<(), BadState> {
        let bad = self.pending.iter().find(|intid| !(FIRST_LPI..1 << INTID_BITS).contains(*intid));
        match bad {
            Some(intid) => Err(BadState(format!("INTID {intid} is no LPI"))),
            None if self.propbaser & !PROPBASER_MASK != 0
                || self.pendbaser & !(PENDBASER_MASK | PENDBASER_PTZ) != 0 =>
            {
                Err(BadState("impossible addresses of LPI tables".into()))
            }
            None => Ok(()),
        }
    }

    /// One above the last INTID that the tables have.
    fn end(&self) -> u32 {
        1 << ((self.propbaser as u32 & 0x1f) + 1).min(INTID_BITS)
    }

    fn has(&self, intid: u32) -> bool {
        self.enabled && (FIRST_LPI..self.end()).contains(&intid)
    }

    /// The 32 bits at `register` of RD_base, if it is one of these registers.
    pub(super) fn read(&self, register: u64) -> Option<u32> {
        let shown = self.pendbaser & !PENDBASER_PTZ;
        Some(match register {
            GICR_CTLR => CES | if self.enabled { ENABLE_LPIS } else { 0 },
            GICR_PROPBASER => self.propbaser as u32,
            0x0074 => (self.propbaser >> 32) as u32,
            GICR_PENDBASER => shown as u32,
            0x007c => (shown >> 32) as u32,
            _ => return None,
        })
    }
}

/// The LPIs of all redistributors.
pub(super) struct Lpis {
    memory: Arc<AddressSpace>,
    /// For each redistributor, priority and INTID of what is pending and enabled, or `None` when that must be found anew.
    ready: Vec<Option<BTreeSet<(u8, u32)>>>,
}

/// What an ITS asks of the redistributors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LpiAction {
    /// `intid` becomes pending at `cpu`.
    Set { cpu: u16, intid: u32 },
    /// `intid` is pending at `cpu` no more.
    Clear { cpu: u16, intid: u32 },
    /// If `intid` is pending at `from`, it is so at `to` instead.
    Move { from: u16, to: u16, intid: u32 },
    /// All that is pending at `from` is so at `to` instead.
    MoveAll { from: u16, to: u16 },
    /// The configuration of `intid`, for `cpu`, may have changed.
    Invalidate { cpu: u16, intid: u32 },
    /// Any configuration may have changed for `cpu`.
    InvalidateAll { cpu: u16 },
}

impl Lpis {
    pub fn new(memory: Arc<AddressSpace>, cpus: usize) -> Self {
        Self { memory, ready: vec![None; cpus] }
    }

    /// Nothing is known any more of what was cached.
    pub fn forget(&mut self) {
        self.ready.fill(None);
    }

    /// Finds anew what is not known.
    pub fn refresh<'a>(&mut self, regs: impl Iterator<Item = &'a LpiRegs>) {
        let Self { memory, ready } = self;
        for (ready, regs) in ready.iter_mut().zip(regs) {
            ready.get_or_insert_with(|| {
                if !regs.enabled || regs.pending.is_empty() {
                    return BTreeSet::new();
                }
                let mut entries = vec![0; (regs.end() - regs.end().min(FIRST_LPI)) as usize];
                let at = regs.propbaser & PROPBASER_ADDRESS;
                if memory.dma().read_slice(&mut entries, GuestAddress(at)).is_err() {
                    vm::log!(GuestError, "gicv3: LPI configuration table at {at:#x} is not in RAM");
                    return BTreeSet::new();
                }
                let entry = |intid: &u32| Some((*entries.get(intid.checked_sub(FIRST_LPI)? as usize)?, *intid));
                let enabled = regs.pending.iter().filter_map(entry).filter(|(entry, _)| entry & ENTRY_ENABLE != 0);
                enabled.map(|(entry, intid)| (entry & IMPLEMENTED_PRIORITY, intid)).collect()
            });
        }
    }

    /// The LPI that comes next at each redistributor. LPIs are in Group 1.
    pub fn next(&self) -> impl Iterator<Item = Option<Candidate>> {
        self.ready.iter().map(|ready| {
            let (priority, intid) = *ready.as_ref()?.first()?;
            Some(Candidate { intid, priority, group: Group::G1 })
        })
    }

    /// The configuration of `intid`.
    fn entry(&self, regs: &LpiRegs, intid: u32) -> Option<u8> {
        let at = (regs.propbaser & PROPBASER_ADDRESS) + u64::from(intid.checked_sub(FIRST_LPI)?);
        let entry = self.memory.dma().read_obj::<u8>(GuestAddress(at)).ok();
        if entry.is_none() {
            vm::log!(GuestError, "gicv3: LPI configuration table entry at {at:#x} is not in RAM");
        }
        entry
    }

    fn ready(&mut self, cpu: usize) -> Option<&mut BTreeSet<(u8, u32)>> {
        self.ready.get_mut(cpu)?.as_mut()
    }

    fn set(&mut self, regs: &mut LpiRegs, cpu: usize, intid: u32) {
        if !regs.has(intid) || !regs.pending.insert(intid) {
            return;
        }
        let entry = self.entry(regs, intid).filter(|entry| entry & ENTRY_ENABLE != 0);
        if let (Some(entry), Some(ready)) = (entry, self.ready(cpu)) {
            ready.insert((entry & IMPLEMENTED_PRIORITY, intid));
        }
    }

    fn clear(&mut self, regs: &mut LpiRegs, cpu: usize, intid: u32) -> bool {
        if !regs.pending.remove(&intid) {
            return false;
        }
        // The priority that it was found with is not kept: there are 32.
        if let Some(ready) = self.ready(cpu) {
            (0..=IMPLEMENTED_PRIORITY).step_by(8).any(|priority| ready.remove(&(priority, intid)));
        }
        true
    }

    /// The lanes of a register of RD_base are written.
    pub fn write(&mut self, regs: &mut LpiRegs, cpu: usize, lanes: Lanes, value: u32) {
        let merge = |old: u64, shift: u32| old & !(u64::from(lanes.mask) << shift) | u64::from(value) << shift;
        match lanes.register {
            register if register % super::FRAME == GICR_CTLR => {
                if lanes.mask & ENABLE_LPIS != 0 && regs.enabled != (value & ENABLE_LPIS != 0) {
                    self.enable(regs, cpu, value & ENABLE_LPIS != 0);
                }
            }
            // Changing the tables while they are in use is unpredictable; here they stay.
            _ if regs.enabled => {}
            register => match register % super::FRAME {
                GICR_PROPBASER => regs.propbaser = merge(regs.propbaser, 0) & PROPBASER_MASK,
                0x0074 => regs.propbaser = merge(regs.propbaser, 32) & PROPBASER_MASK,
                GICR_PENDBASER => regs.pendbaser = merge(regs.pendbaser, 0) & (PENDBASER_MASK | PENDBASER_PTZ),
                0x007c => regs.pendbaser = merge(regs.pendbaser, 32) & (PENDBASER_MASK | PENDBASER_PTZ),
                _ => {}
            },
        }
    }

    /// Enabled, what is pending comes from the table; disabled, it goes there.
    fn enable(&mut self, regs: &mut LpiRegs, cpu: usize, enable: bool) {
        let at = GuestAddress((regs.pendbaser & PENDBASER_ADDRESS) + u64::from(FIRST_LPI / 8));
        let mut table = vec![0_u8; (regs.end() - regs.end().min(FIRST_LPI)) as usize / 8];
        regs.enabled = enable;
        if let Some(ready) = self.ready.get_mut(cpu) {
            *ready = None;
        }
        let dma = self.memory.dma();
        if enable {
            let read = regs.pendbaser & PENDBASER_PTZ != 0 || dma.read_slice(&mut table, at).is_ok();
            if !read {
                vm::log!(GuestError, "gicv3: LPI pending table at {:#x} is not in RAM", at.0);
            }
            let bytes = (FIRST_LPI..).step_by(8).zip(&table).filter(|(_, byte)| read && **byte != 0);
            regs.pending =
                bytes.flat_map(|(first, byte)| super::bits((*byte).into()).map(move |n| first + n)).collect();
        } else {
            for intid in std::mem::take(&mut regs.pending) {
                if let Some(byte) = intid.checked_sub(FIRST_LPI).and_then(|n| table.get_mut(n as usize / 8)) {
                    *byte |= 1 << (intid % 8);
                }
            }
            if dma.write_slice(&table, at).is_err() {
                vm::log!(GuestError, "gicv3: LPI pending table at {:#x} is not in RAM", at.0);
            }
        }
    }
}

impl Gicv3 {
    /// Does what an ITS asks, in order. Processors that do not exist are ignored.
    pub fn lpi_actions(&mut self, actions: &[LpiAction]) {
        let (Some(lpis), regs) = (&mut self.lpis, &mut self.regs.cpus) else { return };
        for action in actions {
            match *action {
                LpiAction::Set { cpu, intid } => {
                    if let Some(regs) = regs.get_mut(usize::from(cpu)) {
                        lpis.set(&mut regs.lpi, cpu.into(), intid);
                    }
                }
                LpiAction::Clear { cpu, intid } => {
                    if let Some(regs) = regs.get_mut(usize::from(cpu)) {
                        lpis.clear(&mut regs.lpi, cpu.into(), intid);
                    }
                }
                LpiAction::Move { from, to, intid } => {
                    let moved = regs
                        .get_mut(usize::from(from))
                        .map(|from_regs| lpis.clear(&mut from_regs.lpi, from.into(), intid));
                    if let (Some(true), Some(regs)) = (moved, regs.get_mut(usize::from(to))) {
                        lpis.set(&mut regs.lpi, to.into(), intid);
                    }
                }
                LpiAction::MoveAll { from, to } if from != to => {
                    if usize::from(to) >= regs.len() {
                        continue;
                    }
                    let Some(from_regs) = regs.get_mut(usize::from(from)) else { continue };
                    let mut moved = std::mem::take(&mut from_regs.lpi.pending);
                    if let Some(to_regs) = regs.get_mut(usize::from(to)).filter(|to| to.lpi.enabled) {
                        // The smaller goes to the larger, so that going to and fro costs little.
                        if moved.len() > to_regs.lpi.pending.len() {
                            std::mem::swap(&mut moved, &mut to_regs.lpi.pending);
                        }
                        to_regs.lpi.pending.extend(moved);
                    }
                    for cpu in [from, to] {
                        if let Some(ready) = lpis.ready.get_mut(usize::from(cpu)) {
                            *ready = None;
                        }
                    }
                }
                LpiAction::MoveAll { .. } => {}
                LpiAction::Invalidate { cpu, intid } => {
                    if let Some(regs) = regs.get_mut(usize::from(cpu))
                        && lpis.clear(&mut regs.lpi, cpu.into(), intid)
                    {
                        lpis.set(&mut regs.lpi, cpu.into(), intid);
                    }
                }
                LpiAction::InvalidateAll { cpu } => {
                    if let Some(ready) = lpis.ready.get_mut(usize::from(cpu)) {
                        *ready = None;
                    }
                }
            }
        }
    }

    /// How many processors there are.
    pub fn processors(&self) -> usize {
        self.cpus.len()
    }

    /// LPI `intid` is taken.
    pub(super) fn clear_lpi(&mut self, cpu: usize, intid: u32) {
        if let (Some(lpis), Some(regs)) = (&mut self.lpis, self.regs.cpus.get_mut(cpu)) {
            lpis.clear(&mut regs.lpi, cpu, intid);
        }
    }
}
