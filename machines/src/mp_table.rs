//! The MultiProcessor Specification's tables (version 1.4, chapter 4 "MP Configuration Table"), by which a kernel without
//! ACPI finds the processors and the I/O APIC of a PC.

/// Where the tables lie: the last KiB below 640 KiB, where kernels look for the first of them ("MP Floating Pointer Structure").
pub const PLACE: u64 = 0x9_fc00;
const LAPIC: u32 = 0xfee0_0000;
const IOAPIC: u32 = 0xfec0_0000;
/// Versions: of the specification, and of the APICs, which are not the separate chip 82489DX.
const SPECIFICATION: u8 = 4;
const APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x20;
const POINTER: usize = 16;
const HEADER: usize = 44;
/// Number of the only bus, ISA.
const ISA: u8 = 0;

/// Interrupt types of [`interrupt`].
mod kind {
    pub const INT: u8 = 0;
    pub const NMI: u8 = 1;
    pub const EXT_INT: u8 = 3;
}

/// The processors' signature and feature flags are those of CPUID where software looks; here are the least that any has: a
/// family, and a floating-point unit and an APIC.
const SIGNATURE: u32 = 0x600;
const FEATURES: u32 = 1 << 9 | 1;

/// The tables of a PC with ISA interrupts on pins of the same number, but the timer's on pin 2; to be put at [`PLACE`]. At most
/// 32 processors fit.
pub fn tables(cpus: u32) -> Vec<u8> {
    let ioapic_id = cpus as u8;
    let mut entries = Vec::new();
    let mut count = 0u16;
    let mut add = |entry: &[u8]| {
        entries.extend_from_slice(entry);
        count += 1;
    };
    for id in 0..cpus {
        // "Processor Entries": enabled, and the first is the one that starts.
        let mut entry = vec![0, id as u8, APIC_VERSION, 1 | u8::from(id == 0) << 1];
        entry.extend(SIGNATURE.to_le_bytes());
        entry.extend(FEATURES.to_le_bytes());
        entry.extend([0; 8]);
        add(&entry);
    }
    // "Bus Entries".
    add(&[&[1, ISA][..], b"ISA   "].concat());
    // "I/O APIC Entries".
    add(&[&[2, ioapic_id, IOAPIC_VERSION, 1][..], &IOAPIC.to_le_bytes()].concat());
    // "I/O Interrupt Assignment Entries". The cascade of the PICs is no interrupt of its own.
    for irq in (0..16).filter(|irq| *irq != 2) {
        add(&interrupt(3, kind::INT, irq, ioapic_id, if irq == 0 { 2 } else { irq }));
    }
    // "Local Interrupt Assignment Entries": LINT0 of all is the PIC's, LINT1 an NMI.
    add(&interrupt(4, kind::EXT_INT, 0, 0xff, 0));
    add(&interrupt(4, kind::NMI, 0, 0xff, 1));

    let mut pointer = vec![0; POINTER];
    pointer[..4].copy_from_slice(b"_MP_");
    pointer[4..8].copy_from_slice(&(PLACE as u32 + POINTER as u32).to_le_bytes());
    (pointer[8], pointer[9]) = (1, SPECIFICATION);
    // The second feature byte is clear: a PIC, and it is connected (virtual wire mode).
    pointer[10] = checksum(&pointer);
    let mut header = vec![0; HEADER];
    header[..4].copy_from_slice(b"PCMP");
    header[4..6].copy_from_slice(&((HEADER + entries.len()) as u16).to_le_bytes());
    header[6] = SPECIFICATION;
    header[8..28].copy_from_slice(b"MIMIC   MICROVM     ");
    header[34..36].copy_from_slice(&count.to_le_bytes());
    header[36..40].copy_from_slice(&LAPIC.to_le_bytes());
    let table = [header, entries].concat();
    let mut all = [pointer, table].concat();
    all[POINTER + 7] = checksum(&all[POINTER..]);
    all
}

/// An interrupt entry: conforms to the bus in polarity and trigger.
fn interrupt(entry: u8, kind: u8, irq: u8, apic: u8, pin: u8) -> [u8; 8] {
    [entry, kind, 0, 0, ISA, irq, apic, pin]
}

/// What makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_and_add_up() {
        for cpus in [1, 4, 32] {
            let all = tables(cpus);
            assert!(PLACE as usize + all.len() <= 640 << 10, "{} bytes", all.len());
            assert_eq!((checksum(&all[..POINTER]), checksum(&all[POINTER..])), (0, 0));
            let mut at = POINTER + HEADER;
            let mut seen = [0u32; 5];
            while at < all.len() {
                seen[usize::from(all[at])] += 1;
                at += if all[at] == 0 { 20 } else { 8 };
            }
            assert_eq!((at, seen), (all.len(), [cpus, 1, 1, 15, 2]));
            let count = u16::from_le_bytes([all[POINTER + 34], all[POINTER + 35]]);
            assert_eq!(u32::from(count), seen.iter().sum::<u32>());
        }
    }
}
