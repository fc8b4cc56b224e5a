//! SCSI host (virtio 1.2, 5.6) with targets of one or more logical units.
//!
//! Commands are decided about when they are taken from the ring ([`crate::block::scsi`]); what they want of the medium, and
//! task management, is done on a thread of the device, one after the other, so that each queue's chains finish in order.

use crate::block::scsi::{self, Action, PARAMETERS_MAX, Sense, Unit, UnitRegs};
use crate::virtio::queue::{Buffers, Chain, Malformed, Rings};
use crate::virtio::worker::Worker;
use crate::virtio::{VirtioDevice, Wake};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use virtio_bindings::virtio_scsi as spec;
use vm::blockdev::{BlockDev, BlockError};
use vm::{BadState, Regs};

// Queues (5.6.2).
const CONTROL: usize = 0;
const EVENT: usize = 1;
const REQUEST: usize = 2;

/// Bytes copied at a time between guest RAM and a medium.
const CHUNK: usize = 256 << 10;
/// Bytes of a command and of sense data that drivers may ask for (5.6.4); at first 32 and 96.
const CDB_MAX: u32 = 260;
const SENSE_MAX: u32 = 252;
/// Bytes of a request before the command, and of an answer before the sense data (5.6.6.1).
const HEADER_LEN: u64 = 19;
const ANSWER_LEN: u64 = 12;
/// Bytes of an event (5.6.6.3).
const EVENT_LEN: u32 = 16;
/// Events that wait for a buffer at most; what is lost is told as such.
const EVENTS_MAX: usize = 16;
/// Bytes that one command reads or writes at most; drivers keep to far less (max_sectors).
const TRANSFER_MAX: u64 = 64 << 20;

// SCSI Architecture Model 5, "Status".
const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;

const OK: u8 = spec::VIRTIO_SCSI_S_OK as u8;
const ABORTED: u8 = spec::VIRTIO_SCSI_S_ABORTED as u8;
const BAD_TARGET: u8 = spec::VIRTIO_SCSI_S_BAD_TARGET as u8;
const FAILURE: u8 = spec::VIRTIO_SCSI_S_FAILURE as u8;
const REJECTED: u8 = spec::VIRTIO_SCSI_S_FUNCTION_REJECTED as u8;
const INCORRECT_LUN: u8 = spec::VIRTIO_SCSI_S_INCORRECT_LUN as u8;

/// Where a unit is: target and logical unit number, each below 256.
pub type Place = (u8, u8);

/// The saved state beyond the rings.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScsiRegs {
    features: u64,
    sense_len: u32,
    cdb_len: u32,
    /// What the driver was not told yet: place, reason.
    events: VecDeque<(Place, u32)>,
    events_missed: bool,
    units: BTreeMap<String, UnitRegs>,
}

impl Default for ScsiRegs {
    fn default() -> Self {
        let (sense_len, cdb_len) = (spec::VIRTIO_SCSI_SENSE_DEFAULT_SIZE, spec::VIRTIO_SCSI_CDB_DEFAULT_SIZE);
        let (events, units) = (VecDeque::new(), BTreeMap::new());
        Self { features: 0, sense_len, cdb_len, events, events_missed: false, units }
    }
}

impl Regs for ScsiRegs {
    fn validate(&self) -> Result<(), BadState> {
        if self.sense_len > SENSE_MAX || self.cdb_len > CDB_MAX || self.events.len() > EVENTS_MAX {
            return Err(BadState("lengths or events of a SCSI host out of range".into()));
        }
        Ok(())
    }
}

impl ScsiRegs {
    fn unit(&mut self, (target, lun): Place) -> &mut UnitRegs {
        self.units.entry(format!("{target}:{lun}")).or_default()
    }

    fn event(&mut self, place: Place, reason: u32) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back((place, reason));
        } else {
            self.events_missed = true;
        }
    }
}

