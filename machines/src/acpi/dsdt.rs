//! The "Differentiated System Description Table": the PCI bus with the routing of its interrupts, the devices of the ISA
//! bus, power-off. What differs between chip sets is [`ChipSet`]'s to say. Section titles are those of the ACPI specification.

use super::{HEADER, HPET, IOAPIC, OEM, OEM_TABLE, Pc, SCI};
use crate::pc::ChipSet;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, BufferData, CreateDWordField, Device, EISAName, Equal, Field,
    FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Local, Memory32Fixed, Method, Name, OpRegion,
    OpRegionSpace, Or, Package, Path, ResourceTemplate, Return, Scope, Store, ZERO,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};

/// The registers of the ISA bridge that route the PCI interrupt lines A to D; those of E to H, if there are any, are 8 bytes
/// after them.
const PIRQRC: u8 = 0x60;
const ROUTE_DISABLED: u8 = 0x80;
/// ISA interrupts that the lines may use.
const ROUTES: [u32; 3] = [5, 10, 11];
/// The registers, and the devices for the lines.
const FIELDS: [&str; 8] = ["PRQ0", "PRQ1", "PRQ2", "PRQ3", "PRQ4", "PRQ5", "PRQ6", "PRQ7"];
const LINKS: [&str; 8] = ["LNKA", "LNKB", "LNKC", "LNKD", "LNKE", "LNKF", "LNKG", "LNKH"];
/// Input of the I/O APIC that the first of eight lines is wired to.
const FIRST_LINE: u32 = 16;
/// Whether the system has chosen the I/O APIC.
const APIC_MODE: &str = "\\PICF";
/// Offset of the interrupt's number in [`Interrupts`].
const NUMBER: u8 = 5;

/// "Extended Interrupt Descriptor": level, high, shared; one of these interrupts.
struct Interrupts<'a>(&'a [u32]);

impl Aml for Interrupts<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x89);
        sink.word(2 + 4 * self.0.len() as u16);
        sink.byte(1 << 3 | 1);
        sink.byte(self.0.len() as u8);
        self.0.iter().for_each(|number| sink.dword(*number));
    }
}

/// "IRQ Descriptor" without flags: rising edge.
struct Irq(u8);

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}

/// "DMA Descriptor": an 8-bit channel of a device that is no bus master.
struct Dma(u8);

impl Aml for Dma {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x2a);
        sink.byte(1 << self.0);
        sink.byte(0);
    }
}

/// The table.
pub fn dsdt(pc: &Pc) -> Sdt {
    let mut code = Vec::new();
    processors(&mut code, pc);
    pci(&mut code, pc);
    links(&mut code, pc.chip_set.lines());
    if pc.chip_set == ChipSet::Q35 {
        interrupt_model(&mut code);
    }
    let hpet = Memory32Fixed::new(false, HPET, 0x400);
    device(&mut code, "HPET", "PNP0103", 0, &[&hpet]);
    // "\_S5 System State": sleep type 0 of both registers.
    Name::new("\\_S5_".into(), &Package::new(vec![&ZERO, &ZERO, &ZERO, &ZERO])).to_aml_bytes(&mut code);
    let mut table = Sdt::new(*b"DSDT", HEADER as u32, 1, OEM, OEM_TABLE, 1);
    table.append_slice(&code);
    table
}

pub(super) fn path(text: &str) -> Path {
    Path::new(text)
}

/// A device of the PNP kind in the scope `\_SB`.
fn device(code: &mut Vec<u8>, name: &str, hid: &str, uid: u8, resources: &[&dyn Aml]) {
    let device = pnp(name, hid, uid, resources);
    Scope::new("\\_SB_".into(), vec![&Bytes(device)]).to_aml_bytes(code);
}

/// Code that is there already.
pub(super) struct Bytes(pub Vec<u8>);

impl Aml for Bytes {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        self.0.iter().for_each(|byte| sink.byte(*byte));
    }
}

