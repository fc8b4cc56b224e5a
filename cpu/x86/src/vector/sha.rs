//! The SHA extensions (SDM vol. 1, 5.21 "Intel Secure Hash Algorithm Extensions"; FIPS 180-4): words in the order of the
//! instructions' pseudocode.

use super::l32::{join, split};

fn choose(x: u32, y: u32, z: u32) -> u32 {
    (x & y) ^ (!x & z)
}
fn majority(x: u32, y: u32, z: u32) -> u32 {
    (x & y) ^ (x & z) ^ (y & z)
}
fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

/// SHA1RNDS4: four rounds on A, B, C, D in `state` (A on top), E being part of `message`.
pub fn sha1rnds4(state: u128, message: u128, imm: u32) -> u128 {
    let [mut d, mut c, mut b, mut a] = split(state);
    let mut e = 0u32;
    let (f, k): (fn(u32, u32, u32) -> u32, u32) = match imm & 3 {
        0 => (choose, 0x5a82_7999),
        1 => (parity, 0x6ed9_eba1),
        2 => (majority, 0x8f1b_bcdc),
        _ => (parity, 0xca62_c1d6),
    };
    for w in split(message).into_iter().rev() {
        let sum = f(b, c, d).wrapping_add(a.rotate_left(5)).wrapping_add(w).wrapping_add(e).wrapping_add(k);
        (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
    }
    join([d, c, b, a])
}

/// SHA1NEXTE.
pub fn sha1nexte(state: u128, message: u128) -> u128 {
    let mut words = split(message);
    words[3] = words[3].wrapping_add(split(state)[3].rotate_left(30));
    join(words)
}

/// SHA1MSG1.
pub fn sha1msg1(a: u128, b: u128) -> u128 {
    let ([w3, w2, w1, w0], [_, _, w5, w4]) = (split(a), split(b));
    join([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0])
}

/// SHA1MSG2.
pub fn sha1msg2(a: u128, b: u128) -> u128 {
    let ([a3, a2, a1, a0], [w15, w14, w13, _]) = (split(a), split(b));
    let w16 = (a0 ^ w13).rotate_left(1);
    join([(a3 ^ w16).rotate_left(1), (a2 ^ w15).rotate_left(1), (a1 ^ w14).rotate_left(1), w16])
}

/// SHA256RNDS2: two rounds on C, D, G, H in `cdgh` and A, B, E, F in `abef`; gives the new A, B, E, F.
pub fn sha256rnds2(cdgh: u128, abef: u128, message: u128) -> u128 {
    let ([mut h, mut g, mut d, mut c], [mut f, mut e, mut b, mut a]) = (split(cdgh), split(abef));
    for wk in split(message).into_iter().take(2) {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t1 = h.wrapping_add(s1).wrapping_add(choose(e, f, g)).wrapping_add(wk);
        let t2 = s0.wrapping_add(majority(a, b, c));
        (a, b, c, d, e, f, g, h) = (t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g);
    }
    join([f, e, b, a])
}

/// SHA256MSG1.
pub fn sha256msg1(a: u128, b: u128) -> u128 {
    let (a, next) = (split(a), split(b)[0]);
    let sigma = |w: u32| w.rotate_right(7) ^ w.rotate_right(18) ^ w >> 3;
    join([
        a[0].wrapping_add(sigma(a[1])),
        a[1].wrapping_add(sigma(a[2])),
        a[2].wrapping_add(sigma(a[3])),
        a[3].wrapping_add(sigma(next)),
    ])
}

/// SHA256MSG2.
pub fn sha256msg2(a: u128, b: u128) -> u128 {
    let ([a0, a1, a2, a3], [_, _, w14, w15]) = (split(a), split(b));
    let sigma = |w: u32| w.rotate_right(17) ^ w.rotate_right(19) ^ w >> 10;
    let w16 = a0.wrapping_add(sigma(w14));
    let w17 = a1.wrapping_add(sigma(w15));
    join([w16, w17, a2.wrapping_add(sigma(w16)), a3.wrapping_add(sigma(w17))])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One block of SHA-256 by these steps, after the message "abc" (FIPS 180-4's example).
    #[test]
    fn sha256_of_abc() {
        // The constants: fractional parts of cube roots of the first 64 primes.
        let primes = (2u64..).filter(|n| (2..*n).all(|d| n % d != 0));
        let k: Vec<u32> = primes
            .take(64)
            .map(|p| {
                // The integer cube root of p * 2^96, of which the low 32 bits are the fraction.
                let target = u128::from(p) << 96;
                let (mut low, mut high) = (0u128, 1u128 << 36);
                while high - low > 1 {
                    let middle = (low + high) / 2;
                    if middle * middle * middle <= target { low = middle } else { high = middle }
                }
                low as u32
            })
            .collect();
        assert_eq!((k[0], k[63]), (0x428a_2f98, 0xc671_78f2));
        let mut w = vec![0x6162_6380u32];
        w.resize(15, 0);
        w.push(24);
        while w.len() < 64 {
            let n = w.len();
            let four = |i: usize| join([w[i], w[i + 1], w[i + 2], w[i + 3]]);
            let first = split(sha256msg1(four(n - 16), four(n - 12)));
            let plus: [u32; 4] = std::array::from_fn(|i| first[i].wrapping_add(w[n - 7 + i]));
            w.extend(split(sha256msg2(join(plus), four(n - 4))));
        }
        let start: [u32; 8] =
            [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
        let [a, b, c, d, e, f, g, h] = start;
        let (mut abef, mut cdgh) = (join([f, e, b, a]), join([h, g, d, c]));
        for i in (0..64).step_by(2) {
            let wk = join([w[i].wrapping_add(k[i]), w[i + 1].wrapping_add(k[i + 1]), 0, 0]);
            let next = sha256rnds2(cdgh, abef, wk);
            (cdgh, abef) = (abef, next);
        }
        let [f, e, b, a] = split(abef);
        let [h, g, d, c] = split(cdgh);
        let sums: Vec<u32> = [a, b, c, d, e, f, g, h].iter().zip(start).map(|(x, y)| x.wrapping_add(y)).collect();
        let want: [u32; 8] =
            [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223, 0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad];
        assert_eq!(sums, want);
    }

    /// One block of SHA-1 of "abc".
    #[test]
    fn sha1_of_abc() {
        let mut w = vec![0x6162_6380u32];
        w.resize(15, 0);
        w.push(24);
        let four = |w: &[u32], i: usize| join([w[i + 3], w[i + 2], w[i + 1], w[i]]);
        while w.len() < 80 {
            let n = w.len();
            let first = sha1msg1(four(&w, n - 16), four(&w, n - 12)) ^ four(&w, n - 8);
            let next = split(sha1msg2(first, four(&w, n - 4)));
            w.extend(next.into_iter().rev());
        }
        let start = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        let [a, b, c, d, e] = start;
        let mut abcd = join([d, c, b, a]);
        let mut previous = None;
        for i in (0..80).step_by(4) {
            let message = four(&w, i);
            // The first E is added as it is; the later ones are A of four rounds before, rotated.
            let with_e = match previous {
                None => message.wrapping_add(u128::from(e) << 96),
                Some(state) => sha1nexte(state, message),
            };
            previous = Some(abcd);
            abcd = sha1rnds4(abcd, with_e, (i / 20) as u32);
        }
        let [d, c, b, a] = split(abcd);
        let e = split(sha1nexte(previous.unwrap_or(0), 0))[3];
        let sums: Vec<u32> = [a, b, c, d, e].iter().zip(start).map(|(x, y)| x.wrapping_add(y)).collect();
        assert_eq!(sums, [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c, 0x9cd0_d89d]);
    }
}
