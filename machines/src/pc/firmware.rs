//! What firmware is told through fw_cfg, and what is done in its place when a kernel is started directly. Names of files
//! are those that SeaBIOS reads (its documentation, "Runtime config", and `paravirt.c`).

use super::chip_set::ChipSet;
use super::{BootPlace, Config, ECAM, HIGH_RAM, PM_BASE, PciDevice, SMBUS_BASE};
use crate::acpi::{self, Acpi};
use hw::misc::fw_cfg::key;
use hw::pci::bus::{PciBus, devfn};
use hw::pci::config::{BAR0, BARS};
use hw::pci::q35::{PCIEXBAR, ecam_window};
use std::sync::Arc;

/// Where the chip set's own registers are, as firmware has them.
const RCBA: u32 = 0xfed1_c000;
/// No window of a device is larger.
const HIGH_UNIT: u64 = 1 << 30;

/// Fixed items and named files.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub items: Vec<(u16, Vec<u8>)>,
    pub files: Vec<(String, Vec<u8>)>,
    /// What the ACPI tables say, as far as firmware does not decide it.
    pub acpi: Option<acpi::Pc>,
}

/// What firmware is told of the machine.
pub fn told(config: &Config, vga_bios: Option<&[u8]>) -> Told {
    let cpus = (config.cpus as u16).to_le_bytes().to_vec();
    let items = vec![
        (key::RAM_SIZE, config.ram.to_le_bytes().to_vec()),
        (key::NOGRAPHIC, u16::from(config.nographic).to_le_bytes().to_vec()),
        (key::NB_CPUS, cpus.clone()),
        (key::MAX_CPUS, cpus),
        (key::BOOT_MENU, u16::from(config.boot.menu).to_le_bytes().to_vec()),
        // Interrupt 0 is on input 2 of the I/O APIC.
        (key::IRQ0_OVERRIDE, vec![1]),
    ];
    let mut told = Told { items, files: Vec::new(), acpi: config.has_pci().then(|| config.described()) };
    let mut file = |name: &str, contents: Vec<u8>| told.files.push((name.into(), contents));
    file("etc/e820", e820(config));
    if let Some(rom) = vga_bios.filter(|_| !config.has_pci()) {
        file("vgaroms/vgabios.bin", rom.to_vec());
    }
    if !config.boot.first.is_empty() {
        file("bootorder", boot_order(config));
    }
    if let Some(wait) = config.boot.menu_wait_ms {
        file("etc/boot-menu-wait", wait.to_le_bytes().to_vec());
    }
    file("etc/boot-fail-wait", config.boot.retry_ms.unwrap_or(-1).to_le_bytes().to_vec());
    told
}

/// The files of ACPI tables, made when firmware asks for them: when it has placed the devices.
pub fn acpi_files(pc: &acpi::Pc, bus: &Arc<PciBus>) -> Vec<(&'static str, hw::misc::fw_cfg::Make)> {
    let names = [acpi::TABLES_FILE, acpi::RSDP_FILE, acpi::LOADER_FILE];
    let file = |(n, name)| {
        let (pc, bus) = (pc.clone(), bus.clone());
        let make = move || Acpi::new(&placed(&pc, &bus)).files().into_iter().nth(n).map(|(_, file)| file);
        (name, Box::new(move || make().unwrap_or_default()) as hw::misc::fw_cfg::Make)
    };
    names.into_iter().enumerate().map(file).collect()
}

/// What the tables say after firmware has programmed the chip set: SeaBIOS and edk2 choose different addresses.
fn placed(pc: &acpi::Pc, bus: &PciBus) -> acpi::Pc {
    let mut pc = pc.clone();
    let pm = pc.chip_set.pm();
    let (register, mask) = pm.base;
    let pm_base = bus.read_config(pm.function, register, 4) & mask;
    if pm_base != 0 {
        pc.pm_base = pm_base as u16;
    }
    if pc.chip_set == ChipSet::Q35 {
        let half = |at| u64::from(bus.read_config(devfn(0, 0), at, 4));
        // The same tables, whether it is enabled or not.
        pc.ecam = ecam_window(half(PCIEXBAR) | half(PCIEXBAR + 4) << 32).or(pc.ecam);
    }
    pc.pci_memory_64 = high_windows(bus);
    pc
}

