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
    const fn at_level(self, el: u8) -> Self {
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
        let syndrome = exception.syndrome.at_level(el);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CODE, Machine, RAM, VECTORS};
    use vm::IrqSink;

    /// A machine at a level with a stack pointer selection.
    fn machine(el: u8, spsel: bool) -> Machine {
        let mut m = Machine::new("max");
        m.cpu().set_level(el, spsel);
        m.cpu().pstate.daif = 0;
        m.cpu().update_mode();
        m
    }

    const LEVELS: [(u8, bool, u64); 3] = [(0, false, 0x400), (1, false, 0), (1, true, 0x200)];

    #[test]
    fn instructions_raise_with_their_syndrome_and_return_address() {
        // Instruction; ESR from EL0, from EL1; distance of the return address.
        let rows = [
            (0xd400_0541, 0x5600_002a, 0x5600_002a, 4), // svc #42
            (0xd420_0020, 0xf200_0001, 0xf200_0001, 0), // brk #1
            (0x0000_0000, 0x0200_0000, 0x0200_0000, 0), // udf
            (0xd440_0000, 0x0200_0000, 0x0200_0000, 0), // hlt
            (0xd538_0000, 0x0200_0000, 0, 0),           // mrs x0, midr_el1
            (0xd53b_0020, 0x6232_c001, 0, 0),           // mrs x0, ctr_el0
            (0xd53b_e043, 0x6234_f861, 0, 0),           // mrs x3, cntvct_el0
            (0xd503_40df, 0x620c_d3e0, 0, 0),           // msr daifset, #0
            (0xd50b_7420, 0x6212_dc08, 0, 0),           // dc zva, x0
        ];
        for (word, from_el0, from_el1, distance) in rows {
            for (el, spsel, group) in LEVELS {
                let esr = if el == 0 { from_el0 } else { from_el1 };
                let mut m = machine(el, spsel);
                let before = m.cpu().spsr_now();
                if esr == 0 {
                    continue;
                }
                m.run_words(&[word]);
                assert_eq!(m.cpu().sys.esr_el1, esr, "{word:#x} at EL{el}");
                assert_eq!(m.cpu().pc, VECTORS + group, "{word:#x} at EL{el}");
                assert_eq!((m.cpu().elr[1], m.cpu().spsr[1]), (CODE + distance, before), "{word:#x}");
            }
        }
    }

    #[test]
    fn aborts_have_a_class_for_each_level() {
        // Loads and stores of x1 at x0; ESR without the level's bit of the class.
        let rows = [
            (0xf940_0001, 0x7000_0000, 0x9200_0010), // ldr x1, [x0]: nothing answers
            (0xf900_0001, 0x7000_0000, 0x9200_0050), // str x1, [x0]
            (0xf940_0001, RAM + 1, 0x9200_0021),     // misaligned, the MMU being off
            (0xf900_0001, RAM + 1, 0x9200_0061),
            (0xf940_0001, 1 << 50, 0x9200_0000), // beyond the physical address size
        ];
        for (word, address, esr) in rows {
            for (el, spsel, group) in LEVELS {
                let mut m = machine(el, spsel);
                m.cpu().x[0] = address;
                m.run_words(&[word]);
                let class_bit = u64::from(el) << 26;
                assert_eq!(m.cpu().sys.esr_el1, esr | class_bit, "{word:#x} {address:#x}");
                assert_eq!((m.cpu().sys.far_el1, m.cpu().pc), (address, VECTORS + group));
            }
        }
    }

    #[test]
    fn fetches_abort_and_must_be_aligned() {
        for (el, spsel, group) in LEVELS {
            for (pc, esr) in [(0x7000_0000, 0x8200_0010 | u64::from(el) << 26), (CODE + 2, 0x8a00_0000)] {
                let mut m = machine(el, spsel);
                m.cpu().pc = pc;
                m.step(1);
                assert_eq!((m.cpu().sys.esr_el1, m.cpu().sys.far_el1), (esr, pc));
                assert_eq!((m.cpu().pc, m.cpu().elr[1]), (VECTORS + group, pc));
            }
        }
    }

    #[test]
    fn an_indirect_branch_may_lead_to_a_misaligned_address() {
        let mut m = machine(1, true);
        m.cpu().x[0] = CODE + 0x102;
        m.write_words(CODE, &[0xd61f_0000]); // br x0
        m.step(2);
        assert_eq!(
            (m.cpu().sys.esr_el1, m.cpu().sys.far_el1, m.cpu().elr[1]),
            (0x8a00_0000, CODE + 0x102, CODE + 0x102)
        );
    }

    #[test]
    fn entry_changes_pstate() {
        let mut m = machine(0, false);
        // SPAN and DSSBS decide what PAN and SSBS become.
        for (sctlr, pan, ssbs) in [(0, true, false), (1 << 23, false, false), (1 << 44 | 1 << 23, false, true)] {
            let cpu = m.cpu();
            cpu.set_level(0, false);
            cpu.set_nzcv(0xa000_0000);
            cpu.btype = 2;
            let p = &mut cpu.pstate;
            (p.uao, p.dit, p.il, p.ss, p.pan, p.ssbs, p.daif) = (true, true, true, true, false, false, 4);
            cpu.sys.sctlr_el1 = sctlr;
            cpu.take(Exception { syndrome: Syndrome::undefined(), far: None });
            assert_eq!(cpu.spsr[1], 0xa1b0_0900, "DIT UAO SS IL BTYPE A");
            let p = cpu.pstate;
            assert_eq!((p.el, p.spsel, p.daif, p.ss, p.il, p.uao, p.dit), (1, true, 0xf, false, false, false, true));
            assert_eq!((p.pan, p.ssbs, cpu.btype, cpu.nzcv()), (pan, ssbs, 0, 0xa000_0000));
        }
        // Without the features nothing of them is set.
        let mut m = Machine::new("cortex-a53");
        m.cpu().sys.sctlr_el1 = 1 << 44;
        m.cpu().take(Exception { syndrome: Syndrome::undefined(), far: None });
        assert!(!m.cpu().pstate.pan && !m.cpu().pstate.ssbs);
    }

    #[test]
    fn interrupts_heed_their_masks() {
        // IRQ, FIQ pins, DAIF; offset of the vector taken.
        let rows = [
            (true, false, 0, Some(0x80)),
            (false, true, 0, Some(0x100)),
            (true, true, 0, Some(0x100)),
            (true, true, 1, Some(0x80)),
            (true, true, 2, Some(0x100)),
            (true, true, 3, None),
            (true, false, 2, None),
            (true, false, 0xd, Some(0x80)),
        ];
        for (irq, fiq, daif, vector) in rows {
            for (el, spsel, group) in LEVELS {
                let mut m = machine(el, spsel);
                m.cpu().pstate.daif = daif;
                m.pins.set_pin(PIN_IRQ, irq);
                m.pins.set_pin(PIN_FIQ, fiq);
                m.step(0);
                assert_eq!(m.cpu().pc, vector.map_or(CODE, |v| VECTORS + group + v), "{irq} {fiq} {daif:#x}");
                if vector.is_some() {
                    assert_eq!((m.cpu().elr[1], m.cpu().pstate.daif), (CODE, 0xf));
                }
            }
        }
    }

    #[test]
    fn eret_returns_or_marks_the_state_illegal() {
        // SPSR; level and selection returned to, `None` for an illegal return.
        let rows = [
            (0x0, Some((0, false))),
            (0x4, Some((1, false))),
            (0x5, Some((1, true))),
            (0x6000_0005, Some((1, true))),
            (0x1, None),  // EL0 has no SPx
            (0x2, None),  // reserved
            (0x6, None),  // reserved
            (0x8, None),  // EL2
            (0x9, None),  // EL2
            (0xd, None),  // EL3
            (0x10, None), // AArch32 user
            (0x13, None), // AArch32 supervisor
        ];
        for (spsr, to) in rows {
            let mut m = machine(1, true);
            m.cpu().spsr[1] = spsr | 0x3c0;
            m.cpu().elr[1] = CODE + 0x100;
            m.cpu().exclusive_addr = RAM;
            m.run_words(&[0xd69f_03e0]);
            let p = m.cpu().pstate;
            assert_eq!((m.cpu().pc, m.cpu().exclusive_addr), (CODE + 0x100, NOT_EXCLUSIVE));
            assert_eq!((p.il, p.daif, m.cpu().nzcv()), (to.is_none(), 0xf, spsr & 0xf000_0000), "{spsr:#x}");
            assert_eq!((p.el, p.spsel), to.unwrap_or((1, true)), "{spsr:#x}");
            if to.is_none() {
                m.step(1);
                assert_eq!((m.cpu().sys.esr_el1, m.cpu().spsr[1] >> 20 & 1), (0x3a00_0000, 1));
            }
        }
        let mut m = machine(0, false);
        m.run_words(&[0xd69f_03e0]);
        assert_eq!(m.cpu().sys.esr_el1, 0x0200_0000, "ERET at EL0");
    }

    #[test]
    fn a_return_drops_the_tag_of_its_address() {
        let mut m = machine(1, true);
        for (tcr, target, pc) in [
            (0, 0xaa00_0000_0000_1000, 0xaa00_0000_0000_1000),
            (1 << 37, 0xaa00_0000_0000_1000, 0x1000),
            (1 << 37, 0xaa80_0000_0000_1000, 0xaa80_0000_0000_1000),
            (1 << 38, 0xaa80_0000_0000_1000, 0xff80_0000_0000_1000),
            (1 << 38 | 1 << 52, 0xaa80_0000_0000_1000, 0xaa80_0000_0000_1000),
        ] {
            m.cpu().sys.tcr_el1 = tcr;
            assert_eq!(m.cpu().branch_address(target), pc);
        }
    }

    #[test]
    fn software_step_takes_one_instruction_at_a_time() {
        let mut m = machine(1, true);
        m.write_words(CODE, &[0xd69f_03e0]); // eret
        // add x1, x1, #1; b .+8; udf; svc #0
        m.write_words(CODE + 0x100, &[0x9100_0421, 0x1400_0002, 0, 0xd400_0001]);
        m.cpu().sys.oslsr_el1 = 8;
        m.cpu().sys.mdscr_el1 = 1;
        m.cpu().update_mode();
        m.cpu().elr[1] = CODE + 0x100;
        // Each step: return with SS set, execute one, trap with SS clear.
        for (n, next) in [(1, 0x104), (1, 0x10c)] {
            m.cpu().spsr[1] = 1 << 21;
            m.cpu().pc = CODE;
            m.step(3);
            assert_eq!((m.cpu().x[1], m.cpu().elr[1]), (n, CODE + next));
            assert_eq!((m.cpu().sys.esr_el1, m.cpu().spsr[1] & 1 << 21), (0xca00_0022, 0));
            assert_eq!(m.cpu().pc, VECTORS + 0x400);
        }
        // The stepped SVC is taken, with the step complete.
        m.cpu().spsr[1] = 1 << 21;
        m.cpu().pc = CODE;
        m.step(2);
        assert_eq!((m.cpu().sys.esr_el1, m.cpu().spsr[1] & 1 << 21), (0x5600_0000, 0));
        // Returning without SS traps before the instruction.
        m.cpu().elr[1] = CODE + 0x100;
        m.cpu().spsr[1] = 0;
        m.cpu().pc = CODE;
        m.step(2);
        assert_eq!((m.cpu().x[1], m.cpu().elr[1], m.cpu().sys.esr_el1), (1, CODE + 0x100, 0xca00_0022));
    }
}
