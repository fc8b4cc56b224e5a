use super::command::Status;
use super::*;
use crate::fuzz;
use crate::pci::testing::Machine;
use crate::testing::{Random, check_reset, check_save_load};
use crate::virtio::testing::MemoryDisk;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vm::{Gpa, Part, Ram};

const DEVFN: u8 = 4 << 3;
const AT: u64 = 0xfe00_0000;
const MSIX_AT: u64 = 0xfeb0_0000;
const RAM_LEN: u64 = 0x40_0000;
const ASQ_AT: u64 = 0x1_0000;
const ACQ_AT: u64 = 0x1_1000;
const SQ_AT: u64 = 0x1_2000;
const CQ_AT: u64 = 0x1_3000;
const LIST: u64 = 0x1_4000;
const DATA: u64 = 0x10_0000;

struct Bench {
    machine: Machine,
    ram: Arc<Ram>,
    cell: Arc<DeviceCell<Nvme>>,
    disk: Arc<MemoryDisk>,
    /// Tails of the submission queues, heads and phases of the completion queues, by queue.
    tails: [u32; 2],
    heads: [u32; 2],
}

/// Entries of all queues of the tests.
const ENTRIES: u32 = 8;

fn bench_with(disk: Arc<MemoryDisk>, synchronous: bool) -> Bench {
    let (machine, ram) = Machine::with_ram(RAM_LEN);
    let options = NvmeOptions { serial: "S1".into(), synchronous };
    let cell = Nvme::cell(machine.bus.slot(4, 0), disk.clone(), options).unwrap();
    assert!(machine.bus.plug(&cell));
    for (at, value) in [(0x10, AT as u32), (0x14, 0), (0x20, MSIX_AT as u32), (4, 7)] {
        machine.bus.write_config(DEVFN, at, 4, value);
    }
    Bench { machine, ram, cell, disk, tails: [0; 2], heads: [0; 2] }
}

fn command(opcode: u8, namespace: u32, prp: [u64; 2], words: [u32; 6]) -> [u32; 16] {
    let mut command = [0; 16];
    command[0] = opcode.into();
    command[1] = namespace;
    for (n, prp) in prp.into_iter().enumerate() {
        (command[6 + 2 * n], command[7 + 2 * n]) = (prp as u32, (prp >> 32) as u32);
    }
    command[10..].copy_from_slice(&words);
    command
}

