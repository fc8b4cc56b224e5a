//! pvpanic: a port by which a guest's kernel says that it has panicked. The interface is that of Linux' driver
//! (`include/uapi/misc/pvpanic.h`) and QEMU's specification "PVPANIC DEVICE".

use serde::{Deserialize, Serialize};
use vm::{Access, BusError, Device, Mmio, Regs, Window};

/// The guest has panicked and stays as it is.
pub const PANICKED: u8 = 1 << 0;
/// The guest has panicked and will start its crash kernel.
pub const CRASH_LOADED: u8 = 1 << 1;

/// Told of each event, one or more of [`PANICKED`] and [`CRASH_LOADED`].
pub type OnPanic = Box<dyn Fn(u8) + Send + Sync>;

/// The port.
pub struct Pvpanic {
    regs: PvpanicRegs,
    on_panic: OnPanic,
}

/// Its register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PvpanicRegs {
    /// Events since the reset, for a person to read.
    events: u8,
}

impl Regs for PvpanicRegs {}

impl Pvpanic {
    /// A port that tells `on_panic`, which must not wait for the guest.
    pub fn new(on_panic: OnPanic) -> Self {
        Self { regs: Default::default(), on_panic }
    }
}

impl Device for Pvpanic {
    type Regs = PvpanicRegs;
    const MODEL: &'static str = "pvpanic";

    fn regs(&self) -> &PvpanicRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut PvpanicRegs {
        &mut self.regs
    }
}

impl Mmio for Pvpanic {
    /// One port, 0x505 of a PC.
    const WINDOWS: &'static [Window] = &[Window { len: 1, widths: 1..=1 }];

    /// The events that the device knows.
    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Ok((PANICKED | CRASH_LOADED).into())
    }

    fn write(&mut self, _at: Access, value: u64) -> Result<(), BusError> {
        let events = value as u8 & (PANICKED | CRASH_LOADED);
        if events != 0 {
            self.regs.events |= events;
            (self.on_panic)(events);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ports, check_reset, check_save_load, hammer};
    use std::sync::{Arc, Mutex};
    use vm::DeviceCell;

    #[test]
    fn panics_are_told() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let to = told.clone();
        let port = DeviceCell::new(Pvpanic::new(Box::new(move |events| to.lock().unwrap().push(events))));
        assert_eq!(port.inb(0, 0), 3);
        [0, 1, 4, 0xfe].into_iter().for_each(|value| port.outb(0, 0, value));
        assert_eq!(*told.lock().unwrap(), [1, 2]);
        let fresh = DeviceCell::new(Pvpanic::new(Box::new(|_| ())));
        check_save_load(&fresh, || fresh.outb(0, 0, 1));
        let fresh = DeviceCell::new(Pvpanic::new(Box::new(|_| ())));
        check_reset(&fresh, || fresh.outb(0, 0, 1));
        hammer(&port, 1000, |_| ());
    }
}
