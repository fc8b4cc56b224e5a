//! The state of a processor: registers first, in the order that slots give them, then the system's, then its wires.

use crate::model::Model;
use crate::msr::Msrs;
use crate::segment::{Attributes, CS, Segment, Table};
use crate::wires::Wires;
use serde::{Deserialize, Serialize};
use std::mem::offset_of;
use tcg::{Slot, Ty};

/// General-purpose registers, numbered as instructions encode them.
pub const RAX: usize = 0;
pub const RCX: usize = 1;
pub const RDX: usize = 2;
pub const RBX: usize = 3;
pub const RSP: usize = 4;
pub const RBP: usize = 5;
pub const RSI: usize = 6;
pub const RDI: usize = 7;

/// One register of the x87 stack: sign and exponent in the low 16 bits of `exponent`. An MMX register is its `mantissa`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct X87 {
    pub mantissa: u64,
    pub exponent: u64,
}

/// One processor. Translated code reaches the first 256 bytes by shorter instructions.
#[repr(C, align(16))]
pub struct Cpu {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// The linear address of the instruction: the base of CS plus RIP.
    pub pc: u64,
    /// What the status flags follow from, see [`crate::flags`].
    pub result: u64,
    pub adjust: u64,
    pub cf: u64,
    pub of: u64,
    /// The other flags by their bits in RFLAGS.
    pub eflags: u64,
    /// Bases of the segments ES, CS, SS, DS, FS and GS.
    pub bases: [u64; 6],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// Upper halves of YMM0 to YMM15.
    pub ymm_high: [u128; 16],
    /// R0 to R7 of the x87 unit: not in the order of the stack, and so MM0 to MM7.
    pub x87: [X87; 8],
    /// Their limits in bytes, at most 2^32 - 1.
    pub limits: [u64; 6],
    /// Their selectors.
    pub selectors: [u64; 6],
    /// Attributes of the segments.
    pub attributes: [Attributes; 6],
    /// Current privilege level.
    pub cpl: u8,
    /// Interrupts (and for MOV SS debug exceptions) wait for one more instruction.
    pub shadow: Shadow,
    pub gdtr: Table,
    pub idtr: Table,
    pub ldtr: Segment,
    pub tr: Segment,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub xcr0: u64,
    /// DR0 to DR3, two that do not exist, DR6 and DR7.
    pub dr: [u64; 8],
    /// Control, status and tag words of the x87 unit and what it executed last.
    pub fpu: Fpu,
    pub mxcsr: u32,
    /// Flags that the lower half of an operation on 256 bits has raised, until the upper half is done.
    pub half_flags: u32,
    pub msr: Msrs,
    /// In system-management mode.
    pub smm: bool,
    /// A non-maskable interrupt is being handled: others wait for IRET.
    pub nmi_blocked: bool,
    /// Bits of [`crate::wiring::event`] that were taken from the APIC and have not been served.
    pub events: u64,
    /// Levels of the pins when they were looked at last.
    pub pins: u32,
    /// Stands still until INIT: reset, or shut down by a triple fault.
    pub stopped: Stopped,
    /// A debug exception that is due after this instruction, as bits of DR6.
    pub pending_debug: u64,
    /// The mode bits that translation depends on, kept up to date by [`Cpu::update_mode`].
    pub mode: u64,
    /// Whether code of level 0 may have executed pages of one address space only.
    pub local_kernel_code: bool,
    /// What the processor is.
    pub model: Model,
    /// Connections to the machine.
    pub wires: Wires,
}

/// What the last instruction keeps away from the next one (SDM vol. 3A, 6.8.3 "Masking Exceptions and Interrupts When
/// Switching Stacks").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shadow {
    #[default]
    None,
    /// STI: maskable interrupts.
    Sti,
    /// MOV SS and POP SS: interrupts and debug exceptions.
    MovSs,
}

/// Why a processor stands still, other than HLT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stopped {
    #[default]
    No,
    /// Waits for a start-up message (SIPI), as all but the first processor do after reset.
    WaitForSipi,
    /// A triple fault: only reset or INIT help.
    Shutdown,
}

