//! UART with FIFOs, NS16550A, as in PCs. National Semiconductor PC16550D data sheet (TL/C/8652, 1995); section titles are
//! its.
//!
//! The transmitter is infinitely fast: a written character is at the host end before the write returns, so THRE and TEMT
//! are always set. The line has no bit rate; the divisor only remembers its value, but for the time after which a sender
//! is taken to have paused.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use vm::chardev::{CharEvent, CharPort};
use vm::clock::Clock;
use vm::timer::Timers;
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqLine, Mmio, Part, Regs, VmTime, Window};

// Registers ("Summary of registers"); the first two are the divisor while DLAB is set.
const RBR_THR: u64 = 0;
const IER: u64 = 1;
const IIR_FCR: u64 = 2;
const LCR: u64 = 3;
const MCR: u64 = 4;
const LSR: u64 = 5;
const MSR: u64 = 6;
const SCR: u64 = 7;

// IER.
const IER_RX: u8 = 1 << 0;
const IER_TX: u8 = 1 << 1;
const IER_LINE: u8 = 1 << 2;
const IER_MODEM: u8 = 1 << 3;

// IIR ("Interrupt control functions"), highest priority first.
const IIR_LINE: u8 = 0x06;
const IIR_RX: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_TX: u8 = 0x02;
const IIR_MODEM: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
const IIR_FIFOS: u8 = 0xc0;

// FCR.
const FCR_ENABLE: u8 = 1 << 0;
const FCR_CLEAR_RX: u8 = 1 << 1;

// LCR.
const LCR_BREAK: u8 = 1 << 6;
const LCR_DLAB: u8 = 1 << 7;

// MCR.
const MCR_DTR: u8 = 1 << 0;
const MCR_RTS: u8 = 1 << 1;
const MCR_OUT1: u8 = 1 << 2;
const MCR_OUT2: u8 = 1 << 3;
const MCR_LOOP: u8 = 1 << 4;

// LSR.
const LSR_DR: u8 = 1 << 0;
const LSR_OE: u8 = 1 << 1;
const LSR_BI: u8 = 1 << 4;
const LSR_THRE: u8 = 1 << 5;
const LSR_TEMT: u8 = 1 << 6;
/// An error is in the FIFO.
const LSR_FIFO_ERROR: u8 = 1 << 7;

// MSR; the low half says what changed.
const MSR_CTS: u8 = 1 << 4;
const MSR_DSR: u8 = 1 << 5;
const MSR_RI: u8 = 1 << 6;
const MSR_DCD: u8 = 1 << 7;
/// Changes of CTS, DSR and DCD; of RI only the fall counts (TERI).
const MSR_TERI: u8 = 1 << 2;

/// Characters that each FIFO holds.
const FIFO_DEPTH: usize = 16;
/// Clock of the baud-rate generator divided by 16, in Hz.
const BAUD_BASE: u64 = 115_200;
const NS_PER_S: u64 = 1_000_000_000;

/// The UART.
pub struct Ns16550a {
    regs: Ns16550aRegs,
    irq: IrqLine,
    port: Arc<CharPort>,
    clock: Arc<dyn Clock>,
}

/// Its registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ns16550aRegs {
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    divisor: u16,
    /// Errors that LSR shows until it is read: OE, BI.
    errors: u8,
    /// What changed on the modem inputs since MSR was read, and their levels.
    msr: u8,
    /// The transmitter has become empty and nobody was told.
    tx_empty: bool,
    /// Received characters; a break is a zero with its flag.
    rx: VecDeque<(u8, bool)>,
    /// When, in ns of virtual time, the characters in the FIFO count as forgotten ("FIFO interrupt mode operation").
    timeout_ns: Option<u64>,
    /// That has happened.
    timed_out: bool,
}

impl Default for Ns16550aRegs {
    fn default() -> Self {
        Self {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            // Not defined by a reset; 9,600 baud as firmware leaves it.
            divisor: 12,
            errors: 0,
            msr: MSR_CTS | MSR_DSR | MSR_DCD,
            tx_empty: false,
            rx: VecDeque::new(),
            timeout_ns: None,
            timed_out: false,
        }
    }
}

impl Regs for Ns16550aRegs {
    fn validate(&self) -> Result<(), BadState> {
        if self.rx.len() > FIFO_DEPTH {
            return Err(BadState(format!("{} characters in a FIFO of {FIFO_DEPTH}", self.rx.len())));
        }
        Ok(())
    }
}

