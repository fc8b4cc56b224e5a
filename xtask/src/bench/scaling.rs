//! `cargo xtask bench smp`: how much more two processors do than one. In a machine with two, a program of Debian runs twice, one
//! run after the other and both at once, in turns; the ratio of the times is the result. It says something only where two
//! cores of the host are free: what the host itself reaches, and its load, are printed beside it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;

use super::statistics::spread;
use super::{Options, Side};
use crate::command::{output, step};
use crate::emulator::{Emulator, Stop};
use crate::{fetch, places};

/// How many times more two processors are to do.
const TARGET: f64 = 1.8;
const TIMEOUT: Duration = Duration::from_secs(3600);
const PROMPT: &str = r"root@debian:~# ";
/// Both ways so often in one boot, after a run that nobody counts.
const ROUNDS: usize = 5;

/// What is typed into the shell; prints `scaling: NANOSECONDS NANOSECONDS`, one after the other and both at once.
fn script(scale: f64) -> String {
    format!("{}; poweroff\r", shell(scale))
}

fn shell(scale: f64) -> String {
    let times = (4.0 * scale).ceil().max(1.0);
    format!(
        "f=$(readlink -f /usr/bin/python3); w() {{ for i in $(seq {times}); do xz -3 -T1 -c $f >/dev/null; done; }}; \
         t() {{ date +%s%N; }}; w; for r in $(seq {ROUNDS}); do a=$(t); w; w; b=$(t); w & w & wait; c=$(t); \
         echo scaling: $((b - a)) $((c - b)); done 2>/dev/null"
    )
}

/// Measures all sides and prints a line for each boot.
pub fn run(options: &Options) -> Result<()> {
    let mut all = [Vec::new(), Vec::new()];
    for pair in 1..=options.runs {
        for (side, ratios) in options.sides.iter().zip(&mut all) {
            let mut found = Vec::new();
            step(&format!("bench: smp on {}, run {pair} of {}", side.name, options.runs), || {
                found = boot(options, side)?;
                Ok(())
            })?;
            ratios.extend(found);
            // What the host itself gives just now bounds what a machine on it can.
            let host = self::ratios(&output(Command::new("sh").args(["-c", &shell(options.scale)]))?);
            let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
            let load = load.split_whitespace().next().unwrap_or("unknown");
            println!("bench: smp on {}: {}; host: {}, load {load}", side.name, text(ratios), text(&host));
        }
    }
    println!("\ntwo processors against one, xz, {}; at least {TARGET} on two free cores:", options.system.name);
    for (side, ratios) in options.sides.iter().zip(&all) {
        println!("{:>10}: {}", side.name, text(ratios));
    }
    Ok(())
}

fn text(ratios: &[f64]) -> String {
    spread(ratios).map_or("nothing".into(), |s| format!("{:.2} times ({:.2} to {:.2})", s.median, s.low, s.high))
}

/// One boot; gives how many times faster two at once are than one after the other.
fn boot(options: &Options, side: &Side) -> Result<Vec<f64>> {
    let system = options.system;
    let (name, rootfs) = (format!("debian-12{}", system.suffix), system.rootfs());
    if !fetch::is_there(&rootfs) {
        bail!("`cargo xtask fetch {rootfs}` makes the disk");
    }
    fetch::fetch(&name, &side.program)?;
    let kernel = fetch::kernel(&name);
    let work = places::target().join("bench");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let disk = work.join(format!("scaling{}-{}.img", system.suffix, side.name));
    let original = places::guests().join(rootfs).join("disk.img");
    output(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(original).arg(&disk))?;
    let mut machine = Emulator::new(system, &side.program);
    machine
        .args(["-M", &options.machine, "-cpu", &options.cpu, "-m", "1024", "-smp", "2", "-nographic", "-no-reboot"])
        .args(side.arguments.iter().map(String::as_str))
        .kernel(&kernel.image, &kernel.initrd_modules)
        .append(&format!("console={} quiet root=/dev/vda", system.console))
        .disk(&disk)
        .step(Regex::new(PROMPT)?, &script(options.scale))
        .timeout(TIMEOUT)
        .log(&disk.with_extension("log"));
    let run = machine.run();
    fs::remove_file(&disk).ok();
    let run = run?;
    let ratios = ratios(&run.serial);
    if run.stop != Stop::Exited(0) || ratios.len() != ROUNDS {
        bail!("{} gave {} results and {}: {}", side.name, ratios.len(), run.stop, disk.with_extension("log").display());
    }
    Ok(ratios)
}

fn ratios(serial: &str) -> Vec<f64> {
    let line = |line: &str| {
        // The shell's own marks may stand before it.
        let mut times = line.trim_end().split_once("scaling: ")?.1.split(' ').map(str::parse::<f64>);
        let (one_by_one, at_once) = (times.next()?.ok()?, times.next()?.ok()?);
        Some(one_by_one / at_once)
    };
    serial.lines().filter_map(line).filter(|ratio| ratio.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_read_from_the_console() {
        let serial = "# echo scaling: $((b - a)) $((c - b))\r\n\x1b[?2004lscaling: 3000 1500\r\n[1] done\r\nscaling: 1 0\r\nscaling: 9 10\r\n";
        assert_eq!(ratios(serial), [2.0, 0.9]);
        assert!(script(0.1).contains("seq 1)") && script(2.0).contains("seq 8)"));
    }
}
