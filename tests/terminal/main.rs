//! The program as a person sees it: the demo guest on a real terminal, its keys and every way out.

#![forbid(unsafe_code)]

// Shared with the tests of the terminal itself.
#[path = "../../host/tests/session/mod.rs"]
mod session;

use rustix::process::Signal;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use session::Session;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MIMIC: &str = env!("CARGO_BIN_EXE_mimic");
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest-images/demo.bin");

fn words() -> Vec<&'static str> {
    vec![MIMIC, "system-aarch64", "-M", "virt", "-m", "64", "-nographic", "-kernel", DEMO]
}

/// The demo guest at its prompt.
fn start() -> Session {
    let mut session = Session::open(words(), &[]);
    session.expect("> ");
    assert!(session.is_raw());
    session
}

/// The guest answers: it runs, and keys reach it. `n` makes the answer differ from what was seen before.
fn guest_answers(session: &mut Session, n: u32) {
    session.keys(format!("fib {n}\r").as_bytes());
    let answer = (0..n).fold((0_u64, 1_u64), |(a, b), _| (b, a + b)).0;
    session.expect(&format!("fib({n}) = {answer} in "));
}

#[test]
fn ctrl_a_x_ends_and_restores() {
    let mut session = start();
    guest_answers(&mut session, 15);
    session.keys(b"\x01x");
    let (status, seen) = session.end();
    assert_eq!(status, Some(0), "{seen:?}");
}

#[test]
fn power_off_by_the_guest_restores() {
    let session = start();
    session.keys(b"off\r");
    let (status, seen) = session.end();
    assert_eq!(status, Some(0), "{seen:?}");
}

#[test]
fn signals_end_and_restore() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let session = start();
        session.signal(signal);
        let (status, seen) = session.end();
        assert_eq!(status, Some(0), "{signal:?}: {seen:?}");
        assert!(seen.contains(&format!("mimic: terminating on signal {}", signal.as_raw())), "{seen:?}");
    }
}

#[test]
fn interrupt_key_goes_to_the_guest() {
    let mut session = start();
    session.keys(b"fib 2\x1a\x1c\x03");
    session.expect("^C");
    guest_answers(&mut session, 16);
    session.keys(b"\x01x");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn monitor_and_back() {
    let mut session = start();
    session.keys(b"\x01c");
    session.expect("(mimic) ");
    session.keys(b"info status\r");
    session.expect("VM status: running");
    session.keys(b"info registers\r");
    session.expect("CPU#0");
    session.expect("pc = ");
    session.keys(b"stop\r");
    session.keys(b"info status\r");
    session.expect("VM status: paused");
    session.keys(b"cont\r");
    session.keys(b"info mtree\r");
    session.expect("uart0");
    session.keys(b"nonsense\r");
    session.expect("unknown command: `nonsense`");
    session.keys(b"\x01c");
    guest_answers(&mut session, 17);
    session.keys(b"\x01c");
    session.keys(b"quit\r");
    let (status, seen) = session.end();
    assert_eq!(status, Some(0), "{seen:?}");
}

#[test]
fn reset_from_the_monitor() {
    let mut session = start();
    guest_answers(&mut session, 18);
    session.seen.clear();
    session.keys(b"\x01csystem_reset\r\x01c");
    session.expect("Mimic demo guest");
    guest_answers(&mut session, 19);
    session.keys(b"\x01x");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn raw_again_after_stop_and_continue() {
    for signal in [Signal::TSTP, Signal::STOP] {
        let mut session = start();
        session.signal(signal);
        session.until_stopped();
        if signal == Signal::STOP {
            // The program had no chance to restore the mode; a shell does, as here.
            let mut cooked = tcgetattr(&session.slave).unwrap();
            cooked.local_modes |= LocalModes::ICANON | LocalModes::ECHO;
            tcsetattr(&session.slave, OptionalActions::Now, &cooked).unwrap();
        }
        session.until_raw(false);
        session.signal(Signal::CONT);
        session.until_raw(true);
        guest_answers(&mut session, 20);
        session.keys(b"\x01x");
        assert_eq!(session.end().0, Some(0), "{signal:?}");
    }
}

/// Never outlives the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// User and system time of a process in clock ticks (proc(5), "/proc/pid/stat", fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn end_of_input_neither_ends_nor_spins() {
    for input in [Stdio::null(), Stdio::piped()] {
        let words = words();
        let mut child = Command::new(words[0]).args(&words[1..]).stdin(input).stdout(Stdio::piped()).spawn().unwrap();
        if let Some(mut keys) = child.stdin.take() {
            keys.write_all(b"fib 20\r").unwrap();
        }
        let mut output = child.stdout.take().unwrap();
        let mut running = Running(child);
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("> ") {
            let mut buf = [0; 256];
            let len = output.read(&mut buf).unwrap();
            assert!(len > 0, "ended after {:?}", String::from_utf8_lossy(&seen));
            seen.extend(&buf[..len]);
        }
        // Idle from here but for the guest's tick of 100 ms.
        std::thread::sleep(Duration::from_millis(500));
        let (before, start) = (ticks(running.0.id()), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let (used, elapsed) = (ticks(running.0.id()) - before, start.elapsed());
        assert!(running.0.try_wait().unwrap().is_none(), "the end of input ended the machine");
        // A tick is 10 ms; one that polls for input uses them all.
        assert!(used < 50, "{used} ticks of processor time in {elapsed:?}");
    }
}
