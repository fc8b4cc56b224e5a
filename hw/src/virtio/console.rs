//! Console device (virtio 1.2, 5.3) with one port, over a [`CharPort`].
//!
//! Input waits in the port until the driver offers buffers, so none is lost. Breaks have no form here and are dropped.

use crate::virtio::queue::{Malformed, Rings};
use crate::virtio::{VirtioDevice, Wake};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::Regs;
use vm::chardev::{CharEvent, CharPort};

/// Queues (5.3.2).
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// 5.3.3: the configuration space has the terminal's size.
const F_SIZE: u64 = 1 << 0;
/// 5.3.3: a character written to the configuration space is output, whatever state the device is in.
const F_EMERG_WRITE: u64 = 1 << 2;
/// Offset of that character (5.3.4, struct virtio_console_config).
const EMERG_WR: usize = 8;
/// Bytes moved at a time.
const CHUNK: u64 = 4096;
/// Bytes of one output buffer that are taken; more is an attempt to keep the host busy.
const OUTPUT_MAX: u64 = 1 << 20;

/// The device.
pub struct VirtioConsole {
    port: Arc<CharPort>,
    resized: bool,
}

/// The saved state beyond the rings.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ConsoleRegs {
    columns: u16,
    rows: u16,
}

impl Regs for ConsoleRegs {}

impl VirtioConsole {
    /// A console whose terminal is behind `port`. It sets [`CharPort::on_input`] itself.
    pub fn new(port: Arc<CharPort>) -> Self {
        Self { port, resized: false }
    }

    /// Takes the events before the next byte; whether there is such a byte.
    fn skip_to_data(&mut self, regs: &mut ConsoleRegs) -> bool {
        loop {
            match self.port.peek() {
                None => return false,
                Some(CharEvent::Data(_)) => return true,
                Some(CharEvent::Break) => {}
                Some(CharEvent::Resize { columns, rows }) => {
                    self.resized |= (regs.columns, regs.rows) != (columns, rows);
                    (regs.columns, regs.rows) = (columns, rows);
                }
            }
            self.port.take();
        }
    }

    fn receive(&mut self, regs: &mut ConsoleRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        for _ in 0..rings.size(RECEIVE) {
            if !self.skip_to_data(regs) {
                break;
            }
            let Some(chain) = rings.peek(RECEIVE, 0)? else { break };
            let room = chain.writable.len().min(CHUNK) as usize;
            if room == 0 {
                return Err(Malformed("input buffer without room"));
            }
            let mut bytes = Vec::with_capacity(room);
            while bytes.len() < room
                && let Some(CharEvent::Data(byte)) = self.port.peek()
            {
                bytes.push(byte);
                self.port.take();
            }
            chain.writable.write(0, &bytes).ok_or(Malformed("buffer outside RAM"))?;
            rings.finish(RECEIVE, chain.head, bytes.len() as u32)?;
        }
        Ok(())
    }

    fn transmit(&mut self, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        for _ in 0..rings.size(TRANSMIT) {
            let Some(chain) = rings.peek(TRANSMIT, 0)? else { break };
            let len = chain.readable.len().min(OUTPUT_MAX);
            if len != chain.readable.len() {
                vm::log!(GuestError, "virtio-console: output of {} bytes cut off", chain.readable.len());
            }
            let mut done = 0;
            while done < len {
                let mut bytes = vec![0; CHUNK.min(len - done) as usize];
                chain.readable.read(done, &mut bytes).ok_or(Malformed("buffer outside RAM"))?;
                self.port.send(&bytes);
                done += bytes.len() as u64;
            }
            rings.finish(TRANSMIT, chain.head, 0)?;
        }
        Ok(())
    }
}

impl VirtioDevice for VirtioConsole {
    type Regs = ConsoleRegs;
    const MODEL: &'static str = "virtio-serial-device";
    const DEVICE_ID: u32 = 3;
    const QUEUE_SIZES: &'static [u16] = &[128, 128];

    fn features(&self) -> u64 {
        F_SIZE | F_EMERG_WRITE
    }

    fn config(&self, regs: &ConsoleRegs) -> Vec<u8> {
        // The number of ports is 1, the emergency register reads as 0.
        [&regs.columns.to_le_bytes()[..], &regs.rows.to_le_bytes(), &1u32.to_le_bytes(), &[0; 4]].concat()
    }

    fn write_config(&mut self, _regs: &mut ConsoleRegs, offset: usize, bytes: &[u8]) {
        if let (EMERG_WR, [character, ..]) = (offset, bytes) {
            self.port.send(&[*character]);
        }
    }

    fn reset(&mut self, _regs: &mut ConsoleRegs) {
        // The terminal is as large as before.
    }

    fn config_changed(&mut self, regs: &mut ConsoleRegs) -> bool {
        self.skip_to_data(regs);
        std::mem::take(&mut self.resized)
    }

    fn process(&mut self, regs: &mut ConsoleRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        // Output first: what the host end echoes at once is then taken as input in the same round.
        self.transmit(rings)?;
        self.receive(regs, rings)
    }

