//! `cargo xtask bench`: Mimic and QEMU on the same work in the same minutes.
//!
//! One boot of a small guest runs all rows, one after the other; each prints a marker when its work begins and when it
//! ends, and the CPU time that the emulator used between the two is the result, so that the boot does not count. Boots
//! alternate between the emulators: a busy host slows both alike. Trust ratios, not seconds.

pub mod against;
mod chart;
mod guest;
mod iperf;
mod machine;
mod report;
mod rows;
mod scaling;
mod source;
mod statistics;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, step};
use crate::fetch::host;
use crate::system::{AARCH64, System};
use guest::Guest;
use machine::{Outcome, Run};
use report::{Measured, Setting};
use rows::{Machine, Row};

/// RAM of the guest, in MiB.
const RAM: &str = "1024";

/// What to measure and how.
#[derive(Debug)]
pub struct Options {
    pub system: &'static System,
    /// The system's machine, as `-M` takes it.
    pub machine: String,
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
    pub is_qemu: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if options.runs == 0 {
        bail!("nothing to measure in 0 runs");
    }
    if !(options.scale > 0.0 && options.scale.is_finite()) {
        bail!("--scale takes a positive number");
    }
    if options.pin {
        host::ensure(&[("taskset", "util-linux")])?;
    }
    if options.sides[1].is_qemu {
        host::ensure_qemu(options.system)?;
    }
    if options.names == ["smp"] {
        return scaling::run(options);
    }
    let mut measured = work(options)?;
    let machines: Vec<Machine> = measured.iter().map(|one| one.row.place.machine()).collect();
    let guest = Guest::prepare(options.system, &options.machine, &machines, &options.sides[1].program)?;
    let mut checksums = BTreeMap::new();
    let mut peaks = [0; 2];
    let [first, second] = options.sides.each_ref().map(|side| side.name.as_str());
    let pinned = if options.pin { "-pinned" } else { "" };
    let suffix = options.system.suffix;
    let stored = guest.work.join(format!("{first}-{second}-{}{suffix}{pinned}", options.cpu));
    for pair in 1..=options.runs {
        for machine in Machine::ALL {
            let rows = measured.iter().filter(|one| one.row.place.machine() == *machine).count();
            for side in (0..2).filter(|_| rows > 0) {
                let what = format!("{} on {}", machine.name(), options.sides[side].name);
                step(&format!("bench: {what}, run {pair} of {}", options.runs), || {
                    let peak = start(options, side, &guest, *machine, &mut measured, &mut checksums)?;
                    peaks[side] = peak.max(peaks[side]);
                    Ok(())
                })?;
            }
        }
        if measured.iter().any(|one| one.row.native) {
            step(&format!("bench: natively, run {pair} of {}", options.runs), || {
                native(options, &guest, &mut measured)
            })?;
        }
        // After each, so that little is lost when somebody ends it.
        store(&stored, &setting(options, peaks), &measured)?;
    }
    println!(
        "\n{}\nstored in {}.md, .json and .svg",
        report::table(&setting(options, peaks), &measured),
        stored.display()
    );
    let failures: Vec<String> =
        measured.iter().flat_map(|one| one.failures.iter().map(|why| format!("{}: {why}", one.row.name))).collect();
    if !failures.is_empty() {
        bail!("{} failed:\n  {}", if failures.len() == 1 { "a run" } else { "some runs" }, failures.join("\n  "));
    }
    Ok(())
}

