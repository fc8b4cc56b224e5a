//! Encoding of x86-64 instructions: bytes into a buffer, in the manual's notation (Intel SDM vol. 2, "Instruction Format").
//!
//! Only the forms that the templates use. What changes the host's flags says so.

/// A general register by its number: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, then r8 to r15.
pub type Gpr = u8;
/// A vector register, xmm0 to xmm15.
pub type Xmm = u8;

pub const RAX: Gpr = 0;
pub const RCX: Gpr = 1;
pub const RDX: Gpr = 2;
pub const RBX: Gpr = 3;
pub const RSP: Gpr = 4;
pub const RBP: Gpr = 5;
pub const RSI: Gpr = 6;
pub const RDI: Gpr = 7;
pub const R8: Gpr = 8;
pub const R9: Gpr = 9;
pub const R10: Gpr = 10;
pub const R11: Gpr = 11;
pub const R12: Gpr = 12;
pub const R13: Gpr = 13;
pub const R14: Gpr = 14;
pub const R15: Gpr = 15;

/// RBP points so far into the environment: instructions have a byte for displacements from -128 to 127, which reach the
/// first registers of the guest.
pub const ENV_BIAS: i32 = 128;

/// An operand in memory: `[base + index + displacement]`.
#[derive(Clone, Copy, Debug)]
pub struct Mem {
    pub base: Gpr,
    pub index: Option<Gpr>,
    pub disp: i32,
}

impl Mem {
    pub const fn at(base: Gpr, disp: i32) -> Mem {
        Mem { base, index: None, disp }
    }
    /// What lies at `offset` in the environment.
    pub const fn env(offset: i32) -> Mem {
        Mem::at(RBP, offset - ENV_BIAS)
    }
    pub const fn env_indexed(index: Gpr, offset: i32) -> Mem {
        Mem::indexed(RBP, index, offset - ENV_BIAS)
    }
    pub const fn indexed(base: Gpr, index: Gpr, disp: i32) -> Mem {
        Mem { base, index: Some(index), disp }
    }
}

/// Condition codes, by encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cc {
    O = 0,
    No = 1,
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    S = 8,
    Ns = 9,
    P = 10,
    Np = 11,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

impl Cc {
    /// The condition that holds when this one does not.
    pub fn not(self) -> Cc {
        match self {
            Cc::O => Cc::No,
            Cc::No => Cc::O,
            Cc::B => Cc::Ae,
            Cc::Ae => Cc::B,
            Cc::E => Cc::Ne,
            Cc::Ne => Cc::E,
            Cc::Be => Cc::A,
            Cc::A => Cc::Be,
            Cc::S => Cc::Ns,
            Cc::Ns => Cc::S,
            Cc::P => Cc::Np,
            Cc::Np => Cc::P,
            Cc::L => Cc::Ge,
            Cc::Ge => Cc::L,
            Cc::Le => Cc::G,
            Cc::G => Cc::Le,
        }
    }
}

/// Operations of the first group, by their number in the opcode. All but the moves set the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    Adc = 2,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotates, by the number in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shift {
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// A place in the code whose jump distance is not known yet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Hole(usize);

impl Hole {
    /// The offset behind the jump, from which its distance counts.
    pub fn end(self) -> usize {
        self.0
    }
}

/// A few holes.
#[derive(Clone, Copy, Default)]
pub struct Holes([Option<Hole>; 3]);

impl Holes {
    /// One more, three at most.
    pub fn push(&mut self, hole: Hole) {
        let place = self.0.iter().position(Option::is_none).unwrap_or(0);
        debug_assert!(self.0[place].is_none());
        self.0[place] = Some(hole);
    }
}

impl From<Hole> for Holes {
    fn from(hole: Hole) -> Holes {
        Holes([Some(hole), None, None])
    }
}

impl IntoIterator for Holes {
    type Item = Hole;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Hole>, 3>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// A buffer of code.
#[derive(Default)]
pub struct Asm {
    pub code: Vec<u8>,
}

/// The second operand of an instruction: a register or memory.
#[derive(Clone, Copy)]
enum Rm {
    Reg(u8),
    Mem(Mem),
}

impl Asm {
    fn byte(&mut self, byte: u8) {
        self.code.push(byte);
    }
    fn imm32(&mut self, imm: i32) {
        self.code.extend_from_slice(&imm.to_le_bytes());
    }

