//! `mimic run`: which machine an image is made for.
//!
//! The answer is a line of `mimic system-…`: what [`choose`] finds out and what the person has said add up to its words,
//! which the command line reads as if they had been typed.

use crate::cli::config::System;
use crate::cli::run::{Firmware, Run};
use anyhow::{Result, anyhow, bail};
use host::contents::{Contents, Family, Isa, Medium, look};
use host::image::{Chain, Image, Use};
use machines::boot::identify::{KernelIsa, identify, kernel_isa};
use std::path::{Path, PathBuf};

/// Largest kernel that is looked at, packed and unpacked.
const KERNEL_MAX: u64 = 256 << 20;
/// Most RAM and processors that are chosen.
const RAM_MAX_MIB: u64 = 2048;
const RAM_MIN_MIB: u64 = 256;
const CPUS_MAX: usize = 4;

/// Where distributions put EDK II: code, and a template of its variables.
const UEFI_AARCH64: &[(&str, &str)] = &[
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
    ("/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"),
    ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
];
const UEFI_X86_64: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
];

/// What an image is run by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The command and its words, as they would be typed.
    pub words: Vec<String>,
    /// What was chosen, for the person: one line.
    pub said: String,
}

impl Choice {
    /// The line for a shell.
    pub fn command(&self) -> String {
        let quoted = self.words.iter().map(|word| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.,:/+@%".contains(&byte);
            if !word.is_empty() && word.bytes().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        });
        format!("mimic {}", quoted.collect::<Vec<_>>().join(" "))
    }
}

/// What the image is.
enum What {
    Kernel(KernelIsa),
    Medium(Contents),
}

/// Looks into the image and chooses.
///
/// # Errors
/// An image that cannot be read, or that does not say what it is made for.
pub fn choose(run: &Run) -> Result<Choice> {
    let path = Path::new(&run.image);
    let what = examine(path)?;
    let mut choice = Words { run, words: Vec::new(), notes: Vec::new() };
    let found = match &what {
        What::Kernel(isa) => choice.kernel(*isa)?,
        What::Medium(contents) => choice.medium(contents)?,
    };
    let said = format!(
        "{} ({found}): {}; options behind the image change it, --show-command shows it all",
        run.image,
        choice.notes.join(", ")
    );
    choice.words.extend(run.options.iter().cloned());
    Ok(Choice { words: choice.words, said })
}

fn examine(path: &Path) -> Result<What> {
    let image = Image::open("image", path, None, Use::Peek, Chain::Open)?;
    let failed = |error: std::io::Error| anyhow!("cannot read image `{}`: {error}; check the file", path.display());
    let len = image.len_bytes();
    if len == 0 {
        bail!("image `{}` is empty; name a disk image, an ISO image or a kernel", path.display());
    }
    let mut head = vec![0; len.min(0x8800) as usize];
    image.read(0, &mut head).map_err(failed)?;
    let packed = head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if len <= KERNEL_MAX {
        let isa = match packed {
            false => kernel_isa(&head, KERNEL_MAX),
            true => kernel_isa(&std::fs::read(path).map_err(failed)?, KERNEL_MAX),
        };
        if let Some(isa) = isa {
            return Ok(What::Kernel(isa));
        }
    }
    let unpack = [("xz", &b"\xfd7zXZ\0"[..]), ("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd"), ("bzip2", b"BZh")];
    if let Some((program, _)) = unpack.iter().find(|(_, magic)| head.starts_with(magic)) {
        bail!("image `{}` is compressed; unpack it first: `{program} -dk {}`", path.display(), path.display());
    }
    let contents = look(&image).map_err(failed)?;
    if let (false, Medium::Disk, true) =
        (contents.starts(), contents.medium, contents.summary.contains("without partitions"))
    {
        // A file's last sector is filled up with zeros.
        let end = head.iter().rposition(|byte| *byte != 0).map_or(head.len(), |last| last + 1);
        let what = identify(&head[..end]).unwrap_or_else(|| "nothing that is known".into());
        bail!(
            "image `{}` does not start on any machine: it is {what}; name a disk with a boot loader, an ISO image or a kernel",
            path.display()
        );
    }
    Ok(What::Medium(contents))
}

