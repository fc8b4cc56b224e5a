//! A PCI bus: which function is where, and how the interrupt pins of its slots share the four lines of the chip set.

use super::function::{MsiSink, PciFunction, PciPort, PciSlot};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use vm::{AddressSpace, DeviceCell, IrqLine, IrqSink, Mmio, MmioPort};

/// The device and function number `device`.`function` as one byte.
pub const fn devfn(device: u8, function: u8) -> u8 {
    device << 3 | function & 7
}

/// Which of the lines PIRQA to PIRQD (0 to 3) pin `pin` (0 to 3 for INTA to INTD) of device `device` is wired to. This is
/// how boards with a PIIX are wired: device 1's INTA to PIRQA, device 2's to PIRQB and so on around.
pub const fn pirq(device: u8, pin: u8) -> u8 {
    (device.wrapping_add(3)).wrapping_add(pin) & 3
}

/// Which line a pin of a device is wired to, as [`pirq`] says for boards with a PIIX.
pub type Route = fn(device: u8, pin: u8) -> u8;

/// Lines at most.
const LINES_MAX: usize = 8;

/// Pins of all functions; several drive one line.
struct Wires {
    route: Route,
    /// For each line, the functions that assert it, one bit each.
    asserted: Mutex<[[u64; 4]; LINES_MAX]>,
    lines: OnceLock<Vec<IrqLine>>,
}

impl IrqSink for Wires {
    /// `pin` is the function's number times 4 plus its pin.
    fn set_pin(&self, pin: u32, high: bool) {
        let (function, pin) = ((pin >> 2) as u8, (pin & 3) as u8);
        let line = usize::from((self.route)(function >> 3, pin));
        let bit = 1_u64 << (function & 63);
        // Held while the line is driven, so that the last change wins.
        let mut asserted = self.asserted.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(functions) = asserted.get_mut(line) else { return };
        let word = &mut functions[usize::from(function >> 6)];
        *word = if high { *word | bit } else { *word & !bit };
        let any = functions.iter().any(|word| *word != 0);
        if let Some(line) = self.lines.get().and_then(|lines| lines.get(line)) {
            line.set(any);
        }
    }
}

/// The bus with number 0.
pub struct PciBus {
    memory: Arc<AddressSpace>,
    ports: Arc<AddressSpace>,
    ports_at_0: bool,
    wires: Arc<Wires>,
    msi: Option<MsiSink>,
    functions: RwLock<BTreeMap<u8, Arc<dyn PciPort>>>,
}

impl PciBus {
    /// An empty bus. Windows of its functions appear in `memory` and `ports`; their messages go to `msi`. Their interrupt
    /// pins are wired as [`pirq`] says.
    pub fn new(memory: Arc<AddressSpace>, ports: Arc<AddressSpace>, msi: Option<MsiSink>) -> Arc<Self> {
        Self::with_routes(memory, ports, msi, pirq)
    }

    /// The same, with interrupt pins wired as `route` says, to lines 0 to 7.
    pub fn with_routes(
        memory: Arc<AddressSpace>,
        ports: Arc<AddressSpace>,
        msi: Option<MsiSink>,
        route: Route,
    ) -> Arc<Self> {
        Self::made(memory, ports, msi, route, false)
    }

    /// The same on a machine without other ports: those of functions may be anywhere from 0 on.
    pub fn with_ports_at_0(
        memory: Arc<AddressSpace>,
        ports: Arc<AddressSpace>,
        msi: Option<MsiSink>,
        route: Route,
    ) -> Arc<Self> {
        Self::made(memory, ports, msi, route, true)
    }

    fn made(
        memory: Arc<AddressSpace>,
        ports: Arc<AddressSpace>,
        msi: Option<MsiSink>,
        route: Route,
        ports_at_0: bool,
    ) -> Arc<Self> {
        let wires = Arc::new(Wires { route, asserted: Mutex::default(), lines: OnceLock::new() });
        Arc::new(Self { memory, ports, ports_at_0, wires, msi, functions: RwLock::default() })
    }

    /// Wires the lines, once: on a PC they are PIRQA to PIRQD, and E to H if the chip set has them, to [`super::piix3::pirqs`] or
    /// [`super::ich9_lpc::pirqs`].
    pub fn wire<const N: usize>(&self, pirqs: [IrqLine; N]) {
        let _ = self.wires.lines.set(pirqs.into());
    }

    /// What a function in device `device`, function `function` reaches.
    pub fn slot(&self, device: u8, function: u8) -> PciSlot {
        let devfn = devfn(device, function);
        let line = |pin: u32| IrqLine::to(self.wires.clone(), u32::from(devfn) << 2 | pin);
        PciSlot {
            devfn,
            memory: self.memory.clone(),
            ports: self.ports.clone(),
            ports_at_0: self.ports_at_0,
            intx: [line(0), line(1), line(2), line(3)],
            msi: self.msi.clone(),
        }
    }

    /// Plugs a function into the slot that it was made for. `false` when something is there already.
    pub fn plug<T: PciFunction + Mmio>(&self, cell: &Arc<DeviceCell<T>>) -> bool {
        let port: Arc<dyn MmioPort> = cell.clone();
        let port = Arc::downgrade(&port);
        let Ok(devfn) = cell.with(|device| {
            let (function, _) = device.pci();
            function.connect(port);
            function.slot().devfn
        }) else {
            return false;
        };
        let mut functions = self.functions.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if functions.contains_key(&devfn) {
            return false;
        }
        functions.insert(devfn, cell.clone());
        true
    }

