//! virtio over memory-mapped registers: virtio 1.2, 4.2 "Virtio Over MMIO", version 2, and 4.2.4 "Legacy interface",
//! version 1.

use crate::virtio::VirtioDevice;
use crate::virtio::transport::{Virtio, VirtioRegs};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, AddressSpace, BadState, BusError, Device, DeviceCell, IrqLine, Mmio, Regs, ResetKind, Window};

// Register offsets (4.2.2, MMIO Device Register Layout; 4.2.4 for the legacy ones).
const MAGIC_VALUE: u64 = 0x000;
const VERSION: u64 = 0x004;
const DEVICE_ID: u64 = 0x008;
const VENDOR_ID: u64 = 0x00c;
const DEVICE_FEATURES: u64 = 0x010;
const DEVICE_FEATURES_SEL: u64 = 0x014;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SEL: u64 = 0x024;
const GUEST_PAGE_SIZE: u64 = 0x028; // legacy
const QUEUE_SEL: u64 = 0x030;
const QUEUE_NUM_MAX: u64 = 0x034;
const QUEUE_NUM: u64 = 0x038;
const QUEUE_ALIGN: u64 = 0x03c; // legacy
const QUEUE_PFN: u64 = 0x040; // legacy
const QUEUE_READY: u64 = 0x044;
const QUEUE_NOTIFY: u64 = 0x050;
const INTERRUPT_STATUS: u64 = 0x060;
const INTERRUPT_ACK: u64 = 0x064;
const STATUS: u64 = 0x070;
const QUEUE_DESC_LOW: u64 = 0x080;
const QUEUE_DESC_HIGH: u64 = 0x084;
const QUEUE_DRIVER_LOW: u64 = 0x090;
const QUEUE_DRIVER_HIGH: u64 = 0x094;
const QUEUE_DEVICE_LOW: u64 = 0x0a0;
const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
const SHM_SEL: u64 = 0x0ac;
const SHM_FIRST: u64 = 0x0b0;
const SHM_LAST: u64 = 0x0bc;
const CONFIG_GENERATION: u64 = 0x0fc;
const CONFIG: u64 = 0x100;

/// `virt` as a little-endian word.
const MAGIC: u32 = u32::from_le_bytes(*b"virt");
/// The vendor that existing machines show; there are drivers that insist on it.
const VENDOR: u32 = u32::from_le_bytes(*b"QEMU");

/// The transport with a device behind it ([`NoDevice`](super::NoDevice) for an empty slot).
pub struct VirtioMmio<D: VirtioDevice> {
    regs: VirtioMmioRegs<D::Regs>,
    virtio: Virtio<D>,
    irq: IrqLine,
}

/// Its registers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(bound = "R: Regs")]
pub struct VirtioMmioRegs<R> {
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
    guest_page_size: u32,
    virtio: VirtioRegs<R>,
}

impl<R: Regs> Regs for VirtioMmioRegs<R> {
    fn validate(&self) -> Result<(), BadState> {
        self.virtio.validate()
    }
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// The cell of a transport that drives `irq`, with `device` behind it, which reaches the RAM of `memory` and can wake
    /// the cell. `legacy` chooses version 1 of the interface (what `force-legacy=true` is elsewhere).
    pub fn cell(device: D, memory: Arc<AddressSpace>, irq: IrqLine, legacy: bool) -> Arc<DeviceCell<Self>> {
        let virtio = Virtio::new(device, memory, !legacy);
        let regs = VirtioMmioRegs { virtio: virtio.power_on(), ..Default::default() };
        let cell = Arc::new(DeviceCell::new(Self { regs, virtio, irq }));
        let weak = Arc::downgrade(&cell);
        let wake = Box::new(move || {
            if let Some(cell) = weak.upgrade() {
                let _ = cell.with(|_| ());
            }
        });
        let _ = cell.with(|transport| transport.virtio.device().connect(wake));
        cell
    }

