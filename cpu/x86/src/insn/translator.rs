//! What the translator methods share: the loop over a block's instructions, exceptions, the ends of blocks.

use super::dispatch;
use super::status::Status;
use crate::exception::Exception;
use crate::helpers;
use crate::mmu;
use crate::mode::Mode;
use crate::model::{Feature, Features};
use crate::segment::CS;
use crate::state;
use iced_x86::{CpuidFeature, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic};
use tcg::ir::{Block, Mem, Terminal, Ty, Val};

/// Bytes of an instruction at most.
pub const MAX_LEN: usize = 15;

/// What follows an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next instruction, in the same block.
    Continue,
    /// Nothing: the method has set the block's terminal.
    End,
}

/// Translates one block.
pub struct Translator<'a> {
    /// The IR under construction.
    pub ir: &'a mut Block,
    /// The processor's features.
    pub features: Features,
    /// The mode of the block.
    pub mode: Mode,
    /// The current instruction.
    pub insn: Instruction,
    /// Its distance from the start of the block in bytes, and that of the next one.
    pub pc: u32,
    pub next: u32,
    /// What is known of the status flags.
    pub(super) status: Status,
    /// The vector operation under way is the first of two on halves of 256 bits.
    pub(super) first_of_two: bool,
}

/// Translates instructions of `code` until the block ends or the code does, at most `limit` of them. If the code ends within
/// the first one, the block has no instructions.
pub fn translate(features: Features, mode: u64, code: &[u8], limit: u32, ir: &mut Block) {
    let mode = Mode(mode);
    ir.host_float = mode.host_float() != 0;
    ir.narrow = mode.size() != 2;
    ir.aligned = mode.user() != 0 && mode.user_data() != 0;
    ir.watch = (mode.watch() != 0).then_some(helpers::WATCH);
    let insn = Instruction::default();
    let mut t = Translator { ir, features, mode, insn, pc: 0, next: 0, status: Status::default(), first_of_two: false };
    let alone = mode.step() != 0 || mode.shadow() != 0 || mode.careful() != 0;
    t.block(code, if alone { 1 } else { limit });
}

