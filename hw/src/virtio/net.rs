//! Network card (virtio 1.2, 5.1) over a [`NetDev`]: one pair of queues. Checksums and segments of TCP are left to the host's
//! end of the network, in both directions, where it takes them.

use crate::virtio::queue::{Chain, Malformed, Rings};
use crate::virtio::{VirtioDevice, Wake, feature};
use std::sync::Arc;
use vm::netdev::{NetDev, Offloads, Segments, Unfinished};

/// Queues (5.1.2).
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// Features (5.1.3): the host takes frames without checksum, the guest does.
const F_CSUM: u64 = 1 << 0;
const F_GUEST_CSUM: u64 = 1 << 1;
/// The configuration space has the card's address, and a status.
const F_MAC: u64 = 1 << 5;
const F_STATUS: u64 = 1 << 16;
/// The guest takes frames that are to be cut, the host does.
const F_GUEST_TSO4: u64 = 1 << 7;
const F_GUEST_TSO6: u64 = 1 << 8;
const F_HOST_TSO4: u64 = 1 << 11;
const F_HOST_TSO6: u64 = 1 << 12;
/// A frame may lie in several buffers.
const F_MRG_RXBUF: u64 = 1 << 15;
/// Flags of a frame's header (5.1.6), and its kinds of frames that are to be cut.
const HDR_NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// In such frames congestion may be reported only once.
const GSO_ECN: u8 = 0x80;
/// Bytes of the greatest frame that is taken from a driver.
const FRAME_MAX: u64 = 65_550;
/// Buffers that one frame may lie in.
const BUFFERS_MAX: u16 = 64;
/// `VIRTIO_NET_S_LINK_UP` (5.1.4).
const LINK_UP: u16 = 1;

/// The card.
pub struct VirtioNet {
    net: Arc<dyn NetDev>,
    mac: [u8; 6],
    frame: Vec<u8>,
    /// `frame` came from the network and waits for buffers.
    waiting: Option<Unfinished>,
}

/// Bytes before every frame (5.1.6, struct virtio_net_hdr): legacy drivers leave out the last field, num_buffers, unless a frame
/// may lie in several buffers.
fn header_len(rings: &Rings<'_>) -> u64 {
    if rings.features() & (feature::VERSION_1 | F_MRG_RXBUF) != 0 { 12 } else { 10 }
}

/// What a driver leaves to be done, as the header says; `None` if that makes no sense.
fn left_by_driver(header: [u8; 10], features: u64, len: usize) -> Option<Unfinished> {
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let mut left = Unfinished::default();
    if header[0] & HDR_NEEDS_CSUM != 0 {
        let (start, at) = (half(6), half(6).checked_add(half(8))?);
        if features & F_CSUM == 0 || usize::from(at) + 2 > len {
            return None;
        }
        left.checksum = Some((start, at));
    }
    let (kind, feature) = match header[1] & !GSO_ECN {
        GSO_NONE => return Some(left),
        GSO_TCPV4 => (false, F_HOST_TSO4),
        GSO_TCPV6 => (true, F_HOST_TSO6),
        _ => return None,
    };
    // 5.1.6.2: such a frame needs a checksum too.
    if features & feature == 0 || left.checksum.is_none() || half(4) == 0 {
        return None;
    }
    left.segments = Some(Segments { size: half(4), header_len: half(2), v6: kind });
    Some(left)
}

/// Whether the driver takes over what is left.
fn is_taken(left: Unfinished, features: u64) -> bool {
    let segments = left.segments.map_or(0, |segments| if segments.v6 { F_GUEST_TSO6 } else { F_GUEST_TSO4 });
    let checksum = if left.checksum.is_some() { F_GUEST_CSUM } else { 0 };
    features & (segments | checksum) == segments | checksum
}

