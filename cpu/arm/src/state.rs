//! The state of a processing element: registers first, in the order that slots give them, then its wires.

use crate::integer_helpers::PacCache;
use crate::model::Model;
use crate::sysreg::SystemRegisters;
use crate::wires::Wires;
use serde::{Deserialize, Serialize};
use std::mem::offset_of;
use tcg::{Slot, Ty};

/// Exception levels are numbers 0 to 3 here; only 0 and 1 are implemented.
pub const LEVELS: usize = 4;

/// One processing element. The part before `pstate` is addressed by translated code, and the two registers that have slots
/// behind it.
#[repr(C, align(16))]
pub struct Cpu {
    /// X0 to X30.
    pub x: [u64; 31],
    /// The stack pointer in use.
    pub sp: u64,
    /// V0 to V31.
    pub v: [u128; 32],
    /// The program counter.
    pub pc: u64,
    /// PSTATE.N, 0 or 1.
    pub n: u64,
    /// PSTATE.Z, 0 or 1.
    pub z: u64,
    /// PSTATE.C, 0 or 1.
    pub c: u64,
    /// PSTATE.V, 0 or 1.
    pub vf: u64,
    /// Address that the local monitor holds exclusively, [`NOT_EXCLUSIVE`] for none.
    pub exclusive_addr: u64,
    /// What was loaded from there, low and high doubleword.
    pub exclusive_low: u64,
    pub exclusive_high: u64,
    /// TPIDR_EL0, TPIDRRO_EL0 and TPIDR_EL1: read often enough to be slots.
    pub tpidr_el0: u64,
    pub tpidrro_el0: u64,
    pub tpidr_el1: u64,
    /// PSTATE.BTYPE, 0 to 3.
    pub btype: u64,
    /// The rest of PSTATE.
    pub pstate: Pstate,
    /// Stack pointers of the exception levels that are not in use.
    pub sp_el: [u64; LEVELS],
    /// Exception link registers by level.
    pub elr: [u64; LEVELS],
    /// Saved program status registers by level.
    pub spsr: [u64; LEVELS],
    /// FPCR as the guest wrote it.
    pub fpcr: u64,
    /// FPSR: the sticky flags.
    pub fpsr: u64,
    /// All other system registers.
    pub sys: SystemRegisters,
    /// Pointer authentication codes computed last; a pure cache, not part of the state.
    pub pac_cache: PacCache,
    /// A translation with the guarded attribute was ever used.
    pub guarded_seen: bool,
    /// The mode bits that translation depends on, kept up to date by [`Cpu::update_mode`].
    pub mode: u64,
    /// The event register of WFE.
    pub event: bool,
    /// Switched off by PSCI CPU_OFF: no interrupt wakes it.
    pub off: bool,
    /// Whether EL1 may have executed a page of one address space only, so that its code must not outlive a change of
    /// ASID.
    pub local_kernel_code: bool,
    /// What the processor is.
    pub model: Model,
    /// Connections to the machine.
    pub wires: Wires,
}

/// `exclusive_addr` when nothing is held: no exclusive access is made there, being misaligned.
pub const NOT_EXCLUSIVE: u64 = u64::MAX;

/// PSTATE but for the flags and BTYPE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pstate {
    /// Current exception level.
    pub el: u8,
    /// SP_ELx rather than SP_EL0 is in use.
    pub spsel: bool,
    /// Masks of debug exceptions, SErrors, IRQs and FIQs in bits 3 to 0.
    pub daif: u8,
    /// Software step.
    pub ss: bool,
    /// Illegal execution state.
    pub il: bool,
    pub pan: bool,
    pub uao: bool,
    pub dit: bool,
    pub ssbs: bool,
}

macro_rules! slots {
    ($($name:ident: $field:ident),* $(,)?) => { $(
        #[doc = concat!("The slot of `", stringify!($field), "`.")]
        pub const $name: Slot = Slot(offset_of!(Cpu, $field) as u16, Ty::I64);
    )* };
}
slots! {
    SP: sp, PC: pc, N: n, Z: z, C: c, V: vf,
    EXCLUSIVE_ADDR: exclusive_addr, EXCLUSIVE_LOW: exclusive_low, EXCLUSIVE_HIGH: exclusive_high,
    TPIDR_EL0: tpidr_el0, TPIDRRO_EL0: tpidrro_el0, TPIDR_EL1: tpidr_el1, BTYPE: btype,
}

/// The slot of SP_EL0 while another stack pointer is in use.
pub const SP_EL0: Slot = Slot(offset_of!(Cpu, sp_el) as u16, Ty::I64);
/// The slot of ELR_EL1.
pub const ELR_EL1: Slot = Slot((offset_of!(Cpu, elr) + 8) as u16, Ty::I64);

