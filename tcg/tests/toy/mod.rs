//! A toy instruction set for tests of the engine: an instruction is a word that indexes a table of IR snippets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use tcg::around::Around;
use tcg::cranelift::Cranelift;
use tcg::exec::{Compiler, Shared, Tcg, TcgVcpu, Tiers};
use tcg::frontend::{Func, Helper, Key, Translation};
use tcg::ir::{self, Block, HelperId, Names, Op, Slot, Terminal, Ty};
use tcg::x64::Template;
use tcg::{Env, Frontend};
use vm::clock::ManualClock;
use vm::device::{Access, BusError, MmioPort};
use vm::irq::IrqSink;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{AccelError, BootRegs, Intent, Pins, Stop, Vcpu, Wiring};
use vm::{AddressSpace, Backing, BadState, Gpa, Gva, Mapping, MappingId, Ram};

pub const RAM_SIZE: u64 = 1 << 20;
pub const CODE: u64 = 0x1000;
pub const DATA: u64 = 0x1_0000;
pub const MMIO: u64 = 0x20_0000;
pub const ROM: u64 = 0x30_0000;

/// Table entries are instructions with this in the upper half.
const TABLE: u32 = 0x1000_0000;
pub const HALT: u32 = 0x2000_0000;
pub const NOP: u32 = 0x3000_0000;

/// `x<r> += n`.
pub const fn add(r: u32, n: u8) -> u32 {
    0x4000_0000 | r << 8 | n as u32
}
/// To the instruction `n` further.
pub const fn jump(n: i16) -> u32 {
    0x5000_0000 | n as u16 as u32
}
/// The same if `x<r>` is not zero, which is decremented first.
pub const fn loop_on(r: u32, n: i16) -> u32 {
    0x6000_0000 | r << 16 | n as u16 as u32
}
/// To the address in `x<r>`.
pub const fn jump_to(r: u32) -> u32 {
    0x7000_0000 | r
}
/// Stores the low 4 bytes of `x<r>` at the address in `x<a>`.
pub const fn store(r: u32, a: u32) -> u32 {
    0x8000_0000 | r << 8 | a
}
/// Calls helper `n` with `x0`, `x1` and looks at the state anew.
pub const fn system(n: u32) -> u32 {
    0x9000_0000 | n
}
/// Entry `n` of the table.
pub const fn entry(n: usize) -> u32 {
    TABLE | n as u32
}

/// The registers that have slots.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regs {
    pub x: [u64; 8],
    pub pc: u64,
    pub pad: u64,
    pub v: [u128; 4],
}

pub const X: [Slot; 8] = {
    let mut all = [Slot(0, Ty::I64); 8];
    let mut n = 0;
    while n < 8 {
        all[n] = Slot(8 * n as u16, Ty::I64);
        n += 1;
    }
    all
};
pub const V: [Slot; 4] = [Slot(80, Ty::V128), Slot(96, Ty::V128), Slot(112, Ty::V128), Slot(128, Ty::V128)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fault(Intent),
    Misaligned(Intent),
    Bus(Intent),
    Helper,
}

/// An exception: what and at which address.
pub type Exception = (Kind, u64);

#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub gpa: u64,
    pub log2: u8,
    pub rwx: u8,
    /// `None` for a global page.
    pub space: Option<u32>,
    pub strict: bool,
}

impl Page {
    pub fn plain(gpa: u64) -> Page {
        Page { gpa, log2: 12, rwx: 7, space: None, strict: false }
    }
}

#[repr(C)]
pub struct Cpu {
    pub regs: Regs,
    pub space: u32,
    /// Pages by first address and space; elsewhere memory is mapped one to one.
    pub pages: BTreeMap<(u64, Option<u32>), Page>,
    pub taken: Vec<(Kind, u64, u64)>,
    /// Where exceptions lead; 0 stops.
    pub vector: u64,
    pub irq_enabled: bool,
    pub irqs: Arc<AtomicU64>,
    /// Lowered when its interrupt is taken, if `acknowledge`.
    pub pins: Arc<Pins>,
    pub acknowledge: bool,
    pub polls: u64,
    pub walks: u64,
}

