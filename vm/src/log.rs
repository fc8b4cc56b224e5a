//! Log items as `-d` names them, and the one place that log lines go to.
//!
//! The mask is process-wide because a log item is a wish of the person at the terminal, not of a machine.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// One item of `-d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Item {
    /// Guest instructions of each block when it is translated.
    InAsm = 1 << 0,
    /// The IR of each block as the front end made it.
    Ir = 1 << 1,
    /// The IR after the optimisation passes.
    IrOpt = 1 << 2,
    /// Host code of each compiled block.
    OutAsm = 1 << 3,
    /// Interrupts and exceptions as they are taken.
    Int = 1 << 4,
    /// Page walks and their faults.
    Mmu = 1 << 5,
    /// Every block when it is executed.
    Exec = 1 << 6,
    /// What a correct guest would not do.
    GuestError = 1 << 7,
    /// What a guest asked for and Mimic does not implement.
    Unimp = 1 << 8,
    /// What the translator has counted, when the machine ends.
    Stats = 1 << 9,
    /// The state of a processor that is reset or shuts down.
    CpuReset = 1 << 10,
}

/// Every item with its `-d` name and one line of help.
pub const ITEMS: &[(Item, &str, &str)] = &[
    (Item::InAsm, "in_asm", "guest instructions of each block when it is translated"),
    (Item::Ir, "ir", "intermediate code of each translated block"),
    (Item::IrOpt, "ir_opt", "intermediate code after the optimisation passes"),
    (Item::OutAsm, "out_asm", "host code of each compiled block"),
    (Item::Int, "int", "interrupts and exceptions as they are taken"),
    (Item::Mmu, "mmu", "page walks and their faults"),
    (Item::Exec, "exec", "each block when it is executed"),
    (Item::GuestError, "guest_error", "what a correct guest would not do"),
    (Item::Unimp, "unimp", "what a guest asked for and is not implemented"),
    (Item::Stats, "stats", "blocks, code, TLB misses and exits, counted until the end"),
    (Item::CpuReset, "cpu_reset", "the state of a processor that is reset or shuts down"),
];

static MASK: AtomicU32 = AtomicU32::new(0);
static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Where lines go: each call gets one or more whole lines without the last newline.
pub type Sink = Box<dyn FnMut(fmt::Arguments<'_>) + Send>;

/// Whether lines of `item` are wanted.
#[inline]
pub fn enabled(item: Item) -> bool {
    MASK.load(Ordering::Relaxed) & item as u32 != 0
}

/// Chooses the items to log and where lines go.
pub fn configure(items: &[Item], sink: Sink) {
    *SINK.lock().unwrap() = Some(sink);
    MASK.store(items.iter().fold(0, |mask, item| mask | *item as u32), Ordering::Relaxed);
}

/// Writes one line; use the [`log!`](crate::log!) macro, which asks [`enabled`] first.
pub fn write(line: fmt::Arguments<'_>) {
    if let Some(sink) = SINK.lock().unwrap().as_mut() {
        sink(line);
    }
}

/// `log!(GuestError, "pl011: bad offset {:#x}", offset)`: logs when the item is enabled; costs one load otherwise.
#[macro_export]
macro_rules! log {
    ($item:ident, $($arg:tt)*) => {
        if $crate::log::enabled($crate::log::Item::$item) {
            $crate::log::write(format_args!($($arg)*));
        }
    };
}
