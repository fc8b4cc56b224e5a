//! Guest memory: the look into the TLB inline, the rest out of the way.

use super::asm::{Alu, Cc, Gpr, Holes, Mem as Operand, RAX, RBP, RCX, Shift};
use super::emit::{ColdPath, Data, Emit};
use super::registers::{Loc, TooComplex};
use super::slow;
use crate::env::Env;
use crate::frontend::Frontend;
use crate::interp::pack_mem;
use crate::ir::{Mem, Op, Ty, Val};
use crate::softmmu::{ENTRIES, Entry, Tlb};
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

impl<F: Frontend> Emit<'_, F> {
    /// Looks an address up: on a hit rcx is what turns it into a host address. `tag` is the field of the entry that
    /// decides. Gives the jumps to the slow path.
    fn look_up(&mut self, va: Gpr, bytes: u8, mem: Mem, tag: usize) -> Holes {
        let table =
            offset_of!(Env<F>, tlb) + offset_of!(Tlb, entries) + usize::from(mem.mmu) * size_of::<[Entry; ENTRIES]>();
        let entry_log2 = size_of::<Entry>().trailing_zeros() as u8;
        let field = |field: usize| Operand::indexed(RBP, RAX, (table + field) as i32);
        let mut misses = Holes::default();
        if mem.align_log2 != 0 {
            self.asm.test_imm(false, va, (1 << mem.align_log2) - 1);
            misses.push(self.asm.jcc(Cc::Ne));
        }
        self.asm.mov(true, RAX, va);
        self.asm.shift_imm(Shift::Shr, true, RAX, 12 - entry_log2);
        self.asm.alu_imm(Alu::And, false, RAX, ((ENTRIES - 1) << entry_log2) as i32);
        self.asm.load(8, RCX, field(tag));
        self.asm.alu(Alu::Xor, true, RCX, va);
        self.asm.alu_imm(Alu::Cmp, true, RCX, (PAGE_SIZE - u64::from(bytes)) as i32);
        misses.push(self.asm.jcc(Cc::A));
        self.asm.load(8, RCX, field(offset_of!(Entry, addend)));
        misses
    }

    /// The vector registers in use, with what they are copies of.
    pub fn xmms_in_use(&self) -> Vec<(u8, Option<u16>)> {
        let held = |x: u8| self.xmms.held[usize::from(x)];
        (0..16).filter(|x| held(*x).users != 0 || held(*x).slot.is_some()).map(|x| (x, held(x).slot)).collect()
    }

    fn access(&mut self, from: Holes, va: Gpr, bytes: u8, mem: Mem, data: Data) {
        let back = self.asm.code.len();
        let xmms = self.xmms_in_use();
        let info = slow::pack(bytes, mem, self.pc);
        self.put_aside(from, back, ColdPath::Access { va, info, data, xmms });
    }

    pub fn guest_load(&mut self, ty: Ty, va: Val, mem: Mem) -> Result<(), TooComplex> {
        if ty == Ty::V128 && mem.swap {
            self.call(slow::load_swapped::<F> as *const () as u64, &[va], &[(1, pack_mem(0, mem))], true)?;
            self.check_raised();
            return self.result_vector();
        }
        let v = self.gpr(va)?;
        self.keep_flags()?;
        if ty == Ty::V128 {
            let d = self.new_xmm()?;
            let misses = self.look_up(v, 16, mem, offset_of!(Entry, read));
            self.asm.load_xmm(d, Operand::indexed(RCX, v, 0));
            self.access(misses, v, 16, mem, Data::LoadVector(d));
            self.result(Loc::Xmm(d));
            return Ok(());
        }
        let d = self.new_gpr()?;
        if let Some((second, distance)) = self.pair(self.at) {
            let e = self.new_gpr()?;
            let span = ty.bytes() + distance as u8;
            let misses = self.look_up(v, span, mem, offset_of!(Entry, read));
            self.asm.load(ty.bytes(), d, Operand::indexed(RCX, v, 0));
            self.asm.load(ty.bytes(), e, Operand::indexed(RCX, v, distance));
            self.access(misses, v, ty.bytes(), mem, Data::LoadPair(d, e, distance));
            self.result(Loc::Gpr(d));
            self.result_of(second, Loc::Gpr(e));
            return Ok(());
        }
        let misses = self.look_up(v, ty.bytes(), mem, offset_of!(Entry, read));
        self.asm.load(ty.bytes(), d, Operand::indexed(RCX, v, 0));
        if mem.swap {
            self.byte_reverse(ty, d);
        }
        self.access(misses, v, ty.bytes(), mem, Data::Load(d));
        self.result(Loc::Gpr(d));
        Ok(())
    }

    pub fn guest_store(&mut self, ty: Ty, va: Val, value: Val, mem: Mem) -> Result<(), TooComplex> {
        if ty == Ty::V128 && mem.swap {
            self.pass_vector(0, value, ty)?;
            self.call(slow::store_swapped::<F> as *const () as u64, &[va], &[(1, pack_mem(0, mem))], true)?;
            self.check_raised();
            return Ok(());
        }
        let v = self.gpr(va)?;
        if ty == Ty::V128 {
            let s = self.xmm(value)?;
            self.keep_flags()?;
            let misses = self.look_up(v, 16, mem, offset_of!(Entry, write));
            self.asm.store_xmm(Operand::indexed(RCX, v, 0), s);
            self.access(misses, v, 16, mem, Data::StoreVector(s));
            return Ok(());
        }
        let s = self.gpr(value)?;
        if let Some((second, distance)) = self.pair(self.at)
            && let Op::Store(_, _, other, _) = self.ir.ops[second]
        {
            let t = self.gpr(other)?;
            self.keep_flags()?;
            let misses = self.look_up(v, ty.bytes() + distance as u8, mem, offset_of!(Entry, write));
            self.asm.store(ty.bytes(), Operand::indexed(RCX, v, 0), s);
            self.asm.store(ty.bytes(), Operand::indexed(RCX, v, distance), t);
            self.access(misses, v, ty.bytes(), mem, Data::StorePair(s, t, distance));
            return Ok(());
        }
        self.keep_flags()?;
        let misses = self.look_up(v, ty.bytes(), mem, offset_of!(Entry, write));
        if mem.swap && ty != Ty::I8 {
            self.asm.mov(true, RAX, s);
            self.byte_reverse(ty, RAX);
            self.asm.store(ty.bytes(), Operand::indexed(RCX, v, 0), RAX);
        } else {
            self.asm.store(ty.bytes(), Operand::indexed(RCX, v, 0), s);
        }
        self.access(misses, v, ty.bytes(), mem, Data::Store(s));
        Ok(())
    }

    /// Reverses the bytes of a value in place.
    fn byte_reverse(&mut self, ty: Ty, r: Gpr) {
        match ty {
            Ty::I64 => self.asm.bswap(true, r),
            Ty::I32 => self.asm.bswap(false, r),
            Ty::I16 => {
                self.asm.bswap(false, r);
                self.asm.shift_imm(Shift::Shr, false, r, 16);
            }
            Ty::I8 | Ty::V128 => {}
        }
    }
}
