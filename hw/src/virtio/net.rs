//! Network card (virtio 1.2, 5.1) over a [`NetDev`]: one pair of queues, no offloads.

use crate::virtio::queue::{Malformed, Rings};
use crate::virtio::{VirtioDevice, Wake, feature};
use std::sync::Arc;
use vm::netdev::NetDev;

/// Queues (5.1.2).
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// 5.1.3: the configuration space has the card's address.
const F_MAC: u64 = 1 << 5;
/// Bytes of the greatest frame that is taken from a driver.
const FRAME_MAX: u64 = 65_550;
/// `VIRTIO_NET_S_LINK_UP` (5.1.4).
const LINK_UP: u16 = 1;

/// The card.
pub struct VirtioNet {
    net: Arc<dyn NetDev>,
    mac: [u8; 6],
    frame: Vec<u8>,
}

/// Bytes before every frame (5.1.6, struct virtio_net_hdr): legacy drivers leave out the last field, num_buffers.
fn header_len(rings: &Rings<'_>) -> u64 {
    if rings.features() & feature::VERSION_1 != 0 { 12 } else { 10 }
}

impl VirtioNet {
    /// A card with the address `mac` whose cable leads to `net`. It sets [`NetDev::on_receive`] itself.
    pub fn new(net: Arc<dyn NetDev>, mac: [u8; 6]) -> Self {
        Self { net, mac, frame: Vec::new() }
    }

    fn transmit(&mut self, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let header_len = header_len(rings);
        for _ in 0..rings.size(TRANSMIT) {
            let Some(chain) = rings.peek(TRANSMIT, 0)? else { break };
            // The header asks for nothing, since nothing was offered.
            match chain.readable.len().checked_sub(header_len) {
                Some(len @ 1..=FRAME_MAX) => {
                    self.frame.resize(len as usize, 0);
                    chain.readable.read(header_len, &mut self.frame).ok_or(Malformed("buffer outside RAM"))?;
                    self.net.send(&self.frame);
                }
                _ => vm::log!(GuestError, "virtio-net: frame of {} bytes with header", chain.readable.len()),
            }
            rings.finish(TRANSMIT, chain.head, 0)?;
        }
        Ok(())
    }

    fn receive(&mut self, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let header_len = header_len(rings);
        // A frame is taken only when there is a buffer, so that the host end decides what waits and what is dropped.
        for _ in 0..rings.size(RECEIVE) {
            let Some(chain) = rings.peek(RECEIVE, 0)? else { break };
            if !self.net.receive(&mut self.frame) {
                break;
            }
            let len = header_len + self.frame.len() as u64;
            if chain.writable.len() < len {
                vm::log!(GuestError, "virtio-net: buffer of {} for {len} bytes", chain.writable.len());
                continue;
            }
            let mut header = [0; 12];
            header[10] = 1; // num_buffers
            let header = header.get(..header_len as usize).unwrap_or(&header);
            let written = chain.writable.write(0, header).and_then(|()| chain.writable.write(header_len, &self.frame));
            written.ok_or(Malformed("buffer outside RAM"))?;
            rings.finish(RECEIVE, chain.head, u32::try_from(len).unwrap_or(u32::MAX))?;
        }
        Ok(())
    }
}

impl VirtioDevice for VirtioNet {
    type Regs = ();
    const MODEL: &'static str = "virtio-net-device";
    const DEVICE_ID: u32 = 1;
    const QUEUE_SIZES: &'static [u16] = &[256, 256];

    fn features(&self) -> u64 {
        F_MAC
    }

    fn config(&self, _regs: &()) -> Vec<u8> {
        // mac, status, max_virtqueue_pairs
        [&self.mac[..], &LINK_UP.to_le_bytes(), &1u16.to_le_bytes()].concat()
    }

    fn process(&mut self, _regs: &mut (), rings: &mut Rings<'_>) -> Result<(), Malformed> {
        self.transmit(rings)?;
        self.receive(rings)
    }

