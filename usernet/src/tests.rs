//! A small guest (smoltcp on Ethernet, or frames made by hand) on a network whose outside is the test itself.

use crate::cable::Cable;
use crate::config::{Config, Forward, GuestForward, Protocol, Target};
use crate::packet::{self, ETHERNET, Packet};
use crate::stack::{Opened, Stack};
use crate::{Network, tftp};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use vm::netdev::NetDev;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

struct Card<'a>(&'a Network);
struct Rx(Vec<u8>);
struct Tx<'a>(&'a Network);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.send(&frame);
        result
    }
}

impl Device for Card<'_> {
    type RxToken<'a>
        = Rx
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Rx, Tx<'_>)> {
        let mut frame = Vec::new();
        self.0.receive(&mut frame).then_some((Rx(frame), Tx(self.0)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Tx<'_>> {
        Some(Tx(self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Guest {
    net: Arc<Network>,
    iface: Interface,
    sockets: SocketSet<'static>,
    started: std::time::Instant,
}

impl Guest {
    /// A guest that has its address already.
    fn on(config: Config) -> Self {
        let net = Arc::new(Network::open(config).unwrap());
        let hardware = EthernetAddress(MAC).into();
        let mut iface = Interface::new(smoltcp::iface::Config::new(hardware), &mut Card(&net), Instant::ZERO);
        iface.update_ip_addrs(|addrs| {
            addrs.push(IpCidr::new(GUEST.into(), 24)).unwrap();
            addrs.push(IpCidr::new("fec0::15".parse::<IpAddress>().unwrap(), 64)).unwrap();
        });
        iface.routes_mut().add_default_ipv4_route(HOST).unwrap();
        Self { net, iface, sockets: SocketSet::new(Vec::new()), started: std::time::Instant::now() }
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn add(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 100_000]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        self.sockets.add(socket)
    }

    fn connect(&mut self, to: SocketAddr) -> SocketHandle {
        let handle = self.add();
        let port = 40_000 + self.sockets.iter().count() as u16;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(self.iface.context(), to, port).unwrap();
        handle
    }

    fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.add();
        self.socket(handle).listen(port).unwrap();
        handle
    }

    /// Runs the guest until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let started = std::time::Instant::now();
        loop {
            let now = Instant::from_micros(self.started.elapsed().as_micros() as i64);
            let net = self.net.clone();
            self.iface.poll(now, &mut Card(&net), &mut self.sockets);
            if done(self) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "no {what}");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Sends all of `bytes`, keeping what comes in `got`.
    fn send(&mut self, handle: SocketHandle, bytes: &[u8], got: &mut Vec<u8>) {
        let mut sent = 0;
        self.until("room to send", |guest| {
            take(guest.socket(handle), got);
            sent += guest.socket(handle).send_slice(&bytes[sent..]).unwrap();
            sent == bytes.len()
        });
    }

    /// Everything up to the end of the connection's other direction.
    fn read_to_end(&mut self, handle: SocketHandle, got: &mut Vec<u8>) {
        self.until("end of what comes", |guest| {
            let socket = guest.socket(handle);
            take(socket, got);
            !socket.may_recv() && !matches!(socket.state(), State::SynSent | State::SynReceived)
        });
    }

    /// Sends a packet of IPv4.
    fn packet(&self, src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) {
        self.net.send(&frame(src, dst, protocol, payload));
    }

    fn datagram(&self, from: u16, to: (Ipv4Addr, u16), data: &[u8]) {
        let (src, dst) = (SocketAddr::from((GUEST, from)), SocketAddr::from(to));
        self.packet(GUEST, to.0, packet::UDP, &packet::udp(src, dst, data));
    }

    /// The next packet that `wanted` gives an answer for.
    fn expect<T>(&self, what: &str, mut wanted: impl FnMut(&Packet<'_>) -> Option<T>) -> T {
        self.within(PATIENCE, &mut wanted).unwrap_or_else(|| panic!("no {what}"))
    }

    fn within<T>(&self, patience: Duration, wanted: &mut dyn FnMut(&Packet<'_>) -> Option<T>) -> Option<T> {
        let started = std::time::Instant::now();
        let mut frame = Vec::new();
        while started.elapsed() < patience {
            if !self.net.receive(&mut frame) {
                thread::sleep(Duration::from_micros(200));
                continue;
            }
            // Requests are answered as a guest would.
            if frame[12..14] == [8, 6] && frame[20..22] == [0, 1] {
                self.net.send(&arp(2, GUEST, HOST));
            }
            if let Some(found) = Packet::parse(&frame[ETHERNET..]).and_then(|packet| wanted(&packet)) {
                return Some(found);
            }
        }
        None
    }

    /// The next datagram for port `to`: who it comes from, and what is in it.
    fn expect_datagram(&self, to: u16) -> (SocketAddr, Vec<u8>) {
        self.expect("datagram", |packet| {
            let (from, port, data) = packet::parse_udp(packet).filter(|_| packet.protocol == packet::UDP)?;
            (port == to).then(|| (SocketAddr::new(packet.src, from), data.to_vec()))
        })
    }
}

fn take(socket: &mut Socket<'_>, got: &mut Vec<u8>) {
    while let Ok(1..) = socket.recv(|bytes| {
        got.extend_from_slice(bytes);
        (bytes.len(), bytes.len())
    }) {}
}

fn frame(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &MAC, &[8, 0]].concat();
    packet::push(&mut frame, src.into(), dst.into(), protocol, payload);
    frame
}

fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&[0xff; 6][..], &MAC, &[8, 6], &head, &MAC, &sender.octets(), &[0; 6], &target.octets()].concat()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn local() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, SocketAddr::from((HOST, port)))
}

fn dhcp(mac: [u8; 6], kind: u8, options: &[u8]) -> Vec<u8> {
    let mut data = vec![0; 240];
    data[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
    data[28..34].copy_from_slice(&mac);
    data[236..240].copy_from_slice(&[99, 130, 83, 99]);
    data.extend([53, 1, kind]);
    data.extend(options);
    data.push(255);
    let (src, dst) = (SocketAddr::from(([0; 4], 68)), SocketAddr::from(([255; 4], 67)));
    frame(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, packet::UDP, &packet::udp(src, dst, &data))
}

#[test]
fn addresses_by_dhcp() {
    let dns_search = vec!["a.example".into(), "b".into()];
    let guest = Guest::on(Config { hostname: Some("g".into()), dns_search, ..Config::default() });
    let ask = |mac, kind, options: &[u8]| {
        guest.net.send(&dhcp(mac, kind, options));
        let (from, reply) = guest.expect_datagram(68);
        assert_eq!(from, SocketAddr::from((HOST, 67)));
        assert_eq!((&reply[..8], &reply[28..34]), (&[2, 1, 6, 0, 1, 2, 3, 4][..], &mac[..]));
        ([reply[16], reply[17], reply[18], reply[19]], reply[242], reply[243..].to_vec())
    };
    let has = |options: &[u8], option: &[u8]| options.windows(option.len()).any(|window| window == option);
    let (addr, kind, options) = ask(MAC, 1, &[]);
    assert_eq!((addr, kind), ([10, 0, 2, 15], 2));
    for option in [
        &[1, 4, 255, 255, 255, 0][..],
        &[3, 4, 10, 0, 2, 2],
        &[6, 4, 10, 0, 2, 3],
        &[54, 4, 10, 0, 2, 2],
        b"\x0c\x01g",
        b"\x77\x0e\x01a\x07example\0\x01b\0",
    ] {
        assert!(has(&options, option), "{option:?}");
    }
    let request = [50, 4, 10, 0, 2, 15];
    assert_eq!(ask(MAC, 3, &request).1, 5);
    let other = [2, 0, 0, 0, 0, 9];
    assert_eq!(ask(other, 3, &request).1, 6, "it belongs to the first");
    assert_eq!(ask(other, 1, &[]).0, [10, 0, 2, 16]);
    assert_eq!(ask(MAC, 1, &[]).0, [10, 0, 2, 15], "again the same");
}

#[test]
fn the_gateway_answers() {
    let guest = Guest::on(Config { restrict: true, ..Config::default() });
    guest.net.send(&arp(1, GUEST, HOST));
    let mut reply = Vec::new();
    let started = std::time::Instant::now();
    while !guest.net.receive(&mut reply) && started.elapsed() < PATIENCE {}
    assert_eq!((&reply[12..14], &reply[20..22], &reply[28..32]), (&[8, 6][..], &[0, 2][..], &HOST.octets()[..]));
    let mut echo = b"\x08\0\0\0\x12\x34\0\x01data".to_vec();
    crate::link::set_icmp_checksum(GUEST.into(), HOST.into(), packet::ICMP, &mut echo);
    guest.packet(GUEST, HOST, packet::ICMP, &echo);
    let answer = guest.expect("echo", |packet| (packet.protocol == packet::ICMP).then(|| packet.payload.to_vec()));
    assert_eq!((answer[0], &answer[4..], packet::checksum(&answer)), (0, &echo[4..], 0));
    // A long one comes in fragments.
    echo.resize(4000, 7);
    crate::link::set_icmp_checksum(GUEST.into(), HOST.into(), packet::ICMP, &mut echo);
    for (n, part) in echo.chunks(1480).enumerate() {
        let mut frame = frame(GUEST, HOST, packet::ICMP, &[])[..ETHERNET].to_vec();
        let (offset, more) = (n * 1480, (n + 1) * 1480 < echo.len());
        let fragment = packet::Fragment { id: 9, offset, more };
        packet::push_fragment(&mut frame, GUEST.into(), HOST.into(), packet::ICMP, part, fragment);
        guest.net.send(&frame);
    }
    let mut len = 0;
    guest.expect("fragments", |packet| {
        len += packet.payload.len();
        packet.fragment.filter(|fragment| !fragment.more)
    });
    assert_eq!(len, 4000);
}

#[test]
fn names_through_the_hosts_resolver() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let guest = Guest::on(Config { resolver: Some(server.local_addr().unwrap()), ..Config::default() });
    guest.datagram(1234, (DNS, 53), b"who is example?");
    let mut bytes = [0; 100];
    let (len, from) = server.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"who is example?");
    server.send_to(b"192.0.2.1", from).unwrap();
    assert_eq!(guest.expect_datagram(1234), (SocketAddr::from((DNS, 53)), b"192.0.2.1".to_vec()));
}

