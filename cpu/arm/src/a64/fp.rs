//! Scalar floating point (Arm ARM DDI 0487, C4.1.97 "Data Processing -- Scalar Floating-Point and Advanced SIMD").
//!
//! `ftype` is 0 for single, 1 for double and 3 for half precision.

use super::simd::*;
use super::*;
use crate::a64::translator::Flags;
use tcg::Lane;
use tcg::ir::{Binary, FloatCond, HelperId, Ty, Val};

/// The lane of a format.
fn format_lane(ftype: u8) -> Lane {
    match ftype {
        0 => Lane::S,
        1 => Lane::D,
        _ => Lane::H,
    }
}

/// log2 of the bytes of a format.
fn format_size(ftype: u8) -> u8 {
    match ftype {
        0 => 2,
        1 => 3,
        _ => 1,
    }
}

// defines: fmul_s fdiv_s fadd_s fsub_s fmax_s fmin_s fmaxnm_s fminnm_s fnmul_s
methods! { FpDataProc2, fp_two:
    /// FMUL (scalar)
    fmul_s(FMUL);
    /// FDIV (scalar)
    fdiv_s(FDIV);
    /// FADD (scalar)
    fadd_s(FADD);
    /// FSUB (scalar)
    fsub_s(FSUB);
    /// FMAX (scalar)
    fmax_s(FMAX);
    /// FMIN (scalar)
    fmin_s(FMIN);
    /// FMAXNM (scalar)
    fmaxnm_s(FMAXNM);
    /// FMINNM (scalar)
    fminnm_s(FMINNM);
    /// FNMUL (scalar)
    fnmul_s(FNMUL);
}

// defines: fmadd_s fmsub_s fnmadd_s fnmsub_s
methods! { FpDataProc3, fp_three:
    /// FMADD
    fmadd_s(FMLA);
    /// FMSUB
    fmsub_s(FMLS);
    /// FNMADD
    fnmadd_s(FNMLA);
    /// FNMSUB
    fnmsub_s(FNMLS);
}

// defines: frintn_s frintp_s frintm_s frintz_s frinta_s frintx_s frinti_s frint32z_s frint32x_s frint64z_s frint64x_s
methods! { FpDataProc1, fp_one:
    /// FRINTN (scalar)
    frintn_s(FRINT, ROUND_N);
    /// FRINTP (scalar)
    frintp_s(FRINT, ROUND_P);
    /// FRINTM (scalar)
    frintm_s(FRINT, ROUND_M);
    /// FRINTZ (scalar)
    frintz_s(FRINT, ROUND_Z);
    /// FRINTA (scalar)
    frinta_s(FRINT, ROUND_A);
    /// FRINTX (scalar)
    frintx_s(FRINT, ROUND_FPCR | ROUND_EXACT);
    /// FRINTI (scalar)
    frinti_s(FRINT, ROUND_FPCR);
    /// FRINT32Z (scalar)
    frint32z_s(FRINT32, ROUND_Z);
    /// FRINT32X (scalar)
    frint32x_s(FRINT32, ROUND_FPCR);
    /// FRINT64Z (scalar)
    frint64z_s(FRINT64, ROUND_Z);
    /// FRINT64X (scalar)
    frint64x_s(FRINT64, ROUND_FPCR);
}

