//! No warning that QEMU does not print: the same kernel boots on both, and the set of lines that the kernel logged as
//! warnings or worse must not grow. Times, addresses and counts are taken out before comparing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use regex::Regex;

use crate::emulator::{Emulator, Stop};
use crate::fetch;

/// The emulator whose kernel log is the measure.
pub const ORACLE: &str = "qemu-system-aarch64";

/// Kernel log levels up to this are warnings or worse (kernel documentation, "printk basics": KERN_WARNING is 4).
const WARNING: u32 = 4;

/// Compares all CPUs that both emulators have on one kernel.
pub fn compare(kernel: &str, emulator: &Path, work: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut complaints = Vec::new();
    for (cpu, gic) in [("cortex-a57", "2"), ("max", "3")] {
        let machine = format!("virt,gic-version={gic}");
        let log = work.join(format!("warnings_{kernel}_{cpu}"));
        let expected = warnings(kernel, &machine, cpu, Path::new(ORACLE), &log.with_extension("oracle.log"))?;
        let found = warnings(kernel, &machine, cpu, emulator, &log.with_extension("log"))?;
        complaints.extend(
            found
                .into_iter()
                .filter(|(line, _)| !expected.contains_key(line))
                .map(|(_, original)| format!("  {cpu} gicv{gic}: {original}")),
        );
    }
    if !complaints.is_empty() {
        bail!("  the guest warns where it does not under {ORACLE}:\n{}", complaints.join("\n"));
    }
    Ok(start.elapsed())
}

/// Warnings of one boot: the normalised line, and as it was.
fn warnings(kernel: &str, machine: &str, cpu: &str, emulator: &Path, log: &Path) -> Result<BTreeMap<String, String>> {
    let files = fetch::kernel(kernel);
    let mut run = Emulator::new(emulator);
    run.args(["-M", machine, "-cpu", cpu, "-m", "512", "-nographic", "-no-reboot"])
        .kernel(&files.image, &files.initrd_modules)
        .append("console=ttyAMA0 loglevel=8 mimic.test=info")
        .timeout(Duration::from_secs(180))
        .log(log);
    let name = run.name();
    let run = run.run()?;
    if run.stop != Stop::Exited(0) || !run.serial.contains("mimic-guest: end info") {
        bail!("  {name} did not boot {kernel} ({}); console in {}", run.stop, log.display());
    }
    select(&run.serial)
}

/// Warnings in the kernel log that the guest printed in its raw form, `<LEVEL>[time] text`.
fn select(serial: &str) -> Result<BTreeMap<String, String>> {
    let line_form = Regex::new(r"^<(\d+)>\[ *[\d.]+\] ?(.*)$")?;
    let volatile = Regex::new(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\d+")?;
    let raw = serial.split("mimic-guest: begin log").nth(1).unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in raw.lines().map(str::trim_end) {
        let Some(parts) = line_form.captures(line) else { continue };
        // The low three bits are the level, the others the facility.
        if parts[1].parse::<u32>()? & 7 <= WARNING {
            found.insert(volatile.replace_all(&parts[2], "#").into_owned(), parts[2].to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_of_the_raw_log_without_their_numbers() {
        let serial = "[    0.1] 4 earlier\r\n<4>[    0.1] before the log\r\nmimic-guest: begin log\r\n\
            <6>[    0.000000] Booting Linux\r\n<4>[    1.234567] clk: 24000 Hz at 0xdeadbeef\r\n<12>[    2.000000] user warning 7\r\n\
            <3>[    2.5] device ffff800008a0 failed with -22\r\nmimic-guest: end info\r\n";
        let found: Vec<String> = select(serial).unwrap().into_keys().collect();
        assert_eq!(found, ["clk: # Hz at #", "device # failed with -#", "user warning #"]);
    }

    #[test]
    fn the_same_warning_with_other_numbers_is_the_same() {
        let log = |text: &str| select(&format!("mimic-guest: begin log\n<4>[ 1.0] {text}\n")).unwrap();
        assert!(log("bad 12 at 0x1000").keys().eq(log("bad 7 at 0x2f").keys()));
        assert!(!log("bad 12").keys().eq(log("worse 12").keys()));
    }
}
