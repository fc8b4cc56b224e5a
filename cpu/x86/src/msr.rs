//! Model-specific registers (SDM vol. 4), by RDMSR and WRMSR.

use crate::exception::Exception;
use crate::frontend::Env;
use crate::mmu;
use crate::model::{Feature, Model};
use crate::segment::{FS, GS};
use crate::state::Cpu;
use crate::wiring;
use serde::{Deserialize, Serialize};
use vm::log;

pub const EFER_SCE: u64 = 1 << 0;
pub const EFER_LME: u64 = 1 << 8;
pub const EFER_LMA: u64 = 1 << 10;
pub const EFER_NXE: u64 = 1 << 11;

/// The APIC is on (IA32_APIC_BASE).
pub const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_BSP: u64 = 1 << 8;
const APIC_BASE_X2APIC: u64 = 1 << 10;

/// What the registers hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Msrs {
    pub efer: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub apic_base: u64,
    pub pat: u64,
    pub tsc_aux: u64,
    /// What the time-stamp counter is ahead of the clock, in its ticks.
    pub tsc_offset: u64,
    pub misc_enable: u64,
    pub smbase: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_variable: [[u64; 2]; 8],
    pub mcg_status: u64,
    pub microcode: u64,
}

impl Msrs {
    /// The values after RESET.
    pub fn at_reset(model: &Model, id: u32) -> Msrs {
        Msrs {
            apic_base: 0xfee0_0000 | APIC_BASE_ENABLE | if id == 0 { APIC_BASE_BSP } else { 0 },
            pat: 0x0007_0406_0007_0406,
            // Fast strings.
            misc_enable: 1,
            smbase: 0x3_0000,
            microcode: if model.features.has(Feature::MTRR) { 1 << 32 } else { 0 },
            ..Msrs::default()
        }
    }
}

/// Ticks of the time-stamp counter per nanosecond: it runs at 1 GHz.
pub const TSC_PER_NS: u64 = 1;

impl Cpu {
    /// The time-stamp counter.
    pub fn tsc(&self) -> u64 {
        (self.wires.clock.now().0 * TSC_PER_NS).wrapping_add(self.msr.tsc_offset)
    }

    fn set_tsc(&mut self, value: u64) {
        self.msr.tsc_offset = value.wrapping_sub(self.wires.clock.now().0 * TSC_PER_NS);
    }
}

type Write = fn(&mut Env, u32, u64) -> Result<(), Exception>;

/// One register, by what it is.
struct Row {
    first: u32,
    last: u32,
    name: &'static str,
    /// The feature it comes with.
    feature: Option<Feature>,
    read: fn(&Cpu, u32) -> u64,
    write: Option<Write>,
}

macro_rules! last_of {
    ($first:expr) => {
        $first
    };
    ($first:expr, $last:expr) => {
        $last
    };
}
macro_rules! rows {
    ($($first:literal $(..= $last:literal)?, $name:literal, $feature:expr, $read:expr, $write:expr;)*) => {
        /// Every register, in order of their numbers.
        static ROWS: &[Row] = &[$(Row {
            first: $first,
            last: last_of!($first $(, $last)?),
            name: $name,
            feature: $feature,
            read: $read,
            write: $write,
        }),*];
    };
}
type Written = Result<(), Exception>;

fn ignore(_: &mut Env, _: u32, _: u64) -> Written {
    Ok(())
}
/// Only canonical addresses.
fn canonical(env: &Env, value: u64) -> Result<u64, Exception> {
    if mmu::is_canonical(&env.cpu, value) { Ok(value) } else { Err(Exception::gp(0)) }
}

