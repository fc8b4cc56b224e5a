//! What the machines run: the programs of `tests/bench`, built, and put where a guest finds them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::iperf::Iperf;
use super::rows::{Machine, Row};
use super::source;
use crate::command::{output, step};
use crate::fetch::Kernel;
use crate::fetch::cpio::Cpio;
use crate::fetch::host::{self, Need};
use crate::noise::noise;
use crate::system::{AARCH64, System};
use crate::{fetch, places};

/// Building for the host, and for guests of its own kind.
const COMPILER: &[Need] = &[("gcc", "gcc"), ("/usr/include/stdio.h", "libc6-dev")];
/// Building for other guests.
const CROSS_COMPILER: &[Need] = &[
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
];
/// Files for the root file system.
const DISKS: &[Need] = &[("debugfs", "e2fsprogs")];
const FLAGS: &[&str] = &["-O2", "-static", "-Wall"];
/// Size of the disk for the row `disk`.
const DISK: usize = 64 << 20;
/// How many of these lie behind the partitions of the disk for the rows that write.
const SCRATCH: usize = 4;
/// A loaded host must not make systemd give up on the console's device.
const PATIENCE: &str = "systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900";

/// Everything that the machines of one benchmark need.
#[derive(Debug)]
pub struct Guest {
    system: &'static System,
    /// How its virtio devices end; `None` if the machine has no disk.
    transport: Option<&'static str>,
    /// Where logs, disks and results go.
    pub work: PathBuf,
    /// The guest's program, built for the host.
    pub native: PathBuf,
    program: PathBuf,
    /// A raw disk with fixed content.
    noise: PathBuf,
    /// What the rows of the network talk to, if there are any.
    iperf: Option<Iperf>,
    /// Locked as long as this lives.
    _lock: File,
}

impl Guest {
    /// Fetches and builds what is missing for these kinds of machines. `emulator` is the one that may configure fetched guests.
    pub fn prepare(system: &'static System, machine: &str, machines: &[Machine], emulator: &Path) -> Result<Guest> {
        let work = places::target().join("bench");
        fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        // Two at once would write the same files, and disturb each other's times.
        let lock = File::create(work.join("lock"))?;
        lock.try_lock().with_context(|| format!("another benchmark runs in {}", work.display()))?;
        fetch::fetch(&kernel(system), emulator)?;
        host::ensure(COMPILER)?;
        if *system == AARCH64 {
            host::ensure(CROSS_COMPILER)?;
        }
        let (native, disk) = (work.join("native"), work.join("noise.img"));
        let program = work.join(format!("bench{}", system.suffix));
        step("bench: build the programs", || {
            build(&format!("{}-gcc", system.triplet), &program)?;
            build("gcc", &native)
        })?;
        write(&disk, &noise(DISK))?;
        let transport = has_disk(machine).then_some(system.transport);
        let iperf = if machines.contains(&Machine::Io) { Some(Iperf::start()?) } else { None };
        Ok(Guest { system, transport, work, native, program, noise: disk, iperf, _lock: lock })
    }

