//! A package repository of a few packages from Debian's archive, for guests that install from it: the layout of Debian's own
//! (<https://wiki.debian.org/DebianRepository/Format>). Nobody signs it; its users say `[trusted=yes]`, and apt checks the digests.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Archive;
use crate::command::output;

/// The suite's name, and its only component.
pub const SUITE: &str = "mimic";
pub const COMPONENT: &str = "main";

/// What is in it for each architecture: small, and depends on nothing but the C library.
pub const PACKAGES: &[&str] = &["hello", "tree"];
pub const ARCHITECTURES: &[&str] = &["amd64", "arm64"];

/// Makes the repository in the directory `dir`; apt works in `apt`.
pub fn make(dir: &Path, apt: &Path) -> Result<()> {
    let pool = dir.join("pool");
    fs::create_dir_all(&pool)?;
    let suite = dir.join("dists").join(SUITE);
    let mut digests = String::new();
    for arch in ARCHITECTURES {
        let archive = Archive::open("bookworm", arch, apt)?;
        let mut index = String::new();
        for package in PACKAGES {
            let file = archive.package(package)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fs::copy(&file, pool.join(&name)).with_context(|| format!("cannot copy {}", file.display()))?;
            index += &moved(&archive.stanza(package)?, &format!("pool/{name}"));
        }
        let path = format!("{COMPONENT}/binary-{arch}/Packages");
        let file = suite.join(&path);
        fs::create_dir_all(file.parent().context("a path of three parts")?)?;
        fs::write(&file, &index)?;
        let sum = output(Command::new("sha256sum").arg(&file))?;
        let digest = sum.split_whitespace().next().context("sha256sum printed nothing")?;
        digests += &format!(" {digest} {} {path}\n", index.len());
    }
    let date = output(Command::new("date").env("LC_ALL", "C").args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"]))?;
    fs::write(suite.join("Release"), release(date.trim(), &digests)).context("cannot write the repository's Release")
}

/// The paragraph of a package whose file lies elsewhere, with the empty line that ends it.
fn moved(stanza: &str, path: &str) -> String {
    let mut text = String::new();
    for line in stanza.trim().lines() {
        match line.starts_with("Filename:") {
            true => text += &format!("Filename: {path}\n"),
            false => text += &format!("{line}\n"),
        }
    }
    text + "\n"
}

fn release(date: &str, digests: &str) -> String {
    format!(
        "Origin: Mimic\nLabel: Mimic\nSuite: {SUITE}\nCodename: {SUITE}\nDate: {date}\nArchitectures: {}\nComponents: {COMPONENT}\n\
         Description: packages for tests\nSHA256:\n{digests}",
        ARCHITECTURES.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_of_a_package_changes() {
        let stanza =
            "Package: hello\nFilename: pool/main/h/hello/hello_1_arm64.deb\nSize: 7\nDescription: says\n hello\n\n";
        let expect = "Package: hello\nFilename: pool/hello_1_arm64.deb\nSize: 7\nDescription: says\n hello\n\n";
        assert_eq!(moved(stanza, "pool/hello_1_arm64.deb"), expect);
    }

    #[test]
    fn the_release_lists_digests_last() {
        let text = release("Sun, 22 Nov 2026 02:00:00 UTC", " aa 7 main/binary-amd64/Packages\n");
        assert!(text.contains("\nArchitectures: amd64 arm64\nComponents: main\n"), "{text}");
        assert!(text.ends_with("\nSHA256:\n aa 7 main/binary-amd64/Packages\n"), "{text}");
    }
}
