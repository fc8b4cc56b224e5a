//! The registers of one local APIC and what they do by themselves: priorities, local vector table, timer, errors.

use crate::intc::apic_bus::{BROADCAST, Delivery};
use serde::{Deserialize, Serialize};

// IA32_APIC_BASE.
pub const BASE_BSP: u64 = 1 << 8;
pub const BASE_EXTD: u64 = 1 << 10;
pub const BASE_EN: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0xfee0_0000;

// Spurious-interrupt vector register ("Spurious interrupt").
const SVR_ENABLED: u32 = 1 << 8;
const SVR_SUPPRESS_EOI: u32 = 1 << 12;
const SVR_MASK: u32 = 0x13ff;

// Local vector table ("Local vector table").
pub const LVT_TIMER: usize = 0;
pub const LVT_LINT0: usize = 3;
pub const LVT_ERROR: usize = 5;
const LVT_REMOTE_IRR: u32 = 1 << 14;
const LVT_LEVEL: u32 = 1 << 15;
const LVT_MASKED: u32 = 1 << 16;
/// Writable bits: timer, thermal sensor, performance counters, LINT0, LINT1, error.
const LVT_WRITABLE: [u32; 6] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
/// ExtINT, unmasked.
const EXTINT: u32 = 7 << 8;

// Error status register ("Error handling").
pub const ERROR_SEND_VECTOR: u8 = 1 << 5;
const ERROR_RECEIVE_VECTOR: u8 = 1 << 6;
pub const ERROR_REGISTER: u8 = 1 << 7;

/// Vectors below are reserved for exceptions.
pub const FIRST_VECTOR: u8 = 16;

/// How the timer counts ("APIC timer").
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimerMode {
    OneShot,
    Periodic,
    TscDeadline,
}

/// 256 bits, one per vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vectors(pub [u32; 8]);

impl Vectors {
    pub fn set(&mut self, vector: u8, on: bool) {
        let (word, bit) = (&mut self.0[usize::from(vector / 32)], 1 << (vector % 32));
        *word = if on { *word | bit } else { *word & !bit };
    }
    pub fn has(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 32)] >> (vector % 32) & 1 != 0
    }
    /// The highest vector.
    pub fn highest(&self) -> Option<u8> {
        let (n, word) = self.0.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        Some((n as u32 * 32 + 31 - word.leading_zeros()) as u8)
    }
}

/// One local APIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apic {
    /// x2APIC ID; its low byte is the xAPIC ID.
    pub id: u32,
    pub base: u64,
    pub tpr: u8,
    ldr: u8,
    /// Bits 31:28: 0xf flat, 0 cluster.
    dfr: u8,
    svr: u32,
    pub irr: Vectors,
    pub isr: Vectors,
    pub tmr: Vectors,
    esr: u8,
    /// Errors since ESR was last written.
    errors: u8,
    pub icr: u64,
    lvt: [u32; 6],
    initial_count: u32,
    divide: u8,
    /// Virtual time in ns at which the count began.
    start_ns: u64,
    /// Deadline in ns of TSC-deadline mode.
    deadline_ns: Option<u64>,
    /// Virtual time in ns up to which the timer was looked after.
    seen_ns: u64,
    /// Levels of LINT0 and LINT1.
    pub lint: [bool; 2],
    /// An ExtINT message waits.
    external: bool,
    /// Events that wait for the processor.
    pub nmi: bool,
    pub smi: bool,
    pub init: bool,
    pub sipi: Option<u8>,
}

impl Apic {
    /// The APIC with this ID after power on; that of the bootstrap processor if `bsp`.
    pub fn new(id: u32, bsp: bool) -> Self {
        // Deviation: LINT0 of the bootstrap processor starts as firmware sets it (virtual wire mode), so that a system
        // started without firmware gets the PIC's interrupts.
        let lint0 = if bsp { EXTINT } else { LVT_MASKED };
        Self {
            id,
            base: BASE_ADDRESS | BASE_EN | if bsp { BASE_BSP } else { 0 },
            tpr: 0,
            ldr: 0,
            dfr: 0xf,
            svr: 0xff,
            irr: Vectors::default(),
            isr: Vectors::default(),
            tmr: Vectors::default(),
            esr: 0,
            errors: 0,
            icr: 0,
            lvt: [LVT_MASKED, LVT_MASKED, LVT_MASKED, lint0, LVT_MASKED, LVT_MASKED],
            initial_count: 0,
            divide: 0,
            start_ns: 0,
            deadline_ns: None,
            seen_ns: 0,
            lint: [false; 2],
            external: false,
            nmi: false,
            smi: false,
            init: false,
            sipi: None,
        }
    }

