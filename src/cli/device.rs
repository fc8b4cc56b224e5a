//! `-device`: a driver and its properties, as `key=value` or as a JSON object.

use super::config::{Device, DeviceKind, List};
use super::fields::Fields;
use super::{CliError, suggest};
use serde_json::Value;

/// One driver.
pub struct Driver {
    /// Its name and the names that mean it too.
    pub names: &'static [&'static str],
    pub help: &'static str,
    pub properties: &'static [(&'static str, &'static str)],
    parse: fn(&mut Fields<'_>) -> Result<DeviceKind, CliError>,
}

/// Every driver. To add one, add a row and a variant of [`DeviceKind`].
pub const DRIVERS: &[Driver] = &[
    Driver {
        names: &["virtio-blk-device", "virtio-blk-pci", "virtio-blk"],
        help: "disk, on virtio-mmio or PCI",
        properties: &[
            ("drive", "id of a -drive with if=none"),
            ("serial", "serial number, at most 20 characters"),
            ("bootindex", "ignored: there is no firmware that chooses"),
        ],
        parse: |fields| {
            let drive = fields.need("drive", "name a -drive with if=none: drive=ID")?;
            fields.number("bootindex", u64::from(u32::MAX))?;
            let serial = fields.take("serial");
            if let Some(serial) = serial.as_ref().filter(|serial| serial.len() > 20) {
                // Virtual I/O Device 1.3, 5.2.6 "Device Operation": the id has 20 bytes.
                return Err(fields.error(format!("serial={serial} is too long"), "use at most 20 characters"));
            }
            Ok(DeviceKind::VirtioBlk { drive, serial })
        },
    },
    Driver {
        names: &["virtio-rng-device", "virtio-rng-pci", "virtio-rng"],
        help: "source of randomness, on virtio-mmio or PCI",
        properties: &[("rng", "id of an -object rng-random; the host's generator without it")],
        parse: |fields| Ok(DeviceKind::VirtioRng { rng: fields.take("rng") }),
    },
    Driver {
        names: &["virtio-serial-device", "virtio-serial-pci", "virtio-serial"],
        help: "bus for virtio consoles, on virtio-mmio or PCI",
        properties: &[],
        parse: |_| Ok(DeviceKind::VirtioSerial),
    },
    Driver {
        names: &["virtconsole"],
        help: "console (hvc0, …) on a virtio-serial-device",
        properties: &[("chardev", "id of a -chardev"), ("bus", "id of the virtio-serial-device, as ID.0")],
        parse: |fields| {
            let chardev = fields.need("chardev", "name a -chardev: chardev=ID")?;
            let bus = fields.take("bus").map(|bus| bus.strip_suffix(".0").unwrap_or(&bus).to_string());
            Ok(DeviceKind::Virtconsole { chardev, bus })
        },
    },
    Driver {
        names: &["virtio-net-pci", "virtio-net-device", "virtio-net"],
        help: "network card, on PCI or virtio-mmio",
        properties: NET_PROPERTIES,
        parse: |fields| Ok(DeviceKind::VirtioNet { mac: mac(fields)?, netdev: fields.take("netdev") }),
    },
    Driver {
        names: &["e1000", "e1000-82540em"],
        help: "network card 82540EM on PCI",
        properties: NET_PROPERTIES,
        parse: |fields| Ok(DeviceKind::E1000 { mac: mac(fields)?, netdev: fields.take("netdev") }),
    },
    Driver {
        names: &["isa-debugcon"],
        help: "port to which firmware writes messages",
        properties: &[("chardev", "id of a -chardev"), ("iobase", "the port, 0xe9 if not given; SeaBIOS' is 0x402")],
        parse: |fields| {
            let chardev = fields.need("chardev", "name a -chardev: chardev=ID")?;
            let iobase = fields.number("iobase", 0xffff)?.unwrap_or(0xe9) as u16;
            fields.take("readback");
            Ok(DeviceKind::Debugcon { chardev, iobase })
        },
    },
    Driver {
        names: &["isa-debug-exit"],
        help: "port that ends the program: writing N gives the status 2N+1",
        properties: &[("iobase", "the first port, 0x501 if not given"), ("iosize", "number of ports, 1 to 4")],
        parse: |fields| {
            let iobase = fields.number("iobase", 0xffff)?.unwrap_or(0x501) as u16;
            let iosize = fields.number("iosize", 4)?.unwrap_or(2).max(1) as u8;
            if u32::from(iobase) + u32::from(iosize) > 0x1_0000 {
                return Err(fields.error("the last port is 0xffff", "choose a lower iobase="));
            }
            Ok(DeviceKind::DebugExit { iobase, iosize })
        },
    },
    Driver {
        names: &["pvpanic"],
        help: "port by which a kernel says that it has panicked",
        properties: &[("ioport", "the port, 0x505 if not given")],
        parse: |fields| Ok(DeviceKind::Pvpanic { ioport: fields.number("ioport", 0xffff)?.unwrap_or(0x505) as u16 }),
    },
];

