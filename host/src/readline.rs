//! Editing one line of a monitor: a state machine without I/O, keys in, echo out.

const HISTORY_LEN: usize = 200;
const LINE_LEN: usize = 4096;

/// A line being typed, with the lines before it.
#[derive(Default)]
pub struct LineEditor {
    prompt: String,
    line: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// The line of the history that is shown, and the new line that it hides.
    recalled: Option<(usize, Vec<char>)>,
    keys: Keys,
    utf8: Vec<u8>,
}

/// Where in an escape sequence the input is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Keys {
    #[default]
    Plain,
    AfterReturn,
    Escape,
    Sequence(u8),
}

impl LineEditor {
    /// An empty line behind `prompt`.
    pub fn new(prompt: &str) -> Self {
        Self { prompt: prompt.to_string(), ..Self::default() }
    }

    /// The text that shows the prompt and what was typed so far, from the start of a terminal line on.
    pub fn redraw(&self) -> String {
        let mut text = format!("\r\x1b[K{}{}", self.prompt, self.line.iter().collect::<String>());
        if self.cursor < self.line.len() {
            text += &format!("\x1b[{}D", self.line.len() - self.cursor);
        }
        text
    }

    /// The prompt alone, for a new line.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// Takes one byte; appends what the terminal must show to `echo` and returns the line when it is complete.
    pub fn input(&mut self, byte: u8, echo: &mut String) -> Option<String> {
        let before = std::mem::take(&mut self.keys);
        match (before, byte) {
            // CR LF is one end of line.
            (Keys::AfterReturn, b'\n') => {}
            (Keys::Escape, b'[' | b'O') => self.keys = Keys::Sequence(0),
            (Keys::Escape, _) => {}
            (Keys::Sequence(number), b'0'..=b'9') => {
                self.keys = Keys::Sequence(number.saturating_mul(10).saturating_add(byte - b'0'))
            }
            (Keys::Sequence(_), b';') => self.keys = Keys::Sequence(0),
            (Keys::Sequence(number), _) => self.sequence(number, byte, echo),
            (_, b'\r' | b'\n') => {
                if byte == b'\r' {
                    self.keys = Keys::AfterReturn;
                }
                echo.push_str("\r\n");
                return Some(self.complete());
            }
            (_, 0x1b) => self.keys = Keys::Escape,
            (_, 0x08 | 0x7f) => self.erase(echo),
            (_, 0x01) => self.move_to(0, echo),
            (_, 0x05) => self.move_to(self.line.len(), echo),
            (_, 0x02) => self.move_to(self.cursor.saturating_sub(1), echo),
            (_, 0x06) => self.move_to(self.cursor + 1, echo),
            (_, 0x10) => self.recall(true, echo),
            (_, 0x0e) => self.recall(false, echo),
            (_, 0x03 | 0x15) => self.replace(Vec::new(), echo),
            (_, 0x0b) => {
                self.line.truncate(self.cursor);
                echo.push_str("\x1b[K");
            }
            (_, 0x17) => {
                let kept = self.line[..self.cursor].iter().collect::<String>();
                let kept = kept.trim_end().rfind(' ').map_or(0, |space| kept[..=space].chars().count());
                self.line.drain(kept..self.cursor);
                self.cursor = kept;
                echo.push_str(&self.redraw());
            }
            (_, 0x0c) => echo.push_str(&format!("\x1b[H\x1b[2J{}", self.redraw())),
            (_, 0..=0x1f) => {}
            _ => self.insert(byte, echo),
        }
        None
    }

