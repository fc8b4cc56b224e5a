//! What x87 instructions do when they are executed. Each is waiting: it raises #MF if an exception is pending, and notes itself
//! as the last instruction; those that only control the unit stand in `control.rs`.

use crate::exception::{self, Exception};
use crate::flags;
use crate::fpu::{C0, C1, C2, C3, IE, StackFault};
use crate::frontend::Env;
use crate::memory::{self, Who};
use crate::segment::CS;
use crate::state::Cpu;
use softfloat::x87::{Constant, Context, Extended, F80, Kind};
use softfloat::{Flags, Relation};

/// What an operand in memory is; `Register` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Register,
    F32,
    F64,
    F80,
    I16,
    I32,
    I64,
    Bcd,
}

const FORMATS: [Format; 8] =
    [Format::Register, Format::F32, Format::F64, Format::F80, Format::I16, Format::I32, Format::I64, Format::Bcd];

impl Format {
    /// Bytes in memory.
    pub fn bytes(self) -> u8 {
        match self {
            Format::Register => 0,
            Format::I16 => 2,
            Format::F32 | Format::I32 => 4,
            Format::F64 | Format::I64 => 8,
            Format::F80 | Format::Bcd => 10,
        }
    }

    /// An operand of at most eight bytes.
    fn operand(self, value: u64) -> Extended {
        match self {
            Format::F32 => Extended::from_f32(value as u32),
            Format::F64 => Extended::from_f64(value),
            Format::I16 => Extended::from_int((value as i16).into()),
            Format::I32 => Extended::from_int((value as i32).into()),
            _ => Extended::from_int(value as i64),
        }
    }

    /// What is stored where there is no result.
    fn indefinite(self) -> u128 {
        match self {
            Format::F32 => 0xffc0_0000,
            Format::F64 => 0xfff8_0000_0000_0000,
            Format::I16 => 0x8000,
            Format::I32 => 0x8000_0000,
            Format::I64 => 0x8000_0000_0000_0000,
            Format::Bcd => 0xffff_c000_0000_0000_0000,
            Format::F80 | Format::Register => 0xffff_c000_0000_0000_0000,
        }
    }
}

/// An instruction as the translator packs it into a constant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed(pub u64);

impl Packed {
    /// The opcode's last eleven bits, the segment of a memory operand, the distance from the start of the block.
    pub fn new(opcode: u16, segment: Option<usize>, distance: u32) -> Packed {
        let segment = segment.map_or(0, |n| 1 << 11 | (n as u64 & 7) << 12);
        Packed(u64::from(opcode & 0x7ff) | segment | u64::from(distance & 0xffff) << 16)
    }
    /// Which operation it is, on what, and how often it pops.
    pub fn with(self, operation: u8, format: Format, i: u8, pops: u8) -> Packed {
        let rest =
            u64::from(operation) << 32 | (format as u64) << 40 | u64::from(i & 7) << 44 | u64::from(pops & 3) << 48;
        Packed(self.0 | rest)
    }
    fn operation(self) -> u8 {
        (self.0 >> 32) as u8
    }
    fn format(self) -> Format {
        FORMATS[(self.0 >> 40 & 7) as usize]
    }
    fn i(self) -> u8 {
        (self.0 >> 44 & 7) as u8
    }
    fn pops(self) -> u8 {
        (self.0 >> 48 & 3) as u8
    }
}

/// Notes an instruction as the last one. `offset` is that of its operand in memory.
fn note(cpu: &mut Cpu, insn: Packed, offset: u64) {
    let pc = cpu.pc.wrapping_add(insn.0 >> 16 & 0xffff);
    let code_offset = cpu.rip_of(pc);
    let code_selector = cpu.selectors[CS] as u16;
    let segment = (insn.0 >> 12 & 7) as usize;
    let fpu = &mut cpu.fpu;
    fpu.opcode = (insn.0 & 0x7ff) as u16;
    (fpu.code_selector, fpu.code_offset) = (code_selector, code_offset);
    if insn.0 >> 11 & 1 != 0 {
        fpu.data_selector = cpu.selectors.get(segment).copied().unwrap_or(0) as u16;
        fpu.data_offset = offset;
    }
}

/// Raises #MF if an exception is pending; true if not.
pub fn wait(env: &mut Env) -> bool {
    let pending = env.cpu.x87_pending();
    if pending {
        env.raise(Exception::plain(exception::MF));
    }
    !pending
}

/// Begins an instruction; false if it must not go on.
fn begin(env: &mut Env, insn: Packed, offset: u64) -> bool {
    let ready = wait(env);
    if ready {
        note(&mut env.cpu, insn, offset);
    }
    ready
}

