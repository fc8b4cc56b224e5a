//! Vector operations on SSE4.2.

use super::asm::{RAX, Xmm};
use super::emit::Emit;
use super::registers::{Loc, TooComplex};
use super::slow;
use crate::frontend::Frontend;
use crate::interp::{vbinary, vshift, vunary};
use crate::ir::{Lane, Op, Ty, VBinary, VShift, VUnary, Val};

/// An instruction of two vectors, by its opcode map.
#[derive(Clone, Copy)]
enum Sse {
    /// 66 0f
    P(u8),
    /// 66 0f 38
    P38(u8),
}

/// The one instruction that does an operation.
fn instruction(op: VBinary, lane: Lane) -> Option<Sse> {
    use Lane::{B, D, H, S};
    use Sse::{P, P38};
    Some(match (op, lane) {
        (VBinary::Add, B) => P(0xfc),
        (VBinary::Add, H) => P(0xfd),
        (VBinary::Add, S) => P(0xfe),
        (VBinary::Add, D) => P(0xd4),
        (VBinary::Sub, B) => P(0xf8),
        (VBinary::Sub, H) => P(0xf9),
        (VBinary::Sub, S) => P(0xfa),
        (VBinary::Sub, D) => P(0xfb),
        (VBinary::Mul, H) => P(0xd5),
        (VBinary::Mul, S) => P38(0x40),
        (VBinary::And, _) => P(0xdb),
        (VBinary::Or, _) => P(0xeb),
        (VBinary::Xor, _) => P(0xef),
        (VBinary::CmpEq, B) => P(0x74),
        (VBinary::CmpEq, H) => P(0x75),
        (VBinary::CmpEq, S) => P(0x76),
        (VBinary::CmpEq, D) => P38(0x29),
        (VBinary::CmpGtS, B) => P(0x64),
        (VBinary::CmpGtS, H) => P(0x65),
        (VBinary::CmpGtS, S) => P(0x66),
        (VBinary::CmpGtS, D) => P38(0x37),
        (VBinary::MinS, B) => P38(0x38),
        (VBinary::MinS, H) => P(0xea),
        (VBinary::MinS, S) => P38(0x39),
        (VBinary::MinU, B) => P(0xda),
        (VBinary::MinU, H) => P38(0x3a),
        (VBinary::MinU, S) => P38(0x3b),
        (VBinary::MaxS, B) => P38(0x3c),
        (VBinary::MaxS, H) => P(0xee),
        (VBinary::MaxS, S) => P38(0x3d),
        (VBinary::MaxU, B) => P(0xde),
        (VBinary::MaxU, H) => P38(0x3e),
        (VBinary::MaxU, S) => P38(0x3f),
        (VBinary::AddPairs, H) => P38(0x01),
        (VBinary::AddPairs, S) => P38(0x02),
        _ => return None,
    })
}

const PUNPCKLQDQ: u8 = 0x6c;
const PUNPCKHQDQ: u8 = 0x6d;
const PADDQ: u8 = 0xd4;
const PANDN: u8 = 0xdf;
const POR: u8 = 0xeb;
const PXOR: u8 = 0xef;
const PCMPEQD: u8 = 0x76;
const PSHUFB: u8 = 0x00;