use Feature as F;
rows! {
    0x10, "tsc", Some(F::TSC), |cpu, _| cpu.tsc(), Some(|env, _, value| { env.cpu.set_tsc(value); Ok(()) });
    0x17, "platform_id", Some(F::MSR), |_, _| 0, None;
    0x1b, "apic_base", Some(F::APIC), |cpu, _| cpu.msr.apic_base, Some(write_apic_base);
    0x3b, "tsc_adjust", None, |cpu, _| cpu.msr.tsc_offset, None;
    0x79, "bios_updt_trig", Some(F::MSR), |_, _| 0, Some(ignore);
    0x8b, "bios_sign_id", Some(F::MSR), |cpu, _| cpu.msr.microcode, Some(ignore);
    0x9e, "smbase", Some(F::MSR), |cpu, _| cpu.msr.smbase, None;
    0xfe, "mtrrcap", Some(F::MTRR), |_, _| 0x508, None;
    0x10a, "arch_capabilities", Some(F::ARCH_CAPABILITIES), |_, _| ARCH_CAPABILITIES, None;
    0x174, "sysenter_cs", Some(F::SEP), |cpu, _| cpu.msr.sysenter_cs,
        Some(|env, _, value| { env.cpu.msr.sysenter_cs = value; Ok(()) });
    0x175, "sysenter_esp", Some(F::SEP), |cpu, _| cpu.msr.sysenter_esp,
        Some(|env, _, value| { env.cpu.msr.sysenter_esp = canonical(env, value)?; Ok(()) });
    0x176, "sysenter_eip", Some(F::SEP), |cpu, _| cpu.msr.sysenter_eip,
        Some(|env, _, value| { env.cpu.msr.sysenter_eip = canonical(env, value)?; Ok(()) });
    0x179, "mcg_cap", Some(F::MCA), |_, _| 0, None;
    0x17a, "mcg_status", Some(F::MCA), |cpu, _| cpu.msr.mcg_status,
        Some(|env, _, value| { env.cpu.msr.mcg_status = value; Ok(()) });
    0x186 ..= 0x189, "perfevtsel", Some(F::MSR), |_, _| 0, Some(ignore);
    0x1a0, "misc_enable", Some(F::MSR), |cpu, _| cpu.msr.misc_enable,
        Some(|env, _, value| { env.cpu.msr.misc_enable = value; Ok(()) });
    0x1d9, "debugctl", Some(F::MSR), |_, _| 0, Some(ignore);
    0x200 ..= 0x20f, "mtrr_variable", Some(F::MTRR), |cpu, n| cpu.msr.mtrr_variable[n as usize / 2][n as usize % 2],
        Some(|env, n, value| { env.cpu.msr.mtrr_variable[n as usize / 2][n as usize % 2] = value; Ok(()) });
    0x250, "mtrr_fix64k", Some(F::MTRR), |cpu, _| cpu.msr.mtrr_fixed[0],
        Some(|env, _, value| { env.cpu.msr.mtrr_fixed[0] = value; Ok(()) });
    0x258 ..= 0x259, "mtrr_fix16k", Some(F::MTRR), |cpu, n| cpu.msr.mtrr_fixed[1 + n as usize],
        Some(|env, n, value| { env.cpu.msr.mtrr_fixed[1 + n as usize] = value; Ok(()) });
    0x268 ..= 0x26f, "mtrr_fix4k", Some(F::MTRR), |cpu, n| cpu.msr.mtrr_fixed[3 + n as usize],
        Some(|env, n, value| { env.cpu.msr.mtrr_fixed[3 + n as usize] = value; Ok(()) });
    0x277, "pat", Some(F::PAT), |cpu, _| cpu.msr.pat, Some(write_pat);
    0x2ff, "mtrr_def_type", Some(F::MTRR), |cpu, _| cpu.msr.mtrr_def_type,
        Some(|env, _, value| { env.cpu.msr.mtrr_def_type = value; Ok(()) });
    0x6e0, "tsc_deadline", Some(F::TSC_DEADLINE), tsc_deadline, Some(set_tsc_deadline);
    0xc000_0080, "efer", Some(F::NX), |cpu, _| cpu.msr.efer, Some(write_efer);
    0xc000_0081, "star", Some(F::SYSCALL), |cpu, _| cpu.msr.star,
        Some(|env, _, value| { env.cpu.msr.star = value; Ok(()) });
    0xc000_0082, "lstar", Some(F::LM), |cpu, _| cpu.msr.lstar,
        Some(|env, _, value| { env.cpu.msr.lstar = canonical(env, value)?; Ok(()) });
    0xc000_0083, "cstar", Some(F::LM), |cpu, _| cpu.msr.cstar,
        Some(|env, _, value| { env.cpu.msr.cstar = canonical(env, value)?; Ok(()) });
    0xc000_0084, "fmask", Some(F::SYSCALL), |cpu, _| cpu.msr.fmask,
        Some(|env, _, value| { env.cpu.msr.fmask = value & 0xffff_ffff; Ok(()) });
    0xc000_0100, "fs_base", Some(F::LM), |cpu, _| cpu.bases[FS],
        Some(|env, _, value| { env.cpu.bases[FS] = canonical(env, value)?; Ok(()) });
    0xc000_0101, "gs_base", Some(F::LM), |cpu, _| cpu.bases[GS],
        Some(|env, _, value| { env.cpu.bases[GS] = canonical(env, value)?; Ok(()) });
    0xc000_0102, "kernel_gs_base", Some(F::LM), |cpu, _| cpu.msr.kernel_gs_base,
        Some(|env, _, value| { env.cpu.msr.kernel_gs_base = canonical(env, value)?; Ok(()) });
    0xc000_0103, "tsc_aux", Some(F::RDTSCP), |cpu, _| cpu.msr.tsc_aux,
        Some(|env, _, value| { env.cpu.msr.tsc_aux = value & 0xffff_ffff; Ok(()) });
    // Of AMD's: what kernels look at on processors of these families.
    0xc001_0010, "syscfg", Some(F::SYSCALL), |_, _| 0, Some(ignore);
    0xc001_0015, "hwcr", Some(F::SYSCALL), |_, _| 0, Some(ignore);
    0xc001_001f, "nb_cfg", Some(F::SYSCALL), |_, _| 0, Some(ignore);
    0xc001_0055, "int_pending", Some(F::SYSCALL), |_, _| 0, None;
    0xc001_0117, "vm_hsave_pa", Some(F::SYSCALL), |_, _| 0, Some(ignore);
    0xc001_1029, "de_cfg", Some(F::SYSCALL), |_, _| 2, Some(ignore);
}

