//! Checks a board and makes it a machine: RAM, address space, parts in the order their lines ask for, vCPUs.

use crate::board::{Board, Bus, Pin, Place};
use crate::boot::Blob;
use crate::error::{Error, list};
use crate::fdt::Fdt;
use crate::machine::Machine;
use crate::power_key::PowerKey;
use hw::isa::ByteWide;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vm::blockdev::BlockDev;
use vm::chardev::CharPort;
use vm::display::Display;
use vm::entropy::Entropy;
use vm::input::Input;
use vm::netdev::NetDev;
use vm::ninep::NinepServer;
use vm::power::Power;
use vm::sysreg::SysregBus;
use vm::timer::Timers;
use vm::vcpu::{Accelerator, BootRegs, Pins, Wiring};
use vm::{AddressSpace, Backing, DeviceCell, Gpa, IrqLine, IrqSink, Mapping, Mmio, MmioPort, Part, Ram};

/// What the machine is connected to outside of itself.
pub struct Host {
    /// Time.
    pub timers: Arc<Timers>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Whom to ask for power-off and reset.
    pub power: Power,
    /// Serial lines by name.
    pub chardevs: BTreeMap<String, Arc<CharPort>>,
    /// Disks by name.
    pub drives: BTreeMap<String, Arc<dyn BlockDev>>,
    /// Networks by name.
    pub netdevs: BTreeMap<String, Arc<dyn NetDev>>,
    /// Shared folders by name.
    pub folders: BTreeMap<String, Arc<dyn NinepServer>>,
}

/// What is in memory and in the first vCPU's registers at every reset.
#[derive(Default)]
pub struct Boot {
    /// Contents of memory.
    pub blobs: Vec<Blob>,
    /// The device tree and where it goes; its seeds are drawn anew at each reset.
    pub fdt: Option<(Gpa, Fdt)>,
    /// Registers; `None` starts at the reset vector.
    pub regs: Option<BootRegs>,
    /// What is written to I/O ports, in order, in place of firmware: port, bytes, value.
    pub ports: Vec<(u16, u8, u32)>,
}

/// A part once it is made.
pub struct Made {
    /// The part.
    pub part: Arc<dyn Part>,
    /// Who answers in its windows; `None` when it maps them itself.
    pub port: Option<Arc<dyn MmioPort>>,
    /// Its interrupt inputs by kind.
    pub inputs: Vec<(String, Arc<dyn IrqSink>)>,
    /// Memory in it that a snapshot keeps like RAM.
    pub memory: Option<Arc<Ram>>,
    /// Waits until nothing of the host is under way.
    pub drain: Option<Box<dyn Fn() + Send + Sync>>,
    /// The picture that it makes.
    pub display: Option<Arc<dyn Display>>,
    /// The keyboard and mouse in it.
    pub input: Option<Arc<dyn Input>>,
    /// Drives in it whose medium can be changed, by name.
    pub media: Vec<(String, SetMedium)>,
    /// The memory balloon in it.
    pub balloon: Option<Balloon>,
}

/// Asks for so many pages of 4 KiB in the balloon, if any are named; gives the number that is in it.
pub type Balloon = Box<dyn Fn(Option<u32>) -> u32 + Send + Sync>;

/// Puts another medium into a drive, or takes it out.
pub type SetMedium = Box<dyn Fn(Option<Arc<dyn BlockDev>>) + Send + Sync>;

impl Made {
    /// A part whose cell answers in its windows.
    pub fn cell<T: Mmio>(cell: Arc<DeviceCell<T>>) -> Self {
        Made { port: Some(cell.clone()), ..Made::part(cell) }
    }

    /// A part that answers nowhere, or maps its windows itself.
    pub fn part(part: Arc<dyn Part>) -> Self {
        Made {
            part,
            port: None,
            inputs: Vec::new(),
            memory: None,
            drain: None,
            display: None,
            input: None,
            media: Vec::new(),
            balloon: None,
        }
    }
}

/// What a part is made with.
pub struct Wires<'a> {
    path: &'a str,
    at: &'a [Place],
    lines: Vec<Option<IrqLine>>,
    chardev: Option<&'a str>,
    drive: Option<&'a str>,
    netdev: Option<&'a str>,
    memories: &'a [(String, Gpa, Arc<Ram>)],
    host: &'a Host,
    bus: &'a Arc<AddressSpace>,
    ports: &'a Arc<AddressSpace>,
    sysregs: &'a mut SysregBus,
}

