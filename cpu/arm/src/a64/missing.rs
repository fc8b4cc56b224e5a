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
    pub fn ldra(&mut self, _: LoadAuth) -> Next {
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
    pub fn xpacd(&mut self, _: PAuthStrip) -> Next {
        self.undefined()
    }
    pub fn xpaci(&mut self, _: PAuthStrip) -> Next {
        self.undefined()
    }
    pub fn xpaclri(&mut self) -> Next {
        self.undefined()
    }
}
