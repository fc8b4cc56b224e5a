//! ACPI tables: what they say, and how they get to where the guest's system looks for them. Advanced
//! Configuration and Power Interface Specification, release 6.5; section titles are its.
//!
//! - here: the tables with fixed fields, and their places;
//! - [`dsdt`]: what is described in byte code;
//! - [`arm`]: all tables of the Arm board.
//!
//! With firmware the tables go through fw_cfg with a list of what to do with them, since the firmware decides where they
//! lie (SeaBIOS, `romfile_loader.h`; QEMU's documentation, "Table loader"). Without it the board has them in ROM.

pub mod arm;
pub mod dsdt;

use crate::pc::ChipSet;
use acpi_tables::sdt::Sdt;
use std::ops::Range;

const OEM: [u8; 6] = *b"MIMIC ";
const OEM_TABLE: [u8; 8] = *b"MIMICPC ";
/// Bytes of a table's header, and where its checksum is ("System Description Table Header").
const HEADER: usize = 36;
const CHECKSUM: usize = 9;
/// "Firmware ACPI Control Structure": size and alignment.
const FACS_LEN: usize = 64;
/// Bytes of the "Root System Description Pointer (RSDP) Structure", and of it what version 1 had.
const RSDP_LEN: usize = 36;
const RSDP_V1_LEN: usize = 20;
const RSDP_RSDT: usize = 16;
const RSDP_XSDT: usize = 24;

/// What of a PC the tables describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pc {
    /// Its chips.
    pub chip_set: ChipSet,
    /// Processors, with APIC IDs from 0 on.
    pub cpus: u32,
    /// First address of the PCI devices' memory below 4 GiB; it ends where the I/O APIC is.
    pub pci_memory: u32,
    /// Where configuration registers are in memory: first address and bytes. It may lie in the PCI devices' memory.
    pub ecam: Option<(u64, u64)>,
    /// PCI devices' memory above 4 GiB, if there is any.
    pub pci_memory_64: Option<Range<u64>>,
    /// First I/O port of the power management function.
    pub pm_base: u16,
    /// Serial ports in use, of the four.
    pub serial: [bool; 4],
    /// There is a parallel port.
    pub parallel: bool,
    /// There is a floppy disk controller.
    pub floppy: bool,
}

/// The interrupt that events of power management raise.
pub const SCI: u8 = 9;
/// First port of the reset control register, and what resets the machine there ("Reset Register").
const RESET_PORT: u64 = 0xcf9;
const RESET_VALUE: u8 = 0x06;
const SMI_PORT: u32 = 0xb2;

pub const IOAPIC: u32 = 0xfec0_0000;
pub const LAPIC: u32 = 0xfee0_0000;
pub const HPET: u32 = 0xfed0_0000;

/// The tables, not placed yet: pointers among them are offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acpi {
    tables: Vec<u8>,
    /// Where pointers are, and how many bytes they have.
    pointers: Vec<(usize, u8)>,
    /// Tables with a checksum.
    checked: Vec<Range<usize>>,
    rsdt: usize,
    xsdt: usize,
}

/// Bytes of the tables' file: room for what firmware's choices add.
const TABLES_LEN: usize = 32 << 10;
/// File names in fw_cfg.
pub const TABLES_FILE: &str = "etc/acpi/tables";
/// See [`TABLES_FILE`].
pub const RSDP_FILE: &str = "etc/acpi/rsdp";
/// See [`TABLES_FILE`].
pub const LOADER_FILE: &str = "etc/table-loader";

