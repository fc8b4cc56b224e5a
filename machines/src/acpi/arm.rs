//! ACPI tables of the Arm board: "Hardware-Reduced ACPI". Section titles are those of the ACPI specification, release
//! 6.5, where no other document is named.

use super::dsdt::{Bytes, encode, path};
use super::{Acpi, HEADER, OEM};
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal, If, Interrupt,
    Memory32Fixed, Method, Name, Notify, ONE, Or, Package, ResourceTemplate, Return, Scope, Uuid, ZERO,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};
use hw::pci::ecam::swizzle;

const OEM_TABLE: [u8; 8] = *b"MIMICARM";
/// INTID of SPI 0.
const FIRST_SPI: u32 = 32;
/// INTID of PPI 0.
const FIRST_PPI: u32 = 16;
/// A field that says "not there".
const ABSENT: u64 = u64::MAX;

/// What of the board the tables describe. Windows are (address, length), interrupts SPIs or PPIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// MPIDR_EL1's affinities of the processors.
    pub affinities: Vec<u32>,
    /// PPI of the performance monitors.
    pub pmu: Option<u32>,
    /// PPIs of the secure, physical, virtual and hypervisor timers.
    pub timers: [u32; 4],
    pub distributor: u64,
    pub interrupts: Interrupts,
    pub uart: (u64, u32),
    pub fw_cfg: (u64, u64),
    pub flash: [(u64, u64); 2],
    pub gpio: (u64, u32),
    /// Pin of the power button.
    pub power_pin: u16,
    /// First of the virtio-mmio transports, how many, and the interrupt of the first.
    pub virtio: (u64, u64, usize, u32),
    pub pci: Pci,
}

/// How interrupts reach processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// GICv2 with the CPU interface at `cpu`, and a GICv2m at `frame` for `spis` (first, count).
    V2 { cpu: u64, frame: u64, spis: (u32, u32) },
    /// GICv3 with these redistributors, perhaps with an ITS.
    V3 { redistributors: (u64, u64), its: Option<u64> },
}

/// PCI Express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pci {
    pub ecam: (u64, u64),
    pub buses: u32,
    pub mmio: (u64, u64),
    pub high_mmio: Option<(u64, u64)>,
    pub ports: (u64, u64),
    /// SPI of the first of four lines.
    pub spi: u32,
}

impl Acpi {
    /// The tables of an Arm board.
    pub fn arm(arm: &Arm) -> Self {
        let mut new = Self::default();
        let dsdt = new.add(dsdt(arm).as_slice());
        let fadt = new.add(fadt(dsdt as u64).as_slice());
        new.pointers.push((fadt + 140, 8));
        let mut all = vec![fadt];
        let tables = [madt(arm), gtdt(arm), mcfg(arm), spcr(arm), dbg2(arm)];
        let its = match arm.interrupts {
            Interrupts::V3 { its: Some(_), .. } => Some(iort()),
            _ => None,
        };
        all.extend(tables.iter().chain(&its).map(|table| new.add(table.as_slice())));
        new.root(&all);
        new
    }

    /// Appends the root tables, which point to the tables at `all`.
    fn root(&mut self, all: &[usize]) {
        let mut rsdt = Sdt::new(*b"RSDT", HEADER as u32, 1, OEM, OEM_TABLE, 1);
        let mut xsdt = Sdt::new(*b"XSDT", HEADER as u32, 1, OEM, OEM_TABLE, 1);
        for at in all {
            rsdt.append(*at as u32);
            xsdt.append(*at as u64);
        }
        self.rsdt = self.add(rsdt.as_slice());
        self.xsdt = self.add(xsdt.as_slice());
        let (rsdt, xsdt) = (self.rsdt + HEADER, self.xsdt + HEADER);
        self.pointers.extend((0..all.len()).flat_map(|n| [(rsdt + 4 * n, 4), (xsdt + 8 * n, 8)]));
    }
}

fn table(signature: &[u8; 4], revision: u8) -> Sdt {
    Sdt::new(*signature, HEADER as u32, revision, OEM, OEM_TABLE, 1)
}