/// The header of a frame for the driver, with the number of its buffers.
fn header_for_driver(left: Unfinished, buffers: u16) -> [u8; 12] {
    let mut header = [0; 12];
    if let Some((start, at)) = left.checksum {
        header[0] = HDR_NEEDS_CSUM;
        header[6..8].copy_from_slice(&start.to_le_bytes());
        header[8..10].copy_from_slice(&at.wrapping_sub(start).to_le_bytes());
    }
    if let Some(segments) = left.segments {
        header[1] = if segments.v6 { GSO_TCPV6 } else { GSO_TCPV4 };
        header[2..4].copy_from_slice(&segments.header_len.to_le_bytes());
        header[4..6].copy_from_slice(&segments.size.to_le_bytes());
    }
    header[10..].copy_from_slice(&buffers.to_le_bytes());
    header
}

impl VirtioNet {
    /// A card with the address `mac` whose cable leads to `net`. It sets [`NetDev::on_receive`] itself.
    pub fn new(net: Arc<dyn NetDev>, mac: [u8; 6]) -> Self {
        Self { net, mac, frame: Vec::new(), waiting: None }
    }

    fn transmit(&mut self, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let header_len = header_len(rings);
        // The frame from the network that waits for buffers has the buffer of frames.
        let mut frame = if self.waiting.is_some() { Vec::new() } else { std::mem::take(&mut self.frame) };
        for _ in 0..rings.size(TRANSMIT) {
            let Some(chain) = rings.peek(TRANSMIT, 0)? else { break };
            match chain.readable.len().checked_sub(header_len) {
                Some(len @ 1..=FRAME_MAX) => {
                    frame.resize(len as usize, 0);
                    let mut header = [0; 10];
                    let read =
                        chain.readable.read(0, &mut header).and_then(|()| chain.readable.read(header_len, &mut frame));
                    read.ok_or(Malformed("buffer outside RAM"))?;
                    match left_by_driver(header, rings.features(), frame.len()) {
                        Some(left) if left == Unfinished::default() => self.net.send(&frame),
                        Some(left) => self.net.send_unfinished(&frame, left),
                        None => vm::log!(GuestError, "virtio-net: frame with the header {header:02x?}"),
                    }
                }
                _ => vm::log!(GuestError, "virtio-net: frame of {} bytes with header", chain.readable.len()),
            }
            rings.finish(TRANSMIT, chain.head, 0)?;
        }
        if self.waiting.is_none() {
            self.frame = frame;
        }
        Ok(())
    }

    fn receive(&mut self, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let header_len = header_len(rings);
        let several = rings.features() & F_MRG_RXBUF != 0;
        // A frame is taken only when there is a buffer, so that the host end decides what waits and what is dropped.
        for _ in 0..rings.size(RECEIVE) {
            let Some(first) = rings.peek(RECEIVE, 0)? else { break };
            let Some(left) = self.waiting.take().or_else(|| self.net.receive_unfinished(&mut self.frame)) else {
                break;
            };
            if !is_taken(left, rings.features()) {
                // It was made for the driver before this one.
                continue;
            }
            let len = header_len + self.frame.len() as u64;
            let mut chains = vec![first];
            let mut room = chains[0].writable.len();
            while several && room < len && chains.len() < BUFFERS_MAX.into() {
                let Some(chain) = rings.peek(RECEIVE, chains.len() as u16)? else {
                    // The driver tells when it has more.
                    self.waiting = Some(left);
                    return Ok(());
                };
                room += chain.writable.len();
                chains.push(chain);
            }
            if room < len || chains[0].writable.len() < header_len {
                vm::log!(GuestError, "virtio-net: room of {room} for {len} bytes");
                continue;
            }
            let header = header_for_driver(left, chains.len() as u16);
            let used = self.fill(&chains, &header[..header_len as usize]).ok_or(Malformed("buffer outside RAM"))?;
            rings.finish_all(RECEIVE, &used)?;
        }
        Ok(())
    }

    /// Writes header and frame to buffers with enough room; what each was given.
    fn fill(&self, chains: &[Chain], header: &[u8]) -> Option<Vec<(u16, u32)>> {
        let mut rest = &self.frame[..];
        let mut used = Vec::with_capacity(chains.len());
        for (n, chain) in chains.iter().enumerate() {
            let skip = if n == 0 { header.len() } else { 0 };
            let room = usize::try_from(chain.writable.len()).unwrap_or(usize::MAX).saturating_sub(skip);
            let (part, later) = rest.split_at(room.min(rest.len()));
            chain.writable.write(0, &header[..skip])?;
            chain.writable.write(skip as u64, part)?;
            used.push((chain.head, (skip + part.len()) as u32));
            rest = later;
        }
        Some(used)
    }
}

