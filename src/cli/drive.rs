//! `-drive` and its short forms.

use super::CliError;
use super::config::{Drive, Interface};
use super::fields::Fields;
use host::disk::{Cache, DetectZeroes, DiskOptions};
use host::image::format::Format;

/// Drives on an IDE channel, and channels.
const IDE_UNITS: u32 = 2;
const IDE_CHANNELS: u32 = 2;
/// Floppy drives.
const FLOPPIES: u32 = 2;

/// Reads the value of `option` (`drive`) and adds it to `drives`. `is_pc`: the machine has IDE and floppy drives.
pub fn add(drives: &mut Vec<Drive>, is_pc: bool, option: &str, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new(option, text, "");
    let path = fields.need("file", "name the image: file=FILE")?;
    let interface = interface(&mut fields, is_pc)?;
    let format = match fields.take("format") {
        None => None,
        Some(name) => match Format::named(&name) {
            Ok(format) => Some(format),
            Err((reason, advice)) => return Err(fields.error(reason, advice)),
        },
    };
    let read_only = fields.switch("readonly")?;
    let read_only = read_only.or(fields.switch("read-only")?).unwrap_or(false);
    let snapshot = fields.switch("snapshot")?.unwrap_or(false);
    let cdrom = fields.choice("media", &[("disk", false), ("cdrom", true)])?.unwrap_or(false);
    if cdrom && interface != Interface::Ide {
        let advice = "use media=disk,readonly=on: Linux mounts ISO images from any disk";
        return Err(fields.error("CD-ROM drives are not implemented yet", advice));
    }
    let cache = [
        ("none", Cache::Writeback),
        ("writeback", Cache::Writeback),
        ("writethrough", Cache::Writethrough),
        ("directsync", Cache::Writethrough),
        ("unsafe", Cache::Unsafe),
    ];
    let cache = fields.choice("cache", &cache)?.unwrap_or_default();
    let discard = [("ignore", false), ("off", false), ("unmap", true), ("on", true)];
    let discard = fields.choice("discard", &discard)?.unwrap_or(false);
    // How the host does its work and what the guest is told of errors: one way each.
    fields.choice("aio", &[("threads", ()), ("native", ()), ("io_uring", ())])?;
    fields.choice("werror", &[("report", ()), ("enospc", ())])?;
    fields.choice("rerror", &[("report", ())])?;
    let detect = [("off", DetectZeroes::Off), ("on", DetectZeroes::On), ("unmap", DetectZeroes::Unmap)];
    let detect_zeroes = fields.choice("detect-zeroes", &detect)?.unwrap_or_default();
    if detect_zeroes == DetectZeroes::Unmap && !discard {
        return Err(fields.error("detect-zeroes=unmap discards", "add discard=unmap, or use detect-zeroes=on"));
    }
    let (buses, units) = match interface {
        Interface::Ide => (IDE_CHANNELS, IDE_UNITS),
        Interface::Floppy => (1, FLOPPIES),
        _ => (1, 64),
    };
    let bus = fields.number("bus", (buses - 1).into())?;
    let index = fields.number("index", (buses * units - 1).into())?;
    let unit = fields.number("unit", (units - 1).into())?;
    let index = match (index, bus, unit) {
        (Some(index), ..) => Some(index),
        (None, None, None) => None,
        (None, Some(0), None) if buses == 1 => None,
        (None, bus, unit) => Some(bus.unwrap_or(0) * u64::from(units) + unit.unwrap_or(0)),
    };
    let serial = fields.take("serial");
    if serial.as_ref().is_some_and(|serial| serial.len() > 20) {
        return Err(fields.error("serial= is too long", "use at most 20 characters"));
    }
    let taken = |index: u32, drives: &[Drive]| {
        interface != Interface::None && drives.iter().any(|drive| drive.interface == interface && drive.index == index)
    };
    let index = match index {
        Some(index) if taken(index as u32, drives) => {
            return Err(
                fields.error(format!("index={index} is taken by another drive"), "use another index or leave it out")
            );
        }
        Some(index) => index as u32,
        None => (0..).find(|index| !taken(*index, drives)).unwrap_or_default(),
    };
    if index >= buses * units {
        return Err(fields.error(format!("all {} drives of this kind are taken", buses * units), "use if=virtio"));
    }
    let id = fields.take("id");
    let id = id.unwrap_or_else(|| match interface {
        Interface::Virtio => format!("virtio{index}"),
        Interface::Pflash => format!("pflash{index}"),
        Interface::None => format!("none{}", drives.len()),
        // As QEMU names them.
        Interface::Ide => format!("ide{}-{}{}", index / IDE_UNITS, if cdrom { "cd" } else { "hd" }, index % IDE_UNITS),
        Interface::Floppy => format!("floppy{index}"),
    });
    if drives.iter().any(|drive| drive.id == id) {
        return Err(fields.error(format!("another drive has the id `{id}`"), "choose another id="));
    }
    fields.finish()?;
    let read_only = read_only || cdrom;
    let disk = DiskOptions { path: path.into(), format, read_only, snapshot, cache, discard, detect_zeroes };
    drives.push(Drive { id, interface, index, cdrom, serial, disk });
    Ok(())
}

fn interface(fields: &mut Fields<'_>, is_pc: bool) -> Result<Interface, CliError> {
    match fields.take("if").as_deref() {
        None if is_pc => Ok(Interface::Ide),
        None | Some("virtio") => Ok(Interface::Virtio),
        Some("none") => Ok(Interface::None),
        Some("pflash") => Ok(Interface::Pflash),
        Some("ide") if is_pc => Ok(Interface::Ide),
        Some("floppy") if is_pc => Ok(Interface::Floppy),
        Some(other @ ("ide" | "floppy")) => {
            Err(fields.error(format!("if={other} is not on this machine"), "use if=virtio"))
        }
        Some(other @ ("scsi" | "sd" | "mtd")) => {
            Err(fields.error(format!("if={other} is not implemented yet"), "use if=virtio"))
        }
        Some(other) => Err(fields.error(format!("unknown if={other}"), "use if=virtio|none|pflash|ide|floppy")),
    }
}
