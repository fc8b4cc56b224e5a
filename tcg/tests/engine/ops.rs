//! Every operation in every type at edge values, and the places where decoding takes shortcuts.

use crate::random::*;
use crate::reference::State;
use crate::toy::{self, Machine, Regs, Rng, Tier, V, X};
use tcg::ir::{self, Block, Op, Slot, Ty, VUnary, Val};

/// Runs one instruction on states, on the interpreter and compiled.
fn check(machines: &mut [Machine], snippet: Block, states: &[State]) {
    let table = [snippet];
    let text = table[0].display(toy::names());
    for machine in machines {
        load(machine, &table, false);
        let compiled = machine.compiled();
        for before in states.iter().chain(&states[..1]) {
            let (want, have) = (expected(&table, false, before).regs, actual(machine, before).regs);
            assert!(have == want, "{text}\nbefore {:x?}\nwant {want:x?}\nhave {have:x?}", before.regs);
        }
        assert!(machine.tier == Tier::Interpreter || machine.compiled() > compiled, "not compiled:\n{text}");
    }
}

fn machines() -> Vec<Machine> {
    [Tier::Interpreter, Tier::Template(1), Tier::Compiled(1)].map(Machine::new).into()
}

/// States with every pair of edge values in `x0` and `x1`, and some in `x2`.
fn edges() -> Vec<State> {
    const EDGES: [u64; 15] = [
        0,
        1,
        2,
        7,
        0x1f,
        0x3f,
        0x7f,
        0x80,
        0xff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_8000,
        u64::MAX,
    ];
    let mut states = Vec::new();
    for (i, a) in EDGES.into_iter().enumerate() {
        for (j, b) in EDGES.into_iter().enumerate() {
            let mut regs = Regs { pc: toy::CODE, ..Regs::default() };
            regs.x[..4].copy_from_slice(&[a, b, (i + j) as u64 & 1, EDGES[(i * 7 + j) % EDGES.len()]]);
            states.push(State { regs, memory: vec![0; crate::reference::WINDOW], taken: None });
        }
    }
    states
}

fn block(ops: Vec<Op>) -> Block {
    Block { ops, ..Block::default() }
}

/// `x4 = zext(op(x0, x1, x2))` in the operation's types.
fn integer(tys: [Ty; 3], op: impl FnOnce([Val; 3]) -> Op) -> Block {
    let mut ir = Block::default();
    let args = [0, 1, 2].map(|n| ir.get(Slot(X[n].0, tys[n])));
    ir.ops.push(op(args));
    let result = Val(ir.ops.len() as u32 - 1);
    ir.set(X[4], result);
    ir
}

#[test]
fn integer_operations_agree_at_edge_values() {
    let (mut m, states) = (machines(), edges());
    for ty in INTS {
        for op in BINARIES {
            check(&mut m, integer([ty; 3], |[a, b, _]| Op::Bin(op, ty, a, b)), &states);
        }
        for op in UNARIES {
            check(&mut m, integer([ty; 3], |[a, ..]| Op::Un(op, ty, a)), &states[..]);
        }
        for cond in CONDS {
            check(&mut m, integer([ty; 3], |[a, b, _]| Op::Cmp(cond, ty, a, b)), &states);
        }
        let c = [ty, ty, Ty::I8];
        check(&mut m, integer(c, |[a, b, c]| Op::Select(ty, c, a, b)), &states);
        check(&mut m, integer(c, |[a, b, c]| Op::Carry(ty, a, b, c)), &states);
        check(&mut m, integer(c, |[a, b, c]| Op::Overflow(ty, a, b, c)), &states);
        for from in INTS.into_iter().filter(|from| *from < ty) {
            check(&mut m, integer([from; 3], |[a, ..]| Op::Zext(ty, a)), &states);
            check(&mut m, integer([from; 3], |[a, ..]| Op::Sext(ty, a)), &states);
            check(&mut m, integer([ty; 3], |[a, ..]| Op::Trunc(from, a)), &states);
        }
    }
}

#[test]
fn operations_with_a_constant_agree() {
    let (mut m, states) = (machines(), edges());
    for ty in [Ty::I16, Ty::I32, Ty::I64] {
        for constant in [0, 1, 31, 33, 0x8000, 0xffff_ffff, u64::MAX] {
            for op in BINARIES {
                let get = Op::Get(Slot(X[0].0, ty));
                let mut ir = block(vec![get, Op::Const(ty, constant & ty.mask()), Op::Bin(op, ty, Val(0), Val(1))]);
                ir.set(X[4], Val(2));
                ir.ops.push(Op::Bin(op, ty, Val(1), Val(0)));
                let other = Val(ir.ops.len() as u32 - 1);
                ir.set(X[0], other);
                check(&mut m, ir, &states[..60]);
            }
            for cond in CONDS {
                let get = Op::Get(Slot(X[0].0, ty));
                let mut ir = block(vec![get, Op::Const(ty, constant & ty.mask()), Op::Cmp(cond, ty, Val(0), Val(1))]);
                ir.set(X[0], Val(2));
                check(&mut m, ir, &states[..60]);
            }
        }
    }
}

