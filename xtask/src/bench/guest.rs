//! What the machines run: the programs of `tests/bench`, built, and put where a guest finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::rows::{Place, Row};
use crate::command::{output, step};
use crate::fetch::cpio::Cpio;
use crate::fetch::host::{self, Need};
use crate::{fetch, places};

/// Building for the guest and for the host.
const COMPILERS: &[Need] = &[
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
    ("gcc", "gcc"),
    ("/usr/include/stdio.h", "libc6-dev"),
];
const FLAGS: &[&str] = &["-O2", "-static", "-Wall"];
/// Size of the disk for the row `disk`.
const DISK: usize = 64 << 20;

/// Everything that machines of one benchmark run need.
#[derive(Debug)]
pub struct Guest {
    /// Where logs, disks and results go.
    pub work: PathBuf,
    pub kernel: PathBuf,
    /// Busybox and the kernel's modules, before what [`Guest::initrd`] adds.
    initrd: Vec<u8>,
    program: Vec<u8>,
    /// The program, for the host.
    pub native: PathBuf,
    /// A raw disk with fixed content.
    pub disk: PathBuf,
}

impl Guest {
    /// Fetches and builds what is missing. `emulator` is the one that may configure fetched guests.
    pub fn prepare(emulator: &Path) -> Result<Guest> {
        let work = places::target().join("bench");
        fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        fetch::fetch("debian-12", emulator)?;
        host::ensure(COMPILERS)?;
        let program = work.join("bench");
        let native = work.join("native");
        step("bench: build the programs", || {
            build("aarch64-linux-gnu-gcc", &program)?;
            build("gcc", &native)
        })?;
        let disk = work.join("disk.img");
        fs::write(&disk, noise(DISK)).with_context(|| format!("cannot write {}", disk.display()))?;
        let files = fetch::kernel("debian-12");
        Ok(Guest {
            initrd: fs::read(&files.initrd_modules)?,
            program: fs::read(&program)?,
            kernel: files.image,
            native,
            disk,
            work,
        })
    }

    /// An initial file system that runs these rows.
    pub fn initrd(&self, rows: &[(&Row, u64)]) -> Result<PathBuf> {
        // Linux unpacks archives that follow each other; ours comes on top of busybox and the kernel's modules.
        let mut cpio = Cpio::default();
        cpio.directory("bench");
        cpio.file("bench/init", 0o755, include_bytes!("../../../tests/bench/init.sh"));
        cpio.file("bench/bench", 0o755, &self.program);
        cpio.file("bench/rows", 0o644, list(rows).as_bytes());
        let mut bytes = self.initrd.clone();
        bytes.extend(cpio.finish());
        let file = self.work.join("initrd.cpio");
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// `NAME SIZE` on each line.
fn list(rows: &[(&Row, u64)]) -> String {
    let small = rows.iter().filter(|(row, _)| row.place != Place::Boot);
    small.map(|(row, size)| format!("{} {size}\n", row.name)).collect()
}

fn build(compiler: &str, program: &Path) -> Result<()> {
    let sources = places::repository().join("tests/bench");
    let mut files: Vec<PathBuf> = fs::read_dir(&sources)
        .with_context(|| format!("cannot read {}", sources.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    output(Command::new(compiler).args(FLAGS).arg("-o").arg(program).args(files).arg("-lm"))
        .with_context(|| format!("the programs of {} do not build", sources.display()))?;
    Ok(())
}

/// Bytes that look random and are always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::rows::select;
    use super::*;

    #[test]
    fn the_boot_itself_is_in_no_list() {
        let rows = select(&["boot".to_owned(), "fft".to_owned(), "disk".to_owned()]).unwrap();
        let sized: Vec<(&Row, u64)> = rows.iter().map(|row| (*row, 3)).collect();
        assert_eq!(list(&sized), "fft 3\ndisk 3\n");
    }

    #[test]
    fn noise_is_always_the_same() {
        assert_eq!(noise(1000), noise(1000));
        let zeros = noise(1000).iter().filter(|byte| **byte == 0).count();
        assert!(zeros < 20, "{zeros} zeros in 1000 bytes");
    }
}
