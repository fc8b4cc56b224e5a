//! The mainboard.

use super::chip_set::ChipSet;
use super::firmware::{self, Told};
use super::interrupts::{self, CPU_LINES, Interrupts, SmiPin, gsi, made, of_hpet, routed};
use super::{Config, FIRMWARE_MAX, HIGH_RAM, IdeDrive, ROM, ROM_LEN, Roms, devices};
use crate::acpi;
use crate::board::{Board, CpuDesc, Pin};
use crate::builder::{Made, SetMedium, Wires};
use crate::error::Error;
use hw::block::cfi_flash::{Bank, CfiFlash};
use hw::block::fdc::{Fdc, media::Format};
use hw::block::ide::Drive;
use hw::char::ns16550a::Ns16550a;
use hw::char::parallel::Parallel;
use hw::dma::i8237::{DmaChannel, I8237};
use hw::input::i8042::{I8042, Lines};
use hw::misc::fw_cfg::{FwCfg, FwCfgPorts};
use hw::misc::gates::{OrGate, ResetPin};
use hw::misc::port92::Port92;
use hw::misc::rom::Rom;
use hw::pci::bus::PciBus;
use hw::pci::function::{Message, MsiSink};
use hw::pci::host_bridge::{self, Chip, HostBridge, LowMemory};
use hw::pci::i440fx::Pmc;
use hw::pci::ich9_ahci::{self, Ich9Ahci};
use hw::pci::ich9_lpc::{self, Ich9Lpc};
use hw::pci::ich9_smbus::Ich9Smbus;
use hw::pci::piix3::{self, Piix3};
use hw::pci::piix3_ide::Piix3Ide;
use hw::pci::piix4_pm::{self, Piix4Pm};
use hw::pci::q35::Mch;
use hw::rtc::cmos::{FloppyDrive, PcSetup, pc_cmos};
use hw::rtc::mc146818::{self, Mc146818};
use hw::timer::hpet::{self, Hpet};
use hw::timer::i8254::{self, I8254};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use vm::blockdev::BlockDev;
use vm::chardev::CharPort;
use vm::{Backing, DeviceCell, Gpa, IrqLine, IrqSink, Mapping, MmioPort, Ram};

/// What is visible where several things could be, below the RAM that the host bridge makes visible.
const HOLE: i32 = 1;
const IN_HOLE: i32 = 2;
/// What the host bridge takes out of RAM.
const HOLE_AT: u64 = 0xa_0000;
const HOLE_LEN: u64 = 0x6_0000;
/// Inputs of the I/O APIC that HPET timers can be routed to: those that nothing else has.
const HPET_ROUTES: u32 = 0xf << 20;
/// Flash is a multiple of this.
const FLASH_UNIT: u64 = 4 << 10;
/// The floppy drives' DMA channel.
const FDC_DMA: u8 = 2;
/// Ports and interrupts of the serial ports.
const SERIAL: [(u16, u32); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];

/// What parts need of one another, made in the order of the board.
#[derive(Default)]
pub struct Shared {
    chip_set: ChipSet,
    pub interrupts: Arc<Interrupts>,
    bus: OnceLock<Arc<PciBus>>,
    /// The ISA bridge, for the port of its reset control register.
    isa_bridge: OnceLock<Arc<dyn MmioPort>>,
    pit: OnceLock<Arc<DeviceCell<I8254>>>,
    rtc: OnceLock<Arc<DeviceCell<Mc146818>>>,
    dma: OnceLock<Arc<DeviceCell<I8237>>>,
    a20: OnceLock<Arc<OrGate>>,
    rom: OnceLock<Arc<Ram>>,
}

impl Shared {
    /// The PCI bus, made by whoever needs it first.
    pub fn bus(&self, w: &Wires<'_>) -> Result<&Arc<PciBus>, Error> {
        let apics = made(&self.interrupts.bus, w)?.clone();
        Ok(self.bus.get_or_init(|| {
            let msi: MsiSink = Arc::new(move |Message { address, data, .. }| {
                if !apics.msi(address, data) {
                    vm::log!(GuestError, "pci: message {data:#x} to {address:#x}, where no interrupt is");
                }
            });
            PciBus::with_routes(w.bus().clone(), w.ports().clone(), Some(msi), self.chip_set.route())
        }))
    }

