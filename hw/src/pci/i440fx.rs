//! Host bridge 82441FX (440FX PMC). Intel 82441FX data sheet (290549); section titles are its.
//!
//! It answers for the configuration mechanism's ports, and decides what is between 640 KiB and 1 MiB: RAM, or whatever the
//! board has mapped there with a priority below [`PRIORITY`] (ROM, a VGA's window).

use super::bus::PciBus;
use super::config::{COMMAND, Layout, PciRegs, STATUS};
use super::function::{Function, PciFunction};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{
    Access, AddressSpace, Backing, BusError, Device, DeviceCell, Gpa, IrqSink, Mapping, MappingId, Mmio, MmioPort, Ram,
    Regs, ResetKind, Window,
};

/// Priority of the RAM that the bridge makes visible.
pub const PRIORITY: i32 = 10;

// Windows.
const CONFIG_ADDRESS: u8 = 0;
const CONFIG_DATA: u8 = 1;
/// Byte of the address port that is another register, the reset control of the ISA bridge.
const RESET_CONTROL: u64 = 1;

// CONFIG_ADDRESS ("Configuration address register").
const ENABLE: u32 = 1 << 31;
const ADDRESS_MASK: u32 = 0x80ff_fffc;

/// Programmable attribute map registers 0 to 6 ("PAM").
const PAM: u8 = 0x59;
// Each half of them.
const READ_ENABLE: u8 = 1 << 0;
const WRITE_ENABLE: u8 = 1 << 1;
/// "SMRAM — System management RAM control register".
const SMRAM: u8 = 0x72;
const D_OPEN: u8 = 1 << 6;
const D_CLS: u8 = 1 << 5;
const D_LCK: u8 = 1 << 4;
const G_SMRAME: u8 = 1 << 3;

/// First address and length of the parts of memory: that of SMRAM, then those of PAM0's upper half, PAM1's lower half, its
/// upper half and so on.
const PARTS: [(u64, u64); 14] = [
    (0xa_0000, 0x2_0000),
    (0xf_0000, 0x1_0000),
    (0xc_0000, 0x4000),
    (0xc_4000, 0x4000),
    (0xc_8000, 0x4000),
    (0xc_c000, 0x4000),
    (0xd_0000, 0x4000),
    (0xd_4000, 0x4000),
    (0xd_8000, 0x4000),
    (0xd_c000, 0x4000),
    (0xe_0000, 0x4000),
    (0xe_4000, 0x4000),
    (0xe_8000, 0x4000),
    (0xe_c000, 0x4000),
];

/// Below 1 MiB the last 128 KiB of the ROM are seen.
const ROM_START: u64 = 0xe_0000;

/// The RAM and ROM that can be seen below 1 MiB.
pub struct LowMemory {
    /// Where it appears.
    pub space: Arc<AddressSpace>,
    /// RAM, of which the bytes 0xa0000 to 0xfffff appear at these addresses.
    pub ram: Arc<Ram>,
    /// What is read while only writes go to RAM: the ROM that ends at 1 MiB.
    pub rom: Option<Arc<Ram>>,
}

/// Answers where reads come from ROM and writes go to RAM. The offset is the address.
struct Split {
    ram: Arc<Ram>,
    rom: Option<Arc<Ram>>,
}

impl MmioPort for Split {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        let from_rom = self.rom.as_ref().filter(|_| at.offset >= ROM_START).and_then(|rom| {
            let offset = at.offset.checked_sub(0x10_0000_u64.checked_sub(rom.len())?)?;
            rom.load(offset, at.width)
        });
        Ok(from_rom.unwrap_or(u64::MAX >> (64 - 8 * u32::from(at.width.clamp(1, 8)))))
    }
    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        self.ram.store(at.offset, at.width, value).ok_or(BusError::NoDevice)
    }
}

