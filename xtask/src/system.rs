//! The systems whose guests are fetched, booted and measured. What differs between them in names stands here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kind of machine, and the guests that go with it.
#[derive(Debug, PartialEq, Eq)]
pub struct System {
    /// As in `mimic system-NAME` and `qemu-system-NAME`.
    pub name: &'static str,
    /// What Debian calls the architecture.
    pub arch: &'static str,
    /// Behind the names of its kernels and of busybox below `target/guests`.
    pub suffix: &'static str,
    /// The machine that has a disk and all else that Debian asks for.
    pub machine: &'static str,
    /// A model of the CPU that costs an emulator little.
    pub plain_cpu: &'static str,
    /// The kernel's name of the first serial port.
    pub console: &'static str,
    /// How that machine's virtio devices end: `virtio-blk-TRANSPORT`.
    pub transport: &'static str,
    /// The Debian package that has QEMU for it.
    pub qemu_package: &'static str,
    /// GNU's name of it, where Debian's libraries and compilers have theirs.
    pub triplet: &'static str,
    /// What GRUB calls it under UEFI, and the end of its name in UEFI's path of removable media (UEFI 2.10, section 3.5.1.1).
    pub efi: (&'static str, &'static str),
}

pub static AARCH64: System = System {
    name: "aarch64",
    arch: "arm64",
    suffix: "",
    machine: "virt",
    plain_cpu: "cortex-a57",
    console: "ttyAMA0",
    transport: "device",
    qemu_package: "qemu-system-arm",
    triplet: "aarch64-linux-gnu",
    efi: ("arm64-efi", "AA64"),
};

pub static X86_64: System = System {
    name: "x86_64",
    arch: "amd64",
    suffix: "-amd64",
    machine: "pc",
    plain_cpu: "qemu64",
    console: "ttyS0",
    transport: "pci",
    qemu_package: "qemu-system-x86",
    triplet: "x86_64-linux-gnu",
    efi: ("x86_64-efi", "X64"),
};

pub static I386: System = System {
    name: "i386",
    arch: "i386",
    suffix: "-i386",
    plain_cpu: "qemu32",
    triplet: "i386-linux-gnu",
    efi: ("i386-efi", "IA32"),
    ..X86_64
};

pub static SYSTEMS: &[&System] = &[&AARCH64, &X86_64, &I386];

/// Stands for each system's own QEMU where a program is asked for.
pub const QEMU: &str = "qemu";

impl System {
    /// QEMU's program for it.
    pub fn qemu(&self) -> String {
        format!("qemu-system-{}", self.name)
    }

    /// Name of its root file system below `target/guests`.
    pub fn rootfs(&self) -> String {
        format!("rootfs-{}", self.arch)
    }

    /// Name of its disk that boots by itself below `target/guests`.
    pub fn bootable(&self) -> String {
        format!("disk-{}", self.arch)
    }

    /// Name of its disk with a GPT and a network below `target/guests`.
    pub fn networked(&self) -> String {
        format!("disk-{}-uefi", self.arch)
    }

    /// The program that [`QEMU`] stands for, or the one that is named.
    pub fn program(&self, program: &Path) -> PathBuf {
        if program == Path::new(QEMU) { self.qemu().into() } else { program.to_owned() }
    }

    /// Whether a program emulates this system: Mimic emulates all, QEMU has a program for each.
    pub fn runs_on(&self, program: &Path) -> bool {
        let other = |system: &&System| **system != *self && program.file_name() == Some(OsStr::new(&system.qemu()));
        !SYSTEMS.iter().any(other)
    }

    /// The words of a command line that starts a program for this system: Mimic wants the system's name first.
    pub fn start(&self, program: &Path) -> (PathBuf, Vec<String>) {
        let name = if is_mimic(program) { vec![format!("system-{}", self.name)] } else { Vec::new() };
        (self.program(program), name)
    }

    /// The same, as a command.
    pub fn command(&self, program: &Path) -> Command {
        let (program, arguments) = self.start(program);
        let mut command = Command::new(program);
        command.args(arguments);
        command
    }
}

/// Whether the program is Mimic.
pub fn is_mimic(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == "mimic")
}

/// The system of that name, which may be Debian's name of the architecture.
pub fn find(name: &str) -> Result<&'static System, String> {
    let found = SYSTEMS.iter().find(|system| name == system.name || name == system.arch);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = SYSTEMS.iter().map(|system| system.name).collect();
        format!("no system is called `{name}`; there are: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mimic_gets_the_name_of_the_system() {
        let check = |system: &System, program: &str, expect: &[&str]| {
            let command = system.command(Path::new(program));
            let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
            assert_eq!(words, expect, "{program}");
        };
        check(&AARCH64, "/x/mimic", &["/x/mimic", "system-aarch64"]);
        check(&I386, "/x/mimic", &["/x/mimic", "system-i386"]);
        check(&X86_64, "qemu", &["qemu-system-x86_64"]);
        check(&X86_64, "/y/qemu-system-x86_64", &["/y/qemu-system-x86_64"]);
    }

    #[test]
    fn a_qemu_runs_its_own_system() {
        for system in SYSTEMS {
            assert!(system.runs_on(Path::new("target/release/mimic")) && system.runs_on(Path::new(QEMU)));
            assert!(system.runs_on(Path::new(&format!("/usr/bin/{}", system.qemu()))));
        }
        assert!(!X86_64.runs_on(Path::new("qemu-system-aarch64")) && !AARCH64.runs_on(Path::new("qemu-system-i386")));
    }

    #[test]
    fn found_by_either_name() {
        assert_eq!(find("amd64"), Ok(&X86_64));
        assert_eq!(find("aarch64"), Ok(&AARCH64));
        let error = find("vax").unwrap_err();
        assert!(error.contains("`vax`") && error.contains("x86_64"), "{error}");
    }
}
