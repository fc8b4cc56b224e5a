//! One run of an emulator: its arguments, its serial console, and when to stop.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use regex::Regex;

use crate::system::System;

/// An emulator about to run. Mimic and QEMU take the same arguments.
pub struct Emulator {
    system: &'static System,
    program: PathBuf,
    arguments: Vec<String>,
    steps: Vec<Step>,
    timeout: Duration,
    log: Option<PathBuf>,
    disks: u32,
}

/// Something to wait for.
enum Step {
    /// A text on the console; then types.
    Text { wait: Regex, send: String },
    /// A picture on the screen.
    Screen(Watch),
    /// Something that is done on the host meanwhile.
    Host(Deed),
}

/// Something done on the host while the machine runs; what it waits for must end by itself. Says what went wrong.
pub type Deed = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// Looks at the screen, which the monitor stores in a file again and again.
pub struct Watch {
    pub file: PathBuf,
    /// Whether that is the picture waited for; if not, in what it differs.
    pub check: Check,
}

/// Looks at a stored picture; says in what it differs.
pub type Check = Box<dyn Fn(&Path) -> Result<(), String> + Send + Sync>;

/// How often the screen is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// Keys that lead from the serial console to the monitor, where both share the terminal, and back.
const SWITCH: &str = "\x01c";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// By itself, with this exit status.
    Exited(i32),
    /// By a signal that we did not send.
    Signal(i32),
    /// We ended it after the last step.
    Done,
    /// We ended it because what was done on the host failed.
    HostFailed,
    /// We ended it because it took too long.
    TimedOut,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Stop::Exited(status) => write!(f, "exit status {status}"),
            Stop::Signal(signal) => write!(f, "killed by signal {signal}"),
            Stop::Done => write!(f, "ended when all was seen"),
            Stop::HostFailed => write!(f, "ended when the host's part failed"),
            Stop::TimedOut => write!(f, "timed out"),
        }
    }
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// Standard output and standard error of the emulator: the serial console and its own messages.
    pub serial: String,
    pub stop: Stop,
    /// In what the screen differed when it was last looked at.
    pub screen: Option<String>,
    /// Why the host's part failed.
    pub host: Option<String>,
    pub wall: Duration,
}

impl Emulator {
    /// `program` is one that [`System::start`] takes.
    pub fn new(system: &'static System, program: &Path) -> Emulator {
        let (program, arguments) = system.start(program);
        Emulator {
            system,
            program,
            arguments,
            steps: Vec::new(),
            timeout: Duration::from_secs(120),
            log: None,
            disks: 0,
        }
    }

    /// One whose arguments are all that follow: no system is named.
    pub fn bare(system: &'static System, program: &Path) -> Emulator {
        Emulator { program: program.to_owned(), arguments: Vec::new(), ..Emulator::new(system, program) }
    }

