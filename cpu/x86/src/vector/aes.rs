//! What AESKEYGENASSIST adds to the steps of AES that all instruction sets share ([`tcg::aes::steps`]).

use super::l32;
use tcg::aes::steps::SBOX;

/// AESKEYGENASSIST.
pub fn key_generation_assist(a: u128, round_constant: u32) -> u128 {
    let substitute = |v: u32| u32::from_le_bytes(v.to_le_bytes().map(|b| SBOX[usize::from(b)]));
    let [_, x1, _, x3] = l32::split(a).map(substitute);
    l32::join([x1, x1.rotate_right(8) ^ round_constant, x3, x3.rotate_right(8) ^ round_constant])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix A.1: the word that the first word of the second round key is made with, 0x8b84eb01 there.
    #[test]
    fn expansion_of_appendix_a1() {
        let key = 0x2b7e151628aed2a6abf7158809cf4f3c_u128.swap_bytes();
        assert_eq!(l32::split(key_generation_assist(key, 1))[3].swap_bytes(), 0x8b84_eb01);
    }
}
