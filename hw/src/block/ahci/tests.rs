//! Tests of ports, through the controller of a PC.

use super::*;
use crate::pci::ich9_ahci::Ich9Ahci;
use crate::pci::testing::Machine;
use crate::testing::{Poke, check_reset, check_save_load, hammer};
use crate::virtio::testing::MemoryDisk;
use std::time::{Duration, Instant};
use vm::{Access, DeviceCell, MmioPort, Part, Ram};

const DEVFN: u8 = 31 << 3 | 2;
const RAM_LEN: u64 = 0x20_0000;
const LIST: u64 = 0x1000;
const FRAMES: u64 = 0x2000;
const TABLE: u64 = 0x3000;
const BUFFER: u64 = 0x1_0000;
/// The port with the disk, and the one with the CD-ROM drive.
const DISK: u64 = 0x100;
const DISC: u64 = 0x280;

struct Bench {
    machine: Machine,
    ram: Arc<Ram>,
    cell: Arc<DeviceCell<Ich9Ahci>>,
    disk: Arc<MemoryDisk>,
    disc: Arc<MemoryDisk>,
}

/// A command: the frame's bytes from the command on, the packet, and the regions.
#[derive(Default)]
struct Issue {
    command: u8,
    lba: u32,
    count: u16,
    features: u16,
    device: u8,
    packet: [u8; 12],
    /// First address, bytes.
    regions: Vec<(u64, u32)>,
}

fn bench_with(synchronous: bool) -> Bench {
    let (machine, ram) = Machine::with_ram(RAM_LEN);
    let (disk, disc) = (MemoryDisk::new(3000), MemoryDisk::new(400));
    let drives = [
        Some(Drive::disk(disk.clone(), "SERIAL1")),
        None,
        None,
        Some(Drive::cdrom(Some(disc.clone()), "SERIAL2")),
        None,
        None,
    ];
    let cell = Ich9Ahci::cell(machine.bus.slot(31, 2), drives, synchronous).unwrap();
    assert!(machine.bus.plug(&cell));
    machine.bus.write_config(DEVFN, 4, 2, 7);
    let bench = Bench { machine, ram, cell, disk, disc };
    for port in [DISK, DISC] {
        bench.start(port);
    }
    bench.cell.w(GHC, 2);
    bench
}

const GHC: u64 = 4;
const HOST_IS: u64 = 8;

fn bench() -> Bench {
    bench_with(true)
}

impl Bench {
    fn start(&self, port: u64) {
        self.cell.w(port + CLB, LIST);
        self.cell.w(port + FB, FRAMES);
        self.cell.w(port + CMD, FRE.into());
        self.cell.w(port + IS, 0xffff_ffff);
        self.cell.w(port + IE, INTERRUPTS.into());
        self.cell.w(port + CMD, (FRE | ST).into());
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.ram.write(at, bytes).unwrap();
    }

    fn bytes<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.read(at, &mut bytes).unwrap();
        bytes
    }

    /// Puts a command into a slot.
    fn prepare(&self, slot: u64, issue: &Issue) {
        let table = TABLE + slot * 0x400;
        let [l0, l1, l2, l3] = issue.lba.to_le_bytes();
        let [f0, f1] = issue.features.to_le_bytes();
        let [c0, c1] = issue.count.to_le_bytes();
        let frame = [0x27, 0x80, issue.command, f0, l0, l1, l2, issue.device | 0x40, l3, 0, 0, f1, c0, c1, 0, 0];
        self.put(table, &frame);
        self.put(table + 0x40, &issue.packet);
        for (n, (at, len)) in issue.regions.iter().enumerate() {
            let words = [*at as u32, (*at >> 32) as u32, 0, len.wrapping_sub(1)];
            self.put(table + 0x80 + 16 * n as u64, words.map(u32::to_le_bytes).as_flattened());
        }
        let words = [5 | (issue.regions.len() as u32) << 16, 0, table as u32, 0];
        self.put(LIST + 32 * slot, words.map(u32::to_le_bytes).as_flattened());
    }

    /// Does a command in slot 0. Gives the causes of interrupts, which are cleared, and the task file.
    fn run(&self, port: u64, issue: &Issue) -> (u32, u32) {
        self.prepare(0, issue);
        self.cell.w(port + CI, 1);
        self.outcome(port)
    }

    fn outcome(&self, port: u64) -> (u32, u32) {
        let is = self.cell.r(port + IS);
        self.cell.w(port + IS, is);
        self.cell.w(HOST_IS, 0xffff_ffff);
        (is as u32, self.cell.r(port + TFD) as u32)
    }

    /// PxCMD.ST off and on, as after an error.
    fn restart(&self, port: u64) {
        self.cell.w(port + CMD, FRE.into());
        assert_eq!((self.cell.r(port + CI), self.cell.r(port + SACT)), (0, 0));
        self.cell.w(port + CMD, (FRE | ST).into());
    }
}

