//! Stand-ins for methods that are not written yet: their instructions are undefined.
use super::*;

impl Translator<'_> {
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
    pub fn blra(&mut self, _: BranchAuth) -> Next {
        self.undefined()
    }
    pub fn blraz(&mut self, _: BranchAuthZero) -> Next {
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
    pub fn cfinv(&mut self) -> Next {
        self.undefined()
    }
    pub fn clrex(&mut self, _: Barrier) -> Next {
        self.undefined()
    }
    pub fn csdb(&mut self) -> Next {
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
    pub fn eret(&mut self) -> Next {
        self.undefined()
    }
    pub fn ereta(&mut self, _: ReturnAuth) -> Next {
        self.undefined()
    }
    pub fn esb(&mut self) -> Next {
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
    pub fn ldra(&mut self, _: LoadAuth) -> Next {
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
    pub fn reta(&mut self, _: ReturnAuth) -> Next {
        self.undefined()
    }
    pub fn sb(&mut self) -> Next {
        self.undefined()
    }
    pub fn sev(&mut self) -> Next {
        self.undefined()
    }
    pub fn sevl(&mut self) -> Next {
        self.undefined()
    }
    pub fn smc(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn svc(&mut self, _: Exception) -> Next {
        self.undefined()
    }
    pub fn sys(&mut self, _: Sys) -> Next {
        self.undefined()
    }
    pub fn sysl(&mut self, _: Sys) -> Next {
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