fn pnp(name: &str, hid: &str, uid: u8, resources: &[&dyn Aml]) -> Vec<u8> {
    let mut code = Vec::new();
    let (hid, resources) = (EISAName::new(hid), ResourceTemplate::new(resources.to_vec()));
    let (hid, uid, crs) =
        (Name::new("_HID".into(), &hid), Name::new("_UID".into(), &uid), Name::new("_CRS".into(), &resources));
    Device::new(path(name), vec![&hid, &uid, &crs]).to_aml_bytes(&mut code);
    code
}

/// "Declaring Processors".
fn processors(code: &mut Vec<u8>, pc: &Pc) {
    for n in 0..pc.cpus {
        let (hid, uid) = (Name::new("_HID".into(), &"ACPI0007"), Name::new("_UID".into(), &n));
        let name = format!("C{n:03X}");
        let device = Device::new(path(&name), vec![&hid, &uid]);
        Scope::new("\\_SB_".into(), vec![&device]).to_aml_bytes(code);
    }
}

/// The host bridge, what it decodes, and where interrupts of its slots go.
fn pci(code: &mut Vec<u8>, pc: &Pc) {
    let resources: [&dyn Aml; 5] = [
        &AddressSpace::new_bus_number(0_u16, 0xff),
        &IO::new(0xcf8, 0xcf8, 1, 8),
        &AddressSpace::new_io(0_u16, 0xcf7, None),
        &AddressSpace::new_io(0xd00_u16, 0xffff, None),
        &AddressSpace::new_memory(AddressSpaceCacheable::Cacheable, true, 0xa_0000_u32, 0xb_ffff, None),
    ];
    let windows = windows(pc)
        .map(|(first, last)| AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None));
    let windows: Vec<_> = windows.collect();
    let high = pc.pci_memory_64.as_ref().map(|range| {
        AddressSpace::new_memory(AddressSpaceCacheable::Cacheable, true, range.start, range.end - 1, None)
    });
    let windows = windows.iter().map(|window| window as &dyn Aml);
    let high = high.as_ref().map(|high| high as &dyn Aml);
    let resources = ResourceTemplate::new(resources.into_iter().chain(windows).chain(high).collect());
    let isa = isa(pc);
    let (root, root_express) = (EISAName::new("PNP0A03"), EISAName::new("PNP0A08"));
    let common: [&dyn Aml; 4] = [
        &Name::new("_ADR".into(), &ZERO),
        &Name::new("_UID".into(), &ZERO),
        &Name::new("_CRS".into(), &resources),
        &Bytes(isa),
    ];
    let mut device = |parts: &[&dyn Aml]| {
        let bus = Device::new("PCI0".into(), [parts, &common].concat());
        Scope::new("\\_SB_".into(), vec![&bus]).to_aml_bytes(code);
    };
    if pc.chip_set == ChipSet::Q35 {
        let routes = [by_link(pc.chip_set), by_input(pc.chip_set)].map(|routes| Bytes(encode(&packed(&routes))));
        let mode = path(APIC_MODE);
        let [by_link, by_input] = routes.each_ref().map(|routes| Return::new(routes));
        let by_mode: [&dyn Aml; 2] = [&If::new(&mode, vec![&by_input]), &by_link];
        let control = path("CDW3");
        // Third word of the buffer: what the system asks to control, all of which it is given.
        let field = CreateDWordField::new(&control, &Arg(3), &8_u8);
        device(&[
            &Name::new("_HID".into(), &root_express),
            &Name::new("_CID".into(), &root),
            &Method::new(
                path("_OSC"),
                4,
                true,
                vec![&field, &And::new(&control, &control, &0x1f_u8), &Return::new(&Arg(3))],
            ),
            &Method::new(path("_PRT"), 0, true, by_mode.to_vec()),
        ]);
    } else {
        let routes = by_link(pc.chip_set);
        device(&[&Name::new("_HID".into(), &root), &Name::new("_PRT".into(), &packed(&routes))]);
    }
}

