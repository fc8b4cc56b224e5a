//! Tests of the controller with a disk of 1.44 MB in its first drive.

use super::*;
use crate::dma::i8237::I8237;
use crate::testing::{Levels, Ports, check_reset, check_save_load, hammer};
use crate::virtio::testing::MemoryDisk;
use vm::{AddressSpace, Backing, DeviceCell, Gpa, Mapping, Part, Ram};

struct Bench {
    fdc: DeviceCell<Fdc>,
    dma: Arc<DeviceCell<I8237>>,
    ram: Arc<Ram>,
    irq: Arc<Levels>,
    disk: Arc<MemoryDisk>,
}

fn bench() -> Bench {
    let (space, ram) = (AddressSpace::new(), Ram::new(0x2_0000).unwrap());
    let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
    space.map(Mapping { name: "ram".into(), gpa: Gpa(0), len: ram.len(), priority: 0, backing }).unwrap();
    let dma = Arc::new(DeviceCell::new(I8237::new(space)));
    let (irq, disk) = (Levels::new(), MemoryDisk::new(2880));
    let channel = DmaChannel::new(&dma, 2);
    let fdc = Fdc::new([Some(disk.clone()), None], IrqLine::to(irq.clone(), 6), Some(channel));
    let b = Bench { fdc: DeviceCell::new(fdc), dma, ram, irq, disk };
    b.fdc.settle();
    b
}

impl Bench {
    fn reg(&self, offset: u64) -> u8 {
        self.fdc.inb(0, offset)
    }
    fn set(&self, offset: u64, value: u8) {
        self.fdc.outb(0, offset, value);
    }
    /// Sends a command; its result.
    fn command(&self, bytes: &[u8]) -> Vec<u8> {
        for byte in bytes {
            assert_eq!(self.reg(MSR_DSR) & 0xc0, RQM, "{bytes:x?}");
            self.set(FIFO, *byte);
        }
        self.result()
    }
    fn result(&self) -> Vec<u8> {
        let mut result = Vec::new();
        while self.reg(MSR_DSR) == RQM | DIO | BUSY {
            result.push(self.reg(FIFO));
        }
        result
    }
    /// Out of reset, with the reset's interrupts taken, at 500 kbit/s.
    fn started() -> Self {
        let b = bench();
        b.set(DOR, 0x1c);
        (0..4).for_each(|n| assert_eq!(b.command(&[8]), [0xc0 + n, 0]));
        b.fdc.outb(1, 0, 0);
        assert_eq!(b.command(&[3, 0xdf, 2]), [0_u8; 0]);
        b
    }
    fn program_dma(&self, mode: u8, address: u16, len: u16) {
        self.dma.outb(0, 0xc, 0);
        self.dma.outb(0, 0xb, mode | 2);
        for (register, value) in [(4, address), (5, len - 1)] {
            value.to_le_bytes().iter().for_each(|byte| self.dma.outb(0, register, *byte));
        }
        self.dma.outb(0, 0xa, 2);
    }
    fn irq(&self) -> bool {
        self.irq.get(6)
    }
    fn memory(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.read(at, &mut bytes).unwrap();
        bytes
    }
    fn disk_bytes(&self, sector: usize, n: usize) -> Vec<u8> {
        self.disk.bytes.lock().unwrap()[sector * 512..(sector + n) * 512].to_vec()
    }
    fn seek(&self, track: u8) {
        assert_eq!(self.command(&[0xf, 0, track]), [0_u8; 0]);
        assert_eq!(self.command(&[8]), [0x20, track]);
    }
}

#[test]
fn registers_and_reset() {
    let b = bench();
    assert_eq!([SRA, DOR, TDR, MSR_DSR, FIFO].map(|at| b.reg(at)), [0; 5]);
    b.set(FIFO, 8);
    b.set(DOR, 0x0c);
    assert!(b.irq());
    assert_eq!((b.reg(SRA), b.reg(MSR_DSR), b.reg(DOR)), (0x80, RQM, 0x0c));
    assert_eq!(b.command(&[8]), [0xc0, 0]);
    assert!(!b.irq());
    (1..4).for_each(|n| assert_eq!(b.command(&[8]), [0xc0 + n, 0]));
    assert_eq!(b.command(&[8]), [0x80], "nothing more");
    b.set(MSR_DSR, 0x80);
    assert!(b.irq());
    b.set(DOR, 0x04);
    assert!(!b.irq(), "the gate is closed");
    b.set(DOR, 0);
    b.set(DOR, 0x0c);
    assert_eq!(b.command(&[8]), [0xc0, 0]);
    assert!(vm::MmioPort::read(&b.fdc, Access { window: 0, offset: 6, width: 1 }).is_err());
}

