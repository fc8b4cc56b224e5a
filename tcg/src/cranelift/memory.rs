//! Guest memory: the look into the TLB, and the way out when it does not settle the access.

use super::lower::{Lower, int};
use super::slow;
use crate::env::Env;
use crate::frontend::Frontend;
use crate::interp::pack_mem;
use crate::ir::{Mem, Ty};
use crate::softmmu::{ENTRIES, Entry, Tlb};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Type, Value};
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

impl<F: Frontend> Lower<'_, '_, F> {
    /// Looks an address up in the TLB; gives the host address and, in a block that is entered on a miss, control. The
    /// tag at `tag` within the entry decides. The current block afterwards is the one for a hit.
    pub(super) fn translate(&mut self, va: Value, bytes: u8, mem: Mem, tag: usize) -> (Value, Block) {
        let table =
            offset_of!(Env<F>, tlb) + offset_of!(Tlb, entries) + usize::from(mem.mmu) * size_of::<[Entry; ENTRIES]>();
        let entry_log2 = size_of::<Entry>().trailing_zeros() as i64;
        let index = self.b.ins().ushr_imm_u(va, 12 - entry_log2);
        let index = self.b.ins().band_imm_s(index, ((ENTRIES as i64) - 1) << entry_log2);
        let entry = self.b.ins().iadd(self.env, index);
        let found = self.b.ins().load(I64, self.own, entry, (table + tag) as i32);
        let distance = self.b.ins().bxor(va, found);
        let limit = (PAGE_SIZE - u64::from(bytes)) as i64;
        let mut miss = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, distance, limit);
        if mem.align_log2 != 0 {
            let low = self.b.ins().band_imm_s(va, (1 << mem.align_log2) - 1);
            let misaligned = self.b.ins().icmp_imm_s(IntCC::NotEqual, low, 0);
            miss = self.b.ins().bor(miss, misaligned);
        }
        let (slow, hit) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(miss, slow, &[], hit, &[]);
        self.enter(hit);
        let addend = self.b.ins().load(I64, self.own, entry, (table + offset_of!(Entry, addend)) as i32);
        (self.b.ins().iadd(va, addend), slow)
    }

    /// Loads a value of type `ty`, as a floating-point number of type `number` if there is one.
    pub(super) fn load(&mut self, ty: Ty, number: Option<Type>, va: Value, mem: Mem) -> Value {
        let packed = self.imm(pack_mem(0, mem));
        if ty == Ty::V128 && mem.swap {
            self.cold_call(slow::load_vector::<F> as *const () as usize, &[va, packed]);
            self.check_raised();
            return self.vector_result();
        }
        let (host, miss) = self.translate(va, ty.bytes(), mem, offset_of!(Entry, read));
        let done = self.b.create_block();
        let access = number.unwrap_or(int(ty));
        let result = self.b.append_block_param(done, access);
        let mut value = self.b.ins().load(access, self.guest, host, 0);
        if mem.swap && ty != Ty::I8 {
            value = self.b.ins().bswap(value);
        }
        self.b.ins().jump(done, &[BlockArg::Value(value)]);
        self.enter(miss);
        let value = if ty == Ty::V128 {
            self.cold_call(slow::load_vector::<F> as *const () as usize, &[va, packed]);
            self.check_raised();
            self.vector_result()
        } else {
            let bytes = self.imm(ty.bytes().into());
            self.cold_call(slow::load::<F> as *const () as usize, &[va, bytes, packed]);
            self.check_raised();
            self.result_as(access)
        };
        self.b.ins().jump(done, &[BlockArg::Value(value)]);
        self.enter(done);
        if number.is_some() { self.loaded_bits(result) } else { result }
    }

    pub(super) fn store(&mut self, ty: Ty, va: Value, value: Value, mem: Mem) {
        let packed = self.imm(pack_mem(0, mem));
        if ty == Ty::V128 && mem.swap {
            self.set_vector(0, value);
            self.cold_call(slow::store_vector::<F> as *const () as usize, &[va, packed]);
            self.check_raised();
            return;
        }
        let (host, miss) = self.translate(va, ty.bytes(), mem, offset_of!(Entry, write));
        let done = self.b.create_block();
        let stored = match self.stored_number(value) {
            _ if mem.swap && ty != Ty::I8 => self.b.ins().bswap(value),
            Some(number) => number,
            None => value,
        };
        self.b.ins().store(self.guest, stored, host, 0);
        self.b.ins().jump(done, &[]);
        self.enter(miss);
        if ty == Ty::V128 {
            self.set_vector(0, value);
            self.cold_call(slow::store_vector::<F> as *const () as usize, &[va, packed]);
        } else {
            let wide = self.widen(value, ty);
            let bytes = self.imm(ty.bytes().into());
            self.cold_call(slow::store::<F> as *const () as usize, &[va, wide, bytes, packed]);
        }
        self.check_raised();
        self.b.ins().jump(done, &[]);
        self.enter(done);
    }
}
