//! Packing, unpacking, shuffles, blends and permutations: byte masks for the most part. A number from 0 to 15 in a mask is a
//! byte of the first vector, from 16 to 31 one of the second, 32 or more zero.

use super::Form;
use super::helpers::{VPERMD, VPERMILPD, VPERMILPS};
use crate::insn::translator::{Next, Translator};
use tcg::ir::{Lane, VBinary as B, VShift, VUnary, Val};

/// A mask for elements of `size` bytes: `f` gives the number of the element, of 0 to 32 / size, for each element.
fn elements(size: u8, f: impl Fn(u8) -> u8) -> [u8; 16] {
    std::array::from_fn(|i| f(i as u8 / size) * size + i as u8 % size)
}

/// Two bits of a constant for element `i`.
fn two_bits(imm: u32, i: u8) -> u8 {
    (imm >> (2 * i) & 3) as u8
}

impl Translator<'_> {
    fn shuffled(&mut self, mask: [u8; 16]) -> Next {
        self.map_vector(|t, a| t.ir.shuffle(a, a, mask))
    }

    fn shuffled_pair(&mut self, mask: [u8; 16]) -> Next {
        self.map_vectors(|t, a, b| t.ir.shuffle(a, b, mask))
    }

    /// PUNPCKLBW, PUNPCKHBW and their kin, UNPCKLPS.
    pub(super) fn unpack(&mut self, lane: Lane, high: bool) -> Next {
        let count = lane.count();
        let start = match (high, self.form() == Form::Mmx) {
            (false, _) => 0,
            (true, false) => count / 2,
            (true, true) => count / 4,
        };
        self.shuffled_pair(elements(lane.ty().bytes(), |i| start + i / 2 + i % 2 * count))
    }

    /// PACKSSWB, PACKUSWB, PACKSSDW, PACKUSDW: elements of `lane` to half their width, saturated.
    pub(super) fn pack(&mut self, lane: Lane, signed: bool) -> Next {
        let half = lane.ty().bits() / 2;
        let (least, greatest) =
            if signed { (u64::MAX << (half - 1), (1 << (half - 1)) - 1) } else { (0, (1 << half) - 1) };
        let mask = elements(lane.ty().bytes() / 2, |i| 2 * i);
        self.paired(|t, a, b| {
            let (least, greatest) = (t.splat(lane, least), t.splat(lane, greatest));
            let mut cut = |v: Val| {
                let v = t.ir.vbin(B::MaxS, lane, v, least);
                t.ir.vbin(B::MinS, lane, v, greatest)
            };
            let (a, b) = (cut(a), cut(b));
            t.ir.shuffle(a, b, mask)
        })
    }

    /// PSHUFB.
    pub(super) fn shuffle_bytes(&mut self) -> Next {
        let kept = if self.form() == Form::Mmx { 0x87 } else { 0x8f };
        self.map_vectors(|t, a, b| {
            let kept = t.splat(Lane::B, kept);
            let indices = t.ir.vbin(B::And, Lane::B, b, kept);
            t.ir.vbin(B::Lookup, Lane::B, a, indices)
        })
    }

    /// PSHUFD, VPERMILPS by a constant.
    pub(super) fn shuffle_doublewords(&mut self) -> Next {
        let imm = self.imm8();
        self.shuffled(elements(4, |i| two_bits(imm, i)))
    }

    /// VPERMILPD by a constant: bits 3:2 are those of the upper half.
    pub(super) fn permute_doubles(&mut self) -> Next {
        let imm = self.imm8();
        let a = self.vector(1);
        let result = self.each(|t, h| {
            let imm = imm >> (2 * h);
            t.ir.shuffle(a[h], a[h], elements(8, |i| (imm >> i & 1) as u8))
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// PSHUFLW and PSHUFW, or PSHUFHW.
    pub(super) fn shuffle_words(&mut self, high: bool) -> Next {
        let imm = self.imm8();
        let first = if high { 4 } else { 0 };
        self.shuffled(elements(2, |i| if i / 4 * 4 == first { first + two_bits(imm, i % 4) } else { i }))
    }

    /// SHUFPS.
    pub(super) fn shufps(&mut self) -> Next {
        let imm = self.imm8();
        self.shuffled_pair(elements(4, |i| two_bits(imm, i) + i / 2 * 4))
    }

    /// SHUFPD: bits 3:2 are those of the upper half.
    pub(super) fn shufpd(&mut self) -> Next {
        let (imm, n) = (self.imm8(), self.first_source());
        let (b, a) = (self.vector(n + 1), self.vector(n));
        let result = self.each(|t, h| {
            let imm = imm >> (2 * h);
            t.ir.shuffle(a[h], b[h], elements(8, |i| (imm >> i & 1) as u8 + 2 * i))
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// MOVDDUP, MOVSLDUP, MOVSHDUP: each pair of elements becomes its lower or upper one.
    pub(super) fn duplicate(&mut self, lane: Lane, upper: bool) -> Next {
        self.shuffled(elements(lane.ty().bytes(), |i| i & !1 | u8::from(upper)))
    }

    /// PALIGNR.
    pub(super) fn align(&mut self) -> Next {
        let imm = self.imm8();
        let width = if self.form() == Form::Mmx { 8 } else { 16 };
        let mask = std::array::from_fn(|i| match imm + i as u32 {
            // From the second operand, then from the first, then zeros.
            n if n < width => 16 + n as u8,
            n if n < 2 * width => (n - width) as u8,
            _ => 32,
        });
        self.shuffled_pair(mask)
    }

    /// BLENDPS, BLENDPD, PBLENDW, VPBLENDD: bits of the constant choose elements of the second vector. Those of the upper
    /// half are the next ones, or in case of words the same.
    pub(super) fn blend(&mut self, lane: Lane) -> Next {
        let (imm, n) = (self.imm8(), self.first_source());
        let (b, a) = (self.vector(n + 1), self.vector(n));
        let count = lane.count();
        let result = self.each(|t, h| {
            let imm = if lane == Lane::H { imm } else { imm >> (h * usize::from(count)) };
            let mask = elements(lane.ty().bytes(), |i| if imm >> i & 1 != 0 { i + count } else { i });
            t.ir.shuffle(a[h], b[h], mask)
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// BLENDVPS, BLENDVPD, PBLENDVB: signs of a third vector choose, which is XMM0 without VEX.
    pub(super) fn blend_by_signs(&mut self, lane: Lane) -> Next {
        let n = self.first_source();
        let (b, a) = (self.vector(n + 1), self.vector(n));
        let signs = if self.is_vex() {
            self.vector(3)
        } else {
            let v = self.ir.get(crate::state::xmm(0));
            [v, v]
        };
        let result = self.each(|t, h| {
            let mask = t.ir.vshift(VShift::Sar, lane, signs[h], lane.ty().bits() as u8 - 1);
            t.choose(mask, a[h], b[h])
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// PMOVSXBW and its kin: from elements of `from` to wider ones of `to`. A 256-bit result takes more of the source.
    pub(super) fn extend_elements(&mut self, from: Lane, to: Lane, signed: bool) -> Next {
        let a = self.vector_low(1);
        let ratio = to.ty().bytes() / from.ty().bytes();
        let result = self.each(|t, h| {
            // Brings the elements of the upper half down.
            let start = h as u8 * 16 / ratio;
            let v = if start == 0 {
                a
            } else {
                let mask = std::array::from_fn(|i| if i as u8 + start < 16 { i as u8 + start } else { 32 });
                t.ir.shuffle(a, a, mask)
            };
            let way = if signed { VUnary::WidenLowS } else { VUnary::WidenLowU };
            let mut lane = from;
            let mut v = v;
            while lane != to {
                v = t.ir.vun(way, lane, v);
                lane = Lane::of_log2(lane.ty().bytes().trailing_zeros() as u8 + 1);
            }
            v
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// VPERMQ and VPERMPD: quadwords of the whole vector.
    pub(super) fn permute_quadwords(&mut self) -> Next {
        let imm = self.imm8();
        let a = self.vector(1);
        let result = self.each(|t, h| {
            let mask = elements(8, |i| two_bits(imm, i + 2 * h as u8));
            t.ir.shuffle(a[0], a[1], mask)
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// VPERMD and VPERMPS: doublewords of the whole second vector, by numbers in the first.
    pub(super) fn permute_all(&mut self) -> Next {
        let (a, indices) = (self.vector(2), self.vector(1));
        let result = self.each(|t, h| t.ir.call_v(VPERMD, a[0], a[1], indices[h], 0));
        self.set_vector(0, result);
        Next::Continue
    }

    /// VPERMILPS and VPERMILPD, by a constant or by numbers in the second vector.
    pub(super) fn permute_in_lanes(&mut self, lane: Lane) -> Next {
        let constant = self.insn.try_immediate(2).is_ok();
        match (constant, lane) {
            (true, Lane::S) => self.shuffle_doublewords(),
            (true, _) => self.permute_doubles(),
            (false, Lane::S) => self.by_helper(VPERMILPS, 0),
            (false, _) => self.by_helper(VPERMILPD, 0),
        }
    }
}