/// The slot of X`n`, n at most 30.
pub const fn x(n: u8) -> Slot {
    Slot((offset_of!(Cpu, x) + n as usize * 8) as u16, Ty::I64)
}

/// The slot of V`n`.
pub const fn q(n: u8) -> Slot {
    Slot((offset_of!(Cpu, v) + n as usize * 16) as u16, Ty::V128)
}

/// Every slot by name.
pub static SLOTS: &[(&str, Slot)] = &[
    ("x0", x(0)),
    ("x1", x(1)),
    ("x2", x(2)),
    ("x3", x(3)),
    ("x4", x(4)),
    ("x5", x(5)),
    ("x6", x(6)),
    ("x7", x(7)),
    ("x8", x(8)),
    ("x9", x(9)),
    ("x10", x(10)),
    ("x11", x(11)),
    ("x12", x(12)),
    ("x13", x(13)),
    ("x14", x(14)),
    ("x15", x(15)),
    ("x16", x(16)),
    ("x17", x(17)),
    ("x18", x(18)),
    ("x19", x(19)),
    ("x20", x(20)),
    ("x21", x(21)),
    ("x22", x(22)),
    ("x23", x(23)),
    ("x24", x(24)),
    ("x25", x(25)),
    ("x26", x(26)),
    ("x27", x(27)),
    ("x28", x(28)),
    ("x29", x(29)),
    ("x30", x(30)),
    ("sp", SP),
    ("q0", q(0)),
    ("q1", q(1)),
    ("q2", q(2)),
    ("q3", q(3)),
    ("q4", q(4)),
    ("q5", q(5)),
    ("q6", q(6)),
    ("q7", q(7)),
    ("q8", q(8)),
    ("q9", q(9)),
    ("q10", q(10)),
    ("q11", q(11)),
    ("q12", q(12)),
    ("q13", q(13)),
    ("q14", q(14)),
    ("q15", q(15)),
    ("q16", q(16)),
    ("q17", q(17)),
    ("q18", q(18)),
    ("q19", q(19)),
    ("q20", q(20)),
    ("q21", q(21)),
    ("q22", q(22)),
    ("q23", q(23)),
    ("q24", q(24)),
    ("q25", q(25)),
    ("q26", q(26)),
    ("q27", q(27)),
    ("q28", q(28)),
    ("q29", q(29)),
    ("q30", q(30)),
    ("q31", q(31)),
    ("pc", PC),
    ("n", N),
    ("z", Z),
    ("c", C),
    ("v", V),
    ("exclusive_addr", EXCLUSIVE_ADDR),
    ("exclusive_low", EXCLUSIVE_LOW),
    ("exclusive_high", EXCLUSIVE_HIGH),
    ("tpidr_el0", TPIDR_EL0),
    ("tpidrro_el0", TPIDRRO_EL0),
    ("tpidr_el1", TPIDR_EL1),
    ("btype", BTYPE),
    ("sp_el0", SP_EL0),
    ("elr_el1", ELR_EL1),
];

impl Cpu {
    /// PSTATE.NZCV in bits 31 to 28.
    pub fn nzcv(&self) -> u64 {
        (self.n << 31) | (self.z << 30) | (self.c << 29) | (self.vf << 28)
    }

    /// Sets PSTATE.NZCV from bits 31 to 28.
    pub fn set_nzcv(&mut self, value: u64) {
        self.n = value >> 31 & 1;
        self.z = value >> 30 & 1;
        self.c = value >> 29 & 1;
        self.vf = value >> 28 & 1;
    }

    /// Whose stack pointer `sp` is: the number of the level.
    fn sp_bank(&self) -> usize {
        if self.pstate.spsel { usize::from(self.pstate.el) % LEVELS } else { 0 }
    }

    /// Changes the exception level and the stack pointer selection, exchanging stack pointers.
    pub fn set_level(&mut self, el: u8, spsel: bool) {
        let bank = self.sp_bank();
        self.sp_el[bank] = self.sp;
        self.pstate.el = el;
        self.pstate.spsel = spsel;
        self.sp = self.sp_el[self.sp_bank()];
    }

    /// SP_EL`el` as MRS reads it.
    pub fn sp_of(&self, el: usize) -> u64 {
        if el == self.sp_bank() { self.sp } else { self.sp_el[el % LEVELS] }
    }

    /// Sets SP_EL`el`.
    pub fn set_sp_of(&mut self, el: usize, value: u64) {
        if el == self.sp_bank() {
            self.sp = value;
        } else {
            self.sp_el[el % LEVELS] = value;
        }
    }
}
