use super::command::number::*;
use super::*;
use crate::intc::gicv3::{Processor, REDISTRIBUTOR, icc};
use crate::intc::wiring::CpuLines;
use crate::testing::{check_reset, check_save_load, hammer};
use vm::sysreg::SysregPort;
use vm::vcpu::Pins;
use vm::{Backing, Gpa, Mapping, MmioPort, Part, Ram};

// Where the tests' tables are.
const QUEUE: u64 = 0x1_0000;
const DEVICE_TABLE: u64 = 0x2_0000;
const COLLECTION_TABLE: u64 = 0x3_0000;
const ITT: u64 = 0x4_0000;
const CONFIG: u64 = 0x5_0000;
const PENDING: [u64; 2] = [0x8_0000, 0xa_0000];
const LPI: u32 = 8192;
const IRQ: u32 = 1;

struct Bench {
    ram: Arc<Ram>,
    gic: Arc<DeviceCell<Gicv3>>,
    its: Arc<DeviceCell<Gicv3Its>>,
    icc: Arc<dyn SysregPort>,
    pins: [Arc<Pins>; 2],
}

fn command(number: u8, device: u32, words: [u64; 3]) -> [u64; 4] {
    [u64::from(number) | u64::from(device) << 32, words[0], words[1], words[2]]
}

fn mapd(device: u32, size: u64, itt: u64) -> [u64; 4] {
    command(MAPD, device, [size - 1, VALID | itt, 0])
}

fn mapc(icid: u64, processor: u64) -> [u64; 4] {
    command(MAPC, 0, [0, VALID | processor << 16 | icid, 0])
}

fn mapti(device: u32, event: u64, intid: u32, icid: u64) -> [u64; 4] {
    command(MAPTI, device, [event | u64::from(intid) << 32, icid, 0])
}

fn event(number: u8, device: u32, event: u64, icid: u64) -> [u64; 4] {
    command(number, device, [event, icid, 0])
}

impl Bench {
    /// A GIC whose two processors take LPIs, and a service with two tables of a page.
    fn new() -> Self {
        let memory = AddressSpace::new();
        let ram = Ram::new(0x10_0000).unwrap();
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        memory.map(Mapping { name: "ram".into(), gpa: Gpa(0), len: ram.len(), priority: 0, backing }).unwrap();
        let pins = [Pins::new(), Pins::new()];
        let cpus = [0, 1].map(|n: usize| Processor { affinity: n as u32, lines: CpuLines::to(pins[n].clone()) });
        let gic = Arc::new(DeviceCell::new(Gicv3::new(32, cpus.into()).with_lpis(memory.clone())));
        let its = Arc::new(DeviceCell::new(Gicv3Its::new(gic.clone(), memory)));
        let bench = Self { ram, icc: icc::port(&gic), gic, its, pins };
        bench.gic_write(0, 0, 4, 2);
        for cpu in 0..2 {
            bench.rd(cpu, 0x14, 4, 0);
            bench.rd(cpu, 0x70, 8, CONFIG | 15);
            bench.rd(cpu, 0x78, 8, PENDING[cpu as usize] | 1 << 62);
            bench.rd(cpu, 0, 4, 1);
            bench.icc.write(cpu, icc::ICC_PMR_EL1, 0xff);
            bench.icc.write(cpu, icc::ICC_IGRPEN1_EL1, 1);
        }
        bench.write(GITS_BASER, 8, VALID | DEVICE_TABLE);
        bench.write(GITS_BASER + 8, 8, VALID | COLLECTION_TABLE);
        bench.write(GITS_CBASER, 8, VALID | QUEUE);
        bench.write(GITS_CTLR, 4, 1);
        bench
    }
    /// As `new`, with device 8's events 0 to 7 mapped to the first LPIs, half of them at each processor, all enabled.
    fn mapped() -> Self {
        let bench = Self::new();
        bench.commands(&[mapc(0, 0), mapc(1, 1), mapd(8, 3, ITT)]);
        for n in 0..8 {
            bench.ram.store(CONFIG + n, 1, 0xa1).unwrap();
            bench.commands(&[mapti(8, n, LPI + n as u32, n / 4)]);
        }
        bench
    }
    fn gic_write(&self, window: u8, offset: u64, width: u8, value: u64) {
        self.gic.write(Access { window, offset, width }, value).unwrap();
    }
    fn rd(&self, cpu: u32, offset: u64, width: u8, value: u64) {
        self.gic_write(1, u64::from(cpu) * REDISTRIBUTOR + offset, width, value);
    }
    fn read(&self, offset: u64, width: u8) -> u64 {
        MmioPort::read(&*self.its, Access { window: 0, offset, width }).unwrap()
    }
    fn write(&self, offset: u64, width: u8, value: u64) {
        MmioPort::write(&*self.its, Access { window: 0, offset, width }, value).unwrap();
    }
    /// Queues commands and expects that all are done.
    fn commands(&self, commands: &[[u64; 4]]) {
        let mut at = self.read(GITS_CWRITER, 8);
        for command in commands {
            for (n, word) in (0..).zip(command) {
                self.ram.store(QUEUE + at + 8 * n, 8, *word).unwrap();
            }
            at = (at + command::LEN) % 0x1000;
        }
        self.write(GITS_CWRITER, 8, at);
        assert_eq!(self.read(GITS_CREADR, 8), at);
    }
    fn message(&self, device: u32, event: u32) {
        self.its.with(|its| its.message(device, event)).unwrap();
    }
    fn levels(&self) -> [bool; 2] {
        [0, 1].map(|n| self.pins[n].levels() & IRQ != 0)
    }
    /// The interrupt that `cpu` takes, and ends.
    fn take(&self, cpu: u32) -> u64 {
        let intid = self.icc.read(cpu, icc::ICC_IAR1_EL1);
        self.icc.write(cpu, icc::ICC_EOIR1_EL1, intid);
        intid
    }
}

