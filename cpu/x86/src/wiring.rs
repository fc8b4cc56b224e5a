//! How a board wires a processor: the numbers of its inputs, and the registers that devices have on its register bus
//! beside the model-specific ones.

use vm::sysreg::SysregId;

/// Input: INTR, a maskable interrupt. Its vector is read from [`INTACK`].
pub const PIN_INTR: u32 = 0;
/// Inputs that are high while [`EVENTS`] has something: a non-maskable interrupt, a system-management interrupt, INIT, a
/// start-up message.
pub const PIN_NMI: u32 = 1;
pub const PIN_SMI: u32 = 2;
pub const PIN_INIT: u32 = 3;
pub const PIN_SIPI: u32 = 4;
/// Input: A20M, high while bit 20 of addresses is forced to zero.
pub const PIN_A20M: u32 = 5;

/// Output: high in system-management mode (SMIACT#).
pub const OUT_SMIACT: usize = 0;
/// Output: FERR#, an unmasked x87 exception with CR0.NE clear.
pub const OUT_FERR: usize = 1;
/// Number of outputs.
pub const OUTPUTS: usize = 2;

/// The interrupt acknowledge cycle: a read takes the interrupt and gives its vector.
pub const INTACK: SysregId = 0xffff_0000;
/// A read takes what waits: [`event`].
pub const EVENTS: SysregId = 0xffff_0004;
/// CR8, the task priority.
pub const CR8: SysregId = 0xffff_0008;
/// The deadline of the APIC's timer as virtual time in nanoseconds, 0 for none.
pub const TSC_DEADLINE_NS: SysregId = 0xffff_000c;

/// Bits of [`EVENTS`].
pub mod event {
    pub const NMI: u64 = 1 << 0;
    pub const SMI: u64 = 1 << 1;
    /// Comes before the start-up message of the same read.
    pub const INIT: u64 = 1 << 2;
    /// A start-up message; its vector is in bits 15:8.
    pub const SIPI: u64 = 1 << 3;
}

/// The number under which a loader sets GDTR ([`vm::vcpu::BootRegs`]): the base, and the limit from bit 48 on.
pub const BOOT_GDTR: u8 = 16;
