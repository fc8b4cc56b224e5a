//! QEMU firmware configuration device (fw_cfg), memory-mapped, and as the ports of a PC ([`FwCfgPorts`]). The interface is described in QEMU's
//! documentation, "QEMU Firmware Configuration (fw_cfg) Device"; section titles in comments are from there.
//!
//! Named blobs that the machine hands to firmware: selected by a 16-bit key, then read byte by byte through the data
//! register, or copied by DMA. Register multi-byte values are big-endian; the data register is a string of bytes.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm::{Access, AddressSpace, BadState, BusError, Device, DeviceCell, Mmio, MmioPort, Regs, Window};
use vm_memory::{Bytes, GuestAddress};

// Register offsets ("Register Locations", Arm).
const DATA_LAST: u64 = 7;
const SELECTOR: u64 = 8;
const DMA_HIGH: u64 = 16;
const DMA_LOW: u64 = 20;

/// Item keys that mean the same on every machine ("Firmware Configuration Items").
pub mod key {
    /// The four bytes `QEMU`.
    pub const SIGNATURE: u16 = 0x00;
    /// Which interfaces there are: bit 0 this one, bit 1 DMA.
    pub const ID: u16 = 0x01;
    /// 16 bytes.
    pub const UUID: u16 = 0x02;
    /// Bytes of RAM, 64-bit little-endian.
    pub const RAM_SIZE: u16 = 0x03;
    /// Whether there is no display, 16-bit little-endian.
    pub const NOGRAPHIC: u16 = 0x04;
    /// CPUs at power-on, 16-bit little-endian.
    pub const NB_CPUS: u16 = 0x05;
    /// Bytes of the kernel image, 32-bit little-endian.
    pub const KERNEL_SIZE: u16 = 0x08;
    /// Bytes of the initial RAM disk, 32-bit little-endian.
    pub const INITRD_SIZE: u16 = 0x0b;
    /// Whether the firmware shows its boot menu, 16-bit little-endian.
    pub const BOOT_MENU: u16 = 0x0e;
    /// CPUs that can be plugged in, 16-bit little-endian.
    pub const MAX_CPUS: u16 = 0x0f;
    /// The kernel image.
    pub const KERNEL_DATA: u16 = 0x11;
    /// The initial RAM disk.
    pub const INITRD_DATA: u16 = 0x12;
    /// Bytes of the command line with its final NUL, 32-bit little-endian.
    pub const CMDLINE_SIZE: u16 = 0x14;
    /// The command line with a final NUL.
    pub const CMDLINE_DATA: u16 = 0x15;
    /// Whether ISA interrupt 0 is on input 2 of the I/O APIC: one byte. An item of x86 machines.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// The list of named files.
    pub const FILE_DIR: u16 = 0x19;
    /// The first named file; the others follow in order of name.
    pub const FILE_FIRST: u16 = 0x20;
}

/// Bit 14 of a key was a request for write access once; it is ignored. Bit 15 chooses architecture-specific items.
const KEY_MASK: u16 = 0xbfff;
/// A file's name with its final NUL ("File Directory").
const NAME_LEN: usize = 56;
/// Files that a 16-bit key space with the bits above can name.
const FILES_MAX: usize = 0x4000 - key::FILE_FIRST as usize;

/// The DMA register reads as this, so that firmware can find out that it exists: `QEMU CFG`.
const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;
// FWCfgDmaAccess.control ("Guest-side DMA Interface").
const DMA_ERROR: u32 = 1 << 0;
const DMA_READ: u32 = 1 << 1;
const DMA_SKIP: u32 = 1 << 2;
const DMA_SELECT: u32 = 1 << 3;
const DMA_WRITE: u32 = 1 << 4;
/// Bytes copied at a time.
const DMA_CHUNK: usize = 64 << 10;

