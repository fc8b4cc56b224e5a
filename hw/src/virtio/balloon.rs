//! Traditional memory balloon (virtio 1.2, 5.5): the guest gives pages back for as long as the host asks for them.
//!
//! Deviation: pages of the balloon can still be used; they read as zeros then (5.5.6, "the device MAY allow").

use crate::virtio::VirtioDevice;
use crate::virtio::queue::{Malformed, Rings};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{AddressSpace, Backing, Gpa, Regs};

// Queues (5.5.2).
const INFLATE: usize = 0;
const DEFLATE: usize = 1;
/// Bytes of a page, whatever pages the guest has (5.5.6).
pub const PAGE: u64 = 4096;
/// Pages of one request at most; drivers keep to far less.
const PAGES_MAX: u64 = 4096;

/// The saved state beyond the rings.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BalloonRegs {
    /// Pages that the host wants, of which the driver has been told.
    wanted: u32,
    /// Pages that are in the balloon, as the driver says.
    actual: u32,
}

impl Regs for BalloonRegs {}

/// The device.
pub struct VirtioBalloon {
    memory: Arc<AddressSpace>,
    /// Pages that the host wants, if it said so since the driver was told.
    asked: Option<u32>,
    /// As in the registers.
    actual: u32,
}

impl VirtioBalloon {
    /// A balloon for the RAM in `memory`.
    pub fn new(memory: Arc<AddressSpace>) -> Self {
        Self { memory, asked: None, actual: 0 }
    }

    /// Asks for `pages` pages to be in the balloon.
    pub fn ask(&mut self, pages: u32) {
        self.asked = Some(pages);
    }

    /// Pages that the driver says are in the balloon.
    pub fn actual(&self) -> u32 {
        self.actual
    }

    /// Gives a page back to the host, if it is RAM.
    fn discard(&self, frame: u32) {
        let gpa = Gpa(u64::from(frame) * PAGE);
        let view = self.memory.view();
        let Some(span) = view.find(gpa) else { return };
        if let Backing::Ram { ram, offset } = &span.backing
            && span.last.0 - gpa.0 >= PAGE - 1
        {
            let start = offset + (gpa.0 - span.start.0);
            let _ = ram.discard(start..start.saturating_add(PAGE));
        }
    }
}

impl VirtioDevice for VirtioBalloon {
    type Regs = BalloonRegs;
    const MODEL: &'static str = "virtio-balloon-device";
    const DEVICE_ID: u32 = 5;
    const QUEUE_SIZES: &'static [u16] = &[128, 128];

    /// 5.5.3: none of them, as QEMU's. A guest counts what is in the balloon as gone then.
    fn features(&self) -> u64 {
        0
    }

    /// 5.5.4: num_pages, actual.
    fn config(&self, regs: &BalloonRegs) -> Vec<u8> {
        [regs.wanted.to_le_bytes(), regs.actual.to_le_bytes()].concat()
    }

    fn write_config(&mut self, regs: &mut BalloonRegs, offset: usize, bytes: &[u8]) {
        if let (4, Ok(bytes)) = (offset, bytes.try_into()) {
            regs.actual = u32::from_le_bytes(bytes);
        }
    }

    fn config_changed(&mut self, regs: &mut BalloonRegs) -> bool {
        self.actual = regs.actual;
        match self.asked.take() {
            Some(pages) if pages != regs.wanted => {
                regs.wanted = pages;
                true
            }
            _ => false,
        }
    }

    /// The driver has gone, what the host wants has not.
    fn reset(&mut self, regs: &mut BalloonRegs) {
        regs.actual = 0;
    }

