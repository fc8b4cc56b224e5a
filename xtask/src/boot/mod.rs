//! Boot tests: real guests in the built program, judged by what a user sees, the serial console and the exit status.
//! The same tests run against QEMU (`--emulator qemu`), which shows that the expectation is right.

mod cases;
mod guest_network;
mod screen;
mod torture;
mod warnings;
mod whole_disk;
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
use crate::emulator::{Emulator, Run, Stop};
use crate::system::is_mimic;
use crate::{fetch, places};
use cases::{Case, Disk, Initrd, Software};

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

impl Options {
    fn names(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(name))
    }
}

/// Runs all chosen tests, a line each.
pub fn run(options: &Options) -> Result<Tally> {
    let cases: Vec<Case> =
        cases::all().into_iter().filter(|case| (case.quick || !options.quick) && options.names(&case.name)).collect();
    let mut chosen = Vec::new();
    for case in cases {
        match obstacle(&case, options) {
            Some(why) => println!("boot {:<44} skipped: {why}", case.name),
            None => chosen.push(case),
        }
    }
    let comparisons: Vec<&warnings::Comparison> = warnings::COMPARISONS
        .iter()
        .filter(|one| {
            options.names(&one.name()) && (one.quick || !options.quick) && one.system.runs_on(&options.emulator)
        })
        .collect();
    let mut disks = Vec::new();
    for disk in whole_disk::DISKS.iter().filter(|disk| !options.quick && options.names(disk.name)) {
        match disk.obstacle(&options.emulator) {
            Some(why) => println!("boot {:<44} skipped: {why}", disk.name),
            None => disks.push(disk),
        }
    }
    let mut needed: Vec<String> = chosen.iter().flat_map(Case::artefacts).collect();
    needed.extend(comparisons.iter().map(|one| one.kernel.to_owned()));
    needed.extend(disks.first().map(|_| whole_disk::MIRROR.to_owned()));
    needed.sort();
    needed.dedup();
    // An image may be of an older recipe: making it takes long, and nobody asked for that.
    for name in needed.iter().filter(|name| !fetch::is_image(name)) {
        fetch::fetch(name, &options.emulator)?;
    }
    let work = places::target().join("boot-tests");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;

    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = boot(case, &options.emulator, &work);
                    report(&case.name, result, &tally);
                }
            });
        }
    });
    for comparison in comparisons {
        let (name, oracle) = (comparison.name(), comparison.system.qemu());
        if !exists(&oracle) {
            println!("boot {name:<44} skipped: no {oracle} to compare with");
            continue;
        }
        report(&name, comparison.run(&options.emulator, &work), &tally);
    }
    for disk in disks {
        report(disk.name, disk.run(&options.emulator, &work), &tally);
    }
    let mut tally = tally.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    tally += workloads::run(options.only.as_ref(), &options.emulator, &work)?;
    tally += torture::run(options.only.as_ref(), &options.emulator, &work)?;
    Ok(tally)
}

