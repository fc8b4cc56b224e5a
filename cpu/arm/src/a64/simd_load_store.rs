//! Loads and stores of SIMD&FP registers: one, a pair, structures (Arm ARM DDI 0487, C4.1.96 "Loads and Stores", the
//! rows for SIMD&FP registers).
//!
//! The base register is written back, and loaded registers are set, only after the last memory access of an instruction:
//! an access that faults leaves all registers as they were.

use super::*;
use crate::a64::translator::signed;
use tcg::Lane;
use tcg::ir::{Binary, Mem, Order, Ty, VBinary, VUnary, Val};

/// How an address is made from a base register.
#[derive(Clone, Copy)]
enum Index {
    /// The base plus a displacement.
    Offset(i64),
    /// The same, and it becomes the base.
    Pre(i64),
    /// The base, to which the displacement is added afterwards.
    Post(i64),
}

impl Index {
    /// Displacement of the access and of the base afterwards.
    fn displacements(self) -> (i64, Option<i64>) {
        match self {
            Index::Offset(by) => (by, None),
            Index::Pre(by) => (by, Some(by)),
            Index::Post(by) => (0, Some(by)),
        }
    }
}

/// log2 of the bytes of a load or store of one register.
fn access_log2(size: u8, opc: u8) -> u8 {
    if opc & 2 != 0 { 4 } else { size }
}

/// A structure access: `registers` registers from `rt` on, of which each structure takes `elements` at a time.
#[derive(Clone, Copy)]
struct Structures {
    q: bool,
    log2: u8,
    rt: u8,
    registers: u8,
    elements: u8,
}

/// Operands of the accesses to single structures.
struct Single {
    rt: u8,
    lane: Lane,
    index: u8,
    elements: u8,
}

