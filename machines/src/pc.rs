//! Machines `pc` (440FX and PIIX3, as QEMU's `pc-i440fx`), `q35` (Q35 and ICH9) and `isapc` (without PCI).
//!
//! | address       | what                                                        |
//! |---------------|-------------------------------------------------------------|
//! | `0x0000_0000` | RAM, at most 3 GiB, of `q35` 2.75 GiB or 2 GiB if there is  |
//! |               | more; the rest from 4 GiB on                                |
//! | `0x000a_0000` | VGA                                                         |
//! | `0x000c_0000` | shadow RAM, or option ROMs and the end of the firmware      |
//! | `0x8000_0000` | PCI devices, or from `0xc000_0000` with more than 2 GiB     |
//! | `0xb000_0000` | configuration registers (ECAM) of `q35`                     |
//! | `0xfec0_0000` | I/O APIC                                                    |
//! | `0xfed0_0000` | HPET                                                        |
//! | `0xfee0_0000` | local APIC                                                  |
//! | below 4 GiB   | firmware: a ROM, or flash and below it that for variables   |
//!
//! - here: what is asked for, and what is in memory at the start;
//! - [`board`]: the chips of the mainboard; [`interrupts`]: how their lines meet; [`chip_set`]: how chip sets differ;
//! - [`devices`]: what is plugged into it; [`firmware`]: what firmware is told.
//!
//! Without `-kernel` the machine starts in the firmware (SeaBIOS, or OVMF). With it the kernel is started directly, and the board
//! does what it needs of firmware: ACPI tables lie in ROM, and power management is where they say.

pub mod board;
pub mod chip_set;
pub mod devices;
pub mod firmware;
pub mod interrupts;
#[cfg(test)]
mod tests;

use crate::acpi::{self, Acpi};
use crate::board::Board;
use crate::boot::x86::{self, Kind, MemoryMap, Module};
use crate::boot::{Blob, File};
use crate::builder::{Boot, MAX_VCPUS};
use crate::devices::ScsiUnit;
use crate::error::Error;
pub use chip_set::ChipSet;
pub use hw::rtc::cmos::BootDevice;
use std::sync::Arc;
use vm::Gpa;

/// RAM below the devices, in bytes.
const LOW_RAM: u64 = 3 << 30;
const HIGH_RAM: u64 = 4 << 30;
/// The same with a Q35: at most, and if there is more.
const LOW_RAM_Q35: (u64, u64) = (ECAM, 2 << 30);
/// First address of PCI devices' memory, as SeaBIOS chooses it too.
const PCI_MEMORY: u64 = 2 << 30;
/// Where SeaBIOS puts the configuration registers of a Q35.
const ECAM: u64 = 0xb000_0000;
const ECAM_LEN: u64 = 256 << 20;
/// Where the firmware's end can be seen, and the tables if there is no firmware.
const ROM: u64 = 0xe_0000;
const ROM_LEN: u64 = 0x2_0000;
/// Firmware at most, in bytes, in a ROM or in both flash chips together.
pub const FIRMWARE_MAX: u64 = 16 << 20;
/// An adapter's BIOS at most, in bytes.
pub const OPTION_ROM_MAX: u64 = 1 << 16;
/// I/O ports of power management, as SeaBIOS chooses them too.
const PM_BASE: u16 = 0x600;
const SMBUS_BASE: u16 = 0x700;

/// The machine as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Which chips there are: the machine.
    pub chip_set: ChipSet,
    /// CPU model with its feature flags.
    pub cpu: String,
    /// Physical address bits of that model.
    pub physical_bits: u32,
    /// That model has 64-bit mode.
    pub long_mode: bool,
    /// Number of CPUs.
    pub cpus: u32,
    /// Bytes of RAM.
    pub ram: u64,
    /// Serial ports: `None` for one whose line leads nowhere. The first four are there.
    pub serials: Vec<Option<String>>,
    /// The printer's host end, or `None` inside for a port whose line leads nowhere, if there is a parallel port.
    pub parallel: Option<Option<String>>,
    /// There is a VGA.
    pub vga: bool,
    /// Firmware shows on the first serial port what it shows on a screen.
    pub nographic: bool,
    /// IDE drives, by channel and drive, of which there are four; with a Q35 Serial ATA drives by port.
    pub ide: [Option<IdeDrive>; IDE_MAX],
    /// Floppy drives, with a disk or empty.
    pub floppies: [Option<Option<String>>; 2],
    /// Functions on PCI in the order of their device numbers.
    pub devices: Vec<PciDevice>,
    /// Devices at I/O ports.
    pub ports: Vec<PortDevice>,
    /// Disks in the flash that holds firmware and below it the flash for its variables, in place of a ROM.
    pub flash: [Option<String>; 2],
    /// Where firmware looks for a system.
    pub boot: BootOrder,
    /// Disk requests run inside the guest's access, so that runs can be repeated.
    pub synchronous: bool,
}

