//! What counts as a difference; cases as text.

use super::encode;
use super::generate::{undefined_after, undefined_flags};
use super::wire::*;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic as M, OpKind, Register};

/// Flags that are compared: status, IF, DF, IOPL, NT, AC and ID.
const FLAGS: u64 = 0x0024_7ed5;
const NOP: u8 = 0x90;
const REGISTERS: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// A difference that is not Mimic's fault.
pub struct Known {
    pub why: &'static str,
    /// Whether it is this one, by one of the instructions.
    pub applies: fn(insn: &Instruction, case: &Case, theirs: &Outcome, ours: &Outcome) -> bool,
}

/// What is known to differ.
pub const KNOWN: &[Known] = &[
    Known {
        why: "SHLD and SHRD of 16 bits by more are undefined",
        applies: |first, case, theirs, ours| {
            let count =
                if first.op2_kind() == OpKind::Immediate8 { first.immediate8() } else { case.state.gpr[1] as u8 };
            let narrow = first.op1_register().size() == 2 && matches!(first.mnemonic(), M::Shld | M::Shrd);
            narrow && count & 31 > 16 && theirs.vector == ours.vector
        },
    },
    Known {
        why: "whether an access across 4 GiB in 32-bit code exceeds the limit is up to the processor",
        applies: |_, case, theirs, ours| {
            let near = ours.address >= 0xffff_ff00 || ours.address < 0x100;
            case.bits() == 32 && matches!(theirs.vector, 12 | 13) && ours.vector == 14 && near
        },
    },
    Known {
        why: "POPA that faults: AMD's processors keep what was popped",
        applies: |first, _, theirs, ours| {
            matches!(first.mnemonic(), M::Popa | M::Popad)
                && (theirs.vector, theirs.address) == (ours.vector, ours.address)
        },
    },
    Known {
        why: "ARPL: AMD's processors read before they know that they write",
        applies: |first, _, theirs, ours| first.mnemonic() == M::Arpl && theirs.error | 2 == ours.error,
    },
    Known {
        why: "DPPS and DPPD with exceptions that are not masked: whether those of sums are reported beside those of products",
        applies: |first, case, theirs, ours| {
            let mut like_theirs = ours.clone();
            like_theirs.state.mxcsr = theirs.state.mxcsr;
            let dots = matches!(first.mnemonic(), M::Dpps | M::Dppd | M::Vdpps | M::Vdppd);
            dots && theirs.vector == 19 && differences(case, theirs, &like_theirs).is_empty()
        },
    },
    Known {
        why: "MXCSR has a bit of AMD's own, 17",
        applies: |_, _, theirs, ours| theirs.state.mxcsr >> 16 != 0 && ours.vector == 13,
    },
    Known {
        why: "FS and GS with offsets that are not canonical: AMD's processors look at the offset",
        applies: |first, case, theirs, ours| {
            let based = matches!(first.memory_segment(), Register::FS | Register::GS);
            based && case.bits() == 64 && theirs.vector == 13 && ours.vector != 13
        },
    },
    Known {
        why: "reads the code of other cases, which is not the same everywhere",
        applies: |first, case, theirs, ours| {
            let in_code = |va: u64| va.wrapping_sub(CODE.wrapping_sub(64)) < CODE_SIZE + 64;
            let gathers = first.memory_index().is_vector_register();
            let register = |register: Register, _: usize, _: usize| match register {
                Register::FS => Some(case.state.fs_base),
                Register::GS => Some(case.state.gs_base),
                _ if register.is_segment_register() => Some(0),
                _ if register.is_gpr() => case.state.gpr.get(register.full_register().number()).copied(),
                _ => Some(0),
            };
            let mut factory = InstructionInfoFactory::new();
            let memory = factory.info(first).used_memory();
            let reads = memory.iter().any(|m| m.virtual_address(0, register).is_some_and(in_code));
            theirs.vector == ours.vector && (reads || gathers && in_code(first.memory_displacement64()))
        },
    },
    Known {
        why: "stores of 256 bits that fault: half of it may have been stored",
        applies: |first, case, theirs, ours| {
            let like_theirs = Outcome { window: theirs.window, ..ours.clone() };
            let wide = first.op0_kind() == OpKind::Memory && first.memory_size().size() == 32;
            wide && theirs.vector == 14 && differences(case, theirs, &like_theirs).is_empty()
        },
    },
    Known {
        why: "indirect CALL with two faults: whether the push or the target is looked at first",
        applies: |first, _, theirs, ours| {
            first.is_call_near_indirect() && ours.vector == 13 && matches!(theirs.vector, 12 | 14)
        },
    },
    Known {
        why: "x87 comparisons that raise an exception which is not masked: AMD's processors give their result",
        applies: |first, case, theirs, ours| {
            let compares = matches!(
                first.mnemonic(),
                M::Fcom
                    | M::Fcomp
                    | M::Fcompp
                    | M::Fucom
                    | M::Fucomp
                    | M::Fucompp
                    | M::Ficom
                    | M::Ficomp
                    | M::Ftst
                    | M::Fcomi
                    | M::Fcomip
                    | M::Fucomi
                    | M::Fucomip
            );
            let mut like_theirs = ours.clone();
            let codes = 0x4700;
            like_theirs.state.fsw = ours.state.fsw & !codes | theirs.state.fsw & codes;
            like_theirs.state.rflags = theirs.state.rflags;
            compares && theirs.state.fsw & 0x80 != 0 && differences(case, theirs, &like_theirs).is_empty()
        },
    },
    Known {
        why: "FCOMI and its kin: AMD's processors leave C1, and give results with exceptions that are not masked",
        applies: |first, _, theirs, ours| {
            let to_flags = matches!(first.mnemonic(), M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip);
            let mut like_theirs = ours.clone();
            like_theirs.state.fsw |= 0x200;
            to_flags && (theirs.state.fsw & 0x80 != 0 || theirs.state == like_theirs.state)
        },
    },
    Known {
        why: "FLDENV and FRSTOR across pages: processors differ in the first field that they read",
        applies: |first, _, theirs, ours| {
            let loads = matches!(first.mnemonic(), M::Fldenv | M::Frstor);
            let page = |outcome: &Outcome| outcome.address >> 12;
            loads && theirs.vector == 14 && (page(theirs) == page(ours) || matches!(ours.vector, 12 | 13))
        },
    },
    Known {
        why: "CVTPI2PS with memory: AMD's processors leave the x87 unit alone",
        applies: |first, _, _, _| first.mnemonic() == M::Cvtpi2ps && first.op_kind(1) == OpKind::Memory,
    },
    Known {
        why: "conversions of MMX registers with an exception: AMD's processors have left the x87 state before",
        applies: |first, _, theirs, ours| {
            let mnemonic = first.mnemonic();
            let converts = matches!(mnemonic, M::Cvtpi2ps | M::Cvtps2pi | M::Cvttps2pi | M::Cvtpd2pi | M::Cvttpd2pi);
            converts && (theirs.vector, ours.vector) == (19, 19)
        },
    },
    Known {
        why: "SHA instructions: AMD's processors do not ask for alignment",
        applies: |first, _, theirs, ours| {
            first.cpuid_features().contains(&iced_x86::CpuidFeature::SHA) && ours.vector == 13 && theirs.vector != 13
        },
    },
    Known {
        why: "MASKMOVQ and MASKMOVDQU: which bytes that are not stored may fault is up to the processor",
        applies: |first, _, theirs, _| {
            matches!(first.mnemonic(), M::Maskmovq | M::Maskmovdqu | M::Vmaskmovdqu) && theirs.vector == 14
        },
    },
    Known {
        why: "INS and OUTS with a count of zero: AMD's processors check the permission first",
        applies: |first, case, theirs, _| {
            let mnemonic = first.mnemonic();
            let ports = matches!(mnemonic, M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd);
            let short = first.op_kinds().any(|kind| matches!(kind, OpKind::MemoryESEDI | OpKind::MemorySegESI));
            let shortest = first.op_kinds().any(|kind| matches!(kind, OpKind::MemoryESDI | OpKind::MemorySegSI));
            let mask = match (shortest, short) {
                (true, _) => 0xffff,
                (_, true) => 0xffff_ffff,
                _ => u64::MAX,
            };
            let count = case.state.gpr[1] & mask;
            let repeated = first.has_rep_prefix() || first.has_repne_prefix();
            ports && repeated && count == 0 && theirs.vector == 13 && theirs.pc == case.pc
        },
    },
];