#[test]
fn commands_without_data() {
    let b = Bench::started();
    for (command, result) in [
        (&[0x10][..], &[0x90][..]),
        (&[0x18], &[0x80]),
        (&[0x1f], &[0x80]),
        (&[4, 0], &[0x38]),
        (&[4, 5], &[0x3d]),
        (&[0x13, 0, 0x57, 0x12], &[]),
        (&[0x12, 0x84], &[]),
        (&[0x94], &[0x10]),
        (&[0x0e], &[0, 0, 0, 0, 0xdf, 2, 0, 0x84, 0x57, 0x12]),
        (&[0x14], &[0]),
    ] {
        assert_eq!(b.command(command), result, "{command:x?}");
        assert!(!b.irq());
    }
    // Without LOCK a reset takes the configuration back.
    b.set(MSR_DSR, 0x80);
    (0..4).for_each(|_| _ = b.command(&[8]));
    assert_eq!(b.command(&[0x0e])[7..], [4, 0x20, 0]);
}

#[test]
fn seeks_and_the_change_line() {
    let b = Bench::started();
    assert_eq!(b.fdc.inb(1, 0), 0x80);
    assert_eq!(b.command(&[0xf, 4, 10]), [0_u8; 0]);
    assert!(b.irq());
    assert_eq!((b.command(&[8]), b.irq(), b.fdc.inb(1, 0)), (vec![0x24, 10], false, 0));
    assert_eq!(b.command(&[4, 0]), [0x28]);
    for (command, track) in [(&[0x8f, 0, 3][..], 7), (&[0xcf, 0, 30], 37), (&[7, 0], 0)] {
        assert_eq!(b.command(command), [0_u8; 0]);
        assert_eq!(b.command(&[8]), [0x20, track]);
    }
    assert_eq!(b.command(&[7, 2]), [0_u8; 0]);
    assert_eq!(b.command(&[8]), [0x72, 0], "there is no such drive");
    assert!(b.fdc.with(|fdc| fdc.set_disk(0, None)).unwrap());
    b.seek(1);
    assert_eq!(b.fdc.inb(1, 0), 0x80, "no disk");
    assert_eq!(b.command(&[0x4a, 0])[..2], [0x40, 1]);
    assert!(b.fdc.with(|fdc| fdc.set_disk(0, Some(MemoryDisk::new(1440)))).unwrap());
    assert_eq!(b.fdc.inb(1, 0), 0x80);
    b.seek(2);
    assert_eq!(b.fdc.inb(1, 0), 0);
    assert_eq!(b.command(&[0x4a, 0])[..2], [0x40, 1], "the wrong rate");
    b.fdc.outb(1, 0, 2);
    assert_eq!(b.command(&[0x4a, 4]), [4, 0, 0, 2, 1, 1, 2]);
    assert!(!b.fdc.with(|fdc| fdc.set_disk(2, None)).unwrap());
}

