//! The "Differentiated System Description Table": the PCI bus with the routing of its interrupts, the devices of the ISA
//! bus, power-off. Section titles are those of the ACPI specification.

use super::{HEADER, HPET, IOAPIC, OEM, OEM_TABLE, Pc, SCI};
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, BufferData, CreateDWordField, Device, EISAName, Equal, Field,
    FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Local, Memory32Fixed, Method, Name, OpRegion,
    OpRegionSpace, Or, Package, Path, ResourceTemplate, Return, Scope, Store, ZERO,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};
use hw::pci::bus::pirq;

/// The registers of the ISA bridge that route the PCI interrupt lines.
const PIRQRC: u8 = 0x60;
const ROUTE_DISABLED: u8 = 0x80;
/// ISA interrupts that the lines may use.
const ROUTES: [u32; 3] = [5, 10, 11];
/// The registers, and the devices for the lines.
const FIELDS: [&str; 4] = ["PRQ0", "PRQ1", "PRQ2", "PRQ3"];
const LINKS: [&str; 4] = ["LNKA", "LNKB", "LNKC", "LNKD"];
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
    links(&mut code);
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
    let hid = EISAName::new("PNP0A03");
    let resources: [&dyn Aml; 6] = [
        &AddressSpace::new_bus_number(0_u16, 0xff),
        &IO::new(0xcf8, 0xcf8, 1, 8),
        &AddressSpace::new_io(0_u16, 0xcf7, None),
        &AddressSpace::new_io(0xd00_u16, 0xffff, None),
        &AddressSpace::new_memory(AddressSpaceCacheable::Cacheable, true, 0xa_0000_u32, 0xb_ffff, None),
        &AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, pc.pci_memory, IOAPIC - 1, None),
    ];
    let resources = ResourceTemplate::new(resources.to_vec());
    let mut routes = Vec::new();
    for (slot, pin) in (0..32_u8).flat_map(|slot| (0..4_u8).map(move |pin| (slot, pin))) {
        let address = u32::from(slot) << 16 | 0xffff;
        // The power management function of the chip set drives its interrupt itself.
        let route = if (slot, pin) == (1, 0) {
            encode(&Package::new(vec![&address, &pin, &ZERO, &u32::from(SCI)]))
        } else {
            let link = path(LINKS[usize::from(pirq(slot, pin))]);
            encode(&Package::new(vec![&address, &pin, &Scoped(link), &ZERO]))
        };
        routes.push(Bytes(route));
    }
    let routes = Package::new(routes.iter().map(|route| route as &dyn Aml).collect());
    let isa = isa(pc);
    let parts: [&dyn Aml; 6] = [
        &Name::new("_HID".into(), &hid),
        &Name::new("_ADR".into(), &ZERO),
        &Name::new("_UID".into(), &ZERO),
        &Name::new("_CRS".into(), &resources),
        &Name::new("_PRT".into(), &routes),
        &Bytes(isa),
    ];
    let bus = Device::new("PCI0".into(), parts.to_vec());
    Scope::new("\\_SB_".into(), vec![&bus]).to_aml_bytes(code);
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
    let region = OpRegion::new("P40C".into(), OpRegionSpace::PCIConfig, &PIRQRC, &4_u8);
    let entries = FIELDS.map(|name| FieldEntry::Named(name.as_bytes().try_into().expect("four letters"), 8));
    let field = Field::new(
        "P40C".into(),
        FieldAccessType::Byte,
        FieldLockRule::NoLock,
        FieldUpdateRule::Preserve,
        entries.to_vec(),
    );
    let address = 0x1_0000_u32;
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
fn links(code: &mut Vec<u8>) {
    let hid = EISAName::new("PNP0C0F");
    for (n, (name, field)) in (0_u8..).zip(LINKS.iter().zip(FIELDS)) {
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