/// Memory above 4 GiB that holds all windows of devices there, in whole units of [`HIGH_UNIT`].
fn high_windows(bus: &PciBus) -> Option<std::ops::Range<u64>> {
    let mut bases = Vec::new();
    for function in bus.functions() {
        let mut bar = BAR0;
        while bar < BAR0 + 4 * (BARS as u8 - 1) {
            let low = bus.read_config(function, bar, 4);
            bar += 4;
            // A 64-bit window takes two registers (PCI Local Bus 3.0, 6.2.5.1).
            if low & 7 == 4 {
                let high = bus.read_config(function, bar, 4);
                bar += 4;
                bases.extend((high != 0).then_some(u64::from(high) << 32 | u64::from(low & !0xf)));
            }
        }
    }
    let (first, last) = (bases.iter().min()?, bases.iter().max()?);
    let end = (last / HIGH_UNIT).saturating_add(1).saturating_mul(HIGH_UNIT);
    Some(first / HIGH_UNIT * HIGH_UNIT..end)
}

/// Paths of drives and cards, a line each and a final NUL, as SeaBIOS and edk2 compare them (IEEE 1275, "PCI Bus Binding").
fn boot_order(config: &Config) -> Vec<u8> {
    let path = |place: &BootPlace| match *place {
        BootPlace::Pci(n) => {
            let slot = config.chip_set.slots().nth(n)?;
            Some(match config.devices.get(n)? {
                PciDevice::VirtioBlk { .. } => format!("/pci@i0cf8/scsi@{slot:x}/disk@0,0"),
                PciDevice::VirtioNet { .. } | PciDevice::E1000 { .. } => {
                    format!("/pci@i0cf8/ethernet@{slot:x}/ethernet-phy@0")
                }
                PciDevice::Nvme { .. } => format!("/pci@i0cf8/pci1b36,10@{slot:x}/namespace@1,0"),
                // The units of a SCSI host are devices of their own.
                PciDevice::VirtioScsi { .. }
                | PciDevice::VirtioRng
                | PciDevice::VirtioConsole { .. }
                | PciDevice::Virtio9p { .. }
                | PciDevice::VirtioBalloon => return None,
            })
        }
        BootPlace::Ide(n) if config.chip_set == ChipSet::Q35 => {
            Some(format!("/pci@i0cf8/pci8086,2922@1f,2/drive@{n:x}/disk@0"))
        }
        BootPlace::Ide(n) => Some(format!("/pci@i0cf8/ide@1,1/drive@{:x}/disk@{:x}", n / 2, n % 2)),
    };
    let lines: Vec<String> = config.boot.first.iter().filter_map(path).collect();
    [lines.join("\n").as_bytes(), &[0]].concat()
}

/// RAM as (address, bytes, 1), little-endian, 20 bytes each.
fn e820(config: &Config) -> Vec<u8> {
    let mut table = Vec::new();
    for (at, len) in [(0, config.low_ram()), (HIGH_RAM, config.high_ram())] {
        if len > 0 {
            table.extend(at.to_le_bytes());
            table.extend(len.to_le_bytes());
            table.extend(1_u32.to_le_bytes());
        }
    }
    table
}

/// Writes to the configuration mechanism's ports that do what a kernel leaves to firmware: power management appears where
/// the ACPI tables say. Addresses of PCI devices and the routing of their interrupts are the kernel's to choose.
pub fn pci_setup(chip_set: ChipSet) -> Vec<(u16, u8, u32)> {
    let mut writes = Vec::new();
    let mut config = |function: u8, register: u8, width: u8, value: u32| {
        let address = 1 << 31 | u32::from(function) << 8 | u32::from(register & 0xfc);
        writes.extend([(0xcf8, 4, address), (0xcfc + u16::from(register & 3), width, value)]);
    };
    let (pm, smbus) = (u32::from(PM_BASE) | 1, u32::from(SMBUS_BASE) | 1);
    match chip_set {
        ChipSet::Isa => {}
        // "PMBA", "PMREGMISC", "SMBBA", "SMBHSTCFG" (on, its interrupt is number 9), command, interrupt line.
        ChipSet::I440fx => {
            let function = chip_set.pm().function;
            for (register, width, value) in
                [(0x40, 4, pm), (0x80, 1, 1), (0x90, 4, smbus), (0xd2, 1, 9), (0x04, 2, 1), (0x3c, 1, acpi::SCI.into())]
            {
                config(function, register, width, value);
            }
        }
        // "PCIEXBAR"; "PMBASE", "ACPI_CNTL", "RCBA"; "SMB_BASE", "HOSTC", command of the SMBus controller.
        ChipSet::Q35 => {
            config(devfn(0, 0), PCIEXBAR, 4, ECAM as u32 | 1);
            for (register, width, value) in [(0x40, 4, pm), (0x44, 1, 0x80), (0xf0, 4, RCBA | 1)] {
                config(devfn(31, 0), register, width, value);
            }
            for (register, width, value) in [(0x20, 4, smbus), (0x40, 1, 1), (0x04, 2, 1)] {
                config(devfn(31, 3), register, width, value);
            }
        }
    }
    writes
}
