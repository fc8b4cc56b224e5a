//! The helpers of the SIMD and floating-point sections: thin wrappers of the pure functions in `vector`, `fp` and
//! `crypto`, which do FPCR and FPSR.

use crate::crypto::{pmull, sha1, sha3, sha256, sha512, sm3, sm4};
use crate::fp::{
    self, F16, F32, F64, Float, Int, Rounding, fp_abd, fp_add, fp_compare, fp_convert, fp_div, fp_max, fp_max_num,
    fp_min, fp_min_num, fp_mul, fp_mul_add, fp_mul_sub, fp_mul_x, fp_nmul, fp_nmul_add, fp_nmul_sub, fp_recip_estimate,
    fp_recip_step_fused, fp_recp_x, fp_round_int, fp_round_int_n, fp_rsqrt_estimate, fp_rsqrt_step_fused, fp_sqrt,
    fp_sub, fp_to_fixed,
};
use crate::frontend::{Arm, Env};
use crate::vector::float::{self, facge, facgt, fcmeq, fcmge, fcmgt, map1, map2, map3};
use crate::vector::{integer, multiply, shift};
use softfloat::Bits;
use tcg::aes::steps;
use tcg::float::{FloatOp, HostFloat, ToIntegral};
use tcg::ir::HelperId;
use tcg::{Func, Helper, Lane};

/// Number of the first helper of these sections.
pub const FIRST: u16 = 256;

/// FPSR.QC
const FPSR_QC: u64 = 1 << 27;

/// The constant of a vector helper.
#[derive(Clone, Copy)]
pub struct Imm {
    /// log2 of the bytes of an element, 0 to 3.
    pub size: u8,
    /// Bytes of the registers that take part, from the lowest: 1 to 16.
    pub bytes: u8,
    /// Whatever else the operation needs.
    pub n: u32,
}

impl Imm {
    /// As the constant of a call.
    pub const fn encode(self) -> u32 {
        self.size as u32 | (self.bytes as u32) << 4 | self.n << 16
    }
    const fn decode(imm: u64) -> Self {
        Imm { size: (imm & 3) as u8, bytes: (imm >> 4 & 31) as u8, n: (imm >> 16) as u32 }
    }
    /// The bits that take part.
    const fn mask(self) -> u128 {
        u128::MAX >> (128 - 8 * self.bytes as u32)
    }
    /// The elements that take part.
    fn count(self) -> u32 {
        u32::from(self.bytes) >> self.size
    }
}

/// A rounding mode as a number; 7 is FPCR's.
pub const ROUND_FPCR: u32 = 7;
/// To nearest even.
pub const ROUND_N: u32 = 0;
/// Toward plus infinity.
pub const ROUND_P: u32 = 1;
/// Toward minus infinity.
pub const ROUND_M: u32 = 2;
/// Toward zero.
pub const ROUND_Z: u32 = 3;
/// To nearest, ties away from zero.
pub const ROUND_A: u32 = 4;
/// Beside a rounding mode: raises inexact.
pub const ROUND_EXACT: u32 = 1 << 3;
/// Beside a rounding mode: signed integers.
pub const FIXED_SIGNED: u32 = 1 << 4;
/// Beside a rounding mode: 64-bit general registers.
pub const FIXED_64: u32 = 1 << 5;
/// Lowest bit of the number of fraction bits beside a rounding mode.
pub const FIXED_FBITS_SHIFT: u32 = 8;

fn rounding(n: u32, env: &fp::Env) -> Rounding {
    match n & 7 {
        ROUND_N => Rounding::NearestEven,
        ROUND_P => Rounding::TowardPositive,
        ROUND_M => Rounding::TowardNegative,
        ROUND_Z => Rounding::TowardZero,
        ROUND_A => Rounding::NearestAway,
        _ => env.rounding,
    }
}

/// Runs a floating-point operation in the guest's environment.
#[inline(always)]
fn float<R>(env: &mut Env, f: impl FnOnce(&mut fp::Env) -> R) -> R {
    env.with_own_flags(|env| {
        let mut fp = fp::env(env.cpu.fpcr as u32, env.cpu.fpsr as u32);
        let before = fp.flags;
        let result = f(&mut fp);
        if fp.flags != before {
            env.cpu.fpsr |= u64::from(fp::fpsr_flags(fp.flags));
        }
        result
    })
}

