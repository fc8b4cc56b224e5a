//! Executes micro-operations.
// UNSAFETY: operands are byte offsets from the start of the vCPU's environment, and guest RAM is reached by host
// pointers. `decode` makes only offsets of slots and temporaries; pointers come from TLB entries.

#![allow(unsafe_code)]

use super::vector::{Vector1, Vector2, VectorShift};
use super::{Operation as O, Uop};
use crate::cache::Block;
use crate::env::Env;
use crate::frontend::{Frontend, Func};
use crate::ir::{AtomicOp, Binary, Cond, FloatCond, Lane, Mem, Order, Ty, Unary};
use crate::softmmu::{ENTRIES, REGIMES, read_host, write_host};
use std::sync::atomic::{Ordering, fence};

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Exit {
    /// By its first fixed exit; the program counter is set.
    First = 0,
    /// By its second fixed exit; the program counter is set.
    Second = 1,
    /// To an address in the program counter's slot, in the same mode.
    Indirect = 2,
    /// To where the program counter and the mode say.
    Resync = 3,
    /// An exception was raised at `fault_pc`; the program counter is still the block's.
    Raised = 4,
}

/// Pages are this large in the TLB.
const PAGE: u64 = vm::ram::PAGE_SIZE;

/// The memory operand packed into a micro-operation's constant, above its displacement.
pub(crate) fn pack_mem(displacement: i32, mem: Mem) -> u64 {
    let order = match mem.order {
        Order::Relaxed => 0,
        Order::Acquire => 1,
        Order::Release => 2,
        Order::AcqRel => 3,
    };
    u64::from(displacement as u32)
        | u64::from(mem.mmu) << 32
        | u64::from(mem.align_log2) << 36
        | u64::from(mem.swap) << 40
        | order << 41
        | u64::from(mem.modify) << 43
}

pub(crate) fn unpack_mem(imm: u64) -> Mem {
    let order = [Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel][(imm >> 41 & 3) as usize];
    Mem {
        mmu: (imm >> 32 & 0xf) as u8,
        align_log2: (imm >> 36 & 0xf) as u8,
        order,
        swap: imm >> 40 & 1 != 0,
        modify: imm >> 43 & 1 != 0,
    }
}

/// The tables behind the generic codes; `imm` packs an index and a type.
pub(crate) const BINARY: &[Binary] = &[
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::MulHiU,
    Binary::MulHiS,
    Binary::DivU,
    Binary::DivS,
    Binary::And,
    Binary::Or,
    Binary::Xor,
    Binary::AndNot,
    Binary::Shl,
    Binary::Shr,
    Binary::Sar,
    Binary::Ror,
];
pub(crate) const UNARY: &[Unary] =
    &[Unary::Not, Unary::Neg, Unary::Clz, Unary::Ctz, Unary::BitRev, Unary::ByteRev, Unary::Popcount];
pub(super) const CONDS: &[Cond] = &[Cond::Eq, Cond::Ne, Cond::LtU, Cond::LeU, Cond::LtS, Cond::LeS];
pub(super) const ATOMICS: &[AtomicOp] = &[
    AtomicOp::Swap,
    AtomicOp::Add,
    AtomicOp::AndNot,
    AtomicOp::Or,
    AtomicOp::Xor,
    AtomicOp::MinS,
    AtomicOp::MaxS,
    AtomicOp::MinU,
    AtomicOp::MaxU,
];
pub(crate) const TYPES: &[Ty] = &[Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128];

fn packed<T: Copy>(table: &[T], imm: u64) -> (T, Ty) {
    (table[(imm & 0xff) as usize], TYPES[(imm >> 8 & 0xff) as usize])
}

/// A read-modify-write's operation and type as a number.
pub(crate) fn kind_of(op: AtomicOp, ty: Ty) -> u64 {
    let position = |at: Option<usize>| at.expect("the tables list every variant") as u64;
    position(ATOMICS.iter().position(|o| *o == op)) | position(TYPES.iter().position(|t| *t == ty)) << 8
}

/// What [`kind_of`] packed.
pub(crate) fn unpack_atomic(kind: u64) -> (AtomicOp, Ty) {
    packed(ATOMICS, kind)
}

