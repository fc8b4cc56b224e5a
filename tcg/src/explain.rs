//! What the translator makes of a few bytes of code, as text.

use crate::exec::{Tcg, Tiers};
use crate::frontend::Frontend;
use crate::ir::{self, Block};
use std::fmt::Write as _;
use vm::Gva;

/// Disassembly, IR, optimised IR and host code of `code`, as if it lay at `pc` in mode `mode`.
pub fn explain<F: Frontend>(frontend: F, mode: u64, pc: Gva, code: &[u8]) -> String {
    let tcg = Tcg::new(
        frontend,
        Tiers { template_after: None, trace_after: None, compile_after: None, synchronous: true },
        None,
        None,
    );
    let shared = tcg.shared();
    let frontend = &shared.frontend;
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
        #[cfg(feature = "cranelift")]
        if let Some((template, optimized)) = host_code(shared, here, mode, &block) {
            let _ = write!(text, "Host code, templates:\n{template}\n\nHost code, optimized:\n{optimized}\n\n");
        }
        at += len;
    }
    text
}

/// The host code of a block that lies at `pc`.
#[cfg(feature = "cranelift")]
fn host_code<F: Frontend>(
    shared: &crate::exec::Shared<F>,
    pc: Gva,
    mode: u64,
    block: &Block,
) -> Option<(String, String)> {
    let key = crate::cache::BlockKey { gpa: vm::Gpa(pc.0), mode };
    let home = vm::Ram::new(1).ok()?;
    let limits = crate::interp::Limits { temps: 0 };
    let code = crate::interp::decode(block, shared.helpers, &limits)?;
    let cached = crate::cache::Block::new(key, block.len_bytes, block.insns, code, (home, 0));
    let template = match crate::x64::Template::new(1 << 20) {
        Ok(template) => template.bytes_of(shared, &cached, block),
        Err(error) => return Some((format!("; {error}"), String::new())),
    };
    let template = template.map_or_else(|| "; too complex".to_owned(), |code| crate::cranelift::listing(0, &code));
    Some((template, crate::cranelift::explain(shared, std::sync::Arc::new(cached), block)))
}
