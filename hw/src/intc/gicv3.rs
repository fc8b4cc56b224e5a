//! Arm Generic Interrupt Controller, architecture version 3: distributor, redistributors and the state of the CPU
//! interfaces. Arm IHI 0069; registers are cited by name, since editions number its sections differently.
//!
//! One Security state (GICD_CTLR.DS is 1), affinity routing only (ARE is 1), system-register CPU interfaces only (SRE is
//! 1; see [`icc`]). With [`Gicv3::with_lpis`] there are LPIs ([`lpi`]), which an ITS sends
//! ([`gicv3_its`](super::gicv3_its)).

pub mod icc;
pub mod lpi;

use super::cpu_interface::{Candidate, CpuInterface, Group};
use super::intid_block::{BLOCK, BlockRegister, FIRST_SPECIAL, IntidBlock, Row, bits, existing};
use super::lanes::Lanes;
use super::wiring::{CpuLines, Gic};
use lpi::{LpiRegs, Lpis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use vm::snapshot::BadState;
use vm::{Access, AddressSpace, BusError, Device, Mmio, Regs, ResetKind, Window};

/// Blocks of 32 SPIs that INTIDs 32 to 1019 take.
const MAX_SPI_BLOCKS: usize = 31;
/// The most processors, by the size of the redistributor window.
pub const MAX_CPUS: usize = 512;

/// Bytes of a register frame.
const FRAME: u64 = 0x1_0000;
/// Bytes of a redistributor: RD_base, then SGI_base.
pub const REDISTRIBUTOR: u64 = 2 * FRAME;

// Distributor registers beside those of `BlockRegister`.
const GICD_CTLR: u64 = 0x0000;
const GICD_TYPER: u64 = 0x0004;
const GICD_IIDR: u64 = 0x0008;
const GICD_IROUTER: u64 = 0x6000;
const GICD_IROUTER_END: u64 = GICD_IROUTER + 8 * FIRST_SPECIAL as u64;
/// Identification registers, in every frame.
const ID: u64 = 0xffd0;

// Redistributor registers of RD_base.
const GICR_IIDR: u64 = 0x0004;
const GICR_TYPER: u64 = 0x0008;
const GICR_TYPER_HIGH: u64 = 0x000c;
const GICR_WAKER: u64 = 0x0014;

/// GICD_CTLR: affinity routing and a single Security state, both for good.
const ARE_DS: u32 = 1 << 4 | 1 << 6;
/// GICD_TYPER: 16 bits of INTID, affinity level 3 is used, no 1-of-N distribution.
const TYPER_FIXED: u32 = 15 << 19 | 1 << 24 | 1 << 25;
/// GICD_TYPER: there are LPIs.
const TYPER_LPIS: u32 = 1 << 17;
/// GICR_TYPER: there are physical LPIs.
const TYPER_PLPIS: u32 = 1 << 0;
/// GICD_IIDR and GICR_IIDR: Arm, product and revision 0 as in the GIC-500.
const IIDR: u32 = 0x0000_043b;
/// GICR_WAKER: ProcessorSleep and ChildrenAsleep.
const PROCESSOR_SLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;
/// The affinity in GICD_IROUTERn. Deviation: IRM (1-of-N) is RAZ/WI, as GICD_TYPER.No1N says.
const ROUTE: u64 = 0xff_00ff_ffff;

/// The distributor, the redistributors and the CPU interfaces.
pub struct Gicv3 {
    regs: Gicv3Regs,
    cpus: Vec<Processor>,
    by_affinity: BTreeMap<u32, usize>,
    spi_blocks: usize,
    /// The interrupt that comes next at each processor, before priority mask and preemption: follows from `regs`.
    highest: Vec<Option<Candidate>>,
    /// What of LPIs follows from `regs` and memory.
    lpis: Option<Lpis>,
    /// Processors are awake from reset on.
    awake: bool,
}

/// A processor that a [`Gicv3`] serves.
pub struct Processor {
    /// Aff3 to Aff0 of its MPIDR in bits [31:24] to [7:0].
    pub affinity: u32,
    /// Lines to it.
    pub lines: CpuLines,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CpuRegs {
    /// SGIs and PPIs.
    private: IntidBlock,
    /// GICR_WAKER: nothing is forwarded.
    asleep: bool,
    interface: CpuInterface,
    #[serde(default)]
    lpi: LpiRegs,
}

impl Default for CpuRegs {
    fn default() -> Self {
        let (private, interface) = (IntidBlock::private(), CpuInterface::default());
        Self { private, asleep: true, interface, lpi: LpiRegs::default() }
    }
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SpiBlock {
    irqs: IntidBlock,
    /// GICD_IROUTERn.
    routes: [u64; BLOCK as usize],
}

impl fmt::Debug for SpiBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiBlock").field("irqs", &self.irqs).field("routes", &Row(&self.routes)).finish()
    }
}

/// Registers of a [`Gicv3`]. The device gives the lists the lengths that its machine has; all at reset values is the
/// same as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gicv3Regs {
    /// GICD_CTLR: groups that are forwarded.
    enabled: [bool; 2],
    cpus: Vec<CpuRegs>,
    spis: Vec<SpiBlock>,
}

