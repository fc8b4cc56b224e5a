//! The helpers of vector instructions: thin wrappers of the pure functions in [`crate::vector`], which do MXCSR.

use super::masked;
use crate::control_regs::{CR0_NE, CR4_OSXMMEXCPT};
use crate::exception::{Exception, MF, XM};
use crate::frontend::{Env, X86};
use crate::state::{Fpu, RAX, RCX, RDX};
use crate::vector::float::{self, DE, IE, ZE, add_sub, compare_mask, extreme, map1, map2};
use crate::vector::integer::{self, Shift, shift, shift_each};
use crate::vector::{aes, compare_strings, l32, sha};
use softfloat::{Bits, Env as Soft, F32, F64, Flags, Float, Int};
use tcg::aes::steps;
use tcg::float::{FloatOp, HostFloat, ToIntegral};
use tcg::ir::{HelperId, Lane};
use tcg::{Func, Helper};

/// Number of the first helper.
pub const FIRST_HELPER: usize = 256;
const FIRST: u16 = FIRST_HELPER as u16;

/// The constant of a floating-point vector helper.
#[derive(Clone, Copy)]
pub struct Imm {
    /// Double precision, else single.
    pub double: bool,
    /// Elements that take part, from the lowest.
    pub count: u32,
    /// The call is followed by one for the upper half of 256 bits, which raises the exceptions of both.
    pub first_of_two: bool,
    /// Whatever else the operation needs.
    pub n: u32,
}

impl Imm {
    /// As the constant of a call.
    pub const fn encode(self) -> u32 {
        self.double as u32 | self.count << 1 | (self.first_of_two as u32) << 4 | self.n << 8
    }
    const fn decode(imm: u32) -> Self {
        Imm { double: imm & 1 != 0, count: imm >> 1 & 7, first_of_two: imm >> 4 & 1 != 0, n: imm >> 8 }
    }
}

/// The constant of [`TO_INT_S`] and [`TO_INT_D`]: bits of the integer, and a rounding.
pub const fn int_imm(bits: u32, rounding: u32) -> u32 {
    bits | rounding << 8
}

/// Runs an integer operation.
#[inline(always)]
fn int(env: &mut Env, imm: u64, f: impl FnOnce([u128; 3], u32) -> u128) {
    let result = f(env.vector_args(), imm as u32);
    env.set_vector_result(result);
}

/// Runs a floating-point operation in blocks where MXCSR is the default: nothing is unmasked.
#[inline(always)]
fn quietly<R>(env: &mut Env, f: impl FnOnce(&mut Soft) -> R) -> R {
    env.with_own_flags(|env| {
        let mut soft = float::env_of(env.cpu.mxcsr);
        if env.cpu.mxcsr & float::PE != 0 {
            // Lets the arithmetic be the host's.
            soft.raise(Flags::INEXACT);
        }
        let result = f(&mut soft);
        env.cpu.mxcsr |= float::mxcsr_flags(soft.flags);
        result
    })
}

/// Runs one under any MXCSR: raises #XM for what is unmasked (SDM vol. 1, 11.5.2 "SIMD Floating-Point Exception Conditions"),
/// with the flags of what is found before the operation alone if that is unmasked. Those of the `first` of two halves wait for
/// the second.
#[inline(always)]
fn trapping<R>(env: &mut Env, first: bool, f: impl FnOnce(&mut Soft) -> R) -> R {
    const BEFORE: u32 = IE | DE | ZE;
    env.with_own_flags(|env| {
        let mxcsr = env.cpu.mxcsr;
        let mut soft = float::env_of(mxcsr);
        if mxcsr & float::PE != 0 && mxcsr & float::PE << 7 != 0 {
            soft.raise(Flags::INEXACT);
        }
        let result = f(&mut soft);
        let flags = float::mxcsr_flags(soft.flags) | std::mem::take(&mut env.cpu.half_flags);
        if first {
            env.cpu.half_flags = flags;
            return result;
        }
        let unmasked = flags & !(mxcsr >> 7);
        env.cpu.mxcsr |= if unmasked & BEFORE != 0 { flags & BEFORE } else { flags };
        if unmasked != 0 {
            let known = env.cpu.cr4 & CR4_OSXMMEXCPT != 0;
            env.raise(if known { Exception::plain(XM) } else { Exception::ud() });
        }
        result
    })
}

