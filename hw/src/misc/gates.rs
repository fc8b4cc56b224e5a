//! Wiring between chips: several lines that are one, and a line that resets the machine.

use std::sync::Mutex;
use vm::power::{Power, PowerRequest};
use vm::{IrqLine, IrqSink};

/// Drives one line high while any of its (up to 64) input pins is high. It holds no state of the guest: its inputs follow
/// from the registers of the chips that drive them.
pub struct OrGate {
    inputs: Mutex<u64>,
    output: IrqLine,
}

impl OrGate {
    /// All inputs low.
    pub fn new(output: IrqLine) -> Self {
        Self { inputs: Mutex::new(0), output }
    }
}

impl IrqSink for OrGate {
    fn set_pin(&self, pin: u32, high: bool) {
        let bit = 1_u64.checked_shl(pin).unwrap_or(0);
        // Held while the output is driven, so that the last change wins.
        let mut inputs = self.inputs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *inputs = if high { *inputs | bit } else { *inputs & !bit };
        self.output.set(*inputs != 0);
    }
}

/// Asks for a reset of the machine when any of its pins rises.
pub struct ResetPin(pub Power);

impl IrqSink for ResetPin {
    fn set_pin(&self, _pin: u32, high: bool) {
        if high {
            self.0.request(PowerRequest::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Levels;

    #[test]
    fn any_input_drives_the_output() {
        let out = Levels::new();
        let gate = OrGate::new(IrqLine::to(out.clone(), 3));
        for (pin, high, expect) in
            [(0, true, true), (63, true, true), (0, false, true), (64, true, true), (63, false, false)]
        {
            gate.set_pin(pin, high);
            assert_eq!(out.get(3), expect);
        }
    }

    #[test]
    fn a_rise_resets() {
        let power = Power::default();
        let pin = ResetPin(power.clone());
        pin.set_pin(0, false);
        assert_eq!(power.take(), None);
        pin.set_pin(0, true);
        assert_eq!(power.take(), Some(PowerRequest::Reset));
    }
}