#[test]
fn vector_operations_agree() {
    let mut m = machines();
    let mut rng = Rng(0x1234_5678_9abc_def1);
    let states: Vec<State> = (0..60).map(|_| random_state(&mut rng)).collect();
    let (get, set) = ([Op::Get(V[0]), Op::Get(V[1])], Op::Set(V[2], Val(2)));
    for lane in LANES {
        for op in V_BINARIES {
            check(&mut m, block(vec![get[0], get[1], Op::VBin(op, lane, Val(0), Val(1)), set]), &states);
        }
        for op in V_UNARIES.into_iter().filter(|op| (*op, lane) != (VUnary::Narrow, ir::Lane::B)) {
            check(&mut m, block(vec![get[0], get[1], Op::VUn(op, lane, Val(0)), set]), &states);
        }
        for op in V_SHIFTS {
            for by in [0, 1, 3, lane.ty().bits() - 1, lane.ty().bits()] {
                check(&mut m, block(vec![get[0], get[1], Op::VShift(op, lane, Val(0), by as u8), set]), &states[..8]);
            }
        }
        let x = Op::Get(Slot(X[0].0, lane.ty()));
        check(&mut m, block(vec![x, get[1], Op::Splat(lane, Val(0)), set]), &states);
        for n in 0..lane.count() {
            check(&mut m, block(vec![x, get[1], Op::Insert(lane, Val(1), n, Val(0)), set]), &states[..4]);
            let mut ir = block(vec![get[0], Op::Extract(lane, Val(0), n)]);
            ir.set(X[1], Val(1));
            check(&mut m, ir, &states[..4]);
        }
    }
}

#[test]
fn comparisons_of_numbers_agree() {
    let mut m = machines();
    let doubles = [0.0, -0.0, 1.0, -1.0, f64::MIN_POSITIVE / 2.0, f64::INFINITY, f64::NAN, -f64::NAN].map(f64::to_bits);
    let singles = doubles.map(|bits| u64::from((f64::from_bits(bits) as f32).to_bits()) | 0x7fc0_0000 << 32);
    for (lane, numbers) in [(ir::Lane::D, doubles), (ir::Lane::S, singles)] {
        let mut states = Vec::new();
        for (a, b) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
            let mut regs = Regs { pc: toy::CODE, ..Regs::default() };
            (regs.v[0], regs.v[1]) = (u128::from(a) | 1 << 127, b.into());
            states.push(State { regs, memory: vec![0; crate::reference::WINDOW], taken: None });
        }
        for cond in ir::FloatCond::ALL {
            let mut ir = block(vec![Op::Get(V[0]), Op::Get(V[1]), Op::FloatCmp(cond, lane, Val(0), Val(1))]);
            ir.set(X[4], Val(2));
            // Numbers that go through integers and other vectors on the way.
            ir.ops.push(Op::Extract(lane, Val(0), 0));
            let bits = Val(ir.ops.len() as u32 - 1);
            let zero = ir.imm_v(0);
            let alone = ir.insert(lane, zero, 0, bits);
            let again = ir.float_cmp(cond, lane, Val(1), alone);
            ir.set(X[5], again);
            ir.set(V[2], alone);
            check(&mut m, ir, &states);
        }
    }
}