/// Why a difference is expected, if it is.
pub fn known(case: &Case, theirs: &Outcome, ours: &Outcome) -> Option<&'static str> {
    let applies = |k: &&Known| encode::instructions(case).iter().any(|insn| (k.applies)(insn, case, theirs, ours));
    KNOWN.iter().find(applies).map(|k| k.why)
}

/// Whether nothing that [`differences`] looks at differs. (Most cases are equal, and this is quicker.)
pub fn equal(theirs: &Outcome, ours: &Outcome) -> bool {
    let same_flags = (theirs.state.rflags ^ ours.state.rflags) & FLAGS == 0;
    same_flags
        && (theirs.vector, theirs.error, theirs.address, theirs.pc, theirs.outside)
            == (ours.vector, ours.error, ours.address, ours.pc, ours.outside)
        && theirs.window == ours.window
        && theirs.state == State { rflags: theirs.state.rflags, ..ours.state.clone() }
}

/// The differing fields, one line each.
pub fn differences(case: &Case, theirs: &Outcome, ours: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |name: &str, theirs: u128, ours: u128| {
        if theirs != ours {
            lines.push(format!("{name}: host {theirs:#x}, Mimic {ours:#x}"));
        }
    };
    compare("vector", theirs.vector.into(), ours.vector.into());
    // Linux does not tell what is mapped in its own half.
    let mask = if theirs.vector == 14 && theirs.address >= 0x7fff_ffff_f000 { !1 } else { u32::MAX };
    compare("error code", (theirs.error & mask).into(), (ours.error & mask).into());
    compare("address", theirs.address.into(), ours.address.into());
    compare("pc - start", theirs.pc.wrapping_sub(case.pc).into(), ours.pc.wrapping_sub(case.pc).into());
    let (a, b) = (&theirs.state, &ours.state);
    for (n, name) in REGISTERS.iter().enumerate() {
        compare(name, a.gpr[n].into(), b.gpr[n].into());
    }
    let instructions = encode::instructions(case);
    // After a fault it is not known here which of them were executed.
    let undefined = if faulted(case, theirs) {
        instructions.iter().fold(0, |all, insn| all | undefined_flags(insn))
    } else {
        undefined_after(&instructions)
    };
    let mask = FLAGS & !undefined;
    compare("rflags", (a.rflags & mask).into(), (b.rflags & mask).into());
    compare("fs base", a.fs_base.into(), b.fs_base.into());
    compare("gs base", a.gs_base.into(), b.gs_base.into());
    compare("mxcsr", a.mxcsr.into(), b.mxcsr.into());
    compare("fcw", a.fcw.into(), b.fcw.into());
    compare("fsw", a.fsw.into(), b.fsw.into());
    compare("ftw", a.ftw.into(), b.ftw.into());
    for n in 0..8 {
        compare(&format!("st{n}"), a.st[n], b.st[n]);
    }
    for n in 0..16 {
        compare(&format!("xmm{n}"), a.xmm[n], b.xmm[n]);
        compare(&format!("yh{n}"), a.ymm_high[n], b.ymm_high[n]);
    }
    for (n, (a, b)) in theirs.window.chunks_exact(8).zip(ours.window.chunks_exact(8)).enumerate() {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0u128, |word, byte| word << 8 | u128::from(*byte));
        compare(&format!("window[{}]", 8 * n), word(a), word(b));
    }
    compare("data outside of the window", theirs.outside.into(), ours.outside.into());
    lines
}

