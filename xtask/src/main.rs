//! The project's task runner: `cargo xtask TASK`.
//!
//! Start reading at [`Task`]; each task is one module. It knows nothing of the emulator's inside: it builds it, runs it
//! like a user would and looks at the console.

#![forbid(unsafe_code)]

mod bench;
mod boot;
mod cargo;
mod command;
mod demo;
mod emulator;
mod fetch;
mod http;
mod noise;
mod places;
mod ports;
mod system;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use regex::Regex;

/// Tasks of the Mimic project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch, build and boot a Debian kernel with an interactive shell in this terminal
    Demo {
        /// Boot on this emulator instead of building Mimic
        #[arg(long)]
        emulator: Option<PathBuf>,
    },
    /// Run all tests: cargo's, then guests that boot
    Test {
        /// Leave out what takes long
        #[arg(long)]
        quick: bool,
        /// Only the guests that boot
        #[arg(long)]
        boot_only: bool,
        /// Only boot tests whose name matches this pattern, and no other tests
        #[arg(long, value_name = "REGEX")]
        only: Option<Regex>,
        /// Boot on this emulator instead of building Mimic; `qemu` is each system's QEMU
        #[arg(long)]
        emulator: Option<PathBuf>,
        /// Machines that run at once
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Get guest kernels and file systems from Debian's archive into target/guests (or $MIMIC_GUESTS)
    Fetch {
        /// What to fetch, such as debian-12, debian-12-amd64, rootfs-arm64, disk-amd64; `disks` are all disks. Default: all but root
        /// file systems and disks
        names: Vec<String>,
        /// Everything, with root file systems and disks
        #[arg(long)]
        all: bool,
        /// Emulator that configures root file systems and disks; `qemu` is each system's QEMU
        #[arg(long, default_value = system::QEMU)]
        emulator: PathBuf,
    },
    /// Check the rules of the house: imports, unsafe code, texts, formatting, clippy
    Tidy,
    /// Run the tests and rewrite the golden files they compare with
    Bless {
        /// Arguments of `cargo test`; the default is the whole workspace
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure Mimic against QEMU
    Bench {
        /// What to measure: rows or groups of rows, or `smp`, two processors against one. Default: all but `smp`
        names: Vec<String>,
        /// The guest's system: aarch64 or x86_64
        #[arg(long, alias = "arch", default_value = "aarch64", value_parser = system::find)]
        system: &'static system::System,
        /// The system's machine, as the emulators' -M takes it; `microvm,acpi=off` has no disk
        #[arg(long)]
        machine: Option<String>,
        /// Runs on each emulator
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// The guest's processor
        #[arg(long, default_value = "max")]
        cpu: String,
        /// Everything on one core of the host
        #[arg(long)]
        pin: bool,
        /// Multiply the amount of work by this
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// Measure this emulator instead of building Mimic
        #[arg(long)]
        emulator: Option<PathBuf>,
        /// One more argument for that emulator only, such as --with=-accel --with=tcg,tier=1
        #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
        with: Vec<String>,
        /// Compare with this one; `qemu` is the system's QEMU
        #[arg(long, default_value = system::QEMU)]
        peer: PathBuf,
        /// Compare with Mimic at this commit instead
        #[arg(long, value_name = "COMMIT", conflicts_with = "peer")]
        against: Option<String>,
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
        Task::Demo { emulator } => demo::run(emulator),
        Task::Test { quick, boot_only, only, emulator, jobs } => {
            test::run(test::Options { quick, boot_only, emulator, only, jobs })
        }
        Task::Tidy => tidy::run(),
        Task::Bless { arguments } => test::bless(&arguments),
        Task::Bench { names, system, machine, runs, cpu, pin, scale, emulator, with, peer, against } => {
            let (name, program) = match emulator {
                Some(emulator) => ("mimic".to_owned(), emulator),
                None => (bench::against::here(), cargo::build_mimic()?),
            };
            // Only a comparison with another commit needs the name of this one.
            let name = if against.is_some() { name } else { "mimic".to_owned() };
            let first = bench::Side { name, program, arguments: with, is_qemu: false };
            let second = match against {
                Some(commit) => {
                    let bench::against::Build { commit, program } = bench::against::build(&commit)?;
                    bench::Side { name: commit, program, arguments: Vec::new(), is_qemu: false }
                }
                None => bench::Side { name: "qemu".to_owned(), program: peer, arguments: Vec::new(), is_qemu: true },
            };
            let sides = [first, second];
            let machine = machine.unwrap_or_else(|| system.machine.to_owned());
            bench::run(&bench::Options { system, machine, names, runs, sides, cpu, pin, scale })
        }
        Task::Fetch { names, all, emulator } => {
            let names: Vec<&str> = match (all, names.is_empty()) {
                (true, _) => fetch::names(),
                (false, true) => fetch::small(),
                (false, false) => names.iter().flat_map(|name| fetch::expand(name)).collect(),
            };
            names.iter().try_for_each(|name| fetch::fetch(name, &emulator))
        }
    }
}