    /// The gate of address line 20, which is let through if either of its inputs says so.
    fn a20(&self, forced_low: IrqLine) -> &Arc<OrGate> {
        self.a20.get_or_init(|| Arc::new(OrGate::new(IrqLine::to(Arc::new(Inverter(forced_low)), 0))))
    }
}

/// Drives its line low while its input is high.
struct Inverter(IrqLine);

impl IrqSink for Inverter {
    fn set_pin(&self, _pin: u32, high: bool) {
        self.0.set(!high);
    }
}

/// Calls when its input rises.
struct Press<F>(F);

impl<F: Fn() + Send + Sync> IrqSink for Press<F> {
    fn set_pin(&self, _pin: u32, high: bool) {
        if high {
            (self.0)();
        }
    }
}

/// Deviation: what resets the processor alone on a PC (port 0x92, keyboard controller, reset control register) resets the
/// machine; RAM keeps its contents.
fn reset_pin(w: &Wires<'_>) -> IrqLine {
    IrqLine::to(Arc::new(ResetPin(w.power().clone())), 0)
}

fn charport(w: &Wires<'_>) -> Result<Arc<CharPort>, Error> {
    if w.has_chardev() { w.chardev() } else { Ok(Arc::new(CharPort::null())) }
}

/// ROM with these bytes.
fn rom(bytes: &[u8], len: u64) -> Result<Arc<Ram>, Error> {
    let rom = Ram::new(len)?;
    for (at, byte) in (0..len).zip(bytes) {
        rom.store(at, 1, (*byte).into());
    }
    Ok(rom)
}

/// The board with what is plugged into it.
pub fn board(config: &Config, roms: Roms, told: Told) -> Board {
    let cpus = config.cpus;
    let mut b = Board::new(config.name());
    b.ram("ram", 0, config.low_ram());
    if config.high_ram() > 0 {
        b.ram("ram-high", HIGH_RAM, config.high_ram());
    }
    for n in 0..cpus {
        let inputs = vec![("pin".into(), CPU_LINES + 1)];
        let mut outputs = Vec::new();
        if config.has_pci() {
            outputs.extend([Pin::new(config.chip_set.host_bridge(), "smiact", n), gsi(13)]);
        }
        b.cpus.push(CpuDesc { path: format!("cpu{n}"), model: config.cpu.clone(), inputs, outputs });
    }
    let shared = Arc::new(Shared { chip_set: config.chip_set, ..Shared::default() });
    interrupts::add(&mut b, cpus, &shared.interrupts);
    let (of, pci) = (shared.clone(), config.has_pci());
    if let [Some(first), second] = &config.flash {
        flash(&mut b, &shared, first, second.as_deref());
    } else {
        b.add::<Rom>("firmware", move |w| {
            let rom = rom(&roms.system, roms.system.len() as u64)?;
            let len = rom.len();
            let backing = Backing::Rom { ram: rom.clone(), offset: 0, writes: None };
            let gpa = Gpa(HIGH_RAM - len);
            w.bus().map(Mapping { name: "firmware".into(), gpa, len, priority: 0, backing })?;
            if pci {
                map_below_1m(w, &rom)?;
            }
            let _ = of.rom.set(rom);
            Ok(Made::part(Arc::new(DeviceCell::new(Rom::default()))))
        });
    }
    match config.chip_set {
        ChipSet::Isa => {}
        ChipSet::I440fx => {
            piix(&mut b, &shared);
            host_bridge::<Pmc>(&mut b, config, &shared, "piix3");
        }
        ChipSet::Q35 => {
            ich9(&mut b, &shared);
            host_bridge::<Mch>(&mut b, config, &shared, "lpc");
        }
    }
    if config.has_pci() {
        hpet(&mut b, &shared);
    }
    classic(&mut b, config, &shared);
    fw_cfg(&mut b, told, &shared);
    drives(&mut b, config, &shared);
    for (n, serial) in config.serials.iter().take(SERIAL.len()).enumerate() {
        let (port, irq) = SERIAL[n];
        let part = b.add::<Ns16550a>(format!("serial{n}"), |w| {
            Ok(Made::cell(Ns16550a::cell(w.irq(0), charport(w)?, w.timers())))
        });
        part.at_port(port).irq(gsi(irq));
        if let Some(id) = serial {
            part.chardev(id);
        }
    }
    if let Some(end) = &config.parallel {
        let part = b.add::<Parallel>("parallel0", |w| {
            Ok(Made::cell(Arc::new(DeviceCell::new(Parallel::new(w.irq(0), charport(w)?)))))
        });
        part.at_port(0x378).irq(gsi(7));
        if let Some(id) = end {
            part.chardev(id);
        }
    }
    devices::add(&mut b, config, &shared, roms.vga);
    b
}

