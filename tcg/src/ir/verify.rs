//! Checks what every consumer of IR relies on.

use super::{Block, Lane, Op, Terminal, Ty, VUnary, Val};

/// A broken rule: a translator's bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {at}: {what}")]
pub struct VerifyError {
    /// Index of the operation, or their number for the terminal.
    pub at: usize,
    /// The rule.
    pub what: &'static str,
}

/// Checks operand order, types, constants, masks and the terminal.
///
/// # Errors
/// The first [`VerifyError`].
pub fn verify(block: &Block) -> Result<(), VerifyError> {
    let mut types: Vec<Option<Ty>> = Vec::with_capacity(block.ops.len());
    for (at, op) in block.ops.iter().enumerate() {
        let error = |what| VerifyError { at, what };
        let mut missing = false;
        op.operands(|v| missing |= types.get(v.0 as usize).copied().flatten().is_none());
        if missing {
            return Err(error("an operand has no value yet"));
        }
        let ty = |v: Val| types[v.0 as usize].expect("checked above");
        let all = |vs: &[Val], want: Ty| vs.iter().all(|v| ty(*v) == want);
        let int = |t: Ty| t != Ty::V128;
        let v = Ty::V128;
        let right = match *op {
            Op::Insn { .. } | Op::ConstV(..) | Op::Get(_) | Op::Fence => true,
            Op::Const(t, value) => int(t) && value & !t.mask() == 0,
            Op::Set(slot, a) => ty(a) == slot.1 && matches!(slot.1, Ty::I64 | Ty::V128),
            Op::Bin(_, t, a, b) | Op::Cmp(_, t, a, b) => int(t) && all(&[a, b], t),
            Op::FloatCmp(_, lane, a, b) => matches!(lane, Lane::S | Lane::D) && all(&[a, b], v),
            Op::Un(_, t, a) => int(t) && ty(a) == t,
            Op::Select(t, c, a, b) => ty(c) == Ty::I8 && all(&[a, b], t),
            Op::Zext(t, a) | Op::Sext(t, a) => int(t) && int(ty(a)) && ty(a) < t,
            Op::Trunc(t, a) => int(t) && int(ty(a)) && ty(a) > t,
            Op::Carry(t, a, b, c) | Op::Overflow(t, a, b, c) => int(t) && all(&[a, b], t) && ty(c) == Ty::I8,
            Op::Load(_, va, _) => ty(va) == Ty::I64,
            Op::Store(t, va, value, _) => ty(va) == Ty::I64 && ty(value) == t,
            Op::Atomic(_, t, va, value, _) => int(t) && ty(va) == Ty::I64 && ty(value) == t,
            Op::CmpXchg(t, va, old, new, _) => ty(va) == Ty::I64 && all(&[old, new], t),
            Op::Call(_, args, arity) => usize::from(arity) <= args.len() && all(&args[..usize::from(arity)], Ty::I64),
            Op::CallV(_, args, _) => all(&args, v),
            Op::RaiseIf(_, c, _) => ty(c) == Ty::I8,
            Op::VBin(_, _, a, b) => all(&[a, b], v),
            Op::VUn(VUnary::Narrow, Lane::B, _) => false,
            Op::VUn(_, _, a) => ty(a) == v,
            Op::VShift(_, lane, a, by) => ty(a) == v && u32::from(by) <= lane.ty().bits(),
            Op::Splat(lane, a) => ty(a) == lane.ty(),
            Op::Extract(lane, a, n) => ty(a) == v && n < lane.count(),
            Op::Insert(lane, a, n, b) => ty(a) == v && n < lane.count() && ty(b) == lane.ty(),
            Op::Shuffle(a, b, mask) => all(&[a, b], v) && usize::from(mask) < block.masks.len(),
        };
        if !right {
            return Err(error("types or constants do not fit"));
        }
        types.push(op.result());
    }
    let at = block.ops.len();
    let ends = |v: Val, want: Ty| types.get(v.0 as usize).copied().flatten() == Some(want);
    match block.end {
        None => Err(VerifyError { at, what: "the block has no terminal" }),
        Some(Terminal::Branch(c, ..)) if !ends(c, Ty::I8) => Err(VerifyError { at, what: "a condition is an i8" }),
        Some(Terminal::Indirect(to)) if !ends(to, Ty::I64) => Err(VerifyError { at, what: "an address is an i64" }),
        Some(_) => Ok(()),
    }
}
