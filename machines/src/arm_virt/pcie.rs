//! PCI Express of the board: the host bridge with its windows, what its functions' messages go to, and the device tree's
//! description (Linux's bindings `pci/host-generic-pci.yaml`, `pci/pci-msi.txt`, `interrupt-controller/arm,gic.yaml`).

use super::{Config, GicVersion, NAME, PHANDLE_GIC, RAM, SPI_PCIE, affinity, lines, spi};
use crate::board::{Board, PartDesc};
use crate::builder::{Made, Wires};
use crate::error::Error;
use crate::fdt::Node;
use crate::pc::devices::{self, PciBoard};
use hw::intc::gicv2::Gicv2;
use hw::intc::gicv2m::{self, Gicv2m};
use hw::intc::gicv3::{Gicv3, Processor, icc};
use hw::intc::gicv3_its::{self, Gicv3Its};
use hw::intc::wiring::{Gic, ppi_pins, spi_pins};
use hw::pci::bus::PciBus;
use hw::pci::ecam::{ECAM_LEN, GenericHost, GenericWindows, swizzle};
use hw::pci::function::{Message, MsiSink};
use std::sync::{Arc, OnceLock};
use vm::{DeviceCell, IrqSink};

/// The frame that takes messages, with a GICv2.
pub const V2M: u64 = 0x0802_0000;
/// What takes messages with a GICv3.
pub const ITS: u64 = 0x0808_0000;
/// SPIs of messages to a GICv2m.
pub const V2M_SPI: u32 = 48;
pub const V2M_SPIS: u32 = 64;
/// Memory of functions below 4 GiB.
pub const MMIO: (u64, u64) = (0x1000_0000, 0x2eff_0000);
/// Where their I/O ports are.
pub const PORTS: (u64, u64) = (0x3eff_0000, 0x1_0000);
/// Configuration space of 16 buses, for machines without room above 4 GiB.
const LOW_ECAM: (u64, u64) = (0x3f00_0000, 0x0100_0000);
/// What is above RAM begins here, or where RAM ends.
const HIGH: u64 = 256 << 30;
/// Kept for further redistributors.
const HIGH_REDIST_LEN: u64 = 64 << 20;
const HIGH_MMIO_LEN: u64 = 512 << 30;
/// Device numbers: the host bridge is 0.
const FIRST_SLOT: u8 = 1;
const SLOTS: usize = 32 - FIRST_SLOT as usize;

const PHANDLE_MSI: u32 = 4;

/// Where the windows are, each as address and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    pub ecam: (u64, u64),
    /// Memory of functions above 4 GiB.
    pub high_mmio: Option<(u64, u64)>,
}

impl Windows {
    /// The windows of a machine: what has room below the CPU's last address is above RAM, each at a multiple of its size.
    pub fn new(config: &Config) -> Self {
        let end = 1_u64 << config.pa_bits.clamp(32, 52);
        let place = |at: u64, len: u64| Some((at.checked_next_multiple_of(len)?, len));
        let fits = |(at, len): &(u64, u64)| at.checked_add(*len).is_some_and(|last| last <= end);
        let base = RAM.saturating_add(config.ram).next_multiple_of(1 << 30).max(HIGH) + HIGH_REDIST_LEN;
        let ecam = place(base, ECAM_LEN).filter(|window| config.highmem_ecam && fits(window));
        let high_mmio = place(base + ECAM_LEN, HIGH_MMIO_LEN).filter(|window| config.highmem_mmio && fits(window));
        Self { ecam: ecam.unwrap_or(LOW_ECAM), high_mmio }
    }

    /// How many buses have configuration space.
    pub fn buses(&self) -> u32 {
        (self.ecam.1 >> 20) as u32
    }
}

/// What parts need of one another, made in the order of the board.
#[derive(Default)]
pub struct Shared {
    gicv3: OnceLock<Arc<DeviceCell<Gicv3>>>,
    spis: OnceLock<Arc<dyn IrqSink>>,
    msi: OnceLock<MsiSink>,
    bus: OnceLock<Arc<PciBus>>,
}

impl PciBoard for Shared {
    const HOST: &'static str = "pcie";