/// A file could not be added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FileError {
    /// The name does not fit or is empty.
    #[error("fw_cfg file name `{0}` must have 1 to 55 bytes without NUL")]
    Name(String),
    /// The name is taken.
    #[error("fw_cfg file `{0}` exists already; give each file its own name")]
    Exists(String),
    /// No more keys, or a file of 4 GiB or more.
    #[error("fw_cfg file `{0}` does not fit: at most 16352 files, each below 4 GiB")]
    Full(String),
}

/// Makes the contents of a file anew.
pub type Make = Box<dyn Fn() -> Vec<u8> + Send>;

struct File {
    name: String,
    contents: Arc<[u8]>,
    writable: bool,
    make: Option<Make>,
}

/// The device. Items are added before the machine starts; they are not part of a snapshot, except what the guest wrote.
pub struct FwCfg {
    regs: FwCfgRegs,
    items: BTreeMap<u16, Arc<[u8]>>,
    /// In order of name.
    files: Vec<File>,
    directory: Arc<[u8]>,
    memory: Arc<AddressSpace>,
}

/// Its registers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FwCfgRegs {
    key: u16,
    /// Next byte of the selected item; it stops at the item's end.
    offset: u32,
    /// High half of a DMA address whose low half has not been written yet.
    dma_high: u32,
    /// Contents of files that the guest wrote to, by name.
    written: BTreeMap<String, Vec<u8>>,
}

impl Regs for FwCfgRegs {
    fn validate(&self) -> Result<(), BadState> {
        match self.written.keys().find(|name| name.len() >= NAME_LEN) {
            Some(name) => Err(BadState(format!("fw_cfg file name `{name}` is too long"))),
            None => Ok(()),
        }
    }
}

impl FwCfg {
    /// A device with the signature and the interface identification, whose DMA reaches the RAM of `memory`.
    pub fn new(memory: Arc<AddressSpace>) -> Self {
        let directory = Arc::from(0u32.to_be_bytes());
        let mut new = Self { regs: Default::default(), items: BTreeMap::new(), files: Vec::new(), directory, memory };
        new.add_item(key::SIGNATURE, *b"QEMU");
        new.add_item(key::ID, 3u32.to_le_bytes());
        new
    }

    /// Sets the item with a fixed key (see [`key`]), replacing what it was.
    pub fn add_item(&mut self, key: u16, contents: impl Into<Arc<[u8]>>) {
        self.items.insert(key & KEY_MASK, contents.into());
    }

    /// Adds a read-only file that firmware finds by `name`, such as `etc/acpi/tables`.
    ///
    /// # Errors
    /// [`FileError`] for an impossible or taken name.
    pub fn add_file(&mut self, name: &str, contents: impl Into<Arc<[u8]>>) -> Result<(), FileError> {
        self.insert_file(name, contents.into(), None, false)
    }

    /// Adds a read-only file whose contents `make` makes whenever firmware selects it, always of the same size: what depends
    /// on what firmware has done before. `make` must not reach this device.
    ///
    /// # Errors
    /// [`FileError`] for an impossible or taken name.
    pub fn add_made_file(&mut self, name: &str, make: Make) -> Result<(), FileError> {
        self.insert_file(name, make().into(), Some(make), false)
    }

    /// Adds a file whose bytes, but not size, the guest may change by DMA.
    ///
    /// # Errors
    /// [`FileError`] for an impossible or taken name.
    pub fn add_writable_file(&mut self, name: &str, contents: impl Into<Arc<[u8]>>) -> Result<(), FileError> {
        self.insert_file(name, contents.into(), None, true)
    }

