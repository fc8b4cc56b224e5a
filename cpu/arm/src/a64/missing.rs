//! Stand-ins for methods that are not written yet: their instructions are undefined.
use super::*;

impl Translator<'_> {
    pub fn abs_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn abs_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn add_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn add_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn addhn_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn addp_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn addp_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn addv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn aesd(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn aese(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn aesimc(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn aesmc(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn and_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn bcax(&mut self, _: Crypto4Reg) -> Next {
        self.undefined()
    }
    pub fn bic_imm_v(&mut self, _: SimdModImm) -> Next {
        self.undefined()
    }
    pub fn bic_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn bif_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn bit_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn bsl_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn cls_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn clz_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn cmeq0_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn cmeq0_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn cmeq_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn cmeq_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn cmge0_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn cmge0_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn cmge_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn cmge_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn cmgt0_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn cmgt0_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn cmgt_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn cmgt_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn cmhi_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn cmhi_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn cmhs_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn cmhs_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn cmle0_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn cmle0_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn cmlt0_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn cmlt0_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn cmtst_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn cmtst_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn cnt_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn dup_elem_s(&mut self, _: SimdCopy1) -> Next {
        self.undefined()
    }
    pub fn dup_elem_v(&mut self, _: SimdCopy) -> Next {
        self.undefined()
    }
    pub fn dup_general(&mut self, _: SimdCopy) -> Next {
        self.undefined()
    }
    pub fn eor3(&mut self, _: Crypto4Reg) -> Next {
        self.undefined()
    }
    pub fn eor_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn ext_v(&mut self, _: SimdExt) -> Next {
        self.undefined()
    }
    pub fn fabd_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn fabd_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fabs_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn fabs_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn facge_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn facge_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn facgt_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn facgt_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fadd_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fadd_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn faddp_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn faddp_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcadd_v(&mut self, _: SimdFcadd) -> Next {
        self.undefined()
    }
    pub fn fccmp_s(&mut self, _: FpCondCompare) -> Next {
        self.undefined()
    }
    pub fn fcmeq0_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmeq0_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmeq_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcmeq_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcmge0_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmge0_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmge_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcmge_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcmgt0_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmgt0_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmgt_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcmgt_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fcmla_elem_v(&mut self, _: SimdFcmlaElement) -> Next {
        self.undefined()
    }
    pub fn fcmla_v(&mut self, _: SimdFcmla) -> Next {
        self.undefined()
    }
    pub fn fcmle0_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmle0_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmlt0_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmlt0_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcmp_s(&mut self, _: FpCompare) -> Next {
        self.undefined()
    }
    pub fn fcsel_s(&mut self, _: FpCondSelect) -> Next {
        self.undefined()
    }
    pub fn fcvt_s(&mut self, _: FpConvertPrecision) -> Next {
        self.undefined()
    }
    pub fn fcvtas_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtas_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtas_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtau_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtau_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtau_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtl_v(&mut self, _: SimdPrecision) -> Next {
        self.undefined()
    }
    pub fn fcvtms_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtms_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtms_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtmu_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtmu_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtmu_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtn_v(&mut self, _: SimdPrecision) -> Next {
        self.undefined()
    }
    pub fn fcvtns_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtns_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtns_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtnu_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtnu_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtnu_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtps_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtps_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtps_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtpu_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtpu_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtpu_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtxn_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtxn_v(&mut self, _: SimdPrecision) -> Next {
        self.undefined()
    }
    pub fn fcvtzs_fixed(&mut self, _: FpFixed) -> Next {
        self.undefined()
    }
    pub fn fcvtzs_fixed_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn fcvtzs_fixed_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn fcvtzs_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtzs_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtzs_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtzu_fixed(&mut self, _: FpFixed) -> Next {
        self.undefined()
    }
    pub fn fcvtzu_fixed_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn fcvtzu_fixed_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn fcvtzu_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fcvtzu_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fcvtzu_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fdiv_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fdiv_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fjcvtzs(&mut self, _: FpIntFixedSize) -> Next {
        self.undefined()
    }
    pub fn fmadd_s(&mut self, _: FpDataProc3) -> Next {
        self.undefined()
    }
    pub fn fmax_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fmax_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmaxnm_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fmaxnm_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmaxnmp_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fmaxnmp_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmaxnmv(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fmaxp_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fmaxp_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmaxv(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fmin_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fmin_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fminnm_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fminnm_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fminnmp_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fminnmp_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fminnmv(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fminp_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn fminp_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fminv(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fmla_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn fmla_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmla_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmlal2_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmlal2_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn fmlal_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmlal_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn fmls_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn fmls_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmls_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmlsl2_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmlsl2_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn fmlsl_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmlsl_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn fmov_from_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fmov_imm_s(&mut self, _: FpImm) -> Next {
        self.undefined()
    }
    pub fn fmov_imm_v(&mut self, _: SimdModImm) -> Next {
        self.undefined()
    }
    pub fn fmov_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn fmov_to_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn fmov_top_from_int(&mut self, _: FpIntFixedSize) -> Next {
        self.undefined()
    }
    pub fn fmov_top_to_int(&mut self, _: FpIntFixedSize) -> Next {
        self.undefined()
    }
    pub fn fmsub_s(&mut self, _: FpDataProc3) -> Next {
        self.undefined()
    }
    pub fn fmul_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn fmul_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmul_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fmul_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmulx_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn fmulx_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn fmulx_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn fmulx_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fneg_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn fneg_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fnmadd_s(&mut self, _: FpDataProc3) -> Next {
        self.undefined()
    }
    pub fn fnmsub_s(&mut self, _: FpDataProc3) -> Next {
        self.undefined()
    }
    pub fn fnmul_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn frecpe_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn frecpe_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frecps_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn frecps_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn frecpx_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn frint32x_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frint32x_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frint32z_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frint32z_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frint64x_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frint64x_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frint64z_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frint64z_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frinta_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frinta_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frinti_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frinti_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frintm_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frintm_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frintn_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frintn_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frintp_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frintp_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frintx_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frintx_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frintz_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn frintz_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frsqrte_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn frsqrte_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn frsqrts_s(&mut self, _: Scalar3SameFp) -> Next {
        self.undefined()
    }
    pub fn frsqrts_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn fsqrt_s(&mut self, _: FpDataProc1) -> Next {
        self.undefined()
    }
    pub fn fsqrt_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn fsub_s(&mut self, _: FpDataProc2) -> Next {
        self.undefined()
    }
    pub fn fsub_v(&mut self, _: Simd3SameFp) -> Next {
        self.undefined()
    }
    pub fn ins_elem(&mut self, _: SimdInsElement) -> Next {
        self.undefined()
    }
    pub fn ins_general(&mut self, _: SimdCopy1) -> Next {
        self.undefined()
    }
    pub fn ld_multiple(&mut self, _: SimdMultiple) -> Next {
        self.undefined()
    }
    pub fn ld_multiple_post(&mut self, _: SimdMultiplePost) -> Next {
        self.undefined()
    }
    pub fn ld_replicate(&mut self, _: SimdReplicate) -> Next {
        self.undefined()
    }
    pub fn ld_replicate_post(&mut self, _: SimdReplicatePost) -> Next {
        self.undefined()
    }
    pub fn ld_single(&mut self, _: SimdSingle) -> Next {
        self.undefined()
    }
    pub fn ld_single_post(&mut self, _: SimdSinglePost) -> Next {
        self.undefined()
    }
    pub fn ldnp_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldp_post_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldp_pre_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldp_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldr_imm_v(&mut self, _: LoadStoreImm) -> Next {
        self.undefined()
    }
    pub fn ldr_literal_v(&mut self, _: LoadLiteral) -> Next {
        self.undefined()
    }
    pub fn ldr_post_v(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldr_pre_v(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldr_reg_v(&mut self, _: LoadStoreReg) -> Next {
        self.undefined()
    }
    pub fn ldur_v(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn mla_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn mla_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn mls_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn mls_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn movi_v(&mut self, _: SimdModImm) -> Next {
        self.undefined()
    }
    pub fn mul_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn mul_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn mvni_v(&mut self, _: SimdModImm) -> Next {
        self.undefined()
    }
    pub fn neg_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn neg_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn not_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn orn_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn orr_imm_v(&mut self, _: SimdModImm) -> Next {
        self.undefined()
    }
    pub fn orr_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn pmul_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn pmull_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn raddhn_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn rax1(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn rbit_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn rev16_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn rev32_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn rev64_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn rshrn_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn rsubhn_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn saba_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sabal_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn sabd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sabdl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn sadalp_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn saddl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn saddlp_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn saddlv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn saddw_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn scvtf_fixed(&mut self, _: FpFixed) -> Next {
        self.undefined()
    }
    pub fn scvtf_fixed_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn scvtf_fixed_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn scvtf_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn scvtf_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn scvtf_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn sdot_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sdot_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn sha1c(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha1h(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn sha1m(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha1p(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha1su0(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha1su1(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn sha256h(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha256h2(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha256su0(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn sha256su1(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha512h(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha512h2(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sha512su0(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn sha512su1(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn shadd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn shl_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn shl_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn shll_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn shrn_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn shsub_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sli_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sli_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sm3partw1(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sm3partw2(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn sm3ss1(&mut self, _: Crypto4Reg) -> Next {
        self.undefined()
    }
    pub fn sm3tt1a(&mut self, _: Sm3tt) -> Next {
        self.undefined()
    }
    pub fn sm3tt1b(&mut self, _: Sm3tt) -> Next {
        self.undefined()
    }
    pub fn sm3tt2a(&mut self, _: Sm3tt) -> Next {
        self.undefined()
    }
    pub fn sm3tt2b(&mut self, _: Sm3tt) -> Next {
        self.undefined()
    }
    pub fn sm4e(&mut self, _: Crypto2Reg) -> Next {
        self.undefined()
    }
    pub fn sm4ekey(&mut self, _: Crypto3Reg) -> Next {
        self.undefined()
    }
    pub fn smax_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn smaxp_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn smaxv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn smin_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sminp_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sminv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn smlal_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn smlal_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn smlsl_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn smlsl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn smov(&mut self, _: SimdCopy) -> Next {
        self.undefined()
    }
    pub fn smull_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn smull_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn sqabs_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn sqabs_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn sqadd_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqadd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqdmlal_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqdmlal_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqdmlal_s(&mut self, _: Scalar3Different) -> Next {
        self.undefined()
    }
    pub fn sqdmlal_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn sqdmlsl_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqdmlsl_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqdmlsl_s(&mut self, _: Scalar3Different) -> Next {
        self.undefined()
    }
    pub fn sqdmlsl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn sqdmulh_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqdmulh_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqdmulh_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqdmulh_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqdmull_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqdmull_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqdmull_s(&mut self, _: Scalar3Different) -> Next {
        self.undefined()
    }
    pub fn sqdmull_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn sqneg_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn sqneg_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn sqrdmlah_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqrdmlah_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqrdmlah_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqrdmlah_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqrdmlsh_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqrdmlsh_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqrdmlsh_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqrdmlsh_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqrdmulh_elem_s(&mut self, _: ScalarElement) -> Next {
        self.undefined()
    }
    pub fn sqrdmulh_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn sqrdmulh_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqrdmulh_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqrshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqrshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqrshrn_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqrshrn_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqrshrun_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqrshrun_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshl_imm_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshl_imm_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqshlu_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshlu_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshrn_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshrn_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshrun_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqshrun_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sqsub_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sqsub_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sqxtn_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn sqxtn_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn sqxtun_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn sqxtun_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn srhadd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sri_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sri_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn srshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn srshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn srshr_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn srshr_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn srsra_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn srsra_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn sshll_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn sshr_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn sshr_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn ssra_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn ssra_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn ssubl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn ssubw_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn st_multiple(&mut self, _: SimdMultiple) -> Next {
        self.undefined()
    }
    pub fn st_multiple_post(&mut self, _: SimdMultiplePost) -> Next {
        self.undefined()
    }
    pub fn st_single(&mut self, _: SimdSingle) -> Next {
        self.undefined()
    }
    pub fn st_single_post(&mut self, _: SimdSinglePost) -> Next {
        self.undefined()
    }
    pub fn stnp_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn stp_post_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn stp_pre_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn stp_v(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn str_imm_v(&mut self, _: LoadStoreImm) -> Next {
        self.undefined()
    }
    pub fn str_post_v(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn str_pre_v(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn str_reg_v(&mut self, _: LoadStoreReg) -> Next {
        self.undefined()
    }
    pub fn stur_v(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn sub_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn sub_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn subhn_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn suqadd_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn suqadd_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn tbl_v(&mut self, _: SimdTable) -> Next {
        self.undefined()
    }
    pub fn tbx_v(&mut self, _: SimdTable) -> Next {
        self.undefined()
    }
    pub fn trn1_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn trn2_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uaba_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uabal_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn uabd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uabdl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn uadalp_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn uaddl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn uaddlp_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn uaddlv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn uaddw_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn ucvtf_fixed(&mut self, _: FpFixed) -> Next {
        self.undefined()
    }
    pub fn ucvtf_fixed_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn ucvtf_fixed_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn ucvtf_int(&mut self, _: FpInt) -> Next {
        self.undefined()
    }
    pub fn ucvtf_s(&mut self, _: Scalar2RegFp) -> Next {
        self.undefined()
    }
    pub fn ucvtf_v(&mut self, _: Simd2RegFp) -> Next {
        self.undefined()
    }
    pub fn udot_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn udot_v(&mut self, _: Simd3Reg) -> Next {
        self.undefined()
    }
    pub fn uhadd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uhsub_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn umax_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn umaxp_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn umaxv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn umin_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uminp_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uminv(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn umlal_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn umlal_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn umlsl_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn umlsl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn umov(&mut self, _: SimdCopy) -> Next {
        self.undefined()
    }
    pub fn umull_elem_v(&mut self, _: SimdElement) -> Next {
        self.undefined()
    }
    pub fn umull_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn uqadd_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn uqadd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uqrshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn uqrshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uqrshrn_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn uqrshrn_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn uqshl_imm_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn uqshl_imm_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn uqshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn uqshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uqshrn_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn uqshrn_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn uqsub_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn uqsub_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uqxtn_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn uqxtn_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn urecpe_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn urhadd_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn urshl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn urshl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn urshr_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn urshr_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn ursqrte_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn ursra_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn ursra_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn ushl_s(&mut self, _: Scalar3Same) -> Next {
        self.undefined()
    }
    pub fn ushl_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn ushll_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn ushr_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn ushr_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn usqadd_s(&mut self, _: Scalar2Reg) -> Next {
        self.undefined()
    }
    pub fn usqadd_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn usra_s(&mut self, _: ScalarShiftImm) -> Next {
        self.undefined()
    }
    pub fn usra_v(&mut self, _: SimdShiftImm) -> Next {
        self.undefined()
    }
    pub fn usubl_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn usubw_v(&mut self, _: Simd3Different) -> Next {
        self.undefined()
    }
    pub fn uzp1_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn uzp2_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn xar(&mut self, _: Xar) -> Next {
        self.undefined()
    }
    pub fn xtn_v(&mut self, _: Simd2Reg) -> Next {
        self.undefined()
    }
    pub fn zip1_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
    pub fn zip2_v(&mut self, _: Simd3Same) -> Next {
        self.undefined()
    }
}
