//! What a fault says that depends on the instruction. Translated code accesses memory without telling what for; when that
//! fails, which is rare, the instruction is decoded once more.

use super::translator::MAX_LEN;
use crate::exception::{self, Exception};
use crate::frontend::Env;
use crate::memory::{self, Who};
use crate::mmu;
use crate::mode::Mode;
use crate::segment::{FS, GS};
use crate::state::Cpu;
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register, UsedMemory};

/// The exception that the instruction at the program counter raises when translated code has raised `exception`.
///
/// - An access that begins in the last page of the lower half and ends above it is not canonical, whatever is mapped there.
/// - An address that is not canonical raises #SS instead of #GP where the access is through SS (SDM vol. 1, 3.3.7.1
///   "Canonical Addressing").
/// - A misaligned access of less than 16 bytes is #AC where alignment is checked (SDM vol. 3A, 6.15 "Interrupt 17").
/// - Another misaligned access is refused.
pub fn refine(env: &mut Env, exception: Exception) -> Exception {
    match exception {
        Exception::Fault { vector: exception::PF, address: Some(address), .. }
            if env.cpu.is_64bit() && in_last_page(&env.cpu, address) =>
        {
            match not_canonical(env, false) {
                Some(true) => Exception::with_error(exception::SS, 0),
                Some(false) => Exception::gp(0),
                None => exception,
            }
        }
        Exception::Fault { vector: exception::GP, error: Some(0), .. }
            if env.cpu.is_64bit() && not_canonical(env, true) == Some(true) =>
        {
            Exception::with_error(exception::SS, 0)
        }
        Exception::Misaligned if env.cpu.checks_alignment() && instruction(env).memory_size().size() < 16 => {
            Exception::with_error(exception::AC, 0)
        }
        Exception::Misaligned => Exception::gp(0),
        other => other,
    }
}

/// The instruction at the program counter; one that cannot be read decodes as invalid.
fn instruction(env: &mut Env) -> Instruction {
    let (pc, rip, bits) = (env.cpu.pc, env.cpu.rip(), Mode(env.cpu.mode).bits());
    let mut code = [0; MAX_LEN];
    let mut len = MAX_LEN;
    if let Ok(all) = memory::load(env, pc, MAX_LEN as u8, Who::Program) {
        code.copy_from_slice(&all.to_le_bytes()[..MAX_LEN]);
    } else {
        // It may end before the page that is missing.
        let byte = |n: usize| memory::load(env, pc.wrapping_add(n as u64), 1, Who::Program).ok();
        let bytes: Vec<u8> = (0..MAX_LEN).map_while(byte).map(|byte| byte as u8).collect();
        len = bytes.len();
        code[..len].copy_from_slice(&bytes);
    }
    Decoder::with_ip(bits, &code[..len], rip, DecoderOptions::NONE).decode()
}

/// Whether an address is in the last page of the lower half.
fn in_last_page(cpu: &Cpu, va: u64) -> bool {
    !mmu::is_canonical(cpu, (va | 0xfff).wrapping_add(1))
}

/// Whether the instruction, of 64-bit code, accesses memory at an address that is not canonical, and if so whether it does
/// through SS. Of the addresses that a vector gives one is taken to be such if `known`.
fn not_canonical(env: &mut Env, known: bool) -> Option<bool> {
    let insn = instruction(env);
    let cpu = &env.cpu;
    if insn.is_privileged() && cpu.cpl != 0 {
        return None;
    }
    // The address of a bit string is far from what its operand says.
    let bits = matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
    let elsewhere = |m: &UsedMemory| m.index().is_vector_register() || bits && insn.op1_kind() == OpKind::Register;
    let mut factory = InstructionInfoFactory::new();
    let outside = |m: &&UsedMemory| {
        if elsewhere(m) {
            return known;
        }
        let first = m.virtual_address(0, |register, _, _| value(cpu, register));
        let last = m.memory_size().size().saturating_sub(1) as u64;
        first.is_some_and(|va| !mmu::is_canonical(cpu, va) || !mmu::is_canonical(cpu, va.wrapping_add(last)))
    };
    // Prefixes for other segments than FS and GS mean nothing in 64-bit code.
    let through_ss = |m: &UsedMemory| {
        let based = matches!(m.base(), Register::RSP | Register::RBP | Register::ESP | Register::EBP);
        based && !matches!(m.segment(), Register::FS | Register::GS)
    };
    factory.info(&insn).used_memory().iter().filter(outside).map(through_ss).reduce(|a, b| a || b)
}

/// A register as addresses in 64-bit code use it; `None` for vectors.
fn value(cpu: &Cpu, register: Register) -> Option<u64> {
    match register {
        Register::FS => return Some(cpu.bases[FS]),
        Register::GS => return Some(cpu.bases[GS]),
        _ if register.is_segment_register() => return Some(0),
        _ => {}
    }
    let whole = *cpu.gpr.get(register.full_register().number()).filter(|_| register.is_gpr())?;
    Some(match register.size() {
        1 => whole & 0xff,
        2 => whole & 0xffff,
        4 => whole & 0xffff_ffff,
        _ => whole,
    })
}