impl Translator<'_> {
    fn block(&mut self, code: &[u8], limit: u32) {
        // What the mode names is looked at before each instruction.
        let mut decoder = Decoder::with_ip(self.mode.bits(), code, 0, DecoderOptions::NONE);
        while self.ir.insns < limit {
            self.pc = decoder.position() as u32;
            if code.len() - (self.pc as usize) < MAX_LEN && self.ir.insns != 0 && !self.is_complete(code) {
                break;
            }
            decoder.decode_out(&mut self.insn);
            if decoder.last_error() == DecoderError::NoMoreBytes && code.len() - (self.pc as usize) < MAX_LEN {
                // Only at the start of the block: the engine brings the bytes of the next page.
                return;
            }
            self.next = decoder.position() as u32;
            if self.insn.mnemonic() == Mnemonic::Pause {
                self.decode_pause(code);
            }
            self.ir.insn(self.pc);
            self.ir.insns += 1;
            if self.instruction() == Next::End {
                break;
            }
        }
        if self.ir.insns == 0 {
            return;
        }
        self.ir.len_bytes = self.next;
        if self.ir.end.is_none() {
            let to = self.next.into();
            self.ir.end(Terminal::Jump(to));
        }
    }

    /// F3 90 is PAUSE, but with REX.B it is XCHG of R8 and RAX, which the decoder forgets.
    fn decode_pause(&mut self, code: &[u8]) {
        let (start, end) = (self.pc as usize, self.next as usize);
        let rex = code.get(start..end.saturating_sub(1)).and_then(|prefixes| prefixes.last());
        if self.is_64bit() && rex.is_some_and(|rex| rex & 0xf1 == 0x41) {
            let insn = code.get(start..end).unwrap_or_default();
            self.insn = Decoder::with_ip(64, insn, start as u64, DecoderOptions::NO_PAUSE).decode();
        }
    }

    /// Whether an instruction that starts near the end of the code ends within it.
    fn is_complete(&self, code: &[u8]) -> bool {
        let Some(rest) = code.get(self.pc as usize..) else { return false };
        let mut decoder = Decoder::new(self.mode.bits(), rest, DecoderOptions::NONE);
        let _ = decoder.decode();
        decoder.last_error() != DecoderError::NoMoreBytes
    }

    fn instruction(&mut self) -> Next {
        if self.mode.careful() != 0 {
            self.ir.call(helpers::BEFORE_INSN, &[]);
        }
        if self.mode.limited_code() != 0 {
            let (len, distance) = (u64::from(self.next - self.pc), u64::from(self.pc));
            let (len, distance) = (self.ir.imm64(len), self.ir.imm64(distance));
            self.ir.call(helpers::CHECK_FETCH, &[len, distance]);
        }
        if self.mode.shadow() != 0 {
            self.ir.call(helpers::END_SHADOW, &[]);
        }
        let next =
            if self.insn.is_invalid() || !self.is_implemented() { self.undefined() } else { dispatch::translate(self) };
        let mode = self.mode;
        let alone = mode.step() != 0 || mode.shadow() != 0 || mode.careful() != 0;
        if alone || mode.watch() != 0 {
            return self.end_alone(next);
        }
        next
    }

    /// Ends a block of one instruction, whose mode ends with it: the engine looks at the mode anew wherever control goes.
    fn end_alone(&mut self, next: Next) -> Next {
        if next == Next::Continue {
            self.resync_next();
        }
        // What enters a handler or another level by a gate of its own clears TF, or looks at it.
        if self.mode.step() != 0 && !self.clears_step() {
            self.ir.call(helpers::STEP_DONE, &[]);
        }
        // A dispatch is an exception or a helper's transfer.
        if self.ir.end == Some(Terminal::Dispatch) {
            return Next::End;
        }
        let to = match self.ir.end {
            Some(Terminal::Jump(to)) => {
                self.ir.end = Some(Terminal::Resync(to));
                return Next::End;
            }
            Some(Terminal::Branch(condition, taken, not_taken)) => {
                let distances = [taken, not_taken].map(|d| self.ir.imm64(d as u64));
                let distance = self.ir.select(Ty::I64, condition, distances[0], distances[1]);
                let pc = self.ir.get(state::PC);
                let to = self.ir.add(Ty::I64, pc, distance);
                self.linear(to)
            }
            Some(Terminal::Indirect(to)) => to,
            _ => return Next::End,
        };
        self.ir.set(state::PC, to);
        self.ir.end = Some(Terminal::Dispatch);
        Next::End
    }

    /// Whether the instruction is not followed by a single-step trap of the mode that it was begun in.
    fn clears_step(&self) -> bool {
        use Mnemonic as M;
        matches!(
            self.insn.mnemonic(),
            M::Int | M::Int1 | M::Int3 | M::Into | M::Syscall | M::Sysret | M::Sysretq | M::Sysenter | M::Rsm
        )
    }

    /// Whether the processor has all features that the instruction belongs to.
    fn is_implemented(&self) -> bool {
        if matches!(self.insn.mnemonic(), Mnemonic::Tzcnt | Mnemonic::Lzcnt) {
            return true;
        }
        self.insn.cpuid_features().iter().all(|feature| match needed(*feature) {
            Needs::Nothing => true,
            Needs::Long => self.has(Feature::LM),
            Needs::Feature(feature) => self.has(feature),
            Needs::Never => false,
        })
    }

    /// Whether the processor has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// Whether this is 64-bit code.
    pub fn is_64bit(&self) -> bool {
        self.mode.size() == 2
    }

    /// An address cut to the 32 bits that it has outside of 64-bit code.
    pub fn linear(&mut self, va: Val) -> Val {
        if self.is_64bit() { va } else { self.ir.and_imm(Ty::I64, va, 0xffff_ffff) }
    }

    /// An ordinary access to memory by the program.
    pub fn mem(&self) -> Mem {
        Mem::plain(match (self.mode.user(), self.mode.user_data()) {
            (1, _) => mmu::USER,
            (_, 1) => mmu::KERNEL_TO_USER,
            _ => mmu::KERNEL,
        })
    }

    /// The same by an operation that reads and writes.
    pub fn mem_to_modify(&self) -> Mem {
        Mem { modify: true, ..self.mem() }
    }

    /// #UD.
    pub fn undefined(&mut self) -> Next {
        self.raise(Exception::ud())
    }

    /// Raises an exception of this instruction and ends the block.
    pub fn raise(&mut self, exception: Exception) -> Next {
        self.raise_if(None, exception);
        self.ir.end(Terminal::Dispatch);
        Next::End
    }

    /// Raises an exception if the `I8` is not zero, or in any case.
    pub fn raise_if(&mut self, condition: Option<Val>, exception: Exception) {
        let Exception::Fault { vector, error, .. } = exception else { return };
        let packed = u64::from(vector) | error.map_or(0, |error| 1 << 8 | u64::from(error) << 32);
        match condition {
            Some(condition) => self.ir.raise_if(helpers::RAISE, condition, packed),
            None => {
                let packed = self.ir.imm64(packed);
                self.ir.call(helpers::RAISE, &[packed]);
            }
        }
    }

    /// Raises #GP(0) unless the level is 0; gives the end of the block if it is known not to be.
    #[must_use]
    pub fn privileged(&mut self) -> Option<Next> {
        if self.mode.protected() == 0 {
            return None;
        }
        if self.mode.user() != 0 || self.mode.v86() != 0 {
            return Some(self.raise(Exception::gp(0)));
        }
        // Levels 1 and 2 are looked at when it is executed.
        self.ir.call(helpers::CHECK_CPL0, &[]);
        None
    }

    /// Ends the block after this instruction; the engine looks at mode and interrupts before it goes on.
    pub fn resync_next(&mut self) -> Next {
        let to = self.next.into();
        self.ir.end(Terminal::Resync(to));
        Next::End
    }

    /// Ends the block where a helper has set the program counter.
    pub fn dispatch(&mut self) -> Next {
        self.ir.end(Terminal::Dispatch);
        Next::End
    }

    /// The linear address `distance` bytes after the start of the block.
    pub fn address_at(&mut self, distance: i64) -> Val {
        let pc = self.ir.get(state::PC);
        let va = self.ir.add_imm(Ty::I64, pc, distance as u64);
        self.linear(va)
    }

    /// RIP of the code `distance` bytes after the start of the block.
    pub fn rip_at(&mut self, distance: i64) -> Val {
        let pc = self.ir.get(state::PC);
        let va = self.ir.add_imm(Ty::I64, pc, distance as u64);
        let rip = if self.mode.based_code() != 0 {
            let base = self.ir.get(state::base(CS));
            self.ir.sub(Ty::I64, va, base)
        } else {
            va
        };
        self.linear(rip)
    }

    /// RIP of the next instruction.
    pub fn next_rip(&mut self) -> Val {
        self.rip_at(self.next.into())
    }
}

