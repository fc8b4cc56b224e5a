//! Workloads in a Debian root file system: the scripts of `tests/workloads` run after the login on each CPU, on Mimic and
//! on QEMU, and must print the same.
//!
//! The scripts print results only, neither times nor addresses; what they print for people begins with `#`. So the
//! lines are compared as they are. Without QEMU, a workload passes when its script ends and reports no failure.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;

use super::cases::NEVER;
use crate::cargo::Tally;
use crate::command::{exists, output};
use crate::emulator::{Emulator, Stop};
use crate::system::{AARCH64, QEMU, System, X86_64};
use crate::{fetch, places};

/// On what they run.
const MACHINES: &[(&System, &str)] =
    &[(&AARCH64, "cortex-a57"), (&AARCH64, "max"), (&X86_64, "qemu64"), (&X86_64, "max")];
/// The scripts, in the order in which they run.
const WORKLOADS: &[&str] = &["apt", "gcc", "sqlite", "files", "openssl", "stress", "python"];
/// All workloads of one machine.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);
pub const PROMPT: &str = r"root@debian:~# ";
/// The second: the scripts did not get onto the disk.
const END: &str = r"(workloads: finished\s|cannot open workloads)[\s\S]*root@debian:~# ";
/// systemd gives up on the console's device after 90 s, which a loaded host may need.
pub const PATIENCE: &str = "systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900";

/// What one script printed, and whether it ran to its end.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    lines: Vec<String>,
    seconds: Option<f64>,
}

/// Runs the workloads whose name, such as `workloads max python` or `workloads-amd64 max python`, matches. They take an hour or more, so no other
/// pattern than one that names them selects them.
pub fn run(only: Option<&Regex>, emulator: &Path, work: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(only) = only.filter(|only| only.as_str().contains("workloads")) else { return Ok(tally) };
    for (system, cpu) in MACHINES.iter().filter(|(system, _)| system.runs_on(emulator)) {
        let (suffix, oracle) = (system.suffix, system.qemu());
        let machine = format!("workloads{suffix} {cpu}");
        let chosen: Vec<&str> =
            WORKLOADS.iter().copied().filter(|workload| only.is_match(&format!("{machine} {workload}"))).collect();
        if chosen.is_empty() {
            continue;
        }
        if !fetch::is_there(&system.rootfs()) {
            println!("boot {machine}: skipped: `cargo xtask fetch {}` makes their disk", system.rootfs());
            continue;
        }
        fetch::fetch(&kernel(system), emulator)?;
        let found = outcomes(system, emulator, cpu, &chosen, work);
        let expected = match exists(&oracle) {
            true => Some(outcomes(system, Path::new(QEMU), cpu, &chosen, work)?),
            false => {
                println!("boot {machine}: no {oracle} to compare with");
                None
            }
        };
        let mut found = found.unwrap_or_else(|error| {
            println!("boot {machine}: {error:#}");
            tally.failed += 1;
            BTreeMap::new()
        });
        for workload in chosen {
            let found = found.remove(workload).unwrap_or_default();
            let expected = expected.as_ref().map(|all| all.get(workload));
            let complaint = match expected {
                Some(Some(expected)) => difference(&oracle, expected, &found),
                Some(None) => Some(format!("  {oracle} printed nothing")),
                None => failure(&found),
            };
            let name = format!("{machine} {workload}");
            match complaint {
                None => {
                    tally.passed += 1;
                    let seconds = |outcome: Option<&Outcome>| {
                        outcome.and_then(|outcome| outcome.seconds).map_or("-".into(), |s| format!("{s:.0} s"))
                    };
                    println!(
                        "boot {name:<44} ok {} lines, {} (oracle: {})",
                        found.lines.len(),
                        seconds(Some(&found)),
                        seconds(expected.flatten())
                    );
                }
                Some(complaint) => {
                    tally.failed += 1;
                    println!("boot {name:<44} FAILED\n{complaint}");
                }
            }
        }
    }
    Ok(tally)
}

