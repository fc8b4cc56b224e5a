//! Arm PrimeCell Real Time Clock, PL031. Arm DDI 0224B; section numbers are its.
//!
//! The counter is the machine's clock in whole seconds since 1970, as if a battery had kept it running and somebody had
//! set it; what the guest loads only shifts it.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::clock::Clock;
use vm::timer::Timers;
use vm::{Access, BusError, Device, DeviceCell, IrqLine, Mmio, Part, Regs, ResetKind, VmTime, Window};

// Register offsets (3.2, Summary of RTC registers).
const DR: u64 = 0x00;
const MR: u64 = 0x04;
const LR: u64 = 0x08;
const CR: u64 = 0x0c;
const IMSC: u64 = 0x10;
const RIS: u64 = 0x14;
const MIS: u64 = 0x18;
const ICR: u64 = 0x1c;

/// RTCPeriphID0-3 (3.3.9).
const PERIPHERAL_ID: [u8; 4] = [0x31, 0x10, 0x04, 0x00];
const NS_PER_S: u64 = 1_000_000_000;
/// Seconds after which the counter is the same again.
const COUNTER_PERIOD_S: u64 = 1 << 32;

/// The clock chip.
pub struct Pl031 {
    regs: Pl031Regs,
    irq: IrqLine,
    clock: Arc<dyn Clock>,
}

/// Its registers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pl031Regs {
    mr: u32,
    lr: u32,
    cr: bool,
    imsc: bool,
    ris: bool,
    /// What the guest added to the time of day by loading RTCLR, in seconds, wrapping.
    shift_s: u32,
    /// Virtual time in whole seconds when the counter next becomes RTCMR; `None` until it is worked out.
    match_s: Option<u64>,
}

impl Regs for Pl031Regs {}

impl Pl031 {
    /// The cell of a clock chip that shows the clock of `timers` and drives `irq` (RTCINTR).
    pub fn cell(irq: IrqLine, timers: &Arc<Timers>) -> Arc<DeviceCell<Self>> {
        let chip = Self { regs: Default::default(), irq, clock: timers.clock().clone() };
        let cell = DeviceCell::with_timers(chip, timers);
        cell.settle();
        cell
    }

    fn now_s(&self) -> u64 {
        self.clock.now().0 / NS_PER_S
    }

    /// RTCDR: the counter.
    fn counter(&self) -> u32 {
        (self.clock.epoch_s().wrapping_add(self.now_s()) as u32).wrapping_add(self.regs.shift_s)
    }

    /// RTCMR or the counter was written: the interrupt is raised at once if they are equal (2.1, Real
    /// Time Clock overview), and the next match is `COUNTER_PERIOD_S` or less ahead.
    fn compare(&mut self) {
        let ahead = self.regs.mr.wrapping_sub(self.counter());
        self.regs.ris |= ahead == 0;
        self.schedule();
    }

    fn schedule(&mut self) {
        let ahead = self.regs.mr.wrapping_sub(self.counter());
        let ahead = if ahead == 0 { COUNTER_PERIOD_S } else { ahead.into() };
        self.regs.match_s = Some(self.now_s().saturating_add(ahead));
    }
}

impl Device for Pl031 {
    type Regs = Pl031Regs;
    const MODEL: &'static str = "pl031";

    fn regs(&self) -> &Pl031Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Pl031Regs {
        &mut self.regs
    }

    fn reset(&mut self, kind: ResetKind) {
        // The counter and what it is loaded with are clocked by CLK1HZ, with a reset of their own that the machine's reset
        // line does not reach.
        let shift_s = if kind == ResetKind::Warm { self.regs.shift_s } else { 0 };
        self.regs = Pl031Regs { shift_s, ..Default::default() };
    }

    fn update(&mut self) {
        match self.regs.match_s {
            None => self.schedule(),
            Some(at) if at <= self.now_s() => {
                self.regs.ris = true;
                self.schedule();
            }
            Some(_) => {}
        }
        self.irq.set(self.regs.ris && self.regs.imsc);
    }

    fn deadline(&self) -> Option<VmTime> {
        Some(VmTime(self.regs.match_s?.saturating_mul(NS_PER_S)))
    }
    // `update`, which follows every expiry, looks at the clock by itself.
}

impl Mmio for Pl031 {
    const WINDOWS: &'static [Window] = &[Window { len: 0x1000, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let r = &self.regs;
        Ok(match at.offset {
            DR => self.counter().into(),
            MR => r.mr.into(),
            LR => r.lr.into(),
            CR => r.cr.into(),
            IMSC => r.imsc.into(),
            RIS => r.ris.into(),
            MIS => (r.ris && r.imsc).into(),
            offset => return crate::primecell_id(PERIPHERAL_ID, offset).ok_or(BusError::BadOffset),
        })
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let low = value & 1 != 0;
        match at.offset {
            MR => {
                self.regs.mr = value as u32;
                self.compare();
            }
            LR => {
                self.regs.lr = value as u32;
                let load = (value as u32).wrapping_sub(self.counter());
                self.regs.shift_s = self.regs.shift_s.wrapping_add(load);
                self.compare();
            }
            // 3.3.4: once started, the clock cannot be stopped. Deviation: it runs before it is started, too.
            CR => self.regs.cr |= low,
            IMSC => self.regs.imsc = low,
            ICR => self.regs.ris &= !low,
            DR | RIS | MIS => {}
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Levels, Poke, check_reset, check_save_load, hammer};
    use vm::clock::ManualClock;

