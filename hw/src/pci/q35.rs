//! Host bridge of the Q35: device 0 of its memory controller hub. Intel 3 Series Express Chipset Family datasheet (316966),
//! "Host Bridge/DRAM Registers (D0:F0)"; section titles are its. What is not here is that of any [`HostBridge`].

use super::config::{COMMAND, Layout, PciRegs, STATUS, Space};
use super::function::{Function, Mapped};
use super::host_bridge::{Chip, D_LCK, ECAM, G_SMRAME, HostBridge, LowMemory, PRIORITY};
use std::sync::Arc;
use vm::{Access, Backing, BusError, Gpa, Mapping, MappingId, MmioPort, Window};

/// "PCIEXBAR — PCI Express Register Range Base Address".
pub const PCIEXBAR: u8 = 0x60;
const PCIEXBAREN: u64 = 1 << 0;
/// Bytes that the length field of the register stands for.
const LENGTHS: [u64; 3] = [256 << 20, 128 << 20, 64 << 20];
/// "SMRAM — System Management RAM Control".
const SMRAM: u8 = 0x9d;
/// "ESMRAMC — Extended System Management RAM Control".
const ESMRAMC: u8 = 0x9e;
const T_EN: u8 = 1 << 0;
/// Bytes of TSEG that the size field of the register stands for.
const TSEG_LENGTHS: [u64; 3] = [1 << 20, 2 << 20, 8 << 20];

/// The bridge.
pub type Q35 = HostBridge<Mch>;

/// What it has of its own.
#[derive(Default)]
pub struct Mch {
    ecam: Mapped,
    /// Where TSEG is hidden: first address, bytes.
    hidden: Option<(u64, u64)>,
    hiding: Option<MappingId>,
}

/// First address and length of the memory in which configuration registers are, if they are anywhere.
pub fn ecam_window(pciexbar: u64) -> Option<(u64, u64)> {
    let len = *LENGTHS.get((pciexbar >> 1 & 3) as usize)?;
    (pciexbar & PCIEXBAREN != 0).then_some((pciexbar & 0xf_fc00_0000 & !(len - 1), len))
}

/// What those see of TSEG who are not in system management mode.
struct Hidden;

impl MmioPort for Hidden {
    fn read(&self, at: Access) -> Result<u64, BusError> {
        Ok(u64::MAX >> (64 - 8 * u32::from(at.width.clamp(1, 8))))
    }
    fn write(&self, _at: Access, _value: u64) -> Result<(), BusError> {
        Ok(())
    }
}

impl Mch {
    /// "TSEG": the last RAM below 4 GiB. Deviation: nobody sees it while no processor is in system management mode, and
    /// everybody while one is.
    fn hide_tseg(&mut self, regs: &PciRegs, memory: &LowMemory, in_smm: bool) {
        let esmramc = regs.byte(ESMRAMC);
        let len = TSEG_LENGTHS.get(usize::from(esmramc >> 1 & 3)).copied();
        let enabled = esmramc & T_EN != 0 && regs.byte(SMRAM) & G_SMRAME != 0 && !in_smm;
        let top = memory.ram.len();
        let hidden = len.filter(|_| enabled).and_then(|len| Some((top.checked_sub(len)?, len)));
        if self.hidden == hidden {
            return;
        }
        self.hidden = hidden;
        if let Some(id) = self.hiding.take() {
            memory.space.unmap(id);
        }
        let Some((at, len)) = hidden else { return };
        let backing = Backing::Mmio { port: Arc::new(Hidden), window: 0, offset: 0 };
        match memory.space.map(Mapping { name: "tseg".into(), gpa: Gpa(at), len, priority: PRIORITY, backing }) {
            Ok(id) => self.hiding = Some(id),
            Err(error) => vm::log!(GuestError, "q35: {error}"),
        }
    }
}