/// [`arithmetic`]: by the digit of their encoding.
pub const ADD: u8 = 0;
pub const MUL: u8 = 1;
pub const SUB: u8 = 4;
pub const SUBR: u8 = 5;
pub const DIV: u8 = 6;
pub const DIVR: u8 = 7;
/// Of `operation`: the result goes to ST(i), and the other operand is ST(0).
pub const TO_STI: u8 = 8;

/// FADD, FMUL, FSUB, FSUBR, FDIV and FDIVR in all forms.
pub extern "C" fn arithmetic(env: &mut Env, packed: u64, offset: u64, value: u64) -> u64 {
    let insn = Packed(packed);
    if !begin(env, insn, offset) {
        return 0;
    }
    let cpu = &mut env.cpu;
    let reversed = insn.operation() & TO_STI != 0;
    let to = if reversed { insn.i() } else { 0 };
    let source = match insn.format() {
        Format::Register => cpu.st_operand(if reversed { 0 } else { insn.i() }),
        format => Some(format.operand(value)),
    };
    let (Some(a), Some(b)) = (cpu.st_operand(to), source) else {
        if cpu.x87_fault(StackFault::Underflow) {
            cpu.set_st(to, F80::INDEFINITE);
            cpu.pop_st(insn.pops());
        }
        return 0;
    };
    let mut context = cpu.x87_context();
    let result = match insn.operation() & 7 {
        ADD => context.add(a, b),
        MUL => context.mul(a, b),
        SUB => context.sub(a, b),
        SUBR => context.sub(b, a),
        DIV => context.div(a, b),
        _ => context.div(b, a),
    };
    if cpu.x87_finish(&context) {
        cpu.set_st(to, result);
        cpu.pop_st(insn.pops());
    }
    0
}

/// [`compare`]: quiet NaNs are not invalid; the result goes to EFLAGS; the other operand is zero.
pub const QUIET: u8 = 1;
pub const TO_FLAGS: u8 = 2;
pub const WITH_ZERO: u8 = 4;

/// FCOM, FUCOM, FICOM, FTST, FCOMI and FUCOMI with what they pop.
pub extern "C" fn compare(env: &mut Env, packed: u64, offset: u64, value: u64) -> u64 {
    let insn = Packed(packed);
    if !begin(env, insn, offset) {
        return 0;
    }
    let cpu = &mut env.cpu;
    let other = match insn.format() {
        _ if insn.operation() & WITH_ZERO != 0 => Some(F80::zero(false).into()),
        Format::Register => cpu.st_operand(insn.i()),
        format => Some(format.operand(value)),
    };
    let (relation, done) = match (cpu.st_operand(0), other) {
        (Some(a), Some(b)) => {
            let mut context = cpu.x87_context();
            let relation = context.compare(a, b, insn.operation() & QUIET != 0);
            (relation, cpu.x87_finish(&context))
        }
        _ => (Relation::Unordered, cpu.x87_fault(StackFault::Underflow)),
    };
    if !done {
        return 0;
    }
    if insn.operation() & TO_FLAGS != 0 {
        cpu.set_status_flags(match relation {
            Relation::Greater => 0,
            Relation::Less => flags::CF,
            Relation::Equal => flags::ZF,
            Relation::Unordered => flags::ZF | flags::PF | flags::CF,
        });
    } else {
        let codes = match relation {
            Relation::Greater => 0,
            Relation::Less => C0,
            Relation::Equal => C3,
            Relation::Unordered => C0 | C2 | C3,
        };
        cpu.set_x87_codes(C0 | C2 | C3, codes);
    }
    cpu.pop_st(insn.pops());
    0
}

/// Pushes what an instruction gives, if there is room.
fn push(cpu: &mut Cpu, value: F80) {
    if cpu.st_is_empty(7) {
        cpu.set_x87_codes(C1, 0);
        cpu.push_st(value);
    } else if cpu.x87_fault(StackFault::Overflow) {
        cpu.push_st(F80::INDEFINITE);
    }
}

/// FLD, FILD and FBLD from memory: 80 bits in two parts.
pub extern "C" fn load(env: &mut Env, packed: u64, offset: u64, low: u64, high: u64) -> u64 {
    let insn = Packed(packed);
    if !begin(env, insn, offset) {
        return 0;
    }
    let cpu = &mut env.cpu;
    let value = match insn.format() {
        Format::F80 => F80 { sign_exponent: high as u16, significand: low },
        Format::Bcd => F80::from_bcd(u128::from(low) | u128::from(high) << 64),
        format => {
            if !cpu.st_is_empty(7) {
                // The operand is not looked at.
                push(cpu, F80::INDEFINITE);
                return 0;
            }
            let mut context = cpu.x87_context();
            let value = context.load(format.operand(low));
            cpu.x87_finish(&context);
            // A denormal is loaded even if its exception is not masked.
            if (context.flags & context.unmasked).contains(Flags::INVALID) {
                return 0;
            }
            value
        }
    };
    push(cpu, value);
    0
}

