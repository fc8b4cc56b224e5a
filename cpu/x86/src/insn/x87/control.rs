//! What x87 instructions that only control the unit do when they are executed: its words, and its environment in memory
//! (SDM vol. 1, 8.1.10 "Saving the x87 FPU's State").

use super::execute::wait;
use crate::exception::Exception;
use crate::fpu::EXCEPTIONS;
use crate::frontend::Env;
use crate::memory::{self, Who};
use crate::state::Cpu;
use softfloat::x87::F80;

/// Raises #MF if an exception is pending (WAIT).
pub extern "C" fn check_pending(env: &mut Env) -> u64 {
    wait(env);
    0
}

/// Makes the x87 registers those of MMX, once no exception is pending.
pub extern "C" fn enter_mmx(env: &mut Env) -> u64 {
    if wait(env) {
        env.cpu.enter_mmx();
    }
    0
}

pub extern "C" fn init(env: &mut Env) -> u64 {
    env.cpu.init_x87();
    0
}

pub extern "C" fn clear_exceptions(env: &mut Env) -> u64 {
    env.cpu.clear_x87_exceptions();
    0
}

pub extern "C" fn read_status(env: &mut Env) -> u64 {
    env.cpu.x87_status().into()
}

pub extern "C" fn read_control(env: &mut Env) -> u64 {
    env.cpu.fpu.control.into()
}

pub extern "C" fn write_control(env: &mut Env, value: u64) -> u64 {
    if wait(env) {
        env.cpu.set_x87_control(value as u16);
    }
    0
}

/// The linear address `n` bytes further.
pub(super) fn further(cpu: &Cpu, va: u64, n: usize) -> u64 {
    let va = va.wrapping_add(n as u64);
    if cpu.is_64bit() { va } else { va & 0xffff_ffff }
}

/// Reads a span of memory.
///
/// # Errors
/// The fault.
pub(super) fn read_span(env: &mut Env, va: u64, span: &mut [u8]) -> Result<(), Exception> {
    let mut at = 0;
    for part in span.chunks_mut(16) {
        let from = further(&env.cpu, va, at);
        let value = memory::load(env, from, part.len() as u8, Who::Program)?;
        part.copy_from_slice(&value.to_le_bytes()[..part.len()]);
        at += part.len();
    }
    Ok(())
}

/// Writes a span of memory of less than a page.
///
/// # Errors
/// The fault; nothing is written then.
pub(super) fn write_span(env: &mut Env, va: u64, span: &[u8]) -> Result<(), Exception> {
    let last = further(&env.cpu, va, span.len().saturating_sub(1));
    memory::probe_store(env, va, 1)?;
    if last & !0xfff != va & !0xfff {
        memory::probe_store(env, last & !0xfff, 1)?;
    }
    let mut at = 0;
    for part in span.chunks(16) {
        let to = further(&env.cpu, va, at);
        let mut value = [0; 16];
        value[..part.len()].copy_from_slice(part);
        memory::store(env, to, part.len() as u8, u128::from_le_bytes(value), Who::Program)?;
        at += part.len();
    }
    Ok(())
}

/// Of the packed argument: fields of 32 bits rather than 16; the registers follow.
pub const WIDE: u64 = 1;
pub const WITH_REGISTERS: u64 = 2;
/// The environment with fields of 32 bits, and all.
const WIDE_ENVIRONMENT: usize = 28;
const LARGEST: usize = WIDE_ENVIRONMENT + 80;

/// Bytes in memory.
pub fn environment_bytes(packed: u64) -> u64 {
    let environment = if packed & WIDE != 0 { 28 } else { 14 };
    environment + if packed & WITH_REGISTERS != 0 { 80 } else { 0 }
}

