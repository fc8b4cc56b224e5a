//! Arm Generic Interrupt Controller, architecture version 2, without Security Extensions. Arm IHI 0048B; section numbers
//! are its. Where the architecture leaves a choice it is that of the GIC-400 (Arm DDI 0471B).
//!
//! Registers are banked by processor: [`vm::vcpu::current`] says who accesses them.

use super::cpu_interface::{Candidate, CpuInterface, Group};
use super::intid_block::{BLOCK, BlockRegister, FIRST_SPECIAL, IntidBlock, Row, bits, existing};
use super::lanes::Lanes;
use super::wiring::{CpuLines, Gic};
use serde::{Deserialize, Serialize};
use std::fmt;
use vm::snapshot::BadState;
use vm::{Access, BusError, Device, Mmio, Regs, ResetKind, Window, vcpu};

/// The most processors a GICv2 serves.
pub const MAX_CPUS: usize = 8;
/// Blocks of 32 SPIs that INTIDs 32 to 1019 take.
const MAX_SPI_BLOCKS: usize = 31;
const SGIS: usize = 16;

// Distributor registers (table 4-1) beside those of `BlockRegister`.
const GICD_CTLR: u64 = 0x000;
const GICD_TYPER: u64 = 0x004;
const GICD_IIDR: u64 = 0x008;
const GICD_ITARGETSR: u64 = 0x800;
const GICD_ICFGR: u64 = 0xc00;
const GICD_SGIR: u64 = 0xf00;
const GICD_CPENDSGIR: u64 = 0xf10;
const GICD_SPENDSGIR: u64 = 0xf20;
const GICD_ID: u64 = 0xfd0;
/// The architecture's registers end here; the rest of the 64 KiB window is empty.
const GICD_END: u64 = 0x1000;

// CPU interface registers (table 4-2).
const GICC_CTLR: u64 = 0x00;
const GICC_PMR: u64 = 0x04;
const GICC_BPR: u64 = 0x08;
const GICC_IAR: u64 = 0x0c;
const GICC_EOIR: u64 = 0x10;
const GICC_RPR: u64 = 0x14;
const GICC_HPPIR: u64 = 0x18;
const GICC_ABPR: u64 = 0x1c;
const GICC_AIAR: u64 = 0x20;
const GICC_AEOIR: u64 = 0x24;
const GICC_AHPPIR: u64 = 0x28;
const GICC_APR0: u64 = 0xd0;
const GICC_NSAPR0: u64 = 0xe0;
const GICC_IIDR: u64 = 0xfc;
const GICC_DIR: u64 = 0x1000;
const GICC_END: u64 = 0x2000;

// GICC_CTLR, layout for a GIC without Security Extensions (4.4.1). No legacy interrupt bypass: its bits [8:5] are
// RAZ/WI.
const ACK_CTL: u32 = 1 << 2;
const FIQ_EN: u32 = 1 << 3;
const CBPR: u32 = 1 << 4;
const EOI_MODE: u32 = 1 << 9;

/// Product 2 (GIC-400), revision r0p1, Arm (DDI 0471B 3.3.2).
const GICD_IIDR_VALUE: u32 = 0x0200_143b;
/// As GICD_IIDR, with architecture version 2 (4.4.14).
const GICC_IIDR_VALUE: u32 = 0x0202_143b;
/// PIDR4 to PIDR7, PIDR0 to PIDR3, CIDR0 to CIDR3 (4.3.18; values of DDI 0471B table 3-1).
const ID: [u8; 12] = [0x04, 0x00, 0x00, 0x00, 0x90, 0xb4, 0x2b, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// Spurious interrupt IDs (3.2.5): nothing to acknowledge, and nothing for this register but a Group 1 interrupt.
const SPURIOUS: u32 = 1023;
const SPURIOUS_GROUP1: u32 = 1022;

/// The distributor and the CPU interfaces.
pub struct Gicv2 {
    regs: Gicv2Regs,
    cpus: Vec<CpuLines>,
    spi_blocks: usize,
}

/// What the architecture keeps per processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CpuRegs {
    /// SGIs and PPIs. The latch of an SGI is set while it has a source.
    private: IntidBlock,
    /// The processors that wait with each SGI, one bit each.
    sgi_sources: [u8; SGIS],
    interface: CpuInterface,
    /// GICC_IAR also acknowledges Group 1.
    ack_ctl: bool,
    /// Group 0 is signalled by FIQ.
    fiq_en: bool,
}

