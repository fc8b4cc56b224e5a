//! Tests of channels and drives, through the controller of a PC.

use super::Drive;
use crate::pci::piix3_ide::Piix3Ide;
use crate::pci::testing::Machine;
use crate::testing::{Levels, check_reset, check_save_load, hammer};
use crate::virtio::testing::MemoryDisk;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm::{Access, DeviceCell, IrqLine, MmioPort, Part, Ram};

const DRDY: u8 = 0x50;
const DRQ: u8 = 0x58;
const RAM_LEN: u64 = 0x10_0000;
/// Where tests put the table of regions and data.
const TABLE: u64 = 0x1000;
const BUFFER: u64 = 0x1_0000;

struct Bench {
    machine: Machine,
    ram: Arc<Ram>,
    cell: Arc<DeviceCell<Piix3Ide>>,
    irqs: Arc<Levels>,
    disk: Arc<MemoryDisk>,
    disc: Arc<MemoryDisk>,
}

fn bench_with(synchronous: bool) -> Bench {
    let (machine, ram) = Machine::with_ram(RAM_LEN);
    let (irqs, disk, disc) = (Levels::new(), MemoryDisk::new(3000), MemoryDisk::new(400));
    let drives =
        [[Some(Drive::disk(disk.clone(), "SERIAL1")), None], [Some(Drive::cdrom(Some(disc.clone()), "SERIAL2")), None]];
    let lines = [14, 15].map(|n| IrqLine::to(irqs.clone(), n));
    let cell = Piix3Ide::cell(machine.bus.slot(1, 1), drives, lines, synchronous).unwrap();
    assert!(machine.bus.plug(&cell));
    machine.bus.write_config(9, 0x20, 4, 0xc001);
    machine.bus.write_config(9, 4, 2, 5);
    Bench { machine, ram, cell, irqs, disk, disc }
}

fn bench() -> Bench {
    bench_with(true)
}

impl Bench {
    fn read(&self, window: u8, offset: u64, width: u8) -> u32 {
        MmioPort::read(&*self.cell, Access { window, offset, width }).unwrap() as u32
    }
    fn write(&self, window: u8, offset: u64, width: u8, value: u32) {
        MmioPort::write(&*self.cell, Access { window, offset, width }, value.into()).unwrap();
    }
    fn reg(&self, channel: u8, register: u64) -> u8 {
        self.read(2 * channel, register, 1) as u8
    }
    fn set(&self, channel: u8, register: u64, value: u8) {
        self.write(2 * channel, register, 1, value.into());
    }
    fn alternate(&self, channel: u8) -> u8 {
        self.read(2 * channel + 1, 0, 1) as u8
    }
    /// Whether the interrupt was asserted; reads the status, which takes it back.
    fn irq(&self, channel: u8) -> bool {
        let high = self.irqs.get(14 + u32::from(channel));
        self.reg(channel, 7);
        assert!(!self.irqs.get(14 + u32::from(channel)));
        high
    }
    fn command(&self, lba: u32, count: u8, command: u8) {
        self.set(0, 2, count);
        for (register, value) in (3..).zip(lba.to_le_bytes()) {
            self.set(0, register, if register == 6 { 0xe0 | value } else { value });
        }
        self.set(0, 7, command);
    }
    fn words(&self, channel: u8, n: usize) -> Vec<u8> {
        (0..n).flat_map(|_| (self.read(2 * channel, 0, 2) as u16).to_le_bytes()).collect()
    }
    fn put(&self, channel: u8, bytes: &[u8]) {
        for word in bytes.chunks(4) {
            self.write(2 * channel, 0, 4, u32::from_le_bytes(word.try_into().unwrap()));
        }
    }
    fn disk_bytes(&self, sector: usize, n: usize) -> Vec<u8> {
        self.disk.bytes.lock().unwrap()[sector * 512..(sector + n) * 512].to_vec()
    }
    /// A table of regions, `(address, count, last)`, and the engine started on it.
    fn start_dma(&self, channel: u64, regions: &[(u64, u16, bool)], to_memory: bool) {
        for (n, (address, count, last)) in (0..).zip(regions) {
            self.ram.store(TABLE + n * 8, 4, *address).unwrap();
            self.ram.store(TABLE + n * 8 + 4, 4, u64::from(*count) | u64::from(*last) << 31).unwrap();
        }
        self.write(4, channel * 8 + 4, 4, TABLE as u32);
        self.write(4, channel * 8 + 2, 1, 6);
        self.write(4, channel * 8, 1, if to_memory { 9 } else { 1 });
    }
    fn packet(&self, packet: &[u8], features: u8, limit: u16) {
        let [low, high] = limit.to_le_bytes();
        for (register, value) in [(1, features), (4, low), (5, high), (6, 0xa0), (7, 0xa0)] {
            self.set(1, register, value);
        }
        assert_eq!((self.alternate(1), self.reg(1, 2)), (DRQ, 1));
        let mut bytes = packet.to_vec();
        bytes.resize(12, 0);
        self.put(1, &bytes);
    }
    /// Sends a packet and reads all the data it gives.
    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        self.packet(packet, 0, 0xfffe);
        let mut data = Vec::new();
        while self.alternate(1) == DRQ {
            assert_eq!(self.reg(1, 2), 2);
            let n = usize::from(self.reg(1, 4)) | usize::from(self.reg(1, 5)) << 8;
            assert!(self.irq(1));
            let mut block = self.words(1, n.div_ceil(2));
            block.truncate(n);
            data.extend(block);
        }
        assert!(self.irq(1));
        assert_eq!((self.alternate(1), self.reg(1, 2)), (DRDY, 3), "{packet:x?}");
        data
    }
    /// Sends a packet that fails; its sense key, code and qualifier.
    fn fails(&self, packet: &[u8]) -> [u8; 3] {
        self.packet(packet, 0, 0xfffe);
        assert!(self.irq(1));
        assert_eq!(self.alternate(1), DRDY | 1, "{packet:x?}");
        let key = self.reg(1, 1) >> 4;
        let sense = self.ask(&[3, 0, 0, 0, 18]);
        assert_eq!(sense[2], key);
        [sense[2], sense[12], sense[13]]
    }
}

