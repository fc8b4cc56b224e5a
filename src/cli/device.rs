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
        names: &["virtio-blk-device", "virtio-blk"],
        help: "disk on virtio-mmio",
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
        names: &["virtio-rng-device", "virtio-rng"],
        help: "source of randomness on virtio-mmio",
        properties: &[("rng", "id of an -object rng-random; the host's generator without it")],
        parse: |fields| Ok(DeviceKind::VirtioRng { rng: fields.take("rng") }),
    },
    Driver {
        names: &["virtio-serial-device", "virtio-serial"],
        help: "bus for virtio consoles on virtio-mmio",
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
];

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
    Ok(Parsed::Device(Device { id, kind }))
}

fn unknown(fields: &Fields<'_>, name: &str) -> CliError {
    let base = name.trim_end_matches("-pci").trim_end_matches("-device").trim_end_matches("-non-transitional");
    if let Some(known) = DRIVERS.iter().find(|driver| driver.names.contains(&base)) {
        return fields.error("devices on PCI are not implemented yet", format!("use {}", known.names[0]));
    }
    if matches!(base, "virtio-net" | "e1000" | "e1000e" | "rtl8139" | "vmxnet3" | "usb-net") {
        return fields.error("networking is not implemented yet", "leave the network card out");
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
