//! What a network looks like: plain data, with QEMU's defaults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// A network and its services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// IPv4, or `None` without it.
    pub v4: Option<V4>,
    /// IPv6, or `None` without it.
    pub v6: Option<V6>,
    /// The guest reaches nothing but forwards, DHCP, TFTP and the gateway's echo.
    pub restrict: bool,
    /// The name that DHCP gives to the guest.
    pub hostname: Option<String>,
    /// The domain that DHCP names.
    pub domain_name: Option<String>,
    /// Domains in which the guest looks names up (RFC 3397).
    pub dns_search: Vec<String>,
    /// The folder that TFTP serves.
    pub tftp: Option<PathBuf>,
    /// The name that DHCP gives of the TFTP server (RFC 2132, option 66).
    pub tftp_server_name: Option<String>,
    /// The file that firmware shall start, as DHCP names it.
    pub bootfile: Option<String>,
    /// Ports of the host that lead to the guest.
    pub forwards: Vec<Forward>,
    /// Ports of the network that lead to something on the host.
    pub guest_forwards: Vec<GuestForward>,
    /// The name server behind the network's own; `None` for the first one of `/etc/resolv.conf`.
    pub resolver: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            v4: Some(V4::default()),
            v6: Some(V6::default()),
            restrict: false,
            hostname: None,
            domain_name: None,
            dns_search: Vec::new(),
            tftp: None,
            tftp_server_name: None,
            bootfile: None,
            forwards: Vec::new(),
            guest_forwards: Vec::new(),
            resolver: None,
        }
    }
}

/// Addresses of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V4 {
    /// First address of the network.
    pub network: Ipv4Addr,
    /// Bits of an address that name the network, 1 to 29.
    pub prefix_len: u8,
    /// The gateway; connections to it reach the host's loopback interface.
    pub host: Ipv4Addr,
    /// The name server.
    pub dns: Ipv4Addr,
    /// First of the 16 addresses that DHCP gives out.
    pub dhcp_start: Ipv4Addr,
}

impl Default for V4 {
    fn default() -> Self {
        Self::of(Ipv4Addr::new(10, 0, 2, 0), 24)
    }
}

impl V4 {
    /// The network `network` with addresses at QEMU's places: .2, .3 and from .15 on.
    pub fn of(network: Ipv4Addr, prefix_len: u8) -> Self {
        let network = network.to_bits() & mask(prefix_len);
        // A small network has no sixteenth address: what there is comes after the name server.
        let start = if prefix_len <= 27 { 15 } else { 4 };
        Self {
            network: network.into(),
            prefix_len,
            host: (network | 2).into(),
            dns: (network | 3).into(),
            dhcp_start: (network | start).into(),
        }
    }

    /// Whether `addr` belongs to the network.
    pub fn contains(&self, addr: Ipv4Addr) -> bool {
        addr.to_bits() & mask(self.prefix_len) == self.network.to_bits()
    }

    /// The mask of the network.
    pub fn mask(&self) -> Ipv4Addr {
        mask(self.prefix_len).into()
    }

    /// The address of everybody on the network.
    pub fn broadcast(&self) -> Ipv4Addr {
        (self.network.to_bits() | !mask(self.prefix_len)).into()
    }
}

fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0)
}

/// Addresses of IPv6; guests make up their own from the prefix (RFC 4862), which is 64 bits long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V6 {
    /// The network; its last 64 bits are zero.
    pub prefix: Ipv6Addr,
    /// The gateway; connections to it reach the host's loopback interface.
    pub host: Ipv6Addr,
    /// The name server.
    pub dns: Ipv6Addr,
}

impl Default for V6 {
    fn default() -> Self {
        Self::of(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0))
    }
}

impl V6 {
    /// The network `prefix` with addresses at QEMU's places: ::2 and ::3.
    pub fn of(prefix: Ipv6Addr) -> Self {
        let prefix = prefix.to_bits() & !u128::from(u64::MAX);
        Self { prefix: prefix.into(), host: (prefix | 2).into(), dns: (prefix | 3).into() }
    }

    /// Whether `addr` belongs to the network.
    pub fn contains(&self, addr: Ipv6Addr) -> bool {
        addr.to_bits() >> 64 == self.prefix.to_bits() >> 64
    }
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// A port of the host that leads to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What it carries.
    pub protocol: Protocol,
    /// Where the host listens; an unspecified address for all interfaces.
    pub host: SocketAddr,
    /// Where the guest listens; an unspecified address for the first one that DHCP gives out.
    pub guest: SocketAddr,
}

/// A TCP port of the network that leads to something on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestForward {
    /// The address and port that the guest connects to.
    pub server: SocketAddr,
    /// What each connection leads to.
    pub target: Target,
}

/// Where a connection to a [`GuestForward`] leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process of its own, with the connection as standard input and output: program and arguments.
    Command(Vec<String>),
    /// A server on the host or beyond.
    Tcp(SocketAddr),
    /// A server on a Unix socket.
    Unix(PathBuf),
}

impl Config {
    /// Whether `addr` is the gateway, the name server or a server of [`Config::guest_forwards`].
    pub fn is_own(&self, addr: IpAddr) -> bool {
        if self.guest_forwards.iter().any(|forward| forward.server.ip() == addr) {
            return true;
        }
        match addr {
            IpAddr::V4(addr) => self.v4.is_some_and(|v4| addr == v4.host || addr == v4.dns),
            IpAddr::V6(addr) => self.v6.is_some_and(|v6| addr == v6.host || addr == v6.dns),
        }
    }

    /// Whether `addr` belongs to the network and may be a guest's.
    pub fn is_guest(&self, addr: IpAddr) -> bool {
        let inside = match addr {
            IpAddr::V4(addr) => {
                self.v4.is_some_and(|v4| v4.contains(addr) && addr != v4.network && addr != v4.broadcast())
            }
            IpAddr::V6(addr) => self.v6.is_some_and(|v6| v6.contains(addr)),
        };
        inside && !self.is_own(addr)
    }

    /// The gateway's address of the family of `like`; unspecified without that family.
    pub fn host(&self, like: IpAddr) -> IpAddr {
        match like {
            IpAddr::V4(_) => self.v4.map_or(Ipv4Addr::UNSPECIFIED, |v4| v4.host).into(),
            IpAddr::V6(_) => self.v6.map_or(Ipv6Addr::UNSPECIFIED, |v6| v6.host).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_every_size() {
        for (prefix_len, broadcast, start) in [(24, "10.0.2.255", "10.0.2.15"), (29, "10.0.2.7", "10.0.2.4")] {
            let v4 = V4::of(Ipv4Addr::new(10, 0, 2, 5), prefix_len);
            assert_eq!((v4.broadcast().to_string(), v4.dhcp_start.to_string()), (broadcast.into(), start.into()));
            assert!(v4.contains(v4.host) && !v4.contains(Ipv4Addr::new(10, 0, 3, 0)));
        }
        assert_eq!((mask(0), mask(32), mask(8)), (0, u32::MAX, 0xff00_0000));
    }
}
