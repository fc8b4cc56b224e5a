//! A stack that is being pushed to or popped from before any register changes.

use crate::exception::{self, Exception};
use crate::frontend::Env;
use crate::memory::{self, Who};
use crate::segment::{SS, Segment};
use crate::state::RSP;

/// A stack under way.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    pub segment: Segment,
    /// The stack pointer so far.
    pub sp: u64,
    /// Bits of it that count as an address.
    mask: u64,
    who: Who,
    /// The error code of a limit violation.
    error: u32,
}

impl Stack {
    /// The stack in use.
    pub fn current(env: &Env) -> Stack {
        let cpu = &env.cpu;
        let who = if cpu.cpl == 3 { Who::Program } else { Who::Processor };
        Self::new(cpu.segment(SS), cpu.gpr[RSP], cpu.is_64bit(), who)
    }

    /// A stack in `segment`, or, for 64-bit code, anywhere.
    pub fn new(segment: Segment, sp: u64, wide: bool, who: Who) -> Stack {
        let mask = match (wide, segment.attributes.big()) {
            (true, _) => u64::MAX,
            (false, true) => 0xffff_ffff,
            (false, false) => 0xffff,
        };
        Stack { segment, sp, mask, who, error: 0 }
    }

    /// The same with another error code for limit violations: one that names the new stack's selector.
    pub fn with_error(self, error: u32) -> Stack {
        Stack { error, ..self }
    }

    /// The same stack with its pointer elsewhere.
    pub fn at(self, sp: u64) -> Stack {
        Stack { sp, ..self }
    }

    fn linear(&self, offset: u64, bytes: u8) -> Result<u64, Exception> {
        if self.mask == u64::MAX {
            return Ok(offset);
        }
        if !self.segment.contains(offset, bytes.into()) {
            return Err(Exception::with_error(exception::SS, self.error));
        }
        Ok(self.segment.base.wrapping_add(offset) & 0xffff_ffff)
    }

    /// Pushes `bytes` bytes.
    ///
    /// # Errors
    /// A stack fault or the fault of the store.
    pub fn push(&mut self, env: &mut Env, bytes: u8, value: u64) -> Result<(), Exception> {
        let sp = self.sp.wrapping_sub(bytes.into());
        let va = self.linear(sp & self.mask, bytes)?;
        memory::store(env, va, bytes, value.into(), self.who)?;
        self.sp = self.sp & !self.mask | sp & self.mask;
        Ok(())
    }

    /// Pops `bytes` bytes.
    ///
    /// # Errors
    /// A stack fault or the fault of the load.
    pub fn pop(&mut self, env: &mut Env, bytes: u8) -> Result<u64, Exception> {
        let va = self.linear(self.sp & self.mask, bytes)?;
        let value = memory::load(env, va, bytes, self.who)? as u64;
        self.skip(bytes.into());
        Ok(value)
    }

    /// Reads `bytes` bytes, `offset` bytes above the stack pointer.
    ///
    /// # Errors
    /// As [`pop`](Stack::pop).
    pub fn peek(&self, env: &mut Env, offset: u64, bytes: u8) -> Result<u64, Exception> {
        let va = self.linear(self.sp.wrapping_add(offset) & self.mask, bytes)?;
        Ok(memory::load(env, va, bytes, self.who)? as u64)
    }

    /// Moves the stack pointer up.
    pub fn skip(&mut self, bytes: u64) {
        self.sp = self.sp & !self.mask | self.sp.wrapping_add(bytes) & self.mask;
    }

    /// Checks that the top of the stack can be written.
    ///
    /// # Errors
    /// A stack fault or the fault of a store.
    pub fn probe(&self, env: &mut Env) -> Result<(), Exception> {
        let va = self.linear(self.sp & self.mask, 1)?;
        memory::probe_store(env, va, 1)
    }

    /// Bytes of a stack pointer.
    pub fn pointer_bytes(&self) -> u8 {
        (self.mask.count_ones() / 8) as u8
    }

    /// What RSP is when this stack is in use.
    pub fn commit(&self, env: &mut Env) {
        let value = if self.mask == 0xffff_ffff { self.sp & self.mask } else { self.sp };
        env.cpu.gpr[RSP] = value;
    }
}
