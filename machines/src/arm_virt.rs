//! Machine `virt`: the memory map and interrupt numbers of QEMU's machine of that name (QEMU documentation, "'virt'
//! generic virtual platform"), so that kernels and firmware made for it boot unchanged.
//!
//! | address       | what                                                     | interrupt     |
//! |---------------|----------------------------------------------------------|---------------|
//! | `0x0000_0000` | two flash banks of 64 MiB                                |               |
//! | `0x0800_0000` | GIC distributor                                          |               |
//! | `0x0801_0000` | GICv2 CPU interface                                      |               |
//! | `0x0802_0000` | GICv2m                                                   | SPI 48 to 111 |
//! | `0x0808_0000` | GICv3 ITS                                                | LPIs          |
//! | `0x080a_0000` | GICv3 redistributors                                     |               |
//! | `0x0900_0000` | PL011                                                    | SPI 1         |
//! | `0x0901_0000` | PL031                                                    | SPI 2         |
//! | `0x0902_0000` | fw_cfg                                                   |               |
//! | `0x0903_0000` | PL061; the power button is pin 3                         | SPI 7         |
//! | `0x0a00_0000` | 32 virtio-mmio transports of 512 bytes                   | SPI 16 + slot |
//! | `0x1000_0000` | memory of PCI functions                                  |               |
//! | `0x3eff_0000` | I/O ports of PCI functions                               | SPI 3 to 6    |
//! | `0x3f00_0000` | PCI configuration space, if not above RAM                |               |
//! | `0x4000_0000` | RAM                                                      |               |
//! | 256 GiB, or above RAM | PCI configuration space at 256 MiB into it, then 512 GiB for memory of PCI functions | |
//!
//! Linux names disks in order of slot. `-device virtio-*-device` fills slots from the last one downwards, as under QEMU,
//! where the disk given last is therefore `vda`. `-drive if=virtio` and `-device virtio-*-pci` are on PCI, where the disk
//! given first is `vda`.
//!
//! - here: what is asked for, the parts, the device tree;
//! - [`firmware`]: what firmware is told of it beside;
//! - [`pcie`]: PCI Express and messages.

pub mod firmware;
pub mod pcie;

use crate::board::{Board, CpuDesc, Pin};
use crate::boot::{Blob, File, arm64, kernel::Kernel};
use crate::builder::{Boot, Made, Wires};
use crate::devices::{self, Reach, ScsiUnit};
use crate::error::{Error, Role};
use crate::fdt::{Fdt, Node};
use crate::pc::PciDevice;
use arm::wiring;
use firmware::Told;
use hw::block::cfi_flash::CfiFlash;
use hw::char::pl011::Pl011;
use hw::gpio::pl061::Pl061;
use hw::intc::wiring::CpuLines;
use hw::misc::fw_cfg::{FwCfg, key};
use hw::rtc::pl031::Pl031;
use hw::virtio::balloon::VirtioBalloon;
use hw::virtio::blk::{BlkOptions, VirtioBlk};
use hw::virtio::console::VirtioConsole;
use hw::virtio::mmio::VirtioMmio;
use hw::virtio::net::VirtioNet;
use hw::virtio::ninep::Virtio9p;
use hw::virtio::rng::VirtioRng;
use hw::virtio::scsi::VirtioScsi;
use hw::virtio::{NoDevice, VirtioDevice};
use pcie::Shared;
use std::sync::Arc;
use vm::chardev::CharPort;
use vm::{DeviceCell, Gpa, Ram};

