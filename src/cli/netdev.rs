//! `-netdev`, `-nic` and `-net`: networks and the cards on them.

use super::CliError;
use super::config::{Device, DeviceKind, Netdev};
use super::fields::Fields;
use super::value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use usernet::config::{Config, Forward, GuestForward, Protocol, Target, V4, V6};

/// Kinds of networks, with their help.
pub const KINDS: &[(&str, &str)] = &[("user", "the host's own connections, without any privilege")];
/// Kinds of QEMU that are not there yet.
const NOT_YET: &[&str] =
    &["tap", "bridge", "socket", "stream", "dgram", "hubport", "l2tpv3", "vde", "vhost-user", "vhost-vdpa", "passt"];
/// Models of cards for `model=`, and their drivers.
const MODELS: &[(&str, &str)] = &[
    ("e1000", "e1000"),
    ("e1000-82540em", "e1000"),
    ("virtio", "virtio-net-pci"),
    ("virtio-net-pci", "virtio-net-pci"),
    ("virtio-net-device", "virtio-net-device"),
];
const FORWARD_FORM: &str = "write tcp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, such as hostfwd=tcp::2222-:22";

/// What the options for networks add up to.
#[derive(Default)]
pub struct Networks {
    pub netdevs: Vec<Netdev>,
    /// Cards with the option that asked for them; the machine chooses a model for `None`.
    pub cards: Vec<Card>,
    /// `-net nic`: the place in `cards`, for those that are on the hub.
    hub_cards: Vec<usize>,
    /// `-net user`.
    hub_network: Option<(String, String)>,
}

/// A card that is not a `-device`.
pub struct Card {
    pub object: String,
    /// The driver; `None` for the machine's usual one.
    pub driver: Option<&'static str>,
    pub mac: Option<[u8; 6]>,
    pub netdev: Option<String>,
}

impl Card {
    /// The card as a device; `usual` is the machine's driver.
    pub fn device(self, usual: &'static str) -> (String, Device) {
        let driver = match self.driver.unwrap_or(usual) {
            // `virtio` is whatever the machine has virtio on.
            "virtio-net-pci" if usual == "virtio-net-device" => usual,
            driver => driver,
        };
        let kind = match driver {
            "e1000" => DeviceKind::E1000 { mac: self.mac, netdev: self.netdev },
            _ => DeviceKind::VirtioNet { mac: self.mac, netdev: self.netdev },
        };
        (self.object, Device { id: None, driver: driver.to_owned(), kind })
    }
}

impl Networks {
    /// `-netdev`.
    pub fn netdev(&mut self, text: &str) -> Result<(), CliError> {
        let mut fields = Fields::new("netdev", text, "type");
        if kind(&mut fields)? {
            return Ok(());
        }
        let id = fields.need("id", "give it a name for -device virtio-net-pci,netdev=NAME, such as id=net0")?;
        let net = user(&mut fields)?;
        self.add(&fields, id, net)?;
        fields.finish()
    }

    /// `-nic`: a network and a card on it.
    pub fn nic(&mut self, text: &str) -> Result<(), CliError> {
        let mut fields = Fields::new("nic", text, "type");
        if kind(&mut fields)? {
            return Ok(());
        }
        let id = fields.take("id");
        let id = id.unwrap_or_else(|| self.unused_id());
        let (driver, mac) = (model(&mut fields)?, super::device::mac(&mut fields)?);
        let net = user(&mut fields)?;
        self.add(&fields, id.clone(), net)?;
        fields.finish()?;
        self.cards.push(Card { object: format!("-nic {text}"), driver, mac, netdev: Some(id) });
        Ok(())
    }

    /// `-net`: a card, or a network, on one hub.
    pub fn net(&mut self, text: &str) -> Result<(), CliError> {
        let mut fields = Fields::new("net", text, "type");
        let object = format!("-net {text}");
        if text.split(',').next() == Some("nic") {
            fields.take("type");
            // A name for the monitor, a place on the bus, a number of interrupts: none of them is chosen here.
            for key in ["name", "addr", "vectors"] {
                fields.take(key);
            }
            let (driver, netdev) = (model(&mut fields)?, fields.take("netdev"));
            let mac = super::device::address(&mut fields, "macaddr")?;
            fields.finish()?;
            if netdev.is_none() {
                self.hub_cards.push(self.cards.len());
            }
            self.cards.push(Card { object, driver, mac, netdev });
            return Ok(());
        }
        if kind(&mut fields)? {
            return Ok(());
        }
        let id = fields.take("id").unwrap_or_else(|| self.unused_id());
        if self.hub_network.is_some() {
            let advice = "use -nic user for each, or -netdev user,id=ID with -device …,netdev=ID";
            return Err(fields.error("several networks on one hub are not implemented", advice));
        }
        let net = user(&mut fields)?;
        self.add(&fields, id.clone(), net)?;
        fields.finish()?;
        self.hub_network = Some((object, id));
        Ok(())
    }