/// Runs an integer vector operation on the bytes that take part; the others of the result are zero.
#[inline(always)]
fn int(env: &mut Env, imm: u64, f: impl FnOnce(Imm, [u128; 3], &mut bool) -> u128) {
    let imm = Imm::decode(imm);
    let mut qc = false;
    let result = f(imm, env.vector_args().map(|v| v & imm.mask()), &mut qc) & imm.mask();
    if qc {
        env.cpu.fpsr |= FPSR_QC;
    }
    env.set_vector_result(result);
}

/// Runs a floating-point vector operation.
#[inline(always)]
fn fp(env: &mut Env, imm: u64, f: impl FnOnce(Imm, [u128; 3], &mut fp::Env) -> u128) {
    let args = env.vector_args();
    let result = float(env, |fp| f(Imm::decode(imm), args, fp));
    env.set_vector_result(result);
}

/// Runs a cryptographic operation.
#[inline(always)]
fn crypto(env: &mut Env, imm: u64, f: impl FnOnce([u128; 3], u32) -> u128) {
    let result = f(env.vector_args(), imm as u32);
    env.set_vector_result(result);
}

/// `f` for the format that the element size tells.
macro_rules! by_size {
    ($size:expr, $f:ident => $body:expr) => {
        match $size {
            1 => {
                type $f = F16;
                $body
            }
            2 => {
                type $f = F32;
                $body
            }
            _ => {
                type $f = F64;
                $body
            }
        }
    };
}

macro_rules! fp1 {
    ($f:ident) => {
        |i, [a, ..], env| by_size!(i.size, F => map1::<F>(i.count(), a, env, $f::<F>))
    };
}
macro_rules! fp2 {
    ($f:ident) => {
        |i, [a, b, _], env| by_size!(i.size, F => map2::<F>(i.count(), a, b, env, $f::<F>))
    };
}
macro_rules! fp3 {
    ($f:ident) => {
        |i, args, env| by_size!(i.size, F => map3::<F>(i.count(), args, env, $f::<F>))
    };
}

/// What the host does as well, by a vector helper's constant: in single and double precision.
fn host_float(imm: u32, op: impl FnOnce(u32) -> Option<FloatOp>) -> Option<HostFloat> {
    let imm = Imm::decode(imm.into());
    let lane = match imm.size {
        2 => Lane::S,
        3 => Lane::D,
        _ => return None,
    };
    let op = op(imm.n)?;
    // Conversions between formats to and from half precision are the helper's.
    let half = lane == Lane::S && matches!(op, FloatOp::Widen | FloatOp::Narrow);
    (!half).then_some(HostFloat { op, lane, lanes: imm.count() as u8 })
}

/// The host's operation whatever `n` is.
macro_rules! always {
    ($op:ident) => {
        |_| Some(FloatOp::$op)
    };
}

/// The host's name of a rounding, if it has it.
fn integral(n: u32) -> Option<ToIntegral> {
    Some(match n & 7 {
        ROUND_N | ROUND_FPCR => ToIntegral::Nearest,
        ROUND_P => ToIntegral::Up,
        ROUND_M => ToIntegral::Down,
        ROUND_Z => ToIntegral::Zero,
        _ => return None,
    })
}

macro_rules! vector_helpers {
    ($($name:ident: $run:ident($f:expr)$(, $host:expr)?$(=> $function:path)?;)*) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        enum Vector { $($name),*, Count }
        $(
            #[doc = concat!("Vector helper ", stringify!($name), ".")]
            pub const $name: HelperId = HelperId(FIRST + Vector::$name as u16);
        )*
        static VECTOR: &[Helper<Arm>] = &[$(
            Helper::plain(stringify!($name), {
                extern "C" fn call(env: &mut Env, imm: u64) {
                    $run(env, imm, $f);
                }
                Func::V(call)
            })
            $(.with_host(|imm| host_float(imm, $host)))?
            $(.with_function($function))?
        ),*];
    };
}

