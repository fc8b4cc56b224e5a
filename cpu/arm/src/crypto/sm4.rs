//! SM4 (GB/T 32907-2016) on vectors of four words: SM4E, SM4EKEY.

use super::{from_words, words};

/// The S-box.
const SBOX: [u8; 256] = sbox();

/// Inverse in GF(2^8) modulo x^8 + x^7 + x^6 + x^5 + x^4 + x^2 + 1, between two equal affine maps.
const fn sbox() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = affine(inverse(affine(i as u8)));
        i += 1;
    }
    table
}

/// The circulant matrix of 0xa7 (row by row, rotated), plus 0xd3.
const fn affine(x: u8) -> u8 {
    let mut result = 0;
    let mut bit = 0;
    while bit < 8 {
        result |= (((x & 0xa7u8.rotate_left(bit)).count_ones() & 1) as u8) << bit;
        bit += 1;
    }
    result ^ 0xd3
}

const fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut a, mut b) = (0u8, a, b);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0xf5 } else { 0 };
        b >>= 1;
    }
    product
}

/// `x` to the power of 254.
const fn inverse(x: u8) -> u8 {
    let mut result = 1;
    let mut n = 0;
    while n < 254 {
        result = multiply(result, x);
        n += 1;
    }
    result
}

fn substitute(x: u32) -> u32 {
    u32::from_le_bytes(x.to_le_bytes().map(|byte| SBOX[usize::from(byte)]))
}

/// Four rounds, with the linear transformation of the round or of the key schedule.
fn rounds(state: u128, keys: u128, linear: fn(u32) -> u32) -> u128 {
    let mut x = words(state);
    for key in words(keys) {
        let mixed = linear(substitute(x[1] ^ x[2] ^ x[3] ^ key));
        x = [x[1], x[2], x[3], x[0] ^ mixed];
    }
    from_words(x)
}

/// SM4E: four rounds of encryption of the state `vd` with the round keys `vn`.
pub fn sm4e(vd: u128, vn: u128) -> u128 {
    rounds(vd, vn, |x| x ^ x.rotate_left(2) ^ x.rotate_left(10) ^ x.rotate_left(18) ^ x.rotate_left(24))
}

/// SM4EKEY: the next four round keys from four (`vn`) and four constants (`vm`).
pub fn sm4ekey(vn: u128, vm: u128) -> u128 {
    rounds(vn, vm, |x| x ^ x.rotate_left(13) ^ x.rotate_left(23))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's annex A.1.
    #[test]
    fn standard_example() {
        assert_eq!((SBOX[0], SBOX[1], SBOX[0xff]), (0xd6, 0x90, 0x48));
        let key = [0x0123_4567, 0x89ab_cdef, 0xfedc_ba98, 0x7654_3210];
        let fk = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];
        let mut keys = from_words(std::array::from_fn(|i| key[i] ^ fk[i]));
        let mut state = from_words(key);
        for round in 0..8u32 {
            // CK: byte j of constant i is 7 * (4 * i + j) modulo 256, the first byte on top.
            let ck = std::array::from_fn(|i| {
                u32::from_be_bytes(std::array::from_fn(|j| (7 * (4 * (4 * round + i as u32) + j as u32)) as u8))
            });
            keys = sm4ekey(keys, from_words(ck));
            state = sm4e(state, keys);
        }
        let mut output = words(state);
        output.reverse();
        assert_eq!(output, [0x681e_df34, 0xd206_965e, 0x86b3_e94f, 0x536e_4246]);
    }
}
