//! IR as text. One operation a line: `v3 = add.i64 v1, v2`; [`parse`](super::parse) reads it back.

use super::{AtomicOp, Block, Cond, HelperId, Lane, Mem, Names, Op, Order, Slot, Terminal, Ty, Val};
use std::fmt::{self, Write as _};

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::V128 => "v128",
        })
    }
}

/// The text of a plain enum: its variant in lower case with words joined by `_`.
pub(super) fn word(variant: impl fmt::Debug) -> String {
    let mut text = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

impl fmt::Display for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mmu{}", self.mmu)?;
        if self.align_log2 != 0 {
            write!(f, " align{}", 1u32 << self.align_log2)?;
        }
        if self.order != Order::Relaxed {
            write!(f, " {}", word(self.order))?;
        }
        if self.swap {
            f.write_str(" swap")?;
        }
        if self.modify {
            f.write_str(" modify")?;
        }
        Ok(())
    }
}

impl Names<'_> {
    fn slot(&self, slot: Slot) -> String {
        let found = self.slots.iter().find(|(_, s)| s.0 == slot.0);
        found.map_or_else(|| format!("slot{}", slot.0), |(name, _)| (*name).to_owned())
    }

    fn helper(&self, id: HelperId) -> String {
        self.helpers.get(usize::from(id.0)).map_or_else(|| format!("helper{}", id.0), |name| (*name).to_owned())
    }
}

impl Block {
    /// The block as text, one operation a line.
    pub fn display(&self, names: Names<'_>) -> String {
        let mut text = String::new();
        for (n, op) in self.ops.iter().enumerate() {
            let line = self.line(op, names);
            let _ = match (op, op.result()) {
                (Op::Insn { .. }, _) => writeln!(text, "{line}"),
                (_, Some(_)) => writeln!(text, "  v{n} = {line}"),
                (_, None) => writeln!(text, "  {line}"),
            };
        }
        if let Some(end) = self.end {
            let _ = match end {
                Terminal::Jump(to) => writeln!(text, "  jump {to}"),
                Terminal::Branch(c, to, other) => writeln!(text, "  branch {c}, {to}, {other}"),
                Terminal::Indirect(to) => writeln!(text, "  indirect {to}"),
                Terminal::Resync(to) => writeln!(text, "  resync {to}"),
                Terminal::Dispatch => writeln!(text, "  dispatch"),
            };
        }
        text
    }

    fn line(&self, op: &Op, names: Names<'_>) -> String {
        let lane = |lane: Lane| word(lane);
        match *op {
            Op::Insn { pc } => format!("insn {pc}"),
            Op::Const(ty, value) => format!("const.{ty} {value:#x}"),
            Op::ConstV(low, high) => format!("const.v128 {low:#x}, {high:#x}"),
            Op::Get(slot) => format!("get.{} {}", slot.1, names.slot(slot)),
            Op::Set(slot, v) => format!("set {}, {v}", names.slot(slot)),
            Op::Bin(op, ty, a, b) => format!("{}.{ty} {a}, {b}", word(op)),
            Op::Un(op, ty, a) => format!("{}.{ty} {a}", word(op)),
            Op::Cmp(cond, ty, a, b) => format!("cmp_{}.{ty} {a}, {b}", word(cond)),
            Op::FloatCmp(cond, l, a, b) => format!("float_{}.{} {a}, {b}", word(cond), lane(l)),
            Op::Select(ty, c, a, b) => format!("select.{ty} {c}, {a}, {b}"),
            Op::Zext(ty, a) => format!("zext.{ty} {a}"),
            Op::Sext(ty, a) => format!("sext.{ty} {a}"),
            Op::Trunc(ty, a) => format!("trunc.{ty} {a}"),
            Op::Carry(ty, a, b, c) => format!("carry.{ty} {a}, {b}, {c}"),
            Op::Overflow(ty, a, b, c) => format!("overflow.{ty} {a}, {b}, {c}"),
            Op::Load(ty, va, mem) => format!("load.{ty} {va}, {mem}"),
            Op::Store(ty, va, value, mem) => format!("store.{ty} {va}, {value}, {mem}"),
            Op::Atomic(op, ty, va, value, mem) => format!("atomic_{}.{ty} {va}, {value}, {mem}", word(op)),
            Op::CmpXchg(ty, va, old, new, mem) => format!("cmpxchg.{ty} {va}, {old}, {new}, {mem}"),
            Op::Fence => "fence".into(),
            Op::Call(id, args, arity) => {
                let mut text = format!("call {}", names.helper(id));
                for arg in args.iter().take(arity.into()) {
                    let _ = write!(text, ", {arg}");
                }
                text
            }
            Op::CallV(id, [a, b, c], imm) => format!("call_v {}, {a}, {b}, {c}, {imm:#x}", names.helper(id)),
            Op::RaiseIf(id, c, imm) => format!("raise_if {}, {c}, {imm:#x}", names.helper(id)),
            Op::VBin(op, l, a, b) => format!("v{}.{} {a}, {b}", word(op), lane(l)),
            Op::VUn(op, l, a) => format!("v{}.{} {a}", word(op), lane(l)),
            Op::VShift(op, l, a, by) => format!("v{}.{} {a}, {by}", word(op), lane(l)),
            Op::Splat(l, a) => format!("splat.{} {a}", lane(l)),
            Op::Extract(l, v, n) => format!("extract.{} {v}, {n}", lane(l)),
            Op::Insert(l, v, n, a) => format!("insert.{} {v}, {n}, {a}", lane(l)),
            Op::Shuffle(a, b, mask) => {
                let mut text = format!("shuffle {a}, {b}");
                for byte in self.masks.get(usize::from(mask)).into_iter().flatten() {
                    let _ = write!(text, ", {byte}");
                }
                text
            }
        }
    }
}

/// Every variant of the plain enums, for the parser.
pub(super) const CONDS: &[Cond] = &[Cond::Eq, Cond::Ne, Cond::LtU, Cond::LeU, Cond::LtS, Cond::LeS];
pub(super) const ATOMICS: &[AtomicOp] = &[
    AtomicOp::Swap,
    AtomicOp::Add,
    AtomicOp::AndNot,
    AtomicOp::Or,
    AtomicOp::Xor,
    AtomicOp::MinS,
    AtomicOp::MaxS,
    AtomicOp::MinU,
    AtomicOp::MaxU,
];
