use super::*;
use crate::intc::apic_bus::ApicBus;
use crate::intc::intack::INTACK;
use crate::testing::{Levels, at, check_reset, check_save_load, hammer};
use vm::MmioPort;
use vm::clock::ManualClock;
use vm::sysreg::SysregPort;

struct Bench {
    apics: Arc<DeviceCell<LocalApics>>,
    bus: Arc<ApicBus>,
    cpu: Vec<Arc<Levels>>,
    clock: Arc<ManualClock>,
    timers: Arc<Timers>,
}

/// Processors with these APIC IDs, enabled by software.
fn bench_of(ids: &[u32]) -> Bench {
    let clock = Arc::new(ManualClock::new(0));
    let timers = Timers::new(clock.clone());
    let cpu: Vec<_> = ids.iter().map(|_| Levels::new()).collect();
    let processor = |(id, levels): (&u32, &Arc<Levels>)| Processor { id: *id, lines: CpuLines::to(levels.clone()) };
    let apics = LocalApics::cell(ids.iter().zip(&cpu).map(processor).collect(), &timers);
    let bus = ApicBus::new(&apics, Some(Arc::new(|| 0x77)));
    let b = Bench { apics, bus, cpu, clock, timers };
    for cpu in 0..ids.len() {
        b.set(cpu, 0xf0, 0x1ff);
    }
    b
}

fn bench() -> Bench {
    bench_of(&[0, 1, 2, 3])
}

impl Bench {
    fn on<R>(&self, cpu: usize, f: impl FnOnce() -> R) -> R {
        vm::vcpu::set_current(cpu as u32);
        let result = f();
        vm::vcpu::set_current(0);
        result
    }
    #[track_caller]
    fn get(&self, cpu: usize, offset: u64) -> u32 {
        self.on(cpu, || MmioPort::read(&*self.bus, at(offset, 4)).unwrap()) as u32
    }
    #[track_caller]
    fn set(&self, cpu: usize, offset: u64, value: u32) {
        self.on(cpu, || MmioPort::write(&*self.bus, at(offset, 4), value.into()).unwrap());
    }
    fn msr(&self, cpu: u32, reg: u32) -> u64 {
        SysregPort::read(&*self.bus, cpu, reg)
    }
    fn wrmsr(&self, cpu: u32, reg: u32, value: u64) {
        SysregPort::write(&*self.bus, cpu, reg, value);
    }
    fn ipi(&self, cpu: usize, high: u32, low: u32) {
        self.set(cpu, 0x310, high);
        self.set(cpu, 0x300, low);
    }
    fn fixed(&self, vector: u8) {
        let message = Message { destination: 0, logical: false, delivery: Delivery::Fixed, vector, level: false };
        self.bus.deliver(message);
    }
    /// Which processors are asked, as bits, by line `pin`; all that wait is taken.
    fn asked(&self, pin: u32) -> u32 {
        let asked = (0..).zip(&self.cpu).filter(|(_, levels)| levels.get(pin)).fold(0, |set, (n, _)| set | 1 << n);
        for cpu in 0..self.cpu.len() as u32 {
            if pin == pin::INTR && asked >> cpu & 1 != 0 {
                self.msr(cpu, INTACK);
                self.set(cpu as usize, 0xb0, 0);
            }
            self.msr(cpu, EVENTS);
        }
        asked
    }
    fn intr(&self) -> bool {
        self.cpu[0].get(pin::INTR)
    }
    fn ack(&self) -> u64 {
        self.msr(0, INTACK)
    }
    fn advance(&self, to_ns: u64) {
        self.clock.advance_to(VmTime(to_ns));
        self.timers.expire();
    }
}

