//! Arm PrimeCell UART, PL011. Arm DDI 0183G; section numbers are its.
//!
//! The transmitter is infinitely fast: a written character is at the host end before the write returns, so TXFE is always
//! set and BUSY never. The line has no bit rate; the baud-rate registers only remember their values.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use vm::chardev::{CharEvent, CharPort};
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqLine, Mmio, Regs, Window};

// Register offsets (3.2, Summary of registers).
const DR: u64 = 0x000;
const RSR_ECR: u64 = 0x004;
const FR: u64 = 0x018;
const ILPR: u64 = 0x020;
const IBRD: u64 = 0x024;
const FBRD: u64 = 0x028;
const LCR_H: u64 = 0x02c;
const CR: u64 = 0x030;
const IFLS: u64 = 0x034;
const IMSC: u64 = 0x038;
const RIS: u64 = 0x03c;
const MIS: u64 = 0x040;
const ICR: u64 = 0x044;
const DMACR: u64 = 0x048;

// Interrupt bits, the same in IMSC, RIS, MIS and ICR (3.3.10 to 3.3.13).
const INT_RI: u16 = 1 << 0;
const INT_CTS: u16 = 1 << 1;
const INT_DCD: u16 = 1 << 2;
const INT_DSR: u16 = 1 << 3;
const INT_RX: u16 = 1 << 4;
const INT_TX: u16 = 1 << 5;
const INT_RT: u16 = 1 << 6;
const INT_BE: u16 = 1 << 9;
const INT_OE: u16 = 1 << 10;
const INT_ALL: u16 = 0x7ff;

// Error bits above a received character in DR (3.3.1); RSR holds the same shifted down by 8 (3.3.2). There are two more,
// for framing and parity, which do not occur: the host end delivers whole characters.
const DR_BE: u16 = 1 << 10;
const DR_OE: u16 = 1 << 11;

// FR (3.3.3).
const FR_CTS: u16 = 1 << 0;
const FR_DSR: u16 = 1 << 1;
const FR_DCD: u16 = 1 << 2;
const FR_RXFE: u16 = 1 << 4;
const FR_RXFF: u16 = 1 << 6;
const FR_TXFE: u16 = 1 << 7;
const FR_RI: u16 = 1 << 8;

// LCR_H (3.3.7).
const LCR_BRK: u8 = 1 << 0;
const LCR_FEN: u8 = 1 << 4;

// CR (3.3.8). Bits [6:3] are reserved.
const CR_LBE: u16 = 1 << 7;
const CR_RXE: u16 = 1 << 9;
const CR_DTR: u16 = 1 << 10;
const CR_RTS: u16 = 1 << 11;
const CR_OUT1: u16 = 1 << 12;
const CR_OUT2: u16 = 1 << 13;
const CR_MASK: u16 = 0xff87;

/// UARTPeriphID0-3 (3.3.15): revision 1 (r1p1), whose FIFOs are 16 deep.
const PERIPHERAL_ID: [u8; 4] = [0x11, 0x10, 0x14, 0x00];
/// Characters that each FIFO holds.
const FIFO_DEPTH: usize = 16;

/// The UART.
pub struct Pl011 {
    regs: Pl011Regs,
    irq: IrqLine,
    port: Arc<CharPort>,
}

/// Its registers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pl011Regs {
    ilpr: u8,
    ibrd: u16,
    fbrd: u8,
    lcr_h: u8,
    cr: u16,
    ifls: u8,
    imsc: u16,
    ris: u16,
    dmacr: u8,
    rsr: u8,
    /// A character found the FIFO full; read as DR.OE until another fits.
    overrun: bool,
    /// Modem inputs as FR shows them, to detect changes.
    modem: u16,
    /// Received characters with their error bits, as DR gives them.
    rx: VecDeque<u16>,
}

impl Default for Pl011Regs {
    fn default() -> Self {
        Self {
            ilpr: 0,
            ibrd: 0,
            fbrd: 0,
            lcr_h: 0,
            cr: 0x300,
            ifls: 0x12,
            imsc: 0,
            ris: 0,
            dmacr: 0,
            rsr: 0,
            overrun: false,
            modem: 0,
            rx: VecDeque::new(),
        }
    }
}

