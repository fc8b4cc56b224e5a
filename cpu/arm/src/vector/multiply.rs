//! Multiplications that saturate, sum, or are carry-less.

use super::{l8, l32};

/// SQDMULH, SQRDMULH: the high half of twice the product. `size` 1 or 2.
pub fn sqdmulh(size: u8, a: u128, b: u128, round: bool, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| {
        let product = (a as S as W).wrapping_mul(b as S as W);
        let half: W = if round { 1 << (S::BITS - 2) } else { 0 };
        saturate!(S, W, product.wrapping_add(half) >> (S::BITS - 1), qc) as U
    })
}

/// SQRDMLAH, SQRDMLSH (`subtract`): an accumulator plus the rounded high half of twice the product. `size` 1 or 2.
pub fn sqrdmlah(size: u8, c: u128, a: u128, b: u128, subtract: bool, qc: &mut bool) -> u128 {
    each!(size, [a, b, c], |a, b, c; S, U, W| {
        let product = (a as S as W).wrapping_mul(b as S as W);
        let product = if subtract { product.wrapping_neg() } else { product };
        let half: W = 1 << (S::BITS - 2);
        let sum = ((c as S as W) << (S::BITS - 1)).wrapping_add(product).wrapping_add(half);
        saturate!(S, W, sum >> (S::BITS - 1), qc) as U
    })
}

/// SQDMULL: twice the product of the low elements, in twice the width. `size` 1 or 2.
pub fn sqdmull(size: u8, a: u128, b: u128, qc: &mut bool) -> u128 {
    each_long!(size, 0, [a, b], |_c, a, b; S, U, WS, WU| {
        doubled_product!(a as S, b as S, WS, qc) as WU
    })
}

/// SQDMLAL, SQDMLSL (`subtract`): an accumulator plus SQDMULL, saturated again.
pub fn sqdmlal(size: u8, c: u128, a: u128, b: u128, subtract: bool, qc: &mut bool) -> u128 {
    each_long!(size, c, [a, b], |c, a, b; S, U, WS, WU| {
        let product = doubled_product!(a as S, b as S, WS, qc);
        let c = c as WS;
        let (sum, exact) = if subtract {
            (c.saturating_sub(product), c.checked_sub(product).is_some())
        } else {
            (c.saturating_add(product), c.checked_add(product).is_some())
        };
        *qc |= !exact;
        sum as WU
    })
}

/// SDOT: four products of signed bytes added to each 32-bit element.
pub fn sdot(c: u128, a: u128, b: u128) -> u128 {
    dot(c, a, b, |a, b| (i32::from(a as i8) * i32::from(b as i8)) as u32)
}
/// UDOT
pub fn udot(c: u128, a: u128, b: u128) -> u128 {
    dot(c, a, b, |a, b| u32::from(a) * u32::from(b))
}

fn dot(c: u128, a: u128, b: u128, product: fn(u8, u8) -> u32) -> u128 {
    let (a, b) = (l8::split(a), l8::split(b));
    let mut sums = l32::split(c);
    for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
        sums[i / 4] = sums[i / 4].wrapping_add(product(a, b));
    }
    l32::join(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_product_that_saturates() {
        let mut qc = false;
        assert_eq!(sqdmulh(1, 0x8000, 0x8000, false, &mut qc), 0x7fff);
        assert!(qc);
        qc = false;
        assert_eq!(sqdmulh(2, 0x8000_0000, 0x8000_0000, true, &mut qc), 0x7fff_ffff);
        assert!(qc);
        qc = false;
        assert_eq!(sqdmulh(2, 0x4000_0000, 0x4000_0000, false, &mut qc), 0x2000_0000);
        assert_eq!(sqdmulh(1, 0x0001, 0x4000, true, &mut qc), 1);
        assert_eq!(sqdmulh(1, 0x0001, 0x4000, false, &mut qc), 0);
        assert!(!qc);
        assert_eq!(sqdmull(2, 0x8000_0000, 0x8000_0000, &mut qc), i64::MAX as u128);
        assert!(qc);
    }

    #[test]
    fn accumulation() {
        let mut qc = false;
        assert_eq!(sqdmlal(1, 0x7fff_ffff, 1, 1, false, &mut qc), 0x7fff_ffff);
        assert!(qc);
        qc = false;
        assert_eq!(sqdmlal(1, 5, 1, 2, true, &mut qc), 1);
        assert!(!qc);
        assert_eq!(sqrdmlah(2, 0x8000_0000, 0x8000_0000, 0x8000_0000, false, &mut qc), 0);
        assert_eq!(sqrdmlah(2, 0x8000_0000, 0x7fff_ffff, 0x8000_0000, true, &mut qc) as u32, 0xffff_ffff);
        assert!(!qc);
        assert_eq!(sdot(1, 0xff, 0x02), u128::from(u32::MAX));
        assert_eq!(udot(1, 0xff_ff, 0x02_02), 1021);
    }
}
