//! Connections (RFC 9293). Each has smoltcp's state machine towards the guest, alone on an interface of its own so that no
//! segment is compared with other connections, and a stream of the host behind it.
//!
//! A guest's SYN waits until the host is connected: the guest sees refused connections as refused.

use crate::config::{GuestForward, Target};
use crate::link::{Link, Unreachable};
use crate::outside::{Resolver, outside};
use crate::packet::{self, ETHERNET, MTU, Packet, u16_at, u32_at};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use smoltcp::iface::{Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpListenEndpoint};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// Connections at a time.
const FLOWS_MAX: usize = 512;
/// Bytes that wait in each direction of a connection at most.
const BUFFER: usize = 256 << 10;
/// A connection that is silent this long makes room for a new one.
const IDLE: Duration = Duration::from_secs(60);
/// The guest is asked whether it is still there this often, and given up after that long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const GIVE_UP: Duration = Duration::from_secs(15 * 60);
/// How long the host may take to connect, or the guest to accept.
const CONNECT: Duration = Duration::from_secs(75);
/// Processes of `guestfwd` at a time.
const CHILDREN_MAX: usize = 64;

/// Flags of a segment.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A connection: both ends as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub guest: SocketAddr,
    pub peer: SocketAddr,
}

struct Flow {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    host: OwnedFd,
    stage: Stage,
    /// The host has sent everything.
    host_ended: bool,
    /// The guest has sent everything; bytes of it may still wait.
    guest_ended: bool,
    /// The host was told so.
    host_told: bool,
    /// What the host is waited for.
    interest: PollFlags,
    /// When to look again.
    due: Option<Instant>,
    /// When bytes last passed.
    active: Instant,
    /// There is work for this turn.
    dirty: bool,
}

enum Stage {
    /// The host connects; the guest's SYN waits.
    Connecting {
        syn: Vec<u8>,
        until: Instant,
    },
    /// The guest shall accept until then.
    Opening {
        until: Instant,
    },
    Open,
}

/// Every connection.
pub struct Flows {
    flows: HashMap<Key, Flow>,
    children: Vec<Child>,
    random: RandomState,
    serial: u64,
}

/// The interface's way to the guest; `rx` is the packet to take in.
struct Port<'a> {
    rx: Option<&'a [u8]>,
    dst: IpAddr,
    link: &'a mut Link,
}

struct Rx<'a>(&'a [u8]);
struct Tx<'a>(IpAddr, &'a mut Link);

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self.1.buffer();
        frame.resize(ETHERNET + len, 0);
        let result = f(&mut frame[ETHERNET..]);
        self.1.send_packet(self.0, frame);
        result
    }
}