impl Bench {
    fn new() -> Self {
        bench_with(MemoryDisk::new(4096), false)
    }
    fn started() -> Self {
        Self::new().start()
    }
    fn start(mut self) -> Self {
        self.enable();
        assert_eq!(self.create_completion(1, CQ_AT, ENTRIES, 3, 1), 0);
        assert_eq!(self.create_submission(1, SQ_AT, ENTRIES, 1), 0);
        self
    }
    fn enable(&mut self) {
        self.store(CC, 4, 0);
        self.ram.write(ASQ_AT, &[0; 0x4000]).unwrap();
        (self.tails, self.heads) = ([0; 2], [0; 2]);
        self.store(AQA, 4, u64::from((ENTRIES - 1) << 16 | (ENTRIES - 1)));
        self.store(ASQ, 8, ASQ_AT);
        self.store(ACQ, 8, ACQ_AT);
        self.store(CC, 4, 0x0046_0001);
        assert_eq!(self.load(CSTS, 4), 1);
    }
    fn load(&self, offset: u64, width: u8) -> u64 {
        self.machine.memory.view().load(Gpa(AT + offset), width).unwrap()
    }
    fn store(&self, offset: u64, width: u8, value: u64) {
        self.machine.memory.view().store(Gpa(AT + offset), width, value).unwrap();
    }
    /// Puts a command with identifier 0x5a into a queue and rings.
    fn submit(&mut self, queue: usize, mut command: [u32; 16]) {
        command[0] |= 0x5a << 16;
        let base = if queue == 0 { ASQ_AT } else { SQ_AT };
        let bytes: Vec<u8> = command.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.ram.write(base + u64::from(self.tails[queue]) * 64, &bytes).unwrap();
        self.tails[queue] = (self.tails[queue] + 1) % ENTRIES;
        self.store(DOORBELLS + 8 * queue as u64, 4, self.tails[queue].into());
    }
    /// The next completion of a queue, if it is there: result and last word.
    fn completion(&self, queue: usize) -> Option<(u32, u32)> {
        let at = if queue == 0 { ACQ_AT } else { CQ_AT } + u64::from(self.heads[queue] % ENTRIES) * 16;
        let phase = u64::from((self.heads[queue] / ENTRIES).is_multiple_of(2));
        let word = |n: u64| self.ram.load(at + 4 * n, 4).unwrap() as u32;
        (u64::from(word(3)) >> 16 & 1 == phase).then(|| (word(0), word(3)))
    }
    #[track_caller]
    fn wait(&mut self, queue: usize) -> (u32, u16) {
        let end = Instant::now() + Duration::from_secs(20);
        let (result, last) = loop {
            match self.completion(queue) {
                Some(found) => break found,
                None => assert!(Instant::now() < end, "no completion; CSTS {:#x}", self.load(CSTS, 4)),
            }
            std::thread::yield_now();
        };
        assert_eq!(last & 0xffff, 0x5a);
        self.heads[queue] = (self.heads[queue] + 1) % (2 * ENTRIES);
        self.store(DOORBELLS + 8 * queue as u64 + 4, 4, (self.heads[queue] % ENTRIES).into());
        (result, (last >> 17) as u16)
    }
    /// Result and status of an admin command.
    #[track_caller]
    fn admin(&mut self, command: [u32; 16]) -> (u32, u16) {
        self.submit(0, command);
        self.wait(0)
    }
    #[track_caller]
    fn io(&mut self, command: [u32; 16]) -> u16 {
        self.submit(1, command);
        self.wait(1).1
    }
    fn create_completion(&mut self, id: u32, at: u64, entries: u32, flags: u32, vector: u32) -> u16 {
        self.admin(command(5, 0, [at, 0], [id | (entries - 1) << 16, flags | vector << 16, 0, 0, 0, 0])).1
    }
    fn create_submission(&mut self, id: u32, at: u64, entries: u32, completion: u32) -> u16 {
        self.admin(command(1, 0, [at, 0], [id | (entries - 1) << 16, 1 | completion << 16, 0, 0, 0, 0])).1
    }
    fn data(&self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.ram.read(at, &mut data).unwrap();
        data
    }
    fn irq(&self) -> bool {
        self.machine.pirqs.get(crate::pci::bus::pirq(4, 0).into())
    }
    #[track_caller]
    fn until(&self, what: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
    }
}

fn read(first: u64, blocks: u32, prp: [u64; 2]) -> [u32; 16] {
    command(io::READ, 1, prp, [first as u32, (first >> 32) as u32, blocks - 1, 0, 0, 0])
}

fn write(first: u64, blocks: u32, prp: [u64; 2]) -> [u32; 16] {
    command(io::WRITE, 1, prp, [first as u32, (first >> 32) as u32, blocks - 1, 0, 0, 0])
}

#[test]
fn registers_at_power_on() {
    let b = Bench::new();
    let config = |at| b.machine.bus.read_config(DEVFN, at, 4);
    assert_eq!([0, 8].map(config), [0x0010_1b36, 0x0108_0202]);
    let rows =
        [(CAP, 8, 0x0000_0020_0f01_03ff), (VS, 4, 0x1_0400), (INTMS, 4, 0), (CC, 4, 0), (CSTS, 4, 0), (AQA, 4, 0)];
    for (at, width, value) in rows.into_iter().chain([(ASQ, 8, 0), (ACQ, 8, 0), (0x38, 8, 0), (0x1ffc, 4, 0)]) {
        assert_eq!(b.load(at, width), value, "{at:#x}");
    }
    b.store(AQA, 4, u64::MAX);
    b.store(ASQ, 8, u64::MAX);
    assert_eq!((b.load(AQA, 4), b.load(ASQ, 8)), (0x0fff_0fff, !0xfff));
}

