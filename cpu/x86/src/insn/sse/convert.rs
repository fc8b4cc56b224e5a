//! Conversions between integers, single and double precision, and half precision.

use super::helpers::{
    FROM_INT_D, FROM_INT_S, FROM_INT_V, FloatHelper, HALF_TO_SINGLE, NARROW, SINGLE_TO_HALF, TO_INT_D, TO_INT_PD,
    TO_INT_S, TO_INT_V, WIDEN, int_imm,
};
use super::{Form, Halves};
use crate::insn::operand::ty_of;
use crate::insn::translator::{Next, Translator};
use crate::vector::float::{ROUND_MXCSR, ROUND_ZERO};
use tcg::ir::{Cond, Lane, Ty, VBinary as B, Val};

/// The rounding of a conversion, or of one that truncates.
fn rounding(truncate: bool) -> u32 {
    if truncate { ROUND_ZERO } else { ROUND_MXCSR }
}

impl Translator<'_> {
    /// The number in the lowest element as an integer of type `ty`; the integer indefinite if it has none.
    fn number_to_int(&mut self, lane: Lane, v: Val, ty: Ty, truncate: bool) -> Val {
        let bits = ty.bits();
        let number = self.ir.extract(lane, v, 0);
        let imm = self.ir.imm64(int_imm(bits, rounding(truncate)).into());
        let helper = if lane == Lane::D { TO_INT_D } else { TO_INT_S };
        let default = self.mode.host_float() != 0;
        let result = self.ir.call(helper.id(default), &[number, imm]);
        let result = self.ir.trunc(ty, result);
        if !default {
            return result;
        }
        // The host may have saturated, and made 0 of a NaN: what is less than this has an integer, or is too small. (The bits
        // are compared, as comparisons of numbers raise flags: as signed integers, negative numbers are less.)
        let limit = match (lane, ty, truncate) {
            (Lane::D, Ty::I32, false) => 2_147_483_647.5f64.to_bits(),
            (Lane::D, Ty::I32, true) => 2_147_483_648f64.to_bits(),
            (Lane::D, ..) => 9_223_372_036_854_775_808f64.to_bits(),
            (_, Ty::I32, _) => 2_147_483_648f32.to_bits().into(),
            _ => 9_223_372_036_854_775_808f32.to_bits().into(),
        };
        let least = if lane == Lane::D { f64::NEG_INFINITY.to_bits() } else { f32::NEG_INFINITY.to_bits().into() };
        let below = self.ir.cmp_imm(Cond::LtS, lane.ty(), number, limit);
        let number_at_all = self.ir.cmp_imm(Cond::LtU, lane.ty(), number, least + 1);
        let fits = self.ir.and(Ty::I8, below, number_at_all);
        let indefinite = self.ir.imm(ty, 1 << (bits - 1));
        self.ir.select(ty, fits, result, indefinite)
    }

    /// CVTSS2SI and its kin.
    pub(super) fn convert_to_int(&mut self, lane: Lane, truncate: bool) -> Next {
        let register = self.insn.op0_register();
        let v = self.vector_low(1);
        let result = self.number_to_int(lane, v, ty_of(register.size()), truncate);
        self.set_gpr(register, result);
        Next::Continue
    }

    /// CVTPS2DQ and CVTTPS2DQ, CVTPS2PI and CVTTPS2PI.
    pub(super) fn singles_to_ints(&mut self, truncate: bool) -> Next {
        let count = if self.form() == Form::Mmx { 2 } else { 4 };
        self.map_vector(|t, a| {
            let result = t.float_call(TO_INT_V, Lane::S, count, rounding(truncate), [a, a, a]);
            if t.mode.host_float() == 0 {
                return result;
            }
            // The host may have saturated: no single-precision number is the greatest integer. And it makes 0 of a NaN.
            let greatest = t.splat(Lane::S, 0x7fff_ffff);
            let saturated = t.ir.vbin(B::CmpEq, Lane::S, result, greatest);
            let result = t.ir.vbin(B::Xor, Lane::S, result, saturated);
            let magnitude = t.ir.vbin(B::And, Lane::S, a, greatest);
            let infinity = t.splat(Lane::S, 0x7f80_0000);
            let nan = t.ir.vbin(B::CmpGtS, Lane::S, magnitude, infinity);
            let indefinite = t.splat(Lane::S, 0x8000_0000);
            let indefinite = t.ir.vbin(B::And, Lane::S, nan, indefinite);
            t.ir.vbin(B::Or, Lane::S, result, indefinite)
        })
    }

    /// Two doubles to doublewords, in the low half.
    fn two_doubles_to_ints(&mut self, v: Val, truncate: bool) -> Val {
        if self.mode.host_float() == 0 {
            return self.float_call(TO_INT_PD, Lane::D, 2, rounding(truncate), [v, v, v]);
        }
        let high = self.ir.extract(Lane::D, v, 1);
        let high = self.lowest(high);
        let low = self.number_to_int(Lane::D, v, Ty::I32, truncate);
        let high = self.number_to_int(Lane::D, high, Ty::I32, truncate);
        let result = self.lowest(low);
        self.ir.insert(Lane::S, result, 1, high)
    }

    /// CVTPD2DQ and CVTTPD2DQ, CVTPD2PI and CVTTPD2PI.
    pub(super) fn doubles_to_ints(&mut self, truncate: bool) -> Next {
        self.narrowed(|t, v| t.two_doubles_to_ints(v, truncate))
    }

    /// `destination <- f(source)` where results take half the space: those of a 256-bit source fill an XMM register.
    fn narrowed(&mut self, f: impl Fn(&mut Self, Val) -> Val) -> Next {
        let a = self.vector(1);
        let wide = self.insn.op_kind(1) == iced_x86::OpKind::Register && self.insn.op_register(1).is_ymm()
            || self.is_memory(1) && self.memory_bytes() == 32;
        self.first_of_two = wide;
        let low = f(self, a[0]);
        self.first_of_two = false;
        let result = if wide {
            let high = f(self, a[1]);
            self.low_halves(low, high)
        } else {
            low
        };
        self.set_vector(0, [result, result]);
        Next::Continue
    }

    /// `destination <- f(source)` where results take twice the space.
    fn widened(&mut self, f: impl Fn(&mut Self, Val) -> Val) -> Next {
        let a = self.vector_low(1);
        let result: Halves = self.each(|t, h| {
            let source = if h == 0 {
                a
            } else {
                let high = t.ir.extract(Lane::D, a, 1);
                t.lowest(high)
            };
            f(t, source)
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// CVTSI2SS and CVTSI2SD.
    pub(super) fn convert_from_int(&mut self, lane: Lane) -> Next {
        let n = self.first_source();
        let v = self.read(n + 1);
        let a = self.vector_low(n);
        let number = self.int_to_number(lane, v);
        let result = self.ir.insert(lane, a, 0, number);
        self.set_vector(0, [result, result]);
        Next::Continue
    }

    /// An integer as a number's bits.
    fn int_to_number(&mut self, lane: Lane, v: Val) -> Val {
        let helper: FloatHelper = if lane == Lane::D { FROM_INT_D } else { FROM_INT_S };
        let bits = self.ir.ty(v).bits();
        let imm = self.ir.imm64(bits.into());
        let id = helper.id(self.mode.host_float() != 0);
        let number = self.ir.call(id, &[v, imm]);
        self.ir.trunc(lane.ty(), number)
    }

    /// CVTDQ2PS.
    pub(super) fn ints_to_singles(&mut self) -> Next {
        self.map_vector(|t, a| t.float_call(FROM_INT_V, Lane::S, 4, 0, [a, a, a]))
    }

    /// CVTPI2PS: two doublewords to the low half.
    pub(super) fn mmx_to_singles(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let two = t.float_call(FROM_INT_V, Lane::S, 2, 0, [b, b, b]);
            t.with_lowest(Lane::D, a, two)
        })
    }

    /// CVTDQ2PD and CVTPI2PD.
    pub(super) fn ints_to_doubles(&mut self) -> Next {
        self.widened(|t, v| {
            let [low, high] = [0, 1].map(|n| {
                let int = t.ir.extract(Lane::S, v, n);
                t.int_to_number(Lane::D, int)
            });
            let result = t.lowest(low);
            t.ir.insert(Lane::D, result, 1, high)
        })
    }

    /// CVTPS2PD.
    pub(super) fn singles_to_doubles(&mut self) -> Next {
        self.widened(|t, v| t.float_call(WIDEN, Lane::D, 2, 0, [v, v, v]))
    }

    /// CVTPD2PS.
    pub(super) fn doubles_to_singles(&mut self) -> Next {
        self.narrowed(|t, v| t.float_call(NARROW, Lane::D, 2, 0, [v, v, v]))
    }

    /// CVTSS2SD.
    pub(super) fn single_to_double(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let wide = t.float_call(WIDEN, Lane::D, 1, 0, [b, b, b]);
            t.with_lowest(Lane::D, a, wide)
        })
    }

    /// CVTSD2SS.
    pub(super) fn double_to_single(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let narrow = t.float_call(NARROW, Lane::D, 1, 0, [b, b, b]);
            t.with_lowest(Lane::S, a, narrow)
        })
    }

    /// VCVTPH2PS.
    pub(super) fn halves_to_singles(&mut self) -> Next {
        self.widened(|t, v| t.float_call(HALF_TO_SINGLE, Lane::S, 4, 0, [v, v, v]))
    }

    /// VCVTPS2PH.
    pub(super) fn singles_to_halves(&mut self) -> Next {
        let how = self.imm8() & 7;
        if self.is_memory(0) {
            // The store must be known to succeed before flags are raised.
            let (ty, va) = (ty_of(self.memory_bytes().min(8)), self.memory(self.memory_bytes() as u64, true));
            let mem = self.mem_to_modify();
            self.ir.load(ty, va, mem);
            if self.memory_bytes() == 16 {
                let above = self.ir.add_imm(Ty::I64, va, 8);
                let above = self.linear(above);
                self.ir.load(ty, above, mem);
            }
        }
        self.narrowed(|t, v| t.float_call(SINGLE_TO_HALF, Lane::S, 4, how, [v, v, v]))
    }
}
