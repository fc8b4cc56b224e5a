//! A push button, as on the front of a computer, that a person or monitor command presses for a moment.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::clock::Clock;
use vm::{Device, IrqLine, Regs, VmTime};

/// How long it stays down: drivers debounce keys and look again after some milliseconds.
const PRESS_NS: u64 = 100_000_000;

/// The button.
pub struct PowerKey {
    regs: PowerKeyRegs,
    line: IrqLine,
    clock: Arc<dyn Clock>,
}

/// Its state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PowerKeyRegs {
    /// When it comes up again, while it is down.
    release: Option<VmTime>,
}

impl Regs for PowerKeyRegs {}

impl PowerKey {
    /// A button that drives `line` high while it is down.
    pub fn new(line: IrqLine, clock: Arc<dyn Clock>) -> Self {
        Self { regs: PowerKeyRegs::default(), line, clock }
    }

    /// Presses it for a moment.
    pub fn press(&mut self) {
        self.regs.release = Some(VmTime(self.clock.now().0.saturating_add(PRESS_NS)));
    }
}

impl Device for PowerKey {
    type Regs = PowerKeyRegs;
    const MODEL: &'static str = "power-key";
    fn regs(&self) -> &PowerKeyRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut PowerKeyRegs {
        &mut self.regs
    }
    fn update(&mut self) {
        self.line.set(self.regs.release.is_some());
    }
    fn deadline(&self) -> Option<VmTime> {
        self.regs.release
    }
    fn expire(&mut self, now: VmTime) {
        self.regs.release = self.regs.release.filter(|at| *at > now);
    }
}
