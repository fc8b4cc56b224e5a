//! Consoles and a monitor that share one host end through the escape keys, and a monitor on a host end of its own.

use crate::chardev::{Backend, Inbound};
use crate::mux::{Action, Mux};
use crate::output::Output;
use crate::readline::LineEditor;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use vm::chardev::{CharEvent, CharPort};

/// Input that waits for one console. As long as there is room the escape keys work, whatever the guest does.
const TYPED_AHEAD: usize = 64 * 1024;

/// Takes commands that a person types and answers them.
pub trait MonitorPort: Send {
    /// Executes one line and returns what to show, lines ending in `\n`; empty for nothing.
    fn command(&mut self, line: &str) -> String;
}

impl<F: FnMut(&str) -> String + Send> MonitorPort for F {
    fn command(&mut self, line: &str) -> String {
        self(line)
    }
}

/// What the escape keys ask of the program.
pub trait Control: Send + Sync {
    /// Ends the program. Called on the input thread; must not wait for it.
    fn quit(&self);
    /// Writes the changes of snapshot disks to their images; returns what to show.
    fn commit(&self) -> String;
}

/// One host end shared by several front ends. Add them, then [`start`](Console::start).
pub struct Console {
    backend: Backend,
    shared: Arc<Shared>,
    ends: Vec<End>,
}

struct Shared {
    mux: Mutex<Mux>,
    output: Option<Output>,
    began: Instant,
}

enum End {
    Port(SyncSender<CharEvent>),
    Monitor(Monitor),
}

impl Console {
    /// A host end whose escape key is `escape` ([`DEFAULT_ESCAPE`](crate::mux::DEFAULT_ESCAPE)).
    pub fn new(backend: Backend, escape: u8) -> Self {
        let output = backend.output();
        let shared = Arc::new(Shared { mux: Mutex::new(Mux::new(escape)), output, began: Instant::now() });
        Self { backend, shared, ends: Vec::new() }
    }

    /// Adds a serial console.
    pub fn add_port(&mut self) -> Arc<CharPort> {
        self.shared.mux.lock().unwrap().add();
        let shared = self.shared.clone();
        let port = Arc::new(CharPort::new(move |bytes: &[u8]| shared.show(bytes)));
        let (queue, typed) = sync_channel(TYPED_AHEAD);
        let to_guest = port.clone();
        let feed = move || typed.into_iter().for_each(|event| to_guest.push(event));
        let thread = std::thread::Builder::new().name("console".into()).spawn(feed);
        thread.expect("the host has room for one more thread");
        self.ends.push(End::Port(queue));
        port
    }

    /// Adds a monitor. It shows itself when it first gets the focus.
    pub fn add_monitor(&mut self, prompt: &str, port: impl MonitorPort + 'static) {
        self.shared.mux.lock().unwrap().add();
        self.ends.push(End::Monitor(Monitor::new(prompt, Box::new(port))));
    }

    /// Starts input.
    pub fn start(self, control: Arc<dyn Control>) {
        let Console { backend, shared, mut ends } = self;
        let mut focused = 0;
        backend.start(Box::new(move |inbound| match inbound {
            Inbound::Resize { columns, rows } => {
                for end in &ends {
                    if let End::Port(queue) = end {
                        // A guest that takes no input cannot want to know the size of the window.
                        let _ = queue.try_send(CharEvent::Resize { columns, rows });
                    }
                }
            }
            Inbound::Connected => {}
            Inbound::Data(bytes) => {
                for byte in bytes {
                    let action = shared.mux.lock().unwrap().input(*byte);
                    if let Action::Focus(to) = action {
                        focused = to;
                    }
                    perform(action, &shared, &mut ends, focused, &*control);
                }
            }
        }));
    }
}

fn perform(action: Action, shared: &Shared, ends: &mut [End], focused: usize, control: &dyn Control) {
    match action {
        Action::Nothing => {}
        Action::Data { to, byte } => match ends.get_mut(to) {
            Some(End::Port(queue)) => drop(queue.send(CharEvent::Data(byte))),
            Some(End::Monitor(monitor)) => monitor.input(byte, &mut |text| shared.show(text.as_bytes())),
            None => {}
        },
        Action::Break { to } => {
            if let Some(End::Port(queue)) = ends.get(to) {
                let _ = queue.send(CharEvent::Break);
            }
        }
        Action::Focus(to) => {
            if let Some(End::Monitor(monitor)) = ends.get_mut(to) {
                shared.show(monitor.greeting().as_bytes());
            }
        }
        Action::Quit => {
            shared.show(b"mimic: terminated\r\n");
            control.quit();
        }
        Action::Commit => shared.show(control.commit().replace('\n', "\r\n").as_bytes()),
        Action::Show(text) => {
            shared.show(text.replace('\n', "\r\n").as_bytes());
            if let Some(End::Monitor(monitor)) = ends.get(focused) {
                shared.show(monitor.editor.redraw().as_bytes());
            }
        }
    }
}

