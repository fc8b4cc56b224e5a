//! Entropy device (virtio 1.2, 5.4).

use crate::virtio::VirtioDevice;
use crate::virtio::queue::{Malformed, Rings};
use std::sync::Arc;
use vm::entropy::Entropy;

/// Bytes that one request gets at most; 5.4.6.2 allows fewer than asked for.
const REQUEST_MAX: u64 = 64 << 10;

/// The device.
pub struct VirtioRng {
    entropy: Arc<dyn Entropy>,
}

impl VirtioRng {
    /// A device that gives what `entropy` gives.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy }
    }
}

impl VirtioDevice for VirtioRng {
    type Regs = ();
    const MODEL: &'static str = "virtio-rng-device";
    const DEVICE_ID: u32 = 4;
    const QUEUE_SIZES: &'static [u16] = &[8];

    fn features(&self) -> u64 {
        0
    }

    fn process(&mut self, _regs: &mut (), rings: &mut Rings<'_>) -> Result<(), Malformed> {
        for _ in 0..rings.size(0) {
            let Some(chain) = rings.peek(0, 0)? else { break };
            let len = chain.writable.len().min(REQUEST_MAX);
            if len == 0 {
                return Err(Malformed("entropy request without room"));
            }
            let mut bytes = vec![0; len as usize];
            self.entropy.fill(&mut bytes);
            chain.writable.write(0, &bytes).ok_or(Malformed("buffer outside RAM"))?;
            rings.finish(0, chain.head, len as u32)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Poke, check_save_load, hammer};
    use crate::virtio::testing::{DATA, Driver, RAM, WRITE};

    struct Counter;
    impl Entropy for Counter {
        fn fill(&self, buf: &mut [u8]) {
            (1..).zip(buf).for_each(|(n, byte)| *byte = n as u8);
        }
    }
    fn started(legacy: bool) -> Driver<VirtioRng> {
        let mut driver = Driver::new(VirtioRng::new(Arc::new(Counter)), legacy);
        driver.size = 8;
        driver.start(0);
        driver
    }

    #[test]
    fn fills_buffers() {
        for legacy in [false, true] {
            let mut d = started(legacy);
            assert_eq!((d.cell.r(8), d.cell.r(0x34)), (4, 8));
            assert_eq!(d.transact(0, &[(DATA, 3, WRITE), (DATA + 16, 2, WRITE)]), 5);
            assert_eq!((d.load(DATA, 4), d.load(DATA + 16, 3)), (vec![1, 2, 3, 0], vec![4, 5, 0]));
            assert!(d.irq.get(0));
            assert_eq!(d.transact(0, &[(DATA, 0x2_0000, WRITE)]), 0x1_0000);
            d.chain(0, 0, &[(DATA, 3, 0)]);
            d.offer(0, 0);
            d.kick(0);
            assert!(d.needs_reset());
        }
    }

    #[test]
    fn saved_and_loaded() {
        let mut d = started(false);
        assert_eq!(d.transact(0, &[(DATA, 3, WRITE)]), 3);
        check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
    }

    #[test]
    fn any_access_is_answered() {
        let mut d = started(false);
        let cell = d.cell.clone();
        hammer(&cell, 10_000, |random| {
            if random.below(64) == 0 {
                d.start(random.next());
            }
            d.store(RAM + random.below(0x2000), &(random.next() & random.next()).to_le_bytes());
        });
    }
}
