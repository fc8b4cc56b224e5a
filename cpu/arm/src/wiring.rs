//! How a board wires a processing element: the numbers of its interrupt inputs and of the lines that it drives.

/// Input: IRQ.
pub const PIN_IRQ: u32 = 0;
/// Input: FIQ.
pub const PIN_FIQ: u32 = 1;

/// Output: EL1 virtual timer.
pub const OUT_VIRTUAL_TIMER: usize = 0;
/// Output: EL1 physical timer (Non-secure).
pub const OUT_PHYSICAL_TIMER: usize = 1;
/// Output: EL2 physical timer; never driven.
pub const OUT_HYP_TIMER: usize = 2;
/// Output: Secure physical timer; never driven.
pub const OUT_SECURE_TIMER: usize = 3;
/// Output: overflow of a performance counter.
pub const OUT_PMU: usize = 4;
/// Number of outputs.
pub const OUTPUTS: usize = 5;