pub struct Toy {
    pub table: RwLock<Vec<Block>>,
    pub translations: AtomicU64,
}

pub const SLOTS: &[(&str, Slot)] = &[
    ("x0", X[0]),
    ("x1", X[1]),
    ("x2", X[2]),
    ("x3", X[3]),
    ("x4", X[4]),
    ("x5", X[5]),
    ("x6", X[6]),
    ("x7", X[7]),
    ("pc", Slot(64, Ty::I64)),
    ("v0", V[0]),
    ("v1", V[1]),
    ("v2", V[2]),
    ("v3", V[3]),
];

// What helpers do, for the engine and for the reference alike.
pub fn mix(a: u64, b: u64) -> u64 {
    a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.rotate_left(17)
}
pub fn vmix(a: u128, b: u128, c: u128, imm: u64) -> u128 {
    a.rotate_left(7) ^ b.wrapping_add(c) ^ u128::from(imm)
}
/// Reads and writes registers; `None` raises.
pub fn shuffle_regs(r: &mut Regs, a: u64) -> Option<u64> {
    if a & 7 == 7 {
        return None;
    }
    let old = r.x[1];
    r.x[1] = r.x[0].wrapping_add(r.x[2]).wrapping_add(a);
    r.x[3] ^= old;
    r.v[1] = r.v[0] ^ u128::from(a) << 64;
    Some(old)
}
pub fn sum_regs(r: &Regs) -> u64 {
    r.x.iter().fold(r.v[2] as u64, |sum, x| sum.rotate_left(3).wrapping_add(*x))
}

extern "C" fn h_mix(_: &mut Env<Toy>, a: u64, b: u64) -> u64 {
    mix(a, b)
}
extern "C" fn h_fault_if(env: &mut Env<Toy>, a: u64) -> u64 {
    if a & 3 == 3 {
        env.raise((Kind::Helper, a));
    }
    a.wrapping_add(1)
}
extern "C" fn h_shuffle(env: &mut Env<Toy>, a: u64) -> u64 {
    match shuffle_regs(&mut env.cpu.regs, a) {
        Some(old) => old,
        None => {
            env.raise((Kind::Helper, a));
            0
        }
    }
}
extern "C" fn h_read(env: &mut Env<Toy>) -> u64 {
    sum_regs(&env.cpu.regs)
}
extern "C" fn h_write(env: &mut Env<Toy>, a: u64) -> u64 {
    env.cpu.regs.x[4] = a;
    env.cpu.regs.v[3] = a.into();
    !a
}
extern "C" fn h_sum4(_: &mut Env<Toy>, a: u64, b: u64, c: u64, d: u64) -> u64 {
    a.wrapping_add(b.rotate_left(1)).wrapping_add(c.rotate_left(2)).wrapping_add(d.rotate_left(3))
}
extern "C" fn h_vmix(env: &mut Env<Toy>, imm: u64) {
    let [a, b, c] = env.vector_args();
    env.set_vector_result(vmix(a, b, c, imm));
}
extern "C" fn h_halt(env: &mut Env<Toy>) -> u64 {
    env.halt();
    0
}
extern "C" fn h_flush_all(env: &mut Env<Toy>, _: u64, _: u64) -> u64 {
    env.flush_tlb();
    0
}
extern "C" fn h_flush_page(env: &mut Env<Toy>, va: u64, _: u64) -> u64 {
    env.flush_tlb_page(Gva(va), u64::MAX);
    0
}
extern "C" fn h_flush_space(env: &mut Env<Toy>, space: u64, _: u64) -> u64 {
    env.flush_tlb_space(space as u32);
    0
}
extern "C" fn h_switch(env: &mut Env<Toy>, space: u64, _: u64) -> u64 {
    env.cpu.space = space as u32;
    env.enter_space();
    0
}
extern "C" fn h_irq_on(env: &mut Env<Toy>, _: u64, _: u64) -> u64 {
    env.cpu.irq_enabled = true;
    0
}

