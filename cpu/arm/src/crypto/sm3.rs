//! SM3 (GB/T 32905-2016): message expansion and compression on vectors of four words.

use super::{from_words, words};

fn p1(x: u32) -> u32 {
    x ^ x.rotate_left(15) ^ x.rotate_left(23)
}

/// SM3PARTW1: three words of message expansion; the fourth lacks a part that SM3PARTW2 adds.
pub fn sm3partw1(vd: u128, vn: u128, vm: u128) -> u128 {
    let (d, n, m) = (words(vd), words(vn), words(vm));
    let mut result = [0; 4];
    for i in 0..3 {
        result[i] = p1(d[i] ^ n[i] ^ m[i + 1].rotate_left(15));
    }
    result[3] = p1(d[3] ^ n[3] ^ result[0].rotate_left(15));
    from_words(result)
}

/// SM3PARTW2: the rest of message expansion.
pub fn sm3partw2(vd: u128, vn: u128, vm: u128) -> u128 {
    let (d, n, m) = (words(vd), words(vn), words(vm));
    let part: [u32; 4] = std::array::from_fn(|i| n[i] ^ m[i].rotate_left(7));
    let mut result: [u32; 4] = std::array::from_fn(|i| d[i] ^ part[i]);
    result[3] ^= p1(part[0].rotate_left(15));
    from_words(result)
}

/// SM3SS1: the intermediate SS1 of a round, in the top word.
pub fn sm3ss1(vn: u128, vm: u128, va: u128) -> u128 {
    let sum = words(vn)[3].rotate_left(12).wrapping_add(words(vm)[3]).wrapping_add(words(va)[3]);
    from_words([0, 0, 0, sum.rotate_left(7)])
}

fn majority(a: u32, b: u32, c: u32) -> u32 {
    a & b | a & c | b & c
}

fn parity(a: u32, b: u32, c: u32) -> u32 {
    a ^ b ^ c
}

/// The first half of a round: `vd` is (D, C, B, A) from the lowest word.
fn tt1(vd: u128, vn: u128, vm: u128, index: u32, ff: fn(u32, u32, u32) -> u32) -> u128 {
    let [d, c, b, a] = words(vd);
    let w = words(vm)[index as usize & 3];
    let ss2 = words(vn)[3] ^ a.rotate_left(12);
    let tt1 = ff(b, a, c).wrapping_add(d).wrapping_add(ss2).wrapping_add(w);
    from_words([c, b.rotate_left(9), a, tt1])
}

/// The second half of a round: `vd` is (H, G, F, E) from the lowest word.
fn tt2(vd: u128, vn: u128, vm: u128, index: u32, gg: fn(u32, u32, u32) -> u32) -> u128 {
    let [h, g, f, e] = words(vd);
    let w = words(vm)[index as usize & 3];
    let tt2 = gg(e, f, g).wrapping_add(h).wrapping_add(words(vn)[3]).wrapping_add(w);
    from_words([g, f.rotate_left(19), e, tt2 ^ tt2.rotate_left(9) ^ tt2.rotate_left(17)])
}

/// SM3TT1A: rounds 0 to 15. `index` is 0 to 3; only its low two bits count.
pub fn sm3tt1a(vd: u128, vn: u128, vm: u128, index: u32) -> u128 {
    tt1(vd, vn, vm, index, parity)
}
/// SM3TT1B: rounds 16 to 63.
pub fn sm3tt1b(vd: u128, vn: u128, vm: u128, index: u32) -> u128 {
    tt1(vd, vn, vm, index, majority)
}
/// SM3TT2A: rounds 0 to 15.
pub fn sm3tt2a(vd: u128, vn: u128, vm: u128, index: u32) -> u128 {
    tt2(vd, vn, vm, index, parity)
}
/// SM3TT2B: rounds 16 to 63.
pub fn sm3tt2b(vd: u128, vn: u128, vm: u128, index: u32) -> u128 {
    tt2(vd, vn, vm, index, |e, f, g| e & f | !e & g)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compresses one block with the instructions, as a program would.
    fn compress(state: [u32; 8], block: [u32; 16]) -> [u32; 8] {
        let four = |w: &[u32], at: usize| from_words([w[at], w[at + 1], w[at + 2], w[at + 3]]);
        let mut w: Vec<u32> = block.to_vec();
        for at in (0..52).step_by(4) {
            let partial = sm3partw1(four(&w, at), four(&w, at + 7), four(&w, at + 12));
            w.extend(words(sm3partw2(partial, four(&w, at + 10), four(&w, at + 3))));
        }
        let [a, b, c, d, e, f, g, h] = state;
        let (mut abcd, mut efgh) = (from_words([d, c, b, a]), from_words([h, g, f, e]));
        for j in 0..64u32 {
            let at = j as usize;
            let t: u32 = if j < 16 { 0x79cc_4519 } else { 0x7a87_9d8a };
            let top = |x: u32| from_words([0, 0, 0, x]);
            let ss1 = sm3ss1(abcd, efgh, top(t.rotate_left(j % 32)));
            let wp = from_words(std::array::from_fn(|i| if i as u32 == j % 4 { w[at] ^ w[at + 4] } else { 0 }));
            let plain = from_words(std::array::from_fn(|i| if i as u32 == j % 4 { w[at] } else { 0 }));
            // SS1 is made of E's and A's top words, as the instruction takes them from both vectors.
            let (first, second): (fn(_, _, _, _) -> _, fn(_, _, _, _) -> _) =
                if j < 16 { (sm3tt1a, sm3tt2a) } else { (sm3tt1b, sm3tt2b) };
            abcd = first(abcd, ss1, wp, j % 4);
            efgh = second(efgh, ss1, plain, j % 4);
        }
        let ([d, c, b, a], [h, g, f, e]) = (words(abcd), words(efgh));
        let new = [a, b, c, d, e, f, g, h];
        std::array::from_fn(|i| new[i] ^ state[i])
    }

    /// The example of the standard's annex A.1: the message "abc".
    #[test]
    fn standard_example() {
        let iv =
            [0x7380_166f, 0x4914_b2b9, 0x1724_42d7, 0xda8a_0600, 0xa96f_30bc, 0x1631_38aa, 0xe38d_ee4d, 0xb0fb_0e4e];
        let mut block = [0; 16];
        block[0] = 0x6162_6380;
        block[15] = 24;
        let expected =
            [0x66c7_f0f4, 0x62ee_edd9, 0xd1f2_d46b, 0xdc10_e4e2, 0x4167_c487, 0x5cf2_f7a2, 0x297d_a02b, 0x8f4b_a8e0];
        assert_eq!(compress(iv, block), expected);
    }
}
