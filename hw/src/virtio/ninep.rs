//! 9P transport (virtio 1.2 names it as device type 9; "VirtIO 9P device" of Linux's net/9p/trans_virtio.c): one queue of
//! requests and answers, and the name by which a guest mounts the folder. The server is a host end ([`NinepServer`]).
//!
//! Requests are answered on a thread of the device, one after the other.
//!
//! Deviation: what a guest has open is not part of a snapshot; a guest that is loaded elsewhere has to mount again.

use crate::virtio::queue::{Chain, Malformed, Rings};
use crate::virtio::worker::Worker;
use crate::virtio::{VirtioDevice, Wake};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vm::ninep::NinepServer;

/// The configuration space has the name.
const F_MOUNT_TAG: u64 = 1;
/// Bytes of the name at most, so that every transport shows it.
pub const TAG_MAX: usize = 64;
/// Bytes of a request that are looked at; servers agree on less with their clients.
const REQUEST_MAX: u64 = 1 << 20;
/// Bytes before the body of an answer: its length, type and tag.
const HEADER_LEN: u64 = 7;

/// The device.
pub struct Virtio9p {
    server: Arc<dyn NinepServer>,
    tag: String,
    cancel: Arc<AtomicBool>,
    worker: Option<Worker<Chain, (u16, u32)>>,
    /// Chains handed to the worker and not finished yet.
    ahead: u16,
}

/// Answers a request; the number of bytes written.
fn answer(server: &dyn NinepServer, chain: &Chain, cancel: &AtomicBool) -> u32 {
    if cancel.load(Ordering::Acquire) {
        return 0;
    }
    let mut request = vec![0; chain.readable.len().min(REQUEST_MAX) as usize];
    let room = usize::try_from(chain.writable.len()).unwrap_or(usize::MAX);
    let reply = match chain.readable.read(0, &mut request) {
        Some(()) => server.serve(&request, room),
        None => return 0,
    };
    if cancel.load(Ordering::Acquire) {
        return 0;
    }
    chain.writable.write(0, &reply).map_or(0, |()| reply.len() as u32)
}

impl Virtio9p {
    /// A device through which `server`'s folder is mounted as `tag`, of which at most [`TAG_MAX`] bytes count.
    /// `synchronous` answers inside the notification instead of on a thread.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn new(server: Arc<dyn NinepServer>, tag: String, synchronous: bool) -> std::io::Result<Self> {
        let cancel: Arc<AtomicBool> = Arc::default();
        let mut worker = None;
        if !synchronous {
            let (server, seen) = (server.clone(), cancel.clone());
            let work = move |chain: Chain| (chain.head, answer(&*server, &chain, &seen));
            worker = Some(Worker::start("virtio-9p", cancel.clone(), work)?);
        }
        Ok(Self { server, tag, cancel, worker, ahead: 0 })
    }

    /// The next request, `ahead` after the finished ones.
    fn request(rings: &mut Rings<'_>, ahead: u16) -> Result<Option<Chain>, Malformed> {
        let Some(chain) = rings.peek(0, ahead)? else { return Ok(None) };
        // The least answer tells of an error.
        if chain.readable.len() < HEADER_LEN || chain.writable.len() < HEADER_LEN + 4 {
            return Err(Malformed("9P request without a header or room for an answer"));
        }
        Ok(Some(chain))
    }
}

impl VirtioDevice for Virtio9p {
    type Regs = ();
    const MODEL: &'static str = "virtio-9p-device";
    const DEVICE_ID: u32 = 9;
    const QUEUE_SIZES: &'static [u16] = &[128];

    fn features(&self) -> u64 {
        F_MOUNT_TAG
    }

    /// Length of the name and the name.
    fn config(&self, _regs: &()) -> Vec<u8> {
        let tag: Vec<u8> = self.tag.bytes().take(TAG_MAX).collect();
        [&(tag.len() as u16).to_le_bytes()[..], &tag].concat()
    }

    fn reset(&mut self, _regs: &mut ()) {
        self.server.reset();
    }

