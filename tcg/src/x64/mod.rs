//! Template code: each block becomes x86-64 code in one pass over its IR, as fast as it can be emitted.
//!
//! Registers while such code runs: rbp the environment, r14 the program counter, r15 the budget; rax, rcx, xmm0 and xmm1
//! are scratch; the others hold values of the block and copies of slots. Guest registers are written to the state at once.
//! A block has two entries: one for callers that keep program counter and budget in memory, and the *fast* one for
//! template code. Start reading at [`emit`]; to add an operation, add its arm there and its code in `integer.rs`, `vector.rs` or `float.rs`.

mod asm;
mod emit;
mod exits;
mod float;
mod integer;
mod looks;
mod memory;
mod registers;
mod slow;
mod stubs;
mod vector;

use crate::cache::{Block, Entries, ExitJump, TemplateCode};
use crate::code_memory::{CodeMemory, Patcher, Usage};
use crate::env::Env;
use crate::exec::Shared;
use crate::frontend::Frontend;
use crate::ir;
use asm::{Asm, Mem, R14, R15, RAX, RDI};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use stubs::Stubs;

use emit::LinkExit;
pub use emit::{Part, Way};
pub use stubs::{BUDGET, HOT};

/// No template code can be made.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The host is another processor, or an old one.
    #[error("template code needs an x86-64 host with SSE4.2: use -accel tcg,tier=0")]
    Host,
    /// No executable memory.
    #[error("cannot map {mib} MiB of executable memory: {why}; use less with -accel tcg,tb-size=MIB", mib = size >> 20)]
    Memory { size: usize, why: String },
}

/// The emitter and its code memory.
pub struct Template<F: Frontend> {
    memory: Mutex<CodeMemory>,
    buffers: Mutex<emit::Buffers>,
    stubs: Stubs,
    blocks: AtomicU64,
    bytes: AtomicU64,
    isa: PhantomData<fn(F)>,
}

impl<F: Frontend> Template<F> {
    /// An emitter with `code_bytes` of code memory.
    ///
    /// # Errors
    /// [`TemplateError`] on a host without SSE4.2 or executable memory.
    pub fn new(code_bytes: usize) -> Result<Self, TemplateError> {
        let (bit_counts, fma) = host_features().ok_or(TemplateError::Host)?;
        let no_memory = |why: &dyn std::fmt::Display| TemplateError::Memory { size: code_bytes, why: why.to_string() };
        let mut memory = CodeMemory::new(code_bytes).map_err(|e| no_memory(&e))?;
        let mut asm = Asm::default();
        let stubs = stubs::emit::<F>(&mut asm);
        let base = memory.place(&asm.code).ok_or_else(|| no_memory(&"too little"))?;
        let stubs = Stubs { bit_counts, fma, ..stubs.at(base) };
        Ok(Self {
            memory: Mutex::new(memory),
            buffers: Mutex::default(),
            stubs,
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            isa: PhantomData,
        })
    }

    /// What changes the jumps of code.
    pub fn patcher(&self) -> Patcher {
        self.memory.lock().unwrap().patcher()
    }

    /// Where exits lead that no link may leave by.
    pub fn by_jump_cache(&self) -> u64 {
        self.stubs.by_jump_cache
    }

    /// Where the jump cache leads for blocks without code.
    pub fn no_code(&self) -> u64 {
        self.stubs.no_code
    }

    /// The host function `(env, host entry) -> exit` that enters code.
    pub fn entry(&self) -> u64 {
        self.stubs.enter
    }

    /// Blocks emitted so far and bytes of host code made of them.
    pub fn stats(&self) -> (u64, u64) {
        (self.blocks.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// How full code memory is.
    pub fn memory(&self) -> Usage {
        self.memory.lock().unwrap().usage()
    }

    /// Emits the code of blocks; the jumps to stubs are still open. Gives where its fast entry is.
    fn emit(
        &self,
        shared: &Shared<F>,
        parts: &[Part<'_>],
        hot_after: Option<u32>,
        buffers: &mut emit::Buffers,
    ) -> Option<usize> {
        let mut emit = emit::Emit::new(shared, parts, &self.stubs, hot_after, buffers);
        let done = emit.emit();
        let fast_entry = emit.fast_entry;
        *buffers = emit.into_buffers();
        done.ok().map(|()| fast_entry)
    }

    /// Emits a block, or blocks of which each goes on in the next. With `hot_after` the code asks for optimization after
    /// that many runs. `None` when one is too complex; an error when code memory is full.
    pub fn compile(
        &self,
        shared: &Shared<F>,
        parts: &[Part<'_>],
        hot_after: Option<u32>,
    ) -> Option<Result<TemplateCode, Full>> {
        let first = parts.first()?;
        let emit = || {
            let mut guard = self.buffers.lock().unwrap();
            let buffers = &mut *guard;
            let fast_entry = self.emit(shared, parts, hot_after, buffers)?;
            let len = buffers.asm.code.len();
            let mut memory = self.memory.lock().unwrap();
            let Some(host) = memory.reserve(len) else { return Some(Err(Full)) };
            for (hole, address) in buffers.far.drain(..) {
                buffers.asm.bind_to_address(hole, host, address);
            }
            memory.fill(host, &buffers.asm.code);
            self.blocks.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len as u64, Ordering::Relaxed);
            let jumps = buffers.exits.iter().map(|LinkExit { part, exit, jump, open }| {
                let end = jump.end();
                (*part, ExitJump { exit: *exit, end: host + end as u64, open: (open - end) as u32 })
            });
            let entries = Entries { host, fast: host + fast_entry as u64 };
            Some(Ok((TemplateCode { entries, jumps: jumps.collect() }, len)))
        };
        let made =
            shared.measure(0, if parts.len() > 1 { "trace" } else { "block" }, first.block.key.gpa, emit, |made| {
                match made {
                    Some(Ok((code, len))) => Some((code.entries.host, *len)),
                    _ => None,
                }
            });
        made.map(|made| made.map(|(code, _)| code))
    }

    /// A fast entry for code that keeps program counter and budget in memory.
    pub fn adapter(&self, host: u64) -> Option<u64> {
        let mut asm = Asm::default();
        asm.store(8, Mem::env(F::PC.0.into()), R14);
        asm.store(8, Mem::env(offset_of!(Env<F>, budget) as i32), R15);
        asm.lea(true, RDI, Mem::env(0));
        asm.mov_imm(RAX, host);
        asm.jmp_reg(RAX);
        self.memory.lock().unwrap().place(&asm.code)
    }

    /// The code at these entries is no longer reachable.
    pub fn free(&self, entries: &[u64]) {
        let mut memory = self.memory.lock().unwrap();
        for entry in entries {
            memory.free(*entry);
        }
    }

    /// The bytes of a block's code as if it lay at 0, for a person to read.
    pub fn bytes_of(&self, shared: &Shared<F>, block: &Block, ir: &ir::Block) -> Option<Vec<u8>> {
        let mut buffers = emit::Buffers::default();
        self.emit(shared, &[Part { block, ir, way: Way::Out }], None, &mut buffers)?;
        Some(buffers.asm.code)
    }
}

/// Code memory is full.
#[derive(Debug)]
pub struct Full;

/// Whether the host has lzcnt, tzcnt and popcnt, and fused multiply-add; `None` if it lacks SSE4.2.
fn host_features() -> Option<(bool, bool)> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("sse4.2").then(|| (has!("lzcnt") && has!("bmi1") && has!("popcnt"), has!("fma")))
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    None
}
