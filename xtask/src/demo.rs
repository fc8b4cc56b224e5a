//! `cargo xtask demo`: from a checkout to a shell prompt of an ARM machine.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::system::{AARCH64, QEMU};
use crate::{cargo, fetch, places};

const HINT: &str = "Starting. To leave: Ctrl-A x (Ctrl-A h lists the other keys).";

/// `emulator`: run this one instead of building Mimic. Does not return when all goes well.
pub fn run(emulator: Option<PathBuf>) -> Result<()> {
    let guest = guest();
    let program = match &emulator {
        Some(program) => program.clone(),
        None => cargo::build_mimic()?,
    };
    let mut command = AARCH64.command(&program);
    command.args(["-M", "virt", "-cpu", "max", "-m", "512", "-nographic", "-kernel"]);
    match guest {
        Ok(kernel) => {
            command.arg(kernel.image).arg("-initrd").arg(kernel.initrd).args(["-append", "console=ttyAMA0"]);
        }
        Err(error) => {
            let demo = places::demo_guest();
            println!("Debian's kernel is not available: {error:#}");
            println!("Booting the embedded demo guest, a bare-metal program, instead.");
            if !demo.exists() {
                bail!("no embedded demo guest at {}", demo.display());
            }
            command.arg(demo);
        }
    }
    println!("{HINT}");
    // Replaces this process, so that the terminal and its signals belong to the emulator alone.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

fn guest() -> Result<fetch::Kernel> {
    fetch::fetch("debian-12", QEMU.as_ref())?;
    Ok(fetch::kernel("debian-12"))
}
