//! From a command line to a machine: opens the host's ends, chooses the accelerator, builds the board.

mod firmware;
mod x86;

use crate::cli::config::{Config, DeviceKind, Gic, Interface, RtcBase, ScsiUnit, System};
use crate::cli::suggest;
use anyhow::{Context as _, Result, anyhow, bail};
use host::chardev::{Backend, Spec};
use host::clock::HostClock;
use host::console::Console;
use host::disk::Disk;
use host::entropy::{FileEntropy, HostEntropy};
use host::terminal::{Keys, Terminal};
use machines::arm_virt::{self, Files, GicVersion, VirtioKind};
use machines::boot::File;
use machines::devices::ScsiKind;
use machines::error::Role;
use machines::{Board, Boot, Host, Machine};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use tcg::exec::{CodeSink, Compiler, Tcg, Tiers};
use tcg::frontend::Frontend;
use tcg::x64::Template;
use vm::chardev::CharPort;
use vm::entropy::Entropy;
use vm::netdev::NetDev;
use vm::ninep::NinepServer;
use vm::power::Power;
use vm::timer::Timers;
use vm::vcpu::Accelerator;

/// Runs of a block before it gets template code.
const TEMPLATE_AFTER: u32 = 0;
/// Runs of a block before those that mostly follow it are added to its template code.
const TRACE_AFTER: u32 = 20_000;
/// Runs of a block before it is optimized in the background.
const COMPILE_AFTER: u32 = 600_000;
/// Host code kept at most, in bytes: only what is used takes memory, and a compiler needs 60 MiB.
const CODE_BYTES: u64 = 512 << 20;

/// A machine with what must live as long as it runs.
pub struct Assembly {
    /// The machine.
    pub machine: Machine,
    /// Its clock, stopped.
    pub clock: Arc<HostClock>,
    /// Disks by name, for `commit`.
    pub disks: BTreeMap<String, Arc<Disk>>,
    /// Consoles and monitors that start with the machine.
    pub ends: Vec<PendingEnd>,
    /// Raw mode of the terminal.
    pub terminal: Option<Terminal>,
    /// The first serial port's host end.
    pub serial: Option<Arc<CharPort>>,
}

/// A host end that starts listening once the run loop is there.
pub enum PendingEnd {
    /// A shared terminal; `monitor` if it has one.
    Console(Console, bool),
    /// A monitor alone.
    Monitor(Backend),
}

/// The prompt of the monitor.
pub const PROMPT: &str = "(mimic) ";

/// The translator for an instruction set.
fn translator<F: Frontend>(config: &Config, frontend: F) -> Result<Box<dyn Accelerator>> {
    let tier = config.accel.tier;
    let code_bytes = config.accel.code_bytes.unwrap_or(CODE_BYTES) as usize;
    let (template_after, compile_after) = match tier {
        Some(0) => (None, None),
        Some(1) => (Some(0), None),
        // Under stress code goes through all tiers.
        Some(_) if config.accel.stress.is_none() => (None, Some(1)),
        _ => (Some(TEMPLATE_AFTER), Some(COMPILE_AFTER)),
    };
    let trace_after = template_after.map(|_| TRACE_AFTER);
    let tiers = Tiers { template_after, trace_after, compile_after, synchronous: tier.is_some() };
    // Two tiers share the memory.
    let code_bytes = if template_after.is_some() && compile_after.is_some() { code_bytes / 2 } else { code_bytes };
    let mut template = None;
    if template_after.is_some() {
        match Template::new(code_bytes) {
            Ok(made) => template = Some(made),
            Err(error) if tier.is_some() => return Err(error.into()),
            Err(error) => eprintln!("mimic: {error}; going on without template code"),
        }
    }
    let mut compiler: Option<Box<dyn Compiler<F>>> = None;
    if tiers.compile_after.is_some() {
        match tcg::cranelift::Cranelift::new(code_bytes, !tiers.synchronous) {
            Ok(cranelift) => compiler = Some(Box::new(cranelift)),
            Err(error) if tier.is_some() => return Err(error.into()),
            Err(error) => eprintln!("mimic: {error}; going on with the interpreter alone"),
        }
    }
    let mut tcg = Tcg::new(frontend, tiers, template, compiler);
    tcg.set_stopwatch(now_ns);
    if config.accel.one_thread {
        tcg.set_turns();
    }
    if let Some(seed) = config.accel.stress {
        tcg.set_stress(seed);
    }
    if config.perf_map {
        tcg.set_code_sink(perf_map()?);
    }
    Ok(Box::new(tcg))
}

