//! What the options of one command line add up to: defaults, and the checks that need the whole.

use super::CliError;
use super::chardev::{self, Short};
use super::config::*;
use super::netdev::Networks;
use super::{drive, scsi};
use host::chardev::Spec;
use std::path::PathBuf;
use vm::log::Item;

const DEFAULT_RAM: u64 = 128 << 20;
/// Shared terminal's escape key: Ctrl-A.
const DEFAULT_ESCAPE: u8 = 1;

/// What the options so far ask for.
#[derive(Default)]
pub struct Builder {
    /// A command that replaces running a machine.
    pub answer: Option<Command>,
    /// The name under which the option at hand was typed.
    pub typed: String,
    pub list: Option<List>,
    pub system: System,
    pub machine: Option<String>,
    pub gic: Option<Gic>,
    pub virt: Virt,
    pub dump_dtb: Option<PathBuf>,
    pub cpu: Option<Cpu>,
    pub cpus: Option<u32>,
    pub ram_bytes: Option<u64>,
    pub accel: Option<Accel>,
    pub kernel: Option<PathBuf>,
    pub initrd: Option<PathBuf>,
    pub append: Option<String>,
    pub dtb: Option<PathBuf>,
    pub bios: Option<PathBuf>,
    pub firmware_dirs: Vec<PathBuf>,
    pub boot: Boot,
    pub vga: Option<bool>,
    /// Values of -drive and its short forms, with the option.
    pub drive_options: Vec<(String, String)>,
    pub parallel_option: Option<String>,
    pub debugcon_option: Option<String>,
    pub drives: Vec<Drive>,
    pub devices: Vec<(String, Device)>,
    pub networks: Networks,
    pub fsdevs: Vec<Fsdev>,
    pub rngs: Vec<Rng>,
    pub chardevs: Vec<Chardev>,
    pub serial_options: Vec<String>,
    pub monitor_options: Vec<String>,
    pub monitor_chardevs: Vec<String>,
    pub nographic: bool,
    pub display_none: bool,
    pub escape: Option<u8>,
    pub snapshot: bool,
    pub no_reboot: bool,
    pub perf_map: bool,
    pub no_shutdown: bool,
    pub start_paused: bool,
    pub nodefaults: bool,
    pub rtc: RtcBase,
    pub log_items: Vec<Item>,
    pub log_file: Option<PathBuf>,
    pub name: Option<String>,
    pub pidfile: Option<PathBuf>,
    pub warnings: Vec<String>,
}

impl Builder {
    /// The question that was asked in place of a value.
    pub fn take_list(&mut self) -> Option<List> {
        self.list.take()
    }

