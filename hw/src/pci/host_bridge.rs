//! What the host bridges of PCs have in common: they answer for the configuration mechanism's ports (PCI Local Bus
//! Specification 3.0, 3.2.2.3.2), and decide what is between 640 KiB and 1 MiB: RAM, or whatever the board has mapped there
//! with a priority below [`PRIORITY`] (ROM, a VGA's window). Which registers say so is the [`Chip`]'s to tell: the 82441FX
//! ([`super::i440fx`]), whose names of registers are used here, or the memory controller hub of the Q35 ([`super::q35`]).

use super::bus::PciBus;
use super::config::{Layout, PciRegs};
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
/// Memory in which the functions of bus 0 and further ones have 4 KiB each, of chips that have it.
pub const ECAM: u8 = 2;
/// Byte of the address port that is another register, the reset control of the ISA bridge.
const RESET_CONTROL: u64 = 1;

// CONFIG_ADDRESS ("Configuration address register").
const ENABLE: u32 = 1 << 31;
const ADDRESS_MASK: u32 = 0x80ff_fffc;

// Each half of the programmable attribute map registers ("PAM").
const READ_ENABLE: u8 = 1 << 0;
const WRITE_ENABLE: u8 = 1 << 1;
// "SMRAM — System management RAM control register".
const D_OPEN: u8 = 1 << 6;
const D_CLS: u8 = 1 << 5;
/// No bit of SMRAM's registers but D_CLS can be changed before a reset.
pub const D_LCK: u8 = 1 << 4;
/// There is SMRAM.
pub const G_SMRAME: u8 = 1 << 3;

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

/// What one bridge has of its own.
pub trait Chip: Default + Send + 'static {
    /// [`Device::MODEL`].
    const MODEL: &'static str;
    /// First of the seven programmable attribute map registers.
    const PAM: u8;
    /// System management RAM control register.
    const SMRAM: u8;
    /// Ports 0xcf8 and 0xcfc; then [`ECAM`], if it has that.
    const WINDOWS: &'static [Window];

    /// Its configuration space; [`HostBridge`] adds the registers above.
    fn layout() -> Layout;

    /// A guest has written configuration registers; `old` is what they were.
    fn written(_old: &PciRegs, _regs: &mut PciRegs) {}

    /// Drives what follows from the registers beside the parts of memory below 1 MiB. `in_smm`: some processor is in
    /// system management mode.
    fn update(&mut self, _function: &Function, _regs: &PciRegs, _memory: &LowMemory, _in_smm: bool) {}
}

/// A bridge.
pub struct HostBridge<C> {
    regs: HostBridgeRegs,
    function: Function,
    bus: Arc<PciBus>,
    memory: LowMemory,
    split: Arc<dyn MmioPort>,
    reset_control: Option<Arc<dyn MmioPort>>,
    /// What is mapped of each of [`PARTS`], by its enable bits.
    mapped: [(u8, Option<MappingId>); PARTS.len()],
    chip: C,
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBridgeRegs {
    address: u32,
    pci: PciRegs,
    /// Processors in system management mode, one bit each.
    smiact: u64,
}

impl Regs for HostBridgeRegs {}

impl<C: Chip> HostBridge<C> {
    /// The cell of the bridge of `bus`, device 0. `reset_control` answers at port 0xcf9 (window 0 of the ISA bridge).
    pub fn cell(
        bus: Arc<PciBus>,
        memory: LowMemory,
        reset_control: Option<Arc<dyn MmioPort>>,
    ) -> Arc<DeviceCell<Self>> {
        let mut layout = C::layout().register(C::SMRAM, 1, 0x02, 0);
        for n in 0..7 {
            layout = layout.register(C::PAM + n, 1, 0, 0x33);
        }
        let function = Function::new(bus.slot(0, 0), layout);
        let regs = HostBridgeRegs { pci: function.power_on(), ..Default::default() };
        let split = Arc::new(Split { ram: memory.ram.clone(), rom: memory.rom.clone() });
        let mapped = Default::default();
        let new = Self { regs, function, bus, memory, split, reset_control, mapped, chip: C::default() };
        let cell = Arc::new(DeviceCell::new(new));
        let port: Arc<dyn MmioPort> = cell.clone();
        let port = Arc::downgrade(&port);
        let _ = cell.with(|bridge| bridge.function.connect(port));
        cell
    }

    /// Reads a register of function `devfn` of bus `bus`; all ones where there is none.
    fn read_function(&mut self, bus: u8, devfn: u8, register: u8, width: u8) -> u32 {
        match (bus, devfn) {
            (0, 0) => self.read_config(register, width),
            (0, _) => self.bus.read_config(devfn, register, width),
            _ => u32::MAX,
        }
    }

    fn write_function(&mut self, bus: u8, devfn: u8, register: u8, width: u8, value: u32) {
        match (bus, devfn) {
            (0, 0) => self.write_config(register, width, value),
            (0, _) => self.bus.write_config(devfn, register, width, value),
            _ => {}
        }
    }

    /// Bus, function and register that the address port names, if it is enabled.
    fn selected(&self, at: Access) -> Option<(u8, u8, u8)> {
        let address = self.regs.address;
        let register = (address as u8 & 0xfc) | at.offset as u8 & 3;
        (address & ENABLE != 0).then_some(((address >> 16) as u8, (address >> 8) as u8, register))
    }