/// Most places for IDE or Serial ATA drives.
pub const IDE_MAX: usize = 6;

/// An IDE or Serial ATA drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdeDrive {
    /// The disk `drive`.
    Disk { drive: String, serial: String },
    /// A CD-ROM drive with the disc `drive`, or empty.
    Cdrom { drive: Option<String>, serial: String },
}

/// A function on PCI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PciDevice {
    /// virtio-blk with the disk `drive`; `serial` is what GET_ID gives.
    VirtioBlk { drive: String, serial: String },
    /// An NVMe controller whose namespace is the disk `drive`.
    Nvme { drive: String, serial: String },
    /// A SCSI host.
    VirtioScsi { units: Vec<ScsiUnit> },
    /// The shared folder `folder`, mounted as `tag`.
    Virtio9p { folder: String, tag: String },
    /// A memory balloon.
    VirtioBalloon,
    /// virtio-net on the network `netdev`, or with its cable unplugged.
    VirtioNet { netdev: Option<String>, mac: [u8; 6] },
    /// virtio-rng.
    VirtioRng,
    /// A virtio console on the serial line `chardev`.
    VirtioConsole { chardev: String },
    /// An 82540EM on the network `netdev`, or with its cable unplugged.
    E1000 { netdev: Option<String>, mac: [u8; 6] },
}

/// A device at I/O ports from `port` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDevice {
    pub port: u16,
    pub kind: PortKind,
}

/// Its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Written bytes go to `chardev`.
    Debugcon { chardev: String },
    /// A write ends the program; of `len` (1 to 4) ports.
    DebugExit { len: u8 },
    /// A guest says that it has panicked.
    Pvpanic,
}

/// A drive or card from which a system may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootPlace {
    /// The function with this place in [`Config::devices`].
    Pci(usize),
    /// The drive with this place in [`Config::ide`].
    Ide(usize),
}

/// Where firmware looks for a system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootOrder {
    /// Kinds of drives in this order.
    pub order: [BootDevice; 3],
    /// Before them these drives, in this order.
    pub first: Vec<BootPlace>,
    /// Show a menu.
    pub menu: bool,
    /// How long the menu can be asked for, in ms.
    pub menu_wait_ms: Option<u16>,
    /// How long to wait before another attempt if nothing boots, in ms; -1 for ever.
    pub retry_ms: Option<i32>,
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `-bios`.
    pub firmware: Option<File>,
    /// BIOS of the VGA.
    pub vga_bios: Option<File>,
    /// `-kernel`.
    pub kernel: Option<File>,
    /// `-initrd`.
    pub modules: Vec<Module>,
    /// `-append`.
    pub cmdline: String,
}

/// Contents of the ROMs.
#[derive(Clone, Debug, Default)]
pub struct Roms {
    /// What ends at 4 GiB and, in its last 128 KiB, at 1 MiB.
    pub system: Vec<u8>,
    /// The VGA's BIOS.
    pub vga: Option<Vec<u8>>,
}

