//! `cargo xtask test`: all tests, as CI runs them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use regex::Regex;
use serde_json::Value;

use crate::cargo::{self, Tally, cargo};
use crate::command::{exists, output, show};
use crate::fetch::host;
use crate::system::{AARCH64, X86_64};
use crate::{boot, places};

/// What to run.
pub struct Options {
    pub quick: bool,
    pub boot_only: bool,
    /// Boot tests run on this instead of on a fresh build of Mimic.
    pub emulator: Option<PathBuf>,
    pub only: Option<Regex>,
    pub jobs: Option<usize>,
}

pub fn run(options: Options) -> Result<()> {
    let mut tally = Tally::default();
    if !options.boot_only && options.only.is_none() {
        tally += cargo::test(&["--workspace"], &[])?;
        if !options.quick {
            for (package, target) in slow_targets(&cargo::metadata()?) {
                tally += cargo::test(&["--release", "--package", &package, "--test", &target], &[])?;
            }
        }
    }
    let emulator = match options.emulator {
        Some(emulator) => emulator,
        None => cargo::build_mimic()?,
    };
    if host::is_root() && exists("apt-get") {
        // The oracles of the comparison of warnings; without one that test says that it was skipped.
        for system in [&AARCH64, &X86_64] {
            host::ensure_qemu(system).unwrap_or_else(|error| println!("no oracle: {error:#}"));
        }
        host::ensure(host::SEABIOS).unwrap_or_else(|error| println!("no BIOS for PCs: {error:#}"));
        host::ensure(host::PFLASH).unwrap_or_else(|error| println!("no UEFI for PCs: {error:#}"));
        host::ensure(host::AAVMF).unwrap_or_else(|error| println!("no UEFI for ARM: {error:#}"));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.unwrap_or(cores.min(4));
    tally += boot::run(&boot::Options { emulator, quick: options.quick, only: options.only, jobs }).unwrap_or_else(
        |error| {
            println!("boot tests FAILED to start: {error:#}");
            Tally { passed: 0, failed: 1 }
        },
    );
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 {
        bail!("{} tests failed", tally.failed);
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Integration tests that are too slow unoptimised: those that `cargo test` leaves out (`test = false` in Cargo.toml).
fn slow_targets(metadata: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            let is_test = list(&target["kind"]).iter().any(|kind| kind == "test");
            if let (true, Some(false), Some(package), Some(name)) =
                (is_test, target["test"].as_bool(), package["name"].as_str(), target["name"].as_str())
            {
                found.push((package.to_owned(), name.to_owned()));
            }
        }
    }
    found
}

/// Runs the tests again with golden files rewritten, and shows which changed.
pub fn bless(arguments: &[String]) -> Result<()> {
    let default = ["--workspace".to_owned()];
    let arguments: Vec<&str> =
        if arguments.is_empty() { &default[..] } else { arguments }.iter().map(String::as_str).collect();
    let tally = cargo::test(&arguments, &[("MIMIC_BLESS", "1")])?;
    println!("Changed files; review them before committing:");
    show(Command::new("git").current_dir(places::repository()).args(["status", "--short"]))?;
    if tally.failed > 0 {
        bail!("{} tests failed even so", tally.failed);
    }
    // A golden test that does not write what it compares would fail now.
    output(cargo().args(["test", "--quiet"]).args(&arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slow_targets_are_tests_left_out_of_cargo_test() {
        let target = |name: &str, kind: &str, test: bool| json!({"name": name, "kind": [kind], "test": test});
        let metadata = json!({"packages": [{"name": "arm", "targets": [
            target("arm", "lib", true), target("quick", "test", true), target("differential", "test", false),
            target("tool", "bin", false),
        ]}]});
        assert_eq!(slow_targets(&metadata), [("arm".to_owned(), "differential".to_owned())]);
        assert!(slow_targets(&json!({})).is_empty());
    }
}
