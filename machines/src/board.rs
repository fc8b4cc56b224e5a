//! A machine as recorded data: parts in memory order, one a line, each with its addresses, lines and host ends. The same
//! value prints (`Display`), yields the device tree, and names the sections of a snapshot. `builder` makes it real.

use crate::builder::{Made, Wires};
use crate::error::Error;
use crate::fdt::Node;
use std::fmt;
use vm::{Gpa, Mmio};

/// How the device tree describes an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// IRQ_TYPE_EDGE_RISING.
    Edge = 1,
    /// IRQ_TYPE_LEVEL_HIGH.
    Level = 4,
}

/// An interrupt input of a part or vCPU: `gic.spi1`, `cpu0.irq0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Path of the part.
    pub part: String,
    /// Name of the kind of input.
    pub input: String,
    /// Number among the inputs of that kind.
    pub number: u32,
    /// For the device tree.
    pub trigger: Trigger,
}

impl Pin {
    /// Input `number` of kind `input` of `part`.
    pub fn new(part: impl Into<String>, input: impl Into<String>, number: u32) -> Self {
        Self { part: part.into(), input: input.into(), number, trigger: Trigger::Level }
    }

    /// The same, described as sensitive to rising edges.
    pub fn edge(self) -> Self {
        Self { trigger: Trigger::Edge, ..self }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.part, self.input, self.number)
    }
}

/// Makes the part when the machine is built.
pub type Make = Box<dyn FnOnce(&mut Wires<'_>) -> Result<Made, Error>>;

/// Which addresses a window answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bus {
    Memory,
    /// I/O ports, behind a bus controller that makes wider accesses bytes.
    Ports,
    /// I/O ports of a device that takes wider accesses itself.
    WidePorts,
    /// Wherever the guest puts it.
    Guest,
}

impl Bus {
    /// Whose addresses its windows must not share.
    pub(crate) fn space(self) -> Bus {
        if self == Bus::WidePorts { Bus::Ports } else { self }
    }
}

/// Where a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub bus: Bus,
    /// First address, or port.
    pub gpa: Gpa,
    /// Bytes.
    pub len: u64,
}

/// One part.
pub struct PartDesc {
    /// Its name on the board and in snapshots.
    pub path: String,
    /// [`vm::Device::MODEL`].
    pub model: &'static str,
    /// How many windows the model has.
    windows: &'static [vm::Window],
    /// Where each window is.
    pub at: Vec<Place>,
    /// Where its lines lead, in the part's order.
    pub irqs: Vec<Pin>,
    /// Its own interrupt inputs: kind and count.
    pub inputs: Vec<(String, u32)>,
    /// Parts that must be made before it, other than those that its lines lead to.
    pub after: Vec<&'static str>,
    /// The host end of its serial line.
    pub chardev: Option<String>,
    /// The disk behind it.
    pub drive: Option<String>,
    /// The network behind it.
    pub netdev: Option<String>,
    /// Its device tree node without unit address, `reg` and `interrupts`, which follow from the rest.
    pub fdt: Option<Node>,
    make: Option<Make>,
}

impl PartDesc {
    /// Places the next window.
    pub fn at(&mut self, gpa: u64) -> &mut Self {
        let len = self.windows.get(self.at.len()).map_or(0, |window| window.len);
        self.at_len(gpa, len)
    }

    /// Places the first `len` bytes of the next window.
    pub fn at_len(&mut self, gpa: u64, len: u64) -> &mut Self {
        self.at.push(Place { bus: Bus::Memory, gpa: Gpa(gpa), len });
        self
    }

    /// Places the next window among the I/O ports.
    pub fn at_port(&mut self, port: u16) -> &mut Self {
        let len = self.windows.get(self.at.len()).map_or(0, |window| window.len);
        self.at.push(Place { bus: Bus::Ports, gpa: Gpa(port.into()), len });
        self
    }

    /// Places the first `len` of the next window's I/O ports.
    pub fn at_port_len(&mut self, port: u16, len: u64) -> &mut Self {
        self.at.push(Place { bus: Bus::Ports, gpa: Gpa(port.into()), len });
        self
    }

    /// Places the next window among the I/O ports; the device takes accesses of all widths.
    pub fn at_wide_port(&mut self, port: u16) -> &mut Self {
        self.at_port(port);
        if let Some(place) = self.at.last_mut() {
            place.bus = Bus::WidePorts;
        }
        self
    }

    /// Leaves the next `count` windows to the guest, which places them by the device's own registers.
    pub fn by_guest(&mut self, count: usize) -> &mut Self {
        self.at.extend(std::iter::repeat_n(Place { bus: Bus::Guest, gpa: Gpa(0), len: 0 }, count));
        self
    }

    /// Makes it after another part.
    pub fn after(&mut self, path: &'static str) -> &mut Self {
        self.after.push(path);
        self
    }

    /// Wires the next line.
    pub fn irq(&mut self, pin: Pin) -> &mut Self {
        self.irqs.push(pin);
        self
    }

    /// Wires further lines.
    pub fn irqs(&mut self, pins: impl IntoIterator<Item = Pin>) -> &mut Self {
        self.irqs.extend(pins);
        self
    }

    /// Declares `count` inputs.
    pub fn inputs(&mut self, kind: impl Into<String>, count: u32) -> &mut Self {
        self.inputs.push((kind.into(), count));
        self
    }

