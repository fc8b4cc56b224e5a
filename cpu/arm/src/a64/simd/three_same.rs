//! Advanced SIMD three registers of the same type: vectors and scalars.

use super::*;
use crate::a64::{Scalar3Same, Scalar3SameFp, Simd3Reg, Simd3Same, Simd3SameFp, SimdFcadd, SimdFcmla};
use tcg::ir::{VBinary as B, VShift};

// defines: add_v sub_v mul_v cmgt_v cmge_v cmhi_v cmhs_v cmeq_v smax_v smin_v umax_v umin_v
methods! { Simd3Same, vbinary:
    /// ADD (vector)
    add_v(B::Add);
    /// SUB (vector)
    sub_v(B::Sub);
    /// MUL (vector)
    mul_v(B::Mul);
    /// CMGT (register)
    cmgt_v(B::CmpGtS);
    /// CMGE (register)
    cmge_v(B::CmpGeS);
    /// CMHI (register)
    cmhi_v(B::CmpGtU);
    /// CMHS (register)
    cmhs_v(B::CmpGeU);
    /// CMEQ (register)
    cmeq_v(B::CmpEq);
    /// SMAX
    smax_v(B::MaxS);
    /// SMIN
    smin_v(B::MinS);
    /// UMAX
    umax_v(B::MaxU);
    /// UMIN
    umin_v(B::MinU);
}

// defines: smaxp_v sminp_v umaxp_v uminp_v addp_v
methods! { Simd3Same, pairwise:
    /// SMAXP
    smaxp_v(B::MaxS);
    /// SMINP
    sminp_v(B::MinS);
    /// UMAXP
    umaxp_v(B::MaxU);
    /// UMINP
    uminp_v(B::MinU);
    /// ADDP (vector)
    addp_v(B::Add);
}

// defines: shsub_v uhsub_v sqadd_v uqadd_v sqsub_v uqsub_v sshl_v srshl_v ushl_v urshl_v sqshl_v sqrshl_v uqshl_v uqrshl_v
// defines: sqdmulh_v sqrdmulh_v pmul_v
methods! { Simd3Same, helper3:
    /// SHSUB
    shsub_v(SHSUB, 0);
    /// UHSUB
    uhsub_v(UHSUB, 0);
    /// SQADD
    sqadd_v(SQADD, 0);
    /// UQADD
    uqadd_v(UQADD, 0);
    /// SQSUB
    sqsub_v(SQSUB, 0);
    /// UQSUB
    uqsub_v(UQSUB, 0);
    /// SSHL
    sshl_v(SSHL, 0);
    /// SRSHL
    srshl_v(SSHL, 1);
    /// USHL
    ushl_v(USHL, 0);
    /// URSHL
    urshl_v(USHL, 1);
    /// SQSHL (register)
    sqshl_v(SQSHL, 0);
    /// SQRSHL
    sqrshl_v(SQSHL, 1);
    /// UQSHL (register)
    uqshl_v(UQSHL, 0);
    /// UQRSHL
    uqrshl_v(UQSHL, 1);
    /// SQDMULH (vector)
    sqdmulh_v(SQDMULH, 0);
    /// SQRDMULH (vector)
    sqrdmulh_v(SQDMULH, 1);
    /// PMUL
    pmul_v(PMUL, 0);
}

// defines: sqadd_s uqadd_s sqsub_s uqsub_s sshl_s srshl_s ushl_s urshl_s sqshl_s sqrshl_s uqshl_s uqrshl_s sqdmulh_s sqrdmulh_s
methods! { Scalar3Same, helper3_scalar:
    /// SQADD, scalar
    sqadd_s(SQADD, 0);
    /// UQADD, scalar
    uqadd_s(UQADD, 0);
    /// SQSUB, scalar
    sqsub_s(SQSUB, 0);
    /// UQSUB, scalar
    uqsub_s(UQSUB, 0);
    /// SSHL, scalar
    sshl_s(SSHL, 0);
    /// SRSHL, scalar
    srshl_s(SSHL, 1);
    /// USHL, scalar
    ushl_s(USHL, 0);
    /// URSHL, scalar
    urshl_s(USHL, 1);
    /// SQSHL (register), scalar
    sqshl_s(SQSHL, 0);
    /// SQRSHL, scalar
    sqrshl_s(SQSHL, 1);
    /// UQSHL (register), scalar
    uqshl_s(UQSHL, 0);
    /// UQRSHL, scalar
    uqrshl_s(UQSHL, 1);
    /// SQDMULH (vector), scalar
    sqdmulh_s(SQDMULH, 0);
    /// SQRDMULH (vector), scalar
    sqrdmulh_s(SQDMULH, 1);
}

