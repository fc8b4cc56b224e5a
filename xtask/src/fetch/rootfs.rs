//! Debian systems on raw ext4 images: root file systems alone, and disks that boot by themselves.
//!
//! debootstrap downloads and verifies the packages and unpacks the essential ones; `mke2fs -d` turns the tree into an
//! image without mounting anything; the packages' scripts run on first boot inside the emulator (firstboot.sh), which also
//! installs the boot loader of a disk (bootable.sh, gpt.sh). A disk with a network lets root in by ssh with a key that is made
//! beside it.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Artefact;
use super::archive::mirror;
use super::host::{self, KEYRING};
use super::partitions::Layout;
use crate::command::{exists, output, step};
use crate::emulator::{Emulator, Stop};
use crate::places;
use crate::system::{AARCH64, System, X86_64};

/// What an image holds.
pub struct Recipe {
    system: &'static System,
    /// The fetched kernel that runs the first boot.
    pub kernel: &'static str,
    /// Of the file system, as mke2fs takes it.
    size: &'static str,
    /// On top of the essential packages.
    packages: &'static [&'static [&'static str]],
    layout: Layout,
}

const SUITE: &str = "bookworm";

pub static ARM64: Recipe =
    Recipe { system: &AARCH64, kernel: "debian-12", size: "2560M", packages: &[PROGRAMS], layout: Layout::Bare };
pub static AMD64: Recipe = Recipe { system: &X86_64, kernel: "debian-12-amd64", ..ARM64 };
pub static DISK_AMD64: Recipe = Recipe { size: "1536M", packages: &[BOOTABLE], layout: Layout::Mbr, ..AMD64 };
pub static DISK_ARM64_UEFI: Recipe =
    Recipe { size: "1920M", packages: &[NETWORKED, UEFI_ARM64], layout: Layout::Gpt { bios: false }, ..ARM64 };
pub static DISK_AMD64_UEFI: Recipe = Recipe {
    system: &X86_64,
    kernel: "debian-12-amd64",
    packages: &[NETWORKED, UEFI_AMD64],
    layout: Layout::Gpt { bios: true },
    ..DISK_ARM64_UEFI
};

#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    // A machine one can log in to.
    "systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "procps", "iproute2", "iputils-ping", "less", "file",
    // The programs whose results are compared between emulators.
    "apt", "ca-certificates", "python3", "libpython3.11-testsuite", "gcc", "libc6-dev", "make", "openssl", "stress-ng",
    "sqlite3", "xz-utils", "7zip", "bzip2", "zstd", "bc",
];
/// grub-pc-bin and not grub-pc, which wants to be told a disk while it is configured.
#[rustfmt::skip]
const BOOTABLE: &[&str] = &[
    "systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "procps", "iproute2", "iputils-ping", "less", "file",
    "linux-image-amd64", "initramfs-tools", "zstd", "grub-pc-bin", "grub2-common",
];

/// A machine in a network, whose disks and network can be measured.
#[rustfmt::skip]
const NETWORKED: &[&str] = &[
    "systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "procps", "iproute2", "iputils-ping", "less", "file",
    "initramfs-tools", "zstd", "grub2-common", "dosfstools", "mtools",
    "systemd-resolved", "openssh-server", "apt", "ca-certificates", "curl", "iperf3", "fio",
];
/// The signed loaders are whole: they look for no modules.
const UEFI_ARM64: &[&str] = &["linux-image-arm64", "grub-efi-arm64-signed"];
const UEFI_AMD64: &[&str] = &["linux-image-amd64", "grub-efi-amd64-signed", "grub-pc-bin"];

/// Name of the private key beside the image of a disk with a network, which lets root in by ssh.
pub const SSH_KEY: &str = "ssh-key";

/// All that decides what the image holds.
impl Hash for Recipe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (SUITE, self.size, self.firstboot(), self.packages.concat()).hash(state);
    }
}

