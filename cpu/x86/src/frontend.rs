//! What the translator sees of the architecture.

use crate::exception::{self, Exception};
use crate::flags;
use crate::helpers;
use crate::insn;
use crate::interrupt::{self, Event};
use crate::mmu;
use crate::model::{Features, Model};
use crate::msr::Msrs;
use crate::segment::{CS, Segment, Table};
use crate::smm;
use crate::state::{self, Cpu, Fpu, Shadow, Stopped, X87};
use crate::wires::Wires;
use crate::wiring::{self, PIN_A20M, PIN_INIT, PIN_INTR, PIN_NMI, PIN_SIPI, PIN_SMI, event};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};
use tcg::float::FloatFlags;
use tcg::frontend::{Frontend, Func, Helper, Key, Translation};
use tcg::ir::{Block, Names, Slot};
use vm::vcpu::{AccelError, BootRegs, Intent, Wiring};
use vm::{BadState, Gpa, Gva, log};

/// The x86 architecture with one processor model.
pub struct X86 {
    /// What the model implements.
    pub features: Features,
}

impl X86 {
    /// The architecture as the model that `-cpu` names has it.
    ///
    /// # Errors
    /// As [`Model::parse`].
    pub fn new(model: &str) -> Result<X86, AccelError> {
        Ok(X86 { features: Model::parse(model)?.features })
    }
}

/// The state that helpers act on.
pub type Env = tcg::Env<X86>;

extern "C" fn no_helper(_: &mut Env) -> u64 {
    0
}

/// All helpers by number: the integer and system ones from 0, those of the x87 unit, those of vectors. Numbers between the
/// groups belong to nobody.
static HELPERS: LazyLock<Vec<Helper<X86>>> = LazyLock::new(|| {
    let groups = [
        (0, helpers::HELPERS.to_vec()),
        (insn::x87::FIRST_HELPER, insn::x87::helpers().collect()),
        (insn::sse::FIRST_HELPER, insn::sse::helpers().collect()),
    ];
    let mut all = Vec::new();
    for (first, group) in groups {
        assert!(all.len() <= first, "groups do not overlap");
        all.resize(first, Helper::plain("none", Func::F0(no_helper)));
        all.extend(group);
    }
    all
});
static HELPER_NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| HELPERS.iter().map(|h| h.name).collect());

/// The pins behind which [`wiring::EVENTS`] has something.
const EVENT_PINS: u32 = 1 << PIN_NMI | 1 << PIN_SMI | 1 << PIN_INIT | 1 << PIN_SIPI;

/// Registers in [`Frontend::regs`]: sixteen general-purpose ones, RIP, RFLAGS, six selectors, then these.
const RIP: usize = 16;
const RFLAGS: usize = 17;
const SELECTORS: usize = 18;
const BASES: usize = SELECTORS + 6;
const CONTROL: usize = BASES + 6;
const XMM: usize = CONTROL + 5;
const END: usize = XMM + 16;

/// The registers of a vCPU as saved.
#[derive(Serialize, Deserialize)]
struct SavedCpu {
    gpr: [u64; 16],
    xmm: [u128; 16],
    ymm_high: [u128; 16],
    x87: [X87; 8],
    fpu: Fpu,
    mxcsr: u32,
    pc: u64,
    rflags: u64,
    segments: [Segment; 6],
    ldtr: Segment,
    tr: Segment,
    gdtr: Table,
    idtr: Table,
    cpl: u8,
    shadow: Shadow,
    cr: [u64; 4],
    xcr0: u64,
    dr: [u64; 8],
    msr: Msrs,
    smm: bool,
    nmi_blocked: bool,
    events: u64,
    pins: u32,
    stopped: Stopped,
    pending_debug: u64,
    /// The model's name: another one cannot take the state.
    model: String,
}

impl Cpu {
    fn saved(&self) -> SavedCpu {
        SavedCpu {
            gpr: self.gpr,
            xmm: self.xmm,
            ymm_high: self.ymm_high,
            x87: self.x87,
            fpu: self.fpu,
            mxcsr: self.mxcsr,
            pc: self.pc,
            rflags: self.rflags(),
            segments: std::array::from_fn(|n| self.segment(n)),
            ldtr: self.ldtr,
            tr: self.tr,
            gdtr: self.gdtr,
            idtr: self.idtr,
            cpl: self.cpl,
            shadow: self.shadow,
            cr: [self.cr0, self.cr2, self.cr3, self.cr4],
            xcr0: self.xcr0,
            dr: self.dr,
            msr: self.msr.clone(),
            smm: self.smm,
            nmi_blocked: self.nmi_blocked,
            events: self.events,
            pins: self.pins,
            stopped: self.stopped,
            pending_debug: self.pending_debug,
            model: self.model.name.into(),
        }
    }

