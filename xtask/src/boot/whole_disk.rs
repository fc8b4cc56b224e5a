//! Disks as a vendor delivers them: firmware starts the disk's own loader, and the system on it has a network. Each row boots a qcow2
//! copy, looks around on the serial console, comes in by ssh, installs packages from a repository on the host, moves data both
//! ways and powers off.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

use super::cases::DAMAGE;
use super::guest_network::Visitor;
use super::verdict;
use crate::command::output;
use crate::emulator::{Emulator, Stop};
use crate::fetch::host::{self, Need};
use crate::fetch::{self, mirror};
use crate::http::Server;
use crate::noise::noise;
use crate::places;
use crate::ports::free_port;
use crate::system::{AARCH64, System, X86_64, is_mimic};

/// One disk on one firmware.
#[derive(Debug)]
pub struct WholeDisk {
    pub name: &'static str,
    system: &'static System,
    firmware: Firmware,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Firmware {
    Bios,
    Uefi,
}

impl Firmware {
    fn name(self) -> &'static str {
        match self {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        }
    }
}

pub static DISKS: &[WholeDisk] = &[
    WholeDisk { name: "whole disk arm64 uefi", system: &AARCH64, firmware: Firmware::Uefi },
    WholeDisk { name: "whole disk amd64 bios", system: &X86_64, firmware: Firmware::Bios },
    WholeDisk { name: "whole disk amd64 uefi", system: &X86_64, firmware: Firmware::Uefi },
];

/// The fetched repository that the guests install from.
pub const MIRROR: &str = "mirror";
/// The user network's name of the host.
const HOST: &str = "10.0.2.2";
const LOGIN: &str = r"root@debian:~# ";
/// All services run, the network card has its address, and which firmware started it.
const LOOK_AROUND: &str = "systemctl is-system-running --wait; \
    until ip -4 -o address show scope global | grep -o 'inet 10.0.2[^ ]*'; do sleep 1; done; \
    [ -d /sys/firmware/efi ] && echo started-$((6 * 7))-uefi || echo started-$((6 * 7))-bios\r";
const TIMEOUT: Duration = Duration::from_secs(1800);
/// From the prompt on the console until somebody answers on the network.
const SSH_PATIENCE: Duration = Duration::from_secs(300);
/// How much is sent to the guest and fetched again, in bytes.
const LUGGAGE: usize = 8 << 20;

impl WholeDisk {
    /// Why it cannot run here.
    pub fn obstacle(&self, emulator: &Path) -> Option<String> {
        let run = || Command::new(emulator).args(["run", "--help"]).output().is_ok_and(|out| out.status.success());
        if !self.system.runs_on(emulator) {
            Some(format!("{} is of another system", emulator.display()))
        } else if !fetch::is_there(&self.system.networked()) {
            Some(format!("`cargo xtask fetch {}` makes its disk", self.system.networked()))
        } else if is_mimic(emulator) && !run() {
            Some(format!("{} has no command `run`", emulator.display()))
        } else {
            None
        }
    }

    /// The firmware's file on the host, for emulators that do not look for it.
    fn firmware(&self) -> Option<Need> {
        match (self.firmware, self.system.efi.1) {
            (Firmware::Bios, _) => None,
            (Firmware::Uefi, "AA64") => host::AAVMF.first().copied(),
            (Firmware::Uefi, _) => host::OVMF.first().copied(),
        }
    }