const NAME: &str = "virt";
/// Where RAM begins.
pub const RAM: u64 = 0x4000_0000;
/// Bytes of a flash bank.
pub const FLASH_LEN: u64 = 64 << 20;
const GIC_DIST: u64 = 0x0800_0000;
const GICV2_CPU: u64 = 0x0801_0000;
const GICV3_REDIST: u64 = 0x080a_0000;
/// Up to the UART.
const GICV3_REDIST_LEN: u64 = 0x00f6_0000;
const UART: u64 = 0x0900_0000;
const RTC: u64 = 0x0901_0000;
const FW_CFG: u64 = 0x0902_0000;
const GPIO: u64 = 0x0903_0000;
const VIRTIO: u64 = 0x0a00_0000;
const VIRTIO_LEN: u64 = 0x200;
const VIRTIO_SLOTS: usize = 32;
const SPIS: u32 = 256;
const SPI_UART: u32 = 1;
const SPI_RTC: u32 = 2;
/// First of four, one for each line of the PCI bus.
const SPI_PCIE: u32 = 3;
const SPI_GPIO: u32 = 7;
const SPI_VIRTIO: u32 = 16;
const POWER_KEY_PIN: u32 = 3;
/// Private interrupts by INTID (Arm BSA, "PPI assignments"), in order of the vCPU's outputs.
const INTIDS: [u32; wiring::OUTPUTS] = {
    let mut intids = [0; wiring::OUTPUTS];
    intids[wiring::OUT_VIRTUAL_TIMER] = 27;
    intids[wiring::OUT_PHYSICAL_TIMER] = 30;
    intids[wiring::OUT_HYP_TIMER] = 26;
    intids[wiring::OUT_SECURE_TIMER] = 29;
    intids[wiring::OUT_PMU] = 23;
    intids
};
/// The most address bits that any page table format here has.
const MAX_PA_BITS: u32 = 48;

// Handles between device tree nodes.
const PHANDLE_GIC: u32 = 1;
const PHANDLE_CLOCK: u32 = 2;
const PHANDLE_GPIO: u32 = 3;
const PHANDLE_CPU: u32 = 0x10;

/// Which interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicVersion {
    /// GICv2, at most 8 CPUs.
    V2,
    /// GICv3.
    V3,
}

/// What is behind a virtio-mmio transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VirtioKind {
    /// The disk `drive`; `serial` is what GET_ID gives.
    Blk { drive: String, serial: String },
    /// Random numbers.
    Rng,
    /// A console on the serial line `chardev`.
    Console { chardev: String },
    /// A network card on the network `netdev`.
    Net { netdev: String, mac: [u8; 6] },
    /// A SCSI host.
    Scsi { units: Vec<ScsiUnit> },
    /// The shared folder `folder`, mounted as `tag`.
    Ninep { folder: String, tag: String },
    /// A memory balloon.
    Balloon,
}

/// The machine as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// CPU model with its feature flags.
    pub cpu: String,
    /// Physical address bits of that model.
    pub pa_bits: u32,
    /// Whether that model has a performance monitor.
    pub pmu: bool,
    /// Number of CPUs.
    pub cpus: u32,
    /// Bytes of RAM.
    pub ram: u64,
    /// Interrupt controller.
    pub gic: GicVersion,
    /// Serial line of the UART; `None` leads nowhere.
    pub serial: Option<String>,
    /// Disks in the flash banks.
    pub flash: [Option<String>; 2],
    /// Firmware gets ACPI tables.
    pub acpi: bool,
    /// With GICv3: there is an ITS.
    pub its: bool,
    /// PCI configuration space may be above RAM.
    pub highmem_ecam: bool,
    /// There may be memory of PCI functions above RAM.
    pub highmem_mmio: bool,
    /// Devices on virtio-mmio in the order they were asked for.
    pub virtio: Vec<VirtioKind>,
    /// Functions on PCI in the order they were asked for.
    pub pci: Vec<PciDevice>,
    /// virtio-mmio version 1 (`-global virtio-mmio.force-legacy=true`, QEMU's default).
    pub legacy_virtio: bool,
    /// Disk requests run inside the guest's notification, so that runs can be repeated.
    pub synchronous: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cpu: "max".into(),
            pa_bits: 48,
            pmu: true,
            cpus: 1,
            ram: 128 << 20,
            gic: GicVersion::V2,
            serial: None,
            flash: [None, None],
            acpi: true,
            its: true,
            highmem_ecam: true,
            highmem_mmio: true,
            virtio: Vec::new(),
            pci: Vec::new(),
            legacy_virtio: false,
            synchronous: false,
        }
    }
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `-kernel`.
    pub kernel: Option<File>,
    /// `-initrd`.
    pub initrd: Option<File>,
    /// `-dtb`.
    pub dtb: Option<File>,
    /// `-bios`: into the first flash bank.
    pub firmware: Option<File>,
    /// `-append`.
    pub cmdline: String,
}

