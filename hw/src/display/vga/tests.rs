//! Tests of the adapter through its windows.

use super::{LEGACY, PORTS, VBE_PORTS, Vga};
use crate::pci::testing::Machine;
use crate::testing::{Ports, check_reset, check_save_load, hammer};
use std::sync::Arc;
use vm::clock::{Clock, ManualClock};
use vm::display::{Display, Frame};
use vm::{Access, DeviceCell, Gpa, MmioPort, Ram, VmTime};

const VRAM: u64 = 1 << 20;

struct Bench {
    machine: Machine,
    cell: Arc<DeviceCell<Vga>>,
    vram: Arc<Ram>,
    clock: Arc<ManualClock>,
}

fn bench() -> Bench {
    let machine = Machine::default();
    let (vram, rom) = (Ram::new(VRAM).unwrap(), Ram::new(0x1_0000).unwrap());
    rom.store(0, 2, 0xaa55).unwrap();
    let clock = Arc::new(ManualClock::new(0));
    let vga = Vga::new(machine.bus.slot(2, 0), vram.clone(), Some(rom), clock.clone());
    let cell = Arc::new(DeviceCell::new(vga));
    assert!(machine.bus.plug(&cell));
    Bench { machine, cell, vram, clock }
}

impl Bench {
    fn port(&self, port: u64) -> u8 {
        self.cell.inb(PORTS, port - 0x3b0)
    }
    fn set_port(&self, port: u64, value: u8) {
        self.cell.outb(PORTS, port - 0x3b0, value);
    }
    /// Registers behind an index port.
    fn set(&self, port: u64, registers: &[(u8, u8)]) {
        for (index, value) in registers {
            self.set_port(port, *index);
            self.set_port(port + 1, *value);
        }
    }
    fn set_attribute(&self, registers: &[(u8, u8)]) {
        for (index, value) in registers {
            self.port(0x3da);
            self.set_port(0x3c0, *index);
            self.set_port(0x3c0, *value);
        }
        self.port(0x3da);
        self.set_port(0x3c0, 0x20);
    }
    fn set_palette(&self, first: u8, colours: &[[u8; 3]]) {
        self.set_port(0x3c8, first);
        colours.iter().flatten().for_each(|part| self.set_port(0x3c9, *part));
    }
    fn byte(&self, at: u64) -> u8 {
        self.cell.inb(LEGACY, at - 0xa_0000)
    }
    fn set_byte(&self, at: u64, value: u8) {
        self.cell.outb(LEGACY, at - 0xa_0000, value);
    }
    fn vbe(&self, index: u16) -> u16 {
        MmioPort::write(&*self.cell, Access { window: VBE_PORTS, offset: 0, width: 2 }, index.into()).unwrap();
        MmioPort::read(&*self.cell, Access { window: VBE_PORTS, offset: 1, width: 2 }).unwrap() as u16
    }
    fn set_vbe(&self, index: u16, value: u16) {
        MmioPort::write(&*self.cell, Access { window: VBE_PORTS, offset: 0, width: 2 }, index.into()).unwrap();
        MmioPort::write(&*self.cell, Access { window: VBE_PORTS, offset: 1, width: 2 }, value.into()).unwrap();
    }
    /// What all modes have alike: colours that are their numbers, `columns` by `lines`.
    fn mode(&self, columns: u8, lines: u8) {
        self.set_port(0x3c2, 0x67);
        self.set_port(0x3c6, 0xff);
        self.set(
            0x3d4,
            &[(0x11, 0), (1, columns - 1), (0x12, lines - 1), (0x18, 0xff), (7, 0x10), (9, 0x40), (0xa, 0x20)],
        );
        let attributes: Vec<(u8, u8)> = (0..16).map(|n| (n, n)).chain([(0x10, 1), (0x12, 15), (0x14, 0)]).collect();
        self.set_attribute(&attributes);
        let colours: Vec<[u8; 3]> = (0..=255).map(|n: u8| [n & 63, n >> 2, 0]).collect();
        self.set_palette(0, &colours);
    }
    fn planar(&self) {
        self.mode(2, 2);
        self.set(0x3c4, &[(1, 1), (2, 15), (4, 6)]);
        self.set(0x3ce, &[(0, 0), (1, 0), (3, 0), (5, 0), (6, 5), (7, 15), (8, 0xff)]);
        self.set(0x3d4, &[(0x13, 1), (0x17, 0xe3)]);
    }
}

