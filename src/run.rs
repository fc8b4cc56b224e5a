//! The run loop: vCPU threads, pause and continue, the decisions that a stop asks for, the monitor's commands.
//!
//! Everything that decides about the machine is an [`Event`] in one queue, so that there is one order of events. Each
//! vCPU has a thread that owns it; the loop pauses a thread before it touches the machine's state.

use crate::assemble::{Assembly, PROMPT, PendingEnd, assemble};
use crate::cli::config::Config;
use crate::{keys, logging, picture};
use anyhow::{Result, anyhow};
use host::clock::TimerThread;
use host::console::{Control, serve_monitor};
use host::disk::{Disk, DiskOptions};
use host::image::format::Format;
use host::pidfile::PidFile;
use host::signals::SignalThread;
use machines::{Machine, SetMedium};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use vm::ResetKind;
use vm::clock::Clock;
use vm::power::PowerRequest;
use vm::vcpu::{AccelError, Kick, Stop, Vcpu};

/// How long the end of the program waits for somebody to take the guest's last output.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that the loop decides about.
enum Event {
    /// The guest or a device asks for power-off or reset.
    Power,
    /// A vCPU's thread stands still.
    Paused { reason: Pause },
    /// A person or a signal ends the program with this status.
    Quit(u8),
    /// The monitor was given a command; the answer goes back.
    Command(String, Sender<String>),
}

/// Why a vCPU's thread stands still.
enum Pause {
    /// It was told to.
    Ordered,
    /// It cannot go on.
    Failed(AccelError),
}

/// What a vCPU's thread is told.
enum Order {
    Run,
    Pause,
    /// Reset the vCPU, while it stands still.
    Reset(Sender<()>),
    /// One line per register, while it stands still.
    Registers(Sender<String>),
    /// What the accelerator has counted, one line each, while it stands still.
    Counters(Sender<String>),
    End,
}

/// The thread of one vCPU.
struct VcpuThread {
    orders: Sender<Order>,
    kick: Arc<dyn Kick>,
    thread: Option<JoinHandle<()>>,
}

impl VcpuThread {
    fn start(n: usize, mut vcpu: Box<dyn Vcpu>, events: Sender<Event>) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let kick = vcpu.kicker();
        let work = move || {
            let _watch = Watch(events.clone());
            vcpu_loop(&mut *vcpu, &inbox, &events);
        };
        let thread = std::thread::Builder::new().name(format!("vcpu{n}")).spawn(work)?;
        Ok(Self { orders, kick, thread: Some(thread) })
    }

    fn order(&self, order: Order) {
        // A thread that is gone follows no orders; its end was reported.
        let _ = self.orders.send(order);
        self.kick.kick();
    }
}

/// Tells the run loop when its thread panics: nobody else would notice, and the program would never end.
struct Watch(Sender<Event>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = "a vCPU's thread panicked, which is a bug of Mimic; report the message above".to_owned();
            let _ = self.0.send(Event::Paused { reason: Pause::Failed(AccelError::Unsupported(error)) });
        }
    }
}

fn vcpu_loop(vcpu: &mut dyn Vcpu, inbox: &Receiver<Order>, events: &Sender<Event>) {
    let mut running = false;
    loop {
        let order = if running { inbox.try_recv().ok() } else { inbox.recv().ok().or(Some(Order::End)) };
        match order {
            Some(Order::Run) => running = true,
            Some(Order::Pause) => {
                running = false;
                let _ = events.send(Event::Paused { reason: Pause::Ordered });
            }
            Some(Order::Reset(done)) => {
                vcpu.reset();
                let _ = done.send(());
            }
            Some(Order::Registers(answer)) => {
                let _ = answer.send(registers(vcpu));
            }
            Some(Order::Counters(answer)) => {
                let _ = answer.send(counters(vcpu));
            }
            Some(Order::End) => {
                vm::log!(Stats, "{}", counters(vcpu).trim_end());
                return;
            }
            None => {}
        }
        if !running {
            continue;
        }
        match vcpu.run(None) {
            Ok(Stop::Idle) => vcpu.wait(),
            // Shutdown and reset come through the power handle too, which the loop hears of.
            Ok(_) => {}
            Err(error) => {
                running = false;
                let _ = events.send(Event::Paused { reason: Pause::Failed(error) });
            }
        }
    }
}

fn registers(vcpu: &dyn Vcpu) -> String {
    let all = vcpu.regs();
    let line = |(n, (name, bits)): (usize, &(&str, u32))| {
        format!("{name:>16} = {:0width$x}\n", vcpu.reg(n), width = (*bits as usize).div_ceil(4))
    };
    all.iter().enumerate().map(line).collect()
}

