//! The table of boot tests.

use crate::emulator::Stop;

/// One machine and what must come of it.
pub struct Case {
    pub name: String,
    /// Also part of `cargo xtask test --quick`.
    pub quick: bool,
    /// A fetched kernel.
    pub kernel: &'static str,
    /// Give the kernel compressed with gzip.
    pub gzip: bool,
    pub machine: String,
    pub cpu: &'static str,
    pub memory: &'static str,
    pub initrd: Initrd,
    pub disk: Disk,
    /// Further arguments of the emulator.
    pub arguments: &'static [&'static str],
    /// Of how Mimic runs guests: nothing for another emulator, which then does not run the case.
    pub accel: Option<&'static str>,
    /// The kernel's command line, after the console.
    pub append: String,
    /// Patterns waited for in turn, and what is typed then; see `Emulator::step`.
    pub steps: &'static [(&'static str, &'static str)],
    pub stop: Stop,
    /// Patterns that the console must show, and must not.
    pub expect: &'static [&'static str],
    pub forbid: &'static [&'static str],
    pub timeout_s: u64,
}

#[derive(Clone, Copy)]
pub enum Initrd {
    Busybox,
    Modules,
}

#[derive(Clone, Copy)]
pub enum Disk {
    None,
    /// A copy of the fetched root file system.
    Rootfs,
}

/// No healthy guest ever shows these.
pub const NEVER: &[&str] = &[
    r"Kernel panic",
    r"Internal error",
    r"Unable to handle kernel",
    r"BUG: ",
    r"WARNING: CPU",
    r"rcu: INFO: .* stall",
    r"mimic-guest: cannot",
    r"panicked at",
];

