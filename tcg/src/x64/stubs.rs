//! Code that all blocks share: the entry from the loop, the ways back to it, slow memory accesses.

use super::asm::{
    Alu, Asm, Cc, ENV_BIAS, Gpr, Hole, Holes, Mem, R8, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP,
    Shift,
};
use super::emit::env;
use super::registers::CLOBBERED;
use super::slow;
use crate::env::{Env, JUMP_CACHE, Jump};
use crate::exec::{EXIT_CODES, next};
use crate::frontend::Frontend;
use std::mem::offset_of;

/// Argument registers of host functions (System V ABI, "Parameter Passing").
pub const ARGUMENTS: [Gpr; 5] = [RDI, RSI, RDX, RCX, R8];

/// Exits beside those of [`Exit`](crate::interp::Exit): the budget is used up, the block is hot.
pub const BUDGET: u64 = 5;
pub const HOT: u64 = 6;

/// Addresses of the shared code.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stubs {
    /// `extern "C" fn(env, host entry) -> exit`: runs code, and what comes behind it as long as [`next`] knows that.
    pub enter: u64,
    /// Where exits 0 and 1 lead that are not linked; rax is the block.
    pub unlinked: [u64; 2],
    /// Leaves with the exit in eax; program counter and budget go to memory.
    pub leave: u64,
    /// The same, but the program counter in memory is the right one.
    pub leave_keeping_pc: u64,
    /// Slow accesses: address in rax, value in rcx or the first vector cell, operand on the stack. The carry flag tells
    /// of an exception.
    pub load: u64,
    pub store: u64,
    pub load_vector: u64,
    pub store_vector: u64,
    /// Calls the function in rax with the environment, rcx and the constant on the stack; its result is in rax.
    pub call: u64,
    /// Where the jump cache leads for blocks without code.
    pub no_code: u64,
    /// Goes to the block at the program counter by way of the jump cache.
    pub by_jump_cache: u64,
    /// The host has fused multiply-add.
    pub fma: bool,
    /// The host counts bits as the guests do (lzcnt, tzcnt, popcnt).
    pub bit_counts: bool,
}

/// A field of the entry of the jump cache whose distance from the first is in rcx.
fn jump<F: Frontend>(field: usize) -> Mem {
    Mem::env_indexed(RCX, (offset_of!(Env<F>, jumps) + field) as i32)
}

/// Finds the entry of the jump cache for the block at r14, see [`jump`]; the holes lead to what is done if it is another's.
/// Changes rax and rcx.
fn find_in_cache<F: Frontend>(asm: &mut Asm) -> [Hole; 2] {
    asm.mov(true, RCX, R14);
    asm.mov(true, RAX, R14);
    asm.shift_imm(Shift::Shr, true, RCX, 2);
    asm.shift_imm(Shift::Shr, true, RAX, 14);
    asm.alu(Alu::Xor, false, RCX, RAX);
    asm.alu_imm(Alu::And, false, RCX, JUMP_CACHE as i32 - 1);
    asm.shift_imm(Shift::Shl, false, RCX, size_of::<Jump>().trailing_zeros() as u8);
    asm.load(8, RAX, env!(F, tag));
    asm.alu_load(Alu::Cmp, true, R14, jump::<F>(offset_of!(Jump, pc)));
    let other = asm.jcc(Cc::Ne);
    asm.alu_load(Alu::Cmp, true, RAX, jump::<F>(offset_of!(Jump, tag)));
    [other, asm.jcc(Cc::Ne)]
}

/// Looks up the block at r14 and goes there; the holes lead to what is done without one. Changes rax and rcx.
pub fn jump_by_cache<F: Frontend>(asm: &mut Asm) -> [Hole; 2] {
    let elsewhere = find_in_cache::<F>(asm);
    asm.jmp_mem(jump::<F>(offset_of!(Jump, fast)));
    elsewhere
}

/// Looks whether the block at r14 is this one; the holes lead to what is done if not. Changes rax and rcx.
pub fn look_in_cache<F: Frontend>(asm: &mut Asm, block: u64) -> Holes {
    let mut elsewhere = Holes::default();
    find_in_cache::<F>(asm).into_iter().for_each(|hole| elsewhere.push(hole));
    asm.mov_imm(RAX, block);
    asm.alu_load(Alu::Cmp, true, RAX, jump::<F>(offset_of!(Jump, block)));
    elsewhere.push(asm.jcc(Cc::Ne));
    elsewhere
}

