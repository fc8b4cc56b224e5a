//! Building blocks: one method per operation, with the obvious constants folded so that translators may be plain.

use super::{
    AtomicOp, Binary, Block, Cond, FloatCond, HelperId, Lane, Mem, Op, Slot, Terminal, Ty, Unary, VBinary, VShift,
    VUnary, Val,
};

impl Block {
    fn push(&mut self, op: Op) -> Val {
        self.ops.push(op);
        Val(self.ops.len() as u32 - 1)
    }

    /// The type of a value of this block.
    ///
    /// # Panics
    /// When the operation has no value: a translator's bug.
    pub fn ty(&self, v: Val) -> Ty {
        self.ops[v.0 as usize].result().expect("operand has a value")
    }

    /// The constant that `v` is, if it is one.
    pub fn as_const(&self, v: Val) -> Option<u64> {
        match self.ops[v.0 as usize] {
            Op::Const(_, value) => Some(value),
            _ => None,
        }
    }

    /// Marks the start of a guest instruction, `pc` bytes after the block.
    pub fn insn(&mut self, pc: u32) {
        self.push(Op::Insn { pc });
    }

    /// A constant, cut to the type.
    pub fn imm(&mut self, ty: Ty, value: u64) -> Val {
        self.push(Op::Const(ty, value & ty.mask()))
    }

    /// An `I64` constant.
    pub fn imm64(&mut self, value: u64) -> Val {
        self.imm(Ty::I64, value)
    }

    /// A vector constant.
    pub fn imm_v(&mut self, value: u128) -> Val {
        self.push(Op::ConstV(value as u64, (value >> 64) as u64))
    }

    /// Reads a register.
    pub fn get(&mut self, slot: Slot) -> Val {
        self.push(Op::Get(slot))
    }

    /// Writes a register; an integer is zero-extended to the cell.
    pub fn set(&mut self, slot: Slot, v: Val) {
        let (v, ty) = if self.ty(v) == Ty::V128 { (v, Ty::V128) } else { (self.zext(Ty::I64, v), Ty::I64) };
        self.push(Op::Set(Slot(slot.0, ty), v));
    }

    /// An operation on two integers of type `ty`.
    pub fn bin(&mut self, op: Binary, ty: Ty, a: Val, b: Val) -> Val {
        let identity = match op {
            Binary::Add
            | Binary::Sub
            | Binary::Or
            | Binary::Xor
            | Binary::AndNot
            | Binary::Shl
            | Binary::Shr
            | Binary::Sar
            | Binary::Ror => self.as_const(b) == Some(0),
            Binary::And => self.as_const(b) == Some(ty.mask()),
            _ => false,
        };
        if identity {
            return a;
        }
        if let (Some(x), Some(y)) = (self.as_const(a), self.as_const(b)) {
            return self.imm(ty, op.eval(ty, x, y));
        }
        self.push(Op::Bin(op, ty, a, b))
    }

    pub fn add(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        self.bin(Binary::Add, ty, a, b)
    }
    pub fn sub(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        self.bin(Binary::Sub, ty, a, b)
    }
    pub fn and(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        self.bin(Binary::And, ty, a, b)
    }
    pub fn or(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        self.bin(Binary::Or, ty, a, b)
    }
    pub fn xor(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        self.bin(Binary::Xor, ty, a, b)
    }

    /// `a` plus a constant.
    pub fn add_imm(&mut self, ty: Ty, a: Val, imm: u64) -> Val {
        let b = self.imm(ty, imm);
        self.add(ty, a, b)
    }
    /// `a` and a constant.
    pub fn and_imm(&mut self, ty: Ty, a: Val, imm: u64) -> Val {
        let b = self.imm(ty, imm);
        self.and(ty, a, b)
    }
    /// `a` shifted by a constant less than the width.
    pub fn shift_imm(&mut self, op: Binary, ty: Ty, a: Val, by: u32) -> Val {
        let b = self.imm(ty, by.into());
        self.bin(op, ty, a, b)
    }

    /// An operation on one integer of type `ty`.
    pub fn un(&mut self, op: Unary, ty: Ty, a: Val) -> Val {
        if let Some(x) = self.as_const(a) {
            return self.imm(ty, op.eval(ty, x));
        }
        self.push(Op::Un(op, ty, a))
    }
    pub fn not(&mut self, ty: Ty, a: Val) -> Val {
        self.un(Unary::Not, ty, a)
    }
    /// The complement of what is subtracted, for [`Self::carry`] and [`Self::overflow`]: of a constant, too, it stays one, so
    /// that compilers see the subtraction.
    pub fn subtracted(&mut self, ty: Ty, a: Val) -> Val {
        self.push(Op::Un(Unary::Not, ty, a))
    }