/// What decoding could get wrong: text, run from a random state on every tier that can differ.
#[test]
fn registers_used_in_place_keep_their_meaning() {
    let cases = [
        // An early result must not hide the old contents from a read before the set.
        "v0 = const.i16 0xffff\nv1 = div_u.i16 v0, v0\nv2 = get.i64 x0\nv3 = zext.i64 v1\nset x0, v3\nset x3, v2",
        // Read, overwrite, use the old value.
        "v0 = get.i64 x0\nv1 = get.i64 x1\nset x0, v1\nset x1, v0",
        // Narrow looks at a register that changes in between.
        "v0 = get.i32 x0\nv1 = get.i8 x0\nv2 = get.i64 x1\nset x0, v2\nv4 = zext.i64 v0\nv5 = zext.i64 v1\nset x2, v4\n\
         set x3, v5",
        // Chains of looks at one register.
        "v0 = get.i64 x0\nv1 = trunc.i16 v0\nv2 = zext.i32 v1\nv3 = trunc.i8 v2\nv4 = const.i64 0\nset x0, v4\n\
         v6 = sext.i64 v3\nset x1, v6\nv8 = zext.i64 v2\nset x2, v8",
        // The base of a folded address changes between the sum and the access.
        "v0 = get.i64 x5\nv1 = const.i64 0x10000\nset x5, v1\nv3 = get.i64 x5\nv4 = const.i64 8\nv5 = add.i64 v3, v4\n\
         v6 = const.i64 0\nset x5, v6\nv8 = load.i64 v5, mmu0\nset x1, v8\nset x5, v0",
        // A load's value is used after its target was set to something else.
        "v0 = const.i64 0x10020\nv1 = load.i64 v0, mmu0\nv2 = get.i64 x0\nset x1, v2\nv4 = add.i64 v1, v2\nset x0, v1\n\
         set x2, v4",
        // Values live across helpers that write registers.
        "v0 = get.i64 x1\nv1 = get.i64 x3\nv2 = get.v128 v1\nv3 = const.i64 2\nv4 = call shuffle, v3\nset x2, v0\n\
         v6 = add.i64 v1, v4\nset x4, v6\nset v0, v2",
        "v0 = get.i64 x4\nv1 = call write, v0\nv2 = call write, v1\nset x0, v0\nv4 = call read\nset x1, v4\n\
         set x2, v2",
        // A set that only a helper sees, between two others.
        "v0 = const.i64 1\nset x0, v0\nv2 = call read\nv3 = const.i64 2\nset x0, v3\nset x1, v2",
        // A fault with sets before and after it.
        "v0 = const.i64 1\nset x0, v0\nv2 = const.i64 3\nv3 = call fault_if, v2\nset x0, v3\nset x1, v3",
        "v0 = get.i64 x0\nset x1, v0\nv2 = get.i8 x2\nraise_if fault_if, v2, 0x7\nset x1, v0\nset x0, v0",
        "v0 = get.i64 x0\nv1 = get.i64 x1\nv2 = cmp_lt_u.i64 v0, v1\nraise_if fault_if, v2, 0x1234567890abcdef\nset x3, v0",
        "v0 = get.i64 x0\nv1 = const.i64 0x11ffc\nset x1, v0\nv3 = load.i64 v1, mmu0\nset x1, v3",
        // A result computed long before its set, with a fault in between.
        "v0 = get.i64 x0\nv1 = get.i64 x2\nv2 = mul.i64 v0, v1\nv3 = const.i64 0x11fff\nv4 = load.i16 v3, mmu0\nset x2, v2",
        // Both operands and the result are one register.
        "v0 = get.i64 x0\nv1 = get.i64 x0\nv2 = sub.i64 v0, v1\nset x0, v2",
        "v0 = get.v128 v0\nv1 = get.i8 x0\nv2 = insert.b v0, 15, v1\nset v0, v2\nv4 = vadd_pairs.b v2, v0\nset v1, v4",
    ];
    let mut rng = Rng(77);
    let mut m = machines();
    for text in cases {
        let snippet = ir::parse(text, toy::names()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let states: Vec<State> = (0..20).map(|_| random_state(&mut rng)).collect();
        check(&mut m, snippet, &states);
    }
}

#[test]
fn a_block_with_more_values_than_cells_is_split() {
    // Four instructions of 100 values each that all live to their end.
    let mut snippet = Block::default();
    let values: Vec<Val> = (0..100)
        .map(|n| {
            let (a, b) = (snippet.get(X[0]), snippet.imm64(n * 0x1_0001));
            snippet.bin(ir::Binary::Xor, Ty::I64, a, b)
        })
        .collect();
    let mut sum = snippet.get(X[1]);
    for v in values {
        let rotated = snippet.shift_imm(ir::Binary::Ror, Ty::I64, sum, 7);
        sum = snippet.add(Ty::I64, rotated, v);
    }
    snippet.set(X[1], sum);
    let mut rng = Rng(5);
    let states: Vec<State> = (0..3).map(|_| random_state(&mut rng)).collect();
    let table = vec![snippet; 4];
    for machine in &mut machines() {
        load(machine, &table, false);
        for before in &states {
            assert!(actual(machine, before).regs == expected(&table, false, before).regs);
        }
    }
}

#[test]
fn text_of_random_blocks_reads_back() {
    let mut rng = Rng(99);
    for _ in 0..500 {
        let mut ir = snippet(&mut rng);
        ir.end(ir::Terminal::Jump(-4));
        let text = ir.display(toy::names());
        let read = ir::parse(&text, toy::names()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read.display(toy::names()), text);
        assert_eq!(read.ops, ir.ops);
    }
}