/// What an instruction needs, by the decoder's name for the set that it belongs to.
enum Needs {
    Nothing,
    Long,
    Feature(Feature),
    /// Sets that no model has.
    Never,
}

fn needed(set: CpuidFeature) -> Needs {
    use CpuidFeature as C;
    use Feature as F;
    Needs::Feature(match set {
        C::INTEL8086 | C::INTEL8086_ONLY | C::INTEL186 | C::INTEL286 | C::INTEL286_ONLY => return Needs::Nothing,
        C::INTEL386 | C::INTEL486 | C::MULTIBYTENOP | C::PAUSE | C::SMM | C::CPUID => return Needs::Nothing,
        // Those that are not implemented are NOPs.
        C::CET_IBT => return Needs::Nothing,
        C::X64 => return Needs::Long,
        C::FPU | C::FPU287 | C::FPU387 | C::FPU287XL_ONLY => F::FPU,
        C::ADX => F::ADX,
        C::AES => F::AES,
        C::AVX => F::AVX,
        C::AVX2 => F::AVX2,
        C::BMI1 => F::BMI1,
        C::BMI2 => F::BMI2,
        C::CLFSH => F::CLFLUSH,
        C::CLFLUSHOPT => F::CLFLUSHOPT,
        C::CLWB => F::CLWB,
        C::CMOV => F::CMOV,
        C::CMPXCHG16B => F::CX16,
        C::CX8 => F::CX8,
        C::F16C => F::F16C,
        C::FMA => F::FMA,
        C::FSGSBASE => F::FSGSBASE,
        C::FXSR => F::FXSR,
        C::INVPCID => F::INVPCID,
        C::LZCNT => F::ABM,
        C::MMX => F::MMX,
        C::MONITOR => F::MONITOR,
        C::MOVBE => F::MOVBE,
        C::MSR => F::MSR,
        C::PCLMULQDQ => F::PCLMULQDQ,
        C::POPCNT => F::POPCNT,
        // AMD APM volume 3, "PREFETCHW": every processor with long mode has it, whatever CPUID says; also without that mode.
        C::PREFETCHW => F::SYSCALL,
        C::RDPID => F::RDPID,
        C::RDPMC => F::MMX,
        C::RDRAND => F::RDRAND,
        C::RDSEED => F::RDSEED,
        C::RDTSCP => F::RDTSCP,
        C::SEP => F::SEP,
        C::SHA => F::SHA_NI,
        C::SMAP => F::SMAP,
        C::SSE => F::SSE,
        C::SSE2 => F::SSE2,
        C::SSE3 => F::SSE3,
        C::SSE4_1 => F::SSE4_1,
        C::SSE4_2 => F::SSE4_2,
        C::SSSE3 => F::SSSE3,
        C::SYSCALL => F::SYSCALL,
        C::TSC => F::TSC,
        C::XSAVE => F::XSAVE,
        C::XSAVEC => F::XSAVEC,
        C::XSAVEOPT => F::XSAVEOPT,
        _ => return Needs::Never,
    })
}
