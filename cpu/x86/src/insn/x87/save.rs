//! FXSAVE and FXRSTOR (SDM vol. 1, 10.5 "FXSAVE and FXRSTOR Instructions"), the XSAVE family (chapter 13 "Managing State Using
//! the XSAVE Feature Set"), and MXCSR.

use super::control::{read_span, write_span};
use super::{LOAD_MXCSR, READ_MXCSR, SAVE_STATE};
use crate::control_regs::{CR0_TS, CR4_OSXSAVE};
use crate::exception::{self, Exception};
use crate::frontend::Env;
use crate::insn::translator::{Next, Translator};
use crate::model::Feature;
use crate::state::{Cpu, Fpu, RAX, RDX, X87};
use iced_x86::Code as C;
use softfloat::x87::F80;
use tcg::ir::Ty;

/// MXCSR after reset and as initial state.
const MXCSR_DEFAULT: u32 = 0x1f80;
/// Bits that MXCSR has with SSE2; without it there is no DAZ.
const MXCSR_MASK: u32 = 0xffff;
const DAZ: u32 = 1 << 6;

/// State components.
const X87_STATE: u64 = 1;
const SSE_STATE: u64 = 2;
const AVX_STATE: u64 = 4;
/// Bit of XCOMP_BV: the area is compacted.
const COMPACTED: u64 = 1 << 63;

/// Where things are in memory. The upper halves of YMM registers come first behind the header, compacted or not.
const MXCSR_AT: usize = 24;
const ST_AT: usize = 32;
const XMM_AT: usize = 160;
const LEGACY: usize = 512;
const HEADER_AT: usize = 512;
const HEADER: usize = 64;
const YMM_AT: usize = 576;

/// What [`execute`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fxsave,
    Fxrstor,
    Xsave,
    Xsaveopt,
    Xsavec,
    Xrstor,
}
const KINDS: [Kind; 6] = [Kind::Fxsave, Kind::Fxrstor, Kind::Xsave, Kind::Xsaveopt, Kind::Xsavec, Kind::Xrstor];
/// Of the packed argument: pointers have 64 bits.
const WIDE: u64 = 1 << 8;

/// Translates the current instruction if it is one of these.
pub(super) fn translate(t: &mut Translator<'_>) -> Option<Next> {
    let (kind, wide) = match t.insn.code() {
        C::Fxsave_m512byte => (Kind::Fxsave, false),
        C::Fxsave64_m512byte => (Kind::Fxsave, true),
        C::Fxrstor_m512byte => (Kind::Fxrstor, false),
        C::Fxrstor64_m512byte => (Kind::Fxrstor, true),
        C::Xsave_mem => (Kind::Xsave, false),
        C::Xsave64_mem => (Kind::Xsave, true),
        C::Xsaveopt_mem => (Kind::Xsaveopt, false),
        C::Xsaveopt64_mem => (Kind::Xsaveopt, true),
        C::Xsavec_mem => (Kind::Xsavec, false),
        C::Xsavec64_mem => (Kind::Xsavec, true),
        C::Xrstor_mem => (Kind::Xrstor, false),
        C::Xrstor64_mem => (Kind::Xrstor, true),
        C::Ldmxcsr_m32 => return Some(mxcsr(t, true, false)),
        C::Stmxcsr_m32 => return Some(mxcsr(t, false, false)),
        C::VEX_Vldmxcsr_m32 => return Some(mxcsr(t, true, true)),
        C::VEX_Vstmxcsr_m32 => return Some(mxcsr(t, false, true)),
        _ => return None,
    };
    let legacy = matches!(kind, Kind::Fxsave | Kind::Fxrstor);
    if legacy && t.mode.x87_trap() != 0 {
        return Some(t.raise(Exception::plain(exception::NM)));
    }
    let writes = !matches!(kind, Kind::Fxrstor | Kind::Xrstor);
    let bytes = if legacy { LEGACY } else { LEGACY + HEADER };
    let va = t.memory(bytes as u64, writes);
    let packed = t.ir.imm64(kind as u64 | if wide { WIDE } else { 0 });
    t.ir.call(SAVE_STATE, &[packed, va]);
    // A load may change MXCSR, which the mode follows from.
    Some(if writes { Next::Continue } else { t.resync_next() })
}