/// `f` for the format that the constant tells.
macro_rules! by_format {
    ($imm:expr, $f:ident => $body:expr) => {
        if $imm.double {
            type $f = F64;
            $body
        } else {
            type $f = F32;
            $body
        }
    };
}
macro_rules! fp1 {
    ($f:expr, $F:ident) => {
        |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| by_format!(i, $F => map1::<$F>(i.count, a, env, $f))
    };
}
macro_rules! fp2 {
    ($f:expr, $F:ident) => {
        |i: Imm, [a, b, _]: [u128; 3], env: &mut Soft| {
            by_format!(i, $F => map2::<$F>(i.count, a, b, env, $f))
        }
    };
}

macro_rules! integer_helpers {
    ($($name:ident: $f:expr $(=> $function:path)?;)*) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        enum Integer { $($name),*, Count }
        $(
            #[doc = concat!("Vector helper ", stringify!($name), ".")]
            pub const $name: HelperId = HelperId(FIRST + Integer::$name as u16);
        )*
        static INTEGER: &[Helper<X86>] = &[$(
            Helper::plain(stringify!($name), {
                extern "C" fn call(env: &mut Env, imm: u64) {
                    int(env, imm, $f);
                }
                Func::V(call)
            })
            $(.with_function($function))?
        ),*];
    };
}

fn kind(imm: u32) -> (Shift, u32) {
    let kind = match imm >> 8 {
        0 => Shift::Left,
        1 => Shift::Right,
        _ => Shift::Arithmetic,
    };
    (kind, imm & 0xff)
}

integer_helpers! {
    // The constants of shifts: bits of an element, and 0x000 left, 0x100 right, 0x200 arithmetic.
    SHIFT: |[a, b, _], imm| { let (kind, bits) = kind(imm); shift(kind, bits, a, b as u64) };
    SHIFT_EACH: |[a, b, _], imm| { let (kind, bits) = kind(imm); shift_each(kind, bits, a, b) };
    MPSADBW: |[a, b, _], imm| integer::mpsadbw(a, b, imm);
    PHMINPOSUW: |[a, ..], _| integer::phminposuw(a);
    VPERMD: |[low, high, indices], _| integer::vpermd(low, high, indices);
    VPERMILPS: |[a, indices, _], _| integer::vpermilps(a, indices);
    VPERMILPD: |[a, indices, _], _| integer::vpermilpd(a, indices);
    PCLMULQDQ: |[a, b, _], imm| integer::pclmulqdq(a, b, imm);
    // Of `a ^ b`, and of `b`.
    AES_ENCRYPT: |[a, b, _], _| steps::encrypt(a, b) => tcg::aes::encrypt;
    AES_DECRYPT: |[a, b, _], _| steps::decrypt(a, b) => tcg::aes::decrypt;
    AES_MIX_COLUMNS: |[_, b, _], _| steps::mix_columns(b) => tcg::aes::mix_columns;
    AES_INVERSE_MIX_COLUMNS: |[_, b, _], _| steps::inverse_mix_columns(b) => tcg::aes::inverse_mix_columns;
    AESKEYGENASSIST: |[a, ..], imm| aes::key_generation_assist(a, imm);
    SHA1RNDS4: |[a, b, _], imm| sha::sha1rnds4(a, b, imm);
    SHA1NEXTE: |[a, b, _], _| sha::sha1nexte(a, b);
    SHA1MSG1: |[a, b, _], _| sha::sha1msg1(a, b);
    SHA1MSG2: |[a, b, _], _| sha::sha1msg2(a, b);
    SHA256RNDS2: |[a, b, c], _| sha::sha256rnds2(a, b, c);
    SHA256MSG1: |[a, b, _], _| sha::sha256msg1(a, b);
    SHA256MSG2: |[a, b, _], _| sha::sha256msg2(a, b);
}

/// A floating-point helper: under the default MXCSR it may be the host's operation, else another one does the same and may
/// raise an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatHelper(u16);

impl FloatHelper {
    /// The helper for blocks with or without the default MXCSR.
    pub const fn id(self, default: bool) -> HelperId {
        HelperId(FIRST + Integer::Count as u16 + if default { self.0 } else { self.0 + FLOATS })
    }
}

