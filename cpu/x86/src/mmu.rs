//! Paging (SDM vol. 3A, chapter 4): 32-bit, PAE, 4-level and 5-level.

use crate::control_regs::{CR0_WP, CR4_LA57, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP};
use crate::exception::Exception;
use crate::flags;
use crate::frontend::Env;
use crate::model::Feature;
use crate::msr::EFER_NXE;
use crate::state::Cpu;
use crate::wiring::PIN_A20M;
use tcg::frontend::Translation;
use vm::vcpu::Intent;
use vm::{FlatView, Gpa};

/// Regimes: accesses with the rights of level 3.
pub const USER: u8 = 0;
/// Accesses with the rights of levels 0 to 2 which pages of level 3 refuse if CR4.SMAP is set; all of the processor's own.
pub const KERNEL: u8 = 1;
/// The same with EFLAGS.AC set, which lifts that.
pub const KERNEL_TO_USER: u8 = 2;
/// Number of regimes.
pub const REGIMES: usize = 3;

/// The regime of a program's own accesses.
pub fn data_regime(cpu: &Cpu) -> u8 {
    match cpu.cpl {
        3 => USER,
        _ if cpu.cr4 & CR4_SMAP == 0 || cpu.flag(flags::AC) => KERNEL_TO_USER,
        _ => KERNEL,
    }
}

/// Bits of table entries.
mod entry {
    pub const PRESENT: u64 = 1 << 0;
    pub const WRITE: u64 = 1 << 1;
    pub const USER: u64 = 1 << 2;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
    pub const LARGE: u64 = 1 << 7;
    pub const GLOBAL: u64 = 1 << 8;
    pub const NO_EXECUTE: u64 = 1 << 63;
}

/// Bits of a page fault's error code.
pub(crate) mod code {
    pub const PRESENT: u32 = 1 << 0;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
    pub const RESERVED: u32 = 1 << 3;
    pub const FETCH: u32 = 1 << 4;
}

/// How the tables in force are built.
struct Format {
    /// Levels of tables.
    levels: u32,
    /// log2 of the bytes of an entry.
    entry_log2: u32,
    /// Bits of the address that index one table.
    index_bits: u32,
}

impl Format {
    fn of(cpu: &Cpu) -> Format {
        if cpu.is_long() {
            let levels = if cpu.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
            Format { levels, entry_log2: 3, index_bits: 9 }
        } else if cpu.cr4 & CR4_PAE != 0 {
            Format { levels: 3, entry_log2: 3, index_bits: 9 }
        } else {
            Format { levels: 2, entry_log2: 2, index_bits: 10 }
        }
    }
}

/// Whether an address is canonical: its upper bits all equal the highest that is translated.
pub fn is_canonical(cpu: &Cpu, va: u64) -> bool {
    let bits = if cpu.cr4 & CR4_LA57 != 0 { 57 } else { 48 };
    let unused = 64 - bits;
    ((va << unused) as i64 >> unused) as u64 == va
}

/// A physical address as the A20 gate lets it through.
fn gated(cpu: &Cpu, gpa: u64) -> u64 {
    if cpu.pins >> PIN_A20M & 1 != 0 { gpa & !(1 << 20) } else { gpa }
}

/// Looks an address up; sets accessed and dirty bits.
///
/// # Errors
/// A page fault, or general protection for an address that is not canonical.
pub fn walk(env: &mut Env, va: u64, intent: Intent, mmu: u8) -> Result<Translation, Exception> {
    let cpu = &env.cpu;
    if cpu.is_long() && !is_canonical(cpu, va) {
        return Err(Exception::gp(0));
    }
    if !cpu.is_paging() {
        return Ok(Translation {
            gpa: Gpa(gated(cpu, va & 0xffff_ffff)),
            page_log2: 12,
            read: true,
            write: true,
            execute: true,
            global: true,
            space: 0,
            strict: false,
            code_mode: 0,
        });
    }
    let view = env.view_handle();
    loop {
        match Walk::new(&env.cpu, va, intent, mmu).run(&view) {
            Ok(page) => return Ok(page),
            Err(Stop::Fault(code)) => return Err(Exception::page_fault(code, va)),
            Err(Stop::Changed) => {}
        }
    }
}

/// 4.4.1 "PDPTE Registers": entries of the page-directory-pointer table have no rights, and of these bits none may be set.
fn reserved_of_pointers(cpu: &Cpu) -> u64 {
    0x1e6 | !cpu.model.address_mask()
}

