//! Which row is tried before which, and whether that was said.

use crate::{Error, Errors, Row, Table};

/// Conditions that depend on more bits than this are not compared by trying all values.
const MAX_TRIED_BITS: u32 = 20;

/// Sorts the rows into the order in which they are tried.
pub(crate) fn order(table: &mut Table) -> Result<(), Errors> {
    table.rows.sort_by_key(|r| (-r.priority, std::cmp::Reverse(r.mask.count_ones())));
    // As many digits as the word has, and the prefix.
    let digits = table.width as usize / 4 + 2;
    let mut errors = Vec::new();
    for (i, later) in table.rows.iter().enumerate() {
        let error = |message| Error { file: later.file.clone(), line: later.line, message };
        if shared_word(later, later).is_none() {
            errors.push(error(format!("the condition of `{}` can never be true", later.name)));
        }
        for first in &table.rows[..i] {
            let Some(word) = shared_word(first, later) else { continue };
            let place = format!("`{}` ({}:{})", first.name, first.file, first.line);
            let covers = first.mask & !later.mask == 0 && first.condition.is_none() && first.feats.is_empty();
            if covers {
                errors.push(error(format!("`{}` is never reached: {place} takes all its words", later.name)));
            } else if first.priority == later.priority && (later.mask & !first.mask != 0 || later.mask == first.mask) {
                errors.push(error(format!(
                    "`{}` and {place} overlap, for example {word:#0digits$x}, and neither contains the other: \
                     add a condition or priority=",
                    later.name
                )));
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    errors.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Err(Errors(errors))
}

/// A word that both rows accept, features aside.
fn shared_word(a: &Row, b: &Row) -> Option<u32> {
    if (a.value ^ b.value) & a.mask & b.mask != 0 {
        return None;
    }
    let (mask, value) = (a.mask | b.mask, a.value | b.value);
    let bits_of = |r: &Row| r.condition.as_ref().map_or(0, |c| c.bits(&r.fields));
    let free = (bits_of(a) | bits_of(b)) & !mask;
    let accepts = |r: &Row, word| r.condition.as_ref().is_none_or(|c| c.eval(word, &r.fields) != 0);
    if free.count_ones() > MAX_TRIED_BITS {
        return Some(value);
    }
    // All values of the free bits: subtracting from a mask steps through its subsets.
    let mut bits = free;
    loop {
        let word = value | bits;
        if accepts(a, word) && accepts(b, word) {
            return Some(word);
        }
        if bits == 0 {
            return None;
        }
        bits = (bits - 1) & free;
    }
}