/// The kernel that the root file system is from.
pub fn kernel(system: &System) -> String {
    format!("debian-12{}", system.suffix)
}

/// One boot: login, the workloads, power-off.
fn outcomes(
    system: &'static System,
    emulator: &Path,
    cpu: &str,
    workloads: &[&str],
    work: &Path,
) -> Result<BTreeMap<String, Outcome>> {
    let kernel = fetch::kernel(&kernel(system));
    let mut machine = Emulator::new(system, emulator);
    let file = work.join(format!("workloads{}_{cpu}_{}", system.suffix, machine.name()));
    let disk = disk(system, "workloads", &file.with_extension("img"))?;
    let log = file.with_extension("log");
    machine
        .args(["-M", system.machine, "-cpu", cpu, "-m", "1024", "-nographic", "-no-reboot"])
        .args(["-device", &format!("virtio-rng-{}", system.transport)])
        .kernel(&kernel.image, &kernel.initrd_modules)
        .append(&format!("console={} quiet root=/dev/vda {PATIENCE}", system.console))
        .disk(&disk)
        .step(Regex::new(PROMPT)?, &format!("sh workloads/run.sh {}\r", workloads.join(" ")))
        .step(Regex::new(END)?, "poweroff\r")
        .timeout(TIMEOUT)
        .log(&log);
    let run = machine.run();
    fs::remove_file(&disk).ok();
    let run = run?;
    let serial = &run.serial;
    if run.stop != Stop::Exited(0) {
        // What did run is still worth comparing.
        println!("{} on {cpu} did not power off ({}); console in {}", machine.name(), run.stop, log.display());
    }
    for pattern in NEVER {
        if let Some(found) = Regex::new(pattern)?.find(serial) {
            bail!("  the console of {} shows `{}`: {}", machine.name(), found.as_str(), log.display());
        }
    }
    collect(serial)
}