/// Not open to Meltdown, to the L1 terminal fault, to sampling of buffers, to TSX asynchronous aborts; no speculation past
/// what the guest may see at all.
const ARCH_CAPABILITIES: u64 = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8;

fn write_apic_base(env: &mut Env, _: u32, value: u64) -> Written {
    let cpu = &mut env.cpu;
    let known = cpu.model.address_mask() & !0xfff
        | APIC_BASE_BSP
        | APIC_BASE_ENABLE
        | if cpu.has(F::X2APIC) { APIC_BASE_X2APIC } else { 0 };
    let (old, new) = (cpu.msr.apic_base & (3 << 10), value & (3 << 10));
    // 11.12.5: x2APIC mode only from the enabled state, and not back but by disabling.
    let invalid = new == APIC_BASE_X2APIC || old == 0 && new == 3 << 10 || old == 3 << 10 && new == APIC_BASE_ENABLE;
    if value & !known != 0 || invalid {
        return Err(Exception::gp(0));
    }
    cpu.msr.apic_base = value & !APIC_BASE_BSP | cpu.msr.apic_base & APIC_BASE_BSP;
    cpu.wires.write_register(APIC_BASE, cpu.msr.apic_base);
    Ok(())
}

/// IA32_APIC_BASE, which the APIC hears of.
const APIC_BASE: u32 = 0x1b;

fn write_pat(env: &mut Env, _: u32, value: u64) -> Written {
    let valid = value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7));
    if !valid {
        return Err(Exception::gp(0));
    }
    env.cpu.msr.pat = value;
    Ok(())
}

