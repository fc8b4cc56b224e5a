//! The intermediate representation: what one guest block means, stated once.
//!
//! A [`Block`] is straight-line code: every operation defines at most one value, used only after it, and the
//! [`Terminal`] says where control goes. Guest registers are [`Slot`]s of the vCPU state; `get` and `set` act in order,
//! so at every operation that can fault the state is exactly that before the instruction, plus what its earlier
//! operations have set (a translator sets nothing of an instruction before its last operation that can fault).
//!
//! The program counter's slot holds the virtual address of the block for its whole length. All code addresses in a block
//! are distances from it, so that a block is valid at any virtual address.

mod build;
mod parse;
mod print;
mod verify;

pub use parse::{ParseError, parse};
pub use verify::{VerifyError, verify};

/// The type of a value. `V128` is any 128 bits, of a vector or a pair of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ty {
    I8,
    I16,
    I32,
    I64,
    V128,
}

impl Ty {
    /// Size in bytes.
    pub const fn bytes(self) -> u8 {
        match self {
            Ty::I8 => 1,
            Ty::I16 => 2,
            Ty::I32 => 4,
            Ty::I64 => 8,
            Ty::V128 => 16,
        }
    }

    /// Size in bits.
    pub const fn bits(self) -> u32 {
        self.bytes() as u32 * 8
    }

    /// The bits that a value of an integer type can have.
    pub const fn mask(self) -> u64 {
        match self {
            Ty::I8 => 0xff,
            Ty::I16 => 0xffff,
            Ty::I32 => 0xffff_ffff,
            Ty::I64 | Ty::V128 => u64::MAX,
        }
    }

    /// The integer type of `bytes` bytes, or `V128` for 16.
    pub const fn of_bytes(bytes: u8) -> Option<Ty> {
        Some(match bytes {
            1 => Ty::I8,
            2 => Ty::I16,
            4 => Ty::I32,
            8 => Ty::I64,
            16 => Ty::V128,
            _ => return None,
        })
    }
}

/// The value that operation number `0` defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Val(pub u32);

/// A guest register: byte offset into the vCPU state struct, and how it is looked at. A slot of an integer type lies in
/// an eight-byte cell of its own and may be read with any narrower type (the low bits); it is written whole, as `I64`
/// (vectors as `V128`). Cells do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16, pub Ty);

/// Operations on two integers of one type. Shift counts are taken modulo the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// High half of the unsigned product.
    MulHiU,
    /// High half of the signed product.
    MulHiS,
    /// Division by zero gives 0.
    DivU,
    /// Division by zero gives 0; the most negative number by -1 gives itself.
    DivS,
    And,
    Or,
    Xor,
    /// `a & !b`
    AndNot,
    Shl,
    Shr,
    Sar,
    Ror,
}

/// Operations on one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    Not,
    Neg,
    /// Leading zeros; the width for 0.
    Clz,
    /// Trailing zeros; the width for 0.
    Ctz,
    /// Reverses the bits.
    BitRev,
    /// Reverses the bytes.
    ByteRev,
    /// Number of ones.
    Popcount,
}

/// Comparisons of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    Eq,
    Ne,
    LtU,
    LeU,
    LtS,
    LeS,
}

/// Comparisons of floating-point numbers: quiet relations and their complements. They raise no flag of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatCond {
    Eq,
    /// Not equal, or unordered.
    Ne,
    Lt,
    /// Not less: greater, equal or unordered.
    Nlt,
    Le,
    /// Not less or equal: greater or unordered.
    Nle,
    /// Unordered: one of the numbers is a NaN.
    Un,
    /// Ordered.
    Ord,
}

/// Width of the lanes of a vector operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    B,
    H,
    S,
    D,
}

impl Lane {
    /// The integer type of one lane.
    pub const fn ty(self) -> Ty {
        match self {
            Lane::B => Ty::I8,
            Lane::H => Ty::I16,
            Lane::S => Ty::I32,
            Lane::D => Ty::I64,
        }
    }

    /// Lanes in 128 bits.
    pub const fn count(self) -> u8 {
        16 / self.ty().bytes()
    }

    /// Lanes of `1 << log2` bytes.
    pub const fn of_log2(log2: u8) -> Lane {
        match log2 {
            0 => Lane::B,
            1 => Lane::H,
            2 => Lane::S,
            _ => Lane::D,
        }
    }
}