impl<F: Frontend> Emit<'_, F> {
    fn sse(&mut self, op: Sse, d: Xmm, s: Xmm) {
        match op {
            Sse::P(opcode) => self.asm.sse(opcode, d, s),
            Sse::P38(opcode) => self.asm.sse38(opcode, d, s),
        }
    }

    /// Changes rax.
    pub fn constant_vector(&mut self, d: Xmm, low: u64, high: u64) {
        match (low, high) {
            (0, 0) => self.asm.sse(PXOR, d, d),
            (u64::MAX, u64::MAX) => self.asm.sse(PCMPEQD, d, d),
            _ => {
                self.asm.mov_imm(RAX, low);
                self.asm.xmm_from(true, d, RAX);
                if high == low {
                    self.asm.sse(PUNPCKLQDQ, d, d);
                } else if high != 0 {
                    self.asm.mov_imm(RAX, high);
                    self.asm.pinsr(8, d, RAX, 1);
                }
            }
        }
    }

    fn invert(&mut self, d: Xmm) {
        self.asm.sse(PCMPEQD, 0, 0);
        self.asm.sse(PXOR, d, 0);
    }

    pub fn vector_operation(&mut self) -> Result<(), TooComplex> {
        match self.ir.ops[self.at] {
            Op::VBin(op, lane, a, b) => self.vector_binary(op, lane, a, b),
            Op::VUn(op, lane, a) => self.vector_unary(op, lane, a),
            Op::VShift(op, lane, a, by) => self.vector_shift(op, lane, a, by),
            Op::Splat(lane, a) => {
                let s = self.gpr(a)?;
                let d = self.new_xmm()?;
                self.asm.xmm_from(lane == Lane::D, d, s);
                match lane {
                    Lane::B => {
                        self.asm.sse(PXOR, 0, 0);
                        self.asm.sse38(PSHUFB, d, 0);
                    }
                    Lane::H => {
                        self.asm.pshuflw(d, d, 0);
                        self.asm.pshufd(d, d, 0);
                    }
                    Lane::S => self.asm.pshufd(d, d, 0),
                    Lane::D => self.asm.sse(PUNPCKLQDQ, d, d),
                }
                self.result(Loc::Xmm(d));
                Ok(())
            }
            Op::Extract(lane, v, n) => {
                let s = self.xmm(v)?;
                let d = self.new_gpr()?;
                match (lane, n) {
                    (Lane::S | Lane::D, 0) => self.asm.xmm_to(lane == Lane::D, d, s),
                    _ => self.asm.pextr(lane.ty().bytes(), d, s, n),
                }
                self.result(Loc::Gpr(d));
                Ok(())
            }
            Op::Insert(lane, v, n, a) => {
                let s = self.gpr(a)?;
                let zero = matches!(self.ir.ops[v.0 as usize], Op::ConstV(0, 0));
                if zero && n == 0 && matches!(lane, Lane::S | Lane::D) {
                    let d = self.new_xmm()?;
                    self.asm.xmm_from(lane == Lane::D, d, s);
                    self.result(Loc::Xmm(d));
                    return Ok(());
                }
                let d = self.xmm_copy_of(v)?;
                self.asm.pinsr(lane.ty().bytes(), d, s, n);
                self.result(Loc::Xmm(d));
                Ok(())
            }
            Op::Shuffle(a, b, mask) => self.shuffle(a, b, self.ir.masks[usize::from(mask)]),
            _ => Err(TooComplex),
        }
    }

    fn vector_binary(&mut self, op: VBinary, lane: Lane, a: Val, b: Val) -> Result<(), TooComplex> {
        if let Some(instruction) = instruction(op, lane) {
            let s = self.xmm(b)?;
            let d = self.xmm_copy_of(a)?;
            self.sse(instruction, d, s);
            self.result(Loc::Xmm(d));
            return Ok(());
        }
        let small = lane != Lane::D;
        let with = |op| instruction(op, lane).ok_or(TooComplex);
        let d = match op {
            VBinary::AndNot => {
                let s = self.xmm(a)?;
                let d = self.xmm_copy_of(b)?;
                self.asm.sse(PANDN, d, s);
                d
            }
            // The greater of both is `a`.
            VBinary::CmpGeU if small => {
                let (x, y) = (self.xmm(a)?, self.xmm(b)?);
                let d = self.new_xmm()?;
                self.asm.movdqa(d, x);
                self.sse(with(VBinary::MaxU)?, d, y);
                self.sse(with(VBinary::CmpEq)?, d, x);
                d
            }
            // Not: the greater of both is `b`.
            VBinary::CmpGtU if small => {
                let (x, y) = (self.xmm(a)?, self.xmm(b)?);
                let d = self.new_xmm()?;
                self.asm.movdqa(d, x);
                self.sse(with(VBinary::MaxU)?, d, y);
                self.sse(with(VBinary::CmpEq)?, d, y);
                self.invert(d);
                d
            }
            VBinary::CmpGeS => {
                let s = self.xmm(a)?;
                let d = self.xmm_copy_of(b)?;
                self.sse(with(VBinary::CmpGtS)?, d, s);
                self.invert(d);
                d
            }
            VBinary::AddPairs if lane == Lane::D => {
                let (x, y) = (self.xmm(a)?, self.xmm(b)?);
                let d = self.new_xmm()?;
                self.asm.movdqa(d, x);
                self.asm.sse(PUNPCKLQDQ, d, y);
                self.asm.movdqa(0, x);
                self.asm.sse(PUNPCKHQDQ, 0, y);
                self.asm.sse(PADDQ, d, 0);
                d
            }
            _ => {
                self.pass_vector(0, a, Ty::V128)?;
                self.pass_vector(1, b, Ty::V128)?;
                let f = vbinary(op, lane) as usize as u64;
                self.call(slow::vector2::<F> as *const () as u64, &[], &[(0, f)], true)?;
                return self.result_vector();
            }
        };
        self.result(Loc::Xmm(d));
        Ok(())
    }

    fn vector_unary(&mut self, op: VUnary, lane: Lane, a: Val) -> Result<(), TooComplex> {
        let small = lane != Lane::D;
        let lane_number = match lane {
            Lane::B => 0,
            Lane::H => 1,
            Lane::S => 2,
            Lane::D => 3,
        };
        let d = match op {
            VUnary::Not => {
                let d = self.xmm_copy_of(a)?;
                self.invert(d);
                d
            }
            VUnary::Neg => {
                let s = self.xmm(a)?;
                let d = self.new_xmm()?;
                self.asm.sse(PXOR, d, d);
                let sub = instruction(VBinary::Sub, lane).ok_or(TooComplex)?;
                self.sse(sub, d, s);
                d
            }
            VUnary::Abs if small => {
                let s = self.xmm(a)?;
                let d = self.new_xmm()?;
                self.asm.sse38(0x1c + lane_number, d, s);
                d
            }
            VUnary::Low64 => {
                let s = self.xmm(a)?;
                let d = self.new_xmm()?;
                self.asm.movq(d, s);
                d
            }
            VUnary::WidenLowS | VUnary::WidenLowU | VUnary::WidenHighS | VUnary::WidenHighU if small => {
                let s = self.xmm(a)?;
                let d = self.new_xmm()?;
                let s = if matches!(op, VUnary::WidenHighS | VUnary::WidenHighU) {
                    self.asm.pshufd(d, s, 0b1110);
                    d
                } else {
                    s
                };
                let signed = matches!(op, VUnary::WidenLowS | VUnary::WidenHighS);
                let opcode = [0x20, 0x23, 0x25][lane_number as usize] + if signed { 0 } else { 0x10 };
                self.asm.sse38(opcode, d, s);
                d
            }
            VUnary::Narrow => {
                let bytes = lane.ty().bytes();
                let mask = std::array::from_fn(|i| {
                    let (lane, byte) = (i as u8 / (bytes / 2), i as u8 % (bytes / 2));
                    if i < 8 { lane * bytes + byte } else { 255 }
                });
                return self.shuffle(a, a, mask);
            }
            _ => {
                self.pass_vector(0, a, Ty::V128)?;
                let f = vunary(op, lane) as usize as u64;
                self.call(slow::vector1::<F> as *const () as u64, &[], &[(0, f)], true)?;
                return self.result_vector();
            }
        };
        self.result(Loc::Xmm(d));
        Ok(())
    }

    fn vector_shift(&mut self, op: VShift, lane: Lane, a: Val, by: u8) -> Result<(), TooComplex> {
        let extension = match op {
            VShift::Shl => 6,
            VShift::Shr => 2,
            VShift::Sar => 4,
        };
        let opcode = match lane {
            Lane::H => 0x71,
            Lane::S => 0x72,
            Lane::D if op != VShift::Sar => 0x73,
            _ => {
                self.pass_vector(0, a, Ty::V128)?;
                let f = vshift(op, lane) as usize as u64;
                let constants = [(0, f), (1, by.into())];
                self.call(slow::vector_shift::<F> as *const () as u64, &[], &constants, true)?;
                return self.result_vector();
            }
        };
        let d = self.xmm_copy_of(a)?;
        self.asm.sse_shift(opcode, extension, d, by);
        self.result(Loc::Xmm(d));
        Ok(())
    }

    fn shuffle(&mut self, a: Val, b: Val, mask: [u8; 16]) -> Result<(), TooComplex> {
        // What each of the two sources gives; a set top bit gives zero.
        let part = |first: u8| mask.map(|m| if (first..first + 16).contains(&m) { m - first } else { 0x80 });
        let words = |bytes: [u8; 16]| {
            let all = u128::from_le_bytes(bytes);
            (all as u64, (all >> 64) as u64)
        };
        let from_b = mask.iter().any(|m| (16..32).contains(m));
        let from_a = mask.iter().any(|m| *m < 16);
        let (first, second) = if from_a { (a, part(0)) } else { (b, part(16)) };
        let (low, high) = words(second);
        if !(from_a && from_b) {
            let d = self.xmm_copy_of(first)?;
            self.constant_vector(0, low, high);
            self.asm.sse38(PSHUFB, d, 0);
            self.result(Loc::Xmm(d));
            return Ok(());
        }
        let s = self.xmm(b)?;
        self.asm.movdqa(1, s);
        let d = self.xmm_copy_of(a)?;
        self.constant_vector(0, low, high);
        self.asm.sse38(PSHUFB, d, 0);
        let (low, high) = words(part(16));
        self.constant_vector(0, low, high);
        self.asm.sse38(PSHUFB, 1, 0);
        self.asm.sse(POR, d, 1);
        self.result(Loc::Xmm(d));
        Ok(())
    }
}
