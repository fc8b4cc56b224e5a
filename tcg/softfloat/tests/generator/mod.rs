//! Operands for tests: deterministic, and dense where arithmetic has corners.

use softfloat::{Bits, Format};

/// How many random cases a test should run: more where the code is optimised. `MIMIC_FP_CASES` overrides it.
pub fn cases() -> u64 {
    let default = if cfg!(debug_assertions) { 100_000 } else { 3_000_000 };
    std::env::var("MIMIC_FP_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// A value of format `F`, with all its corners likely.
    pub fn operand<F: Format>(&mut self) -> F::Bits {
        let frac_mask = (1u64 << F::FRAC_BITS) - 1;
        let exp_max = (1u64 << F::EXP_BITS) - 1;
        let exp = match self.below(8) {
            0 => [0, exp_max][self.below(2) as usize],
            1 => 1 + self.below(3),
            2 => exp_max - 1 - self.below(3),
            // Around one, within reach of each other's last bits.
            3..=5 => {
                (F::EMAX as u64 + self.below(2 * u64::from(F::FRAC_BITS) + 4)).saturating_sub(u64::from(F::FRAC_BITS))
            }
            6 => F::EMAX as u64 / 2 + self.below(4),
            _ => self.bits() & exp_max,
        };
        let frac = match self.below(8) {
            0 => 0,
            1 => frac_mask,
            2 => 1 << self.below(F::FRAC_BITS.into()),
            3 => frac_mask << self.below(F::FRAC_BITS.into()),
            4 => frac_mask >> self.below(F::FRAC_BITS.into()),
            5 => (1 << self.below(F::FRAC_BITS.into())) ^ self.below(4),
            _ => self.bits(),
        };
        let sign = self.bits() & 1;
        let exp = exp.min(exp_max);
        F::Bits::from_u64(sign << (F::WIDTH - 1) | exp << F::FRAC_BITS | frac & frac_mask)
    }

    /// Two operands, sometimes close to each other.
    #[allow(dead_code, reason = "each test file takes what it needs of this module")]
    pub fn pair<F: Format>(&mut self) -> (F::Bits, F::Bits) {
        let a = self.operand::<F>();
        match self.below(16) {
            0 => (a, F::Bits::from_u64(a.to_u64() ^ 1 << (F::WIDTH - 1))),
            1 => (a, F::Bits::from_u64(a.to_u64() ^ 1 << (F::WIDTH - 1) ^ self.below(8))),
            _ => (a, self.operand::<F>()),
        }
    }
}