#[test]
fn registers() {
    let b = Bench::new();
    for (offset, width, value) in [
        (GITS_CTLR, 4, 1),
        (GITS_IIDR, 4, 0x43b),
        (GITS_TYPER, 8, 0x1ef71),
        (GITS_BASER, 8, VALID | 1 << 56 | 7 << 48 | DEVICE_TABLE),
        (GITS_BASER + 8, 8, VALID | 4 << 56 | 7 << 48 | COLLECTION_TABLE),
        (GITS_BASER + 16, 8, 0),
        (GITS_CBASER, 8, VALID | QUEUE),
        (0xffe8, 4, 0x3b),
        (GITS_TRANSLATER, 4, 0),
    ] {
        assert_eq!(b.read(offset, width), value, "{offset:#x}");
    }
    // Addresses stay while it is enabled.
    b.write(GITS_BASER, 8, 0);
    b.write(GITS_CBASER, 8, 0);
    assert_eq!((b.read(GITS_BASER, 8) & VALID, b.read(GITS_CBASER, 8) & VALID), (VALID, VALID));
    b.write(GITS_CTLR, 4, 0);
    b.write(GITS_BASER, 8, u64::MAX);
    assert_eq!((b.read(GITS_BASER, 8), b.read(GITS_CTLR, 4)), (0xf9e7_ffff_ffff_ffff, QUIESCENT.into()));
    // Those of the GIC.
    let read = |window, offset| b.gic.read(Access { window, offset, width: 4 }).unwrap();
    assert_eq!((read(0, 4) >> 17 & 1, read(1, 8) & 1, read(1, 0)), (1, 1, 3));
    assert_eq!((read(1, 0x70), read(1, 0x78), read(1, 0x7c)), (CONFIG | 15, PENDING[0], 0));
}

#[test]
fn a_message_becomes_an_lpi() {
    let b = Bench::mapped();
    b.message(8, 1);
    b.message(8, 0);
    b.message(8, 6);
    assert_eq!(b.levels(), [true, true]);
    assert_eq!([0, 0, 0].map(|cpu| b.take(cpu)), [8192, 8193, 1023]);
    assert_eq!((b.take(1), b.take(1), b.levels()), (8198, 1023, [false, false]));
    // The priority decides, and the interrupt that runs keeps others of its priority back.
    b.ram.store(CONFIG + 2, 1, 0x81).unwrap();
    b.message(8, 1);
    b.message(8, 2);
    assert_eq!(b.icc.read(0, icc::ICC_IAR1_EL1), 8194);
    assert_eq!(b.icc.read(0, icc::ICC_RPR_EL1), 0x80);
    assert_eq!(b.levels(), [false, false]);
    b.icc.write(0, icc::ICC_EOIR1_EL1, 8194);
    assert_eq!((b.levels(), b.take(0)), ([true, false], 8193));
}

#[test]
fn configuration_is_read_again_when_it_is_invalidated() {
    let b = Bench::mapped();
    for (invalidate, n) in [(event(INV, 8, 3, 0), 3), (event(INVALL, 0, 0, 0), 2)] {
        b.ram.store(CONFIG + n, 1, 0xa0).unwrap();
        b.commands(&[invalidate]);
        b.message(8, n as u32);
        assert_eq!((b.levels(), b.take(0)), ([false, false], 1023), "disabled");
        b.ram.store(CONFIG + n, 1, 0xa1).unwrap();
        b.commands(&[invalidate]);
        assert_eq!((b.levels(), b.take(0)), ([true, false], 8192 + n), "it stayed pending");
    }
}

