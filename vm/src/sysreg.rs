//! The third bus of a CPU, beside memory and ports: system registers (or model-specific registers) that belong to a
//! device, such as the CPU interface of a GICv3 or an x2APIC.

use std::collections::HashMap;
use std::sync::Arc;

/// The architecture's number of a system register: for AArch64 `op0:op1:CRn:CRm:op2` in bits [15:0] as MRS encodes
/// them (`op0` in [15:14]), for x86 the MSR number.
pub type SysregId = u32;

/// A device with registers on the system-register bus. Each vCPU has its own copy of them.
pub trait SysregPort: Send + Sync {
    /// Reads register `reg` of vCPU `vcpu`.
    fn read(&self, vcpu: u32, reg: SysregId) -> u64;
    /// Writes register `reg` of vCPU `vcpu`.
    fn write(&self, vcpu: u32, reg: SysregId, value: u64);
}

/// Which device answers for which register.
#[derive(Default, Clone)]
pub struct SysregBus {
    ports: HashMap<SysregId, Arc<dyn SysregPort>>,
}

impl SysregBus {
    /// Gives the registers `regs` to `port`.
    pub fn map(&mut self, regs: &[SysregId], port: Arc<dyn SysregPort>) {
        for reg in regs {
            self.ports.insert(*reg, port.clone());
        }
    }

    /// The device that has register `reg`.
    pub fn find(&self, reg: SysregId) -> Option<&Arc<dyn SysregPort>> {
        self.ports.get(&reg)
    }
}