impl Recipe {
    pub fn build(&self, artefact: &Artefact, dir: &Path, emulator: &Path) -> Result<()> {
        host::ensure(host::ROOTFS)?;
        if self.has_network() {
            host::ensure(host::NETWORKED_DISK)?;
        }
        let work = dir.with_extension("new");
        fs::create_dir_all(&work)?;
        let image = work.join("disk.img");
        let unpacked = work.join("first-stage.img");
        if !unpacked.exists() {
            self.first_stage(&work, &unpacked)?;
        }
        step("fetch: copy the unpacked image", || {
            output(Command::new("cp").arg("--sparse=always").arg(&unpacked).arg(&image))
        })?;
        self.second_stage(&image, &work, emulator)?;
        self.check(&image).context("the finished image is not a clean file system")?;
        fs::remove_file(&unpacked)?;
        super::stamp(&work, artefact, &format!("debootstrap {SUITE}"))?;
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::rename(&work, dir)?;
        Ok(())
    }

    /// Replays the journal if need be; status 1 says that it was. Anything worse is an error. What no file has any more, such as the
    /// installed packages, then takes no room on the host.
    fn check(&self, image: &Path) -> Result<()> {
        // After the journal e2fsck forgets an offset: it gets the partition in a file of its own.
        let script = r#"
set -e
[ "$OFFSET" -gt 0 ] || { e2fsck -fp -E discard "$IMAGE" || [ $? -eq 1 ]; exit; }
dd if="$IMAGE" of="$IMAGE.part" bs="$OFFSET" skip=1 conv=sparse status=none
e2fsck -fp -E discard "$IMAGE.part" || [ $? -eq 1 ]
dd if="$IMAGE.part" of="$IMAGE" bs="$OFFSET" seek=1 conv=notrunc status=none
rm "$IMAGE.part"
fallocate --dig-holes "$IMAGE" || true
"#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PATH", admin_path());
        output(command.env("IMAGE", image).env("OFFSET", self.layout.offset().to_string())).map(drop)
    }

    /// Whether it has a network, and lets root in by ssh.
    fn has_network(&self) -> bool {
        matches!(self.layout, Layout::Gpt { .. })
    }

    /// What the first boot does.
    fn firstboot(&self) -> String {
        let bootable = match self.layout {
            Layout::Bare => "",
            Layout::Mbr => include_str!("bootable.sh"),
            Layout::Gpt { .. } => include_str!("gpt.sh"),
        };
        let System { efi: (target, name), console, .. } = *self.system;
        let script = include_str!("firstboot.sh").replace("@BOOTABLE@\n", bootable).replace("@CONSOLE@", console);
        script.replace("@EFI_TARGET@", target).replace("@EFI@", name).replace("@EFI_FILE@", &name.to_lowercase())
    }

    /// Downloads and unpacks; leaves an image that configures itself when booted with `init=/mimic-firstboot`.
    fn first_stage(&self, work: &Path, image: &Path) -> Result<()> {
        let tree = work.join("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        let part = image.with_extension("part");
        let cache = places::guests().join("apt/debootstrap");
        fs::create_dir_all(&cache)?;
        let modules = places::guests().join(self.kernel).join("modules");
        let firstboot = work.join("mimic-firstboot");
        fs::write(&firstboot, self.firstboot())?;
        let key = work.join(SSH_KEY);
        for stale in [&part, &key, &key.with_extension("pub")] {
            if stale.exists() {
                fs::remove_file(stale)?;
            }
        }
        if self.has_network() {
            // Without a passphrase: who can read it can read the disk.
            let mut keygen = Command::new("ssh-keygen");
            output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "mimic tests", "-f"]).arg(&key))?;
        }
        // One shell for all steps, because file owners and device nodes live as long as one fakeroot.
        let script = r#"
set -e
debootstrap --foreign --arch="$ARCH" --variant=minbase --force-check-gpg --keyring="$KEYRING" --cache-dir="$CACHE" \
    --include="$PACKAGES" "$SUITE" "$TREE" "$MIRROR"