#[test]
fn at_power_on() {
    let (machine, _) = Machine::with_ram(RAM_LEN);
    let drives = [None, Some(Drive::disk(MemoryDisk::new(8), "S")), Some(Drive::cdrom(None, "T")), None, None, None];
    let cell = Ich9Ahci::cell(machine.bus.slot(31, 2), drives, true).unwrap();
    assert!(machine.bus.plug(&cell));
    let config = |at| machine.bus.read_config(DEVFN, at, 4);
    assert_eq!([0, 8, 0x20, 0x24, 0x3c].map(config), [0x2922_8086, 0x0106_0102, 1, 0, 0x100]);
    assert_eq!([0, 4, 8, 0xc, 0x10].map(|at| cell.r(at)), [0xc014_1f05, 0x8000_0000, 0, 0x3f, 0x1_0000]);
    let port = |n: u64| [CMD, TFD, SIG, SSTS].map(|at| cell.r(0x100 + n * LEN + at));
    assert_eq!(port(0), [6, 0x7f, 0xffff_ffff, 0]);
    assert_eq!(port(1), [6, 0x150, 0xffff_ffff, 0x113]);
    assert_eq!(port(2), [6, 0x100, 0xffff_ffff, 0x113]);
    assert_eq!(cell.r(0x100 + 6 * LEN), 0);
    // Once frames are received, it is known what is there.
    for n in 0..3 {
        cell.w(0x100 + n * LEN + FB, FRAMES + 0x100 * n);
        cell.w(0x100 + n * LEN + CMD, FRE.into());
    }
    let found = [0, 1, 2].map(|n| (cell.r(0x100 + n * LEN + SIG), cell.r(0x100 + n * LEN + IS)));
    assert_eq!(found, [(0xffff_ffff, 0), (0x101, 1), (0xeb14_0101, 1)]);
    assert!(cell.write_n(2, 2, 0).is_err() && cell.write_n(0, 1, 0).is_err());
    assert_eq!((cell.read_n(0, 8), cell.read_n(2, 2)), (Ok(0x8000_0000_c014_1f05), Ok(0xc014)));
}