/// The x87 unit but for its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    pub control: u16,
    /// Status word without TOP, which is `top`.
    pub status: u16,
    /// The register that is ST(0).
    pub top: u8,
    /// Registers that are empty, bit n for Rn.
    pub empty: u8,
    /// Opcode, address and operand of the last instruction.
    pub opcode: u16,
    pub code_selector: u16,
    pub code_offset: u64,
    pub data_selector: u16,
    pub data_offset: u64,
}

impl Default for Fpu {
    /// The state after FNINIT.
    fn default() -> Self {
        Fpu {
            control: 0x37f,
            status: 0,
            top: 0,
            empty: 0xff,
            opcode: 0,
            code_selector: 0,
            code_offset: 0,
            data_selector: 0,
            data_offset: 0,
        }
    }
}

macro_rules! slots {
    ($($name:ident: $field:ident),* $(,)?) => { $(
        #[doc = concat!("The slot of `", stringify!($field), "`.")]
        pub const $name: Slot = Slot(offset_of!(Cpu, $field) as u16, Ty::I64);
    )* };
}
slots! { PC: pc, RESULT: result, ADJUST: adjust, CF: cf, OF: of, EFLAGS: eflags }

/// The slot of general-purpose register `n`.
pub const fn gpr(n: usize) -> Slot {
    Slot((offset_of!(Cpu, gpr) + n * 8) as u16, Ty::I64)
}
/// The slot of XMM`n`.
pub const fn xmm(n: usize) -> Slot {
    Slot((offset_of!(Cpu, xmm) + n * 16) as u16, Ty::V128)
}
/// The slot of the upper half of YMM`n`.
pub const fn ymm_high(n: usize) -> Slot {
    Slot((offset_of!(Cpu, ymm_high) + n * 16) as u16, Ty::V128)
}
/// The slot of MM`n`.
pub const fn mm(n: usize) -> Slot {
    Slot((offset_of!(Cpu, x87) + n * 16) as u16, Ty::I64)
}
/// The slot of sign and exponent of R`n`, which MMX instructions set to ones.
pub const fn x87_exponent(n: usize) -> Slot {
    Slot((offset_of!(Cpu, x87) + n * 16 + 8) as u16, Ty::I64)
}
/// The slot of the base of segment register `n`.
pub const fn base(n: usize) -> Slot {
    Slot((offset_of!(Cpu, bases) + n * 8) as u16, Ty::I64)
}
/// The slot of the limit of segment register `n`.
pub const fn limit(n: usize) -> Slot {
    Slot((offset_of!(Cpu, limits) + n * 8) as u16, Ty::I64)
}
/// The slot of the selector of segment register `n`.
pub const fn selector(n: usize) -> Slot {
    Slot((offset_of!(Cpu, selectors) + n * 8) as u16, Ty::I64)
}

