//! Interrupt Translation Service of a GICv3: a message with a DeviceID and an EventID becomes an LPI at a redistributor.
//! Arm IHI 0069, "The ITS", "ITS commands", "ITS register descriptions".
//!
//! Tables are in guest memory, in the format below; nothing is cached, so a command takes effect at once. Whatever the
//! guest puts into them leads at most to another LPI, or to no interrupt.
//!
//! - device table, by DeviceID: valid, address of the interrupt translation table, its size;
//! - collection table, by ICID: valid, number of the processor;
//! - interrupt translation table, by EventID: valid, INTID, ICID.

pub mod command;

use super::gicv3::Gicv3;
use super::gicv3::lpi::{FIRST_LPI, INTID_BITS, LpiAction};
use super::lanes::Lanes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::snapshot::BadState;
use vm::{Access, AddressSpace, BusError, Device, DeviceCell, Mmio, Regs, ResetKind, Window};
use vm_memory::{Bytes, GuestAddress};

/// Bytes of a frame: control, then translation.
const FRAME: u64 = 0x1_0000;
/// Bytes of both.
pub const LEN: u64 = 2 * FRAME;

// Registers of the control frame.
const GITS_CTLR: u64 = 0x0000;
const GITS_IIDR: u64 = 0x0004;
const GITS_TYPER: u64 = 0x0008;
const GITS_CBASER: u64 = 0x0080;
const GITS_CWRITER: u64 = 0x0088;
const GITS_CREADR: u64 = 0x0090;
const GITS_BASER: u64 = 0x0100;
const GITS_BASER_END: u64 = 0x0140;
const ID: u64 = 0xffd0;
/// A message is a write of its EventID to this register of the translation frame.
pub const GITS_TRANSLATER: u64 = FRAME + 0x0040;

// GITS_CTLR.
const ENABLED: u32 = 1 << 0;
const QUIESCENT: u32 = 1 << 31;
/// GITS_IIDR: as the GIC's.
const IIDR: u32 = 0x0000_043b;
/// Bits of a DeviceID, an EventID and an ICID.
const ID_BITS: u32 = 16;
/// GITS_TYPER: physical LPIs; entries of 8 bytes; EventIDs, DeviceIDs; processors by number; 16-bit ICIDs, as without CIL.
const TYPER: u64 = 1 | 7 << 4 | (ID_BITS as u64 - 1) << 8 | (ID_BITS as u64 - 1) << 13;
/// Bytes of an entry of any table.
const ENTRY: u64 = 8;

/// GITS_BASERn: type and size of entries are fixed.
const BASER_FIXED: [u64; 2] = [1 << 56 | (ENTRY - 1) << 48, 4 << 56 | (ENTRY - 1) << 48];
const DEVICES: usize = 0;
const COLLECTIONS: usize = 1;
const BASER_MASK: u64 = 3 << 62 | 7 << 59 | 7 << 53 | 0xffff_ffff_ffff;
const VALID: u64 = 1 << 63;
const INDIRECT: u64 = 1 << 62;
/// GITS_CBASER.
const CBASER_MASK: u64 = VALID | 7 << 59 | 7 << 53 | 0x000f_ffff_ffff_fcff;
const CBASER_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// GITS_CWRITER and GITS_CREADR.
const QUEUE_OFFSET: u64 = 0xf_ffe0;
const RETRY: u64 = 1;
const STALLED: u64 = 1;

// Entries of tables; bit 63 is valid.
/// Device table: address of the interrupt translation table; bits of an EventID, less one.
const DTE_ADDRESS: u64 = 0x000f_ffff_ffff_ff00;
const DTE_SIZE: u64 = 0x1f;
/// First level of a table: address of the second level's page.
const LEVEL1_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Interrupt translation table: INTID; ICID from bit 32 on.
const ITE_INTID: u64 = 0xff_ffff;
const ITE_ICID_SHIFT: u32 = 32;

/// The translation service.
pub struct Gicv3Its {
    regs: Gicv3ItsRegs,
    gic: Arc<DeviceCell<Gicv3>>,
    memory: Arc<AddressSpace>,
    processors: usize,
}