    /// Name for messages.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn args<S: AsRef<str>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.arguments.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn kernel(&mut self, image: &Path, initrd: &Path) -> &mut Self {
        self.args(["-kernel", &image.to_string_lossy(), "-initrd", &initrd.to_string_lossy()])
    }

    /// The kernel's command line.
    pub fn append(&mut self, line: &str) -> &mut Self {
        self.args(["-append", line])
    }

    /// A raw image on a virtio disk. Its content need not survive a crash of the host.
    pub fn disk(&mut self, image: &Path) -> &mut Self {
        let id = format!("disk{}", self.disks);
        self.disks += 1;
        self.args([
            "-drive".to_owned(),
            format!("if=none,format=raw,cache=unsafe,id={id},file={}", image.to_string_lossy()),
            "-device".to_owned(),
            format!("virtio-blk-{},drive={id}", self.system.transport),
        ])
    }

    /// After `wait` has appeared on the console, types `send`. Steps run in order; each looks only at what came after
    /// the text that satisfied the step before. When the last one is satisfied and it types nothing, the run ends.
    pub fn step(&mut self, wait: Regex, send: &str) -> &mut Self {
        self.steps.push(Step::Text { wait, send: send.to_owned() });
        self
    }

    /// Waits for a picture, with the monitor on the terminal from then on. When this is the last step, the run ends.
    pub fn screen(&mut self, watch: Watch) -> &mut Self {
        self.steps.push(Step::Screen(watch));
        self
    }

    /// Does something on the host.
    pub fn host(&mut self, deed: Deed) -> &mut Self {
        self.steps.push(Step::Host(deed));
        self
    }

    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = timeout;
        self
    }

    /// Writes the console there as it comes.
    pub fn log(&mut self, file: &Path) -> &mut Self {
        self.log = Some(file.to_owned());
        self
    }

    /// Command line for a message.
    pub fn command_line(&self) -> String {
        let quoted = self.arguments.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { arg.clone() });
        std::iter::once(self.program.display().to_string()).chain(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Runs to the end, the last step or the time-out.
    pub fn run(&self) -> Result<Run> {
        let mut log = match &self.log {
            Some(file) => Some(File::create(file).with_context(|| format!("cannot write {}", file.display()))?),
            None => None,
        };
        let start = Instant::now();
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start emulator {}", self.program.display()))?;
        let output = collect(&mut child);
        // A machine that has just ended does not read; its exit status says so below.
        let mut stdin = child.stdin.take();
        let mut type_in =
            |text: &str| stdin.as_mut().map(|stdin| stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()));
        let mut serial = Vec::new();
        let mut stop = None;
        let mut host = None;
        let mut from = 0;
        let mut steps = self.steps.iter();
        let mut step = steps.next();
        let mut glances = Glances::default();
        while stop.is_none() {
            let left = self.timeout.saturating_sub(start.elapsed());
            let pause = if matches!(step, Some(Step::Screen(_))) { left.min(GLANCE) } else { left };
            match output.recv_timeout(pause) {
                Ok(bytes) => {
                    if let Some(log) = &mut log {
                        log.write_all(&bytes)?;
                    }
                    serial.extend(bytes);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if pause < left => {}
                Err(RecvTimeoutError::Timeout) => stop = Some(Stop::TimedOut),
            }
            while let Some(current) = step {
                let sends = match current {
                    Step::Text { wait, send } => {
                        let Some(end) = find_end(wait, &serial, from) else { break };
                        from = end;
                        type_in(send);
                        !send.is_empty()
                    }
                    Step::Screen(watch) => {
                        if !glances.look(watch, &mut type_in) {
                            break;
                        }
                        false
                    }
                    Step::Host(deed) => {
                        if let Err(error) = deed() {
                            host = Some(format!("{error:#}"));
                            stop = Some(Stop::HostFailed);
                            break;
                        }
                        false
                    }
                };
                step = steps.next();
                if step.is_none() && !sends {
                    stop = Some(Stop::Done);
                }
            }
        }
        if stop.is_some() {
            child.kill().ok();
        }
        let status = child.wait().context("cannot wait for the emulator")?;
        Ok(Run {
            serial: String::from_utf8_lossy(&serial).into_owned(),
            stop: stop.unwrap_or_else(|| natural_end(status)),
            screen: glances.difference,
            host,
            wall: start.elapsed(),
        })
    }
}

/// What was seen of the screen.
#[derive(Default)]
struct Glances {
    /// When the monitor was last asked for a picture.
    asked: Option<Instant>,
    difference: Option<String>,
}

impl Glances {
    /// Looks if it is time, and asks the monitor for the next picture. True if the picture is the one waited for.
    fn look<T>(&mut self, watch: &Watch, mut type_in: impl FnMut(&str) -> T) -> bool {
        match self.asked {
            None => drop(type_in(SWITCH)),
            Some(asked) if asked.elapsed() < GLANCE => return false,
            Some(_) => {
                self.difference = (watch.check)(&watch.file).err();
                if self.difference.is_none() {
                    return true;
                }
            }
        }
        self.asked = Some(Instant::now());
        type_in(&format!("screendump {}\n", watch.file.display()));
        false
    }
}

/// First match of `wait` in `serial[from..]`: the offset where it ends.
fn find_end(wait: &Regex, serial: &[u8], from: usize) -> Option<usize> {
    let text = String::from_utf8_lossy(&serial[from..]);
    let end = wait.find(&text)?.end();
    // Replacement characters are longer than the bytes they stand for; never go past what there is.
    Some((from + end).min(serial.len()))
}

fn natural_end(status: std::process::ExitStatus) -> Stop {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Stop::Exited(code),
        (None, signal) => Stop::Signal(signal.unwrap_or(0)),
    }
}

