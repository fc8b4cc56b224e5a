//! SHA256H, SHA256H2, SHA256SU0 and SHA256SU1 (FEAT_SHA256). FIPS 180-4, 6.2 "SHA-256".

use super::sha1::{choose, majority};
use super::{from_words, words};

/// Four rounds: (a, b, c, d) and (e, f, g, h) before and after; `SHA256hash` of the pseudocode.
fn four_rounds(abcd: u128, efgh: u128, w: u128) -> (u128, u128) {
    let [mut a, mut b, mut c, mut d] = words(abcd);
    let [mut e, mut f, mut g, mut h] = words(efgh);
    for w in words(w) {
        let sigma1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let t1 = h.wrapping_add(sigma1).wrapping_add(choose(e, f, g)).wrapping_add(w);
        let sigma0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = sigma0.wrapping_add(majority(a, b, c));
        (a, b, c, d, e, f, g, h) = (t1.wrapping_add(t2), a, b, c, d.wrapping_add(t1), e, f, g);
    }
    (from_words([a, b, c, d]), from_words([e, f, g, h]))
}

/// SHA256H: (a, b, c, d) after four rounds; `vd` = (a, b, c, d), `vn` = (e, f, g, h), `vm` = message words plus constants.
/// Arm ARM C7.2 "SHA256H".
pub fn sha256h(vd: u128, vn: u128, vm: u128) -> u128 {
    four_rounds(vd, vn, vm).0
}

/// SHA256H2: (e, f, g, h) after four rounds; `vd` = (e, f, g, h), `vn` = (a, b, c, d) before them.
/// Arm ARM C7.2 "SHA256H2".
pub fn sha256h2(vd: u128, vn: u128, vm: u128) -> u128 {
    four_rounds(vn, vd, vm).1
}

/// SHA256SU0: first half of the schedule of four message words. Arm ARM C7.2 "SHA256SU0".
pub fn sha256su0(vd: u128, vn: u128) -> u128 {
    let w = words(vd);
    let t = words((vn << 96) | (vd >> 32));
    from_words(std::array::from_fn(|i| w[i].wrapping_add(t[i].rotate_right(7) ^ t[i].rotate_right(18) ^ (t[i] >> 3))))
}

/// SHA256SU1: second half of the schedule of four message words. Arm ARM C7.2 "SHA256SU1".
pub fn sha256su1(vd: u128, vn: u128, vm: u128) -> u128 {
    let sigma1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10);
    let d = words(vd);
    let t0 = words((vm << 96) | (vn >> 32));
    let m = words(vm);
    let r0 = d[0].wrapping_add(t0[0]).wrapping_add(sigma1(m[2]));
    let r1 = d[1].wrapping_add(t0[1]).wrapping_add(sigma1(m[3]));
    let r2 = d[2].wrapping_add(t0[2]).wrapping_add(sigma1(r0));
    let r3 = d[3].wrapping_add(t0[3]).wrapping_add(sigma1(r1));
    from_words([r0, r1, r2, r3])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 32 bits of the fractional part of the `root`-th root of each of the first 64 primes (FIPS 180-4, 4.2.2
    /// and 5.3.3), by integer search.
    fn fractional_roots(root: u32, count: usize) -> Vec<u32> {
        let is_prime = |n: &u128| (2..*n).all(|d| !n.is_multiple_of(d));
        (2u128..)
            .filter(is_prime)
            .take(count)
            .map(|prime| {
                let target = prime << (32 * root);
                let (mut low, mut high) = (0u128, 1 << 40);
                while high - low > 1 {
                    let middle = (low + high) / 2;
                    if middle.pow(root) <= target { low = middle } else { high = middle }
                }
                low as u32
            })
            .collect()
    }

    fn sha256(message: &[u8]) -> Vec<u32> {
        let k = fractional_roots(3, 64);
        let mut h: Vec<u32> = fractional_roots(2, 8);
        assert_eq!((k[0], k[63], h[0], h[7]), (0x428a2f98, 0xc67178f2, 0x6a09e667, 0x5be0cd19));
        let mut padded = message.to_vec();
        padded.push(0x80);
        padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
        padded.extend((message.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks(64) {
            let mut w = [0u128; 16];
            for i in 0..4 {
                w[i] = from_words(std::array::from_fn(|j| {
                    u32::from_be_bytes(block[16 * i + 4 * j..][..4].try_into().unwrap())
                }));
            }
            for i in 4..16 {
                w[i] = sha256su1(sha256su0(w[i - 4], w[i - 3]), w[i - 2], w[i - 1]);
            }
            let (mut abcd, mut efgh) = (from_words([h[0], h[1], h[2], h[3]]), from_words([h[4], h[5], h[6], h[7]]));
            for (i, &w) in w.iter().enumerate() {
                let w = words(w);
                let wk = from_words(std::array::from_fn(|j| w[j].wrapping_add(k[4 * i + j])));
                (abcd, efgh) = (sha256h(abcd, efgh, wk), sha256h2(efgh, abcd, wk));
            }
            let state = [words(abcd), words(efgh)].concat();
            h.iter_mut().zip(state).for_each(|(h, x)| *h = h.wrapping_add(x));
        }
        h
    }

    /// RFC 6234, 8.5 "Test Driver": TEST1 and TEST2_1 for SHA-256.
    #[test]
    fn digests_of_rfc_6234() {
        assert_eq!(
            sha256(b"abc"),
            [0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad]
        );
        assert_eq!(
            sha256(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            [0x248d6a61, 0xd20638b8, 0xe5c02693, 0x0c3e6039, 0xa33ce459, 0x64ff2167, 0xf6ecedd4, 0x19db06c1]
        );
    }
}
