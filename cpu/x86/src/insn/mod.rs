//! Instructions: decoding, and one method of [`Translator`] for each that states its meaning as IR.
//!
//! | file            | what                                                                   |
//! |-----------------|------------------------------------------------------------------------|
//! | `translator.rs` | what the methods share: the block's loop, exceptions, conditions        |
//! | `operand.rs`    | registers, memory operands and their segments                           |
//! | `status.rs`     | the status flags                                                        |
//! | `integer.rs`    | arithmetic, logic, moves, multiplication and division                   |
//! | `shift.rs`      | shifts and rotates                                                      |
//! | `bits.rs`       | bit tests, scans and the bit-manipulation extensions                    |
//! | `stack.rs`      | pushes and pops                                                         |
//! | `control.rs`    | jumps, calls, returns, interrupts                                       |
//! | `string.rs`     | string instructions                                                     |
//! | `faulting.rs`   | what a fault says that depends on the instruction                       |
//! | `x87/`          | floating point on the stack of 80-bit registers                          |
//! | `sse/`          | MMX, SSE and AVX                                                        |
//! | `system.rs`     | what privileged code uses, ports, and what asks for the processor's identity |
//!
//! To add an instruction: a line in [`dispatch`] and a method beside its neighbours.

mod bits;
mod control;
mod dispatch;
pub mod faulting;
mod integer;
mod operand;
mod shift;
pub mod sse;
mod stack;
mod status;
pub(crate) mod string;
mod system;
mod translator;
pub mod x87;

#[cfg(test)]
mod tests;

pub use translator::{MAX_LEN, Next, Translator, translate};

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};
use vm::Gva;

/// One line per instruction of `code` at `pc`, as 64-bit code.
pub fn disassemble(pc: Gva, code: &[u8]) -> Vec<String> {
    let mut formatter = GasFormatter::new();
    let mut text = String::new();
    let decoder = Decoder::with_ip(64, code, pc.0, DecoderOptions::NONE);
    decoder
        .into_iter()
        .map(|insn| {
            text.clear();
            formatter.format(&insn, &mut text);
            format!("{:#x}:  {text}", insn.ip())
        })
        .collect()
}