/// Lane-wise operations on two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VBinary {
    Add,
    Sub,
    /// Low half of the product.
    Mul,
    And,
    Or,
    Xor,
    /// `a & !b`
    AndNot,
    /// All ones where equal.
    CmpEq,
    /// All ones where `a > b`, signed.
    CmpGtS,
    /// All ones where `a > b`, unsigned.
    CmpGtU,
    /// All ones where `a >= b`, signed.
    CmpGeS,
    /// All ones where `a >= b`, unsigned.
    CmpGeU,
    MinS,
    MinU,
    MaxS,
    MaxU,
    /// Sums of neighbouring lanes: those of `a`, then those of `b`.
    AddPairs,
    /// Byte `i` is the byte of `a` with the number in byte `i` of `b`, or 0 if that is 16 or more; whatever the lane.
    Lookup,
}

/// Lane-wise operations on one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VUnary {
    Not,
    Neg,
    Abs,
    /// Number of ones in each lane.
    Popcount,
    /// Keeps the low 64 bits and clears the others, whatever the lane.
    Low64,
    /// Sign-extends the lower half of the lanes to twice their width.
    WidenLowS,
    /// Zero-extends the lower half of the lanes to twice their width.
    WidenLowU,
    /// Sign-extends the upper half of the lanes to twice their width.
    WidenHighS,
    /// Zero-extends the upper half of the lanes to twice their width.
    WidenHighU,
    /// Keeps the low half of each lane, packed into the low 64 bits; the others are zero.
    Narrow,
}

/// Lane-wise shifts by a constant, less than the lane's width (`Shl`) or up to it (the others).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VShift {
    Shl,
    Shr,
    Sar,
}

/// How a memory access is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mem {
    /// Which of the front end's translation regimes.
    pub mmu: u8,
    /// Required alignment as log2 of bytes; a misaligned access faults.
    pub align_log2: u8,
    /// Ordering against other memory accesses of this vCPU.
    pub order: Order,
    /// Bytes are reversed on the way (a big-endian access).
    pub swap: bool,
    /// Of a load: what it reads will be written back, so the page must allow stores too, and the access faults as a store.
    pub modify: bool,
}

impl Mem {
    /// A plain access in regime `mmu`.
    pub const fn plain(mmu: u8) -> Mem {
        Mem { mmu, align_log2: 0, order: Order::Relaxed, swap: false, modify: false }
    }
}

/// Memory order of one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
}

/// Whether the host makes all accesses in their order, but for loads that may pass earlier stores (Intel SDM vol. 3A, 8.2.2 "Memory
/// Ordering in P6 and More Recent Processor Families"): a barrier that does not order loads after stores needs no fence.
pub const HOST_KEEPS_ORDER: bool = cfg!(target_arch = "x86_64");

/// Read-modify-write operations; each gives the old value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    Swap,
    Add,
    /// `old & !value`
    AndNot,
    Or,
    Xor,
    MinS,
    MaxS,
    MinU,
    MaxU,
}

/// Index into the front end's table of helpers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HelperId(pub u16);

/// One operation. Operands precede it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// A guest instruction starts, `pc` bytes after the block.
    Insn {
        pc: u32,
    },
    /// An integer constant (within the type's mask).
    Const(Ty, u64),
    /// A vector constant as (low, high).
    ConstV(u64, u64),
    /// Reads a guest register.
    Get(Slot),
    /// Writes a guest register.
    Set(Slot, Val),
    Bin(Binary, Ty, Val, Val),
    Un(Unary, Ty, Val),
    /// 1 or 0 as `I8`.
    Cmp(Cond, Ty, Val, Val),
    /// 1 or 0 as `I8`: compares the numbers in the lowest lanes of two vectors, in single (`S`) or double (`D`) precision.
    FloatCmp(FloatCond, Lane, Val, Val),
    /// `a` if `c` (`I8`) is not zero, else `b`; of any type.
    Select(Ty, Val, Val, Val),
    /// Zero-extends to the type.
    Zext(Ty, Val),
    /// Sign-extends to the type.
    Sext(Ty, Val),
    /// Keeps the low bits.
    Trunc(Ty, Val),
    /// Carry out of `a + b + c`, `c` being `I8` 0 or 1; gives `I8`.
    Carry(Ty, Val, Val, Val),
    /// Signed overflow of `a + b + c`, `c` being `I8` 0 or 1; gives `I8`.
    Overflow(Ty, Val, Val, Val),
    /// Reads memory at a virtual address.
    Load(Ty, Val, Mem),
    /// Writes memory: address, value.
    Store(Ty, Val, Val, Mem),
    /// Read-modify-write at an address with a value; gives the old contents.
    Atomic(AtomicOp, Ty, Val, Val, Mem),
    /// If the contents at the address equal the second value, the third replaces them; gives the old contents.
    CmpXchg(Ty, Val, Val, Val, Mem),
    /// Orders all accesses before it against all after it.
    Fence,
    /// Calls a helper with up to four integers (`I64`); gives an `I64`. Only the first `arity` arguments count.
    Call(HelperId, [Val; 4], u8),
    /// Calls a helper with three vectors and a constant; gives a vector.
    CallV(HelperId, [Val; 3], u32),
    /// If the `I8` is not zero, calls a helper with a constant. The helper touches no slot and always raises: all that is a
    /// rare case costs a branch.
    RaiseIf(HelperId, Val, u64),
    VBin(VBinary, Lane, Val, Val),
    VUn(VUnary, Lane, Val),
    VShift(VShift, Lane, Val, u8),
    /// Every lane is the integer (of the lane's type).
    Splat(Lane, Val),
    /// Lane number `n`, as the lane's type.
    Extract(Lane, Val, u8),
    /// The vector with lane `n` replaced by the integer.
    Insert(Lane, Val, u8, Val),
    /// Byte `i` is byte `mask[i]` of the 32 bytes `a`, `b`; 0 where the mask is 32 or more. The number indexes
    /// [`Block::masks`].
    Shuffle(Val, Val, u16),
}