    /// "Local APIC state after power-up reset" and after INIT: all but the ID, the base and what the pins show.
    pub fn reset(&mut self) {
        let fresh = Self::new(self.id, self.base & BASE_BSP != 0);
        *self = Self { base: self.base, lint: self.lint, seen_ns: self.seen_ns, ..fresh };
    }

    pub fn is_possible(&self) -> bool {
        self.lvt.iter().zip(LVT_WRITABLE).all(|(lvt, mask)| lvt & !(mask | LVT_REMOTE_IRR) == 0)
            && self.svr & !SVR_MASK == 0
            && self.divide & !0xb == 0
            && self.dfr <= 0xf
    }

    /// Enabled by IA32_APIC_BASE.
    pub fn is_enabled(&self) -> bool {
        self.base & BASE_EN != 0
    }

    pub fn is_x2(&self) -> bool {
        self.base & (BASE_EN | BASE_EXTD) == BASE_EN | BASE_EXTD
    }

    /// "Local APIC state after it has been software disabled": takes no fixed interrupts.
    pub fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.svr & SVR_ENABLED != 0
    }

    /// IA32_APIC_BASE was written. The processor has checked that the change is allowed ("x2APIC state transitions").
    pub fn set_base(&mut self, base: u64) {
        let disabled = self.is_enabled() && base & BASE_EN == 0;
        self.base = base;
        if disabled {
            self.reset();
        }
    }

    /// "Deriving logical x2APIC ID".
    pub fn ldr(&self) -> u32 {
        if self.is_x2() { (self.id >> 4) << 16 | 1 << (self.id & 0xf) } else { u32::from(self.ldr) << 24 }
    }

    /// "Determining IPI destination".
    pub fn is_addressed(&self, destination: u32, logical: bool) -> bool {
        if !self.is_enabled() {
            return false;
        }
        match (destination == BROADCAST, logical, self.is_x2()) {
            (true, ..) => true,
            (_, false, true) => destination == self.id,
            (_, false, false) => destination == self.id & 0xff && destination < 0xff,
            (_, true, true) => destination >> 16 == self.ldr() >> 16 && destination & self.ldr() & 0xffff != 0,
            (_, true, false) if destination > 0xff => false,
            (_, true, false) if self.dfr == 0xf => destination as u8 & self.ldr != 0,
            (_, true, false) => (destination as u8 ^ self.ldr) & 0xf0 == 0 && destination as u8 & self.ldr & 0xf != 0,
        }
    }

    fn error(&mut self, bit: u8) {
        let is_new = self.errors & bit == 0;
        self.errors |= bit;
        let lvt = self.lvt[LVT_ERROR];
        if is_new && lvt & LVT_MASKED == 0 && lvt as u8 >= FIRST_VECTOR {
            self.request(lvt as u8, false);
        }
    }

    /// An error of an access to registers or of a message that this APIC sends.
    pub fn report(&mut self, bit: u8) {
        self.error(bit);
    }

    fn request(&mut self, vector: u8, level: bool) {
        self.irr.set(vector, true);
        self.tmr.set(vector, level);
    }

    /// A message for this APIC.
    pub fn accept(&mut self, delivery: Delivery, vector: u8, level: bool) {
        match delivery {
            Delivery::Fixed | Delivery::LowestPriority if !self.is_software_enabled() => {}
            Delivery::Fixed | Delivery::LowestPriority if vector < FIRST_VECTOR => self.error(ERROR_RECEIVE_VECTOR),
            Delivery::Fixed | Delivery::LowestPriority => self.request(vector, level),
            Delivery::Smi => self.smi = true,
            Delivery::Nmi => self.nmi = true,
            Delivery::Init => {
                self.reset();
                self.init = true;
            }
            Delivery::Sipi => self.sipi = Some(vector),
            Delivery::ExtInt => self.external = true,
        }
    }

    /// "Task and processor priorities".
    pub fn ppr(&self) -> u8 {
        let isr = self.isr.highest().unwrap_or(0) & 0xf0;
        if self.tpr & 0xf0 >= isr { self.tpr } else { isr }
    }

    /// The request that the processor is asked to take.
    pub fn pending(&self) -> Option<u8> {
        self.irr.highest().filter(|vector| self.is_software_enabled() && vector & 0xf0 > self.ppr() & 0xf0)
    }

    /// The PIC asks, and this APIC lets it.
    pub fn external_pending(&self) -> bool {
        // Without the APIC the pins are the processor's INTR and NMI ("Enabling or disabling the local APIC").
        let lvt = self.lvt[LVT_LINT0];
        let lets_through = lvt & (LVT_MASKED | EXTINT) == EXTINT || !self.is_enabled();
        self.external || self.lint[0] && lets_through
    }

    /// Takes what [`pending`](Self::pending) or [`external_pending`](Self::external_pending) offers: `Ok` with the vector
    /// (the spurious one if there is nothing), or `Err` for the PIC's.
    pub fn acknowledge(&mut self) -> Result<u8, ()> {
        if let Some(vector) = self.pending() {
            self.irr.set(vector, false);
            self.isr.set(vector, true);
            return Ok(vector);
        }
        if self.external_pending() {
            self.external = false;
            return Err(());
        }
        Ok(self.svr as u8)
    }

    /// The end of the interrupt in service; its vector if the I/O APICs must know.
    pub fn eoi(&mut self) -> Option<u8> {
        let vector = self.isr.highest()?;
        self.isr.set(vector, false);
        if !self.tmr.has(vector) {
            return None;
        }
        for lvt in &mut self.lvt[LVT_LINT0..LVT_ERROR] {
            if *lvt as u8 == vector {
                *lvt &= !LVT_REMOTE_IRR;
            }
        }
        self.check_lint_levels();
        (self.svr & SVR_SUPPRESS_EOI == 0).then_some(vector)
    }

    /// The level of LINT`n` changed.
    pub fn set_lint(&mut self, n: usize, high: bool) {
        let Some(pin) = self.lint.get_mut(n) else { return };
        let rises = high && !*pin;
        *pin = high;
        if !self.is_enabled() {
            self.nmi |= rises && n == 1;
            return;
        }
        let lvt = self.lvt[LVT_LINT0 + n];
        if rises && lvt & LVT_MASKED == 0 {
            match Delivery::from_bits(lvt >> 8) {
                Some(Delivery::Fixed) if lvt & LVT_LEVEL == 0 => self.accept(Delivery::Fixed, lvt as u8, false),
                Some(delivery @ (Delivery::Smi | Delivery::Nmi | Delivery::Init)) => self.accept(delivery, 0, false),
                // ExtINT follows the level.
                _ => {}
            }
        }
        self.check_lint_levels();
    }

    /// Level-triggered local interrupts ask while their pin is high, once until their end.
    fn check_lint_levels(&mut self) {
        for n in 0..2 {
            let lvt = self.lvt[LVT_LINT0 + n];
            let fixed = Delivery::from_bits(lvt >> 8) == Some(Delivery::Fixed);
            let asks = self.lint[n] && fixed && lvt & (LVT_LEVEL | LVT_MASKED | LVT_REMOTE_IRR) == LVT_LEVEL;
            if asks && self.is_software_enabled() && lvt as u8 >= FIRST_VECTOR {
                self.lvt[LVT_LINT0 + n] |= LVT_REMOTE_IRR;
                self.accept(Delivery::Fixed, lvt as u8, true);
            }
        }
    }

    fn timer_mode(&self) -> Option<TimerMode> {
        match self.lvt[LVT_TIMER] >> 17 & 3 {
            0 => Some(TimerMode::OneShot),
            1 => Some(TimerMode::Periodic),
            2 => Some(TimerMode::TscDeadline),
            _ => None,
        }
    }

    /// ns of a count: the timer's clock is 1 GHz ("Divide configuration register").
    fn divisor(&self) -> u64 {
        1 << (((self.divide >> 1 & 4 | self.divide & 3) + 1) & 7)
    }

    fn period_ns(&self) -> u64 {
        u64::from(self.initial_count) * self.divisor()
    }

    /// Raises what the timer has to raise until `now_ns`.
    pub fn catch_up(&mut self, now_ns: u64) {
        let (seen, now) = (self.seen_ns, now_ns.max(self.seen_ns));
        self.seen_ns = now;
        let (start, period) = (self.start_ns, self.period_ns());
        let expired = match self.timer_mode() {
            Some(TimerMode::TscDeadline) => self.deadline_ns.take_if(|at| *at <= now).is_some(),
            Some(TimerMode::OneShot) if period != 0 => {
                let end = start.saturating_add(period);
                seen < end && end <= now
            }
            Some(TimerMode::Periodic) if period != 0 => {
                now.saturating_sub(start) / period != seen.saturating_sub(start) / period
            }
            _ => false,
        };
        let lvt = self.lvt[LVT_TIMER];
        if expired && lvt & LVT_MASKED == 0 {
            self.accept(Delivery::Fixed, lvt as u8, false);
        }
    }

    /// When, in ns, the timer next raises an interrupt that does not wait already.
    pub fn next_timer_ns(&self) -> Option<u64> {
        let lvt = self.lvt[LVT_TIMER];
        let vector = lvt as u8;
        if lvt & LVT_MASKED != 0 || vector < FIRST_VECTOR || self.irr.has(vector) || !self.is_software_enabled() {
            return None;
        }
        let period = self.period_ns();
        match self.timer_mode()? {
            TimerMode::TscDeadline => self.deadline_ns,
            _ if period == 0 => None,
            TimerMode::OneShot => Some(self.start_ns.saturating_add(period)).filter(|end| *end > self.seen_ns),
            TimerMode::Periodic => {
                let periods = self.seen_ns.saturating_sub(self.start_ns) / period;
                Some(self.start_ns.saturating_add((periods + 1).saturating_mul(period)))
            }
        }
    }

    fn current_count(&self, now_ns: u64) -> u32 {
        let counted = now_ns.saturating_sub(self.start_ns) / self.divisor();
        match (self.timer_mode(), self.initial_count) {
            (_, 0) | (Some(TimerMode::TscDeadline) | None, _) => 0,
            (Some(TimerMode::OneShot), initial) => initial - counted.min(initial.into()) as u32,
            (Some(TimerMode::Periodic), initial) => initial - (counted % u64::from(initial)) as u32,
        }
    }

    /// The deadline of TSC-deadline mode as virtual time in ns; 0 when it is not armed.
    pub fn deadline(&self) -> u64 {
        self.deadline_ns.unwrap_or(0)
    }

    /// Arms TSC-deadline mode for a virtual time in ns, or disarms it with 0; does nothing in other modes ("TSC-deadline
    /// mode").
    pub fn set_deadline(&mut self, at_ns: u64) {
        if self.timer_mode() == Some(TimerMode::TscDeadline) {
            self.deadline_ns = Some(at_ns).filter(|at| *at != 0);
        }
    }

    fn write_lvt(&mut self, n: usize, value: u32) {
        let was = self.timer_mode();
        let forced = if self.is_software_enabled() { 0 } else { LVT_MASKED };
        let kept = self.lvt[n] & LVT_REMOTE_IRR & (value & LVT_LEVEL) >> 1;
        self.lvt[n] = value & LVT_WRITABLE[n] | kept | forced;
        let is = self.timer_mode();
        if was != is && (was == Some(TimerMode::TscDeadline) || is == Some(TimerMode::TscDeadline)) {
            self.initial_count = 0;
            self.deadline_ns = None;
        }
        self.check_lint_levels();
    }

    /// Register `index` (a sixteenth of its offset in the page, or its MSR less 0x800); those that are the same in both
    /// modes.
    pub fn read(&self, index: u32, now_ns: u64) -> Option<u32> {
        let vectors = |set: &Vectors| set.0[index as usize % 8];
        Some(match index {
            0x08 => self.tpr.into(),
            0x09 => 0, // arbitration priority: not in use since the Pentium 4
            0x0a => self.ppr().into(),
            0x0d => self.ldr(),
            0x0e => u32::from(self.dfr) << 28 | 0x0fff_ffff,
            0x0f => self.svr,
            0x10..=0x17 => vectors(&self.isr),
            0x18..=0x1f => vectors(&self.tmr),
            0x20..=0x27 => vectors(&self.irr),
            0x28 => self.esr.into(),
            0x32..=0x37 => self.lvt[index as usize - 0x32],
            0x38 => self.initial_count,
            0x39 => self.current_count(now_ns),
            0x3e => self.divide.into(),
            _ => return None,
        })
    }

    /// As [`read`](Self::read); `None` for a register that cannot be written.
    pub fn write(&mut self, index: u32, value: u32, now_ns: u64) -> Option<()> {
        match index {
            0x08 => self.tpr = value as u8,
            0x0d => self.ldr = (value >> 24) as u8,
            0x0e => self.dfr = (value >> 28) as u8,
            0x0f => {
                self.svr = value & SVR_MASK;
                if self.svr & SVR_ENABLED == 0 {
                    self.lvt.iter_mut().for_each(|lvt| *lvt |= LVT_MASKED);
                }
            }
            0x28 => self.esr = std::mem::take(&mut self.errors),
            0x32..=0x37 => self.write_lvt(index as usize - 0x32, value),
            0x38 if self.timer_mode() == Some(TimerMode::TscDeadline) => {}
            0x38 => {
                self.initial_count = value;
                self.start_ns = now_ns;
            }
            0x3e => {
                let counted = now_ns.saturating_sub(self.start_ns) / self.divisor();
                self.divide = value as u8 & 0xb;
                self.start_ns = now_ns.saturating_sub(counted.saturating_mul(self.divisor()));
            }
            _ => return None,
        }
        Some(())
    }
}