fn word(bytes: &[u8], n: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * n], bytes[2 * n + 1]])
}

#[test]
fn signatures_and_missing_drives() {
    let b = bench();
    let registers = |channel| [1, 2, 3, 4, 5, 7].map(|register| b.reg(channel, register));
    let check = || {
        assert_eq!(registers(0), [1, 1, 1, 0, 0, DRDY]);
        assert_eq!(registers(1), [1, 1, 1, 0x14, 0xeb, 0]);
    };
    check();
    b.set(0, 6, 0x10);
    assert_eq!(registers(0), [0; 6], "there is no second drive");
    b.set(0, 7, 0xec);
    assert_eq!(b.alternate(0), 0);
    for channel in [0, 1] {
        b.set(channel, 6, 0);
        b.set(channel, 4, 0x55);
        b.write(2 * channel + 1, 0, 1, 4);
        b.write(2 * channel + 1, 0, 1, 0);
    }
    check();
    b.set(0, 7, 0x90);
    assert!(b.irq(0));
    assert_eq!(b.reg(0, 1), 1);
    assert_eq!(b.machine.bus.read_config(9, 0, 4), 0x7010_8086);
}

#[test]
fn identification() {
    let b = bench();
    b.set(0, 7, 0xec);
    assert_eq!((b.alternate(0), b.irq(0)), (DRQ, true));
    let data = b.words(0, 256);
    assert_eq!((b.alternate(0), b.irq(0)), (DRDY, false));
    assert_eq!(&data[20..28], b"ESIRLA 1");
    for (n, value) in [(0, 0x40), (1, 2), (3, 16), (6, 63), (60, 3000), (61, 0), (88, 0x203f), (100, 3000), (103, 0)] {
        assert_eq!(word(&data, n), value, "word {n}");
    }
    b.set(1, 7, 0xec);
    assert_eq!((b.alternate(1), b.reg(1, 1), b.reg(1, 4), b.reg(1, 5)), (DRDY | 1, 4, 0x14, 0xeb));
    b.set(1, 7, 0xa1);
    assert!(b.irq(1));
    let data = b.words(1, 256);
    assert_eq!((word(&data, 0), b.alternate(1), b.irq(1)), (0x85c0, DRDY, false));
    b.set(0, 7, 0xa1);
    assert_eq!((b.alternate(0), b.reg(0, 1)), (DRDY | 1, 4));
}

