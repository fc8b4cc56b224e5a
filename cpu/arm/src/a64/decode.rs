//! The rows of the A64 instruction tables, one `*.decode` file for each section of the manual (Arm ARM DDI 0487, C4.1
//! "A64 instruction set encoding"): what the decoder accepts, for tests, fuzzers and explanations.

include!(concat!(env!("OUT_DIR"), "/a64_rows.rs"));
