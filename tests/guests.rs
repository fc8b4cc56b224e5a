//! Bare-metal guests in the built program, judged by what they print and how the program ends: `tests/guest-images` says
//! what each of them checks. Every image runs on every CPU model family, interrupt controller and tier.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const CPUS: [&str; 2] = ["cortex-a57", "max"];
const GICS: [&str; 2] = ["2", "3"];
/// The interpreter alone, everything compiled at once, and what users get.
const TIERS: [&str; 4] = ["tcg,tier=0", "tcg,tier=1", "tcg,tier=2", "tcg"];
/// The same under stress, and with little room for code; with one interrupt controller for each CPU.
const STRESS: [&str; 6] = [
    "tcg,tier=0,stress=1",
    "tcg,tier=1,stress=2",
    "tcg,tier=2,stress=3",
    "tcg,stress=4",
    "tcg,tb-size=1",
    "tcg,tb-size=1,stress=5",
];
/// An image takes seconds; only one that hangs takes this long, whatever else the host has to do.
const TIMEOUT: Duration = Duration::from_secs(600);

/// What `faults` may print on `max`. Deviation, see `Mode::bti`: until a guest uses a guarded page, indirect branches
/// leave PSTATE.BTYPE alone, so that SPSR_EL1.BTYPE is 0 where an exception comes from the very target of a BR; to be
/// exact, every block would have to clear it and none could be reached without a look at it.
const BTYPE_DEVIATION: &[&str] = &[
    "FAIL br: instruction abort, translation",
    "FAIL br: instruction abort, permission",
    "FAIL br: instruction abort, access flag",
    "FAIL br: PC alignment fault",
];

/// The program while it runs; never outlives the test.
struct Machine {
    child: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run printed, and its exit status unless the run was ended from here.
struct Run {
    lines: Vec<String>,
    status: Option<i32>,
}

/// Runs an image until it ends or has printed `enough` lines.
///
/// # Errors
/// It took too long; with what it printed.
fn run(image: &str, arguments: &[&str], enough: usize) -> Result<Run, String> {
    run_and_look(image, arguments, enough, |_| ())
}

/// The same; `look` is given the id of the process when it has printed enough.
fn run_and_look(image: &str, arguments: &[&str], enough: usize, look: impl FnOnce(u32)) -> Result<Run, String> {
    let kernel = format!("{}/tests/guest-images/{image}.bin", env!("CARGO_MANIFEST_DIR"));
    let child = Command::new(env!("CARGO_BIN_EXE_mimic"))
        .args(["system-aarch64", "-m", "128", "-nographic", "-kernel", &kernel])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    let mut machine = Machine { child };
    let (tell, told) = channel();
    let outputs: [Box<dyn std::io::Read + Send>; 2] =
        [Box::new(machine.child.stdout.take().expect("piped")), Box::new(machine.child.stderr.take().expect("piped"))];
    for output in outputs {
        let tell = tell.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() && tell.send(line).is_err() {
                    break;
                }
            }
        });
    }
    drop(tell);
    let deadline = Instant::now() + TIMEOUT;
    let mut lines = Vec::new();
    loop {
        if lines.len() >= enough {
            look(machine.child.id());
            return Ok(Run { lines, status: None });
        }
        match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(format!("no end within {TIMEOUT:?}\n{}", tail(&lines))),
        }
    }
    // Both outputs are closed: it is ending.
    let status = machine.child.wait().map_err(|error| error.to_string())?;
    Ok(Run { lines, status: status.code() })
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(8)..].iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "    | {line}");
        text
    })
}

/// What is wrong with a run of a test image, if anything.
fn judge(run: &Run, deviations: &[&str]) -> Result<(), String> {
    let is_known = |line: &str| deviations.contains(&line);
    let bad: Vec<&String> = run
        .lines
        .iter()
        .filter(|line| line.starts_with("FAIL ") || line.starts_with("SKIP"))
        .filter(|line| !is_known(line))
        .collect();
    let known = run.lines.iter().filter(|line| is_known(line)).count();
    if known != deviations.len() {
        return Err(format!("{known} of {} known deviations seen: strike the others off", deviations.len()));
    }
    let end = if deviations.is_empty() { "PASS" } else { "FAIL" };
    if !bad.is_empty() || run.status != Some(0) || run.lines.last().is_none_or(|line| line != end) {
        return Err(format!(
            "{} bad lines {bad:#?}, exit status {:?}, end:\n{}",
            bad.len(),
            run.status,
            tail(&run.lines)
        ));
    }
    Ok(())
}