/// Nanoseconds since the first call.
fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Writes what `perf report` looks for: a line `start length name`, in hexadecimal, for each piece of code.
fn perf_map() -> Result<CodeSink> {
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let file = std::fs::File::create(&path);
    let file = file.map_err(|e| anyhow!("cannot write `{path}`: {e}; make /tmp writable or leave out -perfmap"))?;
    let file = Mutex::new(file);
    Ok(Box::new(move |at, len, name| {
        // A full disk costs names only.
        let _ = writeln!(file.lock().unwrap(), "{at:x} {len:x} {name}");
    }))
}

fn read(role: Role, path: Option<&Path>, limit: u64) -> Result<Option<File>> {
    Ok(path.map(|path| File::read(role, path, limit)).transpose()?)
}

/// The model and its features as the front end parses them.
fn cpu_text(config: &Config) -> String {
    let mut text = config.cpu.model.clone();
    // The processors of this command have no 64-bit mode, whatever the model.
    let features = match config.system {
        System::I386 => [("lm".to_string(), false)].to_vec(),
        System::Aarch64 | System::X86_64 => Vec::new(),
    };
    for (feature, on) in features.iter().chain(&config.cpu.features) {
        text.push_str(&format!(",{feature}={}", if *on { "on" } else { "off" }));
    }
    text
}

/// Checks that the host can hold the guest's RAM.
fn check_ram(bytes: u64) -> Result<()> {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    if let (Some(total), Some(swap)) = (field("MemTotal:"), field("SwapTotal:"))
        && bytes > total + swap
    {
        let mib = |bytes: u64| bytes >> 20;
        bail!("-m {}: this host has only {} MiB of memory and swap; ask for less", mib(bytes), mib(total + swap));
    }
    Ok(())
}

/// The open character host ends: ports for the devices, ends that start later, raw mode.
type Chardevs = (BTreeMap<String, Arc<CharPort>>, Vec<PendingEnd>, Option<Terminal>);

fn chardevs(config: &Config) -> Result<Chardevs> {
    let mut ports = BTreeMap::new();
    let mut ends = Vec::new();
    let mut terminal = None;
    for chardev in &config.chardevs {
        let mut backend = Backend::open(&chardev.id, &chardev.spec)?;
        if let Some(log) = &chardev.log {
            backend = backend.log_to(&log.path, log.append)?;
        }
        if let Some(place) = backend.place() {
            eprintln!("mimic: {place}");
        }
        if chardev.spec == Spec::Stdio {
            let keys = if chardev.signal { Keys::Host } else { Keys::Guest };
            terminal = Terminal::raw(keys).context("cannot switch the terminal to raw mode")?;
        }
        let users = config.serials.iter().flatten().filter(|id| **id == chardev.id).count();
        let has_monitor = config.monitors.contains(&chardev.id);
        if chardev.mux {
            let mut console = Console::new(backend, config.escape);
            // Devices that share it are told apart by their order.
            for n in 0..users.max(1) {
                let name = if n == 0 { chardev.id.clone() } else { format!("{}#{n}", chardev.id) };
                ports.insert(name, console.add_port());
            }
            ends.push(PendingEnd::Console(console, has_monitor));
        } else if has_monitor {
            ends.push(PendingEnd::Monitor(backend));
        } else {
            ports.insert(chardev.id.clone(), backend.connect());
        }
    }
    Ok((ports, ends, terminal))
}

/// Addresses of network cards: those that were given, otherwise QEMU's first ones.
#[derive(Default)]
struct Macs {
    cards: u8,
}

impl Macs {
    fn next(&mut self, given: Option<[u8; 6]>) -> [u8; 6] {
        let last = 0x56u8.wrapping_add(self.cards);
        self.cards = self.cards.wrapping_add(1);
        given.unwrap_or([0x52, 0x54, 0, 0x12, 0x34, last])
    }
}

