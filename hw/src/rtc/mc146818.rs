//! Real-time clock MC146818 with 128 bytes, as PCs have it. Motorola MC146818 data sheet (1984) and, for the second half
//! of the bytes and the century, the 82371 (PIIX4) data sheet, "Real time clock"; section titles are the former's.
//!
//! The clock is the machine's clock in whole seconds, as if the battery had kept it running and somebody had set it; what
//! the guest sets only shifts it.

use super::calendar::{date_from_days, days_from_date};
use super::cmos::Cmos;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::clock::Clock;
use vm::timer::Timers;
use vm::{
    Access, BadState, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Part, Regs, ResetKind, VmTime, Window,
};

// Bytes ("Address map").
const SECONDS: u8 = 0x00;
const DAY_OF_WEEK: u8 = 0x06;
const YEAR: u8 = 0x09;
const A: u8 = 0x0a;
const B: u8 = 0x0b;
const C: u8 = 0x0c;
const D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

// Register A.
const A_UIP: u8 = 1 << 7;
// Register B.
const B_SET: u8 = 1 << 7;
const B_AIE: u8 = 1 << 5;
const B_UIE: u8 = 1 << 4;
const B_SQWE: u8 = 1 << 3;
const B_BINARY: u8 = 1 << 2;
const B_24H: u8 = 1 << 1;
// Register C; its flags stand where register B enables them.
const C_IRQF: u8 = 1 << 7;
const C_PF: u8 = 1 << 6;
const C_AF: u8 = 1 << 5;
const C_UF: u8 = 1 << 4;
const FLAGS: u8 = C_PF | C_AF | C_UF;
/// Register D: valid RAM and time.
const D_VRT: u8 = 1 << 7;
/// Hours: PM in 12-hour mode.
const PM: u8 = 1 << 7;

const NS_PER_S: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;
/// "Update cycle": UIP is set 244 us before.
const UIP_NS: i64 = 244_000;
/// Cycles of the time base in a second.
const BASE_HZ: u128 = 32_768;

/// The clock chip.
pub struct Mc146818 {
    regs: Mc146818Regs,
    initial: Cmos,
    irq: IrqLine,
    clock: Arc<dyn Clock>,
}

/// Its registers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mc146818Regs {
    /// The byte chosen by the index port.
    index: u8,
    /// Bit 7 of the index port.
    nmi_masked: bool,
    a: u8,
    b: u8,
    c: u8,
    /// Seconds since 1970 at `second_ns`; `None` until first asked.
    count: Option<i64>,
    /// Virtual time at which a second began; later seconds begin whole seconds after it.
    second_ns: i64,
    /// What day of the week 1970-01-01 was, as the guest has it; Thursday is 5.
    weekday: u8,
    /// The ten bytes of time, date and alarm and the century, as the guest sees them while the clock is stopped.
    stopped: Option<[u8; 11]>,
    /// Alarm bytes: seconds, minutes, hours.
    alarm: [u8; 3],
    /// Virtual time up to which the flags were looked after.
    seen_ns: i64,
    /// Another timer stands in for the interrupt (HPET, legacy replacement).
    muted: bool,
    /// The bytes that are only memory, by their index; `None` until first asked.
    ram: Option<Vec<u8>>,
}

impl Default for Mc146818Regs {
    fn default() -> Self {
        Self {
            index: 0,
            nmi_masked: false,
            a: 0x26,
            b: B_24H,
            c: 0,
            count: None,
            second_ns: 0,
            weekday: 5,
            stopped: None,
            alarm: [0; 3],
            seen_ns: 0,
            muted: false,
            ram: None,
        }
    }
}

impl Regs for Mc146818Regs {
    fn validate(&self) -> Result<(), BadState> {
        let ram = self.ram.as_ref().is_none_or(|ram| ram.len() == size_of::<Cmos>());
        let time = self.count.is_none_or(|count| count.abs() < 1 << 50) && self.second_ns >= -NS_PER_S;
        if ram && time && self.index < 128 && self.weekday < 8 && self.seen_ns >= 0 {
            return Ok(());
        }
        Err(BadState("impossible index, time or size of memory".into()))
    }
}

/// The last two decimal digits of a number, as the bytes hold them by default.
fn to_bcd(value: i64) -> u8 {
    (value / 10 % 10 * 16 + value % 10) as u8
}