#[test]
fn data_travel_through_lists() {
    let b = bench();
    let regions = vec![(BUFFER + 1, 0x200), (BUFFER + 0x1000, 0x1fe), (BUFFER + 0x2000, 2), (BUFFER + 0x3000, 0x1000)];
    // READ DMA EXT.
    let read = Issue { command: 0x25, lba: 7, count: 2, regions, ..Issue::default() };
    assert_eq!(b.run(DISK, &read), (DHRS, 0x50));
    let contents = b.disk.bytes.lock().unwrap()[7 * 512..9 * 512].to_vec();
    assert_eq!(b.bytes::<0x200>(BUFFER), contents[..0x200], "addresses are even");
    assert_eq!(b.bytes::<0x1fe>(BUFFER + 0x1000), contents[0x200..0x3fe]);
    assert_eq!(b.bytes::<2>(BUFFER + 0x2000), contents[0x3fe..]);
    assert_eq!(b.bytes::<8>(LIST), [5, 0, 4, 0, 0, 4, 0, 0], "bytes moved");
    assert_eq!(b.bytes::<8>(FRAMES + RX_REGISTERS), [0x34, 0x40, 0x50, 0, 7, 0, 0, 0x40]);
    assert_eq!(b.cell.r(DISK + CI), 0);
    // WRITE DMA EXT; IDENTIFY DEVICE, by the data register's protocol; FLUSH CACHE EXT.
    b.put(BUFFER, &[0x5a; 512]);
    let write = Issue { command: 0x35, lba: 3, count: 1, regions: vec![(BUFFER, 512)], ..Issue::default() };
    assert_eq!(b.run(DISK, &write), (DHRS, 0x50));
    assert_eq!(b.disk.bytes.lock().unwrap()[3 * 512..4 * 512], [0x5a; 512]);
    let identify = Issue { command: 0xec, regions: vec![(BUFFER, 512)], ..Issue::default() };
    assert_eq!(b.run(DISK, &identify), (PSS, 0x50));
    assert_eq!(b.bytes::<18>(FRAMES + RX_PIO)[..3], [0x5f, 0x60, 0x50]);
    assert_eq!(b.bytes::<3>(FRAMES + RX_PIO + 15), [0x50, 0, 2]);
    let word = |n: u64| u16::from_le_bytes(b.bytes(BUFFER + 2 * n));
    assert_eq!([75, 76, 93].map(word), [31, 0x106, 0]);
    // WRITE SECTORS.
    let write = Issue { command: 0x30, lba: 9, count: 2, regions: vec![(BUFFER, 1024)], ..Issue::default() };
    assert_eq!(b.run(DISK, &write), (DHRS, 0x50));
    assert_eq!(b.disk.bytes.lock().unwrap()[9 * 512..10 * 512], b.bytes::<512>(BUFFER));
    assert_eq!(b.run(DISK, &Issue { command: 0xea, ..Issue::default() }), (DHRS, 0x50));
    assert_eq!(b.disk.calls.lock().unwrap().last().unwrap(), "flush");
}

#[test]
fn packets() {
    let b = bench();
    let packet = |bytes: &[u8]| std::array::from_fn(|n| bytes.get(n).copied().unwrap_or(0));
    let issue = |bytes: &[u8], features, len| Issue {
        command: 0xa0,
        features,
        packet: packet(bytes),
        regions: vec![(BUFFER, len)],
        ..Issue::default()
    };
    // REQUEST SENSE, READ CAPACITY, READ (10) of two blocks: through the data register's protocol and by DMA.
    for features in [0, 1] {
        assert_eq!(b.run(DISC, &issue(&[0x25], features, 8)), (DHRS, 0x50));
        assert_eq!(b.bytes::<8>(BUFFER), [0, 0, 0, 99, 0, 0, 8, 0]);
        assert_eq!(b.run(DISC, &issue(&[0x28, 0, 0, 0, 0, 5, 0, 0, 2], features, 4096)), (DHRS, 0x50));
        assert_eq!(b.bytes::<4096>(BUFFER), b.disc.bytes.lock().unwrap()[5 * 2048..7 * 2048]);
        assert_eq!(b.bytes::<4>(LIST + 4), [0, 0x10, 0, 0]);
    }
    assert_eq!(b.run(DISC, &issue(&[0x28, 0, 0, 0, 0, 99, 0, 0, 2], 0, 4096)), (DHRS | TFES, 0x5451));
    b.restart(DISC);
    assert_eq!(b.run(DISC, &issue(&[0x03, 0, 0, 0, 18], 0, 18)), (DHRS, 0x50));
    assert_eq!(b.bytes::<14>(BUFFER)[12], 0x21);
    b.cell.with(|c| c.set_disc(3, None)).unwrap();
    assert_eq!(b.run(DISC, &issue(&[0x25], 0, 8)), (DHRS | TFES, 0x2451));
    assert!(!b.cell.with(|c| c.set_disc(0, None)).unwrap());
}

