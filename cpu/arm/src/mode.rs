//! The mode bits of a block's key: every piece of state that changes what an instruction is translated to.

use crate::state::Cpu;

/// DN, FZ and RMode of FPCR.
const HOST_FPCR: u64 = 1 << 25 | 1 << 24 | 3 << 22;

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

mode! {
    /// Exception level.
    el with_el: 0, 2;
    /// Not zero when floating-point and SIMD instructions trap (CPACR_EL1.FPEN).
    fp_trap with_fp_trap: 2, 1;
    /// Data accesses are big-endian (SCTLR_EL1.EE or E0E).
    big_endian with_big_endian: 3, 1;
    /// Every access must be aligned (SCTLR_EL1.A, or the MMU is off).
    align with_align: 4, 1;
    /// PSTATE.PAN.
    pan with_pan: 5, 1;
    /// PSTATE.UAO: unprivileged loads and stores are like others.
    uao with_uao: 6, 1;
    /// Top byte of instruction addresses of the lower and upper half ignored (TCR_EL1.TBIn without TBIDn), bit 0 and 1.
    tbi with_tbi: 7, 2;
    /// PSTATE.BTYPE at the start of the block.
    btype with_btype: 9, 2;
    /// The page is guarded (its descriptor's GP bit); set by the engine from the translation.
    guarded with_guarded: 11, 1;
    /// PSTATE.SS with software step enabled: one instruction, then a Software Step exception.
    step with_step: 12, 2;
    /// SCTLR_EL1.EnIA, EnIB, EnDA, EnDB in bits 0 to 3.
    pauth with_pauth: 14, 4;
    /// PSTATE.IL: every instruction is an Illegal Execution state exception.
    il with_il: 18, 1;
    /// SCTLR_EL1.BT0 or BT1 for the level: PACIASP is no landing pad of a `BTYPE` 3 branch.
    bt with_bt: 19, 1;
    /// A guarded page was ever seen: indirect branches keep track of BTYPE. Deviation: until then SPSR_EL1.BTYPE of an
    /// interrupt between an indirect branch and its target reads as zero.
    bti with_bti: 21, 1;
    /// FPCR asks for what the host's floating-point unit does by default: RMode, FZ and DN are zero. (AHP and FZ16 concern
    /// half precision alone, which is never done by the host.)
    host_float with_host_float: 22, 1;
    /// EL1 uses SP_EL0 (PSTATE.SP is clear): it is not where it is else.
    shared_sp with_shared_sp: 23, 1;
    /// EL1 visits another address space ([`Cpu::is_visiting`]).
    visiting with_visiting: 24, 1;
    /// The program counter is no multiple of 4: its fetch is a PC alignment fault.
    pc_misaligned with_pc_misaligned: 20, 1;
}

impl Cpu {
    /// Recomputes the mode after a change of PSTATE or of a system register that it depends on.
    pub fn update_mode(&mut self) {
        let (p, sys) = (&self.pstate, &self.sys);
        let sctlr = sys.sctlr_el1;
        let bit = |n: u32| sctlr >> n & 1;
        let el0 = p.el == 0;
        let fpen = sys.cpacr_el1 >> 20 & 3;
        let fp_trap = match fpen {
            0 | 2 => true,
            1 => el0,
            _ => false,
        };
        let tcr = sys.tcr_el1;
        // TBI0 is bit 37, TBI1 38; TBID0 51, TBID1 52.
        let tbi = (tcr >> 37 & 3) & !(tcr >> 51 & 3);
        let stepping = sys.mdscr_el1 & 1 != 0 && self.step_allowed();
        let step = if stepping { 1 | u64::from(p.ss) << 1 } else { 0 };
        self.mode = Mode::default()
            .with_el(p.el.into())
            .with_fp_trap(fp_trap.into())
            .with_big_endian(if el0 { bit(24) } else { bit(25) })
            .with_align(bit(1) | (bit(0) ^ 1))
            .with_pan(p.pan.into())
            .with_uao(p.uao.into())
            .with_tbi(tbi)
            .with_step(step)
            .with_pauth(bit(31) | bit(30) << 1 | bit(27) << 2 | bit(13) << 3)
            .with_il(p.il.into())
            .with_bt(if el0 { bit(35) } else { bit(36) })
            .with_bti(self.guarded_seen.into())
            .with_visiting(self.is_visiting().into())
            .with_shared_sp((!el0 && !p.spsel).into())
            .with_host_float((self.fpcr & HOST_FPCR == 0).into())
            .0;
    }

    /// Whether debug exceptions can be taken from level `el` with PSTATE.D as given (D2.4 "Enabling debug exceptions"):
    /// from EL0 always, from EL1 with MDSCR_EL1.KDE and D clear.
    pub fn debug_exceptions_allowed(&self, el: u8, masked: bool) -> bool {
        !self.sys.oslar_locked() && (el == 0 || self.sys.mdscr_el1 >> 13 & 1 != 0 && !masked)
    }

    fn step_allowed(&self) -> bool {
        self.debug_exceptions_allowed(self.pstate.el, self.pstate.daif & 8 != 0)
    }
}