#[test]
fn datagrams_and_who_may_answer() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let guest = Guest::on(Config::default());
    guest.datagram(7, (HOST, port), b"question");
    let mut bytes = [0; 100];
    let (_, from) = server.recv_from(&mut bytes).unwrap();
    server.send_to(&[1; 3000], from).unwrap();
    let mut len = 0;
    guest.expect("fragments", |packet| {
        len += packet.payload.len();
        packet.fragment.filter(|fragment| !fragment.more)
    });
    assert_eq!(len, 3008);
    // Another port of the same address, but no other address.
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger.send_to(b"stranger", ("127.0.0.1", from.port())).unwrap();
    let second = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    second.send_to(b"second", ("127.0.0.1", from.port())).unwrap();
    let second = SocketAddr::from((HOST, second.local_addr().unwrap().port()));
    assert_eq!(guest.expect_datagram(7), (second, b"second".to_vec()));
}

#[test]
fn megabytes_in_both_directions() {
    let (listener, addr) = local();
    let data = pattern(6 << 20);
    let want = data.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = vec![0; 3 << 20];
        stream.read_exact(&mut got).unwrap();
        // Slow for a while: the guest has to wait.
        thread::sleep(Duration::from_millis(300));
        stream.read_to_end(&mut got).unwrap();
        assert!(got == want);
        // The guest has ended its direction; the other one still works.
        stream.write_all(&want).unwrap();
    });
    let mut guest = Guest::on(Config::default());
    let handle = guest.connect(addr);
    guest.until("connection", |guest| guest.socket(handle).may_send());
    let mut got = Vec::new();
    guest.send(handle, &data, &mut got);
    guest.socket(handle).close();
    guest.read_to_end(handle, &mut got);
    assert!(got == data);
    server.join().unwrap();
    guest.until("end", |guest| matches!(guest.socket(handle).state(), State::TimeWait | State::Closed));
}

