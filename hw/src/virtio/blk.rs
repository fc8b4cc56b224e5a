//! Block device (virtio 1.2, 5.2) over a [`BlockDev`].
//!
//! Requests run on a thread of the device, one after the other in the order in which they were made available, so that a
//! vCPU never waits for the host's disk. What is finished waits in a list until the transport settles.

use crate::virtio::queue::{Chain, Malformed, Rings};
use crate::virtio::worker::Worker;
use crate::virtio::{VirtioDevice, Wake, feature};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use virtio_bindings::virtio_blk as spec;
use vm::Regs;
use vm::blockdev::{BlockDev, BlockError};

/// Bytes of a sector, the unit of positions whatever the block size (5.2.6).
const SECTOR: u64 = 512;
/// Descriptors of the queue.
const QUEUE_SIZE: u16 = 256;
/// Bytes copied at a time between guest RAM and the disk.
const CHUNK: usize = 256 << 10;
/// Segments of a DISCARD or WRITE_ZEROES request.
const RANGES_MAX: u32 = 32;
/// Sectors of such a segment: 1 GiB, so that one request does not occupy the host for long.
const RANGE_SECTORS_MAX: u32 = 1 << 21;
/// Bytes of a device's identification (5.2.6, VIRTIO_BLK_T_GET_ID).
const ID_LEN: usize = spec::VIRTIO_BLK_ID_BYTES as usize;
/// Bytes before the data of every request.
const HEADER_LEN: u64 = 16;

// 5.2.6: status byte.
const OK: u8 = spec::VIRTIO_BLK_S_OK as u8;
const IO_ERROR: u8 = spec::VIRTIO_BLK_S_IOERR as u8;
const UNSUPPORTED: u8 = spec::VIRTIO_BLK_S_UNSUPP as u8;

/// How a disk is presented.
#[derive(Clone, Debug, Default)]
pub struct BlkOptions {
    /// What GET_ID gives; at most 20 bytes of it.
    pub serial: String,
    /// Runs requests inside the notification instead of on a thread: slower, but repeatable.
    pub synchronous: bool,
}

/// The saved state beyond the ring.
#[derive(Debug, Serialize, Deserialize)]
pub struct BlkRegs {
    /// The write cache is on (5.2.4, writeback).
    writeback: bool,
    /// Features that the driver accepted.
    features: u64,
}

impl Default for BlkRegs {
    fn default() -> Self {
        Self { writeback: true, features: 0 }
    }
}

impl Regs for BlkRegs {}

/// The device.
pub struct VirtioBlk {
    disk: Arc<Disk>,
    worker: Option<Worker<Request, (u16, u32)>>,
    /// Chains handed to the worker and not finished yet.
    ahead: u16,
}

/// What requests need, on whichever thread.
struct Disk {
    dev: Arc<dyn BlockDev>,
    serial: String,
    /// Set while requests are to end early because their result is not wanted any more.
    cancel: Arc<AtomicBool>,
}

/// A request as the driver made it, with what of the negotiation it depends on.
struct Request {
    chain: Chain,
    kind: u32,
    sector: u64,
    features: u64,
    /// Writes are durable when they finish (5.2.6.2).
    write_through: bool,
}

impl Request {
    fn parse(chain: Chain, regs: &BlkRegs) -> Result<Self, Malformed> {
        let mut header = [0; HEADER_LEN as usize];
        chain.readable.read(0, &mut header).ok_or(Malformed("request without a header"))?;
        if chain.writable.is_empty() {
            return Err(Malformed("request without a status byte"));
        }
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let has = |bit: u32| regs.features & 1 << bit != 0;
        let write_through =
            if has(spec::VIRTIO_BLK_F_CONFIG_WCE) { !regs.writeback } else { !has(spec::VIRTIO_BLK_F_FLUSH) };
        Ok(Self {
            chain,
            kind: u32::from_le_bytes([k0, k1, k2, k3]),
            sector: u64::from_le_bytes(sector),
            features: regs.features,
            write_through,
        })
    }

    /// Bytes between header and status that the driver gives or wants.
    fn data_len(&self) -> (u64, u64) {
        (self.chain.readable.len().saturating_sub(HEADER_LEN), self.chain.writable.len().saturating_sub(1))
    }
}

/// Why a request failed; the host's own trouble is the disk's to report.
enum Failure {
    Io,
    Unsupported,
}

