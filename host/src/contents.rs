//! What lies on a disk or disc: by which firmware, and on which processors, it starts.
//!
//! [`look`] reads boot sector and partition table ([`partitions`](self)), EFI system partitions (`esp.rs`) and the boot catalog of
//! discs (`el_torito.rs`). It changes nothing, believes nothing, and reads a bounded number of bytes whatever they say.

mod el_torito;
mod esp;
mod partitions;
#[cfg(test)]
mod tests;

use esp::Efi;
use partitions::{Kind, Table};
use std::io;

/// What can be read by byte offsets: a disk.
pub trait Source {
    /// Size in bytes.
    fn len_bytes(&self) -> u64;
    /// Fills `buf` from byte `offset` on.
    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl Source for crate::image::Image {
    fn len_bytes(&self) -> u64 {
        crate::image::Image::len_bytes(self)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        crate::image::Image::read(self, offset, buf)
    }
}

/// Processors that firmware starts programs on, by the names of removable media (UEFI 2.10, 3.5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// `X64`.
    X86_64,
    /// `IA32`.
    I386,
    /// `AA64`.
    Aarch64,
    /// `ARM`.
    Arm,
    /// `RISCV64`.
    Riscv64,
    /// `LOONGARCH64`.
    Loongarch64,
}

impl Isa {
    /// Each with what its programs' names end with.
    const SUFFIXES: [(&str, Isa); 6] = [
        ("X64", Isa::X86_64),
        ("IA32", Isa::I386),
        ("AA64", Isa::Aarch64),
        ("ARM", Isa::Arm),
        ("RISCV64", Isa::Riscv64),
        ("LOONGARCH64", Isa::Loongarch64),
    ];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Isa::X86_64 => "x86-64",
            Isa::I386 => "x86 (32-bit)",
            Isa::Aarch64 => "AArch64",
            Isa::Arm => "Arm (32-bit)",
            Isa::Riscv64 => "RISC-V",
            Isa::Loongarch64 => "LoongArch",
        }
    }
}

/// What kind of medium it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A hard disk.
    Disk,
    /// A floppy disk.
    Floppy,
    /// A CD or DVD.
    Disc,
}

/// Whose file systems are on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Linux or a BSD: systems with drivers for virtio.
    Unix,
    /// DOS, Windows and their file systems.
    Microsoft,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What kind of medium it is.
    pub medium: Medium,
    /// A PC's BIOS finds something to start.
    pub bios: bool,
    /// EFI firmware finds programs for these at the path of removable media.
    pub efi: Vec<Isa>,
    /// There are EFI programs for these, which firmware only finds by its variables.
    pub efi_by_variable: Vec<Isa>,
    /// The processors that its partitions are for, as their types say.
    pub root: Option<Isa>,
    /// Whose partitions are on it, if they say.
    pub family: Option<Family>,
    /// In words: `GPT with an EFI system partition`.
    pub summary: String,
}

/// Capacities of floppy disks in KiB.
const FLOPPIES: [u64; 7] = [160, 180, 320, 360, 720, 1440, 2880];

/// Looks at a medium.
///
/// # Errors
/// Those of reading it. What contradicts itself is no error but not there.
pub fn look(source: &dyn Source) -> io::Result<Contents> {
    let mut contents = Contents {
        medium: Medium::Disk,
        bios: false,
        efi: Vec::new(),
        efi_by_variable: Vec::new(),
        root: None,
        family: None,
        summary: String::new(),
    };
    if let Some(catalog) = el_torito::read(source)? {
        contents.medium = Medium::Disc;
        contents.bios = catalog.bios;
        for at in catalog.efi_images {
            contents.add_efi(esp::look(source, at));
        }
        contents.summary = match (contents.bios, contents.efi.is_empty()) {
            (false, true) => "a disc without a boot catalog".into(),
            _ => "a disc with a boot catalog".into(),
        };
        return Ok(contents);
    }
    let table = partitions::read(source)?;
    let parts = match table {
        Table::None => {
            let floppy = FLOPPIES.iter().any(|kib| kib << 10 == source.len_bytes());
            contents.medium = if floppy { Medium::Floppy } else { Medium::Disk };
            contents.summary = if floppy { "a floppy disk".into() } else { "a disk without partitions".into() };
            contents.bios = partitions::has_boot_code(source)?;
            contents.add_efi(esp::look(source, 0));
            if partitions::has_ext(source, 0)? {
                contents.family = Some(Family::Unix);
                contents.summary = "an ext file system without a boot loader".into();
            }
            return Ok(contents);
        }
        Table::Mbr(parts) => {
            contents.summary = "an MBR".into();
            contents.bios = partitions::has_boot_code(source)?;
            parts
        }
        Table::Gpt(parts) => {
            contents.summary = "a GPT".into();
            // The code in front of a GPT is a boot loader's only with a place for the rest of it.
            contents.bios = partitions::has_boot_code(source)?
                && (parts.iter().any(|part| part.kind == Kind::BiosBoot || part.active));
            parts
        }
    };
    for part in &parts {
        match part.kind {
            Kind::Efi => contents.add_efi(esp::look(source, part.start)),
            Kind::Linux(isa) => {
                contents.root = contents.root.or(isa);
                contents.family = Some(Family::Unix);
            }
            Kind::Microsoft => contents.family = contents.family.or(Some(Family::Microsoft)),
            Kind::BiosBoot | Kind::Other => {}
        }
    }
    if parts.iter().any(|part| part.kind == Kind::Efi) {
        contents.summary.push_str(" with an EFI system partition");
    }
    Ok(contents)
}

impl Contents {
    /// Whether any firmware may find something to start.
    pub fn starts(&self) -> bool {
        self.bios || !self.efi.is_empty() || !self.efi_by_variable.is_empty() || self.root.is_some()
    }

    fn add_efi(&mut self, efi: Efi) {
        self.efi.extend(efi.removable);
        self.efi_by_variable.extend(efi.installed);
        for list in [&mut self.efi, &mut self.efi_by_variable] {
            list.sort();
            list.dedup();
        }
    }
}
