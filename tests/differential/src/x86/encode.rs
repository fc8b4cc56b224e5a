//! Encodings: which instructions there are, and random bytes that decode as one of them.

use super::wire::Case;
use crate::random::Random;
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderError, DecoderOptions, EncodingKind, Instruction, MandatoryPrefix,
    Mnemonic as M, OpCodeInfo, OpCodeOperandKind, OpCodeTableKind,
};

/// Groups of instructions, by the state that they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// General-purpose registers and flags.
    Integer,
    /// The x87 unit.
    X87,
    /// MMX and SSE up to SSE4.2, AES, PCLMULQDQ, SHA.
    Sse,
    /// AVX, AVX2, FMA, F16C.
    Avx,
}

impl Set {
    pub const ALL: [(&str, Set); 4] =
        [("integer", Set::Integer), ("x87", Set::X87), ("sse", Set::Sse), ("avx", Set::Avx)];

    /// The set with a name.
    pub fn named(name: &str) -> Option<Set> {
        Set::ALL.iter().find(|(n, _)| *n == name).map(|(_, set)| *set)
    }
}

/// Whether both the host's processor and Mimic have a feature.
fn has(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    macro_rules! detected {
        ($name:tt) => {{
            #[cfg(target_arch = "x86_64")]
            let has = std::arch::is_x86_feature_detected!($name);
            #[cfg(not(target_arch = "x86_64"))]
            let has = false;
            has
        }};
    }
    match feature {
        F::INTEL8086
        | F::INTEL186
        | F::INTEL286
        | F::INTEL386
        | F::INTEL486
        | F::X64
        | F::CX8
        | F::CMOV
        | F::FPU
        | F::FPU287
        | F::FPU387
        | F::MMX
        | F::SSE
        | F::SSE2
        | F::FXSR
        | F::CLFSH
        | F::MULTIBYTENOP
        | F::PAUSE
        | F::MSR
        | F::CET_IBT
        | F::RDPMC => true,
        F::SSE3 => detected!("sse3"),
        F::SSSE3 => detected!("ssse3"),
        F::SSE4_1 => detected!("sse4.1"),
        F::SSE4_2 => detected!("sse4.2"),
        F::POPCNT => detected!("popcnt"),
        F::LZCNT => detected!("lzcnt"),
        F::BMI1 => detected!("bmi1"),
        F::BMI2 => detected!("bmi2"),
        F::ADX => detected!("adx"),
        F::MOVBE => detected!("movbe"),
        F::AES => detected!("aes"),
        F::PCLMULQDQ => detected!("pclmulqdq"),
        F::SHA => detected!("sha"),
        F::AVX => detected!("avx"),
        F::AVX2 => detected!("avx2"),
        F::FMA => detected!("fma"),
        F::F16C => detected!("f16c"),
        F::CMPXCHG16B => detected!("cmpxchg16b"),
        // The runner needs it.
        F::FSGSBASE => true,
        F::PREFETCHW => true,
        _ => false,
    }
}

/// Instructions that are left out, with the reason.
fn left_out(mnemonic: M) -> Option<&'static str> {
    Some(match mnemonic {
        M::Syscall | M::Sysenter | M::Sysexit | M::Sysret | M::Sysexitq | M::Sysretq => "acts on the runner's process",
        M::Cpuid | M::Rdtsc | M::Rdtscp | M::Rdrand | M::Rdseed | M::Rdpid | M::Rdpmc | M::Xgetbv => {
            "what it gives differs between processors"
        }
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => "emulated by Linux where CR4.UMIP is set",
        M::Lar
        | M::Lsl
        | M::Verr
        | M::Verw
        | M::Lds
        | M::Les
        | M::Lfs
        | M::Lgs
        | M::Lss
        | M::Retf
        | M::Iret
        | M::Iretd
        | M::Iretq => "depends on descriptors",
        M::Int1 => "SIGTRAP does not tell it from other debug exceptions",
        M::Monitor | M::Mwait => "depends on the processor's configuration",
        M::Fxsave
        | M::Fxsave64
        | M::Fxrstor
        | M::Fxrstor64
        | M::Xsave
        | M::Xsave64
        | M::Xsavec
        | M::Xsavec64
        | M::Xsaves
        | M::Xsaves64
        | M::Xsaveopt
        | M::Xsaveopt64
        | M::Xrstor
        | M::Xrstor64
        | M::Xrstors
        | M::Xrstors64 => "images differ between processors",
        M::Rsm => "undefined outside of system-management mode",
        M::Fnstenv | M::Fnsave => "images differ between processors",
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss | M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss => {
            "approximations differ between processors"
        }
        M::Fsin | M::Fcos | M::Fsincos | M::Fptan | M::Fpatan | M::F2xm1 | M::Fyl2x | M::Fyl2xp1 => {
            "the last bits differ between processors"
        }
        _ => return None,
    })
}

