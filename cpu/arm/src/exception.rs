//! Exceptions: their syndromes, how an instruction raises one, how EL1 takes it and returns from it (Arm ARM DDI 0487,
//! D1 "The AArch64 System Level Programmers' Model").

use crate::features::Feature;
use crate::frontend::{Arm, Env};
use crate::mmu::Fault;
use crate::state::{Cpu, NOT_EXCLUSIVE};
use crate::wiring::{PIN_FIQ, PIN_IRQ};
use tcg::Helper;
use tcg::ir::HelperId;
use vm::log;
use vm::vcpu::Intent;

/// The helper that raises the exception whose syndrome it is given.
pub const RAISE: HelperId = HelperId(0);

/// Exception classes.
mod class {
    pub const SVC: u64 = 0x15;
    pub const HVC: u64 = 0x16;
    pub const FETCH_ABORT: u64 = 0x20;
    pub const PC_ALIGNMENT: u64 = 0x22;
    pub const DATA_ABORT: u64 = 0x24;
}

/// Fault status codes beside those of translation.
const STATUS_EXTERNAL: u64 = 0x10;
const STATUS_ALIGNMENT: u64 = 0x21;

/// Bits of PSTATE.DAIF as [`Pstate::daif`](crate::state::Pstate) holds it.
const MASK_D: u8 = 8;
const MASK_I: u8 = 2;
const MASK_F: u8 = 1;

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
    /// WFI or WFE trapped by SCTLR_EL1.nTWI or nTWE.
    pub const fn wait(event: bool) -> Self {
        // CV set, COND 14: always.
        Self::new(0x01, 1 << 24 | 0xe << 20 | event as u64)
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
    /// SVC.
    pub const fn svc(imm16: u16) -> Self {
        Self::new(class::SVC, imm16 as u64)
    }
    /// MSR, MRS or a system instruction trapped by a control bit of EL1; `iss` as [`crate::sysreg::trap_iss`] makes it.
    pub const fn system(iss: u64) -> Self {
        Self::new(0x18, iss)
    }
    /// PC alignment fault.
    pub const fn pc_alignment() -> Self {
        Self::new(class::PC_ALIGNMENT, 0)
    }
    /// SP alignment fault.
    pub const fn sp_alignment() -> Self {
        Self::new(0x26, 0)
    }
    /// Software Step before an instruction.
    pub const fn software_step() -> Self {
        Self::new(0x32, 0x22)
    }
    /// BRK.
    pub const fn brk(imm16: u16) -> Self {
        Self::new(0x3c, imm16 as u64)
    }
    /// The exception class.
    pub const fn class(self) -> u64 {
        self.0 >> 26 & 0x3f
    }
    /// This syndrome if the exception comes from EL0, that of the next class if from EL1: aborts, Software Step and
    /// their kind have a class for each.
    const fn from_level(self, el: u8) -> Self {
        match self.class() {
            class::FETCH_ABORT | class::DATA_ABORT | 0x32 if el != 0 => Syndrome(self.0 + (1 << 26)),
            _ => self,
        }
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

impl Exception {
    /// An abort with a fault status code. Its class says EL0 as origin until it is taken.
    fn abort(status: u64, va: u64, intent: Intent) -> Exception {
        let syndrome = match intent {
            Intent::Fetch => Syndrome::new(class::FETCH_ABORT, status),
            Intent::Read => Syndrome::new(class::DATA_ABORT, status),
            Intent::Write => Syndrome::new(class::DATA_ABORT, status | 1 << 6),
        };
        Exception { syndrome, far: Some(va) }
    }

    /// A translation failed.
    pub fn of_fault(fault: Fault, va: u64, intent: Intent) -> Exception {
        Self::abort(fault.status(), va, intent)
    }

    /// A cache maintenance or address translation instruction failed: CM is set, and WnR with it.
    pub fn of_maintenance(fault: Fault, va: u64) -> Exception {
        let mut exception = Self::abort(fault.status(), va, Intent::Write);
        exception.syndrome.0 |= 1 << 8;
        exception
    }

    /// A misaligned data access.
    pub fn misaligned(va: u64, intent: Intent) -> Exception {
        Self::abort(STATUS_ALIGNMENT, va, intent)
    }

    /// Nothing on the bus answered.
    pub fn bus_error(va: u64, intent: Intent) -> Exception {
        Self::abort(STATUS_EXTERNAL, va, intent)
    }

    /// The program counter is no multiple of 4.
    pub fn pc_alignment(pc: u64) -> Exception {
        Exception { syndrome: Syndrome::pc_alignment(), far: Some(pc) }
    }
}

pub(crate) extern "C" fn raise(env: &mut Env, syndrome: u64) -> u64 {
    let syndrome = Syndrome(syndrome);
    let far = (syndrome.class() == class::PC_ALIGNMENT).then_some(env.cpu.pc);
    env.raise(Exception { syndrome, far });
    0
}

/// Helpers of the system part, numbered from 0; the numbers below [`SYSTEM_HELPERS`] are theirs.
pub static HELPERS: &[Helper<Arm>] = crate::helpers::HELPERS;
/// Numbers set aside for helpers of the system part.
pub const SYSTEM_HELPERS: usize = 256;

/// Offsets into the vector table within each group of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vector {
    Synchronous = 0,
    Irq = 0x80,
    Fiq = 0x100,
}

impl Cpu {
    /// PSTATE in the format of SPSR_EL1 (D17.2.140).
    pub fn spsr_now(&self) -> u64 {
        let p = &self.pstate;
        let bit = |on: bool, n: u32| u64::from(on) << n;
        self.nzcv()
            | bit(p.dit, 24)
            | bit(p.uao, 23)
            | bit(p.pan, 22)
            | bit(p.ss, 21)
            | bit(p.il, 20)
            | bit(p.ssbs, 12)
            | (self.btype & 3) << 10
            | u64::from(p.daif & 0xf) << 6
            | u64::from(p.el & 3) << 2
            | u64::from(p.spsel)
    }

    /// Sets the fields of PSTATE that a return takes from an SPSR whatever else it does.
    fn set_fields_from_spsr(&mut self, spsr: u64) {
        let features = self.model.features;
        let bit = |n: u32, feature| spsr >> n & 1 != 0 && features.has(feature);
        self.set_nzcv(spsr);
        self.pstate.dit = bit(24, Feature::DIT);
        self.pstate.uao = bit(23, Feature::UAO);
        self.pstate.pan = bit(22, Feature::PAN);
        self.pstate.ssbs = bit(12, Feature::SSBS);
        self.pstate.daif = (spsr >> 6 & 0xf) as u8;
        self.btype = if features.has(Feature::BTI) { spsr >> 10 & 3 } else { 0 };
    }

    /// Sets all of PSTATE, for a debugger; an impossible level is left alone.
    pub fn set_spsr_now(&mut self, spsr: u64) {
        self.set_fields_from_spsr(spsr);
        self.pstate.ss = spsr >> 21 & 1 != 0;
        self.pstate.il = spsr >> 20 & 1 != 0;
        if let Some((el, spsel)) = return_target(spsr, 1) {
            self.set_level(el, spsel);
        }
        self.update_mode();
    }

    /// Enters a vector of EL1: saves the return state and changes PSTATE (`AArch64.TakeException`).
    fn enter(&mut self, vector: Vector, return_address: u64) {
        let from = self.pstate;
        let group = match (from.el, from.spsel) {
            (0, _) => 0x400,
            (_, true) => 0x200,
            (_, false) => 0,
        };
        self.spsr[1] = self.spsr_now();
        self.elr[1] = return_address;
        self.set_level(1, true);
        let sctlr = self.sys.sctlr_el1;
        let features = self.model.features;
        let p = &mut self.pstate;
        p.daif = 0xf;
        p.ss = false;
        p.il = false;
        p.uao = false;
        // SPAN (bit 23) clear sets PAN; DSSBS (bit 44) is what SSBS becomes.
        p.pan |= features.has(Feature::PAN) && sctlr >> 23 & 1 == 0;
        p.ssbs = features.has(Feature::SSBS) && sctlr >> 44 & 1 != 0;
        self.btype = 0;
        self.pc = self.sys.vbar_el1.wrapping_add(group + vector as u64);
        self.update_mode();
    }

    /// Takes a synchronous exception of the instruction at the program counter to EL1.
    pub fn take(&mut self, exception: Exception) {
        let el = self.pstate.el;
        let syndrome = exception.syndrome.from_level(el);
        let mut return_address = self.pc;
        if matches!(syndrome.class(), class::SVC | class::HVC) {
            // These return to the next instruction; the step over them is complete (`SSAdvance`).
            return_address = return_address.wrapping_add(4);
            self.pstate.ss = false;
        }
        log!(
            Int,
            "cpu {}: exception class {:#04x} from EL{el} to EL1 at {:#x}, ESR {:#010x}, FAR {:#x}",
            self.wires.id,
            syndrome.class(),
            self.pc,
            syndrome.0,
            exception.far.unwrap_or(self.sys.far_el1)
        );
        self.sys.esr_el1 = syndrome.0;
        if let Some(far) = exception.far {
            self.sys.far_el1 = far;
        }
        self.enter(Vector::Synchronous, return_address);
    }

    /// Takes an interrupt if one is pending and not masked.
    pub fn interrupt(&mut self, pins: u32) -> bool {
        if self.off {
            return false;
        }
        let pending = |pin: u32, mask: u8| pins >> pin & 1 != 0 && self.pstate.daif & mask == 0;
        let (vector, name) = if pending(PIN_FIQ, MASK_F) {
            (Vector::Fiq, "FIQ")
        } else if pending(PIN_IRQ, MASK_I) {
            (Vector::Irq, "IRQ")
        } else {
            return false;
        };
        log!(Int, "cpu {}: {name} from EL{} to EL1 at {:#x}", self.wires.id, self.pstate.el, self.pc);
        self.enter(vector, self.pc);
        true
    }

    /// Returns from an exception to `target` with the state of SPSR_EL1 (`AArch64.ExceptionReturn`).
    pub fn exception_return(&mut self, target: u64) {
        let spsr = self.spsr[1];
        let stepping_here = self.debug_exceptions_allowed(self.pstate.el, self.pstate.daif & MASK_D != 0);
        let to = return_target(spsr, self.pstate.el);
        self.set_fields_from_spsr(spsr);
        match to {
            Some((el, spsel)) => {
                self.set_level(el, spsel);
                self.pstate.il = spsr >> 20 & 1 != 0;
            }
            None => self.pstate.il = true,
        }
        // Stepping begins with a return from where it is not allowed to where it is (`DebugExceptionReturnSS`).
        let stepping_there = self.debug_exceptions_allowed(self.pstate.el, spsr >> 9 & 1 != 0);
        self.pstate.ss = self.sys.mdscr_el1 & 1 != 0 && !stepping_here && stepping_there && spsr >> 21 & 1 != 0;
        self.exclusive_addr = NOT_EXCLUSIVE;
        self.pc = self.branch_address(target);
        self.update_mode();
        log!(
            Int,
            "cpu {}: exception return to EL{} at {:#x}{}",
            self.wires.id,
            self.pstate.el,
            self.pc,
            if self.pstate.il { ", illegal" } else { "" }
        );
    }

    /// An address as a branch at the current level takes it: without its tag (`AArch64.BranchAddr`).
    pub fn branch_address(&self, target: u64) -> u64 {
        let high = target >> 55 & 1;
        let tcr = self.sys.tcr_el1;
        if tcr >> (37 + high) & 1 != 0 && tcr >> (51 + high) & 1 == 0 {
            target & u64::MAX >> 8 | if high != 0 { 0xff << 56 } else { 0 }
        } else {
            target
        }
    }
}

/// The level and stack pointer selection that an exception return from `el` leads to; `None` if it is illegal: to a
/// higher level, to AArch32, or to a state that does not exist (D1.3.4 "Illegal exception returns").
fn return_target(spsr: u64, el: u8) -> Option<(u8, bool)> {
    let (target, spsel) = ((spsr >> 2 & 3) as u8, spsr & 1 != 0);
    let legal = spsr & 0x12 == 0 && target <= el.min(1) && !(target == 0 && spsel);
    legal.then_some((target, spsel))
}
