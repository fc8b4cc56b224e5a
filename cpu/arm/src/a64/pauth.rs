//! Pointer authentication instructions (FEAT_PAuth). Arm ARM DDI 0487, D8.10 "Pointer authentication"; instructions in
//! C6.2.

use super::translator::{Next, Translator, signed};
use super::{BranchAuth, BranchAuthZero, LoadAuth, PAuthReg, PAuthStrip, Pacga, ReturnAuth};
use crate::integer_helpers::{PAC_GENERIC, POINTER_AUTH};
use tcg::ir::{Ty, Val};

/// A key by its position in the state: APIA, APIB, APDA, APDB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PacKey {
    IA,
    IB,
    DA,
    DB,
}

/// What is done with a pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PacOp {
    Add,
    Auth,
    Strip,
}

/// Operation and key as the helper takes them.
pub fn pack(op: PacOp, key: PacKey) -> u64 {
    (op as u64) << 2 | key as u64
}

impl Translator<'_> {
    /// A pointer after an operation with a key; as it is when the key is switched off in SCTLR_EL1.
    pub(super) fn pointer_auth(&mut self, op: PacOp, key: PacKey, pointer: Val, modifier: Val) -> Val {
        if op != PacOp::Strip && self.mode.pauth() >> (key as u64) & 1 == 0 {
            return pointer;
        }
        let kind = self.ir.imm64(pack(op, key));
        self.ir.call(POINTER_AUTH, &[pointer, modifier, kind])
    }

    fn on_register(&mut self, op: PacOp, key: PacKey, i: PAuthReg) -> Next {
        let pointer = self.x(i.rd, Ty::I64);
        let modifier = if i.z { self.ir.imm64(0) } else { self.x_or_sp(i.rn, Ty::I64) };
        let result = self.pointer_auth(op, key, pointer, modifier);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// PACIA, PACIZA.
    pub fn pacia(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Add, PacKey::IA, i)
    }
    /// PACIB, PACIZB.
    pub fn pacib(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Add, PacKey::IB, i)
    }
    /// PACDA, PACDZA.
    pub fn pacda(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Add, PacKey::DA, i)
    }
    /// PACDB, PACDZB.
    pub fn pacdb(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Add, PacKey::DB, i)
    }
    /// AUTIA, AUTIZA.
    pub fn autia(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Auth, PacKey::IA, i)
    }
    /// AUTIB, AUTIZB.
    pub fn autib(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Auth, PacKey::IB, i)
    }
    /// AUTDA, AUTDZA.
    pub fn autda(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Auth, PacKey::DA, i)
    }
    /// AUTDB, AUTDZB.
    pub fn autdb(&mut self, i: PAuthReg) -> Next {
        self.on_register(PacOp::Auth, PacKey::DB, i)
    }

    /// XPACI.
    pub fn xpaci(&mut self, i: PAuthStrip) -> Next {
        self.strip(PacKey::IA, i.rd)
    }
    /// XPACD.
    pub fn xpacd(&mut self, i: PAuthStrip) -> Next {
        self.strip(PacKey::DA, i.rd)
    }
    /// XPACLRI.
    pub fn xpaclri(&mut self) -> Next {
        self.strip(PacKey::IA, 30)
    }

    fn strip(&mut self, key: PacKey, rd: u8) -> Next {
        let (pointer, zero) = (self.x(rd, Ty::I64), self.ir.imm64(0));
        let result = self.pointer_auth(PacOp::Strip, key, pointer, zero);
        self.set_x(rd, result);
        Next::Continue
    }

    /// PACGA.
    pub fn pacga(&mut self, i: Pacga) -> Next {
        let (a, b) = (self.x(i.rn, Ty::I64), self.x_or_sp(i.rm, Ty::I64));
        let result = self.ir.call(PAC_GENERIC, &[a, b]);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// On X17 with X16.
    fn on_x17(&mut self, op: PacOp, key: PacKey) -> Next {
        self.on_register(op, key, PAuthReg { z: false, rn: 16, rd: 17 })
    }
    /// On the link register with SP.
    fn on_link_sp(&mut self, op: PacOp, key: PacKey) -> Next {
        self.on_register(op, key, PAuthReg { z: false, rn: 31, rd: 30 })
    }
    /// On the link register with zero.
    fn on_link_zero(&mut self, op: PacOp, key: PacKey) -> Next {
        self.on_register(op, key, PAuthReg { z: true, rn: 31, rd: 30 })
    }

    /// PACIA1716.
    pub fn pacia1716(&mut self) -> Next {
        self.on_x17(PacOp::Add, PacKey::IA)
    }
    /// PACIB1716.
    pub fn pacib1716(&mut self) -> Next {
        self.on_x17(PacOp::Add, PacKey::IB)
    }
    /// AUTIA1716.
    pub fn autia1716(&mut self) -> Next {
        self.on_x17(PacOp::Auth, PacKey::IA)
    }
    /// AUTIB1716.
    pub fn autib1716(&mut self) -> Next {
        self.on_x17(PacOp::Auth, PacKey::IB)
    }
    /// PACIAZ.
    pub fn paciaz(&mut self) -> Next {
        self.on_link_zero(PacOp::Add, PacKey::IA)
    }
    /// PACIASP.
    pub fn paciasp(&mut self) -> Next {
        self.on_link_sp(PacOp::Add, PacKey::IA)
    }
    /// PACIBZ.
    pub fn pacibz(&mut self) -> Next {
        self.on_link_zero(PacOp::Add, PacKey::IB)
    }
    /// PACIBSP.
    pub fn pacibsp(&mut self) -> Next {
        self.on_link_sp(PacOp::Add, PacKey::IB)
    }
    /// AUTIAZ.
    pub fn autiaz(&mut self) -> Next {
        self.on_link_zero(PacOp::Auth, PacKey::IA)
    }
    /// AUTIASP.
    pub fn autiasp(&mut self) -> Next {
        self.on_link_sp(PacOp::Auth, PacKey::IA)
    }
    /// AUTIBZ.
    pub fn autibz(&mut self) -> Next {
        self.on_link_zero(PacOp::Auth, PacKey::IB)
    }
    /// AUTIBSP.
    pub fn autibsp(&mut self) -> Next {
        self.on_link_sp(PacOp::Auth, PacKey::IB)
    }

    fn instruction_key(b: bool) -> PacKey {
        if b { PacKey::IB } else { PacKey::IA }
    }

    /// An authenticated branch target: X`rn` with X`rm` or SP.
    fn target(&mut self, b: bool, rn: u8, rm: u8) -> Val {
        let (pointer, modifier) = (self.x(rn, Ty::I64), self.x_or_sp(rm, Ty::I64));
        self.pointer_auth(PacOp::Auth, Self::instruction_key(b), pointer, modifier)
    }

    /// An authenticated branch target: X`rn` with zero.
    fn target_zero(&mut self, b: bool, rn: u8) -> Val {
        let (pointer, modifier) = (self.x(rn, Ty::I64), self.ir.imm64(0));
        self.pointer_auth(PacOp::Auth, Self::instruction_key(b), pointer, modifier)
    }

    /// BRAA, BRAB.
    pub fn bra(&mut self, i: BranchAuth) -> Next {
        let target = self.target(i.m, i.rn, i.rm);
        let btype = self.jump_type(i.rn);
        self.indirect(target, btype)
    }
    /// BRAAZ, BRABZ.
    pub fn braz(&mut self, i: BranchAuthZero) -> Next {
        let target = self.target_zero(i.m, i.rn);
        let btype = self.jump_type(i.rn);
        self.indirect(target, btype)
    }
    /// BLRAA, BLRAB.
    pub fn blra(&mut self, i: BranchAuth) -> Next {
        let target = self.target(i.m, i.rn, i.rm);
        self.link();
        self.indirect(target, 2)
    }
    /// BLRAAZ, BLRABZ.
    pub fn blraz(&mut self, i: BranchAuthZero) -> Next {
        let target = self.target_zero(i.m, i.rn);
        self.link();
        self.indirect(target, 2)
    }
    /// RETAA, RETAB.
    pub fn reta(&mut self, i: ReturnAuth) -> Next {
        let target = self.target(i.m, 30, 31);
        self.branch_to(target)
    }

    /// LDRAA, LDRAB.
    pub fn ldra(&mut self, i: LoadAuth) -> Next {
        let key = if i.m { PacKey::DB } else { PacKey::DA };
        let (pointer, zero) = (self.x_or_sp(i.rn, Ty::I64), self.ir.imm64(0));
        let base = self.pointer_auth(PacOp::Auth, key, pointer, zero);
        let offset = signed(u64::from(i.s) << 9 | u64::from(i.imm9), 10) << 3;
        let address = self.ir.add_imm(Ty::I64, base, offset as u64);
        let value = self.ir.load(Ty::I64, address, self.mem(8));
        if i.w {
            self.set_x_or_sp(i.rn, address);
        }
        self.set_x(i.rt, value);
        Next::Continue
    }
}