fn from_bcd(byte: u8) -> i64 {
    i64::from(byte >> 4) * 10 + i64::from(byte & 0xf)
}

impl Mc146818Regs {
    /// A number as the guest asks for it by DM.
    fn format(&self, value: i64) -> u8 {
        if self.b & B_BINARY != 0 { value as u8 } else { to_bcd(value) }
    }

    fn parse(&self, byte: u8) -> i64 {
        if self.b & B_BINARY != 0 { byte.into() } else { from_bcd(byte) }
    }

    fn format_hour(&self, hour: i64) -> u8 {
        if self.b & B_24H != 0 {
            return self.format(hour);
        }
        let pm = if hour >= 12 { PM } else { 0 };
        self.format(if hour % 12 == 0 { 12 } else { hour % 12 }) | pm
    }

    fn parse_hour(&self, byte: u8) -> i64 {
        if self.b & B_24H != 0 {
            return self.parse(byte);
        }
        self.parse(byte & !PM) % 12 + if byte & PM != 0 { 12 } else { 0 }
    }

    /// Seconds, minutes and hours of a count as the guest sees them.
    fn time_bytes(&self, count: i64) -> [u8; 3] {
        let second = count.rem_euclid(DAY_S);
        [self.format(second % 60), self.format(second / 60 % 60), self.format_hour(second / 3600)]
    }

    /// Bytes 0x00 to 0x09 and the century.
    fn bytes(&self, count: i64) -> [u8; 11] {
        let (days, [s, m, h]) = (count.div_euclid(DAY_S), self.time_bytes(count));
        let (year, month, day) = date_from_days(days);
        let weekday = (days + i64::from(self.weekday) - 1).rem_euclid(7) + 1;
        let [alarm_s, alarm_m, alarm_h] = self.alarm;
        let date = [weekday, day, month, year.rem_euclid(100), year.div_euclid(100).rem_euclid(100)];
        let [weekday, day, month, year, century] = date.map(|value| self.format(value));
        [s, alarm_s, m, alarm_m, h, alarm_h, weekday, day, month, year, century]
    }

    /// The count of what [`bytes`](Self::bytes) gives, and what day of the week the first was.
    fn count_of(&self, bytes: &[u8; 11]) -> (i64, u8) {
        let &[s, _, m, _, h, _, weekday, day, month, year, century] = bytes;
        let [s, m, weekday, day, month, year, century] =
            [s, m, weekday, day, month, year, century].map(|byte| self.parse(byte));
        let days = days_from_date(century * 100 + year, month, day);
        let weekday = (weekday - 1 - days).rem_euclid(7) + 1;
        (days * DAY_S + self.parse_hour(h) * 3600 + m * 60 + s, weekday as u8)
    }

    /// Neither stopped by SET nor held at reset by the divider bits ("Divider stages").
    fn is_running(&self) -> bool {
        self.stopped.is_none()
    }

    fn should_run(b: u8, a: u8) -> bool {
        b & B_SET == 0 && a >> 4 & 6 != 6
    }

    fn alarm_matches(&self, count: i64) -> bool {
        // "Alarm": a byte with its two highest bits set matches always.
        self.alarm.iter().zip(self.time_bytes(count)).all(|(alarm, now)| alarm & 0xc0 == 0xc0 || *alarm == now)
    }