#[test]
fn reset_values() {
    let clock = Arc::new(ManualClock::new(0));
    let levels = Levels::new();
    let cpus = [5, 6].map(|id| Processor { id, lines: CpuLines::to(levels.clone()) });
    let apics = LocalApics::cell(cpus.into(), &Timers::new(clock));
    for (offset, bsp, other) in [
        (0x020, 0x0500_0000, 0x0600_0000),
        (0x030, 0x0105_0014, 0x0105_0014),
        (0x080, 0, 0),
        (0x0a0, 0, 0),
        (0x0d0, 0, 0),
        (0x0e0, 0xffff_ffff, 0xffff_ffff),
        (0x0f0, 0xff, 0xff),
        (0x100, 0, 0),
        (0x280, 0, 0),
        (0x300, 0, 0),
        (0x320, 0x1_0000, 0x1_0000),
        (0x350, 0x700, 0x1_0000),
        (0x360, 0x1_0000, 0x1_0000),
        (0x370, 0x1_0000, 0x1_0000),
        (0x380, 0, 0),
        (0x390, 0, 0),
        (0x3e0, 0, 0),
    ] {
        for (cpu, value) in [(0, bsp), (1, other)] {
            vm::vcpu::set_current(cpu);
            assert_eq!(MmioPort::read(&*apics, at(offset, 4)), Ok(value), "{offset:#x} of {cpu}");
        }
    }
    vm::vcpu::set_current(0);
    assert_eq!(MmioPort::read(&*apics, at(0x24, 4)), Err(BusError::BadOffset));
    assert_eq!(MmioPort::read(&*apics, at(0x20, 8)), Err(BusError::BadWidth));
}

#[test]
fn priorities_nest_and_end() {
    let b = bench();
    b.fixed(0x41);
    b.fixed(0x45);
    b.fixed(0x31);
    assert_eq!((b.get(0, 0x220), b.get(0, 0x210)), (0x22, 0x2_0000));
    assert_eq!((b.intr(), b.ack(), b.get(0, 0xa0)), (true, 0x45, 0x40));
    assert!(!b.intr(), "0x41 is of the same class");
    b.fixed(0x51);
    assert_eq!((b.intr(), b.ack(), b.intr()), (true, 0x51, false));
    b.set(0, 0xb0, 0);
    b.set(0, 0xb0, 0);
    assert_eq!((b.intr(), b.ack()), (true, 0x41));
    b.set(0, 0xb0, 0);
    b.set(0, 0x80, 0x35);
    assert_eq!((b.intr(), b.get(0, 0xa0), b.msr(0, CR8)), (false, 0x35, 3));
    b.wrmsr(0, CR8, 2);
    assert_eq!((b.intr(), b.get(0, 0x80), b.ack()), (true, 0x20, 0x31));
    b.set(0, 0xb0, 0);
    assert_eq!(b.ack(), 0xff, "nothing waits: spurious");
    assert_eq!(b.get(0, 0x170), 0);
}

#[test]
fn ipis_by_id_set_and_shorthand() {
    let b = bench();
    for cpu in 0..4 {
        b.set(cpu, 0xd0, 1 << (24 + cpu));
    }
    for (high, low, targets) in [
        (2 << 24, 0x50, 0b0100),
        (0xff << 24, 0x50, 0b1111),
        (9 << 24, 0x50, 0),
        (5 << 24, 0x850, 0b0101),
        (0, 0x4_0050, 0b0010),
        (0, 0x8_0050, 0b1111),
        (0, 0xc_0050, 0b1101),
        (0xf << 24, 0x950, 0b0001),
        (0xe << 24, 0x950, 0b0010),
    ] {
        b.ipi(1, high, low);
        assert_eq!(b.asked(pin::INTR), targets, "{high:#x} {low:#x}");
    }
    // Lowest priority: the least busy one.
    for (cpu, tpr) in [(0, 0x30), (1, 0x20), (2, 0x10), (3, 0x20)] {
        b.set(cpu, 0x80, tpr);
    }
    b.ipi(0, 0xf << 24, 0x950);
    assert_eq!(b.asked(pin::INTR), 0b0100);
    // Cluster model.
    for (cpu, ldr) in [(0, 0x11), (1, 0x12), (2, 0x21), (3, 0x22)] {
        b.set(cpu, 0xe0, 0x0fff_ffff);
        b.set(cpu, 0xd0, ldr << 24);
        assert_eq!(b.get(cpu, 0xe0), 0x0fff_ffff);
    }
    for (destination, targets) in [(0x13, 0b0011), (0x22, 0b1000), (0x33, 0), (0xff, 0b1111)] {
        b.ipi(0, destination << 24, 0x850);
        assert_eq!(b.asked(pin::INTR), targets, "{destination:#x}");
    }
    b.set(3, 0xf0, 0xff);
    b.ipi(0, 0, 0x8_0050);
    assert_eq!(b.asked(pin::INTR), 0b0111, "a disabled APIC takes none");
}

