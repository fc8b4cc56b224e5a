//! Chips: one file per chip, named by its part number, in a folder per kind.
//!
//! | folder   | what                                                                          |
//! |----------|-------------------------------------------------------------------------------|
//! | `char`   | serial and parallel ports                                                     |
//! | `rtc`    | clocks that keep the time of day                                              |
//! | `gpio`   | general-purpose pins                                                          |
//! | `block`  | storage chips that are not virtio                                             |
//! | `net`    | network cards that are not virtio                                             |
//! | `pci`    | the PCI bus, and the chips of a chip set that are on it                       |
//! | `input`  | keyboards and mice                                                            |
//! | `misc`   | what fits nowhere else: firmware configuration, system ports, test devices    |
//! | `intc`   | interrupt controllers                                                         |
//! | `timer`  | counters and timers                                                           |
//! | `dma`    | DMA controllers                                                               |
//! | `display`| display adapters                                                              |
//! | `virtio` | the virtio transport(s), the rings, and one file per virtio device            |
//!
//! A chip knows its manual, and the handles that it was built with: lines ([`vm::IrqLine`]), time ([`vm::clock::Clock`]),
//! memory ([`vm::AddressSpace`]), host ends ([`vm::chardev::CharPort`], [`vm::blockdev::BlockDev`], ...). It does not know
//! any CPU, board, address, interrupt number or host file, nor host time and randomness.
//!
//! Start reading at [`char::pl011`]: registers in one plain struct, which is what resets, is saved and is compared;
//! `read` and `write` by register; one `update` that derives the outputs. [`vm::DeviceCell`] does the rest.
//!
//! To add a chip: write `KIND/PART.rs` with `impl Device` and `impl Mmio`; end it with tests of the manual's reset values,
//! of each interrupt's cause, mask and clear, of saving and loading, and with the generic access test (the crate's
//! `testing` module has all of these but the first two ready-made; a device that reads and writes memory also has a test
//! with `fuzz`). Then name it in a board.

#![forbid(unsafe_code)]

pub mod block;
pub mod char;
pub mod display;
pub mod dma;
pub mod gpio;
pub mod input;
pub mod intc;
pub mod isa;
pub mod misc;
pub mod net;
pub mod pci;
pub mod rtc;
pub mod timer;
pub mod virtio;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod testing;

/// The identification registers at 0xfe0..=0xffc that every Arm PrimeCell has: four bytes of its own and the four that
/// say that it is a PrimeCell, each in the low byte of a word.
pub(crate) fn primecell_id(peripheral: [u8; 4], offset: u64) -> Option<u64> {
    const PRIMECELL: [u8; 4] = [0x0d, 0xf0, 0x05, 0xb1];
    let index = usize::try_from(offset.checked_sub(0xfe0)? / 4).ok()?;
    if !offset.is_multiple_of(4) {
        return None;
    }
    peripheral.iter().chain(&PRIMECELL).nth(index).map(|byte| u64::from(*byte))
}
