//! Pointer authentication codes (FEAT_PAuth) with the architected algorithm QARMA5.
//!
//! Arm ARM DDI 0487, chapter D8, section "Pointer authentication", and the shared pseudocode `AddPAC`, `Auth`, `Strip` and
//! `ComputePAC`; the cipher: R. Avanzi, "The QARMA Block Cipher Family", IACR ToSC 2017, issue 1 (QARMA-64, r = 5, S-box
//! sigma 2).
//!
//! Plain FEAT_PAuth: no FEAT_EPAC, FEAT_PAuth2 or FEAT_FPAC. Who calls passes what the translation regime decides: whether the
//! top byte is ignored (`tbi`) and the lowest bit of the PAC field (`bottom_pac_bit`).
#![forbid(unsafe_code)]

/// A 128-bit key as its two registers hold it, for example APIAKeyHi_EL1 and APIAKeyLo_EL1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    pub hi: u64,
    pub lo: u64,
}

/// Which key failed to authenticate; becomes the error code in the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyNumber {
    A,
    B,
}

/// The fractional part of pi: round constants c0 to c4 and the reflection constant alpha (QARMA, 2.2).
const ROUND_CONSTANTS: [u64; 5] =
    [0, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377];
const ALPHA: u64 = 0xc0ac_29b7_c97c_50dd;

/// S-box sigma 2.
const SBOX: [u8; 16] = [0xb, 6, 8, 0xf, 0xc, 0, 9, 0xe, 3, 7, 4, 5, 0xd, 2, 1, 0xa];
/// Cell permutation tau: cell i (0 = most significant) comes from cell tau[i].
const TAU: [u8; 16] = [0, 11, 6, 13, 10, 1, 12, 7, 5, 14, 3, 8, 15, 4, 9, 2];
/// Cell permutation h of the tweak.
const TWEAK_PERMUTATION: [u8; 16] = [6, 5, 14, 15, 0, 1, 2, 3, 7, 12, 13, 4, 8, 9, 10, 11];
/// Cells 0, 1, 3, 4, 8, 11 and 13 pass through the linear feedback shift register omega.
const TWEAK_LFSR_CELLS: u64 = 0xff0f_f000_f00f_0f00;

const fn inverse(table: [u8; 16]) -> [u8; 16] {
    let mut inverse = [0; 16];
    let mut i = 0;
    while i < 16 {
        inverse[table[i] as usize] = i as u8;
        i += 1;
    }
    inverse
}

/// The S-box on both cells of a byte.
const fn byte_table(sbox: [u8; 16]) -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = sbox[i >> 4] << 4 | sbox[i & 15];
        i += 1;
    }
    table
}

/// `table[n][v]`: where byte `n` (0 = least significant) of value `v` puts its two cells under a cell permutation.
type PermutationTable = [[u64; 256]; 8];

const fn permutation_table(source_of: [u8; 16]) -> PermutationTable {
    let destination_of = inverse(source_of);
    let mut table = [[0; 256]; 8];
    let mut n = 0;
    while n < 8 {
        let high = 60 - 4 * destination_of[14 - 2 * n] as u32;
        let low = 60 - 4 * destination_of[15 - 2 * n] as u32;
        let mut v = 0;
        while v < 256 {
            table[n][v] = ((v >> 4) as u64) << high | ((v & 15) as u64) << low;
            v += 1;
        }
        n += 1;
    }
    table
}

static SUBSTITUTE: [u8; 256] = byte_table(SBOX);
static INVERSE_SUBSTITUTE: [u8; 256] = byte_table(inverse(SBOX));
static SHUFFLE: PermutationTable = permutation_table(TAU);
static INVERSE_SHUFFLE: PermutationTable = permutation_table(inverse(TAU));
static TWEAK_SHUFFLE: PermutationTable = permutation_table(TWEAK_PERMUTATION);
static TWEAK_INVERSE_SHUFFLE: PermutationTable = permutation_table(inverse(TWEAK_PERMUTATION));

