//! Images made, written, converted, resized and checked, against a model and against QEMU's tools.

use super::Use;
use super::check::{Repair, check};
use super::convert::{Conversion, SizeChange, convert, resize};
use super::create::{Backing, NewImage, Preallocation, create};
use super::format::Format;
use super::info::{chain, info};
use crate::disk::{self, Cache, DiskOptions};
use crate::testing::{Random, Temp, qemu};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vm::blockdev::BlockDev;

const MIB: u64 = 1 << 20;

fn qcow2(size: u64) -> NewImage {
    NewImage { format: Some(Format::Qcow2), size: Some(size), ..NewImage::default() }
}

fn over(base: &str, format: Format) -> NewImage {
    let backing = Backing { name: base.into(), format: Some(format), unchecked: false };
    NewImage { format: Some(Format::Qcow2), backing: Some(backing), ..NewImage::default() }
}

fn open(path: &Path) -> Result<disk::Disk, crate::HostError> {
    disk::open(&DiskOptions { path: path.into(), discard: true, ..DiskOptions::default() })
}

/// The message for a path, with the folder taken out.
fn refused(path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    open(path).err().unwrap().to_string().replace(&folder, "")
}

fn contents(disk: &disk::Disk) -> Vec<u8> {
    let mut all = vec![0xee; disk.len_bytes() as usize];
    disk.read_at(0, &mut all).unwrap();
    all
}

fn clean(path: &Path) {
    let report = check(path, None, Repair::None, false).unwrap().unwrap();
    assert_eq!((report.leaks, report.corruptions), (0, 0), "{:#?}", report.problems);
}

/// `qemu-img check`, if it is there, says the same.
fn clean_for_qemu(path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    if let Some((good, text)) = qemu(path.parent().unwrap(), &["qemu-img", "check", "-f", "qcow2", name]) {
        assert!(good, "{text}");
    }
}

/// Random requests to a disk, the same to the model.
fn stir(disk: &disk::Disk, model: &mut [u8], random: &mut Random, requests: u32) {
    let sectors = model.len() as u64 / 512;
    for _ in 0..requests {
        let at = random.below(sectors);
        let most = if random.below(4) == 0 { 512 } else { 16 };
        let len = (1 + random.below(most)).min(sectors - at) as usize * 512;
        let at = at as usize * 512;
        match random.below(10) {
            0 => {
                disk.write_zeroes(at as u64, len as u64).unwrap();
                model[at..at + len].fill(0);
            }
            1 => {
                disk.discard(at as u64, len as u64).unwrap();
                let mut now = vec![0; len];
                disk.read_at(at as u64, &mut now).unwrap();
                for (now, was) in now.iter().zip(&mut model[at..at + len]) {
                    assert!(now == was || *now == 0, "a discarded byte is neither as before nor zero");
                    *was = *now;
                }
            }
            2..=4 => {
                let mut now = vec![0xee; len];
                disk.read_at(at as u64, &mut now).unwrap();
                assert!(now == model[at..at + len], "read of {len} bytes at {at}");
            }
            5 => disk.flush().unwrap(),
            _ => {
                let first = random.below(256) as u8;
                let data: Vec<u8> = (0..len).map(|n| first.wrapping_add((n / 512) as u8)).collect();
                disk.write_at(at as u64, &data).unwrap();
                model[at..at + len].copy_from_slice(&data);
            }
        }
    }
}