macro_rules! indexed {
    ($($function:ident: $($name:literal)*;)*) => {
        /// Every slot by name.
        pub static SLOTS: &[(&str, Slot)] = &[
            ("pc", PC), ("result", RESULT), ("adjust", ADJUST), ("cf", CF), ("of", OF), ("eflags", EFLAGS),
            $($((concat!($name), indexed_slot(stringify!($function), $name)),)*)*
        ];
    };
}
/// The slot that a name in the table below stands for: its position among those of its function.
const fn indexed_slot(function: &str, name: &str) -> Slot {
    let number = position(name);
    match function.as_bytes()[0] {
        b'g' => gpr(number),
        b'x' if function.len() == 3 => xmm(number),
        b'x' => x87_exponent(number),
        b'y' => ymm_high(number),
        b'm' => mm(number),
        b'b' => base(number),
        b'l' => limit(number),
        _ => selector(number),
    }
}
/// The number of a register by its name: the digits at its end, or its place in the encoding.
const fn position(name: &str) -> usize {
    const NAMES: [&str; 14] =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "es", "cs", "ss", "ds", "fs", "gs"];
    let bytes = name.as_bytes();
    let mut n = 0;
    while n < NAMES.len() {
        if starts_with(bytes, NAMES[n].as_bytes()) {
            return if n < 8 { n } else { n - 8 };
        }
        n += 1;
    }
    let (mut value, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at].is_ascii_digit() {
            value = value * 10 + (bytes[at] - b'0') as usize;
        }
        at += 1;
    }
    value
}
const fn starts_with(bytes: &[u8], start: &[u8]) -> bool {
    let mut at = 0;
    while at < start.len() {
        if at >= bytes.len() || bytes[at] != start[at] {
            return false;
        }
        at += 1;
    }
    true
}
indexed! {
    gpr: "rax" "rcx" "rdx" "rbx" "rsp" "rbp" "rsi" "rdi" "r8" "r9" "r10" "r11" "r12" "r13" "r14" "r15";
    xmm: "xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7"
         "xmm8" "xmm9" "xmm10" "xmm11" "xmm12" "xmm13" "xmm14" "xmm15";
    ymm_high: "yh0" "yh1" "yh2" "yh3" "yh4" "yh5" "yh6" "yh7" "yh8" "yh9" "yh10" "yh11" "yh12" "yh13" "yh14" "yh15";
    mm: "mm0" "mm1" "mm2" "mm3" "mm4" "mm5" "mm6" "mm7";
    x87_exponent: "exp0" "exp1" "exp2" "exp3" "exp4" "exp5" "exp6" "exp7";
    base: "es_base" "cs_base" "ss_base" "ds_base" "fs_base" "gs_base";
    limit: "es_limit" "cs_limit" "ss_limit" "ds_limit" "fs_limit" "gs_limit";
    selector: "es" "cs" "ss" "ds" "fs" "gs";
}

impl Cpu {
    /// A processor as after reset.
    pub fn new(model: Model, wires: Wires) -> Cpu {
        let mut cpu = Cpu {
            gpr: [0; 16],
            xmm: [0; 16],
            ymm_high: [0; 16],
            x87: Default::default(),
            pc: 0,
            result: 0,
            adjust: 0,
            cf: 0,
            of: 0,
            eflags: 0,
            bases: [0; 6],
            limits: [0; 6],
            selectors: [0; 6],
            attributes: Default::default(),
            cpl: 0,
            shadow: Shadow::None,
            gdtr: Table::default(),
            idtr: Table::default(),
            ldtr: Segment::default(),
            tr: Segment::default(),
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            xcr0: 1,
            dr: [0; 8],
            fpu: Fpu::default(),
            mxcsr: 0,
            half_flags: 0,
            msr: Msrs::default(),
            smm: false,
            nmi_blocked: false,
            events: 0,
            pins: 0,
            stopped: Stopped::No,
            pending_debug: 0,
            mode: 0,
            local_kernel_code: false,
            model,
            wires,
        };
        cpu.reset();
        cpu
    }

    /// The state after RESET (SDM vol. 3A, table 9-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or
    /// INIT").
    pub fn reset(&mut self) {
        self.xmm = [0; 16];
        self.ymm_high = [0; 16];
        self.x87 = Default::default();
        self.fpu = Fpu { control: 0x40, ..Fpu::default() };
        self.mxcsr = 0x1f80;
        self.xcr0 = 1;
        self.msr = Msrs::at_reset(&self.model, self.wires.id);
        self.smm = false;
        self.nmi_blocked = false;
        self.events = 0;
        self.local_kernel_code = false;
        self.init();
        self.cr0 = crate::control_regs::RESET_CR0;
        self.stopped = if self.wires.id == 0 { Stopped::No } else { Stopped::WaitForSipi };
        self.update_mode();
    }

