//! Images whose writer is killed or meets a full disk: what was flushed is there, and the tables are in order.
//!
//! The writer is this program once more, told by the environment what to do.

#![forbid(unsafe_code)]

use host::disk::{Disk, DiskOptions, open};
use host::image::check::{Repair, check};
use host::image::create::{NewImage, create};
use host::image::format::Format;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use vm::blockdev::BlockDev;

const IMAGE: &str = "MIMIC_TEST_IMAGE";
const LIMIT: &str = "MIMIC_TEST_FILE_LIMIT";
const SIZE: u64 = 32 << 20;

/// The place of the write with number `n`: spread over the disk, some places again and again.
fn place(n: u64) -> u64 {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let within = if n.is_multiple_of(3) { 64 } else { SIZE / 4096 };
    spread % within * 4096
}

fn image(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mimic-images-{}-{name}.qcow2", std::process::id()));
    let cluster_size = Some(4096);
    let new = NewImage { format: Some(Format::Qcow2), size: Some(SIZE), cluster_size, ..NewImage::default() };
    create(&path, &new).unwrap();
    path
}

fn disk(path: &Path) -> Disk {
    open(&DiskOptions { path: path.into(), ..DiskOptions::default() }).unwrap()
}

/// Starts the writer.
fn writer(path: &Path, limit: Option<u64>) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writes_for_another_test", "--nocapture"]).env(IMAGE, path);
    if let Some(limit) = limit {
        command.env(LIMIT, limit.to_string());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// The number in the last line `flushed N` that is complete.
fn last_flushed(out: impl BufRead) -> u64 {
    let lines = out.split(b'\n').map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).into_owned());
    let numbers = lines.filter_map(|line| line.strip_prefix("flushed ")?.strip_suffix('.')?.parse().ok());
    numbers.last().unwrap_or(0)
}

/// Every place holds what was written to it last before `flushed`, or something later.
fn nothing_is_lost(path: &Path, flushed: u64) {
    let report = check(path, None, Repair::None, false).unwrap().unwrap();
    assert_eq!(report.corruptions, 0, "{:#?}", report.problems);
    let disk = disk(path);
    let mut last = HashMap::new();
    for n in 1..=flushed {
        last.insert(place(n), n);
    }
    for (at, least) in last {
        let mut sector = [0; 4096];
        disk.read_at(at, &mut sector).unwrap();
        let found = u64::from_le_bytes(sector[..8].try_into().unwrap());
        assert!(found >= least && place(found) == at, "{found} at {at}, {least} was flushed of {flushed}");
        assert!(sector.chunks(8).all(|eight| eight == found.to_le_bytes()), "a torn block at {at}");
    }
}

#[test]
fn writes_for_another_test() {
    let Some(path) = std::env::var_os(IMAGE) else { return };
    if let Ok(limit) = std::env::var(LIMIT) {
        // The signal would end the program; with a handler the write fails, as on a full disk.
        const SIGXFSZ: i32 = 25;
        let flag = std::sync::Arc::default();
        signal_hook::flag::register(SIGXFSZ, flag).unwrap();
        let limit = limit.parse().ok();
        let limits = rustix::process::Rlimit { current: limit, maximum: limit };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limits).unwrap();
    }
    let disk = disk(Path::new(&path));
    let mut failures = 0;
    for n in 1_u64.. {
        let block: Vec<u8> = n.to_le_bytes().repeat(512);
        if disk.write_at(place(n), &block).is_err() {
            failures += 1;
            if failures == 20 {
                println!("failed");
                return;
            }
        } else if n % 16 == 0 && failures == 0 && disk.flush().is_ok() {
            println!("flushed {n}.");
            std::io::stdout().flush().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_flushed() {
    let path = image("killed");
    let rounds = std::env::var("MIMIC_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let mut most = 0;
    for round in 0..rounds {
        // Each writer begins again at 1: what an older one wrote would count as later.
        std::fs::remove_file(&path).unwrap();
        image("killed");
        let (mut child, out) = writer(&path, None);
        std::thread::sleep(Duration::from_millis(40 + round % 10 * 23));
        child.kill().unwrap();
        child.wait().unwrap();
        let flushed = last_flushed(out);
        most = most.max(flushed);
        nothing_is_lost(&path, flushed);
        // Space may have leaked, and can be had back.
        check(&path, None, Repair::Leaks, false).unwrap();
        let report = check(&path, None, Repair::None, false).unwrap().unwrap();
        assert_eq!((report.leaks, report.corruptions), (0, 0));
    }
    assert!(most > 0, "no writer came to a flush");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_full_disk_is_an_error_and_no_damage() {
    let path = image("full");
    for limit in [200_000, 300_000, 1_000_000, 3_000_001] {
        std::fs::remove_file(&path).unwrap();
        image("full");
        let (mut child, out) = writer(&path, Some(limit));
        let flushed = last_flushed(out);
        assert!(child.wait().unwrap().success());
        nothing_is_lost(&path, flushed);
    }
    std::fs::remove_file(&path).unwrap();
}