    fn connect(&mut self, wake: Wake) {
        self.net.on_receive(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Poke, check_save_load, hammer};
    use crate::virtio::testing::{DATA, Driver, RAM, WRITE};
    use std::collections::VecDeque;
    use std::sync::{Mutex, OnceLock};

    #[derive(Default)]
    struct Cable {
        sent: Mutex<Vec<Vec<u8>>>,
        waiting: Mutex<VecDeque<Vec<u8>>>,
        wake: OnceLock<Wake>,
    }

    impl Cable {
        fn push(&self, frame: &[u8]) {
            self.waiting.lock().unwrap().push_back(frame.into());
            self.wake.get().unwrap()();
        }
    }

    impl NetDev for Cable {
        fn send(&self, frame: &[u8]) {
            self.sent.lock().unwrap().push(frame.into());
        }
        fn receive(&self, frame: &mut Vec<u8>) -> bool {
            frame.clear();
            let next = self.waiting.lock().unwrap().pop_front();
            next.map(|next| frame.extend(next)).is_some()
        }
        fn on_receive(&self, wake: Wake) {
            let _ = self.wake.set(wake);
        }
    }

    fn bench(legacy: bool) -> (Driver<VirtioNet>, Arc<Cable>) {
        let cable = Arc::new(Cable::default());
        let card = VirtioNet::new(cable.clone(), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        (Driver::started(card, legacy, F_MAC), cable)
    }

    #[test]
    fn frames_in_both_directions() {
        for (legacy, header) in [(false, 12), (true, 10)] {
            let (mut d, cable) = bench(legacy);
            d.store(DATA, &[0; 12]);
            d.store(DATA + u64::from(header), b"to the host");
            assert_eq!(d.transact(TRANSMIT, &[(DATA, header, 0), (DATA + u64::from(header), 11, 0)]), 0);
            assert_eq!(*cable.sent.lock().unwrap(), [b"to the host"]);
            cable.push(b"first");
            cable.push(b"second, longer");
            assert_eq!(cable.waiting.lock().unwrap().len(), 2, "no buffer yet");
            assert_eq!(d.transact(RECEIVE, &[(DATA, 100, WRITE)]), header + 5);
            assert_eq!(d.load(DATA + u64::from(header), 5), b"first");
            if !legacy {
                assert_eq!(d.load(DATA, 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
            }
            // A frame that does not fit is dropped; the buffer serves the next.
            d.chain(RECEIVE, 0, &[(DATA, header + 3, WRITE)]);
            d.offer(RECEIVE, 0);
            d.kick(RECEIVE);
            assert_eq!((cable.waiting.lock().unwrap().len(), d.used_index(RECEIVE)), (0, 1));
            cable.push(b"abc");
            assert_eq!((d.used_index(RECEIVE), d.used(RECEIVE, 1), d.irq.get(0)), (2, (0, header + 3), true));
        }
    }

    #[test]
    fn odd_frames_are_not_sent() {
        let (mut d, cable) = bench(false);
        for len in [1, 12, 12 + 65_551] {
            assert_eq!(d.transact(TRANSMIT, &[(DATA, len, 0)]), 0);
        }
        assert!(cable.sent.lock().unwrap().is_empty());
        assert!(!d.needs_reset());
    }

    #[test]
    fn configuration_space() {
        let (d, _) = bench(false);
        assert_eq!(d.cell.read_n(0x100, 8), Ok(0x0001_5634_1200_5452));
        assert_eq!((d.cell.read_n(0x108, 2), d.cell.r(8)), (Ok(1), 1));
    }

    #[test]
    fn saved_and_loaded() {
        let (mut d, _) = bench(false);
        d.transact(TRANSMIT, &[(DATA, 60, 0)]);
        check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
    }

    #[test]
    fn any_access_is_answered() {
        let (mut d, cable) = bench(false);
        let cell = d.cell.clone();
        hammer(&cell, 10_000, |random| {
            if random.below(64) == 0 {
                d.start(random.next());
                cable.push(&[0; 60]);
            }
            d.store(RAM + random.below(0x6000), &(random.next() & random.next()).to_le_bytes());
        });
    }
}
