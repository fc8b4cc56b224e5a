//! Advanced SIMD two-register miscellaneous, across lanes, scalar pairwise.

use super::*;
use crate::a64::{Scalar2Reg, Scalar2RegFp, Simd2Reg, Simd2RegFp, SimdPrecision};
use tcg::ir::{VBinary as B, VShift};

// defines: rev64_v rev32_v rev16_v
methods! { Simd2Reg, reverse:
    /// REV64
    rev64_v(8);
    /// REV32 (vector)
    rev32_v(4);
    /// REV16 (vector)
    rev16_v(2);
}

// defines: abs_v neg_v not_v cnt_v
methods! { Simd2Reg, vunary:
    /// ABS
    abs_v(VUnary::Abs);
    /// NEG (vector)
    neg_v(VUnary::Neg);
    /// NOT
    not_v(VUnary::Not);
    /// CNT
    cnt_v(VUnary::Popcount);
}
// defines: abs_s neg_s
methods! { Scalar2Reg, vunary_scalar:
    /// ABS, scalar
    abs_s(VUnary::Abs);
    /// NEG (vector), scalar
    neg_s(VUnary::Neg);
}

// defines: cmgt0_v cmge0_v cmeq0_v cmle0_v cmlt0_v cmgt0_s cmge0_s cmeq0_s cmle0_s cmlt0_s
methods! { Simd2Reg, compare_zero:
    /// CMGT (zero)
    cmgt0_v(B::CmpGtS, false);
    /// CMGE (zero)
    cmge0_v(B::CmpGeS, false);
    /// CMEQ (zero)
    cmeq0_v(B::CmpEq, false);
    /// CMLE (zero)
    cmle0_v(B::CmpGeS, true);
    /// CMLT (zero)
    cmlt0_v(B::CmpGtS, true);
}
methods! { Scalar2Reg, compare_zero_scalar:
    /// CMGT (zero), scalar
    cmgt0_s(B::CmpGtS, false);
    /// CMGE (zero), scalar
    cmge0_s(B::CmpGeS, false);
    /// CMEQ (zero), scalar
    cmeq0_s(B::CmpEq, false);
    /// CMLE (zero), scalar
    cmle0_s(B::CmpGeS, true);
    /// CMLT (zero), scalar
    cmlt0_s(B::CmpGtS, true);
}

// defines: sqabs_v sqneg_v suqadd_v usqadd_v cls_v clz_v rbit_v urecpe_v ursqrte_v
methods! { Simd2Reg, helper2:
    /// SQABS
    sqabs_v(SQABS);
    /// SQNEG
    sqneg_v(SQNEG);
    /// CLS (vector)
    cls_v(CLS);
    /// CLZ (vector)
    clz_v(CLZ);
    /// RBIT (vector)
    rbit_v(RBIT);
    /// URECPE
    urecpe_v(URECPE);
    /// URSQRTE
    ursqrte_v(URSQRTE);
}
methods! { Simd2Reg, accumulating_helper2:
    /// SUQADD
    suqadd_v(SUQADD);
    /// USQADD
    usqadd_v(USQADD);
}
// defines: sqabs_s sqneg_s suqadd_s usqadd_s
methods! { Scalar2Reg, helper2_scalar:
    /// SQABS, scalar
    sqabs_s(SQABS);
    /// SQNEG, scalar
    sqneg_s(SQNEG);
}
methods! { Scalar2Reg, accumulating_helper2_scalar:
    /// SUQADD, scalar
    suqadd_s(SUQADD);
    /// USQADD, scalar
    usqadd_s(USQADD);
}

// defines: saddlp_v uaddlp_v sadalp_v uadalp_v
methods! { Simd2Reg, add_long_pairs:
    /// SADDLP
    saddlp_v(VShift::Sar, false);
    /// UADDLP
    uaddlp_v(VShift::Shr, false);
    /// SADALP
    sadalp_v(VShift::Sar, true);
    /// UADALP
    uadalp_v(VShift::Shr, true);
}