/// Its registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gicv3ItsRegs {
    enabled: bool,
    cbaser: u64,
    /// Offset of the next free command.
    cwriter: u64,
    /// Offset of the next command to do.
    creadr: u64,
    /// The queue could not be read.
    stalled: bool,
    /// GITS_BASER0 and GITS_BASER1 without what is fixed.
    baser: [u64; 2],
}

impl Regs for Gicv3ItsRegs {
    fn validate(&self) -> Result<(), BadState> {
        let offsets = [self.cwriter, self.creadr];
        let possible = self.cbaser & !CBASER_MASK == 0
            && self.baser.iter().all(|baser| baser & !BASER_MASK == 0)
            && offsets.iter().all(|offset| offset & !QUEUE_OFFSET == 0);
        if possible { Ok(()) } else { Err(BadState("impossible registers of an ITS".into())) }
    }
}

/// Why a message or command came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untranslated {
    /// No table is there.
    #[error("the table is not valid")]
    NoTable,
    /// A DeviceID, EventID or ICID beyond its table.
    #[error("the number {0:#x} is beyond the table")]
    Beyond(u32),
    /// Nothing was mapped.
    #[error("the number {0:#x} is not mapped")]
    Unmapped(u32),
    /// A table, or an interrupt translation table, is not in RAM.
    #[error("the table entry at {0:#x} is not in RAM")]
    NoRam(u64),
    /// A processor that does not exist.
    #[error("there is no processor {0}")]
    Processor(u64),
    /// An INTID that is no LPI.
    #[error("INTID {0} is no LPI")]
    NotLpi(u32),
    /// A size that GITS_TYPER does not allow.
    #[error("the size {0} is not supported")]
    Size(u64),
    /// An unknown command.
    #[error("there is no such command")]
    Command,
}

impl Gicv3Its {
    /// A service of `gic`, which must have LPIs, with its tables in `memory`.
    pub fn new(gic: Arc<DeviceCell<Gicv3>>, memory: Arc<AddressSpace>) -> Self {
        let processors = gic.with(|gic| gic.processors()).unwrap_or(0);
        Self { regs: Gicv3ItsRegs::default(), gic, memory, processors }
    }

    /// Takes a message: `event` from `device`.
    pub fn message(&mut self, device: u32, event: u32) {
        let done = if self.regs.enabled { self.translate(device, event) } else { Err(Untranslated::NoTable) };
        match done {
            Ok((cpu, intid)) => self.act(&[LpiAction::Set { cpu, intid }]),
            Err(why) => vm::log!(GuestError, "its: event {event:#x} of device {device:#x}: {why}"),
        }
    }

    fn act(&self, actions: &[LpiAction]) {
        // The GIC drives processors only, so nothing can call back.
        let _ = self.gic.with(|gic| gic.lpi_actions(actions));
    }

    fn load(&self, at: u64) -> Result<u64, Untranslated> {
        let mut bytes = [0; 8];
        let read = self.memory.dma().read_slice(&mut bytes, GuestAddress(at));
        read.map(|()| u64::from_le_bytes(bytes)).map_err(|_| Untranslated::NoRam(at))
    }

    fn store(&self, at: u64, value: u64) -> Result<(), Untranslated> {
        let written = self.memory.dma().write_slice(&value.to_le_bytes(), GuestAddress(at));
        written.map_err(|_| Untranslated::NoRam(at))
    }

    /// Address of entry `n` of a table (GITS_BASERn).
    fn entry(&self, table: usize, n: u32) -> Result<u64, Untranslated> {
        let baser = self.regs.baser.get(table).copied().filter(|baser| baser & VALID != 0);
        let baser = baser.ok_or(Untranslated::NoTable)?;
        if n >> ID_BITS != 0 {
            return Err(Untranslated::Beyond(n));
        }
        let page_len = 0x1000 << (2 * (baser >> 8 & 3).min(2));
        let len = page_len * ((baser & 0xff) + 1);
        // Pages of 64 KiB are aligned; bits 15:12 are then bits 51:48 of the address.
        let at = match page_len {
            0x1_0000 => baser & 0xffff_ffff_0000 | (baser & 0xf000) << 36,
            _ => baser & 0xffff_ffff_f000,
        };
        let per_page = page_len / ENTRY;
        let (at, len, n) = match baser & INDIRECT {
            0 => (at, len, u64::from(n)),
            _ => {
                let first = u64::from(n) / per_page * ENTRY;
                if first >= len {
                    return Err(Untranslated::Beyond(n));
                }
                let page = self.load(at + first)?;
                if page & VALID == 0 {
                    return Err(Untranslated::Unmapped(n));
                }
                (page & LEVEL1_ADDRESS, page_len, u64::from(n) % per_page)
            }
        };
        if n * ENTRY < len { Ok(at + n * ENTRY) } else { Err(Untranslated::Beyond(n as u32)) }
    }

