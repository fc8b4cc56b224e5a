//! Boot tests: real guests in the built program, judged by what a user sees, the serial console and the exit status.
//! The same tests run against QEMU (`--emulator qemu-system-aarch64`), which shows that the expectation is right.

mod cases;
mod warnings;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::cargo::Tally;
use crate::command::{exists, output};
use crate::emulator::{Emulator, Stop};
use crate::{fetch, places};
use cases::{Case, Disk, Initrd};

/// Which tests run, and on what.
pub struct Options {
    pub emulator: PathBuf,
    /// Only the cases marked as quick.
    pub quick: bool,
    /// Only cases whose name matches.
    pub only: Option<Regex>,
    /// How many machines run at once.
    pub jobs: usize,
}

/// Runs all chosen tests, a line each.
pub fn run(options: &Options) -> Result<Tally> {
    let chosen = |name: &str| options.only.as_ref().is_none_or(|only| only.is_match(name));
    let cases: Vec<Case> =
        cases::all().into_iter().filter(|case| (case.quick || !options.quick) && chosen(&case.name)).collect();
    let rootfs = places::guests().join("rootfs-arm64/stamp").exists();
    let (cases, skipped): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|case| rootfs || matches!(case.disk, Disk::None));
    for case in &skipped {
        println!("boot {:<44} skipped: `cargo xtask fetch rootfs-arm64` makes its disk", case.name);
    }
    let mimic = Emulator::new(&options.emulator).is_mimic();
    let (cases, skipped): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| mimic || case.accel.is_none());
    for case in &skipped {
        println!("boot {:<44} skipped: it is about Mimic's translator", case.name);
    }
    for kernel in ["debian-12", "debian-13"] {
        if cases.iter().any(|case| case.kernel == kernel) || chosen("warnings") {
            fetch::fetch(kernel, &options.emulator)?;
        }
    }
    let work = places::target().join("boot-tests");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;

    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = boot(case, &options.emulator, &work);
                    report(&case.name, result, &tally);
                }
            });
        }
    });
    for kernel in ["debian-12", "debian-13"] {
        let name = format!("warnings {kernel}");
        if !chosen(&name) || (options.quick && kernel != "debian-12") {
            continue;
        }
        if !exists(warnings::ORACLE) {
            println!("boot {name:<44} skipped: no {} to compare with", warnings::ORACLE);
            continue;
        }
        report(&name, warnings::compare(kernel, &options.emulator, &work), &tally);
    }
    let mut tally = tally.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    tally += workloads::run(options.only.as_ref(), &options.emulator, &work)?;
    Ok(tally)
}

fn report(name: &str, result: Result<Duration>, tally: &Mutex<Tally>) {
    let mut tally = tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match result {
        Ok(wall) => {
            tally.passed += 1;
            println!("boot {name:<44} ok {:6.1} s", wall.as_secs_f64());
        }
        Err(error) => {
            tally.failed += 1;
            println!("boot {name:<44} FAILED\n{error:#}");
        }
    }
}