fn counters(vcpu: &dyn Vcpu) -> String {
    vcpu.counters().iter().map(|(name, count)| format!("{count:>16} {name}\n")).collect()
}

/// Runs a machine; gives the exit status.
///
/// # Errors
/// What is wrong with the command line's objects, in one line.
pub fn system(config: &Config) -> Result<u8> {
    for warning in &config.warnings {
        eprintln!("mimic: {warning}");
    }
    logging::configure(&config.log).map_err(|e| anyhow!(e))?;
    let pidfile = config.pidfile.as_deref().map(PidFile::write).transpose()?;
    let assembly = assemble(config)?;
    let status = RunLoop::new(config, assembly)?.run();
    drop(pidfile);
    status
}

struct RunLoop {
    machine: Machine,
    clock: Arc<host::clock::HostClock>,
    threads: Vec<VcpuThread>,
    events: Receiver<Event>,
    no_reboot: bool,
    no_shutdown: bool,
    running: bool,
    /// The machine is off but the program goes on (`-no-shutdown`).
    off: bool,
    /// The mouse's buttons as the monitor left them.
    buttons: u8,
    _timers: TimerThread,
    _signals: SignalThread,
    _terminal: Option<host::terminal::Terminal>,
}

/// What the escape keys do.
struct Keys {
    events: Sender<Event>,
    disks: BTreeMap<String, Arc<Disk>>,
}

impl Control for Keys {
    fn quit(&self) {
        let _ = self.events.send(Event::Quit(0));
    }
    fn commit(&self) -> String {
        let mut text = String::new();
        for (id, disk) in &self.disks {
            match disk.commit() {
                Ok(Some(bytes)) => text.push_str(&format!("{id}: {bytes} bytes written\n")),
                Ok(None) => {}
                Err(error) => text.push_str(&format!("{error}\n")),
            }
        }
        if text.is_empty() { "no disk has a snapshot overlay\n".into() } else { text }
    }
}

impl RunLoop {
    fn new(config: &Config, assembly: Assembly) -> Result<Self> {
        let Assembly { mut machine, clock, disks, ends, terminal } = assembly;
        let (sender, events) = channel();
        let power = sender.clone();
        machine.power.on_request(Box::new(move || drop(power.send(Event::Power))));
        let signals = sender.clone();
        let signals = SignalThread::start(move |_| drop(signals.send(Event::Quit(0))))?;
        let timers = TimerThread::start(machine.timers.clone(), clock.clone());
        let mut threads = Vec::new();
        for (n, vcpu) in std::mem::take(&mut machine.vcpus).into_iter().enumerate() {
            threads.push(VcpuThread::start(n, vcpu, sender.clone())?);
        }
        let monitor = || {
            let events = sender.clone();
            move |line: &str| {
                let (answer, reply) = channel();
                let _ = events.send(Event::Command(line.to_owned(), answer));
                reply.recv().unwrap_or_default()
            }
        };
        let keys = Arc::new(Keys { events: sender.clone(), disks });
        for end in ends {
            match end {
                PendingEnd::Console(mut console, with_monitor) => {
                    if with_monitor {
                        console.add_monitor(PROMPT, monitor());
                    }
                    console.start(keys.clone());
                }
                PendingEnd::Monitor(backend) => serve_monitor(backend, PROMPT, monitor()),
            }
        }
        let mut run_loop = Self {
            machine,
            clock,
            threads,
            events,
            no_reboot: config.no_reboot,
            no_shutdown: config.no_shutdown,
            running: false,
            off: false,
            buttons: 0,
            _timers: timers,
            _signals: signals,
            _terminal: terminal,
        };
        if !config.start_paused {
            run_loop.go_on();
        }
        Ok(run_loop)
    }

    /// Lets the machine run.
    fn go_on(&mut self) {
        if !self.running && !self.off {
            self.running = true;
            self.clock.run();
            for thread in &self.threads {
                thread.order(Order::Run);
            }
        }
    }

    /// Makes every vCPU stand still. What arrives meanwhile is put into `later`.
    fn pause(&mut self, later: &mut Vec<Event>) -> Result<()> {
        if !self.running {
            return Ok(());
        }
        self.running = false;
        for thread in &self.threads {
            thread.order(Order::Pause);
        }
        let mut waiting = self.threads.len();
        while waiting > 0 {
            match self.events.recv()? {
                Event::Paused { reason: Pause::Ordered } => waiting -= 1,
                Event::Paused { reason: Pause::Failed(error) } => return Err(error.into()),
                other => later.push(other),
            }
        }
        self.clock.stop();
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        self.machine.reset_parts(ResetKind::Warm)?;
        for thread in &self.threads {
            let (done, ack) = channel();
            thread.order(Order::Reset(done));
            ack.recv()?;
        }
        self.machine.settle();
        self.off = false;
        Ok(())
    }