impl<'a> Wires<'a> {
    /// The part's line `n`; each can be taken once, and leads nowhere if the board does not wire it.
    pub fn irq(&mut self, n: usize) -> IrqLine {
        self.lines.get_mut(n).and_then(Option::take).unwrap_or_else(IrqLine::unconnected)
    }

    /// The address of window `n`.
    pub fn gpa(&self, n: usize) -> Gpa {
        self.at.get(n).map_or(Gpa(0), |place| place.gpa)
    }

    /// The serial line that the board names.
    ///
    /// # Errors
    /// [`Error::UnknownChardev`].
    pub fn chardev(&self) -> Result<Arc<CharPort>, Error> {
        let id = self.chardev.unwrap_or_default();
        self.host.chardevs.get(id).cloned().ok_or_else(|| Error::UnknownChardev {
            path: self.path.into(),
            id: id.into(),
            known: list(self.host.chardevs.keys()),
        })
    }

    /// The disk that the board names.
    ///
    /// # Errors
    /// [`Error::UnknownDrive`].
    pub fn drive(&self) -> Result<Arc<dyn BlockDev>, Error> {
        self.drive_called(self.drive.unwrap_or_default())
    }

    /// The part's path on the board.
    pub fn path(&self) -> &str {
        self.path
    }

    /// Whether the board names a serial line.
    pub fn has_chardev(&self) -> bool {
        self.chardev.is_some()
    }

    /// Whether the board names a network.
    pub fn has_netdev(&self) -> bool {
        self.netdev.is_some()
    }

    /// Whether the board names a disk.
    pub fn has_drive(&self) -> bool {
        self.drive.is_some()
    }

    /// The network that the board names.
    ///
    /// # Errors
    /// [`Error::UnknownNetdev`].
    pub fn netdev(&self) -> Result<Arc<dyn NetDev>, Error> {
        let id = self.netdev.unwrap_or_default();
        self.host.netdevs.get(id).cloned().ok_or_else(|| Error::UnknownNetdev {
            path: self.path.into(),
            id: id.into(),
            known: list(self.host.netdevs.keys()),
        })
    }

    /// The shared folder called `id`.
    ///
    /// # Errors
    /// [`Error::UnknownFolder`].
    pub fn folder_called(&self, id: &str) -> Result<Arc<dyn NinepServer>, Error> {
        self.host.folders.get(id).cloned().ok_or_else(|| Error::UnknownFolder {
            path: self.path.into(),
            id: id.into(),
            known: list(self.host.folders.keys()),
        })
    }

    /// Time.
    pub fn timers(&self) -> &Arc<Timers> {
        &self.host.timers
    }

    /// Randomness.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.host.entropy
    }

    /// Power-off and reset.
    pub fn power(&self) -> &Power {
        &self.host.power
    }

    /// Memory, for DMA.
    pub fn bus(&self) -> &Arc<AddressSpace> {
        self.bus
    }

    /// The RAM called `name`.
    pub fn ram(&self, name: &str) -> Option<Arc<Ram>> {
        self.memories.iter().find(|(other, ..)| other == name).map(|(_, _, ram)| ram.clone())
    }

    /// The disk called `id`, for parts with several.
    ///
    /// # Errors
    /// [`Error::UnknownDrive`].
    pub fn drive_called(&self, id: &str) -> Result<Arc<dyn BlockDev>, Error> {
        self.host.drives.get(id).cloned().ok_or_else(|| Error::UnknownDrive {
            path: self.path.into(),
            id: id.into(),
            known: list(self.host.drives.keys()),
        })
    }

    /// I/O ports, for parts that map their windows themselves.
    pub fn ports(&self) -> &Arc<AddressSpace> {
        self.ports
    }

    /// The system-register bus, to register on.
    pub fn sysregs(&mut self) -> &mut SysregBus {
        self.sysregs
    }

    /// An error about this part.
    pub fn fail(&self, why: impl ToString) -> Error {
        Error::Part { path: self.path.into(), why: why.to_string() }
    }
}

/// The path of the power button in snapshots and messages.
const POWER_BUTTON: &str = "power-button";

/// The most vCPUs that a machine can have.
pub const MAX_VCPUS: usize = 32;

