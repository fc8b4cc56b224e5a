//! Where code lies around a hot block in the address space that it is hot in: what lets a region leave its first page.
//!
//! All of it is a guess: the block may be executed elsewhere, too, and other memory may come to lie around it. Compiled code
//! finds out before it goes from one page to another (`cranelift/exits.rs`).

#![forbid(unsafe_code)]

use vm::ram::PAGE_SIZE;
use vm::{Gpa, Gva};

/// Pages on either side that are known.
pub const REACH: i64 = 4;

/// The number, from the page of the first block on, of the page at `distance` from that block.
pub fn page_at(first: Gpa, distance: i64) -> i64 {
    ((first.0 % PAGE_SIZE) as i64).saturating_add(distance).div_euclid(PAGE_SIZE as i64)
}

/// The pages around a block.
#[derive(Clone, Debug)]
pub struct Around {
    first: Gpa,
    pc: Option<Gva>,
    pages: [Option<Gpa>; 2 * REACH as usize + 1],
}

impl Around {
    /// Nothing is known but where the block lies.
    pub fn alone(first: Gpa) -> Around {
        let mut pages = [None; 2 * REACH as usize + 1];
        pages[REACH as usize] = Some(Gpa(first.0 - first.0 % PAGE_SIZE));
        Around { first, pc: None, pages }
    }

    /// What `page` says of the addresses that are as far from a block at `pc` as the pages around it.
    pub fn new(first: Gpa, pc: Gva, page: impl Fn(Gva) -> Option<Gpa>) -> Around {
        let mut around = Around { pc: Some(pc), ..Around::alone(first) };
        for (at, found) in (-REACH..=REACH).zip(&mut around.pages).filter(|(at, _)| *at != 0) {
            *found = page(Gva(pc.0.wrapping_add_signed(at * PAGE_SIZE as i64)));
        }
        around
    }

    /// What lies at `distance` from the block.
    pub fn at(&self, distance: i64) -> Option<Gpa> {
        let at = page_at(self.first, distance).checked_add(REACH)?;
        let page = (*self.pages.get(usize::try_from(at).ok()?)?)?;
        Some(Gpa(page.0 + self.first.0.wrapping_add_signed(distance) % PAGE_SIZE))
    }

    /// How far an address near the block is from it, of which the low half-word is known.
    pub fn distance_to(&self, low: u16) -> Option<i64> {
        Some(i64::from(low.wrapping_sub(self.pc?.0 as u16) as i16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_distance() {
        // Virtual pages 0x20 to 0x22 lie at these physical ones.
        let page = |va: Gva| [0x77, 0x33, 0x55].get((va.0 >> 12).wrapping_sub(0x20) as usize).map(|n| Gpa(n << 12));
        let around = Around::new(Gpa(0x33ff0), Gva(0x21ff0), page);
        let expect = [
            (0, Some(0x33ff0)),
            (-0xff0, Some(0x33000)),
            (-0xff4, Some(0x77ffc)),
            (0xc, Some(0x33ffc)),
            (0x10, Some(0x55000)),
            (0x1010, None),
            (-0x2000, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ];
        for (distance, gpa) in expect {
            assert_eq!(around.at(distance), gpa.map(Gpa), "{distance:#x}");
        }
        let alone = Around::alone(Gpa(0x33ff0));
        assert_eq!([-4, 0x10].map(|d| alone.at(d)), [Some(Gpa(0x33fec)), None]);
        assert_eq!([0x2010, 0x1fec].map(|low| around.distance_to(low)), [Some(0x20), Some(-4)]);
        assert_eq!(alone.distance_to(0), None);
    }
}