    /// Compares; gives `I8`.
    pub fn cmp(&mut self, cond: Cond, ty: Ty, a: Val, b: Val) -> Val {
        if let (Some(x), Some(y)) = (self.as_const(a), self.as_const(b)) {
            return self.imm(Ty::I8, cond.eval(ty, x, y).into());
        }
        self.push(Op::Cmp(cond, ty, a, b))
    }
    /// Compares with a constant; gives `I8`.
    pub fn cmp_imm(&mut self, cond: Cond, ty: Ty, a: Val, imm: u64) -> Val {
        let b = self.imm(ty, imm);
        self.cmp(cond, ty, a, b)
    }

    /// Compares the floating-point numbers in the lowest lanes; gives `I8`.
    pub fn float_cmp(&mut self, cond: FloatCond, lane: Lane, a: Val, b: Val) -> Val {
        self.push(Op::FloatCmp(cond, lane, a, b))
    }

    /// `a` if `c` is not zero, else `b`.
    pub fn select(&mut self, ty: Ty, c: Val, a: Val, b: Val) -> Val {
        match self.as_const(c) {
            Some(0) => b,
            Some(_) => a,
            None if a == b => a,
            None => self.push(Op::Select(ty, c, a, b)),
        }
    }

    /// Zero-extends to `ty`, which is at least as wide.
    pub fn zext(&mut self, ty: Ty, a: Val) -> Val {
        if self.ty(a) == ty {
            return a;
        }
        if let Some(x) = self.as_const(a) {
            return self.imm(ty, x);
        }
        self.push(Op::Zext(ty, a))
    }
    /// Sign-extends to `ty`, which is at least as wide.
    pub fn sext(&mut self, ty: Ty, a: Val) -> Val {
        let from = self.ty(a);
        if from == ty {
            return a;
        }
        if let Some(x) = self.as_const(a) {
            return self.imm(ty, sign_extend(from, x));
        }
        self.push(Op::Sext(ty, a))
    }
    /// Keeps the low bits, `ty` being at most as wide.
    pub fn trunc(&mut self, ty: Ty, a: Val) -> Val {
        if self.ty(a) == ty {
            return a;
        }
        if let Some(x) = self.as_const(a) {
            return self.imm(ty, x);
        }
        self.push(Op::Trunc(ty, a))
    }

    /// Carry out of `a + b + c`.
    pub fn carry(&mut self, ty: Ty, a: Val, b: Val, c: Val) -> Val {
        self.push(Op::Carry(ty, a, b, c))
    }
    /// Signed overflow of `a + b + c`.
    pub fn overflow(&mut self, ty: Ty, a: Val, b: Val, c: Val) -> Val {
        self.push(Op::Overflow(ty, a, b, c))
    }

    pub fn load(&mut self, ty: Ty, va: Val, mem: Mem) -> Val {
        let mem = self.natural(ty, mem);
        let value = self.push(Op::Load(ty, va, mem));
        self.watched(ty, va, false);
        value
    }
    pub fn store(&mut self, ty: Ty, va: Val, value: Val, mem: Mem) {
        let mem = self.natural(ty, mem);
        self.push(Op::Store(ty, va, value, mem));
        self.watched(ty, va, true);
    }
    /// The access with the alignment that [`Block::aligned`] asks for.
    fn natural(&self, ty: Ty, mem: Mem) -> Mem {
        let log2 = if self.aligned && ty != Ty::V128 { ty.bytes().trailing_zeros() as u8 } else { 0 };
        Mem { align_log2: mem.align_log2.max(log2), ..mem }
    }
    fn watched(&mut self, ty: Ty, va: Val, write: bool) {
        if let Some(helper) = self.watch {
            let access = self.imm64(u64::from(ty.bytes()) | u64::from(write) << 8);
            self.call(helper, &[va, access]);
        }
    }
    /// Gives the old contents.
    pub fn atomic(&mut self, op: AtomicOp, ty: Ty, va: Val, value: Val, mem: Mem) -> Val {
        let mem = self.natural(ty, mem);
        let old = self.push(Op::Atomic(op, ty, va, value, mem));
        self.watched(ty, va, true);
        old
    }
    /// Gives the old contents.
    pub fn cmpxchg(&mut self, ty: Ty, va: Val, expected: Val, new: Val, mem: Mem) -> Val {
        let mem = self.natural(ty, mem);
        let old = self.push(Op::CmpXchg(ty, va, expected, new, mem));
        self.watched(ty, va, true);
        old
    }
    pub fn fence(&mut self) {
        self.push(Op::Fence);
    }

