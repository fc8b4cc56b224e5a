//! Polynomial (carry-less) multiplication: PMUL and PMULL, including the 64-bit form of FEAT_PMULL.

const LANES_8: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
const LANES_16: u128 = 0x0001_0001_0001_0001_0001_0001_0001_0001;

/// PMUL: the low 8 bits of the product of each of sixteen 8-bit polynomials. Arm ARM C7.2 "PMUL". The 64-bit form of the
/// instruction is the low half.
pub fn pmul8(vn: u128, vm: u128) -> u128 {
    let mut multiplicand = vn;
    let mut product = 0;
    for bit in 0..8 {
        let selected = (vm >> bit) & LANES_8;
        // 1 becomes 0xff in its own lane: the subtraction never borrows from the lane above.
        product ^= multiplicand & (selected << 8).wrapping_sub(selected);
        multiplicand = (multiplicand & (0x7f * LANES_8)) << 1;
    }
    product
}

/// The eight bytes of `v`, each in a 16-bit lane.
fn spread(v: u64) -> u128 {
    let v = u128::from(v);
    let v = (v | v << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    let v = (v | v << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    (v | v << 8) & (0xff * LANES_16)
}

/// PMULL, 8-bit elements: the eight 16-bit products. PMULL2 passes the high halves. Arm ARM C7.2 "PMULL, PMULL2".
pub fn pmull8(vn: u64, vm: u64) -> u128 {
    let (multiplicand, multiplier) = (spread(vn), spread(vm));
    let mut product = 0;
    for bit in 0..8 {
        let selected = (multiplier >> bit) & LANES_16;
        product ^= (multiplicand & ((selected << 8) - selected)) << bit;
    }
    product
}

/// PMULL, 64-bit element: the 128-bit product. PMULL2 passes the high halves. Arm ARM C7.2 "PMULL, PMULL2".
pub fn pmull64(vn: u64, vm: u64) -> u128 {
    let multiplicand = u128::from(vn);
    // Products of the multiplicand with every 4-bit polynomial.
    let mut multiple = [0u128; 16];
    for i in 1..16 {
        multiple[i] = (multiple[i / 2] << 1) ^ if i % 2 == 1 { multiplicand } else { 0 };
    }
    (0..16).rev().fold(0, |product, digit| (product << 4) ^ multiple[(vm >> (4 * digit)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PolynomialMult` of the shared pseudocode, bit by bit.
    fn polynomial_mult(a: u64, b: u64) -> u128 {
        (0..64).filter(|i| b >> i & 1 != 0).fold(0, |sum, i| sum ^ (u128::from(a) << i))
    }

    fn values() -> impl Iterator<Item = u64> {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        [0, 1, u64::MAX, 1 << 63].into_iter().chain((0..60).map(move |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        }))
    }

    /// The worked example of Intel's white paper on carry-less multiplication and GCM.
    #[test]
    fn published_products() {
        let (a, b) = (0x7b5b54657374566563746f725d53475du128, 0x48692853686179295b477565726f6e5du128);
        assert_eq!(pmull64(a as u64, b as u64), 0x1d4d84c85c3440c0929633d5d36f0451);
        assert_eq!(pmull64((a >> 64) as u64, (b >> 64) as u64), 0x1d1e1f2c592e7c45d66ee03e410fd4ed);
    }

    #[test]
    fn products_equal_the_definition() {
        for a in values() {
            for b in values() {
                assert_eq!(pmull64(a, b), polynomial_mult(a, b), "{a:#x} * {b:#x}");
                let (pa, pb) = (a.to_le_bytes(), b.to_le_bytes());
                let long = pmull8(a, b);
                let short = pmul8(u128::from(a) | u128::from(b) << 64, u128::from(b) | u128::from(a) << 64);
                for i in 0..8 {
                    let expected = polynomial_mult(pa[i].into(), pb[i].into());
                    assert_eq!((long >> (16 * i)) & 0xffff, expected);
                    assert_eq!((short >> (8 * i)) & 0xff, expected & 0xff);
                    assert_eq!((short >> (64 + 8 * i)) & 0xff, expected & 0xff);
                }
            }
        }
    }
}
