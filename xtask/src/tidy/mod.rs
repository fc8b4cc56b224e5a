//! `cargo xtask tidy`: rules of the house that the compiler does not check.

mod imports;
mod source;
mod texts;
mod unsafety;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, cargo};
use crate::command::{output, show};
use crate::places;

/// A file of the repository: path from its root, and text.
pub struct File {
    pub path: String,
    pub text: String,
}

/// Runs every check, prints each complaint on a line, fails if there was one.
pub fn run() -> Result<()> {
    let files = files()?;
    let metadata = cargo::metadata()?;
    let checks: [(&str, Vec<String>); 3] = [
        ("who imports whom", imports::check(&metadata)),
        ("unsafe code", unsafety::check(&files)),
        ("texts", texts::check(&files)),
    ];
    let mut failed = 0;
    for (name, complaints) in &checks {
        println!("tidy: {name}: {}", if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in complaints {
            println!("  {complaint}");
        }
        failed += usize::from(!complaints.is_empty());
    }
    println!("tidy: formatting");
    let format = show(cargo().args(["fmt", "--all", "--check"]));
    println!("tidy: clippy");
    let clippy = show(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]));
    for result in [format, clippy] {
        if let Err(error) = result {
            println!("  {error:#}");
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} of 5 tidy checks failed");
    }
    println!("tidy: ok");
    Ok(())
}

/// Text files that are, or are about to be, in the repository.
fn files() -> Result<Vec<File>> {
    let list = output(Command::new("git").current_dir(places::repository()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files = Vec::new();
    for path in list.lines() {
        let full = places::repository().join(path);
        if !full.is_file() {
            continue; // Deleted, not yet committed.
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes)
            && !text.contains('\0')
        {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}
