//! What the program says when it cannot start a machine: one line that names the object, the reason and the next step,
//! and exit status 1. `MIMIC_BLESS=1` rewrites `errors/golden.txt`; review the difference. Messages about the command
//! line alone are in `tests/cli`.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here runs a guest; a program that does not end by itself started one.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Files that the command lines name, in a folder of their own.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("errors-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Files(folder)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.join(name), content).unwrap();
    }
}

/// Runs a program in `folder`; its exit status, standard output and standard error.
fn run(program: &[&str], folder: &Path, line: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program[0]));
    let mut readers = Vec::new();
    let outputs: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    for mut output in outputs {
        readers.push(std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = output.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }));
    }
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if start.elapsed() > TIMEOUT => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut texts = readers.into_iter().map(|reader| reader.join().unwrap());
    (status, texts.next().unwrap(), texts.next().unwrap())
}

/// The line that the program prints, checked for its form.
fn complaint(folder: &Path, line: &str) -> String {
    complaint_of(&[env!("CARGO_BIN_EXE_mimic")], folder, line)
}

fn complaint_of(program: &[&str], folder: &Path, line: &str) -> String {
    let (status, out, err) = run(program, folder, &format!("system-aarch64 {line}"));
    assert_eq!(status, Some(1), "{line}: exit status; it printed {out:?} and {err:?}");
    assert_eq!(out, "", "{line}: standard output");
    assert_eq!(err.lines().count(), 1, "{line}: one line, not {err:?}");
    let text = err.trim_end();
    assert!(text.starts_with("mimic: ") && text.contains("; ") && err.ends_with('\n'), "{line}: {text}");
    text.to_owned()
}

/// The setup header of an x86 kernel (Linux, "The Linux/x86 Boot Protocol"): a boot sector's mark at 0x1fe, `HdrS` at
/// 0x202 and the version behind it.
fn x86_kernel() -> Vec<u8> {
    let mut image = vec![0; 8192];
    image[..2].copy_from_slice(b"MZ");
    image[0x1f1] = 4;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image
}

/// A kernel as distributions ship it: an `Image` of 16 KiB that is an EFI program too, with one section; it wants
/// 32 MiB of RAM.
fn efi_kernel() -> Vec<u8> {
    let mut image = vec![0; 16384];
    image[..2].copy_from_slice(b"MZ");
    image[16..24].copy_from_slice(&(32_u64 << 20).to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
    image[60] = 64;
    image[64..68].copy_from_slice(b"PE\0\0");
    image[68..70].copy_from_slice(&0xaa64_u16.to_le_bytes());
    image[70] = 1;
    // The section's size and place in the file.
    image[88 + 16..88 + 20].copy_from_slice(&(16384_u32 - 4096).to_le_bytes());
    image[88 + 20..88 + 24].copy_from_slice(&4096_u32.to_le_bytes());
    image
}

/// The head of an ELF file for the machine of this number (System V ABI, "ELF Header").
fn elf(machine: u16) -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    image[16..18].copy_from_slice(&2_u16.to_le_bytes());
    image[18..20].copy_from_slice(&machine.to_le_bytes());
    image[20..24].copy_from_slice(&1_u32.to_le_bytes());
    image
}

