//! What compiled code calls when a memory access is not settled by the TLB, and for operations without host code.
// UNSAFETY: vector functions come back from addresses that `lower` put into the code.

#![allow(unsafe_code)]

use crate::env::Env;
use crate::frontend::Frontend;
use crate::interp::{unpack_atomic, unpack_mem};
use crate::ir::{Mem, Order};

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
}

fn unpack(access: u64) -> (u8, Mem) {
    let order = [Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel][(access >> 17 & 3) as usize];
    let (mmu, align_log2) = ((access >> 8 & 0xf) as u8, (access >> 12 & 0xf) as u8);
    (access as u8, Mem { mmu, align_log2, order, swap: access >> 16 & 1 != 0 })
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

/// A function of two vectors.
pub extern "C" fn vector2<F: Frontend>(env: &mut Env<F>, f: u64) {
    // SAFETY: `lower` passes the address of such a function.
    let f = unsafe { std::mem::transmute::<u64, fn(u128, u128) -> u128>(f) };
    env.vectors[0] = f(env.vectors[0], env.vectors[1]);
}

/// A shift of a vector by a constant.
pub extern "C" fn vector_shift<F: Frontend>(env: &mut Env<F>, f: u64, by: u64) {
    // SAFETY: `lower` passes the address of such a function.
    let f = unsafe { std::mem::transmute::<u64, fn(u128, u32) -> u128>(f) };
    env.vectors[0] = f(env.vectors[0], by as u32);
}