# In some containers debootstrap leaves a symbolic link to itself where /proc belongs.
[ ! -L "$TREE/proc" ] || { rm "$TREE/proc"; mkdir "$TREE/proc"; }
install -m 755 "$FIRSTBOOT" "$TREE/mimic-firstboot"
mkdir -p "$TREE/usr/lib/modules" && cp -r "$MODULES"/. "$TREE/usr/lib/modules/"
[ ! -e "$KEY" ] || install -D -m 600 "$KEY" "$TREE/root/.ssh/authorized_keys"
mke2fs -q -t ext4 -L mimic -d "$TREE" -E root_owner=0:0,offset="$OFFSET" "$IMAGE" "$SIZE"
"#;
        let mut command = if host::is_root() {
            Command::new("sh")
        } else if exists("fakeroot") {
            let mut command = Command::new("fakeroot");
            command.arg("sh");
            command
        } else {
            bail!("building a root file system as an ordinary user needs the package fakeroot");
        };
        step("fetch: download and unpack Debian packages (some minutes)", || {
            output(
                command
                    .args(["-c", script])
                    .env("PATH", admin_path())
                    .env("LC_ALL", "C")
                    .env("ARCH", self.system.arch)
                    .env("KEYRING", KEYRING)
                    .env("CACHE", &cache)
                    .env("PACKAGES", self.packages.concat().join(","))
                    .env("SUITE", SUITE)
                    .env("TREE", &tree)
                    .env("MIRROR", mirror())
                    .env("FIRSTBOOT", &firstboot)
                    .env("MODULES", &modules)
                    .env("KEY", key.with_extension("pub"))
                    .env("IMAGE", &part)
                    .env("OFFSET", self.layout.offset().to_string())
                    .env("SIZE", self.size),
            )
            .context("debootstrap (no network, or a signature that does not verify?)")
        })?;
        self.layout.write_table(&part)?;
        fs::rename(&part, image)?;
        fs::remove_dir_all(&tree)?;
        Ok(())
    }

    /// Boots the image once; its first process installs everything and powers off.
    fn second_stage(&self, image: &Path, work: &Path, emulator: &Path) -> Result<()> {
        let kernel = super::kernel(self.kernel);
        let System { machine, plain_cpu, console, .. } = self.system;
        let root = self.layout.root();
        let mut emulator = Emulator::new(self.system, emulator);
        emulator
            .args(["-M", machine, "-cpu", plain_cpu, "-m", "2048", "-nographic", "-no-reboot"])
            .kernel(&kernel.image, &kernel.initrd_modules)
            .append(&format!("console={console} root={root} init=/mimic-firstboot loglevel=4"))
            .disk(image)
            .timeout(Duration::from_secs(3 * 3600))
            .log(&work.join("firstboot.log"));
        let name = emulator.name();
        let run = step(&format!("fetch: configure packages inside {name} (10 to 60 minutes)"), || emulator.run())?;
        if run.stop != Stop::Exited(0) || !run.serial.contains("mimic-firstboot: done") {
            let log = work.join("firstboot.log");
            bail!("first boot did not finish ({}); its console is in {}", run.stop, log.display());
        }
        Ok(())
    }
}

/// PATH with the administrator's directories, where an ordinary user's may lack them.
pub fn admin_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_its_script() {
        for recipe in [&ARM64, &AMD64, &DISK_AMD64, &DISK_ARM64_UEFI, &DISK_AMD64_UEFI] {
            let script = recipe.firstboot();
            let console = format!("systemctl enable serial-getty@{}.service", recipe.system.console);
            assert!(
                script.contains(&console)
                    && !["@CONSOLE", "@BOOTABLE", "@EFI"].iter().any(|place| script.contains(place)),
                "{script}"
            );
            assert_eq!(script.contains("update-grub"), recipe.layout.is_bootable());
            assert_eq!(script.contains("systemd-networkd.service"), recipe.has_network());
        }
    }
}
