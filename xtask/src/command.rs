//! Running other programs so that a failure is one line that says what failed and why.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Runs to the end without input; returns standard output. On failure the error carries the last lines of standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{name}`: is its package installed and on PATH?"))?;
    if !out.status.success() {
        let text = [out.stderr.as_slice(), out.stdout.as_slice()].concat();
        bail!("`{name}` failed ({}): {}", out.status, gist(&String::from_utf8_lossy(&text)));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs with the terminal's own input and output; an error when the exit status is not 0.
pub fn show(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status =
        command.status().with_context(|| format!("cannot run `{name}`: is its package installed and on PATH?"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Whether a program of that name is on PATH (or in the administrator's directories, where a user's PATH may not look).
/// An absolute path is looked at where it says.
pub fn exists(program: &str) -> bool {
    if program.starts_with('/') {
        return std::path::Path::new(program).exists();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| std::fs::metadata(format!("{dir}/{program}")).is_ok_and(|m| m.is_file()))
}

/// One slow step: prints what it is, then how long it took, on one line.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    print!("{what} ... ");
    std::io::stdout().flush().ok();
    let start = Instant::now();
    let result = work();
    match &result {
        Ok(_) => println!("{:.1} s", start.elapsed().as_secs_f64()),
        Err(_) => println!("failed"),
    }
    result
}

/// The lines that say what went wrong, if they are marked as such (apt's and cargo's), else the last ones.
fn gist(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked = |line: &&str| ["E:", "error:", "error["].iter().any(|mark| line.starts_with(mark));
    let errors: Vec<&str> = lines.iter().copied().filter(marked).take(2).collect();
    if errors.is_empty() { lines[lines.len().saturating_sub(3)..].join(" | ") } else { errors.join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_program_and_its_last_words() {
        let error =
            output(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("`sh`") && error.contains("one | two") && error.contains('3'), "{error}");
        let error = output(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.contains("cannot run `no-such-program-here`"), "{error}");
    }

    #[test]
    fn marked_errors_win_over_last_lines() {
        assert_eq!(gist("a\nE: no list\nb\nc\nd\n"), "E: no list");
        assert_eq!(gist("a\n\nb\nc\n d \n"), "b | c | d");
    }

    #[test]
    fn output_is_returned() {
        assert_eq!(output(Command::new("sh").args(["-c", "echo yes; echo no >&2"])).unwrap(), "yes\n");
        assert!(exists("sh") && exists("/bin/sh") && !exists("no-such-program-here") && !exists("/no/sh"));
    }
}