// defines: fcvtns_int fcvtnu_int fcvtps_int fcvtpu_int fcvtms_int fcvtmu_int fcvtzs_int fcvtzu_int fcvtas_int fcvtau_int
methods! { FpInt, fp_to_int:
    /// FCVTNS (scalar)
    fcvtns_int(ROUND_N | FIXED_SIGNED);
    /// FCVTNU (scalar)
    fcvtnu_int(ROUND_N);
    /// FCVTPS (scalar)
    fcvtps_int(ROUND_P | FIXED_SIGNED);
    /// FCVTPU (scalar)
    fcvtpu_int(ROUND_P);
    /// FCVTMS (scalar)
    fcvtms_int(ROUND_M | FIXED_SIGNED);
    /// FCVTMU (scalar)
    fcvtmu_int(ROUND_M);
    /// FCVTZS (scalar, integer)
    fcvtzs_int(ROUND_Z | FIXED_SIGNED);
    /// FCVTZU (scalar, integer)
    fcvtzu_int(ROUND_Z);
    /// FCVTAS (scalar)
    fcvtas_int(ROUND_A | FIXED_SIGNED);
    /// FCVTAU (scalar)
    fcvtau_int(ROUND_A);
}
// defines: scvtf_int ucvtf_int
methods! { FpInt, int_to_fp:
    /// SCVTF (scalar, integer)
    scvtf_int(FIXED_SIGNED);
    /// UCVTF (scalar, integer)
    ucvtf_int(0);
}
// defines: scvtf_fixed ucvtf_fixed fcvtzs_fixed fcvtzu_fixed
methods! { FpFixed, fixed_to_fp:
    /// SCVTF (scalar, fixed-point)
    scvtf_fixed(FIXED_SIGNED);
    /// UCVTF (scalar, fixed-point)
    ucvtf_fixed(0);
}
methods! { FpFixed, fp_to_fixed:
    /// FCVTZS (scalar, fixed-point)
    fcvtzs_fixed(ROUND_Z | FIXED_SIGNED);
    /// FCVTZU (scalar, fixed-point)
    fcvtzu_fixed(ROUND_Z);
}

// defines: fmov_s fabs_s fneg_s fsqrt_s
methods! { FpDataProc1, fp_move:
    /// FMOV (register)
    fmov_s();
}
methods! { FpDataProc1, fp_change_sign:
    /// FABS (scalar)
    fabs_s(false);
    /// FNEG (scalar)
    fneg_s(true);
}
methods! { FpDataProc1, fp_one:
    /// FSQRT (scalar)
    fsqrt_s(FSQRT, 0);
}

