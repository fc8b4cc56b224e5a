//! MMX, SSE and AVX (SDM vol. 1, chapters 9 to 14): what the instructions' methods share.
//!
//! A vector is one V128 value for MMX (the low half counts), SSE and 128-bit AVX, and two for 256-bit AVX. Most methods state
//! what happens to one of them; [`Translator::each`] and its kin bring operands and results.
//!
//! | file          | what                                                              |
//! |---------------|-------------------------------------------------------------------|
//! | `moves.rs`    | moves, to and from memory and general-purpose registers, broadcasts |
//! | `integer.rs`  | integer arithmetic, logic and shifts                               |
//! | `shuffle.rs`  | unpacking, packing, shuffles, blends, permutations                 |
//! | `float.rs`    | floating-point arithmetic and comparison                           |
//! | `convert.rs`  | conversions                                                        |
//! | `test.rs`     | what sets flags and general-purpose registers, string comparison   |
//! | `masked.rs`   | helpers of gathers and masked moves                                |
//! | `dispatch.rs` | which method translates an instruction                             |
//! | `helpers.rs`  | the table of helpers                                               |

mod convert;
mod dispatch;
mod float;
mod helpers;
mod integer;
mod masked;
mod moves;
mod shuffle;
mod test;

#[cfg(test)]
mod tests;

pub use helpers::{FIRST_HELPER, helpers};

use super::operand::{Place, ty_of};
use super::translator::{Next, Translator};
use crate::exception::{Exception, NM};
use crate::state::{mm, x87_exponent, xmm, ymm_high};
use helpers::{FloatHelper, Imm, MMX_CHECK, MMX_ENTER};
use iced_x86::{CpuidFeature, EncodingKind, Mnemonic, OpKind, Register};
use tcg::ir::{Lane, Ty, VBinary, VUnary, Val};

/// Which registers an instruction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// MM registers.
    Mmx,
    /// XMM registers, whose upper halves stay.
    Sse,
    /// XMM registers, whose upper halves become zero.
    Vex128,
    /// YMM registers.
    Vex256,
}

/// The low and the high 128 bits; the high ones count for 256 bits only.
type Halves = [Val; 2];

/// Translates the current instruction if it is one of these.
pub(super) fn translate(t: &mut Translator<'_>) -> Option<Next> {
    use CpuidFeature as C;
    let ours = |feature: &C| {
        matches!(
            feature,
            C::MMX
                | C::SSE
                | C::SSE2
                | C::SSE3
                | C::SSSE3
                | C::SSE4_1
                | C::SSE4_2
                | C::AES
                | C::PCLMULQDQ
                | C::SHA
                | C::F16C
                | C::AVX
                | C::AVX2
                | C::FMA
        )
    };
    if !t.insn.cpuid_features().iter().any(ours) {
        return None;
    }
    if t.insn.mnemonic() == Mnemonic::Movnti {
        return Some(t.movnti());
    }
    if let Some(next) = t.unavailable() {
        return Some(next);
    }
    let next = dispatch::translate(t)?;
    if t.uses_mmx() && next == Next::Continue {
        t.ir.call(MMX_ENTER, &[]);
    }
    Some(next)
}

