//! Instructions as text, for logs, by capstone.

use capstone::prelude::*;
use vm::Gva;

/// One line per instruction, `0x40080000:  d503201f  nop`.
pub fn lines(pc: Gva, code: &[u8]) -> Vec<String> {
    let capstone = Capstone::new().arm64().mode(arch::arm64::ArchMode::Arm).build().ok();
    let line = |(n, bytes): (usize, &[u8])| {
        let at = pc.0.wrapping_add(4 * n as u64);
        let word = bytes.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let found = capstone.as_ref().and_then(|c| c.disasm_count(bytes, at, 1).ok());
        let text = found.as_ref().and_then(|all| all.iter().next()).map(|insn| {
            let (mnemonic, operands) = (insn.mnemonic().unwrap_or_default(), insn.op_str().unwrap_or_default());
            format!("{mnemonic} {operands}").trim_end().to_string()
        });
        format!("{at:#x}:  {word:08x}  {}", text.as_deref().unwrap_or("undefined"))
    };
    code.chunks_exact(4).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_instruction() {
        let code: Vec<u8> = [0xd503_201fu32, 0x9100_0421, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
        let expected =
            ["0x40080000:  d503201f  nop", "0x40080004:  91000421  add x1, x1, #1", "0x40080008:  00000000  udf #0"];
        assert_eq!(lines(Gva(0x4008_0000), &code), expected);
    }
}