    fn connect(&mut self, wake: Wake) {
        self.port.on_input(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Poke, check_reset, check_save_load, hammer};
    use crate::virtio::testing::{DATA, Driver, RAM, WRITE};
    use std::sync::Mutex;

    struct Bench {
        d: Driver<VirtioConsole>,
        port: Arc<CharPort>,
        sent: Arc<Mutex<Vec<u8>>>,
    }

    fn bench(legacy: bool) -> Bench {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let to = sent.clone();
        let port = Arc::new(CharPort::new(move |bytes: &[u8]| to.lock().unwrap().extend_from_slice(bytes)));
        let d = Driver::started(VirtioConsole::new(port.clone()), legacy, F_SIZE | F_EMERG_WRITE);
        Bench { d, port, sent }
    }

    fn typed(port: &CharPort, text: &[u8]) {
        text.iter().for_each(|byte| port.push(CharEvent::Data(*byte)));
    }

    #[test]
    fn output() {
        for legacy in [false, true] {
            let mut b = bench(legacy);
            b.d.store(DATA, b"hello, world");
            assert_eq!(b.d.transact(TRANSMIT, &[(DATA, 7, 0), (DATA + 7, 5, 0)]), 0);
            assert_eq!(*b.sent.lock().unwrap(), b"hello, world");
            let long = vec![b'x'; 10_000];
            b.d.store(DATA, &long);
            b.d.transact(TRANSMIT, &[(DATA, 10_000, 0)]);
            assert_eq!(b.sent.lock().unwrap().len(), 10_012);
        }
    }

    #[test]
    fn input_waits_for_buffers() {
        let mut b = bench(false);
        typed(&b.port, b"abcdef");
        b.port.push(CharEvent::Break);
        typed(&b.port, b"g");
        assert_eq!(b.d.used_index(RECEIVE), 0);
        assert_eq!(b.d.transact(RECEIVE, &[(DATA, 2, WRITE), (DATA + 16, 2, WRITE)]), 4);
        assert_eq!((b.d.load(DATA, 2), b.d.load(DATA + 16, 2)), (b"ab".to_vec(), b"cd".to_vec()));
        assert!(b.d.irq.get(0));
        assert_eq!(b.d.transact(RECEIVE, &[(DATA, 100, WRITE)]), 2);
        assert_eq!(b.d.transact(RECEIVE, &[(DATA, 100, WRITE)]), 1);
        // And buffers wait for input.
        b.d.cell.w(0x64, 1);
        b.d.chain(RECEIVE, 0, &[(DATA, 100, WRITE)]);
        b.d.offer(RECEIVE, 0);
        b.d.kick(RECEIVE);
        assert_eq!((b.d.used_index(RECEIVE), b.d.irq.get(0)), (3, false));
        typed(&b.port, b"h");
        assert_eq!((b.d.used_index(RECEIVE), b.d.irq.get(0), b.d.load(DATA, 1)), (4, true, b"h".to_vec()));
    }

    #[test]
    fn size_and_emergency_write() {
        let b = bench(false);
        b.port.push(CharEvent::Resize { columns: 80, rows: 24 });
        assert_eq!((b.d.cell.r(0x60), b.d.cell.r(0xfc), b.d.irq.get(0)), (2, 1, true));
        assert_eq!((b.d.cell.r(0x100), b.d.cell.r(0x104)), (24 << 16 | 80, 1));
        b.port.push(CharEvent::Resize { columns: 80, rows: 24 });
        assert_eq!(b.d.cell.r(0xfc), 1, "the same size is no change");
        b.d.cell.w(0x70, 0);
        b.d.cell.w(0x108, b'!'.into());
        assert_eq!(*b.sent.lock().unwrap(), b"!");
        assert_eq!(b.d.cell.r(0x108), 0);
        assert_eq!(b.d.cell.r(0x100), 24 << 16 | 80, "a driver's reset does not change the terminal");
    }

    #[test]
    fn buffers_of_the_wrong_kind_break_the_device() {
        let mut b = bench(false);
        typed(&b.port, b"a");
        b.d.chain(RECEIVE, 0, &[(DATA, 1, 0)]);
        b.d.offer(RECEIVE, 0);
        b.d.kick(RECEIVE);
        assert!(b.d.needs_reset());
        b.d.start(0);
        assert_eq!(b.d.transact(RECEIVE, &[(DATA, 1, WRITE)]), 1, "what was typed is still there");
    }

    #[test]
    fn saved_loaded_and_reset() {
        let mut b = bench(false);
        b.port.push(CharEvent::Resize { columns: 80, rows: 24 });
        b.d.transact(TRANSMIT, &[(DATA, 1, 0)]);
        check_save_load(&b.d.cell.clone(), || b.port.push(CharEvent::Resize { columns: 81, rows: 24 }));
        let mut d = Driver::new(VirtioConsole::new(Arc::new(CharPort::null())), false);
        check_reset(&d.cell.clone(), || d.start(0));
    }

    #[test]
    fn any_access_is_answered() {
        let mut b = bench(true);
        let cell = b.d.cell.clone();
        hammer(&cell, 10_000, |random| {
            if random.below(64) == 0 {
                b.d.start(random.next());
            }
            if b.port.peek().is_none() {
                typed(&b.port, b"input");
                b.port.push(CharEvent::Resize { columns: random.next() as u16, rows: 1 });
            }
            b.d.store(RAM + random.below(0x6000), &(random.next() & random.next()).to_le_bytes());
        });
    }
}