    fn bus(&self, w: &Wires<'_>) -> Result<&Arc<PciBus>, Error> {
        made(&self.bus, w)
    }
}

fn made<'a, T>(what: &'a OnceLock<T>, w: &Wires<'_>) -> Result<&'a T, Error> {
    what.get().ok_or_else(|| w.fail("it is made before what it is connected to"))
}

/// Adds the interrupt controller, without its lines.
pub fn gic<'a>(b: &'a mut Board, config: &Config, shared: &Arc<Shared>) -> &'a mut PartDesc {
    let (cpus, shared) = (config.cpus, shared.clone());
    match config.gic {
        GicVersion::V2 => b.add::<Gicv2>("gic", move |w| {
            let cpu_lines = (0..cpus).map(|n| lines(w, n)).collect();
            Ok(gic_made(Arc::new(DeviceCell::new(Gicv2::new(super::SPIS, cpu_lines))), cpus, &shared))
        }),
        GicVersion::V3 => {
            let its = config.its;
            b.add::<Gicv3>("gic", move |w| {
                let cpu = |n| Processor { affinity: affinity(n), lines: lines(w, n) };
                let mut gic = Gicv3::new(super::SPIS, (0..cpus).map(cpu).collect()).awake();
                if its {
                    gic = gic.with_lpis(w.bus().clone());
                }
                let cell = Arc::new(DeviceCell::new(gic));
                w.sysregs().map(&icc::registers(), icc::port(&cell));
                let _ = shared.gicv3.set(cell.clone());
                Ok(gic_made(cell, cpus, &shared))
            })
        }
    }
}

fn gic_made<G: Gic + vm::Mmio>(cell: Arc<DeviceCell<G>>, cpus: u32, shared: &Shared) -> Made {
    let spis = spi_pins(&cell);
    let _ = shared.spis.set(spis.clone());
    let mut inputs = vec![("spi".to_string(), spis)];
    inputs.extend((0..cpus).map(|n| (format!("ppi{n}_"), ppi_pins(&cell, n))));
    Made { inputs, ..Made::cell(cell) }
}

fn nowhere(Message { requester, address, data }: Message) {
    vm::log!(GuestError, "pci: message {data:#x} of {requester:#x} to {address:#x}, where no interrupt is");
}

/// Adds what takes messages, if the machine has it.
pub fn messages(b: &mut Board, config: &Config, shared: &Arc<Shared>) {
    let shared = shared.clone();
    match config.gic {
        GicVersion::V2 => {
            b.add::<Gicv2m>("v2m", move |w| {
                let cell = Arc::new(DeviceCell::new(Gicv2m::new(made(&shared.spis, w)?.clone(), V2M_SPI, V2M_SPIS)));
                let frame = cell.clone();
                let sink: MsiSink = Arc::new(move |message| {
                    if message.address != V2M + gicv2m::MSI_SETSPI_NS {
                        return nowhere(message);
                    }
                    let _ = frame.with(|frame| frame.message(message.data));
                });
                let _ = shared.msi.set(sink);
                Ok(Made::cell(cell))
            })
            .at(V2M)
            .after("gic");
        }
        GicVersion::V3 if config.its => {
            b.add::<Gicv3Its>("its", move |w| {
                let its = Gicv3Its::new(made(&shared.gicv3, w)?.clone(), w.bus().clone());
                let cell = Arc::new(DeviceCell::new(its));
                let service = cell.clone();
                let sink: MsiSink = Arc::new(move |message| {
                    if message.address != ITS + gicv3_its::GITS_TRANSLATER {
                        return nowhere(message);
                    }
                    // The device tree and ACPI say that the DeviceID is the requester's.
                    let _ = service.with(|its| its.message(message.requester.into(), message.data));
                });
                let _ = shared.msi.set(sink);
                Ok(Made::cell(cell))
            })
            .at(ITS)
            .after("gic");
        }
        GicVersion::V3 => {}
    }
}

