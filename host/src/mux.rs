//! One byte stream shared by several consoles and a monitor: the escape keys of `-nographic` and `mon:stdio`.
//!
//! A state machine without I/O: bytes in, actions out. [`console`](crate::console) performs them.

use std::time::Duration;

/// The escape key unless `-echr` says otherwise: Ctrl-A.
pub const DEFAULT_ESCAPE: u8 = 1;

/// What is to be done about one byte of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing yet.
    Nothing,
    /// The byte is for this front end.
    Data { to: usize, byte: u8 },
    /// A break condition for this front end.
    Break { to: usize },
    /// The focus has moved to this front end.
    Focus(usize),
    /// End the program.
    Quit,
    /// Write the changes of snapshot disks to their images.
    Commit,
    /// Show this text.
    Show(String),
}

/// The state of the keys and of the timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mux {
    escape: u8,
    front_ends: usize,
    focus: usize,
    escaped: bool,
    timestamps: bool,
    /// The next byte of output begins a line.
    line_start: bool,
    /// When the first line was stamped; stamps count from it.
    first_stamp: Option<Duration>,
}

impl Mux {
    /// No front ends yet; `escape` is the key that introduces commands.
    pub fn new(escape: u8) -> Self {
        Self { escape, front_ends: 0, focus: 0, escaped: false, timestamps: false, line_start: true, first_stamp: None }
    }

    /// Adds a front end and returns its number. The first has the focus.
    pub fn add(&mut self) -> usize {
        self.front_ends += 1;
        self.front_ends - 1
    }

    /// The front end that gets input.
    pub fn focus(&self) -> usize {
        self.focus
    }

    /// Takes one byte of input.
    pub fn input(&mut self, byte: u8) -> Action {
        if !std::mem::take(&mut self.escaped) {
            if byte != self.escape {
                return self.data(byte);
            }
            self.escaped = true;
            return Action::Nothing;
        }
        match byte {
            byte if byte == self.escape => self.data(byte),
            b'h' | b'?' => Action::Show(self.help()),
            b'x' => Action::Quit,
            b's' => Action::Commit,
            b'b' if self.front_ends > 0 => Action::Break { to: self.focus },
            b'c' if self.front_ends > 0 => {
                self.focus = (self.focus + 1) % self.front_ends;
                Action::Focus(self.focus)
            }
            b't' => {
                self.timestamps = !self.timestamps;
                self.first_stamp = None;
                Action::Nothing
            }
            _ => Action::Nothing,
        }
    }

    fn data(&self, byte: u8) -> Action {
        if self.front_ends == 0 { Action::Nothing } else { Action::Data { to: self.focus, byte } }
    }

    /// Passes output of any front end on into `out`, each line with the time since the first one if that is switched on.
    /// `now` is time since any fixed moment.
    pub fn output(&mut self, bytes: &[u8], now: Duration, out: &mut Vec<u8>) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.timestamps && self.line_start {
                let since = now.saturating_sub(*self.first_stamp.get_or_insert(now));
                let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
                let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                out.extend_from_slice(format!("[{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}] ").as_bytes());
            }
            out.extend_from_slice(line);
            self.line_start = line.ends_with(b"\n");
        }
    }

    /// The escape key's name, such as `C-a`.
    pub fn escape_name(&self) -> String {
        match self.escape {
            byte @ 1..=26 => format!("C-{}", (byte - 1 + b'a') as char),
            byte @ 0x21..=0x7e => (byte as char).to_string(),
            byte => format!("key {byte:#04x}"),
        }
    }

    /// The keys, one a line.
    pub fn help(&self) -> String {
        let key = self.escape_name();
        let rows = [
            ("h", "show this help"),
            ("x", "end the emulator"),
            ("s", "write changes of snapshot disks to their images"),
            ("t", "switch timestamps on or off"),
            ("b", "send a break"),
            ("c", "switch between console and monitor"),
        ];
        let mut text = String::from("\n");
        for (letter, what) in rows {
            text += &format!("{:<9}{what}\n", format!("{key} {letter}"));
        }
        text + &format!("{:<9}send {key}\n", format!("{key} {key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Mux {
        let mut mux = Mux::new(DEFAULT_ESCAPE);
        assert_eq!((mux.add(), mux.add()), (0, 1));
        mux
    }

    #[test]
    fn each_key_does_what_it_is_known_for() {
        let data = |to, byte| Action::Data { to, byte };
        let nothing = Action::Nothing;
        let rows: &[(&[u8], Action)] = &[
            (b"a", data(0, b'a')),
            (b"\x03", data(0, 3)),
            (b"\x01", nothing.clone()),
            (b"\x01\x01", data(0, 1)),
            (b"\x01x", Action::Quit),
            (b"\x01s", Action::Commit),
            (b"\x01b", Action::Break { to: 0 }),
            (b"\x01c", Action::Focus(1)),
            (b"\x01c\x01c", Action::Focus(0)),
            (b"\x01cx", data(1, b'x')),
            (b"\x01c\x01b", Action::Break { to: 1 }),
            (b"\x01t", nothing.clone()),
            (b"\x01q", nothing.clone()),
            (b"\x01qx", data(0, b'x')),
            (b"\x01\x01x", data(0, b'x')),
        ];
        for (keys, want) in rows {
            let mut mux = two();
            let last = keys.iter().map(|key| mux.input(*key)).last().unwrap();
            assert_eq!(last, *want, "{keys:?}");
        }
    }

    #[test]
    fn another_escape_key_and_its_help() {
        let mut mux = Mux::new(0x14);
        mux.add();
        assert_eq!(mux.input(1), Action::Data { to: 0, byte: 1 });
        assert_eq!(mux.input(0x14), Action::Nothing);
        let Action::Show(help) = mux.input(b'h') else { panic!("no help") };
        assert!(help.contains("\nC-t x    end the emulator\n"), "{help}");
        assert!(help.ends_with("\nC-t C-t  send C-t\n"), "{help}");
        assert_eq!(Mux::new(b'~').escape_name(), "~");
    }

    #[test]
    fn without_front_ends_nothing_is_addressed() {
        let mut mux = Mux::new(DEFAULT_ESCAPE);
        for keys in [&b"a"[..], b"\x01b", b"\x01c", b"\x01\x01"] {
            assert!(keys.iter().all(|key| mux.input(*key) == Action::Nothing), "{keys:?}");
        }
    }

    #[test]
    fn timestamps_stand_at_line_starts_only_and_count_from_the_first() {
        let mut mux = two();
        let mut out = Vec::new();
        mux.output(b"plain\npart", Duration::from_secs(9), &mut out);
        mux.input(1);
        mux.input(b't');
        mux.output(b"ial\none\n", Duration::from_secs(10), &mut out);
        mux.output(b"", Duration::from_secs(11), &mut out);
        mux.output(b"tw", Duration::from_millis(3_725_004 + 10_000), &mut out);
        mux.output(b"o\r\n\n", Duration::from_secs(4_000_000), &mut out);
        let want = "plain\npartial\n[00:00:00.000] one\n[01:02:05.004] two\r\n[1111:06:30.000] \n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