#[test]
fn random_requests_over_a_backing_file_and_reopening() {
    for (seed, cluster_size, base_format) in
        [(1, 65536, Format::Raw), (2, 512, Format::Qcow2), (3, 4096, Format::Raw), (4, 2 << 20, Format::Qcow2)]
    {
        let mut random = Random(seed);
        // Shorter than the disk, and no multiple of a cluster.
        let base: Vec<u8> = (0..3 * MIB as usize + 512).map(|n| (n / 512 % 251) as u8 + 1).collect();
        let temp = Temp::new(&format!("stir-{seed}"), &base);
        let base_path = match base_format {
            Format::Raw => temp.path().to_path_buf(),
            _ => {
                let path = temp.beside("base.qcow2");
                let new = Conversion { new: qcow2(0), ..Conversion::default() };
                convert(temp.path(), &path, &new, &mut |_| {}).unwrap();
                path
            }
        };
        let top = temp.beside("top.qcow2");
        let name = base_path.file_name().unwrap().to_str().unwrap();
        let size = Some(5 * MIB);
        create(&top, &NewImage { size, cluster_size: Some(cluster_size), ..over(name, base_format) }).unwrap();
        let mut model = base.clone();
        model.resize(5 * MIB as usize, 0);
        for _ in 0..4 {
            let disk = open(&top).unwrap();
            stir(&disk, &mut model, &mut random, 150);
            assert!(contents(&disk) == model);
            drop(disk);
            clean(&top);
            clean_for_qemu(&top);
        }
        assert!(fs::read(temp.path()).unwrap() == base, "the base stays as it is");
        // QEMU reads the same.
        let flat = temp.beside("flat.img");
        let line = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top.qcow2", "flat.img"];
        if let Some((good, text)) = qemu(top.parent().unwrap(), &line) {
            assert!(good, "{text}");
            assert!(fs::read(&flat).unwrap() == model);
        }
    }
}

