//! Against the host's x87 unit: results, exceptions and C1, in all rounding directions and precisions, with exceptions masked
//! and not.
// UNSAFETY: the instructions under test need the x87 unit, which Rust does not use; they are inline assembly.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

mod generator;

use core::arch::asm;
use core::mem::offset_of;

use generator::{Random, cases};
use softfloat::x87::{Constant, Context, Extended, F80};
use softfloat::{F32, F64, Flags, Relation, Rounding};

/// What FNSAVE stores in 64-bit code, and memory that the instruction used.
#[repr(C, align(16))]
#[derive(Clone)]
struct Host {
    control: u32,
    status: u32,
    rest: [u32; 5],
    st: [[u8; 10]; 8],
    memory: [u8; 16],
    operands: [[u8; 16]; 2],
    new_control: u16,
}

impl Host {
    fn new(control: u16, a: F80, b: F80, memory: u128) -> Self {
        let bytes = |v: F80| (u128::from(v.sign_exponent) << 64 | u128::from(v.significand)).to_le_bytes();
        Host {
            control: 0,
            status: 0,
            rest: [0; 5],
            st: [[0; 10]; 8],
            memory: memory.to_le_bytes(),
            operands: [bytes(a), bytes(b)],
            new_control: control,
        }
    }
    fn st(&self, n: usize) -> F80 {
        let bytes = self.st[n];
        F80 {
            sign_exponent: u16::from_le_bytes([bytes[8], bytes[9]]),
            significand: u64::from_le_bytes(bytes[..8].try_into().unwrap()),
        }
    }
    fn memory(&self) -> u128 {
        u128::from_le_bytes(self.memory)
    }
}

