//! The driver's side of a memory-mapped virtio device, for tests, and a disk in memory.

use super::VirtioDevice;
use super::mmio::VirtioMmio;
use crate::testing::{Levels, Poke};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vm::blockdev::{BlockDev, BlockError};
use vm::{AddressSpace, Backing, DeviceCell, Gpa, IrqLine, Mapping, Ram};

pub const RAM: u64 = 0x4000_0000;
pub const RAM_LEN: u64 = 0x20_0000;
/// Free for a test's buffers up to the end of RAM.
pub const DATA: u64 = RAM + 0x10_0000;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// A descriptor: address, length, flags, next.
pub type Desc = (u64, u32, u16, u16);

pub struct Driver<D: VirtioDevice> {
    pub cell: Arc<DeviceCell<VirtioMmio<D>>>,
    pub space: Arc<AddressSpace>,
    pub irq: Arc<Levels>,
    /// Descriptors of each queue.
    pub size: u16,
    legacy: bool,
    avail: Vec<u16>,
}

impl<D: VirtioDevice> Driver<D> {
    /// A machine with RAM and the device, which is still as at power-on.
    pub fn new(device: D, legacy: bool) -> Self {
        let space = AddressSpace::new();
        let ram = Ram::new(RAM_LEN).unwrap();
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        space.map(Mapping { name: "ram".into(), gpa: Gpa(RAM), len: RAM_LEN, priority: 0, backing }).unwrap();
        let irq = Levels::new();
        let cell = VirtioMmio::cell(device, space.clone(), IrqLine::to(irq.clone(), 0), legacy);
        Self { cell, space, irq, size: 16, legacy, avail: vec![0; D::QUEUE_SIZES.len()] }
    }

    /// The same with a driver that accepts `features` of what is offered and has set up all queues.
    pub fn started(device: D, legacy: bool, features: u64) -> Self {
        let mut driver = Self::new(device, legacy);
        driver.start(features);
        driver
    }

    pub fn offered(&self) -> u64 {
        self.cell.w(0x14, 0);
        let low = self.cell.r(0x10);
        self.cell.w(0x14, 1);
        self.cell.r(0x10) << 32 | low
    }

    pub fn start(&mut self, features: u64) {
        let (cell, legacy) = (self.cell.clone(), self.legacy);
        cell.w(0x70, 0);
        cell.w(0x70, 3);
        let accepted = self.offered() & (features | super::feature::VERSION_1 | super::feature::INDIRECT_DESC);
        for word in 0..2 {
            cell.w(0x24, word);
            cell.w(0x20, accepted >> (32 * word) & 0xffff_ffff);
        }
        if legacy {
            cell.w(0x28, 4096);
        } else {
            cell.w(0x70, 11);
            assert_eq!(cell.r(0x70), 11, "features accepted");
        }
        for queue in 0..D::QUEUE_SIZES.len() {
            self.avail[queue] = 0;
            self.space.write(Gpa(self.desc(queue)), &[0; 0x2000]).unwrap();
            cell.w(0x30, queue as u64);
            cell.w(0x38, self.size.into());
            if legacy {
                cell.w(0x3c, 4096);
                cell.w(0x40, self.desc(queue) / 4096);
            } else {
                for (register, address) in
                    [(0x80, self.desc(queue)), (0x90, self.avail_ring(queue)), (0xa0, self.used_ring(queue))]
                {
                    cell.w(register, address & 0xffff_ffff);
                    cell.w(register + 4, address >> 32);
                }
                cell.w(0x44, 1);
            }
        }
        cell.w(0x70, if legacy { 7 } else { 15 });
    }

    pub fn desc(&self, queue: usize) -> u64 {
        RAM + 0x4000 * queue as u64
    }
    pub fn avail_ring(&self, queue: usize) -> u64 {
        self.desc(queue) + 16 * u64::from(self.size)
    }
    pub fn used_ring(&self, queue: usize) -> u64 {
        self.desc(queue) + 0x1000
    }

    pub fn store(&self, at: u64, bytes: &[u8]) {
        self.space.write(Gpa(at), bytes).unwrap();
    }
    pub fn load(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.space.read(Gpa(at), &mut bytes).unwrap();
        bytes
    }
    pub fn load_u16(&self, at: u64) -> u16 {
        self.space.view().load(Gpa(at), 2).unwrap() as u16
    }

