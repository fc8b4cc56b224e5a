//! Mimic as it was at another commit, to compare this one with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, step};
use crate::{cargo, places};

/// A built Mimic.
#[derive(Debug, PartialEq)]
pub struct Build {
    /// The commit's short name.
    pub commit: String,
    pub program: PathBuf,
}

/// Builds Mimic at `commit`, anything that git understands, or finds it built.
///
/// All commits are built in one checkout below `target`, one after the other, so that cargo builds only what differs.
pub fn build(commit: &str) -> Result<Build> {
    let name = git(&["rev-parse", "--verify", "--quiet", "--short=10", &format!("{commit}^{{commit}}")])
        .with_context(|| format!("git knows no commit `{commit}`"))?;
    let dir = places::target().join("bench").join("against");
    // A directory for each: a program called `mimic` is one that wants the system's name.
    let program = dir.join(&name).join("mimic");
    if !program.exists() {
        let checkout = dir.join("checkout");
        check_out(&checkout, &name)?;
        step(&format!("build mimic at {name} (minutes the first time)"), || {
            let build = &mut cargo::cargo();
            build.current_dir(&checkout).env("CARGO_TARGET_DIR", dir.join("target"));
            output(build.args(["build", "--release", "--quiet", "--bin", "mimic"]))
                .with_context(|| format!("mimic does not build at {name}"))
        })?;
        fs::create_dir_all(dir.join(&name))?;
        fs::copy(dir.join("target/release/mimic"), &program)
            .with_context(|| format!("cannot write {}", program.display()))?;
    }
    Ok(Build { commit: name, program })
}

/// Brings the checkout to that commit.
fn check_out(checkout: &std::path::Path, commit: &str) -> Result<()> {
    let path = checkout.to_string_lossy();
    if checkout.join(".git").exists() {
        git(&["-C", &path, "checkout", "--quiet", "--detach", "--force", commit])?;
    } else {
        // Somebody may have deleted `target`: git forgets its checkouts there.
        git(&["worktree", "prune"])?;
        git(&["worktree", "add", "--quiet", "--detach", &path, commit])?;
    }
    let there = git(&["-C", &path, "rev-parse", "--short=10", "HEAD"])?;
    if there != commit {
        bail!("{path} is at {there}, not at {commit}");
    }
    Ok(())
}

/// The commit of the sources of this program, and whether they differ from it.
pub fn here() -> String {
    git(&["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]).unwrap_or_else(|_| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> Result<String> {
    let text = output(Command::new("git").current_dir(places::repository()).args(arguments))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_commit_is_named() {
        let error = format!("{:#}", build("no-such-commit").unwrap_err());
        assert!(error.contains("no commit `no-such-commit`"), "{error}");
    }
}