/// The bridge.
pub struct I440fx {
    regs: I440fxRegs,
    function: Function,
    bus: Arc<PciBus>,
    memory: LowMemory,
    split: Arc<dyn MmioPort>,
    reset_control: Option<Arc<dyn MmioPort>>,
    /// What is mapped of each of [`PARTS`], by its enable bits.
    mapped: [(u8, Option<MappingId>); PARTS.len()],
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct I440fxRegs {
    address: u32,
    pci: PciRegs,
    /// Processors in system management mode, one bit each.
    smiact: u64,
}

impl Regs for I440fxRegs {}

impl I440fx {
    /// The bridge of `bus`, device 0. `reset_control` answers at port 0xcf9 ([`super::piix3::Piix3`]'s window 0).
    pub fn new(bus: Arc<PciBus>, memory: LowMemory, reset_control: Option<Arc<dyn MmioPort>>) -> Self {
        let mut layout = Layout::new(0x8086, 0x1237, 0x06_00_00, 2)
            .register(COMMAND, 2, 0x0006, 0x0140)
            .register(STATUS, 2, 0x0280, 0)
            .register(0x3c, 2, 0, 0)
            .register(0x50, 4, 0x8000_0000, 0xffff_ffff)
            .register(0x54, 4, 0x0100_0000, 0xffff_ffff)
            .register(0x58, 1, 0x10, 0xff)
            .register(0x68, 1, 0, 0xff)
            .register(0x70, 2, 0x1000, 0xffff)
            .register(SMRAM, 1, 0x02, 0)
            .register(0x90, 1, 0, 0xff)
            .clears(0x91, 0x11)
            .register(0x93, 1, 0, 0xff);
        for n in 0..7 {
            layout = layout.register(PAM + n, 1, 0, 0x33);
        }
        // "DRB — DRAM row boundary registers".
        for n in 0..8 {
            layout = layout.register(0x60 + n, 1, 1, 0xff);
        }
        let function = Function::new(bus.slot(0, 0), layout);
        let regs = I440fxRegs { pci: function.power_on(), ..Default::default() };
        let split = Arc::new(Split { ram: memory.ram.clone(), rom: memory.rom.clone() });
        Self { regs, function, bus, memory, split, reset_control, mapped: Default::default() }
    }

    fn read_data(&mut self, at: Access) -> u32 {
        let address = self.regs.address;
        let register = (address as u8 & 0xfc) | at.offset as u8 & 3;
        match address {
            _ if address & ENABLE == 0 || address >> 16 & 0xff != 0 => u32::MAX,
            _ if address >> 8 & 0xff == 0 => self.read_config(register, at.width),
            _ => self.bus.read_config((address >> 8) as u8, register, at.width),
        }
    }

    fn write_data(&mut self, at: Access, value: u32) {
        let address = self.regs.address;
        let register = (address as u8 & 0xfc) | at.offset as u8 & 3;
        match address {
            _ if address & ENABLE == 0 || address >> 16 & 0xff != 0 => {}
            _ if address >> 8 & 0xff == 0 => self.write_config(register, at.width, value),
            _ => self.bus.write_config((address >> 8) as u8, register, at.width, value),
        }
    }

    /// "SMRAM — System management RAM control register": what can be written depends on the lock.
    fn write_smram(&mut self, value: u8) {
        let old = self.regs.pci.byte(SMRAM);
        let writable = if old & D_LCK != 0 { D_CLS } else { D_OPEN | D_CLS | D_LCK | G_SMRAME };
        let mut new = old & !writable | value & writable;
        if new & D_LCK != 0 {
            new &= !D_OPEN;
        }
        self.regs.pci.set_byte(SMRAM, new);
    }

    /// Enable bits of a part.
    fn enabled(&self, part: usize) -> u8 {
        if part == 0 {
            // Deviation: D_CLS, which leaves code fetches in SMRAM alone, is not seen; nor is which processor is in system
            // management mode.
            let smram = self.regs.pci.byte(SMRAM);
            let open = smram & G_SMRAME != 0 && (smram & D_OPEN != 0 || self.regs.smiact != 0);
            return if open { READ_ENABLE | WRITE_ENABLE } else { 0 };
        }
        let pam = self.regs.pci.byte(PAM + (part / 2) as u8);
        (if part % 2 == 1 { pam >> 4 } else { pam }) & (READ_ENABLE | WRITE_ENABLE)
    }

