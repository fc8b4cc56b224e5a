//! What a command line asks for, as plain data.

use super::img::Img;
use super::run::Run;
use host::chardev::Spec;
use host::disk::DiskOptions;
use host::ninep::FolderOptions;
use std::path::PathBuf;
use vm::log::Item;

/// What the program shall do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Show the help of `mimic`.
    Help,
    /// Show the help of `system-aarch64`.
    HelpSystem,
    /// Show the version.
    Version,
    /// Show what values an option takes.
    List(List),
    /// Show what these A64 instruction words are translated to.
    ExplainA64(Vec<u32>),
    /// Show the help of `img`.
    HelpImg,
    /// Work on a disk image.
    Img(Img),
    /// Show the help of `run`.
    HelpRun,
    /// Run the machine that an image is made for.
    Run(Run),
    /// Run a machine.
    System(Box<Config>),
}

/// A question in place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// `-M help`.
    Machines { system: System },
    /// `-cpu help`.
    Cpus { system: System },
    /// `-device help`.
    Devices,
    /// `-device DRIVER,help`.
    DeviceProperties(&'static str),
    /// `-d help`.
    LogItems,
    /// `-accel help`.
    Accelerators,
    /// `-chardev help`.
    Chardevs,
    /// `-object help`.
    Objects,
    /// `-netdev help`.
    Netdevs,
}

/// Which processors a machine has: the command that it is run by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum System {
    #[default]
    Aarch64,
    X86_64,
    I386,
}

impl System {
    /// The board that is meant without `-M`.
    pub fn default_machine(self) -> &'static str {
        match self {
            System::Aarch64 => "virt",
            System::X86_64 | System::I386 => "pc",
        }
    }

    /// The CPU that is meant without `-cpu`.
    pub fn default_cpu(self) -> &'static str {
        match self {
            // Deviation: QEMU's default on `virt` is a 32-bit cortex-a15, which starts no 64-bit kernel.
            System::Aarch64 | System::X86_64 => "max",
            System::I386 => "pentium3",
        }
    }

    /// Whether its machine of this name has IDE, floppy disks and PCI.
    pub fn is_pc(self, machine: &str) -> bool {
        self != System::Aarch64 && (matches!(machine, "isapc" | "pc" | "q35") || machine.starts_with("pc-"))
    }

    /// Whether that one has the chip set Q35, by QEMU's names of its versions too.
    pub fn is_q35(machine: &str) -> bool {
        machine == "q35" || machine.starts_with("pc-q35")
    }

    /// Buses for IDE drives, or ports for Serial ATA ones, of its machine of this name, and drives on each.
    pub fn ide_places(self, machine: &str) -> (u32, u32) {
        match self.is_pc(machine) {
            false => (0, 0),
            true if Self::is_q35(machine) => (6, 1),
            true => (2, 2),
        }
    }
}

/// A machine as ordered on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub system: System,
    pub machine: Machine,
    pub cpu: Cpu,
    /// Guest RAM in bytes.
    pub ram_bytes: u64,
    /// Number of CPUs.
    pub cpus: u32,
    pub accel: Accel,
    pub kernel: Option<PathBuf>,
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub append: Option<String>,
    /// Device tree to use in place of the generated one.
    pub dtb: Option<PathBuf>,
    /// Firmware, or its name in one of the directories.
    pub bios: Option<PathBuf>,
    /// Directories to look for firmware in, before those of the system.
    pub firmware_dirs: Vec<PathBuf>,
    pub boot: Boot,
    /// There is a VGA.
    pub vga: bool,
    /// The serial port shows what a screen would.
    pub nographic: bool,
    /// The parallel port: the id of its chardev, or `None` inside for one without a host end.
    pub parallel: Option<Option<String>>,
    /// Every drive, in the order of the command line.
    pub drives: Vec<Drive>,
    /// Every `-device`, in the order of the command line; drives with `if=virtio` are not among them.
    pub devices: Vec<Device>,
    /// Every character host end, those of `-serial` and `-monitor` included. Ids are unique.
    pub chardevs: Vec<Chardev>,
    /// The serial ports in order: the id of the chardev, or `None` for a port without a host end.
    pub serials: Vec<Option<String>>,
    /// Ids of the chardevs that the monitor is on.
    pub monitors: Vec<String>,
    /// Every network, those of `-nic` and `-net` included. Ids are unique.
    pub netdevs: Vec<Netdev>,
    /// Shared folders.
    pub fsdevs: Vec<Fsdev>,
    /// Sources of entropy.
    pub rngs: Vec<Rng>,
    pub rtc: RtcBase,
    /// Write the names of translated code to a file for `perf`.
    pub perf_map: bool,
    /// End when the guest resets.
    pub no_reboot: bool,
    /// Keep the stopped machine when the guest powers off.
    pub no_shutdown: bool,
    /// Do not start the CPU.
    pub start_paused: bool,
    pub log: Log,
    /// The key that introduces the keys of a shared terminal (`-echr`).
    pub escape: u8,
    pub name: Option<String>,
    /// File to write the process id to.
    pub pidfile: Option<PathBuf>,
    /// Neither serial ports nor other default devices that were not asked for.
    pub nodefaults: bool,
    /// Lines to show on standard error before the start.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// As typed; the boards know whether it exists.
    pub name: String,
    pub gic: Option<Gic>,
    pub virt: Virt,
    /// Write the device tree here and end.
    pub dump_dtb: Option<PathBuf>,
}

/// What can be switched off on an ARM board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Virt {
    /// The GICv3's translation service for messages.
    pub its: bool,
    /// Firmware gets ACPI tables.
    pub acpi: bool,
    /// PCI configuration space is above RAM, if the CPU reaches it there.
    pub highmem_ecam: bool,
    /// There is memory of PCI functions above RAM, if the CPU reaches it there.
    pub highmem_mmio: bool,
}

