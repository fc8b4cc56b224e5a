//! Floating point on the stack of 80-bit registers (SDM vol. 1, chapter 8), and what saves it and the vector registers.
//!
//! | file          | what                                                                  |
//! |---------------|-----------------------------------------------------------------------|
//! | `encoding.rs` | every instruction: its opcode and what is executed for it             |
//! | `execute.rs`  | the helpers that execute them                                         |
//! | `control.rs`  | those that only control the unit                                      |
//! | `save.rs`     | FXSAVE, the XSAVE family, MXCSR                                       |
//!
//! Operands in memory are loaded by the block, before the helper is called. Stores are the helper's: whether anything is
//! stored, popped or noted depends on each other.

mod control;
mod encoding;
mod execute;
mod save;

#[cfg(test)]
mod tests;

use super::operand::segment_number;
use super::translator::{Next, Translator};
use crate::exception::{self, Exception};
use crate::frontend::X86;
use crate::state::RAX;
use encoding::{Row, Unit};
use execute::{Format, Packed};
use iced_x86::{Code, OpKind, Register};
use tcg::ir::{HelperId, Ty, Val};
use tcg::{Func, Helper};

/// Number of the first helper.
pub const FIRST_HELPER: usize = 128;

macro_rules! helpers {
    ($($id:ident = $number:literal, $kind:ident $arity:ident $function:path;)*) => {
        $(#[doc = concat!("`", stringify!($function), "`")] pub const $id: HelperId = HelperId($number);)*
        /// The helpers, in order of their numbers.
        pub fn helpers() -> impl Iterator<Item = Helper<X86>> {
            [$(Helper::$kind(stringify!($function), Func::$arity($function))),*].into_iter()
        }
    };
}
helpers! {
    ARITHMETIC = 128, full F3 execute::arithmetic;
    COMPARE = 129, full F3 execute::compare;
    LOAD = 130, full F4 execute::load;
    STORE = 131, full F3 execute::store;
    OPERATE = 132, full F1 execute::operate;
    MOVE_IF = 133, full F2 execute::move_if;
    CHECK_PENDING = 134, raising F0 control::check_pending;
    ENTER_MMX = 135, raising F0 control::enter_mmx;
    INIT = 136, full F0 control::init;
    CLEAR_EXCEPTIONS = 137, full F0 control::clear_exceptions;
    READ_STATUS = 138, full F0 control::read_status;
    READ_CONTROL = 139, full F0 control::read_control;
    WRITE_CONTROL = 140, full F1 control::write_control;
    STORE_ENVIRONMENT = 141, full F2 control::store_environment;
    LOAD_ENVIRONMENT = 142, full F2 control::load_environment;
    SAVE_STATE = 143, full F2 save::execute;
    LOAD_MXCSR = 144, full F1 save::load_mxcsr;
    READ_MXCSR = 145, full F0 save::read_mxcsr;
}

/// Translates the current instruction if it is one of these.
pub(super) fn translate(t: &mut Translator<'_>) -> Option<Next> {
    if let Some(next) = save::translate(t) {
        return Some(next);
    }
    let code = t.insn.code();
    if code == Code::Wait {
        return Some(wait(t));
    }
    let row = encoding::row(code)?;
    if t.mode.x87_trap() != 0 {
        return Some(t.raise(Exception::plain(exception::NM)));
    }
    Some(translate_row(t, row))
}

fn wait(t: &mut Translator<'_>) -> Next {
    if t.mode.wait_trap() != 0 {
        return t.raise(Exception::plain(exception::NM));
    }
    t.ir.call(CHECK_PENDING, &[]);
    Next::Continue
}

fn translate_row(t: &mut Translator<'_>, row: Row) -> Next {
    match row.unit {
        Unit::Arithmetic => with_operand(t, row, ARITHMETIC),
        Unit::Compare => {
            with_operand(t, row, COMPARE);
            if row.operation & execute::TO_FLAGS != 0 {
                t.flags_changed();
            }
        }
        Unit::Load => {
            let (va, offset) = address(t, row.format.bytes().into(), false);
            let (low, high) = load(t, va, row.format);
            let packed = packed(t, row);
            t.ir.call(LOAD, &[packed, offset, low, high]);
        }
        Unit::Store => {
            let (va, offset) = address(t, row.format.bytes().into(), true);
            let packed = packed(t, row);
            t.ir.call(STORE, &[packed, offset, va]);
        }
        Unit::Operate => {
            let packed = packed(t, row);
            t.ir.call(OPERATE, &[packed]);
        }
        Unit::MoveIf => {
            let condition = t.condition(row.operation);
            let packed = packed(t, row);
            t.ir.call(MOVE_IF, &[packed, condition]);
        }
        Unit::Nothing => {}
        Unit::Init => {
            t.ir.call(INIT, &[]);
        }
        Unit::ClearExceptions => {
            t.ir.call(CLEAR_EXCEPTIONS, &[]);
        }
        Unit::WriteControl => {
            let va = t.memory(2, false);
            let mem = t.mem();
            let value = t.ir.load(Ty::I16, va, mem);
            t.ir.call(WRITE_CONTROL, &[value]);
        }
        Unit::ReadControl => read_word(t, READ_CONTROL),
        Unit::ReadStatus => read_word(t, READ_STATUS),
        Unit::StoreEnvironment => environment(t, row, STORE_ENVIRONMENT, true),
        Unit::LoadEnvironment => environment(t, row, LOAD_ENVIRONMENT, false),
    }
    Next::Continue
}

/// FNSTSW and FNSTCW.
fn read_word(t: &mut Translator<'_>, helper: HelperId) {
    if t.insn.op0_kind() == OpKind::Register {
        let word = t.ir.call(helper, &[]);
        let word = t.ir.trunc(Ty::I16, word);
        t.set_numbered(RAX, Ty::I16, word);
        return;
    }
    let va = t.memory(2, true);
    let mem = t.mem();
    let word = t.ir.call(helper, &[]);
    let word = t.ir.trunc(Ty::I16, word);
    t.ir.store(Ty::I16, va, word, mem);
}

/// FNSTENV, FNSAVE, FLDENV and FRSTOR.
fn environment(t: &mut Translator<'_>, row: Row, helper: HelperId, write: bool) {
    let what = u64::from(row.operation);
    let va = t.memory(control::environment_bytes(what), write);
    let what = t.ir.imm64(what);
    t.ir.call(helper, &[what, va]);
}

/// Calls a helper with an operand of at most eight bytes, or with one in a register.
fn with_operand(t: &mut Translator<'_>, row: Row, helper: HelperId) {
    let (offset, value) = if row.format == Format::Register {
        let none = t.ir.imm64(0);
        (none, none)
    } else {
        let (va, offset) = address(t, row.format.bytes().into(), false);
        (offset, load(t, va, row.format).0)
    };
    let packed = packed(t, row);
    t.ir.call(helper, &[packed, offset, value]);
}

/// The linear address of the operand in memory, and its offset in its segment.
fn address(t: &mut Translator<'_>, bytes: u64, write: bool) -> (Val, Val) {
    let offset = t.offset();
    let n = segment_number(t.insn.memory_segment());
    (t.in_segment(n, offset, bytes, write), offset)
}

// Deviation: an operand is loaded before the helper looks for a pending exception, so that a page fault comes before #MF.
fn load(t: &mut Translator<'_>, va: Val, format: Format) -> (Val, Val) {
    let mem = t.mem();
    let ty = match format.bytes() {
        2 => Ty::I16,
        4 => Ty::I32,
        _ => Ty::I64,
    };
    let low = t.ir.load(ty, va, mem);
    if format.bytes() != 10 {
        let none = t.ir.imm64(0);
        return (low, none);
    }
    let next = t.ir.add_imm(Ty::I64, va, 8);
    let next = t.linear(next);
    (low, t.ir.load(Ty::I16, next, mem))
}

/// What the helper must know of the instruction.
fn packed(t: &mut Translator<'_>, row: Row) -> Val {
    let in_memory = (0..t.insn.op_count()).any(|n| t.insn.op_kind(n) == OpKind::Memory);
    // One of two registers is ST(0).
    let registers = (0..t.insn.op_count()).map(|n| t.insn.op_register(n)).filter(|r| r.is_st());
    let i = registers.map(|r| r.number() as u8).max().unwrap_or(row.i);
    let (modrm, segment) = if in_memory {
        (addressing(t), Some(segment_number(t.insn.memory_segment())))
    } else {
        (u16::from(i & row.register_bits), None)
    };
    let packed = Packed::new(row.opcode | modrm, segment, t.pc).with(row.operation, row.format, i, row.pops);
    t.ir.imm64(packed.0)
}

/// The fields Mod and R/M of an operand in memory, as the shortest encoding has them (SDM vol. 2A, 2.1.5).
fn addressing(t: &Translator<'_>) -> u16 {
    let insn = &t.insn;
    let (base, index, displacement) = (insn.memory_base(), insn.memory_index(), insn.memory_displ_size());
    if base.size() == 2 || index.size() == 2 || base == Register::None && index == Register::None && displacement == 2 {
        let rm = match (base, index) {
            (Register::BX, Register::SI) => 0,
            (Register::BX, Register::DI) => 1,
            (Register::BP, Register::SI) => 2,
            (Register::BP, Register::DI) => 3,
            (Register::SI, _) => 4,
            (Register::DI, _) => 5,
            (Register::BX, _) => 7,
            // [BP], or an address alone.
            _ => 6,
        };
        let mode = match (base, displacement) {
            (Register::None, _) | (_, 0) => 0,
            (_, 1) => 1,
            _ => 2,
        };
        return mode << 6 | rm;
    }
    let alone = base == Register::None && index == Register::None;
    let rm = match base {
        Register::RIP | Register::EIP => 5,
        Register::None if alone && !t.is_64bit() => 5,
        Register::None => 4,
        _ if index != Register::None || base.number() & 7 == 4 => 4,
        _ => base.number() as u16 & 7,
    };
    let mode = match (base, displacement) {
        (Register::RIP | Register::EIP | Register::None, _) | (_, 0) => 0,
        (_, 1) => 1,
        _ => 2,
    };
    mode << 6 | rm
}
