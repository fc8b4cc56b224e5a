//! A network without privilege: the guest's frames become ordinary sockets of the host.
//!
//! One thread per network ([`stack`](self)) takes frames from the card ([`vm::netdev::NetDev`]), hands each to its protocol and
//! waits for the host's sockets. TCP towards the guest is smoltcp's state machine, one connection per instance; what connects
//! it with the host, and every other protocol, is here: `tcp.rs`, `udp.rs`, `icmp.rs` for what goes outside; `dhcp.rs`, `tftp.rs`,
//! `ndp.rs` and ARP (`link.rs`) for what the network serves itself; `outside.rs` says where an address leads to. Start reading at
//! `stack.rs`. To add a service, add its port to `Stack::datagram`.
//!
//! It deliberately knows no card, no command line and no other kind of network. Whatever a guest sends costs bounded time and
//! memory: every table has a greatest length, every flow a greatest idle time.

#![forbid(unsafe_code)]

mod cable;
pub mod config;
mod dhcp;
pub mod error;
mod icmp;
mod link;
mod ndp;
mod outside;
mod packet;
mod reassembly;
mod stack;
mod tcp;
mod tftp;
mod udp;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use error::Error;

use crate::cable::Cable;
use crate::config::Protocol;
use crate::stack::{Opened, Stack};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use vm::netdev::NetDev;

/// A network that is open as long as this lives.
pub struct Network {
    cable: Arc<Cable>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Where the host listens, in the order of [`Config::forwards`].
    listening: Vec<SocketAddr>,
}

impl Network {
    /// Opens the network, its ports on the host first.
    ///
    /// # Errors
    /// A port that cannot be listened on, a folder that cannot be read, no room for a thread.
    pub fn open(config: Config) -> Result<Self, Error> {
        let start = |error: std::io::Error| Error::Start { reason: error::reason(&error) };
        let (opened, listening) = open(&config)?;
        let cable = Arc::new(Cable::new().map_err(|error| start(error.into()))?);
        let stack = Stack::new(config, cable.clone(), opened);
        let thread = std::thread::Builder::new().name("usernet".into()).spawn(move || stack.run()).map_err(start)?;
        Ok(Self { cable, thread: Mutex::new(Some(thread)), listening })
    }

    /// Where the host listens for the forwards, in their order: a port of 0 has become one that was free.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }
}

/// Opens what the host may refuse; also where it listens.
fn open(config: &Config) -> Result<(Opened, Vec<SocketAddr>), Error> {
    let mut opened = Opened { listeners: Vec::new(), datagrams: Vec::new(), tftp: None };
    let mut listening = Vec::new();
    for forward in &config.forwards {
        let guest = match forward.guest.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => config.v4.map_or(forward.guest.ip(), |v4| v4.dhcp_start.into()),
            // Guests make up their addresses; this is QEMU's place for the first.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                config.v6.map_or(forward.guest.ip(), |v6| Ipv6Addr::from(v6.prefix.to_bits() | 0x15).into())
            }
            addr => addr,
        };
        let guest = SocketAddr::new(guest, forward.guest.port());
        let name = match forward.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let local = match forward.protocol {
            Protocol::Tcp => TcpListener::bind(forward.host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                let local = socket.local_addr();
                opened.listeners.push((socket, guest));
                local
            }),
            Protocol::Udp => UdpSocket::bind(forward.host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                let local = socket.local_addr();
                opened.datagrams.push((socket, guest));
                local
            }),
        };
        listening.push(local.map_err(|error| Error::listen(name, forward.host, &error))?);
    }
    if let Some(folder) = &config.tftp {
        let server = tftp::Server::open(folder).map_err(|error| Error::Tftp {
            path: folder.display().to_string(),
            reason: error::reason(&error.into()),
        })?;
        opened.tftp = Some(server);
    }
    Ok((opened, listening))
}

impl NetDev for Network {
    fn send(&self, frame: &[u8]) {
        self.cable.send(frame);
    }

    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        self.cable.receive(frame)
    }

    fn on_receive(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.cable.on_receive(wake);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.cable.close();
        let thread = self.thread.lock().unwrap().take();
        // The card's callback, on the network's own thread, may have been the last to hold it.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}
