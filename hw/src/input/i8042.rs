//! Keyboard and auxiliary device controller of a PC (8042), with a PS/2 keyboard and a PS/2 mouse plugged in. IBM Personal
//! System/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device controller"; section titles are its.
//! The A20 gate and the reset are as on the AT (IBM Personal Computer AT Technical Reference, "Keyboard controller").

use super::ps2_keyboard::Keyboard;
use super::ps2_mouse::Mouse;
use super::scancodes::translate;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use vm::input::{InputDevice, KeyCode};
use vm::{Access, BadState, BusError, Device, IrqLine, Mmio, Regs, Window};

// Status register ("Status register").
const STATUS_OBF: u8 = 1 << 0;
const STATUS_SYS: u8 = 1 << 2;
const STATUS_COMMAND: u8 = 1 << 3;
/// The keyboard is not locked.
const STATUS_UNLOCKED: u8 = 1 << 4;
const STATUS_AUX: u8 = 1 << 5;

// Command byte ("Controller command byte"), byte 0 of the controller's RAM.
const KEYBOARD_INTERRUPT: u8 = 1 << 0;
const AUX_INTERRUPT: u8 = 1 << 1;
const SYSTEM_FLAG: u8 = 1 << 2;
const KEYBOARD_OFF: u8 = 1 << 4;
const AUX_OFF: u8 = 1 << 5;
const TRANSLATE: u8 = 1 << 6;

// Output port ("Output port").
const OUT_RUN: u8 = 1 << 0;
const OUT_A20: u8 = 1 << 1;
const OUT_AUX: u8 = 1 << 5;
const OUT_KEYBOARD: u8 = 1 << 4;
/// Bits of the output port that the guest's value decides; the other two are those of the interrupts.
const OUT_STORED: u8 = 0xcf;

/// The test results.
const SELF_TEST_OK: u8 = 0x55;
const LINE_TEST_OK: u8 = 0x00;
/// Input port: keyboard not inhibited, no manufacturing jumper.
const INPUT_PORT: u8 = 0xa0;

/// The break prefix of set 2, which the translation turns into bit 7.
const BREAK: u8 = 0xf0;
/// Answers of the controller that wait: at most one per command, and commands that answer discard older ones.
const REPLIES: usize = 4;

/// Where a byte in the output buffer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Aux,
}

/// A command that takes the next byte written to the data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Parameter {
    Ram(u8),
    OutputPort,
    ToKeyboardBuffer,
    ToAuxBuffer,
    ToAux,
}

/// The lines that the controller drives.
pub struct Lines {
    /// IRQ 1.
    pub keyboard: IrqLine,
    /// IRQ 12.
    pub aux: IrqLine,
    /// High: address line 20 is let through.
    pub a20: IrqLine,
    /// Rises when the processor is to be reset.
    pub reset: IrqLine,
}

/// The controller.
pub struct I8042 {
    regs: I8042Regs,
    lines: Lines,
}

/// Its registers and those of what is plugged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042Regs {
    ram: [u8; 32],
    output_port: u8,
    /// The last byte written was a command.
    command: bool,
    parameter: Option<Parameter>,
    output: Option<(u8, Source)>,
    /// The last byte of the output buffer, which the data port goes on to show.
    last: u8,
    replies: VecDeque<(u8, Source)>,
    /// The translation has seen the break prefix.
    break_seen: bool,
    keyboard: Keyboard,
    mouse: Mouse,
}

impl Default for I8042Regs {
    /// As firmware leaves it, so that a system started without firmware finds keyboard and mouse in working order.
    fn default() -> Self {
        let mut ram = [0; 32];
        ram[0] = KEYBOARD_INTERRUPT | AUX_INTERRUPT | SYSTEM_FLAG | TRANSLATE;
        Self {
            ram,
            output_port: OUT_RUN | OUT_A20 | 0xcc,
            command: false,
            parameter: None,
            output: None,
            last: 0,
            replies: VecDeque::new(),
            break_seen: false,
            keyboard: Keyboard::default(),
            mouse: Mouse::default(),
        }
    }
}

impl Regs for I8042Regs {
    fn validate(&self) -> Result<(), BadState> {
        if self.replies.len() <= REPLIES && self.keyboard.is_possible() && self.mouse.is_possible() {
            return Ok(());
        }
        Err(BadState("a queue is too long, or a mode does not exist".into()))
    }
}

