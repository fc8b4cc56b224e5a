//! PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM vol. 2, 4.1 "Imm8 Control Byte Operation for PCMPESTRI / PCMPESTRM /
//! PCMPISTRI / PCMPISTRM").

use super::{l8, l16};
use crate::flags::{CF, OF, SF, ZF};

/// A string: its elements, sign-extended if the constant says signed, and how many of them are valid.
struct Text {
    elements: [i32; 16],
    valid: usize,
}

/// What all four instructions compute.
pub struct Outcome {
    /// `IntRes2`, one bit for each element.
    pub bits: u32,
    /// CF, ZF, SF and OF.
    pub flags: u64,
    /// Elements in a vector.
    pub count: u32,
}

fn elements(v: u128, imm: u32) -> [i32; 16] {
    let mut all = [0; 16];
    match imm & 3 {
        0 => all.iter_mut().zip(l8::split(v)).for_each(|(to, v)| *to = v.into()),
        1 => all.iter_mut().zip(l16::split(v)).for_each(|(to, v)| *to = v.into()),
        2 => all.iter_mut().zip(l8::split(v)).for_each(|(to, v)| *to = (v as i8).into()),
        _ => all.iter_mut().zip(l16::split(v)).for_each(|(to, v)| *to = (v as i16).into()),
    }
    all
}

/// Compares; `lengths` are those of the explicit forms, which saturate; the implicit ones end at a zero.
pub fn compare(a: u128, b: u128, lengths: Option<[i64; 2]>, imm: u32) -> Outcome {
    let count = if imm & 1 == 0 { 16 } else { 8 };
    let text = |v: u128, n: usize| {
        let elements = elements(v, imm);
        let valid = match lengths {
            Some(lengths) => lengths[n].unsigned_abs().min(count as u64) as usize,
            None => elements[..count].iter().position(|e| *e == 0).unwrap_or(count),
        };
        Text { elements, valid }
    };
    let (a, b) = (text(a, 0), text(b, 1));
    let raw = (0..count).filter(|j| matches(&a, &b, *j, count, imm >> 2 & 3)).fold(0u32, |all, j| all | 1 << j);
    let everything = (1 << count) - 1;
    let bits = match imm >> 4 & 3 {
        1 => raw ^ everything,
        3 => raw ^ ((1 << b.valid) - 1),
        _ => raw,
    };
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    let flags = flag(bits != 0, CF) | flag(b.valid < count, ZF) | flag(a.valid < count, SF) | flag(bits & 1 != 0, OF);
    Outcome { bits, flags, count: count as u32 }
}

/// Bit `j` of `IntRes1`: table 4-7 "Comparison Result for Each Element Pair BoolRes[i.j]" says how invalid elements count.
fn matches(a: &Text, b: &Text, j: usize, count: usize, aggregation: u32) -> bool {
    match aggregation {
        // Equal any: the character is one of the set.
        0 => j < b.valid && a.elements[..a.valid].contains(&b.elements[j]),
        // Ranges: it is in one of the ranges.
        1 => {
            j < b.valid
                && a.elements[..a.valid].chunks_exact(2).any(|range| (range[0]..=range[1]).contains(&b.elements[j]))
        }
        // Equal each.
        2 => match (j < a.valid, j < b.valid) {
            (true, true) => a.elements[j] == b.elements[j],
            (false, false) => true,
            _ => false,
        },
        // Equal ordered: the first string stands there, as far as the vector reaches.
        _ => (0..count - j).all(|i| i >= a.valid || j + i < b.valid && a.elements[i] == b.elements[j + i]),
    }
}

impl Outcome {
    /// What the forms with an index put into ECX.
    pub fn index(&self, imm: u32) -> u32 {
        match self.bits {
            0 => self.count,
            bits if imm & 0x40 == 0 => bits.trailing_zeros(),
            bits => bits.ilog2(),
        }
    }

    /// What the forms with a mask put into XMM0.
    pub fn mask(&self, imm: u32) -> u128 {
        if imm & 0x40 == 0 {
            return self.bits.into();
        }
        let width = 128 / self.count;
        let ones = u128::MAX >> (128 - width);
        (0..self.count).filter(|i| self.bits >> i & 1 != 0).fold(0, |all, i| all | ones << (i * width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> u128 {
        let mut bytes = [0; 16];
        bytes[..s.len()].copy_from_slice(s.as_bytes());
        u128::from_le_bytes(bytes)
    }

    #[test]
    fn aggregations() {
        let run = |a: &str, b: &str, imm: u32| compare(text(a), text(b), None, imm);
        // Equal any: the first vowel; the last one.
        assert_eq!(run("aeiou", "bcdefgi", 0).index(0), 3);
        assert_eq!(run("aeiou", "bcdefgi", 0x40).index(0x40), 6);
        // Ranges: the first character that is no digit and no lower-case letter; past the end does not count if masked.
        assert_eq!(run("09az", "abc123X", 0x34).index(0x34), 6);
        let all = run("09az", "abc123", 0x34);
        assert_eq!((all.index(0x34), all.flags), (16, ZF | SF));
        // Equal each, negated: the first difference.
        let equal = run("same", "same", 0x18);
        assert_eq!((equal.index(0x18), equal.flags), (16, ZF | SF));
        assert_eq!(run("same", "some", 0x18).index(0x18), 1);
        // Equal ordered: a substring; one that may go on behind the vector.
        assert_eq!(run("lo", "hello, world", 0x0c).index(0x0c), 3);
        assert_eq!(run("xyz", "0123456789abcdex", 0x0c).index(0x0c), 15);
    }

    #[test]
    fn explicit_lengths_and_masks() {
        let outcome = compare(text("ab"), text("aXb"), Some([-1, 100]), 0x40);
        assert_eq!((outcome.mask(0x40), outcome.mask(0), outcome.flags), (0xff, 1, CF | SF | OF));
        let wide = compare(0x8000, 0x7fff_8000, Some([1, 2]), 0x41);
        assert_eq!(wide.mask(0x41), 0xffff);
    }
}
