//! Integer arithmetic, logic, comparisons and shifts.

use super::helpers::{
    AES_DECRYPT, AES_ENCRYPT, AES_INVERSE_MIX_COLUMNS, AES_MIX_COLUMNS, MPSADBW, SHA256RNDS2, SHIFT, SHIFT_EACH,
};
use crate::insn::translator::{Next, Translator};
use tcg::ir::{HelperId, Lane, VBinary as B, VShift, VUnary as U, Val};

impl Translator<'_> {
    /// PXOR and XORPS: of a register with itself, they are how zero is made.
    pub(super) fn exclusive_or(&mut self) -> Next {
        let n = self.first_source();
        let same = !self.is_memory(n + 1) && self.insn.op_register(n) == self.insn.op_register(n + 1);
        self.map_vectors(|t, a, b| if same { t.zero_vector() } else { t.ir.vbin(B::Xor, Lane::D, a, b) })
    }

    /// PANDN and ANDNPS: not the first, and the second.
    pub(super) fn and_not(&mut self) -> Next {
        self.map_vectors(|t, a, b| t.ir.vbin(B::AndNot, Lane::D, b, a))
    }

    /// PADDUSB and PADDUSW.
    pub(super) fn add_saturated_u(&mut self, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| {
            let room = t.ir.vun(U::Not, lane, a);
            let b = t.ir.vbin(B::MinU, lane, b, room);
            t.ir.vbin(B::Add, lane, a, b)
        })
    }

    /// PSUBUSB and PSUBUSW.
    pub(super) fn sub_saturated_u(&mut self, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| {
            let a = t.ir.vbin(B::MaxU, lane, a, b);
            t.ir.vbin(B::Sub, lane, a, b)
        })
    }

    /// PADDSB and PADDSW.
    pub(super) fn add_saturated(&mut self, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| t.saturated_sum(lane, a, b))
    }

    /// The sum, `b` being cut to what leads to the limits.
    pub(super) fn saturated_sum(&mut self, lane: Lane, a: Val, b: Val) -> Val {
        let (zero, least, greatest) = self.limits(lane);
        let above = self.ir.vbin(B::MaxS, lane, a, zero);
        let below = self.ir.vbin(B::MinS, lane, a, zero);
        let most = self.ir.vbin(B::Sub, lane, greatest, above);
        let fewest = self.ir.vbin(B::Sub, lane, least, below);
        let b = self.ir.vbin(B::MinS, lane, b, most);
        let b = self.ir.vbin(B::MaxS, lane, b, fewest);
        self.ir.vbin(B::Add, lane, a, b)
    }

    /// PSUBSB and PSUBSW.
    pub(super) fn sub_saturated(&mut self, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| t.saturated_difference(lane, a, b))
    }

    pub(super) fn saturated_difference(&mut self, lane: Lane, a: Val, b: Val) -> Val {
        let (_, least, greatest) = self.limits(lane);
        let minus_one = self.splat(lane, u64::MAX);
        let above = self.ir.vbin(B::MaxS, lane, a, minus_one);
        let below = self.ir.vbin(B::MinS, lane, a, minus_one);
        let fewest = self.ir.vbin(B::Sub, lane, above, greatest);
        let most = self.ir.vbin(B::Sub, lane, below, least);
        let b = self.ir.vbin(B::MinS, lane, b, most);
        let b = self.ir.vbin(B::MaxS, lane, b, fewest);
        self.ir.vbin(B::Sub, lane, a, b)
    }

    /// Zero, the least and the greatest signed element.
    fn limits(&mut self, lane: Lane) -> (Val, Val, Val) {
        let sign = 1u64 << (lane.ty().bits() - 1);
        (self.zero_vector(), self.splat(lane, sign), self.splat(lane, sign - 1))
    }

    /// PAVGB and PAVGW: rounded up.
    pub(super) fn average(&mut self, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| {
            let either = t.ir.vbin(B::Or, lane, a, b);
            let differs = t.ir.vbin(B::Xor, lane, a, b);
            let half = t.ir.vshift(VShift::Shr, lane, differs, 1);
            t.ir.vbin(B::Sub, lane, either, half)
        })
    }

    /// Products of words as doublewords: of the lower and of the upper elements.
    fn word_products(&mut self, signed: bool, a: Val, b: Val) -> [Val; 2] {
        let ways = if signed { [U::WidenLowS, U::WidenHighS] } else { [U::WidenLowU, U::WidenHighU] };
        ways.map(|way| {
            let a = self.ir.vun(way, Lane::H, a);
            let b = self.ir.vun(way, Lane::H, b);
            self.ir.vbin(B::Mul, Lane::S, a, b)
        })
    }

    /// The upper words of doublewords.
    fn upper_words(&mut self, [low, high]: [Val; 2]) -> Val {
        self.ir.shuffle(low, high, [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31])
    }

    /// PMULHW and PMULHUW.
    pub(super) fn multiply_high(&mut self, signed: bool) -> Next {
        self.map_vectors(|t, a, b| {
            let products = t.word_products(signed, a, b);
            t.upper_words(products)
        })
    }

    /// PMULHRSW: bits 30:15 of the products, rounded.
    pub(super) fn multiply_rounded(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let half = t.splat(Lane::S, 0x4000);
            let products = t.word_products(true, a, b).map(|product| {
                let rounded = t.ir.vbin(B::Add, Lane::S, product, half);
                t.ir.vshift(VShift::Shl, Lane::S, rounded, 1)
            });
            t.upper_words(products)
        })
    }

    /// PMADDWD.
    pub(super) fn multiply_add_words(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let [low, high] = t.word_products(true, a, b);
            t.ir.vbin(B::AddPairs, Lane::S, low, high)
        })
    }

    /// PMADDUBSW: unsigned bytes of the first by signed ones of the second.
    pub(super) fn multiply_add_bytes(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let low = t.splat(Lane::H, 0xff);
            let even_a = t.ir.vbin(B::And, Lane::H, a, low);
            let odd_a = t.ir.vshift(VShift::Shr, Lane::H, a, 8);
            let even_b = t.ir.vshift(VShift::Shl, Lane::H, b, 8);
            let even_b = t.ir.vshift(VShift::Sar, Lane::H, even_b, 8);
            let odd_b = t.ir.vshift(VShift::Sar, Lane::H, b, 8);
            let even = t.ir.vbin(B::Mul, Lane::H, even_a, even_b);
            let odd = t.ir.vbin(B::Mul, Lane::H, odd_a, odd_b);
            t.saturated_sum(Lane::H, even, odd)
        })
    }

    /// PMULUDQ and PMULDQ.
    pub(super) fn multiply_doublewords(&mut self, signed: bool) -> Next {
        self.map_vectors(|t, a, b| {
            let [a, b] = [a, b].map(|v| {
                if signed {
                    let v = t.ir.vshift(VShift::Shl, Lane::D, v, 32);
                    t.ir.vshift(VShift::Sar, Lane::D, v, 32)
                } else {
                    let low = t.splat(Lane::D, 0xffff_ffff);
                    t.ir.vbin(B::And, Lane::D, v, low)
                }
            });
            t.ir.vbin(B::Mul, Lane::D, a, b)
        })
    }

    /// PSADBW.
    pub(super) fn sum_of_differences(&mut self) -> Next {
        self.map_vectors(|t, a, b| {
            let most = t.ir.vbin(B::MaxU, Lane::B, a, b);
            let least = t.ir.vbin(B::MinU, Lane::B, a, b);
            let differences = t.ir.vbin(B::Sub, Lane::B, most, least);
            let low = t.ir.vun(U::WidenLowU, Lane::B, differences);
            let high = t.ir.vun(U::WidenHighU, Lane::B, differences);
            // Sums of two, of four, of all eight.
            let two = t.ir.vbin(B::AddPairs, Lane::H, low, high);
            let four = t.ir.vbin(B::AddPairs, Lane::H, two, two);
            let eight = t.ir.vbin(B::AddPairs, Lane::H, four, four);
            let wide = t.ir.vun(U::WidenLowU, Lane::H, eight);
            t.ir.vun(U::WidenLowU, Lane::S, wide)
        })
    }

    /// MPSADBW: bits 5:3 of the constant are those of the upper half.
    pub(super) fn mpsadbw(&mut self) -> Next {
        let (imm, n) = (self.imm8(), self.first_source());
        let (b, a) = (self.vector(n + 1), self.vector(n));
        let result = self.each(|t, h| t.ir.call_v(MPSADBW, a[h], b[h], b[h], imm >> (3 * h) & 7));
        self.set_vector(0, result);
        Next::Continue
    }

    /// PSIGNB and its kin.
    pub(super) fn copy_sign(&mut self, lane: Lane) -> Next {
        self.map_vectors(|t, a, b| {
            let negative = t.ir.vshift(VShift::Sar, lane, b, lane.ty().bits() as u8 - 1);
            let flipped = t.ir.vbin(B::Xor, lane, a, negative);
            let signed = t.ir.vbin(B::Sub, lane, flipped, negative);
            let zero = t.zero_vector();
            let none = t.ir.vbin(B::CmpEq, lane, b, zero);
            t.ir.vbin(B::AndNot, lane, signed, none)
        })
    }

    /// PHADDW and PHADDD.
    pub(super) fn add_pairs(&mut self, lane: Lane) -> Next {
        self.paired(|t, a, b| t.ir.vbin(B::AddPairs, lane, a, b))
    }

    /// Elements of even and of odd numbers of two vectors.
    pub(super) fn evens_and_odds(&mut self, lane: Lane, a: Val, b: Val) -> (Val, Val) {
        let bytes = lane.ty().bytes();
        let half = |odd: u8| std::array::from_fn(|i| (i as u8 / bytes * 2 + odd) * bytes + i as u8 % bytes);
        (self.ir.shuffle(a, b, half(0)), self.ir.shuffle(a, b, half(1)))
    }

    /// PHSUBW and PHSUBD.
    pub(super) fn sub_pairs(&mut self, lane: Lane) -> Next {
        self.paired(|t, a, b| {
            let (even, odd) = t.evens_and_odds(lane, a, b);
            t.ir.vbin(B::Sub, lane, even, odd)
        })
    }

    /// PHADDSW, or PHSUBSW.
    pub(super) fn saturated_pairs(&mut self, subtract: bool) -> Next {
        self.paired(|t, a, b| {
            let (even, odd) = t.evens_and_odds(Lane::H, a, b);
            if subtract { t.saturated_difference(Lane::H, even, odd) } else { t.saturated_sum(Lane::H, even, odd) }
        })
    }

    /// PSLLW and its kin, by a constant or by the low quadword of a vector.
    pub(super) fn shift_vector(&mut self, kind: VShift, lane: Lane) -> Next {
        let n = self.first_source();
        let bits = lane.ty().bits();
        let immediate = self.insn.try_immediate(n + 1).ok();
        let Some(count) = immediate else {
            let counts = self.vector_low(n + 1);
            let a = self.vector(n);
            let result = self.each(|t, h| t.ir.call_v(SHIFT, a[h], counts, counts, shift_imm(kind, bits)));
            self.set_vector(0, result);
            return Next::Continue;
        };
        let a = self.vector(n);
        let result = self.each(|t, h| match (kind, count as u32) {
            (VShift::Sar, count) => t.ir.vshift(kind, lane, a[h], count.min(bits - 1) as u8),
            (_, count) if count >= bits => t.zero_vector(),
            (_, count) => t.ir.vshift(kind, lane, a[h], count as u8),
        });
        self.set_vector(0, result);
        Next::Continue
    }

    /// VPSLLVD and its kin.
    pub(super) fn shift_each(&mut self, kind: VShift, lane: Lane) -> Next {
        let imm = shift_imm(kind, lane.ty().bits());
        self.map_vectors(|t, a, b| t.ir.call_v(SHIFT_EACH, a, b, b, imm))
    }

    /// PSLLDQ, or PSRLDQ.
    pub(super) fn shift_bytes(&mut self, left: bool) -> Next {
        let n = self.first_source();
        let count = self.imm8().min(16) as u8;
        // Bytes from 32 on are zero.
        let mask = std::array::from_fn(|i| {
            let i = i as u8;
            if left {
                i.checked_sub(count).unwrap_or(32)
            } else if i + count < 16 {
                i + count
            } else {
                32
            }
        });
        let a = self.vector(n);
        let result = self.each(|t, h| t.ir.shuffle(a[h], a[h], mask));
        self.set_vector(0, result);
        Next::Continue
    }

    /// An operation that a helper does on one or two vectors.
    pub(super) fn by_helper(&mut self, helper: HelperId, imm: u32) -> Next {
        self.map_vectors(|t, a, b| t.ir.call_v(helper, a, b, b, imm))
    }

    /// The same on one vector.
    pub(super) fn unary_by_helper(&mut self, helper: HelperId, imm: u32) -> Next {
        self.map_vector(|t, a| t.ir.call_v(helper, a, a, a, imm))
    }

    /// AESENC and AESENCLAST, AESDEC and AESDECLAST.
    pub(super) fn aes_round(&mut self, encrypt: bool, last: bool) -> Next {
        let (step, mix) = if encrypt { (AES_ENCRYPT, AES_MIX_COLUMNS) } else { (AES_DECRYPT, AES_INVERSE_MIX_COLUMNS) };
        self.map_vectors(|t, state, key| {
            let zero = t.zero_vector();
            let state = t.ir.call_v(step, state, zero, zero, 0);
            let state = if last { state } else { t.ir.call_v(mix, zero, state, state, 0) };
            t.ir.vbin(B::Xor, Lane::D, state, key)
        })
    }

    /// SHA256RNDS2: message words and constants are in XMM0.
    pub(super) fn sha256_rounds(&mut self) -> Next {
        let words = self.ir.get(crate::state::xmm(0));
        self.map_vectors(|t, a, b| t.ir.call_v(SHA256RNDS2, a, b, words, 0))
    }
}

/// The constant of [`SHIFT`].
fn shift_imm(kind: VShift, bits: u32) -> u32 {
    bits | match kind {
        VShift::Shl => 0,
        VShift::Shr => 0x100,
        VShift::Sar => 0x200,
    }
}
