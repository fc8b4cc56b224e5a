//! Stand-ins for methods that are not written yet: their instructions are undefined.
use super::*;

impl Translator<'_> {
    pub fn adc(&mut self, _: AddSubCarry) -> Next {
        self.undefined()
    }
    pub fn adcs(&mut self, _: AddSubCarry) -> Next {
        self.undefined()
    }
    pub fn add_ext(&mut self, _: AddSubExt) -> Next {
        self.undefined()
    }
    pub fn add_imm(&mut self, _: AddSubImm) -> Next {
        self.undefined()
    }
    pub fn add_shift(&mut self, _: AddSubShift) -> Next {
        self.undefined()
    }
    pub fn adds_ext(&mut self, _: AddSubExt) -> Next {
        self.undefined()
    }
    pub fn adds_imm(&mut self, _: AddSubImm) -> Next {
        self.undefined()
    }
    pub fn adds_shift(&mut self, _: AddSubShift) -> Next {
        self.undefined()
    }
    pub fn adr(&mut self, _: PcRel) -> Next {
        self.undefined()
    }
    pub fn adrp(&mut self, _: PcRel) -> Next {
        self.undefined()
    }
    pub fn and_imm(&mut self, _: LogicalImm) -> Next {
        self.undefined()
    }
    pub fn and_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn ands_imm(&mut self, _: LogicalImm) -> Next {
        self.undefined()
    }
    pub fn ands_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn asrv(&mut self, _: DataProc2) -> Next {
        self.undefined()
    }
    pub fn autda(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn autdb(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn autia(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn autia1716(&mut self) -> Next {
        self.undefined()
    }
    pub fn autiasp(&mut self) -> Next {
        self.undefined()
    }
    pub fn autiaz(&mut self) -> Next {
        self.undefined()
    }
    pub fn autib(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn autib1716(&mut self) -> Next {
        self.undefined()
    }
    pub fn autibsp(&mut self) -> Next {
        self.undefined()
    }
    pub fn autibz(&mut self) -> Next {
        self.undefined()
    }
    pub fn axflag(&mut self) -> Next {
        self.undefined()
    }
    pub fn b(&mut self, _: BranchImm) -> Next {
        self.undefined()
    }
    pub fn b_cond(&mut self, _: BranchCond) -> Next {
        self.undefined()
    }
    pub fn bfm(&mut self, _: Bitfield) -> Next {
        self.undefined()
    }
    pub fn bic_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn bics_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn bl(&mut self, _: BranchImm) -> Next {
        self.undefined()
    }
    pub fn blr(&mut self, _: BranchReg) -> Next {
        self.undefined()
    }
    pub fn blra(&mut self, _: BranchAuth) -> Next {
        self.undefined()
    }
    pub fn blraz(&mut self, _: BranchAuthZero) -> Next {
        self.undefined()
    }
    pub fn br(&mut self, _: BranchReg) -> Next {
        self.undefined()
    }
    pub fn bra(&mut self, _: BranchAuth) -> Next {
        self.undefined()
    }
    pub fn braz(&mut self, _: BranchAuthZero) -> Next {
        self.undefined()
    }
    pub fn brk(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn bti(&mut self, _: Bti) -> Next {
        self.undefined()
    }
    pub fn cas(&mut self, _: CompareSwap) -> Next {
        self.undefined()
    }
    pub fn casp(&mut self, _: CompareSwapPair) -> Next {
        self.undefined()
    }
    pub fn cbnz(&mut self, _: CompareBranch) -> Next {
        self.undefined()
    }
    pub fn cbz(&mut self, _: CompareBranch) -> Next {
        self.undefined()
    }
    pub fn ccmn_imm(&mut self, _: CondCompareImm) -> Next {
        self.undefined()
    }
    pub fn ccmn_reg(&mut self, _: CondCompareReg) -> Next {
        self.undefined()
    }
    pub fn ccmp_imm(&mut self, _: CondCompareImm) -> Next {
        self.undefined()
    }
    pub fn ccmp_reg(&mut self, _: CondCompareReg) -> Next {
        self.undefined()
    }
    pub fn cfinv(&mut self) -> Next {
        self.undefined()
    }
    pub fn clrex(&mut self, _: Barrier) -> Next {
        self.undefined()
    }
    pub fn cls(&mut self, _: DataProc1) -> Next {
        self.undefined()
    }
    pub fn clz(&mut self, _: DataProc1) -> Next {
        self.undefined()
    }
    pub fn crc32(&mut self, _: Crc32) -> Next {
        self.undefined()
    }
    pub fn crc32c(&mut self, _: Crc32) -> Next {
        self.undefined()
    }
    pub fn csdb(&mut self) -> Next {
        self.undefined()
    }
    pub fn csel(&mut self, _: CondSelect) -> Next {
        self.undefined()
    }
    pub fn csinc(&mut self, _: CondSelect) -> Next {
        self.undefined()
    }
    pub fn csinv(&mut self, _: CondSelect) -> Next {
        self.undefined()
    }
    pub fn csneg(&mut self, _: CondSelect) -> Next {
        self.undefined()
    }
    pub fn dcps1(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn dcps2(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn dcps3(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn dmb(&mut self, _: Barrier) -> Next {
        self.undefined()
    }
    pub fn drps(&mut self) -> Next {
        self.undefined()
    }
    pub fn dsb(&mut self, _: Barrier) -> Next {
        self.undefined()
    }
    pub fn eon_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn eor_imm(&mut self, _: LogicalImm) -> Next {
        self.undefined()
    }
    pub fn eor_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn eret(&mut self) -> Next {
        self.undefined()
    }
    pub fn ereta(&mut self, _: ReturnAuth) -> Next {
        self.undefined()
    }
    pub fn esb(&mut self) -> Next {
        self.undefined()
    }
    pub fn extr(&mut self, _: Extract) -> Next {
        self.undefined()
    }
    pub fn hint(&mut self, _: Hint) -> Next {
        self.undefined()
    }
    pub fn hlt(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn hvc(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn isb(&mut self, _: Barrier) -> Next {
        self.undefined()
    }
    pub fn ldadd(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldapr(&mut self, _: LoadStoreOrdered) -> Next {
        self.undefined()
    }
    pub fn ldapur(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldar(&mut self, _: LoadStoreOrdered) -> Next {
        self.undefined()
    }
    pub fn ldclr(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldeor(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldlar(&mut self, _: LoadStoreOrdered) -> Next {
        self.undefined()
    }
    pub fn ldnp(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldp(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldp_post(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldp_pre(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn ldr_imm(&mut self, _: LoadStoreImm) -> Next {
        self.undefined()
    }
    pub fn ldr_literal(&mut self, _: LoadLiteral) -> Next {
        self.undefined()
    }
    pub fn ldr_post(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldr_pre(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldr_reg(&mut self, _: LoadStoreReg) -> Next {
        self.undefined()
    }
    pub fn ldra(&mut self, _: LoadAuth) -> Next {
        self.undefined()
    }
    pub fn ldset(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldsmax(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldsmin(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldtr(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldumax(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldumin(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn ldur(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn ldxp(&mut self, _: LoadExclusivePair) -> Next {
        self.undefined()
    }
    pub fn ldxr(&mut self, _: LoadExclusive) -> Next {
        self.undefined()
    }
    pub fn lslv(&mut self, _: DataProc2) -> Next {
        self.undefined()
    }
    pub fn lsrv(&mut self, _: DataProc2) -> Next {
        self.undefined()
    }
    pub fn madd(&mut self, _: MulAdd) -> Next {
        self.undefined()
    }
    pub fn movk(&mut self, _: MoveWide) -> Next {
        self.undefined()
    }
    pub fn movn(&mut self, _: MoveWide) -> Next {
        self.undefined()
    }
    pub fn movz(&mut self, _: MoveWide) -> Next {
        self.undefined()
    }
    pub fn mrs(&mut self, _: SysReg) -> Next {
        self.undefined()
    }
    pub fn msr_imm(&mut self, _: MsrImm) -> Next {
        self.undefined()
    }
    pub fn msr_reg(&mut self, _: SysReg) -> Next {
        self.undefined()
    }
    pub fn msub(&mut self, _: MulAdd) -> Next {
        self.undefined()
    }
    pub fn orn_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn orr_imm(&mut self, _: LogicalImm) -> Next {
        self.undefined()
    }
    pub fn orr_shift(&mut self, _: LogicalShift) -> Next {
        self.undefined()
    }
    pub fn pacda(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn pacdb(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn pacga(&mut self, _: Pacga) -> Next {
        self.undefined()
    }
    pub fn pacia(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn pacia1716(&mut self) -> Next {
        self.undefined()
    }
    pub fn paciasp(&mut self) -> Next {
        self.undefined()
    }
    pub fn paciaz(&mut self) -> Next {
        self.undefined()
    }
    pub fn pacib(&mut self, _: PAuthReg) -> Next {
        self.undefined()
    }
    pub fn pacib1716(&mut self) -> Next {
        self.undefined()
    }
    pub fn pacibsp(&mut self) -> Next {
        self.undefined()
    }
    pub fn pacibz(&mut self) -> Next {
        self.undefined()
    }
    pub fn prfm_imm(&mut self, _: PrefetchImm) -> Next {
        self.undefined()
    }
    pub fn prfm_literal(&mut self, _: PrefetchLiteral) -> Next {
        self.undefined()
    }
    pub fn prfm_reg(&mut self, _: PrefetchReg) -> Next {
        self.undefined()
    }
    pub fn prfum(&mut self, _: PrefetchUnscaled) -> Next {
        self.undefined()
    }
    pub fn rbit(&mut self, _: DataProc1) -> Next {
        self.undefined()
    }
    pub fn ret(&mut self, _: BranchReg) -> Next {
        self.undefined()
    }
    pub fn reta(&mut self, _: ReturnAuth) -> Next {
        self.undefined()
    }
    pub fn rev16(&mut self, _: DataProc1) -> Next {
        self.undefined()
    }
    pub fn rev32(&mut self, _: DataProc1) -> Next {
        self.undefined()
    }
    pub fn rev64(&mut self, _: DataProc1) -> Next {
        self.undefined()
    }
    pub fn rmif(&mut self, _: Rmif) -> Next {
        self.undefined()
    }
    pub fn rorv(&mut self, _: DataProc2) -> Next {
        self.undefined()
    }
    pub fn sb(&mut self) -> Next {
        self.undefined()
    }
    pub fn sbc(&mut self, _: AddSubCarry) -> Next {
        self.undefined()
    }
    pub fn sbcs(&mut self, _: AddSubCarry) -> Next {
        self.undefined()
    }
    pub fn sbfm(&mut self, _: Bitfield) -> Next {
        self.undefined()
    }
    pub fn sdiv(&mut self, _: DataProc2) -> Next {
        self.undefined()
    }
    pub fn setf16(&mut self, _: Setf) -> Next {
        self.undefined()
    }
    pub fn setf8(&mut self, _: Setf) -> Next {
        self.undefined()
    }
    pub fn sev(&mut self) -> Next {
        self.undefined()
    }
    pub fn sevl(&mut self) -> Next {
        self.undefined()
    }
    pub fn smaddl(&mut self, _: MulAddLong) -> Next {
        self.undefined()
    }
    pub fn smc(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn smsubl(&mut self, _: MulAddLong) -> Next {
        self.undefined()
    }
    pub fn smulh(&mut self, _: MulHigh) -> Next {
        self.undefined()
    }
    pub fn stllr(&mut self, _: LoadStoreOrdered) -> Next {
        self.undefined()
    }
    pub fn stlr(&mut self, _: LoadStoreOrdered) -> Next {
        self.undefined()
    }
    pub fn stlur(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn stnp(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn stp(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn stp_post(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn stp_pre(&mut self, _: LoadStorePair) -> Next {
        self.undefined()
    }
    pub fn str_imm(&mut self, _: LoadStoreImm) -> Next {
        self.undefined()
    }
    pub fn str_post(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn str_pre(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn str_reg(&mut self, _: LoadStoreReg) -> Next {
        self.undefined()
    }
    pub fn sttr(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn stur(&mut self, _: LoadStoreImm9) -> Next {
        self.undefined()
    }
    pub fn stxp(&mut self, _: StoreExclusivePair) -> Next {
        self.undefined()
    }
    pub fn stxr(&mut self, _: StoreExclusive) -> Next {
        self.undefined()
    }
    pub fn sub_ext(&mut self, _: AddSubExt) -> Next {
        self.undefined()
    }
    pub fn sub_imm(&mut self, _: AddSubImm) -> Next {
        self.undefined()
    }
    pub fn sub_shift(&mut self, _: AddSubShift) -> Next {
        self.undefined()
    }
    pub fn subs_ext(&mut self, _: AddSubExt) -> Next {
        self.undefined()
    }
    pub fn subs_imm(&mut self, _: AddSubImm) -> Next {
        self.undefined()
    }
    pub fn subs_shift(&mut self, _: AddSubShift) -> Next {
        self.undefined()
    }
    pub fn svc(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn swp(&mut self, _: AtomicMemory) -> Next {
        self.undefined()
    }
    pub fn sys(&mut self, _: Sys) -> Next {
        self.undefined()
    }
    pub fn sysl(&mut self, _: Sys) -> Next {
        self.undefined()
    }
    pub fn tbnz(&mut self, _: TestBranch) -> Next {
        self.undefined()
    }
    pub fn tbz(&mut self, _: TestBranch) -> Next {
        self.undefined()
    }
    pub fn ubfm(&mut self, _: Bitfield) -> Next {
        self.undefined()
    }
    pub fn udiv(&mut self, _: DataProc2) -> Next {
        self.undefined()
    }
    pub fn umaddl(&mut self, _: MulAddLong) -> Next {
        self.undefined()
    }
    pub fn umsubl(&mut self, _: MulAddLong) -> Next {
        self.undefined()
    }
    pub fn umulh(&mut self, _: MulHigh) -> Next {
        self.undefined()
    }
    pub fn wfe(&mut self) -> Next {
        self.undefined()
    }
    pub fn wfi(&mut self) -> Next {
        self.undefined()
    }
    pub fn xaflag(&mut self) -> Next {
        self.undefined()
    }
    pub fn xpacd(&mut self, _: PAuthStrip) -> Next {
        self.undefined()
    }
    pub fn xpaci(&mut self, _: PAuthStrip) -> Next {
        self.undefined()
    }
    pub fn xpaclri(&mut self) -> Next {
        self.undefined()
    }
    pub fn yield_op(&mut self) -> Next {
        self.undefined()
    }
}