const NET_PROPERTIES: &[(&str, &str)] =
    &[("netdev", "id of a -netdev; without one the cable is unplugged"), ("mac", "address of the card")];

/// `mac=52:54:00:12:34:56`.
pub fn mac(fields: &mut Fields<'_>) -> Result<Option<[u8; 6]>, CliError> {
    // No card has firmware of its own, and nothing starts from the network.
    fields.take("romfile");
    fields.number("bootindex", u64::from(u32::MAX))?;
    address(fields, "mac")
}

/// An address of Ethernet called `key`.
pub fn address(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<[u8; 6]>, CliError> {
    let Some(text) = fields.take(key) else { return Ok(None) };
    let bytes: Result<Vec<u8>, _> = text.split([':', '-']).map(|byte| u8::from_str_radix(byte, 16)).collect();
    match bytes.ok().and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()) {
        // A group's address is no card's.
        Some(mac) if mac[0] & 1 == 0 => Ok(Some(mac)),
        _ => Err(fields.error(format!("{key}={text} is no address"), format!("write {key}=52:54:00:12:34:56"))),
    }
}

/// What `-device` asks for.
pub enum Parsed {
    Device(Device),
    Help(List),
}

/// Reads the value of `-device`.
pub fn parse(text: &str) -> Result<Parsed, CliError> {
    let mut fields = if text.starts_with('{') {
        Fields::from_pairs("device", text, json(text)?)
    } else {
        Fields::new("device", text, "driver")
    };
    let name = fields.take("driver").unwrap_or_default();
    if name == "help" || name == "?" {
        return Ok(Parsed::Help(List::Devices));
    }
    let Some(driver) = DRIVERS.iter().find(|driver| driver.names.contains(&name.as_str())) else {
        return Err(unknown(&fields, &name));
    };
    if fields.asks_help() {
        return Ok(Parsed::Help(List::DeviceProperties(driver.names[0])));
    }
    let id = fields.take("id");
    let kind = (driver.parse)(&mut fields)?;
    fields.finish()?;
    Ok(Parsed::Device(Device { id, driver: name, kind }))
}

fn unknown(fields: &Fields<'_>, name: &str) -> CliError {
    let base = name.trim_end_matches("-pci").trim_end_matches("-device").trim_end_matches("-non-transitional");
    if matches!(base, "e1000e" | "rtl8139" | "vmxnet3" | "usb-net") {
        return fields.error("this network card is not implemented yet", "use e1000 or virtio-net-pci");
    }
    let names = DRIVERS.iter().flat_map(|driver| driver.names).copied();
    fields.error(format!("unknown device `{name}`"), suggest::or(name, names, "", "`-device help` lists the devices"))
}

/// A flat JSON object as keys and values.
fn json(text: &str) -> Result<Vec<(String, String)>, CliError> {
    let error = |reason: String| {
        CliError::new(
            &format!("-device {text}"),
            reason,
            r#"write -device '{"driver":"virtio-blk-device","drive":"ID"}'"#,
        )
    };
    let parsed: Value = serde_json::from_str(text).map_err(|why| error(format!("it is no valid JSON ({why})")))?;
    let Value::Object(object) = parsed else { return Err(error("it is no JSON object".to_string())) };
    let pairs = object.into_iter().map(|(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Bool(on) => Ok((key, if on { "on" } else { "off" }.to_string())),
        Value::Number(number) => Ok((key, number.to_string())),
        _ => Err(error(format!("`{key}` is neither text, number nor switch"))),
    });
    pairs.collect()
}
