//! Every x87 instruction: its opcode and what is executed for it (SDM vol. 2D, B.17 "Floating-Point Instruction Formats and
//! Encodings").

use super::control::{WIDE, WITH_REGISTERS};
use super::execute::{ADD, DIV, DIVR, Format, MUL, Operation, QUIET, SUB, SUBR, TO_FLAGS, TO_STI, TRUNCATE, WITH_ZERO};
use iced_x86::Code as C;

/// What executes an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Arithmetic,
    Compare,
    Load,
    Store,
    Operate,
    /// `operation` is the condition as integer instructions encode it.
    MoveIf,
    Nothing,
    Init,
    ClearExceptions,
    WriteControl,
    ReadControl,
    ReadStatus,
    StoreEnvironment,
    LoadEnvironment,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The last three bits of the first byte, then the second byte: without Mod and R/M of an operand in memory, and without
    /// the number of a register.
    pub opcode: u16,
    pub unit: Unit,
    pub operation: u8,
    pub format: Format,
    pub pops: u8,
    /// The other register where the encoding names none.
    pub i: u8,
    /// Where the encoding has the number of a register.
    pub register_bits: u8,
}

/// An instruction of registers, by the two bytes of its encoding.
const fn register(opcode: u16, unit: Unit, operation: u8, pops: u8) -> Row {
    Row { opcode: opcode & 0x7ff, unit, operation, format: Format::Register, pops, i: 1, register_bits: 7 }
}

/// An instruction that the two bytes say all about.
const fn plain(opcode: u16, operation: Operation) -> Row {
    Row { register_bits: 0, ..register(opcode, Unit::Operate, operation as u8, 0) }
}

/// An instruction with an operand in memory, by its first byte and the digit in the second.
const fn memory(escape: u16, digit: u16, unit: Unit, operation: u8, format: Format, pops: u8) -> Row {
    Row { opcode: (escape & 7) << 8 | digit << 3, unit, operation, format, pops, i: 0, register_bits: 0 }
}

const fn arithmetic(escape: u16, operation: u8, format: Format) -> Row {
    memory(escape, operation as u16, Unit::Arithmetic, operation, format, 0)
}

/// FCOM and FCOMP: digits 2 and 3.
const fn compare(escape: u16, pops: u8, format: Format) -> Row {
    memory(escape, 2 + pops as u16, Unit::Compare, 0, format, pops)
}