/// Whether an outcome says nothing about an instruction: it ended with a fault before it did anything.
pub fn faulted(case: &Case, outcome: &Outcome) -> bool {
    outcome.vector != NO_VECTOR && !(case.isolated() && outcome.vector == 3)
}

/// The mnemonic of the first instruction.
pub fn mnemonic(case: &Case) -> M {
    encode::first(case).mnemonic()
}

/// A case as one line that [`parse`] reads; what is as in [`State::default`] is left out.
pub fn line(case: &Case) -> String {
    let mut line: String = case.code.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut put = |name: &str, value: u128, usual: u128| {
        if value != usual {
            line.push_str(&format!(" {name}={value:x}"));
        }
    };
    put("pc", case.pc.into(), CODE.into());
    put("flags", case.flags.into(), 0);
    put("at", case.window_offset.into(), 0);
    let (s, usual) = (&case.state, State::default());
    for (n, name) in REGISTERS.iter().enumerate() {
        put(name, s.gpr[n].into(), 0);
    }
    put("rflags", s.rflags.into(), usual.rflags.into());
    put("fs", s.fs_base.into(), 0);
    put("gs", s.gs_base.into(), 0);
    put("mxcsr", s.mxcsr.into(), usual.mxcsr.into());
    put("fcw", s.fcw.into(), usual.fcw.into());
    put("fsw", s.fsw.into(), 0);
    put("ftw", s.ftw.into(), 0);
    for (n, value) in s.st.iter().enumerate() {
        put(&format!("st{n}"), *value, 0);
    }
    for (n, value) in s.xmm.iter().enumerate() {
        put(&format!("xmm{n}"), *value, 0);
    }
    for (n, value) in s.ymm_high.iter().enumerate() {
        put(&format!("yh{n}"), *value, 0);
    }
    for (n, bytes) in case.window.chunks_exact(16).enumerate() {
        put(&format!("m{n}"), bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)), 0);
    }
    line
}