    fn restore(&mut self, saved: SavedCpu) -> Result<(), BadState> {
        let bad = |what: &str| Err(BadState(what.into()));
        if saved.model != self.model.name {
            return bad(&format!("the state is of CPU model `{}`, this one is `{}`", saved.model, self.model.name));
        }
        if saved.cpl > 3 || saved.fpu.top > 7 || saved.rflags & !(flags::STATUS | flags::SYSTEM | flags::FIXED) != 0 {
            return bad("impossible privilege level, stack top or flags");
        }
        if saved.mxcsr >> 16 != 0 || saved.xcr0 & !self.model.xcr0_mask() != 0 || saved.pins >> 6 != 0 {
            return bad("impossible MXCSR, XCR0 or pins");
        }
        self.gpr = saved.gpr;
        (self.xmm, self.ymm_high, self.x87) = (saved.xmm, saved.ymm_high, saved.x87);
        (self.fpu, self.mxcsr) = (saved.fpu, saved.mxcsr);
        (self.pc, self.cpl, self.shadow) = (saved.pc, saved.cpl, saved.shadow);
        (self.ldtr, self.tr, self.gdtr, self.idtr) = (saved.ldtr, saved.tr, saved.gdtr, saved.idtr);
        [self.cr0, self.cr2, self.cr3, self.cr4] = saved.cr;
        (self.xcr0, self.dr, self.msr) = (saved.xcr0, saved.dr, saved.msr);
        (self.smm, self.nmi_blocked, self.events) = (saved.smm, saved.nmi_blocked, saved.events);
        (self.pins, self.stopped, self.pending_debug) = (saved.pins, saved.stopped, saved.pending_debug);
        self.set_rflags(saved.rflags, flags::STATUS | flags::SYSTEM);
        for (n, segment) in saved.segments.into_iter().enumerate() {
            self.set_segment(n, segment);
        }
        self.wires.drive(wiring::OUT_SMIACT, self.smm);
        self.update_mode();
        Ok(())
    }

    /// Takes an event if it waits.
    fn take_event(&mut self, event: u64) -> bool {
        let waits = self.events & event != 0;
        self.events &= !event;
        waits
    }
}

impl Frontend for X86 {
    type Cpu = Cpu;
    type Exception = Exception;
    const NAME: &'static str = "x86_64";
    const BYTE_SLOTS: &'static [Slot] = &[state::CF, state::OF];
    const PC: Slot = state::PC;
    const MAX_INSN: usize = insn::MAX_LEN;
    const COHERENT_CODE: Option<Exception> = Some(Exception::Resume);
    const SPLIT_LOCKS: bool = true;
    const OPEN_BUS: bool = true;
    const NATIVE_FLOAT: bool = true;
    const MMU_REGIMES: usize = mmu::REGIMES;