/// The numbers of the colours that `mode` makes, line by line.
fn numbers(frame: &Frame) -> Vec<Vec<u8>> {
    assert_eq!(frame.rgb.len(), (frame.width * frame.height * 3) as usize);
    let number = |rgb: &[u8]| rgb[0] >> 2 | (rgb[1] >> 2 & 0x30) << 2;
    frame.rgb.chunks(frame.width as usize * 3).map(|line| line.chunks(3).map(number).collect()).collect()
}

#[test]
fn windows() {
    let b = bench();
    let config = |at, value| b.machine.bus.write_config(16, at, 4, value);
    assert_eq!([0, 8].map(|at| b.machine.bus.read_config(16, at, 4)), [0x1111_1234, 0x0300_0002]);
    for (at, value) in [(0x10, 0xfd00_0000), (0x18, 0xfeb0_0000), (0x30, 0xfe00_0001), (4, 3)] {
        config(at, value);
    }
    assert_eq!(
        b.machine.memory.dump(),
        "00000000fd000000-00000000fd0fffff ram  pci 02.0 0x10\n\
         00000000fe000000-00000000fe00ffff rom  pci 02.0 0x30\n\
         00000000feb00000-00000000feb00fff mmio pci 02.0 0x18\n"
    );
    let view = b.machine.memory.view();
    view.store(Gpa(0xfd00_0000), 4, 0x1234).unwrap();
    assert_eq!((b.vram.load(0, 2), view.load(Gpa(0xfe00_0000), 2)), (Some(0x1234), Ok(0xaa55)));
    view.store(Gpa(0xfeb0_0502), 2, 640).unwrap();
    view.store(Gpa(0xfeb0_0408), 1, 0x55).unwrap();
    assert_eq!((b.vbe(1), b.port(0x3c8), view.load(Gpa(0xfeb0_0500), 2)), (640, 0x55, Ok(0xb0c5)));
    assert_eq!((view.load(Gpa(0xfeb0_0600), 4), view.load(Gpa(0xfeb0_0604), 4)), (Ok(8), Ok(0x1e1e_1e1e)));
}