// defines: sqxtn_v sqxtun_v uqxtn_v sqxtn_s sqxtun_s uqxtn_s
methods! { Simd2Reg, narrow_saturating:
    /// SQXTN, SQXTN2
    sqxtn_v(SQSHRN);
    /// SQXTUN, SQXTUN2
    sqxtun_v(SQSHRUN);
    /// UQXTN, UQXTN2
    uqxtn_v(UQSHRN);
}
methods! { Scalar2Reg, narrow_saturating_scalar:
    /// SQXTN, scalar
    sqxtn_s(SQSHRN);
    /// SQXTUN, scalar
    sqxtun_s(SQSHRUN);
    /// UQXTN, scalar
    uqxtn_s(UQSHRN);
}

// defines: xtn_v shll_v addp_s
methods! { Simd2Reg, narrow:
    /// XTN, XTN2
    xtn_v();
}
methods! { Simd2Reg, shift_left_long:
    /// SHLL, SHLL2
    shll_v();
}
methods! { Scalar2Reg, add_pair:
    /// ADDP (scalar)
    addp_s();
}

// defines: addv smaxv sminv umaxv uminv saddlv uaddlv
methods! { Simd2Reg, across:
    /// ADDV
    addv(B::Add);
    /// SMAXV
    smaxv(B::MaxS);
    /// SMINV
    sminv(B::MinS);
    /// UMAXV
    umaxv(B::MaxU);
    /// UMINV
    uminv(B::MinU);
}
methods! { Simd2Reg, across_long:
    /// SADDLV
    saddlv(VShift::Sar);
    /// UADDLV
    uaddlv(VShift::Shr);
}

// defines: fmaxv fminv fmaxnmv fminnmv
methods! { Simd2RegFp, fp_across:
    /// FMAXV
    fmaxv(FMAX);
    /// FMINV
    fminv(FMIN);
    /// FMAXNMV
    fmaxnmv(FMAXNM);
    /// FMINNMV
    fminnmv(FMINNM);
}
// defines: faddp_s fmaxp_s fminp_s fmaxnmp_s fminnmp_s
methods! { Scalar2RegFp, fp_pair:
    /// FADDP (scalar)
    faddp_s(FADD);
    /// FMAXP (scalar)
    fmaxp_s(FMAX);
    /// FMINP (scalar)
    fminp_s(FMIN);
    /// FMAXNMP (scalar)
    fmaxnmp_s(FMAXNM);
    /// FMINNMP (scalar)
    fminnmp_s(FMINNM);
}

// defines: fabs_v fneg_v
methods! { Simd2RegFp, fp_sign:
    /// FABS (vector)
    fabs_v(false);
    /// FNEG (vector)
    fneg_v(true);
}

