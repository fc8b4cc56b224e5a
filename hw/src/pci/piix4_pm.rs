//! Power management of the 82371AB (PIIX4), function 3: the fixed hardware of ACPI, system management interrupts by the
//! APM ports, and an SMBus host controller without devices. Intel 82371AB data sheet (290562); section titles are its.

use super::acpi_pm::{self, Pm1, Pm1Regs};
use super::config::{Layout, PciRegs, STATUS, Space};
use super::function::{Function, Mapped, PciFunction, PciSlot};
use super::smbus::SmbusRegs;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::power::Power;
use vm::timer::Timers;
use vm::{Access, BusError, Device, DeviceCell, IrqLine, Mmio, Regs, ResetKind, VmTime, Window};

// Configuration registers.
const PMBA: u8 = 0x40;
const DEVACTB: u8 = 0x58;
const PMREGMISC: u8 = 0x80;
const SMBBA: u8 = 0x90;
const SMBHSTCFG: u8 = 0xd2;
/// DEVACTB: writing the APM control port raises SMI#.
const APMC_EN: u32 = 1 << 25;

// Windows.
const PM: u8 = 0;
const APM: u8 = 1;
const SMBUS: u8 = 2;
const PM_LEN: u64 = 0x40;
const SMBUS_LEN: u64 = 0x10;

// Power management I/O registers, by byte, after those of ACPI.
const GPSTS: u8 = 0x0c;
const GPEN: u8 = 0x0e;
const PCNTRL: u8 = 0x10;
const GPIREG: u8 = 0x30;
const GPOREG: u8 = 0x34;

/// Values of the APM control port that switch ACPI on and off, for the FADT (ACPI specification, "Fixed ACPI Description
/// Table", ACPI_ENABLE and ACPI_DISABLE).
pub const ACPI_ENABLE: u8 = 0xf1;
/// See [`ACPI_ENABLE`].
pub const ACPI_DISABLE: u8 = 0xf0;

/// What the function drives.
pub struct Outputs {
    /// The system control interrupt, ISA interrupt 9 of a PC.
    pub sci: IrqLine,
    /// Pulsed for a system management interrupt.
    pub smi: IrqLine,
    /// Who is asked to switch off.
    pub power: Power,
}

/// The function.
pub struct Piix4Pm {
    regs: Piix4PmRegs,
    function: Function,
    outputs: Outputs,
    pm1: Pm1,
    pm: Mapped,
    smbus: Mapped,
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piix4PmRegs {
    pci: PciRegs,
    pm1: Pm1Regs,
    gpe_sts: u16,
    gpe_en: u16,
    processor: u32,
    outputs: u32,
    apm: [u8; 2],
    smbus: SmbusRegs,
}

impl Regs for Piix4PmRegs {}

impl Piix4Pm {
    /// The cell of a function in `slot`. Its timer has 24 bits, or 32 if `wide` (the FADT's TMR_VAL_EXT).
    pub fn cell(slot: PciSlot, outputs: Outputs, timers: &Arc<Timers>, wide: bool) -> Arc<DeviceCell<Self>> {
        let layout = Layout::new(0x8086, 0x7113, 0x06_80_00, 3)
            .register(STATUS, 2, 0x0280, 0)
            .command_bits(1)
            .interrupt_pin(1)
            .register(PMBA, 4, 1, 0xffc0)
            .register(0x44, 4, 0, 0xffff_ffff)
            .register(0x48, 4, 0, 0xffff_ffff)
            .register(0x4c, 4, 0, 0xffff_ffff)
            .register(0x50, 4, 0, 0xffff_ffff)
            .register(0x54, 4, 0, 0xffff_ffff)
            .register(DEVACTB, 4, 0, 0xffff_ffff)
            .register(0x5c, 4, 0, 0xffff_ffff)
            .register(0x60, 4, 0, 0xffff_ffff)
            .register(0x64, 4, 0, 0xffff_ffff)
            .register(0x68, 4, 0, 0xffff_ffff)
            .register(0x6c, 4, 0, 0xffff_ffff)
            .register(0x70, 4, 0, 0xffff_ffff)
            .register(0x74, 4, 0, 0xffff_ffff)
            .register(0x78, 4, 0, 0xffff_ffff)
            .register(0x7c, 4, 0, 0xffff_ffff)
            .register(PMREGMISC, 1, 0, 1)
            .register(SMBBA, 4, 1, 0xfff0)
            .register(SMBHSTCFG, 4, 0, 0x00ff_ff0f)
            .register(0xd6, 1, 0, 0);
        let function = Function::new(slot, layout);
        let regs = Piix4PmRegs { pci: function.power_on(), ..Default::default() };
        let pm1 = Pm1::new(timers.clock().clone(), outputs.power.clone(), wide);
        let device = Self { regs, function, outputs, pm1, pm: Mapped::default(), smbus: Mapped::default() };
        DeviceCell::with_timers(device, timers)
    }

