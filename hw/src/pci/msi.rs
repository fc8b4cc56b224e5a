//! Interrupts as messages: 6.8, "Message Signaled Interrupts".

use super::config::{Layout, PciRegs};
use super::function::Function;
use serde::{Deserialize, Serialize};
use vm::{BadState, Regs};

const MSI_ID: u8 = 0x05;
const MSIX_ID: u8 = 0x11;

/// MSI with one message, a 64-bit address and no mask bits (6.8.1). It has no registers beside the capability.
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    at: u8,
}

impl Msi {
    /// Appends the capability to `layout`.
    pub fn new(layout: &mut Layout) -> Self {
        // Message control: enable, one message (the requested number may be granted: 0), 64 bits.
        let mut writable = [0xff; 12];
        writable[..2].copy_from_slice(&[0x71, 0]);
        writable[2] = 0xfc;
        Self { at: layout.capability(MSI_ID, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &writable) }
    }

    /// Whether the function interrupts by message instead of its pin.
    pub fn is_enabled(&self, regs: &PciRegs) -> bool {
        regs.byte(self.at + 2) & 1 != 0
    }

    /// Sends the message, if enabled.
    pub fn send(&self, function: &Function, regs: &PciRegs) {
        if self.is_enabled(regs) {
            let address = u64::from(regs.dword(self.at + 4)) | u64::from(regs.dword(self.at + 8)) << 32;
            function.send_msi(regs, address, regs.word(self.at + 12).into());
        }
    }
}

/// Bytes of a table entry (6.8.2.6 to 6.8.2.9).
const ENTRY_LEN: u64 = 16;
/// Message control (6.8.2.3): enable, and mask all.
const ENABLE: u8 = 0x80;
const MASK_ALL: u8 = 0x40;
/// Vector control: mask.
const MASKED: u32 = 1;
/// Vectors at most.
const VECTORS_MAX: usize = 2048;

/// MSI-X: how a function has it.
#[derive(Clone, Copy, Debug)]
pub struct Msix {
    at: u8,
    vectors: u16,
    pending_at: u64,
}

/// Its registers beside the capability: the table and the pending bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsixRegs {
    /// Address (low, high), data, vector control.
    table: Vec<[u32; 4]>,
    /// Vectors that were raised while masked.
    pending: Vec<bool>,
}

impl Regs for MsixRegs {
    fn validate(&self) -> Result<(), BadState> {
        if self.table.len() > VECTORS_MAX || self.pending.len() != self.table.len() {
            return Err(BadState(format!("{} MSI-X vectors, {} pending bits", self.table.len(), self.pending.len())));
        }
        Ok(())
    }
}

impl Msix {
    /// Appends the capability to `layout`: `vectors` (1 to 2048) of them, with the table at the start and the pending bits
    /// at byte `pending_at` of the window of base address register number `bar`.
    pub fn new(layout: &mut Layout, vectors: u16, bar: u8, pending_at: u32) -> Self {
        let vectors = vectors.clamp(1, VECTORS_MAX as u16);
        let [size_low, size_high] = (vectors - 1).to_le_bytes();
        let [p0, p1, p2, p3] = (pending_at & !7 | u32::from(bar & 7)).to_le_bytes();
        let bytes = [size_low, size_high, bar & 7, 0, 0, 0, p0, p1, p2, p3];
        let at = layout.capability(MSIX_ID, &bytes, &[0, ENABLE | MASK_ALL]);
        Self { at, vectors, pending_at: (pending_at & !7).into() }
    }

    /// The registers at power-on.
    pub fn power_on(&self) -> MsixRegs {
        let n = usize::from(self.vectors);
        MsixRegs { table: vec![[0, 0, 0, MASKED]; n], pending: vec![false; n] }
    }

    /// Whether the function interrupts by messages instead of its pin.
    pub fn is_enabled(&self, regs: &PciRegs) -> bool {
        regs.byte(self.at + 3) & ENABLE != 0
    }

    fn is_masked(&self, regs: &PciRegs, entry: &[u32; 4]) -> bool {
        regs.byte(self.at + 3) & MASK_ALL != 0 || entry[3] & MASKED != 0
    }

    /// Reads `width` (4 or 8) bytes of the window that holds table and pending bits. Elsewhere it reads as zero.
    pub fn read(&self, msix: &MsixRegs, offset: u64, width: u8) -> u64 {
        let low = self.read_word(msix, offset & !3);
        if width <= 4 {
            low.into()
        } else {
            u64::from(low) | u64::from(self.read_word(msix, (offset & !3).wrapping_add(4))) << 32
        }
    }

    fn read_word(&self, msix: &MsixRegs, offset: u64) -> u32 {
        if offset < ENTRY_LEN * u64::from(self.vectors) {
            let entry = msix.table.get((offset / ENTRY_LEN) as usize);
            return entry.map_or(0, |entry| entry[(offset % ENTRY_LEN / 4) as usize]);
        }
        let Some(into) = offset.checked_sub(self.pending_at).filter(|into| *into < VECTORS_MAX as u64 / 8) else {
            return 0;
        };
        let bits = msix.pending.iter().skip(into as usize * 8).take(32);
        bits.enumerate().fold(0, |word, (n, pending)| word | u32::from(*pending) << n)
    }

