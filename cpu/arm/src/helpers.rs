//! What system instructions do when they are executed.

use crate::exception::{self, Exception, Syndrome};
use crate::features::Feature;
use crate::frontend::{Arm, Env, kernel_space};
use crate::mmu::{self, FaultKind};
use crate::psci;
use crate::state::Cpu;
use crate::sysreg::{self, After, FPSR, Grant, REGISTERS};
use tcg::ir::HelperId;
use tcg::others::Ask;
use tcg::{Func, Helper};
use vm::vcpu::Intent;
use vm::{Gva, log};

macro_rules! helpers {
    ($($id:ident = $number:literal, $kind:ident $arity:ident $function:path;)*) => {
        $(#[doc = concat!("`", stringify!($function), "`")] pub const $id: HelperId = HelperId($number);)*
        /// All of them, in order of their numbers.
        pub static HELPERS: &[Helper<Arm>] =
            &[$(Helper::$kind(stringify!($function), Func::$arity($function))),*];
    };
}
helpers! {
    RAISE = 0, full F1 exception::raise;
    READ_SYSREG = 1, full F2 read_sysreg;
    WRITE_SYSREG = 2, full F3 write_sysreg;
    READ_ICC = 3, full F2 read_icc;
    WRITE_ICC = 4, full F3 write_icc;
    MSR_IMM = 5, full F3 msr_imm;
    ERET = 6, full F1 eret;
    HVC = 7, full F0 hvc;
    WFI = 8, full F1 wfi;
    WFE = 9, full F1 wfe;
    SEV = 10, full F0 sev;
    CHECK_USER = 11, full F2 check_user;
    CACHE = 12, full F2 cache;
    ADDRESS_TRANSLATE = 13, full F2 address_translate;
    TLBI = 14, full F2 tlbi;
    STEP_DONE = 15, full F0 step_done;
    AUTH_RETURN = 16, full F2 auth_return;
    READ_AT_EL1 = 17, plain F2 read_at_el1;
    MASK_INTERRUPTS = 18, plain F1 mask_interrupts;
    GIVE_WAY = 19, plain F0 give_way;
}

fn refuse(env: &mut Env, syndrome: Syndrome) -> u64 {
    env.raise(Exception { syndrome, far: None });
    0
}

/// Raises what a refused access raises; true if it was.
fn refused(env: &mut Env, grant: Grant, iss: u64) -> bool {
    let syndrome = match grant {
        Grant::Yes => return false,
        Grant::Trap => Syndrome::system(iss),
        Grant::Undefined => Syndrome::undefined(),
    };
    refuse(env, syndrome);
    true
}

extern "C" fn read_sysreg(env: &mut Env, index: u64, iss: u64) -> u64 {
    let Some(register) = REGISTERS.get(index as usize) else { return refuse(env, Syndrome::undefined()) };
    if refused(env, register.grant(&env.cpu, false), iss) {
        return 0;
    }
    if register.id == FPSR {
        env.note_float_flags();
    }
    match register.read {
        Some(read) => read(&env.cpu),
        None => refuse(env, Syndrome::undefined()),
    }
}

/// Reads a register that has no slot, where nothing can refuse it.
extern "C" fn read_at_el1(env: &mut Env, index: u64, _iss: u64) -> u64 {
    REGISTERS.get(index as usize).and_then(|register| register.read).map_or(0, |read| read(&env.cpu))
}

/// MSR DAIFSet at EL1 without software step.
extern "C" fn mask_interrupts(env: &mut Env, mask: u64) -> u64 {
    env.cpu.pstate.daif |= (mask & 0xf) as u8;
    0
}

extern "C" fn write_sysreg(env: &mut Env, index: u64, iss: u64, value: u64) -> u64 {
    let Some(register) = REGISTERS.get(index as usize) else { return refuse(env, Syndrome::undefined()) };
    if refused(env, register.grant(&env.cpu, true), iss) {
        return 0;
    }
    let Some(write) = register.write else { return refuse(env, Syndrome::undefined()) };
    if register.id == FPSR {
        env.sync_float_flags();
    }
    match register.after {
        After::Nothing => write(&mut env.cpu, value),
        After::Resync => {
            write(&mut env.cpu, value);
            env.cpu.update_mode();
        }
        After::Flush => {
            let old = register.read.map(|read| read(&env.cpu));
            write(&mut env.cpu, value);
            if register.read.map(|read| read(&env.cpu)) != old {
                env.flush_tlb();
            }
            env.cpu.update_mode();
        }
        After::Asid => {
            // Translations and code are tagged with the ASID; the block ends here, and the loop looks at it anew.
            write(&mut env.cpu, value);
            env.cpu.update_mode();
        }
    }
    0
}

/// An interrupt controller's register, of the processor that executes.
extern "C" fn read_icc(env: &mut Env, id: u64, _iss: u64) -> u64 {
    let vcpu = env.cpu.wires.id;
    match env.cpu.wires.sysregs.find(id as u32).cloned() {
        Some(port) if env.cpu.pstate.el != 0 => port.read(vcpu, id as u32),
        _ => refuse(env, Syndrome::undefined()),
    }
}

extern "C" fn write_icc(env: &mut Env, id: u64, _iss: u64, value: u64) -> u64 {
    let vcpu = env.cpu.wires.id;
    match env.cpu.wires.sysregs.find(id as u32).cloned() {
        Some(port) if env.cpu.pstate.el != 0 => port.write(vcpu, id as u32, value),
        _ => {
            refuse(env, Syndrome::undefined());
        }
    }
    0
}

/// Fields of PSTATE that MSR (immediate) sets, as `op1:op2`.
pub mod field {
    pub const UAO: u64 = 0o03;
    pub const PAN: u64 = 0o04;
    pub const SPSEL: u64 = 0o05;
    pub const SSBS: u64 = 0o31;
    pub const DIT: u64 = 0o32;
    pub const DAIF_SET: u64 = 0o36;
    pub const DAIF_CLEAR: u64 = 0o37;
}

extern "C" fn msr_imm(env: &mut Env, which: u64, imm: u64, iss: u64) -> u64 {
    let cpu = &mut env.cpu;
    let on = imm & 1 != 0;
    let daif = (imm & 0xf) as u8;
    let is_daif = matches!(which, field::DAIF_SET | field::DAIF_CLEAR);
    // SCTLR_EL1.UMA.
    if is_daif && cpu.pstate.el == 0 && cpu.sys.sctlr_el1 >> 9 & 1 == 0 {
        return refuse(env, Syndrome::system(iss));
    }
    match which {
        field::UAO => cpu.pstate.uao = on,
        field::PAN => cpu.pstate.pan = on,
        field::SPSEL => cpu.set_level(cpu.pstate.el, on),
        field::SSBS => cpu.pstate.ssbs = on,
        field::DIT => cpu.pstate.dit = on,
        field::DAIF_SET => cpu.pstate.daif |= daif,
        _ => cpu.pstate.daif &= !daif,
    }
    cpu.update_mode();
    0
}

extern "C" fn eret(env: &mut Env, target: u64) -> u64 {
    env.cpu.exception_return(target);
    0
}

extern "C" fn hvc(env: &mut Env) -> u64 {
    psci::call(env);
    0
}

/// Whether WFI or WFE at EL0 traps (SCTLR_EL1.nTWI is bit 16, nTWE 18).
fn wait_traps(cpu: &Cpu, event: bool) -> bool {
    cpu.pstate.el == 0 && cpu.sys.sctlr_el1 >> (if event { 18 } else { 16 }) & 1 == 0
}

extern "C" fn wfi(env: &mut Env, _unused: u64) -> u64 {
    if wait_traps(&env.cpu, false) {
        return refuse(env, Syndrome::wait(false));
    }
    if env.cpu.wires.pins.levels() == 0 {
        env.halt();
    }
    0
}

/// Deviation: WFE never sleeps; without an event it gives the processor away as YIELD does.
extern "C" fn wfe(env: &mut Env, _unused: u64) -> u64 {
    if !env.cpu.event && wait_traps(&env.cpu, true) {
        return refuse(env, Syndrome::wait(true));
    }
    if !std::mem::take(&mut env.cpu.event) {
        env.give_way();
    }
    0
}

extern "C" fn give_way(env: &mut Env) -> u64 {
    env.give_way();
    0
}

extern "C" fn sev(env: &mut Env) -> u64 {
    env.cpu.event = true;
    0
}

/// Traps an instruction of EL0 unless bit `bit` of SCTLR_EL1 allows it.
extern "C" fn check_user(env: &mut Env, bit: u64, iss: u64) -> u64 {
    let allowed = env.cpu.pstate.el != 0 || env.cpu.sys.sctlr_el1 >> (bit & 63) & 1 != 0;
    refused(env, if allowed { Grant::Yes } else { Grant::Trap }, iss);
    0
}

/// Flag for [`CACHE`]: DC IVAC, which needs the right to write.
pub const CACHE_INVALIDATE: u64 = 1;

/// Cache maintenance by address. Caches are not modelled and always coherent, so that only the faults are left.
extern "C" fn cache(env: &mut Env, va: u64, flags: u64) -> u64 {
    let cpu = &env.cpu;
    let regime = cpu.pstate.el.min(1);
    let intent = if flags & CACHE_INVALIDATE != 0 { Intent::Write } else { Intent::Read };
    if intent == Intent::Read && !cpu.is_visiting() && env.may_load(va, regime) {
        return 0;
    }
    if let Err(fault) = mmu::walk(cpu, env.view(), va, intent, regime) {
        env.raise(Exception::of_maintenance(fault, va));
    }
    0
}

/// Kinds of address translation: regime and intent.
pub fn translation_kind(regime: u8, write: bool) -> u64 {
    u64::from(regime) << 1 | u64::from(write)
}

/// AT: the result goes to PAR_EL1 (D17.2.109 "PAR_EL1").
extern "C" fn address_translate(env: &mut Env, va: u64, kind: u64) -> u64 {
    let intent = if kind & 1 != 0 { Intent::Write } else { Intent::Read };
    let mut regime = (kind >> 1) as u8;
    // The forms for EL1 that heed PAN come as EL1_PAN.
    if regime == mmu::EL1_PAN && !env.cpu.pstate.pan {
        regime = mmu::EL1;
    }
    env.cpu.sys.par_el1 = match mmu::walk(&env.cpu, env.view(), va, intent, regime) {
        Ok(walked) => {
            let device = walked.attributes & 0xf0 == 0;
            let shareability = if device || walked.attributes == 0x44 { 2 } else { walked.shareability };
            u64::from(walked.attributes) << 56
                | walked.page.gpa.0 & 0xffff_ffff_f000
                | 1 << 11
                | 1 << 9
                | shareability << 7
        }
        Err(fault) if fault.kind == FaultKind::Walk => {
            env.raise(Exception::of_maintenance(fault, va));
            return 0;
        }
        Err(fault) => 1 << 11 | fault.status() << 1 | 1,
    };
    0
}

/// Kinds of TLB maintenance.
pub mod tlb {
    /// Added to a kind: all processing elements of the Inner Shareable domain.
    pub const EVERYWHERE: u64 = 4;
    pub const ALL: u64 = 0;
    pub const PAGE: u64 = 1;
    pub const ASID: u64 = 2;
}

/// TLBI. What is given up may be more than was asked for. A broadcast form is complete when it returns, before any DSB.
extern "C" fn tlbi(env: &mut Env, kind: u64, value: u64) -> u64 {
    let asid = env.cpu.asid_bits(value >> 48);
    let asks: &[Ask] = match kind & !tlb::EVERYWHERE {
        // Bits 43 to 0 are VA[55:12]; the tag of an address does not count.
        tlb::PAGE => &[Ask::FlushPage(Gva(value << 12), (1 << 56) - 1)],
        tlb::ASID => &[Ask::FlushSpace(asid), Ask::FlushCodeSpace(kernel_space(asid))],
        _ => &[Ask::FlushTlb],
    };
    if kind & tlb::EVERYWHERE != 0 {
        env.ask_others(asks);
    }
    asks.iter().for_each(|ask| env.carry_out(*ask));
    0
}

/// The stepped instruction is complete (`SSAdvance`).
extern "C" fn step_done(env: &mut Env) -> u64 {
    env.cpu.pstate.ss = false;
    env.cpu.update_mode();
    0
}

/// The link register authenticated for ERETAA (`key_b` 0) and ERETAB.
extern "C" fn auth_return(env: &mut Env, target: u64, key_b: u64) -> u64 {
    use crate::pauth::{KeyNumber, auth, bottom_pac_bit};
    let cpu = &env.cpu;
    let key_b = key_b != 0;
    // SCTLR_EL1.EnIA is bit 31, EnIB 30.
    if !cpu.model.features.has(Feature::PAuth) || cpu.sys.sctlr_el1 >> (31 - u32::from(key_b)) & 1 == 0 {
        return target;
    }
    let high = target >> 55 & 1;
    let tcr = cpu.sys.tcr_el1;
    let tbi = tcr >> (37 + high) & 1 != 0 && tcr >> (51 + high) & 1 == 0;
    let bottom = bottom_pac_bit((tcr >> (16 * high) & 0x3f) as u32, 16, 39);
    let number = if key_b { KeyNumber::B } else { KeyNumber::A };
    let [lo, hi] = cpu.sys.pac_keys[usize::from(key_b)];
    auth(target, cpu.sp, crate::pauth::Key { hi, lo }, number, bottom, tbi)
}

/// Says once more in the log that an encoding is not there.
pub(crate) fn log_unknown(id: u16, read: bool) {
    let verb = if read { "read of" } else { "write to" };
    log!(Unimp, "{verb} unknown system register {}", sysreg::generic_name(id));
}
