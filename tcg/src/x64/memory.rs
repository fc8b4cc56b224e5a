//! Guest memory: the look into the TLB inline, the rest out of the way.

use super::asm::{Alu, Cc, Gpr, Hole, Holes, Mem as Operand, RAX, RCX, Shift};
use super::emit::{Alone, ColdPath, Data, Emit};
use super::looks;
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
        let mut misses = Holes::default();
        if mem.align_log2 != 0 {
            self.asm.test_imm(false, va, (1 << mem.align_log2) - 1);
            misses.push(self.asm.jcc(Cc::Ne));
        }
        self.asm.mov(true, RCX, va);
        let (miss, addend) = self.look_for_rcx(bytes.into(), mem, tag);
        misses.push(miss);
        self.asm.load(8, RCX, addend);
        misses
    }

    /// Looks up the address in rcx for so many bytes. Gives the jump for a miss and where the distance is on a hit. Changes
    /// rax and rcx.
    fn look_for_rcx(&mut self, bytes: i32, mem: Mem, tag: usize) -> (Hole, Operand) {
        let table =
            offset_of!(Env<F>, tlb) + offset_of!(Tlb, entries) + usize::from(mem.mmu) * size_of::<[Entry; ENTRIES]>();
        let entry_log2 = size_of::<Entry>().trailing_zeros() as u8;
        let field = |field: usize| Operand::env_indexed(RAX, (table + field) as i32);
        // The index is in the lower half.
        self.asm.mov(false, RAX, RCX);
        self.asm.shift_imm(Shift::Shr, false, RAX, 12 - entry_log2);
        self.asm.alu_imm(Alu::And, false, RAX, ((ENTRIES - 1) << entry_log2) as i32);
        self.asm.alu_load(Alu::Xor, true, RCX, field(tag));
        self.asm.alu_imm(Alu::Cmp, true, RCX, PAGE_SIZE as i32 - bytes);
        (self.asm.jcc(Cc::A), field(offset_of!(Entry, addend)))
    }

    /// The vector registers in use, with what they are copies of.
    pub fn xmms_in_use(&self) -> Vec<(u8, Option<u16>)> {
        self.xmms.in_use().map(|x| (x, self.xmms.slot(x))).collect()
    }

    /// Makes an access in the guest's byte order.
    fn access(&mut self, va: Gpr, bytes: u8, mem: Mem, data: Data) {
        if !self.access_together(va, bytes, mem, data) {
            let misses = self.look_alone(va, bytes, mem, data);
            self.direct(RCX, va, bytes, data);
            self.access_slowly(misses, va, bytes, mem, data);
        }
    }

    /// Puts the slow path of an access aside.
    fn access_slowly(&mut self, from: Holes, va: Gpr, bytes: u8, mem: Mem, data: Data) {
        let back = self.asm.code.len();
        let xmms = self.xmms_in_use();
        let info = slow::pack(bytes, mem, self.pc);
        let looks = looks::in_use(&self.gprs);
        self.put_aside(from, back, ColdPath::Access { va, info, data, xmms, looks, alone: None });
    }

    /// Makes an access whose host address is that of the guest and the distance in `base`.
    pub fn direct(&mut self, base: Gpr, va: Gpr, bytes: u8, data: Data) {
        let at = |distance: i32| Operand::indexed(base, va, distance);
        match data {
            Data::Load(d) => self.asm.load(bytes, d, at(0)),
            Data::Store(s) => self.asm.store(bytes, at(0), s),
            Data::LoadVector(d) => self.asm.load_xmm(d, at(0)),
            Data::StoreVector(s) => self.asm.store_xmm(at(0), s),
            Data::LoadPair(d, e, distance) => {
                self.asm.load(bytes, d, at(0));
                self.asm.load(bytes, e, at(distance));
            }
            Data::StorePair(s, t, distance) => {
                self.asm.store(bytes, at(0), s);
                self.asm.store(bytes, at(distance), t);
            }
        }
    }

    /// The look that an access has to make for itself, see [`look_up`](Self::look_up).
    pub fn look_alone(&mut self, va: Gpr, bytes: u8, mem: Mem, data: Data) -> Holes {
        let load = Self::load_tag(mem);
        let (more, tag) = match data {
            Data::Load(_) | Data::LoadVector(_) => (0, load),
            Data::LoadPair(_, _, distance) => (distance as u8, load),
            Data::Store(_) | Data::StoreVector(_) => (0, offset_of!(Entry, write)),
            Data::StorePair(_, _, distance) => (distance as u8, offset_of!(Entry, write)),
        };
        self.look_up(va, bytes + more, mem, tag)
    }

    /// The field of an entry that decides about a load.
    fn load_tag(mem: Mem) -> usize {
        if mem.modify { offset_of!(Entry, write) } else { offset_of!(Entry, read) }
    }

    /// Makes the access by a look into the TLB that it shares with others, if it does.
    fn access_together(&mut self, va: Gpr, bytes: u8, mem: Mem, data: Data) -> bool {
        let Some((number, offset)) = self.looks.of(self.part, self.at) else { return false };
        let (group, name) = (self.looks.groups[number], looks::name(number));
        let (misses, distance, forget) = match self.gprs.of_slot(name) {
            Some(known) => {
                self.gprs.touch(known);
                self.asm.test(true, known, known);
                (self.asm.jcc(Cc::E).into(), known, None)
            }
            None => {
                if group.last <= (self.part, self.at) {
                    return false;
                }
                let Some(fresh) = self.spare_gpr() else { return false };
                let tag = if group.writes { offset_of!(Entry, write) } else { offset_of!(Entry, read) };
                let first = i32::try_from(group.low.wrapping_sub(offset)).unwrap_or(0);
                self.asm.lea(true, RCX, Operand::at(va, first));
                let (miss, addend) = self.look_for_rcx((group.high - group.low) as i32, mem, tag);
                self.asm.load(8, fresh, addend);
                self.gprs.name(fresh, name);
                (miss.into(), fresh, Some(fresh))
            }
        };
        self.direct(distance, va, bytes, data);
        let back = self.asm.code.len();
        let xmms = self.xmms_in_use();
        let looks = looks::in_use(&self.gprs);
        let info = slow::pack(bytes, mem, self.pc);
        let alone = Some(Alone { bytes, mem, forget });
        self.put_aside(misses, back, ColdPath::Access { va, info, data, xmms, looks, alone });
        true
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
            self.access(v, 16, mem, Data::LoadVector(d));
            self.result(Loc::Xmm(d));
            return Ok(());
        }
        let d = self.new_gpr()?;
        if let Some((second, distance)) = self.pair(self.at) {
            let e = self.new_gpr()?;
            self.access(v, ty.bytes(), mem, Data::LoadPair(d, e, distance));
            self.result(Loc::Gpr(d));
            self.result_of(second, Loc::Gpr(e));
            return Ok(());
        }
        if mem.swap {
            let misses = self.look_up(v, ty.bytes(), mem, Self::load_tag(mem));
            self.asm.load(ty.bytes(), d, Operand::indexed(RCX, v, 0));
            self.byte_reverse(ty, d);
            self.access_slowly(misses, v, ty.bytes(), mem, Data::Load(d));
        } else {
            self.access(v, ty.bytes(), mem, Data::Load(d));
        }
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
            self.access(v, 16, mem, Data::StoreVector(s));
            return Ok(());
        }
        let s = self.gpr(value)?;
        if let Some((second, distance)) = self.pair(self.at)
            && let Op::Store(_, _, other, _) = self.ir.ops[second]
        {
            let t = self.gpr(other)?;
            self.keep_flags()?;
            self.access(v, ty.bytes(), mem, Data::StorePair(s, t, distance));
            return Ok(());
        }
        self.keep_flags()?;
        if mem.swap && ty != Ty::I8 {
            let misses = self.look_up(v, ty.bytes(), mem, offset_of!(Entry, write));
            self.asm.mov(true, RAX, s);
            self.byte_reverse(ty, RAX);
            self.asm.store(ty.bytes(), Operand::indexed(RCX, v, 0), RAX);
            self.access_slowly(misses, v, ty.bytes(), mem, Data::Store(s));
        } else {
            self.access(v, ty.bytes(), mem, Data::Store(s));
        }
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
