//! What is measured: one more workload is one more row of [`ROWS`], and a function in `tests/bench` or a case in
//! `tests/bench/debian.sh` or `tests/bench/io.sh`.

/// Rows whose mean has a target of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Integer,
    Scalar,
    Vector,
    Memory,
    Programs,
    System,
    Boot,
    Io,
}

impl Group {
    pub const ALL: &[Group] = &[
        Group::Integer,
        Group::Scalar,
        Group::Vector,
        Group::Memory,
        Group::Programs,
        Group::System,
        Group::Boot,
        Group::Io,
    ];

    /// The word that selects it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Group::Integer => "integer",
            Group::Scalar => "scalar",
            Group::Vector => "vector",
            Group::Memory => "memory",
            Group::Programs => "programs",
            Group::System => "system",
            Group::Boot => "boot",
            Group::Io => "io",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Group::Integer => "integer and control flow",
            Group::Scalar => "scalar floating point",
            Group::Vector => "vectors and string functions",
            Group::Memory => "memory and TLB misses",
            Group::Programs => "programs of Debian",
            Group::System => "the system's own paths",
            Group::Boot => "boot to userspace",
            Group::Io => "disk and network (clock)",
        }
    }

    /// How many times faster than QEMU the group is to be.
    pub fn target(self) -> f64 {
        match self {
            Group::Integer => 1.9,
            Group::Scalar => 6.0,
            Group::Vector => 7.0,
            Group::Memory => 2.0,
            Group::Programs => 1.7,
            Group::System => 1.8,
            Group::Boot => 1.5,
            Group::Io => 1.5,
        }
    }

    /// Whether the time that passes is what counts, and not the emulator's CPU time: work that waits for others.
    pub fn by_the_clock(self) -> bool {
        self == Group::Io
    }

    /// Whether it is part of a benchmark that nobody chose rows for, and of the mean over all rows.
    pub fn is_usual(self) -> bool {
        self != Group::Io
    }
}

/// How many times faster the geometric mean over all rows is to be; with all on one core.
pub const TARGET: f64 = 2.5;
pub const TARGET_PINNED: f64 = 2.0;

/// What runs a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The start of the small guest until its first process prints.
    Boot,
    /// The guest program of `tests/bench`, in the small guest.
    Small,
    /// A program of Debian, in the root file system on a disk.
    Debian,
    /// The start of Debian with systemd until all its services run.
    Systemd,
    /// fio or iperf3, in the disk that has a network.
    Io,
}

/// A kind of machine; each is started once in each run and runs all its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Small,
    Debian,
    Systemd,
    Io,
}

impl Machine {
    pub const ALL: &[Machine] = &[Machine::Small, Machine::Debian, Machine::Systemd, Machine::Io];

    /// For messages and the names of logs.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Small => "small",
            Machine::Debian => "debian",
            Machine::Systemd => "systemd",
            Machine::Io => "io",
        }
    }
}

impl Place {
    pub fn machine(self) -> Machine {
        match self {
            Place::Boot | Place::Small => Machine::Small,
            Place::Debian => Machine::Debian,
            Place::Systemd => Machine::Systemd,
            Place::Io => Machine::Io,
        }
    }

    /// Whether the row is the machine's own start.
    pub fn is_start(self) -> bool {
        matches!(self, Place::Boot | Place::Systemd)
    }
}

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub group: Group,
    pub place: Place,
    /// How much work; QEMU takes 2 to 10 s for it. What one unit is stands in the program.
    pub size: u64,
    /// Whether it can run on the host itself.
    pub native: bool,
}

impl Row {
    /// Whether the machine must have a disk for it.
    pub fn needs_disk(&self) -> bool {
        self.place.machine() != Machine::Small || self.name == "disk"
    }
}

const fn small(group: Group, name: &'static str, size: u64, about: &'static str) -> Row {
    Row { name, about, group, place: Place::Small, size, native: true }
}

/// One that needs the guest's processor or devices.
const fn guest_only(group: Group, name: &'static str, size: u64, about: &'static str) -> Row {
    Row { native: false, ..small(group, name, size, about) }
}

const fn debian(name: &'static str, size: u64, about: &'static str) -> Row {
    Row { place: Place::Debian, ..guest_only(Group::Programs, name, size, about) }
}

/// One whose size is in MiB.
const fn io(name: &'static str, size: u64, about: &'static str) -> Row {
    Row { place: Place::Io, ..guest_only(Group::Io, name, size, about) }
}