    const EPOCH_S: u64 = 1_700_000_000;

    struct Bench {
        rtc: Arc<DeviceCell<Pl031>>,
        clock: Arc<ManualClock>,
        timers: Arc<Timers>,
        irq: Arc<Levels>,
    }

    fn bench() -> Bench {
        let (clock, irq) = (Arc::new(ManualClock::new(EPOCH_S)), Levels::new());
        let timers = Timers::new(clock.clone());
        let rtc = Pl031::cell(IrqLine::to(irq.clone(), 0), &timers);
        Bench { rtc, clock, timers, irq }
    }

    impl Bench {
        fn advance(&self, to_ns: u64) {
            self.clock.advance_to(VmTime(to_ns));
            self.timers.expire();
        }
    }

    #[test]
    fn reset_values_and_ids() {
        let b = bench();
        for offset in [MR, LR, CR, IMSC, RIS, MIS] {
            assert_eq!(b.rtc.r(offset), 0, "{offset:#x}");
        }
        assert_eq!(b.rtc.r(DR), EPOCH_S);
        let id: Vec<u64> = (0xfe0..0x1000).step_by(4).map(|offset| b.rtc.r(offset)).collect();
        assert_eq!(id, [0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
        assert_eq!(b.rtc.read_n(ICR, 4), Err(BusError::BadOffset));
        assert_eq!(b.rtc.read_n(0x20, 4), Err(BusError::BadOffset));
    }

    #[test]
    fn the_counter_follows_the_clock_from_what_was_loaded() {
        let b = bench();
        b.advance(2_999_999_999);
        assert_eq!(b.rtc.r(DR), EPOCH_S + 2);
        b.rtc.w(LR, 0xffff_ffff);
        assert_eq!((b.rtc.r(DR), b.rtc.r(LR)), (0xffff_ffff, 0xffff_ffff));
        b.advance(3_000_000_000);
        assert_eq!(b.rtc.r(DR), 0);
        b.rtc.w(CR, 1);
        b.rtc.w(CR, 0);
        assert_eq!(b.rtc.r(CR), 1);
        b.rtc.reset(ResetKind::Warm);
        b.rtc.settle();
        assert_eq!((b.rtc.r(DR), b.rtc.r(CR)), (0, 0));
        b.rtc.reset(ResetKind::Cold);
        b.rtc.settle();
        assert_eq!(b.rtc.r(DR), EPOCH_S + 3);
    }

    #[test]
    fn alarm_cause_mask_and_clear() {
        let b = bench();
        b.rtc.w(MR, EPOCH_S + 5);
        assert_eq!(b.timers.next_deadline(), Some(VmTime(5 * NS_PER_S)));
        b.advance(5 * NS_PER_S - 1);
        assert_eq!(b.rtc.r(RIS), 0);
        b.advance(5 * NS_PER_S);
        assert_eq!((b.rtc.r(RIS), b.rtc.r(MIS), b.irq.get(0)), (1, 0, false));
        b.rtc.w(IMSC, 1);
        assert_eq!((b.rtc.r(MIS), b.irq.get(0)), (1, true));
        b.rtc.w(ICR, 1);
        assert_eq!((b.rtc.r(RIS), b.irq.get(0)), (0, false), "still the same second, yet cleared");
        assert_eq!(b.timers.next_deadline(), Some(VmTime((5 + COUNTER_PERIOD_S) * NS_PER_S)));
        b.rtc.w(MR, EPOCH_S + 5);
        assert!(b.irq.get(0), "an equal match value raises at once");
    }

    #[test]
    fn an_alarm_is_not_lost_when_the_timer_is_late() {
        let b = bench();
        b.rtc.w(IMSC, 1);
        b.rtc.w(MR, EPOCH_S + 5);
        b.clock.advance_to(VmTime(9 * NS_PER_S));
        assert_eq!(b.rtc.r(DR), EPOCH_S + 9);
        assert!(b.irq.get(0));
        assert_eq!(b.rtc.r(RIS), 1);
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.rtc.w(IMSC, 1);
        b.rtc.w(MR, EPOCH_S + 7);
        check_save_load(&b.rtc, || {
            b.rtc.w(MR, 0);
            b.rtc.w(LR, 12);
        });
        let b = bench();
        check_reset(&b.rtc, || b.rtc.w(LR, 12));
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        let mut now = 0;
        hammer(&b.rtc, 50_000, |random| {
            now += random.below(1 << 40);
            b.advance(now);
        });
        b.advance(u64::MAX);
    }
}