// defines: add_s sub_s cmgt_s cmge_s cmhi_s cmhs_s cmeq_s
methods! { Scalar3Same, vbinary_scalar:
    /// ADD (vector), scalar
    add_s(B::Add);
    /// SUB (vector), scalar
    sub_s(B::Sub);
    /// CMGT (register), scalar
    cmgt_s(B::CmpGtS);
    /// CMGE (register), scalar
    cmge_s(B::CmpGeS);
    /// CMHI (register), scalar
    cmhi_s(B::CmpGtU);
    /// CMHS (register), scalar
    cmhs_s(B::CmpGeU);
    /// CMEQ (register), scalar
    cmeq_s(B::CmpEq);
}

// defines: sqrdmlah_v sqrdmlsh_v
methods! { Simd3Same, accumulating_helper:
    /// SQRDMLAH (vector)
    sqrdmlah_v(SQRDMLAH, 0);
    /// SQRDMLSH (vector)
    sqrdmlsh_v(SQRDMLAH, 1);
}
// defines: sqrdmlah_s sqrdmlsh_s
methods! { Scalar3Same, accumulating_helper_scalar:
    /// SQRDMLAH (vector), scalar
    sqrdmlah_s(SQRDMLAH, 0);
    /// SQRDMLSH (vector), scalar
    sqrdmlsh_s(SQRDMLAH, 1);
}

// defines: mla_v mls_v
methods! { Simd3Same, multiply_accumulate:
    /// MLA (vector)
    mla_v(B::Add);
    /// MLS (vector)
    mls_v(B::Sub);
}

// defines: shadd_v uhadd_v srhadd_v urhadd_v
methods! { Simd3Same, halving_add:
    /// SHADD
    shadd_v(VShift::Sar, false);
    /// UHADD
    uhadd_v(VShift::Shr, false);
    /// SRHADD
    srhadd_v(VShift::Sar, true);
    /// URHADD
    urhadd_v(VShift::Shr, true);
}

// defines: sabd_v uabd_v saba_v uaba_v
methods! { Simd3Same, absolute_difference:
    /// SABD
    sabd_v(B::MaxS, B::MinS, false);
    /// UABD
    uabd_v(B::MaxU, B::MinU, false);
    /// SABA
    saba_v(B::MaxS, B::MinS, true);
    /// UABA
    uaba_v(B::MaxU, B::MinU, true);
}

// defines: cmtst_v cmtst_s
methods! { Simd3Same, test_bits:
    /// CMTST
    cmtst_v();
}
methods! { Scalar3Same, test_bits_scalar:
    /// CMTST, scalar
    cmtst_s();
}

/// Bitwise operations on the destination and two sources.
#[derive(Clone, Copy)]
enum Bitwise {
    And,
    AndNot,
    Or,
    OrNot,
    Xor,
    /// The destination chooses: first source where it is one.
    Select,
    /// The second source chooses: first source where it is one.
    InsertIfTrue,
    /// The second source chooses: first source where it is zero.
    InsertIfFalse,
}

// defines: and_v bic_v orr_v orn_v eor_v bsl_v bit_v bif_v
methods! { Simd3Reg, bitwise:
    /// AND (vector)
    and_v(Bitwise::And);
    /// BIC (vector, register)
    bic_v(Bitwise::AndNot);
    /// ORR (vector, register)
    orr_v(Bitwise::Or);
    /// ORN (vector)
    orn_v(Bitwise::OrNot);
    /// EOR (vector)
    eor_v(Bitwise::Xor);
    /// BSL
    bsl_v(Bitwise::Select);
    /// BIT
    bit_v(Bitwise::InsertIfTrue);
    /// BIF
    bif_v(Bitwise::InsertIfFalse);
}