    /// Prefix, REX, opcode bytes, ModRM and what follows it. `byte_operand` tells that register numbers 4 to 7 mean spl
    /// to dil, which needs a REX prefix.
    #[inline]
    fn op(&mut self, prefix: Option<u8>, wide: bool, opcode: &[u8], reg: u8, rm: Rm, byte_operand: bool) {
        // An instruction is put together beside the code: one look for room serves all its bytes.
        let (mut bytes, mut len) = ([0u8; 16], 0);
        let mut put = |byte: u8| {
            bytes[len & 15] = byte;
            len += 1;
        };
        if let Some(prefix) = prefix {
            put(prefix);
        }
        let (base, index) = match rm {
            Rm::Reg(r) => (r, 0),
            Rm::Mem(m) => (m.base, m.index.unwrap_or(0)),
        };
        let rex = u8::from(wide) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        let low_byte = byte_operand && ((4..8).contains(&reg) || matches!(rm, Rm::Reg(4..8)));
        if rex != 0 || low_byte {
            put(0x40 | rex);
        }
        opcode.iter().for_each(|byte| put(*byte));
        let reg = (reg & 7) << 3;
        match rm {
            Rm::Reg(r) => put(0xc0 | reg | r & 7),
            Rm::Mem(m) => {
                let short = i8::try_from(m.disp).is_ok();
                let mode = if short { 0x40 } else { 0x80 };
                match m.index {
                    // rsp and r12 as base need the second byte.
                    None if m.base & 7 != 4 => put(mode | reg | m.base & 7),
                    index => {
                        put(mode | reg | 4);
                        put((index.unwrap_or(4) & 7) << 3 | m.base & 7);
                    }
                }
                if short { put(m.disp as u8) } else { m.disp.to_le_bytes().into_iter().for_each(put) }
            }
        }
        let end = self.code.len() + len;
        self.code.extend_from_slice(&bytes);
        self.code.truncate(end);
    }

    /// `mov d, s` of 64 or 32 bits; the latter clears the upper half.
    pub fn mov(&mut self, wide: bool, d: Gpr, s: Gpr) {
        self.op(None, wide, &[0x8b], d, Rm::Reg(s), false);
    }

    /// The shortest way to a constant that leaves the flags alone.
    pub fn mov_imm(&mut self, d: Gpr, imm: u64) {
        if let Ok(small) = u32::try_from(imm) {
            if d >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | d & 7);
            self.imm32(small as i32);
        } else if let Ok(signed) = i32::try_from(imm as i64) {
            self.op(None, true, &[0xc7], 0, Rm::Reg(d), false);
            self.imm32(signed);
        } else {
            self.byte(0x48 | d >> 3);
            self.byte(0xb8 | d & 7);
            self.code.extend_from_slice(&imm.to_le_bytes());
        }
    }

    /// Loads 1, 2, 4 or 8 bytes, zero-extended.
    pub fn load(&mut self, bytes: u8, d: Gpr, m: Mem) {
        match bytes {
            1 => self.op(None, false, &[0x0f, 0xb6], d, Rm::Mem(m), false),
            2 => self.op(None, false, &[0x0f, 0xb7], d, Rm::Mem(m), false),
            _ => self.op(None, bytes == 8, &[0x8b], d, Rm::Mem(m), false),
        }
    }

    /// Stores 1, 2, 4 or 8 bytes.
    pub fn store(&mut self, bytes: u8, m: Mem, s: Gpr) {
        match bytes {
            1 => self.op(None, false, &[0x88], s, Rm::Mem(m), true),
            2 => self.op(Some(0x66), false, &[0x89], s, Rm::Mem(m), false),
            _ => self.op(None, bytes == 8, &[0x89], s, Rm::Mem(m), false),
        }
    }

    /// Stores a constant of 4 bytes, or 8 sign-extended.
    pub fn store_imm(&mut self, wide: bool, m: Mem, imm: i32) {
        self.op(None, wide, &[0xc7], 0, Rm::Mem(m), false);
        self.imm32(imm);
    }

    /// Stores a constant byte.
    pub fn store_byte_imm(&mut self, m: Mem, imm: u8) {
        self.op(None, false, &[0xc6], 0, Rm::Mem(m), false);
        self.code.push(imm);
    }

