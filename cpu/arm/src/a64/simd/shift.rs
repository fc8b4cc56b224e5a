//! Advanced SIMD shift by immediate, and conversions of fixed-point numbers.

use super::*;
use crate::a64::{ScalarShiftImm, SimdShiftImm};
use tcg::ir::{VBinary as B, VShift};

/// What immh:immb says.
#[derive(Clone, Copy)]
struct Amount {
    /// log2 of the bytes of the (narrow) element.
    size: u8,
    /// Count of left shifts.
    left: u8,
    /// Count of right shifts, and number of fraction bits.
    right: u8,
}

fn amount(immh: u8, immb: u8) -> Amount {
    let size = 7 - (immh.leading_zeros() as u8).min(7);
    let bits = 8u8 << size;
    let imm = immh << 3 | immb;
    Amount { size, left: imm.wrapping_sub(bits), right: (bits * 2).wrapping_sub(imm) }
}

/// Right shifts: whether they round, and whether they add to the destination.
#[derive(Clone, Copy)]
struct Right {
    shift: VShift,
    round: bool,
    accumulate: bool,
}

const fn right(shift: VShift, round: bool, accumulate: bool) -> Right {
    Right { shift, round, accumulate }
}

// defines: sshr_v ushr_v srshr_v urshr_v ssra_v usra_v srsra_v ursra_v
methods! { SimdShiftImm, shift_right:
    /// SSHR
    sshr_v(right(VShift::Sar, false, false));
    /// USHR
    ushr_v(right(VShift::Shr, false, false));
    /// SRSHR
    srshr_v(right(VShift::Sar, true, false));
    /// URSHR
    urshr_v(right(VShift::Shr, true, false));
    /// SSRA
    ssra_v(right(VShift::Sar, false, true));
    /// USRA
    usra_v(right(VShift::Shr, false, true));
    /// SRSRA
    srsra_v(right(VShift::Sar, true, true));
    /// URSRA
    ursra_v(right(VShift::Shr, true, true));
}
// defines: sshr_s ushr_s srshr_s urshr_s ssra_s usra_s srsra_s ursra_s
methods! { ScalarShiftImm, shift_right_scalar:
    /// SSHR, scalar
    sshr_s(right(VShift::Sar, false, false));
    /// USHR, scalar
    ushr_s(right(VShift::Shr, false, false));
    /// SRSHR, scalar
    srshr_s(right(VShift::Sar, true, false));
    /// URSHR, scalar
    urshr_s(right(VShift::Shr, true, false));
    /// SSRA, scalar
    ssra_s(right(VShift::Sar, false, true));
    /// USRA, scalar
    usra_s(right(VShift::Shr, false, true));
    /// SRSRA, scalar
    srsra_s(right(VShift::Sar, true, true));
    /// URSRA, scalar
    ursra_s(right(VShift::Shr, true, true));
}

// defines: shl_v sli_v sri_v shl_s sli_s sri_s
methods! { SimdShiftImm, shift_left:
    /// SHL
    shl_v();
}
methods! { ScalarShiftImm, shift_left_scalar:
    /// SHL, scalar
    shl_s();
}
methods! { SimdShiftImm, shift_insert:
    /// SLI
    sli_v(true);
    /// SRI
    sri_v(false);
}
methods! { ScalarShiftImm, shift_insert_scalar:
    /// SLI, scalar
    sli_s(true);
    /// SRI, scalar
    sri_s(false);
}

// defines: shrn_v rshrn_v sshll_v ushll_v
methods! { SimdShiftImm, shift_narrow:
    /// SHRN, SHRN2
    shrn_v(false);
    /// RSHRN, RSHRN2
    rshrn_v(true);
}
methods! { SimdShiftImm, shift_long:
    /// SSHLL, SSHLL2
    sshll_v(true);
    /// USHLL, USHLL2
    ushll_v(false);
}

// defines: sqshl_imm_v uqshl_imm_v sqshlu_v sqshl_imm_s uqshl_imm_s sqshlu_s
methods! { SimdShiftImm, shift_left_saturating:
    /// SQSHL (immediate)
    sqshl_imm_v(SQSHL);
    /// UQSHL (immediate)
    uqshl_imm_v(UQSHL);
    /// SQSHLU
    sqshlu_v(SQSHLU);
}
methods! { ScalarShiftImm, shift_left_saturating_scalar:
    /// SQSHL (immediate), scalar
    sqshl_imm_s(SQSHL);
    /// UQSHL (immediate), scalar
    uqshl_imm_s(UQSHL);
    /// SQSHLU, scalar
    sqshlu_s(SQSHLU);
}

/// Beside the count of a saturating narrowing shift: it rounds.
const ROUND: u32 = 1 << 8;

