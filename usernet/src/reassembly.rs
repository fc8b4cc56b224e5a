//! Fragments of IPv4 packets (RFC 791, 3.2), put together.

use crate::packet::Packet;
use smoltcp::time::{Duration, Instant};
use std::net::IpAddr;

/// Packets at a time; the oldest is given up for another.
const PACKETS_MAX: usize = 8;
/// RFC 1122, 3.3.2: at most two minutes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the greatest payload.
const PAYLOAD_MAX: usize = 0xffff - 20;
/// Pieces of a packet; the smallest common link makes 120.
const PIECES_MAX: usize = 128;

struct Partial {
    key: (IpAddr, IpAddr, u8, u16),
    bytes: Vec<u8>,
    /// Ranges that have come, in any order and without overlap.
    pieces: Vec<(usize, usize)>,
    len: Option<usize>,
    until: Instant,
}

/// Packets of which parts have come.
#[derive(Default)]
pub struct Reassembly {
    partials: Vec<Partial>,
}

impl Reassembly {
    /// Takes a fragment; the payload of the whole packet when this was the last missing part. Fragments that overlap others
    /// are malformed: their packet is given up (as RFC 5722 has it for IPv6).
    pub fn input(&mut self, packet: &Packet<'_>, now: Instant) -> Option<Vec<u8>> {
        let fragment = packet.fragment?;
        self.partials.retain(|partial| partial.until > now);
        let end = fragment.offset + packet.payload.len();
        if packet.payload.is_empty() || end > PAYLOAD_MAX || (fragment.more && !packet.payload.len().is_multiple_of(8))
        {
            return None;
        }
        let key = (packet.src, packet.dst, packet.protocol, fragment.id);
        let at = match self.partials.iter().position(|partial| partial.key == key) {
            Some(at) => at,
            None => {
                if self.partials.len() >= PACKETS_MAX {
                    self.partials.remove(0);
                }
                let partial = Partial { key, bytes: Vec::new(), pieces: Vec::new(), len: None, until: now + PATIENCE };
                self.partials.push(partial);
                self.partials.len() - 1
            }
        };
        let partial = &mut self.partials[at];
        let overlaps = partial.pieces.iter().any(|(start, stop)| fragment.offset < *stop && *start < end);
        let behind = partial.len.is_some_and(|len| end > len || !fragment.more);
        if overlaps || behind || partial.pieces.len() >= PIECES_MAX {
            self.partials.remove(at);
            return None;
        }
        if !fragment.more {
            partial.len = Some(end);
        }
        partial.bytes.resize(partial.bytes.len().max(end), 0);
        partial.bytes[fragment.offset..end].copy_from_slice(packet.payload);
        partial.pieces.push((fragment.offset, end));
        let have: usize = partial.pieces.iter().map(|(start, stop)| stop - start).sum();
        let complete = partial.len == Some(have) && partial.bytes.len() == have;
        complete.then(|| self.partials.remove(at).bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Fragment, push_fragment};

    /// Feeds pieces of a payload (offset, length, more follow) and tells whether a packet came out.
    fn check(pieces: &[(usize, usize, bool)], complete: bool) {
        let payload: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for &(offset, len, more) in pieces {
            let mut bytes = Vec::new();
            let part = Fragment { id: 7, offset, more };
            let (src, dst) = ([10, 0, 2, 15].into(), [10, 0, 2, 2].into());
            push_fragment(&mut bytes, src, dst, 17, &payload[offset..offset + len], part);
            whole = reassembly.input(&Packet::parse(&bytes).unwrap(), Instant::ZERO);
        }
        assert_eq!(whole.is_some(), complete, "{pieces:?}");
        if let Some(whole) = whole {
            assert!(payload.starts_with(&whole));
        }
    }

    #[test]
    fn fragments_in_any_order() {
        check(&[(0, 1480, true), (1480, 1480, true), (2960, 40, false)], true);
        check(&[(2960, 40, false), (0, 1480, true), (1480, 1480, true)], true);
        check(&[(0, 1480, true), (2960, 40, false)], false);
        check(&[(0, 1480, true), (1472, 1488, true), (2960, 40, false)], false);
        check(&[(1480, 40, false), (0, 1480, true), (1480, 40, false)], false);
        check(&[(0, 1479, true), (1480, 40, false)], false);
        check(&[(0, 8, false), (8, 8, false)], false);
    }

    #[test]
    fn few_packets_wait() {
        let mut reassembly = Reassembly::default();
        for id in 0..1000 {
            let mut bytes = Vec::new();
            let part = Fragment { id, offset: 65_000, more: true };
            push_fragment(&mut bytes, [10, 0, 2, 15].into(), [10, 0, 2, 2].into(), 17, &[0; 8], part);
            assert!(reassembly.input(&Packet::parse(&bytes).unwrap(), Instant::ZERO).is_none());
        }
        assert_eq!(reassembly.partials.len(), PACKETS_MAX);
    }
}
