//! The picture, out of registers and video memory.

use super::registers::StandardRegs;
use super::vbe::VbeRegs;
use vm::Ram;
use vm::display::Frame;

/// Addresses of the CRT controller.
const ADDRESS_MASK: u32 = 0xffff;
/// Offsets of the character sets in plane 2, by the number in the sequencer's register.
const FONTS: [u32; 8] = [0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000];

/// Collects pixels.
struct Canvas {
    frame: Frame,
    double: bool,
}

impl Canvas {
    fn new(width: u32, height: u32, double: bool) -> Self {
        let rgb = Vec::with_capacity(width as usize * height as usize * 3);
        Self { frame: Frame { width, height, rgb }, double }
    }

    fn put(&mut self, colour: [u8; 3]) {
        self.frame.rgb.extend(colour);
        if self.double {
            self.frame.rgb.extend(colour);
        }
    }

    /// Cuts or fills, so that the picture has as many bytes as it says.
    fn finish(mut self) -> Frame {
        let len = self.frame.width as usize * self.frame.height as usize * 3;
        self.frame.rgb.resize(len, 0);
        self.frame
    }
}

/// 6 bits of a colour as 8.
fn widen(colour: [u8; 3]) -> [u8; 3] {
    colour.map(|part| (part & 0x3f) << 2 | (part & 0x3f) >> 4)
}

struct Screen<'a> {
    regs: &'a StandardRegs,
    vram: &'a Ram,
}

impl Screen<'_> {
    /// The four planes at address `c`.
    fn planes(&self, c: u32) -> [u8; 4] {
        let at = u64::from(c & ADDRESS_MASK) * 4;
        self.vram.load(at, 4).map_or([0; 4], |word| (word as u32).to_le_bytes())
    }

    /// The colour that a pixel of four bits has: through "Palette registers" and "Color select register".
    fn colour16(&self, index: u8) -> [u8; 3] {
        let a = &self.regs.attribute;
        let entry = a[usize::from(index & a[0x12] & 15)] & 0x3f;
        let select = a[0x14];
        let low = if a[0x10] & 0x80 != 0 { entry & 0xf | (select & 3) << 4 } else { entry };
        widen(self.regs.colour(low | (select & 0xc) << 4))
    }

    /// Lines of the picture ("Vertical display enable end").
    fn lines(&self) -> u32 {
        let c = &self.regs.crtc;
        (u32::from(c[0x12]) | u32::from(c[7] & 2) << 7 | u32::from(c[7] & 0x40) << 3) + 1
    }

    fn start(&self) -> u32 {
        u32::from(self.regs.crtc[0xc]) << 8 | u32::from(self.regs.crtc[0xd])
    }

    /// Addresses from row to row ("Offset register").
    fn pitch(&self) -> u32 {
        u32::from(self.regs.crtc[0x13]) * 2
    }

    /// The line after which the address starts again from 0 ("Line compare register").
    fn line_compare(&self) -> u32 {
        let c = &self.regs.crtc;
        u32::from(c[0x18]) | u32::from(c[7] & 0x10) << 4 | u32::from(c[9] & 0x40) << 3
    }

    /// Lines of a row, not doubled.
    fn row_lines(&self) -> u32 {
        u32::from(self.regs.crtc[9] & 0x1f) + 1
    }

    /// Calls `line` with the address of the row and the line in the row, for every line of the picture.
    fn each_line(&self, lines: u32, mut line: impl FnMut(u32, u32)) {
        let double = u32::from(self.regs.crtc[9] >> 7 & 1);
        let (mut row, mut in_row, mut again) = (self.start(), u32::from(self.regs.crtc[8] & 0x1f), 0);
        for y in 0..lines {
            line(row, in_row);
            if y == self.line_compare() {
                (row, in_row, again) = (0, 0, 0);
                continue;
            }
            if again < double {
                again += 1;
                continue;
            }
            again = 0;
            in_row += 1;
            if in_row >= self.row_lines() {
                in_row = 0;
                row = row.wrapping_add(self.pitch());
            }
        }
    }

    fn text(&self, columns: u32, double: bool) -> Frame {
        let s = &self.regs.sequencer;
        let a = &self.regs.attribute;
        let c = &self.regs.crtc;
        let width = if s[1] & 1 != 0 { 8 } else { 9 };
        let lines = self.lines();
        let mut canvas = Canvas::new((columns * width) << u32::from(double), lines, double);
        // "Character map select register".
        let map = s[3];
        let font_b = FONTS[usize::from(map & 3 | map >> 2 & 4)];
        let font_a = FONTS[usize::from(map >> 2 & 3 | map >> 3 & 4)];
        let cursor = u32::from(c[0xe]) << 8 | u32::from(c[0xf]);
        let cursor_lines = u32::from(c[0xa] & 0x1f)..=u32::from(c[0xb] & 0x1f);
        let cursor_on = c[0xa] & 0x20 == 0;
        let blinks = a[0x10] & 8 != 0;
        let palette: [[u8; 3]; 16] = std::array::from_fn(|index| self.colour16(index as u8));
        self.each_line(lines, |row, line| {
            for column in 0..columns {
                let at = row.wrapping_add(column) & ADDRESS_MASK;
                let [character, attribute, ..] = self.planes(at);
                let font = if attribute & 8 != 0 { font_a } else { font_b };
                let mut bits = self.planes(font + u32::from(character) * 32 + line)[2];
                if cursor_on && at == cursor && cursor_lines.contains(&line) {
                    bits = 0xff;
                }
                let background = if blinks { attribute >> 4 & 7 } else { attribute >> 4 };
                let [fore, back] = [attribute & 15, background].map(|index| palette[usize::from(index)]);
                for n in 0..8 {
                    canvas.put(if bits & 0x80 >> n != 0 { fore } else { back });
                }
                if width == 9 {
                    // "Attribute mode control register": line graphics go on into the ninth column.
                    let goes_on = a[0x10] & 4 != 0 && (0xc0..=0xdf).contains(&character) || bits == 0xff;
                    canvas.put(if goes_on && bits & 1 != 0 { fore } else { back });
                }
            }
        });
        canvas.finish()
    }

    /// The address that is read for `c` in line `line` of a row ("CRT mode control register", bits 0 and 1): in word mode an
    /// address of ours is two of the controller's.
    fn scrambled(&self, c: u32, line: u32) -> u32 {
        let mode = self.regs.crtc[0x17];
        let bit13 = if mode & 0x40 != 0 { 13 } else { 12 };
        let mut c = c;
        if mode & 1 == 0 {
            c = c & !(1 << bit13) | (line & 1) << bit13;
        }
        if mode & 2 == 0 {
            c = c & !(2 << bit13) | (line >> 1 & 1) << (bit13 + 1);
        }
        c
    }

    fn graphics(&self, columns: u32, double: bool) -> Frame {
        let lines = self.lines();
        let mut canvas = Canvas::new((columns * 8) << u32::from(double), lines, double);
        let palette: [[u8; 3]; 16] = std::array::from_fn(|index| self.colour16(index as u8));
        // "Graphics mode register": shift register mode.
        let shift = self.regs.graphics[5] >> 5 & 3;
        self.each_line(lines, |row, line| {
            for column in 0..columns {
                let planes = self.planes(self.scrambled(row.wrapping_add(column), line));
                match shift {
                    0 => {
                        for bit in (0..8).rev() {
                            let index = (0..4).fold(0, |index, n| index | (planes[n] >> bit & 1) << n);
                            canvas.put(palette[usize::from(index)]);
                        }
                    }
                    1 => {
                        for (low, high) in [(planes[0], planes[2]), (planes[1], planes[3])] {
                            for at in [6, 4, 2, 0] {
                                let index = low >> at & 3 | (high >> at & 3) << 2;
                                canvas.put(palette[usize::from(index)]);
                            }
                        }
                    }
                    _ => {
                        for index in planes {
                            let colour = widen(self.regs.colour(index));
                            canvas.put(colour);
                            canvas.put(colour);
                        }
                    }
                }
            }
        });
        canvas.finish()
    }
}

