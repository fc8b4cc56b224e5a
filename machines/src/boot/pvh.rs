//! Kernels in ELF with an entry for PVH, such as Linux's `vmlinux`.
//!
//! Xen, docs/misc/pvh.pandoc ("x86/HVM direct boot ABI") and xen/include/public/arch-x86/hvm/start_info.h.

use super::elf_x86::Elf;
use super::x86::{EBX, Machine, Module, Told, check_parts, descriptors, place_modules};
use super::{Blob, File};
use crate::error::Error;
use vm::Gva;
use vm::vcpu::BootRegs;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// The version that has the memory map.
const VERSION: u32 = 1;

/// Places a kernel, an initial RAM disk and what the kernel is told.
///
/// # Errors
/// A file without that entry, RAM too small, a CPU without 64-bit mode for a kernel that needs it.
pub fn place(
    machine: &Machine<'_>,
    kernel: File,
    initrd: Option<File>,
    cmdline: &str,
) -> Result<(Vec<Blob>, BootRegs), Error> {
    let elf = Elf::read(&kernel)?;
    let name = kernel.name;
    let Some(entry) = elf.entry_32 else { return Err(Error::NoPvh { name }) };
    if elf.is_64_bit && !machine.long_mode {
        return Err(Error::NoLongMode { name, cpu: machine.cpu.into() });
    }
    let mut blobs = elf.parts;
    let end = check_parts(machine.low_ram, &name, &blobs)?;
    let modules = initrd.map(|file| Module { args: String::new(), file }).into_iter().collect();
    let modules = place_modules(machine.low_ram, end, modules, &mut blobs)?;

    let mut told = Told::default();
    let line = told.text(cmdline);
    // "struct hvm_modlist_entry": address, size, command line, reserved.
    let list: Vec<u64> = modules.iter().flat_map(|(at, _)| [at.start, at.end - at.start, 0, 0]).collect();
    let list = told.put(&list.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
    // "struct hvm_memmap_table_entry": address, size, type, reserved.
    let entry_of = |(range, kind): &(std::ops::Range<u64>, super::x86::Kind)| {
        [range.start, range.end - range.start, *kind as u64].map(u64::to_le_bytes).concat()
    };
    let map = told.put(&machine.map.iter().flat_map(entry_of).collect::<Vec<_>>());
    // "struct hvm_start_info".
    let mut info = Vec::new();
    [MAGIC, VERSION, 0, modules.len() as u32].iter().for_each(|n| info.extend(n.to_le_bytes()));
    [list.into(), line.into(), machine.rsdp, map.into()].iter().for_each(|n: &u64| info.extend(n.to_le_bytes()));
    [machine.map.len() as u32, 0].iter().for_each(|n| info.extend(n.to_le_bytes()));
    let info = told.put(&info);
    blobs.push(told.blob(&name, cmdline)?);
    let (table, gdtr) = descriptors();
    blobs.push(table);
    Ok((blobs, BootRegs { pc: Gva(entry.into()), gprs: vec![(EBX, info.into()), gdtr] }))
}