impl Device for Port<'_> {
    type RxToken<'a>
        = Rx<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        Some((Rx(self.rx.take()?), Tx(self.dst, self.link)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Tx<'_>> {
        self.link.has_room().then_some(Tx(self.dst, self.link))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl Flow {
    fn new(key: Key, host: OwnedFd, stage: Stage, seed: u64, link: &mut Link) -> Self {
        let mut config = smoltcp::iface::Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let now = link.now;
        let mut port = Port { rx: None, dst: key.guest.ip(), link };
        let mut iface = Interface::new(config, &mut port, now);
        let addr = IpAddress::from(key.peer.ip());
        iface.update_ip_addrs(|addrs| {
            // The first of eight.
            let _ = addrs.push(IpCidr::new(addr, if key.peer.is_ipv4() { 32 } else { 128 }));
        });
        // On this medium a gateway's address is only a name for "the other end".
        let routes = iface.routes_mut();
        let _ = match key.peer.ip() {
            IpAddr::V4(addr) => routes.add_default_ipv4_route(addr),
            IpAddr::V6(addr) => routes.add_default_ipv6_route(addr),
        };
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        // One acknowledgement for all that a turn brought.
        socket.set_ack_delay(None);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_timeout(Some(GIVE_UP));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            iface,
            sockets,
            handle,
            host,
            stage,
            host_ended: false,
            guest_ended: false,
            host_told: false,
            interest: PollFlags::empty(),
            due: None,
            active: now,
            dirty: true,
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Gives a packet to the state machine.
    fn input(&mut self, guest: IpAddr, packet: &[u8], link: &mut Link) {
        self.dirty = true;
        let now = link.now;
        let mut port = Port { rx: Some(packet), dst: guest, link };
        self.iface.poll_ingress_single(now, &mut port, &mut self.sockets);
    }

    /// Moves bytes in both directions and sends what is due. `false` ends the flow.
    fn serve(&mut self, key: Key, link: &mut Link) -> bool {
        self.dirty = false;
        match &self.stage {
            Stage::Connecting { until, .. } => {
                (self.interest, self.due) = (PollFlags::OUT, Some(*until));
                return link.now < *until;
            }
            Stage::Opening { until } => {
                let until = *until;
                match self.socket().state() {
                    State::SynSent | State::SynReceived if link.now < until => {}
                    State::SynSent | State::SynReceived | State::Listen | State::Closed => {
                        self.socket().abort();
                        self.egress(key, link);
                        return false;
                    }
                    _ => self.stage = Stage::Open,
                }
            }
            Stage::Open => {}
        }
        self.interest = PollFlags::empty();
        let state = self.socket().state();
        self.guest_ended |= matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        // After a RST what waits is not wanted any more.
        if matches!(self.stage, Stage::Open) && (state != State::Closed || self.is_draining()) {
            let alive = self.feed_host(link.now) && self.feed_guest(link.now);
            if !alive {
                self.socket().abort();
                self.egress(key, link);
                return false;
            }
        }
        self.egress(key, link);
        // Nothing is left to be said after the last acknowledgement, which was not lost: a packet is made only if there is
        // room for it.
        let closed = matches!(self.socket().state(), State::Closed | State::Listen | State::TimeWait);
        !closed || self.is_draining()
    }

    /// Both ends have sent everything, but the host is yet to take some of it.
    fn is_draining(&mut self) -> bool {
        self.guest_ended && self.host_ended && self.socket().can_recv()
    }

    /// Both ends know that there is no more to come.
    fn is_complete(&self) -> bool {
        self.host_ended && self.host_told
    }

    /// Sends all segments that are due and learns when to look again.
    fn egress(&mut self, key: Key, link: &mut Link) {
        let now = link.now;
        let mut port = Port { rx: None, dst: key.guest.ip(), link };
        while self.iface.poll_egress(now, &mut port, &mut self.sockets) == PollResult::SocketStateChanged {}
        // What is due now has just been done.
        let soon = now + Duration::from_millis(1);
        self.due = self.iface.poll_at(now, &self.sockets).map(|due| due.max(soon));
        // Without room it is the guest that is waited for.
        if !link.has_room() {
            self.due = self.due.map(|due| due.max(now + Duration::from_millis(100)));
            self.dirty = true;
        }
    }

    fn feed_host(&mut self, now: Instant) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let host = &self.host;
        while socket.can_recv() {
            let sent = socket.recv(|bytes| match net::send(host, bytes, SendFlags::NOSIGNAL) {
                Ok(len) => (len, Ok(len)),
                Err(error) => (0, Err(error)),
            });
            match sent {
                Ok(Ok(1..)) => self.active = now,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(Errno::AGAIN)) => {
                    self.interest |= PollFlags::OUT;
                    return true;
                }
                _ => return false,
            }
        }
        if self.guest_ended && !self.host_told {
            self.host_told = true;
            // A host that has gone already needs no news.
            let _ = net::shutdown(host, Shutdown::Write);
        }
        true
    }

    fn feed_guest(&mut self, now: Instant) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if self.host_ended || !socket.may_send() {
            return true;
        }
        while socket.can_send() {
            let host = &self.host;
            let got = socket.send(|room| match rustix::io::read(host, room) {
                Ok(len) => (len, Ok(len)),
                Err(error) => (0, Err(error)),
            });
            match got {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    socket.close();
                    return true;
                }
                Ok(Ok(_)) => self.active = now,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(Errno::AGAIN)) => {
                    self.interest |= PollFlags::IN;
                    return true;
                }
                _ => return false,
            }
        }
        true
    }
}

impl Flows {
    pub fn new() -> Self {
        Self { flows: HashMap::new(), children: Vec::new(), random: RandomState::new(), serial: 0 }
    }

