//! Pushes and pops (SDM vol. 2B, "PUSH", "POP" and their like).

use super::operand::{Place, segment_number, ty_of};
use super::translator::{Next, Translator};
use crate::helpers;
use crate::segment::SS;
use crate::state::{RBP, RSP};
use iced_x86::{Mnemonic, OpKind, Register};
use tcg::ir::{Ty, Val};

impl Translator<'_> {
    /// Bytes that the instruction moves on the stack.
    pub(super) fn stack_width(&self) -> u8 {
        let moved = self.insn.stack_pointer_increment().unsigned_abs();
        match moved {
            0 => 8,
            2 | 4 | 8 => moved as u8,
            // PUSHA, ENTER and others look themselves.
            _ => 4,
        }
    }

    /// The type of stack addresses.
    fn stack_ty(&self) -> Ty {
        match (self.is_64bit(), self.mode.big_stack()) {
            (true, _) => Ty::I64,
            (false, 1) => Ty::I32,
            _ => Ty::I16,
        }
    }

    /// The stack pointer plus `by`, as an `I64` offset.
    pub(super) fn stack_offset(&mut self, by: i64) -> Val {
        let ty = self.stack_ty();
        let sp = self.numbered(RSP, ty);
        let sum = self.ir.add_imm(ty, sp, by as u64);
        self.ir.zext(Ty::I64, sum)
    }

    /// Moves the stack pointer by `by` bytes.
    pub(super) fn move_stack(&mut self, by: i64) {
        let ty = self.stack_ty();
        let sp = self.numbered(RSP, ty);
        let sum = self.ir.add_imm(ty, sp, by as u64);
        self.set_numbered(RSP, ty, sum);
    }

    /// Pushes a value; the stack pointer is set last.
    pub(super) fn push_value(&mut self, v: Val, width: u8) {
        let v = self.ir.trunc(ty_of(width.into()), v);
        let offset = self.stack_offset(-i64::from(width));
        let va = self.in_segment(SS, offset, width.into(), true);
        let mem = self.mem();
        self.ir.store(ty_of(width.into()), va, v, mem);
        self.move_stack(-i64::from(width));
    }

    /// Reads the value on top of the stack.
    pub(super) fn top(&mut self, width: u8) -> Val {
        let offset = self.stack_offset(0);
        let va = self.in_segment(SS, offset, width.into(), false);
        let mem = self.mem();
        self.ir.load(ty_of(width.into()), va, mem)
    }

    /// PUSH.
    pub(super) fn push(&mut self) -> Next {
        let width = self.stack_width();
        let ty = ty_of(width.into());
        let v = match self.insn.op_kind(0) {
            OpKind::Register if self.insn.op0_register().is_segment_register() => {
                let slot = crate::state::selector(segment_number(self.insn.op0_register()));
                self.ir.get(tcg::Slot(slot.0, ty))
            }
            OpKind::Register | OpKind::Memory => self.read(0),
            _ => self.ir.imm(ty, self.insn.try_immediate(0).unwrap_or(0)),
        };
        self.push_value(v, width);
        Next::Continue
    }

    /// POP. An address that RSP is part of is computed with what it is after the pop.
    pub(super) fn pop(&mut self) -> Next {
        let width = self.stack_width();
        let ty = ty_of(width.into());
        let v = self.top(width);
        if self.is_memory(0) {
            // The increment is undone should the store fault: so the address is computed by hand.
            let uses_sp = self.insn.memory_base().full_register() == Register::RSP;
            let offset = self.offset();
            let by = if uses_sp { i64::from(width) } else { 0 };
            let ty_address = self.address_ty();
            let cut = self.ir.trunc(ty_address, offset);
            let moved = self.ir.add_imm(ty_address, cut, by as u64);
            let offset = self.ir.zext(Ty::I64, moved);
            let n = segment_number(self.insn.memory_segment());
            let va = self.in_segment(n, offset, width.into(), true);
            let mem = self.mem();
            self.ir.store(ty, va, v, mem);
            self.move_stack(width.into());
            return Next::Continue;
        }
        let register = self.insn.op0_register();
        if register.is_segment_register() {
            let n = segment_number(register);
            let (number, selector) = (self.ir.imm64(n as u64), self.ir.zext(Ty::I64, v));
            self.ir.call(helpers::LOAD_SEGMENT, &[number, selector]);
            self.move_stack(width.into());
            return self.after_segment_load(n);
        }
        self.move_stack(width.into());
        self.store(Place::Register(register), ty, v);
        Next::Continue
    }

    /// A segment register may have changed the mode; SS begins a shadow, by the helper.
    pub(super) fn after_segment_load(&mut self, _n: usize) -> Next {
        self.resync_next()
    }

    /// PUSHA and POPA; `wide` for 32 bits.
    pub(super) fn all_registers(&mut self, push: bool, wide: bool) -> Next {
        let width = self.ir.imm64(if wide { 4 } else { 2 });
        self.ir.call(if push { helpers::PUSHA } else { helpers::POPA }, &[width]);
        Next::Continue
    }

    /// PUSHF.
    pub(super) fn pushf(&mut self) -> Next {
        let width = self.flags_width();
        let count = self.ir.imm64(width.into());
        let v = self.ir.call(helpers::FLAGS_FOR_PUSH, &[count]);
        self.push_value(v, width);
        Next::Continue
    }

    /// POPF.
    pub(super) fn popf(&mut self) -> Next {
        let width = self.flags_width();
        let v = self.top(width);
        let (v, count) = (self.ir.zext(Ty::I64, v), self.ir.imm64(width.into()));
        self.ir.call(helpers::POPF, &[v, count]);
        self.move_stack(width.into());
        self.flags_changed();
        self.resync_next()
    }

    fn flags_width(&self) -> u8 {
        match self.insn.mnemonic() {
            Mnemonic::Pushf | Mnemonic::Popf => 2,
            Mnemonic::Pushfd | Mnemonic::Popfd => 4,
            _ => 8,
        }
    }

    /// ENTER.
    pub(super) fn enter(&mut self) -> Next {
        let (size, level) = (u64::from(self.insn.immediate16()), u64::from(self.insn.immediate8_2nd()));
        let width = match self.insn.code() {
            iced_x86::Code::Enterw_imm16_imm8 => 2,
            iced_x86::Code::Enterd_imm16_imm8 => 4,
            _ => 8,
        };
        let args = [size, level, width].map(|v| self.ir.imm64(v));
        self.ir.call(helpers::ENTER, &args);
        Next::Continue
    }

    /// LEAVE.
    pub(super) fn leave(&mut self) -> Next {
        let width = match self.insn.code() {
            iced_x86::Code::Leavew => 2u8,
            iced_x86::Code::Leaved => 4,
            _ => 8,
        };
        let ty = self.stack_ty();
        let frame = self.numbered(RBP, ty);
        let offset = self.ir.zext(Ty::I64, frame);
        let va = self.in_segment(SS, offset, width.into(), false);
        let mem = self.mem();
        let v = self.ir.load(ty_of(width.into()), va, mem);
        let sp = self.ir.add_imm(ty, frame, width.into());
        self.set_numbered(RSP, ty, sp);
        self.set_numbered(RBP, ty_of(width.into()), v);
        Next::Continue
    }
}
