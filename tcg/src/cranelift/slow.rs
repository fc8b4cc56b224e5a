//! What compiled code calls when a memory access is not settled by the TLB, and for operations without host code.
// UNSAFETY: vector functions come back from addresses that `lower` put into the code.

#![allow(unsafe_code)]

use crate::env::Env;
use crate::float::ToIntegral;
use crate::frontend::Frontend;
use crate::interp::{unpack_atomic, unpack_mem};

/// A load of up to 8 bytes; `raised` tells whether the result counts.
pub extern "C" fn load<F: Frontend>(env: &mut Env<F>, va: u64, bytes: u64, mem: u64) -> u64 {
    env.load_slow(va, bytes as u8, unpack_mem(mem)).unwrap_or(0) as u64
}

/// A load of 16 bytes into the first vector.
pub extern "C" fn load_vector<F: Frontend>(env: &mut Env<F>, va: u64, mem: u64) {
    if let Some(value) = env.load_slow(va, 16, unpack_mem(mem)) {
        env.vectors[0] = value;
    }
}

/// A store of up to 8 bytes.
pub extern "C" fn store<F: Frontend>(env: &mut Env<F>, va: u64, value: u64, bytes: u64, mem: u64) {
    env.store_slow(va, bytes as u8, value.into(), unpack_mem(mem));
}

/// A store of the first vector.
pub extern "C" fn store_vector<F: Frontend>(env: &mut Env<F>, va: u64, mem: u64) {
    let value = env.vectors[0];
    env.store_slow(va, 16, value, unpack_mem(mem));
}

/// A read-modify-write; `kind` is [`kind_of`](crate::interp::kind_of).
pub extern "C" fn atomic<F: Frontend>(env: &mut Env<F>, va: u64, value: u64, kind: u64, mem: u64) -> u64 {
    let (op, ty) = unpack_atomic(kind);
    env.atomic_slow(op, va, ty.bytes(), value, unpack_mem(mem)).unwrap_or(0)
}

/// A compare-and-exchange of `bytes` bytes: the first vector against memory, the second replaces it; the old contents
/// go to the first vector.
pub extern "C" fn cmpxchg<F: Frontend>(env: &mut Env<F>, va: u64, bytes: u64, mem: u64) {
    let (expected, new) = (env.vectors[0], env.vectors[1]);
    if let Some(old) = env.cmpxchg_slow(va, bytes as u8, expected, new, unpack_mem(mem)) {
        env.vectors[0] = old;
    }
}

/// A function of one vector.
pub extern "C" fn vector1<F: Frontend>(env: &mut Env<F>, f: u64) {
    // SAFETY: `lower` passes the address of such a function.
    let f = unsafe { std::mem::transmute::<u64, fn(u128) -> u128>(f) };
    env.vectors[0] = f(env.vectors[0]);
}

/// The address of a function that rounds the numbers in a vector to integral ones without raising inexact, which no code
/// of Cranelift's does. It takes and gives the vector in the convention of C.
pub fn round(single: bool, rounding: ToIntegral) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128, __m128d, _mm_round_pd, _mm_round_ps};
        /// Precision exceptions are suppressed.
        const QUIET: i32 = 8;
        // The calling convention passes these types in XMM0.
        #[allow(improper_ctypes_definitions)]
        #[target_feature(enable = "sse4.1")]
        unsafe extern "C" fn singles<const HOW: i32>(v: __m128) -> __m128 {
            _mm_round_ps::<HOW>(v)
        }
        #[allow(improper_ctypes_definitions)]
        #[target_feature(enable = "sse4.1")]
        unsafe extern "C" fn doubles<const HOW: i32>(v: __m128d) -> __m128d {
            _mm_round_pd::<HOW>(v)
        }
        match (single, rounding) {
            (true, ToIntegral::Nearest) => singles::<QUIET> as *const () as usize,
            (true, ToIntegral::Down) => singles::<{ QUIET | 1 }> as *const () as usize,
            (true, ToIntegral::Up) => singles::<{ QUIET | 2 }> as *const () as usize,
            (true, ToIntegral::Zero) => singles::<{ QUIET | 3 }> as *const () as usize,
            (false, ToIntegral::Nearest) => doubles::<QUIET> as *const () as usize,
            (false, ToIntegral::Down) => doubles::<{ QUIET | 1 }> as *const () as usize,
            (false, ToIntegral::Up) => doubles::<{ QUIET | 2 }> as *const () as usize,
            (false, ToIntegral::Zero) => doubles::<{ QUIET | 3 }> as *const () as usize,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (single, rounding);
        unreachable!("other hosts inline no floating point")
    }
}