    /// Calls a helper with at most four integers, zero-extended to `I64`.
    ///
    /// # Panics
    /// With more than four arguments: a translator's bug.
    pub fn call(&mut self, helper: HelperId, args: &[Val]) -> Val {
        let mut all = [Val(0); 4];
        assert!(args.len() <= all.len(), "a helper takes at most four integers");
        for (to, arg) in all.iter_mut().zip(args) {
            *to = self.zext(Ty::I64, *arg);
        }
        self.push(Op::Call(helper, all, args.len() as u8))
    }
    /// Calls a vector helper. Unused vectors may repeat another.
    pub fn call_v(&mut self, helper: HelperId, a: Val, b: Val, c: Val, imm: u32) -> Val {
        self.push(Op::CallV(helper, [a, b, c], imm))
    }

    /// Calls a helper that raises, with a constant, if `c` is not zero.
    pub fn raise_if(&mut self, helper: HelperId, c: Val, imm: u64) {
        if self.as_const(c) != Some(0) {
            self.push(Op::RaiseIf(helper, c, imm));
        }
    }

    pub fn vbin(&mut self, op: VBinary, lane: Lane, a: Val, b: Val) -> Val {
        self.push(Op::VBin(op, lane, a, b))
    }
    pub fn vun(&mut self, op: VUnary, lane: Lane, a: Val) -> Val {
        self.push(Op::VUn(op, lane, a))
    }
    pub fn vshift(&mut self, op: VShift, lane: Lane, a: Val, by: u8) -> Val {
        if by == 0 {
            return a;
        }
        self.push(Op::VShift(op, lane, a, by))
    }
    /// Every lane is `a`, cut to the lane.
    pub fn splat(&mut self, lane: Lane, a: Val) -> Val {
        let a = self.trunc(lane.ty(), a);
        self.push(Op::Splat(lane, a))
    }
    /// Lane `n` as the lane's type.
    pub fn extract(&mut self, lane: Lane, v: Val, n: u8) -> Val {
        self.push(Op::Extract(lane, v, n))
    }
    /// `v` with lane `n` replaced by `a`, cut to the lane.
    pub fn insert(&mut self, lane: Lane, v: Val, n: u8, a: Val) -> Val {
        let a = self.trunc(lane.ty(), a);
        self.push(Op::Insert(lane, v, n, a))
    }
    /// Byte `i` of the result is byte `mask[i]` of `a` (0-15) or `b` (16-31), 0 for greater numbers.
    pub fn shuffle(&mut self, a: Val, b: Val, mask: [u8; 16]) -> Val {
        self.masks.push(mask);
        self.push(Op::Shuffle(a, b, self.masks.len() as u16 - 1))
    }

    /// Ends the block.
    pub fn end(&mut self, terminal: Terminal) {
        self.end = Some(terminal);
    }
}

/// `value` of type `from`, sign-extended to 64 bits.
pub const fn sign_extend(from: Ty, value: u64) -> u64 {
    let unused = 64 - from.bits();
    ((value << unused) as i64 >> unused) as u64
}

impl Binary {
    /// The result for operands within the type's mask.
    pub fn eval(self, ty: Ty, a: u64, b: u64) -> u64 {
        let (sa, sb) = (sign_extend(ty, a) as i64, sign_extend(ty, b) as i64);
        let by = (b % u64::from(ty.bits())) as u32;
        let result = match self {
            Binary::Add => a.wrapping_add(b),
            Binary::Sub => a.wrapping_sub(b),
            Binary::Mul => a.wrapping_mul(b),
            Binary::MulHiU => ((u128::from(a) * u128::from(b)) >> ty.bits()) as u64,
            Binary::MulHiS => ((i128::from(sa) * i128::from(sb)) >> ty.bits()) as u64,
            Binary::DivU => a.checked_div(b).unwrap_or(0),
            Binary::DivS => {
                if sb == 0 {
                    0
                } else {
                    sa.wrapping_div(sb) as u64
                }
            }
            Binary::And => a & b,
            Binary::Or => a | b,
            Binary::Xor => a ^ b,
            Binary::AndNot => a & !b,
            Binary::Shl => a << by,
            Binary::Shr => a >> by,
            Binary::Sar => (sa >> by) as u64,
            Binary::Ror if by == 0 => a,
            Binary::Ror => a >> by | a << (ty.bits() - by),
        };
        result & ty.mask()
    }
}