/// The set of an instruction, if it is tested in code of `bits` (32 or 64) bits.
pub fn set_of(code: Code, bits: u32) -> Option<Set> {
    let info = code.op_code();
    let exists = if bits == 64 { info.mode64() } else { info.mode32() };
    let usable = info.is_instruction() && exists && !info.fwait() && info.cpl3() | info.is_privileged();
    let tested = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && left_out(code.mnemonic()).is_none()
        && code.cpuid_features().iter().all(|f| has(*f));
    if !usable || !tested || code.mnemonic() == M::INVALID {
        return None;
    }
    let segment = |kind: &OpCodeOperandKind| matches!(kind, OpCodeOperandKind::seg_reg);
    let far = info.op_kinds().iter().any(|k| matches!(k, OpCodeOperandKind::farbr2_2 | OpCodeOperandKind::farbr4_2));
    let loads_segment = matches!(code.mnemonic(), M::Mov) && info.op_kinds().first().is_some_and(segment)
        || code.mnemonic() == M::Pop && pops_segment(code);
    let far_indirect = matches!(
        code,
        Code::Jmp_m1616 | Code::Jmp_m1632 | Code::Jmp_m1664 | Code::Call_m1616 | Code::Call_m1632 | Code::Call_m1664
    );
    if far || loads_segment || far_indirect {
        return None;
    }
    // PREFETCH of a register: AMD's processors refuse it, Intel's do nothing.
    if matches!(
        code,
        // With 16 bits AMD's processors read 32, Intel's 16.
        Code::Movsxd_r16_rm16
            | Code::Reservednop_rm16_r16_0F0D
            | Code::Reservednop_rm32_r32_0F0D
            | Code::Reservednop_rm64_r64_0F0D
    ) {
        return None;
    }
    // Undefined for 16 bits.
    if code == Code::Bswap_r16 {
        return None;
    }
    let of = |features: &[CpuidFeature]| code.cpuid_features().iter().any(|f| features.contains(f));
    use CpuidFeature as F;
    let set = if of(&[F::FPU, F::FPU287, F::FPU387]) || code.mnemonic() == M::Wait {
        Set::X87
    } else if info.encoding() == EncodingKind::VEX && of(&[F::AVX, F::AVX2, F::FMA, F::F16C]) {
        Set::Avx
    } else if matches!(
        code.mnemonic(),
        M::Crc32 | M::Lfence | M::Mfence | M::Sfence | M::Prefetchnta | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2
    ) {
        Set::Integer
    } else if of(&[F::MMX, F::SSE, F::SSE2, F::SSE3, F::SSSE3, F::SSE4_1, F::SSE4_2, F::AES, F::PCLMULQDQ, F::SHA]) {
        Set::Sse
    } else {
        Set::Integer
    };
    Some(set)
}

fn pops_segment(code: Code) -> bool {
    use OpCodeOperandKind as K;
    matches!(code.op_code().op0_kind(), K::es | K::ss | K::ds | K::fs | K::gs)
}

/// The instructions of some sets in code of `bits` bits.
pub fn codes(sets: &[Set], bits: u32) -> Vec<Code> {
    Code::values().filter(|code| set_of(*code, bits).is_some_and(|set| sets.contains(&set))).collect()
}

/// The name of an encoding: iced's.
pub fn name(code: Code) -> String {
    format!("{code:?}")
}

/// Decodes an instruction at `pc`.
pub fn decode(bits: u32, bytes: &[u8], pc: u64) -> Instruction {
    Decoder::with_ip(bits, bytes, pc, DecoderOptions::NONE).decode()
}

/// All instructions of a piece of code.
pub fn decode_all(bits: u32, bytes: &[u8], pc: u64) -> Vec<Instruction> {
    Decoder::with_ip(bits, bytes, pc, DecoderOptions::NONE).into_iter().collect()
}

/// The first instruction of a case.
pub fn first(case: &Case) -> Instruction {
    decode(case.bits(), &case.code, case.pc)
}

/// The instructions of a case.
pub fn instructions(case: &Case) -> Vec<Instruction> {
    decode_all(case.bits(), &case.code, case.pc)
}

/// The vector of Linux's system calls from 32-bit code, which works in 64-bit code, too.
const LINUX_SYSTEM_CALL: u8 = 0x80;

/// What operands in a ModRM byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Any,
    Registers,
    /// Memory at a distance from RIP.
    Relative,
}

