//! The command line: what options mean, and golden texts of its messages and help.

#[path = "../../src/cli/mod.rs"]
#[allow(dead_code)]
mod cli;

mod golden;
mod meaning;