/// Executes an instruction with `a` in ST(0), `b` in ST(1) and the address of `memory` in `{m}`.
macro_rules! host {
    ($($line:literal),+) => {
        |host: &mut Host| {
            // SAFETY: only `host` and the x87 unit change; that is left as FNINIT leaves it, and exceptions that are not
            // masked would only be delivered by a waiting instruction, of which none follows.
            unsafe {
                asm!(
                    "fninit", "fld tbyte ptr [{h} + {b}]", "fld tbyte ptr [{h} + {a}]", "fldcw [{h} + {c}]",
                    $($line,)+
                    "fnsave [{h}]", "fninit", "/* {m} */",
                    h = in(reg) core::ptr::from_mut(host), m = in(reg) core::ptr::from_mut(&mut host.memory),
                    a = const offset_of!(Host, operands), b = const offset_of!(Host, operands) + 16,
                    c = const offset_of!(Host, new_control),
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
        }
    };
}

const ROUNDINGS: [(Rounding, u16); 4] = [
    (Rounding::NearestEven, 0),
    (Rounding::TowardNegative, 1 << 10),
    (Rounding::TowardPositive, 2 << 10),
    (Rounding::TowardZero, 3 << 10),
];
const PRECISIONS: [(u32, u16); 3] = [(24, 0), (53, 2 << 8), (64, 3 << 8)];
const FLAGS: [Flags; 6] =
    [Flags::INVALID, Flags::DENORMAL_USED, Flags::DIV_BY_ZERO, Flags::OVERFLOW, Flags::UNDERFLOW, Flags::INEXACT];

/// Exceptions and C1 as the status word has them.
fn status(context: &Context) -> u32 {
    let flags = FLAGS.iter().enumerate().filter(|(_, flag)| context.flags.contains(**flag));
    flags.fold(u32::from(context.rounded_up) << 9, |all, (n, _)| all | 1 << n)
}

/// A value with all corners likely.
fn operand(random: &mut Random) -> F80 {
    let exponent = match random.below(12) {
        0 => 0,
        1 => 0x7fff,
        2 => 1 + random.below(66),
        3 => 0x7ffe - random.below(66),
        4..=8 => 0x3fff - 70 + random.below(140),
        9 => 0x3fff / 2 + random.below(80),
        10 => 0x3fff + random.below(0x1fff),
        _ => random.bits() & 0x7fff,
    } as u16;
    let sig = match random.below(9) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.below(64),
        3 => u64::MAX << random.below(64),
        4 => u64::MAX >> random.below(64),
        5 => (1 << random.below(64)) ^ random.below(4),
        // As from single and double precision.
        6 => random.bits() << 11,
        7 => random.bits() << 40,
        _ => random.bits(),
    };
    // Now and then an unsupported encoding.
    let integer = if exponent == 0 || random.below(40) == 0 { 0 } else { 1 << 63 };
    F80 { sign_exponent: exponent | ((random.bits() & 1) << 15) as u16, significand: sig | integer }
}

fn pair(random: &mut Random) -> (F80, F80) {
    let a = operand(random);
    match random.below(8) {
        0 => (a, a.neg()),
        1 => (a, F80 { significand: a.significand ^ random.below(8), ..a }.neg()),
        2 => {
            let b = operand(random);
            (a, F80 { sign_exponent: a.sign_exponent ^ random.below(8) as u16, ..b })
        }
        _ => (a, operand(random)),
    }
}

/// Contexts with their control words: all roundings and precisions, exceptions masked or some not.
fn contexts(random: &mut Random) -> impl Iterator<Item = (Context, u16)> + use<> {
    let some = match random.below(4) {
        0 => random.below(64) as u16,
        1 => 1 << random.below(6),
        _ => 0,
    };
    let unmasked =
        FLAGS.iter().enumerate().filter(|(n, _)| some >> n & 1 != 0).fold(Flags::NONE, |all, (_, f)| all | *f);
    ROUNDINGS.into_iter().flat_map(move |(rounding, rc)| {
        PRECISIONS.map(|(precision, pc)| {
            (Context { rounding, precision, unmasked, ..Context::DEFAULT }, rc | pc | 0x40 | 0x3f & !some)
        })
    })
}

const ALL: u32 = 0x23f;
/// Without C1, where the unit gives it another meaning.
const EXCEPTIONS: u32 = 0x3f;

/// Compares an operation on `a` = ST(0) and `b` = ST(1) whose result is in ST(0).
fn check(name: &str, seed: u64, mask: u32, host: fn(&mut Host), soft: fn(&mut Context, Extended, Extended) -> F80) {
    let mut random = Random(seed);
    for _ in 0..cases() / 64 {
        let (a, b) = pair(&mut random);
        for (mut context, control) in contexts(&mut random) {
            let mut native = Host::new(control, a, b, 0);
            host(&mut native);
            let result = soft(&mut context, a.into(), b.into());
            let result = if context.stopped() { a } else { result };
            let (got, expected) = ((result, status(&context) & mask), (native.st(0), native.status & mask));
            assert!(got == expected, "{name} a {a:x?} b {b:x?} control {control:#x}: got {got:x?}, host {expected:x?}");
        }
    }
}

#[test]
fn arithmetic() {
    check("fadd", 1, ALL, host!("fadd st, st(1)"), Context::add);
    check("fsub", 2, ALL, host!("fsub st, st(1)"), Context::sub);
    check("fsubr", 3, ALL, host!("fsubr st, st(1)"), |c, a, b| c.sub(b, a));
    check("fmul", 4, ALL, host!("fmul st, st(1)"), Context::mul);
    check("fdiv", 5, ALL, host!("fdiv st, st(1)"), Context::div);
    check("fsqrt", 6, ALL, host!("fsqrt"), |c, a, _| c.sqrt(a));
    check("frndint", 7, ALL, host!("frndint"), |c, a, _| c.round_to_integral(a));
    check("fscale", 8, ALL, host!("fscale"), Context::scale);
}

/// Operands of the arithmetic instructions that come from memory.
#[test]
fn memory_operands() {
    fn memory(name: &str, seed: u64, host: fn(&mut Host), soft: fn(&mut Context, Extended, u128) -> F80) {
        let mut random = Random(seed);
        for _ in 0..cases() / 64 {
            let a = operand(&mut random);
            let value = match random.below(3) {
                0 => u64::from(random.operand::<F32>()),
                1 => random.operand::<F64>(),
                _ => random.bits() >> random.below(64),
            };
            for (mut context, control) in contexts(&mut random) {
                let mut native = Host::new(control, a, F80::ONE, value.into());
                host(&mut native);
                let result = soft(&mut context, a.into(), value.into());
                // A denormal is loaded even if that is not masked.
                let load = name.starts_with("fld") && !(context.flags & context.unmasked).contains(Flags::INVALID);
                let result = if context.stopped() && !load { a } else { result };
                let (got, expected) = ((result, status(&context)), (native.st(0), native.status & ALL));
                assert!(got == expected, "{name} a {a:x?} {value:#x} {control:#x}: got {got:x?}, host {expected:x?}");
            }
        }
    }
    memory("fadd m32", 10, host!("fadd dword ptr [{m}]"), |c, a, v| c.add(a, Extended::from_f32(v as u32)));
    memory("fdivr m64", 11, host!("fdivr qword ptr [{m}]"), |c, a, v| c.div(Extended::from_f64(v as u64), a));
    memory("fimul m32", 12, host!("fimul dword ptr [{m}]"), |c, a, v| c.mul(a, Extended::from_int((v as i32).into())));
    memory("fisub m16", 13, host!("fisub word ptr [{m}]"), |c, a, v| c.sub(a, Extended::from_int((v as i16).into())));
    // A load that is stopped leaves what was on top.
    memory("fld m32", 14, host!("fld dword ptr [{m}]"), |c, _, v| c.load(Extended::from_f32(v as u32)));
    memory("fld m64", 15, host!("fld qword ptr [{m}]"), |c, _, v| c.load(Extended::from_f64(v as u64)));
    memory("fild m64", 16, host!("fild qword ptr [{m}]"), |_, _, v| F80::from_int(v as i64));
}

#[test]
fn stores() {
    fn store(name: &str, seed: u64, host: fn(&mut Host), soft: fn(&mut Context, Extended) -> u128) {
        let mut random = Random(seed);
        for round in 0..cases() / 32 {
            let mut a = operand(&mut random);
            if round % 2 == 0 {
                // Within reach of the narrower formats' limits and of integers.
                let at = [0x3fff, 0x3fff + 31, 0x3fff + 63, 0x3fff + 127, 0x3fff + 1023, 0x3fff - 126, 0x3fff - 1022];
                let near = at[random.below(7) as usize] + 8 - random.below(70);
                a.sign_exponent = a.sign_exponent & 0x8000 | near as u16;
            }
            for (mut context, control) in contexts(&mut random) {
                let mut native = Host::new(control, a, F80::ONE, 0x5a);
                host(&mut native);
                let result = soft(&mut context, a.into());
                let lost = context.flags & context.unmasked & !Flags::INEXACT;
                let result = if lost.is_empty() { result } else { 0x5a };
                let (got, expected) = ((result, status(&context)), (native.memory(), native.status & ALL));
                assert!(got == expected, "{name} a {a:x?} {control:#x}: got {got:x?}, host {expected:x?}");
            }
        }
    }
    store("fst m32", 20, host!("fst dword ptr [{m}]"), |c, a| c.to_f32(a).into());
    store("fst m64", 21, host!("fst qword ptr [{m}]"), |c, a| c.to_f64(a).into());
    store("fist m16", 22, host!("fist word ptr [{m}]"), |c, a| (c.to_int(a, 16, false) as u16).into());
    store("fist m32", 23, host!("fist dword ptr [{m}]"), |c, a| (c.to_int(a, 32, false) as u32).into());
    store("fistp m64", 24, host!("fistp qword ptr [{m}]"), |c, a| (c.to_int(a, 64, false) as u64).into());
    store("fisttp m64", 25, host!("fisttp qword ptr [{m}]"), |c, a| (c.to_int(a, 64, true) as u64).into());
    store("fisttp m16", 26, host!("fisttp word ptr [{m}]"), |c, a| (c.to_int(a, 16, true) as u16).into());
    store("fbstp", 27, host!("fbstp [{m}]"), |c, a| c.to_bcd(a));
}

#[test]
fn packed_decimals() {
    let mut random = Random(30);
    for _ in 0..cases() / 16 {
        let digits = (0..18).fold(0u128, |all, _| all << 4 | u128::from(random.below(10)));
        let bcd = digits >> (4 * random.below(18)) | u128::from(random.bits() & 1) << 79;
        let mut native = Host::new(0x37f, F80::ONE, F80::ONE, bcd);
        host!("fbld [{m}]")(&mut native);
        assert_eq!((F80::from_bcd(bcd), native.status & ALL), (native.st(0), 0), "{bcd:#x}");
    }
}

#[test]
fn comparison() {
    /// C3, C2 and C0 in their places.
    fn codes(relation: Relation) -> u32 {
        match relation {
            Relation::Greater => 0,
            Relation::Less => 0x100,
            Relation::Equal => 0x4000,
            Relation::Unordered => 0x4500,
        }
    }
    for (name, quiet, host) in
        [("fcom", false, host!("fcom st(1)") as fn(&mut Host)), ("fucom", true, host!("fucom st(1)"))]
    {
        let mut random = Random(40);
        for _ in 0..cases() / 32 {
            let (a, b) = pair(&mut random);
            let mut native = Host::new(0x37f, a, b, 0);
            host(&mut native);
            let mut context = Context::DEFAULT;
            let relation = context.compare(a.into(), b.into(), quiet);
            let (got, expected) = (codes(relation) | status(&context), native.status & 0x473f);
            assert_eq!(got, expected, "{name} a {a:x?} b {b:x?}");
        }
    }
}

#[test]
fn comparison_into_flags_raises_the_same() {
    for (name, quiet, host) in
        [("fcomi", false, host!("fcomi st, st(1)") as fn(&mut Host)), ("fucomi", true, host!("fucomi st, st(1)"))]
    {
        let mut random = Random(41);
        for _ in 0..cases() / 32 {
            let (a, b) = pair(&mut random);
            let mut native = Host::new(0x37f, a, b, 0);
            host(&mut native);
            let mut context = Context::DEFAULT;
            context.compare(a.into(), b.into(), quiet);
            assert_eq!(status(&context), native.status & ALL, "{name} a {a:x?} b {b:x?}");
        }
    }
}

/// A NaN that FPTAN gives takes the place of the 1 that it pushes.
#[test]
fn tangents_that_are_no_numbers() {
    for significand in [0xc000_0000_0000_0005, 0x8000_0000_0000_0005, 1 << 63, 5] {
        let a = F80 { sign_exponent: 0x7fff, significand };
        let mut native = Host::new(0x37f, a, F80::ONE, 0);
        host!("fptan")(&mut native);
        let mut context = Context::DEFAULT;
        let result = context.tan(a.into()).unwrap();
        assert_eq!((result, result, status(&context)), (native.st(0), native.st(1), native.status & ALL), "{a:x?}");
    }
}

#[test]
fn remainders() {
    for (name, nearest, host) in [("fprem", false, host!("fprem") as fn(&mut Host)), ("fprem1", true, host!("fprem1"))]
    {
        let mut random = Random(50);
        for _ in 0..cases() / 16 {
            let (a, b) = pair(&mut random);
            // The number of bits that an incomplete step takes is the implementation's: it is followed to the end.
            let (mut host_a, mut soft_a) = (a, a);
            for first in [true, false] {
                let mut native;
                loop {
                    native = Host::new(0x37f, host_a, b, 0);
                    host(&mut native);
                    host_a = native.st(0);
                    if native.status & 0x400 == 0 {
                        break;
                    }
                }
                let (mut context, mut result);
                loop {
                    context = Context::DEFAULT;
                    result = context.remainder(soft_a.into(), b.into(), nearest);
                    soft_a = result.value;
                    if result.complete {
                        break;
                    }
                }
                let q = result.quotient as u32;
                let codes = (q >> 2 & 1) << 8 | (q >> 1 & 1) << 14 | (q & 1) << 9;
                let got = (soft_a, codes | status(&context) & EXCEPTIONS);
                let expected = (host_a, native.status & 0x473f);
                assert!(got == expected, "{name} {first} a {a:x?} b {b:x?}: got {got:x?}, host {expected:x?}");
            }
        }
    }
}

#[test]
fn extraction() {
    let mut random = Random(60);
    for _ in 0..cases() / 16 {
        let a = operand(&mut random);
        let mut native = Host::new(0x37f, a, F80::ONE, 0);
        host!("fxtract")(&mut native);
        let mut context = Context::DEFAULT;
        let (exponent, significand) = context.extract(a.into());
        let got = (significand, exponent, status(&context));
        assert_eq!(got, (native.st(0), native.st(1), native.status & ALL), "a {a:x?}");
    }
}

#[test]
fn constants() {
    for (rounding, rc) in ROUNDINGS {
        for (constant, host) in [
            (Constant::One, host!("fld1") as fn(&mut Host)),
            (Constant::Log2Of10, host!("fldl2t")),
            (Constant::Log2OfE, host!("fldl2e")),
            (Constant::Pi, host!("fldpi")),
            (Constant::Log10Of2, host!("fldlg2")),
            (Constant::LnOf2, host!("fldln2")),
            (Constant::Zero, host!("fldz")),
        ] {
            let mut native = Host::new(0x37f | rc, F80::ONE, F80::ONE, 0);
            host(&mut native);
            let value = Context { rounding, ..Context::DEFAULT }.constant(constant);
            assert_eq!(value, native.st(0), "{constant:?} {rounding:?}");
        }
    }
}

/// How far two values of the same sign are apart, in units of the last place.
fn distance(a: F80, b: F80) -> u64 {
    if a == b {
        return 0;
    }
    let key = |v: F80| u128::from(v.sign_exponent & 0x7fff) << 63 | u128::from(v.significand & !(1 << 63));
    if a.sign() != b.sign() { u64::MAX } else { u64::try_from(key(a).abs_diff(key(b))).unwrap_or(u64::MAX) }
}

type Elementary = fn(&mut Context, Extended, Extended) -> Option<F80>;

/// A function within the range that it is made for: within a unit in the last place of the host, same exceptions.
fn near(name: &str, seed: u64, range: fn(F80, F80) -> bool, host: fn(&mut Host), soft: Elementary) {
    let mut random = Random(seed);
    let mut worst = 0;
    for round in 0..cases() / 8 {
        let (mut a, b) = pair(&mut random);
        if round % 2 == 0 {
            a.sign_exponent = a.sign_exponent & 0x8000 | (0x3fff + 3 - random.below(12)) as u16;
            a.significand |= 1 << 63;
        }
        if !range(a, b) {
            continue;
        }
        let mut native = Host::new(0x37f, a, b, 0);
        host(&mut native);
        let mut context = Context::DEFAULT;
        let result = soft(&mut context, a.into(), b.into());
        assert_eq!(result.is_none(), native.status & 0x400 != 0, "{name} a {a:x?} b {b:x?}: C2");
        let Some(result) = result else { continue };
        let far = distance(result, native.st(0));
        worst = worst.max(far);
        let (got, expected) = (status(&context) & EXCEPTIONS, native.status & EXCEPTIONS);
        assert!(
            far <= 1 && got == expected,
            "{name} a {a:x?} b {b:x?}: got {result:x?} {got:#x}, host {:x?} {expected:#x}",
            native.st(0)
        );
    }
    eprintln!("{name}: at most {worst} units apart");
}

/// Whether the magnitude is below a power of two, or not a number.
fn below(a: F80, exp: i32) -> bool {
    let biased = i32::from(a.sign_exponent & 0x7fff);
    biased < exp + 16383 || biased == 0x7fff
}

#[test]
fn exponentials() {
    near("f2xm1", 70, |a, _| below(a, 0), host!("f2xm1"), |c, a, _| Some(c.exp2_minus_1(a)));
}

#[test]
fn logarithms() {
    near("fyl2x", 71, |_, _| true, host!("fyl2x"), |c, a, b| Some(c.y_log2_x(b, a)));
    near("fyl2xp1", 72, |a, _| below(a, -2), host!("fyl2xp1"), |c, a, b| Some(c.y_log2_x_plus_1(b, a)));
}

#[test]
fn circular() {
    near("fsin", 73, |a, _| below(a, 63), host!("fsin"), |c, a, _| c.sin(a));
    near("fcos", 74, |a, _| below(a, 63), host!("fcos"), |c, a, _| c.cos(a));
    near("fsincos", 75, |a, _| below(a, 63), host!("fsincos"), |c, a, _| c.sin_cos(a).map(|(_, cos)| cos));
    near("fptan", 76, |a, _| below(a, 63), host!("fptan", "fstp st(0)"), |c, a, _| c.tan(a));
    near("fpatan", 77, |_, _| true, host!("fpatan"), |c, a, b| Some(c.arc_tangent(b, a)));
}