#[test]
fn events_for_the_processor() {
    let b = bench();
    for (command, pin, taken) in
        [(0x400, pin::NMI, event::NMI), (0x200, pin::SMI, event::SMI), (0x4699, pin::SIPI, event::SIPI | 0x9900)]
    {
        b.ipi(0, 1 << 24, command);
        assert!(b.cpu[1].get(pin) && !b.cpu[0].get(pin));
        assert_eq!((b.msr(1, EVENTS), b.msr(1, EVENTS)), (taken, 0));
        assert!(!b.cpu[1].get(pin));
    }
    b.set(1, 0x80, 0x10);
    b.ipi(0, 1 << 24, 0x4500);
    b.ipi(0, 1 << 24, 0x8500); // de-assert
    b.ipi(0, 1 << 24, 0x4608);
    assert_eq!((b.cpu[1].get(pin::INIT), b.msr(1, EVENTS)), (true, event::INIT | event::SIPI | 0x800));
    assert_eq!((b.get(1, 0x80), b.get(1, 0xf0), b.get(1, 0x20)), (0, 0xff, 0x0100_0000), "INIT resets the APIC");
    assert!(b.bus.msi(0xfee0_2000, 0x400) && b.cpu[2].get(pin::NMI));
    assert!(!b.bus.msi(0xfec0_2000, 0x400));
}

#[test]
fn local_interrupt_pins() {
    let b = bench();
    let lint = lint_pins(&b.apics);
    lint.set_pin(0, true);
    assert_eq!((b.asked(pin::INTR), b.intr()), (1, true), "LINT0 of the bootstrap processor is ExtINT");
    assert_eq!(b.ack(), 0x77, "the PIC's vector");
    b.fixed(0x60);
    assert_eq!((b.ack(), b.ack()), (0x60, 0x77));
    b.set(0, 0xb0, 0);
    b.set(0, 0x350, 0x1_0700);
    assert!(!b.intr());
    lint.set_pin(0, false);
    b.set(0, 0x360, 0x400);
    lint.set_pin(1, true);
    assert_eq!((b.msr(0, EVENTS), b.msr(0, EVENTS)), (event::NMI, 0));
    // Fixed, edge and level.
    b.set(0, 0x350, 0x61);
    lint.set_pin(0, true);
    assert_eq!((b.ack(), b.intr()), (0x61, false));
    b.set(0, 0xb0, 0);
    assert!(!b.intr());
    b.set(0, 0x350, 0x8062);
    assert_eq!((b.get(0, 0x350), b.ack()), (0xc062, 0x62));
    b.set(0, 0xb0, 0);
    assert!(b.intr(), "still high");
    b.ack();
    lint.set_pin(0, false);
    b.set(0, 0xb0, 0);
    assert_eq!((b.intr(), b.get(0, 0x350)), (false, 0x8062));
    // Without the APIC the pins are the processor's own.
    b.wrmsr(0, APIC_BASE, 0xfee0_0100);
    lint.set_pin(0, true);
    lint.set_pin(1, false);
    lint.set_pin(1, true);
    assert_eq!((b.intr(), b.ack(), b.msr(0, EVENTS)), (true, 0x77, event::NMI));
    assert_eq!(MmioPort::read(&*b.bus, at(0x20, 4)), Err(BusError::NoDevice));
    assert_eq!(b.msr(0, APIC_BASE), 0xfee0_0100);
    lint.set_pin(9, true);
}