    /// What is in the file `name` now.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.iter().find(|file| file.name == name)?;
        Some(self.file_contents(file))
    }

    /// The kernel, initial RAM disk and command line for firmware that boots them by itself. Empty parts are left out.
    pub fn add_kernel(&mut self, kernel: impl Into<Arc<[u8]>>, initrd: impl Into<Arc<[u8]>>, cmdline: &str) {
        let mut cmdline = cmdline.as_bytes().to_vec();
        if !cmdline.is_empty() {
            cmdline.push(0);
        }
        let parts = [
            (key::KERNEL_SIZE, key::KERNEL_DATA, kernel.into()),
            (key::INITRD_SIZE, key::INITRD_DATA, initrd.into()),
            (key::CMDLINE_SIZE, key::CMDLINE_DATA, Arc::from(cmdline)),
        ];
        for (size_key, data_key, data) in parts.into_iter().filter(|(_, _, data)| !data.is_empty()) {
            let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
            self.add_item(size_key, size.to_le_bytes());
            self.add_item(data_key, data);
        }
    }

    fn insert_file(
        &mut self,
        name: &str,
        contents: Arc<[u8]>,
        make: Option<Make>,
        writable: bool,
    ) -> Result<(), FileError> {
        if name.is_empty() || name.len() >= NAME_LEN || name.contains('\0') {
            return Err(FileError::Name(name.into()));
        }
        if self.files.len() >= FILES_MAX || u32::try_from(contents.len()).is_err() {
            return Err(FileError::Full(name.into()));
        }
        let Err(index) = self.files.binary_search_by(|file| file.name.as_str().cmp(name)) else {
            return Err(FileError::Exists(name.into()));
        };
        self.files.insert(index, File { name: name.into(), contents, writable, make });
        let mut directory = Vec::from((self.files.len() as u32).to_be_bytes());
        for (key, file) in (key::FILE_FIRST..).zip(&self.files) {
            directory.extend((file.contents.len() as u32).to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0; 2]);
            let mut name = [0; NAME_LEN];
            name[..file.name.len()].copy_from_slice(file.name.as_bytes());
            directory.extend(name);
        }
        self.directory = directory.into();
        Ok(())
    }

    fn file_contents<'a>(&'a self, file: &'a File) -> &'a [u8] {
        match self.regs.written.get(&file.name).filter(|written| written.len() == file.contents.len()) {
            Some(written) if file.writable => written,
            _ => &file.contents,
        }
    }

    fn selected_file(&self) -> Option<&File> {
        self.files.get(usize::from(self.regs.key.checked_sub(key::FILE_FIRST)?))
    }

    /// The bytes of the selected item, none for an unknown key.
    fn selected(&self) -> &[u8] {
        if self.regs.key == key::FILE_DIR {
            return &self.directory;
        }
        match (self.items.get(&self.regs.key), self.selected_file()) {
            (Some(item), _) => item,
            (None, Some(file)) => self.file_contents(file),
            (None, None) => &[],
        }
    }

    /// What of the selected item is not read yet.
    fn rest(&self) -> &[u8] {
        self.selected().get(self.regs.offset as usize..).unwrap_or(&[])
    }

    fn select(&mut self, key: u16) {
        self.regs.key = key & KEY_MASK;
        self.regs.offset = 0;
        let file = self.regs.key.checked_sub(key::FILE_FIRST).and_then(|n| self.files.get_mut(usize::from(n)));
        if let Some(File { contents, make: Some(make), .. }) = file {
            let made = make();
            if made.len() == contents.len() {
                *contents = made.into();
            }
        }
    }

    fn advance(&mut self, len: u32) {
        let end = u32::try_from(self.selected().len()).unwrap_or(u32::MAX);
        self.regs.offset = self.regs.offset.saturating_add(len).min(end);
    }

    /// Reads the data register: the next bytes as a string, zeros after the end ("Data Register").
    fn data(&mut self, width: u8) -> u64 {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(self.rest().iter().take(width.into())) {
            *to = *from;
        }
        self.advance(width.into());
        u64::from_le_bytes(bytes)
    }

    /// Serves the FWCfgDmaAccess structure at `address`. Only RAM takes part: a structure or a buffer anywhere else,
    /// including in this device, is an error. A structure that cannot be read cannot be told so and is dropped.
    fn dma(&mut self, address: u64) {
        let ram = self.memory.dma();
        let mut raw = [0; 16];
        if ram.read_slice(&mut raw, GuestAddress(address)).is_err() {
            vm::log!(GuestError, "fw_cfg: DMA structure at {address:#x} is not in RAM");
            return;
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3, buffer @ ..] = raw;
        let control = u32::from_be_bytes([c0, c1, c2, c3]);
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        let buffer = u64::from_be_bytes(buffer);
        if control & DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let done = if control & DMA_READ != 0 {
            self.dma_read(buffer, len)
        } else if control & DMA_WRITE != 0 {
            self.dma_write(buffer, len)
        } else {
            if control & DMA_SKIP != 0 {
                self.advance(len);
            }
            Some(())
        };
        let status = if done.is_some() { 0 } else { DMA_ERROR };
        if ram.write_slice(&status.to_be_bytes(), GuestAddress(address)).is_err() {
            vm::log!(GuestError, "fw_cfg: DMA structure at {address:#x} went away");
        }
    }

    /// Copies `len` bytes to the guest, zeros after the end of the item.
    fn dma_read(&mut self, buffer: u64, len: u32) -> Option<()> {
        buffer.checked_add(len.into())?;
        let ram = self.memory.dma();
        let data = self.rest();
        let data = data.get(..len as usize).unwrap_or(data);
        ram.write_slice(data, GuestAddress(buffer)).ok()?;
        let zeros = [0; DMA_CHUNK];
        let mut done = data.len() as u64;
        while done < u64::from(len) {
            let n = usize::try_from(u64::from(len) - done).map_or(DMA_CHUNK, |left| left.min(DMA_CHUNK));
            ram.write_slice(zeros.get(..n)?, GuestAddress(buffer + done)).ok()?;
            done += n as u64;
        }
        self.advance(len);
        Some(())
    }

    /// Copies `len` bytes from the guest into a writable file, which it must not exceed.
    fn dma_write(&mut self, buffer: u64, len: u32) -> Option<()> {
        if self.rest().len() < len as usize {
            return None;
        }
        let file = self.selected_file().filter(|file| file.writable)?;
        let name = file.name.clone();
        let mut contents = Cow::from(self.file_contents(file)).into_owned();
        let start = self.regs.offset as usize;
        let target = contents.get_mut(start..start.checked_add(len as usize)?)?;
        self.memory.dma().read_slice(target, GuestAddress(buffer)).ok()?;
        self.regs.written.insert(name, contents);
        self.advance(len);
        Some(())
    }
}