/// The host.
pub struct VirtioScsi {
    units: BTreeMap<Place, Unit>,
    executor: Arc<Executor>,
    worker: Option<Worker<Job, (usize, u16, u32)>>,
    /// Chains of the control and request queue handed to the worker and not finished yet.
    ahead: [u16; 3],
    /// Commands so far, by which task management tells older from newer ones.
    serial: u64,
    /// Media that were changed since the rings were served.
    changed: Vec<Place>,
}

/// A task management function that is under way: it gives up commands that are older.
struct Abort {
    before: u64,
    place: Place,
    /// All units of the target.
    target: bool,
    /// Only the command of this identifier.
    id: Option<u64>,
}

/// What jobs need, on whichever thread.
struct Executor {
    /// Set while all requests are to end early because their result is not wanted any more.
    cancel: Arc<AtomicBool>,
    aborts: Mutex<Vec<Abort>>,
}

/// What the worker does.
enum Job {
    Command(Box<Command>),
    /// Task management; all older commands are done when it is its turn. With the answer.
    Control {
        chain: Chain,
        serial: u64,
        answer: Vec<u8>,
    },
}

struct Command {
    chain: Chain,
    serial: u64,
    place: Place,
    id: u64,
    medium: Option<Arc<dyn BlockDev>>,
    /// Lengths of the parts before the data.
    header: u64,
    answer: u64,
    wanted: Wanted,
}

enum Wanted {
    Action(Action),
    Sense(Sense),
    /// The host itself refuses.
    Response(u8),
}

/// Why an action ended early.
enum Failure {
    Sense(Sense),
    /// Nobody wants the result.
    Aborted,
    /// Buffers and transfer do not go together.
    Buffers,
}

impl Command {
    /// Bytes of data that the driver gives and wants.
    fn room(&self) -> (u64, u64) {
        let out = self.chain.readable.len().saturating_sub(self.header);
        (out, self.chain.writable.len().saturating_sub(self.answer))
    }
}

impl Executor {
    fn aborts(&self) -> MutexGuard<'_, Vec<Abort>> {
        self.aborts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn is_aborted(&self, command: &Command) -> bool {
        self.cancel.load(Ordering::Acquire)
            || self.aborts().iter().any(|abort| {
                command.serial < abort.before
                    && abort.place.0 == command.place.0
                    && (abort.target || abort.place.1 == command.place.1)
                    && abort.id.is_none_or(|id| id == command.id)
            })
    }

    /// Queue, head and number of bytes written of the chain that a job is about.
    fn execute(&self, job: Job, bounce: &mut Vec<u8>) -> (usize, u16, u32) {
        match job {
            Job::Command(command) => (REQUEST, command.chain.head, self.command(&command, bounce)),
            Job::Control { chain, serial, answer } => {
                self.aborts().retain(|abort| abort.before != serial);
                let len = if self.cancel.load(Ordering::Acquire) { 0 } else { written(&chain.writable, &answer) };
                (CONTROL, chain.head, len)
            }
        }
    }

    /// Carries out a command and stores the answer.
    fn command(&self, command: &Command, bounce: &mut Vec<u8>) -> u32 {
        let (result, data) = match &command.wanted {
            Wanted::Response(response) => (Err(*response), 0),
            Wanted::Sense(sense) => (Ok(Some(*sense)), 0),
            Wanted::Action(action) => match self.act(command, action, bounce) {
                Ok(data) => (Ok(None), data),
                Err(Failure::Sense(sense)) => (Ok(Some(sense)), 0),
                Err(Failure::Aborted) => (Err(ABORTED), 0),
                Err(Failure::Buffers) => (Err(FAILURE), 0),
            },
        };
        if self.cancel.load(Ordering::Acquire) {
            return 0;
        }
        let (out, room) = command.room();
        // 5.6.6.1: what was not transferred of what the driver gave or wanted.
        let residual = match (&result, &command.wanted) {
            (Ok(None), Wanted::Action(Action::Write { len, .. })) => out.saturating_sub(*len),
            _ => room.saturating_sub(data),
        };
        let (response, status, sense) = match result {
            Ok(None) => (OK, GOOD, Vec::new()),
            Ok(Some(sense)) => (OK, CHECK_CONDITION, scsi::fixed(sense)),
            Err(response) => (response, GOOD, Vec::new()),
        };
        let sense = sense.get(..sense.len().min((command.answer - ANSWER_LEN) as usize)).unwrap_or_default();
        let mut answer = (sense.len() as u32).to_le_bytes().to_vec();
        answer.extend(u32::try_from(residual).unwrap_or(u32::MAX).to_le_bytes());
        answer.extend([0, 0, status, response]);
        answer.extend(sense);
        answer.resize(command.answer as usize, 0);
        match written(&command.chain.writable, &answer) {
            0 => 0,
            len => len.saturating_add(data as u32),
        }
    }