    fn function(&self, devfn: u8) -> Option<Arc<dyn PciPort>> {
        self.functions.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&devfn).cloned()
    }

    /// Reads `width` (1, 2 or 4) bytes of a function's configuration space, all in one 32-bit word. All ones where there
    /// is none (6.1).
    pub fn read_config(&self, devfn: u8, at: u8, width: u8) -> u32 {
        self.function(devfn).map_or(u32::MAX, |function| function.read_config(at, width))
    }

    /// Writes `width` (1, 2 or 4) bytes of a function's configuration space, all in one 32-bit word.
    pub fn write_config(&self, devfn: u8, at: u8, width: u8, value: u32) {
        if let Some(function) = self.function(devfn) {
            function.write_config(at, width, value);
        }
    }

    /// Device and function numbers of all functions, in order.
    pub fn functions(&self) -> Vec<u8> {
        self.functions.read().unwrap_or_else(|poisoned| poisoned.into_inner()).keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::{Machine, TestFunction};
    use crate::testing::{check_reset, check_save_load, hammer};
    use vm::Gpa;

    #[test]
    fn pins_go_round_the_lines() {
        for (device, pin, line) in [(1, 0, 0), (1, 3, 3), (2, 0, 1), (3, 0, 2), (4, 0, 3), (5, 0, 0), (31, 1, 3)] {
            assert_eq!(pirq(device, pin), line, "{device} {pin}");
        }
        let machine = Machine::default();
        let [a, b] = [(2, 0), (6, 1)].map(|(device, function)| machine.bus.slot(device, function));
        for (line, high, expect) in [(&a, true, true), (&b, true, true), (&a, false, true), (&b, false, false)] {
            line.intx[0].set(high);
            assert_eq!(machine.pirqs.get(1), expect);
        }
        b.intx[3].set(true);
        assert!(machine.pirqs.get(0));
    }

    #[test]
    fn windows_appear_and_go() {
        let machine = Machine::default();
        let function = machine.plug_test(3);
        assert_eq!(machine.bus.functions(), [24]);
        assert!(!machine.bus.plug(&TestFunction::cell(machine.bus.slot(3, 0))));
        assert_eq!((machine.bus.read_config(24, 0, 4), machine.bus.read_config(25, 0, 2)), (0x5678_1234, u32::MAX));
        machine.bus.write_config(24, 0x10, 4, 0xe000_0000);
        machine.bus.write_config(24, 0x14, 4, 0xc001);
        assert_eq!((machine.memory.dump(), machine.ports.dump()), (String::new(), String::new()));
        machine.bus.write_config(24, 4, 2, 3);
        assert_eq!(machine.memory.dump(), "00000000e0000000-00000000e0000fff mmio pci 03.0 0x10\n");
        assert_eq!(machine.ports.dump(), "000000000000c000-000000000000c00f mmio pci 03.0 0x14\n");
        machine.memory.view().store(Gpa(0xe000_0004), 4, 7).unwrap();
        assert_eq!(machine.ports.view().load(Gpa(0xc004), 4), Ok(7));
        let saved = vm::Part::save(&*function);
        machine.bus.write_config(24, 0x13, 1, 0xf0);
        assert_eq!(machine.memory.dump(), "00000000f0000000-00000000f0000fff mmio pci 03.0 0x10\n");
        machine.bus.write_config(24, 4, 2, 1);
        assert_eq!((machine.memory.dump().is_empty(), machine.ports.dump().is_empty()), (true, false));
        vm::Part::load(&*function, &saved).unwrap();
        vm::Part::settle(&*function);
        assert_eq!(machine.memory.dump(), "00000000e0000000-00000000e0000fff mmio pci 03.0 0x10\n");
        vm::Part::reset(&*function, vm::ResetKind::Warm);
        vm::Part::settle(&*function);
        assert_eq!((machine.memory.dump(), machine.ports.dump()), (String::new(), String::new()));
    }

    #[test]
    fn interrupts_by_pin() {
        let machine = Machine::default();
        let function = machine.plug_test(1);
        let status = || machine.bus.read_config(8, 6, 2);
        function.with(|device| device.raise(true)).unwrap();
        assert!(machine.pirqs.get(0));
        assert_eq!(status() & 8, 8);
        machine.bus.write_config(8, 4, 2, 0x400);
        assert!(!machine.pirqs.get(0), "disabled");
        assert_eq!(status() & 8, 8);
        machine.bus.write_config(8, 4, 2, 0);
        assert!(machine.pirqs.get(0));
        function.with(|device| device.raise(false)).unwrap();
        assert_eq!((machine.pirqs.get(0), status() & 8), (false, 0));
    }

    #[test]
    fn saved_reset_and_any_access() {
        let machine = Machine::default();
        let function = machine.plug_test(1);
        check_save_load(&function, || machine.bus.write_config(8, 0x10, 4, 0xe000_0000));
        machine.bus.write_config(8, 0x10, 4, 0);
        check_reset(&function, || machine.bus.write_config(8, 0x10, 4, 0xe000_0000));
        hammer(&function, 20_000, |random| {
            let (at, value) = (random.next() as u8, random.next() as u32);
            match random.below(3) {
                0 => machine.bus.write_config(8, at & !3, 4, value),
                1 => machine.bus.write_config(random.next() as u8, at, 1, value),
                _ => _ = machine.bus.read_config(8, at & !1, 2),
            }
        });
    }
}
