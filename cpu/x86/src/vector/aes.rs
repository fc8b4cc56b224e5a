//! The steps of AES (FIPS 197) on a state whose byte `i` is bits 8i+7:8i of the vector: byte r + 4c is row r of column c
//! (3.4 "The State").

use super::{l8, l32};

/// Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (4.2 "Multiplication").
const fn gf_mul(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = (a << 1) ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

/// The S-box: inverse in GF(2^8), then the affine map (5.1.1 "SubBytes").
const fn sbox() -> [u8; 256] {
    let mut table = [0; 256];
    // 3 generates the multiplicative group and 0xf6 is its inverse: walk both to meet every (element, inverse) pair.
    let (mut element, mut inverse) = (1u8, 1u8);
    loop {
        let i = inverse;
        table[element as usize] = i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63;
        element = gf_mul(element, 3);
        inverse = gf_mul(inverse, 0xf6);
        if element == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

const fn inverse_of(sbox: &[u8; 256]) -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[sbox[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// For each byte in row 0, what it adds to its column; other rows add the same word rotated.
const fn column_table(coefficients: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let [w, x, y, z] = coefficients;
        table[i] = u32::from_le_bytes([gf_mul(b, w), gf_mul(b, x), gf_mul(b, y), gf_mul(b, z)]);
        i += 1;
    }
    table
}

static SBOX: [u8; 256] = sbox();
static INVERSE_SBOX: [u8; 256] = inverse_of(&sbox());
static MIX: [u32; 256] = column_table([2, 1, 1, 3]);
static INVERSE_MIX: [u32; 256] = column_table([14, 9, 13, 11]);

/// Source byte of each byte of the state after ShiftRows, and after InvShiftRows.
const SHIFT_ROWS: [u8; 16] = [0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11];
const INVERSE_SHIFT_ROWS: [u8; 16] = [0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3];

fn shift_and_substitute(state: u128, rows: &[u8; 16], sbox: &[u8; 256]) -> u128 {
    let state = l8::split(state);
    l8::join(std::array::from_fn(|i| sbox[usize::from(state[usize::from(rows[i])])]))
}

fn mix(state: u128, table: &[u32; 256]) -> u128 {
    l32::join(l32::split(state).map(|column| {
        let b = column.to_le_bytes().map(|byte| table[usize::from(byte)]);
        b[0] ^ b[1].rotate_left(8) ^ b[2].rotate_left(16) ^ b[3].rotate_left(24)
    }))
}

/// ShiftRows and SubBytes of `a ^ b`.
pub fn encrypt(a: u128, b: u128) -> u128 {
    shift_and_substitute(a ^ b, &SHIFT_ROWS, &SBOX)
}

/// InvShiftRows and InvSubBytes of `a ^ b`.
pub fn decrypt(a: u128, b: u128) -> u128 {
    shift_and_substitute(a ^ b, &INVERSE_SHIFT_ROWS, &INVERSE_SBOX)
}

/// MixColumns.
pub fn mix_columns(a: u128) -> u128 {
    mix(a, &MIX)
}

/// InvMixColumns.
pub fn inverse_mix_columns(a: u128) -> u128 {
    mix(a, &INVERSE_MIX)
}

/// AESKEYGENASSIST.
pub fn key_generation_assist(a: u128, round_constant: u32) -> u128 {
    let substitute = |v: u32| u32::from_le_bytes(v.to_le_bytes().map(|b| SBOX[usize::from(b)]));
    let [_, x1, _, x3] = l32::split(a).map(substitute);
    l32::join([x1, x1.rotate_right(8) ^ round_constant, x3, x3.rotate_right(8) ^ round_constant])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix B: the first round, and the expansion of the key of appendix A.1.
    #[test]
    fn first_round_of_appendix_b() {
        let state = |hex: u128| hex.swap_bytes();
        let input = state(0x3243f6a8885a308d313198a2e0370734);
        let key = state(0x2b7e151628aed2a6abf7158809cf4f3c);
        let shifted = encrypt(input, key);
        assert_eq!(shifted, state(0xd4bf5d30e0b452aeb84111f11e2798e5));
        assert_eq!(mix_columns(shifted), state(0x046681e5e0cb199a48f8d37a2806264c));
        assert_eq!(inverse_mix_columns(mix_columns(shifted)), shifted);
        assert_eq!(decrypt(shifted, 0), input ^ key);
        // The word that the first word of the second round key is made with: 0x8b84eb01 as appendix A.1 writes it.
        assert_eq!(l32::split(key_generation_assist(key, 1))[3].swap_bytes(), 0x8b84_eb01);
    }
}
