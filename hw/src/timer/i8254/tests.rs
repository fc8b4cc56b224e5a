use super::*;
use crate::testing::{Edges, Ports, check_reset, check_save_load, hammer};
use vm::clock::ManualClock;

struct Bench {
    pit: Arc<DeviceCell<I8254>>,
    clock: Arc<ManualClock>,
    timers: Arc<Timers>,
    edges: Arc<Edges>,
}

fn bench() -> Bench {
    let (clock, edges) = (Arc::new(ManualClock::new(0)), Edges::new());
    let timers = Timers::new(clock.clone());
    let pit = I8254::cell(IrqLine::to(edges.clone(), 0), &timers);
    Bench { pit, clock, timers, edges }
}

impl Bench {
    /// To the first nanosecond of tick `tick`.
    fn tick(&self, tick: u64) {
        self.clock.advance_to(time_of(tick));
        self.timers.expire();
    }
    /// Control word, then the count by its two bytes.
    fn program(&self, counter: u8, control: u8, count: u16) {
        self.pit.outb(0, 3, counter << 6 | 0x30 | control);
        count.to_le_bytes().iter().for_each(|byte| self.pit.outb(0, counter.into(), *byte));
    }
    fn count(&self, counter: u8) -> u16 {
        self.pit.outb(0, 3, counter << 6);
        u16::from_le_bytes([self.pit.inb(0, counter.into()), self.pit.inb(0, counter.into())])
    }
    fn out(&self, counter: u8) -> bool {
        self.pit.outb(0, 3, 0xe0 | 2 << counter);
        self.pit.inb(0, counter.into()) & 0x80 != 0
    }
    /// OUT of counter 2 at ticks `from..=to`, as `#` and `_`.
    fn wave(&self, from: u64, to: u64) -> String {
        let level = |tick| {
            self.tick(tick);
            if self.pit.inb(1, 0) & 0x20 != 0 { '#' } else { '_' }
        };
        (from..=to).map(level).collect()
    }
}

#[test]
fn ticks_do_not_drift() {
    for tick in [0, 1, 1_193_181, 1_193_182, 123_456_789_012] {
        let at = time_of(tick);
        assert_eq!(ticks_at(at), tick);
        assert!(tick == 0 || ticks_at(VmTime(at.0 - 1)) == tick - 1);
    }
    assert_eq!(time_of(HZ * 3600), VmTime(3_600_000_000_000));
}

#[test]
fn mode_0_rises_once_at_the_terminal_count() {
    let b = bench();
    b.program(0, 0x00, 10);
    assert!(!b.out(0));
    assert_eq!(b.timers.next_deadline(), Some(time_of(11)));
    b.tick(10);
    assert_eq!((b.count(0), b.out(0), b.edges.take(0)), (1, false, 0));
    b.tick(11);
    assert_eq!((b.count(0), b.out(0), b.edges.take(0)), (0, true, 1));
    b.tick(12);
    assert_eq!((b.count(0), b.timers.next_deadline()), (0xffff, None));
    b.pit.outb(0, 0, 5);
    assert!(!b.out(0), "the first byte sets OUT low");
    b.tick(500);
    assert!(!b.out(0));
    b.pit.outb(0, 0, 0);
    b.tick(506);
    assert_eq!((b.out(0), b.edges.take(0)), (true, 1));
}

#[test]
fn waves_of_counter_2() {
    // Loaded at the tick after the write, which is tick 1.
    for (control, count, wave) in [
        (0x00, 4, "_____####"),
        (0x04, 4, "####_###_"),
        (0x06, 4, "###__##__"),
        (0x06, 5, "####__###"),
        (0x08, 4, "#####_###"),
        (0x0c, 3, "###_##_##"),
    ] {
        let b = bench();
        b.pit.outb(1, 0, 1);
        b.program(2, control, count);
        assert_eq!(b.wave(0, 8), wave, "{control:#x}");
    }
}

#[test]
fn the_gate_stops_or_starts() {
    let b = bench();
    b.program(2, 0x00, 10);
    b.tick(5);
    assert_eq!((b.count(2), b.out(2)), (10, false), "gate low: nothing counts");
    b.pit.outb(1, 0, 1);
    b.tick(9);
    assert_eq!(b.count(2), 6);
    b.pit.outb(1, 0, 0);
    b.tick(90);
    assert_eq!(b.count(2), 6);
    b.pit.outb(1, 0, 1);
    assert_eq!(b.wave(91, 97), "_____##");

    let b = bench();
    b.program(2, 0x02, 3);
    assert_eq!(b.wave(1, 5), "#####", "mode 1 waits for the trigger");
    b.pit.outb(1, 0, 1);
    b.pit.outb(1, 0, 0);
    assert_eq!(b.wave(6, 10), "___##");
    b.pit.outb(1, 0, 1);
    b.tick(12);
    b.pit.outb(1, 0, 0);
    b.pit.outb(1, 0, 1);
    assert_eq!(b.wave(13, 17), "___##", "retriggered");

    let b = bench();
    b.pit.outb(1, 0, 1);
    b.program(2, 0x0a, 3);
    assert_eq!(b.wave(1, 6), "######", "mode 5 waits, too");
    b.pit.outb(1, 0, 0);
    b.pit.outb(1, 0, 1);
    assert_eq!(b.wave(7, 12), "###_##");

    let b = bench();
    b.pit.outb(1, 0, 1);
    b.program(2, 0x04, 4);
    b.tick(4);
    b.pit.outb(1, 0, 0);
    assert_eq!(b.wave(4, 9), "######", "OUT is high while the gate of mode 2 is low");
    b.pit.outb(1, 0, 1);
    assert_eq!(b.wave(10, 15), "###_##");
}