#[test]
fn sectors_through_the_data_register() {
    let b = bench();
    b.command(5, 2, 0x20);
    for n in 0..2 {
        assert_eq!((b.irq(0), b.alternate(0)), (true, DRQ));
        assert_eq!(b.words(0, 256), b.disk_bytes(5 + n, 1));
    }
    assert_eq!((b.irq(0), b.alternate(0)), (false, DRDY));
    // READ MULTIPLE: blocks of 16 sectors.
    b.command(100, 20, 0xc4);
    for (first, n) in [(100, 16), (116, 4)] {
        assert!(b.irq(0));
        assert_eq!(b.words(0, 256 * n), b.disk_bytes(first, n));
    }
    assert_eq!(b.alternate(0), DRDY);
    b.command(7, 2, 0x30);
    for n in 0..2_u8 {
        assert_eq!((b.irq(0), b.alternate(0)), (n != 0, DRQ));
        b.put(0, &[0x70 + n; 512]);
    }
    assert_eq!((b.irq(0), b.alternate(0)), (true, DRDY));
    assert_eq!(b.disk_bytes(7, 2), [[0x70; 512], [0x71; 512]].concat());
    b.command(7, 20, 0xc5);
    b.put(0, &[1; 16 * 512]);
    assert!(b.irq(0));
    b.put(0, &[2; 4 * 512]);
    assert!(b.irq(0));
    assert_eq!(b.disk_bytes(7, 20), [vec![1; 16 * 512], vec![2; 4 * 512]].concat());
    // 48 bits: the count and the address are written twice.
    for (register, value) in [(2, 0), (2, 1), (3, 0), (3, 9), (4, 0), (4, 1), (5, 0), (5, 0), (6, 0x40), (7, 0x24)] {
        b.set(0, register, value);
    }
    assert_eq!(b.words(0, 256), b.disk_bytes(0x109, 1));
    // Cylinder 1, head 2, sector 3 of 16 heads and 63 sectors.
    for (register, value) in [(2, 1), (3, 3), (4, 1), (5, 0), (6, 2), (7, 0x20)] {
        b.set(0, register, value);
    }
    assert_eq!(b.words(0, 256), b.disk_bytes((16 + 2) * 63 + 2, 1));
}

#[test]
fn commands_without_data() {
    let b = bench();
    // Features, count, address, command; what the error register is.
    for (features, count, lba, command, error) in [
        (0, 1, 0, 0x10, 0),
        (0, 1, 0, 0x70, 0),
        (0, 1, 2999, 0x40, 0),
        (0, 1, 3000, 0x40, 0x10),
        (0, 2, 2999, 0x20, 0x10),
        (0, 0, 2999, 0xc8, 0x10),
        (0, 0, 0, 0xe7, 0),
        (0, 0, 0, 0xea, 0),
        (0, 0, 0, 0xe0, 0),
        (2, 0, 0, 0xef, 0),
        (3, 0x42, 0, 0xef, 0),
        (3, 0x46, 0, 0xef, 4),
        (0x99, 0, 0, 0xef, 4),
        (0, 8, 0, 0xc6, 0),
        (0, 7, 0, 0xc6, 4),
        (0, 32, 0, 0xc6, 4),
        (0, 0, 0, 0xc6, 0),
        (0, 1, 0, 0xc4, 4),
        (0xd8, 0, 0xc2_4f00, 0xb0, 0),
        (0xda, 0, 0xc2_4f00, 0xb0, 0),
        (0xda, 0, 0, 0xb0, 4),
        (0, 17, 0, 0x91, 0),
        (0, 0, 0, 0x00, 4),
        (0, 0, 0, 0x08, 4),
        (0, 0, 0, 0xa0, 4),
    ] {
        b.set(0, 1, features);
        b.command(lba, count, command);
        let status = if error == 0 { DRDY } else { DRDY | 1 };
        assert_eq!((b.irq(0), b.alternate(0), b.reg(0, 1)), (true, status, error), "{features:x} {command:x}");
    }
    b.command(0, 0, 0xe5);
    assert_eq!(b.reg(0, 2), 0xff);
    b.command(0, 0, 0xf8);
    assert_eq!([3, 4, 5].map(|register| b.reg(0, register)), [0xb7, 0x0b, 0]);
    assert!(b.disk.calls.lock().unwrap().contains(&"flush".into()));
}

