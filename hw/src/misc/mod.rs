//! What fits nowhere else.

pub mod fw_cfg;