#[test]
fn ports() {
    let b = bench();
    for port in [0x3c0, 0x3c6, 0x3c7, 0x3c8, 0x3cc] {
        assert_eq!(b.port(port), 0, "{port:#x}");
    }
    assert_eq!((b.port(0x3d4), b.port(0x3b4)), (0xff, 0), "monochrome at power-on");
    b.set_port(0x3c2, 0x63);
    assert_eq!((b.port(0x3d4), b.port(0x3b4), b.port(0x3cc), b.port(0x3c2)), (0, 0xff, 0x63, 0x10));
    b.set(0x3c4, &[(2, 0xff)]);
    b.set(0x3ce, &[(5, 0xff), (9, 0xff)]);
    assert_eq!((b.port(0x3c5), b.port(0x3cf)), (0x0f, 0));
    b.set_port(0x3ce, 5);
    assert_eq!(b.port(0x3cf), 0x7b);
    // The first eight registers of the CRT controller can be protected.
    b.set(0x3d4, &[(1, 79), (0x11, 0x80), (1, 0), (7, 0xff), (0x30, 9)]);
    for (index, value) in [(1, 79), (7, 0x10), (0x11, 0x80)] {
        b.set_port(0x3d4, index);
        assert_eq!(b.port(0x3d5), value);
    }
    b.set_attribute(&[(3, 0xff), (0x10, 0xff)]);
    assert_eq!(b.port(0x3c0), 0x20);
    b.port(0x3da);
    b.set_port(0x3c0, 3);
    assert_eq!(b.port(0x3c1), 0x3f);
    b.set_palette(254, &[[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
    assert_eq!((b.port(0x3c8), b.port(0x3c7)), (1, 0));
    b.set_port(0x3c7, 255);
    assert_eq!([0; 7].map(|_| b.port(0x3c9)), [4, 5, 6, 7, 8, 9, 0]);
    assert_eq!(b.port(0x3c7), 3);
    let mut seen = [false; 4];
    for _ in 0..2000 {
        b.clock.advance_to(VmTime(b.clock.now().0 + 9_973));
        seen[usize::from(b.port(0x3da) & 1 | b.port(0x3da) >> 2 & 2)] = true;
    }
    assert_eq!(seen, [true, true, false, true], "retrace is not visible");
}

#[test]
fn planes_and_write_modes() {
    let b = bench();
    b.planar();
    let word = |n: u64| b.vram.load(n * 4, 4).unwrap();
    b.set_byte(0xa_0000, 0x81);
    assert_eq!(word(0), 0x8181_8181);
    b.set(0x3c4, &[(2, 5)]);
    b.set_byte(0xa_0001, 0xf0);
    assert_eq!(word(1), 0x00f0_00f0);
    b.set(0x3c4, &[(2, 15)]);
    // Rotate and functions, with what the latches hold.
    for (function, expect) in [(0x00, 0x3c), (0x01, 0x1e), (0x08, 0x30), (0x10, 0xfc), (0x18, 0xcc)] {
        b.set(0x3ce, &[(3, function)]);
        b.byte(0xa_0001);
        b.set_byte(0xa_0002, 0x3c);
        assert_eq!(word(2) & 0xff, expect, "{function:#x}");
    }
    // Set/reset, bit mask.
    b.set(0x3ce, &[(3, 0), (0, 0b0110), (1, 0b0011), (8, 0x0f)]);
    b.byte(0xa_0001);
    b.set_byte(0xa_0003, 0x55);
    assert_eq!(word(3), 0x05f5_0ff0, "planes 0 and 1 by set/reset, 2 and 3 by the processor");
    // Write modes 1, 2 and 3.
    b.set(0x3ce, &[(5, 1)]);
    b.byte(0xa_0003);
    b.set_byte(0xa_0004, 0);
    assert_eq!(word(4), 0x05f5_0ff0);
    b.set(0x3ce, &[(5, 2), (8, 0xf0)]);
    b.byte(0xa_0007);
    b.set_byte(0xa_0005, 0b1001);
    assert_eq!(word(5), 0xf000_00f0);
    b.set(0x3ce, &[(5, 3)]);
    b.set_byte(0xa_0006, 0x3c);
    assert_eq!(word(6), 0x0030_3000);
    // Read modes.
    b.set(0x3ce, &[(4, 2), (5, 0)]);
    assert_eq!((b.byte(0xa_0003), b.byte(0xa_0006)), (0xf5, 0x30));
    b.set(0x3ce, &[(5, 8), (2, 0b0110)]);
    assert_eq!(b.byte(0xa_0006), 0x30);
    b.set(0x3ce, &[(7, 0b0001)]);
    assert_eq!(b.byte(0xa_0006), 0xff);
    // Which addresses are decoded.
    for (map, first, beyond) in [(1, 0xa_0000, 0xb_0000), (2, 0xb_0000, 0xb_8000), (3, 0xb_8000, 0xb_0000)] {
        b.set(0x3ce, &[(5, 0), (6, map << 2 | 1), (4, 0)]);
        assert_eq!((b.byte(first), b.byte(beyond)), (0x81, 0xff), "{map}");
    }
}

#[test]
fn text() {
    let b = bench();
    b.mode(2, 32);
    b.set(0x3c4, &[(1, 0), (2, 4), (4, 6)]);
    b.set(0x3ce, &[(5, 0), (6, 4), (8, 0xff)]);
    // Character 0xc4 of the set: one line of pixels, which goes on into the ninth column.
    b.set_byte(0xa_0000 + 0xc4 * 32 + 3, 0xff);
    b.set_byte(0xa_0000 + 0x41 * 32, 0x81);
    b.set(0x3c4, &[(2, 3), (4, 2)]);
    b.set(0x3ce, &[(5, 0x10), (6, 0x0e), (8, 0xff)]);
    b.set_attribute(&[(0x10, 0x0c)]);
    b.set(0x3d4, &[(9, 0x4f), (0x13, 1), (0x17, 0xa3)]);
    for (at, value) in [(0, 0xc4), (1, 0x1e), (2, 0x41), (3, 0x97), (4, 0x41), (5, 0x0a)] {
        b.set_byte(0xb_8000 + at, value);
    }
    assert_eq!((b.byte(0xb_8002), b.byte(0xb_8003)), (0x41, 0x97));
    let frame = b.cell.frame();
    assert_eq!((frame.width, frame.height), (18, 32));
    let lines = numbers(&frame);
    assert_eq!(lines[3][..9], [14; 9]);
    assert_eq!(lines[4][..9], [1; 9]);
    assert_eq!(lines[0][9..], [7, 1, 1, 1, 1, 1, 1, 7, 1]);
    assert_eq!(lines[16][..9], [10, 0, 0, 0, 0, 0, 0, 10, 0]);
    // The cursor on the second cell; blinking off makes bright backgrounds; a start address.
    b.set(0x3d4, &[(0xa, 14), (0xb, 15), (0xf, 1)]);
    b.set_attribute(&[(0x10, 0x04)]);
    let lines = numbers(&b.cell.frame());
    assert_eq!((lines[14][9], lines[13][9], lines[14][0]), (7, 9, 1));
    b.set(0x3d4, &[(0xd, 1)]);
    assert_eq!(numbers(&b.cell.frame())[0][..9], [7, 9, 9, 9, 9, 9, 9, 7, 9]);
    b.set_port(0x3da, 0);
    b.port(0x3da);
    b.set_port(0x3c0, 0);
    assert_eq!(b.cell.frame().rgb.iter().max(), Some(&0), "blanked");
}

#[test]
fn graphics() {
    let b = bench();
    b.planar();
    b.set(0x3c4, &[(2, 1)]);
    b.set_byte(0xa_0000, 0x80);
    b.set(0x3c4, &[(2, 10)]);
    b.set_byte(0xa_0003, 0x01);
    let lines = numbers(&b.cell.frame());
    assert_eq!(lines[0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(lines[1], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    // 256 colours, chained: each pixel twice as wide and high.
    b.mode(2, 4);
    b.set(0x3c4, &[(2, 15), (4, 0xe)]);
    b.set(0x3ce, &[(5, 0x40), (6, 5)]);
    b.set(0x3d4, &[(9, 0x41), (0x13, 1), (0x14, 0x40), (0x17, 0xa3)]);
    (0..16_u8).for_each(|n| b.set_byte(0xa_0000 + u64::from(n), 0xc0 + n));
    let lines = numbers(&b.cell.frame());
    assert_eq!(lines[0][..6], [0xc0, 0xc0, 0xc1, 0xc1, 0xc2, 0xc2]);
    assert_eq!((lines[1].clone(), lines[2][0], lines[3][15]), (lines[0].clone(), 0xc8, 0xcf));
    // Unchained, the same memory by planes.
    b.set(0x3c4, &[(2, 2), (4, 6)]);
    b.set(0x3ce, &[(5, 0x40), (8, 0xff), (1, 0), (3, 0)]);
    b.set_byte(0xa_0001, 0x33);
    assert_eq!(numbers(&b.cell.frame())[0][8..12], [0xc4, 0xc4, 0x33, 0x33]);
    // Four colours: even and odd lines of a row in different banks.
    b.mode(2, 2);
    b.set(0x3c4, &[(1, 1), (2, 3), (4, 2)]);
    b.set(0x3ce, &[(5, 0x30), (6, 0x0f)]);
    b.set(0x3d4, &[(9, 0x41), (0x13, 1), (0x17, 0xa2)]);
    b.set_attribute(&[(0x12, 3)]);
    b.set_byte(0xb_8000, 0b00_01_10_11);
    b.set_byte(0xb_8001, 0b11_10_01_00);
    b.set_byte(0xb_a000, 0b10_10_10_10);
    let lines = numbers(&b.cell.frame());
    assert_eq!((&lines[0][..8], &lines[1][..4]), (&[0, 1, 2, 3, 3, 2, 1, 0][..], &[2, 2, 2, 2][..]));
}

#[test]
fn modes_of_the_extension() {
    let b = bench();
    b.mode(2, 2);
    assert_eq!((b.vbe(0), b.vbe(10), b.vbe(99)), (0xb0c5, 16, 0));
    b.set_vbe(0, 0xb0c2);
    assert_eq!(b.vbe(0), 0xb0c2);
    b.set_vbe(4, 2);
    assert_eq!([1, 2, 3].map(|n| b.vbe(n)), [4096, 4096, 32]);
    b.set_vbe(4, 0);
    let mode = |x, y, bpp, enable| {
        for (index, value) in [(4, 0), (1, x), (2, y), (3, bpp), (4, enable)] {
            b.set_vbe(index, value);
        }
    };
    b.vram.write(0, &[9; 64]).unwrap();
    mode(4, 2, 32, 0xc1);
    assert_eq!(b.cell.frame(), Frame { width: 4, height: 2, rgb: vec![9; 24] });
    mode(4, 2, 32, 0x41);
    assert_eq!(b.cell.frame().rgb, [0; 24]);
    b.vram.store(20, 4, 0x11_2233).unwrap();
    assert_eq!(b.cell.frame().rgb[15..18], [0x11, 0x22, 0x33]);
    mode(4, 1, 16, 0x41);
    b.vram.store(0, 4, 0x07e0_f81f).unwrap();
    assert_eq!(b.cell.frame().rgb[..6], [255, 0, 255, 0, 255, 0]);
    mode(4, 1, 15, 0x41);
    b.vram.store(0, 4, 0x03e0_7c1f).unwrap();
    assert_eq!(b.cell.frame().rgb[..6], [255, 0, 255, 0, 255, 0]);
    mode(4, 1, 24, 0x41);
    b.vram.store(3, 4, 0x11_2233).unwrap();
    assert_eq!(b.cell.frame().rgb[3..6], [0x11, 0x22, 0x33]);
    // Eight bits, a larger picture than is shown, banks.
    mode(4, 2, 8, 0x41);
    b.set_vbe(6, 8);
    b.set_vbe(8, 1);
    b.set_vbe(9, 1);
    assert_eq!((b.vbe(6), b.vbe(7)), (8, 0xffff));
    (0..32_u8).for_each(|n| b.set_byte(0xa_0000 + u64::from(n), n));
    assert_eq!(numbers(&b.cell.frame()), [[9, 10, 11, 12], [17, 18, 19, 20]]);
    b.set_vbe(5, 2);
    b.set_byte(0xa_0005, 0x77);
    assert_eq!((b.vram.load(0x2_0005, 1), b.vbe(5)), (Some(0x77), 2));
    b.set_vbe(5, 16);
    assert_eq!(b.vbe(5), 2, "no such bank");
    mode(4, 1, 8, 0x61);
    b.set_palette(0, &[[0xff, 0x80, 1]]);
    assert_eq!(b.cell.frame().rgb[..3], [0xff, 0x80, 1]);
    b.set_palette(0, &[[0, 0, 0]]);
    mode(8, 1, 4, 0x41);
    b.vram.store(0, 4, 0x0000_4080).unwrap();
    assert_eq!(numbers(&b.cell.frame())[0][1..3], [2, 0]);
    // More than there is memory for.
    mode(4096, 4096, 32, 0xc1);
    assert_eq!((b.cell.frame().width, b.cell.frame().height), (4096, 64));
    b.set_vbe(9, 0xffff);
    assert_eq!(b.cell.frame().height, 0);
}

#[test]
fn saved_reset_and_any_access() {
    let b = bench();
    check_save_load(&b.cell, || b.planar());
    let b = bench();
    check_reset(&b.cell, || b.planar());
    let mut rounds = 0;
    hammer(&b.cell, 60_000, |random| {
        let port = 0x3b0 + random.below(0x30);
        b.set_port(port, random.next() as u8);
        if random.below(64) == 0 {
            b.set_vbe(random.below(11) as u16, random.below(600) as u16);
        }
        rounds += 1;
        if rounds % 5000 == 0 {
            let frame = b.cell.frame();
            assert_eq!(frame.rgb.len(), (frame.width * frame.height * 3) as usize);
        }
    });
}
