//! Advanced SIMD, vector and scalar by one element.

use super::*;
use crate::a64::{ScalarElement, SimdElement, SimdFcmlaElement};
use tcg::ir::VBinary as B;

/// Register and number of the element: of 16 bits h:l:m of V0 to V15, of 32 bits h:l of m:rm, of 64 bits h of m:rm.
fn element(size: u8, h: bool, l: bool, m: bool, rm: u8) -> (u8, u8) {
    let (h, l, m) = (u8::from(h), u8::from(l), u8::from(m));
    match size {
        1 => (rm, h << 2 | l << 1 | m),
        2 => (m << 4 | rm, h << 1 | l),
        _ => (m << 4 | rm, h),
    }
}

/// log2 of the bytes of floating-point elements here: size 0 is half, 2 single, 3 double.
fn fp_element_size(size: u8) -> u8 {
    if size == 0 { 1 } else { size }
}

// defines: mul_elem_v mla_elem_v mls_elem_v
methods! { SimdElement, multiply_element:
    /// MUL (by element)
    mul_elem_v(None);
    /// MLA (by element)
    mla_elem_v(Some(B::Add));
    /// MLS (by element)
    mls_elem_v(Some(B::Sub));
}

// defines: smull_elem_v umull_elem_v smlal_elem_v umlal_elem_v smlsl_elem_v umlsl_elem_v
methods! { SimdElement, multiply_long_element:
    /// SMULL, SMULL2 (by element)
    smull_elem_v(true, None);
    /// UMULL, UMULL2 (by element)
    umull_elem_v(false, None);
    /// SMLAL, SMLAL2 (by element)
    smlal_elem_v(true, Some(B::Add));
    /// UMLAL, UMLAL2 (by element)
    umlal_elem_v(false, Some(B::Add));
    /// SMLSL, SMLSL2 (by element)
    smlsl_elem_v(true, Some(B::Sub));
    /// UMLSL, UMLSL2 (by element)
    umlsl_elem_v(false, Some(B::Sub));
}

// defines: sqdmull_elem_v sqdmlal_elem_v sqdmlsl_elem_v sqdmull_elem_s sqdmlal_elem_s sqdmlsl_elem_s
methods! { SimdElement, multiply_doubling_element:
    /// SQDMULL, SQDMULL2 (by element)
    sqdmull_elem_v(SQDMULL, 0);
    /// SQDMLAL, SQDMLAL2 (by element)
    sqdmlal_elem_v(SQDMLAL, 0);
    /// SQDMLSL, SQDMLSL2 (by element)
    sqdmlsl_elem_v(SQDMLAL, 1);
}
methods! { ScalarElement, multiply_doubling_element_scalar:
    /// SQDMULL (by element), scalar
    sqdmull_elem_s(SQDMULL, 0);
    /// SQDMLAL (by element), scalar
    sqdmlal_elem_s(SQDMLAL, 0);
    /// SQDMLSL (by element), scalar
    sqdmlsl_elem_s(SQDMLAL, 1);
}

// defines: sqdmulh_elem_v sqrdmulh_elem_v sqrdmlah_elem_v sqrdmlsh_elem_v
methods! { SimdElement, multiply_high_element:
    /// SQDMULH (by element)
    sqdmulh_elem_v(SQDMULH, 0);
    /// SQRDMULH (by element)
    sqrdmulh_elem_v(SQDMULH, 1);
    /// SQRDMLAH (by element)
    sqrdmlah_elem_v(SQRDMLAH, 0);
    /// SQRDMLSH (by element)
    sqrdmlsh_elem_v(SQRDMLAH, 1);
}
// defines: sqdmulh_elem_s sqrdmulh_elem_s sqrdmlah_elem_s sqrdmlsh_elem_s
methods! { ScalarElement, multiply_high_element_scalar:
    /// SQDMULH (by element), scalar
    sqdmulh_elem_s(SQDMULH, 0);
    /// SQRDMULH (by element), scalar
    sqrdmulh_elem_s(SQDMULH, 1);
    /// SQRDMLAH (by element), scalar
    sqrdmlah_elem_s(SQRDMLAH, 0);
    /// SQRDMLSH (by element), scalar
    sqrdmlsh_elem_s(SQRDMLAH, 1);
}

// defines: fmul_elem_v fmulx_elem_v fmla_elem_v fmls_elem_v fmul_elem_s fmulx_elem_s fmla_elem_s fmls_elem_s
methods! { SimdElement, fp_element:
    /// FMUL (by element)
    fmul_elem_v(FMUL);
    /// FMULX (by element)
    fmulx_elem_v(FMULX);
    /// FMLA (by element)
    fmla_elem_v(FMLA);
    /// FMLS (by element)
    fmls_elem_v(FMLS);
}
methods! { ScalarElement, fp_element_scalar:
    /// FMUL (by element), scalar
    fmul_elem_s(FMUL);
    /// FMULX (by element), scalar
    fmulx_elem_s(FMULX);
    /// FMLA (by element), scalar
    fmla_elem_s(FMLA);
    /// FMLS (by element), scalar
    fmls_elem_s(FMLS);
}

// defines: sdot_elem_v udot_elem_v fmlal_elem_v fmlsl_elem_v fmlal2_elem_v fmlsl2_elem_v fcmla_elem_v
methods! { SimdElement, dot_element:
    /// SDOT (by element)
    sdot_elem_v(SDOT);
    /// UDOT (by element)
    udot_elem_v(UDOT);
}
methods! { SimdElement, multiply_long_half_element:
    /// FMLAL (by element)
    fmlal_elem_v(false, 0);
    /// FMLSL (by element)
    fmlsl_elem_v(false, 1);
    /// FMLAL2 (by element)
    fmlal2_elem_v(true, 0);
    /// FMLSL2 (by element)
    fmlsl2_elem_v(true, 1);
}
methods! { SimdFcmlaElement, complex_multiply_element:
    /// FCMLA (by element)
    fcmla_elem_v();
}