    fn run(mut self) -> Result<u8> {
        let result = self.decide();
        for thread in &self.threads {
            thread.order(Order::End);
        }
        for thread in &mut self.threads {
            if let Some(thread) = thread.thread.take() {
                let _ = thread.join();
            }
        }
        host::finish(Some(PATIENCE));
        result
    }

    /// Handles events until the program ends.
    fn decide(&mut self) -> Result<u8> {
        let mut later = Vec::new();
        loop {
            let event = if later.is_empty() { self.events.recv()? } else { later.remove(0) };
            match event {
                Event::Quit(status) => return Ok(status),
                Event::Paused { reason: Pause::Ordered } => {}
                Event::Paused { reason: Pause::Failed(error) } => return Err(error.into()),
                Event::Command(line, answer) => {
                    let reply = self.command(line.trim(), &mut later)?;
                    if let Some(reply) = reply {
                        let _ = answer.send(reply);
                    } else {
                        return Ok(0);
                    }
                }
                Event::Power => match self.machine.power.take() {
                    Some(PowerRequest::Exit(status)) => return Ok(status),
                    Some(PowerRequest::Shutdown) => {
                        self.pause(&mut later)?;
                        self.off = true;
                        if !self.no_shutdown {
                            return Ok(0);
                        }
                    }
                    Some(PowerRequest::Reset) => {
                        if self.no_reboot {
                            return Ok(0);
                        }
                        self.pause(&mut later)?;
                        self.reset()?;
                        self.go_on();
                    }
                    None => {}
                },
            }
        }
    }

    /// What each vCPU answers while it stands still.
    fn ask_vcpus(&mut self, order: fn(Sender<String>) -> Order, later: &mut Vec<Event>) -> Result<String> {
        let running = self.running;
        self.pause(later)?;
        let mut text = String::new();
        for (n, thread) in self.threads.iter().enumerate() {
            let (answer, reply) = channel();
            thread.order(order(answer));
            text.push_str(&format!("CPU#{n}\n{}", reply.recv().unwrap_or_default()));
        }
        if running {
            self.go_on();
        }
        Ok(text)
    }

    /// What puts a medium into a drive; the error is the answer to the person.
    fn drive(&self, drive: &str) -> Result<&SetMedium, String> {
        self.machine.media.get(drive).ok_or_else(|| {
            let known: Vec<&str> = self.machine.media.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("no drive `{drive}` whose medium can be changed; known: {known}\n")
        })
    }

    fn eject(&self, drive: &str) -> Result<String, String> {
        self.drive(drive)?(None);
        Ok(String::new())
    }

    /// Puts the medium `file` into a drive; its format is found out unless it is named.
    fn change(&self, drive: &str, file: &str, format: Option<&str>) -> Result<String, String> {
        let set = self.drive(drive)?;
        let format =
            format.map(Format::named).transpose().map_err(|(reason, advice)| format!("{reason}; {advice}\n"))?;
        // Discs cannot be written.
        let read_only = drive.contains("-cd");
        let options = DiskOptions { path: file.into(), format, read_only, ..DiskOptions::default() };
        let disk = host::disk::open(&options).map_err(|error| format!("{error}\n"))?;
        set(Some(Arc::new(disk)));
        Ok(String::new())
    }

    /// `screendump FILE [-f FORMAT]`, the option in any place. Other arguments of QEMU's name screens; there is one.
    fn screendump(&self, arguments: &[&str]) -> String {
        let (mut file, mut format) = (None, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match *word {
                "-f" => format = words.next().copied(),
                word => file = file.or(Some(word)),
            }
        }
        let Some(file) = file else { return "screendump: the file is missing; write screendump FILE\n".into() };
        let Some(display) = &self.machine.display else { return "this machine has no screen\n".into() };
        let by_name = if file.to_lowercase().ends_with(".png") { "png" } else { "ppm" };
        let frame = display.frame();
        let written = std::fs::File::create(file).map(std::io::BufWriter::new).and_then(|mut out| {
            match format.unwrap_or(by_name) {
                "png" => picture::png(&frame, &mut out),
                "ppm" => picture::ppm(&frame, &mut out),
                _ => Err(std::io::Error::other("unknown format; use -f png or -f ppm")),
            }?;
            out.flush()
        });
        written.err().map_or_else(String::new, |why| format!("screendump {file}: {why}\n"))
    }