/// The case of a line.
///
/// # Errors
/// Names the part that makes no sense.
pub fn parse(line: &str) -> Result<Case, String> {
    let mut parts = line.split_whitespace();
    let hex = |text: &str| u128::from_str_radix(text, 16).map_err(|e| format!("`{text}`: {e}"));
    let code = parts.next().ok_or("an empty line")?;
    let code: Vec<u8> = (0..code.len() / 2)
        .map(|n| Ok(hex(code.get(2 * n..2 * n + 2).ok_or("code must be ASCII")?)? as u8))
        .collect::<Result<_, String>>()?;
    if code.is_empty() || code.len() > CODE_MAX {
        return Err(format!("code must have 1 to {CODE_MAX} bytes"));
    }
    let mut case = Case {
        code,
        instructions: 0,
        pc: CODE,
        flags: 0,
        window_offset: 0,
        state: State::default(),
        window: [0; WINDOW],
    };
    for part in parts {
        let (name, value) = part.split_once('=').ok_or(format!("`{part}` is not name=value"))?;
        let value = hex(value)?;
        let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let index = digits.parse::<usize>().unwrap_or(usize::MAX);
        let unknown = || format!("`{name}` is no part of a case");
        let state = &mut case.state;
        match name {
            "pc" => case.pc = value as u64,
            "flags" => case.flags = value as u32,
            "at" => case.window_offset = value as u32,
            "rflags" => state.rflags = value as u64,
            "fs" => state.fs_base = value as u64,
            "gs" => state.gs_base = value as u64,
            "mxcsr" => state.mxcsr = value as u32,
            "fcw" => state.fcw = value as u16,
            "fsw" => state.fsw = value as u16,
            "ftw" => state.ftw = value as u8,
            _ if name.starts_with("st") => *state.st.get_mut(index).ok_or_else(unknown)? = value,
            _ if name.starts_with("xmm") => *state.xmm.get_mut(index).ok_or_else(unknown)? = value,
            _ if name.starts_with("yh") => *state.ymm_high.get_mut(index).ok_or_else(unknown)? = value,
            _ if name.starts_with('m') => {
                let bytes = case.window.chunks_exact_mut(16).nth(index.min(WINDOW)).ok_or_else(unknown)?;
                bytes.copy_from_slice(&value.to_le_bytes());
            }
            _ => {
                let n = REGISTERS.iter().position(|r| *r == name).ok_or_else(unknown)?;
                state.gpr[n] = value as u64;
            }
        }
    }
    case.instructions = encode::instructions(&case).len() as u64;
    Ok(case)
}