    /// Connects what is on the hub; a warning for what is left over.
    pub fn finish(&mut self, warnings: &mut Vec<String>) -> Result<(), CliError> {
        match (&self.hub_network, self.hub_cards.as_slice()) {
            (Some((object, _)), []) => warnings.push(format!("{object}: no card is on this network; add -net nic")),
            (Some((_, id)), [card]) => self.cards[*card].netdev = Some(id.clone()),
            (Some(_), [_, second, ..]) => {
                let advice = "use -nic user for each card";
                let reason = "several cards on one hub are not implemented";
                return Err(CliError::new(&self.cards[*second].object, reason, advice));
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn add(&mut self, fields: &Fields<'_>, id: String, net: Config) -> Result<(), CliError> {
        if self.netdevs.iter().any(|other| other.id == id) {
            return Err(fields.error(format!("another network has the id `{id}`"), "choose another id="));
        }
        self.netdevs.push(Netdev { id, net });
        Ok(())
    }

    fn unused_id(&self) -> String {
        let taken = |id: &str| self.netdevs.iter().any(|other| other.id == id);
        (0..).map(|n| format!("#net{n}")).find(|id| !taken(id)).unwrap_or_default()
    }
}

/// Takes the kind of a network; whether there shall be none.
fn kind(fields: &mut Fields<'_>) -> Result<bool, CliError> {
    match fields.take("type").as_deref() {
        Some("user") => Ok(false),
        Some("none") => Ok(true),
        Some(other) if NOT_YET.contains(&other) => {
            Err(fields.error(format!("networks of type {other} are not implemented yet"), "use user"))
        }
        Some(other) => Err(fields.error(format!("unknown type `{other}`"), "use user or none")),
        None => Err(fields.error("the type is missing", "use user or none")),
    }
}

fn model(fields: &mut Fields<'_>) -> Result<Option<&'static str>, CliError> {
    fields.choice("model", MODELS)
}

/// The properties of a network of type `user`.
fn user(fields: &mut Fields<'_>) -> Result<Config, CliError> {
    let mut config = Config { restrict: fields.switch("restrict")?.unwrap_or(false), ..Config::default() };
    let (v4, v6) = (fields.switch("ipv4")?, fields.switch("ipv6")?);
    let net = v4_net(fields)?;
    config.v4 = v4.or(v6.map(|v6| !v6)).unwrap_or(true).then_some(net);
    let net = v6_net(fields)?;
    // As QEMU: one switched on alone switches the other off.
    config.v6 = v6.or(v4.map(|v4| !v4)).unwrap_or(true).then_some(net);
    config.hostname = fields.take("hostname");
    config.domain_name = fields.take("domainname");
    config.dns_search = fields.take_all("dnssearch");
    config.tftp = fields.take("tftp").map(Into::into);
    config.tftp_server_name = fields.take("tftp-server-name");
    config.bootfile = fields.take("bootfile");
    for key in ["smb", "smbserver"] {
        if fields.take(key).is_some() {
            return Err(fields.error("sharing folders by SMB is not implemented", "use hostfwd= with ssh, or tftp="));
        }
    }
    for text in fields.take_all("hostfwd") {
        config.forwards.push(forward(fields, &config, &text)?);
    }
    for text in fields.take_all("guestfwd") {
        config.guest_forwards.push(guest_forward(fields, &config, &text)?);
    }
    Ok(config)
}

fn addr<T: std::str::FromStr>(fields: &Fields<'_>, key: &str, text: &str, example: &str) -> Result<T, CliError> {
    text.parse().map_err(|_| fields.error(format!("{key}={text} is no address"), format!("write {key}={example}")))
}

fn v4_net(fields: &mut Fields<'_>) -> Result<V4, CliError> {
    let mut net = V4::default();
    if let Some(text) = fields.take("net") {
        let (network, len) = text.split_once('/').unwrap_or((&text, ""));
        let network: Ipv4Addr = addr(fields, "net", network, "10.0.2.0/24")?;
        let len = match (len, len.parse::<u8>(), len.parse::<Ipv4Addr>()) {
            ("", ..) => Some(24),
            (_, Ok(len), _) => Some(len),
            (_, _, Ok(mask)) => Some(mask.to_bits().leading_ones() as u8)
                .filter(|len| mask.to_bits().checked_shl(u32::from(*len)).unwrap_or(0) == 0),
            _ => None,
        };
        let len = len.filter(|len| (1..=29).contains(len));
        let len = len.ok_or_else(|| fields.error(format!("net={text} has no such mask"), "write net=10.0.2.0/24"))?;
        net = V4::of(network, len);
    }
    for (key, place) in [("host", &mut net.host), ("dns", &mut net.dns), ("dhcpstart", &mut net.dhcp_start)] {
        if let Some(text) = fields.take(key) {
            *place = addr(fields, key, &text, "10.0.2.15")?;
        }
    }
    let places = [("host", net.host), ("dns", net.dns), ("dhcpstart", net.dhcp_start)];
    for (key, place) in places {
        if !net.contains(place) || place == net.network || place == net.broadcast() {
            let reason = format!("{key}={place} is no address of the network {}/{}", net.network, net.prefix_len);
            return Err(fields.error(reason, "choose one in it, or another net="));
        }
    }
    if net.host == net.dns || net.host == net.dhcp_start || net.dns == net.dhcp_start {
        return Err(fields.error("host=, dns= and dhcpstart= are the same", "choose three addresses"));
    }
    Ok(net)
}

fn v6_net(fields: &mut Fields<'_>) -> Result<V6, CliError> {
    let mut net = V6::default();
    let given = [("ipv6-net", fields.take("ipv6-net")), ("ipv6-prefix", fields.take("ipv6-prefix"))];
    for (key, text) in given {
        let Some(text) = text else { continue };
        let (prefix, len) = text.split_once('/').unwrap_or((&text, "64"));
        if len != "64" {
            return Err(fields.error(format!("{key}={text}: only prefixes of 64 bits are implemented"), "write /64"));
        }
        net = V6::of(addr(fields, key, prefix, "fec0::")?);
    }
    if fields.number("ipv6-prefixlen", 128)?.is_some_and(|len| len != 64) {
        return Err(fields.error("only prefixes of 64 bits are implemented", "write ipv6-prefixlen=64"));
    }
    for (key, place) in [("ipv6-host", &mut net.host), ("ipv6-dns", &mut net.dns)] {
        if let Some(text) = fields.take(key) {
            *place = addr(fields, key, &text, "fec0::2")?;
        }
    }
    let (host, dns): (Ipv6Addr, Ipv6Addr) = (net.host, net.dns);
    if !net.contains(host) || !net.contains(dns) || host == dns {
        return Err(fields.error("ipv6-host= and ipv6-dns= are not two addresses of the network", "choose such"));
    }
    Ok(net)
}

/// `ADDR:PORT`; an address in brackets is one of IPv6, none is `any`.
fn endpoint(text: &str, any: IpAddr) -> Option<SocketAddr> {
    let (addr, port) = text.rsplit_once(':')?;
    let addr = match addr.strip_prefix('[').and_then(|addr| addr.strip_suffix(']')) {
        Some(addr) => IpAddr::V6(addr.parse().ok()?),
        None if addr.is_empty() => any,
        None => IpAddr::V4(addr.parse().ok()?),
    };
    let port = value::number(port).and_then(|port| u16::try_from(port).ok())?;
    Some(SocketAddr::new(addr, port))
}

fn forward(fields: &Fields<'_>, config: &Config, text: &str) -> Result<Forward, CliError> {
    let error = |reason: &str| fields.error(format!("hostfwd={text} {reason}"), FORWARD_FORM);
    let (protocol, rest) = text.split_once(':').ok_or_else(|| error("is no forward"))?;
    let protocol = match protocol {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(error("names neither tcp nor udp")),
    };
    let (host, guest) = rest.rsplit_once('-').ok_or_else(|| error("does not say where it leads to"))?;
    let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    let guest_any = if config.v4.is_some() { any } else { Ipv6Addr::UNSPECIFIED.into() };
    let host = endpoint(host, any).ok_or_else(|| error("has no valid address and port of the host"))?;
    let guest = endpoint(guest, guest_any).ok_or_else(|| error("has no valid address and port of the guest"))?;
    if guest.port() == 0 {
        return Err(error("leads to port 0"));
    }
    if !guest.ip().is_unspecified() && !config.is_guest(guest.ip()) {
        return Err(error("leads to an address outside of the guest's network"));
    }
    Ok(Forward { protocol, host, guest })
}

fn guest_forward(fields: &Fields<'_>, config: &Config, text: &str) -> Result<GuestForward, CliError> {
    let advice = "write tcp:ADDR:PORT-cmd:PROGRAM, tcp:ADDR:PORT-tcp:HOST:PORT or tcp:ADDR:PORT-unix:FILE";
    let error = |reason: &str| fields.error(format!("guestfwd={text} {reason}"), advice);
    let rest = text.strip_prefix("tcp:").or(text.strip_prefix(':')).ok_or_else(|| error("is no forward of tcp"))?;
    let (server, target) = rest.split_once('-').ok_or_else(|| error("does not say where it leads to"))?;
    let server = endpoint(server, config.host(Ipv4Addr::UNSPECIFIED.into())).filter(|server| server.port() != 0);
    let server = server.ok_or_else(|| error("has no valid address and port"))?;
    let inside = match server.ip() {
        IpAddr::V4(addr) => config.v4.is_some_and(|net| net.contains(addr)),
        IpAddr::V6(addr) => config.v6.is_some_and(|net| net.contains(addr)),
    };
    if !inside {
        return Err(error("is outside of the guest's network"));
    }
    let target = match target.split_once(':') {
        Some(("cmd", line)) => {
            Target::Command(words(line).filter(|words| !words.is_empty()).ok_or_else(|| error("names no program"))?)
        }
        Some(("tcp", address)) => {
            let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
            Target::Tcp(found.ok_or_else(|| error("leads to no address that this host can find"))?)
        }
        Some(("unix", path)) if !path.is_empty() => Target::Unix(path.into()),
        _ => return Err(error("leads to something that is not implemented")),
    };
    Ok(GuestForward { server, target })
}

/// The words of a command line: separated by spaces, which `'…'` and `"…"` keep. `None` if a quote is left open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let (mut quote, mut inside) = (None, false);
    for char in line.chars() {
        match (quote, char) {
            (Some(open), _) if open == char => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                if !inside {
                    words.push(String::new());
                }
                inside = true;
            }
            (None, ' ') => inside = false,
            _ => {
                if !inside {
                    words.push(String::new());
                }
                inside = true;
                words.last_mut()?.push(char);
            }
        }
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Netdev, String> {
        let mut networks = Networks::default();
        networks.netdev(text).map_err(|error| error.to_string())?;
        Ok(networks.netdevs.remove(0))
    }

    #[test]
    fn properties_of_a_network() {
        let net = parse("user,id=n").unwrap().net;
        assert_eq!(net, Config::default());
        let net = parse(
            "user,id=n,net=192.168.76.0/24,dhcpstart=192.168.76.9,restrict=on,dnssearch=a.example,dnssearch=b.example,\
             hostfwd=tcp::5555-:23,hostfwd=udp:127.0.0.1:6000-192.168.76.20:60,hostfwd=tcp:[::1]:1-:2,\
             guestfwd=tcp:192.168.76.100:1234-cmd:netcat -e \"a b\" '' x,tftp=dir,bootfile=/pxelinux.0,ipv6=off",
        );
        let net = net.unwrap().net;
        let v4 = net.v4.unwrap();
        assert_eq!((v4.host.octets(), v4.dns.octets()), ([192, 168, 76, 2], [192, 168, 76, 3]));
        assert_eq!((v4.dhcp_start.octets(), net.v6, net.restrict), ([192, 168, 76, 9], None, true));
        assert_eq!(net.dns_search, ["a.example", "b.example"]);
        let of = |protocol, host: &str, guest: &str| Forward {
            protocol,
            host: host.parse().unwrap(),
            guest: guest.parse().unwrap(),
        };
        let want = [
            of(Protocol::Tcp, "0.0.0.0:5555", "0.0.0.0:23"),
            of(Protocol::Udp, "127.0.0.1:6000", "192.168.76.20:60"),
            of(Protocol::Tcp, "[::1]:1", "0.0.0.0:2"),
        ];
        assert_eq!(net.forwards, want);
        let words = ["netcat", "-e", "a b", "", "x"].map(String::from).to_vec();
        let want = GuestForward { server: "192.168.76.100:1234".parse().unwrap(), target: Target::Command(words) };
        assert_eq!(net.guest_forwards, [want]);
    }

    #[test]
    fn families() {
        let rows = [("ipv4=on", true, false), ("ipv6=on", false, true), ("ipv6=off", true, false)];
        for (text, v4, v6) in rows {
            let net = parse(&format!("user,id=n,{text}")).unwrap().net;
            assert_eq!((net.v4.is_some(), net.v6.is_some()), (v4, v6), "{text}");
        }
        assert!(parse("user,id=n,net=10.1.0.0/255.255.0.0,ipv4=on,ipv6=on").is_ok());
    }
}