#[test]
fn started_and_stopped() {
    let mut b = Bench::started();
    b.store(AQA, 4, 0);
    b.store(CC, 4, 0);
    assert_eq!(b.load(CSTS, 4), 0);
    for (aqa, cc) in [(0, 1), (0x7_0007, 0x81), (0x7_0007, 0x11), (0x7_0000, 1)] {
        b.store(AQA, 4, aqa);
        b.store(CC, 4, cc);
        assert_eq!(b.load(CSTS, 4), 2, "{aqa:#x} {cc:#x}");
        b.store(CC, 4, 0);
    }
    b.enable();
    assert_eq!(b.admin(command(6, 0, [DATA, 0], [1, 0, 0, 0, 0, 0])), (0, 0));
    assert_eq!(b.create_submission(1, SQ_AT, ENTRIES, 1), Status::COMPLETION_QUEUE_INVALID.0, "queues are gone");
}

#[test]
fn shutdown_flushes() {
    let b = Bench::started();
    b.store(CC, 4, 0x0046_4001);
    b.until(|| b.load(CSTS, 4) == 9);
    assert_eq!(*b.disk.calls.lock().unwrap(), ["flush"]);
    b.store(CC, 4, 0x0046_0001);
    assert_eq!(b.load(CSTS, 4), 1);
}

#[test]
fn identification() {
    let mut b = Bench::started();
    let mut identify = |cns, namespace| {
        b.ram.write(DATA, &[0xee; 4096]).unwrap();
        let (_, status) = b.admin(command(6, namespace, [DATA, 0], [cns, 0, 0, 0, 0, 0]));
        (status, b.data(DATA, 4096))
    };
    let (status, data) = identify(1, 0);
    assert_eq!((status, &data[..4], &data[4..24]), (0, &[0x36, 0x1b, 0xf4, 0x1a][..], &b"S1                  "[..]));
    assert_eq!((data[77], &data[512..514], data[516], data[525]), (7, &[0x66, 0x44][..], 1, 7));
    assert!(data[768..].starts_with(b"nqn.2014-08.org.nvmexpress:uuid:"));
    assert_eq!(data[768..].iter().position(|byte| *byte == 0), Some(32 + 36));
    let (status, data) = identify(0, 1);
    assert_eq!((status, &data[..2], data[130]), (0, &4096u16.to_le_bytes()[..], 9));
    let (status, data) = identify(2, 0);
    assert_eq!((status, &data[..8]), (0, &[1, 0, 0, 0, 0, 0, 0, 0][..]));
    assert_eq!(identify(2, 1).1, [0; 4096]);
    assert_eq!(identify(3, 1).1[..2], [3, 16]);
    for (cns, namespace) in [(0, 0), (0, 2), (0, u32::MAX), (2, u32::MAX), (3, 2)] {
        assert_eq!(identify(cns, namespace).0, Status::INVALID_NAMESPACE.0, "{cns} {namespace}");
    }
    assert_eq!(identify(0x77, 1).0, Status::INVALID_FIELD.0);
    let disk =
        Arc::new(MemoryDisk { read_only: true, bytes: std::sync::Mutex::new(vec![0; 1024]), ..Default::default() });
    let mut b = bench_with(disk, false).start();
    assert_eq!(b.admin(command(6, 1, [DATA, 0], [0; 6])).1, 0);
    assert_eq!(b.data(DATA + 99, 1), [1], "write protected");
    assert_eq!(b.io(write(0, 1, [DATA, 0])), Status::WRITE_PROTECTED.0);
}

#[test]
fn blocks_travel_by_every_kind_of_page_entry() {
    for synchronous in [false, true] {
        let mut b = bench_with(MemoryDisk::new(4096), synchronous).start();
        let expect = |b: &Bench, first: usize, blocks: usize| {
            b.disk.bytes.lock().unwrap()[first * 512..][..blocks * 512].to_vec()
        };
        // One page, with an offset.
        assert_eq!(b.io(read(3, 2, [DATA + 0xc00, 0])), 0);
        assert_eq!(b.data(DATA + 0xc00, 1024), expect(&b, 3, 2));
        // Two pages.
        assert_eq!(b.io(read(5, 9, [DATA + 0xe00, DATA + 0x5000])), 0);
        assert_eq!([b.data(DATA + 0xe00, 0x200), b.data(DATA + 0x5000, 0x1000)].concat(), expect(&b, 5, 9));
        // A list that begins near the end of its page and goes on in another one.
        let (list, next) = (LIST + 0xff0, LIST + 0x1000);
        for (at, entry) in [(list, DATA + 0x8000), (list + 8, next), (next, DATA + 0x3000), (next + 8, DATA + 0x4000)] {
            b.ram.store(at, 8, entry).unwrap();
        }
        b.ram.write(DATA, &[7; 0x1000]).unwrap();
        b.ram.write(DATA + 0x8000, &[8; 0x1000]).unwrap();
        b.ram.write(DATA + 0x3000, &[9; 0x2000]).unwrap();
        assert_eq!(b.io(write(100, 32, [DATA, list])), 0);
        let expected = [[7; 0x1000], [8; 0x1000], [9; 0x1000], [9; 0x1000]].concat();
        assert_eq!(expect(&b, 100, 32), expected);
        // The greatest transfer.
        for n in 0..128 {
            b.ram.store(LIST + 8 * n, 8, DATA + 0x1000 * (n + 1)).unwrap();
        }
        assert_eq!(b.io(read(0, 1024, [DATA, LIST])), 0);
        assert_eq!(b.data(DATA, 1024 * 512), expect(&b, 0, 1024));
        assert_eq!(b.io(read(0, 1025, [DATA, LIST])), Status::INVALID_FIELD.0);
    }
}

