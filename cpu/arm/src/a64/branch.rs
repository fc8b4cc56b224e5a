//! Branches. Arm ARM DDI 0487, C4.1.93 "Branches, Exception Generating and System instructions"; instructions in C6.2.

use super::translator::{Next, Translator, signed};
use super::{BranchCond, BranchImm, BranchReg, CompareBranch, TestBranch};
use crate::features::Feature;
use crate::state::{self, BTYPE};
use tcg::ir::{Binary, Cond, Terminal, Ty, Val};

impl Translator<'_> {
    /// B.
    pub fn b(&mut self, i: BranchImm) -> Next {
        self.jump(signed(u64::from(i.imm26) << 2, 28))
    }

    /// BL.
    pub fn bl(&mut self, i: BranchImm) -> Next {
        self.link();
        self.jump(signed(u64::from(i.imm26) << 2, 28))
    }

    /// Sets the link register to the next instruction.
    pub(super) fn link(&mut self) {
        let next = self.address_of(4);
        self.ir.set(state::x(30), next);
    }

    /// B.cond.
    pub fn b_cond(&mut self, i: BranchCond) -> Next {
        let holds = self.condition(i.cond);
        self.branch(holds, signed(u64::from(i.imm19) << 2, 21))
    }

    fn compare_branch(&mut self, cond: Cond, i: CompareBranch) -> Next {
        let ty = Self::ty(i.sf);
        let v = self.x(i.rt, ty);
        let holds = self.ir.cmp_imm(cond, ty, v, 0);
        self.branch(holds, signed(u64::from(i.imm19) << 2, 21))
    }

    /// CBZ.
    pub fn cbz(&mut self, i: CompareBranch) -> Next {
        self.compare_branch(Cond::Eq, i)
    }
    /// CBNZ.
    pub fn cbnz(&mut self, i: CompareBranch) -> Next {
        self.compare_branch(Cond::Ne, i)
    }

    fn test_branch(&mut self, cond: Cond, i: TestBranch) -> Next {
        let v = self.x(i.rt, Ty::I64);
        let bit = self.ir.and_imm(Ty::I64, v, 1 << (u32::from(i.b5) << 5 | u32::from(i.b40)));
        let holds = self.ir.cmp_imm(cond, Ty::I64, bit, 0);
        self.branch(holds, signed(u64::from(i.imm14) << 2, 16))
    }

    /// TBZ.
    pub fn tbz(&mut self, i: TestBranch) -> Next {
        self.test_branch(Cond::Eq, i)
    }
    /// TBNZ.
    pub fn tbnz(&mut self, i: TestBranch) -> Next {
        self.test_branch(Cond::Ne, i)
    }

    /// BranchTo() of the shared pseudocode: an indirect branch to `target`, without its tag where tags are ignored.
    pub(super) fn branch_to(&mut self, target: Val) -> Next {
        let target = self.without_tag(target);
        self.ir.end(Terminal::Indirect(target));
        Next::End
    }

    /// AArch64.BranchAddr(): the top byte becomes a copy of bit 55 where TBI is on for instruction addresses.
    fn without_tag(&mut self, target: Val) -> Val {
        // EL0 and EL1 share the regime: bit 0 is for the lower half, bit 1 for the upper.
        let up = |t: &mut Self| t.ir.shift_imm(Binary::Shl, Ty::I64, target, 8);
        match self.mode.tbi() {
            0 => target,
            3 => {
                let up = up(self);
                self.ir.shift_imm(Binary::Sar, Ty::I64, up, 8)
            }
            which => {
                let up = up(self);
                let extended = self.ir.shift_imm(Binary::Sar, Ty::I64, up, 8);
                let bit = self.ir.and_imm(Ty::I64, target, 1 << 55);
                let upper = self.ir.cmp_imm(Cond::Ne, Ty::I64, bit, 0);
                let (on_upper, on_lower) = if which == 1 { (target, extended) } else { (extended, target) };
                self.ir.select(Ty::I64, upper, on_upper, on_lower)
            }
        }
    }

    /// An indirect branch changes the mode: the target sees its type. BTYPE 1 for a jump through X16 or X17, 3 for
    /// another jump from a guarded page (1 from others), 2 for a call; see C6.2.42 "BR" and C6.2.40 "BLR".
    pub(super) fn indirect(&mut self, target: Val, btype: u64) -> Next {
        if !self.has(Feature::BTI) || self.mode.bti() == 0 {
            return self.branch_to(target);
        }
        let btype = self.ir.imm64(btype);
        self.ir.set(BTYPE, btype);
        let target = self.without_tag(target);
        self.ir.set(state::PC, target);
        self.ir.end(Terminal::Dispatch);
        Next::End
    }

    /// The BTYPE that a BR through X`n` leaves.
    pub(super) fn jump_type(&self, n: u8) -> u64 {
        if n == 16 || n == 17 || self.mode.guarded() == 0 { 1 } else { 3 }
    }

    /// BR.
    pub fn br(&mut self, i: BranchReg) -> Next {
        let target = self.x(i.rn, Ty::I64);
        let btype = self.jump_type(i.rn);
        self.indirect(target, btype)
    }

    /// BLR.
    pub fn blr(&mut self, i: BranchReg) -> Next {
        let target = self.x(i.rn, Ty::I64);
        self.link();
        self.indirect(target, 2)
    }

    /// RET.
    pub fn ret(&mut self, i: BranchReg) -> Next {
        let target = self.x(i.rn, Ty::I64);
        self.branch_to(target)
    }
}
