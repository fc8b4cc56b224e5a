//! "EEPROM interface" (Microwire, 64 words) and "PHY registers" (an M88E1011 whose link is always up).

use serde::{Deserialize, Serialize};

// EECD.
const CLOCK: u32 = 1 << 0;
const SELECT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;
const REQUEST: u32 = 1 << 6;
const GRANT: u32 = 1 << 7;
const PRESENT: u32 = 1 << 8;

// EERD.
const READ_START: u32 = 1 << 0;
const READ_DONE: u32 = 1 << 4;

// MDIC.
const MDIC_WRITE: u32 = 1 << 26;
const MDIC_READ: u32 = 2 << 26;
const MDIC_READY: u32 = 1 << 28;
const MDIC_ERROR: u32 = 1 << 30;

/// Words are read with a start bit, two bits of operation and six of address.
const COMMAND_BITS: u8 = 9;
const OPERATION_READ: u16 = 0b110;
/// The sum of all words.
const CHECKSUM: u16 = 0xbaba;

/// State of the EEPROM's and the PHY's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EepromRegs {
    eecd: u32,
    pub(super) eerd: u32,
    pub(super) mdic: u32,
    /// Bits of the command so far, and how many.
    command: u16,
    bits: u8,
    /// What is shifted out.
    out: u16,
    output: bool,
    /// Registers of the PHY that were written: control, advertisement, 1000BASE-T control.
    phy: [Option<u16>; 3],
}

/// Word `at`: the address, identification, the checksum.
fn word(mac: [u8; 6], at: u8) -> u16 {
    let [m0, m1, m2, m3, m4, m5] = mac;
    let known = |at: u8| match at {
        0 => u16::from_le_bytes([m0, m1]),
        1 => u16::from_le_bytes([m2, m3]),
        2 => u16::from_le_bytes([m4, m5]),
        0x0a => 0x4408, // initialization control 1: the IDs are valid
        0x0b => 0x1100,
        0x0c => 0x1af4,
        0x0d => 0x100e,
        0x0e => 0x8086,
        0x0f => 0x3040,
        _ => 0,
    };
    if at == 0x3f { (0..0x3f).fold(CHECKSUM, |rest, at| rest.wrapping_sub(known(at))) } else { known(at) }
}

impl EepromRegs {
    pub(super) fn read_eecd(&self) -> u32 {
        let grant = if self.eecd & REQUEST != 0 { GRANT } else { 0 };
        let out = if self.output { DATA_OUT } else { 0 };
        self.eecd | grant | out | PRESENT
    }

    pub(super) fn write_eecd(&mut self, value: u32, mac: [u8; 6]) {
        let rises = value & !self.eecd & CLOCK != 0;
        self.eecd = value & (CLOCK | SELECT | DATA_IN | REQUEST);
        if value & SELECT == 0 {
            (self.command, self.bits, self.output) = (0, 0, true);
            return;
        }
        if !rises {
            return;
        }
        if self.bits < COMMAND_BITS {
            let bit = u16::from(value & DATA_IN != 0);
            // Zeros before the start bit are none.
            if self.bits == 0 && bit == 0 {
                return;
            }
            self.command = self.command << 1 | bit;
            self.bits += 1;
            if self.bits == COMMAND_BITS {
                let read = self.command >> 6 == OPERATION_READ;
                self.out = if read { word(mac, self.command as u8 & 0x3f) } else { 0xffff };
                // A zero before the first bit, or ready after a write, which is ignored.
                self.output = !read;
            }
            return;
        }
        self.output = self.out & 0x8000 != 0;
        self.out = self.out << 1 | 1;
    }

    /// "EEPROM read register".
    pub(super) fn read_eerd(&self, mac: [u8; 6]) -> u32 {
        if self.eerd & READ_START == 0 {
            return self.eerd;
        }
        let at = (self.eerd >> 8) as u8 & 0x3f;
        u32::from(word(mac, at)) << 16 | u32::from(at) << 8 | READ_DONE
    }

    fn phy_slot(register: u32) -> Option<usize> {
        [0, 4, 9].iter().position(|at| *at == register)
    }

    fn phy(&self, register: u32) -> u16 {
        let written = Self::phy_slot(register).and_then(|slot| self.phy.get(slot).copied().flatten());
        written.unwrap_or(match register {
            0 => 0x1140,
            1 => 0x796d, // all modes, autonegotiation complete, link up
            2 => 0x0141,
            3 => 0x0c20,
            4 => 0x0de1,
            5 => 0x45e1,
            6 => 0x0001,
            9 => 0x0e00,
            10 => 0x3c00,
            15 => 0x3000,
            16 => 0x0360,
            17 => 0xac00, // 1000 Mb/s, full duplex, resolved, link up
            _ => 0,
        })
    }

    /// "MDI control register": done at once.
    pub(super) fn write_mdic(&mut self, value: u32) {
        let register = value >> 16 & 0x1f;
        self.mdic = value | MDIC_READY;
        if value >> 21 & 0x1f != 1 {
            self.mdic |= MDIC_ERROR;
            return;
        }
        match value & (MDIC_WRITE | MDIC_READ) {
            MDIC_READ => self.mdic = self.mdic & !0xffff | u32::from(self.phy(register)),
            MDIC_WRITE => {
                if let Some(old) = Self::phy_slot(register).and_then(|slot| self.phy.get_mut(slot)) {
                    // Reset and restart of autonegotiation clear themselves.
                    *old = Some(if register == 0 { value as u16 & !0x8200 } else { value as u16 });
                }
            }
            _ => self.mdic |= MDIC_ERROR,
        }
    }
}
