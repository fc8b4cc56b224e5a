//! Chapter 5, "Admin Command Set".

use super::command::{Command, EVERY_NAMESPACE, NAMESPACE, Status};
use super::identify::{self, EVENT_REQUESTS};
use super::prp::Regions;
use super::queue::{CompletionQueue, SubmissionQueue};
use super::{CC_SIZES, CC_SIZES_VALUE, ENTRIES_MAX, IO_QUEUES, Nvme, PAGE, io};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use vm::ram::DmaMemory;
use vm::{BadState, Regs};

// 5.1, "Opcodes for Admin Commands".
const DELETE_SUBMISSION: u8 = 0x00;
const CREATE_SUBMISSION: u8 = 0x01;
const GET_LOG_PAGE: u8 = 0x02;
const DELETE_COMPLETION: u8 = 0x04;
const CREATE_COMPLETION: u8 = 0x05;
const IDENTIFY: u8 = 0x06;
const ABORT: u8 = 0x08;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;
const EVENT_REQUEST: u8 = 0x0c;

// 5.21.1, "Feature Specific Information".
const ARBITRATION: u8 = 0x01;
const POWER: u8 = 0x02;
const TEMPERATURE: u8 = 0x04;
const ERROR_RECOVERY: u8 = 0x05;
const WRITE_CACHE: u8 = 0x06;
const QUEUES: u8 = 0x07;
const COALESCING: u8 = 0x08;
const VECTOR: u8 = 0x09;
const ATOMICITY: u8 = 0x0a;
const EVENTS: u8 = 0x0b;

// 5.14.1, "Log Specific Information".
const LOG_ERRORS: u8 = 0x01;
const LOG_HEALTH: u8 = 0x02;
const LOG_FIRMWARE: u8 = 0x03;
const LOG_EFFECTS: u8 = 0x05;
/// Bytes of the longest log page.
const LOG_MAX: u64 = 4096;
/// Composite temperature, in K.
const KELVIN: u16 = 308;
/// Of the feature that sets its thresholds: the one that is over at power-on.
const THRESHOLD: u32 = 343;

/// What of the controller the admin commands know.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct AdminRegs {
    /// Features that were set, as their CDW11.
    features: BTreeMap<u8, u32>,
    /// Identifiers of commands that wait for an event.
    requests: Vec<u16>,
    /// An event that nobody was told of: its result.
    event: Option<u32>,
    /// Error events are held back until the error log was read.
    muted: bool,
    /// Commands that failed.
    errors: u64,
    /// The newest entry of the error log: submission queue, command, status.
    last_error: (u16, u16, u16),
    /// Commands and 512-byte units, read and written.
    reads: [u64; 2],
    writes: [u64; 2],
}

impl Regs for AdminRegs {
    fn validate(&self) -> Result<(), BadState> {
        if self.requests.len() > EVENT_REQUESTS || self.features.keys().any(|feature| !is_feature(*feature)) {
            return Err(BadState("impossible features or requests for events".into()));
        }
        Ok(())
    }
}

fn is_feature(feature: u8) -> bool {
    let stored = matches!(feature, ARBITRATION | POWER | TEMPERATURE | ERROR_RECOVERY | WRITE_CACHE | COALESCING);
    stored || matches!(feature, QUEUES | VECTOR | ATOMICITY | EVENTS)
}

impl AdminRegs {
    /// Whether the volatile write cache is on.
    pub fn write_cache(&self) -> bool {
        self.features.get(&WRITE_CACHE).is_none_or(|value| value & 1 != 0)
    }

    /// An event of type "error status" with this information.
    pub fn error_event(&mut self, information: u8) {
        if !self.muted && self.event.is_none() {
            self.event = Some(u32::from(LOG_ERRORS) << 16 | u32::from(information) << 8);
        }
    }

    /// A command of the namespace is done.
    pub fn count(&mut self, command: &Command, status: Status) {
        if status != Status::SUCCESS {
            return;
        }
        let [commands, units] = match command.opcode() {
            io::READ => &mut self.reads,
            io::WRITE => &mut self.writes,
            _ => return,
        };
        *commands = commands.saturating_add(1);
        *units = units.saturating_add(io::transferred(command) / 512);
    }