fn substitute(x: u64, table: &[u8; 256]) -> u64 {
    u64::from_le_bytes(x.to_le_bytes().map(|b| table[usize::from(b)]))
}

fn permute(x: u64, table: &PermutationTable) -> u64 {
    x.to_le_bytes().iter().zip(table).fold(0, |out, (&b, table)| out | table[usize::from(b)])
}

/// Each cell rotated left by `amount` (1 to 3).
fn rotate_cells(x: u64, amount: u32) -> u64 {
    let wrapped = 0x1111_1111_1111_1111 * ((1 << amount) - 1);
    ((x << amount) & !wrapped) | ((x >> (4 - amount)) & wrapped)
}

/// MixColumns with the involution circ(0, rho, rho^2, rho); a row of cells is 16 bits. `PACMult` of the pseudocode.
fn mix_columns(x: u64) -> u64 {
    let once = rotate_cells(x, 1);
    once.rotate_left(16) ^ rotate_cells(x, 2).rotate_left(32) ^ once.rotate_left(48)
}

/// omega: (b3, b2, b1, b0) becomes (b0 ^ b1, b3, b2, b1).
fn tweak_forward(tweak: u64) -> u64 {
    let t = permute(tweak, &TWEAK_SHUFFLE);
    let stepped = ((t >> 1) & 0x7777_7777_7777_7777) | (((t << 3) ^ (t << 2)) & 0x8888_8888_8888_8888);
    (t & !TWEAK_LFSR_CELLS) | (stepped & TWEAK_LFSR_CELLS)
}

fn tweak_backward(tweak: u64) -> u64 {
    // The inverse of omega: b0 = b3' ^ b0', because b0' is the old b1.
    let stepped = ((tweak << 1) & 0xeeee_eeee_eeee_eeee) | ((tweak ^ (tweak >> 3)) & 0x1111_1111_1111_1111);
    permute((tweak & !TWEAK_LFSR_CELLS) | (stepped & TWEAK_LFSR_CELLS), &TWEAK_INVERSE_SHUFFLE)
}

/// QARMA-64 with five rounds: `ComputePAC` of the shared pseudocode with FEAT_PACQARMA5.
pub fn compute_pac(data: u64, modifier: u64, key: Key) -> u64 {
    let (key0, key1) = (key.hi, key.lo);
    // The key of the backward half: (key0 >>> 1) ^ (key0 >> 63).
    let mod_key = key0.rotate_right(1) ^ (key0 >> 63);
    let mut tweak = modifier;
    let mut x = data ^ key0;
    for (round, constant) in ROUND_CONSTANTS.iter().enumerate() {
        x ^= key1 ^ tweak ^ constant;
        if round > 0 {
            x = mix_columns(permute(x, &SHUFFLE));
        }
        x = substitute(x, &SUBSTITUTE);
        tweak = tweak_forward(tweak);
    }

    x ^= mod_key ^ tweak;
    x = substitute(mix_columns(permute(x, &SHUFFLE)), &SUBSTITUTE);
    x = mix_columns(permute(x, &SHUFFLE)) ^ key1;
    x = substitute(permute(x, &INVERSE_SHUFFLE), &INVERSE_SUBSTITUTE);
    x = permute(mix_columns(x), &INVERSE_SHUFFLE);
    x ^= key0 ^ tweak;

    for (round, constant) in ROUND_CONSTANTS.iter().enumerate().rev() {
        x = substitute(x, &INVERSE_SUBSTITUTE);
        if round > 0 {
            x = permute(mix_columns(x), &INVERSE_SHUFFLE);
        }
        tweak = tweak_backward(tweak);
        x ^= constant ^ key1 ^ tweak ^ ALPHA;
    }
    x ^ mod_key
}

/// The lowest bit of the PAC field for an address range of size `tsz` (TCR_ELx.TnSZ), which is first brought into
/// `tsz_min..=tsz_max` as translation does. `CalculateBottomPACBit` of the shared pseudocode.
pub fn bottom_pac_bit(tsz: u32, tsz_min: u32, tsz_max: u32) -> u32 {
    (64 - tsz.max(tsz_min).min(tsz_max).min(64)).min(MAX_BOTTOM_PAC_BIT)
}

