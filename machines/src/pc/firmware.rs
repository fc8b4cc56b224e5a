//! What firmware is told through fw_cfg, and what is done in its place when a kernel is started directly. Names of files
//! are those that SeaBIOS reads (its documentation, "Runtime config", and `paravirt.c`).

use super::{Config, HIGH_RAM, PM_BASE, SMBUS_BASE};
use hw::misc::fw_cfg::key;
use hw::pci::bus::devfn;

/// The power management function of PIIX4 is device 1, function 3.
pub const PM: (u8, u8) = (1, 3);

/// Fixed items and named files.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub items: Vec<(u16, Vec<u8>)>,
    pub files: Vec<(String, Vec<u8>)>,
}

/// What SeaBIOS is told of the machine.
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
    let mut told = Told { items, files: Vec::new() };
    let mut file = |name: &str, contents: Vec<u8>| told.files.push((name.into(), contents));
    file("etc/e820", e820(config));
    if config.pci {
        for (name, contents) in config.acpi().files() {
            file(name, contents);
        }
    } else if let Some(rom) = vga_bios {
        file("vgaroms/vgabios.bin", rom.to_vec());
    }
    if let Some(wait) = config.boot.menu_wait_ms {
        file("etc/boot-menu-wait", wait.to_le_bytes().to_vec());
    }
    file("etc/boot-fail-wait", config.boot.retry_ms.unwrap_or(-1).to_le_bytes().to_vec());
    told
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
pub fn pci_setup() -> Vec<(u16, u8, u32)> {
    let (device, function) = PM;
    let mut writes = Vec::new();
    let mut config = |register: u8, width: u8, value: u32| {
        let address = 1 << 31 | u32::from(devfn(device, function)) << 8 | u32::from(register & 0xfc);
        writes.extend([(0xcf8, 4, address), (0xcfc + u16::from(register & 3), width, value)]);
    };
    // "PMBA", "PMREGMISC", "SMBBA", "SMBHSTCFG" (on, its interrupt is number 9), command, interrupt line.
    config(0x40, 4, u32::from(PM_BASE) | 1);
    config(0x80, 1, 1);
    config(0x90, 4, u32::from(SMBUS_BASE) | 1);
    config(0xd2, 1, 0x09);
    config(0x04, 2, 1);
    config(0x3c, 1, crate::acpi::SCI.into());
    writes
}
