//! EOR3, RAX1, XAR and BCAX (FEAT_SHA3).

use super::{doublewords, from_doublewords};

/// EOR3: three-way exclusive OR. Arm ARM C7.2 "EOR3".
pub fn eor3(vn: u128, vm: u128, va: u128) -> u128 {
    vn ^ vm ^ va
}

/// BCAX: bit clear and exclusive OR. Arm ARM C7.2 "BCAX".
pub fn bcax(vn: u128, vm: u128, va: u128) -> u128 {
    vn ^ (vm & !va)
}

/// RAX1: each doubleword of `vm` rotated left by one, exclusive OR `vn`. Arm ARM C7.2 "RAX1".
pub fn rax1(vn: u128, vm: u128) -> u128 {
    vn ^ from_doublewords(doublewords(vm).map(|d| d.rotate_left(1)))
}

/// XAR: exclusive OR, then each doubleword rotated right by `imm6` (0 to 63; higher bits are ignored). Arm ARM C7.2 "XAR".
pub fn xar(vn: u128, vm: u128, imm6: u32) -> u128 {
    from_doublewords(doublewords(vn ^ vm).map(|d| d.rotate_right(imm6 & 63)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KECCAK-p[1600, 24] (FIPS 202, 3.3) on two states at once, one in each doubleword.
    fn keccak(a: &mut [u128; 25]) {
        let mut lfsr = 1u8;
        for _ in 0..24 {
            let c: [u128; 5] = std::array::from_fn(|x| eor3(eor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20]));
            let d: [u128; 5] = std::array::from_fn(|x| rax1(c[(x + 4) % 5], c[(x + 1) % 5]));
            let mut b = [0u128; 25];
            b[0] = a[0] ^ d[0];
            // 3.2.2 "rho" and 3.2.3 "pi".
            let (mut x, mut y) = (1, 0);
            for t in 0..24 {
                let offset = (t + 1) * (t + 2) / 2 % 64;
                b[y + 5 * ((2 * x + 3 * y) % 5)] = xar(a[x + 5 * y], d[x], (64 - offset) % 64);
                (x, y) = (y, (2 * x + 3 * y) % 5);
            }
            for i in 0..25 {
                let row = i / 5 * 5;
                a[i] = bcax(b[i], b[row + (i + 2) % 5], b[row + (i + 1) % 5]);
            }
            // 3.2.5 "iota": one bit of the round constant at each position 2^j - 1.
            for j in 0..7 {
                if lfsr & 1 != 0 {
                    a[0] ^= from_doublewords([1 << ((1 << j) - 1); 2]);
                }
                lfsr = (lfsr << 1) ^ if lfsr & 0x80 != 0 { 0x71 } else { 0 };
            }
        }
    }

    /// SHA3-256 of the empty message and of "abc" (FIPS 202 example values), in the two halves of one permutation.
    #[test]
    fn sha3_256() {
        let mut a = [0u128; 25];
        a[0] = from_doublewords([0x06, u64::from_le_bytes(*b"abc\x06\0\0\0\0")]);
        a[16] = from_doublewords([1 << 63; 2]);
        keccak(&mut a);
        let digest = |half: usize| a[..4].iter().map(|&lane| doublewords(lane)[half].swap_bytes()).collect::<Vec<_>>();
        assert_eq!(digest(0), [0xa7ffc6f8bf1ed766, 0x51c14756a061d662, 0xf580ff4de43b49fa, 0x82d80a4b80f8434a]);
        assert_eq!(digest(1), [0x3a985da74fe225b2, 0x045c172d6bd390bd, 0x855f086e3e9d525b, 0x46bfe24511431532]);
    }

    #[test]
    fn xar_takes_its_rotation_modulo_64() {
        assert_eq!(xar(1, 0, 0), 1);
        assert_eq!(xar(1, 0, 1), 1 << 63);
        assert_eq!(xar(3 << 64, 1 << 64, 65), 1 << 64);
    }
}
