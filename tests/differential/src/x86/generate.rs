//! Random cases: encodings with operands, and states that make them do something.

use super::encode::{self, Form, Set};
use super::wire::*;
use crate::random::Random;
use iced_x86::{
    Code, ConstantOffsets, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic as M, OpKind, Register,
    RflagsBits,
};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;

/// Flags by their bits.
const STATUS: u64 = 0x8d5;
const DF: u64 = 1 << 10;
const TF_AND_AC: u64 = 1 << 8 | 1 << 18;

/// One or more instructions, without a state.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// The first instruction.
    pub code: Code,
    bits: u32,
    pub bytes: Vec<u8>,
    pub instructions: Vec<Instruction>,
    pub pc: u64,
    flags: u32,
    window_offset: u32,
}

/// What is encoded.
pub struct Rows {
    /// Bits of code, 32 or 64.
    bits: u32,
    /// The instructions to test.
    pub codes: Vec<Code>,
    /// Instructions that use flags.
    consumers: Vec<Code>,
    /// Instructions that may follow others.
    followers: Vec<Code>,
}

impl Rows {
    /// The instructions of `sets`; only those whose name (iced's, as `Add_rm32_r32`) starts with `prefix`.
    pub fn new(bits: u32, sets: &[Set], prefix: Option<&str>) -> Rows {
        let mut codes = encode::codes(sets, bits);
        if let Some(prefix) = prefix {
            codes.retain(|code| encode::name(*code).to_lowercase().starts_with(&prefix.to_lowercase()));
        }
        let consumes = |code: &Code| {
            let mnemonic = code.mnemonic();
            code.is_jcc_short_or_near()
                || matches!(
                    mnemonic,
                    M::Adc
                        | M::Sbb
                        | M::Rcl
                        | M::Rcr
                        | M::Pushfq
                        | M::Pushfd
                        | M::Pushf
                        | M::Lahf
                        | M::Cmc
                        | M::Adcx
                        | M::Adox
                        | M::Loope
                )
                || code.condition_code() != iced_x86::ConditionCode::None && !code.is_loop()
        };
        let integer = encode::codes(&[Set::Integer], bits);
        let consumers = integer.iter().copied().filter(consumes).collect();
        Rows { bits, codes, consumers, followers: integer.into_iter().filter(may_follow).collect() }
    }
}

/// Whether an instruction is of use in the middle of others: it does not branch, and needs no special state.
fn may_follow(code: &Code) -> bool {
    let info = code.op_code();
    let special = matches!(
        code.mnemonic(),
        M::Div
            | M::Idiv
            | M::Enter
            | M::Leave
            | M::Popf
            | M::Popfd
            | M::Popfq
            | M::Int
            | M::Int3
            | M::Ud0
            | M::Ud1
            | M::Ud2
            | M::Wrfsbase
            | M::Wrgsbase
            | M::Xlatb
    );
    let undefined = matches!(
        code,
        Code::Shld_rm16_r16_imm8 | Code::Shld_rm16_r16_CL | Code::Shrd_rm16_r16_imm8 | Code::Shrd_rm16_r16_CL
    );
    let mut insn = Instruction::new();
    insn.set_code(*code);
    let plain = !branches(&insn) && !insn.is_string_instruction() && code.flow_control() == FlowControl::Next;
    plain && !special && !undefined && !info.is_privileged() && !info.is_input_output()
}

/// Flags as iced numbers them, by their bits in RFLAGS.
pub fn flags_of(bits: u32) -> u64 {
    [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ]
    .iter()
    .filter(|(flag, _)| bits & flag != 0)
    .fold(0, |all, (_, bit)| all | 1 << bit)
}

/// Flags that are undefined after an instruction.
pub fn undefined_flags(insn: &Instruction) -> u64 {
    flags_of(insn.rflags_undefined())
}

/// Flags that are undefined after all of some instructions.
pub fn undefined_after(instructions: &[Instruction]) -> u64 {
    instructions.iter().fold(0, |undefined, insn| {
        // A count of zero changes nothing.
        let counted = matches!(
            insn.mnemonic(),
            M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
        );
        let written = flags_of(insn.rflags_written() | insn.rflags_cleared() | insn.rflags_set());
        undefined & !(if counted { 0 } else { written }) | undefined_flags(insn)
    })
}

