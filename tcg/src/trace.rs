//! Warm code: the block and those that mostly follow it become one piece of template code.
//!
//! A trace saves what each block costs by itself - the look at the budget, the count of runs, the way over a link, reading
//! registers anew - for little more than what templates cost anyhow. It has one entry; branches that mostly go elsewhere
//! leave it. What is hot becomes a region later, see `cranelift/region.rs`.

use crate::cache::Block;
use crate::exec::Shared;
use crate::frontend::Frontend;
use crate::ir::{self, Terminal};
use crate::x64::{Full, Part, Template};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Blocks of a trace at most.
const MAX_BLOCKS: usize = 16;
/// Guest instructions of a trace at most.
const MAX_INSNS: u32 = 96;

/// The blocks that mostly follow `head` and one another, with the exit that leads to each.
fn choose<F: Frontend>(shared: &Shared<F>, head: &Arc<Block>) -> Vec<(Arc<Block>, usize)> {
    let mut path: Vec<(Arc<Block>, usize)> = vec![(head.clone(), 0)];
    let mut insns = head.insns;
    while path.len() < MAX_BLOCKS {
        let Some((last, _)) = path.last() else { break };
        let runs = last.runs.get();
        let next = shared.successors(last).into_iter().enumerate();
        let next = next.filter_map(|(exit, block)| block.map(|block| (block, exit)));
        let Some((next, exit)) = next.max_by_key(|(block, exit)| (block.runs.get(), usize::MAX - exit)) else { break };
        insns += next.insns;
        let mostly = next.runs.get() >= runs / 2 && next.valid.load(Ordering::Acquire);
        if !mostly || insns > MAX_INSNS || path.iter().any(|(block, _)| Arc::ptr_eq(block, &next)) {
            break;
        }
        path.push((next, exit));
    }
    path
}

impl<F: Frontend> Shared<F> {
    /// Gives a warm block a trace, on the vCPU's thread. From then on its runs are counted towards optimization, with a
    /// trace or without.
    pub(crate) fn trace(&self, template: &Template<F>, head: &Arc<Block>) {
        let hot_after = self.hot_after(head);
        let path = choose(self, head);
        if path.len() == 1 || !self.emit_trace(template, &path, hot_after) {
            head.runs.ask_at(hot_after.unwrap_or(u32::MAX));
        }
    }

    fn emit_trace(&self, template: &Template<F>, path: &[(Arc<Block>, usize)], hot_after: Option<u32>) -> bool {
        let mut translated: Vec<ir::Block> = Vec::with_capacity(path.len());
        for (block, _) in path {
            let mut ir = self.retranslate(block);
            if ir.insns != block.insns || ir.end.is_none() {
                // The guest is changing the code just now.
                return false;
            }
            crate::opt::optimize(&mut ir, self.helpers);
            translated.push(ir);
        }
        let exits = path.iter().skip(1).map(|(_, exit)| *exit).chain([0]);
        let blocks = path.iter().map(|(block, _)| &**block);
        let parts: Vec<Part<'_>> =
            blocks.zip(&translated).zip(exits).map(|((block, ir), exit)| Part { block, ir, exit }).collect();
        let leads = |pair: &[Part<'_>]| {
            let distance = match pair[0].ir.end {
                Some(Terminal::Jump(to)) if pair[0].exit == 0 => to,
                Some(Terminal::Branch(_, to, other)) => [to, other][pair[0].exit],
                _ => return false,
            };
            pair[0].block.key.gpa.0.wrapping_add(distance as u64) == pair[1].block.key.gpa.0
        };
        if !parts.windows(2).all(leads) {
            return false;
        }
        match template.compile(self, &parts, hot_after) {
            Some(Ok(entries)) => self.install_trace(template, path, entries),
            Some(Err(Full)) => {
                self.code_memory_full();
                true
            }
            None => false,
        }
    }
}
