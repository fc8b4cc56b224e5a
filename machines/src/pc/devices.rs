//! What is plugged into the mainboard: the VGA, functions on PCI, devices at I/O ports.

use super::board::{Shared, VGA_AT, VGA_PRIORITY};
use super::{ChipSet, Config, PciDevice, PortDevice, PortKind};
use crate::board::{Board, PartDesc};
use crate::builder::{Made, Wires};
use crate::devices::{self, Reach};
use crate::error::Error;
use hw::block::nvme::{Nvme, NvmeOptions};
use hw::display::vga::{self, Vga};
use hw::misc::debug_exit::DebugExit;
use hw::misc::debugcon::Debugcon;
use hw::misc::pvpanic::{PANICKED, Pvpanic};
use hw::net::e1000::E1000;
use hw::pci::bus::PciBus;
use hw::pci::function::{PciFunction, PciSlot};
use hw::virtio::VirtioDevice;
use hw::virtio::balloon::VirtioBalloon;
use hw::virtio::blk::{BlkOptions, VirtioBlk};
use hw::virtio::console::VirtioConsole;
use hw::virtio::net::VirtioNet;
use hw::virtio::pci::VirtioPci;
use hw::virtio::rng::VirtioRng;
use std::sync::Arc;
use vm::netdev::NetDev;
use vm::{Backing, DeviceCell, Gpa, Mapping, Mmio, Ram};

const VRAM_LEN: u64 = 16 << 20;

/// Adds them all.
pub fn add(b: &mut Board, config: &Config, shared: &Arc<Shared>, vga_bios: Option<Vec<u8>>) {
    if config.vga {
        vga(b, config.chip_set, shared, vga_bios);
    }
    for (device, n) in config.devices.iter().zip(config.chip_set.slots()) {
        pci(b, shared, device, n, config.synchronous);
    }
    for (n, device) in config.ports.iter().enumerate() {
        port(b, device, n);
    }
}

/// An adapter; its windows of a VGA are the board's to place, in memory over the hole.
fn vga(b: &mut Board, chip_set: ChipSet, shared: &Arc<Shared>, bios: Option<Vec<u8>>) {
    let (of, on_pci) = (shared.clone(), chip_set.has_pci());
    b.add::<Vga>("vga", move |w| {
        let vram = Ram::new(VRAM_LEN)?;
        let rom = match bios.filter(|_| on_pci) {
            Some(bytes) => {
                let rom = Ram::new((bytes.len() as u64).next_power_of_two().max(4096))?;
                (0..).zip(&bytes).for_each(|(at, byte)| _ = rom.store(at, 1, (*byte).into()));
                Some(rom)
            }
            None => None,
        };
        let slot = of.bus(w)?.slot(chip_set.vga(), 0);
        let cell = Arc::new(DeviceCell::new(Vga::new(slot, vram.clone(), rom, w.timers().clock().clone())));
        if on_pci {
            of.bus(w)?.plug(&cell);
        }
        let backing = Backing::Mmio { port: cell.clone(), window: vga::LEGACY, offset: 0 };
        let len = Vga::WINDOWS[usize::from(vga::LEGACY)].len;
        w.bus().map(Mapping { name: "vga".into(), gpa: Gpa(VGA_AT), len, priority: VGA_PRIORITY, backing })?;
        Ok(Made { memory: Some(vram), display: Some(cell.clone()), ..Made::cell(cell) })
    })
    .at_wide_port(0x3b0)
    .at_wide_port(0x1ce)
    .by_guest(2)
    .after("pic");
}

/// A cable that leads nowhere.
struct Unplugged;

impl NetDev for Unplugged {
    fn send(&self, _frame: &[u8]) {}
    fn receive(&self, _frame: &mut Vec<u8>) -> bool {
        false
    }
    fn on_receive(&self, _wake: Box<dyn Fn() + Send + Sync>) {}
}

fn network(w: &Wires<'_>) -> Result<Arc<dyn NetDev>, Error> {
    if w.has_netdev() { w.netdev() } else { Ok(Arc::new(Unplugged)) }
}

/// A board with a PCI bus, as parts of it know it.
pub trait PciBoard: 'static {
    /// The part that must be made before functions are plugged.
    const HOST: &'static str;

    /// The bus.
    ///
    /// # Errors
    /// When it cannot be made yet.
    fn bus(&self, w: &Wires<'_>) -> Result<&Arc<PciBus>, Error>;
}

impl PciBoard for Shared {
    const HOST: &'static str = "pic";

    fn bus(&self, w: &Wires<'_>) -> Result<&Arc<PciBus>, Error> {
        Shared::bus(self, w)
    }
}

/// Adds the part `path` for a function of model `T`.
fn function<'a, T: PciFunction + Mmio>(
    b: &'a mut Board,
    shared: &Arc<impl PciBoard>,
    (path, n): (String, u8),
    make: impl FnOnce(&mut Wires<'_>, PciSlot) -> Result<Arc<DeviceCell<T>>, Error> + 'static,
    drain: Option<fn(&mut T)>,
    finish: impl FnOnce(&Arc<DeviceCell<T>>, &mut Made) + 'static,
) -> &'a mut PartDesc {
    let of = shared.clone();
    b.add::<T>(path, move |w| {
        let slot = of.bus(w)?.slot(n, 0);
        let cell = make(w, slot)?;
        of.bus(w)?.plug(&cell);
        let drained = cell.clone();
        let drain = drain.map(|drain| -> Box<dyn Fn() + Send + Sync> { Box::new(move || _ = drained.with(drain)) });
        let mut made = Made { drain, ..Made::part(cell.clone()) };
        finish(&cell, &mut made);
        Ok(made)
    })
    .by_guest(T::WINDOWS.len())
    .after(host(shared))
}