// defines: sqshrn_v sqrshrn_v sqshrun_v sqrshrun_v uqshrn_v uqrshrn_v
methods! { SimdShiftImm, shift_narrow_saturating:
    /// SQSHRN, SQSHRN2
    sqshrn_v(SQSHRN, 0);
    /// SQRSHRN, SQRSHRN2
    sqrshrn_v(SQSHRN, ROUND);
    /// SQSHRUN, SQSHRUN2
    sqshrun_v(SQSHRUN, 0);
    /// SQRSHRUN, SQRSHRUN2
    sqrshrun_v(SQSHRUN, ROUND);
    /// UQSHRN, UQSHRN2
    uqshrn_v(UQSHRN, 0);
    /// UQRSHRN, UQRSHRN2
    uqrshrn_v(UQSHRN, ROUND);
}
// defines: sqshrn_s sqrshrn_s sqshrun_s sqrshrun_s uqshrn_s uqrshrn_s
methods! { ScalarShiftImm, shift_narrow_saturating_scalar:
    /// SQSHRN, scalar
    sqshrn_s(SQSHRN, 0);
    /// SQRSHRN, scalar
    sqrshrn_s(SQSHRN, ROUND);
    /// SQSHRUN, scalar
    sqshrun_s(SQSHRUN, 0);
    /// SQRSHRUN, scalar
    sqrshrun_s(SQSHRUN, ROUND);
    /// UQSHRN, scalar
    uqshrn_s(UQSHRN, 0);
    /// UQRSHRN, scalar
    uqrshrn_s(UQSHRN, ROUND);
}

// defines: scvtf_fixed_v ucvtf_fixed_v fcvtzs_fixed_v fcvtzu_fixed_v
methods! { SimdShiftImm, convert_fixed:
    /// SCVTF (vector, fixed-point)
    scvtf_fixed_v(CVTF_FIXED, FIXED_SIGNED);
    /// UCVTF (vector, fixed-point)
    ucvtf_fixed_v(CVTF_FIXED, 0);
    /// FCVTZS (vector, fixed-point)
    fcvtzs_fixed_v(FCVT_FIXED, ROUND_Z | FIXED_SIGNED);
    /// FCVTZU (vector, fixed-point)
    fcvtzu_fixed_v(FCVT_FIXED, ROUND_Z);
}
// defines: scvtf_fixed_s ucvtf_fixed_s fcvtzs_fixed_s fcvtzu_fixed_s
methods! { ScalarShiftImm, convert_fixed_scalar:
    /// SCVTF (vector, fixed-point), scalar
    scvtf_fixed_s(CVTF_FIXED, FIXED_SIGNED);
    /// UCVTF (vector, fixed-point), scalar
    ucvtf_fixed_s(CVTF_FIXED, 0);
    /// FCVTZS (vector, fixed-point), scalar
    fcvtzs_fixed_s(FCVT_FIXED, ROUND_Z | FIXED_SIGNED);
    /// FCVTZU (vector, fixed-point), scalar
    fcvtzu_fixed_s(FCVT_FIXED, ROUND_Z);
}