impl Default for CpuRegs {
    fn default() -> Self {
        Self {
            // SGIs are always enabled, as in the GIC-400 (4.3.5 leaves the choice).
            private: IntidBlock { enabled: 0xffff, ..IntidBlock::private() },
            sgi_sources: [0; SGIS],
            interface: CpuInterface::default(),
            ack_ctl: false,
            fiq_en: false,
        }
    }
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SpiBlock {
    irqs: IntidBlock,
    /// GICD_ITARGETSRn: processors as one bit each.
    targets: [u8; BLOCK as usize],
}

impl fmt::Debug for SpiBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiBlock").field("irqs", &self.irqs).field("targets", &Row(&self.targets)).finish()
    }
}

/// Registers of a [`Gicv2`]. They have room for the largest one; what a machine lacks stays at its reset value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gicv2Regs {
    /// GICD_CTLR: groups that are forwarded.
    enabled: [bool; 2],
    cpus: [CpuRegs; MAX_CPUS],
    spis: [SpiBlock; MAX_SPI_BLOCKS],
}

impl Regs for Gicv2Regs {
    fn validate(&self) -> Result<(), BadState> {
        for (n, cpu) in self.cpus.iter().enumerate() {
            let sourced = (0..SGIS).filter(|sgi| cpu.sgi_sources[*sgi] != 0).fold(0, |word, sgi| word | 1 << sgi);
            let private = &cpu.private;
            let sgis = private.latch & 0xffff == sourced
                && private.edge & 0xffff == 0xffff
                && private.enabled & 0xffff == 0xffff
                && private.pins & 0xffff == 0;
            if !sgis || !private.is_possible(!0) || !cpu.interface.is_possible() {
                return Err(BadState(format!("impossible private interrupts or interface of CPU {n}")));
            }
        }
        match (1..).zip(&self.spis).find(|(n, block)| !block.irqs.is_possible(existing(*n))) {
            Some((n, _)) => Err(BadState(format!("impossible state of INTIDs {} and up", n * 32))),
            None => Ok(()),
        }
    }
}

impl Gicv2 {
    /// A controller with `spis` SPIs (rounded up to 32s, at most 988: INTIDs 32 to 1019) that serves one processor per
    /// element of `cpus`, numbered as [`vm::vcpu::current`] does.
    ///
    /// # Panics
    /// Without processors, or with more than [`MAX_CPUS`].
    pub fn new(spis: u32, cpus: Vec<CpuLines>) -> Self {
        assert!((1..=MAX_CPUS).contains(&cpus.len()), "a GICv2 serves 1 to 8 processors");
        let spi_blocks = (spis.div_ceil(BLOCK) as usize).min(MAX_SPI_BLOCKS);
        Self { regs: Gicv2Regs::default(), cpus, spi_blocks }
    }

    /// The processor that accesses the registers; 0 for accesses from elsewhere, such as a debugger's.
    fn accessor(&self) -> usize {
        let cpu = vcpu::current() as usize;
        if cpu < self.cpus.len() { cpu } else { 0 }
    }

    fn cpu_mask(&self) -> u8 {
        (0xff_u32 >> (MAX_CPUS - self.cpus.len())) as u8
    }

    /// Block `n` (INTIDs `32 * n` and up) as `cpu` sees it.
    fn block(&self, cpu: usize, n: usize) -> Option<&IntidBlock> {
        match n.checked_sub(1) {
            None => Some(&self.regs.cpus.get(cpu)?.private),
            Some(spi) => Some(&self.regs.spis.get(..self.spi_blocks)?.get(spi)?.irqs),
        }
    }

