//! Connections of a processing element to the machine.

use crate::cluster::Cluster;
use std::sync::Arc;
use vm::IrqLine;
use vm::clock::Clock;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timer;
use vm::vcpu::{Pins, Wiring};

/// The wires.
pub struct Wires {
    /// Number among the machine's vCPUs.
    pub id: u32,
    /// System registers that belong to devices.
    pub sysregs: SysregBus,
    /// Interrupt inputs, see [`crate::wiring`].
    pub pins: Arc<Pins>,
    /// Lines driven, see [`crate::wiring`].
    pub outputs: Vec<IrqLine>,
    /// Where the counters get their time.
    pub clock: Arc<dyn Clock>,
    /// Calls for a look at the timers; armed by [`crate::generic_timer`].
    pub deadline: Timer,
    /// Where PSCI's requests go.
    pub power: Power,
    /// The other processing elements.
    pub cluster: Arc<Cluster>,
}

impl Wires {
    /// The wires of `wiring`; `poll` asks the vCPU to look at its timers.
    pub fn new(wiring: &Wiring, poll: Arc<dyn Fn() + Send + Sync>, cluster: Arc<Cluster>) -> Self {
        cluster.add(wiring.id, poll.clone());
        Wires {
            id: wiring.id,
            sysregs: wiring.sysregs.clone(),
            pins: wiring.pins.clone(),
            outputs: wiring.outputs.clone(),
            clock: wiring.timers.clock().clone(),
            deadline: wiring.timers.timer(move |_| poll()),
            power: wiring.power.clone(),
            cluster,
        }
    }

    /// Drives output `number` if the board wired it.
    pub fn drive(&self, number: usize, high: bool) {
        if let Some(line) = self.outputs.get(number) {
            line.set(high);
        }
    }
}