impl I8042Regs {
    fn status(&self) -> u8 {
        let full = match self.output {
            None => 0,
            Some((_, Source::Keyboard)) => STATUS_OBF,
            Some((_, Source::Aux)) => STATUS_OBF | STATUS_AUX,
        };
        let command = if self.command { STATUS_COMMAND } else { 0 };
        full | command | self.ram[0] & SYSTEM_FLAG & STATUS_SYS | STATUS_UNLOCKED
    }

    fn is_full_from(&self, source: Source) -> bool {
        self.output.is_some_and(|(_, from)| from == source)
    }

    fn read_output_port(&self) -> u8 {
        let full = |source, bit| if self.is_full_from(source) { bit } else { 0 };
        self.output_port & OUT_STORED | full(Source::Keyboard, OUT_KEYBOARD) | full(Source::Aux, OUT_AUX)
    }

    fn reply(&mut self, byte: u8, source: Source) {
        if self.replies.len() < REPLIES {
            self.replies.push_back((byte, source));
        }
    }

    /// The next byte for the output buffer: answers of the controller, then the keyboard, then the mouse.
    fn next(&mut self) -> Option<(u8, Source)> {
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        while self.ram[0] & KEYBOARD_OFF == 0 {
            let Some(byte) = self.keyboard.take() else { break };
            if self.ram[0] & TRANSLATE == 0 {
                return Some((byte, Source::Keyboard));
            }
            if byte == BREAK {
                self.break_seen = true;
                continue;
            }
            let release = if std::mem::take(&mut self.break_seen) { 0x80 } else { 0 };
            return Some((translate(byte) | release, Source::Keyboard));
        }
        let aux = if self.ram[0] & AUX_OFF == 0 { self.mouse.take() } else { None };
        aux.map(|byte| (byte, Source::Aux))
    }

    fn write_data(&mut self, byte: u8) {
        self.command = false;
        match self.parameter.take() {
            None => {
                // A byte to a device enables its line.
                self.ram[0] &= !KEYBOARD_OFF;
                self.break_seen = false;
                self.keyboard.write(byte);
            }
            Some(Parameter::ToAux) => {
                self.ram[0] &= !AUX_OFF;
                self.mouse.write(byte);
            }
            Some(Parameter::Ram(at)) => {
                if let Some(cell) = self.ram.get_mut(usize::from(at)) {
                    *cell = byte;
                }
            }
            Some(Parameter::OutputPort) => self.output_port = byte,
            Some(Parameter::ToKeyboardBuffer) => self.reply(byte, Source::Keyboard),
            Some(Parameter::ToAuxBuffer) => self.reply(byte, Source::Aux),
        }
    }

    /// "Controller commands". Those that do not exist do nothing.
    fn write_command(&mut self, command: u8) {
        self.command = true;
        self.parameter = None;
        let answer = match command {
            0x20..=0x3f => self.ram[usize::from(command & 0x1f)],
            0x60..=0x7f => {
                self.parameter = Some(Parameter::Ram(command & 0x1f));
                return;
            }
            0xa9 | 0xab => LINE_TEST_OK,
            0xaa => {
                self.ram[0] |= SYSTEM_FLAG;
                SELF_TEST_OK
            }
            0xc0 => INPUT_PORT,
            0xd0 => self.read_output_port(),
            // "Test inputs": clock lines of keyboard and mouse.
            0xe0 => u8::from(self.ram[0] & KEYBOARD_OFF == 0) | u8::from(self.ram[0] & AUX_OFF == 0) << 1,
            other => {
                match other {
                    0xa7 => self.ram[0] |= AUX_OFF,
                    0xa8 => self.ram[0] &= !AUX_OFF,
                    0xad => self.ram[0] |= KEYBOARD_OFF,
                    0xae => self.ram[0] &= !KEYBOARD_OFF,
                    0xd1 => self.parameter = Some(Parameter::OutputPort),
                    0xd2 => self.parameter = Some(Parameter::ToKeyboardBuffer),
                    0xd3 => self.parameter = Some(Parameter::ToAuxBuffer),
                    0xd4 => self.parameter = Some(Parameter::ToAux),
                    // Not IBM's, but of many controllers since: A20 off and on without a parameter.
                    0xdd => self.output_port &= !OUT_A20,
                    0xdf => self.output_port |= OUT_A20,
                    _ => {}
                }
                return;
            }
        };
        self.replies.clear();
        self.reply(answer, Source::Keyboard);
    }
}

impl I8042 {
    /// A controller that drives `lines`.
    pub fn new(lines: Lines) -> Self {
        Self { regs: Default::default(), lines }
    }

    /// The lights of the keyboard: Scroll Lock in bit 0, Num Lock in 1, Caps Lock in 2.
    pub fn leds(&self) -> u8 {
        self.regs.keyboard.leds()
    }

