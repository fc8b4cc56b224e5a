//! What the translator makes of a few bytes of code, as text.

use crate::frontend::Frontend;
use crate::ir::{self, Block};
use std::fmt::Write as _;
use vm::Gva;

/// Disassembly, IR and optimised IR of `code`, as if it lay at `pc` in mode `mode`.
pub fn explain<F: Frontend>(frontend: &F, mode: u64, pc: Gva, code: &[u8]) -> String {
    let names = frontend.names();
    let mut text = String::new();
    let mut at = 0;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let mut block = Block::default();
        frontend.translate(mode, rest, 32, &mut block);
        let len = (block.len_bytes as usize).clamp(1, rest.len());
        let here = Gva(pc.0 + at as u64);
        for line in frontend.disassemble(here, &rest[..len]) {
            let _ = writeln!(text, "{line}");
        }
        if let Err(error) = ir::verify(&block) {
            let _ = writeln!(text, "; invalid IR: {error}");
        }
        let _ = write!(text, "\nIR:\n{}", block.display(names));
        crate::opt::optimize(&mut block, frontend.helpers());
        let _ = write!(text, "\nIR after dead_sets:\n{}\n", block.display(names));
        at += len;
    }
    text
}
