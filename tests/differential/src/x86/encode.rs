//! Encodings: which instructions there are, and random bytes that decode as one of them.

use crate::random::Random;
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, MandatoryPrefix, Mnemonic as M, OpCodeInfo,
    OpCodeOperandKind, OpCodeTableKind,
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
    pub const ALL: [(&str, Set); 4] = [("integer", Set::Integer), ("x87", Set::X87), ("sse", Set::Sse), ("avx", Set::Avx)];

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
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 | F::X64 | F::CX8 | F::CMOV | F::FPU
        | F::FPU287 | F::FPU387 | F::MMX | F::SSE | F::SSE2 | F::FXSR | F::CLFSH | F::MULTIBYTENOP | F::PAUSE
        | F::MSR | F::CET_IBT | F::RDPMC => true,
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
        M::Lar | M::Lsl | M::Verr | M::Verw | M::Lfs | M::Lgs | M::Lss | M::Retf | M::Iret | M::Iretd | M::Iretq => {
            "depends on descriptors"
        }
        M::Int1 => "SIGTRAP does not tell it from other debug exceptions",
        M::Monitor | M::Mwait => "depends on the processor's configuration",
        M::Fxsave | M::Fxsave64 | M::Fxrstor | M::Fxrstor64 | M::Xsave | M::Xsave64 | M::Xsavec | M::Xsavec64
        | M::Xsaves | M::Xsaves64 | M::Xsaveopt | M::Xsaveopt64 | M::Xrstor | M::Xrstor64 | M::Xrstors | M::Xrstors64 => {
            "images differ between processors"
        }
        M::Rsm => "undefined outside of system-management mode",
        _ => return None,
    })
}

/// The set of an instruction, if it is tested.
pub fn set_of(code: Code) -> Option<Set> {
    let info = code.op_code();
    let usable = info.is_instruction() && info.mode64() && !info.fwait() && info.cpl3() | info.is_privileged();
    let tested = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && left_out(code.mnemonic()).is_none()
        && code.cpuid_features().iter().all(|f| has(*f));
    if !usable || !tested || code.mnemonic() == M::INVALID {
        return None;
    }
    let segment = |kind: &OpCodeOperandKind| matches!(kind, OpCodeOperandKind::seg_reg);
    let far = info.op_kinds().iter().any(|k| {
        matches!(k, OpCodeOperandKind::farbr2_2 | OpCodeOperandKind::farbr4_2)
    });
    let loads_segment = matches!(code.mnemonic(), M::Mov) && info.op_kinds().first().is_some_and(segment)
        || matches!(code, Code::Popw_FS | Code::Popq_FS | Code::Popd_FS | Code::Popw_GS | Code::Popq_GS | Code::Popd_GS);
    let far_indirect = matches!(
        code,
        Code::Jmp_m1616 | Code::Jmp_m1632 | Code::Jmp_m1664 | Code::Call_m1616 | Code::Call_m1632 | Code::Call_m1664
    );
    if far || loads_segment || far_indirect {
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

/// The instructions of some sets.
pub fn codes(sets: &[Set]) -> Vec<Code> {
    Code::values().filter(|code| set_of(*code).is_some_and(|set| sets.contains(&set))).collect()
}

/// The name of an encoding: iced's.
pub fn name(code: Code) -> String {
    format!("{code:?}")
}

/// Decodes an instruction at `pc`.
pub fn decode(bytes: &[u8], pc: u64) -> Instruction {
    Decoder::with_ip(64, bytes, pc, DecoderOptions::NONE).decode()
}

/// All instructions of a piece of code.
pub fn decode_all(bytes: &[u8], pc: u64) -> Vec<Instruction> {
    Decoder::with_ip(64, bytes, pc, DecoderOptions::NONE).into_iter().collect()
}

/// Random bytes that decode as `code` at `pc`; only with registers for operands if `registers`.
pub fn bytes_of(code: Code, pc: u64, registers: bool, random: &mut Random) -> Option<Vec<u8>> {
    let info = code.op_code();
    for _ in 0..64 {
        let mut bytes = if info.encoding() == EncodingKind::VEX { vex(info, random) } else { legacy(info, random) };
        operands(info, registers, random, &mut bytes);
        let insn = decode(&bytes, pc);
        if insn.code() == code && insn.len() <= 15 && insn.len() <= bytes.len() {
            bytes.truncate(insn.len());
            return Some(bytes);
        }
    }
    None
}

fn is_branch(info: &OpCodeInfo) -> bool {
    use OpCodeOperandKind as K;
    let near = |k: &K| matches!(k, K::br16_1 | K::br32_1 | K::br64_1 | K::br16_2 | K::br32_4 | K::br64_4);
    info.op_kinds().iter().any(near) || matches!(info.mnemonic(), M::Call | M::Jmp | M::Ret)
}

/// Prefixes and opcode.
fn legacy(info: &OpCodeInfo, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    // An operand-size prefix at branches means something else on AMD's processors than on Intel's.
    let plain = is_branch(info);
    if random.percent(15) {
        bytes.push(random.one_of(&[0x64, 0x65, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26]));
    }
    if info.address_size() == 32 || info.address_size() == 0 && random.percent(8) {
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
    if w || random.percent(60) {
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

fn opcode(info: &OpCodeInfo, random: &mut Random, bytes: &mut Vec<u8>) {
    use OpCodeOperandKind as K;
    let in_opcode =
        |k: &K| matches!(k, K::r8_opcode | K::r16_opcode | K::r32_opcode | K::r64_opcode | K::sti_opcode);
    let register = if info.op_kinds().iter().any(in_opcode) { random.below(8) as u8 } else { 0 };
    let number = info.op_code();
    if info.op_code_len() == 2 {
        bytes.push((number >> 8) as u8);
    }
    bytes.push(number as u8 + register);
}

fn vex(info: &OpCodeInfo, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.percent(10) {
        bytes.push(random.one_of(&[0x64, 0x65, 0x2e, 0x36]));
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
    let v = if random.percent(70) { random.below(16) as u8 } else { 15 };
    let last = v << 3 | l << 2 | pp;
    if map == 1 && w == 0 && random.percent(50) {
        bytes.extend([0xc5, (random.below(2) as u8) << 7 | last]);
    } else {
        bytes.extend([0xc4, (random.below(8) as u8) << 5 | map, w << 7 | last]);
    }
    opcode(info, random, &mut bytes);
    bytes
}

/// ModRM, SIB, displacement and immediates, longer than any instruction needs.
fn operands(info: &OpCodeInfo, registers: bool, random: &mut Random, bytes: &mut Vec<u8>) {
    let mode = if registers || random.percent(35) { 3 } else { random.below(3) as u8 };
    let reg = if info.is_group() { info.group_index() as u8 } else { random.below(8) as u8 };
    let (mode, rm) =
        if info.is_rm_group() { (3, info.rm_group_index() as u8) } else { (mode, random.below(8) as u8) };
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