fn host<S: PciBoard>(_: &Arc<S>) -> &'static str {
    S::HOST
}

fn virtio<'a, D: VirtioDevice>(
    b: &'a mut Board,
    shared: &Arc<impl PciBoard>,
    at: (String, u8),
    make: impl FnOnce(&mut Wires<'_>) -> Result<D, Error> + 'static,
) -> &'a mut PartDesc {
    virtio_with(b, shared, at, make, |_, _| {})
}

/// The same with further things that the machine knows the device by.
fn virtio_with<'a, D: VirtioDevice>(
    b: &'a mut Board,
    shared: &Arc<impl PciBoard>,
    at: (String, u8),
    make: impl FnOnce(&mut Wires<'_>) -> Result<D, Error> + 'static,
    finish: impl FnOnce(Reach<D>, &mut Made) + 'static,
) -> &'a mut PartDesc {
    let make = move |w: &mut Wires<'_>, slot| Ok(VirtioPci::cell(make(w)?, slot, true));
    let finish = move |cell: &Arc<DeviceCell<VirtioPci<D>>>, made: &mut Made| {
        let cell = cell.clone();
        finish(Arc::new(move |f| _ = cell.with(|transport| f(transport.device()))), made);
    };
    function::<VirtioPci<D>>(b, shared, at, make, Some(VirtioPci::drain), finish)
}

/// Adds the function `device`, device number `n` of the bus of any board.
pub fn pci(b: &mut Board, shared: &Arc<impl PciBoard>, device: &PciDevice, n: u8, synchronous: bool) {
    let at = |name: &str| (format!("{name}-{n:x}"), n);
    match device.clone() {
        PciDevice::VirtioBlk { drive, serial } => virtio(b, shared, at("virtio-blk"), move |w| {
            VirtioBlk::new(w.drive()?, BlkOptions { serial, synchronous }).map_err(|e| w.fail(e))
        })
        .drive(&drive),
        PciDevice::VirtioRng => virtio(b, shared, at("virtio-rng"), |w| Ok(VirtioRng::new(w.entropy().clone()))),
        PciDevice::VirtioConsole { chardev } => {
            virtio(b, shared, at("virtio-console"), |w| Ok(VirtioConsole::new(w.chardev()?))).chardev(&chardev)
        }
        PciDevice::VirtioNet { netdev, mac } => {
            let part = virtio(b, shared, at("virtio-net"), move |w| Ok(VirtioNet::new(network(w)?, mac)));
            connect(part, netdev)
        }
        PciDevice::E1000 { netdev, mac } => {
            let make = move |w: &mut Wires<'_>, slot| Ok(E1000::cell(slot, network(w)?, mac));
            connect(function::<E1000>(b, shared, at("e1000"), make, None, |_, _| {}), netdev)
        }
        PciDevice::Nvme { drive, serial } => {
            let make = move |w: &mut Wires<'_>, slot| {
                Nvme::cell(slot, w.drive()?, NvmeOptions { serial, synchronous }).map_err(|e| w.fail(e))
            };
            function::<Nvme>(b, shared, at("nvme"), make, Some(Nvme::drain), |_, _| {}).drive(&drive)
        }
        PciDevice::VirtioScsi { units } => {
            let (asked, name) = (units.clone(), format!("scsi{n:x}"));
            let make = move |w: &mut Wires<'_>| devices::scsi(w, &asked, synchronous);
            virtio_with(b, shared, at("virtio-scsi"), make, move |reach, made| {
                made.media = devices::scsi_media(&name, &units, &reach);
            })
        }
        PciDevice::Virtio9p { folder, tag } => {
            virtio(b, shared, at("virtio-9p"), move |w| devices::ninep(w, &folder, tag, synchronous))
        }
        PciDevice::VirtioBalloon => {
            let make = |w: &mut Wires<'_>| Ok(VirtioBalloon::new(w.bus().clone()));
            virtio_with(b, shared, at("virtio-balloon"), make, |reach, made| {
                made.balloon = Some(devices::balloon(reach));
            })
        }
    };
}

fn connect(part: &mut PartDesc, netdev: Option<String>) -> &mut PartDesc {
    match netdev {
        Some(id) => part.netdev(&id),
        None => part,
    }
}

fn port(b: &mut Board, device: &PortDevice, n: usize) {
    let at = device.port;
    match device.kind.clone() {
        PortKind::Debugcon { chardev } => b
            .add::<Debugcon>(format!("debugcon{n}"), |w| {
                Ok(Made::cell(Arc::new(DeviceCell::new(Debugcon::new(w.chardev()?)))))
            })
            .at_port(at)
            .chardev(&chardev),
        PortKind::DebugExit { len } => b
            .add::<DebugExit>(format!("debug-exit{n}"), |w| {
                Ok(Made::cell(Arc::new(DeviceCell::new(DebugExit::new(w.power().clone())))))
            })
            .at_port_len(at, len.into()),
        PortKind::Pvpanic => b
            .add::<Pvpanic>(format!("pvpanic{n}"), |_| {
                let tell = |events| {
                    let what = if events & PANICKED != 0 { "panicked" } else { "panicked and starts its crash kernel" };
                    eprintln!("mimic: the guest's kernel has {what}");
                };
                Ok(Made::cell(Arc::new(DeviceCell::new(Pvpanic::new(Box::new(tell))))))
            })
            .at_port(at),
    };
}