/// "Generic Address Structure" of 32 bits in memory.
fn memory_gas(address: u64) -> [u8; 12] {
    // Space, width, offset, access size: 32 bits.
    let mut gas = [0, 32, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    gas[4..].copy_from_slice(&address.to_le_bytes());
    gas
}

/// "Fixed ACPI Description Table (FADT)".
fn fadt(dsdt: u64) -> Sdt {
    const HW_REDUCED_ACPI: u32 = 1 << 20;
    /// "ARM Architecture Boot Flags": PSCI, by HVC.
    const PSCI_COMPLIANT: u16 = 1 << 0;
    const PSCI_USE_HVC: u16 = 1 << 1;

    let mut t = Sdt::new(*b"FACP", 276, 6, OEM, OEM_TABLE, 1);
    t.write_u32(112, HW_REDUCED_ACPI);
    t.write_u16(129, PSCI_COMPLIANT | PSCI_USE_HVC);
    t.write_u8(131, 5); // minor version
    t.write_u64(140, dsdt);
    t
}

/// "Multiple APIC Description Table (MADT)".
fn madt(arm: &Arm) -> Sdt {
    const ENABLED: u32 = 1;
    let mut t = table(b"APIC", 6);
    t.append(0_u32); // local interrupt controllers: none of a PC
    t.append(0_u32);
    let version = match arm.interrupts {
        Interrupts::V2 { .. } => 2_u8,
        Interrupts::V3 { .. } => 3,
    };
    // "GIC Distributor (GICD) Structure".
    t.append_slice(&[0x0c, 24, 0, 0]);
    t.append(0_u32);
    t.append(arm.distributor);
    t.append(0_u32);
    t.append_slice(&[version, 0, 0, 0]);
    for (n, affinity) in (0_u32..).zip(&arm.affinities) {
        // "GIC CPU Interface (GICC) Structure".
        let cpu = match arm.interrupts {
            Interrupts::V2 { cpu, .. } => cpu,
            Interrupts::V3 { .. } => 0,
        };
        let mpidr = u64::from(affinity >> 24) << 32 | u64::from(affinity & 0xff_ffff);
        t.append_slice(&[0x0b, 80, 0, 0]);
        for word in [n, n, ENABLED, 0, arm.pmu.map_or(0, |ppi| ppi + FIRST_PPI)] {
            t.append(word);
        }
        // Parking address, CPU interface, its virtual and hypervisor's registers.
        for address in [0, cpu, 0, 0] {
            t.append(address);
        }
        t.append(0_u32);
        // Redistributor: found by the structure below.
        t.append(0_u64);
        t.append(mpidr);
        t.append_slice(&[0, 0, 0, 0]);
    }
    match arm.interrupts {
        Interrupts::V2 { frame, spis, .. } => {
            // "GIC MSI Frame Structure"; the SPIs are in the frame's register too.
            t.append_slice(&[0x0d, 24, 0, 0]);
            t.append(0_u32);
            t.append(frame);
            t.append(1_u32);
            t.append(spis.1 as u16);
            t.append((spis.0 + FIRST_SPI) as u16);
        }
        Interrupts::V3 { redistributors, its } => {
            // "GIC Redistributor (GICR) Structure".
            t.append_slice(&[0x0e, 16, 0, 0]);
            t.append(redistributors.0);
            t.append(redistributors.1 as u32);
            if let Some(its) = its {
                // "GIC Interrupt Translation Service (ITS) Structure".
                t.append_slice(&[0x0f, 20, 0, 0]);
                t.append(0_u32);
                t.append(its);
                t.append(0_u32);
            }
        }
    }
    t
}

/// "Generic Timer Description Table (GTDT)".
fn gtdt(arm: &Arm) -> Sdt {
    const ALWAYS_ON: u32 = 1 << 2;
    let [secure, physical, virtual_timer, hypervisor] = arm.timers.map(|ppi| ppi + FIRST_PPI);
    let mut t = table(b"GTDT", 2);
    t.append(ABSENT);
    t.append(0_u32);
    for timer in [secure, physical, virtual_timer, hypervisor] {
        t.append(timer);
        t.append(ALWAYS_ON); // level, active high
    }
    t.append(ABSENT);
    t.append(0_u32);
    t.append(0_u32);
    t
}

/// Memory mapped configuration space: PCI Firmware Specification 3.2, 4.1.2 "MCFG Table Description".
fn mcfg(arm: &Arm) -> Sdt {
    let mut t = table(b"MCFG", 1);
    t.append(0_u64);
    t.append(arm.pci.ecam.0);
    t.append(0_u16);
    t.append_slice(&[0, (arm.pci.buses - 1) as u8, 0, 0, 0, 0]);
    t
}

/// Serial Port Console Redirection Table (Microsoft), revision 2.
fn spcr(arm: &Arm) -> Sdt {
    let mut t = table(b"SPCR", 2);
    t.append_slice(&[3, 0, 0, 0]); // PL011
    t.append_slice(&memory_gas(arm.uart.0));
    t.append_slice(&[8, 0]); // GIC
    t.append(arm.uart.1 + FIRST_SPI);
    t.append_slice(&[7, 0, 1, 0, 0, 0]); // 115200 baud, no parity, one stop bit; VT100
    t.append_slice(&[0xff, 0xff, 0xff, 0xff]); // not on PCI
    t.append_slice(&[0; 12]);
    t
}

/// Microsoft Debug Port Table 2 (DBG2).
fn dbg2(arm: &Arm) -> Sdt {
    const NAME: &[u8] = b"\\_SB.COM0\0";
    const DEVICE: u16 = 22;
    let (registers, size, name) = (DEVICE, DEVICE + 12, DEVICE + 16);
    let mut t = table(b"DBG2", 0);
    t.append(HEADER as u32 + 8);
    t.append(1_u32);
    t.append_slice(&[0]);
    t.append(name + NAME.len() as u16);
    t.append_slice(&[1]);
    t.append(NAME.len() as u16);
    t.append(name);
    t.append(0_u16);
    t.append(0_u16);
    t.append(0x8000_u16); // serial
    t.append(0x0003_u16); // PL011
    t.append(0_u16);
    t.append(registers);
    t.append(size);
    t.append_slice(&memory_gas(arm.uart.0));
    t.append(0x1000_u32);
    t.append_slice(NAME);
    t
}

/// IO Remapping Table (Arm DEN 0049): requesters are the ITS's devices.
fn iort() -> Sdt {
    let mut t = table(b"IORT", 0);
    let its = HEADER as u32 + 12;
    t.append(2_u32);
    t.append(its);
    t.append(0_u32);
    // ITS group: one, of ID 0.
    t.append_slice(&[0, 24, 0, 0]);
    for word in [0, 0, 0, 1, 0_u32] {
        t.append(word);
    }
    // Root complex: coherent, of segment 0, with one mapping after its 36 bytes.
    t.append_slice(&[2, 56, 0, 1]);
    for word in [1, 1, 36_u32] {
        t.append(word);
    }
    t.append(1_u32); // coherent
    t.append_slice(&[0, 0, 0, 3]); // coherent path, attributes of memory need not be overridden
    t.append(0_u32);
    t.append(0_u32);
    t.append_slice(&[64, 0, 0, 0]); // address bits
    for word in [0, 0xffff, 0, its, 0_u32] {
        t.append(word);
    }
    t
}

/// "GPIO Connection Descriptor": an interrupt by the rising edge of `pin` of `source`.
struct GpioInt<'a> {
    pin: u16,
    source: &'a str,
}

