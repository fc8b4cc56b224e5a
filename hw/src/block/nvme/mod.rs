//! NVMe controller with one namespace. NVM Express Base Specification 1.4 ("NVMe 1.4"; sections and their titles are its),
//! whose chapter 6 is the NVM command set.
//!
//! - here: the PCI function, the controller's registers (3.1) and their effects;
//! - [`command`]: entries of submission and completion queues, status codes;
//! - [`queue`]: the queues as the controller keeps them;
//! - [`admin`]: the admin commands; [`identify`]: what they tell of controller and namespace;
//! - [`io`]: the commands of the namespace, on a thread of the controller; [`prp`]: where their data is.
//!
//! Commands are fetched when the cell settles. Those of the admin queue are executed at once, the others in the order in
//! which they were fetched. What the thread has not finished is in the registers, so that a loaded snapshot does it again.

mod admin;
mod command;
mod identify;
mod io;
mod prp;
mod queue;
#[cfg(test)]
mod tests;

use crate::pci::config::{BAR0, Bar, Layout, PciRegs, Space, Window as BarWindow};
use crate::pci::function::{Function, PciFunction, PciSlot};
use crate::pci::msi::{Msix, MsixRegs};
use crate::virtio::worker::Worker;
use admin::AdminRegs;
use command::{Command, Completion, Status};
use io::{Disk, Job};
use queue::{CompletionQueue, SubmissionQueue};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use vm::blockdev::BlockDev;
use vm::ram::DmaMemory;
use vm::{Access, AddressSpace, BadState, BusError, Device, DeviceCell, Mmio, Regs, ResetKind, Window};

// Windows, and the base address registers that they are behind.
const REGISTERS: u8 = 0;
const REGISTERS_LEN: u64 = 0x2000;
const MSIX_LEN: u64 = 0x1000;
const MSIX_BAR: u8 = 4;
const PENDING_AT: u32 = 0x800;

/// Pairs of I/O queues at most; each can have a vector of its own, and the admin queues have vector 0.
const IO_QUEUES: u16 = 32;
/// Entries of an I/O queue at most.
const ENTRIES_MAX: u32 = 1024;
/// Bytes of a memory page (3.1.5, CC.MPS): the only size there is.
const PAGE: u64 = 4096;
/// Commands that are with the thread at a time.
const FLYING_MAX: usize = 256;

// 3.1, "Register Definition".
const CAP: u64 = 0x00;
const VS: u64 = 0x08;
const INTMS: u64 = 0x0c;
const INTMC: u64 = 0x10;
const CC: u64 = 0x14;
const CSTS: u64 = 0x1c;
const AQA: u64 = 0x24;
const ASQ: u64 = 0x28;
const ACQ: u64 = 0x30;
const DOORBELLS: u64 = 0x1000;

/// 3.1.1: entries of a queue; queues are contiguous; 7.5 s until ready at most; the NVM command set.
const CAP_VALUE: u64 = (ENTRIES_MAX as u64 - 1) | 1 << 16 | 15 << 24 | 1 << 37;
/// 3.1.2: version 1.4.
const VERSION: u32 = 0x0001_0400;

// 3.1.5, "CC – Controller Configuration".
const CC_ENABLE: u32 = 1;
/// Command set, page size and arbitration, of each of which there is only the kind 0.
const CC_KINDS: u32 = 0x3ff0;
const CC_WRITABLE: u32 = 0x00ff_fff1;
/// Sizes of I/O queue entries: 64 and 16 bytes.
const CC_SIZES: u32 = 0x00ff_0000;
const CC_SIZES_VALUE: u32 = 0x0046_0000;

// 3.1.6, "CSTS – Controller Status".
const CSTS_READY: u32 = 1;
const CSTS_FATAL: u32 = 1 << 1;
const CSTS_SHUTDOWN: u32 = 3 << 2;
const CSTS_SHUTDOWN_OCCURRING: u32 = 1 << 2;
const CSTS_SHUTDOWN_COMPLETE: u32 = 2 << 2;

