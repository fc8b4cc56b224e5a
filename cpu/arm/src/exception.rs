//! Exceptions: their syndromes, how an instruction raises one, and how EL1 takes it (Arm ARM DDI 0487, D1 "The AArch64
//! System Level Programmers' Model").

use crate::frontend::{Arm, Env};
use tcg::ir::HelperId;
use tcg::{Func, Helper};

/// The helper that raises the exception whose syndrome it is given.
pub const RAISE: HelperId = HelperId(0);

/// A value of ESR_ELx: class in bits 31 to 26, IL in 25, the rest specific to the class (D17.2.37 "ESR_EL1").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syndrome(pub u64);

impl Syndrome {
    /// A syndrome of class `ec` for a 32-bit instruction.
    pub const fn new(ec: u64, iss: u64) -> Self {
        Syndrome(ec << 26 | 1 << 25 | iss)
    }
    /// Unknown reason: an UNDEFINED instruction.
    pub const fn undefined() -> Self {
        Self::new(0x00, 0)
    }
    /// Floating-point or SIMD while disabled by CPACR_EL1.
    pub const fn fp_access() -> Self {
        Self::new(0x07, 0x1e << 20)
    }
    /// Illegal Execution state.
    pub const fn illegal_state() -> Self {
        Self::new(0x0e, 0)
    }
    /// A branch to a guarded page that does not land on a landing pad of its `BTYPE`.
    pub const fn branch_target(btype: u64) -> Self {
        Self::new(0x0d, btype)
    }
    /// Software Step before an instruction.
    pub const fn software_step() -> Self {
        Self::new(0x32, 0x22)
    }
}

/// A synchronous exception under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// What ESR_ELx will say.
    pub syndrome: Syndrome,
    /// What FAR_ELx will say, for aborts and alignment faults.
    pub far: Option<u64>,
}

extern "C" fn raise(env: &mut Env, syndrome: u64) -> u64 {
    env.raise(Exception { syndrome: Syndrome(syndrome), far: None });
    0
}

/// Helpers of the system part, numbered from 0.
pub static HELPERS: &[Helper<Arm>] = &[Helper::full("raise", Func::F1(raise))];