    /// The arguments of a machine that runs these rows.
    pub fn machine(&self, machine: Machine, rows: &[(&Row, u64)]) -> Result<Vec<String>> {
        let kernel = fetch::kernel(&kernel(self.system));
        let (initrd, append, disk) = match machine {
            Machine::Small => (self.initrd(&kernel, rows)?, "rdinit=/bench/init".to_owned(), &self.noise),
            Machine::Debian => {
                (kernel.initrd_modules, "quiet root=/dev/vda init=/bench/init".to_owned(), &self.programs_disk(rows)?)
            }
            Machine::Systemd => (kernel.initrd_modules, format!("root=/dev/vda {PATIENCE}"), &self.systemd_disk()?),
            Machine::Io => {
                let append = format!("quiet root={} init=/bench/init", fetch::NETWORKED_ROOT);
                (kernel.initrd_modules, append, &self.io_disk(rows)?)
            }
        };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments = vec![
            "-kernel".to_owned(),
            text(&kernel.image),
            "-initrd".to_owned(),
            text(&initrd),
            "-append".to_owned(),
            // A panic ends the machine, which does not restart.
            format!("console={} panic=-1 {append}", self.system.console),
        ];
        if let Some(transport) = self.transport {
            let writes = matches!(machine, Machine::Systemd | Machine::Io);
            let mode = if writes { "" } else { "readonly=on," };
            arguments.extend([
                "-drive".to_owned(),
                format!("if=none,format=raw,cache=unsafe,{mode}id=disk0,file={}", text(disk)),
                "-device".to_owned(),
                format!("virtio-blk-{transport},drive=disk0"),
                "-device".to_owned(),
                format!("virtio-rng-{transport}"),
            ]);
            if machine == Machine::Io {
                arguments.extend([
                    "-netdev".to_owned(),
                    "user,id=net0".to_owned(),
                    "-device".to_owned(),
                    format!("virtio-net-{transport},netdev=net0"),
                ]);
            }
        }
        Ok(arguments)
    }

    /// An initial file system that runs these rows.
    fn initrd(&self, kernel: &Kernel, rows: &[(&Row, u64)]) -> Result<PathBuf> {
        // Linux unpacks archives that follow each other; ours comes on top of busybox and the kernel's modules.
        let mut cpio = Cpio::default();
        cpio.directory("bench");
        cpio.file("bench/init", 0o755, include_bytes!("../../../tests/bench/init.sh"));
        cpio.file("bench/bench", 0o755, &fs::read(&self.program)?);
        cpio.file("bench/rows", 0o644, list(rows).as_bytes());
        let mut bytes = fs::read(&kernel.initrd_modules)?;
        bytes.extend(cpio.finish());
        let file = self.work.join("initrd.cpio");
        write(&file, &bytes)?;
        Ok(file)
    }

    /// A copy of the root file system whose first process runs these rows.
    fn programs_disk(&self, rows: &[(&Row, u64)]) -> Result<PathBuf> {
        let functions = rows.iter().find(|(row, _)| row.name == "cc1").map_or(1, |(_, size)| *size);
        write(&self.work.join("rows"), list(rows).as_bytes())?;
        write(&self.work.join("big.c"), source::big(functions).as_bytes())?;
        let ours = places::repository().join("tests/bench");
        let files = [
            (self.work.join("rows"), "/bench/rows"),
            (self.work.join("big.c"), "/bench/big.c"),
            (ours.join("debian.sh"), "/bench/init"),
            (ours.join("python.py"), "/bench/python.py"),
            (ours.join("sqlite.sql"), "/bench/sqlite.sql"),
        ];
        self.disk("debian.img", "mkdir /bench\n", &files, "set_inode_field /bench/init mode 0100755\n")
    }

    /// A copy of the disk that has a network, whose first process does these rows. Room to write lies behind its partitions and
    /// not on a second disk: which of two becomes the first one differs between emulators.
    fn io_disk(&self, rows: &[(&Row, u64)]) -> Result<PathBuf> {
        let port = self.iperf.as_ref().context("no iperf3 on the host")?.port();
        write(&self.work.join("rows"), list(rows).as_bytes())?;
        let original = networked(self.system);
        let (from, room) = (fs::metadata(&original)?.len(), SCRATCH * DISK);
        write(&self.work.join("setting"), format!("{port} {from} {room}\n").as_bytes())?;
        let files = [
            (self.work.join("rows"), "/bench/rows"),
            (self.work.join("setting"), "/bench/setting"),
            (places::repository().join("tests/bench/io.sh"), "/bench/init"),
        ];
        let mode = "set_inode_field /bench/init mode 0100755\n";
        let image = self.changed(&original, fetch::NETWORKED_OFFSET, "io.img", "mkdir /bench\n", &files, mode)?;
        let noise = fs::read(&self.noise)?;
        let mut file = fs::OpenOptions::new().append(true).open(&image)?;
        (0..SCRATCH).try_for_each(|_| file.write_all(&noise)).context("no room for a disk to write to")?;
        Ok(image)
    }