/// Of `operation` in [`store`]: truncates (FISTTP).
pub const TRUNCATE: u8 = 1;

/// FST, FSTP, FIST, FISTP, FISTTP and FBSTP to memory at the linear address `va`. Nothing has changed if the store faults.
pub extern "C" fn store(env: &mut Env, packed: u64, offset: u64, va: u64) -> u64 {
    let insn = Packed(packed);
    if !wait(env) {
        return 0;
    }
    let cpu = &env.cpu;
    let format = insn.format();
    let mut context = cpu.x87_context();
    let operand = cpu.st_operand(0);
    let truncate = insn.operation() & TRUNCATE != 0;
    let (value, lost) = match operand {
        None => (format.indefinite(), cpu.fpu.control & IE == 0),
        Some(a) => {
            let value = match format {
                Format::F32 => context.to_f32(a).into(),
                Format::F64 => context.to_f64(a).into(),
                Format::I16 => (context.to_int(a, 16, truncate) as u16).into(),
                Format::I32 => (context.to_int(a, 32, truncate) as u32).into(),
                Format::I64 => (context.to_int(a, 64, truncate) as u64).into(),
                Format::Bcd => context.to_bcd(a),
                Format::F80 | Format::Register => {
                    let value = cpu.st(0);
                    u128::from(value.significand) | u128::from(value.sign_exponent) << 64
                }
            };
            // All but an inexact result needs to be handled first.
            (value, !(context.flags & context.unmasked & !Flags::INEXACT).is_empty())
        }
    };
    // What is not stored must still be allowed to be.
    let stored = if lost {
        memory::probe_store(env, va, format.bytes())
    } else {
        memory::store(env, va, format.bytes(), value, Who::Program)
    };
    if let Err(exception) = stored {
        env.raise(exception);
        return 0;
    }
    let cpu = &mut env.cpu;
    note(cpu, insn, offset);
    if operand.is_some() {
        cpu.x87_finish(&context);
    } else {
        cpu.x87_fault(StackFault::Underflow);
    }
    if !lost {
        cpu.pop_st(insn.pops());
    }
    0
}

macro_rules! operations {
    ($($name:ident $function:expr;)*) => {
        /// Instructions without an operand in memory, other than arithmetic and comparisons.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Operation { $($name),* }
        static OPERATIONS: &[fn(&mut Cpu, Packed)] = &[$($function),*];
    };
}
operations! {
    Fnop |_, _| ();
    Fld load_register;
    Fst store_register;
    Fstpnce |cpu, insn| store_quietly(cpu, insn);
    Fxch exchange;
    Fchs |cpu, _| change_sign(cpu, F80::neg);
    Fabs |cpu, _| change_sign(cpu, F80::abs);
    Fxam |cpu, _| examine(cpu);
    Ffree |cpu, insn| {
        cpu.set_x87_codes(C1, 0);
        cpu.free_st(insn.i());
        cpu.pop_st(insn.pops());
    };
    Fincstp |cpu, _| turn(cpu, 1);
    Fdecstp |cpu, _| turn(cpu, 7);
    Fld1 |cpu, _| load_constant(cpu, Constant::One);
    Fldl2t |cpu, _| load_constant(cpu, Constant::Log2Of10);
    Fldl2e |cpu, _| load_constant(cpu, Constant::Log2OfE);
    Fldpi |cpu, _| load_constant(cpu, Constant::Pi);
    Fldlg2 |cpu, _| load_constant(cpu, Constant::Log10Of2);
    Fldln2 |cpu, _| load_constant(cpu, Constant::LnOf2);
    Fldz |cpu, _| load_constant(cpu, Constant::Zero);
    Fsqrt |cpu, _| unary(cpu, Context::sqrt);
    Frndint |cpu, _| unary(cpu, Context::round_to_integral);
    F2xm1 |cpu, _| unary(cpu, Context::exp2_minus_1);
    Fscale |cpu, _| binary(cpu, false, |context, a, b| context.scale(b, a));
    Fyl2x |cpu, _| binary(cpu, true, Context::y_log2_x);
    Fyl2xp1 |cpu, _| binary(cpu, true, Context::y_log2_x_plus_1);
    Fpatan |cpu, _| binary(cpu, true, Context::arc_tangent);
    Fprem |cpu, _| remainder(cpu, false);
    Fprem1 |cpu, _| remainder(cpu, true);
    Fsin |cpu, _| circular(cpu, Context::sin);
    Fcos |cpu, _| circular(cpu, Context::cos);
    Fsincos |cpu, _| two_results(cpu, true, |context, a| context.sin_cos(a).map(|(sin, cos)| (cos, sin)));
    Fptan |cpu, _| two_results(cpu, true, |context, a| {
        let tan = context.tan(a)?;
        // A NaN is pushed instead of 1.
        Some(if Extended::from(tan).is_nan() { (tan, tan) } else { (F80::ONE, tan) })
    });
    Fxtract |cpu, _| two_results(cpu, false, |context, a| {
        let (exponent, significand) = context.extract(a);
        Some((significand, exponent))
    });
}