impl From<BlockError> for Failure {
    fn from(error: BlockError) -> Self {
        vm::log!(GuestError, "virtio-blk: request failed: {error}");
        Failure::Io
    }
}

impl Disk {
    /// Carries out `request` and stores its status; the number of bytes written to the chain.
    fn execute(&self, request: &Request, bounce: &mut Vec<u8>) -> u32 {
        let (status, data) = match self.transfer(request, bounce) {
            Ok(len) => (OK, len),
            Err(Failure::Io) => (IO_ERROR, 0),
            Err(Failure::Unsupported) => (UNSUPPORTED, 0),
        };
        let last = request.chain.writable.len().saturating_sub(1);
        if self.cancel.load(Ordering::Acquire) || request.chain.writable.write(last, &[status]).is_none() {
            return 0;
        }
        // The used length counts from the start of the buffers; with data missing in the middle only what is before.
        if data == last { u32::try_from(last + 1).unwrap_or(u32::MAX) } else { u32::try_from(data).unwrap_or(u32::MAX) }
    }

    fn transfer(&self, request: &Request, bounce: &mut Vec<u8>) -> Result<u64, Failure> {
        let has = |bit: u32| request.features & 1 << bit != 0;
        match request.kind {
            spec::VIRTIO_BLK_T_IN => self.read(request, bounce),
            spec::VIRTIO_BLK_T_OUT => {
                self.write(request, bounce)?;
                if request.write_through {
                    self.dev.flush()?;
                }
                Ok(0)
            }
            spec::VIRTIO_BLK_T_FLUSH => {
                self.dev.flush()?;
                Ok(0)
            }
            spec::VIRTIO_BLK_T_GET_ID => {
                let mut id = [0; ID_LEN];
                for (to, from) in id.iter_mut().zip(self.serial.bytes()) {
                    *to = from;
                }
                let n = usize::try_from(request.data_len().1).map_or(ID_LEN, |room| room.min(ID_LEN));
                request.chain.writable.write(0, id.get(..n).unwrap_or(&id)).ok_or(Failure::Io)?;
                Ok(n as u64)
            }
            spec::VIRTIO_BLK_T_DISCARD if has(spec::VIRTIO_BLK_F_DISCARD) => {
                self.ranges(request, 0, |offset, len| self.dev.discard(offset, len))
            }
            spec::VIRTIO_BLK_T_WRITE_ZEROES if has(spec::VIRTIO_BLK_F_WRITE_ZEROES) => {
                let unmap = spec::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
                self.ranges(request, unmap, |offset, len| self.dev.write_zeroes(offset, len))
            }
            _ => Err(Failure::Unsupported),
        }
    }

    /// The byte position of `len` bytes from `sector` on, which must be whole sectors of the disk.
    fn place(&self, sector: u64, len: u64) -> Result<u64, Failure> {
        let offset = sector.checked_mul(SECTOR).filter(|_| len.is_multiple_of(SECTOR)).ok_or(Failure::Io)?;
        self.dev.check_range(offset, len)?;
        Ok(offset)
    }

