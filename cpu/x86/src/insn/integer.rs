//! Arithmetic, logic and moves (SDM vol. 2, in alphabetical order there).

use super::operand::Place;
use super::translator::{Next, Translator};
use crate::exception::{DE, Exception};
use crate::helpers;
use crate::state::{RAX, RDX};
use tcg::ir::{AtomicOp, Binary, Cond, Order, Ty, Unary, Val};

/// What ADD and its like compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
    Test,
}

impl Translator<'_> {
    /// Whether the operation on memory must be atomic: a LOCK prefix, or XCHG.
    fn locked(&self, place: Place) -> bool {
        self.insn.has_lock_prefix() && matches!(place, Place::Memory(_))
    }

    /// `place <- f(place)`, atomically if it is memory and the instruction is locked: gives the old value and the new one.
    /// Atomically, it is computed from what was read and tried again, from the instruction's start, if that has changed.
    pub(super) fn update(&mut self, place: Place, ty: Ty, f: impl FnOnce(&mut Self, Val) -> Val) -> (Val, Val) {
        let old = self.load(place, ty);
        let new = f(self, old);
        match place {
            Place::Memory(va) if self.insn.has_lock_prefix() => self.replace(va, ty, old, new),
            _ => self.store_later(place, ty, new),
        }
        (old, new)
    }

    /// Replaces memory that must still hold `old`, or starts the instruction anew.
    pub(super) fn replace(&mut self, va: Val, ty: Ty, old: Val, new: Val) {
        let mut mem = self.mem_to_modify();
        mem.order = Order::AcqRel;
        let found = self.ir.cmpxchg(ty, va, old, new, mem);
        let changed = self.ir.cmp(Cond::Ne, ty, found, old);
        self.ir.raise_if(helpers::RETRY, changed, 0);
    }

    /// A store to memory now; registers are set by the caller's [`finish`](Translator::finish).
    fn store_later(&mut self, place: Place, ty: Ty, v: Val) {
        if let Place::Memory(_) = place {
            self.store(place, ty, v);
        }
    }

    /// Sets a register that [`update`](Translator::update) has computed.
    pub(super) fn finish(&mut self, place: Place, v: Val) {
        if let Place::Register(register) = place {
            self.set_gpr(register, v);
        }
    }

    /// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST.
    pub(super) fn arithmetic(&mut self, what: Arithmetic) -> Next {
        let ty = self.ty(0);
        let to = self.place(0);
        let from = self.place(1);
        let b = self.load(from, ty);
        let carry = match what {
            Arithmetic::Adc | Arithmetic::Sbb => self.cf(),
            _ => self.ir.imm(Ty::I8, 0),
        };
        let same = matches!((to, from), (Place::Register(x), Place::Register(y)) if x == y);
        if matches!(what, Arithmetic::Cmp | Arithmetic::Test) {
            let a = self.load(to, ty);
            if what == Arithmetic::Cmp {
                self.flags_of_comparison(ty, a, b);
            } else {
                let result = if same { a } else { self.ir.and(ty, a, b) };
                self.flags_of_logic(ty, result);
            }
            return Next::Continue;
        }
        let compute = |t: &mut Self, a: Val| match what {
            Arithmetic::Add => t.ir.add(ty, a, b),
            Arithmetic::Or => t.ir.or(ty, a, b),
            Arithmetic::And => t.ir.and(ty, a, b),
            Arithmetic::Xor => t.ir.xor(ty, a, b),
            Arithmetic::Adc => {
                let (sum, wide) = (t.ir.add(ty, a, b), t.ir.zext(ty, carry));
                t.ir.add(ty, sum, wide)
            }
            Arithmetic::Sbb => {
                let (difference, wide) = (t.ir.sub(ty, a, b), t.ir.zext(ty, carry));
                t.ir.sub(ty, difference, wide)
            }
            _ => t.ir.sub(ty, a, b),
        };
        let (a, result) = match (self.locked(to), to) {
            (true, Place::Memory(va)) if !matches!(what, Arithmetic::Adc | Arithmetic::Sbb) => {
                let a = self.atomic(what, ty, va, b);
                (a, compute(self, a))
            }
            _ if same && matches!(what, Arithmetic::Xor | Arithmetic::Sub) => {
                let a = self.load(to, ty);
                (a, self.ir.imm(ty, 0))
            }
            _ => self.update(to, ty, compute),
        };
        match what {
            Arithmetic::Add | Arithmetic::Adc => self.flags_of_add(ty, a, b, carry, result, true),
            Arithmetic::Sub => self.flags_of_sub(ty, a, b, result, true),
            Arithmetic::Sbb => self.flags_of_sbb(ty, a, b, carry, result),
            _ => self.flags_of_logic(ty, result),
        }
        self.finish(to, result);
        Next::Continue
    }

    /// A locked operation that is one atomic operation; gives the old value.
    fn atomic(&mut self, what: Arithmetic, ty: Ty, va: Val, b: Val) -> Val {
        let (op, operand) = match what {
            Arithmetic::Sub => (AtomicOp::Add, self.ir.un(Unary::Neg, ty, b)),
            Arithmetic::And => (AtomicOp::AndNot, self.ir.not(ty, b)),
            Arithmetic::Or => (AtomicOp::Or, b),
            Arithmetic::Xor => (AtomicOp::Xor, b),
            _ => (AtomicOp::Add, b),
        };
        let mut mem = self.mem_to_modify();
        mem.order = Order::AcqRel;
        self.ir.atomic(op, ty, va, operand, mem)
    }

    /// INC and DEC.
    pub(super) fn inc_dec(&mut self, dec: bool) -> Next {
        let ty = self.ty(0);
        let to = self.place(0);
        let one = self.ir.imm(ty, 1);
        let op = if dec { Binary::Sub } else { Binary::Add };
        let (a, result) = self.update(to, ty, |t, a| t.ir.bin(op, ty, a, one));
        if dec {
            self.flags_of_sub(ty, a, one, result, false);
        } else {
            let zero = self.ir.imm(Ty::I8, 0);
            self.flags_of_add(ty, a, one, zero, result, false);
        }
        self.finish(to, result);
        Next::Continue
    }

    /// NEG.
    pub(super) fn neg(&mut self) -> Next {
        let ty = self.ty(0);
        let to = self.place(0);
        let zero = self.ir.imm(ty, 0);
        let (a, result) = self.update(to, ty, |t, a| t.ir.un(Unary::Neg, ty, a));
        self.flags_of_sub(ty, zero, a, result, true);
        self.finish(to, result);
        Next::Continue
    }

    /// NOT.
    pub(super) fn not(&mut self) -> Next {
        let ty = self.ty(0);
        let to = self.place(0);
        let (_, result) = self.update(to, ty, |t, a| t.ir.not(ty, a));
        self.finish(to, result);
        Next::Continue
    }

    /// MOV between general-purpose registers, memory and immediates.
    pub(super) fn mov(&mut self) -> Next {
        let ty = self.ty(0);
        let to = self.place(0);
        let v = self.read_as(1, ty);
        self.store(to, ty, v);
        Next::Continue
    }

    /// Operand `n`, of which an immediate has type `ty`.
    pub(super) fn read_as(&mut self, n: u32, ty: Ty) -> Val {
        let place = self.place(n);
        self.load(place, ty)
    }

    /// MOVZX, MOVSX and MOVSXD.
    pub(super) fn extend(&mut self, signed: bool) -> Next {
        let (to, ty) = (self.place(0), self.ty(0));
        let v = self.read(1);
        // MOVSXD without REX.W copies as many bits as it has.
        let wide = match (signed, self.ir.ty(v) < ty) {
            (_, false) => self.ir.trunc(ty, v),
            (true, _) => self.ir.sext(ty, v),
            (false, _) => self.ir.zext(ty, v),
        };
        self.store(to, ty, wide);
        Next::Continue
    }

    /// MOVBE.
    pub(super) fn movbe(&mut self) -> Next {
        let (to, ty) = (self.place(0), self.ty(0));
        let v = self.read(1);
        let swapped = self.ir.un(Unary::ByteRev, ty, v);
        self.store(to, ty, swapped);
        Next::Continue
    }

    /// BSWAP; of 16 bits it is undefined and gives zero.
    pub(super) fn bswap(&mut self) -> Next {
        let (to, ty) = (self.place(0), self.ty(0));
        let v = self.load(to, ty);
        let swapped = if ty == Ty::I16 { self.ir.imm(ty, 0) } else { self.ir.un(Unary::ByteRev, ty, v) };
        self.finish(to, swapped);
        Next::Continue
    }

    /// LEA.
    pub(super) fn lea(&mut self) -> Next {
        let register = self.insn.op0_register();
        let offset = self.offset();
        let v = self.ir.trunc(super::operand::ty_of(register.size()), offset);
        self.set_gpr(register, v);
        Next::Continue
    }

    /// CMOVcc: the source is read in any case, and 32 bits clear the upper half even if nothing moves.
    pub(super) fn cmov(&mut self, code: u8) -> Next {
        let (to, ty) = (self.place(0), self.ty(0));
        let v = self.read(1);
        let old = self.load(to, ty);
        let condition = self.condition(code);
        let result = self.ir.select(ty, condition, v, old);
        self.finish(to, result);
        Next::Continue
    }

    /// SETcc.
    pub(super) fn setcc(&mut self, code: u8) -> Next {
        let to = self.place(0);
        let condition = self.condition(code);
        self.store(to, Ty::I8, condition);
        Next::Continue
    }

    /// XCHG; with memory it is always atomic.
    pub(super) fn xchg(&mut self) -> Next {
        let ty = self.ty(0);
        // Memory may be either operand.
        let (memory, other) = if self.is_memory(1) { (1, 0) } else { (0, 1) };
        let (a, b) = (self.place(memory), self.place(other));
        let v = self.load(b, ty);
        let old = match a {
            Place::Memory(va) => {
                let mut mem = self.mem_to_modify();
                mem.order = Order::AcqRel;
                self.ir.atomic(AtomicOp::Swap, ty, va, v, mem)
            }
            _ => {
                let old = self.load(a, ty);
                self.finish(a, v);
                old
            }
        };
        self.finish(b, old);
        Next::Continue
    }

    /// XADD.
    pub(super) fn xadd(&mut self) -> Next {
        let ty = self.ty(0);
        let (to, from) = (self.place(0), self.place(1));
        let b = self.load(from, ty);
        let (a, sum) = match (self.locked(to), to) {
            (true, Place::Memory(va)) => {
                let a = self.atomic(Arithmetic::Add, ty, va, b);
                (a, self.ir.add(ty, a, b))
            }
            _ => self.update(to, ty, |t, a| t.ir.add(ty, a, b)),
        };
        let zero = self.ir.imm(Ty::I8, 0);
        self.flags_of_add(ty, a, b, zero, sum, true);
        self.finish(from, a);
        self.finish(to, sum);
        Next::Continue
    }

    /// CMPXCHG. Memory is always written, if only with what it held.
    pub(super) fn cmpxchg(&mut self) -> Next {
        let ty = self.ty(0);
        let to = self.place(0);
        let new = self.read(1);
        let expected = self.numbered(RAX, ty);
        let old = match (self.locked(to), to) {
            (true, Place::Memory(va)) => {
                let mut mem = self.mem_to_modify();
                mem.order = Order::AcqRel;
                self.ir.cmpxchg(ty, va, expected, new, mem)
            }
            _ => {
                let old = self.load(to, ty);
                let same = self.ir.cmp(Cond::Eq, ty, old, expected);
                let v = self.ir.select(ty, same, new, old);
                self.store_later(to, ty, v);
                self.finish_cmpxchg(to, same, v);
                old
            }
        };
        let same = self.ir.cmp(Cond::Eq, ty, old, expected);
        let difference = self.ir.sub(ty, expected, old);
        self.flags_of_sub(ty, expected, old, difference, true);
        let accumulator = self.ir.select(ty, same, expected, old);
        // An equal comparison leaves RAX alone, its upper half included.
        let whole = self.ir.get(crate::state::gpr(RAX));
        self.set_numbered(RAX, ty, accumulator);
        let now = self.ir.get(crate::state::gpr(RAX));
        let kept = self.ir.select(Ty::I64, same, whole, now);
        self.ir.set(crate::state::gpr(RAX), kept);
        Next::Continue
    }

    /// The register that CMPXCHG compares with is only written if the comparison is equal.
    fn finish_cmpxchg(&mut self, to: Place, same: Val, v: Val) {
        if let Place::Register(register) = to {
            let number = register.full_register().number();
            let whole = self.ir.get(crate::state::gpr(number));
            self.set_gpr(register, v);
            let now = self.ir.get(crate::state::gpr(number));
            let kept = self.ir.select(Ty::I64, same, now, whole);
            self.ir.set(crate::state::gpr(number), kept);
        }
    }

    /// CMPXCHG8B and CMPXCHG16B: a helper does all of it.
    pub(super) fn cmpxchg_pair(&mut self, wide: bool) -> Next {
        let va = self.memory(if wide { 16 } else { 8 }, true);
        let wide = self.ir.imm64(wide.into());
        self.ir.call(helpers::CMPXCHG_PAIR, &[va, wide]);
        self.flags_changed();
        Next::Continue
    }

    /// CBW, CWDE and CDQE: `bits` of RAX from half as many.
    pub(super) fn widen_accumulator(&mut self, ty: Ty, half: Ty) -> Next {
        let v = self.numbered(RAX, half);
        let wide = self.ir.sext(ty, v);
        self.set_numbered(RAX, ty, wide);
        Next::Continue
    }

    /// CWD, CDQ and CQO: the sign of RAX in all bits of RDX.
    pub(super) fn sign_to_rdx(&mut self, ty: Ty) -> Next {
        let v = self.numbered(RAX, ty);
        let sign = self.ir.shift_imm(Binary::Sar, ty, v, ty.bits() - 1);
        self.set_numbered(RDX, ty, sign);
        Next::Continue
    }

    /// The product of two values: its low half, its high half, and whether the high half says more than the low.
    fn product(&mut self, ty: Ty, a: Val, b: Val, signed: bool) -> (Val, Val, Val) {
        let low = self.ir.bin(Binary::Mul, ty, a, b);
        let high = self.ir.bin(if signed { Binary::MulHiS } else { Binary::MulHiU }, ty, a, b);
        let extension =
            if signed { self.ir.shift_imm(Binary::Sar, ty, low, ty.bits() - 1) } else { self.ir.imm(ty, 0) };
        let more = self.ir.cmp(Cond::Ne, ty, high, extension);
        (low, high, more)
    }

    /// MUL and IMUL with one operand.
    pub(super) fn mul(&mut self, signed: bool) -> Next {
        let ty = self.ty(0);
        let b = self.read(0);
        let a = self.numbered(RAX, ty);
        let (low, high, more) = self.product(ty, a, b, signed);
        self.flags_of_product(ty, low, more);
        if ty == Ty::I8 {
            let (low, high) = (self.ir.zext(Ty::I16, low), self.ir.zext(Ty::I16, high));
            let high = self.ir.shift_imm(Binary::Shl, Ty::I16, high, 8);
            let both = self.ir.or(Ty::I16, low, high);
            self.set_numbered(RAX, Ty::I16, both);
        } else {
            self.set_numbered(RAX, ty, low);
            self.set_numbered(RDX, ty, high);
        }
        Next::Continue
    }

    /// IMUL with two or three operands.
    pub(super) fn imul(&mut self) -> Next {
        if self.insn.op_count() == 1 {
            return self.mul(true);
        }
        let ty = self.ty(0);
        let (first, second) = if self.insn.op_count() == 3 { (1, 2) } else { (0, 1) };
        let a = self.read_as(first, ty);
        let b = self.read_as(second, ty);
        let (low, _, more) = self.product(ty, a, b, true);
        self.flags_of_product(ty, low, more);
        let to = self.insn.op0_register();
        self.set_gpr(to, low);
        Next::Continue
    }

    fn flags_of_product(&mut self, ty: Ty, low: Val, more: Val) {
        self.flags_of_result(ty, low);
        self.set_cf(more);
        self.set_of(more);
    }

    /// DIV and IDIV; #DE for a divisor of zero or a quotient that does not fit.
    pub(super) fn div(&mut self, signed: bool) -> Next {
        let ty = self.ty(0);
        let divisor = self.read(0);
        if ty == Ty::I64 {
            // The quotient comes back, the remainder is in RDX by then.
            let signed = self.ir.imm64(signed.into());
            let quotient = self.ir.call(helpers::DIVIDE, &[divisor, signed]);
            self.ir.set(crate::state::gpr(RAX), quotient);
            return Next::Continue;
        }
        // The dividend and all else fits into twice as many bits.
        let wide = match ty {
            Ty::I8 => Ty::I16,
            Ty::I16 => Ty::I32,
            _ => Ty::I64,
        };
        let dividend = if ty == Ty::I8 {
            self.numbered(RAX, Ty::I16)
        } else {
            let (low, high) = (self.numbered(RAX, ty), self.numbered(RDX, ty));
            let (low, high) = (self.ir.zext(wide, low), self.ir.zext(wide, high));
            let high = self.ir.shift_imm(Binary::Shl, wide, high, ty.bits());
            self.ir.or(wide, low, high)
        };
        let zero = self.ir.cmp_imm(Cond::Eq, ty, divisor, 0);
        self.raise_if(Some(zero), Exception::plain(DE));
        let divisor = if signed { self.ir.sext(wide, divisor) } else { self.ir.zext(wide, divisor) };
        let quotient = self.ir.bin(if signed { Binary::DivS } else { Binary::DivU }, wide, dividend, divisor);
        let cut = self.ir.trunc(ty, quotient);
        let back = if signed { self.ir.sext(wide, cut) } else { self.ir.zext(wide, cut) };
        let too_big = self.ir.cmp(Cond::Ne, wide, back, quotient);
        self.raise_if(Some(too_big), Exception::plain(DE));
        // The most negative dividend by -1 overflows in the wide type, too: its quotient is itself and never fits.
        let product = self.ir.bin(Binary::Mul, wide, quotient, divisor);
        let remainder = self.ir.sub(wide, dividend, product);
        if ty == Ty::I8 {
            let remainder = self.ir.shift_imm(Binary::Shl, Ty::I16, remainder, 8);
            let cut = self.ir.zext(Ty::I16, cut);
            let both = self.ir.or(Ty::I16, remainder, cut);
            self.set_numbered(RAX, Ty::I16, both);
        } else {
            let remainder = self.ir.trunc(ty, remainder);
            self.set_numbered(RAX, ty, cut);
            self.set_numbered(RDX, ty, remainder);
        }
        Next::Continue
    }

    /// AAA, AAS, DAA, DAS, AAM and AAD: a helper does them.
    pub(super) fn decimal(&mut self, which: u64) -> Next {
        let immediate = if self.insn.op_count() > 0 { u64::from(self.insn.immediate8()) } else { 0 };
        let (which, immediate) = (self.ir.imm64(which), self.ir.imm64(immediate));
        self.ir.call(helpers::DECIMAL, &[which, immediate]);
        self.flags_changed();
        Next::Continue
    }

    /// SAHF: flags from AH.
    pub(super) fn sahf(&mut self) -> Next {
        let ah = self.gpr(iced_x86::Register::AH);
        self.ir.call(helpers::SAHF, &[ah]);
        self.flags_changed();
        Next::Continue
    }

    /// LAHF: flags to AH.
    pub(super) fn lahf(&mut self) -> Next {
        let flags = self.low_flags();
        let low = self.ir.trunc(Ty::I8, flags);
        self.set_gpr(iced_x86::Register::AH, low);
        Next::Continue
    }

    /// CLC, STC and CMC.
    pub(super) fn set_carry(&mut self, to: Option<bool>) -> Next {
        let v = match to {
            Some(on) => self.ir.imm(Ty::I8, on.into()),
            None => {
                let c = self.cf();
                self.ir.cmp_imm(Cond::Eq, Ty::I8, c, 0)
            }
        };
        self.set_cf(v);
        Next::Continue
    }

    /// SALC: AL from CF.
    pub(super) fn salc(&mut self) -> Next {
        let c = self.cf();
        let all = self.ir.un(Unary::Neg, Ty::I8, c);
        self.set_gpr(iced_x86::Register::AL, all);
        Next::Continue
    }

    /// XLAT: AL from the table at (E/R)BX.
    pub(super) fn xlat(&mut self) -> Next {
        let va = self.memory(1, false);
        let mem = self.mem();
        let v = self.ir.load(Ty::I8, va, mem);
        self.set_gpr(iced_x86::Register::AL, v);
        Next::Continue
    }

    /// ADCX and ADOX: sums with a carry in CF or OF, which alone changes.
    pub(super) fn add_carry_alone(&mut self, in_of: bool) -> Next {
        let (to, ty) = (self.place(0), self.ty(0));
        let b = self.read(1);
        let a = self.load(to, ty);
        let carry = if in_of { self.of() } else { self.cf() };
        let (sum, wide) = (self.ir.add(ty, a, b), self.ir.zext(ty, carry));
        let sum = self.ir.add(ty, sum, wide);
        let out = self.ir.carry(ty, a, b, carry);
        if in_of {
            self.set_of(out);
        } else {
            self.set_cf(out);
        }
        self.finish(to, sum);
        Next::Continue
    }
}
