//! `cargo xtask bench`: Mimic and QEMU on the same work in the same minutes.
//!
//! One boot of a small guest runs all rows, one after the other; each prints a marker when its work begins and when it
//! ends, and the CPU time that the emulator used between the two is the result, so that the boot does not count. Boots
//! alternate between the emulators: a busy host slows both alike. Trust ratios, not seconds.

mod guest;
mod machine;
mod report;
mod rows;
mod statistics;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, step};
use crate::fetch::host;
use guest::Guest;
use machine::{Outcome, Run};
use report::{Measured, Setting};
use rows::{Place, Row};

/// RAM of the guest, in MiB.
const RAM: &str = "1024";

/// What to measure and how.
#[derive(Debug)]
pub struct Options {
    /// Rows or groups; all if empty.
    pub names: Vec<String>,
    pub runs: usize,
    /// The emulators that are compared.
    pub sides: [Side; 2],
    pub cpu: String,
    /// Every emulator on one core of the host.
    pub pin: bool,
    /// Multiplies the size of all work.
    pub scale: f64,
}

/// One of the two emulators.
#[derive(Clone, Debug)]
pub struct Side {
    pub name: String,
    pub program: PathBuf,
    /// Arguments only for it.
    pub arguments: Vec<String>,
    /// Whether it is QEMU, which the targets are about.
    pub is_peer: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let chosen = rows::select(&options.names).map_err(anyhow::Error::msg)?;
    if options.runs == 0 {
        bail!("nothing to measure in 0 runs");
    }
    if !(options.scale > 0.0 && options.scale.is_finite()) {
        bail!("--scale takes a positive number");
    }
    if options.pin {
        host::ensure(&[("taskset", "util-linux")])?;
    }
    let guest = Guest::prepare(&options.sides[1].program)?;
    let mut measured: Vec<Measured> = chosen
        .into_iter()
        .map(|row| Measured {
            row,
            size: ((row.size as f64 * options.scale) as u64).max(1),
            costs: Default::default(),
            native: Vec::new(),
            failures: Vec::new(),
        })
        .collect();
    let mut checksums = BTreeMap::new();
    for pair in 1..=options.runs {
        for side in 0..2 {
            let name = &options.sides[side].name;
            step(&format!("bench: {name}, run {pair} of {}", options.runs), || {
                small(options, side, &guest, &mut measured, &mut checksums)
            })?;
        }
        step(&format!("bench: native, run {pair} of {}", options.runs), || native(options, &guest, &mut measured))?;
    }
    let setting = setting(options);
    let table = report::table(&setting, &measured);
    println!("\n{table}");
    let stem = format!(
        "{}-{}-{}{}",
        setting.sides[0],
        setting.sides[1],
        setting.cpu,
        if setting.pinned { "-pinned" } else { "" }
    );
    for (extension, text) in
        [("md", table), ("json", serde_json::to_string_pretty(&report::json(&setting, &measured))?)]
    {
        let file = guest.work.join(format!("{stem}.{extension}"));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("stored in {}", file.display());
    }
    let failures: Vec<String> =
        measured.iter().flat_map(|one| one.failures.iter().map(|why| format!("{}: {why}", one.row.name))).collect();
    if !failures.is_empty() {
        bail!("{} failed:\n  {}", if failures.len() == 1 { "a run" } else { "some runs" }, failures.join("\n  "));
    }
    Ok(())
}

/// Runs all rows of the small guest on one side. When the machine breaks down in the middle of a row, that row has failed
/// and the ones after it get another boot.
fn small(
    options: &Options,
    side: usize,
    guest: &Guest,
    measured: &mut [Measured],
    checksums: &mut BTreeMap<&'static str, String>,
) -> Result<()> {
    let mut left: Vec<usize> =
        (0..measured.len()).filter(|index| measured[*index].row.place != Place::Debian).collect();
    while !left.is_empty() {
        let list: Vec<(&Row, u64)> = left.iter().map(|index| (measured[*index].row, measured[*index].size)).collect();
        let command = &mut emulator(options, side);
        command.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(guest.initrd(&list)?);
        command.args(["-append", "console=ttyAMA0 rdinit=/bench/init", "-drive"]);
        command.arg(format!("if=none,format=raw,cache=unsafe,readonly=on,id=disk0,file={}", guest.disk.display()));
        command.args(["-device", "virtio-blk-device,drive=disk0"]);
        let name = &options.sides[side].name;
        let log = guest.work.join(format!("small-{name}.log"));
        let Run { ready, outcomes, broken, .. } = machine::run(command, &log)?;
        let mut next = Vec::new();
        for index in left {
            let one = &mut measured[index];
            if one.row.place == Place::Boot {
                match ready {
                    Some(cost) => one.costs[side].push(cost),
                    None => one.failures.push(format!("{name} did not boot; console in {}", log.display())),
                }
                continue;
            }
            match (outcomes.get(one.row.name), &broken) {
                (Some(Outcome::Done { cost, checksum }), _) => {
                    one.costs[side].push(*cost);
                    let expected = checksums.entry(one.row.name).or_insert_with(|| checksum.clone());
                    if expected != checksum {
                        one.failures.push(format!("checksum {checksum} on {name}, {expected} before"));
                    }
                }
                (Some(Outcome::Failed(why)), _) => one.failures.push(format!("{name}: {why}")),
                (None, Some((Some(row), why))) if row == one.row.name => {
                    one.failures.push(format!("{name}: {why}; console in {}", log.display()));
                }
                (None, Some((Some(_), _))) => next.push(index),
                (None, _) => one.failures.push(format!("{name} did not run it; console in {}", log.display())),
            }
        }
        left = next;
    }
    Ok(())
}

/// The command line up to the kernel.
fn emulator(options: &Options, side: usize) -> Command {
    let Side { program, arguments, .. } = &options.sides[side];
    let mut command = if options.pin {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    if program.file_name().is_some_and(|name| name == "mimic") {
        command.arg("system-aarch64");
    }
    command.args(["-M", "virt", "-cpu", &options.cpu, "-m", RAM, "-nographic", "-no-reboot"]).args(arguments);
    command
}

/// The same program on the host itself. Its checksums may differ where the host rounds a product and a sum apart.
fn native(options: &Options, guest: &Guest, measured: &mut [Measured]) -> Result<()> {
    for one in measured.iter_mut().filter(|one| one.row.native) {
        let program = guest.native.to_string_lossy();
        let size = one.size.to_string();
        let text = match options.pin {
            true => output(Command::new("taskset").args(["-c", "0", &program, one.row.name, &size])),
            false => output(Command::new(&*program).args([one.row.name, &size])),
        }?;
        // The last word: its own time between the markers, with its children's, in nanoseconds.
        let used: f64 = text.split_whitespace().last().and_then(|word| word.parse().ok()).context("no time")?;
        one.native.push(used / 1e9);
    }
    Ok(())
}

fn setting(options: &Options) -> Setting {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |pair| pair.1);
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let against_qemu = options.sides[1].is_peer;
    Setting {
        sides: options.sides.each_ref().map(|side| side.name.clone()),
        cpu: options.cpu.clone(),
        pinned: options.pin,
        runs: options.runs,
        date: output(Command::new("date").args(["-u", "+%F"])).unwrap_or_default().trim().to_owned(),
        host: format!("{model}, {cores} cores"),
        target: against_qemu.then_some(if options.pin { rows::TARGET_PINNED } else { rows::TARGET }),
    }
}
