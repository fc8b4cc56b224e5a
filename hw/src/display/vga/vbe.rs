//! The "Bochs" extension: modes of any size, in memory that is linear.

use serde::{Deserialize, Serialize};
use vm::Ram;

// Registers.
const ID: u16 = 0;
const XRES: u16 = 1;
const YRES: u16 = 2;
const BPP: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRT_WIDTH: u16 = 6;
const VIRT_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 10;

/// The newest version of the interface, and its first.
const VERSION: u16 = 0xb0c5;
const VERSION_FIRST: u16 = 0xb0c0;

// Enable register.
const ENABLED: u16 = 1 << 0;
const GET_CAPABILITIES: u16 = 1 << 1;
const DAC_8BIT: u16 = 1 << 5;
const NO_CLEAR: u16 = 1 << 7;

/// The greatest picture.
const X_MAX: u16 = 4096;
const Y_MAX: u16 = 4096;
const BPP_MAX: u16 = 32;

/// Registers of the extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VbeRegs {
    pub(super) index: u16,
    id: u16,
    xres: u16,
    yres: u16,
    bpp: u16,
    enable: u16,
    bank: u16,
    virt_width: u16,
    x_offset: u16,
    y_offset: u16,
}

impl Default for VbeRegs {
    fn default() -> Self {
        Self {
            index: 0,
            id: VERSION,
            xres: 0,
            yres: 0,
            bpp: 0,
            enable: 0,
            bank: 0,
            virt_width: 0,
            x_offset: 0,
            y_offset: 0,
        }
    }
}

/// Where the picture is in video memory.
pub(super) struct Picture {
    pub width: u32,
    pub height: u32,
    pub bpp: u16,
    /// First byte, and bytes from line to line.
    pub start: u64,
    pub pitch: u64,
}

impl VbeRegs {
    /// A mode of the extension is shown.
    pub(super) fn is_enabled(&self) -> bool {
        self.enable & ENABLED != 0
    }

    /// The window at 0xa0000 reaches linear memory.
    pub(super) fn is_linear(&self) -> bool {
        self.is_enabled() && self.bpp > 4
    }

    /// Palette entries have 8 bits.
    pub(super) fn has_8bit_dac(&self) -> bool {
        self.is_enabled() && self.enable & DAC_8BIT != 0
    }

    /// First byte that the window at 0xa0000 reaches.
    pub(super) fn bank_start(&self) -> u64 {
        if self.is_enabled() { u64::from(self.bank) << 16 } else { 0 }
    }

    /// Bytes of `width` pixels. Four bits are planar, one byte of each plane for 8 pixels.
    fn line_bytes(&self, width: u16) -> u64 {
        let bits = if self.bpp == 15 { 16 } else { u64::from(self.bpp) };
        (u64::from(width) * bits).div_ceil(8)
    }

    /// The picture, with as many lines as there is memory.
    pub(super) fn picture(&self, vram: &Ram) -> Picture {
        let pitch = self.line_bytes(self.virt_width.max(self.xres)).max(1);
        let start = u64::from(self.y_offset) * pitch + self.line_bytes(self.x_offset);
        let lines = vram.len().saturating_sub(start) / pitch;
        let height = lines.min(self.yres.into()) as u32;
        Picture { width: self.xres.into(), height, bpp: self.bpp, start, pitch }
    }

    pub(super) fn read(&self, index: u16, vram: &Ram) -> u16 {
        let capabilities = self.enable & GET_CAPABILITIES != 0;
        match index {
            ID => self.id,
            XRES if capabilities => X_MAX,
            YRES if capabilities => Y_MAX,
            BPP if capabilities => BPP_MAX,
            XRES => self.xres,
            YRES => self.yres,
            BPP => self.bpp,
            ENABLE => self.enable,
            BANK => self.bank,
            VIRT_WIDTH => self.virt_width,
            VIRT_HEIGHT => {
                let pitch = self.line_bytes(self.virt_width).max(1);
                (vram.len() / pitch).min(0xffff) as u16
            }
            X_OFFSET => self.x_offset,
            Y_OFFSET => self.y_offset,
            MEMORY_64K => (vram.len() >> 16).min(0xffff) as u16,
            _ => 0,
        }
    }

    /// Writes a register; `true` when a mode was entered.
    pub(super) fn write(&mut self, index: u16, value: u16, vram: &Ram) -> bool {
        match index {
            ID if (VERSION_FIRST..=VERSION).contains(&value) => self.id = value,
            XRES => self.xres = value.min(X_MAX),
            YRES => self.yres = value.min(Y_MAX),
            BPP => match value {
                0 => self.bpp = 8,
                4 | 8 | 15 | 16 | 24 | 32 => self.bpp = value,
                _ => vm::log!(GuestError, "vga: {value} bits per pixel"),
            },
            ENABLE => return self.write_enable(value, vram),
            BANK if u64::from(value) < vram.len() >> 16 => self.bank = value,
            VIRT_WIDTH => self.virt_width = value.clamp(self.xres, X_MAX.max(self.xres)),
            X_OFFSET => self.x_offset = value,
            Y_OFFSET => self.y_offset = value,
            _ => {}
        }
        false
    }

    fn write_enable(&mut self, value: u16, vram: &Ram) -> bool {
        let enters = value & !self.enable & ENABLED != 0;
        self.enable = value;
        if !enters {
            return false;
        }
        self.virt_width = self.xres;
        (self.x_offset, self.y_offset, self.bank) = (0, 0, 0);
        if self.bpp == 0 {
            self.bpp = 8;
        }
        if value & NO_CLEAR == 0 {
            let len = (self.line_bytes(self.xres) * u64::from(self.yres)).min(vram.len());
            let zeros = vec![0; 64 << 10];
            let mut at = 0;
            while at < len {
                let n = (len - at).min(zeros.len() as u64);
                let _ = vram.write(at, &zeros[..n as usize]);
                at += n;
            }
        }
        true
    }
}