    /// A copy of the root file system that ends when all services run.
    fn systemd_disk(&self) -> Result<PathBuf> {
        let unit = places::repository().join("tests/bench/ready.service");
        let wants = "/etc/systemd/system/graphical.target.wants";
        let link = format!("mkdir {wants}\nsymlink {wants}/ready.service /etc/systemd/system/ready.service\n");
        self.disk("systemd.img", "", &[(unit, "/etc/systemd/system/ready.service")], &link)
    }

    /// A copy of the root file system with more files.
    fn disk(&self, name: &str, before: &str, files: &[(PathBuf, &str)], after: &str) -> Result<PathBuf> {
        self.changed(&root_disk(self.system), 0, name, before, files, after)
    }

    /// A copy of an image with more files in the file system at `offset`, written by debugfs between two lists of its
    /// commands; nothing is mounted for that.
    fn changed(
        &self,
        original: &Path,
        offset: u64,
        name: &str,
        before: &str,
        files: &[(PathBuf, &str)],
        after: &str,
    ) -> Result<PathBuf> {
        host::ensure(DISKS)?;
        let image = self.work.join(name);
        let copy = &mut Command::new("cp");
        output(copy.args(["--sparse=always", "--reflink=auto"]).arg(original).arg(&image))?;
        // debugfs splits at blanks; it takes a name in quotes.
        let writes = files.iter().map(|(from, to)| format!("write \"{}\" {to}\n", from.display()));
        let commands = image.with_extension("debugfs");
        write(&commands, format!("{before}{}{after}", writes.collect::<String>()).as_bytes())?;
        let system = format!("{}?offset={offset}", image.display());
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        output(Command::new("debugfs").env("PATH", path).args(["-w", "-f"]).arg(&commands).arg(system))?;
        Ok(image)
    }
}

/// The kernel of all guests.
fn kernel(system: &System) -> String {
    format!("debian-12{}", system.suffix)
}

/// Whether the machine has a disk for the rows that need one.
pub fn has_disk(machine: &str) -> bool {
    machine.split(',').next() != Some("microvm")
}

/// Whether there is a root file system for the rows that need one.
pub fn has_debian(system: &System) -> bool {
    fetch::is_there(&system.rootfs())
}

/// Whether there is a disk for the rows of the network.
pub fn has_network(system: &System) -> bool {
    fetch::is_there(&system.networked())
}

fn root_disk(system: &System) -> PathBuf {
    places::guests().join(system.rootfs()).join("disk.img")
}

fn networked(system: &System) -> PathBuf {
    places::guests().join(system.networked()).join("disk.img")
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// `NAME SIZE` on each line.
fn list(rows: &[(&Row, u64)]) -> String {
    let run = rows.iter().filter(|(row, _)| !row.place.is_start());
    run.map(|(row, size)| format!("{} {size}\n", row.name)).collect()
}

fn build(compiler: &str, program: &Path) -> Result<()> {
    let sources = places::repository().join("tests/bench");
    let mut files: Vec<PathBuf> = fs::read_dir(&sources)
        .with_context(|| format!("cannot read {}", sources.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    output(Command::new(compiler).args(FLAGS).arg("-o").arg(program).args(files).arg("-lm"))
        .with_context(|| format!("the programs of {} do not build", sources.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rows::select;
    use super::*;

    #[test]
    fn the_boot_itself_is_in_no_list() {
        let rows = select(&["boot".to_owned(), "fft".to_owned(), "disk".to_owned()]).unwrap();
        let sized: Vec<(&Row, u64)> = rows.iter().map(|row| (*row, 3)).collect();
        assert_eq!(list(&sized), "fft 3\ndisk 3\n");
    }
}
