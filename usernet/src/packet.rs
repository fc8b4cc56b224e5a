//! Headers of IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), and the checksum that they share (RFC 1071).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Ethernet's numbers for what a frame carries.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
pub const ETHERTYPE_ARP: u16 = 0x0806;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IP's numbers for what a packet carries.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
/// Bytes of the greatest IP packet in a frame.
pub const MTU: usize = 1500;
/// Hops that a packet may make.
const HOPS: u8 = 64;
/// RFC 4861: a neighbour's messages come from the link itself.
pub const NEIGHBOUR_HOPS: u8 = 255;

/// A big-endian number of 16 bits at `at`; `None` behind the end.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A big-endian number of 32 bits at `at`; `None` behind the end.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The one's complement sum of `bytes` added to `sum`.
fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    sum + u64::from(u32::from_be_bytes(last))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// The checksum of a packet; 0 if `bytes` contains the right one.
pub fn checksum(bytes: &[u8]) -> u16 {
    fold(add(0, bytes))
}

/// The checksum of `bytes` and the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1); 0 if `bytes` contains the right one.
pub fn checksum_between(src: IpAddr, dst: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let sum = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => add(add(0, &src.octets()), &dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => add(add(0, &src.octets()), &dst.octets()),
        _ => 0,
    };
    fold(add(sum + u64::from(protocol) + bytes.len() as u64, bytes))
}

/// A packet of IP.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub hops: u8,
    pub payload: &'a [u8],
    /// All of it with its header.
    pub bytes: &'a [u8],
    /// It is a part of a packet.
    pub fragment: Option<Fragment>,
}

/// Which part of a packet of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub id: u16,
    /// First byte of the payload in the whole one.
    pub offset: usize,
    /// Others follow.
    pub more: bool,
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` if it is malformed. `bytes` may be longer than it.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::parse_v4(bytes),
            6 => Self::parse_v6(bytes),
            _ => None,
        }
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(bytes.first()? & 15) * 4;
        let bytes = bytes.get(..usize::from(u16_at(bytes, 2)?))?;
        let header = bytes.get(..header_len).filter(|header| header.len() >= 20 && checksum(header) == 0)?;
        let field = u16_at(header, 6)?;
        let (offset, more) = (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0);
        Some(Self {
            src: Ipv4Addr::from(array(header, 12)?).into(),
            dst: Ipv4Addr::from(array(header, 16)?).into(),
            protocol: header[9],
            hops: header[8],
            payload: &bytes[header_len..],
            bytes,
            fragment: (more || offset != 0).then_some(Fragment { id: u16_at(header, 4)?, offset, more }),
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..40 + usize::from(u16_at(bytes, 4)?))?;
        Some(Self {
            src: Ipv6Addr::from(array(bytes, 8)?).into(),
            dst: Ipv6Addr::from(array(bytes, 24)?).into(),
            protocol: bytes[6],
            hops: bytes[7],
            payload: &bytes[40..],
            bytes,
            fragment: None,
        })
    }
}

/// Whether both addresses are of the same family.
pub fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// Appends the header of a packet with `payload_len` bytes to `frame`. Both addresses are of the same family; a fragment's
/// family is IPv4.
pub fn push_header(
    frame: &mut Vec<u8>,
    (src, dst): (IpAddr, IpAddr),
    (protocol, hops): (u8, u8),
    payload_len: usize,
    fragment: Option<Fragment>,
) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (id, field) = fragment
                .map_or((0, 0x4000), |part| (part.id, (part.offset / 8) as u16 | if part.more { 0x2000 } else { 0 }));
            let start = frame.len();
            frame.extend([0x45, 0]);
            frame.extend((20 + payload_len as u16).to_be_bytes());
            frame.extend(id.to_be_bytes());
            frame.extend(field.to_be_bytes());
            frame.extend([hops, protocol, 0, 0]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
            let sum = checksum(&frame[start..]).to_be_bytes();
            frame[start + 10..start + 12].copy_from_slice(&sum);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend((payload_len as u16).to_be_bytes());
            frame.extend([protocol, hops]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
        }
        _ => {}
    }
}

/// Appends a whole packet with default hops to `frame`.
pub fn push(frame: &mut Vec<u8>, src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) {
    push_header(frame, (src, dst), (protocol, HOPS), payload.len(), None);
    frame.extend_from_slice(payload);
}

/// Appends one part of a packet of IPv4 to `frame`.
pub fn push_fragment(frame: &mut Vec<u8>, src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8], part: Fragment) {
    push_header(frame, (src, dst), (protocol, HOPS), payload.len(), Some(part));
    frame.extend_from_slice(payload);
}

/// A datagram of UDP: both ports, then the data.
pub fn parse_udp<'a>(packet: &Packet<'a>) -> Option<(u16, u16, &'a [u8])> {
    let bytes = packet.payload.get(..usize::from(u16_at(packet.payload, 4)?))?;
    let data = bytes.get(8..)?;
    // RFC 768: 0 stands for none; RFC 8200, 8.1: not so in IPv6.
    let unchecked = u16_at(bytes, 6)? == 0 && packet.src.is_ipv4();
    let right = unchecked || checksum_between(packet.src, packet.dst, UDP, bytes) == 0;
    right.then_some((u16_at(bytes, 0)?, u16_at(bytes, 2)?, data))
}

/// The bytes of a datagram of UDP.
pub fn udp(src: SocketAddr, dst: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + data.len());
    bytes.extend(src.port().to_be_bytes());
    bytes.extend(dst.port().to_be_bytes());
    bytes.extend((8 + data.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend_from_slice(data);
    let sum = match checksum_between(src.ip(), dst.ip(), UDP, &bytes) {
        0 => 0xffff,
        sum => sum,
    };
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (src, dst) in [("10.0.2.2:53", "10.0.2.15:1000"), ("[fec0::2]:53", "[fec0::15]:1000")] {
            let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            for len in [0, 1, 2, 3, 5, 1472] {
                let mut bytes = Vec::new();
                push(&mut bytes, src.ip(), dst.ip(), UDP, &udp(src, dst, &vec![0xa5; len]));
                bytes.push(0); // Padding of a short frame.
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!((packet.src, packet.dst, packet.fragment), (src.ip(), dst.ip(), None));
                assert_eq!(parse_udp(&packet), Some((53, 1000, &vec![0xa5; len][..])));
                let end = bytes.len() - 2;
                bytes[end] ^= 1;
                let broken = Packet::parse(&bytes).unwrap();
                assert_eq!(parse_udp(&broken), None, "{len}");
            }
        }
    }

    #[test]
    fn short_packets_are_refused() {
        let mut bytes = Vec::new();
        push(&mut bytes, [10, 0, 2, 2].into(), [10, 0, 2, 15].into(), UDP, &[0; 8]);
        for len in 0..bytes.len() {
            assert!(Packet::parse(&bytes[..len]).is_none(), "{len}");
        }
        bytes[8] ^= 1;
        assert!(Packet::parse(&bytes).is_none());
    }
}