impl Regs for Gicv3Regs {
    fn validate(&self) -> Result<(), BadState> {
        for (n, cpu) in self.cpus.iter().enumerate() {
            let sgis = cpu.private.edge & 0xffff == 0xffff && cpu.private.pins & 0xffff == 0;
            if !sgis || !cpu.private.is_possible(!0) || !cpu.interface.is_possible() {
                return Err(BadState(format!("impossible private interrupts or interface of CPU {n}")));
            }
            cpu.lpi.validate()?;
        }
        for (n, block) in (1..).zip(&self.spis) {
            if !block.irqs.is_possible(existing(n)) || block.routes.iter().any(|route| route & !ROUTE != 0) {
                return Err(BadState(format!("impossible state of INTIDs {} and up", n * 32)));
            }
        }
        Ok(())
    }
}

/// The affinity in the layout of GICR_TYPER[63:32] that an interrupt with this GICD_IROUTERn goes to.
fn route_affinity(route: u64) -> u32 {
    (route >> 8) as u32 & 0xff00_0000 | route as u32 & 0x00ff_ffff
}

impl Gicv3 {
    /// A controller with `spis` SPIs (rounded up to 32s, at most 988: INTIDs 32 to 1019) that serves `cpus`, numbered by
    /// their position.
    ///
    /// # Panics
    /// Without processors, or with more than [`MAX_CPUS`].
    pub fn new(spis: u32, cpus: Vec<Processor>) -> Self {
        assert!((1..=MAX_CPUS).contains(&cpus.len()), "a GICv3 serves 1 to {MAX_CPUS} processors");
        let by_affinity = (0..).zip(&cpus).map(|(n, cpu)| (cpu.affinity, n)).collect();
        let spi_blocks = (spis.div_ceil(BLOCK) as usize).min(MAX_SPI_BLOCKS);
        let highest = vec![None; cpus.len()];
        let mut gic =
            Self { regs: Gicv3Regs::default(), cpus, by_affinity, spi_blocks, highest, lpis: None, awake: false };
        gic.fit();
        gic
    }

    /// With LPIs, whose tables are in `memory`.
    #[must_use]
    pub fn with_lpis(self, memory: Arc<AddressSpace>) -> Self {
        Self { lpis: Some(Lpis::new(memory, self.cpus.len())), ..self }
    }

    /// With redistributors that no software has to wake (GICR_WAKER), as a secure monitor leaves them: firmware that runs
    /// after one, such as edk2, does not.
    #[must_use]
    pub fn awake(mut self) -> Self {
        self.awake = true;
        self.regs = Gicv3Regs::default();
        self.fit();
        self
    }