    /// "SMRAM — System management RAM control register": what can be written depends on the lock.
    fn write_smram(&mut self, value: u8) {
        let old = self.regs.pci.byte(C::SMRAM);
        let writable = if old & D_LCK != 0 { D_CLS } else { D_OPEN | D_CLS | D_LCK | G_SMRAME };
        let mut new = old & !writable | value & writable;
        if new & D_LCK != 0 {
            new &= !D_OPEN;
        }
        self.regs.pci.set_byte(C::SMRAM, new);
    }

    /// SMRAM can be seen, as far as the registers enable it.
    fn in_smm(&self) -> bool {
        self.regs.pci.byte(C::SMRAM) & D_OPEN != 0 || self.regs.smiact != 0
    }

    /// Enable bits of a part.
    fn enabled(&self, part: usize) -> u8 {
        if part == 0 {
            // Deviation: D_CLS, which leaves code fetches in SMRAM alone, is not seen; nor is which processor is in system
            // management mode.
            let open = self.regs.pci.byte(C::SMRAM) & G_SMRAME != 0 && self.in_smm();
            return if open { READ_ENABLE | WRITE_ENABLE } else { 0 };
        }
        let pam = self.regs.pci.byte(C::PAM + (part / 2) as u8);
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
            Err(error) => vm::log!(GuestError, "{}: {error}", C::MODEL),
        }
    }
}

struct Smiact<C: Chip>(Arc<DeviceCell<HostBridge<C>>>);

impl<C: Chip> IrqSink for Smiact<C> {
    fn set_pin(&self, pin: u32, high: bool) {
        let bit = 1_u64.checked_shl(pin).unwrap_or(0);
        let _ = self.0.with(|bridge| {
            let smiact = &mut bridge.regs.smiact;
            *smiact = if high { *smiact | bit } else { *smiact & !bit };
        });
    }
}

/// The inputs SMIACT#: input `n` is high while processor `n` is in system management mode.
pub fn smiact<C: Chip>(bridge: &Arc<DeviceCell<HostBridge<C>>>) -> Arc<dyn IrqSink> {
    Arc::new(Smiact(bridge.clone()))
}

impl<C: Chip> Device for HostBridge<C> {
    type Regs = HostBridgeRegs;
    const MODEL: &'static str = C::MODEL;

    fn regs(&self) -> &HostBridgeRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut HostBridgeRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = HostBridgeRegs { pci: self.function.power_on(), ..Default::default() };
    }
    fn update(&mut self) {
        (0..PARTS.len()).for_each(|part| self.map_part(part));
        let in_smm = self.in_smm();
        self.chip.update(&self.function, &self.regs.pci, &self.memory, in_smm);
    }
}

impl<C: Chip> PciFunction for HostBridge<C> {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }

    fn write_config(&mut self, at: u8, width: u8, value: u32) {
        let old = self.regs.pci.clone();
        let smram = u32::from(C::SMRAM.wrapping_sub(at));
        if smram < width.into() {
            self.write_smram((value >> (8 * smram)) as u8);
        }
        let locked = self.regs.pci.byte(C::SMRAM);
        self.function.write(&mut self.regs.pci, at, width, value);
        self.regs.pci.set_byte(C::SMRAM, locked);
        C::written(&old, &mut self.regs.pci);
    }
}

/// Bus, function and register of offset `offset` in the memory of "Enhanced Configuration Access Mechanism" (PCI Express
/// Base Specification 5.0, 7.2.2).
fn ecam(offset: u64) -> (u8, u8, u16) {
    ((offset >> 20) as u8, (offset >> 12) as u8, offset as u16 & 0xfff)
}

impl<C: Chip> Mmio for HostBridge<C> {
    const WINDOWS: &'static [Window] = C::WINDOWS;

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        match (at.window, at.offset, at.width) {
            (CONFIG_ADDRESS, 0, 4) => Ok(self.regs.address.into()),
            (CONFIG_ADDRESS, RESET_CONTROL, 1) => match &self.reset_control {
                Some(port) => port.read(Access { window: 0, offset: 0, width: 1 }),
                None => Err(BusError::BadOffset),
            },
            (CONFIG_DATA, ..) => Ok(match self.selected(at) {
                Some((bus, devfn, register)) => self.read_function(bus, devfn, register, at.width).into(),
                None => u32::MAX.into(),
            }),
            (ECAM, offset, width) if offset & 3 <= 4 - u64::from(width.min(4)) => {
                let (bus, devfn, register) = ecam(offset);
                // The functions here have no registers beyond those of PCI: an empty list of extended capabilities.
                let there = self.read_function(bus, devfn, 0, 2) != u32::MAX;
                Ok(match u8::try_from(register) {
                    Ok(register) => self.read_function(bus, devfn, register, width).into(),
                    Err(_) if there => 0,
                    Err(_) => u32::MAX.into(),
                })
            }
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
            (CONFIG_DATA, ..) => {
                if let Some((bus, devfn, register)) = self.selected(at) {
                    self.write_function(bus, devfn, register, at.width, value as u32);
                }
            }
            (ECAM, offset, width) if offset & 3 <= 4 - u64::from(width.min(4)) => {
                let (bus, devfn, register) = ecam(offset);
                if let Ok(register) = u8::try_from(register) {
                    self.write_function(bus, devfn, register, width, value as u32);
                }
            }
            _ => return Err(BusError::BadOffset),
        }
        Ok(())
    }
}
