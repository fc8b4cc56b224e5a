use super::*;
use crate::pci::testing::Machine;
use crate::testing::{check_reset, check_save_load, hammer};
use crate::virtio::blk::{BlkOptions, VirtioBlk};
use crate::virtio::testing::{MemoryDisk, WRITE};
use vm::{Gpa, MmioPort, Part, Ram};

const DEVFN: u8 = 4 << 3;
const MODERN_AT: u64 = 0xfe00_0000;
const MSIX_AT: u64 = 0xfeb0_0000;
const LEGACY_AT: u64 = 0xc000;
/// The ring of a legacy queue of 256 descriptors, and what the tests' one request is made of.
const RING: u64 = 0x1_0000;
const AVAIL: u64 = RING + 256 * 16;
const USED: u64 = RING + 0x2000;
const REQUEST: u64 = 0x2_0000;

struct Bench {
    machine: Machine,
    ram: Arc<Ram>,
    cell: Arc<DeviceCell<VirtioPci<VirtioBlk>>>,
    disk: Arc<MemoryDisk>,
}

fn bench(transitional: bool) -> Bench {
    let (machine, ram) = Machine::with_ram(0x10_0000);
    let disk = MemoryDisk::new(16);
    let blk = VirtioBlk::new(disk.clone(), BlkOptions { synchronous: true, ..Default::default() }).unwrap();
    let cell = VirtioPci::cell(blk, machine.bus.slot(4, 0), transitional);
    assert!(machine.bus.plug(&cell));
    for (at, value) in [(0x10, LEGACY_AT as u32), (0x14, MSIX_AT as u32), (0x20, MODERN_AT as u32), (0x24, 0), (4, 7)] {
        machine.bus.write_config(DEVFN, at, 4, value);
    }
    Bench { machine, ram, cell, disk }
}

impl Bench {
    fn config(&self, at: u8, width: u8) -> u32 {
        self.machine.bus.read_config(DEVFN, at, width)
    }
    fn load(&self, offset: u64, width: u8) -> u64 {
        self.machine.memory.view().load(Gpa(MODERN_AT + offset), width).unwrap()
    }
    fn store(&self, offset: u64, width: u8, value: u64) {
        self.machine.memory.view().store(Gpa(MODERN_AT + offset), width, value).unwrap();
    }
    fn port(&self, offset: u64, width: u8) -> u64 {
        self.machine.ports.view().load(Gpa(LEGACY_AT + offset), width).unwrap()
    }
    fn set_port(&self, offset: u64, width: u8, value: u64) {
        self.machine.ports.view().store(Gpa(LEGACY_AT + offset), width, value).unwrap();
    }
    /// Makes a request to read sector `n` available as the `index`-th.
    fn offer(&self, index: u16, n: u64) {
        self.ram.store(REQUEST, 8, 0).unwrap();
        self.ram.store(REQUEST + 8, 8, n).unwrap();
        for (i, (address, len, flags)) in
            (0..).zip([(REQUEST, 16, 1), (REQUEST + 0x100, 512, 1 | WRITE), (REQUEST + 0x400, 1, WRITE)])
        {
            self.ram.store(RING + i * 16, 8, address).unwrap();
            self.ram.store(RING + i * 16 + 8, 4, len).unwrap();
            self.ram.store(RING + i * 16 + 12, 2, flags.into()).unwrap();
            self.ram.store(RING + i * 16 + 14, 2, i + 1).unwrap();
        }
        self.ram.store(AVAIL + 4 + 2 * u64::from(index), 2, 0).unwrap();
        self.ram.store(AVAIL + 2, 2, u64::from(index) + 1).unwrap();
        self.ram.store(REQUEST + 0x400, 1, 0xff).unwrap();
    }
    /// Expects that `count` requests were answered, the last one for sector `n`.
    fn answered(&self, count: u64, n: usize) {
        assert_eq!((self.ram.load(USED + 2, 2), self.ram.load(REQUEST + 0x400, 1)), (Some(count), Some(0)));
        let mut data = vec![0; 512];
        self.ram.read(REQUEST + 0x100, &mut data).unwrap();
        assert_eq!(data, self.disk.bytes.lock().unwrap()[n * 512..][..512]);
    }
    fn start_modern(&self) {
        for status in [0, 1, 3] {
            self.store(0x14, 1, status);
        }
        for (select, features) in [(0, 0), (1, 1)] {
            self.store(0x08, 4, select);
            self.store(0x0c, 4, features);
        }
        self.store(0x14, 1, 11);
        assert_eq!(self.load(0x14, 1), 11);
        for (at, width, value) in [
            (0x16, 2, 0),
            (0x20, 4, RING),
            (0x24, 4, 0),
            (0x28, 8, AVAIL),
            (0x30, 8, USED),
            (0x1c, 2, 1),
            (0x14, 1, 15),
        ] {
            self.store(at, width, value);
        }
    }
    fn irq(&self) -> bool {
        self.machine.pirqs.get(crate::pci::bus::pirq(4, 0).into())
    }
}