    fn complete(&mut self) -> String {
        let line: String = self.line.drain(..).collect();
        self.cursor = 0;
        self.recalled = None;
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            self.history.push(line.clone());
            if self.history.len() > HISTORY_LEN {
                self.history.remove(0);
            }
        }
        line
    }

    fn insert(&mut self, byte: u8, echo: &mut String) {
        self.utf8.push(byte);
        let Ok(text) = std::str::from_utf8(&self.utf8) else {
            // The longest UTF-8 sequence has four bytes; more, or a wrong start, is no text.
            if self.utf8.len() >= 4 || self.utf8[0] < 0xc0 {
                self.utf8.clear();
            }
            return;
        };
        let typed: Vec<char> = text.chars().collect();
        self.utf8.clear();
        if self.line.len() >= LINE_LEN {
            return;
        }
        let at_end = self.cursor == self.line.len();
        for char in typed {
            self.line.insert(self.cursor, char);
            self.cursor += 1;
            if at_end {
                echo.push(char);
            }
        }
        if !at_end {
            echo.push_str(&self.redraw());
        }
    }

    fn erase(&mut self, echo: &mut String) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.line.remove(self.cursor);
            echo.push_str(&if self.cursor == self.line.len() { "\x08 \x08".to_string() } else { self.redraw() });
        }
    }

    /// The end of an escape sequence: `CSI number byte` or `SS3 byte`.
    fn sequence(&mut self, number: u8, byte: u8, echo: &mut String) {
        match (byte, number) {
            (b'A', _) => self.recall(true, echo),
            (b'B', _) => self.recall(false, echo),
            (b'C', _) => self.move_to(self.cursor + 1, echo),
            (b'D', _) => self.move_to(self.cursor.saturating_sub(1), echo),
            (b'H', _) | (b'~', 1 | 7) => self.move_to(0, echo),
            (b'F', _) | (b'~', 4 | 8) => self.move_to(self.line.len(), echo),
            (b'~', 3) if self.cursor < self.line.len() => {
                self.line.remove(self.cursor);
                echo.push_str(&self.redraw());
            }
            _ => {}
        }
    }

    fn move_to(&mut self, cursor: usize, echo: &mut String) {
        let cursor = cursor.min(self.line.len());
        if cursor != self.cursor {
            self.cursor = cursor;
            echo.push_str(&self.redraw());
        }
    }

    fn replace(&mut self, line: Vec<char>, echo: &mut String) {
        self.cursor = line.len();
        self.line = line;
        echo.push_str(&self.redraw());
    }

    /// Shows the line before (`older`) or after the one shown.
    fn recall(&mut self, older: bool, echo: &mut String) {
        let shown = self.recalled.as_ref().map_or(self.history.len(), |(shown, _)| *shown);
        let next = if older { shown.checked_sub(1) } else { Some(shown + 1) };
        match next {
            Some(next) if next < self.history.len() => {
                let hidden = self.recalled.take().map_or_else(|| self.line.clone(), |(_, hidden)| hidden);
                self.recalled = Some((next, hidden));
                self.replace(self.history[next].chars().collect(), echo);
            }
            Some(_) => {
                if let Some((_, hidden)) = self.recalled.take() {
                    self.replace(hidden, echo);
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(keys: &str) -> Vec<String> {
        let mut editor = LineEditor::new("> ");
        let mut echo = String::new();
        keys.bytes().filter_map(|key| editor.input(key, &mut echo)).collect()
    }

    #[test]
    fn keys_edit_the_line() {
        let rows: &[(&str, &[&str])] = &[
            ("stop\r", &["stop"]),
            ("stop\r\ncont\n\n", &["stop", "cont", ""]),
            ("stpo\x7f\x7fop\r", &["stop"]),
            ("top\x01s\r", &["stop"]),
            ("sto\x02\x02\x06\x05p\r", &["stop"]),
            ("\x1b[D\x1b[Cxtop\x1b[H\x1b[3~s\x1b[Fs\r", &["stops"]),
            ("wrong\x15right\r", &["right"]),
            ("info registers\x17cpus\r", &["info cpus"]),
            ("abc\x02\x02\x0b\r", &["a"]),
            ("one\rtwo\r\x1b[A\x1b[A\r", &["one", "two", "one"]),
            ("one\rtw\x10\x0eo\r", &["one", "two"]),
            ("one\r\x10\x10\x10!\r", &["one", "one!"]),
            ("gr\u{fc}n\r", &["gr\u{fc}n"]),
            ("a\x00\x1b[99;99Zb\r", &["ab"]),
            ("\x7f\x17\x0b\x0e\x10x\r", &["x"]),
        ];
        for (keys, want) in rows {
            assert_eq!(lines(keys), *want, "{keys:?}");
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut editor = LineEditor::new("> ");
        let mut echo = String::new();
        let mut seed = 1u32;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            editor.input((seed >> 24) as u8, &mut echo);
            assert!(editor.cursor <= editor.line.len());
            echo.clear();
        }
    }

    #[test]
    fn the_echo_shows_what_is_typed() {
        let mut editor = LineEditor::new("> ");
        let mut echo = String::new();
        for key in b"ab\x7f\x02c" {
            editor.input(*key, &mut echo);
        }
        assert_eq!(echo, "ab\x08 \x08\r\x1b[K> a\x1b[1D\r\x1b[K> ca\x1b[1D");
    }
}
