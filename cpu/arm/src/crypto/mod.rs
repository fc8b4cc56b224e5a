//! The data-processing core of the cryptographic and CRC instructions, as pure functions.
//!
//! A 128-bit vector register is a `u128`: bit 0 of the register is bit 0 of the number, so that element 0 of any width is
//! in the least significant bits. Arguments are named and ordered as in the instructions (`vd`, `vn`, `vm`); an instruction
//! that also reads its destination receives that as its first argument. No function has a precondition or can panic.
//!
//! Source: Arm ARM DDI 0487, C7.2 "Alphabetical list of A64 Advanced SIMD and floating-point instructions", C6.2 for CRC32,
//! and the shared pseudocode of J1.3.
#![forbid(unsafe_code)]

pub mod crc32;
pub mod pmull;
pub mod sha1;
pub mod sha256;
pub mod sha3;
pub mod sha512;
pub mod sm3;
pub mod sm4;

/// The four 32-bit elements of a vector, element 0 first.
fn words(v: u128) -> [u32; 4] {
    [v as u32, (v >> 32) as u32, (v >> 64) as u32, (v >> 96) as u32]
}

/// The vector of four 32-bit elements, element 0 first.
fn from_words(w: [u32; 4]) -> u128 {
    u128::from(w[0]) | u128::from(w[1]) << 32 | u128::from(w[2]) << 64 | u128::from(w[3]) << 96
}

/// The two 64-bit elements of a vector, element 0 first.
fn doublewords(v: u128) -> [u64; 2] {
    [v as u64, (v >> 64) as u64]
}

/// The vector of two 64-bit elements, element 0 first.
fn from_doublewords(d: [u64; 2]) -> u128 {
    u128::from(d[0]) | u128::from(d[1]) << 64
}
