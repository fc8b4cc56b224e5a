//! The interpreter: executes IR that was decoded into micro-operations beforehand. It runs cold code, it is the oracle
//! of the compilers, and the fallback on every host.
//!
//! A micro-operation names its operands by 16-bit byte offsets from the start of [`Env`](crate::env::Env): a guest
//! register or a temporary cell alike. Values in temporaries are zero-extended to 64 bits.

mod decode;
mod run;
mod vector;

pub use decode::{Limits, decode};
pub(crate) use run::{BINARY, TYPES, UNARY, kind_of, pack_mem, unpack_atomic, unpack_mem};
pub(crate) use run::{Exit, run};
pub use vector::{vbinary, vshift, vunary};

/// One micro-operation.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Uop {
    op: Operation,
    /// Destination.
    d: u16,
    /// First operand.
    a: u16,
    /// Second operand.
    b: u16,
    /// Constant, or further operands.
    imm: u64,
}

/// A decoded block.
pub struct Code {
    uops: Box<[Uop]>,
    /// First micro-operation of each guest instruction and the instruction's distance from the block.
    marks: Box<[(u32, u32)]>,
    /// Distances of the fixed exits.
    exits: [Option<i64>; 2],
    /// It ends with an indirect branch.
    indirect: bool,
    /// The bits that an address of code has.
    pc_mask: u64,
}

impl Code {
    /// What must be known of a block that is never interpreted.
    pub(crate) fn of_host_block(ir: &crate::ir::Block) -> Code {
        let mut marks = Vec::with_capacity(ir.insns as usize);
        marks.extend(ir.ops.iter().filter_map(|op| match op {
            crate::ir::Op::Insn { pc } => Some((0, *pc)),
            _ => None,
        }));
        Code {
            uops: Box::default(),
            marks: marks.into_boxed_slice(),
            exits: decode::exits(ir),
            indirect: decode::is_indirect(ir),
            pc_mask: decode::pc_mask(ir),
        }
    }

    /// Whether the block ends with an indirect branch.
    pub(crate) fn is_indirect(&self) -> bool {
        self.indirect
    }

    /// The guest instruction that micro-operation `uop` belongs to, as distance from the block.
    pub(crate) fn pc_of(&self, uop: usize) -> u32 {
        let after = self.marks.partition_point(|(first, _)| *first as usize <= uop);
        after.checked_sub(1).and_then(|n| self.marks.get(n)).map_or(0, |(_, pc)| *pc)
    }

    /// The distance that fixed exit `exit` leads, if the block has it.
    pub(crate) fn exit_distance(&self, exit: usize) -> Option<i64> {
        self.exits.get(exit).copied().flatten()
    }

    /// Number of guest instructions from the block's start to the one at distance `pc`, that one included.
    pub(crate) fn insns_to(&self, pc: u32) -> u32 {
        self.marks.partition_point(|(_, at)| *at <= pc) as u32
    }

    /// Number of micro-operations.
    pub fn len(&self) -> usize {
        self.uops.len()
    }

    /// Never true of a decoded block: it ends with one.
    pub fn is_empty(&self) -> bool {
        self.uops.is_empty()
    }
}

/// Operation codes. `R` takes its second operand from a cell, `I` from the constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[rustfmt::skip]
pub(crate) enum Operation {
    Mov8, Mov16, Mov32, Mov64, MovV, MovI, MovVI,
    Add32R, Add32I, Add64R, Add64I, Sub32R, Sub32I, Sub64R, Sub64I, Mul32R, Mul32I, Mul64R, Mul64I,
    And32R, And32I, And64R, And64I, Or32R, Or32I, Or64R, Or64I, Xor32R, Xor32I, Xor64R, Xor64I,
    AndNot32R, AndNot32I, AndNot64R, AndNot64I,
    Shl32R, Shl32I, Shl64R, Shl64I, Shr32R, Shr32I, Shr64R, Shr64I, Sar32R, Sar32I, Sar64R, Sar64I,
    Ror32R, Ror32I, Ror64R, Ror64I,
    /// Any other operation on two integers: `imm` is an index into `BINARY`.
    Binary,
    Not32, Not64, Neg32, Neg64,
    /// Any other operation on one integer: `imm` is an index into `UNARY`.
    Unary,
    Eq32R, Eq32I, Eq64R, Eq64I, Ne32R, Ne32I, Ne64R, Ne64I, LtU32R, LtU32I, LtU64R, LtU64I,
    LeU32R, LeU32I, LeU64R, LeU64I, LtS32R, LtS32I, LtS64R, LtS64I, LeS32R, LeS32I, LeS64R, LeS64I,
    /// Calls a helper, which raises, if cell `a` is not zero: `b` is its number, `imm` the constant.
    RaiseIf,
    /// Comparison of narrow integers.
    Compare,
    /// Comparison of floating-point numbers: `imm` is an index into `FloatCond::ALL`, plus 8 for double precision.
    FloatCompare,
    Select, SelectV, Sext8, Sext16, Sext32, Carry, Overflow, Carry64, Overflow64, Carry32, Overflow32,
    Load8, Load16, Load32, Load64, Load128, Store8, Store16, Store32, Store64, Store128, Atomic, CmpXchg, Fence,
    /// Memory operand of the two operations before: never executed by itself.
    Data,
    Call0, Call1, Call2, Call3, Call4, CallV,
    Vector1, Vector2, VectorShift, Splat8, Splat16, Splat32, Splat64,
    Extract8, Extract16, Extract32, Extract64, Insert8, Insert16, Insert32, Insert64, Shuffle,
    Jump, Branch, Indirect, Resync, Dispatch,
}