    /// Compares the low `bytes` bytes of registers. Sets the flags.
    pub fn cmp_low(&mut self, bytes: u8, a: Gpr, b: Gpr) {
        match bytes {
            1 => self.op(None, false, &[0x3a], a, Rm::Reg(b), true),
            2 => self.op(Some(0x66), false, &[0x3b], a, Rm::Reg(b), false),
            _ => self.alu(Alu::Cmp, bytes == 8, a, b),
        }
    }
    /// Compares the low `bytes` bytes of a register with a constant. Sets the flags.
    pub fn cmp_low_imm(&mut self, bytes: u8, a: Gpr, imm: i32) {
        match bytes {
            1 => {
                self.op(None, false, &[0x80], Alu::Cmp as u8, Rm::Reg(a), true);
                self.code.push(imm as u8);
            }
            2 => match i8::try_from(imm as i16) {
                Ok(imm) => {
                    self.op(Some(0x66), false, &[0x83], Alu::Cmp as u8, Rm::Reg(a), false);
                    self.code.push(imm as u8);
                }
                Err(_) => {
                    self.op(Some(0x66), false, &[0x81], Alu::Cmp as u8, Rm::Reg(a), false);
                    self.code.extend_from_slice(&(imm as u16).to_le_bytes());
                }
            },
            _ => self.alu_imm(Alu::Cmp, bytes == 8, a, imm),
        }
    }
    /// `test` of the low `bytes` bytes of a register with itself. Sets the flags.
    pub fn test_low(&mut self, bytes: u8, a: Gpr) {
        match bytes {
            1 => self.test_byte(a, a),
            2 => self.op(Some(0x66), false, &[0x85], a, Rm::Reg(a), false),
            _ => self.test(bytes == 8, a, a),
        }
    }

    /// Zero-extends the low 1, 2 or 4 bytes.
    pub fn zero_extend(&mut self, bytes: u8, d: Gpr, s: Gpr) {
        match bytes {
            1 => self.op(None, false, &[0x0f, 0xb6], d, Rm::Reg(s), true),
            2 => self.op(None, false, &[0x0f, 0xb7], d, Rm::Reg(s), false),
            _ => self.mov(bytes == 8, d, s),
        }
    }

    /// Sign-extends the low 1, 2 or 4 bytes to 64 or 32 bits.
    pub fn sign_extend(&mut self, bytes: u8, wide: bool, d: Gpr, s: Gpr) {
        match bytes {
            1 => self.op(None, wide, &[0x0f, 0xbe], d, Rm::Reg(s), true),
            2 => self.op(None, wide, &[0x0f, 0xbf], d, Rm::Reg(s), false),
            _ => self.op(None, wide, &[0x63], d, Rm::Reg(s), false),
        }
    }

    pub fn lea(&mut self, wide: bool, d: Gpr, m: Mem) {
        self.op(None, wide, &[0x8d], d, Rm::Mem(m), false);
    }

    /// Sets the flags.
    pub fn alu(&mut self, op: Alu, wide: bool, d: Gpr, s: Gpr) {
        self.op(None, wide, &[(op as u8) << 3 | 3], d, Rm::Reg(s), false);
    }
    /// Sets the flags.
    pub fn alu_imm(&mut self, op: Alu, wide: bool, d: Gpr, imm: i32) {
        self.alu_rm_imm(op, wide, Rm::Reg(d), imm);
    }
    /// Sets the flags.
    pub fn alu_load(&mut self, op: Alu, wide: bool, d: Gpr, m: Mem) {
        self.op(None, wide, &[(op as u8) << 3 | 3], d, Rm::Mem(m), false);
    }
    /// Sets the flags.
    pub fn alu_mem_imm(&mut self, op: Alu, wide: bool, m: Mem, imm: i32) {
        self.alu_rm_imm(op, wide, Rm::Mem(m), imm);
    }
    fn alu_rm_imm(&mut self, op: Alu, wide: bool, rm: Rm, imm: i32) {
        if let Ok(short) = i8::try_from(imm) {
            self.op(None, wide, &[0x83], op as u8, rm, false);
            self.byte(short as u8);
        } else {
            self.op(None, wide, &[0x81], op as u8, rm, false);
            self.imm32(imm);
        }
    }
    /// `add cl, 0xff`: the carry flag becomes whether cl was not zero.
    pub fn carry_from_cl(&mut self) {
        self.code.extend_from_slice(&[0x80, 0xc1, 0xff]);
    }