/// Executes a block from its start; the budget is the caller's business.
///
/// # Safety
/// `block` must have been decoded for `F`.
pub(crate) unsafe fn run<F: Frontend>(env: &mut Env<F>, block: &Block) -> Exit {
    let base = (&raw mut *env).cast::<u8>();
    let uops: &[Uop] = &block.code.uops;
    let mut next = uops.as_ptr();

    // SAFETY of the macros: `decode` emits only offsets of state slots and temporaries, all inside `Env`.
    macro_rules! cell {
        ($offset:expr, $t:ty) => {
            // SAFETY: see above; cells are aligned for what they hold.
            (*unsafe { &mut *base.add(usize::from($offset)).cast::<$t>() })
        };
    }
    macro_rules! env {
        () => {
            // SAFETY: `base` is the environment that this function borrows exclusively.
            unsafe { &mut *base.cast::<Env<F>>() }
        };
    }
    macro_rules! raised {
        ($uop:expr) => {{
            // SAFETY: `$uop` points into `uops`.
            let at = unsafe { std::ptr::from_ref($uop).offset_from(uops.as_ptr()) };
            env!().fault_pc = block.code.pc_of(at as usize);
            return Exit::Raised;
        }};
    }
    macro_rules! bin {
        ($u:ident, $t:ty, $rhs:expr, |$a:ident, $b:ident| $body:expr) => {{
            let ($a, $b): ($t, $t) = (cell!($u.a, $t), $rhs);
            let result: $t = $body;
            cell!($u.d, u64) = u64::from(result);
        }};
    }
    macro_rules! load {
        ($u:ident, $t:ty, $out:ty) => {{
            const BYTES: u64 = size_of::<$t>() as u64;
            let va = cell!($u.a, u64).wrapping_add($u.imm as i32 as i64 as u64);
            let entry = &env!().tlb.entries[($u.imm >> 32 & 3) as usize][(va >> 12) as usize % ENTRIES];
            if va ^ entry.read <= PAGE - BYTES && $u.imm >> 36 == 0 {
                // SAFETY: the entry says that the page is RAM at `addend`; the access stays in the page.
                let value = unsafe { (va.wrapping_add(entry.addend) as *const $t).read_unaligned() };
                cell!($u.d, $out) = value.into();
            } else {
                match load_with_mem(env!(), va, BYTES as u8, $u.imm) {
                    Some(value) => cell!($u.d, $out) = value as $out,
                    None => raised!($u),
                }
            }
        }};
    }
    macro_rules! store {
        ($u:ident, $t:ty) => {{
            const BYTES: u64 = size_of::<$t>() as u64;
            let va = cell!($u.a, u64).wrapping_add($u.imm as i32 as i64 as u64);
            let value = cell!($u.b, $t);
            let entry = &env!().tlb.entries[($u.imm >> 32 & 3) as usize][(va >> 12) as usize % ENTRIES];
            if va ^ entry.write <= PAGE - BYTES && $u.imm >> 36 == 0 {
                // SAFETY: as in `load!`; the entry allows stores.
                unsafe { (va.wrapping_add(entry.addend) as *mut $t).write_unaligned(value) };
            } else if !store_with_mem(env!(), va, BYTES as u8, value.into(), $u.imm) {
                raised!($u);
            }
        }};
    }
    macro_rules! goto {
        ($distance:expr, $exit:expr) => {{
            let pc = &mut cell!(F::PC.0, u64);
            *pc = pc.wrapping_add($distance) & block.code.pc_mask;
            return $exit;
        }};
    }

    loop {
        // SAFETY: `decode` ends every block with an operation that returns, and operands follow their operation.
        let u = unsafe { &*next };
        next = unsafe { next.add(1) };
        match u.op {
            O::Mov8 => cell!(u.d, u64) = cell!(u.a, u8).into(),
            O::Mov16 => cell!(u.d, u64) = cell!(u.a, u16).into(),
            O::Mov32 => cell!(u.d, u64) = cell!(u.a, u32).into(),
            O::Mov64 => cell!(u.d, u64) = cell!(u.a, u64),
            O::MovV => cell!(u.d, u128) = cell!(u.a, u128),
            O::MovI => cell!(u.d, u64) = u.imm,
            O::MovVI => {
                cell!(u.d, u64) = u.imm;
                // SAFETY: the high half is in the operation after this one.
                cell!(u.d + 8, u64) = unsafe { (*next).imm };
                next = unsafe { next.add(1) };
            }
            O::Add32R => bin!(u, u32, cell!(u.b, u32), |a, b| a.wrapping_add(b)),
            O::Add32I => bin!(u, u32, u.imm as u32, |a, b| a.wrapping_add(b)),
            O::Add64R => bin!(u, u64, cell!(u.b, u64), |a, b| a.wrapping_add(b)),
            O::Add64I => bin!(u, u64, u.imm, |a, b| a.wrapping_add(b)),
            O::Sub32R => bin!(u, u32, cell!(u.b, u32), |a, b| a.wrapping_sub(b)),
            O::Sub32I => bin!(u, u32, u.imm as u32, |a, b| a.wrapping_sub(b)),
            O::Sub64R => bin!(u, u64, cell!(u.b, u64), |a, b| a.wrapping_sub(b)),
            O::Sub64I => bin!(u, u64, u.imm, |a, b| a.wrapping_sub(b)),
            O::Mul32R => bin!(u, u32, cell!(u.b, u32), |a, b| a.wrapping_mul(b)),
            O::Mul32I => bin!(u, u32, u.imm as u32, |a, b| a.wrapping_mul(b)),
            O::Mul64R => bin!(u, u64, cell!(u.b, u64), |a, b| a.wrapping_mul(b)),
            O::Mul64I => bin!(u, u64, u.imm, |a, b| a.wrapping_mul(b)),
            O::And32R => bin!(u, u32, cell!(u.b, u32), |a, b| a & b),
            O::And32I => bin!(u, u32, u.imm as u32, |a, b| a & b),
            O::And64R => bin!(u, u64, cell!(u.b, u64), |a, b| a & b),
            O::And64I => bin!(u, u64, u.imm, |a, b| a & b),
            O::Or32R => bin!(u, u32, cell!(u.b, u32), |a, b| a | b),
            O::Or32I => bin!(u, u32, u.imm as u32, |a, b| a | b),
            O::Or64R => bin!(u, u64, cell!(u.b, u64), |a, b| a | b),
            O::Or64I => bin!(u, u64, u.imm, |a, b| a | b),
            O::Xor32R => bin!(u, u32, cell!(u.b, u32), |a, b| a ^ b),
            O::Xor32I => bin!(u, u32, u.imm as u32, |a, b| a ^ b),
            O::Xor64R => bin!(u, u64, cell!(u.b, u64), |a, b| a ^ b),
            O::Xor64I => bin!(u, u64, u.imm, |a, b| a ^ b),
            O::AndNot32R => bin!(u, u32, cell!(u.b, u32), |a, b| a & !b),
            O::AndNot32I => bin!(u, u32, u.imm as u32, |a, b| a & !b),
            O::AndNot64R => bin!(u, u64, cell!(u.b, u64), |a, b| a & !b),
            O::AndNot64I => bin!(u, u64, u.imm, |a, b| a & !b),
            O::Shl32R => bin!(u, u32, cell!(u.b, u32), |a, b| a.wrapping_shl(b)),
            O::Shl32I => bin!(u, u32, u.imm as u32, |a, b| a.wrapping_shl(b)),
            O::Shl64R => bin!(u, u64, cell!(u.b, u64), |a, b| a.wrapping_shl(b as u32)),
            O::Shl64I => bin!(u, u64, u.imm, |a, b| a.wrapping_shl(b as u32)),
            O::Shr32R => bin!(u, u32, cell!(u.b, u32), |a, b| a.wrapping_shr(b)),
            O::Shr32I => bin!(u, u32, u.imm as u32, |a, b| a.wrapping_shr(b)),
            O::Shr64R => bin!(u, u64, cell!(u.b, u64), |a, b| a.wrapping_shr(b as u32)),
            O::Shr64I => bin!(u, u64, u.imm, |a, b| a.wrapping_shr(b as u32)),
            O::Sar32R => bin!(u, u32, cell!(u.b, u32), |a, b| (a as i32).wrapping_shr(b) as u32),
            O::Sar32I => bin!(u, u32, u.imm as u32, |a, b| (a as i32).wrapping_shr(b) as u32),
            O::Sar64R => bin!(u, u64, cell!(u.b, u64), |a, b| (a as i64).wrapping_shr(b as u32) as u64),
            O::Sar64I => bin!(u, u64, u.imm, |a, b| (a as i64).wrapping_shr(b as u32) as u64),
            O::Ror32R => bin!(u, u32, cell!(u.b, u32), |a, b| a.rotate_right(b % 32)),
            O::Ror32I => bin!(u, u32, u.imm as u32, |a, b| a.rotate_right(b % 32)),
            O::Ror64R => bin!(u, u64, cell!(u.b, u64), |a, b| a.rotate_right(b as u32 % 64)),
            O::Ror64I => bin!(u, u64, u.imm, |a, b| a.rotate_right(b as u32 % 64)),
            O::Binary => {
                let (op, ty) = packed(BINARY, u.imm);
                cell!(u.d, u64) = op.eval(ty, cell!(u.a, u64) & ty.mask(), cell!(u.b, u64) & ty.mask());
            }
            O::Not32 => cell!(u.d, u64) = u64::from(!cell!(u.a, u32)),
            O::Not64 => cell!(u.d, u64) = !cell!(u.a, u64),
            O::Neg32 => cell!(u.d, u64) = u64::from(cell!(u.a, u32).wrapping_neg()),
            O::Neg64 => cell!(u.d, u64) = cell!(u.a, u64).wrapping_neg(),
            O::Unary => {
                let (op, ty) = packed(UNARY, u.imm);
                cell!(u.d, u64) = op.eval(ty, cell!(u.a, u64) & ty.mask());
            }
            O::Eq32R => cell!(u.d, u64) = (cell!(u.a, u32) == cell!(u.b, u32)).into(),
            O::Eq32I => cell!(u.d, u64) = (cell!(u.a, u32) == u.imm as u32).into(),
            O::Eq64R => cell!(u.d, u64) = (cell!(u.a, u64) == cell!(u.b, u64)).into(),
            O::Eq64I => cell!(u.d, u64) = (cell!(u.a, u64) == u.imm).into(),
            O::Ne32R => cell!(u.d, u64) = (cell!(u.a, u32) != cell!(u.b, u32)).into(),
            O::Ne32I => cell!(u.d, u64) = (cell!(u.a, u32) != u.imm as u32).into(),
            O::Ne64R => cell!(u.d, u64) = (cell!(u.a, u64) != cell!(u.b, u64)).into(),
            O::Ne64I => cell!(u.d, u64) = (cell!(u.a, u64) != u.imm).into(),
            O::LtU32R => cell!(u.d, u64) = (cell!(u.a, u32) < cell!(u.b, u32)).into(),
            O::LtU32I => cell!(u.d, u64) = (cell!(u.a, u32) < u.imm as u32).into(),
            O::LtU64R => cell!(u.d, u64) = (cell!(u.a, u64) < cell!(u.b, u64)).into(),
            O::LtU64I => cell!(u.d, u64) = (cell!(u.a, u64) < u.imm).into(),
            O::LeU32R => cell!(u.d, u64) = (cell!(u.a, u32) <= cell!(u.b, u32)).into(),
            O::LeU32I => cell!(u.d, u64) = (cell!(u.a, u32) <= u.imm as u32).into(),
            O::LeU64R => cell!(u.d, u64) = (cell!(u.a, u64) <= cell!(u.b, u64)).into(),
            O::LeU64I => cell!(u.d, u64) = (cell!(u.a, u64) <= u.imm).into(),
            O::LtS32R => cell!(u.d, u64) = (cell!(u.a, i32) < cell!(u.b, i32)).into(),
            O::LtS32I => cell!(u.d, u64) = (cell!(u.a, i32) < u.imm as i32).into(),
            O::LtS64R => cell!(u.d, u64) = (cell!(u.a, i64) < cell!(u.b, i64)).into(),
            O::LtS64I => cell!(u.d, u64) = (cell!(u.a, i64) < u.imm as i64).into(),
            O::LeS32R => cell!(u.d, u64) = (cell!(u.a, i32) <= cell!(u.b, i32)).into(),
            O::LeS32I => cell!(u.d, u64) = (cell!(u.a, i32) <= u.imm as i32).into(),
            O::LeS64R => cell!(u.d, u64) = (cell!(u.a, i64) <= cell!(u.b, i64)).into(),
            O::LeS64I => cell!(u.d, u64) = (cell!(u.a, i64) <= u.imm as i64).into(),
            O::Compare => {
                let (cond, ty) = packed(CONDS, u.imm);
                cell!(u.d, u64) = cond.eval(ty, cell!(u.a, u64) & ty.mask(), cell!(u.b, u64) & ty.mask()).into();
            }
            O::FloatCompare => {
                let lane = if u.imm & 8 != 0 { Lane::D } else { Lane::S };
                let cond = FloatCond::ALL[(u.imm & 7) as usize];
                cell!(u.d, u64) = cond.eval(lane, cell!(u.a, u64), cell!(u.b, u64)).into();
            }
            O::Select => {
                let ty = TYPES[(u.imm >> 16) as usize];
                let from = if cell!(u.a, u8) != 0 { u.b } else { u.imm as u16 };
                cell!(u.d, u64) = cell!(from, u64) & ty.mask();
            }
            O::SelectV => {
                let from = if cell!(u.a, u8) != 0 { u.b } else { u.imm as u16 };
                cell!(u.d, u128) = cell!(from, u128);
            }
            O::Sext8 => cell!(u.d, u64) = cell!(u.a, i8) as i64 as u64 & u.imm,
            O::Sext16 => cell!(u.d, u64) = cell!(u.a, i16) as i64 as u64 & u.imm,
            O::Sext32 => cell!(u.d, u64) = cell!(u.a, i32) as i64 as u64 & u.imm,
            O::Carry32 => {
                let sum = u64::from(cell!(u.a, u32)) + u64::from(cell!(u.b, u32));
                cell!(u.d, u64) = (sum + u64::from(cell!(u.imm as u16, u8))) >> 32;
            }
            O::Carry64 => {
                let (sum, one) = cell!(u.a, u64).overflowing_add(cell!(u.b, u64));
                let (_, two) = sum.overflowing_add(cell!(u.imm as u16, u8).into());
                cell!(u.d, u64) = (one | two).into();
            }
            O::Carry => {
                let ty = TYPES[(u.imm >> 16) as usize];
                let sum = (cell!(u.a, u64) & ty.mask()) + (cell!(u.b, u64) & ty.mask());
                cell!(u.d, u64) = (sum + u64::from(cell!(u.imm as u16, u8))) >> ty.bits() & 1;
            }
            O::Overflow32 => {
                let (a, b) = (cell!(u.a, u32), cell!(u.b, u32));
                let sum = a.wrapping_add(b).wrapping_add(cell!(u.imm as u16, u8).into());
                cell!(u.d, u64) = u64::from(((a ^ sum) & (b ^ sum)) >> 31);
            }
            O::Overflow64 => {
                let (a, b) = (cell!(u.a, u64), cell!(u.b, u64));
                let sum = a.wrapping_add(b).wrapping_add(cell!(u.imm as u16, u8).into());
                cell!(u.d, u64) = ((a ^ sum) & (b ^ sum)) >> 63;
            }
            O::Overflow => {
                let ty = TYPES[(u.imm >> 16) as usize];
                let (a, b) = (cell!(u.a, u64), cell!(u.b, u64));
                let sum = a.wrapping_add(b).wrapping_add(cell!(u.imm as u16, u8).into());
                cell!(u.d, u64) = ((a ^ sum) & (b ^ sum)) >> (ty.bits() - 1) & 1;
            }
            O::Load8 => load!(u, u8, u64),
            O::Load16 => load!(u, u16, u64),
            O::Load32 => load!(u, u32, u64),
            O::Load64 => load!(u, u64, u64),
            O::Load128 => load!(u, u128, u128),
            O::Store8 => store!(u, u8),
            O::Store16 => store!(u, u16),
            O::Store32 => store!(u, u32),
            O::Store64 => store!(u, u64),
            O::Store128 => store!(u, u128),
            O::Atomic => {
                // SAFETY: the operands are in the operation after this one.
                let more = unsafe { &*next };
                next = unsafe { next.add(1) };
                let (op, ty) = packed(ATOMICS, more.imm);
                let value = cell!(u.b, u64) & ty.mask();
                match env!().atomic_slow(op, cell!(u.a, u64), ty.bytes(), value, unpack_mem(u.imm)) {
                    Some(old) => cell!(u.d, u64) = old,
                    None => raised!(u),
                }
            }
            O::CmpXchg => {
                // SAFETY: the operands are in the operation after this one.
                let more = unsafe { &*next };
                next = unsafe { next.add(1) };
                let ty = TYPES[more.imm as usize];
                let read = |at: u16| match ty {
                    Ty::V128 => cell!(at, u128),
                    ty => (cell!(at, u64) & ty.mask()).into(),
                };
                let (expected, new) = (read(u.b), read(more.a));
                match env!().cmpxchg_slow(cell!(u.a, u64), ty.bytes(), expected, new, unpack_mem(u.imm)) {
                    Some(old) if ty == Ty::V128 => cell!(u.d, u128) = old,
                    Some(old) => cell!(u.d, u64) = old as u64,
                    None => raised!(u),
                }
            }
            O::Fence => fence(Ordering::SeqCst),
            O::Data => unreachable!("operands are skipped by their operation"),
            O::Call0 | O::Call1 | O::Call2 | O::Call3 | O::Call4 => {
                let shared = std::sync::Arc::as_ptr(&env!().shared);
                // SAFETY: the environment keeps the shared part alive.
                let helper = &unsafe { &*shared }.helpers[(u.imm >> 32) as usize];
                let (a, b, c, d) = (u.a, u.b, u.imm as u16, (u.imm >> 16) as u16);
                let env = env!();
                let result = match helper.func {
                    Func::F0(f) => f(env),
                    Func::F1(f) => f(env, cell!(a, u64)),
                    Func::F2(f) => f(env, cell!(a, u64), cell!(b, u64)),
                    Func::F3(f) => f(env, cell!(a, u64), cell!(b, u64), cell!(c, u64)),
                    Func::F4(f) => f(env, cell!(a, u64), cell!(b, u64), cell!(c, u64), cell!(d, u64)),
                    Func::V(_) => unreachable!("decode refuses a vector helper here"),
                };
                if env!().raised != 0 {
                    raised!(u);
                }
                if u.d != 0xffff {
                    cell!(u.d, u64) = result;
                }
            }
            O::RaiseIf => {
                if cell!(u.a, u8) != 0 {
                    let shared = std::sync::Arc::as_ptr(&env!().shared);
                    // SAFETY: the environment keeps the shared part alive.
                    if let Func::F1(f) = unsafe { &*shared }.helpers[usize::from(u.b)].func {
                        f(env!(), u.imm);
                    }
                    raised!(u);
                }
            }
            O::CallV => {
                // SAFETY: the third operand and the constant are in the operation after this one.
                let more = unsafe { &*next };
                next = unsafe { next.add(1) };
                let env = env!();
                env.vectors[0] = cell!(u.a, u128);
                env.vectors[1] = cell!(u.b, u128);
                env.vectors[2] = cell!(more.a, u128);
                let shared = std::sync::Arc::as_ptr(&env.shared);
                // SAFETY: the environment keeps the shared part alive.
                if let Func::V(f) = unsafe { &*shared }.helpers[u.imm as usize].func {
                    f(env, more.imm);
                }
                if env!().raised != 0 {
                    raised!(u);
                }
                cell!(u.d, u128) = env!().vectors[0];
            }
            O::Vector1 => {
                // SAFETY: `decode` put this function's address here.
                let f = unsafe { std::mem::transmute::<u64, Vector1>(u.imm) };
                cell!(u.d, u128) = f(cell!(u.a, u128));
            }
            O::Vector2 => {
                // SAFETY: `decode` put this function's address here.
                let f = unsafe { std::mem::transmute::<u64, Vector2>(u.imm) };
                cell!(u.d, u128) = f(cell!(u.a, u128), cell!(u.b, u128));
            }
            O::VectorShift => {
                // SAFETY: `decode` put this function's address here.
                let f = unsafe { std::mem::transmute::<u64, VectorShift>(u.imm) };
                cell!(u.d, u128) = f(cell!(u.a, u128), u.b.into());
            }
            O::Splat8 => cell!(u.d, u128) = u128::from_le_bytes([cell!(u.a, u8); 16]),
            O::Splat16 => cell!(u.d, u128) = u128::from(cell!(u.a, u16)) * (u128::MAX / 0xffff),
            O::Splat32 => cell!(u.d, u128) = u128::from(cell!(u.a, u32)) * (u128::MAX / 0xffff_ffff),
            O::Splat64 => cell!(u.d, u128) = u128::from(cell!(u.a, u64)) * (1 | 1 << 64),
            // `b` is the byte offset of the lane.
            O::Extract8 => cell!(u.d, u64) = cell!(u.a + u.b, u8).into(),
            O::Extract16 => cell!(u.d, u64) = cell!(u.a + u.b, u16).into(),
            O::Extract32 => cell!(u.d, u64) = cell!(u.a + u.b, u32).into(),
            O::Extract64 => cell!(u.d, u64) = cell!(u.a + u.b, u64),
            // `imm` is the byte offset of the lane.
            O::Insert8 => {
                let lane = cell!(u.b, u8);
                cell!(u.d, u128) = cell!(u.a, u128);
                cell!(u.d + u.imm as u16, u8) = lane;
            }
            O::Insert16 => {
                let lane = cell!(u.b, u16);
                cell!(u.d, u128) = cell!(u.a, u128);
                cell!(u.d + u.imm as u16, u16) = lane;
            }
            O::Insert32 => {
                let lane = cell!(u.b, u32);
                cell!(u.d, u128) = cell!(u.a, u128);
                cell!(u.d + u.imm as u16, u32) = lane;
            }
            O::Insert64 => {
                let lane = cell!(u.b, u64);
                cell!(u.d, u128) = cell!(u.a, u128);
                cell!(u.d + u.imm as u16, u64) = lane;
            }
            O::Shuffle => {
                // SAFETY: the second half of the mask is in the operation after this one.
                let more = unsafe { &*next };
                next = unsafe { next.add(1) };
                let mask = (u128::from(u.imm) | u128::from(more.imm) << 64).to_le_bytes();
                let mut from = [0u8; 32];
                from[..16].copy_from_slice(&cell!(u.a, u128).to_le_bytes());
                from[16..].copy_from_slice(&cell!(u.b, u128).to_le_bytes());
                cell!(u.d, u128) = u128::from_le_bytes(mask.map(|m| from.get(usize::from(m)).copied().unwrap_or(0)));
            }
            O::Jump => goto!(u.imm, Exit::First),
            O::Branch => {
                if cell!(u.a, u8) != 0 {
                    goto!(u.imm, Exit::First);
                }
                // SAFETY: the second distance is in the operation after a branch.
                goto!(unsafe { (*next).imm }, Exit::Second)
            }
            O::Indirect => {
                cell!(F::PC.0, u64) = cell!(u.a, u64);
                return Exit::Indirect;
            }
            O::Resync => goto!(u.imm, Exit::Resync),
            O::Dispatch => return Exit::Resync,
        }
    }
}

