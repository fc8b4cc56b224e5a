//! String instructions (SDM vol. 2, "REP/REPE/REPZ/REPNE/REPNZ"): a helper executes many repetitions at once, page by page,
//! and comes back in between so that interrupts are seen. Registers are exact whenever it does, or faults.

use super::operand::segment_number;
use super::translator::{Next, Translator};
use crate::exception::{self, Exception};
use crate::flags;
use crate::frontend::Env;
use crate::helpers;
use crate::memory::{self, Who};
use crate::mmu;
use crate::segment::{ES, SS};
use crate::state::{RAX, RCX, RDI, RDX, RSI};
use crate::task;
use crate::wires;
use iced_x86::OpKind;
use tcg::ir::{Cond, Mem, Terminal, Ty};

/// The string instructions, with what they read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringOp {
    Movs,
    Cmps,
    Stos,
    Lods,
    Scas,
    Ins,
    Outs,
}

const OPS: [StringOp; 7] =
    [StringOp::Movs, StringOp::Cmps, StringOp::Stos, StringOp::Lods, StringOp::Scas, StringOp::Ins, StringOp::Outs];

/// Repetition: none, while ECX is not zero and for comparisons while equal, or while different.
const REPE: u64 = 1;
const REPNE: u64 = 2;

impl Translator<'_> {
    /// A string instruction with its prefix.
    pub(super) fn string(&mut self, op: StringOp, bytes: u64) -> Next {
        let repeat = match (self.insn.has_rep_prefix() || self.insn.has_repe_prefix(), self.insn.has_repne_prefix()) {
            (_, true) => REPNE,
            (true, _) => REPE,
            _ => 0,
        };
        let kinds = [self.insn.op0_kind(), self.insn.op1_kind()];
        let short = kinds.iter().any(|k| matches!(k, OpKind::MemorySegSI | OpKind::MemoryESDI));
        let long = kinds.iter().any(|k| matches!(k, OpKind::MemorySegRSI | OpKind::MemoryESRDI));
        let address = if short {
            16
        } else if long {
            64
        } else {
            32
        };
        let segment = segment_number(self.insn.memory_segment()) as u64;
        let number = OPS.iter().position(|o| *o == op).unwrap_or(0) as u64;
        let packed = self.ir.imm64(number | bytes << 4 | address << 8 | segment << 16 | repeat << 24);
        let more = self.ir.call(helpers::STRING, &[packed]);
        if matches!(op, StringOp::Cmps | StringOp::Scas) {
            self.flags_changed();
        }
        if repeat == 0 {
            // Ports may change anything.
            return if matches!(op, StringOp::Ins | StringOp::Outs) { self.resync_next() } else { Next::Continue };
        }
        let more = self.ir.cmp_imm(Cond::Ne, Ty::I64, more, 0);
        let (again, next) = (self.pc.into(), self.next.into());
        self.ir.end(Terminal::Branch(more, again, next));
        Next::End
    }
}

/// One instruction, as the translator packs it.
struct Job {
    op: StringOp,
    bytes: u8,
    address_mask: u64,
    segment: usize,
    repeat: u64,
}

/// Repetitions until the helper comes back.
const AT_ONCE: u64 = 4096;
/// Repetitions that are worth the look whether they can be done at once.
const SPAN_LEAST: u64 = 2;

