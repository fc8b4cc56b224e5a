//! The translator, for any instruction set.
//!
//! A front end ([`frontend::Frontend`], in `cpu/*`) states the meaning of guest code as [`ir`]; the interpreter
//! ([`interp`]) and the compilers execute it. [`exec`] holds the loop around them, [`softmmu`] the guest's memory,
//! [`cache`] the translated blocks. No instruction set is known here. Start reading at [`ir`], then [`frontend`], then
//! [`exec`]. To add an operation: `ir/mod.rs`, its line in `ir/{build,print,parse,verify}.rs`, one micro-operation in
//! `interp`, one arm in each compiler; the tests in `tests/` run it on every tier.

pub mod aes;
pub mod around;
mod bits;
pub mod cache;
pub mod code_memory;
#[cfg(feature = "cranelift")]
pub mod cranelift;
pub mod env;
mod exclusive;
pub mod exec;
pub mod explain;
pub mod float;
pub mod frontend;
pub mod interp;
pub mod ir;
pub mod lanes;
mod mxcsr;
pub mod opt;
pub mod others;
pub mod runs;
pub mod softmmu;
mod spaces;
pub mod spans;
mod stress;
pub mod targets;
mod trace;
pub mod turns;
pub mod x64;

pub use env::Env;
pub use frontend::{Frontend, Func, Helper};
pub use ir::{Block, HelperId, Lane, Mem, Order, Slot, Terminal, Ty, Val};