/// What the host does as well, by a vector helper's constant.
fn host_float(imm: u32, op: impl FnOnce(u32) -> Option<FloatOp>) -> Option<HostFloat> {
    let imm = Imm::decode(imm);
    let lane = if imm.double { Lane::D } else { Lane::S };
    Some(HostFloat { op: op(imm.n)?, lane, lanes: imm.count as u8 })
}

/// The host's name of a rounding under the default MXCSR.
fn integral(code: u32) -> ToIntegral {
    match code & 7 {
        1 => ToIntegral::Down,
        2 => ToIntegral::Up,
        3 => ToIntegral::Zero,
        _ => ToIntegral::Nearest,
    }
}

macro_rules! float_helpers {
    (
        vectors { $($name:ident: $f:expr $(, $host:expr)?;)* }
        scalars { $($scalar:ident: $g:expr, $scalar_host:expr;)* }
    ) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        enum FloatNumber { $($name,)* $($scalar,)* Count }
        $(
            #[doc = concat!("Floating-point helper ", stringify!($name), ".")]
            pub const $name: FloatHelper = FloatHelper(FloatNumber::$name as u16);
        )*
        $(
            #[doc = concat!("Floating-point helper of integers ", stringify!($scalar), ".")]
            pub const $scalar: FloatHelper = FloatHelper(FloatNumber::$scalar as u16);
        )*
        const FLOATS: u16 = FloatNumber::Count as u16;
        static FLOAT: &[Helper<X86>] = &[
            $(
                Helper::plain(stringify!($name), {
                    extern "C" fn call(env: &mut Env, imm: u64) {
                        let args = env.vector_args();
                        let result = quietly(env, |soft| ($f)(Imm::decode(imm as u32), args, soft));
                        env.set_vector_result(result);
                    }
                    Func::V(call)
                })
                $(.with_host(|imm| host_float(imm, $host)))?,
            )*
            $(
                Helper::plain(stringify!($scalar), {
                    extern "C" fn call(env: &mut Env, a: u64, imm: u64) -> u64 {
                        quietly(env, |soft| ($g)(a, imm as u32, soft))
                    }
                    Func::F2(call)
                })
                .with_host($scalar_host),
            )*
            $(
                Helper::raising(concat!(stringify!($name), "_T"), {
                    extern "C" fn call(env: &mut Env, imm: u64) {
                        let args = env.vector_args();
                        let imm = Imm::decode(imm as u32);
                        let result = trapping(env, imm.first_of_two, |soft| ($f)(imm, args, soft));
                        env.set_vector_result(result);
                    }
                    Func::V(call)
                }),
            )*
            $(
                Helper::raising(concat!(stringify!($scalar), "_T"), {
                    extern "C" fn call(env: &mut Env, a: u64, imm: u64) -> u64 {
                        trapping(env, false, |soft| ($g)(a, imm as u32, soft))
                    }
                    Func::F2(call)
                }),
            )*
        ];
    };
}

/// The host's operation whatever `n` is.
macro_rules! always {
    ($op:ident) => {
        |_| Some(FloatOp::$op)
    };
}

