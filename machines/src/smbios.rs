//! What the machine says of itself to inventory tools: System Management BIOS Reference Specification, DMTF DSP0134,
//! version 3.6. Sections named are its. Firmware takes structures and entry point through fw_cfg and puts them where systems
//! look; it adds what it knows itself (type 0, BIOS information).

/// File names in fw_cfg.
pub const TABLES_FILE: &str = "etc/smbios/smbios-tables";
/// See [`TABLES_FILE`].
pub const ANCHOR_FILE: &str = "etc/smbios/smbios-anchor";

/// Bytes of RAM that one memory device stands for at most.
const DIMM_LEN: u64 = 16 << 30;
/// First handles of structures of which there are several.
const PROCESSOR: u16 = 0x400;
const MEMORY_ARRAY: u16 = 0x1000;
const MEMORY_DEVICE: u16 = 0x1100;
const MAPPED: u16 = 0x7000;

/// Which entry point ("Structure table entry point").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// "SMBIOS 2.1 (32-bit) Entry Point", which BIOS needs.
    V2,
    /// "SMBIOS 3.0 (64-bit) Entry Point".
    V3,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smbios {
    /// Product: the machine's name.
    pub machine: String,
    /// The processor's model, and its identification as "Processor ID" has it.
    pub cpu: String,
    pub cpus: u32,
    /// "Processor Family 2": 0x100 is ARMv7, 0x101 ARMv8, 0x01 other.
    pub cpu_family: u16,
    /// RAM as address and length.
    pub ram: Vec<(u64, u64)>,
}

/// Structures, one after the other.
#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    count: u16,
    /// Bytes of the largest one.
    largest: u16,
}

impl Table {
    /// Adds a structure ("Structure header format") with the `fields` after its header and its text strings, which fields
    /// name by number from 1 on.
    fn add(&mut self, kind: u8, handle: u16, fields: &[&[u8]], strings: &[&str]) {
        let start = self.bytes.len();
        let len: usize = fields.iter().map(|field| field.len()).sum();
        self.bytes.extend([kind, 4 + len as u8]);
        self.bytes.extend(handle.to_le_bytes());
        fields.iter().for_each(|field| self.bytes.extend(*field));
        for string in strings {
            // Strings have at least a byte and no zeros.
            let text = string.bytes().filter(|byte| *byte != 0).take(64);
            self.bytes.extend(text);
            self.bytes.push(0);
        }
        self.bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        self.count = self.count.saturating_add(1);
        self.largest = self.largest.max((self.bytes.len() - start) as u16);
    }
}

