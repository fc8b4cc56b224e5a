//! Host ends of serial connections: the terminal, files, pseudo-terminals, sockets, pipes.

use crate::error::{HostError, reason};
use crate::output::Output;
use crate::socket::{self, Listener};
use crate::terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vm::chardev::{CharEvent, CharPort};

pub use crate::socket::{Address, Role, remove_sockets};

/// How often a peer that is away is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What stands at the host's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// Nothing: output vanishes, no input.
    Null,
    /// Standard input and output.
    Stdio,
    /// Output to a file; no input.
    File { path: PathBuf, append: bool },
    /// A new pseudo-terminal. Output is dropped while nobody has it open.
    Pty,
    /// A stream socket.
    Socket { address: Address, role: Role },
    /// Two named pipes, `path.in` with the guest's input and `path.out` for its output, or one at `path` for both.
    Pipe { path: PathBuf },
}

/// Something that arrives from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// Somebody is at the other end now.
    Connected,
    /// At least one byte.
    Data(&'a [u8]),
    /// The terminal has this size now.
    Resize { columns: u16, rows: u16 },
}

/// Takes what arrives, on the host end's own thread. It may block; input waits meanwhile.
pub type Receiver = Box<dyn FnMut(Inbound<'_>) + Send>;

/// An open host end.
pub struct Backend {
    output: Option<Output>,
    source: Source,
    place: Option<String>,
}

enum Source {
    Nothing,
    Stdin,
    Fd(OwnedFd),
    Pty(Arc<OwnedFd>),
    Listener(Listener, Option<OwnedFd>),
    Client { address: Address, reconnect: Option<Duration>, stream: OwnedFd },
}

/// Whether some host end has standard input and output.
static STDIO_TAKEN: AtomicBool = AtomicBool::new(false);

impl Backend {
    /// Opens a host end; `label` (`serial0`, or the id of a `-chardev`) names it in messages. Raw mode of the terminal is
    /// the caller's to switch on ([`terminal::Terminal`]).
    pub fn open(label: &str, spec: &Spec) -> Result<Backend, HostError> {
        match spec {
            Spec::Null => Ok(Backend { output: None, source: Source::Nothing, place: None }),
            Spec::Stdio => Self::open_stdio(label),
            Spec::File { path, append } => {
                Ok(Backend { output: Some(open_file(path, *append)?), source: Source::Nothing, place: None })
            }
            Spec::Pty => Self::open_pty(label).map_err(|error| {
                let advice = "check that /dev/pts is mounted and its limit /proc/sys/kernel/pty/max not reached";
                HostError::new("open", "pseudo-terminal for", label, reason(&error), advice)
            }),
            Spec::Socket { address, role: Role::Server { wait } } => {
                let (listener, first) = Listener::open(label, address, *wait)?;
                let output = Output::detached(label);
                Ok(Backend { output: Some(output), source: Source::Listener(listener, first), place: None })
            }
            Spec::Socket { address, role: Role::Client { reconnect } } => {
                let stream = socket::connect(address).map_err(|error| {
                    let advice = "start its listener first, or use server=on to be the listener";
                    HostError::new("connect to", "socket", address.to_string(), reason(&error), advice)
                })?;
                let output = Output::detached(label);
                let source = Source::Client { address: address.clone(), reconnect: *reconnect, stream };
                Ok(Backend { output: Some(output), source, place: None })
            }
            Spec::Pipe { path } => Self::open_pipe(path),
        }
    }

    fn open_stdio(label: &str) -> Result<Backend, HostError> {
        if STDIO_TAKEN.swap(true, Ordering::SeqCst) {
            let reason = "the terminal already belongs to another character device";
            let advice = "share it with `-serial mon:stdio` or `-chardev stdio,mux=on,id=ID`, or use `-display none` \
                          in place of `-nographic`";
            return Err(HostError::new("use", "stdio for", label, reason, advice));
        }
        let stdout = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(|error| {
            HostError::new(
                "use",
                "stdio for",
                label,
                reason(&error.into()),
                "raise the limit of open files (ulimit -n)",
            )
        })?;
        let output = Output::new("standard output", stdout);
        Ok(Backend { output: Some(output), source: Source::Stdin, place: None })
    }

    fn open_pty(label: &str) -> io::Result<Backend> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
        // Once opened and closed, a pseudo-terminal reports that nobody has it open.
        let slave = OpenOptions::new().read(true).write(true).custom_flags(rustix_noctty()).open(&name)?;
        let mut mode = tcgetattr(&slave)?;
        mode.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &mode)?;
        drop(slave);
        set_non_blocking(&master)?;
        let place = format!("char device redirected to {name} (label {label})");
        Ok(Backend { output: Some(Output::detached(label)), source: Source::Pty(Arc::new(master)), place: Some(place) })
    }

    fn open_pipe(path: &Path) -> Result<Backend, HostError> {
        let open = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            // Reading and writing: opening does not wait for the other side, and its leaving is no end of file.
            OpenOptions::new().read(true).write(true).open(name)
        };
        let both = open(".in").and_then(|input| Ok((input, open(".out")?)));
        let both = both.or_else(|_| open("").and_then(|one| Ok((one.try_clone()?, one))));
        let (input, output): (File, File) = both.map_err(|error| {
            let name = path.display().to_string();
            let advice = format!("make the pipes first: mkfifo {name}.in {name}.out");
            HostError::new("open", "pipe", name, reason(&error), advice)
        })?;
        let name = format!("pipe `{}`", path.display());
        Ok(Backend { output: Some(Output::new(&name, output.into())), source: Source::Fd(input.into()), place: None })
    }

    /// Also writes everything that the guest sends to a file (`logfile=`).
    pub fn log_to(mut self, path: &Path, append: bool) -> Result<Backend, HostError> {
        let log = open_file(path, append)?;
        self.output = Some(match self.output {
            Some(output) => output.logged_to(log),
            None => log,
        });
        Ok(self)
    }

    /// A line for the person at the terminal, when the name of the host end is decided only here (pseudo-terminals).
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Where guest output goes; `None` when it vanishes.
    pub fn output(&self) -> Option<Output> {
        self.output.clone()
    }

    /// Starts the thread that gives what arrives to `receive`.
    pub fn start(self, mut receive: Receiver) {
        let Backend { output, source, .. } = self;
        let work: Box<dyn FnOnce() + Send> = match source {
            Source::Nothing => return,
            Source::Stdin => Box::new(move || read_stdin(&mut receive)),
            Source::Fd(fd) => Box::new(move || {
                receive(Inbound::Connected);
                read_fd(fd.as_fd(), &mut receive)
            }),
            Source::Pty(master) => Box::new(move || read_pty(&master, output, &mut receive)),
            Source::Listener(listener, mut first) => Box::new(move || {
                loop {
                    match first.take().map_or_else(|| listener.accept(), Ok) {
                        Ok(stream) => converse(stream, output.as_ref(), &mut receive),
                        Err(_) => std::thread::sleep(LOOK_AGAIN),
                    }
                }
            }),
            Source::Client { address, reconnect, stream } => Box::new(move || {
                converse(stream, output.as_ref(), &mut receive);
                while let Some(pause) = reconnect {
                    std::thread::sleep(pause);
                    if let Ok(stream) = socket::connect(&address) {
                        converse(stream, output.as_ref(), &mut receive);
                    }
                }
            }),
        };
        let thread = std::thread::Builder::new().name("input".into()).spawn(work);
        thread.expect("the host has room for one more thread");
    }

    /// Puts this host end behind a port of its own.
    pub fn connect(self) -> Arc<CharPort> {
        let port = Arc::new(match self.output() {
            Some(output) => CharPort::new(output),
            None => CharPort::null(),
        });
        let to_guest = port.clone();
        self.start(Box::new(move |inbound| push(&to_guest, inbound)));
        port
    }
}

