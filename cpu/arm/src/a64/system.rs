//! Exception generation, hints, barriers, PSTATE and system registers (Arm ARM DDI 0487, C4.1.93 "Branches, Exception
//! Generating and System instructions"; C5 "The A64 System Instruction Class").

use super::*;
use crate::exception::Syndrome;
use crate::helpers::{self, field, tlb, translation_kind};
use crate::mmu;
use crate::state::{self, C, EXCLUSIVE_ADDR, N, NOT_EXCLUSIVE, V, Z};
use crate::sysreg::{self, After, FPSR, REGISTERS, User, id, trap_iss};
use tcg::Slot;
use tcg::ir::{Binary, HOST_KEEPS_ORDER, Mem, Order, Terminal, Ty, Val};

/// SCTLR_EL1 bits that let EL0 use DC ZVA, and the other cache instructions.
const SCTLR_DZE: u64 = 14;
const SCTLR_UCI: u64 = 26;

impl Translator<'_> {
    pub fn svc(&mut self, i: Exception) -> Next {
        self.raise(Syndrome::svc(i.imm16))
    }

    /// HVC: firmware, in place of an EL2.
    pub fn hvc(&mut self, _: Exception) -> Next {
        if self.mode.el() == 0 {
            return self.undefined();
        }
        self.effect(helpers::HVC, &[]);
        self.resync_next()
    }

    /// SMC is UNDEFINED without EL3.
    pub fn smc(&mut self, _: Exception) -> Next {
        self.undefined()
    }

    pub fn brk(&mut self, i: Exception) -> Next {
        self.raise(Syndrome::brk(i.imm16))
    }

    /// HLT is UNDEFINED while halting debug is off, and it always is.
    pub fn hlt(&mut self, _: Exception) -> Next {
        self.undefined()
    }

    /// DCPS and DRPS exist in Debug state only.
    pub fn dcps1(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn dcps2(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn dcps3(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn drps(&mut self) -> Next {
        self.undefined()
    }

    /// A hint that means nothing here.
    pub fn hint(&mut self, _: Hint) -> Next {
        Next::Continue
    }
    /// BTI: what it allows was decided at the start of the block.
    pub fn bti(&mut self, _: Bti) -> Next {
        Next::Continue
    }
    pub fn yield_op(&mut self) -> Next {
        self.ir.call(helpers::GIVE_WAY, &[]);
        self.resync_next()
    }
    pub fn wfe(&mut self) -> Next {
        let zero = self.ir.imm64(0);
        self.effect(helpers::WFE, &[zero]);
        self.resync_next()
    }
    pub fn wfi(&mut self) -> Next {
        let zero = self.ir.imm64(0);
        self.effect(helpers::WFI, &[zero]);
        self.resync_next()
    }
    pub fn sev(&mut self) -> Next {
        self.effect(helpers::SEV, &[]);
        Next::Continue
    }
    pub fn sevl(&mut self) -> Next {
        self.sev()
    }
    /// ESB: there are no SErrors to wait for.
    pub fn esb(&mut self) -> Next {
        Next::Continue
    }
    pub fn csdb(&mut self) -> Next {
        Next::Continue
    }

    pub fn clrex(&mut self, _: Barrier) -> Next {
        let none = self.ir.imm64(NOT_EXCLUSIVE);
        self.ir.set(EXCLUSIVE_ADDR, none);
        Next::Continue
    }
    pub fn dsb(&mut self, _: Barrier) -> Next {
        self.ir.fence();
        Next::Continue
    }
    /// DMB, C6.2: bits 1:0 of CRm say whether it orders loads with what follows (LD), stores with stores (ST), or all.
    pub fn dmb(&mut self, i: Barrier) -> Next {
        if !HOST_KEEPS_ORDER || !matches!(i.crm & 3, 1 | 2) {
            self.ir.fence();
        }
        Next::Continue
    }
    pub fn isb(&mut self, _: Barrier) -> Next {
        self.resync_next()
    }
    pub fn sb(&mut self) -> Next {
        self.resync_next()
    }

    /// CFINV: inverts the carry.
    pub fn cfinv(&mut self) -> Next {
        let c = self.ir.get(C);
        let one = self.ir.imm64(1);
        let c = self.ir.xor(Ty::I64, c, one);
        self.ir.set(C, c);
        self.flags = Flags::InState;
        Next::Continue
    }

    /// XAFLAG, C6.2: from the flags of another architecture's floating-point comparison.
    pub fn xaflag(&mut self) -> Next {
        let (z, c) = (self.ir.get(Z), self.ir.get(C));
        let one = self.ir.imm64(1);
        let (not_z, not_c) = (self.ir.xor(Ty::I64, z, one), self.ir.xor(Ty::I64, c, one));
        let n = self.ir.and(Ty::I64, not_c, not_z);
        let new_z = self.ir.and(Ty::I64, z, c);
        let new_c = self.ir.or(Ty::I64, c, z);
        let v = self.ir.and(Ty::I64, not_c, z);
        self.set_all_flags([n, new_z, new_c, v])
    }

    /// AXFLAG, C6.2: to the flags of another architecture's floating-point comparison.
    pub fn axflag(&mut self) -> Next {
        let (z, c, v) = (self.ir.get(Z), self.ir.get(C), self.ir.get(V));
        let zero = self.ir.imm64(0);
        let new_z = self.ir.or(Ty::I64, z, v);
        let new_c = self.ir.bin(Binary::AndNot, Ty::I64, c, v);
        self.set_all_flags([zero, new_z, new_c, zero])
    }

    fn set_all_flags(&mut self, nzcv: [Val; 4]) -> Next {
        for (slot, value) in [N, Z, C, V].into_iter().zip(nzcv) {
            self.ir.set(slot, value);
        }
        self.flags = Flags::InState;
        Next::Continue
    }

    /// MSR (immediate), C5.2 "PSTATE fields".
    pub fn msr_imm(&mut self, i: MsrImm) -> Next {
        let which = u64::from(i.op1) << 3 | u64::from(i.op2);
        let exists = match which {
            field::UAO => self.has(Feature::UAO) && self.mode.el() != 0,
            field::PAN => self.has(Feature::PAN) && self.mode.el() != 0,
            field::SPSEL => self.mode.el() != 0,
            field::SSBS => self.has(Feature::SSBS),
            field::DIT => self.has(Feature::DIT),
            field::DAIF_SET | field::DAIF_CLEAR => true,
            _ => false,
        };
        if which == field::DAIF_SET && self.mode.el() != 0 && self.mode.step() == 0 {
            // More is masked and nothing else changes.
            let mask = self.ir.imm64(i.crm.into());
            self.ir.call(helpers::MASK_INTERRUPTS, &[mask]);
            return Next::Continue;
        }
        if !exists {
            return self.undefined();
        }
        let iss = trap_iss(id(0, i.op1.into(), 4, i.crm.into(), i.op2.into()), 31, false);
        let args = [which, i.crm.into(), iss].map(|v| self.ir.imm64(v));
        self.effect(helpers::MSR_IMM, &args);
        self.resync_next()
    }

    /// MRS.
    pub fn mrs(&mut self, i: SysReg) -> Next {
        let reg = id(2 + u16::from(i.o0), i.op1.into(), i.crn.into(), i.crm.into(), i.op2.into());
        let iss = self.ir.imm64(trap_iss(reg, i.rt, true));
        let value = match self.slot_of(reg) {
            Some(slot) => self.ir.get(slot),
            None if reg == NZCV => self.nzcv(),
            None => match sysreg::find(reg, self.features) {
                Some(index) => {
                    let register = &REGISTERS[index];
                    if register.read.is_none() || self.barred(register.user) {
                        return self.undefined();
                    }
                    if matches!(register.user, User::Fp)
                        && let Some(end) = self.fp_access()
                    {
                        return end;
                    }
                    let read = if self.mode.el() != 0 && reg != FPSR && reg != SP_EL0 {
                        helpers::READ_AT_EL1
                    } else {
                        helpers::READ_SYSREG
                    };
                    let index = self.ir.imm64(index as u64);
                    self.ir.call(read, &[index, iss])
                }
                None if self.mode.el() != 0 && sysreg::is_id_space(reg) => self.ir.imm64(0),
                None if self.mode.el() != 0 && matches!(sysreg::icc_direction(reg), Some((true, _))) => {
                    let reg = self.ir.imm64(reg.into());
                    self.ir.call(helpers::READ_ICC, &[reg, iss])
                }
                None => return self.unknown(reg, true),
            },
        };
        self.set_x(i.rt, value);
        Next::Continue
    }

    /// MSR (register).
    pub fn msr_reg(&mut self, i: SysReg) -> Next {
        let reg = id(2 + u16::from(i.o0), i.op1.into(), i.crn.into(), i.crm.into(), i.op2.into());
        let value = self.x(i.rt, Ty::I64);
        if reg == NZCV {
            self.set_nzcv(value);
            return Next::Continue;
        }
        let read_only_here = reg == TPIDRRO_EL0 && self.mode.el() == 0;
        if let Some(slot) = self.slot_of(reg).filter(|_| !read_only_here) {
            self.ir.set(slot, value);
            return Next::Continue;
        }
        let iss = self.ir.imm64(trap_iss(reg, i.rt, false));
        let Some(index) = sysreg::find(reg, self.features) else {
            if self.mode.el() != 0 && matches!(sysreg::icc_direction(reg), Some((_, true))) {
                let reg = self.ir.imm64(reg.into());
                self.effect(helpers::WRITE_ICC, &[reg, iss, value]);
                return self.resync_next();
            }
            return self.unknown(reg, false);
        };
        let register = &REGISTERS[index];
        if register.write.is_none() || self.barred(register.user) || read_only_here {
            return self.undefined();
        }
        if matches!(register.user, User::Fp)
            && let Some(end) = self.fp_access()
        {
            return end;
        }
        let at = self.ir.imm64(index as u64);
        self.effect(helpers::WRITE_SYSREG, &[at, iss, value]);
        if register.after == After::Nothing { Next::Continue } else { self.resync_next() }
    }

    /// Whether EL0 executes and the register is EL1's alone.
    fn barred(&self, user: User) -> bool {
        self.mode.el() == 0 && matches!(user, User::No)
    }

    /// The slot of a register that has one and that the current level may read.
    fn slot_of(&self, reg: u16) -> Option<Slot> {
        match reg {
            TPIDR_EL0 => Some(state::TPIDR_EL0),
            TPIDRRO_EL0 => Some(state::TPIDRRO_EL0),
            TPIDR_EL1 if self.mode.el() != 0 => Some(state::TPIDR_EL1),
            ELR_EL1 if self.mode.el() != 0 => Some(state::ELR_EL1),
            SP_EL0 if self.mode.el() != 0 && self.mode.shared_sp() == 0 => Some(state::SP_EL0),
            _ => None,
        }
    }

    fn unknown(&mut self, reg: u16, read: bool) -> Next {
        helpers::log_unknown(reg, read);
        self.undefined()
    }

    /// SYS: cache, address translation and TLB instructions (C5.3 to C5.5).
    pub fn sys(&mut self, i: Sys) -> Next {
        let code = (i.op1, i.crn, i.crm, i.op2);
        let el0 = self.mode.el() == 0;
        let iss = trap_iss(id(1, i.op1.into(), i.crn.into(), i.crm.into(), i.op2.into()), i.rt, false);
        let va = self.x(i.rt, Ty::I64);
        match code {
            // DC ZVA.
            (3, 7, 4, 1) => self.zero_block(va, iss),
            // IC IVAU; DC CVAC, CVAU, CVAP, CIVAC.
            (3, 7, 5, 1) | (3, 7, 10, 1) | (3, 7, 11, 1) | (3, 7, 14, 1) => self.cache(va, iss, 0),
            (3, 7, 12, 1) if self.has(Feature::DPB) => self.cache(va, iss, 0),
            _ if el0 => self.undefined(),
            // DC IVAC.
            (0, 7, 6, 1) => self.cache(va, iss, helpers::CACHE_INVALIDATE),
            // IC IALLUIS, IALLU: translated code follows memory by itself.
            (0, 7, 1, 0) | (0, 7, 5, 0) => self.resync_next(),
            // DC ISW, CSW, CISW.
            (0, 7, 6, 2) | (0, 7, 10, 2) | (0, 7, 14, 2) => Next::Continue,
            // AT S1E1R, S1E1W, S1E0R, S1E0W.
            (0, 7, 8, 0..=3) => {
                let regime = if i.op2 < 2 { mmu::EL1 } else { mmu::EL0 };
                self.address_translate(va, translation_kind(regime, i.op2 & 1 != 0))
            }
            // AT S1E1RP, S1E1WP.
            (0, 7, 9, 0 | 1) if self.has(Feature::PAN2) => {
                self.address_translate(va, translation_kind(mmu::EL1_PAN, i.op2 != 0))
            }
            // TLBI VMALLE1, VAE1, ASIDE1, VAAE1, VALE1, VAALE1, and the same for the Inner Shareable domain.
            (0, 8, 3 | 7, 0..=3 | 5 | 7) => {
                let kind = match i.op2 {
                    0 => tlb::ALL,
                    2 => tlb::ASID,
                    _ => tlb::PAGE,
                };
                // CRm is 3 of those that are broadcast.
                let kind = self.ir.imm64(kind | if i.crm == 3 { tlb::EVERYWHERE } else { 0 });
                self.effect(helpers::TLBI, &[kind, va]);
                self.resync_next()
            }
            _ => self.undefined(),
        }
    }

    /// SYSL: none is allocated.
    pub fn sysl(&mut self, _: Sys) -> Next {
        self.undefined()
    }

    fn check_user(&mut self, bit: u64, iss: u64) {
        if self.mode.el() == 0 {
            let args = [bit, iss].map(|v| self.ir.imm64(v));
            self.effect(helpers::CHECK_USER, &args);
        }
    }

    fn cache(&mut self, va: Val, iss: u64, flags: u64) -> Next {
        self.check_user(SCTLR_UCI, iss);
        let flags = self.ir.imm64(flags);
        self.effect(helpers::CACHE, &[va, flags]);
        Next::Continue
    }

    fn address_translate(&mut self, va: Val, kind: u64) -> Next {
        let kind = self.ir.imm64(kind);
        self.effect(helpers::ADDRESS_TRANSLATE, &[va, kind]);
        Next::Continue
    }

    /// DC ZVA: 64 bytes of zeros. They lie in one page, so that only the first store can fault.
    // Deviation: on Device memory it is no alignment fault, and FAR_EL1 gets the start of the block.
    fn zero_block(&mut self, va: Val, iss: u64) -> Next {
        self.check_user(SCTLR_DZE, iss);
        let base = self.ir.and_imm(Ty::I64, va, !63);
        let zero = self.ir.imm_v(0);
        for at in [0, 16, 32, 48] {
            let to = self.ir.add_imm(Ty::I64, base, at);
            let mem = Mem { mmu: self.regime(), align_log2: 0, order: Order::Relaxed, swap: false, modify: false };
            self.ir.store(Ty::V128, to, zero, mem);
        }
        Next::Continue
    }

    pub fn eret(&mut self) -> Next {
        if self.mode.el() == 0 {
            return self.undefined();
        }
        let target = self.ir.get(state::ELR_EL1);
        self.return_to(target)
    }

    /// ERETAA, ERETAB.
    pub fn ereta(&mut self, i: ReturnAuth) -> Next {
        if self.mode.el() == 0 {
            return self.undefined();
        }
        let target = self.ir.get(state::ELR_EL1);
        let key_b = self.ir.imm64(i.m.into());
        let target = self.ir.call(helpers::AUTH_RETURN, &[target, key_b]);
        self.return_to(target)
    }

    fn return_to(&mut self, target: Val) -> Next {
        self.effect(helpers::ERET, &[target]);
        self.ir.end(Terminal::Dispatch);
        Next::End
    }
}

/// Registers with fast paths.
const NZCV: u16 = id(3, 3, 4, 2, 0);
const TPIDR_EL0: u16 = id(3, 3, 13, 0, 2);
const TPIDRRO_EL0: u16 = id(3, 3, 13, 0, 3);
const TPIDR_EL1: u16 = id(3, 0, 13, 0, 4);
const ELR_EL1: u16 = id(3, 0, 4, 0, 1);
const SP_EL0: u16 = id(3, 0, 4, 1, 0);
