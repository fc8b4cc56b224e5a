//! "Packet reception": which frames are taken, and legacy receive descriptors.

use super::{E1000, MTA, RAH0, RAL0, RCTL, RDBAH, RDBAL, RDH, RDLEN, RDT, RXO, RXT0};
use vm_memory::{Bytes, GuestAddress};

// RCTL.
const ENABLE: u32 = 1 << 1;
const UNICAST_ALL: u32 = 1 << 3;
const MULTICAST_ALL: u32 = 1 << 4;
const LONG: u32 = 1 << 5;
const BROADCAST: u32 = 1 << 15;
const SIZE_TIMES_16: u32 = 1 << 25;
const STRIP_CRC: u32 = 1 << 26;

// Status of a descriptor.
const DONE: u8 = 1 << 0;
const END: u8 = 1 << 1;
const NO_CHECKSUM: u8 = 1 << 2;

/// Frames without LPE, and with it.
const FRAME_MAX: usize = 1518;
const LONG_MAX: usize = 16384;
/// Address filters.
const FILTERS: u32 = 16;

// Statistics.
const GPRC: u32 = 0x4074;
const MPC: u32 = 0x4010;

impl E1000 {
    /// Takes what waits on the cable, as long as there are descriptors.
    pub(super) fn receive(&mut self) {
        for _ in 0..256 {
            if self.plain(RCTL) & ENABLE == 0 || !self.has_room() {
                return;
            }
            let mut frame = std::mem::take(&mut self.frame);
            let came = self.net.receive(&mut frame);
            if came && self.is_wanted(&frame) {
                self.store(&mut frame);
            }
            self.frame = frame;
            if !came {
                return;
            }
        }
    }

    fn has_room(&self) -> bool {
        let (_, size) = self.ring(RDBAL, RDBAH, RDLEN);
        size != 0 && self.plain(RDH) < size && self.plain(RDH) != self.plain(RDT)
    }

    /// "Packet address filtering".
    fn is_wanted(&self, frame: &[u8]) -> bool {
        let control = self.plain(RCTL);
        let max = if control & LONG != 0 { LONG_MAX } else { FRAME_MAX };
        let Some(to) = frame.first_chunk::<6>().filter(|_| frame.len() <= max) else { return false };
        if *to == [0xff; 6] {
            return control & BROADCAST != 0;
        }
        let is_multicast = to[0] & 1 != 0;
        let all = if is_multicast { MULTICAST_ALL } else { UNICAST_ALL };
        if control & all != 0 {
            return true;
        }
        let exact = (0..FILTERS).any(|n| {
            let (low, high) = (self.plain(RAL0 + n * 8), self.plain(RAH0 + n * 8));
            let address = [&low.to_le_bytes()[..], &high.to_le_bytes()[..2]].concat();
            high & 0x8000_0000 != 0 && address == to
        });
        if exact || !is_multicast {
            return exact;
        }
        // "Multicast table array": 12 bits of the address, which of them says RCTL.MO.
        let shift = [4, 3, 2, 0][(control >> 12 & 3) as usize];
        let hash = (u32::from(to[4]) | u32::from(to[5]) << 8) >> shift & 0xfff;
        self.plain(MTA + (hash >> 5) * 4) >> (hash & 31) & 1 != 0
    }

    /// Bytes of a buffer.
    fn buffer_len(&self) -> usize {
        let control = self.plain(RCTL);
        let size = 2048 >> (control >> 16 & 3);
        if control & SIZE_TIMES_16 != 0 { size * 16 } else { size }
    }

    fn store(&mut self, bytes: &mut Vec<u8>) {
        // Short frames are padded on the wire; then the CRC, of which nobody asks what it is.
        bytes.resize(bytes.len().max(60), 0);
        if self.plain(RCTL) & STRIP_CRC == 0 {
            bytes.extend([0; 4]);
        }
        let memory = self.function.slot().memory.dma();
        let (base, size) = self.ring(RDBAL, RDBAH, RDLEN);
        let (tail, room) = (self.plain(RDT), self.buffer_len());
        let mut head = self.plain(RDH);
        let mut parts = bytes.chunks(room.max(1)).peekable();
        while let Some(part) = parts.next() {
            if head == tail || head >= size {
                // The rest does not fit: the frame is lost.
                self.raise(RXO);
                self.count(MPC, 1);
                break;
            }
            let at = GuestAddress(base.wrapping_add(u64::from(head) * 16));
            let mut descriptor = [0; 16];
            if memory.read_slice(&mut descriptor, at).is_err() {
                vm::log!(GuestError, "e1000: receive descriptors outside RAM");
                break;
            }
            let [a0, a1, a2, a3, a4, a5, a6, a7, ..] = descriptor;
            let buffer = GuestAddress(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]));
            if buffer.0 != 0 && memory.write_slice(part, buffer).is_err() {
                vm::log!(GuestError, "e1000: receive buffer outside RAM");
            }
            descriptor[8..10].copy_from_slice(&(part.len() as u16).to_le_bytes());
            descriptor[10..].fill(0);
            descriptor[12] = DONE | NO_CHECKSUM | if parts.peek().is_none() { END } else { 0 };
            let _ = memory.write_slice(&descriptor, at);
            head = if head + 1 >= size { 0 } else { head + 1 };
        }
        self.set_plain(RDH, head);
        self.count(GPRC, 1);
        self.raise(RXT0);
    }
}