    fn process(&mut self, _regs: &mut BalloonRegs, rings: &mut Rings<'_>) -> Result<(), Malformed> {
        for queue in [INFLATE, DEFLATE] {
            for _ in 0..rings.size(queue) {
                let Some(chain) = rings.peek(queue, 0)? else { break };
                let len = chain.readable.len();
                if len > 4 * PAGES_MAX || !len.is_multiple_of(4) {
                    return Err(Malformed("too many pages for the balloon, or parts of their numbers"));
                }
                // Pages that come out are there already.
                if queue == INFLATE {
                    let mut frames = vec![0; len as usize];
                    chain.readable.read(0, &mut frames).ok_or(Malformed("buffer outside RAM"))?;
                    frames.as_chunks::<4>().0.iter().for_each(|frame| self.discard(u32::from_le_bytes(*frame)));
                }
                rings.finish(queue, chain.head, 0)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;
    use crate::testing::{Poke, check_reset, check_save_load};
    use crate::virtio::testing::{DATA, Driver, RAM, RAM_LEN, WRITE};

    fn bench(legacy: bool) -> Driver<VirtioBalloon> {
        let mut driver = Driver::new(VirtioBalloon::new(AddressSpace::new()), legacy);
        let space = driver.space.clone();
        driver.cell.with(|transport| transport.device().memory = space).unwrap();
        driver.start(u64::MAX);
        driver
    }

    fn ask(d: &Driver<VirtioBalloon>, pages: u32) {
        d.cell.with(|transport| transport.device().ask(pages)).unwrap();
    }

    #[test]
    fn pages_are_given_back() {
        for legacy in [false, true] {
            let mut d = bench(legacy);
            let pages = [RAM + 0x18_0000, RAM + 0x18_1000, RAM + 0x18_2000];
            pages.iter().for_each(|page| d.store(*page, &[7; 4096]));
            // Of the frames two are pages of RAM; the others are outside, at its end, at the end of everything.
            let frames = [pages[0], pages[2], RAM + RAM_LEN, 0, u64::from(u32::MAX) << 12];
            let list: Vec<u8> = frames.iter().flat_map(|page| ((page >> 12) as u32).to_le_bytes()).collect();
            d.store(DATA, &list);
            assert_eq!(d.transact(INFLATE, &[(DATA, 8, 0), (DATA + 8, list.len() as u32 - 8, 0)]), 0);
            assert_eq!(pages.map(|page| d.load(page, 1)[0]), [0, 7, 0]);
            d.store(pages[0], &[9]);
            assert_eq!(d.transact(DEFLATE, &[(DATA, 4, 0)]), 0);
            assert_eq!(d.load(pages[0], 1), [9], "the page stays");
        }
    }

    #[test]
    fn the_host_asks_and_the_driver_tells() {
        let d = bench(false);
        ask(&d, 0x1234);
        assert_eq!((d.cell.r(0x100), d.cell.r(0x60), d.irq.get(0)), (0x1234, 2, true));
        d.cell.w(0x64, 2);
        ask(&d, 0x1234);
        assert!(!d.irq.get(0), "nothing new");
        d.cell.w(0x104, 0x1200);
        d.cell.w(0x100, 5);
        assert_eq!((d.cell.r(0x104), d.cell.r(0x100)), (0x1200, 0x1234));
        assert_eq!(d.cell.with(|transport| transport.device().actual()), Ok(0x1200));
        d.cell.w(0x70, 0);
        assert_eq!((d.cell.r(0x104), d.cell.r(0x100)), (0, 0x1234));
    }

    #[test]
    fn requests_that_break_the_device() {
        for (len, flags) in [(3, 0), (4 * 4097, 0)] {
            let mut d = bench(false);
            d.chain(INFLATE, 0, &[(DATA, len, flags)]);
            d.offer(INFLATE, 0);
            d.kick(INFLATE);
            assert!(d.needs_reset());
        }
        assert_eq!(bench(false).transact(INFLATE, &[(DATA, 4, WRITE)]), 0, "nothing is asked for");
    }

    #[test]
    fn saved_loaded_and_reset() {
        let d = bench(false);
        d.cell.w(0x104, 3);
        check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
        let mut d = Driver::new(VirtioBalloon::new(AddressSpace::new()), false);
        check_reset(&d.cell.clone(), || d.start(u64::MAX));
    }

    #[test]
    fn any_request() {
        fuzz::fuzz("virtio-balloon", |random| {
            let mut d = bench(random.below(4) == 0);
            for _ in 0..random.below(60) {
                let (queue, len) = (random.below(2) as usize, 4 * (1 + random.below(5000)));
                for at in 0..random.below(64) {
                    let frame = (fuzz::number(random, RAM..RAM + RAM_LEN, &[]) >> 12) as u32;
                    d.store(DATA + 4 * at, &frame.to_le_bytes());
                }
                d.chain(queue, 0, &[(DATA, len as u32, 0)]);
                d.offer(queue, 0);
                d.kick(queue);
                let value = random.next();
                fuzz::access(&d.cell, random, 0x200, value);
                if random.below(8) == 0 {
                    ask(&d, random.next() as u32);
                }
                if d.needs_reset() {
                    d.start(u64::MAX);
                }
            }
            fuzz::finish(&d.cell);
        });
    }
}
