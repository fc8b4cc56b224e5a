//! What the network's thread does: a frame of the guest goes to its protocol, the host's sockets are waited for.

use crate::cable::Cable;
use crate::config::Config;
use crate::link::{Link, Mac, Unreachable};
use crate::outside::Resolver;
use crate::packet::{self, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Packet};
use crate::reassembly::Reassembly;
use crate::{dhcp, icmp, ndp, tcp, tftp, udp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

/// How often idle flows are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Connections that are accepted on a port in a turn.
const ACCEPTS: usize = 16;

/// What was opened before the thread starts.
pub struct Opened {
    pub listeners: Vec<(TcpListener, SocketAddr)>,
    pub datagrams: Vec<(UdpSocket, SocketAddr)>,
    pub tftp: Option<tftp::Server>,
}

/// The network.
pub struct Stack {
    pub link: Link,
    cable: Arc<Cable>,
    listeners: Vec<(TcpListener, SocketAddr)>,
    resolver: Resolver,
    pub tcp: tcp::Flows,
    pub udp: udp::Flows,
    icmp: icmp::Flows,
    dhcp: dhcp::Server,
    pub tftp: Option<tftp::Server>,
    reassembly: Reassembly,
    started: std::time::Instant,
    housekeeping: Instant,
}

/// Whose socket is ready.
#[derive(Clone, Copy)]
pub enum Source {
    Call,
    Listener(usize),
    Tcp(tcp::Key),
    Udp(udp::Key),
    Icmp(icmp::Key),
}

impl Stack {
    pub fn new(config: Config, cable: Arc<Cable>, opened: Opened) -> Self {
        let resolver = Resolver::new(config.resolver);
        Self {
            link: Link::new(config, cable.clone()),
            cable,
            listeners: opened.listeners,
            resolver,
            tcp: tcp::Flows::new(),
            udp: udp::Flows::new(opened.datagrams),
            icmp: icmp::Flows::default(),
            dhcp: dhcp::Server::default(),
            tftp: opened.tftp,
            reassembly: Reassembly::default(),
            started: std::time::Instant::now(),
            housekeeping: Instant::ZERO,
        }
    }

    /// Runs until the cable is closed.
    pub fn run(mut self) {
        let mut frames = Vec::new();
        let mut ready = Vec::new();
        while !self.cable.is_closed() {
            self.turn(&mut frames, &ready);
            self.wait(&mut ready);
        }
    }

    /// Takes in what came from the guest and from the host, and sends what follows from it.
    pub fn turn(&mut self, frames: &mut Vec<Vec<u8>>, ready: &[Source]) {
        let micros = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.link.begin(Instant::from_micros(micros));
        self.cable.take(frames);
        for frame in frames.iter() {
            self.input(frame);
        }
        for source in ready {
            match *source {
                Source::Call => {}
                Source::Listener(n) => self.accept(n),
                Source::Tcp(key) => self.tcp.ready(key, &mut self.link),
                Source::Udp(key) => self.udp.ready(key, &mut self.link),
                Source::Icmp(key) => self.icmp.ready(key, &mut self.link),
            }
        }
        self.tcp.serve(&mut self.link);
        if let Some(tftp) = &mut self.tftp {
            tftp.expire(&mut self.link);
        }
        if self.link.now >= self.housekeeping {
            self.housekeeping = self.link.now + HOUSEKEEPING;
            self.udp.expire(self.link.now);
            self.icmp.expire(self.link.now);
        }
        self.link.end();
    }

    /// Waits for the guest, the host or time, and leaves in `ready` whose socket is.
    fn wait(&mut self, ready: &mut Vec<Source>) {
        ready.clear();
        let room = self.link.has_room_next();
        let mut sources = vec![Source::Call];
        let mut fds = vec![PollFd::new(self.cable.called(), PollFlags::IN)];
        for (n, (listener, _)) in self.listeners.iter().enumerate() {
            sources.push(Source::Listener(n));
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        for (key, fd, interest) in self.tcp.interests() {
            sources.push(Source::Tcp(key));
            fds.push(PollFd::from_borrowed_fd(fd, interest));
        }
        // Datagrams wait at the host while the guest has no room for them.
        if room {
            for (key, fd) in self.udp.sockets() {
                sources.push(Source::Udp(key));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
            for (key, fd) in self.icmp.sockets() {
                sources.push(Source::Icmp(key));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
        let tftp = self.tftp.as_ref().and_then(tftp::Server::due);
        let due = [self.tcp.due(), tftp, Some(self.housekeeping)].into_iter().flatten().min();
        let micros = due.map_or(0, |due| due.total_micros().saturating_sub(self.started.elapsed().as_micros() as i64));
        let micros = if self.cable.fall_asleep() { micros.max(0) } else { 0 };
        let timeout = Timespec { tv_sec: micros / 1_000_000, tv_nsec: micros % 1_000_000 * 1000 };
        // An interrupted wait is a short one.
        if poll(&mut fds, Some(&timeout)).is_ok_and(|count| count > 0) {
            let woken = fds.iter().zip(&sources).filter(|(fd, _)| !fd.revents().is_empty());
            ready.extend(woken.map(|(_, source)| *source));
        }
        drop(fds);
        self.cable.awake();
    }

    fn accept(&mut self, n: usize) {
        for _ in 0..ACCEPTS {
            let Some((listener, guest)) = self.listeners.get(n) else { return };
            let Ok((stream, client)) = listener.accept() else { return };
            let guest = *guest;
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let from = udp::seen_from(&self.link.config, client.ip(), guest.ip());
            self.tcp.accept(stream.into(), guest, SocketAddr::new(from, client.port()), &mut self.link);
        }
    }

    /// Takes a frame from the guest.
    pub fn input(&mut self, frame: &[u8]) {
        let Some((header, payload)) = frame.split_at_checked(ETHERNET) else { return };
        let mac: Mac = header[6..12].try_into().unwrap_or_default();
        match u16::from_be_bytes([header[12], header[13]]) {
            ETHERTYPE_ARP => self.link.arp(payload),
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => {
                if let Some(packet) = Packet::parse(payload) {
                    self.packet(&packet, mac);
                }
            }
            _ => {}
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, mac: Mac) {
        if packet.protocol == packet::ICMPV6 && ndp::input(packet, mac, &mut self.link) {
            return;
        }
        let is_new = packet.src.is_unspecified() && packet.src.is_ipv4();
        if self.link.config.is_guest(packet.src) {
            self.link.learn(packet.src, mac);
        } else if !is_new {
            return;
        }
        if packet.fragment.is_none() {
            return self.dispatch(packet);
        }
        if let Some(payload) = self.reassembly.input(packet, self.link.now) {
            let mut bytes = Vec::with_capacity(20 + payload.len());
            packet::push(&mut bytes, packet.src, packet.dst, packet.protocol, &payload);
            if let Some(packet) = Packet::parse(&bytes) {
                self.dispatch(&packet);
            }
        }
    }

    fn dispatch(&mut self, packet: &Packet<'_>) {
        let unspecified = packet.src.is_unspecified();
        match packet.protocol {
            packet::UDP => self.datagram(packet),
            _ if unspecified => {}
            packet::TCP => self.tcp.input(packet, &mut self.link, &mut self.resolver),
            packet::ICMP if packet.src.is_ipv4() => self.icmp.input(packet, &mut self.link, &mut self.resolver),
            packet::ICMPV6 if packet.src.is_ipv6() => self.icmp.input(packet, &mut self.link, &mut self.resolver),
            _ => {}
        }
    }

    fn datagram(&mut self, packet: &Packet<'_>) {
        let Some(((from, to), data)) = udp::parse(packet) else { return };
        let is_host = packet.dst == self.link.config.host(packet.dst);
        let is_all = matches!(packet.dst, IpAddr::V4(addr)
            if addr.is_broadcast() || self.link.config.v4.is_some_and(|v4| v4.broadcast() == addr));
        match (to, &mut self.tftp) {
            (dhcp::SERVER_PORT, _) if packet.dst.is_ipv4() && (is_host || is_all) => {
                self.dhcp.input(data, &mut self.link);
            }
            _ if packet.src.is_unspecified() => {}
            (tftp::PORT, Some(tftp)) if is_host => {
                let (guest, server) = (SocketAddr::new(packet.src, from), SocketAddr::new(packet.dst, to));
                tftp.input(guest, server, data, &mut self.link);
            }
            (tftp::PORT, None) if is_host => self.link.send_unreachable(packet, Unreachable::Port),
            _ => self.udp.input(packet, (from, to), data, &mut self.link, &mut self.resolver),
        }
    }
}
