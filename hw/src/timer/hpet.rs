//! High Precision Event Timer with three comparators and a 64-bit main counter of 100 MHz. Intel "IA-PC HPET (High
//! Precision Event Timers) Specification", 1.0a; section numbers are its.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::clock::Clock;
use vm::timer::Timers;
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqLine, Mmio, Part, Regs, VmTime, Window};

// Registers (2.3.2, Register overview).
const GENERAL_CAPABILITIES: u64 = 0x000;
const GENERAL_CONFIGURATION: u64 = 0x010;
const GENERAL_STATUS: u64 = 0x020;
const MAIN_COUNTER: u64 = 0x0f0;
const TIMERS: u64 = 0x100;
const TIMER_SIZE: u64 = 0x20;

/// Timers.
const COUNT: usize = 3;
/// ns of a tick of the main counter.
const TICK_NS: u64 = 10;
/// Ticks (20 us) between two looks at a timer of a shorter period.
const SHORTEST_SLEEP: u128 = 2000;
/// The low half of the capabilities: vendor (Intel), legacy replacement, a 64-bit counter, the last timer, revision 1. ACPI tables
/// have it as the identity of the block.
pub const ID: u32 = 0x8086 << 16 | 1 << 15 | 1 << 13 | (COUNT as u32 - 1) << 8 | 1;
/// 2.3.4: the period in fs.
const CAPABILITIES: u64 = (TICK_NS * 1_000_000) << 32 | ID as u64;

// General configuration (2.3.5).
const ENABLE: u64 = 1 << 0;
const LEGACY: u64 = 1 << 1;

// Timer configuration and capabilities (2.3.8).
const LEVEL: u64 = 1 << 1;
const INTERRUPT: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const PERIODIC_CAPABLE: u64 = 1 << 4;
const SIZE_64: u64 = 1 << 5;
const SET_ACCUMULATOR: u64 = 1 << 6;
const MODE_32: u64 = 1 << 8;
const ROUTE_SHIFT: u32 = 9;
/// Level, enable, periodic, 32-bit mode, route. No message-signalled interrupts (FSB).
const CONFIG_WRITABLE: u64 = LEVEL | INTERRUPT | PERIODIC | MODE_32 | 0x1f << ROUTE_SHIFT;

/// The timer block.
pub struct Hpet {
    regs: HpetRegs,
    outputs: Outputs,
    clock: Arc<dyn Clock>,
}

/// The lines that the timers drive.
pub struct Outputs {
    /// By input of the I/O APIC; timers can be routed to those that are in [`routes`](Self::routes).
    pub ioapic: Vec<IrqLine>,
    /// Inputs of the I/O APIC that timers may use, one bit each.
    pub routes: u32,
    /// Timers 0 and 1 with legacy replacement: ISA interrupts 0 and 8.
    pub legacy: [IrqLine; 2],
    /// High while legacy replacement is on: keeps interval timer and clock chip from these two
    /// ([`super::i8254::mute`], [`crate::rtc::mc146818::mute`]).
    pub replaces: [IrqLine; 2],
}

/// One timer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TimerRegs {
    config: u64,
    comparator: u64,
    /// What a periodic timer adds to the comparator.
    period: u64,
    /// The next write of the comparator sets it, not only the period.
    set_accumulator: bool,
}

impl TimerRegs {
    fn mask(&self) -> u64 {
        if self.config & MODE_32 != 0 { 0xffff_ffff } else { u64::MAX }
    }

    /// Ticks from counter value `from` to the next match, at least 1.
    fn until_match(&self, from: u64) -> u128 {
        match self.comparator.wrapping_sub(from) & self.mask() {
            0 => u128::from(self.mask()) + 1,
            ticks => ticks.into(),
        }
    }
}

/// Its registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HpetRegs {
    config: u64,
    /// Pending level-triggered interrupts.
    status: u8,
    /// The main counter at tick `base` of virtual time (or as it stands).
    counter: u64,
    base: u64,
    timers: [TimerRegs; COUNT],
    /// Tick of virtual time up to which the timers were looked after.
    seen: u64,
}

impl Regs for HpetRegs {
    fn validate(&self) -> Result<(), BadState> {
        let possible = self.timers.iter().all(|timer| timer.config & !CONFIG_WRITABLE == 0);
        if possible && self.config & !(ENABLE | LEGACY) == 0 && self.base <= self.seen {
            return Ok(());
        }
        Err(BadState("impossible configuration".into()))
    }
}