    /// Writes `width` (4 or 8) bytes of the table. The pending bits cannot be written.
    pub fn write(&self, msix: &mut MsixRegs, offset: u64, width: u8, value: u64) {
        for (n, at) in
            [offset & !3, (offset & !3).wrapping_add(4)].into_iter().take(usize::from(width / 4).max(1)).enumerate()
        {
            if let Some(entry) = msix.table.get_mut((at / ENTRY_LEN) as usize) {
                entry[(at % ENTRY_LEN / 4) as usize] = (value >> (32 * n)) as u32;
            }
        }
    }

    /// Interrupts by vector `vector`: now, or once it is no longer masked. Vectors that do not exist are nobody's.
    pub fn raise(&self, msix: &mut MsixRegs, function: &Function, regs: &PciRegs, vector: u16) {
        let vector = usize::from(vector);
        let (Some(entry), Some(pending)) = (msix.table.get(vector), msix.pending.get_mut(vector)) else { return };
        if !self.is_enabled(regs) {
            return;
        }
        if self.is_masked(regs, entry) {
            *pending = true;
        } else {
            send(function, regs, entry);
        }
    }

    /// Sends what was pending and is not masked any more. For the device's `update`.
    pub fn update(&self, msix: &mut MsixRegs, function: &Function, regs: &PciRegs) {
        if !self.is_enabled(regs) {
            return;
        }
        for (entry, pending) in msix.table.iter().zip(&mut msix.pending).filter(|(_, pending)| **pending) {
            if !self.is_masked(regs, entry) {
                *pending = false;
                send(function, regs, entry);
            }
        }
    }
}

fn send(function: &Function, regs: &PciRegs, entry: &[u32; 4]) {
    let [low, high, data, _] = *entry;
    function.send_msi(regs, u64::from(low & !3) | u64::from(high) << 32, data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::config::COMMAND;
    use crate::pci::testing::Machine;

    fn function(machine: &Machine, layout: Layout) -> (Function, PciRegs) {
        let function = Function::new(machine.bus.slot(1, 0), layout);
        let mut regs = function.power_on();
        function.write(&mut regs, COMMAND, 2, 4);
        (function, regs)
    }

    #[test]
    fn one_message() {
        let machine = Machine::default();
        let mut layout = Layout::new(1, 2, 3, 4);
        let msi = Msi::new(&mut layout);
        let (function, mut regs) = function(&machine, layout);
        assert_eq!(function.read(&regs, 0x40, 4), 0x80_0005);
        for (at, value) in [(0x44, 0xfee0_1003), (0x48, 1), (0x4c, 0xffff_4123)] {
            function.write(&mut regs, at, 4, value);
        }
        msi.send(&function, &regs);
        assert_eq!(machine.take_messages(), []);
        function.write(&mut regs, 0x42, 2, 0xffff);
        assert_eq!(function.read(&regs, 0x42, 2), 0xf1);
        msi.send(&function, &regs);
        assert_eq!(machine.take_messages(), [(0x1_fee0_1000, 0x4123)]);
        function.write(&mut regs, COMMAND, 2, 0);
        msi.send(&function, &regs);
        assert_eq!(machine.take_messages(), [], "no bus master");
    }

    #[test]
    fn a_table_of_messages() {
        let machine = Machine::default();
        let mut layout = Layout::new(1, 2, 3, 4);
        let msix = Msix::new(&mut layout, 3, 1, 0x800);
        let (function, mut regs) = function(&machine, layout);
        let mut table = msix.power_on();
        assert_eq!([0x40, 0x44, 0x48].map(|at| function.read(&regs, at, 4)), [0x0002_0011, 1, 0x801]);
        for n in 0..3 {
            assert_eq!(msix.read(&table, n * 16 + 8, 8), 1 << 32, "masked at power-on");
            msix.write(&mut table, n * 16, 8, 0xfee0_0000 + (n << 12));
            msix.write(&mut table, n * 16 + 8, 8, 0x40 + n);
        }
        msix.raise(&mut table, &function, &regs, 1);
        assert_eq!((machine.take_messages(), msix.read(&table, 0x800, 4)), (vec![], 0), "disabled");
        function.write(&mut regs, 0x42, 2, 0x8000);
        [1, 7, 2].into_iter().for_each(|vector| msix.raise(&mut table, &function, &regs, vector));
        assert_eq!(machine.take_messages(), [(0xfee0_1000, 0x41), (0xfee0_2000, 0x42)]);
        msix.write(&mut table, 0x1c, 4, 1);
        msix.raise(&mut table, &function, &regs, 1);
        function.write(&mut regs, 0x43, 1, 0xc0);
        msix.raise(&mut table, &function, &regs, 2);
        msix.update(&mut table, &function, &regs);
        assert_eq!((machine.take_messages(), msix.read(&table, 0x800, 8)), (vec![], 6));
        function.write(&mut regs, 0x43, 1, 0x80);
        msix.update(&mut table, &function, &regs);
        assert_eq!((machine.take_messages(), msix.read(&table, 0x800, 4)), (vec![(0xfee0_2000, 0x42)], 2));
        msix.write(&mut table, 0x1c, 4, 0);
        msix.update(&mut table, &function, &regs);
        assert_eq!((machine.take_messages(), msix.read(&table, 0x800, 4)), (vec![(0xfee0_1000, 0x41)], 0));
        // Anywhere else is nowhere.
        for offset in [0x30, 0x7fc, 0x900, 0xffc, u64::MAX - 7] {
            msix.write(&mut table, offset, 4, u64::MAX);
            assert_eq!(msix.read(&table, offset, 8), 0);
        }
        assert!(table.validate().is_ok());
        table.pending.pop();
        assert!(table.validate().is_err());
    }
}