    /// Number of connections.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Takes a segment from the guest.
    pub fn input(&mut self, packet: &Packet<'_>, link: &mut Link, resolver: &mut Resolver) {
        let segment = packet.payload;
        let (Some(from), Some(to), Some(&flags)) = (u16_at(segment, 0), u16_at(segment, 2), segment.get(13)) else {
            return;
        };
        if segment.len() < 20 || from == 0 || to == 0 || packet.fragment.is_some() {
            return;
        }
        let key = Key { guest: SocketAddr::new(packet.src, from), peer: SocketAddr::new(packet.dst, to) };
        if let Some(flow) = self.flows.get_mut(&key) {
            match &flow.stage {
                Stage::Connecting { .. } if flags & RST != 0 => {
                    self.flows.remove(&key);
                }
                // The first SYN is kept.
                Stage::Connecting { .. } => {}
                _ => flow.input(packet.src, packet.bytes, link),
            }
            return;
        }
        if packet::checksum_between(packet.src, packet.dst, packet::TCP, segment) != 0 || flags & RST != 0 {
            return;
        }
        if flags & (SYN | ACK | FIN) != SYN || !self.make_room(link.now) {
            return refuse(packet, link);
        }
        match self.open(key.peer, link, resolver) {
            Ok(host) => {
                let until = link.now + CONNECT;
                let stage = Stage::Connecting { syn: packet.bytes.to_vec(), until };
                let flow = Flow::new(key, host, stage, self.seed(), link);
                self.flows.insert(key, flow);
            }
            Err(None) => link.send_unreachable(packet, Unreachable::Prohibited),
            Err(Some(error)) => fail(packet, error, link),
        }
    }

    /// Begins to connect to what `peer` stands for; `Err(None)` if that is nothing.
    fn open(&mut self, peer: SocketAddr, link: &Link, resolver: &mut Resolver) -> Result<OwnedFd, Option<Errno>> {
        let forward = link.config.guest_forwards.iter().find(|forward| forward.server == peer);
        match forward {
            Some(GuestForward { target: Target::Command(words), .. }) => self.spawn(words).map_err(Some),
            Some(GuestForward { target: Target::Tcp(addr), .. }) => dial(*addr).map_err(Some),
            Some(GuestForward { target: Target::Unix(path), .. }) => {
                let stream = UnixStream::connect(path).map_err(|_| Some(Errno::CONNREFUSED))?;
                stream.set_nonblocking(true).map_err(|_| Some(Errno::CONNREFUSED))?;
                Ok(stream.into())
            }
            None => dial(outside(&link.config, resolver, peer).ok_or(None)?).map_err(Some),
        }
    }

