//! Debug console: a port (0xe9 of Bochs and of firmware that talks to it) whose written bytes go to the host and which
//! reads as its own number, so that a guest can tell that it is there. Bochs user manual, "port_e9_hack".

use std::sync::Arc;
use vm::chardev::CharPort;
use vm::{Access, BusError, Device, Mmio, Window};

/// What is read.
const PRESENT: u64 = 0xe9;

/// The port.
pub struct Debugcon {
    regs: (),
    port: Arc<CharPort>,
}

impl Debugcon {
    /// A port whose output goes to `port`; it takes no input.
    pub fn new(port: Arc<CharPort>) -> Self {
        Self { regs: (), port }
    }
}

impl Device for Debugcon {
    type Regs = ();
    const MODEL: &'static str = "isa-debugcon";

    fn regs(&self) -> &() {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut () {
        &mut self.regs
    }
}

impl Mmio for Debugcon {
    const WINDOWS: &'static [Window] = &[Window { len: 1, widths: 1..=1 }];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Ok(PRESENT)
    }

    fn write(&mut self, _at: Access, value: u64) -> Result<(), BusError> {
        self.port.send(&[value as u8]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ports, hammer};
    use std::sync::Mutex;
    use vm::DeviceCell;

    #[test]
    fn bytes_reach_the_host() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let to = sent.clone();
        let port = Arc::new(CharPort::new(move |bytes: &[u8]| to.lock().unwrap().extend_from_slice(bytes)));
        let console = DeviceCell::new(Debugcon::new(port));
        b"SeaBIOS".iter().for_each(|byte| console.outb(0, 0, *byte));
        assert_eq!((sent.lock().unwrap().as_slice(), console.inb(0, 0)), (&b"SeaBIOS"[..], 0xe9));
        hammer(&console, 1000, |_| ());
    }
}
