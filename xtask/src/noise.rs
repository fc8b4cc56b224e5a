//! Data for disks and networks.

/// Bytes that look random and are always the same.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_always_the_same() {
        assert_eq!(noise(1000), noise(1000));
        let zeros = noise(1000).iter().filter(|byte| **byte == 0).count();
        assert!(zeros < 20, "{zeros} zeros in 1000 bytes");
    }
}
