//! virtio over PCI: virtio 1.2, 4.1 "Virtio Over PCI Bus", and 4.1.4.8 "Legacy Interfaces: A Note on PCI Device Layout".

use crate::pci::config::{BAR0, Bar, LEN, Layout, PciRegs, Space, Window as BarWindow};
use crate::pci::function::{Function, PciFunction, PciSlot};
use crate::pci::msi::{Msix, MsixRegs};
use crate::virtio::VirtioDevice;
use crate::virtio::queue::QueueRegs;
use crate::virtio::transport::{ISR_CONFIG, Virtio, VirtioRegs};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, BadState, BusError, Device, DeviceCell, Mmio, Regs, ResetKind, Window};

// Windows.
const LEGACY: u8 = 0;
const MSIX: u8 = 1;
const MODERN: u8 = 2;
/// Base address registers that the windows are behind.
const LEGACY_BAR: u8 = 0;
const MSIX_BAR: u8 = 1;
const MODERN_BAR: u8 = 4;

const LEGACY_LEN: u64 = 0x80;
const MSIX_LEN: u64 = 0x1000;
const PENDING_AT: u32 = 0x800;

// Parts of the modern window, each a page.
const COMMON: u64 = 0x0000;
const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const PART_LEN: u64 = 0x1000;
const MODERN_LEN: u64 = 4 * PART_LEN;
/// Bytes between the notification addresses of two queues.
const NOTIFY_STEP: u32 = 4;

// 4.1.4, struct virtio_pci_cap: kinds.
const VENDOR_CAPABILITY: u8 = 9;
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;

/// Bytes of the common configuration (4.1.4.3).
const COMMON_LEN: usize = 0x38;
/// No vector (4.1.5.1.2).
const NO_VECTOR: u16 = 0xffff;
/// Legacy queues are in pages of this size.
const PAGE: u64 = 4096;
/// Legacy: the device's configuration, without and with MSI-X.
const LEGACY_CONFIG: u64 = 0x14;
const LEGACY_CONFIG_MSIX: u64 = 0x18;

/// The transport with a device behind it.
pub struct VirtioPci<D: VirtioDevice> {
    regs: VirtioPciRegs<D::Regs>,
    function: Function,
    virtio: Virtio<D>,
    msix: Msix,
    /// Offset of the capability for access through the configuration space (4.1.4.9).
    access_at: u8,
    transitional: bool,
}

/// Its registers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(bound = "R: Regs")]
pub struct VirtioPciRegs<R> {
    pci: PciRegs,
    msix: MsixRegs,
    /// The driver uses the legacy interface.
    legacy: bool,
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u16,
    config_vector: u16,
    queue_vectors: Vec<u16>,
    virtio: VirtioRegs<R>,
}

impl<R: Regs> Regs for VirtioPciRegs<R> {
    fn validate(&self) -> Result<(), BadState> {
        if self.queue_vectors.len() > LEN {
            return Err(BadState(format!("{} vectors of queues", self.queue_vectors.len())));
        }
        self.msix.validate()?;
        self.virtio.validate()
    }
}

/// Class code by device type (5, Device Types).
fn class(device: u32) -> u32 {
    match device {
        1 => 0x02_00_00,
        2 | 8 => 0x01_00_00,
        3 => 0x07_80_00,
        16 => 0x03_80_00,
        _ => 0x00_ff_00,
    }
}

/// PCI device ID of a transitional device (4.1.2.1), for types that have one.
fn transitional_id(device: u32) -> Option<u16> {
    Some(match device {
        1 => 0x1000,
        2 => 0x1001,
        5 => 0x1002,
        3 => 0x1003,
        8 => 0x1004,
        4 => 0x1005,
        9 => 0x1009,
        _ => return None,
    })
}