    fn map_part(&mut self, part: usize) {
        let enabled = self.enabled(part);
        let (Some((start, len)), Some(mapped)) = (PARTS.get(part).copied(), self.mapped.get_mut(part)) else { return };
        if mapped.0 == enabled {
            return;
        }
        mapped.0 = enabled;
        let LowMemory { space, ram, .. } = &self.memory;
        let backing = match (enabled & READ_ENABLE != 0, enabled & WRITE_ENABLE != 0) {
            (true, true) => Backing::Ram { ram: ram.clone(), offset: start },
            (true, false) => Backing::Rom { ram: ram.clone(), offset: start, writes: None },
            (false, true) => Backing::Mmio { port: self.split.clone(), window: 0, offset: start },
            (false, false) => {
                if let Some(id) = mapped.1.take() {
                    space.unmap(id);
                }
                return;
            }
        };
        if let Some(id) = mapped.1 {
            space.set_backing(id, backing);
            return;
        }
        let name = if part == 0 { "smram".into() } else { format!("pam{}", part / 2) };
        match space.map(Mapping { name, gpa: Gpa(start), len, priority: PRIORITY, backing }) {
            Ok(id) => mapped.1 = Some(id),
            Err(error) => vm::log!(GuestError, "i440fx: {error}"),
        }
    }
}

struct Smiact(Arc<DeviceCell<I440fx>>);

impl IrqSink for Smiact {
    fn set_pin(&self, pin: u32, high: bool) {
        let bit = 1_u64.checked_shl(pin).unwrap_or(0);
        let _ = self.0.with(|bridge| {
            let smiact = &mut bridge.regs.smiact;
            *smiact = if high { *smiact | bit } else { *smiact & !bit };
        });
    }
}

/// The inputs SMIACT#: input `n` is high while processor `n` is in system management mode.
pub fn smiact(bridge: &Arc<DeviceCell<I440fx>>) -> Arc<dyn IrqSink> {
    Arc::new(Smiact(bridge.clone()))
}

impl Device for I440fx {
    type Regs = I440fxRegs;
    const MODEL: &'static str = "i440fx";

    fn regs(&self) -> &I440fxRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut I440fxRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = I440fxRegs { pci: self.function.power_on(), ..Default::default() };
    }
    fn update(&mut self) {
        (0..PARTS.len()).for_each(|part| self.map_part(part));
    }
}

impl PciFunction for I440fx {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }

    fn write_config(&mut self, at: u8, width: u8, value: u32) {
        let smram = u32::from(SMRAM.wrapping_sub(at));
        if smram < width.into() {
            self.write_smram((value >> (8 * smram)) as u8);
        }
        let locked = self.regs.pci.byte(SMRAM);
        self.function.write(&mut self.regs.pci, at, width, value);
        self.regs.pci.set_byte(SMRAM, locked);
    }
}