pub const FAULT_IF: HelperId = HelperId(1);
const H_HALT: HelperId = HelperId(7);
pub const FLUSH_ALL: u32 = 8;
pub const FLUSH_PAGE: u32 = 9;
pub const FLUSH_SPACE: u32 = 10;
pub const SWITCH: u32 = 11;
pub const IRQ_ON: u32 = 12;

pub const HELPER_NAMES: &[&str] = &[
    "mix",
    "fault_if",
    "shuffle",
    "read",
    "write",
    "sum4",
    "vmix",
    "halt",
    "flush_all",
    "flush_page",
    "flush_space",
    "switch",
    "irq_on",
];
static HELPERS: [Helper<Toy>; 13] = [
    Helper::plain("mix", Func::F2(h_mix)),
    Helper::raising("fault_if", Func::F1(h_fault_if)),
    Helper::full("shuffle", Func::F1(h_shuffle)),
    Helper {
        name: "read",
        func: Func::F0(h_read),
        reads_slots: true,
        writes_slots: false,
        raises: false,
        host: None,
        function: None,
    },
    Helper {
        name: "write",
        func: Func::F1(h_write),
        reads_slots: false,
        writes_slots: true,
        raises: false,
        host: None,
        function: None,
    },
    Helper::plain("sum4", Func::F4(h_sum4)),
    Helper::plain("vmix", Func::V(h_vmix)),
    Helper::plain("halt", Func::F0(h_halt)),
    Helper::plain("flush_all", Func::F2(h_flush_all)),
    Helper::plain("flush_page", Func::F2(h_flush_page)),
    Helper::plain("flush_space", Func::F2(h_flush_space)),
    Helper::plain("switch", Func::F2(h_switch)),
    Helper::plain("irq_on", Func::F2(h_irq_on)),
];

pub fn names() -> Names<'static> {
    Names { slots: SLOTS, helpers: HELPER_NAMES }
}

/// Appends a snippet to a block.
pub fn append(ir: &mut Block, snippet: &Block) {
    let (ops, masks) = (ir.ops.len() as u32, ir.masks.len() as u16);
    ir.masks.extend(&snippet.masks);
    for op in &snippet.ops {
        let mut op = op.map_operands(|v| ir::Val(v.0 + ops));
        if let Op::Shuffle(_, _, mask) = &mut op {
            *mask += masks;
        }
        ir.ops.push(op);
    }
}

/// The whole block that a list of words means.
pub fn translate(table: &[Block], words: &[u32], limit: u32, ir: &mut Block) {
    let mut pc = 0u32;
    for word in words.iter().take(limit as usize) {
        ir.insn(pc);
        ir.insns += 1;
        ir.len_bytes += 4;
        let (low, r) = ((word & 0xffff) as usize, word >> 8 & 7);
        let here = i64::from(pc);
        pc += 4;
        let next = i64::from(pc);
        let distance = here + i64::from(*word as u16 as i16) * 4;
        match word >> 28 {
            1 if low < table.len() => {
                let base = ir.ops.len() as u32;
                append(ir, &table[low]);
                ir.end = table[low].end.map(|end| match end {
                    Terminal::Jump(d) => Terminal::Jump(here + d),
                    Terminal::Branch(c, d, e) => Terminal::Branch(ir::Val(c.0 + base), here + d, here + e),
                    Terminal::Indirect(to) => Terminal::Indirect(ir::Val(to.0 + base)),
                    Terminal::Resync(d) => Terminal::Resync(here + d),
                    Terminal::Dispatch => Terminal::Dispatch,
                });
            }
            2 => {
                ir.call(H_HALT, &[]);
                ir.end(Terminal::Resync(next));
            }
            3 => {}
            4 => {
                let x = ir.get(X[r as usize]);
                let sum = ir.add_imm(Ty::I64, x, u64::from(*word as u8));
                ir.set(X[r as usize], sum);
            }
            5 => ir.end(Terminal::Jump(distance)),
            6 => {
                let slot = X[(word >> 16 & 7) as usize];
                let x = ir.get(slot);
                let less = ir.add_imm(Ty::I64, x, u64::MAX);
                ir.set(slot, less);
                let go = ir.cmp_imm(ir::Cond::Ne, Ty::I64, less, 0);
                ir.end(Terminal::Branch(go, distance, next));
            }
            7 => {
                let to = ir.get(X[(word & 7) as usize]);
                ir.end(Terminal::Indirect(to));
            }
            8 => {
                let (value, va) = (ir.get(Slot(X[r as usize].0, Ty::I32)), ir.get(X[(word & 7) as usize]));
                ir.store(Ty::I32, va, value, ir::Mem::plain(0));
            }
            9 => {
                let (a, b) = (ir.get(X[0]), ir.get(X[1]));
                ir.call(HelperId(low as u16), &[a, b]);
                ir.end(Terminal::Resync(next));
            }
            _ => {
                let three = ir.imm64(3);
                ir.call(FAULT_IF, &[three]);
            }
        }
        if ir.end.is_some() {
            return;
        }
    }
    ir.end(Terminal::Jump(pc.into()));
}

