use super::*;
use crate::testing::{Levels, Ports, check_reset, check_save_load, hammer};
use vm::clock::ManualClock;

/// 2023-11-14 22:13:20, a Tuesday.
const EPOCH_S: u64 = 1_700_000_000;
const S: u64 = NS_PER_S as u64;

struct Bench {
    rtc: Arc<DeviceCell<Mc146818>>,
    clock: Arc<ManualClock>,
    timers: Arc<Timers>,
    irq: Arc<Levels>,
}

fn bench() -> Bench {
    let (clock, irq) = (Arc::new(ManualClock::new(EPOCH_S)), Levels::new());
    let timers = Timers::new(clock.clone());
    let mut cmos = [0; 128];
    cmos[0x10] = 0x40;
    let rtc = Mc146818::cell(IrqLine::to(irq.clone(), 0), &timers, cmos);
    Bench { rtc, clock, timers, irq }
}

impl Bench {
    fn get(&self, index: u8) -> u8 {
        self.rtc.outb(0, 0, index);
        self.rtc.inb(0, 1)
    }
    fn set(&self, index: u8, value: u8) {
        self.rtc.outb(0, 0, index);
        self.rtc.outb(0, 1, value);
    }
    /// Century, year, month, day, hours, minutes, seconds, day of the week.
    fn date(&self) -> [u8; 8] {
        [CENTURY, 9, 8, 7, 4, 2, 0, 6].map(|index| self.get(index))
    }
    fn set_date(&self, date: [u8; 8]) {
        [CENTURY, 9, 8, 7, 4, 2, 0, 6].into_iter().zip(date).for_each(|(index, value)| self.set(index, value));
    }
    fn advance(&self, to_ns: u64) {
        self.clock.advance_to(VmTime(to_ns));
        self.timers.expire();
    }
}

#[test]
fn registers_and_memory() {
    let b = bench();
    assert_eq!([A, B, C, D].map(|index| b.get(index)), [0x26, 0x02, 0, 0x80]);
    assert_eq!((b.get(0x10), b.get(0x7f), b.get(0x90)), (0x40, 0, 0x40));
    assert_eq!(b.rtc.with(|rtc| rtc.nmi_masked()), Ok(true));
    for index in (0x0e..0x80).filter(|index| *index != CENTURY) {
        b.set(index, index ^ 0x5a);
    }
    for index in (0x0e..0x80).filter(|index| *index != CENTURY) {
        assert_eq!(b.get(index), index ^ 0x5a);
    }
    assert_eq!(vm::MmioPort::read(&*b.rtc, crate::testing::at(0, 1)), Ok(0xff), "firmware reads it to wait");
}

#[test]
fn the_date_in_all_formats() {
    let b = bench();
    assert_eq!(b.date(), [0x20, 0x23, 0x11, 0x14, 0x22, 0x13, 0x20, 3]);
    b.set(B, B_24H | B_BINARY);
    assert_eq!(b.date(), [20, 23, 11, 14, 22, 13, 20, 3]);
    b.set(B, B_BINARY);
    assert_eq!(b.get(4), 10 | PM);
    b.set(B, 0);
    assert_eq!(b.get(4), 0x10 | PM);
    for (hour, byte) in [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)] {
        b.set(B, B_24H | B_BINARY);
        b.set(4, hour);
        b.set(B, 0);
        assert_eq!(b.get(4), byte);
        b.set(4, 0x05);
        b.set(4, byte);
        b.set(B, B_24H | B_BINARY);
        assert_eq!(b.get(4), hour);
    }
}

#[test]
fn stopped_by_set_and_started_with_a_new_date() {
    let b = bench();
    b.advance(300_000_000);
    b.set(B, B_SET | B_24H | B_UIE);
    assert_eq!(b.get(B), B_SET | B_24H, "SET clears UIE");
    b.advance(5 * S + 300_000_000);
    assert_eq!(b.get(0), 0x20);
    let date = [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58, 6];
    b.set_date(date);
    assert_eq!(b.date(), date);
    b.set(B, B_24H);
    assert_eq!(b.date(), date);
    b.advance(6 * S - 1);
    assert_eq!(b.get(0), 0x58);
    b.advance(6 * S);
    assert_eq!(b.get(0), 0x59, "the second began where it would have");
    b.advance(7 * S);
    assert_eq!(b.date(), [0x20, 0, 1, 1, 0, 0, 0, 7]);
    b.rtc.reset(ResetKind::Warm);
    b.rtc.settle();
    assert_eq!(b.date(), [0x20, 0, 1, 1, 0, 0, 0, 7]);
    // As Linux sets the clock: divider in reset, then half a second to the first update.
    b.set(A, 0x76);
    b.advance(20 * S);
    assert_eq!(b.get(0), 0);
    b.set(A, 0x26);
    b.advance(20 * S + 499_999_999);
    assert_eq!((b.get(0), b.get(A)), (0, 0xa6));
    b.advance(20 * S + 500_000_000);
    assert_eq!((b.get(0), b.get(A)), (1, 0x26));
}