#[test]
fn refused_commands() {
    let mut b = Bench::started();
    let (odd, far) = (Status::PRP_OFFSET_INVALID.0, Status::DATA_TRANSFER_ERROR.0);
    b.ram.store(LIST, 8, DATA + 8).unwrap();
    // A list that leads to itself, where an entry may not.
    b.ram.store(LIST + 0xff8, 8, LIST + 0xff8).unwrap();
    let rows = [
        (read(4096, 1, [DATA, 0]), Status::LBA_OUT_OF_RANGE.0),
        (read(4095, 2, [DATA, 0]), Status::LBA_OUT_OF_RANGE.0),
        (read(u64::MAX, 1, [DATA, 0]), Status::LBA_OUT_OF_RANGE.0),
        (read(u64::MAX / 512, 2, [DATA, 0]), Status::LBA_OUT_OF_RANGE.0),
        (read(0, 1, [DATA + 2, 0]), odd),
        (read(0, 9, [DATA, DATA + 4]), odd),
        (read(0, 17, [DATA, LIST + 4]), odd),
        (read(0, 17, [DATA, LIST]), odd),
        (read(0, 32, [DATA, LIST + 0xff8]), odd),
        (read(0, 1, [RAM_LEN - 4, RAM_LEN]), far),
        (read(0, 1, [AT, 0]), far),
        (read(0, 1, [u64::MAX - 3, 0]), far),
        (write(0, 1, [RAM_LEN, 0]), far),
        (read(0, 32, [DATA, u64::MAX - 7]), far),
        (read(0, 32, [DATA, AT]), far),
        (command(0x7f, 1, [0; 2], [0; 6]), Status::INVALID_OPCODE.0),
        (command(io::READ, 0, [DATA, 0], [0; 6]), Status::INVALID_NAMESPACE.0),
        (command(io::READ, 2, [DATA, 0], [0; 6]), Status::INVALID_NAMESPACE.0),
        (command(io::READ, u32::MAX, [DATA, 0], [0; 6]), Status::INVALID_NAMESPACE.0),
    ];
    for (command, status) in rows {
        assert_eq!(b.io(command), status, "{command:x?}");
    }
    let mut by_sgl = read(0, 1, [DATA, 0]);
    by_sgl[0] |= 0x4000;
    assert_eq!(b.io(by_sgl), Status::INVALID_FIELD.0);
    assert!(b.disk.calls.lock().unwrap().iter().all(|call| call.starts_with("read")));
    b.disk.failing.store(true, Ordering::SeqCst);
    assert_eq!(b.io(read(0, 1, [DATA, 0])), Status::UNRECOVERED_READ.0);
    assert_eq!(b.io(write(0, 1, [DATA, 0])), Status::WRITE_FAULT.0);
    assert_eq!(b.load(CSTS, 4), 1);
}

