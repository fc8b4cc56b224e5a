use super::*;
use crate::fuzz;
use crate::testing::{Poke, check_reset, check_save_load};
use crate::virtio::testing::{DATA, Driver, MemoryDisk, RAM, RAM_LEN, WRITE};
use vm::Part;

const ALL: u64 = u64::MAX;
const HEAD: u64 = DATA;
const ANSWER: u64 = DATA + 0x100;
const BUF: u64 = DATA + 0x1000;

fn host(disk: &Arc<MemoryDisk>, synchronous: bool) -> VirtioScsi {
    let disc: Arc<MemoryDisk> = MemoryDisk::new(16);
    let units = [
        ((0, 0), Unit::disk(disk.clone(), "a")),
        ((0, 2), Unit::disk(disk.clone(), "b")),
        ((3, 0), Unit::cdrom(Some(disc), "")),
    ];
    VirtioScsi::new(BTreeMap::from(units), synchronous).unwrap()
}

fn driver(disk: &Arc<MemoryDisk>) -> Driver<VirtioScsi> {
    let mut driver = Driver::started(host(disk, false), false, ALL);
    for (target, lun) in [(0, 0), (0, 2), (3, 0)] {
        assert_eq!(
            request(&mut driver, [1, target, 0x40, lun, 0, 0, 0, 0], &[0; 6], &[]).1,
            CHECK_CONDITION,
            "attention"
        );
    }
    driver
}

fn head(d: &Driver<VirtioScsi>, lun: [u8; 8], cdb: &[u8]) {
    let mut bytes = [&lun[..], &77u64.to_le_bytes(), &[0; 3], cdb].concat();
    bytes.resize(51, 0);
    d.store(HEAD, &bytes);
    d.store(ANSWER, &[0xee; 108]);
}

fn buffers(data: &[(u64, u32, u16)]) -> Vec<(u64, u32, u16)> {
    let (input, output): (Vec<_>, Vec<_>) = data.iter().partition(|(_, _, flags)| flags & WRITE != 0);
    [&[(HEAD, 51, 0)], &output[..], &[(ANSWER, 108, WRITE)], &input[..]].concat()
}

/// Response, status, sense key and code, residual.
fn answer(d: &Driver<VirtioScsi>) -> (u8, u8, (u8, u8), u32) {
    let bytes = d.load(ANSWER, 108);
    let sense = if bytes[0] == 18 { (bytes[14], bytes[24]) } else { (0, 0) };
    (bytes[11], bytes[10], sense, u32::from_le_bytes(bytes[4..8].try_into().unwrap()))
}

#[track_caller]
fn request(d: &mut Driver<VirtioScsi>, lun: [u8; 8], cdb: &[u8], data: &[(u64, u32, u16)]) -> (u8, u8, (u8, u8), u32) {
    head(d, lun, cdb);
    d.transact(REQUEST, &buffers(data));
    answer(d)
}

const LUN0: [u8; 8] = [1, 0, 0x40, 0, 0, 0, 0, 0];
const CD: [u8; 8] = [1, 3, 0, 0, 0, 0, 0, 0];

fn read10(first: u8, n: u8) -> [u8; 10] {
    [0x28, 0, 0, 0, 0, first, 0, 0, n, 0]
}