fn branches(insn: &Instruction) -> bool {
    !matches!(insn.flow_control(), FlowControl::Next | FlowControl::Interrupt | FlowControl::Exception)
}

/// Appends one of `codes` whose operands are registers or at a distance from RIP, if it makes nothing undefined visible.
fn append(codes: &[Code], bits: u32, bytes: &mut Vec<u8>, place: u64, random: &mut Random) {
    let next = place + bytes.len() as u64;
    let form = if random.percent(60) { Form::Registers } else { Form::Relative };
    let Some(more) = encode::bytes_of(random.one_of(codes), bits, next, form, random) else { return };
    let insn = encode::decode(bits, &more, next);
    let anywhere = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory)
        && (insn.memory_base().is_gpr() || insn.memory_index() != Register::None);
    let undefined = undefined_after(&encode::decode_all(bits, bytes, place));
    if !anywhere && flags_of(insn.rflags_read()) & undefined == 0 && bytes.len() + more.len() <= CODE_MAX {
        bytes.extend(more);
    }
}

/// Bytes that an instruction accesses.
fn access_bytes(insn: &Instruction) -> u64 {
    match insn.memory_size().size() as u64 {
        0 => 8,
        size => size,
    }
}

impl Encoding {
    /// A random encoding of `code`; `place` gives where it goes if it does not branch.
    pub fn random(rows: &Rows, code: Code, place: u64, random: &mut Random) -> Option<Encoding> {
        let bits = rows.bits;
        let window_offset = match random.below(4) {
            0 => 0,
            1 => DATA_SIZE as u32 - WINDOW as u32,
            2 => 0x1000 - WINDOW as u32 / 2,
            _ => random.below((DATA_SIZE - WINDOW as u64) / 64) as u32 * 64,
        };
        let mut bytes = encode::bytes_of(code, bits, place, Form::Any, random)?;
        let first = encode::decode(bits, &bytes, place);
        // Undefined results must not be used.
        let vague = matches!(first.mnemonic(), M::Shld | M::Shrd) && first.op1_register().size() == 2;
        if !branches(&first) && !vague && !matches!(first.mnemonic(), M::Popf | M::Popfd | M::Popfq) {
            let sets_flags = flags_of(first.rflags_modified()) != 0;
            match random.below(100) {
                0..25 if sets_flags => append(&rows.consumers, bits, &mut bytes, place, random),
                25..40 => {
                    for _ in 0..2 + random.below(5) {
                        append(&rows.followers, bits, &mut bytes, place, random);
                    }
                    append(&rows.consumers, bits, &mut bytes, place, random);
                }
                _ => {}
            }
        }
        let isolated = encode::decode_all(bits, &bytes, place).iter().any(branches);
        let pc = if isolated { ISOLATED_PC } else { place };
        let set = encode::set_of(code, bits)?;
        let flags = (u32::from(isolated) * FLAG_ISOLATED)
            | if set == Set::Integer { 0 } else { FLAG_VECTORS }
            | if bits == 32 { FLAG_32 } else { 0 };
        let mut encoding = Encoding { code, bits, bytes, instructions: Vec::new(), pc, flags, window_offset };
        encoding.patch(random);
        encoding.instructions = encode::decode_all(bits, &encoding.bytes, pc);
        (encoding.instructions[0].code() == code).then_some(encoding)
    }

    /// Random bytes that are no instruction, neither of Intel's processors nor of AMD's.
    pub fn undefined(rows: &Rows, place: u64, random: &mut Random) -> Encoding {
        let (bits, code) = (rows.bits, Code::INVALID);
        let flags = if bits == 32 { FLAG_32 } else { 0 };
        loop {
            let bytes = encode::random_bytes(bits, random);
            if let Some(insn) = encode::undefined(bits, &bytes, place) {
                let instructions = vec![insn];
                return Encoding { code, bits, bytes, instructions, pc: place, flags, window_offset: 0 };
            }
        }
    }

