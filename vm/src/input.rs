//! Keys as every input device and every window means them.

use crate::device::{Device, DeviceCell};
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

/// A machine's keyboard and mouse as windows, viewers and monitors use them.
pub trait Input: Send + Sync {
    /// A key went down (or repeats) or up.
    fn key(&self, key: KeyCode, pressed: bool);
    /// The mouse moved by `dx` to the right and `dy` down, its wheel by `dz` towards the user, and its buttons ([`button`])
    /// are now `buttons`.
    fn mouse(&self, dx: i32, dy: i32, dz: i32, buttons: u8);
}

/// A device with a keyboard and a mouse.
pub trait InputDevice: Device {
    /// See [`Input::key`].
    fn key(&mut self, key: KeyCode, pressed: bool);
    /// See [`Input::mouse`].
    fn mouse(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8);
}

impl<T: InputDevice> Input for DeviceCell<T> {
    fn key(&self, key: KeyCode, pressed: bool) {
        let _ = self.with(|device| device.key(key, pressed));
    }
    fn mouse(&self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        let _ = self.with(|device| device.mouse(dx, dy, dz, buttons));
    }
}
