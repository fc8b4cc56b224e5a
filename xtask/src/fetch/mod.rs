//! Guests from Debian's archive: kernels, busybox in an initial file system, a root file system.
//! Everything lands in [`places::guests`] under the names in [`NAMES`] and is made once; delete a directory to renew it.
//!
//! ```text
//! busybox/busybox  busybox/initrd.cpio          static busybox; boots to a shell, see init.sh
//! debian-12/vmlinuz  debian-12/initrd-modules.cpio   kernel; busybox and the modules for virtio and ext4
//! debian-13/...
//! busybox-amd64/...  debian-12-amd64/...  debian-13-amd64/...  busybox-i386/...  debian-12-i386/...   the same for PCs
//! rootfs-arm64/disk.img                          Debian 12 with systemd, python, gcc; root logs in on the console
//! ```

mod archive;
pub mod cpio;
pub mod host;
mod modules;
mod rootfs;

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::places;
use archive::Archive;
use cpio::Cpio;

/// What can be fetched by name.
pub const NAMES: &[&str] = &[
    "busybox",
    "debian-12",
    "debian-13",
    "busybox-amd64",
    "debian-12-amd64",
    "debian-13-amd64",
    "busybox-i386",
    "debian-12-i386",
    "rootfs-arm64",
];
/// What is fetched when no name is given: all but the root file system, which takes long.
pub const SMALL: &[&str] = &["busybox", "debian-12", "debian-13"];

/// A Debian kernel: name of its artefact, its suite, its architecture and the package that depends on it.
struct Release {
    name: &'static str,
    suite: &'static str,
    arch: &'static str,
    package: &'static str,
}

impl Release {
    const fn new(name: &'static str, suite: &'static str, arch: &'static str, package: &'static str) -> Release {
        Release { name, suite, arch, package }
    }
}

const RELEASES: &[Release] = &[
    Release::new("debian-12", "bookworm", "arm64", "linux-image-arm64"),
    Release::new("debian-13", "trixie", "arm64", "linux-image-arm64"),
    Release::new("debian-12-amd64", "bookworm", "amd64", "linux-image-amd64"),
    Release::new("debian-13-amd64", "trixie", "amd64", "linux-image-amd64"),
    Release::new("debian-12-i386", "bookworm", "i386", "linux-image-686"),
];

/// The directory of busybox for an architecture.
fn busybox_name(arch: &str) -> String {
    if arch == "arm64" { "busybox".into() } else { format!("busybox-{arch}") }
}

/// A fetched kernel and the initial file systems that go with it.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub image: PathBuf,
    /// Busybox alone.
    pub initrd: PathBuf,
    /// Busybox and the modules needed for a root file system on a virtio disk.
    pub initrd_modules: PathBuf,
}

/// Where the parts of a kernel are, fetched or not.
pub fn kernel(name: &str) -> Kernel {
    let dir = places::guests().join(name);
    let arch = RELEASES.iter().find(|release| release.name == name).map_or("arm64", |release| release.arch);
    Kernel {
        image: dir.join("vmlinuz"),
        initrd: places::guests().join(busybox_name(arch)).join("initrd.cpio"),
        initrd_modules: dir.join("initrd-modules.cpio"),
    }
}

/// Makes sure that `name` is there. `emulator` runs the second stage of a root file system.
pub fn fetch(name: &str, emulator: &Path) -> Result<()> {
    let dir = places::guests().join(name);
    if fs::read_to_string(dir.join("stamp")).is_ok_and(|stamp| stamp.ends_with(&recipe(name))) {
        return Ok(());
    }
    host::ensure(host::UNPACK)?;
    match name {
        "busybox" => busybox("arm64", &dir),
        "busybox-amd64" => busybox("amd64", &dir),
        "busybox-i386" => busybox("i386", &dir),
        "rootfs-arm64" => {
            fetch("debian-12", emulator)?;
            rootfs::build(&dir, emulator)
        }
        _ => match RELEASES.iter().find(|release| release.name == name) {
            Some(release) => {
                fetch(&busybox_name(release.arch), emulator)?;
                debian_kernel(release, &dir)
            }
            None => bail!("no guest is called `{name}`; there are: {}", NAMES.join(", ")),
        },
    }
    .with_context(|| format!("cannot fetch {name}"))?;
    println!("fetch: {name} is in {}", dir.display());
    Ok(())
}