#[test]
fn one_line_with_object_reason_and_next_step() {
    let files = Files::new("golden");
    let hello = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest-images/hello.bin")).unwrap();
    files.write("Image", &hello);
    files.write("vmlinuz-half", &efi_kernel()[..8192]);
    files.write("vmlinuz", &efi_kernel());
    files.write("header-only", &hello[..64]);
    files.write("stump", &hello[..10]);
    files.write("empty", b"");
    files.write("bzImage", &x86_kernel());
    files.write("x86.elf", &elf(62));
    files.write("arm32.elf", &elf(40));
    files.write("text", b"console=ttyAMA0 root=/dev/vda\n");
    files.write("truncated.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed]);
    files.write("disk.img", &[0; 4096]);
    files.write("archive.tar.xz", b"\xfd7zXZ\0\0\x04 and more, but this is no kernel");
    fs::create_dir(files.0.join("folder")).unwrap();

    let lines = [
        "-M virt -nographic -kernel text",
        "-M virt -nographic -kernel vmlinuz-half",
        "-M virt -nographic -kernel header-only",
        "-M virt -nographic -kernel stump",
        "-M virt -nographic -kernel empty",
        "-M virt -nographic -kernel truncated.gz",
        "-M virt -nographic -kernel archive.tar.xz",
        "-M virt -nographic -kernel bzImage",
        "-M virt -nographic -kernel x86.elf",
        "-M virt -nographic -kernel arm32.elf",
        "-M virt -nographic -kernel missing",
        "-M virt -nographic -kernel folder",
        "-M virt -nographic -kernel Image -initrd missing.cpio",
        "-M virt -nographic -kernel Image -dtb missing.dtb",
        "-M virt -nographic -kernel Image -dtb text",
        "-M vrit -kernel Image",
        "-M raspi4b -kernel Image",
        "-M virt -cpu cortex-a58 -kernel Image",
        "-M virt -cpu cortex-a57,frob=on -kernel Image",
        "-M virt -kernal Image",
        "-M virt -frobnicate -kernel Image",
        "-M virt -device virtio-bkl-device -kernel Image",
        "-M virt -device pvpanic -kernel Image",
        "-M virt -drive if=none,id=a,format=raw,file=missing.img -device virtio-blk-device,drive=a -kernel Image",
        "-M virt -drive if=none,id=a,format=raw,file=folder -device virtio-blk-device,drive=a -kernel Image",
        "-M virt -m 1 -kernel vmlinuz",
        "-M virt -serial file:folder -kernel Image",
        "-M virt -serial unix:missing/socket -kernel Image",
        "-M virt -nographic -D missing/log -d int -kernel Image",
        "-M virt -nographic -pidfile missing/pid -kernel Image",
    ];
    let text: String =
        lines.iter().map(|line| format!("$ mimic system-aarch64 {line}\n{}\n", complaint(&files.0, line))).collect();
    check("golden.txt", &text);
}

#[test]
fn ram_too_large_for_the_host() {
    let files = Files::new("ram");
    files.write("Image", &fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest-images/hello.bin")).unwrap());
    // How much the host has differs; the rest of the line does not.
    let text = complaint(&files.0, "-M virt -m 200G -kernel Image");
    let words: Vec<&str> = text.split(' ').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word }).collect();
    assert_eq!(words.join(" "), "mimic: -m 204800: this host has only N MiB of memory and swap; ask for less");
}

/// Root may open everything, so that under root somebody else must try, from a folder that everybody may enter.
#[test]
fn disk_without_permission() {
    let folder = std::env::temp_dir().join(format!("mimic-permission-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let files = Files(folder);
    fs::copy(env!("CARGO_BIN_EXE_mimic"), files.0.join("mimic")).unwrap();
    files.write("Image", &fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest-images/hello.bin")).unwrap());
    files.write("disk.img", &[0; 4096]);
    for (name, mode) in [("", 0o755), ("Image", 0o644), ("mimic", 0o755), ("disk.img", 0)] {
        fs::set_permissions(files.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let disk = files.0.join("disk.img");
    let is_root = fs::File::open(&disk).is_ok();
    let somebody: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./mimic"];
    let program = if is_root { somebody } else { &["./mimic"] };
    let line = "-M virt -drive if=none,id=a,format=raw,file=disk.img -device virtio-blk-device,drive=a -kernel Image";
    let hidden = complaint_of(program, &files.0, line);
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o444)).unwrap();
    let unwritable = complaint_of(program, &files.0, line);
    fs::remove_dir_all(&files.0).unwrap();
    let expect = "mimic: cannot open disk `disk.img`: permission denied; add readonly=on or fix the file's mode";
    assert_eq!([hidden.as_str(), &unwritable], [expect, expect]);
}

fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors").join(file);
    if std::env::var_os("MIMIC_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let different = golden.lines().zip(text.lines()).find(|(golden, text)| golden != text);
    assert!(golden == text, "{file} differs, first in {different:#?}; MIMIC_BLESS=1 accepts the new text");
}
