//! The other side: the runner program under `qemu-aarch64`, or directly on an AArch64 host.

use crate::wire::{Case, Outcome, RESULT_BYTES};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};

/// A running runner.
pub struct Oracle(Process);

/// A child process that answers on its standard output what it reads from its standard input.
pub struct Process {
    child: Child,
    send: Option<Sender<Vec<u8>>>,
    output: ChildStdout,
}

/// Why there is no oracle on this host.
#[derive(Debug)]
pub struct Missing(pub String);

/// Whether a program can be started.
pub fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Builds the runner into the target directory.
///
/// # Errors
/// When a program is missing; its package is named.
pub fn build() -> Result<PathBuf, Missing> {
    let native = cfg!(target_arch = "aarch64");
    let compiler = if native { "cc" } else { "aarch64-linux-gnu-gcc" };
    if !exists(compiler) {
        return Err(Missing(format!("`{compiler}` is missing (package gcc-aarch64-linux-gnu)")));
    }
    if !native && !exists("qemu-aarch64") {
        return Err(Missing("`qemu-aarch64` is missing (package qemu-user)".into()));
    }
    compile(compiler, "runner", &["-O2", "-static", "-no-pie"])
}

/// Compiles `runner.c` and `enter.S` of a directory beside the sources into a program of the same name in the target
/// directory.
///
/// # Errors
/// When that fails.
pub fn compile(compiler: &str, name: &str, flags: &[&str]) -> Result<PathBuf, Missing> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/differential");
    // Two runs at once must not see half a file.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let unique = format!("{name}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let runner = directory.join(unique);
    let fail = |what: &str, why: &dyn std::fmt::Display| Missing(format!("{what}: {why}"));
    std::fs::create_dir_all(&directory).map_err(|e| fail("target directory", &e))?;
    let sources = [source.join("runner.c"), source.join("enter.S")];
    let status = Command::new(compiler).args(flags).arg("-o").arg(&runner).args(sources).status();
    match status {
        Ok(status) if status.success() => {
            let ready = directory.join(name);
            std::fs::rename(&runner, &ready).map_err(|e| fail("target directory", &e))?;
            Ok(ready)
        }
        Ok(status) => Err(fail(compiler, &status)),
        Err(error) => Err(fail(compiler, &error)),
    }
}

impl Oracle {
    /// Starts a runner that [`build`] made, under QEMU with CPU model `cpu`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(runner: &Path, cpu: &str) -> io::Result<Oracle> {
        let command = if cfg!(target_arch = "aarch64") {
            Command::new(runner)
        } else {
            let mut command = Command::new("qemu-aarch64");
            // The runner's state has no room for SVE, and Mimic has none.
            let cpu = if cpu == "max" { "max,sve=off,sme=off" } else { cpu };
            command.args(["-cpu", cpu]).arg(runner);
            command
        };
        Ok(Oracle(Process::start(command)?))
    }

    /// Sends cases; their results must be received later, in order.
    pub fn send(&self, cases: &[Case]) {
        let mut bytes = Vec::with_capacity(cases.len() * crate::wire::CASE_BYTES);
        cases.iter().for_each(|case| case.put(&mut bytes));
        self.0.send(bytes);
    }

    /// Receives the results of the next `count` cases.
    ///
    /// # Errors
    /// When the runner has ended; its standard error says why.
    pub fn receive(&mut self, count: usize) -> io::Result<Vec<Outcome>> {
        let bytes = self.0.receive(count * RESULT_BYTES)?;
        Ok(bytes.chunks_exact(RESULT_BYTES).map(Outcome::take).collect())
    }
}

impl Process {
    /// Starts the process of a command.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> io::Result<Process> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut input, output) = match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => (input, output),
            _ => return Err(io::Error::other("the runner has no pipes")),
        };
        let (send, receive) = channel::<Vec<u8>>();
        // The runner writes results while cases are still coming: writing needs a thread of its own.
        std::thread::spawn(move || {
            while let Ok(bytes) = receive.recv() {
                if input.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        Ok(Process { child, send: Some(send), output })
    }

    /// Sends bytes to its standard input, without waiting.
    pub fn send(&self, bytes: Vec<u8>) {
        if let Some(send) = &self.send {
            // A runner that has ended is noticed by `receive`.
            let _ = send.send(bytes);
        }
    }

    /// Receives `len` bytes of its standard output.
    ///
    /// # Errors
    /// When it has ended; its standard error says why.
    pub fn receive(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.output.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.send.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