impl Default for Virt {
    fn default() -> Self {
        Self { its: true, acpi: true, highmem_ecam: true, highmem_mmio: true }
    }
}

/// The interrupt controller of an ARM board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gic {
    V2,
    V3,
    /// The newest that is implemented.
    Max,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// As typed; the CPU front end knows whether it exists.
    pub model: String,
    /// Features switched on or off, in order.
    pub features: Vec<(String, bool)>,
}

/// The translator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accel {
    /// The one tier to use; `None` lets code get hot.
    pub tier: Option<u8>,
    /// Bytes of host code to keep.
    pub code_bytes: Option<u64>,
    /// For developers: makes rare things frequent, as random numbers from this seed say. The tier is then the highest.
    pub stress: Option<u64>,
    /// All vCPUs take turns on one thread.
    pub one_thread: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Unique; made up (`virtio0`) where none was given.
    pub id: String,
    pub interface: Interface,
    /// Place among the drives of the same interface.
    pub index: u32,
    /// It is a disc in a CD-ROM drive.
    pub cdrom: bool,
    /// Serial number that the guest sees.
    pub serial: Option<String>,
    pub disk: DiskOptions,
}

/// `-boot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// Letters of drives: `a` and `b` floppy disk, `c` disk, `d` CD-ROM, `n` to `p` network.
    pub order: Option<String>,
    pub menu: bool,
    /// How long the menu can be asked for.
    pub splash_ms: Option<u16>,
    /// How long to wait before another attempt if nothing boots; -1 for ever.
    pub retry_ms: Option<i32>,
}

/// How a drive is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// By a `-device` that names it.
    None,
    /// By a virtio block device of its own.
    Virtio,
    /// As flash memory of the board: unit 0 is the first bank.
    Pflash,
    /// By the board's IDE or Serial ATA controller: channel and drive, or port.
    Ide,
    /// In a floppy drive.
    Floppy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: Option<String>,
    /// As typed.
    pub driver: String,
    pub kind: DeviceKind,
    /// Its place in the order in which firmware looks for a system.
    pub bootindex: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `drive` is the id of a [`Drive`] with [`Interface::None`]; `serial` is what the guest reads as its serial number.
    VirtioBlk {
        drive: String,
        serial: Option<String>,
    },
    /// A disk or, if `cdrom`, a CD-ROM drive on the board's IDE or Serial ATA controller. `drive` is the id of a [`Drive`]
    /// with [`Interface::None`].
    Ide {
        cdrom: bool,
        drive: Option<String>,
        bus: Option<u32>,
        unit: Option<u32>,
        serial: Option<String>,
    },
    /// `rng` is the id of an [`Rng`]; without one the host's generator.
    VirtioRng {
        rng: Option<String>,
    },
    /// An NVMe controller with the drive `drive`.
    Nvme {
        drive: String,
        serial: Option<String>,
    },
    /// A SCSI host with the units that name it.
    VirtioScsi {
        units: Vec<ScsiUnit>,
    },
    /// A unit of the SCSI host `bus` (the last one before it if `None`), at a target of its own if `None`. It is among that
    /// host's units too, with its target.
    Scsi {
        unit: ScsiUnit,
        bus: Option<String>,
        target: Option<u8>,
    },
    /// The folder of the [`Fsdev`] `fsdev`, which guests mount as `tag`.
    Virtio9p {
        fsdev: String,
        tag: String,
    },
    VirtioBalloon,
    /// The bus for the consoles that follow.
    VirtioSerial,
    /// A console on the virtio-serial bus `bus` (the last one before it if `None`).
    Virtconsole {
        chardev: String,
        bus: Option<String>,
    },
    /// A network card on the [`Netdev`] `netdev`, or with its cable unplugged.
    VirtioNet {
        mac: Option<[u8; 6]>,
        netdev: Option<String>,
    },
    /// A network card on the [`Netdev`] `netdev`, or with its cable unplugged.
    E1000 {
        mac: Option<[u8; 6]>,
        netdev: Option<String>,
    },
    /// Bytes written to port `iobase` go to `chardev`.
    Debugcon {
        chardev: String,
        iobase: u16,
    },
    /// A write to one of `iosize` ports ends the program.
    DebugExit {
        iobase: u16,
        iosize: u8,
    },
    Pvpanic {
        ioport: u16,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chardev {
    pub id: String,
    pub spec: Spec,
    /// Several devices share it by the escape keys.
    pub mux: bool,
    /// On a terminal, Ctrl-C and Ctrl-Z act on the emulator rather than going to the guest.
    pub signal: bool,
    /// File that gets a copy of the guest's output.
    pub log: Option<LogFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// Keep what it holds.
    pub append: bool,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netdev {
    pub id: String,
    pub net: usernet::Config,
}

/// A disk or CD-ROM drive on a SCSI host, with `drive` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiUnit {
    pub cdrom: bool,
    pub drive: Option<String>,
    pub serial: Option<String>,
    pub target: u8,
    pub lun: u8,
}

/// A folder of the host for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fsdev {
    pub id: String,
    pub folder: FolderOptions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    pub id: String,
    /// Where bytes come from; `None` for the host's generator.
    pub filename: Option<PathBuf>,
}

/// What real-time clocks show when the machine starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcBase {
    /// The host's time in UTC.
    #[default]
    Utc,
    /// This many seconds after 1970-01-01 00:00.
    At(u64),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    pub items: Vec<Item>,
    /// Where lines go in place of standard error.
    pub file: Option<PathBuf>,
}