impl Config {
    fn name(&self) -> &'static str {
        self.chip_set.machine()
    }

    fn has_pci(&self) -> bool {
        self.chip_set.has_pci()
    }

    fn low_ram(&self) -> u64 {
        match self.chip_set {
            ChipSet::Q35 if self.ram > LOW_RAM_Q35.0 => LOW_RAM_Q35.1,
            _ => self.ram.min(LOW_RAM),
        }
    }

    fn high_ram(&self) -> u64 {
        self.ram - self.low_ram()
    }

    /// RAM as the kernel is told of it. The last KiB below 640 KiB and what follows are the firmware's.
    fn memory_map(&self) -> MemoryMap {
        let mut map = vec![(0..0x9_fc00, Kind::Ram), (0x9_fc00..0x10_0000, Kind::Reserved)];
        map.push((0x10_0000..self.low_ram(), Kind::Ram));
        if self.chip_set == ChipSet::Q35 {
            map.push((ECAM..ECAM + ECAM_LEN, Kind::Reserved));
        }
        if self.high_ram() > 0 {
            map.push((HIGH_RAM..HIGH_RAM + self.high_ram(), Kind::Ram));
        }
        map
    }

    fn acpi(&self) -> Acpi {
        Acpi::new(&self.described())
    }

    /// What ACPI tables say.
    fn described(&self) -> acpi::Pc {
        let mut serial = [false; 4];
        serial.iter_mut().zip(&self.serials).for_each(|(there, _)| *there = true);
        acpi::Pc {
            chip_set: self.chip_set,
            cpus: self.cpus,
            pci_memory: match self.chip_set {
                ChipSet::Q35 => self.low_ram().max(PCI_MEMORY) as u32,
                _ if self.ram > PCI_MEMORY => LOW_RAM as u32,
                _ => PCI_MEMORY as u32,
            },
            ecam: (self.chip_set == ChipSet::Q35).then_some((ECAM, ECAM_LEN)),
            pci_memory_64: None,
            pm_base: PM_BASE,
            serial,
            parallel: self.parallel.is_some(),
            floppy: self.floppies.iter().any(Option::is_some),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let (machine, ram) = (self.name(), self.ram);
        if ram < 1 << 20 || !ram.is_multiple_of(vm::ram::PAGE_SIZE) {
            return Err(Error::OddRam { machine, asked: ram });
        }
        let space = 1_u64 << self.physical_bits.clamp(32, 52);
        let max = match self.chip_set {
            ChipSet::Isa => LOW_RAM,
            ChipSet::I440fx => space - (HIGH_RAM - LOW_RAM),
            // Without an address above 4 GiB there is no rest.
            ChipSet::Q35 if space == HIGH_RAM => LOW_RAM_Q35.0,
            ChipSet::Q35 => space - (HIGH_RAM - LOW_RAM_Q35.1),
        };
        if ram > max {
            let (cpu, pa_bits) = (self.cpu.clone(), self.physical_bits);
            return Err(Error::TooMuchRam { machine, asked_mib: ram >> 20, cpu, pa_bits, max_mib: max >> 20 });
        }
        let (max, why) = match self.has_pci() {
            true => (MAX_VCPUS as u32, "in all"),
            // A guest learns of processors from ACPI's tables.
            false => (1, "without ACPI tables"),
        };
        if self.cpus == 0 || self.cpus > max {
            return Err(Error::TooManyCpus { machine, asked: self.cpus, max, why });
        }
        let (slots, asked) = (self.chip_set.slots().len(), self.devices.len());
        if asked > slots {
            return Err(Error::TooManyPci { machine, slots, asked });
        }
        Ok(())
    }
}

/// The board for `config`, and what is in memory at the start.
///
/// # Errors
/// What cannot be: too much RAM or too many CPUs, or a file that does not boot.
pub fn machine(config: &Config, files: Files) -> Result<(Board, Boot), Error> {
    config.check()?;
    let vga = files.vga_bios.map(|file| file.bytes);
    if let Some(kernel) = files.kernel {
        return with_kernel(config, vga, kernel, files.modules, &files.cmdline);
    }
    if config.flash[0].is_some() {
        let told = firmware::told(config, vga.as_deref());
        return Ok((board::board(config, Roms { vga, ..Roms::default() }, told), Boot::default()));
    }
    let firmware = files.firmware.ok_or(Error::NoFirmware)?;
    let len = firmware.bytes.len() as u64;
    if len > FIRMWARE_MAX || !len.is_multiple_of(1 << 16) {
        return Err(Error::NotFirmware { name: firmware.name, len });
    }
    let mut boot = Boot::default();
    if !config.has_pci() {
        // The firmware of a machine that cannot make RAM of its ROM runs in RAM.
        let at = firmware.bytes.len().saturating_sub(ROM_LEN as usize);
        let bytes = Arc::new(firmware.bytes[at..].to_vec());
        let gpa = Gpa(0x10_0000 - bytes.len() as u64);
        boot.blobs.push(Blob { name: "firmware".into(), gpa, bytes, zeros: 0 });
    }
    let told = firmware::told(config, vga.as_deref());
    Ok((board::board(config, Roms { system: firmware.bytes, vga }, told), boot))
}

/// What is started without firmware.
fn with_kernel(
    config: &Config,
    vga: Option<Vec<u8>>,
    kernel: File,
    modules: Vec<Module>,
    cmdline: &str,
) -> Result<(Board, Boot), Error> {
    let machine = x86::Machine {
        low_ram: config.low_ram(),
        map: config.memory_map(),
        // The tables begin with it.
        rsdp: if config.has_pci() { ROM } else { 0 },
        cpu: &config.cpu,
        long_mode: config.long_mode,
    };
    let (blobs, regs) = x86::load(&machine, kernel, modules, cmdline)?;
    let mut boot = Boot { blobs, regs: Some(regs), ..Boot::default() };
    let mut system = Vec::new();
    if config.has_pci() {
        system = config.acpi().placed(ROM);
        boot.ports = firmware::pci_setup(config.chip_set);
    }
    system.resize(ROM_LEN as usize, 0xff);
    Ok((board::board(config, Roms { system, vga }, firmware::Told::default()), boot))
}