    /// Names the host end of the serial line.
    pub fn chardev(&mut self, id: &str) -> &mut Self {
        self.chardev = Some(id.into());
        self
    }

    /// Names the disk.
    pub fn drive(&mut self, id: &str) -> &mut Self {
        self.drive = Some(id.into());
        self
    }

    /// Names the network.
    pub fn netdev(&mut self, id: &str) -> &mut Self {
        self.netdev = Some(id.into());
        self
    }

    /// Describes it in the device tree.
    pub fn fdt(&mut self, node: Node) -> &mut Self {
        self.fdt = Some(node);
        self
    }

    pub(crate) fn windows(&self) -> usize {
        self.windows.len()
    }

    pub(crate) fn take_make(&mut self) -> Option<Make> {
        self.make.take()
    }

    /// Its device tree node, if it has one; interrupts to the shared inputs of `gic` become `interrupts`.
    pub fn node(&self) -> Option<Node> {
        let template = self.fdt.as_ref()?;
        let mut node = Node::new(match self.at.first() {
            Some(place) => format!("{}@{:x}", template.name, place.gpa.0),
            None => template.name.clone(),
        });
        let ranges: Vec<_> = self.at.iter().map(|place| (place.gpa.0, place.len)).collect();
        let mut props = template.props.iter();
        node.props.extend(props.next().cloned());
        if !ranges.is_empty() {
            node = node.reg("reg", &ranges);
        }
        // Linux, bindings/interrupt-controller/arm,gic.yaml: 0 is SPI, number, trigger.
        let spis = self.irqs.iter().filter(|pin| pin.input == "spi");
        let cells: Vec<u32> = spis.flat_map(|pin| [0, pin.number, pin.trigger as u32]).collect();
        if !cells.is_empty() {
            node = node.cells("interrupts", &cells);
        }
        node.props.extend(props.cloned());
        node.children = template.children.clone();
        Some(node)
    }
}

/// One vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuDesc {
    /// `cpu0`.
    pub path: String,
    /// CPU model with its feature flags.
    pub model: String,
    /// Interrupt inputs: kind and count.
    pub inputs: Vec<(String, u32)>,
    /// Where its outputs lead, in the architecture's order.
    pub outputs: Vec<Pin>,
}

/// A machine.
pub struct Board {
    /// Name of the machine.
    pub name: &'static str,
    /// RAM as (name, address, size).
    pub ram: Vec<(String, Gpa, u64)>,
    /// vCPUs in order.
    pub cpus: Vec<CpuDesc>,
    /// Parts in memory order.
    pub parts: Vec<PartDesc>,
    /// Where the power button leads: high while it is pressed. It is the part `power-button` of the machine.
    pub power_button: Option<Pin>,
}

impl Board {
    /// An empty board.
    pub fn new(name: &'static str) -> Self {
        Self { name, ram: Vec::new(), cpus: Vec::new(), parts: Vec::new(), power_button: None }
    }

    /// Adds RAM.
    pub fn ram(&mut self, name: &str, gpa: u64, len: u64) {
        self.ram.push((name.into(), Gpa(gpa), len));
    }

    /// Adds a part of model `T`.
    pub fn add<T: Mmio>(
        &mut self,
        path: impl Into<String>,
        make: impl FnOnce(&mut Wires<'_>) -> Result<Made, Error> + 'static,
    ) -> &mut PartDesc {
        self.parts.push(PartDesc {
            path: path.into(),
            model: T::MODEL,
            windows: T::WINDOWS,
            at: Vec::new(),
            irqs: Vec::new(),
            inputs: Vec::new(),
            after: Vec::new(),
            chardev: None,
            drive: None,
            netdev: None,
            fdt: None,
            make: Some(Box::new(make)),
        });
        self.parts.last_mut().expect("one was pushed")
    }

    /// The part called `path`.
    pub fn part(&self, path: &str) -> Option<&PartDesc> {
        self.parts.iter().find(|part| part.path == path)
    }
}

/// One line per vCPU, part and RAM.
impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine {}", self.name)?;
        let list = |pins: &[Pin]| pins.iter().map(|pin| format!(" -> {pin}")).collect::<String>();
        for cpu in &self.cpus {
            writeln!(f, "{:<10} {}{}", cpu.path, cpu.model, list(&cpu.outputs))?;
        }
        for part in &self.parts {
            let place = |place: &Place| match place.bus {
                Bus::Memory => format!(" {:#011x}+{:#x}", place.gpa.0, place.len),
                Bus::Ports | Bus::WidePorts => format!(" port {:#06x}+{:#x}", place.gpa.0, place.len),
                Bus::Guest => " bar".into(),
            };
            let at: String = part.at.iter().map(place).collect();
            write!(f, "{:<10} {:<22}{at}{}", part.path, part.model, list(&part.irqs))?;
            for (kind, id) in [("chardev", &part.chardev), ("drive", &part.drive), ("netdev", &part.netdev)] {
                if let Some(id) = id {
                    write!(f, " {kind}={id}")?;
                }
            }
            writeln!(f)?;
        }
        for (name, gpa, len) in &self.ram {
            writeln!(f, "{name:<10} {:<22} {:#011x}+{len:#x}", "ram", gpa.0)?;
        }
        if let Some(pin) = &self.power_button {
            writeln!(f, "power-button -> {pin}")?;
        }
        Ok(())
    }
}