    /// Adds the defaults and checks what only the whole shows.
    pub fn finish(mut self) -> Result<Config, CliError> {
        let machine = self.machine.clone().unwrap_or_else(|| self.system.default_machine().to_string());
        let is_pc = self.system.is_pc(&machine);
        for (option, text) in std::mem::take(&mut self.drive_options) {
            drive::add(&mut self.drives, self.system.ide_places(&machine), &option, &text)?;
        }
        self.networks.finish(&mut self.warnings)?;
        let usual = match self.system {
            System::Aarch64 => "virtio-net-pci",
            _ if is_pc => "e1000",
            _ => "virtio-net-device",
        };
        let cards = std::mem::take(&mut self.networks.cards).into_iter();
        self.devices.extend(cards.map(|card| card.device(usual)));
        scsi::attach(&mut self.devices)?;
        self.check_buses(is_pc, &machine)?;
        self.check_firmware(is_pc, &machine)?;
        let parallel = self.parallel(is_pc)?;
        self.debugcon(is_pc)?;
        let nographic = self.nographic || !self.display_none;
        let (serials, monitors) = self.connect()?;
        self.check_references(&serials, &monitors)?;
        if self.kernel.is_none() {
            let given = [("append", self.append.is_some()), ("initrd", self.initrd.is_some())];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return Err(CliError::new(
                    &format!("-{option}"),
                    "it is for a kernel, and there is none",
                    "add -kernel FILE",
                ));
            }
        }
        for drive in &mut self.drives {
            drive.disk.snapshot |= self.snapshot;
            // Discs are not written.
            drive.disk.read_only |= self.devices.iter().any(|(_, device)| match &device.kind {
                DeviceKind::Scsi { unit, .. } => unit.cdrom && unit.drive.as_ref() == Some(&drive.id),
                _ => false,
            });
        }
        Ok(Config {
            system: self.system,
            machine: Machine { name: machine, gic: self.gic, virt: self.virt, dump_dtb: self.dump_dtb },
            cpu: self.cpu.unwrap_or(Cpu { model: self.system.default_cpu().to_string(), features: Vec::new() }),
            ram_bytes: self.ram_bytes.unwrap_or(DEFAULT_RAM),
            cpus: self.cpus.unwrap_or(1),
            accel: self.accel.unwrap_or_default(),
            kernel: self.kernel,
            initrd: self.initrd,
            append: self.append,
            dtb: self.dtb,
            bios: self.bios,
            firmware_dirs: self.firmware_dirs,
            boot: self.boot,
            vga: is_pc && self.vga.unwrap_or(!self.nodefaults),
            nographic,
            parallel,
            drives: self.drives,
            devices: self.devices.into_iter().map(|(_, device)| device).collect(),
            chardevs: self.chardevs,
            serials,
            monitors,
            netdevs: self.networks.netdevs,
            fsdevs: self.fsdevs,
            rngs: self.rngs,
            rtc: self.rtc,
            no_reboot: self.no_reboot,
            perf_map: self.perf_map,
            no_shutdown: self.no_shutdown,
            start_paused: self.start_paused,
            log: Log { items: self.log_items, file: self.log_file },
            escape: self.escape.unwrap_or(DEFAULT_ESCAPE),
            name: self.name,
            pidfile: self.pidfile,
            nodefaults: self.nodefaults,
            warnings: self.warnings,
        })
    }

    /// Refuses devices for a bus that the machine does not have.
    fn check_buses(&mut self, is_pc: bool, machine: &str) -> Result<(), CliError> {
        for (object, device) in &self.devices {
            let driver = &device.driver;
            let base = driver.trim_end_matches("-pci").trim_end_matches("-device");
            match (is_pc, &device.kind) {
                (true, DeviceKind::Ide { .. }) => {}
                (true, _) if machine == "isapc" && !driver.starts_with("isa-") && driver != "pvpanic" => {
                    let reason = format!("the machine {machine} has no PCI bus");
                    return Err(CliError::new(object, reason, "use -M pc"));
                }
                (true, _) if driver.ends_with("-device") => {
                    let reason = "this machine has no virtio-mmio slots";
                    return Err(CliError::new(object, reason, format!("use {base}-pci")));
                }
                (true, _) => {}
                (false, DeviceKind::VirtioNet { netdev: None, .. }) if driver.ends_with("-device") => {
                    let reason = "this machine has no such card without a network";
                    return Err(CliError::new(object, reason, "add -netdev user,id=net0 and netdev=net0"));
                }
                (false, DeviceKind::Debugcon { .. } | DeviceKind::DebugExit { .. } | DeviceKind::Pvpanic { .. }) => {
                    let reason = format!("the machine {machine} has no ISA bus");
                    return Err(CliError::new(object, reason, "use system-x86_64 -M pc"));
                }
                (false, DeviceKind::Ide { .. }) => {
                    let reason = format!("the machine {machine} has no IDE or Serial ATA controller");
                    return Err(CliError::new(object, reason, "use system-x86_64 -M pc, or virtio-blk or nvme"));
                }
                (false, _) if self.system == System::Aarch64 => {}
                (false, DeviceKind::Nvme { .. }) => {
                    let reason = format!("the machine {machine} has no PCI bus");
                    return Err(CliError::new(object, reason, "use -M pc"));
                }
                (false, DeviceKind::E1000 { .. } | DeviceKind::VirtioNet { .. }) => {
                    let reason = format!("network cards are not implemented yet on the machine {machine}");
                    return Err(CliError::new(object, reason, "use -M pc"));
                }
                (false, _) if driver.ends_with("-pci") => {
                    let reason = format!("the machine {machine} has no PCI bus");
                    return Err(CliError::new(object, reason, format!("use {base}-device")));
                }
                (false, _) => {}
            }
        }
        Ok(())
    }

    /// Refuses what only firmware or a VGA would heed.
    fn check_firmware(&self, is_pc: bool, machine: &str) -> Result<(), CliError> {
        let bios = self.bios.is_some() && self.system != System::Aarch64;
        let asked = [("bios", bios), ("boot", self.boot != Boot::default())];
        if let Some((option, _)) = asked.iter().find(|(_, asked)| *asked && !is_pc) {
            let reason = format!("firmware is not implemented yet on the machine {machine}");
            return Err(CliError::new(&format!("-{option}"), reason, "leave it out"));
        }
        if self.vga == Some(true) && !is_pc {
            let reason = format!("graphics is not implemented yet on the machine {machine}");
            return Err(CliError::new("-vga std", reason, "use -vga none or leave it out"));
        }
        Ok(())
    }

    /// The parallel port: there unless it was not wanted.
    fn parallel(&mut self, is_pc: bool) -> Result<Option<Option<String>>, CliError> {
        let Some(text) = self.parallel_option.take() else {
            return Ok((is_pc && !self.nodefaults).then_some(None));
        };
        let end = match chardev::short("parallel", &text, &self.unused_id("parallel0"))? {
            Short::None => return Ok(None),
            Short::Id(id) => Some(id),
            Short::New { chardev, .. } => Some(self.add_chardev(chardev)),
        };
        match (is_pc, &end) {
            (true, _) => Ok(Some(end)),
            (false, _) if text == "null" => Ok(None),
            (false, _) => {
                let object = format!("-parallel {text}");
                Err(CliError::new(&object, "the board has no parallel port", "leave it out"))
            }
        }
    }

    /// Ports that firmware and kernels write messages to: SeaBIOS and OVMF to the second.
    fn debugcon(&mut self, is_pc: bool) -> Result<(), CliError> {
        let Some(text) = self.debugcon_option.take() else { return Ok(()) };
        let object = format!("-debugcon {text}");
        if !is_pc {
            return Err(CliError::new(&object, "the board has no I/O ports for it", "leave it out"));
        }
        let chardev = match chardev::short("debugcon", &text, &self.unused_id("debugcon0"))? {
            Short::None => return Ok(()),
            Short::Id(id) => id,
            Short::New { chardev, .. } => self.add_chardev(chardev),
        };
        for iobase in [0xe9, 0x402] {
            let taken =
                |device: &Device| matches!(device.kind, DeviceKind::Debugcon { iobase: other, .. } if other == iobase);
            if !self.devices.iter().any(|(_, device)| taken(device)) {
                let kind = DeviceKind::Debugcon { chardev: chardev.clone(), iobase };
                self.devices
                    .push((object.clone(), Device { id: None, driver: "isa-debugcon".into(), kind, bootindex: None }));
            }
        }
        Ok(())
    }

    fn add_chardev(&mut self, chardev: Chardev) -> String {
        let id = chardev.id.clone();
        self.chardevs.push(chardev);
        id
    }

    /// Turns -serial, -monitor and the defaults into chardevs and who is on them.
    fn connect(&mut self) -> Result<(Vec<Option<String>>, Vec<String>), CliError> {
        let mut serial_options = std::mem::take(&mut self.serial_options);
        let mut monitor_options = std::mem::take(&mut self.monitor_options);
        let has_monitor = |options: &[String]| options.iter().any(|option| option.starts_with("mon:"));
        let wants_monitor = monitor_options.is_empty()
            && self.monitor_chardevs.is_empty()
            && !has_monitor(&serial_options)
            && !self.nodefaults;
        let wants_serial = serial_options.is_empty() && !self.nodefaults;
        // Deviation: without a window to open, a machine without -display none is as with -nographic.
        let on_terminal = self.nographic || !self.display_none;
        let terminal_free = |options: &[String], chardevs: &[Chardev]| {
            !options.iter().any(|option| option == "stdio")
                && !chardevs.iter().any(|chardev| chardev.spec == Spec::Stdio)
        };
        if wants_serial {
            let free = terminal_free(&monitor_options, &self.chardevs);
            let default = match (on_terminal && free, wants_monitor) {
                (true, true) => "mon:stdio",
                (true, false) => "stdio",
                (false, _) => "null",
            };
            serial_options.push(default.to_string());
        } else if wants_monitor && self.nographic {
            // Deviation: QEMU refuses -nographic -serial stdio; here the two share the terminal.
            match serial_options.iter_mut().find(|option| *option == "stdio") {
                Some(option) => *option = "mon:stdio".to_string(),
                None if terminal_free(&[], &self.chardevs) => monitor_options.push("stdio".to_string()),
                None => {}
            }
        }
        let mut monitors = std::mem::take(&mut self.monitor_chardevs);
        let mut serials = Vec::new();
        for (at, text) in serial_options.iter().enumerate() {
            match chardev::short("serial", text, &self.unused_id(&format!("serial{at}")))? {
                Short::None => serials.push(None),
                Short::Id(id) => serials.push(Some(id)),
                Short::New { chardev, with_monitor } => {
                    serials.push(Some(chardev.id.clone()));
                    if with_monitor {
                        monitors.push(chardev.id.clone());
                    }
                    self.chardevs.push(chardev);
                }
            }
        }
        for (at, text) in monitor_options.iter().enumerate() {
            match chardev::short("monitor", text, &self.unused_id(&format!("compat_monitor{at}")))? {
                Short::None => {}
                Short::Id(id) => monitors.push(id),
                Short::New { chardev, .. } => {
                    monitors.push(chardev.id.clone());
                    self.chardevs.push(chardev);
                }
            }
        }
        Ok((serials, monitors))
    }

    fn unused_id(&self, wanted: &str) -> String {
        let taken = |id: &str| self.chardevs.iter().any(|chardev| chardev.id == id);
        let mut id = wanted.to_string();
        while taken(&id) {
            id.push('_');
        }
        id
    }

    fn check_references(&self, serials: &[Option<String>], monitors: &[String]) -> Result<(), CliError> {
        let known = |what: &str, ids: Vec<&str>, option: &str| match ids.is_empty() {
            true => format!("add {option}"),
            false => format!("known {what}: {}", ids.join(", ")),
        };
        let mut users: Vec<(String, &str)> = Vec::new();
        let numbered = serials.iter().enumerate().filter_map(|(at, id)| Some((at, id.as_deref()?)));
        users.extend(numbered.map(|(at, id)| (format!("serial port {at}"), id)));
        users.extend(monitors.iter().map(|id| ("the monitor".to_string(), id.as_str())));
        let mut device_ids = Vec::new();
        let mut drives_used: Vec<&str> = Vec::new();
        let mut netdevs_used = Vec::new();
        let mut buses = Vec::new();
        for (object, device) in &self.devices {
            if let Some(id) = &device.id {
                if device_ids.contains(&id) {
                    return Err(CliError::new(
                        object,
                        format!("another device has the id `{id}`"),
                        "choose another id=",
                    ));
                }
                device_ids.push(id);
            }
            match &device.kind {
                DeviceKind::Ide { drive: None, .. } => {}
                DeviceKind::VirtioBlk { drive, .. }
                | DeviceKind::Nvme { drive, .. }
                | DeviceKind::Ide { drive: Some(drive), .. }
                | DeviceKind::Scsi { unit: ScsiUnit { drive: Some(drive), .. }, .. } => {
                    let ids = self.drives.iter().filter(|drive| drive.interface == Interface::None);
                    let ids: Vec<&str> = ids.map(|drive| drive.id.as_str()).collect();
                    if let Some(other) =
                        self.drives.iter().find(|other| other.id == *drive && other.interface != Interface::None)
                    {
                        let reason = format!("the drive `{}` is attached already", other.id);
                        return Err(CliError::new(object, reason, "add if=none to its -drive or leave the device out"));
                    }
                    if !ids.contains(&drive.as_str()) {
                        let advice = known("drives", ids, &format!("-drive if=none,id={drive},file=FILE,format=raw"));
                        return Err(CliError::new(object, format!("there is no drive `{drive}`"), advice));
                    }
                    if drives_used.contains(&drive.as_str()) {
                        let reason = format!("another device has the drive `{drive}`");
                        return Err(CliError::new(object, reason, "give each device a drive of its own"));
                    }
                    drives_used.push(drive);
                }
                DeviceKind::VirtioRng { rng: Some(rng) } if !self.rngs.iter().any(|other| other.id == *rng) => {
                    let ids = self.rngs.iter().map(|rng| rng.id.as_str()).collect();
                    let advice = known("objects", ids, &format!("-object rng-random,id={rng}"));
                    return Err(CliError::new(object, format!("there is no object `{rng}`"), advice));
                }
                DeviceKind::Virtio9p { fsdev, .. } if !self.fsdevs.iter().any(|other| other.id == *fsdev) => {
                    let ids = self.fsdevs.iter().map(|fsdev| fsdev.id.as_str()).collect();
                    let advice =
                        known("folders", ids, &format!("-fsdev local,id={fsdev},path=DIR,security_model=none"));
                    return Err(CliError::new(object, format!("there is no folder `{fsdev}`"), advice));
                }
                DeviceKind::VirtioRng { .. }
                | DeviceKind::VirtioScsi { .. }
                | DeviceKind::Scsi { .. }
                | DeviceKind::Virtio9p { .. }
                | DeviceKind::VirtioBalloon => {}
                DeviceKind::VirtioNet { netdev: Some(id), .. } | DeviceKind::E1000 { netdev: Some(id), .. } => {
                    if !self.networks.netdevs.iter().any(|netdev| netdev.id == *id) {
                        let ids = self.networks.netdevs.iter().map(|netdev| netdev.id.as_str()).collect();
                        let advice = known("networks", ids, &format!("-netdev user,id={id}"));
                        return Err(CliError::new(object, format!("there is no network `{id}`"), advice));
                    }
                    if netdevs_used.contains(&id) {
                        let reason = format!("another card is on the network `{id}`");
                        return Err(CliError::new(object, reason, "give each card a -netdev of its own"));
                    }
                    netdevs_used.push(id);
                }
                DeviceKind::VirtioNet { .. }
                | DeviceKind::E1000 { .. }
                | DeviceKind::DebugExit { .. }
                | DeviceKind::Pvpanic { .. } => {}
                // The two ports of -debugcon are one user.
                DeviceKind::Debugcon { chardev, .. } => {
                    if !users.iter().any(|(other, id)| other == object && id == chardev) {
                        users.push((object.clone(), chardev));
                    }
                }
                DeviceKind::VirtioSerial => buses.push(device.id.as_deref()),
                DeviceKind::Virtconsole { chardev, bus } => {
                    let missing = match bus {
                        Some(bus) => !buses.contains(&Some(bus.as_str())),
                        None => buses.is_empty(),
                    };
                    if missing {
                        let reason = "there is no such virtio-serial bus before it";
                        return Err(CliError::new(object, reason, "put -device virtio-serial-device before it"));
                    }
                    users.push((object.clone(), chardev));
                }
            }
        }
        let mut used: Vec<(&str, &str)> = Vec::new();
        for (user, id) in &users {
            let Some(chardev) = self.chardevs.iter().find(|chardev| chardev.id == *id) else {
                let ids = self.chardevs.iter().map(|chardev| chardev.id.as_str()).collect();
                let advice = known("chardevs", ids, &format!("-chardev stdio,id={id}"));
                return Err(CliError::new(user, format!("there is no chardev `{id}`"), advice));
            };
            if let Some((other, _)) = used.iter().find(|(_, other)| other == id).filter(|_| !chardev.mux) {
                let reason = format!("the chardev `{id}` belongs to {other} already");
                return Err(CliError::new(user, reason, "add mux=on to the -chardev to share it"));
            }
            used.push((user, id));
        }
        let mut on_stdio = self.chardevs.iter().filter(|chardev| chardev.spec == Spec::Stdio);
        if let (Some(first), Some(second)) = (on_stdio.next(), on_stdio.next()) {
            let reason = format!("stdio belongs to the chardev `{}` already", first.id);
            let advice = "let them share it: -serial mon:stdio, or -chardev stdio,mux=on,id=ID for both";
            return Err(CliError::new(&format!("chardev `{}`", second.id), reason, advice));
        }
        Ok(())
    }
}