impl VirtioDevice for VirtioNet {
    type Regs = ();
    const MODEL: &'static str = "virtio-net-device";
    const DEVICE_ID: u32 = 1;
    const QUEUE_SIZES: &'static [u16] = &[256, 256];

    fn features(&self) -> u64 {
        let takes = self.net.takes();
        let checksum = if takes.checksum { F_CSUM | F_GUEST_CSUM } else { 0 };
        let v4 = if takes.segments_v4 { F_HOST_TSO4 | F_GUEST_TSO4 } else { 0 };
        let v6 = if takes.segments_v6 { F_HOST_TSO6 | F_GUEST_TSO6 } else { 0 };
        F_MAC | F_STATUS | F_MRG_RXBUF | checksum | v4 | v6
    }

    fn config(&self, _regs: &()) -> Vec<u8> {
        // mac, status, max_virtqueue_pairs
        [&self.mac[..], &LINK_UP.to_le_bytes(), &1u16.to_le_bytes()].concat()
    }

    fn activate(&mut self, _regs: &mut (), features: u64) {
        let checksum = features & F_GUEST_CSUM != 0;
        self.net.offer(Offloads {
            checksum,
            // 5.1.3.1: these need GUEST_CSUM.
            segments_v4: checksum && features & F_GUEST_TSO4 != 0,
            segments_v6: checksum && features & F_GUEST_TSO6 != 0,
        });
    }

    fn process(&mut self, _regs: &mut (), rings: &mut Rings<'_>) -> Result<(), Malformed> {
        self.transmit(rings)?;
        self.receive(rings)
    }

    fn abandon(&mut self) {
        self.waiting = None;
        self.net.offer(Offloads::default());
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
        left: Mutex<Vec<Unfinished>>,
        offered: Mutex<Offloads>,
        give: Mutex<Unfinished>,
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
        fn takes(&self) -> Offloads {
            Offloads { checksum: true, segments_v4: true, segments_v6: false }
        }
        fn send_unfinished(&self, frame: &[u8], left: Unfinished) {
            self.left.lock().unwrap().push(left);
            self.send(frame);
        }
        fn offer(&self, offloads: Offloads) {
            *self.offered.lock().unwrap() = offloads;
        }
        fn receive_unfinished(&self, frame: &mut Vec<u8>) -> Option<Unfinished> {
            self.receive(frame).then(|| *self.give.lock().unwrap())
        }
    }

    fn bench(legacy: bool) -> (Driver<VirtioNet>, Arc<Cable>) {
        bench_with(legacy, F_MAC)
    }