/// A copy of the root file system that holds what is in `tests/FOLDER` in /root/FOLDER; nothing is mounted for that.
pub fn disk(system: &System, folder: &str, image: &Path) -> Result<PathBuf> {
    let original = places::guests().join(system.rootfs()).join("disk.img");
    output(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(original).arg(image))?;
    let scripts = places::repository().join("tests").join(folder);
    let mut commands = format!("mkdir /root/{folder}\n");
    for entry in fs::read_dir(&scripts).with_context(|| format!("cannot read {}", scripts.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // debugfs splits at blanks; it takes a name in quotes.
        commands += &format!("write \"{}\" /root/{folder}/{name}\n", path.display());
    }
    let list = image.with_extension("debugfs");
    fs::write(&list, commands)?;
    // debugfs succeeds even if a command of its list does not; the guest then says what is missing.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    output(Command::new("debugfs").env("PATH", path).args(["-w", "-f"]).arg(&list).arg(image))
        .context("debugfs of the package e2fsprogs puts the scripts on the disk")?;
    Ok(image.to_owned())
}

/// The results among the console's lines: `workload NAME| text` and `workload NAME: end after SECONDS s`.
fn collect(serial: &str) -> Result<BTreeMap<String, Outcome>> {
    let form = Regex::new(r"^workload (\w+)(?:\| ?(.*)|: end after ([\d.]+) s|: begin)$")?;
    let mut found: BTreeMap<String, Outcome> = BTreeMap::new();
    for line in serial.lines() {
        let Some(parts) = form.captures(line.trim_end()) else { continue };
        let outcome = found.entry(parts[1].to_owned()).or_default();
        if let Some(text) = parts.get(2).filter(|text| !text.as_str().starts_with('#')) {
            outcome.lines.push(text.as_str().to_owned());
        }
        if let Some(seconds) = parts.get(3) {
            outcome.seconds = seconds.as_str().parse().ok();
        }
    }
    Ok(found)
}

/// The lines that are not the same, at most a dozen.
fn difference(oracle: &str, expected: &Outcome, found: &Outcome) -> Option<String> {
    if expected.lines == found.lines && expected.seconds.is_some() && found.seconds.is_some() {
        return None;
    }
    let mut complaints = Vec::new();
    for (name, outcome) in [(oracle, expected), ("this emulator", found)] {
        if outcome.seconds.is_none() {
            complaints.push(format!("  did not end on {name}"));
        }
    }
    let count = expected.lines.len().max(found.lines.len());
    for i in 0..count {
        let (expected, found) = (expected.lines.get(i), found.lines.get(i));
        if expected != found && complaints.len() < 24 {
            complaints.extend(expected.map(|line| format!("  - {line}")));
            complaints.extend(found.map(|line| format!("  + {line}")));
        }
    }
    Some(complaints.join("\n"))
}

/// What is wrong with a result that there is nothing to compare with.
fn failure(found: &Outcome) -> Option<String> {
    if found.seconds.is_none() {
        return Some("  did not end".to_owned());
    }
    let bad =
        |line: &&String| ["FAIL", "ERROR", "CORRUPT", "WRONG", "LOST", "differ"].iter().any(|word| line.contains(word));
    let bad: Vec<String> = found.lines.iter().filter(bad).map(|line| format!("  + {line}")).collect();
    (!bad.is_empty()).then(|| bad.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIAL: &str = "root@debian:~# sh workloads/run.sh apt gcc\r\nworkload apt: begin\r\nworkload apt| apt 2.6\r\n\
        [   50.1] a message of the kernel\r\nworkload apt| # took 3 s\r\nworkload apt| status 0\r\nworkload apt: end after 3.25 s\r\n\
        workload gcc: begin\r\nworkload gcc| status 0\r\n";

    fn outcome(lines: &[&str], seconds: Option<f64>) -> Outcome {
        Outcome { lines: lines.iter().map(|line| line.to_string()).collect(), seconds }
    }

    #[test]
    fn results_are_the_marked_lines() {
        let found = collect(SERIAL).unwrap();
        assert_eq!(found["apt"], outcome(&["apt 2.6", "status 0"], Some(3.25)));
        assert_eq!(found["gcc"], outcome(&["status 0"], None));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn every_difference_counts() {
        let expected = outcome(&["a", "b"], Some(1.0));
        assert_eq!(difference("qemu", &expected, &outcome(&["a", "b"], Some(9.0))), None);
        let check =
            |found: Outcome, text: &str| assert_eq!(difference("qemu", &expected, &found).as_deref(), Some(text));
        check(outcome(&["a", "c"], Some(1.0)), "  - b\n  + c");
        check(outcome(&["a"], Some(1.0)), "  - b");
        check(outcome(&["a", "b", "c"], Some(1.0)), "  + c");
        check(outcome(&["a", "b"], None), "  did not end on this emulator");
    }

    #[test]
    fn without_an_oracle_reported_failures_count() {
        assert_eq!(failure(&outcome(&["fine"], Some(1.0))), None);
        assert!(failure(&outcome(&["fine"], None)).is_some());
        assert!(failure(&outcome(&["FAIL: test_x"], Some(1.0))).is_some());
    }

    #[test]
    fn every_workload_has_its_script_and_every_script_runs() {
        let dir = places::repository().join("tests/workloads");
        let mut scripts: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".sh").map(str::to_owned))
            .filter(|name| name != "run")
            .collect();
        scripts.sort();
        let mut listed = WORKLOADS.to_vec();
        listed.sort();
        assert_eq!(scripts, listed);
    }

    #[test]
    fn only_a_pattern_that_names_them_runs_them() {
        let nowhere = Path::new("/nonexistent");
        for only in [None, Some(Regex::new("max").unwrap()), Some(Regex::new("workloads no-such-cpu").unwrap())] {
            assert_eq!(run(only.as_ref(), nowhere, nowhere).unwrap(), Tally::default());
        }
    }
}
