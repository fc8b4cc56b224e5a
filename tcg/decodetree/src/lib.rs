//! Instruction tables in the manual's notation, turned into Rust at build time.
//!
//! A `*.decode` file holds the bit boxes of an encoding table, most significant bit on the left:
//!
//! ```text
//! # Add/subtract (immediate)
//! [AddSubImm]
//! add_imm    sf:1 0 0 100010 sh:1 imm12:12 rn:5 rd:5
//! adds_imm   sf:1 0 1 100010 sh:1 imm12:12 rn:5 rd:5
//! ```
//!
//! * `[Name]` opens a format. Its rows have the same fields, which become one `pub struct Name`: 1 bit is a `bool`, up to 8 bits
//!   a `u8`, up to 16 a `u16`, more a `u32`, always the raw unsigned bits. A format without fields has no struct, and its
//!   rows' methods take no argument.
//! * A row is a name and the pieces of the word: literal `0` and `1` bits, `x` for a bit that is ignored, `(0)` and `(1)` for a
//!   should-be bit that is ignored as well, and `field:width`. Several rows may carry one name.
//! * `field:width=value` behind the bits is a field that this row does not encode, so that rows with different boxes can share
//!   a format and a name.
//! * `if EXPRESSION` accepts only some values of the fields: `== != < <= > >=`, `&& || !`, `&`, integers (`0x`, `0b`) and parentheses.
//! * `feat=LSE` (or `feat=FCMA,FP16`: both) lets the row exist only where the processor has that feature.
//! * `priority=N` (default 0) puts a row before or behind the rows that it overlaps.
//! * `#` starts a comment.
//!
//! A word belongs to the first row whose bits, condition and features all fit; if one of them does not, the search goes on. Two
//! rows that share a word must say which is first: either one fixes all bits of the other and more, or the priorities differ.
//! Everything else is an error that names file and line.
//!
//! [`Table`] parses the files and writes pieces of Rust, so that each can be used without the others:
//! [`Table::formats`] (the structs), [`Table::decoder`] (`fn decode`, which calls the translator), [`Table::methods`] (the list of
//! what it calls) and [`Table::rows`]
//! (`ROWS` and `row_of`, for tests, fuzzers and explanations; they use the types in [`runtime`]).
#![forbid(unsafe_code)]

mod check;
mod emit;
mod expr;
mod parse;
pub mod runtime;
mod tree;

use std::{fmt, path::Path};

/// A parsed and checked instruction table.
#[derive(Debug)]
pub struct Table {
    width: u32,
    formats: Vec<Format>,
    /// In the order in which they are tried.
    rows: Vec<Row>,
}

/// What is wrong in a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// File name as given to [`Table::parse`].
    pub file: String,
    /// Line number from 1.
    pub line: usize,
    /// One sentence.
    pub message: String,
}

/// All errors of a table, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

#[derive(Clone, Debug)]
struct Format {
    name: String,
    /// Name and width, in the order of the first row.
    fields: Vec<(String, u32)>,
}

#[derive(Clone, Debug)]
struct Row {
    name: String,
    file: String,
    line: usize,
    format: usize,
    mask: u32,
    value: u32,
    fields: Vec<Field>,
    condition: Option<expr::Expr>,
    feats: Vec<String>,
    priority: i32,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    pos: u32,
    width: u32,
    /// The value of a field that is not in the word.
    constant: Option<u32>,
}

impl Table {
    /// Parses `files`, pairs of (name for messages, text), as one table of instruction words of `width` bits (16 or 32).
    ///
    /// # Errors
    /// Every syntax error, wrong row width, field mismatch inside a format, undecided overlap and unreachable row.
    pub fn parse(width: u32, files: &[(&str, &str)]) -> Result<Table, Errors> {
        assert!(width == 16 || width == 32, "instruction words have 16 or 32 bits");
        let mut table = parse::parse(width, files)?;
        check::order(&mut table)?;
        Ok(table)
    }

    /// Reads and parses the files of a folder; messages name them by `names`.
    ///
    /// # Errors
    /// As [`Table::parse`], and a file that cannot be read.
    pub fn load(width: u32, folder: &Path, names: &[&str]) -> Result<Table, Errors> {
        let mut texts = Vec::new();
        for name in names {
            let text = std::fs::read_to_string(folder.join(name)).map_err(|e| {
                Errors(vec![Error { file: (*name).to_owned(), line: 0, message: format!("cannot be read: {e}") }])
            })?;
            texts.push((*name, text));
        }
        let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Table::parse(width, &files)
    }

    /// The operand structs, one for each format that has fields.
    #[must_use]
    pub fn formats(&self) -> String {
        emit::formats(self)
    }

    /// `pub fn decode(t: &mut Translator<'_>, word) -> Next`. The names `Translator`, `Next` and `Feature` must be in
    /// scope where the text is included; it calls `t.row_name(Format { .. })`, `t.has(Feature::X)` and `t.unallocated(word)`.
    #[must_use]
    pub fn decoder(&self) -> String {
        emit::decoder(self)
    }

    /// `macro_rules! with_methods`: calls the macro it is given with `name(Format) name() ...; FEATURE FEATURE ...`, the methods
    /// and features that the decoder asks for. For tests and stand-ins of the translator.
    #[must_use]
    pub fn methods(&self) -> String {
        emit::methods(self)
    }

    /// `pub static ROWS: &[decodetree::runtime::Row<word>]` and `pub fn row_of(word) -> Option<&'static Row<word>>`.
    #[must_use]
    pub fn rows(&self) -> String {
        emit::rows(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
