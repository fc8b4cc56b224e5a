//! Floating point on the stack of 80-bit registers (SDM vol. 1, chapter 8).

use super::translator::{Next, Translator};
use crate::frontend::X86;
use tcg::Helper;

/// Number of the first helper.
pub const FIRST_HELPER: usize = 128;

/// The helpers, in order of their numbers.
pub fn helpers() -> impl Iterator<Item = Helper<X86>> {
    std::iter::empty()
}

/// Translates the current instruction if it is one of these.
pub(super) fn translate(_t: &mut Translator<'_>) -> Option<Next> {
    None
}