#[test]
fn interrupts_can_be_disabled() {
    let b = bench();
    b.write(1, 0, 1, 2);
    b.command(0, 1, 0x40);
    assert!(!b.irqs.get(14));
    b.write(1, 0, 1, 0);
    assert!(b.irqs.get(14));
    assert_eq!(b.alternate(0), DRDY);
    assert!(b.irq(0), "the alternate status leaves it");
}

#[test]
fn sectors_by_bus_master() {
    let b = bench();
    for (command, first) in [(0xc8, 10), (0xc8, 0)] {
        b.command(first, 3, command);
        assert_eq!((b.alternate(0), b.irqs.get(14)), (DRQ, false));
        b.start_dma(0, &[(BUFFER, 512, false), (BUFFER + 0x2000, 1024, true)], true);
        assert_eq!((b.read(4, 2, 1), b.irq(0), b.alternate(0)), (4, true, DRDY), "done, not active");
        let mut data = vec![0; 512];
        b.ram.read(BUFFER, &mut data).unwrap();
        assert_eq!(data, b.disk_bytes(first as usize, 1));
        data.resize(1024, 0);
        b.ram.read(BUFFER + 0x2000, &mut data).unwrap();
        assert_eq!(data, b.disk_bytes(first as usize + 1, 2));
        b.write(4, 0, 1, 0);
    }
    // The engine first, the command then; 64 KiB as a count of 0.
    b.ram.write(BUFFER, &vec![0x5a; 0x1_0000]).unwrap();
    b.start_dma(0, &[(BUFFER, 0, true)], false);
    assert_eq!(b.read(4, 2, 1), 1);
    b.command(20, 128, 0xca);
    assert_eq!((b.read(4, 2, 1), b.irq(0)), (4, true));
    assert_eq!(b.disk_bytes(20, 128), vec![0x5a; 0x1_0000]);
    // A region larger than the transfer stays active.
    b.write(4, 0, 1, 0);
    b.start_dma(0, &[(BUFFER, 0, true)], true);
    b.command(0, 1, 0xc8);
    assert_eq!((b.read(4, 2, 1), b.irq(0)), (5, true));
    b.write(4, 0, 1, 8);
    assert_eq!(b.read(4, 2, 1), 4);
    // Regions smaller than the transfer: the engine stops, the drive waits.
    b.start_dma(0, &[(BUFFER, 512, true)], true);
    b.command(0, 2, 0xc8);
    assert_eq!((b.read(4, 2, 1), b.irq(0), b.alternate(0)), (0, false, DRQ));
    b.write(1, 0, 1, 4);
    b.write(1, 0, 1, 0);
    assert_eq!(b.alternate(0), DRDY);
    // Regions and tables outside RAM.
    b.write(4, 0, 1, 0);
    b.start_dma(0, &[(RAM_LEN, 512, true)], true);
    b.command(0, 1, 0xc8);
    assert_eq!((b.read(4, 2, 1), b.alternate(0)), (2, DRQ));
    b.write(4, 0, 1, 0);
    b.write(4, 4, 4, 0xffff_fffc);
    assert_eq!(b.read(4, 4, 4), 0xffff_fffc);
    b.write(4, 2, 1, 0x66);
    b.write(4, 0, 1, 9);
    assert_eq!(b.read(4, 2, 1), 0x62);
}

#[test]
fn errors_of_the_host() {
    let b = bench();
    b.disk.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    b.command(0x123, 1, 0x20);
    assert_eq!((b.irq(0), b.alternate(0), b.reg(0, 1), b.reg(0, 3), b.reg(0, 4)), (true, DRDY | 1, 0x40, 0x23, 1));
    b.disc.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(b.fails(&[0x28, 0, 0, 0, 0, 3, 0, 0, 1]), [3, 0x11, 0]);
}