// defines: sdot_v udot_v
methods! { Simd3Reg, dot:
    /// SDOT (vector)
    sdot_v(SDOT);
    /// UDOT (vector)
    udot_v(UDOT);
}

// defines: fmlal_v fmlsl_v fmlal2_v fmlsl2_v
methods! { Simd3Reg, multiply_long_half:
    /// FMLAL (vector)
    fmlal_v(false, 0);
    /// FMLSL (vector)
    fmlsl_v(false, 1);
    /// FMLAL2 (vector)
    fmlal2_v(true, 0);
    /// FMLSL2 (vector)
    fmlsl2_v(true, 1);
}

// defines: fadd_v fsub_v fmul_v fmulx_v fdiv_v fabd_v fmax_v fmin_v fmaxnm_v fminnm_v frecps_v frsqrts_v
// defines: fcmeq_v fcmge_v fcmgt_v facge_v facgt_v
methods! { Simd3SameFp, fp3:
    /// FADD (vector)
    fadd_v(FADD);
    /// FSUB (vector)
    fsub_v(FSUB);
    /// FMUL (vector)
    fmul_v(FMUL);
    /// FMULX
    fmulx_v(FMULX);
    /// FDIV (vector)
    fdiv_v(FDIV);
    /// FABD
    fabd_v(FABD);
    /// FMAX (vector)
    fmax_v(FMAX);
    /// FMIN (vector)
    fmin_v(FMIN);
    /// FMAXNM (vector)
    fmaxnm_v(FMAXNM);
    /// FMINNM (vector)
    fminnm_v(FMINNM);
    /// FRECPS
    frecps_v(FRECPS);
    /// FRSQRTS
    frsqrts_v(FRSQRTS);
    /// FCMEQ (register)
    fcmeq_v(FCMEQ);
    /// FCMGE (register)
    fcmge_v(FCMGE);
    /// FCMGT (register)
    fcmgt_v(FCMGT);
    /// FACGE
    facge_v(FACGE);
    /// FACGT
    facgt_v(FACGT);
}

// defines: fmulx_s fabd_s frecps_s frsqrts_s fcmeq_s fcmge_s fcmgt_s facge_s facgt_s
methods! { Scalar3SameFp, fp3_scalar:
    /// FMULX, scalar
    fmulx_s(FMULX);
    /// FABD, scalar
    fabd_s(FABD);
    /// FRECPS, scalar
    frecps_s(FRECPS);
    /// FRSQRTS, scalar
    frsqrts_s(FRSQRTS);
    /// FCMEQ (register), scalar
    fcmeq_s(FCMEQ);
    /// FCMGE (register), scalar
    fcmge_s(FCMGE);
    /// FCMGT (register), scalar
    fcmgt_s(FCMGT);
    /// FACGE, scalar
    facge_s(FACGE);
    /// FACGT, scalar
    facgt_s(FACGT);
}

// defines: faddp_v fmaxp_v fminp_v fmaxnmp_v fminnmp_v
methods! { Simd3SameFp, fp_pairwise:
    /// FADDP (vector)
    faddp_v(FADD);
    /// FMAXP (vector)
    fmaxp_v(FMAX);
    /// FMINP (vector)
    fminp_v(FMIN);
    /// FMAXNMP (vector)
    fmaxnmp_v(FMAXNM);
    /// FMINNMP (vector)
    fminnmp_v(FMINNM);
}

// defines: fmla_v fmls_v
methods! { Simd3SameFp, fp_accumulate:
    /// FMLA (vector)
    fmla_v(FMLA);
    /// FMLS (vector)
    fmls_v(FMLS);
}

// defines: fcmla_v fcadd_v
methods! { SimdFcmla, complex_multiply:
    /// FCMLA
    fcmla_v();
}
methods! { SimdFcadd, complex_add:
    /// FCADD
    fcadd_v();
}