    /// Waits until no request is under way, so that a snapshot can be taken. The vCPUs must be stopped.
    pub fn drain(&mut self) {
        self.virtio.drain(&mut self.regs.virtio);
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        self.virtio.device()
    }

    /// Legacy QueuePFN: all three parts of the queue follow from one page number (2.7.2, "Legacy Interfaces: A Note on
    /// Virtqueue Layout"). Zero closes the queue.
    fn set_queue_pfn(&mut self, pfn: u32) {
        let queue = self.regs.queue_sel;
        self.virtio.set_queue_ready(&mut self.regs.virtio, queue, false);
        if pfn == 0 {
            self.virtio.configure_queue(&mut self.regs.virtio, queue, |q| (q.desc, q.avail, q.used) = (0, 0, 0));
            return;
        }
        let page_size = u64::from(self.regs.guest_page_size);
        self.virtio.configure_queue(&mut self.regs.virtio, queue, |q| {
            let (size, align) = (u64::from(q.size), u64::from(q.align));
            if !page_size.is_power_of_two() || !align.is_power_of_two() {
                vm::log!(GuestError, "{}: page size {page_size:#x} or alignment {align:#x}", D::MODEL);
                return;
            }
            // At most 44 bits, so nothing here overflows.
            q.desc = u64::from(pfn) * page_size;
            q.avail = q.desc + 16 * size;
            q.used = (q.avail + 6 + 2 * size).next_multiple_of(align);
            q.ready = true;
        });
    }

    fn queue_pfn(&self) -> u32 {
        let desc = self.queue().filter(|q| q.ready).map_or(0, |q| q.desc);
        desc.checked_div(self.regs.guest_page_size.into()).unwrap_or(0) as u32
    }

    fn queue(&self) -> Option<&super::queue::QueueRegs> {
        self.regs.virtio.queues.get(self.regs.queue_sel as usize)
    }

    fn read_modern(&self, offset: u64) -> Option<u32> {
        Some(match offset {
            QUEUE_READY => self.queue().is_some_and(|q| q.ready).into(),
            // 4.2.2: a region that does not exist has length and base of all ones.
            SHM_FIRST..=SHM_LAST => u32::MAX,
            CONFIG_GENERATION => self.regs.virtio.generation,
            _ => return None,
        })
    }

    fn write_modern(&mut self, offset: u64, value: u32) -> Option<()> {
        let queue = self.regs.queue_sel;
        let low = |old: &mut u64| *old = *old & !0xffff_ffff | u64::from(value);
        let high = |old: &mut u64| *old = *old & 0xffff_ffff | u64::from(value) << 32;
        let regs = &mut self.regs.virtio;
        match offset {
            QUEUE_READY => self.virtio.set_queue_ready(regs, queue, value & 1 != 0),
            QUEUE_DESC_LOW => self.virtio.configure_queue(regs, queue, |q| low(&mut q.desc)),
            QUEUE_DESC_HIGH => self.virtio.configure_queue(regs, queue, |q| high(&mut q.desc)),
            QUEUE_DRIVER_LOW => self.virtio.configure_queue(regs, queue, |q| low(&mut q.avail)),
            QUEUE_DRIVER_HIGH => self.virtio.configure_queue(regs, queue, |q| high(&mut q.avail)),
            QUEUE_DEVICE_LOW => self.virtio.configure_queue(regs, queue, |q| low(&mut q.used)),
            QUEUE_DEVICE_HIGH => self.virtio.configure_queue(regs, queue, |q| high(&mut q.used)),
            SHM_SEL => {}
            _ => return None,
        }
        Some(())
    }

    fn write_legacy(&mut self, offset: u64, value: u32) -> Option<()> {
        let queue = self.regs.queue_sel;
        match offset {
            GUEST_PAGE_SIZE => self.regs.guest_page_size = value,
            QUEUE_ALIGN => self.virtio.configure_queue(&mut self.regs.virtio, queue, |q| q.align = value),
            QUEUE_PFN => self.set_queue_pfn(value),
            _ => return None,
        }
        Some(())
    }
}

