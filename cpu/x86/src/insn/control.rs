//! Jumps, calls, returns and interrupts (SDM vol. 2, "CALL", "Jcc", "JMP", "RET", "INT n", "IRET", "LOOP").

use super::operand::ty_of;
use super::translator::{Next, Translator};
use crate::exception::{self, Exception};
use crate::helpers;
use crate::segment::CS;
use crate::state::{self, RCX};
use iced_x86::{Code, Mnemonic, OpKind};
use tcg::ir::{Binary, Cond, Terminal, Ty, Val};

impl Translator<'_> {
    /// Bits of the operand of a near branch, and its distance from the start of the block.
    fn near_target(&self) -> (u32, i64) {
        let target = self.insn.near_branch_target();
        let next = i64::from(self.next);
        match self.insn.op0_kind() {
            OpKind::NearBranch16 => (16, next + i64::from((target as u16).wrapping_sub(self.next as u16) as i16)),
            OpKind::NearBranch32 => (32, next + i64::from((target as u32).wrapping_sub(self.next) as i32)),
            _ => (64, (target as i64).wrapping_sub(next).wrapping_add(next)),
        }
    }

    /// RIP of code at `distance`, cut to the bits of the operand.
    fn near_rip(&mut self, bits: u32, distance: i64) -> Val {
        let rip = self.rip_at(distance);
        if bits == 16 { self.ir.and_imm(Ty::I64, rip, 0xffff) } else { rip }
    }

    /// The linear address of an offset in CS.
    fn code_address(&mut self, rip: Val) -> Val {
        if self.mode.based_code() == 0 {
            return rip;
        }
        let base = self.ir.get(state::base(CS));
        let va = self.ir.add(Ty::I64, base, rip);
        self.linear(va)
    }

    /// #GP(0) if code cannot go on at an offset in CS, and `condition` holds.
    fn check_limit(&mut self, rip: Val, condition: Option<Val>) {
        if self.mode.limited_code() == 0 {
            return;
        }
        let limit = self.ir.get(state::limit(CS));
        let mut outside = self.ir.cmp(Cond::LtU, Ty::I64, limit, rip);
        if let Some(condition) = condition {
            outside = self.ir.and(Ty::I8, outside, condition);
        }
        self.raise_if(Some(outside), Exception::gp(0));
    }

    /// #GP(0) if code cannot go on where an indirect branch leads: beyond the limit, or at an address that is not
    /// canonical. The branch itself faults, before it changes anything.
    fn check_target(&mut self, rip: Val) {
        if !self.is_64bit() {
            return self.check_limit(rip, None);
        }
        let unused = if self.mode.la57() { 64 - 57 } else { 64 - 48 };
        let up = self.ir.shift_imm(Binary::Shl, Ty::I64, rip, unused);
        let extended = self.ir.shift_imm(Binary::Sar, Ty::I64, up, unused);
        let outside = self.ir.cmp(Cond::Ne, Ty::I64, extended, rip);
        self.raise_if(Some(outside), Exception::gp(0));
    }

    /// Ends the block with a jump to the near target, if the condition holds.
    fn near_jump(&mut self, condition: Option<Val>) -> Next {
        let (bits, distance) = self.near_target();
        let rip = self.near_rip(bits, distance);
        self.check_limit(rip, condition);
        if bits == 16 {
            // The target wraps at 64 KiB, which a distance cannot say.
            let mut to = self.code_address(rip);
            if let Some(condition) = condition {
                let next = self.address_at(self.next.into());
                to = self.ir.select(Ty::I64, condition, to, next);
            }
            self.ir.end(Terminal::Indirect(to));
        } else {
            let next = self.next.into();
            self.ir.end(match condition {
                Some(condition) => Terminal::Branch(condition, distance, next),
                None => Terminal::Jump(distance),
            });
        }
        Next::End
    }

    /// Jcc.
    pub(super) fn jcc(&mut self, code: u8) -> Next {
        let condition = self.condition(code);
        match self.ir.as_const(condition) {
            Some(0) => Next::Continue,
            Some(_) => self.near_jump(None),
            None => self.near_jump(Some(condition)),
        }
    }

    /// JCXZ, JECXZ, JRCXZ, LOOP, LOOPE and LOOPNE.
    pub(super) fn loop_jump(&mut self) -> Next {
        use Code as C;
        let ty = match self.insn.code() {
            C::Jcxz_rel8_16
            | C::Jcxz_rel8_32
            | C::Loop_rel8_16_CX
            | C::Loop_rel8_32_CX
            | C::Loope_rel8_16_CX
            | C::Loope_rel8_32_CX
            | C::Loopne_rel8_16_CX
            | C::Loopne_rel8_32_CX => Ty::I16,
            C::Jrcxz_rel8_16
            | C::Jrcxz_rel8_64
            | C::Loop_rel8_16_RCX
            | C::Loop_rel8_64_RCX
            | C::Loope_rel8_16_RCX
            | C::Loope_rel8_64_RCX
            | C::Loopne_rel8_16_RCX
            | C::Loopne_rel8_64_RCX => Ty::I64,
            _ => Ty::I32,
        };
        let count = self.numbered(RCX, ty);
        let mnemonic = self.insn.mnemonic();
        if matches!(mnemonic, Mnemonic::Jcxz | Mnemonic::Jecxz | Mnemonic::Jrcxz) {
            let zero = self.ir.cmp_imm(Cond::Eq, ty, count, 0);
            return self.near_jump(Some(zero));
        }
        let less = self.ir.add_imm(ty, count, u64::MAX);
        let more = self.ir.cmp_imm(Cond::Ne, ty, less, 0);
        let condition = match mnemonic {
            Mnemonic::Loope => {
                let z = self.zf();
                self.ir.and(Ty::I8, more, z)
            }
            Mnemonic::Loopne => {
                let not = self.condition(5);
                self.ir.and(Ty::I8, more, not)
            }
            _ => more,
        };
        // The count changes only if the target is one.
        let (bits, distance) = self.near_target();
        let rip = self.near_rip(bits, distance);
        self.check_limit(rip, Some(condition));
        self.set_numbered(RCX, ty, less);
        self.near_jump(Some(condition))
    }

    /// JMP, near or far.
    pub(super) fn jmp(&mut self) -> Next {
        match self.insn.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => self.near_jump(None),
            OpKind::FarBranch16 | OpKind::FarBranch32 => self.far(helpers::FAR_JUMP),
            OpKind::Memory if self.insn.is_jmp_far_indirect() => self.far(helpers::FAR_JUMP),
            _ => {
                let to = self.read(0);
                let to = self.ir.zext(Ty::I64, to);
                self.check_target(to);
                let va = self.code_address(to);
                self.ir.end(Terminal::Indirect(va));
                Next::End
            }
        }
    }

    /// CALL, near or far.
    pub(super) fn call(&mut self) -> Next {
        match self.insn.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                let (bits, distance) = self.near_target();
                let rip = self.near_rip(bits, distance);
                self.check_limit(rip, None);
                let next = self.next_rip();
                self.push_value(next, (bits / 8) as u8);
                self.near_jump(None)
            }
            OpKind::FarBranch16 | OpKind::FarBranch32 => self.far(helpers::FAR_CALL),
            OpKind::Memory if self.insn.is_call_far_indirect() => self.far(helpers::FAR_CALL),
            _ => {
                let to = self.read(0);
                let width = self.ir.ty(to).bytes();
                let to = self.ir.zext(Ty::I64, to);
                self.check_target(to);
                let next = self.next_rip();
                self.push_value(next, width);
                let va = self.code_address(to);
                self.ir.end(Terminal::Indirect(va));
                Next::End
            }
        }
    }

    /// A far JMP or CALL: a helper does all of it.
    fn far(&mut self, helper: tcg::ir::HelperId) -> Next {
        let (selector, offset, width) = match self.insn.op0_kind() {
            OpKind::FarBranch16 => {
                let (s, o) = (self.insn.far_branch_selector(), self.insn.far_branch16());
                (self.ir.imm64(s.into()), self.ir.imm64(o.into()), 2u64)
            }
            OpKind::FarBranch32 => {
                let (s, o) = (self.insn.far_branch_selector(), self.insn.far_branch32());
                (self.ir.imm64(s.into()), self.ir.imm64(o.into()), 4)
            }
            _ => {
                let width = self.memory_bytes() as u8 - 2;
                let (selector, offset) = self.far_pointer(width);
                (selector, offset, width.into())
            }
        };
        let packed = self.ir.imm64(width);
        let next = self.next_rip();
        self.ir.call(helper, &[selector, offset, packed, next]);
        self.dispatch()
    }

    /// The far pointer in memory whose offset has `width` bytes: selector and offset.
    pub(super) fn far_pointer(&mut self, width: u8) -> (Val, Val) {
        let va = self.memory(u64::from(width) + 2, false);
        let mem = self.mem();
        let offset = self.ir.load(ty_of(width.into()), va, mem);
        let at = self.ir.add_imm(Ty::I64, va, width.into());
        let at = self.linear(at);
        let selector = self.ir.load(Ty::I16, at, mem);
        (self.ir.zext(Ty::I64, selector), self.ir.zext(Ty::I64, offset))
    }

    /// RET.
    pub(super) fn ret(&mut self) -> Next {
        let release = if self.insn.op_count() == 1 { i64::from(self.insn.immediate16()) } else { 0 };
        let width = match self.insn.code() {
            Code::Retnw | Code::Retnw_imm16 => 2u8,
            Code::Retnd | Code::Retnd_imm16 => 4,
            _ => 8,
        };
        let to = self.top(width);
        let to = self.ir.zext(Ty::I64, to);
        self.check_target(to);
        self.move_stack(i64::from(width) + release);
        let va = self.code_address(to);
        self.ir.end(Terminal::Indirect(va));
        Next::End
    }

    /// Far RET.
    pub(super) fn ret_far(&mut self) -> Next {
        let release = if self.insn.op_count() == 1 { u64::from(self.insn.immediate16()) } else { 0 };
        let width = match self.insn.code() {
            Code::Retfw | Code::Retfw_imm16 => 2,
            Code::Retfd | Code::Retfd_imm16 => 4,
            _ => 8,
        };
        let args = [width, release].map(|v| self.ir.imm64(v));
        self.ir.call(helpers::FAR_RETURN, &args);
        self.dispatch()
    }

    /// IRET.
    pub(super) fn iret(&mut self) -> Next {
        let width = match self.insn.code() {
            Code::Iretw => 2,
            Code::Iretd => 4,
            _ => 8,
        };
        let width = self.ir.imm64(width);
        let next = self.next_rip();
        self.ir.call(helpers::IRET, &[width, next]);
        self.dispatch()
    }

    /// INT n, INT3 and INT1.
    pub(super) fn int(&mut self) -> Next {
        let vector = match self.insn.mnemonic() {
            Mnemonic::Int3 => u64::from(exception::BP),
            // Without the gate's permission: bit 8.
            Mnemonic::Int1 => u64::from(exception::DB) | 1 << 8,
            // As a number it can be trapped in virtual-8086 mode: bit 9.
            _ => u64::from(self.insn.immediate8()) | 1 << 9,
        };
        let vector = self.ir.imm64(vector);
        let next = self.next_rip();
        self.ir.call(helpers::SOFTWARE_INTERRUPT, &[vector, next]);
        self.dispatch()
    }

    /// INTO.
    pub(super) fn into(&mut self) -> Next {
        let of = self.of();
        let next = self.next_rip();
        self.ir.call(helpers::INTO, &[of, next]);
        self.dispatch()
    }

    /// BOUND.
    pub(super) fn bound(&mut self) -> Next {
        let ty = self.ty(0);
        let index = self.read(0);
        let va = self.memory(2 * u64::from(ty.bytes()), false);
        let mem = self.mem();
        let low = self.ir.load(ty, va, mem);
        let at = self.ir.add_imm(Ty::I64, va, ty.bytes().into());
        let at = self.linear(at);
        let high = self.ir.load(ty, at, mem);
        let below = self.ir.cmp(Cond::LtS, ty, index, low);
        let above = self.ir.cmp(Cond::LtS, ty, high, index);
        let outside = self.ir.or(Ty::I8, below, above);
        self.raise_if(Some(outside), Exception::plain(exception::BR));
        Next::Continue
    }

    /// SYSCALL, SYSRET, SYSENTER and SYSEXIT: a helper does all of it.
    pub(super) fn fast_call(&mut self, helper: tcg::ir::HelperId) -> Next {
        let next = self.next_rip();
        let wide = self.ir.imm64(matches!(self.insn.mnemonic(), Mnemonic::Sysretq | Mnemonic::Sysexitq).into());
        self.ir.call(helper, &[next, wide]);
        self.dispatch()
    }
}