/// Writes the results beside each other under names that begin with `stem`.
fn store(stem: &Path, setting: &Setting, measured: &[Measured]) -> Result<()> {
    let json = serde_json::to_string_pretty(&report::json(setting, measured))?;
    let texts = [("md", report::table(setting, measured)), ("json", json), ("svg", chart::svg(setting, measured))];
    for (extension, text) in texts {
        let file = format!("{}.{extension}", stem.display());
        fs::write(&file, text).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

/// The chosen rows, without those that there is no guest for.
fn work(options: &Options) -> Result<Vec<Measured>> {
    let mut chosen = rows::select(&options.names).map_err(anyhow::Error::msg)?;
    let mut leave_out = |what: &dyn Fn(&Row) -> bool, why: &str| {
        let (left, kept): (Vec<_>, Vec<_>) = chosen.iter().copied().partition(|row| what(row));
        let names: Vec<&str> = left.iter().map(|row| row.name).collect();
        if !names.is_empty() {
            println!("bench: {} skipped: {why}", names.join(", "));
        }
        chosen = kept;
    };
    if !guest::has_disk(&options.machine) {
        leave_out(&|row| row.needs_disk(), &format!("-M {} has no disk", options.machine));
    }
    if !guest::has_debian(options.system) {
        let why = format!("`cargo xtask fetch {}` makes their disk", options.system.rootfs());
        leave_out(&|row| matches!(row.place.machine(), Machine::Debian | Machine::Systemd), &why);
    }
    if !guest::has_network(options.system) {
        let why = format!("`cargo xtask fetch {}` makes their disk", options.system.networked());
        leave_out(&|row| row.place.machine() == Machine::Io, &why);
    }
    let measured = chosen.into_iter().map(|row| {
        let size = if row.place.is_start() { row.size } else { ((row.size as f64 * options.scale) as u64).max(1) };
        Measured::new(row, size)
    });
    Ok(measured.collect())
}

/// Starts a machine and runs all its rows on one side. When the machine breaks down in the middle of a row, that row has
/// failed and those after it get another machine. Returns the most memory that the emulator had, in bytes.
fn start(
    options: &Options,
    side: usize,
    guest: &Guest,
    machine: Machine,
    measured: &mut [Measured],
    checksums: &mut BTreeMap<&'static str, String>,
) -> Result<u64> {
    let name = &options.sides[side].name;
    let log = guest.work.join(format!("{}-{name}.log", machine.name()));
    let mut left: Vec<&mut Measured> = measured.iter_mut().filter(|one| one.row.place.machine() == machine).collect();
    let mut peak = 0;
    while !left.is_empty() {
        let list: Vec<(&Row, u64)> = left.iter().map(|one| (one.row, one.size)).collect();
        let mut command = emulator(options, side);
        command.args(guest.machine(machine, &list)?);
        let Run { ready, mut outcomes, broken, peak_rss } = machine::run(&mut command, &log)?;
        peak = peak_rss.max(peak);
        let mut again = Vec::new();
        for one in left {
            if one.row.place.is_start() {
                match &ready {
                    Some((cost, progress)) => one.add(side, *cost, progress.clone()),
                    None => one.failures.push(format!("{name} did not start; console in {}", log.display())),
                }
                continue;
            }
            match (outcomes.remove(one.row.name), &broken) {
                (Some(Outcome::Done { cost, checksum, progress }), _) => {
                    one.add(side, cost, progress);
                    let expected = checksums.entry(one.row.name).or_insert_with(|| checksum.clone());
                    if *expected != checksum {
                        one.failures.push(format!("checksum {checksum} on {name}, {expected} before"));
                    }
                }
                (Some(Outcome::Failed(why)), _) => one.failures.push(format!("{name}: {why}")),
                (None, Some((Some(row), _))) if row != one.row.name => again.push(one),
                (None, broken) => {
                    let why = broken.as_ref().map_or("did not run", |(_, why)| why);
                    one.failures.push(format!("{name}: {why}; console in {}", log.display()));
                }
            }
        }
        left = again;
    }
    Ok(peak)
}

/// The command line up to the kernel.
fn emulator(options: &Options, side: usize) -> Command {
    let Side { program, arguments, .. } = &options.sides[side];
    let (program, name) = options.system.start(program);
    let mut command = if options.pin {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(name).args(["-M", &options.machine, "-cpu", &options.cpu, "-m", RAM, "-nographic", "-no-reboot"]);
    command.args(arguments);
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

fn setting(options: &Options, peaks: [u64; 2]) -> Setting {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |pair| pair.1);
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    // What is to be reached was agreed for ARM.
    let has_target = options.sides[1].is_qemu && *options.system == AARCH64;
    Setting {
        sides: options.sides.each_ref().map(|side| side.name.clone()),
        versions: options.sides.each_ref().map(|side| version(&options.system.program(&side.program))),
        machine: format!("{} -M {}", options.system.name, options.machine),
        cpu: options.cpu.clone(),
        pinned: options.pin,
        runs: options.runs,
        peaks_mb: peaks.map(|peak| peak as f64 / 1e6),
        date: output(Command::new("date").args(["-u", "+%F"])).unwrap_or_default().trim().to_owned(),
        host: format!("{model}, {cores} cores"),
        target: has_target.then_some(if options.pin { rows::TARGET_PINNED } else { rows::TARGET }),
    }
}

/// What an emulator says it is.
fn version(program: &Path) -> String {
    let text = output(Command::new(program).arg("--version")).unwrap_or_default();
    text.lines().next().unwrap_or("unknown version").trim().to_owned()
}