    /// Makes addresses that are part of the encoding lead to the data, and branches to where they may go.
    fn patch(&mut self, random: &mut Random) {
        let bytes = self.bytes.clone();
        let mut decoder = Decoder::with_ip(self.bits, &bytes, self.pc, DecoderOptions::NONE);
        let end = self.bytes.len();
        while decoder.can_decode() {
            let at = decoder.position();
            let insn = decoder.decode();
            let offsets: ConstantOffsets = decoder.get_constant_offsets(&insn);
            let len = insn.len();
            if insn.is_jcc_short_or_near() || matches!(insn.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32) {
                let near = matches!(len - offsets.immediate_offset(), 4) && offsets.immediate_size() == 4;
                let distance = self.branch_distance(random, near, at + len, end);
                let bytes = distance.to_le_bytes();
                let size = if near { 4 } else { 1 };
                self.bytes[at + len - size..at + len].copy_from_slice(&bytes[..size]);
                continue;
            }
            let absolute = insn.memory_base() == Register::None && insn.memory_index() == Register::None;
            let has_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
            if has_memory && offsets.has_displacement() && (insn.is_ip_rel_memory_operand() || absolute) {
                let target = self.target(random, access_bytes(&insn));
                let relative = if absolute { 0 } else { self.pc + (at + len) as u64 };
                let displacement = target.wrapping_sub(relative).to_le_bytes();
                let size = offsets.displacement_size();
                let start = at + offsets.displacement_offset();
                self.bytes[start..start + size].copy_from_slice(&displacement[..size]);
            }
        }
    }

    /// A distance from `next` (from the start of the code) that does not lead into the code itself.
    fn branch_distance(&self, random: &mut Random, near: bool, next: usize, end: usize) -> i32 {
        loop {
            let distance = match (near, random.below(10)) {
                (false, _) => i32::from(random.bits() as i8),
                // Where nothing is mapped.
                (true, 0) => random.one_of(&[0x4000_0000, -0x4000_0000]) + random.below(0x1_0000) as i32,
                (true, 1..4) => random.below(512) as i32 - 256,
                _ => random.below(ISOLATED_SIZE - 0x1000) as i32 - (ISOLATED_PC - ISOLATED) as i32 + 0x100,
            };
            let to = next as i64 + i64::from(distance);
            if !(0..end as i64).contains(&to) {
                return distance;
            }
        }
    }

    /// An address of data for an access of `size` bytes, mostly in the window.
    fn target(&self, random: &mut Random, size: u64) -> u64 {
        let start = DATA + u64::from(self.window_offset);
        let window = WINDOW as u64;
        match random.below(16) {
            0 if self.window_offset == 0 => return DATA - random.below(size + 1),
            0 | 1 if self.window_offset as u64 + window == DATA_SIZE => {
                return DATA + DATA_SIZE - random.below(size + 1);
            }
            0..3 if self.window_offset == 0x1000 - WINDOW as u32 / 2 => return DATA + 0x1000 - random.below(size + 1),
            _ => {}
        }
        let room = window - 128 - size.min(256);
        let at = start + 64 + random.below(room);
        if random.percent(60) { at & !(size.next_power_of_two().min(64) - 1) } else { at }
    }

    /// A state for the instructions.
    pub fn case(&self, random: &mut Random) -> Case {
        let mut case = Case {
            code: self.bytes.clone(),
            instructions: self.instructions.len() as u64,
            pc: self.pc,
            flags: self.flags,
            window_offset: self.window_offset,
            state: State::default(),
            window: [0; WINDOW],
        };
        fill_window(&mut case.window, random);
        let state = &mut case.state;
        for n in 0..16 {
            state.gpr[n] = if n > 0 && random.percent(8) { state.gpr[n - 1] } else { random.integer(64) };
        }
        if case.flags & FLAG_VECTORS != 0 {
            fill_vectors(state, random);
        }
        state.rflags = 0x202 | random.bits() & STATUS | if random.percent(10) { DF } else { 0 };
        // None that would need an offset that is not canonical: AMD's processors refuse that, Intel's look at the sum only.
        let bases = [0, 0, 0x1000, 0x1234_5678_0000, 0xffff_ffff_ffff_f000];
        (state.fs_base, state.gs_base) = (random.one_of(&bases), random.one_of(&bases));
        let first = &self.instructions[0];
        let stack = first.is_stack_instruction() || self.instructions.len() > 1;
        if stack || random.percent(50) {
            let size = if random.percent(5) { random.below(16) } else { 8 };
            let target = self.target(random, size);
            state.gpr[RSP] = if random.percent(90) { target & !7 } else { target };
        }
        self.special_registers(first, &mut case, random);
        self.address(first, &mut case.state, random);
        self.special_memory(first, &mut case, random);
        if self.bits == 32 {
            case.state.gpr[8..].fill(0);
            case.state.gpr.iter_mut().for_each(|value| *value &= 0xffff_ffff);
            (case.state.fs_base, case.state.gs_base) = (0, 0);
        }
        case
    }

