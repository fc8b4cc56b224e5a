//! What the translator methods share: registers, flags, memory operands, the ends of blocks.

use super::decode;
use crate::exception::{self, Syndrome};
use crate::features::{Feature, Features};
use crate::helpers;
use crate::mmu;
use crate::mode::Mode;
use crate::state::{self, BTYPE, C, N, SP, V, Z};
use tcg::ir::{Binary, Block, Cond, FloatCond, HelperId, Mem, Order, Terminal, Ty, VUnary, Val};
use tcg::{Lane, Slot};

/// What follows an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next instruction, in the same block.
    Continue,
    /// Nothing: the method has set the block's terminal.
    End,
}

/// What is known of the flags while translating: their last producer, so that a condition need not read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Only that they are in the state.
    InState,
    /// They are those of `a - b`.
    Sub { ty: Ty, a: Val, b: Val },
    /// They are those of a comparison of the numbers in the lowest lanes.
    Float { lane: Lane, a: Val, b: Val },
    /// N and Z are those of `result`, C and V are clear.
    Logic { ty: Ty, result: Val },
}

/// Translates one block.
pub struct Translator<'a> {
    /// The IR under construction.
    pub ir: &'a mut Block,
    /// The processor's features.
    pub features: Features,
    /// The mode of the block.
    pub mode: Mode,
    /// The current instruction's distance from the start of the block in bytes.
    pub pc: u32,
    /// Producer of the flags.
    pub flags: Flags,
    /// Whether an earlier instruction of the block may have left PSTATE.BTYPE other than zero.
    pub(super) btype_live: bool,
}

/// Translates instructions of `code` (to the end of the page at most) until the block ends, at most `limit` of them.
pub fn translate(features: Features, mode: u64, code: &[u8], limit: u32, ir: &mut Block) {
    let mode = Mode(mode);
    ir.host_float = mode.host_float() != 0;
    let mut t = Translator { ir, features, mode, pc: 0, flags: Flags::InState, btype_live: mode.btype() != 0 };
    // A stepped instruction is a block of its own.
    let limit = if mode.step() != 0 { 1 } else { limit };
    for word in code.chunks_exact(4) {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        t.ir.insn(t.pc);
        t.ir.insns += 1;
        let next = t.instruction(word);
        t.pc += 4;
        if next == Next::End {
            break;
        }
        if t.ir.insns >= limit {
            break;
        }
    }
    t.ir.len_bytes = t.pc;
    if t.ir.end.is_none() {
        let to = t.pc.into();
        t.ir.end(Terminal::Jump(to));
    }
    if t.pc == 0 {
        // No whole instruction before the end of the code: a fetch of the next page will say what is wrong.
        t.ir.insn(0);
        t.ir.insns = 1;
        t.ir.len_bytes = 4;
        t.undefined();
    }
}

