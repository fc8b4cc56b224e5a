//! The A64 instruction set: one translator method per row of the tables in `*.decode`, one file per section of the
//! manual (Arm ARM DDI 0487, C4.1 "A64 instruction set encoding").
//!
//! To add an instruction: a row in a table, the method of the same name here, a line in the tests.

pub mod branch;
pub mod crypto_insns;
pub mod decode;
pub mod dp_imm;
pub mod dp_reg;
pub mod fp;
pub mod load_store;
pub mod pauth;
pub mod simd;
pub mod simd_load_store;
pub mod system;
mod translator;

pub use translator::{Flags, Next, Translator, translate};

use crate::features::Feature;

include!(concat!(env!("OUT_DIR"), "/a64_formats.rs"));
include!(concat!(env!("OUT_DIR"), "/a64_decoder.rs"));