const fn start(place: Place, name: &'static str, about: &'static str) -> Row {
    Row { place, ..guest_only(Group::Boot, name, 1, about) }
}

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    start(Place::Boot, "boot", "Debian 12 kernel, from start to its first process"),
    start(Place::Systemd, "systemd", "Debian 12, from start until all services run"),

    small(Group::Integer, "coremix", 20_000, "lists, small matrices, a state machine, CRC"),
    small(Group::Integer, "calls", 20_000, "recursion and short functions"),
    small(Group::Integer, "indirect", 80_000, "calls through tables of functions"),
    small(Group::Integer, "qsort", 450, "the C library's sort with its comparison function"),
    small(Group::Integer, "interp", 2_500, "an interpreter of bytecode"),
    small(Group::Integer, "sha256", 250_000, "SHA-256 in C"),
    small(Group::Integer, "aes", 150_000, "AES in C"),

    small(Group::Scalar, "nbody", 2_500, "planets, double"),
    small(Group::Scalar, "whetstone", 50_000, "after Whetstone: arithmetic and elementary functions, double"),
    small(Group::Scalar, "mandelbrot", 1_200, "Mandelbrot's set and square roots, float"),
    small(Group::Scalar, "fft", 2_000, "Fourier transform of 4096 points, double"),

    small(Group::Vector, "matmul-double", 400, "product of matrices, double"),
    small(Group::Vector, "matmul-float", 400, "product of matrices, float"),
    small(Group::Vector, "filter", 2_000, "image filters on 8-bit pixels"),
    small(Group::Vector, "aes-insn", 200_000, "AES with the processor's instructions"),
    small(Group::Vector, "strings", 15_000, "strlen, memchr, strchr, strcmp, memcmp"),

    small(Group::Memory, "hash", 250, "look-ups in a hash table of 32 MiB"),
    small(Group::Memory, "stream", 15, "copy, scale, add, triad over 64 MiB"),
    small(Group::Memory, "copies", 20_000, "memcpy, memmove, memset of 1 to 256 bytes"),
    small(Group::Memory, "chase", 150, "a chain of pointers through 64 MiB"),

    debian("python", 24, "Python: objects, strings, dictionaries, regular expressions"),
    debian("sqlite", 50_000, "a database in memory"),
    debian("cc1", 25, "gcc's cc1 -O2 on a big file"),
    debian("xz", 1_500, "xz -6 compresses kilobytes"),
    debian("unxz", 20, "xz decompresses megabytes"),
    debian("7z", 2_500, "7-Zip compresses and tests kilobytes"),

    small(Group::System, "syscalls", 400, "getppid"),
    small(Group::System, "pipes", 100, "two processes and two pipes"),
    small(Group::System, "faults", 10, "first touch of fresh pages"),
    small(Group::System, "mmap", 70, "mmap, mprotect, munmap"),
    small(Group::System, "fork", 500, "fork and wait"),
    small(Group::System, "exec", 250, "fork, exec and wait"),
    small(Group::System, "signals", 350, "signals that a process sends itself"),
    guest_only(Group::System, "jit", 100_000, "code written at run time"),
    guest_only(Group::System, "disk", 10, "reads of a virtio disk, in order and at random"),

    io("disk-read", 4_000, "fio: a virtio disk in order, 1 MiB at a time, 4 at once"),
    io("disk-write", 2_000, "the same, writing"),
    io("disk-random-read", 100, "fio: a virtio disk at random, 4 KiB at a time, 16 at once"),
    io("disk-random-write", 100, "the same, writing"),
    io("net-send", 400, "iperf3: TCP from the guest to the host through the user network"),
    io("net-receive", 400, "the same, from the host to the guest"),
];

/// The rows that the names select, rows or groups, in the table's order; without names, all but disk and network, and
/// the start of systemd, which takes longer than all others together. A row's name means the row, even if a group has the same. An error names the word that is neither.
pub fn select(names: &[String]) -> Result<Vec<&'static Row>, String> {
    let is_row = |name: &str| ROWS.iter().any(|row| row.name == name);
    let matches = |row: &Row, name: &str| row.name == name || row.group.name() == name && !is_row(name);
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| matches(row, name))) {
        let groups: Vec<&str> = Group::ALL.iter().map(|group| group.name()).collect();
        let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!(
            "no workload is called `{unknown}`; there are the groups {} and the rows {}",
            groups.join(", "),
            rows.join(", ")
        ));
    }
    let wanted = |row: &&Row| match names.is_empty() {
        true => row.place != Place::Systemd && row.group.is_usual(),
        false => names.iter().any(|name| matches(row, name)),
    };
    Ok(ROWS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn selected(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        select(&names).unwrap().iter().map(|row| row.name).collect()
    }

    #[test]
    fn rows_and_groups_select() {
        assert_eq!(selected(&["fft", "coremix", "fft"]), ["coremix", "fft"]);
        assert_eq!(selected(&["scalar"]), ["nbody", "whetstone", "mandelbrot", "fft"]);
        assert_eq!(selected(&["boot"]), ["boot"]);
        assert_eq!(selected(&["io"]).len(), 6);
        assert_eq!(selected(&[]).len(), ROWS.len() - 7);
        let error = select(&["no-such".to_owned()]).unwrap_err();
        assert!(error.contains("no-such") && error.contains("chase"), "{error}");
    }

    #[test]
    fn names_are_unique_and_every_group_has_rows() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        for group in Group::ALL {
            assert!(ROWS.iter().any(|row| row.group == *group), "{group:?}");
        }
    }

    #[test]
    fn the_script_of_debian_has_every_program() {
        let script = include_str!("../../../tests/bench/debian.sh");
        for row in ROWS.iter().filter(|row| row.place == Place::Debian) {
            assert!(script.contains(&format!("\n    {})\n", row.name)), "{} is not in tests/bench/debian.sh", row.name);
        }
    }

    #[test]
    fn the_script_of_disk_and_network_has_every_row() {
        let script = include_str!("../../../tests/bench/io.sh");
        for row in ROWS.iter().filter(|row| row.place == Place::Io) {
            assert!(script.contains(&format!("\n    {}) ", row.name)), "{} is not in tests/bench/io.sh", row.name);
        }
    }

    #[test]
    fn the_guest_program_has_every_row() {
        let main = include_str!("../../../tests/bench/main.c");
        for row in ROWS.iter().filter(|row| row.place == Place::Small) {
            assert!(main.contains(&format!("{{ \"{}\", ", row.name)), "{} is not in tests/bench/main.c", row.name);
        }
    }
}