// defines: fsqrt_v frecpe_v frsqrte_v frintn_v frintp_v frintm_v frintz_v frinta_v frintx_v frinti_v
// defines: frint32z_v frint32x_v frint64z_v frint64x_v
// defines: fcvtns_v fcvtnu_v fcvtps_v fcvtpu_v fcvtms_v fcvtmu_v fcvtzs_v fcvtzu_v fcvtas_v fcvtau_v scvtf_v ucvtf_v
methods! { Simd2RegFp, fp2:
    /// FSQRT (vector)
    fsqrt_v(FSQRT, 0);
    /// FRECPE
    frecpe_v(FRECPE, 0);
    /// FRSQRTE
    frsqrte_v(FRSQRTE, 0);
    /// FRINTN (vector)
    frintn_v(FRINT, ROUND_N);
    /// FRINTP (vector)
    frintp_v(FRINT, ROUND_P);
    /// FRINTM (vector)
    frintm_v(FRINT, ROUND_M);
    /// FRINTZ (vector)
    frintz_v(FRINT, ROUND_Z);
    /// FRINTA (vector)
    frinta_v(FRINT, ROUND_A);
    /// FRINTX (vector)
    frintx_v(FRINT, ROUND_FPCR | ROUND_EXACT);
    /// FRINTI (vector)
    frinti_v(FRINT, ROUND_FPCR);
    /// FRINT32Z (vector)
    frint32z_v(FRINT32, ROUND_Z);
    /// FRINT32X (vector)
    frint32x_v(FRINT32, ROUND_FPCR);
    /// FRINT64Z (vector)
    frint64z_v(FRINT64, ROUND_Z);
    /// FRINT64X (vector)
    frint64x_v(FRINT64, ROUND_FPCR);
    /// FCVTNS (vector)
    fcvtns_v(FCVT_FIXED, ROUND_N | FIXED_SIGNED);
    /// FCVTNU (vector)
    fcvtnu_v(FCVT_FIXED, ROUND_N);
    /// FCVTPS (vector)
    fcvtps_v(FCVT_FIXED, ROUND_P | FIXED_SIGNED);
    /// FCVTPU (vector)
    fcvtpu_v(FCVT_FIXED, ROUND_P);
    /// FCVTMS (vector)
    fcvtms_v(FCVT_FIXED, ROUND_M | FIXED_SIGNED);
    /// FCVTMU (vector)
    fcvtmu_v(FCVT_FIXED, ROUND_M);
    /// FCVTZS (vector, integer)
    fcvtzs_v(FCVT_FIXED, ROUND_Z | FIXED_SIGNED);
    /// FCVTZU (vector, integer)
    fcvtzu_v(FCVT_FIXED, ROUND_Z);
    /// FCVTAS (vector)
    fcvtas_v(FCVT_FIXED, ROUND_A | FIXED_SIGNED);
    /// FCVTAU (vector)
    fcvtau_v(FCVT_FIXED, ROUND_A);
    /// SCVTF (vector, integer)
    scvtf_v(CVTF_FIXED, FIXED_SIGNED);
    /// UCVTF (vector, integer)
    ucvtf_v(CVTF_FIXED, 0);
}

// defines: frecpe_s frsqrte_s frecpx_s fcvtxn_s
// defines: fcvtns_s fcvtnu_s fcvtps_s fcvtpu_s fcvtms_s fcvtmu_s fcvtzs_s fcvtzu_s fcvtas_s fcvtau_s scvtf_s ucvtf_s
methods! { Scalar2RegFp, fp2_scalar:
    /// FRECPE, scalar
    frecpe_s(FRECPE, 0);
    /// FRSQRTE, scalar
    frsqrte_s(FRSQRTE, 0);
    /// FRECPX
    frecpx_s(FRECPX, 0);
    /// FCVTXN, scalar
    fcvtxn_s(FCVTXN, 0);
    /// FCVTNS (vector), scalar
    fcvtns_s(FCVT_FIXED, ROUND_N | FIXED_SIGNED);
    /// FCVTNU (vector), scalar
    fcvtnu_s(FCVT_FIXED, ROUND_N);
    /// FCVTPS (vector), scalar
    fcvtps_s(FCVT_FIXED, ROUND_P | FIXED_SIGNED);
    /// FCVTPU (vector), scalar
    fcvtpu_s(FCVT_FIXED, ROUND_P);
    /// FCVTMS (vector), scalar
    fcvtms_s(FCVT_FIXED, ROUND_M | FIXED_SIGNED);
    /// FCVTMU (vector), scalar
    fcvtmu_s(FCVT_FIXED, ROUND_M);
    /// FCVTZS (vector, integer), scalar
    fcvtzs_s(FCVT_FIXED, ROUND_Z | FIXED_SIGNED);
    /// FCVTZU (vector, integer), scalar
    fcvtzu_s(FCVT_FIXED, ROUND_Z);
    /// FCVTAS (vector), scalar
    fcvtas_s(FCVT_FIXED, ROUND_A | FIXED_SIGNED);
    /// FCVTAU (vector), scalar
    fcvtau_s(FCVT_FIXED, ROUND_A);
    /// SCVTF (vector, integer), scalar
    scvtf_s(CVTF_FIXED, FIXED_SIGNED);
    /// UCVTF (vector, integer), scalar
    ucvtf_s(CVTF_FIXED, 0);
}

