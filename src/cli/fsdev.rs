//! `-fsdev` and `-virtfs`: folders of the host for guests.

use super::CliError;
use super::builder::Builder;
use super::config::{Device, DeviceKind, Fsdev};
use super::fields::Fields;
use host::ninep::{FolderOptions, Security};

/// `-fsdev`.
pub fn fsdev(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("fsdev", text, "fsdriver");
    let folder = folder(&mut fields)?;
    let id = fields.need("id", "give it a name for -device virtio-9p-pci,fsdev=NAME, such as id=f")?;
    add(b, &fields, id, folder)?;
    fields.finish()
}

/// `-virtfs`: the folder and its device.
pub fn virtfs(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("virtfs", text, "fsdriver");
    let folder = folder(&mut fields)?;
    let tag = tag(&mut fields)?;
    let id = fields.take("id").unwrap_or_else(|| tag.clone());
    add(b, &fields, id.clone(), folder)?;
    fields.finish()?;
    // On which bus says the machine.
    let kind = DeviceKind::Virtio9p { fsdev: id, tag };
    b.devices.push((format!("-virtfs {text}"), Device { id: None, driver: "virtio-9p".into(), kind, bootindex: None }));
    Ok(())
}

/// `mount_tag=`: what guests mount.
pub fn tag(fields: &mut Fields<'_>) -> Result<String, CliError> {
    let tag = fields.need("mount_tag", "name what the guest mounts, such as mount_tag=host")?;
    match tag.len() {
        1..=31 => Ok(tag),
        _ => Err(fields.error(format!("mount_tag={tag} has {} characters", tag.len()), "use 1 to 31 characters")),
    }
}

fn add(b: &mut Builder, fields: &Fields<'_>, id: String, folder: FolderOptions) -> Result<(), CliError> {
    if b.fsdevs.iter().any(|other| other.id == id) {
        return Err(fields.error(format!("another folder has the id `{id}`"), "choose another id="));
    }
    b.fsdevs.push(Fsdev { id, folder });
    Ok(())
}

fn folder(fields: &mut Fields<'_>) -> Result<FolderOptions, CliError> {
    match fields.take("fsdriver").as_deref() {
        Some("local") => {}
        Some("synth" | "proxy") => return Err(fields.error("only `local` is implemented", "begin with local,path=DIR")),
        _ => return Err(fields.error("its kind is missing", "begin with local,path=DIR")),
    }
    let path = fields.need("path", "name the folder: path=DIR")?.into();
    let security = match fields.take("security_model").as_deref() {
        Some("none") => Security::None,
        Some("passthrough") => Security::Passthrough,
        Some(model @ ("mapped" | "mapped-xattr" | "mapped-file")) => {
            let reason = format!("security_model={model} is not implemented: owners are those of the host's files");
            return Err(fields.error(reason, "use security_model=none, or passthrough as root"));
        }
        Some(model) => {
            return Err(fields.error(format!("unknown security_model={model}"), "use security_model=none|passthrough"));
        }
        None => return Err(fields.error("security_model= is missing", "use security_model=none|passthrough")),
    };
    let read_only = fields.switch("readonly")?.unwrap_or(false);
    fields.choice("multidevs", &[("remap", ())])?;
    Ok(FolderOptions { path, read_only, security })
}