    /// Presses the keys in order and releases them.
    fn sendkey(&self, text: &str) -> String {
        let Some(input) = &self.machine.input else { return "this machine has no keyboard\n".into() };
        match keys::combination(text) {
            Ok(keys) => {
                keys.iter().for_each(|key| input.key(*key, true));
                keys.iter().rev().for_each(|key| input.key(*key, false));
                String::new()
            }
            Err(name) => {
                format!("sendkey {text}: no key is called `{name}`; keys are a, 1, f1, ret, spc, ctrl and so on\n")
            }
        }
    }

    fn mouse_move(&self, motion: &[&str]) -> String {
        let numbers: Result<Vec<i32>, _> = motion.iter().map(|number| number.parse()).collect();
        match numbers.as_deref() {
            Ok([dx, dy]) => self.mouse(*dx, *dy, 0),
            Ok([dx, dy, dz]) => self.mouse(*dx, *dy, *dz),
            _ => "mouse_move: write mouse_move DX DY [DZ]\n".into(),
        }
    }

    fn mouse(&self, dx: i32, dy: i32, dz: i32) -> String {
        match &self.machine.input {
            Some(input) => {
                input.mouse(dx, dy, dz, self.buttons);
                String::new()
            }
            None => "this machine has no mouse\n".into(),
        }
    }

    /// A line typed at the monitor; `None` ends the program.
    fn command(&mut self, line: &str, later: &mut Vec<Event>) -> Result<Option<String>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(Some(match words.as_slice() {
            [] => String::new(),
            ["help" | "?"] => {
                "quit, stop, cont, system_reset, system_powerdown, screendump FILE [-f png|ppm], sendkey KEY[-KEY…],\n\
                 mouse_move DX DY [DZ], mouse_button MASK, change DRIVE FILE, eject DRIVE,\n\
                 info status|registers|mtree|pci|block|jit\n"
                    .into()
            }
            ["quit" | "q"] => return Ok(None),
            ["stop" | "s"] => {
                self.pause(later)?;
                String::new()
            }
            ["cont" | "c"] => {
                self.go_on();
                if self.off { "the machine is off; system_reset starts it again\n".into() } else { String::new() }
            }
            ["system_reset"] => {
                let running = self.running || self.off;
                self.pause(later)?;
                self.reset()?;
                if running {
                    self.go_on();
                }
                String::new()
            }
            ["system_powerdown"] => match self.machine.press_power_button() {
                true => String::new(),
                false => "this machine has no power button\n".into(),
            },
            ["info", "status"] => {
                let state = if self.off {
                    "paused (shutdown)"
                } else if self.running {
                    "running"
                } else {
                    "paused"
                };
                format!("VM status: {state}\n")
            }
            ["eject", "-f", drive] | ["eject", drive] => self.eject(drive).unwrap_or_else(|error| error),
            ["change", drive, file, rest @ ..] if rest.len() < 2 => {
                self.change(drive, file, rest.first().copied()).unwrap_or_else(|error| error)
            }
            ["info", "block"] => self.machine.media.keys().map(|name| format!("{name}: removable\n")).collect(),
            ["screendump", rest @ ..] => self.screendump(rest),
            ["sendkey", keys] | ["sendkey", keys, _] => self.sendkey(keys),
            ["mouse_move", motion @ ..] => self.mouse_move(motion),
            ["mouse_button", buttons] => match buttons.parse::<u8>() {
                Ok(buttons) => {
                    // QEMU's mask: 1 left, 2 middle, 4 right.
                    self.buttons = buttons & 1 | (buttons & 2) << 1 | (buttons & 4) >> 1;
                    self.mouse(0, 0, 0)
                }
                Err(_) => format!("mouse_button {buttons}: no mask; add 1 for left, 2 for middle, 4 for right\n"),
            },
            ["info", "mtree"] => format!("memory\n{}I/O ports\n{}", self.machine.bus.dump(), self.machine.ports.dump()),
            ["info", "pci"] => {
                let running = self.running;
                self.pause(later)?;
                let text = crate::pci::info(&self.machine.ports);
                if running {
                    self.go_on();
                }
                text.unwrap_or_else(|| "this machine has no PCI bus\n".into())
            }
            ["info", "registers"] => self.ask_vcpus(Order::Registers, later)?,
            ["info", "jit"] => self.ask_vcpus(Order::Counters, later)?,
            [word, ..] => format!("unknown command: `{word}`; `help` lists the commands\n"),
        }))
    }
}
