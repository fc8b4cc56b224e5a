//! The table of boot tests.

use super::screen::Golden;
use crate::emulator::Stop;
use crate::system::{AARCH64, I386, System, X86_64};

/// One machine and what must come of it.
pub struct Case {
    pub name: String,
    /// Also part of `cargo xtask test --quick`.
    pub quick: bool,
    /// Takes so long that only a pattern which says `slow` runs it.
    pub slow: bool,
    pub system: &'static System,
    pub software: Software,
    pub machine: String,
    pub cpu: &'static str,
    pub memory: &'static str,
    pub disk: Disk,
    /// Fetched guests that the arguments name.
    pub needs: &'static [&'static str],
    /// Further arguments of the emulator; `{guests}` stands for the directory of the fetched guests.
    pub arguments: &'static [&'static str],
    /// Of how Mimic runs guests: goes with `only_mimic`.
    pub accel: Option<&'static str>,
    /// Another emulator is not to run the case.
    pub only_mimic: bool,
    /// The kernel's command line, after the console.
    pub append: String,
    /// Patterns waited for in turn, and what is typed then; see `Emulator::step`.
    pub steps: &'static [(&'static str, &'static str)],
    /// What the screen must show in the end.
    pub screen: Option<Golden>,
    pub stop: Stop,
    /// Patterns that the console must show, and must not.
    pub expect: &'static [&'static str],
    pub forbid: &'static [&'static str],
    pub timeout_s: u64,
}

