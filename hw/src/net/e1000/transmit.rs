//! "Packet transmission": legacy, context and data descriptors, with checksums and segmentation.

use super::{E1000, TCTL, TDBAH, TDBAL, TDH, TDLEN, TDT, TXDW, TXQE};
use serde::{Deserialize, Serialize};
use vm::BadState;
use vm_memory::{Bytes, GuestAddress};

const TCTL_ENABLE: u32 = 1 << 1;

// Command bits of a descriptor, in its third word.
const END: u32 = 1 << 24;
const CHECKSUM: u32 = 1 << 26;
const REPORT: u32 = 1 << 27;
const EXTENDED: u32 = 1 << 29;
const SEGMENT: u32 = 1 << 26;
// In a context descriptor.
const IS_TCP: u32 = 1 << 24;
const IS_IPV4: u32 = 1 << 25;
/// Options of a data descriptor, in its fourth word: insert checksums.
const INSERT_IP: u32 = 1 << 8;
const INSERT_TCP: u32 = 1 << 9;

/// Bytes of a frame, or of one before it is cut into segments.
const FRAME_MAX: usize = 0x1_0000 + 256;
/// Descriptors and frames of one visit to the rings.
const SETTLE_MAX: usize = 4096;

// Statistics.
const GPTC: u32 = 0x4080;

/// A frame that is being gathered, and the context for those that come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TransmitRegs {
    frame: Vec<u8>,
    /// Words of the last context descriptor.
    context: [u32; 4],
    /// Options of the first data descriptor of the frame, and whether it is to be cut.
    options: u32,
    segment: bool,
}

impl TransmitRegs {
    pub(super) fn validate(&self) -> Result<(), BadState> {
        match self.frame.len() {
            len if len > FRAME_MAX => Err(BadState(format!("a frame of {len} bytes"))),
            _ => Ok(()),
        }
    }
}

/// The Internet checksum's sum (RFC 1071) of `bytes`, folded.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn put_be16(frame: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = frame.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