impl Translator<'_> {
    fn is_vex(&self) -> bool {
        self.insn.encoding() == EncodingKind::VEX
    }

    fn has_operand(&self, what: fn(Register) -> bool) -> bool {
        (0..self.insn.op_count()).any(|n| self.insn.op_kind(n) == OpKind::Register && what(self.insn.op_register(n)))
    }

    /// Whether it switches the x87 unit to MMX registers.
    fn uses_mmx(&self) -> bool {
        // With a memory operand CVTPI2PD leaves the x87 unit alone; CVTPI2PS does not.
        self.has_operand(|r| r.is_mm()) || self.insn.mnemonic() == Mnemonic::Cvtpi2ps
    }

    fn form(&self) -> Form {
        if self.has_operand(|r| r.is_ymm()) {
            Form::Vex256
        } else if self.is_vex() {
            Form::Vex128
        } else if self.has_operand(|r| r.is_mm()) {
            Form::Mmx
        } else {
            Form::Sse
        }
    }

    /// Raises what the state of the system raises before anything else (SDM vol. 2, 2.4 "AVX and SSE Instruction Exception
    /// Classification"; vol. 3A, 14.1 "Emulation of the MMX Instruction Set", table 15-1 for SSE).
    fn unavailable(&mut self) -> Option<Next> {
        let mode = self.mode;
        let mmx = self.uses_mmx() || self.insn.mnemonic() == Mnemonic::Emms;
        let only_mmx = mmx && !self.has_operand(|r| r.is_xmm()) && !self.is_vex();
        let undefined = if self.is_vex() {
            mode.avx() == 0 || mode.protected() == 0 || mode.v86() != 0
        } else {
            mode.emulate() != 0 || !only_mmx && mode.sse() == 0
        };
        if undefined {
            return Some(self.undefined());
        }
        // With EM, which AVX does not look at, only MP and TS together tell that TS is set.
        let trap = mode.x87_trap() != 0 && (mode.emulate() == 0 || mode.wait_trap() != 0);
        if trap {
            return Some(self.raise(Exception::plain(NM)));
        }
        if mmx {
            self.ir.call(MMX_CHECK, &[]);
        }
        None
    }

    /// How many of the two halves count.
    fn halves(&self) -> usize {
        if self.form() == Form::Vex256 { 2 } else { 1 }
    }

    /// The constant at the end of the operands.
    fn imm8(&self) -> u32 {
        u32::from(self.insn.immediate8())
    }

    fn zero_vector(&mut self) -> Val {
        self.ir.imm_v(0)
    }

    /// An integer as the lowest element of a vector that is zero otherwise.
    fn lowest(&mut self, v: Val) -> Val {
        let lane = match self.ir.ty(v) {
            Ty::I8 => Lane::B,
            Ty::I16 => Lane::H,
            Ty::I32 => Lane::S,
            _ => Lane::D,
        };
        let zero = self.zero_vector();
        self.ir.insert(lane, zero, 0, v)
    }

    /// Whether 16 bytes of memory must be aligned.
    fn needs_alignment(&self) -> bool {
        use Mnemonic as M;
        let aligned_moves = matches!(
            self.insn.mnemonic(),
            M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntps | M::Vmovntpd | M::Vmovntdq | M::Vmovntdqa
        );
        let unaligned = matches!(
            self.insn.mnemonic(),
            M::Movups
                | M::Movupd
                | M::Movdqu
                | M::Lddqu
                | M::Pcmpestri
                | M::Pcmpestrm
                | M::Pcmpistri
                | M::Pcmpistrm
                | M::Pcmpestri64
                | M::Pcmpestrm64
        );
        if self.is_vex() { aligned_moves } else { !unaligned }
    }

    /// Loads a vector of 16 or 32 bytes, or 1 to 8 bytes as the lowest element.
    fn load_vector(&mut self, va: Val, bytes: usize) -> Halves {
        let mut mem = self.mem();
        if bytes < 16 {
            let v = self.ir.load(ty_of(bytes), va, mem);
            let low = self.lowest(v);
            return [low, low];
        }
        if self.needs_alignment() {
            mem.align_log2 = if bytes == 32 { 5 } else { 4 };
        }
        let low = self.ir.load(Ty::V128, va, mem);
        if bytes < 32 {
            return [low, low];
        }
        mem.align_log2 = 0;
        let above = self.ir.add_imm(Ty::I64, va, 16);
        let above = self.linear(above);
        [low, self.ir.load(Ty::V128, above, mem)]
    }

    /// Operand `n`: of memory as many bytes as the instruction reads, of an MM register 8.
    fn vector(&mut self, n: u32) -> Halves {
        if self.is_memory(n) {
            let bytes = self.memory_bytes();
            let va = self.memory(bytes as u64, false);
            return self.load_vector(va, bytes);
        }
        let register = self.insn.op_register(n);
        let number = register.number();
        if register.is_mm() {
            let v = self.ir.get(mm(number));
            let low = self.lowest(v);
            return [low, low];
        }
        let low = self.ir.get(xmm(number));
        if register.is_ymm() { [low, self.ir.get(ymm_high(number))] } else { [low, low] }
    }

    /// The low half of operand `n`.
    fn vector_low(&mut self, n: u32) -> Val {
        self.vector(n)[0]
    }

    /// Sets operand `n`, a register or memory.
    fn set_vector(&mut self, n: u32, [low, high]: Halves) {
        if self.is_memory(n) {
            let bytes = self.memory_bytes();
            let va = self.memory(bytes as u64, true);
            return self.store_vector(va, bytes, [low, high]);
        }
        let register = self.insn.op_register(n);
        let number = register.number();
        if register.is_mm() {
            let v = self.ir.extract(Lane::D, low, 0);
            self.ir.set(mm(number), v);
            let ones = self.ir.imm64(0xffff);
            self.ir.set(x87_exponent(number), ones);
            return;
        }
        self.ir.set(xmm(number), low);
        if register.is_ymm() {
            self.ir.set(ymm_high(number), high);
        } else if self.is_vex() {
            let zero = self.zero_vector();
            self.ir.set(ymm_high(number), zero);
        }
    }

    /// Stores the low `bytes` bytes of a vector. If the upper half of 32 bytes faults the lower one may have been stored (SDM
    /// vol. 3A, 9.1.1 "Guaranteed Atomic Operations").
    fn store_vector(&mut self, va: Val, bytes: usize, [low, high]: Halves) {
        let mut mem = self.mem();
        if bytes < 16 {
            let ty = ty_of(bytes);
            let lane = Lane::of_log2(bytes.trailing_zeros() as u8);
            let v = self.ir.extract(lane, low, 0);
            self.ir.store(ty, va, v, mem);
            return;
        }
        if self.needs_alignment() {
            mem.align_log2 = if bytes == 32 { 5 } else { 4 };
        }
        self.ir.store(Ty::V128, va, low, mem);
        if bytes == 32 {
            mem.align_log2 = 0;
            let above = self.ir.add_imm(Ty::I64, va, 16);
            let above = self.linear(above);
            self.ir.store(Ty::V128, above, high, mem);
        }
    }

    /// `f` of each half, one or two.
    fn each(&mut self, mut f: impl FnMut(&mut Self, usize) -> Val) -> Halves {
        let both = self.halves() == 2;
        self.first_of_two = both;
        let low = f(self, 0);
        self.first_of_two = false;
        if both { [low, f(self, 1)] } else { [low, low] }
    }

    /// The number of the first source: with VEX it is not the destination.
    fn first_source(&self) -> u32 {
        self.is_vex().into()
    }

    /// `destination <- f(source)`, half by half.
    fn map_vector(&mut self, f: impl Fn(&mut Self, Val) -> Val) -> Next {
        let a = self.vector(1);
        let result = self.each(|t, h| f(t, a[h]));
        self.set_vector(0, result);
        Next::Continue
    }

    /// `destination <- f(first, second)`, half by half.
    fn map_vectors(&mut self, f: impl Fn(&mut Self, Val, Val) -> Val) -> Next {
        let n = self.first_source();
        let b = self.vector(n + 1);
        let a = self.vector(n);
        let result = self.each(|t, h| f(t, a[h], b[h]));
        self.set_vector(0, result);
        Next::Continue
    }

    /// As [`map_vectors`](Translator::map_vectors), for operations that take their operands' elements in pairs: the two halves of an
    /// MMX result come from both operands, so both are given as one.
    fn paired(&mut self, f: impl Fn(&mut Self, Val, Val) -> Val) -> Next {
        let mmx = self.form() == Form::Mmx;
        self.map_vectors(|t, a, b| {
            if mmx {
                let both = t.low_halves(a, b);
                f(t, both, both)
            } else {
                f(t, a, b)
            }
        })
    }

    /// The low quadwords of two vectors.
    fn low_halves(&mut self, a: Val, b: Val) -> Val {
        self.ir.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23])
    }

    /// An operation of the IR's on two vectors.
    fn vbinary(&mut self, op: VBinary, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| t.ir.vbin(op, lane, a, b))
    }

    /// An operation of the IR's on one vector.
    fn vunary(&mut self, op: VUnary, lane: Lane) -> Next {
        self.map_vector(|t, a| t.ir.vun(op, lane, a))
    }

    /// Calls a floating-point helper on `count` elements.
    fn float_call(&mut self, helper: FloatHelper, lane: Lane, count: u32, n: u32, [a, b, c]: [Val; 3]) -> Val {
        let default = self.mode.host_float() != 0;
        // Nothing is raised where MXCSR is the default.
        let imm = Imm { double: lane == Lane::D, count, first_of_two: self.first_of_two && !default, n };
        let id = helper.id(default);
        self.ir.call_v(id, a, b, c, imm.encode())
    }

    /// `v` with its lowest element replaced by that of `from`.
    fn with_lowest(&mut self, lane: Lane, v: Val, from: Val) -> Val {
        let low = self.ir.extract(lane, from, 0);
        self.ir.insert(lane, v, 0, low)
    }

    /// Every lane is this constant.
    fn splat(&mut self, lane: Lane, value: u64) -> Val {
        let bits = lane.ty().bits();
        let value = u128::from(value & lane.ty().mask());
        let all = (0..128 / bits).fold(0u128, |all, i| all | value << (i * bits));
        self.ir.imm_v(all)
    }

    /// The bits of `b` where `mask` is set, else those of `a`.
    fn choose(&mut self, mask: Val, a: Val, b: Val) -> Val {
        let a = self.ir.vbin(VBinary::AndNot, Lane::D, a, mask);
        let b = self.ir.vbin(VBinary::And, Lane::D, b, mask);
        self.ir.vbin(VBinary::Or, Lane::D, a, b)
    }

    /// MOVNTI, which is about a general-purpose register.
    fn movnti(&mut self) -> Next {
        let (place, ty) = (self.place(0), self.ty(1));
        let register = self.insn.op1_register();
        let v = self.gpr(register);
        if let Place::Memory(_) = place {
            self.store(place, ty, v);
        }
        Next::Continue
    }
}