#[test]
fn what_qemu_writes_is_read() {
    let temp = Temp::new("from-qemu", b"");
    let folder = temp.path().parent().unwrap();
    let image = temp.beside("q.qcow2");
    for options in
        ["compat=0.10", "compat=1.1,cluster_size=4k,refcount_bits=1", "lazy_refcounts=on", "preallocation=metadata"]
    {
        let Some((good, text)) =
            qemu(folder, &["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "q.qcow2", "8M"])
        else {
            return;
        };
        assert!(good, "{text}");
        let io = ["-c", "write -P 0x11 0 1M", "-c", "write -P 0x22 3M 64k", "-c", "write -z 512k 128k", "-c", "flush"];
        let line = [&["qemu-io", "-f", "qcow2"], &io[..], &["q.qcow2"]].concat();
        assert!(qemu(folder, &line).unwrap().0);
        let disk = open(&image).unwrap();
        let mut model = vec![0; 8 * MIB as usize];
        model[..MIB as usize].fill(0x11);
        model[512 << 10..640 << 10].fill(0);
        model[3 * MIB as usize..3 * MIB as usize + (64 << 10)].fill(0x22);
        assert!(contents(&disk) == model, "{options}");
        stir(&disk, &mut model, &mut Random(9), 100);
        drop(disk);
        clean(&image);
        clean_for_qemu(&image);
        let compressed = ["qemu-img", "convert", "-c", "-O", "qcow2", "q.qcow2", "c.qcow2"];
        assert!(qemu(folder, &compressed).unwrap().0);
        let disk = open(&temp.beside("c.qcow2")).unwrap();
        assert!(contents(&disk) == model, "compressed");
        stir(&disk, &mut model, &mut Random(10), 100);
        assert!(contents(&disk) == model, "compressed and written");
        drop(disk);
        clean(&temp.beside("c.qcow2"));
        clean_for_qemu(&temp.beside("c.qcow2"));
    }
}

#[test]
fn snapshots_of_qemu_survive_and_are_listed() {
    let temp = Temp::new("internal", b"");
    let folder = temp.path().parent().unwrap();
    let image = temp.beside("s.qcow2");
    create(&image, &qcow2(4 * MIB)).unwrap();
    open(&image).unwrap().write_at(0, &[7; 4096]).unwrap();
    let Some((good, text)) = qemu(folder, &["qemu-img", "snapshot", "-c", "before", "s.qcow2"]) else { return };
    assert!(good, "{text}");
    open(&image).unwrap().write_at(0, &[8; 4096]).unwrap();
    let described = info(&image, None, Use::Read).unwrap();
    let snapshots = described.qcow2.unwrap().snapshots;
    assert_eq!((snapshots.len(), snapshots[0].name.as_str()), (1, "before"));
    clean(&image);
    clean_for_qemu(&image);
    assert!(qemu(folder, &["qemu-img", "snapshot", "-a", "before", "s.qcow2"]).unwrap().0);
    let mut start = [0; 4096];
    open(&image).unwrap().read_at(0, &mut start).unwrap();
    assert_eq!(start, [7; 4096]);
    let refused = resize(&image, None, SizeChange::To(MIB), true, Preallocation::Off).unwrap_err().to_string();
    assert!(refused.contains("snapshots"), "{refused}");
}

#[test]
fn conversions_keep_the_disk() {
    let mut data = vec![0; 6 * MIB as usize];
    data[100..200].fill(1);
    data[3 * MIB as usize..4 * MIB as usize].fill(2);
    let len = data.len();
    data[len - 1] = 3;
    let temp = Temp::new("source.img", &data);
    let mut heard = Vec::new();
    let (one, two, three) = (temp.beside("a.qcow2"), temp.beside("b.qcow2"), temp.beside("c.img"));
    let new = |format| NewImage { format: Some(format), ..NewImage::default() };
    let to = |new| Conversion { new, ..Conversion::default() };
    convert(temp.path(), &one, &to(new(Format::Qcow2)), &mut |part| heard.push(part)).unwrap();
    assert_eq!(heard.last(), Some(&1.0));
    assert!(heard.is_sorted());
    let small = NewImage { cluster_size: Some(4096), refcount_bits: Some(64), ..new(Format::Qcow2) };
    convert(&one, &two, &to(small), &mut |_| {}).unwrap();
    convert(&two, &three, &to(new(Format::Raw)), &mut |_| {}).unwrap();
    assert!(fs::read(&three).unwrap() == data);
    use std::os::unix::fs::MetadataExt;
    assert!(three.metadata().unwrap().blocks() * 512 < 3 * MIB, "holes stay holes");
    for image in [&one, &two] {
        clean(image);
        clean_for_qemu(image);
        assert!(image.metadata().unwrap().len() < 3 * MIB);
    }
    // Over a backing file only the difference is written; zeros count.
    let mut changed = data.clone();
    changed[3 * MIB as usize..3 * MIB as usize + 65536].fill(0);
    changed[5 * MIB as usize] = 9;
    let next = temp.beside("next.img");
    fs::write(&next, &changed).unwrap();
    let thin = temp.beside("thin.qcow2");
    convert(&next, &thin, &to(over("source.img", Format::Raw)), &mut |_| {}).unwrap();
    assert!(contents(&open(&thin).unwrap()) == changed);
    assert!(thin.metadata().unwrap().len() < MIB);
    clean(&thin);
    // Into what exists.
    let existing = Conversion { existing: true, ..to(new(Format::Raw)) };
    convert(&next, &three, &existing, &mut |_| {}).unwrap();
    assert!(fs::read(&three).unwrap() == changed);
    let same = convert(&next, &next, &to(new(Format::Raw)), &mut |_| {}).unwrap_err().to_string();
    assert!(same.ends_with("it is the source; choose another name"), "{same}");
}

#[test]
fn sizes_change() {
    let temp = Temp::new("base.img", &vec![5; 4 * MIB as usize]);
    let image = temp.beside("r.qcow2");
    create(&image, &NewImage { size: Some(MIB), ..over("base.img", Format::Raw) }).unwrap();
    let set = |change, shrink| resize(&image, None, change, shrink, Preallocation::Off);
    // What the backing file has behind the old end does not show through.
    assert_eq!(set(SizeChange::By(5 * MIB + 1), false).unwrap(), 6 * MIB + 512);
    let mut model = vec![0; 6 * MIB as usize + 512];
    model[..MIB as usize].fill(5);
    assert!(contents(&open(&image).unwrap()) == model);
    let refused = set(SizeChange::To(MIB), false).unwrap_err().to_string();
    assert!(refused.contains("then add --shrink"), "{refused}");
    assert_eq!(set(SizeChange::Less(6 * MIB), true).unwrap(), 512);
    assert!(set(SizeChange::Less(MIB), true).is_err());
    clean(&image);
    clean_for_qemu(&image);
    let raw = temp.beside("raw.img");
    create(&raw, &NewImage { size: Some(MIB), ..NewImage::default() }).unwrap();
    assert_eq!(resize(&raw, None, SizeChange::By(MIB), false, Preallocation::Falloc).unwrap(), 2 * MIB);
    assert_eq!(resize(&raw, None, SizeChange::By(MIB), false, Preallocation::Full).unwrap(), 3 * MIB);
    assert_eq!(resize(&raw, None, SizeChange::To(100), true, Preallocation::Off).unwrap(), 512);
    assert_eq!(raw.metadata().unwrap().len(), 512);
}

#[test]
fn new_images_are_what_was_asked_for() {
    let temp = Temp::new("base.img", &vec![0; MIB as usize]);
    let path = temp.beside("new");
    for preallocation in [Preallocation::Off, Preallocation::Metadata, Preallocation::Falloc, Preallocation::Full] {
        for cluster_size in [512, 65536, 2 << 20] {
            let new = NewImage { preallocation, cluster_size: Some(cluster_size), ..qcow2(4 * MIB) };
            assert_eq!(create(&path, &new).unwrap(), 4 * MIB);
            clean(&path);
            clean_for_qemu(&path);
            assert!(contents(&open(&path).unwrap()).iter().all(|byte| *byte == 0));
        }
    }
    create(&path, &over("base.img", Format::Raw)).unwrap();
    let all = chain(&path, None, Use::Read).unwrap();
    assert_eq!((all.len(), all[0].virtual_size, all[1].format), (2, MIB, Format::Raw));
    assert_eq!(all[0].backing.as_ref().unwrap().name, "base.img");
    let rows = [
        (NewImage { size: None, ..qcow2(0) }, "its size is missing; write it"),
        (NewImage { cluster_size: Some(3000), ..qcow2(MIB) }, "use a power of two"),
        (NewImage { refcount_bits: Some(128), ..qcow2(MIB) }, "use a power of two"),
        (NewImage { cluster_size: Some(512), ..qcow2(1 << 50) }, "use a larger cluster_size="),
        (NewImage { size: Some(u64::MAX), ..qcow2(0) }, "use a smaller size"),
        (NewImage { format: Some(Format::Vmdk), ..qcow2(MIB) }, "use -f qcow2 or -f raw"),
        (NewImage { format: None, ..over("base.img", Format::Raw) }, "a raw image cannot have a backing file"),
        (over("missing.img", Format::Raw), "no such file"),
        (NewImage { preallocation: Preallocation::Full, ..over("base.img", Format::Raw) }, "cannot be preallocated"),
    ];
    for (new, want) in rows {
        let path = temp.beside("refused");
        let error = create(&path, &new).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("; "), "{error}");
        assert!(!path.exists(), "{error}");
    }
    let mut unsaid = over("base.img", Format::Raw);
    unsaid.backing.as_mut().unwrap().format = None;
    let error = create(&temp.beside("refused"), &unsaid).unwrap_err().to_string();
    assert!(error.ends_with("add -F raw if that is what it is"), "{error}");
}

#[test]
fn chains_that_are_broken_are_one_line() {
    let temp = Temp::new("base.img", &vec![0; MIB as usize]);
    let (middle, top) = (temp.beside("middle.qcow2"), temp.beside("top.qcow2"));
    create(&middle, &over("base.img", Format::Raw)).unwrap();
    create(&top, &over("middle.qcow2", Format::Qcow2)).unwrap();
    open(&top).unwrap();
    fs::rename(temp.path(), temp.beside("away.img")).unwrap();
    let folder = temp.path().parent().unwrap().display().to_string();
    assert_eq!(
        refused(&top).replace(&folder, "DIR"),
        "cannot open disk `top.qcow2`: its backing file `base.img` of `middle.qcow2` cannot be opened: no such file or \
         directory; put that file back at `base.img`"
    );
    // The middle one becomes its own base.
    fs::copy(&middle, temp.beside("kept")).unwrap();
    let rename = |to: &[u8]| {
        let file = fs::File::options().write(true).read(true).open(&middle).unwrap();
        let mut offset = [0; 8];
        file.read_exact_at(&mut offset, 8).unwrap();
        file.write_all_at(to, u64::from_be_bytes(offset)).unwrap();
        file.write_all_at(&(to.len() as u32).to_be_bytes(), 16).unwrap();
    };
    let format = |text: &[u8]| {
        let mut bytes = fs::read(&middle).unwrap();
        let at = bytes.windows(4).position(|four| four == [0xe2, 0x79, 0x2a, 0xca]).unwrap();
        bytes[at + 4..at + 8].copy_from_slice(&(text.len() as u32).to_be_bytes());
        bytes[at + 8..at + 8 + text.len()].copy_from_slice(text);
        fs::write(&middle, bytes).unwrap();
    };
    format(b"qcow2");
    rename(b"middle.qcow2");
    assert!(refused(&top).contains("its chain of backing files comes back to `middle.qcow2`"), "{}", refused(&top));
    assert!(chain(&top, None, Use::Read).unwrap_err().to_string().contains("comes back"));
    rename(b"nbd://host/disk");
    assert!(refused(&top).contains("is no file but an address"), "{}", refused(&top));
    rename(b"/dev/null");
    assert!(refused(&top).contains("neither a file nor a block device"), "{}", refused(&top));
    format(b"vdi");
    fs::rename(temp.beside("away.img"), temp.path()).unwrap();
    rename(b"base.img");
    assert!(refused(&top).contains("the format vdi is not implemented"), "{}", refused(&top));
}

#[test]
fn locks_are_qemus() {
    let temp = Temp::new("base.img", &vec![0; MIB as usize]);
    let folder = temp.path().parent().unwrap();
    let image = temp.beside("l.qcow2");
    create(&image, &over("base.img", Format::Raw)).unwrap();
    let writer = open(&image).unwrap();
    assert!(refused(&image).contains("another program uses it"));
    assert!(refused(temp.path()).contains("another program uses it"), "a base is not written under its overlay");
    assert!(info(&image, None, Use::Read).is_err());
    info(&image, None, Use::Peek).unwrap();
    if let Some((good, text)) = qemu(folder, &["qemu-io", "-f", "qcow2", "-c", "write 0 512", "l.qcow2"]) {
        assert!(!good && text.contains("lock"), "{text}");
        assert!(!qemu(folder, &["qemu-img", "info", "l.qcow2"]).unwrap().0);
        assert!(qemu(folder, &["qemu-img", "info", "-U", "l.qcow2"]).unwrap().0);
        assert!(!qemu(folder, &["qemu-io", "-f", "raw", "-c", "write 0 512", "base.img"]).unwrap().0);
        drop(writer);
        // And QEMU's locks are ours.
        use std::io::{BufRead, BufReader, Write};
        use std::process::{Command, Stdio};
        let mut command = Command::new("qemu-io");
        command.args(["-f", "qcow2", "l.qcow2"]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "write 0 512").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let message = refused(&image);
        let read_only = DiskOptions { path: image.clone(), read_only: true, ..DiskOptions::default() };
        let reader = disk::open(&read_only).err().map(|error| error.to_string());
        drop(input);
        child.wait().unwrap();
        assert!(message.contains("another program uses it"), "{message}");
        assert!(reader.is_some());
        open(&image).unwrap();
    }
}

#[test]
fn a_snapshot_disk_of_a_qcow2_image_is_committed() {
    let temp = Temp::new("c.img", b"");
    let image = temp.beside("c.qcow2");
    create(&image, &qcow2(MIB)).unwrap();
    let disk = disk::open(&DiskOptions { path: image.clone(), snapshot: true, ..DiskOptions::default() }).unwrap();
    disk.write_at(100_000, b"kept").unwrap();
    let mut want = vec![0; MIB as usize];
    assert!(
        contents(&disk::open(&DiskOptions { path: image.clone(), read_only: true, ..DiskOptions::default() }).unwrap())
            == want
    );
    want[100_000..100_004].copy_from_slice(b"kept");
    assert_eq!(disk.commit().unwrap(), Some(64 << 10));
    assert!(contents(&disk) == want);
    disk.write_at(100_001, b"alk").unwrap();
    assert_eq!(disk.commit().unwrap(), Some(64 << 10));
    assert_eq!(contents(&disk)[100_000..100_004], *b"kalk");
    drop(disk);
    clean(&image);
    assert_eq!(contents(&open(&image).unwrap())[100_000..100_004], *b"kalk");
}

#[test]
fn vmdk_descriptors_are_read_and_lead_nowhere_else() {
    let temp = Temp::new("flat.vmdk", &vec![6; MIB as usize]);
    let write = |extent: &str| {
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
             RW 2048 FLAT \"{extent}\" 0\nddb.adapterType = \"ide\"\n"
        );
        fs::write(temp.beside("d.vmdk"), text).unwrap();
    };
    write("flat.vmdk");
    let path = temp.beside("d.vmdk");
    assert!(refused(&path).contains("VMDK images can only be read; add readonly=on"));
    let options = DiskOptions { path: path.clone(), read_only: true, ..DiskOptions::default() };
    assert!(contents(&disk::open(&options).unwrap()) == vec![6; MIB as usize]);
    let snapshot = DiskOptions { snapshot: true, read_only: false, ..options.clone() };
    disk::open(&snapshot).unwrap().write_at(0, b"x").unwrap();
    assert_eq!(info(&path, None, Use::Read).unwrap().virtual_size, MIB);
    for elsewhere in ["/etc/hostname", "../flat.vmdk", "sub/flat.vmdk", ".."] {
        write(elsewhere);
        let error = disk::open(&options).err().unwrap().to_string();
        assert!(error.contains("outside its folder"), "{error}");
    }
}