// defines: fcmgt0_v fcmge0_v fcmeq0_v fcmle0_v fcmlt0_v fcmgt0_s fcmge0_s fcmeq0_s fcmle0_s fcmlt0_s
methods! { Simd2RegFp, fp_compare_zero:
    /// FCMGT (zero)
    fcmgt0_v(FCMGT, false);
    /// FCMGE (zero)
    fcmge0_v(FCMGE, false);
    /// FCMEQ (zero)
    fcmeq0_v(FCMEQ, false);
    /// FCMLE (zero)
    fcmle0_v(FCMGE, true);
    /// FCMLT (zero)
    fcmlt0_v(FCMGT, true);
}
methods! { Scalar2RegFp, fp_compare_zero_scalar:
    /// FCMGT (zero), scalar
    fcmgt0_s(FCMGT, false);
    /// FCMGE (zero), scalar
    fcmge0_s(FCMGE, false);
    /// FCMEQ (zero), scalar
    fcmeq0_s(FCMEQ, false);
    /// FCMLE (zero), scalar
    fcmle0_s(FCMGE, true);
    /// FCMLT (zero), scalar
    fcmlt0_s(FCMGT, true);
}

// defines: fcvtl_v fcvtn_v fcvtxn_v
methods! { SimdPrecision, convert_long:
    /// FCVTL, FCVTL2
    fcvtl_v();
}
methods! { SimdPrecision, convert_narrow:
    /// FCVTN, FCVTN2
    fcvtn_v(FCVTN);
    /// FCVTXN, FCVTXN2
    fcvtxn_v(FCVTXN);
}