fn be16(frame: &[u8], at: usize) -> u16 {
    frame.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Puts the checksum of the bytes from `start` to `end` (inclusive, 0 for all) at `at`, where the guest left what else
/// belongs to it.
fn insert_checksum(frame: &mut [u8], start: u8, at: u8, end: u16) {
    let (start, at) = (usize::from(start), usize::from(at));
    let end = if end == 0 { frame.len() } else { (usize::from(end) + 1).min(frame.len()) };
    if let Some(covered) = frame.get(start..end) {
        let checksum = !sum(covered);
        put_be16(frame, at, checksum);
    }
}

impl E1000 {
    /// Sends what the guest has made available, until so much was sent.
    pub(super) fn transmit(&mut self) {
        let (base, size) = self.ring(TDBAL, TDBAH, TDLEN);
        let tail = self.plain(TDT);
        if self.plain(TCTL) & TCTL_ENABLE == 0 || size == 0 || tail >= size || self.plain(TDH) == tail {
            return;
        }
        let memory = self.function.slot().memory.dma();
        let mut head = self.plain(TDH) % size;
        let mut sent = 0;
        while head != tail && sent < SETTLE_MAX {
            let at = base.wrapping_add(u64::from(head) * 16);
            let mut raw = [0; 16];
            if memory.read_slice(&mut raw, GuestAddress(at)).is_err() {
                vm::log!(GuestError, "e1000: transmit descriptors outside RAM");
                break;
            }
            let words: [u32; 4] = std::array::from_fn(|n| {
                u32::from_le_bytes([raw[4 * n], raw[4 * n + 1], raw[4 * n + 2], raw[4 * n + 3]])
            });
            sent += 1 + self.descriptor(words);
            if words[2] & REPORT != 0 {
                let _ = memory.write_slice(&[raw[12] | 1], GuestAddress(at.wrapping_add(12)));
                self.raise(TXDW);
            }
            head = if head + 1 >= size { 0 } else { head + 1 };
        }
        self.set_plain(TDH, head);
        if head == tail {
            self.raise(TXQE);
        }
    }

    /// Does one descriptor; how many frames were sent.
    fn descriptor(&mut self, words: [u32; 4]) -> usize {
        let extended = words[2] & EXTENDED != 0;
        // Type 0 of the extended ones sets the context.
        if extended && words[2] >> 20 & 0xf == 0 {
            self.regs.transmit.context = words;
            return 0;
        }
        let len = if extended { words[2] & 0xf_ffff } else { words[2] & 0xffff } as usize;
        let t = &mut self.regs.transmit;
        if t.frame.is_empty() {
            t.options = if extended { words[3] } else { 0 };
            t.segment = extended && words[2] & SEGMENT != 0;
        }
        let old = t.frame.len();
        let room = FRAME_MAX.saturating_sub(old);
        t.frame.resize(old + len.min(room), 0);
        let address = u64::from(words[0]) | u64::from(words[1]) << 32;
        let memory = self.function.slot().memory.dma();
        if let Some(part) = t.frame.get_mut(old..)
            && memory.read_slice(part, GuestAddress(address)).is_err()
        {
            vm::log!(GuestError, "e1000: transmit buffer outside RAM");
        }
        if words[2] & END == 0 {
            return 0;
        }
        let mut frame = std::mem::take(&mut t.frame);
        let (options, context) = (t.options, t.context);
        if t.segment {
            return self.send_segments(&frame, context, options);
        }
        if !extended && words[2] & CHECKSUM != 0 {
            insert_checksum(&mut frame, (words[3] >> 8) as u8, (words[2] >> 16) as u8, 0);
        }
        self.send(&mut frame, context, options);
        1
    }

    /// Inserts checksums and sends.
    fn send(&mut self, frame: &mut [u8], context: [u32; 4], options: u32) {
        let [ip, tcp, ..] = context;
        if options & INSERT_TCP != 0 {
            insert_checksum(frame, tcp as u8, (tcp >> 8) as u8, (tcp >> 16) as u16);
        }
        if options & INSERT_IP != 0 {
            insert_checksum(frame, ip as u8, (ip >> 8) as u8, (ip >> 16) as u16);
        }
        if !frame.is_empty() {
            self.net.send(frame);
            self.count(GPTC, 1);
        }
    }

    /// "TCP segmentation": the headers before each part of the data, counted on. How many.
    fn send_segments(&mut self, frame: &[u8], context: [u32; 4], options: u32) -> usize {
        let (header_len, mss) = ((context[3] >> 8 & 0xff) as usize, (context[3] >> 16) as usize);
        let (Some((header, data)), 1..) = (frame.split_at_checked(header_len), mss) else {
            vm::log!(GuestError, "e1000: segments of {mss} bytes after {header_len} of header");
            return 0;
        };
        let (ip, tcp) = (usize::from(context[0] as u8), usize::from(context[1] as u8));
        let (is_tcp, is_ipv4) = (context[2] & IS_TCP != 0, context[2] & IS_IPV4 != 0);
        let count = data.len().div_ceil(mss).max(1);
        for n in 0..count {
            let part = data.get(n * mss..data.len().min((n + 1) * mss)).unwrap_or(&[]);
            let mut segment = [header, part].concat();
            let len = segment.len();
            if is_ipv4 {
                put_be16(&mut segment, ip + 2, len.saturating_sub(ip) as u16);
                let id = be16(header, ip + 4).wrapping_add(n as u16);
                put_be16(&mut segment, ip + 4, id);
            } else {
                put_be16(&mut segment, ip + 4, len.saturating_sub(ip + 40) as u16);
            }
            if is_tcp {
                let sequence = (u32::from(be16(header, tcp + 4)) << 16 | u32::from(be16(header, tcp + 6)))
                    .wrapping_add((n * mss) as u32);
                put_be16(&mut segment, tcp + 4, (sequence >> 16) as u16);
                put_be16(&mut segment, tcp + 6, sequence as u16);
                // FIN and PSH are the last segment's.
                if n + 1 < count
                    && let Some(flags) = segment.get_mut(tcp + 13)
                {
                    *flags &= !0x09;
                }
            } else {
                put_be16(&mut segment, tcp + 4, len.saturating_sub(tcp) as u16);
            }
            // The guest's pseudo-header sum leaves out the length.
            let checksum_at = usize::from((context[1] >> 8) as u8);
            let carried = u32::from(be16(&segment, checksum_at)) + len.saturating_sub(tcp) as u32;
            put_be16(&mut segment, checksum_at, ((carried & 0xffff) + (carried >> 16)) as u16);
            self.send(&mut segment, context, options);
        }
        count
    }
}