    fn bench_with(legacy: bool, features: u64) -> (Driver<VirtioNet>, Arc<Cable>) {
        let cable = Arc::new(Cable::default());
        let card = VirtioNet::new(cable.clone(), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        (Driver::started(card, legacy, features), cable)
    }

    /// A header with flags, kind, header length, segment size, and where the checksum starts and is put.
    fn header(flags: u8, kind: u8, halves: [u16; 4]) -> Vec<u8> {
        let bytes = halves.iter().flat_map(|half| half.to_le_bytes());
        [flags, kind].into_iter().chain(bytes).chain([0, 0]).collect()
    }

    #[test]
    fn work_is_left_to_the_host_as_negotiated() {
        let (mut d, cable) = bench_with(false, F_MAC | F_CSUM | F_HOST_TSO4 | F_GUEST_CSUM | F_GUEST_TSO6);
        // Only what the host's end takes is on offer.
        let offered = Offloads { checksum: true, ..Offloads::default() };
        assert_eq!(*cable.offered.lock().unwrap(), offered);
        let segments = Some(Segments { size: 1460, header_len: 54, v6: false });
        let rows = [
            (header(0, 0, [0; 4]), None),
            (header(1, 0, [0, 0, 34, 16]), Some(Unfinished { checksum: Some((34, 50)), segments: None })),
            (header(1, 1, [54, 1460, 34, 16]), Some(Unfinished { checksum: Some((34, 50)), segments })),
            (header(1, 0x81, [54, 1460, 34, 16]), Some(Unfinished { checksum: Some((34, 50)), segments })),
        ];
        for (header, left) in rows {
            d.store(DATA, &header);
            d.transact(TRANSMIT, &[(DATA, 112, 0)]);
            assert_eq!(cable.left.lock().unwrap().pop(), left, "{header:?}");
            assert_eq!(cable.sent.lock().unwrap().pop().map(|frame| frame.len()), Some(100), "{header:?}");
        }
        // Outside of the frame, without a checksum, of no bytes, of a kind that was not on offer or is not known.
        let wrong = [
            header(1, 0, [0, 0, 34, 65]),
            header(1, 0, [0, 0, 0xffff, 0xffff]),
            header(0, 1, [54, 1460, 34, 16]),
            header(1, 1, [54, 0, 34, 16]),
            header(1, 4, [54, 1460, 34, 16]),
            header(1, 3, [54, 1460, 34, 16]),
        ];
        for header in wrong {
            d.store(DATA, &header);
            d.transact(TRANSMIT, &[(DATA, 112, 0)]);
            assert!(cable.sent.lock().unwrap().is_empty(), "{header:?}");
        }
        assert!(!d.needs_reset());
    }

    #[test]
    fn work_is_left_to_the_driver_as_negotiated() {
        let (mut d, cable) = bench_with(false, F_MAC | F_GUEST_CSUM | F_GUEST_TSO4);
        let segments = Some(Segments { size: 1460, header_len: 54, v6: false });
        *cable.give.lock().unwrap() = Unfinished { checksum: Some((34, 50)), segments };
        cable.push(&[7; 3000]);
        assert_eq!(d.transact(RECEIVE, &[(DATA, 4000, WRITE)]), 3012);
        assert_eq!(d.load(DATA, 12), [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 1, 0]);
        // What this driver cannot take over is dropped.
        let (mut d, cable) = bench(false);
        *cable.give.lock().unwrap() = Unfinished { checksum: Some((34, 50)), segments: None };
        cable.push(&[7; 60]);
        d.chain(RECEIVE, 0, &[(DATA, 4000, WRITE)]);
        d.offer(RECEIVE, 0);
        d.kick(RECEIVE);
        assert_eq!((cable.waiting.lock().unwrap().len(), d.used_index(RECEIVE)), (0, 0));
    }

    #[test]
    fn a_frame_in_several_buffers() {
        let (mut d, cable) = bench_with(false, F_MAC | F_MRG_RXBUF);
        let frame: Vec<u8> = (0..100).collect();
        cable.push(&frame);
        for n in 0..3 {
            let at = DATA + u64::from(n) * 0x100;
            d.chain(RECEIVE, n, &[(at, 40, WRITE)]);
            d.offer(RECEIVE, n);
            d.kick(RECEIVE);
            // The driver sees nothing until all of it is there.
            assert_eq!(d.used_index(RECEIVE), if n < 2 { 0 } else { 3 });
        }
        assert_eq!([0, 1, 2].map(|n| d.used(RECEIVE, n)), [(0, 40), (1, 40), (2, 32)]);
        assert_eq!(d.load(DATA + 10, 2), [3, 0]);
        let parts = [d.load(DATA + 12, 28), d.load(DATA + 0x100, 40), d.load(DATA + 0x200, 32)];
        assert_eq!(parts.concat(), frame);
        // A frame that waits does not outlive its driver.
        cable.push(&[0; 200]);
        d.chain(RECEIVE, 3, &[(DATA, 40, WRITE)]);
        d.offer(RECEIVE, 3);
        d.kick(RECEIVE);
        assert_eq!((cable.waiting.lock().unwrap().len(), d.used_index(RECEIVE)), (0, 3));
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
