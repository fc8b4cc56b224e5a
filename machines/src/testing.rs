//! A host and an accelerator for tests of boards.

use crate::builder::Host;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use vm::chardev::CharPort;
use vm::clock::ManualClock;
use vm::entropy::Entropy;
use vm::power::Power;
use vm::timer::Timers;
use vm::vcpu::{AccelError, Accelerator, BootRegs, Intent, Kick, PageFault, Stop, Vcpu, Wiring};
use vm::{Gpa, Gva, LoadError, Saved};

pub struct Counting(pub Mutex<u8>);
impl Entropy for Counting {
    fn fill(&self, buf: &mut [u8]) {
        let mut next = self.0.lock().unwrap();
        for byte in buf {
            *next = next.wrapping_add(1);
            *byte = *next;
        }
    }
}

/// A disk with so many zeros.
pub struct Disk(pub u64);
impl vm::blockdev::BlockDev for Disk {
    fn len_bytes(&self) -> u64 {
        self.0
    }
    fn read_only(&self) -> bool {
        true
    }
    fn read_at(&self, _: u64, buf: &mut [u8]) -> Result<(), vm::blockdev::BlockError> {
        buf.fill(0);
        Ok(())
    }
    fn write_at(&self, _: u64, _: &[u8]) -> Result<(), vm::blockdev::BlockError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), vm::blockdev::BlockError> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> Result<(), vm::blockdev::BlockError> {
        Ok(())
    }
    fn write_zeroes(&self, _: u64, _: u64) -> Result<(), vm::blockdev::BlockError> {
        Ok(())
    }
}

/// A server that answers nothing.
pub struct Folder;
impl vm::ninep::NinepServer for Folder {
    fn serve(&self, _: &[u8], _: usize) -> Vec<u8> {
        Vec::new()
    }
    fn reset(&self) {}
}

/// A vCPU with two registers that executes nothing and whose wiring a test can reach.
pub struct Idle {
    regs: [u64; 2],
    boot: Option<BootRegs>,
}
struct Kicked;
impl Kick for Kicked {
    fn kick(&self) {}
}
impl Vcpu for Idle {
    fn run(&mut self, _: Option<u64>) -> Result<Stop, AccelError> {
        Ok(Stop::Idle)
    }
    fn wait(&mut self) {}
    fn kicker(&self) -> Arc<dyn Kick> {
        Arc::new(Kicked)
    }
    fn regs(&self) -> Vec<(&'static str, u32)> {
        vec![("x0", 64), ("pc", 64)]
    }
    fn reg(&self, index: usize) -> u128 {
        self.regs[index].into()
    }
    fn set_reg(&mut self, index: usize, value: u128) {
        self.regs[index] = value as u64;
    }
    fn translate(&mut self, gva: Gva, _: Intent) -> Result<Gpa, PageFault> {
        Err(PageFault(gva))
    }
    fn reset(&mut self) {
        let boot = self.boot.clone().unwrap_or_default();
        self.regs = [boot.gprs.first().map_or(0, |gpr| gpr.1), boot.pc.0];
    }
    fn instructions(&self) -> u64 {
        0
    }
    fn save(&self) -> Saved {
        let body = self.regs.iter().flat_map(|reg| reg.to_le_bytes()).collect();
        Saved { model: "idle".into(), version: 1, body }
    }
    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        if saved.model != "idle" {
            return Err(LoadError::OtherModel { path: "cpu".into(), found: saved.model.clone() });
        }
        self.regs = [0, 8].map(|at| u64::from_le_bytes(saved.body[at..at + 8].try_into().unwrap()));
        Ok(())
    }
}

#[derive(Default)]
pub struct IdleAccel(pub Mutex<Vec<Wiring>>);
impl Accelerator for IdleAccel {
    fn name(&self) -> &'static str {
        "idle"
    }
    fn vcpu(&self, wiring: Wiring) -> Result<Box<dyn Vcpu>, AccelError> {
        let mut vcpu = Idle { regs: [0; 2], boot: wiring.boot.clone() };
        vcpu.reset();
        self.0.lock().unwrap().push(wiring);
        Ok(Box::new(vcpu))
    }
}

pub fn host() -> Host {
    let disk: Arc<dyn vm::blockdev::BlockDev> = Arc::new(Disk(512));
    Host {
        timers: Timers::new(Arc::new(ManualClock::new(0))),
        entropy: Arc::new(Counting(Mutex::new(0))),
        power: Power::default(),
        chardevs: BTreeMap::from([("serial0".into(), Arc::new(CharPort::null()))]),
        drives: BTreeMap::from([("hd0".into(), disk.clone()), ("hd1".into(), disk)]),
        netdevs: BTreeMap::new(),
        folders: BTreeMap::from([("f".into(), Arc::new(Folder) as _)]),
    }
}
