//! A guest as its network shows it to the host: ssh through a forwarded port.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest time that one command takes in a guest, with the way there and back.
const PATIENCE: Duration = Duration::from_secs(600);

/// Root of a guest, by ssh.
pub struct Visitor {
    /// The host's port that leads to the guest's.
    pub port: u16,
    pub key: PathBuf,
}

impl Visitor {
    /// Waits until the guest lets us in.
    pub fn wait(&self, patience: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.run("true", &[]) {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > patience => return Err(error.context("the guest lets nobody in")),
                Err(_) => std::thread::sleep(Duration::from_secs(2)),
            }
        }
    }

    /// Runs a command line of the guest's shell; returns what it prints.
    pub fn run(&self, line: &str, input: &[u8]) -> Result<Vec<u8>> {
        let mut child = Command::new("timeout")
            .arg(PATIENCE.as_secs().to_string())
            .args(["ssh", "-F", "none", "-i"])
            .arg(&self.key)
            .args(["-p", &self.port.to_string()])
            // A new guest each time: nobody has to know it. Nothing may ask.
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
            .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60"])
            .args(["root@127.0.0.1", line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ssh`")?;
        let stdin = child.stdin.take();
        let result = std::thread::scope(|scope| {
            // One that ends early does not read; its status says so below.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
            child.wait_with_output()
        })?;
        if !result.status.success() {
            let text = String::from_utf8_lossy(&result.stderr);
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            bail!("ssh: `{line}`: {}: {}", result.status, lines[lines.len().saturating_sub(4)..].join(" | "));
        }
        Ok(result.stdout)
    }
}