#[test]
fn blocks_travel() {
    for synchronous in [false, true] {
        let disk = MemoryDisk::new(2048);
        let mut d = Driver::started(host(&disk, synchronous), false, ALL);
        assert_eq!(request(&mut d, LUN0, &[0; 6], &[]), (OK, CHECK_CONDITION, (6, 0x29), 0));
        let data = [(BUF, 512, WRITE), (BUF + 0x800, 1024, WRITE)];
        assert_eq!(request(&mut d, LUN0, &read10(3, 3), &data), (OK, GOOD, (0, 0), 0));
        let expect = disk.bytes.lock().unwrap()[3 * 512..6 * 512].to_vec();
        assert_eq!([d.load(BUF, 512), d.load(BUF + 0x800, 1024)].concat(), expect);
        assert_eq!(
            request(&mut d, LUN0, &read10(3, 1), &data),
            (OK, GOOD, (0, 0), 1024),
            "less than there is room for"
        );
        assert_eq!(request(&mut d, LUN0, &read10(3, 8), &data), (OK, GOOD, (0, 0), 0), "more");
        d.store(BUF, &[0x5a; 1024]);
        let write = [0x2a, 8, 0, 0, 0, 9, 0, 0, 2, 0];
        assert_eq!(request(&mut d, LUN0, &write, &[(BUF, 1024, 0)]), (OK, GOOD, (0, 0), 0));
        assert_eq!(disk.bytes.lock().unwrap()[9 * 512..11 * 512], [0x5a; 1024]);
        assert_eq!(disk.calls.lock().unwrap().last().unwrap(), "flush");
        assert_eq!(request(&mut d, LUN0, &write, &[(BUF, 1023, 0)]).0, FAILURE, "fewer bytes than blocks");
        // More than a chunk, and a pattern.
        let long = [0x28, 0, 0, 0, 0, 0, 0, 4, 0, 0];
        assert_eq!(request(&mut d, LUN0, &long, &[(BUF, 1024 * 512, WRITE)]), (OK, GOOD, (0, 0), 0));
        assert_eq!(d.load(BUF, 1024 * 512), disk.bytes.lock().unwrap()[..1024 * 512]);
        let same = [0x41, 0, 0, 0, 0, 1, 0, 0, 2, 0];
        assert_eq!(request(&mut d, LUN0, &same, &[(BUF + 512, 512, 0)]).1, GOOD);
        assert_eq!(disk.bytes.lock().unwrap()[1024..1536], d.load(BUF + 512, 512));
        d.store(BUF, &[&[0, 22, 0, 16, 0, 0, 0, 0][..], &5u64.to_be_bytes(), &[0, 0, 0, 2, 0, 0, 0, 0]].concat());
        assert_eq!(request(&mut d, LUN0, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], &[(BUF, 24, 0)]).1, GOOD);
        assert_eq!(disk.calls.lock().unwrap().last().unwrap(), "discard 2560 1024");
    }
}

#[test]
fn units_and_targets() {
    let disk = MemoryDisk::new(8);
    let mut d = driver(&disk);
    let inquiry = [0x12, 0, 0, 0, 36, 0];
    let mut look = |lun| (request(&mut d, lun, &inquiry, &[(BUF, 36, WRITE)]), d.load(BUF, 1)[0]);
    assert_eq!(look(LUN0), ((OK, GOOD, (0, 0), 0), 0));
    assert_eq!(look(CD), ((OK, GOOD, (0, 0), 0), 5));
    assert_eq!(look([1, 0, 0x40, 1, 0, 0, 0, 0]), ((OK, GOOD, (0, 0), 0), 0x7f));
    for lun in [[1, 1, 0x40, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0x41, 0, 0, 0, 0, 0], [0xff; 8]] {
        assert_eq!(look(lun).0, (BAD_TARGET, GOOD, (0, 0), 36), "{lun:?}");
    }
    assert_eq!(request(&mut d, [1, 0, 0x40, 1, 0, 0, 0, 0], &[0; 6], &[]), (OK, CHECK_CONDITION, (5, 0x25), 0));
    let report = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    assert_eq!(request(&mut d, LUN0, &report, &[(BUF, 64, WRITE)]).3, 64 - 24);
    assert_eq!((d.load(BUF + 3, 1)[0], d.load(BUF + 17, 1)[0]), (16, 2));
    assert_eq!(request(&mut d, CD, &read10(1, 1), &[(BUF, 2048, WRITE)]), (OK, GOOD, (0, 0), 0));
}

#[test]
fn the_hosts_errors_are_told() {
    let disk = MemoryDisk::new(8);
    let mut d = driver(&disk);
    disk.failing.store(true, Ordering::SeqCst);
    assert_eq!(request(&mut d, LUN0, &read10(0, 1), &[(BUF, 512, WRITE)]), (OK, CHECK_CONDITION, (3, 0x11), 512));
    assert_eq!(request(&mut d, LUN0, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[(BUF, 512, 0)]).2, (3, 0x0c));
    assert_eq!(request(&mut d, LUN0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]).2, (3, 0x0c));
    assert!(!d.needs_reset());
}

#[test]
fn requests_that_break_the_device() {
    let cases: [&[(u64, u32, u16)]; 4] = [
        &[(HEAD, 50, 0), (ANSWER, 108, WRITE)],
        &[(HEAD, 51, 0), (ANSWER, 107, WRITE)],
        &[(HEAD, 51, 0)],
        &[(ANSWER, 108, WRITE)],
    ];
    for chain in cases {
        let mut d = driver(&MemoryDisk::new(8));
        d.chain(REQUEST, 0, chain);
        d.offer(REQUEST, 0);
        d.kick(REQUEST);
        assert!(d.needs_reset());
    }
    for chain in [&[(HEAD, 3, 0), (ANSWER, 8, WRITE)][..], &[(HEAD, 24, 0)]] {
        let mut d = driver(&MemoryDisk::new(8));
        d.store(HEAD, &[0; 24]);
        d.chain(CONTROL, 0, chain);
        d.offer(CONTROL, 0);
        d.kick(CONTROL);
        assert!(d.needs_reset());
    }
}