impl Translator<'_> {
    /// The element in every lane.
    fn operand(&mut self, i: SimdElement, size: u8) -> Val {
        let (register, index) = element(size, i.h, i.l, i.m, i.rm);
        self.duplicate(register, size, index)
    }
    /// The element in the lowest lane, zeros above it.
    fn scalar_operand(&mut self, i: ScalarElement, size: u8) -> Val {
        let (register, index) = element(size, i.h, i.l, i.m, i.rm);
        let v = self.q(register);
        let element = self.ir.extract(lane(size), v, index);
        let zero = self.ir.imm_v(0);
        self.ir.insert(lane(size), zero, 0, element)
    }

    fn multiply_element(&mut self, i: SimdElement, accumulate: Option<B>) -> Next {
        let (n, m) = (self.q(i.rn), self.operand(i, i.size));
        let mut v = self.ir.vbin(B::Mul, lane(i.size), n, m);
        if let Some(op) = accumulate {
            let d = self.q(i.rd);
            v = self.ir.vbin(op, lane(i.size), d, v);
        }
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    fn multiply_long_element(&mut self, i: SimdElement, signed: bool, accumulate: Option<B>) -> Next {
        let wide = lane(i.size + 1);
        let n = self.widen(i.rn, i.size, i.q, signed);
        let m = self.operand(i, i.size);
        let m = self.ir.vun(if signed { VUnary::WidenLowS } else { VUnary::WidenLowU }, lane(i.size), m);
        let mut v = self.ir.vbin(B::Mul, wide, n, m);
        if let Some(op) = accumulate {
            let d = self.q(i.rd);
            v = self.ir.vbin(op, wide, d, v);
        }
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn multiply_doubling_element(&mut self, i: SimdElement, id: HelperId, n: u32) -> Next {
        let args = [self.q(i.rd), self.half(i.rn, i.q), self.operand(i, i.size)];
        self.set_vector(i.rd, id, i.size, 16, n, args)
    }
    fn multiply_doubling_element_scalar(&mut self, i: ScalarElement, id: HelperId, n: u32) -> Next {
        let args = [self.q(i.rd), self.low_lane(i.rn, lane(i.size)), self.scalar_operand(i, i.size)];
        self.set_vector(i.rd, id, i.size, 2 << i.size, n, args)
    }

    fn multiply_high_element(&mut self, i: SimdElement, id: HelperId, n: u32) -> Next {
        let (a, b) = (self.q(i.rn), self.operand(i, i.size));
        let args = if id == SQDMULH { [a, b, b] } else { [self.q(i.rd), a, b] };
        self.set_vector(i.rd, id, i.size, bytes(i.q), n, args)
    }
    fn multiply_high_element_scalar(&mut self, i: ScalarElement, id: HelperId, n: u32) -> Next {
        let (a, b) = (self.q(i.rn), self.scalar_operand(i, i.size));
        let args = if id == SQDMULH { [a, b, b] } else { [self.q(i.rd), a, b] };
        self.set_vector(i.rd, id, i.size, 1 << i.size, n, args)
    }

    fn fp_element(&mut self, i: SimdElement, id: HelperId) -> Next {
        let size = fp_element_size(i.size);
        let (a, b) = (self.q(i.rn), self.operand(i, size));
        let args = if id == FMLA || id == FMLS { [self.q(i.rd), a, b] } else { [a, b, b] };
        self.set_vector(i.rd, id, size, bytes(i.q), 0, args)
    }
    fn fp_element_scalar(&mut self, i: ScalarElement, id: HelperId) -> Next {
        let size = fp_element_size(i.size);
        // Only the lowest lane of the operands counts.
        let (register, index) = element(size, i.h, i.l, i.m, i.rm);
        let b = if index == 0 { self.q(register) } else { self.duplicate(register, size, index) };
        let a = self.q(i.rn);
        let args = if id == FMLA || id == FMLS { [self.q(i.rd), a, b] } else { [a, b, b] };
        self.set_vector(i.rd, id, size, 1 << size, 0, args)
    }

    fn dot_element(&mut self, i: SimdElement, id: HelperId) -> Next {
        let args = [self.q(i.rd), self.q(i.rn), self.operand(i, 2)];
        self.set_vector(i.rd, id, 2, bytes(i.q), 0, args)
    }

    fn multiply_long_half_element(&mut self, i: SimdElement, upper: bool, subtract: u32) -> Next {
        let args = [self.q(i.rd), self.upper_part(i.rn, i.q, upper), self.operand(i, 1)];
        self.set_vector(i.rd, FMLAL, 2, bytes(i.q), subtract, args)
    }

    fn complex_multiply_element(&mut self, i: SimdFcmlaElement) -> Next {
        let (h, l) = (u8::from(i.h), u8::from(i.l));
        let index = if i.size == 1 { h << 1 | l } else { h };
        // A pair is duplicated as one element of twice the size.
        let pairs = self.duplicate(u8::from(i.m) << 4 | i.rm, i.size + 1, index);
        let args = [self.q(i.rd), self.q(i.rn), pairs];
        self.set_vector(i.rd, FCMLA, i.size, bytes(i.q), i.rot.into(), args)
    }
}