impl Translator<'_> {
    fn instruction(&mut self, word: u32) -> Next {
        if self.mode.pc_misaligned() != 0 {
            return self.raise(Syndrome::pc_alignment());
        }
        if self.mode.step() == 1 {
            // Active-pending: the step is complete before this instruction (D2.12.3).
            return self.raise(Syndrome::software_step());
        }
        if self.mode.il() != 0 {
            return self.raise(Syndrome::illegal_state());
        }
        if self.btype_live && self.pc == 0 {
            if self.mode.guarded() != 0 && !self.is_landing_pad(word) {
                return self.raise(Syndrome::branch_target(self.mode.btype()));
            }
            let zero = self.ir.imm64(0);
            self.ir.set(BTYPE, zero);
            self.btype_live = false;
        }
        let next = decode(self, word);
        if self.mode.step() == 3 {
            return self.end_step(next);
        }
        next
    }

    /// Completes the one instruction of a block in the active-not-pending state of Software Step: the mode changes with
    /// it, so the engine must look at it anew wherever control goes.
    fn end_step(&mut self, next: Next) -> Next {
        if next == Next::Continue {
            self.resync_next();
        }
        // A dispatch is an exception or a return from one: these set PSTATE.SS themselves.
        if self.ir.end == Some(Terminal::Dispatch) {
            return Next::End;
        }
        self.ir.call(helpers::STEP_DONE, &[]);
        let to = match self.ir.end {
            Some(Terminal::Jump(to)) => {
                self.ir.end = Some(Terminal::Resync(to));
                return Next::End;
            }
            Some(Terminal::Branch(condition, taken, not_taken)) => {
                let distances = [taken, not_taken].map(|d| self.ir.imm64(d as u64));
                let distance = self.ir.select(Ty::I64, condition, distances[0], distances[1]);
                let pc = self.ir.get(state::PC);
                self.ir.add(Ty::I64, pc, distance)
            }
            Some(Terminal::Indirect(to)) => to,
            _ => return Next::End,
        };
        self.ir.set(state::PC, to);
        self.ir.end = Some(Terminal::Dispatch);
        Next::End
    }

    /// Whether `word` may be the target of an indirect branch that left the current BTYPE (D8.4.4 "BTI").
    fn is_landing_pad(&self, word: u32) -> bool {
        let btype = self.mode.btype();
        match word {
            // BTI with targets 0 to 3 in bits 7 and 6: none, c, j, jc. BTYPE 1 comes from BR X16/X17 (and allows all),
            // 2 from BLR, 3 from other BR.
            0xd503_241f => false,
            0xd503_245f => btype != 3,
            0xd503_249f => btype != 2,
            0xd503_24df => true,
            // PACIASP, PACIBSP.
            0xd503_233f | 0xd503_237f => btype != 3 || self.mode.bt() == 0,
            // BRK and HLT raise their own exceptions.
            _ => word & 0xffe0_001f == 0xd420_0000 || word & 0xffe0_001f == 0xd440_0000,
        }
    }

    /// Whether the processor has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// The word is no instruction of this processor.
    pub fn unallocated(&mut self, _word: u32) -> Next {
        self.undefined()
    }

    /// An UNDEFINED instruction: an exception with an unknown reason.
    pub fn undefined(&mut self) -> Next {
        self.raise(Syndrome::undefined())
    }

    /// Raises a synchronous exception of this instruction and ends the block.
    pub fn raise(&mut self, syndrome: Syndrome) -> Next {
        let syndrome = self.ir.imm64(syndrome.0);
        self.ir.call(exception::RAISE, &[syndrome]);
        self.ir.end(Terminal::Dispatch);
        Next::End
    }

    /// Ends the block after this instruction; the engine looks at mode and interrupts before it goes on.
    pub fn resync_next(&mut self) -> Next {
        let to = i64::from(self.pc) + 4;
        self.ir.end(Terminal::Resync(to));
        Next::End
    }

    /// The virtual address of the current instruction plus `offset`.
    pub fn address_of(&mut self, offset: i64) -> Val {
        let pc = self.ir.get(state::PC);
        self.ir.add_imm(Ty::I64, pc, (i64::from(self.pc) + offset) as u64)
    }

    /// `I64` for X registers, `I32` for W registers.
    pub fn ty(sf: bool) -> Ty {
        if sf { Ty::I64 } else { Ty::I32 }
    }

    /// X`n` or W`n`, or zero for 31.
    pub fn x(&mut self, n: u8, ty: Ty) -> Val {
        if n == 31 { self.ir.imm(ty, 0) } else { self.ir.get(Slot(state::x(n).0, ty)) }
    }

    /// X`n` or W`n`, or SP or WSP for 31.
    pub fn x_or_sp(&mut self, n: u8, ty: Ty) -> Val {
        if n == 31 { self.ir.get(Slot(SP.0, ty)) } else { self.x(n, ty) }
    }

    /// Sets X`n`, zero-extending a narrower value; 31 is discarded.
    pub fn set_x(&mut self, n: u8, v: Val) {
        if n != 31 {
            self.ir.set(state::x(n), v);
        }
    }

    /// Sets X`n`, or SP for 31.
    pub fn set_x_or_sp(&mut self, n: u8, v: Val) {
        if n == 31 { self.ir.set(SP, v) } else { self.set_x(n, v) }
    }

    /// V`n`, all 128 bits.
    pub fn q(&mut self, n: u8) -> Val {
        self.ir.get(state::q(n))
    }

    /// Sets V`n`, all 128 bits.
    pub fn set_q(&mut self, n: u8, v: Val) {
        self.ir.set(state::q(n), v);
    }

    /// Sets V`n` from a vector of which only the low 64 bits count (Q = 0); the others become zero.
    pub fn set_d(&mut self, n: u8, v: Val) {
        let low = self.ir.vun(VUnary::Low64, Lane::D, v);
        self.set_q(n, low);
    }

    /// Sets V`n` to 128 bits if `q`, else to 64 bits with zeros above.
    pub fn set_v(&mut self, n: u8, q: bool, v: Val) {
        if q { self.set_q(n, v) } else { self.set_d(n, v) }
    }

    /// The low lane of V`n` as an integer: a scalar operand.
    pub fn scalar(&mut self, n: u8, lane: Lane) -> Val {
        let v = self.q(n);
        self.ir.extract(lane, v, 0)
    }

    /// Sets V`n` to a scalar, zeros above it.
    pub fn set_scalar(&mut self, n: u8, lane: Lane, v: Val) {
        let zero = self.ir.imm_v(0);
        let v = self.ir.insert(lane, zero, 0, v);
        self.set_q(n, v);
    }

    /// For instructions of the SIMD and floating-point sections: traps if they are disabled. Gives the end of the block
    /// then.
    #[must_use]
    pub fn fp_access(&mut self) -> Option<Next> {
        (self.mode.fp_trap() != 0).then(|| self.raise(Syndrome::fp_access()))
    }

    /// Sets N, Z from a result, and C, V.
    fn set_flags(&mut self, ty: Ty, result: Val, c: Val, v: Val) {
        let n = self.ir.cmp_imm(Cond::LtS, ty, result, 0);
        let z = self.ir.cmp_imm(Cond::Eq, ty, result, 0);
        self.ir.set(N, n);
        self.ir.set(Z, z);
        self.ir.set(C, c);
        self.ir.set(V, v);
    }

    /// Sets all flags by `a + b` (C the carry, V the signed overflow); gives the sum.
    pub fn add_with_flags(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        let zero = self.ir.imm(Ty::I8, 0);
        let result = self.ir.add(ty, a, b);
        let c = self.ir.carry(ty, a, b, zero);
        let v = self.ir.overflow(ty, a, b, zero);
        self.set_flags(ty, result, c, v);
        self.flags = Flags::InState;
        result
    }

    /// Sets all flags by `a - b` (C is "no borrow"); gives the difference.
    pub fn sub_with_flags(&mut self, ty: Ty, a: Val, b: Val) -> Val {
        let result = self.ir.sub(ty, a, b);
        let c = self.ir.cmp(Cond::LeU, ty, b, a);
        let (one, not_b) = (self.ir.imm(Ty::I8, 1), self.ir.subtracted(ty, b));
        let v = self.ir.overflow(ty, a, not_b, one);
        self.set_flags(ty, result, c, v);
        self.flags = Flags::Sub { ty, a, b };
        result
    }

    /// Sets all flags by `a + b + carry`; gives the sum. `carry` is an `I8`.
    pub fn add_carry_with_flags(&mut self, ty: Ty, a: Val, b: Val, carry: Val) -> Val {
        let wide = self.ir.zext(ty, carry);
        let sum = self.ir.add(ty, a, b);
        let result = self.ir.add(ty, sum, wide);
        let c = self.ir.carry(ty, a, b, carry);
        let v = self.ir.overflow(ty, a, b, carry);
        self.set_flags(ty, result, c, v);
        self.flags = Flags::InState;
        result
    }

    /// Sets N and Z by a result, clears C and V.
    pub fn logic_flags(&mut self, ty: Ty, result: Val) {
        let zero = self.ir.imm(Ty::I8, 0);
        self.set_flags(ty, result, zero, zero);
        self.flags = Flags::Logic { ty, result };
    }

    /// Sets N, Z, C and V to `I8`s.
    pub fn set_each_flag(&mut self, flags: [Val; 4]) {
        for (slot, flag) in [N, Z, C, V].into_iter().zip(flags) {
            self.ir.set(slot, flag);
        }
        self.flags = Flags::InState;
    }

    /// Sets the flags from a constant NZCV in bits 3 to 0.
    pub fn set_nzcv_imm(&mut self, nzcv: u8) {
        for (slot, bit) in [(N, 3), (Z, 2), (C, 1), (V, 0)] {
            let value = self.ir.imm64(u64::from(nzcv >> bit & 1));
            self.ir.set(slot, value);
        }
        self.flags = Flags::InState;
    }

    /// The flags as NZCV in bits 31 to 28 of an `I64`.
    pub fn nzcv(&mut self) -> Val {
        let mut all = self.ir.imm64(0);
        for (slot, bit) in [(N, 31), (Z, 30), (C, 29), (V, 28)] {
            let flag = self.ir.get(slot);
            let placed = self.ir.shift_imm(Binary::Shl, Ty::I64, flag, bit);
            all = self.ir.or(Ty::I64, all, placed);
        }
        all
    }

    /// Sets the flags from NZCV in bits 31 to 28 of an `I64`.
    pub fn set_nzcv(&mut self, nzcv: Val) {
        for (slot, bit) in [(N, 31), (Z, 30), (C, 29), (V, 28)] {
            let shifted = self.ir.shift_imm(Binary::Shr, Ty::I64, nzcv, bit);
            let flag = self.ir.and_imm(Ty::I64, shifted, 1);
            self.ir.set(slot, flag);
        }
        self.flags = Flags::InState;
    }

    fn flag(&mut self, slot: Slot) -> Val {
        self.ir.get(Slot(slot.0, Ty::I8))
    }

    /// Whether condition `cond` (0 to 15, as encoded) holds, as `I8`.
    pub fn condition(&mut self, cond: u8) -> Val {
        if let (Flags::Float { lane, a, b }, ..0xe) = (self.flags, cond) {
            return self.float_condition(cond, lane, a, b);
        }
        let base = cond & 0xe;
        let holds = match (base, self.flags) {
            (0xe, _) => return self.ir.imm(Ty::I8, 1),
            // The comparisons that a subtraction's flags stand for.
            (0x0, Flags::Sub { ty, a, b }) => self.ir.cmp(Cond::Eq, ty, a, b),
            (0x2, Flags::Sub { ty, a, b }) => self.ir.cmp(Cond::LeU, ty, b, a),
            (0x8, Flags::Sub { ty, a, b }) => self.ir.cmp(Cond::LtU, ty, b, a),
            (0xa, Flags::Sub { ty, a, b }) => self.ir.cmp(Cond::LeS, ty, b, a),
            (0xc, Flags::Sub { ty, a, b }) => self.ir.cmp(Cond::LtS, ty, b, a),
            (0x0, Flags::Logic { ty, result }) => self.ir.cmp_imm(Cond::Eq, ty, result, 0),
            (0x4, Flags::Logic { ty, result }) => self.ir.cmp_imm(Cond::LtS, ty, result, 0),
            (0x0, _) => self.flag(Z),
            (0x2, _) => self.flag(C),
            (0x4, _) => self.flag(N),
            (0x6, _) => self.flag(V),
            (0x8, _) => {
                let (c, z) = (self.flag(C), self.flag(Z));
                self.ir.bin(Binary::AndNot, Ty::I8, c, z)
            }
            (0xa, _) => {
                let (n, v) = (self.flag(N), self.flag(V));
                self.ir.cmp(Cond::Eq, Ty::I8, n, v)
            }
            _ => {
                let (n, v, z) = (self.flag(N), self.flag(V), self.flag(Z));
                let ge = self.ir.cmp(Cond::Eq, Ty::I8, n, v);
                self.ir.bin(Binary::AndNot, Ty::I8, ge, z)
            }
        };
        if cond & 1 == 0 { holds } else { self.ir.cmp_imm(Cond::Eq, Ty::I8, holds, 0) }
    }

    /// What a condition says after a comparison of `a` with `b`: less is N, equal Z and C, greater C, unordered C and V.
    fn float_condition(&mut self, cond: u8, lane: Lane, a: Val, b: Val) -> Val {
        let (relation, a, b) = match cond {
            0x0 => (FloatCond::Eq, a, b),
            0x1 => (FloatCond::Ne, a, b),
            0x2 | 0x5 => (FloatCond::Nlt, a, b),
            0x3 | 0x4 => (FloatCond::Lt, a, b),
            0x6 => (FloatCond::Un, a, b),
            0x7 => (FloatCond::Ord, a, b),
            0x8 => (FloatCond::Nle, a, b),
            0x9 => (FloatCond::Le, a, b),
            0xa => (FloatCond::Le, b, a),
            0xb => (FloatCond::Nle, b, a),
            0xc => (FloatCond::Lt, b, a),
            _ => (FloatCond::Nlt, b, a),
        };
        self.ir.float_cmp(relation, lane, a, b)
    }

    /// The translation regime of ordinary data accesses.
    pub fn regime(&self) -> u8 {
        match (self.mode.el(), self.mode.pan()) {
            (0, _) => mmu::EL0,
            (_, 0) if self.mode.visiting() != 0 => mmu::VISITING_EL1,
            (_, 0) => mmu::EL1,
            _ => mmu::EL1_PAN,
        }
    }

    /// An ordinary access of `bytes` bytes.
    pub fn mem(&self, bytes: u8) -> Mem {
        let align_log2 = if self.mode.align() != 0 { bytes.trailing_zeros() as u8 } else { 0 };
        Mem {
            mmu: self.regime(),
            align_log2,
            order: Order::Relaxed,
            swap: self.mode.big_endian() != 0 && bytes > 1,
            modify: false,
        }
    }

    /// An access that must be aligned to its size whatever the mode, with an order.
    pub fn mem_aligned(&self, bytes: u8, order: Order) -> Mem {
        Mem { align_log2: bytes.trailing_zeros() as u8, order, ..self.mem(bytes) }
    }

    /// An access with the rights of EL0 (LDTR, STTR), unless UAO is set.
    pub fn mem_unprivileged(&self, bytes: u8) -> Mem {
        let unprivileged = self.mode.el() == 1 && self.mode.uao() == 0;
        let mmu = match unprivileged {
            true if self.mode.visiting() != 0 => mmu::VISITING_EL0_FOR_EL1,
            true => mmu::EL0_FOR_EL1,
            false => self.regime(),
        };
        Mem { mmu, ..self.mem(bytes) }
    }

    /// Ends the block with a jump to `offset` bytes from the current instruction.
    pub fn jump(&mut self, offset: i64) -> Next {
        let to = i64::from(self.pc) + offset;
        self.ir.end(Terminal::Jump(to));
        Next::End
    }

    /// Ends the block with a conditional jump to `offset` bytes from the current instruction.
    pub fn branch(&mut self, condition: Val, offset: i64) -> Next {
        let here = i64::from(self.pc);
        match self.ir.as_const(condition) {
            Some(0) => return self.jump(4),
            Some(_) => return self.jump(offset),
            None => self.ir.end(Terminal::Branch(condition, here + offset, here + 4)),
        }
        Next::End
    }

    /// Calls a helper for its effect.
    pub fn effect(&mut self, helper: HelperId, args: &[Val]) {
        self.ir.call(helper, args);
    }
}

/// Sign-extends the low `width` bits.
pub fn signed(value: u64, width: u32) -> i64 {
    (value << (64 - width)) as i64 >> (64 - width)
}
