//! What IR means, said a third time and plainly: the tiers are compared with it.

use crate::toy::{self, DATA, Kind, Regs};
use tcg::interp::{vbinary, vshift, vunary};
use tcg::ir::{Block, Mem, Op, Slot, Terminal, Ty, Val};
use vm::vcpu::Intent;

/// Bytes of memory that random blocks work on; the page after them faults.
pub const WINDOW: usize = 0x2000;

#[derive(Clone, PartialEq, Eq)]
pub struct State {
    pub regs: Regs,
    pub memory: Vec<u8>,
    /// (kind, pc, address)
    pub taken: Option<(Kind, u64, u64)>,
}

fn get(regs: &Regs, slot: Slot) -> u128 {
    match (slot.1, slot.0) {
        (Ty::V128, at) => regs.v[(usize::from(at) - 80) / 16],
        (ty, 64) => (regs.pc & ty.mask()).into(),
        (ty, at) => (regs.x[usize::from(at) / 8] & ty.mask()).into(),
    }
}

fn set(regs: &mut Regs, slot: Slot, value: u128) {
    match (slot.1, slot.0) {
        (Ty::V128, at) => regs.v[(usize::from(at) - 80) / 16] = value,
        (_, at) => regs.x[usize::from(at) / 8] = value as u64,
    }
}

fn sext(ty: Ty, v: u64) -> i64 {
    match ty {
        Ty::I8 => v as i8 as i64,
        Ty::I16 => v as i16 as i64,
        Ty::I32 => v as i32 as i64,
        _ => v as i64,
    }
}

/// What a load is reported as.
fn intent(mem: Mem) -> Intent {
    if mem.modify { Intent::Write } else { Intent::Read }
}

fn reversed(v: u128, bytes: usize) -> u128 {
    let mut b = v.to_le_bytes();
    b[..bytes].reverse();
    u128::from_le_bytes(b)
}

impl State {
    fn range(&mut self, va: u64, bytes: u8, intent: Intent) -> Result<std::ops::Range<usize>, (Kind, u64)> {
        let end = DATA + WINDOW as u64;
        assert!((DATA..end).contains(&va), "random addresses lie in the window");
        if va + u64::from(bytes) > end {
            return Err((Kind::Fault(intent), end));
        }
        let at = (va - DATA) as usize;
        Ok(at..at + usize::from(bytes))
    }

    fn load(&mut self, va: u64, bytes: u8, mem: Mem) -> Result<u128, (Kind, u64)> {
        let range = self.range(va, bytes, intent(mem))?;
        let mut all = [0; 16];
        all[..usize::from(bytes)].copy_from_slice(&self.memory[range]);
        Ok(u128::from_le_bytes(all))
    }

    fn store(&mut self, va: u64, bytes: u8, value: u128) -> Result<(), (Kind, u64)> {
        let range = self.range(va, bytes, Intent::Write)?;
        self.memory[range].copy_from_slice(&value.to_le_bytes()[..usize::from(bytes)]);
        Ok(())
    }

    /// Executes a block.
    pub fn run(&mut self, ir: &Block) {
        let mut values = vec![0u128; ir.ops.len()];
        let mut pc = 0;
        for (at, op) in ir.ops.iter().enumerate() {
            match self.op(ir, op, &values, &mut pc) {
                Ok(value) => {
                    let mask = match op.result() {
                        Some(Ty::V128) => u128::MAX,
                        Some(ty) => ty.mask().into(),
                        None => 0,
                    };
                    values[at] = value & mask;
                }
                Err((kind, address)) => {
                    let pc = self.regs.pc + u64::from(pc);
                    self.regs.pc = pc;
                    self.taken = Some((kind, pc, address));
                    return;
                }
            }
        }
        let value = |v: Val| values[v.0 as usize] as u64;
        self.regs.pc = match ir.end.unwrap() {
            Terminal::Jump(to) | Terminal::Resync(to) => self.regs.pc.wrapping_add(to as u64),
            Terminal::Branch(c, to, other) => self.regs.pc.wrapping_add(if value(c) != 0 { to } else { other } as u64),
            Terminal::Indirect(to) => value(to),
            Terminal::Dispatch => self.regs.pc,
        };
    }

