//! Advanced SIMD three registers of different types: long, wide and narrow.

use super::*;
use crate::a64::{Scalar3Different, Simd3Different};
use tcg::ir::{VBinary as B, VShift};

// defines: saddl_v uaddl_v ssubl_v usubl_v saddw_v uaddw_v ssubw_v usubw_v
methods! { Simd3Different, long:
    /// SADDL, SADDL2
    saddl_v(B::Add, true, false);
    /// UADDL, UADDL2
    uaddl_v(B::Add, false, false);
    /// SSUBL, SSUBL2
    ssubl_v(B::Sub, true, false);
    /// USUBL, USUBL2
    usubl_v(B::Sub, false, false);
    /// SADDW, SADDW2
    saddw_v(B::Add, true, true);
    /// UADDW, UADDW2
    uaddw_v(B::Add, false, true);
    /// SSUBW, SSUBW2
    ssubw_v(B::Sub, true, true);
    /// USUBW, USUBW2
    usubw_v(B::Sub, false, true);
}

// defines: smull_v umull_v
methods! { Simd3Different, long:
    /// SMULL, SMULL2 (vector)
    smull_v(B::Mul, true, false);
    /// UMULL, UMULL2 (vector)
    umull_v(B::Mul, false, false);
}

// defines: smlal_v umlal_v smlsl_v umlsl_v
methods! { Simd3Different, multiply_accumulate_long:
    /// SMLAL, SMLAL2 (vector)
    smlal_v(B::Add, true);
    /// UMLAL, UMLAL2 (vector)
    umlal_v(B::Add, false);
    /// SMLSL, SMLSL2 (vector)
    smlsl_v(B::Sub, true);
    /// UMLSL, UMLSL2 (vector)
    umlsl_v(B::Sub, false);
}

// defines: sabdl_v uabdl_v sabal_v uabal_v
methods! { Simd3Different, absolute_difference_long:
    /// SABDL, SABDL2
    sabdl_v(true, false);
    /// UABDL, UABDL2
    uabdl_v(false, false);
    /// SABAL, SABAL2
    sabal_v(true, true);
    /// UABAL, UABAL2
    uabal_v(false, true);
}

// defines: addhn_v subhn_v raddhn_v rsubhn_v
methods! { Simd3Different, high_half:
    /// ADDHN, ADDHN2
    addhn_v(B::Add, false);
    /// SUBHN, SUBHN2
    subhn_v(B::Sub, false);
    /// RADDHN, RADDHN2
    raddhn_v(B::Add, true);
    /// RSUBHN, RSUBHN2
    rsubhn_v(B::Sub, true);
}

// defines: sqdmull_v sqdmlal_v sqdmlsl_v sqdmull_s sqdmlal_s sqdmlsl_s pmull_v
methods! { Simd3Different, multiply_doubling:
    /// SQDMULL, SQDMULL2 (vector)
    sqdmull_v(SQDMULL, 0);
    /// SQDMLAL, SQDMLAL2 (vector)
    sqdmlal_v(SQDMLAL, 0);
    /// SQDMLSL, SQDMLSL2 (vector)
    sqdmlsl_v(SQDMLAL, 1);
}
methods! { Scalar3Different, multiply_doubling_scalar:
    /// SQDMULL (vector), scalar
    sqdmull_s(SQDMULL, 0);
    /// SQDMLAL (vector), scalar
    sqdmlal_s(SQDMLAL, 0);
    /// SQDMLSL (vector), scalar
    sqdmlsl_s(SQDMLAL, 1);
}
methods! { Simd3Different, multiply_polynomial:
    /// PMULL, PMULL2
    pmull_v();
}

impl Translator<'_> {
    /// `wide`: the first operand is wide already.
    fn long(&mut self, i: Simd3Different, op: B, signed: bool, wide: bool) -> Next {
        let n = if wide { self.q(i.rn) } else { self.widen(i.rn, i.size, i.q, signed) };
        let m = self.widen(i.rm, i.size, i.q, signed);
        let v = self.ir.vbin(op, lane(i.size + 1), n, m);
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn multiply_accumulate_long(&mut self, i: Simd3Different, op: B, signed: bool) -> Next {
        let (n, m) = (self.widen(i.rn, i.size, i.q, signed), self.widen(i.rm, i.size, i.q, signed));
        let product = self.ir.vbin(B::Mul, lane(i.size + 1), n, m);
        let d = self.q(i.rd);
        let v = self.ir.vbin(op, lane(i.size + 1), d, product);
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn absolute_difference_long(&mut self, i: Simd3Different, signed: bool, accumulate: bool) -> Next {
        let (n, m) = (self.widen(i.rn, i.size, i.q, signed), self.widen(i.rm, i.size, i.q, signed));
        let difference = self.ir.vbin(B::Sub, lane(i.size + 1), n, m);
        let mut v = self.ir.vun(VUnary::Abs, lane(i.size + 1), difference);
        if accumulate {
            let d = self.q(i.rd);
            v = self.ir.vbin(B::Add, lane(i.size + 1), d, v);
        }
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn high_half(&mut self, i: Simd3Different, op: B, round: bool) -> Next {
        let (wide, bits) = (lane(i.size + 1), 8 << i.size);
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let mut v = self.ir.vbin(op, wide, n, m);
        if round {
            let half = self.constant(i.size + 1, 1 << (bits - 1));
            v = self.ir.vbin(B::Add, wide, v, half);
        }
        let high = self.ir.vshift(VShift::Shr, wide, v, bits);
        let narrow = self.ir.vun(VUnary::Narrow, wide, high);
        self.set_half(i.rd, i.q, narrow);
        Next::Continue
    }

    fn multiply_doubling(&mut self, i: Simd3Different, id: HelperId, n: u32) -> Next {
        let args = [self.q(i.rd), self.half(i.rn, i.q), self.half(i.rm, i.q)];
        self.set_vector(i.rd, id, i.size, 16, n, args)
    }
    fn multiply_doubling_scalar(&mut self, i: Scalar3Different, id: HelperId, n: u32) -> Next {
        let args = [self.q(i.rd), self.low_lane(i.rn, lane(i.size)), self.low_lane(i.rm, lane(i.size))];
        self.set_vector(i.rd, id, i.size, 2 << i.size, n, args)
    }

    fn multiply_polynomial(&mut self, i: Simd3Different) -> Next {
        let (n, m) = (self.half(i.rn, i.q), self.half(i.rm, i.q));
        self.set_vector(i.rd, PMULL, i.size, 16, 0, [n, m, m])
    }
}
