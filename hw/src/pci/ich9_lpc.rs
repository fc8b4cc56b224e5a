//! ISA bridge of the ICH9, device 31, function 0: routes the PCI interrupt lines, manages power, resets the machine. Intel
//! I/O Controller Hub 9 datasheet (316972), "LPC Interface Bridge Registers (D31:F0)" and "Chipset Configuration Registers";
//! section titles are its. The controllers for interrupts, DMA and time that the chip also has are files of their own.

use super::acpi_pm::{self, Pm1, Pm1Regs};
use super::config::{COMMAND, Layout, PciRegs, STATUS, Space};
use super::function::{Function, Mapped, PciFunction, PciSlot};
use super::piix3::{self, write_reset_control};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::power::Power;
use vm::timer::Timers;
use vm::{Access, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Regs, ResetKind, VmTime, Window};

// Configuration registers.
/// "PMBASE — ACPI Base Address".
pub const PMBASE: u8 = 0x40;
/// "ACPI_CNTL — ACPI Control".
pub const ACPI_CNTL: u8 = 0x44;
const ACPI_EN: u8 = 1 << 7;
/// "PIRQ[n]_ROUT — PIRQ[A,B,C,D] Routing Control", and those of E to H.
const PIRQ_ROUT: [u8; 8] = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b];
/// "GEN_PMCON_1 — General PM Configuration 1".
const GEN_PMCON_1: u8 = 0xa0;
const SMI_LOCK: u8 = 1 << 4;
/// "RCBA — Root Complex Base Address".
const RCBA: u8 = 0xf0;

// Windows.
const RESET: u8 = 0;
const APM: u8 = 1;
const PM: u8 = 2;
const ROOT: u8 = 3;
const PM_LEN: u64 = 0x80;
const ROOT_LEN: u64 = 0x4000;

// "Power Management I/O Registers", by byte.
const PROC_CNT: u8 = 0x10;
/// First of the general-purpose events' registers, and how many bytes both have.
pub const GPE0: u8 = 0x20;
/// See [`GPE0`].
pub const GPE0_LEN: u8 = 16;
const SMI_EN: u8 = 0x30;
const SMI_STS: u8 = 0x34;
const TCO: u8 = 0x60;

// SMI_EN and SMI_STS.
const GBL_SMI_EN: u32 = 1 << 0;
const APMC: u32 = 1 << 5;

/// Values of the APM control port that switch ACPI on and off, for the FADT.
pub const ACPI_ENABLE: u8 = 0x02;
/// See [`ACPI_ENABLE`].
pub const ACPI_DISABLE: u8 = 0x03;

// "Chipset Configuration Registers", stored by rows of 32 bytes: the routes of the chip's own functions, and general
// control. Deviation: they are remembered, and the rest of the memory is empty; functions of the devices 25 to 31 drive the
// lines that the routes say after a reset.
const ROUTES: u64 = 0x3140;
const GENERAL: u64 = 0x3400;
/// INTA to INTD of a function are PIRQA to PIRQD.
const ROUTE: [u8; 2] = 0x3210_u16.to_le_bytes();

/// Which of the lines PIRQA to PIRQH (0 to 7) pin `pin` (0 to 3 for INTA to INTD) of device `device` is wired to: those of
/// the chip as its registers say after a reset, those of slots around the lines E to H.
pub const fn pirq(device: u8, pin: u8) -> u8 {
    if device < 25 { 4 + (device.wrapping_add(pin) & 3) } else { pin & 3 }
}

/// What it drives.
pub struct Outputs {
    /// The interrupts of the ISA bus by number; a board joins each with the line of the device that has it.
    pub isa: [IrqLine; 16],
    /// PIRQA to PIRQH at the I/O APIC, inputs 16 to 23.
    pub ioapic: [IrqLine; 8],
    /// The system control interrupt. Deviation: it is always ISA interrupt 9, whatever ACPI_CNTL says.
    pub sci: IrqLine,
    /// Pulsed for a system management interrupt.
    pub smi: IrqLine,
    /// Pulsed for a reset of the machine.
    pub reset: IrqLine,
    /// Pulsed for a reset of the processor alone.
    pub init: IrqLine,
    /// Who is asked to switch off.
    pub power: Power,
}