#[test]
fn flush_zeroes_and_deallocation() {
    let mut b = Bench::started();
    let range = |blocks: u32, first: u64| [&[0; 4][..], &blocks.to_le_bytes(), &first.to_le_bytes()].concat();
    b.ram.write(DATA, &[range(4, 8), range(0, 1), range(1, 4095)].concat()).unwrap();
    let dataset = |count: u32, flags| command(io::DATASET_MANAGEMENT, 1, [DATA, 0], [count - 1, flags, 0, 0, 0, 0]);
    let mut fua = write(1, 1, [DATA, 0]);
    fua[12] |= io::FLUSH as u32 | 1 << 30;
    let rows = [
        (command(io::FLUSH, 1, [0; 2], [0; 6]), 0, vec!["flush"]),
        (command(io::FLUSH, u32::MAX, [0; 2], [0; 6]), 0, vec!["flush"]),
        (fua, 0, vec!["write 512 512", "flush"]),
        (command(io::WRITE_ZEROES, 1, [0; 2], [2, 0, 1, 0, 0, 0]), 0, vec!["zero 1024 1024"]),
        (command(io::WRITE_ZEROES, 1, [0; 2], [4095, 0, 1, 0, 0, 0]), Status::LBA_OUT_OF_RANGE.0, vec![]),
        (dataset(3, 4), 0, vec!["discard 4096 2048", "discard 2096640 512"]),
        (dataset(3, 1), 0, vec![]),
        (dataset(256, 4), 0, vec!["discard 4096 2048", "discard 2096640 512"]),
    ];
    for (command, status, calls) in rows {
        b.disk.calls.lock().unwrap().clear();
        assert_eq!(
            (b.io(command), &*b.disk.calls.lock().unwrap()),
            (status, &calls.iter().map(|c| c.to_string()).collect())
        );
    }
    b.ram.write(DATA, &range(u32::MAX, 1)).unwrap();
    assert_eq!(b.io(dataset(1, 4)), Status::LBA_OUT_OF_RANGE.0);
    // Without a write cache each write is durable.
    assert_eq!(b.admin(command(9, 0, [0; 2], [6, 0, 0, 0, 0, 0])), (0, 0));
    b.disk.calls.lock().unwrap().clear();
    assert_eq!(b.io(write(0, 1, [DATA, 0])), 0);
    assert_eq!(*b.disk.calls.lock().unwrap(), ["write 0 512", "flush"]);
}

#[test]
fn features_and_logs() {
    let mut b = Bench::new();
    b.enable();
    let set = |id: u32, value| command(9, 0, [0; 2], [id, value, 0, 0, 0, 0]);
    let get = |id: u32| command(10, 0, [0; 2], [id, 0, 0, 0, 0, 0]);
    for (id, at_first, new) in [(1, 0, 7), (4, 343, 350), (6, 1, 0), (8, 0, 0x101), (0xb, 0, 0xff)] {
        assert_eq!(b.admin(get(id)), (at_first, 0), "{id}");
        assert_eq!(b.admin(set(id, new)), (0, 0));
        assert_eq!(b.admin(get(id)), (new, 0), "{id}");
    }
    assert_eq!(b.admin(set(7, 0x0003_0003)), (0x1f_001f, 0));
    assert_eq!(b.admin(set(7, 0xffff)).1, Status::INVALID_FIELD.0);
    assert_eq!(b.admin(set(0x80, 0)).1, Status::INVALID_FIELD.0);
    assert_eq!(b.admin(set(6 | 1 << 31, 0)).1, Status::NOT_SAVEABLE.0);
    assert_eq!(b.admin(get(0x33)).1, Status::INVALID_FIELD.0);
    assert_eq!(b.admin(command(8, 0, [0; 2], [1, 0, 0, 0, 0, 0])), (1, 0), "abort");
    assert_eq!(b.admin(command(0xc0, 0, [0; 2], [0; 6])).1, Status::INVALID_OPCODE.0);
    let mut b = b.start();
    assert_eq!(b.admin(set(7, 0x0003_0003)).1, Status::SEQUENCE_ERROR.0);
    assert_eq!((b.io(read(0, 3, [DATA, 0])), b.io(write(0, 1, [DATA, 0]))), (0, 0));
    let log = |page: u32, words: u32, offset: u32| {
        command(2, u32::MAX, [DATA, 0], [page | (words - 1) << 16, 0, offset, 0, 0, 0])
    };
    assert_eq!(b.admin(log(2, 128, 0)), (0, 0));
    let health = b.data(DATA, 512);
    assert_eq!((health[3], health[32], health[48], health[64], health[80]), (100, 1, 1, 1, 1));
    assert_eq!(b.admin(log(5, 1024, 0)), (0, 0));
    assert_eq!((b.data(DATA + 24, 1), b.data(DATA + 1024 + 4, 1)), (vec![1], vec![3]));
    b.ram.write(DATA, &[0xee; 4096]).unwrap();
    assert_eq!(b.admin(log(3, 1024, 508)), (0, 0));
    assert_eq!((b.data(DATA, 4), b.data(DATA + 4, 1)), (vec![0; 4], vec![0xee]), "nothing beyond the page");
    assert_eq!(b.admin(log(1, 16, 0)), (0, 0));
    for (command, status) in [
        (log(0x99, 1, 0), Status::INVALID_LOG_PAGE),
        (log(2, 1, 2), Status::INVALID_FIELD),
        (log(2, 1, 516), Status::INVALID_FIELD),
    ] {
        assert_eq!(b.admin(command).1, status.0);
    }
}