    /// Gives the lists of registers the machine's lengths.
    fn fit(&mut self) {
        let asleep = !self.awake;
        self.regs.cpus.resize_with(self.cpus.len(), || CpuRegs { asleep, ..CpuRegs::default() });
        self.regs.spis.resize_with(self.spi_blocks, SpiBlock::default);
    }

    /// Block `n` (INTIDs `32 * n` and up) as `cpu` sees it.
    fn block_mut(&mut self, cpu: usize, n: usize) -> Option<&mut IntidBlock> {
        match n.checked_sub(1) {
            None => Some(&mut self.regs.cpus.get_mut(cpu)?.private),
            Some(spi) => Some(&mut self.regs.spis.get_mut(spi)?.irqs),
        }
    }

    /// Finds the next interrupt of every processor. Words without a ready interrupt cost a few operations.
    fn find_highest(&mut self) {
        let Self { regs, by_affinity, highest, lpis, .. } = self;
        highest.clear();
        highest.extend(regs.cpus.iter().map(|cpu| {
            let mut best = None;
            if !cpu.asleep {
                let groups = [0, 1].map(|group| regs.enabled[group] && cpu.interface.enabled[group]);
                for bit in bits(cpu.private.ready(groups)) {
                    let (priority, group) = (cpu.private.priority_of(bit), cpu.private.group_of(bit));
                    Candidate { intid: bit, priority, group }.offer_to(&mut best);
                }
            }
            best
        }));
        if let Some(lpis) = lpis.as_ref().filter(|_| regs.enabled[Group::G1 as usize]) {
            for ((best, cpu), candidate) in highest.iter_mut().zip(&regs.cpus).zip(lpis.next()) {
                if let Some(candidate) = candidate
                    && !cpu.asleep
                    && cpu.interface.enabled[Group::G1 as usize]
                {
                    candidate.offer_to(best);
                }
            }
        }
        for (first, block) in (BLOCK..).step_by(BLOCK as usize).zip(&regs.spis) {
            for bit in bits(block.irqs.ready(regs.enabled)) {
                let (priority, group) = (block.irqs.priority_of(bit), block.irqs.group_of(bit));
                if let Some(cpu) = by_affinity.get(&route_affinity(block.routes[bit as usize]))
                    && let (Some(best), Some(cpu)) = (highest.get_mut(*cpu), regs.cpus.get(*cpu))
                    && !cpu.asleep
                    && cpu.interface.enabled[group as usize]
                {
                    Candidate { intid: first + bit, priority, group }.offer_to(best);
                }
            }
        }
    }

    /// The interrupt that is signalled to `cpu` now.
    fn signalled(&self, cpu: usize) -> Option<Candidate> {
        let interface = &self.regs.cpus.get(cpu)?.interface;
        self.highest.get(cpu).copied().flatten().filter(|candidate| interface.accepts(*candidate))
    }

    /// Makes SGI `sgi` pending at `cpu` if it is of `group` there.
    fn send_sgi(&mut self, cpu: usize, sgi: u32, group: Group) {
        if let Some(cpu) = self.regs.cpus.get_mut(cpu)
            && cpu.private.group_of(sgi) == group
        {
            cpu.private.latch |= 1 << (sgi & 0xf);
        }
    }

    /// The SPI whose GICD_IROUTERn is at `offset`, as (index of its block, bit), and whether it is the high half.
    fn route_at(offset: u64) -> Option<(usize, usize, bool)> {
        let intid = (offset.checked_sub(GICD_IROUTER)? / 8) as usize;
        let high = offset & 4 != 0;
        (offset < GICD_IROUTER_END && intid >= 32).then(|| (intid / 32 - 1, intid % 32, high))
    }

