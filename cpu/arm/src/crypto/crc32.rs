//! CRC32B, CRC32H, CRC32W, CRC32X and CRC32CB, CRC32CH, CRC32CW, CRC32CX (FEAT_CRC32). Arm ARM C6.2 "CRC32B, CRC32H,
//! CRC32W, CRC32X" and "CRC32CB, ...".
//!
//! The instructions neither invert the accumulator before nor after: software does.

/// The polynomial 0x04C11DB7 (ISO 3309, RFC 1952), bit-reversed.
const CRC32: u32 = 0xedb8_8320;
/// The polynomial 0x1EDC6F41 (Castagnoli, RFC 3720), bit-reversed.
const CRC32C: u32 = 0x82f6_3b78;

/// `table[k][b]`: the remainder of byte `b` followed by `k` zero bytes.
type Tables = [[u32; 256]; 8];

const fn tables(polynomial: u32) -> Tables {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 != 0 { polynomial } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[zeros - 1][byte];
            tables[zeros][byte] = (shorter >> 8) ^ tables[0][(shorter & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

static CRC32_TABLES: Tables = tables(CRC32);
static CRC32C_TABLES: Tables = tables(CRC32C);

/// The remainder of `N` (at most 8) bytes, the first of which is already combined with the accumulator.
fn remainder<const N: usize>(tables: &Tables, bytes: [u8; N]) -> u32 {
    const { assert!(N <= 8) };
    (0..N).fold(0, |crc, i| crc ^ tables[N - 1 - i][usize::from(bytes[i])])
}

fn update8(tables: &Tables, crc: u32, value: u8) -> u32 {
    (crc >> 8) ^ remainder(tables, [crc as u8 ^ value])
}

fn update16(tables: &Tables, crc: u32, value: u16) -> u32 {
    (crc >> 16) ^ remainder(tables, (crc as u16 ^ value).to_le_bytes())
}

fn update32(tables: &Tables, crc: u32, value: u32) -> u32 {
    remainder(tables, (crc ^ value).to_le_bytes())
}

fn update64(tables: &Tables, crc: u32, value: u64) -> u32 {
    remainder(tables, (u64::from(crc) ^ value).to_le_bytes())
}

/// CRC32B: accumulator `wn`, byte `wm`.
pub fn crc32b(wn: u32, wm: u8) -> u32 {
    update8(&CRC32_TABLES, wn, wm)
}

/// CRC32H: accumulator `wn`, halfword `wm`.
pub fn crc32h(wn: u32, wm: u16) -> u32 {
    update16(&CRC32_TABLES, wn, wm)
}

/// CRC32W: accumulator `wn`, word `wm`.
pub fn crc32w(wn: u32, wm: u32) -> u32 {
    update32(&CRC32_TABLES, wn, wm)
}

/// CRC32X: accumulator `wn`, doubleword `xm`.
pub fn crc32x(wn: u32, xm: u64) -> u32 {
    update64(&CRC32_TABLES, wn, xm)
}

/// CRC32CB: accumulator `wn`, byte `wm`.
pub fn crc32cb(wn: u32, wm: u8) -> u32 {
    update8(&CRC32C_TABLES, wn, wm)
}

/// CRC32CH: accumulator `wn`, halfword `wm`.
pub fn crc32ch(wn: u32, wm: u16) -> u32 {
    update16(&CRC32C_TABLES, wn, wm)
}

/// CRC32CW: accumulator `wn`, word `wm`.
pub fn crc32cw(wn: u32, wm: u32) -> u32 {
    update32(&CRC32C_TABLES, wn, wm)
}

/// CRC32CX: accumulator `wn`, doubleword `xm`.
pub fn crc32cx(wn: u32, xm: u64) -> u32 {
    update64(&CRC32C_TABLES, wn, xm)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of each CRC: "123456789", accumulator inverted before and after.
    #[test]
    fn check_values() {
        let bytes = |update: fn(u32, u8) -> u32| !b"123456789".iter().fold(!0, |crc, &b| update(crc, b));
        assert_eq!(bytes(crc32b), 0xcbf4_3926);
        assert_eq!(bytes(crc32cb), 0xe306_9283);
    }

    /// RFC 3720, B.4 "CRC Examples": 32 bytes of zeros, of ones, ascending.
    #[test]
    fn examples_of_rfc_3720() {
        let crc =
            |data: [u8; 32]| !data.chunks(8).fold(!0, |crc, d| crc32cx(crc, u64::from_le_bytes(d.try_into().unwrap())));
        assert_eq!(crc([0; 32]), 0x8a91_36aa);
        assert_eq!(crc([0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc(std::array::from_fn(|i| i as u8)), 0x46dd_794e);
    }

    #[test]
    fn wide_forms_equal_bytes() {
        let value = 0x0123_4567_89ab_cdefu64;
        for crc in [0, 1, 0xffff_ffff, 0x8000_0000, 0xdead_beef] {
            for (tables, update) in [(&CRC32_TABLES, crc32b as fn(u32, u8) -> u32), (&CRC32C_TABLES, crc32cb)] {
                let bytes = |count: usize| value.to_le_bytes()[..count].iter().fold(crc, |crc, &b| update(crc, b));
                assert_eq!(update16(tables, crc, value as u16), bytes(2));
                assert_eq!(update32(tables, crc, value as u32), bytes(4));
                assert_eq!(update64(tables, crc, value), bytes(8));
            }
        }
        assert_eq!(crc32h(5, 0x1234), update16(&CRC32_TABLES, 5, 0x1234));
        assert_eq!(crc32ch(5, 0x1234), update16(&CRC32C_TABLES, 5, 0x1234));
        assert_eq!(crc32w(5, 0x1234), update32(&CRC32_TABLES, 5, 0x1234));
        assert_eq!(crc32cw(5, 0x1234), update32(&CRC32C_TABLES, 5, 0x1234));
        assert_eq!(crc32x(5, 0x1234), update64(&CRC32_TABLES, 5, 0x1234));
    }
}
