//! No warning that QEMU does not print: the same kernel boots on both, and the set of lines that the kernel logged as
//! warnings or worse must not grow. Times, addresses and counts are taken out before comparing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use regex::Regex;

use crate::emulator::{Emulator, Stop};
use crate::fetch;
use crate::system::{AARCH64, QEMU, System, X86_64};

/// Kernel log levels up to this are warnings or worse (kernel documentation, "printk basics": KERN_WARNING is 4).
const WARNING: u32 = 4;

/// Warnings that come and go with what else the host runs, under either emulator: the start of lines. A kernel times a
/// thousand reads of a port and more against the 8254, and gives up when one of them took much longer than the others.
const BUSY_HOST: &[&str] = &["tsc: Unable to calibrate against PIT"];

/// A kernel whose log is compared.
pub struct Comparison {
    pub system: &'static System,
    pub kernel: &'static str,
    /// Also part of `cargo xtask test --quick`.
    pub quick: bool,
    /// Machines and CPUs that both emulators have.
    machines: &'static [(&'static str, &'static str)],
}

const VIRT: &[(&str, &str)] = &[("virt,gic-version=2", "cortex-a57"), ("virt,gic-version=3", "max")];

const PC: &[(&str, &str)] = &[("pc", "qemu64"), ("pc", "max")];

pub const COMPARISONS: &[Comparison] = &[
    Comparison { system: &AARCH64, kernel: "debian-12", quick: true, machines: VIRT },
    Comparison { system: &AARCH64, kernel: "debian-13", quick: false, machines: VIRT },
    Comparison { system: &X86_64, kernel: "debian-12-amd64", quick: true, machines: PC },
    Comparison { system: &X86_64, kernel: "debian-13-amd64", quick: false, machines: PC },
];

impl Comparison {
    pub fn name(&self) -> String {
        format!("warnings {}", self.kernel)
    }

    /// Compares all of the machines.
    pub fn run(&self, emulator: &Path, work: &Path) -> Result<Duration> {
        let start = Instant::now();
        let mut complaints = Vec::new();
        for (machine, cpu) in self.machines {
            let log = work.join(format!("warnings_{}_{machine}_{cpu}", self.kernel).replace(',', "_"));
            let expected = self.warnings(machine, cpu, Path::new(QEMU), &log.with_extension("oracle.log"))?;
            let found = self.warnings(machine, cpu, emulator, &log.with_extension("log"))?;
            complaints.extend(
                found
                    .into_iter()
                    .filter(|(line, _)| !expected.contains_key(line))
                    .map(|(_, original)| format!("  {machine} {cpu}: {original}")),
            );
        }
        if !complaints.is_empty() {
            bail!("  the guest warns where it does not under {}:\n{}", self.system.qemu(), complaints.join("\n"));
        }
        Ok(start.elapsed())
    }

    /// Warnings of one boot: the normalised line, and as it was.
    fn warnings(&self, machine: &str, cpu: &str, emulator: &Path, log: &Path) -> Result<BTreeMap<String, String>> {
        let files = fetch::kernel(self.kernel);
        let mut run = Emulator::new(self.system, emulator);
        run.args(["-M", machine, "-cpu", cpu, "-m", "512", "-nographic", "-no-reboot"])
            .kernel(&files.image, &files.initrd_modules)
            .append(&format!("console={} loglevel=8 mimic.test=info", self.system.console))
            .timeout(Duration::from_secs(180))
            .log(log);
        let name = run.name();
        let run = run.run()?;
        if run.stop != Stop::Exited(0) || !run.serial.contains("mimic-guest: end info") {
            bail!("  {name} did not boot {} ({}); console in {}", self.kernel, run.stop, log.display());
        }
        select(&run.serial)
    }
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
        if parts[1].parse::<u32>()? & 7 <= WARNING && !BUSY_HOST.iter().any(|busy| parts[2].starts_with(busy)) {
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
    fn a_busy_host_is_not_the_emulators_fault() {
        let log = "mimic-guest: begin log\n<4>[ 0.04] tsc: Unable to calibrate against PIT\n<4>[ 0.05] tsc: unstable\n";
        assert!(select(log).unwrap().into_keys().eq(["tsc: unstable"]));
    }

    #[test]
    fn the_same_warning_with_other_numbers_is_the_same() {
        let log = |text: &str| select(&format!("mimic-guest: begin log\n<4>[ 1.0] {text}\n")).unwrap();
        assert!(log("bad 12 at 0x1000").keys().eq(log("bad 7 at 0x2f").keys()));
        assert!(!log("bad 12").keys().eq(log("worse 12").keys()));
    }
}
