//! What the translator sees of the architecture.

use crate::a64;
use crate::exception;
use crate::features::Features;
use crate::state::{self, Cpu};
use std::sync::{Arc, LazyLock};
use tcg::frontend::{Frontend, Func, Helper, Key, Translation};
use tcg::ir::{Block, Names, Slot};
use vm::vcpu::{AccelError, BootRegs, Intent, Wiring};
use vm::{BadState, Gpa, Gva};

/// The Arm architecture with one processor model.
pub struct Arm {
    /// What the model implements.
    pub features: Features,
}

/// The state that helpers act on.
pub type Env = tcg::Env<Arm>;

/// All helpers: those of the system from 0, those of SIMD and floating point from [`a64::simd::FIRST_HELPER`], and
/// between them some that nothing calls.
static HELPERS: LazyLock<Vec<Helper<Arm>>> = LazyLock::new(|| {
    let mut all = exception::HELPERS.to_vec();
    assert!(all.len() <= a64::simd::FIRST_HELPER, "the system's helpers end before those of SIMD");
    all.resize(a64::simd::FIRST_HELPER, Helper::plain("unused", Func::F0(unused)));
    all.extend(a64::simd::helpers());
    all
});
extern "C" fn unused(_env: &mut Env) -> u64 {
    0
}
static HELPER_NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| HELPERS.iter().map(|h| h.name).collect());

impl Frontend for Arm {
    type Cpu = Cpu;
    type Exception = exception::Exception;
    const NAME: &'static str = "aarch64";
    const PC: Slot = state::PC;
    const MMU_REGIMES: usize = 3;

    fn names(&self) -> Names<'static> {
        Names { slots: state::SLOTS, helpers: &HELPER_NAMES }
    }
    fn helpers(&self) -> &'static [Helper<Self>] {
        &HELPERS
    }
    fn cpu(&self, _wiring: &Wiring, _poll: Arc<dyn Fn() + Send + Sync>) -> Result<Cpu, AccelError> {
        Err(AccelError::Unsupported("under construction".into()))
    }
    fn reset(&self, _env: &mut Env, _boot: Option<&BootRegs>) {}
    fn key(&self, cpu: &Cpu) -> Key {
        Key { pc: Gva(cpu.pc), mode: cpu.mode, space: 0 }
    }
    fn translate(&self, mode: u64, code: &[u8], limit: u32, ir: &mut Block) {
        a64::translate(self.features, mode, code, limit, ir);
    }
    fn walk(&self, _env: &mut Env, gva: Gva, _intent: Intent, _mmu: u8) -> Result<Translation, Self::Exception> {
        Err(exception::Exception { syndrome: exception::Syndrome::undefined(), far: Some(gva.0) })
    }
    fn fetch_regime(&self, cpu: &Cpu) -> u8 {
        cpu.pstate.el.min(1)
    }
    fn space(&self, _cpu: &Cpu) -> u32 {
        0
    }
    fn misaligned(&self, _env: &mut Env, gva: Gva, _intent: Intent, _mmu: u8) -> Self::Exception {
        exception::Exception { syndrome: exception::Syndrome::undefined(), far: Some(gva.0) }
    }
    fn bus_error(&self, _env: &mut Env, gva: Gva, _gpa: Gpa, _intent: Intent, _mmu: u8) -> Self::Exception {
        exception::Exception { syndrome: exception::Syndrome::undefined(), far: Some(gva.0) }
    }
    fn take(&self, _env: &mut Env, _exception: Self::Exception) {}
    fn poll(&self, _env: &mut Env) {}
    fn interrupt(&self, _env: &mut Env, _pins: u32) -> bool {
        false
    }
    fn wakes(&self, _env: &Env, pins: u32) -> bool {
        pins != 0
    }
    fn regs(&self) -> Vec<(&'static str, u32)> {
        Vec::new()
    }
    fn reg(&self, _cpu: &Cpu, _index: usize) -> u128 {
        0
    }
    fn set_reg(&self, _cpu: &mut Cpu, _index: usize, _value: u128) {}
    fn save(&self, _cpu: &Cpu) -> Vec<u8> {
        Vec::new()
    }
    fn load(&self, _env: &mut Env, _body: &[u8]) -> Result<(), BadState> {
        Ok(())
    }
    fn disassemble(&self, pc: Gva, code: &[u8]) -> Vec<String> {
        let line = |(n, word): (usize, &[u8])| format!("{:#x}: {word:02x?}", pc.0 + 4 * n as u64);
        code.chunks(4).enumerate().map(line).collect()
    }
}