#[test]
fn periodic_modes_interrupt_once_a_period_and_take_counts_at_its_end() {
    for control in [0x04, 0x06, 0x0c, 0x0e] {
        let b = bench();
        b.program(0, control, 100);
        b.edges.take(0);
        for n in 1..=50 {
            b.tick(100 * n);
            assert_eq!(b.edges.take(0), 0, "{control:#x}, {n}");
            b.tick(100 * n + 1);
            assert_eq!(b.edges.take(0), 1, "{control:#x}, {n}");
        }
        b.tick(5050);
        b.program_count(40);
        assert_eq!(b.timers.next_deadline(), Some(time_of(5101)));
        b.tick(5101);
        assert_eq!((b.edges.take(0), b.timers.next_deadline()), (1, Some(time_of(5141))));
        b.tick(50_000);
        assert_eq!(b.edges.take(0), 1, "ticks that were slept through are one");
    }
}

impl Bench {
    fn program_count(&self, count: u16) {
        count.to_le_bytes().iter().for_each(|byte| self.pit.outb(0, 0, *byte));
    }
}

#[test]
fn short_periods_do_not_keep_the_machine_busy() {
    let b = bench();
    b.program(0, 0x04, 2);
    assert_eq!(b.timers.next_deadline(), Some(time_of(24)));
    b.tick(24);
    b.edges.take(0);
    assert_eq!(b.timers.next_deadline(), Some(time_of(48)));
    b.tick(48);
    assert_eq!(b.edges.take(0), 1);
}

#[test]
fn counts_read_binary_decimal_latched_and_by_halves() {
    let b = bench();
    b.program(0, 0x04, 0);
    b.tick(2);
    assert_eq!(b.count(0), 0xffff);
    b.program(0, 0x05, 0x1000);
    b.tick(4);
    assert_eq!(b.count(0), 0x0999);
    b.program(0, 0x01, 0);
    b.tick(6);
    assert_eq!(b.count(0), 0x9999);
    b.program(0, 0x06, 0x1235);
    b.tick(9);
    assert_eq!(b.count(0), 0x1230);

    b.pit.outb(0, 3, 0x14); // low byte only, mode 2
    b.pit.outb(0, 0, 20);
    b.tick(14);
    assert_eq!((b.pit.inb(0, 0), b.pit.inb(0, 0)), (16, 16));
    b.pit.outb(0, 3, 0x24); // high byte only
    b.pit.outb(0, 0, 2);
    b.tick(16);
    assert_eq!(b.pit.inb(0, 0), 1);

    b.program(0, 0x04, 1000);
    b.tick(20);
    b.pit.outb(0, 3, 0x00);
    b.tick(30);
    b.pit.outb(0, 3, 0x00);
    assert_eq!((b.pit.inb(0, 0), b.pit.inb(0, 0)), (0xe5, 0x03), "latched at tick 20: 997");
    b.pit.outb(0, 3, 0xc2); // read back count and status of counter 0
    b.tick(40);
    assert_eq!(b.pit.inb(0, 0), 0xb4);
    assert_eq!((b.pit.inb(0, 0), b.pit.inb(0, 0)), (0xdb, 0x03), "987");
    b.pit.outb(0, 3, 0x36);
    b.pit.outb(0, 3, 0xe2);
    assert_eq!(b.pit.inb(0, 0), 0xf6, "null count, OUT high");
}

#[test]
fn system_port() {
    let b = bench();
    assert_eq!(b.pit.inb(1, 0), 0);
    b.pit.outb(1, 0, 0xff);
    assert_eq!(b.pit.inb(1, 0), 0x0f);
    b.tick(18);
    assert_eq!(b.pit.inb(1, 0), 0x1f, "refresh toggles each 15 us");
    b.tick(36);
    assert_eq!(b.pit.inb(1, 0), 0x0f);
    assert_eq!(b.pit.with(|pit| pit.tone_hz()), Ok(None));
    b.program(2, 0x06, 1193);
    let tone = b.pit.with(|pit| pit.tone_hz()).unwrap().unwrap();
    assert!((tone - 1000.15).abs() < 0.1, "{tone}");
    b.pit.outb(1, 0, 1);
    assert_eq!(b.pit.with(|pit| pit.tone_hz()), Ok(None));
}

#[test]
fn muted_by_another_timer() {
    let b = bench();
    let mute = mute(&b.pit);
    b.program(0, 0x04, 100);
    mute.set_pin(0, true);
    b.edges.take(0);
    assert_eq!(b.timers.next_deadline(), None);
    b.tick(250);
    assert_eq!(b.edges.take(0), 0);
    mute.set_pin(0, false);
    b.edges.take(0);
    b.tick(301);
    assert_eq!(b.edges.take(0), 1);
}

#[test]
fn saved_loaded_and_reset() {
    let b = bench();
    b.program(0, 0x04, 100);
    b.tick(50);
    b.pit.settle();
    check_save_load(&b.pit, || b.pit.outb(0, 3, 0x30));
    let b = bench();
    check_reset(&b.pit, || b.pit.outb(1, 0, 3));
    let saved = b.pit.save();
    let mut bad = saved.clone();
    bad.body = String::from_utf8(saved.body).unwrap().replacen("\"mode\":0", "\"mode\":9", 1).into_bytes();
    assert!(b.pit.load(&bad).is_err());
}

#[test]
fn any_access_is_answered() {
    let b = bench();
    let mut now = 0_u64;
    hammer(&b.pit, 100_000, |random| {
        let step = 1 << random.below(40);
        now += random.below(step);
        b.clock.advance_to(VmTime(now));
        b.timers.expire();
    });
    b.clock.advance_to(VmTime(u64::MAX));
    b.timers.expire();
}