    fn error(&mut self, id: u16, status: Status) {
        self.errors = self.errors.saturating_add(1);
        self.last_error = (0, id, status.0);
    }

    /// 5.14.1.1, "Error Information".
    fn error_log(&self) -> Vec<u8> {
        let (queue, command, status) = self.last_error;
        let mut entry = self.errors.to_le_bytes().to_vec();
        for word in [queue, command, status << 1] {
            entry.extend(word.to_le_bytes());
        }
        entry.resize(64, 0);
        entry
    }

    /// 5.14.1.2, "SMART / Health Information".
    fn health_log(&self) -> Vec<u8> {
        let mut log = vec![0; 512];
        let [low, high] = KELVIN.to_le_bytes();
        // Warnings, temperature, spare and its threshold in per cent.
        for (to, from) in log.iter_mut().zip([0, low, high, 100, 10]) {
            *to = from;
        }
        // Thousands of units, rounded up; numbers of 128 bits.
        let values = [self.reads[1].div_ceil(1000), self.writes[1].div_ceil(1000), self.reads[0], self.writes[0]];
        for (n, value) in values.into_iter().enumerate() {
            let bytes = log.iter_mut().skip(32 + 16 * n).take(8);
            bytes.zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        let errors = log.iter_mut().skip(176).take(8);
        errors.zip(self.errors.to_le_bytes()).for_each(|(to, from)| *to = from);
        log
    }
}

/// 5.14.1.3, "Firmware Slot Information": the first slot is active.
fn firmware_log() -> Vec<u8> {
    let mut log = vec![1, 0, 0, 0, 0, 0, 0, 0];
    log.extend(b"1.0     ");
    log.resize(512, 0);
    log
}

/// 5.14.1.5, "Commands Supported and Effects": a word for each admin and each I/O command.
fn effects_log() -> Vec<u8> {
    const SUPPORTED: u8 = 1;
    const CHANGES_CONTENTS: u8 = 2;
    let mut log = vec![0; LOG_MAX as usize];
    let admin = [
        DELETE_SUBMISSION,
        CREATE_SUBMISSION,
        GET_LOG_PAGE,
        DELETE_COMPLETION,
        CREATE_COMPLETION,
        IDENTIFY,
        ABORT,
        SET_FEATURES,
        GET_FEATURES,
        EVENT_REQUEST,
    ];
    let admin = admin.map(|opcode| (usize::from(opcode), SUPPORTED));
    let changes = SUPPORTED | CHANGES_CONTENTS;
    let commands = [(io::FLUSH, SUPPORTED), (io::READ, SUPPORTED), (io::WRITE, changes), (io::WRITE_ZEROES, changes)];
    let commands = commands.into_iter().chain([(io::DATASET_MANAGEMENT, changes)]);
    for (n, effects) in admin.into_iter().chain(commands.map(|(opcode, e)| (256 + usize::from(opcode), e))) {
        if let Some(byte) = log.get_mut(4 * n) {
            *byte = effects;
        }
    }
    log
}

/// What an admin command leads to.
enum Answer {
    /// Word 0 of the completion.
    Value(u32),
    /// It is completed later.
    Later,
}

impl Nvme {
    /// Executes a command of the admin queue.
    pub(super) fn execute_admin(&mut self, command: &Command, memory: &DmaMemory) {
        let id = command.id();
        match self.admin_command(command, memory) {
            Ok(Answer::Value(value)) => self.complete(0, id, Status::SUCCESS, value),
            Ok(Answer::Later) => {}
            Err(status) => {
                vm::log!(GuestError, "nvme: admin command {:#x}: status {:#x}", command.opcode(), status.0);
                self.regs.admin.error(id, status);
                self.complete(0, id, status, 0);
            }
        }
    }

