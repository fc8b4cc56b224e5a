//! Operands: registers with their parts, immediates, and memory through its segment.

use super::translator::Translator;
use crate::helpers;
use crate::mode::class;
use crate::segment;
use crate::state;
use iced_x86::{MemorySize, OpKind, Register};
use tcg::Slot;
use tcg::ir::{Binary, Cond, Mem, Ty, Val};

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Register(Register),
    /// At a linear address.
    Memory(Val),
    Immediate(u64),
}

/// The number of a segment register.
pub fn segment_number(register: Register) -> usize {
    match register {
        Register::ES => segment::ES,
        Register::CS => segment::CS,
        Register::SS => segment::SS,
        Register::FS => segment::FS,
        Register::GS => segment::GS,
        _ => segment::DS,
    }
}

/// The number of a general-purpose register, and the first bit of it that `register` is.
fn part(register: Register) -> (usize, u32) {
    let shift = if matches!(register, Register::AH | Register::CH | Register::DH | Register::BH) { 8 } else { 0 };
    let number = register.full_register().number();
    (if register.is_gpr() { number } else { 0 }, shift)
}

/// The integer type of a number of bytes.
pub fn ty_of(bytes: usize) -> Ty {
    match bytes {
        1 => Ty::I8,
        2 => Ty::I16,
        4 => Ty::I32,
        _ => Ty::I64,
    }
}