    /// Does what a command wants of the medium; the number of bytes that the guest got.
    fn act(&self, command: &Command, action: &Action, bounce: &mut Vec<u8>) -> Result<u64, Failure> {
        let (out, room) = command.room();
        if let Action::Data(data) = action {
            let n = room.min(data.len() as u64);
            let data = data.get(..n as usize).unwrap_or_default();
            command.chain.writable.write(command.answer, data).ok_or(Failure::Buffers)?;
            return Ok(n);
        }
        let Some(dev) = &command.medium else { return Err(Failure::Sense(scsi::ABORTED)) };
        let host = |result: Result<(), BlockError>| result.map_err(|error| Failure::Sense(action.failure(&error)));
        let durably = |durable: bool| if durable { host(dev.flush()) } else { Ok(()) };
        match action {
            Action::Data(_) => {}
            Action::Read { offset, len } => {
                let n = (*len).min(room).min(TRANSFER_MAX);
                self.in_chunks(command, n, bounce, |done, buf| {
                    host(dev.read_at(offset + done, buf))?;
                    command.chain.writable.write(command.answer + done, buf).ok_or(Failure::Buffers)
                })?;
                return Ok(n);
            }
            Action::Write { offset, len, durable } => {
                if *len > out || *len > TRANSFER_MAX {
                    return Err(Failure::Buffers);
                }
                self.in_chunks(command, *len, bounce, |done, buf| {
                    command.chain.readable.read(command.header + done, buf).ok_or(Failure::Buffers)?;
                    host(dev.write_at(offset + done, buf))
                })?;
                durably(*durable)?;
            }
            Action::Same { offset, len, pattern, durable } => {
                self.in_chunks(command, *len, bounce, |done, buf| {
                    for part in buf.chunks_mut(pattern.len().max(1)) {
                        part.copy_from_slice(pattern.get(..part.len()).unwrap_or_default());
                    }
                    host(dev.write_at(offset + done, buf))
                })?;
                durably(*durable)?;
            }
            Action::Zero { offset, len, durable } => {
                host(dev.write_zeroes(*offset, *len))?;
                durably(*durable)?;
            }
            Action::Discard(ranges) => {
                for (offset, len) in ranges {
                    if self.is_aborted(command) {
                        return Err(Failure::Aborted);
                    }
                    host(dev.discard(*offset, *len))?;
                }
            }
            Action::Flush => host(dev.flush())?,
        }
        Ok(0)
    }