    fn pulse_reset(&mut self) {
        self.lines.reset.set(true);
        self.lines.reset.set(false);
    }
}

impl Device for I8042 {
    type Regs = I8042Regs;
    const MODEL: &'static str = "i8042";

    fn regs(&self) -> &I8042Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut I8042Regs {
        &mut self.regs
    }

    fn update(&mut self) {
        let r = &mut self.regs;
        if r.output.is_none() {
            r.output = r.next();
            r.last = r.output.map_or(r.last, |(byte, _)| byte);
        }
        let line = |source, enable| r.is_full_from(source) && r.ram[0] & enable != 0;
        self.lines.keyboard.set(line(Source::Keyboard, KEYBOARD_INTERRUPT));
        self.lines.aux.set(line(Source::Aux, AUX_INTERRUPT));
        self.lines.a20.set(r.output_port & OUT_A20 != 0);
    }
}

/// What the guest does not fetch gathers.
impl InputDevice for I8042 {
    fn key(&mut self, key: KeyCode, pressed: bool) {
        self.regs.keyboard.key(key, pressed);
    }
    fn mouse(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        self.regs.mouse.moved(dx, dy, dz, buttons);
    }
}

impl Mmio for I8042 {
    /// Data port (0x60 of a PC), status and command port (0x64).
    const WINDOWS: &'static [Window] = &[Window { len: 1, widths: 1..=1 }, Window { len: 1, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if at.window == 1 {
            return Ok(self.regs.status().into());
        }
        // The line falls before the next byte raises it.
        self.regs.output = None;
        self.lines.keyboard.set(false);
        self.lines.aux.set(false);
        Ok(self.regs.last.into())
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let value = value as u8;
        if at.window == 0 {
            self.regs.write_data(value);
            if self.regs.output_port & OUT_RUN == 0 {
                self.regs.output_port |= OUT_RUN;
                self.pulse_reset();
            }
            return Ok(());
        }
        // "Pulse output port": bits 3:0 that are 0 are pulsed low; bit 0 is the processor's reset.
        if value & 0xf0 == 0xf0 && value & OUT_RUN == 0 {
            self.pulse_reset();
        }
        self.regs.write_command(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Edges, Levels, Ports, check_reset, check_save_load, hammer};
    use std::sync::Arc;
    use vm::{DeviceCell, Part};

    struct Bench {
        kbc: DeviceCell<I8042>,
        levels: Arc<Levels>,
        resets: Arc<Edges>,
    }

    const IRQ1: u32 = 0;
    const IRQ12: u32 = 1;
    const A20: u32 = 2;

    fn bench() -> Bench {
        let (levels, resets) = (Levels::new(), Edges::new());
        let line = |pin| IrqLine::to(levels.clone(), pin);
        let reset = IrqLine::to(resets.clone(), 0);
        let lines = Lines { keyboard: line(IRQ1), aux: line(IRQ12), a20: line(A20), reset };
        let kbc = DeviceCell::new(I8042::new(lines));
        kbc.settle();
        Bench { kbc, levels, resets }
    }

    impl Bench {
        fn data(&self, byte: u8) {
            self.kbc.outb(0, 0, byte);
        }
        fn command(&self, byte: u8) {
            self.kbc.outb(1, 0, byte);
        }
        fn status(&self) -> u8 {
            self.kbc.inb(1, 0)
        }
        /// All that is to be read, by bytes.
        fn bytes(&self) -> Vec<u8> {
            std::iter::from_fn(|| (self.status() & STATUS_OBF != 0).then(|| self.kbc.inb(0, 0))).collect()
        }
        fn key(&self, key: u16, pressed: bool) {
            self.kbc.with(|kbc| kbc.key(KeyCode(key), pressed)).unwrap();
        }
        fn irqs(&self) -> (bool, bool) {
            (self.levels.get(IRQ1), self.levels.get(IRQ12))
        }
    }

    #[test]
    fn self_tests_and_ports() {
        let b = bench();
        assert_eq!((b.status(), b.irqs(), b.levels.get(A20)), (0x14, (false, false), true));
        for (command, answer) in
            [(0xaa, 0x55), (0xab, 0), (0xa9, 0), (0xc0, 0xa0), (0xd0, 0xcf), (0xe0, 3), (0x20, 0x47)]
        {
            b.command(command);
            assert_eq!((b.status(), b.bytes()), (0x1d, vec![answer]), "{command:#x}");
        }
        b.command(0x65);
        b.data(0x99);
        b.command(0x25);
        assert_eq!(b.bytes(), [0x99]);
        b.command(0xd0);
        b.command(0xaa);
        assert_eq!(b.bytes(), [0xcf, 0x55], "one is in the buffer, one waits");
        for command in [0x00, 0x8f, 0xa7, 0xa8, 0xad, 0xae, 0xdd, 0xdf] {
            b.command(command);
            assert!(b.bytes().is_empty());
        }
    }

    #[test]
    fn a20_and_reset() {
        let b = bench();
        b.command(0xdd);
        assert!(!b.levels.get(A20));
        b.command(0xd1);
        b.data(0xdf);
        assert!(b.levels.get(A20));
        b.command(0xd1);
        b.data(0xdd);
        assert_eq!((b.levels.get(A20), b.resets.take(0)), (false, 0));
        b.command(0xff);
        assert_eq!(b.resets.take(0), 0);
        b.command(0xfe);
        assert_eq!(b.resets.take(0), 1);
        b.command(0xd1);
        b.data(0xde);
        assert_eq!((b.levels.get(A20), b.resets.take(0)), (true, 1));
    }

    #[test]
    fn keys_are_translated_and_interrupt_byte_by_byte() {
        let b = bench();
        b.key(0x52, true); // Up
        assert_eq!((b.status() & 0x21, b.irqs(), b.kbc.inb(0, 0)), (0x01, (true, false), 0xe0));
        assert_eq!((b.irqs(), b.kbc.inb(0, 0), b.irqs()), ((true, false), 0x48, (false, false)));
        assert_eq!(b.kbc.inb(0, 0), 0x48, "an empty buffer shows its last byte");
        b.key(0x52, false);
        assert_eq!(b.bytes(), [0xe0, 0xc8]);
        b.command(0x60);
        b.data(0x04); // no translation, no interrupts
        b.key(0x04, true);
        b.key(0x04, false);
        assert!(!b.levels.get(IRQ1));
        assert_eq!(b.bytes(), [0x1c, 0xf0, 0x1c]);
        b.data(0xf2);
        assert_eq!(b.bytes(), [0xfa, 0xab, 0x83]);
        b.command(0x60);
        b.data(0x45);
        b.data(0xf2);
        assert_eq!(b.bytes(), [0xfa, 0xab, 0x41]);
        b.data(0xed);
        b.data(0x02);
        assert_eq!((b.bytes(), b.kbc.with(|kbc| kbc.leds())), (vec![0xfa, 0xfa], Ok(2)));
    }

    #[test]
    fn lines_that_are_off_hold_bytes_back() {
        let b = bench();
        b.command(0xad);
        b.key(0x04, true);
        assert!(b.bytes().is_empty());
        b.command(0xae);
        assert_eq!(b.bytes(), [0x1e]);
        b.command(0xad);
        b.data(0xee);
        assert_eq!(b.bytes(), [0xee], "a byte to the keyboard enables it");
        b.command(0xa7);
        b.command(0xd4);
        b.data(0xf4);
        assert_eq!(b.bytes(), [0xfa]);
        b.command(0xa7);
        b.kbc.with(|kbc| kbc.mouse(1, 1, 0, 0)).unwrap();
        assert_eq!((b.bytes(), b.irqs()), (vec![], (false, false)));
        b.command(0xa8);
        assert_eq!((b.irqs(), b.status() & 0x21), ((false, true), 0x21));
        assert_eq!((b.bytes(), b.irqs()), (vec![0x28, 1, 0xff], (false, false)));
    }

    #[test]
    fn bytes_put_into_the_buffer() {
        let b = bench();
        for (command, irqs) in [(0xd2, (true, false)), (0xd3, (false, true))] {
            b.command(command);
            b.data(0x5a);
            assert_eq!((b.irqs(), b.bytes()), (irqs, vec![0x5a]));
        }
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.key(0x04, true);
        check_save_load(&b.kbc, || assert_eq!(b.bytes(), [0x1e]));
        let b = bench();
        check_reset(&b.kbc, || b.command(0xdd));
        b.key(0x04, true);
        let saved = b.kbc.save();
        b.bytes();
        b.kbc.load(&saved).unwrap();
        b.kbc.settle();
        assert!(b.levels.get(IRQ1), "the line follows the loaded registers");
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        hammer(&b.kbc, 200_000, |random| {
            if random.below(3) == 0 {
                b.key(random.below(0x100) as u16, random.below(2) == 0);
                let by = random.next() as i32;
                b.kbc.with(|kbc| kbc.mouse(by, -(by / 2), by >> 20, by as u8)).unwrap();
            }
        });
        assert!(b.kbc.with(|kbc| kbc.regs.validate()).unwrap().is_ok());
    }
}