#[test]
fn damage_is_found_and_repaired() {
    let temp = Temp::new("d.img", b"");
    let image = temp.beside("d.qcow2");
    create(&image, &NewImage { cluster_size: Some(4096), ..qcow2(4 * MIB) }).unwrap();
    let disk = open(&image).unwrap();
    disk.write_at(0, &vec![1; MIB as usize]).unwrap();
    let want = contents(&disk);
    drop(disk);
    clean(&image);
    let file = fs::File::options().read(true).write(true).open(&image).unwrap();
    let entry = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes) & 0x00ff_ffff_ffff_fe00
    };
    let block = entry(entry(48));
    // A leak behind everything, and a cluster in use that looks free.
    let end = file.metadata().unwrap().len() / 4096;
    file.write_all_at(&[0, 1], block + 2 * (end + 5)).unwrap();
    let used = entry(entry(entry(40))) / 4096;
    file.write_all_at(&[0, 0], block + 2 * used).unwrap();
    let report = check(&image, None, Repair::None, false).unwrap().unwrap();
    assert_eq!(report.leaks, 1);
    assert!(report.corruptions >= 1, "{:?}", report.problems);
    let report = check(&image, None, Repair::Leaks, false).unwrap().unwrap();
    assert_eq!((report.leaks_fixed, report.leaks), (1, 0));
    assert!(report.corruptions >= 1);
    let report = check(&image, None, Repair::All, false).unwrap().unwrap();
    assert_eq!((report.leaks, report.corruptions), (0, 0));
    // All refcounts lost, and marked as dirty and corrupt.
    file.write_all_at(&[0; 8], entry(48)).unwrap();
    file.write_all_at(&[0, 0, 0, 0, 0, 0, 0, 3], 72).unwrap();
    assert!(refused(&image).contains("repair it with `mimic img check -r all FILE`"));
    check(&image, None, Repair::All, false).unwrap().unwrap();
    clean(&image);
    clean_for_qemu(&image);
    assert!(contents(&open(&image).unwrap()) == want);
}

