//! Keyboards and mice.
//!
//! [`i8042`] is the controller of a PC; [`ps2_keyboard`] and [`ps2_mouse`] are what is plugged into it, without a cell of
//! their own, because their registers belong to the controller's; [`scancodes`] are the codes that keys send.

pub mod i8042;
pub mod ps2_keyboard;
pub mod ps2_mouse;
pub mod scancodes;