/// Maps the last part of the firmware, which ends at 4 GiB, where programs in real mode look for it.
fn map_below_1m(w: &Wires<'_>, system: &Arc<Ram>) -> Result<(), Error> {
    let len = system.len();
    let seen = len.min(ROM_LEN);
    let gpa = Gpa(ROM + ROM_LEN - seen);
    let backing = Backing::Rom { ram: system.clone(), offset: len - seen, writes: None };
    w.bus().map(Mapping { name: w.path().into(), gpa, len: seen, priority: IN_HOLE, backing })?;
    Ok(())
}

/// Adds flash that ends at 4 GiB with the disk `first` in it, and below that the chip with the disk `second`.
fn flash(b: &mut Board, shared: &Arc<Shared>, first: &str, second: Option<&str>) {
    // Where the next chip ends.
    let end = Arc::new(AtomicU64::new(HIGH_RAM));
    for (n, drive) in [Some(first), second].into_iter().enumerate() {
        let Some(drive) = drive else { continue };
        let (of, end) = (shared.clone(), end.clone());
        let part = b.add::<CfiFlash>(if n == 0 { "firmware" } else { "flash1" }, move |w| {
            let disk = w.drive()?;
            let (len, at) = (disk.len_bytes(), end.load(Ordering::Relaxed));
            if len == 0 || !len.is_multiple_of(FLASH_UNIT) || len > FIRMWARE_MAX - (HIGH_RAM - at) {
                let (unit, max) = (FLASH_UNIT >> 10, FIRMWARE_MAX >> 20);
                let why = format!(
                    "its image has {len} bytes, and flash a multiple of {unit} KiB up to {max} MiB in all; use an image \
                     such as OVMF"
                );
                return Err(w.fail(why));
            }
            let at = at - len;
            end.store(at, Ordering::Relaxed);
            let mut bytes = vec![0; len as usize];
            disk.read_at(0, &mut bytes).map_err(|e| w.fail(e))?;
            let contents = Ram::new(len)?;
            contents.write(0, &bytes).ok_or_else(|| w.fail("the image is larger than the chip"))?;
            let cell = CfiFlash::map_bank(Bank::BYTES, w.bus(), w.path(), Gpa(at), contents.clone(), Some(disk))?;
            if n == 0 {
                map_below_1m(w, &contents)?;
                let _ = of.rom.set(contents.clone());
            }
            Ok(Made { memory: Some(contents), ..Made::part(cell) })
        });
        part.by_guest(1).drive(drive);
        if n != 0 {
            part.after("firmware");
        }
    }
}

/// The part `name` calls `press` when the power button is pressed.
fn power_button<T: vm::Device>(cell: &Arc<DeviceCell<T>>, press: fn(&mut T)) -> Vec<(String, Arc<dyn IrqSink>)> {
    let pressed = cell.clone();
    vec![("button".into(), Arc::new(Press(move || _ = pressed.with(press))))]
}