    /// Solves the address of the memory operand for its base.
    fn address(&self, insn: &Instruction, state: &mut State, random: &mut Random) {
        for n in 0..insn.op_count() {
            let (register, short) = match insn.op_kind(n) {
                OpKind::MemorySegRSI => (RSI, false),
                OpKind::MemorySegESI => (RSI, true),
                OpKind::MemoryESRDI | OpKind::MemorySegRDI => (RDI, false),
                OpKind::MemoryESEDI | OpKind::MemorySegEDI => (RDI, true),
                _ => continue,
            };
            let mut at = self.target(random, access_bytes(insn));
            if register == RSI || insn.op_kind(n) == OpKind::MemorySegRDI {
                at = at.wrapping_sub(segment_base(insn, state));
            }
            state.gpr[register] = if short { at & 0xffff_ffff | random.bits() << 32 } else { at };
        }
        if (0..insn.op_count()).all(|n| insn.op_kind(n) != OpKind::Memory) || random.percent(3) {
            return;
        }
        let (base, index) = (insn.memory_base(), insn.memory_index());
        let (base_ok, index_ok) = (base.is_gpr(), index.is_gpr());
        let displacement = insn.memory_displacement64();
        let short = [base, index].iter().any(|r| r.is_gpr32());
        let target = self.target(random, access_bytes(insn)).wrapping_sub(segment_base(insn, state));
        let wanted = target.wrapping_sub(displacement);
        let scale = u64::from(insn.memory_index_scale());
        let number = |r: Register| r.full_register().number();
        let mut set = |r: Register, value: u64| {
            let old = state.gpr[number(r)];
            state.gpr[number(r)] = if short { value & 0xffff_ffff | old & !0xffff_ffff } else { value };
        };
        match (base_ok, index_ok) {
            (true, true) if index == Register::AL => {
                let al = state.gpr[RAX] & 0xff;
                state.gpr[number(base)] = wanted.wrapping_sub(al);
            }
            (true, true) if base == index => {
                let factor = scale + 1;
                if factor == 2 {
                    set(base, wanted / 2);
                } else {
                    // The inverse of an odd number, by Newton's method.
                    let inverse = (0..6).fold(factor, |x, _| x.wrapping_mul(2u64.wrapping_sub(factor.wrapping_mul(x))));
                    set(base, wanted.wrapping_mul(inverse));
                }
            }
            (true, true) => {
                let index_value = if random.percent(60) { random.below(64) } else { random.integer(64) };
                set(index, index_value);
                set(base, wanted.wrapping_sub(index_value.wrapping_mul(scale)));
            }
            (true, false) => set(base, wanted),
            (false, true) => set(index, wanted / scale),
            (false, false) => {}
        }
        if index.is_vector_register() {
            let n = index.number() & 15;
            let lanes = |random: &mut Random| u128::from(random.below(64)) | u128::from(random.below(64)) << 64;
            (state.xmm[n], state.ymm_high[n]) = (lanes(random), lanes(random));
        }
    }