impl Frontend for Toy {
    type Cpu = Cpu;
    type Exception = Exception;
    const NAME: &'static str = "toy";
    const PC: Slot = Slot(64, Ty::I64);
    const MMU_REGIMES: usize = 2;

    fn names(&self) -> Names<'static> {
        names()
    }
    fn helpers(&self) -> &'static [Helper<Self>] {
        &HELPERS
    }
    fn cpu(&self, wiring: &Wiring, _: Arc<dyn Fn() + Send + Sync>) -> Result<Cpu, AccelError> {
        Ok(Cpu {
            regs: Regs::default(),
            space: 0,
            pages: BTreeMap::new(),
            taken: Vec::new(),
            vector: 0,
            irq_enabled: false,
            irqs: Arc::default(),
            pins: wiring.pins.clone(),
            acknowledge: false,
            polls: 0,
            walks: 0,
        })
    }
    fn reset(&self, env: &mut Env<Self>, _: Option<&BootRegs>) {
        env.cpu.regs = Regs::default();
    }
    fn key(&self, cpu: &Cpu) -> Key {
        Key { pc: Gva(cpu.regs.pc), mode: 0, space: cpu.space }
    }
    fn translate(&self, _: u64, code: &[u8], limit: u32, ir: &mut Block) {
        self.translations.fetch_add(1, Ordering::Relaxed);
        let words: Vec<u32> = code.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect();
        translate(&self.table.read().unwrap(), &words, limit, ir);
    }
    fn walk(&self, env: &mut Env<Self>, gva: Gva, intent: Intent, _: u8) -> Result<Translation, Exception> {
        let cpu = &mut env.cpu;
        cpu.walks += 1;
        let found = cpu.pages.iter().rev().find(|((base, space), page)| {
            gva.0 >= *base && gva.0 - base < 1 << page.log2 && space.is_none_or(|s| s == cpu.space)
        });
        let (base, page) = found.map_or((gva.0 & !0xfff, Page::plain(gva.0 & !0xfff)), |((b, _), p)| (*b, *p));
        let (read, write, execute) = (page.rwx & 4 != 0, page.rwx & 2 != 0, page.rwx & 1 != 0);
        let allowed = match intent {
            Intent::Read => read,
            Intent::Write => write,
            Intent::Fetch => execute,
        };
        if !allowed {
            return Err((Kind::Fault(intent), gva.0));
        }
        Ok(Translation {
            gpa: Gpa(page.gpa + (gva.0 - base)),
            page_log2: page.log2,
            read,
            write,
            execute,
            global: page.space.is_none(),
            space: page.space.unwrap_or(0),
            strict: page.strict,
            code_mode: 0,
        })
    }
    fn fetch_regime(&self, _: &Cpu) -> u8 {
        0
    }
    fn space(&self, cpu: &Cpu) -> u32 {
        cpu.space
    }
    fn misaligned(&self, _: &mut Env<Self>, gva: Gva, intent: Intent, _: u8) -> Exception {
        (Kind::Misaligned(intent), gva.0)
    }
    fn bus_error(&self, _: &mut Env<Self>, gva: Gva, _: Gpa, intent: Intent, _: u8) -> Exception {
        (Kind::Bus(intent), gva.0)
    }
    fn take(&self, env: &mut Env<Self>, (kind, address): Exception) {
        let pc = env.pc();
        if env.cpu.taken.len() < 1000 {
            env.cpu.taken.push((kind, pc, address));
        }
        match env.cpu.vector {
            0 => env.halt(),
            vector => env.set_pc(vector),
        }
    }
    fn poll(&self, env: &mut Env<Self>) {
        env.cpu.polls += 1;
    }
    fn interrupt(&self, env: &mut Env<Self>, pins: u32) -> bool {
        let take = pins & 1 != 0 && env.cpu.irq_enabled;
        if take {
            env.cpu.irq_enabled = false;
            if env.cpu.acknowledge {
                env.cpu.pins.set_pin(0, false);
            }
            env.cpu.irqs.fetch_add(1, Ordering::AcqRel);
            let vector = env.cpu.vector;
            env.set_pc(vector);
        }
        take
    }
    fn wakes(&self, _: &Env<Self>, pins: u32) -> bool {
        pins & 1 != 0
    }
    fn regs(&self) -> Vec<(&'static str, u32)> {
        vec![("pc", 64)]
    }
    fn reg(&self, cpu: &Cpu, _: usize) -> u128 {
        cpu.regs.pc.into()
    }
    fn set_reg(&self, cpu: &mut Cpu, _: usize, value: u128) {
        cpu.regs.pc = value as u64;
    }
    fn save(&self, _: &Cpu) -> Vec<u8> {
        Vec::new()
    }
    fn load(&self, _: &mut Env<Self>, _: &[u8]) -> Result<(), BadState> {
        Ok(())
    }
    fn disassemble(&self, _: Gva, code: &[u8]) -> Vec<String> {
        code.chunks(4).map(|w| format!("{w:02x?}")).collect()
    }
}