    /// Writes descriptors to a table, from entry `first` on.
    pub fn table(&self, table: u64, first: u16, descs: &[Desc]) {
        for (index, (address, len, flags, next)) in (u64::from(first)..).zip(descs) {
            let raw = [&address.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
            self.store(table + 16 * index, &raw.concat());
        }
    }

    /// A chain in the descriptor table from entry `first` on: each buffer with its `NEXT` but the last.
    pub fn chain(&self, queue: usize, first: u16, buffers: &[(u64, u32, u16)]) {
        let last = buffers.len() - 1;
        let descs: Vec<Desc> = (first..)
            .zip(buffers.iter().enumerate())
            .map(
                |(n, (i, (address, len, flags)))| {
                    if i == last { (*address, *len, *flags, 0) } else { (*address, *len, flags | NEXT, n + 1) }
                },
            )
            .collect();
        self.table(self.desc(queue), first, &descs);
    }

    /// Makes the chain at `head` available, without telling the device.
    pub fn offer(&mut self, queue: usize, head: u16) {
        let index = self.avail[queue];
        let ring = self.avail_ring(queue);
        self.store(ring + 4 + 2 * u64::from(index % self.size), &head.to_le_bytes());
        self.set_avail(queue, index.wrapping_add(1));
    }

    pub fn set_avail(&mut self, queue: usize, index: u16) {
        self.avail[queue] = index;
        self.store(self.avail_ring(queue) + 2, &index.to_le_bytes());
    }

    pub fn kick(&self, queue: usize) {
        self.cell.w(0x50, queue as u64);
    }

    pub fn used_index(&self, queue: usize) -> u16 {
        self.load_u16(self.used_ring(queue) + 2)
    }

    /// The `index`-th used element: head and length.
    pub fn used(&self, queue: usize, index: u16) -> (u32, u32) {
        let at = self.used_ring(queue) + 4 + 8 * u64::from(index % self.size);
        let word = |at| self.space.view().load(Gpa(at), 4).unwrap() as u32;
        (word(at), word(at + 4))
    }

    /// Waits until the device has used `index` chains in all.
    #[track_caller]
    pub fn wait_used(&self, queue: usize, index: u16) {
        self.wait(|| self.used_index(queue) == index);
    }

    #[track_caller]
    pub fn wait(&self, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < end, "the device does not answer; status {:#x}", self.cell.r(0x70));
            std::thread::yield_now();
        }
    }

    /// Offers the chain of `buffers`, tells the device and waits for it; the used length.
    #[track_caller]
    pub fn transact(&mut self, queue: usize, buffers: &[(u64, u32, u16)]) -> u32 {
        let before = self.used_index(queue);
        self.chain(queue, 0, buffers);
        self.offer(queue, 0);
        self.kick(queue);
        self.wait_used(queue, before.wrapping_add(1));
        let (head, len) = self.used(queue, before);
        assert_eq!(head, 0);
        len
    }

    pub fn needs_reset(&self) -> bool {
        self.cell.r(0x70) & 0x40 != 0
    }
}

/// A disk in memory that can be made to fail or to wait.
#[derive(Default)]
pub struct MemoryDisk {
    pub bytes: Mutex<Vec<u8>>,
    pub calls: Mutex<Vec<String>>,
    pub read_only: bool,
    pub failing: std::sync::atomic::AtomicBool,
    /// Requests that have come, whether held or not.
    pub entered: std::sync::atomic::AtomicUsize,
    /// Held by a test to keep requests waiting.
    pub gate: Mutex<()>,
}

impl MemoryDisk {
    pub fn new(sectors: usize) -> Arc<Self> {
        let bytes = (0..sectors * 512).map(|i| (i / 512 + i) as u8).collect();
        Arc::new(Self { bytes: Mutex::new(bytes), ..Default::default() })
    }

    fn call(&self, text: String) -> Result<(), BlockError> {
        self.entered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        drop(self.gate.lock());
        self.calls.lock().unwrap().push(text);
        if self.failing.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(std::io::Error::other("the test says so").into());
        }
        Ok(())
    }

    fn fill(&self, offset: u64, len: u64, byte: u8) {
        self.bytes.lock().unwrap()[offset as usize..(offset + len) as usize].fill(byte);
    }
}

impl BlockDev for MemoryDisk {
    fn len_bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.check_range(offset, buf.len() as u64)?;
        self.call(format!("read {offset} {}", buf.len()))?;
        buf.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..][..buf.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.check_range(offset, buf.len() as u64)?;
        self.call(format!("write {offset} {}", buf.len()))?;
        self.bytes.lock().unwrap()[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
    fn flush(&self) -> Result<(), BlockError> {
        self.call("flush".into())
    }
    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.check_range(offset, len)?;
        self.call(format!("discard {offset} {len}"))?;
        self.fill(offset, len, 0xdd);
        Ok(())
    }
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.check_range(offset, len)?;
        self.call(format!("zero {offset} {len}"))?;
        self.fill(offset, len, 0);
        Ok(())
    }
}
