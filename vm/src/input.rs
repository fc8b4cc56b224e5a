//! Keys as every input device and every window means them.

use serde::{Deserialize, Serialize};

/// A key by its place on the keyboard, whatever is printed on it: the usage ID on the keyboard page (0x07) of the USB HID
/// Usage Tables, section 10, "Keyboard/Keypad Page".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyCode(pub u16);

/// Mouse buttons as bits of a mask.
pub mod button {
    /// Left.
    pub const LEFT: u8 = 1 << 0;
    /// Right.
    pub const RIGHT: u8 = 1 << 1;
    /// Middle, or the wheel pressed.
    pub const MIDDLE: u8 = 1 << 2;
    /// Fourth, "back".
    pub const SIDE: u8 = 1 << 3;
    /// Fifth, "forward".
    pub const EXTRA: u8 = 1 << 4;
}
