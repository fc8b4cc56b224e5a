//! A ROM chip: no registers; the board maps its contents, which no guest can change.

use vm::{Access, BusError, Device, Mmio, Window};

/// The chip.
#[derive(Default)]
pub struct Rom(());

impl Device for Rom {
    type Regs = ();
    const MODEL: &'static str = "rom";

    fn regs(&self) -> &() {
        &self.0
    }
    fn regs_mut(&mut self) -> &mut () {
        &mut self.0
    }
}

impl Mmio for Rom {
    const WINDOWS: &'static [Window] = &[];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Err(BusError::BadOffset)
    }
    fn write(&mut self, _at: Access, _value: u64) -> Result<(), BusError> {
        Err(BusError::BadOffset)
    }
}