impl HpetRegs {
    fn counter_at(&self, tick: u64) -> u64 {
        if self.config & ENABLE == 0 {
            return self.counter;
        }
        self.counter.wrapping_add(tick.wrapping_sub(self.base))
    }
}

impl Hpet {
    /// The cell of a timer block on the clock of `timers`.
    pub fn cell(outputs: Outputs, timers: &Arc<Timers>) -> Arc<DeviceCell<Self>> {
        let chip = Self { regs: Default::default(), outputs, clock: timers.clock().clone() };
        let cell = DeviceCell::with_timers(chip, timers);
        cell.settle();
        cell
    }

    fn tick(&self) -> u64 {
        self.clock.now().0 / TICK_NS
    }

    /// The line that timer `n` drives now (2.3.8, 2.4.6 Legacy replacement).
    fn line(&self, n: usize) -> Option<&IrqLine> {
        if self.regs.config & LEGACY != 0
            && let Some(line) = self.outputs.legacy.get(n)
        {
            return Some(line);
        }
        let route = (self.regs.timers.get(n)?.config >> ROUTE_SHIFT & 0x1f) as u32;
        if self.outputs.routes >> route & 1 == 0 {
            return None;
        }
        self.outputs.ioapic.get(route as usize)
    }

    /// Matches since the last look.
    fn catch_up(&mut self) {
        let now = self.tick();
        let passed = now.saturating_sub(self.regs.seen);
        let from = self.regs.counter_at(self.regs.seen);
        self.regs.seen = now.max(self.regs.seen);
        if self.regs.config & ENABLE == 0 || passed == 0 {
            return;
        }
        for n in 0..COUNT {
            let timer = &mut self.regs.timers[n];
            let first = timer.until_match(from);
            if first > passed.into() {
                continue;
            }
            let mask = timer.mask();
            if timer.config & PERIODIC != 0 && timer.period & mask != 0 {
                let periods = (u128::from(passed) - first) / u128::from(timer.period & mask) + 1;
                timer.comparator = timer.comparator.wrapping_add(timer.period.wrapping_mul(periods as u64)) & mask;
            }
            let config = timer.config;
            if config & LEVEL != 0 {
                // 2.3.6: the status is set whether or not the interrupt is enabled.
                self.regs.status |= 1 << n;
            } else if config & INTERRUPT != 0
                && let Some(line) = self.line(n)
            {
                // Matches that nobody looked at are one interrupt.
                line.set(true);
                line.set(false);
            }
        }
    }

    fn write_config(&mut self, value: u64) {
        let (was, is) = (self.regs.config, value & (ENABLE | LEGACY));
        // The counter goes on from where it stands.
        self.regs.counter = self.regs.counter_at(self.regs.seen);
        self.regs.base = self.regs.seen;
        self.regs.config = is;
        if (was ^ is) & LEGACY != 0 {
            self.outputs.legacy.iter().for_each(|line| line.set(false));
        }
    }

    fn read_register(&self, register: u64) -> Option<u64> {
        Some(match register {
            GENERAL_CAPABILITIES => CAPABILITIES,
            GENERAL_CONFIGURATION => self.regs.config,
            GENERAL_STATUS => self.regs.status.into(),
            MAIN_COUNTER => self.regs.counter_at(self.regs.seen),
            _ => {
                let timer = self.regs.timers.get((register.checked_sub(TIMERS)? / TIMER_SIZE) as usize)?;
                match register % TIMER_SIZE {
                    0x00 => timer.config | PERIODIC_CAPABLE | SIZE_64 | u64::from(self.outputs.routes) << 32,
                    0x08 => timer.comparator,
                    0x10 => 0, // FSB interrupt route: not there
                    _ => return None,
                }
            }
        })
    }

