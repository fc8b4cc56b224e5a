//! Host registers of an SMBus without devices, as in the 82371AB ("SMBus host interface registers" of data sheet 290562) and
//! the ICH9 ("SMBus I/O and Memory Mapped I/O Registers" of 316972).

use serde::{Deserialize, Serialize};

const HST_STS: usize = 0;
const HST_CNT: usize = 2;
const DEV_ERR: u8 = 1 << 2;
const START: u8 = 1 << 6;

/// The registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmbusRegs([u8; 32]);

impl SmbusRegs {
    /// Reads the byte at `offset`.
    pub fn read(&self, offset: u64) -> u8 {
        self.0.get(offset as usize).copied().unwrap_or(0)
    }

    /// Writes the byte at `offset`.
    pub fn write(&mut self, offset: u64, value: u8) {
        let Some(register) = self.0.get_mut(offset as usize) else { return };
        match offset as usize {
            HST_STS => *register &= !value,
            HST_CNT => {
                *register = value & !START;
                // Nobody acknowledges an address.
                if value & START != 0 {
                    self.0[HST_STS] |= DEV_ERR;
                }
            }
            _ => *register = value,
        }
    }
}
