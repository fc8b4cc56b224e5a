//! A PS/2 keyboard. IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-key)"; section
//! titles are its.

use super::scancodes::{EXTENDED, PAUSE, PRINT_SCREEN, set2, set3, translate};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use vm::input::KeyCode;

/// "Keyboard buffer": bytes of keys that wait for the system.
const KEYS: usize = 16;
/// Answers to commands that wait; a new command discards them.
const REPLIES: usize = 4;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const BAT_OK: u8 = 0xaa;
/// "Read ID".
const ID: [u8; 2] = [0xab, 0x83];
const BREAK: u8 = 0xf0;

/// A command whose parameter comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Parameter {
    Leds,
    ScanSet,
    Typematic,
    /// Any number of set 3 codes, until a command.
    KeyTypes,
}

/// The keyboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    /// Sends keys.
    scanning: bool,
    /// 1 to 3.
    set: u8,
    /// Scroll Lock in bit 0, Num Lock in 1, Caps Lock in 2.
    leds: u8,
    typematic: u8,
    parameter: Option<Parameter>,
    replies: VecDeque<u8>,
    keys: VecDeque<u8>,
    /// For "Resend".
    last: u8,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            scanning: true,
            set: 2,
            leds: 0,
            typematic: 0x2b,
            parameter: None,
            replies: VecDeque::new(),
            keys: VecDeque::new(),
            last: 0,
        }
    }
}

impl Keyboard {
    /// Whether a restored keyboard could be.
    pub(super) fn is_possible(&self) -> bool {
        (1..=3).contains(&self.set) && self.keys.len() <= KEYS && self.replies.len() <= REPLIES
    }

    /// The lights that the guest has switched on: Scroll Lock in bit 0, Num Lock in 1, Caps Lock in 2.
    pub fn leds(&self) -> u8 {
        self.leds
    }

    /// The next byte for the system.
    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = self.replies.pop_front().or_else(|| self.keys.pop_front())?;
        self.last = byte;
        Some(byte)
    }

    /// A key went down (or repeats) or up.
    ///
    /// Deviation: the keyboard does not repeat by itself; who presses the key does ("Typematic rate/delay" is only
    /// remembered), because hosts repeat by their own settings.
    pub(super) fn key(&mut self, key: KeyCode, pressed: bool) {
        if !self.scanning {
            return;
        }
        let mut codes = Sequence::default();
        match self.set {
            3 => {
                if let Some(code) = set3(key) {
                    codes.key(code.into(), pressed, 3);
                }
            }
            set => match key {
                PAUSE if pressed => {
                    codes.push(0xe1);
                    [(0x14, true), (0x77, true)].into_iter().for_each(|(code, down)| codes.key(code, down, set));
                    codes.push(0xe1);
                    [(0x14, false), (0x77, false)].into_iter().for_each(|(code, down)| codes.key(code, down, set));
                }
                // Deviation: as if no shift key were held, when the codes around it would differ.
                PRINT_SCREEN => {
                    let sequence = [EXTENDED | 0x12, EXTENDED | 0x7c];
                    let order = if pressed { [0, 1] } else { [1, 0] };
                    order.into_iter().for_each(|n| codes.key(sequence[n], pressed, set));
                }
                key => {
                    if let Some(code) = set2(key) {
                        codes.key(code, pressed, set);
                    }
                }
            },
        }
        let bytes = codes.0;
        if self.keys.len() + bytes.len() < KEYS {
            self.keys.extend(bytes);
            return;
        }
        // "Keyboard buffer": the overrun code stands for what does not fit.
        let overrun = if self.set == 1 { 0xff } else { 0x00 };
        if self.keys.len() < KEYS && self.keys.back() != Some(&overrun) {
            self.keys.push_back(overrun);
        }
    }

    fn reply(&mut self, bytes: &[u8]) {
        self.replies.extend(bytes.iter().take(REPLIES - self.replies.len().min(REPLIES)));
    }

    /// "Default": typematic rate, key types and an empty buffer; not the lights.
    fn set_default(&mut self) {
        *self = Self { leds: self.leds, last: self.last, ..Self::default() };
    }

    /// A byte from the system.
    pub(super) fn write(&mut self, byte: u8) {
        if byte != 0xfe {
            self.replies.clear();
        }
        match self.parameter {
            // A command takes the place of a parameter.
            Some(parameter) if byte < 0xed => self.parameter(parameter, byte),
            _ => {
                self.parameter = None;
                self.command(byte);
            }
        }
    }

    fn parameter(&mut self, parameter: Parameter, byte: u8) {
        if parameter != Parameter::KeyTypes {
            self.parameter = None;
        }
        match parameter {
            Parameter::Leds => self.leds = byte & 7,
            Parameter::Typematic => self.typematic = byte & 0x7f,
            Parameter::KeyTypes => {}
            Parameter::ScanSet => match byte {
                0 => return self.reply(&[ACK, self.set]),
                1..=3 => {
                    self.set = byte;
                    self.keys.clear();
                }
                _ => return self.reply(&[RESEND]),
            },
        }
        self.reply(&[ACK]);
    }

    /// "Commands from the system".
    fn command(&mut self, byte: u8) {
        match byte {
            0xed => self.parameter = Some(Parameter::Leds),
            0xee => return self.reply(&[0xee]), // "Echo"
            0xf0 => {
                self.parameter = Some(Parameter::ScanSet);
                self.keys.clear();
            }
            0xf2 => return self.reply(&[ACK, ID[0], ID[1]]),
            0xf3 => self.parameter = Some(Parameter::Typematic),
            0xf4 => {
                self.keys.clear();
                self.scanning = true;
            }
            0xf5 => {
                self.set_default();
                self.scanning = false;
            }
            0xf6 => self.set_default(),
            // Which keys of set 3 repeat and have break codes. Deviation: all do, whatever is asked for.
            0xf7..=0xfa => {}
            0xfb..=0xfd => self.parameter = Some(Parameter::KeyTypes),
            0xfe => {
                let last = self.last;
                return self.replies.push_front(last);
            }
            0xff => {
                *self = Self::default();
                return self.reply(&[ACK, BAT_OK]);
            }
            _ => return self.reply(&[RESEND]),
        }
        self.reply(&[ACK]);
    }
}

