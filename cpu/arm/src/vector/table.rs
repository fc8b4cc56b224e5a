//! Table lookup.

use super::l8;

/// One table register of TBL and TBX: bytes of `indices` that fall into the table whose first byte has the number `first`
/// replace bytes of `d`.
pub fn tbx(d: u128, table: u128, indices: u128, first: u8) -> u128 {
    let table = l8::split(table);
    let (d, indices) = (l8::split(d), l8::split(indices));
    l8::join(std::array::from_fn(|i| {
        let at = indices[i].wrapping_sub(first);
        table.get(usize::from(at)).copied().unwrap_or(d[i])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_outside_keep() {
        let table = u128::from_le_bytes(std::array::from_fn(|i| i as u8 + 0x80));
        assert_eq!(tbx(0x1122_3344, table, 0x00_0f_10_ff, 0) & 0xffff_ffff, 0x808f_3344);
        assert_eq!(tbx(0x1122_3344, table, 0x00_0f_10_1f, 16) & 0xffff_ffff, 0x1122_808f);
    }
}