fn capability(kind: u8, offset: u64, len: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![16 + rest.len() as u8, kind, MODERN_BAR, 0, 0, 0];
    bytes.extend((offset as u32).to_le_bytes());
    bytes.extend((len as u32).to_le_bytes());
    bytes.extend(rest);
    bytes
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// The cell of a transport in `slot` with `device` behind it. `transitional` offers the legacy interface too, to
    /// drivers that want it.
    pub fn cell(device: D, slot: PciSlot, transitional: bool) -> Arc<DeviceCell<Self>> {
        let legacy_id = transitional_id(D::DEVICE_ID).filter(|_| transitional);
        let transitional = legacy_id.is_some();
        let id = legacy_id.unwrap_or(0x1040 + D::DEVICE_ID as u16);
        // 4.1.2.1: revision and subsystem tell drivers of the two kinds apart.
        let revision = if transitional { 0 } else { 1 };
        let bar = |number: u8, space, len, window| Bar {
            register: BAR0 + 4 * number,
            space,
            prefetchable: space == Space::Memory64,
            len,
            window: BarWindow::Mmio(window),
        };
        let mut layout = Layout::new(0x1af4, id, class(D::DEVICE_ID), revision)
            .subsystem(0x1af4, if transitional { D::DEVICE_ID as u16 } else { 0x1100 })
            .interrupt_pin(1)
            .bar(bar(MSIX_BAR, Space::Memory32, MSIX_LEN, MSIX))
            .bar(bar(MODERN_BAR, Space::Memory64, MODERN_LEN, MODERN));
        if transitional {
            layout = layout.bar(bar(LEGACY_BAR, Space::Io, LEGACY_LEN, LEGACY));
        }
        let queues = D::QUEUE_SIZES.len() as u16;
        let msix = Msix::new(&mut layout, queues + 1, MSIX_BAR, PENDING_AT);
        for (kind, offset) in [(COMMON_CFG, COMMON), (ISR_CFG, ISR), (DEVICE_CFG, CONFIG)] {
            layout.capability(VENDOR_CAPABILITY, &capability(kind, offset, PART_LEN, &[]), &[]);
        }
        let notify = capability(NOTIFY_CFG, NOTIFY, PART_LEN, &NOTIFY_STEP.to_le_bytes());
        layout.capability(VENDOR_CAPABILITY, &notify, &[]);
        // The driver says in this one which bytes of which window it means.
        let mut writable = [0; 18];
        writable[2] = 0xff;
        writable[6..].fill(0xff);
        let mut access = capability(PCI_CFG, 0, 0, &[0; 4]);
        access[2] = 0;
        let access_at = layout.capability(VENDOR_CAPABILITY, &access, &writable);

        let memory = slot.memory.clone();
        let function = Function::new(slot, layout);
        let virtio = Virtio::new(device, memory, true);
        let mut new = Self { regs: Default::default(), function, virtio, msix, access_at, transitional };
        new.regs = new.power_on();
        let cell = Arc::new(DeviceCell::new(new));
        let weak = Arc::downgrade(&cell);
        let wake = Box::new(move || {
            if let Some(cell) = weak.upgrade() {
                let _ = cell.with(|_| ());
            }
        });
        let _ = cell.with(|transport| transport.virtio.device().connect(wake));
        cell
    }

    fn power_on(&self) -> VirtioPciRegs<D::Regs> {
        VirtioPciRegs {
            pci: self.function.power_on(),
            msix: self.msix.power_on(),
            config_vector: NO_VECTOR,
            queue_vectors: vec![NO_VECTOR; D::QUEUE_SIZES.len()],
            virtio: self.virtio.power_on(),
            legacy: false,
            device_features_sel: 0,
            driver_features_sel: 0,
            queue_sel: 0,
        }
    }

    /// Waits until no request is under way, so that a snapshot can be taken. The vCPUs must be stopped.
    pub fn drain(&mut self) {
        self.virtio.drain(&mut self.regs.virtio);
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        self.virtio.device()
    }

    /// The driver uses the legacy interface, or the other.
    fn choose(&mut self, legacy: bool) {
        self.regs.legacy = legacy;
        self.virtio.set_modern(!legacy);
    }

    fn queue(&self) -> Option<&QueueRegs> {
        self.regs.virtio.queues.get(usize::from(self.regs.queue_sel))
    }

    fn queue_vector(&self) -> u16 {
        self.regs.queue_vectors.get(usize::from(self.regs.queue_sel)).copied().unwrap_or(NO_VECTOR)
    }

    /// A vector as the driver asks for it: one that does not exist is none (4.1.5.1.2.1).
    fn vector(value: u16) -> u16 {
        if usize::from(value) <= D::QUEUE_SIZES.len() { value } else { NO_VECTOR }
    }

    fn set_queue_vector(&mut self, value: u16) {
        if let Some(vector) = self.regs.queue_vectors.get_mut(usize::from(self.regs.queue_sel)) {
            *vector = Self::vector(value);
        }
    }

    fn write_status(&mut self, value: u8) {
        self.virtio.write_status(&mut self.regs.virtio, value);
        if value == 0 {
            self.regs.config_vector = NO_VECTOR;
            self.regs.queue_vectors.fill(NO_VECTOR);
            self.regs.legacy = false;
            (self.regs.device_features_sel, self.regs.driver_features_sel, self.regs.queue_sel) = (0, 0, 0);
        }
    }

    /// Reading the ISR takes the causes back (4.1.4.5).
    fn take_isr(&mut self) -> u8 {
        std::mem::take(&mut self.regs.virtio.isr)
    }

    /// The common configuration as bytes.
    fn common(&self) -> [u8; COMMON_LEN] {
        let r = &self.regs;
        let features = match r.device_features_sel {
            0 => self.virtio.features() as u32,
            1 => (self.virtio.features() >> 32) as u32,
            _ => 0,
        };
        let accepted = match r.driver_features_sel {
            0 => r.virtio.driver_features as u32,
            1 => (r.virtio.driver_features >> 32) as u32,
            _ => 0,
        };
        let none = QueueRegs::default();
        let queue = self.queue().unwrap_or(&none);
        let mut bytes = [0; COMMON_LEN];
        let fields: [(usize, &[u8]); 16] = [
            (0x00, &r.device_features_sel.to_le_bytes()),
            (0x04, &features.to_le_bytes()),
            (0x08, &r.driver_features_sel.to_le_bytes()),
            (0x0c, &accepted.to_le_bytes()),
            (0x10, &r.config_vector.to_le_bytes()),
            (0x12, &(D::QUEUE_SIZES.len() as u16).to_le_bytes()),
            (0x14, &[r.virtio.status]),
            (0x15, &[r.virtio.generation as u8]),
            (0x16, &r.queue_sel.to_le_bytes()),
            (0x18, &queue.size.to_le_bytes()),
            (0x1a, &self.queue_vector().to_le_bytes()),
            (0x1c, &u16::from(queue.ready).to_le_bytes()),
            (0x1e, &r.queue_sel.to_le_bytes()),
            (0x20, &queue.desc.to_le_bytes()),
            (0x28, &queue.avail.to_le_bytes()),
            (0x30, &queue.used.to_le_bytes()),
        ];
        for (at, field) in fields {
            for (to, from) in bytes.iter_mut().skip(at).zip(field) {
                *to = *from;
            }
        }
        bytes
    }

    fn write_common(&mut self, offset: u64, width: u8, value: u64) -> Option<()> {
        let queue = u32::from(self.regs.queue_sel);
        let regs = &mut self.regs.virtio;
        match (offset, width) {
            (0x00, 4) => self.regs.device_features_sel = value as u32,
            (0x08, 4) => self.regs.driver_features_sel = value as u32,
            (0x0c, 4) => {
                let word = self.regs.driver_features_sel;
                self.virtio.accept_features(regs, word, value as u32);
            }
            (0x10, 2) => self.regs.config_vector = Self::vector(value as u16),
            (0x14, 1) => self.write_status(value as u8),
            (0x16, 2) => self.regs.queue_sel = value as u16,
            (0x18, 2) => self.virtio.set_queue_size(regs, queue, value as u32 & 0xffff),
            (0x1a, 2) => self.set_queue_vector(value as u16),
            // 4.1.4.3.2: a driver does not write 0.
            (0x1c, 2) if value & 1 != 0 => self.virtio.set_queue_ready(regs, queue, true),
            (0x20..=0x37, 4) if offset.is_multiple_of(4) => {
                let shift = 8 * (offset & 4);
                let put = |old: &mut u64| *old = *old & !(0xffff_ffff << shift) | (value & 0xffff_ffff) << shift;
                self.virtio.configure_queue(regs, queue, |q| match offset {
                    0x20..=0x27 => put(&mut q.desc),
                    0x28..=0x2f => put(&mut q.avail),
                    _ => put(&mut q.used),
                });
            }
            (0x20..=0x30, 8) if offset.is_multiple_of(8) => {
                self.write_common(offset, 4, value)?;
                self.write_common(offset + 4, 4, value >> 32)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn read_modern(&mut self, offset: u64, width: u8) -> u64 {
        match offset {
            COMMON..ISR => {
                self.choose(false);
                let common = self.common();
                let bytes = (offset..).take(width.into()).map(|at| common.get(at as usize).copied().unwrap_or(0));
                bytes.zip(0..).fold(0, |value, (byte, n)| value | u64::from(byte) << (8 * n))
            }
            ISR => self.take_isr().into(),
            CONFIG..NOTIFY => self.virtio.read_config(&self.regs.virtio, offset - CONFIG, width),
            _ => 0,
        }
    }

    fn write_modern(&mut self, offset: u64, width: u8, value: u64) {
        match offset {
            COMMON..ISR => {
                self.choose(false);
                if self.write_common(offset, width, value).is_none() {
                    vm::log!(GuestError, "{}: write of {width} bytes at {offset:#x}", D::MODEL);
                }
            }
            CONFIG..NOTIFY => self.virtio.write_config(&mut self.regs.virtio, offset - CONFIG, width, value),
            // Notifications: the rings are looked at on the way out.
            _ => {}
        }
    }

    /// Where the device's configuration starts in the legacy window.
    fn legacy_config(&self) -> u64 {
        if self.msix.is_enabled(&self.regs.pci) { LEGACY_CONFIG_MSIX } else { LEGACY_CONFIG }
    }

    fn read_legacy(&mut self, offset: u64, width: u8) -> Result<u64, BusError> {
        self.choose(true);
        if let Some(at) = offset.checked_sub(self.legacy_config()) {
            return Ok(self.virtio.read_config(&self.regs.virtio, at, width));
        }
        Ok(match (offset, width) {
            (0x00, 4) => self.virtio.features() & 0xffff_ffff,
            (0x04, 4) => self.regs.virtio.driver_features & 0xffff_ffff,
            (0x08, 4) => self.queue().filter(|q| q.ready).map_or(0, |q| q.desc / PAGE),
            (0x0c, 2) => self.queue().map_or(0, |q| q.size.into()),
            (0x0e, 2) => self.regs.queue_sel.into(),
            (0x10, 2) => 0,
            (0x12, 1) => self.regs.virtio.status.into(),
            (0x13, 1) => self.take_isr().into(),
            (0x14, 2) => self.regs.config_vector.into(),
            (0x16, 2) => self.queue_vector().into(),
            _ => return Err(BusError::BadOffset),
        })
    }

    fn write_legacy(&mut self, offset: u64, width: u8, value: u64) -> Result<(), BusError> {
        self.choose(true);
        if let Some(at) = offset.checked_sub(self.legacy_config()) {
            self.virtio.write_config(&mut self.regs.virtio, at, width, value);
            return Ok(());
        }
        match (offset, width) {
            (0x04, 4) => self.virtio.accept_features(&mut self.regs.virtio, 0, value as u32),
            (0x08, 4) => self.set_queue_pfn(value as u32),
            (0x0e, 2) => self.regs.queue_sel = value as u16,
            (0x10, 2) => {}
            (0x12, 1) => {
                self.write_status(value as u8);
                self.choose(true);
            }
            (0x14, 2) => self.regs.config_vector = Self::vector(value as u16),
            (0x16, 2) => self.set_queue_vector(value as u16),
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }

    /// All three parts of a legacy queue follow from one page number (2.7.2).
    fn set_queue_pfn(&mut self, pfn: u32) {
        let (regs, queue) = (&mut self.regs.virtio, u32::from(self.regs.queue_sel));
        self.virtio.set_queue_ready(regs, queue, false);
        self.virtio.configure_queue(regs, queue, |q| {
            let size = u64::from(q.size);
            q.desc = u64::from(pfn) * PAGE;
            q.avail = q.desc + 16 * size;
            q.used = (q.avail + 6 + 2 * size).next_multiple_of(PAGE);
            q.ready = pfn != 0;
        });
    }

    /// The bytes that the capability for access through the configuration space names: window, offset, width.
    fn named(&self) -> Option<(u8, u64, u8)> {
        let pci = &self.regs.pci;
        let offset = u64::from(pci.dword(self.access_at + 8));
        let width = pci.dword(self.access_at + 12);
        let (window, len) = match pci.byte(self.access_at + 4) {
            LEGACY_BAR if self.transitional => (LEGACY, LEGACY_LEN),
            MODERN_BAR => (MODERN, MODERN_LEN),
            _ => return None,
        };
        let fits = matches!(width, 1 | 2 | 4) && offset.is_multiple_of(width.into()) && offset < len;
        fits.then_some((window, offset, width as u8))
    }
}

impl<D: VirtioDevice> Device for VirtioPci<D> {
    type Regs = VirtioPciRegs<D::Regs>;
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
        self.regs = VirtioPciRegs { virtio, ..self.power_on() };
    }

    fn update(&mut self) {
        self.virtio.set_modern(!self.regs.legacy);
        let r = &mut self.regs;
        self.virtio.poll(&mut r.virtio);
        let used = std::mem::take(&mut r.virtio.used);
        if self.msix.is_enabled(&r.pci) {
            // 4.1.5.1.2: each cause has its vector, and the ISR is not used.
            let isr = std::mem::take(&mut r.virtio.isr);
            if isr & ISR_CONFIG != 0 {
                self.msix.raise(&mut r.msix, &self.function, &r.pci, r.config_vector);
            }
            for (n, vector) in r.queue_vectors.iter().enumerate().take(64) {
                if used >> n & 1 != 0 {
                    self.msix.raise(&mut r.msix, &self.function, &r.pci, *vector);
                }
            }
            self.msix.update(&mut r.msix, &self.function, &r.pci);
        }
        self.function.set_intx(&mut r.pci, r.virtio.isr != 0);
        self.function.update(&r.pci);
    }
}

impl<D: VirtioDevice> PciFunction for VirtioPci<D> {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }

    fn read_config(&mut self, at: u8, width: u8) -> u32 {
        // 4.1.4.9: reading the data field reads the window.
        if at & !3 == self.access_at + 16
            && let Some((window, offset, width)) = self.named()
        {
            let value = if window == LEGACY {
                self.read_legacy(offset, width).unwrap_or(0)
            } else {
                self.read_modern(offset, width)
            };
            self.regs.pci.set_dword(self.access_at + 16, value as u32);
        }
        self.function.read(&self.regs.pci, at, width)
    }

    fn write_config(&mut self, at: u8, width: u8, value: u32) {
        self.function.write(&mut self.regs.pci, at, width, value);
        if at & !3 == self.access_at + 16
            && let Some((window, offset, width)) = self.named()
        {
            let value = u64::from(self.regs.pci.dword(self.access_at + 16)) & (u64::MAX >> (64 - 8 * u32::from(width)));
            if window == LEGACY {
                let _ = self.write_legacy(offset, width, value);
            } else {
                self.write_modern(offset, width, value);
            }
        }
    }
}

impl<D: VirtioDevice> Mmio for VirtioPci<D> {
    const WINDOWS: &'static [Window] = &[
        Window { len: LEGACY_LEN, widths: 1..=4 },
        Window { len: MSIX_LEN, widths: 4..=8 },
        Window { len: MODERN_LEN, widths: 1..=8 },
    ];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        match at.window {
            LEGACY => self.read_legacy(at.offset, at.width),
            MSIX => Ok(self.msix.read(&self.regs.msix, at.offset, at.width)),
            _ => Ok(self.read_modern(at.offset, at.width)),
        }
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        match at.window {
            LEGACY => self.write_legacy(at.offset, at.width, value),
            MSIX => {
                self.msix.write(&mut self.regs.msix, at.offset, at.width, value);
                Ok(())
            }
            _ => {
                self.write_modern(at.offset, at.width, value);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "pci_tests.rs"]
mod tests;