/// The words so far.
struct Words<'a> {
    run: &'a Run,
    words: Vec<String>,
    notes: Vec<String>,
}

impl Words<'_> {
    fn is_given(&self, options: &[&str]) -> bool {
        self.run.given.iter().any(|given| options.contains(given))
    }

    /// Adds an option unless the person has said one of its kind.
    fn add(&mut self, option: &str, value: &str) {
        if !self.is_given(&[option]) {
            self.words.extend([format!("-{option}"), value.to_owned()]);
        }
    }

    fn push(&mut self, option: &str, value: String) {
        self.words.extend([format!("-{option}"), value]);
    }

    /// The command, the board, processors and memory.
    fn machine(&mut self, system: System) {
        let command = match system {
            System::Aarch64 => "system-aarch64",
            System::X86_64 => "system-x86_64",
            System::I386 => "system-i386",
        };
        self.words.push(command.into());
        self.add("machine", system.default_machine());
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get()).min(CPUS_MAX);
        self.add("smp", &cpus.to_string());
        let ram = ram_mib();
        self.add("m", &ram.to_string());
        self.notes.push(command.into());
        if !self.is_given(&["smp"]) {
            self.notes.push(format!("{cpus} CPU{}", if cpus == 1 { "" } else { "s" }));
        }
        if !self.is_given(&["m"]) {
            self.notes.push(format!("{ram} MiB"));
        }
    }

    /// A kernel that is started directly.
    fn kernel(&mut self, isa: KernelIsa) -> Result<String> {
        let (system, name, console) = match isa {
            KernelIsa::Aarch64 => (System::Aarch64, "a kernel for AArch64", "console=ttyAMA0"),
            KernelIsa::X86 => (self.run.system.unwrap_or(System::X86_64), "a kernel for PCs", "console=ttyS0"),
        };
        if self.run.system.is_some_and(|asked| (asked == System::Aarch64) != (system == System::Aarch64)) {
            bail!("--arch: image `{}` is {name}; leave --arch out", self.run.image);
        }
        self.machine(system);
        self.push("kernel", self.run.image.clone());
        self.add("append", console);
        self.disks("virtio");
        self.network(true);
        Ok(name.into())
    }

    /// A medium that firmware starts.
    fn medium(&mut self, contents: &Contents) -> Result<String> {
        let (system, firmware) = self.start(contents)?;
        self.machine(system);
        if firmware == Firmware::Uefi && !self.is_given(&["bios"]) {
            self.uefi(system)?;
        }
        self.notes.push(if firmware == Firmware::Uefi { "UEFI".into() } else { "BIOS".into() });
        let is_arm = system == System::Aarch64;
        // Where nothing is known of the system, hardware that every system knows; EFI programs come with virtio's drivers.
        let virtio = is_arm || contents.family == Some(Family::Unix) || contents.medium == Medium::Disc;
        let bus = if virtio { "virtio" } else { "ide" };
        let file = self.run.image.replace(',', ",,");
        match contents.medium {
            Medium::Disk => self.push("drive", format!("file={file},if={bus}")),
            Medium::Floppy => self.push("drive", format!("file={file},if=floppy")),
            // A disc is also a disk to firmware, and to Linux.
            Medium::Disc if is_arm => self.push("drive", format!("file={file},if=virtio,readonly=on")),
            Medium::Disc => self.push("cdrom", self.run.image.clone()),
        }
        self.disks(bus);
        self.notes.push(match contents.medium {
            Medium::Disk => format!("{bus} disk"),
            Medium::Floppy => "floppy disk".into(),
            Medium::Disc if self.run.disks.is_empty() => "disc (--disk FILE adds a disk to install to)".into(),
            Medium::Disc => format!("disc and {bus} disk"),
        });
        self.network(virtio);
        Ok(match contents.efi.first().copied().or(contents.root).filter(|_| firmware == Firmware::Uefi) {
            Some(isa) => format!("{}, for {}", contents.summary, isa.name()),
            None => contents.summary.clone(),
        })
    }

    /// Which processors and firmware start a medium.
    fn start(&self, contents: &Contents) -> Result<(System, Firmware)> {
        let image = &self.run.image;
        let system_of = |isa: &Isa| match isa {
            Isa::Aarch64 => Some(System::Aarch64),
            Isa::X86_64 => Some(System::X86_64),
            Isa::I386 | Isa::Arm | Isa::Riscv64 | Isa::Loongarch64 => None,
        };
        let mut ways: Vec<(System, Firmware)> = Vec::new();
        if contents.bios {
            ways.push((System::X86_64, Firmware::Bios));
        }
        // What only variables lead to is tried last: firmware may look for it all the same.
        let efi = contents.efi.iter().chain(&contents.efi_by_variable).chain(&contents.root);
        ways.extend(efi.filter_map(system_of).map(|system| (system, Firmware::Uefi)));
        let asked = |(system, firmware): &&(System, Firmware)| {
            let same = self.run.system.is_none_or(|asked| (asked == System::Aarch64) == (*system == System::Aarch64));
            same && self.run.firmware.is_none_or(|asked| asked == *firmware)
        };
        // A boot sector beside programs for another processor is the one that tells people to use another machine.
        let foreign = contents.bios && contents.efi == [Isa::Aarch64] && contents.medium == Medium::Disk;
        let preferred = ways.iter().filter(asked).find(|way| !foreign || way.1 == Firmware::Uefi);
        if let Some((system, firmware)) = preferred.or_else(|| ways.iter().find(asked)) {
            let system = if *system == System::Aarch64 { *system } else { self.run.system.unwrap_or(*system) };
            return Ok((system, *firmware));
        }
        if let (Some(system), true) = (self.run.system, self.run.firmware.is_some() || ways.is_empty()) {
            let firmware =
                if system == System::Aarch64 { Firmware::Uefi } else { self.run.firmware.unwrap_or(Firmware::Bios) };
            return Ok((system, firmware));
        }
        match (contents.efi.first(), ways.first()) {
            (Some(isa), None) => bail!(
                "image `{image}` is {} for {}, which is not implemented; take an image for AArch64 or x86-64",
                contents.summary,
                isa.name()
            ),
            (_, Some(_)) => bail!(
                "image `{image}` does not start that way: it is {}; leave --arch and --firmware out",
                contents.summary
            ),
            (None, None) => bail!(
                "image `{image}` does not say what starts it: it is {}; say --arch aarch64 or --arch x86_64 to try, or take an \
                 image with a boot loader",
                contents.summary
            ),
        }
    }

    fn uefi(&mut self, system: System) -> Result<()> {
        let (places, package) = match system {
            System::Aarch64 => (UEFI_AARCH64, "qemu-efi-aarch64"),
            System::X86_64 | System::I386 => (UEFI_X86_64, "ovmf"),
        };
        let found = places.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists());
        let Some((code, vars)) = found else {
            let folders: Vec<String> = places
                .iter()
                .filter_map(|(code, _)| Some(PathBuf::from(code).parent()?.display().to_string()))
                .collect();
            bail!(
                "no UEFI firmware: there is none in {}; install the package `{package}`, or name an image with -bios FILE",
                folders.join(", ")
            );
        };
        self.push("drive", format!("if=pflash,format=raw,readonly=on,file={code}"));
        self.push("drive", format!("if=pflash,format=raw,snapshot=on,file={vars}"));
        Ok(())
    }

    fn disks(&mut self, bus: &str) {
        for disk in &self.run.disks {
            self.words.extend(["-drive".into(), format!("file={},if={bus}", disk.replace(',', ",,"))]);
        }
    }

    fn network(&mut self, virtio: bool) {
        if self.run.no_network {
            self.add("nic", "none");
            return;
        }
        if self.is_given(&["nic", "net", "netdev"]) {
            return;
        }
        let model = if virtio { "virtio" } else { "e1000" };
        let mut value = format!("user,model={model}");
        for (host, guest) in &self.run.ports {
            value.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
            self.notes.push(format!("port {host} leads to the guest's {guest}"));
        }
        self.push("nic", value);
        if virtio {
            self.push("device", "virtio-rng-pci".into());
        }
        self.notes.push(format!("{model} network"));
    }
}

/// The RAM to give a guest, in MiB: half of what the host has to spare.
fn ram_mib() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    (kib.unwrap_or(RAM_MAX_MIB << 11) >> 11).clamp(RAM_MIN_MIB, RAM_MAX_MIB) & !63
}