/// Bit 55 selects the address range and is never part of the code.
const MAX_BOTTOM_PAC_BIT: u32 = 55;

fn low_mask(bits: u32) -> u64 {
    (1 << bits.min(MAX_BOTTOM_PAC_BIT)) - 1
}

/// The bits that the sign extension of an address replaces: from `bottom_pac_bit` to 55 or 63.
fn extension_mask(bottom_pac_bit: u32, tbi: bool) -> u64 {
    let top = if tbi { low_mask(55) | 1 << 55 } else { !0 };
    top & !low_mask(bottom_pac_bit)
}

fn extend(ptr: u64, select: bool, mask: u64) -> u64 {
    if select { ptr | mask } else { ptr & !mask }
}

/// Inserts a PAC into `ptr` (PACIA, PACDB, ...). `AddPAC` of the shared pseudocode.
///
/// `select` is the bit that chooses the address range: bit 55 if the regime has two ranges and TBI applies to either, else bit 63
/// of `ptr`; `bottom_pac_bit` (0 to 55) is that of the range so chosen, `tbi` that of the range of `ptr` bit 55.
/// If the extension bits of `ptr` are neither all zero nor all one, one bit of the code is inverted so that it will not authenticate.
pub fn add_pac(ptr: u64, modifier: u64, key: Key, select: bool, bottom_pac_bit: u32, tbi: bool) -> u64 {
    let mask = extension_mask(bottom_pac_bit, tbi);
    let mut pac = compute_pac(extend(ptr, select, mask), modifier, key);
    if ptr & mask != 0 && ptr & mask != mask {
        pac ^= if tbi { 1 << 54 } else { 1 << 62 };
    }
    let coded = (ptr & !mask) | (pac & mask);
    if select { coded | 1 << 55 } else { coded & !(1 << 55) }
}

/// Removes the PAC (XPACI, XPACD, XPACLRI). `Strip` of the shared pseudocode; the range is that of `ptr` bit 55.
pub fn strip(ptr: u64, bottom_pac_bit: u32, tbi: bool) -> u64 {
    extend(ptr, ptr >> 55 & 1 != 0, extension_mask(bottom_pac_bit, tbi))
}

/// Checks and removes a PAC (AUTIA, RETAB, ...). `Auth` of the shared pseudocode; the range is that of `ptr` bit 55.
///
/// On failure the result is the address without its code and with an error code, '01' for an A key and '10' for a B key, in bits 62:61,
/// or 54:53 with TBI: not canonical, so that its use faults.
pub fn auth(ptr: u64, modifier: u64, key: Key, number: KeyNumber, bottom_pac_bit: u32, tbi: bool) -> u64 {
    let original = strip(ptr, bottom_pac_bit, tbi);
    let pac = compute_pac(original, modifier, key);
    let checked = extension_mask(bottom_pac_bit, tbi) & !(1 << 55);
    if (pac ^ ptr) & checked == 0 {
        return original;
    }
    let position = if tbi { 53 } else { 61 };
    let code = match number {
        KeyNumber::A => 0b01,
        KeyNumber::B => 0b10,
    };
    (original & !(0b11 << position)) | code << position
}

