//! Control registers (SDM vol. 3A, 2.5 "Control Registers") and what follows from their changes.

use crate::exception::Exception;
use crate::flags;
use crate::frontend::Env;
use crate::mmu;
use crate::model::Feature;
use crate::msr::{EFER_LMA, EFER_LME};
use crate::segment::CS;
use crate::state::Cpu;
use crate::wiring;

pub const CR0_PE: u64 = 1 << 0;
pub const CR0_MP: u64 = 1 << 1;
pub const CR0_EM: u64 = 1 << 2;
pub const CR0_TS: u64 = 1 << 3;
pub const CR0_ET: u64 = 1 << 4;
pub const CR0_NE: u64 = 1 << 5;
pub const CR0_WP: u64 = 1 << 16;
pub const CR0_AM: u64 = 1 << 18;
pub const CR0_NW: u64 = 1 << 29;
pub const CR0_CD: u64 = 1 << 30;
pub const CR0_PG: u64 = 1 << 31;
/// CR0 after reset.
pub const RESET_CR0: u64 = CR0_CD | CR0_NW | CR0_ET;
const CR0_BITS: u64 = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;

pub const CR4_VME: u64 = 1 << 0;
pub const CR4_PVI: u64 = 1 << 1;
pub const CR4_TSD: u64 = 1 << 2;
pub const CR4_DE: u64 = 1 << 3;
pub const CR4_PSE: u64 = 1 << 4;
pub const CR4_PAE: u64 = 1 << 5;
pub const CR4_MCE: u64 = 1 << 6;
pub const CR4_PGE: u64 = 1 << 7;
pub const CR4_PCE: u64 = 1 << 8;
pub const CR4_OSFXSR: u64 = 1 << 9;
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
pub const CR4_UMIP: u64 = 1 << 11;
pub const CR4_LA57: u64 = 1 << 12;
pub const CR4_FSGSBASE: u64 = 1 << 16;
pub const CR4_PCIDE: u64 = 1 << 17;
pub const CR4_OSXSAVE: u64 = 1 << 18;
pub const CR4_SMEP: u64 = 1 << 20;
pub const CR4_SMAP: u64 = 1 << 21;

/// What a bit of CR4 needs.
const CR4_FEATURES: &[(u64, Feature)] = &[
    (CR4_VME | CR4_PVI, Feature::VME),
    (CR4_TSD, Feature::TSC),
    (CR4_DE, Feature::DE),
    (CR4_PSE, Feature::PSE),
    (CR4_PAE, Feature::PAE),
    (CR4_MCE, Feature::MCE),
    (CR4_PGE, Feature::PGE),
    (CR4_PCE, Feature::MMX),
    (CR4_OSFXSR, Feature::FXSR),
    (CR4_OSXMMEXCPT, Feature::SSE),
    (CR4_UMIP, Feature::UMIP),
    (CR4_LA57, Feature::LA57),
    (CR4_FSGSBASE, Feature::FSGSBASE),
    (CR4_PCIDE, Feature::PCID),
    (CR4_OSXSAVE, Feature::XSAVE),
    (CR4_SMEP, Feature::SMEP),
    (CR4_SMAP, Feature::SMAP),
];

/// Bits of CR4 whose change makes translations of all pages stale (SDM vol. 3A, 4.10.4.1).
const CR4_FLUSH: u64 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP;

impl Cpu {
    pub fn is_protected(&self) -> bool {
        self.cr0 & CR0_PE != 0
    }
    pub fn is_paging(&self) -> bool {
        self.cr0 & CR0_PG != 0
    }
    /// Virtual-8086 mode.
    pub fn is_v86(&self) -> bool {
        self.flag(flags::VM)
    }
    /// Protected mode without virtual-8086 mode: selectors name descriptors.
    pub fn has_descriptors(&self) -> bool {
        self.is_protected() && !self.is_v86()
    }
    /// IA-32e mode: long mode, whatever the size of the code.
    pub fn is_long(&self) -> bool {
        self.msr.efer & EFER_LMA != 0
    }
    /// 64-bit code.
    pub fn is_64bit(&self) -> bool {
        self.is_long() && self.attributes[CS].long()
    }
    /// The processor has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.model.features.has(feature)
    }
    /// The address space of pages that are not global.
    pub fn space(&self) -> u32 {
        space_of(if self.cr4 & CR4_PCIDE != 0 { self.cr3 & 0xfff } else { 0 })
    }
}

/// The address space of a process-context identifier: 0 is that of code which all have in common.
pub fn space_of(pcid: u64) -> u32 {
    pcid as u32 + 1
}

/// Forgets all translations, and with them the code that was fetched by them.
fn flush_all(env: &mut Env) {
    env.cpu.local_kernel_code = false;
    env.flush_tlb();
}