    /// The state after INIT: as reset, but floating-point registers, most model-specific registers and CD and NW of CR0
    /// keep their values.
    pub fn init(&mut self) {
        use crate::control_regs::{CR0_CD, CR0_NW, RESET_CR0};
        self.gpr = [0; 16];
        self.gpr[RDX] = self.model.signature.into();
        self.set_status_flags(0);
        self.eflags = 0;
        let data = Segment::real(0, Attributes::REAL_DATA);
        for n in 0..6 {
            self.selectors[n] = 0;
            self.attributes[n] = data.attributes;
            self.bases[n] = 0;
            self.limits[n] = data.limit.into();
        }
        self.selectors[CS] = 0xf000;
        self.bases[CS] = 0xffff_0000;
        self.attributes[CS] = Attributes::REAL_CODE;
        self.pc = 0xffff_fff0;
        self.cpl = 0;
        self.shadow = Shadow::None;
        self.gdtr = Table { base: 0, limit: 0xffff };
        self.idtr = self.gdtr;
        self.ldtr = Segment { limit: 0xffff, attributes: Attributes(0x82), ..Segment::default() };
        self.tr = Segment { limit: 0xffff, attributes: Attributes(0x8b), ..Segment::default() };
        self.cr0 = self.cr0 & (CR0_CD | CR0_NW) | RESET_CR0 & !(CR0_CD | CR0_NW);
        (self.cr2, self.cr3, self.cr4) = (0, 0, 0);
        self.msr.efer = 0;
        self.dr = [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400];
        self.pending_debug = 0;
        self.stopped = Stopped::No;
        self.update_mode();
    }

    /// What loaders of kernels expect: flat 32-bit protected mode without paging, CS 0x10 and all others 0x18.
    pub fn enter_flat(&mut self) {
        let flat =
            |selector, attributes| Segment { selector, attributes: Attributes(attributes), base: 0, limit: u32::MAX };
        self.cr0 =
            self.cr0 & !(crate::control_regs::CR0_CD | crate::control_regs::CR0_NW) | crate::control_regs::CR0_PE;
        for n in 0..6 {
            self.set_segment(n, if n == CS { flat(0x10, 0xc09b) } else { flat(0x18, 0xc093) });
        }
    }

    /// The instruction pointer.
    pub fn rip(&self) -> u64 {
        self.rip_of(self.pc)
    }

    /// The offset in CS of a linear address of code.
    pub fn rip_of(&self, pc: u64) -> u64 {
        let offset = pc.wrapping_sub(self.bases[CS]);
        if self.is_64bit() { offset } else { offset & 0xffff_ffff }
    }

    /// Sets the instruction pointer; CS must have been loaded before.
    pub fn set_rip(&mut self, rip: u64) {
        let pc = self.bases[CS].wrapping_add(rip);
        self.pc = if self.is_64bit() { pc } else { pc & 0xffff_ffff };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_where_their_names_say() {
        let by_name = |name: &str| SLOTS.iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(by_name("rdi"), gpr(RDI));
        assert_eq!(by_name("r15"), gpr(15));
        assert_eq!(by_name("xmm11"), xmm(11));
        assert_eq!(by_name("yh3"), ymm_high(3));
        assert_eq!(by_name("mm7"), mm(7));
        assert_eq!(by_name("exp2"), x87_exponent(2));
        assert_eq!(by_name("gs_base"), base(crate::segment::GS));
        assert_eq!(by_name("cs_limit"), limit(CS));
        assert_eq!(by_name("ds"), selector(crate::segment::DS));
        let mut cells: Vec<u16> = SLOTS.iter().map(|(_, slot)| slot.0).collect();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!(cells.len(), SLOTS.len());
    }

    #[test]
    fn reset_values() {
        let cpu = Cpu::for_tests();
        assert_eq!((cpu.pc, cpu.rip(), cpu.selectors[CS]), (0xffff_fff0, 0xfff0, 0xf000));
        assert_eq!((cpu.rflags(), cpu.cr0, cpu.dr[6], cpu.dr[7]), (2, 0x6000_0010, 0xffff_0ff0, 0x400));
        assert_eq!((cpu.fpu.control, cpu.mxcsr), (0x40, 0x1f80));
    }
}
