//! Makes a diverging case simple.

use crate::wire::*;

/// Simplifies `case` step by step as long as `diverges` says that it still does.
pub fn shrink(mut case: Case, mut diverges: impl FnMut(&Case) -> bool) -> Case {
    let mut attempt = |case: &mut Case, change: &dyn Fn(&mut Case)| {
        let mut simpler = case.clone();
        change(&mut simpler);
        if simpler != *case && diverges(&simpler) {
            *case = simpler;
        }
    };
    attempt(&mut case, &|c| c.insn2 = 0);
    attempt(&mut case, &|c| c.window = [0; WINDOW]);
    attempt(&mut case, &|c| (c.state.fpcr, c.state.fpsr, c.state.nzcv) = (0, 0, 0));
    for bit in 0..32 {
        attempt(&mut case, &|c| c.state.fpcr &= !(1 << bit));
        attempt(&mut case, &|c| c.state.fpsr &= !(1 << bit));
        attempt(&mut case, &|c| c.state.nzcv &= !(1 << bit));
    }
    attempt(&mut case, &|c| c.state.sp = 0);
    // Halves of the register files first.
    for (from, to) in
        [(0, 16), (16, 32), (0, 8), (8, 16), (16, 24), (24, 32)].into_iter().chain((0..32).map(|n| (n, n + 1)))
    {
        attempt(&mut case, &|c| c.state.v[from..to].fill(0));
        attempt(&mut case, &|c| c.state.x[from.min(31)..to.min(31)].fill(0));
    }
    for n in 0..32 {
        for part in 0..8 {
            attempt(&mut case, &|c| c.state.v[n] &= !(0xffff << (16 * part)));
        }
        if n < 31 {
            attempt(&mut case, &|c| c.state.x[n] = c.state.x[n].min(1));
            attempt(&mut case, &|c| c.state.x[n] &= 0xffff_ffff);
        }
    }
    for n in 0..WINDOW / 16 {
        attempt(&mut case, &|c| c.window[16 * n..16 * n + 16].fill(0));
    }
    case
}
