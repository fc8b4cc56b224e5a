//! What sets flags and general-purpose registers: comparisons, tests, sign masks, string comparison.

use super::helpers::{COMPARE, COMPARE_STRINGS};
use crate::insn::translator::{Next, Translator};
use crate::state::{ADJUST, CF, OF, RESULT};
use tcg::ir::{Binary, Cond, FloatCond, Lane, Ty, VBinary as B, Val};

/// Bytes of the memory operand of string comparisons.
const STRING_BYTES: usize = 16;

impl Translator<'_> {
    /// Sets ZF, PF and CF (`I8` each) and clears the others.
    fn set_compared(&mut self, zf: Val, pf: Val, cf: Val) {
        let zero = self.ir.imm(Ty::I8, 0);
        self.ir.set(CF, cf);
        self.ir.set(OF, zero);
        // ZF is that the result is 0; the parity, which follows it then, is turned where PF differs.
        let result = self.ir.cmp_imm(Cond::Eq, Ty::I8, zf, 0);
        self.ir.set(RESULT, result);
        let differs = self.ir.xor(Ty::I8, zf, pf);
        let differs = self.ir.zext(Ty::I64, differs);
        let adjust = self.ir.shift_imm(Binary::Shl, Ty::I64, differs, 8);
        self.ir.set(ADJUST, adjust);
        self.flags_changed();
    }

    /// COMISS and COMISD, or UCOMISS and UCOMISD.
    pub(super) fn float_test(&mut self, lane: Lane, signalling: bool) -> Next {
        let b = self.vector_low(1);
        let a = self.vector_low(0);
        let raised = self.float_call(COMPARE, lane, 1, signalling.into(), [a, b, b]);
        if self.mode.host_float() == 0 {
            let bits = self.ir.extract(Lane::B, raised, 0);
            let [zf, pf, cf] = [0, 1, 2].map(|n| {
                let bit = self.ir.shift_imm(Binary::Shr, Ty::I8, bits, n);
                self.ir.and_imm(Ty::I8, bit, 1)
            });
            self.set_compared(zf, pf, cf);
            return Next::Continue;
        }
        let unordered = self.ir.float_cmp(FloatCond::Un, lane, a, b);
        let equal = self.ir.float_cmp(FloatCond::Eq, lane, a, b);
        // Less or unordered.
        let cf = self.ir.float_cmp(FloatCond::Nle, lane, b, a);
        let zf = self.ir.or(Ty::I8, equal, unordered);
        self.set_compared(zf, unordered, cf);
        self.flags_of_test(lane, a, b);
        Next::Continue
    }

    /// Whether no bit of the vectors is set, as `I8`.
    fn is_zero(&mut self, halves: &[Val]) -> Val {
        let mut all = None;
        for v in halves {
            all = Some(match all {
                None => *v,
                Some(all) => self.ir.vbin(B::Or, Lane::D, all, *v),
            });
        }
        let all = all.unwrap_or_else(|| self.zero_vector());
        let (low, high) = (self.ir.extract(Lane::D, all, 0), self.ir.extract(Lane::D, all, 1));
        let bits = self.ir.or(Ty::I64, low, high);
        self.ir.cmp_imm(Cond::Eq, Ty::I64, bits, 0)
    }

    /// PTEST, or VTESTPS and VTESTPD, which look at the signs of elements.
    pub(super) fn vector_test(&mut self, signs: Option<Lane>) -> Next {
        let b = self.vector(1);
        let a = self.vector(0);
        let count = self.halves();
        let (mut common, mut missing) = (Vec::new(), Vec::new());
        for h in 0..count {
            let b = match signs {
                None => b[h],
                Some(lane) => {
                    let sign = self.splat(lane, 1 << (lane.ty().bits() - 1));
                    self.ir.vbin(B::And, Lane::D, b[h], sign)
                }
            };
            common.push(self.ir.vbin(B::And, Lane::D, b, a[h]));
            missing.push(self.ir.vbin(B::AndNot, Lane::D, b, a[h]));
        }
        let (zf, cf) = (self.is_zero(&common), self.is_zero(&missing));
        let zero = self.ir.imm(Ty::I8, 0);
        self.set_compared(zf, zero, cf);
        Next::Continue
    }

    /// PMOVMSKB, MOVMSKPS and MOVMSKPD: signs of elements, one bit each.
    pub(super) fn sign_mask(&mut self, lane: Lane) -> Next {
        let register = self.insn.op0_register();
        let source = self.insn.op1_register();
        let a = self.vector(1);
        let quadwords = if source.is_mm() { 1 } else { source.size() / 8 };
        let per_quadword = lane.count() / 2;
        let mut mask = self.ir.imm64(0);
        for n in 0..quadwords {
            let v = self.ir.extract(Lane::D, a[n / 2], n as u8 & 1);
            let bits = self.signs_of(lane, v);
            let placed = self.ir.shift_imm(Binary::Shl, Ty::I64, bits, n as u32 * u32::from(per_quadword));
            mask = if n == 0 { placed } else { self.ir.or(Ty::I64, mask, placed) };
        }
        let mask = self.ir.trunc(Ty::I32, mask);
        self.set_gpr(register, mask);
        Next::Continue
    }

    /// The signs of the elements of a quadword, from bit 0.
    fn signs_of(&mut self, lane: Lane, v: Val) -> Val {
        match lane {
            Lane::B => {
                let v = self.ir.shift_imm(Binary::Shr, Ty::I64, v, 7);
                let v = self.ir.and_imm(Ty::I64, v, 0x0101_0101_0101_0101);
                // The product brings bit 8n to bit 56 + n.
                let factor = self.ir.imm64(0x0102_0408_1020_4080);
                let product = self.ir.bin(Binary::Mul, Ty::I64, v, factor);
                self.ir.shift_imm(Binary::Shr, Ty::I64, product, 56)
            }
            Lane::S => {
                let upper = self.ir.shift_imm(Binary::Shr, Ty::I64, v, 62);
                let upper = self.ir.and_imm(Ty::I64, upper, 2);
                let lower = self.ir.shift_imm(Binary::Shr, Ty::I64, v, 31);
                let lower = self.ir.and_imm(Ty::I64, lower, 1);
                self.ir.or(Ty::I64, upper, lower)
            }
            _ => self.ir.shift_imm(Binary::Shr, Ty::I64, v, 63),
        }
    }

    /// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
    pub(super) fn compare_strings(&mut self, explicit: bool, mask: bool) -> Next {
        use iced_x86::Mnemonic as M;
        let wide = matches!(self.insn.mnemonic(), M::Pcmpestri64 | M::Pcmpestrm64 | M::Vpcmpestri64 | M::Vpcmpestrm64);
        let b = if self.is_memory(1) {
            let va = self.memory(STRING_BYTES as u64, false);
            self.load_vector(va, STRING_BYTES)[0]
        } else {
            self.vector_low(1)
        };
        let (low, high) = (self.ir.extract(Lane::D, b, 0), self.ir.extract(Lane::D, b, 1));
        let on = |what: bool, bit: u32| u64::from(what) << bit;
        let packed = u64::from(self.imm8())
            | (self.insn.op0_register().number() as u64) << 8
            | on(explicit, 12)
            | on(wide, 13)
            | on(mask, 14)
            | on(self.is_vex(), 15);
        let packed = self.ir.imm64(packed);
        self.ir.call(COMPARE_STRINGS, &[low, high, packed]);
        self.flags_changed();
        Next::Continue
    }
}