    fn read_distributor(&self, offset: u64) -> Result<u32, BusError> {
        if let Some((n, register)) = BlockRegister::decode(offset) {
            // With affinity routing the registers of SGIs and PPIs are in the redistributors; here they are RAZ/WI.
            let block = n.checked_sub(1).and_then(|spi| self.regs.spis.get(spi));
            return Ok(block.map_or(0, |block| block.irqs.read(register)));
        }
        if let Some((block, bit, high)) = Self::route_at(offset) {
            let route = self.regs.spis.get(block).map_or(0, |block| block.routes[bit]);
            return Ok(if high { (route >> 32) as u32 } else { route as u32 });
        }
        Ok(match offset {
            GICD_CTLR => u32::from(self.regs.enabled[0]) | u32::from(self.regs.enabled[1]) << 1 | ARE_DS,
            GICD_TYPER => {
                let lpis = if self.lpis.is_some() { TYPER_LPIS } else { 0 };
                TYPER_FIXED | lpis | self.spi_blocks as u32
            }
            GICD_IIDR => IIDR,
            _ => identification(offset, 0x92),
        })
    }

    fn write_distributor(&mut self, lanes: Lanes, value: u32) {
        let offset = lanes.register;
        if let Some((n, register)) = BlockRegister::decode(offset) {
            if let Some(block) = n.checked_sub(1).and_then(|spi| self.regs.spis.get_mut(spi)) {
                block.irqs.write(register, lanes, value, existing(n));
            }
        } else if let Some((block, bit, high)) = Self::route_at(offset) {
            if let Some(block) = self.regs.spis.get_mut(block) {
                let shift = if high { 32 } else { 0 };
                let (mask, value) = (u64::from(lanes.mask) << shift, u64::from(value) << shift);
                block.routes[bit] = (block.routes[bit] & !mask | value & mask) & ROUTE;
            }
        } else if offset == GICD_CTLR && lanes.mask & 3 != 0 {
            self.regs.enabled = [value & 1 != 0, value & 2 != 0];
        }
        // Everything else is read-only or reserved; no message-based SPIs, no ITARGETSR and SGIR with affinity routing.
    }

    fn read_redistributor(&self, offset: u64) -> Result<u32, BusError> {
        let cpu = (offset / REDISTRIBUTOR) as usize;
        let regs = self.regs.cpus.get(cpu).ok_or(BusError::BadOffset)?;
        let register = offset % FRAME;
        if offset & FRAME != 0 {
            return Ok(match BlockRegister::decode(register) {
                Some((0, register)) => regs.private.read(register),
                _ => identification(register, 0x93),
            });
        }
        Ok(match register {
            GICR_IIDR => IIDR,
            // Processor_Number and Last.
            GICR_TYPER => {
                let lpis = if self.lpis.is_some() { TYPER_PLPIS } else { 0 };
                (cpu as u32) << 8 | u32::from(cpu + 1 == self.cpus.len()) << 4 | lpis
            }
            GICR_TYPER_HIGH => self.cpus.get(cpu).map_or(0, |cpu| cpu.affinity),
            GICR_WAKER if regs.asleep => PROCESSOR_SLEEP | CHILDREN_ASLEEP,
            _ => match regs.lpi.read(register).filter(|_| self.lpis.is_some()) {
                Some(value) => value,
                None => identification(register, 0x93),
            },
        })
    }

    fn write_redistributor(&mut self, lanes: Lanes, value: u32) -> Result<(), BusError> {
        let cpu = (lanes.register / REDISTRIBUTOR) as usize;
        let regs = self.regs.cpus.get_mut(cpu).ok_or(BusError::BadOffset)?;
        let register = lanes.register % FRAME;
        if lanes.register & FRAME != 0 {
            if let Some((0, register)) = BlockRegister::decode(register) {
                // SGIs are edge-triggered for good.
                let sgis = if matches!(register, BlockRegister::Config(_)) { 0xffff } else { 0 };
                regs.private.write(register, lanes, value, !sgis);
            }
        } else if register == GICR_WAKER && lanes.mask & PROCESSOR_SLEEP != 0 {
            regs.asleep = value & PROCESSOR_SLEEP != 0;
        } else if let Some(lpis) = &mut self.lpis {
            lpis.write(&mut regs.lpi, cpu, lanes, value);
        }
        Ok(())
    }
}

