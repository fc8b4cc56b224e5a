//! Integer operations on elements.

use super::{l8, l16, l32, l64};

/// A kind of shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Left,
    Right,
    Arithmetic,
}

/// One element of `bits` bits shifted by any count.
fn shift_one(kind: Shift, bits: u32, v: u64, count: u64) -> u64 {
    let unused = 64 - bits;
    let outside = count >= u64::from(bits);
    match kind {
        Shift::Left | Shift::Right if outside => 0,
        Shift::Left => v << count << unused >> unused,
        Shift::Right => v >> count,
        Shift::Arithmetic => {
            let count = if outside { bits - 1 } else { count as u32 };
            ((v << unused) as i64 >> unused >> count) as u64 & (u64::MAX >> unused)
        }
    }
}

/// PSLLW and the like, with the count in the low quadword of the second operand: elements of `bits` bits.
pub fn shift(kind: Shift, bits: u32, v: u128, count: u64) -> u128 {
    let one = |v: u64| shift_one(kind, bits, v, count);
    match bits {
        16 => l16::join(l16::split(v).map(|v| one(v.into()) as u16)),
        32 => l32::join(l32::split(v).map(|v| one(v.into()) as u32)),
        _ => l64::join(l64::split(v).map(one)),
    }
}

/// VPSLLVD and the like: each element by its own count.
pub fn shift_each(kind: Shift, bits: u32, v: u128, counts: u128) -> u128 {
    if bits == 32 {
        let (v, counts) = (l32::split(v), l32::split(counts));
        l32::join(std::array::from_fn(|i| shift_one(kind, 32, v[i].into(), counts[i].into()) as u32))
    } else {
        let (v, counts) = (l64::split(v), l64::split(counts));
        l64::join(std::array::from_fn(|i| shift_one(kind, 64, v[i], counts[i])))
    }
}

/// MPSADBW: sums of absolute differences of four bytes of `b` with those at eight successive places of `a`.
pub fn mpsadbw(a: u128, b: u128, imm: u32) -> u128 {
    let (a, b) = (l8::split(a), l8::split(b));
    let (from_a, from_b) = ((imm as usize >> 2 & 1) * 4, (imm as usize & 3) * 4);
    l16::join(std::array::from_fn(|i| (0..4).map(|k| u16::from(a[from_a + i + k].abs_diff(b[from_b + k]))).sum()))
}

/// PHMINPOSUW: the least word, and its number in the next one.
pub fn phminposuw(a: u128) -> u128 {
    let least = l16::split(a).into_iter().zip(0u128..).min();
    least.map_or(0, |(word, index)| u128::from(word) | index << 16)
}

/// VPERMD, VPERMPS: element `i` is that of the eight of `low` and `high` that the low three bits of the index name.
pub fn vpermd(low: u128, high: u128, indices: u128) -> u128 {
    let (low, high) = (l32::split(low), l32::split(high));
    l32::join(l32::split(indices).map(|index| {
        let half = if index & 4 == 0 { low } else { high };
        half[index as usize & 3]
    }))
}

/// VPERMILPS with indices in a register.
pub fn vpermilps(a: u128, indices: u128) -> u128 {
    let a = l32::split(a);
    l32::join(l32::split(indices).map(|index| a[index as usize & 3]))
}

/// VPERMILPD with indices in a register: their bit 1 counts.
pub fn vpermilpd(a: u128, indices: u128) -> u128 {
    let a = l64::split(a);
    l64::join(l64::split(indices).map(|index| a[index as usize >> 1 & 1]))
}

/// PCLMULQDQ: the product without carries of two quadwords, which bits 0 and 4 of the constant choose.
pub fn pclmulqdq(a: u128, b: u128, imm: u32) -> u128 {
    let a = u128::from(l64::split(a)[imm as usize & 1]);
    let b = l64::split(b)[imm as usize >> 4 & 1];
    (0..64).fold(0, |product, i| product ^ if b >> i & 1 != 0 { a << i } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_beyond_the_width() {
        let v = l16::join([0x8001, 1, 2, 3, 4, 5, 6, 0x7fff]);
        assert_eq!(shift(Shift::Left, 16, v, 16), 0);
        assert_eq!(shift(Shift::Arithmetic, 16, v, u64::MAX), 0xffff);
        assert_eq!(shift(Shift::Right, 16, v, 1), l16::join([0x4000, 0, 1, 1, 2, 2, 3, 0x3fff]));
        assert_eq!(shift(Shift::Left, 64, 3, 63), 1 << 63);
        assert_eq!(shift_each(Shift::Arithmetic, 32, 0x8000_0000, 40), 0xffff_ffff);
    }

    #[test]
    fn carryless_product() {
        // (x + 1)^2 = x^2 + 1
        assert_eq!(pclmulqdq(3, 3, 0), 5);
        assert_eq!(pclmulqdq(7 << 64, 1 << 127, 0x11), 7 << 63);
    }

    #[test]
    fn least_word() {
        assert_eq!(phminposuw(l16::join([9, 4, 7, 4, 9, 9, 9, 9])), 0x1_0004);
    }
}
