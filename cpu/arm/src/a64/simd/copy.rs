//! Advanced SIMD modified immediate, copy, extract, permute, table lookup.

// defines: movi_v mvni_v orr_imm_v bic_imm_v fmov_imm_v uzp1_v uzp2_v trn1_v trn2_v zip1_v zip2_v tbl_v tbx_v

use super::*;
use crate::a64::{Simd3Same, SimdCopy, SimdCopy1, SimdExt, SimdInsElement, SimdModImm, SimdTable};
use tcg::ir::{Ty, VBinary as B};

/// `AdvSIMDExpandImm`: the 64-bit pattern of op, cmode and imm8.
fn expand_imm(op: bool, cmode: u8, imm8: u8) -> u64 {
    const LANES32: u64 = 0x1_0000_0001;
    const LANES16: u64 = 0x1_0001_0001_0001;
    let imm = u64::from(imm8);
    match cmode >> 1 {
        n @ 0..=3 => (imm << (8 * n)) * LANES32,
        n @ 4..=5 => (imm << (8 * (n & 1))) * LANES16,
        6 if cmode & 1 == 0 => (imm << 8 | 0xff) * LANES32,
        6 => (imm << 16 | 0xffff) * LANES32,
        _ => match (cmode & 1 != 0, op) {
            (false, false) => imm * 0x0101_0101_0101_0101,
            (false, true) => (0..8).filter(|bit| imm8 >> bit & 1 != 0).fold(0, |v, bit| v | 0xff << (8 * bit)),
            (true, false) => fp_imm(2, imm8) * LANES32,
            (true, true) => fp_imm(3, imm8),
        },
    }
}

/// `VFPExpandImm`: the floating-point number of `8 << size` bits that imm8 stands for.
pub(in crate::a64) fn fp_imm(size: u8, imm8: u8) -> u64 {
    let bits = 8u32 << size;
    let (exp_bits, frac_bits) = match size {
        1 => (5, 10),
        2 => (8, 23),
        _ => (11, 52),
    };
    let imm = u64::from(imm8);
    let b = imm >> 6 & 1;
    // The exponent is NOT b, then copies of b, then two bits.
    let copies = if b != 0 { (1u64 << (exp_bits - 3)) - 1 } else { 0 };
    let exp = (b ^ 1) << (exp_bits - 1) | copies << 2 | imm >> 4 & 3;
    (imm >> 7) << (bits - 1) | exp << frac_bits | (imm & 15) << (frac_bits - 4)
}

/// What a modified immediate does.
#[derive(Clone, Copy)]
enum Modified {
    Set,
    SetNot,
    Or,
    BitClear,
}

methods! { SimdModImm, modified_immediate:
    /// MOVI
    movi_v(Modified::Set);
    /// MVNI
    mvni_v(Modified::SetNot);
    /// ORR (vector, immediate)
    orr_imm_v(Modified::Or);
    /// BIC (vector, immediate)
    bic_imm_v(Modified::BitClear);
    /// FMOV (vector, immediate)
    fmov_imm_v(Modified::Set);
}

methods! { Simd3Same, permute:
    /// UZP1: elements with even numbers.
    uzp1_v(|_, i| 2 * i);
    /// UZP2
    uzp2_v(|_, i| 2 * i + 1);
    /// TRN1: even elements of the first with even elements of the second.
    trn1_v(|n, i| if i & 1 == 0 { i } else { n + i - 1 });
    /// TRN2
    trn2_v(|n, i| if i & 1 == 0 { i + 1 } else { n + i });
    /// ZIP1: elements of the lower halves in turns.
    zip1_v(|n, i| i / 2 + if i & 1 == 0 { 0 } else { n });
    /// ZIP2
    zip2_v(|n, i| n / 2 + i / 2 + if i & 1 == 0 { 0 } else { n });
}

methods! { SimdTable, lookup:
    /// TBL
    tbl_v(false);
    /// TBX
    tbx_v(true);
}