impl Translator<'_> {
    fn vbinary(&mut self, i: Simd3Same, op: B) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let v = self.ir.vbin(op, lane(i.size), n, m);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn vbinary_scalar(&mut self, i: Scalar3Same, op: B) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let v = self.ir.vbin(op, lane(i.size), n, m);
        self.set_low_lane(i.rd, lane(i.size), v);
        Next::Continue
    }

    fn pairwise(&mut self, i: Simd3Same, op: B) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let v = if i.q && op == B::Add {
            self.ir.vbin(B::AddPairs, lane(i.size), n, m)
        } else {
            let even = self.unzip(n, m, i.size, bytes(i.q), 0);
            let odd = self.unzip(n, m, i.size, bytes(i.q), 1);
            self.ir.vbin(op, lane(i.size), even, odd)
        };
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn helper3(&mut self, i: Simd3Same, id: HelperId, n: u32) -> Next {
        let (a, b) = (self.q(i.rn), self.q(i.rm));
        self.set_vector(i.rd, id, i.size, bytes(i.q), n, [a, b, b])
    }

    fn helper3_scalar(&mut self, i: Scalar3Same, id: HelperId, n: u32) -> Next {
        let (a, b) = (self.q(i.rn), self.q(i.rm));
        self.set_vector(i.rd, id, i.size, 1 << i.size, n, [a, b, b])
    }

    fn accumulating_helper(&mut self, i: Simd3Same, id: HelperId, n: u32) -> Next {
        let args = [self.q(i.rd), self.q(i.rn), self.q(i.rm)];
        self.set_vector(i.rd, id, i.size, bytes(i.q), n, args)
    }

    fn accumulating_helper_scalar(&mut self, i: Scalar3Same, id: HelperId, n: u32) -> Next {
        let args = [self.q(i.rd), self.q(i.rn), self.q(i.rm)];
        self.set_vector(i.rd, id, i.size, 1 << i.size, n, args)
    }

    fn multiply_accumulate(&mut self, i: Simd3Same, op: B) -> Next {
        let (d, n, m) = (self.q(i.rd), self.q(i.rn), self.q(i.rm));
        let product = self.ir.vbin(B::Mul, lane(i.size), n, m);
        let v = self.ir.vbin(op, lane(i.size), d, product);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    /// Half the sum without its carry: what both have plus half of what one has, or rounded up, what either has minus
    /// that.
    fn halving_add(&mut self, i: Simd3Same, shift: VShift, round: bool) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let one = self.vxor(n, m);
        let half = self.ir.vshift(shift, lane(i.size), one, 1);
        let v = if round {
            let either = self.vor(n, m);
            self.ir.vbin(B::Sub, lane(i.size), either, half)
        } else {
            let both = self.vand(n, m);
            self.ir.vbin(B::Add, lane(i.size), both, half)
        };
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn absolute_difference(&mut self, i: Simd3Same, max: B, min: B, accumulate: bool) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let (max, min) = (self.ir.vbin(max, lane(i.size), n, m), self.ir.vbin(min, lane(i.size), n, m));
        let mut v = self.ir.vbin(B::Sub, lane(i.size), max, min);
        if accumulate {
            let d = self.q(i.rd);
            v = self.ir.vbin(B::Add, lane(i.size), d, v);
        }
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn any_common_bit(&mut self, rn: u8, rm: u8, size: u8) -> Val {
        let (n, m) = (self.q(rn), self.q(rm));
        let common = self.vand(n, m);
        let zero = self.ir.imm_v(0);
        let none = self.ir.vbin(B::CmpEq, lane(size), common, zero);
        self.vnot(none)
    }
    fn test_bits(&mut self, i: Simd3Same) -> Next {
        let v = self.any_common_bit(i.rn, i.rm, i.size);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    fn test_bits_scalar(&mut self, i: Scalar3Same) -> Next {
        let v = self.any_common_bit(i.rn, i.rm, i.size);
        self.set_low_lane(i.rd, lane(i.size), v);
        Next::Continue
    }

    fn bitwise(&mut self, i: Simd3Reg, op: Bitwise) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let v = match op {
            Bitwise::And => self.vand(n, m),
            Bitwise::AndNot => self.ir.vbin(B::AndNot, Lane::D, n, m),
            // MOV (vector)
            Bitwise::Or if i.rn == i.rm => n,
            Bitwise::Or => self.vor(n, m),
            Bitwise::OrNot => {
                let not = self.vnot(m);
                self.vor(n, not)
            }
            Bitwise::Xor if i.rn == i.rm => self.ir.imm_v(0),
            Bitwise::Xor => self.vxor(n, m),
            Bitwise::Select => {
                let d = self.q(i.rd);
                self.choose(d, n, m)
            }
            Bitwise::InsertIfTrue => {
                let d = self.q(i.rd);
                self.choose(m, n, d)
            }
            Bitwise::InsertIfFalse => {
                let d = self.q(i.rd);
                self.choose(m, d, n)
            }
        };
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    /// Bits of `a` where `mask` is one, else of `b`.
    pub(super) fn choose(&mut self, mask: Val, a: Val, b: Val) -> Val {
        let differ = self.vxor(a, b);
        let taken = self.vand(differ, mask);
        self.vxor(b, taken)
    }

    fn dot(&mut self, i: Simd3Reg, id: HelperId) -> Next {
        let args = [self.q(i.rd), self.q(i.rn), self.q(i.rm)];
        self.set_vector(i.rd, id, 2, bytes(i.q), 0, args)
    }

    fn multiply_long_half(&mut self, i: Simd3Reg, upper: bool, subtract: u32) -> Next {
        let d = self.q(i.rd);
        let (n, m) = (self.upper_part(i.rn, i.q, upper), self.upper_part(i.rm, i.q, upper));
        self.set_vector(i.rd, FMLAL, 2, bytes(i.q), subtract, [d, n, m])
    }

    /// The lower or upper half of a register of 128 or (not `q`) 64 bits, moved down.
    pub(super) fn upper_part(&mut self, n: u8, q: bool, upper: bool) -> Val {
        if upper && !q {
            let v = self.q(n);
            let mask = std::array::from_fn(|i| if i < 4 { i as u8 + 4 } else { 0xff });
            return self.ir.shuffle(v, v, mask);
        }
        self.half(n, upper)
    }

    fn fp3(&mut self, i: Simd3SameFp, id: HelperId) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        self.set_vector(i.rd, id, fp_size(i.half, i.sz), bytes(i.q), 0, [n, m, m])
    }

    fn fp3_scalar(&mut self, i: Scalar3SameFp, id: HelperId) -> Next {
        let size = fp_size(i.half, i.sz);
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        self.set_vector(i.rd, id, size, 1 << size, 0, [n, m, m])
    }

    fn fp_pairwise(&mut self, i: Simd3SameFp, id: HelperId) -> Next {
        let (size, bytes) = (fp_size(i.half, i.sz), bytes(i.q));
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let (even, odd) = (self.unzip(n, m, size, bytes, 0), self.unzip(n, m, size, bytes, 1));
        self.set_vector(i.rd, id, size, bytes, 0, [even, odd, odd])
    }

    fn fp_accumulate(&mut self, i: Simd3SameFp, id: HelperId) -> Next {
        let args = [self.q(i.rd), self.q(i.rn), self.q(i.rm)];
        self.set_vector(i.rd, id, fp_size(i.half, i.sz), bytes(i.q), 0, args)
    }

    fn complex_multiply(&mut self, i: SimdFcmla) -> Next {
        let args = [self.q(i.rd), self.q(i.rn), self.q(i.rm)];
        self.set_vector(i.rd, FCMLA, i.size, bytes(i.q), i.rot.into(), args)
    }

    fn complex_add(&mut self, i: SimdFcadd) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        self.set_vector(i.rd, FCADD, i.size, bytes(i.q), i.rot.into(), [n, m, m])
    }
}
