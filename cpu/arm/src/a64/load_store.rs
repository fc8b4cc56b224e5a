//! Loads and stores of general registers. Arm ARM DDI 0487, C4.1.94 "Loads and Stores"; instructions in C6.2.
//!
//! Every memory operation of an instruction comes before its first write of a register, so that a fault leaves all
//! registers as they were.

use super::translator::{Next, Translator, signed};
use super::{
    AtomicMemory, CompareSwap, CompareSwapPair, LoadExclusive, LoadExclusivePair, LoadLiteral, LoadStoreImm,
    LoadStoreImm9, LoadStoreOrdered, LoadStorePair, LoadStoreReg, PrefetchImm, PrefetchLiteral, PrefetchReg,
    PrefetchUnscaled, StoreExclusive, StoreExclusivePair,
};
use crate::integer_helpers::{STORE_EXCLUSIVE, pack_exclusive};
use crate::state::{EXCLUSIVE_ADDR, EXCLUSIVE_HIGH, EXCLUSIVE_LOW};
use tcg::Lane;
use tcg::ir::{AtomicOp, Binary, Mem, Order, Ty, Val};

/// How the base register changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriteBack {
    No,
    /// The access is at the old base.
    Post,
    /// The access is at the new base.
    Pre,
}

/// The type of `1 << size` bytes.
fn sized(size: u8) -> Ty {
    [Ty::I8, Ty::I16, Ty::I32, Ty::I64][usize::from(size & 3)]
}