#[test]
fn queued_commands() {
    let b = bench();
    let queued = |command, lba, tag: u16, at| Issue {
        command,
        lba,
        features: 1,
        count: tag << 3,
        regions: vec![(at, 512)],
        ..Issue::default()
    };
    b.put(BUFFER, &[0x77; 512]);
    b.prepare(4, &queued(0x61, 5, 4, BUFFER));
    b.prepare(9, &Issue { device: 0x80, ..queued(0x61, 6, 9, BUFFER) });
    b.prepare(31, &queued(0x60, 5, 31, BUFFER + 0x1000));
    b.cell.w(DISK + SACT, 1 << 4 | 1 << 9 | 1 << 31);
    b.cell.w(DISK + CI, 1 << 4 | 1 << 9 | 1 << 31);
    assert_eq!(b.outcome(DISK), (SDBS, 0x50));
    assert_eq!((b.cell.r(DISK + SACT), b.cell.r(DISK + CI)), (0, 0));
    assert_eq!(b.bytes::<512>(BUFFER + 0x1000), [0x77; 512]);
    assert_eq!(b.bytes::<8>(FRAMES + RX_BITS), [0xa1, 0x40, 0x50, 0, 0, 0, 0, 0x80]);
    let calls = b.disk.calls.lock().unwrap().clone();
    assert_eq!(calls[..], ["write 2560 512", "write 3072 512", "flush", "read 2560 512"]);
    // An error stops the queue.
    b.prepare(0, &queued(0x60, 1 << 20, 0, BUFFER));
    b.prepare(1, &queued(0x60, 0, 1, BUFFER));
    b.cell.w(DISK + SACT, 3);
    b.cell.w(DISK + CI, 3);
    assert_eq!(b.outcome(DISK), (SDBS | TFES, 0x1051));
    assert_eq!((b.cell.r(DISK + SACT), b.cell.r(DISK + CI)), (3, 2));
    b.restart(DISK);
    assert_eq!(b.run(DISK, &Issue { command: 0xe5, ..Issue::default() }), (DHRS, 0x50));
}

#[test]
fn interrupts() {
    let b = bench();
    let nop = Issue { command: 0xe5, ..Issue::default() };
    let status = || b.machine.bus.read_config(DEVFN, 6, 2) & 8 != 0;
    b.prepare(0, &nop);
    b.cell.w(DISK + CI, 1);
    assert_eq!((b.cell.r(HOST_IS), status(), b.machine.pirqs.get(2)), (1, true, true));
    b.cell.w(HOST_IS, 1);
    assert_eq!((b.cell.r(HOST_IS), status()), (1, true), "the port has a cause yet");
    b.cell.w(DISK + IS, 1);
    b.cell.w(HOST_IS, 1);
    assert_eq!((b.cell.r(HOST_IS), status(), b.machine.pirqs.get(2)), (0, false, false));
    b.cell.w(DISK + IE, 0);
    assert_eq!(b.run(DISK, &nop), (DHRS, 0x50));
    assert!(!status());
    // By message: one for each time that a port begins to ask.
    b.cell.w(DISK + IE, 1);
    b.machine.bus.write_config(DEVFN, 0x44, 4, 0xfee0_0000);
    b.machine.bus.write_config(DEVFN, 0x4c, 2, 0x31);
    b.machine.bus.write_config(DEVFN, 0x42, 2, 1);
    b.cell.w(DISK + CI, 1);
    b.cell.w(DISK + CI, 1);
    assert_eq!((b.machine.take_messages(), status()), (vec![(0xfee0_0000, 0x31)], false));
    b.cell.w(HOST_IS, 1);
    assert_eq!(b.machine.take_messages().len(), 1, "it asks again");
    b.cell.w(DISK + IS, 1);
    b.cell.w(HOST_IS, 1);
    b.cell.w(GHC, 0);
    b.cell.w(DISK + CI, 1);
    assert!(b.machine.take_messages().is_empty(), "not enabled");
}