/// First and last addresses of PCI devices' memory below 4 GiB, around that of configuration registers.
fn windows(pc: &Pc) -> impl Iterator<Item = (u32, u32)> {
    let (at, len) = pc.ecam.unwrap_or_default();
    let (first, end) = (u64::from(pc.pci_memory), u64::from(IOAPIC));
    let parts = [(first, at.min(end)), (at.saturating_add(len).max(first), end)];
    parts.into_iter().filter(|(first, end)| first < end).map(|(first, end)| (first as u32, end as u32 - 1))
}

/// Entries of "_PRT (PCI Routing Table)" for all pins of all devices.
fn routing(entry: impl Fn(u32, u8, u8) -> Vec<u8>) -> Vec<Bytes> {
    let pins = (0..32_u8).flat_map(|slot| (0..4_u8).map(move |pin| (slot, pin)));
    pins.map(|(slot, pin)| Bytes(entry(u32::from(slot) << 16 | 0xffff, slot, pin))).collect()
}

fn packed(entries: &[Bytes]) -> Package<'_> {
    Package::new(entries.iter().map(|entry| entry as &dyn Aml).collect())
}

/// Through the link devices.
fn by_link(chip_set: ChipSet) -> Vec<Bytes> {
    let route = chip_set.route();
    routing(|address, slot, pin| {
        // The power management function of a PIIX drives its interrupt itself.
        if (chip_set, slot, pin) == (ChipSet::I440fx, 1, 0) {
            return encode(&Package::new(vec![&address, &pin, &ZERO, &u32::from(SCI)]));
        }
        let link = path(LINKS[usize::from(route(slot, pin))]);
        encode(&Package::new(vec![&address, &pin, &Scoped(link), &ZERO]))
    })
}

/// To the inputs of the I/O APIC.
fn by_input(chip_set: ChipSet) -> Vec<Bytes> {
    let route = chip_set.route();
    routing(|address, slot, pin| {
        let input = FIRST_LINE + u32::from(route(slot, pin));
        encode(&Package::new(vec![&address, &pin, &ZERO, &input]))
    })
}

/// "_PIC Method": the system says which interrupt controller it uses.
fn interrupt_model(code: &mut Vec<u8>) {
    Name::new(path(APIC_MODE), &ZERO).to_aml_bytes(code);
    let mode = path(APIC_MODE);
    Method::new(path("\\_PIC"), 1, false, vec![&Store::new(&mode, &Arg(0))]).to_aml_bytes(code);
}

/// A name in `\_SB`.
struct Scoped(Path);

impl Aml for Scoped {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        // "Name Objects Encoding": root, two names.
        sink.byte(b'\\');
        sink.byte(0x2e);
        path("_SB_").to_aml_bytes(sink);
        self.0.to_aml_bytes(sink);
    }
}

pub(super) fn encode(what: &dyn Aml) -> Vec<u8> {
    let mut code = Vec::new();
    what.to_aml_bytes(&mut code);
    code
}