#[test]
fn the_host_ends_first_and_reads_slowly() {
    let (listener, addr) = local();
    let data = pattern(2 << 20);
    let want = data.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        thread::sleep(Duration::from_millis(500));
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == want, "{} of {}", got.len(), want.len());
    });
    let mut guest = Guest::on(Config::default());
    let handle = guest.connect(addr);
    let mut got = Vec::new();
    guest.read_to_end(handle, &mut got);
    assert_eq!(got, b"hello");
    guest.send(handle, &data, &mut got);
    guest.socket(handle).close();
    guest.until("end", |guest| guest.socket(handle).state() == State::Closed);
    server.join().unwrap();
}

#[test]
fn a_guest_that_reads_slowly() {
    let (listener, addr) = local();
    let data = pattern(8 << 20);
    let want = data.clone();
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(&data).unwrap());
    let mut guest = Guest::on(Config::default());
    let handle = guest.connect(addr);
    guest.until("connection", |guest| guest.socket(handle).may_recv());
    thread::sleep(Duration::from_millis(300));
    let mut got = Vec::new();
    guest.read_to_end(handle, &mut got);
    assert!(got == want);
    server.join().unwrap();
}

#[test]
fn refused_and_reset_connections() {
    let (listener, addr) = local();
    let mut guest = Guest::on(Config::default());
    let handle = guest.connect(addr);
    guest.until("connection", |guest| guest.socket(handle).may_send());
    let (stream, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    guest.until("reset", |guest| guest.socket(handle).state() == State::Closed);
    // The guest's reset reaches the host.
    let handle = guest.connect(addr);
    guest.until("connection", |guest| guest.socket(handle).may_send());
    let (mut stream, _) = listener.accept().unwrap();
    guest.socket(handle).abort();
    guest.until("reset", |guest| guest.socket(handle).state() == State::Closed);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    drop(listener);
    let handle = guest.connect(addr);
    guest.until("refusal", |guest| guest.socket(handle).state() == State::Closed);
}

#[test]
fn forwarded_ports() {
    let forward = |protocol, port| Forward {
        protocol,
        host: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        guest: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    let forwards = vec![forward(Protocol::Tcp, 22), forward(Protocol::Udp, 53)];
    // They work although the guest reaches nothing.
    let mut guest = Guest::on(Config { forwards, restrict: true, ..Config::default() });
    let listening = guest.net.listening().to_vec();
    let handle = guest.listen(22);
    let client = thread::spawn({
        let addr = listening[0];
        move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(b"ping").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut got = String::new();
            stream.read_to_string(&mut got).unwrap();
            got
        }
    });
    let mut got = Vec::new();
    guest.until("question", |guest| {
        take(guest.socket(handle), &mut got);
        got == b"ping"
    });
    let peer = guest.socket(handle).remote_endpoint().unwrap();
    assert_eq!(peer.addr, IpAddress::from(HOST));
    guest.send(handle, b"pong", &mut got);
    guest.socket(handle).close();
    guest.until("end", |_| client.is_finished());
    assert_eq!(client.join().unwrap(), "pong");

    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.send_to(b"question", listening[1]).unwrap();
    let (from, data) = guest.expect_datagram(53);
    assert_eq!((from.ip(), &data[..]), (IpAddr::V4(HOST), &b"question"[..]));
    guest.datagram(53, (HOST, from.port()), b"answer");
    let mut bytes = [0; 100];
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (len, from) = client.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..len], from), (&b"answer"[..], listening[1]));
}