/// The instructions of [`Operation`].
pub extern "C" fn operate(env: &mut Env, packed: u64) -> u64 {
    let insn = Packed(packed);
    if begin(env, insn, 0)
        && let Some(function) = OPERATIONS.get(usize::from(insn.operation()))
    {
        function(&mut env.cpu, insn);
    }
    0
}

/// FCMOVcc with the value of its condition.
pub extern "C" fn move_if(env: &mut Env, packed: u64, condition: u64) -> u64 {
    let insn = Packed(packed);
    if !begin(env, insn, 0) {
        return 0;
    }
    let cpu = &mut env.cpu;
    let value = cpu.st(insn.i());
    if cpu.st_is_empty(0) || cpu.st_is_empty(insn.i()) {
        if cpu.x87_fault(StackFault::Underflow) {
            cpu.set_st(0, F80::INDEFINITE);
        }
        return 0;
    }
    if condition != 0 {
        cpu.set_st(0, value);
    }
    0
}

/// FLD ST(i).
fn load_register(cpu: &mut Cpu, insn: Packed) {
    if cpu.st_is_empty(insn.i()) {
        if cpu.x87_fault(StackFault::Underflow) {
            cpu.push_st(F80::INDEFINITE);
        }
        return;
    }
    let value = cpu.st(insn.i());
    push(cpu, value);
}

/// FST ST(i) and FSTP ST(i).
fn store_register(cpu: &mut Cpu, insn: Packed) {
    let value = if cpu.st_is_empty(0) {
        if !cpu.x87_fault(StackFault::Underflow) {
            return;
        }
        F80::INDEFINITE
    } else {
        cpu.set_x87_codes(C1, 0);
        cpu.st(0)
    };
    cpu.set_st(insn.i(), value);
    cpu.pop_st(insn.pops());
}

/// FSTPNCE, which documentation leaves out: FSTP ST(i) to which an empty register is no fault, and is not stored.
fn store_quietly(cpu: &mut Cpu, insn: Packed) {
    let value = cpu.st(0);
    cpu.set_x87_codes(C1, 0);
    if !cpu.st_is_empty(0) {
        cpu.set_st(insn.i(), value);
    }
    cpu.pop_st(insn.pops());
}

fn exchange(cpu: &mut Cpu, insn: Packed) {
    let i = insn.i();
    cpu.set_x87_codes(C1, 0);
    if (cpu.st_is_empty(0) || cpu.st_is_empty(i)) && !cpu.x87_fault(StackFault::Underflow) {
        return;
    }
    let value = |n: u8| if cpu.st_is_empty(n) { F80::INDEFINITE } else { cpu.st(n) };
    let (a, b) = (value(0), value(i));
    cpu.set_st(0, b);
    cpu.set_st(i, a);
}

/// The operand ST(0); if it is empty, the fault, with the indefinite result if that is masked.
fn operand(cpu: &mut Cpu) -> Option<Extended> {
    let found = cpu.st_operand(0);
    if found.is_none() && cpu.x87_fault(StackFault::Underflow) {
        cpu.set_st(0, F80::INDEFINITE);
    }
    found
}

fn change_sign(cpu: &mut Cpu, change: fn(F80) -> F80) {
    if operand(cpu).is_some() {
        cpu.set_x87_codes(C1, 0);
        let value = change(cpu.st(0));
        cpu.set_st(0, value);
    }
}