/// Makes `board` a machine, with `boot` in memory, as after power-on.
///
/// # Errors
/// What is wrong with the board, or what the host lacks.
pub fn build(mut board: Board, boot: Boot, host: &Host, accel: &dyn Accelerator) -> Result<Machine, Error> {
    check(&board)?;
    if board.cpus.len() > MAX_VCPUS {
        let asked = board.cpus.len() as u32;
        return Err(Error::TooManyCpus { machine: board.name, asked, max: MAX_VCPUS as u32, why: "in all" });
    }
    let (bus, ports) = (AddressSpace::new(), AddressSpace::new());
    let mut memories = Vec::new();
    for (name, gpa, len) in &board.ram {
        let ram = Ram::new(*len)?;
        let backing = Backing::Ram { ram: ram.clone(), offset: 0 };
        bus.map(Mapping { name: name.clone(), gpa: *gpa, len: *len, priority: 0, backing })?;
        memories.push((name.clone(), *gpa, ram));
    }

    let mut sinks = Sinks::default();
    let pins: Vec<Arc<Pins>> = board.cpus.iter().map(|_| Pins::new()).collect();
    for (cpu, pins) in board.cpus.iter().zip(&pins) {
        for (kind, _) in &cpu.inputs {
            sinks.add(&cpu.path, kind, pins.clone());
        }
    }
    let mut sysregs = SysregBus::default();
    let mut parts: BTreeMap<String, Arc<dyn Part>> = BTreeMap::new();
    let mut drains = Vec::new();
    let (mut display, mut input, mut media, mut balloon) = (None, None, BTreeMap::new(), None);
    for index in order(&board)? {
        let make = board.parts[index].take_make().expect("each part is made once");
        let desc = &board.parts[index];
        let lines = desc.irqs.iter().map(|pin| sinks.line(&desc.path, pin).map(Some)).collect::<Result<_, _>>()?;
        let made = make(&mut Wires {
            path: &desc.path,
            at: &desc.at,
            lines,
            chardev: desc.chardev.as_deref(),
            drive: desc.drive.as_deref(),
            netdev: desc.netdev.as_deref(),
            memories: &memories,
            host,
            bus: &bus,
            ports: &ports,
            sysregs: &mut sysregs,
        })?;
        if let Some(port) = &made.port {
            for (window, Place { bus: which, gpa, len }) in (0..).zip(&desc.at) {
                // Accesses to 8-bit devices among the ports may be wider than they are.
                let (space, port) = match which {
                    Bus::Memory => (&bus, port.clone()),
                    Bus::Ports => (&ports, Arc::new(ByteWide(port.clone())) as Arc<dyn MmioPort>),
                    Bus::WidePorts => (&ports, port.clone()),
                    Bus::Guest => continue,
                };
                let backing = Backing::Mmio { port, window, offset: 0 };
                space.map(Mapping { name: desc.path.clone(), gpa: *gpa, len: *len, priority: 0, backing })?;
            }
        }
        for (kind, sink) in made.inputs {
            sinks.add(&desc.path, &kind, sink);
        }
        if let Some(memory) = made.memory {
            memories.push((desc.path.clone(), desc.at.first().map_or(Gpa(0), |place| place.gpa), memory));
        }
        drains.extend(made.drain);
        display = display.or(made.display);
        input = input.or(made.input);
        media.extend(made.media);
        balloon = balloon.or(made.balloon);
        parts.insert(desc.path.clone(), made.part);
    }

    let mut vcpus = Vec::new();
    for (id, (cpu, pins)) in (0..).zip(board.cpus.iter().zip(pins)) {
        vcpus.push(accel.vcpu(Wiring {
            id,
            model: cpu.model.clone(),
            bus: bus.clone(),
            ports: ports.clone(),
            sysregs: sysregs.clone(),
            pins,
            outputs: cpu.outputs.iter().map(|pin| sinks.line(&cpu.path, pin)).collect::<Result<_, _>>()?,
            timers: host.timers.clone(),
            power: host.power.clone(),
            entropy: host.entropy.clone(),
            boot: boot.regs.clone().filter(|_| id == 0),
        })?);
    }
    let mut power_key = None;
    if let Some(pin) = &board.power_button {
        let key = PowerKey::new(sinks.line(POWER_BUTTON, pin)?, host.timers.clock().clone());
        let cell = DeviceCell::with_timers(key, &host.timers);
        parts.insert(POWER_BUTTON.into(), cell.clone());
        power_key = Some(cell);
    }
    let machine = Machine {
        name: board.name.into(),
        bus,
        ports,
        timers: host.timers.clone(),
        power: host.power.clone(),
        entropy: host.entropy.clone(),
        parts,
        vcpus,
        memories,
        boot,
        power_key,
        drains,
        display,
        input,
        media,
        balloon,
    };
    machine.write_boot()?;
    machine.settle();
    Ok(machine)
}