float_helpers! {
    vectors {
        ADD: fp2!(F::add, F), always!(Add);
        SUB: fp2!(F::sub, F), always!(Sub);
        MUL: fp2!(F::mul, F), always!(Mul);
        DIV: fp2!(F::div, F), always!(Div);
        SQRT: fp1!(F::sqrt, F), always!(Sqrt);
        MIN: fp2!(|a, b, env| extreme::<F>(a, b, false, env), F);
        MAX: fp2!(|a, b, env| extreme::<F>(a, b, true, env), F);
        // n: the predicate.
        CMP: |i: Imm, [a, b, _]: [u128; 3], env: &mut Soft| {
            by_format!(i, F => map2::<F>(i.count, a, b, env, |a, b, env| compare_mask::<F>(a, b, i.n, env)))
        }, |n| match n {
            0 => Some(FloatOp::Eq),
            3 => Some(FloatOp::Unordered),
            13 => Some(FloatOp::Ge),
            14 => Some(FloatOp::Gt),
            _ => None,
        };
        // n: 1 if a quiet NaN is invalid. The host raises what this one raises; the result then means nothing.
        COMPARE: |i: Imm, [a, b, _]: [u128; 3], env: &mut Soft| {
            by_format!(i, F => {
                let (a, b) = (float::element::<F>(a, 0), float::element::<F>(b, 0));
                u128::from(float::compare_flags::<F>(a, b, i.n != 0, env))
            })
        }, always!(Compare);
        ADD_SUB: |i: Imm, [a, b, _]: [u128; 3], env: &mut Soft| by_format!(i, F => add_sub::<F>(i.count, a, b, env));
        // n: the constant of DPPS and DPPD.
        DOT: |i: Imm, [a, b, _]: [u128; 3], env: &mut Soft| {
            by_format!(i, F => float::dot_product::<F>(i.count, a, b, i.n, env))
        };
        RCP: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| map1::<F32>(i.count, a, env, |a, _| float::reciprocal(a));
        RSQRT: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| {
            map1::<F32>(i.count, a, env, |a, _| float::reciprocal_square_root(a))
        };
        // The addend, then the factors; n: the signs.
        FUSED: |i: Imm, args: [u128; 3], env: &mut Soft| by_format!(i, F => float::fused::<F>(i.count, args, i.n, env)),
            |n| {
                const NEGATE_ADDEND: u32 = float::NEGATE_EVEN | float::NEGATE_ODD;
                const NEGATE_BOTH: u32 = NEGATE_ADDEND | float::NEGATE_PRODUCT;
                match n {
                    0 => Some(FloatOp::MulAdd),
                    float::NEGATE_PRODUCT => Some(FloatOp::MulSub),
                    NEGATE_ADDEND => Some(FloatOp::NegMulSub),
                    NEGATE_BOTH => Some(FloatOp::NegMulAdd),
                    _ => None,
                }
            };
        // n: the rounding.
        ROUND: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| {
            by_format!(i, F => map1::<F>(i.count, a, env, |a, env| float::round::<F>(a, i.n, env)))
        }, |n| Some(FloatOp::Integral(integral(n), n & float::ROUND_QUIET == 0));
        // n: the rounding. The host saturates where this gives the integer indefinite; callers put that right.
        TO_INT_V: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| {
            map1::<F32>(i.count, a, env, |a, env| float::to_int::<F32>(a, 32, i.n, env) as u32)
        }, |n| Some(FloatOp::ToInt(integral(n), true, 32));
        // Two doubles to the low half.
        TO_INT_PD: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| {
            let one = |k, env: &mut Soft| u128::from(float::to_int::<F64>(float::element::<F64>(a, k), 32, i.n, env));
            one(0, env) | one(1, env) << 32
        };
        FROM_INT_V: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| {
            map1::<F32>(i.count, a, env, |a, env| F32::from_int(a.into(), Int::I32, 0, env))
        }, |_| Some(FloatOp::FromInt(true, 32));
        WIDEN: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| float::widen(i.count, a, env), always!(Widen);
        NARROW: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| float::narrow(i.count, a, env), always!(Narrow);
        HALF_TO_SINGLE: |_: Imm, [a, ..]: [u128; 3], env: &mut Soft| float::half_to_single(a, env);
        // n: the rounding.
        SINGLE_TO_HALF: |i: Imm, [a, ..]: [u128; 3], env: &mut Soft| float::single_to_half(a, i.n, env);
    }
    scalars {
        // The constant is an `int_imm`. As with TO_INT_V, callers put right what the host makes of numbers out of range.
        TO_INT_S: |a: u64, n: u32, env: &mut Soft| float::to_int::<F32>(a as u32, n & 0xff, n >> 8, env),
            |n| Some(HostFloat { op: FloatOp::ToInt(integral(n >> 8), true, n as u8), lane: Lane::S, lanes: 1 });
        TO_INT_D: |a: u64, n: u32, env: &mut Soft| float::to_int::<F64>(a, n & 0xff, n >> 8, env),
            |n| Some(HostFloat { op: FloatOp::ToInt(integral(n >> 8), true, n as u8), lane: Lane::D, lanes: 1 });
        // The constant is the bits of the integer.
        FROM_INT_S: |a: u64, n: u32, env: &mut Soft| {
            F32::from_int(a, Int { bits: n, signed: true }, 0, env).to_u64()
        }, |n| Some(HostFloat { op: FloatOp::FromInt(true, n as u8), lane: Lane::S, lanes: 1 });
        FROM_INT_D: |a: u64, n: u32, env: &mut Soft| {
            F64::from_int(a, Int { bits: n, signed: true }, 0, env).to_u64()
        }, |n| Some(HostFloat { op: FloatOp::FromInt(true, n as u8), lane: Lane::D, lanes: 1 });
    }
}