#[test]
fn queues_are_checked() {
    let mut b = Bench::started();
    let (id, size) = (Status::INVALID_QUEUE_ID.0, Status::INVALID_QUEUE_SIZE.0);
    for (queue, at, entries, flags, vector, status) in [
        (0, CQ_AT, 8, 1, 0, id),
        (1, CQ_AT, 8, 1, 0, id),
        (33, CQ_AT, 8, 1, 0, id),
        (2, CQ_AT, 1, 1, 0, size),
        (2, CQ_AT, 1025, 1, 0, size),
        (2, CQ_AT, 8, 0, 0, Status::INVALID_FIELD.0),
        (2, CQ_AT + 8, 8, 1, 0, Status::PRP_OFFSET_INVALID.0),
        (2, CQ_AT, 8, 3, 33, Status::INVALID_VECTOR.0),
    ] {
        assert_eq!(b.create_completion(queue, at, entries, flags, vector), status, "{queue} {entries}");
    }
    for (queue, completion, status) in [(2, 0, 0x4100), (2, 7, 0x4100), (1, 1, id), (0, 1, id)] {
        assert_eq!(b.create_submission(queue, SQ_AT, 8, completion), status, "{queue}");
    }
    let delete = |opcode, queue| command(opcode, 0, [0; 2], [queue, 0, 0, 0, 0, 0]);
    assert_eq!(b.admin(delete(4, 1)).1, Status::INVALID_QUEUE_DELETION.0);
    for (opcode, queue) in [(4, 0), (4, 9), (0, 0), (0, 9)] {
        assert_eq!(b.admin(delete(opcode, queue)).1, id);
    }
    assert_eq!((b.admin(delete(0, 1)).1, b.admin(delete(4, 1)).1), (0, 0));
}

#[test]
fn deleting_a_queue_waits_for_its_commands() {
    let mut b = Bench::started();
    let disk = b.disk.clone();
    let gate = disk.gate.lock().unwrap();
    b.submit(1, read(0, 1, [DATA, 0]));
    while disk.entered.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert!(b.completion(1).is_none(), "the vCPU did not wait");
    // Safe to let go from here: the thread goes on while the deletion waits.
    drop(gate);
    assert_eq!(b.admin(command(0, 0, [0; 2], [1, 0, 0, 0, 0, 0])).1, 0);
    assert_eq!(b.wait(1), (0, 0));
}

#[test]
fn a_full_completion_queue_loses_nothing() {
    let mut b = Bench::started();
    // Seven fit; the host looks at none of them, yet submits twice as many.
    for round in 0..2 {
        for n in 0..7 {
            b.submit(1, read(n, 1, [DATA, 0]));
        }
        let disk = b.disk.clone();
        b.until(|| disk.entered.load(Ordering::SeqCst) >= 7 * (round + 1) || round == 1);
    }
    b.cell.with(Nvme::drain).unwrap();
    for _ in 0..14 {
        assert_eq!(b.wait(1), (0, 0));
    }
    assert!(b.completion(1).is_none());
}

