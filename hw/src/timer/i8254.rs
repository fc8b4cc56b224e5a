//! Programmable interval timer 8254 of a PC, with the system port (0x61) that gates its third counter and the speaker.
//! Intel 8254 data sheet (231164-005); section titles are its. Port 0x61: 82371 (PIIX) data sheet, "NMI status and control
//! register".
//!
//! Nothing counts here: a counter remembers the tick at which its counting element was loaded, and everything else follows
//! from the ticks since.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::clock::Clock;
use vm::timer::Timers;
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Part, Regs, VmTime, Window};

/// Ticks of a counter in a second: a twelfth of the 14.31818 MHz of a PC's oscillator.
pub const HZ: u64 = 1_193_182;
const NS_PER_S: u128 = 1_000_000_000;
/// Ticks between two refresh cycles of the original PC's memory (counter 1), 15 us: half a period of port 0x61's bit 4.
const REFRESH_TICKS: u64 = 18;

/// Ticks (20 us) between two looks at a counter of a shorter period.
const SHORTEST_SLEEP: u64 = 24;

/// Whole ticks at `now`; exact, so that no drift gathers.
fn ticks_at(now: VmTime) -> u64 {
    (u128::from(now.0) * u128::from(HZ) / NS_PER_S) as u64
}

/// The first nanosecond of tick `tick`.
fn time_of(tick: u64) -> VmTime {
    VmTime(u64::try_from((u128::from(tick) * NS_PER_S).div_ceil(u128::from(HZ))).unwrap_or(u64::MAX))
}

/// How a counter is read and written (RW1, RW0 of the control word).
const RW_LOW: u8 = 1;
const RW_HIGH: u8 = 2;
const RW_BOTH: u8 = 3;

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    rw: u8,
    /// 0 to 5.
    mode: u8,
    bcd: bool,
    gate: bool,
    /// The count register: 1 to 65,536 ticks; `None` from a control word until a count is written.
    count: Option<u32>,
    /// The low byte of a count whose high byte is still to come.
    low: Option<u8>,
    /// The next byte read of a count is its high one.
    read_high: bool,
    latch: Option<u16>,
    status_latch: Option<u8>,
    /// The count register was not yet taken into the counting element.
    null_count: bool,
    /// The tick at which the counting element was loaded.
    start: Option<u64>,
    /// What it was loaded with.
    loaded: u32,
    /// Ticks it had counted when the gate stopped it.
    held: Option<u64>,
}

impl Default for Counter {
    /// "Prior to initialization the mode, count and output of all counters is undefined": at rest in mode 0.
    fn default() -> Self {
        Self {
            rw: RW_BOTH,
            mode: 0,
            bcd: false,
            gate: true,
            count: None,
            low: None,
            read_high: false,
            latch: None,
            status_latch: None,
            null_count: true,
            start: None,
            loaded: 0x1_0000,
            held: None,
        }
    }
}