    /// Address of the interrupt translation table's entry for an event.
    fn ite(&self, device: u32, event: u32) -> Result<u64, Untranslated> {
        let dte = self.load(self.entry(DEVICES, device)?)?;
        if dte & VALID == 0 {
            return Err(Untranslated::Unmapped(device));
        }
        if u64::from(event) >> ((dte & DTE_SIZE) + 1) != 0 || event >> ID_BITS != 0 {
            return Err(Untranslated::Beyond(event));
        }
        Ok((dte & DTE_ADDRESS) + u64::from(event) * ENTRY)
    }

    /// The processor of a collection.
    fn collection(&self, icid: u16) -> Result<u16, Untranslated> {
        let cte = self.load(self.entry(COLLECTIONS, icid.into())?)?;
        if cte & VALID == 0 { Err(Untranslated::Unmapped(icid.into())) } else { self.processor(cte & !VALID) }
    }

    fn processor(&self, n: u64) -> Result<u16, Untranslated> {
        let exists = usize::try_from(n).is_ok_and(|n| n < self.processors);
        u16::try_from(n).ok().filter(|_| exists).ok_or(Untranslated::Processor(n))
    }

    /// INTID and collection of an event.
    fn mapping(&self, device: u32, event: u32) -> Result<(u32, u16), Untranslated> {
        let ite = self.load(self.ite(device, event)?)?;
        let intid = (ite & ITE_INTID) as u32;
        match ite & VALID {
            0 => Err(Untranslated::Unmapped(event)),
            _ => Ok((self.lpi(intid)?, (ite >> ITE_ICID_SHIFT) as u16)),
        }
    }

    fn lpi(&self, intid: u32) -> Result<u32, Untranslated> {
        let is_lpi = (FIRST_LPI..1 << INTID_BITS).contains(&intid);
        if is_lpi { Ok(intid) } else { Err(Untranslated::NotLpi(intid)) }
    }

    /// Processor and INTID of an event.
    fn translate(&self, device: u32, event: u32) -> Result<(u16, u32), Untranslated> {
        let (intid, icid) = self.mapping(device, event)?;
        Ok((self.collection(icid)?, intid))
    }

    /// Bytes of the command queue.
    fn queue_len(&self) -> u64 {
        0x1000 * ((self.regs.cbaser & 0xff) + 1)
    }

    /// Does the commands that wait: each once, so at most as many as the queue holds.
    fn run(&mut self) {
        let mut actions = Vec::new();
        let (base, len) = (self.regs.cbaser & CBASER_ADDRESS, self.queue_len());
        let valid = self.regs.enabled && self.regs.cbaser & VALID != 0;
        while valid && !self.regs.stalled && self.regs.creadr != self.regs.cwriter {
            let mut bytes = [0; command::LEN as usize];
            if self.memory.dma().read_slice(&mut bytes, GuestAddress(base + self.regs.creadr)).is_err() {
                vm::log!(GuestError, "its: command at {:#x} is not in RAM", base + self.regs.creadr);
                self.regs.stalled = true;
                break;
            }
            // "Command errors": a command with an error is skipped.
            if let Err(why) = self.command(&bytes, &mut actions) {
                vm::log!(GuestError, "its: command {bytes:02x?}: {why}");
            }
            self.regs.creadr += command::LEN;
            if self.regs.creadr >= len {
                self.regs.creadr = 0;
            }
        }
        if !actions.is_empty() {
            self.act(&actions);
        }
    }

