//! A vCPU as the run loop, the debugger and the monitor see it, whoever executes its instructions.

use crate::addr::{Gpa, Gva};
use crate::address_space::AddressSpace;
use crate::entropy::Entropy;
use crate::irq::{IrqLine, IrqSink};
use crate::power::Power;
use crate::snapshot::{LoadError, Saved};
use crate::sysreg::SysregBus;
use crate::timer::Timers;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

thread_local!(static CURRENT: Cell<u32> = const { Cell::new(0) });

/// The number of the vCPU that this thread runs; 0 on threads that run none. Devices whose registers are banked by
/// processor ask it who accesses them.
pub fn current() -> u32 {
    CURRENT.get()
}

/// Says which vCPU this thread runs. Whoever runs vCPUs calls it before each switch to another one.
pub fn set_current(id: u32) {
    CURRENT.set(id);
}

/// What an access wants to do with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Load data.
    Read,
    /// Store data.
    Write,
    /// Fetch an instruction.
    Fetch,
}

/// Why a vCPU came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The instruction budget is used up.
    Budget,
    /// Nothing to do until an interrupt arrives (WFI, HLT).
    Idle,
    /// Somebody kicked it.
    Kicked,
    /// The guest gives the processor away (YIELD, PAUSE); only where vCPUs take turns on one thread.
    Yield,
    /// A breakpoint at this address.
    Breakpoint(Gva),
    /// An access to watched data at this address.
    Watchpoint(Gva),
    /// The guest asked to be switched off.
    Shutdown,
    /// The guest asked for a reset.
    Reset,
}

/// Why an accelerator cannot be used or go on.
#[derive(Debug, thiserror::Error)]
pub enum AccelError {
    /// The host does not offer it.
    #[error("{0}")]
    NotAvailable(String),
    /// This CPU model does not exist.
    #[error("unknown CPU model `{name}`; known models: {known}")]
    UnknownModel { name: String, known: String },
    /// The guest did something that this accelerator cannot do.
    #[error("{0}")]
    Unsupported(String),
}

/// No translation of an address exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault(pub Gva);

/// Wakes a vCPU from any thread: it leaves guest code at the next instruction boundary or wakes from idling.
pub trait Kick: Send + Sync {
    /// Kicks it. A kick that comes before the vCPU runs is not lost: the next run returns at once.
    fn kick(&self);
}

/// The interrupt inputs of a vCPU. The board makes them first, so that a controller can be wired before the vCPU exists.
#[derive(Default)]
pub struct Pins {
    levels: AtomicU32,
    kick: OnceLock<Arc<dyn Kick>>,
}

impl Pins {
    /// All pins low.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The levels, pin `n` in bit `n`.
    #[inline]
    pub fn levels(&self) -> u32 {
        self.levels.load(Ordering::Acquire)
    }

    /// Names whom to kick when a pin changes. Set once, by the vCPU.
    pub fn connect(&self, kick: Arc<dyn Kick>) {
        let _ = self.kick.set(kick);
    }
}

impl IrqSink for Pins {
    fn set_pin(&self, pin: u32, high: bool) {
        let bit = 1u32.checked_shl(pin).unwrap_or(0);
        if high {
            self.levels.fetch_or(bit, Ordering::AcqRel);
            if let Some(kick) = self.kick.get() {
                kick.kick();
            }
        } else {
            self.levels.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// Everything a vCPU is connected to. The architecture's front end numbers the pins and the outputs.
pub struct Wiring {
    /// Position among the machine's vCPUs, from 0.
    pub id: u32,
    /// CPU model with its feature flags, as `-cpu` has it.
    pub model: String,
    /// Memory.
    pub bus: Arc<AddressSpace>,
    /// I/O ports, of architectures that have them; empty elsewhere.
    pub ports: Arc<AddressSpace>,
    /// Devices on the system-register bus.
    pub sysregs: SysregBus,
    /// Interrupt inputs.
    pub pins: Arc<Pins>,
    /// Lines that the vCPU drives (its timers, its performance monitor).
    pub outputs: Vec<IrqLine>,
    /// Time.
    pub timers: Arc<Timers>,
    /// Whom to ask for power-off and reset.
    pub power: Power,
    /// Randomness for instructions that give some.
    pub entropy: Arc<dyn Entropy>,
    /// What the loader wants at reset; `None` starts at the architecture's reset vector.
    pub boot: Option<BootRegs>,
}

/// Makes vCPUs: by translation, or through a hypervisor of the host.
pub trait Accelerator: Send + Sync {
    /// Its `-accel` name.
    fn name(&self) -> &'static str;
    /// Makes a vCPU, reset and ready to run.
    ///
    /// # Errors
    /// [`AccelError`] for an unknown model or what the host lacks.
    fn vcpu(&self, wiring: Wiring) -> Result<Box<dyn Vcpu>, AccelError>;
}

/// One virtual CPU. It completes memory-mapped, port and system-register I/O itself.
pub trait Vcpu: Send {
    /// Executes guest code until something needs a decision, for at most `budget` instructions.
    fn run(&mut self, budget: Option<u64>) -> Result<Stop, AccelError>;
    /// Sleeps until an interrupt is pending or a kick comes.
    fn wait(&mut self);
    /// The handle that kicks it.
    fn kicker(&self) -> Arc<dyn Kick>;
    /// Names and widths in bits of its registers; positions are the indexes of [`reg`](Vcpu::reg).
    fn regs(&self) -> Vec<(&'static str, u32)>;
    /// The value of register `index`, zero-extended.
    fn reg(&self, index: usize) -> u128;
    /// Sets register `index`.
    fn set_reg(&mut self, index: usize, value: u128);
    /// Where a virtual address leads now.
    fn translate(&mut self, gva: Gva, intent: Intent) -> Result<Gpa, PageFault>;
    /// Back to the reset state, then to what the loader asked for ([`BootRegs`]).
    fn reset(&mut self);
    /// Instructions executed so far.
    fn instructions(&self) -> u64;
    /// What the accelerator has counted since the start, for a person to read: names and numbers.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// Its registers, for a snapshot.
    fn save(&self) -> Saved;
    /// Takes registers from a snapshot.
    fn load(&mut self, saved: &Saved) -> Result<(), LoadError>;
}

/// What a kernel loader wants of the first vCPU: set at every reset, after the registers' reset values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootRegs {
    /// First instruction.
    pub pc: Gva,
    /// General-purpose registers as (number, value).
    pub gprs: Vec<(u8, u64)>,
}