struct NoEntropy;
impl vm::entropy::Entropy for NoEntropy {
    fn fill(&self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

/// A device that keeps 8-byte registers and remembers every access.
#[derive(Default)]
pub struct Recorder {
    pub cells: Mutex<BTreeMap<u64, u64>>,
    pub seen: Mutex<Vec<(bool, u64, u8, u64)>>,
}

impl MmioPort for Recorder {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        if at.offset >= 0x800 {
            return Err(BusError::BadOffset);
        }
        let value = self.cells.lock().unwrap().get(&at.offset).copied().unwrap_or(0);
        let value = value & (u64::MAX >> (64 - 8 * u32::from(at.width)));
        self.seen.lock().unwrap().push((false, at.offset, at.width, value));
        Ok(value)
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        if at.offset >= 0x800 {
            return Err(BusError::BadOffset);
        }
        let value = value & (u64::MAX >> (64 - 8 * u32::from(at.width)));
        self.cells.lock().unwrap().insert(at.offset, value);
        self.seen.lock().unwrap().push((true, at.offset, at.width, value));
        Ok(())
    }
}

/// How code is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Interpreter,
    /// Template code after so many runs.
    Template(u32),
    /// Template code after the first run, optimized on the spot after so many.
    Mixed(u32),
    /// Template code after the first run, optimized by the thread soon after.
    MixedBackground,
    /// Template code at once, traces after so many runs.
    Traced(u32),
    /// The same, and optimized on the spot after so many runs more.
    TracedMixed(u32, u32),
    /// Template code into very little memory.
    SmallTemplate,
    /// Optimized on the spot after so many runs.
    Compiled(u32),
    /// Compiled by the thread after so many runs.
    Background(u32),
    /// Compiled into very little code memory.
    Small,
    /// The same by the thread.
    SmallBackground,
    /// All tiers by turns, as the seed says, optimized on the spot.
    Stress(u64),
    /// The same by the thread.
    StressBackground(u64),
    /// The same into very little memory.
    SmallStress(u64),
}

impl Tier {
    fn seed(self) -> Option<u64> {
        match self {
            Tier::Stress(seed) | Tier::StressBackground(seed) | Tier::SmallStress(seed) => Some(seed),
            _ => None,
        }
    }