impl Ns16550aRegs {
    fn has_fifos(&self) -> bool {
        self.fcr & FCR_ENABLE != 0
    }

    fn depth(&self) -> usize {
        if self.has_fifos() { FIFO_DEPTH } else { 1 }
    }

    fn trigger(&self) -> usize {
        if self.has_fifos() { [1, 4, 8, 14][usize::from(self.fcr >> 6)] } else { 1 }
    }

    /// ns of four characters, after which the sender is taken to have paused.
    fn pause_ns(&self) -> u64 {
        let bits = 4 * (1 + 5 + u64::from(self.lcr & 3) + u64::from(self.lcr >> 3 & 1) + 1);
        bits * NS_PER_S / BAUD_BASE * u64::from(self.divisor).clamp(1, 0xffff)
    }

    fn lsr(&self) -> u8 {
        let ready = if self.rx.is_empty() { 0 } else { LSR_DR };
        let in_fifo = self.has_fifos() && self.rx.iter().any(|(_, is_break)| *is_break);
        self.errors | ready | LSR_THRE | LSR_TEMT | if in_fifo { LSR_FIFO_ERROR } else { 0 }
    }

    /// The cause of highest priority, as IIR shows it without the FIFO bits.
    fn cause(&self) -> u8 {
        let line = self.errors & (LSR_OE | LSR_BI) != 0;
        let rx = self.rx.len() >= self.trigger();
        let timeout = self.has_fifos() && self.timed_out && !self.rx.is_empty();
        let causes = [
            (IER_LINE, line, IIR_LINE),
            (IER_RX, rx, IIR_RX),
            (IER_RX, timeout, IIR_TIMEOUT),
            (IER_TX, self.tx_empty, IIR_TX),
            (IER_MODEM, self.msr & 0xf != 0, IIR_MODEM),
        ];
        causes.iter().find(|(enable, raised, _)| self.ier & enable != 0 && *raised).map_or(IIR_NONE, |cause| cause.2)
    }

    /// The character on top of the FIFO has come into sight: its errors are LSR's.
    fn reveal(&mut self) {
        if self.rx.front().is_some_and(|(_, is_break)| *is_break) {
            self.errors |= LSR_BI;
        }
    }

    /// A character, or a break, arrives.
    fn receive(&mut self, byte: u8, is_break: bool, now_ns: u64) {
        if self.rx.len() >= self.depth() {
            self.errors |= LSR_OE;
            // "Line status register": without FIFOs the new character takes the place of the old one.
            if !self.has_fifos() {
                self.rx.clear();
                self.rx.push_back((byte, is_break));
                self.reveal();
            }
            return;
        }
        self.rx.push_back((byte, is_break));
        if self.rx.len() == 1 {
            self.reveal();
        }
        self.restart_timeout(now_ns);
    }

    /// A character came or was read.
    fn restart_timeout(&mut self, now_ns: u64) {
        self.timed_out = false;
        let waits = self.has_fifos() && !self.rx.is_empty();
        self.timeout_ns = waits.then(|| now_ns.saturating_add(self.pause_ns()));
    }

    fn pop(&mut self, now_ns: u64) -> u8 {
        let byte = self.rx.pop_front().map_or(0, |(byte, _)| byte);
        self.reveal();
        self.restart_timeout(now_ns);
        byte
    }

    fn clear_rx(&mut self) {
        self.rx.clear();
        self.timed_out = false;
        self.timeout_ns = None;
    }

    /// The modem inputs: those of a connected peer, or in loopback the modem outputs ("Modem control register").
    fn update_modem(&mut self) {
        let inputs = if self.mcr & MCR_LOOP == 0 {
            MSR_CTS | MSR_DSR | MSR_DCD
        } else {
            let wires = [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)];
            wires.iter().filter(|(output, _)| self.mcr & output != 0).fold(0, |all, (_, input)| all | input)
        };
        let was = self.msr & 0xf0;
        let changed = (inputs ^ was) >> 4 & !MSR_TERI | (was & !inputs & MSR_RI) >> 4;
        self.msr = inputs | self.msr & 0xf | changed;
    }
}

impl Ns16550a {
    /// The cell of a UART whose interrupt drives `irq` and whose line is `port`, on the clock of `timers`. It takes input
    /// when there is some.
    pub fn cell(irq: IrqLine, port: Arc<CharPort>, timers: &Arc<Timers>) -> Arc<DeviceCell<Self>> {
        let clock = timers.clock().clone();
        let chip = Self { regs: Default::default(), irq, port: port.clone(), clock };
        let cell = DeviceCell::with_timers(chip, timers);
        cell.settle();
        let weak = Arc::downgrade(&cell);
        port.on_input(Box::new(move || {
            if let Some(cell) = weak.upgrade() {
                let _ = cell.with(|_| ());
            }
        }));
        cell
    }

