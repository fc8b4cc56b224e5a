//! Reads the text that [`print`](super::print) writes, for tests.

use super::print::{ATOMICS, CONDS, word};
use super::{
    Binary, Block, FloatCond, HelperId, Lane, Mem, Names, Op, Order, Slot, Terminal, Ty, Unary, VBinary, VShift,
    VUnary, Val,
};

/// What is wrong with IR text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    line: usize,
    what: String,
}

const BINARIES: &[Binary] = &[
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::MulHiU,
    Binary::MulHiS,
    Binary::DivU,
    Binary::DivS,
    Binary::And,
    Binary::Or,
    Binary::Xor,
    Binary::AndNot,
    Binary::Shl,
    Binary::Shr,
    Binary::Sar,
    Binary::Ror,
];
const UNARIES: &[Unary] =
    &[Unary::Not, Unary::Neg, Unary::Clz, Unary::Ctz, Unary::BitRev, Unary::ByteRev, Unary::Popcount];
const V_BINARIES: &[VBinary] = &[
    VBinary::Add,
    VBinary::Sub,
    VBinary::Mul,
    VBinary::And,
    VBinary::Or,
    VBinary::Xor,
    VBinary::AndNot,
    VBinary::CmpEq,
    VBinary::CmpGtS,
    VBinary::CmpGtU,
    VBinary::CmpGeS,
    VBinary::CmpGeU,
    VBinary::MinS,
    VBinary::MinU,
    VBinary::MaxS,
    VBinary::MaxU,
    VBinary::AddPairs,
    VBinary::Lookup,
];
const V_UNARIES: &[VUnary] = &[
    VUnary::Not,
    VUnary::Neg,
    VUnary::Abs,
    VUnary::Popcount,
    VUnary::Low64,
    VUnary::WidenLowS,
    VUnary::WidenLowU,
    VUnary::WidenHighS,
    VUnary::WidenHighU,
    VUnary::Narrow,
];
const V_SHIFTS: &[VShift] = &[VShift::Shl, VShift::Shr, VShift::Sar];
const ORDERS: &[Order] = &[Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel];

fn variant<T: Copy + std::fmt::Debug>(all: &[T], text: &str) -> Option<T> {
    all.iter().copied().find(|v| word(v) == text)
}

struct Line<'a> {
    names: Names<'a>,
    args: std::vec::IntoIter<&'a str>,
}

impl<'a> Line<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        self.args.next().ok_or_else(|| "an operand is missing".into())
    }
    fn val(&mut self) -> Result<Val, String> {
        let text = self.next()?;
        let number = text.strip_prefix('v').and_then(|n| n.parse().ok());
        number.map(Val).ok_or_else(|| format!("`{text}` is no value"))
    }
    fn number(&mut self) -> Result<u64, String> {
        let text = self.next()?;
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse::<i64>().ok().map(|n| n as u64),
        };
        parsed.ok_or_else(|| format!("`{text}` is no number"))
    }
    fn slot(&mut self) -> Result<Slot, String> {
        let text = self.next()?;
        let found = self.names.slots.iter().find(|(name, _)| *name == text);
        found.map(|(_, slot)| *slot).ok_or_else(|| format!("no register `{text}`"))
    }
    fn helper(&mut self) -> Result<HelperId, String> {
        let text = self.next()?;
        let at = self.names.helpers.iter().position(|name| *name == text);
        at.map(|n| HelperId(n as u16)).ok_or_else(|| format!("no helper `{text}`"))
    }
    fn mem(&mut self) -> Result<Mem, String> {
        let text = self.next()?;
        let mut mem = Mem::plain(0);
        for part in text.split_whitespace() {
            if let Some(n) = part.strip_prefix("mmu").and_then(|n| n.parse().ok()) {
                mem.mmu = n;
            } else if let Some(n) = part.strip_prefix("align").and_then(|n| n.parse::<u32>().ok()) {
                mem.align_log2 = n.trailing_zeros() as u8;
            } else if let Some(order) = variant(ORDERS, part) {
                mem.order = order;
            } else if part == "swap" {
                mem.swap = true;
            } else if part == "modify" {
                mem.modify = true;
            } else {
                return Err(format!("`{part}` says nothing of a memory access"));
            }
        }
        Ok(mem)
    }
}

/// Reads a block. Lines are as printed; blank lines and what follows `;` do not count. `len_bytes` and `insns` stay 0
/// but for the count of `insn` lines.
///
/// # Errors
/// [`ParseError`] for the first line that makes no sense. The result is not verified.
pub fn parse(text: &str, names: Names<'_>) -> Result<Block, ParseError> {
    let mut block = Block::default();
    for (n, full) in text.lines().enumerate() {
        let line = full.split(';').next().unwrap_or_default().trim();
        if !line.is_empty() {
            operation(&mut block, line, names).map_err(|what| ParseError { line: n + 1, what })?;
        }
    }
    Ok(block)
}

