//! The mode bits of a block's key: every piece of state that changes what an instruction is translated to.

use crate::control_regs::{CR0_AM, CR0_EM, CR0_MP, CR0_TS, CR4_LA57, CR4_OSFXSR, CR4_OSXSAVE, CR4_SMAP};
use crate::flags;
use crate::segment::{CS, SS, Segment};
use crate::state::{Cpu, Shadow};

macro_rules! mode {
    ($($(#[$doc:meta])* $get:ident $with:ident: $shift:literal, $width:literal;)*) => {
        impl Mode { $(
            $(#[$doc])*
            pub const fn $get(self) -> u64 { self.0 >> $shift & ((1 << $width) - 1) }
            $(#[$doc])*
            pub const fn $with(self, value: u64) -> Mode {
                Mode(self.0 & !(((1 << $width) - 1) << $shift) | (value & ((1 << $width) - 1)) << $shift)
            }
        )* }
    };
}

/// Mode bits, packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(pub u64);

/// How accesses through a segment register find their linear address.
pub mod class {
    /// Base 0, limit 4 GiB, or in 64-bit code none at all: the offset is the address.
    pub const FLAT: u64 = 0;
    /// A base, and a limit of 4 GiB or none: base plus offset.
    pub const BASED: u64 = 1;
    /// A limit of 64 KiB.
    pub const SMALL: u64 = 2;
    /// A helper looks.
    pub const CHECKED: u64 = 3;
}

mode! {
    /// Size of code: 0 for 16, 1 for 32, 2 for 64 bits.
    size with_size: 0, 2;
    /// Stack addresses have 32 bits. In 64-bit code, where they have 64 in any case, CR4.LA57: see [`Mode::la57`].
    big_stack with_big_stack: 2, 1;
    /// CPL is 3.
    user with_user: 3, 1;
    /// CR0.PE.
    protected with_protected: 4, 1;
    /// EFLAGS.VM.
    v86 with_v86: 5, 1;
    /// Supervisor accesses may reach user pages: CR4.SMAP is clear or EFLAGS.AC set. At level 3: alignment is checked.
    user_data with_user_data: 6, 1;
    /// EFLAGS.TF: one instruction, then a debug exception.
    step with_step: 7, 1;
    /// The instruction before has a shadow, which ends with this one.
    shadow with_shadow: 8, 1;
    /// x87 and MMX instructions raise #NM: CR0.EM or TS. (EM makes it #UD for MMX.)
    x87_trap with_x87_trap: 9, 1;
    /// CR0.EM.
    emulate with_emulate: 10, 1;
    /// WAIT raises #NM: CR0.MP and TS.
    wait_trap with_wait_trap: 11, 1;
    /// CR4.OSFXSR.
    sse with_sse: 12, 1;
    /// CR4.OSXSAVE, with XCR0 enabling AVX.
    avx with_avx: 13, 1;
    /// The host's floating-point unit does by default what MXCSR asks for: nearest rounding, all masked, no flushing.
    host_float with_host_float: 14, 1;
    /// Classes of ES, CS, SS, DS, FS and GS, two bits each.
    classes with_classes: 15, 12;
    /// The base of CS is not zero.
    based_code with_based_code: 27, 1;
    /// The limit of CS is less than 4 GiB, outside of 64-bit code.
    limited_code with_limited_code: 28, 1;
    /// Look at the limit of CS, instruction breakpoints and pending debug exceptions at every instruction.
    careful with_careful: 29, 1;
    /// Data or I/O breakpoints are set: accesses are compared with them.
    watch with_watch: 30, 1;
}

/// Rounding control, exception masks, DAZ and FTZ of MXCSR.
const MXCSR_CONTROL: u32 = 0xffc0;
const MXCSR_DEFAULT: u32 = 0x1f80;

impl Mode {
    /// Bits of code: 16, 32 or 64.
    pub const fn bits(self) -> u32 {
        16 << self.size()
    }
    /// Linear addresses of this 64-bit code have 57 bits.
    pub const fn la57(self) -> bool {
        self.size() == 2 && self.big_stack() != 0
    }
    /// Class of segment register `n`.
    pub const fn class(self, n: usize) -> u64 {
        self.classes() >> (2 * n) & 3
    }
}

/// How accesses through a segment outside of 64-bit code find their address.
fn class_of(segment: &Segment) -> u64 {
    let a = segment.attributes;
    let plain = a.present() && a.writable() && !a.expand_down();
    match (plain, segment.limit, segment.base) {
        (true, u32::MAX, 0) => class::FLAT,
        (true, u32::MAX, _) => class::BASED,
        (true, 0xffff, _) => class::SMALL,
        _ => class::CHECKED,
    }
}

impl Cpu {
    /// Whether accesses of the program must be aligned (SDM vol. 3A, 6.15 "Interrupt 17").
    pub fn checks_alignment(&self) -> bool {
        self.cpl == 3 && self.cr0 & CR0_AM != 0 && self.flag(flags::AC)
    }

    /// Recomputes the mode after a change of what it depends on.
    pub fn update_mode(&mut self) {
        let long = self.is_64bit();
        let code = self.segment(CS);
        let size = if long { 2 } else { code.attributes.big().into() };
        let classes = (0..6).fold(0, |all, n| {
            let class = match (long, n) {
                (true, 4..) => class::BASED,
                (true, _) => class::FLAT,
                // Outside of protected mode code can be read and written.
                (false, CS) if !self.has_descriptors() && code.limit == 0xffff => class::SMALL,
                (false, _) => class_of(&self.segment(n)),
            };
            all | class << (2 * n)
        });
        let cr0 = |bits: u64| u64::from(self.cr0 & bits != 0);
        let breakpoints = self.dr[7] & 0xff != 0;
        let kinds = (0..4).filter(|n| self.dr[7] >> (2 * n) & 3 != 0).map(|n| self.dr[7] >> (16 + 4 * n) & 3);
        let watch = breakpoints && kinds.clone().any(|kind| kind != 0);
        let stop = breakpoints && kinds.clone().any(|kind| kind == 0);
        self.mode = Mode::default()
            .with_size(size)
            .with_big_stack(if long { self.cr4 & CR4_LA57 != 0 } else { self.attributes[SS].big() }.into())
            .with_user((self.cpl == 3).into())
            .with_protected(self.is_protected().into())
            .with_v86(self.is_v86().into())
            .with_user_data(match self.cpl {
                3 => self.checks_alignment().into(),
                _ => (self.cr4 & CR4_SMAP == 0 || self.flag(flags::AC)).into(),
            })
            .with_step(self.flag(flags::TF).into())
            .with_shadow((self.shadow != Shadow::None).into())
            .with_x87_trap(cr0(CR0_EM | CR0_TS))
            .with_emulate(cr0(CR0_EM))
            .with_wait_trap((self.cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS).into())
            .with_sse((self.cr4 & CR4_OSFXSR != 0).into())
            .with_avx((self.cr4 & CR4_OSXSAVE != 0 && self.xcr0 & 6 == 6).into())
            .with_host_float((self.mxcsr & MXCSR_CONTROL == MXCSR_DEFAULT).into())
            .with_classes(classes)
            .with_based_code((!long && code.base != 0).into())
            .with_limited_code((!long && code.limit != u32::MAX).into())
            .with_careful((stop || self.pending_debug != 0).into())
            .with_watch(watch.into())
            .0;
    }
}
