//! "Did you mean": the nearest known word.

/// The candidate that is fewest edits away from `word`, if it is near enough to be a slip of the hand.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = 1 + word.chars().count() / 4;
    let scored = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    scored
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `PREFIX``NEAREST`?", or `otherwise`.
pub fn or<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, prefix: &str, otherwise: &str) -> String {
    match nearest(word, candidates) {
        Some(near) => format!("did you mean `{prefix}{near}`?"),
        None => otherwise.to_string(),
    }
}

/// The smallest number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let words = ["kernel", "append", "m", "machine", "nographic"];
        let rows = [
            ("kernal", Some("kernel")),
            ("kenrel", Some("kernel")),
            ("nogrphic", Some("nographic")),
            ("machin", Some("machine")),
            ("zzzzzz", None),
            ("", Some("m")),
        ];
        for (word, want) in rows {
            assert_eq!(nearest(word, words), want, "{word}");
        }
        assert_eq!((distance("", "abc"), distance("ab", "ba"), distance("kitten", "sitting")), (3, 1, 3));
    }
}