/// How the controller is presented.
#[derive(Clone, Debug, Default)]
pub struct NvmeOptions {
    /// Serial number; at most 20 bytes of it. No two controllers of a machine may have the same.
    pub serial: String,
    /// Runs commands inside the notification instead of on a thread: slower, but repeatable.
    pub synchronous: bool,
}

/// The controller.
pub struct Nvme {
    regs: NvmeRegs,
    function: Function,
    msix: Msix,
    memory: Arc<AddressSpace>,
    disk: Arc<Disk>,
    serial: String,
    worker: Option<Worker<Job, Status>>,
    bounce: Vec<u8>,
}

/// Its registers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct NvmeRegs {
    pci: PciRegs,
    msix: MsixRegs,
    cc: u32,
    csts: u32,
    aqa: u32,
    asq: u64,
    acq: u64,
    /// Vectors that do not interrupt by the pin.
    interrupt_mask: u32,
    /// By identifier; the admin queues have 0.
    submission: BTreeMap<u16, SubmissionQueue>,
    completion: BTreeMap<u16, CompletionQueue>,
    admin: AdminRegs,
    /// Commands that are with the thread, oldest first.
    flying: VecDeque<Flying>,
    /// Vectors of queues with new entries, one bit each.
    #[serde(skip)]
    raised: u64,
    /// False after a load: what the thread does belongs to another machine.
    #[serde(skip)]
    current: bool,
}

/// A command that was fetched and not completed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flying {
    /// The submission queue; 0 for the flush of a shutdown, which nobody submitted.
    queue: u16,
    command: Command,
    /// Writes are durable when they complete.
    durable: bool,
}

impl Regs for NvmeRegs {
    fn validate(&self) -> Result<(), BadState> {
        self.msix.validate()?;
        self.admin.validate()?;
        let bad = |what: &str| Err(BadState(what.to_owned()));
        let known = |id: &u16| *id <= IO_QUEUES;
        if !self.submission.keys().all(known) || !self.completion.keys().all(known) {
            return bad("queue identifiers out of range");
        }
        if !self.submission.values().all(|queue| queue.is_valid() && self.completion.contains_key(&queue.completion)) {
            return bad("an impossible submission queue");
        }
        if !self.completion.values().all(CompletionQueue::is_valid) {
            return bad("an impossible completion queue");
        }
        if self.flying.len() > FLYING_MAX {
            return bad("too many commands under way");
        }
        Ok(())
    }
}

