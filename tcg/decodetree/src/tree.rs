//! The order of questions: which bits to look at first.

use crate::Row;

/// A step of the decoder.
#[derive(Debug)]
pub(crate) enum Node {
    /// Looks at `width` bits from `pos`: each arm is a set of values; the last arm takes all other values.
    Switch { pos: u32, width: u32, arms: Vec<(Vec<u32>, Node)> },
    /// Tries rows in order: index of the row and the bits that are still to be compared.
    Try(Vec<(usize, u32)>),
}

const MAX_WINDOW: u32 = 8;
/// So few rows are compared one by one.
const FEW: usize = 2;

/// Builds the decision tree for all rows, given in the order of precedence.
pub(crate) fn build(rows: &[Row], word_bits: u32) -> Node {
    let all: Vec<usize> = (0..rows.len()).collect();
    node(rows, &all, 0, word_bits)
}

fn node(rows: &[Row], candidates: &[usize], known: u32, word_bits: u32) -> Node {
    let undecided = candidates.iter().filter(|&&i| rows[i].mask & !known != 0).count();
    let window = if undecided <= FEW { None } else { best_window(rows, candidates, known, word_bits) };
    let Some((pos, width)) = window else {
        return Node::Try(candidates.iter().map(|&i| (i, rows[i].mask & !known)).collect());
    };
    let looked_at = ones(width) << pos;
    let mut arms = groups(rows, candidates, pos, width);
    // The set with most values becomes the last arm, which needs no list.
    arms.sort_by_key(|(values, _)| (values.len(), std::cmp::Reverse(values.first().copied())));
    let arms =
        arms.into_iter().map(|(values, group)| (values, node(rows, &group, known | looked_at, word_bits))).collect();
    Node::Switch { pos, width, arms }
}

fn ones(width: u32) -> u32 {
    u32::MAX >> (32 - width)
}

/// The values of a window, gathered by the rows that remain possible.
fn groups(rows: &[Row], candidates: &[usize], pos: u32, width: u32) -> Vec<(Vec<u32>, Vec<usize>)> {
    let mut found: Vec<(Vec<u32>, Vec<usize>)> = Vec::new();
    for value in 0..=ones(width) {
        let possible: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|&i| (rows[i].value ^ value << pos) & rows[i].mask & (ones(width) << pos) == 0)
            .collect();
        match found.iter_mut().find(|(_, group)| *group == possible) {
            Some((values, _)) => values.push(value),
            None => found.push((vec![value], possible)),
        }
    }
    found
}

/// The bits that leave the fewest rows on average, where rows that must be repeated in several arms count against a window.
fn best_window(rows: &[Row], candidates: &[usize], known: u32, word_bits: u32) -> Option<(u32, u32)> {
    let interesting = candidates.iter().fold(0, |bits, &i| bits | rows[i].mask) & !known;
    let mut best = None;
    for pos in 0..word_bits {
        for width in 1..=MAX_WINDOW.min(word_bits - pos) {
            if ones(width) << pos & !interesting != 0 {
                break;
            }
            let (left, repeated) = weigh(rows, candidates, pos, width);
            let score = left + 0.1 * repeated + 0.002 * f64::from(1u32 << width);
            if left < candidates.len() as f64 && best.is_none_or(|(s, _, _)| score < s) {
                best = Some((score, pos, width));
            }
        }
    }
    best.map(|(_, pos, width)| (pos, width))
}

/// (average number of rows left after looking at the window, number of rows repeated in other arms).
fn weigh(rows: &[Row], candidates: &[usize], pos: u32, width: u32) -> (f64, f64) {
    let window = ones(width) << pos;
    let (mut left, mut arms_of) = (0.0, 0.0);
    for &i in candidates {
        let free = width - (rows[i].mask & window).count_ones();
        left += f64::from(1u32 << free) / f64::from(1u32 << width);
        // A row that ignores the whole window is in every arm, but most arms are then one.
        arms_of += if rows[i].mask & window == 0 { 2.0 } else { f64::from(1u32 << free) };
    }
    (left, arms_of - candidates.len() as f64)
}
