//! The steps of AES (FIPS 197) in software, on a state whose byte i is bits 8i+7:8i of the vector.
//!
//! The state is column-major as in FIPS 197, 3.4 "The State": byte r + 4c is row r of column c.

use crate::lanes::l32;

/// Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2 "Multiplication").
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

/// The S-box: inverse in GF(2^8), then the affine map (FIPS 197, 5.1.1 "SubBytes").
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

/// For each byte in row 0, what it adds to its column: the first column of the (Inv)MixColumns matrix. Rows 1 to 3 add the
/// same word rotated by 8, 16 and 24 bits, because the matrix is circulant.
const fn column_table(coefficients: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = u32::from_le_bytes([
            gf_mul(i as u8, coefficients[0]),
            gf_mul(i as u8, coefficients[1]),
            gf_mul(i as u8, coefficients[2]),
            gf_mul(i as u8, coefficients[3]),
        ]);
        i += 1;
    }
    table
}

pub static SBOX: [u8; 256] = sbox();
static INVERSE_SBOX: [u8; 256] = inverse_of(&sbox());
static MIX: [u32; 256] = column_table([2, 1, 1, 3]);
static INVERSE_MIX: [u32; 256] = column_table([14, 9, 13, 11]);

/// Source byte of each byte of the state after ShiftRows: row r moves left by r columns.
const SHIFT_ROWS: [u8; 16] = [0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11];
/// Source byte of each byte of the state after InvShiftRows.
const INVERSE_SHIFT_ROWS: [u8; 16] = [0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3];

fn shift_and_substitute(state: u128, rows: &[u8; 16], sbox: &[u8; 256]) -> u128 {
    let state = state.to_le_bytes();
    u128::from_le_bytes(std::array::from_fn(|i| sbox[usize::from(state[usize::from(rows[i])])]))
}

fn mix(state: u128, table: &[u32; 256]) -> u128 {
    l32::join(l32::split(state).map(|column| {
        let b = column.to_le_bytes();
        table[usize::from(b[0])]
            ^ table[usize::from(b[1])].rotate_left(8)
            ^ table[usize::from(b[2])].rotate_left(16)
            ^ table[usize::from(b[3])].rotate_left(24)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A state as FIPS 197 writes it: byte 0 first.
    fn state(hex: u128) -> u128 {
        hex.swap_bytes()
    }

    /// FIPS 197, 5.2 "KeyExpansion" for a 128-bit key, with the S-box taken from `encrypt` itself.
    fn expand(key: u128) -> [u128; 11] {
        let mut keys = [key; 11];
        let mut rcon = 1;
        for round in 1..11 {
            let mut w = l32::split(keys[round - 1]);
            let last = w[3].rotate_right(8);
            // A state of equal columns is not changed by ShiftRows.
            let substituted = encrypt(l32::join([last; 4]), 0) as u32;
            w[0] ^= substituted ^ u32::from(rcon);
            w[1] ^= w[0];
            w[2] ^= w[1];
            w[3] ^= w[2];
            keys[round] = l32::join(w);
            rcon = gf_mul(rcon, 2);
        }
        keys
    }

    fn encipher(keys: &[u128; 11], block: u128) -> u128 {
        let last = keys[..9].iter().fold(block, |s, &key| mix_columns(encrypt(s, key)));
        encrypt(last, keys[9]) ^ keys[10]
    }

    /// FIPS 197, 5.3.5 "Equivalent Inverse Cipher".
    fn decipher(keys: &[u128; 11], block: u128) -> u128 {
        let first = inverse_mix_columns(decrypt(block, keys[10]));
        let last =
            (2..10).rev().fold(first, |s, round| inverse_mix_columns(decrypt(s, inverse_mix_columns(keys[round]))));
        decrypt(last, inverse_mix_columns(keys[1])) ^ keys[0]
    }

    #[test]
    fn sbox_of_figure_7() {
        assert_eq!((SBOX[0x00], SBOX[0x01], SBOX[0x53], SBOX[0xff]), (0x63, 0x7c, 0xed, 0x16));
        assert!((0..256).all(|i| usize::from(INVERSE_SBOX[usize::from(SBOX[i])]) == i));
    }

    #[test]
    fn first_round_of_appendix_b() {
        let input = state(0x3243f6a8885a308d313198a2e0370734);
        let key = state(0x2b7e151628aed2a6abf7158809cf4f3c);
        let shifted = encrypt(input, key);
        assert_eq!(shifted, state(0xd4bf5d30e0b452aeb84111f11e2798e5));
        assert_eq!(mix_columns(shifted), state(0x046681e5e0cb199a48f8d37a2806264c));
        assert_eq!(inverse_mix_columns(mix_columns(shifted)), shifted);
        assert_eq!(decrypt(shifted, 0), input ^ key);
    }

    #[test]
    fn cipher_of_appendix_b_and_c1() {
        let keys = expand(state(0x2b7e151628aed2a6abf7158809cf4f3c));
        assert_eq!(keys[10], state(0xd014f9a8c9ee2589e13f0cc8b6630ca6));
        let (plain, cipher) = (state(0x3243f6a8885a308d313198a2e0370734), state(0x3925841d02dc09fbdc118597196a0b32));
        assert_eq!(encipher(&keys, plain), cipher);
        assert_eq!(decipher(&keys, cipher), plain);

        let keys = expand(state(0x000102030405060708090a0b0c0d0e0f));
        let (plain, cipher) = (state(0x00112233445566778899aabbccddeeff), state(0x69c4e0d86a7b0430d8cdb78070b4c55a));
        assert_eq!(encipher(&keys, plain), cipher);
        assert_eq!(decipher(&keys, cipher), plain);
    }
}