impl Smbios {
    /// The files for firmware: name and contents.
    pub fn files(&self, entry: EntryPoint) -> [(&'static str, Vec<u8>); 2] {
        let table = self.table();
        let anchor = match entry {
            EntryPoint::V2 => anchor_v2(&table),
            EntryPoint::V3 => anchor_v3(&table),
        };
        [(TABLES_FILE, table.bytes), (ANCHOR_FILE, anchor)]
    }

    fn table(&self) -> Table {
        let mut t = Table::default();
        self.system(&mut t);
        for n in 0..self.cpus.min(0x400) as u16 {
            self.processor(&mut t, n);
        }
        self.memory(&mut t);
        // "System Boot Information (Type 32)": no errors.
        t.add(32, 0x2000, &[&[0; 6], &[0]], &[]);
        // "End-of-Table (Type 127)".
        t.add(127, 0x7f00, &[], &[]);
        t
    }

    fn system(&self, t: &mut Table) {
        // "System Information (Type 1)": manufacturer, product, version, no serial number, UUID, woken by the power
        // switch, no SKU and family.
        t.add(1, 0x100, &[&[1, 2, 3, 0], &[0; 16], &[6, 0, 0]], &["Mimic", &self.machine, env!("CARGO_PKG_VERSION")]);
        // "System Enclosure or Chassis (Type 3)": of another type; safe; no security known; no height, cords and elements.
        t.add(3, 0x300, &[&[1, 1, 2, 0, 0, 3, 3, 3, 2], &[0; 4], &[0, 0, 0, 0, 0]], &["Mimic", &self.machine]);
    }

    /// "Processor Information (Type 4)": one core with one thread.
    fn processor(&self, t: &mut Table, n: u16) {
        const POPULATED_ENABLED: u8 = 0x41;
        const UNKNOWN: u8 = 2;
        let family = if self.cpu_family < 0xfe { self.cpu_family as u8 } else { 0xfe };
        let socket = format!("CPU {n}");
        let fields: [&[u8]; 9] = [
            &[1, 3, family, 2],
            &[0; 8],
            &[3, 0],
            &[0; 6], // clock and speeds: unknown
            &[POPULATED_ENABLED, 1],
            &[0xff; 6],                           // no caches are described
            &[0, 0, 0, 1, 1, 1, 1 << UNKNOWN, 0], // no numbers; cores, enabled ones, threads; characteristics
            &self.cpu_family.to_le_bytes(),
            &[1, 0, 1, 0, 1, 0],
        ];
        t.add(4, PROCESSOR + n, &fields, &[&socket, "Mimic", &self.cpu]);
    }

    fn memory(&self, t: &mut Table) {
        const NO_ERRORS: [u8; 2] = [0xfe, 0xff];
        let total: u64 = self.ram.iter().map(|(_, len)| len).sum();
        let devices = total.div_ceil(DIMM_LEN);
        // "Physical Memory Array (Type 16)": another place, system memory, multi-bit error correction.
        let kib = total >> 10;
        let (capacity, extended) = if kib < 0x8000_0000 { (kib as u32, 0) } else { (0x8000_0000, total) };
        let fields: [&[u8]; 5] =
            [&[1, 3, 6], &capacity.to_le_bytes(), &NO_ERRORS, &(devices as u16).to_le_bytes(), &extended.to_le_bytes()];
        t.add(16, MEMORY_ARRAY, &fields, &[]);
        for n in 0..devices.min(u64::from(MAPPED - MEMORY_DEVICE)) {
            // "Memory Device (Type 17)".
            let mib = (total - n * DIMM_LEN).min(DIMM_LEN) >> 20;
            let (size, extended) = if mib < 0x7fff { (mib as u16, 0) } else { (0x7fff, mib as u32) };
            let fields: [&[u8]; 11] = [
                &MEMORY_ARRAY.to_le_bytes(),
                &NO_ERRORS,
                &[0xff; 4], // widths: unknown
                &size.to_le_bytes(),
                &[9, 0, 1, 0, 7], // DIMM, of no set, locator, no bank, RAM
                &[2, 0, 0, 0],    // of another kind, speed unknown
                &[2, 0, 0, 0],    // manufacturer, no numbers
                &[0],
                &extended.to_le_bytes(),
                &[0; 2],
                &[0; 6], // voltages: unknown
            ];
            t.add(17, MEMORY_DEVICE + n as u16, &fields, &[&format!("DIMM {n}"), "Mimic"]);
        }
        for (n, (at, len)) in (0..).zip(&self.ram) {
            // "Memory Array Mapped Address (Type 19)", in KiB where that fits.
            let last = at + len - 1;
            let fits = last >> 10 < u64::from(u32::MAX);
            let (start_kib, end_kib) =
                if fits { ((at >> 10) as u32, (last >> 10) as u32) } else { (u32::MAX, u32::MAX) };
            let (start, end) = if fits { (0, 0) } else { (*at, last) };
            let fields: [&[u8]; 6] = [
                &start_kib.to_le_bytes(),
                &end_kib.to_le_bytes(),
                &MEMORY_ARRAY.to_le_bytes(),
                &[1],
                &start.to_le_bytes(),
                &end.to_le_bytes(),
            ];
            t.add(19, MAPPED + n, &fields, &[]);
        }
    }
}

/// Makes the byte at `at` the one that makes the sum of all zero.
fn checksum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(byte) = bytes.get_mut(at) {
        *byte = byte.wrapping_sub(sum);
    }
}

/// "SMBIOS 3.0 (64-bit) Entry Point". The address is the firmware's to fill in.
fn anchor_v3(table: &Table) -> Vec<u8> {
    let mut anchor = b"_SM3_".to_vec();
    anchor.extend([0, 24, 3, 0, 0, 1, 0]);
    anchor.extend((table.bytes.len() as u32).to_le_bytes());
    anchor.extend([0; 8]);
    checksum(&mut anchor, 5);
    anchor
}

