//! How a board wires a processor: the numbers of its inputs, and the registers that devices have on its register bus
//! beside the model-specific ones.

use vm::sysreg::SysregId;

/// Input: INTR, a maskable interrupt. Its vector is read from [`INTACK`].
pub const PIN_INTR: u32 = 0;
/// Input: NMI; the rising edge counts.
pub const PIN_NMI: u32 = 1;
/// Input: SMI#; the rising edge counts.
pub const PIN_SMI: u32 = 2;
/// Input: INIT#; the rising edge counts.
pub const PIN_INIT: u32 = 3;
/// Input: a start-up message; the rising edge counts. Its vector is read from [`SIPI_VECTOR`].
pub const PIN_SIPI: u32 = 4;
/// Input: A20M#, high while bit 20 of addresses is forced to zero.
pub const PIN_A20M: u32 = 5;

/// Output: high in system-management mode (SMIACT#).
pub const OUT_SMIACT: usize = 0;
/// Output: FERR#, an unmasked x87 exception with CR0.NE clear.
pub const OUT_FERR: usize = 1;
/// Number of outputs.
pub const OUTPUTS: usize = 2;

/// The interrupt acknowledge cycle: a read takes the interrupt and gives its vector.
pub const INTACK: SysregId = 0xffff_0000;
/// Vector of the start-up message that came last.
pub const SIPI_VECTOR: SysregId = 0xffff_0001;
/// CR8, the task priority.
pub const CR8: SysregId = 0xffff_0008;
