//! Standard parallel port (SPP) of a PC with a printer that takes everything at once. IBM Personal Computer AT Technical
//! Reference, "Serial/parallel adapter"; the register names are those of IEEE 1284, annex on the compatible host
//! interface.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::chardev::CharPort;
use vm::{Access, BusError, Device, IrqLine, Mmio, Regs, Window};

const DATA: u64 = 0;
const STATUS: u64 = 1;
const CONTROL: u64 = 2;

// Status, as the pins are: no error, selected, paper, not acknowledging, not busy.
const STATUS_NO_ERROR: u8 = 1 << 3;
const STATUS_SELECTED: u8 = 1 << 4;
const STATUS_NO_ACK: u8 = 1 << 6;
const STATUS_NOT_BUSY: u8 = 1 << 7;
/// Reserved bits read as ones.
const STATUS_RESERVED: u8 = 0x07;

// Control.
const CONTROL_STROBE: u8 = 1 << 0;
const CONTROL_NO_INIT: u8 = 1 << 2;
const CONTROL_SELECT: u8 = 1 << 3;
const CONTROL_IRQ: u8 = 1 << 4;
/// Bidirectional ports: the data pins are inputs.
const CONTROL_INPUT: u8 = 1 << 5;

/// The port.
pub struct Parallel {
    regs: ParallelRegs,
    irq: IrqLine,
    port: Arc<CharPort>,
}

/// Its registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParallelRegs {
    data: u8,
    control: u8,
}

impl Default for ParallelRegs {
    fn default() -> Self {
        Self { data: 0xff, control: CONTROL_NO_INIT | CONTROL_SELECT }
    }
}

impl Regs for ParallelRegs {}

impl Parallel {
    /// A port whose printed bytes go to `port` and whose acknowledge pulses `irq` (IRQ 7 of a PC).
    pub fn new(irq: IrqLine, port: Arc<CharPort>) -> Self {
        Self { regs: Default::default(), irq, port }
    }

    fn write_control(&mut self, value: u8) {
        let value = value & 0x3f;
        // The printer takes the data when the strobe begins, if it is out of reset, and acknowledges at once.
        let strobes = value & !self.regs.control & CONTROL_STROBE != 0;
        self.regs.control = value;
        if strobes && value & CONTROL_NO_INIT != 0 {
            self.port.send(&[self.regs.data]);
            if value & CONTROL_IRQ != 0 {
                self.irq.set(true);
                self.irq.set(false);
            }
        }
    }
}

impl Device for Parallel {
    type Regs = ParallelRegs;
    const MODEL: &'static str = "isa-parallel";

    fn regs(&self) -> &ParallelRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut ParallelRegs {
        &mut self.regs
    }
}

impl Mmio for Parallel {
    /// Data, status and control (0x378 for the first of a PC).
    const WINDOWS: &'static [Window] = &[Window { len: 3, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let r = &self.regs;
        Ok(match at.offset {
            // Nobody drives the pins when they are inputs.
            DATA if r.control & CONTROL_INPUT != 0 => 0xff,
            DATA => r.data.into(),
            STATUS => {
                let ready = if r.control & CONTROL_SELECT != 0 { STATUS_SELECTED } else { 0 };
                (STATUS_NO_ERROR | STATUS_NO_ACK | STATUS_NOT_BUSY | STATUS_RESERVED | ready).into()
            }
            CONTROL => u64::from(r.control | 0xc0),
            _ => return Err(BusError::BadOffset),
        })
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        match at.offset {
            DATA => self.regs.data = value as u8,
            STATUS => {}
            CONTROL => self.write_control(value as u8),
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Edges, Ports, check_reset, check_save_load, hammer};
    use std::sync::Mutex;
    use vm::DeviceCell;

    fn bench() -> (DeviceCell<Parallel>, Arc<Mutex<Vec<u8>>>, Arc<Edges>) {
        let (sent, irq) = (Arc::new(Mutex::new(Vec::new())), Edges::new());
        let to = sent.clone();
        let port = Arc::new(CharPort::new(move |bytes: &[u8]| to.lock().unwrap().extend_from_slice(bytes)));
        (DeviceCell::new(Parallel::new(IrqLine::to(irq.clone(), 0), port)), sent, irq)
    }

    #[test]
    fn prints_at_the_strobe() {
        let (port, sent, irq) = bench();
        assert_eq!([DATA, STATUS, CONTROL].map(|offset| port.inb(0, offset)), [0xff, 0xdf, 0xcc]);
        for (byte, control) in [(b'a', 0x0d), (b'b', 0x0c), (b'c', 0x0d), (b'd', 0x0d), (b'e', 0x08), (b'f', 0x09)] {
            port.outb(0, DATA, byte);
            port.outb(0, CONTROL, control);
        }
        assert_eq!((sent.lock().unwrap().as_slice(), irq.take(0)), (&b"ac"[..], 0), "not twice, not in reset");
        port.outb(0, CONTROL, 0x1c);
        port.outb(0, CONTROL, 0x1d);
        assert_eq!((sent.lock().unwrap().as_slice(), irq.take(0)), (&b"acf"[..], 1));
        assert_eq!((port.inb(0, DATA), port.inb(0, CONTROL)), (b'f', 0xdd));
        port.outb(0, CONTROL, 0x24);
        port.outb(0, STATUS, 0);
        assert_eq!((port.inb(0, DATA), port.inb(0, STATUS)), (0xff, 0xcf));
    }

    #[test]
    fn saved_loaded_reset_and_hammered() {
        let (port, ..) = bench();
        port.outb(0, DATA, 1);
        check_save_load(&port, || port.outb(0, DATA, 2));
        let (port, ..) = bench();
        check_reset(&port, || port.outb(0, CONTROL, 0));
        hammer(&port, 10_000, |_| ());
    }
}