#[test]
fn interrupts_by_pin_and_by_message() {
    let mut b = Bench::started();
    assert!(!b.irq());
    b.submit(1, read(0, 1, [DATA, 0]));
    b.until(|| b.irq());
    b.store(INTMS, 4, 2);
    assert_eq!((b.irq(), b.load(INTMC, 4)), (false, 2));
    b.store(INTMC, 4, 2);
    assert!(b.irq());
    b.wait(1);
    assert!(!b.irq(), "all entries were seen");
    let view = b.machine.memory.view();
    for n in 0..2_u64 {
        view.store(Gpa(MSIX_AT + n * 16), 4, 0xfee0_0000).unwrap();
        view.store(Gpa(MSIX_AT + n * 16 + 8), 8, 0x40 + n).unwrap();
    }
    b.machine.bus.write_config(DEVFN, 0x42, 2, 0x8000);
    assert_eq!(b.io(read(0, 1, [DATA, 0])), 0);
    b.cell.with(Nvme::drain).unwrap();
    assert_eq!((b.machine.take_messages(), b.irq()), (vec![(0xfee0_0000, 0x41)], false));
    b.admin(command(8, 0, [0; 2], [0; 6]));
    assert_eq!(b.machine.take_messages(), [(0xfee0_0000, 0x40)]);
}

#[test]
fn events_tell_of_bad_doorbells() {
    let mut b = Bench::started();
    for _ in 0..4 {
        b.submit(0, command(0xc, 0, [0; 2], [0; 6]));
    }
    assert!(b.completion(0).is_none());
    assert_eq!(b.admin(command(0xc, 0, [0; 2], [0; 6])).1, Status::TOO_MANY_EVENT_REQUESTS.0);
    b.store(DOORBELLS + 8, 4, 99);
    assert_eq!(b.wait(0), (0x1_0100, 0), "invalid value");
    b.store(DOORBELLS + 0x100, 4, 0);
    assert!(b.completion(0).is_none(), "until the log is read");
    assert_eq!(b.admin(command(2, 0, [DATA, 0], [0x000f_0001, 0, 0, 0, 0, 0])).1, 0);
    b.store(DOORBELLS + 0x100, 4, 0);
    assert_eq!(b.wait(0), (0x1_0000, 0), "no such register");
    b.store(DOORBELLS + 0xc, 4, 5);
    assert_eq!(b.load(CSTS, 4), 1, "a head beyond the tail is not taken");
}

#[test]
fn queues_outside_memory_are_fatal() {
    for (asq, acq) in [(AT, ACQ_AT), (ASQ_AT, AT), (!0xfff, ACQ_AT), (ASQ_AT, RAM_LEN)] {
        let mut b = Bench::started();
        b.store(CC, 4, 0);
        b.store(ASQ, 8, asq);
        b.store(ACQ, 8, acq);
        b.store(CC, 4, 0x0046_0001);
        b.store(DOORBELLS, 4, 1);
        assert_eq!(b.load(CSTS, 4), 3, "{asq:#x} {acq:#x}");
        b.enable();
        assert_eq!(b.load(CSTS, 4), 1, "a reset helps");
    }
}

#[test]
fn a_snapshot_with_commands_under_way_does_them_again() {
    let mut b = Bench::started();
    let disk = b.disk.clone();
    let gate = disk.gate.lock().unwrap();
    b.ram.write(DATA, &[0xee; 512]).unwrap();
    b.submit(1, read(1, 1, [DATA, 0]));
    b.until(|| disk.entered.load(Ordering::SeqCst) == 1);
    let saved = b.cell.save();
    drop(gate);
    assert_eq!(b.wait(1), (0, 0));
    // Back to the moment of the snapshot, in memory too.
    b.heads[1] = 0;
    b.ram.write(CQ_AT, &[0; 32]).unwrap();
    b.ram.write(DATA, &[0xee; 512]).unwrap();
    b.cell.load(&saved).unwrap();
    b.cell.settle();
    assert_eq!(b.wait(1), (0, 0));
    assert_eq!(b.data(DATA, 512), disk.bytes.lock().unwrap()[512..1024]);
}

#[test]
fn a_reset_forgets_what_is_under_way() {
    let mut b = Bench::started();
    let disk = b.disk.clone();
    let gate = disk.gate.lock().unwrap();
    b.submit(1, read(1, 1, [DATA, 0]));
    b.until(|| disk.entered.load(Ordering::SeqCst) == 1);
    let cell = b.cell.clone();
    let cancel = cell.with(|nvme| nvme.disk.cancel.clone()).unwrap();
    let reset = std::thread::spawn(move || cell.reset(ResetKind::Warm));
    b.until(|| cancel.load(Ordering::SeqCst));
    drop(gate);
    reset.join().unwrap();
    b.cell.settle();
    assert_eq!((b.load_after_reset(), b.completion(1)), (0, None));
}

