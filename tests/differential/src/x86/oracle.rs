//! The other side: the runner program on the host's own processor.

use super::wire::{Case, Outcome, RESULT_BYTES};
use crate::oracle::{Missing, Process, compile, exists};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running runner.
pub struct Oracle(Process);

/// Builds the runner into the target directory.
///
/// # Errors
/// When this is no x86-64 host, or the compiler is missing.
pub fn build() -> Result<PathBuf, Missing> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err(Missing("x86-64 instructions are executed by the host's own processor, which is another".into()));
    }
    if !exists("cc") {
        return Err(Missing("`cc` is missing (package gcc)".into()));
    }
    // Position-independent, so that it lies where no random address leads; no canary, which is addressed through FS, in
    // what runs between a case's signal and the return to the runner's own FS.
    compile("cc", "runner-x86", &["-O2", "-static-pie", "-fPIE", "-fno-stack-protector"])
}

impl Oracle {
    /// Starts a runner that [`build`] made.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(runner: &Path) -> io::Result<Oracle> {
        Ok(Oracle(Process::start(Command::new(runner))?))
    }

    /// Sends cases; their results must be received later, in order.
    pub fn send<'a>(&self, cases: impl Iterator<Item = &'a Case>) {
        let mut bytes = Vec::new();
        cases.for_each(|case| case.put(&mut bytes));
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