/// The board for `config`, and what is in memory at the start.
///
/// # Errors
/// What cannot be: too much RAM or too many CPUs or devices, or a file that does not boot.
pub fn machine(config: &Config, files: Files) -> Result<(Board, Boot), Error> {
    let firmware = files.firmware.is_some() || config.flash[0].is_some();
    let board = board(config, firmware.then(|| Told::new(config, &files)))?;
    let boot = boot(config, &board, files, firmware)?;
    Ok((board, boot))
}

fn spi(n: u32) -> Pin {
    Pin::new("gic", "spi", n)
}

fn board(config: &Config, told: Option<Told>) -> Result<Board, Error> {
    check(config)?;
    let cpus = config.cpus;
    let mut b = Board::new(NAME);
    b.ram("ram", RAM, config.ram);
    for n in 0..cpus {
        // PPI 0 is INTID 16.
        let outputs = INTIDS.iter().map(|intid| Pin::new("gic", format!("ppi{n}_"), intid - 16)).collect();
        let inputs = vec![("pin".into(), 2)];
        b.cpus.push(CpuDesc { path: format!("cpu{n}"), model: config.cpu.clone(), inputs, outputs });
    }
    for (n, drive) in config.flash.iter().enumerate() {
        let part = b.add::<CfiFlash>(format!("flash{n}"), flash).at(FLASH_LEN * n as u64);
        if let Some(drive) = drive {
            part.drive(drive);
        }
    }
    let shared = Arc::new(Shared::default());
    let gic = pcie::gic(&mut b, config, &shared).at(GIC_DIST);
    match config.gic {
        GicVersion::V2 => gic.at(GICV2_CPU),
        GicVersion::V3 => gic.at_len(GICV3_REDIST, GICV3_REDIST_LEN),
    };
    gic.inputs("spi", SPIS).fdt(gic_node(config));
    for n in 0..cpus {
        gic.inputs(format!("ppi{n}_"), 16);
        gic.irqs([wiring::PIN_IRQ, wiring::PIN_FIQ].map(|pin| Pin::new(format!("cpu{n}"), "pin", pin)));
    }
    pcie::messages(&mut b, config, &shared);
    let uart = b.add::<Pl011>("uart0", |w| {
        let port = if w.has_chardev() { w.chardev()? } else { Arc::new(CharPort::null()) };
        Ok(Made::cell(Pl011::cell(w.irq(0), port)))
    });
    uart.at(UART).irq(spi(SPI_UART)).fdt(primecell("pl011", &["uartclk", "apb_pclk"]));
    if let Some(serial) = &config.serial {
        uart.chardev(serial);
    }
    b.add::<Pl031>("rtc", |w| Ok(Made::cell(Pl031::cell(w.irq(0), w.timers()))))
        .at(RTC)
        .irq(spi(SPI_RTC))
        .fdt(primecell("pl031", &["apb_pclk"]));
    let ram = config.ram;
    b.add::<FwCfg>("fw_cfg", move |w| fw_cfg(w, ram, cpus, told))
        .at(FW_CFG)
        .fdt(Node::new("fw-cfg").string("compatible", "qemu,fw-cfg-mmio").flag("dma-coherent"));
    b.add::<Pl061>("gpio", |w| {
        let cell = Arc::new(DeviceCell::new(Pl061::new(w.irq(0), Vec::new())));
        Ok(Made { inputs: vec![("pin".into(), Pl061::inputs(&cell))], ..Made::cell(cell) })
    })
    .at(GPIO)
    .irq(spi(SPI_GPIO))
    .inputs("pin", 8)
    .fdt(
        primecell("pl061", &["apb_pclk"])
            .flag("gpio-controller")
            .cells("#gpio-cells", &[2])
            .cells("phandle", &[PHANDLE_GPIO]),
    );
    b.power_button = Some(Pin::new("gpio", "pin", POWER_KEY_PIN));
    for (slot, kind) in slots(&config.virtio)?.into_iter().enumerate() {
        let (legacy, synchronous, path) = (config.legacy_virtio, config.synchronous, format!("virtio{slot}"));
        let part = match kind {
            None => b.add::<VirtioMmio<NoDevice>>(path, move |w| Ok(virtio(w, NoDevice, legacy))),
            Some(VirtioKind::Rng) => b.add::<VirtioMmio<VirtioRng>>(path, move |w| {
                let device = VirtioRng::new(w.entropy().clone());
                Ok(virtio(w, device, legacy))
            }),
            Some(VirtioKind::Blk { drive, serial }) => b
                .add::<VirtioMmio<VirtioBlk>>(path, move |w| {
                    let disk = w.drive()?;
                    let device = VirtioBlk::new(disk, BlkOptions { serial, synchronous }).map_err(|e| w.fail(e))?;
                    Ok(virtio(w, device, legacy))
                })
                .drive(&drive),
            Some(VirtioKind::Console { chardev }) => b
                .add::<VirtioMmio<VirtioConsole>>(path, move |w| {
                    let device = VirtioConsole::new(w.chardev()?);
                    Ok(virtio(w, device, legacy))
                })
                .chardev(&chardev),
            Some(VirtioKind::Net { netdev, mac }) => b
                .add::<VirtioMmio<VirtioNet>>(path, move |w| {
                    let device = VirtioNet::new(w.netdev()?, mac);
                    Ok(virtio(w, device, legacy))
                })
                .netdev(&netdev),
            Some(VirtioKind::Scsi { units }) => b.add::<VirtioMmio<VirtioScsi>>(path, move |w| {
                let (device, name) = (devices::scsi(w, &units, synchronous)?, format!("scsi{slot:x}"));
                let (mut made, reach) = virtio_reached(w, device, legacy);
                made.media = devices::scsi_media(&name, &units, &reach);
                Ok(made)
            }),
            Some(VirtioKind::Ninep { folder, tag }) => b.add::<VirtioMmio<Virtio9p>>(path, move |w| {
                let device = devices::ninep(w, &folder, tag, synchronous)?;
                Ok(virtio(w, device, legacy))
            }),
            Some(VirtioKind::Balloon) => b.add::<VirtioMmio<VirtioBalloon>>(path, move |w| {
                let device = VirtioBalloon::new(w.bus().clone());
                let (mut made, reach) = virtio_reached(w, device, legacy);
                made.balloon = Some(devices::balloon(reach));
                Ok(made)
            }),
        };
        part.at(VIRTIO + VIRTIO_LEN * slot as u64)
            .irq(spi(SPI_VIRTIO + slot as u32).edge())
            .fdt(Node::new("virtio_mmio").string("compatible", "virtio,mmio").flag("dma-coherent"));
    }
    pcie::add(&mut b, config, &shared)?;
    Ok(b)
}