impl Aml for GpioInt<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const FIXED: u16 = 23;
        let end = FIXED + 2 + self.source.len() as u16 + 1;
        sink.byte(0x8c);
        sink.word(end - 3);
        sink.byte(1); // revision
        sink.byte(0); // an interrupt
        sink.word(1); // consumer
        sink.word(1); // edge, active high, exclusive
        sink.byte(1); // pulled up
        sink.word(0);
        sink.word(0);
        sink.word(FIXED); // pins
        sink.byte(0);
        sink.word(FIXED + 2); // name of the controller
        sink.word(end);
        sink.word(0);
        sink.word(self.pin);
        self.source.bytes().chain([0]).for_each(|byte| sink.byte(byte));
    }
}

/// A device with an ID that is not of the PNP kind.
fn device(name: &str, hid: &'static str, uid: u32, coherent: bool, resources: &[&dyn Aml], rest: &[&dyn Aml]) -> Bytes {
    let resources = ResourceTemplate::new(resources.to_vec());
    let (hid, uid, crs) =
        (Name::new("_HID".into(), &hid), Name::new("_UID".into(), &uid), Name::new("_CRS".into(), &resources));
    let cca = Name::new("_CCA".into(), &ONE);
    let mut parts: Vec<&dyn Aml> = vec![&hid, &uid];
    if coherent {
        parts.push(&cca);
    }
    parts.push(&crs);
    parts.extend(rest);
    Bytes(encode(&Device::new(path(name), parts)))
}