/// PIDR4 to PIDR7, PIDR0 to PIDR3, CIDR0 to CIDR3 of a frame with part number `0x4xx` ("Identification registers");
/// 0 at any other offset, since all of a frame is RAZ/WI where the manual names no register.
fn identification(offset: u64, part: u8) -> u32 {
    let bytes = [0x44, 0, 0, 0, part, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1];
    let index = offset.checked_sub(ID).map(|into| (into / 4) as usize);
    index.and_then(|index| bytes.get(index)).map_or(0, |byte| (*byte).into())
}

impl Device for Gicv3 {
    type Regs = Gicv3Regs;
    const MODEL: &'static str = "gicv3";

    fn regs(&self) -> &Gicv3Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Gicv3Regs {
        // Whoever calls this loads others, and memory with them.
        if let Some(lpis) = &mut self.lpis {
            lpis.forget();
        }
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        // The levels of the pins belong to the devices that drive them.
        let old = std::mem::take(&mut self.regs);
        self.fit();
        if let Some(lpis) = &mut self.lpis {
            lpis.forget();
        }
        for (new, old) in self.regs.cpus.iter_mut().zip(&old.cpus) {
            new.private.pins = old.private.pins;
        }
        for (new, old) in self.regs.spis.iter_mut().zip(&old.spis) {
            new.irqs.pins = old.irqs.pins;
        }
    }

    fn update(&mut self) {
        self.fit();
        if let Some(lpis) = &mut self.lpis {
            lpis.refresh(self.regs.cpus.iter().map(|cpu| &cpu.lpi));
        }
        self.find_highest();
        for (n, cpu) in self.cpus.iter().enumerate() {
            // "Interrupt grouping": with one Security state Group 0 is signalled by FIQ, Group 1 by IRQ.
            let group = self.signalled(n).map(|candidate| candidate.group);
            cpu.lines.set(group == Some(Group::G1), group == Some(Group::G0));
        }
    }
}

impl Mmio for Gicv3 {
    /// The distributor, then the redistributors of all processors one after the other ([`REDISTRIBUTOR`] bytes each).
    const WINDOWS: &'static [Window] =
        &[Window { len: FRAME, widths: 1..=8 }, Window { len: MAX_CPUS as u64 * REDISTRIBUTOR, widths: 1..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if at.width == 8 && at.offset.is_multiple_of(8) {
            let half = |offset| Access { offset, width: 4, ..at };
            let low = self.read(half(at.offset))?;
            return Ok(self.read(half(at.offset + 4))? << 32 | low);
        }
        let lanes = Lanes::of(at)?;
        let word = match at.window {
            0 => self.read_distributor(lanes.register)?,
            _ => self.read_redistributor(lanes.register)?,
        };
        Ok(lanes.extract(word))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if at.width == 8 && at.offset.is_multiple_of(8) {
            let half = |offset| Access { offset, width: 4, ..at };
            self.write(half(at.offset), value & 0xffff_ffff)?;
            return self.write(half(at.offset + 4), value >> 32);
        }
        let lanes = Lanes::of(at)?;
        let value = lanes.place(value);
        match at.window {
            0 => self.write_distributor(lanes, value),
            _ => self.write_redistributor(lanes, value)?,
        }
        Ok(())
    }
}

impl Gic for Gicv3 {
    fn set_spi(&mut self, spi: u32, high: bool) {
        if spi < FIRST_SPECIAL - BLOCK
            && let Some(block) = self.block_mut(0, (spi / BLOCK) as usize + 1)
        {
            block.set_pin(spi, high);
        }
    }

    fn set_ppi(&mut self, cpu: u32, ppi: u32, high: bool) {
        if ppi < 16
            && let Some(block) = self.block_mut(cpu as usize, 0)
        {
            block.set_pin(16 + ppi, high);
        }
    }
}

#[cfg(test)]
mod tests;