impl Regs for Pl011Regs {
    fn validate(&self) -> Result<(), BadState> {
        if self.rx.len() > FIFO_DEPTH {
            return Err(BadState(format!("{} characters in a FIFO of {FIFO_DEPTH}", self.rx.len())));
        }
        Ok(())
    }
}

impl Pl011Regs {
    fn rx_depth(&self) -> usize {
        if self.lcr_h & LCR_FEN != 0 { FIFO_DEPTH } else { 1 }
    }

    /// Level at which the receive FIFO asks for service (3.3.9, UARTIFLS).
    fn rx_trigger(&self) -> usize {
        if self.lcr_h & LCR_FEN == 0 {
            return 1;
        }
        match self.ifls >> 3 & 7 {
            0 => FIFO_DEPTH / 8,
            1 => FIFO_DEPTH / 4,
            3 => FIFO_DEPTH * 3 / 4,
            4 => FIFO_DEPTH * 7 / 8,
            // 0b010 is the reset value; the rest is reserved.
            _ => FIFO_DEPTH / 2,
        }
    }

    /// UARTFR is derived, never stored.
    fn flags(&self) -> u16 {
        let empty = if self.rx.is_empty() { FR_RXFE } else { 0 };
        let full = if self.rx.len() >= self.rx_depth() { FR_RXFF } else { 0 };
        FR_TXFE | empty | full | self.modem
    }

    /// The modem inputs: in loopback the modem outputs (3.3.8, LBE), otherwise not asserted.
    fn modem_inputs(&self) -> u16 {
        if self.cr & CR_LBE == 0 {
            return 0;
        }
        [(CR_RTS, FR_CTS), (CR_DTR, FR_DSR), (CR_OUT1, FR_DCD), (CR_OUT2, FR_RI)]
            .iter()
            .filter(|(output, _)| self.cr & output != 0)
            .fold(0, |inputs, (_, input)| inputs | input)
    }

    fn update_modem(&mut self) {
        let inputs = self.modem_inputs();
        let changed = inputs ^ self.modem;
        self.modem = inputs;
        for (input, interrupt) in [(FR_RI, INT_RI), (FR_CTS, INT_CTS), (FR_DCD, INT_DCD), (FR_DSR, INT_DSR)] {
            if changed & input != 0 {
                self.ris |= interrupt;
            }
        }
    }

    /// One character, with its error bits, arrives.
    fn receive(&mut self, character: u16) {
        if self.rx.len() >= self.rx_depth() {
            self.overrun = true;
            self.ris |= INT_OE;
            return;
        }
        self.overrun = false;
        self.rx.push_back(character);
        if character & DR_BE != 0 {
            self.ris |= INT_BE;
        }
        // Deviation: 2.8.2, UARTRXINTR asks for a level, and UARTRTINTR for 32 bit times of silence after fewer
        // characters. There is no bit time here: a sender has always paused. Below the level the timeout interrupt is
        // raised at once, and the receive interrupt with it, because there are guests that enable only the latter and
        // were only ever run where each character raises it. Both stay until the FIFO is empty or they are cleared; a
        // driver that serves either reads until RXFE.
        self.ris |= INT_RX;
        if self.rx.len() < self.rx_trigger() {
            self.ris |= INT_RT;
        }
    }

    fn pop_rx(&mut self) -> u16 {
        let overrun = if self.overrun { DR_OE } else { 0 };
        let character = self.rx.pop_front().unwrap_or(0) | overrun;
        self.rsr = (character >> 8) as u8;
        if self.rx.is_empty() {
            self.ris &= !(INT_RX | INT_RT);
        }
        character
    }

    fn clear_errors(&mut self) {
        self.rsr = 0;
        self.overrun = false;
    }
}

impl Pl011 {
    /// A UART whose combined interrupt UARTINTR drives `irq` and whose line is `port`. Whoever makes the cell sets
    /// [`CharPort::on_input`] so that it settles the cell; [`Pl011::cell`] does.
    pub fn new(irq: IrqLine, port: Arc<CharPort>) -> Self {
        Self { regs: Default::default(), irq, port }
    }