impl Acpi {
    /// The tables of `pc`.
    pub fn new(pc: &Pc) -> Self {
        let mut new = Self::default();
        let mut facs = vec![0; FACS_LEN];
        facs[..4].copy_from_slice(b"FACS");
        facs[4..8].copy_from_slice(&(FACS_LEN as u32).to_le_bytes());
        facs[32] = 1; // version
        new.tables = facs;
        let dsdt = new.add(dsdt::dsdt(pc).as_slice());
        let fadt = new.add(fadt(pc, dsdt as u32).as_slice());
        // FIRMWARE_CTRL is offset 0 of the tables; DSDT and X_DSDT.
        new.pointers.extend([(fadt + 36, 4), (fadt + 40, 4), (fadt + 140, 8)]);
        let madt = new.add(madt(pc).as_slice());
        let hpet = new.add(hpet().as_slice());
        let mut all = vec![fadt, madt, hpet];
        if let Some((at, len)) = pc.ecam {
            all.push(new.add(mcfg(at, len).as_slice()));
        }
        let mut rsdt = Sdt::new(*b"RSDT", HEADER as u32, 1, OEM, OEM_TABLE, 1);
        let mut xsdt = Sdt::new(*b"XSDT", HEADER as u32, 1, OEM, OEM_TABLE, 1);
        for at in &all {
            let at = *at;
            rsdt.append(at as u32);
            xsdt.append(at as u64);
        }
        new.rsdt = new.add(rsdt.as_slice());
        new.xsdt = new.add(xsdt.as_slice());
        let (rsdt, xsdt) = (new.rsdt + HEADER, new.xsdt + HEADER);
        new.pointers.extend((0..all.len()).flat_map(|n| [(rsdt + 4 * n, 4), (xsdt + 8 * n, 8)]));
        new
    }

    /// Appends a table; gives its offset.
    fn add(&mut self, table: &[u8]) -> usize {
        let at = self.tables.len().next_multiple_of(16);
        self.tables.resize(at, 0);
        self.tables.extend(table);
        // Some firmware takes what is there into the sum.
        if let Some(checksum) = self.tables.get_mut(at + CHECKSUM) {
            *checksum = 0;
        }
        self.checked.push(at..self.tables.len());
        at
    }

    fn rsdp(&self, base: u64) -> Vec<u8> {
        let mut rsdp = vec![0; RSDP_LEN];
        rsdp[..8].copy_from_slice(b"RSD PTR ");
        rsdp[9..15].copy_from_slice(&OEM);
        rsdp[15] = 2; // revision
        rsdp[RSDP_RSDT..RSDP_RSDT + 4].copy_from_slice(&((base + self.rsdt as u64) as u32).to_le_bytes());
        rsdp[20..24].copy_from_slice(&(RSDP_LEN as u32).to_le_bytes());
        rsdp[RSDP_XSDT..RSDP_XSDT + 8].copy_from_slice(&(base + self.xsdt as u64).to_le_bytes());
        rsdp[8] = checksum(&rsdp[..RSDP_V1_LEN]);
        rsdp[32] = checksum(&rsdp);
        rsdp
    }

    /// All of it for address `at`, a multiple of 64: the pointer that systems look for, then the tables.
    pub fn placed(&self, at: u64) -> Vec<u8> {
        let base = at + FACS_LEN as u64;
        let mut tables = self.tables.clone();
        for (pointer, width) in &self.pointers {
            let field = &mut tables[*pointer..pointer + usize::from(*width)];
            let offset = field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            field.copy_from_slice(&(base + offset).to_le_bytes()[..usize::from(*width)]);
        }
        for range in &self.checked {
            let table = &mut tables[range.clone()];
            table[CHECKSUM] = 0;
            table[CHECKSUM] = checksum(table);
        }
        let mut all = self.rsdp(base);
        all.resize(FACS_LEN, 0);
        all.extend(tables);
        all
    }