/// Who takes the interrupts of which part, by path and kind of input.
#[derive(Default)]
struct Sinks(HashMap<(String, String), Arc<dyn IrqSink>>);

impl Sinks {
    fn add(&mut self, path: &str, kind: &str, sink: Arc<dyn IrqSink>) {
        self.0.insert((path.into(), kind.into()), sink);
    }

    fn line(&self, path: &str, pin: &Pin) -> Result<IrqLine, Error> {
        let sink = self.0.get(&(pin.part.clone(), pin.input.clone()));
        let sink = sink.ok_or_else(|| Error::NoInputs { path: pin.part.clone(), from: path.into() })?;
        Ok(IrqLine::to(sink.clone(), pin.number))
    }
}

/// Names, windows and pins.
fn check(board: &Board) -> Result<(), Error> {
    let mut inputs: BTreeMap<&str, &[(String, u32)]> = BTreeMap::new();
    let cpus = board.cpus.iter().map(|cpu| (cpu.path.as_str(), cpu.inputs.as_slice()));
    let parts = board.parts.iter().map(|part| (part.path.as_str(), part.inputs.as_slice()));
    for (path, kinds) in cpus.chain(parts).chain([(POWER_BUTTON, [].as_slice())]) {
        if inputs.insert(path, kinds).is_some() {
            return Err(Error::Duplicate { path: path.into() });
        }
    }

    let mut regions: Vec<(Bus, Gpa, u64, &str)> =
        board.ram.iter().map(|(name, gpa, len)| (Bus::Memory, *gpa, *len, name.as_str())).collect();
    for part in &board.parts {
        if part.at.len() != part.windows() {
            let (placed, windows) = (part.at.len(), part.windows());
            return Err(Error::Windows { path: part.path.clone(), placed, windows });
        }
        regions.extend(part.at.iter().map(|place| (place.bus.space(), place.gpa, place.len, part.path.as_str())));
    }
    regions.sort_by_key(|(bus, gpa, ..)| (*bus, *gpa));
    for pair in regions.windows(2) {
        if let [(bus, at, len, other), (next_bus, next, _, path)] = pair
            && bus == next_bus
            && next.0 - at.0 < *len
        {
            return Err(Error::Overlap { path: (*path).into(), other: (*other).into(), at: *next });
        }
    }

    let drivers = board.cpus.iter().map(|cpu| (&cpu.path, &cpu.outputs));
    let drivers = drivers.chain(board.parts.iter().map(|part| (&part.path, &part.irqs)));
    for (path, pin) in drivers
        .flat_map(|(path, pins)| pins.iter().map(move |pin| (path.as_str(), pin)))
        .chain(board.power_button.iter().map(|pin| (POWER_BUTTON, pin)))
    {
        let known = match inputs.get(pin.part.as_str()) {
            None => format!("there is no `{}`", pin.part),
            Some(kinds) if kinds.iter().any(|(kind, count)| *kind == pin.input && pin.number < *count) => continue,
            Some([]) => format!("`{}` has no inputs", pin.part),
            Some(kinds) => {
                let kinds: Vec<_> =
                    kinds.iter().map(|(kind, count)| format!("{kind}0 to {kind}{}", count.saturating_sub(1))).collect();
                format!("`{}` has {}", pin.part, kinds.join(", "))
            }
        };
        return Err(Error::UnknownPin { path: path.into(), pin: pin.to_string(), known });
    }
    Ok(())
}

/// The parts in an order in which every line's target comes before its source.
fn order(board: &Board) -> Result<Vec<usize>, Error> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    fn visit(board: &Board, index: usize, marks: &mut [Mark], order: &mut Vec<usize>) -> Result<(), Error> {
        match marks[index] {
            Mark::Done => return Ok(()),
            Mark::Open => return Err(Error::Circle { path: board.parts[index].path.clone() }),
            Mark::New => marks[index] = Mark::Open,
        }
        let targets = board.parts[index].irqs.iter().map(|pin| pin.part.as_str());
        for path in targets.chain(board.parts[index].after.iter().copied()) {
            if let Some(target) = board.parts.iter().position(|part| part.path == path) {
                visit(board, target, marks, order)?;
            }
        }
        marks[index] = Mark::Done;
        order.push(index);
        Ok(())
    }
    let mut order = Vec::new();
    let mut marks = vec![Mark::New; board.parts.len()];
    for index in 0..board.parts.len() {
        visit(board, index, &mut marks, &mut order)?;
    }
    Ok(order)
}
