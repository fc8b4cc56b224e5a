//! The terminal on standard input: raw mode while a guest has it, and its old mode back however the program ends.
//!
//! There is one such terminal in a process, so its state is process-wide: the panic hook and the signal thread must
//! reach it without a handle.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr,
};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Once};

/// Who gets the keys that send signals (Ctrl-C, Ctrl-Z, Ctrl-\).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The guest: every key is data.
    Guest,
    /// The host: they interrupt, stop or quit this program.
    Host,
}

struct State {
    /// The mode before the first [`Terminal::raw`], and the raw mode; present while raw mode is wanted.
    modes: Option<(Termios, Termios)>,
    /// Written to when the window changed its size.
    resized: Vec<Arc<OwnedFd>>,
}

static STATE: Mutex<State> = Mutex::new(State { modes: None, resized: Vec::new() });
static PANIC_HOOK: Once = Once::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Raw mode on standard input; dropping it restores the old mode.
#[must_use = "raw mode ends when this is dropped"]
pub struct Terminal(());

impl Terminal {
    /// Switches the terminal on standard input to raw mode; `None` when standard input is no terminal. From the
    /// background the switch waits until the program comes to the foreground (see [`resume`]).
    pub fn raw(keys: Keys) -> io::Result<Option<Terminal>> {
        if !isatty(stdin()) {
            return Ok(None);
        }
        PANIC_HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                previous(info);
            }));
        });
        let mut state = state();
        let saved = match &state.modes {
            Some((saved, _)) => saved.clone(),
            None => tcgetattr(stdin())?,
        };
        let raw = raw_mode(&saved, keys);
        if in_foreground() {
            tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        }
        state.modes = Some((saved, raw));
        Ok(Some(Terminal(())))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Raw input as serial consoles need it. Output processing stays on, so that lines of the host, and of guests that end
/// them with a bare line feed, begin at the left margin.
fn raw_mode(saved: &Termios, keys: Keys) -> Termios {
    let mut raw = saved.clone();
    raw.input_modes -= InputModes::IGNBRK
        | InputModes::BRKINT
        | InputModes::PARMRK
        | InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::ICRNL
        | InputModes::IXON;
    raw.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
    raw.local_modes.set(LocalModes::ISIG, keys == Keys::Host);
    raw.control_modes -= ControlModes::CSIZE | ControlModes::PARENB;
    raw.control_modes |= ControlModes::CS8;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw
}

/// Restores the mode from before raw mode for good. Does nothing when it is not raw. May be called at any time and from
/// any thread.
pub fn restore() {
    if let Some((saved, _)) = state().modes.take() {
        set_if_foreground(&saved);
    }
}

/// Restores the old mode until [`resume`], for a program that is about to be stopped.
pub fn suspend() {
    if let Some((saved, _)) = &state().modes {
        set_if_foreground(saved);
    }
}

/// Enters raw mode again if it is wanted and the program is in the foreground: after it was stopped and continued.
pub fn resume() {
    if let Some((_, raw)) = &state().modes {
        set_if_foreground(raw);
    }
}

/// In the background a change would stop the program (SIGTTOU) and be wrong for who owns the terminal then.
fn set_if_foreground(mode: &Termios) {
    if in_foreground() {
        // The terminal may be gone (EIO after a hang-up): then there is nothing to set.
        let _ = tcsetattr(stdin(), OptionalActions::Now, mode);
    }
}

/// Whether this program may read the terminal on standard input: it is in the foreground, or there is no job control.
pub fn in_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Columns and rows of the terminal on standard output, or else on standard input.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
    (size.ws_col != 0 && size.ws_row != 0).then_some((size.ws_col, size.ws_row))
}

/// An event descriptor that becomes readable when the window may have changed its size.
pub(crate) fn watch_size() -> io::Result<Arc<OwnedFd>> {
    let event = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    state().resized.push(event.clone());
    Ok(event)
}

/// Tells all who watch the size to look at it again. For the signal thread.
pub(crate) fn size_changed() {
    for event in &state().resized {
        // A full counter means that the event is pending anyhow.
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }
}