    /// The files for firmware: name and contents. Their sizes are always the same.
    pub fn files(&self) -> [(&'static str, Vec<u8>); 3] {
        let mut loader = Loader::default();
        loader.allocate(TABLES_FILE, 64, Zone::High);
        loader.allocate(RSDP_FILE, 16, Zone::LastPart);
        for (pointer, width) in &self.pointers {
            loader.add_pointer(TABLES_FILE, *pointer, *width);
        }
        for range in &self.checked {
            loader.add_checksum(TABLES_FILE, range.start + CHECKSUM, range.clone());
        }
        loader.add_pointer(RSDP_FILE, RSDP_RSDT, 4);
        loader.add_pointer(RSDP_FILE, RSDP_XSDT, 8);
        loader.add_checksum(RSDP_FILE, 8, 0..RSDP_V1_LEN);
        loader.add_checksum(RSDP_FILE, 32, 0..RSDP_LEN);
        // Checksums are zero: edk2 replaces them by that of all bytes, these among them; SeaBIOS subtracts.
        let (mut tables, mut rsdp) = (self.tables.clone(), self.rsdp(0));
        self.checked.iter().for_each(|range| tables[range.start + CHECKSUM] = 0);
        (rsdp[8], rsdp[32]) = (0, 0);
        tables.resize(TABLES_LEN.max(tables.len()), 0);
        [(TABLES_FILE, tables), (RSDP_FILE, rsdp), (LOADER_FILE, loader.commands)]
    }
}

/// What makes the bytes' sum zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

/// Where firmware puts a file.
#[derive(Clone, Copy)]
enum Zone {
    /// Anywhere below 4 GiB.
    High = 1,
    /// 0xf0000 to 0xfffff, where systems search.
    LastPart = 2,
}

/// The list of commands for firmware, 128 bytes each.
#[derive(Default)]
struct Loader {
    commands: Vec<u8>,
}

impl Loader {
    const COMMAND_LEN: usize = 128;
    const NAME_LEN: usize = 56;

    fn command(&mut self, number: u32, names: &[&str], rest: &[u8]) {
        let start = self.commands.len();
        self.commands.extend(number.to_le_bytes());
        for (n, name) in names.iter().enumerate() {
            self.commands.extend(name.as_bytes());
            self.commands.resize(start + 4 + (n + 1) * Self::NAME_LEN, 0);
        }
        self.commands.extend(rest);
        self.commands.resize(start + Self::COMMAND_LEN, 0);
    }

    fn allocate(&mut self, file: &str, align: u32, zone: Zone) {
        let mut rest = align.to_le_bytes().to_vec();
        rest.push(zone as u8);
        self.command(1, &[file], &rest);
    }

    /// Adds the address of the tables to the field of `width` bytes at `at` of `file`.
    fn add_pointer(&mut self, file: &str, at: usize, width: u8) {
        let mut rest = (at as u32).to_le_bytes().to_vec();
        rest.push(width);
        self.command(2, &[file, TABLES_FILE], &rest);
    }