/// The bytes of one key event.
#[derive(Default)]
struct Sequence(Vec<u8>);

impl Sequence {
    fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// A code of set 2 or 3 in the terms of `set`.
    fn key(&mut self, code: u16, pressed: bool, set: u8) {
        if code & 0xff00 == EXTENDED {
            self.push(0xe0);
        }
        let code = code as u8;
        match (set, pressed) {
            (1, true) => self.push(translate(code)),
            (1, false) => self.push(translate(code) | 0x80),
            (_, true) => self.push(code),
            (_, false) => self.0.extend([BREAK, code]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(keyboard: &mut Keyboard) -> Vec<u8> {
        std::iter::from_fn(|| keyboard.take()).collect()
    }

    #[track_caller]
    fn check(commands: &[u8], reply: &[u8]) {
        let mut keyboard = Keyboard::default();
        commands.iter().for_each(|byte| keyboard.write(*byte));
        assert_eq!(bytes(&mut keyboard), reply, "{commands:x?}");
    }

    #[test]
    fn commands() {
        check(&[0xee], &[0xee]);
        check(&[0xf2], &[0xfa, 0xab, 0x83]);
        check(&[0xff], &[0xfa, 0xaa]);
        check(&[0xf0, 0], &[0xfa, 2]);
        check(&[0xf0, 4], &[0xfe]);
        check(&[0xec], &[0xfe]);
        check(&[0xfb, 0x1c, 0x1d], &[0xfa]);
        check(&[0xfb, 0x1c, 0xee], &[0xee]);
        let mut keyboard = Keyboard::default();
        keyboard.write(0xed);
        assert_eq!(bytes(&mut keyboard), [0xfa]);
        keyboard.write(0xfa & 0x07);
        assert_eq!((bytes(&mut keyboard), keyboard.leds()), (vec![0xfa], 2));
        keyboard.write(0xf2);
        assert_eq!(keyboard.take(), Some(0xfa));
        keyboard.write(0xfe);
        assert_eq!(bytes(&mut keyboard), [0xfa, 0xab, 0x83], "resent, then the rest");
    }

    #[test]
    fn keys_in_all_sets() {
        type Codes = [&'static [u8]; 3];
        let rows: [(u16, Codes, Codes); 4] = [
            (0x04, [&[0x1e], &[0x1c], &[0x1c]], [&[0x9e], &[0xf0, 0x1c], &[0xf0, 0x1c]]),
            (0x52, [&[0xe0, 0x48], &[0xe0, 0x75], &[0x63]], [&[0xe0, 0xc8], &[0xe0, 0xf0, 0x75], &[0xf0, 0x63]]),
            (
                0x46,
                [&[0xe0, 0x2a, 0xe0, 0x37], &[0xe0, 0x12, 0xe0, 0x7c], &[0x57]],
                [&[0xe0, 0xb7, 0xe0, 0xaa], &[0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12], &[0xf0, 0x57]],
            ),
            (
                0x48,
                [&[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], &[0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77], &[0x62]],
                [&[], &[], &[0xf0, 0x62]],
            ),
        ];
        for (key, make, release) in rows {
            for set in 1..=3 {
                let mut keyboard = Keyboard::default();
                keyboard.write(0xf0);
                keyboard.write(set);
                bytes(&mut keyboard);
                let n = usize::from(set) - 1;
                for (pressed, expect) in [(true, make[n]), (false, release[n])] {
                    keyboard.key(KeyCode(key), pressed);
                    assert_eq!(bytes(&mut keyboard), expect, "{key:#x} {set} {pressed}");
                }
            }
        }
    }

    #[test]
    fn a_full_buffer_ends_with_the_overrun_code() {
        for (set, code) in [(1, 0xff), (2, 0x00)] {
            let mut keyboard = Keyboard { set, ..Keyboard::default() };
            (0..100).for_each(|n| keyboard.key(KeyCode(4), n % 2 == 0));
            assert!(keyboard.is_possible());
            let bytes = bytes(&mut keyboard);
            assert_eq!((bytes.len(), bytes.last()), (KEYS, Some(&code)));
        }
    }

    #[test]
    fn disabled_keyboards_are_silent_and_keys_wait_behind_answers() {
        let mut keyboard = Keyboard::default();
        keyboard.write(0xf5);
        bytes(&mut keyboard);
        keyboard.key(KeyCode(4), true);
        assert!(bytes(&mut keyboard).is_empty());
        keyboard.write(0xf4);
        keyboard.key(KeyCode(4), true);
        assert_eq!(bytes(&mut keyboard), [0xfa, 0x1c]);
    }
}