    /// Calls `step` with each part of `len` bytes: where it starts, and as many bytes of `bounce`.
    fn in_chunks(
        &self,
        len: u64,
        bounce: &mut Vec<u8>,
        mut step: impl FnMut(u64, &mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut done = 0;
        while done < len {
            if self.cancel.load(Ordering::Acquire) {
                return Err(Failure::Io);
            }
            let n = usize::try_from(len - done).map_or(CHUNK, |left| left.min(CHUNK));
            if bounce.len() < n {
                bounce.resize(n, 0);
            }
            step(done, bounce.get_mut(..n).ok_or(Failure::Io)?)?;
            done += n as u64;
        }
        Ok(())
    }

    fn read(&self, request: &Request, bounce: &mut Vec<u8>) -> Result<u64, Failure> {
        let (_, len) = request.data_len();
        let offset = self.place(request.sector, len)?;
        self.in_chunks(len, bounce, |done, buf| {
            self.dev.read_at(offset + done, buf)?;
            request.chain.writable.write(done, buf).ok_or(Failure::Io)
        })?;
        Ok(len)
    }

    fn write(&self, request: &Request, bounce: &mut Vec<u8>) -> Result<(), Failure> {
        let (len, _) = request.data_len();
        let offset = self.place(request.sector, len)?;
        if self.dev.read_only() {
            return Err(BlockError::ReadOnly.into());
        }
        self.in_chunks(len, bounce, |done, buf| {
            request.chain.readable.read(HEADER_LEN + done, buf).ok_or(Failure::Io)?;
            Ok(self.dev.write_at(offset + done, buf)?)
        })
    }

    /// Does `each` to every segment (5.2.6, struct virtio_blk_discard_write_zeroes) after checking all of them.
    fn ranges(
        &self,
        request: &Request,
        flags_known: u32,
        each: impl Fn(u64, u64) -> Result<(), BlockError>,
    ) -> Result<u64, Failure> {
        let (len, _) = request.data_len();
        if len == 0 || !len.is_multiple_of(16) || len / 16 > RANGES_MAX.into() {
            return Err(Failure::Io);
        }
        if self.dev.read_only() {
            return Err(BlockError::ReadOnly.into());
        }
        let mut ranges = Vec::new();
        for index in 0..len / 16 {
            let mut raw = [0; 16];
            request.chain.readable.read(HEADER_LEN + index * 16, &mut raw).ok_or(Failure::Io)?;
            let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = raw;
            let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
            let flags = u32::from_le_bytes(flags);
            if flags & !flags_known != 0 {
                return Err(Failure::Unsupported);
            }
            if sectors > RANGE_SECTORS_MAX {
                return Err(Failure::Io);
            }
            let len = u64::from(sectors) * SECTOR;
            ranges.push((self.place(u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]), len)?, len));
        }
        for (offset, len) in ranges {
            if self.cancel.load(Ordering::Acquire) {
                return Err(Failure::Io);
            }
            each(offset, len)?;
        }
        Ok(0)
    }
}

impl VirtioBlk {
    /// A disk with the contents `dev`.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn new(dev: Arc<dyn BlockDev>, options: BlkOptions) -> std::io::Result<Self> {
        let cancel: Arc<AtomicBool> = Arc::default();
        let disk = Arc::new(Disk { dev, serial: options.serial, cancel: cancel.clone() });
        let mut worker = None;
        if !options.synchronous {
            let (disk, mut bounce) = (disk.clone(), Vec::new());
            let work = move |request: Request| (request.chain.head, disk.execute(&request, &mut bounce));
            worker = Some(Worker::start("virtio-blk", cancel, work)?);
        }
        Ok(Self { disk, worker, ahead: 0 })
    }
}

impl VirtioDevice for VirtioBlk {
    type Regs = BlkRegs;
    const MODEL: &'static str = "virtio-blk-device";
    const DEVICE_ID: u32 = 2;
    const QUEUE_SIZES: &'static [u16] = &[QUEUE_SIZE];

    fn features(&self) -> u64 {
        let mut bits = vec![
            spec::VIRTIO_BLK_F_SEG_MAX,
            spec::VIRTIO_BLK_F_BLK_SIZE,
            spec::VIRTIO_BLK_F_FLUSH,
            spec::VIRTIO_BLK_F_TOPOLOGY,
            spec::VIRTIO_BLK_F_CONFIG_WCE,
        ];
        if self.disk.dev.read_only() {
            bits.push(spec::VIRTIO_BLK_F_RO);
        } else {
            bits.extend([spec::VIRTIO_BLK_F_DISCARD, spec::VIRTIO_BLK_F_WRITE_ZEROES]);
        }
        // A synchronous disk stops after a bounded number of requests, perhaps before the ring is empty.
        let event_idx = if self.worker.is_some() { feature::EVENT_IDX } else { 0 };
        bits.iter().fold(event_idx, |features, bit| features | 1 << bit)
    }

    /// 5.2.4, struct virtio_blk_config.
    fn config(&self, regs: &BlkRegs) -> Vec<u8> {
        let mut config = Vec::with_capacity(60);
        config.extend((self.disk.dev.len_bytes() / SECTOR).to_le_bytes());
        config.extend(0u32.to_le_bytes()); // size_max: not offered
        config.extend((u32::from(QUEUE_SIZE) - 2).to_le_bytes()); // seg_max: header and status take one each
        config.extend([0; 4]); // geometry: not offered
        config.extend((SECTOR as u32).to_le_bytes()); // blk_size
        config.extend([0, 0]); // physical_block_exp, alignment_offset
        config.extend(1u16.to_le_bytes()); // min_io_size, in blocks
        config.extend(0u32.to_le_bytes()); // opt_io_size: no hint
        config.extend([regs.writeback.into(), 0]);
        config.extend(1u16.to_le_bytes()); // num_queues
        for _ in 0..2 {
            // max_discard_sectors, max_discard_seg, discard_sector_alignment, then the same for write_zeroes but for the
            // alignment, which is write_zeroes_may_unmap and three unused bytes.
            config.extend(RANGE_SECTORS_MAX.to_le_bytes());
            config.extend(RANGES_MAX.to_le_bytes());
            config.extend(1u32.to_le_bytes());
        }
        config
    }

