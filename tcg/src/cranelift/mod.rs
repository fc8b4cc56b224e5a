//! Compiles hot code with Cranelift, on a thread of its own.
//!
//! A hot block becomes one function together with the warm blocks that its exits lead to, in its page and in those around
//! it ([`region`]); loops among them become loops. Guest registers live in values inside the function ([`lower`]) and are written back on the ways out
//! only ([`exits`]): at the end, and on the cold paths of faults. Start reading at `region`.

mod cold;
mod exits;
mod float;
mod host;
mod integer;
mod lazy;
mod lower;
mod memory;
mod pages;
mod queue;
mod region;
mod registers;
mod slow;
mod vector;

use crate::around::Around;
use crate::cache::Block;
use crate::code_memory::{CodeMemory, Usage};
use crate::env::Env;
use crate::exec::{Compiler, Near, Shared};
use crate::frontend::Frontend;
use crate::ir;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use queue::Queue;
use region::Region;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vm::log;

/// The compiler. Its thread ends when it is dropped.
pub struct Cranelift<F: Frontend> {
    worker: Arc<Worker>,
    queue: Option<Arc<Queue<F>>>,
}

struct Worker {
    isa: OwnedTargetIsa,
    memory: Mutex<CodeMemory>,
    entry: u64,
    thunk: u64,
    functions: AtomicU64,
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
        // Registers are values already: it makes no measurable difference to the code.
        ("enable_alias_analysis", "false"),
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

pub use host::listing;

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
        let entry = host::entry(&*isa).map_err(CompileError::Host)?;
        let mut place = |code: &[u8]| {
            let placed = memory.place(code);
            placed.ok_or(CompileError::Memory { size: code_bytes, why: "too little".into() })
        };
        let (entry, thunk) = (place(&entry)?, place(&host::thunk(offset_of!(Env<F>, slow_call) as u32))?);
        let worker = Arc::new(Worker {
            isa,
            memory: Mutex::new(memory),
            entry,
            thunk,
            functions: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let queue = background.then(|| Arc::new(Queue::default()));
        if let Some(queue) = queue.clone() {
            let worker = worker.clone();
            let run = move || {
                let mut state = host::State::default();
                while let Some((shared, block, around)) = queue.next() {
                    worker.compile(&mut state, &shared, &block, &around);
                }
            };
            let thread = std::thread::Builder::new().name("mimic-compile".into()).spawn(run);
            thread.map_err(|e| CompileError::Host(format!("cannot start a thread: {e}")))?;
        }
        Ok(Self { worker, queue })
    }

    /// Bytes of code memory in use.
    pub fn used_bytes(&self) -> usize {
        self.worker.memory.lock().unwrap().used_bytes()
    }

    /// Blocks in the functions compiled so far; one that is in several counts for each.
    pub fn blocks(&self) -> u64 {
        self.worker.blocks.load(Ordering::Relaxed)
    }
}

impl<F: Frontend> Drop for Cranelift<F> {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}

/// The host code of a block as text, or why it has none.
pub fn explain<F: Frontend>(shared: &Shared<F>, block: Arc<Block>, ir: &ir::Block) -> String {
    let isa = target().map_err(|e| e.to_string());
    let code = isa.and_then(|isa| {
        let around = Around::alone(block.key.gpa);
        let region = Region::new(shared, vec![(Near { block, distance: 0 }, ir.clone())], &around)?;
        host::compile(&mut host::State::default(), &*isa, 0, shared, &region)
    });
    match code {
        Ok(code) => host::listing(0, &code),
        Err(why) => format!("; {why}"),
    }
}

/// What the blocks mean now, optimised; those that the guest is changing just now are missing.
fn retranslate<F: Frontend>(shared: &Shared<F>, blocks: Vec<Near>) -> Vec<(Near, ir::Block)> {
    let translated = blocks.into_iter().map(|near| {
        let mut ir = shared.retranslate(&near.block);
        crate::opt::optimize(&mut ir, shared.helpers);
        (near, ir)
    });
    translated.filter(|(near, ir)| ir.insns == near.block.insns && ir.end.is_some()).collect()
}

impl Worker {
    /// The code of the region around `head`.
    fn region<F: Frontend>(
        &self,
        state: &mut host::State,
        shared: &Shared<F>,
        head: &Arc<Block>,
        around: &Around,
    ) -> Result<(Vec<u8>, Region), String> {
        let blocks = retranslate(shared, region::choose(shared, head, around));
        if !blocks.first().is_some_and(|(near, _)| Arc::ptr_eq(&near.block, head)) {
            return Err("its code is changing".into());
        }
        let alone = blocks[..1].to_vec();
        let many = blocks.len() > 1;
        let mut compile = |blocks| {
            let region = Region::new(shared, blocks, around)?;
            let code = host::compile(state, &*self.isa, self.thunk, shared, &region)?;
            Ok((code, region))
        };
        compile(blocks).or_else(|why| if many { compile(alone) } else { Err(why) })
    }

    fn compile<F: Frontend>(
        &self,
        state: &mut host::State,
        shared: &Arc<Shared<F>>,
        head: &Arc<Block>,
        around: &Around,
    ) {
        if !head.valid.load(Ordering::Acquire) {
            return;
        }
        let compiled = shared.measure(1, "region", head.key.gpa, || self.region(state, shared, head, around), |_| None);
        let (code, region) = match compiled {
            Ok(compiled) => compiled,
            Err(why) => {
                log!(OutAsm, "block at {} stays interpreted: {why}", head.key.gpa);
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
        self.functions.fetch_add(1, Ordering::Relaxed);
        self.blocks.fetch_add(region.members.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(code.len() as u64, Ordering::Relaxed);
        shared.measure(1, "region", head.key.gpa, || (), |()| Some((entry, code.len())));
        log!(
            OutAsm,
            "OUT: {} blocks from {} [{} bytes]\n{}\n",
            region.members.len(),
            head.key.gpa,
            code.len(),
            host::listing(entry, &code)
        );
        let members: Vec<Arc<Block>> = region.members.iter().map(|m| m.block.clone()).collect();
        let entered: Vec<Arc<Block>> = region.entries().map(|at| members[at].clone()).collect();
        shared.install_region(head, &members, &entered, entry);
        for member in members.iter().filter(|m| !m.is_optimized()) {
            // It is compiled by itself only if it is still entered often by other ways.
            member.runs.set(shared.compile_after(member) / 2);
        }
    }
}

impl<F: Frontend> Compiler<F> for Cranelift<F> {
    fn request(&self, shared: &Arc<Shared<F>>, block: Arc<Block>, around: Around) {
        match &self.queue {
            Some(queue) => queue.add(shared, block, around),
            None => self.worker.compile(&mut host::State::default(), shared, &block, &around),
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
        (self.worker.functions.load(Ordering::Relaxed), self.worker.bytes.load(Ordering::Relaxed))
    }

    fn memory(&self) -> Usage {
        self.worker.memory.lock().unwrap().usage()
    }
}
