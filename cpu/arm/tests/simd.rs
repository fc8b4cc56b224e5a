//! The SIMD, floating-point and cryptographic rows: what their translation looks like, and what some of them do.

mod decode_oracle;

use arm::a64::decode::ROWS;
use arm::features::{Feature, Features};
use arm::mode::Mode;
use arm::{Arm, a64, exception};
use decode_oracle::Random;
use decodetree::runtime::Row;
use tcg::frontend::Frontend;
use tcg::ir::{Block, Op, Terminal, verify};

/// Everything that the tables ask for.
fn features() -> Features {
    use Feature::*;
    Features::of(&[AES, DotProd, FCMA, FHM, FP16, FRINTTS, JSCVT, PMULL, RDM, SHA1, SHA256, SHA3, SHA512, SM3, SM4])
}

fn is_simd(row: &Row) -> bool {
    let file = row.source.split(':').next().unwrap();
    match file {
        "load_store.decode" => row.name.ends_with("_v"),
        "fp.decode" | "crypto.decode" => true,
        _ => file.starts_with("simd_"),
    }
}

fn translate(mode: Mode, word: u32) -> Block {
    let mut block = Block::default();
    a64::translate(features(), mode.0, &word.to_le_bytes(), 1, &mut block);
    block
}

/// Whether the block raises an exception.
fn raises(block: &Block) -> bool {
    block.ops.iter().any(|op| matches!(op, Op::Call(id, ..) if *id == exception::RAISE))
}

#[test]
fn every_row_translates_to_valid_ir() {
    let helpers = Arm { features: features() }.helpers();
    let modes = [Mode::default(), Mode::default().with_el(1).with_big_endian(1).with_align(1)];
    let mut random = Random(11);
    let rows: Vec<&Row> = ROWS.iter().filter(|row| is_simd(row)).collect();
    assert!(rows.len() > 500, "the tables have {} rows", rows.len());
    for row in rows {
        let words: Vec<u32> = (0..1000).map(|_| random.fill(row)).filter(|w| row.matches(*w)).take(100).collect();
        assert!(words.len() > 10, "{} is never allowed", row.source);
        for word in words {
            for mode in modes {
                let mut block = translate(mode, word);
                let shown = || format!("{} {word:08x}: {:?}", row.name, translate(mode, word));
                assert!(!raises(&block), "undefined {}", shown());
                assert_eq!(verify(&block), Ok(()), "{}", shown());
                for op in &block.ops {
                    let (Op::Call(id, ..) | Op::CallV(id, ..)) = op else { continue };
                    let helper = &helpers[usize::from(id.0)];
                    let vector = matches!(helper.func, tcg::Func::V(_));
                    assert_eq!(vector, matches!(op, Op::CallV(..)), "{}", shown());
                }
                tcg::opt::optimize(&mut block, helpers);
                assert_eq!(verify(&block), Ok(()), "optimized {}", shown());
            }
        }
    }
}

#[test]
fn every_row_traps_when_disabled() {
    let mut random = Random(12);
    for row in ROWS.iter().filter(|row| is_simd(row)) {
        let word = (0..1000).map(|_| random.fill(row)).find(|w| row.matches(*w)).unwrap();
        let block = translate(Mode::default().with_fp_trap(1), word);
        assert!(raises(&block) && block.end == Some(Terminal::Dispatch), "{} {word:08x}: {block:?}", row.name);
        assert!(!block.ops.iter().any(|op| matches!(op, Op::Set(..) | Op::Load(..) | Op::Store(..))), "{}", row.name);
    }
}

#[test]
fn registers_change_only_after_the_last_access() {
    let mut random = Random(13);
    for row in ROWS.iter().filter(|row| is_simd(row) && row.source.contains("load_store")) {
        for word in (0..200).map(|_| random.fill(row)).filter(|w| row.matches(*w)) {
            let block = translate(Mode::default(), word);
            let last = block.ops.iter().rposition(|op| matches!(op, Op::Load(..) | Op::Store(..)));
            let first = block.ops.iter().position(|op| matches!(op, Op::Set(..)));
            assert!(last.is_some(), "{} {word:08x}", row.name);
            assert!(first.is_none_or(|first| Some(first) > last), "{} {word:08x}: {block:?}", row.name);
        }
    }
}
