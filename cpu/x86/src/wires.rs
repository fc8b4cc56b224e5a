//! Connections of a processor to the machine.

use crate::frontend::Env;
use std::sync::Arc;
use vm::IrqLine;
use vm::clock::Clock;
use vm::entropy::Entropy;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::vcpu::{Pins, Wiring};
use vm::{AddressSpace, Gpa};

/// The wires.
pub struct Wires {
    /// Number among the machine's vCPUs.
    pub id: u32,
    /// Model-specific registers, and those of [`crate::wiring`], that belong to devices.
    pub sysregs: SysregBus,
    /// I/O ports.
    pub ports: Arc<AddressSpace>,
    /// Inputs, see [`crate::wiring`].
    pub pins: Arc<Pins>,
    /// Lines driven, see [`crate::wiring`].
    pub outputs: Vec<IrqLine>,
    /// Where the time-stamp counter gets its time.
    pub clock: Arc<dyn Clock>,
    /// Where shutdowns go.
    pub power: Power,
    /// Where RDRAND gets its numbers.
    pub entropy: Arc<dyn Entropy>,
}

impl Wires {
    /// The wires of `wiring`.
    pub fn new(wiring: &Wiring) -> Self {
        Wires {
            id: wiring.id,
            sysregs: wiring.sysregs.clone(),
            ports: wiring.ports.clone(),
            pins: wiring.pins.clone(),
            outputs: wiring.outputs.clone(),
            clock: wiring.timers.clock().clone(),
            power: wiring.power.clone(),
            entropy: wiring.entropy.clone(),
        }
    }

    /// Drives output `number` if the board wired it.
    pub fn drive(&self, number: usize, high: bool) {
        if let Some(line) = self.outputs.get(number) {
            line.set(high);
        }
    }

    /// Reads a register of a device; `None` if none has it.
    pub fn read_register(&self, register: u32) -> Option<u64> {
        self.sysregs.find(register).map(|port| port.read(self.id, register))
    }

    /// Writes a register of a device; false if none has it.
    pub fn write_register(&self, register: u32, value: u64) -> bool {
        self.sysregs.find(register).map(|port| port.write(self.id, register, value)).is_some()
    }
}

/// Reads `bytes` (1, 2 or 4) bytes from an I/O port. Ports that nothing answers at read as ones.
pub fn read_port(env: &mut Env, port: u16, bytes: u8) -> u64 {
    let view = env.cpu.wires.ports.view();
    let whole = env.with_own_flags(|_| view.load(Gpa(port.into()), bytes));
    let mask = u64::MAX >> (64 - 8 * u32::from(bytes));
    let value = match whole {
        Ok(value) => value,
        // A device of bytes answers an access of more of them one after the other.
        Err(_) if bytes > 1 => (0..bytes).fold(0, |all, n| {
            let byte = env.with_own_flags(|_| view.load(Gpa(u64::from(port) + u64::from(n)), 1)).unwrap_or(0xff);
            all | (byte & 0xff) << (8 * n)
        }),
        Err(_) => u64::MAX,
    };
    value & mask
}

/// Writes `bytes` (1, 2 or 4) bytes to an I/O port.
pub fn write_port(env: &mut Env, port: u16, bytes: u8, value: u64) {
    let view = env.cpu.wires.ports.view();
    let mask = u64::MAX >> (64 - 8 * u32::from(bytes));
    let whole = env.with_own_flags(|_| view.store(Gpa(port.into()), bytes, value & mask));
    if whole.is_err() && bytes > 1 {
        for n in 0..bytes {
            let at = Gpa(u64::from(port) + u64::from(n));
            let _ = env.with_own_flags(|_| view.store(at, 1, value >> (8 * n) & 0xff));
        }
    }
}