impl Counter {
    /// Modes in which the gate's rise starts a count, and its level does nothing.
    fn is_triggered(&self) -> bool {
        matches!(self.mode, 1 | 5)
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn modulus(&self) -> u64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// The largest count is written as 0 ("Counter operation").
    fn count_of(&self, raw: u16) -> u32 {
        let value = if self.bcd {
            (0..4).rev().fold(0, |value, digit| value * 10 + u32::from(raw >> (4 * digit) & 0xf))
        } else {
            raw.into()
        };
        if value == 0 { self.modulus() as u32 } else { value }
    }

    /// Ticks counted at tick `now`.
    fn elapsed(&self, now: u64) -> u64 {
        self.held.unwrap_or_else(|| now.saturating_sub(self.start.unwrap_or(now)))
    }

    fn period(&self) -> u64 {
        u64::from(self.loaded).max(1)
    }

    /// Takes a count that waits for the end of the period (modes 2 and 3), if that has come by `now`.
    fn advance(&mut self, now: u64) {
        if let (true, true, None, Some(start), Some(count)) =
            (self.is_periodic(), self.null_count, self.held, self.start, self.count)
            && now >= start.saturating_add(self.period())
        {
            self.start = Some(start + self.period());
            self.load(count);
        }
    }

    fn load(&mut self, count: u32) {
        self.loaded = count;
        self.null_count = false;
    }

    /// Loads the counting element at the tick after `now`.
    fn restart(&mut self, now: u64) {
        if let Some(count) = self.count {
            self.load(count);
            self.start = Some(now.saturating_add(1));
            self.held = (!self.gate && !self.is_triggered()).then_some(0);
        }
    }

    /// A whole count was written ("Mode definitions": each mode's second paragraph).
    fn set_count(&mut self, raw: u16, now: u64) {
        self.count = Some(self.count_of(raw));
        self.null_count = true;
        match (self.mode, self.start) {
            // Waits for the trigger.
            (1 | 5, _) => {}
            // Waits for the end of the period, which is the one that runs now.
            (2 | 3, Some(start)) => {
                let whole = self.elapsed(now) / self.period() * self.period();
                self.start = Some(start.saturating_add(whole));
            }
            _ => self.restart(now),
        }
    }

    fn set_gate(&mut self, gate: bool, now: u64) {
        self.advance(now);
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        match (self.mode, gate) {
            (1 | 5, true) | (2 | 3, true) => self.restart(now),
            (1 | 5, false) => {}
            (_, false) => self.held = self.start.map(|_| self.elapsed(now)),
            (_, true) => {
                if let Some(held) = self.held.take() {
                    self.start = Some(now.saturating_sub(held));
                }
            }
        }
    }

    /// The level of OUT at tick `now`.
    fn out(&self, now: u64) -> bool {
        let elapsed = self.elapsed(now);
        let (Some(_), n) = (self.start, self.period()) else { return self.mode != 0 };
        match self.mode {
            0 | 1 => elapsed >= n,
            _ if self.is_periodic() && self.held.is_some() => true,
            2 => elapsed % n != n - 1 || n == 1,
            3 => elapsed % n < n.div_ceil(2),
            _ => elapsed != n,
        }
    }

    /// The first tick after `after` at which OUT rises by itself.
    fn next_rise(&self, after: u64) -> Option<u64> {
        let (Some(start), None) = (self.start, self.held) else { return None };
        let n = self.period();
        let at = match self.mode {
            0 | 1 => start.checked_add(n)?,
            2 | 3 => start.checked_add((after.checked_sub(start).map_or(0, |e| e / n) + 1).checked_mul(n)?)?,
            _ => start.checked_add(n + 1)?,
        };
        (at > after).then_some(at)
    }

    /// The counting element at tick `now`, as it is read.
    fn value(&self, now: u64) -> u16 {
        let (elapsed, n, modulus) = (self.elapsed(now), self.period(), self.modulus());
        let value = match self.mode {
            2 => n - elapsed % n,
            // "Mode 3": counts down by two, from an even number, through each half.
            3 => {
                let (into, high) = (elapsed % n, n.div_ceil(2));
                (n & !1).saturating_sub(2 * if into < high { into } else { into - high })
            }
            _ => (n + modulus - elapsed % modulus) % modulus,
        } % modulus;
        if !self.bcd {
            return value as u16;
        }
        (0..4).fold(0, |raw, digit| raw | ((value / 10_u64.pow(digit) % 10) as u16) << (4 * digit))
    }

    fn status(&self, now: u64) -> u8 {
        u8::from(self.out(now)) << 7
            | u8::from(self.null_count) << 6
            | self.rw << 4
            | self.mode << 1
            | u8::from(self.bcd)
    }

    fn latch_count(&mut self, now: u64) {
        self.latch = self.latch.or(Some(self.value(now)));
    }

    /// A control word for this counter, other than a latch command.
    fn control(&mut self, word: u8) {
        let mode = match word >> 1 & 7 {
            6 => 2,
            7 => 3,
            mode => mode,
        };
        *self = Self { rw: word >> 4 & 3, mode, bcd: word & 1 != 0, gate: self.gate, ..Self::default() };
    }

    fn write(&mut self, byte: u8, now: u64) {
        match (self.rw, self.low) {
            (RW_LOW, _) => self.set_count(byte.into(), now),
            (RW_HIGH, _) => self.set_count(u16::from(byte) << 8, now),
            (_, Some(low)) => {
                self.low = None;
                self.set_count(u16::from_le_bytes([low, byte]), now);
            }
            (_, None) => {
                self.low = Some(byte);
                // "Mode 0": the first byte of two stops the count and sets OUT low.
                if self.mode == 0 {
                    self.start = None;
                    self.held = None;
                }
            }
        }
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status_latch.take() {
            return status;
        }
        let [low, high] = self.latch.unwrap_or_else(|| self.value(now)).to_le_bytes();
        let take_high = self.rw == RW_HIGH || self.rw == RW_BOTH && self.read_high;
        if self.rw == RW_BOTH {
            self.read_high = !self.read_high;
        }
        if take_high || self.rw != RW_BOTH {
            self.latch = None;
        }
        if take_high { high } else { low }
    }
}

/// The timer and the system port.
pub struct I8254 {
    regs: I8254Regs,
    irq: IrqLine,
    clock: Arc<dyn Clock>,
}

/// Its registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8254Regs {
    counters: [Counter; 3],
    /// Port 0x61 as written: speaker data in bit 1, gate of counter 2 in bit 0, error enables in 3:2.
    system: u8,
    /// The tick up to which OUT0 was looked at.
    seen: u64,
    /// Another timer stands in for counter 0 (HPET, legacy replacement).
    muted: bool,
}

impl Default for I8254Regs {
    fn default() -> Self {
        let mut counters = <[Counter; 3]>::default();
        counters[2].gate = false;
        Self { counters, system: 0, seen: 0, muted: false }
    }
}

impl Regs for I8254Regs {
    fn validate(&self) -> Result<(), BadState> {
        let possible = |c: &Counter| {
            (1..=3).contains(&c.rw)
                && c.mode <= 5
                && c.loaded <= 0x1_0000
                && c.count.is_none_or(|count| count <= 0x1_0000)
        };
        match self.counters.iter().position(|counter| !possible(counter)) {
            Some(n) => Err(BadState(format!("impossible counter {n}"))),
            None => Ok(()),
        }
    }
}