/// Why a case cannot run here, or is not to.
fn obstacle(case: &Case, options: &Options) -> Option<String> {
    let absent = || case.artefacts().into_iter().find(|name| fetch::is_image(name) && !fetch::is_there(name));
    if !case.system.runs_on(&options.emulator) {
        Some(format!("{} is of another system", options.emulator.display()))
    } else if case.only_mimic && !is_mimic(&options.emulator) {
        Some("it is about Mimic itself".to_owned())
    } else if case.slow && options.only.as_ref().is_none_or(|only| !only.as_str().contains("slow")) {
        Some("it takes long: `--only 'slow'` runs it".to_owned())
    } else {
        absent().map(|name| format!("`cargo xtask fetch {name}` makes its disk"))
    }
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
    let file = work.join(case.name.replace([' ', ',', ':'], "_"));
    let log = file.with_extension("log");
    let mut machine = Emulator::new(case.system, emulator);
    machine.args(["-M", &case.machine, "-cpu", case.cpu, "-m", case.memory]);
    machine.args(case.accel.map(|accel| ["-accel", accel]).into_iter().flatten());
    let guests = places::guests();
    let named = |argument: &&str| argument.replace("{guests}", &guests.to_string_lossy());
    machine.args(case.arguments.iter().map(named));
    match case.software {
        Software::Kernel { name, initrd, gzip } => {
            let kernel = fetch::kernel(name);
            let image = if gzip { compressed(&kernel.image, work, name)? } else { kernel.image };
            let initrd = match initrd {
                Initrd::Busybox => &kernel.initrd,
                Initrd::Modules => &kernel.initrd_modules,
                Initrd::Devices => &kernel.initrd_devices,
            };
            let append = format!("console={} {}", case.system.console, case.append);
            machine.args(["-nographic"]).kernel(&image, initrd).append(&append);
        }
        // `-nographic` would make the BIOS copy the screen to the serial port, where programs have their own console; a
        // network card has a program of its own that the BIOS runs.
        Software::Firmware => {
            machine.args(["-display", "none", "-nic", "none", "-serial", "mon:stdio"]);
        }
        Software::Nothing => {}
    }
    machine.timeout(Duration::from_secs(case.timeout_s)).log(&log);
    let disk = disk(case, &file.with_extension("img"))?;
    if let Some(disk) = &disk {
        match case.disk {
            Disk::Rootfs => machine.disk(disk),
            Disk::BlankOn(device) => {
                let drive = format!("if=none,format=raw,cache=unsafe,id=blank,file={}", disk.to_string_lossy());
                machine.args(["-drive", &drive, "-device", &format!("{device},drive=blank")])
            }
            _ => machine.args(["-hda", &disk.to_string_lossy()]),
        };
    }
    for (wait, send) in case.steps {
        machine.step(Regex::new(wait).with_context(|| format!("bad pattern {wait}"))?, send);
    }
    if let Some(golden) = case.screen {
        machine.screen(golden.watch(&file.with_extension("png")));
    }
    let run = machine.run();
    if let Some(disk) = &disk {
        fs::remove_file(disk).ok();
    }
    let run = run?;
    verdict(&machine, run, &log, case.stop, case.expect, case.forbid)
}

/// How long a machine ran, if it ran as it should; what is wrong otherwise, with all that one needs to look for the cause.
fn verdict(machine: &Emulator, run: Run, log: &Path, stop: Stop, expect: &[&str], forbid: &[&str]) -> Result<Duration> {
    let Some(complaint) = judge(stop, expect, forbid, run.stop, &run.serial)? else { return Ok(run.wall) };
    let more: String = run.screen.iter().chain(&run.host).map(|text| format!("  {text}\n")).collect();
    bail!(
        "  {complaint}\n{more}  {}\n  console in {}, its end:\n{}",
        machine.command_line(),
        log.display(),
        tail(&run.serial)
    );
}

/// The disk of one case, to write to.
fn disk(case: &Case, file: &Path) -> Result<Option<PathBuf>> {
    if let Disk::Blank = case.disk {
        fs::File::create(file)?.set_len(1 << 20)?;
    } else if let Disk::BlankOn(_) = case.disk {
        fs::File::create(file)?.set_len(64 << 20)?;
    } else if let Some(name) = case.disk.image(case.system) {
        let original = places::guests().join(name).join("disk.img");
        output(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(original).arg(file))?;
    } else {
        return Ok(None);
    }
    Ok(Some(file.to_owned()))
}

/// What is wrong with how a machine ran, if anything.
fn judge(expected: Stop, expect: &[&str], forbid: &[&str], stop: Stop, serial: &str) -> Result<Option<String>> {
    if stop != expected {
        return Ok(Some(format!("expected: {expected}; got: {stop}")));
    }
    for pattern in expect {
        if !Regex::new(pattern)?.is_match(serial) {
            return Ok(Some(format!("the console never shows /{pattern}/")));
        }
    }
    for pattern in forbid.iter().copied().chain(cases::NEVER.iter().copied()) {
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

    #[test]
    fn judged_by_end_and_console() {
        let check = |stop, serial: &str, complaint: Option<&str>| {
            let found = judge(Stop::Exited(0), &["reached"], &["cannot"], stop, serial).unwrap();
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
        for disk in whole_disk::DISKS {
            assert!(cases.iter().all(|case| case.name != disk.name), "{} twice", disk.name);
        }
        assert!(cases.iter().any(|case| case.quick) && cases.iter().any(|case| !case.quick));
    }
}