    fn names(&self) -> Names<'static> {
        Names { slots: state::SLOTS, helpers: &HELPER_NAMES }
    }
    fn helpers(&self) -> &'static [Helper<Self>] {
        &HELPERS
    }
    fn cpu(&self, wiring: &Wiring, _poll: Arc<dyn Fn() + Send + Sync>) -> Result<Cpu, AccelError> {
        let mut model = Model::parse(&wiring.model)?;
        // What code is translated for is what CPUID says.
        model.features = self.features;
        Ok(Cpu::new(model, Wires::new(wiring)))
    }
    fn reset(&self, env: &mut Env, boot: Option<&BootRegs>) {
        env.cpu.reset();
        if env.cpu.stopped == Stopped::WaitForSipi {
            env.halt();
        } else if let Some(boot) = boot {
            env.cpu.enter_flat();
            env.cpu.set_rip(boot.pc.0);
            for (number, value) in &boot.gprs {
                if *number == wiring::BOOT_GDTR {
                    env.cpu.gdtr = Table { base: *value & 0xffff_ffff_ffff, limit: (*value >> 48) as u16 };
                } else if let Some(gpr) = env.cpu.gpr.get_mut(usize::from(*number)) {
                    *gpr = *value;
                }
            }
        }
    }
    fn key(&self, cpu: &Cpu) -> Key {
        // Code of the kernel is the same in all address spaces until some was not: see `walk`.
        let space = if cpu.cpl == 3 || cpu.local_kernel_code { cpu.space() } else { 0 };
        Key { pc: Gva(cpu.pc), mode: cpu.mode, space }
    }
    fn translate(&self, mode: u64, code: &[u8], limit: u32, ir: &mut Block) {
        insn::translate(self.features, mode, code, limit, ir);
    }
    fn walk(&self, env: &mut Env, gva: Gva, intent: Intent, mmu: u8) -> Result<Translation, Exception> {
        let page = mmu::walk(env, gva.0, intent, mmu)?;
        // Code of levels 0 to 2 in one address space only: from now on the key tells them apart. It need not be fetched now:
        // what a read has found is not looked up again.
        let local = mmu == mmu::KERNEL && page.execute && !page.global;
        if local && !env.cpu.local_kernel_code {
            env.cpu.local_kernel_code = true;
        }
        Ok(page)
    }
    fn fetch_regime(&self, cpu: &Cpu) -> u8 {
        if cpu.cpl == 3 { mmu::USER } else { mmu::KERNEL }
    }
    fn space(&self, cpu: &Cpu) -> u32 {
        cpu.space()
    }
    fn misaligned(&self, _env: &mut Env, _gva: Gva, _intent: Intent, _mmu: u8) -> Exception {
        // Vector instructions that need alignment, and locked ones.
        Exception::Misaligned
    }
    fn bus_error(&self, _env: &mut Env, _gva: Gva, _gpa: Gpa, _intent: Intent, _mmu: u8) -> Exception {
        // Nothing raises it: what nobody answers reads as ones.
        Exception::Resume
    }
    fn take(&self, env: &mut Env, exception: Exception) {
        let exception = insn::faulting::refine(env, exception);
        exception::take(env, exception);
    }
    fn poll(&self, _env: &mut Env) {}
    fn add_float_flags(cpu: &mut Cpu, flags: FloatFlags) {
        // Invalid, (denormal), divide by zero, overflow, underflow, inexact: MXCSR has the denormal operand at bit 1.
        let f = u32::from(flags.0);
        cpu.mxcsr |= f & 1 | (f & 0x1e) << 1 | f >> 4 & 2;
    }
    fn interrupt(&self, env: &mut Env, pins: u32) -> bool {
        let changed = env.cpu.pins ^ pins;
        env.cpu.pins = pins;
        if changed >> PIN_A20M & 1 != 0 {
            env.flush_tlb();
        }
        if pins & EVENT_PINS != 0 {
            let events = env.cpu.wires.read_register(wiring::EVENTS).unwrap_or(0);
            env.cpu.events |= events;
        }
        if env.cpu.take_event(event::INIT) {
            env.cpu.init();
            if env.cpu.wires.id != 0 {
                env.cpu.stopped = Stopped::WaitForSipi;
                env.halt();
            }
            env.flush_tlb();
        }
        if env.cpu.take_event(event::SIPI) && env.cpu.stopped == Stopped::WaitForSipi {
            let vector = env.cpu.events >> 8 & 0xff;
            env.cpu.stopped = Stopped::No;
            // INIT of the same look has halted it.
            env.wake();
            env.cpu.load_real_segment(CS, (vector << 8) as u16);
            env.cpu.set_rip(0);
        }
        // The vector of a start-up message has no meaning any more.
        env.cpu.events &= 0xff;
        let cpu = &mut env.cpu;
        if cpu.stopped != Stopped::No {
            return false;
        }
        if !cpu.smm && cpu.take_event(event::SMI) {
            smm::enter(env);
            return true;
        }
        // Traps of the last instruction come first.
        if cpu.shadow != Shadow::None || cpu.pending_debug != 0 {
            return false;
        }
        if !cpu.nmi_blocked && !cpu.smm && cpu.take_event(event::NMI) {
            cpu.nmi_blocked = true;
            deliver(env, exception::NMI);
            return true;
        }
        if pins >> PIN_INTR & 1 != 0
            && cpu.flag(flags::IF)
            && let Some(vector) = cpu.wires.read_register(wiring::INTACK)
        {
            deliver(env, vector as u8);
            return true;
        }
        false
    }
    fn waits(&self, cpu: &Cpu) -> bool {
        // A pin that falls counts as well: A20M.
        cpu.events != 0 || cpu.pins >> PIN_A20M & 1 != 0
    }
    fn wakes(&self, env: &Env, pins: u32) -> bool {
        let cpu = &env.cpu;
        let events = |waits: u64, pin: u32| cpu.events & waits != 0 || pins >> pin & 1 != 0;
        let init = events(event::INIT, PIN_INIT);
        match cpu.stopped {
            Stopped::WaitForSipi => init || events(event::SIPI, PIN_SIPI),
            Stopped::Shutdown => init,
            Stopped::No => {
                init || !cpu.smm && events(event::SMI, PIN_SMI)
                    || !cpu.nmi_blocked && events(event::NMI, PIN_NMI)
                    || pins >> PIN_INTR & 1 != 0 && cpu.flag(flags::IF)
            }
        }
    }

    fn regs(&self) -> Vec<(&'static str, u32)> {
        let fixed = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
            "r15", "rip", "rflags",
        ];
        let selectors = ["es", "cs", "ss", "ds", "fs", "gs"];
        let bases = ["es_base", "cs_base", "ss_base", "ds_base", "fs_base", "gs_base"];
        let control = ["cr0", "cr2", "cr3", "cr4", "efer"];
        let wide = |name: &'static str| (name, 64);
        let vectors = state::SLOTS.iter().filter(|(name, _)| name.starts_with("xmm")).map(|(name, _)| (*name, 128));
        fixed
            .map(wide)
            .into_iter()
            .chain(selectors.map(|name| (name, 16)))
            .chain(bases.map(wide))
            .chain(control.map(wide))
            .chain(vectors)
            .collect()
    }
    fn reg(&self, cpu: &Cpu, index: usize) -> u128 {
        match index {
            0..RIP => cpu.gpr[index].into(),
            RIP => cpu.rip().into(),
            RFLAGS => cpu.rflags().into(),
            SELECTORS..BASES => cpu.selectors[index - SELECTORS].into(),
            BASES..CONTROL => cpu.bases[index - BASES].into(),
            CONTROL..XMM => [cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.msr.efer][index - CONTROL].into(),
            XMM..END => cpu.xmm[index - XMM],
            _ => 0,
        }
    }
    fn set_reg(&self, cpu: &mut Cpu, index: usize, value: u128) {
        let low = value as u64;
        match index {
            0..RIP => cpu.gpr[index] = low,
            RIP => cpu.set_rip(low),
            RFLAGS => cpu.set_rflags(low, flags::STATUS | flags::SYSTEM & !flags::VM),
            SELECTORS..BASES if !cpu.has_descriptors() => cpu.load_real_segment(index - SELECTORS, low as u16),
            SELECTORS..BASES => cpu.selectors[index - SELECTORS] = low & 0xffff,
            BASES..CONTROL => {
                cpu.bases[index - BASES] = low;
                cpu.update_mode();
            }
            CONTROL => cpu.cr0 = low,
            c if c == CONTROL + 1 => cpu.cr2 = low,
            c if c == CONTROL + 2 => cpu.cr3 = low,
            c if c == CONTROL + 3 => cpu.cr4 = low,
            XMM..END => cpu.xmm[index - XMM] = value,
            _ => {}
        }
        cpu.update_mode();
    }
    fn save(&self, cpu: &Cpu) -> Vec<u8> {
        serde_json::to_vec(&cpu.saved()).unwrap_or_default()
    }
    fn load(&self, env: &mut Env, body: &[u8]) -> Result<(), BadState> {
        let saved = serde_json::from_slice(body).map_err(|error| BadState(error.to_string()))?;
        env.cpu.restore(saved)?;
        env.flush_tlb();
        Ok(())
    }
    fn disassemble(&self, pc: Gva, code: &[u8]) -> Vec<String> {
        insn::disassemble(pc, code)
    }
}

/// Delivers an interrupt from outside; what goes wrong with that becomes an exception.
fn deliver(env: &mut Env, vector: u8) {
    log!(Int, "interrupt {vector:#04x} at {:#x}", env.cpu.rip());
    let event = Event::external(vector, env.cpu.rip());
    if let Err(exception) = interrupt::deliver(env, event) {
        exception::take(env, exception);
    }
}
