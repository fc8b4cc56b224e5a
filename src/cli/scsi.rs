//! Units of SCSI hosts: which host each is on, and where.

use super::CliError;
use super::config::{Device, DeviceKind, ScsiUnit};

/// Adds the units among `devices`, each with the option that asked for it, to their hosts.
pub fn attach(devices: &mut [(String, Device)]) -> Result<(), CliError> {
    for at in 0..devices.len() {
        let (before, rest) = devices.split_at_mut(at);
        let Some((object, Device { kind: DeviceKind::Scsi { unit, bus, target }, .. })) = rest.first_mut() else {
            continue;
        };
        let host = before.iter_mut().rev().find_map(|(_, host)| match &mut host.kind {
            DeviceKind::VirtioScsi { units } if bus.is_none() || *bus == host.id => Some(units),
            _ => None,
        });
        let Some(units) = host else {
            let reason = "there is no such SCSI host before it";
            let advice = match bus {
                Some(bus) => format!("put -device virtio-scsi-pci,id={bus} before it"),
                None => "put -device virtio-scsi-pci before it".into(),
            };
            return Err(CliError::new(object, reason, advice));
        };
        let taken =
            |target: u8, units: &[ScsiUnit]| units.iter().any(|other| (other.target, other.lun) == (target, unit.lun));
        unit.target = match target {
            Some(target) if taken(*target, units) => {
                let reason = format!("another unit has scsi-id={target},lun={}", unit.lun);
                return Err(CliError::new(object, reason, "use another scsi-id= or leave it out"));
            }
            Some(target) => *target,
            None => match (0..=255).find(|target| !taken(*target, units)) {
                Some(target) => target,
                None => return Err(CliError::new(object, "all 256 targets are taken", "add another virtio-scsi-pci")),
            },
        };
        units.push(unit.clone());
    }
    Ok(())
}