    fn block_mut(&mut self, cpu: usize, n: usize) -> Option<&mut IntidBlock> {
        match n.checked_sub(1) {
            None => Some(&mut self.regs.cpus.get_mut(cpu)?.private),
            Some(spi) => Some(&mut self.regs.spis.get_mut(..self.spi_blocks)?.get_mut(spi)?.irqs),
        }
    }

    /// The pending interrupt of highest priority that both the distributor and the interface of `cpu` let through,
    /// before priority mask and preemption.
    fn highest_pending(&self, cpu: usize) -> Option<Candidate> {
        let regs = self.regs.cpus.get(cpu)?;
        let groups = [0, 1].map(|group| self.regs.enabled[group] && regs.interface.enabled[group]);
        let mut best = None;
        let mut offer = |block: &IntidBlock, first: u32, bit: u32| {
            let (priority, group) = (block.priority_of(bit), block.group_of(bit));
            Candidate { intid: first + bit, priority, group }.offer_to(&mut best);
        };
        bits(regs.private.ready(groups)).for_each(|bit| offer(&regs.private, 0, bit));
        let uniprocessor = self.cpus.len() == 1;
        for (first, block) in (BLOCK..).step_by(BLOCK as usize).zip(self.regs.spis.iter().take(self.spi_blocks)) {
            for bit in bits(block.irqs.ready(groups)) {
                if uniprocessor || block.targets[bit as usize] >> cpu & 1 != 0 {
                    offer(&block.irqs, first, bit);
                }
            }
        }
        best
    }

    /// Changes the processors that wait with an SGI for `cpu`.
    fn set_sgi_sources(&mut self, cpu: usize, sgi: usize, change: impl FnOnce(u8) -> u8) {
        if let Some(cpu) = self.regs.cpus.get_mut(cpu)
            && let Some(sources) = cpu.sgi_sources.get_mut(sgi)
        {
            *sources = change(*sources);
            let bit = 1 << sgi;
            cpu.private.latch = if *sources != 0 { cpu.private.latch | bit } else { cpu.private.latch & !bit };
        }
    }

    /// What IAR and HPPIR show: the INTID, for an SGI with its (lowest) source in bits [12:10].
    fn with_source(&self, cpu: usize, intid: u32) -> u32 {
        match self.regs.cpus.get(cpu).and_then(|cpu| cpu.sgi_sources.get(intid as usize)) {
            Some(sources) if *sources != 0 => sources.trailing_zeros() << 10 | intid,
            _ => intid,
        }
    }

    /// Which of `candidate` and the spurious IDs a register shows: the aliases (AIAR, AHPPIR) show only Group 1, the
    /// others Group 0, and Group 1 if AckCtl is set (table 3-4 in 3.4.3).
    fn visible(&self, cpu: usize, candidate: Option<Candidate>, alias: bool) -> Result<Candidate, u32> {
        let candidate = candidate.ok_or(SPURIOUS)?;
        let ack_ctl = self.regs.cpus.get(cpu).is_some_and(|cpu| cpu.ack_ctl);
        match (candidate.group, alias) {
            (Group::G0, true) => Err(SPURIOUS),
            (Group::G1, false) if !ack_ctl => Err(SPURIOUS_GROUP1),
            _ => Ok(candidate),
        }
    }

    /// A read of GICC_IAR or GICC_AIAR (4.4.4, 4.4.9).
    fn acknowledge(&mut self, cpu: usize, alias: bool) -> u32 {
        let signalled = self.highest_pending(cpu).filter(|c| self.regs.cpus[cpu].interface.accepts(*c));
        let candidate = match self.visible(cpu, signalled, alias) {
            Ok(candidate) => candidate,
            Err(spurious) => return spurious,
        };
        let shown = self.with_source(cpu, candidate.intid);
        self.regs.cpus[cpu].interface.activate(candidate);
        if let Some(block) = self.block_mut(cpu, (candidate.intid / BLOCK) as usize) {
            block.acknowledge(candidate.intid);
        }
        // One source is served; the SGI stays pending for the others.
        self.set_sgi_sources(cpu, candidate.intid as usize, |sources| sources & sources.wrapping_sub(1));
        shown
    }

