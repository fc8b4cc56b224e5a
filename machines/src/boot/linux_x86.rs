//! Linux kernels for x86 in the form of a bzImage, entered in 32-bit mode.
//!
//! Linux, Documentation/arch/x86/boot.rst ("The Linux/x86 Boot Protocol") and zero-page.rst.

use super::{Blob, File};
use crate::error::{Error, Role};
use std::ops::Range;
use vm::vcpu::BootRegs;
use vm::{Gpa, Gva};

/// Where the kernel's protected-mode part goes.
const KERNEL: u64 = 0x10_0000;
/// Where the boot parameters ("zero page"), the descriptor table and the command line go: below where firmware keeps data.
const PARAMS: u64 = 0x1_0000;
const GDT: u64 = 0x1_1000;
const CMDLINE: u64 = 0x2_0000;
/// Bytes of the boot parameters.
const PARAMS_LEN: usize = 4096;
const PAGE: u64 = 4096;

// Fields of the boot parameters, which are those of the kernel's setup header.
const E820_ENTRIES: usize = 0x1e8;
const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const JUMP: usize = 0x200;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const TYPE_OF_LOADER: usize = 0x210;
const LOADFLAGS: usize = 0x211;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const HEAP_END: usize = 0x224;
const CMD_LINE_PTR: usize = 0x228;
const INITRD_ADDR_MAX: usize = 0x22c;
const CMDLINE_SIZE: usize = 0x238;
const INIT_SIZE: usize = 0x260;
const E820_TABLE: usize = 0x2d0;

/// The lowest version that is loaded: the one that says how long the command line may be.
const OLDEST: u16 = 0x206;
const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;
/// A loader without a number of its own.
const UNKNOWN_LOADER: u8 = 0xff;
/// Where initial RAM disks must end for kernels that do not say.
const INITRD_MAX: u32 = 0x37ff_ffff;

/// What lies in a range of memory ("E820 types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ram = 1,
    Reserved = 2,
}

/// Memory as firmware reports it.
pub type MemoryMap = Vec<(Range<u64>, Kind)>;

/// Whether a file is such a kernel.
pub fn is_linux(bytes: &[u8]) -> bool {
    bytes.get(MAGIC..MAGIC + 4) == Some(b"HdrS") && bytes.get(BOOT_FLAG..JUMP) == Some(&[0x55, 0xaa])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Places a kernel, an initial RAM disk and what the kernel is told. `low` is RAM from 0 on, in bytes.
///
/// # Errors
/// A kernel that is cut off or too old, RAM too small, a command line too long.
pub fn place(
    low: u64,
    map: &MemoryMap,
    kernel: File,
    initrd: Option<File>,
    cmdline: &str,
) -> Result<(Vec<Blob>, BootRegs), Error> {
    let (name, bytes) = (kernel.name, kernel.bytes);
    let version = u16_at(&bytes, VERSION);
    if version < OLDEST {
        let (major, minor) = (version >> 8, version & 0xff);
        return Err(Error::OldKernel { name, version: format!("{major}.{minor:02}") });
    }
    // 0 means 4.
    let sectors = match bytes[SETUP_SECTS] {
        0 => 4,
        n => usize::from(n),
    };
    let setup = (sectors + 1) * 512;
    let Some(code) = bytes.get(setup..).filter(|code| !code.is_empty()) else {
        let why = format!("its setup code has {setup} bytes, the file only {}", bytes.len());
        return Err(Error::Truncated { role: Role::Kernel, name, why });
    };
    let needs = u64::from(u32_at(&bytes, INIT_SIZE)).max(code.len() as u64);
    let kernel_end = (KERNEL + needs).next_multiple_of(PAGE);
    if kernel_end > low {
        return Err(Error::too_small(Role::Kernel, &name, low, kernel_end));
    }
    let limit = u32_at(&bytes, CMDLINE_SIZE) as usize;
    if cmdline.len() > limit {
        return Err(Error::LongCmdline { name, len: cmdline.len(), limit });
    }

    let mut params = vec![0; PARAMS_LEN];
    // The header ends where its jump instruction leads.
    let end = (MAGIC + usize::from(bytes[JUMP + 1])).min(E820_TABLE);
    let header = bytes.get(SETUP_SECTS..end).unwrap_or_default();
    put(&mut params, SETUP_SECTS, header);
    params[TYPE_OF_LOADER] = UNKNOWN_LOADER;
    params[LOADFLAGS] |= LOADED_HIGH | CAN_USE_HEAP;
    put(&mut params, HEAP_END, &0xfe00u16.to_le_bytes());
    put(&mut params, CMD_LINE_PTR, &(CMDLINE as u32).to_le_bytes());
    params[E820_ENTRIES] = map.len() as u8;
    for (n, (range, kind)) in map.iter().enumerate() {
        let at = E820_TABLE + 20 * n;
        put(&mut params, at, &range.start.to_le_bytes());
        put(&mut params, at + 8, &(range.end - range.start).to_le_bytes());
        put(&mut params, at + 16, &(*kind as u32).to_le_bytes());
    }

    let mut blobs = Vec::new();
    if let Some(initrd) = initrd {
        let len = initrd.bytes.len() as u64;
        let highest = match u32_at(&bytes, INITRD_ADDR_MAX) {
            0 => INITRD_MAX,
            highest => highest,
        };
        let top = low.min(u64::from(highest) + 1);
        let at = top.checked_sub(len).map(|at| at & !(PAGE - 1)).filter(|at| *at >= kernel_end);
        let Some(at) = at else {
            return Err(Error::too_small(Role::Initrd, &initrd.name, low, kernel_end + len));
        };
        put(&mut params, RAMDISK_IMAGE, &(at as u32).to_le_bytes());
        put(&mut params, RAMDISK_SIZE, &(len as u32).to_le_bytes());
        blobs.push(Blob { name: initrd.name, gpa: Gpa(at), bytes: initrd.bytes.into(), zeros: 0 });
    }
    let mut line = cmdline.as_bytes().to_vec();
    line.push(0);
    // Null, one unused, flat code, flat data: what selectors 0x10 and 0x18 name.
    let table = [0u64, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let gdtr = GDT | (table.len() as u64 - 1) << 48;
    for (what, gpa, bytes) in [
        (name, KERNEL, code.to_vec()),
        ("boot parameters".into(), PARAMS, params),
        ("descriptor table".into(), GDT, table),
        ("command line".into(), CMDLINE, line),
    ] {
        blobs.push(Blob { name: what, gpa: Gpa(gpa), bytes: bytes.into(), zeros: 0 });
    }
    // "32-bit boot protocol": ESI holds the parameters; EBP, EDI and EBX are zero.
    let regs = BootRegs { pc: Gva(KERNEL), gprs: vec![(6, PARAMS), (x86::wiring::BOOT_GDTR, gdtr)] };
    Ok((blobs, regs))
}
