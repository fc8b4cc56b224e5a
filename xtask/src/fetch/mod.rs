//! Guests from Debian's archive: kernels, busybox in an initial file system, root file systems, disks that boot by themselves.
//! Everything lands in [`places::guests`] under the names in [`ARTEFACTS`] and is made once; delete a directory to renew it.
//!
//! ```text
//! busybox/busybox  busybox/initrd.cpio          static busybox; boots to a shell, see init.sh
//! debian-12/vmlinuz  debian-12/initrd-modules.cpio   kernel; busybox and the modules for virtio and ext4
//! debian-13/...
//! busybox-amd64/...  debian-12-amd64/...  debian-13-amd64/...  busybox-i386/...  debian-12-i386/...   the same for PCs
//! rootfs-arm64/disk.img  rootfs-amd64/disk.img   Debian 12 with systemd, python, gcc; root logs in on the console
//! disk-amd64/disk.img                            Debian 12 on a partition, with its kernel and GRUB
//! disk-arm64-uefi/disk.img  disk-amd64-uefi/disk.img  ssh-key
//!                                                Debian 12 on a GPT, with a network; for UEFI, and on a PC for a BIOS too
//! netboot-amd64/linux  netboot-amd64/initrd.gz   Debian 12's installer
//! netboot-arm64/...                              the same for ARM
//! mirror/dists  mirror/pool                      a repository of two packages, for guests that install
//! memtest/memtest.bin  memtest/memtest.iso       memtest86+, as a kernel and as a CD
//! grub-rescue/cdrom.iso  grub-rescue/floppy.img  GRUB's shell
//! ```

mod archive;
pub mod cpio;
pub mod host;
pub mod mirror;
mod modules;
mod partitions;
mod rootfs;

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;
use crate::places;
use archive::Archive;
use cpio::Cpio;
pub use partitions::{GPT_ROOT as NETWORKED_OFFSET, ROOT as NETWORKED_ROOT};
pub use rootfs::SSH_KEY;

/// Something that can be fetched by name.
struct Artefact {
    name: &'static str,
    make: Make,
}

