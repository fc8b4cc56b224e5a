//! Entries of the queues: 4.2, "Submission Queue Entry", and 4.6, "Completion Queue Entry".

use serde::{Deserialize, Serialize};

/// Bytes of an entry of a submission queue.
pub(super) const COMMAND_LEN: usize = 64;
/// Bytes of an entry of a completion queue.
pub(super) const COMPLETION_LEN: u64 = 16;

/// NSID that means all namespaces.
pub(super) const EVERY_NAMESPACE: u32 = u32::MAX;
/// The one namespace.
pub(super) const NAMESPACE: u32 = 1;

/// The status field of a completion without its phase (4.6.1): code in bits 7:0, type in 10:8, "do not retry" in 14.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status(pub u16);

const DNR: u16 = 1 << 14;
const SPECIFIC: u16 = 1 << 8;
const MEDIA: u16 = 2 << 8;

impl Status {
    // 4.6.1.2.1, "Generic Command Status Definition".
    pub const SUCCESS: Self = Self(0);
    pub const INVALID_OPCODE: Self = Self(DNR | 0x01);
    pub const INVALID_FIELD: Self = Self(DNR | 0x02);
    pub const DATA_TRANSFER_ERROR: Self = Self(0x04);
    pub const INTERNAL_ERROR: Self = Self(0x06);
    pub const INVALID_NAMESPACE: Self = Self(DNR | 0x0b);
    pub const SEQUENCE_ERROR: Self = Self(DNR | 0x0c);
    pub const PRP_OFFSET_INVALID: Self = Self(DNR | 0x13);
    pub const WRITE_PROTECTED: Self = Self(DNR | 0x20);
    pub const LBA_OUT_OF_RANGE: Self = Self(DNR | 0x80);
    // 4.6.1.2.2, "Command Specific Status Definition".
    pub const COMPLETION_QUEUE_INVALID: Self = Self(DNR | SPECIFIC);
    pub const INVALID_QUEUE_ID: Self = Self(DNR | SPECIFIC | 0x01);
    pub const INVALID_QUEUE_SIZE: Self = Self(DNR | SPECIFIC | 0x02);
    pub const TOO_MANY_EVENT_REQUESTS: Self = Self(DNR | SPECIFIC | 0x05);
    pub const INVALID_VECTOR: Self = Self(DNR | SPECIFIC | 0x08);
    pub const INVALID_LOG_PAGE: Self = Self(DNR | SPECIFIC | 0x09);
    pub const INVALID_QUEUE_DELETION: Self = Self(DNR | SPECIFIC | 0x0c);
    pub const NOT_SAVEABLE: Self = Self(DNR | SPECIFIC | 0x0d);
    // 4.6.1.2.3, "Media and Data Integrity Errors Definition".
    pub const WRITE_FAULT: Self = Self(MEDIA | 0x80);
    pub const UNRECOVERED_READ: Self = Self(MEDIA | 0x81);
}

/// A command: sixteen little-endian words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command([u32; 16]);

impl Command {
    pub fn new(bytes: &[u8; COMMAND_LEN]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let mut command = [0; 16];
        for (to, from) in command.iter_mut().zip(words) {
            *to = u32::from_le_bytes(*from);
        }
        Self(command)
    }

    /// A flush that nobody submitted.
    pub fn flush() -> Self {
        let mut words = [0; 16];
        words[1] = EVERY_NAMESPACE;
        Self(words)
    }

    /// Word `N`, "CDW`N`".
    pub fn word<const N: usize>(&self) -> u32 {
        const { assert!(N < 16) };
        self.0[N]
    }

    pub fn opcode(&self) -> u8 {
        self.0[0] as u8
    }
    pub fn id(&self) -> u16 {
        (self.0[0] >> 16) as u16
    }
    pub fn namespace(&self) -> u32 {
        self.0[1]
    }
    /// Whether it is one half of a fused operation, or describes its data by SGLs; there is neither.
    pub fn is_odd(&self) -> bool {
        self.0[0] & 0xc300 != 0
    }
    pub fn prp1(&self) -> u64 {
        u64::from(self.0[6]) | u64::from(self.0[7]) << 32
    }
    pub fn prp2(&self) -> u64 {
        u64::from(self.0[8]) | u64::from(self.0[9]) << 32
    }
    /// First logical block of reads, writes and the like.
    pub fn first_block(&self) -> u64 {
        u64::from(self.0[10]) | u64::from(self.0[11]) << 32
    }
    /// Number of logical blocks of reads, writes and the like.
    pub fn blocks(&self) -> u64 {
        u64::from(self.0[12] & 0xffff) + 1
    }
}

/// The completion of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Completion {
    /// Word 0, of the command.
    pub result: u32,
    /// Head of the submission queue.
    pub head: u16,
    /// The submission queue.
    pub queue: u16,
    /// The command.
    pub id: u16,
    pub status: Status,
}

impl Completion {
    /// As two 64-bit words; the second one holds the phase and is stored last.
    pub fn words(&self, phase: bool) -> [u64; 2] {
        let low = u64::from(self.head) | u64::from(self.queue) << 16;
        let status = u64::from(self.status.0) << 1 | u64::from(phase);
        [self.result.into(), low | u64::from(self.id) << 32 | status << 48]
    }
}