/// LDMXCSR and STMXCSR.
fn mxcsr(t: &mut Translator<'_>, load: bool, vex: bool) -> Next {
    let available = if vex { t.mode.avx() != 0 } else { t.mode.sse() != 0 && t.mode.emulate() == 0 };
    if !available {
        return t.undefined();
    }
    if t.mode.x87_trap() != 0 {
        return t.raise(Exception::plain(exception::NM));
    }
    let va = t.memory(4, !load);
    let mem = t.mem();
    if load {
        let value = t.ir.load(Ty::I32, va, mem);
        t.ir.call(LOAD_MXCSR, &[value]);
        return t.resync_next();
    }
    let value = t.ir.call(READ_MXCSR, &[]);
    let value = t.ir.trunc(Ty::I32, value);
    t.ir.store(Ty::I32, va, value, mem);
    Next::Continue
}

pub extern "C" fn load_mxcsr(env: &mut Env, value: u64) -> u64 {
    let value = value as u32;
    if value & !env.cpu.mxcsr_mask() != 0 {
        env.raise(Exception::gp(0));
        return 0;
    }
    set_mxcsr(env, value);
    0
}

fn set_mxcsr(env: &mut Env, value: u32) {
    // What was raised before belongs to the old value.
    env.sync_float_flags();
    env.cpu.mxcsr = value;
    env.cpu.update_mode();
}

pub extern "C" fn read_mxcsr(env: &mut Env) -> u64 {
    env.note_float_flags();
    env.cpu.mxcsr.into()
}

/// All of these but LDMXCSR and STMXCSR.
pub extern "C" fn execute(env: &mut Env, packed: u64, va: u64) -> u64 {
    let Some(kind) = KINDS.get((packed & 0xff) as usize).copied() else { return 0 };
    let wide = packed & WIDE != 0;
    env.sync_float_flags();
    let result = match kind {
        Kind::Fxsave => fxsave(env, va, wide),
        Kind::Fxrstor => fxrstor(env, va, wide),
        Kind::Xrstor => check(env, va).and_then(|()| xrstor(env, va, wide)),
        _ => check(env, va).and_then(|()| xsave(env, va, kind, wide)),
    };
    if let Err(exception) = result {
        env.raise(exception);
    }
    0
}

/// What must hold for the XSAVE family.
fn check(env: &Env, va: u64) -> Result<(), Exception> {
    if env.cpu.cr4 & CR4_OSXSAVE == 0 {
        return Err(Exception::ud());
    }
    if env.cpu.cr0 & CR0_TS != 0 {
        return Err(Exception::plain(exception::NM));
    }
    aligned(va, 64)
}

fn aligned(va: u64, alignment: u64) -> Result<(), Exception> {
    if va.is_multiple_of(alignment) { Ok(()) } else { Err(Exception::gp(0)) }
}