/// How it is made.
enum Make {
    /// Busybox of that architecture.
    Busybox(&'static str),
    /// The kernel that the metapackage `package` depends on.
    Kernel { suite: &'static str, arch: &'static str, package: &'static str },
    /// A root file system, or a whole disk. Takes long.
    Image(&'static rootfs::Recipe),
    /// Files of a package for amd64 or all as they are: where it has them, and their names here.
    Files { package: &'static str, files: &'static [(&'static str, &'static str)] },
    /// A package repository.
    Mirror,
}

const fn kernel_of(name: &'static str, suite: &'static str, arch: &'static str, package: &'static str) -> Artefact {
    Artefact { name, make: Make::Kernel { suite, arch, package } }
}

const ARTEFACTS: &[Artefact] = &[
    Artefact { name: "busybox", make: Make::Busybox("arm64") },
    kernel_of("debian-12", "bookworm", "arm64", "linux-image-arm64"),
    kernel_of("debian-13", "trixie", "arm64", "linux-image-arm64"),
    Artefact { name: "busybox-amd64", make: Make::Busybox("amd64") },
    kernel_of("debian-12-amd64", "bookworm", "amd64", "linux-image-amd64"),
    kernel_of("debian-13-amd64", "trixie", "amd64", "linux-image-amd64"),
    Artefact { name: "busybox-i386", make: Make::Busybox("i386") },
    kernel_of("debian-12-i386", "bookworm", "i386", "linux-image-686"),
    Artefact {
        name: "netboot-amd64",
        make: Make::Files {
            package: "debian-installer-12-netboot-amd64",
            files: &[
                ("usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux", "linux"),
                ("usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/initrd.gz", "initrd.gz"),
            ],
        },
    },
    Artefact {
        name: "netboot-arm64",
        make: Make::Files {
            package: "debian-installer-12-netboot-arm64",
            files: &[
                ("usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64/linux", "linux"),
                ("usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64/initrd.gz", "initrd.gz"),
            ],
        },
    },
    Artefact { name: "mirror", make: Make::Mirror },
    Artefact {
        name: "memtest",
        make: Make::Files {
            package: "memtest86+",
            files: &[
                ("boot/memtest86+x64.bin", "memtest.bin"),
                ("usr/lib/memtest86+/memtest86+x64.iso", "memtest.iso"),
            ],
        },
    },
    Artefact {
        name: "grub-rescue",
        make: Make::Files {
            package: "grub-rescue-pc",
            files: &[
                ("usr/lib/grub-rescue/grub-rescue-cdrom.iso", "cdrom.iso"),
                ("usr/lib/grub-rescue/grub-rescue-floppy.img", "floppy.img"),
            ],
        },
    },
    Artefact { name: "rootfs-arm64", make: Make::Image(&rootfs::ARM64) },
    Artefact { name: "rootfs-amd64", make: Make::Image(&rootfs::AMD64) },
    Artefact { name: "disk-amd64", make: Make::Image(&rootfs::DISK_AMD64) },
    Artefact { name: "disk-arm64-uefi", make: Make::Image(&rootfs::DISK_ARM64_UEFI) },
    Artefact { name: "disk-amd64-uefi", make: Make::Image(&rootfs::DISK_AMD64_UEFI) },
];

/// Stands for all disks that boot by themselves.
const DISKS: &str = "disks";

/// The artefacts that a word on the command line means.
pub fn expand(name: &str) -> Vec<&str> {
    match name {
        DISKS => names().into_iter().filter(|name| name.starts_with("disk-")).collect(),
        _ => vec![name],
    }
}

/// What can be fetched by name.
pub fn names() -> Vec<&'static str> {
    ARTEFACTS.iter().map(|artefact| artefact.name).collect()
}

/// What is fetched when no name is given: all but the images, which take long.
pub fn small() -> Vec<&'static str> {
    names().into_iter().filter(|name| !is_image(name)).collect()
}

fn artefact(name: &str) -> Result<&'static Artefact> {
    ARTEFACTS
        .iter()
        .find(|artefact| artefact.name == name)
        .with_context(|| format!("no guest is called `{name}`; there are: {}, and {DISKS}", names().join(", ")))
}

/// Whether it is an image, which takes long to make.
pub fn is_image(name: &str) -> bool {
    artefact(name).is_ok_and(|artefact| matches!(artefact.make, Make::Image(_)))
}

/// Whether an artefact is there, perhaps made by an older recipe.
pub fn is_there(name: &str) -> bool {
    places::guests().join(name).join("stamp").exists()
}

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
    /// The same, and modules for NVMe, SCSI, shared folders and the memory balloon.
    pub initrd_devices: PathBuf,
}

/// Where the parts of a kernel are, fetched or not.
pub fn kernel(name: &str) -> Kernel {
    let dir = places::guests().join(name);
    let arch = match artefact(name) {
        Ok(Artefact { make: Make::Kernel { arch, .. }, .. }) => arch,
        _ => "arm64",
    };
    Kernel {
        image: dir.join("vmlinuz"),
        initrd: places::guests().join(busybox_name(arch)).join("initrd.cpio"),
        initrd_modules: dir.join("initrd-modules.cpio"),
        initrd_devices: dir.join("initrd-devices.cpio"),
    }
}

