//! Kernels that a PC starts without firmware: which kind a file is, and what they have in common. Each kind is entered in
//! 32-bit mode without paging.

use super::elf_x86::Elf;
use super::{Blob, File, identify, linux_x86, multiboot, pvh};
use crate::error::{Error, Role};
use std::ops::Range;
use vm::Gpa;
use vm::vcpu::BootRegs;

/// Numbers of general-purpose registers ([`BootRegs`]).
pub(super) const EAX: u8 = 0;
pub(super) const EBX: u8 = 3;
pub(super) const ESI: u8 = 6;

/// Where the descriptor table and what kernels are told go: below where firmware keeps data.
pub(super) const GDT: u64 = 0x1_1000;
pub(super) const TOLD: u64 = 0x2_0000;
/// What kernels are told ends here at the latest.
pub(super) const TOLD_END: u64 = 0x9_0000;
pub(super) const PAGE: u64 = 4096;

/// What lies in a range of memory ("E820 types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ram = 1,
    Reserved = 2,
}

/// Memory as firmware reports it.
pub type MemoryMap = Vec<(Range<u64>, Kind)>;

/// A file that a kernel finds in memory: an initial RAM disk, or a module of multiboot.
#[derive(Clone, Debug)]
pub struct Module {
    pub file: File,
    /// What the kernel is told about it: its name and arguments.
    pub args: String,
}

/// The machine as far as kernels are told of it.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// RAM from address 0 on, in bytes.
    pub low_ram: u64,
    pub map: MemoryMap,
    /// Where the root of the ACPI tables is; 0 if there are none.
    pub rsdp: u64,
    /// The CPU, and whether it has 64-bit mode.
    pub cpu: &'a str,
    pub long_mode: bool,
}

/// Places `kernel` and what belongs to it, and says how it is entered.
///
/// # Errors
/// A file of another kind, one that is damaged, or a machine that is too small for it.
pub fn load(
    machine: &Machine<'_>,
    kernel: File,
    mut modules: Vec<Module>,
    cmdline: &str,
) -> Result<(Vec<Blob>, BootRegs), Error> {
    if multiboot::is_multiboot(&kernel.bytes) {
        return multiboot::place(machine, kernel, modules, cmdline);
    }
    if modules.len() > 1 {
        return Err(Error::OneInitrd { name: kernel.name });
    }
    let initrd = modules.pop().map(|module| module.file);
    if linux_x86::is_linux(&kernel.bytes) {
        if linux_x86::is_64_bit(&kernel.bytes) && !machine.long_mode {
            return Err(Error::NoLongMode { name: kernel.name, cpu: machine.cpu.into() });
        }
        return linux_x86::place(machine.low_ram, &machine.map, kernel, initrd, cmdline);
    }
    if Elf::is_for_pc(&kernel.bytes) {
        return pvh::place(machine, kernel, initrd, cmdline);
    }
    let found = identify::identify(&kernel.bytes).unwrap_or_else(|| "of an unknown kind".into());
    Err(Error::NotAPcKernel { name: kernel.name, found })
}

/// The table that kernels find, with the flat segments that they begin in: null, one unused, code, data. The second value is
/// what the register is set to.
pub(super) fn descriptors() -> (Blob, (u8, u64)) {
    let table = [0u64, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let gdtr = GDT | (bytes.len() as u64 - 1) << 48;
    let blob = Blob { name: "descriptor table".into(), gpa: Gpa(GDT), bytes: bytes.into(), zeros: 0 };
    (blob, (x86::wiring::BOOT_GDTR, gdtr))
}

/// Structures that a kernel is told by, one behind the other from [`TOLD`] on.
#[derive(Default)]
pub(super) struct Told(Vec<u8>);

impl Told {
    /// Appends `bytes` at a multiple of 8; gives their address.
    pub fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = TOLD + self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        at as u32
    }

    /// Appends text and the zero that ends it.
    pub fn text(&mut self, text: &str) -> u32 {
        self.put(&[text.as_bytes(), &[0]].concat())
    }

    /// As it is placed.
    ///
    /// # Errors
    /// When there is too much of it for its place: a command line of hundreds of KiB.
    pub fn blob(self, kernel: &str, cmdline: &str) -> Result<Blob, Error> {
        let limit = (TOLD_END - TOLD) as usize;
        if self.0.len() > limit {
            return Err(Error::LongCmdline { name: kernel.into(), len: cmdline.len(), limit: limit / 2 });
        }
        Ok(Blob { name: "boot information".into(), gpa: Gpa(TOLD), bytes: self.0.into(), zeros: 0 })
    }
}

/// Checks that the parts of `kernel` lie in RAM, apart from one another and from what it is told. Gives the first page
/// behind them.
pub(super) fn check_parts(low_ram: u64, kernel: &str, parts: &[Blob]) -> Result<u64, Error> {
    let damaged = |why: String| Error::Damaged { role: Role::Kernel, name: kernel.into(), why };
    let mut ranges: Vec<_> = parts.iter().map(|part| (part.gpa.0, part.end())).collect();
    ranges.sort_unstable();
    let end = ranges.iter().map(|(_, end)| *end).max().unwrap_or(0);
    if end > low_ram {
        return Err(Error::too_small(Role::Kernel, kernel, low_ram, end));
    }
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(damaged(format!("two of its parts are both at {:#x}", pair[1].0)));
    }
    if let Some((start, _)) = ranges.iter().find(|(start, end)| *start < TOLD_END && *end > GDT) {
        return Err(damaged(format!(
            "its part at {start:#x} lies where it is told of the machine, below {TOLD_END:#x}"
        )));
    }
    Ok(end.next_multiple_of(PAGE))
}

/// Places `modules` one behind the other from `at` on, each at the start of a page. Gives where each is.
pub(super) fn place_modules(
    low_ram: u64,
    mut at: u64,
    modules: Vec<Module>,
    blobs: &mut Vec<Blob>,
) -> Result<Vec<(Range<u64>, String)>, Error> {
    let mut placed = Vec::new();
    for Module { file, args } in modules {
        let end = at + file.bytes.len() as u64;
        if end > low_ram {
            return Err(Error::too_small(Role::Initrd, &file.name, low_ram, end));
        }
        blobs.push(Blob { name: file.name, gpa: Gpa(at), bytes: file.bytes.into(), zeros: 0 });
        placed.push((at..end, args));
        at = end.next_multiple_of(PAGE);
    }
    Ok(placed)
}
