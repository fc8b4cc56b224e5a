//! Results as a table and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::machine::{Cost, Progress};
use super::rows::{Group, Row};
use super::statistics::{Spread, geometric_mean, spread};

/// What was measured of one row.
#[derive(Debug)]
pub struct Measured {
    pub row: &'static Row,
    pub size: u64,
    /// The runs on each side; the same index is the same pair.
    pub costs: [Vec<Cost>; 2],
    /// How far each of them was when.
    pub progress: [Vec<Progress>; 2],
    /// CPU seconds on the host itself.
    pub native: Vec<f64>,
    /// Why there is no result, or why it does not count.
    pub failures: Vec<String>,
}

impl Measured {
    pub fn new(row: &'static Row, size: u64) -> Measured {
        Measured {
            row,
            size,
            costs: Default::default(),
            progress: Default::default(),
            native: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// One more run.
    pub fn add(&mut self, side: usize, cost: Cost, progress: Progress) {
        self.costs[side].push(cost);
        self.progress[side].push(progress);
    }

    /// Of the points in the first seconds, the one where the first side does worst: how many times faster it is there.
    /// The median over the pairs; `None` for rows without points.
    pub fn worst(&self) -> Option<f64> {
        let [first, second] = &self.progress;
        let pairs: Vec<f64> = first.iter().zip(second).filter_map(|(first, second)| worst(first, second)).collect();
        Some(spread(&pairs)?.median)
    }

    /// Of a run, what counts for the row: CPU seconds or those of the clock.
    fn cost(&self, cost: &Cost) -> f64 {
        if self.row.group.by_the_clock() { cost.wall } else { cost.cpu }
    }

    pub fn seconds(&self, side: usize) -> Option<Spread> {
        let values: Vec<f64> = self.costs[side].iter().map(|cost| self.cost(cost)).collect();
        spread(&values)
    }

    /// How many times faster the first side is: second over first, of medians. The spread is that of the pairs.
    pub fn times(&self) -> Option<Spread> {
        if !self.failures.is_empty() {
            return None;
        }
        let pairs = self.costs[1].iter().zip(&self.costs[0]).map(|(b, a)| self.cost(b) / self.cost(a));
        let pairs: Vec<f64> = pairs.collect();
        let pairs = spread(&pairs)?;
        Some(Spread { median: self.seconds(1)?.median / self.seconds(0)?.median, ..pairs })
    }

    /// How many times slower than the host itself the first side is.
    pub fn to_native(&self) -> Option<f64> {
        Some(self.seconds(0)?.median / spread(&self.native)?.median)
    }
}

/// CPU seconds of the second side between which its progress is looked at: the first ten, without the very start, where
/// nothing but the emulator's own start is seen.
const EARLY: std::ops::RangeInclusive<f64> = 0.25..=10.0;

fn worst(first: &Progress, second: &Progress) -> Option<f64> {
    let mut times = std::collections::BTreeMap::new();
    for (point, cpu) in first {
        times.entry(point).or_insert(*cpu);
    }
    // A line that comes again says nothing.
    let mut seen = std::collections::BTreeSet::new();
    let ratios = second.iter().filter(|(point, cpu)| seen.insert(point) && EARLY.contains(cpu));
    let ratios = ratios.filter_map(|(point, cpu)| Some(cpu / times.get(point)?));
    ratios.min_by(f64::total_cmp)
}

/// The circumstances.
#[derive(Debug)]
pub struct Setting {
    /// Names of the two sides.
    pub sides: [String; 2],
    /// What they say they are.
    pub versions: [String; 2],
    /// The system and its machine, as in `aarch64 -M virt`.
    pub machine: String,
    pub cpu: String,
    pub pinned: bool,
    pub runs: usize,
    /// Most memory that each side had, in megabytes.
    pub peaks_mb: [f64; 2],
    pub date: String,
    /// Model of the host's processor and the number of its cores.
    pub host: String,
    /// What the geometric mean is to reach; `None` when two Mimics are compared.
    pub target: Option<f64>,
}

/// Mean of a group's ratios, or of all usual groups': only rows that have one.
pub fn mean(measured: &[Measured], group: Option<Group>) -> Option<f64> {
    let rows = measured.iter().filter(|one| {
        group.is_none_or(|group| one.row.group == group) && (group.is_some() || one.row.group.is_usual())
    });
    let ratios: Vec<f64> = rows.filter_map(|one| one.times()).map(|times| times.median).collect();
    geometric_mean(&ratios)
}

/// The rows in groups, each with its mean; a table of Markdown that can be read as it is.
pub fn table(setting: &Setting, measured: &[Measured]) -> String {
    let mut text = String::new();
    let [first, second] = &setting.sides;
    let pinned = if setting.pinned { ", each pinned to one core" } else { "" };
    // Writing to a string cannot fail.
    let mut line = |words: std::fmt::Arguments| writeln!(text, "{words}").unwrap_or_default();
    line(format_args!(
        "{first} ({}) and {second} ({}): system-{} -cpu {}, medians of {} pairs{pinned}, {}, on {}.",
        setting.versions[0],
        setting.versions[1],
        setting.machine,
        setting.cpu,
        setting.runs,
        setting.date,
        setting.host
    ));
    line(format_args!(
        "CPU seconds, or those of the clock where it says so; how many times faster {first} is (spread of the pairs); how many \
         times slower than the host itself."
    ));
    line(format_args!(""));
    line(format_args!(
        "| {:<32} | {first:>14} | {second:>14} | {:>20} | {:>9} |",
        "workload", "times faster", "to native"
    ));
    line(format_args!("|{:-<34}|{:->16}|{:->16}|{:->22}|{:->11}|", "", ":", ":", ":", ":"));
    for group in Group::ALL {
        let rows: Vec<&Measured> = measured.iter().filter(|one| one.row.group == *group).collect();
        for one in &rows {
            let seconds = |side| one.seconds(side).map_or("-".to_owned(), |seconds| format!("{:.3}", seconds.median));
            let times = match one.times() {
                Some(Spread { low, median, high }) => format!("{median:.2} ({low:.2}-{high:.2})"),
                None => "FAILED".to_owned(),
            };
            let native = one.to_native().map_or(String::new(), |times| format!("{times:.1}"));
            line(format_args!(
                "| {:<32} | {:>14} | {:>14} | {times:>20} | {native:>9} |",
                one.row.name,
                seconds(0),
                seconds(1)
            ));
        }
        if let Some(mean) = mean(measured, Some(*group)) {
            let target = if setting.target.is_some() { format!("to be {:.1}", group.target()) } else { String::new() };
            let name = format!("**{}**", group.about());
            line(format_args!(
                "| {name:<32} | {:>14} | {target:>14} | {:>20} | {:>9} |",
                "",
                format!("**{mean:.2}**"),
                ""
            ));
        }
    }
    if let Some(mean) = mean(measured, None) {
        let target = setting.target.map_or(String::new(), |target| format!("to be {target:.1}"));
        line(format_args!(
            "| {:<32} | {:>14} | {target:>14} | {:>20} | {:>9} |",
            "**geometric mean of all rows**",
            "",
            format!("**{mean:.2}**"),
            ""
        ));
    }
    let slower: Vec<&str> = measured
        .iter()
        .filter(|one| one.times().is_some_and(|times| times.median < 1.0))
        .map(|one| one.row.name)
        .collect();
    line(format_args!(""));
    let [mine, other] = setting.peaks_mb;
    line(format_args!("Peak memory: {first} {mine:.0} MB, {second} {other:.0} MB."));
    match slower.is_empty() {
        true => line(format_args!("No row is slower on {first}.")),
        false => line(format_args!("Slower on {first}: {}.", slower.join(", "))),
    }
    for one in measured {
        if let Some(worst) = one.worst() {
            line(format_args!(
                "{}: at the worst point of the first ten seconds, {first} was {worst:.2} times faster.",
                one.row.name
            ));
        }
    }
    text
}

/// All that was measured.
pub fn json(setting: &Setting, measured: &[Measured]) -> Value {
    let rows: Vec<Value> = measured
        .iter()
        .map(|one| {
            let side = |side: usize| {
                let column = |of: fn(&Cost) -> f64| one.costs[side].iter().map(of).collect::<Vec<f64>>();
                json!({"cpu_s": column(|cost| cost.cpu), "wall_s": column(|cost| cost.wall)})
            };
            json!({
                "name": one.row.name,
                "about": one.row.about,
                "group": one.row.group.name(),
                "size": one.size,
                "first": side(0),
                "second": side(1),
                "native_cpu_s": one.native,
                "times_faster": one.times().map(|times| json!({"low": times.low, "median": times.median, "high": times.high})),
                "times_slower_than_native": one.to_native(),
                "progress": {"worst_times_faster": one.worst(), "first": one.progress[0], "second": one.progress[1]},
                "failures": one.failures,
            })
        })
        .collect();
    let groups: serde_json::Map<String, Value> = Group::ALL
        .iter()
        .filter_map(|group| {
            let mean = mean(measured, Some(*group))?;
            Some((group.name().to_owned(), json!({"times_faster": mean, "target": group.target()})))
        })
        .collect();
    json!({
        "first": setting.sides[0],
        "second": setting.sides[1],
        "versions": setting.versions,
        "machine": setting.machine,
        "cpu": setting.cpu,
        "pinned": setting.pinned,
        "runs": setting.runs,
        "peak_rss_mb": setting.peaks_mb,
        "date": setting.date,
        "host": setting.host,
        "rows": rows,
        "groups": groups,
        "geometric_mean": mean(measured, None),
        "target": setting.target,
    })
}

#[cfg(test)]
pub mod tests {
    use super::super::rows::select;
    use super::*;

    pub fn measured(name: &str, first: &[f64], second: &[f64], native: &[f64]) -> Measured {
        let mut one = Measured::new(select(&[name.to_owned()]).unwrap()[0], 1);
        for (side, values) in [first, second].into_iter().enumerate() {
            values.iter().for_each(|cpu| one.add(side, Cost { cpu: *cpu, wall: *cpu }, Vec::new()));
        }
        one.native = native.to_vec();
        one
    }

    pub fn setting() -> Setting {
        Setting {
            sides: ["mimic".to_owned(), "qemu".to_owned()],
            versions: ["mimic 0.1".to_owned(), "QEMU 10".to_owned()],
            machine: "aarch64 -M virt".to_owned(),
            cpu: "max".to_owned(),
            pinned: false,
            runs: 3,
            peaks_mb: [100.0, 200.0],
            date: "2026-01-02".to_owned(),
            host: "a host".to_owned(),
            target: Some(2.5),
        }
    }

    #[test]
    fn ratios_are_of_medians_and_spreads_of_pairs() {
        let one = measured("fft", &[1.0, 2.0, 3.0], &[8.0, 8.0, 9.0], &[0.5]);
        assert_eq!(one.times(), Some(Spread { low: 3.0, median: 4.0, high: 8.0 }));
        assert_eq!(one.to_native(), Some(4.0));
        assert_eq!(measured("fft", &[1.0], &[2.0], &[]).to_native(), None);
    }

    #[test]
    fn disk_and_network_go_by_the_clock_and_apart() {
        let mut one = measured("net-send", &[], &[], &[]);
        one.add(0, Cost { cpu: 1.0, wall: 2.0 }, Vec::new());
        one.add(1, Cost { cpu: 1.0, wall: 3.0 }, Vec::new());
        assert_eq!(one.times().map(|times| times.median), Some(1.5));
        let rows = [one, measured("fft", &[1.0], &[4.0], &[])];
        assert_eq!((mean(&rows, Some(Group::Io)), mean(&rows, None)), (Some(1.5), Some(4.0)));
    }

    #[test]
    fn a_failed_row_has_no_ratio_and_no_part_in_means() {
        let mut failed = measured("nbody", &[1.0], &[100.0], &[]);
        failed.failures.push("wrong".to_owned());
        let rows = [measured("fft", &[1.0], &[4.0], &[]), measured("coremix", &[4.0], &[4.0], &[]), failed];
        assert_eq!(rows[2].times(), None);
        assert_eq!(mean(&rows, Some(Group::Scalar)).map(f64::round), Some(4.0));
        assert!((mean(&rows, None).unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(mean(&rows, Some(Group::Boot)), None);
        let text = table(&setting(), &rows);
        assert!(text.contains("FAILED") && text.contains("to be 2.5") && text.contains("**2.00**"), "{text}");
        let json = json(&setting(), &rows);
        assert_eq!(json["rows"][2]["failures"][0], "wrong");
        assert_eq!(json["rows"][0]["times_faster"]["median"], 4.0);
    }

    #[test]
    fn progress_is_compared_where_both_were() {
        let progress = |points: &[(&str, f64)]| -> Progress {
            points.iter().map(|(point, cpu)| (point.to_string(), *cpu)).collect()
        };
        let first = progress(&[("a", 0.2), ("b", 2.0), ("c", 3.0), ("d", 1.0), ("late", 100.0), ("only", 50.0)]);
        let second = progress(&[("a", 0.1), ("b", 3.0), ("c", 3.9), ("d", 2.0), ("d", 0.5), ("late", 11.0)]);
        assert_eq!(worst(&first, &second), Some(1.3));
        assert_eq!(worst(&first, &progress(&[("x", 3.0)])), None);
        assert_eq!(measured("fft", &[1.0], &[1.0], &[]).worst(), None);
    }

    #[test]
    fn slower_rows_are_named() {
        let text = table(&setting(), &[measured("fft", &[2.0], &[1.0], &[])]);
        assert!(text.contains("Slower on mimic: fft."), "{text}");
        assert!(table(&setting(), &[measured("fft", &[1.0], &[1.5], &[])]).contains("No row is slower"));
    }
}