/// Emits the shared code; the addresses are offsets into it.
pub fn emit<F: Frontend>(asm: &mut Asm) -> Stubs {
    let mut stubs = Stubs::default();
    let here = |asm: &mut Asm| {
        while !asm.code.len().is_multiple_of(16) {
            asm.code.push(0xcc);
        }
        asm.code.len() as u64
    };
    stubs.enter = here(asm);
    let saved = [RBX, RBP, R12, R13, R14, R15];
    saved.into_iter().for_each(|r| asm.push(r));
    asm.alu_imm(Alu::Sub, true, RSP, 8);
    asm.lea(true, RBP, Mem::at(RDI, ENV_BIAS));
    let run = asm.code.len();
    asm.call_reg(RSI);
    // What goes on, or the exit to leave with.
    asm.lea(true, RDI, Mem::env(0));
    asm.mov(false, RSI, RAX);
    asm.mov_imm(RAX, next::<F> as *const () as u64);
    asm.call_reg(RAX);
    asm.lea(true, RDI, Mem::env(0));
    asm.mov(true, RSI, RAX);
    asm.alu_imm(Alu::Cmp, true, RAX, EXIT_CODES as i32);
    let more = asm.jcc(Cc::Ae);
    asm.bind_to(more, run);
    asm.alu_imm(Alu::Add, true, RSP, 8);
    saved.into_iter().rev().for_each(|r| asm.pop(r));
    asm.ret();

    stubs.leave = here(asm);
    asm.store(8, Mem::env(F::PC.0.into()), R14);
    stubs.leave_keeping_pc = asm.code.len() as u64;
    asm.store(8, env!(F, budget), R15);
    asm.ret();

    for exit in 0..2 {
        stubs.unlinked[exit] = here(asm);
        asm.store(8, env!(F, left), RAX);
        asm.mov_imm(RAX, exit as u64);
        let leave = asm.jmp();
        asm.bind_to(leave, stubs.leave as usize);
    }
    // The loop finds the block at the program counter, as after an indirect branch; it asks nothing of the block left.
    stubs.no_code = here(asm);
    asm.mov_imm(RAX, crate::interp::Exit::Indirect as u64);
    let leave = asm.jmp();
    asm.bind_to(leave, stubs.leave as usize);

    stubs.by_jump_cache = here(asm);
    for elsewhere in jump_by_cache::<F>(asm) {
        asm.bind_to(elsewhere, stubs.no_code as usize);
    }

    let access = |asm: &mut Asm, function: u64| {
        let at = here(asm);
        for (n, r) in CLOBBERED.into_iter().enumerate() {
            asm.store(8, Mem::env((offset_of!(Env<F>, saved) + 8 * n) as i32), r);
        }
        asm.store(8, Mem::env(F::PC.0.into()), R14);
        asm.load(4, RDX, Mem::at(RSP, 8));
        asm.lea(true, RDI, Mem::env(0));
        asm.mov(true, RSI, RAX);
        asm.alu_imm(Alu::Sub, true, RSP, 8);
        asm.mov_imm(RAX, function);
        asm.call_reg(RAX);
        asm.alu_imm(Alu::Add, true, RSP, 8);
        for (n, r) in CLOBBERED.into_iter().enumerate() {
            asm.load(8, r, Mem::env((offset_of!(Env<F>, saved) + 8 * n) as i32));
        }
        asm.alu_mem_imm(Alu::Cmp, true, env!(F, raised), 0);
        let raised = asm.jcc(Cc::Ne);
        asm.set_carry(false);
        asm.ret_taking(8);
        asm.bind(raised);
        asm.set_carry(true);
        asm.ret_taking(8);
        at
    };
    stubs.call = here(asm);
    for (n, r) in CLOBBERED.into_iter().enumerate() {
        asm.store(8, Mem::env((offset_of!(Env<F>, saved) + 8 * n) as i32), r);
    }
    asm.load(4, RDX, Mem::at(RSP, 8));
    asm.lea(true, RDI, Mem::env(0));
    asm.mov(true, RSI, RCX);
    asm.alu_imm(Alu::Sub, true, RSP, 8);
    asm.call_reg(RAX);
    asm.alu_imm(Alu::Add, true, RSP, 8);
    for (n, r) in CLOBBERED.into_iter().enumerate() {
        asm.load(8, r, Mem::env((offset_of!(Env<F>, saved) + 8 * n) as i32));
    }
    asm.ret_taking(8);
    stubs.load = access(asm, slow::load::<F> as *const () as u64);
    stubs.store = access(asm, slow::store::<F> as *const () as u64);
    stubs.load_vector = access(asm, slow::load_vector::<F> as *const () as u64);
    stubs.store_vector = access(asm, slow::store_vector::<F> as *const () as u64);
    stubs
}

impl Stubs {
    /// The addresses when the code lies at `base`.
    pub fn at(mut self, base: u64) -> Stubs {
        let all = [
            &mut self.enter,
            &mut self.leave,
            &mut self.leave_keeping_pc,
            &mut self.load,
            &mut self.store,
            &mut self.load_vector,
            &mut self.store_vector,
            &mut self.no_code,
            &mut self.by_jump_cache,
            &mut self.call,
        ];
        for address in all.into_iter().chain(&mut self.unlinked) {
            *address += base;
        }
        self
    }
}