/// Both outputs of a child, in the order they come, until both are closed.
fn collect(child: &mut Child) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|out| Box::new(out) as _)];
    for mut output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{AARCH64, X86_64};

    /// The shell stands in for an emulator: same console and exit status.
    fn shell(script: &str) -> Emulator {
        let mut emulator = Emulator::new(&AARCH64, Path::new("sh"));
        emulator.args(["-c", script]).timeout(Duration::from_secs(20));
        emulator
    }

    #[test]
    fn exit_status_and_both_outputs() {
        let run = shell("echo out; echo err >&2; exit 7").run().unwrap();
        assert_eq!(run.stop, Stop::Exited(7));
        assert!(run.serial.contains("out\n") && run.serial.contains("err\n"));
    }

    #[test]
    fn steps_wait_and_type() {
        let mut emulator = shell("echo login:; read name; echo hello $name; read never; echo never");
        emulator.step(Regex::new("login:").unwrap(), "root\n").step(Regex::new("hello root").unwrap(), "");
        assert_eq!(emulator.run().unwrap().stop, Stop::Done);
    }

    #[test]
    fn a_step_looks_only_at_what_follows_the_step_before() {
        let mut emulator = shell("echo again; sleep 1; exit 0");
        let again = Regex::new("again").unwrap();
        emulator.step(again.clone(), "").step(again, "");
        assert_eq!(emulator.run().unwrap().stop, Stop::Exited(0));
    }

    /// `cat` stands in for the monitor: it stores what it is told where the picture would be.
    #[test]
    fn the_screen_is_watched_until_it_is_as_it_should_be() {
        let file = std::env::temp_dir().join(format!("mimic-screen-{}", std::process::id()));
        let mut emulator = shell(&format!("echo ready; exec cat >{}", file.display()));
        let asked_twice = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.matches("screendump").count() > 1 { Ok(()) } else { Err(format!("only {text:?}")) }
        };
        emulator.step(Regex::new("ready").unwrap(), "");
        emulator.screen(Watch { file: file.clone(), check: Box::new(asked_twice) });
        let run = emulator.run().unwrap();
        let typed = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!((run.stop, run.screen), (Stop::Done, None));
        assert!(typed.starts_with(&format!("{SWITCH}screendump {}\n", file.display())), "{typed:?}");

        let mut emulator = shell("exec cat");
        emulator.screen(Watch { file, check: Box::new(|_| Err("all black".to_owned())) });
        let run = emulator.timeout(Duration::from_secs(3)).run().unwrap();
        assert_eq!((run.stop, run.screen.as_deref()), (Stop::TimedOut, Some("all black")));
    }

    #[test]
    fn the_host_has_its_part() {
        let text = |text: &str| Regex::new(text).unwrap();
        let mut emulator = shell("echo ready; read line; echo got $line");
        emulator.step(text("ready"), "").host(Box::new(|| Ok(()))).step(text(""), "go\n");
        let run = emulator.run().unwrap();
        assert_eq!((run.stop, run.host), (Stop::Exited(0), None));
        assert!(run.serial.contains("got go"));

        let mut emulator = shell("echo ready; read line");
        emulator.step(text("ready"), "").host(Box::new(|| anyhow::bail!("no answer"))).step(text(""), "go\n");
        let run = emulator.run().unwrap();
        assert_eq!((run.stop, run.host.as_deref()), (Stop::HostFailed, Some("no answer")));
    }

    #[test]
    fn too_long_is_ended() {
        let mut emulator = shell("exec sleep 60");
        emulator.timeout(Duration::from_millis(200));
        let run = emulator.run().unwrap();
        assert_eq!(run.stop, Stop::TimedOut);
        assert!(run.wall < Duration::from_secs(10));
    }

    #[test]
    fn the_command_line_can_be_typed_again() {
        let mut qemu = Emulator::new(&X86_64, Path::new("qemu"));
        assert_eq!(qemu.append("a b").command_line(), "qemu-system-x86_64 -append 'a b'");
        let mut mimic = Emulator::new(&X86_64, Path::new("/x/mimic"));
        let drive = "-drive if=none,format=raw,cache=unsafe,id=disk0,file=d -device virtio-blk-pci,drive=disk0";
        assert_eq!(mimic.disk(Path::new("d")).command_line(), format!("/x/mimic system-x86_64 {drive}"));
    }
}
