//! Signals: clean termination, stop and continue with the terminal in the right mode, window size changes.

use crate::terminal;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::{emulate_default_handler, signal_name};
use std::io;
use std::thread::JoinHandle;

/// The thread that receives the process's signals. Dropping it leaves signals ignored from then on.
pub struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Handles SIGTERM, SIGINT, SIGHUP and SIGQUIT by restoring the terminal, one line on standard error and
    /// `terminate(signal)`, which asks the run loop to end; a second such signal ends the process at once. SIGTSTP and
    /// SIGCONT keep the terminal's mode right, SIGWINCH reaches every character device on the terminal. A signal that
    /// the starter of this program had ignored (`nohup`) stays so.
    pub fn start(mut terminate: impl FnMut(i32) + Send + 'static) -> io::Result<Self> {
        let ignored = ignored();
        let wanted = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH];
        let mut signals = Signals::new(wanted.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0))?;
        let handle = signals.handle();
        let work = move || {
            let mut terminating = false;
            for signal in &mut signals {
                match signal {
                    SIGTSTP => {
                        terminal::suspend();
                        // Returns when the process is continued.
                        let _ = emulate_default_handler(SIGTSTP);
                        terminal::resume();
                        terminal::size_changed();
                    }
                    SIGCONT => {
                        terminal::resume();
                        terminal::size_changed();
                    }
                    SIGWINCH => terminal::size_changed(),
                    _ => {
                        terminal::restore();
                        if terminating {
                            let _ = emulate_default_handler(signal);
                        }
                        terminating = true;
                        report(signal);
                        terminate(signal);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(work)?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

/// The signals that are ignored, bit 0 for signal 1 (proc(5), "/proc/pid/status", SigIgn).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Says which signal ends the program. Standard error may be the terminal that just hung up: failure does not matter.
fn report(signal: i32) {
    use std::io::Write;
    let name = signal_name(signal).unwrap_or("unknown");
    let _ = writeln!(io::stderr(), "mimic: terminating on signal {signal} ({name})");
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
