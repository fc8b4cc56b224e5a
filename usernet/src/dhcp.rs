//! DHCP (RFC 2131, options of RFC 2132) and BOOTP (RFC 951): every card gets the first address that is free, for ever the same.

use crate::config::{Config, V4};
use crate::link::{Link, Mac};
use std::net::{Ipv4Addr, SocketAddr};

/// Ports of server and client.
pub const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Addresses that are given out.
const LEASES: u32 = 16;
const LEASE_S: u32 = 86_400;
/// What the options begin with.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Bytes before the options, cookie included.
const FIXED: usize = 240;
/// RFC 1542, 2.1: some clients take no shorter answer.
const REPLY_MIN: usize = 300;

/// Kinds of messages (option 53).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// Who has which address: `leases[n]` is the n-th after the first.
#[derive(Default)]
pub struct Server {
    leases: Vec<Option<Mac>>,
}

/// What matters of a client's message.
#[derive(Default)]
struct Message {
    mac: Mac,
    client: Option<Ipv4Addr>,
    kind: Option<u8>,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(<[u8; 4]>::try_from(bytes).ok()?.into())
}

fn parse(data: &[u8]) -> Option<Message> {
    // A request from Ethernet.
    if data.len() < FIXED || data[..3] != [1, 1, 6] || data[236..240] != COOKIE {
        return None;
    }
    let client = address(&data[12..16]).filter(|addr| !addr.is_unspecified());
    let mut message = Message { mac: data[28..34].try_into().ok()?, client, ..Message::default() };
    let mut rest = &data[FIXED..];
    while let Some((&code, after)) = rest.split_first() {
        match code {
            0 => rest = after,
            255 => break,
            _ => {
                let (&len, after) = after.split_first()?;
                let (value, after) = after.split_at_checked(len.into())?;
                match code {
                    50 => message.requested = address(value),
                    53 => message.kind = value.first().copied(),
                    54 => message.server = address(value),
                    _ => {}
                }
                rest = after;
            }
        }
    }
    Some(message)
}

impl Server {
    /// Takes a datagram for the server's port.
    pub fn input(&mut self, data: &[u8], link: &mut Link) {
        let (Some(v4), Some(message)) = (link.config.v4, parse(data)) else { return };
        // 4.3.2: the client has chosen another server.
        if message.mac[0] & 1 != 0 || message.server.is_some_and(|server| server != v4.host) {
            return;
        }
        let (kind, given) = match message.kind {
            Some(DISCOVER) => (OFFER, self.lease(&v4, &message)),
            Some(REQUEST) => {
                let given = self.lease(&v4, &message);
                match message.requested.or(message.client) {
                    Some(wanted) if given != Some(wanted) => (NAK, None),
                    _ => (ACK, given),
                }
            }
            Some(INFORM) => (ACK, None),
            Some(RELEASE | DECLINE) => {
                let declined = message.kind == Some(DECLINE);
                for lease in &mut self.leases {
                    if *lease == Some(message.mac) {
                        // Somebody else has a declined address: its owner is nobody that could ask.
                        *lease = declined.then_some([0xff; 6]);
                    }
                }
                return;
            }
            Some(_) => return,
            // BOOTP.
            None => (0, self.lease(&v4, &message)),
        };
        let informs = message.kind == Some(INFORM);
        if given.is_none() && kind != NAK && !informs {
            vm::log!(GuestError, "network: all {LEASES} addresses are given out");
            return;
        }
        let reply = reply(data, &link.config, &v4, kind, given);
        let asked = message.client.filter(|addr| informs && link.config.is_guest((*addr).into()));
        if let Some(addr) = given.or(asked) {
            link.learn(addr.into(), message.mac);
        }
        // 4.1: clients need not answer ARP yet; everybody hears a broadcast.
        let to = asked.unwrap_or(Ipv4Addr::BROADCAST);
        link.send_udp(SocketAddr::new(v4.host.into(), SERVER_PORT), SocketAddr::new(to.into(), CLIENT_PORT), &reply);
    }