/// What starts.
#[derive(Clone, Copy)]
pub enum Software {
    /// A fetched kernel, which the emulator loads, with the serial console; perhaps compressed with gzip.
    Kernel { name: &'static str, initrd: Initrd, gzip: bool },
    /// The machine's firmware, or what the arguments say, with a screen; serial port and monitor share the terminal.
    Firmware,
    /// The emulator itself is to refuse.
    Nothing,
}

#[derive(Clone, Copy)]
pub enum Initrd {
    Busybox,
    Modules,
    /// With modules for NVMe, SCSI, shared folders and the memory balloon.
    Devices,
}

#[derive(Clone, Copy)]
pub enum Disk {
    None,
    /// A copy of the fetched root file system, on virtio.
    Rootfs,
    /// A copy of the disk that boots by itself, as the machine's first.
    Bootable,
    /// Nothing but zeros, as the machine's first.
    Blank,
    /// 64 MiB of zeros, behind the `-device` that is named.
    BlankOn(&'static str),
}

impl Disk {
    /// The fetched image that it is a copy of.
    pub fn image(self, system: &System) -> Option<String> {
        match self {
            Disk::None | Disk::Blank | Disk::BlankOn(_) => None,
            Disk::Rootfs => Some(system.rootfs()),
            Disk::Bootable => Some(system.bootable()),
        }
    }
}

impl Case {
    /// The fetched guests that it needs.
    pub fn artefacts(&self) -> Vec<String> {
        let kernel = match self.software {
            Software::Kernel { name, .. } => Some(name),
            Software::Firmware | Software::Nothing => None,
        };
        let named = kernel.into_iter().chain(self.needs.iter().copied()).map(str::to_owned);
        named.chain(self.disk.image(self.system)).collect()
    }
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

/// All cases.
pub fn all() -> Vec<Case> {
    let again = pc_firmware().into_iter().filter(|case| !case.slow).map(interpreted);
    let cases = [arm(), pc(), devices(), pc_firmware(), pc_refusals()].into_iter().flatten();
    cases.chain(again).collect()
}

const USERSPACE: &str = r"mimic-guest: userspace reached";
const PROMPT: &str = r"/root # ";

/// A kernel that boots to the first process and powers off: what most cases vary.
fn poweroff(system: &'static System, kernel: &'static str, machine: &str, cpu: &'static str) -> Case {
    Case {
        name: format!("power-off {kernel} {machine} {cpu}"),
        quick: false,
        slow: false,
        system,
        software: Software::Kernel { name: kernel, initrd: Initrd::Busybox, gzip: false },
        machine: machine.to_owned(),
        cpu,
        memory: "512",
        disk: Disk::None,
        needs: &[],
        arguments: &[],
        accel: None,
        only_mimic: false,
        append: "mimic.test=poweroff".into(),
        steps: &[],
        screen: None,
        stop: Stop::Exited(0),
        expect: &[USERSPACE, r"reboot: Power down"],
        forbid: &[],
        timeout_s: 180,
    }
}

/// Four processors, all of which come up, and go down with the machine.
fn several_cpus(case: Case) -> Case {
    Case {
        name: format!("{} smp 4", case.name),
        arguments: &["-smp", "4"],
        expect: &[r"Brought up 1 node, 4 CPUs", USERSPACE, r"reboot: Power down"],
        forbid: &[r"\bBUG:", r"detected stalls"],
        ..case
    }
}

/// The same in turns on one thread.
fn on_one_thread(case: Case) -> Case {
    Case {
        name: format!("{} thread=single", case.name),
        accel: Some("tcg,thread=single"),
        only_mimic: true,
        timeout_s: 2 * case.timeout_s,
        ..case
    }
}

/// A reboot that ends the machine, as the command line asks.
fn no_reboot(case: Case) -> Case {
    Case {
        append: "mimic.test=reboot".into(),
        arguments: &["-no-reboot"],
        expect: &[USERSPACE, r"reboot: Restarting system"],
        ..case
    }
}

/// A machine that comes up again after each reboot.
fn reboot_twice(case: Case) -> Case {
    Case {
        append: "mimic.test=reboot".into(),
        steps: &[(USERSPACE, ""), (USERSPACE, ""), (USERSPACE, "")],
        stop: Stop::Done,
        expect: &[r"reboot: Restarting system"],
        timeout_s: 360,
        ..case
    }
}

/// Tiers change and code goes all the time: see docs/testing.md. The answer is the one of the case's own architecture.
fn stress(accel: &'static str, steps: &'static [(&'static str, &'static str)], case: Case) -> Case {
    Case {
        accel: Some(accel),
        only_mimic: true,
        append: "quiet mimic.test=shell".into(),
        steps,
        // A tenth of the usual speed, or less.
        timeout_s: 600,
        ..case
    }
}

/// So little memory for code that it is full more than once.
fn little_code_memory(case: Case) -> Case {
    Case {
        accel: Some("tcg,tb-size=1"),
        only_mimic: true,
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
        ..case
    }
}

/// Job control and interrupts by hand. The first step's answer tells the architecture.
fn shell(steps: &'static [(&'static str, &'static str)], case: Case) -> Case {
    Case {
        append: "quiet".into(),
        steps,
        expect: &[USERSPACE],
        forbid: &[r"can't access tty", r"reboot: System halted"],
        ..case
    }
}

/// The steps of a shell on an architecture. The typed line is echoed, so the answer must be something the line does not contain.
macro_rules! shell_steps {
    ($arch:literal) => {
        &[
            (PROMPT, "echo $((6 * 7))-$(uname -m)\r"),
            (concat!("42-", $arch, r"[\s\S]*# "), "sleep 1000 & jobs\r"),
            // The word comes while the foreground sleep runs: a key typed before it starts would go to the shell.
            (r"Running +sleep 1000[\s\S]*# ", "kill %1; (sleep 1; echo asleep-$((1 + 1))) & sleep 1001\r"),
            (r"asleep-2\r\n", "\x03"),
            // The echo of the key gets lost if the shell turns echoing off before the kernel comes to it.
            (r"\r\n[\s\S]*# ", "echo status-$?\r"),
            (r"status-130[\s\S]*# ", "poweroff -f\r"),
        ]
    };
}

/// A short look at the shell.
macro_rules! prompt_steps {
    ($arch:literal) => {
        &[(PROMPT, "echo $((6 * 7))-$(uname -m)\r"), (concat!("42-", $arch, r"[\s\S]*# "), "poweroff -f\r")]
    };
}

fn ctrl_a_x(case: Case) -> Case {
    Case { append: "quiet".into(), steps: &[(PROMPT, "\x01x")], expect: &[USERSPACE], forbid: &[r"reboot: "], ..case }
}

/// Debian's root file system: systemd, Python, the compiler.
fn systemd_login(kernel: &'static str, case: Case) -> Case {
    Case {
        software: Software::Kernel { name: kernel, initrd: Initrd::Modules, gzip: false },
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
        forbid: DAMAGE,
        timeout_s: 900,
        ..case
    }
}

/// Debian's installer, to its first question.
fn installer(case: Case) -> Case {
    Case {
        append: String::new(),
        steps: &[(r"Choose language|Select a language", "")],
        stop: Stop::Done,
        expect: &[],
        timeout_s: 900,
        ..case
    }
}

/// A guest with a disk never shows these either.
pub const DAMAGE: &[&str] = &[r"EXT4-fs error", r"I/O error", r"\[FAILED\]"];

/// Looks for the disk's interrupt and for all functions.
macro_rules! pci_steps {
    ($interrupt:literal) => {
        &[
            (PROMPT, "dd if=/dev/vda bs=64k of=/dev/null; cat /proc/interrupts; echo $(ls /sys/bus/pci/devices)\r"),
            (concat!($interrupt, r"[\s\S]*0000:00:00.0 0000:00:01.0 0000:00:02.0\r[\s\S]*# "), "poweroff -f\r"),
        ]
    };
}

/// edk2 from Debian's package, and a function on PCI.
const UEFI: &[&str] = &["-bios", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "-device", "virtio-rng-pci"];

/// Looks for how the kernel learned of the machine, and for the function's interrupt.
macro_rules! uefi_steps {
    ($described:literal) => {
        &[
            (PROMPT, concat!("dmesg | grep '", $described, "'; grep virtio0-input /proc/interrupts\r")),
            (concat!(r"\] ", $described, r"[\s\S]*MSI[\s\S]*# "), "poweroff -f\r"),
        ]
    };
}

/// The ARM board `virt`.
fn arm() -> Vec<Case> {
    const KERNELS: &[&str] = &["debian-12", "debian-13"];
    let poweroff = |kernel, cpu, gic: &str| Case {
        name: format!("power-off {kernel} {cpu} gicv{gic}"),
        ..poweroff(&AARCH64, kernel, &format!("virt,gic-version={gic}"), cpu)
    };
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
    cases.push(Case {
        name: "gzip image debian-12".into(),
        software: Software::Kernel { name: "debian-12", initrd: Initrd::Busybox, gzip: true },
        ..poweroff("debian-12", "cortex-a57", "2")
    });
    cases.push(Case {
        name: "large memory debian-13".into(),
        memory: "4096",
        expect: &[r"Memory: \d+K/4194304K available"],
        ..poweroff("debian-13", "max", "3")
    });
    for (kernel, cpu, gic) in [("debian-12", "cortex-a57", "2"), ("debian-13", "max", "3")] {
        cases.push(several_cpus(poweroff(kernel, cpu, gic)));
    }
    cases.push(on_one_thread(several_cpus(poweroff("debian-12", "max", "3"))));
    let twice = reboot_twice(poweroff("debian-12", "max", "3"));
    cases.push(Case { name: "reboot twice debian-12 smp 4".into(), arguments: &["-smp", "4"], ..twice });
    for kernel in KERNELS {
        let once = no_reboot(poweroff(kernel, "cortex-a57", "2"));
        cases.push(Case { name: format!("no-reboot {kernel}"), ..once });
        cases.push(Case { name: format!("reboot twice {kernel}"), ..reboot_twice(poweroff(kernel, "max", "2")) });
    }
    for (cpu, accel) in [("max", "tcg,stress=1"), ("cortex-a57", "tcg,stress=2")] {
        let stress = stress(accel, prompt_steps!("aarch64"), poweroff("debian-12", cpu, "3"));
        cases.push(Case { name: format!("stress debian-12 {cpu}"), ..stress });
    }
    cases.push(Case {
        name: "little code memory debian-13".into(),
        ..little_code_memory(poweroff("debian-13", "max", "2"))
    });
    cases.push(Case {
        name: "shell debian-12".into(),
        quick: true,
        ..shell(shell_steps!("aarch64"), poweroff("debian-12", "cortex-a57", "2"))
    });
    cases.push(Case { name: "ctrl-a x leaves debian-12".into(), ..ctrl_a_x(poweroff("debian-12", "cortex-a57", "2")) });
    // With GICv3 an ITS, with GICv2 a GICv2m; without either the pins.
    for (kernel, gic, steps) in [
        ("debian-12", "2", pci_steps!(r"MSI \d+ Edge +virtio\d-req") as &[_]),
        ("debian-13", "3", pci_steps!(r"ITS-PCI-MSIX-0000:00:0\d.0 +1 Edge +virtio\d-req")),
        ("debian-13", "3,its=off,highmem=off", pci_steps!(r"GICv3 +\d+ Level +virtio\d")),
    ] {
        let base = poweroff(kernel, "max", gic);
        cases.push(Case {
            name: format!("pci {kernel} gicv{gic}"),
            quick: gic == "3",
            software: Software::Kernel { name: kernel, initrd: Initrd::Modules, gzip: false },
            disk: Disk::Blank,
            arguments: &["-device", "virtio-rng-pci"],
            append: "mimic.test=shell".into(),
            steps,
            ..base
        });
    }
    for (kernel, cpu, gic, steps) in [
        ("debian-12", "cortex-a57", "2", uefi_steps!("ACPI: Using GIC for interrupt routing") as &[_]),
        ("debian-13", "max", "3", uefi_steps!("ACPI: Using GIC for interrupt routing")),
        ("debian-12", "max", "3,acpi=off", uefi_steps!("Machine model: linux,dummy-virt")),
    ] {
        let base = poweroff(kernel, cpu, gic);
        cases.push(Case {
            name: format!("uefi {kernel} {cpu} gicv{gic}"),
            quick: gic == "3",
            software: Software::Kernel { name: kernel, initrd: Initrd::Modules, gzip: false },
            arguments: UEFI,
            append: "mimic.test=shell".into(),
            expect: &[r"UEFI firmware", r"efi: EFI v2", r"reboot: Power down"],
            steps,
            ..base
        });
    }
    for kernel in KERNELS {
        let login = systemd_login(kernel, poweroff(kernel, "max", "3"));
        cases.push(Case { name: format!("systemd login {kernel}"), ..login });
    }
    cases.push(Case {
        name: "installer debian-12 arm64".into(),
        software: Software::Nothing,
        memory: "1024",
        needs: &["netboot-arm64"],
        arguments: &[
            "-nographic",
            "-kernel",
            "{guests}/netboot-arm64/linux",
            "-initrd",
            "{guests}/netboot-arm64/initrd.gz",
            "-append",
            "console=ttyAMA0 priority=low TERM=vt102",
        ],
        ..installer(poweroff("debian-12", "cortex-a57", "2"))
    });
    cases
}

/// Nothing but serial port, timers and interrupt controllers; it restarts, but nothing in it switches it off. With ACPI, Debian's
/// kernel finds no clock in QEMU's.
const MICROVM: &str = "microvm,acpi=off";

/// A machine's name without its properties.
fn short(machine: &str) -> &str {
    machine.split(',').next().unwrap_or_default()
}

/// PCs whose kernel the emulator loads.
fn pc() -> Vec<Case> {
    const KERNELS: &[&str] = &["debian-12-amd64", "debian-13-amd64"];
    const I686: &str = "debian-12-i386";
    let amd64 = |kernel, machine, cpu| poweroff(&X86_64, kernel, machine, cpu);
    let mut cases = Vec::new();
    for kernel in KERNELS {
        for machine in [MICROVM, "pc"] {
            let quick = *kernel == "debian-12-amd64";
            let once = no_reboot(amd64(kernel, machine, "max"));
            cases.push(Case { name: format!("no-reboot {kernel} {}", short(machine)), quick, ..once });
        }
        let twice = reboot_twice(amd64(kernel, "pc", "max"));
        cases.push(Case { name: format!("reboot twice {kernel} pc"), ..twice });
        cases.push(amd64(kernel, "pc", "max"));
    }
    let twice = reboot_twice(amd64("debian-12-amd64", MICROVM, "max"));
    cases.push(Case { name: "reboot twice debian-12-amd64 microvm".into(), ..twice });
    cases.push(amd64("debian-12-amd64", "pc", "qemu64"));
    cases.push(amd64("debian-13-amd64", "pc", "Haswell"));
    // A kernel for i686 in a machine with and without 64-bit mode.
    cases.push(poweroff(&I386, I686, "pc", "pentium3"));
    cases.push(Case { name: format!("no-reboot {I686} microvm"), ..no_reboot(poweroff(&I386, I686, MICROVM, "max")) });
    cases.push(poweroff(&X86_64, I686, "pc", "max"));
    for kernel in KERNELS {
        cases.push(several_cpus(amd64(kernel, "pc", "max")));
    }
    cases.push(several_cpus(poweroff(&X86_64, I686, "pc", "pentium3")));
    cases.push(on_one_thread(several_cpus(amd64("debian-12-amd64", "pc", "max"))));
    let twice = reboot_twice(amd64("debian-12-amd64", "pc", "max"));
    cases.push(Case { name: "reboot twice debian-12-amd64 pc smp 4".into(), arguments: &["-smp", "4"], ..twice });
    // By the MP tables, for there are none of ACPI. Only Mimic has them.
    cases.push(Case {
        append: "mimic.test=reboot".into(),
        arguments: &["-smp", "4", "-no-reboot"],
        expect: &[r"Brought up 1 node, 4 CPUs", USERSPACE, r"reboot: Restarting system"],
        only_mimic: true,
        ..several_cpus(amd64("debian-12-amd64", MICROVM, "max"))
    });
    cases.push(Case {
        expect: &[
            USERSPACE,
            r"reboot: Power down",
            r"Brought up 1 node, 4 CPUs",
            r"PCI: (MMCONFIG|ECAM) .* at \[mem 0xb0000000-0xbfffffff\]",
            r"ACPI: PCI: Interrupt link LNKE configured",
        ],
        ..several_cpus(amd64("debian-12-amd64", "q35", "max"))
    });
    // Below and above the hole for PCI.
    cases.push(Case {
        name: "large memory debian-13-amd64 pc".into(),
        memory: "4096",
        expect: &[r"Memory: \d+K/419\d{4}K available"],
        ..amd64("debian-13-amd64", "pc", "max")
    });
    // How a kernel restarts that knows no other way: three faults in a row.
    for machine in [MICROVM, "pc"] {
        let once = no_reboot(amd64("debian-12-amd64", machine, "max"));
        cases.push(Case {
            name: format!("triple fault debian-12-amd64 {}", short(machine)),
            append: "mimic.test=reboot reboot=t".into(),
            ..once
        });
    }
    cases.push(Case {
        name: "interpreter debian-12-amd64 microvm".into(),
        accel: Some("tcg,tier=0"),
        only_mimic: true,
        timeout_s: 900,
        ..no_reboot(amd64("debian-12-amd64", MICROVM, "max"))
    });
    // One system under stress is what the short run has time for.
    let stress_of = |cpu, accel| Case {
        name: format!("stress debian-12-amd64 {cpu}"),
        timeout_s: 1200,
        ..stress(accel, prompt_steps!("x86_64"), amd64("debian-12-amd64", "pc", cpu))
    };
    cases.push(stress_of("max", "tcg,stress=1"));
    cases.push(slow(stress_of("qemu64", "tcg,stress=2")));
    let stress = stress("tcg,stress=3", prompt_steps!("i686"), poweroff(&I386, I686, "pc", "pentium3"));
    cases.push(slow(Case { name: format!("stress {I686} pentium3"), timeout_s: 1200, ..stress }));
    cases.push(Case {
        name: "little code memory debian-13-amd64".into(),
        ..little_code_memory(amd64("debian-13-amd64", "pc", "max"))
    });
    let shell_of = |machine, cpu| shell(shell_steps!("x86_64"), amd64("debian-12-amd64", machine, cpu));
    cases.push(Case { name: "shell debian-12-amd64 pc".into(), quick: true, ..shell_of("pc", "max") });
    for machine in [MICROVM, "pc"] {
        let leave = ctrl_a_x(amd64("debian-12-amd64", machine, "max"));
        cases.push(Case { name: format!("ctrl-a x leaves debian-12-amd64 {}", short(machine)), ..leave });
    }
    let shell = shell(shell_steps!("i686"), poweroff(&I386, I686, "pc", "pentium3"));
    cases.push(Case { name: format!("shell {I686} pc pentium3"), ..shell });
    for (name, case) in [
        (I686, poweroff(&I386, I686, "pc", "pentium3")),
        ("debian-12-amd64", amd64("debian-12-amd64", "pc", "max")),
        ("debian-13-amd64", amd64("debian-13-amd64", "pc", "max")),
    ] {
        cases.push(interpreted(Case { name: format!("{name} pc"), ..case }));
    }
    for kernel in KERNELS {
        let login = systemd_login(kernel, amd64(kernel, "pc", "max"));
        cases.push(Case { name: format!("systemd login {kernel}"), ..login });
    }
    cases
}

/// Steps that write to a disk and read it again, past the cache. The answer is something that the typed line does not contain.
macro_rules! disk_steps {
    ($disk:literal) => {
        &[
            (PROMPT, "dd if=/dev/urandom of=/tmp/a bs=1M count=8 2>/dev/null; echo ready-$((2 + 3))\r"),
            (
                r"ready-5\r[\s\S]*# ",
                concat!(
                    "dd if=/tmp/a of=/dev/",
                    $disk,
                    " bs=64k seek=37 conv=fsync && echo 3 >/proc/sys/vm/drop_caches\r"
                ),
            ),
            (
                r"128\+0 records out[\s\S]*# ",
                concat!(
                    "dd if=/dev/",
                    $disk,
                    " bs=4k skip=592 count=2048 2>/dev/null | cmp - /tmp/a && ",
                    "dd if=/dev/",
                    $disk,
                    " bs=1M skip=32 count=8 2>/dev/null | tr -d '\\0' | wc -c && ",
                    "echo same-$((6 * 7))-$(cat /sys/block/",
                    $disk,
                    "/size)\r"
                ),
            ),
            (r"\n0\r\nsame-42-131072\r[\s\S]*# ", "poweroff -f\r"),
        ]
    };
}

/// Disks, a CD and a folder of the host, each behind a device that needs a module.
fn devices() -> Vec<Case> {
    const KERNEL: &str = "debian-13-amd64";
    let on = |name: &str| Case {
        name: format!("{name} {KERNEL}"),
        software: Software::Kernel { name: KERNEL, initrd: Initrd::Devices, gzip: false },
        append: "quiet".into(),
        expect: &[USERSPACE],
        forbid: &[r"I/O error", r"timeout", r"reset controller"],
        ..poweroff(&X86_64, KERNEL, "pc", "max")
    };
    vec![
        Case {
            disk: Disk::BlankOn("nvme,serial=S1"),
            arguments: &["-smp", "2"],
            steps: disk_steps!("nvme0n1"),
            ..on("nvme")
        },
        Case {
            disk: Disk::BlankOn("scsi-hd,bus=scsi0.0"),
            arguments: &["-device", "virtio-scsi-pci,id=scsi0"],
            steps: disk_steps!("sda"),
            ..on("virtio-scsi")
        },
        Case {
            needs: &["grub-rescue"],
            arguments: &[
                "-drive",
                "if=none,id=cd,format=raw,readonly=on,file={guests}/grub-rescue/cdrom.iso",
                "-device",
                "virtio-scsi-pci",
                "-device",
                "scsi-cd,drive=cd",
            ],
            steps: &[
                (PROMPT, "mount -t iso9660 /dev/sr0 /tmp && ls -d /tmp/boot/grub && echo mounted-$((6 * 7))\r"),
                (r"\n/tmp/boot/grub\r\nmounted-42\r[\s\S]*# ", "poweroff -f\r"),
            ],
            ..on("scsi-cd")
        },
        Case {
            needs: &["busybox-amd64"],
            arguments: &[
                "-fsdev",
                "local,id=f,path={guests}/busybox-amd64,security_model=none,readonly=on",
                "-device",
                "virtio-9p-pci,fsdev=f,mount_tag=host",
            ],
            steps: &[
                (PROMPT, "mount -t 9p -o trans=virtio,version=9p2000.L,ro host /tmp && ls /tmp\r"),
                (r"busybox +initrd\.cpio +stamp\r[\s\S]*# ", "cmp /tmp/busybox /bin/busybox && echo same-$((6 * 7))\r"),
                (r"\nsame-42\r[\s\S]*# ", "poweroff -f\r"),
            ],
            ..on("virtio-9p")
        },
        Case {
            arguments: &["-device", "virtio-balloon-pci"],
            steps: &[
                (PROMPT, "\x01cballoon 256\n\x01c"),
                (
                    r"balloon 256",
                    "until [ $(grep MemTotal /proc/meminfo | tr -dc 0-9) -lt 262144 ]; do sleep 1; done; echo left-$((6 * 7))\r",
                ),
                (r"\nleft-42\r[\s\S]*# ", "\x01cinfo balloon\n"),
                (r"balloon: actual=256", "quit\n"),
            ],
            ..on("virtio-balloon")
        },
    ]
}

/// The same, for those who ask for it.
fn slow(case: Case) -> Case {
    Case { name: format!("slow {}", case.name), slow: true, ..case }
}

/// The same by the interpreter alone.
fn interpreted(case: Case) -> Case {
    slow(Case {
        name: format!("interpreter {}", case.name),
        accel: Some("tcg,tier=0"),
        only_mimic: true,
        timeout_s: 10 * case.timeout_s,
        ..case
    })
}

/// PCs that start with their BIOS.
fn pc_firmware() -> Vec<Case> {
    let firmware = |name: &str| Case {
        name: name.to_owned(),
        software: Software::Firmware,
        append: String::new(),
        expect: &[],
        ..poweroff(&X86_64, "debian-12-amd64", "pc", "max")
    };
    let screen = |name, tolerance| Case {
        screen: Some(Golden { name, tolerance }),
        stop: Stop::Done,
        ..firmware(&format!("screen {name}"))
    };
    let disk = |name, steps| Case {
        disk: Disk::Bootable,
        memory: "1024",
        steps,
        expect: &[r"reboot: Power down"],
        forbid: DAMAGE,
        timeout_s: 900,
        ..firmware(name)
    };
    const LOGIN: &str = r"root@debian:~# ";
    // A variable is there after a reset: written to flash, read from it.
    let uefi = |machine: &str| Case {
        machine: machine.into(),
        arguments: &[
            "-drive",
            "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
            "-drive",
            "if=pflash,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd",
        ],
        steps: &[
            (r"Shell> ", "setvar Kept -guid 6d696d69-6300-4000-8000-000000000001 -nv -bs =\"mimic\"\r"),
            (r"Shell> ", "reset\r"),
            (r"Shell> ", "setvar Kept -guid 6d696d69-6300-4000-8000-000000000001\r"),
            (r"6D 69 6D 69 63", ""),
        ],
        stop: Stop::Done,
        ..firmware(&format!("uefi variables {machine}"))
    };
    vec![
        disk(
            "disk poweroff",
            &[
                (r"GNU GRUB +version [\s\S]*Debian", "\r"),
                (LOGIN, "systemctl is-system-running --wait; findmnt -no SOURCE /\r"),
                (r"running\r[\s\S]*/dev/sda1\r[\s\S]*root@debian:~# ", "poweroff\r"),
            ],
        ),
        // The power key: ACPI's interrupt, the kernel's button, systemd.
        disk("disk system_powerdown", &[(LOGIN, "\x01csystem_powerdown\n\x01c")]),
        Case {
            machine: "q35".into(),
            expect: &[r"ahci 0000:00:1f\.2: AHCI 0001\.0000", r"reboot: Power down"],
            ..disk(
                "disk system_powerdown q35",
                &[(LOGIN, "dmesg | grep ahci\r"), (LOGIN, "\x01csystem_powerdown\n\x01c")],
            )
        },
        uefi("pc"),
        uefi("q35"),
        Case {
            name: "installer debian-12".into(),
            // With less it begins with a warning.
            memory: "1024",
            needs: &["netboot-amd64"],
            arguments: &[
                "-kernel",
                "{guests}/netboot-amd64/linux",
                "-initrd",
                "{guests}/netboot-amd64/initrd.gz",
                "-append",
                "console=ttyS0 priority=low TERM=vt102",
            ],
            ..installer(firmware(""))
        },
        // A letter is 0.02 per cent of the screen, a line of text about one. Versions of BIOS and GRUB may differ a little.
        Case {
            needs: &["grub-rescue"],
            arguments: &["-cdrom", "{guests}/grub-rescue/cdrom.iso"],
            ..screen("grub-rescue-cd", 0.002)
        },
        Case {
            name: "screen grub-rescue-cd q35".into(),
            machine: "q35".into(),
            needs: &["grub-rescue"],
            arguments: &["-cdrom", "{guests}/grub-rescue/cdrom.iso"],
            ..screen("grub-rescue-cd", 0.002)
        },
        Case {
            needs: &["grub-rescue"],
            arguments: &["-fda", "{guests}/grub-rescue/floppy.img"],
            ..screen("grub-rescue-floppy", 0.002)
        },
        // Clock, speeds, progress and the test's name are some lines of text.
        Case {
            needs: &["memtest"],
            memory: "64",
            arguments: &["-cdrom", "{guests}/memtest/memtest.iso"],
            ..screen("memtest", 0.03)
        },
        slow(Case {
            needs: &["memtest"],
            memory: "64",
            arguments: &["-kernel", "{guests}/memtest/memtest.bin", "-append", "console=ttyS0,115200 nosmp"],
            steps: &[(r"Status: Pass[^\n]*Pass: +1 +Errors: 0 ", "")],
            stop: Stop::Done,
            forbid: &[r"Errors: +[1-9]"],
            // Four minutes, most of which it waits for bits to fade.
            timeout_s: 1800,
            ..firmware("memtest full pass 64 MiB")
        }),
        Case { disk: Disk::Blank, ..screen("no-boot-sector", 0.002) },
    ]
}

/// What Mimic refuses, with one line that names the object, the reason and the next step.
fn pc_refusals() -> Vec<Case> {
    let refusal = |name: &str, machine| Case {
        name: format!("refusal: {name}"),
        software: Software::Nothing,
        only_mimic: true,
        stop: Stop::Exited(1),
        timeout_s: 20,
        ..poweroff(&X86_64, "debian-12-amd64", machine, "max")
    };
    let no_long_mode = |machine| Case {
        needs: &["debian-12-amd64"],
        cpu: "pentium3",
        arguments: &["-kernel", "{guests}/debian-12-amd64/vmlinuz"],
        expect: &[r"\Amimic: [^\n]*vmlinuz[^\n]*64-bit[^\n]*pentium3[^\n]*\n\z"],
        ..refusal(&format!("a 64-bit kernel without long mode, {machine}"), machine)
    };
    vec![
        Case {
            arguments: &["-bios", "no-such-bios.bin"],
            expect: &[r"\Amimic: [^\n]*no-such-bios\.bin[^\n]*\n\z"],
            ..refusal("unknown firmware", "pc")
        },
        Case {
            needs: &["debian-12"],
            arguments: &["-kernel", "{guests}/debian-12/vmlinuz"],
            expect: &[r"\Amimic: kernel `[^`\n]*debian-12/vmlinuz` is [^\n]*; this machine boots [^\n]*\n\z"],
            ..refusal("a kernel for ARM", "pc")
        },
        no_long_mode("pc"),
        no_long_mode("microvm"),
        Case {
            arguments: &["-hda", "no-such-disk.img"],
            expect: &[r"\Amimic: [^\n]*no-such-disk\.img[^\n]*\n\z"],
            ..refusal("a disk that is not there", "pc")
        },
        Case {
            arguments: &["-cdrom", "no-such-cd.iso"],
            expect: &[r"\Amimic: [^\n]*no-such-cd\.iso[^\n]*\n\z"],
            ..refusal("a CD that is not there", "pc")
        },
    ]
}