    /// Whether code is thrown away without need.
    pub fn is_stress(self) -> bool {
        self.seed().is_some()
    }
}

pub const TIERS: [Tier; 17] = [
    Tier::Interpreter,
    Tier::Template(0),
    Tier::Template(1),
    Tier::Template(3),
    Tier::SmallTemplate,
    Tier::Mixed(3),
    Tier::MixedBackground,
    Tier::Traced(2),
    Tier::TracedMixed(2, 5),
    Tier::Compiled(1),
    Tier::Compiled(3),
    Tier::Background(1),
    Tier::Small,
    Tier::SmallBackground,
    Tier::Stress(1),
    Tier::StressBackground(2),
    Tier::SmallStress(3),
];

/// A compiler that tests can look into.
struct Shown(Arc<Cranelift<Toy>>);
impl Compiler<Toy> for Shown {
    fn request(&self, shared: &Arc<Shared<Toy>>, block: Arc<tcg::cache::Block>, around: Around) {
        self.0.request(shared, block, around);
    }
    fn free(&self, entries: &[u64]) {
        self.0.free(entries);
    }
    fn entry(&self) -> u64 {
        self.0.entry()
    }
    fn stats(&self) -> (u64, u64) {
        self.0.stats()
    }
    fn memory(&self) -> tcg::code_memory::Usage {
        self.0.memory()
    }
}

pub struct Machine {
    pub tier: Tier,
    pub compiler: Option<Arc<Cranelift<Toy>>>,
    pub tcg: Tcg<Toy>,
    pub vcpu: TcgVcpu<Toy>,
    pub bus: Arc<AddressSpace>,
    pub ram: Arc<Ram>,
    pub ram_id: MappingId,
    pub rom: Arc<Ram>,
    pub pins: Arc<Pins>,
    pub device: Arc<Recorder>,
}

pub fn mapping(name: &str, gpa: u64, len: u64, backing: Backing) -> Mapping {
    Mapping { name: name.into(), gpa: Gpa(gpa), len, priority: 0, backing }
}

/// What a vCPU is connected to.
pub fn wiring(id: u32, bus: &Arc<AddressSpace>, pins: &Arc<Pins>) -> Wiring {
    Wiring {
        id,
        model: String::new(),
        bus: bus.clone(),
        ports: AddressSpace::new(),
        sysregs: SysregBus::default(),
        pins: pins.clone(),
        outputs: Vec::new(),
        timers: Timers::new(Arc::new(ManualClock::new(0))),
        power: Power::default(),
        entropy: Arc::new(NoEntropy),
        boot: None,
    }
}