/// The ISA bridge with its routing registers and what is behind it.
fn isa(pc: &Pc) -> Vec<u8> {
    let lines = pc.chip_set.lines();
    let region_len = if lines > 4 { 12_u8 } else { 4 };
    let region = OpRegion::new("P40C".into(), OpRegionSpace::PCIConfig, &PIRQRC, &region_len);
    let register = |name: &&str| FieldEntry::Named(name.as_bytes().try_into().expect("four letters"), 8);
    let mut entries: Vec<FieldEntry> = FIELDS.iter().take(lines).map(register).collect();
    if lines > 4 {
        entries.insert(4, FieldEntry::Reserved(32));
    }
    let field =
        Field::new("P40C".into(), FieldAccessType::Byte, FieldLockRule::NoLock, FieldUpdateRule::Preserve, entries);
    let address = u32::from(pc.chip_set.isa_bridge()) << 16;
    let mut devices = vec![
        pnp("RTC_", "PNP0B00", 0, &[&IO::new(0x70, 0x70, 1, 8), &Irq(8)]),
        pnp("KBD_", "PNP0303", 0, &[&IO::new(0x60, 0x60, 1, 1), &IO::new(0x64, 0x64, 1, 1), &Irq(1)]),
        pnp("MOU_", "PNP0F13", 0, &[&Irq(12)]),
    ];
    if pc.floppy {
        let resources: [&dyn Aml; 4] = [&IO::new(0x3f2, 0x3f2, 0, 4), &IO::new(0x3f7, 0x3f7, 0, 1), &Irq(6), &Dma(2)];
        devices.push(pnp("FDC0", "PNP0700", 0, &resources));
    }
    if pc.parallel {
        devices.push(pnp("LPT1", "PNP0400", 1, &[&IO::new(0x378, 0x378, 8, 8), &Irq(7)]));
    }
    let serial = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];
    for (n, ((port, irq), _)) in (1..).zip(serial.iter().zip(pc.serial)).filter(|(_, (_, there))| *there) {
        devices.push(pnp(&format!("COM{n}"), "PNP0501", n, &[&IO::new(*port, *port, 8, 8), &Irq(*irq)]));
    }
    let devices: Vec<Bytes> = devices.into_iter().map(Bytes).collect();
    let address = Name::new("_ADR".into(), &address);
    let mut parts: Vec<&dyn Aml> = vec![&address, &region, &field];
    parts.extend(devices.iter().map(|device| device as &dyn Aml));
    encode(&Device::new("ISA_".into(), parts))
}

/// "PCI Interrupt Link Devices", one for each line of the chip set.
fn links(code: &mut Vec<u8>, lines: usize) {
    let hid = EISAName::new("PNP0C0F");
    for (n, (name, field)) in (0_u8..).zip(LINKS.iter().zip(FIELDS)).take(lines) {
        let register = || path(&format!("\\_SB_.PCI0.ISA_.{field}"));
        let disabled = encode(&And::new(&ZERO, &register(), &ROUTE_DISABLED));
        let disabled = Bytes(disabled);
        let possible = ResourceTemplate::new(vec![&Interrupts(&ROUTES)]);
        let buffer = BufferData::new(template(&[0]));
        let number = path("NUMB");
        let method = |name: &str, args, body: Vec<&dyn Aml>| Bytes(encode(&Method::new(path(name), args, true, body)));
        let field_of = |buffer: &dyn Aml| Bytes(encode(&CreateDWordField::new(&number, buffer, &NUMBER)));
        let absent = Bytes(encode(&If::new(&disabled, vec![&Return::new(&0x09_u8)])));
        let enabled = Equal::new(&disabled, &ZERO);
        let number_of_it = Bytes(encode(&If::new(&enabled, vec![&Store::new(&number, &register())])));
        let (store_buffer, return_buffer) = (Store::new(&Local(0), &buffer), Return::new(&Local(0)));
        let parts: [&dyn Aml; 7] = [
            &Name::new("_HID".into(), &hid),
            &Name::new("_UID".into(), &(n + 1)),
            &Name::new("_PRS".into(), &possible),
            &method("_STA", 0, vec![&absent, &Return::new(&0x0b_u8)]),
            &method("_DIS", 0, vec![&Or::new(&register(), &register(), &ROUTE_DISABLED)]),
            &method("_CRS", 0, vec![&store_buffer, &field_of(&Local(0)), &number_of_it, &return_buffer]),
            &method("_SRS", 1, vec![&field_of(&Arg(0)), &Store::new(&register(), &number)]),
        ];
        let link = Device::new(path(name), parts.to_vec());
        Scope::new("\\_SB_".into(), vec![&link]).to_aml_bytes(code);
    }
}

/// A resource template as bytes, with its end tag.
fn template(interrupts: &[u32]) -> Vec<u8> {
    let mut bytes = encode(&Interrupts(interrupts));
    // "End Tag", with a checksum of 0: not checked.
    bytes.extend([0x79, 0]);
    bytes
}