    fn deactivate(&mut self, cpu: usize, intid: u32) {
        if let Some(block) = self.block_mut(cpu, (intid / BLOCK) as usize) {
            block.deactivate(intid);
        }
    }

    /// A write to GICC_EOIR or GICC_AEOIR (4.4.5, 4.4.10). The alias ends Group 1 interrupts only; the other ends those
    /// of both groups, because without Security Extensions nobody must be kept from it.
    fn end(&mut self, cpu: usize, value: u32, alias: bool) {
        let intid = value & 0x3ff;
        let group = self.block(cpu, (intid / BLOCK) as usize).map(|block| block.group_of(intid));
        if intid >= FIRST_SPECIAL || group.is_none() || alias && group == Some(Group::G0) {
            return;
        }
        let interface = &mut self.regs.cpus[cpu].interface;
        interface.drop_priority();
        if !interface.separate_deactivation {
            self.deactivate(cpu, intid);
        }
    }

    /// A write to GICD_SGIR (4.3.15).
    fn send_sgi(&mut self, cpu: usize, value: u32) {
        let myself = 1_u8 << cpu;
        let targets = match value >> 24 & 3 {
            0 => (value >> 16) as u8,
            1 => !myself,
            2 => myself,
            _ => return, // reserved
        } & self.cpu_mask();
        for target in bits(targets.into()) {
            self.set_sgi_sources(target as usize, (value & 0xf) as usize, |sources| sources | myself);
        }
    }

    fn read_distributor(&self, cpu: usize, offset: u64) -> Result<u32, BusError> {
        if let Some((n, register)) = BlockRegister::decode(offset) {
            return Ok(self.block(cpu, n).map_or(0, |block| block.read(register)));
        }
        Ok(match offset {
            GICD_CTLR => u32::from(self.regs.enabled[0]) | u32::from(self.regs.enabled[1]) << 1,
            GICD_TYPER => (self.cpus.len() as u32 - 1) << 5 | self.spi_blocks as u32,
            GICD_IIDR => GICD_IIDR_VALUE,
            GICD_ITARGETSR..GICD_ICFGR => self.read_targets(cpu, (offset - GICD_ITARGETSR) as usize),
            // Reads of both give the pending sources (4.3.16, 4.3.17).
            GICD_CPENDSGIR..GICD_ID if offset < GICD_SPENDSGIR + 0x10 => {
                let first = (offset & 0xc) as usize;
                let sources = &self.regs.cpus[cpu].sgi_sources;
                u32::from_le_bytes([sources[first], sources[first + 1], sources[first + 2], sources[first + 3]])
            }
            GICD_ID..GICD_END => ID[((offset - GICD_ID) / 4) as usize].into(),
            // Everything else is reserved, write-only, or (GICD_NSACR) belongs to the Security Extensions.
            _ if offset < GICD_END => 0,
            _ => return Err(BusError::BadOffset),
        })
    }

    /// GICD_ITARGETSRn of the interrupts from `intid` on (4.3.12): SGIs and PPIs go to their processor, and a
    /// uniprocessor has no such registers.
    fn read_targets(&self, cpu: usize, intid: usize) -> u32 {
        if self.cpus.len() == 1 {
            return 0;
        }
        let (block, first) = (intid / 32, intid % 32);
        match block.checked_sub(1) {
            None => 0x0101_0101 << cpu,
            Some(n) if n < self.spi_blocks => self.regs.spis.get(n).map_or(0, |block| {
                (first..first + 4).rev().fold(0, |word, bit| word << 8 | u32::from(block.targets[bit % 32]))
            }),
            Some(_) => 0,
        }
    }

