//! Where firmware is as distributions install it: SeaBIOS and the BIOS of the VGA for PCs, edk2 for the ARM board.

use crate::cli::config::Config;
use anyhow::{Result, anyhow};
use machines::boot::File;
use machines::error::Role;
use machines::pc::{FIRMWARE_MAX, OPTION_ROM_MAX};
use std::path::{Path, PathBuf};

/// Directories of the ARM board's firmware: Debian; Fedora; Arch; what was built by hand.
const ARM_DIRS: [&str; 5] = [
    "/usr/share/qemu-efi-aarch64",
    "/usr/share/AAVMF",
    "/usr/share/edk2/aarch64",
    "/usr/share/edk2-armvirt/aarch64",
    "/usr/local/share/qemu",
];
/// Directories: Debian and Fedora; Debian's links, Arch, SUSE; what was built by hand.
const DIRS: [&str; 4] = ["/usr/share/seabios", "/usr/share/qemu", "/usr/local/share/qemu", "/usr/share/qemu-kvm"];
/// SeaBIOS for a machine that makes RAM of its ROM; the small one for a machine that cannot.
const SYSTEM: [&str; 2] = ["bios-256k.bin", "bios.bin"];
const VGA: &str = "vgabios-stdvga.bin";

fn find(config: &Config, dirs: &[&str], names: &[&Path]) -> Option<PathBuf> {
    let dirs = config.firmware_dirs.iter().cloned().chain(dirs.iter().map(PathBuf::from));
    let mut candidates = dirs.flat_map(|dir| names.iter().map(move |name| dir.join(name)));
    candidates.find(|path| path.is_file())
}

/// The firmware that `-bios` names for the ARM board: a file, or a name in one of the directories.
///
/// # Errors
/// When it cannot be read.
pub fn arm(config: &Config, limit: u64) -> Result<Option<File>> {
    let Some(given) = &config.bios else { return Ok(None) };
    Ok(Some(File::read(Role::Firmware, &named(config, &ARM_DIRS, given), limit)?))
}

/// What `-bios` names: a file, or a name in one of the directories.
fn named(config: &Config, dirs: &[&str], given: &Path) -> PathBuf {
    let found = if given.exists() { None } else { find(config, dirs, &[given]) };
    found.unwrap_or_else(|| given.into())
}

fn dirs(config: &Config) -> String {
    let given = config.firmware_dirs.iter().map(|dir| dir.display().to_string());
    given.chain(DIRS.map(String::from)).collect::<Vec<_>>().join(", ")
}

/// The machine's firmware: what `-bios` names, a file or a name in one of the directories, or SeaBIOS.
///
/// # Errors
/// Where it was looked for, and which package has it.
pub fn system(config: &Config, pci: bool) -> Result<File> {
    if let Some(given) = &config.bios {
        return Ok(File::read(Role::Firmware, &named(config, &DIRS, given), FIRMWARE_MAX)?);
    }
    let mut names = SYSTEM.map(Path::new);
    if !pci {
        names.reverse();
    }
    let path = find(config, &DIRS, &names).ok_or_else(|| {
        anyhow!(
            "no firmware: there is no {} in {}; install the package `seabios`, or name the image with -bios FILE or its \
             directory with -L DIR",
            SYSTEM.join(" or "),
            dirs(config)
        )
    })?;
    Ok(File::read(Role::Firmware, &path, FIRMWARE_MAX)?)
}

/// The BIOS of the VGA; the machine starts without it too, and then shows nothing until a system programs the VGA itself.
pub fn vga(config: &Config) -> Option<File> {
    let found = find(config, &DIRS, &[Path::new(VGA)]);
    let read = found.ok_or_else(|| anyhow!("there is no {VGA} in {}", dirs(config)));
    let read = read.and_then(|path| Ok(File::read(Role::Firmware, &path, OPTION_ROM_MAX)?));
    read.inspect_err(|why| {
        eprintln!("mimic: no BIOS for the VGA: {why}; install the package `seabios`, or use -vga none");
    })
    .ok()
}
