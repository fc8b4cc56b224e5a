//! The generated decoder calls the right method with the right operands, for processors with all features and with none.

mod decode_oracle;

use arm::a64::decode::ROWS;
use decode_oracle::Random;
use decodetree::runtime::Row;
use std::{collections::BTreeSet, fmt::Debug, marker::PhantomData};

include!(concat!(env!("OUT_DIR"), "/a64_formats.rs"));
include!(concat!(env!("OUT_DIR"), "/a64_methods.rs"));
include!(concat!(env!("OUT_DIR"), "/a64_decoder.rs"));

/// A translator that only notes what it was asked for.
pub struct Translator<'a> {
    features: fn(Feature) -> bool,
    lifetime: PhantomData<&'a ()>,
}

/// Method and operands; none for an unallocated word.
pub type Next = Option<(&'static str, String)>;

fn note(name: &'static str, operands: &[&dyn Debug]) -> Next {
    Some((name, operands.iter().map(|operands| format!("{operands:?}")).collect()))
}

macro_rules! stand_in {
    ($($name:ident($($format:ident)?))*; $($feature:ident)*) => {
        /// The features that the table asks for.
        #[allow(clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Feature { $($feature),* }

        impl Translator<'_> {
            $(fn $name(&mut self $(, operands: $format)?) -> Next {
                note(stringify!($name), &[$(&operands as &$format as &dyn Debug)?])
            })*

            fn has(&self, feature: Feature) -> bool {
                (self.features)(feature)
            }

            fn unallocated(&mut self, _word: u32) -> Next {
                None
            }
        }
    };
}
with_methods!(stand_in);

/// What the row table says about a word: method, format and operands as `name: value`.
fn expected(row: &Row, word: u32) -> (&str, &str, BTreeSet<String>) {
    let operand = |f: &decodetree::runtime::Field| {
        let value = row.field(f.name, word).unwrap();
        if f.width == 1 { format!("{}: {}", f.name, value != 0) } else { format!("{}: {value}", f.name) }
    };
    (row.name, row.format, row.fields.iter().map(operand).collect())
}

fn check(features: fn(Feature) -> bool, accepts: fn(&Row) -> bool) {
    let mut translator = Translator { features, lifetime: PhantomData };
    for word in Random(5).words(100, 100_000) {
        let row = ROWS.iter().find(|row| accepts(row) && row.matches(word));
        let called = decode(&mut translator, word);
        let (Some(row), Some((name, text))) = (row, &called) else {
            assert!(row.is_none() && called.is_none(), "{word:08x}: {:?}, called {called:?}", row.map(|r| r.source));
            continue;
        };
        let (format, operands) = text.split_once(" { ").unwrap_or((row.format, ""));
        let operands = operands.trim_end_matches(" }").split(", ").filter(|o| !o.is_empty());
        assert_eq!((*name, format, operands.map(str::to_owned).collect()), expected(row, word), "{word:08x}");
    }
}

#[test]
fn calls_with_all_features() {
    check(|_| true, |_| true);
}

#[test]
fn calls_without_features() {
    check(|_| false, |row| row.feats.is_empty());
}

#[test]
fn a_row_with_two_features_needs_both() {
    check(|feature| feature != Feature::FP16, |row| !row.feats.contains(&"FP16"));
}