vector_helpers! {
    SHSUB: int(|i, [a, b, _], _| integer::shsub(i.size, a, b));
    UHSUB: int(|i, [a, b, _], _| integer::uhsub(i.size, a, b));
    SQADD: int(|i, [a, b, _], qc| integer::sqadd(i.size, a, b, qc));
    UQADD: int(|i, [a, b, _], qc| integer::uqadd(i.size, a, b, qc));
    SQSUB: int(|i, [a, b, _], qc| integer::sqsub(i.size, a, b, qc));
    UQSUB: int(|i, [a, b, _], qc| integer::uqsub(i.size, a, b, qc));
    SUQADD: int(|i, [d, a, _], qc| integer::suqadd(i.size, d, a, qc));
    USQADD: int(|i, [d, a, _], qc| integer::usqadd(i.size, d, a, qc));
    SQABS: int(|i, [a, ..], qc| integer::sqabs(i.size, a, qc));
    SQNEG: int(|i, [a, ..], qc| integer::sqneg(i.size, a, qc));
    CLS: int(|i, [a, ..], _| integer::cls(i.size, a));
    CLZ: int(|i, [a, ..], _| integer::clz(i.size, a));
    RBIT: int(|_, [a, ..], _| integer::rbit(a));
    URECPE: int(|_, [a, ..], _| integer::urecpe(a));
    URSQRTE: int(|_, [a, ..], _| integer::ursqrte(a));
    // n: 1 rounds.
    SSHL: int(|i, [a, b, _], _| shift::sshl(i.size, a, b, i.n != 0));
    USHL: int(|i, [a, b, _], _| shift::ushl(i.size, a, b, i.n != 0));
    SQSHL: int(|i, [a, b, _], qc| shift::sqshl(i.size, a, b, i.n != 0, qc));
    UQSHL: int(|i, [a, b, _], qc| shift::uqshl(i.size, a, b, i.n != 0, qc));
    // n: the count.
    SQSHLU: int(|i, [a, ..], qc| shift::sqshlu(i.size, a, i.n, qc));
    // n: the count, 256 rounds.
    SQSHRN: int(|i, [a, ..], qc| shift::sqshrn(i.size, a, i.n & 0xff, i.n >> 8 != 0, qc));
    SQSHRUN: int(|i, [a, ..], qc| shift::sqshrun(i.size, a, i.n & 0xff, i.n >> 8 != 0, qc));
    UQSHRN: int(|i, [a, ..], qc| shift::uqshrn(i.size, a, i.n & 0xff, i.n >> 8 != 0, qc));
    // n: 1 rounds.
    SQDMULH: int(|i, [a, b, _], qc| multiply::sqdmulh(i.size, a, b, i.n != 0, qc));
    // n: 1 subtracts.
    SQRDMLAH: int(|i, [c, a, b], qc| multiply::sqrdmlah(i.size, c, a, b, i.n != 0, qc));
    SQDMULL: int(|i, [_, a, b], qc| multiply::sqdmull(i.size, a, b, qc));
    SQDMLAL: int(|i, [c, a, b], qc| multiply::sqdmlal(i.size, c, a, b, i.n != 0, qc));
    SDOT: int(|_, [c, a, b], _| multiply::sdot(c, a, b));
    UDOT: int(|_, [c, a, b], _| multiply::udot(c, a, b));
    PMUL: int(|_, [a, b, _], _| pmull::pmul8(a, b));
    PMULL: int(|i, [a, b, _], _| match i.size {
        0 => pmull::pmull8(a as u64, b as u64),
        _ => pmull::pmull64(a as u64, b as u64),
    });

    FADD: fp(fp2!(fp_add)), always!(Add);
    FSUB: fp(fp2!(fp_sub)), always!(Sub);
    FMUL: fp(fp2!(fp_mul)), always!(Mul);
    FNMUL: fp(fp2!(fp_nmul)), always!(NegMul);
    // No FMUL of the host's: an infinity times zero is valid here.
    FMULX: fp(fp2!(fp_mul_x));
    FDIV: fp(fp2!(fp_div)), always!(Div);
    FABD: fp(fp2!(fp_abd)), always!(AbsDifference);
    FMAX: fp(fp2!(fp_max)), always!(Max);
    FMIN: fp(fp2!(fp_min)), always!(Min);
    FMAXNM: fp(fp2!(fp_max_num)), always!(Max);
    FMINNM: fp(fp2!(fp_min_num)), always!(Min);
    FRECPS: fp(fp2!(fp_recip_step_fused));
    FRSQRTS: fp(fp2!(fp_rsqrt_step_fused));
    FCMEQ: fp(fp2!(fcmeq)), always!(Eq);
    FCMGE: fp(fp2!(fcmge)), always!(Ge);
    FCMGT: fp(fp2!(fcmgt)), always!(Gt);
    FACGE: fp(fp2!(facge)), always!(AbsGe);
    FACGT: fp(fp2!(facgt)), always!(AbsGt);
    // The flags that FCMP, or with n = 1 FCMPE, raises; the result means nothing.
    FCMP: fp(|i, [a, b, _], env| {
        by_size!(i.size, F => fp_compare::<F>(bits::<F>(a as u64), bits::<F>(b as u64), i.n != 0, env));
        0
    }), always!(Compare);
    FMLA: fp(fp3!(fp_mul_add)), always!(MulAdd);
    FMLS: fp(fp3!(fp_mul_sub)), always!(MulSub);
    FNMLA: fp(fp3!(fp_nmul_add)), always!(NegMulAdd);
    FNMLS: fp(fp3!(fp_nmul_sub)), always!(NegMulSub);
    FSQRT: fp(fp1!(fp_sqrt)), always!(Sqrt);
    FRECPE: fp(fp1!(fp_recip_estimate));
    FRSQRTE: fp(fp1!(fp_rsqrt_estimate));
    FRECPX: fp(fp1!(fp_recp_x));
    // n: rounding.
    FRINT: fp(|i, [a, ..], env| {
        let (mode, exact) = (rounding(i.n, env), i.n & ROUND_EXACT != 0);
        by_size!(i.size, F => map1::<F>(i.count(), a, env, |a, env| fp_round_int::<F>(a, mode, exact, env)))
    }), |n| Some(FloatOp::Integral(integral(n)?, n & ROUND_EXACT != 0));
    FRINT32: fp(|i, [a, ..], env| {
        let mode = rounding(i.n, env);
        by_size!(i.size, F => map1::<F>(i.count(), a, env, |a, env| fp_round_int_n::<F>(a, mode, 32, env)))
    });
    FRINT64: fp(|i, [a, ..], env| {
        let mode = rounding(i.n, env);
        by_size!(i.size, F => map1::<F>(i.count(), a, env, |a, env| fp_round_int_n::<F>(a, mode, 64, env)))
    });
    // n: rounding, FIXED_SIGNED, fraction bits.
    FCVT_FIXED: fp(|i, [a, ..], env| {
        let (mode, signed, fbits) = (rounding(i.n, env), i.n & FIXED_SIGNED != 0, i.n >> FIXED_FBITS_SHIFT);
        by_size!(i.size, F => float::to_fixed::<F>(i.count(), a, fbits, signed, mode, env))
    }), |n| (n >> FIXED_FBITS_SHIFT == 0).then_some(FloatOp::ToInt(integral(n)?, n & FIXED_SIGNED != 0, 0));
    CVTF_FIXED: fp(|i, [a, ..], env| {
        let (signed, fbits) = (i.n & FIXED_SIGNED != 0, i.n >> FIXED_FBITS_SHIFT);
        by_size!(i.size, F => float::from_fixed::<F>(i.count(), a, fbits, signed, env))
    }), |n| (n >> FIXED_FBITS_SHIFT == 0).then_some(FloatOp::FromInt(n & FIXED_SIGNED != 0, 0));
    FCVTL: fp(|i, [a, ..], env| float::fcvtl(i.size, a, env)), always!(Widen);
    FCVTN: fp(|i, [a, ..], env| float::fcvtn(i.size, a, env)), always!(Narrow);
    // FCVT from single to double precision and back.
    FCVT_WIDEN: fp(|_, [a, ..], env| fp_convert::<F32, F64>(a as u32, env).into()), always!(Widen);
    FCVT_NARROW: fp(|_, [a, ..], env| fp_convert::<F64, F32>(a as u64, env).into()), always!(Narrow);
    FCVTXN: fp(|i, [a, ..], env| float::fcvtxn(i.count(), a, env));
    // n: 1 subtracts.
    FMLAL: fp(|i, [c, a, b], env| float::fmlal(i.count(), c, a, b, i.n != 0, env));
    // n: rotation.
    FCMLA: fp(|i, [c, a, b], env| by_size!(i.size, F => float::fcmla::<F>(i.count(), c, a, b, i.n, env)));
    FCADD: fp(|i, [a, b, _], env| by_size!(i.size, F => float::fcadd::<F>(i.count(), a, b, i.n != 0, env)));

    AESE: crypto(|[d, n, _], _| steps::encrypt(d, n)) => tcg::aes::encrypt;
    AESD: crypto(|[d, n, _], _| steps::decrypt(d, n)) => tcg::aes::decrypt;
    AESMC: crypto(|[_, n, _], _| steps::mix_columns(n)) => tcg::aes::mix_columns;
    AESIMC: crypto(|[_, n, _], _| steps::inverse_mix_columns(n)) => tcg::aes::inverse_mix_columns;
    SHA1C: crypto(|[d, n, m], _| sha1::sha1c(d, n as u32, m));
    SHA1P: crypto(|[d, n, m], _| sha1::sha1p(d, n as u32, m));
    SHA1M: crypto(|[d, n, m], _| sha1::sha1m(d, n as u32, m));
    SHA1H: crypto(|[_, n, _], _| sha1::sha1h(n as u32).into());
    SHA1SU0: crypto(|[d, n, m], _| sha1::sha1su0(d, n, m));
    SHA1SU1: crypto(|[d, n, _], _| sha1::sha1su1(d, n));
    SHA256H: crypto(|[d, n, m], _| sha256::sha256h(d, n, m));
    SHA256H2: crypto(|[d, n, m], _| sha256::sha256h2(d, n, m));
    SHA256SU0: crypto(|[d, n, _], _| sha256::sha256su0(d, n));
    SHA256SU1: crypto(|[d, n, m], _| sha256::sha256su1(d, n, m));
    SHA512H: crypto(|[d, n, m], _| sha512::sha512h(d, n, m));
    SHA512H2: crypto(|[d, n, m], _| sha512::sha512h2(d, n, m));
    SHA512SU0: crypto(|[d, n, _], _| sha512::sha512su0(d, n));
    SHA512SU1: crypto(|[d, n, m], _| sha512::sha512su1(d, n, m));
    RAX1: crypto(|[_, n, m], _| sha3::rax1(n, m));
    XAR: crypto(|[_, n, m], imm6| sha3::xar(n, m, imm6));
    SM3PARTW1: crypto(|[d, n, m], _| sm3::sm3partw1(d, n, m));
    SM3PARTW2: crypto(|[d, n, m], _| sm3::sm3partw2(d, n, m));
    SM3SS1: crypto(|[n, m, a], _| sm3::sm3ss1(n, m, a));
    SM3TT1A: crypto(|[d, n, m], imm2| sm3::sm3tt1a(d, n, m, imm2));
    SM3TT1B: crypto(|[d, n, m], imm2| sm3::sm3tt1b(d, n, m, imm2));
    SM3TT2A: crypto(|[d, n, m], imm2| sm3::sm3tt2a(d, n, m, imm2));
    SM3TT2B: crypto(|[d, n, m], imm2| sm3::sm3tt2b(d, n, m, imm2));
    SM4E: crypto(|[d, n, _], _| sm4::sm4e(d, n));
    SM4EKEY: crypto(|[_, n, m], _| sm4::sm4ekey(n, m));
}