/// What loads the registers of the page-directory-pointer table of PAE paging refuses reserved bits in them. Deviation: there
/// are no such registers; a walk reads the table.
///
/// # Errors
/// General protection.
pub fn check_pointers(env: &mut Env, cr3: u64) -> Result<(), Exception> {
    let view = env.view_handle();
    let cpu = &env.cpu;
    let bad = (0..4).any(|n| {
        let at = gated(cpu, (cr3 & 0xffff_ffe0) + 8 * n);
        let value = view.load(Gpa(at), 8).unwrap_or(0);
        value & entry::PRESENT != 0 && value & reserved_of_pointers(cpu) != 0
    });
    if bad { Err(Exception::gp(0)) } else { Ok(()) }
}

/// Why a walk has not come to a page.
enum Stop {
    /// A page fault with this error code.
    Fault(u32),
    /// An entry is not what it was when it was read: the walk starts anew.
    Changed,
}

impl From<u32> for Stop {
    fn from(code: u32) -> Stop {
        Stop::Fault(code)
    }
}

struct Walk<'a> {
    cpu: &'a Cpu,
    va: u64,
    intent: Intent,
    user: bool,
    mmu: u8,
    /// What all levels allow.
    write: bool,
    user_page: bool,
    execute: bool,
}

/// The last entry of a walk: where it is, what it says and the size of its page.
struct Leaf {
    at: u64,
    value: u64,
    page_log2: u32,
    base: u64,
}

impl<'a> Walk<'a> {
    fn new(cpu: &'a Cpu, va: u64, intent: Intent, mmu: u8) -> Self {
        Walk { cpu, va, intent, user: mmu == USER, mmu, write: true, user_page: true, execute: true }
    }

    fn nx_enabled(&self) -> bool {
        self.cpu.msr.efer & EFER_NXE != 0
    }

    /// The error code of this access.
    fn fault(&self, bits: u32) -> u32 {
        let fetch = self.intent == Intent::Fetch && (self.nx_enabled() || self.cpu.cr4 & CR4_SMEP != 0);
        bits | if self.intent == Intent::Write { code::WRITE } else { 0 }
            | if self.user { code::USER } else { 0 }
            | if fetch { code::FETCH } else { 0 }
    }

    fn reserved(&self) -> u32 {
        self.fault(code::PRESENT | code::RESERVED)
    }

    fn run(mut self, view: &FlatView) -> Result<Translation, Stop> {
        let format = Format::of(self.cpu);
        let leaf = self.leaf(view, &format)?;
        let cpu = self.cpu;
        let supervisor_write = self.write || cpu.cr0 & CR0_WP == 0;
        let smap = self.mmu == KERNEL && cpu.cr4 & CR4_SMAP != 0 && self.user_page;
        let smep = !self.user && cpu.cr4 & CR4_SMEP != 0 && self.user_page;
        let read = if self.user { self.user_page } else { !smap };
        let write = read && if self.user { self.write } else { supervisor_write };
        let execute = self.execute && if self.user { self.user_page } else { !smep };
        let allowed = match self.intent {
            Intent::Read => read,
            Intent::Write => write,
            Intent::Fetch => execute,
        };
        if !allowed {
            return Err(self.fault(code::PRESENT).into());
        }
        let store = self.intent == Intent::Write;
        let mut marks = entry::ACCESSED;
        if store {
            marks |= entry::DIRTY;
        }
        let value = mark(view, leaf.at, 1 << format.entry_log2, leaf.value, marks)?;
        let offset = self.va & ((1 << leaf.page_log2) - 1);
        Ok(Translation {
            gpa: Gpa(gated(cpu, leaf.base | offset)),
            page_log2: leaf.page_log2 as u8,
            read,
            // The first store must come here to set the dirty bit.
            write: write && value & entry::DIRTY != 0,
            execute,
            global: cpu.cr4 & CR4_PGE != 0 && leaf.value & entry::GLOBAL != 0,
            space: cpu.space(),
            strict: false,
            code_mode: 0,
        })
    }