fn check(config: &Config) -> Result<(), Error> {
    let (asked, ram) = (config.cpus, config.ram);
    let (max, why) = match config.gic {
        GicVersion::V2 => (8, "with GICv2"),
        GicVersion::V3 => ((GICV3_REDIST_LEN / hw::intc::gicv3::REDISTRIBUTOR) as u32, "with GICv3"),
    };
    if asked == 0 || asked > max {
        return Err(Error::TooManyCpus { machine: NAME, asked, max, why });
    }
    if ram == 0 || !ram.is_multiple_of(vm::ram::PAGE_SIZE) {
        return Err(Error::OddRam { machine: NAME, asked: ram });
    }
    let pa_bits = config.pa_bits.min(MAX_PA_BITS);
    let max = (1 << pa_bits) - RAM;
    if ram > max {
        let (cpu, asked_mib, max_mib) = (config.cpu.clone(), ram >> 20, max >> 20);
        return Err(Error::TooMuchRam { machine: NAME, asked_mib, cpu, pa_bits, max_mib });
    }
    Ok(())
}

/// What is in each slot.
fn slots(devices: &[VirtioKind]) -> Result<Vec<Option<VirtioKind>>, Error> {
    let asked = devices.len();
    if asked > VIRTIO_SLOTS {
        return Err(Error::TooManyVirtio { machine: NAME, slots: VIRTIO_SLOTS, asked });
    }
    let mut slots = vec![None; VIRTIO_SLOTS];
    for (slot, device) in slots.iter_mut().rev().zip(devices) {
        *slot = Some(device.clone());
    }
    Ok(slots)
}