    fn read_word(&self, offset: u64) -> u32 {
        let half = |value: u64| (value >> (8 * (offset & 4))) as u32;
        let r = &self.regs;
        match offset {
            GITS_CTLR if r.enabled => ENABLED,
            GITS_CTLR => QUIESCENT,
            GITS_IIDR => IIDR,
            _ => match offset & !7 {
                GITS_TYPER => half(TYPER),
                GITS_CBASER => half(r.cbaser),
                GITS_CWRITER => half(r.cwriter),
                GITS_CREADR => half(r.creadr | if r.stalled { STALLED } else { 0 }),
                at @ GITS_BASER..GITS_BASER_END => {
                    let n = ((at - GITS_BASER) / 8) as usize;
                    r.baser.get(n).zip(BASER_FIXED.get(n)).map_or(0, |(baser, fixed)| half(baser | fixed))
                }
                _ => identification(offset),
            },
        }
    }

    fn write_word(&mut self, lanes: Lanes, value: u32) {
        let shift = 8 * (lanes.register & 4);
        let merge = |old: u64| old & !(u64::from(lanes.mask) << shift) | u64::from(value) << shift;
        let r = &mut self.regs;
        match lanes.register {
            GITS_CTLR => {
                if lanes.mask & ENABLED != 0 {
                    r.enabled = value & ENABLED != 0;
                    self.run();
                }
                return;
            }
            GITS_IIDR => return,
            _ => {}
        }
        match lanes.register & !7 {
            // While enabled, writes of addresses are unpredictable; here they have no effect.
            GITS_CBASER if !r.enabled => {
                r.cbaser = merge(r.cbaser) & CBASER_MASK;
                (r.creadr, r.stalled) = (0, false);
            }
            GITS_CWRITER if shift == 0 => {
                let cwriter = merge(r.cwriter);
                r.cwriter = cwriter & QUEUE_OFFSET;
                r.stalled &= cwriter & RETRY == 0;
                if r.cwriter >= self.queue_len() {
                    vm::log!(GuestError, "its: GITS_CWRITER {cwriter:#x} is beyond the queue");
                    self.regs.cwriter = self.regs.creadr;
                }
                self.run();
            }
            at @ GITS_BASER..GITS_BASER_END if !r.enabled => {
                if let Some(baser) = r.baser.get_mut(((at - GITS_BASER) / 8) as usize) {
                    *baser = merge(*baser) & BASER_MASK;
                }
            }
            _ => {}
        }
    }
}

/// PIDR4 to PIDR7, PIDR0 to PIDR3, CIDR0 to CIDR3: part number 0x494, architecture version 3.
fn identification(offset: u64) -> u32 {
    let bytes = [0x44, 0, 0, 0, 0x94, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1];
    let index = offset.checked_sub(ID).map(|into| (into / 4) as usize);
    index.and_then(|index| bytes.get(index)).map_or(0, |byte| *byte)
}

impl Device for Gicv3Its {
    type Regs = Gicv3ItsRegs;
    const MODEL: &'static str = "gicv3-its";

    fn regs(&self) -> &Gicv3ItsRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Gicv3ItsRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = Gicv3ItsRegs::default();
    }
}

impl Mmio for Gicv3Its {
    const WINDOWS: &'static [Window] = &[Window { len: LEN, widths: 1..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if at.width == 8 && at.offset.is_multiple_of(8) {
            let half = |offset| Access { offset, width: 4, ..at };
            let low = self.read(half(at.offset))?;
            return Ok(self.read(half(at.offset + 4))? << 32 | low);
        }
        let lanes = Lanes::of(at)?;
        Ok(lanes.extract(if lanes.register < FRAME { self.read_word(lanes.register) } else { 0 }))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if at.width == 8 && at.offset.is_multiple_of(8) {
            let half = |offset| Access { offset, width: 4, ..at };
            self.write(half(at.offset), value & 0xffff_ffff)?;
            return self.write(half(at.offset + 4), value >> 32);
        }
        let lanes = Lanes::of(at)?;
        if lanes.register >= FRAME {
            // GITS_TRANSLATER: a processor has no DeviceID.
            vm::log!(GuestError, "its: message {value:#x} from a processor");
            return Ok(());
        }
        self.write_word(lanes, lanes.place(value));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
