//! Echo (RFC 792, RFC 4443): the network's own addresses answer themselves, others are asked by the host's unprivileged ping
//! sockets, if it has them (Linux: `net.ipv4.ping_group_range`).

use crate::link::{Link, Unreachable, set_icmp_checksum};
use crate::outside::{Resolver, outside};
use crate::packet::{self, Packet};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, ipproto};
use smoltcp::time::{Duration, Instant};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Sockets at a time.
const FLOWS_MAX: usize = 32;
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of type, code, checksum, identifier and sequence number.
const HEADER: usize = 8;
/// Answers that are taken from a socket in a turn.
const BURST: usize = 16;

/// Who asks whom, with the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    guest: IpAddr,
    peer: IpAddr,
    ident: [u8; 2],
}

struct Flow {
    socket: OwnedFd,
    active: Instant,
}

/// Every question that is under way.
#[derive(Default)]
pub struct Flows {
    flows: HashMap<Key, Flow>,
}

/// The types of question and answer in the family of `addr`.
fn types(addr: IpAddr) -> (u8, u8, u8) {
    if addr.is_ipv4() { (packet::ICMP, 8, 0) } else { (packet::ICMPV6, 128, 129) }
}

impl Flows {
    /// Takes a message from the guest.
    pub fn input(&mut self, packet: &Packet<'_>, link: &mut Link, resolver: &mut Resolver) {
        let (protocol, question, answer) = types(packet.src);
        let message = packet.payload;
        let sum = match protocol {
            packet::ICMP => packet::checksum(message),
            _ => packet::checksum_between(packet.src, packet.dst, protocol, message),
        };
        if message.len() < HEADER || sum != 0 || message[..2] != [question, 0] {
            return;
        }
        if link.config.is_own(packet.dst) {
            let mut reply = message.to_vec();
            reply[0] = answer;
            set_icmp_checksum(packet.dst, packet.src, protocol, &mut reply);
            return link.send_payload(packet.dst, packet.src, protocol, &reply);
        }
        // The port only stands for "some".
        let Some(peer) = outside(&link.config, resolver, SocketAddr::new(packet.dst, 1)) else {
            if !packet.dst.is_multicast() {
                link.send_unreachable(packet, Unreachable::Prohibited);
            }
            return;
        };
        let key = Key { guest: packet.src, peer: packet.dst, ident: [message[4], message[5]] };
        if !self.flows.contains_key(&key) {
            match open(peer) {
                Ok(socket) => self.insert(key, socket, link.now),
                Err(Errno::ACCESS | Errno::PERM | Errno::PROTONOSUPPORT) => {
                    return link.send_unreachable(packet, Unreachable::Prohibited);
                }
                Err(_) => return link.send_unreachable(packet, Unreachable::Host),
            }
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.active = link.now;
            // The host puts in identifier and checksum of its own. A lost question has no answer.
            let _ = net::send(&flow.socket, message, SendFlags::DONTWAIT);
        }
    }

    fn insert(&mut self, key: Key, socket: OwnedFd, now: Instant) {
        if self.flows.len() >= FLOWS_MAX {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.active).map(|(key, _)| *key);
            oldest.map(|key| self.flows.remove(&key));
        }
        self.flows.insert(key, Flow { socket, active: now });
    }

    /// Every socket.
    pub fn sockets(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>)> {
        self.flows.iter().map(|(key, flow)| (*key, flow.socket.as_fd()))
    }

    /// Passes on the answers that came.
    pub fn ready(&mut self, key: Key, link: &mut Link) {
        let Some(flow) = self.flows.get(&key) else { return };
        let mut message = vec![0; 0x1_0000];
        let (protocol, _, answer) = types(key.guest);
        for _ in 0..BURST {
            let Ok(len) = rustix::io::read(&flow.socket, &mut message[..]) else { return };
            let Some(message) = message.get_mut(..len).filter(|message| len >= HEADER && message[0] == answer) else {
                continue;
            };
            message[4..6].copy_from_slice(&key.ident);
            set_icmp_checksum(key.peer, key.guest, protocol, message);
            link.send_payload(key.peer, key.guest, protocol, message);
        }
    }

    /// Ends what is idle.
    pub fn expire(&mut self, now: Instant) {
        self.flows.retain(|_, flow| flow.active + IDLE > now);
    }
}

fn open(peer: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let (family, protocol) = match peer {
        SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    net::connect(&socket, &SocketAddr::new(peer.ip(), 0))?;
    Ok(socket)
}