fn virtio<D: VirtioDevice>(w: &mut Wires<'_>, device: D, legacy: bool) -> Made {
    virtio_reached(w, device, legacy).0
}

/// The same with a way to the device.
fn virtio_reached<D: VirtioDevice>(w: &mut Wires<'_>, device: D, legacy: bool) -> (Made, Reach<D>) {
    let cell = VirtioMmio::cell(device, w.bus().clone(), w.irq(0), legacy);
    let drained = cell.clone();
    let drain = move || {
        let _ = drained.with(|transport| transport.drain());
    };
    let reached = cell.clone();
    let reach: Reach<D> = Arc::new(move |f| _ = reached.with(|transport| f(transport.device())));
    (Made { drain: Some(Box::new(drain)), ..Made::cell(cell) }, reach)
}

/// A bank that holds the disk that the board names, or zeros.
fn flash(w: &mut Wires<'_>) -> Result<Made, Error> {
    let contents = Ram::new(FLASH_LEN)?;
    let disk = if w.has_drive() { Some(w.drive()?) } else { None };
    if let Some(disk) = &disk {
        let len = disk.len_bytes();
        if len > FLASH_LEN {
            return Err(w.fail(format!("its drive has {len} bytes, more than the flash chip's {FLASH_LEN}")));
        }
        let mut bytes = vec![0; len as usize];
        disk.read_at(0, &mut bytes).map_err(|e| w.fail(e))?;
        contents.write(0, &bytes).ok_or_else(|| w.fail("the drive is larger than the chip"))?;
    }
    let cell = CfiFlash::map(w.bus(), w.path(), w.gpa(0), contents.clone(), disk)?;
    Ok(Made { memory: Some(contents), ..Made::part(cell) })
}

fn lines(w: &mut Wires<'_>, cpu: u32) -> CpuLines {
    let first = 2 * cpu as usize;
    CpuLines { irq: w.irq(first), fiq: w.irq(first + 1) }
}

/// Aff3 to Aff0 of CPU `n`, as in its MPIDR_EL1: clusters of 8.
fn affinity(n: u32) -> u32 {
    ((n / 8) << 8) | (n % 8)
}

fn fw_cfg(w: &Wires<'_>, ram: u64, cpus: u32, told: Option<Told>) -> Result<Made, Error> {
    let mut device = FwCfg::new(w.bus().clone());
    device.add_item(key::RAM_SIZE, ram.to_le_bytes());
    for item in [key::NB_CPUS, key::MAX_CPUS] {
        device.add_item(item, (cpus as u16).to_le_bytes());
    }
    if let Some(Told { kernel, initrd, cmdline, files }) = told {
        device.add_kernel(kernel, initrd, &cmdline);
        for (name, contents) in files {
            device.add_file(name, contents).map_err(|e| w.fail(e))?;
        }
    }
    Ok(Made::cell(Arc::new(DeviceCell::new(device))))
}

// The device tree. Bindings are those of Linux, Documentation/devicetree/bindings.

fn primecell(name: &str, clocks: &[&str]) -> Node {
    Node::new(name)
        .strings("compatible", &[&format!("arm,{name}"), "arm,primecell"])
        .cells("clocks", &vec![PHANDLE_CLOCK; clocks.len()])
        .strings("clock-names", clocks)
}

fn gic_node(config: &Config) -> Node {
    let node = Node::new("intc");
    let mut node = match config.gic {
        GicVersion::V2 => node.string("compatible", "arm,cortex-a15-gic"),
        GicVersion::V3 => node.string("compatible", "arm,gic-v3").cells("#redistributor-regions", &[1]),
    };
    node.children.extend(pcie::messages_node(config));
    node.cells("#interrupt-cells", &[3])
        .flag("interrupt-controller")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .flag("ranges")
        .cells("phandle", &[PHANDLE_GIC])
}

