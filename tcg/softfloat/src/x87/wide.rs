//! Magnitudes with 128 bits, for what is computed with more precision than the result has. Operations truncate; their
//! relative error is below 2^-120.

/// A magnitude `sig * 2^(exp - 127)`; bit 127 of `sig` is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub exp: i32,
    pub sig: u128,
}

/// The upper half of a product.
pub(super) fn mul_high(a: u128, b: u128) -> u128 {
    let low = |v: u128| v & u128::from(u64::MAX);
    let (a1, a0, b1, b0) = (a >> 64, low(a), b >> 64, low(b));
    let middle = a1 * b0 + ((a0 * b0) >> 64);
    let other = a0 * b1 + low(middle);
    a1 * b1 + (middle >> 64) + (other >> 64)
}

impl Wide {
    pub const ONE: Self = Self::new(0, 1 << 127);

    pub const fn new(exp: i32, sig: u128) -> Self {
        Self { exp, sig }
    }

    /// `value * 2^exp`; `None` for zero.
    pub fn from_int(value: u128, exp: i32) -> Option<Self> {
        match value.leading_zeros() {
            128 => None,
            shift => Some(Self::new(exp + 127 - shift as i32, value << shift)),
        }
    }

    /// From fixed point with 127 bits behind the point; not zero.
    fn from_fixed(value: u128) -> Self {
        let shift = value.leading_zeros();
        Self::new(-(shift as i32), value << shift)
    }

    /// Fixed point with 128 bits behind the point, of a number below one.
    pub fn fraction(self) -> u128 {
        self.sig.checked_shr((-1 - self.exp) as u32).unwrap_or(0)
    }

    pub fn mul(self, other: Self) -> Self {
        let sig = mul_high(self.sig, other.sig);
        let shift = sig.leading_zeros();
        Self::new(self.exp + other.exp + 1 - shift as i32, sig << shift)
    }

    pub fn add(self, other: Self) -> Self {
        let (large, small) = if self.exp >= other.exp { (self, other) } else { (other, self) };
        let aligned = small.sig.checked_shr((large.exp - small.exp) as u32).unwrap_or(0);
        match large.sig.overflowing_add(aligned) {
            (sum, false) => Self::new(large.exp, sum),
            (sum, true) => Self::new(large.exp + 1, sum >> 1 | 1 << 127),
        }
    }

    /// The magnitude of the difference, and whether `other` is the larger; `None` if they are equal. What is much smaller
    /// still makes a difference.
    pub fn sub(self, other: Self) -> Option<(bool, Self)> {
        let swap = (other.exp, other.sig) > (self.exp, self.sig);
        let (large, small) = if swap { (other, self) } else { (self, other) };
        let aligned = small.sig.checked_shr((large.exp - small.exp) as u32).unwrap_or(0).max(1);
        Some((swap, Self::from_int(large.sig - aligned, large.exp - 127)?))
    }

    /// `1 / self`, by one step of Newton's method from 64 bits.
    fn reciprocal(self) -> Self {
        // 2^127 over the upper 64 bits: between 2^63 and 2^64.
        let high = (self.sig >> 64) as u64;
        let guess = ((1u128 << 127) / u128::from(high)).min(u128::from(u64::MAX));
        let guess = Self::new(-self.exp - 1, guess << 64);
        // 1 - self * guess, of either sign, in fixed point; the product is near 1.
        let product = self.mul(guess);
        match Self::ONE.sub(product) {
            None => guess,
            Some((negative, error)) => {
                let correction = guess.mul(error);
                if negative { guess.sub(correction).map_or(guess, |(_, v)| v) } else { guess.add(correction) }
            }
        }
    }

    pub fn div(self, other: Self) -> Self {
        self.mul(other.reciprocal())
    }

    /// `self * (c[0] ± c[1] * z ± ...)` with alternating signs or none, coefficients with 127 bits behind the point and
    /// `z` with 128. The last bit is moved to the side where the rest of the series is, so that the sum is never exact.
    pub fn series(self, coefficients: &[u128], z: u128, alternating: bool) -> Self {
        let sum = coefficients.iter().rev().fold(0, |sum, c| {
            let term = mul_high(sum, z);
            if alternating { c - term } else { c + term }
        });
        self.mul(Self::from_fixed(if alternating { sum - 1 } else { sum + 1 }))
    }
}

/// `1 / (start + step * n)`, with 127 bits behind the point.
pub(super) const fn reciprocals<const N: usize>(start: u128, step: u128) -> [u128; N] {
    let mut all = [0; N];
    let mut n = 0;
    while n < N {
        all[n] = (1 << 127) / (start + step * n as u128);
        n += 1;
    }
    all
}

/// `1 / (start + step * n)!`, with 127 bits behind the point.
pub(super) const fn factorials<const N: usize>(start: u128, step: u128) -> [u128; N] {
    let mut all = [0; N];
    let mut value = 1u128 << 127;
    let mut factor = 1;
    let mut n = 0;
    while n < N {
        while factor <= start + step * n as u128 {
            value /= if factor == 0 { 1 } else { factor };
            factor += 1;
        }
        all[n] = value;
        n += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_precise() {
        for (a, b) in [(1u128, 3u128), (7, 10), (u128::MAX, u128::MAX - 1), (1 << 127, u128::MAX), (5, 1), (1, 1)] {
            let (a, b) = (Wide::from_int(a, 0).unwrap(), Wide::from_int(b, 0).unwrap());
            let back = a.div(b).mul(b);
            if let Some((_, error)) = a.sub(back) {
                assert!(error.exp < a.exp - 120, "{a:?} / {b:?}: {error:?}");
            }
        }
    }

    #[test]
    fn products_have_their_upper_half() {
        assert_eq!(mul_high(u128::MAX, u128::MAX), u128::MAX - 1);
        assert_eq!(mul_high(1 << 127, 6), 3);
        assert_eq!(mul_high(0x1_0000_0000_0000_0000, u128::MAX), u64::MAX.into());
    }
}
