//! MMX, SSE and AVX on 128-bit values, as pure functions: what the IR's vector operations do not state.
//!
//! A vector is a `u128`, element 0 in the least significant bits. Functions are named after the instructions (SDM vol. 2).

pub mod aes;
pub mod compare_strings;
pub mod float;
pub mod integer;
pub mod sha;

pub(crate) use tcg::lanes::{l8, l16, l32, l64};