    /// Registers that random values would seldom suit.
    fn special_registers(&self, insn: &Instruction, case: &mut Case, random: &mut Random) {
        let gpr = &mut case.state.gpr;
        match insn.mnemonic() {
            M::Div | M::Idiv if random.percent(70) => {
                // Dividends whose quotients fit.
                if insn.mnemonic() == M::Idiv && random.percent(50) {
                    gpr[RDX] = ((gpr[RAX] as i64) >> 63) as u64;
                } else {
                    gpr[RDX] = if random.percent(60) { 0 } else { random.below(256) };
                }
                if access_bits(insn) == 8 {
                    gpr[RAX] &= !0xff00;
                }
            }
            M::Bt | M::Bts | M::Btr | M::Btc if insn.op1_kind() == OpKind::Register => {
                let number = insn.op1_register().full_register().number();
                if random.percent(85) {
                    gpr[number] = random.below(2048).wrapping_sub(1024);
                }
            }
            M::Enter | M::Leave => gpr[RBP] = self.target(random, 8),
            M::Loop | M::Loope | M::Loopne | M::Jrcxz | M::Jecxz if random.percent(70) => gpr[RCX] = random.below(3),
            _ => {}
        }
        if insn.is_string_instruction() {
            if random.percent(40) {
                case.state.rflags |= DF;
            }
            gpr[RCX] = match random.below(20) {
                0 => random.integer(64),
                1 => random.below(2000),
                2 => random.integer(64) & !0xffff_ffff | random.below(8),
                _ => random.below(20),
            };
        }
    }

    /// Memory that an instruction must find.
    fn special_memory(&self, insn: &Instruction, case: &mut Case, random: &mut Random) {
        let at_stack = case.state.gpr[RSP];
        match insn.mnemonic() {
            M::Popf | M::Popfd | M::Popfq => {
                if let Some(at) = self.in_window(at_stack, 8) {
                    let mut flags = u64_at(&case.window, at) & !TF_AND_AC;
                    if random.percent(50) {
                        flags &= STATUS | DF;
                    }
                    case.window[at..at + 8].copy_from_slice(&flags.to_le_bytes());
                } else {
                    // Whatever is elsewhere is zero, but an access at the edge could be partly in the window.
                    case.window = [0; WINDOW];
                }
            }
            M::Ret => self.put(case, at_stack, branch_target(self, random)),
            M::Jmp | M::Call if insn.op0_kind() == OpKind::Memory => {
                if let Some(at) = effective_address(insn, &case.state) {
                    self.put(case, at, branch_target(self, random));
                }
            }
            M::Jmp | M::Call if insn.op0_kind() == OpKind::Register => {
                let number = insn.op0_register().full_register().number();
                if number != RSP {
                    case.state.gpr[number] = branch_target(self, random);
                }
            }
            M::Ldmxcsr | M::Vldmxcsr if random.percent(85) => {
                // Bits 31:16 are reserved.
                if let Some(at) = effective_address(insn, &case.state).and_then(|at| self.in_window(at, 4)) {
                    case.window[at + 2..at + 4].fill(0);
                }
            }
            M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b if random.percent(50) => {
                let Some(at) = effective_address(insn, &case.state) else { return };
                let (rax, rdx) = (case.state.gpr[RAX], case.state.gpr[RDX]);
                match insn.mnemonic() {
                    M::Cmpxchg8b => self.put(case, at, rax & 0xffff_ffff | rdx << 32),
                    M::Cmpxchg16b => {
                        self.put(case, at, rax);
                        self.put(case, at.wrapping_add(8), rdx);
                    }
                    _ => self.put(case, at, rax),
                }
            }
            _ => {}
        }
        // Comparisons of strings that find something equal.
        let compares =
            matches!(insn.mnemonic(), M::Cmpsb | M::Cmpsw | M::Cmpsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq)
                || insn.mnemonic() == M::Cmpsd && insn.is_string_instruction();
        if compares && random.percent(60) {
            let byte = random.bits() as u8 & 1;
            case.window.iter_mut().for_each(|b| *b = byte);
            case.state.gpr[RAX] = u64::from(byte) * 0x0101_0101_0101_0101;
            for _ in 0..random.below(3) {
                case.window[random.below(WINDOW as u64) as usize] ^= 1;
            }
        }
    }

    fn in_window(&self, address: u64, len: usize) -> Option<usize> {
        let at = address.wrapping_sub(DATA + u64::from(self.window_offset));
        (at <= (WINDOW - len) as u64).then_some(at as usize)
    }