impl Chip for Mch {
    const MODEL: &'static str = "q35";
    const PAM: u8 = 0x90;
    const SMRAM: u8 = SMRAM;
    const WINDOWS: &'static [Window] = &[
        Window { len: 4, widths: 1..=4 },
        Window { len: 4, widths: 1..=4 },
        Window { len: LENGTHS[0], widths: 1..=4 },
    ];

    fn layout() -> Layout {
        Layout::new(0x8086, 0x29c0, 0x06_00_00, 0)
            .register(COMMAND, 2, 0x0006, 0x0100)
            .register(STATUS, 2, 0x0080, 0)
            .register(0x3c, 2, 0, 0)
            // "EPBAR", "MCHBAR", graphics control, "DEVEN", "DMIBAR": remembered.
            .register(0x40, 4, 0, 0xffff_f001)
            .register(0x48, 4, 0, 0xffff_c001)
            .register(0x54, 4, 0x1, 0x1)
            .register(PCIEXBAR, 4, 0xe000_0000, 0xfc00_0007)
            .register(PCIEXBAR + 4, 4, 0, 0xf)
            .register(0x68, 4, 0, 0xffff_f001)
            .register(0x97, 1, 0, 0x13)
            // Cache bits of SMRAM, which are always on.
            .register(ESMRAMC, 1, 0x38, 0x87)
            // "TOM", "TOUUD", "TOLUD".
            .register(0xa0, 4, 0, 0xffff_ffff)
            .register(0xb0, 2, 0x10, 0xfff0)
            // "SKPD".
            .register(0xdc, 4, 0, 0xffff_ffff)
    }

    fn written(old: &PciRegs, regs: &mut PciRegs) {
        if old.byte(SMRAM) & D_LCK != 0 {
            regs.set_byte(ESMRAMC, old.byte(ESMRAMC));
        }
    }

    fn update(&mut self, function: &Function, regs: &PciRegs, memory: &LowMemory, in_smm: bool) {
        let pciexbar = u64::from(regs.dword(PCIEXBAR)) | u64::from(regs.dword(PCIEXBAR + 4)) << 32;
        function.place(&mut self.ecam, Space::Memory64, ECAM, ecam_window(pciexbar));
        self.hide_tseg(regs, memory, in_smm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::host_bridge::smiact;
    use crate::pci::testing::Machine;
    use crate::testing::{check_reset, check_save_load, hammer};
    use vm::{DeviceCell, Part, Ram, ResetKind};

    const RAM: u64 = 16 << 20;
    const AT: u64 = 0xb000_0000;

    struct Bench {
        machine: Machine,
        ram: Arc<Ram>,
        cell: Arc<DeviceCell<Q35>>,
    }

    fn bench() -> Bench {
        let (machine, ram) = Machine::with_ram(RAM);
        let memory = LowMemory { space: machine.memory.clone(), ram: ram.clone(), rom: None };
        let cell = Q35::cell(machine.bus.clone(), memory, None);
        cell.settle();
        Bench { machine, ram, cell }
    }

    impl Bench {
        fn config(&self, at: u64, width: u8) -> u64 {
            let port = |window, offset| Access { window, offset, width };
            MmioPort::write(&*self.cell, Access { window: 0, offset: 0, width: 4 }, 1 << 31 | at & 0xfc).unwrap();
            MmioPort::read(&*self.cell, port(1, at & 3)).unwrap()
        }
        fn set_config(&self, at: u64, width: u8, value: u64) {
            let port = |window, offset, width| Access { window, offset, width };
            MmioPort::write(&*self.cell, port(0, 0, 4), 1 << 31 | at & 0xfc).unwrap();
            MmioPort::write(&*self.cell, port(1, at & 3, width), value).unwrap();
        }
        fn load(&self, at: u64, width: u8) -> Option<u64> {
            self.machine.memory.view().load(Gpa(at), width).ok()
        }
        fn store(&self, at: u64, width: u8, value: u64) {
            let _ = self.machine.memory.view().store(Gpa(at), width, value);
        }
    }

    #[test]
    fn at_power_on() {
        let b = bench();
        for (at, value) in
            [(0, 0x29c0_8086), (4, 0x0080_0006), (8, 0x0600_0000), (0x60, 0xe000_0000), (0x9c, 0x0038_0200)]
        {
            assert_eq!(b.config(at, 4), value, "{at:#x}");
        }
        assert_eq!(b.load(0xe000_0000, 4), None, "not enabled");
    }

    #[test]
    fn configuration_registers_in_memory() {
        let b = bench();
        b.machine.plug_test(3);
        b.set_config(0x60, 4, AT | 1);
        for (offset, width, value) in [
            (0, 4, Some(0x29c0_8086)),
            (0x62, 2, Some(0xb000)),
            (0x1_8000, 4, Some(0x5678_1234)),
            (0x1_8003, 1, Some(0x56)),
            (0x1_8100, 4, Some(0)),
            (0x1_8ffc, 4, Some(0)),
            (0x1_9000, 4, Some(0xffff_ffff)),
            (0x1_9100, 4, Some(0xffff_ffff)),
            (0x10_0000, 4, Some(0xffff_ffff)),
            (0xfff_fffc, 4, Some(0xffff_ffff)),
            (0x1000_0000, 4, None),
        ] {
            assert_eq!(b.load(AT + offset, width), value, "{offset:#x}");
        }
        b.store(AT + 0x1_803c, 1, 0x77);
        b.store(AT + 0x1_813c, 1, 0x78);
        b.store(AT + 0x10_003c, 1, 0x79);
        assert_eq!(b.machine.bus.read_config(24, 0x3c, 1), 0x77);
        // Shorter, elsewhere, off.
        b.set_config(0x60, 4, AT | 5);
        assert_eq!((b.load(AT, 4), b.load(AT + (64 << 20), 4)), (Some(0x29c0_8086), None));
        b.set_config(0x64, 1, 1);
        assert_eq!((b.load(AT, 4), b.load((1 << 32) + AT, 2)), (None, Some(0x8086)));
        // It moves itself away while it is written through.
        b.store((1 << 32) + AT + 0x60, 4, 0xc000_0001);
        assert_eq!(b.load((1 << 32) + 0xc000_0000, 2), Some(0x8086));
        b.set_config(0x60, 4, AT | 7);
        assert_eq!(b.load((1 << 32) + AT, 2), None, "a reserved length");
        b.cell.reset(ResetKind::Warm);
        b.cell.settle();
        assert_eq!(b.load((1 << 32) + 0xc000_0000, 2), None);
    }

    #[test]
    fn shadow_ram_and_smram() {
        let b = bench();
        let smiact = smiact(&b.cell);
        b.set_config(0x90, 1, 0x30);
        assert_eq!(b.config(0x90, 4), 0x30);
        b.ram.store(RAM - 1, 1, 0x5a).unwrap();
        let tseg = || b.load(RAM - 1, 1);
        b.set_config(0x9e, 1, 0x01);
        assert_eq!(tseg(), Some(0x5a), "SMRAM is not enabled");
        b.set_config(0x9d, 1, 0x0a);
        assert_eq!(tseg(), Some(0xff));
        b.store(RAM - 1, 1, 0);
        assert_eq!((b.load(RAM - (1 << 20) - 1, 1), b.load(RAM - (1 << 20), 1)), (Some(0), Some(0xff)));
        b.set_config(0x9e, 1, 0x03);
        assert_eq!(b.load(RAM - (1 << 20) - 1, 1), Some(0xff));
        smiact.set_pin(0, true);
        assert_eq!(tseg(), Some(0x5a));
        smiact.set_pin(0, false);
        b.set_config(0x9d, 1, 0x4a);
        assert_eq!(tseg(), Some(0x5a), "open");
        b.set_config(0x9d, 1, 0x5a);
        b.set_config(0x9d, 2, 0x0002);
        assert_eq!((b.config(0x9d, 1), b.config(0x9e, 1), tseg()), (0x1a, 0x3b, Some(0xff)), "locked");
        b.cell.reset(ResetKind::Warm);
        b.cell.settle();
        assert_eq!(tseg(), Some(0x5a));
    }

    #[test]
    fn saved_reset_and_any_access() {
        let b = bench();
        check_save_load(&b.cell, || b.set_config(0x60, 4, AT | 1));
        let b = bench();
        check_reset(&b.cell, || b.set_config(0x9e, 1, 1));
        b.machine.plug_test(3);
        hammer(&b.cell, 20_000, |random| {
            b.set_config(random.below(256), 1, random.next());
            b.store(AT + random.below(0x2_0000), 4, random.next());
        });
    }
}
