//! Linux kernels for x86 in the form of a bzImage, entered in 32-bit mode.
//!
//! Linux, Documentation/arch/x86/boot.rst ("The Linux/x86 Boot Protocol") and zero-page.rst.

use super::x86::{ESI, MemoryMap, PAGE, TOLD as CMDLINE, descriptors};
use super::{Blob, File};
use crate::error::{Error, Role};
use vm::vcpu::BootRegs;
use vm::{Gpa, Gva};

/// Where the kernel's protected-mode part goes.
const KERNEL: u64 = 0x10_0000;
/// Where the boot parameters ("zero page") go.
const PARAMS: u64 = 0x1_0000;
/// Bytes of the boot parameters.
const PARAMS_LEN: usize = 4096;

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
const XLOADFLAGS: usize = 0x236;
const INIT_SIZE: usize = 0x260;
const E820_TABLE: usize = 0x2d0;

/// The lowest version that is loaded: the one that says how long the command line may be.
const OLDEST: u16 = 0x206;
const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;
/// There is an entry for 64-bit mode: the kernel is a 64-bit one.
const XLF_KERNEL_64: u16 = 1 << 0;
/// The version that brought those flags.
const HAS_XLOADFLAGS: u16 = 0x20c;
/// A loader without a number of its own.
const UNKNOWN_LOADER: u8 = 0xff;
/// Where initial RAM disks must end for kernels that do not say.
const INITRD_MAX: u32 = 0x37ff_ffff;

/// Whether a file is such a kernel.
pub fn is_linux(bytes: &[u8]) -> bool {
    bytes.get(MAGIC..MAGIC + 4) == Some(b"HdrS") && bytes.get(BOOT_FLAG..JUMP) == Some(&[0x55, 0xaa])
}