    /// A person presses the power button.
    pub fn press_power_button(&mut self) {
        self.regs.pm1.press_power_button();
    }

    /// An event of the general-purpose block (0 to 15) happens.
    pub fn raise_gpe(&mut self, n: u8) {
        self.regs.gpe_sts |= 1_u16.checked_shl(n.into()).unwrap_or(0);
    }

    /// The byte at `at` of the power management registers, with the timer at `ticks`.
    fn read_byte(&self, at: u8, ticks: u64) -> u8 {
        let r = &self.regs;
        let word = |value: u16, from: u8| value.to_le_bytes()[usize::from(at - from)];
        let dword = |value: u32, from: u8| value.to_le_bytes()[usize::from(at - from)];
        match at {
            _ if at < acpi_pm::LEN => self.pm1.read_byte(&r.pm1, at, ticks),
            0x0c..=0x0d => word(r.gpe_sts, GPSTS),
            0x0e..=0x0f => word(r.gpe_en, GPEN),
            0x10..=0x13 => dword(r.processor, PCNTRL),
            0x30..=0x33 => dword(0, GPIREG),
            0x34..=0x37 => dword(r.outputs, GPOREG),
            _ => 0,
        }
    }

    fn write_byte(&mut self, at: u8, value: u8) {
        let r = &mut self.regs;
        let shift = 8 * u32::from(at & 1);
        let word = u16::from(value) << shift;
        let put = |old: u16| old & !(0xff << shift) | word;
        let put4 = |old: u32| {
            let shift = 8 * u32::from(at & 3);
            old & !(0xff << shift) | u32::from(value) << shift
        };
        match at {
            _ if at < acpi_pm::LEN => self.pm1.write_byte(&mut r.pm1, at, value),
            0x0c..=0x0d => r.gpe_sts &= !word,
            0x0e..=0x0f => r.gpe_en = put(r.gpe_en),
            0x10..=0x13 => r.processor = put4(r.processor),
            0x34..=0x37 => r.outputs = put4(r.outputs),
            _ => {}
        }
    }

    /// "APMC — Advanced power management control port".
    fn write_apm(&mut self, offset: u64, value: u8) {
        if let Some(byte) = self.regs.apm.get_mut(offset as usize) {
            *byte = value;
        }
        if offset != 0 {
            return;
        }
        // Deviation: on a real board the handler of the interrupt does this.
        match value {
            ACPI_ENABLE => self.regs.pm1.enable_sci(true),
            ACPI_DISABLE => self.regs.pm1.enable_sci(false),
            _ => {}
        }
        if self.regs.pci.dword(DEVACTB) & APMC_EN != 0 {
            self.outputs.smi.set(true);
            self.outputs.smi.set(false);
        }
    }
}

impl Device for Piix4Pm {
    type Regs = Piix4PmRegs;
    const MODEL: &'static str = "piix4-pm";

    fn regs(&self) -> &Piix4PmRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Piix4PmRegs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        let (pci, pm1) = (self.function.power_on(), self.pm1.after_reset());
        self.regs = Piix4PmRegs { pci, pm1, ..Default::default() };
    }

    fn update(&mut self) {
        self.pm1.look_at_timer(&mut self.regs.pm1);
        let r = &self.regs;
        let event = r.pm1.event() || r.gpe_sts & r.gpe_en != 0;
        self.outputs.sci.set(event && r.pm1.sci_enabled());
        let enabled = |on: bool, base: u8, mask: u32, len: u64| {
            let at = u64::from(r.pci.dword(base) & mask);
            (on && at != 0).then_some((at, len))
        };
        let pm = enabled(r.pci.byte(PMREGMISC) & 1 != 0, PMBA, 0xffc0, PM_LEN);
        let smbus = enabled(r.pci.byte(SMBHSTCFG) & 1 != 0, SMBBA, 0xfff0, SMBUS_LEN);
        self.function.place(&mut self.pm, Space::Io, PM, pm);
        self.function.place(&mut self.smbus, Space::Io, SMBUS, smbus);
        self.function.update(&self.regs.pci);
    }

    fn deadline(&self) -> Option<VmTime> {
        self.pm1.deadline(&self.regs.pm1)
    }
}