    /// The cell of a UART as [`new`](Pl011::new) makes it, which takes input when there is some.
    pub fn cell(irq: IrqLine, port: Arc<CharPort>) -> Arc<DeviceCell<Self>> {
        let cell = Arc::new(DeviceCell::new(Self::new(irq, port.clone())));
        let weak = Arc::downgrade(&cell);
        port.on_input(Box::new(move || {
            if let Some(cell) = weak.upgrade() {
                let _ = cell.with(|_| ());
            }
        }));
        cell
    }

    fn transmit(&mut self, byte: u8) {
        // Deviation: UARTEN and TXE are not asked, since many a bare-metal guest never sets UARTEN.
        self.port.send(&[byte]);
        if self.regs.cr & CR_LBE != 0 {
            self.regs.receive(byte.into());
        }
        // The FIFO filled and drained through its trigger level while this write was under way (2.8.3, UARTTXINTR).
        self.regs.ris |= INT_TX;
    }

    fn take_input(&mut self) {
        // Deviation: UARTEN is not asked here either. What does not fit, or comes while RXE is clear or in loopback, waits
        // in the port, so that nothing typed or pasted is lost.
        while self.regs.cr & (CR_RXE | CR_LBE) == CR_RXE && self.regs.rx.len() < self.regs.rx_depth() {
            match self.port.take() {
                Some(CharEvent::Data(byte)) => self.regs.receive(byte.into()),
                Some(CharEvent::Break) => self.regs.receive(DR_BE),
                Some(CharEvent::Resize { .. }) => {}
                None => break,
            }
        }
    }
}

impl Device for Pl011 {
    type Regs = Pl011Regs;
    const MODEL: &'static str = "pl011";

    fn regs(&self) -> &Pl011Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Pl011Regs {
        &mut self.regs
    }

    fn update(&mut self) {
        self.take_input();
        self.irq.set(self.regs.ris & self.regs.imsc != 0);
    }
}

impl Mmio for Pl011 {
    const WINDOWS: &'static [Window] = &[Window { len: 0x1000, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let r = &mut self.regs;
        Ok(match at.offset {
            DR => r.pop_rx().into(),
            RSR_ECR => r.rsr.into(),
            FR => r.flags().into(),
            ILPR => r.ilpr.into(),
            IBRD => r.ibrd.into(),
            FBRD => r.fbrd.into(),
            LCR_H => r.lcr_h.into(),
            CR => r.cr.into(),
            IFLS => r.ifls.into(),
            IMSC => r.imsc.into(),
            RIS => r.ris.into(),
            MIS => (r.ris & r.imsc).into(),
            DMACR => r.dmacr.into(),
            offset => return crate::primecell_id(PERIPHERAL_ID, offset).ok_or(BusError::BadOffset),
        })
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let r = &mut self.regs;
        match at.offset {
            DR => self.transmit(value as u8),
            RSR_ECR => r.clear_errors(),
            ILPR => r.ilpr = value as u8,
            IBRD => r.ibrd = value as u16,
            FBRD => r.fbrd = value as u8 & 0x3f,
            LCR_H => {
                let value = value as u8;
                if value & !r.lcr_h & LCR_BRK != 0 && r.cr & CR_LBE != 0 {
                    r.receive(DR_BE);
                }
                r.lcr_h = value;
            }
            CR => {
                r.cr = value as u16 & CR_MASK;
                r.update_modem();
            }
            IFLS => r.ifls = value as u8 & 0x3f,
            IMSC => r.imsc = value as u16 & INT_ALL,
            ICR => r.ris &= !(value as u16),
            DMACR => r.dmacr = value as u8 & 7,
            FR | RIS | MIS => {}
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Levels, Poke, check_reset, check_save_load, hammer};
    use std::sync::Mutex;
    use vm::Part;

    struct Bench {
        uart: Arc<DeviceCell<Pl011>>,
        port: Arc<CharPort>,
        irq: Arc<Levels>,
        sent: Arc<Mutex<Vec<u8>>>,
    }

    fn bench() -> Bench {
        let (irq, sent) = (Levels::new(), Arc::new(Mutex::new(Vec::new())));
        let to = sent.clone();
        let port = Arc::new(CharPort::new(move |bytes: &[u8]| to.lock().unwrap().extend_from_slice(bytes)));
        let uart = Pl011::cell(IrqLine::to(irq.clone(), 0), port.clone());
        Bench { uart, port, irq, sent }
    }