    /// Writes the bits `lanes` of a register.
    fn write_register(&mut self, register: u64, value: u64, lanes: u64) -> Option<()> {
        let merge = |old: u64| old & !lanes | value & lanes;
        match register {
            GENERAL_CAPABILITIES => {}
            GENERAL_CONFIGURATION => self.write_config(merge(self.regs.config)),
            GENERAL_STATUS => self.regs.status &= !((value & lanes) as u8),
            MAIN_COUNTER => {
                self.regs.counter = merge(self.regs.counter_at(self.regs.seen));
                self.regs.base = self.regs.seen;
            }
            _ => {
                let n = (register.checked_sub(TIMERS)? / TIMER_SIZE) as usize;
                let timer = self.regs.timers.get_mut(n)?;
                match register % TIMER_SIZE {
                    0x00 => {
                        timer.set_accumulator |= value & lanes & SET_ACCUMULATOR != 0;
                        timer.config = merge(timer.config) & CONFIG_WRITABLE;
                        timer.comparator &= timer.mask();
                        timer.period &= timer.mask();
                        if timer.config & LEVEL == 0 {
                            self.regs.status &= !(1 << n);
                        }
                    }
                    0x08 => {
                        // 2.3.9.2.2: a periodic timer takes a write as its period, and as the comparator only once asked
                        // to by Tn_VAL_SET_CNF.
                        let periodic = timer.config & PERIODIC != 0;
                        if !periodic || timer.set_accumulator {
                            timer.comparator = merge(timer.comparator) & timer.mask();
                        }
                        if periodic {
                            timer.period = merge(timer.period) & timer.mask();
                        }
                        // The second half of a 64-bit value comes with an access of its own.
                        if lanes >> 32 != 0 || timer.config & MODE_32 != 0 {
                            timer.set_accumulator = false;
                        }
                    }
                    0x10 => {}
                    _ => return None,
                }
            }
        }
        Some(())
    }
}

impl Device for Hpet {
    type Regs = HpetRegs;
    const MODEL: &'static str = "hpet";

    fn regs(&self) -> &HpetRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut HpetRegs {
        &mut self.regs
    }

    fn update(&mut self) {
        self.catch_up();
        // A line is high while any timer that is routed to it asks by its level.
        let (mut routed, mut legacy) = (0_u32, [false; 2]);
        for (n, timer) in self.regs.timers.iter().enumerate() {
            let asks = self.regs.status >> n & 1 != 0 && timer.config & (INTERRUPT | LEVEL) == INTERRUPT | LEVEL;
            if asks && self.regs.config & LEGACY != 0 && n < 2 {
                legacy[n] = true;
            } else if asks {
                routed |= 1 << (timer.config >> ROUTE_SHIFT & 0x1f);
            }
        }
        let routed = routed & self.outputs.routes;
        self.outputs.ioapic.iter().enumerate().take(32).for_each(|(n, line)| line.set(routed >> n & 1 != 0));
        self.outputs.legacy.iter().zip(legacy).for_each(|(line, high)| line.set(high));
        self.outputs.replaces.iter().for_each(|line| line.set(self.regs.config & LEGACY != 0));
    }

    fn deadline(&self) -> Option<VmTime> {
        if self.regs.config & ENABLE == 0 {
            return None;
        }
        let from = self.regs.counter_at(self.regs.seen);
        // A level that is high already needs no further match.
        let waits = |n: usize, timer: &TimerRegs| {
            timer.config & INTERRUPT != 0 && !(timer.config & LEVEL != 0 && self.regs.status >> n & 1 != 0)
        };
        let timers = self.regs.timers.iter().enumerate().filter(|(n, timer)| waits(*n, timer));
        // Deviation: interrupts of shorter periods come together, so that a guest cannot keep the machine's timers busy.
        let is_short = |t: &TimerRegs| t.config & PERIODIC != 0 && u128::from(t.period & t.mask()) < SHORTEST_SLEEP;
        let shortest = |timer: &TimerRegs| if is_short(timer) { SHORTEST_SLEEP } else { 0 };
        let ticks = timers.map(|(_, timer)| timer.until_match(from).max(shortest(timer))).min()?;
        let at = (u128::from(self.regs.seen) + ticks) * u128::from(TICK_NS);
        u64::try_from(at).ok().map(VmTime)
    }
    // `update`, which follows every expiry, looks at the clock by itself.
}

impl Mmio for Hpet {
    /// The registers at 0xfed00000 of a PC (2.3.1: 1,024 bytes).
    const WINDOWS: &'static [Window] = &[Window { len: 0x400, widths: 4..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        self.catch_up();
        // 2.3: accesses are aligned and of 32 or 64 bits.
        let into = at.offset % 8;
        if !at.offset.is_multiple_of(at.width.into()) {
            return Err(BusError::BadOffset);
        }
        let value = self.read_register(at.offset - into).ok_or(BusError::BadOffset)?;
        Ok(if at.width == 8 { value } else { value >> (8 * into) & 0xffff_ffff })
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        self.catch_up();
        let into = at.offset % 8;
        if !at.offset.is_multiple_of(at.width.into()) {
            return Err(BusError::BadOffset);
        }
        let lanes = if at.width == 8 { u64::MAX } else { 0xffff_ffff << (8 * into) };
        self.write_register(at.offset - into, value << (8 * into), lanes).ok_or(BusError::BadOffset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Edges, Levels, Poke, check_reset, check_save_load, hammer};
    use vm::clock::ManualClock;