#[test]
fn durable_means_written_through_every_layer() {
    let temp = Temp::new("w.img", b"");
    let image = temp.beside("w.qcow2");
    for cache in [Cache::Writeback, Cache::Writethrough, Cache::Unsafe] {
        create(&image, &qcow2(MIB)).unwrap();
        let disk = disk::open(&DiskOptions { path: image.clone(), cache, ..DiskOptions::default() }).unwrap();
        disk.write_at(4096, &[9; 512]).unwrap();
        if cache != Cache::Writethrough {
            disk.flush().unwrap();
        }
        // As after SIGKILL: what the file holds now must do.
        fs::copy(&image, temp.beside("copy.qcow2")).unwrap();
        let copy = open(&temp.beside("copy.qcow2")).unwrap();
        assert_eq!(contents(&copy)[4096..4608], [9; 512], "{cache:?}");
        drop(copy);
        clean(&temp.beside("copy.qcow2"));
    }
}

/// Whatever an image holds: an error or a disk, never a panic and never an endless loop.
#[test]
fn malformed_images_are_errors() {
    let temp = Temp::new("base.img", &vec![3; MIB as usize]);
    let seed = temp.beside("seed.qcow2");
    create(&seed, &NewImage { cluster_size: Some(512), size: Some(MIB), ..over("base.img", Format::Raw) }).unwrap();
    open(&seed).unwrap().write_at(0, &[1; 100 << 10]).unwrap();
    let good = fs::read(&seed).unwrap();
    let bad = temp.beside("bad.qcow2");
    let mut random = Random(77);
    let rounds = std::env::var("MIMIC_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    let mut opened = 0;
    for round in 0..rounds {
        let mut bytes = good.clone();
        for _ in 0..1 + random.below(4) {
            // Mostly in the header and the tables, which are at the beginning.
            let range = if random.below(2) == 0 { 112 } else { 8192 };
            let at = random.below(range) as usize;
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                _ => {
                    let value = [0, u64::MAX, 1 << 63, 512, random.below(1 << 20) << 9][random.below(5) as usize];
                    let at = at & !7;
                    bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
                }
            }
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(good.len() as u64) as usize);
        }
        fs::write(&bad, &bytes).unwrap();
        let tried = std::panic::catch_unwind(|| {
            let _ = info(&bad, None, Use::Read);
            let _ = check(&bad, None, Repair::None, false);
            let Ok(disk) = disk::open(&DiskOptions {
                path: bad.clone(),
                format: Some(Format::Qcow2),
                discard: true,
                ..DiskOptions::default()
            }) else {
                return false;
            };
            let mut buf = vec![0; 4096];
            let mut at = 0;
            while at < disk.len_bytes().min(2 * MIB) {
                let len = (disk.len_bytes() - at).min(4096) as usize;
                let _ = disk.read_at(at, &mut buf[..len]);
                at += 4096 * 5;
            }
            for at in [0, 70_000, 512_000] {
                let _ = disk.write_at(at, &[7; 3000]);
                let _ = disk.discard(at, 3000);
                let _ = disk.write_zeroes(at, 3000);
            }
            let _ = disk.flush();
            true
        });
        match tried {
            Ok(true) => opened += 1,
            Ok(false) => {}
            Err(_) => {
                fs::write(std::env::temp_dir().join("mimic-malformed.qcow2"), &bytes).unwrap();
                panic!("round {round} panicked; its image is mimic-malformed.qcow2 in the temporary folder");
            }
        }
        let _ = check(&bad, None, Repair::All, false);
    }
    assert!(opened > rounds / 10, "only {opened} images were opened at all");
}