#[test]
fn timer_one_shot_periodic_and_masked() {
    let b = bench();
    for (divide, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        let now = b.clock.now().0;
        b.set(0, 0x3e0, divide);
        b.set(0, 0x320, 0x70);
        b.set(0, 0x380, 1000);
        assert_eq!(b.timers.next_deadline(), Some(VmTime(now + 1000 * by)), "{divide}");
        b.advance(now + 250 * by);
        assert_eq!((b.get(0, 0x380), b.get(0, 0x390)), (1000, 750));
        b.advance(now + 1000 * by - 1);
        assert!(!b.intr());
        b.advance(now + 1000 * by);
        assert_eq!((b.ack(), b.get(0, 0x390), b.timers.next_deadline()), (0x70, 0, None));
        b.set(0, 0xb0, 0);
    }
    let b = bench();
    b.set(0, 0x3e0, 0xb);
    b.set(0, 0x320, 0x2_0070);
    b.set(0, 0x380, 1000);
    for n in 1..10 {
        b.advance(1000 * n + 10);
        assert_eq!((b.get(0, 0x390), b.timers.next_deadline()), (990, None), "one waits already");
        assert_eq!((b.ack(), b.timers.next_deadline()), (0x70, Some(VmTime(1000 * n + 1000))));
        b.set(0, 0xb0, 0);
    }
    b.advance(50_000);
    assert_eq!((b.ack(), b.intr()), (0x70, false));
    b.set(0, 0xb0, 0);
    b.set(0, 0x320, 0x3_0070);
    b.advance(60_000);
    assert_eq!((b.intr(), b.timers.next_deadline()), (false, None));
    b.set(0, 0x320, 0x2_0070);
    b.set(0, 0x380, 0);
    assert_eq!((b.get(0, 0x390), b.timers.next_deadline()), (0, None));
}

#[test]
fn timer_by_tsc_deadline() {
    let b = bench();
    b.wrmsr(0, TSC_DEADLINE_NS, 500);
    assert_eq!(b.msr(0, TSC_DEADLINE_NS), 0, "not in that mode");
    b.set(0, 0x320, 0x4_0070);
    b.set(0, 0x380, 7);
    assert_eq!((b.get(0, 0x380), b.get(0, 0x390)), (0, 0));
    b.wrmsr(0, TSC_DEADLINE_NS, 500);
    assert_eq!((b.msr(0, TSC_DEADLINE_NS), b.timers.next_deadline()), (500, Some(VmTime(500))));
    b.advance(500);
    assert_eq!((b.ack(), b.msr(0, TSC_DEADLINE_NS), b.timers.next_deadline()), (0x70, 0, None));
    b.set(0, 0xb0, 0);
    b.wrmsr(0, TSC_DEADLINE_NS, 400);
    assert!(b.intr(), "a deadline in the past");
    b.ack();
    b.set(0, 0xb0, 0);
    b.apics.with(|apics| apics.set_tsc_deadline(0, Some(VmTime(900)))).unwrap();
    b.wrmsr(0, TSC_DEADLINE_NS, 0);
    assert_eq!(b.timers.next_deadline(), None);
    b.wrmsr(0, TSC_DEADLINE_NS, 900);
    b.set(0, 0x320, 0x70);
    assert_eq!((b.msr(0, TSC_DEADLINE_NS), b.timers.next_deadline()), (0, None));
}

#[test]
fn errors() {
    let b = bench();
    b.set(0, 0x370, 0xfe);
    b.set(0, 0x300, 0x4_0005);
    assert_eq!((b.get(0, 0x280), b.ack()), (0, 0xfe));
    b.set(0, 0xb0, 0);
    b.set(0, 0x280, 0);
    assert_eq!(b.get(0, 0x280), 0x20);
    b.fixed(5);
    assert_eq!(MmioPort::read(&*b.bus, at(0x3f0, 4)), Err(BusError::BadOffset));
    b.set(0, 0x280, 0);
    assert_eq!(b.get(0, 0x280), 0xc0);
    b.set(0, 0x280, 0);
    assert_eq!(b.get(0, 0x280), 0);
}

