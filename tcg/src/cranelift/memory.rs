//! Guest memory: the look into the TLB, and the way out when it does not settle the access.

use super::lower::{Lower, int};
use super::slow;
use crate::env::Env;
use crate::frontend::Frontend;
use crate::ir::{Binary, Mem, Op, Ty, Val};
use crate::softmmu::{ENTRIES, Entry, Tlb};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Type, Value};
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

impl<F: Frontend> Lower<'_, '_, F> {
    /// Looks `bytes` bytes from an address on up in the TLB; gives the distance to the host address and the block, not
    /// entered yet, for a miss. The tag at `tag` within the entry decides. The current block afterwards is the one for a hit.
    pub(super) fn look_up(&mut self, va: Value, bytes: u64, mem: Mem, tag: usize) -> (Value, Block) {
        let table =
            offset_of!(Env<F>, tlb) + offset_of!(Tlb, entries) + usize::from(mem.mmu) * size_of::<[Entry; ENTRIES]>();
        let entry_log2 = size_of::<Entry>().trailing_zeros() as i64;
        let index = self.b.ins().ushr_imm_u(va, 12 - entry_log2);
        let index = self.b.ins().band_imm_s(index, ((ENTRIES as i64) - 1) << entry_log2);
        let entry = self.b.ins().iadd(self.env, index);
        let found = self.b.ins().load(I64, self.own, entry, (table + tag) as i32);
        let distance = self.b.ins().bxor(va, found);
        let limit = (PAGE_SIZE - bytes) as i64;
        let mut miss = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, distance, limit);
        if mem.align_log2 != 0 {
            let low = self.b.ins().band_imm_s(va, (1 << mem.align_log2) - 1);
            let misaligned = self.b.ins().icmp_imm_s(IntCC::NotEqual, low, 0);
            miss = self.b.ins().bor(miss, misaligned);
        }
        let (slow, hit) = (self.cold_block(), self.b.create_block());
        self.keep_cold(hit);
        self.b.ins().brif(miss, slow, &[], hit, &[]);
        self.enter(hit);
        (self.b.ins().load(I64, self.own, entry, (table + offset_of!(Entry, addend)) as i32), slow)
    }

    /// A load by the slow path; the current block goes on if it succeeded.
    fn load_slow(&mut self, at: usize, ty: Ty, as_type: Type, va: Value, mem: Mem) -> Value {
        let access = self.imm(slow::pack(ty.bytes(), mem));
        self.call_slow(slow::load::<F> as *const () as usize, &[va, access]);
        self.check_raised();
        self.forget_pages(at);
        self.b.ins().load(as_type, self.own, self.env, Self::vector_field(0))
    }

    /// The same for a store.
    fn store_slow(&mut self, at: usize, ty: Ty, va: Value, value: Value, mem: Mem) {
        let access = self.imm(slow::pack(ty.bytes(), mem));
        if ty == Ty::V128 {
            self.set_vector(0, value);
            self.call_slow(slow::store_vector::<F> as *const () as usize, &[va, access]);
        } else {
            let wide = self.widen(value, ty);
            self.call_slow(slow::store::<F> as *const () as usize, &[va, access, wide]);
        }
        self.check_raised();
        self.forget_pages(at);
    }

    /// The access right after the one at `at` that goes on where it ends: only what touches neither memory nor registers
    /// is between them.
    pub(super) fn partner(&self, at: usize) -> Option<usize> {
        let (Op::Load(ty, va, mem) | Op::Store(ty, va, _, mem)) = self.ops[at] else { return None };
        if mem.align_log2 != 0 || mem.swap {
            return None;
        }
        let goes_on = |v: Val| match self.ops[v.0 as usize] {
            Op::Bin(Binary::Add, Ty::I64, a, b) => {
                a == va && self.ops[b.0 as usize] == Op::Const(Ty::I64, ty.bytes().into())
            }
            _ => false,
        };
        let is_load = matches!(self.ops[at], Op::Load(..));
        let next = (at + 1..self.ops.len()).find(|next| !self.ops[*next].is_pure())?;
        let fits = match self.ops[next] {
            Op::Load(t, v, m) => is_load && (t, m) == (ty, mem) && goes_on(v),
            Op::Store(t, v, _, m) => !is_load && (t, m) == (ty, mem) && goes_on(v),
            _ => false,
        };
        fits.then_some(next)
    }

    /// Operation `at` loads a value of type `ty`, as a floating-point number of type `number` if there is one.
    pub(super) fn load(&mut self, at: usize, ty: Ty, number: Option<Type>, va: Value, mem: Mem) -> Value {
        let [value] = self.load_all(at, ty, number, va, mem);
        value
    }

    /// Two loads, one behind the other, of which operation `at` is the first.
    pub(super) fn load_pair(&mut self, at: usize, ty: Ty, number: Option<Type>, va: Value, mem: Mem) -> [Value; 2] {
        self.load_all(at, ty, number, va, mem)
    }

    /// Loads one behind the other that share the look into the TLB.
    fn load_all<const N: usize>(&mut self, at: usize, ty: Ty, number: Option<Type>, va: Value, mem: Mem) -> [Value; N] {
        let access = number.unwrap_or(int(ty));
        if ty == Ty::V128 && mem.swap {
            return std::array::from_fn(|n| self.load_slow_at(n, at, ty, access, va, mem));
        }
        let done = self.b.create_block();
        self.keep_cold(done);
        let result = number.map_or(access, |number| number.by(16 / number.bytes()).unwrap_or(number));
        let results = [(); N].map(|()| self.b.append_block_param(done, result));
        let direct = |l: &mut Self, host: Value, from: i32| {
            let values: [BlockArg; N] = std::array::from_fn(|n| {
                let value = l.b.ins().load(access, l.guest, host, from + n as i32 * i32::from(ty.bytes()));
                BlockArg::Value(match number {
                    Some(_) => l.loaded_vector(value),
                    None if mem.swap && ty != Ty::I8 => l.b.ins().bswap(value),
                    None => value,
                })
            });
            l.b.ins().jump(done, &values);
        };
        if let Some((host, from, alone)) = self.shared_page(at, va, mem) {
            direct(self, host, from);
            self.enter(alone);
        }
        let tag = if mem.modify { offset_of!(Entry, write) } else { offset_of!(Entry, read) };
        let (distance, miss) = self.look_up(va, N as u64 * u64::from(ty.bytes()), mem, tag);
        let host = self.b.ins().iadd(va, distance);
        direct(self, host, 0);
        self.enter(miss);
        let values: [BlockArg; N] = std::array::from_fn(|n| {
            let value = self.load_slow_at(n, at, ty, access, va, mem);
            BlockArg::Value(if number.is_some() { self.loaded_vector(value) } else { value })
        });
        self.b.ins().jump(done, &values);
        self.enter(done);
        if number.is_some() { results.map(|result| self.loaded_bits(result)) } else { results }
    }

    /// Load number `n` of several.
    fn load_slow_at(&mut self, n: usize, at: usize, ty: Ty, as_type: Type, va: Value, mem: Mem) -> Value {
        let va = self.behind(n, ty, va);
        self.load_slow(at, ty, as_type, va, mem)
    }

    fn behind(&mut self, n: usize, ty: Ty, va: Value) -> Value {
        if n == 0 { va } else { self.b.ins().iadd_imm_s(va, n as i64 * i64::from(ty.bytes())) }
    }

    /// Operation `at` stores.
    pub(super) fn store(&mut self, at: usize, ty: Ty, va: Value, value: Value, mem: Mem) {
        self.store_all(at, ty, va, [value], mem);
    }

    /// Two stores, one behind the other, of which operation `at` is the first.
    pub(super) fn store_pair(&mut self, at: usize, ty: Ty, va: Value, values: [Value; 2], mem: Mem) {
        self.store_all(at, ty, va, values, mem);
    }

    fn store_all<const N: usize>(&mut self, at: usize, ty: Ty, va: Value, values: [Value; N], mem: Mem) {
        if ty == Ty::V128 && mem.swap {
            return self.store_all_slow(at, ty, va, values, mem);
        }
        for value in values {
            self.compute_number(value);
        }
        let done = self.b.create_block();
        self.keep_cold(done);
        let direct = |l: &mut Self, host: Value, from: i32| {
            for (n, value) in values.into_iter().enumerate() {
                let stored = match l.stored_number(value) {
                    _ if mem.swap && ty != Ty::I8 => l.b.ins().bswap(value),
                    Some(number) => number,
                    None => value,
                };
                l.b.ins().store(l.guest, stored, host, from + n as i32 * i32::from(ty.bytes()));
            }
            l.b.ins().jump(done, &[]);
        };
        if let Some((host, from, alone)) = self.shared_page(at, va, mem) {
            direct(self, host, from);
            self.enter(alone);
        }
        let (distance, miss) = self.look_up(va, N as u64 * u64::from(ty.bytes()), mem, offset_of!(Entry, write));
        let host = self.b.ins().iadd(va, distance);
        direct(self, host, 0);
        self.enter(miss);
        self.store_all_slow(at, ty, va, values, mem);
        self.b.ins().jump(done, &[]);
        self.enter(done);
    }

    fn store_all_slow<const N: usize>(&mut self, at: usize, ty: Ty, va: Value, values: [Value; N], mem: Mem) {
        for (n, value) in values.into_iter().enumerate() {
            let va = self.behind(n, ty, va);
            self.store_slow(at, ty, va, value, mem);
        }
    }
}