fn control(d: &mut Driver<VirtioScsi>, function: u32, lun: [u8; 8]) -> u8 {
    d.store(HEAD, &[&0u32.to_le_bytes()[..], &function.to_le_bytes(), &lun, &77u64.to_le_bytes()].concat());
    assert_eq!(d.transact(CONTROL, &[(HEAD, 24, 0), (ANSWER, 1, WRITE)]), 1);
    d.load(ANSWER, 1)[0]
}

#[test]
fn task_management() {
    let mut d = driver(&MemoryDisk::new(8));
    for (function, lun, response) in [
        (0, LUN0, OK),
        (2, LUN0, OK),
        (6, LUN0, OK),
        (99, LUN0, REJECTED),
        (5, [1, 0, 0x40, 9, 0, 0, 0, 0], INCORRECT_LUN),
        (5, [1, 9, 0x40, 0, 0, 0, 0, 0], BAD_TARGET),
        (5, LUN0, OK),
    ] {
        assert_eq!(control(&mut d, function, lun), response, "{function} {lun:?}");
    }
    assert_eq!(request(&mut d, LUN0, &[0; 6], &[]).2, (6, 0x29), "the unit was reset");
    assert_eq!(request(&mut d, [1, 0, 0x40, 2, 0, 0, 0, 0], &[0; 6], &[]).1, GOOD, "the other was not");
    d.store(HEAD, &1u32.to_le_bytes());
    assert_eq!(d.transact(CONTROL, &[(HEAD, 16, 0), (ANSWER, 5, WRITE)]), 5, "asynchronous notifications");
    assert_eq!(d.load(ANSWER, 5), [0; 5]);
}