impl Translator<'_> {
    fn address(&mut self, base: Val, by: i64) -> Val {
        self.ir.add_imm(Ty::I64, base, by as u64)
    }

    fn write_back(&mut self, rn: u8, base: Val, by: Option<i64>) {
        if let Some(by) = by {
            let to = self.address(base, by);
            self.set_x_or_sp(rn, to);
        }
    }

    /// Loads `1 << log2` bytes as a vector with zeros above.
    fn load_v(&mut self, va: Val, log2: u8) -> Val {
        let mem = self.mem(1 << log2);
        self.load_bytes(va, log2, mem)
    }

    fn load_bytes(&mut self, va: Val, log2: u8, mem: Mem) -> Val {
        if log2 == 4 {
            return self.ir.load(Ty::V128, va, mem);
        }
        let lane = Lane::of_log2(log2);
        let v = self.ir.load(lane.ty(), va, mem);
        let zero = self.ir.imm_v(0);
        self.ir.insert(lane, zero, 0, v)
    }

    /// Stores the low `1 << log2` bytes of a vector.
    fn store_v(&mut self, va: Val, log2: u8, v: Val) {
        let mem = self.mem(1 << log2);
        self.store_bytes(va, log2, v, mem);
    }

    fn store_bytes(&mut self, va: Val, log2: u8, v: Val, mem: Mem) {
        if log2 == 4 {
            return self.ir.store(Ty::V128, va, v, mem);
        }
        let lane = Lane::of_log2(log2);
        let low = self.ir.extract(lane, v, 0);
        self.ir.store(lane.ty(), va, low, mem);
    }

    fn load_one(&mut self, log2: u8, rn: u8, rt: u8, index: Index) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let base = self.x_or_sp(rn, Ty::I64);
        let (at, after) = index.displacements();
        let va = self.address(base, at);
        let v = self.load_v(va, log2);
        self.set_q(rt, v);
        self.write_back(rn, base, after);
        Next::Continue
    }

    fn store_one(&mut self, log2: u8, rn: u8, rt: u8, index: Index) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let base = self.x_or_sp(rn, Ty::I64);
        let (at, after) = index.displacements();
        let va = self.address(base, at);
        let v = self.q(rt);
        self.store_v(va, log2, v);
        self.write_back(rn, base, after);
        Next::Continue
    }

    fn load_pair(&mut self, i: LoadStorePair, index: fn(i64) -> Index) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let log2 = i.opc + 2;
        let base = self.x_or_sp(i.rn, Ty::I64);
        let (at, after) = index(signed(i.imm7.into(), 7) << log2).displacements();
        let first = self.address(base, at);
        let a = self.load_v(first, log2);
        let second = self.address(base, at + (1 << log2));
        let b = self.load_v(second, log2);
        self.set_q(i.rt, a);
        self.set_q(i.rt2, b);
        self.write_back(i.rn, base, after);
        Next::Continue
    }

    fn store_pair(&mut self, i: LoadStorePair, index: fn(i64) -> Index) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let log2 = i.opc + 2;
        let base = self.x_or_sp(i.rn, Ty::I64);
        let (at, after) = index(signed(i.imm7.into(), 7) << log2).displacements();
        for (n, rt) in [(0, i.rt), (1, i.rt2)] {
            let va = self.address(base, at + (n << log2));
            let v = self.q(rt);
            self.store_v(va, log2, v);
        }
        self.write_back(i.rn, base, after);
        Next::Continue
    }

    /// LDR (literal, SIMD&FP)
    pub fn ldr_literal_v(&mut self, i: LoadLiteral) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let va = self.address_of(signed(i.imm19.into(), 19) << 2);
        let v = self.load_v(va, i.opc + 2);
        self.set_q(i.rt, v);
        Next::Continue
    }

    /// LDR (immediate, SIMD&FP), unsigned offset
    pub fn ldr_imm_v(&mut self, i: LoadStoreImm) -> Next {
        let log2 = access_log2(i.size, i.opc);
        self.load_one(log2, i.rn, i.rt, Index::Offset(i64::from(i.imm12) << log2))
    }
    /// STR (immediate, SIMD&FP), unsigned offset
    pub fn str_imm_v(&mut self, i: LoadStoreImm) -> Next {
        let log2 = access_log2(i.size, i.opc);
        self.store_one(log2, i.rn, i.rt, Index::Offset(i64::from(i.imm12) << log2))
    }
    /// LDUR (SIMD&FP)
    pub fn ldur_v(&mut self, i: LoadStoreImm9) -> Next {
        self.load_one(access_log2(i.size, i.opc), i.rn, i.rt, Index::Offset(signed(i.imm9.into(), 9)))
    }
    /// STUR (SIMD&FP)
    pub fn stur_v(&mut self, i: LoadStoreImm9) -> Next {
        self.store_one(access_log2(i.size, i.opc), i.rn, i.rt, Index::Offset(signed(i.imm9.into(), 9)))
    }
    /// LDR (immediate, SIMD&FP), pre-index
    pub fn ldr_pre_v(&mut self, i: LoadStoreImm9) -> Next {
        self.load_one(access_log2(i.size, i.opc), i.rn, i.rt, Index::Pre(signed(i.imm9.into(), 9)))
    }
    /// STR (immediate, SIMD&FP), pre-index
    pub fn str_pre_v(&mut self, i: LoadStoreImm9) -> Next {
        self.store_one(access_log2(i.size, i.opc), i.rn, i.rt, Index::Pre(signed(i.imm9.into(), 9)))
    }
    /// LDR (immediate, SIMD&FP), post-index
    pub fn ldr_post_v(&mut self, i: LoadStoreImm9) -> Next {
        self.load_one(access_log2(i.size, i.opc), i.rn, i.rt, Index::Post(signed(i.imm9.into(), 9)))
    }
    /// STR (immediate, SIMD&FP), post-index
    pub fn str_post_v(&mut self, i: LoadStoreImm9) -> Next {
        self.store_one(access_log2(i.size, i.opc), i.rn, i.rt, Index::Post(signed(i.imm9.into(), 9)))
    }

    /// Base plus extended and shifted register: UXTW (2), LSL (3), SXTW (6), SXTX (7).
    fn register_offset_v(&mut self, i: LoadStoreReg) -> Val {
        let base = self.x_or_sp(i.rn, Ty::I64);
        let offset = match i.option {
            2 | 6 => {
                let w = self.x(i.rm, Ty::I32);
                if i.option == 2 { self.ir.zext(Ty::I64, w) } else { self.ir.sext(Ty::I64, w) }
            }
            _ => self.x(i.rm, Ty::I64),
        };
        let shift = if i.s { access_log2(i.size, i.opc) } else { 0 };
        let offset = self.ir.shift_imm(Binary::Shl, Ty::I64, offset, shift.into());
        self.ir.add(Ty::I64, base, offset)
    }
    /// LDR (register, SIMD&FP)
    pub fn ldr_reg_v(&mut self, i: LoadStoreReg) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let va = self.register_offset_v(i);
        let v = self.load_v(va, access_log2(i.size, i.opc));
        self.set_q(i.rt, v);
        Next::Continue
    }
    /// STR (register, SIMD&FP)
    pub fn str_reg_v(&mut self, i: LoadStoreReg) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let va = self.register_offset_v(i);
        let v = self.q(i.rt);
        self.store_v(va, access_log2(i.size, i.opc), v);
        Next::Continue
    }

    /// LDP (SIMD&FP), signed offset
    pub fn ldp_v(&mut self, i: LoadStorePair) -> Next {
        self.load_pair(i, Index::Offset)
    }
    /// STP (SIMD&FP), signed offset
    pub fn stp_v(&mut self, i: LoadStorePair) -> Next {
        self.store_pair(i, Index::Offset)
    }
    /// LDNP (SIMD&FP)
    pub fn ldnp_v(&mut self, i: LoadStorePair) -> Next {
        self.load_pair(i, Index::Offset)
    }
    /// STNP (SIMD&FP)
    pub fn stnp_v(&mut self, i: LoadStorePair) -> Next {
        self.store_pair(i, Index::Offset)
    }
    /// LDP (SIMD&FP), pre-index
    pub fn ldp_pre_v(&mut self, i: LoadStorePair) -> Next {
        self.load_pair(i, Index::Pre)
    }
    /// STP (SIMD&FP), pre-index
    pub fn stp_pre_v(&mut self, i: LoadStorePair) -> Next {
        self.store_pair(i, Index::Pre)
    }
    /// LDP (SIMD&FP), post-index
    pub fn ldp_post_v(&mut self, i: LoadStorePair) -> Next {
        self.load_pair(i, Index::Post)
    }
    /// STP (SIMD&FP), post-index
    pub fn stp_post_v(&mut self, i: LoadStorePair) -> Next {
        self.store_pair(i, Index::Post)
    }

    /// Registers and elements per structure by opcode.
    fn structures(q: bool, opcode: u8, size: u8, rt: u8) -> Structures {
        let (registers, elements) = match opcode {
            0 => (4, 4),
            2 => (4, 1),
            4 => (3, 3),
            6 => (3, 1),
            7 => (1, 1),
            8 => (2, 2),
            _ => (2, 1),
        };
        Structures { q, log2: size, rt, registers, elements }
    }

    /// Memory is accessed by whole registers' worth of bytes, aligned as the elements must be; bytes are put into order
    /// here.
    fn structure_mem(&self, log2: u8) -> Mem {
        let align_log2 = if self.mode.align() != 0 { log2 } else { 0 };
        Mem { align_log2, swap: false, order: Order::Relaxed, ..self.mem(1) }
    }

    /// The vector whose bytes come from where `from` says: number of the source and byte in it.
    fn gather(&mut self, sources: &[Val], bytes: u8, from: impl Fn(u8) -> (u8, u8)) -> Val {
        let identity = |n: u8| (0..bytes).all(|byte| from(byte) == (n, byte));
        if let Some(n) = (0..sources.len()).find(|n| identity(*n as u8)) {
            return sources[n];
        }
        let mut result = None;
        for (pair, two) in sources.chunks(2).enumerate() {
            let mut mask = [0xff; 16];
            for byte in 0..bytes {
                let (source, at) = from(byte);
                if usize::from(source) / 2 == pair {
                    mask[usize::from(byte)] = source % 2 * 16 + at;
                }
            }
            if mask == [0xff; 16] {
                continue;
            }
            let part = self.ir.shuffle(two[0], two[two.len() - 1], mask);
            result = Some(match result {
                None => part,
                Some(others) => self.ir.vbin(VBinary::Or, Lane::B, others, part),
            });
        }
        result.unwrap_or_else(|| self.ir.imm_v(0))
    }

    /// Byte of an element in memory for a byte of it in a register, or the reverse.
    fn byte_in_element(&self, byte: u8, log2: u8) -> u8 {
        if self.mode.big_endian() != 0 { byte ^ ((1 << log2) - 1) } else { byte }
    }

    fn load_structures(&mut self, s: Structures, rn: u8, after: Option<u8>) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let base = self.x_or_sp(rn, Ty::I64);
        let mem = self.structure_mem(s.log2);
        let (chunk_log2, chunk) = if s.q { (4, 16) } else { (3, 8) };
        let chunks: Vec<Val> = (0..s.registers)
            .map(|n| {
                let va = self.address(base, i64::from(n * chunk));
                self.load_bytes(va, chunk_log2, mem)
            })
            .collect();
        let order: Vec<u8> = (0..16).map(|byte| self.byte_in_element(byte, s.log2)).collect();
        let registers: Vec<Val> = (0..s.registers)
            .map(|r| {
                self.gather(&chunks, chunk, |byte| {
                    let byte = order[usize::from(byte)];
                    if s.elements == 1 {
                        return (r, byte);
                    }
                    let lane = byte >> s.log2;
                    let at = ((lane * s.elements + r) << s.log2) + (byte & ((1 << s.log2) - 1));
                    (at / chunk, at % chunk)
                })
            })
            .collect();
        for (r, v) in registers.into_iter().enumerate() {
            self.set_q((s.rt + r as u8) % 32, v);
        }
        self.structures_write_back(rn, base, after, s.registers * chunk);
        Next::Continue
    }

    fn store_structures(&mut self, s: Structures, rn: u8, after: Option<u8>) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let base = self.x_or_sp(rn, Ty::I64);
        let mem = self.structure_mem(s.log2);
        let (chunk_log2, chunk) = if s.q { (4, 16) } else { (3, 8) };
        let registers: Vec<Val> = (0..s.registers).map(|r| self.q((s.rt + r) % 32)).collect();
        let order: Vec<u8> = (0..16).map(|byte| self.byte_in_element(byte, s.log2)).collect();
        for n in 0..s.registers {
            let v = self.gather(&registers, chunk, |byte| {
                let byte = order[usize::from(byte)];
                if s.elements == 1 {
                    return (n, byte);
                }
                let at = n * chunk + byte;
                let element = at >> s.log2;
                (element % s.elements, ((element / s.elements) << s.log2) + (at & ((1 << s.log2) - 1)))
            });
            let va = self.address(base, i64::from(n * chunk));
            self.store_bytes(va, chunk_log2, v, mem);
        }
        self.structures_write_back(rn, base, after, s.registers * chunk);
        Next::Continue
    }

    /// Post-index by Xm, or by the size of the transfer for 31.
    fn structures_write_back(&mut self, rn: u8, base: Val, after: Option<u8>, bytes: u8) {
        let by = match after {
            None => return,
            Some(31) => self.ir.imm64(bytes.into()),
            Some(rm) => self.x(rm, Ty::I64),
        };
        let to = self.ir.add(Ty::I64, base, by);
        self.set_x_or_sp(rn, to);
    }

    /// LD1 to LD4 (multiple structures)
    pub fn ld_multiple(&mut self, i: SimdMultiple) -> Next {
        self.load_structures(Self::structures(i.q, i.opcode, i.size, i.rt), i.rn, None)
    }
    /// ST1 to ST4 (multiple structures)
    pub fn st_multiple(&mut self, i: SimdMultiple) -> Next {
        self.store_structures(Self::structures(i.q, i.opcode, i.size, i.rt), i.rn, None)
    }
    /// LD1 to LD4 (multiple structures), post-index
    pub fn ld_multiple_post(&mut self, i: SimdMultiplePost) -> Next {
        self.load_structures(Self::structures(i.q, i.opcode, i.size, i.rt), i.rn, Some(i.rm))
    }
    /// ST1 to ST4 (multiple structures), post-index
    pub fn st_multiple_post(&mut self, i: SimdMultiplePost) -> Next {
        self.store_structures(Self::structures(i.q, i.opcode, i.size, i.rt), i.rn, Some(i.rm))
    }

    fn single(i: SimdSingle) -> Single {
        let wide = i.opcode >> 1 == 2 && i.size & 1 != 0;
        let index = u8::from(i.q) << 3 | u8::from(i.s) << 2 | i.size;
        let log2 = if wide { 3 } else { i.opcode >> 1 };
        let elements = 1 + (i.opcode << 1 & 2 | u8::from(i.r));
        Single { rt: i.rt, lane: Lane::of_log2(log2), index: index >> log2, elements }
    }

    fn load_single(&mut self, i: SimdSingle, after: Option<u8>) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let s = Self::single(i);
        let bytes = s.lane.ty().bytes();
        let base = self.x_or_sp(i.rn, Ty::I64);
        let mem = self.mem(bytes);
        let loaded: Vec<Val> = (0..s.elements)
            .map(|n| {
                let va = self.address(base, i64::from(n * bytes));
                self.ir.load(s.lane.ty(), va, mem)
            })
            .collect();
        for (n, element) in loaded.into_iter().enumerate() {
            let register = (s.rt + n as u8) % 32;
            let old = self.q(register);
            let new = self.ir.insert(s.lane, old, s.index, element);
            self.set_q(register, new);
        }
        self.structures_write_back(i.rn, base, after, s.elements * bytes);
        Next::Continue
    }

    fn store_single(&mut self, i: SimdSingle, after: Option<u8>) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let s = Self::single(i);
        let bytes = s.lane.ty().bytes();
        let base = self.x_or_sp(i.rn, Ty::I64);
        let mem = self.mem(bytes);
        for n in 0..s.elements {
            let v = self.q((s.rt + n) % 32);
            let element = self.ir.extract(s.lane, v, s.index);
            let va = self.address(base, i64::from(n * bytes));
            self.ir.store(s.lane.ty(), va, element, mem);
        }
        self.structures_write_back(i.rn, base, after, s.elements * bytes);
        Next::Continue
    }

    /// LD1 to LD4 (single structure)
    pub fn ld_single(&mut self, i: SimdSingle) -> Next {
        self.load_single(i, None)
    }
    /// ST1 to ST4 (single structure)
    pub fn st_single(&mut self, i: SimdSingle) -> Next {
        self.store_single(i, None)
    }
    /// LD1 to LD4 (single structure), post-index
    pub fn ld_single_post(&mut self, i: SimdSinglePost) -> Next {
        let SimdSinglePost { q, r, rm, opcode, s, size, rn, rt } = i;
        self.load_single(SimdSingle { q, r, opcode, s, size, rn, rt }, Some(rm))
    }
    /// ST1 to ST4 (single structure), post-index
    pub fn st_single_post(&mut self, i: SimdSinglePost) -> Next {
        let SimdSinglePost { q, r, rm, opcode, s, size, rn, rt } = i;
        self.store_single(SimdSingle { q, r, opcode, s, size, rn, rt }, Some(rm))
    }

    fn load_replicate(&mut self, i: SimdReplicate, after: Option<u8>) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let lane = Lane::of_log2(i.size);
        let bytes = lane.ty().bytes();
        let elements = 1 + (u8::from(i.o) << 1 | u8::from(i.r));
        let base = self.x_or_sp(i.rn, Ty::I64);
        let mem = self.mem(bytes);
        let loaded: Vec<Val> = (0..elements)
            .map(|n| {
                let va = self.address(base, i64::from(n * bytes));
                self.ir.load(lane.ty(), va, mem)
            })
            .collect();
        for (n, element) in loaded.into_iter().enumerate() {
            let mut v = self.ir.splat(lane, element);
            if !i.q {
                v = self.ir.vun(VUnary::Low64, Lane::D, v);
            }
            self.set_q((i.rt + n as u8) % 32, v);
        }
        self.structures_write_back(i.rn, base, after, elements * bytes);
        Next::Continue
    }

    /// LD1R to LD4R
    pub fn ld_replicate(&mut self, i: SimdReplicate) -> Next {
        self.load_replicate(i, None)
    }
    /// LD1R to LD4R, post-index
    pub fn ld_replicate_post(&mut self, i: SimdReplicatePost) -> Next {
        let SimdReplicatePost { q, r, rm, o, size, rn, rt } = i;
        self.load_replicate(SimdReplicate { q, r, o, size, rn, rt }, Some(rm))
    }
}