fn smi_pin(of: &Shared, w: &Wires<'_>) -> Result<IrqLine, Error> {
    Ok(IrqLine::to(Arc::new(SmiPin(made(&of.interrupts.bus, w)?.clone())), 0))
}

/// The ISA bridge and power management of a PIIX.
fn piix(b: &mut Board, shared: &Arc<Shared>) {
    let of = shared.clone();
    b.add::<Piix3>("piix3", move |w| {
        let bus = of.bus(w)?;
        let isa = std::array::from_fn(|n| w.irq(n));
        let outputs = piix3::Outputs { isa, reset: reset_pin(w), init: reset_pin(w) };
        let cell = Arc::new(DeviceCell::new(Piix3::new(bus.slot(ChipSet::I440fx.isa_bridge(), 0), outputs)));
        bus.wire(piix3::pirqs(&cell));
        bus.plug(&cell);
        let _ = of.isa_bridge.set(cell.clone());
        Ok(Made::part(cell))
    })
    .by_guest(1)
    .irqs((0..16).map(routed))
    .after("pic");
    let of = shared.clone();
    b.add::<Piix4Pm>("pm", move |w| {
        let outputs = piix4_pm::Outputs { sci: w.irq(0), smi: smi_pin(&of, w)?, power: w.power().clone() };
        let bus = of.bus(w)?;
        let function = ChipSet::I440fx.pm().function;
        let cell = Piix4Pm::cell(bus.slot(function >> 3, function & 7), outputs, w.timers(), true);
        bus.plug(&cell);
        Ok(Made { inputs: power_button(&cell, Piix4Pm::press_power_button), ..Made::cell(cell) })
    })
    .by_guest(1)
    .at_port(0xb2)
    .by_guest(1)
    .inputs("button", 1)
    .irq(gsi(acpi::SCI.into()))
    .after("piix3");
    b.power_button = Some(Pin::new("pm", "button", 0));
}

/// The ISA bridge with power management and the SMBus controller of an ICH9.
fn ich9(b: &mut Board, shared: &Arc<Shared>) {
    let of = shared.clone();
    b.add::<Ich9Lpc>("lpc", move |w| {
        let bus = of.bus(w)?;
        let outputs = ich9_lpc::Outputs {
            isa: std::array::from_fn(|n| w.irq(n)),
            ioapic: std::array::from_fn(|n| w.irq(16 + n)),
            sci: w.irq(24),
            smi: smi_pin(&of, w)?,
            reset: reset_pin(w),
            init: reset_pin(w),
            power: w.power().clone(),
        };
        let cell = Ich9Lpc::cell(bus.slot(ChipSet::Q35.isa_bridge(), 0), outputs, w.timers());
        bus.wire(ich9_lpc::pirqs(&cell));
        bus.plug(&cell);
        let _ = of.isa_bridge.set(cell.clone());
        Ok(Made { inputs: power_button(&cell, Ich9Lpc::press_power_button), ..Made::cell(cell) })
    })
    .by_guest(1)
    .at_port(0xb2)
    .by_guest(2)
    .inputs("button", 1)
    .irqs((0..24).map(routed))
    .irq(gsi(acpi::SCI.into()))
    .after("pic");
    b.power_button = Some(Pin::new("lpc", "button", 0));
    let of = shared.clone();
    b.add::<Ich9Smbus>("smbus", move |w| {
        let cell = Ich9Smbus::cell(of.bus(w)?.slot(31, 3));
        of.bus(w)?.plug(&cell);
        Ok(Made::part(cell))
    })
    .by_guest(1)
    .after("lpc");
}

