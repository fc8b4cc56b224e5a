//! System registers.

/// System registers without a place of their own in [`Cpu`](crate::state::Cpu).
#[derive(Clone, Debug, Default)]
pub struct SystemRegisters {
    pub sctlr_el1: u64,
    pub cpacr_el1: u64,
    pub tcr_el1: u64,
    pub mdscr_el1: u64,
    pub oslsr_el1: u64,
}

impl SystemRegisters {
    /// Whether the OS lock is set (OSLSR_EL1.OSLK).
    pub fn oslar_locked(&self) -> bool {
        self.oslsr_el1 & 2 != 0
    }
}