/// "SMBIOS 2.1 (32-bit) Entry Point".
fn anchor_v2(table: &Table) -> Vec<u8> {
    let mut rest = b"_DMI_\0".to_vec();
    rest.extend((table.bytes.len() as u16).to_le_bytes());
    rest.extend([0; 4]);
    rest.extend(table.count.to_le_bytes());
    rest.push(0x28);
    checksum(&mut rest, 5);
    let mut anchor = b"_SM_".to_vec();
    anchor.extend([0, 31, 2, 8]);
    anchor.extend(table.largest.to_le_bytes());
    anchor.extend([0; 6]);
    anchor.extend(rest);
    checksum(&mut anchor, 4);
    anchor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smbios(ram: u64) -> Smbios {
        let (machine, cpu) = ("virt".into(), "max".into());
        Smbios { machine, cpu, cpus: 2, cpu_family: 0x101, ram: vec![(1 << 30, ram)] }
    }

    /// Type, formatted part and strings of each structure.
    fn parse(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (formatted, rest) = bytes.split_at(bytes[1].into());
            let end = rest.windows(2).position(|two| two == [0, 0]).unwrap();
            let strings = rest[..end].split(|byte| *byte == 0).filter(|string| !string.is_empty());
            let strings = strings.map(|string| String::from_utf8(string.to_vec()).unwrap()).collect();
            found.push((bytes[0], formatted.to_vec(), strings));
            bytes = &rest[end + 2..];
        }
        found
    }

    #[test]
    fn structures_have_their_lengths_and_strings() {
        let [(_, tables), (_, anchor)] = smbios(512 << 20).files(EntryPoint::V3);
        let found = parse(&tables);
        let kinds: Vec<_> = found.iter().map(|(kind, formatted, _)| (*kind, formatted.len())).collect();
        // Lengths of versions 2.4, 2.7, 3.0, 2.7, 2.8, 2.7.
        let expect =
            [(1, 0x1b), (3, 0x16), (4, 0x30), (4, 0x30), (16, 0x17), (17, 0x28), (19, 0x1f), (32, 0x0b), (127, 4)];
        assert_eq!(kinds, expect);
        assert_eq!(found[0].2[..2], ["Mimic", "virt"]);
        assert_eq!(found[3].2, ["CPU 1", "Mimic", "max"]);
        assert_eq!((found[3].1[6], &found[3].1[0x28..0x2a]), (0xfe, &[1, 1][..]), "ARMv8");
        assert_eq!(found[5].1[0x0c..0x0e], [0, 2], "MiB");
        assert_eq!(found[6].1[4..12], [0, 0, 0x10, 0, 0xff, 0xff, 0x17, 0], "KiB");
        assert_eq!((&anchor[..5], anchor.len()), (&b"_SM3_"[..], 24));
        assert_eq!(anchor.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!(anchor[12..16], (tables.len() as u32).to_le_bytes());
    }

    #[test]
    fn much_memory_takes_several_devices_and_wide_fields() {
        let found = parse(&smbios(8 << 40).files(EntryPoint::V3)[0].1);
        let of = |kind| found.iter().filter(move |(other, ..)| *other == kind).map(|(_, formatted, _)| formatted);
        assert_eq!((of(17).count(), of(19).count()), (512, 1));
        assert_eq!(of(16).next().unwrap()[7..11], 0x8000_0000_u32.to_le_bytes());
        assert_eq!(of(16).next().unwrap()[15..23], (8_u64 << 40).to_le_bytes());
        assert_eq!(of(19).next().unwrap()[4..8], [0xff; 4]);
        assert_eq!(of(19).next().unwrap()[15..23], (1_u64 << 30).to_le_bytes());
    }

    #[test]
    fn the_older_entry_point() {
        let [(_, tables), (_, anchor)] = smbios(1 << 30).files(EntryPoint::V2);
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((&anchor[..4], anchor.len(), &anchor[16..21]), (&b"_SM_"[..], 31, &b"_DMI_"[..]));
        assert_eq!((sum(&anchor), sum(&anchor[16..])), (0, 0));
        assert_eq!(anchor[22..24], (tables.len() as u16).to_le_bytes());
        assert_eq!(anchor[28], 9, "structures");
    }
}
