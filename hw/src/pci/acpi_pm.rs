//! The fixed hardware of ACPI that all of Intel's chip sets have at the same offsets: power management events and control,
//! and the timer. Advanced Configuration and Power Interface Specification, release 6.5, "ACPI Register Model"; the names
//! of bits are those of the 82371AB data sheet (290562).

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::VmTime;
use vm::clock::Clock;
use vm::power::{Power, PowerRequest};

/// Bytes of the registers.
pub const LEN: u8 = 0x0c;

const STATUS: u8 = 0x00;
const ENABLE: u8 = 0x02;
const CONTROL: u8 = 0x04;
const TIMER: u8 = 0x08;

// Status and enable ("PM1 Status Registers").
const TMROF: u16 = 1 << 0;
const GBL: u16 = 1 << 5;
const PWRBTN: u16 = 1 << 8;
const RTC: u16 = 1 << 10;
const EVENTS: u16 = TMROF | GBL | PWRBTN | RTC;
/// Status bits that writing a one clears.
const STATUS_BITS: u16 = EVENTS | 1 << 4 | 1 << 11 | 1 << 15;

// Control ("PM1 Control Registers").
const SCI_EN: u16 = 1 << 0;
const SLP_TYP: u16 = 7 << 10;
const SLP_EN: u16 = 1 << 13;
/// Sleep types: soft off; suspend to disk is off too, the guest has written the disk itself; the chip's own soft off.
const OFF: [u16; 3] = [0, 2 << 10, 7 << 10];

/// Frequency of the timer in Hz.
const FREQUENCY: u128 = 3_579_545;
/// The timer's bit whose changes are events ("Power Management Timer").
const OVERFLOW_SHIFT: u32 = 23;

/// The registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pm1Regs {
    status: u16,
    enable: u16,
    control: u16,
    /// How often the timer's highest bit had changed when that was last looked at.
    halves: u64,
}

/// Their wiring.
pub struct Pm1 {
    clock: Arc<dyn Clock>,
    power: Power,
    /// The timer has 32 bits instead of 24.
    wide: bool,
}

impl Pm1 {
    /// Registers by this clock; `power` is asked to switch off. The timer has 24 bits, or 32 if `wide` (the FADT's
    /// TMR_VAL_EXT).
    pub fn new(clock: Arc<dyn Clock>, power: Power, wide: bool) -> Self {
        Self { clock, power, wide }
    }

    /// What a reset leaves.
    pub fn after_reset(&self) -> Pm1Regs {
        Pm1Regs { halves: self.ticks() >> OVERFLOW_SHIFT, ..Default::default() }
    }

    /// The timer, with all its bits.
    pub fn ticks(&self) -> u64 {
        (u128::from(self.clock.now().0) * FREQUENCY / 1_000_000_000) as u64
    }

    /// Notes changes of the timer's highest bit.
    pub fn look_at_timer(&self, r: &mut Pm1Regs) {
        let halves = self.ticks() >> OVERFLOW_SHIFT;
        if halves != r.halves {
            r.halves = halves;
            r.status |= TMROF;
        }
    }

    /// When that is to be looked at.
    pub fn deadline(&self, r: &Pm1Regs) -> Option<VmTime> {
        if r.enable & TMROF == 0 || r.status & TMROF != 0 {
            return None;
        }
        let next = u128::from(r.halves + 1) << OVERFLOW_SHIFT;
        Some(VmTime(u64::try_from((next * 1_000_000_000).div_ceil(FREQUENCY)).unwrap_or(u64::MAX)))
    }

    /// Reads the byte at `at`, with the timer at `ticks`: the same for all bytes of an access.
    pub fn read_byte(&self, r: &Pm1Regs, at: u8, ticks: u64) -> u8 {
        let timer = if self.wide { ticks as u32 } else { ticks as u32 & 0xff_ffff };
        let word = |value: u16, from: u8| value.to_le_bytes()[usize::from(at - from)];
        match at {
            0x00..=0x01 => word(r.status, STATUS),
            0x02..=0x03 => word(r.enable, ENABLE),
            0x04..=0x05 => word(r.control, CONTROL),
            0x08..=0x0b => timer.to_le_bytes()[usize::from(at - TIMER)],
            _ => 0,
        }
    }

    /// Writes the byte at `at`.
    pub fn write_byte(&self, r: &mut Pm1Regs, at: u8, value: u8) {
        let shift = 8 * u32::from(at & 1);
        let word = u16::from(value) << shift;
        let put = |old: u16, writable: u16| {
            let writable = writable & 0xff << shift;
            old & !writable | word & writable
        };
        match at {
            0x00..=0x01 => r.status &= !(word & STATUS_BITS),
            0x02..=0x03 => r.enable = put(r.enable, EVENTS),
            0x04..=0x05 => {
                r.control = put(r.control, SCI_EN | 1 << 1 | SLP_TYP | SLP_EN);
                if r.control & SLP_EN != 0 {
                    r.control &= !SLP_EN;
                    self.sleep(r.control & SLP_TYP);
                }
            }
            _ => {}
        }
    }

    fn sleep(&self, kind: u16) {
        if OFF.contains(&kind) {
            self.power.request(PowerRequest::Shutdown);
        } else {
            // Deviation: there is no suspend to RAM; the machine goes on as if it had been woken at once.
            vm::log!(GuestError, "acpi: sleep type {} is not supported", kind >> 10);
        }
    }
}

impl Pm1Regs {
    /// A person presses the power button.
    pub fn press_power_button(&mut self) {
        self.status |= PWRBTN;
    }

    /// Some event has happened that is enabled.
    pub fn event(&self) -> bool {
        self.status & self.enable & EVENTS != 0
    }

    /// Events are the system control interrupt's, not those of system management.
    pub fn sci_enabled(&self) -> bool {
        self.control & SCI_EN != 0
    }

    /// Switches between the two.
    pub fn enable_sci(&mut self, on: bool) {
        self.control = if on { self.control | SCI_EN } else { self.control & !SCI_EN };
    }
}