fn open_file(path: &Path, append: bool) -> Result<Output, HostError> {
    let file = OpenOptions::new().create(true).append(append).write(true).truncate(!append).open(path);
    let file = file.map_err(|error| {
        let advice = "choose a file in an existing directory that you may write to";
        HostError::new("write", "file", path.display().to_string(), reason(&error), advice)
    })?;
    Ok(Output::new(&format!("file `{}`", path.display()), file.into()))
}

/// Queues what arrived for the device.
pub(crate) fn push(port: &CharPort, inbound: Inbound<'_>) {
    match inbound {
        Inbound::Data(bytes) => bytes.iter().for_each(|byte| port.push(CharEvent::Data(*byte))),
        Inbound::Resize { columns, rows } => port.push(CharEvent::Resize { columns, rows }),
        Inbound::Connected => {}
    }
}

fn set_non_blocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}

fn rustix_noctty() -> i32 {
    rustix::fs::OFlags::NOCTTY.bits() as i32
}

/// One connection, from its start to its end.
fn converse(stream: OwnedFd, output: Option<&Output>, receive: &mut Receiver) {
    // Without it, writing to a peer that reads nothing could not be left.
    let _ = set_non_blocking(&stream);
    let stream = Arc::new(stream);
    if let Some(output) = output {
        output.attach(Some(stream.clone()));
    }
    receive(Inbound::Connected);
    read_fd(stream.as_fd(), receive);
    if let Some(output) = output {
        output.attach(None);
    }
}