impl Translator<'_> {
    /// The address of an access and the base register's new value.
    fn base_and_offset(&mut self, rn: u8, offset: i64, back: WriteBack) -> (Val, Option<Val>) {
        let base = self.x_or_sp(rn, Ty::I64);
        let moved = self.ir.add_imm(Ty::I64, base, offset as u64);
        match back {
            WriteBack::No => (moved, None),
            WriteBack::Post => (base, Some(moved)),
            WriteBack::Pre => (moved, Some(moved)),
        }
    }

    fn set_base(&mut self, rn: u8, base: Option<Val>) {
        if let Some(base) = base {
            self.set_x_or_sp(rn, base);
        }
    }

    /// Loads `1 << size` bytes as `opc` says: 1 zero-extended, 2 sign-extended to 64 bits, 3 to 32 bits.
    fn load(&mut self, size: u8, opc: u8, address: Val, mem: Mem) -> Val {
        let value = self.ir.load(sized(size), address, mem);
        match opc {
            2 => self.ir.sext(Ty::I64, value),
            3 => self.ir.sext(Ty::I32, value),
            _ => value,
        }
    }

    // The fields of one encoding.
    #[allow(clippy::too_many_arguments)]
    fn load_to(&mut self, size: u8, opc: u8, rn: u8, rt: u8, offset: i64, back: WriteBack, mem: Mem) -> Next {
        let (address, base) = self.base_and_offset(rn, offset, back);
        let value = self.load(size, opc, address, mem);
        self.set_base(rn, base);
        self.set_x(rt, value);
        Next::Continue
    }

    fn store_from(&mut self, size: u8, rn: u8, rt: u8, offset: i64, back: WriteBack, mem: Mem) -> Next {
        let (address, base) = self.base_and_offset(rn, offset, back);
        let value = self.x(rt, sized(size));
        self.ir.store(sized(size), address, value, mem);
        self.set_base(rn, base);
        Next::Continue
    }

    fn sized_mem(&self, size: u8) -> Mem {
        self.mem(1 << (size & 3))
    }

    /// STR, STRB, STRH (immediate, unsigned offset).
    pub fn str_imm(&mut self, i: LoadStoreImm) -> Next {
        let offset = i64::from(i.imm12) << i.size;
        self.store_from(i.size, i.rn, i.rt, offset, WriteBack::No, self.sized_mem(i.size))
    }
    /// LDR, LDRB, LDRH, LDRSB, LDRSH, LDRSW (immediate, unsigned offset).
    pub fn ldr_imm(&mut self, i: LoadStoreImm) -> Next {
        let offset = i64::from(i.imm12) << i.size;
        self.load_to(i.size, i.opc, i.rn, i.rt, offset, WriteBack::No, self.sized_mem(i.size))
    }

    fn load_imm9(&mut self, i: LoadStoreImm9, back: WriteBack, mem: Mem) -> Next {
        self.load_to(i.size, i.opc, i.rn, i.rt, signed(i.imm9.into(), 9), back, mem)
    }
    fn store_imm9(&mut self, i: LoadStoreImm9, back: WriteBack, mem: Mem) -> Next {
        self.store_from(i.size, i.rn, i.rt, signed(i.imm9.into(), 9), back, mem)
    }

    /// STUR and its narrow forms.
    pub fn stur(&mut self, i: LoadStoreImm9) -> Next {
        self.store_imm9(i, WriteBack::No, self.sized_mem(i.size))
    }
    /// LDUR and its narrow and signed forms.
    pub fn ldur(&mut self, i: LoadStoreImm9) -> Next {
        self.load_imm9(i, WriteBack::No, self.sized_mem(i.size))
    }
    /// STR (immediate, post-index).
    pub fn str_post(&mut self, i: LoadStoreImm9) -> Next {
        self.store_imm9(i, WriteBack::Post, self.sized_mem(i.size))
    }
    /// LDR (immediate, post-index).
    pub fn ldr_post(&mut self, i: LoadStoreImm9) -> Next {
        self.load_imm9(i, WriteBack::Post, self.sized_mem(i.size))
    }
    /// STR (immediate, pre-index).
    pub fn str_pre(&mut self, i: LoadStoreImm9) -> Next {
        self.store_imm9(i, WriteBack::Pre, self.sized_mem(i.size))
    }
    /// LDR (immediate, pre-index).
    pub fn ldr_pre(&mut self, i: LoadStoreImm9) -> Next {
        self.load_imm9(i, WriteBack::Pre, self.sized_mem(i.size))
    }
    /// STTR: with the rights of EL0.
    pub fn sttr(&mut self, i: LoadStoreImm9) -> Next {
        self.store_imm9(i, WriteBack::No, self.mem_unprivileged(1 << (i.size & 3)))
    }
    /// LDTR: with the rights of EL0.
    pub fn ldtr(&mut self, i: LoadStoreImm9) -> Next {
        self.load_imm9(i, WriteBack::No, self.mem_unprivileged(1 << (i.size & 3)))
    }
    /// STLUR: store-release with an offset.
    pub fn stlur(&mut self, i: LoadStoreImm9) -> Next {
        self.store_imm9(i, WriteBack::No, self.mem_aligned(1 << (i.size & 3), Order::Release))
    }
    /// LDAPUR: load-acquire RCpc with an offset.
    pub fn ldapur(&mut self, i: LoadStoreImm9) -> Next {
        self.load_imm9(i, WriteBack::No, self.mem_aligned(1 << (i.size & 3), Order::Acquire))
    }

    /// Base plus extended index register.
    pub(super) fn register_offset(&mut self, rn: u8, rm: u8, option: u8, shift: u8) -> Val {
        let base = self.x_or_sp(rn, Ty::I64);
        let offset = self.extended(rm, Ty::I64, option, shift);
        self.ir.add(Ty::I64, base, offset)
    }

    /// STR (register).
    pub fn str_reg(&mut self, i: LoadStoreReg) -> Next {
        let address = self.register_offset(i.rn, i.rm, i.option, if i.s { i.size } else { 0 });
        let value = self.x(i.rt, sized(i.size));
        self.ir.store(sized(i.size), address, value, self.sized_mem(i.size));
        Next::Continue
    }
    /// LDR (register).
    pub fn ldr_reg(&mut self, i: LoadStoreReg) -> Next {
        let address = self.register_offset(i.rn, i.rm, i.option, if i.s { i.size } else { 0 });
        let value = self.load(i.size, i.opc, address, self.sized_mem(i.size));
        self.set_x(i.rt, value);
        Next::Continue
    }

    /// LDR (literal): W, X, LDRSW.
    pub fn ldr_literal(&mut self, i: LoadLiteral) -> Next {
        let address = self.address_of(signed(u64::from(i.imm19) << 2, 21));
        let (size, opc) = match i.opc {
            1 => (3, 1),
            2 => (2, 2),
            _ => (2, 1),
        };
        let value = self.load(size, opc, address, self.sized_mem(size));
        self.set_x(i.rt, value);
        Next::Continue
    }

    /// PRFM (literal): nothing to do.
    pub fn prfm_literal(&mut self, _: PrefetchLiteral) -> Next {
        Next::Continue
    }
    /// PRFM (immediate): nothing to do.
    pub fn prfm_imm(&mut self, _: PrefetchImm) -> Next {
        Next::Continue
    }
    /// PRFUM: nothing to do.
    pub fn prfum(&mut self, _: PrefetchUnscaled) -> Next {
        Next::Continue
    }
    /// PRFM (register): nothing to do.
    pub fn prfm_reg(&mut self, _: PrefetchReg) -> Next {
        Next::Continue
    }

    fn store_general_pair(&mut self, i: LoadStorePair, back: WriteBack) -> Next {
        let size = if i.opc == 2 { 3 } else { 2 };
        let ty = sized(size);
        let mem = self.sized_mem(size);
        let (address, base) = self.base_and_offset(i.rn, signed(i.imm7.into(), 7) << size, back);
        let (first, second) = (self.x(i.rt, ty), self.x(i.rt2, ty));
        self.ir.store(ty, address, first, mem);
        let next = self.ir.add_imm(Ty::I64, address, 1 << size);
        self.ir.store(ty, next, second, mem);
        self.set_base(i.rn, base);
        Next::Continue
    }

    fn load_general_pair(&mut self, i: LoadStorePair, back: WriteBack) -> Next {
        let size = if i.opc == 2 { 3 } else { 2 };
        let opc = if i.opc == 1 { 2 } else { 1 };
        let mem = self.sized_mem(size);
        let (address, base) = self.base_and_offset(i.rn, signed(i.imm7.into(), 7) << size, back);
        let first = self.load(size, opc, address, mem);
        let next = self.ir.add_imm(Ty::I64, address, 1 << size);
        let second = self.load(size, opc, next, mem);
        self.set_base(i.rn, base);
        self.set_x(i.rt, first);
        self.set_x(i.rt2, second);
        Next::Continue
    }

    /// STP (signed offset).
    pub fn stp(&mut self, i: LoadStorePair) -> Next {
        self.store_general_pair(i, WriteBack::No)
    }
    /// LDP, LDPSW (signed offset).
    pub fn ldp(&mut self, i: LoadStorePair) -> Next {
        self.load_general_pair(i, WriteBack::No)
    }
    /// STP (post-index).
    pub fn stp_post(&mut self, i: LoadStorePair) -> Next {
        self.store_general_pair(i, WriteBack::Post)
    }
    /// LDP, LDPSW (post-index).
    pub fn ldp_post(&mut self, i: LoadStorePair) -> Next {
        self.load_general_pair(i, WriteBack::Post)
    }
    /// STP (pre-index).
    pub fn stp_pre(&mut self, i: LoadStorePair) -> Next {
        self.store_general_pair(i, WriteBack::Pre)
    }
    /// LDP, LDPSW (pre-index).
    pub fn ldp_pre(&mut self, i: LoadStorePair) -> Next {
        self.load_general_pair(i, WriteBack::Pre)
    }
    /// STNP.
    pub fn stnp(&mut self, i: LoadStorePair) -> Next {
        self.store_general_pair(i, WriteBack::No)
    }
    /// LDNP.
    pub fn ldnp(&mut self, i: LoadStorePair) -> Next {
        self.load_general_pair(i, WriteBack::No)
    }

    /// LDXR, LDAXR and their narrow forms.
    pub fn ldxr(&mut self, i: LoadExclusive) -> Next {
        let bytes = 1 << (i.size & 3);
        let order = if i.o0 { Order::Acquire } else { Order::Relaxed };
        let address = self.x_or_sp(i.rn, Ty::I64);
        let value = self.ir.load(sized(i.size), address, self.mem_aligned(bytes, order));
        let zero = self.ir.imm64(0);
        self.ir.set(EXCLUSIVE_ADDR, address);
        self.ir.set(EXCLUSIVE_LOW, value);
        self.ir.set(EXCLUSIVE_HIGH, zero);
        self.set_x(i.rt, value);
        Next::Continue
    }

    /// STXR, STLXR and their narrow forms.
    pub fn stxr(&mut self, i: StoreExclusive) -> Next {
        let bytes = 1 << (i.size & 3);
        let address = self.x_or_sp(i.rn, Ty::I64);
        let (low, high) = (self.x(i.rt, sized(i.size)), self.ir.imm64(0));
        let kind = self.ir.imm64(pack_exclusive(bytes, self.mem(bytes)));
        let status = self.ir.call(STORE_EXCLUSIVE, &[address, low, high, kind]);
        self.set_x(i.rs, status);
        Next::Continue
    }

    /// Two registers of `half` bits as one value of twice the width, the first at the lower address.
    fn pair(&mut self, half: Ty, first: Val, second: Val) -> Val {
        let (low, high) = if self.mode.big_endian() != 0 { (second, first) } else { (first, second) };
        if half == Ty::I64 {
            let zero = self.ir.imm_v(0);
            let v = self.ir.insert(Lane::D, zero, 0, low);
            self.ir.insert(Lane::D, v, 1, high)
        } else {
            let (low, high) = (self.ir.zext(Ty::I64, low), self.ir.zext(Ty::I64, high));
            let up = self.ir.shift_imm(Binary::Shl, Ty::I64, high, 32);
            self.ir.or(Ty::I64, low, up)
        }
    }

    /// The two registers that [`pair`](Self::pair) joined.
    fn unpair(&mut self, half: Ty, v: Val) -> (Val, Val) {
        let (low, high) = if half == Ty::I64 {
            (self.ir.extract(Lane::D, v, 0), self.ir.extract(Lane::D, v, 1))
        } else {
            let up = self.ir.shift_imm(Binary::Shr, Ty::I64, v, 32);
            (self.ir.trunc(Ty::I32, v), self.ir.trunc(Ty::I32, up))
        };
        if self.mode.big_endian() != 0 { (high, low) } else { (low, high) }
    }

    /// LDXP, LDAXP.
    pub fn ldxp(&mut self, i: LoadExclusivePair) -> Next {
        let half = sized(i.size);
        let (ty, bytes) = if half == Ty::I64 { (Ty::V128, 16) } else { (Ty::I64, 8) };
        let order = if i.o0 { Order::Acquire } else { Order::Relaxed };
        let address = self.x_or_sp(i.rn, Ty::I64);
        let value = self.ir.load(ty, address, self.mem_aligned(bytes, order));
        let (held_low, held_high) = if ty == Ty::V128 {
            (self.ir.extract(Lane::D, value, 0), self.ir.extract(Lane::D, value, 1))
        } else {
            (value, self.ir.imm64(0))
        };
        let (first, second) = self.unpair(half, value);
        self.ir.set(EXCLUSIVE_ADDR, address);
        self.ir.set(EXCLUSIVE_LOW, held_low);
        self.ir.set(EXCLUSIVE_HIGH, held_high);
        self.set_x(i.rt, first);
        self.set_x(i.rt2, second);
        Next::Continue
    }

    /// STXP, STLXP.
    pub fn stxp(&mut self, i: StoreExclusivePair) -> Next {
        let half = sized(i.size);
        let address = self.x_or_sp(i.rn, Ty::I64);
        let (first, second) = (self.x(i.rt, half), self.x(i.rt2, half));
        let value = self.pair(half, first, second);
        let (bytes, low, high) = if half == Ty::I64 {
            (16, self.ir.extract(Lane::D, value, 0), self.ir.extract(Lane::D, value, 1))
        } else {
            (8, value, self.ir.imm64(0))
        };
        let kind = self.ir.imm64(pack_exclusive(bytes, self.mem(bytes)));
        let status = self.ir.call(STORE_EXCLUSIVE, &[address, low, high, kind]);
        self.set_x(i.rs, status);
        Next::Continue
    }

    fn load_ordered(&mut self, i: LoadStoreOrdered) -> Next {
        let mem = self.mem_aligned(1 << (i.size & 3), Order::Acquire);
        self.load_to(i.size, 1, i.rn, i.rt, 0, WriteBack::No, mem)
    }

    /// A store-release is ordered before a later load-acquire too, which an x86 host gives only with a fence.
    fn store_ordered(&mut self, i: LoadStoreOrdered) -> Next {
        let mem = self.mem_aligned(1 << (i.size & 3), Order::Release);
        let next = self.store_from(i.size, i.rn, i.rt, 0, WriteBack::No, mem);
        self.ir.fence();
        next
    }

    /// STLR and its narrow forms.
    pub fn stlr(&mut self, i: LoadStoreOrdered) -> Next {
        self.store_ordered(i)
    }
    /// STLLR.
    pub fn stllr(&mut self, i: LoadStoreOrdered) -> Next {
        self.store_ordered(i)
    }
    /// LDAR and its narrow forms.
    pub fn ldar(&mut self, i: LoadStoreOrdered) -> Next {
        self.load_ordered(i)
    }
    /// LDLAR.
    pub fn ldlar(&mut self, i: LoadStoreOrdered) -> Next {
        self.load_ordered(i)
    }
    /// LDAPR.
    pub fn ldapr(&mut self, i: LoadStoreOrdered) -> Next {
        self.load_ordered(i)
    }

    /// CAS and its narrow and ordered forms.
    pub fn cas(&mut self, i: CompareSwap) -> Next {
        let ty = sized(i.size);
        let address = self.x_or_sp(i.rn, Ty::I64);
        let (expected, new) = (self.x(i.rs, ty), self.x(i.rt, ty));
        let old = self.ir.cmpxchg(ty, address, expected, new, self.mem_aligned(ty.bytes(), Order::AcqRel));
        self.set_x(i.rs, old);
        Next::Continue
    }

    /// CASP and its ordered forms.
    pub fn casp(&mut self, i: CompareSwapPair) -> Next {
        let half = Self::ty(i.sz);
        let (ty, bytes) = if i.sz { (Ty::V128, 16) } else { (Ty::I64, 8) };
        let address = self.x_or_sp(i.rn, Ty::I64);
        let (a, b) = (self.x(i.rs, half), self.x(i.rs + 1, half));
        let expected = self.pair(half, a, b);
        let (a, b) = (self.x(i.rt, half), self.x(i.rt + 1, half));
        let new = self.pair(half, a, b);
        let old = self.ir.cmpxchg(ty, address, expected, new, self.mem_aligned(bytes, Order::AcqRel));
        let (first, second) = self.unpair(half, old);
        self.set_x(i.rs, first);
        self.set_x(i.rs + 1, second);
        Next::Continue
    }

    fn atomic(&mut self, op: AtomicOp, i: AtomicMemory) -> Next {
        let ty = sized(i.size);
        let address = self.x_or_sp(i.rn, Ty::I64);
        let value = self.x(i.rs, ty);
        let old = self.ir.atomic(op, ty, address, value, self.mem_aligned(ty.bytes(), Order::AcqRel));
        self.set_x(i.rt, old);
        Next::Continue
    }

    /// LDADD; STADD.
    pub fn ldadd(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::Add, i)
    }
    /// LDCLR; STCLR.
    pub fn ldclr(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::AndNot, i)
    }
    /// LDEOR; STEOR.
    pub fn ldeor(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::Xor, i)
    }
    /// LDSET; STSET.
    pub fn ldset(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::Or, i)
    }
    /// LDSMAX; STSMAX.
    pub fn ldsmax(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::MaxS, i)
    }
    /// LDSMIN; STSMIN.
    pub fn ldsmin(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::MinS, i)
    }
    /// LDUMAX; STUMAX.
    pub fn ldumax(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::MaxU, i)
    }
    /// LDUMIN; STUMIN.
    pub fn ldumin(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::MinU, i)
    }
    /// SWP.
    pub fn swp(&mut self, i: AtomicMemory) -> Next {
        self.atomic(AtomicOp::Swap, i)
    }
}