#[test]
fn a_restricted_guest_reaches_nothing() {
    let (_listener, addr) = local();
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let resolver = Some(server.local_addr().unwrap());
    let mut guest = Guest::on(Config { restrict: true, resolver, ..Config::default() });
    for to in [(HOST, server.local_addr().unwrap().port()), (DNS, 53)] {
        guest.datagram(9, to, b"out");
        guest.expect("refusal", |packet| {
            (packet.protocol == packet::ICMP && packet.payload[..2] == [3, 13]).then_some(())
        });
    }
    server.set_nonblocking(true).unwrap();
    assert!(server.recv(&mut [0; 10]).is_err());
    let handle = guest.connect(addr);
    let started = std::time::Instant::now();
    guest.until("time", |_| started.elapsed() > Duration::from_millis(300));
    assert_eq!(guest.socket(handle).state(), State::SynSent);
}

#[test]
fn commands_and_servers_behind_the_network() {
    let (listener, _) = local();
    let at = |port| SocketAddr::from(([10, 0, 2, 100], port));
    let forward = |port, target| GuestForward { server: at(port), target };
    let guest_forwards = vec![
        forward(1, Target::Command(vec!["cat".into()])),
        forward(2, Target::Tcp(listener.local_addr().unwrap())),
        forward(3, Target::Command(vec!["/nonexistent/program".into()])),
    ];
    let mut guest = Guest::on(Config { guest_forwards, restrict: true, ..Config::default() });
    let data = pattern(1 << 20);
    let handle = guest.connect(at(1));
    guest.until("connection", |guest| guest.socket(handle).may_send());
    let mut got = Vec::new();
    guest.send(handle, &data, &mut got);
    guest.socket(handle).close();
    guest.read_to_end(handle, &mut got);
    assert!(got == data);
    let handle = guest.connect(at(2));
    guest.until("connection", |guest| guest.socket(handle).may_send());
    let handle = guest.connect(at(3));
    guest.until("refusal", |guest| guest.socket(handle).state() == State::Closed);
}