impl Nvme {
    /// The cell of a controller in `slot` whose namespace has the contents of `dev`.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn cell(slot: PciSlot, dev: Arc<dyn BlockDev>, options: NvmeOptions) -> std::io::Result<Arc<DeviceCell<Self>>> {
        // Class: mass storage, non-volatile memory, NVM Express (2.1.5, "CC – Class Code"). The IDs are those of QEMU's.
        let bar = |register, space, len, window| Bar {
            register,
            space,
            prefetchable: false,
            len,
            window: BarWindow::Mmio(window),
        };
        let mut layout = Layout::new(0x1b36, 0x0010, 0x01_08_02, 2)
            .interrupt_pin(1)
            .bar(bar(BAR0, Space::Memory64, REGISTERS_LEN, REGISTERS))
            .bar(bar(BAR0 + 4 * MSIX_BAR, Space::Memory32, MSIX_LEN, 1));
        let msix = Msix::new(&mut layout, IO_QUEUES + 1, MSIX_BAR, PENDING_AT);
        let cancel: Arc<AtomicBool> = Arc::default();
        let disk = Arc::new(Disk { dev, cancel: cancel.clone() });
        let mut worker = None;
        if !options.synchronous {
            let (disk, mut bounce) = (disk.clone(), Vec::new());
            worker = Some(Worker::start("nvme", cancel, move |job: Job| disk.execute(&job, &mut bounce))?);
        }
        let memory = slot.memory.clone();
        let mut new = Self {
            regs: NvmeRegs::default(),
            function: Function::new(slot, layout),
            msix,
            memory,
            disk,
            serial: options.serial,
            worker,
            bounce: Vec::new(),
        };
        new.regs = new.power_on();
        let cell = Arc::new(DeviceCell::new(new));
        let weak = Arc::downgrade(&cell);
        let wake = Box::new(move || {
            if let Some(cell) = weak.upgrade() {
                let _ = cell.with(|_| ());
            }
        });
        let _ = cell.with(|controller| controller.worker.as_ref().map(|worker| worker.on_done(wake)));
        Ok(cell)
    }

    fn power_on(&self) -> NvmeRegs {
        let (pci, msix) = (self.function.power_on(), self.msix.power_on());
        NvmeRegs { pci, msix, current: true, ..NvmeRegs::default() }
    }

    /// Waits until no command is under way, so that a snapshot can be taken. The vCPUs must be stopped.
    pub fn drain(&mut self) {
        // Completed commands let others be fetched; with the vCPUs stopped that ends.
        for _ in 0..=2 * usize::from(IO_QUEUES) * ENTRIES_MAX as usize / FLYING_MAX {
            self.wait();
            self.serve();
            if self.regs.flying.is_empty() {
                break;
            }
        }
        self.wait();
    }

    fn wait(&self) {
        if let Some(worker) = &self.worker {
            worker.wait_idle();
        }
    }

    fn cancel(&self) {
        if let Some(worker) = &self.worker {
            worker.cancel();
        }
    }

    fn read_register(&self, at: u64) -> u32 {
        let r = &self.regs;
        match at {
            CAP => CAP_VALUE as u32,
            0x04 => (CAP_VALUE >> 32) as u32,
            VS => VERSION,
            INTMS | INTMC => r.interrupt_mask,
            CC => r.cc,
            CSTS => r.csts,
            AQA => r.aqa,
            ASQ => r.asq as u32,
            0x2c => (r.asq >> 32) as u32,
            ACQ => r.acq as u32,
            0x34 => (r.acq >> 32) as u32,
            // Doorbells read as anything (3.1.24); what is not there as zero.
            _ => 0,
        }
    }

    fn write_register(&mut self, at: u64, value: u32) {
        let r = &mut self.regs;
        let low = |old: u64| old & !0xffff_ffff | u64::from(value & !0xfff);
        let high = |old: u64| old & 0xffff_ffff | u64::from(value) << 32;
        match at {
            INTMS => r.interrupt_mask |= value,
            INTMC => r.interrupt_mask &= !value,
            CC => self.configure(value & CC_WRITABLE),
            AQA => r.aqa = value & 0x0fff_0fff,
            ASQ => r.asq = low(r.asq),
            0x2c => r.asq = high(r.asq),
            ACQ => r.acq = low(r.acq),
            0x34 => r.acq = high(r.acq),
            DOORBELLS.. => self.ring((at - DOORBELLS) / 4, value),
            _ => vm::log!(GuestError, "nvme: write to register {at:#x}"),
        }
    }

    /// The host writes the controller configuration.
    fn configure(&mut self, new: u32) {
        let old = std::mem::replace(&mut self.regs.cc, new);
        if old & CC_ENABLE != 0 && new & CC_ENABLE == 0 {
            self.reset_controller();
        }
        if old & CC_ENABLE == 0 && new & CC_ENABLE != 0 {
            self.enable();
        }
        // 7.6.2, "Shutdown".
        let (old, new) = (old >> 14 & 3, new >> 14 & 3);
        if new != 0 && old == 0 && self.regs.csts & CSTS_SHUTDOWN == 0 {
            self.regs.csts |= CSTS_SHUTDOWN_OCCURRING;
            self.submit(Flying { queue: 0, command: Command::flush(), durable: false });
        } else if new == 0 && old != 0 {
            self.regs.csts &= !CSTS_SHUTDOWN;
        }
    }

    /// 7.3.2, "Controller Level Reset": the registers of the admin queues stay.
    fn reset_controller(&mut self) {
        self.cancel();
        let r = std::mem::take(&mut self.regs);
        self.regs = NvmeRegs {
            pci: r.pci,
            msix: r.msix,
            cc: r.cc,
            aqa: r.aqa,
            asq: r.asq,
            acq: r.acq,
            current: true,
            ..NvmeRegs::default()
        };
    }

    /// 7.6.1, "Initialization".
    fn enable(&mut self) {
        let r = &mut self.regs;
        let (submission, completion) = ((r.aqa & 0xfff) + 1, (r.aqa >> 16 & 0xfff) + 1);
        if r.cc & CC_KINDS != 0 || submission < 2 || completion < 2 {
            vm::log!(GuestError, "nvme: cannot start with CC {:#x} and AQA {:#x}", r.cc, r.aqa);
            r.csts |= CSTS_FATAL;
            return;
        }
        r.completion.insert(0, CompletionQueue::new(r.acq, completion, Some(0)));
        r.submission.insert(0, SubmissionQueue::new(r.asq, submission, 0));
        r.csts |= CSTS_READY;
    }

    fn is_running(&self) -> bool {
        self.regs.csts & (CSTS_READY | CSTS_FATAL) == CSTS_READY
    }

    /// 3.1.24 and 3.1.25: doorbell `n`, even ones for tails of submission queues, odd ones for heads of completion queues.
    fn ring(&mut self, n: u64, value: u32) {
        if !self.is_running() {
            return;
        }
        let id = (n / 2) as u16;
        let taken = if n.is_multiple_of(2) {
            self.regs.submission.get_mut(&id).map(|queue| queue.set_tail(value))
        } else {
            self.regs.completion.get_mut(&id).map(|queue| queue.set_head(value))
        };
        if taken != Some(true) {
            vm::log!(GuestError, "nvme: doorbell {n} of queue {id} written with {value:#x}");
            // 5.2.1, "Command Completion": an error event, "write to invalid doorbell register" or "invalid ... value".
            self.regs.admin.error_event(u8::from(taken.is_some()));
        }
    }

    /// Fetches and executes commands and completes those that are done, as far as possible now.
    fn serve(&mut self) {
        if !self.regs.current {
            self.cancel();
            self.regs.current = true;
            for flying in self.regs.flying.clone() {
                self.hand_over(&flying);
            }
        }
        self.take_done();
        if self.is_running() && self.function.is_master(&self.regs.pci) {
            let memory = self.memory.dma();
            self.post_events();
            self.fetch(&memory);
            self.post(&memory);
        }
    }

    /// Takes what the thread has done.
    fn take_done(&mut self) {
        let done = self.worker.as_ref().map(|worker| worker.take_done()).unwrap_or_default();
        for status in done {
            self.done(status);
        }
    }

    /// The oldest command under way is done.
    fn done(&mut self, status: Status) {
        let Some(flying) = self.regs.flying.pop_front() else { return };
        if flying.queue == 0 {
            self.regs.csts = self.regs.csts & !CSTS_SHUTDOWN | CSTS_SHUTDOWN_COMPLETE;
            return;
        }
        self.regs.admin.count(&flying.command, status);
        self.complete(flying.queue, flying.command.id(), status, 0);
    }

    /// Queues the completion of a command of submission queue `queue`.
    fn complete(&mut self, queue: u16, id: u16, status: Status, result: u32) {
        let Some(submission) = self.regs.submission.get(&queue) else { return };
        let entry = Completion { result, head: submission.head(), queue, id, status };
        if let Some(completion) = self.regs.completion.get_mut(&submission.completion) {
            completion.push(entry);
        }
    }

    /// Takes commands: those of the admin queue first, then one of each other queue in turn (4.13, "Command Arbitration").
    fn fetch(&mut self, memory: &Arc<DmaMemory>) {
        while let Some(command) = self.take(0, memory) {
            self.execute_admin(&command, memory);
            self.post(memory);
            if !self.is_running() {
                return;
            }
        }
        let mut ids: Vec<u16> = self.regs.submission.keys().copied().filter(|id| *id != 0).collect();
        while !ids.is_empty() {
            ids.retain(|&id| {
                if self.regs.flying.len() >= FLYING_MAX {
                    return false;
                }
                let Some(command) = self.take(id, memory) else { return false };
                self.submit(Flying { queue: id, command, durable: !self.regs.admin.write_cache() });
                true
            });
        }
    }

    /// The next command of submission queue `id`, if there is one and room for its completion.
    fn take(&mut self, id: u16, memory: &DmaMemory) -> Option<Command> {
        let r = &mut self.regs;
        let queue = r.submission.get_mut(&id)?;
        if r.completion.get(&queue.completion)?.is_stalled() || r.csts & CSTS_FATAL != 0 {
            return None;
        }
        let command = queue.take(memory)?;
        if command.is_none() {
            vm::log!(GuestError, "nvme: submission queue {id} is outside RAM");
            r.csts |= CSTS_FATAL;
        }
        command
    }

    /// Gives a command to the thread.
    fn submit(&mut self, flying: Flying) {
        self.hand_over(&flying);
        self.regs.flying.push_back(flying);
        if self.worker.is_none() {
            let Some(last) = self.regs.flying.back() else { return };
            let job = Job::new(last, self.memory.dma());
            let status = self.disk.execute(&job, &mut self.bounce);
            self.done(status);
        }
    }

    fn hand_over(&self, flying: &Flying) {
        if let Some(worker) = &self.worker {
            worker.submit(Job::new(flying, self.memory.dma()));
        }
    }

    /// Writes waiting completions into their queues.
    fn post(&mut self, memory: &DmaMemory) {
        let r = &mut self.regs;
        for (id, queue) in &mut r.completion {
            match queue.post(memory) {
                Some(false) => {}
                Some(true) => {
                    r.raised |= queue.vector.map_or(0, |vector| 1_u64.checked_shl(vector.into()).unwrap_or(0))
                }
                None => {
                    vm::log!(GuestError, "nvme: completion queue {id} is outside RAM");
                    r.csts |= CSTS_FATAL;
                }
            }
        }
    }

    /// 7.5, "Interrupts".
    fn interrupt(&mut self) {
        let r = &mut self.regs;
        let raised = std::mem::take(&mut r.raised);
        let by_message = self.msix.is_enabled(&r.pci);
        if by_message {
            for vector in (0..=IO_QUEUES).filter(|vector| raised >> vector & 1 != 0) {
                self.msix.raise(&mut r.msix, &self.function, &r.pci, vector);
            }
            self.msix.update(&mut r.msix, &self.function, &r.pci);
        }
        let wants = |queue: &CompletionQueue| {
            queue.vector.is_some_and(|vector| r.interrupt_mask >> (vector & 31) & 1 == 0) && queue.has_entries()
        };
        let high = !by_message && r.completion.values().any(wants);
        self.function.set_intx(&mut r.pci, high);
    }
}