    /// Sets the flags.
    pub fn test(&mut self, wide: bool, a: Gpr, b: Gpr) {
        self.op(None, wide, &[0x85], b, Rm::Reg(a), false);
    }
    /// `test` of the low bytes. Sets the flags.
    pub fn test_byte(&mut self, a: Gpr, b: Gpr) {
        self.op(None, false, &[0x84], b, Rm::Reg(a), true);
    }
    /// Sets the flags.
    pub fn test_imm(&mut self, wide: bool, a: Gpr, imm: i32) {
        self.op(None, wide, &[0xf7], 0, Rm::Reg(a), false);
        self.imm32(imm);
    }

    /// Shifts by a constant. Sets the flags.
    pub fn shift_imm(&mut self, op: Shift, wide: bool, d: Gpr, by: u8) {
        self.op(None, wide, &[0xc1], op as u8, Rm::Reg(d), false);
        self.byte(by);
    }
    /// Shifts by cl. Sets the flags.
    pub fn shift_cl(&mut self, op: Shift, wide: bool, d: Gpr) {
        self.op(None, wide, &[0xd3], op as u8, Rm::Reg(d), false);
    }

    /// Sets the flags.
    pub fn imul(&mut self, wide: bool, d: Gpr, s: Gpr) {
        self.op(None, wide, &[0x0f, 0xaf], d, Rm::Reg(s), false);
    }
    /// `not`: leaves the flags alone.
    pub fn not(&mut self, wide: bool, d: Gpr) {
        self.op(None, wide, &[0xf7], 2, Rm::Reg(d), false);
    }
    /// Sets the flags.
    pub fn neg(&mut self, wide: bool, d: Gpr) {
        self.op(None, wide, &[0xf7], 3, Rm::Reg(d), false);
    }
    /// rdx:rax = rax * s. Sets the flags.
    pub fn mul(&mut self, signed: bool, wide: bool, s: Gpr) {
        self.op(None, wide, &[0xf7], if signed { 5 } else { 4 }, Rm::Reg(s), false);
    }
    /// rax = rdx:rax / s. Sets the flags.
    pub fn div(&mut self, signed: bool, wide: bool, s: Gpr) {
        self.op(None, wide, &[0xf7], if signed { 7 } else { 6 }, Rm::Reg(s), false);
    }
    /// rdx = sign of rax: cdq, cqo.
    pub fn sign_to_rdx(&mut self, wide: bool) {
        if wide {
            self.byte(0x48);
        }
        self.byte(0x99);
    }
    pub fn bswap(&mut self, wide: bool, d: Gpr) {
        let rex = u8::from(wide) << 3 | d >> 3;
        if rex != 0 {
            self.byte(0x40 | rex);
        }
        self.code.extend_from_slice(&[0x0f, 0xc8 | d & 7]);
    }
    /// lzcnt. Sets the flags.
    pub fn lzcnt(&mut self, wide: bool, d: Gpr, s: Gpr) {
        self.op(Some(0xf3), wide, &[0x0f, 0xbd], d, Rm::Reg(s), false);
    }
    /// tzcnt. Sets the flags.
    pub fn tzcnt(&mut self, wide: bool, d: Gpr, s: Gpr) {
        self.op(Some(0xf3), wide, &[0x0f, 0xbc], d, Rm::Reg(s), false);
    }
    /// popcnt. Sets the flags.
    pub fn popcnt(&mut self, wide: bool, d: Gpr, s: Gpr) {
        self.op(Some(0xf3), wide, &[0x0f, 0xb8], d, Rm::Reg(s), false);
    }

    pub fn setcc(&mut self, cc: Cc, d: Gpr) {
        self.op(None, false, &[0x0f, 0x90 | cc as u8], 0, Rm::Reg(d), true);
    }
    pub fn setcc_mem(&mut self, cc: Cc, m: Mem) {
        self.op(None, false, &[0x0f, 0x90 | cc as u8], 0, Rm::Mem(m), false);
    }
    pub fn cmov(&mut self, cc: Cc, wide: bool, d: Gpr, s: Gpr) {
        self.op(None, wide, &[0x0f, 0x40 | cc as u8], d, Rm::Reg(s), false);
    }