/// The machine's device tree; `chosen` has the seeds, all zero, and the console.
pub fn fdt(config: &Config, board: &Board) -> Fdt {
    // arm,gic.yaml: bits [15:8] of a GICv2 PPI's flags name the CPUs.
    let flags = match config.gic {
        GicVersion::V2 => 4 | ((1 << config.cpus) - 1) << 8,
        GicVersion::V3 => 4,
    };
    let ppi = |output: usize| [1, INTIDS[output] - 16, flags];
    let timers =
        [wiring::OUT_SECURE_TIMER, wiring::OUT_PHYSICAL_TIMER, wiring::OUT_VIRTUAL_TIMER, wiring::OUT_HYP_TIMER]
            .map(ppi);
    let mut cpus = Node::new("cpus").cells("#address-cells", &[1]).cells("#size-cells", &[0]);
    let mut cluster = Node::new("cluster0");
    for n in 0..config.cpus {
        let affinity = affinity(n);
        let core = Node::new(format!("core{n}")).cells("cpu", &[PHANDLE_CPU + n]);
        cluster.children.push(core);
        let cpu = Node::new(format!("cpu@{affinity:x}"))
            .string("device_type", "cpu")
            .string("compatible", &compatible(&config.cpu))
            .cells("reg", &[affinity])
            .string("enable-method", "psci")
            .cells("phandle", &[PHANDLE_CPU + n]);
        cpus.children.push(cpu);
    }
    let socket = Node::new("socket0").child(cluster);
    cpus.children.push(Node::new("cpu-map").child(socket));

    let key = Node::new("poweroff")
        .string("label", "GPIO Key Poweroff")
        .cells("linux,code", &[116])
        .cells("gpios", &[PHANDLE_GPIO, POWER_KEY_PIN, 0]);
    let mut root = Node::new("")
        .string("compatible", "linux,dummy-virt")
        .string("model", "linux,dummy-virt")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .cells("interrupt-parent", &[PHANDLE_GIC])
        .child(
            Node::new("chosen")
                .string("stdout-path", &format!("/pl011@{UART:x}"))
                .bytes("rng-seed", [0; 32])
                .bytes("kaslr-seed", [0; 8]),
        )
        .child(Node::new(format!("memory@{RAM:x}")).string("device_type", "memory").reg("reg", &[(RAM, config.ram)]))
        .child(cpus)
        .child(
            // SMC Calling Convention function identifiers, for kernels from before PSCI 0.2.
            Node::new("psci")
                .strings("compatible", &["arm,psci-1.0", "arm,psci-0.2", "arm,psci"])
                .string("method", "hvc")
                .cells("cpu_suspend", &[0xc400_0001])
                .cells("cpu_off", &[0x8400_0002])
                .cells("cpu_on", &[0xc400_0003])
                .cells("migrate", &[0xc400_0005]),
        )
        .child(
            Node::new("timer")
                .strings("compatible", &["arm,armv8-timer", "arm,armv7-timer"])
                .cells("interrupts", &timers.concat())
                .flag("always-on"),
        );
    if config.pmu {
        let pmu = Node::new("pmu").string("compatible", "arm,armv8-pmuv3").cells("interrupts", &ppi(wiring::OUT_PMU));
        root.children.push(pmu);
    }
    let clock = Node::new("apb-pclk")
        .string("compatible", "fixed-clock")
        .cells("#clock-cells", &[0])
        .cells("clock-frequency", &[24_000_000])
        .string("clock-output-names", "clk24mhz")
        .cells("phandle", &[PHANDLE_CLOCK]);
    let banks = [(0, FLASH_LEN), (FLASH_LEN, FLASH_LEN)];
    let flash = Node::new("flash@0").string("compatible", "cfi-flash").reg("reg", &banks).cells("bank-width", &[4]);
    root = root.child(clock).child(flash);
    root.children.extend(board.parts.iter().filter_map(|part| part.node()));
    root.children.push(pcie::node(config));
    root.children.push(Node::new("gpio-keys").string("compatible", "gpio-keys").child(key));
    Fdt { root, ..Fdt::default() }
}