    /// Calls `step` with each part of `len` bytes: where it starts, and as many bytes of `bounce`.
    fn in_chunks(
        &self,
        command: &Command,
        len: u64,
        bounce: &mut Vec<u8>,
        mut step: impl FnMut(u64, &mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut done = 0;
        while done < len {
            if self.is_aborted(command) {
                return Err(Failure::Aborted);
            }
            let n = usize::try_from(len - done).map_or(CHUNK, |left| left.min(CHUNK));
            if bounce.len() < n {
                bounce.resize(n, 0);
            }
            step(done, bounce.get_mut(..n).unwrap_or_default())?;
            done += n as u64;
        }
        Ok(())
    }
}

/// Stores `bytes` at the start of `buffers`; how many were stored, all or none.
fn written(buffers: &Buffers, bytes: &[u8]) -> u32 {
    buffers.write(0, bytes).map_or(0, |()| bytes.len() as u32)
}

/// Target and unit of an address (5.6.6.1): the byte 1, the target, the unit in flat or peripheral form.
fn place(lun: [u8; 8]) -> Option<Place> {
    match lun {
        [1, target, 0x00 | 0x40, lun, 0, 0, 0, 0] => Some((target, lun)),
        _ => None,
    }
}

impl VirtioScsi {
    /// A host with `units`; `synchronous` runs commands inside the notification instead of on a thread.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn new(units: BTreeMap<Place, Unit>, synchronous: bool) -> std::io::Result<Self> {
        let cancel: Arc<AtomicBool> = Arc::default();
        let executor = Arc::new(Executor { cancel: cancel.clone(), aborts: Mutex::default() });
        let mut worker = None;
        if !synchronous {
            let (executor, mut bounce) = (executor.clone(), Vec::new());
            worker = Some(Worker::start("virtio-scsi", cancel, move |job| executor.execute(job, &mut bounce))?);
        }
        Ok(Self { units, executor, worker, ahead: [0; 3], serial: 0, changed: Vec::new() })
    }

    /// Puts another disc into the drive at `place`, or takes it out.
    pub fn set_medium(&mut self, place: Place, disc: Option<Arc<dyn BlockDev>>) {
        if let Some(unit) = self.units.get_mut(&place) {
            unit.medium = disc;
            self.changed.push(place);
        }
    }

    /// Reads a request and decides what is to be done.
    fn command(&mut self, regs: &mut ScsiRegs, chain: Chain) -> Result<Job, Malformed> {
        let mut head = [0; HEADER_LEN as usize];
        let mut cdb = vec![0; regs.cdb_len as usize];
        chain.readable.read(0, &mut head).ok_or(Malformed("SCSI request without a header"))?;
        chain.readable.read(HEADER_LEN, &mut cdb).ok_or(Malformed("SCSI request without a command"))?;
        let (header, answer) = (HEADER_LEN + u64::from(regs.cdb_len), ANSWER_LEN + u64::from(regs.sense_len));
        if chain.writable.len() < answer {
            return Err(Malformed("SCSI request without room for an answer"));
        }
        let [l0, l1, l2, l3, l4, l5, l6, l7, i0, i1, i2, i3, i4, i5, i6, i7, ..] = head;
        let lun = place([l0, l1, l2, l3, l4, l5, l6, l7]);
        let id = u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        let parameters = |len: usize| {
            let mut bytes = vec![0; len.min(PARAMETERS_MAX)];
            chain.readable.read(header, &mut bytes).map(|()| bytes)
        };
        let (place, wanted) = match lun {
            Some(place) if self.has_target(place.0) => {
                let luns = self.units.keys().filter(|(target, _)| *target == place.0).map(|(_, lun)| *lun);
                let result = match (scsi::report_luns(&cdb, luns), self.units.get(&place)) {
                    (Some(result), _) => result,
                    (None, Some(unit)) => unit.command(regs.unit(place), &cdb, &parameters),
                    (None, None) => scsi::without_unit(&cdb),
                };
                (place, result.map_or_else(Wanted::Sense, Wanted::Action))
            }
            other => (other.unwrap_or_default(), Wanted::Response(BAD_TARGET)),
        };
        self.serial += 1;
        let medium = self.units.get(&place).and_then(|unit| unit.medium.clone());
        Ok(Job::Command(Box::new(Command { chain, serial: self.serial, place, id, medium, header, answer, wanted })))
    }

    fn has_target(&self, target: u8) -> bool {
        self.units.keys().any(|(other, _)| *other == target)
    }