/// Where control goes after a block. Distances are in bytes from the block's address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Terminal {
    /// To a fixed distance.
    Jump(i64),
    /// To the first distance if the `I8` is not zero, else to the second.
    Branch(Val, i64, i64),
    /// To the address in the `I64`, in the same mode.
    Indirect(Val),
    /// To a fixed distance, where the mode may have changed: the engine looks at the state anew, and at interrupts.
    Resync(i64),
    /// To wherever the program counter's slot says now (a helper has set it), in whatever mode.
    Dispatch,
}

/// The meaning of one guest block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The operations; operation `n` defines `Val(n)`.
    pub ops: Vec<Op>,
    /// Where control goes; `None` only while the block is being built.
    pub end: Option<Terminal>,
    /// Byte masks of shuffles.
    pub masks: Vec<[u8; 16]>,
    /// Bytes of guest code.
    pub len_bytes: u32,
    /// Guest instructions.
    pub insns: u32,
    /// The guest's floating-point environment is the host's default for the whole block: round to nearest even, nothing is
    /// flushed, NaNs are propagated, exceptions raise flags only.
    pub host_float: bool,
    /// Addresses of code have 32 bits: what lies past either end is found at the other.
    pub narrow: bool,
    /// While it is built: loads and stores of at most eight bytes must be aligned to their size.
    pub aligned: bool,
    /// While it is built: a helper that is told of each access once it is made: its address, then its bytes, with bit 8 set for
    /// one that writes.
    pub watch: Option<HelperId>,
}

/// Names of slots and helpers, for printing and parsing.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Every slot with its widest type.
    pub slots: &'a [(&'a str, Slot)],
    /// Helpers in order of [`HelperId`].
    pub helpers: &'a [&'a str],
}

impl Block {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.masks.clear();
        (self.end, self.len_bytes, self.insns) = (None, 0, 0);
        (self.aligned, self.watch) = (false, None);
    }

    /// Whether the block may store to memory, so that code which follows it may be another one then.
    pub fn may_store(&self) -> bool {
        self.ops.iter().any(|op| op.may_leave() && !matches!(op, Op::Load(..) | Op::RaiseIf(..)))
    }

    /// Calls `f` with the operand of the terminal, if it has one.
    pub fn end_operand(&self, f: impl FnOnce(Val)) {
        if let Some(Terminal::Branch(v, ..) | Terminal::Indirect(v)) = self.end {
            f(v);
        }
    }
}