impl Translator<'_> {
    /// Sets V`rd` to a scalar result in an `I64`.
    fn set_fp(&mut self, rd: u8, ftype: u8, result: Val) -> Next {
        self.set_scalar(rd, format_lane(ftype), result);
        Next::Continue
    }

    /// Sets V`rd` to the result of a vector helper that works on the lowest lane alone.
    fn set_fp_helper(&mut self, rd: u8, ftype: u8, id: HelperId, n: u32, args: [Val; 3]) -> Next {
        let size = format_size(ftype);
        self.set_vector(rd, id, size, 1 << size, n, args)
    }

    fn fp_one(&mut self, i: FpDataProc1, id: HelperId, n: u32) -> Next {
        let a = self.q(i.rn);
        self.set_fp_helper(i.rd, i.ftype, id, n, [a, a, a])
    }

    fn fp_two(&mut self, i: FpDataProc2, id: HelperId) -> Next {
        let (a, b) = (self.q(i.rn), self.q(i.rm));
        self.set_fp_helper(i.rd, i.ftype, id, 0, [a, b, b])
    }

    fn fp_three(&mut self, i: FpDataProc3, id: HelperId) -> Next {
        let args = [self.q(i.ra), self.q(i.rn), self.q(i.rm)];
        self.set_fp_helper(i.rd, i.ftype, id, 0, args)
    }

    fn fp_move(&mut self, i: FpDataProc1) -> Next {
        let v = self.low_lane(i.rn, format_lane(i.ftype));
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn fp_change_sign(&mut self, i: FpDataProc1, negate: bool) -> Next {
        let bits = format_lane(i.ftype).ty().bits();
        let sign = 1u128 << (bits - 1);
        let v = if negate {
            let (low, sign) = (self.low_lane(i.rn, format_lane(i.ftype)), self.ir.imm_v(sign));
            self.vxor(low, sign)
        } else {
            let (n, magnitude) = (self.q(i.rn), self.ir.imm_v(sign - 1));
            self.vand(n, magnitude)
        };
        self.set_q(i.rd, v);
        Next::Continue
    }

    /// FCVT: from `ftype` to `opc`, coded alike.
    pub fn fcvt_s(&mut self, i: FpConvertPrecision) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        match (i.ftype, i.opc) {
            (0, 1) => {
                let a = self.q(i.rn);
                return self.set_vector(i.rd, FCVT_WIDEN, 3, 8, 0, [a, a, a]);
            }
            (1, 0) => {
                let a = self.q(i.rn);
                return self.set_vector(i.rd, FCVT_NARROW, 3, 8, 0, [a, a, a]);
            }
            _ => {}
        }
        let a = self.scalar(i.rn, format_lane(i.ftype));
        let helper = match i.opc {
            0 => FCVT_TO_S,
            1 => FCVT_TO_D,
            _ => FCVT_TO_H,
        };
        let result = self.ir.call(helper.of(i.ftype), &[a]);
        self.set_fp(i.rd, i.opc, result)
    }

    /// The flags of a comparison in bits 31 to 28, in whatever environment.
    fn compare_exactly(&mut self, ftype: u8, a: Val, b: Val, signal: bool) -> Val {
        let signal = self.ir.imm64(signal.into());
        self.ir.call(FCMP_SCALAR.of(ftype), &[a, b, signal])
    }

    /// Raises what the comparison of the lowest lanes raises; gives N, Z, C and V. Only where no operand is flushed.
    fn compare(&mut self, ftype: u8, a: Val, b: Val, signal: bool) -> [Val; 4] {
        let size = format_size(ftype);
        self.vector(FCMP, size, 1 << size, signal.into(), [a, b, b]);
        [FloatCond::Lt, FloatCond::Eq, FloatCond::Nlt, FloatCond::Un].map(|c| self.ir.float_cmp(c, lane(size), a, b))
    }

    /// FCMP, FCMPE
    pub fn fcmp_s(&mut self, i: FpCompare) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let lane = format_lane(i.ftype);
        if !self.ir.host_float || lane == Lane::H {
            let a = self.scalar(i.rn, lane);
            let b = if i.z { self.ir.imm(lane.ty(), 0) } else { self.scalar(i.rm, lane) };
            let nzcv = self.compare_exactly(i.ftype, a, b, i.e);
            self.set_nzcv(nzcv);
            return Next::Continue;
        }
        let a = self.q(i.rn);
        let b = if i.z { self.ir.imm_v(0) } else { self.q(i.rm) };
        let flags = self.compare(i.ftype, a, b, i.e);
        self.set_each_flag(flags);
        self.flags = Flags::Float { lane, a, b };
        Next::Continue
    }

    /// FCCMP, FCCMPE
    pub fn fccmp_s(&mut self, i: FpCondCompare) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let holds = self.condition(i.cond);
        let lane = format_lane(i.ftype);
        if !self.ir.host_float || lane == Lane::H {
            let (a, b) = (self.scalar(i.rn, lane), self.scalar(i.rm, lane));
            // A comparison that is not made must raise nothing: zeros are compared instead.
            let zero = self.ir.imm(lane.ty(), 0);
            let (a, b) = (self.ir.select(lane.ty(), holds, a, zero), self.ir.select(lane.ty(), holds, b, zero));
            let compared = self.compare_exactly(i.ftype, a, b, i.e);
            let otherwise = self.ir.imm64(u64::from(i.nzcv) << 28);
            let nzcv = self.ir.select(Ty::I64, holds, compared, otherwise);
            self.set_nzcv(nzcv);
            return Next::Continue;
        }
        let (a, b) = (self.q(i.rn), self.q(i.rm));
        let zero = self.ir.imm_v(0);
        let (a, b) = (self.ir.select(Ty::V128, holds, a, zero), self.ir.select(Ty::V128, holds, b, zero));
        let mut flags = self.compare(i.ftype, a, b, i.e);
        for (flag, bit) in flags.iter_mut().zip([3, 2, 1, 0]) {
            let otherwise = self.ir.imm(Ty::I8, u64::from(i.nzcv >> bit & 1));
            *flag = self.ir.select(Ty::I8, holds, *flag, otherwise);
        }
        self.set_each_flag(flags);
        Next::Continue
    }

    /// FCSEL
    pub fn fcsel_s(&mut self, i: FpCondSelect) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let holds = self.condition(i.cond);
        let (a, b) = (self.q(i.rn), self.q(i.rm));
        let v = self.ir.select(Ty::V128, holds, a, b);
        self.set_low_lane(i.rd, format_lane(i.ftype), v);
        Next::Continue
    }

    /// FMOV (scalar, immediate)
    pub fn fmov_imm_s(&mut self, i: FpImm) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let v = self.ir.imm_v(fp_imm(format_size(i.ftype), i.imm8).into());
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn integer_result(&mut self, ftype: u8, sf: bool, rn: u8, rd: u8, how: u32) -> Next {
        let how = how | if sf { FIXED_64 } else { 0 };
        let (a, how) = (self.scalar(rn, format_lane(ftype)), self.ir.imm64(how.into()));
        let result = self.ir.call(FCVT_TO_INT.of(ftype), &[a, how]);
        self.set_x(rd, result);
        Next::Continue
    }
    fn integer_operand(&mut self, ftype: u8, sf: bool, rn: u8, rd: u8, how: u32) -> Next {
        let how = how | if sf { FIXED_64 } else { 0 };
        let (a, how) = (self.x(rn, Self::ty(sf)), self.ir.imm64(how.into()));
        let helper: HelperId = CVTF_FROM_INT.of(ftype);
        let result = self.ir.call(helper, &[a, how]);
        self.set_fp(rd, ftype, result)
    }
    fn fp_to_int(&mut self, i: FpInt, how: u32) -> Next {
        self.integer_result(i.ftype, i.sf, i.rn, i.rd, how)
    }
    fn int_to_fp(&mut self, i: FpInt, how: u32) -> Next {
        self.integer_operand(i.ftype, i.sf, i.rn, i.rd, how)
    }
    fn fp_to_fixed(&mut self, i: FpFixed, how: u32) -> Next {
        let fbits = 64 - u32::from(i.scale);
        self.integer_result(i.ftype, i.sf, i.rn, i.rd, how | fbits << FIXED_FBITS_SHIFT)
    }
    fn fixed_to_fp(&mut self, i: FpFixed, how: u32) -> Next {
        let fbits = 64 - u32::from(i.scale);
        self.integer_operand(i.ftype, i.sf, i.rn, i.rd, how | fbits << FIXED_FBITS_SHIFT)
    }

    /// FMOV (general), to a general register
    pub fn fmov_to_int(&mut self, i: FpInt) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let a = self.scalar(i.rn, format_lane(i.ftype));
        self.set_x(i.rd, a);
        Next::Continue
    }
    /// FMOV (general), from a general register
    pub fn fmov_from_int(&mut self, i: FpInt) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let lane = format_lane(i.ftype);
        let a = self.x(i.rn, lane.ty());
        self.set_scalar(i.rd, lane, a);
        Next::Continue
    }
    /// FMOV (general), from Vn.D[1]
    pub fn fmov_top_to_int(&mut self, i: FpIntFixedSize) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let v = self.q(i.rn);
        let a = self.ir.extract(Lane::D, v, 1);
        self.set_x(i.rd, a);
        Next::Continue
    }
    /// FMOV (general), to Vd.D[1]
    pub fn fmov_top_from_int(&mut self, i: FpIntFixedSize) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let (d, a) = (self.q(i.rd), self.x(i.rn, Ty::I64));
        let v = self.ir.insert(Lane::D, d, 1, a);
        self.set_q(i.rd, v);
        Next::Continue
    }

    /// FJCVTZS: also sets Z if the conversion was exact, and clears the other flags.
    pub fn fjcvtzs(&mut self, i: FpIntFixedSize) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let a = self.scalar(i.rn, Lane::D);
        let both = self.ir.call(FJCVTZS, &[a]);
        let result = self.ir.trunc(Ty::I32, both);
        let z = self.ir.shift_imm(Binary::Shr, Ty::I64, both, 32);
        let nzcv = self.ir.shift_imm(Binary::Shl, Ty::I64, z, 30);
        self.set_nzcv(nzcv);
        self.set_x(i.rd, result);
        Next::Continue
    }
}