    /// Reads a control request (5.6.6.2) and decides about it.
    fn control(&mut self, regs: &mut ScsiRegs, chain: Chain) -> Result<Job, Malformed> {
        let mut bytes = [0; 24];
        chain.readable.read(0, bytes.get_mut(..4).unwrap_or_default()).ok_or(Malformed("empty control request"))?;
        let [t0, t1, t2, t3, ..] = bytes;
        let kind = u32::from_le_bytes([t0, t1, t2, t3]);
        self.serial += 1;
        let answer = match kind {
            spec::VIRTIO_SCSI_T_TMF => {
                chain.readable.read(0, &mut bytes).ok_or(Malformed("short task management request"))?;
                let [_, _, _, _, s0, s1, s2, s3, l0, l1, l2, l3, l4, l5, l6, l7, id @ ..] = bytes;
                let place = place([l0, l1, l2, l3, l4, l5, l6, l7]);
                vec![self.manage(regs, u32::from_le_bytes([s0, s1, s2, s3]), place, u64::from_le_bytes(id))]
            }
            // Asynchronous notifications: which of the requested events there can be. None.
            spec::VIRTIO_SCSI_T_AN_QUERY | spec::VIRTIO_SCSI_T_AN_SUBSCRIBE => vec![0, 0, 0, 0, OK],
            _ => vec![FAILURE],
        };
        if chain.writable.len() < answer.len() as u64 {
            return Err(Malformed("control request without room for an answer"));
        }
        Ok(Job::Control { chain, serial: self.serial, answer })
    }

    /// A task management function; its answer. What it gives up ends before the answer is given.
    fn manage(&mut self, regs: &mut ScsiRegs, function: u32, place: Option<Place>, id: u64) -> u8 {
        let Some(place) = place.filter(|place| self.has_target(place.0)) else { return BAD_TARGET };
        let target = function == spec::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET;
        if !target && !self.units.contains_key(&place) {
            return INCORRECT_LUN;
        }
        let mut abort = Abort { before: self.serial, place, target, id: None };
        match function {
            spec::VIRTIO_SCSI_T_TMF_ABORT_TASK => abort.id = Some(id),
            spec::VIRTIO_SCSI_T_TMF_ABORT_TASK_SET | spec::VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET => {}
            spec::VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET | spec::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET => {
                let places = self.units.keys().filter(|other| other.0 == place.0 && (target || **other == place));
                for place in places.copied().collect::<Vec<_>>() {
                    let unit = regs.unit(place);
                    *unit = unit.after_reset();
                }
            }
            // No state is there that clearing an auto contingent allegiance would change. What is queried may have ended by now.
            spec::VIRTIO_SCSI_T_TMF_CLEAR_ACA
            | spec::VIRTIO_SCSI_T_TMF_QUERY_TASK
            | spec::VIRTIO_SCSI_T_TMF_QUERY_TASK_SET => return OK,
            _ => return REJECTED,
        }
        if self.worker.is_some() {
            self.executor.aborts().push(abort);
        }
        OK
    }

    /// Tells of events while there are buffers for them.
    fn tell(&mut self, regs: &mut ScsiRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        for place in std::mem::take(&mut self.changed) {
            let present = self.units.get(&place).is_some_and(|unit| unit.medium.is_some());
            regs.unit(place).disc_changed(present);
            if regs.features & 1 << spec::VIRTIO_SCSI_F_CHANGE != 0 {
                // The sense that the change is told with: the code and, above it, the qualifier.
                regs.event(place, if present { 0x28 } else { 0x3a });
            }
        }
        while let Some(((target, lun), reason)) = regs.events.front().copied() {
            let Some(chain) = rings.peek(EVENT, 0)? else { break };
            let missed = if regs.events_missed { spec::VIRTIO_SCSI_T_EVENTS_MISSED } else { 0 };
            let mut event = (spec::VIRTIO_SCSI_T_PARAM_CHANGE | missed).to_le_bytes().to_vec();
            event.extend([1, target, 0x40, lun, 0, 0, 0, 0]);
            event.extend(reason.to_le_bytes());
            if written(&chain.writable, &event) == 0 {
                return Err(Malformed("buffer too small for an event"));
            }
            rings.finish(EVENT, chain.head, EVENT_LEN)?;
            regs.events.pop_front();
            regs.events_missed = false;
        }
        Ok(())
    }

