//! The network's way to the guest: neighbours (RFC 826, RFC 4861), and frames that leave.

use crate::cable::Cable;
use crate::config::Config;
use crate::packet::{self, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Fragment, MTU, Packet};
use smoltcp::time::Instant;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An address of Ethernet.
pub type Mac = [u8; 6];

/// The gateway's own address, QEMU's (locally administered).
pub const OUR_MAC: Mac = [0x52, 0x55, 10, 0, 2, 2];
const BROADCAST: Mac = [0xff; 6];
/// Neighbours that are remembered.
const NEIGHBOURS_MAX: usize = 256;

/// What every protocol sends with.
pub struct Link {
    pub config: Config,
    /// The time of this turn.
    pub now: Instant,
    cable: Arc<Cable>,
    neighbours: HashMap<IpAddr, Mac>,
    /// Frames of this turn.
    batch: Vec<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// How many the batch may have.
    room: usize,
    /// Somebody waits for room.
    starved: bool,
    fragment_id: u16,
}

impl Link {
    pub fn new(config: Config, cable: Arc<Cable>) -> Self {
        Self {
            config,
            now: Instant::ZERO,
            cable,
            neighbours: HashMap::new(),
            batch: Vec::new(),
            spare: Vec::new(),
            room: 0,
            starved: false,
            fragment_id: 0,
        }
    }