fn compatible(cpu: &str) -> String {
    let model = cpu.split(',').next().unwrap_or_default();
    if model.starts_with("cortex-") { format!("arm,{model}") } else { "arm,armv8".into() }
}

/// A device tree from the user, with its memory replaced by the machine's.
fn user_fdt(config: &Config, dtb: &File) -> Result<Fdt, Error> {
    let bad = |why: String| Error::BadDtb { name: dtb.name.clone(), why };
    if dtb.bytes.len() as u64 > arm64::MAX_FDT / 2 {
        return Err(bad(format!("it has {} bytes, more than 1 MiB", dtb.bytes.len())));
    }
    let mut fdt = Fdt::parse(&dtb.bytes).map_err(|e| bad(e.0))?;
    let cells = |name, default| fdt.root.number(name).unwrap_or(default);
    let (address_cells, size_cells) = (cells("#address-cells", 2), cells("#size-cells", 1));
    let mut reg = Vec::new();
    for (value, cells) in [(RAM, address_cells), (config.ram, size_cells)] {
        match (cells, u32::try_from(value)) {
            (1, Ok(value)) => reg.extend(value.to_be_bytes()),
            (2, _) => reg.extend(value.to_be_bytes()),
            _ => return Err(bad(format!("its root has {cells} cells for an address or size, too few for this RAM"))),
        }
    }
    fdt.root.children.retain(|node| node.prop("device_type") != Some(b"memory\0"));
    let memory = Node::new(format!("memory@{RAM:x}")).string("device_type", "memory").bytes("reg", reg);
    fdt.root.children.push(memory);
    Ok(fdt)
}

fn boot(config: &Config, board: &Board, files: Files, firmware: bool) -> Result<Boot, Error> {
    let Files { kernel, initrd, dtb, firmware: bios, cmdline } = files;
    if kernel.is_none() {
        for (given, option) in [(initrd.is_some(), "-initrd"), (!cmdline.is_empty(), "-append")] {
            if given {
                return Err(Error::NeedsKernel { option });
            }
        }
    }
    let mut fdt = match &dtb {
        Some(dtb) => user_fdt(config, dtb)?,
        None => fdt(config, board),
    };
    let chosen = fdt.root.child_mut("chosen");
    if !cmdline.is_empty() {
        chosen.set("bootargs", [cmdline.as_bytes(), &[0]].concat());
    }
    let ram = RAM..RAM + config.ram;
    let (blobs, at, regs) = if firmware {
        let mut blobs = Vec::new();
        if let Some(bios) = bios {
            let len = bios.bytes.len() as u64;
            if len > FLASH_LEN {
                return Err(Error::FirmwareTooLarge { name: bios.name, len, flash: FLASH_LEN });
            }
            blobs.push(Blob { name: bios.name, gpa: Gpa(0), bytes: bios.bytes.into(), zeros: 0 });
        }
        (blobs, Gpa(RAM), None)
    } else {
        let kernel = kernel.ok_or(Error::NothingToBoot)?;
        let name = kernel.name.clone();
        let placed = arm64::place(ram.clone(), &name, Kernel::recognise(kernel, config.ram)?, initrd)?;
        if let Some(initrd) = &placed.initrd {
            chosen.set("linux,initrd-start", initrd.start.to_be_bytes());
            chosen.set("linux,initrd-end", initrd.end.to_be_bytes());
        }
        let unwritable = |e: crate::fdt::BadFdt| Error::BadDtb { name: name.clone(), why: e.0 };
        placed.fdt(fdt.write().map_err(unwritable)?)?;
        let regs = placed.regs();
        (placed.blobs, placed.fdt, Some(regs))
    };
    let len = fdt.write().map_or(0, |blob| blob.len() as u64);
    if at.0 + len > ram.end {
        return Err(Error::too_small(Role::Firmware, NAME, config.ram, at.0 + len - RAM));
    }
    Ok(Boot { blobs, fdt: Some((at, fdt)), regs, ports: Vec::new() })
}

#[cfg(test)]
mod tests;