#[test]
fn commands_move_and_clear() {
    let b = Bench::mapped();
    b.commands(&[event(INT, 8, 0, 0), event(CLEAR, 8, 0, 0)]);
    assert_eq!(b.levels(), [false, false]);
    b.commands(&[event(INT, 8, 0, 0), event(MOVI, 8, 0, 1)]);
    assert_eq!((b.levels(), b.take(1)), ([false, true], 8192));
    b.message(8, 0);
    assert_eq!(b.take(1), 8192, "for good");
    b.commands(&[event(INT, 8, 5, 0), event(INT, 8, 6, 0), command(MOVALL, 0, [0, 1 << 16, 0])]);
    assert_eq!((b.levels(), b.take(0), b.take(0)), ([true, false], 8197, 8198));
    b.commands(&[event(INT, 8, 5, 0), event(DISCARD, 8, 5, 0), event(SYNC, 0, 0, 0)]);
    b.message(8, 5);
    assert_eq!(b.levels(), [false, false], "no mapping any more");
    // MAPI: EventID and INTID are the same.
    b.commands(&[mapd(9, 16, 0x6_0000), event(MAPI, 9, 8200, 0)]);
    b.ram.store(CONFIG + 8, 1, 1).unwrap();
    b.message(9, 8200);
    assert_eq!(b.take(0), 8200);
    // Without a collection, and without a device.
    b.commands(&[command(MAPC, 0, [0, 1, 0]), command(MAPD, 9, [0, 0, 0])]);
    b.message(8, 6);
    b.message(9, 8200);
    assert_eq!(b.levels(), [false, false]);
}

#[test]
fn malformed_commands_change_nothing() {
    let b = Bench::mapped();
    let tables = || {
        let mut bytes = vec![0; 0x3_0000];
        b.ram.read(DEVICE_TABLE, &mut bytes).unwrap();
        bytes
    };
    let before = tables();
    for command in [
        command(0, 0, [0; 3]),
        command(0xff, 8, [u64::MAX; 3]),
        mapd(8, 17, ITT),
        mapd(512, 3, ITT),
        mapd(0x1_0008, 3, ITT),
        mapc(0, 2),
        mapc(0, 0x7_ffff_ffff),
        mapc(512, 0),
        mapti(8, 8, LPI, 0),
        mapti(7, 0, LPI, 0),
        mapti(8, 0, 8191, 0),
        mapti(8, 0, 0x1_0000, 0),
        event(MOVI, 8, 0, 2),
        event(MOVI, 8, 8, 1),
        command(MOVALL, 0, [0, 0, 2 << 16]),
        event(INT, 8, 0xffff_ffff, 0),
        event(INV, 0xffff_ffff, 0, 0),
        event(INVALL, 0, 0, 0xffff),
        command(SYNC, 0, [0, 9 << 16, 0]),
    ] {
        b.commands(&[command]);
        assert_eq!((tables() == before, b.levels()), (true, [false, false]), "{command:x?}");
    }
    for (device, event) in [(7, 0), (8, 8), (8, u32::MAX), (u32::MAX, 0), (600, 0)] {
        b.message(device, event);
    }
    assert_eq!(b.levels(), [false, false]);
    // What the guest itself writes into the tables.
    for at in (DEVICE_TABLE..ITT + 0x1_0000).step_by(8) {
        b.ram.store(at, 8, u64::MAX - at).unwrap();
    }
    (0..16).for_each(|event| b.message(8, event));
    b.commands(&[event(MOVI, 8, 1, 1), event(DISCARD, 8, 0, 0)]);
    assert_eq!(b.levels(), [false, false]);
}

#[test]
fn a_queue_that_cannot_be_read_stalls() {
    let b = Bench::new();
    b.write(GITS_CTLR, 4, 0);
    b.write(GITS_CBASER, 8, VALID | 0x10_0000_0000);
    b.write(GITS_CTLR, 4, 1);
    b.write(GITS_CWRITER, 8, 64);
    assert_eq!(b.read(GITS_CREADR, 8), STALLED);
    b.write(GITS_CWRITER, 8, 64 | RETRY);
    assert_eq!(b.read(GITS_CREADR, 8), STALLED);
    b.write(GITS_CTLR, 4, 0);
    b.write(GITS_CBASER, 8, VALID | QUEUE);
    b.write(GITS_CTLR, 4, 1);
    assert_eq!(b.read(GITS_CREADR, 8), 64);
    b.write(GITS_CWRITER, 8, 0x1000);
    assert_eq!((b.read(GITS_CWRITER, 8), b.read(GITS_CREADR, 8)), (64, 64), "beyond the queue");
}

