//! The same for x86-64: user-mode instructions on Mimic and on the host's own processor.
//!
//! [`encode`] makes random bytes of every instruction that iced-x86 knows and both sides have, [`generate`] states for
//! them; [`machine`] and [`oracle`] execute, [`compare`] says what counts as a difference, [`run`] does it many times.

pub mod compare;
pub mod encode;
pub mod generate;
pub mod machine;
pub mod oracle;
pub mod run;
pub mod wire;

use iced_x86::{Formatter, IntelFormatter};

/// The instructions of a case as text.
pub fn disassemble(case: &wire::Case) -> String {
    let mut formatter = IntelFormatter::new();
    let all = encode::instructions(case);
    let texts = all.iter().map(|insn| {
        let mut text = String::new();
        formatter.format(insn, &mut text);
        text
    });
    texts.collect::<Vec<_>>().join("; ")
}