#[test]
fn a_cdrom_drive() {
    let b = bench();
    assert_eq!(b.ask(&[0x00]), [0_u8; 0]);
    assert_eq!(b.alternate(1), DRDY);
    let inquiry = b.ask(&[0x12, 0, 0, 0, 36]);
    assert_eq!((&inquiry[..5], &inquiry[8..29]), (&[5, 0x80, 0, 0x21, 31][..], &b"MIMIC   DVD-ROM      "[..]));
    assert_eq!(b.ask(&[0x12, 0, 0, 0, 5]).len(), 5);
    assert_eq!(b.ask(&[0x25]), [0, 0, 0, 99, 0, 0, 8, 0]);
    let bytes = b.disc.bytes.lock().unwrap().clone();
    assert_eq!(b.ask(&[0x28, 0, 0, 0, 0, 7, 0, 0, 2]), bytes[7 * 2048..9 * 2048]);
    assert_eq!(b.ask(&[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 100]), bytes);
    assert_eq!(b.ask(&[0xbe, 0, 0, 0, 0, 99, 0, 0, 1, 0x10]), bytes[99 * 2048..]);
    assert_eq!(b.ask(&[0x28, 0, 0, 0, 0, 7]), [0_u8; 0], "no blocks");
    assert_eq!(
        b.ask(&[0x43, 2, 0, 0, 0, 0, 0, 0, 100]),
        [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 3, 25]
    );
    assert_eq!(b.ask(&[0x43, 0, 0, 0, 0, 0, 0xaa, 0, 12]), [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 0, 100]);
    assert_eq!(b.ask(&[0x43, 0, 1, 0, 0, 0, 0, 0, 12]), [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    assert_eq!(b.ask(&[0x43, 0, 2, 0, 0, 0, 0, 1, 0]).len(), 48);
    assert_eq!(b.ask(&[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 100])[..10], [0, 26, 0, 0, 0, 0, 0, 0, 0x2a, 18]);
    assert_eq!(b.ask(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8]), [0, 0, 0, 32, 0, 0, 0, 8]);
    assert_eq!(b.ask(&[0x51, 0, 0, 0, 0, 0, 0, 0, 34]).len(), 34);
    assert_eq!(b.ask(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]), [0, 0, 0, 0, 0, 1, 0, 0]);
    for (packet, sense) in [
        (&[0x28, 0, 0, 0, 0, 100, 0, 0, 1][..], [5, 0x21, 0]),
        (&[0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff], [5, 0x21, 0]),
        (&[0xff], [5, 0x20, 0]),
        (&[0x43, 0, 9], [5, 0x24, 0]),
        (&[0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8], [5, 0x24, 0]),
        (&[0x5a, 0, 0xea, 0, 0, 0, 0, 0, 100], [5, 0x39, 0]),
        (&[0x4a], [5, 0x24, 0]),
    ] {
        assert_eq!(b.fails(packet), sense, "{packet:x?}");
    }
}

#[test]
fn packets_in_small_blocks_and_by_dma() {
    let b = bench();
    let bytes = b.disc.bytes.lock().unwrap().clone();
    b.packet(&[0x28, 0, 0, 0, 0, 1, 0, 0, 1], 0, 1500);
    for (from, n) in [(0, 1500), (1500, 548)] {
        assert!(b.irq(1));
        assert_eq!((b.reg(1, 4), b.reg(1, 5)), ((n % 256) as u8, (n / 256) as u8));
        assert_eq!(b.words(1, n / 2), bytes[2048 + from..2048 + from + n]);
    }
    assert!(b.irq(1));
    b.packet(&[0x28, 0, 0, 0, 0, 2, 0, 0, 1], 1, 0);
    b.start_dma(1, &[(BUFFER, 2048, true)], true);
    assert_eq!((b.read(4, 10, 1), b.irq(1), b.reg(1, 2)), (4, true, 3));
    let mut data = vec![0; 2048];
    b.ram.read(BUFFER, &mut data).unwrap();
    assert_eq!(data, bytes[4096..6144]);
    b.write(4, 8, 1, 0);
    b.packet(&[0x25], 1, 0);
    b.start_dma(1, &[(BUFFER, 8, true)], true);
    assert!(b.irq(1));
    assert_eq!(b.ram.load(BUFFER + 3, 1), Some(99));
}