/// Simplifies `case` step by step as long as `diverges` says that it still does.
pub fn shrink(mut case: Case, mut diverges: impl FnMut(&Case) -> bool) -> Case {
    let mut attempt = |case: &mut Case, change: &dyn Fn(&mut Case)| {
        let mut simpler = case.clone();
        change(&mut simpler);
        if simpler != *case && diverges(&simpler) {
            *case = simpler;
        }
    };
    // The first instruction alone.
    attempt(&mut case, &|c| {
        c.code.truncate(encode::first(c).len());
        c.instructions = 1;
    });
    // NOPs for others; it may have been more than one.
    let mut at = 0;
    while at < case.code.len() {
        let len = encode::decode(case.bits(), &case.code[at..], case.pc + at as u64).len().max(1);
        attempt(&mut case, &|c| {
            c.code[at..at + len].fill(NOP);
            c.instructions = encode::instructions(c).len() as u64;
        });
        at += len;
    }
    attempt(&mut case, &|c| c.window = [0; WINDOW]);
    attempt(&mut case, &|c| c.state.rflags = 0x202);
    for bit in [0, 2, 4, 6, 7, 10, 11] {
        attempt(&mut case, &|c| c.state.rflags &= !(1 << bit));
    }
    attempt(&mut case, &|c| (c.state.fs_base, c.state.gs_base) = (0, 0));
    if case.with_vectors() {
        let usual = State::default();
        attempt(&mut case, &|c| c.state.mxcsr = usual.mxcsr);
        attempt(&mut case, &|c| c.state.fcw = usual.fcw);
        attempt(&mut case, &|c| c.state.fsw = 0);
        attempt(&mut case, &|c| c.state.ymm_high = [0; 16]);
        attempt(&mut case, &|c| c.state.xmm = [0; 16]);
        attempt(&mut case, &|c| (c.state.st, c.state.ftw) = ([0; 8], 0));
    }
    for n in 0..16 {
        attempt(&mut case, &|c| c.state.gpr[n] = 0);
        attempt(&mut case, &|c| c.state.xmm[n] = 0);
        attempt(&mut case, &|c| c.state.ymm_high[n] = 0);
        attempt(&mut case, &|c| c.state.st[n % 8] = 0);
    }
    for n in 0..16 {
        attempt(&mut case, &|c| c.state.gpr[n] = c.state.gpr[n].min(1));
        attempt(&mut case, &|c| c.state.gpr[n] &= 0xffff_ffff);
        attempt(&mut case, &|c| c.state.gpr[n] &= 0xffff);
        attempt(&mut case, &|c| c.state.gpr[n] &= 0xff);
        for part in 0..4 {
            attempt(&mut case, &|c| c.state.xmm[n] &= !(0xffff_ffff << (32 * part)));
            attempt(&mut case, &|c| c.state.ymm_high[n] &= !(0xffff_ffff << (32 * part)));
        }
    }
    for n in 0..WINDOW / 16 {
        attempt(&mut case, &|c| c.window[16 * n..16 * n + 16].fill(0));
    }
    case
}