    pub fn jcc(&mut self, cc: Cc) -> Hole {
        self.code.extend_from_slice(&[0x0f, 0x80 | cc as u8]);
        self.hole()
    }
    pub fn jmp(&mut self) -> Hole {
        self.byte(0xe9);
        self.hole()
    }
    /// A jump whose distance is aligned to 4 bytes, so that it can be changed while others run it.
    pub fn jmp_aligned(&mut self) -> Hole {
        // NOP of one to three bytes (SDM volume 2, "NOP").
        const NOPS: [&[u8]; 4] = [&[], &[0x90], &[0x66, 0x90], &[0x0f, 0x1f, 0x00]];
        let behind = (self.code.len() + 1) % 4;
        self.code.extend_from_slice(NOPS[(4 - behind) % 4]);
        self.jmp()
    }
    pub fn call(&mut self) -> Hole {
        self.byte(0xe8);
        self.hole()
    }
    fn hole(&mut self) -> Hole {
        self.imm32(0);
        Hole(self.code.len())
    }
    /// Lets the jump lead here.
    pub fn bind(&mut self, hole: Hole) {
        self.bind_to(hole, self.code.len());
    }
    /// Lets the jump lead to an offset in the code.
    pub fn bind_to(&mut self, hole: Hole, to: usize) {
        let distance = (to as i64 - hole.0 as i64) as i32;
        self.code[hole.0 - 4..hole.0].copy_from_slice(&distance.to_le_bytes());
    }
    /// Lets the jump lead to an address, the code being about to lie at `base`.
    pub fn bind_to_address(&mut self, hole: Hole, base: u64, address: u64) {
        self.bind_to(hole, address.wrapping_sub(base) as usize);
    }
    pub fn jmp_reg(&mut self, r: Gpr) {
        self.op(None, false, &[0xff], 4, Rm::Reg(r), false);
    }
    pub fn jmp_mem(&mut self, m: Mem) {
        self.op(None, false, &[0xff], 4, Rm::Mem(m), false);
    }
    pub fn call_reg(&mut self, r: Gpr) {
        self.op(None, false, &[0xff], 2, Rm::Reg(r), false);
    }
    pub fn push(&mut self, r: Gpr) {
        if r >= 8 {
            self.byte(0x41);
        }
        self.byte(0x50 | r & 7);
    }
    pub fn pop(&mut self, r: Gpr) {
        if r >= 8 {
            self.byte(0x41);
        }
        self.byte(0x58 | r & 7);
    }
    pub fn push_imm(&mut self, imm: i32) {
        self.byte(0x68);
        self.imm32(imm);
    }
    pub fn ret(&mut self) {
        self.byte(0xc3);
    }
    /// Returns and takes `bytes` bytes of arguments off the stack.
    pub fn ret_taking(&mut self, bytes: u16) {
        self.byte(0xc2);
        self.code.extend_from_slice(&bytes.to_le_bytes());
    }
    pub fn mfence(&mut self) {
        self.code.extend_from_slice(&[0x0f, 0xae, 0xf0]);
    }
    /// Clears or sets the carry flag.
    pub fn set_carry(&mut self, carry: bool) {
        self.byte(0xf8 | u8::from(carry));
    }