impl Device for FwCfg {
    type Regs = FwCfgRegs;
    const MODEL: &'static str = "fw_cfg";

    fn regs(&self) -> &FwCfgRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut FwCfgRegs {
        &mut self.regs
    }
}

/// The registers as ports of a PC ("Register Locations", x86): 12 ports, 0x510 on. Selector (two bytes, little-endian), data
/// (the byte after its first), from the fifth on the DMA address.
pub struct FwCfgPorts(pub Arc<DeviceCell<FwCfg>>);

impl FwCfgPorts {
    /// Number of ports.
    pub const LEN: u64 = 12;
    const SELECTOR: u64 = 0;
    const DATA: u64 = 1;
    const DMA: u64 = 4;

    /// The same register in memory.
    fn dma(at: Access) -> Option<Access> {
        let into = at.offset.checked_sub(Self::DMA)?;
        Some(Access { window: 0, offset: DMA_HIGH + into, width: at.width })
    }
}

impl MmioPort for FwCfgPorts {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        match (at.offset, at.width, Self::dma(at)) {
            (_, _, Some(dma)) => self.0.read(dma),
            (Self::DATA, 1, _) => self.0.read(Access { window: 0, offset: 0, width: 1 }),
            _ => Err(BusError::BadOffset),
        }
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        match (at.offset, at.width, Self::dma(at)) {
            (_, _, Some(dma)) => self.0.write(dma, value),
            (Self::SELECTOR, 2, _) => {
                let value = (value as u16).swap_bytes().into();
                self.0.write(Access { window: 0, offset: SELECTOR, width: 2 }, value)
            }
            // "Data Register": writing it did something once and is ignored now.
            (Self::DATA, 1, _) => Ok(()),
            _ => Err(BusError::BadOffset),
        }
    }
}