#[test]
fn data_by_dma() {
    let b = Bench::started();
    b.seek(1);
    // Read two sectors across the heads of a cylinder.
    b.program_dma(0x44, 0x1000, 1024);
    for byte in [0xe6, 0, 1, 0, 18, 2, 18, 0x1b, 0xff] {
        b.set(FIFO, byte);
    }
    assert!(b.irq());
    assert_eq!((b.result(), b.irq()), (vec![4, 0, 0, 1, 1, 2, 2], false));
    assert_eq!(b.memory(0x1000, 1024), b.disk_bytes(36 + 17, 2));
    // Write three sectors; a part of a sector is filled with zeros.
    b.ram.write(0x2000, &[0xa5; 1100]).unwrap();
    b.program_dma(0x48, 0x2000, 1100);
    assert_eq!(b.command(&[0xc5, 0, 1, 0, 1, 2, 18, 0x1b, 0xff]), [0, 0, 0, 1, 0, 4, 2]);
    assert_eq!(b.disk_bytes(36, 3), [vec![0xa5; 1100], vec![0; 436]].concat());
    // The end of the track before the terminal count.
    b.program_dma(0x44, 0x1000, 2048);
    assert_eq!(b.command(&[0x46, 0, 1, 1, 17, 2, 18, 0x1b, 0xff]), [0x44, 0x80, 0, 2, 1, 1, 2]);
    assert_eq!(b.command(&[0x46, 0, 1, 1, 17, 2, 18, 0x1b, 0xff])[..3], [4, 0, 0], "both ended");
    // A masked channel; errors before any data.
    b.dma.outb(0, 0xa, 6);
    for (command, status) in [
        ([0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff], [0x40, 0x10, 0]),
        ([0x46, 0, 2, 0, 1, 2, 18, 0x1b, 0xff], [0x40, 4, 0x10]),
        ([0x46, 0, 1, 0, 19, 2, 19, 0x1b, 0xff], [0x40, 4, 0]),
        ([0x46, 0, 1, 0, 1, 1, 18, 0x1b, 0xff], [0x40, 4, 0]),
        ([0x46, 1, 1, 0, 1, 2, 18, 0x1b, 0xff], [0x41, 1, 0]),
        ([0x56, 0, 1, 0, 1, 2, 18, 0x1b, 0xff], [0, 0, 0]),
    ] {
        assert_eq!(b.command(&command)[..3], status, "{command:x?}");
    }
    // Implied seek, format.
    b.command(&[0x13, 0, 0x60, 0]);
    b.program_dma(0x44, 0x1000, 512);
    assert_eq!(b.command(&[0x46, 0, 5, 0, 1, 2, 18, 0x1b, 0xff])[..4], [0, 0, 0, 5]);
    b.ram.write(0x3000, &[5, 1, 2, 2, 5, 1, 1, 2]).unwrap();
    b.program_dma(0x48, 0x3000, 8);
    assert_eq!(b.command(&[0x4d, 4, 2, 2, 0x54, 0xf6])[..3], [4, 0, 0]);
    assert_eq!(b.disk_bytes(5 * 36 + 18, 3)[1023..1025], [0xf6, b.disk_bytes(5 * 36 + 20, 1)[0]]);
    b.disk.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    b.program_dma(0x44, 0x1000, 512);
    assert_eq!(b.command(&[0x46, 0, 5, 0, 1, 2, 18, 0x1b, 0xff])[..3], [0x40, 0x20, 0x20]);
}

#[test]
fn data_without_dma() {
    let b = Bench::started();
    assert_eq!(b.command(&[3, 0xdf, 3]), [0_u8; 0]);
    let send = |bytes: &[u8]| bytes.iter().for_each(|byte| b.set(FIFO, *byte));
    send(&[0x46, 0, 0, 0, 17, 2, 18, 0x1b, 0xff]);
    let mut data = Vec::new();
    for _ in 0..2 {
        assert!(b.irq());
        assert_eq!(b.reg(MSR_DSR), RQM | DIO | NON_DMA | BUSY);
        data.extend((0..512).map(|_| b.reg(FIFO)));
    }
    assert_eq!((b.result(), data), (vec![0, 0, 0, 1, 0, 1, 2], b.disk_bytes(16, 2)));
    send(&[0x45, 4, 0, 1, 18, 2, 18, 0x1b, 0xff]);
    assert_eq!(b.reg(MSR_DSR), RQM | NON_DMA | BUSY);
    send(&[0x3c; 512]);
    assert_eq!((b.result()[..3].to_vec(), b.disk_bytes(35, 1)), (vec![4, 0, 0], vec![0x3c; 512]));
    send(&[0x4d, 0, 2, 1, 0x54, 0xf6, 0, 0, 3, 2]);
    assert_eq!((b.result()[0], b.disk_bytes(2, 1)), (0, vec![0xf6; 512]));
}

#[test]
fn saved_reset_and_any_access() {
    let b = Bench::started();
    check_save_load(&b.fdc, || b.set(FIFO, 4));
    let b = bench();
    check_reset(&b.fdc, || b.set(DOR, 0x0c));
    hammer(&b.fdc, 60_000, |random| {
        if random.below(16) == 0 {
            b.set(DOR, 0x0c | random.below(4) as u8);
            b.fdc.outb(1, 0, 0);
            b.program_dma(if random.below(2) == 0 { 0x44 } else { 0x48 }, 0, 4096);
        }
        let codes = [0x46, 0x45, 0x4d, 0x56, 0x0f, 0x08, 0x4a, 0x03, 0xe6];
        if random.below(2) == 0 {
            b.set(FIFO, codes[random.below(9) as usize]);
        } else {
            b.set(FIFO, random.below(4) as u8);
        }
    });
}