    struct Bench {
        hpet: Arc<DeviceCell<Hpet>>,
        edges: Arc<Edges>,
        levels: Arc<Levels>,
        clock: Arc<ManualClock>,
        timers: Arc<Timers>,
    }

    /// Lines of the I/O APIC as pins 0 to 23 of `levels`; legacy lines as pins 0 and 1 of `edges`.
    fn bench_with(ioapic: impl Fn(&Arc<Edges>, &Arc<Levels>, u32) -> IrqLine) -> Bench {
        let (edges, levels) = (Edges::new(), Levels::new());
        let clock = Arc::new(ManualClock::new(0));
        let timers = Timers::new(clock.clone());
        let outputs = Outputs {
            ioapic: (0..24).map(|pin| ioapic(&edges, &levels, pin)).collect(),
            routes: 0xff_0104,
            legacy: [40, 48].map(|pin| IrqLine::to(edges.clone(), pin)),
            replaces: [32, 33].map(|pin| IrqLine::to(levels.clone(), pin)),
        };
        let hpet = Hpet::cell(outputs, &timers);
        Bench { hpet, edges, levels, clock, timers }
    }

    fn bench() -> Bench {
        bench_with(|edges, _, pin| IrqLine::to(edges.clone(), pin))
    }

    impl Bench {
        fn w64(&self, offset: u64, value: u64) {
            self.hpet.write_n(offset, 8, value).unwrap();
        }
        fn r64(&self, offset: u64) -> u64 {
            self.hpet.read_n(offset, 8).unwrap()
        }
        /// To tick `tick` of virtual time.
        fn tick(&self, tick: u64) {
            self.clock.advance_to(VmTime(tick * TICK_NS));
            self.timers.expire();
        }
    }

    #[test]
    fn reset_values() {
        let b = bench();
        assert_eq!(b.r64(GENERAL_CAPABILITIES), 0x0098_9680_8086_a201);
        assert_eq!((b.hpet.r(0), b.hpet.r(4)), (0x8086_a201, 10_000_000), "fs of a period");
        for n in 0..3 {
            assert_eq!(b.r64(0x100 + 0x20 * n), 0x00ff_0104_0000_0030);
            assert_eq!((b.r64(0x108 + 0x20 * n), b.r64(0x110 + 0x20 * n)), (0, 0));
        }
        assert_eq!((b.r64(0x10), b.r64(0x20), b.r64(0xf0)), (0, 0, 0));
        for (offset, width, error) in [
            (0x160, 8, BusError::BadOffset),
            (0x118, 4, BusError::BadOffset),
            (0x14, 8, BusError::BadOffset),
            (0x30, 4, BusError::BadOffset),
            (0xf0, 2, BusError::BadWidth),
        ] {
            assert_eq!(b.hpet.read_n(offset, width), Err(error), "{offset:#x}");
        }
    }

    #[test]
    fn the_counter_runs_stops_and_is_set() {
        let b = bench();
        b.tick(100);
        assert_eq!(b.r64(0xf0), 0);
        b.w64(0xf0, 0xffff_fff0);
        b.w64(0x10, ENABLE);
        b.tick(120);
        assert_eq!((b.r64(0xf0), b.hpet.r(0xf0), b.hpet.r(0xf4)), (0x1_0000_0004, 4, 1));
        b.w64(0x10, 0);
        b.tick(200);
        assert_eq!(b.r64(0xf0), 0x1_0000_0004);
        b.hpet.w(0xf4, 7);
        assert_eq!(b.r64(0xf0), 0x7_0000_0004);
    }

    #[test]
    fn one_shot_by_edge() {
        let b = bench();
        b.w64(0x108, 50);
        b.w64(0x100, INTERRUPT | 8 << ROUTE_SHIFT);
        b.w64(0x10, ENABLE);
        assert_eq!(b.timers.next_deadline(), Some(VmTime(500)));
        b.tick(49);
        assert_eq!(b.edges.take(8), 0);
        b.tick(50);
        assert_eq!((b.edges.take(8), b.timers.next_deadline()), (1, None), "next when the counter has gone round");
        b.w64(0x108, 90);
        b.w64(0x100, 8 << ROUTE_SHIFT);
        b.tick(90);
        assert_eq!(b.edges.take(8), 0, "not enabled");
        b.w64(0x108, 120);
        b.w64(0x100, INTERRUPT | 3 << ROUTE_SHIFT);
        b.tick(120);
        assert_eq!(b.edges.take(3), 0, "3 is no possible route");
    }