    /// Time base cycles of a period of the periodic interrupt ("Periodic interrupt rate").
    fn period(&self) -> Option<u128> {
        match self.a & 0xf {
            0 => None,
            // The first two rates are those of 8 and 9 with a time base of 32,768 Hz.
            rate @ (1 | 2) => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Periods that began until `ns`.
    fn periods(&self, ns: i64) -> u128 {
        self.period().map_or(0, |period| ns.max(0) as u128 * BASE_HZ / (NS_PER_S as u128 * period))
    }
}

impl Mc146818 {
    /// The cell of a clock chip that shows the clock of `timers` and drives `irq` (IRQ 8 of a PC). `initial` is what the
    /// battery has kept in the other bytes ([`super::cmos::pc_cmos`]).
    pub fn cell(irq: IrqLine, timers: &Arc<Timers>, initial: Cmos) -> Arc<DeviceCell<Self>> {
        let chip = Self { regs: Default::default(), initial, irq, clock: timers.clock().clone() };
        let cell = DeviceCell::with_timers(chip, timers);
        cell.settle();
        cell
    }

    /// Whether bit 7 of the index port keeps NMIs from the processor.
    pub fn nmi_masked(&self) -> bool {
        self.regs.nmi_masked
    }

    fn now_ns(&self) -> i64 {
        self.clock.now().0.min(i64::MAX as u64 / 2) as i64
    }

    /// Seconds since 1970 at `ns` as the clock counts them.
    fn count_at(&self, ns: i64) -> i64 {
        let base = self.regs.count.unwrap_or_else(|| self.clock.epoch_s().min(1 << 40) as i64);
        base + ns.saturating_sub(self.regs.second_ns).div_euclid(NS_PER_S)
    }

    /// What happened since the last look: flags, whether or not they interrupt.
    fn catch_up(&mut self) {
        if self.regs.count.is_none() {
            self.regs.count = Some(self.count_at(self.regs.second_ns));
        }
        let (seen, now) = (self.regs.seen_ns, self.now_ns());
        let r = &self.regs;
        let mut flags = 0;
        if r.periods(now) != r.periods(seen) {
            flags |= C_PF;
        }
        let (from, to) = (self.count_at(seen), self.count_at(now));
        if r.is_running() && to > from {
            flags |= C_UF;
            // An alarm repeats each day, so there is no need to look at more.
            if r.c & C_AF == 0 && (from + 1..=to).take(DAY_S as usize).any(|count| r.alarm_matches(count)) {
                flags |= C_AF;
            }
        }
        self.regs.c |= flags;
        self.regs.seen_ns = now;
    }

    fn irqf(&self) -> bool {
        self.regs.c & self.regs.b & FLAGS != 0
    }

    /// Applies the control bits that stop and start the clock.
    fn set_control(&mut self, a: u8, b: u8) {
        let now = self.now_ns();
        let (was, is) = (self.regs.is_running(), Mc146818Regs::should_run(b, a));
        let released = self.regs.a >> 4 & 6 == 6 && a >> 4 & 6 != 6;
        self.regs.a = a & !A_UIP;
        if was && !is {
            self.regs.stopped = Some(self.regs.bytes(self.count_at(now)));
        }
        self.regs.b = b;
        // The divider chain runs on under SET. After its reset the first second ends after half of one ("Divider
        // control").
        let into = if released { NS_PER_S / 2 } else { (now - self.regs.second_ns).rem_euclid(NS_PER_S) };
        match self.regs.stopped {
            Some(bytes) if is => {
                let (count, weekday) = self.regs.count_of(&bytes);
                self.regs.stopped = None;
                self.set_count(count, weekday, now - into);
            }
            _ if released => self.set_count(self.count_at(now), self.regs.weekday, now - into),
            _ => {}
        }
    }

    fn set_count(&mut self, count: i64, weekday: u8, second_ns: i64) {
        self.regs.count = Some(count);
        self.regs.weekday = weekday;
        self.regs.second_ns = second_ns;
    }

    fn time_index(index: u8) -> Option<usize> {
        match index {
            SECONDS..=YEAR => Some(index.into()),
            CENTURY => Some(10),
            _ => None,
        }
    }

    fn ram(&mut self) -> &mut Vec<u8> {
        self.regs.ram.get_or_insert_with(|| self.initial.to_vec())
    }

    fn read_byte(&mut self) -> u8 {
        let (now, index) = (self.now_ns(), self.regs.index);
        if let Some(n) = Self::time_index(index) {
            return self.regs.stopped.unwrap_or_else(|| self.regs.bytes(self.count_at(now)))[n];
        }
        match index {
            A => {
                let left = NS_PER_S - (now - self.regs.second_ns).rem_euclid(NS_PER_S);
                let updating = self.regs.is_running() && left <= UIP_NS;
                self.regs.a | if updating { A_UIP } else { 0 }
            }
            B => self.regs.b,
            C => {
                let irqf = if self.irqf() { C_IRQF } else { 0 };
                std::mem::take(&mut self.regs.c) | irqf
            }
            D => D_VRT,
            _ => self.ram().get(usize::from(index)).copied().unwrap_or(0xff),
        }
    }

    fn write_byte(&mut self, value: u8) {
        let (now, index) = (self.now_ns(), self.regs.index);
        if let Some(n) = Self::time_index(index) {
            let mut bytes = self.regs.stopped.unwrap_or_else(|| self.regs.bytes(self.count_at(now)));
            bytes[n] = value;
            match (n, self.regs.stopped) {
                (1 | 3 | 5, stopped) => {
                    self.regs.alarm = [bytes[1], bytes[3], bytes[5]];
                    self.regs.stopped = stopped.map(|_| bytes);
                }
                (_, Some(_)) => self.regs.stopped = Some(bytes),
                // Without SET the second goes on as it was.
                (n, None) => {
                    let (count, weekday) = self.regs.count_of(&bytes);
                    let into = (now - self.regs.second_ns).rem_euclid(NS_PER_S);
                    let weekday = if n == usize::from(DAY_OF_WEEK) { weekday } else { self.regs.weekday };
                    self.set_count(count, weekday, now - into);
                }
            }
            return;
        }
        match index {
            A => self.set_control(value, self.regs.b),
            // "SET": the program that stops the clock gets no update-ended interrupt.
            B => self.set_control(self.regs.a, if value & B_SET != 0 { value & !B_UIE } else { value }),
            C | D => {}
            _ => {
                if let Some(byte) = self.ram().get_mut(usize::from(index)) {
                    *byte = value;
                }
            }
        }
    }
}

struct Mute(Arc<DeviceCell<Mc146818>>);

impl IrqSink for Mute {
    fn set_pin(&self, _pin: u32, high: bool) {
        let _ = self.0.with(|rtc| rtc.regs.muted = high);
    }
}

/// An input that, while high, keeps the clock's interrupt line low.
pub fn mute(rtc: &Arc<DeviceCell<Mc146818>>) -> Arc<dyn IrqSink> {
    Arc::new(Mute(rtc.clone()))
}

impl Device for Mc146818 {
    type Regs = Mc146818Regs;
    const MODEL: &'static str = "mc146818";

    fn regs(&self) -> &Mc146818Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Mc146818Regs {
        &mut self.regs
    }

    fn reset(&mut self, kind: ResetKind) {
        if kind == ResetKind::Cold {
            self.regs = Mc146818Regs::default();
            return;
        }
        // "RESET": the time and the memory are not touched.
        self.regs.b &= !(C_PF | B_AIE | B_UIE | B_SQWE);
        self.regs.c = 0;
        self.regs.index = 0;
        self.regs.nmi_masked = false;
        self.regs.muted = false;
    }

    fn update(&mut self) {
        self.catch_up();
        self.irq.set(self.irqf() && !self.regs.muted);
    }

    fn deadline(&self) -> Option<VmTime> {
        // While the line is high nothing changes it but the guest.
        if self.irqf() || self.regs.muted {
            return None;
        }
        let (r, seen) = (&self.regs, self.regs.seen_ns);
        let mut next = None;
        let mut offer = |at: i64| next = Some(next.map_or(at, |other: i64| other.min(at)));
        if let (Some(period), true) = (r.period(), r.b & C_PF != 0) {
            let at = ((r.periods(seen) + 1) * period * NS_PER_S as u128).div_ceil(BASE_HZ);
            offer(i64::try_from(at).unwrap_or(i64::MAX));
        }
        if r.is_running() && r.b & (B_UIE | B_AIE) != 0 {
            let into = seen.saturating_sub(r.second_ns).rem_euclid(NS_PER_S);
            offer(seen.saturating_add(NS_PER_S - into));
        }
        next.map(|at| VmTime(at.max(0) as u64))
    }
    // `update`, which follows every expiry, looks at the clock by itself.
}

impl Mmio for Mc146818 {
    /// Index (0x70 of a PC) and data (0x71).
    const WINDOWS: &'static [Window] = &[Window { len: 2, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        self.catch_up();
        match at.offset {
            1 => Ok(self.read_byte().into()),
            // The index port is write-only; firmware reads it to let time pass.
            _ => Ok(0xff),
        }
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        self.catch_up();
        if at.offset == 1 {
            self.write_byte(value as u8);
        } else {
            self.regs.index = value as u8 & 0x7f;
            self.regs.nmi_masked = value & 0x80 != 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