impl Mmio for FwCfg {
    const WINDOWS: &'static [Window] = &[Window { len: 0x18, widths: 1..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        match (at.offset, at.width) {
            (0..=DATA_LAST, width) => Ok(self.data(width)),
            (DMA_HIGH, 8) => Ok(DMA_SIGNATURE.swap_bytes()),
            (DMA_HIGH, 4) => Ok(((DMA_SIGNATURE >> 32) as u32).swap_bytes().into()),
            (DMA_LOW, 4) => Ok((DMA_SIGNATURE as u32).swap_bytes().into()),
            // "Selector Register": write-only.
            _ => Err(BusError::BadOffset),
        }
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        match (at.offset, at.width) {
            (SELECTOR, 2) => self.select((value as u16).swap_bytes()),
            (DMA_HIGH, 8) => self.dma(value.swap_bytes()),
            (DMA_HIGH, 4) => self.regs.dma_high = (value as u32).swap_bytes(),
            (DMA_LOW, 4) => {
                let high = std::mem::take(&mut self.regs.dma_high);
                self.dma(u64::from(high) << 32 | u64::from((value as u32).swap_bytes()));
            }
            // "Data Register": writing it did something once and is ignored now.
            (0..=DATA_LAST, _) => {}
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Poke, check_reset, check_save_load, hammer};
    use vm::{Backing, DeviceCell, Gpa, Mapping, MmioPort, Part, Ram};

    const RAM: u64 = 0x4000_0000;
    const CFG: u64 = 0x0902_0000;

    fn bench_with(fill: impl FnOnce(&mut FwCfg)) -> (Arc<DeviceCell<FwCfg>>, Arc<AddressSpace>) {
        let space = AddressSpace::new();
        let mut device = FwCfg::new(space.clone());
        fill(&mut device);
        let cell = Arc::new(DeviceCell::new(device));
        let ram = Ram::new(0x10_0000).unwrap();
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        space.map(Mapping { name: "ram".into(), gpa: Gpa(RAM), len: ram.len(), priority: 0, backing }).unwrap();
        let port: Arc<dyn MmioPort> = cell.clone();
        let backing = Backing::Mmio { port, window: 0, offset: 0 };
        space.map(Mapping { name: "fw_cfg".into(), gpa: Gpa(CFG), len: 0x18, priority: 0, backing }).unwrap();
        (cell, space)
    }

    #[test]
    fn ports_of_a_pc() {
        let (cell, space) = bench();
        let ports = FwCfgPorts(cell);
        let at = |offset, width| Access { window: 0, offset, width };
        ports.write(at(0, 2), key::SIGNATURE.into()).unwrap();
        let text: Vec<u8> = (0..6).map(|_| ports.read(at(1, 1)).unwrap() as u8).collect();
        assert_eq!(text, *b"QEMU\0\0");
        ports.write(at(0, 2), key::FILE_DIR.into()).unwrap();
        assert_eq!((0..4).fold(0, |value, _| value << 8 | ports.read(at(1, 1)).unwrap()), 2);
        let signature = [4, 8].map(|offset| (ports.read(at(offset, 4)).unwrap() as u32).to_le_bytes());
        assert_eq!(signature.as_flattened(), b"QEMU CFG");
        // Control: select item 0, read; 4 bytes to RAM + 0x100.
        let request: Vec<u8> = [0x0000_000a_u32, 4].into_iter().flat_map(u32::to_be_bytes).collect();
        space.write(Gpa(RAM), &request).unwrap();
        space.write(Gpa(RAM + 8), &(RAM + 0x100).to_be_bytes()).unwrap();
        ports.write(at(4, 4), 0).unwrap();
        ports.write(at(8, 4), (RAM as u32).swap_bytes().into()).unwrap();
        assert_eq!(space.view().load(Gpa(RAM + 0x100), 4), Ok(u32::from_le_bytes(*b"QEMU").into()));
        for (offset, width) in [(0, 1), (0, 2), (1, 2), (2, 1), (3, 1), (0, 4)] {
            assert_eq!(ports.read(at(offset, width)), Err(BusError::BadOffset), "{offset} {width}");
        }
        assert_eq!(ports.write(at(0, 4), 0), Err(BusError::BadOffset));
        assert!(ports.read(at(11, 8)).is_err());
    }

    fn bench() -> (Arc<DeviceCell<FwCfg>>, Arc<AddressSpace>) {
        bench_with(|cfg| {
            cfg.add_file("etc/b", *b"second").unwrap();
            cfg.add_writable_file("etc/a", *b"first").unwrap();
        })
    }

    fn select(cell: &DeviceCell<FwCfg>, key: u16) {
        cell.write_n(SELECTOR, 2, key.swap_bytes().into()).unwrap();
    }

    fn item(cell: &DeviceCell<FwCfg>, key: u16, len: usize) -> Vec<u8> {
        select(cell, key);
        (0..len).map(|_| cell.read_n(0, 1).unwrap() as u8).collect()
    }

    /// Puts a structure at `RAM` and starts it with one 64-bit write; returns the control word afterwards.
    fn dma(cell: &DeviceCell<FwCfg>, space: &AddressSpace, control: u32, len: u32, buffer: u64) -> u32 {
        let raw = [&control.to_be_bytes()[..], &len.to_be_bytes(), &buffer.to_be_bytes()].concat();
        space.write(Gpa(RAM), &raw).unwrap();
        cell.write_n(DMA_HIGH, 8, RAM.swap_bytes()).unwrap();
        let mut control = [0; 4];
        space.read(Gpa(RAM), &mut control).unwrap();
        u32::from_be_bytes(control)
    }

    #[test]
    fn signature_id_and_register_map() {
        let (cfg, _) = bench();
        assert_eq!(item(&cfg, key::SIGNATURE, 6), *b"QEMU\0\0");
        assert_eq!(item(&cfg, key::ID, 4), 3u32.to_le_bytes());
        assert_eq!(cfg.read_n(DMA_HIGH, 8), Ok(u64::from_le_bytes(*b"QEMU CFG")));
        assert_eq!(cfg.read_n(DMA_HIGH, 4), Ok(u32::from_le_bytes(*b"QEMU").into()));
        assert_eq!(cfg.read_n(DMA_LOW, 4), Ok(u32::from_le_bytes(*b" CFG").into()));
        assert_eq!(cfg.read_n(SELECTOR, 2), Err(BusError::BadOffset));
        assert_eq!(cfg.read_n(DMA_HIGH, 2), Err(BusError::BadOffset));
        assert_eq!(cfg.read_n(0x18, 1), Err(BusError::BadOffset));
    }

    #[test]
    fn data_is_a_string_whatever_the_width() {
        let (cfg, _) = bench();
        select(&cfg, key::FILE_FIRST + 1);
        assert_eq!(cfg.read_n(0, 4), Ok(u32::from_le_bytes(*b"seco").into()));
        assert_eq!(cfg.read_n(0, 8), Ok(u64::from_le_bytes(*b"nd\0\0\0\0\0\0")));
        select(&cfg, (key::FILE_FIRST + 1) | 0x4000);
        assert_eq!(cfg.read_n(0, 2), Ok(u16::from_le_bytes(*b"se").into()));
        cfg.write_n(0, 1, 0).unwrap();
        assert_eq!(cfg.read_n(0, 1), Ok(b'c'.into()));
        assert_eq!(item(&cfg, 0x3fff, 2), [0, 0]);
    }

    #[test]
    fn directory_is_sorted() {
        let (cfg, _) = bench();
        let dir = item(&cfg, key::FILE_DIR, 4 + 2 * 64);
        assert_eq!(dir[..4], 2u32.to_be_bytes());
        let entries: Vec<_> = dir[4..]
            .chunks(64)
            .map(|e| (e[3], u16::from_be_bytes([e[4], e[5]]), String::from_utf8_lossy(&e[8..14]).into_owned()))
            .collect();
        assert_eq!(entries, [(5, 0x20, "etc/a\0".into()), (6, 0x21, "etc/b\0".into())]);
        assert_eq!(item(&cfg, 0x20, 5), *b"first");
        let mut cfg = FwCfg::new(AddressSpace::new());
        cfg.add_file("x", []).unwrap();
        assert_eq!(cfg.add_file("x", []), Err(FileError::Exists("x".into())));
        assert!(cfg.add_file(&"x".repeat(55), []).is_ok());
        assert!(cfg.add_file(&"x".repeat(56), []).is_err());
        assert!(cfg.add_file("", []).is_err());
    }

    #[test]
    fn some_files_are_made_when_they_are_selected() {
        let times = Arc::new(std::sync::atomic::AtomicU8::new(0));
        let counted = times.clone();
        let (cfg, space) = bench_with(|cfg| {
            let make = move || match counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                3 => vec![9; 3],
                n => vec![n, 7],
            };
            cfg.add_made_file("etc/made", Box::new(make)).unwrap();
        });
        assert_eq!(item(&cfg, key::FILE_FIRST, 3), [1, 7, 0]);
        assert_eq!(dma(&cfg, &space, u32::from(key::FILE_FIRST) << 16 | DMA_SELECT | DMA_READ, 2, RAM + 0x100), 0);
        assert_eq!(space.view().load(Gpa(RAM + 0x100), 2), Ok(0x0702));
        assert_eq!(item(&cfg, key::FILE_FIRST, 3), [2, 7, 0], "of another size: as it was");
        assert_eq!(item(&cfg, key::SIGNATURE, 4), *b"QEMU");
        assert_eq!(times.load(std::sync::atomic::Ordering::SeqCst), 4);
    }

    #[test]
    fn kernel_items() {
        let (cfg, _) = bench_with(|cfg| cfg.add_kernel(*b"kern", *b"", "quiet"));
        assert_eq!(item(&cfg, key::KERNEL_SIZE, 4), 4u32.to_le_bytes());
        assert_eq!(item(&cfg, key::KERNEL_DATA, 4), *b"kern");
        assert_eq!(item(&cfg, key::CMDLINE_SIZE, 4), 6u32.to_le_bytes());
        assert_eq!(item(&cfg, key::CMDLINE_DATA, 6), *b"quiet\0");
        assert_eq!(item(&cfg, key::INITRD_SIZE, 4), [0; 4]);
    }

    #[test]
    fn dma_selects_skips_reads_and_pads() {
        let (cfg, space) = bench();
        let mut got = [0xff; 6];
        assert_eq!(dma(&cfg, &space, 0x21 << 16 | DMA_SELECT | DMA_SKIP, 3, 0), 0);
        assert_eq!(dma(&cfg, &space, DMA_READ, 5, RAM + 0x100), 0);
        space.read(Gpa(RAM + 0x100), &mut got).unwrap();
        assert_eq!(got, *b"ond\0\0\0");
        // Two 32-bit writes start a transfer with the second.
        space.write(Gpa(RAM), &(0x20 << 16 | DMA_SELECT | DMA_READ).to_be_bytes()).unwrap();
        cfg.w(DMA_HIGH, 0);
        cfg.w(DMA_LOW, (RAM as u32).swap_bytes().into());
        space.read(Gpa(RAM + 0x100), &mut got).unwrap();
        assert_eq!(got, *b"first\0");
        // A long read pads with zeros over many chunks.
        space.write(Gpa(RAM + 0x4_0000), &[7; 2]).unwrap();
        assert_eq!(dma(&cfg, &space, 0x20 << 16 | DMA_SELECT | DMA_READ, 0x3_ff01, RAM + 0x100), 0);
        let mut end = [9; 2];
        space.read(Gpa(RAM + 0x4_0000), &mut end).unwrap();
        assert_eq!(end, [0, 7]);
    }

    #[test]
    fn dma_writes_only_what_is_writable() {
        let (cfg, space) = bench();
        space.write(Gpa(RAM + 0x100), b"FIRSTLY").unwrap();
        let select = |key: u32| key << 16 | DMA_SELECT | DMA_WRITE;
        assert_eq!(dma(&cfg, &space, select(0x20), 6, RAM + 0x100), DMA_ERROR);
        assert_eq!(dma(&cfg, &space, select(0x21), 2, RAM + 0x100), DMA_ERROR);
        assert_eq!(dma(&cfg, &space, select(0x00), 2, RAM + 0x100), DMA_ERROR);
        assert_eq!(dma(&cfg, &space, select(0x20), 2, RAM + 0x100), 0);
        assert_eq!(dma(&cfg, &space, DMA_WRITE, 1, RAM + 0x102), 0);
        assert_eq!(item(&cfg, 0x20, 5), *b"FIRst");
        cfg.with(|cfg| assert_eq!(cfg.file("etc/a"), Some(&b"FIRst"[..]))).unwrap();
        check_save_load(&cfg, || assert_eq!(dma(&cfg, &space, select(0x20), 5, RAM), 0));
        cfg.reset(vm::ResetKind::Cold);
        assert_eq!(item(&cfg, 0x20, 5), *b"first");
    }

    #[test]
    fn dma_outside_ram_is_an_error_and_ends() {
        let (cfg, space) = bench();
        let read = 0x20 << 16 | DMA_SELECT | DMA_READ;
        for (len, buffer) in [
            (4, CFG),
            (4, CFG + DMA_HIGH),
            (4, 0),
            (u32::MAX, RAM),
            (u32::MAX, u64::MAX - 4),
            (32, u64::MAX - 4),
            (1, RAM + 0x10_0000),
            (2, RAM + 0xf_ffff),
        ] {
            assert_eq!(dma(&cfg, &space, read, len, buffer), DMA_ERROR, "{len:#x} at {buffer:#x}");
            assert_eq!(dma(&cfg, &space, 0x20 << 16 | DMA_SELECT | DMA_WRITE, len, buffer), DMA_ERROR);
        }
        for address in [CFG, CFG + DMA_HIGH, 0, u64::MAX - 3, RAM + 0xf_fff8] {
            cfg.write_n(DMA_HIGH, 8, address.swap_bytes()).unwrap();
        }
        assert_eq!(dma(&cfg, &space, DMA_SKIP, u32::MAX, 0), 0);
        assert_eq!(cfg.read_n(0, 8), Ok(0));
    }

    #[test]
    fn saved_loaded_and_reset() {
        let (cfg, _) = bench();
        check_save_load(&cfg, || select(&cfg, 0x20));
        let (cfg, _) = bench();
        check_reset(&cfg, || cfg.w(DMA_HIGH, 1));
    }

    #[test]
    fn any_access_is_answered() {
        let (cfg, space) = bench();
        hammer(&cfg, 20_000, |random| {
            let raw: Vec<u8> = (0..16).map(|_| (random.next() & random.next()) as u8).collect();
            space.write(Gpa(RAM), &raw).unwrap();
            if random.below(4) == 0 {
                cfg.write_n(DMA_HIGH, 8, RAM.swap_bytes()).unwrap();
            }
        });
    }
}
