//! SHA512H, SHA512H2, SHA512SU0 and SHA512SU1 (FEAT_SHA512). FIPS 180-4, 6.4 "SHA-512".

use super::{doublewords, from_doublewords};

fn big_sigma0(x: u64) -> u64 {
    x.rotate_right(28) ^ x.rotate_right(34) ^ x.rotate_right(39)
}

fn big_sigma1(x: u64) -> u64 {
    x.rotate_right(14) ^ x.rotate_right(18) ^ x.rotate_right(41)
}

fn small_sigma0(x: u64) -> u64 {
    x.rotate_right(1) ^ x.rotate_right(8) ^ (x >> 7)
}

fn small_sigma1(x: u64) -> u64 {
    x.rotate_right(19) ^ x.rotate_right(61) ^ (x >> 6)
}

fn choose(x: u64, y: u64, z: u64) -> u64 {
    ((y ^ z) & x) ^ z
}

fn majority(x: u64, y: u64, z: u64) -> u64 {
    (x & y) | ((x | y) & z)
}

/// SHA512H: the sigma1 and choose part of two rounds. Arm ARM C7.2 "SHA512H".
pub fn sha512h(vd: u128, vn: u128, vm: u128) -> u128 {
    let (w, x, y) = (doublewords(vd), doublewords(vn), doublewords(vm));
    let high = choose(y[1], x[0], x[1]).wrapping_add(big_sigma1(y[1])).wrapping_add(w[1]);
    let t = high.wrapping_add(y[0]);
    let low = choose(t, y[1], x[0]).wrapping_add(big_sigma1(t)).wrapping_add(w[0]);
    from_doublewords([low, high])
}

/// SHA512H2: the sigma0 and majority part of two rounds. Arm ARM C7.2 "SHA512H2".
pub fn sha512h2(vd: u128, vn: u128, vm: u128) -> u128 {
    let (w, x, y) = (doublewords(vd), doublewords(vn), doublewords(vm));
    let high = majority(x[0], y[1], y[0]).wrapping_add(big_sigma0(y[0])).wrapping_add(w[1]);
    let low = majority(high, y[0], y[1]).wrapping_add(big_sigma0(high)).wrapping_add(w[0]);
    from_doublewords([low, high])
}

/// SHA512SU0: first half of the schedule of two message words. Arm ARM C7.2 "SHA512SU0".
pub fn sha512su0(vd: u128, vn: u128) -> u128 {
    let (w, x) = (doublewords(vd), doublewords(vn));
    from_doublewords([w[0].wrapping_add(small_sigma0(w[1])), w[1].wrapping_add(small_sigma0(x[0]))])
}

/// SHA512SU1: second half of the schedule of two message words. Arm ARM C7.2 "SHA512SU1".
pub fn sha512su1(vd: u128, vn: u128, vm: u128) -> u128 {
    let (w, x, y) = (doublewords(vd), doublewords(vn), doublewords(vm));
    from_doublewords(std::array::from_fn(|i| w[i].wrapping_add(small_sigma1(x[i])).wrapping_add(y[i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 64 fractional bits of the square or cube root of `prime` (FIPS 180-4, 4.2.3 and 5.3.5). The power of a 68-bit root
    /// does not fit 128 bits, so the comparison is made on 32-bit limbs.
    fn fractional_root(prime: u64, root: u32) -> u64 {
        let power_is_at_most = |x: u128| {
            let limbs = |x: u128| -> Vec<u64> { (0..3).map(|i| (x >> (32 * i)) as u32 as u64).collect() };
            let mut power = vec![1u64];
            for _ in 0..root {
                let mut product = vec![0u128; power.len() + 3];
                for (i, &a) in power.iter().enumerate() {
                    for (j, &b) in limbs(x).iter().enumerate() {
                        product[i + j] += u128::from(a) * u128::from(b);
                    }
                }
                for i in 0..product.len() - 1 {
                    product[i + 1] += product[i] >> 32;
                    product[i] &= 0xffff_ffff;
                }
                power = product.iter().map(|&x| x as u64).collect();
            }
            // The integer part of power / 2^(64 * root) against the prime.
            let integer = power[2 * root as usize..].iter().rev().fold(0u128, |n, &limb| n << 32 | u128::from(limb));
            integer < u128::from(prime)
        };
        let (mut low, mut high) = (0u128, 1u128 << 70);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if power_is_at_most(middle) { low = middle } else { high = middle }
        }
        low as u64
    }

    fn sha512(message: &[u8]) -> [u64; 8] {
        let primes: Vec<u64> = (2u64..).filter(|n| (2..*n).all(|d| !n.is_multiple_of(d))).take(80).collect();
        let k: Vec<u64> = primes.iter().map(|&p| fractional_root(p, 3)).collect();
        let mut h: [u64; 8] = std::array::from_fn(|i| fractional_root(primes[i], 2));
        assert_eq!((k[0], k[79], h[0]), (0x428a2f98d728ae22, 0x6c44198c4a475817, 0x6a09e667f3bcc908));

        let mut padded = message.to_vec();
        padded.push(0x80);
        padded.resize((message.len() + 17).next_multiple_of(128) - 16, 0);
        padded.extend((message.len() as u128 * 8).to_be_bytes());
        for block in padded.chunks(128) {
            let mut w = [0u128; 40];
            for i in 0..8 {
                w[i] = from_doublewords(std::array::from_fn(|j| {
                    u64::from_be_bytes(block[16 * i + 8 * j..][..8].try_into().unwrap())
                }));
            }
            let odd_pair = |low: u128, high: u128| (high << 64) | (low >> 64);
            for i in 8..40 {
                let w9 = odd_pair(w[i - 4], w[i - 3]);
                w[i] = sha512su1(sha512su0(w[i - 8], w[i - 7]), w[i - 1], w9);
            }
            let mut s: [u128; 4] = std::array::from_fn(|i| from_doublewords([h[2 * i], h[2 * i + 1]]));
            for (i, &w) in w.iter().enumerate() {
                let w = doublewords(w);
                let kw = [w[0].wrapping_add(k[2 * i]), w[1].wrapping_add(k[2 * i + 1])];
                // h and g lie in s[3] the other way round from the operand: element 0 is the second round.
                let gh = doublewords(s[3]);
                let sum = from_doublewords([kw[1].wrapping_add(gh[0]), kw[0].wrapping_add(gh[1])]);
                let t1 = sha512h(sum, odd_pair(s[2], s[3]), odd_pair(s[1], s[2]));
                let [ab, cd, ef] = [s[0], s[1], s[2]];
                let new_ab = sha512h2(t1, cd, ab);
                let (c, t) = (doublewords(cd), doublewords(t1));
                let new_ef = from_doublewords([c[0].wrapping_add(t[0]), c[1].wrapping_add(t[1])]);
                s = [new_ab, ab, new_ef, ef];
            }
            for i in 0..8 {
                h[i] = h[i].wrapping_add(doublewords(s[i / 2])[i % 2]);
            }
        }
        h
    }

    /// RFC 6234, 8.5 "Test Driver": TEST1 for SHA-512.
    #[test]
    fn digest_of_rfc_6234() {
        assert_eq!(
            sha512(b"abc"),
            [
                0xddaf35a193617aba,
                0xcc417349ae204131,
                0x12e6fa4e89a97ea2,
                0x0a9eeee64b55d39a,
                0x2192992a274fc1a8,
                0x36ba3c23a3feebbd,
                0x454d4423643ce80e,
                0x2a9ac94fa54ca49f
            ]
        );
    }
}
