//! PCs.

use super::{Macs, check_machine, firmware, read};
use crate::cli::config::{Config, DeviceKind, Drive, Interface};
use anyhow::{Result, anyhow, bail};
use machines::boot::x86::Module;
use machines::boot::{File, multiboot};
use machines::error::Role;
use machines::pc::{self, BootDevice, BootOrder, IdeDrive, PciDevice, PortDevice, PortKind};
use machines::{Board, Boot, microvm};
use std::path::Path;
use x86::model::{Feature, Model};

/// A PC, and what is in its memory at the start.
pub fn machine(config: &Config, cpu: &str) -> Result<(Board, Boot)> {
    check_machine(config, &["pc", "isapc", "microvm"])?;
    let model = Model::parse(cpu).map_err(|error| anyhow!("-cpu {cpu}: {error}"))?;
    let limit = config.ram_bytes;
    let kernel = read(Role::Kernel, config.kernel.as_deref(), limit)?;
    let modules = modules(config, kernel.as_ref())?;
    let cmdline = config.append.clone().unwrap_or_default();
    if !config.system.is_pc(&config.machine.name) {
        let board_config = microvm::Config {
            cpu: cpu.to_owned(),
            physical_bits: model.physical_bits,
            long_mode: model.features.has(Feature::LM),
            cpus: config.cpus,
            ram: config.ram_bytes,
            serial: config.serials.first().cloned().flatten(),
        };
        return Ok(microvm::machine(&board_config, microvm::Files { kernel, modules, cmdline })?);
    }
    let board_config = pc_config(config, cpu, &model)?;
    let mut files = pc::Files { kernel, modules, cmdline, ..pc::Files::default() };
    if files.kernel.is_none() {
        files.firmware = Some(firmware::system(config, board_config.pci)?);
        files.vga_bios = board_config.vga.then(|| firmware::vga(config)).flatten();
    } else if config.bios.is_some() {
        eprintln!("mimic: -kernel starts without firmware: -bios is ignored");
    }
    Ok(pc::machine(&board_config, files)?)
}

/// What `-initrd` names: a file, or for a multiboot kernel any number of modules with arguments, as under QEMU
/// ("FILE1 ARGUMENTS,FILE2").
fn modules(config: &Config, kernel: Option<&File>) -> Result<Vec<Module>> {
    let Some(initrd) = &config.initrd else { return Ok(Vec::new()) };
    let one = |path: &Path, args: String| -> Result<Module> {
        Ok(Module { file: File::read(Role::Initrd, path, config.ram_bytes)?, args })
    };
    match kernel.filter(|kernel| multiboot::is_multiboot(&kernel.bytes)) {
        Some(_) => {
            let list = initrd.to_string_lossy();
            list.split(',')
                .map(|module| one(Path::new(module.split(' ').next().unwrap_or_default()), module.to_owned()))
                .collect()
        }
        None => Ok(vec![one(initrd, String::new())?]),
    }
}

fn pc_config(config: &Config, cpu: &str, model: &Model) -> Result<pc::Config> {
    let (devices, ports) = devices(config, &mut Macs::default())?;
    let defaults = !config.nodefaults;
    let mut ide = [None, None, None, None];
    // As QEMU: an empty CD-ROM drive, an empty floppy drive.
    ide[2] = defaults.then(|| IdeDrive::Cdrom { drive: None, serial: ide_serial(2) });
    for drive in drives(config, Interface::Ide) {
        let serial = drive.serial.clone().unwrap_or_else(|| ide_serial(drive.index));
        let id = drive.id.clone();
        ide[drive.index as usize & 3] = Some(match drive.cdrom {
            true => IdeDrive::Cdrom { drive: Some(id), serial },
            false => IdeDrive::Disk { drive: id, serial },
        });
    }
    let mut floppies = [defaults.then_some(None), None];
    for drive in drives(config, Interface::Floppy) {
        floppies[drive.index as usize & 1] = Some(Some(drive.id.clone()));
    }
    if drives(config, Interface::Pflash).next().is_some() {
        bail!("-drive if=pflash: flash memory is not implemented yet on this machine; use -bios FILE");
    }
    Ok(pc::Config {
        pci: config.machine.name != "isapc",
        cpu: cpu.to_owned(),
        physical_bits: model.physical_bits,
        long_mode: model.features.has(Feature::LM),
        cpus: config.cpus,
        ram: config.ram_bytes,
        serials: config.serials.clone(),
        parallel: config.parallel.clone(),
        vga: config.vga,
        nographic: config.nographic,
        ide,
        floppies,
        devices,
        ports,
        boot: BootOrder {
            order: boot_order(config.boot.order.as_deref().unwrap_or("cad"))?,
            menu: config.boot.menu,
            menu_wait_ms: config.boot.splash_ms,
            retry_ms: config.boot.retry_ms,
        },
        synchronous: false,
    })
}