#[test]
fn resets() {
    let b = bench();
    b.put(TABLE, &[0x27, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
    b.put(LIST, [5_u32 | 1 << 8 | 1 << 10, 0, TABLE as u32, 0].map(u32::to_le_bytes).as_flattened());
    b.cell.w(DISC + CI, 1);
    assert_eq!((b.cell.r(DISC + CI), b.cell.r(DISC + IS)), (0, 0));
    b.put(TABLE + 15, &[0]);
    b.cell.w(DISC + CI, 1);
    assert_eq!((b.cell.r(DISC + CI), b.cell.r(DISC + SIG)), (0, 0xeb14_0101));
    assert_eq!(b.outcome(DISC), (DHRS, 0x100));
    assert_eq!(b.bytes::<14>(FRAMES + RX_REGISTERS)[2..], [0, 1, 1, 0x14, 0xeb, 0, 0, 0, 0, 0, 1, 0]);
    // By the interface.
    b.cell.w(DISK + CMD, FRE.into());
    b.cell.w(DISK + SCTL, 0x301);
    assert_eq!(b.cell.r(DISK + SSTS), 0);
    b.cell.w(DISK + SCTL, 0x300);
    assert_eq!([SSTS, SIG, TFD, IS].map(|at| b.cell.r(DISK + at)), [0x113, 0x101, 0x150, 1]);
    b.cell.w(DISK + SCTL, 4);
    assert_eq!(b.cell.r(DISK + SSTS), 4);
    // Of the controller: the addresses are kept.
    b.cell.w(GHC, 1);
    assert_eq!((b.cell.r(GHC), b.cell.r(DISK + CLB), b.cell.r(DISK + SSTS)), (0x8000_0000, LIST, 0x113));
    assert_eq!(b.cell.r(DISK + CMD), 6);
}

/// Everything that a guest can get wrong in memory ends in an error, in bounded time.
#[test]
fn malformed_commands() {
    let b = bench();
    let read = |count, regions| Issue { command: 0x25, count, regions, ..Issue::default() };
    let own = 0xfebf_0000;
    b.machine.bus.write_config(DEVFN, 0x24, 4, own as u32);
    for (issue, moved) in [
        (read(2, vec![]), 0),
        (read(2, vec![(BUFFER, 512)]), 512),
        (read(2, vec![(RAM_LEN - 512, 1024)]), 0),
        (read(2, vec![(own + DISK, 1024)]), 0),
        (read(2, vec![(u64::MAX - 1, 1024)]), 0),
        (Issue { command: 0x35, ..read(2, vec![(own, 1024)]) }, 0),
        (Issue { command: 0xec, ..read(0, vec![(BUFFER, 256)]) }, 0),
        (Issue { command: 0x30, ..read(1, vec![(BUFFER, 256)]) }, 0),
        (Issue { command: 0x77, ..read(0, vec![]) }, 0),
        (Issue { command: 0x60, features: 1, ..read(0, vec![]) }, 0),
    ] {
        let (is, tfd) = b.run(DISK, &issue);
        let queued = issue.command == 0x60;
        if issue.command == 0x77 {
            // SEEK of old is done.
            assert_eq!((is, tfd), (DHRS, 0x50));
            continue;
        }
        assert_eq!((is, tfd), (if queued { SDBS } else { DHRS } | TFES, 0x451), "{:#x}", issue.command);
        assert_eq!(b.cell.r(DISK + CI), u64::from(!queued), "it stays where it is");
        if moved != 0 {
            assert_eq!(b.bytes::<4>(LIST + 4), u32::to_le_bytes(moved));
        }
        b.restart(DISK);
    }
    // A list of 65,535 descriptors of two bytes, all in one place, is as long as it says.
    b.prepare(0, &read(256, vec![]));
    b.put(LIST + 2, &[0xff, 0xff]);
    for n in 0..0xffff {
        b.put(TABLE + 0x80 + 16 * n, [0x1f_0000_u32, 0, 0, 0].map(u32::to_le_bytes).as_flattened());
    }
    b.cell.w(DISK + CI, 1);
    assert_eq!(b.outcome(DISK), (DHRS | TFES, 0x451));
    b.restart(DISK);
    // No frame to a device, one for a port multiplier, a table and a list that are not in RAM.
    for (at, byte, cause) in [(TABLE, 0x34, IFS), (TABLE + 1, 0x81, IFS), (LIST + 12, 1, HBFS)] {
        b.prepare(0, &read(1, vec![(BUFFER, 512)]));
        b.put(at, &[byte]);
        b.cell.w(DISK + CI, 1);
        assert_eq!(b.outcome(DISK).0, cause);
        b.restart(DISK);
    }
    b.cell.w(DISK + CLBU, 0xffff_ffff);
    b.cell.w(DISK + CI, 0xffff_ffff);
    assert_eq!(b.outcome(DISK).0, HBFS);
    b.restart(DISK);
    b.cell.w(DISK + CLBU, 0);
    b.cell.w(DISK + FBU, 0xffff_ffff);
    assert_eq!(b.run(DISK, &read(1, vec![(BUFFER, 512)])), (DHRS | HBFS, 0x50));
}

#[test]
fn the_host_works_meanwhile() {
    let b = bench_with(false);
    let read = Issue { command: 0x25, lba: 7, count: 1, regions: vec![(BUFFER, 512)], ..Issue::default() };
    b.prepare(0, &read);
    b.cell.w(DISK + CI, 1);
    let start = Instant::now();
    while b.cell.r(DISK + CI) != 0 {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    assert_eq!(b.bytes::<512>(BUFFER), b.disk.bytes.lock().unwrap()[7 * 512..8 * 512]);
    // Stopped while the host is busy, and saved.
    b.cell.w(DISK + CI, 1);
    b.cell.w(DISK + CMD, FRE.into());
    b.cell.w(DISK + CMD, (FRE | ST).into());
    b.cell.w(DISK + CI, 1);
    b.cell.with(Ich9Ahci::drain).unwrap();
    assert_eq!(b.cell.r(DISK + CI), 0);
}

#[test]
fn saved_reset_and_any_access() {
    let b = bench();
    check_save_load(&b.cell, || b.cell.w(DISK + IE, 1));
    // A command that was under way goes on after the load.
    let slow = bench_with(false);
    slow.prepare(0, &Issue { command: 0x25, lba: 7, count: 1, regions: vec![(BUFFER, 512)], ..Issue::default() });
    slow.cell.w(DISK + CI, 1);
    let saved = slow.cell.save();
    slow.cell.load(&saved).unwrap();
    slow.cell.settle();
    slow.cell.with(Ich9Ahci::drain).unwrap();
    assert_eq!(slow.cell.r(DISK + CI), 0);
    let (machine, _) = Machine::with_ram(RAM_LEN);
    let fresh = Ich9Ahci::cell(machine.bus.slot(31, 2), [const { None }; 6], true).unwrap();
    check_reset(&fresh, || fresh.w(DISK + IE, 1));
    let at = |window, offset, width| Access { window, offset, width };
    MmioPort::write(&*b.cell, at(1, 0x10, 4), 0x10c).unwrap();
    assert_eq!(MmioPort::read(&*b.cell, at(1, 0x14, 4)), Ok(b.cell.r(0x10c)));
    MmioPort::write(&*b.cell, at(1, 0x10, 4), DISK + IE).unwrap();
    MmioPort::write(&*b.cell, at(1, 0x14, 4), 3).unwrap();
    assert_eq!(b.cell.r(DISK + IE), 3);
    hammer(&b.cell, 20_000, |random| {
        let port = if random.below(2) == 0 { DISK } else { DISC };
        b.start(port);
        let commands = [0x25, 0x35, 0x20, 0x30, 0x60, 0x61, 0xa0, 0xec, 0xa1, 0xef, 0xea, 0x08, 0xc6];
        let issue = Issue {
            command: commands[random.below(commands.len() as u64) as usize],
            lba: random.below(3010) as u32,
            count: random.below(20) as u16,
            features: random.below(20) as u16,
            device: random.next() as u8,
            packet: std::array::from_fn(|n| if n == 0 { random.next() } else { random.below(4) } as u8),
            regions: vec![(random.below(RAM_LEN + 0x1000), random.below(0x4000) as u32); random.below(4) as usize],
        };
        b.prepare(random.below(4), &issue);
        b.cell.w(port + CI, random.below(16));
        b.machine.bus.write_config(DEVFN, random.next() as u8 & 0xfc, 4, random.next() as u32);
    });
}
