//! Neighbours and routers of IPv6 (RFC 4861): guests learn the prefix, the gateway and the name server (RFC 8106) and make up
//! their addresses (RFC 4862).

use crate::link::{Link, Mac, OUR_MAC, set_icmp_checksum};
use crate::packet::{self, ETHERNET, ETHERTYPE_IPV6, ICMPV6, NEIGHBOUR_HOPS, Packet};
use std::net::{IpAddr, Ipv6Addr};

/// The gateway's address on the link, which router advertisements must come from (RFC 4861, 4.2).
pub const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Types of messages.
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Options.
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const PREFIX: u8 = 3;
const DNS: u8 = 25;
/// How long what was advertised is good for.
const ROUTER_S: u16 = 1800;
const PREFIX_S: u32 = 86_400;
/// Hops that guests give their packets.
const GUEST_HOPS: u8 = 64;

/// Takes a message of ICMPv6 from the neighbour at `mac`; whether it was of this protocol.
pub fn input(packet: &Packet<'_>, mac: Mac, link: &mut Link) -> bool {
    let message = packet.payload;
    let Some(kind @ ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT) = message.first().copied() else { return false };
    let IpAddr::V6(src) = packet.src else { return false };
    let genuine = packet.hops == NEIGHBOUR_HOPS
        && packet::checksum_between(packet.src, packet.dst, ICMPV6, message) == 0
        && message.len() >= 8;
    if !genuine || link.config.v6.is_none() {
        return true;
    }
    let is_local = src.is_unicast_link_local() && src != LINK_LOCAL;
    if is_local || link.config.is_guest(packet.src) {
        link.learn(packet.src, mac);
    }
    let target = message.get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(Ipv6Addr::from);
    match (kind, target) {
        (ROUTER_SOLICITATION, _) => advertise(link),
        (NEIGHBOUR_SOLICITATION, Some(target)) if target == LINK_LOCAL || link.config.is_own(target.into()) => {
            // 7.2.4: who has no address yet is answered by telling everybody.
            let (dst, solicited) = if src.is_unspecified() { (ALL_NODES, 0) } else { (src, 0x40) };
            let mut reply = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0x80 | solicited | 0x20, 0, 0, 0];
            reply.extend(target.octets());
            reply.extend([TARGET_ADDRESS, 1]);
            reply.extend(OUR_MAC);
            let mac = if src.is_unspecified() { group(dst) } else { mac };
            send(link, target, dst, mac, &mut reply);
        }
        (NEIGHBOUR_ADVERTISEMENT, Some(target)) if link.config.is_guest(target.into()) => {
            link.learn(target.into(), mac);
        }
        _ => {}
    }
    true
}

/// Asks where `target` is.
pub fn solicit(link: &mut Link, host: Ipv6Addr, target: Ipv6Addr) {
    let mut message = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([SOURCE_ADDRESS, 1]);
    message.extend(OUR_MAC);
    // RFC 4291, 2.7.1: the group of all whose address ends like this.
    let [.., a, b, c] = target.octets();
    let dst = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    send(link, host, dst, group(dst), &mut message);
}

/// Tells everybody what the network is.
fn advertise(link: &mut Link) {
    let Some(v6) = link.config.v6 else { return };
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, GUEST_HOPS, 0];
    message.extend(ROUTER_S.to_be_bytes());
    message.extend([0; 8]);
    message.extend([SOURCE_ADDRESS, 1]);
    message.extend(OUR_MAC);
    // 4.6.2: on this link, and for making up addresses.
    message.extend([PREFIX, 4, 64, 0xc0]);
    message.extend(PREFIX_S.to_be_bytes());
    message.extend((PREFIX_S / 2).to_be_bytes());
    message.extend([0; 4]);
    message.extend(v6.prefix.octets());
    if !link.config.restrict {
        message.extend([DNS, 3, 0, 0]);
        message.extend(u32::from(ROUTER_S).to_be_bytes());
        message.extend(v6.dns.octets());
    }
    send(link, LINK_LOCAL, ALL_NODES, group(ALL_NODES), &mut message);
}

/// RFC 2464, 7.
fn group(addr: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = addr.octets();
    [0x33, 0x33, a, b, c, d]
}

fn send(link: &mut Link, src: Ipv6Addr, dst: Ipv6Addr, mac: Mac, message: &mut [u8]) {
    let (src, dst) = (IpAddr::from(src), IpAddr::from(dst));
    set_icmp_checksum(src, dst, ICMPV6, message);
    let mut frame = link.buffer();
    debug_assert_eq!(frame.len(), ETHERNET);
    packet::push_header(&mut frame, (src, dst), (ICMPV6, NEIGHBOUR_HOPS), message.len(), None);
    frame.extend_from_slice(message);
    link.send_to(mac, ETHERTYPE_IPV6, frame);
}
