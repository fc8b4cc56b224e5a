//! The project's task runner: `cargo xtask TASK`.
//!
//! Start reading at [`Task`]; each task is one module. It knows nothing of the emulator's inside: it builds it, runs it
//! like a user would and looks at the console.

#![forbid(unsafe_code)]

mod command;
mod emulator;
mod fetch;
mod places;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks of the Mimic project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Get guest kernels and file systems from Debian's archive into target/guests (or $MIMIC_GUESTS)
    Fetch {
        /// What to fetch: busybox, debian-12, debian-13, rootfs-arm64. Default: all but the root file system
        names: Vec<String>,
        /// Everything, with the root file system
        #[arg(long)]
        all: bool,
        /// Emulator that configures the root file system
        #[arg(long, default_value = "qemu-system-aarch64")]
        emulator: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Fetch { names, all, emulator } => {
            let names: Vec<&str> = match (all, names.is_empty()) {
                (true, _) => fetch::NAMES.to_vec(),
                (false, true) => fetch::SMALL.to_vec(),
                (false, false) => names.iter().map(String::as_str).collect(),
            };
            names.iter().try_for_each(|name| fetch::fetch(name, &emulator))
        }
    }
}
