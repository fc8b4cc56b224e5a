//! System control port A (0x92): a fast A20 gate and a fast reset. IBM Personal System/2 Hardware Interface Technical
//! Reference, "System control port A".

use serde::{Deserialize, Serialize};
use vm::{Access, BusError, Device, IrqLine, Mmio, Regs, Window};

const RESET: u8 = 1 << 0;
const A20: u8 = 1 << 1;

/// The port.
pub struct Port92 {
    regs: Port92Regs,
    a20: IrqLine,
    reset: IrqLine,
}

/// Its register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port92Regs {
    value: u8,
}

impl Regs for Port92Regs {}

impl Port92 {
    /// A port that drives `a20` high while address line 20 is to be let through (a board joins it with the keyboard
    /// controller's) and raises `reset` to reset the processor.
    pub fn new(a20: IrqLine, reset: IrqLine) -> Self {
        Self { regs: Default::default(), a20, reset }
    }
}

impl Device for Port92 {
    type Regs = Port92Regs;
    const MODEL: &'static str = "port92";

    fn regs(&self) -> &Port92Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Port92Regs {
        &mut self.regs
    }
    fn update(&mut self) {
        self.a20.set(self.regs.value & A20 != 0);
    }
}

impl Mmio for Port92 {
    const WINDOWS: &'static [Window] = &[Window { len: 1, widths: 1..=1 }];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Ok(self.regs.value.into())
    }

    fn write(&mut self, _at: Access, value: u64) -> Result<(), BusError> {
        let rises = value as u8 & !self.regs.value & RESET != 0;
        self.regs.value = value as u8;
        if rises {
            self.reset.set(true);
            self.reset.set(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Edges, Levels, Ports, check_reset, check_save_load, hammer};
    use vm::DeviceCell;

    #[test]
    fn a20_and_reset() {
        let (a20, resets) = (Levels::new(), Edges::new());
        let port = DeviceCell::new(Port92::new(IrqLine::to(a20.clone(), 0), IrqLine::to(resets.clone(), 0)));
        for (value, high, count) in
            [(0, false, 0), (2, true, 0), (3, true, 1), (3, true, 0), (0, false, 0), (1, false, 1)]
        {
            port.outb(0, 0, value);
            assert_eq!((port.inb(0, 0), a20.get(0), resets.take(0)), (value, high, count));
        }
        check_save_load(&port, || port.outb(0, 0, 2));
        assert!(a20.get(0), "the line follows the loaded register");
        port.outb(0, 0, 0);
        check_reset(&port, || port.outb(0, 0, 2));
        hammer(&port, 1000, |_| ());
    }
}
