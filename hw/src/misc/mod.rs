//! What fits nowhere else.

pub mod debug_exit;
pub mod debugcon;
pub mod fw_cfg;
pub mod gates;
pub mod port92;
pub mod pvpanic;
pub mod rom;
