//! The host's end of the network's rows: iperf3 as a server on the loopback.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::fetch::host;
use crate::ports::free_port;

/// Serves until it is dropped, one client after the other.
#[derive(Debug)]
pub struct Iperf {
    port: u16,
    child: Child,
}

impl Iperf {
    pub fn start() -> Result<Iperf> {
        host::ensure(host::IPERF)?;
        let port = free_port()?;
        let mut child = Command::new("iperf3")
            .args(["--server", "--forceflush", "--bind", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start iperf3")?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        if !lines.any(|line| line.is_ok_and(|line| line.contains("listening"))) {
            bail!("iperf3 does not listen on port {port} ({})", child.wait()?);
        }
        // Its reports are for nobody, but it stops when they are not taken.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Iperf { port, child })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Iperf {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