    /// Takes requests of a queue.
    fn take(&mut self, queue: usize, regs: &mut ScsiRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let mut bounce = Vec::new();
        for _ in 0..rings.size(queue) {
            let ahead = self.ahead.get(queue).copied().unwrap_or(0);
            let Some(chain) = rings.peek(queue, ahead)? else { break };
            let job = if queue == CONTROL { self.control(regs, chain)? } else { self.command(regs, chain)? };
            match &self.worker {
                Some(worker) => {
                    worker.submit(job);
                    self.ahead[queue] = ahead.saturating_add(1);
                }
                None => {
                    let (_, head, len) = self.executor.execute(job, &mut bounce);
                    rings.finish(queue, head, len)?;
                }
            }
        }
        Ok(())
    }
}

impl VirtioDevice for VirtioScsi {
    type Regs = ScsiRegs;
    const MODEL: &'static str = "virtio-scsi-device";
    const DEVICE_ID: u32 = 8;
    const QUEUE_SIZES: &'static [u16] = &[128, 128, 256];

    fn features(&self) -> u64 {
        // 5.6.3: requests with data in both directions are none, units neither come nor go, their media do.
        1 << spec::VIRTIO_SCSI_F_CHANGE
    }

    /// 5.6.4, struct virtio_scsi_config.
    fn config(&self, regs: &ScsiRegs) -> Vec<u8> {
        let mut config = Vec::with_capacity(36);
        let words = [
            1,                               // num_queues
            254,                             // seg_max: header and answer take one each
            (TRANSFER_MAX / 2 / 512) as u32, // max_sectors
            128,                             // cmd_per_lun
            EVENT_LEN,                       // event_info_size
            regs.sense_len,
            regs.cdb_len,
        ];
        words.into_iter().for_each(|word: u32| config.extend(word.to_le_bytes()));
        config.extend([0, 0, 255, 0]); // max_channel, max_target
        config.extend(255u32.to_le_bytes()); // max_lun
        config
    }

    fn write_config(&mut self, regs: &mut ScsiRegs, offset: usize, bytes: &[u8]) {
        let Ok(value) = bytes.try_into().map(u32::from_le_bytes) else { return };
        match offset {
            20 if value <= SENSE_MAX => regs.sense_len = value,
            24 if (1..=CDB_MAX).contains(&value) => regs.cdb_len = value,
            _ => vm::log!(GuestError, "virtio-scsi: {value} written to byte {offset} of the configuration"),
        }
    }

    fn activate(&mut self, regs: &mut ScsiRegs, features: u64) {
        regs.features = features;
    }

    fn reset(&mut self, regs: &mut ScsiRegs) {
        let units = std::mem::take(&mut regs.units);
        let units = units.into_iter().map(|(place, unit)| (place, unit.after_reset())).collect();
        *regs = ScsiRegs { units, ..ScsiRegs::default() };
    }

    fn process(&mut self, regs: &mut ScsiRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let done = self.worker.as_ref().map(|worker| worker.take_done()).unwrap_or_default();
        for (queue, head, len) in done {
            if let Some(ahead) = self.ahead.get_mut(queue) {
                *ahead = ahead.saturating_sub(1);
            }
            rings.finish(queue, head, len)?;
        }
        self.take(REQUEST, regs, rings)?;
        self.take(CONTROL, regs, rings)?;
        self.tell(regs, rings)
    }

    fn abandon(&mut self) {
        if let Some(worker) = &self.worker {
            worker.cancel();
        }
        self.executor.aborts().clear();
        self.ahead = [0; 3];
    }

    fn drain(&mut self) {
        if let Some(worker) = &self.worker {
            worker.wait_idle();
        }
    }

    fn connect(&mut self, wake: Wake) {
        if let Some(worker) = &self.worker {
            worker.on_done(wake);
        }
    }
}

#[cfg(test)]
#[path = "scsi_tests.rs"]
mod tests;
