//! Guest output on its way to a host object: a queue and a thread that writes it.
//!
//! A guest writes its console byte by byte; the thread turns what gathers meanwhile into one system call. Order is kept
//! and nothing is lost: when the host end is slow, the guest waits.

use crate::error::reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};
use vm::chardev::CharSink;

/// Bytes queued before the writer has to wait.
const QUEUE_LEN: usize = 256 * 1024;
/// A write that follows the one before sooner than this waits [`GATHER`] for more bytes first.
const BUSY: Duration = Duration::from_millis(1);
const GATHER: Duration = Duration::from_micros(500);
/// How often a write that the host end does not accept looks whether it is still wanted.
const RECHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Every output that may still have something to write.
static OUTPUTS: Mutex<Vec<Weak<Queue>>> = Mutex::new(Vec::new());

/// Waits until every output of the process is written, as [`Output::drain`] does for one. Whether all was written.
pub fn drain_all(patience: Option<Duration>) -> bool {
    let queues: Vec<Weak<Queue>> = OUTPUTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    // Each gets its chance, also after one that gave up.
    queues.iter().filter_map(Weak::upgrade).map(|queue| queue.drain(patience)).fold(true, |all, one| all & one)
}

/// A handle on one output; clones share the queue. When the last is dropped, what is queued is still written.
#[derive(Clone)]
pub struct Output {
    handle: Arc<Handle>,
    /// Gets a copy of everything, also of what has nowhere else to go.
    log: Option<Box<Output>>,
}

struct Handle(Arc<Queue>);

struct Queue {
    name: String,
    state: Mutex<State>,
    /// There is work for the thread.
    work: Condvar,
    /// The thread took or wrote something.
    progress: Condvar,
}

struct State {
    bytes: Vec<u8>,
    /// Where bytes go; without it they are dropped.
    target: Option<Arc<OwnedFd>>,
    /// The thread waits for work.
    idle: bool,
    /// The thread writes bytes it has taken out of the queue.
    writing: bool,
    /// Counts successful writes.
    writes: u64,
    /// An error was reported and not followed by success.
    reported: bool,
    /// Whether lost connections are ordinary (sockets) rather than worth a line.
    comes_and_goes: bool,
    /// No handle is left: end when all is written.
    ending: bool,
    /// Drop everything.
    closed: bool,
}

impl Output {
    /// Output to `target`; `name` names it in messages.
    pub fn new(name: &str, target: OwnedFd) -> Self {
        Self::with(name, Some(Arc::new(target)), false)
    }

    /// Output to a peer that comes and goes: dropped until [`attach`](Output::attach).
    pub(crate) fn detached(name: &str) -> Self {
        Self::with(name, None, true)
    }

