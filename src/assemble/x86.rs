//! PCs.

use super::{Macs, check_machine, firmware, read, scsi_unit};
use crate::cli::config::{Config, DeviceKind, Drive, Interface, System};
use anyhow::{Result, anyhow, bail};
use machines::boot::x86::Module;
use machines::boot::{File, multiboot};
use machines::error::Role;
use machines::pc::{
    self, BootDevice, BootOrder, BootPlace, ChipSet, IDE_MAX, IdeDrive, PciDevice, PortDevice, PortKind,
};
use machines::{Board, Boot, microvm};
use std::path::Path;
use x86::model::{Feature, Model};

/// A PC, and what is in its memory at the start.
pub fn machine(config: &Config, cpu: &str) -> Result<(Board, Boot)> {
    check_machine(config, &["pc", "q35", "isapc", "microvm"])?;
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
        if board_config.flash[0].is_none() {
            files.firmware = Some(firmware::system(config, board_config.chip_set.has_pci())?);
        }
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
    let chip_set = match config.machine.name.as_str() {
        "isapc" => ChipSet::Isa,
        name if System::is_q35(name) => ChipSet::Q35,
        _ => ChipSet::I440fx,
    };
    let (devices, ports, mut first) = devices(config, &mut Macs::default())?;
    let defaults = !config.nodefaults;
    let ide = ide(config, &mut first)?;
    first.sort_by_key(|(index, _)| *index);
    let pairs = first.windows(2);
    if let Some([(index, _), _]) = pairs.into_iter().find(|pair| pair[0].0 == pair[1].0) {
        bail!("-device …,bootindex={index}: two devices have this place; give each its own");
    }
    // As QEMU: an empty floppy drive, but not with a Q35.
    let mut floppies = [(defaults && chip_set != ChipSet::Q35).then_some(None), None];
    for drive in drives(config, Interface::Floppy) {
        floppies[drive.index as usize & 1] = Some(Some(drive.id.clone()));
    }
    let flash = flash(config)?;
    Ok(pc::Config {
        chip_set,
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
        flash,
        boot: BootOrder {
            order: boot_order(config.boot.order.as_deref().unwrap_or("cad"))?,
            first: first.into_iter().map(|(_, place)| place).collect(),
            menu: config.boot.menu,
            menu_wait_ms: config.boot.splash_ms,
            retry_ms: config.boot.retry_ms,
        },
        synchronous: false,
    })
}

/// The flash chips of the board.
fn flash(config: &Config) -> Result<[Option<String>; 2]> {
    let mut flash = [None, None];
    for drive in drives(config, Interface::Pflash) {
        match flash.get_mut(drive.index as usize) {
            Some(chip) => *chip = Some(drive.id.clone()),
            None => bail!("-drive if=pflash,unit={}: this machine has units 0 and 1; choose one", drive.index),
        }
    }
    match &flash {
        [None, None] => Ok(flash),
        _ if config.machine.name == "isapc" => bail!("-drive if=pflash: this machine has no flash; use -bios FILE"),
        [None, Some(_)] => bail!("-drive if=pflash,unit=1: it is for variables of firmware; add one with unit=0"),
        _ if config.bios.is_some() => bail!("-bios: the first -drive if=pflash is the firmware; leave one of them out"),
        _ => Ok(flash),
    }
}

/// The drives of an interface in order.
fn drives(config: &Config, interface: Interface) -> impl Iterator<Item = &Drive> {
    let mut drives: Vec<_> = config.drives.iter().filter(|drive| drive.interface == interface).collect();
    drives.sort_by_key(|drive| drive.index);
    drives.into_iter()
}