/// One machine, from start to the expected end.
fn boot(case: &Case, emulator: &Path, work: &Path) -> Result<Duration> {
    let file = case.name.replace([' ', ','], "_");
    let log = work.join(format!("{file}.log"));
    let kernel = fetch::kernel(case.kernel);
    let initrd = match case.initrd {
        Initrd::Busybox => &kernel.initrd,
        Initrd::Modules => &kernel.initrd_modules,
    };
    let image = if case.gzip { compressed(&kernel.image, work, case.kernel)? } else { kernel.image.clone() };
    let mut machine = Emulator::new(emulator);
    machine
        .args(["-M", &case.machine, "-cpu", case.cpu, "-m", case.memory, "-nographic"])
        .args(case.accel.map(|accel| ["-accel", accel]).into_iter().flatten())
        .args(case.arguments)
        .kernel(&image, initrd)
        .append(&format!("console=ttyAMA0 {}", case.append))
        .timeout(Duration::from_secs(case.timeout_s))
        .log(&log);
    let disk = match case.disk {
        Disk::None => None,
        Disk::Rootfs => Some(work.join(format!("{file}.img"))),
    };
    if let Some(disk) = &disk {
        let original = places::guests().join("rootfs-arm64/disk.img");
        output(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(original).arg(disk))?;
        machine.disk(disk);
    }
    for (wait, send) in case.steps {
        machine.step(Regex::new(wait).with_context(|| format!("bad pattern {wait}"))?, send);
    }
    let run = machine.run();
    if let Some(disk) = &disk {
        fs::remove_file(disk).ok();
    }
    let run = run?;
    let complaint = judge(case, run.stop, &run.serial)?;
    if let Some(complaint) = complaint {
        bail!(
            "  {complaint}\n  {}\n  console in {}, its end:\n{}",
            machine.command_line(),
            log.display(),
            tail(&run.serial)
        );
    }
    Ok(run.wall)
}

/// What is wrong with how a machine ran, if anything.
fn judge(case: &Case, stop: Stop, serial: &str) -> Result<Option<String>> {
    if stop != case.stop {
        return Ok(Some(format!("expected: {}; got: {stop}", case.stop)));
    }
    for pattern in case.expect {
        if !Regex::new(pattern)?.is_match(serial) {
            return Ok(Some(format!("the console never shows /{pattern}/")));
        }
    }
    for pattern in case.forbid.iter().copied().chain(cases::NEVER.iter().copied()) {
        if let Some(found) = Regex::new(pattern)?.find(serial) {
            return Ok(Some(format!("the console shows `{}`", found.as_str())));
        }
    }
    Ok(None)
}

fn tail(serial: &str) -> String {
    let lines: Vec<&str> = serial.lines().collect();
    lines[lines.len().saturating_sub(12)..].iter().map(|line| format!("  | {}\n", line.trim_end())).collect()
}

/// The kernel image compressed with gzip, as other distributions ship it.
fn compressed(image: &Path, work: &Path, name: &str) -> Result<PathBuf> {
    let file = work.join(format!("{name}-Image.gz"));
    if !file.exists() {
        let part = file.with_extension("part");
        output(Command::new("sh").args(["-c", r#"gzip -1c "$1" > "$2""#, "sh"]).arg(image).arg(&part))?;
        fs::rename(&part, &file)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case { expect: &["reached"], forbid: &["cannot"], ..cases::all().remove(0) }
    }

    #[test]
    fn judged_by_end_and_console() {
        let check = |stop, serial: &str, complaint: Option<&str>| {
            let found = judge(&case(), stop, serial).unwrap();
            match complaint {
                None => assert_eq!(found, None),
                Some(text) => assert!(found.as_ref().is_some_and(|found| found.contains(text)), "{found:?}"),
            }
        };
        check(Stop::Exited(0), "reached", None);
        check(Stop::Exited(1), "reached", Some("got: exit status 1"));
        check(Stop::TimedOut, "reached", Some("timed out"));
        check(Stop::Exited(0), "nothing", Some("never shows /reached/"));
        check(Stop::Exited(0), "reached, but cannot", Some("shows `cannot`"));
        check(Stop::Exited(0), "reached\nInternal error: Oops", Some("Internal error"));
    }

    #[test]
    fn names_are_unique_and_patterns_compile() {
        let cases = cases::all();
        for (i, case) in cases.iter().enumerate() {
            assert!(cases[..i].iter().all(|other| other.name != case.name), "{} twice", case.name);
            let waits = case.steps.iter().map(|(wait, _)| *wait);
            for pattern in waits.chain(case.expect.iter().copied()).chain(case.forbid.iter().copied()) {
                Regex::new(pattern).unwrap();
            }
        }
        assert!(cases.iter().any(|case| case.quick) && cases.iter().any(|case| !case.quick));
    }
}