#[test]
fn two_levels_of_devices() {
    let b = Bench::mapped();
    b.write(GITS_CTLR, 4, 0);
    b.write(GITS_BASER, 8, VALID | INDIRECT | 0x6_0000);
    b.write(GITS_CTLR, 4, 1);
    // A page of 512 entries, the second.
    b.ram.store(0x6_0008, 8, VALID | 0x7_0000).unwrap();
    b.commands(&[mapd(0x208, 3, ITT), mapd(8, 3, ITT)]);
    assert_eq!(b.ram.load(0x7_0000 + 8 * 8, 8), Some(VALID | ITT | 2));
    b.message(0x208, 1);
    assert_eq!(b.take(0), 8193);
    b.message(8, 1);
    assert_eq!(b.levels(), [false, false], "no second level there");
}

#[test]
fn disabled_lpis_go_to_the_pending_table_and_come_back() {
    let b = Bench::mapped();
    b.message(8, 2);
    b.rd(0, 0, 4, 0);
    assert_eq!((b.levels(), b.ram.load(PENDING[0] + 1024, 1)), ([false, false], Some(4)));
    b.message(8, 3);
    b.rd(0, 0x78, 8, PENDING[0]);
    b.rd(0, 0, 4, 1);
    assert_eq!((b.take(0), b.take(0)), (8194, 1023), "what came in between is lost");
}

#[test]
fn lpis_are_saved_and_reset() {
    let b = Bench::mapped();
    check_save_load(&b.gic, || b.message(8, 0));
    assert_eq!(b.levels(), [true, false]);
    let saved = b.gic.save();
    assert_eq!(b.take(0), 8192);
    b.gic.load(&saved).unwrap();
    b.gic.settle();
    assert_eq!((b.levels(), b.take(0)), ([true, false], 8192));
    let mut bad = saved;
    bad.body = String::from_utf8(bad.body).unwrap().replace("[8192]", "[100]").into_bytes();
    assert!(b.gic.load(&bad).is_err());
    check_save_load(&b.its, || b.write(GITS_CTLR, 4, 0));
    b.message(8, 1);
    b.gic.reset(ResetKind::Warm);
    b.gic.settle();
    assert_eq!((b.levels(), b.gic.read(Access { window: 1, offset: 0, width: 4 })), ([false, false], Ok(2)));
    b.its.reset(ResetKind::Warm);
    check_reset(&b.its, || b.write(GITS_CBASER, 8, VALID));
}

#[test]
fn any_access_and_any_table() {
    let b = Bench::mapped();
    hammer(&b.its, 20_000, |random| {
        // Random bytes in all tables and the queue, and whatever makes it look at them.
        let at = QUEUE + (random.next() & 0x7_fff8);
        let value = match random.below(4) {
            0 => random.next(),
            1 => VALID | random.next() & 0xf_ffff,
            2 => random.below(0x20) | random.below(0x10) << 32,
            _ => VALID | random.below(4) << 16 | random.below(4),
        };
        b.ram.store(at, 8, value).unwrap();
        match random.below(8) {
            0 => b.write(GITS_CTLR, 4, random.below(2)),
            1 => b.write(GITS_CWRITER, 8, random.below(0x1000)),
            2 => b.message(random.below(16) as u32, random.below(16) as u32),
            3 => b.rd(random.below(2) as u32, [0, 0x70, 0x78][random.below(3) as usize], 8, random.next()),
            4 => _ = b.take(random.below(2) as u32),
            _ => {}
        }
    });
    hammer(&b.gic, 5_000, |random| b.message(8, random.below(8) as u32));
}

/// The longest queue, of the most expensive commands, is done in a moment.
#[test]
fn a_full_queue_is_done_soon() {
    let b = Bench::mapped();
    b.write(GITS_CTLR, 4, 0);
    b.write(GITS_CBASER, 8, VALID | 0xff);
    b.write(GITS_CTLR, 4, 1);
    let all = [0, 1].map(|from: u64| command(MOVALL, 0, [0, from << 16, (1 - from) << 16]));
    let invall = event(INVALL, 0, 0, 1);
    for at in (0..0x10_0000).step_by(32) {
        let words = [all[0], invall, all[1], invall][at / 32 % 4];
        (0..).zip(words).for_each(|(n, word)| b.ram.store(at as u64 + 8 * n, 8, word).unwrap());
    }
    let started = std::time::Instant::now();
    b.write(GITS_CWRITER, 8, 0xf_ffe0);
    assert_eq!(b.read(GITS_CREADR, 8), 0xf_ffe0);
    assert!(started.elapsed().as_secs() < 20);
}