/// FXAM (SDM vol. 2A, table "FXAM Results").
fn examine(cpu: &mut Cpu) {
    let value = cpu.st(0);
    let class = match cpu.st_operand(0) {
        None => C3 | C0,
        Some(v) => match v.kind {
            Kind::Unsupported => 0,
            Kind::QuietNan | Kind::SignallingNan => C0,
            Kind::Infinity => C2 | C0,
            Kind::Zero => C3,
            Kind::Finite if v.denormal => C3 | C2,
            Kind::Finite => C2,
        },
    };
    let sign = if value.sign() { C1 } else { 0 };
    cpu.set_x87_codes(C0 | C1 | C2 | C3, class | sign);
}

fn turn(cpu: &mut Cpu, by: u8) {
    cpu.turn_x87(by);
    cpu.set_x87_codes(C1, 0);
}

fn load_constant(cpu: &mut Cpu, constant: Constant) {
    let value = cpu.x87_context().constant(constant);
    push(cpu, value);
}

fn unary(cpu: &mut Cpu, function: fn(&mut Context, Extended) -> F80) {
    let Some(a) = operand(cpu) else { return };
    let mut context = cpu.x87_context();
    let result = function(&mut context, a);
    if cpu.x87_finish(&context) {
        cpu.set_st(0, result);
    }
}

/// A function of ST(1) and ST(0): its result takes the place of both, or of ST(0).
fn binary(cpu: &mut Cpu, pop: bool, function: fn(&mut Context, Extended, Extended) -> F80) {
    let to = u8::from(pop);
    let (Some(y), Some(x)) = (cpu.st_operand(1), cpu.st_operand(0)) else {
        if cpu.x87_fault(StackFault::Underflow) {
            cpu.set_st(to, F80::INDEFINITE);
            cpu.pop_st(to);
        }
        return;
    };
    let mut context = cpu.x87_context();
    let result = function(&mut context, y, x);
    if cpu.x87_finish(&context) {
        cpu.set_st(to, result);
        cpu.pop_st(to);
    }
}

/// FPREM and FPREM1: C2 if it is not complete, the quotient's last bits in C0, C3 and C1.
fn remainder(cpu: &mut Cpu, nearest: bool) {
    let (Some(a), Some(b)) = (cpu.st_operand(0), cpu.st_operand(1)) else {
        cpu.set_x87_codes(C2, 0);
        if cpu.x87_fault(StackFault::Underflow) {
            cpu.set_st(0, F80::INDEFINITE);
        }
        return;
    };
    let mut context = cpu.x87_context();
    let result = context.remainder(a, b, nearest);
    cpu.set_x87_codes(C2, 0);
    if !cpu.x87_finish(&context) {
        return;
    }
    let code = |bit: u32, code: u16| if result.quotient >> bit & 1 != 0 { code } else { 0 };
    if Extended::from(result.value).is_nan() {
        cpu.set_x87_codes(C1, 0);
        return cpu.set_st(0, result.value);
    }
    let codes = code(0, C1) | code(1, C3) | code(2, C0) | if result.complete { 0 } else { C2 };
    cpu.set_x87_codes(C0 | C1 | C2 | C3, codes);
    cpu.set_st(0, result.value);
}

/// FSIN and FCOS: C2 if the argument is too large, which then stays.
fn circular(cpu: &mut Cpu, function: fn(&mut Context, Extended) -> Option<F80>) {
    let Some(a) = operand(cpu) else { return };
    let mut context = cpu.x87_context();
    let result = function(&mut context, a);
    cpu.set_x87_codes(C2, if result.is_none() { C2 } else { 0 });
    if cpu.x87_finish(&context)
        && let Some(result) = result
    {
        cpu.set_st(0, result);
    }
}

/// An instruction that gives two results: the first is pushed, the second takes the operand's place. C2 if there is none,
/// of those that may be `incomplete`.
fn two_results(cpu: &mut Cpu, incomplete: bool, function: fn(&mut Context, Extended) -> Option<(F80, F80)>) {
    let fault = match (cpu.st_is_empty(0), cpu.st_is_empty(7)) {
        (true, _) => Some(StackFault::Underflow),
        (_, false) => Some(StackFault::Overflow),
        _ => None,
    };
    if let Some(fault) = fault {
        if cpu.x87_fault(fault) {
            cpu.set_st(0, F80::INDEFINITE);
            cpu.push_st(F80::INDEFINITE);
        }
        return;
    }
    let mut context = cpu.x87_context();
    let results = function(&mut context, cpu.st(0).into());
    if incomplete {
        cpu.set_x87_codes(C2, if results.is_none() { C2 } else { 0 });
    }
    if cpu.x87_finish(&context)
        && let Some((pushed, replaced)) = results
    {
        cpu.set_st(0, replaced);
        cpu.push_st(pushed);
    }
}
