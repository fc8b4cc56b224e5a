//! Debug exit: a port by which a test guest ends the emulator with a status, as `isa-debug-exit` of other emulators does.

use vm::power::{Power, PowerRequest};
use vm::{Access, BusError, Device, Mmio, Window};

/// The port.
pub struct DebugExit {
    regs: (),
    power: Power,
}

impl DebugExit {
    /// A port that asks `power` for the end: writing `v` ends the program with status `(v << 1) | 1` in 8 bits, which is
    /// never 0, so that a test cannot seem to succeed by itself.
    pub fn new(power: Power) -> Self {
        Self { regs: (), power }
    }
}

impl Device for DebugExit {
    type Regs = ();
    const MODEL: &'static str = "isa-debug-exit";

    fn regs(&self) -> &() {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut () {
        &mut self.regs
    }
}

impl Mmio for DebugExit {
    /// Four ports, 0x501 by default; a board may map fewer of them.
    const WINDOWS: &'static [Window] = &[Window { len: 4, widths: 1..=4 }];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Ok(0)
    }

    fn write(&mut self, _at: Access, value: u64) -> Result<(), BusError> {
        self.power.request(PowerRequest::Exit((value << 1 | 1) as u8));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Poke, hammer};
    use vm::DeviceCell;

    #[test]
    fn the_status_is_odd() {
        let power = Power::default();
        let exit = DeviceCell::new(DebugExit::new(power.clone()));
        assert_eq!((exit.r(0), power.take()), (0, None));
        for (value, status) in [(0, 1), (3, 7), (0x10, 0x21), (0xffff_ffff, 0xff)] {
            exit.w(0, value);
            assert_eq!(power.take(), Some(PowerRequest::Exit(status)));
        }
        hammer(&exit, 1000, |_| ());
    }
}
