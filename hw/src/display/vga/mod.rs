//! Standard VGA with the "Bochs" VBE extension, as a PCI function. The VGA is that of IBM's "Personal System/2 Hardware
//! Interface Technical Reference", "Video Subsystem"; the extension that of Bochs' "VBE DISPI interface" (ID 0xb0c5); its
//! memory-mapped registers those of QEMU's specification "QEMU Standard VGA".
//!
//! - here: the function and its windows; [`registers`]: the ports; [`vbe`]: the extension;
//! - [`memory`]: how the window at 0xa0000 reaches the four planes;
//! - [`render`]: the picture.
//!
//! Video memory holds the planes interleaved: the bytes of planes 0 to 3 at address `a` are at `4a` to `4a + 3`. Chain-4 and
//! odd/even addresses are packed, so that address `c` of the CRT controller is at `4c` in every mode. Deviation: on an IBM
//! VGA they leave gaps, and bytes that are written in one of these modes are found elsewhere in another.

pub mod memory;
pub mod registers;
pub mod render;
#[cfg(test)]
mod tests;
pub mod vbe;

use crate::pci::config::{BAR0, Bar, Layout, PciRegs, ROM, Space, Window as BarWindow};
use crate::pci::function::{Function, PciFunction, PciSlot};
use registers::StandardRegs;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vbe::VbeRegs;
use vm::clock::Clock;
use vm::display::{DisplayDevice, Frame};
use vm::{Access, BusError, Device, Mmio, Ram, Regs, ResetKind, Window};

/// Ports 0x3b0 to 0x3df.
pub const PORTS: u8 = 0;
/// Ports 0x1ce to 0x1d0 of the extension.
pub const VBE_PORTS: u8 = 1;
/// Memory 0xa0000 to 0xbffff.
pub const LEGACY: u8 = 2;
/// The registers in memory.
const REGISTERS: u8 = 3;

/// First of the ports.
const FIRST_PORT: u64 = 0x3b0;
/// Bytes of video memory at most.
pub const VRAM_MAX: u64 = 256 << 20;

/// The adapter.
pub struct Vga {
    regs: VgaRegs,
    function: Function,
    vram: Arc<Ram>,
    clock: Arc<dyn Clock>,
}

/// Its registers. The video memory is a RAM block of the machine.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VgaRegs {
    pci: PciRegs,
    standard: StandardRegs,
    vbe: VbeRegs,
}

impl Regs for VgaRegs {}

impl Vga {
    /// An adapter in `slot` with the memory `vram`, a power of two of at most [`VRAM_MAX`] bytes (16 MiB is usual), and the
    /// BIOS `rom`, a power of two too. `clock` tells it where the beam is.
    ///
    /// The board maps windows [`PORTS`], [`VBE_PORTS`] and [`LEGACY`]; the others appear where the guest puts them.
    ///
    /// # Panics
    /// If a size is no power of two.
    pub fn new(slot: PciSlot, vram: Arc<Ram>, rom: Option<Arc<Ram>>, clock: Arc<dyn Clock>) -> Self {
        let mut layout = Layout::new(0x1234, 0x1111, 0x03_00_00, 2)
            .bar(Bar {
                register: BAR0,
                space: Space::Memory32,
                prefetchable: true,
                len: vram.len(),
                window: BarWindow::Ram(vram.clone()),
            })
            .bar(Bar {
                register: BAR0 + 8,
                space: Space::Memory32,
                prefetchable: false,
                len: 0x1000,
                window: BarWindow::Mmio(REGISTERS),
            })
            .command_bits(1);
        if let Some(rom) = rom {
            let len = rom.len();
            let window = BarWindow::Rom(rom);
            layout = layout.bar(Bar { register: ROM, space: Space::Memory32, prefetchable: false, len, window });
        }
        let function = Function::new(slot, layout);
        let regs = VgaRegs { pci: function.power_on(), ..Default::default() };
        Self { regs, function, vram, clock }
    }

    fn read_byte(&mut self, window: u8, offset: u64) -> u8 {
        match window {
            PORTS => self.regs.standard.read(offset + FIRST_PORT, self.clock.now()),
            LEGACY => memory::read(&mut self.regs.standard, &self.regs.vbe, &self.vram, offset),
            _ => match offset {
                0x400..=0x41f => self.regs.standard.read(offset - 0x400 + 0x3c0, self.clock.now()),
                _ => 0xff,
            },
        }
    }

    fn write_byte(&mut self, window: u8, offset: u64, value: u8) {
        match window {
            PORTS => self.regs.standard.write(offset + FIRST_PORT, value),
            LEGACY => memory::write(&self.regs.standard, &self.regs.vbe, &self.vram, offset, value),
            _ => {
                if let 0x400..=0x41f = offset {
                    self.regs.standard.write(offset - 0x400 + 0x3c0, value);
                }
            }
        }
    }

    fn write_vbe(&mut self, index: u16, value: u16) {
        if self.regs.vbe.write(index, value, &self.vram) {
            self.regs.standard.enter_vbe();
        }
    }
}

impl Device for Vga {
    type Regs = VgaRegs;
    const MODEL: &'static str = "vga";

    fn regs(&self) -> &VgaRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut VgaRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = VgaRegs { pci: self.function.power_on(), ..Default::default() };
    }
    fn update(&mut self) {
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for Vga {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Vga {
    const WINDOWS: &'static [Window] = &[
        Window { len: 0x30, widths: 1..=4 },
        Window { len: 3, widths: 1..=2 },
        Window { len: 0x2_0000, widths: 1..=8 },
        Window { len: 0x1000, widths: 1..=8 },
    ];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        match (at.window, at.offset) {
            (VBE_PORTS, 0) => return Ok(self.regs.vbe.index.into()),
            (VBE_PORTS, _) => return Ok(self.regs.vbe.read(self.regs.vbe.index, &self.vram).into()),
            (REGISTERS, 0x500..=0x515) => {
                return Ok(self.regs.vbe.read((at.offset - 0x500) as u16 / 2, &self.vram).into());
            }
            // "QEMU extended regs": none but their size, and the byte order, little-endian.
            (REGISTERS, 0x600) => return Ok(8),
            (REGISTERS, 0x604) => return Ok(0x1e1e_1e1e),
            _ => {}
        }
        Ok((0..u64::from(at.width))
            .fold(0, |value, n| value | u64::from(self.read_byte(at.window, at.offset + n)) << (8 * n)))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        match (at.window, at.offset) {
            (VBE_PORTS, 0) => self.regs.vbe.index = value as u16,
            (VBE_PORTS, _) => self.write_vbe(self.regs.vbe.index, value as u16),
            (REGISTERS, 0x500..=0x515) => self.write_vbe((at.offset - 0x500) as u16 / 2, value as u16),
            _ => {
                for n in 0..u64::from(at.width) {
                    self.write_byte(at.window, at.offset + n, (value >> (8 * n)) as u8);
                }
            }
        }
        Ok(())
    }
}

impl DisplayDevice for Vga {
    /// Deviation: blinking characters and the cursor are always there, and pixel panning is not done.
    fn render(&self) -> Frame {
        if self.regs.vbe.is_enabled() {
            render::vbe(&self.regs.standard, &self.regs.vbe, &self.vram)
        } else {
            render::standard(&self.regs.standard, &self.vram)
        }
    }
}