    /// Makes the byte at `at` the checksum of `range`.
    fn add_checksum(&mut self, file: &str, at: usize, range: Range<usize>) {
        let rest = [at, range.start, range.len()].map(|value| (value as u32).to_le_bytes());
        self.command(3, &[file], rest.as_flattened());
    }
}

/// "Generic Address Structure" of `bits` bits in the space of I/O ports.
fn port_gas(port: u64, bits: u8) -> [u8; 12] {
    let mut gas = [1, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    gas[4..].copy_from_slice(&port.to_le_bytes());
    gas
}

/// "Fixed ACPI Description Table (FADT)", as of revision 3.
fn fadt(pc: &Pc, dsdt: u32) -> Sdt {
    // "Fixed Feature Flags".
    const WBINVD: u32 = 1 << 0;
    const PROC_C1: u32 = 1 << 2;
    /// There is no sleep button of the fixed kind; there is a power button.
    const SLP_BUTTON: u32 = 1 << 5;
    const RTC_S4: u32 = 1 << 7;
    const TMR_VAL_EXT: u32 = 1 << 8;
    const RESET_REG_SUP: u32 = 1 << 10;
    // "IA-PC Boot Architecture Flags".
    const LEGACY_DEVICES: u16 = 1 << 0;
    const KEYBOARD_8042: u16 = 1 << 1;

    let mut t = Sdt::new(*b"FACP", 244, 3, OEM, OEM_TABLE, 1);
    let pm = u32::from(pc.pm_base);
    let chips = pc.chip_set.pm();
    let (gpe, gpe_len) = chips.events;
    let (event, control, timer, gpe) = (pm, pm + 4, pm + 8, pm + u32::from(gpe));
    t.write_u32(40, dsdt);
    t.write_u8(45, 1); // Preferred_PM_Profile: desktop
    t.write_u16(46, SCI.into());
    t.write_u32(48, SMI_PORT);
    t.write_u8(52, chips.acpi.0);
    t.write_u8(53, chips.acpi.1);
    for (at, port) in [(56, event), (64, control), (76, timer), (80, gpe)] {
        t.write_u32(at, port);
    }
    // Bytes of these blocks.
    for (at, len) in [(88, 4), (89, 2), (91, 4), (92, gpe_len)] {
        t.write_u8(at, len);
    }
    // No power states beyond C1.
    t.write_u16(96, 0xfff);
    t.write_u16(98, 0xfff);
    t.write_u8(108, 0x32); // CENTURY, in the clock chip
    t.write_u16(109, LEGACY_DEVICES | KEYBOARD_8042);
    t.write_u32(112, WBINVD | PROC_C1 | SLP_BUTTON | RTC_S4 | TMR_VAL_EXT | RESET_REG_SUP);
    t.write_bytes(116, &port_gas(RESET_PORT, 8));
    t.write_u8(128, RESET_VALUE);
    t.write_u64(140, dsdt.into());
    for (at, port, bits) in [(148, event, 32), (172, control, 16), (208, timer, 32), (220, gpe, 8 * gpe_len)] {
        t.write_bytes(at, &port_gas(port.into(), bits));
    }
    t
}

/// "Multiple APIC Description Table (MADT)".
fn madt(pc: &Pc) -> Sdt {
    const PCAT_COMPAT: u32 = 1;
    const ENABLED: u32 = 1;
    // "MPS INTI Flags": active high, level.
    const LEVEL_HIGH: u16 = 3 << 2 | 1;

    let mut t = Sdt::new(*b"APIC", HEADER as u32, 3, OEM, OEM_TABLE, 1);
    t.append(LAPIC);
    t.append(PCAT_COMPAT);
    for n in 0..pc.cpus {
        // "Processor Local APIC Structure".
        t.append_slice(&[0, 8, n as u8, n as u8]);
        t.append(ENABLED);
    }
    // "I/O APIC Structure": ID 0, interrupts from 0 on.
    t.append_slice(&[1, 12, 0, 0]);
    t.append(IOAPIC);
    t.append(0_u32);
    // "Interrupt Source Override Structure": the interval timer is on input 2; PCI's and power management's are level.
    let mut interrupt = |isa: u8, gsi: u32, flags: u16| {
        t.append_slice(&[2, 10, 0, isa]);
        t.append(gsi);
        t.append(flags);
    };
    interrupt(0, 2, 0);
    for isa in [5, SCI, 10, 11] {
        interrupt(isa, isa.into(), LEVEL_HIGH);
    }
    // "Local APIC NMI Structure": LINT1 of all.
    t.append_slice(&[4, 6, 0xff, 0, 0, 1]);
    t
}

/// "PCI Express Memory Mapped Configuration Space base address Description Table", in the PCI Firmware Specification,
/// revision 3.3, 4.1.2: all buses whose registers are in the `len` bytes from `at` on.
fn mcfg(at: u64, len: u64) -> Sdt {
    let mut t = Sdt::new(*b"MCFG", HEADER as u32, 1, OEM, OEM_TABLE, 1);
    t.append(0_u64);
    t.append(at);
    t.append(0_u16); // segment group
    t.append_slice(&[0, ((len >> 20).saturating_sub(1)) as u8]);
    t.append(0_u32);
    t
}

/// "IA-PC High Precision Event Timer Table", in Intel's IA-PC HPET specification, 3.2.4.
fn hpet() -> Sdt {
    let mut t = Sdt::new(*b"HPET", HEADER as u32, 1, OEM, OEM_TABLE, 1);
    t.append(hw::timer::hpet::ID);
    t.append_slice(&[0, 64, 0, 0]);
    t.append(u64::from(HPET));
    t.append_slice(&[0, 0, 0, 0]);
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pc() -> Pc {
        Pc {
            chip_set: ChipSet::Q35,
            ecam: Some((0xb000_0000, 256 << 20)),
            cpus: 2,
            pci_memory: 0x8000_0000,
            pci_memory_64: None,
            pm_base: 0x600,
            serial: [true, false, false, false],
            parallel: true,
            floppy: true,
        }
    }

    fn u32_at(bytes: &[u8], at: u64) -> u64 {
        let at = at as usize;
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).into()
    }

    /// Follows the pointers as a system does.
    #[test]
    fn placed_tables_are_found() {
        const AT: u64 = 0xe_0000;
        let image = Acpi::new(&pc()).placed(AT);
        assert_eq!(&image[..8], b"RSD PTR ");
        assert_eq!(checksum(&image[..20]), 0);
        assert_eq!(checksum(&image[..36]), 0);
        let table = |at: u64| {
            let at = (at - AT) as usize;
            let len = u32_at(&image, at as u64 + 4) as usize;
            &image[at..at + len]
        };
        let (rsdt, xsdt) = (table(u32_at(&image, 16)), table(u32_at(&image, 24)));
        assert_eq!((checksum(rsdt), checksum(xsdt)), (0, 0));
        let mut found = Vec::new();
        for n in 0..4 {
            let at = u32_at(rsdt, 36 + 4 * n);
            assert_eq!(at, u32_at(xsdt, 36 + 8 * n));
            assert_eq!(checksum(table(at)), 0);
            found.push(&table(at)[..4]);
        }
        assert_eq!(found, [b"FACP", b"APIC", b"HPET", b"MCFG"]);
        let mcfg = table(u32_at(rsdt, 36 + 4 * 3));
        assert_eq!((mcfg.len(), u32_at(mcfg, 44), &mcfg[52..56]), (60, 0xb000_0000, [0, 0, 0, 255].as_slice()));
        let fadt = table(u32_at(rsdt, 36));
        assert_eq!(u32_at(fadt, 36) % 64, 0);
        assert_eq!(&image[(u32_at(fadt, 36) - AT) as usize..][..4], b"FACS");
        let dsdt = table(u32_at(fadt, 40));
        assert_eq!((&dsdt[..4], checksum(dsdt)), (b"DSDT".as_slice(), 0));
        assert_eq!(u32_at(fadt, 140), u32_at(fadt, 40));
    }

    /// Firmware that follows the list comes to the same bytes.
    #[test]
    fn the_loader_places_them_likewise() {
        const AT: u64 = 0xe_0000;
        let acpi = Acpi::new(&pc());
        let [(_, tables), (_, rsdp), (_, loader)] = acpi.files();
        let mut files = [(TABLES_FILE, tables), (RSDP_FILE, rsdp)];
        for command in loader.chunks(Loader::COMMAND_LEN) {
            let name = std::str::from_utf8(&command[4..60]).unwrap().trim_end_matches('\0');
            let (_, file) = files.iter_mut().find(|(other, _)| *other == name).unwrap();
            match command[0] {
                1 => {}
                2 => {
                    let at = u32_at(command, 116) as usize;
                    let field = &mut file[at..at + usize::from(command[120])];
                    let offset = field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                    let address = (AT + 64 + offset).to_le_bytes();
                    field.copy_from_slice(&address[..field.len()]);
                }
                3 => {
                    let [at, start, len] = [60, 64, 68].map(|at| u32_at(command, at) as usize);
                    assert_eq!(file[at], 0, "as edk2 expects it");
                    file[at] = checksum(&file[start..start + len]);
                }
                other => panic!("command {other}"),
            }
        }
        let placed = acpi.placed(AT);
        let (found, rest) = files[0].1.split_at(placed.len() - 64);
        assert_eq!(found, &placed[64..]);
        assert!(rest.iter().all(|byte| *byte == 0));
        assert_eq!(files[1].1, placed[..36]);
    }
}