/// The open networks by id.
fn netdevs(config: &Config) -> Result<BTreeMap<String, Arc<dyn NetDev>>> {
    let mut open: BTreeMap<String, Arc<dyn NetDev>> = BTreeMap::new();
    for netdev in &config.netdevs {
        open.insert(netdev.id.clone(), Arc::new(usernet::Network::open(netdev.net.clone())?));
    }
    Ok(open)
}

fn entropy(config: &Config) -> Result<Arc<dyn Entropy>> {
    let named = config.devices.iter().find_map(|device| match &device.kind {
        DeviceKind::VirtioRng { rng: Some(rng) } => config.rngs.iter().find(|r| r.id == *rng)?.filename.as_deref(),
        _ => None,
    });
    Ok(match named {
        Some(path) => Arc::new(FileEntropy::open(path)?),
        None => Arc::new(HostEntropy),
    })
}

/// What of the devices of an ARM board is on virtio-mmio, and the configuration with the others.
fn split_virtio(config: &Config, macs: &mut Macs) -> (Vec<VirtioKind>, Config) {
    let mut rest = config.clone();
    let mut kinds = Vec::new();
    // Whether the buses of virtio consoles so far are on virtio-mmio, by id.
    let mut buses: Vec<(Option<&str>, bool)> = Vec::new();
    let mut mmio = config.devices.iter().map(|device| {
        let named = device.driver.ends_with("-device");
        let kind = match &device.kind {
            DeviceKind::VirtioBlk { drive, serial } => {
                VirtioKind::Blk { drive: drive.clone(), serial: serial.clone().unwrap_or_default() }
            }
            DeviceKind::VirtioRng { .. } => VirtioKind::Rng,
            DeviceKind::VirtioSerial => {
                buses.push((device.id.as_deref(), named));
                return false;
            }
            DeviceKind::Virtconsole { chardev, bus } => {
                let bus = buses.iter().rev().find(|(id, _)| bus.is_none() || *id == bus.as_deref());
                let on_mmio = bus.is_some_and(|(_, on_mmio)| *on_mmio);
                kinds.extend(on_mmio.then(|| VirtioKind::Console { chardev: chardev.clone() }));
                return on_mmio;
            }
            DeviceKind::VirtioNet { mac, netdev: Some(netdev) } if named => {
                VirtioKind::Net { netdev: netdev.clone(), mac: macs.next(*mac) }
            }
            DeviceKind::VirtioScsi { units } => VirtioKind::Scsi { units: units.iter().map(scsi_unit).collect() },
            DeviceKind::Virtio9p { fsdev, tag } => VirtioKind::Ninep { folder: fsdev.clone(), tag: tag.clone() },
            DeviceKind::VirtioBalloon => VirtioKind::Balloon,
            _ => return false,
        };
        kinds.extend(named.then_some(kind));
        named
    });
    rest.devices.retain(|_| mmio.next() != Some(true));
    drop(mmio);
    (kinds, rest)
}

/// A unit as the boards have it.
fn scsi_unit(unit: &ScsiUnit) -> machines::devices::ScsiUnit {
    let kind = match (unit.cdrom, &unit.drive) {
        (false, Some(drive)) => ScsiKind::Disk { drive: drive.clone() },
        (_, drive) => ScsiKind::Cdrom { drive: drive.clone() },
    };
    let serial = unit.serial.clone().or_else(|| unit.drive.clone()).unwrap_or_default();
    machines::devices::ScsiUnit { target: unit.target, lun: unit.lun, kind, serial }
}

/// The open shared folders by id.
fn folders(config: &Config) -> Result<BTreeMap<String, Arc<dyn NinepServer>>> {
    let mut open: BTreeMap<String, Arc<dyn NinepServer>> = BTreeMap::new();
    for fsdev in &config.fsdevs {
        open.insert(fsdev.id.clone(), Arc::new(host::ninep::open(&fsdev.folder)?));
    }
    Ok(open)
}

