//! Where kernel, initial RAM disk and device tree go in RAM, as QEMU's users know it, and the registers at the start.
//!
//! Linux, Documentation/arch/arm64/booting.rst.

use super::kernel::Kernel;
use super::{Blob, File};
use crate::error::{Error, Role};
use std::ops::Range;
use vm::vcpu::BootRegs;
use vm::{Gpa, Gva};

/// The boundary that an `Image` counts its offset from, and that keeps a device tree (at most 2 MiB) in one mapping.
const ALIGN: u64 = 2 << 20;
/// Largest device tree that Linux takes.
pub const MAX_FDT: u64 = 2 << 20;
/// How far into RAM the initial RAM disk goes, unless half of RAM is less.
const INITRD_AT: u64 = 128 << 20;
const PAGE: u64 = 4096;

/// Everything placed but the device tree, which must first be told of the initial RAM disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What goes into RAM.
    pub blobs: Vec<Blob>,
    /// First instruction.
    pub entry: Gpa,
    /// Where the initial RAM disk is.
    pub initrd: Option<Range<u64>>,
    /// Where the device tree goes.
    pub fdt: Gpa,
    /// The end of RAM.
    ram: Range<u64>,
    kernel: String,
}

/// Places `kernel` and `initrd` in `ram`.
///
/// An `Image` whose text offset is below 4 KiB goes to 2 MiB into RAM, as under QEMU, so that physical addresses in
/// logs are the same. A device tree follows the initial RAM disk; for programs that are not Linux kernels it goes to
/// the start of RAM if there is room.
///
/// # Errors
/// RAM too small, or a program linked for other addresses.
pub fn place(ram: Range<u64>, kernel: &str, kind: Kernel, initrd: Option<File>) -> Result<Placed, Error> {
    let have = ram.end - ram.start;
    let too_small = |end: u64| Error::too_small(Role::Kernel, kernel, have, end.saturating_sub(ram.start));
    let linux = matches!(kind, Kernel::Image { .. });
    let (blobs, entry, kernel_end) = match kind {
        Kernel::Image { bytes, text_offset, image_size } => {
            let offset = if text_offset < PAGE { text_offset + ALIGN } else { text_offset };
            let (at, len) = (ram.start + offset, image_size.max(bytes.len() as u64));
            let end = at.checked_add(len).filter(|end| *end <= ram.end);
            let end = end.ok_or_else(|| too_small(at.saturating_add(len)))?;
            (vec![Blob { name: kernel.into(), gpa: Gpa(at), bytes: bytes.into(), zeros: 0 }], at, end)
        }
        Kernel::Raw { bytes, text_offset } => {
            let at = ram.start + text_offset;
            let end = at + bytes.len() as u64;
            if end > ram.end {
                return Err(too_small(end));
            }
            (vec![Blob { name: kernel.into(), gpa: Gpa(at), bytes: bytes.into(), zeros: 0 }], at, end)
        }
        Kernel::Elf { segments, entry } => {
            let mut blobs = Vec::new();
            let mut last = ram.start;
            for segment in segments {
                let len = (segment.bytes.len() as u64).saturating_add(segment.zeros);
                let end = segment.paddr.saturating_add(len);
                if segment.paddr < ram.start || end > ram.end {
                    return Err(Error::OutsideRam {
                        name: kernel.into(),
                        start: Gpa(segment.paddr),
                        end: Gpa(end),
                        ram_start: Gpa(ram.start),
                        ram_end: Gpa(ram.end),
                    });
                }
                last = last.max(end);
                let (gpa, bytes) = (Gpa(segment.paddr), segment.bytes.into());
                blobs.push(Blob { name: kernel.into(), gpa, bytes, zeros: segment.zeros });
            }
            (blobs, entry, last)
        }
    };
    let mut placed =
        Placed { blobs, entry: Gpa(entry), initrd: None, fdt: Gpa(0), ram: ram.clone(), kernel: kernel.into() };
    let usual = ram.start + INITRD_AT.min(have / 2);
    let after_kernel = kernel_end.next_multiple_of(PAGE);
    let mut free = usual.max(after_kernel).next_multiple_of(PAGE);
    if let Some(initrd) = initrd {
        let len = initrd.bytes.len() as u64;
        // Both it and a device tree behind it must fit; directly behind the kernel if not at the usual place.
        let behind = |at: u64| (at + len).next_multiple_of(ALIGN) + MAX_FDT;
        let at = if behind(free) <= ram.end { free } else { after_kernel };
        if at + len > ram.end {
            return Err(Error::too_small(Role::Initrd, &initrd.name, have, behind(after_kernel) - ram.start));
        }
        placed.initrd = Some(at..at + len);
        placed.blobs.push(Blob { name: initrd.name, gpa: Gpa(at), bytes: initrd.bytes.into(), zeros: 0 });
        free = at + len;
    }
    let start_is_free = placed.blobs.iter().all(|blob| blob.gpa.0 >= ram.start + MAX_FDT);
    placed.fdt = Gpa(match linux {
        false if start_is_free => ram.start,
        _ if free.next_multiple_of(ALIGN) + MAX_FDT <= ram.end => free.next_multiple_of(ALIGN),
        // Little RAM: behind everything, where `fdt` checks that it fits.
        _ => placed.blobs.iter().map(Blob::end).max().unwrap_or(ram.start).max(kernel_end).next_multiple_of(8),
    });
    Ok(placed)
}

