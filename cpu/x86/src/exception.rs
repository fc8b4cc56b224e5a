//! Exceptions and interrupts as such (SDM vol. 3A, chapter 6): vectors, error codes, which of two that meet is delivered.
//! How one is delivered stands in [`crate::interrupt`].

use crate::control_regs::{CR0_PG, CR4_DE};
use crate::flags;
use crate::frontend::Env;
use crate::interrupt::{self, Event};
use crate::state::{Cpu, Shadow, Stopped};
use vm::log;

/// Vectors.
pub const DE: u8 = 0;
pub const DB: u8 = 1;
pub const NMI: u8 = 2;
pub const BP: u8 = 3;
pub const OF: u8 = 4;
pub const BR: u8 = 5;
pub const UD: u8 = 6;
pub const NM: u8 = 7;
pub const DF: u8 = 8;
pub const TS: u8 = 10;
pub const NP: u8 = 11;
pub const SS: u8 = 12;
pub const GP: u8 = 13;
pub const PF: u8 = 14;
pub const MF: u8 = 16;
pub const AC: u8 = 17;
pub const MC: u8 = 18;
pub const XM: u8 = 19;

/// What an instruction raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// A fault: the program counter stays at the instruction.
    Fault {
        vector: u8,
        error: Option<u32>,
        /// What CR2 will say, of page faults.
        address: Option<u64>,
    },
    /// An access that must be aligned and is not: what that means depends on the instruction, see
    /// [`crate::insn::faulting`].
    Misaligned,
    /// No exception at all: the state, the program counter included, is as it shall be; go on there. For helpers that leave
    /// a block in its middle.
    Resume,
}

impl Exception {
    pub const fn plain(vector: u8) -> Exception {
        Exception::Fault { vector, error: None, address: None }
    }
    pub const fn with_error(vector: u8, error: u32) -> Exception {
        Exception::Fault { vector, error: Some(error), address: None }
    }
    /// General protection.
    pub const fn gp(error: u32) -> Exception {
        Exception::with_error(GP, error)
    }
    pub const fn ud() -> Exception {
        Exception::plain(UD)
    }
    pub const fn page_fault(error: u32, address: u64) -> Exception {
        Exception::Fault { vector: PF, error: Some(error), address: Some(address) }
    }
    /// One that concerns a selector: the error code names it, without its RPL.
    pub const fn selector(vector: u8, selector: u16) -> Exception {
        Exception::with_error(vector, (selector & !3) as u32)
    }
}

/// Table 6-5 "Interrupt and Exception Classes".
fn is_contributory(vector: u8) -> bool {
    matches!(vector, DE | TS | NP | SS | GP)
}

/// The exception that is delivered when `second` comes up while `first` was being delivered (table 6-6 "Conditions for
/// Generating a Double Fault"); `None` for a shutdown.
fn combine(first: u8, second: u8) -> Option<u8> {
    match (first, second) {
        (DF, _) => None,
        (PF, PF) => Some(DF),
        (a, b) if is_contributory(b) && (a == PF || is_contributory(a)) => Some(DF),
        (_, b) => Some(b),
    }
}

/// Enters the handler of an exception; of further ones that come up meanwhile; or shuts down.
pub fn take(env: &mut Env, exception: Exception) {
    let Exception::Fault { mut vector, mut error, mut address } = exception else { return };
    loop {
        let cpu = &mut env.cpu;
        log!(
            Int,
            "exception {vector:#04x} error {error:x?} at {:#06x}:{:#x} cpl {} address {:x?}",
            cpu.selectors[crate::segment::CS],
            cpu.rip(),
            cpu.cpl,
            address
        );
        if let Some(address) = address {
            cpu.cr2 = address;
        }
        cpu.shadow = Shadow::None;
        // What the instruction accessed before it failed is no reason to stop.
        cpu.pending_debug = 0;
        if vector == DF {
            error = Some(0);
        }
        let event = Event::exception(vector, error, cpu.rip());
        let Err(next) = interrupt::deliver(env, event) else { return };
        let Exception::Fault { vector: second, error: second_error, address: second_address } = next else { return };
        match combine(vector, second) {
            Some(DF) if second != DF => (vector, error) = (DF, Some(0)),
            Some(next) => (vector, error) = (next, second_error),
            None => return shut_down(env),
        }
        // A page fault sets CR2 even if it ends as a double fault.
        address = second_address;
    }
}