impl Machine {
    pub fn new(tier: Tier) -> Machine {
        // Runs before templates and before optimization, bytes of code memory, and whether a thread optimizes.
        let (template_after, compile_after, bytes, background) = match tier {
            Tier::Interpreter => (None, None, 0, false),
            Tier::Template(n) => (Some(n), None, 16 << 20, false),
            Tier::Mixed(n) => (Some(0), Some(n), 16 << 20, false),
            Tier::MixedBackground => (Some(0), Some(2), 16 << 20, true),
            Tier::Traced(_) => (Some(0), None, 16 << 20, false),
            Tier::TracedMixed(n, m) => (Some(0), Some(n + m), 16 << 20, false),
            Tier::SmallTemplate => (Some(0), None, 16 << 10, false),
            Tier::Compiled(n) => (None, Some(n), 16 << 20, false),
            Tier::Background(n) => (None, Some(n), 16 << 20, true),
            Tier::Small => (None, Some(1), 64 << 10, false),
            Tier::SmallBackground => (None, Some(1), 64 << 10, true),
            Tier::Stress(_) => (Some(0), Some(1), 16 << 20, false),
            Tier::StressBackground(_) => (Some(0), Some(1), 16 << 20, true),
            Tier::SmallStress(_) => (Some(0), Some(1), 64 << 10, true),
        };
        let trace_after = match tier {
            Tier::Traced(n) | Tier::TracedMixed(n, _) => Some(n),
            Tier::SmallTemplate => Some(3),
            tier if tier.is_stress() => Some(1),
            _ => None,
        };
        let tiers = Tiers { template_after, trace_after, compile_after, synchronous: !background };
        let template = template_after.map(|_| Template::new(bytes).unwrap());
        let memory = compile_after.map(|_| (bytes, background));
        let toy = Toy { table: RwLock::default(), translations: AtomicU64::new(0) };
        let compiler = memory.map(|(bytes, background)| Arc::new(Cranelift::<Toy>::new(bytes, background).unwrap()));
        let shown = compiler.clone().map(|c| Box::new(Shown(c)) as Box<dyn Compiler<Toy>>);
        let mut tcg = Tcg::new(toy, tiers, template, shown);
        if let Some(seed) = tier.seed() {
            tcg.set_stress(seed);
        }
        let bus = AddressSpace::new();
        let (ram, rom) = (Ram::new(RAM_SIZE).unwrap(), Ram::new(0x1000).unwrap());
        let device = Arc::new(Recorder::default());
        let ram_id = bus.map(mapping("ram", 0, RAM_SIZE, Backing::Ram { ram: ram.clone(), offset: 0 })).unwrap();
        let port = Backing::Mmio { port: device.clone(), window: 0, offset: 0 };
        bus.map(mapping("device", MMIO, 0x1000, port)).unwrap();
        bus.map(mapping("rom", ROM, 0x1000, Backing::Rom { ram: rom.clone(), offset: 0, writes: None })).unwrap();
        let pins = Pins::new();
        let vcpu = tcg.vcpu_of(wiring(0, &bus, &pins)).unwrap();
        Machine { tier, compiler, tcg, vcpu, bus, ram, ram_id, rom, pins, device }
    }

    pub fn cpu(&mut self) -> &mut Cpu {
        &mut self.vcpu.env.cpu
    }

    /// Parses snippets into the table.
    pub fn table(&self, snippets: &[&str]) {
        let parsed = snippets.iter().map(|text| ir::parse(text, names()).unwrap_or_else(|e| panic!("{e}\n{text}")));
        *self.tcg.shared().frontend.table.write().unwrap() = parsed.collect();
    }

    /// Writes instructions, as a device would.
    pub fn code(&self, at: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.bus.write(Gpa(at), &bytes).unwrap();
    }

    /// Runs from `pc` until the CPU halts.
    pub fn run_from(&mut self, pc: u64) {
        self.start(pc);
        assert_eq!(self.vcpu.run(Some(1_000_000)).unwrap(), Stop::Idle, "at {:#x}", self.cpu().regs.pc);
    }

    /// Wakes the CPU and sets its program counter.
    pub fn start(&mut self, pc: u64) {
        let pages = std::mem::take(&mut self.cpu().pages);
        let regs = self.cpu().regs;
        self.vcpu.reset();
        let cpu = self.cpu();
        cpu.pages = pages;
        cpu.regs = regs;
        cpu.regs.pc = pc;
        cpu.taken.clear();
    }

    /// Gives a compiler in the background time for a block more than the `before` that it had compiled.
    pub fn await_compiler(&self, before: u64) {
        let Some(compiler) =
            self.compiler.as_ref().filter(|_| matches!(self.tier, Tier::Background(_) | Tier::SmallBackground))
        else {
            return;
        };
        let start = Instant::now();
        while compiler.stats().0 == before && start.elapsed() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
    }

    /// Blocks compiled so far.
    pub fn compiled(&self) -> u64 {
        let template = self.tcg.shared().template().map_or(0, |t| t.stats().0);
        self.compiler.as_ref().map_or(0, |c| c.stats().0) + template
    }

    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bus.read(Gpa(at), &mut bytes).unwrap();
        bytes
    }
}

/// A generator of pseudo-random numbers (xorshift64*).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
    /// Mostly a value at some edge.
    pub fn edge(&mut self) -> u64 {
        const EDGES: [u64; 18] = [
            0,
            1,
            2,
            3,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            i64::MAX as u64,
            1 << 63,
            u64::MAX,
            u64::MAX - 1,
        ];
        if self.one_in(3) { self.next() } else { self.pick(&EDGES) }
    }
}
