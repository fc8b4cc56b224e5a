//! Advanced SIMD: one file per group of tables.
//!
//! What the IR states is said in IR; everything else is a vector helper that is given the bytes that take part, so that
//! elements above them neither saturate nor raise floating-point flags, and that clears the others.

mod copy;
pub(super) use copy::fp_imm;
mod element;
mod helpers;
mod shift;
mod three_different;
mod three_same;
mod two_reg;

pub use helpers::helpers;
pub(super) use helpers::*;

use super::{Next, Translator};
use tcg::Lane;
use tcg::ir::{HelperId, VBinary, VUnary, Val};

/// Number of the first helper of these sections.
pub const FIRST_HELPER: usize = helpers::FIRST as usize;

/// Bytes of a vector register by Q.
pub(super) const fn bytes(q: bool) -> u8 {
    if q { 16 } else { 8 }
}

/// log2 of the bytes of floating-point elements.
pub(super) const fn fp_size(half: bool, sz: bool) -> u8 {
    match (half, sz) {
        (true, _) => 1,
        (false, false) => 2,
        (false, true) => 3,
    }
}

/// The lane of `1 << size` bytes.
pub(super) const fn lane(size: u8) -> Lane {
    Lane::of_log2(size)
}

impl Translator<'_> {
    /// Calls a vector helper; the bytes from `bytes` on of the result are zero.
    pub(super) fn vector(&mut self, id: HelperId, size: u8, bytes: u8, n: u32, [a, b, c]: [Val; 3]) -> Val {
        self.ir.call_v(id, a, b, c, Imm { size, bytes, n }.encode())
    }

    /// Sets V`rd` to a vector helper's result.
    pub(super) fn set_vector(&mut self, rd: u8, id: HelperId, size: u8, bytes: u8, n: u32, args: [Val; 3]) -> Next {
        let v = self.vector(id, size, bytes, n, args);
        self.set_q(rd, v);
        Next::Continue
    }

    /// Sets V`rd` to the lowest lane of `v`, zeros above it.
    pub(super) fn set_low_lane(&mut self, rd: u8, lane: Lane, v: Val) {
        let low = self.lowest(lane, v);
        self.set_q(rd, low);
    }

    /// The lowest lane of V`n`, zeros above it.
    pub(super) fn low_lane(&mut self, n: u8, lane: Lane) -> Val {
        let v = self.q(n);
        self.lowest(lane, v)
    }

    /// The lowest lane of `v`, zeros above it.
    fn lowest(&mut self, lane: Lane, v: Val) -> Val {
        if lane == Lane::D {
            return self.ir.vun(VUnary::Low64, Lane::D, v);
        }
        let keep = self.ir.imm_v(lane.ty().mask().into());
        self.vand(v, keep)
    }

    /// The upper half of V`n` moved down if `upper`, otherwise V`n`: the narrow operand of instructions whose names end
    /// in 2 with Q = 1.
    pub(super) fn half(&mut self, n: u8, upper: bool) -> Val {
        let v = self.q(n);
        if !upper {
            return v;
        }
        let mask = std::array::from_fn(|i| if i < 8 { i as u8 + 8 } else { 0xff });
        self.ir.shuffle(v, v, mask)
    }

    /// Sets V`rd` to a narrow result in the low half of `v`: the whole register with zeros above, or if `upper` its upper
    /// half alone.
    pub(super) fn set_half(&mut self, rd: u8, upper: bool, v: Val) {
        if !upper {
            return self.set_d(rd, v);
        }
        let old = self.q(rd);
        let mask = std::array::from_fn(|i| if i < 8 { i as u8 } else { i as u8 + 8 });
        let v = self.ir.shuffle(old, v, mask);
        self.set_q(rd, v);
    }

    /// The narrow lanes of V`n`'s lower or (`upper`) upper half made twice as wide.
    pub(super) fn widen(&mut self, n: u8, size: u8, upper: bool, signed: bool) -> Val {
        let v = self.q(n);
        let op = match (upper, signed) {
            (false, true) => VUnary::WidenLowS,
            (false, false) => VUnary::WidenLowU,
            (true, true) => VUnary::WidenHighS,
            (true, false) => VUnary::WidenHighU,
        };
        self.ir.vun(op, lane(size), v)
    }

    /// Elements with even (`part` 0) or odd (1) numbers of `a` followed by `b`, each of which has `bytes` bytes.
    pub(super) fn unzip(&mut self, a: Val, b: Val, size: u8, bytes: u8, part: u8) -> Val {
        let mask = std::array::from_fn(|i| {
            let i = i as u8;
            let at = (2 * (i >> size) + part) << size | i & ((1 << size) - 1);
            match at / bytes {
                0 => at,
                1 => at - bytes + 16,
                _ => 0xff,
            }
        });
        self.ir.shuffle(a, b, mask)
    }

    /// Every lane is lane `index` of V`n`.
    pub(super) fn duplicate(&mut self, n: u8, size: u8, index: u8) -> Val {
        let v = self.q(n);
        let mask = std::array::from_fn(|i| index << size | i as u8 & ((1 << size) - 1));
        self.ir.shuffle(v, v, mask)
    }

    /// A vector constant with the same integer in every lane.
    pub(super) fn constant(&mut self, size: u8, value: u64) -> Val {
        let bits = 8 << size;
        let value = u128::from(value) & (u128::MAX >> (128 - bits));
        let all = (0..128 / bits).fold(0, |v, i| v | value << (i * bits));
        self.ir.imm_v(all)
    }

    pub(super) fn vand(&mut self, a: Val, b: Val) -> Val {
        self.ir.vbin(VBinary::And, Lane::D, a, b)
    }
    pub(super) fn vor(&mut self, a: Val, b: Val) -> Val {
        self.ir.vbin(VBinary::Or, Lane::D, a, b)
    }
    pub(super) fn vxor(&mut self, a: Val, b: Val) -> Val {
        self.ir.vbin(VBinary::Xor, Lane::D, a, b)
    }
    pub(super) fn vnot(&mut self, a: Val) -> Val {
        self.ir.vun(VUnary::Not, Lane::D, a)
    }
}

/// Methods of one format that do the same with other arguments.
macro_rules! methods {
    ($format:ty, $run:ident: $($(#[$doc:meta])* $name:ident($($arg:expr),*);)*) => {
        impl $crate::a64::Translator<'_> { $(
            $(#[$doc])*
            pub fn $name(&mut self, i: $format) -> $crate::a64::Next {
                if let Some(end) = self.fp_access() {
                    return end;
                }
                self.$run(i, $($arg),*)
            }
        )* }
    };
}
pub(super) use methods;
