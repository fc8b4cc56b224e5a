//! `cargo xtask bench`: Mimic and QEMU on the same work in the same minutes.
//!
//! Runs alternate between the emulators, so that a busy host slows both alike. Printed are medians and the spread;
//! trust ratios, not seconds. One more workload is one more row of [`WORKLOADS`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde_json::{Value, json};

use crate::command::step;
use crate::emulator::{Emulator, Run, Stop};
use crate::{fetch, places};

/// Something to run on each emulator.
struct Workload {
    name: &'static str,
    about: &'static str,
    /// Fetched guests it needs.
    guests: &'static [&'static str],
    /// Arguments of the machine.
    prepare: fn(&mut Emulator),
    /// The console of a good run shows this.
    expect: &'static str,
    timeout: Duration,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "boot",
        about: "Debian 12 kernel and busybox on cortex-a57, from start to power-off",
        guests: &["debian-12"],
        prepare: |emulator| boot(emulator, "debian-12", "cortex-a57"),
        expect: r"reboot: Power down",
        timeout: Duration::from_secs(300),
    },
    Workload {
        name: "boot-max",
        about: "Debian 13 kernel and busybox on -cpu max, from start to power-off",
        guests: &["debian-13"],
        prepare: |emulator| boot(emulator, "debian-13", "max"),
        expect: r"reboot: Power down",
        timeout: Duration::from_secs(300),
    },
];

fn boot(emulator: &mut Emulator, kernel: &str, cpu: &str) {
    let files = fetch::kernel(kernel);
    emulator
        .args(["-M", "virt", "-cpu", cpu, "-m", "512", "-nographic", "-no-reboot"])
        .kernel(&files.image, &files.initrd)
        .append("console=ttyAMA0 mimic.test=poweroff");
}

/// Names of the workloads, for the help text.
pub fn names() -> Vec<&'static str> {
    WORKLOADS.iter().map(|workload| workload.name).collect()
}

/// Runs the workloads `chosen` `runs` times on each emulator; the first emulator is compared to the second.
pub fn run(chosen: &[String], emulators: &[PathBuf; 2], runs: usize) -> Result<()> {
    let workloads: Vec<&Workload> = chosen
        .iter()
        .map(|name| {
            let found = WORKLOADS.iter().find(|workload| workload.name == name);
            found.with_context(|| format!("no workload is called `{name}`; there are: {}", names().join(", ")))
        })
        .collect::<Result<_>>()?;
    if runs == 0 {
        bail!("nothing to measure in 0 runs");
    }
    for workload in workloads {
        for guest in workload.guests {
            fetch::fetch(guest, &emulators[1])?;
        }
        let measured = measure(workload, emulators, runs)?;
        print(workload, emulators, &measured);
        store(workload, emulators, &measured)?;
    }
    Ok(())
}

/// Cost of one run.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
    peak_rss_mb: f64,
}

/// A column of the table: its title, and where it is in a cost.
type Metric = (&'static str, fn(&Cost) -> f64);
const METRICS: &[Metric] =
    &[("wall s", |cost| cost.wall_s), ("cpu s", |cost| cost.cpu_s), ("peak rss MB", |cost| cost.peak_rss_mb)];

fn measure(workload: &Workload, emulators: &[PathBuf; 2], runs: usize) -> Result<[Vec<Cost>; 2]> {
    let mut measured = [Vec::new(), Vec::new()];
    step(&format!("bench {}: {runs} runs on each emulator", workload.name), || {
        for _ in 0..runs {
            for (emulator, costs) in emulators.iter().zip(&mut measured) {
                costs.push(one(workload, emulator)?);
            }
        }
        Ok(())
    })?;
    Ok(measured)
}

fn one(workload: &Workload, program: &Path) -> Result<Cost> {
    let mut emulator = Emulator::new(program);
    emulator.timeout(workload.timeout);
    (workload.prepare)(&mut emulator);
    let Run { serial, stop, wall, cpu, peak_rss } = emulator.run()?;
    if stop != Stop::Exited(0) || !Regex::new(workload.expect)?.is_match(&serial) {
        let end: Vec<&str> = serial.lines().rev().take(3).collect();
        bail!("{} did not finish {} ({stop}): {}", emulator.name(), workload.name, end.join(" | "));
    }
    Ok(Cost { wall_s: wall.as_secs_f64(), cpu_s: cpu.as_secs_f64(), peak_rss_mb: peak_rss as f64 / 1e6 })
}

/// Smallest, middle and largest value.
fn spread(costs: &[Cost], metric: fn(&Cost) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<f64> = costs.iter().map(metric).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median =
        if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] };
    (values[0], median, values[values.len() - 1])
}

fn print(workload: &Workload, emulators: &[PathBuf; 2], measured: &[Vec<Cost>; 2]) {
    println!("{}: {}; {} runs", workload.name, workload.about, measured[0].len());
    let [first, second] = emulators.each_ref().map(|path| name(path));
    println!("{:12} {first:>28} {second:>28} {:>8}", "", "ratio");
    for (title, metric) in METRICS {
        let [a, b] = measured.each_ref().map(|costs| spread(costs, *metric));
        let cell = |(low, median, high): (f64, f64, f64)| format!("{median:.2} ({low:.2} to {high:.2})");
        println!("{title:12} {:>28} {:>28} {:>8.2}", cell(a), cell(b), a.1 / b.1);
    }
}

fn store(workload: &Workload, emulators: &[PathBuf; 2], measured: &[Vec<Cost>; 2]) -> Result<()> {
    let dir = places::target().join("bench");
    fs::create_dir_all(&dir)?;
    let side = |index: usize| -> Value {
        let metrics: serde_json::Map<String, Value> = METRICS
            .iter()
            .map(|(title, metric)| {
                let (low, median, high) = spread(&measured[index], *metric);
                let runs: Vec<f64> = measured[index].iter().map(metric).collect();
                (title.to_string(), json!({"low": low, "median": median, "high": high, "runs": runs}))
            })
            .collect();
        json!({"emulator": name(&emulators[index]), "metrics": metrics})
    };
    let file = dir.join(format!("{}.json", workload.name));
    let text = serde_json::to_string_pretty(&json!({
        "workload": workload.name, "about": workload.about, "measured": [side(0), side(1)],
    }))?;
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    println!("stored in {}", file.display());
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_low_median_high() {
        let check = |values: &[f64], expect| {
            let costs: Vec<Cost> = values.iter().map(|v| Cost { wall_s: *v, cpu_s: 0.0, peak_rss_mb: 0.0 }).collect();
            assert_eq!(spread(&costs, |cost| cost.wall_s), expect, "{values:?}");
        };
        check(&[3.0, 1.0, 2.0], (1.0, 2.0, 3.0));
        check(&[4.0, 1.0, 2.0, 10.0], (1.0, 3.0, 10.0));
        check(&[5.0], (5.0, 5.0, 5.0));
    }

    #[test]
    fn unknown_workloads_are_named() {
        let emulators = [PathBuf::from("a"), PathBuf::from("b")];
        let error = run(&["no-such".into()], &emulators, 1).unwrap_err().to_string();
        assert!(error.contains("no-such") && error.contains("boot"), "{error}");
    }
}