#[test]
fn files_by_tftp() {
    let root = std::env::temp_dir().join(format!("usernet-tftp-{}", std::process::id()));
    let folder = root.join("served");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(root.join("secret"), "secret").unwrap();
    let data = pattern(1300);
    std::fs::write(folder.join("sub/file"), &data).unwrap();
    std::fs::write(folder.join("even"), &data[..1024]).unwrap();
    for (target, name) in [("../secret", "out"), ("/etc/passwd", "far"), ("sub/file", "in"), ("..", "up")] {
        let _ = std::os::unix::fs::symlink(target, folder.join(name));
    }
    let guest = Guest::on(Config { tftp: Some(folder), restrict: true, ..Config::default() });
    let ask = |port, request: &[u8]| {
        guest.datagram(port, (HOST, 69), request);
        guest.expect_datagram(port).1
    };
    let fetch = |port, name: &str, options: &[u8]| -> Result<Vec<u8>, Vec<u8>> {
        let mut got = Vec::new();
        let mut block = if options.is_empty() { 512 } else { 1000 };
        let mut answer = ask(port, &[b"\0\x01", name.as_bytes(), b"\0octet\0", options].concat());
        loop {
            match answer[1] {
                6 => {
                    assert_eq!(answer, b"\0\x06blksize\x001000\0tsize\x001300\0");
                    block = 1000;
                    answer = ask(port, b"\0\x04\0\0");
                }
                3 => {
                    got.extend(&answer[4..]);
                    let ack = [0, 4, answer[2], answer[3]];
                    if answer.len() < 4 + block {
                        guest.datagram(port, (HOST, 69), &ack);
                        return Ok(got);
                    }
                    answer = ask(port, &ack);
                }
                _ => return Err(answer),
            }
        }
    };
    assert_eq!(fetch(1000, "sub/file", b"").unwrap(), data);
    assert_eq!(fetch(1001, "/in", b"blksize\x001000\0tsize\x000\0").unwrap(), data);
    assert_eq!(fetch(1002, "even", b"").unwrap(), data[..1024]);
    let escapes =
        ["../secret", "sub/../../secret", "out", "far", "up/secret", "/etc/passwd", "", "sub", "..", "missing"];
    for (n, name) in escapes.iter().enumerate() {
        let error = fetch(2000 + n as u16, name, b"").unwrap_err();
        assert_eq!(error[1], 5, "{name}");
    }
    assert_eq!(ask(3000, b"\0\x02file\0octet\0")[..4], [0, 5, 0, 2], "writing");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn six_has_routers_and_connections() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let mut guest = Guest::on(Config::default());
    // RFC 4861, 4.1: from a link-local address to all routers.
    let (src, dst): (IpAddr, IpAddr) = ("fe80::15".parse().unwrap(), "ff02::2".parse().unwrap());
    let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0];
    crate::link::set_icmp_checksum(src, dst, packet::ICMPV6, &mut message);
    let mut frame = [&[0x33, 0x33, 0, 0, 0, 2][..], &MAC, &[0x86, 0xdd]].concat();
    packet::push_header(&mut frame, (src, dst), (packet::ICMPV6, 255), message.len(), None);
    frame.extend(message);
    guest.net.send(&frame);
    let advert =
        guest.expect("advertisement", |packet| (packet.payload.first() == Some(&134)).then(|| packet.payload.to_vec()));
    let prefix = [&[3, 4, 64, 0xc0][..]].concat();
    assert!(advert.windows(4).any(|window| window == prefix));
    let to = SocketAddr::new("fec0::2".parse().unwrap(), listener.local_addr().unwrap().port());
    let handle = guest.connect(to);
    guest.until("connection", |guest| guest.socket(handle).may_send());
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"six").unwrap();
    drop(stream);
    let mut got = Vec::new();
    guest.read_to_end(handle, &mut got);
    assert_eq!(got, b"six");
}