impl PciFunction for Piix4Pm {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Piix4Pm {
    /// The power management registers and, last, those of the SMBus appear where the guest puts them; window 1 is that of
    /// ports 0xb2 and 0xb3.
    const WINDOWS: &'static [Window] = &[
        Window { len: PM_LEN, widths: 1..=4 },
        Window { len: 2, widths: 1..=2 },
        Window { len: SMBUS_LEN, widths: 1..=4 },
    ];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        self.pm1.look_at_timer(&mut self.regs.pm1);
        // Once for all bytes: time goes on between them.
        let ticks = self.pm1.ticks();
        Ok((0..u64::from(at.width)).fold(0, |value, n| {
            let offset = at.offset + n;
            let byte = match at.window {
                PM => self.read_byte(offset as u8, ticks),
                APM => self.regs.apm.get(offset as usize).copied().unwrap_or(0),
                _ => self.regs.smbus.read(offset),
            };
            value | u64::from(byte) << (8 * n)
        }))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        self.pm1.look_at_timer(&mut self.regs.pm1);
        // The upper half of a register may hold what takes the lower one into account.
        for n in 0..u64::from(at.width) {
            let (offset, byte) = (at.offset + n, (value >> (8 * n)) as u8);
            match at.window {
                PM => self.write_byte(offset as u8, byte),
                APM => self.write_apm(offset, byte),
                _ => self.regs.smbus.write(offset, byte),
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
    use vm::clock::{Clock, ManualClock};
    use vm::power::PowerRequest;
    use vm::{Gpa, MmioPort};

    const PMTMR: u64 = 8;

    struct Bench {
        machine: Machine,
        cell: Arc<DeviceCell<Piix4Pm>>,
        sci: Arc<Levels>,
        smis: Arc<Edges>,
        power: Power,
        clock: Arc<ManualClock>,
        timers: Arc<Timers>,
    }

    fn bench(wide: bool) -> Bench {
        let (machine, sci, smis, power) = (Machine::default(), Levels::new(), Edges::new(), Power::default());
        let clock = Arc::new(ManualClock::new(0));
        let timers = Timers::new(clock.clone());
        let outputs =
            Outputs { sci: IrqLine::to(sci.clone(), 9), smi: IrqLine::to(smis.clone(), 0), power: power.clone() };
        let cell = Piix4Pm::cell(machine.bus.slot(1, 3), outputs, &timers, wide);
        assert!(machine.bus.plug(&cell));
        Bench { machine, cell, sci, smis, power, clock, timers }
    }

    impl Bench {
        fn read(&self, offset: u64, width: u8) -> u64 {
            MmioPort::read(&*self.cell, Access { window: PM, offset, width }).unwrap()
        }
        fn write(&self, offset: u64, width: u8, value: u64) {
            MmioPort::write(&*self.cell, Access { window: PM, offset, width }, value).unwrap();
        }
    }

    /// A clock by which time goes on at every look.
    struct Restless(std::sync::atomic::AtomicU64);

    impl Clock for Restless {
        fn now(&self) -> VmTime {
            VmTime(self.0.fetch_add(1000, std::sync::atomic::Ordering::Relaxed))
        }
        fn run(&self) {}
        fn stop(&self) {}
        fn epoch_s(&self) -> u64 {
            0
        }
    }

    #[test]
    fn the_timer_never_goes_back() {
        let machine = Machine::default();
        let timers = Timers::new(Arc::new(Restless(Default::default())));
        let line = || IrqLine::to(Levels::new(), 0);
        let outputs = Outputs { sci: line(), smi: line(), power: Power::default() };
        let cell = Piix4Pm::cell(machine.bus.slot(1, 3), outputs, &timers, true);
        let mut last = 0;
        for _ in 0..2000 {
            let timer = MmioPort::read(&*cell, Access { window: PM, offset: PMTMR, width: 4 }).unwrap();
            assert!((last..last + 100).contains(&timer), "{timer:#x} after {last:#x}");
            last = timer;
        }
    }

    #[test]
    fn windows_where_the_guest_puts_them() {
        let b = bench(false);
        let config = |at, value| b.machine.bus.write_config(11, at, 4, value);
        assert_eq!(b.machine.bus.read_config(11, 0, 4), 0x7113_8086);
        assert_eq!(b.machine.bus.read_config(11, 8, 4), 0x0680_0003);
        config(PMBA, 0xffff_b001);
        config(SMBBA, 0x701);
        assert_eq!((b.machine.bus.read_config(11, PMBA, 4), b.machine.ports.dump()), (0xb001, String::new()));
        config(PMREGMISC, 1);
        b.machine.bus.write_config(11, SMBHSTCFG, 1, 9);
        assert_eq!(
            b.machine.ports.dump(),
            "0000000000000700-000000000000070f mmio pci 01.3 window 2\n\
             000000000000b000-000000000000b03f mmio pci 01.3 window 0\n"
        );
        b.machine.ports.view().store(Gpa(0xb002), 2, 0x100).unwrap();
        assert_eq!(b.read(2, 2), 0x100);
        config(PMREGMISC, 0);
        b.machine.bus.write_config(11, SMBHSTCFG, 1, 0);
        assert_eq!(b.machine.ports.dump(), "");
    }

    #[test]
    fn the_timer() {
        for (wide, mask) in [(false, 0xff_ffff_u64), (true, 0xffff_ffff)] {
            let b = bench(wide);
            assert_eq!(b.read(8, 4), 0);
            b.clock.advance_to(VmTime(10_000_000_000));
            assert_eq!(b.read(8, 4), 35_795_450 & mask);
            assert_eq!(b.read(0, 2), 1, "the highest bit has changed");
            b.write(0, 2, 1);
            assert_eq!(b.read(0, 2), 0);
            b.write(4, 2, 1);
            b.write(2, 2, 1);
            let deadline = b.timers.next_deadline().unwrap();
            assert_eq!(deadline, VmTime(11_717_422_187), "5 << 23 ticks");
            b.clock.advance_to(deadline);
            b.timers.expire();
            assert!(b.sci.get(9));
            assert_eq!((b.read(0, 2), b.timers.next_deadline()), (1, None));
            b.write(0, 2, 0xffff);
            assert!(!b.sci.get(9) && b.timers.next_deadline().is_some());
        }
    }

    #[test]
    fn events_and_the_button() {
        let b = bench(false);
        b.cell.with(|pm| pm.press_power_button()).unwrap();
        assert_eq!((b.read(0, 2), b.sci.get(9)), (0x100, false));
        b.write(2, 2, 0xffff);
        assert_eq!((b.read(2, 2), b.sci.get(9)), (0x521, false));
        b.cell.outb(APM, 0, ACPI_ENABLE);
        assert_eq!((b.read(4, 2), b.sci.get(9)), (1, true));
        b.cell.outb(APM, 0, ACPI_DISABLE);
        assert_eq!((b.read(4, 2), b.sci.get(9)), (0, false));
        b.write(4, 2, 1);
        b.write(1, 1, 1);
        assert_eq!((b.read(0, 2), b.sci.get(9)), (0, false));
        b.cell.with(|pm| pm.raise_gpe(3)).unwrap();
        assert!(!b.sci.get(9));
        b.write(0xe, 2, 8);
        assert!(b.sci.get(9));
        b.write(0xc, 2, 8);
        assert_eq!((b.read(0xc, 4), b.sci.get(9)), (0x8_0000, false));
    }

    #[test]
    fn off_and_system_management() {
        let b = bench(false);
        for (value, request) in [(0x0001, None), (0x0401, None), (0x2401, None), (0x2001, Some(PowerRequest::Shutdown))]
        {
            b.write(4, 2, value);
            assert_eq!((b.power.take(), b.read(4, 2)), (request, value & !0x2000), "{value:#x}");
        }
        b.cell.outb(APM, 1, 0x55);
        b.cell.outb(APM, 0, 1);
        assert_eq!((b.cell.inb(APM, 0), b.cell.inb(APM, 1), b.smis.take(0)), (1, 0x55, 0));
        b.machine.bus.write_config(11, DEVACTB, 4, APMC_EN);
        b.cell.outb(APM, 1, 0);
        assert_eq!(b.smis.take(0), 0);
        b.cell.outb(APM, 0, 1);
        assert_eq!(b.smis.take(0), 1);
    }

    #[test]
    fn an_smbus_without_devices() {
        let b = bench(false);
        b.cell.outb(SMBUS, 4, 0xa1);
        b.cell.outb(SMBUS, 2, 0x48);
        assert_eq!([0, 2, 4].map(|at| b.cell.inb(SMBUS, at)), [4, 8, 0xa1]);
        b.cell.outb(SMBUS, 0, 0xff);
        assert_eq!(b.cell.inb(SMBUS, 0), 0);
    }

    #[test]
    fn saved_reset_and_any_access() {
        let b = bench(false);
        check_save_load(&b.cell, || b.write(2, 2, 0x100));
        let b = bench(false);
        check_reset(&b.cell, || b.write(2, 2, 0x100));
        hammer(&b.cell, 20_000, |random| {
            b.clock.advance_to(VmTime(b.clock.now().0 + random.below(1 << 33)));
            b.timers.expire();
            b.machine.bus.write_config(11, random.next() as u8 & 0xfc, 4, random.next() as u32);
        });
    }
}