    fn now_ns(&self) -> u64 {
        self.clock.now().0
    }

    fn transmit(&mut self, byte: u8) {
        let now = self.now_ns();
        if self.regs.mcr & MCR_LOOP != 0 {
            self.regs.receive(byte, false, now);
        } else {
            self.port.send(&[byte]);
        }
        self.regs.tx_empty = true;
    }

    fn take_input(&mut self) {
        // What does not fit, or comes in loopback, waits in the port, so that nothing typed or pasted is lost.
        let now = self.now_ns();
        while self.regs.mcr & MCR_LOOP == 0 && self.regs.rx.len() < self.regs.depth() {
            match self.port.take() {
                Some(CharEvent::Data(byte)) => self.regs.receive(byte, false, now),
                Some(CharEvent::Break) => self.regs.receive(0, true, now),
                Some(CharEvent::Resize { .. }) => {}
                None => break,
            }
        }
    }

    fn write_fcr(&mut self, value: u8) {
        let r = &mut self.regs;
        // "FIFO control register": a change of the enable bit clears the FIFOs; without it the other bits do nothing.
        if (value ^ r.fcr) & FCR_ENABLE != 0 || value & (FCR_ENABLE | FCR_CLEAR_RX) == FCR_ENABLE | FCR_CLEAR_RX {
            r.clear_rx();
        }
        r.fcr = if value & FCR_ENABLE != 0 { value & 0xc9 } else { 0 };
    }
}

impl Device for Ns16550a {
    type Regs = Ns16550aRegs;
    const MODEL: &'static str = "ns16550a";

    fn regs(&self) -> &Ns16550aRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Ns16550aRegs {
        &mut self.regs
    }

    fn update(&mut self) {
        self.take_input();
        let now = self.now_ns();
        if self.regs.timeout_ns.take_if(|at| *at <= now).is_some() {
            self.regs.timed_out = true;
        }
        // Deviation: PCs let the interrupt through only while OUT2 is set. Here it always passes, as with chips on buses
        // of their own; drivers set OUT2 anyway.
        self.irq.set(self.regs.cause() != IIR_NONE);
    }

    fn deadline(&self) -> Option<VmTime> {
        // Below the trigger and with the interrupt enabled, else nobody would notice.
        let r = &self.regs;
        r.timeout_ns.filter(|_| r.ier & IER_RX != 0 && r.rx.len() < r.trigger()).map(VmTime)
    }
    // `update`, which follows every expiry, looks at the clock by itself.
}

impl Mmio for Ns16550a {
    /// Eight ports (0x3f8 for the first of a PC).
    const WINDOWS: &'static [Window] = &[Window { len: 8, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let now = self.now_ns();
        let r = &mut self.regs;
        let latch = r.lcr & LCR_DLAB != 0;
        let value = match at.offset {
            RBR_THR if latch => r.divisor as u8,
            IER if latch => (r.divisor >> 8) as u8,
            RBR_THR => r.pop(now),
            IER => r.ier,
            IIR_FCR => {
                let cause = r.cause();
                // Reading the register clears this cause if it is the one shown.
                if cause == IIR_TX {
                    r.tx_empty = false;
                }
                cause | if r.has_fifos() { IIR_FIFOS } else { 0 }
            }
            LCR => r.lcr,
            MCR => r.mcr,
            LSR => {
                let lsr = r.lsr();
                r.errors = 0;
                lsr
            }
            MSR => {
                let msr = r.msr;
                r.msr &= 0xf0;
                msr
            }
            SCR => r.scr,
            _ => return Err(BusError::BadOffset),
        };
        Ok(value.into())
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let (now, value) = (self.now_ns(), value as u8);
        let r = &mut self.regs;
        let latch = r.lcr & LCR_DLAB != 0;
        match at.offset {
            RBR_THR if latch => r.divisor = r.divisor & 0xff00 | u16::from(value),
            IER if latch => r.divisor = r.divisor & 0x00ff | u16::from(value) << 8,
            RBR_THR => self.transmit(value),
            IER => {
                // The transmitter is empty: enabling its interrupt raises it.
                r.tx_empty |= value & !r.ier & IER_TX != 0;
                r.ier = value & 0xf;
            }
            IIR_FCR => self.write_fcr(value),
            LCR => {
                let starts_break = value & !r.lcr & LCR_BREAK != 0;
                r.lcr = value;
                if starts_break && r.mcr & MCR_LOOP != 0 {
                    r.receive(0, true, now);
                }
            }
            MCR => {
                r.mcr = value & 0x1f;
                r.update_modem();
            }
            // LSR and MSR are for reading; a factory test may write them.
            LSR | MSR => {}
            SCR => r.scr = value,
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Levels, Ports, check_reset, check_save_load, hammer};
    use std::sync::Mutex;
    use vm::clock::ManualClock;

