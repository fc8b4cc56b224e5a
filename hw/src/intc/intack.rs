//! The numbers under which an x86 processor reaches its interrupt controllers on the system-register bus, beside the
//! MSRs of an x2APIC. They are not architectural: they stand for the bus cycles and the register that the processor has
//! for the same purpose, and lie above the numbers of all MSRs in use.

use std::sync::Arc;
use vm::sysreg::{SysregId, SysregPort};

/// A read is the interrupt acknowledge cycle: it gives the vector (0 to 255).
pub const INTACK: SysregId = 0xffff_0000;
/// A read takes the events that wait for the processor: see [`super::lapic::event`].
pub const EVENTS: SysregId = 0xffff_0004;
/// The deadline of the local APIC's timer as virtual time in nanoseconds, which the processor works out of
/// IA32_TSC_DEADLINE; 0 disarms it, and is read when it is not armed.
pub const TSC_DEADLINE_NS: SysregId = 0xffff_000c;
/// CR8, bits 7:4 of the task-priority register.
pub const CR8: SysregId = 0xffff_0008;

/// The bus of a processor without an APIC: [`INTACK`] asks `pic`; other registers read as zero.
pub struct PicOnly(pub Arc<dyn Fn() -> u8 + Send + Sync>);

impl SysregPort for PicOnly {
    fn read(&self, _vcpu: u32, reg: SysregId) -> u64 {
        if reg == INTACK { (self.0)().into() } else { 0 }
    }
    fn write(&self, _vcpu: u32, _reg: SysregId, _value: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledges_go_to_the_pic() {
        let port = PicOnly(Arc::new(|| 0x0f));
        assert_eq!((port.read(0, INTACK), port.read(0, CR8)), (0x0f, 0));
    }
}