#[test]
fn update_ended_interrupt() {
    let b = bench();
    b.advance(S);
    assert_eq!((b.irq.get(0), b.get(C), b.get(C)), (false, C_UF | C_PF, 0));
    b.set(B, B_24H | B_UIE);
    assert_eq!(b.timers.next_deadline(), Some(VmTime(2 * S)));
    b.advance(2 * S);
    assert_eq!((b.irq.get(0), b.timers.next_deadline()), (true, None));
    assert_eq!((b.get(C), b.irq.get(0)), (C_IRQF | C_UF | C_PF, false));
    b.advance(3 * S);
    b.set(B, B_24H);
    assert!(!b.irq.get(0), "masked");
    b.advance(4 * S - 244_000);
    assert_eq!(b.get(A), 0xa6);
}

#[test]
fn alarm_interrupt_with_wildcards() {
    for (alarm, at) in [([0x25, 0x13, 0x22], 5), ([0x25, 0xff, 0xc0], 5), ([0x10, 0xff, 0xff], 50), ([0xff; 3], 1)] {
        let b = bench();
        [1, 3, 5].into_iter().zip(alarm).for_each(|(index, value)| b.set(index, value));
        b.set(B, B_24H | B_AIE);
        b.advance(at * S - 1);
        assert!(!b.irq.get(0));
        b.advance(at * S);
        assert!(b.irq.get(0), "{alarm:x?}");
        assert_eq!(b.get(C) & (C_IRQF | C_AF), C_IRQF | C_AF);
        assert!(!b.irq.get(0));
    }
    let b = bench();
    [1, 3, 5].into_iter().for_each(|index| b.set(index, 0x15));
    b.set(B, B_24H | B_AIE);
    b.advance(30 * DAY_S as u64 * S);
    assert!(b.irq.get(0), "not lost when the timer is late");
}

#[test]
fn periodic_interrupt_rates() {
    for (rate, ns) in [(1, 3_906_250), (2, 7_812_500), (3, 122_071), (6, 976_563), (15, 500_000_000)] {
        let b = bench();
        b.set(A, 0x20 | rate);
        b.set(B, B_24H | C_PF);
        assert_eq!(b.timers.next_deadline(), Some(VmTime(ns)), "{rate}");
        b.advance(ns - 1);
        assert!(!b.irq.get(0));
        b.advance(ns);
        assert!(b.irq.get(0));
        assert_eq!((b.get(C), b.irq.get(0)), (C_IRQF | C_PF, false));
    }
    let b = bench();
    b.set(A, 0x20);
    b.set(B, B_24H | C_PF);
    b.advance(S / 2);
    assert_eq!((b.get(C), b.timers.next_deadline()), (0, None));
    b.set(A, 0x26);
    let mut count = 0;
    for ms in 0..1000 {
        b.advance(S / 2 + ms * 1_000_000);
        count += u32::from(b.get(C) & C_PF != 0);
    }
    assert!((999..=1001).contains(&count), "{count} of 1024 periods, some two in a look");
}

#[test]
fn muted_by_another_timer() {
    let b = bench();
    b.set(B, B_24H | B_UIE);
    b.advance(S);
    mute(&b.rtc).set_pin(0, true);
    assert!(!b.irq.get(0));
    mute(&b.rtc).set_pin(0, false);
    assert!(b.irq.get(0));
}

#[test]
fn saved_loaded_and_reset() {
    let b = bench();
    b.set(0x40, 7);
    check_save_load(&b.rtc, || {
        b.set(0x40, 8);
        b.set(9, 0x30);
    });
    b.set(0x40, 9);
    b.rtc.reset(ResetKind::Warm);
    assert_eq!(b.get(0x40), 9);
    let b = bench();
    check_reset(&b.rtc, || b.set(B, B_SET));
    let mut saved = b.rtc.save();
    saved.body = String::from_utf8(saved.body).unwrap().replace("\"ram\":null", "\"ram\":[1]").into_bytes();
    assert!(b.rtc.load(&saved).is_err());
}

#[test]
fn any_access_is_answered() {
    let b = bench();
    let mut now = 0;
    hammer(&b.rtc, 50_000, |random| {
        let step = 1 << random.below(42);
        now += random.below(step);
        b.advance(now);
    });
    b.advance(u64::MAX);
}