/// The bridge.
pub struct Ich9Lpc {
    regs: Ich9LpcRegs,
    function: Function,
    outputs: Outputs,
    pm1: Pm1,
    pm: Mapped,
    root: Mapped,
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ich9LpcRegs {
    pci: PciRegs,
    /// Levels of the lines PIRQA to PIRQH.
    pirqs: u8,
    reset_control: u8,
    apm: [u8; 2],
    pm1: Pm1Regs,
    gpe_sts: u64,
    gpe_en: u64,
    processor: u32,
    smi_en: u32,
    smi_sts: u32,
    /// Deviation: the watchdog's timer stands still.
    tco: [u8; 32],
    routes: [u8; 32],
    general: [u8; 32],
}

impl Regs for Ich9LpcRegs {}

impl Ich9Lpc {
    /// The cell of a bridge in `slot`, function 0 of its device.
    pub fn cell(slot: PciSlot, outputs: Outputs, timers: &Arc<Timers>) -> Arc<DeviceCell<Self>> {
        let mut layout = Layout::new(0x8086, 0x2918, 0x06_01_00, 2)
            .register(COMMAND, 2, 0x0007, 0x0140)
            .register(STATUS, 2, 0x0200, 0)
            .multifunction()
            .register(0x3c, 2, 0, 0)
            .register(PMBASE, 4, 1, 0xff80)
            .register(ACPI_CNTL, 1, 0, 0x87)
            // "GPIOBASE", "GC", "SIRQ_CNTL", decoding: remembered.
            .register(0x48, 4, 1, 0xff80)
            .register(0x4c, 1, 0, 0x11)
            .register(0x64, 1, 0x10, 0xff)
            .register(0x80, 4, 0, 0x3f0f_f377)
            .register(0x84, 4, 0, 0x00fc_fffd)
            .register(0x88, 4, 0, 0x00fc_fffd)
            .register(0x8c, 4, 0, 0x00fc_fffd)
            .register(0x90, 4, 0, 0x00fc_fffd)
            .register(GEN_PMCON_1, 2, 0, 0xffff)
            .register(0xa4, 2, 0, 0x00ff)
            .register(0xd0, 4, 0x0011_2233, 0xffff_ffff)
            .register(0xd4, 2, 0x4567, 0xffff)
            .register(0xd8, 2, 0xffcf, 0xff0f)
            .register(0xdc, 1, 0, 0x1f)
            .register(RCBA, 4, 0, 0xffff_c001);
        for at in PIRQ_ROUT {
            layout = layout.register(at, 1, piix3::ROUTE_DISABLED.into(), 0x8f);
        }
        let function = Function::new(slot, layout);
        let pm1 = Pm1::new(timers.clock().clone(), outputs.power.clone(), true);
        let regs = Ich9LpcRegs { pci: function.power_on(), routes: after_reset_routes(), ..Default::default() };
        let (pm, root) = (Mapped::default(), Mapped::default());
        DeviceCell::with_timers(Self { regs, function, outputs, pm1, pm, root }, timers)
    }

    /// A person presses the power button.
    pub fn press_power_button(&mut self) {
        self.regs.pm1.press_power_button();
    }

    fn read_pm(&self, at: u8, ticks: u64) -> u8 {
        let r = &self.regs;
        let byte = |value: u64, from: u8| (value >> (8 * u32::from(at - from))) as u8;
        match at {
            _ if at < acpi_pm::LEN => self.pm1.read_byte(&r.pm1, at, ticks),
            PROC_CNT..=0x13 => byte(r.processor.into(), PROC_CNT),
            GPE0..=0x27 => byte(r.gpe_sts, GPE0),
            0x28..=0x2f => byte(r.gpe_en, 0x28),
            SMI_EN..=0x33 => byte(r.smi_en.into(), SMI_EN),
            SMI_STS..=0x37 => byte(r.smi_sts.into(), SMI_STS),
            TCO..=0x7f => r.tco[usize::from(at - TCO)],
            _ => 0,
        }
    }

