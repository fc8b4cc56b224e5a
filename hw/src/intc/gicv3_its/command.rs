//! ITS commands: Arm IHI 0069, "ITS commands". 32 bytes each: four doublewords, the command's number in the first byte.

use super::{COLLECTIONS, DEVICES, DTE_ADDRESS, Gicv3Its, ID_BITS, ITE_ICID_SHIFT, LpiAction, Untranslated, VALID};

/// Bytes of a command.
pub const LEN: u64 = 32;

/// Numbers of the commands.
pub mod number {
    pub const MOVI: u8 = 0x01;
    pub const INT: u8 = 0x03;
    pub const CLEAR: u8 = 0x04;
    pub const SYNC: u8 = 0x05;
    pub const MAPD: u8 = 0x08;
    pub const MAPC: u8 = 0x09;
    pub const MAPTI: u8 = 0x0a;
    pub const MAPI: u8 = 0x0b;
    pub const INV: u8 = 0x0c;
    pub const INVALL: u8 = 0x0d;
    pub const MOVALL: u8 = 0x0e;
    pub const DISCARD: u8 = 0x0f;
}

/// The fields of commands, each where all commands have it that have it.
struct Fields([u64; 4]);

impl Fields {
    fn of(bytes: &[u8; LEN as usize]) -> Self {
        let word = |n: usize| bytes.iter().skip(8 * n).take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self([word(0), word(1), word(2), word(3)])
    }
    fn device(&self) -> u32 {
        (self.0[0] >> 32) as u32
    }
    fn event(&self) -> u32 {
        self.0[1] as u32
    }
    fn intid(&self) -> u32 {
        (self.0[1] >> 32) as u32
    }
    /// MAPD: bits of an EventID, less one.
    fn size(&self) -> u64 {
        self.0[1] & 0x1f
    }
    fn icid(&self) -> u16 {
        self.0[2] as u16
    }
    fn valid(&self) -> bool {
        self.0[2] & VALID != 0
    }
    /// MAPD: address of the interrupt translation table.
    fn table(&self) -> u64 {
        self.0[2] & DTE_ADDRESS
    }
    /// RDbase: the number of a processor (GITS_TYPER.PTA is 0).
    fn processor(&self, word: usize) -> u64 {
        self.0[word] >> 16 & 0x7_ffff_ffff
    }
}

impl Gicv3Its {
    /// Does a command. What it asks of the redistributors goes to `actions`.
    pub(super) fn command(&self, bytes: &[u8; LEN as usize], actions: &mut Vec<LpiAction>) -> Result<(), Untranslated> {
        let f = Fields::of(bytes);
        let (device, event) = (f.device(), f.event());
        match bytes[0] {
            number::MAPD if f.valid() => {
                let entry = self.entry(DEVICES, device)?;
                if f.size() + 1 > ID_BITS.into() {
                    return Err(Untranslated::Size(f.size() + 1));
                }
                self.store(entry, VALID | f.table() | f.size())?;
            }
            number::MAPD => self.store(self.entry(DEVICES, device)?, 0)?,
            number::MAPC if f.valid() => {
                let processor = self.processor(f.processor(2))?;
                self.store(self.entry(COLLECTIONS, f.icid().into())?, VALID | u64::from(processor))?;
            }
            number::MAPC => self.store(self.entry(COLLECTIONS, f.icid().into())?, 0)?,
            number::MAPTI => self.map(&f, f.intid())?,
            number::MAPI => self.map(&f, event)?,
            number::MOVI => {
                let (intid, old) = self.mapping(device, event)?;
                let (from, to) = (self.collection(old)?, self.collection(f.icid())?);
                self.map(&f, intid)?;
                actions.push(LpiAction::Move { from, to, intid });
            }
            number::MOVALL => {
                let (from, to) = (self.processor(f.processor(2))?, self.processor(f.processor(3))?);
                actions.push(LpiAction::MoveAll { from, to });
            }
            number::INT => {
                let (cpu, intid) = self.translate(device, event)?;
                actions.push(LpiAction::Set { cpu, intid });
            }
            number::CLEAR => {
                let (cpu, intid) = self.translate(device, event)?;
                actions.push(LpiAction::Clear { cpu, intid });
            }
            number::DISCARD => {
                let (cpu, intid) = self.translate(device, event)?;
                self.store(self.ite(device, event)?, 0)?;
                actions.push(LpiAction::Clear { cpu, intid });
            }
            number::INV => {
                let (cpu, intid) = self.translate(device, event)?;
                actions.push(LpiAction::Invalidate { cpu, intid });
            }
            number::INVALL => actions.push(LpiAction::InvalidateAll { cpu: self.collection(f.icid())? }),
            // All commands before it have taken effect.
            number::SYNC => _ = self.processor(f.processor(2))?,
            _ => return Err(Untranslated::Command),
        }
        Ok(())
    }

    /// Maps the command's event to `intid` in its collection.
    fn map(&self, f: &Fields, intid: u32) -> Result<(), Untranslated> {
        let entry = self.ite(f.device(), f.event())?;
        let intid = self.lpi(intid)?;
        self.store(entry, VALID | u64::from(f.icid()) << ITE_ICID_SHIFT | u64::from(intid))
    }
}
