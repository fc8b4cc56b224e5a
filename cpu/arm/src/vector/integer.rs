//! Integer arithmetic on elements, across them, and bits of them.

/// SHSUB: half the difference.
pub fn shsub(size: u8, a: u128, b: u128) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| ((a as S as W - b as S as W) >> 1) as U)
}
/// UHSUB
pub fn uhsub(size: u8, a: u128, b: u128) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| ((W::from(a) - W::from(b)) >> 1) as U)
}

/// SQADD
pub fn sqadd(size: u8, a: u128, b: u128, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| saturate!(S, W, a as S as W + b as S as W, qc) as U)
}
/// UQADD
pub fn uqadd(size: u8, a: u128, b: u128, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| saturate!(U, W, W::from(a) + W::from(b), qc))
}
/// SQSUB
pub fn sqsub(size: u8, a: u128, b: u128, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| saturate!(S, W, a as S as W - b as S as W, qc) as U)
}
/// UQSUB
pub fn uqsub(size: u8, a: u128, b: u128, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| saturate!(U, W, W::from(a) - W::from(b), qc))
}
/// SUQADD: signed `d` plus unsigned `a`, signed result.
pub fn suqadd(size: u8, d: u128, a: u128, qc: &mut bool) -> u128 {
    each!(size, [d, a], |d, a; S, U, W| saturate!(S, W, d as S as W + W::from(a), qc) as U)
}
/// USQADD: unsigned `d` plus signed `a`, unsigned result.
pub fn usqadd(size: u8, d: u128, a: u128, qc: &mut bool) -> u128 {
    each!(size, [d, a], |d, a; S, U, W| saturate!(U, W, W::from(d) + a as S as W, qc))
}
/// SQABS
pub fn sqabs(size: u8, a: u128, qc: &mut bool) -> u128 {
    each!(size, [a], |a; S, U, W| saturate!(S, W, (a as S as W).abs(), qc) as U)
}
/// SQNEG
pub fn sqneg(size: u8, a: u128, qc: &mut bool) -> u128 {
    each!(size, [a], |a; S, U, W| saturate!(S, W, -(a as S as W), qc) as U)
}

/// CLS: bits after the sign that equal it.
pub fn cls(size: u8, a: u128) -> u128 {
    each!(size, [a], |a; S, U, W| {
        let sign = (a as S >> (S::BITS - 1)) as U;
        ((a ^ sign).leading_zeros() - 1) as U
    })
}
/// CLZ
pub fn clz(size: u8, a: u128) -> u128 {
    each!(size, [a], |a; S, U, W| a.leading_zeros() as U)
}
/// RBIT: the bits of each byte reversed.
pub fn rbit(a: u128) -> u128 {
    each!(0, [a], |a; S, U, W| a.reverse_bits())
}

/// URECPE
pub fn urecpe(a: u128) -> u128 {
    super::l32::join(super::l32::split(a).map(crate::fp::unsigned_recip_estimate))
}
/// URSQRTE
pub fn ursqrte(a: u128) -> u128 {
    super::l32::join(super::l32::split(a).map(crate::fp::unsigned_rsqrt_estimate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_is_noted() {
        let mut qc = false;
        assert_eq!(sqadd(0, 0x7f_7f_80_01, 0x01_00_ff_01, &mut qc), 0x7f_7f_80_02);
        assert!(qc);
        qc = false;
        assert_eq!(uqadd(1, 0xffff_0001, 0x0000_0001, &mut qc), 0xffff_0002);
        assert!(!qc);
        assert_eq!(uqsub(3, 1, 2, &mut qc), 0);
        assert!(qc);
        qc = false;
        assert_eq!(sqsub(3, 1 << 63, 1, &mut qc), 1 << 63);
        assert!(qc);
        qc = false;
        assert_eq!(suqadd(0, 0x80, 0xff, &mut qc), 0x7f);
        assert!(!qc);
        assert_eq!(usqadd(0, 0x01, 0xff, &mut qc), 0);
        assert!(!qc);
        assert_eq!(usqadd(0, 0x01, 0xfe, &mut qc), 0);
        assert!(qc);
        qc = false;
        assert_eq!(sqneg(2, 0x8000_0000, &mut qc), 0x7fff_ffff);
        assert!(qc);
        assert_eq!(sqabs(3, u64::MAX.into(), &mut qc), 1);
    }

    #[test]
    fn bits_and_halves() {
        assert_eq!(cls(0, 0x01_00_ff_80), 0x0707_0707_0707_0707_0707_0707_0607_0700);
        assert_eq!(clz(3, 1), (64 << 64) | 63);
        assert_eq!(rbit(0x01_80), 0x80_01);
        assert_eq!(shsub(0, 0x80, 0x7f), 0x80);
        assert_eq!(uhsub(0, 0x00, 0x01), 0xff);
    }
}
