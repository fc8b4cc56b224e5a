//! Differential test: single instructions, and pairs of them, on Mimic and on `qemu-aarch64`, on the same random state.
//!
//! Every row of the A64 decode tables is filled with random operands ([`generate`]) and executed by the interpreter, by
//! compiled code ([`machine`]) and by the runner program ([`oracle`]); all registers, the flags, FPSR, memory and the
//! exception must be the same ([`compare`]). A difference is made small ([`shrink`]) and printed as a line that
//! `--replay` takes and `regressions.txt` keeps. [`x86`] does the same with x86-64 instructions and the host's processor.

#![forbid(unsafe_code)]

pub mod compare;
pub mod generate;
pub mod machine;
pub mod oracle;
pub mod random;
pub mod run;
pub mod sequences;
pub mod shrink;
pub mod wire;
pub mod x86;

/// An instruction as text.
pub fn disassemble(word: u32) -> String {
    use capstone::prelude::*;
    let text = Capstone::new().arm64().mode(arch::arm64::ArchMode::Arm).build().ok().and_then(|capstone| {
        let all = capstone.disasm_count(&word.to_le_bytes(), wire::ISOLATED_PC, 1).ok()?;
        let first = all.iter().next()?;
        Some(format!("{} {}", first.mnemonic()?, first.op_str()?))
    });
    text.unwrap_or_else(|| format!(".inst {word:#010x}"))
}

/// The instructions of a case as text.
pub fn disassemble_case(case: &wire::Case) -> String {
    let first = disassemble(case.insn);
    if case.insn2 == 0 { first } else { format!("{first}; {}", disassemble(case.insn2)) }
}
