//! Configuration space in memory ("ECAM"): PCI Express Base Specification, revision 4.0, 7.2.2 "PCI Express Enhanced
//! Configuration Access Mechanism (ECAM)"; and a host bridge that has nothing else ([`GenericHost`]), as Linux's
//! bindings describe it (`pci/host-generic-pci.yaml`).
//!
//! Each function has 4 KiB there. Those of the functions here are 256 bytes long: what follows reads as all ones, as with
//! a bridge to conventional PCI.

use super::bus::PciBus;
use super::config::{COMMAND, LEN, Layout, PciRegs};
use super::function::{Function, PciFunction, PciSlot};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, AddressSpace, BusError, Device, Gpa, Mmio, MmioPort, Regs, ResetKind, Window};

/// Bytes of the configuration space of all 256 buses.
pub const ECAM_LEN: u64 = 256 << BUS_SHIFT;
/// 7.2.2, table "Enhanced Configuration Address Mapping": bus number from bit 20 on, device and function from bit 12 on.
const BUS_SHIFT: u32 = 20;
const FUNCTION_SHIFT: u32 = 12;
/// Bytes of I/O ports.
const PORTS_LEN: u64 = 0x1_0000;

// Windows.
const ECAM: u8 = 0;

/// Which of four lines pin `pin` of device `device` is wired to: 9.1 of the PCI-to-PCI Bridge Architecture Specification.
pub fn swizzle(device: u8, pin: u8) -> u8 {
    device.wrapping_add(pin) & 3
}

/// The configuration space of a bus, in memory. The offset of an access is from the start of bus 0.
pub struct Ecam(pub Arc<PciBus>);

impl Ecam {
    /// Function and register of an access: none beyond what functions here have.
    fn at(at: Access) -> Result<Option<(u8, u8)>, BusError> {
        if !matches!(at.width, 1 | 2 | 4) {
            return Err(BusError::BadWidth);
        }
        if !at.offset.is_multiple_of(at.width.into()) {
            return Err(BusError::BadOffset);
        }
        let register = (at.offset & ((1 << FUNCTION_SHIFT) - 1)) as usize;
        let exists = at.offset >> BUS_SHIFT == 0 && register < LEN;
        Ok(exists.then_some(((at.offset >> FUNCTION_SHIFT) as u8, register as u8)))
    }
}

impl MmioPort for Ecam {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        let value = Self::at(at)?.map_or(u32::MAX, |(devfn, register)| self.0.read_config(devfn, register, at.width));
        Ok(u64::from(value) & (u64::MAX >> (64 - 8 * u32::from(at.width))))
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        if let Some((devfn, register)) = Self::at(at)? {
            self.0.write_config(devfn, register, at.width, value as u32);
        }
        Ok(())
    }
}

/// Function 0 of device 0: what a guest sees of the bridge. It has no registers of its own.
pub struct GenericHost {
    regs: GenericHostRegs,
    function: Function,
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenericHostRegs {
    pci: PciRegs,
}

impl Regs for GenericHostRegs {}

impl GenericHost {
    /// The function in `slot`.
    pub fn new(slot: PciSlot) -> Self {
        // IDs that Red Hat has given to such a bridge (QEMU documentation, "PCI IDs for QEMU").
        let layout = Layout::new(0x1b36, 0x0008, 0x06_00_00, 0).register(COMMAND, 2, 0, 0x0547);
        let function = Function::new(slot, layout);
        let regs = GenericHostRegs { pci: function.power_on() };
        Self { regs, function }
    }
}

impl Device for GenericHost {
    type Regs = GenericHostRegs;
    const MODEL: &'static str = "pci-host-ecam-generic";

    fn regs(&self) -> &GenericHostRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut GenericHostRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = GenericHostRegs { pci: self.function.power_on() };
    }
}

impl PciFunction for GenericHost {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

/// The windows are [`GenericWindows`]' to answer, which need no lock.
impl Mmio for GenericHost {
    const WINDOWS: &'static [Window] =
        &[Window { len: ECAM_LEN, widths: 1..=4 }, Window { len: PORTS_LEN, widths: 1..=4 }];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Err(BusError::NoDevice)
    }
    fn write(&mut self, _at: Access, _value: u64) -> Result<(), BusError> {
        Err(BusError::NoDevice)
    }
}

/// Answers in the bridge's windows: configuration space, then the I/O ports of the functions.
pub struct GenericWindows {
    ecam: Ecam,
    ports: Arc<AddressSpace>,
}

impl GenericWindows {
    /// The windows to `bus`, whose functions have their ports in `ports`.
    pub fn new(bus: Arc<PciBus>, ports: Arc<AddressSpace>) -> Self {
        Self { ecam: Ecam(bus), ports }
    }
}

