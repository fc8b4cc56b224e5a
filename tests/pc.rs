//! PCs in the built program: SeaBIOS starts `tests/guest-images/bootsector.bin` from every kind of drive, keys reach it,
//! and its ways to end the machine do. Skipped where SeaBIOS is not installed (Debian: `seabios`).

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Firmware takes seconds; only what hangs takes this long, whatever else the host has to do.
const TIMEOUT: Duration = Duration::from_secs(300);
const SECTOR: usize = 512;
const CD_SECTOR: usize = 2048;

/// The program while it runs; never outlives the test.
struct Machine {
    child: Child,
    /// What firmware and boot sector have written to the debug ports.
    log: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    /// `None` without firmware.
    fn start(folder: &Path, arguments: &[&str]) -> Option<Machine> {
        let log = folder.join("debug.log");
        let _ = fs::remove_file(&log);
        let child = Command::new(env!("CARGO_BIN_EXE_mimic"))
            .args(arguments)
            .args(["-m", "64", "-display", "none", "-serial", "null", "-monitor", "stdio"])
            .args(["-device", "isa-debug-exit", "-debugcon", &format!("file:{}", log.display())])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built for this test");
        let mut machine = Machine { child, log };
        let start = Instant::now();
        while !machine.log.exists() {
            if machine.child.try_wait().unwrap().is_some() {
                let mut error = String::new();
                std::io::Read::read_to_string(machine.child.stderr.as_mut().unwrap(), &mut error).unwrap();
                assert!(error.contains("no firmware"), "{error}");
                eprintln!("skipped: {error}");
                return None;
            }
            assert!(start.elapsed() < TIMEOUT);
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(machine)
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `text` was written `count` times.
    #[track_caller]
    fn wait_for(&self, text: &str, count: usize) {
        let start = Instant::now();
        while self.log().matches(text).count() < count {
            assert!(start.elapsed() < TIMEOUT, "no `{text}`: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    #[track_caller]
    fn status(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < TIMEOUT, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A folder with the same program as floppy disk, disk and CD-ROM.
fn images(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pc-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let program = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest-images/bootsector.bin")).unwrap();
    let padded = |len: usize| {
        let mut image = program.clone();
        image.resize(len, 0);
        image
    };
    fs::write(folder.join("floppy.img"), padded(1_474_560)).unwrap();
    fs::write(folder.join("disk.img"), padded(1 << 20)).unwrap();
    fs::write(folder.join("cd.iso"), iso(&program[..SECTOR])).unwrap();
    folder
}

/// A disc that starts `sector` ("El Torito" Bootable CD-ROM Format Specification, 1.0): volume descriptors in sectors 16 to
/// 18, the boot catalog in 19, the sector in 20.
fn iso(sector: &[u8]) -> Vec<u8> {
    let mut disc = vec![0; 24 * CD_SECTOR];
    let mut put = |at: usize, offset: usize, bytes: &[u8]| {
        disc[at * CD_SECTOR + offset..][..bytes.len()].copy_from_slice(bytes);
    };
    put(16, 0, b"\x01CD001\x01");
    put(17, 0, b"\x00CD001\x01EL TORITO SPECIFICATION");
    put(17, 0x47, &19_u32.to_le_bytes());
    put(18, 0, b"\xffCD001\x01");
    // Validation entry, whose words add up to zero: platform x86, key.
    put(19, 0, &[1]);
    put(19, 30, &[0x55, 0xaa]);
    let checksum = 0_u16.wrapping_sub(0x0001).wrapping_sub(0xaa55);
    put(19, 28, &checksum.to_le_bytes());
    // Initial entry: bootable, no emulation, 4 sectors of 512 bytes at sector 20.
    put(19, 32, &[0x88, 0, 0, 0, 0, 0, 4, 0, 20]);
    put(20, 0, sector);
    disc
}

/// The boot sector greets from `drive`, has read what it should, and sees keys.
fn boots(name: &str, arguments: &[&str], drive: &str, read: &str) {
    let folder = images(name);
    let Some(mut machine) = Machine::start(&folder, arguments) else { return };
    machine.wait_for("keys: ", 1);
    machine.command("sendkey a");
    machine.command("sendkey shift-f1");
    machine.command("screendump screen.ppm");
    machine.command("sendkey q");
    assert_eq!(machine.status(), Some(33));
    let log = machine.log();
    let expect = format!("mimic: boot sector, drive {drive}\r\n{read}\r\nkeys: 1E 54 10 ");
    assert!(log.ends_with(&expect), "{log}");
    let screen = fs::read(folder.join("screen.ppm")).unwrap();
    assert!(screen.starts_with(b"P6\n720 400\n255\n"));
    assert!(screen[15..].iter().filter(|sample| **sample == 0xaa).count() > 1000, "grey text");
}

#[test]
fn from_a_floppy_disk() {
    boots("floppy", &["system-x86_64", "-fda", "floppy.img"], "00", "sector one");
}

#[test]
fn from_a_disk() {
    boots("disk", &["system-x86_64", "-hda", "disk.img"], "80", "sector one\r\nsector two");
}

#[test]
fn from_a_virtio_disk() {
    let drive = "file=disk.img,if=virtio,format=raw";
    boots("virtio", &["system-x86_64", "-drive", drive], "80", "sector one\r\nsector two");
}

#[test]
fn from_a_cdrom() {
    boots("cdrom", &["system-x86_64", "-cdrom", "cd.iso", "-boot", "d"], "E0", "CD001");
}

#[test]
fn without_pci_and_without_64_bits() {
    boots("isapc", &["system-i386", "-M", "isapc", "-fda", "floppy.img"], "00", "sector one");
}

#[test]
fn the_interpreter_runs_firmware() {
    boots("tier0", &["system-x86_64", "-accel", "tcg,tier=0", "-hda", "disk.img"], "80", "sector one\r\nsector two");
}

/// The reset control register, a triple fault and the monitor's command start firmware again; `-no-reboot` ends.
#[test]
fn resets() {
    let folder = images("resets");
    let Some(mut machine) = Machine::start(&folder, &["system-x86_64", "-hda", "disk.img"]) else { return };
    for (n, command) in (1..).zip(["sendkey r", "sendkey t", "system_reset"]) {
        machine.wait_for("keys: ", n);
        machine.command(command);
    }
    machine.wait_for("keys: ", 4);
    machine.command("quit");
    assert_eq!(machine.status(), Some(0));
    let mut machine = Machine::start(&folder, &["system-x86_64", "-no-reboot", "-hda", "disk.img"]).unwrap();
    machine.wait_for("keys: ", 1);
    machine.command("sendkey t");
    assert_eq!(machine.status(), Some(0));
}

/// Nothing to boot is found out from an empty machine; a disc that is put in is found after a reset.
#[test]
fn discs_change() {
    let folder = images("discs");
    let Some(mut machine) = Machine::start(&folder, &["system-x86_64", "-boot", "d"]) else { return };
    machine.wait_for("No bootable device.", 1);
    machine.command("change ide1-cd0 cd.iso");
    machine.command("system_reset");
    machine.wait_for("drive E0", 1);
    machine.command("eject ide1-cd0");
    machine.command("system_reset");
    machine.wait_for("No bootable device.", 2);
    machine.command("quit");
    assert_eq!(machine.status(), Some(0));
}

/// `tests/guest-images/src/loaded.asm`, started without firmware: what it is told of command line, memory, tables, modules.
#[test]
fn kernels_in_elf_are_told_of_the_machine() {
    let folder = images("elf");
    for (name, text) in [("a.txt", "contents of a"), ("b.txt", "bb")] {
        fs::write(folder.join(name), text).unwrap();
    }
    let map = "00000000 0009fc00 1\n0009fc00 00060400 2\n00100000 03f00000 1\n";
    for (image, initrd, start, end) in [
        ("multiboot.bin", "a.txt two,b.txt", "multiboot: ", "a.txt two: contents of a\nb.txt: bb\n"),
        ("pvh.bin", "a.txt", "PVH: one\n", "tables: RSD PTR \ncontents of a\n"),
    ] {
        let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest-images").join(image);
        let arguments = ["system-x86_64", "-kernel", kernel.to_str().unwrap(), "-append", "one", "-initrd", initrd];
        let mut machine = Machine::start(&folder, &arguments).expect("it needs no firmware");
        assert_eq!(machine.status(), Some(33), "{image}: {}", machine.log());
        let log = machine.log();
        assert!(log.starts_with(start) && log.ends_with(&format!("{map}{end}")), "{image}: {log}");
        assert!(log.contains(" one\n"), "{image}: the command line: {log}");
    }
}