    fn write_config(&mut self, regs: &mut BlkRegs, offset: usize, bytes: &[u8]) {
        // 5.2.5.1: writeback is the one field that a driver may write, and only if CONFIG_WCE was negotiated.
        if let (32, [value, ..]) = (offset, bytes)
            && regs.features & 1 << spec::VIRTIO_BLK_F_CONFIG_WCE != 0
        {
            regs.writeback = *value != 0;
        }
    }

    fn activate(&mut self, regs: &mut BlkRegs, features: u64) {
        regs.features = features;
    }

    fn process(&mut self, regs: &mut BlkRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let Some(worker) = &self.worker else {
            let mut bounce = Vec::new();
            for _ in 0..rings.size(0) {
                let Some(chain) = rings.peek(0, 0)? else { break };
                let request = Request::parse(chain, regs)?;
                let len = self.disk.execute(&request, &mut bounce);
                rings.finish(0, request.chain.head, len)?;
            }
            return Ok(());
        };
        for (head, len) in worker.take_done() {
            self.ahead = self.ahead.saturating_sub(1);
            rings.finish(0, head, len)?;
        }
        while let Some(chain) = rings.peek(0, self.ahead)? {
            worker.submit(Request::parse(chain, regs)?);
            self.ahead += 1;
        }
        Ok(())
    }