/// Random bytes that decode as `code` at `pc` in code of `bits` bits.
pub fn bytes_of(code: Code, bits: u32, pc: u64, form: Form, random: &mut Random) -> Option<Vec<u8>> {
    let info = code.op_code();
    for _ in 0..64 {
        let mut bytes =
            if info.encoding() == EncodingKind::VEX { vex(info, bits, random) } else { legacy(info, bits, random) };
        operands(info, form, random, &mut bytes);
        let insn = decode(bits, &bytes, pc);
        let system_call = insn.mnemonic() == M::Int && insn.immediate8() == LINUX_SYSTEM_CALL;
        if insn.code() == code && !system_call && insn.len() <= 15 && insn.len() <= bytes.len() {
            bytes.truncate(insn.len());
            return Some(bytes);
        }
    }
    None
}

/// Whether an instruction is a near branch.
pub fn is_branch(info: &OpCodeInfo) -> bool {
    use OpCodeOperandKind as K;
    let near = |k: &K| matches!(k, K::br16_1 | K::br32_1 | K::br64_1 | K::br16_2 | K::br32_4 | K::br64_4);
    info.op_kinds().iter().any(near) || matches!(info.mnemonic(), M::Call | M::Jmp | M::Ret)
}

/// Whether no case has an encoding: branches with an operand-size prefix mean something else on AMD's processors than on
/// Intel's.
pub fn is_left_out(code: Code) -> bool {
    is_branch(code.op_code()) && code.op_code().operand_size() == 16
}

/// Prefixes and opcode.
fn legacy(info: &OpCodeInfo, bits: u32, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    // See `is_left_out`.
    let plain = is_branch(info);
    if random.percent(15) {
        bytes.push(segment_prefix(bits, random));
    }
    if info.address_size() == bits / 2 || info.address_size() == 0 && random.percent(8) {
        bytes.push(0x67);
    }
    if info.operand_size() == 16 && !plain {
        bytes.push(0x66);
    }
    match info.mandatory_prefix() {
        MandatoryPrefix::P66 => bytes.push(0x66),
        MandatoryPrefix::PF3 => bytes.push(0xf3),
        MandatoryPrefix::PF2 => bytes.push(0xf2),
        _ if info.can_use_lock_prefix() && random.percent(25) => bytes.push(0xf0),
        _ if (info.can_use_rep_prefix() || info.can_use_repne_prefix()) && random.percent(66) => {
            bytes.push(random.one_of(&[0xf2, 0xf3]));
        }
        MandatoryPrefix::None if !plain && random.percent(2) => bytes.push(random.one_of(&[0xf2, 0xf3])),
        _ => {}
    }
    let wide = info.operand_size() == 64 && (!info.default_op_size64() || random.percent(20));
    let w = wide || info.operand_size() == 0 && random.percent(20);
    if bits == 64 && (w || random.percent(60)) {
        bytes.push(0x40 | u8::from(w) << 3 | random.below(8) as u8);
    }
    match info.table() {
        OpCodeTableKind::T0F => bytes.push(0x0f),
        OpCodeTableKind::T0F38 => bytes.extend([0x0f, 0x38]),
        OpCodeTableKind::T0F3A => bytes.extend([0x0f, 0x3a]),
        _ => {}
    }
    opcode(info, random, &mut bytes);
    bytes
}

/// FS and GS in 64-bit code, where they have bases; in 32-bit code they have no segment. Others change nothing.
fn segment_prefix(bits: u32, random: &mut Random) -> u8 {
    if bits == 64 && random.percent(50) {
        random.one_of(&[0x64, 0x65])
    } else {
        random.one_of(&[0x36, 0x3e, 0x26, if bits == 64 { 0x2e } else { 0x3e }])
    }
}

fn opcode(info: &OpCodeInfo, random: &mut Random, bytes: &mut Vec<u8>) {
    use OpCodeOperandKind as K;
    let in_opcode = |k: &K| matches!(k, K::r8_opcode | K::r16_opcode | K::r32_opcode | K::r64_opcode | K::sti_opcode);
    let register = if info.op_kinds().iter().any(in_opcode) { random.below(8) as u8 } else { 0 };
    let number = info.op_code();
    if info.op_code_len() == 2 {
        bytes.push((number >> 8) as u8);
    }
    bytes.push(number as u8 + register);
}