/// A triple fault: the processor shuts down, and the board resets the machine (SDM vol. 3A, 6.15 "Interrupt 8").
fn shut_down(env: &mut Env) {
    let cpu = &mut env.cpu;
    log!(
        CpuReset,
        "triple fault at {:#06x}:{:#x}: cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x} idt {:#x}+{:#x}",
        cpu.selectors[crate::segment::CS],
        cpu.rip(),
        cpu.cr0,
        cpu.cr2,
        cpu.cr3,
        cpu.cr4,
        cpu.msr.efer,
        cpu.idtr.base,
        cpu.idtr.limit
    );
    cpu.stopped = Stopped::Shutdown;
    cpu.wires.power.request(vm::power::PowerRequest::Reset);
    env.halt();
}

/// Whether error codes are pushed: not in real mode.
pub fn has_error_code(env: &Env) -> bool {
    env.cpu.is_protected()
}

/// Bits of DR6.
pub mod dr6 {
    /// Single step.
    pub const BS: u64 = 1 << 14;
    /// Access to a debug register with DR7.GD set.
    pub const BD: u64 = 1 << 13;
    /// Task switch.
    pub const BT: u64 = 1 << 15;
}

/// A debug exception: sets DR6; a trap, unless the fault is one of an instruction breakpoint.
pub fn debug(env: &mut Env, causes: u64) -> Exception {
    env.cpu.dr[6] |= causes;
    env.cpu.dr[7] &= !(1 << 13);
    env.cpu.update_mode();
    Exception::plain(DB)
}

/// Ends an instruction that was single-stepped: the trap is taken after it, even if it has cleared TF.
pub fn step_done(env: &mut Env) {
    env.cpu.pending_debug |= dr6::BS;
    env.cpu.update_mode();
}

/// Ends SYSCALL or SYSRET, after which TF as it is now counts.
pub fn step_if_on(env: &mut Env) {
    if env.cpu.flag(flags::TF) {
        step_done(env);
    }
}

/// What a breakpoint is for, in DR7 (SDM vol. 3B, 17.2.4 "Debug Control Register (DR7)").
const ON_WRITE: u64 = 1;
const ON_PORT: u64 = 2;
const ON_ACCESS: u64 = 3;

/// Breakpoints enabled in DR7 for one of `kinds` whose range has a byte of `bytes` from `first` on, as bits of DR6.
fn breakpoints(cpu: &Cpu, kinds: &[u64], first: u64, bytes: u64) -> u64 {
    let dr7 = cpu.dr[7];
    let hit = |n: &u64| {
        let len = [1, 2, 8, 4][(dr7 >> (18 + 4 * n) & 3) as usize];
        let start = cpu.dr[*n as usize] & !(len - 1);
        let overlaps = first.wrapping_sub(start) < len || start.wrapping_sub(first) < bytes;
        dr7 >> (2 * n) & 3 != 0 && kinds.contains(&(dr7 >> (16 + 4 * n) & 3)) && overlaps
    };
    (0..4).filter(hit).fold(0, |all, n| all | 1 << n)
}

fn watch(cpu: &mut Cpu, kinds: &[u64], first: u64, bytes: u64) {
    let hits = breakpoints(cpu, kinds, first, bytes);
    if hits != 0 {
        cpu.pending_debug |= hits;
        cpu.update_mode();
    }
}

/// Compares an access to memory with the data breakpoints: the trap comes after the instruction.
pub fn watch_data(cpu: &mut Cpu, va: u64, bytes: u64, write: bool) {
    watch(cpu, if write { &[ON_WRITE, ON_ACCESS] } else { &[ON_ACCESS] }, va, bytes);
}

/// Compares an access to a port with the breakpoints for that, which CR4.DE enables.
pub fn watch_port(cpu: &mut Cpu, port: u16, bytes: u64) {
    if cpu.cr4 & CR4_DE != 0 {
        watch(cpu, &[ON_PORT], port.into(), bytes);
    }
}

impl Cpu {
    /// Whether breakpoints for accesses are enabled.
    pub fn watches(&self) -> bool {
        let dr7 = self.dr[7];
        dr7 & 0xff != 0 && (0..4).any(|n| dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 3 != 0)
    }
}

/// Whether paging is on, for messages.
pub fn paging(env: &Env) -> bool {
    env.cpu.cr0 & CR0_PG != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_meet() {
        assert_eq!(combine(GP, NP), Some(DF));
        assert_eq!(combine(PF, GP), Some(DF));
        assert_eq!(combine(PF, PF), Some(DF));
        assert_eq!(combine(GP, PF), Some(PF));
        assert_eq!(combine(UD, GP), Some(GP));
        assert_eq!(combine(DF, GP), None);
        assert_eq!(combine(DF, PF), None);
    }
}