/// PACGA: a 32-bit code in the high half. `AddPACGA` of the shared pseudocode; `key` is APGAKey.
pub fn add_pac_ga(xn: u64, xm: u64, key: Key) -> u64 {
    compute_pac(xn, xm, key) & 0xffff_ffff_0000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { hi: 0x84be_85ce_9804_e94b, lo: 0xec28_02d4_e0a4_88e9 };
    const TWEAK: u64 = 0x477d_469d_ec0b_8762;
    const USER: u64 = 0x0000_002a_bbbb_cccc;
    const KERNEL: u64 = 0xffff_ff80_1234_5678;

    /// QARMA paper, Appendix "Test Vectors": QARMA-64, sigma 2, r = 5.
    #[test]
    fn qarma_vector() {
        let data = 0xfb62_3599_da6e_8127;
        assert_eq!(compute_pac(data, TWEAK, KEY), 0xc003_b939_99b3_3765);
        assert_eq!(add_pac_ga(data, TWEAK, KEY), 0xc003_b939_0000_0000);
    }

    #[test]
    fn tweak_schedule_is_invertible() {
        for bit in 0..64 {
            assert_eq!(tweak_backward(tweak_forward(1 << bit)), 1 << bit);
        }
    }

    #[test]
    fn signed_pointers_authenticate_and_strip() {
        for (ptr, select) in [(USER, false), (KERNEL, true)] {
            for (bottom, tbi) in [(48, false), (48, true), (39, true), (52, false)] {
                let signed = add_pac(ptr, TWEAK, KEY, select, bottom, tbi);
                assert_ne!(signed, ptr);
                assert_eq!(signed >> 55 & 1 != 0, select);
                assert_eq!((signed ^ ptr) & !extension_mask(bottom, tbi), 0);
                assert_eq!(strip(signed, bottom, tbi), ptr);
                assert_eq!(auth(signed, TWEAK, KEY, KeyNumber::A, bottom, tbi), ptr);
            }
        }
    }

    #[test]
    fn code_comes_from_the_cipher() {
        let pac = compute_pac(USER, TWEAK, KEY);
        assert_eq!(add_pac(USER, TWEAK, KEY, false, 48, false), (pac & 0xff7f_0000_0000_0000) | USER);
        let tagged = USER | 0x5a << 56;
        let pac = compute_pac(tagged, TWEAK, KEY);
        assert_eq!(add_pac(tagged, TWEAK, KEY, false, 48, true), (pac & 0x007f_0000_0000_0000) | tagged);
    }

    #[test]
    fn failure_leaves_an_error_code() {
        let rows = [
            (USER, false, KeyNumber::A, 0x2000_002a_bbbb_cccc),
            (USER, false, KeyNumber::B, 0x4000_002a_bbbb_cccc),
            (KERNEL, false, KeyNumber::A, 0xbfff_ff80_1234_5678),
            (KERNEL, false, KeyNumber::B, 0xdfff_ff80_1234_5678),
            (USER, true, KeyNumber::A, 0x0020_002a_bbbb_cccc),
            (USER, true, KeyNumber::B, 0x0040_002a_bbbb_cccc),
            (KERNEL, true, KeyNumber::A, 0xffbf_ff80_1234_5678),
        ];
        for (ptr, tbi, number, expected) in rows {
            let signed = add_pac(ptr, TWEAK, KEY, ptr >> 63 != 0, 48, tbi);
            assert_eq!(auth(signed ^ 1 << 50, TWEAK, KEY, number, 48, tbi), expected);
            assert_eq!(auth(signed, TWEAK + 1, KEY, number, 48, tbi), expected);
        }
    }

    #[test]
    fn signing_a_non_canonical_pointer_corrupts_the_code() {
        for (tbi, flipped) in [(false, 1 << 62), (true, 1 << 54)] {
            let bad = USER | 1 << 49;
            let good = add_pac(USER, TWEAK, KEY, false, 48, tbi);
            let signed = add_pac(bad, TWEAK, KEY, false, 48, tbi);
            assert_eq!(signed, good ^ flipped);
            assert_ne!(auth(signed, TWEAK, KEY, KeyNumber::A, 48, tbi), USER);
        }
    }

    #[test]
    fn bottom_bit_is_limited() {
        assert_eq!(bottom_pac_bit(16, 16, 39), 48);
        assert_eq!(bottom_pac_bit(25, 16, 39), 39);
        assert_eq!(bottom_pac_bit(0, 16, 39), 48);
        assert_eq!(bottom_pac_bit(63, 16, 39), 25);
        assert_eq!(bottom_pac_bit(0, 0, 39), 55);
    }
}
