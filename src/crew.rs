//! Threads of vCPUs: each one has a thread of its own, or all of them take turns on one (`-accel tcg,thread=single`).

use crate::run::Event;
use crate::stages::{self, Stage};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tcg::turns::{Turn, Turns};
use vm::vcpu::{AccelError, Kick, Vcpu};

/// Why a thread of vCPUs stands still.
pub(crate) enum Pause {
    /// It was told to.
    Ordered,
    /// It cannot go on.
    Failed(AccelError),
}

/// What a thread of vCPUs is told.
pub(crate) enum Order {
    Run,
    Pause,
    /// Reset the vCPUs, while they stand still.
    Reset(Sender<()>),
    /// One line per register, while they stand still.
    Registers(Sender<String>),
    /// Which stage of a start the vCPUs have reached, while they go on.
    Look(Sender<Option<Stage>>),
    /// What the accelerator has counted, one line each, while they stand still.
    Counters(Sender<String>),
    End,
}

/// The vCPUs of one thread.
pub(crate) struct Crew {
    line: Line,
    thread: Option<JoinHandle<()>>,
}

/// How orders come to a thread of vCPUs.
#[derive(Clone)]
pub(crate) struct Line {
    orders: Sender<Order>,
    kicks: Vec<Arc<dyn Kick>>,
}

impl Line {
    /// Gives an order.
    pub fn order(&self, order: Order) {
        // A thread that is gone follows no orders; its end was reported.
        let _ = self.orders.send(order);
        self.kicks.iter().for_each(|kick| kick.kick());
    }
}

impl Crew {
    /// A thread for these, the first of which is vCPU number `first`.
    pub fn start(first: usize, vcpus: Vec<Box<dyn Vcpu>>, events: Sender<Event>) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let kicks = vcpus.iter().map(|vcpu| vcpu.kicker()).collect();
        let work = move || {
            let _watch = Watch(events.clone());
            follow(first, Turns::new(vcpus), &inbox, &events);
        };
        let thread = std::thread::Builder::new().name(format!("vcpu{first}")).spawn(work)?;
        Ok(Self { line: Line { orders, kicks }, thread: Some(thread) })
    }

    /// Gives an order.
    pub fn order(&self, order: Order) {
        self.line.order(order);
    }

    /// For others than the run loop.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Waits for the thread's end.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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

/// Follows orders until the end.
fn follow(first: usize, mut turns: Turns, inbox: &Receiver<Order>, events: &Sender<Event>) {
    let each = |turns: &Turns, text: fn(&dyn Vcpu) -> String| -> String {
        turns.vcpus().enumerate().map(|(n, vcpu)| format!("CPU#{}\n{}", first + n, text(vcpu))).collect()
    };
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
                turns.reset();
                let _ = done.send(());
            }
            Some(Order::Registers(answer)) => {
                let _ = answer.send(each(&turns, registers));
            }
            Some(Order::Look(answer)) => {
                let _ = answer.send(turns.vcpus().filter_map(stages::of).max());
            }
            Some(Order::Counters(answer)) => {
                let _ = answer.send(each(&turns, counters));
            }
            Some(Order::End) => {
                turns.vcpus().for_each(|vcpu| vm::log!(Stats, "{}", counters(vcpu).trim_end()));
                return;
            }
            None => {}
        }
        if !running {
            continue;
        }
        match turns.turn() {
            Ok(Turn::AllIdle) => turns.wait(),
            // Shutdown and reset come through the power handle too, which the loop hears of.
            Ok(Turn::Over | Turn::Kicked) => {}
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
