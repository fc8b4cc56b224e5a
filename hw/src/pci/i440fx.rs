//! Host bridge 82441FX (440FX PMC). Intel 82441FX data sheet (290549); section titles are its. What it does is that of any
//! [`HostBridge`].

use super::config::{COMMAND, Layout, STATUS};
use super::host_bridge::{Chip, HostBridge};
use vm::Window;

/// The bridge.
pub type I440fx = HostBridge<Pmc>;

/// What it has of its own.
#[derive(Default)]
pub struct Pmc;

impl Chip for Pmc {
    const MODEL: &'static str = "i440fx";
    const PAM: u8 = 0x59;
    const SMRAM: u8 = 0x72;
    const WINDOWS: &'static [Window] = &[Window { len: 4, widths: 1..=4 }, Window { len: 4, widths: 1..=4 }];

    fn layout() -> Layout {
        let layout = Layout::new(0x8086, 0x1237, 0x06_00_00, 2)
            .register(COMMAND, 2, 0x0006, 0x0140)
            .register(STATUS, 2, 0x0280, 0)
            .register(0x3c, 2, 0, 0)
            .register(0x50, 4, 0x8000_0000, 0xffff_ffff)
            .register(0x54, 4, 0x0100_0000, 0xffff_ffff)
            .register(0x58, 1, 0x10, 0xff)
            .register(0x68, 1, 0, 0xff)
            .register(0x70, 2, 0x1000, 0xffff)
            .register(0x90, 1, 0, 0xff)
            .clears(0x91, 0x11)
            .register(0x93, 1, 0, 0xff);
        // "DRB — DRAM row boundary registers".
        (0..8).fold(layout, |layout, n| layout.register(0x60 + n, 1, 1, 0xff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::host_bridge::{LowMemory, smiact};
    use crate::pci::testing::Machine;
    use crate::testing::{check_reset, check_save_load, hammer};
    use std::sync::Arc;
    use vm::{Access, Backing, DeviceCell, Gpa, Mapping, MmioPort, Part, Ram, ResetKind};

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
        let cell = I440fx::cell(machine.bus.clone(), memory, None);
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