/// The drives of an interface in order.
fn drives(config: &Config, interface: Interface) -> impl Iterator<Item = &Drive> {
    let mut drives: Vec<_> = config.drives.iter().filter(|drive| drive.interface == interface).collect();
    drives.sort_by_key(|drive| drive.index);
    drives.into_iter()
}

/// Serial numbers as QEMU makes them up.
fn ide_serial(index: u32) -> String {
    format!("QM{:05}", index + 1)
}

fn boot_order(letters: &str) -> Result<[BootDevice; 3]> {
    let mut order = [BootDevice::None; 3];
    for (place, letter) in order.iter_mut().zip(letters.chars()) {
        *place = match letter {
            'a' | 'b' => BootDevice::Floppy,
            'c' => BootDevice::Disk,
            'd' => BootDevice::Cdrom,
            'n'..='p' => BootDevice::Network,
            _ => bail!("-boot {letters}: firmware knows no drive `{letter}`; use the letters a, c, d and n"),
        };
    }
    if letters.chars().count() > order.len() {
        bail!("-boot {letters}: firmware remembers three kinds of drives; leave out the last ones");
    }
    Ok(order)
}

/// Functions on PCI, drives of their own first, as under QEMU, and devices at ports.
pub fn devices(config: &Config, macs: &mut Macs) -> Result<(Vec<PciDevice>, Vec<PortDevice>)> {
    let (mut pci, mut ports) = (Vec::new(), Vec::new());
    for drive in drives(config, Interface::Virtio) {
        let serial = drive.serial.clone().unwrap_or_default();
        pci.push(PciDevice::VirtioBlk { drive: drive.id.clone(), serial });
    }
    let port = |port, kind| PortDevice { port, kind };
    for device in &config.devices {
        match &device.kind {
            DeviceKind::VirtioBlk { drive, serial } => {
                pci.push(PciDevice::VirtioBlk { drive: drive.clone(), serial: serial.clone().unwrap_or_default() });
            }
            DeviceKind::VirtioRng { .. } => pci.push(PciDevice::VirtioRng),
            DeviceKind::VirtioSerial => {}
            DeviceKind::Virtconsole { chardev, .. } => {
                pci.push(PciDevice::VirtioConsole { chardev: chardev.clone() });
            }
            DeviceKind::VirtioNet { mac, netdev } => {
                pci.push(PciDevice::VirtioNet { netdev: netdev.clone(), mac: macs.next(*mac) });
            }
            DeviceKind::E1000 { mac, netdev } => {
                pci.push(PciDevice::E1000 { netdev: netdev.clone(), mac: macs.next(*mac) });
            }
            DeviceKind::Debugcon { chardev, iobase } => {
                ports.push(port(*iobase, PortKind::Debugcon { chardev: chardev.clone() }));
            }
            DeviceKind::DebugExit { iobase, iosize } => {
                ports.push(port(*iobase, PortKind::DebugExit { len: *iosize }));
            }
            DeviceKind::Pvpanic { ioport } => ports.push(port(*ioport, PortKind::Pvpanic)),
        }
    }
    Ok((pci, ports))
}