fn operation(block: &mut Block, line: &str, names: Names<'_>) -> Result<(), String> {
    let body = match line.split_once(" = ") {
        Some((value, body)) => {
            if value != format!("v{}", block.ops.len()) {
                return Err(format!("the next value is v{}, not {value}", block.ops.len()));
            }
            body
        }
        None => line,
    };
    let (head, rest) = body.split_once(' ').unwrap_or((body, ""));
    let (name, suffix) = head.split_once('.').unwrap_or((head, ""));
    let args: Vec<&str> = rest.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
    let mut a = Line { names, args: args.into_iter() };
    let tys = [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::V128];
    let ty = || tys.into_iter().find(|t| t.to_string() == suffix).ok_or_else(|| format!("`{suffix}` is no type"));
    let lane =
        || variant(&[Lane::B, Lane::H, Lane::S, Lane::D], suffix).ok_or_else(|| format!("`{suffix}` is no lane"));
    let op = match name {
        "insn" => {
            block.insns += 1;
            Op::Insn { pc: a.number()? as u32 }
        }
        "const" if suffix == "v128" => Op::ConstV(a.number()?, a.number()?),
        "const" => Op::Const(ty()?, a.number()?),
        "get" => Op::Get(Slot(a.slot()?.0, ty()?)),
        "set" => Op::Set(a.slot()?, a.val()?),
        "select" => Op::Select(ty()?, a.val()?, a.val()?, a.val()?),
        "zext" => Op::Zext(ty()?, a.val()?),
        "sext" => Op::Sext(ty()?, a.val()?),
        "trunc" => Op::Trunc(ty()?, a.val()?),
        "carry" => Op::Carry(ty()?, a.val()?, a.val()?, a.val()?),
        "overflow" => Op::Overflow(ty()?, a.val()?, a.val()?, a.val()?),
        "load" => Op::Load(ty()?, a.val()?, a.mem()?),
        "store" => Op::Store(ty()?, a.val()?, a.val()?, a.mem()?),
        "cmpxchg" => Op::CmpXchg(ty()?, a.val()?, a.val()?, a.val()?, a.mem()?),
        "fence" => Op::Fence,
        "call" => {
            let id = a.helper()?;
            let mut args = [Val(0); 4];
            let mut arity = 0;
            while a.args.len() > 0 {
                *args.get_mut(arity).ok_or("a helper takes at most four integers")? = a.val()?;
                arity += 1;
            }
            Op::Call(id, args, arity as u8)
        }
        "call_v" => Op::CallV(a.helper()?, [a.val()?, a.val()?, a.val()?], a.number()? as u32),
        "raise_if" => Op::RaiseIf(a.helper()?, a.val()?, a.number()?),
        "splat" => Op::Splat(lane()?, a.val()?),
        "extract" => Op::Extract(lane()?, a.val()?, a.number()? as u8),
        "insert" => Op::Insert(lane()?, a.val()?, a.number()? as u8, a.val()?),
        "shuffle" => {
            let (x, y) = (a.val()?, a.val()?);
            let mut mask = [0; 16];
            for byte in &mut mask {
                *byte = a.number()? as u8;
            }
            block.masks.push(mask);
            Op::Shuffle(x, y, block.masks.len() as u16 - 1)
        }
        "jump" | "branch" | "indirect" | "resync" | "dispatch" => {
            block.end = Some(match name {
                "jump" => Terminal::Jump(a.number()? as i64),
                "branch" => Terminal::Branch(a.val()?, a.number()? as i64, a.number()? as i64),
                "indirect" => Terminal::Indirect(a.val()?),
                "resync" => Terminal::Resync(a.number()? as i64),
                _ => Terminal::Dispatch,
            });
            return Ok(());
        }
        _ => {
            if let Some(op) = variant(BINARIES, name) {
                Op::Bin(op, ty()?, a.val()?, a.val()?)
            } else if let Some(op) = variant(UNARIES, name) {
                Op::Un(op, ty()?, a.val()?)
            } else if let Some(cond) = name.strip_prefix("cmp_").and_then(|n| variant(CONDS, n)) {
                Op::Cmp(cond, ty()?, a.val()?, a.val()?)
            } else if let Some(cond) = name.strip_prefix("float_").and_then(|n| variant(&FloatCond::ALL, n)) {
                Op::FloatCmp(cond, lane()?, a.val()?, a.val()?)
            } else if let Some(op) = name.strip_prefix("atomic_").and_then(|n| variant(ATOMICS, n)) {
                Op::Atomic(op, ty()?, a.val()?, a.val()?, a.mem()?)
            } else if let Some(op) = name.strip_prefix('v').and_then(|n| variant(V_BINARIES, n)) {
                Op::VBin(op, lane()?, a.val()?, a.val()?)
            } else if let Some(op) = name.strip_prefix('v').and_then(|n| variant(V_UNARIES, n)) {
                Op::VUn(op, lane()?, a.val()?)
            } else if let Some(op) = name.strip_prefix('v').and_then(|n| variant(V_SHIFTS, n)) {
                Op::VShift(op, lane()?, a.val()?, a.number()? as u8)
            } else {
                return Err(format!("no operation `{name}`"));
            }
        }
    };
    if let Some(extra) = a.args.next() {
        return Err(format!("`{extra}` is one operand too many"));
    }
    block.ops.push(op);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_reads_back() {
        let names = Names { slots: &[("x0", Slot(0, Ty::I64)), ("q0", Slot(16, Ty::V128))], helpers: &["h"] };
        let text = "insn 0\n  v1 = get.i64 x0\n  v2 = const.i64 0x10\n  v3 = add.i64 v1, v2\n  \
                    v4 = load.i32 v3, mmu1 align4 acquire\n  v5 = zext.i64 v4\n  set x0, v5\ninsn 4\n  \
                    v8 = get.v128 q0\n  v9 = vcmp_gt_s.h v8, v8\n  v10 = vwiden_low_u.b v9\n  \
                    v11 = shuffle v8, v10, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 255\n  \
                    v12 = call_v h, v11, v8, v8, 0x7\n  v13 = extract.d v12, 1\n  v14 = call h, v13, v1\n  \
                    v15 = cmp_lt_u.i64 v14, v1\n  branch v15, -8, 8\n";
        let block = parse(text, names).unwrap();
        assert_eq!(block.display(names), text);
        super::super::verify(&block).unwrap();
        let error = parse("v0 = frob.i64 v1", names).unwrap_err();
        assert_eq!(error.to_string(), "line 1: no operation `frob`");
    }
}