    /// Copies all 128 bits.
    pub fn movdqa(&mut self, d: Xmm, s: Xmm) {
        self.op(Some(0x66), false, &[0x0f, 0x6f], d, Rm::Reg(s), false);
    }
    pub fn load_xmm(&mut self, d: Xmm, m: Mem) {
        self.op(Some(0xf3), false, &[0x0f, 0x6f], d, Rm::Mem(m), false);
    }
    pub fn store_xmm(&mut self, m: Mem, s: Xmm) {
        self.op(Some(0xf3), false, &[0x0f, 0x7f], s, Rm::Mem(m), false);
    }
    /// movd or movq from a general register; the rest becomes zero.
    pub fn xmm_from(&mut self, wide: bool, d: Xmm, s: Gpr) {
        self.op(Some(0x66), wide, &[0x0f, 0x6e], d, Rm::Reg(s), false);
    }
    /// movd or movq to a general register.
    pub fn xmm_to(&mut self, wide: bool, d: Gpr, s: Xmm) {
        self.op(Some(0x66), wide, &[0x0f, 0x7e], s, Rm::Reg(d), false);
    }
    /// movq: keeps the low 64 bits and clears the others.
    pub fn movq(&mut self, d: Xmm, s: Xmm) {
        self.op(Some(0xf3), false, &[0x0f, 0x7e], d, Rm::Reg(s), false);
    }
    /// An operation of the 0f map with prefix 66.
    pub fn sse(&mut self, opcode: u8, d: Xmm, s: Xmm) {
        self.op(Some(0x66), false, &[0x0f, opcode], d, Rm::Reg(s), false);
    }
    /// An operation of the 0f map with another prefix (f2, f3) or none.
    pub fn sse_with(&mut self, prefix: Option<u8>, opcode: u8, d: Xmm, s: Xmm) {
        self.op(prefix, false, &[0x0f, opcode], d, Rm::Reg(s), false);
    }
    /// roundss or roundsd.
    pub fn round(&mut self, double: bool, d: Xmm, s: Xmm, mode: u8) {
        self.op(Some(0x66), false, &[0x0f, 0x3a, 0x0a | u8::from(double)], d, Rm::Reg(s), false);
        self.byte(mode);
    }
    /// cmpunordps or cmpunordpd.
    pub fn compare_unordered(&mut self, prefix: Option<u8>, d: Xmm, s: Xmm) {
        self.sse_with(prefix, 0xc2, d, s);
        self.byte(3);
    }
    /// cvtsi2ss or cvtsi2sd.
    pub fn convert_from_int(&mut self, prefix: Option<u8>, wide: bool, d: Xmm, s: Gpr) {
        self.op(prefix, wide, &[0x0f, 0x2a], d, Rm::Reg(s), false);
    }
    /// cvttss2si or cvttsd2si.
    pub fn convert_to_int(&mut self, prefix: Option<u8>, wide: bool, d: Gpr, s: Xmm) {
        self.op(prefix, wide, &[0x0f, 0x2c], d, Rm::Reg(s), false);
    }
    /// vfmadd231 and its kin, in the form that `opcode` names: `d` becomes plus or minus `a * b` plus or minus `d`.
    pub fn fma(&mut self, opcode: u8, double: bool, d: Xmm, a: Xmm, b: Xmm) {
        self.byte(0xc4);
        self.byte((!d & 8) << 4 | 0x40 | (!b & 8) << 2 | 2);
        self.byte(u8::from(double) << 7 | (!a & 15) << 3 | 1);
        self.byte(opcode);
        self.byte(0xc0 | (d & 7) << 3 | b & 7);
    }
    /// An operation of the 0f 38 map with prefix 66 (SSSE3, SSE4).
    pub fn sse38(&mut self, opcode: u8, d: Xmm, s: Xmm) {
        self.op(Some(0x66), false, &[0x0f, 0x38, opcode], d, Rm::Reg(s), false);
    }
    /// A shift of lanes by a constant: `opcode` 71, 72, 73 for words, doublewords, quadwords.
    pub fn sse_shift(&mut self, opcode: u8, extension: u8, d: Xmm, by: u8) {
        self.op(Some(0x66), false, &[0x0f, opcode], extension, Rm::Reg(d), false);
        self.byte(by);
    }
    pub fn pshufd(&mut self, d: Xmm, s: Xmm, order: u8) {
        self.sse(0x70, d, s);
        self.byte(order);
    }
    pub fn pshuflw(&mut self, d: Xmm, s: Xmm, order: u8) {
        self.sse_with(Some(0xf2), 0x70, d, s);
        self.byte(order);
    }
    /// pextrb, pextrw, pextrd, pextrq; zero-extended.
    pub fn pextr(&mut self, bytes: u8, d: Gpr, s: Xmm, lane: u8) {
        match bytes {
            1 => self.op(Some(0x66), false, &[0x0f, 0x3a, 0x14], s, Rm::Reg(d), false),
            2 => self.op(Some(0x66), false, &[0x0f, 0x3a, 0x15], s, Rm::Reg(d), false),
            _ => self.op(Some(0x66), bytes == 8, &[0x0f, 0x3a, 0x16], s, Rm::Reg(d), false),
        }
        self.byte(lane);
    }
    /// pinsrb, pinsrw, pinsrd, pinsrq.
    pub fn pinsr(&mut self, bytes: u8, d: Xmm, s: Gpr, lane: u8) {
        match bytes {
            1 => self.op(Some(0x66), false, &[0x0f, 0x3a, 0x20], d, Rm::Reg(s), false),
            2 => self.op(Some(0x66), false, &[0x0f, 0xc4], d, Rm::Reg(s), false),
            _ => self.op(Some(0x66), bytes == 8, &[0x0f, 0x3a, 0x22], d, Rm::Reg(s), false),
        }
        self.byte(lane);
    }
}
