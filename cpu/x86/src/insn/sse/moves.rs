//! Moves: whole vectors, parts of them, elements from and to general-purpose registers, broadcasts, masked moves.

use super::helpers::{EMMS, GATHER, MASK_LOAD, MASK_STORE};
use super::masked::{Gather, Move};
use super::{Form, Halves};
use crate::insn::operand::{Place, segment_number};
use crate::insn::translator::{Next, Translator};
use crate::state::{xmm, ymm_high};
use iced_x86::Register;
use tcg::ir::{Lane, Ty, VUnary};

/// What memory masked moves access, at most.
const ANY: u64 = 1;

impl Translator<'_> {
    /// Moves of whole vectors and of as much as the memory operand has: MOVAPS, MOVDQU, MOVNTDQ, MOVQ2DQ and the like.
    pub(super) fn move_vector(&mut self) -> Next {
        let v = self.vector(1);
        self.set_vector(0, v);
        Next::Continue
    }

    /// MOVD and MOVQ.
    pub(super) fn movd(&mut self) -> Next {
        let is_vector =
            |t: &Self, n: u32| !t.is_memory(n) && (t.insn.op_register(n).is_xmm() || t.insn.op_register(n).is_mm());
        if is_vector(self, 0) {
            let v = if is_vector(self, 1) {
                let low = self.vector_low(1);
                self.ir.vun(VUnary::Low64, Lane::D, low)
            } else {
                let v = self.read(1);
                self.lowest(v)
            };
            self.set_vector(0, [v, v]);
            return Next::Continue;
        }
        let (to, ty) = (self.place(0), self.ty(0));
        let v = self.vector_low(1);
        let lane = if ty == Ty::I64 { Lane::D } else { Lane::S };
        let v = self.ir.extract(lane, v, 0);
        self.store(to, ty, v);
        Next::Continue
    }

    /// MOVSS and MOVSD.
    pub(super) fn move_scalar(&mut self, lane: Lane) -> Next {
        if self.is_memory(0) || self.is_memory(1) {
            return self.move_vector();
        }
        self.map_vectors(|t, a, b| t.with_lowest(lane, a, b))
    }

    /// MOVLPS and MOVHPS and the like: quadword `n` of a vector from and to memory.
    pub(super) fn move_half(&mut self, n: u8) -> Next {
        if self.is_memory(0) {
            let va = self.memory(8, true);
            let v = self.vector_low(1);
            let v = self.ir.extract(Lane::D, v, n);
            let mem = self.mem();
            self.ir.store(Ty::I64, va, v, mem);
            return Next::Continue;
        }
        self.insert_quadword(n, 0)
    }

    /// MOVHLPS and MOVLHPS: quadword `to` becomes quadword `from` of the other vector.
    pub(super) fn insert_quadword(&mut self, to: u8, from: u8) -> Next {
        self.map_vectors(|t, a, b| {
            let v = t.ir.extract(Lane::D, b, from);
            t.ir.insert(Lane::D, a, to, v)
        })
    }

    /// VBROADCASTSS, VPBROADCASTB and the like.
    pub(super) fn broadcast(&mut self, lane: Lane) -> Next {
        let v = self.vector_low(1);
        let v = self.ir.extract(lane, v, 0);
        let all = self.ir.splat(lane, v);
        self.set_vector(0, [all, all]);
        Next::Continue
    }

    /// VEXTRACTF128.
    pub(super) fn extract_half(&mut self) -> Next {
        let v = self.vector(1)[self.imm8() as usize & 1];
        self.set_vector(0, [v, v]);
        Next::Continue
    }

    /// VINSERTF128.
    pub(super) fn insert_half(&mut self) -> Next {
        let b = self.vector_low(2);
        let mut v = self.vector(1);
        v[self.imm8() as usize & 1] = b;
        self.set_vector(0, v);
        Next::Continue
    }

    /// VPERM2F128.
    pub(super) fn permute_halves(&mut self) -> Next {
        let imm = self.imm8();
        let (b, a) = (self.vector(2), self.vector(1));
        let zero = self.zero_vector();
        let all = [a[0], a[1], b[0], b[1]];
        let result: Halves = [imm, imm >> 4].map(|how| if how & 8 != 0 { zero } else { all[how as usize & 3] });
        self.set_vector(0, result);
        Next::Continue
    }

    /// VZEROALL, or VZEROUPPER.
    pub(super) fn zero_registers(&mut self, all: bool) -> Next {
        let zero = self.zero_vector();
        for n in 0..if self.is_64bit() { 16 } else { 8 } {
            if all {
                self.ir.set(xmm(n), zero);
            }
            self.ir.set(ymm_high(n), zero);
        }
        Next::Continue
    }

    /// EMMS.
    pub(super) fn emms(&mut self) -> Next {
        self.ir.call(EMMS, &[]);
        Next::Continue
    }

    /// The element number that the constant says, of those that the register has.
    fn element_number(&self, lane: Lane, n: u32) -> u8 {
        let mmx = !self.is_memory(n) && self.insn.op_register(n).is_mm();
        let count = if mmx { lane.count() / 2 } else { lane.count() };
        self.imm8() as u8 & (count - 1)
    }

    /// PEXTRB and its kin, EXTRACTPS.
    pub(super) fn extract_element(&mut self, lane: Lane) -> Next {
        let n = self.element_number(lane, 1);
        let to = self.place(0);
        let v = self.vector_low(1);
        let v = self.ir.extract(lane, v, n);
        match to {
            Place::Register(register) => self.set_gpr(register, v),
            _ => self.store(to, lane.ty(), v),
        }
        Next::Continue
    }

    /// PINSRB and its kin.
    pub(super) fn insert_element(&mut self, lane: Lane) -> Next {
        let n = self.element_number(lane, 0);
        let from = self.first_source() + 1;
        let v = if self.is_memory(from) {
            let place = self.place(from);
            self.load(place, lane.ty())
        } else {
            self.gpr(self.insn.op_register(from))
        };
        let a = self.vector_low(self.first_source());
        let result = self.ir.insert(lane, a, n, v);
        self.set_vector(0, [result, result]);
        Next::Continue
    }

    /// INSERTPS.
    pub(super) fn insertps(&mut self) -> Next {
        let imm = self.imm8();
        let from = if self.is_memory(self.first_source() + 1) { 0 } else { (imm >> 6) as u8 };
        let to = (imm >> 4 & 3) as u8;
        // Bytes of the first vector, of the element of the second, or zero.
        let mask = std::array::from_fn(|i| {
            let (i, element) = (i as u8, i as u8 / 4);
            match element {
                _ if imm >> element & 1 != 0 => 0x80,
                _ if element == to => 16 + from * 4 + i % 4,
                _ => i,
            }
        });
        self.map_vectors(|t, a, b| t.ir.shuffle(a, b, mask))
    }

    /// VMASKMOVPS, VPMASKMOVD and their kin.
    pub(super) fn masked_move(&mut self, element: u8) -> Next {
        let number = |t: &Self, n: u32| t.insn.op_register(n).number() as u8;
        let bytes = if self.form() == Form::Vex256 { 32 } else { 16 };
        let store = self.is_memory(0);
        let va = self.memory(ANY, store);
        let (data, mask) = if store { (number(self, 2), number(self, 1)) } else { (number(self, 0), number(self, 1)) };
        self.masked_call(store, va, Move { data, mask, element, bytes })
    }

    fn masked_call(&mut self, store: bool, va: tcg::ir::Val, what: Move) -> Next {
        let packed = self.ir.imm64(what.encode());
        self.ir.call(if store { MASK_STORE } else { MASK_LOAD }, &[va, packed]);
        Next::Continue
    }

    /// MASKMOVDQU and MASKMOVQ: to the address in RDI.
    pub(super) fn mask_bytes(&mut self) -> Next {
        use iced_x86::OpKind;
        let ty = match self.insn.op0_kind() {
            OpKind::MemorySegDI => Ty::I16,
            OpKind::MemorySegEDI => Ty::I32,
            _ => Ty::I64,
        };
        let offset = self.numbered(crate::state::RDI, ty);
        let offset = self.ir.zext(Ty::I64, offset);
        let segment = segment_number(self.insn.memory_segment());
        let va = self.in_segment(segment, offset, ANY, true);
        let (data, mask) = (self.insn.op1_register(), self.insn.op2_register());
        let bytes = if data.is_mm() { 8 } else { 16 };
        let (data, mask) = (data.number() as u8, mask.number() as u8);
        self.masked_call(true, va, Move { data, mask, element: 1, bytes })
    }

    /// VGATHERDPS, VPGATHERDD and their kin.
    pub(super) fn gather(&mut self, wide_index: bool, wide_data: bool) -> Next {
        let index = self.insn.memory_index();
        let registers = [self.insn.op0_register(), index, self.insn.op2_register()].map(|r| r.number() as u8);
        let [data, index_number, mask] = registers;
        if data == index_number || data == mask || index_number == mask {
            return self.undefined();
        }
        // As many elements as both registers have.
        let in_vector = |register: Register, wide: bool| register.size() / if wide { 8 } else { 4 };
        let count = in_vector(self.insn.op0_register(), wide_data).min(in_vector(index, wide_index)) as u8;
        let short_address = match self.insn.memory_base() {
            Register::None => self.insn.memory_displ_size() != 8,
            base => base.size() == 4 || base == Register::EIP,
        };
        let gather = Gather {
            data,
            index: index_number,
            mask,
            segment: segment_number(self.insn.memory_segment()) as u8,
            scale: self.insn.memory_index_scale().trailing_zeros() as u8,
            wide_index,
            wide_data,
            count,
            short_address,
        };
        let displacement = self.insn.memory_displacement64();
        let base = match self.insn.memory_base() {
            Register::None => self.ir.imm64(displacement),
            base => {
                let v = self.gpr(base);
                let v = self.ir.zext(Ty::I64, v);
                self.ir.add_imm(Ty::I64, v, displacement)
            }
        };
        let packed = self.ir.imm64(gather.encode());
        self.ir.call(GATHER, &[base, packed]);
        Next::Continue
    }
}