impl Cpu {
    /// The fields of the environment in order: control, status and tag word, then pointers by the mode (figures 8-9 to 8-12).
    fn x87_environment(&self, wide: bool) -> [u32; 7] {
        let fpu = &self.fpu;
        let words = [fpu.control, self.x87_status(), self.x87_tags()].map(u32::from);
        let (cs, ds) = (u64::from(fpu.code_selector), u64::from(fpu.data_selector));
        let opcode = u32::from(fpu.opcode & 0x7ff);
        let pointers = if self.has_descriptors() {
            let (code, data) = (fpu.code_offset as u32, fpu.data_offset as u32);
            let selector = if wide { cs as u32 | opcode << 16 } else { cs as u32 };
            [code, selector, data, ds as u32 | 0xffff_0000]
        } else {
            // Linear addresses, the upper part from bit 12 of the second field on.
            let code = (cs << 4).wrapping_add(fpu.code_offset) as u32;
            let data = (ds << 4).wrapping_add(fpu.data_offset) as u32;
            let upper = |address: u32| if wide { address >> 16 << 12 } else { address >> 16 << 12 & 0xf000 };
            let low = |address: u32| if wide { address & 0xffff | 0xffff_0000 } else { address };
            [low(code), upper(code) | opcode, low(data), upper(data)]
        };
        let [control, status, tags] = words.map(|word| word | 0xffff_0000);
        let [code, selector, data, data_selector] = pointers;
        [control, status, tags, code, selector, data, data_selector]
    }

    /// Sets the environment from its fields.
    fn set_x87_environment(&mut self, wide: bool, fields: [u32; 7]) {
        let [control, status, tags, code, selector, data, data_selector] = fields;
        let descriptors = self.has_descriptors();
        let fpu = &mut self.fpu;
        if descriptors {
            (fpu.code_offset, fpu.code_selector) = (code.into(), selector as u16);
            (fpu.data_offset, fpu.data_selector) = (data.into(), data_selector as u16);
            fpu.opcode = if wide { (selector >> 16 & 0x7ff) as u16 } else { 0 };
        } else {
            let upper = |field: u32| if wide { field >> 12 << 16 } else { field >> 12 << 16 & 0xf_0000 };
            (fpu.code_offset, fpu.code_selector) = ((code & 0xffff | upper(selector)).into(), 0);
            (fpu.data_offset, fpu.data_selector) = ((data & 0xffff | upper(data_selector)).into(), 0);
            fpu.opcode = (selector & 0x7ff) as u16;
        }
        self.set_x87_tags(tags as u16);
        self.load_x87_words(control as u16, status as u16);
    }
}

/// FNSTENV and FNSAVE: the latter initialises the unit, the former masks all exceptions.
pub extern "C" fn store_environment(env: &mut Env, packed: u64, va: u64) -> u64 {
    let wide = packed & WIDE != 0;
    let field_bytes = if wide { 4 } else { 2 };
    let mut span = [0; LARGEST];
    let cpu = &env.cpu;
    let fields = cpu.x87_environment(wide);
    for (field, to) in fields.iter().zip(span.chunks_mut(field_bytes)) {
        to.copy_from_slice(&field.to_le_bytes()[..field_bytes]);
    }
    for (n, to) in (0..8).zip(span[7 * field_bytes..].chunks_mut(10)) {
        let value = cpu.st(n);
        to[..8].copy_from_slice(&value.significand.to_le_bytes());
        to[8..].copy_from_slice(&value.sign_exponent.to_le_bytes());
    }
    if let Err(exception) = write_span(env, va, &span[..environment_bytes(packed) as usize]) {
        env.raise(exception);
        return 0;
    }
    if packed & WITH_REGISTERS != 0 {
        env.cpu.init_x87();
    } else {
        let control = env.cpu.fpu.control | EXCEPTIONS;
        env.cpu.set_x87_control(control);
    }
    0
}

/// FLDENV and FRSTOR.
pub extern "C" fn load_environment(env: &mut Env, packed: u64, va: u64) -> u64 {
    if !wait(env) {
        return 0;
    }
    let wide = packed & WIDE != 0;
    let field_bytes = if wide { 4 } else { 2 };
    let mut span = [0; LARGEST];
    if let Err(exception) = read_span(env, va, &mut span[..environment_bytes(packed) as usize]) {
        env.raise(exception);
        return 0;
    }
    let mut fields = [0; 7];
    for (field, from) in fields.iter_mut().zip(span.chunks(field_bytes)) {
        *field = from.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte));
    }
    let cpu = &mut env.cpu;
    cpu.set_x87_environment(wide, fields);
    if packed & WITH_REGISTERS != 0 {
        let empty = cpu.fpu.empty;
        for (n, from) in (0..8).zip(span[7 * field_bytes..].chunks(10)) {
            let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
            let value = F80 { significand: number(&from[..8]), sign_exponent: number(&from[8..]) as u16 };
            cpu.set_st(n, value);
        }
        cpu.fpu.empty = empty;
    }
    0
}
