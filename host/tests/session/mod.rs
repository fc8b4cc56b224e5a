//! A program on a pseudo-terminal of its own, as under a login shell.

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A child on a pseudo-terminal, seen from the user's side.
pub struct Session {
    pub master: OwnedFd,
    pub slave: OwnedFd,
    child: Child,
    /// What the screen showed.
    pub seen: String,
    screen: mpsc::Receiver<Vec<u8>>,
}

impl Session {
    /// Starts a program with its arguments, `words`, in this environment.
    pub fn open<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>, environment: &[(&str, &str)]) -> Session {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        // A session of its own, with the terminal as its controlling terminal, as under a login shell.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            // Whoever runs the tests in the background may have signals ignored, which children inherit.
            .args(["env", "--default-signal"])
            .args(words)
            .envs(environment.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid of util-linux is installed");
        let mut reader = File::from(master.try_clone().unwrap());
        let (tell, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buf = [0; 1024];
            while let Ok(len @ 1..) = reader.read(&mut buf) {
                if tell.send(buf[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Session { master, slave, child, seen: String::new(), screen }
    }

    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen += &String::from_utf8_lossy(&bytes),
                Err(_) => panic!("{:?} in place of {text:?}", self.seen),
            }
        }
    }

    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub fn until_raw(&self, raw: bool) {
        for _ in 0..4000 {
            if self.is_raw() == raw {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("raw mode is still {}", !raw);
    }

    pub fn keys(&self, keys: &[u8]) {
        assert_eq!(rustix::io::write(&self.master, keys).unwrap(), keys.len());
    }

    /// The program itself: `setsid` only waits for it, unless it needed no fork.
    pub fn pid(&self) -> Pid {
        let own = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let pid = children.split_whitespace().next().map_or(own as i32, |pid| pid.parse().unwrap());
        Pid::from_raw(pid).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn stopped(&self) -> bool {
        let pid = self.pid().as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    }

    pub fn until_stopped(&self) {
        for _ in 0..4000 {
            if self.stopped() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("did not stop");
    }

    pub fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        assert!(!self.is_raw(), "the terminal stayed raw");
        while let Ok(bytes) = self.screen.recv_timeout(Duration::from_millis(100)) {
            self.seen += &String::from_utf8_lossy(&bytes);
        }
        (status.code(), self.seen.clone())
    }
}