    fn spawn(&mut self, words: &[String]) -> rustix::io::Result<OwnedFd> {
        self.reap();
        let (program, args) = words.split_first().ok_or(Errno::CONNREFUSED)?;
        if self.children.len() >= CHILDREN_MAX {
            return Err(Errno::CONNREFUSED);
        }
        let pair = || -> std::io::Result<(UnixStream, Child)> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let input: OwnedFd = theirs.try_clone()?.into();
            let output: OwnedFd = theirs.into();
            let mut command = Command::new(program);
            Ok((ours, command.args(args).stdin(input).stdout(Stdio::from(output)).spawn()?))
        };
        match pair() {
            Ok((stream, child)) => {
                self.children.push(child);
                Ok(stream.into())
            }
            Err(error) => {
                vm::log!(GuestError, "network: cannot run `{program}`: {error}");
                Err(Errno::CONNREFUSED)
            }
        }
    }

    /// Forgets processes that have ended.
    fn reap(&mut self) {
        self.children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }

    fn seed(&mut self) -> u64 {
        self.serial += 1;
        self.random.hash_one(self.serial)
    }

    /// Whether there may be one more connection, perhaps in place of an idle one.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.flows.len() < FLOWS_MAX {
            return true;
        }
        let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.active);
        match oldest.map(|(key, flow)| (*key, flow.active)) {
            Some((key, active)) if active + IDLE <= now => self.flows.remove(&key).is_some(),
            _ => false,
        }
    }

    /// Opens a connection to the guest at `guest` for `host`, which comes from `from` as the guest sees it, or from another
    /// port if that one has a connection already.
    pub fn accept(&mut self, host: OwnedFd, guest: SocketAddr, from: SocketAddr, link: &mut Link) {
        if !self.make_room(link.now) {
            return;
        }
        let free = |port: &u16| !self.flows.contains_key(&Key { guest, peer: SocketAddr::new(from.ip(), *port) });
        let Some(port) = std::iter::once(from.port()).chain(49152..=65535).find(free) else { return };
        let peer = SocketAddr::new(from.ip(), port);
        let key = Key { guest, peer };
        let _ = sockopt::set_tcp_nodelay(&host, true);
        let mut flow = Flow::new(key, host, Stage::Opening { until: link.now + CONNECT }, self.seed(), link);
        let Flow { iface, sockets, handle, .. } = &mut flow;
        let socket = sockets.get_mut::<Socket<'_>>(*handle);
        if socket.connect(iface.context(), guest, peer).is_ok() {
            self.flows.insert(key, flow);
        }
    }

    /// What the host's ends wait for.
    pub fn interests(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>, PollFlags)> {
        let waiting = self.flows.iter().filter(|(_, flow)| !flow.interest.is_empty());
        waiting.map(|(key, flow)| (*key, flow.host.as_fd(), flow.interest))
    }

    /// The host's end is ready.
    pub fn ready(&mut self, key: Key, link: &mut Link) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        flow.dirty = true;
        let Stage::Connecting { syn, .. } = &mut flow.stage else { return };
        let syn = std::mem::take(syn);
        let error = sockopt::socket_error(&flow.host).and_then(|error| error);
        if let Err(error) = error {
            self.flows.remove(&key);
            if let Some(packet) = Packet::parse(&syn) {
                fail(&packet, error, link);
            }
            return;
        }
        let _ = sockopt::set_tcp_nodelay(&flow.host, true);
        flow.stage = Stage::Opening { until: link.now + CONNECT };
        let endpoint = IpListenEndpoint { addr: Some(key.peer.ip().into()), port: key.peer.port() };
        let _ = flow.socket().listen(endpoint);
        flow.input(key.guest.ip(), &syn, link);
    }

    /// Serves every connection with something to do.
    pub fn serve(&mut self, link: &mut Link) {
        let mut ended = false;
        self.flows.retain(|key, flow| {
            let due = flow.dirty || flow.due.is_some_and(|due| due <= link.now);
            let kept = !due || flow.serve(*key, link);
            if !kept && !flow.is_complete() {
                // It ends at once, so that the host learns that something is missing.
                let _ = sockopt::set_socket_linger(&flow.host, Some(std::time::Duration::ZERO));
            }
            ended |= !kept;
            kept
        });
        if ended || !self.children.is_empty() {
            self.reap();
        }
    }

    /// When something is to be done without anybody asking.
    pub fn due(&self) -> Option<Instant> {
        self.flows.values().filter_map(|flow| flow.due).min()
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.flows.clear();
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Begins to connect.
fn dial(addr: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Tells the guest why its connection failed.
fn fail(packet: &Packet<'_>, error: Errno, link: &mut Link) {
    match error {
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::TIMEDOUT | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
            link.send_unreachable(packet, Unreachable::Host);
        }
        _ => refuse(packet, link),
    }
}

/// Answers a segment of no connection (RFC 9293, 3.10.7.1).
fn refuse(packet: &Packet<'_>, link: &mut Link) {
    let segment = packet.payload;
    let (Some(seq), Some(ack), Some(&flags)) = (u32_at(segment, 4), u32_at(segment, 8), segment.get(13)) else {
        return;
    };
    let header_len = usize::from(segment[12] >> 4) * 4;
    let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let len = (segment.len().saturating_sub(header_len) as u32).wrapping_add(control);
    let (our_seq, our_ack, our_flags) =
        if flags & ACK != 0 { (ack, 0, RST) } else { (0, seq.wrapping_add(len), RST | ACK) };
    let mut reply = Vec::with_capacity(20);
    reply.extend_from_slice(&segment[2..4]);
    reply.extend_from_slice(&segment[0..2]);
    reply.extend(our_seq.to_be_bytes());
    reply.extend(our_ack.to_be_bytes());
    reply.extend([5 << 4, our_flags, 0, 0, 0, 0, 0, 0]);
    let sum = packet::checksum_between(packet.dst, packet.src, packet::TCP, &reply);
    reply[16..18].copy_from_slice(&sum.to_be_bytes());
    link.send_payload(packet.dst, packet.src, packet::TCP, &reply);
}