    fn process(&mut self, _regs: &mut (), rings: &mut Rings<'_>) -> Result<(), Malformed> {
        let Some(worker) = &self.worker else {
            for _ in 0..rings.size(0) {
                let Some(chain) = Self::request(rings, 0)? else { break };
                let len = answer(&*self.server, &chain, &self.cancel);
                rings.finish(0, chain.head, len)?;
            }
            return Ok(());
        };
        for (head, len) in worker.take_done() {
            self.ahead = self.ahead.saturating_sub(1);
            rings.finish(0, head, len)?;
        }
        while let Some(chain) = Self::request(rings, self.ahead)? {
            worker.submit(chain);
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
    use crate::fuzz;
    use crate::testing::{Poke, check_reset, check_save_load};
    use crate::virtio::testing::{DATA, Driver, RAM, RAM_LEN, WRITE};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    /// Gives back what it gets.
    #[derive(Default)]
    struct Echo {
        requests: Mutex<Vec<Vec<u8>>>,
        resets: AtomicUsize,
        gate: Mutex<()>,
    }

    impl NinepServer for Echo {
        fn serve(&self, request: &[u8], room: usize) -> Vec<u8> {
            self.requests.lock().unwrap().push(request.to_vec());
            drop(self.gate.lock());
            request.iter().copied().take(room).collect()
        }
        fn reset(&self) {
            self.resets.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn bench(synchronous: bool, legacy: bool) -> (Driver<Virtio9p>, Arc<Echo>) {
        let echo = Arc::new(Echo::default());
        let device = Virtio9p::new(echo.clone(), "folder".into(), synchronous).unwrap();
        (Driver::started(device, legacy, u64::MAX), echo)
    }

    #[test]
    fn requests_are_answered() {
        for (synchronous, legacy) in [(false, false), (true, false), (false, true)] {
            let (mut d, echo) = bench(synchronous, legacy);
            d.store(DATA, b"seven..and more");
            assert_eq!(
                d.transact(0, &[(DATA, 10, 0), (DATA + 10, 5, 0), (DATA + 0x100, 4, WRITE), (DATA + 0x200, 20, WRITE)]),
                15
            );
            assert_eq!([d.load(DATA + 0x100, 4), d.load(DATA + 0x200, 11)].concat(), b"seven..and more");
            assert_eq!(*echo.requests.lock().unwrap(), [b"seven..and more"]);
            assert_eq!(
                d.transact(0, &[(DATA, 15, 0), (DATA + 0x100, 11, WRITE)]),
                11,
                "no more than there is room for"
            );
        }
    }

    #[test]
    fn the_name_is_in_the_configuration() {
        let (d, _) = bench(false, false);
        assert_eq!(
            (d.cell.read_n(0x100, 2), d.cell.r(0x104), d.cell.r(8)),
            (Ok(6), u64::from(u32::from_le_bytes(*b"lder")), 9)
        );
        let long = Virtio9p::new(Arc::new(Echo::default()), "x".repeat(200), false).unwrap();
        assert_eq!(long.config(&()).len(), 2 + TAG_MAX);
    }

    #[test]
    fn requests_that_break_the_device() {
        let cases: [&[(u64, u32, u16)]; 3] =
            [&[(DATA, 6, 0), (DATA + 0x100, 11, WRITE)], &[(DATA, 7, 0), (DATA + 0x100, 10, WRITE)], &[(DATA, 7, 0)]];
        for chain in cases {
            let (mut d, _) = bench(false, false);
            d.chain(0, 0, chain);
            d.offer(0, 0);
            d.kick(0);
            assert!(d.needs_reset());
        }
    }

    #[test]
    fn a_reset_forgets_requests_and_closes_files() {
        let (mut d, echo) = bench(false, false);
        let before = echo.resets.load(Ordering::SeqCst);
        let gate = echo.gate.lock().unwrap();
        d.chain(0, 0, &[(DATA, 7, 0), (DATA + 0x100, 11, WRITE)]);
        d.offer(0, 0);
        d.kick(0);
        d.wait(|| echo.requests.lock().unwrap().len() == 1);
        let cell = d.cell.clone();
        let cancel = cell.with(|transport| transport.device().cancel.clone()).unwrap();
        let reset = std::thread::spawn(move || cell.w(0x70, 0));
        while !cancel.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        drop(gate);
        reset.join().unwrap();
        assert_eq!((d.used_index(0), echo.resets.load(Ordering::SeqCst)), (0, before + 1));
    }

    #[test]
    fn saved_loaded_and_reset() {
        let (d, _) = bench(false, false);
        check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
        let device = Virtio9p::new(Arc::new(Echo::default()), "t".into(), true).unwrap();
        let mut d = Driver::new(device, false);
        check_reset(&d.cell.clone(), || d.start(u64::MAX));
    }

    #[test]
    fn any_request() {
        fuzz::fuzz("virtio-9p", |random| {
            let (mut d, _) = bench(random.below(2) == 0, random.below(4) == 0);
            for _ in 0..random.below(60) {
                let mut chain = Vec::new();
                for _ in 0..=random.below(4) {
                    let (at, len) =
                        (fuzz::number(random, RAM..RAM + RAM_LEN, &[]), fuzz::number(random, 0..0x1000, &[]));
                    chain.push((at, len as u32, if random.below(2) == 0 { WRITE } else { 0 }));
                }
                if random.below(3) != 0 {
                    chain =
                        vec![(DATA, 1 + random.below(0x2_0000) as u32, 0), (DATA, 1 + random.below(100) as u32, WRITE)];
                }
                d.chain(0, 0, &chain);
                d.offer(0, 0);
                d.kick(0);
                let value = random.next();
                fuzz::access(&d.cell, random, 0x200, value);
                if d.needs_reset() {
                    d.start(u64::MAX);
                }
            }
            let _ = d.cell.with(|transport| transport.drain());
            fuzz::finish(&d.cell);
        });
    }
}