/// Executes a string instruction; gives 1 if repetitions are left.
pub(crate) extern "C" fn execute(env: &mut Env, packed: u64) -> u64 {
    let Some(op) = OPS.get((packed & 15) as usize).copied() else { return 0 };
    let address_mask = match packed >> 8 & 0xff {
        16 => 0xffff,
        32 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let job = Job {
        op,
        bytes: (packed >> 4 & 15) as u8,
        address_mask,
        segment: (packed >> 16 & 7) as usize,
        repeat: packed >> 24 & 3,
    };
    match job.run(env) {
        Ok(more) => more.into(),
        Err(exception) => {
            env.raise(exception);
            0
        }
    }
}

impl Job {
    fn run(&self, env: &mut Env) -> Result<bool, Exception> {
        if self.repeat == 0 {
            self.once(env)?;
            return Ok(false);
        }
        let mut left = if env.cpu.flag(flags::TF) { 1 } else { AT_ONCE };
        while left != 0 {
            let count = env.cpu.gpr[RCX] & self.address_mask;
            if count == 0 {
                return Ok(false);
            }
            let done = match self.span(env, count.min(left))? {
                Some(done) => done,
                None => {
                    self.once(env)?;
                    1
                }
            };
            self.set(env, RCX, count - done);
            left -= done;
            if matches!(self.op, StringOp::Cmps | StringOp::Scas) {
                let equal = env.cpu.result == 0;
                if equal != (self.repeat == REPE) {
                    return Ok(false);
                }
            }
            if env.cpu.pending_debug != 0 {
                break;
            }
        }
        Ok(env.cpu.gpr[RCX] & self.address_mask != 0)
    }

    /// Executes at most `count` repetitions at once, where these stay within pages of RAM and their segments; gives how many.
    fn span(&self, env: &mut Env, count: u64) -> Result<Option<u64>, Exception> {
        let known = !matches!(self.op, StringOp::Ins | StringOp::Outs);
        if !known || env.cpu.flag(flags::DF) || count < SPAN_LEAST || env.cpu.watches() || env.cpu.checks_alignment() {
            return Ok(None);
        }
        let mem = Mem::plain(mmu::data_regime(&env.cpu));
        let bytes = self.bytes;
        let (mut n, mut from, mut to) = (count, 0, 0);
        if matches!(self.op, StringOp::Movs | StringOp::Lods | StringOp::Cmps) {
            let room;
            (from, room) = self.room(env, self.segment, env.cpu.gpr[RSI], false)?;
            n = n.min(room);
        }
        if self.op != StringOp::Lods {
            let room;
            (to, room) = self.room(env, ES, env.cpu.gpr[RDI], matches!(self.op, StringOp::Movs | StringOp::Stos))?;
            n = n.min(room);
        }
        if n == 0 {
            return Ok(None);
        }
        let rax = env.cpu.gpr[RAX];
        let done = match self.op {
            StringOp::Movs => env.copy_span(to, from, bytes, n, mem).then_some(n),
            StringOp::Stos => env.fill_span(to, bytes, rax, n, mem).then_some(n),
            StringOp::Lods => {
                let mut last = 0;
                let done = env.scan_span(from, bytes, n, mem, |value| {
                    last = value;
                    false
                });
                if done.is_some() {
                    env.cpu.set_part(RAX, bytes, last);
                }
                done
            }
            StringOp::Scas => {
                let (wanted, until_equal) = (rax & (u64::MAX >> (64 - 8 * u32::from(bytes))), self.repeat == REPNE);
                let mut last = 0;
                let done = env.scan_span(to, bytes, n, mem, |value| {
                    last = value;
                    (value == wanted) == until_equal
                });
                if done.is_some() {
                    env.cpu.set_flags_of_sub(bytes, rax, last);
                }
                done
            }
            _ => env.compare_spans([from, to], bytes, n, mem, self.repeat == REPNE).map(|(done, [a, b])| {
                env.cpu.set_flags_of_sub(bytes, a, b);
                done
            }),
        };
        let Some(done) = done else { return Ok(None) };
        let step = done * u64::from(bytes);
        if self.op != StringOp::Scas && self.op != StringOp::Stos {
            self.set(env, RSI, (env.cpu.gpr[RSI] & self.address_mask).wrapping_add(step));
        }
        if self.op != StringOp::Lods {
            self.set(env, RDI, (env.cpu.gpr[RDI] & self.address_mask).wrapping_add(step));
        }
        Ok(Some(done))
    }

    /// The linear address at an offset in a segment, and how many units from there on stay in the page, below the segment's
    /// limit and the end of the address size.
    fn room(&self, env: &Env, segment: usize, offset: u64, write: bool) -> Result<(u64, u64), Exception> {
        let offset = offset & self.address_mask;
        let va = linear(env, segment, offset, self.bytes.into(), write)?;
        let mut room = (0x1000 - va % 0x1000).min((self.address_mask - offset).saturating_add(1));
        let cpu = &env.cpu;
        if !cpu.is_64bit() {
            let s = cpu.segment(segment);
            let to_limit = u64::from(s.limit).saturating_sub(offset).saturating_add(1);
            room = room.min(if s.attributes.expand_down() { 0 } else { to_limit });
        }
        Ok((va, room / u64::from(self.bytes)))
    }

    /// Sets the address part of a register: 32 bits clear the upper half.
    fn set(&self, env: &mut Env, n: usize, value: u64) {
        let register = &mut env.cpu.gpr[n];
        *register =
            if self.address_mask == 0xffff { *register & !0xffff | value & 0xffff } else { value & self.address_mask };
    }

    fn advance(&self, env: &mut Env, n: usize) {
        let step = u64::from(self.bytes);
        let step = if env.cpu.flag(flags::DF) { step.wrapping_neg() } else { step };
        let value = (env.cpu.gpr[n] & self.address_mask).wrapping_add(step);
        self.set(env, n, value);
    }

    fn source(&self, env: &mut Env) -> Result<u64, Exception> {
        let offset = env.cpu.gpr[RSI] & self.address_mask;
        let va = linear(env, self.segment, offset, self.bytes.into(), false)?;
        Ok(memory::load(env, va, self.bytes, Who::Program)? as u64)
    }

    fn destination(&self, env: &mut Env, write: bool) -> Result<u64, Exception> {
        let offset = env.cpu.gpr[RDI] & self.address_mask;
        linear(env, ES, offset, self.bytes.into(), write)
    }

    fn once(&self, env: &mut Env) -> Result<(), Exception> {
        match self.op {
            StringOp::Movs => {
                let v = self.source(env)?;
                let va = self.destination(env, true)?;
                memory::store(env, va, self.bytes, v.into(), Who::Program)?;
                self.advance(env, RSI);
                self.advance(env, RDI);
            }
            StringOp::Stos => {
                let va = self.destination(env, true)?;
                let v = env.cpu.gpr[RAX];
                memory::store(env, va, self.bytes, v.into(), Who::Program)?;
                self.advance(env, RDI);
            }
            StringOp::Lods => {
                let v = self.source(env)?;
                env.cpu.set_part(RAX, self.bytes, v);
                self.advance(env, RSI);
            }
            StringOp::Cmps | StringOp::Scas => {
                let a = if self.op == StringOp::Cmps { self.source(env)? } else { env.cpu.gpr[RAX] };
                let va = self.destination(env, false)?;
                let b = memory::load(env, va, self.bytes, Who::Program)? as u64;
                env.cpu.set_flags_of_sub(self.bytes, a, b);
                if self.op == StringOp::Cmps {
                    self.advance(env, RSI);
                }
                self.advance(env, RDI);
            }
            StringOp::Ins => {
                let port = env.cpu.gpr[RDX] as u16;
                task::check_ports(env, port, self.bytes)?;
                let va = self.destination(env, true)?;
                // The store must be known to succeed before the port is read.
                memory::probe_store(env, va, self.bytes)?;
                let v = wires::read_port(env, port, self.bytes);
                memory::store(env, va, self.bytes, v.into(), Who::Program)?;
                self.advance(env, RDI);
            }
            StringOp::Outs => {
                let port = env.cpu.gpr[RDX] as u16;
                task::check_ports(env, port, self.bytes)?;
                let v = self.source(env)?;
                wires::write_port(env, port, self.bytes, v);
                self.advance(env, RSI);
            }
        }
        Ok(())
    }
}

/// The linear address of an access through a segment, with its checks.
///
/// # Errors
/// #GP(0), or #SS(0) of the stack segment.
pub(crate) fn linear(env: &Env, n: usize, offset: u64, bytes: u64, write: bool) -> Result<u64, Exception> {
    let cpu = &env.cpu;
    if cpu.is_64bit() {
        let base = if n >= crate::segment::FS { cpu.bases[n] } else { 0 };
        return Ok(base.wrapping_add(offset));
    }
    let segment = cpu.segment(n);
    let a = segment.attributes;
    let allowed =
        if !cpu.has_descriptors() { true } else { a.present() && if write { a.writable() } else { a.readable() } };
    if !allowed || !segment.contains(offset, bytes) {
        let vector = if n == SS { exception::SS } else { exception::GP };
        return Err(Exception::with_error(vector, 0));
    }
    Ok(segment.base.wrapping_add(offset) & 0xffff_ffff)
}
