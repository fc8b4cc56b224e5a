//! A machine that was built: reset, snapshot, power button.

use crate::builder::{Balloon, Boot, SetMedium};
use crate::error::Error;
use crate::fdt::BadFdt;
use crate::power_key::PowerKey;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm::display::Display;
use vm::entropy::Entropy;
use vm::input::Input;
use vm::power::Power;
use vm::snapshot::Snapshot;
use vm::timer::Timers;
use vm::vcpu::Vcpu;
use vm::{AddressSpace, DeviceCell, Gpa, LoadError, Part, Ram, ResetKind};

/// A machine.
pub struct Machine {
    /// Name of the board.
    pub name: String,
    /// Memory.
    pub bus: Arc<AddressSpace>,
    /// I/O ports.
    pub ports: Arc<AddressSpace>,
    /// Time.
    pub timers: Arc<Timers>,
    /// Requests to switch off or reset.
    pub power: Power,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Every part under its path on the board.
    pub parts: BTreeMap<String, Arc<dyn Part>>,
    /// The vCPUs; the run loop may take them out, and then resets, saves and loads them itself.
    pub vcpus: Vec<Box<dyn Vcpu>>,
    /// RAM and other memory that belongs to a saved machine, with name and address.
    pub memories: Vec<(String, Gpa, Arc<Ram>)>,
    pub(crate) boot: Boot,
    pub(crate) power_key: Option<Arc<DeviceCell<PowerKey>>>,
    pub(crate) drains: Vec<Box<dyn Fn() + Send + Sync>>,
    /// What its screen shows, if it has one.
    pub display: Option<Arc<dyn Display>>,
    /// Its keyboard and mouse, if it has them.
    pub input: Option<Arc<dyn Input>>,
    /// Drives whose medium can be changed, by name.
    pub media: BTreeMap<String, SetMedium>,
    /// Its memory balloon, if it has one.
    pub balloon: Option<Balloon>,
}

impl Machine {
    /// Resets everything: registers of all parts and vCPUs and the loaded images first, then all outputs. The vCPUs must
    /// not be running.
    ///
    /// # Errors
    /// When an image cannot be written again, which a guest cannot bring about.
    pub fn reset(&mut self, kind: ResetKind) -> Result<(), Error> {
        self.reset_parts(kind)?;
        for vcpu in &mut self.vcpus {
            vcpu.reset();
        }
        self.settle();
        Ok(())
    }

    /// The first phase of [`reset`](Machine::reset) for all but the vCPUs.
    ///
    /// # Errors
    /// As there.
    pub fn reset_parts(&self, kind: ResetKind) -> Result<(), Error> {
        for part in self.parts.values() {
            part.reset(kind);
        }
        self.write_boot()
    }

    /// The second phase of a reset or load: outputs and timers follow from the registers.
    pub fn settle(&self) {
        for part in self.parts.values() {
            part.settle();
        }
    }

    /// Writes kernel, initial RAM disk and device tree, since the guest may have overwritten them.
    pub(crate) fn write_boot(&self) -> Result<(), Error> {
        for blob in &self.boot.blobs {
            let bad = |e: vm::BusError| Error::Part { path: blob.name.clone(), why: e.to_string() };
            blob.write(&self.bus).map_err(bad)?;
        }
        for (port, width, value) in &self.boot.ports {
            let written = self.ports.view().store(Gpa((*port).into()), *width, (*value).into());
            written.map_err(|e| Error::Part { path: format!("port {port:#x}"), why: e.to_string() })?;
        }
        if let Some((gpa, fdt)) = &self.boot.fdt {
            let bad = |why: String| Error::Part { path: "device tree".into(), why };
            let mut fdt = fdt.clone();
            for (_, seed) in fdt.root.child_mut("chosen").props.iter_mut().filter(|(name, _)| name.ends_with("-seed")) {
                self.entropy.fill(seed);
            }
            let blob = fdt.write().map_err(|BadFdt(why)| bad(why))?;
            self.bus.write(*gpa, &blob).map_err(|e| bad(e.to_string()))?;
        }
        Ok(())
    }

    /// Presses the power button for a moment; whether the machine has one.
    pub fn press_power_button(&self) -> bool {
        self.power_key.as_ref().is_some_and(|key| key.with(PowerKey::press).is_ok())
    }

    /// Everything but memory. The vCPUs must not be running.
    pub fn save(&self) -> Snapshot {
        for drain in &self.drains {
            drain();
        }
        Snapshot {
            machine: self.name.clone(),
            time: self.timers.clock().now(),
            parts: self.parts.iter().map(|(path, part)| (path.clone(), part.save())).collect(),
            vcpus: self.vcpus.iter().map(|vcpu| vcpu.save()).collect(),
        }
    }

    /// Takes everything but memory, which must hold the saved contents already, from a snapshot. Nothing changes if it
    /// fails.
    ///
    /// # Errors
    /// The first section that does not fit.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        if snapshot.machine != self.name {
            return Err(Error::OtherMachine { found: snapshot.machine.clone(), machine: self.name.clone() });
        }
        let before = self.save();
        let result = self.load_registers(snapshot);
        if result.is_err() {
            let _ = self.load_registers(&before); // a machine takes back what it saved
        } else {
            self.timers.clock().advance_to(snapshot.time);
        }
        self.settle();
        result.map_err(Error::from)
    }

    fn load_registers(&mut self, snapshot: &Snapshot) -> Result<(), LoadError> {
        for (path, part) in &self.parts {
            let saved = snapshot.parts.get(path).ok_or_else(|| LoadError::Missing(path.clone()))?;
            part.load(saved)?;
        }
        for (n, vcpu) in self.vcpus.iter_mut().enumerate() {
            vcpu.load(snapshot.vcpus.get(n).ok_or_else(|| LoadError::Missing(format!("cpu{n}")))?)?;
        }
        Ok(())
    }
}