/// A scalar helper in three formats; the numbers follow each other.
#[derive(Clone, Copy)]
pub struct Scalar(u16);

impl Scalar {
    /// The helper for a format as `ftype` codes it: 0 single, 1 double, 3 half.
    pub const fn of(self, ftype: u8) -> HelperId {
        let format = match ftype {
            0 => 0,
            1 => 1,
            _ => 2,
        };
        HelperId(FIRST + Vector::Count as u16 + 3 * self.0 + format)
    }
}

macro_rules! scalar_helpers {
    ($($name:ident: $kind:ident($f:expr, $F:ident)$(, $host:expr)?;)*) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        enum ScalarNumber { $($name),* }
        $(
            #[doc = concat!("Scalar helpers ", stringify!($name), ".")]
            pub const $name: Scalar = Scalar(ScalarNumber::$name as u16);
        )*
        static SCALAR: &[Helper<Arm>] = &[$(
            Helper::plain(concat!(stringify!($name), "_S"), { type $F = F32; $kind!($f, F32) })
                $(.with_host(|n| Some(HostFloat { op: $host(n)?, lane: Lane::S, lanes: 1 })))?,
            Helper::plain(concat!(stringify!($name), "_D"), { type $F = F64; $kind!($f, F64) })
                $(.with_host(|n| Some(HostFloat { op: $host(n)?, lane: Lane::D, lanes: 1 })))?,
            Helper::plain(concat!(stringify!($name), "_H"), { type $F = F16; $kind!($f, F16) }),
        )*];
    };
}