/// The picture of a standard mode.
pub(super) fn standard(regs: &StandardRegs, vram: &Ram) -> Frame {
    let screen = Screen { regs, vram };
    let columns = u32::from(regs.crtc[1]) + 1;
    // "Clocking mode register": half the dot clock.
    let double = regs.sequencer[1] & 8 != 0;
    if !regs.is_shown() || regs.sequencer[1] & 0x20 != 0 {
        return Canvas::new(columns * 8, screen.lines(), false).finish();
    }
    if regs.graphics[6] & 1 != 0 { screen.graphics(columns, double) } else { screen.text(columns, double) }
}

/// The picture of a mode of the extension.
pub(super) fn vbe(regs: &StandardRegs, vbe: &VbeRegs, vram: &Ram) -> Frame {
    let picture = vbe.picture(vram);
    let mut canvas = Canvas::new(picture.width, picture.height, false);
    let screen = Screen { regs, vram };
    let entry = |index| if vbe.has_8bit_dac() { regs.colour(index) } else { widen(regs.colour(index)) };
    let mut line = vec![0; usize::try_from(picture.pitch).unwrap_or(0)];
    let wide5 = |value: u32| ((value & 31) << 3 | (value & 31) >> 2) as u8;
    let wide6 = |value: u32| ((value & 63) << 2 | (value & 63) >> 4) as u8;
    for y in 0..picture.height {
        let at = picture.start + u64::from(y) * picture.pitch;
        if vram.read(at, &mut line).is_none() {
            break;
        }
        let byte = |n: usize| line.get(n).copied().unwrap_or(0);
        for x in 0..picture.width as usize {
            let word = |n: usize| u32::from(byte(n)) | u32::from(byte(n + 1)) << 8;
            canvas.put(match picture.bpp {
                4 => {
                    let (cell, bit) = (x / 8 * 4, 7 - x % 8);
                    let index = (0..4).fold(0, |index, n| index | (byte(cell + n) >> bit & 1) << n);
                    screen.colour16(index)
                }
                8 => entry(byte(x)),
                15 => {
                    let pixel = word(x * 2);
                    [wide5(pixel >> 10), wide5(pixel >> 5), wide5(pixel)]
                }
                16 => {
                    let pixel = word(x * 2);
                    [wide5(pixel >> 11), wide6(pixel >> 5), wide5(pixel)]
                }
                bpp => {
                    let at = x * usize::from(bpp / 8);
                    [byte(at + 2), byte(at + 1), byte(at)]
                }
            });
        }
    }
    canvas.finish()
}