impl Mmio for I440fx {
    /// Ports 0xcf8 and 0xcfc.
    const WINDOWS: &'static [Window] = &[Window { len: 4, widths: 1..=4 }, Window { len: 4, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        match (at.window, at.offset, at.width) {
            (CONFIG_ADDRESS, 0, 4) => Ok(self.regs.address.into()),
            (CONFIG_ADDRESS, RESET_CONTROL, 1) => match &self.reset_control {
                Some(port) => port.read(Access { window: 0, offset: 0, width: 1 }),
                None => Err(BusError::BadOffset),
            },
            (CONFIG_DATA, ..) => Ok(self.read_data(at).into()),
            _ => Err(BusError::BadOffset),
        }
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        match (at.window, at.offset, at.width) {
            // "Configuration address register": only 32-bit accesses are to it.
            (CONFIG_ADDRESS, 0, 4) => self.regs.address = value as u32 & ADDRESS_MASK,
            (CONFIG_ADDRESS, RESET_CONTROL, 1) => match &self.reset_control {
                Some(port) => return port.write(Access { window: 0, offset: 0, width: 1 }, value),
                None => return Err(BusError::BadOffset),
            },
            // Guests that look for the older configuration mechanism write here, where this one has nothing.
            (CONFIG_ADDRESS, 0 | 3, 1) => {}
            (CONFIG_DATA, ..) => self.write_data(at, value as u32),
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::Machine;
    use crate::testing::{check_reset, check_save_load, hammer};
    use vm::Part;

    struct Bench {
        machine: Machine,
        ram: Arc<Ram>,
        cell: Arc<DeviceCell<I440fx>>,
    }

    fn bench() -> Bench {
        let machine = Machine::default();
        let (ram, rom) = (Ram::new(0x20_0000).unwrap(), Ram::new(0x4_0000).unwrap());
        for at in (0..rom.len()).step_by(8) {
            rom.store(at, 8, 0x2222_2222_2222_2222).unwrap();
        }
        let map = |name: &str, at, len, backing| {
            machine.memory.map(Mapping { name: name.into(), gpa: Gpa(at), len, priority: 0, backing }).unwrap();
        };
        map("ram", 0, 0xa_0000, Backing::Ram { ram: ram.clone(), offset: 0 });
        map("rom", 0xe_0000, 0x2_0000, Backing::Rom { ram: rom.clone(), offset: 0x2_0000, writes: None });
        map("ram above", 0x10_0000, 0x10_0000, Backing::Ram { ram: ram.clone(), offset: 0x10_0000 });
        let memory = LowMemory { space: machine.memory.clone(), ram: ram.clone(), rom: Some(rom) };
        let cell = Arc::new(DeviceCell::new(I440fx::new(machine.bus.clone(), memory, None)));
        cell.settle();
        Bench { machine, ram, cell }
    }

    impl Bench {
        fn port(&self, window: u8, offset: u64, width: u8) -> u64 {
            MmioPort::read(&*self.cell, Access { window, offset, width }).unwrap_or(u64::MAX)
        }
        fn set_port(&self, window: u8, offset: u64, width: u8, value: u64) {
            let _ = MmioPort::write(&*self.cell, Access { window, offset, width }, value);
        }
        fn config(&self, devfn: u64, at: u64, width: u8) -> u64 {
            self.set_port(0, 0, 4, 1 << 31 | devfn << 8 | at & 0xfc);
            self.port(1, at & 3, width)
        }
        fn set_config(&self, devfn: u64, at: u64, width: u8, value: u64) {
            self.set_port(0, 0, 4, 1 << 31 | devfn << 8 | at & 0xfc);
            self.set_port(1, at & 3, width, value);
        }
        fn load(&self, at: u64) -> Option<u64> {
            self.machine.memory.view().load(Gpa(at), 1).ok()
        }
        fn store(&self, at: u64, value: u64) {
            let _ = self.machine.memory.view().store(Gpa(at), 1, value);
        }
    }

    #[test]
    fn the_configuration_mechanism() {
        let b = bench();
        b.machine.plug_test(3);
        b.set_port(0, 0, 4, 0xffff_ffff);
        assert_eq!(b.port(0, 0, 4), 0x80ff_fffc);
        b.set_port(0, 3, 1, 1);
        b.set_port(0, 0, 2, 1);
        assert_eq!(b.port(0, 0, 4), 0x80ff_fffc, "narrow accesses are not to it");
        for (devfn, at, width, value) in [
            (0, 0, 4, 0x1237_8086),
            (0, 4, 4, 0x0280_0006),
            (0, 8, 4, 0x0600_0002),
            (0, 0x2c, 4, 0x1100_1af4),
            (0, 0x2e, 2, 0x1100),
            (0, 0x72, 1, 2),
            (24, 0, 4, 0x5678_1234),
            (24, 3, 1, 0x56),
            (24, 2, 2, 0x5678),
            (25, 0, 4, 0xffff_ffff),
            (0x118, 0, 4, 0xffff_ffff),
        ] {
            assert_eq!(b.config(devfn, at, width), value, "{devfn:#x} {at:#x}");
        }
        b.set_config(24, 0x3c, 1, 0x1234);
        assert_eq!(b.config(24, 0x3c, 2), 0x134);
        b.set_port(0, 0, 4, 0x1800);
        assert_eq!(b.port(1, 0, 4), 0xffff_ffff, "disabled");
    }

    #[test]
    fn shadowing() {
        let b = bench();
        for at in [0xc_0000, 0xe_c000, 0xf_0000, 0xf_ffff] {
            b.ram.store(at, 1, 0x11).unwrap();
        }
        // Address, register, value: what is read, and what RAM holds after a write of 0x33.
        for (at, register, value, read, written) in [
            (0xf_0000, 0x59, 0x00, Some(0x22), 0x11),
            (0xf_0000, 0x59, 0x10, Some(0x11), 0x11),
            (0xf_ffff, 0x59, 0x20, Some(0x22), 0x33),
            (0xf_0000, 0x59, 0x30, Some(0x11), 0x33),
            (0xf_0000, 0x59, 0x0f, Some(0x22), 0x33),
            (0xc_0000, 0x5a, 0x00, None, 0x11),
            (0xc_0000, 0x5a, 0x02, Some(0xff), 0x33),
            (0xc_0000, 0x5a, 0x01, Some(0x33), 0x33),
            (0xe_c000, 0x5f, 0x0f, Some(0x22), 0x11),
            (0xe_c000, 0x5f, 0x30, Some(0x11), 0x33),
        ] {
            b.set_config(0, register, 1, value);
            assert_eq!(b.load(at), read, "{at:#x} {value:#x}");
            b.store(at, 0x33);
            assert_eq!(b.ram.load(at, 1), Some(written), "{at:#x} {value:#x}");
        }
        assert_eq!(b.load(0xc_4000), None);
        b.set_config(0, 0x58, 4, 0x3333_3333);
        assert_eq!((b.load(0xc_4000), b.config(0, 0x59, 2)), (Some(0), 0x3333));
        // Devices see all of it as RAM.
        b.set_config(0, 0x5c, 4, 0x3333_3333);
        assert_eq!(vm_memory::GuestMemoryBackend::num_regions(&*b.machine.memory.dma()), 2);
        b.cell.reset(ResetKind::Warm);
        b.cell.settle();
        assert_eq!((b.load(0xc_0000), b.load(0xf_0000)), (None, Some(0x22)));
    }

    #[test]
    fn system_management_ram() {
        let b = bench();
        b.ram.store(0xa_8000, 1, 0x44).unwrap();
        let smiact = smiact(&b.cell);
        let check = |value: u64, read, open| {
            b.set_config(0, 0x72, 1, value);
            assert_eq!((b.config(0, 0x72, 1), b.load(0xa_8000).is_some()), (read, open), "{value:#x}");
        };
        check(0x00, 0x02, false);
        check(0x40, 0x42, false);
        check(0x4a, 0x4a, true);
        check(0x0a, 0x0a, false);
        smiact.set_pin(1, true);
        assert_eq!(b.load(0xa_8000), Some(0x44));
        smiact.set_pin(1, false);
        assert_eq!(b.load(0xa_8000), None);
        check(0x58, 0x1a, false);
        check(0x40, 0x1a, false);
        check(0x20, 0x3a, false);
        smiact.set_pin(0, true);
        assert_eq!(b.load(0xa_8000), Some(0x44), "locked, but for the processor");
    }

    #[test]
    fn saved_reset_and_any_access() {
        let b = bench();
        check_save_load(&b.cell, || b.set_config(0, 0x59, 1, 0x30));
        let b = bench();
        check_reset(&b.cell, || b.set_config(0, 0x59, 1, 0x30));
        b.machine.plug_test(3);
        hammer(&b.cell, 20_000, |random| {
            b.set_port(0, 0, 4, 1 << 31 | random.below(0x2000));
            b.set_config(random.below(2) * 24, random.below(256), 1, random.next());
        });
    }
}