impl Op {
    /// The type of the value that this operation defines, given the types of the values before it only where it must;
    /// `None` for operations without a value.
    pub fn result(&self) -> Option<Ty> {
        Some(match *self {
            Op::Insn { .. } | Op::Set(..) | Op::Store(..) | Op::Fence | Op::RaiseIf(..) => return None,
            Op::Const(ty, _)
            | Op::Bin(_, ty, ..)
            | Op::Un(_, ty, _)
            | Op::Select(ty, ..)
            | Op::Zext(ty, _)
            | Op::Sext(ty, _)
            | Op::Trunc(ty, _)
            | Op::Load(ty, ..)
            | Op::Atomic(_, ty, ..)
            | Op::CmpXchg(ty, ..) => ty,
            Op::Get(slot) => slot.1,
            Op::Cmp(..) | Op::FloatCmp(..) | Op::Carry(..) | Op::Overflow(..) => Ty::I8,
            Op::Call(..) => Ty::I64,
            Op::ConstV(..)
            | Op::CallV(..)
            | Op::VBin(..)
            | Op::VUn(..)
            | Op::VShift(..)
            | Op::Splat(..)
            | Op::Insert(..)
            | Op::Shuffle(..) => Ty::V128,
            Op::Extract(lane, ..) => lane.ty(),
        })
    }

    /// Calls `f` with every operand.
    pub fn operands(&self, mut f: impl FnMut(Val)) {
        match *self {
            Op::Insn { .. } | Op::Const(..) | Op::ConstV(..) | Op::Get(_) | Op::Fence => {}
            Op::Set(_, a)
            | Op::Un(_, _, a)
            | Op::Zext(_, a)
            | Op::Sext(_, a)
            | Op::Trunc(_, a)
            | Op::Load(_, a, _)
            | Op::VUn(_, _, a)
            | Op::VShift(_, _, a, _)
            | Op::Splat(_, a)
            | Op::RaiseIf(_, a, _)
            | Op::Extract(_, a, _) => f(a),
            Op::Bin(_, _, a, b)
            | Op::Cmp(_, _, a, b)
            | Op::FloatCmp(_, _, a, b)
            | Op::Store(_, a, b, _)
            | Op::Atomic(_, _, a, b, _)
            | Op::VBin(_, _, a, b)
            | Op::Insert(_, a, _, b)
            | Op::Shuffle(a, b, _) => {
                f(a);
                f(b);
            }
            Op::Select(_, a, b, c) | Op::Carry(_, a, b, c) | Op::Overflow(_, a, b, c) | Op::CmpXchg(_, a, b, c, _) => {
                f(a);
                f(b);
                f(c);
            }
            Op::Call(_, args, arity) => args.iter().take(arity.into()).for_each(|a| f(*a)),
            Op::CallV(_, args, _) => args.iter().for_each(|a| f(*a)),
        }
    }

    /// The operation with every operand replaced by `f` of it.
    pub fn map_operands(mut self, mut f: impl FnMut(Val) -> Val) -> Op {
        match &mut self {
            Op::Insn { .. } | Op::Const(..) | Op::ConstV(..) | Op::Get(_) | Op::Fence => {}
            Op::Set(_, a)
            | Op::Un(_, _, a)
            | Op::Zext(_, a)
            | Op::Sext(_, a)
            | Op::Trunc(_, a)
            | Op::Load(_, a, _)
            | Op::VUn(_, _, a)
            | Op::VShift(_, _, a, _)
            | Op::Splat(_, a)
            | Op::RaiseIf(_, a, _)
            | Op::Extract(_, a, _) => *a = f(*a),
            Op::Bin(_, _, a, b)
            | Op::Cmp(_, _, a, b)
            | Op::FloatCmp(_, _, a, b)
            | Op::Store(_, a, b, _)
            | Op::Atomic(_, _, a, b, _)
            | Op::VBin(_, _, a, b)
            | Op::Insert(_, a, _, b)
            | Op::Shuffle(a, b, _) => {
                *a = f(*a);
                *b = f(*b);
            }
            Op::Select(_, a, b, c) | Op::Carry(_, a, b, c) | Op::Overflow(_, a, b, c) | Op::CmpXchg(_, a, b, c, _) => {
                *a = f(*a);
                *b = f(*b);
                *c = f(*c);
            }
            Op::Call(_, args, arity) => args.iter_mut().take((*arity).into()).for_each(|a| *a = f(*a)),
            Op::CallV(_, args, _) => args.iter_mut().for_each(|a| *a = f(*a)),
        }
        self
    }

    /// Whether the operation may fault or otherwise leave the block.
    pub fn may_leave(&self) -> bool {
        matches!(
            self,
            Op::Load(..)
                | Op::Store(..)
                | Op::Atomic(..)
                | Op::CmpXchg(..)
                | Op::Call(..)
                | Op::CallV(..)
                | Op::RaiseIf(..)
        )
    }

    /// Whether the operation does nothing but define its value.
    pub fn is_pure(&self) -> bool {
        !self.may_leave() && !matches!(self, Op::Insn { .. } | Op::Set(..) | Op::Fence)
    }
}