/// A load that the first look at the TLB did not settle: it may still hit when only the alignment or the byte order is
/// special.
#[cold]
fn load_with_mem<F: Frontend>(env: &mut Env<F>, va: u64, bytes: u8, imm: u64) -> Option<u128> {
    let mem = unpack_mem(imm);
    let entry = env.tlb.entries[usize::from(mem.mmu) % REGIMES][(va >> 12) as usize % ENTRIES];
    let aligned = va & ((1u64 << mem.align_log2) - 1) == 0;
    let tag = if mem.modify { entry.write } else { entry.read };
    if va ^ tag <= PAGE - u64::from(bytes) && aligned && !mem.swap {
        // SAFETY: the entry says that the page is RAM at `addend`; the access stays in the page.
        return Some(unsafe { read_host(va.wrapping_add(entry.addend) as *const u8, bytes) });
    }
    env.load_slow(va, bytes, mem)
}

/// The same for stores.
#[cold]
fn store_with_mem<F: Frontend>(env: &mut Env<F>, va: u64, bytes: u8, value: u128, imm: u64) -> bool {
    let mem = unpack_mem(imm);
    let entry = env.tlb.entries[usize::from(mem.mmu) % REGIMES][(va >> 12) as usize % ENTRIES];
    let aligned = va & ((1u64 << mem.align_log2) - 1) == 0;
    if va ^ entry.write <= PAGE - u64::from(bytes) && aligned && !mem.swap {
        // SAFETY: as above; the entry allows stores.
        unsafe { write_host(va.wrapping_add(entry.addend) as *mut u8, bytes, value) };
        return true;
    }
    env.store_slow(va, bytes, value, mem)
}