/// The host bridge with what it decodes; `isa_bridge` is the path of that.
fn host_bridge<C: Chip>(b: &mut Board, config: &Config, shared: &Arc<Shared>, isa_bridge: &'static str) {
    let of = shared.clone();
    let part = b.add::<HostBridge<C>>(config.chip_set.host_bridge(), move |w| {
        let ram = w.ram("ram").ok_or_else(|| w.fail("there is no RAM"))?;
        // What nobody answers in the hole.
        let nothing = Ram::new(HOLE_LEN)?;
        (0..HOLE_LEN).step_by(8).for_each(|at| _ = nothing.store(at, 8, u64::MAX));
        let backing = Backing::Rom { ram: nothing, offset: 0, writes: None };
        let (gpa, len) = (Gpa(HOLE_AT), HOLE_LEN);
        w.bus().map(Mapping { name: "hole".into(), gpa, len, priority: HOLE, backing })?;
        let memory = LowMemory { space: w.bus().clone(), ram, rom: of.rom.get().cloned() };
        let reset_control = made(&of.isa_bridge, w)?.clone();
        let cell = HostBridge::<C>::cell(of.bus(w)?.clone(), memory, Some(reset_control));
        of.bus(w)?.plug(&cell);
        let inputs = vec![("smiact".into(), host_bridge::smiact(&cell))];
        Ok(Made { inputs, ..Made::cell(cell) })
    });
    part.at_wide_port(0xcf8).at_wide_port(0xcfc).by_guest(C::WINDOWS.len() - 2);
    part.inputs("smiact", config.cpus).after(isa_bridge).after("firmware");
}

fn hpet(b: &mut Board, shared: &Arc<Shared>) {
    let of = shared.clone();
    b.add::<Hpet>("hpet", move |w| {
        let mut ioapic: Vec<IrqLine> = (0..24).map(|_| IrqLine::unconnected()).collect();
        for (n, line) in (0..).zip(&mut ioapic).skip(20) {
            *line = w.irq(2 + n - 20);
        }
        let replaces = [i8254::mute(made(&of.pit, w)?), mc146818::mute(made(&of.rtc, w)?)];
        let replaces = replaces.map(|sink| IrqLine::to(sink, 0));
        let outputs = hpet::Outputs { ioapic, routes: HPET_ROUTES, legacy: [w.irq(0), w.irq(1)], replaces };
        Ok(Made::cell(Hpet::cell(outputs, w.timers())))
    })
    .at(acpi::HPET.into())
    .irqs([0, 8, 20, 21, 22, 23].map(of_hpet))
    .after("pit")
    .after("rtc");
}

/// What every AT has.
fn classic(b: &mut Board, config: &Config, shared: &Arc<Shared>) {
    let of = shared.clone();
    b.add::<I8237>("dma", move |w| {
        let cell = Arc::new(DeviceCell::new(I8237::new(w.bus().clone())));
        let _ = of.dma.set(cell.clone());
        Ok(Made::cell(cell))
    })
    .at_port(0x00)
    .at_port(0xc0)
    .at_port(0x80);
    let of = shared.clone();
    b.add::<I8254>("pit", move |w| {
        let cell = I8254::cell(w.irq(0), w.timers());
        let _ = of.pit.set(cell.clone());
        Ok(Made::cell(cell))
    })
    .at_port(0x40)
    .at_port(0x61)
    .irq(gsi(0));
    let a20 = || (0..config.cpus).map(|n| Pin::new(format!("cpu{n}"), "pin", CPU_LINES));
    let of = shared.clone();
    b.add::<I8042>("i8042", move |w| {
        let gate = of.a20(w.irq(2)).clone();
        let lines = Lines { keyboard: w.irq(0), aux: w.irq(1), a20: IrqLine::to(gate, 0), reset: reset_pin(w) };
        let cell = Arc::new(DeviceCell::new(I8042::new(lines)));
        Ok(Made { input: Some(cell.clone()), ..Made::cell(cell) })
    })
    .at_port(0x60)
    .at_port(0x64)
    .irqs([gsi(1), gsi(12)])
    .irqs(a20());
    let of = shared.clone();
    b.add::<Port92>("port92", move |w| {
        let gate = of.a20(IrqLine::unconnected()).clone();
        Ok(Made::cell(Arc::new(DeviceCell::new(Port92::new(IrqLine::to(gate, 1), reset_pin(w))))))
    })
    .at_port(0x92)
    .after("i8042");
    let (of, setup) = (shared.clone(), config.clone());
    b.add::<Mc146818>("rtc", move |w| {
        let cell = Mc146818::cell(w.irq(0), w.timers(), pc_cmos(&cmos(&setup, w)?));
        let _ = of.rtc.set(cell.clone());
        Ok(Made::cell(cell))
    })
    .at_port(0x70)
    .irq(gsi(8));
}