/// Whether such a kernel needs 64-bit mode. One of before Linux 3.8 does not say, and is taken for a 32-bit kernel.
pub fn is_64_bit(bytes: &[u8]) -> bool {
    u16_at(bytes, VERSION) >= HAS_XLOADFLAGS && u16_at(bytes, XLOADFLAGS) & XLF_KERNEL_64 != 0
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
    let (table, gdtr) = descriptors();
    blobs.push(table);
    for (what, gpa, bytes) in [
        (name, KERNEL, code.to_vec()),
        ("boot parameters".into(), PARAMS, params),
        ("command line".into(), CMDLINE, line),
    ] {
        blobs.push(Blob { name: what, gpa: Gpa(gpa), bytes: bytes.into(), zeros: 0 });
    }
    // "32-bit boot protocol": ESI holds the parameters; EBP, EDI and EBX are zero.
    let regs = BootRegs { pc: Gva(KERNEL), gprs: vec![(ESI, PARAMS), gdtr] };
    Ok((blobs, regs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::x86::Kind;

    const MIB: u64 = 1 << 20;
    const SETUP: usize = 2 * 512;

    /// A kernel of two sectors with `code` bytes, of version `version`.
    fn kernel(version: u16, code: usize) -> Vec<u8> {
        let mut bytes = vec![0; SETUP + code];
        bytes[SETUP..].fill(0x90);
        bytes[SETUP_SECTS] = 1;
        put(&mut bytes, BOOT_FLAG, &[0x55, 0xaa]);
        bytes[JUMP] = 0xeb;
        bytes[JUMP + 1] = 0x6a;
        put(&mut bytes, MAGIC, b"HdrS");
        put(&mut bytes, VERSION, &version.to_le_bytes());
        put(&mut bytes, INITRD_ADDR_MAX, &0x7fff_ffffu32.to_le_bytes());
        put(&mut bytes, CMDLINE_SIZE, &2047u32.to_le_bytes());
        put(&mut bytes, INIT_SIZE, &(4 * MIB as u32).to_le_bytes());
        bytes
    }

    fn file(name: &str, bytes: Vec<u8>) -> File {
        File { role: if name == "k" { Role::Kernel } else { Role::Initrd }, name: name.into(), bytes }
    }

    fn map(ram: u64) -> MemoryMap {
        vec![(0..0x9_fc00, Kind::Ram), (0x9_fc00..MIB, Kind::Reserved), (MIB..ram, Kind::Ram)]
    }

    fn placed(ram: u64, kernel: Vec<u8>, initrd: Option<usize>, cmdline: &str) -> Result<(Vec<Blob>, BootRegs), Error> {
        place(ram, &map(ram), file("k", kernel), initrd.map(|len| file("i", vec![7; len])), cmdline)
    }

    #[test]
    fn kernel_parameters_and_initrd_are_where_the_kernel_looks() {
        let (blobs, regs) = placed(64 * MIB, kernel(0x20f, 5000), Some(5000), "console=ttyS0").unwrap();
        let blob = |gpa: u64| blobs.iter().find(|blob| blob.gpa == Gpa(gpa)).unwrap_or_else(|| panic!("{gpa:#x}"));
        assert_eq!(*blob(KERNEL).bytes, vec![0x90; 5000], "without its setup code");
        assert_eq!(*blob(CMDLINE).bytes, b"console=ttyS0\0");
        let initrd = 64 * MIB - 2 * PAGE;
        assert_eq!(*blob(initrd).bytes, vec![7; 5000]);
        let params = &*blob(PARAMS).bytes;
        assert_eq!(params.len(), PARAMS_LEN);
        assert_eq!(u32_at(params, CMD_LINE_PTR), CMDLINE as u32);
        assert_eq!((u32_at(params, RAMDISK_IMAGE), u32_at(params, RAMDISK_SIZE)), (initrd as u32, 5000));
        assert_eq!((params[TYPE_OF_LOADER], params[LOADFLAGS]), (UNKNOWN_LOADER, LOADED_HIGH | CAN_USE_HEAP));
        assert_eq!(&params[MAGIC..MAGIC + 4], b"HdrS", "the kernel's header is copied");
        assert_eq!(params[E820_ENTRIES], 3);
        assert_eq!(u32_at(params, E820_TABLE + 20), 0x9_fc00);
        assert_eq!(u32_at(params, E820_TABLE + 20 + 16), 2);
        assert_eq!(regs.pc, Gva(KERNEL));
        assert!(regs.gprs.contains(&(6, PARAMS)), "ESI");
    }

    #[test]
    fn what_cannot_start_is_refused_by_name() {
        let error = |ram, kernel, initrd, cmdline: &str| placed(ram, kernel, initrd, cmdline).unwrap_err().to_string();
        let cut = kernel(0x20f, 5000)[..SETUP].to_vec();
        for (message, words) in [
            (error(64 * MIB, kernel(0x205, 5000), None, ""), ["`k`", "2.05"]),
            (error(64 * MIB, cut, None, ""), ["`k`", "1024"]),
            (error(4 * MIB, kernel(0x20f, 5000), None, ""), ["`k`", "-m"]),
            (error(8 * MIB, kernel(0x20f, 5000), Some(4 * MIB as usize), ""), ["`i`", "-m"]),
            (error(64 * MIB, kernel(0x20f, 5000), None, &"x".repeat(2048)), ["2048", "2047"]),
        ] {
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }

    #[test]
    fn kernels_say_whether_they_need_64_bit_mode() {
        let mut bytes = kernel(0x20f, 100);
        assert!(is_linux(&bytes) && !is_64_bit(&bytes));
        bytes[XLOADFLAGS] = 1;
        assert!(is_64_bit(&bytes));
        put(&mut bytes, VERSION, &0x20bu16.to_le_bytes());
        assert!(!is_64_bit(&bytes), "before 2.12 the field meant nothing");
        assert!(!is_linux(&bytes[..MAGIC + 3]) && !is_linux(b""));
    }

    #[test]
    fn no_file_makes_it_panic() {
        let good = kernel(0x20f, 600);
        for cut in 0..good.len() {
            if is_linux(&good[..cut]) {
                let _ = placed(64 * MIB, good[..cut].to_vec(), Some(100), "x");
            }
        }
        for at in SETUP_SECTS..0x270 {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                if is_linux(&bytes) {
                    let _ = placed(64 * MIB, bytes, Some(100), "x");
                }
            }
        }
    }
}
