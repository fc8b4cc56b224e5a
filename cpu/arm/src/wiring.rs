//! How a board wires an Arm vCPU: the numbers of its interrupt inputs ([`vm::vcpu::Pins`]) and of the lines that it
//! drives ([`vm::vcpu::Wiring::outputs`]).

/// Input: interrupt request.
pub const IRQ: u32 = 0;
/// Input: fast interrupt request.
pub const FIQ: u32 = 1;

/// Output: EL1 virtual timer.
pub const VIRTUAL_TIMER: usize = 0;
/// Output: EL1 physical timer (Non-secure).
pub const PHYSICAL_TIMER: usize = 1;
/// Output: EL2 physical timer.
pub const HYP_TIMER: usize = 2;
/// Output: EL3 (Secure) physical timer.
pub const SECURE_TIMER: usize = 3;
/// Output: performance monitor overflow.
pub const PMU: usize = 4;
/// How many outputs there are.
pub const OUTPUTS: usize = 5;
