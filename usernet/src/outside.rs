//! Where on the host, or beyond it, an address of the guest's network leads to.

use crate::config::Config;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::SystemTime;

const DNS_PORT: u16 = 53;
/// The host's list of name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The host's name server, looked up again when its file changes.
#[derive(Default)]
pub struct Resolver {
    given: Option<SocketAddr>,
    found: Option<SocketAddr>,
    changed: Option<SystemTime>,
}

impl Resolver {
    /// `given` is used in place of the host's.
    pub fn new(given: Option<SocketAddr>) -> Self {
        Self { given, ..Self::default() }
    }

    /// The name server, if the host has one.
    pub fn address(&mut self) -> Option<SocketAddr> {
        if self.given.is_some() {
            return self.given;
        }
        let changed = std::fs::metadata(RESOLV_CONF).and_then(|file| file.modified()).ok();
        if changed.is_none() || changed != self.changed {
            self.changed = changed;
            let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            // resolv.conf(5): without a name server it is the host itself.
            let host = Ipv4Addr::LOCALHOST.into();
            self.found = Some(SocketAddr::new(first_nameserver(&text).unwrap_or(host), DNS_PORT));
        }
        self.found
    }
}

fn first_nameserver(text: &str) -> Option<IpAddr> {
    text.lines().find_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next()?.parse().ok())
}

/// Where packets to `dst` go: `None` if nowhere.
pub fn outside(config: &Config, resolver: &mut Resolver, dst: SocketAddr) -> Option<SocketAddr> {
    if config.restrict || dst.port() == 0 {
        return None;
    }
    match dst.ip() {
        IpAddr::V4(addr) => {
            let v4 = config.v4?;
            if addr == v4.host {
                return Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), dst.port()));
            }
            if addr == v4.dns {
                return if dst.port() == DNS_PORT { resolver.address() } else { None };
            }
            let nowhere = v4.contains(addr)
                || addr.is_loopback()
                || addr.is_broadcast()
                || addr.is_multicast()
                || addr.octets()[0] == 0
                || addr.octets()[0] >= 240;
            (!nowhere).then_some(dst)
        }
        IpAddr::V6(addr) => {
            let v6 = config.v6?;
            if addr == v6.host {
                return Some(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), dst.port()));
            }
            if addr == v6.dns {
                return if dst.port() == DNS_PORT { resolver.address() } else { None };
            }
            // An IPv4 address in another form would go around the checks above.
            let nowhere = v6.contains(addr)
                || addr.is_loopback()
                || addr.is_unspecified()
                || addr.is_multicast()
                || addr.is_unicast_link_local()
                || addr.to_ipv4().is_some();
            (!nowhere).then_some(dst)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_addresses_lead_to() {
        let rows = [
            ("10.0.2.2:80", Some("127.0.0.1:80")),
            ("10.0.2.3:53", Some("192.0.2.1:53")),
            ("10.0.2.3:80", None),
            ("10.0.2.77:80", None),
            ("127.0.0.1:80", None),
            ("0.0.0.0:80", None),
            ("224.0.0.1:80", None),
            ("255.255.255.255:80", None),
            ("198.51.100.7:80", Some("198.51.100.7:80")),
            ("198.51.100.7:0", None),
            ("[fec0::2]:80", Some("[::1]:80")),
            ("[fec0::3]:53", Some("192.0.2.1:53")),
            ("[fec0::99]:80", None),
            ("[::1]:80", None),
            ("[::ffff:127.0.0.1]:80", None),
            ("[fe80::1]:80", None),
            ("[2001:db8::1]:80", Some("[2001:db8::1]:80")),
        ];
        let mut config = Config::default();
        for restrict in [false, true] {
            config.restrict = restrict;
            for (dst, want) in rows {
                let mut resolver = Resolver::new(Some("192.0.2.1:53".parse().unwrap()));
                let got = outside(&config, &mut resolver, dst.parse().unwrap());
                let want = want.filter(|_| !restrict).map(|want| want.parse().unwrap());
                assert_eq!(got, want, "{dst}");
            }
        }
    }

    #[test]
    fn name_servers_are_found() {
        let rows = [
            ("search a\nnameserver 192.0.2.9 # x\nnameserver 192.0.2.8", Some("192.0.2.9")),
            ("# nameserver 192.0.2.9\nnameserver fe80::1%eth0\nnameserver\t::1\n", Some("::1")),
            ("", None),
        ];
        for (text, want) in rows {
            assert_eq!(first_nameserver(text), want.map(|want| want.parse().unwrap()), "{text}");
        }
    }
}
