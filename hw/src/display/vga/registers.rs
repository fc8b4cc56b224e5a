//! The ports of a VGA: "Video Subsystem", one section a group of registers.

use serde::{Deserialize, Serialize};
use vm::VmTime;

/// ns of a line and of a picture of 400 lines at 70 Hz, with how much of each is visible.
const LINE_NS: u64 = 31_778;
const LINE_VISIBLE_NS: u64 = 25_422;
const FRAME_NS: u64 = LINE_NS * 449;
const RETRACE_START_NS: u64 = LINE_NS * 412;
const RETRACE_END_NS: u64 = LINE_NS * 414;
const VISIBLE_NS: u64 = LINE_NS * 400;

/// A red, green and blue value of 6 bits (8 if the extension says so).
pub type Colour = [u8; 3];

/// Sequencer, graphics controller, attribute controller, CRT controller and the converter with its palette.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandardRegs {
    misc: u8,
    feature: u8,
    enable: u8,
    sequencer_index: u8,
    pub(super) sequencer: [u8; 8],
    graphics_index: u8,
    pub(super) graphics: [u8; 16],
    crtc_index: u8,
    pub(super) crtc: [u8; 32],
    attribute_index: u8,
    pub(super) attribute: [u8; 32],
    /// The next write of the attribute controller's port is data.
    attribute_data: bool,
    palette: [[Colour; 16]; 16],
    dac_mask: u8,
    dac_read: u8,
    dac_write: u8,
    /// Which of the three values is next.
    dac_part: u8,
    /// The last address was for reading.
    dac_reading: bool,
    /// One byte of each plane, as the last read of memory left them.
    pub(super) latches: u32,
}

impl StandardRegs {
    fn is_colour(&self) -> bool {
        self.misc & 1 != 0
    }

    /// Entry `index` of the palette, through the mask.
    pub(super) fn colour(&self, index: u8) -> Colour {
        let index = index & self.dac_mask;
        self.palette[usize::from(index >> 4)][usize::from(index & 15)]
    }

    /// The attribute controller lets the picture through ("Attribute address register").
    pub(super) fn is_shown(&self) -> bool {
        self.attribute_index & 0x20 != 0
    }

    /// "Input status register 1": where the beam is.
    fn status1(&self, now: VmTime) -> u8 {
        let at = now.0 % FRAME_NS;
        let retrace = (RETRACE_START_NS..RETRACE_END_NS).contains(&at);
        let blank = at >= VISIBLE_NS || at % LINE_NS >= LINE_VISIBLE_NS;
        u8::from(retrace) << 3 | u8::from(blank)
    }

    /// Reads port `port`.
    pub(super) fn read(&mut self, port: u64, now: VmTime) -> u8 {
        match port {
            0x3c0 => self.attribute_index,
            0x3c1 => self.attribute[usize::from(self.attribute_index & 0x1f)],
            // "Input status register 0": the switch sense bit, as with a colour display.
            0x3c2 => 0x10,
            0x3c3 => self.enable,
            0x3c4 => self.sequencer_index,
            0x3c5 => self.sequencer[usize::from(self.sequencer_index & 7)],
            0x3c6 => self.dac_mask,
            0x3c7 => {
                if self.dac_reading {
                    3
                } else {
                    0
                }
            }
            0x3c8 => self.dac_write,
            0x3c9 => {
                let colour = self.palette[usize::from(self.dac_read >> 4)][usize::from(self.dac_read & 15)];
                let value = colour[usize::from(self.dac_part % 3)];
                self.dac_part = (self.dac_part + 1) % 3;
                if self.dac_part == 0 {
                    self.dac_read = self.dac_read.wrapping_add(1);
                }
                value
            }
            0x3ca => self.feature,
            0x3cc => self.misc,
            0x3ce => self.graphics_index,
            0x3cf => self.graphics[usize::from(self.graphics_index & 15)],
            0x3b4 | 0x3d4 if self.is_colour() == (port == 0x3d4) => self.crtc_index,
            0x3b5 | 0x3d5 if self.is_colour() == (port == 0x3d5) => self.crtc[usize::from(self.crtc_index & 0x1f)],
            0x3ba | 0x3da if self.is_colour() == (port == 0x3da) => {
                self.attribute_data = false;
                self.status1(now)
            }
            _ => 0xff,
        }
    }

    /// Writes port `port`.
    pub(super) fn write(&mut self, port: u64, value: u8) {
        match port {
            0x3c0 => {
                if self.attribute_data {
                    self.write_attribute(value);
                } else {
                    self.attribute_index = value & 0x3f;
                }
                self.attribute_data = !self.attribute_data;
            }
            0x3c2 => self.misc = value,
            0x3c3 => self.enable = value & 1,
            0x3c4 => self.sequencer_index = value & 7,
            0x3c5 => {
                const WRITABLE: [u8; 8] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0];
                let n = usize::from(self.sequencer_index & 7);
                self.sequencer[n] = value & WRITABLE[n];
            }
            0x3c6 => self.dac_mask = value,
            0x3c7 => {
                self.dac_read = value;
                (self.dac_part, self.dac_reading) = (0, true);
            }
            0x3c8 => {
                self.dac_write = value;
                (self.dac_part, self.dac_reading) = (0, false);
            }
            0x3c9 => {
                let colour = &mut self.palette[usize::from(self.dac_write >> 4)][usize::from(self.dac_write & 15)];
                colour[usize::from(self.dac_part % 3)] = value;
                self.dac_part = (self.dac_part + 1) % 3;
                if self.dac_part == 0 {
                    self.dac_write = self.dac_write.wrapping_add(1);
                }
            }
            0x3ce => self.graphics_index = value & 15,
            0x3cf => {
                const WRITABLE: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
                let n = usize::from(self.graphics_index & 15);
                self.graphics[n] = value & WRITABLE.get(n).copied().unwrap_or(0);
            }
            0x3b4 | 0x3d4 if self.is_colour() == (port == 0x3d4) => self.crtc_index = value,
            0x3b5 | 0x3d5 if self.is_colour() == (port == 0x3d5) => self.write_crtc(value),
            0x3ba | 0x3da if self.is_colour() == (port == 0x3da) => self.feature = value & 0x10,
            _ => {}
        }
    }

    fn write_attribute(&mut self, value: u8) {
        let n = usize::from(self.attribute_index & 0x1f);
        let writable = match n {
            0x00..=0x0f => 0x3f,
            0x10 => 0xef,
            0x11 => 0xff,
            0x12 => 0x3f,
            0x13 | 0x14 => 0x0f,
            _ => 0,
        };
        self.attribute[n] = value & writable;
    }

    fn write_crtc(&mut self, value: u8) {
        let n = usize::from(self.crtc_index & 0x1f);
        // "Vertical retrace end register": protects the first eight, but for one bit of the line compare.
        if self.crtc[0x11] & 0x80 != 0 && n <= 7 {
            if n == 7 {
                self.crtc[7] = self.crtc[7] & !0x10 | value & 0x10;
            }
            return;
        }
        if n <= 0x18 {
            self.crtc[n] = value;
        }
    }

    /// The extension takes over: graphics, and the 64 KiB window at 0xa0000.
    pub(super) fn enter_vbe(&mut self) {
        self.graphics[6] = self.graphics[6] & !0x0c | 0x05;
    }
}
