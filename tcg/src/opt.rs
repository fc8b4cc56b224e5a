//! Passes over IR. Each can be switched off by not calling it; the interpreter runs the result of any subset.

use crate::frontend::{Frontend, Helper};
use crate::ir::{Block, Op};

/// All passes, in order.
pub fn optimize<F: Frontend>(block: &mut Block, helpers: &[Helper<F>]) {
    dead_sets(block, helpers);
}

/// Turns writes of registers that are overwritten before anybody can see them into nothing. "Anybody" is a later read,
/// a helper that reads registers, and the state that a fault or the end of the block shows.
pub fn dead_sets<F: Frontend>(block: &mut Block, helpers: &[Helper<F>]) {
    // Backwards: registers that will be overwritten before they are seen.
    let mut overwritten: Vec<u16> = Vec::new();
    for at in (0..block.ops.len()).rev() {
        match block.ops[at] {
            Op::Set(slot, _) => {
                if overwritten.contains(&slot.0) {
                    // Keeps the numbering of values: an operation without effect takes its place.
                    block.ops[at] = Op::Const(crate::ir::Ty::I8, 0);
                } else {
                    overwritten.push(slot.0);
                }
            }
            Op::Get(slot) => overwritten.retain(|s| *s != slot.0),
            Op::Call(id, ..) | Op::CallV(id, ..) => {
                let helper = &helpers[usize::from(id.0)];
                if helper.raises || helper.reads_slots {
                    overwritten.clear();
                }
            }
            op if op.may_leave() => overwritten.clear(),
            _ => {}
        }
    }
}