#[test]
fn discs_come_and_go() {
    let b = bench();
    let change = |disc| b.cell.with(|controller| controller.set_disc(1, 0, disc)).unwrap();
    assert!(!b.cell.with(|controller| controller.set_disc(0, 0, None)).unwrap(), "a disk stays");
    assert!(change(None));
    assert_eq!(b.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])[4..6], [3, 0]);
    assert_eq!(b.fails(&[0x00]), [2, 0x3a, 0]);
    assert!(change(Some(MemoryDisk::new(8))));
    assert_eq!(b.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])[4..6], [2, 2]);
    assert_eq!(b.fails(&[0x25]), [6, 0x28, 0]);
    assert_eq!(b.ask(&[0x25])[3], 1);
    assert_eq!(b.ask(&[0x1e, 0, 0, 0, 1]), [0_u8; 0]);
    assert_eq!(b.fails(&[0x1b, 0, 0, 0, 2]), [5, 0x53, 2]);
    assert_eq!(b.ask(&[0x1e, 0, 0, 0, 0]), [0_u8; 0]);
    assert_eq!(b.ask(&[0x1b, 0, 0, 0, 2]), [0_u8; 0]);
    assert_eq!(b.fails(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]), [2, 0x3a, 2]);
    assert_eq!(b.ask(&[0x1b, 0, 0, 0, 3]), [0_u8; 0]);
    assert_eq!(b.fails(&[0x00]), [6, 0x28, 0]);
    assert_eq!(b.ask(&[0x00]), [0_u8; 0]);
}

#[test]
fn a_thread_waits_for_the_host() {
    let b = bench_with(false);
    let wait = |what: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < end, "the drive does not answer");
            std::thread::yield_now();
        }
    };
    let gate = b.disk.gate.lock().unwrap();
    b.command(5, 1, 0x20);
    assert_eq!(b.alternate(0) & 0x80, 0x80, "busy");
    b.set(0, 3, 0x77);
    assert_eq!(b.reg(0, 3), 5, "registers belong to the drive");
    drop(gate);
    wait(&|| b.irqs.get(14));
    assert_eq!(b.words(0, 256), b.disk_bytes(5, 1));
    // A loaded state goes on with what was under way.
    let gate = b.disk.gate.lock().unwrap();
    b.command(6, 1, 0x20);
    let saved = b.cell.save();
    drop(gate);
    wait(&|| b.alternate(0) == DRQ);
    b.cell.load(&saved).unwrap();
    b.cell.settle();
    wait(&|| b.alternate(0) == DRQ);
    assert_eq!(b.words(0, 256), b.disk_bytes(6, 1));
    // A reset forgets it.
    b.command(7, 1, 0x20);
    b.cell.reset(vm::ResetKind::Warm);
    b.cell.settle();
    assert_eq!(b.alternate(0), DRDY);
    b.command(7, 1, 0x40);
    b.cell.with(|controller| controller.drain()).unwrap();
    assert_eq!(b.alternate(0), DRDY);
}

#[test]
fn saved_reset_and_any_access() {
    let b = bench();
    b.command(7, 2, 0x30);
    check_save_load(&b.cell, || b.put(0, &[1; 512]));
    b.machine.bus.write_config(9, 0x20, 4, 0);
    b.cell.reset(vm::ResetKind::Cold);
    check_reset(&b.cell, || b.command(7, 2, 0x20));
    b.machine.bus.write_config(9, 4, 2, 5);
    b.write(4, 4, 4, TABLE as u32);
    b.write(4, 12, 4, TABLE as u32);
    hammer(&b.cell, 60_000, |random| {
        if random.below(4) == 0 {
            let channel = random.below(2) as u8;
            let commands = [0x20, 0x24, 0x25, 0x30, 0x40, 0xa0, 0xc4, 0xc5, 0xc8, 0xca, 0xec, 0xef, 0xa1];
            b.set(channel, 7, commands[random.below(13) as usize]);
        }
        if random.below(16) == 0 {
            b.write(random.below(2) as u8 * 2 + 1, 0, 1, random.next() as u32 & 0xff);
        }
    });
}