fn memory(at: u64, len: u64) -> Memory32Fixed {
    Memory32Fixed::new(true, at as u32, len as u32)
}

fn interrupt(spi: u32, edge: bool) -> Interrupt {
    Interrupt::new(true, edge, false, false, spi + FIRST_SPI)
}

/// The "Differentiated System Description Table".
fn dsdt(arm: &Arm) -> Sdt {
    let mut devices = Vec::new();
    for n in 0..arm.affinities.len() as u32 {
        // "Declaring Processors".
        let (hid, uid) = (Name::new("_HID".into(), &"ACPI0007"), Name::new("_UID".into(), &n));
        devices.push(Bytes(encode(&Device::new(path(&format!("C{n:03X}")), vec![&hid, &uid]))));
    }
    devices.push(device(
        "COM0",
        "ARMH0011",
        0,
        false,
        &[&memory(arm.uart.0, 0x1000), &interrupt(arm.uart.1, false)],
        &[],
    ));
    for (n, (at, len)) in (0_u32..).zip(arm.flash) {
        devices.push(device(&format!("FLS{n}"), "LNRO0015", n, false, &[&memory(at, len)], &[]));
    }
    devices.push(device("FWCF", "QEMU0002", 0, true, &[&memory(arm.fw_cfg.0, arm.fw_cfg.1)], &[]));
    let (first, step, count, spi) = arm.virtio;
    for n in 0..count as u32 {
        let resources: [&dyn Aml; 2] = [&memory(first + u64::from(n) * step, step), &interrupt(spi + n, true)];
        devices.push(device(&format!("VR{n:02}"), "LNRO0005", n, true, &resources, &[]));
    }
    devices.push(pci(&arm.pci));
    devices.extend(power_button(arm));
    let code = encode(&Scope::new("\\_SB_".into(), devices.iter().map(|device| device as &dyn Aml).collect()));
    let mut table = table(b"DSDT", 2);
    table.append_slice(&code);
    table
}

/// "GPIO-signaled ACPI Events": the power button's pin.
fn power_button(arm: &Arm) -> [Bytes; 2] {
    let pin = GpioInt { pin: arm.power_pin, source: "\\_SB.GPO0" };
    let event = ResourceTemplate::new(vec![&pin]);
    let button = path("PWRB");
    let notify = Notify::new(&button, &0x80_u8);
    let method = Method::new(path(&format!("_E{:02X}", arm.power_pin)), 0, false, vec![&notify]);
    let method = encode(&method);
    let rest: [&dyn Aml; 2] = [&Name::new("_AEI".into(), &event), &Bytes(method)];
    let resources: [&dyn Aml; 2] = [&memory(arm.gpio.0, 0x1000), &interrupt(arm.gpio.1, false)];
    let controller = device("GPO0", "ARMH0061", 0, false, &resources, &rest);
    let hid = EISAName::new("PNP0C0C");
    let (hid, uid) = (Name::new("_HID".into(), &hid), Name::new("_UID".into(), &ZERO));
    [controller, Bytes(encode(&Device::new(path("PWRB"), vec![&hid, &uid])))]
}