/// What firmware finds in the clock chip.
fn cmos(config: &Config, w: &Wires<'_>) -> Result<PcSetup, Error> {
    let len = |drive: &String| Ok::<_, Error>(w.drive_called(drive)?.len_bytes());
    let mut setup = PcSetup {
        below_4g: config.low_ram(),
        above_4g: config.high_ram(),
        boot: config.boot.order,
        cpus: config.cpus,
        ..PcSetup::default()
    };
    for (kind, floppy) in setup.floppies.iter_mut().zip(&config.floppies) {
        *kind = match floppy {
            None => FloppyDrive::None,
            Some(None) => FloppyDrive::M1_44,
            Some(Some(drive)) => Format::of(len(drive)?).map_or(FloppyDrive::M1_44, |format| format.drive),
        };
    }
    let ide = if config.chip_set == ChipSet::Q35 { &[] } else { &config.ide[..] };
    for (bytes, drive) in setup.disks.iter_mut().zip(ide) {
        if let Some(IdeDrive::Disk { drive, .. }) = drive {
            *bytes = Some(len(drive)?);
        }
    }
    Ok(setup)
}

fn fw_cfg(b: &mut Board, told: Told, shared: &Arc<Shared>) {
    let of = shared.clone();
    b.add::<FwCfg>("fw_cfg", move |w| {
        let mut device = FwCfg::new(w.bus().clone());
        for (key, contents) in told.items {
            device.add_item(key, contents);
        }
        for (name, contents) in told.files {
            device.add_file(&name, contents).map_err(|e| w.fail(e))?;
        }
        if let Some(acpi) = told.acpi {
            for (name, make) in firmware::acpi_files(&acpi, of.bus(w)?) {
                device.add_made_file(name, make).map_err(|e| w.fail(e))?;
            }
        }
        let cell = Arc::new(DeviceCell::new(device));
        let backing = Backing::Mmio { port: Arc::new(FwCfgPorts(cell.clone())), window: 0, offset: 0 };
        let (gpa, len) = (Gpa(0x510), FwCfgPorts::LEN);
        w.ports().map(Mapping { name: "fw_cfg".into(), gpa, len, priority: 0, backing })?;
        Ok(Made::part(cell))
    })
    .by_guest(1)
    .after("pic");
}

/// Floppy and IDE drives.
fn drives(b: &mut Board, config: &Config, shared: &Arc<Shared>) {
    if config.floppies.iter().any(Option::is_some) {
        let (of, floppies) = (shared.clone(), config.floppies.clone());
        b.add::<Fdc>("fdc", move |w| {
            let mut disks = [None, None];
            for (disk, floppy) in disks.iter_mut().zip(&floppies) {
                *disk = floppy.as_ref().and_then(Option::as_ref).map(|id| w.drive_called(id)).transpose()?;
            }
            let dma = DmaChannel::new(made(&of.dma, w)?, FDC_DMA);
            let cell = Arc::new(DeviceCell::new(Fdc::new(disks, w.irq(0), Some(dma))));
            let mut made = Made::cell(cell.clone());
            for n in (0..floppies.len()).filter(|n| floppies[*n].is_some()) {
                let cell = cell.clone();
                let set: SetMedium = Box::new(move |disk| _ = cell.with(|fdc| fdc.set_disk(n, disk)));
                made.media.push((format!("floppy{n}"), set));
            }
            Ok(made)
        })
        .at_port(0x3f0)
        .at_port(0x3f7)
        .irq(gsi(6))
        .after("dma");
    }
    if config.chip_set == ChipSet::Q35 { ahci(b, config, shared) } else { ide(b, config, shared) }
}