    /// The address of a client: the one it has, the one it asks for, or the first that is free.
    fn lease(&mut self, v4: &V4, message: &Message) -> Option<Ipv4Addr> {
        let first = v4.dhcp_start.to_bits();
        let last = v4.broadcast().to_bits();
        let usable = |n: usize| {
            let addr = first.checked_add(n as u32).filter(|addr| *addr < last).map(Ipv4Addr::from);
            addr.filter(|addr| ![v4.host, v4.dns].contains(addr))
        };
        self.leases.resize(LEASES as usize, None);
        let mine = self.leases.iter().position(|lease| *lease == Some(message.mac));
        let wanted = || {
            let n = message.requested?.to_bits().checked_sub(first)? as usize;
            self.leases.get(n)?.is_none().then_some(n)
        };
        let free = || (0..self.leases.len()).find(|n| self.leases[*n].is_none() && usable(*n).is_some());
        let n = mine.or_else(wanted).or_else(free)?;
        let addr = usable(n)?;
        self.leases[n] = Some(message.mac);
        Some(addr)
    }
}

/// The answer to `data`.
fn reply(data: &[u8], config: &Config, v4: &V4, kind: u8, given: Option<Ipv4Addr>) -> Vec<u8> {
    let mut reply = vec![0; FIXED];
    reply[..4].copy_from_slice(&[2, 1, 6, 0]);
    // Transaction, flags, relay and hardware address are the client's.
    for range in [4..8, 10..12, 24..28, 28..44] {
        reply[range.clone()].copy_from_slice(&data[range]);
    }
    reply[236..240].copy_from_slice(&COOKIE);
    let mut options = Options(reply);
    if kind != 0 {
        options.push(53, &[kind]);
        options.push(54, &v4.host.octets());
    }
    if kind == NAK {
        return options.finish();
    }
    if kind == ACK && given.is_none() {
        options.0[12..16].copy_from_slice(&data[12..16]);
    }
    if let Some(given) = given {
        options.0[16..20].copy_from_slice(&given.octets());
        if kind != 0 {
            options.push(51, &LEASE_S.to_be_bytes());
        }
    }
    options.0[20..24].copy_from_slice(&v4.host.octets());
    options.push(1, &v4.mask().octets());
    if !config.restrict {
        options.push(3, &v4.host.octets());
        options.push(6, &v4.dns.octets());
    }
    let text = [(12, &config.hostname), (15, &config.domain_name), (66, &config.tftp_server_name)];
    for (code, value) in text {
        if let Some(value) = value {
            options.push(code, value.as_bytes());
        }
    }
    if let Some(bootfile) = &config.bootfile {
        // The field for firmware of old, the option for long names.
        if bootfile.len() < 128 {
            options.0[108..108 + bootfile.len()].copy_from_slice(bootfile.as_bytes());
        }
        options.push(67, bootfile.as_bytes());
    }
    for part in search_list(&config.dns_search).chunks(255) {
        options.push(119, part);
    }
    options.finish()
}

/// RFC 3397: names as in DNS (RFC 1035, 3.1). Names that cannot be written so are left out.
fn search_list(domains: &[String]) -> Vec<u8> {
    let mut list = Vec::new();
    for domain in domains {
        let labels: Vec<&str> = domain.split('.').filter(|label| !label.is_empty()).collect();
        if labels.is_empty() || labels.iter().any(|label| label.len() > 63) || domain.len() > 253 {
            continue;
        }
        for label in labels {
            list.push(label.len() as u8);
            list.extend(label.bytes());
        }
        list.push(0);
    }
    list
}

struct Options(Vec<u8>);

impl Options {
    /// Adds an option; a value that is too long is left out.
    fn push(&mut self, code: u8, value: &[u8]) {
        // What fits into the smallest packet that every host takes (RFC 2131, 2).
        if let Ok(len @ 1..) = u8::try_from(value.len())
            && self.0.len() + value.len() < 576 - 28 - 3
        {
            self.0.extend([code, len]);
            self.0.extend_from_slice(value);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(255);
        self.0.resize(self.0.len().max(REPLY_MIN), 0);
        self.0
    }
}