impl Device for Nvme {
    type Regs = NvmeRegs;
    const MODEL: &'static str = "nvme";

    fn regs(&self) -> &NvmeRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut NvmeRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.cancel();
        self.regs = self.power_on();
    }
    fn update(&mut self) {
        self.serve();
        self.interrupt();
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for Nvme {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Nvme {
    const WINDOWS: &'static [Window] =
        &[Window { len: REGISTERS_LEN, widths: 4..=8 }, Window { len: MSIX_LEN, widths: 4..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if at.window != REGISTERS {
            return Ok(self.msix.read(&self.regs.msix, at.offset, at.width));
        }
        if !at.offset.is_multiple_of(4) {
            return Err(BusError::BadOffset);
        }
        let high = if at.width == 8 { u64::from(self.read_register(at.offset + 4)) << 32 } else { 0 };
        Ok(high | u64::from(self.read_register(at.offset)))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if at.window != REGISTERS {
            self.msix.write(&mut self.regs.msix, at.offset, at.width, value);
            return Ok(());
        }
        if !at.offset.is_multiple_of(4) {
            return Err(BusError::BadOffset);
        }
        self.write_register(at.offset, value as u32);
        if at.width == 8 {
            self.write_register(at.offset + 4, (value >> 32) as u32);
        }
        Ok(())
    }
}