fn busybox(arch: &'static str, dir: &Path) -> Result<()> {
    let archive = Archive::open("bookworm", arch, &apt_dir())?;
    let package = archive.package("busybox-static")?;
    complete(dir, &package, |new| {
        let tree = new.join("tree");
        output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
        let binary = [tree.join("bin/busybox"), tree.join("usr/bin/busybox")];
        let binary = binary.iter().find(|path| path.exists()).context("busybox-static has no busybox")?;
        let content = fs::read(binary)?;
        fs::write(new.join("busybox"), &content)?;
        fs::remove_dir_all(&tree)?;
        fs::write(new.join("initrd.cpio"), initrd(&content, &[]))?;
        Ok(())
    })
}

fn debian_kernel(release: &Release, dir: &Path) -> Result<()> {
    let archive = Archive::open(release.suite, release.arch, &apt_dir())?;
    let package = archive.package(&archive.dependency(release.package, "linux-image-")?)?;
    let busybox = fs::read(places::guests().join(busybox_name(release.arch)).join("busybox"))?;
    complete(dir, &package, |new| {
        let tree = new.join("tree");
        output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
        let image = only_entry(&tree.join("boot"), "vmlinuz-")?;
        fs::rename(image, new.join("vmlinuz"))?;
        let merged = tree.join("usr/lib/modules");
        let all = if merged.exists() { merged } else { tree.join("lib/modules") };
        let version_dir = only_entry(&all, "")?;
        let modules = modules::closure(&version_dir)?;
        fs::write(new.join("initrd-modules.cpio"), initrd(&busybox, &modules))?;
        // The same modules as files, for root file systems.
        let version = version_dir.file_name().context("no kernel version")?;
        let kept = new.join("modules").join(version);
        for module in &modules {
            let path = kept.join(&module.path);
            fs::create_dir_all(path.parent().context("module without directory")?)?;
            fs::write(path, &module.content)?;
        }
        for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
            fs::copy(version_dir.join(list), kept.join(list))
                .with_context(|| format!("kernel package lacks {list}"))?;
        }
        fs::remove_dir_all(&tree)?;
        Ok(())
    })
}

/// Initial file system: busybox, our first process and, if any, modules that it loads in the given order.
fn initrd(busybox: &[u8], modules: &[modules::Module]) -> Vec<u8> {
    let mut cpio = Cpio::default();
    for dir in ["bin", "dev", "lib", "lib/modules", "proc", "root", "sys", "tmp"] {
        cpio.directory(dir);
    }
    cpio.character_device("dev/console", 5, 1);
    cpio.file("bin/busybox", 0o755, busybox);
    cpio.symlink("bin/sh", "busybox");
    cpio.file("init", 0o755, include_bytes!("init.sh"));
    let mut list = String::new();
    for module in modules {
        cpio.file(&format!("lib/modules/{}.ko", module.name), 0o644, &module.content);
        list += &format!("{}.ko\n", module.name);
    }
    if !list.is_empty() {
        cpio.file("modules", 0o644, list.as_bytes());
    }
    cpio.finish()
}

/// Makes an artefact in a directory beside its place and moves it there when all of it is written, so that
/// an interrupted run leaves nothing half done. The stamp names the package it came from.
fn complete(dir: &Path, package: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = dir.with_extension("new");
    let old = dir.with_extension("old");
    for stale in [&new, &old] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    fs::create_dir_all(&new)?;
    make(&new)?;
    stamp(&new, dir, &package.file_name().unwrap_or_default().to_string_lossy())?;
    if dir.exists() {
        fs::rename(dir, &old)?;
    }
    fs::rename(&new, dir)?;
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    Ok(())
}

/// Writes the stamp of the artefact `dir` into `new`: where it came from and the recipe that made it.
fn stamp(new: &Path, dir: &Path, origin: &str) -> Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    fs::write(new.join("stamp"), format!("{origin}\n{}", recipe(&name))).context("cannot write the stamp")
}

/// Last line of a stamp: changes when our part of the artefact does, so that a fetch after an update renews it.
fn recipe(name: &str) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    match name {
        "rootfs-arm64" => rootfs::RECIPE.hash(&mut hasher),
        _ => (include_str!("init.sh"), modules::WANTED).hash(&mut hasher),
    }
    format!("recipe {:016x}\n", hasher.finish())
}

fn only_entry(dir: &Path, prefix: &str) -> Result<PathBuf> {
    fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .with_context(|| format!("no {prefix}* in {}", dir.display()))
}

fn apt_dir() -> PathBuf {
    places::guests().join("apt")
}