impl Shared {
    fn show(&self, bytes: &[u8]) {
        let Some(output) = &self.output else { return };
        let mut out = Vec::with_capacity(bytes.len());
        self.mux.lock().unwrap().output(bytes, self.began.elapsed(), &mut out);
        output.send(&out);
    }
}

/// Serves a monitor on a host end of its own, such as `-monitor unix:…`.
pub fn serve_monitor(backend: Backend, prompt: &str, port: impl MonitorPort + 'static) {
    let output = backend.output();
    let mut monitor = Monitor::new(prompt, Box::new(port));
    let show = move |text: &str| {
        if let Some(output) = &output {
            output.send(text.as_bytes());
        }
    };
    backend.start(Box::new(move |inbound| match inbound {
        Inbound::Connected => show(&monitor.greeting()),
        Inbound::Data(bytes) => bytes.iter().for_each(|byte| monitor.input(*byte, &mut |text| show(text))),
        Inbound::Resize { .. } => {}
    }));
}

struct Monitor {
    editor: LineEditor,
    port: Box<dyn MonitorPort>,
    greeted: bool,
}

impl Monitor {
    fn new(prompt: &str, port: Box<dyn MonitorPort>) -> Self {
        Self { editor: LineEditor::new(prompt), port, greeted: false }
    }

    /// What to show when the monitor gets the focus.
    fn greeting(&mut self) -> String {
        if std::mem::replace(&mut self.greeted, true) {
            return format!("\r\n{}", self.editor.redraw());
        }
        format!("\r\nMimic monitor: `help` lists the commands\r\n{}", self.editor.redraw())
    }

    fn input(&mut self, byte: u8, show: &mut dyn FnMut(&str)) {
        let mut echo = String::new();
        let line = self.editor.input(byte, &mut echo);
        show(&echo);
        if let Some(line) = line {
            let answer = if line.trim().is_empty() { String::new() } else { self.port.command(line.trim()) };
            let mut answer = answer.replace('\n', "\r\n");
            if !answer.is_empty() && !answer.ends_with('\n') {
                answer.push_str("\r\n");
            }
            show(&(answer + self.editor.prompt()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chardev::{Address, Role, Spec};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    struct Flag(AtomicBool);

    impl Control for Flag {
        fn quit(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
        fn commit(&self) -> String {
            "committed\n".into()
        }
    }

    fn server(name: &str) -> (Backend, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("mimic-console-{}-{name}", std::process::id()));
        let spec = Spec::Socket { address: Address::Unix(path.clone()), role: Role::Server { wait: false } };
        (Backend::open(name, &spec).unwrap(), path)
    }

    fn expect(stream: &mut UnixStream, text: &str) {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(text.as_bytes()) {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                panic!("{:?} in place of {text:?}", String::from_utf8_lossy(&seen));
            }
            seen.push(byte[0]);
        }
    }

    fn take(port: &CharPort) -> CharEvent {
        for _ in 0..4000 {
            match port.take() {
                Some(event) => return event,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("no input");
    }

    #[test]
    fn a_console_and_a_monitor_share_a_connection_even_when_the_guest_is_deaf() {
        let (backend, path) = server("shared");
        let mut console = Console::new(backend, 1);
        let port = console.add_port();
        console.add_monitor("(mimic) ", |line: &str| format!("did {line}\nwell\n"));
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        console.start(flag.clone());
        let mut user = UnixStream::connect(&path).unwrap();
        user.write_all(b"k\x01b").unwrap();
        assert_eq!((take(&port), take(&port)), (CharEvent::Data(b'k'), CharEvent::Break));
        port.send(b"login: ");
        expect(&mut user, "login: ");
        // Far more than the port's queue takes: the keys must still work.
        user.write_all(&[b'.'; 20_000]).unwrap();
        user.write_all(b"\x01cstop\r").unwrap();
        expect(&mut user, "(mimic) stop\r\ndid stop\r\nwell\r\n(mimic) ");
        user.write_all(b"\x01s").unwrap();
        expect(&mut user, "committed\r\n");
        user.write_all(b"\x01h").unwrap();
        expect(&mut user, "send C-a\r\n\r\x1b[K(mimic) ");
        user.write_all(b"\x01x").unwrap();
        expect(&mut user, "terminated\r\n");
        for _ in 0..2000 {
            if flag.0.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(flag.0.load(Ordering::SeqCst));
        for _ in 0..20_000 {
            assert_eq!(take(&port), CharEvent::Data(b'.'));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_monitor_alone_answers_scripts() {
        let (backend, path) = server("alone");
        serve_monitor(backend, "(mimic) ", |line: &str| format!("<{line}>"));
        let mut user = UnixStream::connect(&path).unwrap();
        expect(&mut user, "Mimic monitor: `help` lists the commands\r\n\r\x1b[K(mimic) ");
        user.write_all(b"system_powerdown\n").unwrap();
        expect(&mut user, "<system_powerdown>\r\n(mimic) ");
        std::fs::remove_file(path).unwrap();
    }
}
