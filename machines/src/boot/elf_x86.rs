//! Programs in ELF for x86: their segments, and the note that says where they are entered in 32-bit mode.
//!
//! System V ABI, "Object Files" and "Program Loading"; Xen, docs/misc/pvh.pandoc ("x86/HVM direct boot ABI").

use super::{Blob, File};
use crate::error::{Error, Role};
use object::Endianness;
use object::elf::{EM_386, EM_X86_64, FileHeader32, FileHeader64, NoteType, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use vm::Gpa;

/// `EI_CLASS` of 64-bit files.
const CLASS_64: u8 = 2;
/// Type of the note "XEN_ELFNOTE_PHYS32_ENTRY".
const PHYS32_ENTRY: NoteType = NoteType(18);

/// A program.
pub struct Elf {
    /// Its segments at their physical addresses.
    pub parts: Vec<Blob>,
    /// Physical address of its first instruction.
    pub entry: u64,
    /// Its entry for 32-bit mode without paging, if a note names one.
    pub entry_32: Option<u32>,
    /// It is of the 64-bit class.
    pub is_64_bit: bool,
}

impl Elf {
    /// Whether a file is ELF for x86.
    pub fn is_for_pc(bytes: &[u8]) -> bool {
        let machine = bytes.get(18..20).map(|b| u16::from_le_bytes([b[0], b[1]]));
        bytes.starts_with(b"\x7fELF") && [Some(EM_386.0), Some(EM_X86_64.0)].contains(&machine)
    }

    /// Reads one.
    ///
    /// # Errors
    /// A file that is cut off, or contradicts itself.
    pub fn read(file: &File) -> Result<Elf, Error> {
        match file.bytes.get(4) {
            Some(&CLASS_64) => read::<FileHeader64<Endianness>>(file, true),
            _ => read::<FileHeader32<Endianness>>(file, false),
        }
    }
}

fn read<H: FileHeader<Endian = Endianness>>(file: &File, is_64_bit: bool) -> Result<Elf, Error> {
    let bytes = &*file.bytes;
    let damaged = |why: &str| Error::Damaged { role: Role::Kernel, name: file.name.clone(), why: why.into() };
    let truncated = |need: u64| {
        let why = format!("it has {} of {need} bytes", bytes.len());
        Error::Truncated { role: Role::Kernel, name: file.name.clone(), why }
    };
    let header = H::parse(bytes).map_err(|_| truncated(64))?;
    let endian = header.endian().map_err(|_| damaged("its ELF header makes no sense"))?;
    let headers =
        header.program_headers(endian, bytes).map_err(|_| damaged("its ELF program headers are not in it"))?;
    let mut elf = Elf { parts: Vec::new(), entry: header.e_entry(endian).into(), entry_32: None, is_64_bit };
    let mut entry = None;
    for ph in headers {
        if let Ok(Some(mut notes)) = ph.notes(endian, bytes) {
            while let Ok(Some(note)) = notes.next() {
                let value = note.desc().get(..4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                if note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY {
                    elf.entry_32 = value;
                }
            }
        }
        let size: u64 = ph.p_memsz(endian).into();
        if ph.p_type(endian) != PT_LOAD || size == 0 {
            continue;
        }
        let (offset, filled): (u64, u64) = (ph.p_offset(endian).into(), ph.p_filesz(endian).into());
        let contents = ph.data(endian, bytes).map_err(|()| truncated(offset.saturating_add(filled)))?;
        let zeros =
            size.checked_sub(filled).ok_or_else(|| damaged("an ELF segment is larger in the file than in memory"))?;
        let (vaddr, paddr): (u64, u64) = (ph.p_vaddr(endian).into(), ph.p_paddr(endian).into());
        // The entry is a virtual address where the two kinds differ.
        if let Some(into) = elf.entry.checked_sub(vaddr).filter(|into| *into < size) {
            entry = Some(paddr.wrapping_add(into));
        }
        let name = format!("{} (segment {})", file.name, elf.parts.len());
        elf.parts.push(Blob { name, gpa: Gpa(paddr), bytes: contents.to_vec().into(), zeros });
    }
    if elf.parts.is_empty() {
        let found = "an ELF file without a program (an object file?)".into();
        return Err(Error::NotAPcKernel { name: file.name.clone(), found });
    }
    elf.entry = entry.unwrap_or(elf.entry);
    Ok(elf)
}
