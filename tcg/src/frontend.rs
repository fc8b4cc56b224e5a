//! What an instruction set brings to the translator.

use crate::env::Env;
use crate::float::{FloatFlags, HostFloat};
use crate::ir::{Block, Names, Slot};
use vm::vcpu::{AccelError, BootRegs, Intent, Wiring};
use vm::{BadState, Gpa, Gva};

/// What a block is found by: its virtual address now, plus everything that changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The program counter.
    pub pc: Gva,
    /// Every mode bit that changes translation (exception level, endianness, instruction set state …).
    pub mode: u64,
    /// Names the address space that `pc` is looked up in (an ASID, say); 0 where code is the same in all of them.
    pub space: u32,
}

/// A page that a virtual address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Physical address of the byte asked for.
    pub gpa: Gpa,
    /// log2 of the size of the page or block that the tables map, at least 12.
    pub page_log2: u8,
    /// Loads are allowed.
    pub read: bool,
    /// Stores are allowed without further walks.
    pub write: bool,
    /// Fetches are allowed.
    pub execute: bool,
    /// Valid in every address space.
    pub global: bool,
    /// Address space it belongs to unless global.
    pub space: u32,
    /// Accesses must be aligned and of the width asked for, whatever the access says (memory typed as device).
    pub strict: bool,
    /// Bits for the front end that go into the mode of code fetched from the page.
    pub code_mode: u64,
}

/// A function that translated code calls.
pub enum Func<F: Frontend> {
    /// No argument.
    F0(extern "C" fn(&mut Env<F>) -> u64),
    /// One integer.
    F1(extern "C" fn(&mut Env<F>, u64) -> u64),
    /// Two integers.
    F2(extern "C" fn(&mut Env<F>, u64, u64) -> u64),
    /// Three integers.
    F3(extern "C" fn(&mut Env<F>, u64, u64, u64) -> u64),
    /// Four integers.
    F4(extern "C" fn(&mut Env<F>, u64, u64, u64, u64) -> u64),
    /// Three vectors and a constant, giving a vector; see [`Env::vector_args`].
    V(extern "C" fn(&mut Env<F>, u64)),
}

/// A helper: its function and what translated code must know of it.
pub struct Helper<F: Frontend> {
    /// Name in printed IR.
    pub name: &'static str,
    /// The function.
    pub func: Func<F>,
    /// Whether it reads guest registers that have slots.
    pub reads_slots: bool,
    /// Whether it writes guest registers that have slots.
    pub writes_slots: bool,
    /// Whether it may raise an exception ([`Env::raise`]).
    pub raises: bool,
    /// The host's operation that a call with this constant (a vector helper's, or an integer helper's last argument)
    /// amounts to, if there is one. Only for helpers that touch no slot and do not raise.
    pub host: Option<fn(imm: u32) -> Option<HostFloat>>,
    /// A function in the convention of C that gives in a vector register what this vector helper makes of its first two
    /// vectors, whatever the constant, if the host has one. Only for helpers that do nothing else.
    pub function: Option<fn() -> Option<usize>>,
}

impl<F: Frontend> Clone for Func<F> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<F: Frontend> Copy for Func<F> {}
impl<F: Frontend> Clone for Helper<F> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<F: Frontend> Copy for Helper<F> {}

impl<F: Frontend> Helper<F> {
    /// A helper that neither touches slots nor raises.
    pub const fn plain(name: &'static str, func: Func<F>) -> Self {
        Self { name, func, reads_slots: false, writes_slots: false, raises: false, host: None, function: None }
    }
    /// The same helper with the host's operation that its calls amount to.
    pub const fn with_host(mut self, host: fn(u32) -> Option<HostFloat>) -> Self {
        self.host = Some(host);
        self
    }
    /// The same helper with a function of vectors that does the same.
    pub const fn with_function(mut self, function: fn() -> Option<usize>) -> Self {
        self.function = Some(function);
        self
    }
    /// A helper that may raise but touches no slot.
    pub const fn raising(name: &'static str, func: Func<F>) -> Self {
        Self { name, func, reads_slots: false, writes_slots: false, raises: true, host: None, function: None }
    }
    /// A helper that may read and write every register and raise.
    pub const fn full(name: &'static str, func: Func<F>) -> Self {
        Self { name, func, reads_slots: true, writes_slots: true, raises: true, host: None, function: None }
    }
}

