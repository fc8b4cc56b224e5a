//! `mimic run`: which machine is chosen for an image, and what is said about those that start nowhere.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{name}"));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    /// Whether `mimic run LINE` succeeds, and what it prints on its two outputs.
    fn run(&self, line: &str) -> (bool, String) {
        let words = line.split_whitespace();
        let output = Command::new(env!("CARGO_BIN_EXE_mimic")).arg("run").args(words).current_dir(&self.0).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// The command for an image, with what depends on the host (its processors and memory) left out.
    #[track_caller]
    fn chosen(&self, line: &str) -> String {
        let (good, text) = self.run(&format!("{line} --show-command"));
        assert!(good, "{text}");
        let mut words: Vec<&str> = text.split(' ').collect();
        for option in ["-smp", "-m"] {
            let at = words.iter().position(|word| *word == option).unwrap();
            words.drain(at..at + 2);
        }
        words.join(" ")
    }

    #[track_caller]
    fn refused(&self, line: &str) -> String {
        let (good, text) = self.run(line);
        assert!(!good && text.lines().count() == 1, "{text}");
        text
    }
}

/// A disk with an MBR, boot code and one partition.
fn mbr(kind: u8) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..2].copy_from_slice(&[0xeb, 0x63]);
    disk[446 + 4] = kind;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn with(len: usize, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0; len];
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn machines_for_images() {
    let folder = Folder::new("chosen");
    folder.file("linux.img", &mbr(0x83));
    folder.file("a,b c'd.img", &mbr(0x83));
    folder.file("dos.img", &mbr(0x06));
    folder.file("bzImage", &with(4096, 0x202, b"HdrS"));
    folder.file("Image", &with(4096, 56, b"ARM\x64"));
    let net = "-nic user,model=virtio -device virtio-rng-pci";
    assert_eq!(
        folder.chosen("linux.img"),
        format!("mimic system-x86_64 -machine pc -drive file=linux.img,if=virtio {net}")
    );
    assert_eq!(
        folder.chosen("dos.img --no-network --disk d.img"),
        "mimic system-x86_64 -machine pc -drive file=dos.img,if=ide -drive file=d.img,if=ide -nic none"
    );
    assert_eq!(
        folder.chosen("bzImage -initrd initrd.gz --arch=i386"),
        format!("mimic system-i386 -machine pc -kernel bzImage -append console=ttyS0 {net} -initrd initrd.gz")
    );
    assert_eq!(
        folder.chosen("Image -append quiet -p 2222:22 -nographic"),
        "mimic system-aarch64 -machine virt -kernel Image \
         -nic user,model=virtio,hostfwd=tcp:127.0.0.1:2222-:22 -device virtio-rng-pci -append quiet -nographic"
    );
    // What the person says is not chosen.
    let (good, text) = folder.run("linux.img -m 64 -smp 1 -M isapc -nic none --show-command");
    assert!(good);
    assert_eq!(text, "mimic system-x86_64 -drive file=linux.img,if=virtio -m 64 -smp 1 -M isapc -nic none");
    let mut odd = Command::new(env!("CARGO_BIN_EXE_mimic"));
    let odd = odd.args(["run", "a,b c'd.img", "--show-command"]).current_dir(&folder.0).output().unwrap();
    assert!(String::from_utf8_lossy(&odd.stdout).contains(r"-drive 'file=a,,b c'\''d.img,if=virtio'"));
}

#[test]
fn images_that_start_nowhere() {
    let folder = Folder::new("refused");
    folder.file("empty", b"");
    folder.file("zeros", &[0; 4096]);
    folder.file("ext4", &with(1 << 16, 0x438, &[0x53, 0xef]));
    folder.file("disk.img.xz", b"\xfd7zXZ\0compressed");
    folder.file("text", b"to be, or not to be");
    let data = with(1 << 16, 510, &[0x55, 0xaa]);
    folder.file("data", &[&data[..446], &[0, 0, 0, 0, 0x83], &data[451..]].concat());
    let rows = [
        ("missing", "cannot open image `missing`: no such file or directory; check the path"),
        ("empty", "image `empty` is empty; name a disk image"),
        ("zeros", "image `zeros` does not start on any machine: it is filled with zeros"),
        (
            "ext4",
            "image `ext4` does not say what starts it: it is an ext file system without a boot loader; say --arch",
        ),
        ("disk.img.xz", "image `disk.img.xz` is compressed; unpack it first: `xz -dk disk.img.xz`"),
        ("text", "image `text` does not start on any machine: it is a text file; name a disk"),
        ("data", "image `data` does not say what starts it: it is an MBR; say --arch aarch64 or --arch x86_64"),
        ("zeros --help-me", "-help-me: unknown option"),
    ];
    for (line, want) in rows {
        let text = folder.refused(line);
        assert!(text.starts_with(&format!("mimic: {want}")), "{line}: {text}");
    }
}