    struct Bench {
        uart: Arc<DeviceCell<Ns16550a>>,
        port: Arc<CharPort>,
        irq: Arc<Levels>,
        sent: Arc<Mutex<Vec<u8>>>,
        clock: Arc<ManualClock>,
        timers: Arc<Timers>,
    }

    fn bench() -> Bench {
        let (irq, sent) = (Levels::new(), Arc::new(Mutex::new(Vec::new())));
        let clock = Arc::new(ManualClock::new(0));
        let timers = Timers::new(clock.clone());
        let to = sent.clone();
        let port = Arc::new(CharPort::new(move |bytes: &[u8]| to.lock().unwrap().extend_from_slice(bytes)));
        let uart = Ns16550a::cell(IrqLine::to(irq.clone(), 0), port.clone(), &timers);
        Bench { uart, port, irq, sent, clock, timers }
    }

    impl Bench {
        fn r(&self, offset: u64) -> u8 {
            self.uart.inb(0, offset)
        }
        fn w(&self, offset: u64, value: u8) {
            self.uart.outb(0, offset, value);
        }
        fn typed(&self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.port.push(CharEvent::Data(*byte)));
        }
        fn irq(&self) -> bool {
            self.irq.get(0)
        }
    }

    #[test]
    fn reset_values_and_memory() {
        let b = bench();
        let rows = [(RBR_THR, 0), (IER, 0), (IIR_FCR, 1), (LCR, 0), (MCR, 0), (LSR, 0x60), (MSR, 0xb0), (SCR, 0)];
        for (offset, value) in rows {
            assert_eq!(b.r(offset), value, "{offset}");
        }
        for (offset, kept) in [(IER, 0x0f), (MCR, 0x1f), (SCR, 0xff), (LCR, 0xff)] {
            b.w(offset, 0xff);
            assert_eq!(b.r(offset), kept);
        }
        b.w(0, 0x34);
        b.w(1, 0x12);
        assert_eq!((b.r(0), b.r(1)), (0x34, 0x12));
        b.w(LCR, 3);
        assert_eq!((b.r(IER), b.sent.lock().unwrap().len()), (0x0f, 0));
        b.w(IIR_FCR, 1);
        assert_eq!(b.r(IIR_FCR) & 0xc0, 0xc0, "FIFOs are there");
    }

    #[test]
    fn transmitter() {
        let b = bench();
        b.w(0, b'x');
        assert!(!b.irq());
        b.w(IER, IER_TX);
        assert_eq!((b.irq(), b.r(IIR_FCR), b.irq(), b.r(IIR_FCR)), (true, IIR_TX, false, IIR_NONE));
        b.w(0, b'y');
        assert!(b.irq());
        b.w(IER, 0);
        assert!(!b.irq());
        assert_eq!(*b.sent.lock().unwrap(), b"xy");
    }

    #[test]
    fn receiver_without_fifos() {
        let b = bench();
        b.w(IER, IER_RX);
        b.typed(b"ab");
        assert_eq!((b.irq(), b.r(IIR_FCR), b.r(LSR)), (true, IIR_RX, 0x61));
        assert_eq!((b.r(0), b.irq(), b.r(0), b.irq(), b.r(LSR)), (b'a', true, b'b', false, 0x60));
    }

    #[test]
    fn receiver_with_fifos_levels_and_timeout() {
        for (fcr, trigger) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] {
            let b = bench();
            b.w(LCR, 3);
            b.w(IIR_FCR, fcr);
            b.w(IER, IER_RX);
            b.typed(&vec![7; trigger - 1]);
            assert!(!b.irq());
            b.typed(&[7]);
            assert_eq!((b.irq(), b.r(IIR_FCR)), (true, 0xc4));
            b.r(0);
            assert!(!b.irq());
        }
        let b = bench();
        b.w(LCR, 3);
        b.w(IIR_FCR, 0x81);
        b.w(IER, IER_RX);
        b.typed(b"ab");
        // Four characters of ten bits at 9,600 baud.
        let deadline = b.timers.next_deadline().unwrap();
        assert!((4_150_000..4_170_000).contains(&deadline.0), "{deadline:?}");
        b.clock.advance_to(deadline);
        b.timers.expire();
        assert_eq!((b.irq(), b.r(IIR_FCR), b.timers.next_deadline()), (true, 0xcc, None));
        assert_eq!((b.r(0), b.irq()), (b'a', false), "a read starts the time anew");
        assert!(b.timers.next_deadline().is_some());
        b.w(IIR_FCR, 0x83);
        assert_eq!((b.r(LSR), b.timers.next_deadline()), (0x60, None));
        let text: Vec<u8> = (0..40).collect();
        b.typed(&text);
        let read: Vec<u8> = std::iter::from_fn(|| (b.r(LSR) & LSR_DR != 0).then(|| b.r(0))).collect();
        assert_eq!(read, text, "input beyond the FIFO waits");
    }

    #[test]
    fn break_is_shown_when_it_is_on_top() {
        let b = bench();
        b.w(IIR_FCR, 1);
        b.w(IER, IER_LINE);
        b.typed(b"a");
        b.port.push(CharEvent::Break);
        assert_eq!((b.irq(), b.r(LSR)), (false, 0xe1));
        assert_eq!((b.r(0), b.irq(), b.r(IIR_FCR)), (b'a', true, 0xc0 | IIR_LINE));
        assert_eq!((b.r(LSR), b.irq(), b.r(LSR), b.r(0)), (0xf1, false, 0xe1, 0));
        assert_eq!(b.r(LSR), 0x60);
    }

    #[test]
    fn loopback_feeds_back_data_break_overrun_and_modem_lines() {
        let b = bench();
        b.w(MCR, MCR_LOOP);
        assert_eq!(b.r(MSR), 0x0b, "the peer's lines are gone");
        b.w(IER, IER_RX | IER_LINE | IER_MODEM);
        b.w(0, b'q');
        assert_eq!((b.r(IIR_FCR), b.sent.lock().unwrap().len()), (IIR_RX, 0));
        b.w(0, b'r');
        assert_eq!((b.r(IIR_FCR), b.r(LSR), b.r(IIR_FCR), b.r(0)), (IIR_LINE, 0x63, IIR_RX, b'r'));
        b.w(LCR, LCR_BREAK);
        assert_eq!((b.r(LSR), b.r(0)), (0x71, 0));
        b.w(IIR_FCR, 1);
        (0..20).for_each(|n| b.w(0, n));
        assert_eq!(b.r(LSR), 0x63);
        assert_eq!(b.uart.with(|uart| uart.regs.rx.len()), Ok(FIFO_DEPTH));
        b.w(IIR_FCR, 3);
        for (output, input, rise, fall) in [
            (MCR_DTR, MSR_DSR, 2, 2),
            (MCR_RTS, MSR_CTS, 1, 1),
            (MCR_OUT1, MSR_RI, 0, MSR_TERI),
            (MCR_OUT2, MSR_DCD, 8, 8),
        ] {
            b.w(MCR, MCR_LOOP | output);
            assert_eq!((b.irq(), b.r(MSR)), (rise != 0, input | rise));
            b.w(MCR, MCR_LOOP);
            assert_eq!((b.irq(), b.r(IIR_FCR), b.r(MSR), b.irq()), (true, 0xc0, fall, false));
        }
        b.w(MCR, 0);
        b.typed(b"t");
        assert_eq!(b.r(0), b't');
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.w(IER, IER_RX);
        b.typed(b"a");
        check_save_load(&b.uart, || assert_eq!(b.r(0), b'a'));
        let saved = b.uart.save();
        let mut long = saved.clone();
        let body = String::from_utf8(saved.body).unwrap();
        let many = format!("\"rx\":[{}[0,false]]", "[0,false],".repeat(16));
        long.body = body.replace("\"rx\":[]", &many).into_bytes();
        assert!(b.uart.load(&long).is_err());
        let b = bench();
        check_reset(&b.uart, || b.w(SCR, 13));
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        let mut now = 0;
        hammer(&b.uart, 100_000, |random| {
            if random.below(4) == 0 && b.port.peek().is_none() {
                b.port.push(CharEvent::Break);
                b.port.push(CharEvent::Resize { columns: 1, rows: 1 });
                b.port.push(CharEvent::Data(1));
            }
            now += random.below(10_000_000);
            b.clock.advance_to(VmTime(now));
            b.timers.expire();
        });
    }
}