    impl Bench {
        fn typed(&self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.port.push(CharEvent::Data(*byte)));
        }
    }

    #[test]
    fn reset_values() {
        let b = bench();
        let rows = [
            (DR, 0),
            (RSR_ECR, 0),
            (FR, 0x90),
            (ILPR, 0),
            (IBRD, 0),
            (FBRD, 0),
            (LCR_H, 0),
            (CR, 0x300),
            (IFLS, 0x12),
            (IMSC, 0),
            (RIS, 0),
            (MIS, 0),
            (DMACR, 0),
        ];
        for (offset, value) in rows {
            assert_eq!(b.uart.r(offset), value, "{offset:#x}");
        }
        let id: Vec<u64> = (0xfe0..0x1000).step_by(4).map(|offset| b.uart.r(offset)).collect();
        assert_eq!(id, [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
        assert_eq!(b.uart.read_n(ICR, 4), Err(BusError::BadOffset));
        assert_eq!(b.uart.read_n(0x100, 4), Err(BusError::BadOffset));
        assert_eq!(b.uart.read_n(0xfe1, 1), Err(BusError::BadOffset));
        assert_eq!(b.uart.read_n(DR, 8), Err(BusError::BadWidth));
    }

    #[test]
    fn reserved_bits_stay_clear() {
        let b = bench();
        for (offset, kept) in
            [(ILPR, 0xff), (IBRD, 0xffff), (FBRD, 0x3f), (CR, 0xff87), (IFLS, 0x3f), (IMSC, 0x7ff), (DMACR, 7)]
        {
            b.uart.w(offset, 0xffff_ffff);
            assert_eq!(b.uart.r(offset), kept, "{offset:#x}");
        }
    }

    #[test]
    fn transmit_is_immediate_and_raises_tx() {
        let b = bench();
        b.uart.w(IMSC, INT_TX.into());
        assert!(!b.irq.get(0));
        b.uart.w(DR, b'x'.into());
        assert_eq!(*b.sent.lock().unwrap(), b"x");
        assert_eq!((b.uart.r(FR), b.uart.r(MIS), b.irq.get(0)), (0x90, u64::from(INT_TX), true));
        b.uart.w(ICR, INT_TX.into());
        assert_eq!((b.uart.r(RIS), b.irq.get(0)), (0, false));
    }

    #[test]
    fn receive_raises_rx_and_timeout_until_the_fifo_is_empty() {
        let b = bench();
        b.uart.w(LCR_H, LCR_FEN.into());
        b.typed(b"ab");
        assert_eq!((b.uart.r(RIS), b.uart.r(MIS), b.irq.get(0)), (u64::from(INT_RX | INT_RT), 0, false));
        b.uart.w(IMSC, INT_RT.into());
        assert!(b.irq.get(0));
        assert_eq!(b.uart.r(FR) as u16 & (FR_RXFE | FR_RXFF), 0);
        assert_eq!((b.uart.r(DR), b.irq.get(0)), (u64::from(b'a'), true));
        assert_eq!((b.uart.r(DR), b.irq.get(0), b.uart.r(RIS)), (u64::from(b'b'), false, 0));
        b.uart.w(IMSC, INT_RX.into());
        b.typed(b"c");
        assert!(b.irq.get(0));
        b.uart.w(ICR, (INT_RX | INT_RT).into());
        assert!(!b.irq.get(0));
    }

    #[test]
    fn input_beyond_the_fifo_waits_in_the_port() {
        for (lcr_h, depth) in [(0, 1), (LCR_FEN, 16)] {
            let b = bench();
            b.uart.w(LCR_H, lcr_h.into());
            let text: Vec<u8> = (0..40).collect();
            b.typed(&text);
            assert_eq!(b.uart.with(|uart| uart.regs.rx.len()), Ok(depth));
            assert_ne!(b.uart.r(FR) as u16 & FR_RXFF, 0);
            let read: Vec<u8> =
                std::iter::from_fn(|| (b.uart.r(FR) as u16 & FR_RXFE == 0).then(|| b.uart.r(DR) as u8)).collect();
            assert_eq!(read, text);
        }
        let b = bench();
        b.uart.w(CR, 0x101);
        b.typed(b"z");
        assert_ne!(b.uart.r(FR) as u16 & FR_RXFE, 0);
        b.uart.w(CR, 0x301);
        assert_eq!(b.uart.r(DR), u64::from(b'z'));
    }

    #[test]
    fn the_timeout_interrupt_is_for_levels_below_the_trigger() {
        for (ifls, trigger) in [(0, 2), (1, 4), (2, 8), (3, 12), (4, 14), (7, 8)] {
            let b = bench();
            b.uart.w(LCR_H, LCR_FEN.into());
            b.uart.w(IFLS, ifls << 3);
            b.typed(&vec![0; trigger - 1]);
            b.uart.w(ICR, 0x7ff);
            b.typed(&[0]);
            assert_eq!(b.uart.r(RIS), u64::from(INT_RX), "level {trigger}");
        }
    }

    #[test]
    fn break_sets_be_in_dr_rsr_and_ris() {
        let b = bench();
        b.uart.w(IMSC, INT_BE.into());
        b.port.push(CharEvent::Break);
        assert!(b.irq.get(0));
        assert_eq!((b.uart.r(RSR_ECR), b.uart.r(DR), b.uart.r(RSR_ECR)), (0, 0x400, 4));
        assert!(b.irq.get(0), "only UARTICR clears an error interrupt");
        b.uart.w(ICR, INT_BE.into());
        assert!(!b.irq.get(0));
        b.uart.w(RSR_ECR, 0xff);
        assert_eq!(b.uart.r(RSR_ECR), 0);
    }

    #[test]
    fn loopback_feeds_back_data_break_overrun_and_modem_lines() {
        let b = bench();
        b.uart.w(CR, (0x301 | CR_LBE).into());
        b.uart.w(DR, b'q'.into());
        b.uart.w(DR, b'r'.into());
        assert_ne!(b.uart.r(RIS) as u16 & INT_OE, 0);
        assert_eq!((b.uart.r(DR), b.uart.r(RSR_ECR)), (u64::from(DR_OE) | u64::from(b'q'), 8));
        b.uart.w(DR, b's'.into());
        assert_eq!(b.uart.r(DR), u64::from(b's'), "the overrun is over when a character fits again");
        b.uart.w(LCR_H, LCR_BRK.into());
        assert_eq!(b.uart.r(DR), 0x400);
        b.uart.w(ICR, 0x7ff);
        let rows = [(CR_DTR, FR_DSR, INT_DSR), (CR_RTS, FR_CTS, INT_CTS), (CR_OUT1, FR_DCD, INT_DCD)];
        for (output, input, interrupt) in rows.into_iter().chain([(CR_OUT2, FR_RI, INT_RI)]) {
            b.uart.w(CR, (0x301 | CR_LBE | output).into());
            assert_eq!(b.uart.r(FR) as u16 & 0x107, input);
            assert_eq!(b.uart.r(RIS), u64::from(interrupt));
            b.uart.w(CR, (0x301 | CR_LBE).into());
            b.uart.w(ICR, 0x7ff);
        }
        b.uart.w(CR, 0x301);
        b.typed(b"t");
        assert_eq!(b.uart.r(DR), u64::from(b't'));
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.uart.w(IMSC, INT_RX.into());
        b.typed(b"a");
        check_save_load(&b.uart, || {
            b.uart.r(DR);
            assert!(!b.irq.get(0));
        });
        let b = bench();
        b.uart.w(IMSC, INT_RX.into());
        b.typed(b"a");
        let saved = b.uart.save();
        b.uart.r(DR);
        b.uart.load(&saved).unwrap();
        b.uart.settle();
        assert!(b.irq.get(0), "the line follows the loaded registers");
        let b = bench();
        check_reset(&b.uart, || b.uart.w(IBRD, 13));
        let mut saved = b.uart.save();
        let body = String::from_utf8(saved.body).unwrap();
        let long = format!("\"rx\":[{}0]", "0,".repeat(16));
        saved.body = body.replace("\"rx\":[]", &long).into_bytes();
        assert!(b.uart.load(&saved).is_err());
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        hammer(&b.uart, 50_000, |random| {
            if random.below(4) == 0 && b.port.peek().is_none() {
                b.port.push(CharEvent::Break);
                b.port.push(CharEvent::Resize { columns: 1, rows: 1 });
                b.port.push(CharEvent::Data(1));
            }
        });
    }
}