#[test]
fn what_the_host_refuses_is_said_in_one_line() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = taken.local_addr().unwrap();
    let guest = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 22));
    let forwards = vec![Forward { protocol: Protocol::Tcp, host, guest }];
    let error = Network::open(Config { forwards, ..Config::default() }).err().unwrap().to_string();
    let port = host.port();
    let want = format!(
        "cannot listen on port {host} (TCP): address already in use; end the program that has it \
         (`ss -lp 'sport = {port}'` shows it) or choose another port"
    );
    assert_eq!(error, want);
    let tftp = Some("/nonexistent/folder".into());
    let error = Network::open(Config { tftp, ..Config::default() }).err().unwrap().to_string();
    assert!(error.contains("no such file or directory; "), "{error}");
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// Makes the checksums of a frame of IPv4 right.
fn mend(frame: &mut [u8]) {
    let header_len = frame.get(14).map_or(0, |byte| usize::from(byte & 15) * 4);
    if frame.len() < 14 + header_len.max(20) || header_len < 20 {
        return;
    }
    frame[24..26].fill(0);
    let sum = packet::checksum(&frame[14..14 + header_len]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let (mut src, mut dst) = ([0; 4], [0; 4]);
    src.copy_from_slice(&frame[26..30]);
    dst.copy_from_slice(&frame[30..34]);
    let protocol = frame[23];
    let payload = &mut frame[14 + header_len..];
    let at = match protocol {
        packet::TCP => 16,
        packet::UDP => 6,
        packet::ICMP => 2,
        _ => return,
    };
    if payload.len() >= at + 2 {
        payload[at..at + 2].fill(0);
        let sum = match protocol {
            packet::ICMP => packet::checksum(payload),
            _ => packet::checksum_between(src.into(), dst.into(), protocol, payload),
        };
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[test]
fn whatever_is_sent_is_survived() {
    let (listener, _) = local();
    let server = SocketAddr::from(([10, 0, 2, 100], 80));
    let target = Target::Tcp(listener.local_addr().unwrap());
    let guest_forwards = vec![GuestForward { server, target }];
    let config = Config { restrict: true, guest_forwards, ..Config::default() };
    let folder = tftp::Server::open(std::path::Path::new(".")).unwrap();
    let opened = Opened { listeners: Vec::new(), datagrams: Vec::new(), tftp: Some(folder) };
    let cable = Arc::new(Cable::new().unwrap());
    let mut stack = Stack::new(config, cable.clone(), opened);
    let mut random = Random(0x1234_5678_9abc_def1);
    let udp = |to: u16, data: &[u8]| {
        let (src, dst) = (SocketAddr::from((GUEST, 99)), SocketAddr::from((HOST, to)));
        frame(GUEST, HOST, packet::UDP, &packet::udp(src, dst, data))
    };
    let mut syn = vec![0; 40];
    syn[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    syn[12..16].copy_from_slice(&[10 << 4, 2, 255, 255]);
    syn[20..26].copy_from_slice(&[2, 4, 5, 180, 3, 3]);
    let seeds = [
        arp(1, GUEST, HOST),
        dhcp(MAC, 1, &[50, 4, 10, 0, 2, 15, 55, 3, 1, 2, 3]),
        udp(69, b"\0\x01Cargo.toml\0octet\0blksize\x00512\0"),
        udp(69, b"\0\x04\0\x01"),
        udp(53, b"name"),
        frame(GUEST, HOST, packet::ICMP, b"\x08\0\0\0\x12\x34\0\x01data"),
        frame(GUEST, [10, 0, 2, 100].into(), packet::TCP, &syn),
        [&[0x33, 0x33, 0, 0, 0, 2][..], &MAC, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255], &[0xfe; 56]].concat(),
    ];
    let mut frames = Vec::new();
    let mut out = Vec::new();
    for round in 0..60_000 {
        let mut frame = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.below(6) {
            let at = random.below(frame.len());
            match random.below(4) {
                0 => frame[at] = random.below(256) as u8,
                1 => frame[at] ^= 1 << random.below(8),
                2 => frame.truncate(at.max(1)),
                _ => frame.insert(at, random.below(256) as u8),
            }
        }
        if random.below(8) == 0 {
            let len = random.below(2000);
            frame = (0..len).map(|_| random.below(256) as u8).collect();
        }
        if random.below(4) != 0 {
            mend(&mut frame);
        }
        cable.send(&frame);
        if round % 16 == 0 {
            stack.turn(&mut frames, &[]);
            while cable.receive(&mut out) {}
        }
    }
    assert!(stack.tcp.len() <= 512 && stack.udp.len() <= 256 && stack.link.neighbours() <= 256);
    assert!(stack.tftp.as_ref().unwrap().len() <= 16);
}

#[test]
fn a_flood_that_nobody_takes_stays_bounded() {
    let guest = Guest::on(Config::default());
    for n in 0..200_000u32 {
        guest.net.send(&arp(1, GUEST, HOST));
        if n % 10_000 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    thread::sleep(Duration::from_millis(100));
    let mut frame = Vec::new();
    let mut count = 0;
    while guest.net.receive(&mut frame) {
        count += 1;
    }
    assert!((1..=2 * crate::cable::QUEUE_MAX).contains(&count), "{count}");
}