    fn write_pm(&mut self, at: u8, value: u8) {
        let r = &mut self.regs;
        let put = |old: u64, from: u8| {
            let shift = 8 * u32::from(at - from);
            old & !(0xff << shift) | u64::from(value) << shift
        };
        let cleared = |old: u64, from: u8| old & !(u64::from(value) << (8 * u32::from(at - from)));
        match at {
            _ if at < acpi_pm::LEN => self.pm1.write_byte(&mut r.pm1, at, value),
            PROC_CNT..=0x13 => r.processor = put(r.processor.into(), PROC_CNT) as u32,
            GPE0..=0x27 => r.gpe_sts = cleared(r.gpe_sts, GPE0),
            0x28..=0x2f => r.gpe_en = put(r.gpe_en, 0x28),
            SMI_EN..=0x33 => {
                // "SMI_LOCK": GBL_SMI_EN stays as it is.
                let locked = if r.pci.byte(GEN_PMCON_1) & SMI_LOCK != 0 { GBL_SMI_EN } else { 0 };
                r.smi_en = r.smi_en & locked | put(r.smi_en.into(), SMI_EN) as u32 & !locked;
            }
            SMI_STS..=0x37 => r.smi_sts = cleared(r.smi_sts.into(), SMI_STS) as u32,
            TCO..=0x7f => r.tco[usize::from(at - TCO)] = value,
            _ => {}
        }
    }

    /// "APM_CNT — Advanced Power Management Control Port".
    fn write_apm(&mut self, offset: u64, value: u8) {
        let r = &mut self.regs;
        if let Some(byte) = r.apm.get_mut(offset as usize) {
            *byte = value;
        }
        if offset != 0 {
            return;
        }
        // Deviation: on a real board the handler of the interrupt does this.
        match value {
            ACPI_ENABLE => r.pm1.enable_sci(true),
            ACPI_DISABLE => r.pm1.enable_sci(false),
            _ => {}
        }
        if r.smi_en & APMC != 0 {
            r.smi_sts |= APMC;
            if r.smi_en & GBL_SMI_EN != 0 {
                self.outputs.smi.set(true);
                self.outputs.smi.set(false);
            }
        }
    }

    /// The byte at `offset` of the chip set's configuration registers, if it is stored.
    fn root_byte(&mut self, offset: u64) -> Option<&mut u8> {
        let into = |row: u64| offset.checked_sub(row).map(|at| at as usize);
        let routes = into(ROUTES).and_then(|at| self.regs.routes.get_mut(at));
        routes.or_else(|| into(GENERAL).and_then(|at| self.regs.general.get_mut(at)))
    }
}

fn after_reset_routes() -> [u8; 32] {
    std::array::from_fn(|at| ROUTE[at & 1])
}

struct Pirqs(Arc<DeviceCell<Ich9Lpc>>);

impl IrqSink for Pirqs {
    fn set_pin(&self, pin: u32, high: bool) {
        let bit = 1_u8.checked_shl(pin).unwrap_or(0);
        let _ = self.0.with(|bridge| {
            let pirqs = &mut bridge.regs.pirqs;
            *pirqs = if high { *pirqs | bit } else { *pirqs & !bit };
        });
    }
}

/// Its inputs PIRQA to PIRQH, for [`PciBus::wire`](super::bus::PciBus::wire).
pub fn pirqs(bridge: &Arc<DeviceCell<Ich9Lpc>>) -> [IrqLine; 8] {
    let sink = Arc::new(Pirqs(bridge.clone()));
    std::array::from_fn(|n| IrqLine::to(sink.clone(), n as u32))
}

impl Device for Ich9Lpc {
    type Regs = Ich9LpcRegs;
    const MODEL: &'static str = "ich9-lpc";

