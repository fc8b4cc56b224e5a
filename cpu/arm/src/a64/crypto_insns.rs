//! Cryptographic extensions.

use super::simd::*;
use super::*;
use tcg::Lane;
use tcg::ir::{HelperId, VBinary};

// defines: aese aesd aesmc aesimc sha1h sha1su1 sha256su0 sha512su0 sm4e
methods! { Crypto2Reg, crypto2:
    /// AESE
    aese(AESE);
    /// AESD
    aesd(AESD);
    /// AESMC
    aesmc(AESMC);
    /// AESIMC
    aesimc(AESIMC);
    /// SHA1H
    sha1h(SHA1H);
    /// SHA1SU1
    sha1su1(SHA1SU1);
    /// SHA256SU0
    sha256su0(SHA256SU0);
    /// SHA512SU0
    sha512su0(SHA512SU0);
    /// SM4E
    sm4e(SM4E);
}

// defines: sha1c sha1p sha1m sha1su0 sha256h sha256h2 sha256su1 sha512h sha512h2 sha512su1 rax1 sm3partw1 sm3partw2 sm4ekey
methods! { Crypto3Reg, crypto3:
    /// SHA1C
    sha1c(SHA1C);
    /// SHA1P
    sha1p(SHA1P);
    /// SHA1M
    sha1m(SHA1M);
    /// SHA1SU0
    sha1su0(SHA1SU0);
    /// SHA256H
    sha256h(SHA256H);
    /// SHA256H2
    sha256h2(SHA256H2);
    /// SHA256SU1
    sha256su1(SHA256SU1);
    /// SHA512H
    sha512h(SHA512H);
    /// SHA512H2
    sha512h2(SHA512H2);
    /// SHA512SU1
    sha512su1(SHA512SU1);
    /// RAX1
    rax1(RAX1);
    /// SM3PARTW1
    sm3partw1(SM3PARTW1);
    /// SM3PARTW2
    sm3partw2(SM3PARTW2);
    /// SM4EKEY
    sm4ekey(SM4EKEY);
}

// defines: sm3tt1a sm3tt1b sm3tt2a sm3tt2b
methods! { Sm3tt, sm3tt:
    /// SM3TT1A
    sm3tt1a(SM3TT1A);
    /// SM3TT1B
    sm3tt1b(SM3TT1B);
    /// SM3TT2A
    sm3tt2a(SM3TT2A);
    /// SM3TT2B
    sm3tt2b(SM3TT2B);
}

impl Translator<'_> {
    fn crypto2(&mut self, i: Crypto2Reg, id: HelperId) -> Next {
        let (d, n) = (self.q(i.rd), self.q(i.rn));
        let v = self.ir.call_v(id, d, n, n, 0);
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn crypto3(&mut self, i: Crypto3Reg, id: HelperId) -> Next {
        let (d, n, m) = (self.q(i.rd), self.q(i.rn), self.q(i.rm));
        let v = self.ir.call_v(id, d, n, m, 0);
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn sm3tt(&mut self, i: Sm3tt, id: HelperId) -> Next {
        let (d, n, m) = (self.q(i.rd), self.q(i.rn), self.q(i.rm));
        let v = self.ir.call_v(id, d, n, m, i.imm2.into());
        self.set_q(i.rd, v);
        Next::Continue
    }

    /// EOR3
    pub fn eor3(&mut self, i: Crypto4Reg) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let (n, m, a) = (self.q(i.rn), self.q(i.rm), self.q(i.ra));
        let v = self.vxor(n, m);
        let v = self.vxor(v, a);
        self.set_q(i.rd, v);
        Next::Continue
    }
    /// BCAX: n XOR (m AND NOT a)
    pub fn bcax(&mut self, i: Crypto4Reg) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let (n, m, a) = (self.q(i.rn), self.q(i.rm), self.q(i.ra));
        let clear = self.ir.vbin(VBinary::AndNot, Lane::D, m, a);
        let v = self.vxor(n, clear);
        self.set_q(i.rd, v);
        Next::Continue
    }
    /// SM3SS1
    pub fn sm3ss1(&mut self, i: Crypto4Reg) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let (n, m, a) = (self.q(i.rn), self.q(i.rm), self.q(i.ra));
        let v = self.ir.call_v(SM3SS1, n, m, a, 0);
        self.set_q(i.rd, v);
        Next::Continue
    }
    /// XAR
    pub fn xar(&mut self, i: Xar) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let v = self.ir.call_v(XAR, n, n, m, i.imm6.into());
        self.set_q(i.rd, v);
        Next::Continue
    }
}
