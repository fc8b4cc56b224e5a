//! Kernels with a header of Multiboot 1, with modules.
//!
//! GNU, "Multiboot Specification version 0.6.96".

use super::elf_x86::Elf;
use super::x86::{EAX, EBX, Kind, Machine, Module, Told, check_parts, descriptors, place_modules};
use super::{Blob, File};
use crate::error::{Error, Role};
use vm::vcpu::BootRegs;
use vm::{Gpa, Gva};

/// 3.1.1 "The layout of Multiboot header": it lies in that many bytes, at a multiple of 4.
const SEARCH: usize = 8192;
const HEADER_MAGIC: u32 = 0x1bad_b002;
/// Features that a loader must know or refuse.
const REQUIRED: u32 = 0xffff;
/// Modules on page boundaries, memory information, video modes; the last is only a wish ("may").
const KNOWN: u32 = 0b111;
/// The header says where the file goes.
const HAS_ADDRESSES: u32 = 1 << 16;

/// What EAX says (3.2 "Machine state").
const LOADER_MAGIC: u32 = 0x2bad_b002;

/// Bits of the information's first field (3.3 "Boot information format").
const HAS_MEMORY: u32 = 1 << 0;
const HAS_CMDLINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;
/// Words of the information up to the loader's name.
const INFO_WORDS: usize = 17;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Offset of the header and its flags.
fn header(bytes: &[u8]) -> Option<(usize, u32)> {
    let end = bytes.len().min(SEARCH);
    (0..end).step_by(4).find_map(|at| {
        let [magic, flags, sum] = [word(bytes, at)?, word(bytes, at + 4)?, word(bytes, at + 8)?];
        let right = magic == HEADER_MAGIC && magic.wrapping_add(flags).wrapping_add(sum) == 0;
        (right && at + 12 <= end).then_some((at, flags))
    })
}

/// Whether a file has such a header.
pub fn is_multiboot(bytes: &[u8]) -> bool {
    header(bytes).is_some()
}

/// Places a kernel, its modules and what it is told.
///
/// # Errors
/// A header that wants what there is not, a file that is cut off, RAM too small.
pub fn place(
    machine: &Machine<'_>,
    kernel: File,
    modules: Vec<Module>,
    cmdline: &str,
) -> Result<(Vec<Blob>, BootRegs), Error> {
    let name = kernel.name.clone();
    let (at, flags) = header(&kernel.bytes).unwrap_or_default();
    if flags & REQUIRED & !KNOWN != 0 {
        return Err(Error::Multiboot {
            name,
            why: format!("asks for the unknown features {:#x}", flags & REQUIRED & !KNOWN),
        });
    }
    let (mut blobs, entry) = match flags & HAS_ADDRESSES {
        0 => program(&kernel)?,
        _ => image(&kernel, at)?,
    };
    let end = check_parts(machine.low_ram, &name, &blobs)?;
    let modules = place_modules(machine.low_ram, end, modules, &mut blobs)?;

    let mut told = Told::default();
    let line = told.text(format!("{name} {cmdline}").trim_end());
    let loader = told.text("Mimic");
    // 3.3: start, end, string, reserved.
    let list: Vec<u32> =
        modules.iter().flat_map(|(at, args)| [at.start as u32, at.end as u32, told.text(args), 0]).collect();
    let list = told.put(&list.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
    // Each entry begins with its size without that field.
    let mut map = Vec::new();
    for (range, kind) in &machine.map {
        map.extend(20u32.to_le_bytes());
        [range.start, range.end - range.start].iter().for_each(|n| map.extend(n.to_le_bytes()));
        map.extend((*kind as u32).to_le_bytes());
    }
    let map_at = told.put(&map);
    let below = |limit: u64| machine.map.iter().filter(move |(range, kind)| *kind == Kind::Ram && range.start <= limit);
    let lower = below(0).map(|(range, _)| range.end.min(MIB)).max().unwrap_or(0) / KIB;
    let upper = machine.low_ram.saturating_sub(MIB) / KIB;
    let mut info = [0u32; INFO_WORDS];
    info[0] = HAS_MEMORY | HAS_CMDLINE | HAS_MODULES | HAS_MAP | HAS_LOADER_NAME;
    (info[1], info[2]) = (lower as u32, upper as u32);
    info[4] = line;
    (info[5], info[6]) = (modules.len() as u32, list);
    (info[11], info[12]) = (map.len() as u32, map_at);
    info[16] = loader;
    let info = told.put(&info.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
    blobs.push(told.blob(&name, cmdline)?);
    let (table, gdtr) = descriptors();
    blobs.push(table);
    let gprs = vec![(EAX, LOADER_MAGIC.into()), (EBX, info.into()), gdtr];
    Ok((blobs, BootRegs { pc: Gva(entry), gprs }))
}

/// The parts and the entry of a program in ELF.
fn program(kernel: &File) -> Result<(Vec<Blob>, u64), Error> {
    if !Elf::is_for_pc(&kernel.bytes) {
        let why = "says nothing of addresses and is not in ELF".into();
        return Err(Error::Multiboot { name: kernel.name.clone(), why });
    }
    let elf = Elf::read(kernel)?;
    if elf.is_64_bit {
        let why = "is for 32-bit programs, and the file is a 64-bit one".into();
        return Err(Error::Multiboot { name: kernel.name.clone(), why });
    }
    Ok((elf.parts, elf.entry))
}

/// The part and the entry of a file whose header, at `at`, has addresses: 3.1.3 "The address fields of Multiboot header".
fn image(kernel: &File, at: usize) -> Result<(Vec<Blob>, u64), Error> {
    let name = kernel.name.clone();
    let truncated = |need: u64| {
        let why = format!("it has {} of {need} bytes", kernel.bytes.len());
        Error::Truncated { role: Role::Kernel, name: name.clone(), why }
    };
    let field = |n: usize| word(&kernel.bytes, at + 12 + 4 * n).ok_or_else(|| truncated(at as u64 + 32));
    let [header, load, load_end, bss_end, entry] = [field(0)?, field(1)?, field(2)?, field(3)?, field(4)?];
    let impossible = || {
        let why = format!("has addresses that make no sense: header {header:#x}, file {load:#x} to {load_end:#x}");
        Error::Multiboot { name: name.clone(), why }
    };
    let start = header.checked_sub(load).and_then(|n| at.checked_sub(n as usize)).ok_or_else(impossible)?;
    let len = match load_end {
        0 => kernel.bytes.len() - start,
        end => end.checked_sub(load).ok_or_else(impossible)? as usize,
    };
    let Some(bytes) = start.checked_add(len).and_then(|end| kernel.bytes.get(start..end)) else {
        return Err(truncated(start as u64 + len as u64));
    };
    let zeros = u64::from(bss_end).saturating_sub(u64::from(load) + len as u64);
    let part = Blob { name: name.clone(), gpa: Gpa(load.into()), bytes: bytes.to_vec().into(), zeros };
    Ok((vec![part], entry.into()))
}
