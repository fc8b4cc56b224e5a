//! Shifts that round, saturate or take their count from a register.

/// `x` shifted left by `by`, or right if it is negative, there rounding if asked to. `x` is an element of at most 64
/// bits. A shift so far left that nothing remains gives a number that is out of any element's range and has zeros in its
/// low 64 bits.
#[inline]
fn shifted(x: i128, by: i32, round: bool) -> i128 {
    match by {
        64.. => x.signum() << 100,
        0..=63 => x << by,
        _ => {
            let by = (-by).min(126);
            let half = if round { 1i128 << (by - 1) } else { 0 };
            (x + half) >> by
        }
    }
}

/// SSHL, SRSHL: by the signed low byte of the elements of `b`.
pub fn sshl(size: u8, a: u128, b: u128, round: bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| shifted((a as S).into(), (b as i8).into(), round) as U)
}
/// USHL, URSHL
pub fn ushl(size: u8, a: u128, b: u128, round: bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| shifted(a.into(), (b as i8).into(), round) as U)
}
/// SQSHL, SQRSHL
pub fn sqshl(size: u8, a: u128, b: u128, round: bool, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| saturate!(S, i128, shifted((a as S).into(), (b as i8).into(), round), qc) as U)
}
/// UQSHL, UQRSHL
pub fn uqshl(size: u8, a: u128, b: u128, round: bool, qc: &mut bool) -> u128 {
    each!(size, [a, b], |a, b; S, U, W| saturate!(U, i128, shifted(a.into(), (b as i8).into(), round), qc))
}
/// SQSHLU: signed elements to the left, unsigned result.
pub fn sqshlu(size: u8, a: u128, by: u32, qc: &mut bool) -> u128 {
    each!(size, [a], |a; S, U, W| saturate!(U, i128, shifted((a as S).into(), by as i32, false), qc))
}

/// SQSHRN, SQRSHRN; SQXTN for `by` 0.
pub fn sqshrn(size: u8, a: u128, by: u32, round: bool, qc: &mut bool) -> u128 {
    each_narrow!(size, a, |a; S, U, WS| saturate!(S, i128, shifted((a as WS).into(), -(by as i32), round), qc) as U)
}
/// SQSHRUN, SQRSHRUN; SQXTUN for `by` 0.
pub fn sqshrun(size: u8, a: u128, by: u32, round: bool, qc: &mut bool) -> u128 {
    each_narrow!(size, a, |a; S, U, WS| saturate!(U, i128, shifted((a as WS).into(), -(by as i32), round), qc))
}
/// UQSHRN, UQRSHRN; UQXTN for `by` 0.
pub fn uqshrn(size: u8, a: u128, by: u32, round: bool, qc: &mut bool) -> u128 {
    each_narrow!(size, a, |a; S, U, WS| saturate!(U, i128, shifted(a.into(), -(by as i32), round), qc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_signed_bytes() {
        for (value, by, plain, rounded) in [
            (0x81u8, 1i8, 0x02, 0x02),
            (0x81, 8, 0, 0),
            (0x81, 127, 0, 0),
            (0x81, -1, 0x40, 0x41),
            (0x81, -8, 0, 1),
            (0x81, -9, 0, 0),
            (0x81, -128, 0, 0),
        ] {
            let by = u128::from(by as u8);
            assert_eq!(ushl(0, value.into(), by, false), plain, "{by}");
            assert_eq!(ushl(0, value.into(), by, true), rounded, "{by}");
        }
        assert_eq!(sshl(0, 0x80, 0xf7, false), 0xff);
        assert_eq!(sshl(0, 0x80, 0xf7, true), 0);
        assert_eq!(sshl(3, 1 << 63, 0xc0, true) as u64, 0);
        assert_eq!(ushl(3, 1 << 63, 0xc0, true) as u64, 1);
    }

    #[test]
    fn saturation() {
        let mut qc = false;
        assert_eq!(sqshl(3, u64::MAX.into(), 63, false, &mut qc), 1 << 63);
        assert!(!qc);
        assert_eq!(sqshl(3, 1, 63, false, &mut qc), (1 << 63) - 1);
        assert!(qc);
        qc = false;
        assert_eq!(uqshl(0, 1, 100, false, &mut qc), 0xff);
        assert!(qc);
        qc = false;
        assert_eq!(sqshlu(1, 0xffff, 0, &mut qc), 0);
        assert!(qc);
        qc = false;
        assert_eq!(sqshrn(0, 0x7f80, 8, true, &mut qc), 0x7f);
        assert!(qc);
        qc = false;
        assert_eq!(sqshrun(2, 1 << 40, 8, false, &mut qc), 0xffff_ffff);
        assert!(qc);
        qc = false;
        assert_eq!(uqshrn(2, u64::MAX.into(), 32, false, &mut qc), 0xffff_ffff);
        assert!(!qc);
    }
}