    fn with(name: &str, target: Option<Arc<OwnedFd>>, comes_and_goes: bool) -> Self {
        let queue = Arc::new(Queue {
            name: name.to_string(),
            state: Mutex::new(State {
                bytes: Vec::new(),
                target,
                idle: false,
                writing: false,
                writes: 0,
                reported: false,
                comes_and_goes,
                ending: false,
                closed: false,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let mut outputs = OUTPUTS.lock().unwrap();
        outputs.retain(|queue| queue.strong_count() > 0);
        outputs.push(Arc::downgrade(&queue));
        drop(outputs);
        let on_thread = queue.clone();
        let thread = std::thread::Builder::new().name("output".into()).spawn(move || on_thread.write_out());
        thread.expect("the host has room for one more thread");
        Self { handle: Arc::new(Handle(queue)), log: None }
    }

    /// This output with a copy of everything that this handle and its later clones send going to `log`.
    pub fn logged_to(self, log: Output) -> Self {
        Self { log: Some(Box::new(log)), ..self }
    }

    /// Directs output to a new peer, or drops it from now on.
    pub(crate) fn attach(&self, target: Option<Arc<OwnedFd>>) {
        let queue = &self.handle.0;
        let mut state = queue.state.lock().unwrap();
        if target.is_none() {
            state.bytes.clear();
        }
        state.target = target;
        state.reported = false;
        queue.progress.notify_all();
    }

    /// Queues bytes; waits while the queue is full.
    pub fn send(&self, bytes: &[u8]) {
        if let Some(log) = &self.log {
            log.send(bytes);
        }
        let queue = &self.handle.0;
        let mut state = queue.state.lock().unwrap();
        while state.bytes.len() >= QUEUE_LEN && !state.closed && state.target.is_some() {
            state = queue.progress.wait(state).unwrap();
        }
        if state.closed || state.target.is_none() {
            return;
        }
        state.bytes.extend_from_slice(bytes);
        if std::mem::take(&mut state.idle) {
            queue.work.notify_one();
        }
    }

    /// Waits until everything is written; gives up when nothing moved for `patience` (`None`: never). Whether all was
    /// written.
    pub fn drain(&self, patience: Option<Duration>) -> bool {
        self.handle.0.drain(patience)
    }

    /// Drops what is queued and everything that follows, and frees whoever waits for room.
    pub fn close(&self) {
        let queue = &self.handle.0;
        let mut state = queue.state.lock().unwrap();
        state.closed = true;
        state.bytes.clear();
        queue.work.notify_one();
        queue.progress.notify_all();
    }
}

impl CharSink for Output {
    fn write(&mut self, bytes: &[u8]) {
        self.send(bytes)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().ending = true;
        self.0.work.notify_one();
    }
}

impl Queue {
    fn drain(&self, patience: Option<Duration>) -> bool {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.bytes.is_empty() && !state.writing {
                return true;
            }
            let writes = state.writes;
            let waiting = |state: &mut State| state.writes == writes && (!state.bytes.is_empty() || state.writing);
            state = match patience {
                None => self.progress.wait_while(state, waiting).unwrap(),
                Some(patience) => {
                    let (state, wait) = self.progress.wait_timeout_while(state, patience, waiting).unwrap();
                    if wait.timed_out() {
                        return false;
                    }
                    state
                }
            };
        }
    }

    /// The thread.
    fn write_out(&self) {
        let mut last_write: Option<Instant> = None;
        loop {
            let mut state = self.state.lock().unwrap();
            while state.bytes.is_empty() && !state.ending && !state.closed {
                state.idle = true;
                state = self.work.wait(state).unwrap();
            }
            state.idle = false;
            if state.closed || state.bytes.is_empty() {
                return;
            }
            if !state.ending && last_write.is_some_and(|at| at.elapsed() < BUSY) {
                drop(state);
                std::thread::sleep(GATHER);
                state = self.state.lock().unwrap();
            }
            let bytes = std::mem::take(&mut state.bytes);
            let target = state.target.clone();
            state.writing = true;
            self.progress.notify_all();
            drop(state);
            if let Some(target) = target {
                self.write_all(&target, &bytes);
            }
            last_write = Some(Instant::now());
            self.state.lock().unwrap().writing = false;
            self.progress.notify_all();
        }
    }

    fn write_all(&self, target: &Arc<OwnedFd>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(target, bytes) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    let mut state = self.state.lock().unwrap();
                    state.writes += 1;
                    state.reported = false;
                    self.progress.notify_all();
                }
                Err(Errno::INTR) => {}
                // The descriptor may have been made non-blocking by whoever shares it, as shells and terminals do.
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::from_borrowed_fd(target.as_fd(), PollFlags::OUT)];
                    let _ = poll(&mut fds, Some(&RECHECK));
                    let state = self.state.lock().unwrap();
                    let current = state.target.as_ref().is_some_and(|current| Arc::ptr_eq(current, target));
                    if state.closed || !current {
                        return;
                    }
                }
                Err(error) => return self.failed(target, error),
            }
        }
    }

    /// Reports the first of a row of errors and stops writing to a target that is gone for good.
    fn failed(&self, target: &Arc<OwnedFd>, error: Errno) {
        let mut state = self.state.lock().unwrap();
        let current = state.target.as_ref().is_some_and(|current| Arc::ptr_eq(current, target));
        let full = matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::FBIG);
        if current && !full {
            state.target = None;
            state.bytes.clear();
        }
        let quiet = std::mem::replace(&mut state.reported, true) || state.comes_and_goes;
        drop(state);
        if !quiet {
            use std::io::Write;
            let lost = if full { "this output is lost" } else { "further output is dropped" };
            let why = reason(&error.into());
            // `eprintln!` would panic where standard error is closed too.
            let _ = writeln!(std::io::stderr(), "mimic: cannot write to {}: {why}; {lost}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn order_and_every_byte_survive_a_slow_non_blocking_reader() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut buf = [0; 50_000];
            let mut file = File::from(read);
            loop {
                std::thread::sleep(Duration::from_millis(1));
                match file.read(&mut buf).unwrap() {
                    0 => return all,
                    len => all.extend_from_slice(&buf[..len]),
                }
            }
        });
        let output = Output::new("pipe", write);
        let want: Vec<u8> = (0..1_500_000u32).map(|i| (i % 251) as u8).collect();
        for chunk in want.chunks(777) {
            output.send(chunk);
        }
        assert!(output.drain(Some(Duration::from_secs(30))));
        drop(output);
        assert!(reader.join().unwrap() == want);
    }

    #[test]
    fn a_log_gets_also_what_nobody_hears() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let output = Output::detached("socket").logged_to(Output::new("log", write));
        output.send(b"unheard");
        output.clone().send(b", too");
        drop(output);
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "unheard, too");
    }

    #[test]
    fn single_bytes_are_gathered_into_few_writes() {
        // A packet-mode pipe keeps the boundaries of writes.
        let (read, write) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).unwrap();
        let output = Output::new("pipe", write);
        for _ in 0..4000 {
            output.send(b"x");
        }
        drop(output);
        let (mut writes, mut bytes) = (0, 0);
        let mut file = File::from(read);
        let mut buf = [0; 8192];
        loop {
            match file.read(&mut buf).unwrap() {
                0 => break,
                len => (writes, bytes) = (writes + 1, bytes + len),
            }
        }
        assert_eq!(bytes, 4000);
        assert!(writes < 1000, "{writes}");
    }

    #[test]
    fn a_closed_reader_neither_panics_nor_blocks_and_a_stuck_one_can_be_left() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(read);
        let output = Output::new("test output that nobody reads", write);
        for _ in 0..10 {
            output.send(&[0; QUEUE_LEN]);
        }
        assert!(output.drain(Some(Duration::from_secs(10))));

        let (_read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let output = Output::new("stuck", write);
        output.send(&[0; QUEUE_LEN]);
        let blocked = output.clone();
        let sender = std::thread::spawn(move || {
            for _ in 0..10 {
                blocked.send(&[0; QUEUE_LEN]);
            }
        });
        assert!(!output.drain(Some(Duration::from_millis(300))));
        output.close();
        sender.join().unwrap();
        output.send(b"dropped");
    }
}