fn write_efer(env: &mut Env, _: u32, value: u64) -> Written {
    let cpu = &mut env.cpu;
    let mut known = EFER_LMA;
    for (bit, feature) in [(EFER_SCE, F::SYSCALL), (EFER_LME, F::LM), (EFER_NXE, F::NX)] {
        if cpu.has(feature) {
            known |= bit;
        }
    }
    let changed = cpu.msr.efer ^ value;
    if value & !known != 0 || changed & EFER_LME != 0 && cpu.is_paging() {
        return Err(Exception::gp(0));
    }
    // LMA follows from the others.
    cpu.msr.efer = value & !EFER_LMA | cpu.msr.efer & EFER_LMA;
    cpu.update_mode();
    if changed & EFER_NXE != 0 {
        env.flush_tlb();
    }
    Ok(())
}

fn find(cpu: &Cpu, number: u32) -> Option<&'static Row> {
    let row = ROWS.iter().find(|row| (row.first..=row.last).contains(&number))?;
    row.feature.is_none_or(|feature| cpu.has(feature)).then_some(row)
}

/// Whether a register belongs to the local APIC: its x2APIC registers and the deadline of its timer.
fn of_apic(cpu: &Cpu, number: u32) -> bool {
    matches!(number, 0x800..=0x8ff) && cpu.msr.apic_base & APIC_BASE_X2APIC != 0
}

/// IA32_TSC_DEADLINE, which the APIC knows as a moment of its clock.
fn tsc_deadline(cpu: &Cpu, _: u32) -> u64 {
    match cpu.wires.read_register(wiring::TSC_DEADLINE_NS).unwrap_or(0) {
        0 => 0,
        ns => (ns * TSC_PER_NS).wrapping_add(cpu.msr.tsc_offset),
    }
}

fn set_tsc_deadline(env: &mut Env, _: u32, value: u64) -> Written {
    let cpu = &env.cpu;
    let ns = match value {
        0 => 0,
        // One that has passed long ago is due at once.
        tsc => (tsc.wrapping_sub(cpu.msr.tsc_offset) / TSC_PER_NS).clamp(1, u64::MAX / 2),
    };
    cpu.wires.write_register(wiring::TSC_DEADLINE_NS, ns);
    Ok(())
}

/// RDMSR.
///
/// # Errors
/// General protection where there is no register.
pub fn read(env: &mut Env, number: u32) -> Result<u64, Exception> {
    let cpu = &env.cpu;
    let value = match find(cpu, number) {
        Some(row) => Some((row.read)(cpu, number - row.first)),
        None if of_apic(cpu, number) => cpu.wires.read_register(number),
        None => None,
    };
    value.ok_or_else(|| {
        log!(Unimp, "read of unknown MSR {number:#x}");
        Exception::gp(0)
    })
}

/// WRMSR.
///
/// # Errors
/// General protection where there is no such register, or for a value that it cannot have.
pub fn write(env: &mut Env, number: u32, value: u64) -> Result<(), Exception> {
    if let Some(write) = find(&env.cpu, number).and_then(|row| row.write.map(|write| (write, row.first))) {
        let (write, first) = write;
        return write(env, number - first, value);
    }
    if of_apic(&env.cpu, number) && env.cpu.wires.write_register(number, value) {
        return Ok(());
    }
    log!(Unimp, "write of {value:#x} to unknown MSR {number:#x}");
    Err(Exception::gp(0))
}

/// Names and numbers of the registers, for debuggers.
pub fn names() -> impl Iterator<Item = (&'static str, u32)> {
    ROWS.iter().filter(|row| row.first == row.last).map(|row| (row.name, row.first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order() {
        assert!(ROWS.is_sorted_by(|a, b| a.last < b.first));
        assert!(ROWS.iter().all(|row| row.first <= row.last));
    }
}