fn put(span: &mut [u8], at: usize, bytes: &[u8]) {
    span[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A little-endian number of up to eight bytes.
fn number(span: &[u8], at: usize, bytes: usize) -> u64 {
    span[at..at + bytes].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn number128(span: &[u8], at: usize) -> u128 {
    u128::from(number(span, at, 8)) | u128::from(number(span, at + 8, 8)) << 64
}

impl Cpu {
    /// Bits that MXCSR has.
    fn mxcsr_mask(&self) -> u32 {
        if self.has(Feature::SSE2) { MXCSR_MASK } else { MXCSR_MASK & !DAZ }
    }

    /// XMM and YMM registers that the mode has.
    fn vector_registers(&self) -> usize {
        if self.is_64bit() { 16 } else { 8 }
    }

    /// State components that are not in their initial configuration (13.6 "Processor Tracking of XSAVE-Managed State").
    fn components_in_use(&self) -> u64 {
        let x87 = self.fpu != Fpu::default() || self.x87.iter().any(|r| *r != X87::default());
        let sse = self.xmm.iter().any(|v| *v != 0);
        let avx = self.ymm_high.iter().any(|v| *v != 0);
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        bit(x87, X87_STATE) | bit(sse, SSE_STATE) | bit(avx, AVX_STATE)
    }

    /// Puts the x87 state at the start of the area: pointers of 64 bits, or of 32 with selectors.
    fn put_x87(&self, span: &mut [u8], wide: bool) {
        let fpu = &self.fpu;
        put(span, 0, &fpu.control.to_le_bytes());
        put(span, 2, &self.x87_status().to_le_bytes());
        put(span, 4, &[!fpu.empty, 0]);
        put(span, 6, &fpu.opcode.to_le_bytes());
        for (at, offset, selector) in
            [(8, fpu.code_offset, fpu.code_selector), (16, fpu.data_offset, fpu.data_selector)]
        {
            let pointer = if wide { offset } else { offset & 0xffff_ffff | u64::from(selector) << 32 };
            put(span, at, &pointer.to_le_bytes());
        }
        for n in 0..8 {
            let (value, at) = (self.st(n), ST_AT + 16 * usize::from(n));
            put(span, at, &value.significand.to_le_bytes());
            put(span, at + 8, &u64::from(value.sign_exponent).to_le_bytes());
        }
    }

    fn take_x87(&mut self, span: &[u8], wide: bool) {
        let word = |at: usize| number(span, at, 2) as u16;
        let fpu = &mut self.fpu;
        fpu.empty = !span[4];
        fpu.opcode = word(6) & 0x7ff;
        let (code, data) = (number(span, 8, 8), number(span, 16, 8));
        if wide {
            (fpu.code_offset, fpu.code_selector) = (code, 0);
            (fpu.data_offset, fpu.data_selector) = (data, 0);
        } else {
            (fpu.code_offset, fpu.code_selector) = (code & 0xffff_ffff, (code >> 32) as u16);
            (fpu.data_offset, fpu.data_selector) = (data & 0xffff_ffff, (data >> 32) as u16);
        }
        let empty = fpu.empty;
        self.load_x87_words(word(0), word(2));
        for n in 0..8 {
            let at = ST_AT + 16 * usize::from(n);
            self.set_st(n, F80 { significand: number(span, at, 8), sign_exponent: word(at + 8) });
        }
        self.fpu.empty = empty;
    }

    fn put_mxcsr(&self, span: &mut [u8]) {
        put(span, MXCSR_AT, &self.mxcsr.to_le_bytes());
        put(span, MXCSR_AT + 4, &self.mxcsr_mask().to_le_bytes());
    }

    /// MXCSR as it is in the area.
    ///
    /// # Errors
    /// #GP(0) for reserved bits.
    fn checked_mxcsr(&self, span: &[u8]) -> Result<u32, Exception> {
        let value = number(span, MXCSR_AT, 4) as u32;
        if value & !self.mxcsr_mask() != 0 { Err(Exception::gp(0)) } else { Ok(value) }
    }
}

/// Puts as many registers as the mode has.
fn put_vectors(span: &mut [u8], at: usize, registers: &[u128]) {
    for (n, v) in registers.iter().enumerate() {
        put(span, at + 16 * n, &v.to_le_bytes());
    }
}

fn fxsave(env: &mut Env, va: u64, wide: bool) -> Result<(), Exception> {
    aligned(va, 16)?;
    let mut span = [0; LEGACY];
    let cpu = &env.cpu;
    cpu.put_x87(&mut span, wide);
    let mut len = XMM_AT;
    if cpu.has(Feature::SSE) {
        cpu.put_mxcsr(&mut span);
        let count = cpu.vector_registers();
        put_vectors(&mut span, XMM_AT, &cpu.xmm[..count]);
        len += 16 * count;
    }
    write_span(env, va, &span[..len])
}

fn fxrstor(env: &mut Env, va: u64, wide: bool) -> Result<(), Exception> {
    aligned(va, 16)?;
    let mut span = [0; LEGACY];
    read_span(env, va, &mut span)?;
    // Without CR4.OSFXSR only the x87 unit's state is loaded.
    let sse = env.cpu.cr4 & crate::control_regs::CR4_OSFXSR != 0;
    if sse {
        let mxcsr = env.cpu.checked_mxcsr(&span)?;
        set_mxcsr(env, mxcsr);
        let count = env.cpu.vector_registers();
        for (n, to) in env.cpu.xmm[..count].iter_mut().enumerate() {
            *to = number128(&span, XMM_AT + 16 * n);
        }
    }
    env.cpu.take_x87(&span, wide);
    Ok(())
}

/// The components that EDX:EAX asks for, of those enabled.
fn requested(cpu: &Cpu) -> u64 {
    cpu.xcr0 & (cpu.gpr[RAX] & 0xffff_ffff | cpu.gpr[RDX] << 32)
}

/// XSAVE, XSAVEOPT and XSAVEC (13.7, 13.9, 13.10).
fn xsave(env: &mut Env, va: u64, kind: Kind, wide: bool) -> Result<(), Exception> {
    let cpu = &env.cpu;
    let requested = requested(cpu);
    let count = cpu.vector_registers();
    let compacted = kind == Kind::Xsavec;
    let mut in_use = cpu.components_in_use();
    if compacted && cpu.mxcsr != MXCSR_DEFAULT {
        in_use |= SSE_STATE;
    }
    // Components in their initial configuration need not be written, but by XSAVE.
    let written = if kind == Kind::Xsave { requested } else { requested & in_use };
    let mxcsr = if compacted { written & SSE_STATE != 0 } else { requested & (SSE_STATE | AVX_STATE) != 0 };

    let mut span = [0; LEGACY];
    if written & X87_STATE != 0 {
        cpu.put_x87(&mut span, wide);
    }
    if mxcsr {
        cpu.put_mxcsr(&mut span);
    }
    put_vectors(&mut span, XMM_AT, &cpu.xmm[..count]);
    let mut high = [0; 256];
    put_vectors(&mut high, 0, &cpu.ymm_high[..count]);

    let at = |cpu: &Cpu, n: usize| super::control::further(cpu, va, n);
    let header_at = at(cpu, HEADER_AT);
    let mut header = [0; HEADER];
    read_span(env, header_at, &mut header)?;
    let old = number(&header, 0, 8);
    if compacted {
        header = [0; HEADER];
        put(&mut header, 0, &(requested & in_use).to_le_bytes());
        put(&mut header, 8, &(COMPACTED | requested).to_le_bytes());
    } else {
        put(&mut header, 0, &(old & !requested | requested & in_use).to_le_bytes());
    }
    // The header is written last, but must be known to be writable before anything is.
    crate::memory::probe_store(env, header_at, 1)?;
    if written & AVX_STATE != 0 {
        let to = at(&env.cpu, YMM_AT);
        write_span(env, to, &high[..16 * count])?;
    }
    if written & X87_STATE != 0 {
        write_span(env, va, &span[..MXCSR_AT])?;
        let to = at(&env.cpu, ST_AT);
        write_span(env, to, &span[ST_AT..XMM_AT])?;
    }
    if mxcsr {
        let to = at(&env.cpu, MXCSR_AT);
        write_span(env, to, &span[MXCSR_AT..ST_AT])?;
    }
    if written & SSE_STATE != 0 {
        let to = at(&env.cpu, XMM_AT);
        write_span(env, to, &span[XMM_AT..XMM_AT + 16 * count])?;
    }
    write_span(env, header_at, &header[..if compacted { HEADER } else { 8 }])
}

/// XRSTOR (13.8 "Operation of XRSTOR").
fn xrstor(env: &mut Env, va: u64, wide: bool) -> Result<(), Exception> {
    let mut span = [0; YMM_AT + 256];
    read_span(env, va, &mut span[..YMM_AT])?;
    let (present, format) = (number(&span, HEADER_AT, 8), number(&span, HEADER_AT + 8, 8));
    let compacted = format & COMPACTED != 0;
    let cpu = &env.cpu;
    let enabled = cpu.xcr0;
    let bad = if compacted {
        let reserved = span[HEADER_AT + 16..HEADER_AT + HEADER].iter().any(|byte| *byte != 0);
        !cpu.has(Feature::XSAVEC) || format & !COMPACTED & !enabled != 0 || present & !format != 0 || reserved
    } else {
        present & !enabled != 0 || format != 0 || number(&span, HEADER_AT + 16, 8) != 0
    };
    if bad {
        return Err(Exception::gp(0));
    }
    let (requested, count) = (requested(cpu), cpu.vector_registers());
    let from_memory = requested & present;
    if from_memory & AVX_STATE != 0 {
        let from = super::control::further(cpu, va, YMM_AT);
        read_span(env, from, &mut span[YMM_AT..YMM_AT + 16 * count])?;
    }
    let mxcsr = match (compacted, requested & SSE_STATE != 0, from_memory & SSE_STATE != 0) {
        (true, true, true) => Some(env.cpu.checked_mxcsr(&span)?),
        (true, true, false) => Some(MXCSR_DEFAULT),
        (true, false, _) => None,
        (false, ..) if requested & (SSE_STATE | AVX_STATE) != 0 => Some(env.cpu.checked_mxcsr(&span)?),
        _ => None,
    };
    // Nothing faults from here on.
    if let Some(mxcsr) = mxcsr {
        set_mxcsr(env, mxcsr);
    }
    let cpu = &mut env.cpu;
    if from_memory & X87_STATE != 0 {
        cpu.take_x87(&span, wide);
    } else if requested & X87_STATE != 0 {
        cpu.init_x87();
        cpu.x87 = Default::default();
    }
    for (component, at) in [(SSE_STATE, XMM_AT), (AVX_STATE, YMM_AT)] {
        if requested & component == 0 {
            continue;
        }
        let registers = if component == SSE_STATE { &mut cpu.xmm } else { &mut cpu.ymm_high };
        for (n, to) in registers[..count].iter_mut().enumerate() {
            *to = if from_memory & component != 0 { number128(&span, at + 16 * n) } else { 0 };
        }
    }
    Ok(())
}