impl Bench {
    /// CSTS, with the windows where they were.
    fn load_after_reset(&self) -> u64 {
        for (at, value) in [(0x10, AT as u32), (0x14, 0), (0x20, MSIX_AT as u32), (4, 7)] {
            self.machine.bus.write_config(DEVFN, at, 4, value);
        }
        self.load(CSTS, 4)
    }
}

#[test]
fn saved_loaded_and_reset() {
    let mut b = Bench::started();
    assert_eq!(b.io(read(0, 1, [DATA, 0])), 0);
    b.cell.with(Nvme::drain).unwrap();
    check_save_load(&b.cell, || b.store(CC, 4, 0));
    b.cell.reset(ResetKind::Cold);
    check_reset(&b.cell, || b.machine.bus.write_config(DEVFN, 0x3c, 1, 5));
    let body = String::from_utf8(Bench::started().cell.save().body).unwrap();
    for (from, to) in
        [("\"tail\":2", "\"tail\":99"), ("\"entries\":8", "\"entries\":0"), ("\"completion\":1", "\"completion\":7")]
    {
        assert!(body.contains(from), "{from}: {body}");
        let mut saved = b.cell.save();
        saved.body = body.replace(from, to).into_bytes();
        assert!(b.cell.load(&saved).is_err(), "{from}");
    }
}

#[test]
fn any_command_and_any_access() {
    fuzz::fuzz("nvme", |random| {
        let mut b = bench_with(MemoryDisk::new(64), random.below(2) == 0);
        if random.below(8) != 0 {
            b.enable();
        }
        if random.below(8) != 0 {
            b = b.start();
        }
        let number = |random: &mut Random| fuzz::number(random, 0..RAM_LEN, &[AT, AT + DOORBELLS, MSIX_AT]);
        for _ in 0..random.below(200) {
            match random.below(8) {
                0 => {
                    let at = ASQ_AT + random.below(0x5000);
                    let value = number(random);
                    let _ = b.ram.store(at & !7, 8, value);
                }
                1 => {
                    let value = number(random);
                    fuzz::access(&b.cell, random, 0x40, value);
                }
                2 => {
                    let (value, doorbell) = (random.below(u64::from(ENTRIES) + 2), random.below(6));
                    b.cell.with(|nvme| nvme.ring(doorbell, value as u32)).unwrap();
                }
                3 if random.below(8) == 0 => {
                    let (at, value) = (random.next() as u8 & 0xfc, random.next() as u32);
                    b.machine.bus.write_config(DEVFN, at, 4, value);
                }
                _ => {
                    let queue = random.below(2) as usize;
                    let opcode = if random.below(16) == 0 { random.next() as u8 } else { random.below(13) as u8 };
                    let mut words = [0; 6];
                    words.fill_with(|| match random.below(3) {
                        0 => random.next() as u32,
                        1 => (random.below(40) | random.below(16) << 16) as u32,
                        _ => random.below(8) as u32,
                    });
                    let prp = [number(random), number(random)];
                    let namespace = if random.below(8) == 0 { random.next() as u32 } else { 1 };
                    // As the driver that it is not, without looking at completions.
                    let bytes: Vec<u8> =
                        command(opcode, namespace, prp, words).iter().flat_map(|word| word.to_le_bytes()).collect();
                    let base = if queue == 0 { ASQ_AT } else { SQ_AT };
                    let _ = b.ram.write(base + u64::from(b.tails[queue]) * 64, &bytes);
                    b.tails[queue] = (b.tails[queue] + 1) % ENTRIES;
                    let tail = b.tails[queue];
                    b.cell.with(|nvme| nvme.ring(2 * queue as u64, tail)).unwrap();
                    if random.below(4) != 0 {
                        b.heads[queue] = (b.heads[queue] + 1) % ENTRIES;
                        let head = b.heads[queue];
                        b.cell.with(|nvme| nvme.ring(2 * queue as u64 + 1, head)).unwrap();
                    }
                }
            }
        }
        b.cell.with(Nvme::drain).unwrap();
        fuzz::finish(&b.cell);
    });
}