    fn admin_command(&mut self, command: &Command, memory: &DmaMemory) -> Result<Answer, Status> {
        if command.is_odd() {
            return Err(Status::INVALID_FIELD);
        }
        let done = |()| Answer::Value(0);
        match command.opcode() {
            DELETE_SUBMISSION => self.delete_submission(command).map(done),
            CREATE_SUBMISSION => self.create_submission(command).map(done),
            GET_LOG_PAGE => self.log_page(command, memory).map(done),
            DELETE_COMPLETION => self.delete_completion(command).map(done),
            CREATE_COMPLETION => self.create_completion(command).map(done),
            IDENTIFY => self.identify(command, memory).map(done),
            // 5.1, "Abort command": bit 0 says that the command was not aborted.
            ABORT => Ok(Answer::Value(1)),
            SET_FEATURES => self.set_feature(command).map(Answer::Value),
            GET_FEATURES => self.feature(command).map(Answer::Value),
            EVENT_REQUEST => {
                if self.regs.admin.requests.len() >= EVENT_REQUESTS {
                    return Err(Status::TOO_MANY_EVENT_REQUESTS);
                }
                self.regs.admin.requests.push(command.id());
                self.post_events();
                Ok(Answer::Later)
            }
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// Tells of an event if there is one and somebody waits for it.
    pub(super) fn post_events(&mut self) {
        let admin = &mut self.regs.admin;
        if !admin.requests.is_empty()
            && let Some(event) = admin.event.take()
        {
            let id = admin.requests.remove(0);
            admin.muted = true;
            self.complete(0, id, Status::SUCCESS, event);
        }
    }

    /// Identifier and number of entries of a queue that is to be created.
    fn new_queue(&self, command: &Command, exists: bool) -> Result<u32, Status> {
        let (id, entries) = (command.word::<10>() as u16, (command.word::<10>() >> 16) + 1);
        if id == 0 || id > IO_QUEUES || exists {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if !(2..=ENTRIES_MAX).contains(&entries) || self.regs.cc & CC_SIZES != CC_SIZES_VALUE {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        // Contiguous, since CAP.CQR asks for that.
        if command.word::<11>() & 1 == 0 {
            return Err(Status::INVALID_FIELD);
        }
        if !command.prp1().is_multiple_of(PAGE) {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        Ok(entries)
    }

    fn create_completion(&mut self, command: &Command) -> Result<(), Status> {
        let id = command.word::<10>() as u16;
        let entries = self.new_queue(command, self.regs.completion.contains_key(&id))?;
        let (interrupts, vector) = (command.word::<11>() & 2 != 0, (command.word::<11>() >> 16) as u16);
        if vector > IO_QUEUES {
            return Err(Status::INVALID_VECTOR);
        }
        let queue = CompletionQueue::new(command.prp1(), entries, interrupts.then_some(vector));
        self.regs.completion.insert(id, queue);
        Ok(())
    }

    fn create_submission(&mut self, command: &Command) -> Result<(), Status> {
        let id = command.word::<10>() as u16;
        let completion = (command.word::<11>() >> 16) as u16;
        if completion == 0 || !self.regs.completion.contains_key(&completion) {
            return Err(Status::COMPLETION_QUEUE_INVALID);
        }
        let entries = self.new_queue(command, self.regs.submission.contains_key(&id))?;
        self.regs.submission.insert(id, SubmissionQueue::new(command.prp1(), entries, completion));
        Ok(())
    }

    /// 5.6, "Delete I/O Submission Queue command": nothing of the queue is under way afterwards.
    fn delete_submission(&mut self, command: &Command) -> Result<(), Status> {
        let id = command.word::<10>() as u16;
        if id == 0 || !self.regs.submission.contains_key(&id) {
            return Err(Status::INVALID_QUEUE_ID);
        }
        self.wait();
        self.take_done();
        self.regs.submission.remove(&id);
        Ok(())
    }

    fn delete_completion(&mut self, command: &Command) -> Result<(), Status> {
        let id = command.word::<10>() as u16;
        if id == 0 || !self.regs.completion.contains_key(&id) {
            return Err(Status::INVALID_QUEUE_ID);
        }
        if self.regs.submission.values().any(|queue| queue.completion == id) {
            return Err(Status::INVALID_QUEUE_DELETION);
        }
        self.regs.completion.remove(&id);
        Ok(())
    }

    fn identify(&self, command: &Command, memory: &DmaMemory) -> Result<(), Status> {
        let namespace = command.namespace();
        let data = match command.word::<10>() as u8 {
            0 if namespace == NAMESPACE => identify::namespace(self.disk.dev.len_bytes(), self.disk.dev.read_only()),
            // One that is not active is all zeros.
            0 if namespace == 0 || namespace > NAMESPACE => return Err(Status::INVALID_NAMESPACE),
            1 => identify::controller(&self.serial),
            2 if namespace < EVERY_NAMESPACE - 1 => identify::active(namespace),
            3 if namespace == NAMESPACE => identify::descriptors(&self.serial),
            2 | 3 => return Err(Status::INVALID_NAMESPACE),
            _ => return Err(Status::INVALID_FIELD),
        };
        Regions::new(command, data.len() as u64, memory)?.write(memory, &data)
    }

    fn log_page(&mut self, command: &Command, memory: &DmaMemory) -> Result<(), Status> {
        let page = command.word::<10>() as u8;
        let words = u64::from(command.word::<10>() >> 16) | u64::from(command.word::<11>() & 0xffff) << 16;
        let offset = u64::from(command.word::<12>()) | u64::from(command.word::<13>()) << 32;
        let log = match page {
            LOG_ERRORS => self.regs.admin.error_log(),
            LOG_HEALTH => self.regs.admin.health_log(),
            LOG_FIRMWARE => firmware_log(),
            LOG_EFFECTS => effects_log(),
            _ => return Err(Status::INVALID_LOG_PAGE),
        };
        // "Retain asynchronous event": not set, the events of this page may come again.
        if page == LOG_ERRORS && command.word::<10>() & 1 << 15 == 0 {
            self.regs.admin.muted = false;
        }
        if !offset.is_multiple_of(4) || offset > log.len() as u64 {
            return Err(Status::INVALID_FIELD);
        }
        // What is beyond the end of the page is undefined: nothing is written there.
        let rest = log.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(((words + 1) * 4).min(LOG_MAX) as usize);
        Regions::new(command, len as u64, memory)?.write(memory, rest.get(..len).unwrap_or_default())
    }

    fn set_feature(&mut self, command: &Command) -> Result<u32, Status> {
        let (feature, value) = (command.word::<10>() as u8, command.word::<11>());
        if command.word::<10>() & 1 << 31 != 0 {
            return Err(Status::NOT_SAVEABLE);
        }
        match feature {
            QUEUES => {
                if value as u16 == u16::MAX || value >> 16 == u32::from(u16::MAX) {
                    return Err(Status::INVALID_FIELD);
                }
                if self.regs.submission.len() > 1 || self.regs.completion.len() > 1 {
                    return Err(Status::SEQUENCE_ERROR);
                }
                // All that there can be, whatever was asked for.
                return Ok(queues());
            }
            POWER if value & 0x1f != 0 => return Err(Status::INVALID_FIELD),
            VECTOR if value & 0xffff > u32::from(IO_QUEUES) => return Err(Status::INVALID_FIELD),
            _ if is_feature(feature) => {}
            _ => return Err(Status::INVALID_FIELD),
        }
        self.regs.admin.features.insert(feature, value);
        Ok(0)
    }

    fn feature(&self, command: &Command) -> Result<u32, Status> {
        let feature = command.word::<10>() as u8;
        // Other values than the current ones are asked for only if ONCS says that they may be.
        if command.word::<10>() & 0x700 != 0 || !is_feature(feature) {
            return Err(Status::INVALID_FIELD);
        }
        Ok(match (feature, self.regs.admin.features.get(&feature)) {
            (QUEUES, _) => queues(),
            (VECTOR, None) => command.word::<11>() & 0xffff,
            (_, Some(value)) => *value,
            (WRITE_CACHE, None) => 1,
            (TEMPERATURE, None) => THRESHOLD,
            (_, None) => 0,
        })
    }
}

/// Numbers of I/O queues, each less one.
fn queues() -> u32 {
    let n = u32::from(IO_QUEUES) - 1;
    n | n << 16
}