    fn op(&mut self, ir: &Block, op: &Op, values: &[u128], pc: &mut u32) -> Result<u128, (Kind, u64)> {
        let w = |v: Val| values[v.0 as usize];
        let n = |v: Val| values[v.0 as usize] as u64;
        let aligned = |va: u64, log2: u32, intent| match va % (1 << log2) {
            0 => Ok(()),
            _ => Err((Kind::Misaligned(intent), va)),
        };
        Ok(match *op {
            Op::Insn { pc: at } => {
                *pc = at;
                0
            }
            Op::Const(_, c) => c.into(),
            Op::ConstV(low, high) => u128::from(low) | u128::from(high) << 64,
            Op::Get(slot) => get(&self.regs, slot),
            Op::Set(slot, v) => {
                set(&mut self.regs, slot, w(v));
                0
            }
            Op::Bin(op, ty, a, b) => op.eval(ty, n(a), n(b)).into(),
            Op::Un(op, ty, a) => op.eval(ty, n(a)).into(),
            Op::Cmp(cond, ty, a, b) => cond.eval(ty, n(a), n(b)).into(),
            Op::FloatCmp(cond, lane, a, b) => cond.eval(lane, n(a), n(b)).into(),
            Op::Select(_, c, a, b) => w(if n(c) != 0 { a } else { b }),
            Op::Zext(_, a) | Op::Trunc(_, a) => w(a),
            Op::Sext(_, a) => sext(ir.ty(a), n(a)) as u128,
            Op::Carry(ty, a, b, c) => (w(a) + w(b) + w(c)) >> ty.bits(),
            Op::Overflow(ty, a, b, c) => {
                let sum = i128::from(sext(ty, n(a))) + i128::from(sext(ty, n(b))) + n(c) as i128;
                u128::from(sum != i128::from(sext(ty, sum as u64 & ty.mask())))
            }
            Op::Load(ty, va, mem) => {
                aligned(n(va), mem.align_log2.into(), intent(mem))?;
                let v = self.load(n(va), ty.bytes(), mem)?;
                if mem.swap { reversed(v, ty.bytes().into()) } else { v }
            }
            Op::Store(ty, va, v, mem) => {
                aligned(n(va), mem.align_log2.into(), Intent::Write)?;
                let v = if mem.swap { reversed(w(v), ty.bytes().into()) } else { w(v) };
                self.store(n(va), ty.bytes(), v)?;
                0
            }
            Op::Atomic(op, ty, va, v, mem) => {
                aligned(n(va), ty.bytes().trailing_zeros(), intent(mem))?;
                let order = |v| if mem.swap { reversed(v, ty.bytes().into()) } else { v };
                let old = order(self.load(n(va), ty.bytes(), mem)?);
                self.store(n(va), ty.bytes(), order(op.eval(ty.bytes(), old as u64, n(v)).into()))?;
                old
            }
            Op::CmpXchg(ty, va, expected, new, mem) => {
                aligned(n(va), ty.bytes().trailing_zeros(), intent(mem))?;
                let order = |v| if mem.swap { reversed(v, ty.bytes().into()) } else { v };
                let old = order(self.load(n(va), ty.bytes(), mem)?);
                if old == w(expected) {
                    self.store(n(va), ty.bytes(), order(w(new)))?;
                }
                old
            }
            Op::Fence => 0,
            Op::Call(id, [a, b, c, d], _) => match toy::HELPER_NAMES[usize::from(id.0)] {
                "mix" => toy::mix(n(a), n(b)).into(),
                "fault_if" if n(a) & 3 == 3 => return Err((Kind::Helper, n(a))),
                "fault_if" => n(a).wrapping_add(1).into(),
                "shuffle" => toy::shuffle_regs(&mut self.regs, n(a)).ok_or((Kind::Helper, n(a)))?.into(),
                "read" => toy::sum_regs(&self.regs).into(),
                "write" => {
                    self.regs.x[4] = n(a);
                    self.regs.v[3] = n(a).into();
                    (!n(a)).into()
                }
                "sum4" => {
                    let sum = n(a).wrapping_add(n(b).rotate_left(1));
                    sum.wrapping_add(n(c).rotate_left(2)).wrapping_add(n(d).rotate_left(3)).into()
                }
                _ => 0,
            },
            Op::RaiseIf(_, c, imm) if n(c) != 0 => return Err((Kind::Helper, imm)),
            Op::RaiseIf(..) => 0,
            Op::CallV(_, [a, b, c], imm) => toy::vmix(w(a), w(b), w(c), imm.into()),
            Op::VBin(op, lane, a, b) => vbinary(op, lane)(w(a), w(b)),
            Op::VUn(op, lane, a) => vunary(op, lane)(w(a)),
            Op::VShift(op, lane, a, by) => vshift(op, lane)(w(a), by.into()),
            Op::Splat(lane, a) => (0..lane.count()).fold(0, |v, i| v | w(a) << (u32::from(i) * lane.ty().bits())),
            Op::Extract(lane, v, i) => w(v) >> (u32::from(i) * lane.ty().bits()),
            Op::Insert(lane, v, i, a) => {
                let by = u32::from(i) * lane.ty().bits();
                w(v) & !(u128::from(lane.ty().mask()) << by) | w(a) << by
            }
            Op::Shuffle(a, b, mask) => {
                let mut from = [0u8; 32];
                from[..16].copy_from_slice(&w(a).to_le_bytes());
                from[16..].copy_from_slice(&w(b).to_le_bytes());
                let mask = ir.masks[usize::from(mask)];
                u128::from_le_bytes(mask.map(|m| from.get(usize::from(m)).copied().unwrap_or(0)))
            }
        })
    }
}
