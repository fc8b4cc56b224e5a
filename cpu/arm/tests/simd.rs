//! The SIMD, floating-point and cryptographic rows: what their translation looks like, and what some of them do.

mod decode_oracle;

use arm::a64::decode::ROWS;
use arm::features::{Feature, Features};
use arm::mode::Mode;
use arm::state;
use arm::{Arm, a64, exception};
use decode_oracle::Random;
use decodetree::runtime::Row;
use std::collections::HashMap;
use tcg::frontend::Frontend;
use tcg::ir::{Binary, Block, Op, Slot, Terminal, Ty, VBinary, VUnary, Val, verify};

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
    let helpers = Arm::new("max").unwrap().helpers();
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

/// Registers and memory for structure accesses: X0 is 0, and what a load reads at an address is that address.
#[derive(Default)]
struct Machine {
    values: Vec<u128>,
    set: HashMap<Slot, u128>,
    memory: HashMap<u64, u8>,
}

/// What V`n` holds at first: bytes that differ from all others.
fn initial(n: u8) -> [u8; 16] {
    std::array::from_fn(|i| 16 * (n % 8) + i as u8 + 128 * (n / 8 % 2))
}

impl Machine {
    /// Runs a block of the few operations that structure accesses are made of.
    fn run(block: &Block) -> Machine {
        let mut m = Machine::default();
        let number = |m: &Machine, v: &Val| m.values[v.0 as usize];
        let bytes = |m: &Machine, v: &Val| m.values[v.0 as usize].to_le_bytes();
        for op in &block.ops {
            let value = match op {
                Op::Insn { .. } => 0,
                Op::Const(_, value) => (*value).into(),
                Op::ConstV(low, high) => u128::from(*low) | u128::from(*high) << 64,
                Op::Get(slot) if slot.1 == Ty::V128 => {
                    let n = (0..32).find(|n| state::q(*n) == *slot).unwrap();
                    u128::from_le_bytes(initial(n))
                }
                Op::Get(_) => 0,
                Op::Bin(Binary::Add, _, a, b) => number(&m, a) + number(&m, b),
                Op::Load(ty, va, mem) => {
                    let mut data: Vec<u8> = (0..ty.bytes()).map(|i| number(&m, va) as u8 + i).collect();
                    if mem.swap {
                        data.reverse();
                    }
                    data.iter().rev().fold(0, |v, byte| v << 8 | u128::from(*byte))
                }
                Op::Store(ty, va, v, mem) => {
                    let mut data = bytes(&m, v)[..usize::from(ty.bytes())].to_vec();
                    if mem.swap {
                        data.reverse();
                    }
                    let at = number(&m, va) as u64;
                    m.memory.extend((at..).zip(data));
                    0
                }
                Op::Insert(lane, v, n, a) => {
                    let size = usize::from(lane.ty().bytes());
                    let (mut v, a) = (bytes(&m, v), bytes(&m, a));
                    v[usize::from(*n) * size..][..size].copy_from_slice(&a[..size]);
                    u128::from_le_bytes(v)
                }
                Op::Extract(lane, v, n) => {
                    let size = usize::from(lane.ty().bytes());
                    bytes(&m, v)[usize::from(*n) * size..][..size].iter().rev().fold(0, |v, b| v << 8 | u128::from(*b))
                }
                Op::Shuffle(a, b, mask) => {
                    let both = [bytes(&m, a), bytes(&m, b)].concat();
                    let mask = block.masks[usize::from(*mask)];
                    u128::from_le_bytes(mask.map(|at| both.get(usize::from(at)).copied().unwrap_or(0)))
                }
                Op::Splat(lane, a) => {
                    let (size, a) = (usize::from(lane.ty().bytes()), bytes(&m, a));
                    u128::from_le_bytes(std::array::from_fn(|i| a[i % size]))
                }
                Op::VBin(VBinary::Or, _, a, b) => number(&m, a) | number(&m, b),
                Op::VUn(VUnary::Low64, _, a) => number(&m, a) as u64 as u128,
                Op::Set(slot, v) => {
                    m.set.insert(*slot, number(&m, v));
                    0
                }
                other => panic!("structure accesses do not use {other:?}"),
            };
            m.values.push(value);
        }
        m
    }
}

/// LD1 to LD4 and ST1 to ST4 (multiple structures), by the pseudocode: element by element, in both byte orders.
#[test]
fn structures_are_interleaved() {
    // opcode: registers and elements per structure.
    for (opcode, registers, elements) in
        [(0u32, 4u8, 4u8), (2, 4, 1), (4, 3, 3), (6, 3, 1), (7, 1, 1), (8, 2, 2), (10, 2, 1)]
    {
        for (q, size, big) in (0..16).map(|n| (n >> 2 & 1, n & 3, n >> 3)) {
            if elements > 1 && q == 0 && size == 3 {
                continue;
            }
            let (bytes, element_bytes) = (8u8 << q, 1u8 << size);
            let word = 0x0c00_0000 | q << 30 | opcode << 12 | size << 10 | 3;
            let mode = Mode::default().with_el(1).with_big_endian(big.into());
            let loaded = Machine::run(&translate(mode, word | 1 << 22));
            let stored = Machine::run(&translate(mode, word));
            let mut registers_after = vec![[0u8; 16]; registers.into()];
            let mut memory_after = HashMap::new();
            let mut address = 0u8;
            for repeat in 0..registers / elements {
                for lane in 0..bytes / element_bytes {
                    for element in 0..elements {
                        let register = repeat + element;
                        for byte in 0..element_bytes {
                            let at = address + if big == 1 { element_bytes - 1 - byte } else { byte };
                            let place = usize::from(lane * element_bytes + byte);
                            registers_after[usize::from(register)][place] = at;
                            memory_after.insert(u64::from(at), initial(3 + register)[place]);
                        }
                        address += element_bytes;
                    }
                }
            }
            for (register, expected) in registers_after.iter().enumerate() {
                let got = loaded.set[&state::q(3 + register as u8)].to_le_bytes();
                assert_eq!(got, *expected, "{word:08x} big {big}, register {register}");
            }
            assert_eq!(stored.memory, memory_after, "{word:08x} big {big}");
        }
    }
}

/// LD1 to LD4 (single structure and replicate): the index in Q:S:size, and the write-back of the size.
#[test]
fn single_structures() {
    // LD2 {V3.H, V4.H}[5], [X0], #4: index 5 is Q:S:size<1> = 1:0:1.
    let one = Machine::run(&translate(Mode::default(), 0x4dff_4803));
    let expect = |n: u8, at: u8| {
        let mut v = initial(n);
        v[10..12].copy_from_slice(&[at, at + 1]);
        u128::from_le_bytes(v)
    };
    assert_eq!((one.set[&state::q(3)], one.set[&state::q(4)], one.set[&state::x(0)]), (expect(3, 0), expect(4, 2), 4));
    // LD3R {V3.4H, V4.4H, V5.4H}, [X0] leaves the upper halves zero.
    let replicated = Machine::run(&translate(Mode::default(), 0x0d40_e403));
    assert_eq!(replicated.set[&state::q(5)], 0x0504_0504_0504_0504);
    // ST1 {V3.B}[15], [X0]
    let stored = Machine::run(&translate(Mode::default(), 0x4d00_1c03));
    assert_eq!(stored.memory, HashMap::from([(0, initial(3)[15])]));
}
