//! Memory as helpers see it: through the guest's translations, with the exceptions returned rather than raised.

use crate::exception::{self, Exception};
use crate::frontend::Env;
use crate::mmu;
use tcg::ir::Mem;

/// Who accesses memory: it decides about pages of user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The program, with the rights of its level.
    Program,
    /// The processor itself: descriptor tables, task states, stacks of more privileged levels.
    Processor,
}

/// Tells the breakpoints of an access by the program.
fn watch(env: &mut Env, va: u64, bytes: u8, who: Who, write: bool) {
    if who == Who::Program && env.cpu.watches() {
        exception::watch_data(&mut env.cpu, va, bytes.into(), write);
    }
}

/// How the program or the processor accesses so many bytes.
fn access(env: &Env, who: Who, bytes: u8) -> Mem {
    let aligned = who == Who::Program && env.cpu.checks_alignment() && matches!(bytes, 2 | 4 | 8);
    Mem { align_log2: if aligned { bytes.trailing_zeros() as u8 } else { 0 }, ..Mem::plain(regime(env, who)) }
}

fn regime(env: &Env, who: Who) -> u8 {
    match who {
        Who::Program => mmu::data_regime(&env.cpu),
        Who::Processor => mmu::KERNEL,
    }
}

/// Loads `bytes` (1 to 16) bytes at a linear address.
///
/// # Errors
/// The fault.
pub fn load(env: &mut Env, va: u64, bytes: u8, who: Who) -> Result<u128, Exception> {
    let mem = access(env, who, bytes);
    let value = env.load(va, bytes, mem)?;
    watch(env, va, bytes, who, false);
    Ok(value)
}

/// Stores `bytes` (1 to 16) bytes at a linear address.
///
/// # Errors
/// The fault; nothing is stored then.
pub fn store(env: &mut Env, va: u64, bytes: u8, value: u128, who: Who) -> Result<(), Exception> {
    let mem = access(env, who, bytes);
    env.store(va, bytes, value, mem)?;
    watch(env, va, bytes, who, true);
    Ok(())
}

/// Checks that the program could store `bytes` bytes.
///
/// # Errors
/// The fault of the store.
pub fn probe_store(env: &mut Env, va: u64, bytes: u8) -> Result<(), Exception> {
    let mem = access(env, Who::Program, bytes);
    env.probe_store(va, bytes, mem)
}

/// A load of at most eight bytes by the processor itself.
///
/// # Errors
/// The fault.
pub fn load_system(env: &mut Env, va: u64, bytes: u8) -> Result<u64, Exception> {
    Ok(load(env, env_linear(env, va), bytes, Who::Processor)? as u64)
}

/// A store of at most eight bytes by the processor itself.
///
/// # Errors
/// The fault.
pub fn store_system(env: &mut Env, va: u64, bytes: u8, value: u64) -> Result<(), Exception> {
    store(env, env_linear(env, va), bytes, value.into(), Who::Processor)
}

/// Linear addresses have 32 bits outside of long mode.
fn env_linear(env: &Env, va: u64) -> u64 {
    if env.cpu.is_long() { va } else { va & 0xffff_ffff }
}