    fn write_targets(&mut self, intid: usize, lanes: Lanes, value: u32) {
        let mask = self.cpu_mask();
        let (block, first) = (intid / 32, intid % 32);
        if mask == 1 || block == 0 || block > self.spi_blocks {
            return;
        }
        let Some(targets) = self.regs.spis.get_mut(block - 1).map(|block| &mut block.targets) else { return };
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            let bit = (first + i) % 32;
            if lanes.mask >> (8 * i) & 1 != 0 && existing(block) >> bit & 1 != 0 {
                targets[bit] = byte & mask;
            }
        }
    }

    fn write_distributor(&mut self, cpu: usize, lanes: Lanes, value: u32) -> Result<(), BusError> {
        let offset = lanes.register;
        if let Some((n, register)) = BlockRegister::decode(offset) {
            use BlockRegister::{ClearEnable, ClearPending, Config, SetEnable, SetPending};
            // SGIs: always enabled, pending by GICD_SPENDSGIR only, edge-triggered for good.
            let fixed = matches!(register, SetEnable | ClearEnable | SetPending | ClearPending | Config(_));
            let sgis = if n == 0 && fixed { 0xffff } else { 0 };
            if let Some(block) = self.block_mut(cpu, n) {
                block.write(register, lanes, value, existing(n) & !sgis);
            }
            return Ok(());
        }
        match offset {
            GICD_CTLR if lanes.mask & 3 != 0 => self.regs.enabled = [value & 1 != 0, value & 2 != 0],
            GICD_ITARGETSR..GICD_ICFGR => self.write_targets((offset - GICD_ITARGETSR) as usize, lanes, value),
            // 4.1.4 "GIC register access": words only.
            GICD_SGIR if lanes == Lanes::word(GICD_SGIR) => self.send_sgi(cpu, value),
            GICD_SGIR => return Err(BusError::BadWidth),
            GICD_CPENDSGIR..GICD_ID if offset < GICD_SPENDSGIR + 0x10 => {
                let mask = self.cpu_mask();
                for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
                    let sgi = (offset & 0xc) as usize + i;
                    if offset < GICD_SPENDSGIR {
                        self.set_sgi_sources(cpu, sgi, |sources| sources & !byte);
                    } else {
                        self.set_sgi_sources(cpu, sgi, |sources| sources | byte & mask);
                    }
                }
            }
            _ if offset < GICD_END => {}
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }

    fn read_interface(&mut self, cpu: usize, offset: u64) -> Result<u32, BusError> {
        let regs = &self.regs.cpus[cpu];
        Ok(match offset {
            GICC_CTLR => {
                let bit = |set: bool, bit: u32| if set { bit } else { 0 };
                bit(regs.interface.enabled[0], 1)
                    | bit(regs.interface.enabled[1], 2)
                    | bit(regs.ack_ctl, ACK_CTL)
                    | bit(regs.fiq_en, FIQ_EN)
                    | bit(regs.interface.common_bpr, CBPR)
                    | bit(regs.interface.separate_deactivation, EOI_MODE)
            }
            GICC_PMR => regs.interface.pmr.into(),
            GICC_BPR => regs.interface.bpr[0].into(),
            GICC_ABPR => regs.interface.bpr[1].into(),
            GICC_RPR => regs.interface.running_priority().into(),
            GICC_IAR => self.acknowledge(cpu, false),
            GICC_AIAR => self.acknowledge(cpu, true),
            GICC_HPPIR | GICC_AHPPIR => match self.visible(cpu, self.highest_pending(cpu), offset == GICC_AHPPIR) {
                Ok(candidate) => self.with_source(cpu, candidate.intid),
                Err(spurious) => spurious,
            },
            // With 32 preemption levels APR1 to APR3 and NSAPR1 to NSAPR3 are RAZ/WI (table 4-44 in 4.4.12).
            GICC_APR0 => regs.interface.active[0],
            GICC_NSAPR0 => regs.interface.active[1],
            GICC_IIDR => GICC_IIDR_VALUE,
            _ if offset < GICC_END => 0,
            _ => return Err(BusError::BadOffset),
        })
    }

    fn write_interface(&mut self, cpu: usize, offset: u64, value: u32) -> Result<(), BusError> {
        let regs = &mut self.regs.cpus[cpu];
        match offset {
            GICC_CTLR => {
                regs.interface.enabled = [value & 1 != 0, value & 2 != 0];
                regs.ack_ctl = value & ACK_CTL != 0;
                regs.fiq_en = value & FIQ_EN != 0;
                regs.interface.common_bpr = value & CBPR != 0;
                regs.interface.separate_deactivation = value & EOI_MODE != 0;
            }
            GICC_PMR => regs.interface.set_pmr(value),
            GICC_BPR => regs.interface.set_bpr(Group::G0, value),
            GICC_ABPR => regs.interface.set_bpr(Group::G1, value),
            GICC_EOIR => self.end(cpu, value, false),
            GICC_AEOIR => self.end(cpu, value, true),
            GICC_APR0 => regs.interface.active[0] = value,
            GICC_NSAPR0 => regs.interface.active[1] = value,
            // 4.4.15: without EOImode the effect is unpredictable; here there is none.
            GICC_DIR if regs.interface.separate_deactivation => self.deactivate(cpu, value & 0x3ff),
            _ if offset < GICC_END => {}
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

impl Device for Gicv2 {
    type Regs = Gicv2Regs;
    const MODEL: &'static str = "gicv2";

    fn regs(&self) -> &Gicv2Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Gicv2Regs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        // The levels of the pins belong to the devices that drive them.
        let old = std::mem::take(&mut self.regs);
        for (new, old) in self.regs.cpus.iter_mut().zip(&old.cpus) {
            new.private.pins = old.private.pins;
        }
        for (new, old) in self.regs.spis.iter_mut().zip(&old.spis) {
            new.irqs.pins = old.irqs.pins;
        }
    }

    fn update(&mut self) {
        for (cpu, (lines, regs)) in self.cpus.iter().zip(&self.regs.cpus).enumerate() {
            let signalled = self.highest_pending(cpu).filter(|candidate| regs.interface.accepts(*candidate));
            // 4.4.1: Group 0 by FIQ if FIQEn is set, everything else by IRQ.
            let fiq = signalled.is_some_and(|candidate| candidate.group == Group::G0 && regs.fiq_en);
            lines.set(signalled.is_some() && !fiq, fiq);
        }
    }
}

impl Mmio for Gicv2 {
    /// The distributor, then the CPU interface of the accessing processor.
    const WINDOWS: &'static [Window] =
        &[Window { len: 0x1_0000, widths: 1..=4 }, Window { len: 0x1_0000, widths: 4..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let (cpu, lanes) = (self.accessor(), Lanes::of(at)?);
        let word = match at.window {
            0 => self.read_distributor(cpu, lanes.register)?,
            _ => self.read_interface(cpu, lanes.register)?,
        };
        Ok(lanes.extract(word))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let (cpu, lanes) = (self.accessor(), Lanes::of(at)?);
        let value = lanes.place(value);
        match at.window {
            0 => self.write_distributor(cpu, lanes, value),
            _ => self.write_interface(cpu, lanes.register, value),
        }
    }
}

impl Gic for Gicv2 {
    fn set_spi(&mut self, spi: u32, high: bool) {
        if spi < FIRST_SPECIAL - BLOCK
            && let Some(block) = self.block_mut(0, (spi / BLOCK) as usize + 1)
        {
            block.set_pin(spi, high);
        }
    }

    fn set_ppi(&mut self, cpu: u32, ppi: u32, high: bool) {
        if ppi < 16
            && (cpu as usize) < self.cpus.len()
            && let Some(block) = self.block_mut(cpu as usize, 0)
        {
            block.set_pin(16 + ppi, high);
        }
    }
}

#[cfg(test)]
mod tests;