impl Translator<'_> {
    /// Reverses elements in groups of `group` bytes.
    fn reverse(&mut self, i: Simd2Reg, group: u8) -> Next {
        let n = self.q(i.rn);
        let mask = std::array::from_fn(|byte| byte as u8 ^ (group - (1 << i.size)));
        let v = self.ir.shuffle(n, n, mask);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn vunary(&mut self, i: Simd2Reg, op: VUnary) -> Next {
        let n = self.q(i.rn);
        let v = self.ir.vun(op, lane(i.size), n);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    fn vunary_scalar(&mut self, i: Scalar2Reg, op: VUnary) -> Next {
        let n = self.q(i.rn);
        let v = self.ir.vun(op, lane(i.size), n);
        self.set_low_lane(i.rd, lane(i.size), v);
        Next::Continue
    }

    fn with_zero(&mut self, rn: u8, size: u8, op: B, zero_first: bool) -> Val {
        let (n, zero) = (self.q(rn), self.ir.imm_v(0));
        let (a, b) = if zero_first { (zero, n) } else { (n, zero) };
        self.ir.vbin(op, lane(size), a, b)
    }
    fn compare_zero(&mut self, i: Simd2Reg, op: B, zero_first: bool) -> Next {
        let v = self.with_zero(i.rn, i.size, op, zero_first);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    fn compare_zero_scalar(&mut self, i: Scalar2Reg, op: B, zero_first: bool) -> Next {
        let v = self.with_zero(i.rn, i.size, op, zero_first);
        self.set_low_lane(i.rd, lane(i.size), v);
        Next::Continue
    }

    fn helper2(&mut self, i: Simd2Reg, id: HelperId) -> Next {
        let n = self.q(i.rn);
        self.set_vector(i.rd, id, i.size, bytes(i.q), 0, [n, n, n])
    }
    fn helper2_scalar(&mut self, i: Scalar2Reg, id: HelperId) -> Next {
        let n = self.q(i.rn);
        self.set_vector(i.rd, id, i.size, 1 << i.size, 0, [n, n, n])
    }
    fn accumulating_helper2(&mut self, i: Simd2Reg, id: HelperId) -> Next {
        let (d, n) = (self.q(i.rd), self.q(i.rn));
        self.set_vector(i.rd, id, i.size, bytes(i.q), 0, [d, n, n])
    }
    fn accumulating_helper2_scalar(&mut self, i: Scalar2Reg, id: HelperId) -> Next {
        let (d, n) = (self.q(i.rd), self.q(i.rn));
        self.set_vector(i.rd, id, i.size, 1 << i.size, 0, [d, n, n])
    }

    /// In wide lanes: the lower narrow element, extended in place, plus the upper one.
    fn long_pairs(&mut self, n: Val, size: u8, shift: VShift) -> Val {
        let (wide, by) = (lane(size + 1), 8 << size);
        let lower = if shift == VShift::Shr {
            let keep = self.constant(size + 1, u64::MAX >> (64 - by));
            self.vand(n, keep)
        } else {
            let up = self.ir.vshift(VShift::Shl, wide, n, by);
            self.ir.vshift(shift, wide, up, by)
        };
        let upper = self.ir.vshift(shift, wide, n, by);
        self.ir.vbin(B::Add, wide, lower, upper)
    }
    fn add_long_pairs(&mut self, i: Simd2Reg, shift: VShift, accumulate: bool) -> Next {
        let n = self.q(i.rn);
        let mut v = self.long_pairs(n, i.size, shift);
        if accumulate {
            let d = self.q(i.rd);
            v = self.ir.vbin(B::Add, lane(i.size + 1), d, v);
        }
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn narrow_saturating(&mut self, i: Simd2Reg, id: HelperId) -> Next {
        let n = self.q(i.rn);
        let v = self.vector(id, i.size, 16, 0, [n, n, n]);
        self.set_half(i.rd, i.q, v);
        Next::Continue
    }
    fn narrow_saturating_scalar(&mut self, i: Scalar2Reg, id: HelperId) -> Next {
        let n = self.q(i.rn);
        self.set_vector(i.rd, id, i.size, 2 << i.size, 0, [n, n, n])
    }
    fn narrow(&mut self, i: Simd2Reg) -> Next {
        let n = self.q(i.rn);
        let v = self.ir.vun(VUnary::Narrow, lane(i.size + 1), n);
        self.set_half(i.rd, i.q, v);
        Next::Continue
    }
    fn shift_left_long(&mut self, i: Simd2Reg) -> Next {
        let wide = self.widen(i.rn, i.size, i.q, false);
        let v = self.ir.vshift(VShift::Shl, lane(i.size + 1), wide, 8 << i.size);
        self.set_q(i.rd, v);
        Next::Continue
    }
    fn add_pair(&mut self, i: Scalar2Reg) -> Next {
        let n = self.q(i.rn);
        let v = self.ir.vbin(B::AddPairs, Lane::D, n, n);
        self.set_d(i.rd, v);
        Next::Continue
    }

    /// The lowest lane of the result is `op` of all elements in the lowest `bytes` bytes: halves, then halves of the result,
    /// until one remains.
    fn folded(&mut self, v: Val, size: u8, bytes: u8, op: B) -> Val {
        let (mut v, mut bytes) = (v, bytes);
        while bytes > 1 << size {
            bytes /= 2;
            let mask = std::array::from_fn(|i| (i as u8 + bytes) % 16);
            let upper = self.ir.shuffle(v, v, mask);
            v = self.ir.vbin(op, lane(size), v, upper);
        }
        v
    }
    fn across(&mut self, i: Simd2Reg, op: B) -> Next {
        let n = self.q(i.rn);
        let v = self.folded(n, i.size, bytes(i.q), op);
        self.set_low_lane(i.rd, lane(i.size), v);
        Next::Continue
    }
    /// The sum of all elements in twice their width.
    fn across_long(&mut self, i: Simd2Reg, shift: VShift) -> Next {
        let n = self.q(i.rn);
        let pairs = self.long_pairs(n, i.size, shift);
        let v = self.folded(pairs, i.size + 1, bytes(i.q), B::Add);
        self.set_low_lane(i.rd, lane(i.size + 1), v);
        Next::Continue
    }

    /// Pairs, then pairs of the results, until one remains (`Reduce`).
    fn fp_across(&mut self, i: Simd2RegFp, id: HelperId) -> Next {
        let (size, mut bytes) = (fp_size(i.half, i.sz), bytes(i.q));
        let mut v = self.q(i.rn);
        while bytes > 1 << size {
            let even = self.unzip(v, v, size, bytes, 0);
            let odd = self.unzip(v, v, size, bytes, 1);
            bytes /= 2;
            v = self.vector(id, size, bytes, 0, [even, odd, odd]);
        }
        self.set_q(i.rd, v);
        Next::Continue
    }
    fn fp_pair(&mut self, i: Scalar2RegFp, id: HelperId) -> Next {
        let size = fp_size(i.half, i.sz);
        let n = self.q(i.rn);
        let second = self.duplicate(i.rn, size, 1);
        self.set_vector(i.rd, id, size, 1 << size, 0, [n, second, second])
    }

    fn fp_sign(&mut self, i: Simd2RegFp, negate: bool) -> Next {
        let size = fp_size(i.half, i.sz);
        let sign = self.constant(size, 1 << ((8 << size) - 1));
        let n = self.q(i.rn);
        let v = if negate { self.vxor(n, sign) } else { self.ir.vbin(B::AndNot, Lane::D, n, sign) };
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn fp2(&mut self, i: Simd2RegFp, id: HelperId, n: u32) -> Next {
        let a = self.q(i.rn);
        self.set_vector(i.rd, id, fp_size(i.half, i.sz), bytes(i.q), n, [a, a, a])
    }
    fn fp2_scalar(&mut self, i: Scalar2RegFp, id: HelperId, n: u32) -> Next {
        let size = fp_size(i.half, i.sz);
        let a = self.q(i.rn);
        self.set_vector(i.rd, id, size, 1 << size, n, [a, a, a])
    }

    fn fp_compare_zero(&mut self, i: Simd2RegFp, id: HelperId, zero_first: bool) -> Next {
        let (n, zero) = (self.q(i.rn), self.ir.imm_v(0));
        let (a, b) = if zero_first { (zero, n) } else { (n, zero) };
        self.set_vector(i.rd, id, fp_size(i.half, i.sz), bytes(i.q), 0, [a, b, b])
    }
    fn fp_compare_zero_scalar(&mut self, i: Scalar2RegFp, id: HelperId, zero_first: bool) -> Next {
        let size = fp_size(i.half, i.sz);
        let (n, zero) = (self.q(i.rn), self.ir.imm_v(0));
        let (a, b) = if zero_first { (zero, n) } else { (n, zero) };
        self.set_vector(i.rd, id, size, 1 << size, 0, [a, b, b])
    }

    fn convert_long(&mut self, i: SimdPrecision) -> Next {
        let n = self.half(i.rn, i.q);
        self.set_vector(i.rd, FCVTL, fp_size(false, i.sz), 16, 0, [n, n, n])
    }
    fn convert_narrow(&mut self, i: SimdPrecision, id: HelperId) -> Next {
        let n = self.q(i.rn);
        let v = self.vector(id, fp_size(false, i.sz), 16, 0, [n, n, n]);
        self.set_half(i.rd, i.q, v);
        Next::Continue
    }
}