/// An instruction set. One value serves all vCPUs; each vCPU's own state is a [`Frontend::Cpu`].
pub trait Frontend: Send + Sync + Sized + 'static {
    /// The state of one vCPU: `repr(C)`, the slots first, then whatever helpers need.
    type Cpu: Send + 'static;
    /// An exception that an instruction raises.
    type Exception: Copy + Send + std::fmt::Debug + 'static;
    /// Name of the instruction set.
    const NAME: &'static str;
    /// The slot of the program counter.
    const PC: Slot;
    /// Slots whose values are always below 256, such as flags.
    const BYTE_SLOTS: &'static [Slot] = &[];
    /// Bytes of an instruction at most.
    const MAX_INSN: usize = 4;
    /// Where stores to code count for the very next instruction: the exception that stands for none, by which an instruction
    /// is started again. `None` where code must be synchronised first.
    const COHERENT_CODE: Option<Self::Exception> = None;
    /// Atomic accesses need not be aligned. One that is not may stop all other vCPUs.
    const SPLIT_LOCKS: bool = false;
    /// What nothing on the bus answers reads as ones, and stores to it are lost; else it is a [`bus_error`](Frontend::bus_error).
    const OPEN_BUS: bool = false;
    /// The guest's floating point is that of an x86-64 host bit for bit, NaNs and tiny results included, and it has a flag for
    /// denormal operands, which nothing but the operation itself may raise.
    const NATIVE_FLOAT: bool = false;
    /// Translation regimes that accesses can name, numbered from 0.
    const MMU_REGIMES: usize;

    /// Slots and helpers by name.
    fn names(&self) -> Names<'static>;
    /// The helpers, in order of their identifiers.
    fn helpers(&self) -> &'static [Helper<Self>];
    /// Makes the state of a vCPU, with its wires. It is reset before it runs.
    ///
    /// # Errors
    /// [`AccelError::UnknownModel`] and the like.
    fn cpu(&self, wiring: &Wiring, poll: std::sync::Arc<dyn Fn() + Send + Sync>) -> Result<Self::Cpu, AccelError>;
    /// Reset state, then what the loader wants.
    fn reset(&self, env: &mut Env<Self>, boot: Option<&BootRegs>);

    /// The key of the block at the program counter. `code_mode` bits are added by the engine.
    fn key(&self, cpu: &Self::Cpu) -> Key;
    /// Mode bits that follow from the program counter alone, such as its misalignment. They are added to the key's when
    /// code is translated.
    fn pc_mode(&self, _pc: Gva) -> u64 {
        0
    }
    /// States the meaning of the code at a block's start: at most `limit` (at least one) instructions, ending early at
    /// control flow and where `code` (the bytes to the end of the page) ends. Always sets the terminal; only if the code ends
    /// within the first instruction, the block stays empty, and the engine brings the bytes of the next page.
    fn translate(&self, mode: u64, code: &[u8], limit: u32, ir: &mut Block);
    /// Looks an address up in the guest's page tables, in regime `mmu`. May update access flags.
    ///
    /// # Errors
    /// The exception that the access raises.
    fn walk(&self, env: &mut Env<Self>, gva: Gva, intent: Intent, mmu: u8) -> Result<Translation, Self::Exception>;
    /// The regime of instruction fetches now.
    fn fetch_regime(&self, cpu: &Self::Cpu) -> u8;
    /// The address space of lower addresses now (its ASID): what non-global translations are tagged with.
    fn space(&self, cpu: &Self::Cpu) -> u32;
    /// Names the tables that code at `pc` is translated by, if they are the same in many of the address spaces that its keys
    /// name: two spaces of the same name find the same, as long as neither translates by other tables. `None` where that is
    /// not so, or is not worth to be known.
    fn code_root(&self, _cpu: &Self::Cpu, _pc: Gva) -> Option<u64> {
        None
    }
    /// The regimes that code may access memory in now, as bits. Translations of the others wait for their address space.
    fn regimes(&self, _cpu: &Self::Cpu) -> u8 {
        u8::MAX
    }
    /// The exception for a misaligned access.
    fn misaligned(&self, env: &mut Env<Self>, gva: Gva, intent: Intent, mmu: u8) -> Self::Exception;
    /// The exception for an access that nothing on the bus answers.
    fn bus_error(&self, env: &mut Env<Self>, gva: Gva, gpa: Gpa, intent: Intent, mmu: u8) -> Self::Exception;
    /// Adds flags that the host's floating-point unit has raised for the guest to the guest's own.
    fn add_float_flags(_cpu: &mut Self::Cpu, _flags: FloatFlags) {}
    /// Enters the handler of an exception that was raised by the instruction at the program counter.
    fn take(&self, env: &mut Env<Self>, exception: Self::Exception);
    /// Recomputes what depends on time (timers of the CPU) and drives its outputs.
    fn poll(&self, env: &mut Env<Self>);
    /// Takes a pending interrupt if the state allows one; `pins` are the levels of the inputs.
    fn interrupt(&self, env: &mut Env<Self>, pins: u32) -> bool;
    /// Whether something that came by the inputs waits in the state, so that [`interrupt`](Frontend::interrupt) is to be asked
    /// although all of them are low.
    fn waits(&self, _cpu: &Self::Cpu) -> bool {
        false
    }
    /// Whether a halted CPU wakes up with these levels, even if the interrupt is masked.
    fn wakes(&self, env: &Env<Self>, pins: u32) -> bool;

    /// Registers by name and width in bits, for debuggers.
    fn regs(&self) -> Vec<(&'static str, u32)>;
    /// Reads register `index` of [`regs`](Frontend::regs).
    fn reg(&self, cpu: &Self::Cpu, index: usize) -> u128;
    /// Writes register `index`.
    fn set_reg(&self, cpu: &mut Self::Cpu, index: usize, value: u128);
    /// The saved form of a vCPU's registers.
    fn save(&self, cpu: &Self::Cpu) -> Vec<u8>;
    /// Takes the saved form.
    ///
    /// # Errors
    /// When it makes no sense; nothing has changed then.
    fn load(&self, env: &mut Env<Self>, body: &[u8]) -> Result<(), BadState>;
    /// One line per instruction of `code` at `pc`.
    fn disassemble(&self, pc: Gva, code: &[u8]) -> Vec<String>;
}
