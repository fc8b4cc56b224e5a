//! Kernel modules that a guest needs before it has a root file system, in loading order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;

/// What a Debian kernel needs for virtio disks, consoles, entropy, networks, the power key and an ext4 root file
/// system. Some kernels have part of it built in or under another name: absent ones are left out.
pub const WANTED: &[&str] = &[
    "virtio_mmio",
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "virtio_rng",
    "virtio_net",
    "crc32c_generic",
    "ext4",
    "gpio_keys",
    "evdev",
];

/// What it needs besides for NVMe, SCSI and CDs, shared folders and the memory balloon.
pub const DEVICES: &[&str] =
    &["nvme", "virtio_scsi", "sd_mod", "sr_mod", "isofs", "9pnet_virtio", "9p", "virtio_balloon"];

/// A module, uncompressed.
pub struct Module {
    /// Name with underscores, as in `depends=`.
    pub name: String,
    /// Path below `lib/modules/VERSION`, without a compression suffix.
    pub path: String,
    pub content: Vec<u8>,
}

/// The modules `wanted` found below `dir` (`lib/modules/VERSION`) and all they depend on, dependencies first.
pub fn closure(dir: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(&dir.join("kernel"), &mut files)?;
    let mut loaded = Vec::new();
    for name in wanted {
        add(name, dir, &mut files, &mut loaded)?;
    }
    Ok(loaded)
}

fn index(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some((stem, _)) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.split_once(".ko")) {
            files.insert(stem.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn add(name: &str, dir: &Path, files: &mut BTreeMap<String, PathBuf>, loaded: &mut Vec<Module>) -> Result<()> {
    // Taken out of the index when visited: each module once, and a cycle ends.
    let Some(file) = files.remove(name) else { return Ok(()) };
    let content = read(&file)?;
    for dependency in dependencies(&content) {
        add(&dependency, dir, files, loaded)?;
    }
    let path = file.strip_prefix(dir).unwrap_or(&file).to_string_lossy().trim_end_matches(".xz").to_owned();
    loaded.push(Module { name: name.to_owned(), path, content });
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        let plain = std::env::temp_dir().join(format!("mimic-module-{}.ko", std::process::id()));
        let script = r#"xz -dc "$1" > "$2""#;
        output(Command::new("sh").args(["-c", script, "sh"]).arg(file).arg(&plain))?;
        let content = fs::read(&plain)?;
        fs::remove_file(&plain)?;
        return Ok(content);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Value of `depends=` in the module's information section: NUL-terminated `key=value` strings.
fn dependencies(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = content.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = content[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(value).replace('-', "_");
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_information_section() {
        let check = |content: &[u8], expect: &[&str]| assert_eq!(dependencies(content), expect);
        check(b"\x7fELF\0license=GPL\0depends=jbd2,mbcache,crc-16\0name=ext4\0", &["jbd2", "mbcache", "crc_16"]);
        check(b"x\0depends=\0y", &[]);
        check(b"nothing", &[]);
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = std::env::temp_dir().join(format!("mimic-modules-test-{}", std::process::id()));
        let kernel = dir.join("kernel/fs");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(kernel.join("ext4.ko"), b"\0depends=jbd2,mbcache\0").unwrap();
        fs::write(kernel.join("jbd2.ko"), b"\0depends=ext4\0").unwrap();
        fs::write(kernel.join("mbcache.ko"), b"\0depends=\0").unwrap();
        fs::write(kernel.join("virtio-rng.ko"), b"\0depends=mbcache\0").unwrap();
        let names: Vec<String> = closure(&dir, WANTED).unwrap().into_iter().map(|module| module.path).collect();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(
            names,
            ["kernel/fs/mbcache.ko", "kernel/fs/virtio-rng.ko", "kernel/fs/jbd2.ko", "kernel/fs/ext4.ko"]
        );
    }
}