impl I8254 {
    /// The cell of a timer on the clock of `timers`, whose OUT0 drives `irq` (IRQ 0 of a PC).
    ///
    /// Deviation: `irq` falls as late as just before it rises again, unless the guest accesses the timer in between. So
    /// a period wakes the machine once; interrupt controllers look for the rise only.
    pub fn cell(irq: IrqLine, timers: &Arc<Timers>) -> Arc<DeviceCell<Self>> {
        let chip = Self { regs: Default::default(), irq, clock: timers.clock().clone() };
        let cell = DeviceCell::with_timers(chip, timers);
        cell.settle();
        cell
    }

    fn now(&self) -> u64 {
        ticks_at(self.clock.now())
    }

    /// The tone at the speaker in Hz, if there is one: counter 2 as a square wave, let through by port 0x61.
    pub fn tone_hz(&self) -> Option<f64> {
        let counter = &self.regs.counters[2];
        let sounds = self.regs.system & 3 == 3 && counter.mode == 3 && counter.start.is_some();
        sounds.then(|| HZ as f64 / counter.period() as f64)
    }

    /// The read-back command ("Read-back command").
    fn read_back(&mut self, word: u8, now: u64) {
        for (n, counter) in self.regs.counters.iter_mut().enumerate() {
            if word >> (n + 1) & 1 == 0 {
                continue;
            }
            if word & 0x20 == 0 {
                counter.latch_count(now);
            }
            if word & 0x10 == 0 {
                counter.status_latch = counter.status_latch.or(Some(counter.status(now)));
            }
        }
    }

    fn control(&mut self, word: u8, now: u64) {
        match self.regs.counters.get_mut(usize::from(word >> 6)) {
            None => self.read_back(word, now),
            Some(counter) if word & 0x30 == 0 => counter.latch_count(now),
            Some(counter) => counter.control(word),
        }
    }
}

struct Mute(Arc<DeviceCell<I8254>>);

impl IrqSink for Mute {
    fn set_pin(&self, _pin: u32, high: bool) {
        let _ = self.0.with(|pit| pit.regs.muted = high);
    }
}

/// An input that, while high, keeps the timer's interrupt line low.
pub fn mute(pit: &Arc<DeviceCell<I8254>>) -> Arc<dyn IrqSink> {
    Arc::new(Mute(pit.clone()))
}

impl Device for I8254 {
    type Regs = I8254Regs;
    const MODEL: &'static str = "i8254";

    fn regs(&self) -> &I8254Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut I8254Regs {
        &mut self.regs
    }

    fn update(&mut self) {
        let now = self.now();
        let counter = &mut self.regs.counters[0];
        let rose = counter.next_rise(self.regs.seen).is_some_and(|at| at <= now);
        counter.advance(now);
        self.regs.seen = now;
        let out = counter.out(now);
        if self.regs.muted {
            self.irq.set(false);
            return;
        }
        if rose {
            // Rises that nobody looked at become one, as at a controller that was busy with the first.
            self.irq.set(false);
            self.irq.set(true);
        }
        self.irq.set(out);
    }

    fn deadline(&self) -> Option<VmTime> {
        let (counter, seen) = (&self.regs.counters[0], self.regs.seen);
        let at = counter.next_rise(seen)?;
        // Deviation: interrupts of shorter periods come together, so that a guest cannot keep the machine's timers busy.
        let is_short = counter.is_periodic() && counter.period() < SHORTEST_SLEEP;
        let at = if is_short { at.max(seen.saturating_add(SHORTEST_SLEEP)) } else { at };
        (!self.regs.muted).then(|| time_of(at))
    }
    // `update`, which follows every expiry, looks at the clock by itself.
}

impl Mmio for I8254 {
    /// Counters and control word (0x40 of a PC), system port (0x61).
    const WINDOWS: &'static [Window] = &[Window { len: 4, widths: 1..=1 }, Window { len: 1, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let now = self.now();
        self.regs.counters.iter_mut().for_each(|counter| counter.advance(now));
        if at.window == 1 {
            let refresh = (now / REFRESH_TICKS) & 1;
            return Ok(u64::from(self.regs.system) | refresh << 4 | u64::from(self.regs.counters[2].out(now)) << 5);
        }
        let counter = self.regs.counters.get_mut(at.offset as usize).ok_or(BusError::BadOffset)?;
        Ok(counter.read(now).into())
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        // What happened to OUT0 until now is not to be lost in what the write changes.
        self.update();
        let (now, value) = (self.regs.seen, value as u8);
        self.regs.counters.iter_mut().for_each(|counter| counter.advance(now));
        if at.window == 1 {
            self.regs.system = value & 0x0f;
            self.regs.counters[2].set_gate(value & 1 != 0, now);
        } else if let Some(counter) = self.regs.counters.get_mut(at.offset as usize) {
            counter.write(value, now);
        } else {
            self.control(value, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
