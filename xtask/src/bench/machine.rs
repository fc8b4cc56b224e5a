//! One run of a program that prints markers, with the CPU time it had used at each.
//!
//! `bench NAME begin`, `bench NAME end CHECKSUM ...` and `bench NAME failed: WHY` on its standard output are looked for,
//! and `bench ready`. Between two markers counts what the process and its threads used. `bench NAME at POINT` says how far
//! a workload is; before `bench ready` any line does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use regex::Regex;
use wait4::Wait4;

/// What a workload used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// User and system time of the process with its threads, in seconds.
    pub cpu: f64,
    /// Seconds that passed.
    pub wall: f64,
}

/// Points on the way through a workload, and the CPU seconds used until then.
pub type Progress = Vec<(String, f64)>;

/// How a workload went.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done { cost: Cost, checksum: String, progress: Progress },
    Failed(String),
}

/// How a whole run went.
#[derive(Debug, Default)]
pub struct Run {
    /// Start of the process until `bench ready`.
    pub ready: Option<(Cost, Progress)>,
    pub outcomes: BTreeMap<String, Outcome>,
    /// Largest resident memory, in bytes.
    pub peak_rss: u64,
    /// The workload that had begun but not ended when the run ended, and why the run ended.
    pub broken: Option<(Option<String>, String)>,
}

/// Longest time between two markers.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs to the end; the console goes to the file `log` too.
pub fn run(command: &mut Command, log: &Path) -> Result<Run> {
    let mut log_file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut events = Events::new(Sample::none());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = child.stdout.take().context("no standard output")?;
    let lines = watch(output, child.id());
    let ended = loop {
        match lines.recv_timeout(PATIENCE) {
            Ok((line, sample)) => {
                // The log is only for people; a full disk must not leave a machine running.
                writeln!(log_file, "{line}").ok();
                events.see(&line, &sample);
            }
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().ok();
                break Some(format!("nothing happened for {} s", PATIENCE.as_secs()));
            }
        }
    };
    let result = child.wait4().with_context(|| format!("cannot wait for {name}"))?;
    let ended = ended.or_else(|| (!result.status.success()).then(|| result.status.to_string()));
    Ok(Run { peak_rss: result.rusage.maxrss, ..events.finish(ended) })
}

/// The lines that a process prints; with each the time and what the process had used when the line was complete.
fn watch(mut output: impl Read + Send + 'static, pid: u32) -> Receiver<(String, Sample)> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut pending = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            pending.extend_from_slice(&buffer[..count]);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send((line, Sample::take(pid))).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// What a process had used at a moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    /// All of it, in clock ticks of 10 ms: coarse, but threads that have ended count.
    process: Option<f64>,
    /// Nanoseconds of each thread that lives.
    threads: BTreeMap<u32, u64>,
}

impl Sample {
    fn take(pid: u32) -> Sample {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            let used = text.split(' ').next().and_then(|used| used.parse().ok());
            if let (Some(used), Some(tid)) = (used, entry.file_name().to_str().and_then(|tid| tid.parse().ok())) {
                threads.insert(tid, used);
            }
        }
        Sample { at: Instant::now(), process: stat.ok().as_deref().and_then(process_seconds), threads }
    }

    /// What was used since an earlier sample.
    fn since(&self, earlier: &Sample) -> Option<Cost> {
        let coarse = self.process? - earlier.process?;
        let fine: u64 = self
            .threads
            .iter()
            .map(|(tid, used)| used.saturating_sub(earlier.threads.get(tid).copied().unwrap_or(0)))
            .sum();
        let wall = self.at.duration_since(earlier.at).as_secs_f64();
        Some(Cost { cpu: refine(coarse, fine as f64 / 1e9), wall })
    }

    /// That of a process which starts now.
    fn none() -> Sample {
        Sample { at: Instant::now(), process: Some(0.0), threads: BTreeMap::new() }
    }
}

/// The finer of two measures of the same time, unless they differ by more than the coarse one's error: then a thread
/// has ended, or the kernel does not count threads.
fn refine(coarse: f64, fine: f64) -> f64 {
    if (coarse - fine).abs() <= 0.03 { fine } else { coarse }
}

/// User and system time with that of waited-for children: fields 14 to 17 of `/proc/PID/stat` (proc(5)), in clock
/// ticks, which Linux fixes at 100 a second for userspace.
fn process_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses; it may hold blanks and parentheses.
    let fields = stat.rsplit_once(')')?.1;
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum::<u64>() as f64 / 100.0)
}

/// Turns lines into outcomes.
struct Events {
    form: Regex,
    stamp: Regex,
    /// The workload that runs, and when it began; at first the start of the machine, which has no name.
    begun: Option<(Option<String>, Sample)>,
    progress: Progress,
    run: Run,
}

impl Events {
    fn new(start: Sample) -> Events {
        Events {
            form: Regex::new(r"bench (\S+) (?:(begin)|at (.*)|end ([0-9a-f]+)(?: \d+)?|failed: (.*))$")
                .expect("a fixed pattern"),
            stamp: Regex::new(r"^\[ *\d+\.\d+\] ").expect("a fixed pattern"),
            begun: Some((None, start)),
            progress: Vec::new(),
            run: Run::default(),
        }
    }