type BitsOf<F> = <F as softfloat::Format>::Bits;

/// A scalar as it is passed.
fn bits<F: Float>(v: u64) -> BitsOf<F> {
    BitsOf::<F>::from_u64(v)
}

macro_rules! scalar1 {
    ($f:expr, $F:ident) => {{
        extern "C" fn call(env: &mut Env, a: u64) -> u64 {
            float(env, |env| ($f)(bits::<$F>(a), env).to_u64())
        }
        Func::F1(call)
    }};
}
/// A scalar and a constant.
macro_rules! scalar_imm {
    ($f:expr, $F:ident) => {{
        extern "C" fn call(env: &mut Env, a: u64, n: u64) -> u64 {
            float(env, |env| ($f)(bits::<$F>(a), n as u32, env).to_u64())
        }
        Func::F2(call)
    }};
}
/// A comparison: NZCV in bits 31 to 28.
macro_rules! scalar_compare {
    ($f:expr, $F:ident) => {{
        extern "C" fn call(env: &mut Env, a: u64, b: u64, signal: u64) -> u64 {
            let nzcv = float(env, |env| ($f)(bits::<$F>(a), bits::<$F>(b), signal != 0, env));
            u64::from(nzcv) << 28
        }
        Func::F3(call)
    }};
}
/// A 64-bit integer and a constant.
macro_rules! from_integer {
    ($f:expr, $F:ident) => {{
        extern "C" fn call(env: &mut Env, a: u64, n: u64) -> u64 {
            float(env, |env| ($f)(a, n as u32, env).to_u64())
        }
        Func::F2(call)
    }};
}