/// Reads until the other side ends.
fn read_fd(fd: BorrowedFd<'_>, receive: &mut Receiver) {
    let mut buf = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buf) {
            Ok(0) => return,
            Ok(len) => receive(Inbound::Data(&buf[..len])),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_readable(fd),
            Err(_) => return,
        }
    }
}

fn wait_readable(fd: BorrowedFd<'_>) {
    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None);
}

/// Reads standard input until it ends, and watches the terminal's size as long.
fn read_stdin(receive: &mut Receiver) {
    let stdin = rustix::stdio::stdin();
    let is_terminal = rustix::termios::isatty(stdin);
    let resized = terminal::watch_size().ok();
    receive(Inbound::Connected);
    if let Some((columns, rows)) = terminal::size() {
        receive(Inbound::Resize { columns, rows });
    }
    let mut buf = [0; 4096];
    let mut background = false;
    loop {
        // In the background what is typed is for somebody else, and reading it would stop the whole program (SIGTTIN).
        // A shell's `fg` of a running program is announced by nothing.
        let was_background = std::mem::replace(&mut background, is_terminal && !terminal::in_foreground());
        if was_background && !background {
            terminal::resume();
        }
        let wanted = if background { PollFlags::empty() } else { PollFlags::IN };
        let mut fds = vec![PollFd::from_borrowed_fd(stdin, wanted)];
        if let Some(resized) = &resized {
            fds.push(PollFd::from_borrowed_fd(resized.as_fd(), PollFlags::IN));
        }
        let look_again = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN.subsec_nanos().into() };
        if poll(&mut fds, background.then_some(&look_again)).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if let (Some(resized), Some(true)) = (&resized, ready.get(1)) {
            let _ = rustix::io::read(resized, &mut [0; 8]);
            if let Some((columns, rows)) = terminal::size() {
                receive(Inbound::Resize { columns, rows });
            }
        }
        if !ready[0] || is_terminal && !terminal::in_foreground() {
            continue;
        }
        match rustix::io::read(stdin, &mut buf) {
            Ok(0) => return,
            Ok(len) => receive(Inbound::Data(&buf[..len])),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// Reads a pseudo-terminal whenever somebody has it open.
fn read_pty(master: &Arc<OwnedFd>, output: Option<Output>, receive: &mut Receiver) {
    let attach = |target| {
        if let Some(output) = &output {
            output.attach(target)
        }
    };
    let mut connected = false;
    let mut buf = [0; 4096];
    loop {
        let mut fds = [PollFd::from_borrowed_fd(master.as_fd(), PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _ = poll(&mut fds, if connected { None } else { Some(&timeout) });
        let events = fds[0].revents();
        let open = !events.contains(PollFlags::HUP);
        if open != connected {
            connected = open;
            attach(open.then(|| master.clone()));
            if open {
                receive(Inbound::Connected);
            }
        }
        if events.contains(PollFlags::IN)
            && let Ok(len @ 1..) = rustix::io::read(master, &mut buf)
        {
            receive(Inbound::Data(&buf[..len]));
        }
        if !open {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Instant;

    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn temp(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("mimic-chardev-{}-{name}", std::process::id()))
    }

    fn text(port: &CharPort, len: usize) -> String {
        let mut text = String::new();
        until("input", || {
            while let Some(CharEvent::Data(byte)) = port.take() {
                text.push(byte as char);
            }
            text.len() >= len
        });
        text
    }

    #[test]
    fn a_file_is_replaced_or_appended_to() {
        let path = temp("file");
        for (append, want) in [(false, "one"), (true, "oneone"), (false, "one")] {
            let backend = Backend::open("serial0", &Spec::File { path: path.clone(), append }).unwrap();
            let output = backend.output().unwrap();
            backend.connect().send(b"one");
            assert!(output.drain(Some(Duration::from_secs(20))));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
        }
        std::fs::remove_file(&path).unwrap();
        let error = Backend::open("serial0", &Spec::File { path: "/nonexistent/log".into(), append: false }).err();
        assert_eq!(
            error.unwrap().to_string(),
            "cannot write file `/nonexistent/log`: no such file or directory; \
             choose a file in an existing directory that you may write to"
        );
    }

    #[test]
    fn a_server_serves_one_client_after_another() {
        let path = temp("server");
        let spec = Spec::Socket { address: Address::Unix(path.clone()), role: Role::Server { wait: false } };
        let backend = Backend::open("serial0", &spec).unwrap();
        let in_use = Backend::open("serial1", &spec).err().unwrap().to_string();
        assert!(in_use.contains("another program listens there"), "{in_use}");
        let port = backend.connect();
        port.send(b"nobody hears this");
        for round in 0..3 {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(format!("hello {round}").as_bytes()).unwrap();
            assert_eq!(text(&port, 7), format!("hello {round}"));
            port.send(format!("answer {round}").as_bytes());
            let mut answer = [0; 8];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, *format!("answer {round}").as_bytes());
        }
        remove_sockets();
        assert!(!path.exists());
        // A file that a dead listener left is replaced.
        drop(UnixListener::bind(&path).unwrap());
        Backend::open("serial0", &spec).unwrap();
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn a_client_reconnects_and_reports_a_missing_server() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp { host: "127.0.0.1".into(), port: server.local_addr().unwrap().port() };
        let role = Role::Client { reconnect: Some(Duration::from_millis(10)) };
        let port = Backend::open("serial0", &Spec::Socket { address: address.clone(), role }).unwrap().connect();
        for _ in 0..2 {
            let (mut stream, _) = server.accept().unwrap();
            stream.write_all(b"x").unwrap();
            assert_eq!(text(&port, 1), "x");
        }
        drop(server);
        let error = Backend::open("serial0", &Spec::Socket { address, role }).err().unwrap().to_string();
        assert!(error.contains("connection refused; start its listener first"), "{error}");
    }

    #[test]
    fn a_pty_carries_both_directions_unchanged_and_survives_being_closed() {
        let backend = Backend::open("serial0", &Spec::Pty).unwrap();
        let place = backend.place().unwrap();
        let name = place.split_whitespace().find(|word| word.starts_with("/dev/")).unwrap().to_string();
        assert_eq!(place, format!("char device redirected to {name} (label serial0)"));
        let port = backend.connect();
        for _ in 0..2 {
            port.send(b"nobody hears this");
            let mut user = OpenOptions::new().read(true).write(true).custom_flags(rustix_noctty()).open(&name).unwrap();
            user.write_all(b"a\r\x03").unwrap();
            assert_eq!(text(&port, 3), "a\r\x03");
            port.send(b"b\n");
            let mut answer = [0; 2];
            user.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"b\n");
            drop(user);
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    #[test]
    fn pipes_must_exist_and_carry_both_directions() {
        let path = temp("pipe");
        let spec = Spec::Pipe { path: path.clone() };
        let error = Backend::open("serial0", &spec).err().unwrap().to_string();
        assert!(error.contains("no such file or directory; make the pipes first: mkfifo"), "{error}");
        let (input, output) = (path.with_extension("in"), path.with_extension("out"));
        for fifo in [&input, &output] {
            let cwd = rustix::fs::CWD;
            rustix::fs::mknodat(cwd, fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }
        let port = Backend::open("serial0", &spec).unwrap().connect();
        for _ in 0..2 {
            std::fs::write(&input, "in").unwrap();
            assert_eq!(text(&port, 2), "in");
        }
        port.send(b"out");
        let mut answer = [0; 3];
        File::open(&output).unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"out");
        std::fs::remove_file(&input).unwrap();
        std::fs::remove_file(&output).unwrap();
    }
}