impl Unary {
    /// The result for an operand within the type's mask.
    pub fn eval(self, ty: Ty, a: u64) -> u64 {
        let unused = 64 - ty.bits();
        let result = match self {
            Unary::Not => !a,
            Unary::Neg => a.wrapping_neg(),
            Unary::Clz => u64::from(a.leading_zeros() - unused),
            Unary::Ctz => u64::from(a.trailing_zeros().min(ty.bits())),
            Unary::BitRev => a.reverse_bits() >> unused,
            Unary::ByteRev => a.swap_bytes() >> unused,
            Unary::Popcount => a.count_ones().into(),
        };
        result & ty.mask()
    }
}

impl Cond {
    /// Whether it holds for operands within the type's mask.
    pub fn eval(self, ty: Ty, a: u64, b: u64) -> bool {
        let (sa, sb) = (sign_extend(ty, a) as i64, sign_extend(ty, b) as i64);
        match self {
            Cond::Eq => a == b,
            Cond::Ne => a != b,
            Cond::LtU => a < b,
            Cond::LeU => a <= b,
            Cond::LtS => sa < sb,
            Cond::LeS => sa <= sb,
        }
    }
}

impl FloatCond {
    /// Every condition.
    pub const ALL: [FloatCond; 8] = [
        FloatCond::Eq,
        FloatCond::Ne,
        FloatCond::Lt,
        FloatCond::Nlt,
        FloatCond::Le,
        FloatCond::Nle,
        FloatCond::Un,
        FloatCond::Ord,
    ];

    /// Whether it holds for two numbers given by their bits: of single precision in the low 32 bits (`S`), else of double
    /// precision. By integer arithmetic, so that no flag of the host's is raised.
    pub fn eval(self, lane: Lane, a: u64, b: u64) -> bool {
        let (width, infinity) = if lane == Lane::S { (32, 0xff << 23) } else { (64, 0x7ff << 52) };
        let sign = 1u64 << (width - 1);
        let [a, b] = [a, b].map(|v| v & (u64::MAX >> (64 - width)));
        let (x, y) = (a & !sign, b & !sign);
        let unordered = x > infinity || y > infinity;
        // Numbers in order: negative ones count down from zero.
        let key = |v: u64, magnitude: u64| if v & sign != 0 { -i128::from(magnitude) } else { i128::from(magnitude) };
        let (a, b) = (key(a, x), key(b, y));
        match self {
            FloatCond::Eq => !unordered && a == b,
            FloatCond::Ne => unordered || a != b,
            FloatCond::Lt => !unordered && a < b,
            FloatCond::Nlt => unordered || a >= b,
            FloatCond::Le => !unordered && a <= b,
            FloatCond::Nle => unordered || a > b,
            FloatCond::Un => unordered,
            FloatCond::Ord => !unordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_compare_as_the_host_does() {
        let numbers = [0.0, -0.0, 1.0, -1.0, 1.5, f64::MIN_POSITIVE / 4.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        for (a, b) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
            let (x, y) = (a as f32, b as f32);
            #[rustfmt::skip]
            let want = [
                (FloatCond::Eq, a == b, x == y), (FloatCond::Ne, a != b, x != y),
                (FloatCond::Lt, a < b, x < y), (FloatCond::Le, a <= b, x <= y),
                (FloatCond::Un, a.partial_cmp(&b).is_none(), x.partial_cmp(&y).is_none()),
            ];
            for (cond, double, single) in want {
                assert_eq!(cond.eval(Lane::D, a.to_bits(), b.to_bits()), double, "{a} {cond:?} {b}");
                assert_eq!(cond.eval(Lane::S, x.to_bits().into(), y.to_bits().into()), single, "{x} {cond:?} {y}");
            }
            for pair in FloatCond::ALL.chunks(2) {
                let [holds, not] = [pair[0], pair[1]].map(|c| c.eval(Lane::D, a.to_bits(), b.to_bits()));
                assert_ne!(holds, not, "{a} {pair:?} {b}");
            }
        }
    }
}