/// Drives on the IDE or Serial ATA controller; adds those to `first` at which firmware is to look first.
fn ide(config: &Config, first: &mut Vec<(u32, BootPlace)>) -> Result<[Option<IdeDrive>; IDE_MAX]> {
    let (buses, units) = config.system.ide_places(&config.machine.name);
    let places = (buses * units) as usize;
    let mut ide = [const { None }; IDE_MAX];
    for drive in drives(config, Interface::Ide) {
        let serial = drive.serial.clone().unwrap_or_else(|| ide_serial(drive.index));
        let id = drive.id.clone();
        if let Some(place) = ide.get_mut(drive.index as usize) {
            *place = Some(match drive.cdrom {
                true => IdeDrive::Cdrom { drive: Some(id), serial },
                false => IdeDrive::Disk { drive: id, serial },
            });
        }
    }
    for device in &config.devices {
        let DeviceKind::Ide { cdrom, drive, bus, unit, serial } = &device.kind else { continue };
        let name = &device.driver;
        let free = |n: &usize| ide.get(*n).is_some_and(Option::is_none);
        let asked = |n: &usize| {
            let (of_bus, of_unit) = (*n as u32 / units.max(1), *n as u32 % units.max(1));
            bus.is_none_or(|bus| bus == of_bus) && unit.is_none_or(|unit| unit == of_unit)
        };
        let Some(n) = (0..places).find(|n| asked(n) && free(n)) else {
            bail!(
                "-device {name}: there is no free place of this kind; the machine has ide.0 to ide.{}, {units} drives on \
                 each",
                buses.saturating_sub(1)
            );
        };
        let given = config.drives.iter().find(|other| Some(&other.id) == drive.as_ref());
        let serial = serial.clone().or_else(|| given?.serial.clone()).unwrap_or_else(|| ide_serial(n as u32));
        ide[n] = Some(match (cdrom, drive) {
            (false, Some(drive)) => IdeDrive::Disk { drive: drive.clone(), serial },
            _ => IdeDrive::Cdrom { drive: drive.clone(), serial },
        });
        first.extend(device.bootindex.map(|index| (index, BootPlace::Ide(n))));
    }
    // As QEMU: an empty CD-ROM drive, if there is room.
    if !config.nodefaults && places > 2 && ide[2].is_none() {
        ide[2] = Some(IdeDrive::Cdrom { drive: None, serial: ide_serial(2) });
    }
    Ok(ide)
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

/// Functions on PCI, devices at ports, and where firmware is to look first.
pub type Devices = (Vec<PciDevice>, Vec<PortDevice>, Vec<(u32, BootPlace)>);

/// The devices of `config`; drives of their own come first, as under QEMU.
pub fn devices(config: &Config, macs: &mut Macs) -> Result<Devices> {
    let (mut pci, mut ports, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for drive in drives(config, Interface::Virtio) {
        let serial = drive.serial.clone().unwrap_or_default();
        pci.push(PciDevice::VirtioBlk { drive: drive.id.clone(), serial });
    }
    let port = |port, kind| PortDevice { port, kind };
    for device in &config.devices {
        let before = pci.len();
        match &device.kind {
            DeviceKind::Ide { .. } => {}
            DeviceKind::VirtioBlk { drive, serial } => {
                pci.push(PciDevice::VirtioBlk { drive: drive.clone(), serial: serial.clone().unwrap_or_default() });
            }
            DeviceKind::VirtioRng { .. } => pci.push(PciDevice::VirtioRng),
            DeviceKind::Nvme { drive, serial } => {
                // Two controllers of one serial number would be one for the guest.
                let of_drive =
                    config.drives.iter().find(|other| other.id == *drive).and_then(|drive| drive.serial.clone());
                let serial = serial.clone().or(of_drive).unwrap_or_else(|| drive.clone());
                pci.push(PciDevice::Nvme { drive: drive.clone(), serial });
            }
            DeviceKind::VirtioScsi { units } => {
                pci.push(PciDevice::VirtioScsi { units: units.iter().map(scsi_unit).collect() });
            }
            DeviceKind::Virtio9p { fsdev, tag } => {
                pci.push(PciDevice::Virtio9p { folder: fsdev.clone(), tag: tag.clone() });
            }
            DeviceKind::VirtioBalloon => pci.push(PciDevice::VirtioBalloon),
            DeviceKind::Scsi { .. } | DeviceKind::VirtioSerial => {}
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
        if pci.len() > before {
            first.extend(device.bootindex.map(|index| (index, BootPlace::Pci(before))));
        }
    }
    Ok((pci, ports, first))
}