    fn put(&self, case: &mut Case, address: u64, value: u64) {
        if let Some(at) = self.in_window(address, 8) {
            case.window[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn access_bits(insn: &Instruction) -> u64 {
    match insn.op0_kind() {
        OpKind::Register => insn.op0_register().size() as u64 * 8,
        _ => insn.memory_size().size() as u64 * 8,
    }
}

fn segment_base(insn: &Instruction, state: &State) -> u64 {
    match insn.memory_segment() {
        Register::FS => state.fs_base,
        Register::GS => state.gs_base,
        _ => 0,
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte))
}

/// The linear address of the memory operand.
fn effective_address(insn: &Instruction, state: &State) -> Option<u64> {
    insn.virtual_address(0, 0, |register, _, _| {
        Some(match register {
            Register::FS => state.fs_base,
            Register::GS => state.gs_base,
            r if r.is_segment_register() => 0,
            r if r.is_gpr() => {
                let whole = state.gpr[r.full_register().number()];
                if r.size() == 4 { whole & 0xffff_ffff } else { whole }
            }
            _ => return None,
        })
    })
}

/// Where an indirect branch may go.
fn branch_target(encoding: &Encoding, random: &mut Random) -> u64 {
    let low = random.below(0x1_0000);
    match random.below(20) {
        0 => 0x3000_0000 + low,
        1 => DATA + random.below(DATA_SIZE),
        2 => 1 << 47 | low,
        3 => random.bits() | 1 << 62,
        4 => 0xffff_ffff_a000_0000 + low,
        _ => loop {
            let at = ISOLATED + 64 + random.below(ISOLATED_SIZE - 128);
            if !(encoding.pc..encoding.pc + encoding.bytes.len() as u64).contains(&at) {
                break at;
            }
        },
    }
}

fn fill_window(window: &mut [u8; WINDOW], random: &mut Random) {
    let edges = random.percent(30);
    for word in window.chunks_exact_mut(8) {
        let value = if edges { random.integer(64) } else { random.bits() };
        word.copy_from_slice(&value.to_le_bytes());
    }
}

fn fill_vectors(state: &mut State, random: &mut Random) {
    let kind = random.elements();
    for n in 0..16 {
        let kind = if random.percent(15) { random.elements() } else { kind };
        state.xmm[n] = random.vector(kind);
        state.ymm_high[n] = random.vector(kind);
    }
    // Rounding, flushing and masks: mostly as programs have them.
    state.mxcsr = match random.below(8) {
        0 => (random.bits() & 0xffff) as u32,
        1 | 2 => 0x1f80 | (random.bits() & 0xe07f) as u32,
        3 => 0x1f80 | (random.bits() & 0x3f) as u32,
        _ => 0x1f80,
    };
    state.fcw = match random.below(4) {
        0 => 0x37f,
        1 => 0x40 | (random.bits() & 0xf3f) as u16,
        _ => 0x7f | (random.bits() & 0xf00) as u16,
    };
    // No pending exception: flags only of masked ones.
    let flags = (random.bits() & 0x3f) as u16 & state.fcw;
    state.fsw = flags | (random.bits() & 0x7f00) as u16;
    state.ftw = if random.percent(60) { 0xff } else { random.bits() as u8 };
    for n in 0..8 {
        state.st[n] = extended(random);
    }
}

/// A number of 80 bits, of every class.
fn extended(random: &mut Random) -> u128 {
    let sign_and_exponent = match random.below(8) {
        0 => random.one_of(&[0, 0x7fff, 0x8000, 0xffff]),
        1 => random.bits() & 0xffff,
        2 => random.one_of(&[1, 2, 0x7ffe, 0x7ffd, 0xfffe]),
        _ => (0x3fff + random.below(140) - 70) | random.below(2) << 15,
    };
    let mantissa = match random.below(8) {
        0 => 1 << 63,
        1 => random.bits(),
        2 => 0,
        3 => 1 << 63 | random.float(11, 52) << 11,
        4 => 1 << 63 | random.integer(64),
        _ => 1 << 63 | random.bits(),
    };
    u128::from(mantissa) | u128::from(sign_and_exponent & 0xffff) << 64
}
