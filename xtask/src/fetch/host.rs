//! Programs of the host that fetching needs, and the packages they come in.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{exists, output, step};
use crate::system::System;

/// A program, or the path of another file, and the Debian package that has it.
pub type Need = (&'static str, &'static str);

/// Unpacking kernels and busybox.
pub const UNPACK: &[Need] = &[("dpkg-deb", "dpkg"), ("xz", "xz-utils"), (KEYRING, "debian-archive-keyring")];
/// Building a root file system.
pub const ROOTFS: &[Need] = &[
    ("debootstrap", "debootstrap"),
    ("gpgv", "gpgv"),
    ("wget", "wget"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    (KEYRING, "debian-archive-keyring"),
];
/// A disk with a GPT, whose system is reached by ssh.
pub const NETWORKED_DISK: &[Need] = &[("sfdisk", "fdisk"), ("ssh-keygen", "openssh-client")];
/// Keys of Debian's archive.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The BIOS of a PC.
pub const SEABIOS: &[Need] = &[("/usr/share/seabios/bios-256k.bin", "seabios")];
/// UEFI of a PC, for flash.
pub const PFLASH: &[Need] = &[("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")];

/// UEFI of the two systems.
pub const AAVMF: &[Need] = &[("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "qemu-efi-aarch64")];
pub const OVMF: &[Need] = &[("/usr/share/ovmf/OVMF.fd", "ovmf")];
/// Talking to a guest over its network, and looking at its disk.
pub const VISIT: &[Need] = &[("ssh", "openssh-client"), ("timeout", "coreutils"), ("qemu-img", "qemu-utils")];
/// The host's end of the measurement of a guest's network.
pub const IPERF: &[Need] = &[("iperf3", "iperf3")];

/// Installs a system's QEMU, the oracle.
pub fn ensure_qemu(system: &System) -> Result<()> {
    ensure(&[(&system.qemu(), system.qemu_package)])
}

/// Installs what is missing when allowed to, else says in one line what to install.
pub fn ensure(needs: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        needs.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !exists("apt-get") {
        bail!("missing programs; on Debian they are in the packages: {names}");
    }
    if !is_root() {
        bail!("missing packages: run `sudo apt-get install {names}` and try again");
    }
    step(&format!("install {names}"), || {
        // Package lists of a fresh container are empty or old; a failed update still lets cached packages install.
        output(Command::new("apt-get").args(["update", "-qq"])).ok();
        output(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["install", "-y", "-qq", "--no-install-recommends"])
                .args(&missing),
        )
    })?;
    Ok(())
}

/// Whether this process may install packages and keep file owners.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