fn integer_of(n: u32) -> Int {
    Int { bits: if n & FIXED_64 != 0 { 64 } else { 32 }, signed: n & FIXED_SIGNED != 0 }
}

/// FCVTxx as the host has it.
fn to_integer(n: u32) -> Option<FloatOp> {
    let Int { bits, signed } = integer_of(n);
    (n >> FIXED_FBITS_SHIFT == 0).then_some(FloatOp::ToInt(integral(n)?, signed, bits as u8))
}

/// SCVTF and UCVTF as the host has them.
fn from_integer(n: u32) -> Option<FloatOp> {
    let Int { bits, signed } = integer_of(n);
    (n >> FIXED_FBITS_SHIFT == 0).then_some(FloatOp::FromInt(signed, bits as u8))
}

scalar_helpers! {
    FCMP_SCALAR: scalar_compare(fp_compare::<F>, F);
    FCVT_TO_S: scalar1(fp_convert::<F, F32>, F);
    FCVT_TO_D: scalar1(fp_convert::<F, F64>, F);
    FCVT_TO_H: scalar1(fp_convert::<F, F16>, F);
    FCVT_TO_INT: scalar_imm(|a, n, env: &mut fp::Env| {
        let mode = rounding(n, env);
        fp_to_fixed::<F>(a, n >> FIXED_FBITS_SHIFT, integer_of(n), mode, env)
    }, F), to_integer;
    CVTF_FROM_INT: from_integer(|a, n, env: &mut fp::Env| {
        fp::fixed_to_fp::<F>(a, n >> FIXED_FBITS_SHIFT, integer_of(n), env)
    }, F), from_integer;
}

/// FJCVTZS: the integer in bits 31 to 0, Z in bit 32.
pub const FJCVTZS: HelperId = HelperId(FIRST + Vector::Count as u16 + SCALAR.len() as u16);

extern "C" fn fjcvtzs(env: &mut Env, a: u64) -> u64 {
    let (integer, z) = float(env, |env| fp::fp_to_fixed_js(a, env));
    u64::from(integer) | u64::from(z) << 32
}

static OTHER: &[Helper<Arm>] = &[Helper::plain("FJCVTZS", Func::F1(fjcvtzs))];

/// All helpers of these sections, numbered from [`FIRST`].
pub fn helpers() -> impl Iterator<Item = Helper<Arm>> {
    [VECTOR, SCALAR, OTHER].into_iter().flatten().copied()
}