/// A read is held up in the disk and another one waits; `f` runs meanwhile.
fn with_held_requests(f: impl FnOnce(&mut Driver<VirtioScsi>, std::sync::MutexGuard<'_, ()>)) {
    let disk = MemoryDisk::new(2048);
    let mut d = driver(&disk);
    let gate = disk.gate.lock().unwrap();
    let before = disk.entered.load(Ordering::SeqCst);
    head(&d, LUN0, &[0x28, 0, 0, 0, 0, 0, 0, 4, 0, 0]);
    for first in [0, 8] {
        // Both use the same answer; the second one is what is there in the end.
        d.chain(REQUEST, first, &buffers(&[(BUF, 1024 * 512, WRITE)]));
        d.offer(REQUEST, first);
    }
    d.kick(REQUEST);
    d.wait(|| disk.entered.load(Ordering::SeqCst) == before + 1);
    f(&mut d, gate);
}

#[test]
fn aborted_commands_end_before_the_function() {
    with_held_requests(|d, gate| {
        let before = d.used_index(REQUEST);
        d.store(DATA + 0x400, &[&[0; 4][..], &1u32.to_le_bytes(), &LUN0, &[0; 8]].concat());
        d.chain(CONTROL, 0, &[(DATA + 0x400, 24, 0), (DATA + 0x500, 1, WRITE)]);
        d.offer(CONTROL, 0);
        d.kick(CONTROL);
        drop(gate);
        d.wait_used(CONTROL, 1);
        assert_eq!(d.used_index(REQUEST), before + 2);
        assert_eq!(answer(d).0, ABORTED);
    });
}

#[test]
fn a_snapshot_does_them_again_and_a_reset_forgets() {
    with_held_requests(|d, gate| {
        let saved = d.cell.save();
        drop(gate);
        let used = d.used_index(REQUEST);
        d.wait_used(REQUEST, 5);
        d.store(ANSWER, &[0xee; 108]);
        d.store(d.used_ring(REQUEST) + 2, &3u16.to_le_bytes());
        d.cell.load(&saved).unwrap();
        d.cell.settle();
        d.wait_used(REQUEST, 5);
        assert_eq!((answer(d).0, used <= 5), (OK, true));
    });
    with_held_requests(|d, gate| {
        let (cell, used) = (d.cell.clone(), d.used_index(REQUEST));
        let cancel = cell.with(|transport| transport.device().executor.cancel.clone()).unwrap();
        let reset = std::thread::spawn(move || cell.w(0x70, 0));
        while !cancel.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        drop(gate);
        reset.join().unwrap();
        assert_eq!((d.used_index(REQUEST), d.load(ANSWER, 1)), (used, vec![0xee]));
    });
}

#[test]
fn events_of_changed_media() {
    let mut d = driver(&MemoryDisk::new(8));
    let change = |d: &Driver<VirtioScsi>, disc| d.cell.with(|t| t.device().set_medium((3, 0), disc)).unwrap();
    change(&d, None);
    assert_eq!(d.transact(EVENT, &[(BUF, 16, WRITE)]), 16);
    assert_eq!(d.load(BUF, 16), [3, 0, 0, 0, 1, 3, 0x40, 0, 0, 0, 0, 0, 0x3a, 0, 0, 0]);
    assert_eq!(request(&mut d, CD, &[0; 6], &[]).2, (2, 0x3a));
    for _ in 0..20 {
        change(&d, Some(MemoryDisk::new(16)));
    }
    assert_eq!(d.transact(EVENT, &[(BUF, 16, WRITE)]), 16);
    assert_eq!((d.load(BUF + 3, 1)[0], d.load(BUF + 12, 1)[0]), (0x80, 0x28), "some were lost");
    assert_eq!(request(&mut d, CD, &[0; 6], &[]).2, (6, 0x28));
}

#[test]
fn configuration_space() {
    let d = driver(&MemoryDisk::new(8));
    let words: Vec<u64> = (0..9).map(|n| d.cell.r(0x100 + 4 * n)).collect();
    assert_eq!(words, [1, 254, 0x10000, 128, 16, 96, 32, 0x00ff_0000, 255]);
    d.cell.w(0x114, 20);
    d.cell.w(0x118, 16);
    d.cell.w(0x118, 261);
    d.cell.w(0x114, 253);
    assert_eq!((d.cell.r(0x114), d.cell.r(0x118)), (20, 16));
}

#[test]
fn saved_loaded_and_reset() {
    let d = driver(&MemoryDisk::new(8));
    check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
    let mut d = Driver::new(host(&MemoryDisk::new(8), false), false);
    check_reset(&d.cell.clone(), || d.start(ALL));
}

#[test]
fn any_request() {
    fuzz::fuzz("virtio-scsi", |random| {
        let disk = MemoryDisk::new(64);
        let mut d = Driver::started(host(&disk, random.below(2) == 0), random.below(4) == 0, ALL);
        for _ in 0..random.below(100) {
            let mut cdb = [0; 32];
            cdb.fill_with(|| if random.below(2) == 0 { random.below(3) as u8 } else { random.next() as u8 });
            let known = [
                0, 3, 8, 0xa, 0x12, 0x15, 0x1a, 0x25, 0x28, 0x2a, 0x41, 0x42, 0x43, 0x46, 0x4a, 0x55, 0x5a, 0x88, 0x93,
                0x9e, 0xa0, 0xbe,
            ];
            cdb[0] = known[random.below(known.len() as u64) as usize];
            let lun =
                if random.below(8) == 0 { random.next().to_le_bytes() } else { [LUN0, CD][random.below(2) as usize] };
            head(&d, lun, &cdb);
            let mut chain = Vec::new();
            for _ in 0..random.below(3) {
                let (at, len) = (fuzz::number(random, RAM..RAM + RAM_LEN, &[]), fuzz::number(random, 0..0x1000, &[]));
                chain.push((at, len as u32, if random.below(2) == 0 { WRITE } else { 0 }));
            }
            // Mostly buffers that are in RAM, so that more than the ring is reached.
            if random.below(4) != 0 {
                chain = vec![(BUF, 1 + random.below(0x4000) as u32, if random.below(2) == 0 { WRITE } else { 0 })];
            }
            let queue = if random.below(6) == 0 { random.below(3) as usize } else { REQUEST };
            d.chain(queue, 0, &buffers(&chain));
            d.offer(queue, 0);
            d.kick(queue);
            if random.below(16) == 0 {
                d.store(RAM + random.below(0xc000), &(random.next() & random.next()).to_le_bytes());
            }
            let value = random.next();
            fuzz::access(&d.cell, random, 0x200, value);
            if d.needs_reset() && random.below(2) == 0 {
                d.start(ALL);
            }
        }
        let _ = d.cell.with(|transport| transport.drain());
        fuzz::finish(&d.cell);
    });
}
