//! SHA1C, SHA1P, SHA1M, SHA1H, SHA1SU0 and SHA1SU1 (FEAT_SHA1). FIPS 180-4, 6.1 "SHA-1".

use super::{from_words, words};

/// Ch of FIPS 180-4, 4.1.1; `SHAchoose` of the pseudocode.
pub(super) fn choose(x: u32, y: u32, z: u32) -> u32 {
    ((y ^ z) & x) ^ z
}

/// Maj of FIPS 180-4, 4.1.1; `SHAmajority` of the pseudocode.
pub(super) fn majority(x: u32, y: u32, z: u32) -> u32 {
    (x & y) | ((x | y) & z)
}

fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

/// Four rounds on (a, b, c, d) = `vd` and e = `vn`, with message words plus round constant in `vm`.
fn four_rounds(vd: u128, vn: u32, vm: u128, f: impl Fn(u32, u32, u32) -> u32) -> u128 {
    let [mut a, mut b, mut c, mut d] = words(vd);
    let mut e = vn;
    for w in words(vm) {
        let t = e.wrapping_add(a.rotate_left(5)).wrapping_add(f(b, c, d)).wrapping_add(w);
        (a, b, c, d, e) = (t, a, b.rotate_left(30), c, d);
    }
    from_words([a, b, c, d])
}

/// SHA1C: four rounds with the choose function. Arm ARM C7.2 "SHA1C".
pub fn sha1c(vd: u128, vn: u32, vm: u128) -> u128 {
    four_rounds(vd, vn, vm, choose)
}

/// SHA1P: four rounds with the parity function. Arm ARM C7.2 "SHA1P".
pub fn sha1p(vd: u128, vn: u32, vm: u128) -> u128 {
    four_rounds(vd, vn, vm, parity)
}

/// SHA1M: four rounds with the majority function. Arm ARM C7.2 "SHA1M".
pub fn sha1m(vd: u128, vn: u32, vm: u128) -> u128 {
    four_rounds(vd, vn, vm, majority)
}

/// SHA1H: fixed rotate. Arm ARM C7.2 "SHA1H".
pub fn sha1h(vn: u32) -> u32 {
    vn.rotate_left(30)
}

/// SHA1SU0: first half of the schedule of four message words. Arm ARM C7.2 "SHA1SU0".
pub fn sha1su0(vd: u128, vn: u128, vm: u128) -> u128 {
    ((vn << 64) | (vd >> 64)) ^ vd ^ vm
}

/// SHA1SU1: second half of the schedule of four message words. Arm ARM C7.2 "SHA1SU1".
pub fn sha1su1(vd: u128, vn: u128) -> u128 {
    let t = words(vd ^ (vn >> 32));
    let r = t.map(|w| w.rotate_left(1));
    from_words([r[0], r[1], r[2], r[3] ^ t[0].rotate_left(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(h: &mut [u32; 5], block: &[u8]) {
        let mut w = [0u128; 20];
        for i in 0..4 {
            w[i] = from_words(std::array::from_fn(|j| {
                u32::from_be_bytes(block[16 * i + 4 * j..][..4].try_into().unwrap())
            }));
        }
        for i in 4..20 {
            w[i] = sha1su1(sha1su0(w[i - 4], w[i - 3], w[i - 2]), w[i - 1]);
        }
        let (mut abcd, mut e) = (from_words([h[0], h[1], h[2], h[3]]), h[4]);
        for (i, &w) in w.iter().enumerate() {
            let k = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6][i / 5];
            let wk = from_words(words(w).map(|w| w.wrapping_add(k)));
            let next_e = sha1h(abcd as u32);
            abcd = [sha1c, sha1p, sha1m, sha1p][i / 5](abcd, e, wk);
            e = next_e;
        }
        let a = words(abcd);
        for (h, x) in h.iter_mut().zip([a[0], a[1], a[2], a[3], e]) {
            *h = h.wrapping_add(x);
        }
    }

    fn sha1(message: &[u8]) -> [u32; 5] {
        let mut padded = message.to_vec();
        padded.push(0x80);
        padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
        padded.extend((message.len() as u64 * 8).to_be_bytes());
        let mut h = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
        padded.chunks(64).for_each(|block| compress(&mut h, block));
        h
    }

    /// RFC 3174, 7.3 "Test Driver": TEST1, TEST2 and TEST4.
    #[test]
    fn digests_of_rfc_3174() {
        assert_eq!(sha1(b"abc"), [0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d]);
        assert_eq!(
            sha1(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            [0x84983e44, 0x1c3bd26e, 0xbaae4aa1, 0xf95129e5, 0xe54670f1]
        );
        let message = b"0123456701234567012345670123456701234567012345670123456701234567".repeat(10);
        assert_eq!(sha1(&message), [0xdea356a2, 0xcddd90c7, 0xa7ecedc5, 0xebb56393, 0x4f460452]);
    }
}