/// Makes sure that `name` is there. `emulator` configures images.
pub fn fetch(name: &str, emulator: &Path) -> Result<()> {
    let artefact = artefact(name)?;
    let dir = places::guests().join(name);
    if fs::read_to_string(dir.join("stamp")).is_ok_and(|stamp| stamp.ends_with(&recipe(artefact))) {
        return Ok(());
    }
    host::ensure(host::UNPACK)?;
    match &artefact.make {
        Make::Busybox(arch) => busybox(arch, artefact, &dir),
        Make::Kernel { suite, arch, package } => {
            fetch(&busybox_name(arch), emulator)?;
            debian_kernel(&Archive::open(suite, arch, &apt_dir())?, package, arch, artefact, &dir)
        }
        Make::Image(image) => {
            fetch(image.kernel, emulator)?;
            image.build(artefact, &dir, emulator)
        }
        Make::Files { package, files } => package_files(package, files, artefact, &dir),
        Make::Mirror => complete(artefact, &dir, Path::new("a few packages"), |new| mirror::make(new, &apt_dir())),
    }
    .with_context(|| format!("cannot fetch {name}"))?;
    println!("fetch: {name} is in {}", dir.display());
    Ok(())
}

/// Some files of a package, nothing else of it.
fn package_files(package: &str, files: &[(&str, &str)], artefact: &Artefact, dir: &Path) -> Result<()> {
    let package = Archive::open("bookworm", "amd64", &apt_dir())?.package(package)?;
    complete(artefact, dir, &package, |new| {
        let tree = new.join("tree");
        output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
        for (from, to) in files {
            fs::rename(tree.join(from), new.join(to))
                .with_context(|| format!("{} has no {from}", package.display()))?;
        }
        fs::remove_dir_all(&tree).context("cannot remove the rest of the package")
    })
}

fn busybox(arch: &'static str, artefact: &Artefact, dir: &Path) -> Result<()> {
    let archive = Archive::open("bookworm", arch, &apt_dir())?;
    let package = archive.package("busybox-static")?;
    complete(artefact, dir, &package, |new| {
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

fn debian_kernel(archive: &Archive, metapackage: &str, arch: &str, artefact: &Artefact, dir: &Path) -> Result<()> {
    let package = archive.package(&archive.dependency(metapackage, "linux-image-")?)?;
    let busybox = fs::read(places::guests().join(busybox_name(arch)).join("busybox"))?;
    complete(artefact, dir, &package, |new| {
        let tree = new.join("tree");
        output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
        let image = only_entry(&tree.join("boot"), "vmlinuz-")?;
        fs::rename(image, new.join("vmlinuz"))?;
        let merged = tree.join("usr/lib/modules");
        let all = if merged.exists() { merged } else { tree.join("lib/modules") };
        let version_dir = only_entry(&all, "")?;
        let modules = modules::closure(&version_dir, modules::WANTED)?;
        fs::write(new.join("initrd-modules.cpio"), initrd(&busybox, &modules))?;
        let more = modules::closure(&version_dir, &[modules::WANTED, modules::DEVICES].concat())?;
        fs::write(new.join("initrd-devices.cpio"), initrd(&busybox, &more))?;
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
fn complete(artefact: &Artefact, dir: &Path, package: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = dir.with_extension("new");
    let old = dir.with_extension("old");
    for stale in [&new, &old] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    fs::create_dir_all(&new)?;
    make(&new)?;
    stamp(&new, artefact, &package.file_name().unwrap_or_default().to_string_lossy())?;
    if dir.exists() {
        fs::rename(dir, &old)?;
    }
    fs::rename(&new, dir)?;
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    Ok(())
}

/// Writes the stamp of an artefact into `new`: where it came from and the recipe that made it.
fn stamp(new: &Path, artefact: &Artefact, origin: &str) -> Result<()> {
    fs::write(new.join("stamp"), format!("{origin}\n{}", recipe(artefact))).context("cannot write the stamp")
}

/// Last line of a stamp: changes when our part of the artefact does, so that a fetch after an update renews it.
fn recipe(artefact: &Artefact) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    match &artefact.make {
        Make::Image(image) => image.hash(&mut hasher),
        Make::Files { files, .. } => files.hash(&mut hasher),
        Make::Mirror => (mirror::PACKAGES, mirror::ARCHITECTURES).hash(&mut hasher),
        Make::Busybox(_) | Make::Kernel { .. } => {
            (include_str!("init.sh"), modules::WANTED, modules::DEVICES).hash(&mut hasher)
        }
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
