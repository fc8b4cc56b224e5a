//! Compiles hot blocks with Cranelift, on a thread of its own.
//!
//! A block becomes one function; a block that branches to itself becomes a loop in it. Guest registers live in values
//! inside the function and are written back on the ways out only: at the end, and on the cold paths of faults.

mod cold;
mod float;
mod integer;
mod lower;
mod memory;
mod slow;
mod vector;

use crate::cache::Block;
use crate::code_memory::CodeMemory;
use crate::exec::{Compiler, Shared};
use crate::frontend::Frontend;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use vm::log;

/// Blocks that may wait for the compiler's thread.
const QUEUE: usize = 4096;

/// A block to compile and the machine it belongs to.
type Job<F> = (Weak<Shared<F>>, Arc<Block>);

/// The compiler. Its thread ends when it is dropped.
pub struct Cranelift<F: Frontend> {
    worker: Arc<Worker>,
    queue: Option<SyncSender<Job<F>>>,
}

struct Worker {
    isa: OwnedTargetIsa,
    memory: Mutex<CodeMemory>,
    entry: u64,
    blocks: AtomicU64,
    bytes: AtomicU64,
}

/// Host code could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// This host has no code generator.
    #[error("no code generator for this host: {0}; the interpreter (-accel tcg,tier=0) runs everywhere")]
    Host(String),
    /// No executable memory.
    #[error("cannot map {mib} MiB of executable memory: {why}; use less with -accel tcg,tb-size=MIB", mib = size >> 20)]
    Memory { size: usize, why: String },
}

fn target() -> Result<OwnedTargetIsa, CompileError> {
    let host = |e: &dyn std::fmt::Display| CompileError::Host(e.to_string());
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("is_pic", "false"),
        ("enable_probestack", "false"),
        ("unwind_info", "false"),
        // Tail calls need frame pointers.
        ("preserve_frame_pointers", "true"),
        ("enable_alias_analysis", "true"),
    ] {
        flags.set(name, value).map_err(|e| host(&e))?;
    }
    let mut isa = cranelift_codegen::isa::lookup_by_name("x86_64-unknown-linux-gnu").map_err(|e| host(&e))?;
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! feature {
            ($($host:tt $name:literal),*) => { $(
                if std::arch::is_x86_feature_detected!($host) {
                    isa.enable($name).map_err(|e| host(&e))?;
                }
            )* };
        }
        feature!(
            "sse3" "has_sse3", "ssse3" "has_ssse3", "sse4.1" "has_sse41", "sse4.2" "has_sse42", "popcnt" "has_popcnt",
            "avx" "has_avx", "avx2" "has_avx2", "bmi1" "has_bmi1", "bmi2" "has_bmi2", "lzcnt" "has_lzcnt", "fma" "has_fma"
        );
    }
    isa.finish(settings::Flags::new(flags)).map_err(|e| host(&e))
}

impl<F: Frontend> Cranelift<F> {
    /// A compiler with `code_bytes` of code memory. With `background` it compiles on its own thread, otherwise on the
    /// caller's.
    ///
    /// # Errors
    /// [`CompileError`] on a host without a code generator or executable memory.
    pub fn new(code_bytes: usize, background: bool) -> Result<Self, CompileError> {
        if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
            return Err(CompileError::Host("only x86-64 Linux hosts are supported".into()));
        }
        let isa = target()?;
        let memory = CodeMemory::new(code_bytes);
        let mut memory = memory.map_err(|e| CompileError::Memory { size: code_bytes, why: e.to_string() })?;
        let entry = lower::entry(&*isa).map_err(CompileError::Host)?;
        let entry = memory.place(&entry);
        let entry = entry.ok_or(CompileError::Memory { size: code_bytes, why: "too little".into() })?;
        let worker = Arc::new(Worker {
            isa,
            memory: Mutex::new(memory),
            entry,
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let queue = background.then(|| {
            let (send, receive) = sync_channel::<Job<F>>(QUEUE);
            let worker = worker.clone();
            let run = move || {
                let mut state = lower::State::default();
                while let Ok((shared, block)) = receive.recv() {
                    if let Some(shared) = shared.upgrade() {
                        worker.compile(&mut state, &shared, &block);
                    }
                }
            };
            std::thread::Builder::new().name("mimic-compile".into()).spawn(run).map(|_| send)
        });
        let queue = queue.transpose().map_err(|e| CompileError::Host(format!("cannot start a thread: {e}")))?;
        Ok(Self { worker, queue })
    }

    /// Bytes of code memory in use.
    pub fn used_bytes(&self) -> usize {
        self.worker.memory.lock().unwrap().used_bytes()
    }
}

/// The host code of a block as text, or why it has none.
pub fn explain<F: Frontend>(shared: &Shared<F>, block: &Block, ir: &crate::ir::Block) -> String {
    let code = target().map_err(|e| e.to_string());
    match code.and_then(|isa| lower::compile(&mut lower::State::default(), &*isa, shared, block, ir)) {
        Ok(code) => lower::listing(0, &code),
        Err(why) => format!("; {why}"),
    }
}

impl Worker {
    fn compile<F: Frontend>(&self, state: &mut lower::State, shared: &Arc<Shared<F>>, block: &Arc<Block>) {
        if !block.valid.load(Ordering::Acquire) {
            return;
        }
        let mut ir = shared.retranslate(block);
        if ir.insns != block.insns || ir.end.is_none() {
            // The guest is changing the code just now.
            return;
        }
        crate::opt::optimize(&mut ir, shared.helpers);
        let code = match lower::compile(state, &*self.isa, shared, block, &ir) {
            Ok(code) => code,
            Err(why) => {
                log!(OutAsm, "block at {} stays interpreted: {why}", block.key.gpa);
                return;
            }
        };
        let (placed, size) = {
            let mut memory = self.memory.lock().unwrap();
            (memory.place(&code), memory.size())
        };
        let Some(entry) = placed else {
            // A block that takes much of a small memory is not worth all the others.
            if code.len() < size / 8 {
                shared.code_memory_full();
            }
            return;
        };
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(code.len() as u64, Ordering::Relaxed);
        log!(OutAsm, "OUT: block at {} [{} bytes]\n{}\n", block.key.gpa, code.len(), lower::listing(entry, &code));
        shared.install(block, entry);
    }
}

impl<F: Frontend> Compiler<F> for Cranelift<F> {
    fn request(&self, shared: &Arc<Shared<F>>, block: Arc<Block>) {
        match &self.queue {
            Some(queue) => {
                if let Err(refused) = queue.try_send((Arc::downgrade(shared), block)) {
                    // Too much at once: let it become hot again.
                    let (std::sync::mpsc::TrySendError::Full((_, block))
                    | std::sync::mpsc::TrySendError::Disconnected((_, block))) = refused;
                    block.runs.store(0, Ordering::Relaxed);
                    block.queued.store(false, Ordering::Release);
                }
            }
            None => self.worker.compile(&mut lower::State::default(), shared, &block),
        }
    }

    fn free(&self, entries: &[u64]) {
        let mut memory = self.worker.memory.lock().unwrap();
        for entry in entries {
            memory.free(*entry);
        }
    }

    fn entry(&self) -> u64 {
        self.worker.entry
    }

    fn stats(&self) -> (u64, u64) {
        (self.worker.blocks.load(Ordering::Relaxed), self.worker.bytes.load(Ordering::Relaxed))
    }
}
