//! Torture of machines with four processors: `tests/smp/run.sh` in a Debian root file system, then a reboot and a power-off.
//!
//! `cargo xtask test --boot-only --only smp-torture` takes minutes; a pattern that says `slow` as well (`'slow smp-torture'`)
//! lets all machines together run for half an hour.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use regex::Regex;

use super::cases::NEVER;
use super::workloads::{PATIENCE, PROMPT, disk, kernel};
use crate::cargo::Tally;
use crate::emulator::{Emulator, Stop};
use crate::fetch;
use crate::system::{AARCH64, System, X86_64};

/// Name, processors, how Mimic runs them, and parts of the time.
const MACHINES: &[(&str, &System, Option<&str>, u64)] = &[
    ("arm64", &AARCH64, None, 5),
    ("amd64", &X86_64, None, 5),
    ("arm64 stress", &AARCH64, Some("tcg,stress=11"), 1),
    ("amd64 stress", &X86_64, Some("tcg,stress=12"), 1),
    ("arm64 thread=single", &AARCH64, Some("tcg,thread=single"), 1),
    ("amd64 thread=single", &X86_64, Some("tcg,thread=single"), 1),
];
/// Guest seconds of one part, usually and slowly.
const PART_S: (u64, u64) = (10, 150);
/// What comes on top: two boots, the compiler, what takes as long as it takes, with everything ten times slower under stress.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Whether a pattern asks for a machine, and if so for the long run.
fn asked(only: Option<&Regex>, name: &str) -> Option<bool> {
    let only = only.filter(|only| only.as_str().contains("smp-torture"))?;
    let slow = only.as_str().contains("slow");
    let matches = only.is_match(&format!("smp-torture {name}")) || only.is_match(&format!("slow smp-torture {name}"));
    matches.then_some(slow)
}

/// Runs the machines whose name, such as `smp-torture arm64`, the pattern matches, if it says `smp-torture`.
pub fn run(only: Option<&Regex>, emulator: &Path, work: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    for &(name, system, accel, parts) in MACHINES {
        let Some(slow) = asked(only, name) else { continue };
        let name = format!("smp-torture {name}");
        if !system.runs_on(emulator) {
            println!("boot {name:<44} skipped: {} is of another system", emulator.display());
            continue;
        }
        if !fetch::is_there(&system.rootfs()) {
            println!("boot {name:<44} skipped: `cargo xtask fetch {}` makes its disk", system.rootfs());
            continue;
        }
        fetch::fetch(&kernel(system), emulator)?;
        let seconds = parts * if slow { PART_S.1 } else { PART_S.0 };
        let start = Instant::now();
        match torture(&name, system, accel, seconds, emulator, work) {
            Ok(tests) => {
                tally.passed += 1;
                println!("boot {name:<44} ok {:6.1} s, {tests} tests", start.elapsed().as_secs_f64());
            }
            Err(error) => {
                tally.failed += 1;
                println!("boot {name:<44} FAILED\n{error:#}");
            }
        }
    }
    Ok(tally)
}

/// One machine; gives the number of tests that it has passed.
fn torture(
    name: &str,
    system: &'static System,
    accel: Option<&str>,
    seconds: u64,
    emulator: &Path,
    work: &Path,
) -> Result<usize> {
    let kernel = fetch::kernel(&kernel(system));
    let mut machine = Emulator::new(system, emulator);
    let file = work.join(name.replace([' ', '='], "_"));
    let disk = disk(system, "smp", &file.with_extension("img"))?;
    let log = file.with_extension("log");
    machine
        .args(["-M", system.machine, "-cpu", "max", "-m", "1024", "-smp", "4", "-nographic"])
        .args(["-device", &format!("virtio-rng-{}", system.transport)])
        .args(accel.map(|accel| ["-accel", accel]).into_iter().flatten())
        .kernel(&kernel.image, &kernel.initrd_modules)
        .append(&format!("console={} root=/dev/vda {PATIENCE}", system.console))
        .disk(&disk)
        .step(Regex::new(PROMPT)?, &format!("sh smp/run.sh {seconds}\r"))
        .step(Regex::new(r"smp: finished[\s\S]*root@debian:~# ")?, "reboot\r")
        .step(Regex::new(r"Linux version[\s\S]*root@debian:~# ")?, "echo $(nproc) after reboot; poweroff\r")
        .timeout(TIMEOUT)
        .log(&log);
    let run = machine.run();
    fs::remove_file(&disk).ok();
    let run = run?;
    match complaint(run.stop, &run.serial)? {
        Some(complaint) => bail!("  {complaint}; console in {}", log.display()),
        None => Ok(run.serial.lines().filter(|line| line.starts_with("smp ok")).count()),
    }
}

/// What is wrong with a run, if anything.
fn complaint(stop: Stop, serial: &str) -> Result<Option<String>> {
    for pattern in NEVER.iter().copied().chain([r"smp FAIL[^\n]*", r"FAIL [^\n]*"]) {
        if let Some(found) = Regex::new(pattern)?.find(serial) {
            return Ok(Some(format!("the console shows `{}`", found.as_str().trim_end())));
        }
    }
    for pattern in ["smp: finished, 0 failures", "4 after reboot", "reboot: Power down"] {
        if !serial.contains(pattern) {
            return Ok(Some(format!("the console never shows `{pattern}`")));
        }
    }
    Ok((stop != Stop::Exited(0)).then(|| format!("expected: {}; got: {stop}", Stop::Exited(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pattern_that_names_it_runs_it() {
        let pattern = |text: &str| Regex::new(text).unwrap();
        assert_eq!(asked(None, "arm64"), None);
        assert_eq!(asked(Some(&pattern("arm64")), "arm64"), None);
        assert_eq!(asked(Some(&pattern("smp-torture")), "arm64"), Some(false));
        assert_eq!(asked(Some(&pattern("slow smp-torture amd64")), "amd64"), Some(true));
        assert_eq!(asked(Some(&pattern("smp-torture amd64")), "arm64"), None);
    }

    #[test]
    fn every_failure_counts() {
        const GOOD: &str = "smp ok atomics\nsmp: finished, 0 failures\n4 after reboot\nreboot: Power down\n";
        let check = |stop, text: &str| complaint(stop, text).unwrap();
        assert_eq!(check(Stop::Exited(0), GOOD), None);
        assert!(check(Stop::TimedOut, GOOD).is_some());
        assert!(check(Stop::Exited(0), &GOOD.replace("0 failures", "1 failures")).is_some());
        assert!(check(Stop::Exited(0), &GOOD.replace("4 after", "3 after")).is_some());
        assert!(check(Stop::Exited(0), &GOOD.replace("smp ok", "smp FAIL")).unwrap().contains("FAIL atomics"));
    }
}
