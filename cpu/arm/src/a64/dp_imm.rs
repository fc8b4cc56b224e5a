//! Data processing (immediate). Arm ARM DDI 0487, C4.1.92 "Data Processing -- Immediate"; instructions in C6.2.

use super::translator::{Next, Translator, signed};
use super::{AddSubImm, Bitfield, Extract, LogicalImm, MoveWide, PcRel};
use tcg::ir::{Binary, Ty, Val};

/// DecodeBitMasks() of the shared pseudocode, the wmask of a logical immediate: a run of ones of `imms + 1` bits in an
/// element, rotated right by `immr`, repeated. The table refuses the encodings without a meaning.
fn logical_immediate(n: bool, imms: u8, immr: u8) -> u64 {
    let (imms, immr) = (u32::from(imms), u32::from(immr));
    // The element size is the highest set bit of N:NOT(imms).
    let size = if n { 64 } else { 1u32 << (31 - (!imms & 0x3f).leading_zeros().min(31)) };
    let (s, r) = (imms & (size - 1), immr & (size - 1));
    let ones = if s == 63 { u64::MAX } else { (1 << (s + 1)) - 1 };
    let mask = u64::MAX >> (64 - size);
    let element = if r == 0 { ones } else { (ones >> r | ones << (size - r)) & mask };
    let mut value = element;
    let mut width = size;
    while width < 64 {
        value |= value << width;
        width *= 2;
    }
    value
}