    /// Begins a turn.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
        self.room = self.cable.room(&mut self.spare);
    }

    /// Ends a turn: the guest gets the frames.
    pub fn end(&mut self) {
        self.cable.deliver(&mut self.batch, std::mem::take(&mut self.starved));
    }

    /// Whether another frame may be sent. After a `false` the thread is called when there is room.
    pub fn has_room(&mut self) -> bool {
        let room = self.batch.len() < self.room;
        self.starved |= !room;
        room
    }

    /// Whether the next turn begins with room; if not, the thread is called when there is some.
    pub fn has_room_next(&mut self) -> bool {
        let room = self.cable.room(&mut self.spare) > 0;
        if !room {
            // The guest may have taken frames before it could know that they are waited for.
            self.cable.starve();
        }
        room || self.cable.room(&mut self.spare) > 0
    }

    /// A buffer for a frame, with an Ethernet header to be filled in.
    pub fn buffer(&mut self) -> Vec<u8> {
        let mut frame = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(ETHERNET + MTU));
        frame.clear();
        frame.extend([0; ETHERNET]);
        frame
    }

    /// Remembers where `addr` is.
    pub fn learn(&mut self, addr: IpAddr, mac: Mac) {
        // A group is nobody's address.
        if mac[0] & 1 != 0 || self.neighbours.get(&addr) == Some(&mac) {
            return;
        }
        if self.neighbours.len() >= NEIGHBOURS_MAX {
            self.neighbours.clear();
        }
        self.neighbours.insert(addr, mac);
    }

    /// Number of neighbours.
    #[cfg(test)]
    pub fn neighbours(&self) -> usize {
        self.neighbours.len()
    }

    /// Sends a frame made from [`buffer`](Self::buffer) to `mac`. Without room it is dropped.
    pub fn send_to(&mut self, mac: Mac, ethertype: u16, mut frame: Vec<u8>) {
        if !self.has_room() {
            self.spare.push(frame);
            return;
        }
        frame[..6].copy_from_slice(&mac);
        frame[6..12].copy_from_slice(&OUR_MAC);
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        self.batch.push(frame);
    }

    /// Sends a packet behind an Ethernet header from [`buffer`](Self::buffer) to the neighbour `dst`. If nobody knows where
    /// that is it is asked for, and the packet dropped: whoever sent it sends it again.
    pub fn send_packet(&mut self, dst: IpAddr, frame: Vec<u8>) {
        let ethertype = if dst.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        match self.mac(dst) {
            Some(mac) => self.send_to(mac, ethertype, frame),
            None => {
                self.spare.push(frame);
                self.ask_for(dst);
            }
        }
    }

    fn mac(&self, dst: IpAddr) -> Option<Mac> {
        match dst {
            IpAddr::V4(addr) if addr.is_broadcast() => Some(BROADCAST),
            IpAddr::V4(addr) if self.config.v4.is_some_and(|v4| v4.broadcast() == addr) => Some(BROADCAST),
            // RFC 2464, 7: the last four bytes of the group.
            IpAddr::V6(addr) if addr.is_multicast() => {
                let [.., a, b, c, d] = addr.octets();
                Some([0x33, 0x33, a, b, c, d])
            }
            dst => self.neighbours.get(&dst).copied(),
        }
    }

    fn ask_for(&mut self, dst: IpAddr) {
        match (dst, self.config.host(dst)) {
            (IpAddr::V4(dst), IpAddr::V4(host)) => {
                let mut frame = self.buffer();
                push_arp(&mut frame, 1, (OUR_MAC, host.octets()), ([0; 6], dst.octets()));
                self.send_to(BROADCAST, ETHERTYPE_ARP, frame);
            }
            (IpAddr::V6(dst), IpAddr::V6(host)) => crate::ndp::solicit(self, host, dst),
            _ => {}
        }
    }

    /// Answers a request for one of the network's own addresses (RFC 826).
    pub fn arp(&mut self, packet: &[u8]) {
        // Ethernet and IPv4: hardware type 1, protocol type 0x800, 6 and 4 bytes.
        let known = packet.len() >= 28 && packet[..6] == [0, 1, 8, 0, 6, 4];
        if !known {
            return;
        }
        let field = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap_or_default();
        let (sender, target) = (field(14), field(24));
        let sender_mac: Mac = packet[8..14].try_into().unwrap_or_default();
        if self.config.is_guest(sender.into()) {
            self.learn(sender.into(), sender_mac);
        }
        if packet[6..8] == [0, 1] && self.config.is_own(target.into()) {
            let mut frame = self.buffer();
            push_arp(&mut frame, 2, (OUR_MAC, target), (sender_mac, sender));
            self.send_to(sender_mac, ETHERTYPE_ARP, frame);
        }
    }

    /// Sends a packet with this payload, in fragments if it is too long for a frame and of IPv4.
    pub fn send_payload(&mut self, src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) {
        if payload.len() + 20 <= MTU {
            let mut frame = self.buffer();
            packet::push(&mut frame, src, dst, protocol, payload);
            return self.send_packet(dst, frame);
        }
        // Deviation: long packets of IPv6 are dropped; no protocol that is served here needs them.
        if dst.is_ipv6() {
            return;
        }
        self.fragment_id = self.fragment_id.wrapping_add(1);
        let step = (MTU - 20) & !7;
        for (n, part) in payload.chunks(step).enumerate() {
            let offset = n * step;
            let more = offset + part.len() < payload.len();
            let mut frame = self.buffer();
            let fragment = Fragment { id: self.fragment_id, offset, more };
            packet::push_fragment(&mut frame, src, dst, protocol, part, fragment);
            self.send_packet(dst, frame);
        }
    }

    /// Sends a datagram of UDP; one that no packet holds is dropped.
    pub fn send_udp(&mut self, src: SocketAddr, dst: SocketAddr, data: &[u8]) {
        if data.len() <= 0xffff - 28 {
            self.send_payload(src.ip(), dst.ip(), packet::UDP, &packet::udp(src, dst, data));
        }
    }

    /// Says that the packet could not be delivered (RFC 792, RFC 4443).
    pub fn send_unreachable(&mut self, packet: &Packet<'_>, why: Unreachable) {
        let from = self.config.host(packet.src);
        let (protocol, code, limit) = match packet.src {
            // The header and the first bytes of the payload, as RFC 1812, 4.3.2.3 has it.
            IpAddr::V4(_) => (packet::ICMP, why.code_v4(), 548),
            IpAddr::V6(_) => (packet::ICMPV6, why.code_v6(), 1200),
        };
        let kind = if packet.src.is_ipv4() { 3 } else { 1 };
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        message.extend(packet.bytes.iter().take(limit));
        set_icmp_checksum(from, packet.src, protocol, &mut message);
        self.send_payload(from, packet.src, protocol, &message);
    }
}

/// Why a packet was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Host,
    Port,
    Prohibited,
}

impl Unreachable {
    fn code_v4(self) -> u8 {
        match self {
            Unreachable::Host => 1,
            Unreachable::Port => 3,
            Unreachable::Prohibited => 13,
        }
    }

    fn code_v6(self) -> u8 {
        match self {
            Unreachable::Host => 3,
            Unreachable::Port => 4,
            Unreachable::Prohibited => 1,
        }
    }
}

/// Fills in the checksum of a message of ICMP or ICMPv6 of at least 4 bytes.
pub fn set_icmp_checksum(src: IpAddr, dst: IpAddr, protocol: u8, message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = match protocol {
        packet::ICMP => packet::checksum(message),
        _ => packet::checksum_between(src, dst, protocol, message),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

fn push_arp(frame: &mut Vec<u8>, operation: u8, sender: (Mac, [u8; 4]), target: (Mac, [u8; 4])) {
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(sender.0);
    frame.extend(sender.1);
    frame.extend(target.0);
    frame.extend(target.1);
}
