//! Recognises and unpacks kernels for AArch64.
//!
//! - `Image`: Linux, Documentation/arch/arm64/booting.rst, "Call the kernel image".
//! - gzip or zstd around one.
//! - EFI zboot: a PE program whose payload is a packed `Image`; Linux, include/linux/pe.h and the header that
//!   drivers/firmware/efi/libstub/zboot-header.S lays out.
//! - ELF64: bare-metal programs, and `vmlinux`, which is made into an `Image`.
//! - Anything that is not clearly something else: a raw program.

use super::File;
use super::identify::{elf_machine, identify, pe_machine};
use super::unpack::{Packing, unpack};
use crate::error::{Error, Role};
use object::Endianness;
use object::elf::{EM_AARCH64, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// `magic` of the `Image` header, at offset 56.
const IMAGE_MAGIC: &[u8] = b"ARM\x64";
const IMAGE_HEADER_LEN: usize = 64;
/// Where kernels that leave `image_size` zero (before 3.17) must be, whatever their header says; also where raw
/// programs go.
const OLD_TEXT_OFFSET: u64 = 0x8_0000;
/// `Machine` of AArch64 in a PE header.
const PE_ARM64: u16 = 0xaa64;

/// A part of a program at a physical address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub paddr: u64,
    /// Contents.
    pub bytes: Vec<u8>,
    /// Zero bytes after the contents.
    pub zeros: u64,
}

/// A kernel, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Is placed `text_offset` bytes from a 2 MiB boundary and owns `image_size` bytes from there.
    Image { bytes: Vec<u8>, text_offset: u64, image_size: u64 },
    /// Says itself where it goes.
    Elf { segments: Vec<Segment>, entry: u64 },
    /// Starts at its first byte, `text_offset` bytes from the start of RAM.
    Raw { bytes: Vec<u8>, text_offset: u64 },
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

impl Kernel {
    /// Recognises `file`; what it unpacks to is at most `limit` bytes (the size of RAM).
    ///
    /// # Errors
    /// What the file is instead, or what is wrong with it.
    pub fn recognise(file: File, limit: u64) -> Result<Kernel, Error> {
        let File { name, bytes, .. } = file;
        match Packing::of(&bytes) {
            Some(packing) => {
                let inner = unpack(packing, &bytes, limit, &name)?;
                drop(bytes);
                Reader { name: &name, packed: Some(packing), limit }.kernel(inner)
            }
            None => Reader { name: &name, packed: None, limit }.kernel(bytes),
        }
    }
}

struct Reader<'a> {
    name: &'a str,
    packed: Option<Packing>,
    limit: u64,
}