/// A task switch sets TS, so that floating-point state can be saved when it is used.
pub fn set_task_switched(env: &mut Env) {
    env.cpu.cr0 |= CR0_TS;
    env.cpu.update_mode();
}

/// MOV from CR`n`. CR8 is the device's.
pub fn read(env: &mut Env, n: u32) -> u64 {
    let cpu = &env.cpu;
    match n {
        0 => cpu.cr0,
        2 => cpu.cr2,
        3 => cpu.cr3,
        4 => cpu.cr4,
        _ => cpu.wires.read_register(wiring::CR8).unwrap_or(0) & 0xf,
    }
}

/// MOV to CR`n` (SDM vol. 2B, "MOV - Move to/from Control Registers").
///
/// # Errors
/// The exception of an invalid value.
pub fn write(env: &mut Env, n: u32, value: u64) -> Result<(), Exception> {
    match n {
        0 => write_cr0(env, value),
        2 => {
            env.cpu.cr2 = value;
            Ok(())
        }
        3 => write_cr3(env, value),
        4 => write_cr4(env, value),
        _ => {
            if value > 0xf {
                return Err(Exception::gp(0));
            }
            env.cpu.wires.write_register(wiring::CR8, value);
            Ok(())
        }
    }
}

pub fn write_cr0(env: &mut Env, value: u64) -> Result<(), Exception> {
    let cpu = &mut env.cpu;
    let paging = value & CR0_PG != 0;
    let bad = value >> 32 != 0
        || paging && value & CR0_PE == 0
        || value & (CR0_CD | CR0_NW) == CR0_NW
        || !paging && cpu.cr4 & CR4_PCIDE != 0
        || !paging && cpu.is_64bit();
    if bad {
        return Err(Exception::gp(0));
    }
    let new = value & CR0_BITS | CR0_ET;
    let changed = cpu.cr0 ^ new;
    let pae = cpu.cr4 & CR4_PAE != 0 && cpu.msr.efer & EFER_LME == 0;
    if paging && pae && changed & (CR0_PG | CR0_CD | CR0_NW) != 0 {
        mmu::check_pointers(env, env.cpu.cr3)?;
    }
    let cpu = &mut env.cpu;
    if changed & CR0_PG != 0 && cpu.msr.efer & EFER_LME != 0 {
        if paging {
            // 4.1.1: long mode needs PAE, and CS that is not 64-bit yet.
            if cpu.cr4 & CR4_PAE == 0 || cpu.attributes[CS].long() {
                return Err(Exception::gp(0));
            }
            cpu.msr.efer |= EFER_LMA;
        } else {
            cpu.msr.efer &= !EFER_LMA;
        }
    }
    cpu.cr0 = new;
    cpu.update_mode();
    if changed & (CR0_PG | CR0_WP | CR0_PE) != 0 {
        flush_all(env);
    }
    Ok(())
}

pub fn write_cr3(env: &mut Env, value: u64) -> Result<(), Exception> {
    let cpu = &mut env.cpu;
    let pcid = cpu.cr4 & CR4_PCIDE != 0;
    // Bit 63 asks that nothing be flushed; it is not kept.
    let keep = pcid && value >> 63 != 0;
    let value = if pcid { value & !(1 << 63) } else { value };
    if cpu.is_long() && value & !cpu.model.address_mask() != 0 {
        return Err(Exception::gp(0));
    }
    if cpu.is_paging() && !cpu.is_long() && cpu.cr4 & CR4_PAE != 0 {
        mmu::check_pointers(env, value)?;
    }
    let cpu = &mut env.cpu;
    cpu.cr3 = if cpu.is_long() { value } else { value & 0xffff_ffff };
    let space = cpu.space();
    if !keep {
        env.flush_tlb_space(space);
    }
    env.enter_space();
    Ok(())
}

pub fn write_cr4(env: &mut Env, value: u64) -> Result<(), Exception> {
    let cpu = &mut env.cpu;
    let allowed = CR4_FEATURES.iter().filter(|(_, f)| cpu.has(*f)).fold(0, |all, (bits, _)| all | bits);
    let changed = cpu.cr4 ^ value;
    let bad = value & !allowed != 0
        || cpu.is_long() && (value & CR4_PAE == 0 || changed & CR4_LA57 != 0)
        || changed & value & CR4_PCIDE != 0 && (!cpu.is_long() || cpu.cr3 & 0xfff != 0);
    if bad {
        return Err(Exception::gp(0));
    }
    let pae = cpu.is_paging() && !cpu.is_long() && value & CR4_PAE != 0;
    if pae && changed & (CR4_PAE | CR4_PGE | CR4_PSE) != 0 {
        mmu::check_pointers(env, env.cpu.cr3)?;
    }
    let cpu = &mut env.cpu;
    cpu.cr4 = value;
    cpu.update_mode();
    if changed & CR4_FLUSH != 0 {
        flush_all(env);
    }
    Ok(())
}