#[test]
fn configuration_space() {
    let b = bench(true);
    assert_eq!([0, 8, 0x2c].map(|at| b.config(at, 4)), [0x1001_1af4, 0x0100_0000, 0x0002_1af4]);
    // The capabilities: identification, kind, window, offset, length.
    let (mut at, mut seen) = (b.config(0x34, 1) as u8, Vec::new());
    while at != 0 {
        let kind = if b.config(at, 1) == 9 { b.config(at + 3, 1) } else { 0 };
        seen.push((b.config(at, 1), kind, b.config(at + 4, 1), b.config(at + 8, 4), b.config(at + 12, 4)));
        at = b.config(at + 1, 1) as u8;
    }
    assert_eq!(seen[0].0, 0x11);
    let expect =
        [(9, 1, 4, 0, 0x1000), (9, 3, 4, 0x1000, 0x1000), (9, 4, 4, 0x2000, 0x1000), (9, 2, 4, 0x3000, 0x1000)];
    assert_eq!(seen[1..5], expect);
    assert_eq!((seen[5], seen.len()), ((9, 5, 0, 0, 0), 6));
    let b = bench(false);
    assert_eq!([0, 8, 0x2c].map(|at| b.config(at, 4)), [0x1042_1af4, 0x0100_0001, 0x1100_1af4]);
    assert_eq!(b.machine.ports.dump(), "", "no legacy window");
}

#[test]
fn a_modern_driver() {
    let b = bench(true);
    for (at, width, value) in
        [(0x10, 2, 0xffff), (0x12, 2, 1), (0x14, 1, 0), (0x18, 2, 256), (0x1a, 2, 0xffff), (0x1e, 2, 0)]
    {
        assert_eq!(b.load(at, width), value, "{at:#x}");
    }
    b.store(0, 4, 1);
    assert_eq!(b.load(4, 4), 1, "VERSION_1");
    assert_eq!(b.load(0x2000, 8), 16, "sectors of the disk");
    b.start_modern();
    assert_eq!((b.load(0x28, 8), b.load(0x1c, 2)), (AVAIL, 1));
    b.offer(0, 3);
    b.store(0x3000, 2, 0);
    b.answered(1, 3);
    assert!(b.irq());
    assert_eq!((b.load(0x1000, 1), b.irq(), b.load(0x1000, 1)), (1, false, 0));
    b.store(0x14, 1, 0);
    assert_eq!((b.load(0x1c, 2), b.load(0x14, 1)), (0, 0));
    b.store(0x16, 2, 1);
    assert_eq!((b.load(0x18, 2), b.load(0x1a, 2)), (0, 0xffff), "no such queue");
}

#[test]
fn messages_by_queue() {
    let b = bench(false);
    let view = b.machine.memory.view();
    for n in 0..2_u64 {
        view.store(Gpa(MSIX_AT + n * 16), 4, 0xfee0_0000).unwrap();
        view.store(Gpa(MSIX_AT + n * 16 + 8), 8, 0x40 + n).unwrap();
    }
    b.machine.bus.write_config(DEVFN, b.config(0x34, 1) as u8 + 2, 2, 0x8000);
    b.start_modern();
    b.store(0x1a, 2, 2);
    assert_eq!(b.load(0x1a, 2), 0xffff, "no such vector");
    b.store(0x1a, 2, 1);
    b.store(0x10, 2, 0);
    assert_eq!((b.load(0x1a, 2), b.load(0x10, 2)), (1, 0));
    b.offer(0, 2);
    b.store(0x3000, 2, 0);
    b.answered(1, 2);
    assert_eq!((b.machine.take_messages(), b.irq()), (vec![(0xfee0_0000, 0x41)], false));
    // A malformed ring is told by the configuration's vector.
    b.ram.store(AVAIL + 2, 2, 1000).unwrap();
    b.store(0x3000, 2, 0);
    assert_eq!((b.machine.take_messages(), b.load(0x14, 1)), (vec![(0xfee0_0000, 0x40)], 0x4f));
}