/// Runs `check` for every machine, a few at once, and reports all that fail.
fn on_every_machine(check: impl Fn(&str, &[&str]) -> Result<(), String> + Sync) {
    let mut machines = Vec::new();
    for (n, cpu) in CPUS.into_iter().enumerate() {
        for (m, gic) in GICS.into_iter().enumerate() {
            for tier in TIERS.into_iter().chain(STRESS.into_iter().filter(|_| n == m)) {
                machines.push((cpu, format!("virt,gic-version={gic}"), tier));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                while let Some((cpu, machine, tier)) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = check(cpu, &["-M", machine, "-cpu", cpu, "-accel", tier]) {
                        let _ = writeln!(failures.lock().unwrap(), "{machine} {cpu} {tier}: {why}");
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{failures}");
}

fn passes(image: &str) {
    on_every_machine(|_, arguments| judge(&run(image, arguments, usize::MAX)?, &[]));
}

#[test]
fn hello() {
    on_every_machine(|_, arguments| {
        let run = run("hello", arguments, usize::MAX)?;
        match run.lines == ["hello"] && run.status == Some(0) {
            true => Ok(()),
            false => Err(format!("exit status {:?}, printed:\n{}", run.status, tail(&run.lines))),
        }
    });
}

#[test]
fn reset_starts_again_and_ends_with_no_reboot() {
    on_every_machine(|_, arguments| {
        let again = run("reset", arguments, 5)?;
        if again.status.is_some() || again.lines.iter().any(|line| line != "resetting") {
            return Err(format!("exit status {:?}, printed:\n{}", again.status, tail(&again.lines)));
        }
        let once = run("reset", &[arguments, &["-no-reboot"]].concat(), 5)?;
        match once.lines == ["resetting"] && once.status == Some(0) {
            true => Ok(()),
            false => Err(format!("-no-reboot: exit status {:?}, printed:\n{}", once.status, tail(&once.lines))),
        }
    });
}

#[test]
fn timer_interrupts_hot_loops() {
    passes("timer_loop");
}

#[test]
fn wfi_loses_no_wakeup() {
    passes("wfi");
}

#[test]
fn self_modifying_code() {
    passes("selfmod");
}

/// What `smp` says of the order in which processors came to a counter.
fn order_of_processors(accel: &str, cpu: &str) -> String {
    let run = run("smp", &["-smp", "4", "-cpu", cpu, "-accel", accel], usize::MAX).unwrap();
    judge(&run, &[]).unwrap_or_else(|why| panic!("{accel} {cpu}: {why}"));
    run.lines.into_iter().find(|line| line.starts_with("order ")).unwrap_or_else(|| panic!("{accel} {cpu}: no order"))
}

#[test]
fn several_processors() {
    for accel in TIERS.into_iter().chain(STRESS) {
        for cpu in CPUS {
            order_of_processors(accel, cpu);
        }
    }
}

#[test]
fn processors_that_take_turns_meet_in_the_same_order_in_every_run() {
    let mut seen = Vec::new();
    for accel in TIERS.into_iter().chain(STRESS).chain(["tcg", "tcg"]) {
        seen.push(order_of_processors(&format!("{accel},thread=single"), "max"));
    }
    assert!(seen.iter().all(|order| *order == seen[0]), "{seen:#?}");
    // They do take turns.
    let changes = seen[0].as_bytes().windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 30, "{}", seen[0]);
}

#[test]
fn many_blocks() {
    passes("manyblocks");
}

/// Bytes of the mappings of code memory that may be executed, and of what of them is in memory, as the kernel says.
fn mapped_code(pid: u32) -> (u64, u64) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process is alive");
    let (mut size, mut resident, mut inside) = (0, 0, false);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !first.ends_with(':') {
            inside = line.contains("mimic-code") && second.contains('x');
        } else if inside {
            let bytes = || second.parse::<u64>().expect("KiB") << 10;
            match first {
                "Size:" => size += bytes(),
                "Rss:" => resident += bytes(),
                _ => {}
            }
        }
    }
    (size, resident)
}

/// The guest's code takes several MiB of host code on every tier.
#[test]
fn code_memory_is_capped() {
    const CAP: u64 = 1 << 20;
    for (tier, bounds) in [
        ("tcg,tb-size=1", CAP / 2..CAP + 1),
        ("tcg,tb-size=1,stress=7", CAP / 8..CAP + 1),
        ("tcg,tier=1,tb-size=1", CAP / 2..CAP + 1),
        ("tcg,tier=2,tb-size=1", CAP / 2..CAP + 1),
        ("tcg,tier=2,tb-size=1,stress=8", CAP / 8..CAP + 1),
        // Without the cap it does take more.
        ("tcg,tb-size=64", 2 * CAP..64 * CAP),
    ] {
        let run = run("manyblocks", &["-accel", tier, "-d", "stats"], usize::MAX).unwrap();
        assert_eq!(run.status, Some(0), "{tier}: {}", tail(&run.lines));
        assert!(run.lines.iter().any(|line| line.ends_with("PASS")), "{tier}: {}", tail(&run.lines));
        let counter = |name: &str| {
            // The log and the guest's console may share a line.
            let value = run.lines.iter().find_map(|line| line.strip_suffix(name)?.split_whitespace().next_back());
            value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("{tier}: no `{name}`"))
        };
        let most = counter(" code memory: bytes in use at most");
        assert!(bounds.contains(&most), "{tier}: {most} bytes at most");
        assert!(counter(" code memory: bytes in use") <= most, "{tier}");
        assert_eq!(counter(" code memory: bytes in all") <= CAP, most <= CAP, "{tier}");
        assert_eq!(counter(" flushes for lack of memory") > 0, most <= CAP, "{tier}");
    }
    // It stays, stopped, when the guest powers off: what does the host see?
    let mut seen = (0, 0);
    let arguments = ["-accel", "tcg,tb-size=1", "-no-shutdown"];
    let run = run_and_look("manyblocks", &arguments, 3, |pid| seen = mapped_code(pid)).unwrap();
    assert_eq!(run.lines.last().map(String::as_str), Some("PASS"), "{}", tail(&run.lines));
    assert_eq!(seen.0, CAP, "bytes mapped");
    assert!((CAP / 4..=CAP).contains(&seen.1), "{} bytes in memory", seen.1);
}

#[test]
fn faults_are_exact() {
    on_every_machine(|cpu, arguments| {
        judge(&run("faults", arguments, usize::MAX)?, if cpu == "max" { BTYPE_DEVIATION } else { &[] })
    });
}