    fn regs(&self) -> &Ich9LpcRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Ich9LpcRegs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        self.regs = Ich9LpcRegs {
            pci: self.function.power_on(),
            // The levels belong to the functions that drive the lines.
            pirqs: self.regs.pirqs,
            pm1: self.pm1.after_reset(),
            routes: after_reset_routes(),
            ..Default::default()
        };
    }

    fn update(&mut self) {
        self.pm1.look_at_timer(&mut self.regs.pm1);
        let r = &self.regs;
        let isa = piix3::routed(r.pirqs, |n| r.pci.byte(PIRQ_ROUT[n]));
        for (n, line) in self.outputs.isa.iter().enumerate() {
            line.set(isa >> n & 1 != 0);
        }
        for (n, line) in self.outputs.ioapic.iter().enumerate() {
            line.set(r.pirqs >> n & 1 != 0);
        }
        let event = r.pm1.event() || r.gpe_sts & r.gpe_en != 0;
        self.outputs.sci.set(event && r.pm1.sci_enabled());
        let pm = u64::from(r.pci.dword(PMBASE) & 0xff80);
        let pm = (r.pci.byte(ACPI_CNTL) & ACPI_EN != 0 && pm != 0).then_some((pm, PM_LEN));
        let rcba = r.pci.dword(RCBA);
        let root = (rcba & 1 != 0).then_some((u64::from(rcba & 0xffff_c000), ROOT_LEN));
        self.function.place(&mut self.pm, Space::Io, PM, pm);
        self.function.place(&mut self.root, Space::Memory32, ROOT, root);
        self.function.update(&self.regs.pci);
    }

    fn deadline(&self) -> Option<VmTime> {
        self.pm1.deadline(&self.regs.pm1)
    }
}