/// Adds the host bridge and the functions behind it.
pub fn add(b: &mut Board, config: &Config, shared: &Arc<Shared>) -> Result<(), Error> {
    let asked = config.pci.len();
    if asked > SLOTS {
        return Err(Error::TooManyPci { machine: NAME, slots: SLOTS, asked });
    }
    let windows = Windows::new(config);
    let of = shared.clone();
    let part = b.add::<GenericHost>("pcie", move |w| {
        let bus = PciBus::with_ports_at_0(w.bus().clone(), w.ports().clone(), of.msi.get().cloned(), swizzle);
        bus.wire([w.irq(0), w.irq(1), w.irq(2), w.irq(3)]);
        let cell = Arc::new(DeviceCell::new(GenericHost::new(bus.slot(0, 0))));
        bus.plug(&cell);
        let port = GenericWindows::new(bus.clone(), w.ports().clone());
        let _ = of.bus.set(bus);
        Ok(Made { port: Some(Arc::new(port)), ..Made::part(cell) })
    });
    part.at_len(windows.ecam.0, windows.ecam.1).at(PORTS.0);
    part.irqs((0..4).map(|n| spi(SPI_PCIE + n)));
    part.after("gic").after("v2m").after("its");
    for (device, n) in config.pci.iter().zip(FIRST_SLOT..) {
        devices::pci(b, shared, device, n, config.synchronous);
    }
    Ok(())
}

/// The node of what takes messages, inside that of the interrupt controller.
pub fn messages_node(config: &Config) -> Option<Node> {
    let (at, len, compatible) = match config.gic {
        GicVersion::V2 => (V2M, gicv2m::FRAME_LEN, "arm,gic-v2m-frame"),
        GicVersion::V3 if config.its => (ITS, gicv3_its::LEN, "arm,gic-v3-its"),
        GicVersion::V3 => return None,
    };
    let name = if config.gic == GicVersion::V2 { "v2m" } else { "its" };
    let node = Node::new(format!("{name}@{at:x}"))
        .string("compatible", compatible)
        .flag("msi-controller")
        .reg("reg", &[(at, len)])
        .cells("phandle", &[PHANDLE_MSI]);
    Some(if config.gic == GicVersion::V3 { node.cells("#msi-cells", &[1]) } else { node })
}

/// The host bridge's node.
pub fn node(config: &Config) -> Node {
    // Kinds of addresses in the first cell: configuration space of a device, I/O ports, memory of 32 and of 64 bits.
    const IO: u32 = 1 << 24;
    const MEMORY32: u32 = 2 << 24;
    const MEMORY64: u32 = 3 << 24;
    let windows = Windows::new(config);
    let split = |value: u64| [(value >> 32) as u32, value as u32];
    let range =
        |kind: u32, bus: u64, (at, len): (u64, u64)| [&[kind][..], &split(bus), &split(at), &split(len)].concat();
    let mut ranges = [range(IO, 0, PORTS), range(MEMORY32, MMIO.0, MMIO)].concat();
    ranges.extend(windows.high_mmio.map(|window| range(MEMORY64, window.0, window)).unwrap_or_default());
    // Devices that differ by 4 are wired alike.
    let mut map = Vec::new();
    for (device, pin) in (0..4_u8).flat_map(|device| (0..4_u8).map(move |pin| (device, pin))) {
        let interrupt = SPI_PCIE + u32::from(swizzle(device, pin));
        map.extend([u32::from(device) << 11, 0, 0, u32::from(pin) + 1, PHANDLE_GIC, 0, 0, 0, interrupt, 4]);
    }
    let node = Node::new(format!("pcie@{:x}", MMIO.0))
        .string("compatible", "pci-host-ecam-generic")
        .string("device_type", "pci")
        .cells("#address-cells", &[3])
        .cells("#size-cells", &[2])
        .cells("linux,pci-domain", &[0])
        .cells("bus-range", &[0, windows.buses() - 1])
        .flag("dma-coherent")
        .reg("reg", &[windows.ecam])
        .cells("ranges", &ranges)
        .cells("#interrupt-cells", &[1])
        .cells("interrupt-map-mask", &[3 << 11, 0, 0, 7])
        .cells("interrupt-map", &map);
    match messages_node(config) {
        Some(_) => node.cells("msi-map", &[0, PHANDLE_MSI, 0, 0x1_0000]),
        None => node,
    }
}