    fn see(&mut self, line: &str, sample: &Sample) {
        if line.ends_with("bench ready") {
            if let Some((None, start)) = self.begun.take() {
                self.run.ready = sample.since(&start).map(|cost| (cost, std::mem::take(&mut self.progress)));
            }
            return;
        }
        let Some(parts) = self.form.captures(line) else {
            if let Some((None, start)) = &self.begun {
                self.progress.extend(point(&self.stamp.replace(line, ""), sample, start));
            }
            return;
        };
        let text = |index| parts.get(index).map(|part| part.as_str().to_owned());
        let Some(name) = text(1) else { return };
        if parts.get(2).is_some() {
            self.progress.clear();
            self.begun = Some((Some(name), sample.clone()));
        } else if let Some(at) = text(3) {
            if let Some((Some(_), start)) = &self.begun {
                self.progress.extend(point(&at, sample, start));
            }
        } else if let Some(checksum) = text(4) {
            let begun = self.begun.take().filter(|(begun, _)| begun.as_ref() == Some(&name));
            let outcome = match begun.and_then(|(_, begun)| sample.since(&begun)) {
                Some(cost) => Outcome::Done { cost, checksum, progress: std::mem::take(&mut self.progress) },
                None => Outcome::Failed("ended without having begun".to_owned()),
            };
            self.run.outcomes.insert(name, outcome);
        } else if let Some(why) = text(5) {
            self.begun = None;
            // The first reason is the best one.
            self.run.outcomes.entry(name).or_insert(Outcome::Failed(why));
        }
    }

    fn finish(mut self, ended: Option<String>) -> Run {
        let begun = self.begun.and_then(|(name, _)| name);
        if ended.is_some() || begun.is_some() {
            self.run.broken = Some((begun, ended.unwrap_or_else(|| "the machine ended".to_owned())));
        }
        self.run
    }
}

/// A point of a workload's progress.
fn point(text: &str, sample: &Sample, start: &Sample) -> Option<(String, f64)> {
    Some((text.to_owned(), sample.since(start)?.cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, process: f64, threads: &[(u32, u64)]) -> Sample {
        Sample { at, process: Some(process), threads: threads.iter().copied().collect() }
    }

    #[test]
    fn fields_follow_the_name_in_parentheses() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 25 25 20 0 3 0";
        assert_eq!(process_seconds(stat), Some(2.5));
        assert_eq!(process_seconds("12 (a) S 1 2"), None);
        assert_eq!(process_seconds(""), None);
    }

    #[test]
    fn threads_refine_and_ended_threads_count() {
        let at = Instant::now();
        let earlier = sample(at, 1.0, &[(1, 1_000_000_000)]);
        let cpu = |later: Sample| later.since(&earlier).unwrap().cpu;
        assert_eq!(cpu(sample(at, 1.5, &[(1, 1_503_000_000)])), 0.503);
        assert_eq!(cpu(sample(at, 1.5, &[(1, 1_403_000_000), (2, 100_000_000)])), 0.503);
        assert_eq!(cpu(sample(at, 1.5, &[(1, 1_100_000_000)])), 0.5);
        assert_eq!(cpu(sample(at, 1.5, &[])), 0.5);
    }

    #[test]
    fn lines_become_outcomes() {
        let start = Instant::now();
        let mut events = Events::new(sample(start, 0.0, &[]));
        let lines: &[(&str, f64)] = &[
            ("[    0.5] a message", 1.0),
            ("bench ready", 2.0),
            ("[    0.7] another message", 2.5),
            ("bench a-b begin", 3.0),
            ("bench a-b at 10", 3.5),
            ("bench a-b end 1f 1234", 4.5),
            ("bench c failed: disk: No such file", 5.0),
            ("bench c failed: status 1", 5.0),
            ("bench d end 5 1", 6.0),
            ("bench e begin", 7.0),
            ("bench e end 77", 8.0),
            ("bench f begin", 9.0),
        ];
        for (line, cpu) in lines {
            events.see(line, &sample(start + Duration::from_secs_f64(2.0 * cpu), *cpu, &[]));
        }
        let run = events.finish(None);
        let done = |cpu, wall, sum: &str, progress: &[(&str, f64)]| {
            let progress = progress.iter().map(|(text, cpu)| (text.to_string(), *cpu)).collect();
            Outcome::Done { cost: Cost { cpu, wall }, checksum: sum.to_owned(), progress }
        };
        assert_eq!(run.ready, Some((Cost { cpu: 2.0, wall: 4.0 }, vec![("a message".to_owned(), 1.0)])));
        assert_eq!(run.outcomes["a-b"], done(1.5, 3.0, "1f", &[("10", 0.5)]));
        assert_eq!(run.outcomes["c"], Outcome::Failed("disk: No such file".to_owned()));
        assert_eq!(run.outcomes["d"], Outcome::Failed("ended without having begun".to_owned()));
        assert_eq!(run.outcomes["e"], done(1.0, 2.0, "77", &[]));
        assert_eq!(run.outcomes.len(), 4);
        assert_eq!(run.broken, Some((Some("f".to_owned()), "the machine ended".to_owned())));
    }

    /// The shell stands in for an emulator.
    #[test]
    fn a_process_is_measured() {
        let log = std::env::temp_dir().join(format!("mimic-bench-{}.log", std::process::id()));
        let script =
            "echo bench spin begin; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo bench spin end a 1";
        let result = run(Command::new("sh").args(["-c", script]), &log).unwrap();
        let Outcome::Done { cost, checksum, .. } = &result.outcomes["spin"] else { panic!("{result:?}") };
        assert!(cost.cpu > 0.0 && cost.wall > 0.0 && checksum == "a", "{cost:?}");
        assert!(result.broken.is_none() && result.peak_rss > 100_000);
        assert!(fs::read_to_string(&log).unwrap().contains("bench spin begin\n"));
        let result = run(Command::new("sh").args(["-c", "echo bench x begin; exit 3"]), &log).unwrap();
        let (row, why) = result.broken.unwrap();
        assert!(row.as_deref() == Some("x") && why.contains('3'), "{why}");
        fs::remove_file(&log).ok();
    }
}