#[test]
fn a_legacy_driver() {
    let b = bench(true);
    assert_eq!((b.port(0xc, 2), b.port(0x14, 4), b.port(0, 4) >> 27 & 1), (256, 16, 1), "ANY_LAYOUT");
    for (at, width, value) in [(0x12, 1, 1), (0x12, 1, 3), (4, 4, 0), (0xe, 2, 0), (8, 4, RING / 4096), (0x12, 1, 7)] {
        b.set_port(at, width, value);
    }
    assert_eq!((b.port(8, 4), b.port(0x12, 1)), (RING / 4096, 7));
    b.offer(0, 5);
    b.set_port(0x10, 2, 0);
    b.answered(1, 5);
    assert!(b.irq());
    assert_eq!((b.port(0x13, 1), b.irq()), (1, false));
    // With MSI-X the vectors come before the configuration.
    b.machine.bus.write_config(DEVFN, b.config(0x34, 1) as u8 + 2, 2, 0x8000);
    b.set_port(0x16, 2, 1);
    assert_eq!((b.port(0x14, 2), b.port(0x16, 2), b.port(0x18, 4)), (0xffff, 1, 16));
    b.set_port(8, 4, 0);
    b.set_port(0x12, 1, 0);
    assert_eq!((b.port(8, 4), b.port(0x12, 1)), (0, 0));
    assert!(MmioPort::read(&*b.cell, Access { window: LEGACY, offset: 1, width: 1 }).is_err());
}

#[test]
fn access_through_the_configuration_space() {
    let b = bench(true);
    let at = 0x40 + 12 + 16 * 3 + 20;
    assert_eq!(b.config(at + 3, 1), 5);
    let name = |window: u32, offset, width| {
        b.machine.bus.write_config(DEVFN, at + 4, 1, window);
        b.machine.bus.write_config(DEVFN, at + 8, 4, offset);
        b.machine.bus.write_config(DEVFN, at + 12, 4, width);
    };
    name(4, 0x14, 1);
    b.machine.bus.write_config(DEVFN, at + 16, 4, 0x1103);
    assert_eq!((b.load(0x14, 1), b.config(at + 16, 4)), (3, 3));
    name(4, 0x2000, 4);
    assert_eq!(b.config(at + 16, 4), 16);
    name(0, 0xc, 2);
    assert_eq!(b.config(at + 16, 2), 256);
    for (window, offset, width) in [(4, 0x4000, 4), (4, 1, 2), (9, 0, 4), (4, 0, 3), (4, u32::MAX, 1)] {
        name(window, offset, width);
        b.machine.bus.write_config(DEVFN, at + 16, 4, 0x55);
        assert_eq!(b.config(at + 16, 4), 0x55, "nothing is named");
    }
}

#[test]
fn saved_reset_and_any_access() {
    let b = bench(true);
    b.start_modern();
    check_save_load(&b.cell, || b.store(0x14, 1, 0));
    b.cell.reset(ResetKind::Cold);
    check_reset(&b.cell, || b.machine.bus.write_config(DEVFN, 0x3c, 1, 5));
    b.machine.bus.write_config(DEVFN, 4, 2, 7);
    hammer(&b.cell, 50_000, |random| {
        let (at, value) = (random.below(64), random.next());
        match random.below(6) {
            0 => _ = MmioPort::write(&*b.cell, Access { window: MODERN, offset: at & !1, width: 2 }, value),
            1 => b.machine.bus.write_config(DEVFN, random.next() as u8 & 0xfc, 4, value as u32),
            2 => _ = MmioPort::write(&*b.cell, Access { window: MODERN, offset: 0x14, width: 1 }, value & 0xf),
            _ => {}
        }
    });
}