impl PciFunction for Ich9Lpc {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Ich9Lpc {
    /// Port 0xcf9, to which the host bridge passes accesses on; ports 0xb2 and 0xb3; power management and the chip set's
    /// configuration, which appear where the guest puts them.
    const WINDOWS: &'static [Window] = &[
        Window { len: 1, widths: 1..=1 },
        Window { len: 2, widths: 1..=2 },
        Window { len: PM_LEN, widths: 1..=4 },
        Window { len: ROOT_LEN, widths: 1..=4 },
    ];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if at.window == RESET {
            return Ok(self.regs.reset_control.into());
        }
        self.pm1.look_at_timer(&mut self.regs.pm1);
        // Once for all bytes: time goes on between them.
        let ticks = self.pm1.ticks();
        Ok((0..u64::from(at.width)).fold(0, |value, n| {
            let offset = at.offset + n;
            let byte = match at.window {
                PM => self.read_pm(offset as u8, ticks),
                APM => self.regs.apm.get(offset as usize).copied().unwrap_or(0),
                _ => self.root_byte(offset).map_or(0, |byte| *byte),
            };
            value | u64::from(byte) << (8 * n)
        }))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if at.window == RESET {
            let Outputs { reset, init, .. } = &self.outputs;
            write_reset_control(&mut self.regs.reset_control, value as u8, reset, init);
            return Ok(());
        }
        self.pm1.look_at_timer(&mut self.regs.pm1);
        for n in 0..u64::from(at.width) {
            let (offset, byte) = (at.offset + n, (value >> (8 * n)) as u8);
            match at.window {
                PM => self.write_pm(offset as u8, byte),
                APM => self.write_apm(offset, byte),
                _ => {
                    if let Some(stored) = self.root_byte(offset) {
                        *stored = byte;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::Machine;
    use crate::testing::{Edges, Levels, Ports, check_reset, check_save_load, hammer};
    use vm::Gpa;
    use vm::clock::{Clock, ManualClock};
    use vm::power::PowerRequest;

    const DEVFN: u8 = 31 << 3;

    struct Bench {
        machine: Machine,
        cell: Arc<DeviceCell<Ich9Lpc>>,
        /// ISA interrupts, then 16 to 23 of the I/O APIC, 32 for the SCI.
        irqs: Arc<Levels>,
        /// SMI, reset, init.
        pulses: Arc<Edges>,
        power: Power,
        lines: [IrqLine; 8],
        clock: Arc<ManualClock>,
        timers: Arc<Timers>,
    }

    fn bench() -> Bench {
        let (machine, irqs, pulses, power) = (Machine::default(), Levels::new(), Edges::new(), Power::default());
        let clock = Arc::new(ManualClock::new(0));
        let timers = Timers::new(clock.clone());
        let line = |n| IrqLine::to(irqs.clone(), n);
        let pulse = |n| IrqLine::to(pulses.clone(), n);
        let outputs = Outputs {
            isa: std::array::from_fn(|n| line(n as u32)),
            ioapic: std::array::from_fn(|n| line(16 + n as u32)),
            sci: line(32),
            smi: pulse(0),
            reset: pulse(1),
            init: pulse(2),
            power: power.clone(),
        };
        let cell = Ich9Lpc::cell(machine.bus.slot(31, 0), outputs, &timers);
        assert!(machine.bus.plug(&cell));
        let lines = pirqs(&cell);
        Bench { machine, cell, irqs, pulses, power, lines, clock, timers }
    }

    impl Bench {
        fn set(&self, at: u8, width: u8, value: u32) {
            self.machine.bus.write_config(DEVFN, at, width, value);
        }
        fn inp(&self, port: u64, width: u8) -> u64 {
            self.machine.ports.view().load(Gpa(port), width).unwrap()
        }
        fn out(&self, port: u64, width: u8, value: u64) {
            self.machine.ports.view().store(Gpa(port), width, value).unwrap();
        }
        /// Interrupts that are asserted.
        fn asserted(&self) -> Vec<u32> {
            (0..33).filter(|n| self.irqs.get(*n)).collect()
        }
    }

    #[test]
    fn at_power_on() {
        let b = bench();
        let config = |at| b.machine.bus.read_config(DEVFN, at, 4);
        assert_eq!([0, 4, 8, 0x0c].map(config), [0x2918_8086, 0x0200_0007, 0x0601_0002, 0x0080_0000]);
        assert_eq!([0x40, 0x44, 0x60, 0x68, 0xf0].map(config), [1, 0, 0x8080_8080, 0x8080_8080, 0]);
        for (device, pin, line) in [(0, 0, 4), (1, 0, 5), (2, 3, 5), (24, 0, 4), (25, 0, 0), (31, 0, 0), (31, 3, 3)] {
            assert_eq!(pirq(device, pin), line, "{device} {pin}");
        }
    }

    #[test]
    fn lines_go_to_both_controllers() {
        let b = bench();
        b.lines[0].set(true);
        b.lines[5].set(true);
        assert_eq!(b.asserted(), [16, 21]);
        b.set(0x60, 1, 10);
        b.set(0x69, 1, 11);
        assert_eq!(b.asserted(), [10, 11, 16, 21]);
        b.set(0x69, 1, 10);
        b.lines[0].set(false);
        assert_eq!(b.asserted(), [10, 21], "the other line still asks");
        b.set(0x69, 1, 0x8a);
        assert_eq!(b.asserted(), [21]);
        for irq in [0, 1, 2, 8, 13] {
            b.set(0x69, 1, irq);
            assert_eq!(b.asserted(), [21], "{irq} cannot be routed to");
        }
        b.cell.with(|bridge| bridge.reset(ResetKind::Warm)).unwrap();
        assert_eq!(b.asserted(), [21], "levels outlive a reset");
    }

    #[test]
    fn power_management() {
        let b = bench();
        b.set(PMBASE, 4, 0x600);
        assert!(b.machine.ports.dump().is_empty());
        b.set(ACPI_CNTL, 1, 0x80);
        b.out(0x602, 2, 0x100);
        b.cell.with(Ich9Lpc::press_power_button).unwrap();
        assert_eq!((b.inp(0x600, 4), b.asserted()), (0x100_0100, vec![]));
        b.cell.outb(APM, 0, ACPI_ENABLE);
        assert_eq!((b.inp(0x604, 2), b.asserted()), (1, vec![32]));
        b.out(0x600, 2, 0x100);
        assert!(b.asserted().is_empty());
        b.out(0x628, 4, 0x8000_0001);
        assert_eq!((b.inp(0x628, 4), b.inp(0x62c, 4)), (0x8000_0001, 0));
        b.cell.outb(APM, 0, ACPI_DISABLE);
        assert_eq!(b.inp(0x604, 2), 0);
        b.clock.advance_to(VmTime(1_000_000_000));
        assert_eq!(b.inp(0x608, 4), 3_579_545);
        let off = Some(PowerRequest::Shutdown);
        for (value, request) in [(0x2401, None), (0x0001, None), (0x2001, off), (0x3c01, off)] {
            b.out(0x604, 2, value);
            assert_eq!(b.power.take(), request, "{value:#x}");
        }
        b.out(0x660, 2, 0x1234);
        assert_eq!(b.inp(0x660, 4), 0x1234);
        b.set(PMBASE, 4, 0);
        assert!(b.machine.ports.dump().is_empty());
    }

    #[test]
    fn system_management_interrupts() {
        let b = bench();
        b.set(PMBASE, 4, 0x600);
        b.set(ACPI_CNTL, 1, 0x80);
        for (enable, sts, smis) in [(0x01, 0, 0), (0x20, 0x20, 0), (0x21, 0x20, 1)] {
            b.out(0x630, 4, enable);
            b.cell.outb(APM, 1, 0x55);
            b.cell.outb(APM, 0, 7);
            assert_eq!((b.inp(0x634, 4), b.pulses.take(0)), (sts, smis), "{enable:#x}");
            b.out(0x634, 4, 0x20);
            assert_eq!(b.inp(0x634, 4), 0);
        }
        assert_eq!((b.cell.inb(APM, 0), b.cell.inb(APM, 1)), (7, 0x55));
        b.set(GEN_PMCON_1, 1, SMI_LOCK.into());
        b.out(0x630, 4, 0);
        assert_eq!(b.inp(0x630, 4), 1);
    }

    #[test]
    fn resets_and_the_chip_sets_registers() {
        let b = bench();
        for (value, read, reset, init) in [(0, 0, 0, 0), (2, 2, 0, 0), (6, 2, 1, 0), (4, 0, 0, 1), (0xe, 2, 1, 0)] {
            b.cell.outb(RESET, 0, value);
            assert_eq!((b.cell.inb(RESET, 0), b.pulses.take(1), b.pulses.take(2)), (read, reset, init), "{value}");
        }
        b.set(RCBA, 4, 0xfed1_c001);
        let load = |at: u64| b.machine.memory.view().load(Gpa(0xfed1_c000 + at), 4).unwrap();
        b.machine.memory.view().store(Gpa(0xfed1_f410), 4, 0x20).unwrap();
        assert_eq!([0x3140, 0x3410, 0, 0x3ffc].map(load), [0x3210_3210, 0x20, 0, 0]);
    }

    #[test]
    fn saved_reset_and_any_access() {
        let b = bench();
        check_save_load(&b.cell, || b.lines[7].set(true));
        let b = bench();
        check_reset(&b.cell, || b.cell.outb(RESET, 0, 2));
        hammer(&b.cell, 20_000, |random| {
            b.clock.advance_to(VmTime(b.clock.now().0 + random.below(1 << 33)));
            b.timers.expire();
            b.set(random.next() as u8 & 0xfc, 4, random.next() as u32);
            b.lines[random.below(8) as usize].set(random.below(2) == 0);
        });
    }
}
