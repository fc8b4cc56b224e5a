//! `info pci`: what the configuration mechanism of a PC shows (PCI Local Bus Specification 3.0, 3.2.2.3 and chapter 6).

use std::fmt::Write as _;
use vm::{AddressSpace, Gpa};

const CONFIG_ADDRESS: Gpa = Gpa(0xcf8);
const CONFIG_DATA: Gpa = Gpa(0xcfc);

/// Common kinds of functions by the upper bytes of their class codes (appendix D).
const CLASSES: &[(u16, &str)] = &[
    (0x0100, "SCSI controller"),
    (0x0101, "IDE controller"),
    (0x0108, "NVMe controller"),
    (0x0200, "Ethernet controller"),
    (0x0300, "VGA controller"),
    (0x0380, "Display controller"),
    (0x0600, "Host bridge"),
    (0x0601, "ISA bridge"),
    (0x0680, "Bridge"),
    (0x0780, "Communication controller"),
];

/// One line a function, and one for each of its windows; `None` without a PCI bus. The vCPUs must not be running.
pub fn info(ports: &AddressSpace) -> Option<String> {
    let view = ports.view();
    let before = view.load(CONFIG_ADDRESS, 4).ok()?;
    let read = |devfn: u32, register: u32| {
        let address = 1 << 31 | devfn << 8 | register;
        let _ = view.store(CONFIG_ADDRESS, 4, address.into());
        view.load(CONFIG_DATA, 4).unwrap_or(u64::MAX) as u32
    };
    let mut text = String::new();
    for devfn in 0..256 {
        let id = read(devfn, 0);
        if id as u16 == 0xffff {
            continue;
        }
        let class = (read(devfn, 8) >> 16) as u16;
        let name = CLASSES.iter().find(|(known, _)| *known == class).map_or("Function", |(_, name)| name);
        let _ = writeln!(
            text,
            "  Bus  0, device {:3}, function {}:\n    {name}: PCI device {:04x}:{:04x}",
            devfn >> 3,
            devfn & 7,
            id as u16,
            id >> 16
        );
        let interrupt = read(devfn, 0x3c);
        if interrupt >> 8 & 0xff != 0 {
            let pin = char::from(b'@' + (interrupt >> 8 & 7) as u8);
            let _ = writeln!(text, "      IRQ {}, pin {pin}", interrupt & 0xff);
        }
        let mut bar = 0;
        while bar < 6 {
            let low = read(devfn, 0x10 + 4 * bar);
            let number = bar;
            bar += 1;
            match (low & 1, low >> 1 & 3) {
                _ if low & !0xf == 0 => {}
                (1, _) => {
                    let _ = writeln!(text, "      BAR{number}: I/O at {:#06x}", low & !3);
                }
                (_, 2) => {
                    let high = read(devfn, 0x10 + 4 * bar);
                    bar += 1;
                    let at = u64::from(high) << 32 | u64::from(low & !0xf);
                    let _ = writeln!(text, "      BAR{number}: 64 bit memory at {at:#018x}");
                }
                _ => {
                    let _ = writeln!(text, "      BAR{number}: 32 bit memory at {:#010x}", low & !0xf);
                }
            }
        }
    }
    let _ = view.store(CONFIG_ADDRESS, 4, before);
    Some(text)
}