impl<D: VirtioDevice> Device for VirtioMmio<D> {
    type Regs = VirtioMmioRegs<D::Regs>;
    const MODEL: &'static str = D::MODEL;

    fn regs(&self) -> &Self::Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Self::Regs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        self.virtio.reset(&mut self.regs.virtio);
        let virtio = std::mem::take(&mut self.regs.virtio);
        self.regs = VirtioMmioRegs { virtio, ..Default::default() };
    }

    fn update(&mut self) {
        self.virtio.poll(&mut self.regs.virtio);
        self.irq.set(self.regs.virtio.isr != 0);
    }
}

impl<D: VirtioDevice> Mmio for VirtioMmio<D> {
    const WINDOWS: &'static [Window] = &[Window { len: 0x200, widths: 1..=8 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if let Some(offset) = at.offset.checked_sub(CONFIG) {
            return Ok(self.virtio.read_config(&self.regs.virtio, offset, at.width));
        }
        // 4.2.2.2: the control registers take aligned 32-bit accesses only.
        if at.width != 4 {
            return Err(BusError::BadWidth);
        }
        let modern = self.virtio.modern();
        let value = match at.offset {
            MAGIC_VALUE => MAGIC,
            VERSION => 1 + u32::from(modern),
            DEVICE_ID => D::DEVICE_ID,
            VENDOR_ID => VENDOR,
            DEVICE_FEATURES => match self.regs.device_features_sel {
                0 => self.virtio.features() as u32,
                1 => (self.virtio.features() >> 32) as u32,
                _ => 0,
            },
            QUEUE_NUM_MAX => D::QUEUE_SIZES.get(self.regs.queue_sel as usize).copied().unwrap_or(0).into(),
            QUEUE_PFN if !modern => self.queue_pfn(),
            INTERRUPT_STATUS => self.regs.virtio.isr.into(),
            STATUS => self.regs.virtio.status.into(),
            offset if modern => self.read_modern(offset).ok_or(BusError::BadOffset)?,
            _ => return Err(BusError::BadOffset),
        };
        Ok(value.into())
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if let Some(offset) = at.offset.checked_sub(CONFIG) {
            self.virtio.write_config(&mut self.regs.virtio, offset, at.width, value);
            return Ok(());
        }
        if at.width != 4 {
            return Err(BusError::BadWidth);
        }
        let value = value as u32;
        match at.offset {
            DEVICE_FEATURES_SEL => self.regs.device_features_sel = value,
            DRIVER_FEATURES => {
                let word = self.regs.driver_features_sel;
                self.virtio.accept_features(&mut self.regs.virtio, word, value);
            }
            DRIVER_FEATURES_SEL => self.regs.driver_features_sel = value,
            QUEUE_SEL => self.regs.queue_sel = value,
            QUEUE_NUM => self.virtio.set_queue_size(&mut self.regs.virtio, self.regs.queue_sel, value),
            // The rings are looked at on the way out.
            QUEUE_NOTIFY => {}
            INTERRUPT_ACK => {
                self.regs.virtio.isr &= !(value as u8);
                // On the way out the rings are looked at and may give a new cause at once. The line falls first even then:
                // machines wire it to edge-triggered inputs, where a level that stays high never interrupts again.
                self.irq.set(false);
            }
            STATUS => self.virtio.write_status(&mut self.regs.virtio, value as u8),
            offset => {
                let done = if self.virtio.modern() {
                    self.write_modern(offset, value)
                } else {
                    self.write_legacy(offset, value)
                };
                return done.ok_or(BusError::BadOffset);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Edges, Levels, Poke, check_save_load};
    use crate::virtio::queue::{Malformed, Rings};
    use crate::virtio::testing::{DATA, Desc, Driver, INDIRECT, NEXT, RAM, RAM_LEN, WRITE};
    use crate::virtio::{NoDevice, feature};
    use vm::Part;

    /// Answers every chain with the reversed bytes of what it was given.
    struct Echo {
        served: usize,
        changed: bool,
    }

    impl Echo {
        fn new() -> Self {
            Self { served: 0, changed: false }
        }
    }

    impl VirtioDevice for Echo {
        type Regs = ();
        const MODEL: &'static str = "virtio-echo";
        const DEVICE_ID: u32 = 42;
        const QUEUE_SIZES: &'static [u16] = &[64, 64];

        fn features(&self) -> u64 {
            1 << 3 | 1 << 35
        }
        fn config(&self, _regs: &()) -> Vec<u8> {
            (1..=9).collect()
        }
        fn config_changed(&mut self, _regs: &mut ()) -> bool {
            std::mem::take(&mut self.changed)
        }
        fn process(&mut self, _regs: &mut (), rings: &mut Rings<'_>) -> Result<(), Malformed> {
            for queue in 0..2 {
                for _ in 0..rings.size(queue) {
                    let Some(chain) = rings.peek(queue, 0)? else { break };
                    self.served += 1;
                    let n = chain.readable.len().min(chain.writable.len()).min(0x1_0000);
                    let mut bytes = vec![0; n as usize];
                    chain.readable.read(0, &mut bytes).unwrap();
                    bytes.reverse();
                    chain.writable.write(0, &bytes).unwrap();
                    assert!(chain.writable.write(chain.writable.len(), &[0]).is_none());
                    assert!(chain.writable.write(u64::MAX, &[0]).is_none());
                    rings.finish(queue, chain.head, n as u32)?;
                }
            }
            Ok(())
        }
    }

    fn started(legacy: bool) -> Driver<Echo> {
        Driver::started(Echo::new(), legacy, u64::MAX)
    }

    #[test]
    fn registers_at_power_on() {
        for legacy in [false, true] {
            let d = Driver::new(Echo::new(), legacy);
            let version = if legacy { 1 } else { 2 };
            let rows = [(0x000, 0x7472_6976), (0x004, version), (0x008, 42), (0x00c, 0x554d_4551), (0x034, 64)];
            for (offset, value) in rows.into_iter().chain([(0x060, 0), (0x070, 0), (0x100, 0x0403_0201)]) {
                assert_eq!(d.cell.r(offset), value, "{offset:#x}");
            }
            let common = 1 << 3 | feature::INDIRECT_DESC;
            let offered = if legacy { common | feature::ANY_LAYOUT } else { common | 1 << 35 | feature::VERSION_1 };
            assert_eq!(d.offered(), offered);
            d.cell.w(0x14, 2);
            assert_eq!(d.cell.r(0x10), 0);
            d.cell.w(0x30, 2);
            assert_eq!(d.cell.r(0x34), 0);
            // Each interface has registers that the other lacks.
            assert_eq!(d.cell.read_n(0x44, 4).is_ok(), !legacy);
            assert_eq!(d.cell.read_n(0xfc, 4).is_ok(), !legacy);
            assert_eq!(d.cell.read_n(0x40, 4).is_ok(), legacy);
            assert_eq!(d.cell.write_n(0x28, 4, 4096).is_ok(), legacy);
            assert_eq!(d.cell.write_n(0x80, 4, 0).is_ok(), !legacy);
            assert_eq!(d.cell.read_n(0x20, 4), Err(BusError::BadOffset));
            for width in [1, 2, 8] {
                assert_eq!(d.cell.read_n(0x000, width), Err(BusError::BadWidth));
                assert_eq!(d.cell.write_n(0x070, width, 0), Err(BusError::BadWidth));
            }
            assert_eq!(d.cell.read_n(0x104, 8), Ok(0x09_0807_0605));
            assert_eq!((d.cell.read_n(0x103, 2), d.cell.read_n(0x1ff, 1)), (Ok(0x0504), Ok(0)));
        }
        let d = Driver::new(Echo::new(), false);
        assert_eq!((d.cell.r(0xb0), d.cell.r(0xbc)), (u64::from(u32::MAX), u64::from(u32::MAX)));
        let empty = VirtioMmio::cell(NoDevice, AddressSpace::new(), IrqLine::to(Levels::new(), 0), false);
        assert_eq!((empty.r(0x000), empty.r(0x008), empty.r(0x34)), (0x7472_6976, 0, 0));
        empty.w(0x70, 0xf);
        empty.w(0x50, 0);
    }

    #[test]
    fn features_are_negotiated_before_use() {
        let d = Driver::new(Echo::new(), false);
        let accept = |low: u64, high: u64| {
            d.cell.w(0x70, 0);
            d.cell.w(0x70, 3);
            for (word, value) in [(0, low), (1, high)] {
                d.cell.w(0x24, word);
                d.cell.w(0x20, value);
            }
            d.cell.w(0x70, 11);
            d.cell.r(0x70)
        };
        assert_eq!(accept(1 << 3, 1), 11);
        assert_eq!(accept(1 << 3, 0), 3, "VERSION_1 is a must");
        assert_eq!(accept(1 << 4, 1), 3, "never offered");
        d.cell.w(0x70, 7);
        assert_eq!(d.cell.r(0x70), 3, "not ready without features");
        assert_eq!(accept(0, 1), 11);
        d.cell.w(0x24, 0);
        d.cell.w(0x20, 1 << 4); // too late: without effect
        d.cell.w(0x24, 99);
        d.cell.w(0x20, 1);
        d.cell.w(0x70, 15);
        assert_eq!(d.cell.r(0x70), 15);
        d.cell.w(0x70, 0x8f);
        assert_eq!(d.cell.r(0x70), 0x8f, "FAILED is the driver's");
    }

    #[test]
    fn chains_direct_and_indirect() {
        for legacy in [false, true] {
            let mut d = started(legacy);
            d.store(DATA, b"abcdef");
            let (a, b) = (DATA + 0x2000, RAM + RAM_LEN - 2);
            assert_eq!(d.transact(1, &[(DATA, 2, 0), (DATA + 2, 4, 0), (a, 4, WRITE), (b, 2, WRITE)]), 6);
            assert_eq!((d.load(a, 4), d.load(b, 2)), (b"fedc".to_vec(), b"ba".to_vec()));
            let table = DATA + 0x3001; // 2.7.5.3: indirect tables need no alignment
            d.table(table, 0, &[(DATA, 3, NEXT, 2), (0, 0, 0, 0), (a, 3, WRITE, 0)]);
            assert_eq!(d.transact(1, &[(table, 48, INDIRECT)]), 3);
            assert_eq!(d.load(a, 3), b"cba");
            assert!(d.irq.get(0));
            d.cell.w(0x64, 3);
            assert!(!d.irq.get(0));
            // VIRTQ_AVAIL_F_NO_INTERRUPT.
            d.store(d.avail_ring(1), &1u16.to_le_bytes());
            assert_eq!(d.transact(1, &[(DATA, 3, 0)]), 0);
            assert!(!d.irq.get(0));
        }
    }

    #[test]
    fn indexes_wrap() {
        let mut d = started(false);
        d.chain(0, 3, &[(DATA, 1, 0), (DATA + 16, 1, WRITE)]);
        for n in 0..70_000u32 {
            d.offer(0, 3);
            d.kick(0);
            assert_eq!((d.used_index(0), d.used(0, n as u16)), ((n + 1) as u16, (3, 1)));
        }
    }

    #[test]
    fn one_notification_serves_all_that_waits() {
        let mut d = started(false);
        d.chain(0, 0, &[(DATA, 1, 0)]);
        (0..16).for_each(|_| d.offer(0, 0));
        d.kick(0);
        assert_eq!((d.used_index(0), d.needs_reset()), (16, false));
    }

    #[test]
    fn nothing_happens_before_driver_ok_or_on_a_closed_queue() {
        let mut d = started(false);
        d.cell.w(0x70, 0);
        d.cell.w(0x70, 3);
        d.chain(0, 0, &[(DATA, 1, 0)]);
        d.offer(0, 0);
        for queue in [0, 1, 2, u32::MAX as usize] {
            d.kick(queue);
        }
        assert_eq!((d.used_index(0), d.cell.r(0x60), d.cell.r(0x70)), (0, 0, 3));
        let mut d = started(false);
        d.cell.w(0x30, 0);
        d.cell.w(0x80, 0x1234); // ready: not taken
        d.cell.w(0x38, 32);
        assert_eq!(d.transact(0, &[(DATA, 1, 0)]), 0);
        d.cell.w(0x44, 0);
        assert_eq!(d.cell.r(0x44), 0);
        d.offer(0, 0);
        d.kick(0);
        assert_eq!((d.used_index(0), d.needs_reset()), (1, false));
        // Opened again it starts from the beginning.
        d.set_avail(0, 0);
        d.store(d.used_ring(0), &[0; 8]);
        d.cell.w(0x44, 1);
        assert_eq!(d.transact(0, &[(DATA, 1, 0)]), 0);
    }

    #[test]
    fn queue_sizes_are_powers_of_two_within_the_maximum() {
        let mut d = Driver::new(Echo::new(), false);
        d.size = 8;
        d.start(0);
        d.cell.w(0x30, 0);
        d.cell.w(0x44, 0);
        for size in [0, 3, 128, 0x1_0008] {
            d.cell.w(0x38, size);
        }
        d.set_avail(0, 0);
        d.cell.w(0x44, 1);
        for n in 0..9 {
            d.transact(0, &[(DATA, 1, 0)]);
            assert_eq!(d.used_index(0), n + 1);
        }
    }

    #[test]
    fn legacy_queues_follow_from_one_page_number() {
        let d = started(true);
        assert_eq!(d.cell.r(0x40), (RAM + 0x4000) >> 12);
        d.cell.w(0x30, 0);
        assert_eq!(d.cell.r(0x40), RAM >> 12);
        d.cell.w(0x40, 0);
        assert_eq!(d.cell.r(0x40), 0);
        for (page, align) in [(0, 4096), (4095, 4096), (4096, 0), (4096, 3)] {
            d.cell.w(0x28, page);
            d.cell.w(0x3c, align);
            d.cell.w(0x40, 0x40000);
            assert_eq!(d.cell.r(0x40), 0, "{page} {align}");
        }
        d.cell.w(0x28, 0x8000_0000);
        d.cell.w(0x3c, 0x8000_0000);
        d.cell.w(0x40, 0xffff_ffff);
        d.kick(0);
        assert!(d.needs_reset(), "a ring outside RAM");
    }

    #[test]
    fn malformed_rings_break_the_device_until_reset() {
        type Break = fn(&mut Driver<Echo>);
        fn direct(d: &mut Driver<Echo>, descs: &[Desc]) {
            d.table(d.desc(0), 0, descs);
            d.offer(0, 0);
        }
        fn indirect(d: &mut Driver<Echo>, len: u32, descs: &[Desc]) {
            d.table(DATA + 0x8000, 0, descs);
            direct(d, &[(DATA + 0x8000, len, INDIRECT, 0)]);
        }
        fn move_ring(d: &mut Driver<Echo>, register: u64, address: u64) {
            d.cell.w(0x30, 0);
            d.cell.w(0x44, 0);
            d.cell.w(register, address & 0xffff_ffff);
            d.cell.w(register + 4, address >> 32);
            d.cell.w(0x44, 1);
        }
        let cases: &[(&str, Break)] = &[
            ("loop of one", |d| direct(d, &[(DATA, 1, NEXT, 0)])),
            ("loop of three", |d| direct(d, &[(DATA, 1, NEXT, 1), (DATA, 1, NEXT, 2), (DATA, 1, NEXT, 0)])),
            ("next beyond the table", |d| direct(d, &[(DATA, 1, NEXT, 16)])),
            ("head beyond the table", |d| d.offer(0, 16)),
            ("head far beyond the table", |d| d.offer(0, 0xffff)),
            ("no bytes", |d| direct(d, &[(DATA, 0, 0, 0)])),
            ("outside RAM", |d| direct(d, &[(0x1000, 16, 0, 0)])),
            ("end outside RAM", |d| direct(d, &[(RAM + RAM_LEN - 1, 2, 0, 0)])),
            ("start just outside RAM", |d| direct(d, &[(RAM + RAM_LEN, 1, WRITE, 0)])),
            ("huge", |d| direct(d, &[(DATA, u32::MAX, 0, 0)])),
            ("address overflow", |d| direct(d, &[(u64::MAX - 1, 4, 0, 0)])),
            ("address and length overflow", |d| direct(d, &[(u64::MAX, u32::MAX, WRITE, 0)])),
            ("more than 4 GiB in all", |d| {
                let len = RAM_LEN as u32;
                let descs: Vec<Desc> = (1..=3000).map(|n| (RAM, len, NEXT, n)).collect();
                indirect(d, 48_000, &descs);
            }),
            ("writable before readable", |d| direct(d, &[(DATA, 1, NEXT | WRITE, 1), (DATA, 1, 0, 0)])),
            ("nested tables", |d| indirect(d, 32, &[(DATA, 1, NEXT, 1), (DATA + 0x8000, 32, INDIRECT, 0)])),
            ("table in itself", |d| indirect(d, 16, &[(DATA + 0x8000, 16, INDIRECT, 0)])),
            ("table of a part of an entry", |d| indirect(d, 17, &[(DATA, 1, 0, 0)])),
            ("empty table", |d| indirect(d, 0, &[(DATA, 1, 0, 0)])),
            ("table too large", |d| indirect(d, 0xffff_fff0, &[(DATA, 1, 0, 0)])),
            ("loop in a table", |d| indirect(d, 16 * 2, &[(DATA, 1, NEXT, 1), (DATA, 1, NEXT, 0)])),
            ("long chain in a table", |d| {
                let descs: Vec<Desc> = (1..=1025).map(|n| (DATA, 1, NEXT, n)).chain([(DATA, 1, 0, 0)]).collect();
                indirect(d, 16 * 1026, &descs);
            }),
            ("table outside RAM", |d| direct(d, &[(0x1000, 16, INDIRECT, 0)])),
            ("table at the end of the space", |d| direct(d, &[(u64::MAX - 15, 32, INDIRECT, 0)])),
            ("available index too far", |d| d.set_avail(0, 17)),
            ("available index backwards", |d| d.set_avail(0, 0xffff)),
            ("descriptors outside RAM", |d| move_ring(d, 0x80, 0)),
            ("descriptors at the end of the space", |d| move_ring(d, 0x80, u64::MAX - 15)),
            ("available ring outside RAM", |d| move_ring(d, 0x90, RAM + RAM_LEN - 16)),
            ("used ring outside RAM", |d| move_ring(d, 0xa0, u64::MAX - 3)),
            ("descriptors not aligned", |d| move_ring(d, 0x80, RAM + 8)),
            ("available ring not aligned", |d| move_ring(d, 0x90, RAM + 0x101)),
            ("used ring not aligned", |d| move_ring(d, 0xa0, RAM + 0x1002)),
        ];
        for (name, breaks) in cases {
            let mut d = started(false);
            breaks(&mut d);
            d.kick(0);
            assert!(d.needs_reset(), "{name}");
            assert_eq!((d.cell.r(0x60), d.irq.get(0), d.used_index(0)), (2, true, 0), "{name}");
            d.cell.w(0x64, 2);
            d.cell.w(0x70, 15);
            d.kick(0);
            assert!(d.needs_reset() && !d.irq.get(0), "{name}: only a reset helps");
            d.start(u64::MAX);
            assert!(!d.needs_reset());
            assert_eq!(d.transact(0, &[(DATA, 1, 0)]), 0, "{name}");
        }
    }

    #[test]
    fn configuration_changes_raise_the_generation_and_the_interrupt() {
        let d = started(false);
        assert_eq!(d.cell.r(0xfc), 0);
        d.cell.with(|transport| transport.device().changed = true).unwrap();
        assert_eq!((d.cell.r(0xfc), d.cell.r(0x60), d.irq.get(0)), (1, 2, true));
        d.cell.w(0x64, 2);
        assert!(!d.irq.get(0));
    }

    #[test]
    fn a_cause_that_comes_with_the_acknowledgement_makes_a_new_edge() {
        for legacy in [false, true] {
            let (mut d, edges) = (Driver::new(Echo::new(), legacy), Edges::new());
            d.cell = VirtioMmio::cell(Echo::new(), d.space.clone(), IrqLine::to(edges.clone(), 0), legacy);
            d.start(u64::MAX);
            d.chain(0, 0, &[(DATA, 1, 0)]);
            d.offer(0, 0);
            d.kick(0);
            assert_eq!((d.used_index(0), edges.take(0)), (1, 1));
            // The device finds a chain while the driver acknowledges the one before.
            d.offer(0, 0);
            d.cell.w(0x64, 1);
            assert_eq!((d.used_index(0), d.cell.r(0x60), edges.take(0)), (2, 1, 1));
            // Another cause comes between the driver's look at InterruptStatus and its acknowledgement of what it saw.
            d.cell.with(|transport| transport.device().changed = true).unwrap();
            d.cell.w(0x64, 1);
            assert_eq!((d.cell.r(0x60), edges.take(0)), (2, 1));
            d.cell.w(0x64, 2);
            assert_eq!((d.cell.r(0x60), edges.take(0)), (0, 0));
        }
    }

    #[test]
    fn saved_rings_go_on_where_they_were() {
        for legacy in [false, true] {
            let mut d = started(legacy);
            d.transact(0, &[(DATA, 1, 0)]);
            d.cell.w(0x64, 3);
            let saved = d.cell.save();
            check_save_load(&d.cell.clone(), || d.cell.w(0x70, 0));
            let mut other = Driver::new(Echo::new(), legacy);
            other.space = d.space.clone();
            // The same machine in another process: same memory, loaded registers.
            let irq = IrqLine::to(other.irq.clone(), 0);
            other.cell = VirtioMmio::cell(Echo::new(), d.space.clone(), irq, legacy);
            other.cell.load(&saved).unwrap();
            other.cell.settle();
            assert_eq!(other.used_index(0), 1);
            other.set_avail(0, 1);
            assert_eq!(other.transact(0, &[(DATA, 1, 0)]), 0);
            assert_eq!(other.cell.with(|transport| transport.device().served), Ok(1));
        }
    }

    #[test]
    fn a_snapshot_of_another_device_is_harmless() {
        let d = started(false);
        let mut saved = d.cell.save();
        let body = String::from_utf8(saved.body.clone()).unwrap();
        saved.body = body.replace("\"size\":16", "\"size\":12345").into_bytes();
        d.cell.load(&saved).unwrap();
        d.cell.settle();
        assert!(d.needs_reset());
        let start = body.find("\"queues\":[").unwrap();
        let end = start + body[start..].find(']').unwrap();
        saved.body = format!("{}\"queues\":[{}", &body[..start], &body[end..]).into_bytes();
        d.cell.load(&saved).unwrap();
        d.cell.settle();
        d.kick(0);
        d.cell.w(0x30, 0);
        d.cell.w(0x44, 1);
        assert_eq!(d.cell.r(0x44), 0);
    }
}
