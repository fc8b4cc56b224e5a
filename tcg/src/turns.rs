//! The vCPUs of one thread: a single one, or all of a machine, one after the other (`thread=single`).
//!
//! A turn is a number of instructions, or ends where the guest waits: for an interrupt, or for another vCPU (YIELD, PAUSE,
//! WFE). It does not depend on how fast the host is or on what tier the code runs, so that vCPUs meet in the same order in
//! every run, as far as nothing from outside (host time, input) tells one run from another.

#![forbid(unsafe_code)]

use vm::vcpu::{AccelError, Stop, Vcpu};

/// Instructions of a turn: many times what a switch costs, and short enough for who waits in a loop.
pub const TURN: u64 = 20_000;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next one follows.
    Over,
    /// All vCPUs wait for interrupts.
    AllIdle,
    /// Somebody kicked the vCPU: its turn goes on.
    Kicked,
}

/// The vCPUs in the order of their turns.
pub struct Turns {
    vcpus: Vec<Box<dyn Vcpu>>,
    /// Whose turn it is.
    next: usize,
    /// How many in a row have found nothing to do.
    idle: usize,
}

impl Turns {
    /// Turns of these, of which there is at least one.
    pub fn new(vcpus: Vec<Box<dyn Vcpu>>) -> Turns {
        assert!(!vcpus.is_empty(), "a machine has a vCPU");
        Turns { vcpus, next: 0, idle: 0 }
    }

    /// One turn.
    ///
    /// # Errors
    /// The vCPU cannot go on.
    pub fn turn(&mut self) -> Result<Turn, AccelError> {
        // Who has no companions has no turns.
        let budget = (self.vcpus.len() > 1).then_some(TURN);
        let stop = self.vcpus[self.next].run(budget)?;
        if stop == Stop::Kicked {
            return Ok(Turn::Kicked);
        }
        self.next = (self.next + 1) % self.vcpus.len();
        self.idle = if stop == Stop::Idle { self.idle + 1 } else { 0 };
        if self.idle < self.vcpus.len() {
            return Ok(Turn::Over);
        }
        self.idle = 0;
        Ok(Turn::AllIdle)
    }

    /// Sleeps until there is something to do for one of them.
    pub fn wait(&mut self) {
        self.vcpus[self.next].wait();
    }

    /// Back to the reset state: the first one begins.
    pub fn reset(&mut self) {
        self.vcpus.iter_mut().for_each(|vcpu| vcpu.reset());
        (self.next, self.idle) = (0, 0);
    }

    /// The vCPUs.
    pub fn vcpus(&self) -> impl Iterator<Item = &dyn Vcpu> {
        self.vcpus.iter().map(|vcpu| &**vcpu)
    }
}
