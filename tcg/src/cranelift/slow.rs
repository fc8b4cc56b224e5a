//! What compiled code calls when a memory access is not settled by the TLB, and for operations without host code.
// UNSAFETY: functions come back from addresses that `lower` put into the code.

#![allow(unsafe_code)]

use crate::env::Env;
use crate::float::ToIntegral;
use crate::frontend::Frontend;
use crate::interp::{unpack_atomic, unpack_mem};
use crate::ir::{Mem, Order};

/// A helper of two integers, its result into the first vector.
pub extern "C" fn call2<F: Frontend>(env: &mut Env<F>, function: u64, a: u64, b: u64) {
    // SAFETY: `float` passes the address of such a helper.
    let function = unsafe { std::mem::transmute::<u64, extern "C" fn(&mut Env<F>, u64, u64) -> u64>(function) };
    env.vectors[0] = function(env, a, b).into();
}

/// An access of `bytes` bytes as a small number.
pub fn pack(bytes: u8, mem: Mem) -> u64 {
    let order = match mem.order {
        Order::Relaxed => 0,
        Order::Acquire => 1,
        Order::Release => 2,
        Order::AcqRel => 3,
    };
    u64::from(bytes)
        | u64::from(mem.mmu) << 8
        | u64::from(mem.align_log2) << 12
        | u64::from(mem.swap) << 16
        | order << 17
        | u64::from(mem.modify) << 19
}

fn unpack(access: u64) -> (u8, Mem) {
    let order = [Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel][(access >> 17 & 3) as usize];
    let (mmu, align_log2) = ((access >> 8 & 0xf) as u8, (access >> 12 & 0xf) as u8);
    let (swap, modify) = (access >> 16 & 1 != 0, access >> 19 & 1 != 0);
    (access as u8, Mem { mmu, align_log2, order, swap, modify })
}

/// A load into the first vector; `raised` tells whether the result counts. `access` is what [`pack`] makes.
pub extern "C" fn load<F: Frontend>(env: &mut Env<F>, va: u64, access: u64, _: u64) {
    let (bytes, mem) = unpack(access);
    if let Some(value) = env.load_slow(va, bytes, mem) {
        env.vectors[0] = value;
    }
}

/// A store of up to 8 bytes.
pub extern "C" fn store<F: Frontend>(env: &mut Env<F>, va: u64, access: u64, value: u64) {
    let (bytes, mem) = unpack(access);
    env.store_slow(va, bytes, value.into(), mem);
}

/// A store of the first vector.
pub extern "C" fn store_vector<F: Frontend>(env: &mut Env<F>, va: u64, access: u64, _: u64) {
    let (bytes, mem) = unpack(access);
    let value = env.vectors[0];
    env.store_slow(va, bytes, value, mem);
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
        // SAFETY: `float` asks for it only where the host has SSE4.1.
        unsafe extern "C" fn singles<const HOW: i32>(v: __m128) -> __m128 {
            _mm_round_ps::<HOW>(v)
        }
        #[allow(improper_ctypes_definitions)]
        #[target_feature(enable = "sse4.1")]
        // SAFETY: `float` asks for it only where the host has SSE4.1.
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
