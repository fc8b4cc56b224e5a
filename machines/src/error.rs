//! Why a machine cannot be built or booted: each one line that names the object, the reason and the next step.

use vm::vcpu::AccelError;
use vm::{Gpa, LoadError, MapError};

/// Which file a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The kernel.
    Kernel,
    /// The initial RAM disk.
    Initrd,
    /// A device tree that replaces the machine's own.
    Dtb,
    /// Firmware in flash.
    Firmware,
}

impl Role {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Kernel => "kernel",
            Role::Initrd => "initial RAM disk",
            Role::Dtb => "device tree",
            Role::Firmware => "firmware",
        }
    }

    /// The option that names the file.
    pub fn option(self) -> &'static str {
        match self {
            Role::Kernel => "-kernel",
            Role::Initrd => "-initrd",
            Role::Dtb => "-dtb",
            Role::Firmware => "-bios",
        }
    }
}

/// Why a machine cannot be built or booted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // Files.
    /// The host does not give the file.
    #[error("cannot read {} `{name}`: {why}; check the file given with {}", role.name(), role.option())]
    Read { role: Role, name: String, why: String },
    /// No bytes.
    #[error("{} `{name}` is empty; check the file given with {}", role.name(), role.option())]
    Empty { role: Role, name: String },
    /// The end is missing.
    #[error("{} `{name}` is truncated: {why}; copy or download it again", role.name())]
    Truncated { role: Role, name: String, why: String },
    /// The contents contradict themselves.
    #[error("{} `{name}` is damaged: {why}; copy or download it again", role.name())]
    Damaged { role: Role, name: String, why: String },
    /// Something else than a kernel for this machine.
    #[error("kernel `{name}` is {found}; this machine boots AArch64 kernels: Image, Image.gz, EFI zboot or ELF")]
    NotAKernel { name: String, found: String },
    /// Something else than a kernel for a PC.
    #[error("kernel `{name}` is {found}; this machine boots bzImage, ELF with an entry for PVH, and multiboot kernels")]
    NotAPcKernel { name: String, found: String },
    /// A program without the entry that loaders use.
    #[error("kernel `{name}` is an ELF program without an entry for PVH (Xen note 18) or multiboot; use its bzImage")]
    NoPvh { name: String },
    /// What a multiboot header asks for.
    #[error("the multiboot header of kernel `{name}` {why}; boot it through GRUB from a disk image")]
    Multiboot { name: String, why: String },
    /// Several files for a kernel that takes one.
    #[error(
        "kernel `{name}` takes one initial RAM disk; several files are for multiboot kernels: name one with -initrd"
    )]
    OneInitrd { name: String },
    /// A 64-bit kernel for a CPU without that mode.
    #[error(
        "kernel `{name}` is a 64-bit one, and the CPU {cpu} has no 64-bit mode; use mimic system-x86_64 with -cpu max, or a 32-bit kernel"
    )]
    NoLongMode { name: String, cpu: String },
    /// A kernel of an old boot protocol.
    #[error(
        "kernel `{name}` has version {version} of the boot protocol; use one of Linux 2.6.22 or later, which has 2.06"
    )]
    OldKernel { name: String, version: String },
    /// A command line that the kernel would cut.
    #[error("the command line of {len} bytes is longer than the {limit} that kernel `{name}` takes; shorten -append")]
    LongCmdline { name: String, len: usize, limit: usize },
    /// Packed in a way that is not supported.
    #[error("kernel `{name}` is compressed with {method}, which is not supported; {hint}")]
    Compression { name: String, method: String, hint: &'static str },
    /// A big-endian kernel.
    #[error("kernel `{name}` is big-endian, which no CPU here runs; use a little-endian kernel")]
    BigEndian { name: String },
    /// The unpacked kernel is larger than RAM.
    #[error("kernel `{name}` unpacks to more than the {have_mib} MiB of RAM; use a larger -m")]
    Unpacks { name: String, have_mib: u64 },
    /// A file cannot be placed.
    #[error("RAM of {have_mib} MiB is too small for {} `{name}`; use -m {need_mib} or more", role.name())]
    RamTooSmall { role: Role, name: String, have_mib: u64, need_mib: u64 },
    /// A program linked for other addresses.
    #[error(
        "kernel `{name}` wants to be loaded at {start}-{end}, which is not RAM ({ram_start}-{ram_end}); \
         link it for this machine or use a larger -m"
    )]
    OutsideRam { name: String, start: Gpa, end: Gpa, ram_start: Gpa, ram_end: Gpa },
    /// A device tree that cannot be read.
    #[error("device tree `{name}` cannot be used: {why}; compile it with `dtc -O dtb`")]
    BadDtb { name: String, why: String },
    /// Firmware larger than its flash chip.
    #[error(
        "firmware `{name}` has {len} bytes, more than the flash chip's {flash}; use the image built for this machine"
    )]
    FirmwareTooLarge { name: String, len: u64, flash: u64 },
    /// An option without the kernel it belongs to.
    #[error("{option} needs a kernel; add -kernel FILE")]
    NeedsKernel { option: &'static str },
    /// Neither kernel nor firmware.
    #[error("nothing to boot; give a kernel with -kernel FILE")]
    NothingToBoot,

    /// Neither kernel nor firmware for a PC.
    #[error("no firmware; install SeaBIOS, or name its image with -bios FILE")]
    NoFirmware,
    /// Not an image of a ROM.
    #[error(
        "firmware `{name}` has {len} bytes, and ROMs a multiple of 64 KiB up to 16 MiB; use an image such as SeaBIOS"
    )]
    NotFirmware { name: String, len: u64 },

    // The machine as asked for.
    /// RAM beyond the physical address space.
    #[error(
        "machine `{machine}` cannot have {asked_mib} MiB of RAM: CPU model `{cpu}` has {pa_bits}-bit physical addresses; \
         use -m {max_mib} or less"
    )]
    TooMuchRam { machine: &'static str, asked_mib: u64, cpu: String, pa_bits: u32, max_mib: u64 },
    /// RAM is not a whole number of pages, or none.
    #[error("machine `{machine}` cannot have {asked} bytes of RAM; use a multiple of 1 MiB with -m")]
    OddRam { machine: &'static str, asked: u64 },
    /// CPU count.
    #[error("machine `{machine}` cannot have {asked} CPUs {why}; use -smp {max} or less")]
    TooManyCpus { machine: &'static str, asked: u32, max: u32, why: &'static str },
    /// More devices than slots.
    #[error("machine `{machine}` has {slots} virtio slots and {asked} devices want one; remove some -device or -drive")]
    TooManyVirtio { machine: &'static str, slots: usize, asked: usize },

    /// More PCI devices than slots.
    #[error(
        "machine `{machine}` has {slots} free PCI slots and {asked} devices want one; remove some -device or -drive"
    )]
    TooManyPci { machine: &'static str, slots: usize, asked: usize },

    // The board.
    /// Two parts, or a part and a vCPU, of one name.
    #[error("the board has two parts called `{path}`; rename one")]
    Duplicate { path: String },
    /// Windows or RAM on top of each other.
    #[error("`{path}` at {at} overlaps `{other}`; move one of them")]
    Overlap { path: String, other: String, at: Gpa },
    /// A window past the end of the address space or without an address.
    #[error("`{path}` places {placed} windows of its {windows}; give each an address")]
    Windows { path: String, placed: usize, windows: usize },
    /// A line to an input that does not exist.
    #[error("`{path}` drives `{pin}`, which does not exist; {known}")]
    UnknownPin { path: String, pin: String, known: String },
    /// An input that the part turned out not to have.
    #[error("`{from}` drives `{path}`, which has no such interrupt input; wire it elsewhere")]
    NoInputs { path: String, from: String },
    /// Parts that can only be built after one another.
    #[error("`{path}` drives an input of a part that waits for it; break the circle")]
    Circle { path: String },
    /// No host end for a serial port.
    #[error("`{path}` needs the character device `{id}`, which does not exist; known: {known}")]
    UnknownChardev { path: String, id: String, known: String },
    /// No disk of that name.
    #[error("`{path}` needs the drive `{id}`, which does not exist; known: {known}")]
    UnknownDrive { path: String, id: String, known: String },
    /// No network of that name.
    #[error("`{path}` needs the network `{id}`, which does not exist; known: {known}")]
    UnknownNetdev { path: String, id: String, known: String },
    /// No shared folder of that name.
    #[error("`{path}` needs the folder `{id}`, which does not exist; known: {known}")]
    UnknownFolder { path: String, id: String, known: String },
    /// A device refused to be made.
    #[error("cannot make `{path}`: {why}")]
    Part { path: String, why: String },
    /// No host memory.
    #[error(transparent)]
    Ram(#[from] vm::ram::RamError),
    /// The address space refused a region.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The accelerator refused a vCPU.
    #[error(transparent)]
    Accel(#[from] AccelError),
    /// A snapshot does not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A snapshot of another machine.
    #[error(
        "the snapshot is of machine `{found}`, this is `{machine}`; start the machine with the options it was saved with"
    )]
    OtherMachine { found: String, machine: String },
}

impl Error {
    pub(crate) fn too_small(role: Role, name: &str, have: u64, need: u64) -> Self {
        Error::RamTooSmall { role, name: name.into(), have_mib: have >> 20, need_mib: need.div_ceil(1 << 20) }
    }
}

/// "known: a, b" for messages.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
