//! Host functions: their signatures, the way into them from Rust, and their bytes.

use super::lower::Lower;
use super::region::Region;
use crate::exec::Shared;
use crate::frontend::Frontend;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, Signature, Type, UserFuncName};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

/// Kept from one compilation to the next.
pub struct State {
    context: cranelift_codegen::Context,
    functions: FunctionBuilderContext,
}

impl Default for State {
    fn default() -> Self {
        Self { context: cranelift_codegen::Context::new(), functions: FunctionBuilderContext::new() }
    }
}

pub(super) fn signature(convention: CallConv, params: &[Type], result: Option<Type>) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend(params.iter().map(|t| AbiParam::new(*t)));
    signature.returns.extend(result.map(AbiParam::new));
    signature
}

/// What compiled code is: a function of the environment that gives an exit.
pub(super) fn region_signature() -> Signature {
    signature(CallConv::Tail, &[I64], Some(I32))
}

/// The function through which Rust enters compiled code: `(env, entry) -> exit`.
pub fn entry(isa: &dyn TargetIsa) -> Result<Vec<u8>, String> {
    let mut state = State::default();
    state.context.func =
        Function::with_name_signature(UserFuncName::default(), signature(CallConv::SystemV, &[I64, I64], Some(I32)));
    let mut b = FunctionBuilder::new(&mut state.context.func, &mut state.functions);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let (env, target) = (b.block_params(block)[0], b.block_params(block)[1]);
    let convention = b.import_signature(region_signature());
    let call = b.ins().call_indirect(convention, target, &[env]);
    let exit = b.inst_results(call)[0];
    b.ins().return_(&[exit]);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    emit(&mut state, isa)
}

/// The way from compiled code to a function `(env, a, b, c)` that is called on a cold path: all registers are saved, so
/// that the hot paths around need not care. The call has one argument, the environment; where `at` says in it are the
/// three others and the function's address: arguments in registers would bind values of the hot paths to these registers.
pub fn thunk(at: u32) -> Vec<u8> {
    // push rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
    let mut code = vec![0x50, 0x51, 0x52, 0x56, 0x57, 0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53];
    // sub rsp, 256; the stack is aligned to 16 bytes then.
    code.extend([0x48, 0x81, 0xec, 0, 1, 0, 0]);
    let vectors = |code: &mut Vec<u8>, opcode: u8| {
        for n in 0..16u8 {
            // movups between xmm<n> and [rsp + 16 * n]
            if n >= 8 {
                code.push(0x44);
            }
            code.extend([0x0f, opcode, 0x84 | (n & 7) << 3, 0x24, 16 * n, 0, 0, 0]);
        }
    };
    vectors(&mut code, 0x11);
    // mov rsi, [rdi + at]; mov rdx, [rdi + at + 8]; mov rcx, [rdi + at + 16]; call [rdi + at + 24]
    for (opcode, modrm, offset) in [(0x8b, 0xb7, 0), (0x8b, 0x97, 8), (0x8b, 0x8f, 16), (0xff, 0x97, 24)] {
        if opcode == 0x8b {
            code.push(0x48);
        }
        code.extend([opcode, modrm]);
        code.extend((at + offset).to_le_bytes());
    }
    vectors(&mut code, 0x10);
    // add rsp, 256; pop all; ret
    code.extend([0x48, 0x81, 0xc4, 0, 1, 0, 0]);
    code.extend([0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, 0x5f, 0x5e, 0x5a, 0x59, 0x58, 0xc3]);
    code
}

fn emit(state: &mut State, isa: &dyn TargetIsa) -> Result<Vec<u8>, String> {
    let compiled = state.context.compile(isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
    if !compiled.buffer.relocs().is_empty() {
        return Err("the code refers to something outside itself".into());
    }
    Ok(compiled.code_buffer().to_vec())
}

/// Compiles a region. `thunk` is where [`thunk`] was placed.
pub fn compile<F: Frontend>(
    state: &mut State,
    isa: &dyn TargetIsa,
    thunk: u64,
    shared: &Shared<F>,
    region: &Region,
) -> Result<Vec<u8>, String> {
    state.context.clear();
    state.context.func = Function::with_name_signature(UserFuncName::default(), region_signature());
    let b = FunctionBuilder::new(&mut state.context.func, &mut state.functions);
    let result = Lower::build(b, isa, thunk, shared, region).and_then(|()| emit(state, isa));
    if result.is_err() {
        // What a function that was given up has left there must not get into the next one.
        *state = State::default();
    }
    result
}

/// Host instructions as text, one a line, as if the code lay at `entry`.
pub fn listing(entry: u64, code: &[u8]) -> String {
    use capstone::arch::BuildsCapstone as _;
    let lines = capstone::Capstone::new().x86().mode(capstone::arch::x86::ArchMode::Mode64).build().and_then(|c| {
        let all = c.disasm_all(code, entry)?;
        let line = |insn: &capstone::Insn<'_>| {
            format!(
                "{:#x}:  {} {}",
                insn.address(),
                insn.mnemonic().unwrap_or_default(),
                insn.op_str().unwrap_or_default()
            )
        };
        Ok(all.iter().map(line).collect::<Vec<_>>())
    });
    lines.map_or_else(|_| format!("{} bytes", code.len()), |lines| lines.join("\n"))
}