impl Placed {
    /// Checks that the flattened device tree `blob` fits where it goes.
    ///
    /// # Errors
    /// [`Error::RamTooSmall`].
    pub fn fdt(&self, blob: Vec<u8>) -> Result<Blob, Error> {
        let end = self.fdt.0.saturating_add(blob.len() as u64);
        if end > self.ram.end {
            let have = self.ram.end - self.ram.start;
            return Err(Error::too_small(Role::Kernel, &self.kernel, have, end - self.ram.start));
        }
        Ok(Blob { name: "device tree".into(), gpa: self.fdt, bytes: blob.into(), zeros: 0 })
    }

    /// The registers at the start: x0 is the device tree, x1 to x3 are zero. Deviation: programs that are not Linux
    /// kernels get the device tree in x0 too.
    pub fn regs(&self) -> BootRegs {
        BootRegs { pc: Gva(self.entry.0), gprs: vec![(0, self.fdt.0), (1, 0), (2, 0), (3, 0)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernel::Segment;

    const BASE: u64 = 0x4000_0000;
    const MIB: u64 = 1 << 20;

    fn image(text_offset: u64, image_size: u64) -> Kernel {
        Kernel::Image { bytes: vec![1; 64], text_offset, image_size }
    }

    fn initrd(len: u64) -> Option<File> {
        Some(File { role: Role::Initrd, name: "i".into(), bytes: vec![2; len as usize] })
    }

    /// Kernel, initial RAM disk and device tree as offsets from the start of RAM.
    #[track_caller]
    fn check(ram_mib: u64, kernel: Kernel, initrd: Option<File>, expect: (u64, Option<Range<u64>>, u64)) {
        let placed = place(BASE..BASE + ram_mib * MIB, "k", kernel, initrd).unwrap();
        let initrd = placed.initrd.clone().map(|r| r.start - BASE..r.end - BASE);
        assert_eq!((placed.entry.0 - BASE, initrd, placed.fdt.0 - BASE), expect);
    }

    #[track_caller]
    fn fails(ram_mib: u64, kernel: Kernel, initrd: Option<File>, expect: &str) {
        assert_eq!(place(BASE..BASE + ram_mib * MIB, "k", kernel, initrd).unwrap_err().to_string(), expect);
    }

    #[test]
    fn places() {
        check(512, image(0, 32 * MIB), initrd(5000), (2 * MIB, Some(128 * MIB..128 * MIB + 5000), 130 * MIB));
        check(128, image(0, 32 * MIB), None, (2 * MIB, None, 64 * MIB));
        check(512, image(0x8_0000, MIB), None, (0x8_0000, None, 128 * MIB));
        // A kernel that reaches past the usual place of the initial RAM disk.
        check(64, image(0, 33 * MIB), initrd(100), (2 * MIB, Some(35 * MIB..35 * MIB + 100), 36 * MIB));
        // Not at half of RAM but directly behind the kernel.
        check(64, image(0, 10 * MIB), initrd(40 * MIB), (2 * MIB, Some(12 * MIB..52 * MIB), 52 * MIB));
        let raw = Kernel::Raw { bytes: vec![1; 8], text_offset: 0x8_0000 };
        check(128, raw, None, (0x8_0000, None, 64 * MIB));
        let elf = |paddr, entry| Kernel::Elf { segments: vec![Segment { paddr, bytes: vec![1], zeros: 7 }], entry };
        check(128, elf(BASE + 4 * MIB, BASE + 4 * MIB), None, (4 * MIB, None, 0));
        check(128, elf(BASE, BASE), None, (0, None, 64 * MIB));
        // So little RAM that the device tree goes directly behind the program.
        check(1, elf(BASE, BASE), None, (0, None, 8));
    }

    #[test]
    fn what_does_not_fit() {
        let small = |mib: u64, role: &str, need: u64| {
            format!("RAM of {mib} MiB is too small for {role}; use -m {need} or more")
        };
        fails(32, image(0, 32 * MIB), None, &small(32, "kernel `k`", 34));
        fails(32, image(0, u64::MAX), None, &small(32, "kernel `k`", 17592186043392));
        fails(32, image(0, 10 * MIB), initrd(30 * MIB), &small(32, "initial RAM disk `i`", 44));
        fails(1, Kernel::Raw { bytes: vec![0; 1 << 20], text_offset: 0x8_0000 }, None, &small(1, "kernel `k`", 2));
        let elf = |paddr, zeros| Kernel::Elf { segments: vec![Segment { paddr, bytes: vec![1; 8], zeros }], entry: 0 };
        let outside = |start: &str, end: &str| {
            format!(
                "kernel `k` wants to be loaded at {start}-{end}, which is not RAM (0x40000000-0x42000000); link it for \
                 this machine or use a larger -m"
            )
        };
        fails(32, elf(0x8000_0000, 8), None, &outside("0x80000000", "0x80000010"));
        fails(32, elf(0, 0), None, &outside("0x0", "0x8"));
        fails(32, elf(BASE, u64::MAX), None, &outside("0x40000000", "0xffffffffffffffff"));
        let placed = place(BASE..BASE + MIB, "k", elf(BASE, 0), None).unwrap();
        let error = placed.fdt(vec![0; 2 << 20]).unwrap_err();
        assert_eq!(error.to_string(), small(1, "kernel `k`", 3));
    }

    #[test]
    fn registers() {
        let placed = place(BASE..BASE + 128 * MIB, "k", image(0, MIB), None).unwrap();
        let gprs = vec![(0, BASE + 64 * MIB), (1, 0), (2, 0), (3, 0)];
        assert_eq!(placed.regs(), BootRegs { pc: Gva(BASE + 2 * MIB), gprs });
        assert_eq!(
            placed.blobs,
            [Blob { name: "k".into(), gpa: Gpa(BASE + 2 * MIB), bytes: vec![1; 64].into(), zeros: 0 }]
        );
    }
}
