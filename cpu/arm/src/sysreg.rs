//! System registers: their storage, and one row for each that says who may access it and what that does (Arm ARM DDI
//! 0487, D17 "AArch64 System Register Descriptions"). To add one: a row in [`REGISTERS`], a field in
//! [`SystemRegisters`] if it keeps a value.

mod icc;
mod rows;
#[cfg(test)]
mod tests;

pub use icc::icc_direction;
pub use rows::{REGISTERS, sctlr};

use crate::features::{Feature, Features};
use crate::generic_timer::TimerRegs;
use crate::pmu::PmuRegs;
use crate::state::Cpu;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Hardware breakpoints and watchpoints: as many as the architecture asks for at least.
pub const BREAKPOINTS: usize = 2;

/// System registers without a place of their own in [`Cpu`].
#[allow(missing_docs)]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRegisters {
    pub sctlr_el1: u64,
    pub cpacr_el1: u64,
    pub ttbr0_el1: u64,
    pub ttbr1_el1: u64,
    pub tcr_el1: u64,
    pub mair_el1: u64,
    pub esr_el1: u64,
    pub far_el1: u64,
    pub vbar_el1: u64,
    pub contextidr_el1: u64,
    pub par_el1: u64,
    pub cntkctl_el1: u64,
    pub csselr_el1: u64,
    pub mdscr_el1: u64,
    pub mdccint_el1: u64,
    pub oslsr_el1: u64,
    pub osdlr_el1: u64,
    pub osdtr: [u64; 2],
    pub oseccr_el1: u64,
    pub dbgclaim: u64,
    pub dbgbvr: [u64; BREAKPOINTS],
    pub dbgbcr: [u64; BREAKPOINTS],
    pub dbgwvr: [u64; BREAKPOINTS],
    pub dbgwcr: [u64; BREAKPOINTS],
    pub disr_el1: u64,
    /// Keys APIA, APIB, APDA, APDB, APGA, each low half first.
    pub pac_keys: [[u64; 2]; 5],
    /// LORSA_EL1, LOREA_EL1, LORN_EL1, LORC_EL1.
    pub lor: [u64; 4],
    /// The physical and the virtual timer.
    pub timers: [TimerRegs; 2],
    pub pmu: PmuRegs,
}

impl SystemRegisters {
    /// Whether the OS lock is set (OSLSR_EL1.OSLK).
    pub fn oslar_locked(&self) -> bool {
        self.oslsr_el1 & 2 != 0
    }
}

/// `op0:op1:CRn:CRm:op2` as MRS encodes it, `op0` in bits 15 and 14.
pub const fn id(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// FPSR's encoding.
pub const FPSR: u16 = id(3, 3, 4, 4, 1);

/// The ISS of a trapped access to a register or system instruction by register `rt` (D17.2.37, "ISS encoding for an
/// exception from MSR, MRS, or System instruction execution in AArch64 state").
pub const fn trap_iss(id: u16, rt: u8, read: bool) -> u64 {
    let id = id as u64;
    (id >> 14 & 3) << 20
        | (id & 7) << 17
        | (id >> 11 & 7) << 14
        | (id >> 7 & 15) << 10
        | (rt as u64) << 5
        | (id >> 3 & 15) << 1
        | read as u64
}

/// What becomes of an access from EL0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    Yes,
    /// A trap to EL1 with class 0x18.
    Trap,
    Undefined,
}

/// Who may access a register from EL0.
#[derive(Clone, Copy)]
pub enum User {
    /// Nobody: UNDEFINED.
    No,
    /// Anybody.
    All,
    /// Anybody may read.
    Read,
    /// Anybody, if floating-point is enabled; the same holds for EL1.
    Fp,
    /// What the state says; the flag is true for a write.
    If(fn(&Cpu, bool) -> Grant),
}

/// What must follow a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// The engine looks at the mode and at interrupts anew.
    Resync,
    /// All translations are forgotten if the value changed.
    Flush,
    /// The ASID may have changed.
    Asid,
}

/// One system register.
pub struct Register {
    /// Its name in lower case.
    pub name: &'static str,
    /// Its encoding, see [`id`].
    pub id: u16,
    /// It exists only with this feature.
    pub feature: Option<Feature>,
    /// Access from EL0.
    pub user: User,
    /// Reads it; `None` when it is write-only.
    pub read: Option<fn(&Cpu) -> u64>,
    /// Writes it; `None` when it is read-only.
    pub write: Option<fn(&mut Cpu, u64)>,
    /// What a write entails.
    pub after: After,
}

impl Register {
    const fn new(name: &'static str, op1: u16, crn: u16, crm: u16, op2: u16) -> Self {
        Self::of(name, id(3, op1, crn, crm, op2))
    }
    const fn of(name: &'static str, id: u16) -> Self {
        Register { name, id, feature: None, user: User::No, read: None, write: None, after: After::Nothing }
    }
    /// A debug register, `op0` 2.
    const fn debug(name: &'static str, op1: u16, crn: u16, crm: u16, op2: u16) -> Self {
        Self::of(name, id(2, op1, crn, crm, op2))
    }
    const fn ro(mut self, read: fn(&Cpu) -> u64) -> Self {
        self.read = Some(read);
        self
    }
    const fn wo(mut self, write: fn(&mut Cpu, u64)) -> Self {
        self.write = Some(write);
        self
    }
    const fn rw(self, read: fn(&Cpu) -> u64, write: fn(&mut Cpu, u64)) -> Self {
        self.ro(read).wo(write)
    }
    /// Reads as zero, ignores writes.
    const fn raz(self) -> Self {
        self.rw(|_| 0, |_, _| ())
    }
    const fn user(mut self, user: User) -> Self {
        self.user = user;
        self
    }
    const fn feature(mut self, feature: Feature) -> Self {
        self.feature = Some(feature);
        self
    }
    const fn after(mut self, after: After) -> Self {
        self.after = after;
        self
    }

    /// What an access from the current level is allowed to do.
    pub fn grant(&self, cpu: &Cpu, write: bool) -> Grant {
        if cpu.pstate.el != 0 {
            return Grant::Yes;
        }
        match self.user {
            User::No => Grant::Undefined,
            User::All | User::Fp => Grant::Yes,
            User::Read if write => Grant::Undefined,
            User::Read => Grant::Yes,
            User::If(f) => f(cpu, write),
        }
    }
}

static BY_ID: LazyLock<HashMap<u16, u16>> =
    LazyLock::new(|| REGISTERS.iter().enumerate().map(|(n, r)| (r.id, n as u16)).collect());

/// Position in [`REGISTERS`] of the register with this encoding.
pub fn find(id: u16, features: Features) -> Option<usize> {
    let index = usize::from(*BY_ID.get(&id)?);
    let register = REGISTERS.get(index)?;
    register.feature.is_none_or(|f| features.has(f)).then_some(index)
}

/// Whether an encoding lies in the identification space, which reads as zero where nothing is allocated (D17.1.1, "op0
/// == 0b11, op1 == 0, CRn == 0").
pub fn is_id_space(id: u16) -> bool {
    id >> 7 == self::id(3, 0, 0, 0, 0) >> 7 && id >> 3 & 15 != 0
}

/// `S3_0_C1_C0_0`: the name of an encoding without one.
pub fn generic_name(id: u16) -> String {
    format!("S{}_{}_C{}_C{}_{}", id >> 14, id >> 11 & 7, id >> 7 & 15, id >> 3 & 15, id & 7)
}
