//! The rows of the A64 instruction tables, one `*.decode` file for each section of the manual (Arm ARM DDI 0487, C4.1
//! "A64 instruction set encoding"): what the decoder accepts, for tests, fuzzers and explanations.
//!
//! The build script also writes the operand structs (`a64_formats.rs`) and the decoder (`a64_decoder.rs`), for the module of the
//! translator to include: `decode(t, word)` calls the method named like the row with the struct named like the format.
//! Adding an instruction: a row here, a method there.

include!(concat!(env!("OUT_DIR"), "/a64_rows.rs"));
