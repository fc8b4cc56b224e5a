//! Narrow accesses to banks of 32-bit registers.

use vm::{Access, BusError};

/// The byte lanes of one 32-bit register that an access of 1, 2 or 4 bytes touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// Offset of the register in its window.
    pub register: u64,
    /// The bits of the register that are accessed.
    pub mask: u32,
    shift: u32,
}

impl Lanes {
    /// All of the register at `register`.
    pub fn word(register: u64) -> Self {
        Self { register, mask: !0, shift: 0 }
    }

    /// The lanes of `at`, which must be naturally aligned.
    pub fn of(at: Access) -> Result<Self, BusError> {
        let lowest = match at.width {
            1 => 0xff,
            2 => 0xffff,
            4 => 0xffff_ffff,
            _ => return Err(BusError::BadWidth),
        };
        if !at.offset.is_multiple_of(at.width.into()) {
            return Err(BusError::BadOffset);
        }
        let shift = (at.offset as u32 & 3) * 8;
        Ok(Self { register: at.offset & !3, mask: lowest << shift, shift })
    }

    /// What the access reads when the register holds `word`.
    pub fn extract(self, word: u32) -> u64 {
        ((word & self.mask) >> self.shift).into()
    }

    /// `value` of the access in the register's bit positions; all other bits are 0.
    pub fn place(self, value: u64) -> u32 {
        (value as u32) << self.shift & self.mask
    }
}