/// What is asked for as a drive on a channel or port.
fn drive(asked: &Option<IdeDrive>, w: &Wires<'_>) -> Result<Option<Drive>, Error> {
    Ok(match asked {
        None => None,
        Some(IdeDrive::Disk { drive, serial }) => Some(Drive::disk(w.drive_called(drive)?, serial)),
        Some(IdeDrive::Cdrom { drive, serial }) => {
            let disc = drive.as_ref().map(|id| w.drive_called(id)).transpose()?;
            Some(Drive::cdrom(disc, serial))
        }
    })
}

/// The CD-ROM drives among `ide`, of which a channel has `units`: their names, and how their disc is changed by number.
fn media<T: vm::Device>(
    ide: &[Option<IdeDrive>],
    units: usize,
    cell: &Arc<DeviceCell<T>>,
    set_disc: fn(&mut T, usize, Option<Arc<dyn BlockDev>>) -> bool,
) -> Vec<(String, SetMedium)> {
    let places = ide.iter().enumerate().filter(|(_, asked)| matches!(asked, Some(IdeDrive::Cdrom { .. })));
    let medium = |(n, _)| {
        let cell = cell.clone();
        let set: SetMedium = Box::new(move |disc| _ = cell.with(|ide| set_disc(ide, n, disc)));
        (format!("ide{}-cd{}", n / units, n % units), set)
    };
    places.map(medium).collect()
}

fn ide(b: &mut Board, config: &Config, shared: &Arc<Shared>) {
    let (of, ide, pci, synchronous) = (shared.clone(), config.ide.clone(), config.has_pci(), config.synchronous);
    b.add::<Piix3Ide>("ide", move |w| {
        let mut drives = [[None, None], [None, None]];
        for (place, asked) in drives.as_flattened_mut().iter_mut().zip(&ide) {
            *place = drive(asked, w)?;
        }
        let slot = of.bus(w)?.slot(1, 1);
        let irqs = [w.irq(0), w.irq(1)];
        let cell = Piix3Ide::cell(slot, drives, irqs, synchronous).map_err(|e| w.fail(e))?;
        // Without a host bridge nobody reaches the PCI side of the controller.
        if pci {
            of.bus(w)?.plug(&cell);
        }
        let drained = cell.clone();
        let drain = move || _ = drained.with(Piix3Ide::drain);
        let media = media(&ide, 2, &cell, |ide: &mut Piix3Ide, n, disc| ide.set_disc(n / 2, n % 2, disc));
        Ok(Made { drain: Some(Box::new(drain)), media, ..Made::cell(cell) })
    })
    .at_wide_port(0x1f0)
    .at_port(0x3f6)
    .at_wide_port(0x170)
    .at_port(0x376)
    .by_guest(1)
    .irqs([gsi(14), gsi(15)])
    .after("pic");
}

fn ahci(b: &mut Board, config: &Config, shared: &Arc<Shared>) {
    let (of, ide, synchronous) = (shared.clone(), config.ide.clone(), config.synchronous);
    b.add::<Ich9Ahci>("sata", move |w| {
        let mut drives = [const { None }; ich9_ahci::PORTS];
        for (place, asked) in drives.iter_mut().zip(&ide) {
            *place = drive(asked, w)?;
        }
        let cell = Ich9Ahci::cell(of.bus(w)?.slot(31, 2), drives, synchronous).map_err(|e| w.fail(e))?;
        of.bus(w)?.plug(&cell);
        let drained = cell.clone();
        let drain = move || _ = drained.with(Ich9Ahci::drain);
        let media = media(&ide, 1, &cell, Ich9Ahci::set_disc);
        Ok(Made { drain: Some(Box::new(drain)), media, ..Made::part(cell) })
    })
    .by_guest(2)
    .after("lpc");
}

/// Where the VGA's window is: above what the hole has.
pub const VGA_PRIORITY: i32 = IN_HOLE;
/// First address of that window.
pub const VGA_AT: u64 = HOLE_AT;