impl Translator<'_> {
    /// The integer type of operand `n`: of a register or memory; of an immediate that of the first operand.
    pub fn ty(&self, n: u32) -> Ty {
        match self.insn.op_kind(n) {
            OpKind::Register => ty_of(self.insn.op_register(n).size()),
            OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI => ty_of(self.memory_bytes()),
            _ if n == 0 => ty_of(usize::from(self.stack_width())),
            _ => self.ty(0),
        }
    }

    /// Bytes of the memory operand.
    pub fn memory_bytes(&self) -> usize {
        match self.insn.memory_size() {
            MemorySize::Unknown => 1,
            size => size.size(),
        }
    }

    /// Whether operand `n` is memory.
    pub fn is_memory(&self, n: u32) -> bool {
        self.insn.op_kind(n) == OpKind::Memory
    }

    /// Reads a general-purpose register.
    pub fn gpr(&mut self, register: Register) -> Val {
        let (number, shift) = part(register);
        let ty = ty_of(register.size());
        if shift == 0 {
            return self.ir.get(Slot(state::gpr(number).0, ty));
        }
        let whole = self.ir.get(Slot(state::gpr(number).0, Ty::I16));
        let high = self.ir.shift_imm(Binary::Shr, Ty::I16, whole, shift);
        self.ir.trunc(Ty::I8, high)
    }

    /// Sets a general-purpose register: 32 bits clear the upper half, 8 and 16 leave the rest.
    pub fn set_gpr(&mut self, register: Register, v: Val) {
        let (number, shift) = part(register);
        let slot = state::gpr(number);
        if register.size() >= 4 {
            self.ir.set(slot, v);
            return;
        }
        let mask = ty_of(register.size()).mask() << shift;
        let whole = self.ir.get(slot);
        let rest = self.ir.and_imm(Ty::I64, whole, !mask);
        let v = self.ir.zext(Ty::I64, v);
        let v = self.ir.shift_imm(Binary::Shl, Ty::I64, v, shift);
        let merged = self.ir.or(Ty::I64, rest, v);
        self.ir.set(slot, merged);
    }

    /// General-purpose register `n` as `ty`.
    pub fn numbered(&mut self, n: usize, ty: Ty) -> Val {
        self.ir.get(Slot(state::gpr(n).0, ty))
    }

    /// Sets the low `ty` of general-purpose register `n`, as [`set_gpr`](Translator::set_gpr) does.
    pub fn set_numbered(&mut self, n: usize, ty: Ty, v: Val) {
        if matches!(ty, Ty::I32 | Ty::I64) {
            self.ir.set(state::gpr(n), v);
            return;
        }
        let whole = self.ir.get(state::gpr(n));
        let rest = self.ir.and_imm(Ty::I64, whole, !ty.mask());
        let v = self.ir.zext(Ty::I64, v);
        let merged = self.ir.or(Ty::I64, rest, v);
        self.ir.set(state::gpr(n), merged);
    }

    /// Where operand `n` is. The address of memory is computed once, with all checks of its segment.
    pub fn place(&mut self, n: u32) -> Place {
        match self.insn.op_kind(n) {
            OpKind::Register => Place::Register(self.insn.op_register(n)),
            OpKind::Memory => {
                let bytes = self.memory_bytes() as u64;
                Place::Memory(self.memory(bytes, self.writes(n)))
            }
            _ => Place::Immediate(self.insn.try_immediate(n).unwrap_or(0)),
        }
    }

    /// Whether a memory operand is stored to: the first one is, but of instructions that only read it.
    fn writes(&self, n: u32) -> bool {
        use iced_x86::Mnemonic as M;
        let reads = matches!(
            self.insn.mnemonic(),
            M::Cmp
                | M::Test
                | M::Bt
                | M::Push
                | M::Mul
                | M::Div
                | M::Idiv
                | M::Call
                | M::Jmp
                | M::Nop
                | M::Lldt
                | M::Ltr
                | M::Lmsw
                | M::Verr
                | M::Verw
                | M::Lgdt
                | M::Lidt
                | M::Invlpg
                | M::Clflush
        ) || self.insn.mnemonic() == M::Imul;
        n == 0 && !reads
    }

    /// Reads operand `n` as the type of the operand.
    pub fn read(&mut self, n: u32) -> Val {
        let (place, ty) = (self.place(n), self.ty(n));
        self.load(place, ty)
    }

    /// Reads a place.
    pub fn load(&mut self, place: Place, ty: Ty) -> Val {
        match place {
            Place::Register(register) if register.is_segment_register() => {
                let slot = state::selector(segment_number(register));
                self.ir.get(Slot(slot.0, ty))
            }
            Place::Register(register) => self.gpr(register),
            Place::Memory(va) => {
                // What is written as well is read for that.
                let mem = Mem { modify: self.is_memory(0) && self.writes(0), ..self.mem() };
                self.ir.load(ty, va, mem)
            }
            Place::Immediate(value) => self.ir.imm(ty, value),
        }
    }

    /// Writes a place. A store must be an instruction's last operation that can fault, before it sets any register.
    pub fn store(&mut self, place: Place, ty: Ty, v: Val) {
        match place {
            Place::Register(register) => self.set_gpr(register, v),
            Place::Memory(va) => {
                let mem = self.mem();
                self.ir.store(ty, va, v, mem);
            }
            Place::Immediate(_) => unreachable!("no instruction writes an immediate"),
        }
    }

    /// The offset that the memory operand's registers and displacement make, before the segment.
    pub fn offset(&mut self) -> Val {
        let insn = self.insn;
        let (base, index) = (insn.memory_base(), insn.memory_index());
        let displacement = insn.memory_displacement64();
        if matches!(base, Register::RIP | Register::EIP) {
            // The decoder was told that the block is at 0.
            let pc = self.ir.get(state::PC);
            let va = self.ir.add_imm(Ty::I64, pc, displacement);
            return if base == Register::EIP { self.ir.and_imm(Ty::I64, va, 0xffff_ffff) } else { va };
        }
        let ty = self.address_ty();
        let mut sum = self.ir.imm(ty, displacement);
        if index != Register::None {
            let v = self.gpr(index);
            // AL is the index of XLAT.
            let v = self.fit(ty, v);
            let scaled = self.ir.shift_imm(Binary::Shl, ty, v, insn.memory_index_scale().trailing_zeros());
            sum = if displacement & ty.mask() == 0 { scaled } else { self.ir.add(ty, scaled, sum) };
        }
        if base != Register::None {
            let v = self.gpr(base);
            let v = self.fit(ty, v);
            sum = self.ir.add(ty, v, sum);
        }
        self.ir.zext(Ty::I64, sum)
    }

    /// An integer as `ty`: cut, or with zeros above it.
    fn fit(&mut self, ty: Ty, v: Val) -> Val {
        if self.ir.ty(v) < ty { self.ir.zext(ty, v) } else { self.ir.trunc(ty, v) }
    }

    /// The type that addresses of the memory operand are computed in.
    pub fn address_ty(&self) -> Ty {
        let insn = &self.insn;
        let register = [insn.memory_base(), insn.memory_index()].into_iter().find(|r| r.is_gpr());
        match register {
            _ if insn.memory_base() == Register::EIP => Ty::I32,
            Some(register) => ty_of(register.size()),
            None => match insn.memory_displ_size() {
                2 => Ty::I16,
                8 => Ty::I64,
                _ if self.is_64bit() && insn.op_count() > 0 && !self.has_short_address() => Ty::I64,
                _ => Ty::I32,
            },
        }
    }

    /// Whether an address-size prefix stands before an instruction without address registers.
    fn has_short_address(&self) -> bool {
        self.insn.memory_displ_size() == 4
            && self.insn.memory_displacement64() >> 32 == 0
            && self.insn.memory_displacement64() as i32 as i64 as u64 != self.insn.memory_displacement64()
    }

    /// The linear address of the memory operand, of which `bytes` bytes are read or written.
    pub fn memory(&mut self, bytes: u64, write: bool) -> Val {
        let offset = self.offset();
        let n = segment_number(self.insn.memory_segment());
        self.in_segment(n, offset, bytes, write)
    }

    /// The linear address of `bytes` bytes at an `I64` offset in segment register `n`, with the checks of the segment.
    pub fn in_segment(&mut self, n: usize, offset: Val, bytes: u64, write: bool) -> Val {
        match self.mode.class(n) {
            class::FLAT => offset,
            class::BASED => self.based(n, offset),
            class::SMALL => {
                if bytes > 1 || self.mode.size() != 0 || self.insn.memory_displ_size() == 4 {
                    let last = self.ir.imm64(0x1_0000 - bytes.max(1));
                    let outside = self.ir.cmp(Cond::LtU, Ty::I64, last, offset);
                    self.raise_if(Some(outside), segment_fault(n));
                }
                self.based(n, offset)
            }
            _ => {
                let packed = self.ir.imm64(n as u64 | u64::from(write) << 8 | bytes << 16);
                self.ir.call(helpers::CHECK_SEGMENT, &[offset, packed])
            }
        }
    }

    fn based(&mut self, n: usize, offset: Val) -> Val {
        let base = self.ir.get(state::base(n));
        let va = self.ir.add(Ty::I64, base, offset);
        self.linear(va)
    }
}

/// The fault of an access outside of segment register `n`.
fn segment_fault(n: usize) -> crate::exception::Exception {
    use crate::exception::{Exception, GP, SS};
    Exception::with_error(if n == segment::SS { SS } else { GP }, 0)
}