impl Reader<'_> {
    fn other(&self, found: impl std::fmt::Display) -> Error {
        let found = match self.packed {
            Some(packing) => format!("compressed with {} and, unpacked, {found}", packing.name()),
            None => found.to_string(),
        };
        Error::NotAKernel { name: self.name.into(), found }
    }

    fn truncated(&self, have: usize, need: u64) -> Error {
        let why = format!("it has {have} of {need} bytes");
        Error::Truncated { role: Role::Kernel, name: self.name.into(), why }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged { role: Role::Kernel, name: self.name.into(), why: why.into() }
    }

    fn kernel(&self, bytes: Vec<u8>) -> Result<Kernel, Error> {
        if bytes.is_empty() {
            return Err(self.other("empty"));
        }
        if bytes.starts_with(b"\x7fELF") {
            return self.elf(&bytes);
        }
        if bytes.starts_with(b"MZ\0\0zimg") {
            return self.zboot(&bytes);
        }
        if bytes.get(56..).is_some_and(|rest| rest.starts_with(IMAGE_MAGIC)) {
            return self.image(bytes);
        }
        if let Some(found) = identify(&bytes) {
            return Err(match found.strip_prefix("compressed with ") {
                Some(method) if self.packed.is_none() => self.unsupported(method),
                _ => self.other(found),
            });
        }
        if bytes.starts_with(b"MZ")
            && let Some(machine) = self.pe(&bytes)?
        {
            return Err(self.other(format!("an EFI program for {}", pe_machine(machine))));
        }
        // C4.1 "A64 instruction set encoding": op0 (bits [28:25]) 0001 and 0011 are unallocated, 0000 is reserved.
        match le32(&bytes, 0) {
            Some(word) if word >> 25 & 0b1101 != 0b0001 && word >> 25 & 0b1111 != 0 => {
                self.entry(&bytes, 0)?;
                Ok(Kernel::Raw { bytes, text_offset: OLD_TEXT_OFFSET })
            }
            _ => Err(self.other("of no known kind and does not begin with an instruction")),
        }
    }

    fn unsupported(&self, method: &str) -> Error {
        let hint = match method {
            "xz" => "unpack it with `xz -dk`",
            "bzip2" => "unpack it with `bzip2 -dk`",
            "lz4" => "unpack it with `lz4 -d`",
            _ => "unpack it first",
        };
        Error::Compression { name: self.name.into(), method: method.into(), hint }
    }

    /// The machine of a PE program, if it is one, after a check that its sections are all there.
    /// Microsoft PE Format, "COFF File Header" and "Section Table".
    fn pe(&self, bytes: &[u8]) -> Result<Option<u16>, Error> {
        let Some(pe) = le32(bytes, 60).filter(|&at| at != 0) else { return Ok(None) };
        let pe = pe as usize;
        let Some(signature) = bytes.get(pe..pe + 4) else {
            return Err(self.truncated(bytes.len(), pe as u64 + 24));
        };
        if signature != b"PE\0\0" {
            return Ok(None);
        }
        let short = || self.truncated(bytes.len(), pe as u64 + 24);
        let machine = le16(bytes, pe + 4).ok_or_else(short)?;
        let sections = le16(bytes, pe + 6).ok_or_else(short)?;
        let optional = le16(bytes, pe + 20).ok_or_else(short)?;
        let table = pe + 24 + usize::from(optional);
        let mut need = 0;
        for n in 0..usize::from(sections) {
            let entry = table + 40 * n;
            let short = || self.truncated(bytes.len(), entry as u64 + 40);
            let len = le32(bytes, entry + 16).ok_or_else(short)?;
            let at = le32(bytes, entry + 20).ok_or_else(short)?;
            need = need.max(u64::from(at) + u64::from(len));
        }
        if need > bytes.len() as u64 {
            return Err(self.truncated(bytes.len(), need));
        }
        Ok(Some(machine))
    }

    /// A program whose instruction at `at` jumps past its last byte is cut short: what else it may be, it cannot run.
    fn entry(&self, bytes: &[u8], at: usize) -> Result<(), Error> {
        // C6.2 "B": the offset is in bits [25:0], signed, in instructions.
        let Some(word) = le32(bytes, at).filter(|word| word >> 26 == 0b00_0101 && word >> 25 & 1 == 0) else {
            return Ok(());
        };
        let end = at as u64 + (u64::from(word & 0x1ff_ffff) << 2) + 4;
        if end > bytes.len() as u64 { Err(self.truncated(bytes.len(), end)) } else { Ok(()) }
    }

    fn image(&self, bytes: Vec<u8>) -> Result<Kernel, Error> {
        if bytes.len() < IMAGE_HEADER_LEN {
            return Err(self.truncated(bytes.len(), IMAGE_HEADER_LEN as u64));
        }
        let field = |at| le64(&bytes, at).unwrap_or(0);
        let (text_offset, image_size, flags) = (field(8), field(16), field(24));
        if flags & 1 != 0 {
            return Err(Error::BigEndian { name: self.name.into() });
        }
        if bytes.starts_with(b"MZ") {
            self.pe(&bytes)?;
        }
        self.entry(&bytes, 0)?;
        self.entry(&bytes, 4)?;
        if image_size == 0 {
            let image_size = bytes.len() as u64;
            return Ok(Kernel::Image { bytes, text_offset: OLD_TEXT_OFFSET, image_size });
        }
        if text_offset >= 2 << 20 {
            return Err(self.damaged(&format!("its header asks for the impossible text offset {text_offset:#x}")));
        }
        let image_size = image_size.max(bytes.len() as u64);
        Ok(Kernel::Image { bytes, text_offset, image_size })
    }

    fn zboot(&self, bytes: &[u8]) -> Result<Kernel, Error> {
        let field = |at| le32(bytes, at).ok_or_else(|| self.truncated(bytes.len(), 64));
        let (start, len) = (field(8)? as usize, field(12)? as usize);
        let method = bytes.get(24..56).ok_or_else(|| self.truncated(bytes.len(), 64))?;
        let method = method.split(|&b| b == 0).next().unwrap_or_default();
        let method = String::from_utf8_lossy(method);
        match self.pe(bytes)? {
            Some(PE_ARM64) => {}
            Some(machine) => return Err(self.other(format!("an EFI zboot kernel for {}", pe_machine(machine)))),
            None => return Err(self.damaged("its EFI header is missing")),
        }
        let payload = bytes.get(start..).and_then(|rest| rest.get(..len));
        let payload = payload.ok_or_else(|| self.truncated(bytes.len(), start as u64 + len as u64))?;
        let packing = match &*method {
            "gzip" => Packing::Gzip,
            m if m.starts_with("zstd") => Packing::Zstd,
            _ => {
                let hint = "use a kernel with CONFIG_KERNEL_GZIP or CONFIG_KERNEL_ZSTD, or its plain Image";
                return Err(Error::Compression { name: self.name.into(), method: method.into_owned(), hint });
            }
        };
        let image = unpack(packing, payload, self.limit, self.name)?;
        match image.get(56..) {
            Some(rest) if rest.starts_with(IMAGE_MAGIC) => self.image(image),
            _ => Err(self.damaged("there is no Image in its zboot payload")),
        }
    }

    fn elf(&self, bytes: &[u8]) -> Result<Kernel, Error> {
        // ELF-64 Object File Format, 3 "ELF header": EI_CLASS, EI_DATA, e_machine.
        let (class, data) = (bytes.get(4).copied(), bytes.get(5).copied());
        let machine = |swap: bool| le16(bytes, 18).map(|m| elf_machine(if swap { m.swap_bytes() } else { m }));
        match (class, data) {
            (None, _) | (_, None) => return Err(self.truncated(bytes.len(), 64)),
            (Some(2), Some(1)) => {}
            (Some(2), Some(2)) if le16(bytes, 18) == Some(EM_AARCH64.0.swap_bytes()) => {
                return Err(Error::BigEndian { name: self.name.into() });
            }
            (_, data) => {
                let machine = machine(data == Some(2)).unwrap_or_default();
                return Err(self.other(format!("an ELF program for {machine}")));
            }
        }
        let short = |_| self.truncated(bytes.len(), 64);
        let header = FileHeader64::<Endianness>::parse(bytes).map_err(short)?;
        let endian = header.endian().map_err(|_| self.damaged("its ELF header makes no sense"))?;
        if header.e_machine(endian) != EM_AARCH64 {
            return Err(self.other(format!("an ELF program for {}", machine(false).unwrap_or_default())));
        }
        let table = header
            .e_phoff
            .get(endian)
            .saturating_add(u64::from(header.e_phnum.get(endian)) * u64::from(header.e_phentsize.get(endian)));
        if table > bytes.len() as u64 {
            return Err(self.truncated(bytes.len(), table));
        }
        let headers = header.program_headers(endian, bytes);
        let headers = headers.map_err(|_| self.damaged("its ELF program headers make no sense"))?;
        let mut loads = Vec::new();
        for ph in headers.iter().filter(|ph| ph.p_type(endian) == PT_LOAD && ph.p_memsz(endian) != 0) {
            let need = ph.p_offset(endian).saturating_add(ph.p_filesz(endian));
            let contents = ph.data(endian, bytes).map_err(|()| self.truncated(bytes.len(), need))?;
            let zeros = ph.p_memsz(endian).checked_sub(contents.len() as u64);
            let zeros = zeros.ok_or_else(|| self.damaged("an ELF segment is larger in the file than in memory"))?;
            loads.push((ph.p_vaddr(endian), ph.p_paddr(endian), contents, zeros));
        }
        if loads.is_empty() {
            return Err(self.other("an ELF file without a program (an object file?)"));
        }
        loads.sort_by_key(|(vaddr, ..)| *vaddr);
        // A vmlinux begins with the Image header and is linked to virtual addresses only.
        if let Some((_, _, first, _)) = loads.first()
            && first.get(56..).is_some_and(|rest| rest.starts_with(IMAGE_MAGIC))
        {
            return self.vmlinux(&loads);
        }
        // The entry is a virtual address where the two kinds differ.
        let entry = header.e_entry(endian);
        let inside = loads.iter().find(|(vaddr, _, contents, zeros)| {
            entry.checked_sub(*vaddr).is_some_and(|into| into < contents.len() as u64 + zeros)
        });
        let entry = inside.map_or(entry, |(vaddr, paddr, ..)| paddr.wrapping_add(entry - vaddr));
        let segments = loads
            .into_iter()
            .map(|(_, paddr, contents, zeros)| Segment { paddr, bytes: contents.to_vec(), zeros })
            .collect();
        Ok(Kernel::Elf { segments, entry })
    }

    /// Lays the segments out as the `Image` they were linked to be.
    fn vmlinux(&self, loads: &[(u64, u64, &[u8], u64)]) -> Result<Kernel, Error> {
        let base = loads.first().map_or(0, |(vaddr, ..)| *vaddr);
        let mut image = Vec::new();
        for (vaddr, _, contents, _) in loads {
            let start = vaddr - base;
            let end = start.saturating_add(contents.len() as u64);
            if end > self.limit {
                return Err(Error::Unpacks { name: self.name.into(), have_mib: self.limit >> 20 });
            }
            if end > image.len() as u64 {
                image.resize(end as usize, 0);
            }
            image[start as usize..end as usize].copy_from_slice(contents);
        }
        self.image(image)
    }
}

#[cfg(test)]
mod tests;
