//! The terminal's mode after every way out, on a real pseudo-terminal. This program starts itself as the child that
//! holds the terminal; the parent looks at the mode from the outside.

use host::chardev::{Backend, Inbound, Spec};
use host::signals::SignalThread;
use host::terminal::{Keys, Terminal};
use rustix::process::{Pid, Signal};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use session::Session;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

mod session;

const CHILD: &str = "MIMIC_TERMINAL_CHILD";

fn main() {
    if let Ok(role) = std::env::var(CHILD) {
        return child(&role);
    }
    let cases: &[(&str, fn())] = &[
        ("raw mode and back at the normal end", normal_end),
        ("back after a panic", after_a_panic),
        ("back after signals that terminate", after_signals),
        ("a second signal ends a program that does not react", second_signal),
        ("raw again after stop and continue", stop_and_continue),
        ("in the background the terminal is left alone", in_the_background),
        ("window size reaches the device", window_size),
        ("no terminal: end of input neither ends nor spins", no_terminal),
    ];
    for (name, case) in cases {
        case();
        println!("test {name} ... ok");
    }
}

/// The program on the terminal: raw mode, echo of what arrives in brackets, until `q` or a signal.
fn child(role: &str) {
    let terminal = Terminal::raw(if role == "host-keys" { Keys::Host } else { Keys::Guest }).unwrap();
    let (tell, told) = mpsc::channel();
    let on_signal = tell.clone();
    let deaf = role == "deaf";
    let _signals = SignalThread::start(move |_| {
        if !deaf {
            on_signal.send('s').unwrap()
        }
    })
    .unwrap();
    let backend = Backend::open("serial0", &Spec::Stdio).unwrap();
    assert!(Backend::open("serial1", &Spec::Stdio).err().unwrap().to_string().contains("share it with"));
    let output = backend.output().unwrap();
    let echo = output.clone();
    backend.start(Box::new(move |inbound| match inbound {
        Inbound::Data(bytes) => {
            for byte in bytes {
                echo.send(format!("[{byte:02x}]").as_bytes());
                tell.send(*byte as char).unwrap();
            }
        }
        Inbound::Resize { columns, rows } => echo.send(format!("[{columns}x{rows}]").as_bytes()),
        Inbound::Connected => echo.send(b"[ready]"),
    }));
    let mut ticks = 0;
    loop {
        match told.recv_timeout(Duration::from_millis(100)) {
            Ok('q') => break,
            Ok('s') => {
                assert!(output.drain(Some(Duration::from_secs(5))));
                drop(terminal);
                std::process::exit(3);
            }
            Ok('p') => panic!("as asked"),
            Ok(_) => {}
            Err(_) if role == "no-terminal" && ticks == 8 => {
                // The end of input must not be polled for over and over.
                let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
                assert!(used.tv_sec == 0 && used.tv_nsec < 400_000_000, "{used:?}");
                output.send(b"[alive]");
                break;
            }
            Err(_) => ticks += 1,
        }
    }
    assert!(host::finish(Some(Duration::from_secs(5))));
    drop(terminal);
}

/// This program as the child in that role, on its terminal and in raw mode.
fn start(role: &str) -> Session {
    let mut session = open(role, &[]);
    session.expect("[ready]");
    // Nor may the size, which is said at the start, come in the middle of other words.
    session.expect("[80x24]");
    session.until_raw(true);
    session
}

/// Starts the child, by way of the program `through` if that is not empty, with the child's path as last argument.
fn open(role: &str, through: &[&str]) -> Session {
    let own = std::env::current_exe().unwrap();
    let words = through.iter().map(AsRef::as_ref).chain([own.as_os_str()]);
    Session::open(words, &[(CHILD, role)])
}

fn normal_end() {
    let mut session = start("guest-keys");
    // Ctrl-C, Ctrl-Z, Ctrl-S, Ctrl-\, carriage return: all are data.
    session.keys(b"\x03\x1a\x13\x1c\r");
    session.expect("[03][1a][13][1c][0d]");
    session.keys(b"q");
    let (code, seen) = session.end();
    assert_eq!(code, Some(0));
    assert!(seen.ends_with("[71]"), "{seen:?}");
}

fn after_a_panic() {
    let session = start("guest-keys");
    session.keys(b"p");
    let (code, seen) = session.end();
    assert_eq!(code, Some(101));
    assert!(seen.contains("as asked"), "{seen:?}");
}

fn after_signals() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let session = start("guest-keys");
        session.signal(signal);
        let (code, seen) = session.end();
        assert_eq!(code, Some(3), "{signal:?}");
        assert!(seen.contains(&format!("mimic: terminating on signal {} (SIG", signal.as_raw())), "{seen:?}");
    }
    let session = start("host-keys");
    session.keys(b"\x03");
    assert_eq!(session.end().0, Some(3));
}

fn second_signal() {
    let mut session = start("deaf");
    session.signal(Signal::TERM);
    session.expect("terminating on signal 15");
    session.until_raw(false);
    session.signal(Signal::TERM);
    assert_ne!(session.end().0, Some(0));
}

fn stop_and_continue() {
    for (role, stop) in [("guest-keys", Some(Signal::TSTP)), ("guest-keys", Some(Signal::STOP)), ("host-keys", None)] {
        let mut session = start(role);
        match stop {
            Some(signal) => session.signal(signal),
            None => session.keys(b"\x1a"),
        }
        session.until_stopped();
        if stop == Some(Signal::STOP) {
            // Nobody could restore the mode: the shell does, as here.
            let mut cooked = tcgetattr(&session.slave).unwrap();
            cooked.local_modes |= LocalModes::ICANON | LocalModes::ECHO;
            rustix::termios::tcsetattr(&session.slave, rustix::termios::OptionalActions::Now, &cooked).unwrap();
        }
        session.until_raw(false);
        session.signal(Signal::CONT);
        session.until_raw(true);
        session.keys(b"zq");
        session.expect("[7a]");
        assert_eq!(session.end().0, Some(0), "{role}");
    }
}

fn in_the_background() {
    // A shell with job control starts the program in the background, reads a line itself, then brings it forward.
    let script = r#""$0" & read line; echo "shell got $line"; fg"#;
    let mut session = open("guest-keys", &["bash", "-mc", script]);
    session.expect("[ready]");
    assert!(!session.is_raw());
    session.keys(b"ours\n");
    session.expect("shell got ours");
    session.until_raw(true);
    session.keys(b"\x03q");
    session.expect("[03][71]");
    let (code, seen) = session.end();
    assert_eq!(code, Some(0), "{seen:?}");
}

fn window_size() {
    let mut session = start("guest-keys");
    session.expect("[80x24]");
    tcsetwinsize(&session.slave, Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    session.expect("[132x50]");
    session.keys(b"q");
    assert_eq!(session.end().0, Some(0));
}

fn no_terminal() {
    let run = |stdin: Stdio, text: &[u8]| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(CHILD, "no-terminal")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text).unwrap();
        }
        let mut seen = String::new();
        child.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
        let pid = Pid::from_child(&child);
        assert!(child.wait().unwrap().success(), "{pid:?}");
        seen
    };
    assert_eq!(run(Stdio::null(), b""), "[ready][alive]");
    assert_eq!(run(Stdio::piped(), b"ab"), "[ready][61][62][alive]");
    // Standard output closed at once: no panic.
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, "no-terminal")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"abc").unwrap();
    assert!(child.wait().unwrap().success());
}