impl Translator<'_> {
    fn modified_immediate(&mut self, i: SimdModImm, what: Modified) -> Next {
        let imm8 = i.abc << 5 | i.defgh;
        let half = 0x1_0001_0001_0001 * fp_imm(1, imm8);
        let imm = if i.o2 { half } else { expand_imm(i.op && i.cmode >= 14, i.cmode, imm8) };
        let imm = u128::from(imm) << 64 | u128::from(imm);
        let v = match what {
            Modified::Set => self.ir.imm_v(imm),
            Modified::SetNot => self.ir.imm_v(!imm),
            Modified::Or => {
                let (d, imm) = (self.q(i.rd), self.ir.imm_v(imm));
                self.vor(d, imm)
            }
            Modified::BitClear => {
                let (d, imm) = (self.q(i.rd), self.ir.imm_v(!imm));
                self.vand(d, imm)
            }
        };
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }

    /// DUP (element)
    pub fn dup_elem_v(&mut self, i: SimdCopy) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let size = i.imm5.trailing_zeros() as u8;
        let v = self.duplicate(i.rn, size, i.imm5 >> (size + 1));
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    /// DUP (element), scalar
    pub fn dup_elem_s(&mut self, i: SimdCopy1) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let size = i.imm5.trailing_zeros() as u8;
        let v = self.q(i.rn);
        let element = self.ir.extract(lane(size), v, i.imm5 >> (size + 1));
        self.set_scalar(i.rd, lane(size), element);
        Next::Continue
    }
    /// DUP (general)
    pub fn dup_general(&mut self, i: SimdCopy) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let lane = lane(i.imm5.trailing_zeros() as u8);
        let x = self.x(i.rn, lane.ty());
        let v = self.ir.splat(lane, x);
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
    /// SMOV
    pub fn smov(&mut self, i: SimdCopy) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let size = i.imm5.trailing_zeros() as u8;
        let v = self.q(i.rn);
        let element = self.ir.extract(lane(size), v, i.imm5 >> (size + 1));
        let x = self.ir.sext(Self::ty(i.q), element);
        self.set_x(i.rd, x);
        Next::Continue
    }
    /// UMOV
    pub fn umov(&mut self, i: SimdCopy) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let size = i.imm5.trailing_zeros() as u8;
        let v = self.q(i.rn);
        let element = self.ir.extract(lane(size), v, i.imm5 >> (size + 1));
        let x = self.ir.zext(Ty::I64, element);
        self.set_x(i.rd, x);
        Next::Continue
    }
    /// INS (general)
    pub fn ins_general(&mut self, i: SimdCopy1) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let size = i.imm5.trailing_zeros() as u8;
        let x = self.x(i.rn, lane(size).ty());
        let d = self.q(i.rd);
        let v = self.ir.insert(lane(size), d, i.imm5 >> (size + 1), x);
        self.set_q(i.rd, v);
        Next::Continue
    }
    /// INS (element)
    pub fn ins_elem(&mut self, i: SimdInsElement) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let size = i.imm5.trailing_zeros() as u8;
        let n = self.q(i.rn);
        let element = self.ir.extract(lane(size), n, i.imm4 >> size);
        let d = self.q(i.rd);
        let v = self.ir.insert(lane(size), d, i.imm5 >> (size + 1), element);
        self.set_q(i.rd, v);
        Next::Continue
    }

    /// EXT
    pub fn ext_v(&mut self, i: SimdExt) -> Next {
        if let Some(end) = self.fp_access() {
            return end;
        }
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let bytes = bytes(i.q);
        let mask = std::array::from_fn(|byte| {
            let at = byte as u8 + i.imm4;
            match byte as u8 {
                outside if outside >= bytes => 0xff,
                _ if at < bytes => at,
                _ => at - bytes + 16,
            }
        });
        let v = self.ir.shuffle(n, m, mask);
        self.set_q(i.rd, v);
        Next::Continue
    }

    /// Element `i` of the result is the one that `from` names for it and the number of elements: from that number on in
    /// the second register.
    fn permute(&mut self, i: Simd3Same, from: fn(u8, u8) -> u8) -> Next {
        let (n, m) = (self.q(i.rn), self.q(i.rm));
        let bytes = bytes(i.q);
        let mask = std::array::from_fn(|byte| {
            let byte = byte as u8;
            if byte >= bytes {
                return 0xff;
            }
            let at = from(bytes >> i.size, byte >> i.size) << i.size | byte & ((1 << i.size) - 1);
            if at < bytes { at } else { at - bytes + 16 }
        });
        let v = self.ir.shuffle(n, m, mask);
        self.set_q(i.rd, v);
        Next::Continue
    }

    fn lookup(&mut self, i: SimdTable, extend: bool) -> Next {
        let indices = self.q(i.rm);
        let mut found = None;
        for register in 0..=i.len {
            let table = self.q((i.rn + register) % 32);
            // Numbers below the table's first wrap to ones far beyond its end.
            let first = self.constant(0, u64::from(register) * 16);
            let within = if register == 0 { indices } else { self.ir.vbin(B::Sub, Lane::B, indices, first) };
            let bytes = self.ir.vbin(B::Lookup, Lane::B, table, within);
            found = Some(match found {
                Some(others) => self.vor(others, bytes),
                None => bytes,
            });
        }
        let mut v = found.expect("there is at least one table");
        if extend {
            let end = self.constant(0, (u64::from(i.len) + 1) * 16);
            let inside = self.ir.vbin(B::CmpGtU, Lane::B, end, indices);
            let d = self.q(i.rd);
            v = self.choose(inside, v, d);
        }
        self.set_v(i.rd, i.q, v);
        Next::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn immediates() {
        for (op, cmode, imm8, expected) in [
            (false, 0b0010, 0xab, 0x0000_ab00_0000_ab00),
            (false, 0b1010, 0xab, 0xab00_ab00_ab00_ab00),
            (false, 0b1100, 0xab, 0x0000_abff_0000_abff),
            (false, 0b1101, 0xab, 0x00ab_ffff_00ab_ffff),
            (false, 0b1110, 0xab, 0xabab_abab_abab_abab),
            (true, 0b1110, 0b1000_0101, 0xff00_0000_00ff_00ff),
            (false, 0b1111, 0x70, 0x3f80_0000_3f80_0000),
            (true, 0b1111, 0x70, 0x3ff0_0000_0000_0000),
            (true, 0b1111, 0x80, 0xc000_0000_0000_0000),
        ] {
            assert_eq!(expand_imm(op, cmode, imm8), expected, "{op} {cmode:04b} {imm8:02x}");
        }
        assert_eq!((fp_imm(1, 0x70), fp_imm(1, 0x00), fp_imm(1, 0xff)), (0x3c00, 0x4000, 0xbfc0));
    }
}
