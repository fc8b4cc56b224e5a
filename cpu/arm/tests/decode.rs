//! The A64 decode table by itself: the decision tree against the plain list, reachability, and words that must stay unallocated.

mod decode_oracle;

use arm::a64::decode::{ROWS, row_of};
use decode_oracle::Random;
use std::ptr;

#[test]
fn tree_finds_the_first_row_that_matches() {
    for word in Random(3).words(200, 200_000) {
        let first = ROWS.iter().find(|row| row.matches(word));
        let found = row_of(word);
        assert!(
            match (first, found) {
                (Some(first), Some(found)) => ptr::eq(first, found),
                (None, None) => true,
                _ => false,
            },
            "{word:08x}: first {:?}, found {:?}",
            first.map(|row| row.source),
            found.map(|row| row.source)
        );
    }
}

#[test]
fn every_row_is_reached() {
    let mut random = Random(4);
    for row in ROWS {
        let reached = (0..10_000).any(|_| row_of(random.fill(row)).is_some_and(|found| ptr::eq(found, row)));
        assert!(reached, "{} ({})", row.name, row.source);
    }
}

#[test]
fn rows_are_consistent() {
    for row in ROWS {
        assert_eq!(row.value & !row.mask, 0, "{}", row.source);
        for field in row.fields.iter().filter(|f| f.constant.is_none()) {
            assert!(field.width > 0 && field.pos + field.width <= 32, "{}: {}", row.source, field.name);
        }
        for same in ROWS.iter().filter(|other| other.name == row.name) {
            assert_eq!(same.format, row.format, "{}", row.source);
        }
    }
}

/// Encodings that the manual leaves unallocated or gives to extensions beyond the table.
#[test]
fn unallocated_words() {
    let cases = [
        (0x0000_0000, "UDF #0"),
        (0x0000_1234, "UDF #0x1234"),
        (0x1240_0000, "AND (immediate), 32 bits with N set"),
        (0x9200_fc00, "AND (immediate), element of one bit"),
        (0x1288_0000 | 1 << 22, "MOVN to W, shift 32"),
        (0x5340_0000, "UBFM, 32 bits with N set"),
        (0x8bc0_0000, "ADD (shifted register), shift 3"),
        (0x8b20_1400, "ADD (extended register), shift 5"),
        (0x0ee0_8400, "ADD (vector), .1D"),
        (0x0e60_d400, "FADD (vector), .1D"),
        (0xfd80_0000, "SIMD load of size 3 with opc 2"),
        (0x2880_0000 | 1 << 30, "STGP, FEAT_MTE"),
        (0x4821_7c00, "CASP with odd Rs"),
        (0x0420_0000, "ADD (vector), SVE"),
    ];
    for (word, what) in cases {
        assert!(row_of(word).is_none(), "{word:08x} {what} is {}", row_of(word).map_or("-", |row| row.name));
    }
}

/// Extensions that share words with older instructions: the specific row comes first, and leaves the word to the older one where
/// the feature is missing.
#[test]
fn hints_of_absent_features_are_nops() {
    for word in [0xd503_233f, 0xd503_241f, 0xd503_201f, 0xd503_2fff] {
        let rows: Vec<_> = ROWS.iter().filter(|row| row.matches(word)).map(|row| (row.name, row.feats)).collect();
        assert_eq!(rows.last(), Some(&("hint", &[][..])), "{word:08x}");
    }
    assert_eq!(row_of(0xd503_233f).map(|row| row.name), Some("paciasp"));
    assert_eq!(row_of(0xd503_241f).map(|row| row.name), Some("bti"));
}