    #[test]
    fn periodic_and_32_bit() {
        let b = bench();
        b.w64(0x120, INTERRUPT | PERIODIC | SET_ACCUMULATOR | 16 << ROUTE_SHIFT);
        b.w64(0x128, 30_000);
        b.w64(0x128, 10_000);
        b.w64(0x10, ENABLE);
        for (tick, comparator, edges) in
            [(29_999, 30_000, 0), (30_000, 40_000, 1), (40_000, 50_000, 1), (85_000, 90_000, 1), (90_000, 100_000, 1)]
        {
            b.tick(tick);
            assert_eq!((b.edges.take(16), b.r64(0x128)), (edges, comparator));
        }
        assert_eq!(b.timers.next_deadline(), Some(VmTime(1_000_000)));
        b.tick(99_999);
        assert_eq!((b.r64(0x128), b.timers.next_deadline()), (100_000, Some(VmTime(1_000_000))));
        b.w64(0x128, 1);
        b.tick(200_000);
        assert_eq!(b.timers.next_deadline(), Some(VmTime(2_020_000)), "short periods do not keep the machine busy");
        let b = bench();
        b.w64(0xf0, 0xffff_fff0);
        b.w64(0x140, INTERRUPT | MODE_32 | 2 << ROUTE_SHIFT);
        b.w64(0x148, 0x5_0000_0010);
        assert_eq!(b.r64(0x148), 0x10);
        b.w64(0x10, ENABLE);
        b.tick(0x20);
        assert_eq!(b.edges.take(2), 1);
        assert_eq!(b.timers.next_deadline(), Some(VmTime((0x20 + (1 << 32)) * TICK_NS)));
    }

    #[test]
    fn levels_stay_until_the_status_is_cleared() {
        let b = bench_with(|_, levels, pin| IrqLine::to(levels.clone(), pin));
        b.w64(0x108, 50);
        b.w64(0x100, LEVEL | INTERRUPT | 20 << ROUTE_SHIFT);
        b.w64(0x10, ENABLE);
        b.tick(50);
        assert_eq!((b.levels.get(20), b.r64(0x20), b.timers.next_deadline()), (true, 1, None));
        b.w64(0x20, 2);
        assert!(b.levels.get(20));
        b.w64(0x20, 1);
        assert_eq!((b.levels.get(20), b.r64(0x20)), (false, 0));
        b.w64(0x100, LEVEL | 20 << ROUTE_SHIFT);
        b.w64(0x108, 60);
        b.tick(60);
        assert_eq!((b.levels.get(20), b.r64(0x20)), (false, 1), "pending, not enabled");
        b.w64(0x100, LEVEL | INTERRUPT | 20 << ROUTE_SHIFT);
        assert!(b.levels.get(20));
    }

    #[test]
    fn legacy_replacement() {
        let b = bench();
        assert!(!b.levels.get(32));
        for (n, line) in [(0, 40), (1, 48)] {
            b.w64(0x100 + 0x20 * n, INTERRUPT | 16 << ROUTE_SHIFT);
            b.w64(0x108 + 0x20 * n, 50);
            b.edges.take(line);
        }
        b.w64(0x140, INTERRUPT | 17 << ROUTE_SHIFT);
        b.w64(0x148, 50);
        b.w64(0x10, ENABLE | LEGACY);
        assert!(b.levels.get(32) && b.levels.get(33));
        b.tick(50);
        assert_eq!([40, 48, 16, 17].map(|pin| b.edges.take(pin)), [1, 1, 0, 1]);
        b.w64(0x10, ENABLE);
        assert!(!b.levels.get(32));
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.w64(0x108, 50);
        check_save_load(&b.hpet, || b.w64(0x108, 51));
        let b = bench();
        check_reset(&b.hpet, || b.w64(0x128, 51));
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        let mut now = 0;
        hammer(&b.hpet, 100_000, |random| {
            let step = 1 << random.below(40);
            now += random.below(step);
            b.clock.advance_to(VmTime(now));
            b.timers.expire();
        });
        b.clock.advance_to(VmTime(u64::MAX));
        b.timers.expire();
    }
}
