//! `mimic img` as a program: its output beside qemu-img's, its exit status, its one-line errors.

#![forbid(unsafe_code)]

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("img-{name}"));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Exit status, standard output and standard error of a program.
    fn run(&self, program: &str, line: &str) -> Option<(i32, String, String)> {
        match Command::new(program).args(line.split_whitespace()).current_dir(&self.0).output() {
            Ok(output) => Some((
                output.status.code().unwrap_or(-1),
                String::from_utf8_lossy(&output.stdout).into_owned(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )),
            Err(error) => {
                println!("skipped: {program} cannot be run ({error}); it is in Debian's qemu-utils");
                None
            }
        }
    }

    fn img(&self, line: &str) -> (i32, String, String) {
        self.run(env!("CARGO_BIN_EXE_mimic"), &format!("img {line}")).unwrap()
    }

    fn good(&self, line: &str) -> String {
        let (status, out, err) = self.img(line);
        assert_eq!((status, err.as_str()), (0, ""), "{line}: {out}");
        out
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.good(line)).unwrap()
    }
}

#[test]
fn information_is_qemu_imgs() {
    let folder = Folder::new("info");
    folder.good("create -q base.img 10M");
    folder.good("create -q -f qcow2 -b base.img -F raw -o cluster_size=4k top.qcow2");
    folder.good("create -q -f qcow2 -o refcount_bits=1,preallocation=metadata alone.qcow2 1G");
    for name in ["base.img", "top.qcow2", "alone.qcow2"] {
        let ours = folder.json(&format!("info --output=json {name}"));
        let Some((_, theirs, _)) = folder.run("qemu-img", &format!("info --output=json {name}")) else { return };
        let mut theirs: Value = serde_json::from_str(&theirs).unwrap();
        // Newer versions describe the file below too.
        theirs.as_object_mut().unwrap().remove("children");
        assert_eq!(ours, theirs, "{name}");
        let (text, theirs) =
            (folder.good(&format!("info {name}")), folder.run("qemu-img", &format!("info {name}")).unwrap().1);
        for line in text.lines() {
            assert!(theirs.contains(line), "{name}: {line:?} is not in {theirs}");
        }
    }
    let chain = folder.json("info --backing-chain --output=json top.qcow2");
    assert_eq!(chain[1]["filename"], "base.img");
}

#[test]
fn a_round_through_every_command() {
    let folder = Folder::new("round");
    let data: Vec<u8> = (0..3 << 20).map(|n: u32| if n % 500_000 < 9000 { (n >> 4) as u8 } else { 0 }).collect();
    std::fs::write(folder.0.join("a.img"), &data).unwrap();
    let shown = folder.good("convert -p -O qcow2 a.img b.qcow2");
    assert!(shown.contains("(100.00/100%)"), "{shown:?}");
    assert!(folder.good("check b.qcow2").starts_with("No errors were found on the image.\n"));
    assert_eq!(folder.good("resize -f qcow2 b.qcow2 +1M"), "Image resized.\n");
    assert_eq!(folder.json("info --output=json b.qcow2")["virtual-size"], 4 << 20);
    folder.good("resize -q --shrink b.qcow2 -1M");
    folder.good("convert -f qcow2 -Oraw b.qcow2 c.img");
    assert!(std::fs::read(folder.0.join("c.img")).unwrap() == data);
    let (status, _, err) = folder.img("check a.img");
    assert_eq!(status, 63, "{err}");
    if let Some((status, out, err)) = folder.run("qemu-img", "compare a.img b.qcow2") {
        assert_eq!(status, 0, "{out}{err}");
    }
}

#[test]
fn mistakes_are_one_line_with_the_next_step() {
    let folder = Folder::new("mistakes");
    std::fs::write(folder.0.join("stump.qcow2"), b"QFI\xfb\0\0\0\x03").unwrap();
    std::fs::write(folder.0.join("data.img"), [1; 4096]).unwrap();
    folder.good("create -q -f qcow2 -u -b gone.img -F raw over.qcow2 1M");
    let rows = [
        ("info missing.img", "cannot open image `missing.img`: no such file or directory; check the path"),
        ("info stump.qcow2", "its qcow2 header is truncated: the file has 8 bytes; take another copy"),
        ("check stump.qcow2", "its qcow2 header is truncated"),
        ("info -f qcow2 data.img", "it is no qcow2 image; leave format= out"),
        ("create no/where.img 1M", "no such file or directory; make its folder first"),
        ("create -f qcow2 -b gone.img -F raw x.qcow2", "cannot use backing file `gone.img`: no such file or directory"),
        ("create -f qcow2 -b data.img x.qcow2", "add -F raw if that is what it is"),
        (
            "convert -O qcow2 over.qcow2 x.qcow2",
            "its backing file `gone.img` cannot be opened: no such file or directory; put that file back at `gone.img`",
        ),
        ("convert data.img data.img", "it is the source; choose another name"),
        ("resize data.img 512", "then add --shrink"),
    ];
    for (line, want) in rows {
        let (status, out, err) = folder.img(line);
        assert_eq!((status, out.as_str(), err.lines().count()), (1, "", 1), "{line}: {err}");
        assert!(err.starts_with("mimic: ") && err.contains(want), "{line}: {err}");
        assert!(!folder.0.join("x.qcow2").exists(), "{line} left a file behind");
    }
}