/// Builds the machine that `config` describes.
///
/// # Errors
/// One line that names the object, the reason and the next step.
pub fn assemble(config: &Config) -> Result<Assembly> {
    check_ram(config.ram_bytes)?;
    let cpu = cpu_text(config);
    let ((board, boot), accel) = match config.system {
        System::Aarch64 => (arm_machine(config, &cpu)?, translator(config, arm::Arm::new(&cpu)?)?),
        System::X86_64 | System::I386 => (x86::machine(config, &cpu)?, translator(config, ::x86::X86::new(&cpu)?)?),
    };
    let mut disks = BTreeMap::new();
    for drive in &config.drives {
        disks.insert(drive.id.clone(), Arc::new(host::disk::open(&drive.disk)?));
    }
    let clock = Arc::new(match config.rtc {
        RtcBase::Utc => HostClock::new(),
        RtcBase::At(seconds) => HostClock::with_epoch(seconds),
    });
    let (ports, ends, terminal) = chardevs(config)?;
    let serial = config.serials.first().into_iter().flatten().find_map(|id| ports.get(id).cloned());
    let drives = disks.iter().map(|(id, disk)| (id.clone(), disk.clone() as _)).collect();
    let host = Host {
        timers: Timers::new(clock.clone()),
        entropy: entropy(config)?,
        power: Power::default(),
        chardevs: ports,
        drives,
        netdevs: netdevs(config)?,
        folders: folders(config)?,
    };
    let machine = machines::build(board, boot, &host, &*accel)?;
    Ok(Assembly { machine, clock, disks, ends, terminal, serial })
}

/// Refuses a board that does not exist.
fn check_machine(config: &Config, known: &[&'static str]) -> Result<()> {
    let name = &config.machine.name;
    if known.iter().any(|known| name == known || name.strip_prefix(known).is_some_and(|rest| rest.starts_with('-'))) {
        return Ok(());
    }
    let hint = suggest::or(name, known.iter().copied(), "-M ", "-M help lists the machines");
    Err(anyhow!("-M {name}: unknown machine; {hint}"))
}

/// An Arm board, and what is in its memory at the start.
fn arm_machine(config: &Config, cpu: &str) -> Result<(Board, Boot)> {
    check_machine(config, &["virt"])?;
    let model = arm::model::Model::parse(cpu).map_err(|error| anyhow!("-cpu {cpu}: {error}"))?;
    let mut flash = [None, None];
    for drive in config.drives.iter().filter(|drive| drive.interface == Interface::Pflash) {
        match flash.get_mut(drive.index as usize) {
            Some(bank) => *bank = Some(drive.id.clone()),
            None => bail!("-drive if=pflash,unit={}: this machine has banks 0 and 1; choose one", drive.index),
        }
    }
    let mut macs = Macs::default();
    let (virtio, rest) = split_virtio(config, &mut macs);
    let board_config = arm_virt::Config {
        cpu: cpu.to_owned(),
        pa_bits: model.pa_bits,
        pmu: model.features.has(arm::Feature::PMUv3),
        cpus: config.cpus,
        ram: config.ram_bytes,
        gic: match config.machine.gic {
            Some(Gic::V3 | Gic::Max) => GicVersion::V3,
            Some(Gic::V2) | None => GicVersion::V2,
        },
        serial: config.serials.first().cloned().flatten(),
        flash,
        acpi: config.machine.virt.acpi,
        its: config.machine.virt.its,
        highmem_ecam: config.machine.virt.highmem_ecam,
        highmem_mmio: config.machine.virt.highmem_mmio,
        virtio,
        pci: x86::devices(&rest, &mut macs)?.0,
        ..arm_virt::Config::default()
    };
    let limit = config.ram_bytes;
    let files = Files {
        kernel: read(Role::Kernel, config.kernel.as_deref(), limit)?,
        initrd: read(Role::Initrd, config.initrd.as_deref(), limit)?,
        dtb: read(Role::Dtb, config.dtb.as_deref(), limit)?,
        firmware: firmware::arm(config, arm_virt::FLASH_LEN + 1)?,
        cmdline: config.append.clone().unwrap_or_default(),
    };
    if let Some(path) = &config.machine.dump_dtb {
        let (_, boot) = arm_virt::machine(&board_config, files)?;
        let blob = match &boot.fdt {
            Some((_, fdt)) => fdt.write().map_err(|e| anyhow!("cannot make the device tree: {}", e.0))?,
            None => bail!("-M dumpdtb: this machine starts without a device tree; give a kernel"),
        };
        std::fs::write(path, blob).with_context(|| format!("cannot write `{}`", path.display()))?;
        std::process::exit(0);
    }
    Ok(arm_virt::machine(&board_config, files)?)
}