macro_rules! state_helpers {
    ($($id:ident = $kind:ident $arity:ident $function:path;)*) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        enum State { $($id),* }
        $(
            #[doc = concat!("`", stringify!($function), "`")]
            pub const $id: HelperId =
                HelperId(FIRST + Integer::Count as u16 + 2 * FLOATS + State::$id as u16);
        )*
        static STATE: &[Helper<X86>] = &[$(Helper::$kind(stringify!($function), Func::$arity($function))),*];
    };
}
state_helpers! {
    MMX_CHECK = raising F0 mmx_check;
    MMX_ENTER = plain F0 mmx_enter;
    EMMS = plain F0 emms;
    COMPARE_STRINGS = full F3 compare_strings_of_registers;
    GATHER = full F2 masked::gather;
    MASK_LOAD = full F2 masked::load;
    MASK_STORE = full F2 masked::store;
}

/// The helpers, in order of their numbers.
pub fn helpers() -> impl Iterator<Item = Helper<X86>> {
    INTEGER.iter().chain(FLOAT).chain(STATE).copied()
}

/// Raises a pending x87 exception before an MMX instruction.
extern "C" fn mmx_check(env: &mut Env) -> u64 {
    const ERROR_SUMMARY: u16 = 1 << 7;
    // Without CR0.NE the error has been signalled by the interrupt controller already.
    if env.cpu.fpu.status & ERROR_SUMMARY != 0 && env.cpu.cr0 & CR0_NE != 0 {
        env.raise(Exception::plain(MF));
    }
    0
}

/// An MMX instruction was executed: the top of the x87 stack is 0 and all registers are valid (SDM vol. 1, 9.5.1 "MMX
/// Instructions and the x87 FPU Tag Word").
extern "C" fn mmx_enter(env: &mut Env) -> u64 {
    let fpu: &mut Fpu = &mut env.cpu.fpu;
    (fpu.top, fpu.empty) = (0, 0);
    0
}

extern "C" fn emms(env: &mut Env) -> u64 {
    env.cpu.leave_mmx();
    0
}

/// PCMPESTRI and its kin. The packed operand: the constant, then in bits 11:8 the number of the first register, in bit 12
/// whether lengths are given, in bit 13 whether they have 64 bits, in bit 14 whether the result is a mask, in bit 15 whether
/// that clears the upper half.
extern "C" fn compare_strings_of_registers(env: &mut Env, low: u64, high: u64, packed: u64) -> u64 {
    let cpu = &mut env.cpu;
    let imm = packed as u32 & 0xff;
    let on = |bit: u32| packed >> bit & 1 != 0;
    let length = |v: u64| if on(13) { v as i64 } else { i64::from(v as i32) };
    let lengths = on(12).then(|| [length(cpu.gpr[RAX]), length(cpu.gpr[RDX])]);
    let a = cpu.xmm[(packed >> 8 & 15) as usize];
    let outcome = compare_strings::compare(a, u128::from(low) | u128::from(high) << 64, lengths, imm);
    if on(14) {
        cpu.xmm[0] = outcome.mask(imm);
        if on(15) {
            cpu.ymm_high[0] = 0;
        }
    } else {
        cpu.gpr[RCX] = outcome.index(imm).into();
    }
    cpu.set_status_flags(outcome.flags);
    0
}

/// Signs of the elements of `bytes` bytes, one bit each.
pub fn signs(v: u128, bytes: u8) -> u32 {
    match bytes {
        1 => v.to_le_bytes().iter().enumerate().fold(0, |all, (i, b)| all | u32::from(b >> 7) << i),
        4 => l32::split(v).iter().enumerate().fold(0, |all, (i, e)| all | (e >> 31) << i),
        _ => (v >> 63 & 1) as u32 | ((v >> 127) as u32) << 1,
    }
}
