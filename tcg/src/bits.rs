//! Sets of small numbers as words.

/// The numbers of the bits that are set, the lowest first.
pub fn ones(bits: u64) -> impl Iterator<Item = u8> {
    std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
        .take_while(|bits| *bits != 0)
        .map(|bits| bits.trailing_zeros() as u8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn lowest_first() {
        assert!(super::ones(1 << 63 | 0b1010).eq([1, 3, 63]));
        assert_eq!(super::ones(0).count(), 0);
    }
}
