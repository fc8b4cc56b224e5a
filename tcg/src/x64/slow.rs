//! What the templates call: memory accesses that the TLB does not settle, operations without a template.
// UNSAFETY: vector functions come back from addresses that the emitter put into the code.

#![allow(unsafe_code)]

use crate::env::Env;
use crate::frontend::Frontend;
use crate::interp::{BINARY, TYPES, UNARY, unpack_atomic, unpack_mem};
use crate::ir::{Binary, Mem, Order, Ty, Unary};

/// A memory operand with the distance of its instruction, packed into 31 bits.
pub fn pack(bytes: u8, mem: Mem, pc: u32) -> i32 {
    let order = match mem.order {
        Order::Relaxed => 0,
        Order::Acquire => 1,
        Order::Release => 2,
        Order::AcqRel => 3,
    };
    let packed = bytes.trailing_zeros()
        | u32::from(mem.mmu & 0xf) << 3
        | u32::from(mem.align_log2 & 0xf) << 7
        | u32::from(mem.swap) << 11
        | order << 12
        | u32::from(mem.modify) << 14
        | pc << 15;
    packed as i32
}

fn unpack(info: u32) -> (u8, Mem, u32) {
    let order = [Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel][(info >> 12 & 3) as usize];
    let mem = Mem {
        mmu: (info >> 3 & 0xf) as u8,
        align_log2: (info >> 7 & 0xf) as u8,
        order,
        swap: info >> 11 & 1 != 0,
        modify: info >> 14 & 1 != 0,
    };
    (1 << (info & 7), mem, info >> 15)
}

/// A load of up to 8 bytes; `raised` tells whether the result counts.
pub extern "C" fn load<F: Frontend>(env: &mut Env<F>, va: u64, info: u32) -> u64 {
    let (bytes, mem, pc) = unpack(info);
    env.fault_pc = pc;
    env.load_slow(va, bytes, mem).unwrap_or(0) as u64
}

/// A store of up to 8 bytes.
pub extern "C" fn store<F: Frontend>(env: &mut Env<F>, va: u64, info: u32, value: u64) {
    let (bytes, mem, pc) = unpack(info);
    env.fault_pc = pc;
    env.store_slow(va, bytes, value.into(), mem);
}

/// A load of 16 bytes into the first vector.
pub extern "C" fn load_vector<F: Frontend>(env: &mut Env<F>, va: u64, info: u32) {
    let (_, mem, pc) = unpack(info);
    env.fault_pc = pc;
    if let Some(value) = env.load_slow(va, 16, mem) {
        env.vectors[0] = value;
    }
}

/// A store of the first vector.
pub extern "C" fn store_vector<F: Frontend>(env: &mut Env<F>, va: u64, info: u32) {
    let (_, mem, pc) = unpack(info);
    env.fault_pc = pc;
    let value = env.vectors[0];
    env.store_slow(va, 16, value, mem);
}

/// A read-modify-write; `kind` is [`kind_of`](crate::interp::kind_of).
pub extern "C" fn atomic<F: Frontend>(env: &mut Env<F>, va: u64, value: u64, kind: u64, mem: u64) -> u64 {
    let (op, ty) = unpack_atomic(kind);
    env.atomic_slow(op, va, ty.bytes(), value, unpack_mem(mem)).unwrap_or(0)
}

/// A compare-and-exchange: the first vector against memory, the second replaces it; the old contents go to the first.
pub extern "C" fn cmpxchg<F: Frontend>(env: &mut Env<F>, va: u64, bytes: u64, mem: u64) {
    let (expected, new) = (env.vectors[0], env.vectors[1]);
    if let Some(old) = env.cmpxchg_slow(va, bytes as u8, expected, new, unpack_mem(mem)) {
        env.vectors[0] = old;
    }
}

fn index_of<T: PartialEq>(all: &[T], one: &T) -> u64 {
    all.iter().position(|x| x == one).unwrap_or_default() as u64
}

/// What [`binary`] does.
pub fn binary_kind(op: Binary, ty: Ty) -> u64 {
    index_of(BINARY, &op) | index_of(TYPES, &ty) << 16
}

/// An operation on two integers.
pub extern "C" fn binary<F: Frontend>(_: &mut Env<F>, a: u64, b: u64, kind: u64) -> u64 {
    let (op, ty) = (BINARY[(kind & 0xffff) as usize], TYPES[(kind >> 16) as usize]);
    op.eval(ty, a & ty.mask(), b & ty.mask())
}

/// What [`unary`] does.
pub fn unary_kind(op: Unary, ty: Ty) -> u64 {
    index_of(UNARY, &op) | index_of(TYPES, &ty) << 16
}

/// An operation on one integer.
pub extern "C" fn unary<F: Frontend>(_: &mut Env<F>, a: u64, kind: u64) -> u64 {
    let (op, ty) = (UNARY[(kind & 0xffff) as usize], TYPES[(kind >> 16) as usize]);
    op.eval(ty, a & ty.mask())
}

/// A function of one vector.
pub extern "C" fn vector1<F: Frontend>(env: &mut Env<F>, f: u64) {
    // SAFETY: the emitter passes the address of such a function.
    let f = unsafe { std::mem::transmute::<u64, fn(u128) -> u128>(f) };
    env.vectors[0] = f(env.vectors[0]);
}

/// A function of two vectors.
pub extern "C" fn vector2<F: Frontend>(env: &mut Env<F>, f: u64) {
    // SAFETY: the emitter passes the address of such a function.
    let f = unsafe { std::mem::transmute::<u64, fn(u128, u128) -> u128>(f) };
    env.vectors[0] = f(env.vectors[0], env.vectors[1]);
}

/// A shift of a vector by a constant.
pub extern "C" fn vector_shift<F: Frontend>(env: &mut Env<F>, f: u64, by: u64) {
    // SAFETY: the emitter passes the address of such a function.
    let f = unsafe { std::mem::transmute::<u64, fn(u128, u32) -> u128>(f) };
    env.vectors[0] = f(env.vectors[0], by as u32);
}

/// A load of 16 bytes in the other byte order into the first vector.
pub extern "C" fn load_swapped<F: Frontend>(env: &mut Env<F>, va: u64, mem: u64) {
    if let Some(value) = env.load_slow(va, 16, unpack_mem(mem)) {
        env.vectors[0] = value;
    }
}

/// A store of the first vector in the other byte order.
pub extern "C" fn store_swapped<F: Frontend>(env: &mut Env<F>, va: u64, mem: u64) {
    let value = env.vectors[0];
    env.store_slow(va, 16, value, unpack_mem(mem));
}