/// The row of an instruction, if it is one of these.
#[rustfmt::skip]
pub fn row(code: C) -> Option<Row> {
    use Format::{Bcd, F32, F64, F80, I16, I32, I64};
    use Operation as O;
    use Unit::{Arithmetic, Compare, Load, LoadEnvironment, MoveIf, Operate, Store, StoreEnvironment};
    let wide = WIDE as u8;
    let all = WITH_REGISTERS as u8;
    Some(match code {
        C::Fadd_m32fp => arithmetic(0xd8, ADD, F32),
        C::Fmul_m32fp => arithmetic(0xd8, MUL, F32),
        C::Fsub_m32fp => arithmetic(0xd8, SUB, F32),
        C::Fsubr_m32fp => arithmetic(0xd8, SUBR, F32),
        C::Fdiv_m32fp => arithmetic(0xd8, DIV, F32),
        C::Fdivr_m32fp => arithmetic(0xd8, DIVR, F32),
        C::Fiadd_m32int => arithmetic(0xda, ADD, I32),
        C::Fimul_m32int => arithmetic(0xda, MUL, I32),
        C::Fisub_m32int => arithmetic(0xda, SUB, I32),
        C::Fisubr_m32int => arithmetic(0xda, SUBR, I32),
        C::Fidiv_m32int => arithmetic(0xda, DIV, I32),
        C::Fidivr_m32int => arithmetic(0xda, DIVR, I32),
        C::Fadd_m64fp => arithmetic(0xdc, ADD, F64),
        C::Fmul_m64fp => arithmetic(0xdc, MUL, F64),
        C::Fsub_m64fp => arithmetic(0xdc, SUB, F64),
        C::Fsubr_m64fp => arithmetic(0xdc, SUBR, F64),
        C::Fdiv_m64fp => arithmetic(0xdc, DIV, F64),
        C::Fdivr_m64fp => arithmetic(0xdc, DIVR, F64),
        C::Fiadd_m16int => arithmetic(0xde, ADD, I16),
        C::Fimul_m16int => arithmetic(0xde, MUL, I16),
        C::Fisub_m16int => arithmetic(0xde, SUB, I16),
        C::Fisubr_m16int => arithmetic(0xde, SUBR, I16),
        C::Fidiv_m16int => arithmetic(0xde, DIV, I16),
        C::Fidivr_m16int => arithmetic(0xde, DIVR, I16),

        C::Fadd_st0_sti => register(0xd8c0, Arithmetic, ADD, 0),
        C::Fmul_st0_sti => register(0xd8c8, Arithmetic, MUL, 0),
        C::Fsub_st0_sti => register(0xd8e0, Arithmetic, SUB, 0),
        C::Fsubr_st0_sti => register(0xd8e8, Arithmetic, SUBR, 0),
        C::Fdiv_st0_sti => register(0xd8f0, Arithmetic, DIV, 0),
        C::Fdivr_st0_sti => register(0xd8f8, Arithmetic, DIVR, 0),
        C::Fadd_sti_st0 => register(0xdcc0, Arithmetic, TO_STI | ADD, 0),
        C::Fmul_sti_st0 => register(0xdcc8, Arithmetic, TO_STI | MUL, 0),
        C::Fsubr_sti_st0 => register(0xdce0, Arithmetic, TO_STI | SUBR, 0),
        C::Fsub_sti_st0 => register(0xdce8, Arithmetic, TO_STI | SUB, 0),
        C::Fdivr_sti_st0 => register(0xdcf0, Arithmetic, TO_STI | DIVR, 0),
        C::Fdiv_sti_st0 => register(0xdcf8, Arithmetic, TO_STI | DIV, 0),
        C::Faddp_sti_st0 => register(0xdec0, Arithmetic, TO_STI | ADD, 1),
        C::Fmulp_sti_st0 => register(0xdec8, Arithmetic, TO_STI | MUL, 1),
        C::Fsubrp_sti_st0 => register(0xdee0, Arithmetic, TO_STI | SUBR, 1),
        C::Fsubp_sti_st0 => register(0xdee8, Arithmetic, TO_STI | SUB, 1),
        C::Fdivrp_sti_st0 => register(0xdef0, Arithmetic, TO_STI | DIVR, 1),
        C::Fdivp_sti_st0 => register(0xdef8, Arithmetic, TO_STI | DIV, 1),

        C::Fcom_m32fp => compare(0xd8, 0, F32),
        C::Fcomp_m32fp => compare(0xd8, 1, F32),
        C::Ficom_m32int => compare(0xda, 0, I32),
        C::Ficomp_m32int => compare(0xda, 1, I32),
        C::Fcom_m64fp => compare(0xdc, 0, F64),
        C::Fcomp_m64fp => compare(0xdc, 1, F64),
        C::Ficom_m16int => compare(0xde, 0, I16),
        C::Ficomp_m16int => compare(0xde, 1, I16),
        C::Fcom_st0_sti => register(0xd8d0, Compare, 0, 0),
        C::Fcom_st0_sti_DCD0 => register(0xdcd0, Compare, 0, 0),
        C::Fcomp_st0_sti => register(0xd8d8, Compare, 0, 1),
        C::Fcomp_st0_sti_DCD8 => register(0xdcd8, Compare, 0, 1),
        C::Fcomp_st0_sti_DED0 => register(0xded0, Compare, 0, 1),
        C::Fcompp => Row { register_bits: 0, ..register(0xded9, Compare, 0, 2) },
        C::Fucom_st0_sti => register(0xdde0, Compare, QUIET, 0),
        C::Fucomp_st0_sti => register(0xdde8, Compare, QUIET, 1),
        C::Fucompp => Row { register_bits: 0, ..register(0xdae9, Compare, QUIET, 2) },
        C::Fcomi_st0_sti => register(0xdbf0, Compare, TO_FLAGS, 0),
        C::Fcomip_st0_sti => register(0xdff0, Compare, TO_FLAGS, 1),
        C::Fucomi_st0_sti => register(0xdbe8, Compare, TO_FLAGS | QUIET, 0),
        C::Fucomip_st0_sti => register(0xdfe8, Compare, TO_FLAGS | QUIET, 1),
        C::Ftst => Row { register_bits: 0, ..register(0xd9e4, Compare, WITH_ZERO, 0) },

        C::Fld_m32fp => memory(0xd9, 0, Load, 0, F32, 0),
        C::Fld_m64fp => memory(0xdd, 0, Load, 0, F64, 0),
        C::Fld_m80fp => memory(0xdb, 5, Load, 0, F80, 0),
        C::Fild_m16int => memory(0xdf, 0, Load, 0, I16, 0),
        C::Fild_m32int => memory(0xdb, 0, Load, 0, I32, 0),
        C::Fild_m64int => memory(0xdf, 5, Load, 0, I64, 0),
        C::Fbld_m80bcd => memory(0xdf, 4, Load, 0, Bcd, 0),
        C::Fst_m32fp => memory(0xd9, 2, Store, 0, F32, 0),
        C::Fstp_m32fp => memory(0xd9, 3, Store, 0, F32, 1),
        C::Fst_m64fp => memory(0xdd, 2, Store, 0, F64, 0),
        C::Fstp_m64fp => memory(0xdd, 3, Store, 0, F64, 1),
        C::Fstp_m80fp => memory(0xdb, 7, Store, 0, F80, 1),
        C::Fist_m16int => memory(0xdf, 2, Store, 0, I16, 0),
        C::Fistp_m16int => memory(0xdf, 3, Store, 0, I16, 1),
        C::Fist_m32int => memory(0xdb, 2, Store, 0, I32, 0),
        C::Fistp_m32int => memory(0xdb, 3, Store, 0, I32, 1),
        C::Fistp_m64int => memory(0xdf, 7, Store, 0, I64, 1),
        C::Fisttp_m16int => memory(0xdf, 1, Store, TRUNCATE, I16, 1),
        C::Fisttp_m32int => memory(0xdb, 1, Store, TRUNCATE, I32, 1),
        C::Fisttp_m64int => memory(0xdd, 1, Store, TRUNCATE, I64, 1),
        C::Fbstp_m80bcd => memory(0xdf, 6, Store, 0, Bcd, 1),

        C::Fld_sti => register(0xd9c0, Operate, O::Fld as u8, 0),
        C::Fst_sti => register(0xddd0, Operate, O::Fst as u8, 0),
        C::Fstp_sti => register(0xddd8, Operate, O::Fst as u8, 1),
        C::Fstpnce_sti => register(0xd9d8, Operate, O::Fstpnce as u8, 1),
        C::Fstp_sti_DFD0 => register(0xdfd0, Operate, O::Fst as u8, 1),
        C::Fstp_sti_DFD8 => register(0xdfd8, Operate, O::Fst as u8, 1),
        C::Fxch_st0_sti => register(0xd9c8, Operate, O::Fxch as u8, 0),
        C::Fxch_st0_sti_DDC8 => register(0xddc8, Operate, O::Fxch as u8, 0),
        C::Fxch_st0_sti_DFC8 => register(0xdfc8, Operate, O::Fxch as u8, 0),
        C::Ffree_sti => register(0xddc0, Operate, O::Ffree as u8, 0),
        C::Ffreep_sti => register(0xdfc0, Operate, O::Ffree as u8, 1),
        C::Fcmovb_st0_sti => register(0xdac0, MoveIf, 2, 0),
        C::Fcmove_st0_sti => register(0xdac8, MoveIf, 4, 0),
        C::Fcmovbe_st0_sti => register(0xdad0, MoveIf, 6, 0),
        C::Fcmovu_st0_sti => register(0xdad8, MoveIf, 10, 0),
        C::Fcmovnb_st0_sti => register(0xdbc0, MoveIf, 3, 0),
        C::Fcmovne_st0_sti => register(0xdbc8, MoveIf, 5, 0),
        C::Fcmovnbe_st0_sti => register(0xdbd0, MoveIf, 7, 0),
        C::Fcmovnu_st0_sti => register(0xdbd8, MoveIf, 11, 0),

        C::Fnop => plain(0xd9d0, O::Fnop),
        C::Fchs => plain(0xd9e0, O::Fchs),
        C::Fabs => plain(0xd9e1, O::Fabs),
        C::Fxam => plain(0xd9e5, O::Fxam),
        C::Fld1 => plain(0xd9e8, O::Fld1),
        C::Fldl2t => plain(0xd9e9, O::Fldl2t),
        C::Fldl2e => plain(0xd9ea, O::Fldl2e),
        C::Fldpi => plain(0xd9eb, O::Fldpi),
        C::Fldlg2 => plain(0xd9ec, O::Fldlg2),
        C::Fldln2 => plain(0xd9ed, O::Fldln2),
        C::Fldz => plain(0xd9ee, O::Fldz),
        C::F2xm1 => plain(0xd9f0, O::F2xm1),
        C::Fyl2x => plain(0xd9f1, O::Fyl2x),
        C::Fptan => plain(0xd9f2, O::Fptan),
        C::Fpatan => plain(0xd9f3, O::Fpatan),
        C::Fxtract => plain(0xd9f4, O::Fxtract),
        C::Fprem1 => plain(0xd9f5, O::Fprem1),
        C::Fdecstp => plain(0xd9f6, O::Fdecstp),
        C::Fincstp => plain(0xd9f7, O::Fincstp),
        C::Fprem => plain(0xd9f8, O::Fprem),
        C::Fyl2xp1 => plain(0xd9f9, O::Fyl2xp1),
        C::Fsqrt => plain(0xd9fa, O::Fsqrt),
        C::Fsincos => plain(0xd9fb, O::Fsincos),
        C::Frndint => plain(0xd9fc, O::Frndint),
        C::Fscale => plain(0xd9fd, O::Fscale),
        C::Fsin => plain(0xd9fe, O::Fsin),
        C::Fcos => plain(0xd9ff, O::Fcos),

        C::Fninit => register(0xdbe3, Unit::Init, 0, 0),
        C::Fnclex => register(0xdbe2, Unit::ClearExceptions, 0, 0),
        // They did something on the 8087 and the 80287.
        C::Fneni | C::Fndisi | C::Fnsetpm | C::Frstpm => register(0xdbe0, Unit::Nothing, 0, 0),
        C::Fldcw_m2byte => memory(0xd9, 5, Unit::WriteControl, 0, I16, 0),
        C::Fnstcw_m2byte => memory(0xd9, 7, Unit::ReadControl, 0, I16, 0),
        C::Fnstsw_m2byte => memory(0xdd, 7, Unit::ReadStatus, 0, I16, 0),
        C::Fnstsw_AX => register(0xdfe0, Unit::ReadStatus, 0, 0),
        C::Fnstenv_m14byte => memory(0xd9, 6, StoreEnvironment, 0, I16, 0),
        C::Fnstenv_m28byte => memory(0xd9, 6, StoreEnvironment, wide, I16, 0),
        C::Fldenv_m14byte => memory(0xd9, 4, LoadEnvironment, 0, I16, 0),
        C::Fldenv_m28byte => memory(0xd9, 4, LoadEnvironment, wide, I16, 0),
        C::Fnsave_m94byte => memory(0xdd, 6, StoreEnvironment, all, I16, 0),
        C::Fnsave_m108byte => memory(0xdd, 6, StoreEnvironment, wide | all, I16, 0),
        C::Frstor_m94byte => memory(0xdd, 4, LoadEnvironment, all, I16, 0),
        C::Frstor_m108byte => memory(0xdd, 4, LoadEnvironment, wide | all, I16, 0),
        _ => return None,
    })
}