impl Translator<'_> {
    /// ADR, C6.2.10.
    pub fn adr(&mut self, i: PcRel) -> Next {
        let offset = signed(u64::from(i.immhi) << 2 | u64::from(i.immlo), 21);
        let address = self.address_of(offset);
        self.set_x(i.rd, address);
        Next::Continue
    }

    /// ADRP, C6.2.11.
    pub fn adrp(&mut self, i: PcRel) -> Next {
        let offset = signed(u64::from(i.immhi) << 2 | u64::from(i.immlo), 21) << 12;
        let here = self.address_of(0);
        let page = self.ir.and_imm(Ty::I64, here, !0xfff);
        let address = self.ir.add_imm(Ty::I64, page, offset as u64);
        self.set_x(i.rd, address);
        Next::Continue
    }

    fn add_sub_operands(&mut self, i: &AddSubImm) -> (Ty, Val, Val) {
        let ty = Self::ty(i.sf);
        let imm = u64::from(i.imm12) << if i.sh { 12 } else { 0 };
        (ty, self.x_or_sp(i.rn, ty), self.ir.imm(ty, imm))
    }

    /// ADD (immediate), C6.2.5. Rd and Rn may be SP.
    pub fn add_imm(&mut self, i: AddSubImm) -> Next {
        let (ty, a, b) = self.add_sub_operands(&i);
        let result = self.ir.add(ty, a, b);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// SUB (immediate).
    pub fn sub_imm(&mut self, i: AddSubImm) -> Next {
        let (ty, a, b) = self.add_sub_operands(&i);
        // Subtracting a constant is adding another one: address arithmetic has one form.
        let minus = self.ir.imm(ty, self.ir.as_const(b).unwrap_or(0).wrapping_neg());
        let result = self.ir.add(ty, a, minus);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// ADDS (immediate); CMN when Rd is ZR.
    pub fn adds_imm(&mut self, i: AddSubImm) -> Next {
        let (ty, a, b) = self.add_sub_operands(&i);
        let result = self.add_with_flags(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// SUBS (immediate); CMP when Rd is ZR.
    pub fn subs_imm(&mut self, i: AddSubImm) -> Next {
        let (ty, a, b) = self.add_sub_operands(&i);
        let result = self.sub_with_flags(ty, a, b);
        self.set_x(i.rd, result);
        Next::Continue
    }

    fn logical_imm(&mut self, op: Binary, i: &LogicalImm) -> (Ty, Val) {
        let ty = Self::ty(i.sf);
        let imm = self.ir.imm(ty, logical_immediate(i.n, i.imms, i.immr));
        let a = self.x(i.rn, ty);
        (ty, self.ir.bin(op, ty, a, imm))
    }

    /// AND (immediate). Rd may be SP.
    pub fn and_imm(&mut self, i: LogicalImm) -> Next {
        let (_, result) = self.logical_imm(Binary::And, &i);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// ORR (immediate); MOV (bitmask immediate). Rd may be SP.
    pub fn orr_imm(&mut self, i: LogicalImm) -> Next {
        let (_, result) = self.logical_imm(Binary::Or, &i);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// EOR (immediate). Rd may be SP.
    pub fn eor_imm(&mut self, i: LogicalImm) -> Next {
        let (_, result) = self.logical_imm(Binary::Xor, &i);
        self.set_x_or_sp(i.rd, result);
        Next::Continue
    }

    /// ANDS (immediate); TST when Rd is ZR.
    pub fn ands_imm(&mut self, i: LogicalImm) -> Next {
        let (ty, result) = self.logical_imm(Binary::And, &i);
        self.logic_flags(ty, result);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// MOVN.
    pub fn movn(&mut self, i: MoveWide) -> Next {
        let value = self.ir.imm(Self::ty(i.sf), !(u64::from(i.imm16) << (16 * i.hw)));
        self.set_x(i.rd, value);
        Next::Continue
    }

    /// MOVZ.
    pub fn movz(&mut self, i: MoveWide) -> Next {
        let value = self.ir.imm(Self::ty(i.sf), u64::from(i.imm16) << (16 * i.hw));
        self.set_x(i.rd, value);
        Next::Continue
    }

    /// MOVK.
    pub fn movk(&mut self, i: MoveWide) -> Next {
        let ty = Self::ty(i.sf);
        let old = self.x(i.rd, ty);
        let kept = self.ir.and_imm(ty, old, !(0xffff << (16 * i.hw)));
        let new = self.ir.imm(ty, u64::from(i.imm16) << (16 * i.hw));
        let value = self.ir.or(ty, kept, new);
        self.set_x(i.rd, value);
        Next::Continue
    }

    /// The source field of a bitfield move at its destination, zeros elsewhere; and the mask of the destination bits.
    fn bitfield(&mut self, i: &Bitfield) -> (Ty, Val, u64, u32) {
        let ty = Self::ty(i.sf);
        let (immr, imms) = (u32::from(i.immr), u32::from(i.imms));
        let a = self.x(i.rn, ty);
        if imms >= immr {
            // Bits imms to immr move down to bit 0.
            let width = imms - immr + 1;
            let mask = u64::MAX >> (64 - width);
            let down = self.ir.shift_imm(Binary::Shr, ty, a, immr);
            let field = if width + immr == ty.bits() { down } else { self.ir.and_imm(ty, down, mask) };
            (ty, field, mask, width)
        } else {
            // Bits imms to 0 move up to bit (width - immr).
            let up = ty.bits() - immr;
            let mask = u64::MAX >> (63 - imms);
            let low = if imms + 1 + up == ty.bits() { a } else { self.ir.and_imm(ty, a, mask) };
            (ty, self.ir.shift_imm(Binary::Shl, ty, low, up), mask << up, up + imms + 1)
        }
    }

    /// UBFM; LSL, LSR (immediate), UBFIZ, UBFX, UXTB, UXTH.
    pub fn ubfm(&mut self, i: Bitfield) -> Next {
        let (_, field, ..) = self.bitfield(&i);
        self.set_x(i.rd, field);
        Next::Continue
    }

    /// SBFM; ASR (immediate), SBFIZ, SBFX, SXTB, SXTH, SXTW.
    pub fn sbfm(&mut self, i: Bitfield) -> Next {
        let ty = Self::ty(i.sf);
        let (immr, imms) = (u32::from(i.immr), u32::from(i.imms));
        let narrow = match imms {
            7 => Some(Ty::I8),
            15 => Some(Ty::I16),
            31 if i.sf => Some(Ty::I32),
            _ => None,
        };
        let a = self.x(i.rn, ty);
        let result = match narrow {
            Some(narrow) if immr == 0 => {
                let low = self.ir.trunc(narrow, a);
                self.ir.sext(ty, low)
            }
            _ => {
                // To the top, then down with the sign.
                let top = ty.bits() - 1 - imms;
                let down = if imms >= immr { top + immr } else { top - (ty.bits() - immr) };
                let up = self.ir.shift_imm(Binary::Shl, ty, a, top);
                self.ir.shift_imm(Binary::Sar, ty, up, down)
            }
        };
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// BFM; BFI, BFXIL, BFC.
    pub fn bfm(&mut self, i: Bitfield) -> Next {
        let (ty, field, mask, _) = self.bitfield(&i);
        let old = self.x(i.rd, ty);
        let kept = self.ir.and_imm(ty, old, !mask);
        let result = self.ir.or(ty, kept, field);
        self.set_x(i.rd, result);
        Next::Continue
    }

    /// EXTR; ROR (immediate).
    pub fn extr(&mut self, i: Extract) -> Next {
        let ty = Self::ty(i.sf);
        let lsb = u32::from(i.imms);
        let (high, low) = (self.x(i.rn, ty), self.x(i.rm, ty));
        let result = if lsb == 0 {
            low
        } else if i.rn == i.rm {
            self.ir.shift_imm(Binary::Ror, ty, low, lsb)
        } else {
            let down = self.ir.shift_imm(Binary::Shr, ty, low, lsb);
            let up = self.ir.shift_imm(Binary::Shl, ty, high, ty.bits() - lsb);
            self.ir.or(ty, down, up)
        };
        self.set_x(i.rd, result);
        Next::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::logical_immediate;

    #[test]
    fn logical_immediates_of_every_element_size() {
        // (N, imms, immr, value): the examples of C6 for AND (immediate) and the pattern of each element size.
        let rows = [
            (true, 0, 0, 1),
            (true, 62, 0, u64::MAX >> 1),
            (true, 62, 63, u64::MAX - 1),
            (false, 0b000000, 1, 0x8000_0000_8000_0000),
            (false, 0b011110, 0, 0x7fff_ffff_7fff_ffff),
            (false, 0b100111, 0, 0x00ff_00ff_00ff_00ff),
            (false, 0b110000, 1, 0x8080_8080_8080_8080),
            (false, 0b111000, 0, 0x1111_1111_1111_1111),
            (false, 0b111100, 0, 0x5555_5555_5555_5555),
        ];
        for (n, imms, immr, value) in rows {
            assert_eq!(logical_immediate(n, imms, immr), value, "N {n} imms {imms:#b} immr {immr}");
        }
    }
}
