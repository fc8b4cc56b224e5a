//! The saved form of a part, and what can be wrong with one. The file around it belongs to the monitor.

use crate::addr::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A restored value that the guest could never have produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadState(pub String);

/// One part's registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// [`Device::MODEL`](crate::Device::MODEL) of the part.
    pub model: String,
    /// Version of the register struct.
    pub version: u32,
    /// The registers by serde.
    pub body: Vec<u8>,
}

/// Why a saved machine cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine has a part that the snapshot lacks.
    #[error("the snapshot has no section `{0}`; start the machine with the options it was saved with")]
    Missing(String),
    /// Made by a newer program.
    #[error("section `{path}` has version {found}, this program knows up to {known}; use a newer Mimic")]
    Newer { path: String, found: u32, known: u32 },
    /// The section is of another model of device.
    #[error("section `{path}` was saved by a `{found}`; start the machine with the options it was saved with")]
    OtherModel { path: String, found: String },
    /// The contents make no sense.
    #[error("section `{path}` is damaged: {}", why.0)]
    Bad { path: String, why: BadState },
}

/// A whole machine but for its RAM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of the board.
    pub machine: String,
    /// Virtual time when it was saved.
    pub time: VmTime,
    /// Every part under its path on the board.
    pub parts: BTreeMap<String, Saved>,
    /// Every vCPU in order.
    pub vcpus: Vec<Saved>,
}
