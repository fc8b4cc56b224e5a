//! The types of a generated row table.

/// One row of an instruction table, for word type `W`.
#[derive(Debug)]
pub struct Row<W: 'static = u32> {
    /// Name of the row, which is also the translator's method.
    pub name: &'static str,
    /// Name of its format, which is also its operand struct.
    pub format: &'static str,
    /// File and line of the row.
    pub source: &'static str,
    /// Bits that the row fixes, including those of fields that its condition fixes.
    pub mask: W,
    /// Their values.
    pub value: W,
    /// The row's fields, most significant first.
    pub fields: &'static [Field],
    /// Features that must all be there.
    pub feats: &'static [&'static str],
    /// The condition: false if a word that has the fixed bits is nevertheless not this row.
    pub allowed: fn(W) -> bool,
}

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The manual's name, in lower case.
    pub name: &'static str,
    /// Position of the least significant bit.
    pub pos: u32,
    /// Width in bits.
    pub width: u32,
    /// The value of a field that the row does not encode: it has no bits in the word.
    pub constant: Option<u32>,
}

impl<W: Copy + Into<u32>> Row<W> {
    /// Whether `word` has the row's fixed bits and fulfils its condition.
    pub fn matches(&self, word: W) -> bool {
        word.into() & self.mask.into() == self.value.into() && (self.allowed)(word)
    }

    /// The value of a field in `word`, if the row has that field.
    pub fn field(&self, name: &str, word: W) -> Option<u32> {
        let field = self.fields.iter().find(|f| f.name == name)?;
        Some(field.constant.unwrap_or(word.into() >> field.pos & (u32::MAX >> (32 - field.width))))
    }
}
