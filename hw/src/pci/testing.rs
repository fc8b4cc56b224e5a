//! A bus for tests, and a function with one window of memory and one of ports.

use super::bus::PciBus;
use super::config::{Bar, Layout, PciRegs, Space, Window as BarWindow};
use super::function::{Function, MsiSink, PciFunction, PciSlot};
use crate::testing::Levels;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use vm::{
    Access, AddressSpace, Backing, BusError, Device, DeviceCell, Gpa, IrqLine, Mapping, Mmio, Ram, Regs, ResetKind,
    Window,
};

/// Messages that were sent: address and data.
pub type Messages = Arc<Mutex<Vec<(u64, u32)>>>;

pub struct Machine {
    pub memory: Arc<AddressSpace>,
    pub ports: Arc<AddressSpace>,
    pub pirqs: Arc<Levels>,
    pub messages: Messages,
    pub bus: Arc<PciBus>,
}

impl Default for Machine {
    fn default() -> Self {
        let (memory, ports, pirqs) = (AddressSpace::new(), AddressSpace::new(), Levels::new());
        let messages = Messages::default();
        let to = messages.clone();
        let lines = [0, 1, 2, 3].map(|n| IrqLine::to(pirqs.clone(), n));
        let msi: MsiSink = Arc::new(move |message| to.lock().unwrap().push((message.address, message.data)));
        let bus = PciBus::new(memory.clone(), ports.clone(), Some(msi));
        bus.wire(lines);
        Self { memory, ports, pirqs, messages, bus }
    }
}

impl Machine {
    /// With `len` bytes of RAM from address 0 on.
    pub fn with_ram(len: u64) -> (Self, Arc<Ram>) {
        let machine = Self::default();
        let ram = Ram::new(len).unwrap();
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        machine.memory.map(Mapping { name: "ram".into(), gpa: Gpa(0), len, priority: 0, backing }).unwrap();
        (machine, ram)
    }

    pub fn plug_test(&self, device: u8) -> Arc<DeviceCell<TestFunction>> {
        let cell = TestFunction::cell(self.bus.slot(device, 0));
        assert!(self.bus.plug(&cell));
        cell
    }

    pub fn take_messages(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut self.messages.lock().unwrap())
    }
}

pub struct TestFunction {
    regs: TestRegs,
    function: Function,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TestRegs {
    pci: PciRegs,
    value: u32,
    raised: bool,
}

impl Regs for TestRegs {}

impl TestFunction {
    pub fn cell(slot: PciSlot) -> Arc<DeviceCell<Self>> {
        let bar = |register, space, len, window| Bar {
            register,
            space,
            prefetchable: false,
            len,
            window: BarWindow::Mmio(window),
        };
        let layout = Layout::new(0x1234, 0x5678, 0xff_00_00, 0)
            .bar(bar(0x10, Space::Memory32, 0x1000, 0))
            .bar(bar(0x14, Space::Io, 0x10, 1))
            .interrupt_pin(1);
        let function = Function::new(slot, layout);
        let regs = TestRegs { pci: function.power_on(), ..Default::default() };
        Arc::new(DeviceCell::new(Self { regs, function }))
    }

    pub fn raise(&mut self, high: bool) {
        self.regs.raised = high;
    }
}

impl Device for TestFunction {
    type Regs = TestRegs;
    const MODEL: &'static str = "pci-test";

    fn regs(&self) -> &TestRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut TestRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs = TestRegs { pci: self.function.power_on(), ..Default::default() };
    }
    fn update(&mut self) {
        self.function.set_intx(&mut self.regs.pci, self.regs.raised);
        self.function.update(&self.regs.pci);
    }
}

impl Mmio for TestFunction {
    const WINDOWS: &'static [Window] = &[Window { len: 0x1000, widths: 1..=4 }, Window { len: 0x10, widths: 1..=4 }];

    fn read(&mut self, _at: Access) -> Result<u64, BusError> {
        Ok(self.regs.value.into())
    }
    fn write(&mut self, _at: Access, value: u64) -> Result<(), BusError> {
        self.regs.value = value as u32;
        Ok(())
    }
}

impl PciFunction for TestFunction {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}