fn vex(info: &OpCodeInfo, bits: u32, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.percent(10) {
        bytes.push(segment_prefix(bits, random));
    }
    if random.percent(8) {
        bytes.push(0x67);
    }
    let pp = match info.mandatory_prefix() {
        MandatoryPrefix::P66 => 1,
        MandatoryPrefix::PF3 => 2,
        MandatoryPrefix::PF2 => 3,
        _ => 0,
    };
    let map = match info.table() {
        OpCodeTableKind::T0F38 => 2,
        OpCodeTableKind::T0F3A => 3,
        _ => 1u8,
    };
    let l = if info.is_lig() { random.below(2) } else { u64::from(info.l()) } as u8;
    let w = if info.is_wig() { random.below(2) } else { u64::from(info.w()) } as u8;
    // The third register, inverted; where there is none it must be all ones.
    // In 32-bit code the upper bits, inverted, must be ones as well: without them it is LDS or LES.
    let v = if random.percent(70) { random.below(16) as u8 } else { 15 } | if bits == 32 { 8 } else { 0 };
    let extensions = if bits == 32 { 7 } else { random.below(8) as u8 };
    let last = v << 3 | l << 2 | pp;
    if map == 1 && w == 0 && random.percent(50) {
        bytes.extend([0xc5, extensions << 7 | last]);
    } else {
        bytes.extend([0xc4, extensions << 5 | map, w << 7 | last]);
    }
    opcode(info, random, &mut bytes);
    bytes
}

/// ModRM, SIB, displacement and immediates, longer than any instruction needs.
fn operands(info: &OpCodeInfo, form: Form, random: &mut Random, bytes: &mut Vec<u8>) {
    let reg = if info.is_group() { info.group_index() as u8 } else { random.below(8) as u8 };
    let (mode, rm) = match form {
        _ if info.is_rm_group() => (3, info.rm_group_index() as u8),
        Form::Relative => (0, 5),
        Form::Any if random.percent(65) => (random.below(3) as u8, random.below(8) as u8),
        _ => (3, random.below(8) as u8),
    };
    bytes.push(mode << 6 | (reg & 7) << 3 | rm & 7);
    bytes.push(random.bits() as u8);
    for _ in 0..2 {
        let value = match random.below(4) {
            0 => random.integer(64),
            1 => random.integer(8) | random.integer(32) << 8,
            _ => random.bits(),
        };
        bytes.extend(value.to_le_bytes());
    }
}

/// Bytes that begin like an instruction of any opcode map.
pub fn random_bytes(bits: u32, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.percent(30) {
        bytes.push(random.one_of(&[0x66, 0xf2, 0xf3, 0xf0, 0xf0]));
    }
    if bits == 64 && random.percent(30) {
        bytes.push(0x40 | random.below(16) as u8);
    }
    match random.below(8) {
        0 => {}
        1 => bytes.extend([0xc4, random.bits() as u8 & 0xe0 | random.below(5) as u8]),
        2 => bytes.push(0xc5),
        3 => bytes.extend([0x0f, 0x38]),
        4 => bytes.extend([0x0f, 0x3a]),
        _ => bytes.push(0x0f),
    }
    while bytes.len() < 15 {
        bytes.push(random.bits() as u8);
    }
    bytes
}

/// What bytes decode as if they are no instruction.
pub fn undefined(bits: u32, bytes: &[u8], pc: u64) -> Option<Instruction> {
    let mut found = None;
    for options in [DecoderOptions::NONE, DecoderOptions::AMD] {
        let mut decoder = Decoder::with_ip(bits, bytes, pc, options);
        let insn = decoder.decode();
        if decoder.last_error() != DecoderError::InvalidInstruction {
            return None;
        }
        found.get_or_insert(insn);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_can_be_encoded() {
        let mut random = Random::new(1);
        let sets = Set::ALL.map(|(_, set)| set);
        let mut lacking = Vec::new();
        for (code, bits) in [32, 64].into_iter().flat_map(|bits| codes(&sets, bits).into_iter().map(move |c| (c, bits)))
        {
            // UD0 without operands is AMD's.
            if is_left_out(code) || code == Code::Ud0 {
                continue;
            }
            let found = (0..32).find_map(|_| bytes_of(code, bits, 0x1000, Form::Any, &mut random));
            match found {
                Some(bytes) => assert_eq!(decode(bits, &bytes, 0x1000).code(), code),
                None => lacking.push((bits, code)),
            }
        }
        assert!(lacking.is_empty(), "not encoded: {lacking:?}");
    }

    #[test]
    fn what_is_undefined_is_no_instruction_of_anybody() {
        // UD2 is an instruction; a lock of a register is not; EXTRQ is AMD's.
        let padded = |start: &[u8]| {
            let mut bytes = start.to_vec();
            bytes.resize(15, 0);
            bytes
        };
        assert!(undefined(64, &padded(&[0x0f, 0x0b]), 0).is_none());
        assert!(undefined(64, &padded(&[0xf0, 0x01, 0xc0]), 0).is_some());
        assert!(undefined(64, &padded(&[0x66, 0x0f, 0x79, 0xc0]), 0).is_none());
    }
}
