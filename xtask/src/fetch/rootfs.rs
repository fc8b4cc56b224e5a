//! A Debian arm64 root file system on a raw ext4 image.
//!
//! debootstrap downloads and verifies the packages and unpacks the essential ones; `mke2fs -d` turns the tree into an
//! image without mounting anything; the packages' scripts run on first boot inside the emulator (firstboot.sh).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::archive::mirror;
use super::host::{self, KEYRING};
use crate::command::{exists, output, step};
use crate::emulator::{Emulator, Stop};
use crate::places;

const SUITE: &str = "bookworm";
const SIZE: &str = "2560M";
/// On top of the essential packages.
#[rustfmt::skip]
const PACKAGES: &[&str] = &[
    // A machine one can log in to.
    "systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "procps", "iproute2", "iputils-ping", "less", "file",
    // The programs whose results are compared between emulators.
    "apt", "ca-certificates", "python3", "libpython3.11-testsuite", "gcc", "libc6-dev", "make", "openssl", "stress-ng",
    "sqlite3", "xz-utils", "7zip", "bzip2", "zstd", "bc",
];

/// All that decides what the image holds.
pub const RECIPE: (&str, &str, &str, &[&str]) = (SUITE, SIZE, FIRSTBOOT, PACKAGES);
const FIRSTBOOT: &str = include_str!("firstboot.sh");

pub fn build(dir: &Path, emulator: &Path) -> Result<()> {
    host::ensure(host::ROOTFS)?;
    let work = dir.with_extension("new");
    fs::create_dir_all(&work)?;
    let image = work.join("disk.img");
    let unpacked = work.join("first-stage.img");
    if !unpacked.exists() {
        first_stage(&work, &unpacked)?;
    }
    step("fetch: copy the unpacked image", || {
        output(Command::new("cp").arg("--sparse=always").arg(&unpacked).arg(&image))
    })?;
    second_stage(&image, &work, emulator)?;
    // Replays the journal if need be; status 1 says that it was. Anything worse is an error.
    let check = r#"e2fsck -fp "$1" || [ $? -eq 1 ]"#;
    output(Command::new("sh").env("PATH", admin_path()).args(["-c", check, "sh"]).arg(&image))
        .context("the finished image is not a clean file system")?;
    fs::remove_file(&unpacked)?;
    super::stamp(&work, dir, &format!("debootstrap {SUITE}"))?;
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::rename(&work, dir)?;
    Ok(())
}

/// Downloads and unpacks; leaves an image that configures itself when booted with `init=/mimic-firstboot`.
fn first_stage(work: &Path, image: &Path) -> Result<()> {
    let tree = work.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let part = image.with_extension("part");
    let cache = places::guests().join("apt/debootstrap");
    fs::create_dir_all(&cache)?;
    let modules = places::guests().join("debian-12/modules");
    let firstboot = work.join("mimic-firstboot");
    fs::write(&firstboot, FIRSTBOOT)?;
    // One shell for all steps, because file owners and device nodes live as long as one fakeroot.
    let script = r#"
set -e
debootstrap --foreign --arch=arm64 --variant=minbase --force-check-gpg --keyring="$KEYRING" --cache-dir="$CACHE" \
    --include="$PACKAGES" "$SUITE" "$TREE" "$MIRROR"
# In some containers debootstrap leaves a symbolic link to itself where /proc belongs.
[ ! -L "$TREE/proc" ] || { rm "$TREE/proc"; mkdir "$TREE/proc"; }
install -m 755 "$FIRSTBOOT" "$TREE/mimic-firstboot"
mkdir -p "$TREE/usr/lib/modules" && cp -r "$MODULES"/. "$TREE/usr/lib/modules/"
mke2fs -q -t ext4 -L mimic -d "$TREE" -E root_owner=0:0 "$IMAGE" "$SIZE"
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
                .env("KEYRING", KEYRING)
                .env("CACHE", &cache)
                .env("PACKAGES", PACKAGES.join(","))
                .env("SUITE", SUITE)
                .env("TREE", &tree)
                .env("MIRROR", mirror())
                .env("FIRSTBOOT", &firstboot)
                .env("MODULES", &modules)
                .env("IMAGE", &part)
                .env("SIZE", SIZE),
        )
        .context("debootstrap (no network, or a signature that does not verify?)")
    })?;
    fs::rename(&part, image)?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// Boots the image once; its first process installs everything and powers off.
fn second_stage(image: &Path, work: &Path, emulator: &Path) -> Result<()> {
    let kernel = super::kernel("debian-12");
    let mut machine = Emulator::new(emulator);
    machine
        .args(["-M", "virt", "-cpu", "cortex-a57", "-m", "2048", "-nographic", "-no-reboot"])
        .kernel(&kernel.image, &kernel.initrd_modules)
        .append("console=ttyAMA0 root=/dev/vda init=/mimic-firstboot loglevel=4")
        .disk(image)
        .timeout(Duration::from_secs(3 * 3600))
        .log(&work.join("firstboot.log"));
    let name = machine.name();
    let run = step(&format!("fetch: configure packages inside {name} (10 to 60 minutes)"), || machine.run())?;
    if run.stop != Stop::Exited(0) || !run.serial.contains("mimic-firstboot: done") {
        bail!("first boot did not finish ({}); its console is in {}", run.stop, work.join("firstboot.log").display());
    }
    Ok(())
}

/// PATH with the administrator's directories, where an ordinary user's may lack them.
fn admin_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