impl MmioPort for GenericWindows {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        if at.window == ECAM {
            return self.ecam.read(at);
        }
        match self.ports.view().load(Gpa(at.offset), at.width) {
            // Nobody claims the access: all ones, as on a conventional bus.
            Err(BusError::NoDevice) => Ok(u64::MAX >> (64 - 8 * u32::from(at.width.clamp(1, 8)))),
            other => other,
        }
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        if at.window == ECAM {
            return self.ecam.write(at, value);
        }
        match self.ports.view().store(Gpa(at.offset), at.width, value) {
            Err(BusError::NoDevice) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::Machine;
    use crate::testing::{Random, check_reset, check_save_load};
    use vm::DeviceCell;

    struct Bench {
        machine: Machine,
        host: Arc<DeviceCell<GenericHost>>,
        windows: GenericWindows,
    }

    fn bench() -> Bench {
        let machine = Machine::default();
        let host = Arc::new(DeviceCell::new(GenericHost::new(machine.bus.slot(0, 0))));
        assert!(machine.bus.plug(&host));
        machine.plug_test(3);
        let windows = GenericWindows::new(machine.bus.clone(), machine.ports.clone());
        Bench { machine, host, windows }
    }

    impl Bench {
        fn read(&self, window: u8, offset: u64, width: u8) -> Result<u64, BusError> {
            self.windows.read(Access { window, offset, width })
        }
        fn write(&self, window: u8, offset: u64, width: u8, value: u64) -> Result<(), BusError> {
            self.windows.write(Access { window, offset, width }, value)
        }
    }

    #[test]
    fn functions_are_where_the_table_says() {
        let b = bench();
        for (offset, width, value) in [
            (0, 4, 0x0008_1b36),
            (0x08, 4, 0x0600_0000),
            (0x2c, 4, 0x1100_1af4),
            (3 << 15, 4, 0x5678_1234),
            (3 << 15 | 2, 2, 0x5678),
            (3 << 15 | 3, 1, 0x56),
            (3 << 15 | 1 << 12, 4, 0xffff_ffff), // no function 1
            (4 << 15, 2, 0xffff),                // no device 4
            (3 << 15 | 0x100, 4, 0xffff_ffff),   // beyond 256 bytes
            (3 << 15 | 0xfff, 1, 0xff),
            (1 << 20, 4, 0xffff_ffff), // bus 1
            (ECAM_LEN - 4, 4, 0xffff_ffff),
        ] {
            assert_eq!(b.read(ECAM, offset, width), Ok(value), "{offset:#x}");
        }
        assert_eq!(b.read(ECAM, 2, 4), Err(BusError::BadOffset));
        assert_eq!(b.write(ECAM, 0, 8, 0), Err(BusError::BadWidth));
    }

    #[test]
    fn windows_of_functions_answer() {
        let b = bench();
        for (offset, value) in [(0x10, 0x1000_0000), (0x14, 0x1001), (0x04, 3), (0x104, 0), (1 << 20 | 4, 0)] {
            b.write(ECAM, 3 << 15 | offset, 4, value).unwrap();
        }
        b.machine.memory.view().store(Gpa(0x1000_0000), 4, 7).unwrap();
        assert_eq!(b.read(1, 0x1004, 4), Ok(7));
        b.write(1, 0x1000, 2, 9).unwrap();
        assert_eq!(b.read(1, 0x1000, 1), Ok(9));
        assert_eq!((b.read(1, 0x2000, 2), b.write(1, 0x2000, 4, 1)), (Ok(0xffff), Ok(())), "nobody is there");
    }

    #[test]
    fn pins_go_round_from_the_first_device_on() {
        for (device, pin, line) in [(0, 0, 0), (1, 0, 1), (1, 3, 0), (2, 1, 3), (31, 3, 2)] {
            assert_eq!(swizzle(device, pin), line, "{device} {pin}");
        }
    }

    #[test]
    fn saved_reset_and_any_access() {
        let b = bench();
        check_save_load(&b.host, || b.write(ECAM, 0x3c, 1, 5).unwrap());
        b.host.with(|host| host.reset(ResetKind::Cold)).unwrap();
        check_reset(&b.host, || b.write(ECAM, 0x04, 2, 6).unwrap());
        let mut random = Random::new(1);
        for _ in 0..50_000 {
            let (window, width) = (random.below(2) as u8, [1, 2, 4, 8, 3, 0][random.below(6) as usize]);
            let mask = if random.below(2) == 0 { 0xf_ffff } else { u64::MAX };
            let at = Access { window, offset: random.next() & mask, width };
            let _ = self::MmioPort::read(&b.windows, at);
            let _ = self::MmioPort::write(&b.windows, at, random.next());
        }
    }
}