impl Translator<'_> {
    /// Lanes of `v` shifted right; rounding adds the last bit that falls out.
    fn shifted_right(&mut self, v: Val, lane: Lane, by: u8, shift: VShift, round: bool) -> Val {
        let shifted = self.ir.vshift(shift, lane, v, by);
        if !round {
            return shifted;
        }
        let last = self.ir.vshift(VShift::Shr, lane, v, by - 1);
        let one = self.constant(lane.ty().bytes().trailing_zeros() as u8, 1);
        let last = self.vand(last, one);
        self.ir.vbin(B::Add, lane, shifted, last)
    }

    fn right_result(&mut self, rd: u8, rn: u8, a: Amount, right: Right) -> Val {
        let n = self.q(rn);
        let v = self.shifted_right(n, lane(a.size), a.right, right.shift, right.round);
        if !right.accumulate {
            return v;
        }
        let d = self.q(rd);
        self.ir.vbin(B::Add, lane(a.size), d, v)
    }
    fn shift_right(&mut self, i: SimdShiftImm, right: Right) -> Next {
        let v = self.right_result(i.rd, i.rn, amount(i.immh, i.immb), right);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    fn shift_right_scalar(&mut self, i: ScalarShiftImm, right: Right) -> Next {
        let v = self.right_result(i.rd, i.rn, amount(i.immh, i.immb), right);
        self.set_d(i.rd, v);
        Next::Continue
    }

    fn shift_left(&mut self, i: SimdShiftImm) -> Next {
        let a = amount(i.immh, i.immb);
        let n = self.q(i.rn);
        let v = self.ir.vshift(VShift::Shl, lane(a.size), n, a.left);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    fn shift_left_scalar(&mut self, i: ScalarShiftImm) -> Next {
        let n = self.q(i.rn);
        let v = self.ir.vshift(VShift::Shl, Lane::D, n, amount(i.immh, i.immb).left);
        self.set_d(i.rd, v);
        Next::Continue
    }

    /// The shifted lanes, with the destination's bits where the shift brings in zeros.
    fn inserted(&mut self, rd: u8, rn: u8, a: Amount, left: bool) -> Val {
        let bits = 8u32 << a.size;
        let ones = u64::MAX >> (64 - bits);
        let n = self.q(rn);
        let (v, mask) = if left {
            (self.ir.vshift(VShift::Shl, lane(a.size), n, a.left), ones << a.left)
        } else {
            (self.ir.vshift(VShift::Shr, lane(a.size), n, a.right), ones.checked_shr(a.right.into()).unwrap_or(0))
        };
        let d = self.q(rd);
        let kept = self.constant(a.size, !mask);
        let kept = self.vand(d, kept);
        self.vor(kept, v)
    }
    fn shift_insert(&mut self, i: SimdShiftImm, left: bool) -> Next {
        let v = self.inserted(i.rd, i.rn, amount(i.immh, i.immb), left);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    fn shift_insert_scalar(&mut self, i: ScalarShiftImm, left: bool) -> Next {
        let v = self.inserted(i.rd, i.rn, amount(i.immh, i.immb), left);
        self.set_d(i.rd, v);
        Next::Continue
    }

    fn shift_narrow(&mut self, i: SimdShiftImm, round: bool) -> Next {
        let a = amount(i.immh, i.immb);
        let n = self.q(i.rn);
        let shifted = self.shifted_right(n, lane(a.size + 1), a.right, VShift::Shr, round);
        let v = self.ir.vun(VUnary::Narrow, lane(a.size + 1), shifted);
        self.set_half(i.rd, i.q, v);
        Next::Continue
    }
    fn shift_long(&mut self, i: SimdShiftImm, signed: bool) -> Next {
        let a = amount(i.immh, i.immb);
        let wide = self.widen(i.rn, a.size, i.q, signed);
        let v = self.ir.vshift(VShift::Shl, lane(a.size + 1), wide, a.left);
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn left_saturating(&mut self, rd: u8, rn: u8, a: Amount, bytes: u8, id: HelperId) -> Next {
        let n = self.q(rn);
        if id == SQSHLU {
            return self.set_vector(rd, id, a.size, bytes, a.left.into(), [n, n, n]);
        }
        let by = self.constant(a.size, a.left.into());
        self.set_vector(rd, id, a.size, bytes, 0, [n, by, by])
    }
    fn shift_left_saturating(&mut self, i: SimdShiftImm, id: HelperId) -> Next {
        self.left_saturating(i.rd, i.rn, amount(i.immh, i.immb), bytes(i.q), id)
    }
    fn shift_left_saturating_scalar(&mut self, i: ScalarShiftImm, id: HelperId) -> Next {
        let a = amount(i.immh, i.immb);
        self.left_saturating(i.rd, i.rn, a, 1 << a.size, id)
    }

    fn shift_narrow_saturating(&mut self, i: SimdShiftImm, id: HelperId, round: u32) -> Next {
        let a = amount(i.immh, i.immb);
        let n = self.q(i.rn);
        let v = self.vector(id, a.size, 16, u32::from(a.right) | round, [n, n, n]);
        self.set_half(i.rd, i.q, v);
        Next::Continue
    }
    fn shift_narrow_saturating_scalar(&mut self, i: ScalarShiftImm, id: HelperId, round: u32) -> Next {
        let a = amount(i.immh, i.immb);
        let n = self.q(i.rn);
        self.set_vector(i.rd, id, a.size, 2 << a.size, u32::from(a.right) | round, [n, n, n])
    }

    fn convert_fixed(&mut self, i: SimdShiftImm, id: HelperId, how: u32) -> Next {
        let a = amount(i.immh, i.immb);
        let n = self.q(i.rn);
        let how = how | u32::from(a.right) << FIXED_FBITS_SHIFT;
        self.set_vector(i.rd, id, a.size, bytes(i.q), how, [n, n, n])
    }
    fn convert_fixed_scalar(&mut self, i: ScalarShiftImm, id: HelperId, how: u32) -> Next {
        let a = amount(i.immh, i.immb);
        let n = self.q(i.rn);
        let how = how | u32::from(a.right) << FIXED_FBITS_SHIFT;
        self.set_vector(i.rd, id, a.size, 1 << a.size, how, [n, n, n])
    }
}
