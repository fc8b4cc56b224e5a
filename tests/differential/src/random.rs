//! Pseudo-random numbers, and values that instructions find interesting.

/// A sequence of pseudo-random numbers (splitmix64), the same for the same seed.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// True in `n` of a hundred cases.
    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// One of `all`, which is not empty.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// An integer of `width` bits (8 to 64), often at an edge.
    pub fn integer(&mut self, width: u32) -> u64 {
        let all = u64::MAX >> (64 - width);
        let sign = 1 << (width - 1);
        let value = match self.below(16) {
            0 => 0,
            1 => 1,
            2 => all,
            3 => sign,
            4 => sign - 1,
            5 => sign + 1,
            6 => 1 << self.below(width.into()),
            7 => (1u64 << self.below(width.into())).wrapping_sub(1),
            8 => (1u64 << self.below(width.into())).wrapping_neg(),
            9 => self.below(2 * u64::from(width)),
            10 => self.below(256).wrapping_neg(),
            // A narrower integer, zero- or sign-extended.
            11 if width > 8 => self.integer(width / 2),
            12 if width > 8 => {
                let narrow = width / 2;
                ((self.integer(narrow) << (64 - narrow)) as i64 >> (64 - narrow)) as u64
            }
            13 => self.bits() >> self.below(width.into()),
            _ => self.bits(),
        };
        value & all
    }

    /// A floating-point number with `exponent` and `mantissa` bits, often at an edge.
    pub fn float(&mut self, exponent: u32, mantissa: u32) -> u64 {
        let fraction_mask = (1u64 << mantissa) - 1;
        let top_exponent = (1u64 << exponent) - 1;
        let bias = top_exponent / 2;
        let sign = self.below(2) << (exponent + mantissa);
        let quiet = 1u64 << (mantissa - 1);
        let mut fraction = match self.below(8) {
            0 => 0,
            1 => fraction_mask,
            2 => 1,
            3 => quiet,
            // Half-way between two narrower numbers, or next to that.
            4 => {
                let half = 1 << self.below(mantissa.into());
                let near = self.below(3).wrapping_sub(1);
                (self.bits() & !(half * 2 - 1) | half).wrapping_add(near)
            }
            5 => (1 << self.below(mantissa.into())) - 1,
            _ => self.bits(),
        } & fraction_mask;
        let biased = match self.below(12) {
            0 => {
                if self.percent(40) {
                    fraction = 0;
                }
                0
            }
            1 => {
                match self.below(4) {
                    0 => fraction = 0,
                    1 => fraction |= quiet,
                    2 => fraction &= !quiet,
                    _ => {}
                }
                top_exponent
            }
            2 => 1,
            3 => top_exponent - 1,
            4 => self.bits() & top_exponent,
            // Where integers and fixed-point numbers end.
            5 => bias + self.one_of(&[7, 8, 15, 16, 30, 31, 32, 62, 63, 64]),
            6 => bias + self.below(mantissa.into()),
            // Where narrower formats end.
            7 => bias.wrapping_sub(self.one_of(&[14, 15, 24, 25, 126, 127, 149, 150])),
            _ => bias.wrapping_add(self.below(9)).wrapping_sub(4),
        };
        sign | (biased & top_exponent) << mantissa | fraction
    }

    /// A vector of elements of one kind.
    pub fn vector(&mut self, kind: Elements) -> u128 {
        let (width, element): (u32, fn(&mut Random, u32) -> u64) = match kind {
            Elements::Half => (16, |r, _| r.float(5, 10)),
            Elements::Single => (32, |r, _| r.float(8, 23)),
            Elements::Double => (64, |r, _| r.float(11, 52)),
            Elements::Integer(width) => (width, Random::integer),
            Elements::Bits => (64, |r, _| r.bits()),
        };
        (0..128 / width).fold(0, |v, _| v << width | u128::from(element(self, width)))
    }

    /// A kind of vector.
    pub fn elements(&mut self) -> Elements {
        use Elements::*;
        self.one_of(&[
            Half,
            Half,
            Single,
            Single,
            Double,
            Double,
            Integer(8),
            Integer(16),
            Integer(32),
            Integer(64),
            Bits,
        ])
    }
}

/// What a vector is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    Half,
    Single,
    Double,
    /// Integers of this many bits.
    Integer(u32),
    /// Random bits.
    Bits,
}
