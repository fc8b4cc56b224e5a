//! What a file is when it is not a kernel for this machine, in words for an error message.

use super::unpack::{Packing, unpack};

/// Machine names of ELF (`e_machine`) and of PE/COFF (`Machine`).
const ELF_MACHINES: &[(u16, &str)] = &[
    (3, "x86 (32-bit)"),
    (8, "MIPS"),
    (20, "PowerPC"),
    (21, "PowerPC (64-bit)"),
    (22, "s390"),
    (40, "Arm (32-bit)"),
    (62, "x86-64"),
    (183, "AArch64"),
    (243, "RISC-V"),
    (258, "LoongArch"),
];
const PE_MACHINES: &[(u16, &str)] = &[
    (0x14c, "x86 (32-bit)"),
    (0x1c0, "Arm (32-bit)"),
    (0x1c2, "Arm (32-bit)"),
    (0x1c4, "Arm (32-bit)"),
    (0x5032, "RISC-V (32-bit)"),
    (0x5064, "RISC-V"),
    (0x6264, "LoongArch"),
    (0x8664, "x86-64"),
    (0xaa64, "AArch64"),
];

fn lookup(table: &[(u16, &str)], machine: u16) -> String {
    let known = table.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("machine type {machine:#x}"), |(_, name)| (*name).to_string())
}

/// The architecture that an ELF `e_machine` stands for.
pub fn elf_machine(machine: u16) -> String {
    lookup(ELF_MACHINES, machine)
}

/// The architecture that a PE `Machine` stands for.
pub fn pe_machine(machine: u16) -> String {
    lookup(PE_MACHINES, machine)
}

/// Processors that kernels are recognised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelIsa {
    /// 64-bit ARM.
    Aarch64,
    /// A PC's processors in 32 and 64 bits.
    X86,
}

/// The processors that the kernel in `bytes` is for, packed or not; `None` if it is no kernel, or for others. `limit`: bytes that it
/// may unpack to.
pub fn kernel_isa(bytes: &[u8], limit: u64) -> Option<KernelIsa> {
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?));
    if let Some(packing) = Packing::of(bytes) {
        return kernel_isa(
            &unpack(packing, bytes, limit, "").ok().filter(|inner| Packing::of(inner).is_none())?,
            limit,
        );
    }
    if bytes.get(0x202..)?.starts_with(b"HdrS") {
        return Some(KernelIsa::X86);
    }
    if bytes.get(56..)?.starts_with(b"ARM\x64") {
        return Some(KernelIsa::Aarch64);
    }
    if bytes.starts_with(b"\x7fELF") {
        return match half(18)? {
            183 => Some(KernelIsa::Aarch64),
            3 | 62 => Some(KernelIsa::X86),
            _ => None,
        };
    }
    // EFI zboot: a PE program.
    if bytes.starts_with(b"MZ\0\0zimg") {
        let header = u32::from_le_bytes(bytes.get(0x3c..0x40)?.try_into().ok()?) as usize;
        return (half(header.checked_add(4)?)? == 0xaa64).then_some(KernelIsa::Aarch64);
    }
    None
}

/// Signatures: offset, bytes, what it is.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0x202, b"HdrS", "a Linux kernel for x86 (bzImage)"),
    (0x24, &[0x18, 0x28, 0x6f, 0x01], "a Linux kernel for 32-bit Arm (zImage)"),
    (0x30, b"RISCV\0\0\0", "a Linux kernel for RISC-V"),
    (0x38, b"RSC\x05", "a Linux kernel for RISC-V"),
    (0, &[0x27, 0x05, 0x19, 0x56], "a U-Boot image (uImage)"),
    (0, &[0xd0, 0x0d, 0xfe, 0xed], "a device tree or FIT image"),
    (0, b"070701", "a cpio archive (an initial RAM disk?)"),
    (0, b"070702", "a cpio archive (an initial RAM disk?)"),
    (0, b"\x1f\x8b", "compressed with gzip once more"),
    (0, b"\xfd7zXZ\0", "compressed with xz"),
    (0, b"BZh", "compressed with bzip2"),
    (0, &[0x04, 0x22, 0x4d, 0x18], "compressed with lz4"),
    (0, &[0x02, 0x21, 0x4c, 0x18], "compressed with lz4"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"!<arch>\n", "a Debian package or static library"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"KDMV", "a VMDK disk image"),
    (0, b"hsqs", "a squashfs file system"),
    (0x438, &[0x53, 0xef], "an ext2/3/4 file system"),
    (257, b"ustar", "a tar archive"),
    (0x8001, b"CD001", "a CD or DVD image"),
    (510, &[0x55, 0xaa], "a disk image with a boot sector"),
];

/// What `bytes` clearly are, other than a kernel for AArch64.
pub fn identify(bytes: &[u8]) -> Option<String> {
    let signature =
        |(at, magic, _): &&(usize, &[u8], &str)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, what)) = SIGNATURES.iter().find(signature) {
        return Some((*what).into());
    }
    let head = bytes.get(..bytes.len().min(512))?;
    if std::str::from_utf8(head).is_ok() && head.iter().all(|&b| b >= b' ' || matches!(b, b'\n' | b'\r' | b'\t')) {
        return Some("a text file".into());
    }
    if head.iter().all(|&b| b == 0) {
        return Some("filled with zeros where code should be".into());
    }
    None
}