#[test]
fn x2apic() {
    let b = bench_of(&[0, 0x12, 0x1234]);
    let base = b.msr(1, APIC_BASE);
    assert_eq!((b.msr(0, APIC_BASE), base), (0xfee0_0900, 0xfee0_0800));
    for cpu in 0..3 {
        b.wrmsr(cpu, APIC_BASE, base | 0x400);
    }
    assert_eq!(MmioPort::read(&*b.bus, at(0x20, 4)), Err(BusError::NoDevice));
    assert_eq!([0, 1, 2].map(|cpu| b.msr(cpu, 0x802)), [0, 0x12, 0x1234]);
    assert_eq!([0, 1, 2].map(|cpu| b.msr(cpu, 0x80d)), [1, 0x1_0004, 0x123_0010]);
    assert_eq!((b.msr(0, 0x803), b.msr(0, 0x80f), b.msr(0, 0x80e)), (0x0105_0014, 0x1ff, 0));
    let asked = |command| {
        b.wrmsr(0, 0x830, command);
        assert_eq!(b.msr(0, 0x830), command);
        (0..3).filter(|cpu| b.cpu[*cpu].get(pin::INTR)).fold(0, |set, cpu| {
            assert_eq!(b.msr(cpu as u32, INTACK), 0x50);
            b.wrmsr(cpu as u32, 0x80b, 0);
            set | 1 << cpu
        })
    };
    for (command, targets) in [
        (0x1234 << 32 | 0x50, 0b100),
        (0x0001_0004 << 32 | 0x850, 0b010),
        (0x0123_0014 << 32 | 0x850, 0b100),
        (0xffff_ffff << 32 | 0x50, 0b111),
        (0xc_0050, 0b110),
    ] {
        assert_eq!(asked(command), targets, "{command:#x}");
    }
    b.wrmsr(2, 0x83f, 0x66);
    assert_eq!((b.cpu[2].get(pin::INTR), b.msr(2, INTACK)), (true, 0x66));
    b.wrmsr(2, 0x80b, 0);
    b.wrmsr(1, 0x808, 0x42);
    assert_eq!((b.msr(1, 0x808), b.msr(1, CR8), b.msr(1, 0x80a)), (0x42, 4, 0x42));
    assert!(x2apic_readable(0x802) && !x2apic_writable(0x802) && !x2apic_readable(0x80b) && x2apic_writable(0x80b));
    assert!(!x2apic_readable(0x831) && !x2apic_readable(0x80e) && !x2apic_readable(0x83f) && x2apic_writable(0x83f));
    assert!(!x2apic_readable(0) && !x2apic_readable(0x840));
}

#[test]
fn saved_loaded_and_reset() {
    let b = bench();
    b.fixed(0x41);
    check_save_load(&b.apics, || {
        b.ack();
    });
    let saved = b.apics.save();
    b.ack();
    b.apics.load(&saved).unwrap();
    b.apics.settle();
    let b = bench();
    b.apics.reset(ResetKind::Cold);
    check_reset(&b.apics, || b.set(2, 0x80, 0x10));
    lint_pins(&b.apics).set_pin(0, true);
    b.apics.reset(ResetKind::Warm);
    b.apics.settle();
    assert!(b.intr(), "the level of the pin outlives a reset");
}

#[test]
fn any_access_is_answered() {
    let b = bench();
    let lint = lint_pins(&b.apics);
    let mut now = 0;
    hammer(&b.apics, 50_000, |random| {
        let cpu = random.below(6) as u32;
        vm::vcpu::set_current(cpu);
        lint.set_pin(random.below(3) as u32, random.below(2) == 0);
        let reg = match random.below(4) {
            0 => [INTACK, EVENTS, CR8, TSC_DEADLINE_NS, APIC_BASE][random.below(5) as usize],
            _ => 0x800 + random.below(0x40) as u32,
        };
        let shift = random.below(64);
        b.wrmsr(cpu, reg, random.next() >> shift);
        b.msr(cpu, reg);
        b.bus.msi(0xfee0_0000 | random.next() & 0xf_ffff, random.next() as u32);
        let _ = MmioPort::write(&*b.bus, at(random.below(0x100) * 16, 4), random.next() >> 32);
        let step = 1 << random.below(30);
        now += random.below(step);
        b.advance(now);
    });
    vm::vcpu::set_current(0);
    b.advance(u64::MAX);
}
