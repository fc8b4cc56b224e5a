//! Which method translates an instruction.

use super::bits::Test;
use super::integer::Arithmetic;
use super::shift::Shift;
use super::string::StringOp;
use super::translator::{Next, Translator};
use super::{sse, x87};
use crate::helpers;
use crate::model::Feature;
use crate::segment::{DS, ES, FS, GS, SS};
use iced_x86::{ConditionCode, Mnemonic as M};
use tcg::ir::{Binary, Ty};

/// The encoding of a condition.
fn condition(code: ConditionCode) -> u8 {
    use ConditionCode as C;
    match code {
        C::o => 0,
        C::no => 1,
        C::b => 2,
        C::ae => 3,
        C::e => 4,
        C::ne => 5,
        C::be => 6,
        C::a => 7,
        C::s => 8,
        C::ns => 9,
        C::p => 10,
        C::np => 11,
        C::l => 12,
        C::ge => 13,
        C::le => 14,
        C::g => 15,
        C::None => 0,
    }
}

/// Translates the current instruction, which the processor has.
#[rustfmt::skip]
pub(super) fn translate(t: &mut Translator<'_>) -> Next {
    if t.insn.is_jcc_short_or_near() {
        return t.jcc(condition(t.insn.condition_code()));
    }
    match t.insn.mnemonic() {
        M::Add => t.arithmetic(Arithmetic::Add),
        M::Or => t.arithmetic(Arithmetic::Or),
        M::Adc => t.arithmetic(Arithmetic::Adc),
        M::Sbb => t.arithmetic(Arithmetic::Sbb),
        M::And => t.arithmetic(Arithmetic::And),
        M::Sub => t.arithmetic(Arithmetic::Sub),
        M::Xor => t.arithmetic(Arithmetic::Xor),
        M::Cmp => t.arithmetic(Arithmetic::Cmp),
        M::Test => t.arithmetic(Arithmetic::Test),
        M::Inc => t.inc_dec(false),
        M::Dec => t.inc_dec(true),
        M::Neg => t.neg(),
        M::Not => t.not(),
        M::Mov if has_register(t, |r| r.is_cr()) => t.mov_control(),
        M::Mov if has_register(t, |r| r.is_dr()) => t.mov_debug(),
        M::Mov if has_register(t, |r| r.is_tr()) => t.undefined(),
        M::Mov if has_register(t, |r| r.is_segment_register()) => t.mov_segment(),
        M::Mov => t.mov(),
        M::Movzx => t.extend(false),
        M::Movsx | M::Movsxd => t.extend(true),
        M::Movbe => t.movbe(),
        M::Bswap => t.bswap(),
        M::Lea => t.lea(),
        M::Xchg => t.xchg(),
        M::Xadd => t.xadd(),
        M::Cmpxchg => t.cmpxchg(),
        M::Cmpxchg8b => t.cmpxchg_pair(false),
        M::Cmpxchg16b => t.cmpxchg_pair(true),
        M::Cbw => t.widen_accumulator(Ty::I16, Ty::I8),
        M::Cwde => t.widen_accumulator(Ty::I32, Ty::I16),
        M::Cdqe => t.widen_accumulator(Ty::I64, Ty::I32),
        M::Cwd => t.sign_to_rdx(Ty::I16),
        M::Cdq => t.sign_to_rdx(Ty::I32),
        M::Cqo => t.sign_to_rdx(Ty::I64),
        M::Mul => t.mul(false),
        M::Imul => t.imul(),
        M::Div => t.div(false),
        M::Idiv => t.div(true),
        M::Daa => t.decimal(helpers::DAA),
        M::Das => t.decimal(helpers::DAS),
        M::Aaa => t.decimal(helpers::AAA),
        M::Aas => t.decimal(helpers::AAS),
        M::Aam => t.decimal(helpers::AAM),
        M::Aad => t.decimal(helpers::AAD),
        M::Sahf => t.sahf(),
        M::Lahf => t.lahf(),
        M::Clc => t.set_carry(Some(false)),
        M::Stc => t.set_carry(Some(true)),
        M::Cmc => t.set_carry(None),
        M::Salc => t.salc(),
        M::Xlatb => t.xlat(),
        M::Adcx => t.add_carry_alone(false),
        M::Adox => t.add_carry_alone(true),
        M::Cmovo | M::Cmovno | M::Cmovb | M::Cmovae | M::Cmove | M::Cmovne | M::Cmovbe | M::Cmova | M::Cmovs | M::Cmovns
        | M::Cmovp | M::Cmovnp | M::Cmovl | M::Cmovge | M::Cmovle | M::Cmovg => {
            let code = condition(t.insn.condition_code());
            t.cmov(code)
        }
        M::Seto | M::Setno | M::Setb | M::Setae | M::Sete | M::Setne | M::Setbe | M::Seta | M::Sets | M::Setns | M::Setp
        | M::Setnp | M::Setl | M::Setge | M::Setle | M::Setg => {
            let code = condition(t.insn.condition_code());
            t.setcc(code)
        }

        M::Shl | M::Sal => t.shift(Shift::Shl),
        M::Shr => t.shift(Shift::Shr),
        M::Sar => t.shift(Shift::Sar),
        M::Rol => t.shift(Shift::Rol),
        M::Ror => t.shift(Shift::Ror),
        M::Rcl => t.rotate_through_carry(true),
        M::Rcr => t.rotate_through_carry(false),
        M::Shld => t.double_shift(true),
        M::Shrd => t.double_shift(false),
        M::Sarx => t.shift_without_flags(Binary::Sar),
        M::Shlx => t.shift_without_flags(Binary::Shl),
        M::Shrx => t.shift_without_flags(Binary::Shr),
        M::Rorx => t.shift_without_flags(Binary::Ror),

        M::Bt => t.bit_test(Test::Look),
        M::Bts => t.bit_test(Test::Set),
        M::Btr => t.bit_test(Test::Reset),
        M::Btc => t.bit_test(Test::Complement),
        M::Bsf => t.bit_scan(true),
        M::Bsr => t.bit_scan(false),
        // Where these do not exist their prefix means nothing.
        M::Tzcnt if !t.has(Feature::BMI1) => t.bit_scan(true),
        M::Lzcnt if !t.has(Feature::ABM) => t.bit_scan(false),
        M::Tzcnt => t.count_zeros(true),
        M::Lzcnt => t.count_zeros(false),
        M::Popcnt => t.popcnt(),
        M::Andn => t.andn(),
        M::Blsi => t.lowest_bit(Arithmetic::And),
        M::Blsmsk => t.lowest_bit(Arithmetic::Xor),
        M::Blsr => t.lowest_bit(Arithmetic::Sub),
        M::Bextr => t.bextr(),
        M::Bzhi => t.bzhi(),
        M::Mulx => t.mulx(),
        M::Pdep => t.deposit(false),
        M::Pext => t.deposit(true),
        M::Crc32 => t.crc32(),

        M::Push => t.push(),
        M::Pop => t.pop(),
        M::Pusha => t.all_registers(true, false),
        M::Pushad => t.all_registers(true, true),
        M::Popa => t.all_registers(false, false),
        M::Popad => t.all_registers(false, true),
        M::Pushf | M::Pushfd | M::Pushfq => t.pushf(),
        M::Popf | M::Popfd | M::Popfq => t.popf(),
        M::Enter => t.enter(),
        M::Leave => t.leave(),

        M::Jmp => t.jmp(),
        M::Jcxz | M::Jecxz | M::Jrcxz | M::Loop | M::Loope | M::Loopne => t.loop_jump(),
        M::Call => t.call(),
        M::Ret => t.ret(),
        M::Retf => t.ret_far(),
        M::Iret | M::Iretd | M::Iretq => t.iret(),
        M::Int | M::Int3 | M::Int1 => t.int(),
        M::Into => t.into(),
        M::Bound => t.bound(),
        M::Syscall => t.fast_call(helpers::SYSCALL),
        M::Sysret | M::Sysretq => t.fast_call(helpers::SYSRET),
        M::Sysenter => t.fast_call(helpers::SYSENTER),
        M::Sysexit | M::Sysexitq => t.fast_call(helpers::SYSEXIT),

        M::Movsb => t.string(StringOp::Movs, 1),
        M::Movsw => t.string(StringOp::Movs, 2),
        M::Movsd if t.insn.is_string_instruction() => t.string(StringOp::Movs, 4),
        M::Movsq => t.string(StringOp::Movs, 8),
        M::Cmpsb => t.string(StringOp::Cmps, 1),
        M::Cmpsw => t.string(StringOp::Cmps, 2),
        M::Cmpsd if t.insn.is_string_instruction() => t.string(StringOp::Cmps, 4),
        M::Cmpsq => t.string(StringOp::Cmps, 8),
        M::Stosb => t.string(StringOp::Stos, 1),
        M::Stosw => t.string(StringOp::Stos, 2),
        M::Stosd => t.string(StringOp::Stos, 4),
        M::Stosq => t.string(StringOp::Stos, 8),
        M::Lodsb => t.string(StringOp::Lods, 1),
        M::Lodsw => t.string(StringOp::Lods, 2),
        M::Lodsd => t.string(StringOp::Lods, 4),
        M::Lodsq => t.string(StringOp::Lods, 8),
        M::Scasb => t.string(StringOp::Scas, 1),
        M::Scasw => t.string(StringOp::Scas, 2),
        M::Scasd => t.string(StringOp::Scas, 4),
        M::Scasq => t.string(StringOp::Scas, 8),
        M::Insb => t.string(StringOp::Ins, 1),
        M::Insw => t.string(StringOp::Ins, 2),
        M::Insd => t.string(StringOp::Ins, 4),
        M::Outsb => t.string(StringOp::Outs, 1),
        M::Outsw => t.string(StringOp::Outs, 2),
        M::Outsd => t.string(StringOp::Outs, 4),

        M::Nop | M::Reservednop | M::Endbr32 | M::Endbr64 => Next::Continue,
        M::Pause => t.pause(),
        M::Lfence | M::Sfence => Next::Continue,
        M::Mfence => {
            t.ir.fence();
            Next::Continue
        }
        M::Prefetch | M::Prefetchw | M::Prefetchnta | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchwt1 => {
            t.cache_hint(false)
        }
        M::Clflush | M::Clflushopt | M::Clwb => t.cache_hint(true),
        M::Lds => t.load_far_pointer(DS),
        M::Les => t.load_far_pointer(ES),
        M::Lfs => t.load_far_pointer(FS),
        M::Lgs => t.load_far_pointer(GS),
        M::Lss => t.load_far_pointer(SS),
        M::Lgdt => t.load_table(false),
        M::Lidt => t.load_table(true),
        M::Sgdt => t.store_table(false),
        M::Sidt => t.store_table(true),
        M::Sldt => t.store_system(0),
        M::Str => t.store_system(1),
        M::Smsw => t.store_system(2),
        M::Lldt => t.load_system(0),
        M::Ltr => t.load_system(1),
        M::Lmsw => t.load_system(2),
        M::Verr => t.verify(false),
        M::Verw => t.verify(true),
        M::Lar => t.segment_property(false),
        M::Lsl => t.segment_property(true),
        M::Arpl => t.arpl(),
        M::Cli => t.set_interrupts(false),
        M::Sti => t.set_interrupts(true),
        M::Cld => t.set_direction(false),
        M::Std => t.set_direction(true),
        M::Clac => t.set_access(false),
        M::Stac => t.set_access(true),
        M::Clts => t.privileged_call(helpers::CLEAR_TS),
        M::Invd | M::Wbinvd => t.privileged_call(helpers::NOTHING),
        M::Hlt => t.hlt(),
        M::Invlpg => t.invlpg(),
        M::Invpcid => t.invpcid(),
        M::Rdmsr => t.rdmsr(),
        M::Wrmsr => t.wrmsr(),
        M::Rdtsc => t.rdtsc(false),
        M::Rdtscp => t.rdtsc(true),
        M::Rdpmc => t.rdpmc(),
        M::Rdpid => t.rdpid(),
        M::Cpuid => t.cpuid(),
        M::Rdrand | M::Rdseed => t.random(),
        M::In => t.in_port(),
        M::Out => t.out_port(),
        M::Swapgs => t.swapgs(),
        M::Rdfsbase => t.segment_base(FS, false),
        M::Rdgsbase => t.segment_base(GS, false),
        M::Wrfsbase => t.segment_base(FS, true),
        M::Wrgsbase => t.segment_base(GS, true),
        M::Xgetbv => t.extended_control(false),
        M::Xsetbv => t.extended_control(true),
        M::Monitor => t.monitor(false),
        M::Mwait => t.monitor(true),
        M::Rsm => t.rsm(),
        _ => x87::translate(t).or_else(|| sse::translate(t)).unwrap_or_else(|| t.undefined()),
    }
}

fn has_register(t: &Translator<'_>, what: fn(iced_x86::Register) -> bool) -> bool {
    (0..t.insn.op_count()).any(|n| t.insn.op_kind(n) == iced_x86::OpKind::Register && what(t.insn.op_register(n)))
}
