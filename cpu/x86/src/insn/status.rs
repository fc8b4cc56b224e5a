//! The status flags, as [`crate::flags`] keeps them, and conditions on them.

use super::translator::Translator;
use crate::flags;
use crate::state::{ADJUST, CF, OF, RESULT};
use tcg::Slot;
use tcg::ir::{Binary, Cond, FloatCond, Lane, Ty, Unary, Val};

/// What the block knows of the flags: the values that it set last, so that a condition need not read them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// The instruction that set all of them compared these.
    compared: Option<Compared>,
    /// The result that ZF and SF follow from.
    result: Option<(Ty, Val)>,
    cf: Option<Val>,
    of: Option<Val>,
}

/// Two values that were compared.
#[derive(Clone, Copy, Debug)]
enum Compared {
    /// The flags are those of `a - b`.
    Integers(Ty, Val, Val),
    /// As COMISD sets them.
    Floats(Lane, Val, Val),
}

impl Translator<'_> {
    /// Sets what ZF, SF and PF follow from.
    fn set_result(&mut self, ty: Ty, result: Val) {
        let wide = self.ir.sext(Ty::I64, result);
        self.ir.set(RESULT, wide);
        self.status.result = Some((ty, result));
        self.status.compared = None;
    }

    /// Sets what AF follows from.
    fn set_adjust(&mut self, v: Val) {
        let low = self.ir.trunc(Ty::I8, v);
        self.ir.set(ADJUST, low);
    }

    /// Sets CF, an `I8`.
    pub fn set_cf(&mut self, v: Val) {
        self.ir.set(CF, v);
        self.status.cf = Some(v);
        self.status.compared = None;
    }

    /// Sets OF, an `I8`.
    pub fn set_of(&mut self, v: Val) {
        self.ir.set(OF, v);
        self.status.of = Some(v);
        self.status.compared = None;
    }

    /// Sets the flags of `a + b + carry` with that sum; CF only if `with_cf`.
    pub fn flags_of_add(&mut self, ty: Ty, a: Val, b: Val, carry: Val, sum: Val, with_cf: bool) {
        if with_cf {
            let c = self.ir.carry(ty, a, b, carry);
            self.set_cf(c);
        }
        let v = self.ir.overflow(ty, a, b, carry);
        self.set_of(v);
        let adjust = self.ir.xor(ty, a, b);
        self.set_adjust(adjust);
        self.set_result(ty, sum);
    }

    /// Sets the flags of `a - b` with that difference; CF only if `with_cf`.
    pub fn flags_of_sub(&mut self, ty: Ty, a: Val, b: Val, difference: Val, with_cf: bool) {
        self.all_but_adjust(ty, a, b, difference, with_cf);
        let adjust = self.ir.xor(ty, a, b);
        self.set_adjust(adjust);
    }

    /// Sets the flags of `a - b`. The host's own, which conditions are taken from, are made last.
    pub fn flags_of_comparison(&mut self, ty: Ty, a: Val, b: Val) {
        let adjust = self.ir.xor(ty, a, b);
        self.set_adjust(adjust);
        let difference = self.ir.sub(ty, a, b);
        self.all_but_adjust(ty, a, b, difference, true);
    }

    fn all_but_adjust(&mut self, ty: Ty, a: Val, b: Val, difference: Val, with_cf: bool) {
        if with_cf {
            let c = self.ir.cmp(Cond::LtU, ty, a, b);
            self.set_cf(c);
        }
        let (one, not_b) = (self.ir.imm(Ty::I8, 1), self.ir.subtracted(ty, b));
        let v = self.ir.overflow(ty, a, not_b, one);
        self.set_of(v);
        self.set_result(ty, difference);
        if with_cf {
            self.status.compared = Some(Compared::Integers(ty, a, b));
        }
    }

    /// Sets the flags of `a - b - borrow` with that difference.
    pub fn flags_of_sbb(&mut self, ty: Ty, a: Val, b: Val, borrow: Val, difference: Val) {
        let one = self.ir.imm(Ty::I8, 1);
        let no_borrow = self.ir.xor(Ty::I8, borrow, one);
        let not_b = self.ir.not(ty, b);
        let no_carry = self.ir.carry(ty, a, not_b, no_borrow);
        let c = self.ir.xor(Ty::I8, no_carry, one);
        let v = self.ir.overflow(ty, a, not_b, no_borrow);
        self.set_cf(c);
        self.set_of(v);
        let adjust = self.ir.xor(ty, a, b);
        self.set_adjust(adjust);
        self.set_result(ty, difference);
    }

    /// Sets the flags of a logical operation: CF, OF and AF clear.
    pub fn flags_of_logic(&mut self, ty: Ty, result: Val) {
        let zero = self.ir.imm(Ty::I8, 0);
        self.set_cf(zero);
        self.set_of(zero);
        self.set_adjust(result);
        self.set_result(ty, result);
    }

    /// Sets ZF, SF and PF by a result, AF clear.
    pub fn flags_of_result(&mut self, ty: Ty, result: Val) {
        self.set_adjust(result);
        self.set_result(ty, result);
    }

    /// Sets ZF alone, to an `I8`. AF, PF and SF become those of the result 1 or 0, which only suits instructions that leave
    /// them undefined.
    pub fn set_zf_alone(&mut self, zf: Val) {
        let result = self.ir.cmp_imm(Cond::Eq, Ty::I8, zf, 0);
        self.flags_of_result(Ty::I8, result);
    }

    /// Sets flags as `new` does if `condition` (`I8`) is not zero and leaves them else: after `new` was called to set them.
    pub fn keep_flags_unless(&mut self, condition: Val, new: impl FnOnce(&mut Self)) {
        let slots = [RESULT, ADJUST, CF, OF];
        let before = slots.map(|slot| self.ir.get(slot));
        new(self);
        for (slot, old) in slots.into_iter().zip(before) {
            let now = self.ir.get(slot);
            let kept = self.ir.select(Ty::I64, condition, now, old);
            self.ir.set(slot, kept);
        }
        self.status = Status::default();
    }

    /// Forgets what is known: a helper has set flags.
    pub fn flags_changed(&mut self) {
        self.status = Status::default();
    }

    /// Notes that all flags were just set as COMISD sets them for `a` and `b`.
    pub fn flags_of_test(&mut self, lane: Lane, a: Val, b: Val) {
        self.status = Status { compared: Some(Compared::Floats(lane, a, b)), ..Status::default() };
    }

    /// CF as `I8`.
    pub fn cf(&mut self) -> Val {
        match self.status.cf {
            Some(v) => v,
            None => self.ir.get(Slot(CF.0, Ty::I8)),
        }
    }

    /// OF as `I8`.
    pub fn of(&mut self) -> Val {
        match self.status.of {
            Some(v) => v,
            None => self.ir.get(Slot(OF.0, Ty::I8)),
        }
    }

    /// ZF as `I8`.
    pub fn zf(&mut self) -> Val {
        match self.status.result {
            Some((ty, result)) => self.ir.cmp_imm(Cond::Eq, ty, result, 0),
            None => {
                let result = self.ir.get(RESULT);
                self.ir.cmp_imm(Cond::Eq, Ty::I64, result, 0)
            }
        }
    }

    /// SF as `I8`.
    pub fn sf(&mut self) -> Val {
        match self.status.result {
            Some((ty, result)) => self.ir.cmp_imm(Cond::LtS, ty, result, 0),
            None => {
                let (result, adjust) = (self.ir.get(RESULT), self.ir.get(ADJUST));
                let sign = self.ir.xor(Ty::I64, result, adjust);
                self.ir.cmp_imm(Cond::LtS, Ty::I64, sign, 0)
            }
        }
    }

    /// PF as `I8`.
    pub fn pf(&mut self) -> Val {
        let low = match self.status.result {
            Some((_, result)) => self.ir.trunc(Ty::I8, result),
            None => {
                let (result, adjust) = (self.ir.get(RESULT), self.ir.get(ADJUST));
                let delta = self.ir.shift_imm(Binary::Shr, Ty::I64, adjust, 8);
                let both = self.ir.xor(Ty::I64, result, delta);
                self.ir.trunc(Ty::I8, both)
            }
        };
        let ones = self.ir.un(Unary::Popcount, Ty::I8, low);
        let odd = self.ir.and_imm(Ty::I8, ones, 1);
        self.ir.cmp_imm(Cond::Eq, Ty::I8, odd, 0)
    }

    /// AF as `I8`.
    pub fn af(&mut self) -> Val {
        let (result, adjust) = (self.ir.get(RESULT), self.ir.get(ADJUST));
        let both = self.ir.xor(Ty::I64, result, adjust);
        let bit = self.ir.and_imm(Ty::I64, both, flags::AF);
        self.ir.cmp_imm(Cond::Ne, Ty::I64, bit, 0)
    }

    /// Whether condition `code` (0 to 15, as encoded) holds, as `I8`.
    pub fn condition(&mut self, code: u8) -> Val {
        if let Some(Compared::Floats(lane, a, b)) = self.status.compared {
            // Unordered sets CF, ZF and PF.
            let test = match code {
                0x2 => Some((FloatCond::Nle, b, a)),
                0x3 => Some((FloatCond::Le, b, a)),
                0x6 => Some((FloatCond::Nlt, b, a)),
                0x7 => Some((FloatCond::Lt, b, a)),
                0xa => Some((FloatCond::Un, a, b)),
                0xb => Some((FloatCond::Ord, a, b)),
                _ => None,
            };
            if let Some((cond, x, y)) = test {
                return self.ir.float_cmp(cond, lane, x, y);
            }
        }
        let integers = match self.status.compared {
            Some(Compared::Integers(ty, a, b)) => Some((ty, a, b)),
            _ => None,
        };
        let holds = match (code & 0xe, integers) {
            (0x2, Some((ty, a, b))) => self.ir.cmp(Cond::LtU, ty, a, b),
            (0x4, Some((ty, a, b))) => self.ir.cmp(Cond::Eq, ty, a, b),
            (0x6, Some((ty, a, b))) => self.ir.cmp(Cond::LeU, ty, a, b),
            (0xc, Some((ty, a, b))) => self.ir.cmp(Cond::LtS, ty, a, b),
            (0xe, Some((ty, a, b))) => self.ir.cmp(Cond::LeS, ty, a, b),
            (0x0, _) => self.of(),
            (0x2, _) => self.cf(),
            (0x4, _) => self.zf(),
            (0x6, _) => {
                let (c, z) = (self.cf(), self.zf());
                self.ir.or(Ty::I8, c, z)
            }
            (0x8, _) => self.sf(),
            (0xa, _) => self.pf(),
            (0xc, _) => self.less(),
            _ => {
                let (less, z) = (self.less(), self.zf());
                self.ir.or(Ty::I8, less, z)
            }
        };
        if code & 1 == 0 { holds } else { self.ir.cmp_imm(Cond::Eq, Ty::I8, holds, 0) }
    }

    /// SF differs from OF.
    fn less(&mut self) -> Val {
        let (s, o) = (self.sf(), self.of());
        self.ir.xor(Ty::I8, s, o)
    }

    /// The status flags SF, ZF, AF, PF and CF by their bits, as an `I64`.
    pub fn low_flags(&mut self) -> Val {
        let mut all = self.ir.imm64(flags::FIXED);
        let parts = [(self.cf(), 0), (self.pf(), 2), (self.af(), 4), (self.zf(), 6), (self.sf(), 7)];
        for (flag, bit) in parts {
            let wide = self.ir.zext(Ty::I64, flag);
            let placed = self.ir.shift_imm(Binary::Shl, Ty::I64, wide, bit);
            all = self.ir.or(Ty::I64, all, placed);
        }
        all
    }
}