    /// The words behind the emulator's name. Mimic finds out by itself what the disk needs, except which of two firmwares is meant.
    fn arguments(&self, emulator: &Path, disk: &Path, port: u16) -> Vec<String> {
        let disk = disk.display();
        let line = if is_mimic(emulator) {
            format!("run {disk} --firmware {} --port {port}:22", self.firmware.name())
        } else {
            let System { machine, plain_cpu, .. } = self.system;
            let firmware = self.firmware().map(|(file, _)| format!("-bios {file} ")).unwrap_or_default();
            format!(
                "-M {machine} -cpu {plain_cpu} -m 1024 {firmware}-drive if=none,id=disk0,format=qcow2,file={disk} \
                 -device virtio-blk-pci,drive=disk0 -netdev user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22 \
                 -device virtio-net-pci,netdev=net0,romfile= -display none -serial mon:stdio"
            )
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// One boot, from the firmware to the end of the emulator.
    pub fn run(&self, emulator: &Path, work: &Path) -> Result<Duration> {
        host::ensure(host::VISIT)?;
        host::ensure(&self.firmware().map_or(Vec::new(), |need| vec![need]))?;
        let file = work.join(self.name.replace(' ', "_"));
        let (disk, log) = (file.with_extension("qcow2"), file.with_extension("log"));
        // What holds the words of a command line together would need quotes.
        ensure!(!disk.to_string_lossy().contains([' ', ',']), "the path {} has a blank or a comma", disk.display());
        let guest = places::guests().join(self.system.networked());
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(guest.join("disk.img")).arg(&disk);
        let result = output(&mut convert).and_then(|_| self.boot(emulator, &disk, &guest.join(fetch::SSH_KEY), &log));
        fs::remove_file(&disk).ok();
        result
    }

    fn boot(&self, emulator: &Path, disk: &Path, key: &Path, log: &Path) -> Result<Duration> {
        let server = Server::start(&places::guests().join(MIRROR))?;
        let port = free_port()?;
        let mut machine = Emulator::bare(self.system, &self.system.program(emulator));
        machine.args(self.arguments(emulator, disk, port)).timeout(TIMEOUT).log(log);
        let kind = self.firmware.name();
        // The typed line is echoed, so the answers must be something the line does not contain.
        machine.step(Regex::new(LOGIN)?, LOOK_AROUND);
        let seen = format!(r"running\r[\s\S]*inet 10\.0\.2\.15/24[\s\S]*started-42-{kind}\r[\s\S]*{LOGIN}");
        machine.step(Regex::new(&seen)?, "");
        let visit = Visit { visitor: Visitor { port, key: key.to_owned() }, system: self.system, server };
        machine.host(Box::new(move || visit.pay()));
        machine.step(Regex::new("")?, "poweroff\r");
        let run = machine.run()?;
        let wall = verdict(&machine, run, log, Stop::Exited(0), &[r"GNU GRUB", r"reboot: Power down"], DAMAGE)?;
        output(Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(disk)).context("the disk is damaged")?;
        Ok(wall)
    }
}

/// What is done on the host while the guest runs.
struct Visit {
    visitor: Visitor,
    system: &'static System,
    /// Serves the repository.
    server: Server,
}

impl Visit {
    fn pay(&self) -> Result<()> {
        self.visitor.wait(SSH_PATIENCE)?;
        self.install()?;
        self.carry()
    }

    /// Installs the repository's packages and starts one of them.
    fn install(&self) -> Result<()> {
        let source =
            format!("deb [trusted=yes] http://{HOST}:{} {} {}", self.server.port(), mirror::SUITE, mirror::COMPONENT);
        // Nothing but that repository; apt's own warnings are no failures, its errors are.
        let script = format!(
            "set -e; echo '{source}' >/etc/apt/sources.list; apt-get update -q --error-on=any >&2; \
             DEBIAN_FRONTEND=noninteractive apt-get install -y -q {} >&2; hello; tree --noreport /etc/apt/apt.conf.d",
            mirror::PACKAGES.join(" ")
        );
        let text = String::from_utf8_lossy(&self.visitor.run(&script, &[])?).into_owned();
        ensure!(text.starts_with("Hello, world!\n/etc/apt/apt.conf.d\n"), "the installed programs print {text:?}");
        let served = self.server.served();
        for package in mirror::PACKAGES {
            let (start, end) = (format!("/pool/{package}_"), format!("_{}.deb", self.system.arch));
            if !served.iter().any(|path| path.starts_with(&start) && path.ends_with(&end)) {
                bail!("nobody asked for {start}*{end} but for {}", served.join(", "));
            }
        }
        Ok(())
    }

    /// Sends data to the guest's disk and fetches it again.
    fn carry(&self) -> Result<()> {
        let luggage = noise(LUGGAGE);
        self.visitor.run("cat >/root/luggage && sync", &luggage)?;
        let back = self.visitor.run("cat /root/luggage", &[])?;
        ensure!(
            back == luggage,
            "of {} bytes sent to the guest and back {} came, not all as they were",
            LUGGAGE,
            back.len()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mimic_is_told_little_and_qemu_all() {
        let disk = Path::new("/w/disk.qcow2");
        let line = |row: &WholeDisk, emulator: &str| row.arguments(Path::new(emulator), disk, 2222).join(" ");
        assert_eq!(line(&DISKS[2], "/x/mimic"), "run /w/disk.qcow2 --firmware uefi --port 2222:22");
        let qemu = DISKS.iter().map(|row| line(row, "qemu")).collect::<Vec<_>>();
        assert!(qemu[0].starts_with("-M virt ") && qemu[0].contains(" -bios /usr/share/qemu-efi-aarch64/"), "{qemu:?}");
        assert!(qemu[1].starts_with("-M pc ") && !qemu[1].contains("-bios"), "{qemu:?}");
        assert!(
            qemu[2].contains(" -bios /usr/share/ovmf/") && qemu[2].contains("-:22 -device virtio-net-pci"),
            "{qemu:?}"
        );
    }

    #[test]
    fn names_say_the_image_and_the_firmware() {
        for disk in DISKS {
            assert_eq!(disk.name, format!("whole disk {} {}", disk.system.arch, disk.firmware.name()));
            assert!(fetch::is_image(&disk.system.networked()), "{}", disk.system.networked());
        }
        assert!(fetch::expand("disks").contains(&DISKS[0].system.networked().as_str()));
    }

    #[test]
    fn the_echo_of_the_line_is_not_its_answer() {
        let answer = Regex::new(r"inet 10\.0\.2\.15/24|started-42").unwrap();
        assert!(!answer.is_match(LOOK_AROUND));
    }
}