/// The host bridge: what it decodes, where interrupts of its slots go, what an operating system may control.
fn pci(pci: &Pci) -> Bytes {
    let last = |(at, len): (u64, u64)| at + len - 1;
    let buses = AddressSpace::new_bus_number(0_u16, (pci.buses - 1) as u16);
    let low = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        pci.mmio.0 as u32,
        last(pci.mmio) as u32,
        None,
    );
    let ports = AddressSpace::new_io(0_u32, (pci.ports.1 - 1) as u32, Some(pci.ports.0 as u32));
    let high = pci.high_mmio.map(|window| {
        AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, window.0, last(window), None)
    });
    let mut resources: Vec<&dyn Aml> = vec![&buses, &low, &ports];
    resources.extend(high.iter().map(|high| high as &dyn Aml));
    let resources = ResourceTemplate::new(resources);
    let mut routes = Vec::new();
    for (slot, pin) in (0..32_u8).flat_map(|slot| (0..4_u8).map(move |pin| (slot, pin))) {
        let address = u32::from(slot) << 16 | 0xffff;
        let interrupt = pci.spi + u32::from(swizzle(slot, pin)) + FIRST_SPI;
        routes.push(Bytes(encode(&Package::new(vec![&address, &pin, &ZERO, &interrupt]))));
    }
    let routes = Package::new(routes.iter().map(|route| route as &dyn Aml).collect());
    // Its configuration space belongs to no function.
    let ecam = AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, pci.ecam.0, last(pci.ecam), None);
    let reserved = ResourceTemplate::new(vec![&ecam]);
    let (reserved_hid, reserved_crs) = (EISAName::new("PNP0C02"), Name::new("_CRS".into(), &reserved));
    let reserved_hid = Name::new("_HID".into(), &reserved_hid);
    let reserved = Device::new(path("RES0"), vec![&reserved_hid, &reserved_crs]);
    let (hid, cid) = (EISAName::new("PNP0A08"), EISAName::new("PNP0A03"));
    let osc = osc();
    let base = Return::new(&pci.ecam.0);
    let base = Bytes(encode(&Method::new(path("_CBA"), 0, false, vec![&base])));
    let parts: [&dyn Aml; 11] = [
        &Name::new("_HID".into(), &hid),
        &Name::new("_CID".into(), &cid),
        &Name::new("_SEG".into(), &ZERO),
        &Name::new("_BBN".into(), &ZERO),
        &Name::new("_UID".into(), &ZERO),
        &Name::new("_CCA".into(), &ONE),
        &Name::new("_PRT".into(), &routes),
        &base,
        &Name::new("_CRS".into(), &resources),
        &osc,
        &reserved,
    ];
    Bytes(encode(&Device::new("PCI0".into(), parts.to_vec())))
}

/// "_OSC (Operating System Capabilities)", for PCI: PCI Firmware Specification 3.2, 4.5.1. The operating system may control
/// all that there is: hot plug, power events, error reporting, the capability structure.
fn osc() -> Bytes {
    const UUID: &str = "33db4d5b-1ff7-401c-9657-7441c03dd766";
    /// The first field: the UUID is unknown.
    const BAD_UUID: u8 = 1 << 2;
    const CONTROL: u8 = 0x1d;
    let (uuid, status, control) = (Uuid::new(UUID), path("CDW1"), path("CDW3"));
    let field = |name, at: &'static u8| Bytes(encode(&CreateDWordField::new(name, &Arg(3), at)));
    let fields = [field(&status, &0), field(&control, &8)];
    let known = Equal::new(&Arg(0), &uuid);
    let grant = Bytes(encode(&And::new(&control, &control, &CONTROL)));
    let refuse = Bytes(encode(&Or::new(&status, &status, &BAD_UUID)));
    let body: [&dyn Aml; 5] =
        [&fields[0], &fields[1], &If::new(&known, vec![&grant]), &Else::new(vec![&refuse]), &Return::new(&Arg(3))];
    Bytes(encode(&Method::new(path("_OSC"), 4, false, body.to_vec())))
}
