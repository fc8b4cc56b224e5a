//! Datagrams (RFC 768). Each port of the guest has one socket on the host (RFC 4787, "endpoint-independent mapping"), and takes
//! answers from the addresses that it has sent to ("address-dependent filtering").

use crate::config::Config;
use crate::link::{Link, Unreachable};
use crate::outside::{Resolver, outside};
use crate::packet::{self, Packet, same_family};
use smoltcp::time::{Duration, Instant};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Ports of the guest at a time.
const FLOWS_MAX: usize = 256;
/// Addresses that a port may have answers from.
const PEERS_MAX: usize = 32;
/// Clients of a forwarded port at a time.
const CLIENTS_MAX: usize = 256;
/// RFC 4787, REQ-5: at least two minutes.
const IDLE: Duration = Duration::from_secs(120);
/// Datagrams that are taken from a socket in a turn.
const BURST: usize = 64;

struct Flow {
    socket: UdpSocket,
    peers: Vec<Peer>,
    active: Instant,
}

/// Somebody the guest has sent to.
struct Peer {
    /// On the host's side.
    real: SocketAddr,
    /// On the guest's side.
    seen: SocketAddr,
}

/// A port of the host that leads to the guest.
struct Forward {
    socket: UdpSocket,
    guest: SocketAddr,
    clients: Vec<Client>,
}

struct Client {
    real: SocketAddr,
    seen: SocketAddr,
    active: Instant,
}

/// Every port.
pub struct Flows {
    flows: HashMap<SocketAddr, Flow>,
    forwards: Vec<Forward>,
    buffer: Vec<u8>,
}

/// Which socket has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Flow(SocketAddr),
    Forward(usize),
}

impl Flows {
    /// `forwards`: sockets with where they lead to.
    pub fn new(forwards: Vec<(UdpSocket, SocketAddr)>) -> Self {
        let forwards =
            forwards.into_iter().map(|(socket, guest)| Forward { socket, guest, clients: Vec::new() }).collect();
        Self { flows: HashMap::new(), forwards, buffer: vec![0; 0x1_0000] }
    }