const KERNELS: &[&str] = &["debian-12", "debian-13"];

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for kernel in KERNELS {
        for cpu in ["cortex-a57", "max"] {
            for gic in ["2", "3"] {
                let quick =
                    (*kernel == "debian-12") == (gic == "2") && cpu == "max" || cpu == "cortex-a57" && gic == "2";
                cases.push(Case { quick, ..poweroff(kernel, cpu, gic) });
            }
        }
    }
    cases.push(poweroff("debian-12", "cortex-a53", "2"));
    cases.push(poweroff("debian-13", "cortex-a72", "3"));
    cases.push(Case { name: "gzip image debian-12".into(), gzip: true, ..poweroff("debian-12", "cortex-a57", "2") });
    cases.push(Case {
        name: "large memory debian-13".into(),
        memory: "4096",
        expect: &[r"Memory: \d+K/4194304K available"],
        ..poweroff("debian-13", "max", "3")
    });
    for kernel in KERNELS {
        cases.push(Case {
            name: format!("no-reboot {kernel}"),
            append: "mimic.test=reboot".into(),
            arguments: &["-no-reboot"],
            expect: &[USERSPACE, r"reboot: Restarting system"],
            ..poweroff(kernel, "cortex-a57", "2")
        });
        cases.push(Case {
            name: format!("reboot twice {kernel}"),
            append: "mimic.test=reboot".into(),
            steps: &[(USERSPACE, ""), (USERSPACE, ""), (USERSPACE, "")],
            stop: Stop::Done,
            expect: &[r"reboot: Restarting system"],
            timeout_s: 360,
            ..poweroff(kernel, "max", "2")
        });
    }
    // Tiers change and code goes all the time: see docs/testing.md.
    for (cpu, stress) in [("max", "tcg,stress=1"), ("cortex-a57", "tcg,stress=2")] {
        cases.push(Case {
            name: format!("stress debian-12 {cpu}"),
            accel: Some(stress),
            append: "quiet mimic.test=shell".into(),
            steps: &[(PROMPT, "echo $((6 * 7))-$(uname -m)\r"), (r"42-aarch64[\s\S]*# ", "poweroff -f\r")],
            // A tenth of the usual speed, or less.
            timeout_s: 600,
            ..poweroff("debian-12", cpu, "3")
        });
    }
    cases.push(Case {
        name: "little code memory debian-13".into(),
        accel: Some("tcg,tb-size=1"),
        arguments: &["-d", "stats"],
        expect: &[
            USERSPACE,
            r"reboot: Power down",
            // What one tier has of the MiB was in use, and not more than all of it; it was full more than once.
            r" (5\d{5}|[6-9]\d{5}|10[0-3]\d{4}|104[0-7]\d{3}|1048[0-4]\d\d|10485[0-6]\d|104857[0-6]) code memory: bytes in use at most",
            r" 1048576 code memory: bytes in all",
            r" ([2-9]|\d\d+) flushes for lack of memory",
        ],
        timeout_s: 360,
        ..poweroff("debian-13", "max", "2")
    });
    cases.push(Case {
        name: "shell debian-12".into(),
        quick: true,
        append: "quiet".into(),
        // The typed line is echoed, so the answer must be something the line does not contain.
        steps: &[
            (PROMPT, "echo $((6 * 7))-$(uname -m)\r"),
            (r"42-aarch64[\s\S]*# ", "sleep 1000 & jobs\r"),
            // The word comes while the foreground sleep runs: a key typed before it starts would go to the shell.
            (r"Running +sleep 1000[\s\S]*# ", "kill %1; (sleep 1; echo asleep-$((1 + 1))) & sleep 1001\r"),
            (r"asleep-2\r\n", "\x03"),
            (r"\^C[\s\S]*# ", "echo status-$?\r"),
            (r"status-130[\s\S]*# ", "poweroff -f\r"),
        ],
        expect: &[USERSPACE],
        forbid: &[r"can't access tty", r"reboot: System halted"],
        ..poweroff("debian-12", "cortex-a57", "2")
    });
    cases.push(Case {
        name: "ctrl-a x leaves debian-12".into(),
        append: "quiet".into(),
        steps: &[(PROMPT, "\x01x")],
        expect: &[USERSPACE],
        forbid: &[r"reboot: "],
        ..poweroff("debian-12", "cortex-a57", "2")
    });
    for kernel in KERNELS {
        cases.push(Case {
            name: format!("systemd login {kernel}"),
            initrd: Initrd::Modules,
            disk: Disk::Rootfs,
            memory: "1024",
            append: "root=/dev/vda".into(),
            steps: &[
                (r"root@debian:~# ", "apt-get --version | head -1; systemctl is-system-running --wait\r"),
                (r"apt 2[\s\S]*running\r[\s\S]*root@debian:~# ", "python3 -c 'print(6 * 7, \"from python\")'\r"),
                (
                    r"42 from python[\s\S]*root@debian:~# ",
                    "echo 'int main(void){return 42;}' | gcc -O2 -xc - && ./a.out; echo gcc-$?\r",
                ),
                (r"gcc-42[\s\S]*root@debian:~# ", "poweroff\r"),
            ],
            expect: &[r"reboot: Power down"],
            forbid: &[r"EXT4-fs error", r"I/O error", r"\[FAILED\]"],
            timeout_s: 900,
            ..poweroff(kernel, "max", "3")
        });
    }
    cases
}

const USERSPACE: &str = r"mimic-guest: userspace reached";
const PROMPT: &str = r"/root # ";

/// Boots to the first process and powers off: what the other cases vary.
fn poweroff(kernel: &'static str, cpu: &'static str, gic: &str) -> Case {
    Case {
        name: format!("power-off {kernel} {cpu} gicv{gic}"),
        quick: false,
        kernel,
        gzip: false,
        machine: format!("virt,gic-version={gic}"),
        cpu,
        memory: "512",
        initrd: Initrd::Busybox,
        disk: Disk::None,
        arguments: &[],
        accel: None,
        append: "mimic.test=poweroff".into(),
        steps: &[],
        stop: Stop::Exited(0),
        expect: &[USERSPACE, r"reboot: Power down"],
        forbid: &[],
        timeout_s: 180,
    }
}
