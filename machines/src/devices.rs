//! Devices that several boards have, on whatever bus: how they are asked for, and how they are made of what the host has.

use crate::builder::{Balloon, SetMedium, Wires};
use crate::error::Error;
use hw::block::scsi::Unit;
use hw::virtio::balloon::VirtioBalloon;
use hw::virtio::ninep::Virtio9p;
use hw::virtio::scsi::VirtioScsi;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A logical unit of a SCSI host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiUnit {
    pub target: u8,
    pub lun: u8,
    pub kind: ScsiKind,
    /// What the guest sees as its serial number.
    pub serial: String,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScsiKind {
    /// The disk `drive`.
    Disk { drive: String },
    /// A CD-ROM drive with the disc `drive`, or empty.
    Cdrom { drive: Option<String> },
}

/// Runs a function on the device behind some transport.
pub type Reach<D> = Arc<dyn Fn(&mut dyn FnMut(&mut D)) + Send + Sync>;

/// A SCSI host with `units`.
///
/// # Errors
/// An unknown disk, or a host that refuses a thread.
pub fn scsi(w: &Wires<'_>, units: &[ScsiUnit], synchronous: bool) -> Result<VirtioScsi, Error> {
    let mut made = BTreeMap::new();
    for unit in units {
        let serial = &unit.serial;
        let device = match &unit.kind {
            ScsiKind::Disk { drive } => Unit::disk(w.drive_called(drive)?, serial),
            ScsiKind::Cdrom { drive } => Unit::cdrom(drive.as_ref().map(|id| w.drive_called(id)).transpose()?, serial),
        };
        made.insert((unit.target, unit.lun), device);
    }
    VirtioScsi::new(made, synchronous).map_err(|e| w.fail(e))
}

/// How the discs of the host called `name` are changed.
pub fn scsi_media(name: &str, units: &[ScsiUnit], reach: &Reach<VirtioScsi>) -> Vec<(String, SetMedium)> {
    let drives = units.iter().filter(|unit| matches!(unit.kind, ScsiKind::Cdrom { .. }));
    drives
        .map(|unit| {
            let (place, reach) = ((unit.target, unit.lun), reach.clone());
            let set: SetMedium = Box::new(move |disc| reach(&mut |scsi| scsi.set_medium(place, disc.clone())));
            (format!("{name}-cd{}.{}", unit.target, unit.lun), set)
        })
        .collect()
}

/// The folder `folder`, which guests mount as `tag`.
///
/// # Errors
/// An unknown folder, or a host that refuses a thread.
pub fn ninep(w: &Wires<'_>, folder: &str, tag: String, synchronous: bool) -> Result<Virtio9p, Error> {
    Virtio9p::new(w.folder_called(folder)?, tag, synchronous).map_err(|e| w.fail(e))
}

/// How a balloon is asked.
pub fn balloon(reach: Reach<VirtioBalloon>) -> Balloon {
    Box::new(move |pages| {
        let mut actual = 0;
        reach(&mut |balloon| {
            if let Some(pages) = pages {
                balloon.ask(pages);
            }
            actual = balloon.actual();
        });
        actual
    })
}
