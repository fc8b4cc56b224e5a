//! Tests of the translation engine with a toy instruction set, on every tier.

#![allow(dead_code)]

mod exec;
mod memory;
mod ops;
mod pages;
mod random;
mod reference;
mod regions;
mod stress;
#[path = "../toy/mod.rs"]
mod toy;
mod traces;