    /// Number of ports of the guest.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Takes a datagram from the guest that no service of the network's own took.
    pub fn input(
        &mut self,
        packet: &Packet<'_>,
        (from, to): (u16, u16),
        data: &[u8],
        link: &mut Link,
        resolver: &mut Resolver,
    ) {
        let (guest, seen) = (SocketAddr::new(packet.src, from), SocketAddr::new(packet.dst, to));
        for forward in self.forwards.iter_mut().filter(|forward| forward.guest == guest) {
            if let Some(client) = forward.clients.iter_mut().find(|client| client.seen == seen) {
                client.active = link.now;
                // Like any datagram it may be lost.
                let _ = forward.socket.send_to(data, client.real);
                return;
            }
        }
        let Some(real) = outside(&link.config, resolver, seen) else {
            if !packet.dst.is_multicast() && !is_broadcast(&link.config, packet.dst) {
                link.send_unreachable(packet, Unreachable::Prohibited);
            }
            return;
        };
        if !self.flows.contains_key(&guest) && !self.open(guest, real, link.now) {
            return link.send_unreachable(packet, Unreachable::Host);
        }
        let Some(flow) = self.flows.get_mut(&guest) else { return };
        flow.active = link.now;
        if !flow.peers.iter().any(|peer| peer.real == real && peer.seen == seen) {
            flow.peers.retain(|peer| peer.real != real);
            if flow.peers.len() >= PEERS_MAX {
                flow.peers.remove(0);
            }
            flow.peers.push(Peer { real, seen });
        }
        let Err(error) = flow.socket.send_to(data, real) else { return };
        match error.kind() {
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
                link.send_unreachable(packet, Unreachable::Host);
            }
            ErrorKind::ConnectionRefused => link.send_unreachable(packet, Unreachable::Port),
            ErrorKind::PermissionDenied => link.send_unreachable(packet, Unreachable::Prohibited),
            // A full queue or a too long datagram: it is lost.
            _ => {}
        }
    }

    /// Opens a socket for a port; `real` is where its first datagram goes to.
    fn open(&mut self, guest: SocketAddr, real: SocketAddr, now: Instant) -> bool {
        if self.flows.len() >= FLOWS_MAX {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.active).map(|(key, _)| *key);
            oldest.map(|key| self.flows.remove(&key));
        }
        // A name server of the other family, or a host without IPv6: one socket serves what it can.
        let any: IpAddr = if real.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        match socket {
            Ok(socket) => {
                self.flows.insert(guest, Flow { socket, peers: Vec::new(), active: now });
                true
            }
            Err(_) => false,
        }
    }

    /// Every socket.
    pub fn sockets(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>)> {
        let forwards = self.forwards.iter().enumerate();
        let forwards = forwards.map(|(n, forward)| (Key::Forward(n), forward.socket.as_fd()));
        forwards.chain(self.flows.iter().map(|(guest, flow)| (Key::Flow(*guest), flow.socket.as_fd())))
    }

    /// Passes on what a socket has.
    pub fn ready(&mut self, key: Key, link: &mut Link) {
        for _ in 0..BURST {
            if !link.has_room() {
                return;
            }
            let socket = match key {
                Key::Flow(guest) => self.flows.get(&guest).map(|flow| &flow.socket),
                Key::Forward(n) => self.forwards.get(n).map(|forward| &forward.socket),
            };
            let Some(socket) = socket else { return };
            let (len, from) = match socket.recv_from(&mut self.buffer) {
                Ok(got) => got,
                // An earlier datagram's error; the next may be a datagram.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            match key {
                Key::Flow(guest) => self.answer(guest, from, len, link),
                Key::Forward(n) => self.forward(n, from, len, link),
            }
        }
    }

    fn answer(&mut self, guest: SocketAddr, from: SocketAddr, len: usize, link: &mut Link) {
        let Some(flow) = self.flows.get_mut(&guest) else { return };
        let exact = flow.peers.iter().find(|peer| peer.real == from).map(|peer| peer.seen);
        let seen = exact.or_else(|| {
            let peer = flow.peers.iter().find(|peer| peer.real.ip() == from.ip())?;
            Some(SocketAddr::new(peer.seen.ip(), from.port()))
        });
        if let Some(seen) = seen {
            flow.active = link.now;
            link.send_udp(seen, guest, self.buffer.get(..len).unwrap_or_default());
        }
    }

    fn forward(&mut self, n: usize, from: SocketAddr, len: usize, link: &mut Link) {
        let Some(forward) = self.forwards.get_mut(n) else { return };
        let data = self.buffer.get(..len).unwrap_or_default();
        let known = forward.clients.iter_mut().find(|client| client.real == from);
        let seen = match known {
            Some(client) => {
                client.active = link.now;
                client.seen
            }
            None => {
                if forward.clients.len() >= CLIENTS_MAX {
                    let oldest = forward.clients.iter().enumerate().min_by_key(|(_, client)| client.active);
                    oldest.map(|(at, _)| at).map(|at| forward.clients.remove(at));
                }
                let ip = seen_from(&link.config, from.ip(), forward.guest.ip());
                let taken = |port: &u16| forward.clients.iter().any(|client| client.seen == SocketAddr::new(ip, *port));
                let mut ports = std::iter::once(from.port()).chain(49152..=65535);
                let Some(port) = ports.find(|port| !taken(port)) else { return };
                let seen = SocketAddr::new(ip, port);
                forward.clients.push(Client { real: from, seen, active: link.now });
                seen
            }
        };
        link.send_udp(seen, forward.guest, data);
    }

    /// Ends what is idle.
    pub fn expire(&mut self, now: Instant) {
        self.flows.retain(|_, flow| flow.active + IDLE > now);
        for forward in &mut self.forwards {
            forward.clients.retain(|client| client.active + IDLE > now);
        }
    }
}

/// The address that the guest at `guest` sees of a client of a forwarded port.
pub fn seen_from(config: &Config, client: IpAddr, guest: IpAddr) -> IpAddr {
    let client = client.to_canonical();
    let foreign = same_family(client, guest) && !client.is_loopback() && !client.is_unspecified();
    // Addresses of the guest's network and of a single link mean something else to the guest.
    let inside = config.is_guest(client) || config.is_own(client);
    let local = matches!(client, IpAddr::V6(addr) if addr.is_unicast_link_local());
    if foreign && !inside && !local { client } else { config.host(guest) }
}

/// Whether everybody is meant.
fn is_broadcast(config: &Config, addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr.is_broadcast() || config.v4.is_some_and(|v4| v4.broadcast() == addr))
}

/// Reads the datagram in a packet.
pub fn parse<'a>(packet: &Packet<'a>) -> Option<((u16, u16), &'a [u8])> {
    packet::parse_udp(packet)
        .map(|(from, to, data)| ((from, to), data))
        .filter(|((from, to), _)| *from != 0 && *to != 0)
}
