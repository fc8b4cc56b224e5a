//! What is put into memory before the first instruction: kernels, initial RAM disks, device trees.
//!
//! [`file`] reads host files. ARM's: [`kernel`] recognises what they are and unpacks them, [`arm64`] places them in RAM. PCs':
//! [`x86`] recognises them; [`linux_x86`], [`pvh`] and [`multiboot`] place them and say how they are entered.

pub mod arm64;
mod elf_x86;
pub mod file;
pub mod identify;
pub mod kernel;
pub mod linux_x86;
pub mod multiboot;
pub mod pvh;
pub mod unpack;
pub mod x86;

pub use file::File;

use std::sync::Arc;
use vm::{AddressSpace, BusError, Gpa};

/// Bytes that are in memory at every reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What it is, for people.
    pub name: String,
    /// Where it begins.
    pub gpa: Gpa,
    /// Its contents.
    pub bytes: Arc<Vec<u8>>,
    /// Zero bytes that follow the contents.
    pub zeros: u64,
}

impl Blob {
    /// The address behind its last byte.
    pub fn end(&self) -> u64 {
        self.gpa.0.saturating_add(self.bytes.len() as u64).saturating_add(self.zeros)
    }

    /// Writes it, into ROM too.
    ///
    /// # Errors
    /// [`BusError`] when it lies outside of memory.
    pub fn write(&self, bus: &AddressSpace) -> Result<(), BusError> {
        static ZEROS: [u8; 65536] = [0; 65536];
        bus.write(self.gpa, &self.bytes)?;
        let mut at = self.gpa.0.saturating_add(self.bytes.len() as u64);
        while at < self.end() {
            let n = ZEROS.len().min(usize::try_from(self.end() - at).unwrap_or(usize::MAX));
            bus.write(Gpa(at), &ZEROS[..n])?;
            at += n as u64;
        }
        Ok(())
    }
}