    fn abandon(&mut self) {
        if let Some(worker) = &self.worker {
            worker.cancel();
        }
        self.ahead = 0;
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
mod tests {
    use super::*;
    use crate::testing::{Poke, check_reset, check_save_load, hammer};
    use crate::virtio::testing::{DATA, Driver, MemoryDisk, RAM, WRITE};
    use std::sync::Mutex;
    use std::thread;
    use vm::Part;

    const HEADER: u64 = DATA;
    const STATUS: u64 = DATA + 0x100;
    const BUF: u64 = DATA + 0x1000;
    const ALL: u64 = u64::MAX;

    fn driver_with(disk: &Arc<MemoryDisk>, synchronous: bool, legacy: bool, features: u64) -> Driver<VirtioBlk> {
        let options = BlkOptions { serial: "a serial number of more than 20 bytes".into(), synchronous };
        Driver::started(VirtioBlk::new(disk.clone(), options).unwrap(), legacy, features)
    }

    fn driver(disk: &Arc<MemoryDisk>) -> Driver<VirtioBlk> {
        driver_with(disk, false, false, ALL)
    }

    fn header(driver: &Driver<VirtioBlk>, kind: u32, sector: u64) {
        driver.store(HEADER, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
        driver.store(STATUS, &[0xff]);
    }

    /// One request with these data buffers; status and used length.
    #[track_caller]
    fn request(driver: &mut Driver<VirtioBlk>, kind: u32, sector: u64, data: &[(u64, u32, u16)]) -> (u8, u32) {
        header(driver, kind, sector);
        let buffers = [&[(HEADER, 16, 0)], data, &[(STATUS, 1, WRITE)]].concat();
        let len = driver.transact(0, &buffers);
        (driver.load(STATUS, 1)[0], len)
    }

    #[test]
    fn reads_and_writes_with_each_interface_and_schedule() {
        for (synchronous, legacy) in [(false, false), (false, true), (true, false), (true, true)] {
            let disk = MemoryDisk::new(4096);
            let mut d = driver_with(&disk, synchronous, legacy, ALL);
            let (a, b) = (BUF, BUF + 0x8001);
            assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_IN, 3, &[(a, 512, WRITE), (b, 1024, WRITE)]), (OK, 1537));
            let expect = disk.bytes.lock().unwrap()[3 * 512..6 * 512].to_vec();
            assert_eq!([d.load(a, 512), d.load(b, 1024)].concat(), expect);
            d.wait(|| d.irq.get(0));
            assert_eq!(d.cell.r(0x60), 1);
            d.cell.w(0x64, 1);
            assert!(!d.irq.get(0));
            d.store(a, &[0x5a; 1000]);
            assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_OUT, 4095, &[(a, 12, 0), (a + 12, 500, 0)]), (OK, 1));
            assert_eq!(disk.bytes.lock().unwrap()[4095 * 512..], [0x5a; 512]);
            // More than a chunk.
            let long = CHUNK as u32 + 512;
            assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_IN, 0, &[(BUF, long, WRITE)]), (OK, long + 1));
            assert_eq!(d.load(BUF, long as usize), disk.bytes.lock().unwrap()[..long as usize]);
        }
    }

    #[test]
    fn identification_flush_and_unknown_requests() {
        let disk = MemoryDisk::new(8);
        let mut d = driver(&disk);
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_GET_ID, 0, &[(BUF, 20, WRITE)]), (OK, 21));
        assert_eq!(d.load(BUF, 20), *b"a serial number of m");
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_FLUSH, 0, &[]), (OK, 1));
        assert_eq!(*disk.calls.lock().unwrap(), ["flush"]);
        assert_eq!(request(&mut d, 2, 0, &[]).0, UNSUPPORTED);
        assert_eq!(request(&mut d, u32::MAX, 0, &[(BUF, 512, WRITE)]).0, UNSUPPORTED);
        let mut d = driver_with(&disk, false, false, 0);
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_DISCARD, 0, &[(BUF, 16, 0)]).0, UNSUPPORTED);
    }

    #[test]
    fn discard_and_write_zeroes() {
        let disk = MemoryDisk::new(64);
        let mut d = driver(&disk);
        let range = |sector: u64, sectors: u32, flags: u32| {
            [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
        };
        let (discard, zero) = (spec::VIRTIO_BLK_T_DISCARD, spec::VIRTIO_BLK_T_WRITE_ZEROES);
        let rows = [
            (discard, [range(1, 2, 0), range(9, 1, 0)].concat(), OK, vec!["discard 512 1024", "discard 4608 512"]),
            (zero, range(1, 2, 1), OK, vec!["zero 512 1024"]),
            (discard, range(1, 2, 1), UNSUPPORTED, vec![]),
            (zero, range(1, 2, 2), UNSUPPORTED, vec![]),
            (discard, [range(1, 2, 0), range(63, 2, 0)].concat(), IO_ERROR, vec![]),
            (zero, range(u64::MAX, 1, 0), IO_ERROR, vec![]),
            (zero, range(u64::MAX / 512, u32::MAX, 0), IO_ERROR, vec![]),
            (zero, vec![0; 15], IO_ERROR, vec![]),
            (zero, vec![0; 16 * 33], IO_ERROR, vec![]),
        ];
        for (kind, ranges, status, calls) in rows {
            disk.calls.lock().unwrap().clear();
            d.store(BUF, &ranges);
            assert_eq!(request(&mut d, kind, 0, &[(BUF, ranges.len() as u32, 0)]).0, status, "{kind} {ranges:?}");
            assert_eq!(*disk.calls.lock().unwrap(), calls);
        }
    }

    #[test]
    fn errors_are_io_errors() {
        let disk = MemoryDisk::new(8);
        let mut d = driver(&disk);
        for kind in [spec::VIRTIO_BLK_T_IN, spec::VIRTIO_BLK_T_OUT] {
            let flags = if kind == spec::VIRTIO_BLK_T_IN { WRITE } else { 0 };
            for (sector, len) in [(8, 512), (7, 1024), (0, 511), (u64::MAX, 512), (u64::MAX / 512, 512)] {
                assert_eq!(request(&mut d, kind, sector, &[(BUF, len, flags)]).0, IO_ERROR, "{sector} {len}");
            }
        }
        assert!(disk.calls.lock().unwrap().is_empty());
        disk.failing.store(true, Ordering::SeqCst);
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_IN, 0, &[(BUF, 512, WRITE)]), (IO_ERROR, 0));
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_FLUSH, 0, &[]).0, IO_ERROR);
        assert!(!d.needs_reset());
        let disk = Arc::new(MemoryDisk { read_only: true, bytes: Mutex::new(vec![0; 512]), ..Default::default() });
        let mut d = driver(&disk);
        assert_ne!(d.offered() & 1 << spec::VIRTIO_BLK_F_RO, 0);
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_OUT, 0, &[(BUF, 512, 0)]).0, IO_ERROR);
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_DISCARD, 0, &[(BUF, 16, 0)]).0, UNSUPPORTED);
    }

    #[test]
    fn write_through_flushes_each_write() {
        let wce = 1 << spec::VIRTIO_BLK_F_CONFIG_WCE;
        let flush = 1 << spec::VIRTIO_BLK_F_FLUSH;
        let rows = [(0, None, true), (flush, None, false), (wce | flush, Some(1), false), (wce | flush, Some(0), true)];
        for (features, writeback, flushed) in rows {
            let disk = MemoryDisk::new(8);
            let mut d = driver_with(&disk, false, false, features);
            if let Some(value) = writeback {
                d.cell.write_n(0x120, 1, value).unwrap();
                assert_eq!(d.cell.read_n(0x120, 1), Ok(value));
            }
            assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_OUT, 0, &[(BUF, 512, 0)]).0, OK);
            assert_eq!(disk.calls.lock().unwrap().contains(&"flush".into()), flushed, "{features:#x} {writeback:?}");
        }
    }

    #[test]
    fn configuration_space() {
        let d = driver(&MemoryDisk::new(0x12345));
        assert_eq!(d.cell.read_n(0x100, 8), Ok(0x12345));
        assert_eq!((d.cell.r(0x100), d.cell.r(0x10c), d.cell.r(0x114)), (0x12345, 254, 512));
        assert_eq!((d.cell.read_n(0x120, 1), d.cell.read_n(0x122, 2)), (Ok(1), Ok(1)));
        assert_eq!((d.cell.r(0x124), d.cell.r(0x128), d.cell.r(0x12c)), (1 << 21, 32, 1));
        assert_eq!((d.cell.read_n(0x138, 1), d.cell.read_n(0x13c, 8)), (Ok(1), Ok(0)));
        assert_eq!((d.cell.r(0x008), d.cell.r(0x034)), (2, 256));
    }

    #[test]
    fn requests_without_header_or_status_break_the_device() {
        let cases: [&[(u64, u32, u16)]; 3] =
            [&[(BUF, 15, 0), (STATUS, 1, WRITE)], &[(HEADER, 16, 0)], &[(STATUS, 1, WRITE)]];
        for buffers in cases {
            let mut d = driver(&MemoryDisk::new(8));
            d.chain(0, 0, buffers);
            d.offer(0, 0);
            d.kick(0);
            assert!(d.needs_reset());
            assert_eq!((d.used_index(0), d.cell.r(0x60), d.irq.get(0)), (0, 2, true));
            d.start(ALL);
            assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK, "a reset helps");
        }
    }

    #[test]
    fn many_requests_finish_in_order() {
        let disk = MemoryDisk::new(64);
        let mut d = driver(&disk);
        for round in 0..20u16 {
            for n in 0..4u16 {
                let at = HEADER + 32 * u64::from(n);
                d.store(at, &[&[0; 8][..], &u64::from(n + round).to_le_bytes()].concat());
                let buffer = BUF + 512 * u64::from(n);
                d.chain(0, 4 * n, &[(at, 16, 0), (buffer, 512, WRITE), (STATUS + u64::from(n), 1, WRITE)]);
                d.offer(0, 4 * n);
                d.kick(0);
            }
            d.wait_used(0, 4 * (round + 1));
            for n in 0..4u16 {
                assert_eq!(d.used(0, 4 * round + n), (4 * u32::from(n), 513));
                let sector = usize::from(n + round);
                assert_eq!(d.load(BUF + 512 * u64::from(n), 512), disk.bytes.lock().unwrap()[sector * 512..][..512]);
            }
        }
    }

    #[test]
    fn event_indexes_save_interrupts_and_notifications() {
        let mut d = driver(&MemoryDisk::new(8));
        let used_event = d.avail_ring(0) + 4 + 2 * u64::from(d.size);
        let avail_event = d.used_ring(0) + 4 + 8 * u64::from(d.size);
        d.store(d.avail_ring(0), &1u16.to_le_bytes()); // the flag has no meaning now
        for (used, wanted, interrupt) in [(0, 1, false), (1, 1, true), (2, 1, false), (3, 0xffff, false), (4, 4, true)]
        {
            d.store(used_event, &u16::to_le_bytes(wanted));
            assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
            d.cell.with(|transport| transport.drain()).unwrap();
            assert_eq!(d.irq.get(0), interrupt, "{used}");
            assert_eq!(d.load_u16(avail_event), used + 1, "to be notified of the next request");
            d.cell.w(0x64, 1);
        }
        let synchronous = driver_with(&MemoryDisk::new(8), true, false, ALL);
        assert_eq!(synchronous.offered() & feature::EVENT_IDX, 0);
    }

    /// A request is held up in the disk; `f` runs meanwhile, without the gate if it opens it.
    fn with_held_request(f: impl FnOnce(&mut Driver<VirtioBlk>, std::sync::MutexGuard<'_, ()>)) {
        let disk = MemoryDisk::new(8);
        let mut d = driver(&disk);
        let gate = disk.gate.lock().unwrap();
        header(&d, spec::VIRTIO_BLK_T_IN, 1);
        d.store(BUF, &[0xee; 512]);
        d.chain(0, 0, &[(HEADER, 16, 0), (BUF, 512, WRITE), (STATUS, 1, WRITE)]);
        d.offer(0, 0);
        d.kick(0);
        assert_eq!(d.used_index(0), 0, "the vCPU did not wait");
        d.wait(|| disk.entered.load(Ordering::SeqCst) == 1);
        f(&mut d, gate);
    }

    #[test]
    fn a_snapshot_with_requests_under_way_does_them_again() {
        with_held_request(|d, gate| {
            let saved = d.cell.save();
            drop(gate);
            d.wait_used(0, 1);
            // Back to the moment of the snapshot, in memory too.
            d.store(STATUS, &[0xff]);
            d.store(BUF, &[0xee; 512]);
            d.store(d.used_ring(0), &[0; 12]);
            d.cell.load(&saved).unwrap();
            d.cell.settle();
            d.wait_used(0, 1);
            assert_eq!((d.load(STATUS, 1), d.used(0, 0)), (vec![OK], (0, 513)));
            assert_ne!(d.load(BUF, 512), [0xee; 512]);
        });
    }

    #[test]
    fn drain_waits_and_reset_forgets() {
        with_held_request(|d, gate| {
            let cell = d.cell.clone();
            let drain = thread::spawn(move || cell.with(|transport| transport.drain()).unwrap());
            drop(gate);
            drain.join().unwrap();
            assert_eq!((d.used_index(0), d.irq.get(0)), (1, true));
        });
        with_held_request(|d, gate| {
            let cell = d.cell.clone();
            let cancel = cell.with(|transport| transport.device().disk.cancel.clone()).unwrap();
            let reset = thread::spawn(move || cell.w(0x70, 0));
            while !cancel.load(Ordering::Acquire) {
                thread::yield_now();
            }
            drop(gate);
            reset.join().unwrap();
            assert_eq!((d.used_index(0), d.load(STATUS, 1)), (0, vec![0xff]), "memory is not touched after a reset");
            assert!(!d.irq.get(0));
        });
        // Dropping the device ends its thread, also with a request under way.
        with_held_request(|d, gate| {
            let fresh = VirtioBlk::new(MemoryDisk::new(8), BlkOptions::default()).unwrap();
            let old = std::mem::replace(d, Driver::new(fresh, false));
            let ended = thread::spawn(move || drop(old));
            drop(gate);
            ended.join().unwrap();
        });
    }

    #[test]
    fn saved_loaded_and_reset() {
        let mut d = driver(&MemoryDisk::new(8));
        assert_eq!(request(&mut d, spec::VIRTIO_BLK_T_FLUSH, 0, &[]).0, OK);
        d.wait(|| d.irq.get(0));
        check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
        let disk = VirtioBlk::new(MemoryDisk::new(8), BlkOptions::default()).unwrap();
        let mut d = Driver::new(disk, false);
        check_reset(&d.cell.clone(), || d.start(ALL));
    }

    #[test]
    fn any_access_is_answered() {
        for legacy in [false, true] {
            let mut d = driver_with(&MemoryDisk::new(8), false, legacy, ALL);
            let cell = d.cell.clone();
            hammer(&cell, 10_000, |random| {
                if random.below(64) == 0 {
                    d.start(random.next());
                }
                let at = RAM + random.below(0x3000);
                d.store(at, &(random.next() & random.next()).to_le_bytes());
            });
        }
    }
}