    /// Goes down the tables and gathers what they allow.
    fn leaf(&mut self, view: &FlatView, format: &Format) -> Result<Leaf, Stop> {
        let cpu = self.cpu;
        let physical = cpu.model.address_mask();
        let pae_tables = format.levels == 3;
        let mut table = match format.levels {
            2 => cpu.cr3 & 0xffff_f000,
            3 => cpu.cr3 & 0xffff_ffe0,
            _ => cpu.cr3 & physical & !0xfff,
        };
        let mut level = format.levels;
        loop {
            level -= 1;
            let shift = 12 + level * format.index_bits;
            let index = self.va >> shift & ((1 << format.index_bits) - 1);
            let index = if pae_tables && level == 2 { index & 3 } else { index };
            let at = gated(cpu, table + (index << format.entry_log2));
            let width = 1 << format.entry_log2;
            let value = view.load(Gpa(at), width).unwrap_or(0);
            if value & entry::PRESENT == 0 {
                return Err(self.fault(0).into());
            }
            let wide = format.entry_log2 == 3;
            if wide && value & ((1 << 52) - 1) & !physical & !0xfff != 0
                || wide && value & entry::NO_EXECUTE != 0 && !self.nx_enabled()
            {
                return Err(self.reserved().into());
            }
            if pae_tables && level == 2 {
                if value & reserved_of_pointers(cpu) != 0 {
                    return Err(self.reserved().into());
                }
                table = value & physical & !0xfff;
                continue;
            }
            self.write &= value & entry::WRITE != 0;
            self.user_page &= value & entry::USER != 0;
            self.execute &= !wide || value & entry::NO_EXECUTE == 0;
            let large = value & entry::LARGE != 0 && level != 0 && (wide || cpu.cr4 & CR4_PSE != 0);
            if level == 0 || large {
                let base = self.page_base(value, shift, wide, large)?;
                return Ok(Leaf { at, value, page_log2: shift, base });
            }
            mark(view, at, width, value, entry::ACCESSED)?;
            table = if wide { value & physical & !0xfff } else { value & 0xffff_f000 };
        }
    }

    /// The physical address of a page, whose large form may have reserved bits.
    fn page_base(&self, value: u64, shift: u32, wide: bool, large: bool) -> Result<u64, u32> {
        let physical = self.cpu.model.address_mask();
        let in_page = (1u64 << shift) - 1;
        if !large {
            return Ok(if wide { value & physical & !in_page } else { value & 0xffff_f000 });
        }
        if wide {
            let known = shift == 21 || shift == 30 && self.cpu.has(Feature::PDPE1GB);
            // Bit 12 is the PAT bit; the others below the page's base must be zero.
            if !known || value & in_page & !0x1fff != 0 {
                return Err(self.reserved());
            }
            return Ok(value & physical & !in_page);
        }
        // 4.3: bits 20 to 13 of a 4-MiB page are bits 39 to 32 of its address (PSE-36), bit 21 is reserved.
        if value >> 21 & 1 != 0 {
            return Err(self.reserved());
        }
        let high = if self.cpu.has(Feature::PSE36) { (value >> 13 & 0xff) << 32 } else { 0 };
        Ok((value & 0xffc0_0000 | high) & physical)
    }
}

/// Sets bits of a table entry of `width` bytes that are not set yet; gives its new value. An entry that another processor
/// changes is never written over (SDM vol. 3A, 4.8 "Accessed and Dirty Flags": a locked operation).
fn mark(view: &FlatView, at: u64, width: u8, value: u64, bits: u64) -> Result<u64, Stop> {
    let new = value | bits;
    if new != value && view.exchange(Gpa(at), width, value, new).is_some_and(|found| found != value) {
        return Err(Stop::Changed);
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn an_entry_that_was_taken_away_does_not_come_back() {
        const AT: u64 = 0x9000;
        let m = Machine::new("max");
        let (view, done) = (m.bus.view(), AtomicBool::new(false));
        let fresh = 0x1234_5000 | entry::PRESENT | entry::WRITE;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let value = view.load(Gpa(AT), 8).unwrap();
                    if value & entry::PRESENT != 0 {
                        let marked = mark(&view, AT, 8, value, entry::ACCESSED | entry::DIRTY);
                        assert!(marked.is_err() || marked.is_ok_and(|new| new & !0x60 == fresh));
                    }
                }
            });
            for _ in 0..20_000 {
                view.store(Gpa(AT), 8, fresh).unwrap();
                let mut old = fresh;
                while let Some(found) = view.exchange(Gpa(AT), 8, old, 0).filter(|found| *found != old) {
                    old = found;
                }
                for _ in 0..20 {
                    assert_eq!(view.load(Gpa(AT), 8), Ok(0));
                }
            }
            done.store(true, Ordering::Release);
        });
    }
}
